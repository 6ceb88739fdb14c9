package link_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/switch/link"
)

// pass lets d pass on the bubble's clock, which costs none.
func pass(d time.Duration) { <-time.After(d) }

// L5: a frame that began is complete in 30 s or the connection ends without an
// answer; a byte a second does not prolong it, and what was complete before does
// not count against it.
func TestHalfFrame(t *testing.T) {
	for name, trickle := range map[string]time.Duration{
		"silent":          time.Hour,
		"a byte a second": time.Second,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStation(t, link.Options{})
				peer, c := s.connect(t)
				pass(20 * time.Second)
				began := time.Now()
				write(t, peer, append(framed("whole"), 0, 200, 1))
				require.Equal(t, "whole", <-s.taken)
				c.Drop()
				var trickling sync.WaitGroup
				defer trickling.Wait()
				trickling.Go(func() {
					for {
						pass(trickle)
						if _, err := peer.Write([]byte{1}); err != nil {
							return
						}
					}
				})
				end := <-s.ended
				require.ErrorIs(t, end.reason, link.ErrHalfFrame)
				require.Equal(t, 30*time.Second, end.at.Sub(began))
				_, err := peer.Read(make([]byte, 1))
				require.ErrorIs(t, err, io.EOF)
			})
		})
	}
}

// A peer that completes a frame every 20 s, always with the next one begun, is
// slow and not hostile.
func TestHalfFrameCountsFromItsOwnFirstByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t, link.Options{})
		peer, c := s.connect(t)
		write(t, peer, []byte{0})
		for range 10 {
			pass(20 * time.Second)
			write(t, peer, []byte{2, 'o', 'k', 0})
			require.Equal(t, "ok", <-s.taken)
			c.Drop()
		}
		require.Empty(t, s.ended)
	})
}

// A silent connection ends after Idle, counted from the last byte.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t, link.Options{Idle: time.Minute})
		peer, c := s.connect(t)
		for range 5 {
			pass(59 * time.Second)
			write(t, peer, framed("echo"))
			require.Equal(t, "echo", <-s.taken)
			c.Drop()
		}
		last := time.Now()
		end := <-s.ended
		require.ErrorIs(t, end.reason, link.ErrIdle)
		require.Equal(t, time.Minute, end.at.Sub(last))
	})
}

// A peer that waits for an answer is not idle, however long it takes; once it
// has it, the time counts again.
func TestIdleNotWhileInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t, link.Options{Idle: time.Minute})
		peer, c := s.connect(t)
		write(t, peer, framed("slow"))
		pass(10*time.Minute + time.Second)
		require.Empty(t, s.ended)
		c.Reply(body([]byte("at last")))
		require.Equal(t, "at last", nextFrame(t, peer))
		end := <-s.ended
		require.ErrorIs(t, end.reason, link.ErrIdle)
	})
}

// The time that the handler takes, or that MaxInFlight costs, is not the peer's:
// bytes that wait meanwhile count as come.
func TestPauseIsNotThePeersTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t, link.Options{MaxInFlight: 1, Idle: time.Minute})
		peer, c := s.connect(t)
		write(t, peer, append(framed("first"), 0, 6, 's', 'e'))
		require.Equal(t, "first", <-s.taken)
		var writing sync.WaitGroup
		defer writing.Wait()
		writing.Go(func() {
			if _, err := peer.Write([]byte("cond")); err != nil {
				t.Error(err)
			}
		})
		pass(10 * time.Minute)
		require.Empty(t, s.taken)
		c.Drop()
		require.Equal(t, "second", <-s.taken)
		c.Drop()
		require.Empty(t, s.ended)
	})
}

// L4: a peer that does not read is let go after Write, and nobody who answers it
// waits meanwhile. Reading a byte a second does not save it.
func TestSlowPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t, link.Options{})
		peer, c := s.connect(t)
		write(t, peer, framed("a", "b"))
		require.Equal(t, "a", <-s.taken)
		require.Equal(t, "b", <-s.taken)
		began := time.Now()
		c.Reply(body(make([]byte, 100)))
		synctest.Wait() // The writer is in Write now.
		c.Reply(body(make([]byte, 100)))
		require.Equal(t, began, time.Now(), "Reply must not wait")
		var reading sync.WaitGroup
		defer reading.Wait()
		reading.Go(func() {
			for {
				pass(time.Second)
				if _, err := peer.Read(make([]byte, 1)); err != nil {
					return
				}
			}
		})
		end := <-s.ended
		require.ErrorIs(t, end.reason, link.ErrSlowPeer)
		require.Equal(t, 10*time.Second, end.at.Sub(began))
	})
}

