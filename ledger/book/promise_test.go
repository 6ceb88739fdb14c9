package book_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// Books that keep next to nothing in memory, or everything, checkpointed in pieces between
// commands, losing checkpoints and crashing, tell the same of quotes, locks, executions,
// cancellations, expiries and reversals as one that never stops, byte for byte, and have its
// digest after every command.
func TestPromisesInMemoryChangeNothing(t *testing.T) {
	for seed := range *swapSeeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(uint64(seed), 23))
			plain := swapDesk(t, 3, plainSwaps, plainSwaps)
			var shells []*shell
			for i, accounts := range []int{1, 0} {
				s := &shell{desk: swapDeskOf(t, book.Options{Accounts: accounts}, 3, plainSwaps, plainSwaps), all: accounts == 0}
				s.rng = rand.New(rand.NewPCG(uint64(seed), uint64(24+i)))
				shells = append(shells, s)
			}
			var quotes []points.Position
			for step := range uint32(150) {
				cmd := anySwapCall(rng, quotes, step)
				cmd.At = plain.now + points.Timestamp(rng.IntN(10))*second
				want := plain.do(cmd)
				if cmd.Kind == book.KindQuote && want.Reason.Approved() && !want.Replayed {
					quotes = append(quotes, want.Position)
				}
				for _, s := range shells {
					s.now = plain.now - 1000
					got := s.do(cmd)
					require.Equal(t, book.AppendRecord(nil, &cmd, want), book.AppendRecord(nil, &cmd, got), "step %d, all kept %v", step, s.all)
					require.Equal(t, want.Replayed, got.Replayed)
					require.Equal(t, plain.book.Digest(), s.book.Digest(), "step %d, all kept %v", step, s.all)
					require.NoError(t, s.book.Audit())
					s.afterCommand(t)
					require.Equal(t, plain.book.Digest(), s.book.Digest(), "step %d, all kept %v, behind it", step, s.all)
				}
				plain.now = max(plain.now, cmd.At)
			}
		})
	}
}

// anySwapCall is any call about swaps, mostly about quotes that may still be open. Some come
// again under the key of another.
func anySwapCall(rng *rand.Rand, quotes []points.Position, step uint32) book.Command {
	stan := 1 + step
	if rng.IntN(8) == 0 {
		stan = 1 + rng.Uint32N(stan)
	}
	if len(quotes) == 0 || rng.IntN(3) == 0 {
		from, into := air, inn
		if rng.IntN(2) == 0 {
			from, into = inn, air
		}
		return keyed(stan, quoteOf(points.MemberID(1+rng.IntN(3)), from, into, points.Amount(10+rng.IntN(600))))
	}
	at := quotes[max(0, len(quotes)-1-rng.IntN(6))]
	switch n := rng.IntN(10); {
	case n < 3:
		return keyed(stan, about(book.KindSwapLock, at))
	case n < 7:
		return keyed(stan, about(book.KindSwap, at))
	case n == 7:
		return keyed(stan, about(book.KindSwapCancel, at))
	case n == 8:
		return book.Command{Kind: book.KindExpireSwaps}
	default:
		of := 1 + rng.Uint32N(stan)
		return book.Command{Kind: book.KindReverse, Key: keyOf("T1", of, 4), OriginalKey: keyOf("T1", of, 2)}
	}
}

// asks is how many states and records do asks the store for.
func (d *desk) asks(do func()) (states, records int) {
	before := *d.store
	do()
	return d.store.states - before.states, d.store.records - before.records
}

