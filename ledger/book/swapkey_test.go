package book_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// The answers of a lock and of an execution can be asked for again when the keys of their
// date are forgotten, also of a book that was opened again; another call under the key, and
// another key, are refused as ever. Of a quote they can up to the border of the keys: with
// eight dates kept, until the cut-over to the eighth date behind its own, which is seven days
// after its date was closed (exchange.md 3).
func TestSwapsAnswerAfterTheirKeysAreForgotten(t *testing.T) {
	const kept = 8
	d := swapDesk(t, 1, plainSwaps, plainSwaps)
	d.must(book.Command{Kind: book.KindCutOver, Date: day0.AddDays(1), TraceDays: kept})
	quote := keyed(1, quoteOf(1, air, inn, 1000))
	q := d.must(quote).Clone()
	lock := d.must(keyed(2, about(book.KindSwapLock, q.Position))).Clone()
	done := d.must(keyed(3, about(book.KindSwap, q.Position))).Clone()
	undone := d.must(quoteOf(1, air, inn, 500)).Position
	d.must(keyed(5, about(book.KindSwap, undone)))
	d.must(book.Command{Kind: book.KindReverse, Key: keyOf("T1", 5, 4), OriginalKey: keyOf("T1", 5, 2)})
	same := func(first book.Outcome, cmd book.Command) {
		t.Helper()
		again := d.do(cmd)
		require.True(t, again.Replayed)
		require.Equal(t, []any{first.Position, first.Reason, first.Posted, first.Swap, first.Free, first.Held}, []any{again.Position, again.Reason, again.Posted, again.Swap, again.Free, again.Held})
	}
	other := func(stan uint32, kind book.Kind, into points.ProgramID) book.Command {
		cmd := keyed(stan, about(kind, q.Position))
		cmd.Into = into
		return cmd
	}
	for days := 2; days <= kept+4; days++ {
		d.must(book.Command{Kind: book.KindCutOver, Date: day0.AddDays(days), TraceDays: kept})
		require.Equal(t, days-1 < kept, d.book.TraceFloor() <= q.Position, "day %d: the keys of the date", days)
		d.agrees()
		same(lock, keyed(2, about(book.KindSwapLock, q.Position)))
		same(done, keyed(3, about(book.KindSwap, q.Position)))
		d.refuses(points.DuplicateOther, other(3, book.KindSwap, inn))
		d.refuses(points.DuplicateOther, other(2, book.KindSwapLock, inn))
		require.Equal(t, points.ReversedBefore, d.do(keyed(5, about(book.KindSwap, undone))).Reason)
		if days-1 < kept {
			same(q, quote)
			continue
		}
		again := d.do(quote)
		require.False(t, again.Replayed, "a new promise: nothing had moved by the old one")
		require.Equal(t, points.OriginalClosed, d.do(keyed(1000+uint32(days), about(book.KindSwap, q.Position))).Reason) //nolint:gosec // small.
		quote = keyed(2000+uint32(days), quoteOf(1, air, inn, 1000))                                                    //nolint:gosec // likewise.
	}
}
