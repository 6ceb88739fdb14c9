package book

import (
	"encoding/hex"
	"strings"

	"github.com/lianfen/lianfen/points"
)

// MAC is how a terminal's messages are authenticated. The numbers are written in the
// journal: never renumber, only append.
type MAC uint8

// MACs of terminals; 0: their messages are not authenticated.
const (
	MACByCMAC MAC = iota + 1
	MACByXOR      // the MAC of UnionPay POS
	MACByRetail
	MACByHMAC
)

var macNames = [...]string{0: "none", MACByCMAC: "cmac", MACByXOR: "cup-ecb", MACByRetail: "x9.19", MACByHMAC: "hmac-sha256"}

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

// InitialKey names the initial key of a terminal, the part of its key serial numbers that
// does not change: four bytes name the base key, four the terminal.
type InitialKey [8]byte

// String is sixteen hexadecimal digits; nothing of none.
func (k InitialKey) String() string {
	if k == (InitialKey{}) {
		return ""
	}
	return strings.ToUpper(hex.EncodeToString(k[:]))
}

// MarshalText is [InitialKey.String].
func (k InitialKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads sixteen hexadecimal digits; nothing is none.
func (k *InitialKey) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*k = InitialKey{}
		return nil
	}
	b, err := hex.DecodeString(string(text))
	if err != nil || len(b) != len(k) {
		return points.Errorf(points.FormatError, "dukpt %q: want the 16 hexadecimal digits of a terminal's initial key", text)
	}
	*k = InitialKey(b)
	return nil
}

// Flags of a terminal with keys.
const (
	terminalLax     = 1 << iota // its messages may come without a MAC
	terminalDerived             // its keys are derived for each message
)

// appendTerminalKeys writes what only terminals with keys have.
func appendTerminalKeys(dst []byte, v *Terminal) []byte {
	flags := byte(0)
	if v.MACOptional {
		flags |= terminalLax
	}
	if v.DUKPT != (InitialKey{}) {
		flags |= terminalDerived
	}
	dst = append(dst, byte(v.MAC), byte(v.PIN), flags)
	if flags&terminalDerived != 0 {
		dst = append(dst, v.DUKPT[:]...)
	}
	return dst
}

func decodeTerminalKeys(r *reader, v *Terminal) {
	v.MAC, v.PIN = MAC(r.byte()), PINRule(r.byte())
	flags := r.byte()
	v.MACOptional = flags&terminalLax != 0
	if flags&terminalDerived != 0 {
		r.fixed(v.DUKPT[:])
	}
	if flags > terminalLax|terminalDerived || (flags&terminalDerived != 0) != (v.DUKPT != InitialKey{}) || !v.keyed() {
		r.fail()
	}
}

// keyed reports whether there is anything to write by [appendTerminalKeys].
func (v *Terminal) keyed() bool {
	return v.MAC != 0 || v.PIN != 0 || v.MACOptional || v.DUKPT != InitialKey{}
}

// TerminalKeys says which working keys a terminal has: those of its last sign-on, whose
// position is their generation.
type TerminalKeys struct {
	Set        uint8 // as package certs numbers them; 0: it has none
	Generation points.Position
	Master     uint32 // the version of its master key that it has proved to have; 0: none
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

// Derived is how often a terminal has used keys of its initial key (ANSI X9.24-3).
type Derived struct {
	Key     InitialKey
	Counter uint32 // of the last message that is written; a later one has a greater
}

// Derived returns how far a terminal has come with its initial key.
func (b *Book) Derived(acquirer points.AcquirerID, merchant points.MerchantID, terminal points.TerminalID) (Derived, error) {
	b.trim()
	s, err := b.findBatches(batchesKey{acquirer, merchant, terminal})
	if s == nil || err != nil {
		return Derived{}, err
	}
	return s.derived, nil
}

// spent reports whether the derived keys of a command were used before, or others behind
// them: then somebody has recorded the message, and sends it again. What is known by its
// trace key does not come here: it gets the answer that it got. A new initial key begins
// to count anew; an old one must not come back.
func (b *Book) spent(cmd *Command) (bool, error) {
	if cmd.Counter == 0 || b.replay.of != nil {
		return false, nil
	}
	s, err := b.findBatches(batchesKey{cmd.Acquirer, cmd.Merchant, cmd.Terminal})
	if s == nil || err != nil {
		return false, err
	}
	return s.derived.Key == b.initialKey(cmd) && cmd.Counter <= s.derived.Counter, nil
}

// spend counts the derived keys of a command that is written, declined or not.
func (b *Book) spend(cmd *Command) error {
	if cmd.Counter == 0 {
		return nil
	}
	s, err := b.changeBatches(batchesKey{cmd.Acquirer, cmd.Merchant, cmd.Terminal})
	if err != nil {
		return err
	}
	s.derived = Derived{Key: b.initialKey(cmd), Counter: cmd.Counter}
	return nil
}

func (b *Book) initialKey(cmd *Command) InitialKey {
	if terminal := b.live.Terminals[cmd.Terminal]; terminal != nil {
		return terminal.DUKPT
	}
	return InitialKey{}
}
