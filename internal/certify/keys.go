package certify

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	pointswitch "github.com/lianfen/lianfen/switch"
	"github.com/lianfen/lianfen/switch/dialect"
)

// MAC is what a step does to the MAC of its message; "": it is right.
type MAC string

// What can be done to it.
const (
	macWrong MAC = "wrong"
	macNone  MAC = "none"
)

// FindKey finds a key of terminals by its name: a master key, or a base key that the keys
// of messages are derived from.
type FindKey func(name string, usage certs.Usage) (*certs.Key, error)

// terminalKeys are what a terminal under test authenticates with.
type terminalKeys struct {
	set     certs.KeySet
	master  *certs.Key
	next    *certs.Key // that was fetched; the next sign-on proves it
	proof   *certs.MAC // of the sign-on that was sent last; nil: it proved nothing
	initial *certs.Key // of a terminal whose keys are derived for each message
	ksn     certs.KSN  // of the last message
	mac     *certs.MAC // nil: it has not signed on
	pin     *certs.PINKey
}

// derivedKeys stands before the initial key of a terminal whose keys are derived.
const derivedKeys = "dukpt:"

// initialKey reads which initial key a terminal's test data name; ok is false where they
// name a set of keys.
func initialKey(keys string) (id book.InitialKey, ok bool, err error) {
	text, ok := strings.CutPrefix(keys, derivedKeys)
	if !ok {
		return id, false, nil
	}
	if err = id.UnmarshalText([]byte(text)); err == nil && id == (book.InitialKey{}) {
		err = errors.New("dukpt: want the 16 hexadecimal digits of the terminal's initial key")
	}
	return id, true, err
}

// equip gives the terminals their master keys. Those whose key is not there stay without,
// and what needs them is skipped.
func (b *sender) equip(find FindKey) error {
	b.keys = make(map[points.TerminalID]*terminalKeys)
	for name, t := range b.parameters.Terminals {
		if t.Keys == "" || find == nil {
			continue
		}
		terminal, err := points.ParseTerminalID(t.ID)
		if err != nil {
			return fmt.Errorf("certify: terminals.%s: %w", name, err)
		}
		merchant, err := points.ParseMerchantID(t.Merchant)
		if err != nil {
			return fmt.Errorf("certify: terminals.%s: %w", name, err)
		}
		keys, err := b.keysOf(t.Keys, certs.TerminalMasterName(merchant, terminal), find)
		if errors.Is(err, certs.ErrNoKey) {
			continue
		}
		if err != nil {
			return fmt.Errorf("certify: terminals.%s: keys: %w", name, err)
		}
		b.keys[terminal] = keys
	}
	return nil
}

// keysOf are the keys of a terminal as its test data have them.
func (b *sender) keysOf(word, master string, find FindKey) (*terminalKeys, error) {
	id, derived, err := initialKey(word)
	if err != nil {
		return nil, err
	}
	keys := new(terminalKeys)
	if !derived {
		if keys.set, err = certs.ParseKeySet(word); err == nil {
			keys.master, err = find(master, certs.TerminalMaster)
		}
		return keys, err
	}
	copy(keys.ksn[:], id[:])
	if keys.ksn, err = keys.ksn.ByClock(b.clock()); err != nil {
		return nil, err
	}
	base, err := find(pointswitch.BaseKeyName([4]byte(id[:4])), certs.DUKPTBase)
	if err == nil {
		keys.initial, err = certs.DUKPTInitialKey(base, keys.ksn)
	}
	return keys, err
}

// keyless reports whether a terminal's test data ask for keys that there are not.
func (b *sender) keyless(name string) bool {
	t := b.parameters.Terminals[name]
	id, err := points.ParseTerminalID(t.ID)
	return t.Keys != "" && (err != nil || b.keys[id] == nil)
}

// authenticate says in a sign-on which keys are wanted, enters the PIN of the step, and
// makes place for a MAC where the convention wants one.
func (b *sender) authenticate(req *points.Request, s *Step) error {
	keys := b.keys[req.Terminal]
	switch {
	case keys == nil && (s.MAC != "" || s.PIN != ""):
		return errors.New("the terminal has no keys")
	case keys == nil, keys.initial != nil && req.Class == points.ClassNetwork:
		return nil
	case req.Function == points.SignOn:
		return keys.signOn(req)
	case keys.initial != nil:
		if err := keys.advance(req, b.clock()); err != nil {
			return err
		}
	case keys.mac == nil:
		return errors.New("the terminal has not signed on for keys")
	}
	if s.PIN != "" {
		if err := keys.enter(req, b.parameters.PINs[s.PIN]); err != nil {
			return err
		}
	}
	switch {
	case s.MAC == macNone:
		req.Unmark(64)
	case req.Class == points.ClassAuthorisation, req.Class == points.ClassFinancial, req.Class == points.ClassReversal, req.Function == points.KeyChange:
		req.Mark(64)
	}
	return nil
}

// signOn says in a sign-on which keys are wanted, and proves a master key that was fetched.
func (k *terminalKeys) signOn(req *points.Request) (err error) {
	req.NetworkCode, k.proof = networkCode(k.set), nil
	if k.next != nil {
		k.proof, err = certs.NewProof(k.next)
		req.Mark(64)
	}
	return err
}

