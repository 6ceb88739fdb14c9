package quote_test

import (
	"fmt"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/exchange/quote"
)

// market is rates of a few programmes as they could be published together.
type market struct {
	offers []quote.Terms
	pairs  []quote.Pair
}

// market draws one of three to six programmes on the edge of what may be published, some
// without one side, with up to four overrides.
func (d dice) market() market {
	small := func() quote.Ratio { return quote.Ratio{Num: d.Uint64N(6) + 1, Den: d.Uint64N(6) + 1} }
	fees := [...]uint32{0, 0, 5_000, 300_000, quote.Million}
	m := market{offers: make([]quote.Terms, 3+d.IntN(4))}
	for i := range m.offers {
		o := quote.Terms{Buy: small(), FeePPM: fees[d.IntN(4)]}
		if o.Sell = o.Buy; d.IntN(2) == 0 {
			o.Sell = small()
		}
		if d.IntN(4) == 0 {
			o.FeeCap = 7
		}
		switch d.IntN(12) {
		case 0:
			o.Buy = quote.Ratio{}
		case 1:
			o.Sell = quote.Ratio{}
		}
		m.offers[i] = o
	}
	taken := map[[2]int]bool{}
	for range d.IntN(5) {
		from, into := d.IntN(len(m.offers)), d.IntN(len(m.offers))
		if from == into || taken[[2]int{from, into}] {
			continue
		}
		taken[[2]int{from, into}] = true
		p := quote.Pair{From: from, Into: into, Buy: small(), FeePPM: fees[d.IntN(len(fees))]}
		if sell := m.offers[from].Sell; d.IntN(2) == 0 && sell.Num != 0 {
			p.Buy = sell // just what is asked for
		}
		m.pairs = append(m.pairs, p)
	}
	return m
}

// passes is what the publication looks at.
func (m *market) passes() bool {
	for i := range m.offers {
		if o := &m.offers[i]; o.Buy.Num != 0 && o.Sell.Num != 0 && o.Gain() != nil {
			return false
		}
	}
	way, _ := quote.Gaining(m.offers, m.pairs)
	return way == nil
}

// step is what one point becomes, in exact fractions; nil: it cannot be swapped so.
func (m *market) step(from, to int) *big.Rat {
	buy, fee := m.offers[from].Buy, m.offers[from].FeePPM
	for _, p := range m.pairs {
		if p.From == from && p.Into == to {
			buy, fee = p.Buy, p.FeePPM
		}
	}
	sell := m.offers[to].Sell
	if buy.Num == 0 || sell.Num == 0 {
		return nil
	}
	keeps := int64(quote.Million) - int64(fee)
	if m.offers[from].FeeCap != 0 {
		keeps = quote.Million
	}
	step := big.NewRat(int64(buy.Num), int64(buy.Den))
	step.Mul(step, big.NewRat(keeps, quote.Million))
	return step.Mul(step, big.NewRat(int64(sell.Den), int64(sell.Num)))
}

// best is the most that 1 becomes on any way back, of all that there are, and how many ways
// that gain there are.
func (m *market) best() (best *big.Rat, gaining int) {
	best = new(big.Rat)
	one := big.NewRat(1, 1)
	steps := make([][]*big.Rat, len(m.offers))
	for from := range m.offers {
		for to := range m.offers {
			steps[from] = append(steps[from], m.step(from, to))
		}
	}
	var walk func(way []int, so *big.Rat)
	walk = func(way []int, so *big.Rat) {
	next:
		for to := range m.offers {
			of := steps[way[len(way)-1]][to]
			if of == nil || to == way[len(way)-1] {
				continue
			}
			step := new(big.Rat).Mul(of, so)
			if to == way[0] {
				if step.Cmp(one) > 0 {
					gaining++
				}
				if step.Cmp(best) > 0 {
					best.Set(step)
				}
				continue
			}
			for _, before := range way {
				if before == to {
					continue next
				}
			}
			walk(append(way, to), step)
		}
	}
	for first := range m.offers {
		walk([]int{first}, one)
	}
	return best, gaining
}

