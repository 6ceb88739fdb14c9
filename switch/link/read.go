package link

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

const (
	// restAfter is the silence after which a connection gives grown buffers back.
	restAfter = 30 * time.Second
	// lingerTime and lingerBytes bound how long and how much is still read from a
	// peer after the last answer. A socket that is closed with unread bytes is
	// reset, and the reset can overtake the answer.
	lingerTime  = time.Second
	lingerBytes = 256 << 10
)

// errStopped says within the reading goroutine that the connection is no longer
// to be read; the reason is in Conn.reason.
var errStopped = errors.New("link: reading has stopped")

// now reads the clock that deadlines of sockets are set by.
func now() time.Time {
	return time.Now() //nolint:forbidigo // a socket's deadline is an instant of the wall clock; no message is judged by it
}

// handshake makes the TLS session, with side as [tls.Server] or [tls.Client].
func (c *Conn) handshake(ctx context.Context, side func(net.Conn, *tls.Config) *tls.Conn, config *tls.Config) error {
	wire := side(c.raw, config)
	ctx, cancel := context.WithTimeout(ctx, c.opts.Handshake)
	defer cancel()
	if err := wire.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("%w with %v: %w", ErrHandshake, c.RemoteAddr(), err)
	}
	session := wire.ConnectionState()
	if c.opts.Admit != nil {
		var err error
		if c.peer, err = c.opts.Admit(&session); err != nil {
			return fmt.Errorf("%w with %v: %w", ErrHandshake, c.RemoteAddr(), err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != stateOpen {
		return fmt.Errorf("%w with %v: %w", ErrHandshake, c.RemoteAddr(), c.reason)
	}
	c.wire, c.tls = wire, &session
	if c.opts.Identify != nil {
		c.identity = c.opts.Identify(&session)
	}
	return nil
}

// abandon closes a connection that the handler has not heard of.
func (c *Conn) abandon(err error) {
	c.opts.Refused(err)
	c.opts.Metrics.refused.WithLabelValues(labelOf(err)).Inc()
	c.Close(err)
	close(c.done)
}

// open tells the handler of the connection.
func (c *Conn) open() {
	c.opts.Metrics.accepted.Inc()
	c.opts.Metrics.open.Inc()
	c.opened = now()
	c.known.Store(true)
	c.handler.Open(c)
}

// run is the reading goroutine from Open on, until the connection is gone.
func (c *Conn) run() {
	defer close(c.done)
	go c.write()
	if reason := c.read(); errors.Is(reason, ErrNetwork) {
		c.Close(reason) // Nobody is left to be answered.
	} else {
		c.CloseAfterFlush(reason)
	}
	c.drain()
	c.linger()
	c.Close(nil)
	<-c.written
	c.opts.Metrics.ended(c.reason)
	c.handler.Closed(c, c.reason)
}

// read hands frames over until the stream ends, and says why it did.
func (c *Conn) read() error {
	for {
		n, err := c.receive()
		c.in.filled(n)
		c.opts.Metrics.bytesIn.Add(float64(n))
		if n > 0 {
			c.active = true
			if err := c.handOver(); err != nil {
				return err
			}
		}
		if err != nil {
			return c.endOfStream(err)
		}
		c.rested()
	}
}

// rested waits as long as the handler has asked for, or until the connection is not to be
// read any more.
func (c *Conn) rested() {
	d := c.pause
	c.pause = 0
	if d <= 0 || c.full || c.tls != nil {
		return
	}
	if c.pausing == nil {
		c.pausing = time.NewTimer(d)
	} else {
		c.pausing.Reset(d)
	}
	select {
	case <-c.pausing.C:
	case <-c.room: // CloseAfterFlush; nobody else rouses who waits for no room.
	case <-c.gone:
	}
	c.pausing.Stop()
}

// handOver gives the handler the complete frames of the buffer, in as many calls
// as the room in flight asks for, and returns when the connection may be read
// again: no complete frame is left and there is room for one.
func (c *Conn) handOver() error {
	for {
		room := c.roomInFlight()
		if room == 0 {
			return errStopped
		}
		frames, err := c.in.next(c.frames[:0], room)
		c.frames = frames
		if len(frames) > 0 {
			if !c.spoke {
				c.spoke = true
				c.server.heard(c)
			}
			c.begin(len(frames))
			c.handler.Frames(c, frames)
		}
		if err != nil {
			return err
		}
		if len(frames) < room {
			return nil
		}
	}
}

// roomInFlight waits until another frame may be in flight, and returns how many
// may; 0 when the connection is no longer open.
func (c *Conn) roomInFlight() int {
	for {
		c.mu.Lock()
		if c.state != stateOpen {
			c.mu.Unlock()
			return 0
		}
		if room := c.opts.MaxInFlight - c.inFlight; room > 0 {
			c.mu.Unlock()
			return room
		}
		c.wakeAt = c.opts.MaxInFlight - 1
		c.mu.Unlock()
		select {
		case <-c.room:
		case <-c.gone:
		}
	}
}

// receive reads once, within the deadlines. They count from here and not from
// the last read, because the time that the handler took or that MaxInFlight cost
// is not the peer's.
//
// Setting a socket's deadline for every read would cost more than reading the
// clock, so the alarm is left where it is as long as it does not come too late.
// When it goes off too early it is set anew.
func (c *Conn) receive() (int, error) {
	c.quietSince = now()
	switch begun, fresh := c.in.half(); {
	case !begun:
		c.halfSince = time.Time{}
	case fresh || c.halfSince.IsZero():
		c.halfSince = c.quietSince
	}
	for {
		if !c.setAlarm() {
			return 0, errStopped
		}
		space := c.in.space()
		n, err := c.wire.Read(space)
		c.full = n == len(space)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		c.alarm = time.Time{}
		if err := c.expired(now()); err != nil {
			return 0, err
		}
	}
}

// setAlarm sees to it that Read returns when the next deadline is due. It reports
// whether the connection may be read at all.
func (c *Conn) setAlarm() bool {
	due := c.quietSince.Add(c.opts.Idle)
	if !c.halfSince.IsZero() {
		due = earlier(due, c.halfSince.Add(c.opts.HalfFrame))
	}
	if c.active {
		due = earlier(due, c.quietSince.Add(restAfter))
	}
	if !c.spoke {
		due = earlier(due, c.opened.Add(c.opts.FirstFrame))
	}
	if !c.alarm.IsZero() && !c.alarm.After(due) {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != stateOpen {
		return false // The deadline in the past that CloseAfterFlush has set stays.
	}
	c.alarm = due
	// A socket that takes no deadline is broken, and Read says so.
	_ = c.wire.SetReadDeadline(due)
	return true
}

// earlier returns the earlier of two instants.
func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// expired says what is due at an alarm: nothing (nil), or the end of the
// connection.
func (c *Conn) expired(at time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	quiet := at.Sub(c.quietSince)
	switch {
	case c.state != stateOpen:
		return errStopped
	case !c.halfSince.IsZero() && at.Sub(c.halfSince) >= c.opts.HalfFrame:
		return fmt.Errorf("%w: %d bytes in %v", ErrHalfFrame, c.in.end-c.in.start, c.opts.HalfFrame)
	case !c.spoke && at.Sub(c.opened) >= c.opts.FirstFrame && c.opts.FirstFrame != c.opts.Idle:
		return fmt.Errorf("%w: in %v", ErrSilent, c.opts.FirstFrame)
	case quiet >= c.opts.Idle && c.inFlight == 0:
		return fmt.Errorf("%w: %v", ErrIdle, c.opts.Idle)
	case quiet >= c.opts.Idle:
		// Who waits for an answer of ours is not idle.
		c.quietSince = at
	}
	if c.active && quiet >= restAfter {
		c.rest()
	}
	return nil
}

// rest gives grown buffers back; c.mu is held.
func (c *Conn) rest() {
	c.active = false
	c.in.rest()
	c.frames = nil
	if len(c.out) == 0 {
		c.out, c.spare = nil, nil
	}
}

// endOfStream gives the error of a Read its reason.
func (c *Conn) endOfStream(err error) error {
	switch begun, _ := c.in.half(); {
	case errors.Is(err, io.EOF) && begun:
		return fmt.Errorf("%w: after %d bytes", ErrTruncated, c.in.end-c.in.start)
	case errors.Is(err, io.EOF):
		return ErrPeerClosed
	case errors.Is(err, errStopped), errors.Is(err, ErrHalfFrame), errors.Is(err, ErrIdle), errors.Is(err, ErrSilent):
		return err
	default:
		return fmt.Errorf("%w: read from %v: %w", ErrNetwork, c.RemoteAddr(), err)
	}
}

// drain waits until nothing is in flight and everything is written, for
// Options.Drain at most.
func (c *Conn) drain() {
	over := time.NewTimer(c.opts.Drain)
	defer over.Stop()
	for !c.flush() {
		select {
		case <-c.room:
		case <-c.gone:
			return
		case <-over.C:
			c.giveUp()
			return
		}
	}
	<-c.written // Options.Write bounds it.
}

// flush lets the writer empty the buffer and stop, if nothing is in flight, and
// reports whether that was so. Otherwise c.room tells when to ask again.
func (c *Conn) flush() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == stateClosed {
		return true
	}
	if c.inFlight > 0 {
		c.wakeAt = 0
		return false
	}
	c.state = stateFlushing
	c.pending.Broadcast()
	return true
}

// giveUp closes a connection whose answers did not come within Options.Drain.
func (c *Conn) giveUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reason = fmt.Errorf("%w: %d in flight after %v, closing because of: %w", ErrDrain, c.inFlight, c.opts.Drain, c.reason)
	c.shut(nil)
}

// linger says goodbye to a peer that has not gone, and reads what it still sends
// so that closing does not reset the answers away.
func (c *Conn) linger() {
	wire, ok := c.wire.(interface{ CloseWrite() error })
	if !ok || c.over() {
		return
	}
	if err := wire.CloseWrite(); err != nil {
		return // The peer has gone meanwhile.
	}
	if err := c.raw.SetReadDeadline(now().Add(lingerTime)); err != nil {
		return
	}
	// Until the peer closes too; its bytes and errors are nobody's any more.
	_, _ = io.Copy(io.Discard, io.LimitReader(c.raw, lingerBytes))
}

// over reports whether the peer has ended its stream or the connection is closed.
func (c *Conn) over() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state == stateClosed || errors.Is(c.reason, ErrPeerClosed) || errors.Is(c.reason, ErrTruncated)
}
