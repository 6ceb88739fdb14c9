package link

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Bounds of the pause after an accept that failed.
const (
	leastPause = 5 * time.Millisecond
	mostPause  = time.Second
)

// Server accepts connections and keeps them until they end or it is shut down.
type Server struct {
	ln      net.Listener
	opts    *Options
	handler Handler

	attending sync.WaitGroup // the reading goroutines
	stopping  chan struct{}  // closed by stop

	mu      sync.Mutex // guards what follows
	stopped bool
	lastID  uint64
	conns   map[*Conn]struct{}
	census  census
	full    bool // connections are being refused, and that has been logged
}

// Listen opens a TCP listener on address (host:port; port 0 takes any free one)
// and makes a server of it. ctx is for the opening only. Its errors are those of
// the network and of [NewServer].
func Listen(ctx context.Context, address string, opts Options, handler Handler) (*Server, error) {
	if _, err := opts.complete(); err != nil {
		return nil, err
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("link: listen on %s: %w", address, err)
	}
	return NewServer(ln, opts, handler)
}

// NewServer makes a server of a listener of plain connections, which it closes in
// the end; opts.TLS turns TLS on. Nothing is accepted until Serve. Its error is
// [ErrOptions], and then the listener is still the caller's.
func NewServer(ln net.Listener, opts Options, handler Handler) (*Server, error) {
	complete, err := opts.complete()
	if err != nil {
		return nil, err
	}
	return &Server{
		ln:       ln,
		opts:     complete,
		handler:  handler,
		stopping: make(chan struct{}),
		conns:    make(map[*Conn]struct{}),
		census:   census{bySource: make(map[netip.Addr]int), byIdentity: make(map[string]int)},
	}, nil
}

// Addr is the address that the server listens on.
func (s *Server) Addr() net.Addr { return s.ln.Addr() }

// Serve accepts connections until ctx ends or Shutdown is called; both are no
// error. The open connections live on until Shutdown; handshakes that ctx ends
// fail. An accept that fails for any other reason, such as a process out of file
// descriptors, is counted, logged and tried again after a pause.
func (s *Server) Serve(ctx context.Context) error {
	defer context.AfterFunc(ctx, s.stop)()
	pause := leastPause
	for {
		raw, err := s.ln.Accept()
		if err == nil {
			pause = leastPause
			s.admit(ctx, raw)
			continue
		}
		if s.isStopped() {
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("link: the listener on %v was closed by somebody else: %w", s.Addr(), err)
		}
		s.opts.Metrics.acceptErrors.Inc()
		s.opts.Log.ErrorContext(ctx, "accept failed", "listener", s.Addr().String(), "error", err, "pause", pause)
		s.wait(pause)
		pause = min(2*pause, mostPause)
	}
}

// Shutdown ends the server in order: it stops accepting and reading, lets frames
// in flight be answered, writes the answers and closes. When ctx ends it closes
// what is left at once and returns the error of ctx. Whatever it returns, every
// Closed has returned by then and no goroutine of the server's connections is
// left. It may be called more than once, and without Serve.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop()
	s.each(func(c *Conn) { c.CloseAfterFlush(ErrShutdown) })
	gone := make(chan struct{})
	go func() {
		s.attending.Wait()
		close(gone)
	}()
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		s.each(func(c *Conn) { c.Close(ErrShutdown) })
		<-gone
		return fmt.Errorf("link: shutdown of %v closed connections with answers owed: %w", s.Addr(), ctx.Err())
	}
}

// Each calls visit for every connection whose handshake is done and which is not gone,
// such as to close those whose peers are no longer wanted.
func (s *Server) Each(visit func(*Conn)) {
	s.each(func(c *Conn) {
		if c.known.Load() {
			visit(c)
		}
	})
}

// stop closes the listener and keeps it closed.
func (s *Server) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return
	}
	s.stopped = true
	close(s.stopping)
	if err := s.ln.Close(); err != nil {
		s.opts.Log.Warn("closing the listener failed", "listener", s.Addr().String(), "error", err)
	}
}

// isStopped reports whether stop was called.
func (s *Server) isStopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopped
}

// each calls visit for every connection, without holding the lock.
func (s *Server) each(visit func(*Conn)) {
	s.mu.Lock()
	conns := make([]*Conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	for _, c := range conns {
		visit(c)
	}
}

// wait pauses for d, or less when the server stops.
func (s *Server) wait(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.stopping:
	}
}

// admit takes an accepted socket in, or closes it when there are too many.
func (s *Server) admit(ctx context.Context, raw net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	source := sourceOf(raw.RemoteAddr())
	if reason := s.room(source); reason != nil {
		if !s.full && !errors.Is(reason, ErrShutdown) {
			s.full = true
			s.opts.Log.WarnContext(ctx, "connections are refused", "listener", s.Addr().String(),
				"peer", raw.RemoteAddr().String(), "open", len(s.conns), "error", reason)
		}
		s.refuse(raw, reason)
		return
	}
	s.full = false
	s.lastID++
	c := newConn(s.lastID, raw, s.opts, s.handler)
	c.server, c.source, c.accepted = s, source, now()
	s.conns[c] = struct{}{}
	s.census.enter(c)
	s.attending.Go(func() { s.attend(ctx, c) })
}

// room tells why a connection from source is refused, nil if it is not; mu is held. A
// full listener lets the connection go that has been silent for longest, so that who
// only holds connections open keeps nobody out.
func (s *Server) room(source netip.Addr) error {
	switch {
	case s.stopped:
		return ErrShutdown
	case s.opts.MaxPerSource > 0 && source.IsValid() && s.census.bySource[source] >= s.opts.MaxPerSource:
		return ErrTooManyOfSource
	case len(s.conns)-s.census.leaving < s.opts.MaxConnections:
		return nil // What was let go needs a moment to end.
	}
	c := s.census.oldest
	if c == nil || s.census.leaving >= mostLeaving || now().Sub(c.accepted) < timeToSpeak {
		return ErrTooManyConnections
	}
	s.census.speak(c)
	s.census.leaving++
	c.evicted = true
	c.Close(fmt.Errorf("%w, and another needed its room", ErrSilent))
	return nil
}

// refuse closes a socket that nothing was read from.
func (s *Server) refuse(raw net.Conn, reason error) {
	s.opts.Metrics.refused.WithLabelValues(labelOf(reason)).Inc()
	// An error would tell of a peer that has gone already.
	_ = raw.Close()
}

// attend is the reading goroutine of one connection.
func (s *Server) attend(ctx context.Context, c *Conn) {
	defer s.forget(c)
	if s.opts.TLS != nil {
		if err := c.handshake(ctx, tls.Server, s.opts.TLS); err != nil {
			s.opts.Log.InfoContext(ctx, "handshake failed", "listener", s.Addr().String(),
				"peer", c.RemoteAddr().String(), "error", err)
			c.abandon(err)
			return
		}
		if err := s.identified(c); err != nil {
			s.opts.Log.WarnContext(ctx, "connection is refused", "listener", s.Addr().String(),
				"peer", c.RemoteAddr().String(), "identity", c.identity, "error", err)
			c.abandon(err)
			return
		}
	}
	c.open()
	c.run()
}

// forget makes room for another connection.
func (s *Server) forget(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	s.census.leave(c)
}
