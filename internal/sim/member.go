package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"

	"golang.org/x/crypto/ssh"
)

// SFTPServer is where Debian has OpenSSH's server of the SFTP subsystem.
const SFTPServer = "/usr/lib/openssh/sftp-server"

// MemberHost is a member's own server, to which file sets are carried: SSH in front of
// OpenSSH's SFTP server. It lets everybody in.
type MemberHost struct {
	Key  ssh.Signer // that it shows
	Home string     // folder in which it begins
	// Packet is called for every piece that comes in, to make the member slow; may be nil.
	Packet func()
}

// Serve serves until ctx ends, and returns when all sessions have.
func (m *MemberHost) Serve(ctx context.Context, listener net.Listener) error {
	if _, err := os.Stat(SFTPServer); err != nil {
		return fmt.Errorf("member's server: %w (apt-get install openssh-sftp-server)", err)
	}
	config := &ssh.ServerConfig{PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return new(ssh.Permissions), nil }}
	config.AddHostKey(m.Key)
	var all sync.WaitGroup
	defer all.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	for {
		conn, err := listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("member's server: %w", err)
		}
		all.Go(func() { m.session(ctx, conn, config) })
	}
}

// session serves a connection to its end.
func (m *MemberHost) session(ctx context.Context, conn net.Conn, config *ssh.ServerConfig) {
	defer func() { _ = conn.Close() }() // It may have ended by itself.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	served, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	defer func() { _ = served.Close() }() // As above.
	go ssh.DiscardRequests(requests)      // It ends with the session.
	for offered := range channels {
		channel, requests, err := offered.Accept()
		if err != nil {
			return
		}
		for request := range requests {
			_ = request.Reply(request.Type == "subsystem", nil) // The peer is gone or told.
			if request.Type == "subsystem" {
				break
			}
		}
		go ssh.DiscardRequests(requests)                          // It ends with the channel.
		cmd := exec.CommandContext(ctx, SFTPServer, "-d", m.Home) //nolint:gosec // the test's own folder.
		cmd.Stdin, cmd.Stdout = &slowly{channel, m.Packet}, channel
		if err := cmd.Run(); err != nil && !errors.Is(err, io.EOF) {
			_ = served.Close() // A peer that was killed ends so.
		}
		_ = channel.Close() // It may be closed.
	}
}

// slowly tells of every piece before it is passed on.
type slowly struct {
	io.Reader
	packet func()
}

func (s *slowly) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if s.packet != nil {
		s.packet()
	}
	return n, err //nolint:wrapcheck // a reader says what its reader says.
}
