// Package app is the process: it wires the rooms of the house in the order of
// their dependence, runs them, and stops them in the opposite order.
//
// It owns the doors that are not ISO 8583: the admin socket with its client, and
// the HTTP listener for metrics and health. The commands and the end-to-end tests
// hold the same [App], so that what is tested is what runs.
//
// It promises that [App.Run] returns only when every goroutine it started has
// ended, that requests in flight are answered before the ledger closes, and that
// a fault of the ledger ends the process rather than leaving it half alive.
package app
