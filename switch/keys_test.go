package pointswitch_test

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	pointswitch "github.com/lianfen/lianfen/switch"
	"github.com/lianfen/lianfen/switch/dialect"
)

// macErrors is how many wrong MACs in a row the house under test takes.
const macErrors = 3

// vault makes a keystore with what a switch needs, and master keys for the terminals.
func vault(t testing.TB, masters map[string]certs.Algorithm) *certs.Keystore {
	t.Helper()
	return vaultIn(t, t.TempDir(), masters)
}

func vaultIn(t testing.TB, dir string, masters map[string]certs.Algorithm) *certs.Keystore {
	t.Helper()
	require.NoError(t, certs.WriteKEK(filepath.Join(dir, "kek"), rand.Reader))
	kek, err := certs.OpenKEK("file:"+filepath.Join(dir, "kek"), rand.Reader)
	require.NoError(t, err)
	store, err := certs.CreateKeystore(filepath.Join(dir, "keys"), kek, rand.Reader)
	require.NoError(t, err)
	require.NoError(t, store.Update(func(c *certs.Changes) error {
		wanted := []certs.NewKey{
			{Name: pointswitch.DerivationKey, Usage: certs.WorkingDerivation, Algorithm: certs.AES256},
			{Name: pointswitch.PINVerificationKey, Usage: certs.PINVerification, Algorithm: certs.AES256},
		}
		for terminal, algorithm := range masters {
			name := certs.TerminalMasterName(parseMerchant(t, merchantOf(terminal)), parseTerminal(t, terminal))
			wanted = append(wanted, certs.NewKey{Name: name, Usage: certs.TerminalMaster, Algorithm: algorithm})
		}
		for _, want := range wanted {
			if _, err := c.Generate(want); err != nil {
				return err
			}
		}
		return nil
	}))
	return store
}

func merchantOf(terminal string) string {
	if terminal == "T3" {
		return "CAFE"
	}
	return "SHOP"
}

// keyed is a terminal with keys at the end of a connection. One goroutine uses it.
type keyed struct {
	t      testing.TB
	h      *house
	peer   *peer
	store  *certs.Keystore
	id     points.TerminalID
	at     points.MerchantID
	by     certs.MACAlgorithm
	stan   points.STAN
	mac    *certs.MAC
	pin    *certs.PINKey
	answer []byte // the last one, as it came
}

// keyedHouse is the world with a keystore, where T1 and T2 use DES and T3 uses AES.
func keyedHouse(t testing.TB) (*house, *certs.Keystore) {
	return keyedHouseWith(t, func(*pointswitch.Options) {})
}

func keyedHouseWith(t testing.TB, options func(*pointswitch.Options)) (*house, *certs.Keystore) {
	store := vault(t, map[string]certs.Algorithm{"T1": certs.TDES, "T2": certs.TDES, "T3": certs.AES128})
	h := newHouseWith(t, func(o *pointswitch.Options) {
		o.Keystore, o.MACErrors = store, macErrors
		options(o)
	})
	h.furnish()
	for _, id := range []string{"T1", "T2"} {
		h.put(book.Entry{Terminal: &book.Terminal{ID: parseTerminal(t, id), Merchant: parseMerchant(t, "SHOP"), Status: book.Active, MAC: book.MACByXOR}})
	}
	h.put(book.Entry{Terminal: &book.Terminal{ID: parseTerminal(t, "T3"), Merchant: parseMerchant(t, "CAFE"), Status: book.Active, MAC: book.MACByCMAC}})
	return h, store
}

func (h *house) terminal(store *certs.Keystore, id string) *keyed {
	by := certs.XORMAC
	if id == "T3" {
		by = certs.CMAC
	}
	return &keyed{t: h.t, h: h, peer: h.dial(h.pos), store: store, id: parseTerminal(h.t, id), at: parseMerchant(h.t, merchantOf(id)), by: by}
}

// next is a request under the next trace number.
func (k *keyed) next(f points.Function) points.Request {
	k.stan++
	return points.Request{Function: f, STAN: k.stan, Batch: 1, Terminal: k.id, Merchant: k.at, EntryMode: 21, Door: points.DoorTerminal}
}

// frame writes req, with a MAC where the terminal has a key for one.
func (k *keyed) frame(req *points.Request) []byte {
	k.t.Helper()
	if k.mac != nil && req.Function != points.SignOn {
		req.Mark(64)
	}
	frame, err := dialect.Pos().AppendRequest(nil, req)
	require.NoError(k.t, err)
	if k.mac != nil {
		dialect.Pos().Sign(frame, req, k.mac)
	}
	return frame
}

