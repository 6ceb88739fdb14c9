package ledger

import (
	"context"
	"errors"
	"fmt"

	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// Archive is the journal of a store that nobody serves: it is read, never
// written. It is safe for concurrent use.
type Archive struct {
	store *store.Store
	end   store.Mark
}

// OpenArchive finds the end of the journal in s, which may be open read-only and
// stays the caller's to close. Errors: a [*DamageError] when the last block
// cannot be read.
func OpenArchive(s *store.Store) (*Archive, error) {
	end, err := endOf(s)
	if err != nil {
		return nil, err
	}
	return &Archive{s, end}, nil
}

// Durable is the last position of the journal; 0 when it is empty.
func (a *Archive) Durable() points.Position { return points.Position(a.end.Position) }

// End is the last position and the hash of the chain there.
func (a *Archive) End() store.Mark { return a.end }

// Record reads the record at position.
func (a *Archive) Record(position points.Position) (book.Record, error) {
	var rec book.Record
	if position == 0 || position > a.Durable() {
		return rec, points.Errorf(points.UnknownOriginal, "ledger: no record at position %d; the journal ends at %d", position, a.end.Position)
	}
	return rec, readRecord(a.store, position, &rec, true)
}

// Scan calls visit with the records from position from to position to, both
// included, in order, following the chain. The record is valid during the call.
func (a *Archive) Scan(ctx context.Context, from, to points.Position, visit func(*book.Record) error) error {
	return scan(ctx, a.store, max(from, 1), min(to, a.Durable()), visit)
}

// scan visits the records of positions from to to, all of which have to be there. Of the
// first block and the last nothing else is decoded: who reads a day in short spans meets
// most blocks several times.
func scan(ctx context.Context, s *store.Store, from, to points.Position, visit func(*book.Record) error) error {
	if from > to {
		return nil
	}
	var rec book.Record
	next := from
	err := blocks(ctx, s, from, func(b *block) error {
		return b.each(func(position points.Position, bytes []byte) (int, error) {
			if position < from {
				n, err := book.SkipRecord(bytes)
				if err != nil {
					return 0, damaged(position, "%v", err)
				}
				return n, nil
			}
			n, err := decodeAt(position, bytes, &rec)
			if err != nil {
				return 0, err
			}
			next++
			if err := visit(&rec); err != nil {
				return 0, err
			}
			if position == to {
				return 0, errEnough
			}
			return n, nil
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

// endOf is the position of the journal's last record and the hash of its block.
func endOf(s *store.Store) (store.Mark, error) {
	key, value, ok, err := s.AtOrBefore(nil, store.Journal, blockKey(^points.Position(0)))
	if err != nil || !ok {
		return store.Mark{}, err
	}
	b, err := proveBlock(key, value)
	if err != nil {
		return store.Mark{}, err
	}
	return store.Mark{Position: uint64(b.last()), Hash: b.hash}, nil
}

// Backup copies the store, with all that is durable, into the new folder dir of
// the same file system, while the ledger serves. The copy has no anchor yet: who
// asked for it opens it and sets one at the journal's end
// ([store.Store.ResetAnchor]). It returns how far the journal was durable before;
// the copy reaches at least as far.
func (l *Ledger) Backup(dir string) (store.Mark, error) {
	if err := l.enter(); err != nil {
		return store.Mark{}, err
	}
	defer l.readers.Done()
	l.durableMark.Lock()
	mark := l.durableMark.Mark
	l.durableMark.Unlock()
	if err := l.store.Backup(dir); err != nil {
		return store.Mark{}, fmt.Errorf("ledger: %w", err)
	}
	return mark, nil
}
