package book

import (
	"encoding/binary"
	"math"

	"github.com/lianfen/lianfen/points"
)

// Values are written as varints, amounts in zigzag, identities of fixed length
// as they are. A reader remembers the first thing that was wrong and returns
// zeros from then on, so that a decoder asks once, at its end.

func appendAmount(dst []byte, a points.Amount) []byte {
	return binary.AppendVarint(dst, int64(a))
}

func appendText(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

type reader struct {
	src []byte
	bad bool
}

// ok reports that everything was read and all of it made sense.
func (r *reader) ok() bool { return !r.bad && len(r.src) == 0 }

func (r *reader) fail() {
	r.bad = true
	r.src = nil
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.src)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.src = r.src[n:]
	return v
}

func (r *reader) amount() points.Amount {
	v, n := binary.Varint(r.src)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.src = r.src[n:]
	return points.Amount(v)
}

func (r *reader) byte() byte {
	if len(r.src) == 0 {
		r.fail()
		return 0
	}
	v := r.src[0]
	r.src = r.src[1:]
	return v
}

func (r *reader) uint32() uint32 {
	v := r.uvarint()
	if v > math.MaxUint32 {
		r.fail()
		return 0
	}
	return uint32(v)
}

func (r *reader) uint16() uint16 {
	v := r.uvarint()
	if v > math.MaxUint16 {
		r.fail()
		return 0
	}
	return uint16(v)
}

func (r *reader) timestamp() points.Timestamp { return points.Timestamp(r.amount()) }

func (r *reader) position() points.Position { return points.Position(r.uvarint()) }

func (r *reader) date() points.BusinessDate { return points.BusinessDate(r.uint32()) }

func (r *reader) program() points.ProgramID { return points.ProgramID(r.uint16()) }

func (r *reader) fixed(dst []byte) {
	if len(r.src) < len(dst) {
		r.fail()
		return
	}
	r.src = r.src[copy(dst, r.src):]
}

// text reads at most limit bytes.
func (r *reader) text(limit int) string {
	n := r.count(limit, 1)
	s := string(r.src[:n])
	r.src = r.src[n:]
	return s
}

// count reads the number of elements of a list: at most limit, each of at least
// width bytes, so that a lying count cannot make the reader allocate.
func (r *reader) count(limit, width int) int {
	v := r.uvarint()
	if v > uint64(limit) || int(v)*width > len(r.src) { //nolint:gosec // v <= limit, an int.
		r.fail()
		return 0
	}
	return int(v) //nolint:gosec // v <= limit, an int.
}