// sends sends a frame and reads its answer, whose MAC is right if it has one.
func (k *keyed) sends(frame []byte) points.Response {
	k.t.Helper()
	k.peer.send(frame)
	k.answer = k.peer.receive()
	require.NotNil(k.t, k.answer)
	var echo points.Request
	var resp points.Response
	require.NoError(k.t, dialect.Pos().DecodeResponse(k.answer, &echo, &resp))
	if echo.Has(64) && k.mac != nil {
		require.True(k.t, k.mac.Verify(dialect.Pos().Signed(k.answer, &echo), echo.MAC[:]), "the MAC of the answer %v", resp.Reason)
	}
	return resp
}

// signsOn asks for keys and takes them.
func (k *keyed) signsOn(set certs.KeySet) points.Response {
	k.t.Helper()
	req := k.next(points.SignOn)
	req.NetworkCode = map[certs.KeySet]uint16{certs.KeySet001: 1, certs.KeySet003: 3, certs.KeySet004: 4, certs.KeySetAES128: dialect.SignOnAES128, certs.KeySetAES256: dialect.SignOnAES256, certs.KeySetHMAC: dialect.SignOnHMAC}[set]
	req.Operator = [3]byte{'0', '0', '1'}
	k.mac = nil
	resp := k.sends(k.frame(&req))
	if !resp.Reason.Approved() {
		return resp
	}
	master, err := k.store.Key(certs.TerminalMasterName(k.at, k.id), 0)
	require.NoError(k.t, err)
	keys, err := certs.OpenWorkingKeys(set, []byte(resp.List), master, k.at, k.id)
	require.NoError(k.t, err)
	k.mac, err = certs.NewMAC(keys.MAC, k.by)
	require.NoError(k.t, err)
	k.pin, err = certs.NewPINKey(keys.PIN)
	require.NoError(k.t, err)
	return resp
}

// sale is a redemption of one point of member 2, or at CAFE of member 1.
func (k *keyed) sale(amount points.Amount) points.Request {
	req := k.next(points.Redeem)
	req.PAN, req.Program, req.Amount = parsePAN(k.t, cards()["B"]), 901, amount
	if k.at == parseMerchant(k.t, "CAFE") {
		req.PAN, req.Program = parsePAN(k.t, cards()["A"]), 902
	}
	return req
}

// enters puts the PIN block of pin for pan into req.
func (k *keyed) enters(req *points.Request, format certs.PINFormat, pin string, pan points.PAN) {
	k.t.Helper()
	block, err := k.pin.AppendPINBlock(nil, format, []byte(pin), pan, rand.Reader)
	require.NoError(k.t, err)
	req.PINLen = uint8(copy(req.PIN[:], block))
	if format == certs.PINFormat4 {
		return
	}
	req.Security = 2_600_000_000_000_000
	if format == certs.PINFormat3 {
		req.Security = 3_600_000_000_000_000
	}
}

func (k *keyed) sells(amount points.Amount) points.Reason {
	k.t.Helper()
	req := k.sale(amount)
	return k.sends(k.frame(&req)).Reason
}

// Terminals of every set of keys sign on, sell under a MAC and get answers with one, also
// after a restart, without a new sign-on.
func TestTerminalsSignOnAndAuthenticate(t *testing.T) {
	h, store := keyedHouse(t)
	for _, c := range []struct {
		id   string
		sets []certs.KeySet
	}{{"T1", []certs.KeySet{certs.KeySet001, certs.KeySet003, certs.KeySet004}}, {"T3", []certs.KeySet{certs.KeySetAES128, certs.KeySetAES128}}} {
		k := h.terminal(store, c.id)
		for _, set := range c.sets {
			require.Equal(t, points.Approved, k.signsOn(set).Reason)
			require.Equal(t, points.Approved, k.sells(100))
			refused := k.sells(6000)
			require.False(t, refused.Approved(), "a refusal has a MAC too")
			require.Equal(t, byte(1), k.answer[11+2+7]&1)
			require.NotContains(t, h.log.text(), "keys cannot be made")
			if c.id == "T3" {
				break // 902 allows three sales a day.
			}
		}
		h.crash()
		h.start()
		k.peer = h.dial(h.pos)
		require.Equal(t, points.Approved, k.sells(100), "the keys are those of the last sign-on")
	}
	h.verify()
}

// balance of member 2 in 901: what attacks must leave alone.
func (h *house) saved() points.Amount {
	h.t.Helper()
	for _, s := range h.standings() {
		if s.member == 2 && s.program == 901 {
			return s.free
		}
	}
	return 0
}

