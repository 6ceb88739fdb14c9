package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// Until says where a restored journal ends: with the record at Position, or with
// the last one posted at or before Time. Zero of both is the end of the source.
type Until struct {
	Position points.Position
	Time     points.Timestamp
}

// restoreChunk is how many bytes of blocks are written at a time.
const restoreChunk = 32 << 20

// Restore copies the journal in from, up to a bound, into the new and empty store
// to, sets to's anchor there, and returns it. Blocks are copied as they are, each
// checked against its seal and the chain; one in which the bound lies is cut
// after that record and sealed again. What is not journal is not copied: opening
// the ledger makes it again, and proves every record on the way.
//
// Whatever lies behind the position that is the bound may be damaged. Without a bound the journal has
// to reach as far as from's anchor, else [ErrBehindAnchor]. progress hears how
// many records are copied, and of how many; 0 when that is not known.
func Restore(ctx context.Context, from, to *store.Store, until Until, progress func(done, total uint64)) (store.Mark, error) {
	r := restoration{to: to, until: until}
	total, err := r.total(from)
	if err != nil {
		return store.Mark{}, err
	}
	each := func(ctx context.Context, visit func(*block) error) error { return blocks(ctx, from, 1, visit) }
	if err := r.fill(ctx, total, each, progress); err != nil {
		return store.Mark{}, err
	}
	if err := copyKeyCheck(ctx, from, to); err != nil {
		return store.Mark{}, err
	}
	return r.end, to.ResetAnchor(r.end)
}

// copyKeyCheck lets the new store know the card key that its cards are under.
func copyKeyCheck(ctx context.Context, from, to *store.Store) error {
	value, ok, err := from.Get(nil, store.KeyCheck, nil)
	if err != nil || !ok {
		return err
	}
	return to.Ingest(ctx, []store.Pair{{Key: []byte{byte(store.KeyCheck)}, Value: value}})
}

// restoration is one run of [Restore].
type restoration struct {
	to    *store.Store
	until Until
	end   store.Mark
	pairs []store.Pair
	bytes int
	rec   book.Record
}

// fill copies the blocks that each visits into the new store, which has to be empty.
// total is how many records there will be, 0 when only reading tells.
func (r *restoration) fill(ctx context.Context, total uint64, each func(context.Context, func(*block) error) error, progress func(done, total uint64)) error {
	if end, err := endOf(r.to); err != nil || end.Position != 0 {
		return errors.Join(fmt.Errorf("ledger: restore: the new store has records up to %d already", end.Position), err)
	}
	err := each(ctx, func(b *block) error {
		if err := r.copy(ctx, b); err != nil {
			return err
		}
		progress(r.end.Position, total)
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	if err := r.flush(ctx); err != nil {
		return err
	}
	return r.reached(total)
}

// total is how many records there will be, 0 when only reading tells.
func (r *restoration) total(from *store.Store) (uint64, error) {
	switch {
	case r.until.Position != 0:
		return uint64(r.until.Position), nil
	case r.until.Time != 0:
		return 0, nil
	}
	anchor, err := from.Anchor()
	if err != nil {
		return 0, err
	}
	held := anchor.Mark()
	end, err := endOf(from)
	if err := errors.Join(err, anchor.Close()); err != nil {
		return 0, err
	}
	if held.Position > end.Position || (held.Position == end.Position && held.Hash != end.Hash) {
		return 0, fmt.Errorf("%w: the source's journal ends at position %d, its anchor holds %d; restore up to a position that is there", ErrBehindAnchor, end.Position, held.Position)
	}
	return end.Position, nil
}

// copy takes over one block, or its part up to the bound.
func (r *restoration) copy(ctx context.Context, b *block) error {
	count, size, err := r.within(b)
	if err != nil {
		return err
	}
	if count > 0 {
		value, sum := slices.Clone(b.value), b.hash
		if count < b.count {
			value, sum = endBlock(nil, append(beginBlock(nil, b.prev), b.bytes[:size]...), b.first, count)
		}
		r.pairs = append(r.pairs, store.Pair{Key: append([]byte{byte(store.Journal)}, blockKey(b.first)...), Value: value})
		r.bytes += len(value)
		r.end = store.Mark{Position: uint64(b.first) + uint64(count) - 1, Hash: sum}
	}
	if count < b.count || r.end.Position == uint64(r.until.Position) { // The next block is not even read.
		return errEnough
	}
	if r.bytes >= restoreChunk {
		return r.flush(ctx)
	}
	return nil
}

// within is how many of b's records lie within the bound, and their length.
func (r *restoration) within(b *block) (count, size int, err error) {
	if r.until == (Until{}) || (r.until.Time == 0 && b.last() <= r.until.Position) {
		return b.count, len(b.bytes), nil
	}
	for count < b.count {
		n, err := book.DecodeRecord(b.bytes[size:], &r.rec)
		if err != nil {
			return 0, 0, damaged(b.first+points.Position(count), "%v", err)
		}
		out := &r.rec.Outcome
		if (r.until.Position != 0 && out.Position > r.until.Position) || (r.until.Time != 0 && out.Posted > r.until.Time) {
			return count, size, nil
		}
		count, size = count+1, size+n
	}
	return count, size, nil
}

// flush writes what has come together.
func (r *restoration) flush(ctx context.Context) error {
	if err := r.to.Ingest(ctx, r.pairs); err != nil {
		return err
	}
	r.pairs, r.bytes = r.pairs[:0], 0
	return nil
}

// reached checks that the journal came as far as it was to.
func (r *restoration) reached(total uint64) error {
	switch {
	case r.end.Position == 0:
		return points.Errorf(points.UnknownOriginal, "ledger: restore: there is no record within the bound")
	case r.end.Position < total:
		return points.Errorf(points.UnknownOriginal, "ledger: restore: the source ends at position %d, before %d", r.end.Position, total)
	}
	return nil
}
