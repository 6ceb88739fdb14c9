package link_test

import (
	"crypto/tls"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/switch/link"
)

// placed is a listener whose next connections come from the addresses of from.
type placed struct {
	*pipes
	from chan string
}

type placedConn struct {
	net.Conn
	addr net.Addr
}

func (c placedConn) RemoteAddr() net.Addr { return c.addr }

func (p *placed) Accept() (net.Conn, error) {
	c, err := p.pipes.Accept()
	if err != nil {
		return nil, err
	}
	addr, err := net.ResolveTCPAddr("tcp", <-p.from)
	return placedConn{c, addr}, err
}

// dial comes from an address, and reports whether it was let in.
func (p *placed) dialFrom(t *testing.T, addr string) (peer net.Conn, in bool) {
	t.Helper()
	p.from <- addr
	peer = p.dial()
	t.Cleanup(func() { hangUp(peer) })
	synctest.Wait()
	// A pipe takes no deadline once the other end is closed.
	return peer, peer.SetReadDeadline(time.Now().Add(time.Millisecond)) == nil
}

// One address has its number of connections and no more, whatever its ports; an IPv6
// subscriber has a /64 of addresses. Another address is not hindered, and who hangs up
// may come again.
func TestConnectionsOfOneSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		metrics, reg := newMetrics(t)
		ln := &placed{newPipes(), make(chan string, 1)}
		s, err := link.NewServer(ln, link.Options{MaxPerSource: 2, Metrics: metrics}, handlerFuncs{})
		require.NoError(t, err)
		run(t, s)
		var first net.Conn
		for i, c := range []struct {
			from string
			in   bool
		}{
			{"192.0.2.1:1", true},
			{"192.0.2.1:2", true},
			{"192.0.2.1:3", false},
			{"[::ffff:192.0.2.1]:4", false}, // The same, as a socket for both shows it.
			{"192.0.2.2:1", true},
			{"[2001:db8:0:1::1]:1", true},
			{"[2001:db8:0:1:ffff::2]:1", true},
			{"[2001:db8:0:1::3]:1", false},
			{"[2001:db8:0:2::1]:1", true},
		} {
			peer, in := ln.dialFrom(t, c.from)
			require.Equal(t, c.in, in, c.from)
			if i == 0 {
				first = peer
			}
		}
		require.InDelta(t, 3, value(t, reg, "link_refused_total", "too_many_of_source"), 0)
		hangUp(first)
		synctest.Wait()
		_, in := ln.dialFrom(t, "192.0.2.1:5")
		require.True(t, in)
	})
}

// A full listener gives the room of who has never sent a frame, for a second and more,
// to who comes; not that of anybody who has, and not that of half a frame sooner.
func TestSilentConnectionsMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		metrics, reg := newMetrics(t)
		s := newStation(t, link.Options{MaxConnections: 3, Metrics: metrics})
		speaker, served := s.connect(t)
		write(t, speaker, framed("hello"))
		require.Equal(t, "hello", <-s.taken)
		served.Drop()
		_, silent := s.connect(t)
		half, begun := s.connect(t)
		write(t, half, []byte{0, 9, 1})
		_, err := s.pipes.dial().Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF, "nobody has been silent for long")
		pass(time.Second)
		_, fourth := s.connect(t)
		<-silent.Done()
		require.ErrorIs(t, (<-s.ended).reason, link.ErrSilent)
		_, fifth := s.connect(t)
		<-begun.Done()
		require.ErrorIs(t, (<-s.ended).reason, link.ErrSilent)
		_, err = s.pipes.dial().Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
		require.True(t, served.Load().Open)
		require.True(t, fourth.Load().Open)
		require.True(t, fifth.Load().Open)
		require.InDelta(t, 2, value(t, reg, "link_closed_total", "silent"), 0)
		require.InDelta(t, 2, value(t, reg, "link_refused_total", "too_many_connections"), 0)
	})
}

