package link_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/switch/link"
)

// errStarved is what accept says when no file descriptor is free.
var errStarved error = syscall.EMFILE

// newMetrics returns metrics and where to read them.
func newMetrics(t testing.TB) (*link.Metrics, *prometheus.Registry) {
	t.Helper()
	reg := prometheus.NewRegistry()
	m, err := link.NewMetrics(reg, "pos")
	require.NoError(t, err)
	return m, reg
}

// value reads one series; label is the value of its variable label, or empty.
func value(t testing.TB, reg *prometheus.Registry, name, label string) float64 {
	t.Helper()
	families, err := reg.Gather()
	require.NoError(t, err)
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			found, constant := label == "", false
			for _, l := range m.GetLabel() {
				found = found || l.GetValue() == label
				constant = constant || l.GetName() == "listener" && l.GetValue() == "pos"
			}
			require.True(t, constant, "the listener's name is missing")
			if found {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	t.Fatalf("no series %s %s", name, label)
	return 0
}

// A bad length closes the connection without an answer, after the frames before
// it, and is counted; a stream that ends is told from one that is cut off.
func TestEndsOfStreams(t *testing.T) {
	for name, tc := range map[string]struct {
		stream []byte
		taken  int
		reason error
		closed string
		kind   string
	}{
		"length 0":              {append(framed("ok"), 0, 0), 1, link.ErrFrameEmpty, "frame_empty", "empty"},
		"length 4,097":          {[]byte{0x10, 0x01}, 0, link.ErrFrameTooLong, "frame_too_long", "too_long"},
		"end within a length":   {[]byte{0}, 0, link.ErrTruncated, "truncated", "truncated"},
		"end within a frame":    {append(framed("ok"), 0, 2, 1), 1, link.ErrTruncated, "truncated", "truncated"},
		"end between two":       {framed("ok", "ok"), 2, link.ErrPeerClosed, "peer_closed", ""},
		"end before everything": {nil, 0, link.ErrPeerClosed, "peer_closed", ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				metrics, reg := newMetrics(t)
				s := newStation(t, link.Options{Metrics: metrics})
				peer, c := s.connect(t)
				if tc.stream != nil {
					write(t, peer, tc.stream)
				}
				synctest.Wait()
				require.Len(t, s.taken, tc.taken)
				for range tc.taken {
					c.Drop()
				}
				if errors.Is(tc.reason, link.ErrPeerClosed) || errors.Is(tc.reason, link.ErrTruncated) {
					hangUp(peer)
				} else {
					_, err := peer.Read(make([]byte, 1))
					require.ErrorIs(t, err, io.EOF, "closed without an answer")
				}
				require.ErrorIs(t, (<-s.ended).reason, tc.reason)
				require.InDelta(t, 1, value(t, reg, "link_closed_total", tc.closed), 0)
				require.InDelta(t, 0, value(t, reg, "link_connections", ""), 0)
				if tc.kind != "" {
					require.InDelta(t, 1, value(t, reg, "link_bad_frames_total", tc.kind), 0)
				}
			})
		})
	}
}

// L7: frames before a bad length are still answered.
func TestAnswersBeforeABadLength(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t, link.Options{})
		peer, c := s.connect(t)
		write(t, peer, append(framed("request"), 0, 0))
		<-s.taken
		c.Reply(body([]byte("answer")))
		require.Equal(t, "answer", nextFrame(t, peer))
		require.ErrorIs(t, (<-s.ended).reason, link.ErrFrameEmpty)
	})
}

