package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/store"
)

func options(fs vfs.FS) store.Options {
	return store.Options{Dir: "data", FS: fs, BlockCacheMB: 1}
}

func open(t *testing.T, fs vfs.FS) *store.Store {
	t.Helper()
	s, err := store.Open(options(fs))
	require.NoError(t, err)
	return s
}

func create(t *testing.T, fs vfs.FS) *store.Store {
	t.Helper()
	require.NoError(t, store.Create(options(fs)))
	return open(t, fs)
}

func put(t *testing.T, s *store.Store, prefix store.Prefix, key, value string) {
	t.Helper()
	b, err := s.Start(prefix, []byte(key), []byte(value))
	require.NoError(t, err)
	require.NoError(t, b.Wait())
}

func get(t *testing.T, s *store.Store, prefix store.Prefix, key string) string {
	t.Helper()
	value, ok, err := s.Get(nil, prefix, []byte(key))
	require.NoError(t, err)
	if !ok {
		return "none"
	}
	return string(value)
}

// all is what lies under prefix from start on.
func all(t *testing.T, s *store.Store, prefix store.Prefix, start string) (pairs []string) {
	t.Helper()
	require.NoError(t, s.Scan(context.Background(), prefix, []byte(start), func(key, value []byte) (bool, error) {
		pairs = append(pairs, string(key)+"="+string(value))
		return true, nil
	}))
	return pairs
}

// A store is created once, and opened only where one was created; on the
// machine's own file system as in memory.
func TestCreateAndOpen(t *testing.T) {
	for name, opts := range map[string]store.Options{"disk": {Dir: path.Join(t.TempDir(), "data")}, "memory": options(vfs.NewMem())} {
		t.Run(name, func(t *testing.T) {
			_, err := store.Open(opts)
			require.ErrorIs(t, err, store.ErrNotFound)
			require.NoError(t, store.Create(opts))
			require.ErrorIs(t, store.Create(opts), store.ErrExists)
			s, err := store.Open(opts)
			require.NoError(t, err)
			put(t, s, store.Journal, "a", "1")
			require.NoError(t, s.Close())
			s, err = store.Open(opts)
			require.NoError(t, err)
			require.Equal(t, "1", get(t, s, store.Journal, "a"))
			require.Equal(t, "none", get(t, s, store.State, "a"))
			require.NoError(t, s.Close())
		})
	}
}

// A crash anywhere in Create leaves no store, which can be created again, or a
// whole one.
func TestCrashInCreate(t *testing.T) {
	whole, none := 0, 0
	for seed := range uint64(400) {
		rng := rand.New(rand.NewPCG(seed, 1))
		disk := vfs.NewCrashableMem()
		var left *vfs.MemFS
		countdown := int(seed)%100 + 1
		fs := errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && op.Kind != errorfs.OpReuseForWrite {
				if countdown--; countdown == 0 {
					left = disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
				}
			}
			return nil
		}))
		require.NoError(t, store.Create(options(fs)))
		over := left == nil
		if over {
			left = disk.CrashClone(vfs.CrashCloneCfg{})
		}
		s, err := store.Open(options(left))
		if !over && errors.Is(err, store.ErrNotFound) {
			none++
			s = create(t, left)
		} else {
			require.NoError(t, err, "seed %d", seed)
			whole++
		}
		a, err := s.Anchor()
		require.NoError(t, err, "seed %d", seed)
		require.Equal(t, store.Mark{}, a.Mark())
		require.NoError(t, errors.Join(a.Close(), s.Close()))
	}
	require.Positive(t, none)
	require.Positive(t, whole)
}

// Batches that were waited for survive a crash, and of those that were not, the
// first ones do: never one without those before it.
func TestBatchesBecomeDurableInOrder(t *testing.T) {
	partly := 0
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 2))
		disk := vfs.NewCrashableMem()
		s := create(t, disk)
		const batches = 40
		waited := rng.IntN(batches)
		started := make([]*store.Batch, 0, batches)
		var left *vfs.MemFS
		for i := range batches {
			b, err := s.Start(store.Journal, fmt.Appendf(nil, "%04d", i), make([]byte, 1+rng.IntN(9000)))
			require.NoError(t, err)
			require.NotEqual(t, "none", get(t, s, store.Journal, fmt.Sprintf("%04d", i)), "it can be read at once")
			started = append(started, b)
			if i == waited {
				for _, b := range started {
					require.NoError(t, b.Wait())
				}
				started = started[:0]
			}
		}
		left = disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
		for _, b := range started {
			require.NoError(t, b.Wait())
		}
		require.NoError(t, s.Close())
		s = open(t, left)
		kept := all(t, s, store.Journal, "")
		require.Greater(t, len(kept), waited, "seed %d", seed)
		for i := range kept {
			require.Equal(t, fmt.Sprintf("%04d", i), kept[i][:4], "seed %d", seed)
		}
		if len(kept) < batches {
			partly++
		}
		require.NoError(t, s.Close())
	}
	require.Positive(t, partly, "no crash lost anything: nothing was proved")
}

