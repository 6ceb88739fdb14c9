//go:build unix

package app

import (
	"fmt"
	"syscall"
)

// ownDescriptors is how many file descriptors a process needs beside its connections:
// the store's tables and logs, and the operators' doors.
const ownDescriptors = 1_500

// enoughDescriptors tells what is missing where the process may not open as many files as
// it has to for so many connections. The soft limit is the hard one by now: the runtime
// raises it at the start.
func enoughDescriptors(connections int) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("app: read the limit of open files: %w", err)
	}
	return tooFew(uint64(limit.Cur), connections) //nolint:unconvert // signed on some systems.
}

// tooFew tells what is missing where limit files may be open.
func tooFew(limit uint64, connections int) error {
	if need := uint64(connections) + ownDescriptors; limit < need { //nolint:gosec // a configured bound, above zero.
		return fmt.Errorf("app: this process may open %d files, and max_connections of all listeners with the store asks for %d: "+
			"raise the hard limit (ulimit -Hn, LimitNOFILE), or lower listeners.*.max_connections", limit, need)
	}
	return nil
}
