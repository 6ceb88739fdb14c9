package dialect

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/moov-io/iso8583"
	"github.com/moov-io/iso8583/field"
)

// layout is how the units of a value stand on the wire.
type layout uint8

const (
	digitPairs layout = iota + 1 // packed decimal, two units a byte
	oneByte                      // a unit is a byte
	hexPairs                     // a unit is two hexadecimal characters
)

// step is what a plan knows of one data element: enough to find, check and write it
// without asking its moov field. The zero value is an element that the dialect does
// not have.
type step struct {
	layout layout
	class  class
	left   bool   // digitPairs: an odd unit's padding is on the right
	bias   byte   // digitPairs: brings what is past the class's last nibble to 128
	prefix layout // of the length: digitPairs or oneByte; 0 is a fixed length
	digits uint8  // of the length
	unit   int    // what the length counts for one unit
	limit  int    // units: the fixed length, or the longest
	spec   *field.Spec
}

// plan is a [iso8583.MessageSpec] compiled: a step for every element, 0 the message
// type. It is made once, when its dialect is, and only read after that.
type plan struct {
	steps  [lastElement + 1]step
	hexMap bool // the bitmap is hexadecimal characters
}

// textSize bounds the values of one frame that are spelled out: packed decimal as
// digits, hexadecimal as bytes. Values of other layouts are read where they stand.
const textSize = 1024

// compile makes the plan of spec. It refuses, by the element's number, whatever it
// does not know how to do: a plan that leaves a feature out would read frames
// otherwise than the spec says.
func compile(spec *iso8583.MessageSpec) (*plan, error) {
	p := &plan{}
	spelled := 0
	for de, described := range spec.Fields {
		if de == 1 {
			continue
		}
		if de < 0 || de > lastElement {
			return nil, fmt.Errorf("spec %s: DE%d: want 0 to %d", spec.Name, de, lastElement)
		}
		s, err := compileStep(described)
		if err != nil {
			return nil, fmt.Errorf("spec %s: DE%d: %w", spec.Name, de, err)
		}
		p.steps[de] = s
		if s.layout != oneByte {
			spelled += s.limit + s.limit%2
		}
	}
	if mti := p.steps[0]; mti.layout == 0 || mti.class != classN || mti.prefix != 0 || mti.limit != 4 {
		return nil, fmt.Errorf("spec %s: the message type is not four digits", spec.Name)
	}
	if spelled > textSize {
		return nil, fmt.Errorf("spec %s: %d digits and bytes to spell out, want %d at most", spec.Name, spelled, textSize)
	}
	var err error
	if p.hexMap, err = compileBitmap(spec.Fields[1]); err != nil {
		return nil, fmt.Errorf("spec %s: DE1: %w", spec.Name, err)
	}
	return p, nil
}

// compileBitmap tells whether a bitmap of eight bytes is hexadecimal.
func compileBitmap(described field.Field) (hexMap bool, err error) {
	f, ok := described.(*field.Bitmap)
	if !ok {
		return false, fmt.Errorf("field type %T, want a bitmap", described)
	}
	spec := f.Spec()
	if err := compilePlain(spec); err != nil {
		return false, err
	}
	if _, fixed := spec.Pref.(fixedLength); !fixed || spec.Length != bitmapSize || spec.DisableAutoExpand {
		return false, fmt.Errorf("want %d bytes without a length, and a second bitmap behind", bitmapSize)
	}
	switch enc := spec.Enc.(type) {
	case hexadecimal:
		return true, nil
	case characters:
		if enc.class == classB {
			return false, nil
		}
	}
	return false, fmt.Errorf("encoder %T, want raw or hexadecimal", spec.Enc)
}

// compileStep makes the step of one element.
func compileStep(described field.Field) (step, error) {
	f, ok := described.(*field.String)
	if !ok {
		return step{}, fmt.Errorf("field type %T, want a string", described)
	}
	spec := f.Spec()
	if err := compilePlain(spec); err != nil {
		return step{}, err
	}
	s := step{limit: spec.Length, unit: 1, spec: spec}
	if s.limit < 1 || s.limit > MaxFrame {
		return step{}, fmt.Errorf("length %d, want 1 to %d", s.limit, MaxFrame)
	}
	if err := s.compileEncoder(); err != nil {
		return step{}, err
	}
	return s, s.compilePrefix()
}