// Ingests that go on at the same time do not get in each other's way.
func TestIngestsGoOnTogether(t *testing.T) {
	s := create(t, vfs.NewMem())
	var all sync.WaitGroup
	const writers, each = 4, 20
	faults := make(chan error, writers*each)
	for writer := range writers {
		all.Go(func() {
			for n := range each {
				key := []byte{byte(store.State), byte(writer), byte(n)}
				faults <- s.Ingest(context.Background(), []store.Pair{{Key: key, Value: key}})
			}
		})
	}
	all.Wait()
	for range writers * each {
		require.NoError(t, <-faults)
	}
	for writer := range byte(writers) {
		for n := range byte(each) {
			require.Equal(t, string([]byte{byte(store.State), writer, n}), get(t, s, store.State, string([]byte{writer, n})))
		}
	}
	require.NoError(t, s.Close())
}

// An ingest is seen whole or not at all, deletes included, also after a crash in
// the middle of it; and what came back from Ingest is there.
func TestIngestIsAtomic(t *testing.T) {
	before, after := 0, 0
	for seed := range uint64(120) {
		rng := rand.New(rand.NewPCG(seed, 3))
		disk := vfs.NewCrashableMem()
		countdown := 0
		var left *vfs.MemFS
		fs := errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
			if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && op.Kind != errorfs.OpReuseForWrite && countdown > 0 {
				if countdown--; countdown == 0 {
					left = disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
				}
			}
			return nil
		}))
		s := create(t, fs)
		ctx := context.Background()
		require.NoError(t, s.Ingest(ctx, nil))
		require.NoError(t, s.Ingest(ctx, []store.Pair{{Key: []byte("sa"), Value: []byte("1")}, {Key: []byte("sb"), Value: []byte("1")}, {Key: []byte("t"), Value: []byte("1")}}))
		countdown = 1 + int(seed%20)
		require.NoError(t, s.Ingest(ctx, []store.Pair{{Key: []byte("sa")}, {Key: []byte("sb"), Value: []byte("2")}, {Key: []byte("sc"), Value: []byte("2")}, {Key: []byte("t"), Value: []byte("2")}}))
		if left == nil {
			left = disk.CrashClone(vfs.CrashCloneCfg{})
			countdown = -1
		}
		require.NoError(t, s.Close())
		s = open(t, left)
		files, err := left.List(left.PathJoin("data", "db"))
		require.NoError(t, err)
		for _, name := range files {
			require.NotContains(t, name, "ingest", "seed %d", seed)
		}
		switch get(t, s, store.Checkpoint, "") {
		case "1":
			require.GreaterOrEqual(t, countdown, 0, "seed %d: Ingest had returned", seed)
			require.Equal(t, []string{"a=1", "b=1"}, all(t, s, store.State, ""), "seed %d", seed)
			before++
		case "2":
			require.Equal(t, []string{"b=2", "c=2"}, all(t, s, store.State, ""), "seed %d", seed)
			after++
		default:
			require.Fail(t, "the first ingest is lost", "seed %d", seed)
		}
		require.NoError(t, s.Ingest(ctx, []store.Pair{{Key: []byte("sd"), Value: []byte("3")}}), "seed %d: what a crash left behind is in the way", seed)
		require.NoError(t, s.Close())
	}
	require.Positive(t, before)
	require.Positive(t, after)
}

// Pairs out of order are refused, and nothing of them is seen.
func TestIngestRefusesDisorder(t *testing.T) {
	s := create(t, vfs.NewMem())
	require.Error(t, s.Ingest(context.Background(), []store.Pair{{Key: []byte("sb"), Value: []byte("1")}, {Key: []byte("sa"), Value: []byte("1")}}))
	require.Empty(t, all(t, s, store.State, ""))
	require.NoError(t, s.Close())
}

