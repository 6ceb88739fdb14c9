//go:build unix

package link_test

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/switch/link"
)

// echo answers every frame with itself.
type echo struct{}

func (echo) Open(*link.Conn) {}

func (echo) Frames(c *link.Conn, frames [][]byte) {
	for _, frame := range frames {
		c.Reply(func(dst []byte) []byte { return append(dst, frame...) })
	}
}

func (echo) Closed(*link.Conn, error) {}

// rawEcho is the floor that link is held against: one goroutine per connection,
// a buffered reader and a buffered writer, no deadline, no bound, no metric.
func rawEcho(b *testing.B) net.Addr {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer hangUp(conn)
				r, w := bufio.NewReaderSize(conn, 64<<10), bufio.NewWriterSize(conn, 64<<10)
				frame := make([]byte, 2+link.DefaultMaxFrame)
				for {
					if _, err := io.ReadFull(r, frame[:2]); err != nil {
						return
					}
					end := 2 + int(binary.BigEndian.Uint16(frame))
					if _, err := io.ReadFull(r, frame[2:end]); err != nil {
						return
					}
					if _, err := w.Write(frame[:end]); err != nil {
						return
					}
					if r.Buffered() == 0 && w.Flush() != nil {
						return
					}
				}
			})
		}
	})
	b.Cleanup(func() {
		require.NoError(b, ln.Close())
		all.Wait()
	})
	return ln.Addr()
}

// exchange sends b.N frames of 104 bytes over conns connections, window at a
// time, and waits for their echoes. One operation is one frame.
func exchange(b *testing.B, addr net.Addr, config *tls.Config, conns, window int) {
	const size = 104
	batch := make([]byte, 0, window*(2+size))
	for i := range window {
		batch = binary.BigEndian.AppendUint16(batch, size)
		batch = append(batch, make([]byte, size)...)
		batch[len(batch)-1] = byte(i)
	}
	peers := make([]net.Conn, conns)
	for i := range peers {
		conn, err := net.Dial("tcp", addr.String())
		require.NoError(b, err)
		if config != nil {
			conn = tls.Client(conn, config)
		}
		b.Cleanup(func() { hangUp(conn) })
		peers[i] = conn
	}
	rounds := (b.N + conns*window - 1) / (conns * window)
	b.ReportAllocs()
	b.ResetTimer()
	before := processorTime(b)
	var all sync.WaitGroup
	for _, peer := range peers {
		all.Go(func() {
			back := make([]byte, len(batch))
			for range rounds {
				if _, err := peer.Write(batch); err != nil {
					b.Error(err)
					return
				}
				if _, err := io.ReadFull(peer, back); err != nil {
					b.Error(err)
					return
				}
			}
			if string(back) != string(batch) {
				b.Error("the echo is not what was sent")
			}
		})
	}
	all.Wait()
	b.StopTimer()
	frames := float64(rounds * conns * window)
	b.ReportMetric(frames/b.Elapsed().Seconds(), "frames/s")
	b.ReportMetric(float64((processorTime(b)-before).Nanoseconds())/frames, "cpu-ns/frame")
}

// processorTime is what the process has used, of both sides: on a machine that
// others use too it says more than the time that has passed.
func processorTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// BenchmarkEcho holds link against the raw echo of the same frames in the same
// pattern: 16 connections with 64 in flight, and the terminals' own pattern, 512
// connections with one in flight. The ratio of the two lines is the figure.
func BenchmarkEcho(b *testing.B) {
	for _, load := range []struct{ conns, window int }{{16, 64}, {512, 1}} {
		name := fmt.Sprintf("%dx%d", load.conns, load.window)
		b.Run(name+"/raw", func(b *testing.B) {
			exchange(b, rawEcho(b), nil, load.conns, load.window)
		})
		b.Run(name+"/link", func(b *testing.B) {
			exchange(b, serve(b, link.Options{}, echo{}).Addr(), nil, load.conns, load.window)
		})
	}
	b.Run("16x64/link-tls", func(b *testing.B) {
		server, peer := identities(b)
		exchange(b, serve(b, link.Options{TLS: server}, echo{}).Addr(), peer, 16, 64)
	})
}
