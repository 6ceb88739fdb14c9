package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// flushed is how many bytes the probe of the disk appends before it flushes: about
// what a group commit of a busy terminal pattern is.
const flushed = 4096

// Flush measures the disk's own flush in folder dir for the time that is given: one
// append of 4 KiB to a file, then fsync, by one goroutine.
func Flush(ctx context.Context, dir string, duration time.Duration, clock Clock) (m Measurement, err error) {
	file, err := os.CreateTemp(dir, "flush-")
	if err != nil {
		return m, fmt.Errorf("bench: flush: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close(), os.Remove(file.Name())) }()
	latency := hdrhistogram.New(1, longest, significant)
	record := make([]byte, flushed)
	began := clock()
	at := began
	for at.Sub(began) < duration {
		if err := ctx.Err(); err != nil {
			return m, fmt.Errorf("bench: %w", err)
		}
		if _, err := file.Write(record); err != nil {
			return m, fmt.Errorf("bench: flush: %w", err)
		}
		if err := file.Sync(); err != nil {
			return m, fmt.Errorf("bench: flush: %w", err)
		}
		now := clock()
		if err := latency.RecordValue(max(1, int64(now.Sub(at)))); err != nil {
			return m, fmt.Errorf("bench: flush: %w", err)
		}
		at = now
	}
	m.Name, m.Rounds = "disk: append 4 KiB and fsync", 1
	m.PerSecond = float64(latency.TotalCount()) / at.Sub(began).Seconds()
	m.Latency = latencyOf(latency)
	return m, nil
}

// latencyOf tells what a histogram of nanoseconds holds.
func latencyOf(h *hdrhistogram.Histogram) Latency {
	micro := func(q float64) float64 { return float64(h.ValueAtQuantile(q)) / 1e3 }
	return Latency{micro(50), micro(90), micro(99), micro(99.9), float64(h.Max()) / 1e3}
}
