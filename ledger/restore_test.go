package ledger_test

import (
	"context"
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// restored makes a new store of from's journal.
func restored(t *testing.T, from *store.Store, until ledger.Until) (*house, store.Mark, error) {
	t.Helper()
	h := &house{tb: t, db: store.Options{Dir: "restored", FS: vfs.NewMem(), BlockCacheMB: 1}}
	require.NoError(t, store.Create(h.db))
	to, err := store.Open(h.db)
	require.NoError(t, err)
	mark, err := ledger.Restore(context.Background(), from, to, until, noProgress)
	require.NoError(t, to.Close())
	return h, mark, err
}

// digestOf is the digest and position of the book of a ledger.
func digestOf(t *testing.T, l *ledger.Ledger) (digest [32]byte, position points.Position) {
	t.Helper()
	require.NoError(t, l.View(context.Background(), func(b *book.Book) error {
		digest, position = b.Digest(), b.Position()
		return nil
	}))
	return digest, position
}

// A restored journal is the same chain, and gives the same state; it goes on from
// there.
func TestRestoreGivesTheSameLedger(t *testing.T) {
	s := tell(t)
	want, end := digestOf(t, s.ledger)
	db := s.copied(t, func(*store.Store) {})
	archive, err := ledger.OpenArchive(db)
	require.NoError(t, err)
	h, mark, err := restored(t, db, ledger.Until{})
	require.NoError(t, err)
	require.Equal(t, archive.End(), mark)
	held, err := store.Open(h.db)
	require.NoError(t, err)
	anchor, err := held.Anchor()
	require.NoError(t, err)
	require.Equal(t, mark, anchor.Mark())
	require.NoError(t, errors.Join(anchor.Close(), held.Close()))
	h.open()
	digest, position := digestOf(t, h.ledger)
	require.Equal(t, end, position)
	require.Equal(t, want, digest)
	h.must(command(book.KindRedeem, 0, 300, 1, 1))
	h.close()
	s.close()
}

// A bound cuts the journal exactly, within a block too: what was before it is as
// it was at that moment, what was behind it never happened.
func TestRestoreUpToABound(t *testing.T) {
	fs := vfs.NewCrashableMem()
	h := build(t, fs, ledger.Options{})
	h.furnish(3)
	h.enrol(10, 40) // Many records to a block.
	digests := map[points.Position][32]byte{}
	for i := range 5 {
		h.must(command(book.KindRedeem, 0, uint64(1+i), 1, 10))
		digest, position := digestOf(t, h.ledger)
		digests[position] = digest
	}
	db := (&tale{house: h, fs: fs}).copied(t, func(*store.Store) {})
	archive, err := ledger.OpenArchive(db)
	require.NoError(t, err)
	for until := points.Position(1); until <= archive.Durable(); until++ {
		rec, err := archive.Record(until)
		require.NoError(t, err)
		for _, bound := range []ledger.Until{{Position: until}, {Time: rec.Outcome.Posted}} {
			again, mark, err := restored(t, db, bound)
			require.NoError(t, err)
			require.Equal(t, uint64(until), mark.Position)
			if digest, known := digests[until]; known {
				again.open()
				got, _ := digestOf(t, again.ledger)
				require.Equal(t, digest, got)
				again.close()
			}
		}
	}
	for name, bound := range map[string]ledger.Until{"behind the end": {Position: archive.Durable() + 1}, "before the first": {Time: 1}} {
		_, _, err := restored(t, db, bound)
		require.Equal(t, points.UnknownOriginal, points.ReasonOf(err), name)
	}
	h.close()
}

// What lies behind the bound may be damaged; what lies before it may not, and an
// end that is missing is only accepted by who names another.
func TestRestoreFromADamagedSource(t *testing.T) {
	s := tell(t)
	defer s.close()
	key := func(p points.Position) []byte { return []byte{0, 0, 0, 0, 0, 0, 0, byte(p)} }
	gone := s.copied(t, func(db *store.Store) {
		require.NoError(t, db.ResetAnchor(endOf(t, db)))
		remove(t, db, key(s.last))
	})
	_, _, err := restored(t, gone, ledger.Until{})
	require.ErrorIs(t, err, ledger.ErrBehindAnchor)
	_, mark, err := restored(t, gone, ledger.Until{Position: s.cutOver})
	require.NoError(t, err)
	require.Equal(t, uint64(s.cutOver), mark.Position)

	rotten := s.copied(t, func(db *store.Store) {
		value, _, err := db.Get(nil, store.Journal, key(s.later))
		require.NoError(t, err)
		value[len(value)/2] ^= 0x10
		ledger.Overwrite(t, db, store.Journal, key(s.later), value)
	})
	_, _, err = restored(t, rotten, ledger.Until{Position: s.last})
	damage := new(ledger.DamageError)
	require.ErrorAs(t, err, &damage)
	require.Equal(t, s.later, damage.Position)
	_, _, err = restored(t, rotten, ledger.Until{Position: s.later - 1})
	require.NoError(t, err)
}

// Restore writes into an empty store only.
func TestRestoreRefusesAStoreWithRecords(t *testing.T) {
	s := tell(t)
	from := s.copied(t, func(*store.Store) {})
	opts := s.db
	opts.FS = s.fs.CrashClone(vfs.CrashCloneCfg{})
	s.close()
	to, err := store.Open(opts)
	require.NoError(t, err)
	_, err = ledger.Restore(context.Background(), from, to, ledger.Until{}, noProgress)
	require.ErrorContains(t, err, "has records")
	require.NoError(t, to.Close())
}

// A backup made while the ledger trades reaches what was answered before it, and
// proves whole.
func TestBackupWhileTrading(t *testing.T) {
	fs := vfs.NewMem()
	h := build(t, fs, ledger.Options{CheckpointEvery: 300})
	h.furnish(members)
	n := newNight(1, 3)
	stop, enough := make(chan struct{}), make(chan struct{}, 1)
	count := 0
	tellers := n.work(h, 8, stop, func() {
		if count++; count == 1500 {
			enough <- struct{}{}
		}
	})
	<-enough
	told := h.ledger.Durable()
	mark, err := h.ledger.Backup("backup")
	require.NoError(t, err)
	require.GreaterOrEqual(t, mark.Position, uint64(told))
	close(stop)
	tellers.Wait()
	db, err := store.Open(store.Options{Dir: "backup", FS: fs, BlockCacheMB: 1})
	require.NoError(t, err)
	end, err := ledger.End(db)
	require.NoError(t, err)
	require.GreaterOrEqual(t, end.Position, mark.Position)
	require.NoError(t, db.ResetAnchor(end))
	report, err := ledger.VerifyStore(context.Background(), db, noProgress)
	require.NoError(t, err)
	require.Equal(t, end.Position, uint64(report.Position))
	require.NotZero(t, report.Checkpoint)
	require.NoError(t, db.Close())
	h.close()
}

// A restored store still knows the card key that its cards are under.
func TestRestoreKeepsTheKeyCheck(t *testing.T) {
	s := tell(t)
	check := []byte{1, 2, 3}
	db := s.copied(t, func(copied *store.Store) {
		require.NoError(t, copied.Ingest(context.Background(), []store.Pair{{Key: []byte{byte(store.KeyCheck)}, Value: check}}))
	})
	h, _, err := restored(t, db, ledger.Until{})
	require.NoError(t, err)
	to, err := store.Open(h.db)
	require.NoError(t, err)
	got, ok, err := to.Get(nil, store.KeyCheck, nil)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, check, got)
	require.NoError(t, to.Close())
	s.close()
}