// What is done about a quote that stood before the last checkpoint asks the store for nothing,
// neither of a book that went on nor of one that was opened again, whether its keys were read
// one by one, or gathered, or all of it was replayed: only of a lock, which the checkpoint
// has, once. A quote whose time was over is not kept.
func TestPromisesOutlastCheckpointsAndRestarts(t *testing.T) {
	for _, way := range []string{"goes on", "remembered", "gathered", "replayed"} {
		t.Run(way, func(t *testing.T) {
			d := swapDesk(t, 1, plainSwaps, plainSwaps)
			over := d.must(quoteOf(1, air, inn, 100)).Position
			d.now += 40 * second
			quote := func() points.Position { return d.must(quoteOf(1, air, inn, 100)).Position }
			open, locked, done, gone := quote(), quote(), quote(), quote()
			d.must(about(book.KindSwapLock, locked))
			d.must(keyed(9, about(book.KindSwap, done)))
			d.must(about(book.KindSwapCancel, gone))
			if way != "replayed" {
				d.store.checkpoint(d.book)
				d.kept = len(d.store.journal)
			}
			if way != "goes on" {
				s := &shell{desk: d, all: true, rng: rand.New(rand.NewPCG(1, 1))}
				s.recoverBy(t, way == "gathered")
				d.must(about(book.KindSwap, d.must(quoteOf(1, inn, air, 100)).Position)) // Member, accounts and counters are read.
			}
			states, records := d.asks(func() { d.must(keyed(11, about(book.KindSwap, open))) })
			require.Equal(t, []int{0, 0}, []int{states, records}, "the open quote")
			d.refuses(points.OriginalClosed, about(book.KindSwap, open))
			states, records = d.asks(func() { d.must(about(book.KindSwap, locked)) })
			require.LessOrEqual(t, states, 1, "the locked quote")
			require.Zero(t, records, "the locked quote")
			for _, quote := range []points.Position{done, gone} {
				d.refuses(points.OriginalClosed, about(book.KindSwap, quote))
			}
			d.refuses(points.QuoteExpired, about(book.KindSwap, over))
			d.agrees()
		})
	}
}

// Of a quote that memory knows nothing of, the journal is read once and the store asked once
// for what has happened to it.
func TestPromisesAreReadOnce(t *testing.T) {
	d := swapDesk(t, 1, plainSwaps, plainSwaps)
	open := d.must(quoteOf(1, air, inn, 100)).Position
	d.store.checkpoint(d.book)
	d.book = book.New(book.Options{}, d.store) // Nothing from before the checkpoint is remembered.
	d.must(about(book.KindSwap, d.must(quoteOf(1, inn, air, 100)).Position))
	states, records := d.asks(func() { d.must(about(book.KindSwap, open)) })
	require.Equal(t, []int{1, 1}, []int{states, records})
}

// No more promises are in memory than the options say: mostly those of the quotes that were
// made last. What is said of the others comes from the journal.
func TestPromisesInMemoryAreBounded(t *testing.T) {
	for _, kept := range []int{1, 8, 100} {
		made := 5 * kept
		d := swapDeskOf(t, book.Options{Accounts: kept}, 1, plainSwaps, plainSwaps)
		var quotes []points.Position
		for range made {
			quotes = append(quotes, d.must(quoteOf(1, air, inn, 10)).Position)
		}
		cancel := func(quotes []points.Position) (records int) {
			_, records = d.asks(func() {
				for _, quote := range quotes {
					d.must(about(book.KindSwapCancel, quote))
				}
			})
			return records
		}
		earlier, later := cancel(quotes[:made-kept]), cancel(quotes[made-kept:])
		require.Equal(t, made-kept, earlier+later, "%d kept", kept)
		require.LessOrEqual(t, later, kept/4, "%d kept: of those that were made last", kept)
		d.agrees()
	}
}

// A promise leaves memory when the time of its quote is over, of a locked one that of its lock:
// the next quotes take their places.
func TestPromisesLeaveMemoryWhenTheirTimeIsOver(t *testing.T) {
	const made = 100
	d := swapDesk(t, 1, plainSwaps, plainSwaps)
	var quotes []points.Position
	for range made {
		quotes = append(quotes, d.must(quoteOf(1, air, inn, 10)).Position)
	}
	locked := quotes[made/2]
	lock := d.must(about(book.KindSwapLock, locked)).Clone()
	later := func() {
		for range made {
			d.must(quoteOf(1, air, inn, 10))
		}
	}
	later()
	_, records := d.asks(func() { d.must(about(book.KindSwapCancel, quotes[0])) })
	require.Zero(t, records, "its time is not over")
	d.now += 31 * second
	later()
	for i, quote := range quotes[1:] {
		if quote == locked {
			continue
		}
		_, records := d.asks(func() { d.must(about(book.KindSwapCancel, quote)) })
		require.Equal(t, 1, records, "quote %d", i)
	}
	_, records = d.asks(func() { d.must(about(book.KindSwap, locked)) })
	require.Zero(t, records, "the lock's time is not over")

	again := d.must(quoteOf(1, air, inn, 10)).Position
	d.must(about(book.KindSwapLock, again))
	d.now = lock.Swap.Expires + 600*second
	later()
	_, records = d.asks(func() { d.must(book.Command{Kind: book.KindExpireSwaps, At: d.now}) })
	require.Equal(t, 1, records, "that of the lock that is over")
	require.Equal(t, book.SwapExpired, d.state(again))
	d.agrees()
}
