package main

import (
	"fmt"
	"syscall"
)

// prSetDumpable is an option of prctl(2).
const prSetDumpable = 4

// forbidDumps keeps the kernel from writing the process's memory, keys and card numbers
// in it, to a core file when it crashes, and other processes of the same user from
// attaching to it.
func forbidDumps() error {
	if err := syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{}); err != nil {
		return fmt.Errorf("forbid core dumps: %w", err)
	}
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, prSetDumpable, 0, 0); errno != 0 {
		return fmt.Errorf("forbid core dumps: %w", errno)
	}
	return nil
}
