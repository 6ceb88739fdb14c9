package link

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
)

// collect lets body append itself to the bytes that wait to be written, behind
// its length; c.mu is held. On an error they are as before; overflow tells
// [ErrBacklog] from [ErrBody].
func (c *Conn) collect(body func(dst []byte) []byte) (overflow bool, err error) {
	start := len(c.out)
	out := body(append(c.out, 0, 0))
	length := len(out) - start - prefixSize
	if length < 1 || length > c.opts.MaxFrame {
		c.opts.Metrics.badFrames.WithLabelValues(badOutgoing).Inc()
		return false, fmt.Errorf("%w: %d bytes, %d allowed", ErrBody, length, c.opts.MaxFrame)
	}
	if waiting := len(out) + c.writing; waiting > c.opts.MaxPending {
		return true, fmt.Errorf("%w: %d, %d allowed", ErrBacklog, waiting, c.opts.MaxPending)
	}
	binary.BigEndian.PutUint16(out[start:], uint16(length)) //nolint:gosec // MaxFrame is 65,535 at most
	c.out = out
	c.outFrames++
	return false, nil
}

// write is the writing goroutine: all that has collected goes out in one Write,
// and meanwhile the next collects. It ends when the connection is flushed or
// closed.
func (c *Conn) write() {
	defer close(c.written)
	var buf []byte
	for {
		var frames int
		if buf, frames = c.takePending(buf); frames == 0 {
			return
		}
		if err := c.deliver(buf); err != nil {
			c.Close(err)
			return
		}
		c.wrote(len(buf), frames)
	}
}

// wrote counts one write.
func (c *Conn) wrote(bytes, frames int) {
	m := c.opts.Metrics
	m.framesOut.Add(float64(frames))
	m.bytesOut.Add(float64(bytes))
	m.coalesced.Observe(float64(frames))
}

// takePending waits for bytes to write and takes them; it gives back the buffer
// that was written before. No frames means that the writer is to end.
func (c *Conn) takePending(written []byte) (buf []byte, frames int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.spare, c.writing = written[:0], 0
	for len(c.out) == 0 && c.state < stateFlushing {
		c.pending.Wait()
	}
	if c.state == stateClosed {
		return nil, 0
	}
	buf, frames = c.out, c.outFrames
	c.out, c.spare, c.outFrames = c.spare, nil, 0
	c.writing = len(buf)
	return buf, frames
}

// deliver writes buf within Options.Write.
func (c *Conn) deliver(buf []byte) error {
	if err := c.wire.SetWriteDeadline(now().Add(c.opts.Write)); err != nil {
		return fmt.Errorf("%w: write to %v: %w", ErrNetwork, c.RemoteAddr(), err)
	}
	n, err := c.wire.Write(buf)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("%w: %d of %d bytes taken in %v", ErrSlowPeer, n, len(buf), c.opts.Write)
	}
	if err != nil {
		return fmt.Errorf("%w: write to %v: %w", ErrNetwork, c.RemoteAddr(), err)
	}
	return nil
}
