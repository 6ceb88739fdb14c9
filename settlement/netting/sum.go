package netting

import "github.com/lianfen/lianfen/points"

// Sum is a signed total of 128 bits, in smallest units: 10^8 items of 15 digits fit.
// The zero value is 0.
type Sum struct {
	hi int64
	lo uint64
}

// SumOf returns a as a sum.
func SumOf(a points.Amount) Sum { return Sum{} }

// Plus returns s+t.
func (s Sum) Plus(t Sum) Sum { return Sum{} }

// Minus returns s-t.
func (s Sum) Minus(t Sum) Sum { return Sum{} }

// Neg returns -s.
func (s Sum) Neg() Sum { return Sum{} }

// Sign returns -1, 0 or 1.
func (s Sum) Sign() int { return 0 }

// Cmp returns -1, 0 or 1 as s is less than, equal to or more than t.
func (s Sum) Cmp(t Sum) int { return 0 }

// Amount returns s as an amount; ok is false when it does not fit.
func (s Sum) Amount() (a points.Amount, ok bool) { return 0, false }

// Decimal renders s with scale decimals, as [points.Amount.Decimal] does.
func (s Sum) Decimal(scale int) string { return "" }

// AppendBytes appends sixteen bytes, big-endian two's complement.
func (s Sum) AppendBytes(dst []byte) []byte { return dst }
