package settlement_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement"
)

// goldenSteps are the steps at which a run of the golden day is killed: those after which it
// writes itself down, and the middle of either pass.
var goldenSteps = []string{"cut", "computing", "computed", "rendering", "checked", "approved", "synced", "renamed", "posted", "published"} //nolint:gochecknoglobals // never written.

// A process that is killed at any step of the golden day's run, in the ledger that it posts
// to, and again at each later one, leaves what the next one takes to the same end: the
// golden files, one posting, and nothing on the clearing accounts that had a value.
func TestGoldenDayKilledAtEveryStep(t *testing.T) {
	if folder := os.Getenv("LIANFEN_TEST_GOLDEN"); folder != "" {
		killedGolden(t, folder, os.Getenv("LIANFEN_TEST_STEP"))
		return
	}
	folder := t.TempDir()
	data := filepath.Join(folder, "data")
	clock := points.Timestamp(0)
	t.Run("told", func(t *testing.T) {
		s := takeUp(t, data)
		s.furnish()
		tellGolden(s)
		r := s.runner(filepath.Join(folder, "runs"), 1)
		s.settle(r, dayOne, 1, "01KJJQZ3A00000000000000001")
		clock = s.clock
	}) // Its ledger is closed here.
	for _, step := range append(goldenSteps, "") {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestGoldenDayKilledAtEveryStep$")
		cmd.Env = append(os.Environ(), "LIANFEN_TEST_GOLDEN="+folder, "LIANFEN_TEST_STEP="+step, fmt.Sprint("LIANFEN_TEST_CLOCK=", int64(clock)))
		out, err := cmd.CombinedOutput()
		if step == "" {
			require.NoError(t, err, string(out))
			continue
		}
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit, "%s: %s", step, out)
		require.Equal(t, syscall.SIGKILL, exit.Sys().(syscall.WaitStatus).Signal(), "%s: %s", step, out) //nolint:forcetypeassert // on Unix.
	}
	compareGolden(t, filepath.Join("testdata", "story"), tree(t, filepath.Join(folder, "runs", goldenRun)))
	require.NoDirExists(t, filepath.Join(folder, "runs", goldenRun+".tmp"))

	t.Run("taken up", func(t *testing.T) {
		s := takeUp(t, data)
		posted, last := 0, points.Position(0)
		require.NoError(t, s.ledger.View(t.Context(), func(b *book.Book) error { last = b.Position(); return nil }))
		require.NoError(t, s.ledger.Scan(t.Context(), 1, last, func(rec *book.Record) error {
			if act := rec.Command.Carried(); act.Kind == book.KindPost && act.Date == dayTwo {
				posted++
			}
			return nil
		}))
		require.Equal(t, 1, posted, "it is posted once")
		s.clearingHas(map[points.ProgramID]points.Amount{miles: 57 - 7 + 10, stars: 58, bonus: -66}) // and the next cycle's
	})
	db, err := store.Open(store.Options{Dir: data, BlockCacheMB: 1})
	require.NoError(t, err)
	_, err = ledger.VerifyStore(t.Context(), db, func(uint64, uint64) {})
	require.NoError(t, errors.Join(err, db.Close()))
}

// killedGolden is a process that takes the run of the golden day up, and dies at a step.
func killedGolden(t *testing.T, folder, at string) {
	t.Helper()
	die := func(step string) error {
		if step == at {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		return nil
	}
	s := takeUp(t, filepath.Join(folder, "data"))
	clock, err := strconv.ParseInt(os.Getenv("LIANFEN_TEST_CLOCK"), 10, 64)
	require.NoError(t, err)
	s.clock = points.Timestamp(clock)
	opts := s.options(filepath.Join(folder, "runs"), 1)
	opts.Step = die
	r, err := settlement.NewRunner(&dyingHouse{House: s.house(), die: die}, opts)
	require.NoError(t, err)
	require.NoError(t, r.Clean())
	s.settle(r, dayTwo, 1, goldenRun)
}

// dyingHouse ends the process in the middle of a pass over the items.
type dyingHouse struct {
	*settlement.House
	passes int
	die    func(string) error
}

func (h *dyingHouse) Entries(ctx context.Context, first, last points.Position, visit func(*settlement.Entry) error) error {
	h.passes++
	pass := map[int]string{1: "computing", 2: "rendering"}[h.passes]
	n := 0
	return h.House.Entries(ctx, first, last, func(e *settlement.Entry) error { //nolint:wrapcheck // a test.
		if n++; n == 20 {
			if err := h.die(pass); err != nil {
				return err
			}
		}
		return visit(e)
	})
}
