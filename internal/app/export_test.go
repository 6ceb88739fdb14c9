package app

import (
	"context"
	"net/http"
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
