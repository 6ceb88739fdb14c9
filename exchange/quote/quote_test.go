package quote_test

import (
	"flag"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lianfen/lianfen/exchange/quote"
	"github.com/lianfen/lianfen/points"
)

var cases = flag.Int("cases", 20_000, "how many random swaps go through each property")

// dice draws terms and amounts of all sizes.
type dice struct{ *rand.Rand }

func (d dice) upTo(most uint64) uint64 { return d.Uint64N(most>>d.IntN(40)+1) + 1 }

func (d dice) ratio() quote.Ratio {
	if d.IntN(2) == 0 {
		return quote.Ratio{Num: d.Uint64N(300) + 1, Den: d.Uint64N(300) + 1}
	}
	return quote.Ratio{Num: d.upTo(1<<40 - 2), Den: d.upTo(1<<40 - 2)}
}

func (d dice) amount() points.Amount { return points.Amount(d.upTo(uint64(points.MaxAmount) - 1)) }

func (d dice) fee(t *quote.Terms) {
	switch d.IntN(4) {
	case 0:
		t.FeePPM = uint32(d.IntN(quote.Million))
	case 1, 2:
		t.FeePPM = uint32(d.IntN(50_000))
	}
	if d.IntN(3) == 0 {
		t.FeeMin = points.Amount(d.IntN(1000))
	}
	if d.IntN(3) == 0 {
		t.FeeCap = t.FeeMin + 1 + points.Amount(d.IntN(100_000))
	}
}

func (d dice) terms() quote.Terms {
	t := quote.Terms{Buy: d.ratio(), Sell: d.ratio()}
	d.fee(&t)
	return t
}

// publishable are rates of a programme that pass the check of their publication, mostly on
// its edge.
func (d dice) publishable() quote.Terms {
	for {
		t := d.terms()
		if d.IntN(2) == 0 {
			t.Sell = t.Buy
		}
		if t.Gain() == nil {
			return t
		}
	}
}

func run(t *testing.T, check func(d dice)) {
	t.Helper()
	seed := rand.Uint64() //nolint:forbidigo // told in the next line, so that a failure can be replayed.
	t.Logf("seed %d", seed)
	d := dice{rand.New(rand.NewPCG(seed, 1))}
	for range *cases {
		check(d)
	}
}

// exact is the same computation in rational numbers; a nil result is a refusal.
func exact(t *quote.Terms, in points.Amount) *quote.Figures {
	floor := func(r *big.Rat) *big.Int { return new(big.Int).Div(r.Num(), r.Denom()) }
	ceil := func(r *big.Rat) *big.Int { return new(big.Int).Neg(floor(new(big.Rat).Neg(r))) }
	rat := func(r quote.Ratio) *big.Rat {
		return new(big.Rat).SetFrac(new(big.Int).SetUint64(r.Num), new(big.Int).SetUint64(r.Den))
	}
	times := func(n *big.Int, r *big.Rat) *big.Rat { return new(big.Rat).Mul(new(big.Rat).SetInt(n), r) }
	most, mostFee := big.NewInt(999_999_999_999_999), big.NewInt(999_999_999_999)
	if in <= 0 || big.NewInt(int64(in)).Cmp(most) > 0 {
		return nil
	}
	value := floor(times(big.NewInt(int64(in)), rat(t.Buy)))
	fee := ceil(times(value, big.NewRat(int64(t.FeePPM), 1_000_000)))
	if least := big.NewInt(int64(t.FeeMin)); fee.Cmp(least) < 0 {
		fee = least
	}
	if limit := big.NewInt(int64(t.FeeCap)); t.FeeCap != 0 && fee.Cmp(limit) > 0 {
		fee = limit
	}
	net := new(big.Int).Sub(value, fee)
	if net.Sign() <= 0 {
		return nil
	}
	out := floor(times(net, new(big.Rat).Inv(rat(t.Sell))))
	if out.Sign() == 0 {
		return nil
	}
	cost := ceil(times(out, rat(t.Sell)))
	rest := new(big.Int).Sub(net, cost)
	if value.Cmp(most) > 0 || out.Cmp(most) > 0 || fee.Cmp(mostFee) > 0 || rest.Cmp(mostFee) > 0 {
		return nil
	}
	amount := func(n *big.Int) points.Amount { return points.Amount(n.Int64()) }
	return &quote.Figures{In: in, Value: amount(value), Fee: amount(fee), Cost: amount(cost), Rest: amount(rest), Out: amount(out)}
}

