package ledger_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// J1: each command is answered once, in the order of the journal, and its record
// can be read by then.
func TestAnswersComeOnceInOrderAndDurable(t *testing.T) {
	h := build(t, vfs.NewMem(), ledger.Options{GroupMax: 7, CheckpointEvery: 50})
	h.furnish(8)
	const clients, each = 8, 200
	var (
		asked    sync.WaitGroup
		answered sync.WaitGroup
		last     = h.ledger.Durable()
		times    = make([]int, clients*each) // written on the committing goroutine only
		faults   []string
	)
	answered.Add(clients * each)
	for client := range clients {
		asked.Go(func() {
			for i := range each {
				cmd := command(book.KindRedeem, client, uint64(i), points.MemberID(client+1), 1)
				h.ledger.Submit(&cmd, func(out *book.Outcome) {
					defer answered.Done()
					times[client*each+i]++
					rec, err := h.ledger.Record(out.Position)
					if out.Position != last+1 || h.ledger.Durable() < out.Position || err != nil || rec.Command.Key != cmd.Key || rec.Outcome.Free != out.Free {
						faults = append(faults, out.Reason.String())
					}
					last = out.Position
				})
			}
		})
	}
	asked.Wait()
	answered.Wait()
	require.Empty(t, faults)
	for i, n := range times {
		require.Equal(t, 1, n, "command %d", i)
	}
	report, err := h.ledger.Verify(context.Background(), func(uint64, uint64) {})
	require.NoError(t, err)
	require.Equal(t, last, report.Position)
	h.close()
}

// What was applied and is not on disk yet can already be voided, refunded and
// asked for again: within one group, and across groups in flight.
func TestBurstFindsItsOwnRecords(t *testing.T) {
	for name, opts := range map[string]ledger.Options{"one group": {}, "groups in flight": {GroupMax: 1}} {
		t.Run(name, func(t *testing.T) {
			h, release := holding(t, opts)
			sale := command(book.KindRedeem, 1, 100, 1, 40)
			other := sale
			other.Amount = 41
			void := command(book.KindVoid, 1, 101, 1, 0)
			void.OriginalKey = sale.Key
			kept := command(book.KindRedeem, 1, 102, 1, 30)
			refund := command(book.KindRefund, 1, 103, 1, 10)
			refund.Original = h.ledger.Durable() + 3
			burst := []book.Command{sale, sale, other, void, void, kept, refund, refund}
			answers := make(chan book.Outcome, len(burst))
			for i := range burst {
				h.ledger.Submit(&burst[i], func(out *book.Outcome) { answers <- out.Clone() })
			}
			release()
			outs := make([]book.Outcome, len(burst))
			for i := range outs {
				outs[i] = <-answers
			}
			for _, i := range []int{0, 3, 5, 6} {
				require.Equal(t, points.Approved, outs[i].Reason, "%d", i)
				require.False(t, outs[i].Replayed, "%d", i)
			}
			for first, repeat := range map[int]int{0: 1, 3: 4, 6: 7} {
				require.True(t, outs[repeat].Replayed, "%d", repeat)
				require.Equal(t, plain(outs[first]), plain(outs[repeat]))
			}
			require.Equal(t, points.DuplicateOther, outs[2].Reason)
			require.Equal(t, outs[0].Position, outs[3].Original)
			require.EqualValues(t, 10_000-30+10, outs[6].Free)
			h.verify()
			h.close()
		})
	}
}

// J4: what a look has seen is on disk when View returns, and its error comes back.
func TestViewWaitsUntilDurable(t *testing.T) {
	h := build(t, vfs.NewMem(), ledger.Options{GroupMax: 4})
	h.furnish(members)
	n := newNight(3, 4)
	stop := make(chan struct{})
	tellers := n.work(h, 8, stop, func() {})
	for range 200 {
		var seen points.Position
		require.NoError(t, h.ledger.View(context.Background(), func(b *book.Book) error {
			seen = b.Position()
			return nil
		}))
		require.GreaterOrEqual(t, h.ledger.Durable(), seen)
	}
	h.verify() // While they ask: its look falls into the middle of a block.
	close(stop)
	tellers.Wait()
	wrong := errors.New("wrong")
	require.ErrorIs(t, h.ledger.View(context.Background(), func(*book.Book) error { return wrong }), wrong)
	h.close()
}

// How much is kept in memory changes no answer and no state (I9).
func TestEvictionChangesNothing(t *testing.T) {
	var digests [][32]byte
	var told [][]answer
	for _, accounts := range []int{0, 4} {
		h := build(t, vfs.NewMem(), ledger.Options{Accounts: accounts, CheckpointEvery: 40})
		h.furnish(40)
		teller := newNight(7, 1).tellers[0]
		var answers []answer
		for i := range 600 {
			cmd := teller.next()
			cmd.Card = card(points.MemberID(1 + i%40))
			answers = append(answers, answer{cmd, plain(h.do(cmd))})
		}
		require.Eventually(t, func() bool { return h.checkpoint() > 0 }, time.Minute, time.Millisecond)
		digests = append(digests, h.verify().Digest)
		h.close()
		h.open()
		require.Equal(t, digests[0], h.verify().Digest)
		h.close()
		told = append(told, answers)
	}
	require.Equal(t, digests[0], digests[1])
	require.Equal(t, told[0], told[1])
}

// Recovery tells how far it is, and Scan and Record give exactly what is there.
func TestRecoveryTellsItsProgressAndReadersSeeAll(t *testing.T) {
	h := crashed(t)
	type step struct{ done, total uint64 }
	var steps []step
	h.opts.Progress = func(done, total uint64) { steps = append(steps, step{done, total}) }
	h.open()
	end := h.ledger.Durable()
	require.Greater(t, len(steps), 10)
	for i := 1; i < len(steps); i++ {
		require.Greater(t, steps[i].done, steps[i-1].done)
	}
	require.Equal(t, step{uint64(end), uint64(end)}, steps[len(steps)-1])
	require.Equal(t, end, points.Position(h.metric("lianfen_ledger_position")))

	for _, r := range []struct{ from, to, first, last points.Position }{
		{0, end + 9, 1, end}, {3, 3, 3, 3}, {end - 4, end - 2, end - 4, end - 2}, {end + 1, end + 5, 1, 0}, {5, 4, 1, 0},
	} {
		next := r.first
		require.NoError(t, h.ledger.Scan(context.Background(), r.from, r.to, func(rec *book.Record) error {
			require.Equal(t, next, rec.Outcome.Position)
			next++
			return nil
		}))
		require.Equal(t, r.last+1, next, "%d to %d", r.from, r.to)
	}
	for _, position := range []points.Position{0, end + 1} {
		_, err := h.ledger.Record(position)
		require.Equal(t, points.UnknownOriginal, points.ReasonOf(err))
	}
	h.close()
}

// An empty store needs a first business date; refusing leaves the store to its
// owner, and nothing in it.
func TestGenesis(t *testing.T) {
	h := &house{tb: t, db: store.Options{Dir: folder, FS: vfs.NewMem(), BlockCacheMB: 1}}
	require.NoError(t, store.Create(h.db))
	s, err := store.Open(h.db)
	require.NoError(t, err)
	_, err = ledger.Open(context.Background(), ledger.Options{Store: s})
	require.ErrorContains(t, err, "needs a first business date")
	require.NoError(t, s.Close())
	h.open()
	require.Equal(t, points.Position(1), h.ledger.Durable())
	h.close()
	h.open()
	require.Equal(t, points.Position(1), h.ledger.Durable(), "the date began once")
	h.close()
}