// What may not be sent is refused, named, and leaves the connection as it was.
func TestSendRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		metrics, reg := newMetrics(t)
		s := newStation(t, link.Options{MaxFrame: 100, MaxPending: 150, Metrics: metrics})
		peer, c := s.connect(t)
		require.ErrorIs(t, c.Send(body(nil)), link.ErrBody)
		require.ErrorIs(t, c.Send(body(make([]byte, 101))), link.ErrBody)
		require.ErrorIs(t, c.Send(func([]byte) []byte { return nil }), link.ErrBody)
		require.InDelta(t, 3, value(t, reg, "link_bad_frames_total", "outgoing"), 0)

		require.NoError(t, c.Send(body(make([]byte, 100))))
		synctest.Wait() // It is in the hands of the network, which counts.
		require.ErrorIs(t, c.Send(body(make([]byte, 47))), link.ErrBacklog)
		require.NoError(t, c.Send(body(make([]byte, 46))))
		require.Len(t, nextFrame(t, peer), 100)
		require.Len(t, nextFrame(t, peer), 46)
		require.Empty(t, s.ended)

		c.Close(nil)
		require.ErrorIs(t, c.Send(body([]byte("x"))), link.ErrClosed)
		require.ErrorIs(t, (<-s.ended).reason, link.ErrClosed)
	})
}

// An answer that is empty or too long is not sent; it still finishes its frame,
// and the answers of others go on.
func TestBadAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		metrics, reg := newMetrics(t)
		s := newStation(t, link.Options{MaxFrame: 100, MaxInFlight: 3, Metrics: metrics})
		peer, c := s.connect(t)
		write(t, peer, framed("1", "2", "3"))
		synctest.Wait()
		c.Reply(body(nil))
		c.Reply(body(make([]byte, 101)))
		c.Reply(body([]byte("good")))
		require.Equal(t, "good", nextFrame(t, peer))
		require.InDelta(t, 2, value(t, reg, "link_bad_frames_total", "outgoing"), 0)
		require.InDelta(t, 0, value(t, reg, "link_in_flight", ""), 0)
	})
}

// A peer that asks and does not read fills MaxPending and is let go at once.
func TestBacklogOfAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t, link.Options{MaxFrame: 100, MaxPending: 204})
		peer, c := s.connect(t)
		write(t, peer, framed("1", "2", "3"))
		synctest.Wait()
		for range 3 {
			require.Empty(t, s.ended)
			c.Reply(body(make([]byte, 100)))
			synctest.Wait()
		}
		require.ErrorIs(t, (<-s.ended).reason, link.ErrBacklog)
	})
}

// L3: everything may be called after the connection is gone. A late answer is
// not even computed, and counted.
func TestCallsAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		metrics, reg := newMetrics(t)
		s := newStation(t, link.Options{Metrics: metrics})
		peer, c := s.connect(t)
		write(t, peer, framed("1", "2"))
		synctest.Wait()
		require.InDelta(t, 2, value(t, reg, "link_in_flight", ""), 0)
		c.Close(io.ErrNoProgress)
		require.Equal(t, io.ErrNoProgress, (<-s.ended).reason)
		<-c.Done()
		c.Close(nil)
		c.CloseAfterFlush(nil)
		c.Reply(func([]byte) []byte {
			t.Error("the answer of a connection that is gone was asked for")
			return nil
		})
		c.Drop()
		require.InDelta(t, 0, value(t, reg, "link_in_flight", ""), 0)
		require.InDelta(t, 1, value(t, reg, "link_replies_after_close_total", ""), 0)
		require.InDelta(t, 1, value(t, reg, "link_closed_total", "handler"), 0)
	})
}

// L2: a second answer to a frame is a fault of ours and is not passed over.
func TestSecondReplyPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t, link.Options{})
		peer, c := s.connect(t)
		write(t, peer, framed("1"))
		<-s.taken
		c.Drop()
		require.PanicsWithValue(t, "link: connection 1: Reply or Drop without a frame in flight", c.Drop)
		require.PanicsWithValue(t, "link: connection 1: Reply or Drop without a frame in flight", func() {
			c.Reply(body([]byte("again")))
		})
	})
}

// What collects while the writer is busy goes out in one write.
func TestWritesCoalesce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		metrics, reg := newMetrics(t)
		s := newStation(t, link.Options{Metrics: metrics})
		peer, c := s.connect(t)
		for range 100 {
			require.NoError(t, c.Send(body([]byte("frame"))))
			synctest.Wait()
		}
		for range 100 {
			require.Equal(t, "frame", nextFrame(t, peer))
		}
		synctest.Wait()
		require.InDelta(t, 2, value(t, reg, "link_frames_per_write", ""), 0)
		require.InDelta(t, 100, value(t, reg, "link_frames_out_total", ""), 0)
		require.InDelta(t, 700, value(t, reg, "link_bytes_out_total", ""), 0)
	})
}

