package ledger

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"

	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// recover brings the book to where the journal ends: the last checkpoint, the
// keys that are remembered from before it, the records after it. It follows the
// hash chain and holds the result against the anchor.
func (l *Ledger) recover(ctx context.Context) error {
	anchor, err := l.store.Anchor()
	if err != nil {
		return err
	}
	l.anchor = anchor
	mark, err := readCheckpoint(l.store)
	if err != nil {
		return err
	}
	l.book = book.New(book.Options{Accounts: l.opts.Accounts, Seed: unguessable()}, source{l})
	if err := l.book.Err(); err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	if uint64(l.book.Position()) != mark.Position {
		return damaged(l.book.Position(), "the checkpoint's state is of position %d, its mark of %d", l.book.Position(), mark.Position)
	}
	end, err := lastPosition(l.store)
	if err != nil {
		return err
	}
	// The blocks in which the checkpoint and the anchor stand are always read, so
	// that what these two noted is held against the chain.
	from := max(min(l.book.TraceFloor(), points.Position(mark.Position), points.Position(anchor.Mark().Position)), 1)
	l.checked = from
	if err := l.replay(ctx, from, mark, end); err != nil {
		return err
	}
	if held := anchor.Mark(); held.Position > uint64(l.position) {
		return fmt.Errorf("%w: the journal ends at position %d, but was acknowledged up to %d; the end of the store's log is damaged: keep the files and restore from a backup (docs/operations.md)",
			ErrBehindAnchor, l.position, held.Position)
	}
	l.durable.Store(uint64(l.position))
	l.durableMark.Mark = store.Mark{Position: uint64(l.position), Hash: l.chain}
	l.metrics.recovered(l.position, mark.Position)
	if l.position > 0 {
		l.log.Info("journal recovered", slog.Uint64("position", uint64(l.position)), slog.Uint64("checkpoint", mark.Position), slog.String("date", l.book.Date().String()), slog.Int("read_singly", l.single))
	}
	return nil
}

// replay reads the journal from the block with position from on: keys up to the
// checkpoint, whole records after it.
func (l *Ledger) replay(ctx context.Context, from points.Position, checkpoint store.Mark, end points.Position) error {
	t := &tail{
		store: l.store, book: l.book, from: from, floor: l.book.TraceFloor(), checkpoint: points.Position(checkpoint.Position),
		records: uint64(end) - min(checkpoint.Position, uint64(end)),
	}
	accounts := l.book.MemberAccounts()
	t.accounts = accounts <= t.records*fewRecords && (l.opts.Accounts == 0 || accounts <= uint64(l.opts.Accounts)) //nolint:gosec // not negative.
	c := chain{store: l.store, from: from, next: from}
	total := uint64(end - min(from-1, end))
	err := t.follow(ctx, func(r *run) error {
		if err := l.again(r, &c, checkpoint); err != nil {
			return err
		}
		for i := range r.blocks {
			l.opts.Progress(uint64(r.blocks[i].last()-min(from-1, r.blocks[i].last())), total)
		}
		return r.fault
	})
	if err != nil {
		return err
	}
	if uint64(l.position) < checkpoint.Position {
		return damaged(l.position+1, "the journal ends there, but the checkpoint is of position %d", checkpoint.Position)
	}
	return nil
}

// again takes in the blocks of a run, up to the first that is not what follows.
func (l *Ledger) again(r *run, c *chain, checkpoint store.Mark) error {
	l.book.RememberAll(r.keys)
	if n := len(r.blocks); n > 0 {
		last := r.blocks[n-1].last()
		for hash := range r.keys.Hashes() {
			l.seen.add(hash, last, 0)
		}
		for i := range r.records {
			if key := &r.records[i].Command.Key; *key != (points.TraceKey{}) {
				l.seen.add(l.book.KeyHash(key), last, 0)
			}
		}
	}
	records := 0
	fault := func() error {
		for i := range r.blocks {
			b := &r.blocks[i]
			if visit, err := c.link(&b.block); err != nil || !visit {
				if err != nil {
					return err
				}
				continue
			}
			if err := errors.Join(b.agrees(checkpoint, "checkpoint"), b.agrees(l.anchor.Mark(), "anchor")); err != nil {
				return err
			}
			if b.from < b.to { // What a record is about may be young.
				l.recent.keep(indexed{first: b.first, value: b.bytes, offsets: r.offsets[b.from:b.to:b.to]})
			}
			records, l.position, l.chain = b.to, b.last(), b.hash
		}
		return nil
	}()
	l.checkpoint.records += records
	return errors.Join(l.book.ReplayAll(r.records[:records]), fault)
}

// agrees holds a block against a mark: one that lies in it is of its last
// position and has its hash. by says who noted it.
func (b *block) agrees(mark store.Mark, by string) error {
	if position := points.Position(mark.Position); position < b.first || position > b.last() {
		return nil
	}
	if points.Position(mark.Position) != b.last() || b.hash != mark.Hash {
		return damaged(b.first, "the block of positions %d to %d is not the one that the %s notes at %d", b.first, b.last(), by, mark.Position)
	}
	return nil
}

// unguessable is a number that nobody outside this process can know.
func unguessable() uint64 {
	var random [8]byte
	_, _ = rand.Read(random[:]) // Never fails.
	return binary.LittleEndian.Uint64(random[:])
}

