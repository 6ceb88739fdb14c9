package book_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// An execution that says another programme or other amounts than its quote is refused, and a
// quote under a key that wants another amount.
func TestSwapThatSaysOtherwise(t *testing.T) {
	d := swapDesk(t, 1, plainSwaps, plainSwaps)
	q := d.must(quoteOf(1, air, inn, 1000)).Clone()
	for _, change := range []func(*book.Command){
		func(c *book.Command) { c.Into = air },
		func(c *book.Command) { c.Amount = 999 },
		func(c *book.Command) { c.Wanted = q.Swap.Out - 1 },
	} {
		cmd := about(book.KindSwap, q.Position)
		change(&cmd)
		d.refuses(points.OriginalDiffers, cmd)
	}
	cmd := about(book.KindSwap, q.Position)
	cmd.Into, cmd.Amount, cmd.Wanted = inn, 1000, q.Swap.Out
	d.must(cmd)
	wanted := quoteOf(1, air, inn, 0)
	wanted.Wanted = 100
	d.must(keyed(1, wanted))
	wanted.Wanted = 101
	d.refuses(points.DuplicateOther, keyed(1, wanted))
}

// What is shown is over at its last moment, of a lock at the lock's; locks end in the order
// of their ends, a bounded number at a time; and what has ended so is refused as expired.
func TestSwapLocksEndInOrder(t *testing.T) {
	d := swapDesk(t, 1, plainSwaps, plainSwaps)
	shown := func(quote points.Position, at points.Timestamp) (book.SwapState, points.Timestamp) {
		t.Helper()
		view, ok, err := d.book.Swap(quote, at)
		require.NoError(t, err)
		require.True(t, ok)
		return view.State, view.Expires
	}
	long := d.must(quoteOf(1, air, inn, 100)).Clone()
	short := quoteOf(1, air, inn, 200)
	short.Limit = 60
	brief := d.must(short).Clone()
	state, expires := shown(long.Position, long.Swap.Expires-1)
	require.Equal(t, []any{book.SwapOpen, long.Swap.Expires}, []any{state, expires})
	state, _ = shown(long.Position, long.Swap.Expires)
	require.Equal(t, book.SwapExpired, state)
	lock := d.must(about(book.KindSwapLock, long.Position)).Clone()
	first := d.must(about(book.KindSwapLock, brief.Position)).Clone()
	require.Equal(t, []points.Position{brief.Position, long.Position}, d.book.SwapLocks())
	require.Equal(t, first.Swap.Expires, d.book.NextSwapExpiry())
	state, expires = shown(long.Position, lock.Swap.Expires-1)
	require.Equal(t, []any{book.SwapLocked, lock.Swap.Expires}, []any{state, expires})
	over := book.Command{Kind: book.KindExpireSwaps, At: lock.Swap.Expires, Limit: 1}
	out := d.must(over)
	require.Equal(t, []any{points.Amount(200), true}, []any{out.Amount, out.More})
	out = d.must(over)
	require.Equal(t, []any{points.Amount(100), false}, []any{out.Amount, out.More})
	late := about(book.KindSwap, brief.Position)
	d.refuses(points.QuoteExpired, late)
	d.refuses(points.OriginalClosed, about(book.KindSwapLock, brief.Position))
	d.agrees()
}

// A quote that nothing was held for is refused once the terms of either programme are others,
// even if they say the same.
func TestSwapAndMovingTerms(t *testing.T) {
	for _, program := range []points.ProgramID{air, inn} {
		d := swapDesk(t, 1, plainSwaps, plainSwaps)
		from := d.now + 2*tariff.LeadTime
		d.must(swapTerms(program, plainSwaps, from))
		d.now = from - 10*tick
		q := d.must(quoteOf(1, air, inn, 1000)).Position
		d.now = from + tick
		d.refuses(points.RateMoved, about(book.KindSwap, q))
	}
}