// A scan stays under its prefix, begins where it is told, and ends when visit
// says so or ctx does.
func TestScanBounds(t *testing.T) {
	s := create(t, vfs.NewMem())
	for _, key := range []string{"", "a", "b", "\xff\xff"} {
		put(t, s, store.Journal, key, "j")
		put(t, s, store.State, key, "s")
	}
	require.Equal(t, []string{"=j", "a=j", "b=j", "\xff\xff=j"}, all(t, s, store.Journal, ""))
	require.Equal(t, []string{"b=s", "\xff\xff=s"}, all(t, s, store.State, "aa"))
	require.Empty(t, all(t, s, store.Checkpoint, ""))
	seen := 0
	require.NoError(t, s.Scan(context.Background(), store.Journal, nil, func(_, _ []byte) (bool, error) { seen++; return seen < 2, nil }))
	require.Equal(t, 2, seen)
	stop := errors.New("stop")
	require.ErrorIs(t, s.Scan(context.Background(), store.Journal, nil, func(_, _ []byte) (bool, error) { return true, stop }), stop)
	ctx, cancel := context.WithCancel(context.Background())
	require.ErrorIs(t, s.Scan(ctx, store.Journal, nil, func(_, _ []byte) (bool, error) { cancel(); return true, nil }), context.Canceled)
	require.NoError(t, s.Close())
}

// AtOrBefore finds the key or the last one before it, under the prefix only.
func TestAtOrBefore(t *testing.T) {
	s := create(t, vfs.NewMem())
	put(t, s, store.Journal, "b", "1")
	put(t, s, store.Journal, "d", "2")
	for _, c := range []struct {
		prefix     store.Prefix
		rest       string
		key, value string
		found      bool
	}{
		{store.Journal, "a", "", "", false},
		{store.Journal, "b", "b", "1", true},
		{store.Journal, "c", "b", "1", true},
		{store.Journal, "d", "d", "2", true},
		{store.Journal, "\xff", "d", "2", true},
		{store.State, "z", "", "", false},
	} {
		key, value, ok, err := s.AtOrBefore([]byte("x"), c.prefix, []byte(c.rest))
		require.NoError(t, err)
		require.Equal(t, c.found, ok, c.rest)
		require.Equal(t, c.key, string(key))
		require.Equal(t, "x"+c.value, string(value), "the value is appended")
	}
	require.NoError(t, s.Close())
}

// ScanFrom begins at the key or the last one before it, and at the first where there is
// none, under the prefix only.
func TestScanFrom(t *testing.T) {
	s := create(t, vfs.NewMem())
	put(t, s, store.Journal, "b", "1")
	put(t, s, store.Journal, "d", "2")
	put(t, s, store.Journal+1, "a", "3")
	for start, want := range map[string]string{"a": "bd", "b": "bd", "c": "bd", "d": "d", "\xff": "d"} {
		got := ""
		require.NoError(t, s.ScanFrom(context.Background(), store.Journal, []byte(start), func(rest, _ []byte) (bool, error) {
			got += string(rest)
			return true, nil
		}))
		require.Equal(t, want, got, "from %q", start)
	}
	require.NoError(t, s.Close())
}

// A backup holds what was started before it, opens as a store of its own once an
// operator has given it an anchor, and does not change with its original.
func TestBackupOpens(t *testing.T) {
	fs := vfs.NewMem()
	s := create(t, fs)
	put(t, s, store.Journal, "a", "1")
	require.NoError(t, s.Ingest(context.Background(), []store.Pair{{Key: []byte("sk"), Value: []byte("v")}}))
	require.NoError(t, s.Backup("backup"))
	put(t, s, store.Journal, "b", "2")
	require.NoError(t, s.Close())
	opts := options(fs)
	opts.Dir = "backup"
	b, err := store.Open(opts)
	require.NoError(t, err)
	require.Equal(t, []string{"a=1"}, all(t, b, store.Journal, ""))
	require.Equal(t, []string{"k=v"}, all(t, b, store.State, ""))
	_, err = b.Anchor()
	require.ErrorIs(t, err, store.ErrNoAnchor)
	require.NoError(t, b.ResetAnchor(store.Mark{Position: 7}))
	a, err := b.Anchor()
	require.NoError(t, err)
	require.EqualValues(t, 7, a.Mark().Position)
	require.NoError(t, errors.Join(a.Close(), b.Close()))
}

