package tariff_test

import (
	"math"
	"math/big"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// wholes draws numbers of all sizes, small ones and edges often.
func wholes(most uint64) *rapid.Generator[uint64] {
	return rapid.OneOf(
		rapid.Uint64Range(0, min(most, 20)), rapid.Uint64Range(0, most), rapid.SampledFrom([]uint64{most, most - 1, most / 2, most/2 + 1}),
	)
}

func amounts() *rapid.Generator[points.Amount] {
	return rapid.Map(rapid.OneOf(rapid.Int64(), rapid.Int64Range(-100, 100), rapid.SampledFrom([]int64{math.MinInt64, math.MaxInt64})),
		func(n int64) points.Amount { return points.Amount(n) })
}

// Rounding is to the nearest whole number, halves to the even one, or toward zero, as
// exact fractions say; what does not fit is refused and never wraps.
func TestRoundingIsThatOfExactFractions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := amounts().Draw(t, "a")
		num, den := wholes(math.MaxUint64).Draw(t, "num"), wholes(math.MaxUint64).Draw(t, "den")
		half, halfFits := tariff.HalfEven(a, num, den)
		floor, floorFits := tariff.Floor0(a, num, den)
		if den == 0 {
			require.False(t, halfFits)
			require.False(t, floorFits)
			return
		}
		product := new(big.Int).Mul(big.NewInt(int64(a)), new(big.Int).SetUint64(num))
		toZero, rest := new(big.Int).QuoRem(product, new(big.Int).SetUint64(den), new(big.Int))
		// Twice the rest against the whole: less, more, or just half.
		nearest := new(big.Int).Set(toZero)
		twice := new(big.Int).Lsh(new(big.Int).Abs(rest), 1)
		if c := twice.Cmp(new(big.Int).SetUint64(den)); c > 0 || (c == 0 && toZero.Bit(0) == 1) {
			nearest.Add(nearest, big.NewInt(int64(product.Sign())))
		}
		symmetric := func(n *big.Int) bool { return new(big.Int).Abs(n).IsInt64() } // the most negative value has no opposite
		require.Equal(t, symmetric(toZero), floorFits)
		require.Equal(t, symmetric(nearest), halfFits)
		if floorFits {
			require.Equal(t, toZero.Int64(), int64(floor))
		}
		if halfFits {
			require.Equal(t, nearest.Int64(), int64(half))
			opposite, ok := tariff.HalfEven(-a, num, den)
			require.True(t, a == math.MinInt64 || (ok && opposite == -half), "the same on both sides of zero")
		}
	})
}

// Halves go to the even neighbour, on both sides of zero.
func TestHalves(t *testing.T) {
	for a, want := range map[points.Amount]points.Amount{1: 0, 3: 2, 5: 2, 7: 4, -1: 0, -3: -2, -5: -2, -7: -4} {
		got, ok := tariff.HalfEven(a, 1, 2)
		require.True(t, ok)
		require.Equal(t, want, got, "%d/2", a)
	}
	_, ok := tariff.HalfEven(math.MaxInt64, 3, 2)
	require.False(t, ok)
	_, ok = tariff.Floor0(1, 1, 0)
	require.False(t, ok)
}

// A split sums exactly, nobody is a whole unit away from the exact part, the units left
// over went to the largest remainders and then to the lowest numbers, and the split of
// the opposite is the opposite.
func TestSplitIsByLargestRemainder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		total := points.Amount(rapid.OneOf(rapid.Int64Range(-1000, 1000), rapid.Int64Range(-math.MaxInt64, math.MaxInt64)).Draw(t, "total"))
		n := rapid.IntRange(1, 12).Draw(t, "n")
		weights := make([]tariff.Weight, n)
		sum := new(big.Int)
		for i := range weights {
			weights[i] = tariff.Weight{
				Member: tariff.Member(rapid.IntRange(1, 9).Draw(t, "member")), Weight: wholes(math.MaxInt64/16).Draw(t, "weight"),
			}
			sum.Add(sum, new(big.Int).SetUint64(weights[i].Weight))
		}
		shares := make([]points.Amount, n)
		if sum.Sign() == 0 {
			require.False(t, tariff.Split(total, weights, shares))
			return
		}
		require.True(t, tariff.Split(total, weights, shares))

		// By another route: sort the exact remainders, hand out what is left from the top.
		type part struct {
			at    int
			whole *big.Int
			rest  *big.Int
		}
		parts := make([]part, n)
		left := big.NewInt(int64(total))
		left.Abs(left)
		for i, weight := range weights {
			product := new(big.Int).Mul(new(big.Int).Abs(big.NewInt(int64(total))), new(big.Int).SetUint64(weight.Weight))
			whole, rest := new(big.Int).QuoRem(product, sum, new(big.Int))
			parts[i] = part{i, whole, rest}
			left.Sub(left, whole)
		}
		slices.SortStableFunc(parts, func(a, b part) int {
			if c := b.rest.Cmp(a.rest); c != 0 {
				return c
			}
			return int(weights[a.at].Member) - int(weights[b.at].Member)
		})
		for i := range left.Int64() {
			parts[i].whole.Add(parts[i].whole, big.NewInt(1))
		}
		back := new(big.Int)
		for _, part := range parts {
			if total < 0 {
				part.whole.Neg(part.whole)
			}
			require.Equal(t, part.whole.Int64(), int64(shares[part.at]))
			back.Add(back, part.whole)
		}
		require.Equal(t, int64(total), back.Int64())

		opposite := make([]points.Amount, n)
		require.True(t, tariff.Split(-total, weights, opposite))
		for i := range shares {
			require.Equal(t, -shares[i], opposite[i])
		}
	})
}

// What cannot be split is refused: no weights, too many of them, weights that do not fit.
func TestSplitRefuses(t *testing.T) {
	for _, weights := range [][]tariff.Weight{
		nil, {{1, 0}}, {{1, 1}, {2, 1}, {3, 1}}, {{1, math.MaxInt64}, {2, 1}}, {{1, math.MaxUint64}},
	} {
		require.False(t, tariff.Split(100, weights, make([]points.Amount, 2)), "%v", weights)
	}
}
