package ledger_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"path"
	"slices"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// stored is a journal block as it lies in the store.
type stored struct{ key, value []byte }

// blocks reads the journal of a house that is closed.
func (h *house) blocks() (blocks []stored) {
	h.tb.Helper()
	h.inStore(func(s *store.Store) {
		require.NoError(h.tb, s.Scan(context.Background(), store.Journal, nil, func(key, value []byte) (bool, error) {
			blocks = append(blocks, stored{slices.Clone(key), slices.Clone(value)})
			return true, nil
		}))
	})
	return blocks
}

// write puts a block into the journal of a house that is closed; one without a
// value is taken out.
func (h *house) write(b stored) {
	h.tb.Helper()
	h.inStore(func(s *store.Store) {
		require.NoError(h.tb, s.Ingest(context.Background(), []store.Pair{{Key: append([]byte{byte(store.Journal)}, b.key...), Value: b.value}}))
	})
}

func (h *house) inStore(use func(*store.Store)) {
	h.tb.Helper()
	s, err := store.Open(h.db)
	require.NoError(h.tb, err)
	use(s)
	require.NoError(h.tb, s.Close())
}

// sealed is b with another hash of the block before and a right seal.
func (b stored) sealed(prev byte) stored {
	body := slices.Clone(b.value[:len(b.value)-sha256.Size])
	body[1] ^= prev
	seal := sha256.Sum256(append(slices.Clone(b.key), body...))
	return stored{b.key, append(body, seal[:]...)}
}

func (b stored) first() points.Position {
	return points.Position(b.key[6])<<8 | points.Position(b.key[7])
}

// small is a closed house with a journal of some dozen blocks and a checkpoint at
// its end.
func small(t *testing.T, opts ledger.Options) *house {
	h := build(t, vfs.NewMem(), opts)
	h.furnish(3)
	h.close()
	return h
}

// crashed is the same without a checkpoint, its anchor where it was at first.
func crashed(t *testing.T) *house {
	disk := vfs.NewCrashableMem()
	h := build(t, disk, ledger.Options{})
	h.furnish(3)
	left := h.at(disk.CrashClone(vfs.CrashCloneCfg{}))
	h.close()
	return left
}

// J3: damage of any block that recovery relies on is refused with the position,
// with and without a checkpoint behind it.
func TestRecoveryRefusesADamagedJournal(t *testing.T) {
	for name, h := range map[string]*house{"behind a checkpoint": small(t, ledger.Options{}), "without": crashed(t)} {
		t.Run(name, func(t *testing.T) {
			h.tb = t
			all := h.blocks()
			require.Greater(t, len(all), 15)
			for i, b := range all {
				rotten := stored{b.key, slices.Clone(b.value)}
				rotten.value[(i*37)%len(b.value)] ^= 0x10
				changes := map[string]stored{"a flipped bit": rotten, "a broken chain": b.sealed(1)}
				if i < len(all)-1 { // The last one's loss is the anchor's to see.
					changes["a missing block"] = stored{b.key, nil}
				}
				for what, change := range changes {
					h.write(change)
					err := h.tryOpen()
					var damage *ledger.DamageError
					require.ErrorAs(t, err, &damage, "%s at %d", what, b.first())
					require.GreaterOrEqual(t, damage.Position, b.first(), what)
					require.LessOrEqual(t, damage.Position, b.first()+2, what)
					h.write(b)
				}
			}
			h.open()
			h.close()
		})
	}
}

// The block that recovery begins with has to follow the one before it: here the
// keys of old dates are forgotten, so that it begins at the checkpoint.
func TestRecoveryChecksTheChainWhereItBegins(t *testing.T) {
	h := small(t, ledger.Options{})
	h.open()
	for day := genesis + 1; day < genesis+4; day++ {
		h.must(book.Command{Kind: book.KindCutOver, Date: day, At: noon})
	}
	h.close()
	all := h.blocks()
	last := len(all) - 1
	floor := last - 1 // Two dates keep their keys.
	for i := range all {
		h.write(all[i].sealed(1))
		err := h.tryOpen()
		if i < floor-1 {
			require.NoError(t, err, "block %d of %d is not needed to serve", i, last)
			// What serving does not need, Verify and a reader still find.
			_, err = h.ledger.Verify(context.Background(), func(uint64, uint64) {})
			require.Error(t, err)
			require.Error(t, h.ledger.Scan(context.Background(), 1, all[last].first(), func(*book.Record) error { return nil }))
			h.close()
		} else {
			require.Error(t, err, "block %d of %d", i, last)
		}
		h.write(all[i])
	}
	h.open()
	h.close()
}

