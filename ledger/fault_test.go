package ledger_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

var errDisk = errors.New("the disk does not answer")

// faultyDisk fails every operation that matches, once it is broken.
type faultyDisk struct {
	*gatedDisk
	broken  atomic.Bool
	fired   atomic.Int64
	matches func(errorfs.Op) bool
	after   atomic.Int64 // how many matching operations still succeed
}

func (d *faultyDisk) MaybeError(op errorfs.Op) error {
	if !d.broken.Load() || !d.matches(op) || d.after.Add(-1) >= 0 {
		return nil
	}
	d.fired.Add(1)
	return errDisk
}

func (d *faultyDisk) String() string { return "faulty disk" }

// J1, J3: when the log or the anchor cannot be written the ledger stops, answers
// nobody any more, and a restart finds everything that was answered.
func TestFailingDiskStopsTheLedger(t *testing.T) {
	t.Parallel()
	log := func(op errorfs.Op) bool { return strings.HasSuffix(op.Path, ".log") }
	for name, matches := range map[string]func(errorfs.Op) bool{
		"write of the log": func(op errorfs.Op) bool { return log(op) && op.Kind == errorfs.OpFileWrite },
		"sync of the log": func(op errorfs.Op) bool {
			return log(op) && (op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo)
		},
		"write of the anchor": func(op errorfs.Op) bool {
			return strings.HasSuffix(op.Path, "anchor") && op.Kind == errorfs.OpFileWriteAt
		},
		"sync of the anchor": func(op errorfs.Op) bool {
			return strings.HasSuffix(op.Path, "anchor") && op.Kind == errorfs.OpFileSyncData
		},
		"table of a checkpoint": func(op errorfs.Op) bool {
			return strings.HasSuffix(op.Path, ".tmp") && op.Kind == errorfs.OpFileWrite
		},
	} {
		t.Run(name, func(t *testing.T) {
			// The anchor is written ten times a second: much trade goes by meanwhile.
			ordinary, grace := uint64(8), int64(10)
			if strings.HasSuffix(name, "anchor") {
				ordinary, grace = 2, 1
			}
			for seed := range ordinary {
				breakDisk(t, seed, grace, matches)
			}
		})
	}
}

func breakDisk(t *testing.T, seed uint64, grace int64, matches func(errorfs.Op) bool) {
	rng := rand.New(rand.NewPCG(seed, 2<<32))
	disk := &faultyDisk{gatedDisk: &gatedDisk{MemFS: vfs.NewCrashableMem()}, matches: matches}
	disk.after.Store(rng.Int64N(grace))
	h := build(t, errorfs.Wrap(disk.gatedDisk, disk), ledger.Options{GroupMax: 1 + rng.IntN(16), GroupsInFlight: 1 + rng.IntN(4), CheckpointEvery: 50})
	h.close()
	exits := make(chan int, 8)
	h.db.Exit = func(code int) {
		exits <- code
		select {} // A process that has ended goes no further.
	}
	h.open()
	h.furnish(members)
	disk.broken.Store(true)
	n := newNight(seed, 4)
	stop := make(chan struct{})
	tellers := n.work(h, 8, stop, func() {})
	select { // Whichever is noticed first; the process ends by either.
	case <-h.ledger.Failed():
		require.ErrorIs(t, h.ledger.Err(), ledger.ErrFailed)
	case code := <-exits:
		require.Equal(t, store.ExitStoreFault, code)
	case <-time.After(30 * time.Second):
		require.Fail(t, "the ledger goes on", "seed %d", seed)
	}
	require.Positive(t, disk.fired.Load(), "the fault was not injected")
	told := n.told()
	close(stop)
	left := disk.clone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
	later := h.at(left)
	later.db.Exit = nil
	require.NoError(t, later.tryOpen(), "seed %d", seed)
	later.holds(n, told, seed)
	later.close()

	select {
	case <-h.ledger.Failed():
		silent := command(book.KindRedeem, 8, 1, 1, 1)
		h.ledger.Submit(&silent, func(*book.Outcome) { t.Error("answered after the fault") })
		_, err := h.ledger.Do(context.Background(), &silent)
		require.ErrorIs(t, err, ledger.ErrFailed)
		require.ErrorIs(t, h.ledger.View(context.Background(), func(*book.Book) error { return nil }), ledger.ErrFailed)
		tellers.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		require.Error(t, h.ledger.Close(ctx)) // Its goroutines end, or hang in the process's exit.
	default:
	}
}