// Read-only opening changes nothing and refuses to write.
func TestReadOnly(t *testing.T) {
	fs := vfs.NewMem()
	s := create(t, fs)
	put(t, s, store.Journal, "a", "1")
	require.NoError(t, s.Close())
	opts := options(fs)
	opts.ReadOnly = true
	s, err := store.Open(opts)
	require.NoError(t, err)
	require.Equal(t, "1", get(t, s, store.Journal, "a"))
	_, err = s.Start(store.Journal, []byte("b"), nil)
	require.Error(t, err)
	a, err := s.Anchor()
	require.NoError(t, err)
	require.Error(t, a.Set(store.Mark{Position: 1}))
	require.NoError(t, errors.Join(a.Close(), s.Close()))
}

// Metrics are registered with the store and go with it.
func TestMetricsComeAndGo(t *testing.T) {
	opts := options(vfs.NewMem())
	opts.Registerer = prometheus.NewRegistry()
	require.NoError(t, store.Create(opts))
	for range 2 {
		s, err := store.Open(opts)
		require.NoError(t, err)
		families, err := opts.Registerer.(*prometheus.Registry).Gather()
		require.NoError(t, err)
		require.Len(t, families, 5)
		require.NoError(t, s.Close())
	}
}

// The anchor keeps what was set last; a torn write of the newest slot leaves the
// one before, and both torn is no anchor.
func TestAnchorSlots(t *testing.T) {
	fs := vfs.NewMem()
	s := create(t, fs)
	reopened := func() (store.Mark, error) {
		a, err := s.Anchor()
		if err != nil {
			return store.Mark{}, err
		}
		return a.Mark(), a.Close()
	}
	for i := uint64(1); i <= 5; i++ {
		a, err := s.Anchor()
		require.NoError(t, err)
		require.NoError(t, a.Set(store.Mark{Position: i, Hash: [32]byte{byte(i)}}))
		require.Equal(t, i, a.Mark().Position)
		require.NoError(t, a.Close())
		mark, err := reopened()
		require.NoError(t, err)
		require.Equal(t, store.Mark{Position: i, Hash: [32]byte{byte(i)}}, mark)
	}
	// Created as turn 1, so the fifth mark is turn 6 and stands in the second slot.
	const first, second = 0, 4096
	for i := range 64 {
		restore := flip(t, fs, second+i)
		mark, err := reopened()
		require.NoError(t, err)
		require.EqualValues(t, 4, mark.Position, "byte %d of the newest slot", i)
		restore()
	}
	restore := flip(t, fs, second)
	flip(t, fs, first+20)
	_, err := reopened()
	require.ErrorIs(t, err, store.ErrNoAnchor)
	restore()
	mark, err := reopened()
	require.NoError(t, err)
	require.EqualValues(t, 5, mark.Position)
	require.NoError(t, s.Close())
}

// flip changes one byte of the anchor and returns what changes it back.
func flip(t *testing.T, fs vfs.FS, at int) (back func()) {
	t.Helper()
	change := func() {
		file, err := fs.OpenReadWrite("data/anchor", vfs.WriteCategoryUnspecified)
		require.NoError(t, err)
		buf := make([]byte, 1)
		_, err = file.ReadAt(buf, int64(at))
		require.NoError(t, err)
		buf[0] ^= 0x20
		_, err = file.WriteAt(buf, int64(at))
		require.NoError(t, err)
		require.NoError(t, file.Close())
	}
	change()
	return change
}