// One connection over MaxConnections is closed at once and never shown to the
// handler; when one ends, another is taken.
func TestTooManyConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		metrics, reg := newMetrics(t)
		var log strings.Builder
		s := newStation(t, link.Options{MaxConnections: 2, Metrics: metrics, Log: logTo(&log)})
		_, first := s.connect(t)
		_, second := s.connect(t)
		require.Equal(t, []uint64{1, 2}, []uint64{first.ID(), second.ID()})
		for range 3 {
			_, err := s.pipes.dial().Read(make([]byte, 1))
			require.ErrorIs(t, err, io.EOF)
		}
		require.InDelta(t, 3, value(t, reg, "link_refused_total", "too_many_connections"), 0)
		require.Equal(t, 1, strings.Count(log.String(), "connections are refused"), "logged once")
		first.Close(nil)
		<-first.Done()
		synctest.Wait()
		_, third := s.connect(t)
		require.Equal(t, uint64(3), third.ID())
		require.InDelta(t, 3, value(t, reg, "link_accepted_total", ""), 0)
	})
}

// An option out of its range is named.
func TestOptions(t *testing.T) {
	for want, opts := range map[string]link.Options{
		"MaxFrame is 65536":    {MaxFrame: 65_536, MaxPending: 1 << 20},
		"MaxFrame is -1":       {MaxFrame: -1},
		"MaxInFlight is -1":    {MaxInFlight: -1},
		"MaxPending is 4097":   {MaxPending: 4097},
		"MaxConnections is -2": {MaxConnections: -2},
		"Idle is -1ns":         {Idle: -1},
		"HalfFrame is -1ns":    {HalfFrame: -1},
		"Write is -1ns":        {Write: -1},
		"Handshake is -1ns":    {Handshake: -1},
		"Drain is -1ns":        {Drain: -1},
	} {
		_, err := link.NewServer(newPipes(), opts, echo{})
		require.ErrorIs(t, err, link.ErrOptions)
		require.ErrorContains(t, err, want)
		_, err = link.Dial(t.Context(), "127.0.0.1:1", opts, echo{})
		require.ErrorIs(t, err, link.ErrOptions)
	}
}

// Two listeners share a registry, two of one name do not.
func TestMetricsNames(t *testing.T) {
	reg := prometheus.NewRegistry()
	for _, name := range []string{"pos", "host"} {
		_, err := link.NewMetrics(reg, name)
		require.NoError(t, err)
	}
	_, err := link.NewMetrics(reg, "pos")
	require.ErrorContains(t, err, `listener "pos"`)
}

// A dialled connection carries requests out and answers in, in any order, and is
// the caller's to end.
func TestDial(t *testing.T) {
	server, peer := identities(t)
	for name, config := range map[string][2]*tls.Config{"plain": {}, "mutual TLS": {server, peer}} {
		t.Run(name, func(t *testing.T) {
			subject := make(chan string, 1)
			s := serve(t, link.Options{TLS: config[0]}, handlerFuncs{
				open: func(c *link.Conn) {
					c.Session = "a session"
					if c.TLS() == nil {
						subject <- ""
						return
					}
					subject <- c.TLS().PeerCertificates[0].Subject.CommonName
				},
				frames: func(c *link.Conn, frames [][]byte) {
					require.Equal(t, "a session", c.Session)
					for _, frame := range slices.Backward(frames) {
						c.Reply(body(frame))
					}
				},
			})
			answers := make(chan string, 3)
			ended := make(chan error, 1)
			c, err := link.Dial(t.Context(), s.Addr().String(), link.Options{TLS: config[1], ID: 7}, handlerFuncs{
				open: func(c *link.Conn) { require.NoError(t, c.Send(body([]byte("sign on")))) },
				frames: func(c *link.Conn, frames [][]byte) {
					for _, frame := range frames {
						answers <- string(frame)
						c.Drop()
					}
				},
				closed: func(_ *link.Conn, reason error) { ended <- reason },
			})
			require.NoError(t, err)
			require.Equal(t, uint64(7), c.ID())
			require.Equal(t, s.Addr().String(), c.RemoteAddr().String())
			require.Equal(t, "sign on", <-answers)
			if config[0] == nil {
				require.Empty(t, <-subject)
			} else {
				require.Equal(t, "terminal 12345678", <-subject)
			}
			require.NoError(t, c.Send(body([]byte("request"))))
			require.Equal(t, "request", <-answers)
			c.CloseAfterFlush(nil)
			<-c.Done()
			require.ErrorIs(t, <-ended, link.ErrClosed)
		})
	}
}

