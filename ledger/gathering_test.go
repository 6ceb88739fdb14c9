package ledger

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// Pairs come out in the order of their keys, each key once with its least value,
// whatever their keys have in common.
func TestGatheringSorts(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var g gathering
		alike := random.IntN(12)
		common := make([]byte, alike)
		least := make(map[string]byte)
		for range random.IntN(60) {
			rest := make([]byte, random.IntN(30))
			for i := range rest {
				rest[i] = byte(random.IntN(2)) // Long common beginnings, and the same key again.
			}
			value := byte(1 + random.IntN(3))
			g.put([]byte{value}, common, rest)
			key := string(g.pairs[len(g.pairs)-1].Key)
			if old, ok := least[key]; !ok || value < old {
				least[key] = value
			}
		}
		sorted := g.sorted(1 + alike)
		require.Len(t, sorted, len(least))
		for i, pair := range sorted {
			require.Equal(t, []byte{least[string(pair.Key)]}, pair.Value)
			require.True(t, i == 0 || bytes.Compare(sorted[i-1].Key, pair.Key) < 0)
		}
	}
}
