package certify_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/certify"
)

// Our own switch is certified: every case of profile pos passes, none is skipped,
// and a second run passes as well.
func TestOwnSwitch(t *testing.T) {
	opts := options(t, certify.ProfilePOS, startSwitch(t))
	report := run(t, opts)
	require.Zero(t, report.Failed)
	require.Zero(t, report.Skipped)
	require.Greater(t, report.Passed, 50)
	require.Greater(t, report.Checks, 10*report.Passed)
	opts.FirstSTAN = 500_000
	again := run(t, opts)
	require.Equal(t, report.Passed, again.Passed)
}
