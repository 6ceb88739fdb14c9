package quote_test

import (
	"flag"
	"fmt"
	"math"
	"math/big"
	"math/bits"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

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
// its edge. Whether they do is seen in 128 bits here: the generator allocates nothing.
func (d dice) publishable() quote.Terms {
	for {
		t := d.terms()
		if d.IntN(2) == 0 {
			t.Sell = t.Buy
		}
		if fair(&t) {
			return t
		}
	}
}

// fair is what [quote.Terms.Gain] says, where no product of three is more than 128 bits.
func fair(t *quote.Terms) bool {
	keeps := uint64(quote.Million)
	if t.FeeCap == 0 {
		keeps -= uint64(t.FeePPM)
	}
	high, low := bits.Mul64(t.Buy.Num*keeps, t.Sell.Den)
	mostHigh, mostLow := bits.Mul64(t.Buy.Den*quote.Million, t.Sell.Num)
	return high < mostHigh || (high == mostHigh && low <= mostLow)
}

func run(t *testing.T, check func(d dice) error) {
	t.Helper()
	runs(t, *cases, check)
}

func runs(t *testing.T, count int, check func(d dice) error) {
	t.Helper()
	seed := rand.Uint64() //nolint:forbidigo // told in the next line, so that a failure can be replayed.
	t.Logf("seed %d, %d cases", seed, count)
	d := dice{rand.New(rand.NewPCG(seed, 1))}
	for n := range count {
		if err := check(d); err != nil {
			t.Fatalf("seed %d, case %d: %v", seed, n, err)
		}
	}
}

// oracle is the same computation in whole numbers of any size, which it uses again and again.
type oracle struct {
	value, fee, net, out, cost, rest, n, r big.Int
	most, mostFee                          big.Int
}

func newOracle() *oracle {
	o := new(oracle)
	o.most.SetInt64(999_999_999_999_999)
	o.mostFee.SetInt64(999_999_999_999)
	return o
}

// floor sets z to a*num/den rounded down, ceil up.
func (o *oracle) floor(z, a *big.Int, num, den uint64) {
	o.n.SetUint64(num)
	z.Mul(a, &o.n)
	o.n.SetUint64(den)
	z.DivMod(z, &o.n, &o.r)
}

func (o *oracle) ceil(z, a *big.Int, num, den uint64) {
	o.floor(z, a, num, den)
	if o.r.Sign() != 0 {
		o.n.SetInt64(1)
		z.Add(z, &o.n)
	}
}

// exact is what in gives; ok is false where it is refused.
func (o *oracle) exact(t *quote.Terms, in points.Amount) (f quote.Figures, ok bool) {
	o.rest.SetInt64(int64(in))
	if in <= 0 || o.rest.Cmp(&o.most) > 0 {
		return f, false
	}
	o.floor(&o.value, &o.rest, t.Buy.Num, t.Buy.Den)
	o.ceil(&o.fee, &o.value, uint64(t.FeePPM), 1_000_000)
	if o.n.SetInt64(int64(t.FeeMin)); o.fee.Cmp(&o.n) < 0 {
		o.fee.Set(&o.n)
	}
	if o.n.SetInt64(int64(t.FeeCap)); t.FeeCap != 0 && o.fee.Cmp(&o.n) > 0 {
		o.fee.Set(&o.n)
	}
	if o.net.Sub(&o.value, &o.fee); o.net.Sign() <= 0 {
		return f, false
	}
	if o.floor(&o.out, &o.net, t.Sell.Den, t.Sell.Num); o.out.Sign() == 0 {
		return f, false
	}
	o.ceil(&o.cost, &o.out, t.Sell.Num, t.Sell.Den)
	o.rest.Sub(&o.net, &o.cost)
	if o.value.Cmp(&o.most) > 0 || o.out.Cmp(&o.most) > 0 || o.fee.Cmp(&o.mostFee) > 0 || o.rest.Cmp(&o.mostFee) > 0 {
		return f, false
	}
	amount := func(n *big.Int) points.Amount { return points.Amount(n.Int64()) }
	return quote.Figures{In: in, Value: amount(&o.value), Fee: amount(&o.fee), Cost: amount(&o.cost), Rest: amount(&o.rest), Out: amount(&o.out)}, true
}

// agree holds what a quote says against the oracle (S1, S7).
func (o *oracle) agree(terms *quote.Terms, in points.Amount) error {
	got, reason := terms.ExactIn(in)
	want, ok := o.exact(terms, in)
	switch {
	case ok != reason.Approved() || got != want:
		return fmt.Errorf("%+v of %d: %+v, %v; exactly %+v, %v", *terms, in, got, reason, want, ok)
	case got.Value != got.Fee+got.Cost+got.Rest || got.Fee < 0 || got.Cost < 0 || got.Rest < 0:
		return fmt.Errorf("S1: %+v of %d: %+v", *terms, in, got)
	}
	return nil
}

// A quote's figures are those of whole numbers of any size, and add up (S1).
func TestFiguresAreExact(t *testing.T) {
	o := newOracle()
	run(t, func(d dice) error {
		terms := d.terms()
		return o.agree(&terms, d.amount())
	})
}

// edge is a number at or beside a bound.
func (d dice) edge() uint64 {
	bounds := [...]uint64{1, 2, quote.Million, uint64(points.MaxAmount), 1 << 40, uint64(quote.MaxFee), uint64(quote.MaxValue), math.MaxInt64, math.MaxInt64 / 3, 3_037_000_500}
	n := bounds[d.IntN(len(bounds))]
	if by := d.Uint64N(3); d.IntN(2) == 0 && n <= math.MaxUint64-by {
		return n + by
	} else if n > by {
		return n - by
	}
	return n
}

// limit is an edge that an amount can be.
func (d dice) limit() points.Amount { return points.Amount(min(d.edge(), math.MaxInt64)) }

// At the edges of every field what does not fit is refused, and nothing wraps (S7); and what
// exact-out promises there is what its amount gives.
func TestNothingWrapsAtTheEdges(t *testing.T) {
	o := newOracle()
	run(t, func(d dice) error {
		side := func() quote.Ratio { return quote.Ratio{Num: uint64(d.limit()), Den: uint64(d.limit())} }
		terms := quote.Terms{Buy: side(), Sell: side()}
		switch d.IntN(3) {
		case 0:
			terms.FeePPM = uint32(min(d.edge(), math.MaxUint32))
		case 1:
			terms.FeePPM = uint32(d.IntN(quote.Million + 1))
		}
		if d.IntN(3) == 0 {
			terms.FeeMin = d.limit()
		}
		if d.IntN(3) == 0 {
			terms.FeeCap = max(d.limit(), terms.FeeMin)
		}
		in := d.limit()
		if d.IntN(2) == 0 { // a value beside its own bound
			in = points.Amount(min(uint64(quote.MaxValue)/max(1, terms.Buy.Num/max(1, terms.Buy.Den))+d.Uint64N(3), math.MaxInt64))
		}
		if err := o.agree(&terms, in); err != nil {
			return err
		}
		if out, reason := terms.ExactOut(d.limit()); reason.Approved() {
			return o.agree(&terms, out.In)
		}
		return nil
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
	run(t, func(d dice) error {
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
		if amount > start {
			return fmt.Errorf("%d became %d by %+v", start, amount, programs[:n])
		}
		return nil
	})
}

// What the generator takes for publishable is what the check of a publication says.
func TestPublishableIsWhatGainSays(t *testing.T) {
	run(t, func(d dice) error {
		terms := d.terms()
		if d.IntN(2) == 0 {
			terms.Sell = terms.Buy
		}
		if (terms.Gain() == nil) != fair(&terms) {
			return fmt.Errorf("%+v: gain %v", terms, terms.Gain())
		}
		return nil
	})
}

// Handing in the same in two parts never gives more (S4), and more never gives less (S5).
func TestSplittingGainsNothing(t *testing.T) {
	run(t, func(d dice) error {
		terms, whole := d.terms(), d.amount()
		if d.IntN(2) == 0 {
			whole = points.Amount(d.IntN(100_000) + 2)
		}
		whole = max(whole, 2)
		part := points.Amount(d.Int64N(int64(whole)-1) + 1)
		all, reason := terms.ExactIn(whole)
		switch {
		case reason == points.BalanceOverflow:
		case give(&terms, part)+give(&terms, whole-part) > all.Out:
			return fmt.Errorf("S4: %+v: %d of %d", terms, part, whole)
		case give(&terms, whole-1) > all.Out:
			return fmt.Errorf("S5: %+v: %d", terms, whole)
		}
		return nil
	})
}

// Exact-out is the least amount that gives what is wanted, and its figures are those of that
// amount (S6).
func TestExactOutIsTheLeast(t *testing.T) {
	run(t, func(d dice) error {
		terms, want := d.terms(), d.amount()
		figures, reason := terms.ExactOut(want)
		if !reason.Approved() {
			return nil
		}
		if again, _ := terms.ExactIn(figures.In); figures.Out < want || give(&terms, figures.In-1) >= want || again != figures {
			return fmt.Errorf("S6: %+v: for %d %+v; of it %+v, and one less gives %d", terms, want, figures, again, give(&terms, figures.In-1))
		}
		return nil
	})
}

// Exact-out is refused only where no amount gives what is wanted within the bounds.
func TestExactOutFindsWhatThereIs(t *testing.T) {
	run(t, func(d dice) error {
		terms := d.terms()
		figures, reason := terms.ExactIn(d.amount())
		if !reason.Approved() {
			return nil
		}
		least, reason := terms.ExactOut(figures.Out)
		if !reason.Approved() || least.In > figures.In || least.Out != figures.Out {
			return fmt.Errorf("S6: %+v: %d, %+v is there; found %+v", terms, reason, figures, least)
		}
		return nil
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
	// What rounding leaves fits a file's field to the last unit.
	coarse := quote.Terms{Buy: quote.Ratio{Num: 1, Den: 1}, Sell: quote.Ratio{Num: 1 << 41, Den: 1}}
	figures, reason := coarse.ExactIn(1<<41 + quote.MaxFee)
	require.Equal(t, []any{points.Approved, quote.MaxFee}, []any{reason, figures.Rest})
	_, reason = coarse.ExactIn(1<<41 + quote.MaxFee + 1)
	require.Equal(t, points.BalanceOverflow, reason)
	// A fee of the whole value leaves nothing, and capped it leaves what is above the cap.
	whole := quote.Terms{Buy: quote.Ratio{Num: 1, Den: 1}, Sell: quote.Ratio{Num: 10, Den: 1}, FeePPM: quote.Million}
	_, reason = whole.ExactOut(1)
	require.Equal(t, points.BalanceOverflow, reason)
	whole.FeeCap = 7
	figures, reason = whole.ExactOut(2)
	require.Equal(t, []any{points.Approved, points.Amount(27)}, []any{reason, figures.In})
}

// Quoting allocates nothing.
func TestQuotingAllocatesNothing(t *testing.T) {
	terms := quote.Terms{Buy: quote.Ratio{Num: 7, Den: 3}, Sell: quote.Ratio{Num: 5, Den: 2}, FeePPM: 5000}
	require.Zero(t, testing.AllocsPerRun(100, func() {
		_, _ = terms.ExactIn(10_000)
		_, _ = terms.ExactOut(10_000)
	}))
}
