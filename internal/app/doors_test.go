package app

import (
	"bytes"
	"context"
	"errors"
	"net/http/httptest"

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

// DecodeForTest reads a body as the admin door does, as whatever each request is asked with.
func DecodeForTest(text []byte) (taken []any, err error) {
	for _, in := range []any{
		new(SignIn), new(Joining), new(OperatorChange), new(PolicyChange), new(Decision), new(Directory), new(Holder), new(Adjustment), new(CutOver),
		new(Lookup), new(BatchQuery), new(Resolution), new(KeyChange), new(PINChange), new(PINOf), new(RiskSetting), new(StatementQuery), new(FindQuery), new(Enrolment),
	} {
		r := httptest.NewRequest("POST", "/", bytes.NewReader(text))
		if failed := decodeBody(httptest.NewRecorder(), r, in); failed != nil {
			err = errors.Join(err, failed)
			continue
		}
		taken = append(taken, in)
	}
	return taken, err
}
