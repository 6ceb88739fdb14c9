package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
)

// nightBatch is how many accounts or holds one command of the night works
// through; between two of them traffic goes on.
const nightBatch = 1_000

// night does what a new business date makes fall due: holds that lapsed are
// released, pending points become active, lapsed points go to breakage, and so does
// what points lose that decay. It works
// in bounded batches, each a journal record, and goes on where it was stopped.
func (a *App) night(ctx context.Context) error {
	for {
		var due []book.Kind
		err := a.ledger.View(ctx, func(b *book.Book) error {
			due = b.Due()
			return nil
		})
		if err != nil || len(due) == 0 {
			return err
		}
		for _, kind := range due {
			out, err := a.ledger.Do(ctx, &book.Command{Kind: kind, At: a.opts.Clock(), Limit: nightBatch})
			if err != nil {
				return err
			}
			if !out.Reason.Approved() {
				return fmt.Errorf("night: %v: %v", kind, out.Reason)
			}
			a.log.Info("night batch", slog.String("kind", kind.String()), slog.Int64("points", int64(out.Amount)), slog.Bool("more", out.More))
		}
	}
}

// finishNight does at a start what a stop in the middle of a night left undone.
// When the process is stopped meanwhile the next start goes on; a fault of the
// ledger is told by whoever watches it.
func (a *App) finishNight(ctx context.Context) error {
	if err := a.night(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, ledger.ErrFailed) {
		return err
	}
	return nil
}