// A TCP connection on which no handshake begins is let go after Handshake.
func TestMutePeerGetsNoSession(t *testing.T) {
	server, _ := identities(t)
	s := serve(t, link.Options{TLS: server, Handshake: 50 * time.Millisecond}, handlerFuncs{
		open: func(*link.Conn) { t.Error("a connection without a session was opened") },
	})
	mute, err := net.Dial("tcp", s.Addr().String())
	require.NoError(t, err)
	defer hangUp(mute)
	_, err = mute.Read(make([]byte, 1))
	require.Error(t, err)
}

// A peer without a certificate gets no session, is counted, and the handler
// never hears of it.
func TestHandshake(t *testing.T) {
	server, peer := identities(t)
	metrics, reg := newMetrics(t)
	s := serve(t, link.Options{TLS: server, Metrics: metrics}, handlerFuncs{
		open: func(*link.Conn) { t.Error("a connection without a session was opened") },
	})

	stranger := peer.Clone()
	stranger.Certificates = nil
	ended := make(chan error, 1)
	// With TLS 1.3 the client learns of the refusal at its first read only.
	c, err := link.Dial(t.Context(), s.Addr().String(), link.Options{TLS: stranger}, handlerFuncs{
		closed: func(_ *link.Conn, reason error) { ended <- reason },
	})
	require.NoError(t, err)
	require.Error(t, <-ended)
	<-c.Done()

	distrustful := peer.Clone()
	distrustful.RootCAs = nil
	_, err = link.Dial(t.Context(), s.Addr().String(), link.Options{TLS: distrustful}, echo{})
	require.ErrorIs(t, err, link.ErrHandshake)

	require.NoError(t, s.Shutdown(context.Background()))
	require.InDelta(t, 2, value(t, reg, "link_refused_total", "handshake"), 0)
	require.InDelta(t, 0, value(t, reg, "link_accepted_total", ""), 0)
}

// A peer that hangs up with requests in flight hurts nobody: the answers go
// nowhere, the next peer is served, and everything is given back.
func TestHangUpWithRequestsInFlight(t *testing.T) {
	metrics, reg := newMetrics(t)
	var answering sync.WaitGroup
	release := make(chan struct{})
	ended := make(chan error, 50)
	s := serve(t, link.Options{Metrics: metrics}, handlerFuncs{
		frames: func(c *link.Conn, frames [][]byte) {
			for range frames {
				answering.Go(func() {
					<-release
					c.Reply(body(make([]byte, 1000)))
				})
			}
		},
		closed: func(_ *link.Conn, reason error) { ended <- reason },
	})
	for i := range 50 {
		peer, err := net.Dial("tcp", s.Addr().String())
		require.NoError(t, err)
		write(t, peer, framed(strings.Split(strings.Repeat("request ", 100), " ")[:100]...))
		if i%2 == 0 {
			require.NoError(t, peer.(*net.TCPConn).SetLinger(0)) // A reset instead of an end.
		}
		require.NoError(t, peer.Close())
	}
	close(release)
	for range 50 {
		require.Error(t, <-ended)
	}
	answering.Wait()

	peer, err := net.Dial("tcp", s.Addr().String())
	require.NoError(t, err)
	defer hangUp(peer)
	write(t, peer, framed("still there?"))
	require.Len(t, nextFrame(t, peer), 1000)
	answering.Wait()
	require.InDelta(t, 0, value(t, reg, "link_in_flight", ""), 0)
}

