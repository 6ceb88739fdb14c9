package settlement

import (
	"crypto/sha256"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/netting"
	"github.com/lianfen/lianfen/tariff"
)

// The input of a run is the root over the digests of each 65,536 positions: of each item its
// length in four bytes and its bytes, in the order of the journal, however many workers there are.
func TestInputIsOfChunks(t *testing.T) {
	const items = 70_000
	day, err := NewSynthetic(items, 6, 1)
	require.NoError(t, err)
	cut, err := day.Cut(0, 0)
	require.NoError(t, err)
	var chunks []tariff.Digest
	for first := points.Position(1); first <= items; first += 65_536 {
		var text []byte
		require.NoError(t, day.Entries(t.Context(), first, min(first+65_535, items), func(e *Entry) error {
			entry := appendEntry(nil, e)
			text = append(binary.BigEndian.AppendUint32(text, uint32(len(entry))), entry...)
			return nil
		}))
		chunks = append(chunks, sha256.Sum256(text))
	}
	require.Len(t, chunks, 2)
	want := netting.Root(chunks, items)
	models, err := netting.NewModels(1, []netting.Rule{{One: netting.Any, Other: netting.Any, Model: netting.MNET}})
	require.NoError(t, err)
	setting, err := day.Setting(t.Context())
	require.NoError(t, err)
	b, err := newBasis(&setting, models)
	require.NoError(t, err)
	for workers := 1; workers <= 3; workers++ {
		all, err := b.compute(t.Context(), day, cut, workers, &progress{clock: func() points.Timestamp { return 0 }})
		require.NoError(t, err)
		require.Equal(t, want, all.input)
	}
}