// A record of a block that recovery had no reason to read is not believed when
// the block is rotten: the command that needs it stops the ledger.
func TestOldRottenRecordIsNotBelieved(t *testing.T) {
	h := small(t, ledger.Options{Accounts: 1})
	h.open()
	sale := h.must(command(book.KindRedeem, 1, 500, 1, 40))
	for day := genesis + 1; day < genesis+4; day++ {
		h.must(book.Command{Kind: book.KindCutOver, Date: day, At: noon})
	}
	h.close()
	for _, b := range h.blocks() {
		if b.first() == sale.Position {
			b.value[len(b.value)-40] ^= 1
			h.write(b)
		}
	}
	h.open()
	_, err := h.ledger.Record(sale.Position)
	var damage *ledger.DamageError
	require.ErrorAs(t, err, &damage)
	require.Equal(t, sale.Position, damage.Position)
	refund := command(book.KindRefund, 1, 501, 1, 40)
	refund.Original = sale.Position
	_, err = h.ledger.Do(context.Background(), &refund)
	require.ErrorIs(t, err, ledger.ErrFailed)
	require.ErrorAs(t, err, &damage)
	require.ErrorIs(t, h.ledger.Close(context.Background()), ledger.ErrFailed)
}

// anchor opens the anchor of a house that is closed.
func (h *house) anchor(use func(*store.Store, *store.Anchor)) {
	h.tb.Helper()
	h.inStore(func(s *store.Store) {
		a, err := s.Anchor()
		require.NoError(h.tb, err)
		use(s, a)
		require.NoError(h.tb, a.Close())
	})
}

// The anchor says how far the journal was acknowledged: a journal that ends
// before, or that is another one there, is refused; so is a store without one.
func TestAnchorHoldsTheEndOfTheJournal(t *testing.T) {
	h := small(t, ledger.Options{})
	var end store.Mark
	h.anchor(func(_ *store.Store, a *store.Anchor) { end = a.Mark() })
	all := h.blocks()
	last := all[len(all)-1]
	require.EqualValues(t, last.first(), end.Position, "a clean stop notes the end")

	set := func(mark store.Mark) {
		h.anchor(func(_ *store.Store, a *store.Anchor) { require.NoError(t, a.Set(mark)) })
	}
	set(store.Mark{Position: end.Position + 1, Hash: end.Hash})
	require.ErrorIs(t, h.tryOpen(), ledger.ErrBehindAnchor)

	set(store.Mark{Position: end.Position, Hash: [32]byte{1}})
	require.ErrorContains(t, h.tryOpen(), "the anchor notes")

	set(store.Mark{Position: end.Position - 4, Hash: end.Hash})
	require.ErrorContains(t, h.tryOpen(), "the anchor notes")

	set(end)
	h.open()
	h.close()

	// Acknowledged blocks that vanish without a checkpoint behind them: the
	// checkpoint's mark or the anchor sees it.
	h.write(stored{last.key, nil})
	require.Error(t, h.tryOpen())
	h.write(last)

	require.NoError(t, h.fs.Remove(path.Join(folder, "anchor")))
	require.ErrorIs(t, h.tryOpen(), store.ErrNoAnchor)
	h.inStore(func(s *store.Store) { require.NoError(t, s.ResetAnchor(end)) })
	h.open()
	h.close()
}

// A journal without a checkpoint that has lost its end, or everything, is
// refused because of the anchor.
func TestAnchorSeesALostEnd(t *testing.T) {
	lost := crashed(t)
	lost.open()
	end := lost.ledger.Durable()
	lost.close()
	lost = crashed(t)
	lost.inStore(func(s *store.Store) {
		a, err := s.Anchor()
		require.NoError(t, err)
		require.NoError(t, a.Set(store.Mark{Position: uint64(end)}))
		require.NoError(t, a.Close())
	})
	all := lost.blocks()
	for _, block := range slices.Backward(all) {
		lost.write(stored{block.key, nil})
		require.ErrorIs(t, lost.tryOpen(), ledger.ErrBehindAnchor)
	}
	lost.inStore(func(s *store.Store) { require.NoError(t, s.ResetAnchor(store.Mark{})) })
	lost.open() // An operator has said that it begins anew.
	require.Equal(t, points.Position(1), lost.ledger.Durable())
	lost.close()
}

