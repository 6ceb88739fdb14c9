package ledger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

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
// All stand under [store.Index]; numbers are big-endian.
//
//	h                             how far it has come: position, 8 | hash of the block, 32 | business date, 4
//	c  token, 16 | position, 8    records that name the card
//	d  date, 4                    first position of the business date, 8
//	m  member, 8 | position, 8    records about the member: 1 its points moved, 2 they did not
//	o  token, 16                  member that the card belongs to, 8
//	t  terminal, 8 | STAN, 4 | position, 8    records of the terminal's message
//
// The keys of some records and the mark h that counts them are one write, made
// after those records are durable. A crash can lose the last such writes, and
// they are made again. A mark that is not one of the journal's blocks, as after
// the restore of an older journal, makes the projection begin anew.
type Projection struct {
	ledger *Ledger
	log    *slog.Logger
	batch  int

	position atomic.Uint64 // of the mark, for everybody else
	mu       sync.RWMutex  // held by queries for reading, while all keys are dropped for writing
	rebuilds chan chan error
	stop     context.CancelFunc
	ended    chan struct{} // closed when the goroutine has ended
	fault    error         // set before ended is closed

	// Of the goroutine.
	mark  store.Mark
	date  points.BusinessDate
	pairs []store.Pair
	arena []byte
}