// last is the position of the last record.
func (h *house) last() (last points.Position) {
	h.view(func(b *book.Book) { last = b.Position() })
	return last
}

// Whatever single bit of an authenticated frame is turned over behind its envelope, it is
// never carried out: it is refused as malformed, as somebody else's or for its MAC, and
// leaves no record. The envelope is the network's, and no part of the MAC.
func TestNoBitOfAMessageCanBeTurned(t *testing.T) {
	h, store := keyedHouse(t)
	k := h.terminal(store, "T1")
	require.Equal(t, points.Approved, k.signsOn(certs.KeySet003).Reason)
	req := k.sale(1)
	k.enters(&req, certs.PINFormat0, "1234", req.PAN)
	frame := k.frame(&req)
	saved, last := h.saved(), h.last()
	const envelope = 5 + 6 // TPDU, header
	refused := 0
	for i := envelope * 8; i < len(frame)*8; i++ {
		turned := append([]byte(nil), frame...)
		turned[i/8] ^= 1 << (i % 8)
		p := h.dial(h.pos)
		p.send(turned)
		answer := p.receive()
		require.NoError(t, p.conn.Close())
		if answer == nil {
			continue // Dropped: no message at all.
		}
		code := codeOf(t, dialect.Pos(), answer)
		require.Contains(t, []string{"30", "97", "03", "A0"}, code, "bit %d of byte %d", i%8, i/8)
		if code == "A0" {
			refused++
			k.signsOn(certs.KeySet003) // Its keys are gone after a few: so that each is tried against keys.
			last = h.last()
		}
		require.Equal(t, last, h.last(), "bit %d of byte %d", i%8, i/8)
		if code == "A0" {
			k.enters(&req, certs.PINFormat0, "1234", req.PAN)
			frame = k.frame(&req)
		}
	}
	require.Equal(t, saved, h.saved())
	require.Greater(t, refused, 100)
	require.Equal(t, points.Approved, k.sends(frame).Reason, "the frame itself is good")
}

// A MAC that is not that of this message under these keys is answered A0 without a MAC
// and without a trace: cut short, of another message, of another terminal, with more
// behind it, under the key before, or none at all.
func TestForgedMACs(t *testing.T) {
	h, store := keyedHouse(t)
	k, other := h.terminal(store, "T1"), h.terminal(store, "T2")
	require.Equal(t, points.Approved, k.signsOn(certs.KeySet003).Reason)
	require.Equal(t, points.Approved, k.sells(1))
	before := k.mac
	require.Equal(t, points.Approved, other.signsOn(certs.KeySet003).Reason)
	require.Equal(t, points.Approved, k.signsOn(certs.KeySet003).Reason)
	saved := h.saved()
	for _, forge := range []struct {
		what string
		want []string
		by   func(req *points.Request) []byte
	}{
		{"none where one is demanded", []string{"A0"}, func(req *points.Request) []byte {
			frame, err := dialect.Pos().AppendRequest(nil, req)
			require.NoError(t, err)
			return frame
		}},
		{"zeros", []string{"A0"}, func(req *points.Request) []byte {
			req.Mark(64)
			frame, err := dialect.Pos().AppendRequest(nil, req)
			require.NoError(t, err)
			return frame
		}},
		{"of another message", []string{"A0"}, func(req *points.Request) []byte {
			cheap := *req
			cheap.Amount = 1
			signed := k.frame(&cheap)
			frame := k.frame(req)
			return append(frame[:len(frame)-8], signed[len(signed)-8:]...)
		}},
		{"of another terminal", []string{"A0"}, func(req *points.Request) []byte {
			k.mac, other.mac = other.mac, k.mac
			defer func() { k.mac, other.mac = other.mac, k.mac }()
			return k.frame(req)
		}},
		{"under the key before", []string{"A0"}, func(req *points.Request) []byte {
			now := k.mac
			k.mac = before
			defer func() { k.mac = now }()
			return k.frame(req)
		}},
		{"cut short", []string{"30"}, func(req *points.Request) []byte { f := k.frame(req); return f[:len(f)-1] }},
		{"more behind it", []string{"30", "A0"}, func(req *points.Request) []byte { return append(k.frame(req), 0) }},
	} {
		req := k.sale(100)
		req.Class = 0
		frame := forge.by(&req)
		last := h.last()
		k.peer.send(frame)
		answer := k.peer.receive()
		require.Contains(t, forge.want, codeOf(t, dialect.Pos(), answer), forge.what)
		var echo points.Request
		var resp points.Response
		require.NoError(t, dialect.Pos().DecodeResponse(answer, &echo, &resp))
		if resp.Reason == points.BadMAC {
			require.False(t, echo.Has(64), forge.what)
			require.Equal(t, points.PleaseSignOn, resp.Please, forge.what)
		}
		require.Equal(t, last, h.last(), forge.what)
		require.Equal(t, points.Approved, k.sells(1), "after %s", forge.what)
		saved--
		require.Equal(t, saved, h.saved(), forge.what)
		k.peer = h.dial(h.pos) // Malformed frames cost the connection.
	}
}

