package book_test

import (
	"fmt"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// number is a figure in a sentence.
var number = regexp.MustCompile(`\d+`)

// Whoever is refused a swap hears which limit it meets and how much of it is used, what is
// not on offer, what may not be swapped, or where the swap is: for the same reason for which
// it was refused.
func TestWhySwap(t *testing.T) {
	rules := plainSwaps
	rules.MinIn, rules.MaxIn, rules.StepIn, rules.UserDay, rules.LockSeconds = 100, 5000, 10, 6000, 0
	d := swapDesk(t, 2, rules, plainSwaps)
	why := func(want string, cmd book.Command) {
		t.Helper()
		cmd.At = d.now
		out := d.do(cmd)
		err := d.book.Why(&cmd)
		require.EqualError(t, err, want)
		require.Equal(t, out.Reason, points.ReasonOf(err), want)
		zh := points.ChineseOf(err)
		require.Regexp(t, `\p{Han}`, zh, want)
		require.NotRegexp(t, `[%!]`, zh, want)
		require.ElementsMatch(t, number.FindAllString(want, -1), number.FindAllString(zh, -1), "the same figures: %s", zh)
	}
	why("in 90: programme 900 takes at least 100 (min_in)", quoteOf(1, air, inn, 90))
	why("in 105: programme 900 takes multiples of 10 only (step_in)", quoteOf(1, air, inn, 105))
	why("in 5010: programme 900 takes at most 5000 a swap (max_in)", quoteOf(1, air, inn, 5010))
	why("from and into are both programme 900", quoteOf(1, air, air, 100))
	why("1000000000000 is larger than an account can hold (999999999999)", quoteOf(1, air, inn, points.MaxAmount+1))
	why("in 999999999999: its value, or what it gives, is larger than an account can hold (999999999999)", quoteOf(1, air, inn, points.MaxAmount))
	wanted := quoteOf(1, air, inn, 0)
	wanted.Wanted = points.MaxAmount
	why("out 999999999999: its value, or what has to be handed in, is larger than an account can hold (999999999999)", wanted)
	cmd := quoteOf(1, air, inn, 100)
	cmd.Limit = 60
	why("lock_seconds 60: the swap terms of programme 900 give at most 0", cmd)

	quote := d.must(quoteOf(1, air, inn, 4000)).Position
	rrn := quote.RRN()
	why("the swap terms of programme 900 give no lock (lock_seconds): execute the quote", about(book.KindSwapLock, quote))
	done := d.must(about(book.KindSwap, quote)).Position.RRN()
	for _, kind := range []book.Kind{book.KindSwap, book.KindSwapLock, book.KindSwapCancel} {
		why("swap "+string(rrn[:])+" is done already (RRN "+string(done[:])+")", about(kind, quote))
	}
	why("2010 more: user_day of programme 900 is 6000, of which 4000 are used and 2000 left", quoteOf(1, air, inn, 2010))
	d.must(quoteOf(2, air, inn, 5000))

	gets := d.must(quoteOf(2, air, inn, 5000)).Swap
	d.must(about(book.KindSwap, gets.Quote))
	view, _, err := d.book.Account(book.AccountKey{Kind: book.MemberAccount, Program: inn, Party: 2})
	require.NoError(t, err)
	why(fmt.Sprintf("of %d", view.Balance)+" points that member 2 may spend in programme 901, 10000 may be swapped: those that are earned, and of swapped ones those whose swap_lock_days are over",
		quoteOf(2, inn, air, 10_001))

	old := d.must(quoteOf(2, inn, air, 100)).Position
	d.now += 60 * tick
	rrn = old.RRN()
	why("the quote "+string(rrn[:])+" was good before "+(d.now-30*tick).String()+": ask for a new one", about(book.KindSwap, old))
	require.NoError(t, d.book.Why(&book.Command{Kind: book.KindSwap, At: d.now, Original: old, Acquirer: 77}), "another caller's is none of his")
}

// Of what is not on offer each part that is missing is named.
func TestWhyNoSwap(t *testing.T) {
	d := newDesk(t, book.Options{})
	d.furnish(1, book.ProgramRules{}, book.ProgramRules{})
	why := func(want string) {
		t.Helper()
		cmd := quoteOf(1, air, inn, 100)
		cmd.At = d.now
		require.Equal(t, points.NoSwapRate, d.do(cmd).Reason)
		err := d.book.Why(&cmd)
		require.EqualError(t, err, "no swap of programme 900 into 901 is on offer: not in force now: "+want)
		require.Contains(t, points.ChineseOf(err), "积分计划900换901暂不可用：目前缺少")
	}
	why("a BUY rate of programme 900, a SELL rate of programme 901, swap terms of programme 900, swap terms of programme 901, a row of kind SWP in the fees")
	from := d.now + 2*tariff.LeadTime
	d.must(swapRate(air, tariff.Buy, 100, 1, 0, from))
	d.must(swapRate(inn, tariff.Sell, 100, 1, 0, from))
	d.now = from + tick
	why("swap terms of programme 900, swap terms of programme 901, a row of kind SWP in the fees")
}

// A swap at the desk names no card, and its item whose points they are all the same.
func TestSwapItemNamesItsMember(t *testing.T) {
	d := swapDesk(t, 2, plainSwaps, plainSwaps)
	out := d.must(about(book.KindSwap, d.must(quoteOf(2, air, inn, 1000)).Position))
	var rec book.Record
	require.NoError(t, d.store.Record(out.Position, &rec))
	items, err := book.NewClearing(d.store.Record).Items(&rec)
	require.NoError(t, err)
	require.Len(t, items, 1)
	require.Equal(t, points.MemberID(2), items[0].Member)
}
