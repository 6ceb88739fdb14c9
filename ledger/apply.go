package ledger

import (
	"fmt"
	"time"

	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger/book"
)

// A running checkpoint is serialised between two groups: in proportion to what
// the group did, so that small groups are not made to wait for it, and at least
// as fast as commands change entities.
const (
	drainPerItem = 2     // entities for each command of the group
	drainLeast   = 64    // entities, some 50 µs
	drainIdle    = 1_000 // entities while nobody waits, under 1 ms
)

// apply is the applying goroutine: the only one that touches the book.
func (l *Ledger) apply() {
	defer close(l.committing)
	defer close(l.sealed)
	ticker := time.NewTicker(l.opts.CheckpointInterval)
	defer ticker.Stop()
	l.checkpoint.tick = ticker.C
	for {
		g, ok := l.nextGroup()
		if !ok {
			return
		}
		drain := drainIdle
		if g != nil {
			drain = max(drainLeast, drainPerItem*len(g.items))
			if err := l.applyGroup(g); err != nil {
				l.fail(err)
				return
			}
			l.committing <- g // Never blocks: there is room for all groups.
		}
		if err := l.stepCheckpoint(drain); err != nil {
			l.fail(err)
			return
		}
	}
}

// nextGroup waits for work and takes what there is. It returns no group when it
// is time to look after the checkpoint, and false when the ledger is closed and
// everything was done, the last checkpoint included.
func (l *Ledger) nextGroup() (*group, bool) {
	var g *group
	select { // A fault elsewhere stops here; else wait for one of the groups.
	case <-l.failed:
		return nil, false
	case g = <-l.free:
	}
	for {
		waiting, closing := l.take(g)
		if len(g.items) > 0 {
			if waiting {
				l.rouse()
			}
			return g, true
		}
		if closing {
			l.free <- g
			l.lastCheckpoint()
			return nil, false
		}
		if l.checkpoint.draining {
			l.free <- g
			return nil, true
		}
		select {
		case <-l.wake:
		case <-l.checkpoint.tick:
			l.checkpoint.due = true
			l.free <- g
			return nil, true
		case err := <-l.ended:
			l.ended <- err // For stepCheckpoint; there is room, as one checkpoint is away at a time.
			l.free <- g
			return nil, true
		case <-l.failed:
			return nil, false
		}
	}
}

// take moves up to GroupMax items from the queue into g.
func (l *Ledger) take(g *group) (waiting, closing bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	g.items = l.queue.take(g.items[:0], l.opts.GroupMax)
	return l.queue.count > 0, l.closing
}

// applyGroup carries out the items of g and starts to write its block.
func (l *Ledger) applyGroup(g *group) error {
	g.began = time.Now() //nolint:forbidigo // for the commit latency metric only.
	g.first, g.last, g.batch = l.position+1, l.position, nil
	block := l.recent.blank()
	block.first, block.value, block.offsets = g.first, beginBlock(block.value, l.chain), block.offsets[:0]
	l.current = &block
	for len(g.outcomes) < len(g.items) {
		g.outcomes = append(g.outcomes, book.Outcome{})
	}
	for i := range g.items {
		it, out := &g.items[i], &g.outcomes[i]
		if it.look != nil {
			it.look.run(l.book)
			continue
		}
		next := l.position + 1
		if err := l.book.ComparePIN(it.cmd); err != nil {
			return fmt.Errorf("ledger: %w", err)
		}
		if err := l.book.Apply(next, it.cmd, out); err != nil {
			return fmt.Errorf("ledger: %w", err)
		}
		if out.Replayed || out.Position == 0 {
			continue
		}
		block.offsets = append(block.offsets, len(block.value))
		block.value = book.AppendRecord(block.value, it.cmd, out)
		l.position = next
	}
	l.current = nil
	l.floor.Store(uint64(l.book.TraceFloor()))
	l.metrics.unvalued.Set(float64(l.book.Unvalued()))
	return l.seal(g, block)
}

// seal ends the block of g and starts to write it, unless it is empty.
func (l *Ledger) seal(g *group, block indexed) error {
	count := len(block.offsets)
	if count == 0 {
		l.recent.reuse(block)
		return nil
	}
	l.written, g.hash = endBlock(l.written, block.value, block.first, count)
	g.last, g.size = l.position, len(l.written)
	l.chain = g.hash
	l.checkpoint.records += count
	batch, err := l.store.Start(store.Journal, blockKey(block.first), l.written)
	if err != nil {
		return fmt.Errorf("ledger: write positions %d to %d: %w", g.first, g.last, err)
	}
	g.batch = batch
	l.metrics.applied(l.position)
	l.recent.keep(block)
	return nil
}

// commit is the committing goroutine: it waits for each group to be on disk, in
// order, and answers. After a fault it answers nobody, and gives no group back.
func (l *Ledger) commit() {
	var about gathering
	for g := range l.committing {
		if l.halted() {
			continue
		}
		if g.batch != nil {
			follower := l.follower.Load()
			if follower != nil { // While the disk works.
				g.gather(&about, follower.bits)
			}
			if err := g.batch.Wait(); err != nil {
				l.fail(fmt.Errorf("ledger: positions %d to %d are not durable: %w", g.first, g.last, err))
				continue
			}
			l.advance(g)
			if follower != nil {
				follower.take(&about)
			}
		}
		l.release(g)
		if after := l.afterGroup.Load(); after != nil {
			(*after)()
		}
		l.free <- g
	}
}

// gather files what the records of g are about, the commands and outcomes being at
// hand still.
func (g *group) gather(about *gathering, bits uint8) {
	about.begin(bits, g.first)
	about.mark = store.Mark{Position: uint64(g.last), Hash: g.hash}
	for i := range g.items {
		if out := &g.outcomes[i]; g.items[i].look == nil && !out.Replayed && out.Position >= g.first {
			about.add(g.items[i].cmd, out)
		}
	}
}

// AfterGroup sets what the committing goroutine calls when it has told the
// outcomes of a group, so that answers can go out together. It must be short.
func (l *Ledger) AfterGroup(call func()) { l.afterGroup.Store(&call) }

// release answers the items of a durable group.
func (l *Ledger) release(g *group) {
	for i := range g.items {
		it := &g.items[i]
		if it.look != nil {
			close(it.look.seen)
		} else {
			it.done(&g.outcomes[i])
		}
	}
	clear(g.items)
	g.items = g.items[:0]
}

// advance notes that everything up to the end of g is durable.
func (l *Ledger) advance(g *group) {
	l.durable.Store(uint64(g.last))
	mark := &l.durableMark
	mark.Lock()
	mark.Position, mark.Hash = uint64(g.last), g.hash
	close(mark.advanced)
	mark.advanced = make(chan struct{})
	mark.Unlock()
	l.metrics.committed(g)
}

// keepAnchor is the goroutine that notes how far the journal is acknowledged. A
// failing anchor stops the ledger: without it a loss could pass unseen.
func (l *Ledger) keepAnchor() {
	ticker := time.NewTicker(anchorInterval)
	defer ticker.Stop()
	for {
		closed := false
		select {
		case <-ticker.C:
		case <-l.closed:
			closed = true
		}
		l.durableMark.Lock()
		mark := l.durableMark.Mark
		l.durableMark.Unlock()
		if mark.Position != l.anchor.Mark().Position {
			if err := l.anchor.Set(mark); err != nil {
				l.fail(fmt.Errorf("ledger: %w", err))
				return
			}
		}
		if closed {
			return
		}
	}
}
