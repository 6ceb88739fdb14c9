package bench

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What an account costs is a matter of bytes, so it can be held by a test.
func TestCachedAccountIsSmall(t *testing.T) {
	account, member, err := weigh(100_000)
	require.NoError(t, err)
	t.Logf("account %.0f bytes, member with card %.0f", account, member)
	require.Greater(t, account, 100.0)
	require.LessOrEqual(t, account, float64(targetMemory))
	require.Greater(t, member, 150.0)
}
