package ledger_test

import (
	"context"
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// Who tails the journal gets every durable record once, in order, from where it
// asked on, those that were there and those that come; and is told when it ends.
func TestTail(t *testing.T) {
	h := build(t, vfs.NewMem(), ledger.Options{GroupMax: 3})
	h.furnish(3)
	for _, from := range []points.Position{0, 1, h.ledger.Durable(), h.ledger.Durable() + 1} {
		const more = 50
		goal := h.ledger.Durable() + more
		enough := errors.New("enough")
		ended := make(chan error, 1)
		next := max(from, 1)
		go func() {
			ended <- h.ledger.Tail(context.Background(), from, func(rec *book.Record) error {
				if rec.Outcome.Position != next || h.ledger.Durable() < next {
					return errors.New("out of order, or not durable")
				}
				if next++; next > goal {
					return enough
				}
				return nil
			})
		}()
		for i := range uint64(more) {
			h.must(command(book.KindRedeem, 1, uint64(goal)*100+i, 2, 1))
		}
		require.ErrorIs(t, <-ended, enough)
		require.Equal(t, goal+1, next)
	}

	ended := make(chan error, 2)
	ctx, cancel := context.WithCancel(context.Background())
	tail := func(ctx context.Context) {
		ended <- h.ledger.Tail(ctx, h.ledger.Durable()+1, func(*book.Record) error { return nil })
	}
	go tail(ctx)
	cancel()
	require.ErrorIs(t, <-ended, context.Canceled)
	go tail(context.Background())
	h.close()
	require.ErrorIs(t, <-ended, ledger.ErrClosed)
}
