package ledger

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// opened is a block of count records from first on, not yet sealed.
func opened(x indexed, first points.Position, count, length int) indexed {
	x.first, x.offsets = first, x.offsets[:0]
	x.value = beginBlock(x.value, hash{})
	for i := range count {
		cmd := book.Command{Kind: book.KindBalance, Note: string(make([]byte, length))}
		out := book.Outcome{Reason: points.Approved, Position: first + points.Position(i)}
		x.offsets = append(x.offsets, len(x.value))
		x.value = book.AppendRecord(x.value, &cmd, &out)
	}
	return x
}

// Every record is found in the block that holds it, whether that was written
// lately or is read back, and what was let go of is not found in another's place.
func TestEveryRecordIsFound(t *testing.T) {
	opts := store.Options{Dir: "data", FS: vfs.NewMem(), BlockCacheMB: 1}
	require.NoError(t, store.Create(opts))
	s, err := store.Open(opts)
	require.NoError(t, err)
	var r recent
	end := points.Position(0)
	for n := range 800 {
		x := opened(r.blank(), end+1, 1+n%100, 900)
		value, _ := endBlock(nil, x.value, x.first, len(x.offsets))
		batch, err := s.Start(store.Journal, blockKey(x.first), value)
		require.NoError(t, err)
		require.NoError(t, batch.Wait())
		end += points.Position(1 + n%100)
		r.keep(x)
		require.LessOrEqual(t, r.bytes, recentBytes)
	}
	require.Positive(t, r.gone, "nothing was let go of")
	require.NotEmpty(t, r.spare)

	var p past
	var rec book.Record
	var young, old int
	for _, step := range []points.Position{3, 701} {
		for position := step; position <= end; position += step {
			x := r.find(position)
			if x != nil {
				young++
			} else {
				old++
				x, err = p.find(s, position, true)
				require.NoError(t, err)
			}
			require.NoError(t, x.record(position, &rec))
			require.Equal(t, position, rec.Outcome.Position)
		}
	}
	require.Positive(t, young)
	require.Positive(t, old)

	require.ErrorIs(t, r.find(end+1).record(end+1, &rec), errNoSuchRecord)
	x, err := p.find(s, end+1, true)
	require.NoError(t, err)
	require.ErrorIs(t, x.record(end+1, &rec), errNoSuchRecord)
	require.NoError(t, s.Close())
}