func readCheckpoint(s *store.Store) (store.Mark, error) {
	value, ok, err := s.Get(nil, store.Checkpoint, nil)
	if err != nil || !ok {
		return store.Mark{}, err
	}
	mark, ok := decodeMark(value)
	if !ok {
		return store.Mark{}, damaged(0, "the checkpoint's mark has %d bytes", len(value))
	}
	return mark, nil
}

// lastPosition is the end of the journal in the store.
func lastPosition(s *store.Store) (points.Position, error) {
	key, value, ok, err := s.AtOrBefore(nil, store.Journal, blockKey(^points.Position(0)))
	if err != nil || !ok {
		return 0, err
	}
	b, err := proveBlock(key, value)
	if err != nil {
		return 0, err
	}
	return b.last(), nil
}

// blocks reads the journal from the block that holds position from to the end, and
// checks each block and that it has its place in the chain. A block is valid during the
// call. A journal that does not reach from has no blocks to visit; only one that ends
// or begins elsewhere than it should is damaged.
func blocks(ctx context.Context, s *store.Store, from points.Position, visit func(*block) error) error {
	c := chain{store: s, from: from, next: from}
	var memory []byte // of the records of a packed block
	return scanFrom(ctx, s, from, func(key, value []byte) (bool, error) {
		b, err := proveBlock(key, value)
		if err != nil {
			return false, err
		}
		linked, err := c.link(&b)
		if err != nil || !linked {
			return true, err
		}
		if b.bytes, err = unpack(memory, b.first, value); err != nil {
			return false, err
		}
		if value[0] == packedBlock {
			memory = b.bytes
		}
		return true, visit(&b)
	})
}

// scanFrom visits the journal's keys and values from the block that holds position
// from on, and if there is none, from the one before it.
func scanFrom(ctx context.Context, s *store.Store, from points.Position, visit func(key, value []byte) (bool, error)) error {
	return s.ScanFrom(ctx, store.Journal, blockKey(from), visit)
}

// chain is the place in the journal up to which blocks were seen to follow each other.
type chain struct {
	store *store.Store
	from  points.Position
	next  points.Position
	hash  hash
	began bool
}

// link checks that b begins where the block before ends, and that it names that one's
// hash; for the first, the one before is read for this. It returns false for a block
// that lies before the position from which on blocks are wanted.
func (c *chain) link(b *block) (wanted bool, err error) {
	if !c.began {
		c.began = true
		if b.last() < c.from { // The journal ends before from, or the block with from is missing.
			c.next, c.hash = b.last()+1, b.hash
			return false, nil
		}
		if c.next, c.hash, err = before(c.store, b, c.from); err != nil {
			return false, err
		}
	}
	if err := b.follows(c.next, c.hash); err != nil {
		return false, err
	}
	c.next, c.hash = b.last()+1, b.hash
	return true, nil
}

// before returns where the first block of a scan has to begin, and the hash that
// it has to name.
func before(s *store.Store, b *block, from points.Position) (points.Position, hash, error) {
	if b.first > from {
		return 0, hash{}, damaged(from, "the journal has no block there; the next one begins at %d", b.first)
	}
	if b.first == 1 {
		return 1, hash{}, nil
	}
	key, value, ok, err := s.AtOrBefore(nil, store.Journal, blockKey(b.first-1))
	if err != nil {
		return 0, hash{}, err
	}
	if !ok {
		return 0, hash{}, damaged(b.first-1, "the journal has no block there; the next one begins at %d", b.first)
	}
	previous, err := proveBlock(key, value)
	if err != nil {
		return 0, hash{}, err
	}
	return previous.last() + 1, previous.hash, nil
}

// follows checks the chain: b has to begin at next and to name the hash chain.
func (b *block) follows(next points.Position, chain hash) error {
	if b.first != next {
		return damaged(next, "the block there is missing; the next one begins at %d", b.first)
	}
	if b.prev != chain {
		return damaged(b.first, "the block does not follow the one before: the hash chain is broken")
	}
	return nil
}

// source is the ledger as the book's Source. It is used by the applying
// goroutine, and by recovery before that.
type source struct {
	l *Ledger
}

// State reads a checkpointed entity.
func (s source) State(key []byte) ([]byte, bool, error) {
	s.l.single++
	return s.l.store.Get(nil, store.State, key)
}

// Record reads a record: from the block being built, from those written last, or
// from the store. A block that this process has neither written nor followed the
// chain through is checked against its hash when it is read.
func (s source) Record(position points.Position, rec *book.Record) error {
	l := s.l
	if l.current != nil && position >= l.current.first {
		return l.current.record(position, rec)
	}
	if x := l.recent.find(position); x != nil {
		return x.record(position, rec)
	}
	x, err := l.past.find(l.store, position, position < l.checked)
	if err != nil {
		return err
	}
	return x.record(position, rec)
}

// readRecord finds the block with position and decodes the one record. The
// block's hash is compared when check is set.
func readRecord(s *store.Store, position points.Position, rec *book.Record, check bool) error {
	key, value, ok, err := s.AtOrBefore(nil, store.Journal, blockKey(position))
	if err != nil {
		return err
	}
	if !ok {
		return fmt.Errorf("ledger: position %d: %w", position, errNoSuchRecord)
	}
	if check {
		if _, err := proveBlock(key, value); err != nil {
			return err
		}
	}
	if len(key) != 8 {
		return damaged(position, "a block's key has %d bytes, want 8", len(key))
	}
	first := points.Position(binary.BigEndian.Uint64(key))
	records, err := unpack(nil, first, value)
	if err != nil {
		return err
	}
	return record(records, first, position, rec)
}