// A quote's figures are those of exact fractions, and add up (S1); what exact fractions say
// does not fit is refused (S7).
func TestFiguresAreThoseOfExactFractions(t *testing.T) {
	run(t, func(d dice) {
		terms, in := d.terms(), d.amount()
		got, reason := terms.ExactIn(in)
		want := exact(&terms, in)
		if want == nil {
			require.False(t, reason.Approved(), "%+v of %d", terms, in)
			require.Zero(t, got)
			return
		}
		require.Equal(t, points.Approved, reason, "%+v of %d", terms, in)
		require.Equal(t, *want, got, "%+v", terms)
		require.Equal(t, got.Value, got.Fee+got.Cost+got.Rest, "S1")
		require.False(t, got.Fee < 0 || got.Cost < 0 || got.Rest < 0, "S1")
	})
}

// give is what amount gives, nothing where it is refused.
func give(t *quote.Terms, amount points.Amount) points.Amount {
	figures, _ := t.ExactIn(amount)
	return figures.Out
}

// Ways that come back to where they began, over two, three or four programmes, never return
// more than was handed in, whatever the fees, where each programme's rates could be
// published (S2, S3).
func TestRoundTripsGainNothing(t *testing.T) {
	run(t, func(d dice) {
		n := 2 + d.IntN(3)
		var programs [4]quote.Terms
		for i := range n {
			programs[i] = d.publishable()
		}
		start := d.amount()
		amount := start
		for i := range n {
			hop := programs[i] // fees are of the programme handed in
			hop.Sell = programs[(i+1)%n].Sell
			amount = give(&hop, amount)
		}
		require.LessOrEqual(t, amount, start, "%+v", programs[:n])
	})
}

// Handing in the same in two parts never gives more (S4), and more never gives less (S5).
func TestSplittingGainsNothing(t *testing.T) {
	run(t, func(d dice) {
		terms, whole := d.terms(), d.amount()
		if d.IntN(2) == 0 {
			whole = points.Amount(d.IntN(100_000) + 2)
		}
		whole = max(whole, 2)
		part := points.Amount(d.Int64N(int64(whole)-1) + 1)
		all, reason := terms.ExactIn(whole)
		if reason == points.BalanceOverflow {
			return
		}
		require.LessOrEqual(t, give(&terms, part)+give(&terms, whole-part), all.Out, "S4: %+v %d of %d", terms, part, whole)
		require.LessOrEqual(t, give(&terms, whole-1), all.Out, "S5: %+v %d", terms, whole)
	})
}

// Exact-out is the least amount that gives what is wanted (S6).
func TestExactOutIsTheLeast(t *testing.T) {
	run(t, func(d dice) {
		terms, want := d.terms(), d.amount()
		figures, reason := terms.ExactOut(want)
		if !reason.Approved() {
			return
		}
		require.GreaterOrEqual(t, figures.Out, want, "%+v", terms)
		require.Less(t, give(&terms, figures.In-1), want, "%+v", terms)
		again, _ := terms.ExactIn(figures.In)
		require.Equal(t, again, figures)
	})
}

// Exact-out is refused only where no amount gives what is wanted within the bounds.
func TestExactOutFindsWhatThereIs(t *testing.T) {
	run(t, func(d dice) {
		terms := d.terms()
		figures, reason := terms.ExactIn(d.amount())
		if !reason.Approved() {
			return
		}
		least, reason := terms.ExactOut(figures.Out)
		require.Equal(t, points.Approved, reason, "%+v %+v", terms, figures)
		require.LessOrEqual(t, least.In, figures.In)
		require.Equal(t, figures.Out, least.Out)
	})
}