// Only lots of the origins that the terms allow are swapped; neither side may be
// tier-qualifying points, nobody's account that is closed or frozen is paid into; and
// without a lock in the terms there is none.
func TestSwapOfWhat(t *testing.T) {
	rules := plainSwaps
	rules.LockSeconds = 0
	d := tieredDesk(t, rules)
	d.must(book.Command{Kind: book.KindEarn, Acquirer: acquirer, Member: 2, Program: air, Amount: 5000, Origin: book.Bought})
	d.refuses(points.NotEnoughPoints, quoteOf(2, air, inn, 10_001))
	q := d.must(quoteOf(2, air, inn, 10_000)).Position
	d.refuses(points.FunctionDisabled, about(book.KindSwapLock, q))
	d.refuses(points.NotPermitted, quoteOf(1, air, miles, 100))
	d.refuses(points.NotPermitted, quoteOf(1, miles, inn, 100))
	d.must(book.Command{Kind: book.KindFreeze, Member: 1, Freeze: book.FreezeCredit})
	d.refuses(points.MemberFrozen, quoteOf(1, air, inn, 100))
	d.must(book.Command{Kind: book.KindRedeem, Acquirer: acquirer, Member: 2, Program: inn, Amount: 10_000})
	d.must(book.Command{Kind: book.KindClose, Member: 2, Program: inn})
	d.refuses(points.AccountClosed, about(book.KindSwap, q))
	d.agrees()
}

// Points that never expire become such, where they inherit.
func TestSwapInheritsThatNothingExpires(t *testing.T) {
	d := newDesk(t, book.Options{})
	d.put(book.Entry{Issuer: &book.Issuer{ID: innkeep, Name: "Innkeeper", Status: book.Active}})
	d.furnish(1, book.ProgramRules{}, book.ProgramRules{ValidMonths: 24})
	rules := plainSwaps
	rules.Expiry = tariff.ExpiryInherit
	d.swaps(1, plainSwaps, rules)
	done := d.must(about(book.KindSwap, d.must(quoteOf(1, air, inn, 1000)).Position)).Clone()
	for _, move := range done.Lots {
		require.Zero(t, move.Lot.ExpiresOn, "%+v", move)
	}
	d.agrees()
}

// What settlement could not value is not promised; what was promised is valued by the fees of
// its quote, and where a quote of before that was said could not be valued it is refused.
func TestSwapWithoutAFee(t *testing.T) {
	d := swapDesk(t, 1, plainSwaps, plainSwaps)
	old := quoteOf(1, air, inn, 1000)
	old.Edition = 0
	from := d.now + 2*tariff.LeadTime
	d.must(book.Command{Kind: book.KindPut, Operator: "li", Second: "wang", Entry: book.Entry{Fees: &tariff.Schedule{From: from, Rows: []tariff.FeeRow{{Kind: tariff.KindRDM}}}}})
	d.now = from - 10*tick
	q := d.must(quoteOf(1, air, inn, 1000)).Position
	of := d.must(old).Position
	d.now = from + tick
	d.refuses(points.NoSwapRate, quoteOf(1, air, inn, 1000))
	d.refuses(points.NoSwapRate, about(book.KindSwap, of))
	d.must(about(book.KindSwap, q))
	require.Equal(t, []tariff.Kind{tariff.KindSWP}, d.items(d.book.Position()))
	d.agrees()
}

// A swap counts on the date on which it was locked, and is given back there: later windows of
// the same month and year have the others' still, and that day's are over.
func TestSwapGivenBackOnALaterDate(t *testing.T) {
	d := swapDesk(t, 1, plainSwaps, plainSwaps)
	q := d.must(quoteOf(1, air, inn, 1000)).Position
	lock := about(book.KindSwapLock, q)
	d.must(lock)
	out := d.must(quoteOf(1, air, inn, 300)).Clone()
	d.must(book.Command{Kind: book.KindCutOver, Date: day0.AddDays(1)})
	d.must(keyed(2, about(book.KindSwap, q)))
	d.must(about(book.KindSwap, out.Position))
	d.must(book.Command{Kind: book.KindReverse, Key: keyOf("T1", 2, 4), OriginalKey: keyOf("T1", 2, 2)})
	for member := range points.MemberID(2) { // all together, and the member
		in, err := d.book.SwapCount(air, member)
		require.NoError(t, err)
		into, err := d.book.SwapCount(inn, member)
		require.NoError(t, err)
		require.Equal(t, []points.Amount{300, 300, 300, out.Swap.Out, out.Swap.Out}, []points.Amount{in.DayIn, in.MonthIn, in.YearIn, into.DayOut, into.YearOut})
	}
	d.agrees()
}

