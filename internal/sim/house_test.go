package sim_test

import (
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

func now() points.Timestamp { return points.TimestampOf(time.Now()) }

// counterpart is a switch that answers as a test tells it, to have answers that
// the real one would never give.
type counterpart struct {
	answer func(n int, req *points.Request, resp *points.Response) bool // n from 1; false: hang up

	ln       net.Listener
	serving  sync.WaitGroup
	mu       sync.Mutex // guards what follows
	received [][]byte
	conns    []net.Conn
}

// newCounterpart serves until the test ends.
func newCounterpart(t *testing.T, answer func(n int, req *points.Request, resp *points.Response) bool) *counterpart {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	c := &counterpart{answer: answer, ln: ln}
	c.serving.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			c.mu.Lock()
			c.conns = append(c.conns, conn)
			c.mu.Unlock()
			c.serving.Go(func() { c.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		c.mu.Lock()
		for _, conn := range c.conns {
			_ = conn.Close()
		}
		c.mu.Unlock()
		c.serving.Wait()
	})
	return c
}

func (c *counterpart) address() string { return c.ln.Addr().String() }

// frames is what came so far, in order.
func (c *counterpart) frames() [][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.received
}

func (c *counterpart) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	d := dialect.Pos()
	for {
		var length [2]byte
		if _, err := io.ReadFull(conn, length[:]); err != nil {
			return
		}
		frame := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(conn, frame); err != nil {
			return
		}
		c.mu.Lock()
		c.received = append(c.received, frame)
		n := len(c.received)
		c.mu.Unlock()
		var req points.Request
		if err := d.Decode(frame, &req); err != nil {
			return
		}
		resp := points.Response{Reason: points.Approved, Position: points.Position(n), Amount: req.Amount, Program: req.Program, LocalTime: 120000, LocalDate: 101}
		if !c.answer(n, &req, &resp) {
			return
		}
		out := d.AppendResponse([]byte{0, 0}, &req, &resp)
		binary.BigEndian.PutUint16(out, uint16(len(out)-2))
		if _, err := conn.Write(out); err != nil {
			return
		}
	}
}
