package link

// Outbox sends the answers that one goroutine gives at a time, each connection's
// in one write, without waking a goroutine for it: for who answers many requests
// in a row, such as the group that one sync has made durable. Its methods belong
// to one goroutine. The zero value is ready.
type Outbox struct {
	conns []*Conn // with something to write
}

// Reply finishes one frame in flight as [Conn.Reply] does, but the answer is
// written at the next Flush only.
func (o *Outbox) Reply(c *Conn, answer func(dst []byte) []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.reply(answer) || c.boxed {
		return
	}
	c.boxed = true
	o.conns = append(o.conns, c)
}

// Flush writes what has collected. It does not wait for the network: what a
// connection does not take at once is left to its writing goroutine.
func (o *Outbox) Flush() {
	for i, c := range o.conns {
		c.flushBox()
		o.conns[i] = nil
	}
	o.conns = o.conns[:0]
}

// flushBox writes what has collected, as far as the socket takes it. A writing
// goroutine that is at work comes by itself for the rest.
func (c *Conn) flushBox() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.boxed = false
	if len(c.out) == 0 || c.writing > 0 || c.state == stateClosed {
		return
	}
	n := c.push()
	if n < len(c.out) {
		c.out = c.out[:copy(c.out, c.out[n:])]
		c.opts.Metrics.bytesOut.Add(float64(n))
		c.pending.Signal()
		return
	}
	c.wrote(n, c.outFrames)
	c.out, c.outFrames = c.out[:0], 0
}

// push writes what has collected without waiting, and returns how much the socket
// took. An error is left to the writing goroutine to find: it writes again.
func (c *Conn) push() int {
	if c.direct == nil || c.tls != nil {
		return 0
	}
	c.pushed = 0
	// The error would be that of a closed socket.
	_ = c.direct.Write(c.pushOnce)
	return c.pushed
}