// Rates that pass the check of their publication have no gaining cycle, worked out over all
// ways of two to four programmes in exact fractions (Q6).
func TestPublicationCheckFindsEveryCycle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		small := rapid.Custom(func(t *rapid.T) quote.Ratio {
			return quote.Ratio{Num: rapid.Uint64Range(1, 6).Draw(t, "num"), Den: rapid.Uint64Range(1, 6).Draw(t, "den")}
		})
		programs := make([]quote.Terms, 4)
		passes := true
		for i := range programs {
			programs[i] = quote.Terms{Buy: small.Draw(t, "buy"), Sell: small.Draw(t, "sell"), FeePPM: rapid.SampledFrom([]uint32{0, 5_000, 500_000}).Draw(t, "fee")}
			passes = passes && programs[i].Gain() == nil
		}
		// The best way from i, by exact fractions, over distinct programmes.
		gains := false
		var walk func(first, at int, seen uint, product *big.Rat)
		walk = func(first, at int, seen uint, product *big.Rat) {
			for next := range programs {
				step := big.NewRat(int64(programs[at].Buy.Num*(quote.Million-uint64(programs[at].FeePPM))), int64(programs[at].Buy.Den*quote.Million))
				step.Mul(step, big.NewRat(int64(programs[next].Sell.Den), int64(programs[next].Sell.Num)))
				step.Mul(step, product)
				if next == first && next != at {
					gains = gains || step.Cmp(big.NewRat(1, 1)) > 0
				} else if seen&(1<<next) == 0 {
					walk(first, next, seen|1<<next, step)
				}
			}
		}
		for first := range programs {
			walk(first, first, 1<<first, big.NewRat(1, 1))
		}
		if passes {
			require.False(t, gains, "%+v", programs)
		}
	})
}

// A fee that is capped does not keep rates apart: a large amount there and back would gain.
func TestACappedFeeDoesNotCount(t *testing.T) {
	terms := quote.Terms{Buy: quote.Ratio{Num: 101, Den: 1}, Sell: quote.Ratio{Num: 100, Den: 1}, FeePPM: 20_000}
	require.Nil(t, terms.Gain())
	terms.FeeCap = 1000
	require.Equal(t, "101/100", terms.Gain().RatString())
	require.Greater(t, give(&terms, 1_000_000), points.Amount(1_000_000), "so it would")
}

// An amount that is none, one that buys nothing, one that the fee eats and one that does
// not fit are refused, each with its reason.
func TestRefusals(t *testing.T) {
	plain := quote.Terms{Buy: quote.Ratio{Num: 1, Den: 1}, Sell: quote.Ratio{Num: 100, Den: 1}}
	dear := plain
	dear.FeeMin = 1000
	wide := quote.Terms{Buy: quote.Ratio{Num: 1<<40 - 1, Den: 1}, Sell: quote.Ratio{Num: 1, Den: 1<<40 - 1}}
	for _, c := range []struct {
		terms quote.Terms
		in    points.Amount
		want  points.Reason
	}{
		{plain, 0, points.BadAmount},
		{plain, -5, points.BadAmount},
		{plain, math.MaxInt64, points.BadAmount},
		{plain, 99, points.BelowMinimum},
		{plain, 100, points.Approved},
		{dear, 1000, points.BelowMinimum},
		{dear, 1100, points.Approved},
		{wide, 1, points.BalanceOverflow},
		{wide, points.MaxAmount, points.BalanceOverflow},
	} {
		_, reason := c.terms.ExactIn(c.in)
		require.Equal(t, c.want, reason, "%+v of %d", c.terms, c.in)
	}
	for _, out := range []points.Amount{0, -1, math.MaxInt64} {
		_, reason := plain.ExactOut(out)
		require.Equal(t, points.BadAmount, reason)
	}
	_, reason := plain.ExactOut(quote.MaxValue)
	require.Equal(t, points.BalanceOverflow, reason)
}

// Quoting allocates nothing.
func TestQuotingAllocatesNothing(t *testing.T) {
	terms := quote.Terms{Buy: quote.Ratio{Num: 7, Den: 3}, Sell: quote.Ratio{Num: 5, Den: 2}, FeePPM: 5000}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		_, _ = terms.ExactIn(10_000)
		_, _ = terms.ExactOut(10_000)
	}))
}
