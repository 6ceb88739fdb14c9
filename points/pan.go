package points

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strconv"
)

// PAN is a card number or member account number of 1 to 19 digits (DE2,
// ISO/IEC 7812). Every way of printing it (all fmt verbs, JSON, text, slog)
// shows the first six and last four digits only; [PAN.AppendDigits] is the one
// way to the digits, so that a reader finds every place that takes them.
// The zero value is "no card".
type PAN struct {
	value  uint64 // the digits as a number; 19 digits fit
	length uint8  // number of digits, for leading zeros
}

// MaxPANDigits is the longest card number that DE2 carries.
const MaxPANDigits = 19

// ParsePAN reads a card number of 1 to 19 ASCII digits. The error never repeats
// the input.
func ParsePAN[T string | []byte](digits T) (PAN, error) {
	if len(digits) == 0 || len(digits) > MaxPANDigits {
		return PAN{}, Errorf(FormatError, "card number: %d digits, want 1 to %d", len(digits), MaxPANDigits)
	}
	pan := PAN{length: uint8(len(digits))} //nolint:gosec // at most 19, checked above.
	for i := range len(digits) {
		c := digits[i]
		if c < '0' || c > '9' {
			return PAN{}, Errorf(FormatError, "card number: character %d is not a digit", i+1)
		}
		pan.value = pan.value*10 + uint64(c-'0')
	}
	return pan, nil
}

// IsZero reports whether there is no card.
func (p PAN) IsZero() bool { return p.length == 0 }

// Len returns the number of digits.
func (p PAN) Len() int { return int(p.length) }

// AppendDigits appends the digits in clear. Only a codec on its way to the wire
// and the card tokenizer have a reason to call it.
func (p PAN) AppendDigits(dst []byte) []byte {
	var digits [MaxPANDigits]byte
	v := p.value
	for i := int(p.length) - 1; i >= 0; i-- {
		digits[i] = '0' + byte(v%10)
		v /= 10
	}
	return append(dst, digits[:p.length]...)
}

// Masked returns the form that people and logs may see: first six and last four
// digits, stars between; numbers shorter than 13 digits show the last four at
// most, shorter than 9 nothing.
func (p PAN) Masked() string {
	digits := p.AppendDigits(make([]byte, 0, MaxPANDigits))
	head, tail := 6, 4
	switch {
	case len(digits) < 9:
		head, tail = 0, 0
	case len(digits) < 13:
		head = 0
	}
	for i := head; i < len(digits)-tail; i++ {
		digits[i] = '*'
	}
	return string(digits)
}

// Prefix returns the first n digits as a number, for routing. ok is false when
// the card has fewer.
func (p PAN) Prefix(n int) (prefix uint64, ok bool) {
	if n < 1 || n > int(p.length) {
		return 0, false
	}
	v := p.value
	for range int(p.length) - n {
		v /= 10
	}
	return v, true
}

// String is [PAN.Masked].
func (p PAN) String() string { return p.Masked() }

// Format prints the masked number whatever the verb.
func (p PAN) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, p.Masked()) }

// MarshalText renders the masked number.
func (p PAN) MarshalText() ([]byte, error) { return []byte(p.Masked()), nil }

// MarshalJSON renders the masked number.
func (p PAN) MarshalJSON() ([]byte, error) { return json.Marshal(p.Masked()) }

// LogValue gives slog the masked number.
func (p PAN) LogValue() slog.Value { return slog.StringValue(p.Masked()) }

// CardToken stands for a card wherever something is stored: the card number
// encrypted as one block under the store's card key (see package certs). Equal
// cards have equal tokens, so it is also the index; without the key it tells
// nothing. The zero value is "no card".
type CardToken [16]byte

// IsZero reports whether there is no card.
func (t CardToken) IsZero() bool { return t == CardToken{} }

// String shows the first four bytes in hexadecimal, enough to tell two apart.
func (t CardToken) String() string {
	return fmt.Sprintf("card:%x…", t[:4])
}

// Position is a place in the journal, dense from 1. It is also the retrieval
// reference number of what stands there. 0 is "nowhere".
type Position uint64

// maxDecimalRRN is the first position that twelve decimal digits cannot hold.
const maxDecimalRRN Position = 1_000_000_000_000

// RRN renders the position as DE37: 12 decimal digits; from 10^12 on a letter
// and eleven base-36 digits, so that the two forms cannot be confused.
func (p Position) RRN() [12]byte {
	var rrn [12]byte
	if p < maxDecimalRRN {
		for i := len(rrn) - 1; i >= 0; i-- {
			rrn[i] = '0' + byte(p%10)
			p /= 10
		}
		return rrn
	}
	p -= maxDecimalRRN
	for i := len(rrn) - 1; i > 0; i-- {
		rrn[i] = base36[p%36]
		p /= 36
	}
	rrn[0] = 'A' + byte(p%26) // 26*36^11 positions: more than will ever be written.
	return rrn
}

const (
	authCodes  Position = 36 * 36 * 36 * 36 * 36 * 36
	authStride Position = 1_402_354_967 // coprime to 36: multiplying permutes the codes
)

const base36 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"

// AuthCode renders DE38 for the transaction at p: six characters out of 36, told
// by the position alone and never the same for two of 36^6 neighbours.
func (p Position) AuthCode() [6]byte {
	v := p % authCodes * authStride % authCodes
	var code [6]byte
	for i := len(code) - 1; i >= 0; i-- {
		code[i] = base36[v%36]
		v /= 36
	}
	return code
}

// PositionOfAuthCode finds the last position at or before upTo that has this
// authorisation code. ok is false when there is none.
func PositionOfAuthCode(code [6]byte, upTo Position) (p Position, ok bool) {
	const inverse = 1208044199 // authStride * inverse = 1 modulo authCodes
	var v Position
	for _, c := range code {
		switch {
		case c >= '0' && c <= '9':
			v = v*36 + Position(c-'0')
		case c >= 'A' && c <= 'Z':
			v = v*36 + Position(c-'A') + 10
		default:
			return 0, false
		}
	}
	p = v * inverse % authCodes
	if p > upTo {
		return 0, false
	}
	p += (upTo - p) / authCodes * authCodes
	return p, p > 0
}

// ParseRRN reads what [Position.RRN] wrote. Anything else is refused.
func ParseRRN[T string | []byte](rrn T) (Position, error) {
	if len(rrn) != 12 {
		return 0, Errorf(FormatError, "RRN: %d characters, want 12", len(rrn))
	}
	if rrn[0] <= '9' {
		v, err := strconv.ParseUint(string(rrn), 10, 64)
		if err != nil {
			return 0, Errorf(FormatError, "RRN: not twelve digits")
		}
		return Position(v), nil
	}
	if rrn[0] < 'A' || rrn[0] > 'Z' {
		return 0, Errorf(FormatError, "RRN: bad first character")
	}
	v := uint64(rrn[0] - 'A')
	for i := 1; i < 12; i++ {
		c := rrn[i]
		switch {
		case c >= '0' && c <= '9':
			v = v*36 + uint64(c-'0')
		case c >= 'A' && c <= 'Z':
			v = v*36 + uint64(c-'A') + 10
		default:
			return 0, Errorf(FormatError, "RRN: character %d is neither digit nor capital", i+1)
		}
	}
	return Position(v) + maxDecimalRRN, nil
}
