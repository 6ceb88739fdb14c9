package store_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/store"
)

// What was not synced is gone after a power cut, or is there as far as it was written;
// what was synced is there.
func TestDiskLosesPower(t *testing.T) {
	t.Parallel()
	disk := store.NewDisk()
	require.NoError(t, store.Create(disk.On("data")))
	s, err := store.Open(disk.On("data"))
	require.NoError(t, err)
	write := func(key byte) *store.Batch {
		batch, err := s.Start(store.Journal, []byte{key}, []byte("value"))
		require.NoError(t, err)
		return batch
	}
	require.NoError(t, write(1).Wait())
	held := disk.Hold()
	select {
	case <-held:
		require.FailNow(t, "nothing waits yet")
	default:
	}
	second := write(2)
	<-held
	for _, test := range []struct{ kept bool }{{false}, {true}} {
		left, err := store.Open(disk.PowerCut(test.kept).On("data"))
		require.NoError(t, err)
		_, first, err := left.Get(nil, store.Journal, []byte{1})
		require.NoError(t, err)
		require.True(t, first)
		_, also, err := left.Get(nil, store.Journal, []byte{2})
		require.NoError(t, err)
		require.Equal(t, test.kept, also)
		require.NoError(t, left.Close())
	}
	disk.Release()
	require.NoError(t, second.Wait())
	require.NoError(t, write(3).Wait(), "nothing is held any more")
	require.NoError(t, s.Close())
}
