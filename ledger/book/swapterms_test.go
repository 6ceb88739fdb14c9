package book_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// tieredDesk is a desk whose programme air has a tier unit, of which its members have as
// much as they have earned.
func tieredDesk(t *testing.T, airRules tariff.SwapRules) *desk {
	t.Helper()
	d := newDesk(t, book.Options{})
	d.put(book.Entry{Issuer: &book.Issuer{ID: innkeep, Name: "Innkeeper", Status: book.Active}})
	d.furnish(2, book.ProgramRules{ValidMonths: 12, Tier: miles}, book.ProgramRules{ValidMonths: 24})
	return d.swaps(2, airRules, plainSwaps)
}

// Steps of a campaign and the part of a member's tier are one bonus: a lot and postings of
// its own beside what is handed out, paid by the sponsor. As many of the largest step as go
// count first, and the tier is the highest that the member has reached.
func TestSwapStepsAndTiers(t *testing.T) {
	rules := plainSwaps
	rules.BonusPer, rules.BonusAdd, rules.BonusBudget, rules.LockDays = 100, 5, 10_000, 3
	rules.VolumeBonus = tariff.BonusSteps{{Per: 400, Add: 30}}
	rules.TierBonus = tariff.BonusTiers{{From: 10_001, PPM: 10_000}, {From: 12_000, PPM: 50_000}}
	d := tieredDesk(t, rules)
	// 10000 of inn are 200000, less 2000 of fee 198000, out 1800 of air: four steps of 400,
	// and two of 100.
	q := d.must(quoteOf(1, inn, air, 10_000)).Clone()
	require.Equal(t, []points.Amount{1800, 4*30 + 2*5}, []points.Amount{q.Swap.Out, q.Swap.Bonus}, "the member is one short of a tier")
	d.must(book.Command{Kind: book.KindEarn, Acquirer: acquirer, Member: 1, Program: air, Amount: 1})
	require.Equal(t, points.Amount(130+18), d.must(quoteOf(1, inn, air, 10_000)).Swap.Bonus)
	d.must(book.Command{Kind: book.KindEarn, Acquirer: acquirer, Member: 1, Program: air, Amount: 5000})
	q = d.must(quoteOf(1, inn, air, 10_000)).Clone()
	require.Equal(t, points.Amount(130+90), q.Swap.Bonus)
	require.Equal(t, points.Amount(130), d.must(quoteOf(2, inn, air, 10_000)).Swap.Bonus, "the other member has none")
	done := d.must(about(book.KindSwap, q.Position)).Clone()
	require.Len(t, done.Postings, 6)
	origins := map[book.Origin]points.Amount{}
	for _, move := range done.Lots {
		if move.Account.Program == air && move.Account.Kind == book.MemberAccount {
			origins[move.Lot.Origin] += move.Amount
		}
	}
	require.Equal(t, map[book.Origin]points.Amount{book.Swapped: 1800, book.Bonus: 220}, origins)
	d.agrees()
}

// Terms that pay a bonus and let it be swapped on, or pay a tier of which the programme has
// no unit, are refused; and so are steps that splitting would gain by.
func TestSwapCampaignsAreRefused(t *testing.T) {
	d := tieredDesk(t, plainSwaps)
	from := d.now + 2*tariff.LeadTime
	good := plainSwaps
	good.BonusPer, good.BonusAdd, good.BonusBudget, good.LockDays = 100, 5, 10_000, 3
	good.VolumeBonus = tariff.BonusSteps{{Per: 400, Add: 20}}
	good.TierBonus = tariff.BonusTiers{{From: 0, PPM: 1}, {From: 5, PPM: 2}}
	for want, change := range map[string]func(*tariff.SwapRules){
		"lots_allowed: bonus":          func(r *tariff.SwapRules) { r.Lots |= 1 << book.Bonus },
		"swap_lock_days 0":             func(r *tariff.SwapRules) { r.LockDays = 0 },
		"else splitting a swap":        func(r *tariff.SwapRules) { r.VolumeBonus[0].Add = 19 },
		"450 behind":                   func(r *tariff.SwapRules) { r.VolumeBonus[0] = tariff.BonusStep{Per: 450, Add: 100} },
		"for each 100 behind":          func(r *tariff.SwapRules) { r.VolumeBonus[0] = tariff.BonusStep{Per: 100, Add: 6} },
		"want 1 to":                    func(r *tariff.SwapRules) { r.VolumeBonus[0].Add = 0 },
		"rise from tier to tier":       func(r *tariff.SwapRules) { r.TierBonus[1].From = 0 },
		"2 ppm from 5":                 func(r *tariff.SwapRules) { r.TierBonus[0].PPM = 2 },
		"an empty entry":               func(r *tariff.SwapRules) { r.VolumeBonus = tariff.BonusSteps{{}, {Per: 400, Add: 20}} },
		"bonus_budget 0":               func(r *tariff.SwapRules) { r.BonusBudget = 0 },
		"there is no lock to pay":      func(r *tariff.SwapRules) { r.LockSeconds, r.LockFeePPM = 0, 5 },
		"lock_fee_ppm 1000000: want 0": func(r *tariff.SwapRules) { r.LockFeePPM = tariff.Million },
	} {
		rules := good
		change(&rules)
		cmd := swapTerms(air, rules, from)
		cmd.At = d.now
		require.False(t, d.do(cmd).Reason.Approved(), want)
		require.ErrorContains(t, d.book.Why(&cmd), want)
	}
	cmd := swapTerms(inn, good, from)
	cmd.At = d.now
	require.Equal(t, points.NotPermitted, d.do(cmd).Reason)
	require.ErrorContains(t, d.book.Why(&cmd), "no tier unit")
	d.must(swapTerms(air, good, from))
	d.agrees()
}

