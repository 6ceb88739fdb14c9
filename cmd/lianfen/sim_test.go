package main

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// Several seeds are played, and said to agree; the same seed says the same again.
func TestSim(t *testing.T) {
	t.Parallel()
	played := func(args ...string) simReport {
		stdout, stderr, status := lianfen(t, append([]string{"sim", "--json"}, args...)...)
		require.Zero(t, status, stderr)
		var report simReport
		require.NoError(t, json.Unmarshal([]byte(stdout), &report))
		return report
	}
	report := played("--seed", "11", "--seeds", "3", "--verbose")
	require.Equal(t, 3, report.Played)
	require.Empty(t, report.Mismatches)
	require.Len(t, report.Runs, 3)
	again := played("--seed", "12", "--steps")
	require.Equal(t, 1, again.Played)
	require.Equal(t, report.Runs[1].Digest, again.Runs[0].Digest)
	require.Len(t, again.Runs[0].Digest, 64)
	require.NotEmpty(t, again.Runs[0].Steps)

	stdout, stderr, status := lianfen(t, "sim", "--seed", "12", "--faults", "")
	require.Zero(t, status, stderr)
	require.Contains(t, stdout, "1 seed: ")
	require.NotContains(t, stdout, "power cut")
}

// What cannot be played is the command line's fault.
func TestSimRefuses(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"--faults", "weather"}, {"--seeds", "-1"}, {"--jobs", "-1"}, {"--seed", "x"}} {
		_, stderr, status := lianfen(t, append([]string{"sim"}, args...)...)
		require.Equal(t, exitUsage, status, "%v: %s", args, stderr)
	}
}
