package files

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/lianfen/lianfen/points"
)

// Field is one field of a record of fixed width, as its partner is told.
type Field struct {
	Name    string
	Type    string // n, a, an, ans, x+n, or what the field always says
	Width   int
	From    int // the column of its first character, from 1
	Content string
}

// To returns the column of the field's last character.
func (f Field) To() int { return f.From + f.Width - 1 }

// field is a Field of records R that can be written and read.
type field[R any] struct {
	Field
	// put writes the value into dst, which is filled with the field's padding, and
	// reports whether it fits.
	put func(dst []byte, r *R) bool
	// take reads the value and returns "", or else what was expected in its place.
	take func(src []byte, r *R) string
	fill byte
	// quantity says of digits that they count something, and are not a name for it.
	quantity bool
}

// counted says that the field is a quantity.
func (f field[R]) counted() field[R] {
	f.quantity = true
	return f
}

// layout is a record of fixed width: fields with a blank between each two, and CRLF.
type layout[R any] struct {
	tag    string
	fields []field[R]
	blank  []byte // the record with every field empty
}

// lineEnd is what ends every line of a file for partners.
const lineEnd = "\r\n"

// newLayout puts fields one behind the other, behind the tag that says which record
// it is.
func newLayout[R any](tag string, fields ...field[R]) layout[R] {
	l := layout[R]{tag: tag}
	l.fields = append(l.fields, constant[R]("rec", "kind of record", tag))
	l.fields = append(l.fields, fields...)
	for i := range l.fields {
		f := &l.fields[i]
		if i > 0 {
			l.blank = append(l.blank, ' ')
		}
		f.From = len(l.blank) + 1
		l.blank = append(l.blank, bytes.Repeat([]byte{f.fill}, f.Width)...)
	}
	l.blank = append(l.blank, lineEnd...)
	return l
}

// width is the length of the record without the end of the line.
func (l *layout[R]) width() int { return len(l.blank) - len(lineEnd) }

// append writes r as one line. A value that does not fit is refused.
func (l *layout[R]) append(dst []byte, r *R) ([]byte, error) {
	start := len(dst)
	dst = append(dst, l.blank...)
	line := dst[start:]
	for i := range l.fields {
		f := &l.fields[i]
		if !f.put(line[f.From-1:f.From-1+f.Width], r) {
			return dst[:start], points.Errorf(points.FormatError, "%s record: %s does not fit its field (%s, %d characters, %s)",
				l.tag, f.Name, f.Type, f.Width, f.Content)
		}
	}
	return dst, nil
}

// parse reads a line, without its end, into r. It goes on behind a field that is
// broken, and returns all that are.
func (l *layout[R]) parse(line []byte, at uint64, r *R) []FormatError {
	if len(line) != l.width() {
		return []FormatError{{
			Line: at, Column: min(len(line), l.width()) + 1, Field: "end of line",
			Found: fmt.Sprintf("%d characters", len(line)), Expected: fmt.Sprintf("%d characters and CR LF", l.width()),
		}}
	}
	var broken []FormatError
	for i := range l.fields {
		f := &l.fields[i]
		from := f.From - 1
		if i > 0 && line[from-1] != ' ' {
			broken = append(broken, FormatError{
				Line: at, Column: from, Field: "blank before " + f.Name, Found: quoted(line[from-1 : from]), Expected: "a blank",
			})
		}
		src := line[from : from+f.Width]
		if expected := f.take(src, r); expected != "" {
			broken = append(broken, FormatError{Line: at, Column: f.From, Field: f.Name, Found: quoted(src), Expected: expected})
		}
	}
	return broken
}

// described lists the fields for documents.
func (l *layout[R]) described() []Field {
	all := make([]Field, len(l.fields))
	for i := range l.fields {
		all[i] = l.fields[i].Field
	}
	return all
}

// FormatError says where a file is not what its format says.
type FormatError struct {
	Line     uint64 `json:"line"`   // in the file, from 1
	Column   int    `json:"column"` // in the line, from 1
	Field    string `json:"field"`
	Found    string `json:"found"`
	Expected string `json:"expected"`
}

// Error says it in one line.
func (e FormatError) Error() string {
	return fmt.Sprintf("line %d, column %d, %s: found %s, expected %s", e.Line, e.Column, e.Field, e.Found, e.Expected)
}