// advance gives a message the next key serial number, at its time, and makes its keys ready.
func (k *terminalKeys) advance(req *points.Request, now points.Timestamp) (err error) {
	next, wait, err := k.ksn.AfterClock(now)
	if err != nil {
		return err
	}
	time.Sleep(wait) //nolint:forbidigo // the counter follows the clock, and nothing but time brings the next one: a millisecond at most.
	k.ksn, req.KSN = next, next
	if k.mac, err = k.derived(req, certs.DUKPTRequestMAC); err != nil {
		return err
	}
	key, err := certs.DUKPTKey(k.initial, next, certs.DUKPTPIN, k.initial.Algorithm)
	if err == nil {
		k.pin, err = certs.NewPINKey(key)
	}
	return err
}

// derived is what a message with a key serial number, or its answer, is authenticated by.
func (k *terminalKeys) derived(req *points.Request, use certs.DUKPTUse) (*certs.MAC, error) {
	key, err := certs.DUKPTKey(k.initial, req.KSN, use, k.initial.Algorithm)
	if err != nil {
		return nil, err
	}
	return certs.NewMAC(key, certs.CMAC)
}

// answers is what the answer to req is authenticated by.
func (k *terminalKeys) answers(req *points.Request) (*certs.MAC, error) {
	switch {
	case k.initial != nil:
		return k.derived(req, certs.DUKPTAnswerMAC)
	case req.Function == points.SignOn:
		return k.proof, nil
	default:
		return k.mac, nil
	}
}

func networkCode(set certs.KeySet) uint16 {
	return map[certs.KeySet]uint16{
		certs.KeySet001: 1, certs.KeySet003: 3, certs.KeySet004: 4, certs.KeySetAES128: dialect.SignOnAES128, certs.KeySetAES256: dialect.SignOnAES256, certs.KeySetHMAC: dialect.SignOnHMAC,
	}[set]
}

// aes reports whether the keys are of AES.
func (k *terminalKeys) aes() bool {
	return k.initial != nil || k.set.MAC() != certs.XORMAC
}

func (k *terminalKeys) enter(req *points.Request, pin string) error {
	format := certs.PINFormat0
	if k.aes() {
		format = certs.PINFormat4
	}
	block, err := k.pin.AppendPINBlock(nil, format, []byte(pin), req.PAN, rand.Reader)
	if err != nil {
		return fmt.Errorf("the PIN: %w", err)
	}
	const keyedWithPIN, format0 = 11, 2_600_000_000_000_000
	req.PINLen, req.EntryMode = uint8(copy(req.PIN[:], block)), keyedWithPIN //nolint:gosec // at most 16.
	if !k.aes() {
		req.Security = format0
	}
	return nil
}

// sign writes the MAC of a finished frame that has a place for one.
func (b *sender) sign(frame []byte, req *points.Request, s *Step) []byte {
	keys := b.keys[req.Terminal]
	if keys == nil || !req.Has(64) {
		return frame
	}
	by := keys.mac
	if req.Function == points.SignOn {
		by = keys.proof
	}
	if by == nil {
		return frame
	}
	if b.dialect.Sign(frame, req, by); s.MAC == macWrong {
		frame[len(frame)-1] ^= 1
	}
	return frame
}

// take opens the keys that the answer to a sign-on brings. What proved a master key comes
// under that one.
func (k *terminalKeys) take(req *points.Request, list string) error {
	if k.proof != nil {
		k.master, k.next = k.next, nil
	}
	keys, err := certs.OpenWorkingKeys(k.set, []byte(list), k.master, req.Merchant, req.Terminal)
	if err != nil {
		return err
	}
	if k.mac, err = certs.NewMAC(keys.MAC, k.set.MAC()); err != nil {
		return err
	}
	k.pin, err = certs.NewPINKey(keys.PIN)
	return err
}

// keys looks at the keys that a sign-on has brought, and at the MAC of what answers an
// authenticated message: a terminal undoes what it does not believe.
func (j *judgement) keys(x *exchange) {
	keys := j.r.sender.keys[x.request.Terminal]
	switch {
	case keys == nil || j.got.fault != nil:
	case x.request.Function == points.KeyChange && x.response.Reason.Approved():
		got := "it does"
		next, err := certs.OpenMasterBlock([]byte(x.response.List), keys.master)
		if err != nil {
			got = err.Error()
		}
		keys.next = next
		j.check(62, "the next master key opens under the master key", "主密钥密钥块", "it does", got, err == nil)
	case keys.initial == nil && x.request.Function == points.SignOn && x.response.Reason.Approved():
		got := "they do"
		err := keys.take(&x.request, x.response.List)
		if err != nil {
			got = err.Error()
		}
		j.check(62, "working keys open under the master key", "工作密钥校验", "they do", got, err == nil)
	case x.request.Has(64) && x.response.Reason != points.BadMAC:
		by, err := keys.answers(&x.request)
		right := err == nil && by != nil && j.got.echoed.Has(64) && by.Verify(j.r.dialect.Signed(j.got.body, &j.got.echoed), j.got.echoed.MAC[:])
		got := "right"
		if !right {
			got = "wrong, or none"
		}
		j.check(64, "is right", "校验", "right", got, right)
	}
}
