package points

import (
	"math"
	"math/bits"
)

// Amount is a quantity of points, or of standard points, counted in the
// smallest unit of its programme. The programme's scale says how many decimals
// a person sees; nothing computes with anything but the whole number.
type Amount int64

// MaxAmount is the largest amount that enters by any door: twelve decimal
// digits, the width of DE4. Balances may grow past it, up to what int64 holds.
const MaxAmount Amount = 999_999_999_999

// Add returns a+b. ok is false, and the sum 0, when it does not fit.
func (a Amount) Add(b Amount) (sum Amount, ok bool) {
	sum = a + b
	if (b > 0 && sum < a) || (b < 0 && sum > a) {
		return 0, false
	}
	return sum, true
}

// Sub returns a-b. ok is false, and the difference 0, when it does not fit.
func (a Amount) Sub(b Amount) (difference Amount, ok bool) {
	difference = a - b
	if (b > 0 && difference > a) || (b < 0 && difference < a) {
		return 0, false
	}
	return difference, true
}

// Neg returns -a. ok is false for the one value that has no opposite.
func (a Amount) Neg() (opposite Amount, ok bool) {
	if a == math.MinInt64 {
		return 0, false
	}
	return -a, true
}

// MulRat returns a*num/den rounded toward zero, and the remainder that the
// rounding left, in units of 1/den: a*num = quotient*den + remainder, with the
// sign of a. The product is held in 128 bits. ok is false, and both results 0,
// when den is 0 or the quotient or remainder does not fit. The caller books the
// remainder; it is never dropped.
func (a Amount) MulRat(num, den uint64) (quotient, remainder Amount, ok bool) {
	if den == 0 {
		return 0, 0, false
	}
	hi, lo := bits.Mul64(a.magnitude(), num)
	if hi >= den {
		return 0, 0, false
	}
	q, r := bits.Div64(hi, lo, den)
	if q > math.MaxInt64 || r > math.MaxInt64 {
		return 0, 0, false
	}
	quotient, remainder = Amount(q), Amount(r)
	if a < 0 {
		quotient, remainder = -quotient, -remainder
	}
	return quotient, remainder, true
}

// magnitude returns |a|, also for the most negative value.
func (a Amount) magnitude() uint64 {
	if a < 0 {
		return uint64(-(a + 1)) + 1 //nolint:gosec // -(a+1) is never negative.
	}
	return uint64(a)
}

// Decimal renders the amount for a person with scale decimals: 12345 at scale 2
// is "123.45". scale is 0 to 5.
func (a Amount) Decimal(scale int) string { return string(a.AppendDecimal(nil, scale)) }

// AppendDecimal appends what [Amount.Decimal] renders.
func (a Amount) AppendDecimal(dst []byte, scale int) []byte {
	var text [32]byte
	at := len(text)
	left := a.magnitude()
	for n := 0; n <= scale || left > 0; n++ {
		if n == scale && n > 0 {
			at--
			text[at] = '.'
		}
		at--
		text[at] = byte('0' + left%10)
		left /= 10
	}
	if a < 0 {
		at--
		text[at] = '-'
	}
	return append(dst, text[at:]...)
}
