package dialect

import (
	"errors"
	"fmt"

	"github.com/moov-io/iso8583/encoding"
	"github.com/moov-io/iso8583/prefix"
)

// class is a character class of ISO 8583. Its encoders refuse what is outside.
type class uint8

const (
	classN   class = iota + 1 // n: digits
	classAN                   // an: letters, digits and the blank that pads them
	classANS                  // ans: printable ASCII
	classZ                    // z: tracks 2 and 3, the sixteen characters 0 to ? of ISO/IEC 7811
	classXN                   // x+n: C or D, then digits
	classB                    // b: any byte
)

// String returns the class as the standard writes it.
func (c class) String() string {
	switch c {
	case classN:
		return "n"
	case classAN:
		return "an"
	case classANS:
		return "ans"
	case classZ:
		return "z"
	case classXN:
		return "x+n"
	case classB:
		return "b"
	default:
		return fmt.Sprintf("class(%d)", uint8(c))
	}
}

// allows reports whether b may stand at index i of a value of the class.
func (c class) allows(i int, b byte) bool {
	digit := b >= '0' && b <= '9'
	switch c {
	case classN:
		return digit
	case classAN:
		return digit || b == ' ' || (b >= 'A' && b <= 'Z') || (b >= 'a' && b <= 'z')
	case classANS:
		return b >= ' ' && b <= '~'
	case classZ:
		return b >= '0' && b <= '?'
	case classXN:
		return (i == 0 && (b == 'C' || b == 'D')) || (i > 0 && digit)
	case classB:
		return true
	default:
		return false
	}
}

// alphabets holds for every byte the classes that allow it anywhere in a value, bit n
// for class n. Where the place matters (x+n) the class is in it for no byte.
var alphabets = func() (table [256]uint16) {
	for b := range table {
		for _, c := range []class{classN, classAN, classANS, classZ, classB} {
			if c.allows(0, byte(b)) {
				table[b] |= 1 << c
			}
		}
	}
	return table
}()

// holds reports whether every character of value is of the class.
func (c class) holds(value []byte) bool {
	switch c {
	case classB:
		return true
	case classN:
		outside := false
		for _, b := range value {
			outside = outside || b-'0' > 9
		}
		return !outside
	case classXN:
		for i, b := range value {
			if !c.allows(i, b) {
				return false
			}
		}
		return true
	default:
		common := ^uint16(0)
		for _, b := range value {
			common &= alphabets[b]
		}
		return common&(1<<c) != 0
	}
}

// check refuses a value with a character outside the class. It names the place,
// never the character.
func (c class) check(value []byte) error {
	if c.holds(value) {
		return nil
	}
	for i, b := range value {
		if !c.allows(i, b) {
			return fmt.Errorf("character %d of %d is not of class %s", i+1, len(value), c)
		}
	}
	return nil
}

// wireEncoder is a moov encoder that can tell its class and how many bytes n units take.
type wireEncoder interface {
	encoding.Encoder
	size(n int) int
	chars() class
	form() string // for the document
}

// wirePrefixer is a moov prefixer that can tell the document about itself.
type wirePrefixer interface {
	prefix.Prefixer
	digits() int  // digits of the length; 0 is a field of fixed length
	form() string // for the document
}

var (
	_ wireEncoder  = packed{}
	_ wireEncoder  = characters{}
	_ wireEncoder  = hexadecimal{}
	_ wirePrefixer = fixedLength{}
	_ wirePrefixer = packedLength(0)
	_ wirePrefixer = textLength{}
)

// packed is packed decimal: two digits a byte, an odd count padded with a zero
// nibble on the right (left aligned) or on the left (right aligned). Nibble n of
// a track is character '0'+n, so that = is nibble D.
//
// moov's own BCD encoder builds two tables for every field that it reads or
// writes; this one needs none.
type packed struct {
	class class // classN or classZ
	left  bool
}

func (p packed) size(n int) int { return (n + 1) / 2 }
func (p packed) chars() class   { return p.class }
func (p packed) form() string {
	if p.left {
		return "BCD, left"
	}
	return "BCD, right"
}

