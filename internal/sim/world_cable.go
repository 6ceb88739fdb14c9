package sim

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/link"
)

// cord is the switch's end of a connection in memory. The switch reads and writes it
// on the two goroutines of a [link.Conn]; the simulation, which has the other end, puts
// bytes in and takes bytes out. Deadlines to come are ignored: they are of the wall
// clock. One that is over ends reading, as [link.Conn.CloseAfterFlush] wants it.
type cord struct {
	name string

	mu     sync.Mutex // guards what follows
	change sync.Cond
	in     []byte
	out    []byte
	ended  bool // the peer has ended its stream
	over   bool // the read deadline is
	closed bool // by the switch
	waits  bool // the switch waits for bytes, and there are none
}

var _ net.Conn = (*cord)(nil)

func newCord(name string) *cord {
	w := &cord{name: name}
	w.change.L = &w.mu
	return w
}

// Read waits for bytes.
func (w *cord) Read(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		switch {
		case w.closed:
			return 0, net.ErrClosed
		case w.over:
			return 0, os.ErrDeadlineExceeded
		case len(w.in) > 0:
			n := copy(p, w.in)
			w.in = w.in[n:]
			return n, nil
		case w.ended:
			return 0, io.EOF
		}
		w.waits = true
		w.change.Wait()
	}
}

// Write never waits.
func (w *cord) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return 0, net.ErrClosed
	}
	w.out = append(w.out, p...)
	return len(p), nil
}

// Close ends the connection.
func (w *cord) Close() error {
	w.alter(func() { w.closed = true })
	return nil
}

// SetReadDeadline ends reading if t is long over.
func (w *cord) SetReadDeadline(t time.Time) error {
	if !t.IsZero() && t.Unix() < worldOpens().Time().AddDate(-10, 0, 0).Unix() {
		w.alter(func() { w.over = true })
	}
	return nil
}

// SetDeadline is SetReadDeadline; writing never waits.
func (w *cord) SetDeadline(t time.Time) error { return w.SetReadDeadline(t) }

// SetWriteDeadline does nothing; writing never waits.
func (w *cord) SetWriteDeadline(time.Time) error { return nil }

// LocalAddr is the wire's name.
func (w *cord) LocalAddr() net.Addr { return dialledAddr(w.name) }

// RemoteAddr is the wire's name.
func (w *cord) RemoteAddr() net.Addr { return dialledAddr(w.name) }

// alter changes the state of the wire and wakes the switch.
func (w *cord) alter(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
	w.waits = false
	w.change.Broadcast()
}

func (w *cord) push(bytes []byte) { w.alter(func() { w.in = append(w.in, bytes...) }) }
func (w *cord) end()              { w.alter(func() { w.ended = true }) }

// take returns what the switch has written, and whether it has closed.
func (w *cord) take() (out []byte, closed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	out, w.out = w.out, nil
	return out, w.closed
}

// quiet reports whether the switch does nothing about the connection until something
// else happens: it waits for bytes, or, where none come any more, for answers that
// others owe.
func (w *cord) quiet(conn *link.Conn) bool {
	select {
	case <-conn.Done():
		return true
	default:
	}
	w.mu.Lock()
	waits, closed := w.waits, w.closed
	w.mu.Unlock()
	load := conn.Load()
	switch {
	case closed || load.Pending > 0:
		return false
	case load.Open:
		return waits
	default:
		return load.InFlight > 0
	}
}

// far is who has the other end of a cable.
type far interface {
	receive(c *cable, frame []byte)
	lost(c *cable)
}

// cable is a connection with all that can happen to it.
type cable struct {
	w    *World
	name string
	link string // of the switch, to a bank
	wire *cord
	conn *link.Conn
	far  far
	dead bool // nothing gets through, and nobody knows
	gone bool // the far end knows that it has ended
	half []byte
	last [2]points.Timestamp // when the last frame of each direction arrives
}

// Directions of a cable.
const (
	toSwitch = iota
	toFar
)

var errNotThere = errors.New("sim: connection refused")

