package pointswitch

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
)

// Of any number of warnings one comes through in a while, and tells how many did not.
func TestSeldom(t *testing.T) {
	var s seldom
	now := points.TimestampOf(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	left, ok := s.may(now)
	require.True(t, ok)
	require.Zero(t, left.Value.Uint64())
	for range 1000 {
		_, ok := s.may(now.Add(seldomEvery - 1000))
		require.False(t, ok)
	}
	left, ok = s.may(now.Add(seldomEvery))
	require.True(t, ok)
	require.Equal(t, uint64(1000), left.Value.Uint64())
	_, ok = s.may(now.Add(seldomEvery))
	require.False(t, ok)
	left, ok = s.may(now.Add(3 * seldomEvery))
	require.True(t, ok)
	require.Equal(t, uint64(1), left.Value.Uint64())
}
