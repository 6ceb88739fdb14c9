package ledger

import (
	"context"
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

// Options of a ledger. A zero bound means its default.
type Options struct {
	Store *store.Store // opened by the caller, closed by [Ledger.Close]

	Accounts           int           // accounts kept in memory; 0: all
	Queue              int           // commands that may wait; 65,536
	GroupMax           int           // commands in one group; 4,096
	GroupsInFlight     int           // groups applied and not yet durable; 4
	CheckpointEvery    int           // records between two checkpoints; 1,000,000
	CheckpointInterval time.Duration // and the longest time between them; 1 minute

	// Genesis is the first business date of an empty store, and the time of the
	// journal's first record. It is not looked at when there is a journal.
	Genesis   points.BusinessDate
	GenesisAt points.Timestamp
	// TraceDays is how many business dates keep their keys from the genesis on.
	TraceDays uint8

	// Progress hears about recovery: records replayed so far, and of how many.
	Progress   func(done, total uint64)
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Defaults of [Options].
const (
	DefaultQueue              = 65_536
	DefaultGroupMax           = 4_096
	DefaultGroupsInFlight     = 2
	DefaultCheckpointEvery    = 1_000_000
	DefaultCheckpointInterval = time.Minute

	anchorInterval = 100 * time.Millisecond
)

// Errors.
var (
	// ErrClosed says that the ledger takes no more commands.
	ErrClosed = errors.New("ledger: closed")
	// ErrFailed says that the ledger has stopped at a fault; what was not
	// answered may or may not have happened, and a restart will tell.
	ErrFailed = errors.New("ledger: stopped at a fault")
	// ErrBehindAnchor says that the journal ends before the place up to which it
	// was acknowledged: commits were lost.
	ErrBehindAnchor = errors.New("ledger: acknowledged records are missing")
)

// group is what is applied together, written as one block and synced once.
type group struct {
	items    []item
	outcomes []book.Outcome // of items, their slices used again
	first    points.Position
	last     points.Position // first-1: the group wrote nothing
	size     int             // of its block, in bytes
	hash     hash
	batch    *store.Batch // nil: the group wrote nothing
	began    time.Time
}

// Ledger is an open ledger. It is safe for concurrent use.
type Ledger struct {
	opts    Options
	log     *slog.Logger
	store   *store.Store
	anchor  *store.Anchor
	metrics *metrics

	mu      sync.Mutex // guards queue, closing, shut, and what is added to seen
	queue   queue
	closing bool
	shut    bool           // no reader comes in any more
	readers sync.WaitGroup // who read beside the writer; Close waits for them
	wake    chan struct{}  // capacity 1: something waits, or the ledger closes

	// Of the applying goroutine.
	book       *book.Book
	current    *indexed // the block being built; it is not in the store yet
	written    []byte   // the block that was built last, as it was written
	recent     recent
	past       past
	position   points.Position
	chain      hash
	checked    points.Position // the blocks from the one that holds it on have proved their hash
	checkpoint checkpointing
	single     int // entities that the book has asked the store for one by one

	free       chan *group
	committing chan *group
	afterGroup atomic.Pointer[func()]
	sealed     chan sealedCheckpoint // to the checkpointing goroutine
	ended      chan error            // and back

	seen  seen          // keys that were handed over
	floor atomic.Uint64 // position from which on the book remembers keys

	follower atomic.Pointer[Projection] // is handed what blocks are about

	durable     atomic.Uint64
	durableMark struct {
		sync.Mutex
		store.Mark
		advanced chan struct{} // closed and replaced when it grows
	}

	failOnce sync.Once
	failed   chan struct{}
	fault    error // set before failed is closed
	closed   chan struct{}
	wait     sync.WaitGroup
	anchored sync.WaitGroup
}

// Open recovers the journal in opts.Store and starts the ledger. An empty store
// begins with a record that opens the first business date. After an error the
// store is still the caller's to close.
//
// Errors: [ErrBehindAnchor], [store.ErrNoAnchor] and [*DamageError] mean that an
// operator has to act; docs/operations.md says how.
func Open(ctx context.Context, opts Options) (*Ledger, error) {
	opts = opts.complete()
	l := &Ledger{
		opts: opts, log: opts.Log, store: opts.Store, queue: queue{ring: make([]item, opts.Queue)},
		wake:       make(chan struct{}, 1),
		free:       make(chan *group, opts.GroupsInFlight+1),
		committing: make(chan *group, opts.GroupsInFlight+1),
		sealed:     make(chan sealedCheckpoint, 1),
		ended:      make(chan error, 1),
		failed:     make(chan struct{}),
		closed:     make(chan struct{}),
	}
	l.durableMark.advanced = make(chan struct{})
	for range cap(l.free) {
		l.free <- &group{}
	}
	var err error
	if l.metrics, err = newMetrics(opts.Registerer, l); err != nil {
		return nil, err
	}
	if err := l.recover(ctx); err != nil {
		l.metrics.unregister()
		return nil, errors.Join(err, l.closeAnchor())
	}
	empty := l.position == 0
	l.start()
	if empty {
		if err := l.genesis(ctx); err != nil {
			return nil, errors.Join(err, l.stop(context.WithoutCancel(ctx)), l.closeAnchor())
		}
	}
	return l, nil
}

func (o Options) complete() Options {
	for _, bound := range []struct {
		value    *int
		standard int
	}{
		{&o.Queue, DefaultQueue},
		{&o.GroupMax, DefaultGroupMax},
		{&o.GroupsInFlight, DefaultGroupsInFlight},
		{&o.CheckpointEvery, DefaultCheckpointEvery},
	} {
		if *bound.value <= 0 {
			*bound.value = bound.standard
		}
	}
	if o.CheckpointInterval <= 0 {
		o.CheckpointInterval = DefaultCheckpointInterval
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Progress == nil {
		o.Progress = func(uint64, uint64) {}
	}
	return o
}

func (l *Ledger) start() {
	l.wait.Go(l.apply)
	l.wait.Go(l.commit)
	l.wait.Go(l.putAway)
	l.anchored.Go(l.keepAnchor)
}

func (l *Ledger) genesis(ctx context.Context) error {
	if !l.opts.Genesis.Valid() {
		return fmt.Errorf("ledger: an empty store needs a first business date, not %v", l.opts.Genesis)
	}
	out, err := l.Do(ctx, &book.Command{Kind: book.KindCutOver, Edition: book.Edition, At: l.opts.GenesisAt, Date: l.opts.Genesis, TraceDays: l.opts.TraceDays})
	if err != nil {
		return fmt.Errorf("ledger: write the first record: %w", err)
	}
	if !out.Reason.Approved() {
		return fmt.Errorf("ledger: the first record is refused: %v", out.Reason)
	}
	return nil
}

// Durable is the last position that is on disk.
func (l *Ledger) Durable() points.Position { return points.Position(l.durable.Load()) }

// Failed is closed when the ledger has stopped at a fault; see [Ledger.Err].
func (l *Ledger) Failed() <-chan struct{} { return l.failed }

// halted reports whether the ledger has stopped at a fault.
func (l *Ledger) halted() bool {
	select {
	case <-l.failed:
		return true
	default:
		return false
	}
}

// Err is the fault that stopped the ledger, nil while it has not.
func (l *Ledger) Err() error {
	if !l.halted() {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrFailed, l.fault)
}

// fail stops the ledger. Nobody is answered from here on.
func (l *Ledger) fail(err error) {
	l.failOnce.Do(func() {
		l.fault = err
		close(l.failed)
		l.log.Error("ledger stops at a fault; restart to recover", slog.String("error", err.Error()))
	})
}

// Close takes no more commands, carries out and answers those that wait, writes
// a checkpoint and the anchor, waits for readers to leave, and closes the store.
// It must not be called from done or from a look. When ctx ends first it returns
// ctx's error with the store left open: the process should exit, and the next
// start recovers.
func (l *Ledger) Close(ctx context.Context) error {
	if err := l.stop(ctx); err != nil {
		return err
	}
	return errors.Join(l.Err(), l.closeAnchor(), l.store.Close())
}

// stop ends the goroutines, and waits for them and for the readers.
func (l *Ledger) stop(ctx context.Context) error {
	l.mu.Lock()
	if l.closing {
		l.mu.Unlock()
		return ErrClosed
	}
	l.closing = true
	l.mu.Unlock()
	l.rouse()
	finished := make(chan struct{})
	go func() {
		l.wait.Wait()
		close(l.closed)
		l.anchored.Wait()
		l.mu.Lock()
		l.shut = true
		l.mu.Unlock()
		l.readers.Wait()
		l.metrics.unregister()
		close(finished)
	}()
	select {
	case <-finished:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("ledger: closing: %w", ctx.Err())
	}
}

func (l *Ledger) closeAnchor() error {
	if l.anchor == nil {
		return nil
	}
	return l.anchor.Close()
}