// After so many wrong MACs in a row a terminal has no keys: right ones are refused too,
// until it signs on. A right one in between begins the count anew. Another terminal's
// keys are not touched.
func TestWrongMACsCostTheKeys(t *testing.T) {
	h, store := keyedHouse(t)
	k, other := h.terminal(store, "T1"), h.terminal(store, "T2")
	require.Equal(t, points.Approved, k.signsOn(certs.KeySet001).Reason)
	require.Equal(t, points.Approved, other.signsOn(certs.KeySet001).Reason)
	wrong := func() {
		req := k.sale(1)
		frame := k.frame(&req)
		frame[len(frame)-1] ^= 1
		require.Equal(t, points.BadMAC, k.sends(frame).Reason)
	}
	for range macErrors - 1 {
		wrong()
	}
	require.Equal(t, points.Approved, k.sells(1))
	for range macErrors {
		wrong()
	}
	for range 2 {
		require.Equal(t, points.BadMAC, k.sells(1))
	}
	require.Equal(t, points.Approved, other.sells(1))
	require.Equal(t, points.Approved, k.signsOn(certs.KeySet001).Reason)
	require.Equal(t, points.Approved, k.sells(1))
}

// A request that is played again, MAC and all, is answered as it was and moves nothing; a
// repeat after a sign-on, under the new key, gets the first answer under the new key, and
// with that the old one is over.
func TestReplayWithAMACMovesNothing(t *testing.T) {
	h, store := keyedHouse(t)
	k := h.terminal(store, "T1")
	require.Equal(t, points.Approved, k.signsOn(certs.KeySet003).Reason)
	req := k.sale(7)
	frame := k.frame(&req)
	first := k.sends(frame)
	answer := k.answer
	saved, last := h.saved(), h.last()
	require.Equal(t, points.Approved, k.sends(frame).Reason)
	require.Equal(t, answer, k.answer, "byte for byte")
	require.Equal(t, last, h.last())
	old := k.mac
	require.Equal(t, points.Approved, k.signsOn(certs.KeySet003).Reason)
	given := k.mac
	k.mac = old
	require.Equal(t, points.Approved, k.sends(frame).Reason, "the old key is in force until the next is used")
	require.Equal(t, answer, k.answer, "byte for byte")
	k.mac = given
	again := k.sends(k.frame(&req))
	require.Equal(t, first.Position, again.Position)
	require.Equal(t, points.Approved, again.Reason)
	require.Equal(t, saved, h.saved())
	require.Equal(t, answer[:len(answer)-8], k.answer[:len(k.answer)-8], "but for the MAC")
	require.NotEqual(t, answer, k.answer)
	require.Equal(t, points.BadMAC, k.sends(frame).Reason, "the old key is over")
	require.Equal(t, last+1, h.last(), "of the sign-on")
}

// Keys that were given and not used follow from the derivation key of then: once that is
// rotated, the next sign-on gives those of the one in use.
func TestSignOnAfterRotationOfDerivation(t *testing.T) {
	h, store := keyedHouse(t)
	k := h.terminal(store, "T1")
	frame, _ := k.signOnFrame(certs.KeySet003, nil)
	unused := k.sends(frame)
	require.Equal(t, points.Approved, unused.Reason)
	frame, _ = k.signOnFrame(certs.KeySet003, nil)
	require.Equal(t, unused.List, k.sends(frame).List, "nothing has changed")
	require.NoError(t, store.Update(func(c *certs.Changes) error {
		_, err := c.Rotate(pointswitch.DerivationKey, 1)
		return err
	}))
	frame, _ = k.signOnFrame(certs.KeySet003, nil)
	after := k.sends(frame)
	require.Equal(t, points.Approved, after.Reason)
	require.NotEqual(t, unused.List, after.List)
}

