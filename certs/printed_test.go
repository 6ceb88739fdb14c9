package certs_test

import (
	"testing"

	"github.com/lianfen/lianfen/certs"
)

// morePrinted are further things that hold keys.
func morePrinted(t *testing.T) []any {
	w := workingKeys(t, certs.KeySetAES128, 7)
	return []any{w, *w}
}
