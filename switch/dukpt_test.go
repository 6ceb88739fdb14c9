package pointswitch_test

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	pointswitch "github.com/lianfen/lianfen/switch"
	"github.com/lianfen/lianfen/switch/dialect"
)

// What the test vectors of ANSI X9.24-3-2017 (supplement, AES-128 base key) have: base key,
// initial key, and of the first message the keys for PINs and for the request's MAC.
const (
	vectorBase    = "FEDCBA9876543210F1F1F1F1F1F1F1F1"
	vectorInitial = "1234567890123456"
	vectorPIN     = "AF8CB133A78F8DC2D1359F18527593FB"
	vectorMAC     = "A2DC23DE6FDE0824A2BC321E08E4B8B7"
)

// known puts a key that is known into a keystore, from components.
func known(t testing.TB, store *certs.Keystore, name string, usage certs.Usage, digits string) *certs.Key {
	t.Helper()
	components, err := certs.NewComponents(certs.AES128)
	require.NoError(t, err)
	other, err := hex.DecodeString(digits)
	require.NoError(t, err)
	for i := range other {
		other[i] ^= 0x5A
	}
	for _, part := range []string{"5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A5A", hex.EncodeToString(other)} {
		_, err = components.Add([]byte(part))
		require.NoError(t, err)
	}
	imported, err := components.Key()
	require.NoError(t, err)
	var key *certs.Key
	require.NoError(t, store.Update(func(c *certs.Changes) (err error) {
		key, err = c.Import(certs.NewKey{Name: name, Usage: usage, Algorithm: certs.AES128}, imported)
		return err
	}))
	return key
}

// device is a terminal whose keys are derived for each message.
type device struct {
	*keyed
	base *certs.Key
	ksn  certs.KSN // of its last message
}

// derivedHouse is the world with T3 as such a terminal, of the base key of the vectors.
func derivedHouse(t testing.TB) (*house, *device) {
	t.Helper()
	h, store := keyedHouse(t)
	base := known(t, store, "bdk/12345678", certs.DUKPTBase, vectorBase)
	var initial book.InitialKey
	require.NoError(t, initial.UnmarshalText([]byte(vectorInitial)))
	h.put(book.Entry{Terminal: &book.Terminal{ID: parseTerminal(t, "T3"), Merchant: parseMerchant(t, "CAFE"), Status: book.Active, MAC: book.MACByCMAC, DUKPT: initial}})
	d := &device{keyed: h.terminal(store, "T3"), base: base}
	copy(d.ksn[:], initial[:])
	return h, d
}

// under prepares the terminal to send its next message under the key serial number: by it
// the request is signed, and the answer's MAC is checked.
func (d *device) under(ksn certs.KSN) (request *certs.MAC) {
	d.t.Helper()
	key, err := certs.DUKPTKey(d.base, ksn, certs.DUKPTRequestMAC, certs.AES128)
	require.NoError(d.t, err)
	request, err = certs.NewMAC(key, certs.CMAC)
	require.NoError(d.t, err)
	key, err = certs.DUKPTKey(d.base, ksn, certs.DUKPTAnswerMAC, certs.AES128)
	require.NoError(d.t, err)
	d.mac, err = certs.NewMAC(key, certs.CMAC)
	require.NoError(d.t, err)
	key, err = certs.DUKPTKey(d.base, ksn, certs.DUKPTPIN, certs.AES128)
	require.NoError(d.t, err)
	d.pin, err = certs.NewPINKey(key)
	require.NoError(d.t, err)
	d.ksn = ksn
	return request
}

// next is the key serial number behind the last one that was used.
func (d *device) next() certs.KSN {
	next, ok := d.ksn.Next()
	require.True(d.t, ok)
	return next
}

// writes is the frame of an enquiry about member 1 under a key serial number.
func (d *device) writes(ksn certs.KSN, pin string) []byte {
	d.t.Helper()
	by := d.under(ksn)
	req := d.keyed.next(points.Balance)
	req.PAN, req.Program, req.KSN = parsePAN(d.t, cards()["A"]), 902, ksn
	if pin != "" {
		d.enters(&req, certs.PINFormat4, pin, req.PAN)
	}
	return d.signedBy(&req, by)
}

