package main

import (
	"bytes"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/settlement"
	"github.com/lianfen/lianfen/settlement/files"
)

// A report lists a hundred exceptions and says how many more there are; of none it says
// nothing.
func TestReportListsAHundredExceptions(t *testing.T) {
	for _, c := range []struct {
		count, listed int
		more          string
	}{{0, 0, ""}, {100, 100, ""}, {101, 100, "and 1 more: --json lists the first 100000 of a run, and sums up the others by reason and programme\n"}, {250, 100, "and 150 more: --json lists the first 100000 of a run, and sums up the others by reason and programme\n"}} {
		list := make([]files.Exception, c.count)
		for i := range list {
			list[i] = files.Exception{ID: uint64(i + 1), Reason: "TOO_LATE", What: "it came late"}
		}
		var out bytes.Buffer
		cmd := &cobra.Command{}
		cmd.SetOut(&out)
		require.NoError(t, printExceptions(cmd, nil, list))
		require.Equal(t, c.listed, bytes.Count(out.Bytes(), []byte("TOO_LATE")))
		if c.more == "" {
			require.NotContains(t, out.String(), "more")
		}
		require.True(t, bytes.HasSuffix(out.Bytes(), []byte(c.more)), out.String())
	}
}

// A report says how long each step took, and how computing is beside a plain read of the
// journal where that was measured.
func TestReportOfSpeed(t *testing.T) {
	run := &settlement.Run{Timings: []settlement.Timing{{Step: settlement.StepCompute, Rows: 10_000, Micros: 20_000}}}
	require.Equal(t, "10000 rows in 0.02 s, 500000 rows/s", spent(run, run.Timings[0]))
	run.Timings = append(run.Timings, settlement.Timing{Step: settlement.StepPlain, Rows: 10_000, Micros: 5_000, Bytes: 1_500_000})
	require.Equal(t, "10000 rows in 0.02 s, 500000 rows/s, 0.250 of a plain read of the journal (2000000 rows/s)", spent(run, run.Timings[0]))
	require.Equal(t, "10000 rows in 0.01 s, 2000000 rows/s, 1500000 bytes", spent(run, run.Timings[1]))
}
