package app

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// After a failure the night is tried again later and later, and never later than five minutes.
func TestNightWait(t *testing.T) {
	var waits []time.Duration
	for failures := range 9 {
		waits = append(waits, nightWait(failures)/time.Second)
	}
	require.Equal(t, []time.Duration{3, 6, 12, 24, 48, 96, 192, 300, 300}, waits)
	require.Equal(t, nightRetry, nightWait(1<<20))
}
