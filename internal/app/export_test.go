package app

import "net/http"

// WebHandler is what answers on the metrics and health door.
func (a *App) WebHandler() http.Handler { return a.webHandler() }
