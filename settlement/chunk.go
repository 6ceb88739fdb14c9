package settlement

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/lianfen/lianfen/points"
)

// span is a part of a cycle's positions, both ends included.
type span struct{ first, last points.Position }

// spans cuts a range into parts of size positions; only the last one is shorter.
func spans(first, last points.Position, size uint64) []span {
	var all []span
	for ; first <= last; first += points.Position(size) {
		all = append(all, span{first, min(last, first+points.Position(size)-1)})
	}
	return all
}

// inOrder has workers make something of each span, each worker with a number of its own,
// and hands what they made to take in the order of the spans. At most twice as many
// results as workers wait for their turn; a worker that finds nothing left keeps one of
// these places, of which then as many as there are workers remain.
func inOrder[R any](ctx context.Context, all []span, workers int, work func(ctx context.Context, worker int, s span) (R, error), take func(R) error) error {
	type slot struct{ made chan R }
	group, ctx := errgroup.WithContext(ctx)
	slots := make([]slot, len(all))
	for i := range slots {
		slots[i].made = make(chan R, 1)
	}
	ahead := make(chan struct{}, 2*workers)
	var next atomic.Int64
	for worker := range workers {
		group.Go(func() error {
			for {
				select {
				case ahead <- struct{}{}:
				case <-ctx.Done():
					return context.Cause(ctx) //nolint:wrapcheck // why the run ends.
				}
				i := int(next.Add(1)) - 1
				if i >= len(all) {
					return nil
				}
				made, err := work(ctx, worker, all[i])
				if err != nil {
					return err
				}
				slots[i].made <- made
			}
		})
	}
	group.Go(func() error {
		for i := range slots {
			select {
			case made := <-slots[i].made:
				if err := take(made); err != nil {
					return err
				}
				<-ahead
			case <-ctx.Done():
				return context.Cause(ctx) //nolint:wrapcheck // as above.
			}
		}
		return nil
	})
	return group.Wait() //nolint:wrapcheck // it is work's or take's.
}
