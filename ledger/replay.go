package ledger

import (
	"bytes"
	"context"
	"errors"
	"hash/maphash"
	"runtime"
	"runtime/pprof"
	"slices"
	"sync"

	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// Recovery reads the journal as a line of goroutines, so that the one that books does
// nothing else:
//
//	read ──runs──> prove and decode (one for each processor) ──┐
//	  └──────────────────── in order ──────────────────────────┴─> read ahead ──> book
//
// A run is consecutive blocks. Its seals are proved and its records decoded on whatever
// goroutine is free; whether a block follows the one before, and everything about the
// book, is looked at in order, on the goroutine that opens the ledger. What a run finds
// wrong counts only when its turn comes, so the first damage is the one that is told,
// and nothing behind it is booked.
const (
	runBytes = 24 << 10 // of journal, packed, in a run, or one block
	runCount = 16       // in memory at a time: with their decoded records about 350 KiB each
	aheadMax = 6        // for which state is read together; the rest is on its way before and behind

	// fewRecords is how many accounts there may be for each record, for all of them to be
	// read first: in order, one costs a fraction of what it costs by itself.
	fewRecords = 4
)

// run is consecutive blocks on their way through recovery.
type run struct {
	value  []byte // keys and values of the blocks, one after the other
	places []place
	ready  chan struct{} // capacity 1: proved and decoded

	// Of what was proved and decoded; fault is what stopped that, at blocks[len(blocks)].
	blocks  []proved
	records []book.Record
	offsets []int
	keys    *book.Keys
	wants   []book.StateKey
	fault   error

	state []store.Pair // read ahead, for this run and some behind it
}

// place is where a block stands in a run: its key, its value, and where that ends.
type place struct{ key, value, end int }

// proved is a block of a run whose seal is right. Its records are decoded unless the
// checkpoint has them already: then only its keys were gathered.
type proved struct {
	block
	from, to int // records[from:to] and offsets[from:to] of the run
}

// reset empties a run. Its bytes and offsets may still be looked at: new ones each time.
func (r *run) reset() {
	r.value, r.offsets = make([]byte, 0, runBytes+runBytes/8), nil
	r.places, r.blocks, r.records, r.wants, r.state = r.places[:0], r.blocks[:0], r.records[:0], r.wants[:0], nil
	r.keys.Reset()
	r.fault = nil
}

func (r *run) add(key, value []byte) {
	at := len(r.value)
	r.value = append(append(r.value, key...), value...)
	r.places = append(r.places, place{at, at + len(key), len(r.value)})
}

// tail reads the journal for recovery.
type tail struct {
	store      *store.Store
	book       *book.Book
	from       points.Position // of the first block that is read
	floor      points.Position // keys are remembered from here on
	checkpoint points.Position // and records are booked behind this
	records    uint64          // how many that will be, about

	// accounts says that all accounts of members are read before anything is booked:
	// many of them will be needed, and that is the cheapest way to read many.
	accounts bool
	state    kept // of who reads ahead

	free    chan *run // empty ones: what bounds the memory
	read    chan *run // to be proved
	ordered chan *run // the same, in order
	ahead   chan *run // with state
	faults  [2]error  // of the reader and of who reads ahead; set before ahead is closed
	wait    sync.WaitGroup
}

// follow calls visit with the runs of the journal from the block with position from
// on, in order, until it returns an error.
func (t *tail) follow(ctx context.Context, visit func(*run) error) (err error) {
	ctx, stop := context.WithCancel(ctx)
	defer t.wait.Wait()
	defer stop()
	t.free, t.read = make(chan *run, runCount), make(chan *run, runCount)
	t.ordered, t.ahead = make(chan *run, runCount), make(chan *run, runCount)
	for range runCount {
		t.free <- &run{ready: make(chan struct{}, 1), keys: t.book.NewKeys()}
	}
	t.start(ctx, "read", t.readRuns)
	for range runtime.GOMAXPROCS(0) {
		t.start(ctx, "decode", t.decodeRuns)
	}
	t.start(ctx, "ahead", t.readAhead)
	pprof.Do(ctx, pprof.Labels("stage", "book"), func(ctx context.Context) { err = t.visitAll(ctx, visit) })
	return err
}

// visitAll is the stage that books.
func (t *tail) visitAll(ctx context.Context, visit func(*run) error) error {
	if err := t.readAccounts(ctx); err != nil {
		return err
	}
	for r := range t.ahead {
		if err := t.takeIn(r.state); err != nil {
			return err
		}
		if err := visit(r); err != nil {
			return err
		}
		t.free <- r // Never blocks: there is room for all.
	}
	return errors.Join(t.faults[:]...)
}

// readAccounts takes all accounts of members into memory, if that was asked for.
func (t *tail) readAccounts(ctx context.Context) error {
	if !t.accounts {
		return nil
	}
	const chunk = 4096
	chunks := make(chan []store.Pair, 2)
	var fault error
	t.start(ctx, "accounts", func(ctx context.Context) {
		defer close(chunks)
		var k kept
		send := func() bool {
			select {
			case chunks <- k.pairs:
				k.pairs = make([]store.Pair, 0, chunk)
				return true
			case <-ctx.Done():
				return false
			}
		}
		prefix := book.MemberAccountKeys()
		fault = t.store.Scan(ctx, store.State, prefix, func(key, value []byte) (bool, error) {
			if !bytes.HasPrefix(key, prefix) {
				return false, nil
			}
			k.keep(store.State, key, value)
			return len(k.pairs) < chunk || send(), nil
		})
		send()
	})
	for pairs := range chunks {
		if err := t.takeIn(pairs); err != nil {
			return err
		}
	}
	return fault
}

// takeIn gives the book what was read ahead for it.
func (t *tail) takeIn(state []store.Pair) error {
	for _, pair := range state {
		if err := t.book.Preload(pair.Key[1:], pair.Value); err != nil {
			return err
		}
	}
	return nil
}

// start runs a stage on a goroutine of its own; profiles name it.
func (t *tail) start(ctx context.Context, stage string, work func(context.Context)) {
	t.wait.Go(func() { pprof.Do(ctx, pprof.Labels("stage", stage), work) })
}

// readRuns is the reading goroutine.
func (t *tail) readRuns(ctx context.Context) {
	defer close(t.ordered)
	defer close(t.read)
	var r *run
	send := func() {
		t.read <- r // Neither blocks: there is room for all.
		t.ordered <- r
		r = nil
	}
	err := scanFrom(ctx, t.store, t.from, func(key, value []byte) (bool, error) {
		if r == nil {
			select {
			case r = <-t.free:
				r.reset()
			case <-ctx.Done():
				return false, ctx.Err()
			}
		}
		r.add(key, value)
		if len(r.value) >= runBytes {
			send()
		}
		return true, nil
	})
	if r != nil {
		send()
	}
	t.faults[0] = err
}

// decodeRuns is a goroutine that proves and decodes.
func (t *tail) decodeRuns(context.Context) {
	for r := range t.read {
		r.fault = t.decode(r)
		r.ready <- struct{}{}
	}
}

func (t *tail) decode(r *run) error {
	for _, p := range r.places {
		b, err := readBlock(r.value[p.key:p.value], r.value[p.value:p.end:p.end])
		if err != nil {
			return err
		}
		first := len(r.records)
		if b.last() <= t.checkpoint {
			err = t.gather(r, &b)
		} else {
			err = t.decodeBlock(r, &b)
		}
		if err != nil {
			return err
		}
		r.blocks = append(r.blocks, proved{b, first, len(r.records)})
	}
	return nil
}

// gather reads the keys of a block that lies before the checkpoint.
func (t *tail) gather(r *run, b *block) error {
	return b.each(func(position points.Position, bytes []byte) (int, error) {
		var n int
		var err error
		if position < t.floor {
			n, err = book.SkipRecord(bytes)
		} else {
			n, err = r.keys.Gather(bytes, position)
		}
		if err != nil {
			return 0, damaged(position, "%v", err)
		}
		return n, nil
	})
}

// leastRecord is less than the bytes of any record: a count that lies gets no more memory.
const leastRecord = 8

// decodeBlock decodes a block that lies behind the checkpoint.
func (t *tail) decodeBlock(r *run, b *block) error {
	count := min(b.count, len(b.bytes)/leastRecord+1)
	r.offsets, r.records = slices.Grow(r.offsets, count), slices.Grow(r.records, count)
	at := 0
	return b.each(func(position points.Position, bytes []byte) (int, error) {
		r.records = r.records[:len(r.records)+1] // The slices of the one that was there are used again.
		rec := &r.records[len(r.records)-1]
		n, err := decodeAt(position, bytes, rec)
		if err != nil {
			return 0, err
		}
		r.wants = rec.Wants(r.wants, t.checkpoint)
		r.offsets = append(r.offsets, at)
		at += n
		return n, nil
	})
}

// readAhead is the goroutine that reads the state which the records of several runs
// will ask for: together and in the order in which it lies.
func (t *tail) readAhead(ctx context.Context) {
	defer close(t.ahead)
	known := newKnown(t.records)
	var window []*run
	var wanted []book.StateKey
	flush := func() {
		if len(wanted) > 0 && t.faults[1] == nil {
			t.faults[1] = t.fetch(ctx, window[0], wanted)
		}
		for _, r := range window {
			if t.faults[1] == nil {
				t.ahead <- r // Never blocks: there is room for all.
			}
		}
		window, wanted = window[:0], wanted[:0]
	}
	for r := range t.ordered {
		<-r.ready
		window = append(window, r)
		for i := range r.wants {
			if want := &r.wants[i]; (!t.accounts || !want.OfMemberAccount()) && known.add(want) {
				wanted = append(wanted, r.wants[i])
			}
		}
		if len(wanted) == 0 || len(window) == aheadMax {
			flush()
		}
	}
	flush()
}

// fetch reads the entities that are wanted into r.
func (t *tail) fetch(ctx context.Context, r *run, wanted []book.StateKey) error {
	slices.SortFunc(wanted, func(a, b book.StateKey) int { return a.Compare(&b) })
	keys := func(yield func([]byte) bool) {
		for i := range wanted {
			if !yield(wanted[i].Bytes()) {
				return
			}
		}
	}
	err := t.store.Pick(ctx, store.State, keys, func(key, value []byte) error {
		t.state.keep(store.State, key, value)
		return nil
	})
	r.state, t.state.pairs = t.state.pairs, nil
	return err
}

// known tells what was asked for before. It may forget: then something is read twice.
type known struct {
	seed  maphash.Seed
	marks []uint64 // by hash
	mask  uint64   // one less than how many marks there are, a power of two
}

const knownMax = 1 << 22 // 32 MiB

func newKnown(records uint64) *known {
	size := uint64(1 << 10)
	for size < knownMax && size < 2*records {
		size *= 2
	}
	return &known{maphash.MakeSeed(), make([]uint64, size), size - 1}
}

// add reports whether key is new.
func (k *known) add(key *book.StateKey) bool {
	mark := maphash.Bytes(k.seed, key.Bytes()) | 1
	at := &k.marks[mark>>1&k.mask]
	if *at == mark {
		return false
	}
	*at = mark
	return true
}
