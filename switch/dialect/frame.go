package dialect

import (
	"bytes"
	"strconv"

	"github.com/moov-io/iso8583/field"

	"github.com/lianfen/lianfen/points"
)

// span is a stretch of a frame.
type span struct{ from, to int }

// message is a frame taken apart, before anybody asks what it means.
type message struct {
	body     []byte
	envelope points.Envelope
	bitmaps  span
	set      [2]uint64 // elements announced by the bitmap, bit n-1 for DE n
	values   [lastElement + 1][]byte
	spans    [lastElement + 1]span
	at       int // where reading stopped
}

func (m *message) has(de int) bool { return m.set[(de-1)/64]&(1<<((de-1)%64)) != 0 }

// open reads what stands before the fields. Every error of it is fatal: without
// message type and bitmap there is nothing to answer to.
func (d *Dialect) open(frame []byte) (*message, *FormatError) {
	m := &message{body: frame}
	if len(frame) > MaxFrame {
		return nil, fatal("frame of %d bytes, want %d at most", len(frame), MaxFrame)
	}
	if d.packed {
		if len(frame) < tpduSize+headerSize {
			return nil, fatal("frame of %d bytes ends inside TPDU and header (%d bytes)", len(frame), tpduSize+headerSize)
		}
		if frame[0] != 0x60 {
			return nil, fatal("TPDU begins with %02X, want 60", frame[0])
		}
		if class := frame[tpduSize]; class != 0x60 && class != 0x61 {
			return nil, fatal("header begins with application class %02X, want 60 or 61", class)
		}
		m.envelope.TPDU = [tpduSize]byte(frame)
		m.envelope.Header = [headerSize]byte(frame[tpduSize:])
	}
	m.at = d.preamble()
	mti, read, err := unpack(d.raw.Fields[0], frame[m.at:])
	if err != nil {
		return nil, fatal("message type: %v", err)
	}
	m.at += read
	m.envelope.MTI = uint16(number(mti)) //nolint:gosec // four digits.
	return m, d.openBitmap(m)
}

// openBitmap reads one or two bitmaps at m.at. A hexadecimal bitmap is told by
// sixteen hexadecimal characters. A raw bitmap is never taken for one: a character
// in the place of its eighth byte would announce one of DE58 to 60, which dialect
// host does not have.
func (d *Dialect) openBitmap(m *message) *FormatError {
	rest := m.body[m.at:]
	m.envelope.HexMap = !d.packed && looksHex(rest)
	primary, read, err := unpackBitmap(rest, m.envelope.HexMap)
	if err != nil {
		return fatal("bitmap: %v", err)
	}
	m.bitmaps = span{m.at, m.at + read}
	m.keepBitmap(primary, 0)
	if !m.has(1) {
		m.at = m.bitmaps.to
		return nil
	}
	secondary, more, err := unpackBitmap(rest[read:], m.envelope.HexMap)
	if err != nil {
		return fatal("secondary bitmap: %v", err)
	}
	m.bitmaps.to += more
	m.at = m.bitmaps.to
	m.keepBitmap(secondary, 1)
	// 128 alone is a MAC that follows the bitmap's width, not a reason for it.
	m.envelope.Wide = m.set[1]&^(1<<63) == 0
	return nil
}

func (m *message) keepBitmap(bits []byte, which int) {
	for i, b := range bits {
		for bit := range 8 {
			if b&(0x80>>bit) != 0 {
				m.set[which] |= 1 << (8*i + bit)
			}
		}
	}
}

func looksHex(b []byte) bool {
	if len(b) < 2*bitmapSize {
		return false
	}
	for _, c := range b[:2*bitmapSize] {
		if _, ok := nibbleOf(c); !ok {
			return false
		}
	}
	return true
}

func unpackBitmap(b []byte, hexMap bool) ([]byte, int, error) {
	if hexMap {
		return hexadecimal{}.Decode(b, bitmapSize)
	}
	return characters{class: classB}.Decode(b, bitmapSize)
}

// readFields takes every announced element apart. Past an element whose content
// is bad but whose extent is known it reads on, so that the answer can echo what
// follows; the first fault is returned.
func (d *Dialect) readFields(m *message) *FormatError {
	var first *FormatError
	fields := d.spec(m.envelope.HexMap).Fields
	for de := 2; de <= lastElement; de++ {
		if !m.has(de) {
			continue
		}
		described := fields[de]
		if described == nil {
			return earlier(first, fault(de, "not an element of dialect %s; its length is unknown", d.name))
		}
		rest := m.body[m.at:]
		value, read, err := unpack(described, rest)
		if err != nil {
			first = earlier(first, fault(de, "%v; want %s", err, format(described.Spec())))
			size, known := extent(described.Spec(), rest)
			if !known {
				return first
			}
			m.at += size
			continue
		}
		m.values[de] = value
		m.spans[de] = span{m.at, m.at + read}
		m.at += read
	}
	if left := len(m.body) - m.at; left > 0 {
		first = earlier(first, fault(0, "%d bytes after the last field", left))
	}
	return first
}

