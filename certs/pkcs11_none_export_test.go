//go:build !cgo

package certs

import "testing"

// FillTokenForTest is never called: without cgo there is no token.
func FillTokenForTest(t *testing.T, _, _, _ string) { t.Fatal("no PKCS#11") }
