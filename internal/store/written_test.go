package store

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// What is counted by owner is all that Pebble has written to tables, and stands under
// who owns it.
func TestTablesAreCountedByOwner(t *testing.T) {
	opts := Options{Dir: "data", FS: vfs.NewMem(), BlockCacheMB: 1}
	require.NoError(t, Create(opts))
	s, err := Open(opts)
	require.NoError(t, err)
	for n := range uint64(40) {
		batch, err := s.Start(Journal, binary.BigEndian.AppendUint64(nil, n), make([]byte, 5_000))
		require.NoError(t, errors.Join(err, batch.Wait()))
		if n%10 == 9 {
			require.NoError(t, s.db.Flush())
		}
		require.NoError(t, s.Ingest(context.Background(),
			[]Pair{{Key: []byte("ib" + string(rune('a'+n))), Value: make([]byte, 100)}},                           // Beside each other.
			[]Pair{{Key: []byte("sa"), Value: make([]byte, 1_000+n)}, {Key: []byte("t"), Value: []byte{byte(n)}}}, // Over each other.
		))
	}
	require.NoError(t, s.db.Compact(context.Background(), []byte("a"), []byte("zz"), false))
	batch, err := s.Start(KeyCheck, nil, []byte("check"))
	require.NoError(t, errors.Join(err, batch.Wait()))
	batch, err = s.Start(State, []byte("z"), []byte("beside it"))
	require.NoError(t, errors.Join(err, batch.Wait()))
	require.NoError(t, s.db.Flush())
	sum := func(way int) (sum uint64) {
		for owner := range ofCount {
			sum += s.written.bytes[way][owner].Load()
		}
		return sum
	}
	require.Eventually(t, func() bool { // Events come behind what they are of.
		m := s.db.Metrics() // Its total of flushes has the log and ingested tables in it.
		total := m.Total()
		return sum(byFlush) == m.Levels[0].TableBytesFlushed && sum(byCompaction) == total.TableBytesCompacted && sum(byIngest) == total.TableBytesIngested
	}, time.Minute, time.Millisecond)
	for _, at := range [][2]int{{byFlush, ofJournal}, {byFlush, ofMixed}, {byIngest, ofIndex}, {byIngest, ofState}} {
		require.Positive(t, s.written.bytes[at[0]][at[1]].Load(), "%s of %s", waysNamed[at[0]], ownersNamed[at[1]])
	}
	require.Zero(t, s.written.bytes[byFlush][ofIndex].Load())
	require.NoError(t, s.Close())
}