// Exact-out hands in the least multiple of the step.
func TestSwapExactOutInSteps(t *testing.T) {
	rules := plainSwaps
	rules.StepIn = 50
	d := swapDesk(t, 1, rules, plainSwaps)
	for want, in := range map[points.Amount]points.Amount{1: 50, 198: 50, 199: 100, 396: 100, 397: 150} { // 50 of air give 198
		cmd := quoteOf(1, air, inn, 0)
		cmd.Wanted = want
		q := d.must(cmd).Swap
		require.Equal(t, in, q.In, "for %d", want)
		require.GreaterOrEqual(t, q.Out, want)
	}
}

// A lock keeps its word but for a programme that is not active any more.
func TestSwapIntoASuspendedProgramme(t *testing.T) {
	d := swapDesk(t, 1, plainSwaps, plainSwaps)
	q := d.must(quoteOf(1, air, inn, 1000)).Position
	d.must(about(book.KindSwapLock, q))
	d.put(book.Entry{Program: &book.Program{ID: inn, Issuer: issuer, Name: "Inn", Status: book.Suspended, Rules: book.ProgramRules{ValidMonths: 24}}})
	d.refuses(points.ProgramClosed, about(book.KindSwap, q))
	d.must(about(book.KindSwapCancel, q))
	require.Equal(t, points.Amount(10_000), d.loose(air, 1))
	d.agrees()
}

// The year's cap of a member, the day's pool of what is handed out, and the recipient's year
// hold alone; a bonus counts as handed out.
func TestSwapCapsOneByOne(t *testing.T) {
	paying := plainSwaps
	paying.BonusPer, paying.BonusAdd, paying.BonusBudget, paying.LockDays = 100, 10, 100_000, 1
	yearly, pool, recipient := plainSwaps, paying, paying
	yearly.UserYear = 1000
	pool.PoolOut, recipient.RecipientYear = 4350, 4350 // 1000 of air give 3960, and 390 of bonus
	for _, c := range []struct{ air, inn tariff.SwapRules }{{yearly, plainSwaps}, {plainSwaps, pool}, {plainSwaps, recipient}} {
		d := swapDesk(t, 1, c.air, c.inn)
		d.refuses(points.OverAmountLimit, quoteOf(1, air, inn, 1003))
		d.must(about(book.KindSwap, d.must(quoteOf(1, air, inn, 1000)).Position))
		d.refuses(points.OverAmountLimit, quoteOf(1, air, inn, 1))
	}
}

// The budget of a campaign is that of one version of its terms: who comes too late for what
// was promised is refused, what is undone comes back to it, and to no other version's.
func TestSwapBudgets(t *testing.T) {
	rules := plainSwaps
	rules.BonusPer, rules.BonusAdd, rules.BonusBudget, rules.LockDays = 100, 10, 390, 1
	d := swapDesk(t, 2, plainSwaps, rules)
	bonus := func(member points.MemberID) points.Amount {
		t.Helper()
		return d.must(quoteOf(member, air, inn, 1000)).Swap.Bonus
	}
	reverse := func(stan uint32) {
		t.Helper()
		d.must(book.Command{Kind: book.KindReverse, Key: keyOf("T1", stan, 4), OriginalKey: keyOf("T1", stan, 2)})
	}
	first, second := d.must(quoteOf(1, air, inn, 1000)).Clone(), d.must(quoteOf(2, air, inn, 1000)).Clone()
	require.Equal(t, []points.Amount{390, 390}, []points.Amount{first.Swap.Bonus, second.Swap.Bonus})
	d.must(keyed(1, about(book.KindSwap, first.Position)))
	d.refuses(points.RateMoved, about(book.KindSwap, second.Position))
	require.Zero(t, bonus(2))
	reverse(1)
	require.Equal(t, points.Amount(390), bonus(2))
	third := d.must(quoteOf(1, air, inn, 1000)).Position
	d.must(keyed(2, about(book.KindSwap, third)))
	from := d.now + 2*tariff.LeadTime
	d.must(swapTerms(inn, rules, from))
	d.now = from + tick
	fourth := d.must(quoteOf(2, air, inn, 1000)).Clone()
	require.Equal(t, points.Amount(390), fourth.Swap.Bonus, "another version, another budget")
	d.must(keyed(3, about(book.KindSwap, fourth.Position)))
	require.Zero(t, bonus(2))
	reverse(2)
	require.Zero(t, bonus(2), "what came back was the other version's")
	reverse(3)
	require.Equal(t, points.Amount(390), bonus(2))
	d.agrees()
}