// Encode packs the characters of src.
func (p packed) Encode(src []byte) ([]byte, error) {
	if err := p.class.check(src); err != nil {
		return nil, err
	}
	dst := make([]byte, p.size(len(src)))
	at := 0
	if len(src)%2 == 1 && !p.left {
		at = 1
	}
	for _, c := range src {
		nibble := c - '0'
		if at%2 == 0 {
			nibble <<= 4
		}
		dst[at/2] |= nibble
		at++
	}
	return dst, nil
}

// Decode unpacks n characters and returns how many bytes they took.
func (p packed) Decode(src []byte, n int) ([]byte, int, error) {
	if n < 0 {
		return nil, 0, fmt.Errorf("length %d is negative", n)
	}
	size := p.size(n)
	if len(src) < size {
		return nil, 0, cutShort(size, len(src))
	}
	dst := make([]byte, 0, 2*size)
	for _, b := range src[:size] {
		dst = append(dst, '0'+b>>4, '0'+b&0x0F)
	}
	if n%2 == 1 {
		pad := dst[0]
		if p.left {
			pad, dst = dst[n], dst[:n]
		} else {
			dst = dst[1:]
		}
		if pad != '0' {
			return nil, 0, fmt.Errorf("the padding of %d digits is not zero; they are %s aligned", n, side(p.left))
		}
	}
	if err := p.class.check(dst); err != nil {
		return nil, 0, err
	}
	return dst, size, nil
}

func side(left bool) string {
	if left {
		return "left"
	}
	return "right"
}

// characters is one byte a character, or one byte a byte.
type characters struct{ class class }

func (c characters) size(n int) int { return n }
func (c characters) chars() class   { return c.class }
func (c characters) form() string {
	if c.class == classB {
		return "raw"
	}
	return "ASCII"
}

// Encode copies src.
func (c characters) Encode(src []byte) ([]byte, error) {
	if err := c.class.check(src); err != nil {
		return nil, err
	}
	return append([]byte(nil), src...), nil
}

// Decode copies n characters.
func (c characters) Decode(src []byte, n int) ([]byte, int, error) {
	if n < 0 {
		return nil, 0, fmt.Errorf("length %d is negative", n)
	}
	if len(src) < n {
		return nil, 0, cutShort(n, len(src))
	}
	if err := c.class.check(src[:n]); err != nil {
		return nil, 0, err
	}
	return append([]byte(nil), src[:n]...), n, nil
}

// hexadecimal is two capital hexadecimal characters a byte; it reads small ones too.
type hexadecimal struct{}

func (hexadecimal) size(n int) int { return 2 * n }
func (hexadecimal) chars() class   { return classB }
func (hexadecimal) form() string   { return "hex" }

// Encode writes src in hexadecimal.
func (hexadecimal) Encode(src []byte) ([]byte, error) {
	return appendHex(make([]byte, 0, 2*len(src)), src), nil
}

func appendHex(dst, src []byte) []byte {
	const digits = "0123456789ABCDEF"
	for _, b := range src {
		dst = append(dst, digits[b>>4], digits[b&0x0F])
	}
	return dst
}

// Decode reads n bytes.
func (hexadecimal) Decode(src []byte, n int) ([]byte, int, error) {
	if n < 0 {
		return nil, 0, fmt.Errorf("length %d is negative", n)
	}
	if len(src) < 2*n {
		return nil, 0, cutShort(2*n, len(src))
	}
	dst := make([]byte, n)
	for i := range dst {
		high, ok1 := nibbleOf(src[2*i])
		low, ok2 := nibbleOf(src[2*i+1])
		if !ok1 || !ok2 {
			return nil, 0, fmt.Errorf("byte %d of %d is not two hexadecimal characters", i+1, n)
		}
		dst[i] = high<<4 | low
	}
	return dst, 2 * n, nil
}

func nibbleOf(c byte) (nibble byte, ok bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	default:
		return 0, false
	}
}

