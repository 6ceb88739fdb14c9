package book_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// A date has cycles 1, 2, ... without gaps, at most 99, in the records that enter them; a
// later date begins with cycle 1; what is refused changes nothing (I12).
func TestCyclesOfADate(t *testing.T) {
	d := newDesk(t, book.Options{})
	d.furnish(1, kindRules, kindRules)
	cut := func(date points.BusinessDate, cycle uint8) points.Reason {
		return d.do(book.Command{Kind: book.KindCutOver, Date: date, Cycle: cycle}).Reason
	}
	earned := uint32(0)
	earn := func() *book.Outcome {
		earned++
		return d.must(at("T1", earned, book.Command{Kind: book.KindEarn, Card: cardOf(1), Program: air, Amount: 1}))
	}
	require.Equal(t, uint8(1), earn().InCycle())
	require.Equal(t, points.AlreadyExists, cut(day0, 1))
	require.Equal(t, points.AlreadyExists, cut(day0, 0))
	require.Equal(t, points.AlreadyExists, cut(day0, 3), "cycle 2 is next")
	require.Equal(t, points.NotPermitted, cut(day0+1, 2), "a date begins with cycle 1")
	require.Equal(t, uint8(1), d.book.Cycle())
	require.Equal(t, points.Approved, cut(day0, 2))
	out := earn()
	require.Equal(t, uint8(2), out.InCycle())
	require.Equal(t, day0, out.Date)
	require.Equal(t, points.AlreadyExists, cut(day0, 2))
	for cycle := uint8(3); cycle <= book.MaxCycle; cycle++ {
		require.Equal(t, points.Approved, cut(day0, cycle))
	}
	require.Equal(t, points.FormatError, cut(day0, book.MaxCycle+1))

	digest := d.book.Digest()
	d.store.checkpoint(d.book)
	require.Equal(t, digest, d.book.Digest())
	d.book = book.New(book.Options{}, d.store)
	require.NoError(t, d.book.Err())
	require.Equal(t, uint8(book.MaxCycle), d.book.Cycle(), "a recovery knows the cycle")

	late := book.Command{Kind: book.KindCutOver, Date: day0 + 1, At: d.now + 10_000_000, Planned: d.now + 20_000_000}
	require.Equal(t, points.FormatError, d.do(late).Reason, "planned for later than it comes")
	late.Planned = d.now
	require.Equal(t, points.Approved, d.do(late).Reason)
	require.Equal(t, uint8(1), d.book.Cycle())
	require.Zero(t, earn().Cycle, "the first cycle is written as none always was")
}

// A cut-over of a cycle is proposed about the cycle that runs: when that has ended
// meanwhile, the approval is refused (I15).
func TestProposedCycleGoesStale(t *testing.T) {
	d := staffed(t, book.TwoPersons)
	act := book.Command{Kind: book.KindCutOver, Date: day0, Cycle: 2, Operator: "cat"}
	d.refused(t, points.NeedsSecondPerson, act)
	first := d.must(proposed(act)).Position
	second := d.must(proposed(act)).Position
	stale := func(at points.Position) bool {
		stale, err := d.book.ProposalStale(at)
		require.NoError(t, err)
		return stale
	}
	require.Equal(t, []bool{false, false}, []bool{stale(first), stale(second)})
	require.Equal(t, uint8(2), d.must(d.approval("bob", first)).InCycle())
	require.Equal(t, []bool{false, true}, []bool{stale(first), stale(second)}, "what is not pending is not stale")
	d.refused(t, points.ProposalStale, d.approval("bob", second))
}
