package link_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/switch/link"
)

// Answers wait for Flush, and then those of each connection go out in one write.
func TestOutboxSendsTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		metrics, reg := newMetrics(t)
		s := newStation(t, link.Options{Metrics: metrics})
		var outbox link.Outbox
		first, c1 := s.connect(t)
		second, c2 := s.connect(t)
		write(t, first, framed("1", "2"))
		write(t, second, framed("3"))
		synctest.Wait()
		outbox.Reply(c1, body([]byte("one")))
		outbox.Reply(c2, body([]byte("three")))
		outbox.Reply(c1, body([]byte("two")))
		synctest.Wait()
		require.InDelta(t, 0, value(t, reg, "link_frames_out_total", ""), 0)
		outbox.Flush()
		require.Equal(t, "one", nextFrame(t, first))
		require.Equal(t, "two", nextFrame(t, first))
		require.Equal(t, "three", nextFrame(t, second))
		outbox.Flush() // Nothing is left.
		synctest.Wait()
		require.InDelta(t, 3, value(t, reg, "link_frames_out_total", ""), 0)
	})
}

// What is closed between Reply and Flush is not written to, and a connection that
// drains meanwhile takes its answers along.
func TestOutboxOfConnectionsThatEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		metrics, reg := newMetrics(t)
		s := newStation(t, link.Options{Metrics: metrics})
		var outbox link.Outbox
		gone, c1 := s.connect(t)
		leaving, c2 := s.connect(t)
		write(t, gone, framed("1", "2"))
		write(t, leaving, framed("3"))
		synctest.Wait()
		outbox.Reply(c1, body([]byte("one")))
		c1.Close(nil)
		outbox.Reply(c1, body([]byte("two")))
		outbox.Reply(c2, body([]byte("three")))
		c2.CloseAfterFlush(nil)
		require.Equal(t, "three", nextFrame(t, leaving))
		outbox.Flush()
		require.ErrorIs(t, (<-s.ended).reason, link.ErrClosed)
		require.ErrorIs(t, (<-s.ended).reason, link.ErrClosed)
		require.InDelta(t, 1, value(t, reg, "link_replies_after_close_total", ""), 0)
	})
}

// Over sockets, plain and TLS: two goroutines answer at a time, one of them by
// outbox; every answer arrives once and whole, also to a peer that begins to read
// when no more fits into the sockets.
func TestOutboxOverSockets(t *testing.T) {
	const frames, long = 6_000, 4_000 // more than sockets take
	server, peer := identities(t)
	for name, config := range map[string]*tls.Config{"plain": nil, "tls": server} {
		t.Run(name, func(t *testing.T) {
			conns, taken := make(chan *link.Conn, 1), make(chan string, frames)
			s := serve(t, link.Options{TLS: config, MaxInFlight: frames, MaxPending: 2 * frames * long}, handlerFuncs{
				open: func(c *link.Conn) { conns <- c },
				frames: func(_ *link.Conn, frames [][]byte) {
					for _, frame := range frames {
						taken <- string(frame)
					}
				},
			})
			tcp, err := net.DialTCP("tcp", nil, s.Addr().(*net.TCPAddr))
			require.NoError(t, err)
			require.NoError(t, tcp.SetReadBuffer(256<<10))
			wire := net.Conn(tcp)
			t.Cleanup(func() { hangUp(wire) })
			if config != nil {
				wire = tls.Client(wire, peer)
			}
			var asked []string
			go func() {
				for i := range frames {
					if _, err := wire.Write(framed(fmt.Sprint(i))); err != nil {
						return // The test's reader tells of it.
					}
				}
			}()
			for i := range frames {
				asked = append(asked, fmt.Sprint(i))
			}
			c := <-conns
			var outbox link.Outbox
			var both sync.WaitGroup
			answer := func(question string) func([]byte) []byte {
				return body([]byte(question + strings.Repeat(" ", long-len(question))))
			}
			direct := make(chan string, frames)
			both.Go(func() {
				for range frames / 3 {
					c.Reply(answer(<-direct))
				}
			})
			left := 0
			for i := range frames {
				question := <-taken
				if i%3 == 2 && left < frames/3 {
					direct <- question
					left++
					continue
				}
				if outbox.Reply(c, answer(question)); i%7 == 0 {
					outbox.Flush()
				}
			}
			both.Wait()
			outbox.Flush()
			var answered []string
			for range frames {
				answered = append(answered, strings.TrimSpace(nextFrame(t, wire)))
			}
			slices.Sort(asked)
			slices.Sort(answered)
			require.Equal(t, asked, answered)
		})
	}
}
