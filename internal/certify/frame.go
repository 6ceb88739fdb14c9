package certify

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
)

// message is a frame taken apart: what stands before the fields, and the bytes of
// each field.
type message struct {
	body      []byte
	explained dialect.Explanation
	fault     error // why it, or the rest of it, cannot be read
	hexMap    bool
	front     int            // bytes before the bitmap
	fields    map[int][]byte // wire bytes by data element, length included
	values    map[int]string // values by data element, as they may be shown
	spans     []span         // where the fields stand, in order
	answer    points.Response
	echoed    points.Request
}

// Bytes before the bitmap.
const (
	posFront  = 13 // TPDU 5, header 6, message type 2
	hostFront = 4  // message type, four characters
)

// lastField is the highest data element.
const lastField = 128

// takeApart reads a frame as far as it can be read.
func takeApart(d *dialect.Dialect, body []byte) *message {
	m := &message{body: body, front: posFront, fields: map[int][]byte{}, values: map[int]string{}}
	if d.Name() == "host" {
		m.front = hostFront
	}
	m.explained, m.fault = d.Explain(body)
	if m.explained.Prefixed {
		m.explained, m.fault = dialect.Explanation{}, errors.New("a second length stands before the message")
	}
	if m.explained.MTI == "" {
		return m
	}
	if m.explained.Answer {
		// The fault is Explain's too.
		_ = d.DecodeResponse(body, &m.echoed, &m.answer)
	} else {
		_ = d.Decode(body, &m.echoed)
	}
	m.hexMap = m.echoed.Envelope.HexMap
	m.place()
	return m
}

// place finds the bytes of each field. The explanation tells their sizes; a field
// that could not be read is not in it, and has what the others leave, as long as it
// is the only one. Behind a second one places are unknown.
func (m *message) place() {
	at := m.front + m.bitmapSize()
	unread := m.unread()
	left := len(m.body) - at
	for i := range m.explained.Fields {
		left -= wireSize(&m.explained.Fields[i])
	}
	gap := 0
	if len(unread) == 1 && left > 0 {
		gap = unread[0]
	}
	for i := range m.explained.Fields {
		f := &m.explained.Fields[i]
		if gap != 0 && f.Number > gap {
			at, gap = at+left, 0
		}
		if gap == 0 && len(unread) > 1 && f.Number > unread[0] {
			m.placeless(f)
			continue
		}
		end := at + wireSize(f)
		if end > len(m.body) {
			return
		}
		m.fields[f.Number], m.values[f.Number] = m.body[at:end], f.Value
		m.spans = append(m.spans, span{f.Number, at, end})
		at = end
	}
}

// placeless keeps a field whose place is unknown, unless its bytes are not shown.
func (m *message) placeless(f *dialect.ExplainedField) {
	if bytes, err := hex.DecodeString(f.Wire); err == nil {
		m.fields[f.Number], m.values[f.Number] = bytes, f.Value
	}
}

// span is where a field stands in a frame.
type span struct{ field, from, to int }

// wireSize is how many bytes a field takes: its explanation has two characters for
// each, ** for those that are not shown.
func wireSize(f *dialect.ExplainedField) int { return len(f.Wire) / 2 }

// unread lists the data elements that the bitmap announces and that could not be read.
func (m *message) unread() []int {
	bits, err := hex.DecodeString(m.explained.Bitmap)
	if err != nil {
		return nil
	}
	var all []int
	for de := 2; de <= 8*len(bits); de++ {
		announced := bits[(de-1)/8]&(0x80>>((de-1)%8)) != 0
		if announced && !slices.ContainsFunc(m.explained.Fields, func(f dialect.ExplainedField) bool { return f.Number == de }) && de != 65 {
			all = append(all, de)
		}
	}
	return all
}

// bitmapSize is how many bytes the bitmap takes.
func (m *message) bitmapSize() int {
	if m.hexMap {
		return len(m.explained.Bitmap)
	}
	return len(m.explained.Bitmap) / 2
}

// wide reports whether the bitmap has 128 bits.
func (m *message) wide() bool { return len(m.explained.Bitmap) > 16 }

// mti is the message type, "" where there is none.
func (m *message) mti() string { return m.explained.MTI }

// edited returns the frame with data elements taken out, put in or replaced, and
// with another message type where one is given.
func (m *message) edited(mti string, remove []int, wire map[int]string) ([]byte, error) {
	if mti == "" && len(remove) == 0 && len(wire) == 0 {
		return m.body, nil
	}
	if m.mti() == "" {
		return nil, errors.New("bytes that are no message have no data elements to change")
	}
	fields := make(map[int][]byte, len(m.fields))
	for de, bytes := range m.fields {
		if !slices.Contains(remove, de) {
			fields[de] = bytes
		}
	}
	for de, digits := range wire {
		if de < 2 || de > lastField {
			return nil, fmt.Errorf("there is no DE%d", de)
		}
		bytes, err := unhex(digits)
		if err != nil {
			return nil, fmt.Errorf("DE%d: %w", de, err)
		}
		fields[de] = bytes
	}
	body := slices.Clone(m.body[:m.front])
	if mti != "" {
		m.retype(body, mti)
	}
	body = append(body, m.bitmap(fields)...)
	for de := 2; de <= lastField; de++ {
		body = append(body, fields[de]...)
	}
	return body, nil
}

// retype writes a message type over that of body; mti is four digits.
func (m *message) retype(body []byte, mti string) {
	if m.front == hostFront {
		copy(body, mti)
		return
	}
	packed, _ := hex.DecodeString(mti) // Four digits always are.
	copy(body[posFront-len(packed):], packed)
}

// bitmap is the bitmap of fields, in the form and at least the width that the
// frame has.
func (m *message) bitmap(fields map[int][]byte) []byte {
	bits := make([]byte, 16)
	wide := m.wide()
	for de := range fields {
		bits[(de-1)/8] |= 0x80 >> ((de - 1) % 8)
		wide = wide || de > 64
	}
	if !wide {
		bits = bits[:8]
	} else {
		bits[0] |= 0x80
	}
	if m.hexMap {
		return []byte(strings.ToUpper(hex.EncodeToString(bits)))
	}
	return bits
}

// shownHex is the frame in hexadecimal with ** for the bytes that are not shown.
// What cannot be read is shown as it is, because nobody knows what in it is a card
// number; where something behind it is known to be one, the rest is not shown.
func (m *message) shownHex() string {
	var out strings.Builder
	at := 0
	inClear := func(to int) {
		out.WriteString(strings.ToUpper(hex.EncodeToString(m.body[at:to])))
		at = to
	}
	for _, s := range m.spans {
		inClear(s.from)
		out.WriteString(m.wireOf(s.field))
		at = s.to
	}
	if m.secretBehind() {
		out.WriteString(strings.Repeat("**", len(m.body)-at))
	} else {
		inClear(len(m.body))
	}
	return out.String()
}

// wireOf is a field's bytes as the explanation shows them.
func (m *message) wireOf(field int) string {
	for i := range m.explained.Fields {
		if m.explained.Fields[i].Number == field {
			return m.explained.Fields[i].Wire
		}
	}
	return ""
}

// secret reports whether a field's bytes are not shown.
func (m *message) secret(field int) bool { return strings.Contains(m.wireOf(field), "**") }

// secretBehind reports whether a field without a place is one that is not shown.
func (m *message) secretBehind() bool {
	return slices.ContainsFunc(m.explained.Fields, func(f dialect.ExplainedField) bool {
		return m.fields[f.Number] == nil && strings.Contains(f.Wire, "**")
	})
}
