package ledger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// Projection is the index of the durable journal: which records are about a
// member, a card, a terminal's message, a business date. It follows the journal
// on a goroutine of its own and may lag behind it; every answer says up to which
// position it is complete. It can be dropped and made again at any time, since
// everything in it is told by the journal.
//
// # Keys
//
// All stand under [store.Index]; numbers are big-endian. A shelf is the records of
// 2^ShelfBits positions.
//
//	b  shelf, 4 | c  token, 16 | position, 8                records that name the card
//	b  shelf, 4 | h                                         how far the index had come: ShelfBits, 1 | position, 8 | hash of the block, 32 | business date, 4
//	b  shelf, 4 | k | position, 8                           records that closed a batch
//	b  shelf, 4 | m  member, 8 | position, 8                records about the member: 1 its points moved, 2 they did not
//	b  shelf, 4 | t  terminal, 8 | STAN, 4 | position, 8    records of the terminal's message
//	d  date, 4     first position of the business date, 8
//	o  token, 16   member that the card belongs to, 8
//
// Without shelves every write would fall among all the keys there are, and the
// store would write them all again and again; so what is full is left alone, and a
// query goes from shelf to shelf.
//
// # Writing
//
// Under light traffic the keys of some records are put down through the store's
// log, at most Pace after those records are durable. When records come faster than
// that is good for, the projection waits until a shelf is full, or until somebody
// asks, sorts its keys and has them taken in as one table: a tenth of the work and
// of the bytes. The mark h that counts them is written with them, on the shelf that
// was filled last. A crash can lose the last writes, and they are made again. A mark
// that is not one of the journal's blocks, as after the restore of an older journal,
// makes the projection begin anew.
type Projection struct {
	ledger *Ledger
	log    *slog.Logger
	opts   ProjectionOptions

	position atomic.Uint64 // of the mark, for everybody else
	mu       sync.RWMutex  // held by queries for reading, while all keys are dropped for writing
	drops    atomic.Uint64 // how many times all keys were dropped
	moved    chan struct{} // closed and replaced when position has changed; guarded by waiting
	waiting  sync.Mutex
	hurry    chan struct{} // capacity 1: somebody waits for what is durable
	rebuilds chan chan error
	stop     context.CancelFunc
	ended    chan struct{} // closed when the goroutine has ended
	fault    error         // set before ended is closed

	// Of the goroutine.
	mark   store.Mark
	marked points.BusinessDate // of the mark
	filed  uint64              // position up to which keys are put down: the mark's, or some more of the next block
	keys   indexer
}

