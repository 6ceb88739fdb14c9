package link

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
)

// Dial connects to address (host:port), over TLS if opts.TLS is set, and calls
// handler.Open before it returns. ctx bounds connecting and handshake, not the
// connection; the caller ends that with Close or CloseAfterFlush and waits for
// [Conn.Done]. Its errors are [ErrOptions], those of the network, and
// [ErrHandshake]; none of them calls the handler.
func Dial(ctx context.Context, address string, opts Options, handler Handler) (*Conn, error) {
	complete, err := opts.complete()
	if err != nil {
		return nil, err
	}
	raw, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("link: dial %s: %w", address, err)
	}
	c := newConn(opts.ID, raw, complete, handler)
	if opts.TLS != nil {
		config := opts.TLS
		if config.ServerName == "" && !config.InsecureSkipVerify {
			host, _, err := net.SplitHostPort(address)
			if err != nil {
				c.abandon(err)
				return nil, fmt.Errorf("link: dial %s: %w", address, err)
			}
			config = config.Clone()
			config.ServerName = host
		}
		if err := c.handshake(ctx, tls.Client, config); err != nil {
			c.abandon(err)
			return nil, err
		}
	}
	c.open()
	go c.run()
	return c, nil
}

// Attach makes a connection over raw, which is open and is the connection's from now
// on, as [Dial] does when it has dialled: for whoever has a network of his own, such as
// a simulation. opts.TLS is not looked at. Its error is [ErrOptions].
func Attach(raw net.Conn, opts Options, handler Handler) (*Conn, error) {
	complete, err := opts.complete()
	if err != nil {
		return nil, err
	}
	c := newConn(opts.ID, raw, complete, handler)
	c.open()
	go c.run()
	return c, nil
}
