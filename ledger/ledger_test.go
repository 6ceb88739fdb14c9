package ledger_test

import (
	"context"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

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
