package sim

import (
	"errors"
	"fmt"
	"io"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
)

// HostKeys are what a partner's host shares with the switch: the zone master key, which was
// put into both by hand, and the keys that have been exchanged since. It keeps no keystore;
// when it starts it has no others, and gets some. It is used by one goroutine at a time.
type HostKeys struct {
	Zone   certs.Zone
	Master *certs.Key
	By     certs.MACAlgorithm
	Random io.Reader

	now, before hostPair
	seen        map[string]bool // check values of keys that were here
}

// hostPair are the keys of one exchange, made ready.
type hostPair struct {
	mac *certs.MAC // nil: none were exchanged
	pin *certs.PINKey
}

// errSeen says that keys came a second time.
var errSeen = errors.New("these keys have been here before")

// take puts keys in force that came as key blocks. Those before are believed until the next
// exchange.
func (k *HostKeys) take(blocks, checks []byte) error {
	if k.seen[string(checks)] {
		return errSeen
	}
	keys, err := certs.ZoneKeysOf(k.Zone, k.Master, blocks, checks)
	if err != nil {
		return err
	}
	if keys.MAC == nil {
		return fmt.Errorf("%v: no key for MACs came", k.Zone)
	}
	var next hostPair
	if next.mac, err = certs.NewMAC(keys.MAC, k.By); err != nil {
		return err
	}
	if keys.PIN != nil {
		if next.pin, err = certs.NewPINKey(keys.PIN); err != nil {
			return err
		}
	}
	if k.seen == nil {
		k.seen = make(map[string]bool)
	}
	k.seen[string(checks)] = true
	k.before, k.now = k.now, next
	return nil
}

// verify finds the keys by which a message of the switch has its MAC; ok is false where it
// is not to be believed.
func (k *HostKeys) verify(d *dialect.Dialect, frame []byte, req *points.Request) (by hostPair, ok bool) {
	if !req.Has(64) && !req.Has(128) {
		return hostPair{}, false
	}
	signed := d.Signed(frame, req)
	for _, pair := range []hostPair{k.now, k.before} {
		if pair.mac != nil && pair.mac.Verify(signed, req.MAC[:]) {
			return pair, true
		}
	}
	return hostPair{}, false
}

// holds reports whether the PIN block of req is of pin.
func (p hostPair) holds(req *points.Request, pin points.Secret) bool {
	format := certs.PINFormat4
	if req.PINLen == 8 {
		format = certs.PINFormat0
	}
	return p.pin != nil && p.pin.Holds(format, req.PIN[:req.PINLen], req.PAN, []byte(pin))
}

// Enter puts a PIN into req, enciphered.
func (k *HostKeys) Enter(req *points.Request, pin []byte) error {
	if k == nil || k.now.pin == nil {
		return errors.New("a PIN is sent by a host that has exchanged keys")
	}
	format := certs.PINFormat4
	if k.By == certs.RetailMAC {
		format = certs.PINFormat0
	}
	block, err := k.now.pin.AppendPINBlock(nil, format, pin, req.PAN, k.Random)
	if err != nil {
		return fmt.Errorf("enter the PIN: %w", err)
	}
	req.PINLen = uint8(copy(req.PIN[:], block)) //nolint:gosec // at most sixteen.
	return nil
}
