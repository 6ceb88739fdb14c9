package ledger

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// checkpointing is the applying goroutine's side of a checkpoint:
//
//	idle ── due ──> draining ── all drained ──> sealed, away ── ended ──> idle
//
// The book is frozen at one position and drained between groups; the pairs go to
// the checkpointing goroutine, which ingests them once the journal is durable up
// to that position.
type checkpointing struct {
	tick     <-chan time.Time
	due      bool // the time has come, if anything has changed
	draining bool
	away     bool // in the hands of the checkpointing goroutine
	records  int  // written since the last one began
	mark     store.Mark
	kept
	waiting []expectation
}

// kept is copies of keys and values.
type kept struct {
	pairs []store.Pair
	arena []byte
}

// expectation is of a reader who waits for the state of a position to be put away.
type expectation struct {
	position points.Position
	met      chan struct{}
}

// sealedCheckpoint is one on its way to the store.
type sealedCheckpoint struct {
	mark  store.Mark
	pairs []store.Pair
}

// stepCheckpoint does a bounded part of what a checkpoint needs: it serialises
// at most drain entities.
func (l *Ledger) stepCheckpoint(drain int) error {
	c := &l.checkpoint
	select {
	case err := <-l.ended:
		if err := l.endCheckpoint(err); err != nil {
			return err
		}
	default:
	}
	select { // Under load nobody waits for work, and the clock is seen here.
	case <-c.tick:
		c.due = true
	default:
	}
	switch {
	case c.away:
		return nil
	case c.draining:
		l.drain(drain)
	case c.records >= l.opts.CheckpointEvery, c.due && c.records > 0:
		l.beginCheckpoint()
	default:
		c.due = false
	}
	return nil
}

// endCheckpoint takes a checkpoint back that was put away, or err says why not.
func (l *Ledger) endCheckpoint(err error) error {
	c := &l.checkpoint
	c.away = false
	if err != nil {
		return err
	}
	l.book.EndCheckpoint(true)
	c.waiting = slices.DeleteFunc(c.waiting, func(e expectation) bool {
		met := uint64(e.position) <= c.mark.Position
		if met {
			close(e.met)
		}
		return met
	})
	return nil
}

// putAwayNow asks for a checkpoint and returns when there is one of the position
// that the ledger had reached, or of a later one. The writer does not wait for it.
func (l *Ledger) putAwayNow(ctx context.Context) error {
	met := make(chan struct{})
	err := l.View(ctx, func(*book.Book) error {
		c := &l.checkpoint
		if c.records == 0 && !c.draining && !c.away {
			close(met)
			return nil
		}
		c.due = true
		c.waiting = append(c.waiting, expectation{l.position, met})
		return nil
	})
	if err != nil {
		return err
	}
	select {
	case <-met:
		return nil
	case <-l.failed:
		return l.Err()
	case <-ctx.Done():
		return fmt.Errorf("ledger: waiting for a checkpoint: %w", ctx.Err())
	}
}

func (l *Ledger) beginCheckpoint() {
	c := &l.checkpoint
	c.due, c.draining, c.records = false, true, 0
	c.mark = store.Mark{Position: uint64(l.position), Hash: l.chain}
	// The pairs of the last one may still be read: new ones each time.
	c.pairs, c.arena = nil, nil
	l.book.BeginCheckpoint()
}

// drain serialises up to limit entities, and seals the checkpoint with the last.
func (l *Ledger) drain(limit int) {
	c := &l.checkpoint
	done := l.book.Drain(limit, func(key, value []byte) {
		c.keep(store.State, key, value)
	})
	if !done {
		return
	}
	c.keep(store.Checkpoint, nil, encodeMark(c.mark))
	c.draining, c.away = false, true
	l.sealed <- sealedCheckpoint{c.mark, c.pairs} // Never blocks: one at a time.
	c.pairs, c.arena = nil, nil
}

// arenaSize is how much room is made at a time for pairs.
const arenaSize = 1 << 20

// keep copies a pair; small ones share allocations.
func (k *kept) keep(prefix store.Prefix, key, value []byte) {
	size := 1 + len(key) + len(value)
	if cap(k.arena)-len(k.arena) < size {
		k.arena = make([]byte, 0, max(size, arenaSize))
	}
	start := len(k.arena)
	k.arena = append(append(append(k.arena, byte(prefix)), key...), value...)
	middle := start + 1 + len(key)
	k.pairs = append(k.pairs, store.Pair{Key: k.arena[start:middle:middle], Value: k.arena[middle:len(k.arena):len(k.arena)]})
}

// lastCheckpoint writes what has changed before the ledger closes.
func (l *Ledger) lastCheckpoint() {
	c := &l.checkpoint
	for c.away || c.draining || c.records > 0 {
		switch {
		case c.away:
			select {
			case err := <-l.ended:
				if err := l.endCheckpoint(err); err != nil {
					l.fail(err)
					return
				}
			case <-l.failed:
				return
			}
		case c.draining:
			l.drain(drainIdle)
		default:
			l.beginCheckpoint()
		}
	}
}

// putAway is the checkpointing goroutine.
func (l *Ledger) putAway() {
	for sealed := range l.sealed {
		if l.untilDurable(context.Background(), points.Position(sealed.mark.Position)) != nil {
			continue // The ledger has failed, and whoever waits for this knows.
		}
		slices.SortFunc(sealed.pairs, func(a, b store.Pair) int { return bytes.Compare(a.Key, b.Key) })
		if err := l.store.Ingest(context.Background(), sealed.pairs); err != nil {
			l.ended <- fmt.Errorf("ledger: checkpoint at position %d: %w", sealed.mark.Position, err)
			continue
		}
		l.metrics.checkpointed(sealed.mark.Position)
		l.log.Debug("checkpoint", slog.Uint64("position", sealed.mark.Position), slog.Int("entities", len(sealed.pairs)))
		l.ended <- nil
	}
}

func encodeMark(mark store.Mark) []byte {
	return append(binary.BigEndian.AppendUint64(nil, mark.Position), mark.Hash[:]...)
}

func decodeMark(value []byte) (mark store.Mark, ok bool) {
	if len(value) != 8+hashSize {
		return store.Mark{}, false
	}
	mark.Position = binary.BigEndian.Uint64(value)
	copy(mark.Hash[:], value[8:])
	return mark, true
}
