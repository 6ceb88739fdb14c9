package exchange_test

import (
	"flag"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/exchange"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

var benchMembers = flag.Uint64("bench-members", 10_000, "benchmarks: how many members there are")

// A quote and a lock that were made before a restart are executed once behind it, at their own
// figures, and what was executed or cancelled before it is not executed again; a call that
// comes again is told what it was told then.
func TestQuotesOutlastARestart(t *testing.T) {
	h := openHouse(t, nil)
	quote := func() exchange.Swap {
		quoted, err := h.desk.Quote(t.Context(), exchange.Asked{Member: 1, From: air, Into: inn, In: 103})
		require.NoError(t, err)
		return quoted
	}
	call := func(q exchange.Swap, id string) exchange.Named {
		return exchange.Named{Caller: exchange.Caller{CallID: id}, Quote: q.Quote}
	}
	open, locked, done, cancelled := quote(), quote(), quote(), quote()
	_, err := h.desk.Lock(t.Context(), call(locked, "lock"))
	require.NoError(t, err)
	first, err := h.desk.Swap(t.Context(), call(done, "done"))
	require.NoError(t, err)
	_, err = h.desk.Cancel(t.Context(), call(cancelled, "cancel"))
	require.NoError(t, err)
	h.restart()
	again, err := h.desk.Swap(t.Context(), call(done, "done"))
	require.NoError(t, err)
	require.True(t, again.Repeated)
	require.Equal(t, first.SwapFigures, again.SwapFigures)
	for _, quote := range []exchange.Swap{done, cancelled} {
		_, err = h.desk.Swap(t.Context(), call(quote, fmt.Sprint("once more ", quote.Quote)))
		reasonIs(t, points.OriginalClosed, err)
	}
	for i, quote := range []exchange.Swap{open, locked} {
		swapped, err := h.desk.Swap(t.Context(), call(quote, fmt.Sprint(i)))
		require.NoError(t, err)
		figures := quote.SwapFigures
		figures.State = book.SwapDone
		require.Equal(t, figures, swapped.SwapFigures)
		_, err = h.desk.Swap(t.Context(), call(quote, fmt.Sprint("second ", i)))
		reasonIs(t, points.OriginalClosed, err)
	}
	require.Equal(t, start-3*103, h.has(air))
	h.wealth()
}

// BenchmarkSwap is durable executions, 512 at a time, of quotes that were made before the
// ledger was closed and opened again, and, set beside it, of quotes that were made just before.
// What counts is the processor time.
func BenchmarkSwap(b *testing.B) {
	for _, restarted := range []bool{false, true} {
		b.Run(fmt.Sprintf("restarted=%t", restarted), func(b *testing.B) { benchmarkSwap(b, restarted) })
	}
}

func benchmarkSwap(b *testing.B, restarted bool) {
	h := openHouse(b, func(r *tariff.SwapRules) { r.QuoteSeconds = tariff.MaxQuoteSeconds })
	members := *benchMembers
	h.share(members-1, func(i uint64) {
		member := points.MemberID(2 + i)
		h.put(book.Entry{Member: &book.Member{ID: member, Status: book.Active}})
		for _, program := range []points.ProgramID{air, inn} {
			h.must(book.Command{Kind: book.KindEarn, Member: member, Program: program, Acquirer: bank, Amount: 1_000_000_000})
		}
	})
	quotes := make([]points.Position, b.N)
	quote := func(i uint64) points.Position {
		asked := exchange.Asked{Member: points.MemberID(2 + i*7919%(members-1)), From: air, Into: inn, In: 103}
		if i%2 == 1 {
			asked.From, asked.Into = inn, air
		}
		quoted, err := h.desk.Quote(b.Context(), asked)
		require.NoError(b, err)
		return quoted.Quote
	}
	h.share(uint64(b.N), func(i uint64) { quotes[i] = quote(i) })
	if restarted {
		h.restart()
		h.share(2*members, func(i uint64) { quote(i) }) // Members, accounts and counters are read.
	}
	b.ReportAllocs()
	b.ResetTimer()
	spent := processorTime(b)
	h.share(uint64(b.N), func(i uint64) {
		_, err := h.desk.Swap(b.Context(), exchange.Named{Quote: quotes[i]})
		require.NoError(b, err)
	})
	b.StopTimer()
	b.ReportMetric(float64((processorTime(b)-spent).Nanoseconds())/float64(b.N), "cpu-ns/swap")
}

// share does count things, 512 at a time.
func (h *house) share(count uint64, do func(i uint64)) {
	h.t.Helper()
	var next atomic.Uint64
	var all sync.WaitGroup
	for range 512 {
		all.Go(func() {
			for i := next.Add(1) - 1; i < count; i = next.Add(1) - 1 {
				do(i)
			}
		})
	}
	all.Wait()
}

// processorTime is what the process has used.
func processorTime(tb testing.TB) time.Duration {
	tb.Helper()
	var used syscall.Rusage
	require.NoError(tb, syscall.Getrusage(syscall.RUSAGE_SELF, &used))
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
