//go:build unix

package certs

import (
	"os"
	"syscall"
)

// lockFile waits until no other process writes the file; closing it unlocks.
func lockFile(file *os.File) error { return syscall.Flock(int(file.Fd()), syscall.LOCK_EX) }
