package book

import (
	"crypto/subtle"
	"fmt"
	"io"
	"strings"

	"github.com/lianfen/lianfen/points"
)

// PINValue is what is kept of a card's PIN to compare it by. It is made, and can be made
// only, by who has the key for PIN verification; here it is 16 bytes.
type PINValue [16]byte

// Format hides the value: who has it and the key can try all PINs.
func (v PINValue) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, "***") }

// MarshalText hides the value.
func (v PINValue) MarshalText() ([]byte, error) { return []byte("***"), nil }

// IsZero reports whether there is no PIN.
func (v PINValue) IsZero() bool { return v == PINValue{} }

// PINResult is what comparing the PIN of a request has come to. The numbers are written
// in the journal: never renumber, only append.
type PINResult uint8

// Results. 0: the request brought no PIN.
const (
	PINRight PINResult = iota + 1
	PINWrong
	// PINUnreadable: the block holds no PIN, under the terminal's key and for this card.
	PINUnreadable
	// PINUnknown: there is none to compare it with.
	PINUnknown

	pinResultCount
)

// Bounds of how often in a row a PIN may be wrong before it is locked.
const (
	MinPINTries = 3
	MaxPINTries = 6
)

// pin is what is kept of a card's PIN.
//
//	      wrong, tries < limit            wrong, tries = limit
//	    ┌──────┐                  ┌───────────────────────────────> locked
//	open <─────┴──────────────────┘                                   │
//	 ^ right: tries = 0                                               │
//	 └───────────── set, changed, unlocked (KindPIN) ────────────────┘
type pin struct {
	value PINValue
	limit uint8 // so many wrong ones in a row lock it
	tries uint8 // wrong ones in a row
}

func (p *pin) locked() bool { return p.tries >= p.limit }

// ComparePIN turns the value that a request's PIN has ([Command.PINValue]) into what the
// command says of it ([Command.PINResult]). The shell calls it right before [Book.Apply], on the
// same goroutine: so no change of the PIN and no other try comes between. The value is
// taken out of the command: the result alone is written, and a replay needs no key. An
// error is a fault of the Source.
func (b *Book) ComparePIN(cmd *Command) error {
	if cmd.Kind == KindPIN || cmd.PINValue.IsZero() {
		return nil
	}
	c, err := b.findCard(cmd.Card)
	if err != nil {
		b.fault = fmt.Errorf("book: find the PIN to compare with: %w", err)
		return b.fault
	}
	switch {
	case c == nil || c.pin.value.IsZero():
		cmd.PINResult = PINUnknown
	case subtle.ConstantTimeCompare(c.pin.value[:], cmd.PINValue[:]) == 1:
		cmd.PINResult = PINRight
	default:
		cmd.PINResult = PINWrong
	}
	cmd.PINValue = PINValue{}
	return nil
}

// pinned decides by the PIN (messages.md 10.3: behind the limits, before the points):
// whether one is needed, and whether what came is it. A locked PIN is not looked at, so
// that who tries on learns nothing.
func (b *Book) pinned(cmd *Command, program *Program, amount points.Amount) (points.Reason, error) {
	if b.replayed(cmd) != nil { // It was approved then; who was not does not come here.
		return points.Approved, nil
	}
	switch cmd.PINResult {
	case PINUnreadable:
		return points.BadPINFormat, nil
	case PINRight, PINWrong:
		c, err := b.findCard(cmd.Card)
		switch {
		case err != nil:
			return 0, err
		case c == nil || c.pin.value.IsZero():
			return points.WrongPIN, nil // A command that was made up; nothing is counted.
		case c.pin.locked():
			return points.PINTriesExceeded, nil
		case cmd.PINResult == PINWrong:
			return points.WrongPIN, nil
		}
		return points.Approved, nil
	default:
	}
	if Told(cmd.Function) {
		return points.Approved, nil // It has happened; nobody is there to ask.
	}
	terminal := b.live.Terminals[cmd.Terminal]
	from := points.Amount(0)
	if program != nil {
		from = program.Rules.PINFrom
	}
	if (terminal != nil && terminal.PIN == PINDemanded) || (from > 0 && amount >= from) {
		return points.PINRequired, nil
	}
	return points.Approved, nil
}