// A publication is held against everything that was published for later, rates and caps of
// fees, of the programme alone and with the rates of pairs.
func TestPublicationLooksAhead(t *testing.T) {
	capped := plainSwaps
	capped.FeeCap = 5
	refused := func(d *desk, want string, cmd book.Command) {
		t.Helper()
		cmd.At = d.now
		require.Equal(t, points.NotPermitted, d.do(cmd).Reason)
		require.ErrorContains(t, d.book.Why(&cmd), want)
	}
	d := swapDesk(t, 1, plainSwaps, plainSwaps)
	from := d.now + 2*tariff.LeadTime
	d.must(swapRate(air, tariff.Sell, 200, 1, 0, from))
	d.must(swapRate(air, tariff.Sell, 120, 1, 0, from+100*tick))
	refused(d, "at 120/1 (SELL version 3) and taken back at 150/1", swapRate(air, tariff.Buy, 150, 1, 10_000, from))
	d.must(swapTerms(air, capped, from+50*tick))
	refused(d, "a fee of at most 5", swapRate(air, tariff.Buy, 121, 1, 10_000, from+100*tick))
	d.must(swapRate(air, tariff.Buy, 120, 1, 10_000, from+100*tick))

	d = swapDesk(t, 1, plainSwaps, plainSwaps)
	from = d.now + 2*tariff.LeadTime
	d.must(swapTerms(air, capped, from+50*tick))
	refused(d, "a fee of at most 5", swapRate(air, tariff.Buy, 111, 1, 10_000, from))
	refused(d, "the way 900 -> 901 -> 900 gains: 1 becomes 126/125", pairRate(air, inn, 140, 1, 10_000, from))
	d.must(pairRate(air, inn, 138, 1, 10_000, from))

	// A programme that is bought by a pair only, with a cap.
	d = swapDesk(t, 1, plainSwaps, plainSwaps)
	from = d.now + 2*tariff.LeadTime
	d.put(book.Entry{Program: &book.Program{ID: 905, Issuer: innkeep, Name: "Other", Status: book.Active}})
	d.must(swapRate(905, tariff.Sell, 100, 1, 0, from))
	d.must(swapTerms(905, capped, from))
	refused(d, "gains: 1 becomes 126/125", pairRate(905, air, 112, 1, 10_000, from))
	d.must(pairRate(905, air, 111, 1, 10_000, from))
}

// More rates of pairs than are looked at in time are refused.
func TestPublicationBoundsPairs(t *testing.T) {
	d := swapDesk(t, 1, plainSwaps, plainSwaps)
	from := d.now + 2*tariff.LeadTime
	for program := points.ProgramID(910); program < 950; program++ {
		d.put(book.Entry{Program: &book.Program{ID: program, Issuer: innkeep, Name: "Other", Status: book.Active}})
	}
	for into := points.ProgramID(910); into < 942; into++ {
		d.must(pairRate(air, into, 100, 1, 0, from))
	}
	one := pairRate(air, 942, 100, 1, 0, from)
	one.At = d.now
	require.Equal(t, points.NotPermitted, d.do(one).Reason)
	require.ErrorContains(t, d.book.Why(&one), "33 overrides of pairs are in force, want at most 32")
	d.must(pairRate(air, 910, 0, 0, 0, from))
	d.must(pairRate(air, 942, 100, 1, 0, from))
}

