package dialect

import (
	"strconv"
	"strings"

	"github.com/moov-io/iso8583/field"

	"github.com/lianfen/lianfen/points"
)

// oracle reads and writes frames by walking the moov spec field by field, with moov's
// own packing and unpacking: the slow, obvious reading of the field table that the
// compiled plan is held against. What the elements mean it takes from the dialect,
// since the plan has no part in that.
type oracle struct{ d *Dialect }

func (o oracle) decode(frame []byte, req *points.Request) *FormatError {
	req.Reset()
	m, wrong := o.open(frame)
	if wrong != nil {
		return wrong
	}
	if wrong := o.d.begin(m, req); wrong != nil {
		return wrong
	}
	return o.d.interpret(m, req, o.readFields(m))
}

func (o oracle) decodeResponse(frame []byte, req *points.Request, resp *points.Response) *FormatError {
	req.Reset()
	*resp = points.Response{}
	m, wrong := o.open(frame)
	if wrong != nil {
		return wrong
	}
	if wrong := o.d.beginAnswer(m, req); wrong != nil {
		return wrong
	}
	return o.d.interpretAnswer(m, req, resp, o.readFields(m))
}

func (o oracle) appendResponse(dst []byte, req *points.Request, resp *points.Response) ([]byte, *FormatError) {
	f := &draft{envelope: req.Envelope}
	o.d.draftAnswer(f, req, resp, nil)
	return o.append(dst, f)
}

func (o oracle) appendRequest(dst []byte, req *points.Request) ([]byte, *FormatError) {
	var f draft
	whole := *req
	if err := o.d.fillDraft(&f, &whole, nil); err != nil {
		return dst, formatErrorOf(err)
	}
	longer, wrong := o.append(dst, &f)
	if wrong != nil {
		return dst, wrong
	}
	return longer, nil
}

func (o oracle) macSpan(frame []byte) (from, to int, ok bool) {
	m, wrong := o.open(frame)
	if wrong != nil || o.readFields(m) != nil {
		return 0, 0, false
	}
	for _, de := range []int{128, 64} {
		if m.values[de] != nil {
			return o.d.preamble(), m.spans[de].from, true
		}
	}
	return 0, 0, false
}

func (o oracle) open(frame []byte) (*message, *FormatError) {
	m := &message{body: frame}
	if len(frame) > MaxFrame {
		return nil, fatal("frame of %d bytes, want %d at most", len(frame), MaxFrame)
	}
	if o.d.packed {
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
	m.at = o.d.preamble()
	mti, read, err := unpack(o.d.raw.Fields[0], frame[m.at:])
	if err != nil {
		return nil, fatal("message type: %v", err)
	}
	m.at += read
	m.envelope.MTI = uint16(number(mti))
	return m, o.openBitmap(m)
}

func (o oracle) openBitmap(m *message) *FormatError {
	rest := m.body[m.at:]
	m.envelope.HexMap = !o.d.packed && len(rest) >= 16 &&
		strings.Trim(string(rest[:16]), "0123456789ABCDEFabcdef") == ""
	primary, read, err := unpackBitmap(rest, m.envelope.HexMap)
	if err != nil {
		return fatal("bitmap: %v", err)
	}
	m.bitmaps = span{m.at, m.at + read}
	announce(m, primary, 0)
	if primary[0]&0x80 != 0 {
		secondary, more, err := unpackBitmap(rest[read:], m.envelope.HexMap)
		if err != nil {
			return fatal("secondary bitmap: %v", err)
		}
		m.bitmaps.to += more
		announce(m, secondary, 64)
		m.envelope.Wide = true
		for de := 65; de <= 127; de++ {
			m.envelope.Wide = m.envelope.Wide && !m.set.has(de)
		}
	}
	m.at = m.bitmaps.to
	return nil
}

func announce(m *message, bitmap []byte, before int) {
	for i, b := range bitmap {
		for bit := range 8 {
			if b&(0x80>>bit) != 0 {
				m.set.add(before + 8*i + bit + 1)
			}
		}
	}
}

func unpackBitmap(b []byte, hexMap bool) ([]byte, int, error) {
	if hexMap {
		return hexadecimal{}.Decode(b, bitmapSize)
	}
	return characters{class: classB}.Decode(b, bitmapSize)
}

func (o oracle) readFields(m *message) *FormatError {
	var first *FormatError
	fields := o.d.spec(m.envelope.HexMap).Fields
	for de := 2; de <= lastElement; de++ {
		if !m.set.has(de) {
			continue
		}
		described := fields[de]
		if described == nil {
			return earlier(first, fault(de, "not an element of dialect %s; its length is unknown", o.d.name))
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
		m.read.add(de)
		m.spans[de] = span{m.at, m.at + read}
		m.at += read
	}
	if left := len(m.body) - m.at; left > 0 {
		first = earlier(first, fault(0, "%d bytes after the last field", left))
	}
	return first
}

// unpack reads one element. moov wraps what the encoders say ("failed to decode
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

func (o oracle) append(dst []byte, f *draft) ([]byte, *FormatError) {
	var (
		first  *FormatError
		bits   [2 * bitmapSize]byte
		body   []byte
		fields = o.d.spec(f.envelope.HexMap).Fields
	)
	wide := f.envelope.Wide
	for de := 2; de <= lastElement; de++ {
		if f.values[de] == nil {
			continue
		}
		wide = wide || de > 64
		described := fields[de]
		if described == nil {
			first = earlier(first, fault(de, "not an element of dialect %s", o.d.name))
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
	dst, err := o.appendFront(dst, f, maps)
	if err != nil {
		first = earlier(first, fault(0, "message type %04d: %v", f.envelope.MTI, err))
	}
	return append(dst, body...), first
}

func (o oracle) appendFront(dst []byte, f *draft, maps []byte) ([]byte, error) {
	if o.d.packed {
		dst = append(dst, f.envelope.TPDU[:]...)
		dst = append(dst, f.envelope.Header[:]...)
	}
	digits := strconv.Itoa(int(f.envelope.MTI))
	mti, err := pack(o.d.raw.Fields[0], []byte(strings.Repeat("0", max(0, 4-len(digits)))+digits))
	if err != nil {
		return dst, err
	}
	dst = append(dst, mti...)
	if f.envelope.HexMap && !o.d.packed {
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
