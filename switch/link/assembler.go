package link

import (
	"encoding/binary"
	"fmt"
)

// Sizes of a read buffer in bytes: what an idle connection holds, and what a
// busy one reads at once.
const (
	restingBuffer = 4 << 10
	readingBuffer = 64 << 10
)

// assembler turns the reads of one stream into frames. It does no I/O:
//
//	n := read(a.space()); a.filled(n); frames, err := a.next(frames[:0], limit)
//
// Its bytes are buf[start:end]; a frame that has begun stands at start.
type assembler struct {
	maxFrame   int
	buf        []byte
	start, end int
	// consumed is true if a frame was completed since half was asked last, so
	// that a half frame is known to be another one than before.
	consumed bool
}

// space returns where to read to: at least one byte, unless a whole frame still
// waits in the buffer.
func (a *assembler) space() []byte {
	if a.buf == nil {
		a.buf = make([]byte, restingBuffer)
	}
	if a.start > 0 {
		// What moves is less than one frame.
		a.end = copy(a.buf, a.buf[a.start:a.end])
		a.start = 0
	}
	return a.buf[a.end:]
}

// filled says that the first n bytes of space have been read. A read that fills
// the buffer lets it grow: with bytes that a peer has sent, not with a length
// that it has announced.
func (a *assembler) filled(n int) {
	a.end += n
	most := max(readingBuffer, a.maxFrame+prefixSize)
	if a.end == len(a.buf) && len(a.buf) < most {
		grown := make([]byte, min(2*len(a.buf), most))
		copy(grown, a.buf[:a.end])
		a.buf = grown
	}
}

// next appends up to limit complete frames to frames, without their prefix. They
// point into the buffer and are valid until space is called. A bad length is
// [ErrFrameEmpty] or [ErrFrameTooLong], with the frames before it.
func (a *assembler) next(frames [][]byte, limit int) ([][]byte, error) {
	for range limit {
		rest := a.buf[a.start:a.end]
		if len(rest) < prefixSize {
			break
		}
		length := int(binary.BigEndian.Uint16(rest))
		if length == 0 {
			return frames, ErrFrameEmpty
		}
		if length > a.maxFrame {
			return frames, fmt.Errorf("%w: %d bytes announced, %d allowed", ErrFrameTooLong, length, a.maxFrame)
		}
		end := prefixSize + length
		if len(rest) < end {
			break
		}
		// The capacity ends with the frame: appending to one cannot reach the next.
		frames = append(frames, rest[prefixSize:end:end])
		a.start += end
		a.consumed = true
	}
	return frames, nil
}

// half reports whether a frame has begun and is not complete, and whether it is
// another one than at the last call.
func (a *assembler) half() (begun, fresh bool) {
	fresh = a.consumed
	a.consumed = false
	return a.end > a.start, fresh
}

// rest gives a grown buffer back if nothing is in it.
func (a *assembler) rest() {
	if a.start == a.end && len(a.buf) > restingBuffer {
		a.buf = make([]byte, restingBuffer)
		a.start, a.end = 0, 0
	}
}