// A swap that was put away with a checkpoint, and has left memory since, is not executed
// again; nor is one that a running checkpoint has put away already.
func TestSwapThatHasLeftMemory(t *testing.T) {
	d := newDesk(t, book.Options{Accounts: 1})
	d.put(book.Entry{Issuer: &book.Issuer{ID: innkeep, Name: "Innkeeper", Status: book.Active}})
	d.furnish(1, book.ProgramRules{ValidMonths: 12, Transfer: true}, book.ProgramRules{ValidMonths: 24})
	d.swaps(1, plainSwaps, plainSwaps)
	var quotes []points.Position
	for range 30 {
		q := d.must(quoteOf(1, air, inn, 10)).Position
		d.must(about(book.KindSwap, q))
		quotes = append(quotes, q)
		d.store.checkpoint(d.book)
		for _, q := range quotes {
			d.refuses(points.OriginalClosed, about(book.KindSwap, q))
		}
	}
	count, err := d.book.SwapCount(air, 1)
	require.NoError(t, err)
	require.Equal(t, points.Amount(300), count.YearIn)
}

// Rules on risk look at swaps where they name them: a swap counts once, when it is locked or
// executed, for the member whatever the door; what is given up, and what is reversed, is given
// back where it was counted; and a lock keeps its word.
func TestSwapLockAndRiskRules(t *testing.T) {
	d := swapDesk(t, 2, plainSwaps, plainSwaps)
	d.setRules(0, book.RiskRule{Name: "member", Functions: []points.Function{points.Swap}, Measure: book.SumOf, Per: book.PerMember, Window: 60, Limit: 1000, Action: book.Decline})
	swap := func(kind book.Kind, quote points.Position) book.Command {
		cmd := about(kind, quote)
		cmd.Function = points.Swap
		return cmd
	}
	left := func(want points.Amount) { // is how much more the rule lets through
		t.Helper()
		probe := quoteOf(1, air, inn, want+1)
		probe.Function = points.SwapQuote
		d.refuses(points.OverAmountLimit, probe)
		if probe.Amount = want; want > 0 {
			d.must(probe)
		}
	}
	first := d.must(quoteOf(1, air, inn, 1000)).Position
	second := d.must(quoteOf(1, inn, air, 100)).Position
	left(1000)
	d.must(swap(book.KindSwapLock, first))
	left(0)
	d.refuses(points.OverAmountLimit, swap(book.KindSwapLock, second))
	d.refuses(points.OverAmountLimit, swap(book.KindSwap, second))
	d.must(swap(book.KindSwap, d.must(quoteOf(2, air, inn, 1000)).Position)) // Another member's.
	d.must(about(book.KindSwapCancel, first))
	left(1000)
	d.must(swap(book.KindSwapLock, second))
	left(900)
	d.setRules(0, book.RiskRule{Name: "member", Functions: []points.Function{points.Swap}, Measure: book.SumOf, Per: book.PerMember, Window: 60, Limit: 50, Action: book.Decline})
	d.now += 7 * minute                           // In another part of the window
	d.must(keyed(7, swap(book.KindSwap, second))) // a lock keeps its word,
	d.setRules(0, book.RiskRule{Name: "member", Functions: []points.Function{points.Swap}, Measure: book.SumOf, Per: book.PerMember, Window: 60, Limit: 1000, Action: book.Decline})
	left(900) // and counts once.
	d.must(book.Command{Kind: book.KindReverse, Key: keyOf("T1", 7, 4), OriginalKey: keyOf("T1", 7, 2)})
	left(1000)
	d.setRules(0,
		book.RiskRule{Name: "member", Functions: []points.Function{points.Swap}, Measure: book.SumOf, Per: book.PerMember, Window: 60, Limit: 1000, Action: book.Decline},
		book.RiskRule{Name: "large ones", Functions: []points.Function{points.Swap}, From: 200, Measure: book.CountOf, Per: book.PerMember, Window: 60, Limit: 1, Action: book.Decline})
	var large [3]points.Position
	for i, amount := range []points.Amount{200, 200, 199} {
		large[i] = d.must(quoteOf(1, air, inn, amount)).Position
	}
	d.must(swap(book.KindSwapLock, large[0]))
	d.refuses(points.OverCountLimit, swap(book.KindSwapLock, large[1]))
	d.must(swap(book.KindSwapLock, large[2]))
	d.must(about(book.KindSwapCancel, large[2]))
	d.refuses(points.OverCountLimit, swap(book.KindSwapLock, large[1]))
	d.must(about(book.KindSwapCancel, large[0]))
	d.must(swap(book.KindSwapLock, large[1]))
	d.must(about(book.KindSwapCancel, large[1]))
	d.setRules(0, book.RiskRule{Name: "member", Functions: []points.Function{points.Swap}, Measure: book.SumOf, Per: book.PerMember, Window: 60, Limit: 1000, Action: book.Decline})
	third := d.must(quoteOf(1, air, inn, 300)).Position
	d.must(swap(book.KindSwapLock, third))
	left(700)
	d.now += 601 * tick
	d.must(book.Command{Kind: book.KindExpireSwaps})
	left(1000)
	d.agrees()
}

