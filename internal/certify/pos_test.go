package certify_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/certify"
)

// Our own switch is certified: every case of profile pos passes, none is skipped,
// and a second run passes as well.
func TestOwnSwitch(t *testing.T) {
	address, find, offer := startKeyedSwitch(t)
	opts := options(t, certify.ProfilePOS, address)
	opts.Key = find
	offer()
	report := run(t, opts)
	require.Zero(t, report.Failed)
	require.Zero(t, report.Skipped)
	require.Greater(t, report.Passed, 50)
	require.Greater(t, report.Checks, 10*report.Passed)
	opts.FirstSTAN = 500_000
	offer()
	again := run(t, opts)
	require.Equal(t, report.Passed, again.Passed)
}

// Without master keys the cases about keys are skipped, and the report says what is
// missing; under other master keys than the switch's they fail at the sign-on.
func TestTerminalsWithOtherKeys(t *testing.T) {
	address, _, _ := startKeyedSwitch(t)
	opts := options(t, certify.ProfilePOS, address)
	opts.Only = []string{"mac-*", "pin-*", "keys-*"}
	report := run(t, opts)
	require.Equal(t, 11, report.Skipped)
	require.Zero(t, report.Failed+report.Passed)
	require.Contains(t, report.Scripts[len(report.Scripts)-1].Cases[0].Missing[0], "the key of terminal keyed")

	opts.Key = findIn(keystore(t, t.TempDir()))
	report, err := certify.Run(t.Context(), opts, func(*certify.CaseResult) error { return nil })
	require.NoError(t, err)
	require.Equal(t, 11, report.Failed)
	var said bytes.Buffer
	require.NoError(t, report.Scripts[len(report.Scripts)-1].Cases[0].WriteCase(&said, true))
	require.Contains(t, said.String(), "its check value does not fit")
}