// compilePlain refuses what a moov field can have beside encoder and length.
func compilePlain(spec *field.Spec) error {
	switch {
	case spec.Pad != nil:
		return fmt.Errorf("padding %T: the plan pads nothing but packed decimal", spec.Pad)
	case spec.Tag != nil || spec.Bitmap != nil || len(spec.Subfields) > 0:
		return fmt.Errorf("subfields: the plan has none")
	case spec.Packer != nil || spec.Unpacker != nil:
		return fmt.Errorf("a packer of its own: the plan knows encoders and lengths only")
	default:
		return nil
	}
}

func (s *step) compileEncoder() error {
	switch enc := s.spec.Enc.(type) {
	case packed:
		s.layout, s.class, s.left = digitPairs, enc.class, enc.left
		switch s.class {
		case classN:
			s.bias = 0x80 - 10
		case classZ:
			s.bias = 0x80 - 16
		default:
			return fmt.Errorf("class %s in packed decimal, want n or z", s.class)
		}
	case characters:
		s.layout, s.class = oneByte, enc.class
		if s.class < classN || s.class > classB {
			return fmt.Errorf("character class %s", s.class)
		}
	case hexadecimal:
		s.layout, s.class = hexPairs, classB
	default:
		return fmt.Errorf("encoder %T", s.spec.Enc)
	}
	return nil
}

func (s *step) compilePrefix() error {
	digits := 0
	switch length := s.spec.Pref.(type) {
	case fixedLength:
		return nil
	case packedLength:
		s.prefix, digits = digitPairs, int(length)
	case textLength:
		s.prefix, s.unit, digits = oneByte, length.unit, length.count
	default:
		return fmt.Errorf("length %T", s.spec.Pref)
	}
	if digits != 2 && digits != 3 {
		return fmt.Errorf("length of %d digits, want 2 or 3", digits)
	}
	if s.unit < 1 || s.limit*s.unit >= int(math.Pow10(digits)) {
		return fmt.Errorf("length %d times %d does not fit %d digits", s.limit, s.unit, digits)
	}
	s.digits = uint8(digits) //nolint:gosec // 2 or 3.
	return nil
}

// size is how many bytes n units take.
func (s *step) size(n int) int {
	switch s.layout {
	case digitPairs:
		return (n + 1) / 2
	case hexPairs:
		return 2 * n
	default:
		return n
	}
}

// decode reads the element that data begins with and returns its value and how many
// bytes it took. The value is part of data, or is spelled out at the start of text,
// which has room for it. ok is false when something is wrong with it; complaint says
// what.
func (s *step) decode(data, text []byte) (value []byte, size int, ok bool) {
	units, read, ok := s.decodeLength(data)
	if !ok {
		return nil, 0, false
	}
	size = read + s.size(units)
	if size > len(data) {
		return nil, 0, false
	}
	wire := data[read:size]
	switch s.layout {
	case digitPairs:
		value, ok = s.decodePairs(wire, text, units)
	case hexPairs:
		value, ok = decodeHex(wire, text[:units])
	default:
		value, ok = wire, s.class.holds(wire)
	}
	return value, size, ok
}

// decodeLength returns how many units follow, and how many bytes said so.
func (s *step) decodeLength(data []byte) (units, read int, ok bool) {
	n := 0
	switch s.prefix {
	case digitPairs:
		read = (int(s.digits) + 1) / 2
		if len(data) < read {
			return 0, 0, false
		}
		for _, b := range data[:read] {
			high, low := int(b>>4), int(b&0x0F)
			if high > 9 || low > 9 {
				return 0, 0, false
			}
			n = n*100 + high*10 + low
		}
	case oneByte:
		read = int(s.digits)
		if len(data) < read {
			return 0, 0, false
		}
		for _, b := range data[:read] {
			if b < '0' || b > '9' {
				return 0, 0, false
			}
			n = n*10 + int(b-'0')
		}
	default:
		return s.limit, 0, true
	}
	if n == 0 || n > s.limit*s.unit {
		return 0, 0, false
	}
	if s.unit == 1 {
		return n, read, true
	}
	return n / s.unit, read, n%s.unit == 0
}