// Where a lock has a fee, it is asked for with the quote: the fee grows with each minute that
// is begun, the figures never change afterwards, and the lock ends when it was asked to.
func TestSwapLockFee(t *testing.T) {
	rules := plainSwaps
	rules.LockFeePPM = 2000
	d := swapDesk(t, 1, rules, plainSwaps)
	wanted := func(seconds uint32) book.Command {
		cmd := quoteOf(1, air, inn, 1000)
		cmd.Limit = seconds
		return cmd
	}
	for seconds, fee := range map[uint32]points.Amount{0: 1000, 1: 1200, 60: 1200, 61: 1400, 600: 3000} {
		q := d.must(wanted(seconds)).Swap
		require.Equal(t, []points.Amount{100_000, fee}, []points.Amount{q.Value, q.Fee}, "%d seconds", seconds)
		require.Equal(t, q.Value, q.Fee+q.Cost+q.Rest)
	}
	d.refuses(points.FunctionDisabled, wanted(601))
	d.refuses(points.FunctionDisabled, about(book.KindSwapLock, d.must(wanted(0)).Position))
	q := d.must(keyed(1, wanted(61))).Clone()
	d.refuses(points.DuplicateOther, keyed(1, wanted(60)))
	lock := d.must(about(book.KindSwapLock, q.Position)).Clone()
	require.Equal(t, lock.Posted+61*tick, lock.Swap.Expires)
	late := about(book.KindSwap, q.Position)
	late.At = lock.Swap.Expires
	d.refuses(points.QuoteExpired, late)
	late.At--
	require.Equal(t, q.Swap.Out, d.must(late).Swap.Out)
	d.agrees()
	// Without a fee a lock may be asked for shorter than the terms give it.
	free := quoteOf(1, inn, air, 1000)
	free.Limit = 30
	lock = d.must(about(book.KindSwapLock, d.must(free).Position)).Clone()
	require.Equal(t, lock.Posted+30*tick, lock.Swap.Expires)
}

func pairRate(from, into points.ProgramID, num, den uint64, ppm uint32, at points.Timestamp) book.Command {
	cmd := swapRate(from, tariff.Buy, num, den, ppm, at)
	cmd.Entry.Rate.Into = into
	return cmd
}

// A rate of a pair takes the place of the programme's own there and nowhere else, from its
// moment on until it is ended; quotes by the rate before are not executed any more.
func TestSwapRateOfAPair(t *testing.T) {
	d := swapDesk(t, 1, plainSwaps, plainSwaps)
	from := d.now + 2*tariff.LeadTime
	d.must(pairRate(air, inn, 109, 1, 0, from))
	d.must(pairRate(air, inn, 0, 0, 0, from+100*tick))
	d.now = from - 10*tick
	before := d.must(quoteOf(1, air, inn, 1000)).Clone()
	require.Equal(t, points.Amount(100_000), before.Swap.Value)
	d.now = from + tick
	d.refuses(points.RateMoved, about(book.KindSwap, before.Position))
	q := d.must(quoteOf(1, air, inn, 1000)).Clone()
	require.Equal(t, []points.Amount{109_000, 0, 4360}, []points.Amount{q.Swap.Value, q.Swap.Fee, q.Swap.Out})
	require.Equal(t, uint32(2), q.Swap.Buy, "numbered with the programme's own")
	require.Equal(t, points.Amount(20_000), d.must(quoteOf(1, inn, air, 1000)).Swap.Value, "one way only")
	d.must(about(book.KindSwap, q.Position))
	d.now = from + 99*tick
	late := d.must(quoteOf(1, air, inn, 1000)).Position
	d.now = from + 101*tick
	d.refuses(points.RateMoved, about(book.KindSwap, late))
	require.Equal(t, points.Amount(100_000), d.must(quoteOf(1, air, inn, 1000)).Swap.Value)
	unknown := pairRate(air, 907, 100, 1, 0, d.now+2*tariff.LeadTime)
	unknown.At = d.now
	require.Equal(t, points.UnknownProgram, d.do(unknown).Reason)
	for want, cmd := range map[string]book.Command{
		"names another programme": pairRate(air, air, 100, 1, 0, d.now+2*tariff.LeadTime),
		"both are 1 to":           pairRate(air, inn, 0, 0, 5, d.now+2*tariff.LeadTime),
	} {
		cmd.At = d.now
		require.False(t, d.do(cmd).Reason.Approved())
		require.ErrorContains(t, d.book.Why(&cmd), want)
	}
	d.agrees()
}

