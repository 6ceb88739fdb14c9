package tariff

import (
	"math"
	"math/bits"

	"github.com/lianfen/lianfen/points"
)

// Million is the denominator of rates in parts per million.
const Million = 1_000_000

// MaxValue is the largest amount of an item and of its value: 15 digits.
const MaxValue points.Amount = 999_999_999_999_999

// MaxFee is the largest fee, interchange or share of one item: 12 digits.
const MaxFee points.Amount = 999_999_999_999

// HalfEven returns a*num/den rounded to the nearest unit, halves to the even one,
// the same on both sides of zero. The product is held in 128 bits. ok is false, and
// the result 0, when den is 0 or the result does not fit.
func HalfEven(a points.Amount, num, den uint64) (result points.Amount, ok bool) {
	hi, lo := bits.Mul64(magnitude(a), num)
	if hi >= den {
		return 0, false
	}
	q, r := bits.Div64(hi, lo, den)
	if r > den-r || (r == den-r && q&1 == 1) {
		q++
	}
	return signed(q, a < 0)
}

// Floor0 returns a*num/den rounded toward zero. The product is held in 128 bits. ok
// is false, and the result 0, when den is 0 or the result does not fit.
func Floor0(a points.Amount, num, den uint64) (result points.Amount, ok bool) {
	hi, lo := bits.Mul64(magnitude(a), num)
	if hi >= den {
		return 0, false
	}
	q, _ := bits.Div64(hi, lo, den)
	return signed(q, a < 0)
}

// magnitude returns |a|, also of the most negative value.
func magnitude(a points.Amount) uint64 {
	if a < 0 {
		return -uint64(a) //nolint:gosec // two's complement: the negation is |a|.
	}
	return uint64(a)
}

// signed returns q with a sign; ok is false when that does not fit.
func signed(q uint64, negative bool) (points.Amount, bool) {
	if q > math.MaxInt64 {
		return 0, false
	}
	if negative {
		return -points.Amount(q), true
	}
	return points.Amount(q), true
}

// A Weight is one party's claim in a [Split].
type Weight struct {
	Member Member
	Weight uint64
}

// Split divides total by weights into shares, by largest remainder: everybody gets
// the whole units of its part, and the units left over go to the largest
// remainders, ties to the lower member number, then to the earlier one. Shares sum
// to total exactly, and those of -total are the opposites. ok is false, and shares
// undefined, when there are more weights than shares, their sum is 0, or it does
// not fit 63 bits.
func Split(total points.Amount, weights []Weight, shares []points.Amount) (ok bool) {
	var sum uint64
	for i := range weights {
		if weights[i].Weight > math.MaxInt64-sum {
			return false
		}
		sum += weights[i].Weight
	}
	if sum == 0 || len(weights) > len(shares) {
		return false
	}
	var few [MaxShares]uint64
	remainders := few[:]
	if len(weights) > len(few) {
		remainders = make([]uint64, len(weights))
	}
	left := magnitude(total)
	for i := range weights {
		hi, lo := bits.Mul64(magnitude(total), weights[i].Weight)
		q, r := bits.Div64(hi, lo, sum) // hi < sum, since no weight is more than the sum.
		remainders[i], left = r, left-q
		if shares[i], ok = signed(q, total < 0); !ok {
			return false
		}
	}
	// Fewer units are left than there are remainders that are not 0.
	for ; left > 0; left-- {
		best := 0
		for i := 1; i < len(weights); i++ {
			if remainders[i] > remainders[best] ||
				(remainders[i] == remainders[best] && weights[i].Member < weights[best].Member) {
				best = i
			}
		}
		remainders[best] = 0
		if total < 0 {
			shares[best]--
		} else {
			shares[best]++
		}
	}
	return true
}