func (d *device) signedBy(req *points.Request, by *certs.MAC) []byte {
	d.t.Helper()
	req.Mark(64)
	frame, err := dialect.Pos().AppendRequest(nil, req)
	require.NoError(d.t, err)
	dialect.Pos().Sign(frame, req, by)
	return frame
}

func numbered(t testing.TB, counter string) certs.KSN {
	t.Helper()
	ksn, err := certs.ParseKSN(vectorInitial + counter)
	require.NoError(t, err)
	return ksn
}

// A message whose MAC and PIN block are made with the keys that the standard prints is
// taken, PIN and all; the terminal signs on without keys.
func TestDerivedKeysAreTheStandards(t *testing.T) {
	h, d := derivedHouse(t)
	signOn := d.keyed.next(points.SignOn)
	signOn.Operator = [3]byte{'0', '0', '1'}
	signOn.NetworkCode = 1
	answer := d.sends(d.frame(&signOn))
	require.Equal(t, points.Approved, answer.Reason)
	require.Empty(t, answer.List, "it has keys")

	apart := vault(t, nil)
	mac, err := certs.NewMAC(known(t, apart, "mac", certs.ZoneMAC, vectorMAC), certs.CMAC)
	require.NoError(t, err)
	pin, err := certs.NewPINKey(known(t, apart, "pin", certs.ZonePIN, vectorPIN))
	require.NoError(t, err)
	first := numbered(t, "00000001")
	d.under(first)
	d.pin = pin
	pan := parsePAN(t, cards()["A"])
	h.setsPIN(d.store, d.keyed, pan, "4711")
	req := d.keyed.next(points.Balance)
	req.PAN, req.Program, req.KSN = pan, 902, first
	d.enters(&req, certs.PINFormat4, "4711", pan)
	require.Equal(t, points.Approved, d.sends(d.signedBy(&req, mac)).Reason)
	require.Equal(t, points.WrongPIN, d.sends(d.writes(d.next(), "4712")).Reason)
	require.Equal(t, points.Approved, d.sends(d.writes(d.next(), "4711")).Reason)
	h.verify()
	require.NotContains(t, h.log.text(), "4711")
}

// A key serial number serves once: a later one is taken however far it lies ahead, and
// after it nothing that lies before; neither is a restart a second chance. The repeat of a
// message that is known gets its answer again, byte for byte.
func TestDerivedKeysServeOnce(t *testing.T) {
	h, d := derivedHouse(t)
	first := d.writes(numbered(t, "00000001"), "")
	require.Equal(t, points.Approved, d.sends(first).Reason)
	answer := d.answer
	require.Equal(t, points.Approved, d.sends(first).Reason, "its repeat")
	require.Equal(t, answer, d.answer)
	require.Equal(t, points.Approved, d.sends(d.writes(numbered(t, "00000100"), "")).Reason, "keys were passed over")
	jumped := d.answer
	last := h.last()
	refused := func(what string, ksn certs.KSN) {
		t.Helper()
		require.Equal(t, points.BadMAC, d.sends(d.writes(ksn, "")).Reason, what)
		require.Equal(t, last, h.last(), what)
	}
	refused("the same number, another message", numbered(t, "00000100"))
	refused("a number before it", numbered(t, "000000C0"))
	refused("the first number", numbered(t, "00000001"))
	h.crash()
	h.start()
	d.peer = h.dial(h.pos)
	refused("the same number, after a restart", numbered(t, "00000100"))
	refused("a number before it, after a restart", numbered(t, "00000002"))
	d.under(numbered(t, "00000001"))
	require.Equal(t, points.Approved, d.sends(first).Reason, "the repeat of what is known")
	require.Equal(t, answer, d.answer)
	require.NotEqual(t, jumped, d.answer)

	// What is declined has used its keys too.
	d.under(numbered(t, "00000101"))
	sale := d.sale(1_000_000)
	sale.KSN = d.ksn
	require.False(t, d.sends(d.signedBy(&sale, d.under(d.ksn))).Reason.Approved())
	last = h.last()
	refused("the number of a decline", numbered(t, "00000101"))
	require.Equal(t, points.Approved, d.sends(d.writes(numbered(t, "00000102"), "")).Reason)
	h.verify()
}

