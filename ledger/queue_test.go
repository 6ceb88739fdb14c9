package ledger_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// occupy keeps the applying goroutine busy until the function it returns is called.
func (h *house) occupy() (release func()) {
	h.tb.Helper()
	began, end, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- h.ledger.View(context.Background(), func(*book.Book) error {
			close(began)
			<-end
			return nil
		})
	}()
	<-began
	return func() {
		h.tb.Helper()
		close(end)
		require.NoError(h.tb, <-ended)
	}
}

// A view that was given up while it waited does not run later: its caller's
// variables are the caller's again.
func TestAbandonedViewDoesNotRun(t *testing.T) {
	h := build(t, vfs.NewMem(), ledger.Options{})
	release := h.occupy()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	ran := false
	err := h.ledger.View(ctx, func(*book.Book) error {
		ran = true
		return nil
	})
	require.ErrorIs(t, err, context.Canceled)
	release()
	h.do(book.Command{Kind: book.KindBalance, Member: 1}) // What waited before it has had its turn.
	require.False(t, ran)
	h.close()
}

// A view that is given up while it looks is waited for.
func TestViewGivenUpWhileLooking(t *testing.T) {
	h := build(t, vfs.NewMem(), ledger.Options{})
	ctx, cancel := context.WithCancel(context.Background())
	finished := false
	err := h.ledger.View(ctx, func(*book.Book) error {
		cancel()
		for range 1000 {
			require.False(t, finished)
		}
		finished = true
		return nil
	})
	if err != nil {
		require.ErrorIs(t, err, context.Canceled)
	}
	require.True(t, finished)
	h.close()
}

// The error of a look is the error of its view.
func TestViewReturnsTheLooksError(t *testing.T) {
	h := build(t, vfs.NewMem(), ledger.Options{})
	wrong := errors.New("wrong")
	require.ErrorIs(t, h.ledger.View(context.Background(), func(*book.Book) error { return wrong }), wrong)
	h.close()
}

// What is submitted together stands together in the journal, in order; what finds
// no room is refused at once, and changes nothing.
func TestSubmitAll(t *testing.T) {
	const room = 5
	h := build(t, vfs.NewMem(), ledger.Options{Queue: room, GroupMax: 2})
	h.furnish(1)
	base := h.ledger.Durable()
	for round := range uint64(4) { // The ring goes round.
		release := h.occupy()
		var told []book.Outcome
		all := make(chan struct{})
		var asks []ledger.Ask
		for i := range uint64(room + 2) {
			cmd := command(book.KindRedeem, 1, round*10+i, 1, points.Amount(1+i))
			asks = append(asks, ledger.Ask{Command: &cmd, Done: func(out *book.Outcome) {
				told = append(told, out.Clone())
				if len(told) == room+2 {
					close(all)
				}
			}})
		}
		h.ledger.SubmitAll(asks)
		require.Len(t, told, 2, "refused at once")
		for _, out := range told {
			require.Equal(t, points.Overloaded, out.Reason)
			require.Zero(t, out.Position)
		}
		release()
		<-all
		for i, out := range told[2:] {
			require.Equal(t, points.Approved, out.Reason)
			require.Equal(t, base+points.Position(i)+1, out.Position)
			require.Equal(t, points.Amount(1+i), out.Amount)
		}
		base += room
	}
	h.close()
	h.ledger.SubmitAll([]ledger.Ask{{Command: &book.Command{Kind: book.KindBalance}, Done: func(out *book.Outcome) {
		require.Equal(t, points.Draining, out.Reason)
	}}})
}

// The last eighth of the queue is for what goes first: it finds room when the others do
// not, also behind them in one read.
func TestSubmitAllKeepsRoomForWhatGoesFirst(t *testing.T) {
	const room = 16
	h := build(t, vfs.NewMem(), ledger.Options{Queue: room})
	h.furnish(1)
	release := h.occupy()
	var refused, refusedFirst, carriedOut atomic.Int64
	all := make(chan struct{})
	asks := make([]ledger.Ask, 0, room+3)
	for i := range uint64(room + 3) {
		cmd := command(book.KindRedeem, 1, i, 1, 1)
		first := i >= room
		asks = append(asks, ledger.Ask{Command: &cmd, First: first, Done: func(out *book.Outcome) {
			if out.Reason == points.Overloaded {
				refused.Add(1)
				if first {
					refusedFirst.Add(1)
				}
				return
			}
			if carriedOut.Add(1) == room {
				close(all)
			}
		}})
	}
	h.ledger.SubmitAll(asks)
	require.EqualValues(t, 2+1, refused.Load(), "two that do not go first, and one for which there is no room at all")
	require.EqualValues(t, 1, refusedFirst.Load(), "the others that go first found the room that was left free")
	release()
	<-all
}
