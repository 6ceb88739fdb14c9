package ledger

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// Projection is the index of the durable journal: which records are about a
// member, a card, a terminal's message, a business date. It is handed what the
// journal's blocks are about when they have become durable, before anybody is
// answered; where it was not, as after a start, it reads the blocks. It may lag
// behind; every answer says up to which position it is complete. It can be dropped
// and made again at any time, since everything in it is told by the journal.
//
// # Keys
//
// All stand under [store.Index]; numbers are big-endian. A shelf is the records of
// 2^ShelfBits positions.
//
//	b  shelf, 4 | c  entry, 8    page of entries of cards, from this one on
//	b  shelf, 4 | h              form, 1 | ShelfBits, 1 | position, 8 | hash of the block, 32 | business date at the shelf's end, 4
//	b  shelf, 4 | k  entry, 8    page of entries of batches that were closed
//	b  shelf, 4 | m  entry, 8    page of entries of members
//	b  shelf, 4 | t  entry, 8    page of entries of terminals' messages
//	d  date, 4     first position of the business date, 8
//	o  token, 16   member that the card belongs to, 8
//
// An entry is one record under one of those that it is about, of whom it has some
// bits; a page is hundreds of them in some bytes each. So a query reads the records
// that it finds, and passes over those that are about somebody else. Entries of a key
// each cost a fifth of all processor time, and seven times the bytes.
//
// # Writing
//
// The shelf that is being filled is in memory. A full one is sorted and taken in by
// the store as one table, with the head h that says which block the index has come
// to; then nothing touches it again. What was in memory when the process ended is
// read from the journal at the next start: less than one shelf. A head that does not
// name one of the journal's blocks, as after the restore of an older journal, makes
// the projection begin anew.
type Projection struct {
	ledger *Ledger
	log    *slog.Logger
	bits   uint8 // of a shelf's positions

	position atomic.Uint64 // of what is filed, for everybody else
	mu       sync.RWMutex  // held by queries for reading, while all keys are dropped for writing
	drops    atomic.Uint64 // how many times all keys were dropped
	moved    chan struct{} // closed and replaced when position has changed; guarded by waiting
	waiting  sync.Mutex
	stir     chan struct{} // capacity 1: there is work for the goroutine
	rebuilds chan chan error
	stop     context.CancelFunc
	ended    chan struct{} // closed when the goroutine has ended
	fault    error         // set before ended is closed

	// The shelves in memory, guarded by filing. Slices of theirs that were seen there
	// may be read without it: what stands in them is not changed any more.
	filing sync.Mutex
	shelves
	full   []shelf // waiting to be stored, at most fullShelves; more are read again
	behind bool    // a block was not taken

	read   gathering     // of the goroutine
	reread atomic.Uint64 // records that the goroutine has read from the journal
}

// fullShelves is how many shelves may wait for the store: a few MiB each.
const fullShelves = 4

