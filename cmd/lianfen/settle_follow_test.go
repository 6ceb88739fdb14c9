package main

import (
	"bytes"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/settlement"
)

// On a terminal progress is one line that is drawn over and wiped at the end; elsewhere it is a
// line every five seconds.
func TestProgressLines(t *testing.T) {
	at := settlement.Progress{Step: "compute", Done: 100, Total: 1_000, Began: 1, At: 2_000_001}
	var terminal bytes.Buffer
	drawn := &follower{w: &terminal, over: true}
	drawn.hear(at)
	drawn.hear(settlement.Progress{Step: "sets", Done: 7, Total: 8, Began: 1, At: 1_000_001})
	drawn.end()
	require.Equal(t, "\rcompute: 100 of 1000 rows, 50 rows/s, 18 s left"+
		"\rsets: 7 of 8 rows, 7 rows/s, 0 s left          "+
		"\r                                     \r", terminal.String())

	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		lines := &follower{w: &log, last: time.Now()}
		for range 41 { // Ten seconds and a quarter.
			time.Sleep(250 * time.Millisecond) //nolint:forbidigo // in a bubble, where it costs nothing.
			lines.hear(at)
		}
		lines.end()
		require.Equal(t, 2, bytes.Count(log.Bytes(), []byte("compute: 100 of 1000 rows, 50 rows/s, 18 s left\n")))
		require.NotContains(t, log.String(), "\r")
	})
}
