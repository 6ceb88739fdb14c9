package ledger_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

type cycleKey struct {
	date  points.BusinessDate
	cycle uint8
}

// naiveCuts reads the whole journal and knows each cycle by its cut-over alone.
func naiveCuts(t *testing.T, l *ledger.Ledger) map[cycleKey]ledger.Cut {
	t.Helper()
	cuts := make(map[cycleKey]ledger.Cut)
	var now cycleKey
	require.NoError(t, l.Scan(t.Context(), 1, l.Durable(), func(rec *book.Record) error {
		position := rec.Outcome.Position
		if cmd := rec.Command.Carried(); cmd.Kind == book.KindCutOver && rec.Outcome.Reason.Approved() {
			if c, ok := cuts[now]; ok {
				c.Closed = true
				cuts[now] = c
			}
			now = cycleKey{cmd.Date, max(cmd.Cycle, 1)}
			cuts[now] = ledger.Cut{Date: now.date, Cycle: now.cycle, First: position, Began: rec.Outcome.Posted, Planned: cmd.Planned}
		}
		c := cuts[now]
		c.Last = position
		cuts[now] = c
		return nil
	}))
	return cuts
}

// While tellers ask without a break, dates and cycles end: everybody is answered as if
// nothing had happened, each record is in the cycle between its two cut-overs, and the range
// of every cycle is what a reader of the whole journal finds; a start knows it again, and a
// verification agrees.
func TestTrafficThroughCuts(t *testing.T) {
	h := build(t, vfs.NewMem(), ledger.Options{CheckpointEvery: 500})
	h.furnish(members)
	const tellers, each = 6, 120
	var wait sync.WaitGroup
	for id := range tellers {
		wait.Go(func() {
			who := teller{terminal: id % 10, rng: rand.New(rand.NewPCG(uint64(id), 1))}
			for serial := range each {
				cmd := command(book.KindEarn, who.terminal, uint64(id*each+serial), points.MemberID(1+who.rng.IntN(members)), 1)
				out, err := h.ledger.Do(context.Background(), &cmd)
				if err != nil || !out.Reason.Approved() {
					t.Errorf("teller %d: %v %v", id, out.Reason, err)
				}
			}
		})
	}
	date, cycle := genesis, uint8(1)
	rng := rand.New(rand.NewPCG(7, 7))
	for range 40 {
		next := book.Command{Kind: book.KindCutOver, At: noon + 10, Date: date, Cycle: cycle + 1}
		if rng.IntN(3) == 0 {
			next.Date, next.Cycle, next.Planned = date.AddDays(1), 0, noon
		}
		out, err := h.ledger.Do(t.Context(), &next)
		require.NoError(t, err)
		require.Equal(t, points.Approved, out.Reason)
		date, cycle = out.Date, out.InCycle()
	}
	wait.Wait()
	h.verify()
	h.close()
	h.open()
	want := naiveCuts(t, h.ledger)
	require.Len(t, want, 41)
	for key, cut := range want {
		got, err := h.ledger.Range(key.date, key.cycle)
		require.NoError(t, err)
		require.Equal(t, cut, got)
	}
	open, err := h.ledger.Range(date, cycle)
	require.NoError(t, err)
	require.False(t, open.Closed)
	_, err = h.ledger.Range(date, cycle+1)
	require.Equal(t, points.UnknownOriginal, points.ReasonOf(err))
	_, err = h.ledger.Range(genesis-1, 1)
	require.Equal(t, points.UnknownOriginal, points.ReasonOf(err))
	_, err = h.ledger.Range(genesis, 0)
	require.Equal(t, points.FormatError, points.ReasonOf(err))
	cuts, err := h.ledger.Cuts(genesis)
	require.NoError(t, err)
	require.NotEmpty(t, cuts)
	for i, c := range cuts {
		require.Equal(t, uint8(i+1), c.Cycle)
	}
	h.close()
}
