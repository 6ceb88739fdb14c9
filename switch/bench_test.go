package pointswitch_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	pointswitch "github.com/lianfen/lianfen/switch"
	"github.com/lianfen/lianfen/switch/dialect"
)

// BenchmarkRedeem is a hosted redemption from the frame on the socket to the
// answer on the socket, durable, 64 at a time on one connection. What it allocates
// beyond BenchmarkDialect is the switch's, the ledger's and the link's.
func BenchmarkRedeem(b *testing.B) {
	const window = 64
	h := newHouseWith(b, func(o *pointswitch.Options) {
		o.LogEvery = 1 << 30
		o.Log = slog.New(slog.DiscardHandler)
	})
	h.furnish()
	h.do(book.Command{Kind: book.KindAdjust, Member: 2, Program: 901, Amount: 900_000_000, Operator: "anna", Second: "bo"})
	p := h.dial(h.pos)
	answers := bufio.NewReaderSize(p.conn, 1<<16)
	frame := redeemFrame(b, 123456)
	at := bytes.Index(frame, []byte{0x12, 0x34, 0x56})
	require.Positive(b, at)
	kind := len(frame) - 6 // DE60 is last: kind 2, batch 6, network code 3
	out, buffer := make([]byte, 0, window*(len(frame)+2)), make([]byte, dialect.MaxFrame)
	var answer []byte
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		out = out[:0]
		for range window {
			n++
			putDigits(frame[at:at+3], n)
			putDigits(frame[kind+1:kind+4], n/1_000_000)
			out = binary.BigEndian.AppendUint16(out, uint16(len(frame)))
			out = append(out, frame...)
		}
		_, err := p.conn.Write(out)
		require.NoError(b, err)
		for range window {
			var prefix [2]byte
			_, err := io.ReadFull(answers, prefix[:])
			require.NoError(b, err)
			answer = buffer[:binary.BigEndian.Uint16(prefix[:])]
			_, err = io.ReadFull(answers, answer)
			require.NoError(b, err)
		}
	}
	b.StopTimer()
	require.Equal(b, "00", codeOf(b, dialect.Pos(), answer))
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/request")
}

// BenchmarkShed is a redemption that is turned away, from the frame on the socket to the 91
// on the socket, in bursts of 64 on one connection that do not wait for each other.
func BenchmarkShed(b *testing.B) {
	const burst, ahead = 64, 16
	h := newHouseWith(b, func(o *pointswitch.Options) {
		o.LogEvery = 1 << 30
		o.Log = slog.New(slog.DiscardHandler)
		o.ShedTarget, o.ShedInterval = 50*time.Millisecond, 100*time.Millisecond
	})
	h.furnish()
	held, release, looked := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		looked <- h.ledger.View(b.Context(), func(*book.Book) error { close(held); <-release; return nil })
	}()
	<-held
	defer func() {
		close(release)
		require.NoError(b, <-looked)
	}()
	first := h.dial(h.pos)
	submitted := h.ledger.Submitted()
	for i := range points.STAN(2) { // The first waits; the second finds it too old, and begins the interval.
		first.send(redeemFrame(b, 900_001+i))
		require.Eventually(b, func() bool { return h.ledger.Submitted() == submitted+uint64(i)+1 }, patience, time.Millisecond)
		h.wait(160 * time.Millisecond)
	}
	p := h.dial(h.pos)
	answers := bufio.NewReaderSize(p.conn, 1<<16)
	frame := redeemFrame(b, 123456)
	at := bytes.Index(frame, []byte{0x12, 0x34, 0x56})
	require.Positive(b, at)
	bursts, written := make(chan []byte, ahead), make(chan error, 1)
	go func() {
		var failed error
		for out := range bursts {
			if failed == nil {
				_, failed = p.conn.Write(out)
			}
		}
		written <- failed
	}()
	buffer := make([]byte, dialect.MaxFrame)
	var answer []byte
	var prefix [2]byte
	stan, n := 0, 0
	send := func() {
		out := make([]byte, 0, burst*(len(frame)+2))
		for range burst {
			stan++
			putDigits(frame[at:at+3], stan%900_000) // A number again is new again: nothing was kept of it.
			out = binary.BigEndian.AppendUint16(out, uint16(len(frame)))
			out = append(out, frame...)
		}
		bursts <- out
	}
	for range ahead {
		send()
	}
	receive := func() {
		for range burst {
			_, err := io.ReadFull(answers, prefix[:])
			require.NoError(b, err)
			answer = buffer[:binary.BigEndian.Uint16(prefix[:])]
			_, err = io.ReadFull(answers, answer)
			require.NoError(b, err)
		}
	}
	for b.Loop() {
		send()
		receive()
		n += burst
	}
	b.StopTimer()
	close(bursts)
	for range ahead {
		receive()
	}
	require.NoError(b, <-written)
	require.Equal(b, "91", codeOf(b, dialect.Pos(), answer))
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/request")
}

// BenchmarkDialect is what reading the request and writing the answer cost alone.
func BenchmarkDialect(b *testing.B) {
	d := dialect.Pos()
	frame := redeemFrame(b, 123456)
	resp := points.Response{
		Reason: points.Approved, Position: 51, AuthCode: points.Position(51).AuthCode(), Date: openingDate, LocalTime: 93000, LocalDate: 302,
		Amount: 1, Acquirer: posAcq, Issuer: bank, Program: 901, Used: 1,
	}
	resp.AddBalance(points.Balance54{Kind: points.AvailableBalance, Program: 901, Amount: 499})
	resp.AddBalance(points.Balance54{Kind: points.LedgerBalance, Program: 901, Amount: 499})
	var req points.Request
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		if err := d.Decode(frame, &req); err != nil {
			b.Fatal(err)
		}
		out = d.AppendResponse(out[:0], &req, &resp)
	}
}

// putDigits writes n as packed decimal over all of dst.
func putDigits(dst []byte, n int) {
	for i := len(dst) - 1; i >= 0; i-- {
		dst[i] = byte(n/10%10<<4 | n%10)
		n /= 100
	}
}
