package app

import (
	"context"
	"net/http"

	"github.com/lianfen/lianfen/ledger/book"
)

// WebHandler is what answers on the metrics and health door.
func (a *App) WebHandler() http.Handler { return a.webHandler() }

// JournalHandler is what copies the journal to an operator's command.
func (a *App) JournalHandler() http.HandlerFunc { return a.journal }

// Lasting serves what may take longer than a request's time.
func Lasting(stopping context.Context, serve http.HandlerFunc) http.HandlerFunc {
	return lasting(stopping, serve)
}

// Bounds of a body.
const (
	MaxBody      = maxBody
	MaxDirectory = maxDirectory
)

// Enter books a command that no door would let in any more.
func (a *App) Enter(ctx context.Context, cmd *book.Command) (book.Outcome, error) {
	return a.ledger.Do(ctx, cmd)
}