// A sign-on has no MAC, so that on a line without TLS anybody can send one in a terminal's
// name: as often as they like it costs that terminal nothing, neither what it has nor what it
// has just been given; whoever asks gets keys that they cannot open.
func TestSignOnByAStranger(t *testing.T) {
	h, store := keyedHouse(t)
	k, stranger := h.terminal(store, "T1"), h.terminal(store, "T1")
	stranger.stan = 500_000
	signsOnOften := func(sets ...certs.KeySet) (lists []string) {
		for range 20 {
			for _, set := range sets {
				frame, _ := stranger.signOnFrame(set, nil)
				resp := stranger.sends(frame)
				require.Equal(t, points.Approved, resp.Reason)
				lists = append(lists, resp.List)
			}
		}
		return lists
	}
	signsOnOften(certs.KeySet003)
	require.Equal(t, points.Approved, k.signsOn(certs.KeySet003).Reason)
	signsOnOften(certs.KeySet003)
	require.Equal(t, points.Approved, k.sells(1), "what it was given before the stranger came")
	for range 3 {
		lists := signsOnOften(certs.KeySet003)
		require.Equal(t, points.Approved, k.sells(1), "what is in force")
		for _, list := range lists {
			require.Equal(t, lists[0], list, "there are no more keys for asking more often")
		}
		_, err := certs.OpenWorkingKeys(certs.KeySet003, []byte(lists[0]), h.terminal(store, "T2").master(1), k.at, k.id)
		require.Error(t, err)
		old := k.mac
		require.Equal(t, points.Approved, k.signsOn(certs.KeySet003).Reason)
		signsOnOften(certs.KeySet003)
		require.Equal(t, points.Approved, k.sells(1))
		k.mac = old
		require.Equal(t, points.BadMAC, k.sells(1), "over with the first use of the next")
		require.Equal(t, points.Approved, k.signsOn(certs.KeySet003).Reason)
		require.Equal(t, points.Approved, k.sells(1))
	}
	// Another set of keys takes the place of nothing, neither of what is in force nor of what
	// was given: before the terminal's own sign-on, after it, and on both sides.
	others := []certs.KeySet{certs.KeySet001, certs.KeySet004}
	signsOnOften(certs.KeySet001, certs.KeySet003, certs.KeySet004)
	require.Equal(t, points.Approved, k.sells(1))
	for _, when := range []string{"before", "after", "both"} {
		old := k.mac
		if when != "after" {
			signsOnOften(others...)
		}
		require.Equal(t, points.Approved, k.signsOn(certs.KeySet003).Reason)
		if when != "before" {
			lists := signsOnOften(others...)
			for i, list := range lists {
				require.Equal(t, lists[i%2], list, "there are no more keys for asking more often")
			}
		}
		require.Equal(t, points.Approved, k.sells(1), when)
		k.mac = old
		require.Equal(t, points.BadMAC, k.sells(1), "over with the first use of the next")
		require.Equal(t, points.Approved, k.signsOn(certs.KeySet003).Reason)
		require.Equal(t, points.Approved, k.sells(1))
	}
	// Nor where nothing is in force, by the terminal's first sign-on of all, and its next message
	// ends what else waits.
	first, other := h.terminal(store, "T2"), h.terminal(store, "T2")
	other.stan = 500_000
	signsOn := func(set certs.KeySet) string {
		frame, _ := other.signOnFrame(set, nil)
		resp := other.sends(frame)
		require.Equal(t, points.Approved, resp.Reason)
		return resp.List
	}
	waits := signsOn(certs.KeySet001)
	require.Equal(t, points.Approved, first.signsOn(certs.KeySet004).Reason)
	require.Equal(t, waits, signsOn(certs.KeySet001))
	require.Equal(t, points.Approved, first.sells(1))
	require.NotEqual(t, waits, signsOn(certs.KeySet001))
	require.Equal(t, points.Approved, first.sells(1))
	// A start knows the keys of the last sign-on alone: the terminal signs on once.
	signsOnOften(others...)
	h.again(k)
	require.Equal(t, points.BadMAC, k.sells(1))
	require.Equal(t, points.Approved, k.signsOn(certs.KeySet003).Reason)
	require.Equal(t, points.Approved, k.sells(1))
	h.verify()
}

// A PIN without a MAC, where that may be, is read under the keys that are in force, or else
// under those that were given, which are in force then.
func TestPINWithoutMACAfterAStranger(t *testing.T) {
	h, store := keyedHouse(t)
	h.put(book.Entry{Terminal: &book.Terminal{ID: parseTerminal(t, "T1"), Merchant: parseMerchant(t, "SHOP"), Status: book.Active, MAC: book.MACByXOR, MACOptional: true}})
	k, stranger := h.terminal(store, "T1"), h.terminal(store, "T1")
	pan := parsePAN(t, cards()["B"])
	pays := func() points.Reason {
		req := k.sale(1)
		k.enters(&req, certs.PINFormat0, "4711", pan)
		frame, err := dialect.Pos().AppendRequest(nil, &req)
		require.NoError(t, err)
		return k.sends(frame).Reason
	}
	var before string
	for round := range 3 {
		resp := k.signsOn(certs.KeySet003)
		require.Equal(t, points.Approved, resp.Reason)
		require.NotEqual(t, before, resp.List, "those before were used")
		before = resp.List
		if round == 0 {
			h.setsPIN(store, k, pan, "4711")
		}
		require.Equal(t, points.Approved, pays())
		frame, _ := stranger.signOnFrame(certs.KeySet003, nil)
		require.Equal(t, points.Approved, stranger.sends(frame).Reason)
		require.Equal(t, points.Approved, pays())
	}
	h.verify()
}

