package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/lianfen/lianfen/internal/store"
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

// Read reads the blocks with the records from one position to another, both included, and
// looks into none: what reading them costs, and how many bytes they have.
func (l *Ledger) Read(ctx context.Context, from, to points.Position) (size uint64, err error) {
	if err := l.enter(); err != nil {
		return 0, err
	}
	defer l.readers.Done()
	end := blockKey(min(to, l.Durable()) + 1)
	err = scanFrom(ctx, l.store, max(from, 1), func(key, value []byte) (bool, error) {
		if bytes.Compare(key, end) >= 0 {
			return false, nil
		}
		size += uint64(len(value))
		return true, nil
	})
	return size, err
}

// Record reads the durable record at position.
func (l *Ledger) Record(position points.Position) (book.Record, error) {
	if err := l.present(position); err != nil {
		return book.Record{}, err
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

// Records reads single records beside the writer and keeps the blocks that it has read
// last: what looks for many records finds some of them there, and none of them costs more
// than to prove and unpack its block. One goroutine uses it.
type Records struct {
	ledger *Ledger
	past   past
}

// Records makes a reader of single records.
func (l *Ledger) Records() *Records { return &Records{ledger: l} }

// Read reads the durable record at position into rec, whose slices are used again.
func (r *Records) Read(position points.Position, rec *book.Record) error {
	if err := r.ledger.present(position); err != nil {
		return err
	}
	if err := r.ledger.enter(); err != nil {
		return err
	}
	defer r.ledger.readers.Done()
	x, err := r.past.find(r.ledger.store, position, true)
	if err != nil {
		return err
	}
	return x.record(position, rec)
}

// present refuses a position that no durable record has.
func (l *Ledger) present(position points.Position) error {
	if end := l.Durable(); position == 0 || position > end {
		return points.Errorf(points.UnknownOriginal, "ledger: no record at position %d; the journal ends at %d", position, end)
	}
	return nil
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

// state is the checkpointed state in the store, read beside the writer.
type state struct {
	store *store.Store
}

// State reads a checkpointed entity.
func (s state) State(key []byte) ([]byte, bool, error) {
	return s.store.Get(nil, store.State, key)
}

// maxCheckpointsPassed is how many checkpoints may be put away while a reader
// reads one; it begins again behind each.
const maxCheckpointsPassed = 100

// beside calls read with the position of the last checkpoint, whose state read
// finds in the store, and with the position that is the answer's: durable (J4), and
// at least the end of the journal when beside was called. A checkpoint is put away
// all at once, so what was read is of one only if the same one is there afterwards;
// else read is called again and forgets what it had.
func (l *Ledger) beside(read func(checkpoint, end points.Position) error) error {
	if err := l.enter(); err != nil {
		return err
	}
	defer l.readers.Done()
	for range maxCheckpointsPassed {
		before, err := readCheckpoint(l.store)
		if err != nil {
			return err
		}
		// What a checkpoint is of has become durable before it, but maybe behind the call.
		end := max(l.Durable(), points.Position(before.Position))
		fault := read(points.Position(before.Position), end)
		after, err := readCheckpoint(l.store)
		if err != nil {
			return err
		}
		if before == after {
			return fault
		}
	}
	return fmt.Errorf("ledger: %d checkpoints have passed while one was read", maxCheckpointsPassed)
}

// TrialBalance sums all accounts up to a durable position. It reads the last
// checkpoint and every record behind it, beside the writer.
func (l *Ledger) TrialBalance(ctx context.Context) (trial book.TrialBalance, err error) {
	err = l.beside(func(checkpoint, end points.Position) error {
		if trial, _, err = book.ReadTrialBalance(state{l.store}); err != nil {
			return err
		}
		return scan(ctx, l.store, checkpoint+1, end, trial.Follow)
	})
	return trial, err
}