func earlier(first, next *FormatError) *FormatError {
	if first != nil {
		return first
	}
	return next
}

// unpack reads one element. moov wraps what our encoders say ("failed to decode
// content: …"); the innermost error says it better.
func unpack(described field.Field, data []byte) (value []byte, read int, err error) {
	f := field.NewInstanceOf(described)
	read, err = f.Unpack(data)
	if err != nil {
		return nil, 0, innermost(err)
	}
	value, err = f.Bytes()
	return value, read, err
}

func innermost(err error) error {
	for {
		wrapper, ok := err.(interface{ Unwrap() error })
		if !ok || wrapper.Unwrap() == nil {
			return err
		}
		err = wrapper.Unwrap()
	}
}

// extent returns how many bytes the element at the start of data takes, whatever
// its content. known is false where its length cannot be read or the frame ends.
func extent(spec *field.Spec, data []byte) (size int, known bool) {
	enc, length := wireOf(spec)
	units, read, err := length.DecodeLength(spec.Length, data)
	if err != nil {
		return 0, false
	}
	size = read + enc.size(units)
	return size, size <= len(data)
}

// number reads decimal digits that an encoder has checked; at most 18 of them.
func number(digits []byte) uint64 {
	var n uint64
	for _, c := range digits {
		n = n*10 + uint64(c-'0')
	}
	return n
}

// draft is a message being written: the value of each element that will be sent.
type draft struct {
	envelope points.Envelope
	values   [lastElement + 1][]byte
}

func (f *draft) put(de int, value []byte) { f.values[de] = value }

// width tells whether the draft needs, or was asked for, a secondary bitmap.
func (f *draft) width() (wide bool) {
	wide = f.envelope.Wide
	for de := 65; de <= lastElement && !wide; de++ {
		wide = f.values[de] != nil
	}
	return wide
}

// macElement is the last element of the draft's bitmap, where host has its MAC; pos
// has it in DE64 however wide the bitmap is.
func (d *Dialect) macElement(f *draft) int {
	if f.width() && !d.packed {
		return 128
	}
	return 64
}

// append writes the draft behind dst. A field that does not pack is reported and
// left out of the bitmap; what could be packed is written all the same.
func (d *Dialect) append(dst []byte, f *draft) ([]byte, error) {
	var (
		first  *FormatError
		bits   [2 * bitmapSize]byte
		fields = d.spec(f.envelope.HexMap).Fields
		body   = make([]byte, 0, 256)
	)
	wide := f.width()
	for de := 2; de <= lastElement; de++ {
		if f.values[de] == nil {
			continue
		}
		described := fields[de]
		if described == nil {
			first = earlier(first, fault(de, "not an element of dialect %s", d.name))
			continue
		}
		wire, err := pack(described, f.values[de])
		if err != nil {
			first = earlier(first, fault(de, "%v; want %s", err, format(described.Spec())))
			continue
		}
		bits[(de-1)/8] |= 0x80 >> ((de - 1) % 8)
		body = append(body, wire...)
	}
	maps := bits[:bitmapSize]
	if wide {
		bits[0] |= 0x80
		maps = bits[:]
	}
	dst, err := d.appendFront(dst, f, maps)
	if err != nil {
		first = earlier(first, fault(0, "message type %04d: %v", f.envelope.MTI, err))
	}
	dst = append(dst, body...)
	if first != nil {
		return dst, first
	}
	return dst, nil
}

func (d *Dialect) appendFront(dst []byte, f *draft, maps []byte) ([]byte, error) {
	if d.packed {
		dst = append(dst, f.envelope.TPDU[:]...)
		dst = append(dst, f.envelope.Header[:]...)
	}
	mti, err := pack(d.raw.Fields[0], decimal(uint64(f.envelope.MTI), 4))
	if err != nil {
		return dst, err
	}
	dst = append(dst, mti...)
	if f.envelope.HexMap && !d.packed {
		maps, err = hexadecimal{}.Encode(maps)
	}
	return append(dst, maps...), err
}

func pack(described field.Field, value []byte) ([]byte, error) {
	f := field.NewInstanceOf(described)
	if err := f.SetBytes(value); err != nil {
		return nil, err
	}
	wire, err := f.Pack()
	if err != nil {
		return nil, innermost(err)
	}
	return wire, nil
}

// decimal renders n in width digits, zeros in front. A number that does not fit
// comes out longer, and the encoder of a fixed field refuses it.
func decimal(n uint64, width int) []byte {
	text := strconv.AppendUint(make([]byte, 0, 20), n, 10)
	if len(text) >= width {
		return text
	}
	return append(bytes.Repeat([]byte{'0'}, width-len(text)), text...)
}
