package dialect

import (
	"encoding/binary"
	"math/bits"
	"strconv"

	"github.com/moov-io/iso8583/field"

	"github.com/lianfen/lianfen/points"
)

// span is a stretch of a frame.
type span struct{ from, to int }

// elementSet is a set of data elements, bit n-1 for DE n.
type elementSet [2]uint64

func (s *elementSet) has(de int) bool { return s[(de-1)/64]&(1<<((de-1)%64)) != 0 }

func (s *elementSet) add(de int) { s[(de-1)/64] |= 1 << ((de - 1) % 64) }

// next returns the first element behind after, 0 when there is none.
func (s *elementSet) next(after int) int {
	if after < 64 {
		if rest := s[0] >> after; rest != 0 {
			return after + 1 + bits.TrailingZeros64(rest)
		}
		after = 64
	}
	if after < lastElement {
		if rest := s[1] >> (after - 64); rest != 0 {
			return after + 1 + bits.TrailingZeros64(rest)
		}
	}
	return 0
}

// message is a frame taken apart, before anybody asks what it means. It comes from
// open and goes back with close.
type message struct {
	body     []byte
	envelope points.Envelope
	bitmaps  span
	set      elementSet // elements announced by the bitmap
	read     elementSet // elements that were read; the others have nil in values
	values   [lastElement + 1][]byte
	spans    [lastElement + 1]span // of the elements that were read
	at       int                   // where reading stopped
	text     [textSize]byte        // values spelled out
	spelled  int                   // how much of text is used
}

// open reads what stands before the fields. Every error of it is fatal: without
// message type and bitmap there is nothing to answer to.
func (d *Dialect) open(frame []byte) (*message, *FormatError) {
	m, _ := d.messages.Get().(*message)
	if m == nil {
		m = new(message)
	}
	m.body, m.envelope, m.bitmaps = frame, points.Envelope{}, span{}
	m.set, m.read, m.spelled = elementSet{}, elementSet{}, 0
	if wrong := d.openFront(m); wrong != nil {
		d.close(m)
		return nil, wrong
	}
	return m, nil
}

// close gives m back for the next frame, without anything of this one's buffer.
func (d *Dialect) close(m *message) {
	m.body = nil
	for de := m.read.next(0); de != 0; de = m.read.next(de) {
		m.values[de] = nil
	}
	d.messages.Put(m)
}

func (d *Dialect) openFront(m *message) *FormatError {
	frame := m.body
	if len(frame) > MaxFrame {
		return fatal("frame of %d bytes, want %d at most", len(frame), MaxFrame)
	}
	if d.packed {
		if len(frame) < tpduSize+headerSize {
			return fatal("frame of %d bytes ends inside TPDU and header (%d bytes)", len(frame), tpduSize+headerSize)
		}
		if frame[0] != 0x60 {
			return fatal("TPDU begins with %02X, want 60", frame[0])
		}
		if class := frame[tpduSize]; class != 0x60 && class != 0x61 {
			return fatal("header begins with application class %02X, want 60 or 61", class)
		}
		m.envelope.TPDU = [tpduSize]byte(frame)
		m.envelope.Header = [headerSize]byte(frame[tpduSize:])
	}
	m.at = d.preamble()
	s := &d.rawPlan.steps[0]
	mti, size, ok := s.decode(frame[m.at:], m.text[:])
	if !ok {
		return fatal("message type: %v", s.complaint(frame[m.at:]))
	}
	m.at += size
	m.envelope.MTI = uint16(number(mti)) //nolint:gosec // four digits.
	return d.openBitmap(m)
}

