package book_test

import (
	"flag"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

var swapSeeds = flag.Int("swap-seeds", 20, "how many seeded days of swaps go past the naive exchange")

const (
	tick    = points.Timestamp(1_000_000)
	innkeep = points.IssuerID(1002)
)

// plainSwaps are terms of tests: earned points only, a quote for half a minute, a lock for
// ten.
var plainSwaps = tariff.SwapRules{Lots: 1 << book.Earned, Expiry: tariff.ExpiryProgram, QuoteSeconds: 30, LockSeconds: 600}

func swapRate(program points.ProgramID, side tariff.Side, num, den uint64, ppm uint32, from points.Timestamp) book.Command {
	return book.Command{Kind: book.KindPut, Operator: "li", Second: "wang", Entry: book.Entry{Rate: &tariff.Rate{
		Terms: tariff.Terms{Program: program, Side: side, Num: num, Den: den, SpreadPPM: ppm, From: from},
	}}}
}

func swapTerms(program points.ProgramID, rules tariff.SwapRules, from points.Timestamp) book.Command {
	return book.Command{Kind: book.KindPut, Operator: "li", Second: "wang", Entry: book.Entry{Swaps: &tariff.SwapTerms{
		Program: program, From: from, SwapRules: rules,
	}}}
}

// swapDesk is a desk with two programmes of two issuers, air (100 u bought, 110 u sold, 1 %)
// and inn (20 u, 25 u), and members who have 10000 of each.
func swapDesk(tb testing.TB, members points.MemberID, airRules, innRules tariff.SwapRules) *desk {
	return swapDeskOf(tb, book.Options{}, members, airRules, innRules)
}

func swapDeskOf(tb testing.TB, opts book.Options, members points.MemberID, airRules, innRules tariff.SwapRules) *desk {
	d := newDesk(tb, opts)
	d.put(book.Entry{Issuer: &book.Issuer{ID: innkeep, Name: "Innkeeper", Status: book.Active}})
	d.furnish(members, book.ProgramRules{ValidMonths: 12, Transfer: true}, book.ProgramRules{ValidMonths: 24})
	return d.swaps(members, airRules, innRules)
}

func (d *desk) swaps(members points.MemberID, airRules, innRules tariff.SwapRules) *desk {
	d.tb.Helper()
	from := d.now + 2*tariff.LeadTime
	d.must(swapRate(air, tariff.Buy, 100, 1, 10_000, from))
	d.must(swapRate(air, tariff.Sell, 110, 1, 0, from))
	d.must(swapRate(inn, tariff.Buy, 20, 1, 10_000, from))
	d.must(swapRate(inn, tariff.Sell, 25, 1, 0, from))
	d.must(book.Command{Kind: book.KindPut, Operator: "li", Second: "wang", Entry: book.Entry{Fees: &tariff.Schedule{
		From: from, Rows: []tariff.FeeRow{{Kind: tariff.KindSWP, VATPPM: 60_000}, {Kind: tariff.KindRDM}, {Kind: tariff.KindEAR}},
	}}})
	d.must(swapTerms(air, airRules, from))
	d.must(swapTerms(inn, innRules, from))
	d.now = from + tick
	for id := points.MemberID(1); id <= members; id++ {
		d.must(book.Command{Kind: book.KindEarn, Acquirer: acquirer, Member: id, Program: air, Amount: 10_000})
		d.must(book.Command{Kind: book.KindEarn, Acquirer: acquirer, Member: id, Program: inn, Amount: 10_000})
	}
	return d
}

func quoteOf(member points.MemberID, from, into points.ProgramID, amount points.Amount) book.Command {
	return book.Command{Kind: book.KindQuote, Member: member, Program: from, Into: into, Amount: amount}
}

func about(kind book.Kind, quote points.Position) book.Command {
	return book.Command{Kind: kind, Original: quote}
}

func (d *desk) loose(program points.ProgramID, member points.MemberID) points.Amount {
	d.tb.Helper()
	view, _, err := d.book.Account(book.AccountKey{Kind: book.MemberAccount, Program: program, Party: uint64(member)})
	require.NoError(d.tb, err)
	return view.Balance - view.Held
}

func (d *desk) state(quote points.Position) book.SwapState {
	d.tb.Helper()
	view, ok, err := d.book.Swap(quote, d.now)
	require.NoError(d.tb, err)
	require.True(d.tb, ok)
	return view.State
}

// keyed gives a command a key of its own.
func keyed(stan uint32, cmd book.Command) book.Command {
	cmd.Key = keyOf("T1", stan, 2)
	return cmd
}

// refuses checks that a command is refused for a reason and changes nothing.
func (d *desk) refuses(reason points.Reason, cmd book.Command) {
	d.tb.Helper()
	digest, written := d.book.Digest(), len(d.store.journal)
	require.Equal(d.tb, reason, d.do(cmd).Reason)
	require.Len(d.tb, d.store.journal, written)
	require.Equal(d.tb, digest, d.book.Digest(), "nothing has changed")
}

// agrees checks the invariants, and that replay, a checkpoint and what follows it come to the
// same state.
func (d *desk) agrees() {
	d.tb.Helper()
	require.NoError(d.tb, d.book.Audit())
	if t, ok := d.tb.(*testing.T); ok {
		stands(t, d, d.kept, 1, d.book.Date())
	}
	replay(d.tb, d, newDesk(d.tb, book.Options{}))
	digest := d.book.Digest()
	d.store.checkpoint(d.book)
	d.kept = len(d.store.journal)
	again := book.New(book.Options{}, d.store)
	require.NoError(d.tb, again.Err())
	for position := again.TraceFloor(); position <= again.Position(); position++ {
		var rec book.Record
		require.NoError(d.tb, d.store.Record(position, &rec))
		again.Remember(&rec)
	}
	require.Equal(d.tb, digest, again.Digest())
	require.NoError(d.tb, again.Audit())
	d.book = again
}

// A swap is quoted, locked and executed at the quote's figures, in one record: the points of
// both programmes, and the standard points that their issuers owe.
func TestSwap(t *testing.T) {
	d := swapDesk(t, 1, plainSwaps, plainSwaps)
	q := d.must(quoteOf(1, air, inn, 1003)).Clone()
	// value 100300, fee 1003, net 99297, out 3971 for 99275, rest 22.
	require.Equal(t, []points.Amount{1003, 100_300, 1003, 3971, 99_275, 22}, []points.Amount{q.Swap.In, q.Swap.Value, q.Swap.Fee, q.Swap.Out, q.Swap.Cost, q.Swap.Rest})
	require.Empty(t, q.Postings, "a quote moves nothing")
	lock := d.must(about(book.KindSwapLock, q.Position))
	require.Equal(t, []points.Amount{8997, 1003}, []points.Amount{lock.Free, lock.Held})
	require.Empty(t, lock.Postings)
	d.agrees()
	done := d.must(about(book.KindSwap, q.Position)).Clone()
	require.Equal(t, []points.Amount{8997, 0}, []points.Amount{done.Free, done.Held})
	require.Equal(t, points.Amount(13_971), d.loose(inn, 1))
	require.Len(t, done.Postings, 4)
	require.Equal(t, book.SwapDone, d.state(q.Position))
	view, _, err := d.book.ClearedIn(day0, 1)
	require.NoError(t, err)
	net := map[tariff.Member]points.Amount{}
	for _, p := range view.Positions {
		net[p.Member] = p.Net()
	}
	// Both programmes are one issuer's here, so its debt to itself is none; fee and rest are paid.
	require.Equal(t, []points.Amount{-1025, 946, 57, 22}, []points.Amount{net[tariff.Member(issuer)], net[tariff.AccountFee], net[tariff.AccountVAT], net[tariff.AccountRound]})
	d.refuses(points.OriginalClosed, about(book.KindSwap, q.Position))
	d.refuses(points.OriginalClosed, about(book.KindSwapLock, q.Position))
	d.refuses(points.OriginalClosed, about(book.KindSwapCancel, q.Position))
	d.agrees()
}

// A quote is refused when its time is over, to the microsecond, whether its expiry was
// processed or not; a lock gives back points and counters when its own is.
func TestSwapExpires(t *testing.T) {
	rules := plainSwaps
	rules.UserDay = 1500
	d := swapDesk(t, 1, rules, plainSwaps)
	q := d.must(quoteOf(1, air, inn, 1000)).Clone()
	late := about(book.KindSwap, q.Position)
	late.At = q.Swap.Expires
	d.refuses(points.QuoteExpired, late)
	late.At--
	d.must(late)

	q = d.must(quoteOf(1, air, inn, 500)).Clone()
	lock := d.must(about(book.KindSwapLock, q.Position)).Clone()
	d.refuses(points.OverAmountLimit, quoteOf(1, air, inn, 1)) // a lock counts
	late = about(book.KindSwap, q.Position)
	late.At = lock.Swap.Expires
	d.refuses(points.QuoteExpired, late)
	early := book.Command{Kind: book.KindExpireSwaps, At: lock.Swap.Expires - 1}
	require.Empty(t, d.must(early).Lots)
	early.At++
	over := d.must(early)
	require.Equal(t, points.Amount(500), over.Amount)
	d.now = early.At + tick
	require.Equal(t, book.SwapExpired, d.state(q.Position))
	require.Equal(t, points.Amount(9000), d.loose(air, 1))
	require.Zero(t, d.book.NextSwapExpiry())
	d.must(quoteOf(1, air, inn, 500))
	d.agrees()
}

// A quote that is not locked is refused after a rate or the terms have moved; one that is
// locked is executed at its own figures.
func TestSwapAndAMovingRate(t *testing.T) {
	d := swapDesk(t, 1, plainSwaps, plainSwaps)
	from := d.now + 2*tariff.LeadTime
	d.must(swapRate(inn, tariff.Sell, 50, 1, 0, from))
	d.now = from - 10*tick
	open := d.must(quoteOf(1, air, inn, 1000)).Position
	locked := d.must(quoteOf(1, air, inn, 1000)).Position
	d.must(about(book.KindSwapLock, locked))
	d.now = from + tick
	d.refuses(points.RateMoved, about(book.KindSwap, open))
	d.refuses(points.RateMoved, about(book.KindSwapLock, open))
	require.Equal(t, points.Amount(3960), d.must(about(book.KindSwap, locked)).Swap.Out)
	require.Equal(t, points.Amount(1980), d.must(quoteOf(1, air, inn, 1000)).Swap.Out)
	d.agrees()
}

// The same key with the same request gets the same answer and executes nothing twice; with
// another request it is refused (Q1, Q2). A swap is reversed once, and its repeat then tells so.
func TestSwapRepeatAndReversal(t *testing.T) {
	d := swapDesk(t, 1, plainSwaps, plainSwaps)
	q := d.must(keyed(1, quoteOf(1, air, inn, 1000))).Position
	d.must(about(book.KindSwapLock, q))
	first := d.must(keyed(2, about(book.KindSwap, q))).Clone()
	again := d.do(keyed(2, about(book.KindSwap, q)))
	require.True(t, again.Replayed)
	require.Equal(t, []any{first.Position, first.Swap, first.Postings}, []any{again.Position, again.Swap, again.Postings})
	other := keyed(2, about(book.KindSwap, q))
	other.Into = air
	d.refuses(points.DuplicateOther, other)

	back := book.Command{Kind: book.KindReverse, Key: keyOf("T1", 2, 4), OriginalKey: keyOf("T1", 2, 2)}
	require.Equal(t, book.SwapReversed, d.must(back).Swap.State)
	require.Equal(t, []points.Amount{10_000, 10_000}, []points.Amount{d.loose(air, 1), d.loose(inn, 1)})
	require.Equal(t, points.ReversedBefore, d.do(keyed(2, about(book.KindSwap, q))).Reason)
	require.Equal(t, book.SwapReversed, d.state(q))
	view, _, err := d.book.ClearedIn(day0, 1)
	require.NoError(t, err)
	for _, p := range view.Positions {
		require.Zero(t, p.Net(), "member %v", p.Member)
	}
	count, err := d.book.SwapCount(air, 1)
	require.NoError(t, err)
	require.Zero(t, count.YearIn)
	d.agrees()
}

// What was handed out and is spent when the swap is reversed is claimed at the issuer's
// expense, and nothing is lost.
func TestSwapReversedAfterSpending(t *testing.T) {
	d := swapDesk(t, 1, plainSwaps, plainSwaps)
	q := d.must(quoteOf(1, air, inn, 10_000)).Position
	d.must(keyed(2, about(book.KindSwap, q)))
	d.must(book.Command{Kind: book.KindRedeem, Acquirer: acquirer, Member: 1, Program: inn, Amount: 49_000})
	d.must(book.Command{Kind: book.KindReverse, Key: keyOf("T1", 2, 4), OriginalKey: keyOf("T1", 2, 2)})
	require.Equal(t, []points.Amount{10_000, 0}, []points.Amount{d.loose(air, 1), d.loose(inn, 1)})
	d.agrees()
}

// A campaign's bonus is a lot of its own, paid by the sponsor within its budget, that cannot
// be swapped while its lock runs.
func TestSwapBonus(t *testing.T) {
	rules := plainSwaps
	rules.Lots |= 1<<book.Bonus | 1<<book.Swapped
	rules.BonusPer, rules.BonusAdd, rules.BonusBudget, rules.LockDays = 1000, 50, 220, 3
	d := swapDesk(t, 1, rules, rules)
	q := d.must(quoteOf(1, air, inn, 1000)).Clone()
	require.Equal(t, points.Amount(150), q.Swap.Bonus)
	d.must(about(book.KindSwap, q.Position))
	require.Equal(t, points.Amount(10_000+3960+150), d.loose(inn, 1))
	sponsor, _, err := d.book.Account(book.AccountKey{Kind: book.SponsorAccount, Program: inn, Party: uint64(issuer)})
	require.NoError(t, err)
	require.Equal(t, points.Amount(-150), sponsor.Balance)
	require.Zero(t, d.must(quoteOf(1, air, inn, 1000)).Swap.Bonus, "150 more are not in the budget")
	d.refuses(points.NotEnoughPoints, quoteOf(1, inn, air, 10_001))
	d.must(book.Command{Kind: book.KindCutOver, Date: day0.AddDays(3)})
	d.must(quoteOf(1, inn, air, 14_110))
	d.agrees()
}

// A publication beside which a way there and back would gain is refused at any instant of
// overlap, and the refusal shows the cycle (I26).
func TestPublicationIsRefused(t *testing.T) {
	d := swapDesk(t, 1, plainSwaps, plainSwaps)
	from := d.now + 2*tariff.LeadTime
	refused := func(want string, cmd book.Command) {
		t.Helper()
		cmd.At = d.now
		require.False(t, d.do(cmd).Reason.Approved())
		require.ErrorContains(t, d.book.Why(&cmd), want)
	}
	refused("QZP -> 900 -> QZP gains: handed out at 98/1 (SELL version 2) and taken back at 100/1 (BUY version 1) less 10000 ppm, 1 becomes 99/98", swapRate(air, tariff.Sell, 98, 1, 0, from))
	d.must(swapRate(air, tariff.Sell, 99, 1, 0, from))
	refused("gains", swapRate(air, tariff.Buy, 101, 1, 10_000, from))
	// It would be fair when it begins, and not from the next version of the other side on.
	d.must(swapRate(air, tariff.Sell, 200, 1, 0, from+100*tick))
	refused("at 99/1 (SELL version 2) and taken back at 150/1 (BUY version 2) less 10000 ppm, 1 becomes 3/2", swapRate(air, tariff.Buy, 150, 1, 10_000, from+50*tick))
	d.must(swapRate(air, tariff.Buy, 150, 1, 10_000, from+100*tick))
	capped := plainSwaps
	capped.FeeCap = 5
	refused("a fee of at most 5", swapTerms(air, capped, from+1))
	d.agrees()
}

// What cannot be swapped is refused with its reason and changes nothing.
func TestSwapRefusals(t *testing.T) {
	rules := plainSwaps
	rules.MinIn, rules.MaxIn, rules.StepIn, rules.PoolIn = 100, 5000, 10, 6000
	d := swapDesk(t, 2, rules, plainSwaps)
	d.put(book.Entry{Issuer: &book.Issuer{ID: 1009, Name: "Far", Status: book.Active, Link: "far"}})
	d.put(book.Entry{Program: &book.Program{ID: 909, Issuer: 1009, Name: "Far", Status: book.Active}})
	d.put(book.Entry{Program: &book.Program{ID: 908, Issuer: issuer, Name: "Unrated", Status: book.Active}})
	d.must(book.Command{Kind: book.KindOpen, Member: 1, Program: 908})
	d.refuses(points.RemoteSwap, quoteOf(1, air, 909, 1000))
	d.refuses(points.NoSwapRate, quoteOf(1, air, 908, 1000))
	d.refuses(points.NotPermitted, quoteOf(1, air, air, 1000))
	d.refuses(points.UnknownProgram, quoteOf(1, air, 907, 1000))
	d.refuses(points.UnknownAccount, quoteOf(2, air, 908, 1000))
	d.refuses(points.BelowMinimum, quoteOf(1, air, inn, 90))
	d.refuses(points.BelowMinimum, quoteOf(1, air, inn, 105))
	d.refuses(points.OverAmountLimit, quoteOf(1, air, inn, 5010))
	d.refuses(points.BadAmount, quoteOf(1, air, inn, 0))
	d.refuses(points.BadAmount, quoteOf(1, air, inn, -10))
	d.refuses(points.NotEnoughPoints, quoteOf(1, inn, air, 10_001))
	d.refuses(points.UnknownOriginal, about(book.KindSwap, 3))
	d.refuses(points.UnknownOriginal, about(book.KindSwap, 99_999))
	q := d.must(quoteOf(1, air, inn, 5000)).Position
	theirs := about(book.KindSwap, q)
	theirs.Member = 2
	d.refuses(points.OriginalDiffers, theirs)
	theirs = about(book.KindSwap, q)
	theirs.Acquirer = acquirer
	d.refuses(points.OriginalDiffers, theirs)
	asked := quoteOf(1, air, inn, 100)
	asked.Acquirer = acquirer
	partners := about(book.KindSwap, d.must(asked).Position)
	d.refuses(points.OriginalDiffers, partners)
	partners.Acquirer = acquirer
	d.must(partners)
	second := d.must(quoteOf(2, air, inn, 5000)).Position
	d.must(about(book.KindSwap, q))
	d.refuses(points.OverAmountLimit, about(book.KindSwap, second)) // the pool of the day
	d.must(book.Command{Kind: book.KindFreeze, Member: 1, Program: inn, Freeze: book.FreezeCredit})
	d.refuses(points.AccountFrozen, quoteOf(1, air, inn, 100))
	d.agrees()
}

// naiveExchange is the slow, obvious exchange: it keeps every quote, and works all figures
// out in rational numbers from the rates of these tests.
type naiveExchange struct {
	free, held map[[2]uint64]int64 // programme, member
	quotes     map[points.Position]*naiveQuote
	executed   map[[2]uint64]int64 // handed in
}

type naiveQuote struct {
	member         points.MemberID
	from, into     points.ProgramID
	in, out        int64
	expires, until points.Timestamp // of quote and lock
	state          string
}

var naiveRates = map[points.ProgramID][2]int64{air: {100, 110}, inn: {20, 25}}

func naiveOut(from, into points.ProgramID, in int64) int64 {
	value := big.NewRat(in*naiveRates[from][0], 1)
	fee := new(big.Int).Div(new(big.Int).Add(new(big.Rat).Mul(value, big.NewRat(10_000, 1)).Num(), big.NewInt(999_999)), big.NewInt(1_000_000))
	net := new(big.Int).Sub(value.Num(), fee)
	return net.Div(net, big.NewInt(naiveRates[into][1])).Int64()
}

// Days of random quotes, locks, swaps, cancellations, expiries and reversals, some of them
// repeated, leave what the obvious exchange has: balances, holds, states and counters. The
// book's invariants hold after each step, and replay and checkpoints agree (Q1, Q3, Q5, I9).
func TestSwapsAgainstTheNaiveExchange(t *testing.T) {
	for seed := range *swapSeeds {
		r := rand.New(rand.NewPCG(uint64(seed), 7))
		d := swapDesk(t, 2, plainSwaps, plainSwaps)
		n := naiveExchange{make(map[[2]uint64]int64), make(map[[2]uint64]int64), make(map[points.Position]*naiveQuote), make(map[[2]uint64]int64)}
		for member := range uint64(2) {
			n.free[[2]uint64{uint64(air), member + 1}], n.free[[2]uint64{uint64(inn), member + 1}] = 10_000, 10_000
		}
		// Only what was earned may be swapped; what came by a swap stays.
		stuck := make(map[[2]uint64]int64)
		var order []points.Position
		keys := make(map[points.Position]uint32)
		for step := range uint32(60) {
			d.now += points.Timestamp(r.IntN(120)) * second
			if len(order) == 0 || r.IntN(3) == 0 {
				member, from, into := points.MemberID(r.IntN(2)+1), air, inn
				if r.IntN(2) == 0 {
					from, into = inn, air
				}
				in := int64(r.IntN(4000) + 10)
				out := d.do(quoteOf(member, from, into, points.Amount(in)))
				key := [2]uint64{uint64(from), uint64(member)}
				require.Equal(t, n.free[key]-stuck[key] >= in, out.Reason.Approved(), "seed %d step %d", seed, step)
				if out.Reason.Approved() {
					q := &naiveQuote{member: member, from: from, into: into, in: in, out: naiveOut(from, into, in), expires: out.Posted + 30*tick, state: "open"}
					require.Equal(t, q.out, int64(out.Swap.Out))
					n.quotes[out.Position] = q
					order = append(order, out.Position)
				}
				continue
			}
			at := order[r.IntN(len(order))]
			if r.IntN(2) == 0 {
				at = order[len(order)-1]
			}
			q := n.quotes[at]
			from, into := [2]uint64{uint64(q.from), uint64(q.member)}, [2]uint64{uint64(q.into), uint64(q.member)}
			alive := q.state == "open" && d.now+1000 < q.expires
			switch r.IntN(6) {
			case 0, 1:
				cmd := about(book.KindSwapLock, at)
				cmd.At = d.now + 1000
				out := d.do(cmd)
				ok := alive && n.free[from]-stuck[from] >= q.in
				require.Equal(t, ok, out.Reason.Approved(), "seed %d step %d lock: %v", seed, step, out.Reason)
				if ok {
					n.free[from] -= q.in
					n.held[from] += q.in
					q.state, q.until = "locked", out.Posted+600*tick
				}
			case 2, 3:
				cmd := keyed(1000+step, about(book.KindSwap, at))
				cmd.At = d.now + 1000
				out := d.do(cmd)
				ok := alive && n.free[from]-stuck[from] >= q.in
				if q.state == "locked" {
					ok = out.Posted < q.until
					if ok {
						n.held[from] -= q.in
						n.free[from] += q.in
					}
				}
				require.Equal(t, ok, out.Reason.Approved(), "seed %d step %d swap: %v", seed, step, out.Reason)
				if ok {
					n.free[from] -= q.in
					n.free[into] += q.out
					stuck[into] += q.out
					n.executed[from] += q.in
					q.state = "done"
					keys[at] = 1000 + step
				}
			case 4:
				ok := d.do(about(book.KindSwapCancel, at)).Reason.Approved()
				require.Equal(t, q.state == "open" || q.state == "locked", ok, "seed %d step %d cancel", seed, step)
				if q.state == "locked" {
					n.held[from] -= q.in
					n.free[from] += q.in
				}
				if ok {
					q.state = "cancelled"
				}
			default:
				if stan := keys[at]; stan != 0 && q.state == "done" && n.free[into] >= q.out {
					d.must(book.Command{Kind: book.KindReverse, Key: keyOf("T1", stan, 4), OriginalKey: keyOf("T1", stan, 2)})
					n.free[from] += q.in
					n.free[into] -= q.out
					stuck[into] -= q.out
					n.executed[from] -= q.in
					q.state = "reversed"
				}
				out := d.must(book.Command{Kind: book.KindExpireSwaps, At: d.now + 1000})
				for _, q := range n.quotes {
					if q.state == "locked" && q.until <= out.Posted {
						key := [2]uint64{uint64(q.from), uint64(q.member)}
						n.held[key] -= q.in
						n.free[key] += q.in
						q.state = "expired"
					}
				}
			}
			require.NoError(t, d.book.Audit(), "seed %d step %d", seed, step)
			locks := 0
			for _, q := range n.quotes {
				if q.state == "locked" {
					locks++
				}
			}
			require.Len(t, d.book.SwapLocks(), locks)
			for _, program := range []points.ProgramID{air, inn} {
				for member := points.MemberID(1); member <= 2; member++ {
					key := [2]uint64{uint64(program), uint64(member)}
					view, _, err := d.book.Account(book.AccountKey{Kind: book.MemberAccount, Program: program, Party: uint64(member)})
					require.NoError(t, err)
					require.Equal(t, []int64{n.free[key], n.held[key]}, []int64{int64(view.Balance - view.Held), int64(view.Held)}, "seed %d step %d %v", seed, step, key)
					locked := int64(0)
					for _, q := range n.quotes {
						if q.state == "locked" && q.member == member && q.from == program {
							locked += q.in
						}
					}
					count, err := d.book.SwapCount(program, member)
					require.NoError(t, err)
					require.Equal(t, n.executed[key]+locked, int64(count.DayIn), "Q5: seed %d step %d", seed, step)
				}
			}
		}
		d.agrees()
	}
}