// errDisagree is reported where a plan refuses what its spec accepts. There is no such
// case: the differential tests hold the two together.
var errDisagree = errors.New("refused by the plan alone")

func cutShort(want, found int) error {
	return fmt.Errorf("the frame ends early: %d bytes wanted, %d left", want, found)
}

// fixedLength is a field without a length.
type fixedLength struct{}

func (fixedLength) digits() int  { return 0 }
func (fixedLength) form() string { return "" }

// EncodeLength writes nothing and refuses another length.
func (fixedLength) EncodeLength(fixed, length int) ([]byte, error) {
	if length != fixed {
		return nil, fmt.Errorf("length %d, want %d", length, fixed)
	}
	return nil, nil
}

// DecodeLength returns the fixed length.
func (fixedLength) DecodeLength(fixed int, _ []byte) (length, read int, err error) {
	return fixed, 0, nil
}

// Inspect names the prefixer for moov.
func (fixedLength) Inspect() string { return "Fixed" }

// packedLength is a length of 2 or 3 digits in packed decimal, right aligned.
type packedLength int

func (p packedLength) digits() int  { return int(p) }
func (p packedLength) form() string { return lengthName(int(p)) }

// EncodeLength writes length.
func (p packedLength) EncodeLength(limit, length int) ([]byte, error) {
	text, err := lengthDigits(limit, length, int(p))
	if err != nil {
		return nil, err
	}
	return packed{class: classN}.Encode(text)
}

// DecodeLength reads a length from 1 to limit.
func (p packedLength) DecodeLength(limit int, data []byte) (length, read int, err error) {
	text, read, err := packed{class: classN}.Decode(data, int(p))
	if err != nil {
		return 0, 0, errors.New("its length: " + err.Error())
	}
	length, err = lengthWithin(limit, text)
	return length, read, err
}

// Inspect names the prefixer for moov.
func (p packedLength) Inspect() string { return "BCD." + p.form() }

// textLength is a length of 2 or 3 ASCII digits. It counts characters; a value
// whose units take several characters each (a byte in hexadecimal takes 2) has
// that number as unit.
type textLength struct{ count, unit int }

func (t textLength) digits() int  { return t.count }
func (t textLength) form() string { return lengthName(t.count) }

// EncodeLength writes length times unit.
func (t textLength) EncodeLength(limit, length int) ([]byte, error) {
	return lengthDigits(limit*t.unit, length*t.unit, t.count)
}

// DecodeLength reads a length from 1 to limit.
func (t textLength) DecodeLength(limit int, data []byte) (length, read int, err error) {
	text, read, err := characters{class: classN}.Decode(data, t.count)
	if err != nil {
		return 0, 0, errors.New("its length: " + err.Error())
	}
	length, err = lengthWithin(limit*t.unit, text)
	if err != nil {
		return 0, 0, err
	}
	if length%t.unit != 0 {
		return 0, 0, fmt.Errorf("length %d is not a multiple of %d", length, t.unit)
	}
	return length / t.unit, read, nil
}

// Inspect names the prefixer for moov.
func (t textLength) Inspect() string { return "ASCII." + t.form() }

func lengthName(digits int) string { return "LLLLLL"[:min(digits, 6)] }

func lengthDigits(limit, length, digits int) ([]byte, error) {
	if length < 1 || length > limit {
		return nil, fmt.Errorf("length %d, want 1 to %d", length, limit)
	}
	text := make([]byte, digits)
	for i := digits - 1; i >= 0; i-- {
		text[i] = '0' + byte(length%10)
		length /= 10
	}
	if length > 0 {
		return nil, fmt.Errorf("length does not fit %d digits", digits)
	}
	return text, nil
}

func lengthWithin(limit int, text []byte) (int, error) {
	length := 0
	for _, c := range text {
		length = length*10 + int(c-'0')
	}
	if length == 0 {
		return 0, errors.New("length 0; an absent field has no bit in the bitmap")
	}
	if length > limit {
		return 0, fmt.Errorf("length %d, want 1 to %d", length, limit)
	}
	return length, nil
}
