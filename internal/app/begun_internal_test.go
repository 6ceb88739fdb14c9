package app

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Nothing began less than no time ago: a journal ahead of the clock is told as that.
func TestBegunIn(t *testing.T) {
	require.Equal(t, "began only 3s ago", begunIn(3*time.Second))
	require.Equal(t, "began only 0s ago", begunIn(-time.Millisecond))
	require.Equal(t, "began at a time that is 26s ahead of this machine's clock", begunIn(-26*time.Second))
}
