package points_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
)

// One thing is one thing, and none or two are things.
func TestCounted(t *testing.T) {
	require.Equal(t, "1 thing is", points.Counted(1, "thing is", "things are"))
	require.Equal(t, "0 things are", points.Counted(uint64(0), "thing is", "things are"))
	require.Equal(t, "2 batches", points.Counted(uint32(2), "batch", "batches"))
}