// L2: at MaxInFlight the connection is not read; every frame that is finished
// lets one more in. Frames that came in one read are handed over in pieces.
func TestBackPressure(t *testing.T) {
	for name, together := range map[string]bool{"one read": true, "a read each": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStation(t, link.Options{MaxInFlight: 4})
				peer, c := s.connect(t)
				sent := make(chan []byte, 10)
				go func() {
					names := []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}
					batches := [][]byte{framed(names...)}
					if !together {
						batches = nil
						for _, name := range names {
							batches = append(batches, framed(name))
						}
					}
					for _, batch := range batches {
						if _, err := peer.Write(batch); err != nil {
							t.Error(err)
						}
						sent <- batch
					}
				}()
				for finished := range 10 {
					synctest.Wait()
					require.Len(t, s.taken, min(4, 10-finished))
					if !together {
						require.LessOrEqual(t, len(sent), finished+4, "nothing is read beyond the bound")
					}
					require.Equal(t, string(rune('0'+finished)), <-s.taken)
					c.Drop()
				}
				synctest.Wait()
				require.Empty(t, s.taken)
				if !together {
					require.Len(t, sent, 10)
				}
			})
		})
	}
}

// Answers may come in any order and from any goroutine; each goes out as it comes.
func TestRepliesOutOfOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t, link.Options{})
		peer, c := s.connect(t)
		write(t, peer, framed("3", "1", "2"))
		for range 3 {
			name := <-s.taken
			go func() {
				pass(time.Duration(name[0]-'0') * time.Second)
				c.Reply(body([]byte(name)))
			}()
		}
		require.Equal(t, "1", nextFrame(t, peer))
		require.Equal(t, "2", nextFrame(t, peer))
		require.Equal(t, "3", nextFrame(t, peer))
	})
}

// L7: after CloseAfterFlush nothing more is handed over, what is in flight is
// answered, then the connection closes with the reason that was given.
func TestCloseAfterFlush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t, link.Options{MaxInFlight: 2})
		peer, c := s.connect(t)
		write(t, peer, framed("a", "b", "not any more"))
		require.Equal(t, "a", <-s.taken)
		require.Equal(t, "b", <-s.taken)
		c.CloseAfterFlush(io.ErrNoProgress)
		c.CloseAfterFlush(io.ErrClosedPipe) // The first reason wins.
		require.ErrorIs(t, c.Send(body([]byte("x"))), link.ErrClosed)
		c.Reply(body([]byte("A")))
		require.Equal(t, "A", nextFrame(t, peer))
		require.Empty(t, s.ended, "an answer is still owed")
		c.Reply(body([]byte("B")))
		require.Equal(t, "B", nextFrame(t, peer))
		require.Equal(t, io.ErrNoProgress, (<-s.ended).reason)
		require.Empty(t, s.taken)
		_, err := peer.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
	})
}

// A connection that drains does so for Drain and no longer.
func TestDrainIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t, link.Options{Drain: 7 * time.Second})
		peer, c := s.connect(t)
		write(t, peer, framed("never answered"))
		<-s.taken
		began := time.Now()
		c.CloseAfterFlush(nil)
		end := <-s.ended
		require.ErrorIs(t, end.reason, link.ErrDrain)
		require.ErrorIs(t, end.reason, link.ErrClosed, "what it drained for is told as well")
		require.Equal(t, 7*time.Second, end.at.Sub(began))
		c.Drop()
	})
}

// Shutdown takes no more connections or frames, and waits for answers to be
// written.
func TestShutdownDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t, link.Options{})
		peer, c := s.connect(t)
		idle, _ := s.connect(t)
		write(t, peer, framed("request"))
		<-s.taken
		down := make(chan error, 1)
		go func() { down <- s.Shutdown(context.Background()) }()
		synctest.Wait()
		_, err := idle.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
		require.Empty(t, down, "an answer is still owed")
		c.Reply(body([]byte("answer")))
		require.Equal(t, "answer", nextFrame(t, peer))
		require.NoError(t, <-down)
		require.Len(t, s.ended, 2, "Closed has returned by then")
		require.ErrorIs(t, (<-s.ended).reason, link.ErrShutdown)
		require.ErrorIs(t, (<-s.ended).reason, link.ErrShutdown)
		<-c.Done()
	})
}

// When its context ends Shutdown closes what is left.
func TestShutdownGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t, link.Options{})
		peer, c := s.connect(t)
		write(t, peer, framed("request"))
		<-s.taken
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		began := time.Now()
		require.ErrorIs(t, s.Shutdown(ctx), context.DeadlineExceeded)
		require.Equal(t, 5*time.Second, time.Since(began))
		require.ErrorIs(t, (<-s.ended).reason, link.ErrShutdown)
		c.Reply(body([]byte("too late")))
	})
}

// starved fails to accept a number of times, as a process without free file
// descriptors does.
type starved struct {
	*pipes
	failures int
}

