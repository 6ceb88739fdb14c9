package settlement_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement"
)

// What is cleared does not depend on the spans in which a cycle is read, nor on what the
// reader has read before.
func TestEntriesInSpans(t *testing.T) {
	s := tell(t)
	tellGolden(s)
	house := s.house()
	cut, err := house.Cut(dayTwo, 1)
	require.NoError(t, err)
	in := func(span points.Position) (all []string) {
		for first := cut.First; first <= cut.Last; first += span {
			require.NoError(t, house.Entries(t.Context(), first, min(cut.Last, first+span-1), func(e *settlement.Entry) error {
				all = append(all, fmt.Sprintf("%+v", *e))
				return nil
			}))
		}
		return all
	}
	whole := in(cut.Last)
	require.Greater(t, len(whole), 20)
	for _, span := range []points.Position{1, 2, 7} {
		require.Equal(t, whole, in(span), "spans of %d", span)
	}
}