// A rotten byte in any file of a store is refused, or harmless: what was
// acknowledged is never missing from a ledger that opens and verifies.
func TestRottenFileIsNeverASilentLoss(t *testing.T) {
	t.Parallel()
	for name, clean := range map[string]bool{"after a clean stop": true, "after a crash": false} {
		disk := vfs.NewCrashableMem()
		h := build(t, disk, ledger.Options{})
		h.furnish(2)
		end := h.ledger.Durable()
		digest := h.verify().Digest
		left := disk.CrashClone(vfs.CrashCloneCfg{})
		h.close()
		if clean {
			left = disk
		} else {
			// The anchor of a running ledger lags 100 ms; here it has caught up.
			other := h.at(left.CrashClone(vfs.CrashCloneCfg{}))
			all := other.blocks()
			last := all[len(all)-1].value
			other.inStore(func(s *store.Store) {
				require.NoError(t, s.ResetAnchor(store.Mark{Position: uint64(end), Hash: [32]byte(last[len(last)-sha256.Size:])}))
			})
			overwrite(t, left, path.Join(folder, "anchor"), contents(t, other.fs, path.Join(folder, "anchor")))
		}
		refused, harmless := 0, 0
		for _, at := range rottenPlaces(t, left) {
			rotten := left.CrashClone(vfs.CrashCloneCfg{})
			at.rot(t, rotten)
			report, err := h.at(rotten).believe()
			if err != nil {
				refused++
				continue
			}
			harmless++
			require.Equal(t, end, report.Position, "%s: %v: acknowledged records are missing", name, at)
			require.Equal(t, digest, report.Digest, "%s: %v", name, at)
		}
		t.Logf("%s: %d rotten bytes refused, %d harmless", name, refused, harmless)
		require.Positive(t, refused)
	}
}

var errExit = errors.New("the process has ended itself")

// believe opens a store as a process would and verifies it; an exit of that
// process is an error.
func (h *house) believe() (ledger.Report, error) {
	exits := make(chan struct{})
	var once sync.Once
	h.db.Exit = func(int) {
		once.Do(func() { close(exits) })
		select {} // A process that has ended goes no further.
	}
	type result struct {
		report ledger.Report
		err    error
	}
	results := make(chan result, 1)
	go func() {
		if err := h.tryOpen(); err != nil {
			results <- result{err: err}
			return
		}
		report, err := h.ledger.Verify(context.Background(), func(uint64, uint64) {})
		results <- result{report, errors.Join(err, h.ledger.Close(context.Background()))}
	}()
	select {
	case r := <-results:
		return r.report, r.err
	case <-exits:
		return ledger.Report{}, errExit
	}
}

// place is one byte of a file.
type place struct {
	file string
	at   int
}

// rottenPlaces spreads over all files of a store.
func rottenPlaces(t *testing.T, fs vfs.FS) (places []place) {
	t.Helper()
	perFile := int(seeds(t, 40))
	for _, dir := range []string{folder, path.Join(folder, "db")} {
		names, err := fs.List(dir)
		require.NoError(t, err)
		slices.Sort(names)
		for _, name := range names {
			file := path.Join(dir, name)
			info, err := fs.Stat(file)
			require.NoError(t, err)
			if info.IsDir() {
				continue
			}
			size := int(info.Size())
			for i := 0; i < size; i += max(1, size/perFile) {
				places = append(places, place{file, i})
			}
		}
	}
	return places
}

func (p place) rot(t *testing.T, fs vfs.FS) {
	t.Helper()
	data := contents(t, fs, p.file)
	data[p.at] ^= 0x40
	overwrite(t, fs, p.file, data)
}

func contents(t *testing.T, fs vfs.FS, name string) []byte {
	t.Helper()
	file, err := fs.Open(name)
	require.NoError(t, err)
	data, err := io.ReadAll(file)
	require.NoError(t, err)
	require.NoError(t, file.Close())
	return data
}

func overwrite(t *testing.T, fs vfs.FS, name string, data []byte) {
	t.Helper()
	file, err := fs.Create(name, vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	_, err = file.Write(data)
	require.NoError(t, err)
	require.NoError(t, file.Sync())
	require.NoError(t, file.Close())
	dir, err := fs.OpenDir(path.Dir(name))
	require.NoError(t, err)
	require.NoError(t, dir.Sync())
	require.NoError(t, dir.Close())
}
