package app

import (
	"fmt"
	"net"
	"syscall"
)

// peerUser is the user whose process is at the other end of a unix socket (SO_PEERCRED).
func peerUser(conn *net.UnixConn) (uid uint32, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("admin socket: %w", err)
	}
	var cred *syscall.Ucred
	var asked error
	if err := raw.Control(func(fd uintptr) {
		cred, asked = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); err != nil {
		return 0, fmt.Errorf("admin socket: %w", err)
	}
	if asked != nil {
		return 0, fmt.Errorf("admin socket: who is there: %w", asked)
	}
	return cred.Uid, nil
}
