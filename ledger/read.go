package ledger

import (
	"context"
	"errors"
	"fmt"

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
	from, to = max(from, 1), min(to, l.Durable())
	if from > to {
		return nil
	}
	var rec book.Record
	next := from
	err := blocks(ctx, l.store, from, func(b *block) error {
		if b.first > to {
			return errEnough
		}
		return b.visit(&rec, func(rec *book.Record) error {
			if p := rec.Outcome.Position; p < from || p > to {
				return nil
			}
			next++
			return visit(rec)
		})
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	if next != to+1 {
		return damaged(next, "the journal ends there, but is durable up to %d", to)
	}
	return nil
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

// Report is what [Ledger.Verify] found in order.
type Report struct {
	Records  uint64
	Blocks   uint64
	Position points.Position
	Digest   [32]byte
}

// Verify proves the journal against the state that serves: it replays every
// record from the first on into a new book, which must give every recorded
// outcome again (I9), follows the hash chain (I8), audits the new book (I1-I7)
// and compares its digest with the serving one's. The first fault is returned,
// with its position. It reads beside the writer; progress hears how far it is.
func (l *Ledger) Verify(ctx context.Context, progress func(done, total uint64)) (Report, error) {
	var report Report
	if err := l.enter(); err != nil {
		return report, err
	}
	defer l.readers.Done()
	err := l.View(ctx, func(b *book.Book) error {
		report.Position, report.Digest = b.Position(), b.Digest()
		return b.Audit()
	})
	if err != nil {
		return report, fmt.Errorf("ledger: verify the serving state: %w", err)
	}
	again := book.New(book.Options{}, journalOnly{l})
	var rec book.Record
	err = blocks(ctx, l.store, 1, func(b *block) error {
		if b.first > report.Position {
			return errEnough
		}
		report.Blocks++
		progress(uint64(again.Position()), uint64(report.Position))
		return b.visit(&rec, func(rec *book.Record) error {
			if rec.Outcome.Position > report.Position { // The look came between two commands of this block.
				return errEnough
			}
			report.Records++
			return again.Replay(rec)
		})
	})
	if err != nil && !errors.Is(err, errEnough) {
		return report, err
	}
	if again.Position() != report.Position {
		return report, damaged(again.Position()+1, "the journal ends there, the serving state is of position %d", report.Position)
	}
	if err := again.Audit(); err != nil {
		return report, fmt.Errorf("ledger: verify: %w", err)
	}
	if again.Digest() != report.Digest {
		return report, fmt.Errorf("ledger: verify: I9: the state that serves differs from the replay of its journal at position %d", report.Position)
	}
	return report, nil
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

// journalOnly is the source of a book that is replayed from the first record: no
// state was ever put away, and every block's hash was compared before.
type journalOnly struct {
	l *Ledger
}

// State has nothing.
func (journalOnly) State([]byte) ([]byte, bool, error) { return nil, false, nil }

// Record reads the journal.
func (j journalOnly) Record(position points.Position, rec *book.Record) error {
	return readRecord(j.l.store, position, rec, false)
}