// quoted shows what was found, whatever bytes it has, and not more of it than helps.
func quoted(b []byte) string {
	const most = 80
	if len(b) > most {
		return fmt.Sprintf("%q...", b[:most])
	}
	return fmt.Sprintf("%q", b)
}

// constant is a field that always says the same.
func constant[R any](name, content, text string) field[R] {
	return field[R]{
		Field: Field{Name: name, Type: text, Width: len(text), Content: content}, fill: ' ',
		put: func(dst []byte, _ *R) bool { return copy(dst, text) == len(text) },
		take: func(src []byte, _ *R) string {
			if string(src) != text {
				return fmt.Sprintf("%q", text)
			}
			return ""
		},
	}
}

// unsigned are the types that a field of digits can hold.
type unsigned interface {
	~uint8 | ~uint16 | ~uint32 | ~uint64
}

// number is digits, right-justified, with zeros in front.
func number[R any, T unsigned](name string, width int, content string, at func(*R) *T) field[R] {
	return field[R]{
		Field: Field{Name: name, Type: "n", Width: width, Content: content}, fill: '0',
		put: func(dst []byte, r *R) bool { return putDigits(dst, uint64(*at(r))) },
		take: func(src []byte, r *R) string {
			v, ok := takeDigits(src)
			if !ok || uint64(T(v)) != v {
				return fmt.Sprintf("%d digits", width)
			}
			*at(r) = T(v)
			return ""
		},
	}
}

// date is a day of the calendar as yyyymmdd; zeros say that there is none where that
// is allowed.
func date[R any](name, content string, optional bool, at func(*R) *points.BusinessDate) field[R] {
	const width = 8
	f := number(name, width, content, at)
	take := f.take
	f.take = func(src []byte, r *R) string {
		if take(src, r) != "" || (!at(r).Valid() && (!optional || *at(r) != 0)) {
			return "a day of the calendar as yyyymmdd"
		}
		return ""
	}
	return f
}

// moment is a time of day of a day of the calendar as yyyymmddhhmmss; zeros say that it
// is not known where that is allowed.
func moment[R any](name, content string, optional bool, at func(*R) *uint64) field[R] {
	const width = 14
	f := number(name, width, content, at)
	take := f.take
	f.take = func(src []byte, r *R) string {
		if take(src, r) != "" || (!validMoment(*at(r)) && (!optional || *at(r) != 0)) {
			return "a time as yyyymmddhhmmss"
		}
		return ""
	}
	return f
}

func validMoment(v uint64) bool {
	const day, hour, minute = 1_000_000, 10_000, 100
	return v < 1e14 && points.BusinessDate(v/day).Valid() && v/hour%100 < 24 && v/minute%100 < 60 && v%minute < 60
}

// Moment renders t for fields of the kind yyyymmddhhmmss, in t's own zone.
func Moment(t time.Time) uint64 {
	h, m, s := t.Clock()
	return uint64(points.DateOf(t))*1_000_000 + uint64(h*10_000+m*100+s) //nolint:gosec // parts of a clock.
}

// signed is an amount: C for a credit to the receiver of the file, zero too, or D, and digits.
func signed[R any](name string, width int, content string, at func(*R) *points.Amount) field[R] {
	return field[R]{
		Field: Field{Name: name, Type: "x+n", Width: width, Content: content}, fill: '0',
		put: func(dst []byte, r *R) bool { return putSigned(dst, *at(r)) },
		take: func(src []byte, r *R) string {
			v, ok := takeDigits(src[1:])
			if !ok || v > 1<<63-1 || (src[0] != 'C' && src[0] != 'D') || (src[0] == 'D' && v == 0) {
				return fmt.Sprintf("C or D (C for zero) and %d digits", width-1)
			}
			*at(r) = points.Amount(v)
			if src[0] == 'D' {
				*at(r) = -points.Amount(v)
			}
			return ""
		},
	}
}

// text is printable ASCII, left-justified, with blanks behind.
func text[R any](name, kind string, width int, content string, at func(*R) []byte) field[R] {
	return field[R]{
		Field: Field{Name: name, Type: kind, Width: width, Content: content}, fill: ' ',
		put: func(dst []byte, r *R) bool { return putBytes(dst, at(r)) },
		take: func(src []byte, r *R) string {
			for _, c := range src {
				if c < ' ' || c > '~' {
					return "printable ASCII characters"
				}
			}
			copy(at(r), src)
			return ""
		},
	}
}

