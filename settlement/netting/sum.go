package netting

import (
	"encoding/binary"
	"math/bits"
	"strings"

	"github.com/lianfen/lianfen/points"
)

// Sum is a signed total of 128 bits, in smallest units: 10^8 items of 15 digits fit
// ten million times. The zero value is 0.
type Sum struct {
	hi int64
	lo uint64
}

// SumOf returns a as a sum.
func SumOf(a points.Amount) Sum {
	return Sum{hi: int64(a) >> 63, lo: uint64(a)} //nolint:gosec // two's complement, extended by its sign.
}

// Plus returns s+t.
func (s Sum) Plus(t Sum) Sum {
	lo, carry := bits.Add64(s.lo, t.lo, 0)
	return Sum{hi: s.hi + t.hi + int64(carry), lo: lo} //nolint:gosec // 0 or 1.
}

// Minus returns s-t.
func (s Sum) Minus(t Sum) Sum {
	lo, borrow := bits.Sub64(s.lo, t.lo, 0)
	return Sum{hi: s.hi - t.hi - int64(borrow), lo: lo} //nolint:gosec // 0 or 1.
}

// Neg returns -s.
func (s Sum) Neg() Sum { return Sum{}.Minus(s) }

// Sign returns -1, 0 or 1.
func (s Sum) Sign() int {
	switch {
	case s.hi < 0:
		return -1
	case s.hi == 0 && s.lo == 0:
		return 0
	default:
		return 1
	}
}

// Cmp returns -1, 0 or 1 as s is less than, equal to or more than t.
func (s Sum) Cmp(t Sum) int { return s.Minus(t).Sign() }

// Amount returns s as an amount; ok is false, and the amount 0, when it does not fit.
func (s Sum) Amount() (a points.Amount, ok bool) {
	a = points.Amount(s.lo) //nolint:gosec // compared with s below.
	if SumOf(a) != s {
		return 0, false
	}
	return a, true
}

// Decimal renders s with scale decimals, as [points.Amount.Decimal] does.
func (s Sum) Decimal(scale int) string {
	if a, ok := s.Amount(); ok {
		return a.Decimal(scale)
	}
	sign, rest := "", s
	if s.Sign() < 0 {
		sign, rest = "-", s.Neg()
	}
	var digits [40]byte
	at := len(digits)
	hi, lo := uint64(rest.hi), rest.lo //nolint:gosec // not negative, or 2^127.
	for hi != 0 || lo != 0 {
		var remainder uint64
		hi, remainder = hi/10, hi%10
		lo, remainder = bits.Div64(remainder, lo, 10)
		at--
		digits[at] = '0' + byte(remainder) //nolint:gosec // a digit.
	}
	text := string(digits[at:])
	if scale > 0 {
		text = strings.Repeat("0", max(0, scale+1-len(text))) + text
		text = text[:len(text)-scale] + "." + text[len(text)-scale:]
	}
	return sign + text
}

// String is [Sum.Decimal] without decimals.
func (s Sum) String() string { return s.Decimal(0) }

// AppendBytes appends sixteen bytes, big-endian two's complement.
func (s Sum) AppendBytes(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(s.hi)) //nolint:gosec // the same 64 bits.
	return binary.BigEndian.AppendUint64(dst, s.lo)
}
