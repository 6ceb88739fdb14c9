package pointswitch

import (
	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/points"
)

// StampOf is stampOf, for tests.
var StampOf = stampOf

// HoldersForTest are the things of a switch that hold keys of terminals and partners, among
// them those of the message with a key serial number.
func HoldersForTest(s *Switch, ksn certs.KSN, now points.Timestamp) []any {
	derived := new(derivedKeys)
	if err := s.keys.deriveFor(&derived.message, ksn, now); err != nil {
		panic(err)
	}
	derived.keys.mac = derived.message.Answer()
	var err error
	if derived.keys.pin, err = derived.message.PIN(); err != nil {
		panic(err)
	}
	x := &exchange{derived: derived, keys: &derived.keys}
	all := []any{s.keys, s.keys.derived, s.keys.verifier, s.keys.store, derived, &derived.keys, &derived.message, x}
	s.keys.mu.RLock()
	defer s.keys.mu.RUnlock()
	for _, keys := range s.keys.of {
		all = append(all, keys, keys.mac, keys.pin)
	}
	for _, given := range s.keys.given {
		for _, keys := range given {
			all = append(all, keys, *keys, keys.derived, keys.workingKeys)
		}
	}
	return all
}