// ProjectionOptions of a projection. A zero bound means its default.
type ProjectionOptions struct {
	// Batch is how many records are put down one by one at a time; 1,000. The
	// records of one block stay together.
	Batch int
	// Pace is the time between two writes; 100 ms. The projection waits fifty times
	// as long for a shelf to fill.
	Pace time.Duration
	// ShelfBits is the number of positions on one shelf as a power of two, 1 to 32;
	// 17. An index with other shelves is made again.
	ShelfBits  uint8
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Defaults of [ProjectionOptions]. A batch is small enough for the writer's next
// block not to wait noticeably behind its keys.
const (
	DefaultProjectionBatch = 1_000
	DefaultProjectionPace  = 100 * time.Millisecond
	DefaultShelfBits       = 17
)

// Kinds of keys; see [Projection].
const (
	shelfKey    = 'b'
	headKey     = 'h'
	cardKey     = 'c'
	dateKey     = 'd'
	closeKey    = 'k'
	memberKey   = 'm'
	ownerKey    = 'o'
	terminalKey = 't'
)

// Values of keys that have nothing else to say: listed, and for a member whether
// its points moved.
const (
	listed = 1
	moved  = 1
	quiet  = 2
)

// OpenProjection begins to follow l's journal from where the index in its store
// ends, or from the first record if that cannot be trusted. [Projection.Close]
// has to come before [Ledger.Close].
func OpenProjection(ctx context.Context, l *Ledger, opts ProjectionOptions) (*Projection, error) {
	if opts.Batch <= 0 {
		opts.Batch = DefaultProjectionBatch
	}
	if opts.Pace <= 0 {
		opts.Pace = DefaultProjectionPace
	}
	if opts.ShelfBits == 0 {
		opts.ShelfBits = DefaultShelfBits
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	p := &Projection{ledger: l, log: opts.Log, opts: opts, moved: make(chan struct{}), hurry: make(chan struct{}, 1), rebuilds: make(chan chan error), ended: make(chan struct{}), keys: indexer{shelfBits: opts.ShelfBits}}
	if err := p.resume(); err != nil {
		return nil, err
	}
	if opts.Registerer != nil {
		lag := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "lianfen_ledger_projection_lag_records", Help: "Durable journal records that are not yet in the index of statements and searches.",
		}, func() float64 {
			durable := l.Durable()
			return float64(durable - min(p.AsOf(), durable))
		})
		if err := opts.Registerer.Register(lag); err != nil {
			return nil, fmt.Errorf("ledger: register metrics: %w", err)
		}
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	p.stop = stop
	go p.run(run)
	return p, nil
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

// resume reads the mark and holds it against the journal.
func (p *Projection) resume() error {
	l := p.ledger
	if err := l.enter(); err != nil {
		return err
	}
	defer l.readers.Done()
	value, ok, err := indexHead(l.store)
	if err != nil || !ok {
		return err
	}
	mark, date, shelfBits, ok := decodeHead(value)
	if ok = ok && shelfBits == p.opts.ShelfBits; ok {
		if ok, err = endsBlock(l.store, mark, l.Durable()); err != nil {
			return err
		}
	}
	if !ok {
		p.log.Warn("the index is not of this journal and is made again", slog.Uint64("index", mark.Position), slog.Uint64("journal", uint64(l.Durable())))
		return p.drop()
	}
	p.mark, p.marked, p.keys.date = mark, date, date
	p.position.Store(mark.Position)
	return nil
}

// indexHead reads how far the index has come: as the last shelf has it, and as an
// index without shelves had it.
func indexHead(s *store.Store) (value []byte, ok bool, err error) {
	last, _, ok, err := s.AtOrBefore(nil, store.Index, []byte{shelfKey, 0xff, 0xff, 0xff, 0xff, 0xff})
	if err != nil {
		return nil, false, err
	}
	if !ok || last[0] != shelfKey || len(last) < shelfHeadSize {
		return s.Get(nil, store.Index, []byte{headKey})
	}
	return s.Get(nil, store.Index, append(last[:shelfHeadSize-1:shelfHeadSize-1], headKey))
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
	b, err := readBlock(key, value)
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
	p.mark, p.marked, p.filed, p.keys.date = store.Mark{}, 0, 0, 0
	p.advance()
	return nil
}

// run is the goroutine: it takes in what has become durable until it is told to
// stop. A journal that cannot be read ends it, and queries tell; whether the
// ledger goes on serving then is not decided here.
func (p *Projection) run(ctx context.Context) {
	defer close(p.ended)
	pace := time.NewTicker(p.opts.Pace)
	defer pace.Stop()
	for waited := 0; ; {
		end, more := p.ledger.Advanced()
		var err error
		select {
		case <-ctx.Done():
			return
		case dropped := <-p.rebuilds:
			err = p.whileOpen(p.drop)
			dropped <- err
		case <-when(uint64(end) == p.mark.Position, more):
		case <-p.hurry:
			waited = 0
			end, _ = p.ledger.Advanced() // Whoever waits may have seen more than was there above.
			err = p.whileOpen(func() error { return p.catchUp(ctx, end) })
		case <-when(uint64(end) > p.mark.Position, pace.C):
			lag := uint64(end) - p.mark.Position
			if waited++; lag > uint64(p.opts.Batch) && uint64(end) <= p.shelfEnd() && waited < patience { //nolint:gosec // above zero.
				continue
			}
			waited = 0
			err = p.whileOpen(func() error { return p.catchUp(ctx, end) })
		}
		if ctx.Err() != nil || errors.Is(err, ErrClosed) {
			return
		}
		if err != nil {
			p.fault = fmt.Errorf("ledger: the index stops at position %d: %w", p.mark.Position, err)
			p.log.Error("statements and searches stop", slog.String("error", p.fault.Error()))
			return
		}
	}
}

// patience is how many times Pace the projection waits for a shelf to fill.
const patience = 50

// when is the channel c if there is reason to listen to it.
func when[T any](reason bool, c <-chan T) <-chan T {
	if reason {
		return c
	}
	return nil
}

// whileOpen keeps the store open during do.
func (p *Projection) whileOpen(do func() error) error {
	if err := p.ledger.enter(); err != nil {
		return err
	}
	defer p.ledger.readers.Done()
	return do()
}

// catchUp takes in everything up to end.
func (p *Projection) catchUp(ctx context.Context, end points.Position) error {
	for uint64(end) > p.mark.Position && ctx.Err() == nil {
		if err := p.take(ctx, end); err != nil {
			return err
		}
	}
	return nil
}

// take puts the next records, up to end, into the index: a batch; or where there
// are more, those of one shelf, which are one table then.
func (p *Projection) take(ctx context.Context, end points.Position) error {
	from, to := max(p.mark.Position, p.filed), uint64(end)
	bulk := to-p.mark.Position > uint64(p.opts.Batch) //nolint:gosec // above zero.
	if bulk {
		to = min(to, p.shelfEnd())
	}
	mark, marked, filed := p.mark, p.marked, from
	p.keys.shelved.clear()
	p.keys.others.clear()
	var rec book.Record
	err := blocks(ctx, p.ledger.store, points.Position(mark.Position)+1, func(b *block) error {
		if uint64(b.first) > to || b.last() > end {
			return errEnough
		}
		err := b.visit(&rec, func(rec *book.Record) error {
			if position := uint64(rec.Outcome.Position); position > from && position <= to {
				filed = position
				return p.keys.add(rec)
			}
			return nil
		})
		if uint64(b.last()) <= to {
			mark, marked = store.Mark{Position: uint64(b.last()), Hash: b.hash}, p.keys.date
		}
		return err
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	if filed == from {
		return damaged(points.Position(from)+1, "the journal has no block there, but is durable up to %d", end)
	}
	p.keys.shelved.put(p.encodeHead(mark, marked), shelfHead(p.keys.shelfOf(filed), headKey))
	if err := p.write(ctx, bulk); err != nil {
		return fmt.Errorf("ledger: index up to position %d: %w", filed, err)
	}
	p.mark, p.marked, p.filed = mark, marked, filed
	p.advance()
	return nil
}

// shelfEnd is the last position of the shelf that is being filled.
func (p *Projection) shelfEnd() uint64 {
	return max(p.mark.Position, p.filed) + 1 | (1<<p.opts.ShelfBits - 1)
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
		if at >= target || uint64(target-at) > 1<<p.opts.ShelfBits {
			return
		}
		select {
		case p.hurry <- struct{}{}:
		default: // It has been told.
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

// write puts down what was gathered, all at once, the mark with what is shelved. In
// bulk that is of one shelf: a table by itself, which no other one overlaps. There are
// few others, and mostly none.
func (p *Projection) write(ctx context.Context, bulk bool) error {
	if !bulk {
		return p.ledger.store.Put(append(p.keys.shelved.pairs, p.keys.others.pairs...))
	}
	return p.ledger.store.Ingest(ctx, p.keys.shelved.sorted(len("i")+shelfHeadSize-1), p.keys.others.sorted(len("i")))
}

// memberOf is the member whose points or debt an account holds.
func memberOf(key book.AccountKey) (points.MemberID, bool) {
	return points.MemberID(key.Party), key.Kind == book.MemberAccount || key.Kind == book.DebtAccount
}

func uint64Bytes(v uint64) []byte { return binary.BigEndian.AppendUint64(make([]byte, 0, 8), v) }

// headSize is the length of the mark's value: the shelf's bits, position and hash,
// the business date.
const headSize = 1 + 8 + hashSize + 4

func (p *Projection) encodeHead(mark store.Mark, date points.BusinessDate) []byte {
	return binary.BigEndian.AppendUint32(append([]byte{p.opts.ShelfBits}, encodeMark(mark)...), uint32(date))
}

func decodeHead(value []byte) (mark store.Mark, date points.BusinessDate, shelfBits uint8, ok bool) {
	if len(value) != headSize {
		return store.Mark{}, 0, 0, false
	}
	mark, ok = decodeMark(value[1 : 1+8+hashSize])
	return mark, points.BusinessDate(binary.BigEndian.Uint32(value[1+8+hashSize:])), value[0], ok
}
