package ledger_test

import (
	"context"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// seeds is how many power cuts a test goes through; LIANFEN_SEEDS asks for more.
func seeds(tb testing.TB, ordinary uint64) uint64 {
	tb.Helper()
	text := os.Getenv("LIANFEN_SEEDS")
	if text == "" {
		return ordinary
	}
	n, err := strconv.ParseUint(text, 10, 64)
	require.NoError(tb, err, "LIANFEN_SEEDS")
	return n
}

// teller asks for things at one terminal, one after the other, and remembers
// what was asked, in order.
type teller struct {
	terminal int
	rng      *rand.Rand
	asked    []book.Command
}

// next makes up the teller's next message: something new about members and about
// what was asked before, or one time in eight a repeat.
func (t *teller) next() book.Command {
	if len(t.asked) > 0 && t.rng.IntN(8) == 0 {
		return t.asked[t.rng.IntN(len(t.asked))]
	}
	kinds := []book.Kind{
		book.KindRedeem, book.KindRedeem, book.KindRedeem, book.KindEarn, book.KindHold, book.KindCapture,
		book.KindRelease, book.KindVoid, book.KindRefund, book.KindReverse, book.KindBalance,
	}
	kind := kinds[t.rng.IntN(len(kinds))]
	cmd := command(kind, t.terminal, uint64(len(t.asked)), points.MemberID(1+t.rng.IntN(members)), points.Amount(1+t.rng.IntN(900)))
	cmd.Note = note(t.rng.IntN(1000))
	switch kind {
	case book.KindCapture, book.KindRelease, book.KindVoid, book.KindRefund, book.KindReverse:
		// Of this teller's last messages: some of them fit.
		serial := uint64(max(0, len(t.asked)-1-t.rng.IntN(4)))
		cmd.OriginalKey = key(t.terminal, serial)
		if serial < uint64(len(t.asked)) {
			cmd.Card = t.asked[serial].Card
		}
		if kind == book.KindVoid || kind == book.KindReverse || kind == book.KindRelease {
			cmd.Amount = 0
		}
	case book.KindBalance:
		cmd.Amount = 0
	default:
	}
	t.asked = append(t.asked, cmd)
	return cmd
}

const members = 6

// answer is what a teller was told.
type answer struct {
	cmd book.Command
	out book.Outcome
}

// night is the trade of several tellers until the power fails.
type night struct {
	tellers []*teller

	mu       sync.Mutex // guards answered and ordered
	answered []answer
	ordered  bool // answers came in the order of the journal
	last     points.Position
}

func newNight(seed uint64, tellers int) *night {
	n := &night{ordered: true}
	for i := range tellers {
		n.tellers = append(n.tellers, &teller{terminal: i, rng: rand.New(rand.NewPCG(seed, uint64(i)))})
	}
	return n
}

// work lets the tellers ask until stop is closed, each with up to window
// questions open. heard is called after each answer, on the committing goroutine.
func (n *night) work(h *house, window int, stop <-chan struct{}, heard func()) *sync.WaitGroup {
	var tellers sync.WaitGroup
	for _, t := range n.tellers {
		tellers.Go(func() {
			open := make(chan struct{}, window)
			for {
				select {
				case <-stop:
					return
				case <-h.ledger.Failed():
					return
				case open <- struct{}{}:
				}
				cmd := t.next()
				h.ledger.Submit(&cmd, func(out *book.Outcome) {
					n.hear(cmd, out)
					heard()
					<-open
				})
			}
		})
	}
	return &tellers
}

func (n *night) hear(cmd book.Command, out *book.Outcome) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if out.Position == 0 {
		return // Nothing happened: nothing is owed after a crash.
	}
	n.answered = append(n.answered, answer{cmd, out.Clone()})
	if !out.Replayed {
		n.ordered = n.ordered && out.Position > n.last
		n.last = out.Position
	}
}

// told is what has been answered so far.
func (n *night) told() []answer {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clip(n.answered)
}

// gatedDisk is a disk that can be cloned at any moment. MemFS locks for reading
// within a lock for reading where it gives a file a new use, and a clone that
// waits between the two waits for ever: gate keeps clones out of there.
type gatedDisk struct {
	*vfs.MemFS
	gate sync.RWMutex
}

// ReuseForWrite implements vfs.FS.
func (d *gatedDisk) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	d.gate.RLock()
	defer d.gate.RUnlock()
	return d.MemFS.ReuseForWrite(oldname, newname, category)
}

func (d *gatedDisk) clone(cfg vfs.CrashCloneCfg) *gatedDisk {
	d.gate.Lock()
	defer d.gate.Unlock()
	return &gatedDisk{MemFS: d.CrashClone(cfg)}
}

// powerCut takes what the disk holds at one moment, and what was answered by then.
type powerCut struct {
	night *night
	disk  *gatedDisk
	rng   *rand.Rand
	once  sync.Once
	left  *gatedDisk
	told  []answer
	done  chan struct{}
}

func (p *powerCut) now() {
	p.once.Do(func() {
		p.told = p.night.told() // First: what is answered later may be lost.
		p.left = p.disk.clone(vfs.CrashCloneCfg{UnsyncedDataPercent: p.rng.IntN(101), RNG: p.rng})
		close(p.done)
	})
}