// A message under keys that are not this terminal's next is refused, and uses nothing up:
// another terminal's number, another base key's, one that is used up, none, a wrong MAC.
func TestDerivedKeysOfOthers(t *testing.T) {
	h, d := derivedHouse(t)
	require.Equal(t, points.Approved, d.sends(d.writes(numbered(t, "00000010"), "")).Reason)
	last := h.last()
	frame := d.writes(numbered(t, "00000011"), "")
	altered := func(change func(*points.Request, *certs.MAC) *certs.MAC) []byte {
		var req points.Request
		require.NoError(t, dialect.Pos().Decode(frame, &req))
		by := change(&req, d.under(numbered(t, "00000011")))
		return d.signedBy(&req, by)
	}
	other := numbered(t, "00000011")
	other[7]++
	for what, forged := range map[string][]byte{
		"another terminal's number, with that one's keys": altered(func(req *points.Request, _ *certs.MAC) *certs.MAC { req.KSN = other; return d.under(other) }),
		"another terminal's number":                       altered(func(req *points.Request, by *certs.MAC) *certs.MAC { req.KSN = other; return by }),
		"another base key's":                              altered(func(req *points.Request, by *certs.MAC) *certs.MAC { req.KSN[0]++; return by }),
		"a counter of zero":                               altered(func(req *points.Request, by *certs.MAC) *certs.MAC { clear(req.KSN[8:]); return by }),
		"a counter that is used up": altered(func(req *points.Request, by *certs.MAC) *certs.MAC {
			req.KSN = certs.KSN(append(req.KSN[:8:8], 0xFF, 0xFF, 0xFF, 0xFF))
			return by
		}),
		"the next number under these keys": altered(func(req *points.Request, by *certs.MAC) *certs.MAC { req.KSN[11]++; return by }),
		"no number":                        altered(func(req *points.Request, by *certs.MAC) *certs.MAC { req.KSN = [12]byte{}; return by }),
		"a wrong MAC":                      append(append([]byte(nil), frame[:len(frame)-1]...), frame[len(frame)-1]^1),
	} {
		require.Equal(t, points.BadMAC, d.sends(forged).Reason, what)
		require.Equal(t, last, h.last(), what)
	}
	d.under(numbered(t, "00000011"))
	require.Equal(t, points.Approved, d.sends(frame).Reason, "the frame itself is good")

	// The last number that there is, and none behind it.
	require.Equal(t, points.Approved, d.sends(d.writes(numbered(t, "FFFF0000"), "")).Reason)
	_, ok := d.ksn.Next()
	require.False(t, ok)
	require.Equal(t, points.BadMAC, d.sends(d.writes(numbered(t, "FFFE0001"), "")).Reason)
	h.verify()
}

// A terminal with derived keys whose base key is not in the keystore is refused, and the
// log says which is missing.
func TestDerivedKeysWithoutBase(t *testing.T) {
	h, d := derivedHouse(t)
	var initial book.InitialKey
	require.NoError(t, initial.UnmarshalText([]byte("9999999990123456")))
	h.put(book.Entry{Terminal: &book.Terminal{ID: d.id, Merchant: d.at, Status: book.Active, MAC: book.MACByCMAC, DUKPT: initial}})
	ksn := numbered(t, "00000001")
	copy(ksn[:], initial[:])
	require.Equal(t, points.BadMAC, d.sends(d.writes(ksn, "")).Reason)
	require.Contains(t, h.log.text(), pointswitch.BaseKeyName([4]byte(ksn[:4])))
}