// decodePairs spells packed decimal out. Its padding nibble must be zero.
func (s *step) decodePairs(wire, text []byte, units int) (value []byte, ok bool) {
	text = text[:2*len(wire)]
	over := uint16(0) // bits 4 and 12: six more than a nibble above 9
	for i, b := range wire {
		pair := uint16(b>>4)<<8 | uint16(b&0x0F)
		binary.BigEndian.PutUint16(text[2*i:], pair|'0'<<8|'0') // '0' has no bits of a nibble
		over |= pair + 0x0606
	}
	value, pad := text[:units], byte('0')
	switch {
	case units%2 == 0:
	case s.left:
		pad = text[units]
	default:
		pad, value = text[0], text[1:units+1]
	}
	return value, pad == '0' && (s.class == classZ || over&0x1010 == 0)
}

func decodeHex(wire, text []byte) (value []byte, ok bool) {
	for i := range text {
		high, ok1 := nibbleOf(wire[2*i])
		low, ok2 := nibbleOf(wire[2*i+1])
		if !ok1 || !ok2 {
			return nil, false
		}
		text[i] = high<<4 | low
	}
	return text, true
}

// encode appends value as it stands on the wire, its length in front. ok is false,
// and dst as it was, when the element does not hold value; refusal says why.
func (s *step) encode(dst, value []byte) (longer []byte, ok bool) {
	n := len(value)
	if n < 1 || n > s.limit || (s.prefix == 0 && n != s.limit) {
		return dst, false
	}
	longer = dst
	if s.prefix != 0 {
		longer = s.encodeLength(dst, n*s.unit)
	}
	switch s.layout {
	case digitPairs:
		longer, ok = s.encodePairs(longer, value)
	case hexPairs:
		longer, ok = appendHex(longer, value), true
	default:
		longer, ok = append(longer, value...), s.class.holds(value)
	}
	if !ok {
		return dst, false
	}
	return longer, true
}

// encodePairs appends value as packed decimal. ok is false when a character of it is
// not of class n or z, whichever the step has.
func (s *step) encodePairs(dst, value []byte) (longer []byte, ok bool) {
	over := byte(0)
	if len(value)%2 == 1 && !s.left {
		first := value[0] - '0'
		over |= first | (first + s.bias)
		dst = append(dst, first)
		value = value[1:]
	}
	for ; len(value) >= 2; value = value[2:] {
		high, low := value[0]-'0', value[1]-'0'
		over |= high | (high + s.bias) | low | (low + s.bias)
		dst = append(dst, high<<4|low)
	}
	if len(value) == 1 {
		last := value[0] - '0'
		over |= last | (last + s.bias)
		dst = append(dst, last<<4)
	}
	return dst, over&0x80 == 0
}

// encodeLength appends n, which fits the digits of the length there is.
func (s *step) encodeLength(dst []byte, n int) []byte {
	hundreds, tens, ones := byte(n/100), byte(n/10%10), byte(n%10) //nolint:gosec // below 1,000, see compilePrefix.
	switch {
	case s.prefix == digitPairs && s.digits == 3:
		return append(dst, hundreds, tens<<4|ones)
	case s.prefix == digitPairs:
		return append(dst, tens<<4|ones)
	case s.prefix == oneByte && s.digits == 3:
		return append(dst, '0'+hundreds, '0'+tens, '0'+ones)
	case s.prefix == oneByte:
		return append(dst, '0'+tens, '0'+ones)
	default:
		return dst
	}
}

// complaint says what is wrong with an element that decode refused, in the words of
// the spec's own encoder and length.
func (s *step) complaint(data []byte) error {
	enc, length := wireOf(s.spec)
	units, read, err := length.DecodeLength(s.limit, data)
	if err == nil {
		_, _, err = enc.Decode(data[read:], units)
	}
	if err == nil {
		err = errDisagree
	}
	return err
}

// refusal says why encode refused value, in the words of the spec's own encoder and
// length.
func (s *step) refusal(value []byte) error {
	enc, length := wireOf(s.spec)
	_, err := enc.Encode(value)
	if err == nil {
		_, err = length.EncodeLength(s.limit, len(value))
	}
	if err == nil {
		err = errDisagree
	}
	return err
}