// lay connects far to a handler of the switch.
func (w *World) lay(name string, opts link.Options, handler link.Handler, f far) (*cable, error) {
	c := &cable{w: w, name: name, wire: newCord(name), far: f}
	opts.Idle, opts.HalfFrame, opts.Drain = lasting, lasting, lasting
	conn, err := link.Attach(c.wire, opts, handler)
	if err != nil {
		return nil, err
	}
	c.conn = conn
	w.cables = append(w.cables, c)
	return c, nil
}

// lasting is longer than any run takes: what times out on the wall clock does not.
const lasting = 10_000 * time.Hour

// send sends a frame to the switch.
func (c *cable) send(frame []byte) {
	if c.gone || c.dead {
		return
	}
	c.carry(toSwitch, frame)
}

// carry lets a frame meet its fate on the way.
func (c *cable) carry(direction int, frame []byte) {
	w := c.w
	frame = slices.Clone(frame)
	latency := w.between(2*time.Millisecond, 40*time.Millisecond)
	switch {
	case w.chance(w.mix.drop):
		w.did("frame lost")
		return
	case w.chance(w.mix.dead):
		c.die()
		return
	case w.chance(w.mix.cut):
		c.schedule(direction, latency, func() { c.cut(direction, frame) })
		return
	case w.chance(w.mix.hangUp):
		c.schedule(direction, latency, func() {
			w.did("line lost")
			c.end()
		})
		return
	case w.chance(w.mix.delay):
		w.did("frame late")
		latency += w.between(time.Second, 90*time.Second)
	}
	again := w.chance(w.mix.duplicate)
	if w.chance(w.mix.reorder) { // It overtakes, or is overtaken.
		w.did("frame out of order")
		w.after(latency+w.between(0, 2*time.Second), func() { c.arrive(direction, frame) })
	} else {
		c.schedule(direction, latency, func() { c.arrive(direction, frame) })
	}
	if again {
		w.did("frame doubled")
		w.after(latency+w.between(0, 3*time.Second), func() { c.arrive(direction, frame) })
	}
}

// schedule has do happen when a frame arrives that does not overtake.
func (c *cable) schedule(direction int, latency time.Duration, do func()) {
	at := max(c.w.now.Add(latency), c.last[direction]+1)
	c.last[direction] = at
	c.w.after(at.Sub(c.w.now), do)
}

func (c *cable) arrive(direction int, frame []byte) {
	switch {
	case c.gone || c.dead:
	case direction == toFar:
		c.far.receive(c, frame)
	default:
		c.wire.push(framed(frame))
	}
}

func framed(frame []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(frame))), frame...) //nolint:gosec // the dialects' frames are short.
}

// cut ends the cable in the middle of a frame.
func (c *cable) cut(direction int, frame []byte) {
	if c.gone || c.dead {
		return
	}
	c.w.did("line lost in mid-frame")
	if direction == toSwitch {
		c.wire.push(framed(frame)[:len(frame)/2])
	}
	c.end()
}

// end ends the cable for both sides.
func (c *cable) end() {
	if c.gone {
		return
	}
	c.gone = true
	c.wire.end()
	c.far.lost(c)
}

// die lets nothing through any more; nobody is told before long.
func (c *cable) die() {
	if c.dead || c.gone {
		return
	}
	c.w.did("line dead")
	c.w.step(nil, "%s goes dead", c.name)
	c.dead = true
}

// hangUp ends the cable at the far end. On a dead one the switch does not hear of it
// until the network gives up.
func (c *cable) hangUp() {
	if c.gone {
		return
	}
	c.gone = true
	if !c.dead {
		c.wire.end()
		return
	}
	c.w.after(c.w.between(time.Minute, 20*time.Minute), c.wire.end)
}

// collect takes what the switch has written.
func (c *cable) collect() {
	out, closed := c.wire.take()
	c.half = append(c.half, out...)
	for len(c.half) >= 2 {
		size := 2 + int(binary.BigEndian.Uint16(c.half))
		if len(c.half) < size {
			break
		}
		frame := c.half[2:size]
		c.half = c.half[size:]
		if !c.gone && !c.dead {
			c.carry(toFar, frame)
		}
	}
	if closed && !c.gone && !c.dead {
		c.schedule(toFar, time.Millisecond, c.end)
	}
}

// over reports whether the switch has forgotten the connection.
func (c *cable) over() bool {
	select {
	case <-c.conn.Done():
		return true
	default:
		return false
	}
}