// Of rates that pass their publication no way of any length gains, and of rates
// with a programme each that passes alone, those that do not pass do have one: by brute force
// over all ways, in exact fractions (Q6).
func TestPublicationFindsEveryGainingWay(t *testing.T) {
	passed, gained, long := 0, 0, 0
	count := *cases / 10 // Each looks at hundreds of ways.
	runs(t, count, func(d dice) error {
		m := d.market()
		best, gaining := m.best()
		passes := m.passes()
		if passes && gaining > 0 {
			return fmt.Errorf("it passes, and 1 becomes %v: %+v", best, m)
		}
		if passes {
			passed++
		}
		way, gain := quote.Gaining(m.offers, m.pairs)
		if way == nil {
			return nil
		}
		gained++
		product := big.NewRat(1, 1)
		for i := range way[1:] {
			step := m.step(way[i], way[i+1])
			if step == nil {
				return fmt.Errorf("the way %v is none: %+v", way, m)
			}
			product.Mul(product, step)
		}
		distinct := map[int]bool{}
		for _, at := range way[1:] {
			distinct[at] = true
		}
		if len(way) < 3 || len(distinct) != len(way)-1 || way[0] != way[len(way)-1] || product.Cmp(gain) != 0 || gain.Cmp(big.NewRat(1, 1)) <= 0 {
			return fmt.Errorf("the way %v makes %v of 1, not %v: %+v", way, product, gain, m)
		}
		if len(way) > 5 {
			long++
		}
		return nil
	})
	t.Logf("%d passed, %d had a way with an override that gains, %d of them over five or more", passed, gained, long)
	require.Greater(t, passed, count/50)
	require.Greater(t, gained, count/50)
}

// Programmes that are on no override are passed through where that pays, and the way is told.
func TestTheWayIsTold(t *testing.T) {
	even := quote.Terms{Buy: quote.Ratio{Num: 10, Den: 1}, Sell: quote.Ratio{Num: 10, Den: 1}}
	offers := []quote.Terms{even, even, even, even, even}
	offers[1].Sell, offers[2].Sell = quote.Ratio{Num: 11, Den: 1}, quote.Ratio{Num: 12, Den: 1} // dear to pass through
	// From 0 into 3 at 12, where the way back from 3 into 0 is made a bad one.
	pairs := []quote.Pair{{From: 0, Into: 3, Buy: quote.Ratio{Num: 12, Den: 1}}, {From: 3, Into: 0, Buy: quote.Ratio{Num: 5, Den: 1}}}
	way, gain := quote.Gaining(offers, pairs)
	require.Equal(t, []int{0, 3, 4, 0}, way)
	require.Equal(t, "6/5", gain.RatString())
	own := offers[1].Buy
	offers[1].Buy = quote.Ratio{}
	way, _ = quote.Gaining(offers, pairs)
	require.Equal(t, []int{0, 3, 4, 0}, way, "what cannot be handed in is passed over")
	offers[1].Buy, offers[4].Buy = own, quote.Ratio{}
	way, gain = quote.Gaining(offers, pairs)
	require.Equal(t, []int{0, 3, 1, 0}, way)
	require.Equal(t, "12/11", gain.RatString())
	pairs[0].FeePPM = 200_000
	way, _ = quote.Gaining(offers, pairs)
	require.Nil(t, way)
	offers[0].FeeCap = 1
	way, _ = quote.Gaining(offers, pairs)
	require.NotNil(t, way, "a capped fee counts as none")

	// Every shorter way back is made a bad one.
	bad := quote.Ratio{Num: 5, Den: 1}
	way, gain = quote.Gaining([]quote.Terms{even, even, even, even}, []quote.Pair{
		{From: 1, Into: 0, Buy: bad}, {From: 2, Into: 0, Buy: bad}, {From: 1, Into: 3, Buy: bad}, {From: 0, Into: 1, Buy: quote.Ratio{Num: 12, Den: 1}},
	})
	require.Equal(t, []int{0, 1, 2, 3, 0}, way)
	require.Equal(t, "6/5", gain.RatString())
}

// A way over any number of programmes is found, where every shorter one is made a bad one, and
// what it makes of 1 is told; a hair less, and there is none.
func TestLongWaysAreFound(t *testing.T) {
	for _, n := range []int{5, 6} { // With more the overrides would be too many.
		even := quote.Terms{Buy: quote.Ratio{Num: 1_000_000, Den: 1}, Sell: quote.Ratio{Num: 1_000_000, Den: 1}}
		offers, pairs, want := make([]quote.Terms, n), []quote.Pair(nil), []int(nil)
		for i := range n {
			offers[i], want = even, append(want, i)
			for j := range n {
				switch bad := (quote.Ratio{Num: 500_000, Den: 1}); {
				case i == j || j == (i+1)%n && i > 0:
				case j == i+1:
					pairs = append(pairs, quote.Pair{From: i, Into: j, Buy: quote.Ratio{Num: 1_000_001, Den: 1}})
				default:
					pairs = append(pairs, quote.Pair{From: i, Into: j, Buy: bad})
				}
			}
		}
		require.LessOrEqual(t, len(pairs), quote.MaxPairs)
		way, gain := quote.Gaining(offers, pairs)
		require.Len(t, way, n+1)
		require.ElementsMatch(t, want, way[1:])
		require.Equal(t, "1000001/1000000", gain.RatString())
		pairs[0].Buy = even.Buy
		way, _ = quote.Gaining(offers, pairs)
		require.Nil(t, way)
	}
}