// Nobody is talked into weaker keys, or into signing on without: a terminal that uses AES
// gets no DES, one without a master key gets none at all, and neither loses what it has.
func TestSignOnIsNotTalkedDown(t *testing.T) {
	h, store := keyedHouse(t)
	k := h.terminal(store, "T3")
	require.Equal(t, points.Approved, k.signsOn(certs.KeySetAES128).Reason)
	mac := k.mac
	require.Equal(t, points.FunctionDisabled, k.signsOn(certs.KeySet001).Reason)
	k.mac = mac
	require.Equal(t, points.Approved, k.sells(100))
	h.put(book.Entry{Terminal: &book.Terminal{ID: parseTerminal(t, "M1"), Merchant: parseMerchant(t, "MALL"), Status: book.Active, MAC: book.MACByXOR}})
	orphan := h.terminal(store, "T1")
	orphan.id, orphan.at = parseTerminal(t, "M1"), parseMerchant(t, "MALL")
	require.Equal(t, points.FunctionDisabled, orphan.signsOn(certs.KeySet003).Reason)
	require.Contains(t, h.log.text(), "it has no master key")
	require.Equal(t, points.BadMAC, orphan.sells(1))
}

// Where a terminal may leave the MAC out, its messages are taken without; one that is
// there is right, or the message is refused.
func TestOptionalMAC(t *testing.T) {
	h, store := keyedHouse(t)
	h.put(book.Entry{Terminal: &book.Terminal{ID: parseTerminal(t, "T1"), Merchant: parseMerchant(t, "SHOP"), Status: book.Active, MAC: book.MACByXOR, MACOptional: true}})
	k := h.terminal(store, "T1")
	require.Equal(t, points.Approved, k.sells(1))
	require.Equal(t, points.Approved, k.signsOn(certs.KeySet003).Reason)
	require.Equal(t, points.Approved, k.sells(1))
	require.Equal(t, byte(1), k.answer[11+2+7]&1, "the answer has a MAC")
	req := k.sale(1)
	frame := k.frame(&req)
	frame[len(frame)-1] ^= 1
	require.Equal(t, points.BadMAC, k.sends(frame).Reason)
}

// What undoes a sale needs a MAC as the sale does: who is on the line takes none back.
func TestReversalWithoutMAC(t *testing.T) {
	h, store := keyedHouse(t)
	k := h.terminal(store, "T1")
	require.Equal(t, points.Approved, k.signsOn(certs.KeySet003).Reason)
	sale := k.sale(100)
	require.Equal(t, points.Approved, k.sends(k.frame(&sale)).Reason)
	last := h.last()
	undo := sale
	undo.Class, undo.Function, undo.Reversed, undo.Envelope.MTI = 0, points.Reversal, points.Redeem, 0
	undo.Unmark(64)
	copy(undo.Answer[:], "98")
	frame, err := dialect.Pos().AppendRequest(nil, &undo)
	require.NoError(t, err)
	require.Equal(t, points.BadMAC, k.sends(frame).Reason)
	require.Equal(t, last, h.last())
}

// Keys are those of a terminal at its merchant, for the algorithm that its record names:
// one that was given elsewhere, or is to use another, has to sign on again.
func TestKeysOfATerminalThatMoved(t *testing.T) {
	for what, put := range map[string]book.Terminal{
		"another merchant":  {Merchant: parseMerchant(t, "CAFE"), MAC: book.MACByXOR},
		"another algorithm": {Merchant: parseMerchant(t, "SHOP"), MAC: book.MACByCMAC},
	} {
		h, store := keyedHouse(t)
		k := h.terminal(store, "T1")
		require.Equal(t, points.Approved, k.signsOn(certs.KeySet003).Reason)
		require.Equal(t, points.Approved, k.sells(1))
		put.ID, put.Status = k.id, book.Active
		h.put(book.Entry{Terminal: &put})
		k.at = put.Merchant
		last := h.last()
		require.Equal(t, points.BadMAC, k.sells(1), what)
		require.Equal(t, last, h.last(), what)
	}
}