// openBitmap reads one or two bitmaps at m.at. A hexadecimal bitmap is told by
// sixteen hexadecimal characters. A raw bitmap is never taken for one: a character
// in the place of its eighth byte would announce one of DE58 to 60, which dialect
// host does not have.
func (d *Dialect) openBitmap(m *message) *FormatError {
	rest := m.body[m.at:]
	m.envelope.HexMap = !d.packed && looksHex(rest)
	hexMap := d.plan(m.envelope.HexMap).hexMap
	primary, read, err := readBitmap(rest, hexMap)
	if err != nil {
		return fatal("bitmap: %v", err)
	}
	m.bitmaps = span{m.at, m.at + read}
	m.set[0] = primary
	if !m.set.has(1) {
		m.at = m.bitmaps.to
		return nil
	}
	secondary, more, err := readBitmap(rest[read:], hexMap)
	if err != nil {
		return fatal("secondary bitmap: %v", err)
	}
	m.bitmaps.to += more
	m.at = m.bitmaps.to
	m.set[1] = secondary
	// 128 alone is a MAC that follows the bitmap's width, not a reason for it.
	m.envelope.Wide = m.set[1]&^(1<<63) == 0
	return nil
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

// readBitmap returns the bitmap at the start of b, bit n-1 for its nth element, and
// how many bytes it took.
func readBitmap(b []byte, hexMap bool) (set uint64, size int, err error) {
	var wire [bitmapSize]byte
	size = bitmapSize
	if hexMap {
		size = 2 * bitmapSize
	}
	if len(b) < size {
		return 0, 0, cutShort(size, len(b))
	}
	if !hexMap {
		copy(wire[:], b)
	} else if _, ok := decodeHex(b[:size], wire[:]); !ok {
		_, _, err := hexadecimal{}.Decode(b, bitmapSize)
		return 0, 0, err
	}
	return bits.Reverse64(binary.BigEndian.Uint64(wire[:])), size, nil
}

// readFields takes every announced element apart. Past an element whose content
// is bad but whose extent is known it reads on, so that the answer can echo what
// follows; the first fault is returned.
func (d *Dialect) readFields(m *message) *FormatError {
	var first *FormatError
	steps := &d.plan(m.envelope.HexMap).steps
	for de := m.set.next(1); de != 0; de = m.set.next(de) {
		s := &steps[de]
		if s.layout == 0 {
			return earlier(first, fault(de, "not an element of dialect %s; its length is unknown", d.name))
		}
		rest := m.body[m.at:]
		value, size, ok := s.decode(rest, m.text[m.spelled:])
		if !ok {
			first = earlier(first, fault(de, "%v; want %s", s.complaint(rest), format(s.spec)))
			size, known := extent(s.spec, rest)
			if !known {
				return first
			}
			m.at += size
			continue
		}
		if s.layout != oneByte {
			m.spelled += len(value) + len(value)%2
		}
		m.values[de] = value
		m.read.add(de)
		m.spans[de] = span{m.at, m.at + size}
		m.at += size
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

// draft is a message being written: the value of each element that will be sent. It
// comes from blank and goes back with discard.
type draft struct {
	envelope points.Envelope
	set      elementSet // elements that have, or had, a value
	values   [lastElement + 1][]byte
	text     []byte         // where the values that keep was given stand
	whole    points.Request // a copy to complete
	scratch  points.Request // what is written, read back
}

// blank returns an empty draft in envelope.
func (d *Dialect) blank(envelope points.Envelope) *draft {
	f, _ := d.drafts.Get().(*draft)
	if f == nil {
		f = new(draft)
	}
	f.envelope = envelope
	return f
}

// discard gives f back for the next message.
func (d *Dialect) discard(f *draft) {
	for de := f.set.next(0); de != 0; de = f.set.next(de) {
		f.values[de] = nil
	}
	f.set, f.text = elementSet{}, f.text[:0]
	d.drafts.Put(f)
}

// put has de sent with value; nil takes it out again.
func (f *draft) put(de int, value []byte) {
	f.set.add(de)
	f.values[de] = value
}

// keep has de sent with the value by which longer is longer than f.text, and makes
// longer the text. Nothing added is nothing sent.
func (f *draft) keep(de int, longer []byte) {
	value := longer[len(f.text):]
	f.text = longer
	if len(value) == 0 {
		value = nil
	}
	f.put(de, value)
}

// width tells whether the draft needs, or was asked for, a secondary bitmap.
func (f *draft) width() (wide bool) {
	wide = f.envelope.Wide
	for de := f.set.next(64); de != 0 && !wide; de = f.set.next(de) {
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
		first *FormatError
		sent  elementSet
		p     = d.plan(f.envelope.HexMap)
	)
	wide := f.width()
	if wide {
		sent.add(1)
	}
	dst, maps, wrong := d.appendFront(dst, f, wide)
	for de := f.set.next(1); de != 0; de = f.set.next(de) {
		value, s := f.values[de], &p.steps[de]
		if value == nil {
			continue
		}
		if s.layout == 0 {
			first = earlier(first, fault(de, "not an element of dialect %s", d.name))
			continue
		}
		longer, ok := s.encode(dst, value)
		if !ok {
			first = earlier(first, fault(de, "%v; want %s", s.refusal(value), format(s.spec)))
			continue
		}
		dst = longer
		sent.add(de)
	}
	if first = earlier(first, wrong); wrong == nil {
		writeBitmap(dst[maps.from:maps.to], sent, p.hexMap)
	}
	if first != nil {
		return dst, first
	}
	return dst, nil
}

// appendFront writes what stands before the fields, with room for the bitmap, which
// is known when they are written.
func (d *Dialect) appendFront(dst []byte, f *draft, wide bool) (longer []byte, maps span, wrong *FormatError) {
	if d.packed {
		dst = append(dst, f.envelope.TPDU[:]...)
		dst = append(dst, f.envelope.Header[:]...)
	}
	from := len(f.text)
	f.text = appendDecimal(f.text, uint64(f.envelope.MTI), 4) // Kept, so that the next message has the room.
	mti := f.text[from:]
	s := &d.rawPlan.steps[0]
	longer, ok := s.encode(dst, mti)
	if !ok {
		return dst, span{}, fault(0, "message type %04d: %v", f.envelope.MTI, s.refusal(mti))
	}
	var room [4 * bitmapSize]byte
	size := bitmapSize
	if wide {
		size *= 2
	}
	if d.plan(f.envelope.HexMap).hexMap {
		size *= 2
	}
	maps = span{len(longer), len(longer) + size}
	return append(longer, room[:size]...), maps, nil
}

// writeBitmap fills at with set.
func writeBitmap(at []byte, set elementSet, hexMap bool) {
	var wire [2 * bitmapSize]byte
	binary.BigEndian.PutUint64(wire[:], bits.Reverse64(set[0]))
	binary.BigEndian.PutUint64(wire[bitmapSize:], bits.Reverse64(set[1]))
	if hexMap {
		appendHex(at[:0], wire[:len(at)/2])
		return
	}
	copy(at, wire[:])
}

// appendDecimal appends n in width digits, zeros in front. A number that does not fit
// comes out longer, and the element that it is for does not hold it.
func appendDecimal(dst []byte, n uint64, width int) []byte {
	const zeros = "00000000000000000000"
	from := len(dst)
	dst = append(dst, zeros[:width]...)
	for at := len(dst) - 1; at >= from && n > 0; at-- {
		dst[at] = '0' + byte(n%10)
		n /= 10
	}
	if n == 0 {
		return dst
	}
	longer := strconv.AppendUint(dst[:from:from], n, 10) // the digits in front, in a copy
	return append(longer, dst[from:]...)
}