// A crash while the anchor is set or reset leaves the old mark or the new one.
func TestAnchorSurvivesACrash(t *testing.T) {
	for _, reset := range []bool{false, true} {
		var seen []uint64
		for seed := range uint64(60) {
			rng := rand.New(rand.NewPCG(seed, 4))
			disk := vfs.NewCrashableMem()
			var left *vfs.MemFS
			countdown := 0
			fs := errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
				if op.Kind.ReadOrWrite() == errorfs.OpIsWrite && countdown > 0 {
					if countdown--; countdown == 0 {
						left = disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
					}
				}
				return nil
			}))
			s := create(t, fs)
			a, err := s.Anchor()
			require.NoError(t, err)
			require.NoError(t, a.Set(store.Mark{Position: 41}))
			countdown = 1 + int(seed%6)
			if reset {
				require.NoError(t, s.ResetAnchor(store.Mark{Position: 42}))
			} else {
				require.NoError(t, a.Set(store.Mark{Position: 42}))
			}
			countdown = 0
			require.NoError(t, errors.Join(a.Close(), s.Close()))
			if left == nil {
				left = disk.CrashClone(vfs.CrashCloneCfg{})
			}
			s = open(t, left)
			a, err = s.Anchor()
			require.NoError(t, err, "seed %d", seed)
			require.Contains(t, []uint64{41, 42}, a.Mark().Position, "seed %d", seed)
			seen = append(seen, a.Mark().Position)
			require.NoError(t, errors.Join(a.Close(), s.Close()))
		}
		require.True(t, slices.Contains(seen, 41) && slices.Contains(seen, 42), "reset %t: %v", reset, seen)
	}
}

// A volatile store begins as the one on disk and leaves it as it was.
func TestVolatile(t *testing.T) {
	opts := store.Options{Dir: filepath.Join(t.TempDir(), "store"), BlockCacheMB: 1}
	require.NoError(t, store.Create(opts))
	write := func(opts store.Options, key, value string) *store.Store {
		s, err := store.Open(opts)
		require.NoError(t, err)
		batch, err := s.Start(store.Journal, []byte(key), []byte(value))
		require.NoError(t, err)
		require.NoError(t, batch.Wait())
		return s
	}
	require.NoError(t, write(opts, "a", "first").Close())
	volatile := opts
	volatile.Volatile = true
	memory := write(volatile, "b", "second")
	for key, want := range map[string]string{"a": "first", "b": "second"} {
		value, ok, err := memory.Get(nil, store.Journal, []byte(key))
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, want, string(value))
	}
	disk, err := store.Open(opts) // The copy does not hold its lock.
	require.NoError(t, err)
	_, ok, err := disk.Get(nil, store.Journal, []byte("b"))
	require.NoError(t, err)
	require.False(t, ok)
	require.NoError(t, errors.Join(disk.Close(), memory.Close()))
}

// The baseline keeps what it is told, and takes no key twice.
func TestBaseline(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "baseline")
	b, err := store.OpenBaseline(dir)
	require.NoError(t, err)
	require.NoError(t, b.Transfer(1, 2, 3))
	require.NoError(t, b.Transfer(1, 2, 4))
	require.ErrorContains(t, b.Transfer(1, 2, 3), "key 3 is known")
	require.NoError(t, b.Close())
	_, err = store.OpenBaseline(dir)
	require.Error(t, err, "an old one is measured as if it were new")
}

// A rotten byte in a table is an error of the read that meets it, and ends nothing
// else.
func TestRottenTablesFailTheirReaders(t *testing.T) {
	fs := vfs.NewMem()
	s := create(t, fs)
	pairs := make([]store.Pair, 5_000)
	for i := range pairs {
		key := fmt.Sprintf("s%06d", i)
		pairs[i] = store.Pair{Key: []byte(key), Value: []byte(key + key)}
	}
	require.NoError(t, s.Ingest(context.Background(), pairs))
	require.NoError(t, s.Close())
	names, err := fs.List("data/db")
	require.NoError(t, err)
	rotten := 0
	for _, name := range names {
		if path.Ext(name) != ".sst" {
			continue
		}
		file, err := fs.Open(path.Join("data/db", name))
		require.NoError(t, err)
		info, err := file.Stat()
		require.NoError(t, err)
		content := make([]byte, info.Size())
		_, err = file.ReadAt(content, 0)
		require.NoError(t, err)
		require.NoError(t, file.Close())
		if len(content) < 10_000 {
			continue
		}
		content[len(content)/3] ^= 1
		file, err = fs.Create(path.Join("data/db", name), vfs.WriteCategoryUnspecified)
		require.NoError(t, err)
		_, err = file.Write(content)
		require.NoError(t, err)
		require.NoError(t, file.Close())
		rotten++
	}
	require.Equal(t, 1, rotten)
	opts := options(fs)
	opts.Exit = func(int) { require.Fail(t, "the process would end") }
	s, err = store.Open(opts)
	require.NoError(t, err)
	err = s.Scan(context.Background(), store.State, nil, func(_, _ []byte) (bool, error) { return true, nil })
	require.ErrorIs(t, err, store.ErrCorrupt)
	require.NoError(t, s.Close())
}