// A rate of a pair with which some way of two to four programmes would gain is refused, and
// the refusal shows the way; one that only looks dear, because every way back loses more, is
// not. What comes later is held against the pairs in force then.
func TestSwapRateOfAPairIsRefused(t *testing.T) {
	d := swapDesk(t, 1, plainSwaps, plainSwaps)
	from := d.now + 2*tariff.LeadTime
	refused := func(want string, cmd book.Command) {
		t.Helper()
		cmd.At = d.now
		require.Equal(t, points.NotPermitted, d.do(cmd).Reason)
		require.ErrorContains(t, d.book.Why(&cmd), want)
	}
	// air -> inn at n/25, and back at 20 * 0.99 / 110: it gains above 138.8.
	refused("the way 900 -> 901 -> 900 gains: 1 becomes 1251/1250", pairRate(air, inn, 139, 1, 0, from))
	d.must(pairRate(air, inn, 138, 1, 0, from))
	refused("the way 900 -> 901 -> 900 gains", swapRate(inn, tariff.Sell, 24, 1, 0, from+tick))
	refused("1 becomes 276/275", pairRate(inn, air, 20, 1, 0, from+tick))
	refused("1 becomes 276/275", pairRate(inn, air, 20, 1, 0, from-tick)) // from the other one's moment on
	d.must(pairRate(inn, air, 19, 1, 0, from-tick))
	d.agrees()
}

// How points that are handed out expire: as those that are earned, with the earliest of those
// handed in, or after so many days.
func TestSwapExpiryRules(t *testing.T) {
	for rule, want := range map[tariff.Expiry]points.BusinessDate{
		tariff.ExpiryProgram: day0.AddMonths(24),
		tariff.ExpiryInherit: day0.AddDays(40),
		tariff.ExpiryFixed:   day0.AddDays(90),
	} {
		rules := plainSwaps
		if rules.Expiry = rule; rule == tariff.ExpiryFixed {
			rules.ExpiryDays = 90
		}
		d := swapDesk(t, 1, plainSwaps, rules)
		for _, days := range []int{60, 40, 50} {
			d.must(book.Command{Kind: book.KindEarn, Acquirer: acquirer, Member: 1, Program: air, Amount: 100, ExpiresOn: day0.AddDays(days)})
		}
		done := d.must(about(book.KindSwap, d.must(quoteOf(1, air, inn, 1000)).Position)).Clone()
		given := []book.LotKey{}
		for _, move := range done.Lots {
			if move.Account.Program == inn && move.Account.Kind == book.MemberAccount {
				given = append(given, move.Lot)
			}
		}
		require.Len(t, given, 1, "%v", rule)
		require.Equal(t, want, given[0].ExpiresOn, "%v", rule)
		d.agrees()
	}
}

// Limits of a month, of a year and of a recipient's year count in their windows, to the last
// point, and begin again with them.
func TestSwapYears(t *testing.T) {
	rules, to := plainSwaps, plainSwaps
	rules.UserMonth, rules.UserYear = 1000, 1500
	to.RecipientYear = 5000
	d := swapDesk(t, 2, rules, to)
	swap := func(member points.MemberID, in points.Amount) {
		t.Helper()
		d.must(about(book.KindSwap, d.must(quoteOf(member, air, inn, in)).Position))
	}
	cut := func(date points.BusinessDate) {
		t.Helper()
		d.must(book.Command{Kind: book.KindCutOver, Date: date})
	}
	swap(1, 1000) // 3960 of inn
	d.refuses(points.OverAmountLimit, quoteOf(1, air, inn, 1))
	swap(2, 1)
	cut(day0.AddMonths(1))
	d.refuses(points.OverAmountLimit, quoteOf(1, air, inn, 501))
	d.refuses(points.OverAmountLimit, quoteOf(1, air, inn, 300)) // 1188 more would be 5148
	swap(1, 262)                                                 // 1037: 4997
	d.refuses(points.OverAmountLimit, quoteOf(1, air, inn, 5))
	d.agrees()
	cut(20270101)
	d.must(book.Command{Kind: book.KindEarn, Acquirer: acquirer, Member: 1, Program: air, Amount: 1000})
	swap(1, 1000)
	d.refuses(points.OverAmountLimit, quoteOf(1, air, inn, 1))
	count, err := d.book.SwapCount(air, 1)
	require.NoError(t, err)
	require.Equal(t, []points.Amount{1000, 1000}, []points.Amount{count.MonthIn, count.YearIn})
	d.agrees()
}
