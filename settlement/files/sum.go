package files

import (
	"fmt"
	"math/bits"

	"github.com/lianfen/lianfen/points"
)

// Sum is a total of amounts, in 128 bits: two's complement, so that it can be negative.
// Millions of lines of the largest amount do not overflow it.
type Sum struct {
	hi, lo uint64
}

// SumOf is a total of one amount.
func SumOf(a points.Amount) Sum { return Sum{}.plus(a) }

func (s Sum) plus(a points.Amount) Sum {
	return s.add(Sum{hi: uint64(a >> 63), lo: uint64(a)}) //nolint:gosec // the sign goes into the upper half.
}

func (s Sum) minus(a points.Amount) Sum {
	return s.add(Sum{hi: uint64(a >> 63), lo: uint64(a)}.negated()) //nolint:gosec // as above.
}

func (s Sum) add(t Sum) Sum {
	lo, carry := bits.Add64(s.lo, t.lo, 0)
	hi, _ := bits.Add64(s.hi, t.hi, carry)
	return Sum{hi, lo}
}

// Add returns s + t.
func (s Sum) Add(t Sum) Sum { return s.add(t) }

// Plus returns s + a.
func (s Sum) Plus(a points.Amount) Sum { return s.plus(a) }

func (s Sum) negated() Sum {
	lo, borrow := bits.Sub64(0, s.lo, 0)
	hi, _ := bits.Sub64(0, s.hi, borrow)
	return Sum{hi, lo}
}

// plusID returns s + id modulo 10^20.
func (s Sum) plusID(id uint64) Sum {
	const tenTo20Hi, tenTo20Lo = 5, 7_766_279_631_452_241_920 // 10^20 = hi * 2^64 + lo
	s = s.add(Sum{lo: id})
	if lo, borrow := bits.Sub64(s.lo, tenTo20Lo, 0); s.hi >= tenTo20Hi {
		if hi, under := bits.Sub64(s.hi, tenTo20Hi, borrow); under == 0 {
			return Sum{hi, lo}
		}
	}
	return s
}

func (s Sum) negative() bool { return s.hi>>63 != 0 }

// Zero reports whether the total is zero.
func (s Sum) Zero() bool { return s == Sum{} }

// Amount returns the total where it fits an amount.
func (s Sum) Amount() (points.Amount, bool) {
	a := points.Amount(s.lo) //nolint:gosec // checked by the way back.
	return a, SumOf(a) == s
}

// halves splits a total that is not negative into its last ten digits and what is
// before them. ok is false above 20 digits.
func (s Sum) halves() (upper, lower uint64, ok bool) {
	const tenTo10 = 10_000_000_000
	if s.hi >= tenTo10 {
		return 0, 0, false
	}
	upper, lower = bits.Div64(s.hi, s.lo, tenTo10)
	return upper, lower, upper < tenTo10
}

// Digits renders the total with its sign and no decimals; "?" stands for more than 20
// digits, which no file carries.
func (s Sum) Digits() string {
	sign := ""
	if s.negative() {
		sign, s = "-", s.negated()
	}
	upper, lower, ok := s.halves()
	switch {
	case !ok:
		return "?"
	case upper > 0:
		return fmt.Sprintf("%s%d%010d", sign, upper, lower)
	}
	return fmt.Sprintf("%s%d", sign, lower)
}

// Decimal renders the total for a person with scale decimals.
func (s Sum) Decimal(scale int) string { return pointed(s.Digits(), scale) }

// appendDecimal appends what Decimal renders.
func (s Sum) appendDecimal(dst []byte, scale int) []byte {
	if a, fits := s.Amount(); fits {
		return a.AppendDecimal(dst, scale)
	}
	return append(dst, s.Decimal(scale)...)
}

// pointed puts a decimal point before the last scale digits.
func pointed(digits string, scale int) string {
	sign := ""
	if len(digits) > 0 && digits[0] == '-' {
		sign, digits = "-", digits[1:]
	}
	for len(digits) <= scale {
		digits = "0" + digits
	}
	if scale == 0 {
		return sign + digits
	}
	return sign + digits[:len(digits)-scale] + "." + digits[len(digits)-scale:]
}

func putSum(dst []byte, s Sum) bool {
	const half = 10
	upper, lower, ok := s.halves()
	return ok && putDigits(dst[:half], upper) && putDigits(dst[half:], lower)
}

func takeSum(src []byte) (Sum, bool) {
	const half = 10
	upper, ok := takeDigits(src[:half])
	lower, good := takeDigits(src[half:])
	hi, lo := bits.Mul64(upper, 10_000_000_000)
	return Sum{hi, lo}.add(Sum{lo: lower}), ok && good
}

// total is a sum that is never negative: 20 digits.
func total[R any](name, content string, at func(*R) *Sum) field[R] {
	return field[R]{
		Field: Field{Name: name, Type: "n", Width: 20, Content: content}, fill: '0',
		put: func(dst []byte, r *R) bool { return !at(r).negative() && putSum(dst, *at(r)) },
		take: func(src []byte, r *R) string {
			s, ok := takeSum(src)
			if !ok {
				return "20 digits"
			}
			*at(r) = s
			return ""
		},
	}
}

// signedTotal is a sum with its sign: C or D and 20 digits.
func signedTotal[R any](name, content string, at func(*R) *Sum) field[R] {
	return field[R]{
		Field: Field{Name: name, Type: "x+n", Width: 21, Content: content}, fill: '0',
		put: func(dst []byte, r *R) bool {
			s := *at(r)
			dst[0] = 'C'
			if s.negative() {
				dst[0], s = 'D', s.negated()
			}
			return putSum(dst[1:], s)
		},
		take: func(src []byte, r *R) string {
			s, ok := takeSum(src[1:])
			if !ok || (src[0] != 'C' && src[0] != 'D') || (src[0] == 'D' && s.Zero()) {
				return "C or D (C for zero) and 20 digits"
			}
			*at(r) = s
			if src[0] == 'D' {
				*at(r) = s.negated()
			}
			return ""
		},
	}
}
