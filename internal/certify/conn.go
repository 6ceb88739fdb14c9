package certify

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/lianfen/lianfen/points"
)

// conn is the kit's end of a connection. What came is kept until it is a whole
// frame, so that waiting in vain loses nothing.
type conn struct {
	net.Conn
	clock   points.Clock
	pending []byte
}

// errClosed says that the target closed the connection.
var errClosed = errors.New("the connection was closed")

// errNothing says that no whole frame came in time.
var errNothing = errors.New("nothing came in time")

// prefix is the length before a frame, in bytes.
const prefix = 2

func (o *Options) dial(ctx context.Context, terminal points.TerminalID) (*conn, error) {
	connect := o.Dial
	if connect == nil {
		connect = func(ctx context.Context, address string, _ points.TerminalID) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		}
	}
	c, err := connect(ctx, o.Target, terminal)
	if err != nil {
		return nil, fmt.Errorf("certify: %w", err)
	}
	return &conn{Conn: c, clock: o.Clock}, nil
}

// send writes bytes. A target that has hung up is found out by reading.
func (c *conn) send(bytes []byte, within time.Duration) error {
	if err := c.SetWriteDeadline(c.clock().Time().Add(within)); err != nil {
		return fmt.Errorf("certify: send: %w", err)
	}
	if _, err := c.Write(bytes); err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("certify: the target does not read: %w", err)
	}
	return nil
}

// framed puts the length before a body.
func framed(body []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(body))), body...) //nolint:gosec // at most dialect.MaxFrame.
}

// next waits for a frame until due. Its errors are errNothing and errClosed.
func (c *conn) next(due points.Timestamp) ([]byte, error) {
	if err := c.SetReadDeadline(due.Time()); err != nil {
		return nil, errClosed
	}
	var chunk [4096]byte
	for {
		if frame, ok := c.whole(); ok {
			return frame, nil
		}
		n, err := c.Read(chunk[:])
		c.pending = append(c.pending, chunk[:n]...)
		switch {
		case n > 0:
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, errNothing
		case err != nil && len(c.pending) > 0:
			return nil, fmt.Errorf("%w after %d bytes of a frame", errClosed, len(c.pending))
		case err != nil:
			return nil, errClosed // In order, or reset.
		}
	}
}

// whole takes a frame off what is pending, if one is whole.
func (c *conn) whole() ([]byte, bool) {
	if len(c.pending) < prefix {
		return nil, false
	}
	end := prefix + int(binary.BigEndian.Uint16(c.pending))
	if len(c.pending) < end {
		return nil, false
	}
	frame := c.pending[prefix:end:end]
	c.pending = c.pending[end:]
	return frame, true
}
