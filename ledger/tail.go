package ledger

import (
	"context"
	"fmt"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// Tail calls visit with every durable record from position from on, in order, and
// waits for more, until ctx ends, visit returns an error, or the ledger stops
// ([ErrClosed], [ErrFailed]). It is for whoever follows the journal: on a goroutine
// of their own, noting how far they are, to begin there again. It reads from the
// store, so a slow one lags and holds up nobody; the record is valid during the call.
func (l *Ledger) Tail(ctx context.Context, from points.Position, visit func(*book.Record) error) error {
	for next := max(from, 1); ; {
		if err := l.untilDurable(ctx, next); err != nil {
			return err
		}
		to := l.Durable()
		if err := l.Scan(ctx, next, to, visit); err != nil {
			return err
		}
		next = to + 1
	}
}

// untilDurable waits until position is durable, ctx ends or the ledger stops.
func (l *Ledger) untilDurable(ctx context.Context, position points.Position) error {
	for {
		mark := &l.durableMark
		mark.Lock()
		reached, advanced := mark.Position >= uint64(position), mark.advanced
		mark.Unlock()
		if reached {
			return nil
		}
		select {
		case <-advanced:
		case <-l.failed:
			return l.Err()
		case <-l.closed:
			return ErrClosed
		case <-ctx.Done():
			return fmt.Errorf("ledger: waiting for position %d: %w", position, context.Cause(ctx))
		}
	}
}