// What is swapped away is spent where a rule on loops names swaps, and only there; what a swap
// hands out is not earned.
func TestSwapLoopsAndRiskRules(t *testing.T) {
	earned := func(d *desk) book.Command {
		return at("T1", uint32(len(d.store.journal)), book.Command{Kind: book.KindEarn, Function: points.Earn, Card: cardOf(1), Program: air, Amount: 100})
	}
	swap := func(d *desk, from, into points.ProgramID, amount points.Amount) points.Reason {
		cmd := about(book.KindSwap, d.must(quoteOf(1, from, into, amount)).Position)
		cmd.Function = points.Swap
		return d.do(cmd).Reason
	}
	for _, named := range []bool{false, true} {
		rule := book.RiskRule{Name: "loop", Measure: book.LoopShare, Per: book.PerMember, Window: 60, Limit: 50, Action: book.Decline}
		if named {
			rule.Functions = []points.Function{points.Swap}
		}
		d := swapDesk(t, 1, plainSwaps, plainSwaps)
		d.setRules(0, rule)
		require.True(t, swap(d, inn, air, 600).Approved(), "nothing was earned, and what a swap hands out is not")
		require.True(t, swap(d, air, inn, 60).Approved())
		d.must(earned(d))
		require.Equal(t, named, swap(d, air, inn, 1) == points.SuspectedFraud, "600 and 60 are spent in the same part of the window as 100 are earned")
		d.agrees()
	}
	d := swapDesk(t, 1, plainSwaps, plainSwaps)
	out := d.do(book.Command{Kind: book.KindPut, Entry: book.Entry{Risk: &book.RiskRules{Rules: []book.RiskRule{{
		Name: "loop", Functions: []points.Function{points.Swap, points.Redeem}, Measure: book.LoopCount, Per: book.PerMember, Window: 60, Limit: 1, Action: book.Decline,
	}}}}})
	require.Equal(t, points.FormatError, out.Reason)
}

// Whoever asks for quotes without end is held to a rule on quotes, and tries of swaps that are
// declined count with what their quotes say.
func TestSwapQuotesAndTriesAndRiskRules(t *testing.T) {
	d := swapDesk(t, 1, plainSwaps, plainSwaps)
	d.setRules(0,
		book.RiskRule{Name: "quotes", Functions: []points.Function{points.SwapQuote}, Measure: book.CountOf, Per: book.PerMember, Window: 10, Limit: 3, Action: book.Decline},
		book.RiskRule{Name: "tries", Functions: []points.Function{points.Swap}, From: 100, Measure: book.SumOf, Per: book.PerAll, Window: 10, Limit: 900, Attempts: true, Action: book.Decline, Reason: points.DoNotHonour})
	quote := quoteOf(1, air, inn, 400)
	quote.Function = points.SwapQuote
	for range 3 {
		d.must(quote)
	}
	d.refuses(points.OverCountLimit, quote)
	d.now += 11 * minute
	at := d.must(quote).Position
	d.now += 31 * tick
	for stan := range uint32(2) { // Its time is over; each try counts 400.
		cmd := keyed(100+stan, about(book.KindSwap, at))
		cmd.Function = points.Swap
		require.Equal(t, points.QuoteExpired, d.do(cmd).Reason)
	}
	d.refuses(points.DoNotHonour, quote)
	d.now += 11 * minute
	d.must(quote)
	d.agrees()
}