// holding is a ledger whose applying goroutine waits in a look at the book.
func holding(t *testing.T, opts ledger.Options) (h *house, release func()) {
	h = build(t, vfs.NewMem(), opts)
	h.furnish(2)
	begun, held := make(chan struct{}), make(chan struct{})
	var looks sync.WaitGroup
	looks.Go(func() {
		_ = h.ledger.View(context.Background(), func(*book.Book) error {
			close(begun)
			<-held
			return nil
		})
	})
	<-begun
	return h, func() { close(held); looks.Wait() }
}

// J5: a full queue refuses at once, and what it refused never happened.
func TestFullQueueRefuses(t *testing.T) {
	h, release := holding(t, ledger.Options{Queue: 8})
	before := h.ledger.Durable()
	answers := make(chan book.Outcome, 10)
	for i := range 10 {
		cmd := command(book.KindRedeem, 1, uint64(i), 1, 1)
		h.ledger.Submit(&cmd, func(out *book.Outcome) { answers <- out.Clone() })
	}
	for range 2 {
		out := <-answers
		require.Equal(t, points.Overloaded, out.Reason)
		require.Zero(t, out.Position)
	}
	require.Equal(t, 2, int(h.metric("lianfen_ledger_overloaded_total")))
	err := h.ledger.View(context.Background(), func(*book.Book) error { return nil })
	require.Equal(t, points.Overloaded, points.ReasonOf(err))
	release()
	for range 8 {
		require.Equal(t, points.Approved, (<-answers).Reason)
	}
	require.Equal(t, before+8, h.ledger.Durable())
	h.close()
}

// Closing answers what waits and refuses what comes.
func TestClosingDrains(t *testing.T) {
	h, release := holding(t, ledger.Options{})
	const waiting = 100
	answers := make(chan book.Outcome, waiting)
	for i := range waiting {
		cmd := command(book.KindRedeem, 1, uint64(i), 1, 1)
		h.ledger.Submit(&cmd, func(out *book.Outcome) { answers <- out.Clone() })
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, h.ledger.Close(ended), context.Canceled)
	require.ErrorIs(t, h.ledger.Close(context.Background()), ledger.ErrClosed)
	out := h.do(command(book.KindRedeem, 2, 0, 1, 1))
	require.Equal(t, points.Draining, out.Reason)
	require.Equal(t, points.Draining, points.ReasonOf(h.ledger.View(context.Background(), func(*book.Book) error { return nil })))
	release()
	for range waiting {
		require.Equal(t, points.Approved, (<-answers).Reason)
	}
}

// Close under load: everything taken is answered, approved or draining, and what
// was approved is there afterwards; nothing is left to replay.
func TestCloseUnderLoad(t *testing.T) {
	h := build(t, vfs.NewMem(), ledger.Options{GroupMax: 8, CheckpointEvery: 64})
	h.furnish(members)
	n := newNight(1, 6)
	stop := make(chan struct{})
	heard := make(chan struct{}, 1)
	tellers := n.work(h, 16, stop, func() {
		select {
		case heard <- struct{}{}:
		default:
		}
	})
	<-heard
	h.close()
	close(stop)
	tellers.Wait()
	_, err := h.ledger.Record(1)
	require.ErrorIs(t, err, ledger.ErrClosed)
	require.ErrorIs(t, h.ledger.Scan(context.Background(), 1, 2, func(*book.Record) error { return nil }), ledger.ErrClosed)
	h.open()
	require.Equal(t, h.ledger.Durable(), h.checkpoint())
	h.holds(n, n.told(), 1)
	h.close()
}