// ProjectionOptions of a projection.
type ProjectionOptions struct {
	// ShelfBits is the number of positions on one shelf as a power of two, 1 to 23;
	// 0: 17. An index with other shelves is made again.
	ShelfBits  uint8
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// DefaultShelfBits is the default of [ProjectionOptions].
const DefaultShelfBits = 17

// Kinds of keys; see [Projection]. Those of entries are in shelf.go.
const (
	shelfKey = 'b'
	headKey  = 'h'
	dateKey  = 'd'
	ownerKey = 'o'
)

// OpenProjection begins to follow l's journal from where the index in its store
// ends, or from the first record if that cannot be trusted. [Projection.Close]
// has to come before [Ledger.Close].
func OpenProjection(ctx context.Context, l *Ledger, opts ProjectionOptions) (*Projection, error) {
	if opts.ShelfBits == 0 {
		opts.ShelfBits = DefaultShelfBits
	}
	if opts.ShelfBits > whereBits {
		return nil, fmt.Errorf("ledger: shelves of 2^%d positions, at most 2^%d", opts.ShelfBits, whereBits)
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	p := &Projection{
		ledger: l, log: opts.Log, bits: opts.ShelfBits, moved: make(chan struct{}), stir: make(chan struct{}, 1),
		rebuilds: make(chan chan error), ended: make(chan struct{}), shelves: shelves{bits: opts.ShelfBits}, behind: true,
	}
	if err := p.resume(); err != nil {
		return nil, err
	}
	if opts.Registerer != nil {
		if err := p.register(opts.Registerer); err != nil {
			return nil, err
		}
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	p.stop = stop
	if !l.follower.CompareAndSwap(nil, p) {
		stop()
		return nil, errors.New("ledger: the journal has a projection already; close it first")
	}
	go p.run(run)
	return p, nil
}

// register shows how far the index is, and what it had to read to come there.
func (p *Projection) register(registerer prometheus.Registerer) error {
	lag := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "lianfen_ledger_projection_lag_records", Help: "Durable journal records that are not yet in the index of statements and searches.",
	}, func() float64 {
		durable := p.ledger.Durable()
		return float64(durable - min(p.AsOf(), durable))
	})
	reread := prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "lianfen_ledger_projection_read_records_total", Help: "Journal records that were read for the index of statements and searches, as they had not been handed over.",
	}, func() float64 { return float64(p.reread.Load()) })
	for _, figure := range []prometheus.Collector{lag, reread} {
		if err := registerer.Register(figure); err != nil {
			return fmt.Errorf("ledger: register metrics: %w", err)
		}
	}
	return nil
}

// Advanced returns the last durable position and a channel that is closed once
// there is a later one.
func (l *Ledger) Advanced() (points.Position, <-chan struct{}) {
	mark := &l.durableMark
	mark.Lock()
	defer mark.Unlock()
	return points.Position(mark.Position), mark.advanced
}

// AsOf is the position up to which the index is complete.
func (p *Projection) AsOf() points.Position { return points.Position(p.position.Load()) }

// Err is the fault that stopped the projection, nil while it has not.
func (p *Projection) Err() error {
	select {
	case <-p.ended:
		return p.fault
	default:
		return nil
	}
}

// Close ends the goroutine and waits for it.
func (p *Projection) Close() {
	p.stop()
	<-p.ended
}

// Rebuild drops the index and returns; it is then made again from the first
// record on. [Projection.AsOf] tells how far it is.
func (p *Projection) Rebuild(ctx context.Context) error {
	dropped := make(chan error, 1)
	select {
	case p.rebuilds <- dropped:
		return <-dropped
	case <-p.ended:
		return errors.Join(ErrClosed, p.fault)
	case <-ctx.Done():
		return fmt.Errorf("ledger: waiting for the projection: %w", ctx.Err())
	}
}

// resume reads the head of the last shelf and holds it against the journal.
func (p *Projection) resume() error {
	l := p.ledger
	if err := l.enter(); err != nil {
		return err
	}
	defer l.readers.Done()
	number, value, ok, err := indexHead(l.store)
	if err != nil || !ok {
		return err
	}
	mark, date, bits, ok := decodeHead(value)
	if !ok || bits != p.bits {
		p.log.Info("the index has another form and is made again")
		return p.drop()
	}
	if ok, err = endsBlock(l.store, mark, l.Durable()); err != nil {
		return err
	}
	if !ok {
		p.log.Warn("the index is not of this journal and is made again", slog.Uint64("index", mark.Position), slog.Uint64("journal", uint64(l.Durable())))
		return p.drop()
	}
	p.mark, p.date, p.next = mark, date, number+1
	p.position.Store(mark.Position)
	return nil
}

// indexHead reads how far the index in a store has come. An index of an older form
// may have its head elsewhere; then what is found does not decode. There is none where
// there is no key.
func indexHead(s *store.Store) (number uint32, value []byte, ok bool, err error) {
	_, value, ok, err = s.AtOrBefore(nil, store.Index, bytes.Repeat([]byte{0xff}, 1+len(points.CardToken{})))
	if err != nil || !ok {
		return 0, nil, false, err
	}
	last, _, ok, err := s.AtOrBefore(nil, store.Index, []byte{shelfKey, 0xff, 0xff, 0xff, 0xff, 0xff})
	if err != nil {
		return 0, nil, false, err
	}
	if !ok || last[0] != shelfKey || len(last) < shelfHeadSize {
		return 0, value, true, nil // Keys, and no shelf.
	}
	value, _, err = s.Get(nil, store.Index, append(last[:shelfHeadSize-1:shelfHeadSize-1], headKey))
	return binary.BigEndian.Uint32(last[1:]), value, true, err
}

