package main

import (
	"bytes"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/settlement/files"
)

// A report lists a hundred exceptions and says how many more there are; of none it says
// nothing.
func TestReportListsAHundredExceptions(t *testing.T) {
	for _, c := range []struct {
		count, listed int
		more          string
	}{{0, 0, ""}, {100, 100, ""}, {101, 100, "and 1 more: --json has all\n"}, {250, 100, "and 150 more: --json has all\n"}} {
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
