//go:build !linux

package main

import (
	"fmt"
	"syscall"
)

// forbidDumps keeps the kernel from writing the process's memory, keys and card numbers
// in it, to a core file when it crashes.
func forbidDumps() error {
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		return fmt.Errorf("forbid core dumps: %w", err)
	}
	return nil
}