// shelfHeadSize is how long the keys of a shelf are as far as they have the same
// parts: b, the shelf, the kind.
const shelfHeadSize = 6

// endsBlock reports whether mark is the end of one of the journal's blocks, and not
// behind end.
func endsBlock(s *store.Store, mark store.Mark, end points.Position) (bool, error) {
	if mark.Position == 0 || mark.Position > uint64(end) {
		return false, nil
	}
	key, value, ok, err := s.AtOrBefore(nil, store.Journal, blockKey(points.Position(mark.Position)))
	if err != nil || !ok {
		return false, err
	}
	b, err := proveBlock(key, value)
	if err != nil {
		return false, err
	}
	return b.agrees(mark, "index") == nil && uint64(b.last()) == mark.Position, nil
}

// drop removes every key, the mark too. No query reads meanwhile.
func (p *Projection) drop() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drops.Add(1)
	if err := p.ledger.store.Clear(store.Index); err != nil {
		return fmt.Errorf("ledger: drop the index: %w", err)
	}
	p.filing.Lock()
	defer p.filing.Unlock()
	p.shelves, p.full, p.behind = shelves{bits: p.bits}, nil, true
	p.advance()
	return nil
}

// run is the goroutine: it stores shelves that are full, and reads from the journal
// what was not handed over, until it is told to stop. A journal that cannot be read
// ends it, and queries tell; whether the ledger goes on serving then is not decided
// here.
func (p *Projection) run(ctx context.Context) {
	defer close(p.ended)
	defer p.ledger.follower.CompareAndSwap(p, nil)
	for {
		err := p.whileOpen(func() error { return p.work(ctx) })
		if ctx.Err() != nil || errors.Is(err, ErrClosed) {
			return
		}
		if err != nil {
			p.fault = fmt.Errorf("ledger: the index stops at position %d: %w", p.AsOf(), err)
			p.log.Error("statements and searches stop", slog.String("error", p.fault.Error()))
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-p.stir:
		case dropped := <-p.rebuilds:
			dropped <- p.whileOpen(p.drop)
		}
	}
}

// whileOpen keeps the store open during do.
func (p *Projection) whileOpen(do func() error) error {
	if err := p.ledger.enter(); err != nil {
		return err
	}
	defer p.ledger.readers.Done()
	return do()
}

// work does what there is to do.
func (p *Projection) work(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := p.putAway(ctx); err != nil {
			return err
		}
		p.filing.Lock()
		behind, from := p.behind, p.mark.Position+1
		p.behind = false // Whoever is refused from here on sets it again.
		p.filing.Unlock()
		if !behind {
			return nil
		}
		if err := p.catchUp(ctx, points.Position(from)); err != nil {
			return err
		}
	}
	return nil
}

