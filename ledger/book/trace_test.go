package book_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// A cut-over forgets the first dates where they remember more keys than it says,
// and never the date before.
func TestCutOverBoundsTheKeys(t *testing.T) {
	for _, test := range []struct {
		limit uint32
		known [4]bool // whether a repeat from each of four dates gets its first answer
	}{
		{0, [4]bool{true, true, true, true}},
		{12, [4]bool{true, true, true, true}},
		{11, [4]bool{false, true, true, true}},
		{7, [4]bool{false, false, true, true}},
		{1, [4]bool{false, false, false, true}},
	} {
		d := newDesk(t, book.Options{})
		d.furnish(1, kindRules, kindRules)
		redeem := func(date, n uint32) book.Command {
			return at("T1", date*10+n, book.Command{Kind: book.KindRedeem, Card: cardOf(1), Program: air, Amount: 1})
		}
		for date := range test.known {
			for n := range uint32(3) {
				d.do(redeem(uint32(date), n))
			}
			cut := book.Command{Kind: book.KindCutOver, Date: d.book.Date().AddDays(1), TraceDays: 8}
			if date == len(test.known)-1 {
				cut.Limit = test.limit
			}
			d.must(cut)
		}
		for date, known := range test.known {
			last := points.Position(len(d.store.journal))
			d.do(redeem(uint32(date), 2))
			require.Equal(t, known, d.out.Replayed, "limit %d, date %d", test.limit, date)
			require.Equal(t, known, d.out.Position <= last)
		}
	}
}

// I13: dates that follow one another quickly do not forget what came within the time
// that the cut-over names, however few dates and keys it would keep; what is older goes.
func TestCutOverKeepsKeysForATime(t *testing.T) {
	const keep = 3600
	d := newDesk(t, book.Options{})
	d.furnish(1, kindRules, kindRules)
	now := d.now + 1_000_000
	redeem := func(n uint32) book.Command {
		return at("T1", n, book.Command{Kind: book.KindRedeem, Card: cardOf(1), Program: air, Amount: 1, At: now})
	}
	const dates = 300 // More than a checkpoint has room for.
	for n := range uint32(dates) {
		require.False(t, d.do(redeem(n)).Replayed)
		now += 1_000_000
		d.must(book.Command{Kind: book.KindCutOver, Date: d.book.Date().AddDays(1), TraceDays: 2, Limit: 1, TraceTime: keep, At: now})
	}
	require.NoError(t, d.book.Audit())
	for n := range uint32(dates) {
		require.True(t, d.do(redeem(n)).Replayed, "date %d", n)
	}
	d.restart(t)
	require.True(t, d.do(redeem(0)).Replayed, "after a restart too")
	now += keep*1_000_000 - 1
	d.must(book.Command{Kind: book.KindCutOver, Date: d.book.Date().AddDays(1), TraceDays: 2, TraceTime: keep, At: now})
	require.True(t, d.do(redeem(dates-1)).Replayed, "the date ended within the hour")
	now++
	d.must(book.Command{Kind: book.KindCutOver, Date: d.book.Date().AddDays(1), TraceDays: 2, TraceTime: keep, At: now})
	require.False(t, d.do(redeem(0)).Replayed, "an hour later the first is forgotten")
}

// I13: a key that is not known is new only if the request cannot have come when the keys
// that are forgotten were put down, for a book that was never stopped and for one that
// began again from its journal. Refusing leaves no trace.
func TestForgottenKeyIsNotNew(t *testing.T) {
	for _, restarted := range []bool{false, true} {
		t.Run(fmt.Sprintf("restarted=%v", restarted), func(t *testing.T) {
			d := newDesk(t, book.Options{})
			d.furnish(1, kindRules, kindRules)
			redeem := func(n uint32, since points.Timestamp) book.Command {
				return at("T1", n, book.Command{Kind: book.KindRedeem, Card: cardOf(1), Program: air, Amount: 1, Since: since})
			}
			require.NotZero(t, d.do(redeem(1, 1)).Position, "nothing is forgotten yet")
			cut := func() points.Timestamp {
				return d.must(book.Command{Kind: book.KindCutOver, Date: d.book.Date().AddDays(1), TraceDays: 2}).Posted
			}
			cut()
			floor := cut()
			cut()
			if restarted {
				d.restart(t)
			}
			last := len(d.store.journal)
			out := d.do(redeem(1, floor-1))
			require.Equal(t, points.NotFresh, out.Reason)
			require.Zero(t, out.Position)
			require.Len(t, d.store.journal, last)
			require.NotZero(t, d.do(redeem(2, floor)).Position)
			require.True(t, d.do(redeem(2, floor-1)).Replayed, "what is known is answered, however old")
		})
	}
}

// restart checkpoints the book and begins it again from that and the journal.
func (d *desk) restart(t *testing.T) {
	t.Helper()
	d.book.BeginCheckpoint()
	for !d.book.Drain(100, func(key, value []byte) { d.store.put(key, append([]byte(nil), value...)) }) {
	}
	d.book.EndCheckpoint(true)
	checkpoint := d.book.Position()
	d.book = book.New(book.Options{}, d.store)
	require.NoError(t, d.book.Err())
	require.Equal(t, checkpoint, d.book.Position())
	var rec book.Record
	for position := d.book.TraceFloor(); position <= checkpoint; position++ {
		require.NoError(t, d.store.Record(position, &rec))
		d.book.Remember(&rec)
	}
}