// A connection that the peer has reset ends at once: no answer can reach it, so
// none is waited for.
func TestResetEndsAtOnce(t *testing.T) {
	taken, ended := make(chan *link.Conn, 1), make(chan error, 1)
	s := serve(t, link.Options{}, handlerFuncs{
		frames: func(c *link.Conn, _ [][]byte) { taken <- c },
		closed: func(_ *link.Conn, reason error) { ended <- reason },
	})
	peer, err := net.Dial("tcp", s.Addr().String())
	require.NoError(t, err)
	write(t, peer, framed("never answered"))
	c := <-taken
	require.NoError(t, peer.(*net.TCPConn).SetLinger(0))
	require.NoError(t, peer.Close())
	reason := <-ended
	require.ErrorIs(t, reason, link.ErrNetwork)
	require.NotErrorIs(t, reason, link.ErrDrain)
	c.Drop()
}

// The last answer reaches a peer that goes on sending: closing a socket with
// unread bytes must not reset it away.
func TestLastAnswerSurvivesUnreadBytes(t *testing.T) {
	s := serve(t, link.Options{}, handlerFuncs{
		frames: func(c *link.Conn, frames [][]byte) {
			c.CloseAfterFlush(io.ErrNoProgress)
			for range frames[1:] {
				c.Drop()
			}
			c.Reply(body([]byte("go away")))
		},
	})
	for range 20 {
		peer, err := net.Dial("tcp", s.Addr().String())
		require.NoError(t, err)
		write(t, peer, framed("bad"))
		write(t, peer, make([]byte, 100_000))
		require.Equal(t, "go away", nextFrame(t, peer))
		_, err = peer.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
		hangUp(peer)
	}
}

// L6: Open, Frames and Closed of one connection never overlap, under calls from
// everywhere at once and ends of every kind.
func TestCallbacksNeverOverlap(t *testing.T) {
	type state struct{ inside, ended atomic.Bool }
	var answering sync.WaitGroup
	var closed atomic.Int64
	enter := func(c *link.Conn) func() {
		st := c.Session.(*state)
		if st.ended.Load() || !st.inside.CompareAndSwap(false, true) {
			t.Error("two callbacks overlap, or one came after Closed")
		}
		return func() { st.inside.Store(false) }
	}
	s := serve(t, link.Options{MaxInFlight: 8}, handlerFuncs{
		open: func(c *link.Conn) {
			c.Session = new(state)
			defer enter(c)()
		},
		frames: func(c *link.Conn, frames [][]byte) {
			defer enter(c)()
			for _, frame := range frames {
				name := string(frame)
				answering.Go(func() {
					if name == "die" {
						c.Close(nil)
					}
					if name == "end" {
						c.CloseAfterFlush(nil)
					}
					c.Reply(body([]byte(name)))
				})
			}
		},
		closed: func(c *link.Conn, _ error) {
			leave := enter(c)
			c.Session.(*state).ended.Store(true)
			leave()
			closed.Add(1)
		},
	})
	var peers sync.WaitGroup
	for i := range 40 {
		peers.Go(func() {
			peer, err := net.Dial("tcp", s.Addr().String())
			if err != nil {
				t.Error(err)
				return
			}
			defer hangUp(peer)
			last := []string{"die", "end", "x"}[i%3]
			if _, err := peer.Write(framed("a", "b", "c", "d", "e", "f", "g", "h", "i", "j", last)); err != nil {
				return // Let go of already.
			}
			_, _ = io.CopyN(io.Discard, peer, 20)
		})
	}
	peers.Wait()
	require.NoError(t, s.Shutdown(context.Background()))
	answering.Wait()
	require.Equal(t, int64(40), closed.Load())
}

