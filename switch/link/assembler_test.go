package link

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// split gives the assembler a stream in reads of the given sizes, over and over,
// and returns copies of the frames, the error if a length was bad, and how many
// bytes were left over. limits are the frames asked for at once, over and over.
func split(t require.TestingT, stream []byte, maxFrame int, sizes, limits []int) (frames [][]byte, left int, err error) {
	a := assembler{maxFrame: maxFrame}
	var batch [][]byte
	asked := 0
	for read := 0; len(stream) > 0; read++ {
		space := a.space()
		require.NotEmpty(t, space, "a read must have room")
		require.LessOrEqual(t, len(a.buf), max(readingBuffer, maxFrame+prefixSize), "the buffer must be bounded")
		n := copy(space, stream[:min(sizes[read%len(sizes)], len(stream))])
		a.filled(n)
		stream = stream[n:]
		for more := true; more; asked++ {
			limit := limits[asked%len(limits)]
			batch, err = a.next(batch[:0], limit)
			require.LessOrEqual(t, len(batch), limit)
			for _, frame := range batch {
				frames = append(frames, bytes.Clone(frame))
			}
			if err != nil {
				return frames, a.end - a.start, err
			}
			more = len(batch) == limit
		}
	}
	return frames, a.end - a.start, nil
}

// reference splits a stream in the obvious way.
func reference(stream []byte, maxFrame int) (frames [][]byte, left int, bad bool) {
	for len(stream) >= 2 {
		n := int(stream[0])<<8 | int(stream[1])
		if n == 0 || n > maxFrame {
			return frames, len(stream), true
		}
		if len(stream) < 2+n {
			break
		}
		frames = append(frames, stream[2:2+n])
		stream = stream[2+n:]
	}
	return frames, len(stream), false
}

// stream joins bodies with their prefixes.
func stream(bodies ...[]byte) []byte {
	var s []byte
	for _, body := range bodies {
		s = binary.BigEndian.AppendUint16(s, uint16(len(body)))
		s = append(s, body...)
	}
	return s
}

// These streams give these frames, however they are cut.
func TestAssemblerTable(t *testing.T) {
	long := bytes.Repeat([]byte{7}, 100)
	for _, tc := range []struct {
		name   string
		stream []byte
		frames [][]byte
		left   int
		err    error
	}{
		{"nothing", nil, nil, 0, nil},
		{"half a length", []byte{0}, nil, 1, nil},
		{"a length", []byte{0, 3}, nil, 2, nil},
		{"half a frame", []byte{0, 3, 1, 2}, nil, 4, nil},
		{"the shortest frame", stream([]byte{1}), [][]byte{{1}}, 0, nil},
		{"the longest frame", stream(long), [][]byte{long}, 0, nil},
		{"two frames", stream([]byte{1}, []byte{2, 3}), [][]byte{{1}, {2, 3}}, 0, nil},
		{"a frame and a half", append(stream([]byte{1}), 0, 2, 9), [][]byte{{1}}, 3, nil},
		{"length 0", []byte{0, 0, 1}, nil, 3, ErrFrameEmpty},
		{"one over the bound", stream(append(long, 7)), nil, 103, ErrFrameTooLong},
		{"length 65,535", []byte{255, 255}, nil, 2, ErrFrameTooLong},
		{"a frame before length 0", append(stream([]byte{1}), 0, 0), [][]byte{{1}}, 2, ErrFrameEmpty},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, size := range []int{1, 2, 3, 1000} {
				frames, left, err := split(t, tc.stream, 100, []int{size}, []int{1, 256})
				require.Equal(t, tc.frames, frames)
				require.ErrorIs(t, err, tc.err)
				if tc.err == nil {
					require.Equal(t, tc.left, left)
				} else {
					require.LessOrEqual(t, left, tc.left, "nothing of a bad frame is consumed")
				}
			}
		})
	}
}

// L1: any frames, cut anywhere, asked for in any batches, come out as they went in.
func TestAssemblerProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		maxFrame := rapid.SampledFrom([]int{1, 100, 4096, 65_535}).Draw(t, "max frame")
		bodies := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 1, min(maxFrame, 9000)), 0, 40).Draw(t, "bodies")
		sizes := rapid.SliceOfN(rapid.OneOf(rapid.IntRange(1, 9), rapid.IntRange(1, 100_000)), 1, 8).Draw(t, "reads")
		limits := rapid.SliceOfN(rapid.IntRange(1, 300), 1, 4).Draw(t, "limits")
		frames, left, err := split(t, stream(bodies...), maxFrame, sizes, limits)
		require.NoError(t, err)
		require.Zero(t, left)
		require.Len(t, frames, len(bodies))
		for i := range bodies {
			require.Equal(t, bodies[i], frames[i])
		}
	})
}

// L1 for bytes that nobody would send: the assembler agrees with the obvious
// splitter, whatever the stream and wherever it is cut.
func FuzzFrames(f *testing.F) {
	f.Add(stream([]byte("0800"), []byte("0200")), []byte{1, 2, 3}, uint16(4096))
	f.Fuzz(func(t *testing.T, stream, cuts []byte, most uint16) {
		maxFrame := max(int(most), 1)
		sizes := []int{}
		for _, cut := range cuts {
			sizes = append(sizes, 1+int(cut))
		}
		if len(sizes) == 0 {
			sizes = []int{1 << 20}
		}
		want, wantLeft, wantBad := reference(stream, maxFrame)
		frames, left, err := split(t, stream, maxFrame, sizes, []int{1, 7})
		require.Equal(t, want, frames)
		require.Equal(t, wantBad, err != nil)
		if !wantBad {
			require.Equal(t, wantLeft, left)
		}
	})
}

// A frame can be appended to without writing into the next one.
func TestAssemblerFramesAreApart(t *testing.T) {
	a := assembler{maxFrame: 10}
	a.filled(copy(a.space(), stream([]byte{1}, []byte{2})))
	frames, err := a.next(nil, 2)
	require.NoError(t, err)
	require.NotEmpty(t, append(frames[0], 9, 9, 9))
	require.Equal(t, []byte{2}, frames[1])
}

// An announced length takes no memory; sent bytes take twice their size at most,
// and what is grown is given back when it is empty.
func TestAssemblerMemoryFollowsBytes(t *testing.T) {
	a := assembler{maxFrame: 65_535}
	a.filled(copy(a.space(), []byte{0xff, 0xff, 1}))
	require.NotEmpty(t, a.space())
	require.Len(t, a.buf, restingBuffer)

	body := bytes.Repeat([]byte{1}, 65_535)
	var frames [][]byte
	var err error
	for sent := 1; sent < len(body); sent++ {
		frames, err = a.next(nil, 1)
		require.NoError(t, err)
		require.Empty(t, frames)
		a.filled(copy(a.space(), body[:1]))
		require.LessOrEqual(t, len(a.buf), max(restingBuffer, 2*a.end))
	}
	frames, err = a.next(nil, 1)
	require.NoError(t, err)
	require.Equal(t, [][]byte{body}, frames)

	a.filled(copy(a.space(), []byte{0}))
	a.rest()
	require.NotEqual(t, restingBuffer, len(a.buf), "a byte of the next frame is in it")
	a = assembler{maxFrame: 65_535, buf: a.buf}
	a.rest()
	require.Len(t, a.buf, restingBuffer)
}
