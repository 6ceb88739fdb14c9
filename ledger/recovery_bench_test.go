package ledger_test

import (
	"context"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

var (
	recoveryRecords    = flag.Uint64("recovery-records", 200_000, "BenchmarkRecovery: records behind the last checkpoint")
	recoveryRemembered = flag.Uint64("recovery-remembered", 0, "BenchmarkRecovery: requests before the last checkpoint whose keys are remembered")
	recoveryStore      = flag.String("recovery-store", "", "BenchmarkRecovery: folder in which the killed store is kept for the next run")
)

// BenchmarkRecovery is a start after kill -9: the store's opening, the keys that are
// remembered and the records behind the last checkpoint. Set it beside its flags; a
// CPU profile of it is split by the label "stage" (go tool pprof -tags).
func BenchmarkRecovery(b *testing.B) {
	killed := *recoveryStore
	if killed == "" {
		killed = filepath.Join(b.TempDir(), "killed")
	}
	if _, err := os.Stat(killed); err != nil {
		leaveTail(b, killed)
	}
	b.ResetTimer()
	var opening, recovering, cpu time.Duration
	for range b.N {
		b.StopTimer()
		dir := filepath.Join(b.TempDir(), "again")
		copyStore(b, killed, dir)
		b.StartTimer()
		began, spent := time.Now(), processorTime(b)
		s, err := store.Open(store.Options{Dir: dir, BlockCacheMB: 256})
		require.NoError(b, err)
		opened := time.Now()
		l, err := ledger.Open(context.Background(), ledger.Options{Store: s, CheckpointEvery: 1 << 40, CheckpointInterval: time.Hour})
		require.NoError(b, err)
		opening, recovering, cpu = opening+opened.Sub(began), recovering+time.Since(opened), cpu+processorTime(b)-spent
		b.StopTimer()
		require.GreaterOrEqual(b, uint64(l.Durable()), *recoveryRecords)
		require.NoError(b, l.Close(context.Background()))
		require.NoError(b, os.RemoveAll(dir))
		b.StartTimer()
	}
	records := float64(b.N) * float64(*recoveryRecords+*recoveryRemembered)
	b.ReportMetric(records/(opening+recovering).Seconds(), "records/s")
	b.ReportMetric(records/recovering.Seconds(), "records/s-opened")
	b.ReportMetric(float64(cpu.Nanoseconds())/records, "cpu-ns/record")
	b.ReportMetric(float64(opening.Milliseconds())/float64(b.N), "store-ms")
}

// leaveTail writes the store of a ledger that was killed: -bench-accounts members,
// -recovery-remembered requests, a checkpoint, -recovery-records requests.
func leaveTail(b *testing.B, killed string) {
	b.Helper()
	h := &house{tb: b, fs: vfs.Default, opts: ledger.Options{Queue: 1 << 20, CheckpointEvery: 1 << 40, CheckpointInterval: time.Hour}}
	h.db.Dir, h.db.FS = filepath.Join(b.TempDir(), folder), h.fs
	h.create()
	h.furnish(1)
	fund(h, points.MemberID(*benchAccounts))
	trade(h, 0, *recoveryRemembered)
	h.close()
	h.open()
	trade(h, *recoveryRemembered, *recoveryRecords)
	copyStore(b, h.db.Dir, killed)
	h.close()
}

// trade is count requests of a day from number first on: of twenty, sixteen
// redemptions, two earns, a hold and its capture. Each tenth redemption is of more than
// there is. Up to 2,048 are open at a time.
func trade(h *house, first, count uint64) {
	h.tb.Helper()
	const open = 2048
	var all sync.WaitGroup
	slots := make(chan struct{}, open)
	for number := first; number < first+count; number++ {
		member := points.MemberID(2 + (number*7919)%(*benchAccounts-1))
		cmd := command(book.KindRedeem, int(number%8), number/8, member, 1)
		switch number % 20 {
		case 3, 13:
			cmd.Kind = book.KindEarn
		case 7:
			cmd.Amount = 1_000_000_000
		case 8:
			cmd.Kind = book.KindHold
		case 16: // The terminal's message before the last one.
			cmd.Kind, cmd.OriginalKey = book.KindCapture, key(int(number%8), number/8-1)
			cmd.Card = card(points.MemberID(2 + ((number-8)*7919)%(*benchAccounts-1)))
			cmd.Final = true
		}
		slots <- struct{}{}
		all.Add(1)
		h.ledger.Submit(&cmd, func(*book.Outcome) { <-slots; all.Done() })
	}
	all.Wait()
}

// copyStore copies a store's folder as it is; tables, which never change, are shared.
func copyStore(tb testing.TB, from, to string) {
	tb.Helper()
	require.NoError(tb, filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rest, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rest)
		if entry.IsDir() {
			return os.MkdirAll(target, 0o700)
		}
		if filepath.Ext(path) == ".sst" {
			return os.Link(path, target)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, content, 0o600)
	}))
}

// processorTime is what the process has used.
func processorTime(tb testing.TB) time.Duration {
	tb.Helper()
	var used syscall.Rusage
	require.NoError(tb, syscall.Getrusage(syscall.RUSAGE_SELF, &used))
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
