package sim

import (
	"errors"
	"fmt"
	"io"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
)

// Keys are what a terminal authenticates its messages and enciphers PINs with. Its master
// key was put into it by hand; a sign-on brings the others.
type Keys struct {
	Master *certs.Key
	Set    certs.KeySet
	By     certs.MACAlgorithm
	Random io.Reader

	mac *certs.MAC // nil: it has not signed on
	pin *certs.PINKey
}

// MAC is what a script's step does to the MAC of its message; "": it is right.
type MAC string

// What can be done to it.
const (
	// MACWrong is a MAC of which a bit is wrong.
	MACWrong MAC = "wrong"
	// MACNone is a message without one.
	MACNone MAC = "none"
)

// ErrForged says that the MAC of an answer is wrong: a terminal does not believe it, and
// reverses what it had asked for.
var ErrForged = errors.New("the MAC of the answer is wrong")

// networkCode is what 60.3 of a sign-on says for a set of keys.
func networkCode(set certs.KeySet) uint16 {
	switch set {
	case certs.KeySet001:
		return 1
	case certs.KeySet003:
		return 3
	case certs.KeySet004:
		return 4
	case certs.KeySetAES256:
		return dialect.SignOnAES256
	default:
		return dialect.SignOnAES128
	}
}

// dress says in a sign-on which keys are wanted, and that another message has a MAC.
func (k *Keys) dress(req *points.Request) {
	switch {
	case k == nil:
	case req.Function == points.SignOn:
		req.NetworkCode = networkCode(k.Set)
	case k.mac != nil && (req.Class == points.ClassAuthorisation || req.Class == points.ClassFinancial || req.Class == points.ClassReversal):
		req.Mark(64)
	}
}

// sign writes the MAC of a frame that has a place for one.
func (k *Keys) sign(d *dialect.Dialect, frame []byte, req *points.Request) {
	if k != nil && k.mac != nil {
		d.Sign(frame, req, k.mac)
	}
}

// hears takes the keys that a sign-on brings, and checks the MAC of what approves, as
// terminals do.
func (k *Keys) hears(t *Terminal, receipt *Receipt, echoed *points.Request) error {
	if k == nil || !receipt.Response.Reason.Approved() {
		return nil
	}
	if receipt.Request.Function == points.SignOn {
		return k.take([]byte(receipt.Response.List), t.Identity)
	}
	if receipt.Request.Has(64) && k.mac != nil && !k.mac.Verify(t.dialect.Signed(receipt.Got, echoed), echoed.MAC[:]) {
		return ErrForged
	}
	return nil
}

func (k *Keys) take(wrapped []byte, who Identity) error {
	keys, err := certs.OpenWorkingKeys(k.Set, wrapped, k.Master, who.Merchant, who.Terminal)
	if err != nil {
		return err
	}
	if k.mac, err = certs.NewMAC(keys.MAC, k.By); err != nil {
		return err
	}
	k.pin, err = certs.NewPINKey(keys.PIN)
	return err
}

// Enter puts the PIN of req's card into req, enciphered.
func (k *Keys) Enter(req *points.Request, pin []byte) error {
	if k == nil || k.pin == nil {
		return errors.New("a PIN is entered at a terminal that has signed on for keys")
	}
	format := certs.PINFormat0
	if k.By == certs.CMAC {
		format = certs.PINFormat4
	}
	block, err := k.pin.AppendPINBlock(nil, format, pin, req.PAN, k.Random)
	if err != nil {
		return fmt.Errorf("enter the PIN: %w", err)
	}
	const withCard, entryWithPIN = 2_600_000_000_000_000, 11 // DE53 26: format 0; DE22: typed in, with a PIN
	req.PINLen = uint8(copy(req.PIN[:], block))              //nolint:gosec // eight, or sixteen.
	if req.EntryMode = entryWithPIN; format == certs.PINFormat0 {
		req.Security = withCard
	}
	return nil
}