// What is done per message for its MAC allocates nothing: finding what it is over,
// checking it, and making that of the answer.
func TestMACAllocatesNothing(t *testing.T) {
	h, store := keyedHouse(t)
	for id, set := range map[string]certs.KeySet{"T1": certs.KeySet003, "T3": certs.KeySetAES128} {
		k := h.terminal(store, id)
		require.Equal(t, points.Approved, k.signsOn(set).Reason)
		req := k.sale(1)
		frame := k.frame(&req)
		var read points.Request
		require.NoError(t, dialect.Pos().Decode(frame, &read))
		d, good := dialect.Pos(), true
		require.Zero(t, testing.AllocsPerRun(100, func() {
			good = good && k.mac.Verify(d.Signed(frame, &read), read.MAC[:])
			d.Sign(frame, &read, k.mac)
		}))
		require.True(t, good)
	}
}

// setsPIN gives a card a PIN, as an operator does.
func (h *house) setsPIN(store *certs.Keystore, k *keyed, pan points.PAN, pin string) {
	h.t.Helper()
	key, err := store.Key(pointswitch.PINVerificationKey, 1)
	require.NoError(h.t, err)
	verifier, err := certs.NewPINVerifier(key)
	require.NoError(h.t, err)
	format := certs.PINFormat4
	if k.by == certs.XORMAC {
		format = certs.PINFormat0
	}
	block, err := k.pin.AppendPINBlock(nil, format, []byte(pin), pan, rand.Reader)
	require.NoError(h.t, err)
	value, err := verifier.Value(k.pin, format, block, pan)
	require.NoError(h.t, err)
	var token points.CardToken
	h.cardKey.Token(&token, pan)
	h.do(book.Command{Kind: book.KindPIN, Card: token, PINValue: book.PINValue(value), Limit: 3, Operator: "anna"})
}

// A PIN is compared for the card that it was entered for: right is paid, wrong is 55 and
// spends nothing, a block of another card or under another key cannot be read or is wrong.
func TestPINs(t *testing.T) {
	h, store := keyedHouse(t)
	k := h.terminal(store, "T1")
	require.Equal(t, points.Approved, k.signsOn(certs.KeySet003).Reason)
	pan, another := parsePAN(t, cards()["B"]), parsePAN(t, cards()["A"])
	h.setsPIN(store, k, pan, "4711")
	pays := func(format certs.PINFormat, pin string, of points.PAN) points.Reason {
		req := k.sale(1)
		k.enters(&req, format, pin, of)
		return k.sends(k.frame(&req)).Reason
	}
	saved := h.saved()
	require.Equal(t, points.Approved, pays(certs.PINFormat0, "4711", pan))
	require.Equal(t, points.Approved, pays(certs.PINFormat3, "4711", pan))
	saved -= 2
	require.Equal(t, points.WrongPIN, pays(certs.PINFormat0, "4712", pan))
	require.Contains(t, []points.Reason{points.WrongPIN, points.BadPINFormat}, pays(certs.PINFormat0, "4711", another), "a block of another card")
	require.Equal(t, saved, h.saved())
	old := k.pin
	require.Equal(t, points.Approved, k.signsOn(certs.KeySet003).Reason)
	now := k.pin
	k.pin = old
	require.Contains(t, []points.Reason{points.WrongPIN, points.BadPINFormat, points.PINTriesExceeded}, pays(certs.PINFormat0, "4711", pan), "under the key before")
	k.pin = now
	require.Equal(t, saved, h.saved())
	for range 3 {
		require.NotEqual(t, points.Approved, pays(certs.PINFormat0, "0000", pan))
	}
	require.Equal(t, points.PINTriesExceeded, pays(certs.PINFormat0, "4711", pan), "the right one, after the lock")
	require.Equal(t, saved, h.saved())
	h.crash()
	h.start()
	k.peer = h.dial(h.pos)
	require.Equal(t, points.PINTriesExceeded, pays(certs.PINFormat0, "4711", pan), "a restart unlocks nothing")
	h.verify()
	require.NotContains(t, h.log.text(), "4711")
}

