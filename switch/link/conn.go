package link

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Handler is told what happens on connections. Its methods run on the
// connection's reading goroutine, one at a time; while one runs, that connection
// is not read, so none may block.
type Handler interface {
	// Open comes first, before anything is read. It may set c.Session, send, or
	// close. (For a dialled connection it runs on the goroutine that dials.)
	Open(c *Conn)
	// Frames brings all complete frames of one read, in order, without their
	// prefix, as far as Options.MaxInFlight allows; the rest follows when there
	// is room. The slices are valid until Frames returns, and may be written to.
	// Each frame is in flight until exactly one Reply or Drop.
	Frames(c *Conn, frames [][]byte)
	// Closed comes last, once nothing more is read or written, with the reason.
	// Frames may still be in flight; their Reply does nothing.
	Closed(c *Conn, reason error)
}

// state is where a connection is in its life; see the picture in the package
// comment. It only grows.
type state uint8

const (
	stateOpen state = iota + 1
	stateDraining
	stateFlushing
	stateClosed
)

// Conn is one connection. Servers and [Dial] make them.
type Conn struct {
	// Session is the handler's. It is set in Open and belongs to the reading
	// goroutine: whoever else wants it gets it from the handler.
	Session any

	known   atomic.Bool // Open is called: who is at the other end is known
	id      uint64
	opts    *Options
	handler Handler
	raw     net.Conn // the socket; closing it never waits for the peer
	wire    net.Conn // what is read and written: raw, or TLS over it

	// Of the server that accepted it; see census.go.
	server       *Server
	source       netip.Addr
	accepted     time.Time
	older, newer *Conn // among those that have sent no frame; guarded by Server.mu
	silent       bool  // it is among them; guarded by Server.mu
	evicted      bool  // its room has been given away; guarded by Server.mu
	counted      bool  // by identity; guarded by Server.mu

	// Of the reading goroutine.
	tls        *tls.ConnectionState
	peer       any
	identity   string
	opened     time.Time
	spoke      bool // a whole frame came
	in         assembler
	frames     [][]byte      // reused for every call of Frames
	active     bool          // bytes came since buffers were given back last
	alarm      time.Time     // the read deadline that is set; zero if none
	quietSince time.Time     // since when the reader waits for bytes
	halfSince  time.Time     // since when it waits for the rest of a frame; zero if none has begun
	full       bool          // the last read filled the buffer
	pause      time.Duration // the handler wants before the next read
	pausing    *time.Timer   // nil: it never did

	mu      sync.Mutex // guards what follows
	state   state
	reason  error
	pending sync.Cond // the writer waits on it for out to fill or the state to change
	// Two buffers change places: out collects while the writer writes the other.
	out, spare []byte
	outFrames  int                   // frames in out
	writing    int                   // bytes in the writer's hands
	boxed      bool                  // an [Outbox] is going to write out
	direct     syscall.RawConn       // the socket, for writes that do not wait; nil if it has none
	pushOnce   func(fd uintptr) bool // one such write of out
	pushed     int                   // what it took
	inFlight   int
	// wakeAt is the number in flight at which the waiting reader is woken; -1 if
	// it does not wait.
	wakeAt int

	room    chan struct{} // capacity 1: wakes the reader that waits for frames in flight
	gone    chan struct{} // closed with stateClosed
	written chan struct{} // closed when the writing goroutine has ended
	done    chan struct{} // closed when the reading goroutine has ended
}

// newConn makes a connection over raw; opts are complete.
func newConn(id uint64, raw net.Conn, opts *Options, handler Handler) *Conn {
	c := &Conn{
		id: id, opts: opts, handler: handler, raw: raw, wire: raw, peer: opts.Peer,
		in:      assembler{maxFrame: opts.MaxFrame},
		state:   stateOpen,
		wakeAt:  -1,
		room:    make(chan struct{}, 1),
		gone:    make(chan struct{}),
		written: make(chan struct{}),
		done:    make(chan struct{}),
	}
	c.pending.L = &c.mu
	if socket, ok := raw.(syscall.Conn); ok {
		c.direct, _ = socket.SyscallConn() // nil for a socket that is closed already
		c.pushOnce = func(fd uintptr) bool {
			c.pushed = tryWrite(fd, c.out)
			return true
		}
	}
	return c
}

// ID tells connections of one server apart: 1, 2, 3 and on in order of
// accepting. For a dialled connection it is Options.ID.
func (c *Conn) ID() uint64 { return c.id }

// RemoteAddr is the peer's address.
func (c *Conn) RemoteAddr() net.Addr { return c.raw.RemoteAddr() }

// TLS is the state of the TLS session with the peer's certificates, nil over
// plain TCP. It is known from Open on and must not be changed.
func (c *Conn) TLS() *tls.ConnectionState { return c.tls }

// Peer is what Options.Admit, or Options.Peer, says of who is at the other end. It
// is known from Open on.
func (c *Conn) Peer() any { return c.peer }

// Identity is who the peer is, as Options.Identify says; "" over plain TCP. It is known
// from Open on.
func (c *Conn) Identity() string { return c.identity }

