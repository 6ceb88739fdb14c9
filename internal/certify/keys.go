package certify

import (
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
)

// MAC is what a step does to the MAC of its message; "": it is right.
type MAC string

// What can be done to it.
const (
	macWrong MAC = "wrong"
	macNone  MAC = "none"
)

// Master finds the master key of a terminal that has keys.
type Master func(merchant points.MerchantID, terminal points.TerminalID) (*certs.Key, error)

// terminalKeys are what a terminal under test authenticates with.
type terminalKeys struct {
	set    certs.KeySet
	master *certs.Key
	mac    *certs.MAC // nil: it has not signed on
	pin    *certs.PINKey
}

// equip gives the terminals their master keys. Those whose key is not there stay without,
// and what needs them is skipped.
func (b *sender) equip(find Master) error {
	b.keys = make(map[points.TerminalID]*terminalKeys)
	for name, t := range b.parameters.Terminals {
		if t.Keys == "" || find == nil {
			continue
		}
		set, err := certs.ParseKeySet(t.Keys)
		if err != nil {
			return fmt.Errorf("certify: terminals.%s: keys: %w", name, err)
		}
		terminal, err := points.ParseTerminalID(t.ID)
		if err != nil {
			return fmt.Errorf("certify: terminals.%s: %w", name, err)
		}
		merchant, err := points.ParseMerchantID(t.Merchant)
		if err != nil {
			return fmt.Errorf("certify: terminals.%s: %w", name, err)
		}
		master, err := find(merchant, terminal)
		if errors.Is(err, certs.ErrNoKey) {
			continue
		}
		if err != nil {
			return fmt.Errorf("certify: terminals.%s: %w", name, err)
		}
		b.keys[terminal] = &terminalKeys{set: set, master: master}
	}
	return nil
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
	case keys == nil:
		return nil
	case req.Function == points.SignOn:
		req.NetworkCode = networkCode(keys.set)
		return nil
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
	case req.Class == points.ClassAuthorisation, req.Class == points.ClassFinancial, req.Class == points.ClassReversal:
		req.Mark(64)
	}
	return nil
}

func networkCode(set certs.KeySet) uint16 {
	return map[certs.KeySet]uint16{
		certs.KeySet001: 1, certs.KeySet003: 3, certs.KeySet004: 4, certs.KeySetAES128: dialect.SignOnAES128, certs.KeySetAES256: dialect.SignOnAES256,
	}[set]
}

// aes reports whether the keys are of AES.
func (k *terminalKeys) aes() bool { return k.set == certs.KeySetAES128 || k.set == certs.KeySetAES256 }

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
	if keys == nil || keys.mac == nil || !req.Has(64) {
		return frame
	}
	if b.dialect.Sign(frame, req, keys.mac); s.MAC == macWrong {
		frame[len(frame)-1] ^= 1
	}
	return frame
}

// take opens the keys that the answer to a sign-on brings.
func (k *terminalKeys) take(req *points.Request, list string) error {
	keys, err := certs.OpenWorkingKeys(k.set, []byte(list), k.master, req.Merchant, req.Terminal)
	if err != nil {
		return err
	}
	by := certs.XORMAC
	if k.aes() {
		by = certs.CMAC
	}
	if k.mac, err = certs.NewMAC(keys.MAC, by); err != nil {
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
	case x.request.Function == points.SignOn && x.response.Reason.Approved():
		got := "they do"
		err := keys.take(&x.request, x.response.List)
		if err != nil {
			got = err.Error()
		}
		j.check(62, "working keys open under the master key", "工作密钥校验", "they do", got, err == nil)
	case x.request.Has(64) && x.response.Reason != points.BadMAC:
		right := j.got.echoed.Has(64) && keys.mac.Verify(j.r.dialect.Signed(j.got.body, &j.got.echoed), j.got.echoed.MAC[:])
		got := "right"
		if !right {
			got = "wrong, or none"
		}
		j.check(64, "is right", "校验", "right", got, right)
	}
}