// choice is one of a set of codes. The value is the code's place in the set, from 1.
func choice[R any, T ~uint8](name string, codes []string, content string, at func(*R) *T) field[R] {
	return field[R]{
		Field: Field{Name: name, Type: "a", Width: len(codes[0]), Content: content}, fill: ' ',
		put: func(dst []byte, r *R) bool {
			v := int(*at(r))
			return v >= 1 && v <= len(codes) && copy(dst, codes[v-1]) > 0
		},
		take: func(src []byte, r *R) string {
			for i, code := range codes {
				if string(src) == code {
					*at(r) = T(i + 1)
					return ""
				}
			}
			return "one of " + strings.Join(codes, ", ")
		},
	}
}

// letters is a set of marks: the letters of those that are set, in their order.
func letters[R any, T ~uint8](name string, width int, marks, content string, at func(*R) *T) field[R] {
	put := func(dst []byte, set T) bool {
		n := 0
		for i := range len(marks) {
			if set&(1<<i) != 0 {
				dst[n] = marks[i]
				n++
			}
		}
		return int(set)>>len(marks) == 0
	}
	return field[R]{
		Field: Field{Name: name, Type: "an", Width: width, Content: content}, fill: ' ',
		put: func(dst []byte, r *R) bool { return put(dst, *at(r)) },
		take: func(src []byte, r *R) string {
			var set T
			for _, c := range bytes.TrimRight(src, " ") {
				if i := strings.IndexByte(marks, c); i >= 0 {
					set |= 1 << i
				}
			}
			again := bytes.Repeat([]byte{' '}, width)
			if !put(again, set) || !bytes.Equal(again, src) {
				return fmt.Sprintf("letters of %s in this order, then blanks", marks)
			}
			*at(r) = set
			return ""
		},
	}
}

// spaces is kept for later.
func spaces[R any](name string, width int) field[R] {
	f := constant[R](name, "spaces", strings.Repeat(" ", width))
	f.Type = "an"
	f.take = func(src []byte, _ *R) string {
		if len(bytes.TrimLeft(src, " ")) > 0 {
			return fmt.Sprintf("%d blanks", width)
		}
		return ""
	}
	return f
}

// putDigits writes v right-justified into dst, which is filled with zeros, and reports
// whether it fits.
func putDigits(dst []byte, v uint64) bool {
	i := len(dst)
	for v >= 100 && i >= 2 {
		pair := v % 100 * 2
		v /= 100
		i -= 2
		dst[i], dst[i+1] = pairs[pair], pairs[pair+1]
	}
	for v > 0 && i > 0 {
		i--
		dst[i] = byte('0' + v%10)
		v /= 10
	}
	return v == 0
}

// pairs are the numbers from 0 to 99 in two digits.
const pairs = "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748495051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899"

// eightDigits reads eight bytes, the first one lowest. ok is false where one is no digit:
// then it has other upper bits than '0', or gets them where six are added.
func eightDigits(x uint64) (v uint64, ok bool) {
	const upper = 0xf0 * ones
	x ^= '0' * ones
	if (x|(x+6*ones))&upper != 0 {
		return 0, false
	}
	const pair, four = 0x00ff00ff00ff00ff, 0x0000ffff0000ffff
	x = (x*10 + x>>8) & pair
	x = (x*100 + x>>16) & four
	return (x*10_000 + x>>32) & 0xffffffff, true
}

// takeDigits reads a number that is all digits and fits 64 bits.
func takeDigits(src []byte) (uint64, bool) {
	var v uint64
	for len(src) >= eight && v < 1e11 { // Eight at a time, where nineteen digits at most come out.
		part, ok := eightDigits(binary.LittleEndian.Uint64(src))
		if !ok {
			return 0, false
		}
		v, src = v*1e8+part, src[eight:]
	}
	for _, c := range src {
		digit := uint64(c - '0')
		const most = 1<<64 - 1
		if digit > 9 || v > most/10 || v*10 > most-digit {
			return 0, false
		}
		v = v*10 + digit
	}
	return v, true
}