// A power cut at any moment, in the middle of any write, loses nothing that was
// answered (I7, I8, I9, J1 to J3).
func TestPowerCutLosesNothingThatWasAnswered(t *testing.T) {
	t.Parallel()
	var answers, unanswered, checkpoints int
	count := seeds(t, 240)
	for seed := range count {
		told, recovered, checkpoint := cutPower(t, seed)
		answers += told
		unanswered += recovered
		checkpoints += checkpoint
	}
	t.Logf("%d power cuts: %d answers kept, %d records recovered that nobody had heard of, %d cuts after a checkpoint", count, answers, unanswered, checkpoints)
	require.Positive(t, unanswered, "no cut fell between a write and its answer")
	require.Positive(t, checkpoints, "no cut fell after a checkpoint")
}

func cutPower(t *testing.T, seed uint64) (told, unanswered, checkpoints int) {
	rng := rand.New(rand.NewPCG(seed, 1<<32))
	disk := &gatedDisk{MemFS: vfs.NewCrashableMem()}
	cut := &powerCut{night: newNight(seed, 1+rng.IntN(6)), disk: disk, rng: rng, done: make(chan struct{})}
	// Either in the middle of the n-th write to the disk, or after the n-th answer.
	armed, atWrite, atAnswer := atomic.Bool{}, atomic.Int64{}, atomic.Int64{}
	if rng.IntN(3) > 0 {
		atWrite.Store(1 + rng.Int64N(120))
	} else {
		atAnswer.Store(1 + rng.Int64N(400))
	}
	fs := errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if armed.Load() && op.Kind.ReadOrWrite() == errorfs.OpIsWrite && atWrite.Add(-1) == 0 {
			cut.now()
		}
		return nil
	}))
	h := build(t, fs, ledger.Options{
		GroupMax: 1 + rng.IntN(24), GroupsInFlight: 1 + rng.IntN(4), CheckpointEvery: 20 + rng.IntN(200), Accounts: rng.IntN(2) * 4,
	})
	h.furnish(members)
	base := h.ledger.Durable()
	armed.Store(true)
	stop := make(chan struct{})
	tellers := cut.night.work(h, 1+rng.IntN(12), stop, func() {
		if atAnswer.Add(-1) == 0 {
			cut.now()
		}
	})
	<-cut.done
	close(stop)
	tellers.Wait()
	h.close()
	require.True(t, cut.night.ordered, "seed %d: answers out of the journal's order", seed)

	after := h.at(cut.left)
	require.NoError(t, after.tryOpen(), "seed %d", seed)
	require.GreaterOrEqual(t, after.ledger.Durable(), base, "seed %d", seed)
	recovered := after.ledger.Durable()
	after.holds(cut.night, cut.told, seed)
	if after.checkpoint() > 0 {
		checkpoints++
	}
	after.close()
	after.open() // From the checkpoint of the clean stop.
	after.holds(cut.night, cut.told, seed)
	after.close()
	heard := base
	for _, a := range cut.told {
		heard = max(heard, a.out.Position)
	}
	return len(cut.told), int(recovered - heard), checkpoints
}

// holds checks what must be true of a recovered journal: it is sound, what was
// answered is in it and is answered again, and it holds of each teller's
// messages the first ones, in order.
func (h *house) holds(n *night, told []answer, seed uint64) {
	h.tb.Helper()
	ctx := context.Background()
	_, err := h.ledger.Verify(ctx, func(uint64, uint64) {})
	require.NoError(h.tb, err, "seed %d", seed)

	next := make([]int, len(n.tellers))
	reversed := make(map[points.Position]bool)
	position := points.Position(0)
	require.NoError(h.tb, h.ledger.Scan(ctx, 1, h.ledger.Durable(), func(rec *book.Record) error {
		position++
		require.Equal(h.tb, position, rec.Outcome.Position, "seed %d", seed)
		if rec.Command.Kind == book.KindReverse && rec.Outcome.Reason.Approved() {
			reversed[rec.Outcome.Original] = true
		}
		for i, teller := range n.tellers {
			if rec.Command.Key == (points.TraceKey{}) || rec.Command.Terminal != terminal(i) {
				continue
			}
			require.Less(h.tb, next[i], len(teller.asked), "seed %d: nobody asked for position %d", seed, position)
			require.Equal(h.tb, teller.asked[next[i]], rec.Command, "seed %d: position %d", seed, position)
			next[i]++
		}
		return nil
	}), "seed %d", seed)
	require.Equal(h.tb, h.ledger.Durable(), position, "seed %d", seed)

	for _, a := range told {
		require.LessOrEqual(h.tb, a.out.Position, position, "seed %d: answered and lost", seed)
		rec, err := h.ledger.Record(a.out.Position)
		require.NoError(h.tb, err, "seed %d", seed)
		require.Equal(h.tb, a.cmd.Key, rec.Command.Key, "seed %d: position %d", seed, a.out.Position)
		again := h.do(a.cmd)
		if again.Reason == points.ReversedBefore && again.Position == 0 {
			require.True(h.tb, reversed[a.out.Position], "seed %d: position %d", seed, a.out.Position)
			continue
		}
		require.True(h.tb, again.Replayed, "seed %d: position %d", seed, a.out.Position)
		require.Equal(h.tb, plain(a.out), plain(again), "seed %d: position %d is answered otherwise", seed, a.out.Position)
	}
	require.Equal(h.tb, position, h.ledger.Durable(), "seed %d: a repeat was written", seed)
}