// ProjectionOptions of a projection. A zero bound means its default.
type ProjectionOptions struct {
	// Batch is how many records are put into the index at a time; 1,000. The
	// records of one block stay together.
	Batch      int
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// DefaultProjectionBatch is small enough for the writer's next block not to wait
// noticeably behind one batch of keys.
const DefaultProjectionBatch = 1_000

// Kinds of keys; see [Projection].
const (
	headKey     = 'h'
	cardKey     = 'c'
	dateKey     = 'd'
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
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	p := &Projection{ledger: l, log: opts.Log, batch: opts.Batch, rebuilds: make(chan chan error), ended: make(chan struct{})}
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
	value, ok, err := l.store.Get(nil, store.Index, []byte{headKey})
	if err != nil || !ok {
		return err
	}
	mark, date, ok := decodeHead(value)
	if ok {
		if ok, err = l.holds(mark); err != nil {
			return err
		}
	}
	if !ok {
		p.log.Warn("the index is not of this journal and is made again", slog.Uint64("index", mark.Position), slog.Uint64("journal", uint64(l.Durable())))
		return p.drop()
	}
	p.mark, p.date = mark, date
	p.position.Store(mark.Position)
	return nil
}

// holds reports whether mark is the end of one of the journal's durable blocks.
func (l *Ledger) holds(mark store.Mark) (bool, error) {
	if mark.Position == 0 || mark.Position > uint64(l.Durable()) {
		return false, nil
	}
	key, value, ok, err := l.store.AtOrBefore(nil, store.Journal, blockKey(points.Position(mark.Position)))
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
	if err := p.ledger.store.Clear(store.Index); err != nil {
		return fmt.Errorf("ledger: drop the index: %w", err)
	}
	p.mark, p.date = store.Mark{}, 0
	p.position.Store(0)
	return nil
}

// run is the goroutine: it takes in what has become durable until it is told to
// stop. A journal that cannot be read ends it, and queries tell; whether the
// ledger goes on serving then is not decided here.
func (p *Projection) run(ctx context.Context) {
	defer close(p.ended)
	atOnce := make(chan struct{})
	close(atOnce)
	for {
		end, more := p.ledger.Advanced()
		if uint64(end) > p.mark.Position {
			more = atOnce
		}
		var err error
		select {
		case <-ctx.Done():
			return
		case dropped := <-p.rebuilds:
			err = p.whileOpen(p.drop)
			dropped <- err
		case <-more:
			err = p.whileOpen(func() error { return p.take(ctx, end) })
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

// whileOpen keeps the store open during do.
func (p *Projection) whileOpen(do func() error) error {
	if err := p.ledger.enter(); err != nil {
		return err
	}
	defer p.ledger.readers.Done()
	return do()
}

// take puts the next blocks, up to end, into the index: about as many records as
// a batch has.
func (p *Projection) take(ctx context.Context, end points.Position) error {
	mark, count := p.mark, 0
	p.pairs, p.arena = p.pairs[:0], p.arena[:0]
	var rec book.Record
	err := blocks(ctx, p.ledger.store, points.Position(mark.Position)+1, func(b *block) error {
		if b.last() > end {
			return errEnough
		}
		if err := b.visit(&rec, p.add); err != nil {
			return err
		}
		mark = store.Mark{Position: uint64(b.last()), Hash: b.hash}
		if count += b.count; count >= p.batch {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	if count == 0 {
		if uint64(end) > mark.Position {
			return damaged(points.Position(mark.Position)+1, "the journal has no block there, but is durable up to %d", end)
		}
		return nil
	}
	p.put(encodeHead(mark, p.date), headKey)
	if err := p.ledger.store.Put(p.pairs); err != nil {
		return fmt.Errorf("ledger: index up to position %d: %w", mark.Position, err)
	}
	p.mark = mark
	p.position.Store(mark.Position)
	return nil
}

// add collects the keys of one record. A key that comes twice is no harm, and
// the later value stands.
func (p *Projection) add(rec *book.Record) error {
	cmd, out := &rec.Command, &rec.Outcome
	position := uint64(out.Position)
	if out.Date != p.date {
		p.date = out.Date
		p.put(binary.BigEndian.AppendUint64(nil, position), dateKey, uint64Bytes(uint64(out.Date))[4:])
	}
	p.addCommand(cmd, position)
	for i := range cmd.Group {
		p.addCommand(&cmd.Group[i], position)
	}
	p.addMember(out.Member, position, quiet)
	var last points.MemberID
	touch := func(key book.AccountKey) {
		member, ok := memberOf(key)
		if ok && member != last {
			p.addMember(member, position, moved)
			last = member
		}
	}
	for i := range out.Postings {
		touch(out.Postings[i].Account)
	}
	for i := range out.Lots {
		touch(out.Lots[i].Account)
	}
	return nil
}

// addCommand collects the keys of what was asked: whom it names.
func (p *Projection) addCommand(cmd *book.Command, position uint64) {
	at := uint64Bytes(position)
	for _, token := range [...]points.CardToken{cmd.Card, cmd.ToCard} {
		if !token.IsZero() {
			p.put([]byte{listed}, cardKey, token[:], at)
		}
	}
	if entry := cmd.Entry.Card; entry != nil {
		p.put([]byte{listed}, cardKey, entry.Token[:], at)
		p.put(uint64Bytes(uint64(entry.Member)), ownerKey, entry.Token[:])
		p.addMember(entry.Member, position, quiet)
	}
	if entry := cmd.Entry.Member; entry != nil {
		p.addMember(entry.ID, position, quiet)
	}
	p.addMember(cmd.Member, position, quiet)
	p.addMember(cmd.ToMember, position, quiet)
	if cmd.Terminal != (points.TerminalID{}) {
		p.put([]byte{listed}, terminalKey, cmd.Terminal[:], uint64Bytes(uint64(cmd.Key.STAN))[4:], at)
	}
}

func (p *Projection) addMember(member points.MemberID, position uint64, how byte) {
	if member != 0 {
		p.put([]byte{how}, memberKey, uint64Bytes(uint64(member)), uint64Bytes(position))
	}
}

// put adds a pair to the batch. Keys share one array, which is used again for
// the next batch.
func (p *Projection) put(value []byte, kind byte, parts ...[]byte) {
	start := len(p.arena)
	p.arena = append(p.arena, byte(store.Index), kind)
	for _, part := range parts {
		p.arena = append(p.arena, part...)
	}
	middle := len(p.arena)
	p.arena = append(p.arena, value...)
	p.pairs = append(p.pairs, store.Pair{Key: p.arena[start:middle:middle], Value: p.arena[middle:len(p.arena):len(p.arena)]})
}

// memberOf is the member whose points or debt an account holds.
func memberOf(key book.AccountKey) (points.MemberID, bool) {
	return points.MemberID(key.Party), key.Kind == book.MemberAccount || key.Kind == book.DebtAccount
}

func uint64Bytes(v uint64) []byte { return binary.BigEndian.AppendUint64(make([]byte, 0, 8), v) }

func encodeHead(mark store.Mark, date points.BusinessDate) []byte {
	return binary.BigEndian.AppendUint32(encodeMark(mark), uint32(date))
}

func decodeHead(value []byte) (mark store.Mark, date points.BusinessDate, ok bool) {
	if len(value) != 8+hashSize+4 {
		return store.Mark{}, 0, false
	}
	mark, ok = decodeMark(value[:8+hashSize])
	return mark, points.BusinessDate(binary.BigEndian.Uint32(value[8+hashSize:])), ok
}
