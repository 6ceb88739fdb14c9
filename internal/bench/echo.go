package bench

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// prefixSize is the length in front of a frame, in bytes.
const prefixSize = 2

// Reflect sends back every frame that ln's connections bring: what the network and
// the frames cost when nobody looks into them. It is what a Go programmer writes
// who wants it fast: one goroutine for a connection, all complete frames of a read
// answered in one write. It returns when ctx ends, having closed ln.
func Reflect(ctx context.Context, ln net.Listener) error {
	return serveFrames(ctx, ln, func() answerer { return appendFrame })
}

// answerer reads the next frame of in and appends what is sent back for it to dst,
// both with their length bytes.
type answerer func(dst []byte, in *bufio.Reader) ([]byte, error)

// serveFrames answers every frame that ln's connections bring, each connection with an
// answerer of its own.
func serveFrames(ctx context.Context, ln net.Listener, answerers func() answerer) error {
	var open sync.WaitGroup
	defer open.Wait()
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() }) // Accept tells of it.
	defer stop()
	for {
		conn, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("echo: %w", err)
		}
		open.Go(func() {
			hangUp := context.AfterFunc(ctx, func() { _ = conn.Close() }) // The read below tells of it.
			defer hangUp()
			// Whoever hangs up in the middle of a frame is measured no more: nothing to tell.
			_ = answerFrames(conn, answerers())
			_ = conn.Close()
		})
	}
}

// answerFrames answers one connection until it ends.
func answerFrames(conn io.ReadWriter, answer answerer) error {
	in, out := bufio.NewReaderSize(conn, 64<<10), make([]byte, 0, 64<<10)
	for {
		out = out[:0]
		// The first frame is waited for, those that came with it are not.
		for len(out) == 0 || frameBuffered(in) {
			var err error
			if out, err = answer(out, in); err != nil {
				return err
			}
		}
		if _, err := conn.Write(out); err != nil {
			return fmt.Errorf("echo: %w", err)
		}
	}
}

// frameBuffered reports whether a whole frame has been read already.
func frameBuffered(in *bufio.Reader) bool {
	if in.Buffered() < prefixSize {
		return false
	}
	prefix, err := in.Peek(prefixSize)
	return err == nil && in.Buffered() >= prefixSize+int(binary.BigEndian.Uint16(prefix))
}

// appendFrame reads the next frame with its length bytes behind dst.
func appendFrame(dst []byte, in *bufio.Reader) ([]byte, error) {
	prefix, err := in.Peek(prefixSize)
	if err != nil {
		if errors.Is(err, io.EOF) && len(prefix) == 0 {
			return dst, io.EOF
		}
		return dst, fmt.Errorf("echo: read a length: %w", err)
	}
	size := prefixSize + int(binary.BigEndian.Uint16(prefix))
	at := len(dst)
	if cap(dst) < at+size {
		dst = append(make([]byte, 0, 2*(at+size)), dst...)
	}
	dst = dst[:at+size]
	if _, err := io.ReadFull(in, dst[at:]); err != nil {
		return dst[:at], fmt.Errorf("echo: read a frame: %w", err)
	}
	return dst, nil
}