// Pause puts the next read off by d, for the handler to call in Frames: what comes
// meanwhile is read, and answered, together. The network holds the peer up when it sends
// more than fits into a socket. It is meant to be short beside the deadlines of [Options].
// A read that filled the buffer is followed by the next one at once, since there is most likely
// more already; so is one of a TLS session, which brings one record however many there are.
func (c *Conn) Pause(d time.Duration) { c.pause = d }

// Load is how a connection is at one moment.
type Load struct {
	Open     bool // it is read, as far as MaxInFlight allows
	InFlight int  // frames handed over and not finished
	Pending  int  // bytes that wait to be written, those in the hands of the network included
}

// Load tells how the connection is.
func (c *Conn) Load() Load {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Load{Open: c.state == stateOpen, InFlight: c.inFlight, Pending: len(c.out) + c.writing}
}

// Done is closed after the handler's Closed has returned: then no goroutine of
// the connection is left.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Reply finishes one frame in flight with an answer. It calls answer at once, on
// the calling goroutine, to append the body to dst and return the result; link
// writes the length. answer must not keep dst nor use the connection.
//
// An answer that is empty or over Options.MaxFrame is not sent and counted as a
// bad frame; one that no longer fits into Options.MaxPending ends the connection
// with [ErrBacklog], because a peer that asks and does not read would fill the
// memory. After the connection is gone answer is not called, and that is counted.
func (c *Conn) Reply(answer func(dst []byte) []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reply(answer) {
		c.pending.Signal()
	}
}

// reply finishes one frame in flight and collects its answer; c.mu is held. It
// reports whether there is something to write that nobody knows of yet.
func (c *Conn) reply(answer func(dst []byte) []byte) bool {
	c.finish()
	if c.state == stateClosed {
		c.opts.Metrics.lateReplies.Inc()
		return false
	}
	first := len(c.out) == 0
	if overflow, err := c.collect(answer); err != nil {
		if overflow {
			c.shut(err)
		}
		return false
	}
	return first
}

// Drop finishes one frame in flight without an answer.
func (c *Conn) Drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.finish()
}

// Send sends a frame that answers none, such as a request to an issuer. It calls
// body as [Conn.Reply] does. Its errors are [ErrClosed] once the connection takes
// no more frames, [ErrBacklog] if the frame does not fit into Options.MaxPending
// and [ErrBody] if it is empty or too long; then nothing was sent, and the
// connection goes on.
func (c *Conn) Send(body func(dst []byte) []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != stateOpen {
		return ErrClosed
	}
	first := len(c.out) == 0
	_, err := c.collect(body)
	if err == nil && first {
		c.pending.Signal()
	}
	return err
}

// Close ends the connection at once: what is not written is lost. The reason,
// [ErrClosed] if it is nil, reaches the handler's Closed unless another was
// first.
func (c *Conn) Close(reason error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shut(reason)
}

// CloseAfterFlush ends the connection in order: nothing more is handed over, the
// frames in flight are answered, the answers are written, the socket is closed.
// After Options.Drain it is closed at once with [ErrDrain]. The reason is as in
// [Conn.Close].
func (c *Conn) CloseAfterFlush(reason error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != stateOpen {
		return
	}
	c.state = stateDraining
	c.blame(reason)
	// The reader may be in Read: a deadline in the past ends it, and wait sets no
	// other from now on. The call fails on a broken socket only, and then Read
	// has ended by itself.
	_ = c.wire.SetReadDeadline(time.Unix(1, 0))
	c.rouse()
}

// shut moves to stateClosed and frees both goroutines; c.mu is held.
func (c *Conn) shut(reason error) {
	if c.state == stateClosed {
		return
	}
	c.state = stateClosed
	c.blame(reason)
	// The socket itself, not the TLS session, whose Close waits to say goodbye.
	// An error would tell of a socket that is closed already.
	_ = c.raw.Close()
	close(c.gone)
	c.pending.Broadcast()
}

// blame keeps the first reason; c.mu is held.
func (c *Conn) blame(reason error) {
	if reason == nil {
		reason = ErrClosed
	}
	if c.reason == nil {
		c.reason = reason
	}
}

// begin puts n frames in flight.
func (c *Conn) begin(n int) {
	c.mu.Lock()
	c.inFlight += n
	c.mu.Unlock()
	c.opts.Metrics.inFlight.Add(int64(n))
	c.opts.Metrics.framesIn.Add(float64(n))
}

// finish takes one frame out of flight; c.mu is held.
func (c *Conn) finish() {
	if c.inFlight == 0 {
		// A second answer to one request is a wrong answer to another.
		panic(fmt.Sprintf("link: connection %d: Reply or Drop without a frame in flight", c.id)) //nolint:forbidigo // L2, the handler's half of it
	}
	c.inFlight--
	c.opts.Metrics.inFlight.Add(-1)
	if c.inFlight <= c.wakeAt {
		c.rouse()
	}
}

// rouse wakes the reader if it waits in roomFor or drain; c.mu is held.
func (c *Conn) rouse() {
	c.wakeAt = -1
	select {
	case c.room <- struct{}{}:
	default: // A wake-up is already on its way.
	}
}
