//go:build unix

package link

import "syscall"

// tryWrite writes to a socket that does not block, and returns how much it took.
func tryWrite(fd uintptr, buf []byte) int {
	n, err := syscall.Write(int(fd), buf)
	if err != nil {
		return 0
	}
	return n
}
