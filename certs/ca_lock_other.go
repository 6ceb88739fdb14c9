//go:build !unix

package certs

import "os"

// lockFile does nothing: here one process at a time is to write the register.
func lockFile(*os.File) error { return nil }
