package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sync/errgroup"
)

// errSpent says that there is nothing left to do; it ends a share before its time.
var errSpent = errors.New("bench: nothing is left to do")

// share lets clients goroutines do their work again and again, each one thing at a
// time, for so long or until what they work on is spent.
func share(ctx context.Context, clients int, duration time.Duration, clock Clock, work func(ctx context.Context, client int) func() error) (Measurement, error) {
	latencies := make([][]int64, clients)
	cpuBefore, err := ownCPU()
	if err != nil {
		return Measurement{}, err
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := clock()
	group, ctx := errgroup.WithContext(ctx)
	for client := range clients {
		do := work(ctx, client)
		group.Go(func() error {
			for at := began; at.Sub(began) < duration; {
				switch err := do(); {
				case errors.Is(err, errSpent):
					return nil
				case err != nil:
					return err
				}
				now := clock()
				latencies[client] = append(latencies[client], int64(now.Sub(at)))
				at = now
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return Measurement{}, err
	}
	took := clock().Sub(began)
	cpu, err := ownCPU()
	if err != nil {
		return Measurement{}, err
	}
	runtime.ReadMemStats(&after)
	all := hdrhistogram.New(1, longest, significant)
	for _, of := range latencies {
		for _, l := range of {
			if err := all.RecordValue(max(1, l)); err != nil {
				return Measurement{}, fmt.Errorf("bench: a latency of %v: %w", time.Duration(l), err)
			}
		}
	}
	return Measurement{
		PerSecond: float64(all.TotalCount()) / took.Seconds(), Latency: latencyOf(all), Rounds: 1, took: took,
		ServerCPU:   ratio(float64((cpu - cpuBefore).Microseconds()), float64(all.TotalCount())),
		Allocations: ratio(float64(after.Mallocs-before.Mallocs), float64(all.TotalCount())),
	}, nil
}