// catchUp takes in the journal's durable blocks from position from on, up to where
// they begin to be handed over.
func (p *Projection) catchUp(ctx context.Context, from points.Position) error {
	var rec book.Record
	next, end := from, p.ledger.Durable()
	if next > end {
		return nil
	}
	err := blocks(ctx, p.ledger.store, from, func(b *block) error {
		if b.last() > end {
			return errEnough
		}
		g := &p.read
		g.begin(p.bits, b.first)
		if err := b.visit(&rec, func(rec *book.Record) error {
			g.add(&rec.Command, &rec.Outcome)
			return nil
		}); err != nil {
			return err
		}
		g.mark = store.Mark{Position: uint64(b.last()), Hash: b.hash}
		p.reread.Add(uint64(b.count)) //nolint:gosec // above zero.
		if err := p.putAway(ctx); err != nil {
			return err
		}
		next = b.last() + 1
		if !p.take(g) {
			return errEnough // It has been handed over in the meantime.
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	if next == from && ctx.Err() == nil {
		return damaged(from, "the journal has no block there, but is durable up to %d", end)
	}
	return nil
}

// take files what a durable block is about, unless it is not the next one: one that
// was skipped is read from the journal. It does not wait for anything.
func (p *Projection) take(g *gathering) bool {
	p.filing.Lock()
	defer p.filing.Unlock()
	filed := p.mark.Position
	if g.mark.Position <= filed {
		return false
	}
	if g.first != filed+1 || len(p.full) >= fullShelves {
		p.behind = true
		p.rouse()
		return false
	}
	p.file(g, func(full shelf) {
		p.full = append(p.full, full)
		p.rouse()
	})
	p.advance()
	return true
}

// rouse tells the goroutine that there is work.
func (p *Projection) rouse() {
	select {
	case p.stir <- struct{}{}:
	default: // It has been told.
	}
}

// putAway stores the shelves that are full. Each is a table by itself, which no other
// one overlaps. What stands on no shelf is another one: mostly there is none.
func (p *Projection) putAway(ctx context.Context) error {
	for {
		p.filing.Lock()
		if len(p.full) == 0 {
			p.filing.Unlock()
			return nil
		}
		full := p.full[0]
		p.filing.Unlock()
		shelved, others := full.pairs(p.bits)
		if err := p.ledger.store.Ingest(ctx, shelved, others); err != nil {
			return fmt.Errorf("ledger: index up to position %d: %w", full.last, err)
		}
		p.filing.Lock()
		p.full = slices.Delete(p.full, 0, 1)
		p.filing.Unlock()
	}
}

// inMemory is the shelf as it is now, if it is not in the store.
func (p *Projection) inMemory(number uint32) (shelf, bool) {
	p.filing.Lock()
	defer p.filing.Unlock()
	if p.open.last != 0 && p.open.number == number {
		return p.open, true
	}
	if i := slices.IndexFunc(p.full, func(s shelf) bool { return s.number == number }); i >= 0 {
		return p.full[i], true
	}
	return shelf{}, false
}

// unstored are the shelves that are in memory, from the last one on.
func (p *Projection) unstored() []shelf {
	p.filing.Lock()
	defer p.filing.Unlock()
	shelves := append(slices.Clone(p.full), p.open)
	slices.Reverse(shelves)
	return shelves
}

// advance tells everybody how far the index has come.
func (p *Projection) advance() {
	p.waiting.Lock()
	defer p.waiting.Unlock()
	p.position.Store(p.mark.Position)
	close(p.moved)
	p.moved = make(chan struct{})
}

// reach waits until what is durable now is in the index, so that who has an answer
// finds it there. It does not wait for an index that is further behind than one
// shelf, or that has stopped: then the answer says how far it goes.
func (p *Projection) reach(ctx context.Context) {
	target := p.ledger.Durable()
	for {
		p.waiting.Lock()
		moved := p.moved
		p.waiting.Unlock()
		at := p.AsOf()
		if at >= target || uint64(target-at) > 1<<p.bits {
			return
		}
		select {
		case <-moved:
		case <-p.ended:
			return
		case <-ctx.Done():
			return
		}
	}
}

// indexForm is of the keys and values that this program writes and reads.
const indexForm = 2

// headSize is the length of a head.
const headSize = 2 + 8 + hashSize + 4

func encodeHead(mark store.Mark, date points.BusinessDate, bits uint8) []byte {
	return binary.BigEndian.AppendUint32(append([]byte{indexForm, bits}, encodeMark(mark)...), uint32(date))
}

func decodeHead(value []byte) (mark store.Mark, date points.BusinessDate, bits uint8, ok bool) {
	if len(value) != headSize || value[0] != indexForm || value[1] < 1 || value[1] > whereBits {
		return store.Mark{}, 0, 0, false
	}
	mark, ok = decodeMark(value[2 : 2+8+hashSize])
	return mark, points.BusinessDate(binary.BigEndian.Uint32(value[2+8+hashSize:])), value[1], ok
}