// No frame costs an allocation once a connection is warm.
func TestNoAllocationPerFrame(t *testing.T) {
	s := serve(t, link.Options{}, echo{})
	peer, err := net.Dial("tcp", s.Addr().String())
	require.NoError(t, err)
	defer hangUp(peer)
	request := framed(strings.Split(strings.Repeat("request ", 50), " ")[:50]...)
	answer := make([]byte, len(request))
	exchange := func() {
		write(t, peer, request)
		_, err := io.ReadFull(peer, answer)
		require.NoError(t, err)
	}
	for range 100 {
		exchange()
	}
	require.Equal(t, request, answer)
	// Fifty frames each: less than one allocation for all of them together.
	require.Less(t, testing.AllocsPerRun(200, exchange), 1.0)
}

// 10,000 idle connections must fit a modest budget.
func TestIdleConnectionsAreSmall(t *testing.T) {
	server, client := identities(t)
	for name, tc := range map[string]struct {
		conns        int
		most         int64 // bytes
		server, peer *tls.Config
	}{
		"plain":      {1000, 20 << 10, nil, nil},
		"mutual TLS": {200, 80 << 10, server, client},
	} {
		t.Run(name, func(t *testing.T) {
			opened := make(chan *link.Conn, tc.conns)
			s := serve(t, link.Options{TLS: tc.server}, handlerFuncs{open: func(c *link.Conn) { opened <- c }})
			before := memory()
			for range tc.conns {
				peer, err := net.Dial("tcp", s.Addr().String())
				require.NoError(t, err)
				defer hangUp(peer)
				if tc.peer != nil {
					session := tls.Client(peer, tc.peer)
					require.NoError(t, session.Handshake())
					defer hangUp(session)
				}
				<-opened
			}
			// The peers' ends are in the figure: it errs on the safe side.
			per := (memory() - before) / int64(tc.conns)
			t.Logf("%d bytes per idle connection, its peer's end included", per)
			require.Less(t, per, tc.most)
		})
	}
}

// memory is what the heap and the stacks hold now.
func memory() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// Who is at the other end is what Admit says of the session, before Open; whom it
// refuses is not opened, and the reason is told. Without TLS it is Options.Peer.
func TestPeer(t *testing.T) {
	server, peer := identities(t)
	refused := make(chan error, 1)
	var unwanted atomic.Bool
	stranger := errors.New("a stranger")
	opened := make(chan *link.Conn, 1)
	s := serve(t, link.Options{
		TLS: server, Refused: func(err error) { refused <- err },
		Admit: func(session *tls.ConnectionState) (any, error) {
			if unwanted.Load() {
				return nil, stranger
			}
			return session.PeerCertificates[0].Subject.CommonName, nil
		},
	}, handlerFuncs{open: func(c *link.Conn) { opened <- c }})
	c, err := link.Dial(t.Context(), s.Addr().String(), link.Options{TLS: peer}, echo{})
	require.NoError(t, err)
	require.Nil(t, c.Peer())
	mine := <-opened
	require.Equal(t, "terminal 12345678", mine.Peer())
	unwanted.Store(true)
	other, err := link.Dial(t.Context(), s.Addr().String(), link.Options{TLS: peer}, echo{})
	require.NoError(t, err) // It hears of it at its first read.
	require.ErrorIs(t, <-refused, stranger)
	<-other.Done()
	require.Empty(t, opened)

	reason := errors.New("no longer wanted")
	closed := 0
	s.Each(func(c *link.Conn) {
		closed++
		c.Close(reason)
	})
	<-c.Done()
	require.Equal(t, 1, closed)

	plain := serve(t, link.Options{Peer: "somebody"}, handlerFuncs{open: func(c *link.Conn) { opened <- c }})
	c, err = link.Dial(t.Context(), plain.Addr().String(), link.Options{Peer: "we"}, echo{})
	require.NoError(t, err)
	require.Equal(t, "we", c.Peer())
	require.Equal(t, "somebody", (<-opened).Peer())
	c.Close(nil)
	<-c.Done()
}
