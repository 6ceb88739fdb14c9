package sim

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
)

// Keys are what a terminal authenticates its messages and enciphers PINs with. Its master
// key was put into it by hand; a sign-on brings the others. Or it has an initial key,
// which the keys of each message are derived from (ANSI X9.24-3).
type Keys struct {
	Master *certs.Key
	// Next is the master key that it has besides: one that it has fetched, or that it may
	// have taken already. nil: none.
	Next   *certs.Key
	Set    certs.KeySet
	By     certs.MACAlgorithm
	Random io.Reader

	// Initial is the key of a terminal without a master key, and KSN the serial number of
	// the keys that it has used last, by the clock ([certs.KSN.AfterClock]).
	Initial *certs.Key
	KSN     certs.KSN
	Clock   points.Clock

	proves bool       // the next sign-on proves Next
	proof  *certs.MAC // of the sign-on that is on its way; nil: it proves nothing
	mac    *certs.MAC // nil: it has not signed on
	pin    *certs.PINKey
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
	case certs.KeySetHMAC:
		return dialect.SignOnHMAC
	default:
		return dialect.SignOnAES128
	}
}

// dress says in a sign-on which keys are wanted, and that another message has a MAC.
func (k *Keys) dress(req *points.Request) (err error) {
	moves := req.Class == points.ClassAuthorisation || req.Class == points.ClassFinancial || req.Class == points.ClassReversal
	switch {
	case k == nil:
	case k.Initial != nil && moves:
		if err := k.advance(req); err != nil {
			return err
		}
		req.Mark(64)
	case k.Initial != nil:
	case req.Function == points.SignOn:
		req.NetworkCode, k.proof = networkCode(k.Set), nil
		if k.proves {
			k.proof, err = certs.NewProof(k.Next)
			req.Mark(64)
		}
	case k.mac != nil && (moves || req.Function == points.KeyChange):
		req.Mark(64)
	}
	return err
}

// advance gives a message the next key serial number, and makes its keys ready, unless it
// has one already.
func (k *Keys) advance(req *points.Request) (err error) {
	if req.KSN == (certs.KSN{}) {
		next, wait, err := k.KSN.AfterClock(k.Clock())
		if err != nil {
			return err
		}
		time.Sleep(wait) //nolint:forbidigo // the counter follows the clock, and nothing but time brings the next one: a millisecond at most.
		k.KSN, req.KSN = next, next
	}
	if k.mac, err = k.derived(req, certs.DUKPTRequestMAC); err != nil {
		return err
	}
	key, err := certs.DUKPTKey(k.Initial, req.KSN, certs.DUKPTPIN, k.Initial.Algorithm)
	if err == nil {
		k.pin, err = certs.NewPINKey(key)
	}
	return err
}

// derived is what a message, or its answer, is authenticated by.
func (k *Keys) derived(req *points.Request, use certs.DUKPTUse) (*certs.MAC, error) {
	key, err := certs.DUKPTKey(k.Initial, req.KSN, use, k.Initial.Algorithm)
	if err != nil {
		return nil, err
	}
	return certs.NewMAC(key, certs.CMAC)
}

// sign writes the MAC of a frame that has a place for one.
func (k *Keys) sign(d *dialect.Dialect, frame []byte, req *points.Request) {
	switch {
	case k == nil:
	case req.Function == points.SignOn && k.proof != nil:
		d.Sign(frame, req, k.proof)
	case k.mac != nil:
		d.Sign(frame, req, k.mac)
	}
}

// hears takes the keys that a sign-on brings, and checks the MAC of what approves, as
// terminals do.
func (k *Keys) hears(t *Terminal, receipt *Receipt, echoed *points.Request) (err error) {
	if k == nil {
		return nil
	}
	signsOn := receipt.Request.Function == points.SignOn
	if !receipt.Response.Reason.Approved() {
		k.proves = k.proves && !signsOn // The one before may still be in force.
		return nil
	}
	by := k.mac
	switch {
	case k.Initial != nil && signsOn:
		return nil
	case k.Initial != nil:
		by, err = k.derived(&receipt.Request, certs.DUKPTAnswerMAC)
	case signsOn:
		by = k.proof
	}
	if err != nil {
		return err
	}
	if receipt.Request.Has(64) && by != nil && !by.Verify(t.dialect.Signed(receipt.Got, echoed), echoed.MAC[:]) {
		return ErrForged
	}
	switch {
	case signsOn:
		return k.take([]byte(receipt.Response.List), t.Identity)
	case receipt.Request.Function == points.KeyChange:
		k.Next, err = certs.OpenMasterBlock([]byte(receipt.Response.List), k.Master)
		k.proves = err == nil
	}
	return err
}

// take opens what a sign-on has brought, under the master key that it turns out to be
// under: a terminal keeps both until one of them has opened something.
func (k *Keys) take(wrapped []byte, who Identity) error {
	keys, err := certs.OpenWorkingKeys(k.Set, wrapped, k.Master, who.Merchant, who.Terminal)
	if err != nil && k.Next != nil {
		if keys, err = certs.OpenWorkingKeys(k.Set, wrapped, k.Next, who.Merchant, who.Terminal); err == nil {
			k.Master, k.Next, k.proves = k.Next, nil, false
		}
	}
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
	if k != nil && k.Initial != nil {
		if err := k.advance(req); err != nil {
			return err
		}
	}
	if k == nil || k.pin == nil {
		return errors.New("a PIN is entered at a terminal that has signed on for keys")
	}
	format := certs.PINFormat4
	if k.By == certs.XORMAC {
		format = certs.PINFormat0
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
