package ledger

import (
	"context"
	"errors"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// errEnough ends a scan that has seen all it wanted.
var errEnough = errors.New("ledger: enough")

// Scan calls visit with the durable records from position from to position to,
// both included, in order. The record is valid during the call. It reads beside
// the writer and does not slow it.
func (l *Ledger) Scan(ctx context.Context, from, to points.Position, visit func(*book.Record) error) error {
	if err := l.enter(); err != nil {
		return err
	}
	defer l.readers.Done()
	return scan(ctx, l.store, max(from, 1), min(to, l.Durable()), visit)
}

// Record reads the durable record at position.
func (l *Ledger) Record(position points.Position) (book.Record, error) {
	if position == 0 || position > l.Durable() {
		return book.Record{}, points.Errorf(points.UnknownOriginal, "ledger: no record at position %d; the journal ends at %d", position, l.Durable())
	}
	if err := l.enter(); err != nil {
		return book.Record{}, err
	}
	defer l.readers.Done()
	var rec book.Record
	if err := readRecord(l.store, position, &rec, true); err != nil {
		return book.Record{}, err
	}
	return rec, nil
}

// enter lets a reader in, who says readers.Done when leaving; [ErrClosed] once
// the store is about to be closed.
func (l *Ledger) enter() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shut {
		return ErrClosed
	}
	l.readers.Add(1)
	return nil
}