// A terminal whose record says hmac-sha256 is given a key for that and no other set, is
// believed by it alone, and has it again after a restart; its PINs are under AES.
func TestTerminalsByHMAC(t *testing.T) {
	store := vault(t, map[string]certs.Algorithm{"T3": certs.AES256})
	h := newHouseWith(t, func(o *pointswitch.Options) { o.Keystore, o.MACErrors = store, macErrors })
	h.furnish()
	h.put(book.Entry{Terminal: &book.Terminal{ID: parseTerminal(t, "T3"), Merchant: parseMerchant(t, "CAFE"), Status: book.Active, MAC: book.MACByHMAC}})
	k := h.terminal(store, "T3")
	k.by = certs.HMAC
	for _, set := range []certs.KeySet{certs.KeySet003, certs.KeySetAES128, certs.KeySetAES256} {
		require.Equal(t, points.FunctionDisabled, k.signsOn(set).Reason)
	}
	require.Equal(t, points.Approved, k.signsOn(certs.KeySetHMAC).Reason)
	pan := parsePAN(t, cards()["A"])
	h.setsPIN(store, k, pan, "4711")
	asks := func(pin string) points.Reason {
		req := k.next(points.Balance)
		req.PAN, req.Program = pan, 902
		k.enters(&req, certs.PINFormat4, pin, pan)
		return k.sends(k.frame(&req)).Reason
	}
	require.Equal(t, points.Approved, asks("4711"))
	require.Equal(t, points.WrongPIN, asks("4712"))
	last := h.last()
	req := k.sale(100)
	frame := k.frame(&req)
	frame[len(frame)-1] ^= 1
	require.Equal(t, points.BadMAC, k.sends(frame).Reason)
	require.Equal(t, last, h.last())
	h.again(k)
	require.Equal(t, points.Approved, asks("4711"))
	require.Equal(t, points.Approved, k.sells(100))
	h.verify()
}

// A terminal with keys of AES sends its PIN in format 4, in DE59: right is paid, wrong is
// 55, and so is the block of another card; one of format 0 is none of its.
func TestPINsUnderAES(t *testing.T) {
	h, store := keyedHouse(t)
	k := h.terminal(store, "T3")
	require.Equal(t, points.Approved, k.signsOn(certs.KeySetAES128).Reason)
	pan, another := parsePAN(t, cards()["A"]), parsePAN(t, cards()["B"])
	h.setsPIN(store, k, pan, "4711")
	asks := func(pin string, of points.PAN, change func(*points.Request)) points.Reason {
		req := k.next(points.Balance)
		req.PAN, req.Program = pan, 902
		k.enters(&req, certs.PINFormat4, pin, of)
		change(&req)
		return k.sends(k.frame(&req)).Reason
	}
	as := func(*points.Request) {}
	require.Equal(t, points.Approved, asks("4711", pan, as))
	require.Equal(t, points.WrongPIN, asks("4712", pan, as))
	require.Equal(t, points.Approved, asks("4711", pan, as))
	require.Contains(t, []points.Reason{points.WrongPIN, points.BadPINFormat}, asks("4711", another, as), "a block of another card")
	require.Equal(t, points.BadPINFormat, asks("4711", pan, func(req *points.Request) { req.PINLen = 8 }), "half of it, in DE52")
	require.Equal(t, points.BadPINFormat, asks("4711", pan, func(req *points.Request) { req.PIN[3] ^= 1 }), "altered under a good MAC")
	h.verify()
	require.NotContains(t, h.log.text(), "4711")
}

// Ten thousand PINs tried on ten connections at once are three tries: three times 55,
// then 75 for all, the right one among them. Nothing is spent.
func TestPINsTriedByForce(t *testing.T) {
	h, store := keyedHouseWith(t, func(o *pointswitch.Options) { o.Log = slog.New(slog.DiscardHandler) })
	k := h.terminal(store, "T1")
	require.Equal(t, points.Approved, k.signsOn(certs.KeySet003).Reason)
	pan := parsePAN(t, cards()["B"])
	h.setsPIN(store, k, pan, "9999") // The last that is tried, where it is too late.
	saved := h.saved()
	const connections, together = 10, 50
	codes := make([]map[string]int, connections)
	frames := make([][][]byte, connections)
	for pin := range 10_000 {
		req := k.sale(1)
		k.enters(&req, certs.PINFormat0, fmt.Sprintf("%04d", pin), pan)
		frames[pin%connections] = append(frames[pin%connections], k.frame(&req))
	}
	var all sync.WaitGroup
	for i := range connections {
		p := h.dial(h.pos)
		codes[i] = make(map[string]int)
		all.Go(func() {
			for some := range slices.Chunk(frames[i], together) {
				p.send(some...)
				for range some {
					codes[i][codeOf(t, dialect.Pos(), p.receive())]++
				}
			}
		})
	}
	all.Wait()
	total := make(map[string]int)
	for _, c := range codes {
		for code, n := range c {
			total[code] += n
		}
	}
	require.Equal(t, map[string]int{"55": 3, "75": 9_997}, total)
	require.Equal(t, saved, h.saved())
}
