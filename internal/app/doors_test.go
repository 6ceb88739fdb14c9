package app

import (
	"context"

	"github.com/lianfen/lianfen/ledger/book"
)

// Doors tells tests what is asked at the admin door, and the role for it.
func (a *App) Doors() map[string]book.Roles {
	doors := map[string]book.Roles{}
	for _, d := range a.doors(context.Background()) {
		doors[d.pattern] = d.role
	}
	return doors
}
