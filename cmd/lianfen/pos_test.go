package main

import (
	"encoding/binary"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
)

// stranger listens on an address of its own and gives each connection to answer.
func stranger(t *testing.T, answer func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			answer(conn)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		require.NoError(t, ln.Close())
		<-done
	})
	return ln.Addr().String()
}

// Whoever is no switch is named as that: one that says nothing after the wait that was
// asked for, one that hangs up and one that speaks something else at once.
func TestPOSAtTheWrongAddress(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer func(net.Conn)
		says   string
	}{
		"silent":      {func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }, " within 50ms, where"},
		"hangs up":    {func(net.Conn) {}, ", where"},
		"speaks HTTP": {func(conn net.Conn) { _, _ = io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\n\r\n") }, ", where"},
	} {
		t.Run(name, func(t *testing.T) {
			address := stranger(t, c.answer)
			_, stderr, status := lianfen(t, "pos", "redeem", "--addr", address, "--card", "6222020000000000017", "--amount", "5", "--timeout", "50ms")
			require.Equal(t, exitFault, status)
			require.Contains(t, stderr, "no answer of a switch from "+address+c.says+" a listener of dialect pos was expected")
			require.Contains(t, stderr, "--addr names the switch's pos listener")
		})
	}
}

// The trace number that was asked for is the message's; the sign-on before it has
// another one, which is not its neighbour either.
func TestPOSStanIsTheMessages(t *testing.T) {
	t.Parallel()
	stans := make(chan points.STAN, 8)
	address := stranger(t, func(conn net.Conn) {
		for {
			var length [2]byte
			if _, err := io.ReadFull(conn, length[:]); err != nil {
				return
			}
			body := make([]byte, binary.BigEndian.Uint16(length[:]))
			var req points.Request
			if _, err := io.ReadFull(conn, body); err != nil || dialect.Pos().Decode(body, &req) != nil {
				return
			}
			stans <- req.STAN
			resp := points.Response{Reason: points.Approved, Batch: 1}
			if req.Function == points.Redeem {
				resp.Reason = points.NotEnoughPoints
			}
			frame := dialect.Pos().AppendResponse(make([]byte, 2), &req, &resp)
			binary.BigEndian.PutUint16(frame, uint16(len(frame)-2))
			if _, err := conn.Write(frame); err != nil {
				return
			}
		}
	})
	stdout, stderr, status := lianfen(t, "pos", "redeem", "--addr", address, "--card", "6222020000000000017", "--program", "901", "--amount", "5", "--stan", "500001")
	require.Equal(t, exitFault, status, stderr)
	require.Contains(t, stdout, "51")
	require.NotContains(t, []points.STAN{500_000, 500_001, 500_002}, <-stans)
	require.Equal(t, points.STAN(500_001), <-stans)
	require.Empty(t, stans)
}
