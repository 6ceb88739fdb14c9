package certs_test

import "testing"

// morePrinted are further things that hold keys.
func morePrinted(*testing.T) []any { return nil }
