package app

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/settlement"
)

// After a failure the night is tried again later and later, and never later than five minutes.
func TestNightWait(t *testing.T) {
	waits := make([]time.Duration, 0, 9)
	for failures := range 9 {
		waits = append(waits, nightWait(failures)/time.Second)
	}
	require.Equal(t, []time.Duration{3, 6, 12, 24, 48, 96, 192, 300, 300}, waits)
	require.Equal(t, nightRetry, nightWait(1<<20))
}

// While a step of the night is under way the log says every five seconds how far it is, how
// fast, and how long it takes still; of no step it says nothing.
func TestNightTellsProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text bytes.Buffer
		began := time.Now()
		finish := tellProgress(t.Context(), slog.New(slog.NewTextHandler(&text, nil)), func() settlement.Progress {
			took := time.Since(began)
			if took > 11*time.Second {
				return settlement.Progress{}
			}
			return settlement.Progress{Step: "render", Done: uint64(took / time.Millisecond), Total: 60_000, Began: 1, At: settlement.Progress{Began: 1}.Began.Add(took)}
		})
		time.Sleep(16 * time.Second) //nolint:forbidigo // in a bubble, where it costs nothing.
		finish()
		require.Equal(t, 2, strings.Count(text.String(), "settlement progress"))
		require.Contains(t, text.String(), "step=render done=5000 total=60000 per_second=1000 seconds_left=55")
		require.Contains(t, text.String(), "step=render done=10000 total=60000 per_second=1000 seconds_left=50")
	})
}