func (s *starved) Accept() (net.Conn, error) {
	if s.failures > 0 {
		s.failures--
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: errStarved}
	}
	return s.pipes.Accept()
}

// An accept that fails is tried again after a growing pause, and the server
// lives on.
func TestAcceptBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const failures = 12
		ln := &starved{pipes: newPipes(), failures: failures}
		opened := make(chan time.Time, 1)
		metrics, reg := newMetrics(t)
		s, err := link.NewServer(ln, link.Options{Metrics: metrics}, handlerFuncs{
			open: func(*link.Conn) { opened <- time.Now() },
		})
		require.NoError(t, err)
		began := time.Now()
		run(t, s)
		peer := ln.dial()
		defer hangUp(peer)
		// 5, 10, 20 ... 640 ms, then 1 s each.
		require.Equal(t, 1275*time.Millisecond+4*time.Second, (<-opened).Sub(began))
		require.InDelta(t, failures, value(t, reg, "link_accept_errors_total", ""), 0)
	})
}

// A handler that closes while the next frame has begun need not wait for it: the
// time limit of the half frame must not put off the end.
func TestCloseAfterFlushWithinAHalfFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipes, ended := newPipes(), make(chan ending, 1)
		s, err := link.NewServer(pipes, link.Options{}, handlerFuncs{
			frames: func(c *link.Conn, frames [][]byte) {
				c.CloseAfterFlush(io.ErrNoProgress)
				c.Reply(body(frames[0]))
			},
			closed: func(_ *link.Conn, reason error) { ended <- ending{reason, time.Now()} },
		})
		require.NoError(t, err)
		run(t, s)
		began := time.Now()
		peer := pipes.dial()
		defer hangUp(peer)
		write(t, peer, append(framed("bye"), 0))
		require.Equal(t, "bye", nextFrame(t, peer))
		require.Equal(t, ending{io.ErrNoProgress, began}, <-ended)
	})
}

// While a handler wants a pause the connection is not read; what came meanwhile is handed
// over together, the next frames at once again. A connection that is told to end does not
// wait for it.
func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var handed []int
		pause := time.Second
		p := newPipes()
		server, err := link.NewServer(p, link.Options{}, handlerFuncs{
			open: func(*link.Conn) {},
			frames: func(c *link.Conn, frames [][]byte) {
				handed = append(handed, len(frames))
				c.Pause(pause)
				for range frames {
					c.Drop()
				}
			},
			closed: func(*link.Conn, error) {},
		})
		require.NoError(t, err)
		run(t, server)
		peer := p.dial()
		defer hangUp(peer)
		write(t, peer, framed("first"))
		synctest.Wait()
		began := time.Now()
		pause = 0
		write(t, peer, append(framed("second"), framed("third")...)) // Taken once the connection is read.
		require.Equal(t, time.Second, time.Since(began))
		write(t, peer, framed("fourth"))
		require.Equal(t, time.Second, time.Since(began), "no pause was asked for")
		synctest.Wait()
		require.Equal(t, []int{1, 2, 1}, handed)

		pause = time.Hour
		began = time.Now()
		write(t, peer, framed(strings.Repeat("x", 4094))) // All of a buffer.
		write(t, peer, framed("next"))
		require.Zero(t, time.Since(began), "there was more")
		synctest.Wait()
		pause = 0
		write(t, peer, framed("after that"))
		require.Equal(t, time.Hour, time.Since(began))
		synctest.Wait()

		began = time.Now()
		pause = time.Hour
		write(t, peer, framed("fifth"))
		synctest.Wait()
		require.NoError(t, server.Shutdown(t.Context()))
		require.Less(t, time.Since(began), 10*time.Second, "not after an hour")
	})
}

// A read of a TLS session brings one record, so that a pause after each would be one for
// every few frames of a peer that sends them singly: there is none.
func TestNoPauseWithTLS(t *testing.T) {
	server, client := identities(t)
	taken := make(chan string, 10)
	s := serve(t, link.Options{TLS: server}, handlerFuncs{
		open: func(*link.Conn) {},
		frames: func(c *link.Conn, frames [][]byte) {
			for _, frame := range frames {
				taken <- string(frame)
				c.Drop()
			}
			c.Pause(time.Hour)
		},
		closed: func(*link.Conn, error) {},
	})
	peer, err := tls.Dial("tcp", s.Addr().String(), client)
	require.NoError(t, err)
	defer hangUp(peer)
	for _, frame := range []string{"one", "two", "three"} {
		write(t, peer, framed(frame))
		select {
		case got := <-taken:
			require.Equal(t, frame, got)
		case <-time.After(10 * time.Second):
			require.Fail(t, "not read", frame)
		}
	}
}
