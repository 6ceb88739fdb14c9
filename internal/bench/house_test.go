package bench

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
)

// counterpart answers redemptions as a test tells it. Answer number n, from 1, may
// be changed, withheld (nil), or repeated by returning it twice.
type counterpart struct {
	dialect *dialect.Dialect
	change  func(n int, req *points.Request, resp *points.Response) (times int)
	address string
}

// newCounterpart serves until the test ends.
func newCounterpart(t *testing.T, name string, change func(n int, req *points.Request, resp *points.Response) (times int)) *counterpart {
	t.Helper()
	spoken, err := dialect.ByName(name)
	require.NoError(t, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	c := &counterpart{dialect: spoken, change: change, address: ln.Addr().String()}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				_ = c.serve(conn) // The generator's verdict is what the test looks at.
				_ = conn.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		serving.Wait()
	})
	return c
}

func (c *counterpart) serve(conn net.Conn) error {
	in := bufio.NewReader(conn)
	for n := 1; ; n++ {
		var prefix [prefixSize]byte
		if _, err := io.ReadFull(in, prefix[:]); err != nil {
			return err
		}
		frame := make([]byte, binary.BigEndian.Uint16(prefix[:]))
		if _, err := io.ReadFull(in, frame); err != nil {
			return err
		}
		var req points.Request
		if err := c.dialect.Decode(frame, &req); err != nil {
			return err
		}
		resp := approval(points.Position(1_000 + n))
		for range c.change(n, &req, &resp) {
			body := c.dialect.AppendResponse(make([]byte, prefixSize), &req, &resp)
			binary.BigEndian.PutUint16(body, uint16(len(body)-prefixSize))
			if _, err := conn.Write(body); err != nil {
				return err
			}
		}
	}
}

// approval is an approved redemption at position.
func approval(position points.Position) points.Response {
	resp := points.Response{
		Reason: points.Approved, Position: position, AuthCode: position.AuthCode(), Date: 20260216, LocalDate: 216, LocalTime: 93015,
		Amount: 1, Acquirer: worldAcquirer, Issuer: worldIssuer, Program: worldProgram, Used: 1,
	}
	resp.AddBalance(points.Balance54{Kind: points.AvailableBalance, Program: worldProgram, Amount: 1200})
	return resp
}

// echoed serves [Reflect] until the test ends.
func echoed(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- Reflect(ctx, ln) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-ended)
	})
	return ln.Addr().String()
}

// load is a small load on address.
func load(name, address string) Load {
	return Load{
		Address: address, Dialect: name, Conns: 2, Depth: 4, Duration: 30 * time.Millisecond, Accounts: 50,
		Seed: 1, First: 7, Base: time.Date(2026, 2, 16, 9, 30, 15, 0, time.UTC),
	}
}
