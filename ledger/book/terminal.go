package book

import "github.com/lianfen/lianfen/points"

// MAC is how a terminal's messages are authenticated. The numbers are written in the
// journal: never renumber, only append.
type MAC uint8

// MACs of terminals; 0: their messages are not authenticated.
const (
	MACByCMAC MAC = iota + 1
	MACByXOR      // the MAC of UnionPay POS
	MACByRetail
)

var macNames = [...]string{0: "none", MACByCMAC: "cmac", MACByXOR: "cup-ecb", MACByRetail: "x9.19"}

// String is the algorithm's word, as package certs has it.
func (m MAC) String() string { return nameAt(macNames[:], uint8(m), "mac") }

// MarshalText is [MAC.String].
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads a word; nothing is none.
func (m *MAC) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*m = 0
		return nil
	}
	at, err := nameIndex(macNames[:], text, "mac")
	*m = MAC(at)
	return err
}

// PINRule is what a terminal's PINs are to the switch. The numbers are written in the
// journal.
type PINRule uint8

// PIN rules.
const (
	// PINTaken: one that comes is verified.
	PINTaken PINRule = iota
	// PINDemanded: nothing is spent or looked at without one.
	PINDemanded
)

var pinRuleNames = [...]string{PINTaken: "taken", PINDemanded: "required"}

// String is the word for the rule.
func (p PINRule) String() string { return nameAt(pinRuleNames[:], uint8(p), "pin") }

// MarshalText is [PINRule.String].
func (p PINRule) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads a word; nothing is taken.
func (p *PINRule) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*p = PINTaken
		return nil
	}
	at, err := nameIndex(pinRuleNames[:], text, "pin")
	*p = PINRule(at)
	return err
}

// terminalLax says that a message of a terminal with keys may come without a MAC.
const terminalLax = 1

// appendTerminalKeys writes what only terminals with keys have.
func appendTerminalKeys(dst []byte, v *Terminal) []byte {
	flags := byte(0)
	if v.MACOptional {
		flags |= terminalLax
	}
	return append(dst, byte(v.MAC), byte(v.PIN), flags)
}

func decodeTerminalKeys(r *reader, v *Terminal) {
	v.MAC, v.PIN = MAC(r.byte()), PINRule(r.byte())
	flags := r.byte()
	v.MACOptional = flags&terminalLax != 0
	if flags > terminalLax || !v.keyed() {
		r.fail()
	}
}

// keyed reports whether there is anything to write by [appendTerminalKeys].
func (v *Terminal) keyed() bool { return v.MAC != 0 || v.PIN != 0 || v.MACOptional }

// TerminalKeys says which working keys a terminal has: those of its last sign-on, whose
// position is their generation.
type TerminalKeys struct {
	Set        uint8 // as package certs numbers them; 0: it has none
	Generation points.Position
}

// Keys returns which working keys a terminal has.
func (b *Book) Keys(acquirer points.AcquirerID, merchant points.MerchantID, terminal points.TerminalID) (TerminalKeys, error) {
	b.trim()
	s, err := b.findBatches(batchesKey{acquirer, merchant, terminal})
	if s == nil || err != nil {
		return TerminalKeys{}, err
	}
	return s.keys, nil
}