// pinnedTender is [Book.pinned] for a sale that several programmes pay: one PIN does for
// all, and is needed where one of them needs it for its part.
func (b *Book) pinnedTender(cmd *Command, stakes []stake) (points.Reason, error) {
	reason, err := b.pinned(cmd, nil, 0)
	for i := 0; i < len(stakes) && err == nil && reason.Approved() && cmd.PINResult != PINRight; i++ {
		reason, err = b.pinned(cmd, stakes[i].program, stakes[i].leg.Amount)
	}
	return reason, err
}

// tried counts what came of a PIN: a wrong one, and that a right one has been used. It
// is called for what is written only, so that the journal tells every count.
func (b *Book) tried(cmd *Command, reason points.Reason) error {
	wrong := cmd.PINResult == PINWrong && reason == points.WrongPIN
	if !wrong && (cmd.PINResult != PINRight || !reason.Approved()) {
		return nil
	}
	c, err := b.findCard(cmd.Card)
	if err != nil || c == nil || c.pin.value.IsZero() {
		return err
	}
	switch {
	case wrong:
		b.touch(c)
		c.pin.tries++
	case c.pin.tries > 0:
		b.touch(c)
		c.pin.tries = 0
	}
	return nil
}

// setPIN sets or changes the PIN of a card, or, without a value, unlocks the one it has.
func (b *Book) setPIN(cmd *Command, out *Outcome) (points.Reason, error) {
	if strings.TrimSpace(cmd.Operator) == "" {
		return points.NotPermitted, nil
	}
	c, err := b.findCard(cmd.Card)
	switch {
	case err != nil:
		return 0, err
	case c == nil:
		return points.UnknownCard, nil
	}
	out.Member = c.Member
	next := c.pin
	next.tries = 0
	if cmd.Limit != 0 {
		if cmd.Limit < MinPINTries || cmd.Limit > MaxPINTries {
			return points.FormatError, nil
		}
		next.limit = uint8(cmd.Limit)
	}
	if !cmd.PINValue.IsZero() {
		next.value = cmd.PINValue
	}
	if next.value.IsZero() {
		return points.NotPermitted, nil // There is none to unlock.
	}
	if next.limit == 0 {
		next.limit = MinPINTries
	}
	b.touch(c)
	c.pin = next
	return points.Approved, nil
}

// PINView is what may be told of a card's PIN.
type PINView struct {
	Set    bool
	Tries  uint8 // wrong ones in a row
	Limit  uint8
	Locked bool
}

// PIN tells of the PIN of a card; ok is false when there is no such card.
func (b *Book) PIN(token points.CardToken) (view PINView, ok bool, err error) {
	b.trim()
	c, err := b.findCard(token)
	if c == nil || err != nil {
		return PINView{}, false, err
	}
	if c.pin.value.IsZero() {
		return PINView{}, true, nil
	}
	return PINView{Set: true, Tries: c.pin.tries, Limit: c.pin.limit, Locked: c.pin.locked()}, true, nil
}

func appendPIN(dst []byte, p *pin) []byte {
	if p.value.IsZero() {
		return dst
	}
	return append(append(dst, p.value[:]...), p.limit, p.tries)
}

// decodePIN reads what may stand behind a card.
func decodePIN(r *reader) (p pin) {
	if r.bad || len(r.src) == 0 {
		return pin{}
	}
	r.fixed(p.value[:])
	p.limit, p.tries = r.byte(), r.byte()
	if p.value.IsZero() || p.limit < MinPINTries || p.limit > MaxPINTries || p.tries > p.limit {
		r.fail()
	}
	return p
}