// So many connections whose room was given away may be ending at a time, and no more,
// which bounds memory whatever ending takes; ended, they have left their room once.
func TestRoomIsGivenAwayOnce(t *testing.T) {
	const most, leaving = 70, 64
	synctest.Test(t, func(t *testing.T) {
		metrics, reg := newMetrics(t)
		ln := &placed{newPipes(), make(chan string, 1)}
		end := make(chan struct{})
		s, err := link.NewServer(ln, link.Options{MaxConnections: most, Metrics: metrics}, handlerFuncs{
			closed: func(*link.Conn, error) { <-end },
		})
		require.NoError(t, err)
		run(t, s)
		dial := func() bool {
			_, in := ln.dialFrom(t, "192.0.2.1:1")
			return in
		}
		for range most {
			require.True(t, dial())
		}
		pass(time.Second)
		var last net.Conn
		for range leaving {
			var in bool
			last, in = ln.dialFrom(t, "192.0.2.1:1")
			require.True(t, in)
		}
		require.False(t, dial(), "too many are ending")
		close(end)
		synctest.Wait()
		require.InDelta(t, leaving, value(t, reg, "link_closed_total", "silent"), 0)
		hangUp(last)
		synctest.Wait()
		require.True(t, dial(), "there is room")
		require.InDelta(t, leaving, value(t, reg, "link_closed_total", "silent"), 0, "nobody had to make it")
		require.True(t, dial())
		synctest.Wait()
		require.InDelta(t, leaving+1, value(t, reg, "link_closed_total", "silent"), 0)
	})
}

// A connection that never completes a frame ends after FirstFrame; one that did is idle
// for as long as Idle allows.
func TestFirstFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStation(t, link.Options{FirstFrame: 10 * time.Second, Idle: time.Minute})
		began := time.Now()
		s.connect(t)
		speaker, c := s.connect(t)
		pass(9 * time.Second)
		write(t, speaker, framed("hello"))
		require.Equal(t, "hello", <-s.taken)
		c.Drop()
		end := <-s.ended
		require.ErrorIs(t, end.reason, link.ErrSilent)
		require.Equal(t, 10*time.Second, end.at.Sub(began))
		end = <-s.ended
		require.ErrorIs(t, end.reason, link.ErrIdle)
		require.Equal(t, time.Minute+9*time.Second, end.at.Sub(began))
	})
}

// A handshake of which a byte comes each second ends after Handshake all the same.
func TestDrippingHandshake(t *testing.T) {
	server, _ := identities(t)
	synctest.Test(t, func(t *testing.T) {
		metrics, reg := newMetrics(t)
		pipes := newPipes()
		s, err := link.NewServer(pipes, link.Options{TLS: server, Metrics: metrics}, handlerFuncs{
			open: func(*link.Conn) { t.Error("a connection without a session was opened") },
		})
		require.NoError(t, err)
		run(t, s)
		peer := pipes.dial()
		defer hangUp(peer)
		began := time.Now()
		hello := append([]byte{22, 3, 1, 0, 200}, make([]byte, 200)...) // The record of a hello that never is complete.
		hello[5], hello[8] = 1, 196
		for _, b := range hello {
			if _, err = peer.Write([]byte{b}); err != nil {
				break
			}
			pass(time.Second)
		}
		require.Error(t, err)
		require.LessOrEqual(t, time.Since(began), link.DefaultHandshake+time.Second)
		synctest.Wait()
		require.InDelta(t, 1, value(t, reg, "link_refused_total", "handshake"), 0)
	})
}

// One identity has its number of connections; another one is not hindered.
func TestConnectionsOfOneIdentity(t *testing.T) {
	server, peer := identities(t)
	metrics, reg := newMetrics(t)
	who := make(chan string, 1)
	opened := make(chan *link.Conn, 10)
	s := serve(t, link.Options{
		TLS: server, Metrics: metrics, MaxPerIdentity: 2,
		Identify: func(state *tls.ConnectionState) string {
			require.NotEmpty(t, state.PeerCertificates)
			return <-who
		},
	}, handlerFuncs{open: func(c *link.Conn) { opened <- c }})
	connect := func(name string) (*link.Conn, <-chan error) {
		who <- name
		ended := make(chan error, 1)
		c, err := link.Dial(t.Context(), s.Addr().String(), link.Options{TLS: peer}, handlerFuncs{
			closed: func(_ *link.Conn, reason error) { ended <- reason },
		})
		require.NoError(t, err)
		t.Cleanup(func() { c.Close(nil); <-c.Done() })
		return c, ended
	}
	first, _ := connect("a")
	require.Equal(t, "a", (<-opened).Identity())
	connect("a")
	<-opened
	_, refused := connect("a")
	select {
	case err := <-refused:
		require.Error(t, err)
	case <-opened:
		require.Fail(t, "a third connection of one identity")
	}
	connect("b")
	require.Equal(t, "b", (<-opened).Identity())
	for range 2 {
		connect("") // Nobody in particular.
		<-opened
	}
	require.InDelta(t, 1, value(t, reg, "link_refused_total", "too_many_of_identity"), 0)
	first.CloseAfterFlush(nil)
	<-first.Done()
	for { // Until the server has heard of it.
		_, refused := connect("a")
		select {
		case c := <-opened:
			require.Equal(t, "a", c.Identity())
			return
		case err := <-refused:
			require.Error(t, err)
		}
	}
}
