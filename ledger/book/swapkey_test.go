package book_test

import (
	"math/rand/v2"
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
		require.Equal(t, points.OriginalClosed, d.do(keyed(1000+uint32(days), about(book.KindSwap, q.Position))).Reason)
		quote = keyed(2000+uint32(days), quoteOf(1, air, inn, 1000))
	}
}

// heard is a call under a key, and what it was told, as it stands in the journal.
type heard struct {
	cmd   book.Command
	told  []byte
	date  points.BusinessDate
	lasts bool // it is a lock or an execution that was done
}

// Days of quotes, locks, executions and cancellations, each under a key of its own, between
// cut-overs and restarts: whatever comes again under its key is told the same bytes, and
// another call under it is refused without effect; of all calls while the keys of their date
// are kept, of locks and executions for ever (Q2). Each quote is executed at most once (Q1).
func TestSwapCallsThatComeAgain(t *testing.T) {
	const kept = 3
	for seed := range *swapSeeds {
		r := rand.New(rand.NewPCG(uint64(seed), 11))
		d := swapDesk(t, 2, plainSwaps, plainSwaps)
		var calls []heard
		var quotes []points.Position
		executed := map[points.Position]int{}
		day, floor := 0, day0
		for step := range uint32(80) {
			d.now += points.Timestamp(r.IntN(20)) * second
			switch {
			case r.IntN(12) == 0:
				day++
				d.must(book.Command{Kind: book.KindCutOver, Date: day0.AddDays(day), TraceDays: kept})
				floor = day0.AddDays(max(0, day-kept+1))
				if r.IntN(3) == 0 {
					d.agrees()
				}
				continue
			case len(calls) > 0 && r.IntN(2) == 0:
				c := calls[r.IntN(len(calls))]
				if !c.lasts && c.date < floor {
					continue
				}
				cmd := c.cmd
				if r.IntN(2) == 0 {
					cmd.Into = 907
					d.refuses(points.DuplicateOther, cmd)
					continue
				}
				digest := d.book.Digest()
				cmd.At = d.now // when it comes is no part of what it asks
				out := d.do(cmd)
				require.True(t, out.Replayed, "seed %d step %d", seed, step)
				require.Equal(t, c.told, book.AppendRecord(nil, &c.cmd, out), "seed %d step %d", seed, step)
				require.Equal(t, digest, d.book.Digest())
				continue
			}
			cmd := quoteOf(points.MemberID(1+r.IntN(2)), air, inn, points.Amount(1+r.IntN(500)))
			if len(quotes) > 0 && r.IntN(3) > 0 {
				cmd = about([]book.Kind{book.KindSwap, book.KindSwapLock, book.KindSwapCancel}[r.IntN(3)], quotes[max(0, len(quotes)-1-r.IntN(3))])
			}
			cmd = keyed(step+1, cmd)
			cmd.At = d.now
			out := d.do(cmd).Clone()
			require.False(t, out.Replayed)
			approved := out.Reason.Approved()
			if approved && cmd.Kind == book.KindQuote {
				quotes = append(quotes, out.Position)
			}
			if approved && cmd.Kind == book.KindSwap {
				executed[cmd.Original]++
				require.Equal(t, 1, executed[cmd.Original], "Q1: seed %d step %d", seed, step)
			}
			calls = append(calls, heard{cmd, book.AppendRecord(nil, &cmd, &out), day0.AddDays(day), approved && (cmd.Kind == book.KindSwap || cmd.Kind == book.KindSwapLock)})
		}
		d.agrees()
	}
}
