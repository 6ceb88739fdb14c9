package ledger

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
)

// What was put down is known for as long as its position is remembered, through every
// filter that is begun meanwhile; what was not is taken for it once in fifty at most; and
// filters of which nothing is remembered are let go.
func TestSeen(t *testing.T) {
	const keys, days = 400_000, 5
	random := rand.New(rand.NewPCG(1, 2))
	var s seen
	require.False(t, s.has(random.Uint64()), "nothing yet")
	hashes := make([]uint64, 0, days*keys)
	for day := range days {
		floor := points.Position(max(0, day-1) * keys)
		for len(hashes) < (day+1)*keys {
			// Neighbours share all but three bits, as the hashes of a sender's keys do.
			for stan, first := uint64(0), random.Uint64(); stan < 8; stan++ {
				hashes = append(hashes, first^stan<<8)
				s.add(hashes[len(hashes)-1], points.Position(len(hashes)), floor)
			}
		}
		for position := int(floor) + 1; position <= len(hashes); position++ {
			if !s.has(hashes[position-1]) {
				require.Failf(t, "forgotten", "day %d: position %d, remembered from %d on", day, position, floor)
			}
		}
		wrong := 0
		for range 100_000 {
			if s.has(random.Uint64()) {
				wrong++
			}
		}
		require.Less(t, wrong, 2000, "day %d", day)
	}
	words := 0
	for _, f := range *s.filters.Load() {
		words += len(f.words)
	}
	require.Less(t, words*64, 8*2*keys*seenBits, "two days and what is begun, not five")
}
