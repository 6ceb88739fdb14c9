package files

import (
	"bytes"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/lianfen/lianfen/points"
)

// byteOrderMark tells spreadsheets that a CSV file is UTF-8.
const byteOrderMark = "\ufeff"

// merchantColumn is the twin's last column, which fixed width cannot carry.
const merchantColumn = "merchant_name"

// twinHead is the first line of a detail's CSV twin: the fields' names.
func twinHead() string {
	var names []string
	for _, f := range lines.fields {
		names = append(names, f.Name)
	}
	return byteOrderMark + strings.Join(append(names, merchantColumn), ",") + lineEnd
}

// cell says how a field becomes a cell of the twin.
type cell uint8

const (
	textCell     cell = iota + 1
	digitsCell        // a name of digits
	quantityCell      // digits that count something
	amountCell        // of the standard unit
	pointsCell        // an amount of the line's programme
)

// twinCell is a cell of the twin, and where the line has its field.
type twinCell struct {
	from, to int
	cell     cell
}

// twinCells is made once. Nothing changes it.
var twinCells = cellsOf(&lines)

func cellsOf(l *layout[Line]) []twinCell {
	all := make([]twinCell, len(l.fields))
	for i := range l.fields {
		f := &l.fields[i]
		all[i] = twinCell{f.From - 1, f.To(), textCell}
		switch {
		case f.Type == "x+n" && f.Name == "amt":
			all[i].cell = pointsCell
		case f.Type == "x+n":
			all[i].cell = amountCell
		case f.quantity:
			all[i].cell = quantityCell
		case f.Type == "n":
			all[i].cell = digitsCell
		}
	}
	return all
}

// appendTwin writes the row of a line that was just rendered: the same fields, so that
// the two cannot say different things.
func appendTwin(dst, line []byte, l *Line, scale int, merchant string) []byte {
	for _, f := range twinCells {
		src := line[f.from:f.to]
		switch f.cell {
		case pointsCell:
			dst = appendAmount(dst, src, int(l.AssetScale))
		case amountCell:
			dst = appendAmount(dst, src, scale)
		case quantityCell:
			dst = appendQuantity(dst, src)
		case digitsCell:
			if len(src) >= longDigits || (src[0] == '0' && len(src) > 1) {
				dst = append(dst, '\t')
			}
			dst = append(dst, src...)
		default:
			for len(src) > 0 && src[len(src)-1] == ' ' {
				src = src[:len(src)-1]
			}
			dst = appendCell(dst, src)
		}
		dst = append(dst, ',')
	}
	return append(appendText(dst, merchant), lineEnd...)
}

// appendAmount writes C000000000012345 with scale 2 as 123.45, and D... with a minus.
func appendAmount(dst, src []byte, scale int) []byte {
	if src[0] == 'D' {
		dst = append(dst, '-')
	}
	digits := src[1:]
	whole := len(digits) - scale
	dst = appendQuantity(dst, digits[:whole])
	if scale > 0 {
		dst = append(append(dst, '.'), digits[whole:]...)
	}
	return dst
}

// appendQuantity writes digits without the zeros in front.
func appendQuantity(dst, digits []byte) []byte {
	at := 0
	for at < len(digits)-1 && digits[at] == '0' {
		at++
	}
	return append(dst, digits[at:]...)
}

// longDigits is from how many digits on spreadsheets show a number as a power of ten,
// and lose its end.
const longDigits = 12

// appendCell writes ASCII as a cell. Digits that a spreadsheet would alter get a tab in
// front, which makes a text of them; what it would take for a formula, an apostrophe.
func appendCell(dst, text []byte) []byte {
	if len(text) == 0 {
		return dst
	}
	digits := true
	special := false
	for _, c := range text {
		digits = digits && c >= '0' && c <= '9'
		special = special || c == ',' || c == '"'
	}
	switch c := text[0]; {
	case digits && (len(text) >= longDigits || (c == '0' && len(text) > 1)):
		dst = append(dst, '\t')
	case (c == '=' || c == '+' || c == '-' || c == '@') && !special:
		dst = append(dst, '\'')
	}
	if !special {
		return append(dst, text...)
	}
	return appendQuoted(dst, string(text))
}

// appendText writes any text as a cell. Control characters and bytes that are not UTF-8
// are written out.
func appendText(dst []byte, text string) []byte {
	if !isPlain(text) {
		text = points.Escaped(text)
	}
	if len(text) < utf8.RuneSelf && isPlain(text) {
		return appendCell(dst, []byte(text))
	}
	return appendQuoted(dst, text)
}

func isPlain(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}

// appendQuoted writes a cell in quotes (RFC 4180).
func appendQuoted(dst []byte, text string) []byte {
	dst = append(dst, '"')
	if strings.ContainsRune("=+-@", rune(text[0])) {
		dst = append(dst, '\'')
	}
	for i := range len(text) {
		if text[i] == '"' {
			dst = append(dst, '"')
		}
		dst = append(dst, text[i])
	}
	return append(dst, '"')
}

// Exception is an item or a line that was not cleared.
type Exception struct {
	Source string `json:"source"`         // the file that it came in, or journal
	Line   uint64 `json:"line,omitempty"` // in that file; 0: it has none
	ID     uint64 `json:"cid,omitempty"`  // clearing id, 0: it has none
	Reason string `json:"reason"`         // a short code, such as RATE_UNKNOWN
	What   string `json:"what"`           // a sentence
	Raw    []byte `json:"raw,omitempty"`  // what came in, byte for byte
	// More is how many items the row stands for that are too many to be listed; 0: it is of
	// one. Raw has it too, with what their points come to.
	More uint64 `json:"more,omitempty"`
}

// moreMark begins what stands for items that are not listed.
const moreMark = "MORE items="

// RestOfExceptions is the row of so many items of a reason and a programme that are not listed,
// with what their points come to, in smallest units.
func RestOfExceptions(reason string, program points.ProgramID, items uint64, amount string) Exception {
	return Exception{
		Source: "journal", Reason: reason, More: items, What: fmt.Sprintf("%d more of this reason and programme: too many to be listed one by one", items),
		Raw: fmt.Appendf(nil, "%s%d programme=%d amount=%s", moreMark, items, program, amount),
	}
}

// items is how many items the row is of.
func (e *Exception) items() uint64 { return max(1, e.More) }

// readMore reads how many items a row stands for.
func (e *Exception) readMore() {
	if text, is := strings.CutPrefix(string(e.Raw), moreMark); is && e.ID == 0 {
		n, _, _ := strings.Cut(text, " ")
		e.More, _ = strconv.ParseUint(n, 10, 64) // What is no number is a row like others.
	}
}

func exceptionColumns() []column {
	return []column{
		{"source", "text", "the file that the line came in, or journal"},
		{"line", "int", "its number in that file, 0 for none"},
		{"cid", "n20", "clearing id, where there is one"},
		{"reason", "code", "why it was not cleared"},
		{"what", "text", "the same in a sentence"},
		{"raw", "text", "the bytes that came in, those that cannot be printed as \\xNN"},
		{"raw_hex", "hex", "the same bytes in hexadecimal"},
	}
}

// AppendExceptions writes an EXC file. A file without rows says that all was cleared.
func AppendExceptions(dst []byte, exceptions []Exception) []byte {
	dst = append(dst, byteOrderMark...)
	for i, c := range exceptionColumns() {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, c.name...)
	}
	dst = append(dst, lineEnd...)
	for _, e := range exceptions {
		dst = append(appendText(dst, e.Source), ',')
		dst = append(strconv.AppendUint(dst, e.Line, 10), ',')
		if e.ID != 0 {
			dst = appendCell(dst, strconv.AppendUint(nil, e.ID, 10))
		}
		dst = append(appendText(append(dst, ','), e.Reason), ',')
		dst = append(appendText(dst, e.What), ',')
		raw := strconv.AppendQuoteToASCII(nil, string(e.Raw))
		dst = append(appendText(dst, string(raw[1:len(raw)-1])), ',')
		if len(e.Raw) > 0 {
			dst = append(dst, "\t"...) // It may be digits only.
			const hexadecimal = "0123456789abcdef"
			for _, c := range e.Raw {
				dst = append(dst, hexadecimal[c>>4], hexadecimal[c&15])
			}
		}
		dst = append(dst, lineEnd...)
	}
	return dst
}

// ReadExceptions reads an EXC file that [AppendExceptions] has written. What was written out
// in a text stays so.
func ReadExceptions(text []byte) (list []Exception, err error) {
	body, marked := bytes.CutPrefix(text, []byte(byteOrderMark))
	rows, err := csv.NewReader(bytes.NewReader(body)).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("exceptions: %w", err)
	}
	columns := exceptionColumns()
	same := marked && len(rows) > 0 && slices.EqualFunc(rows[0], columns, func(name string, c column) bool { return name == c.name })
	if !same {
		return nil, points.Errorf(points.FormatError, "exceptions: the first line does not name the columns of an EXC file")
	}
	for i, row := range rows[1:] {
		e := Exception{Source: row[0], Reason: row[3], What: strings.TrimPrefix(row[4], "'")}
		var lineErr, idErr, rawErr error
		e.Line, lineErr = strconv.ParseUint(row[1], 10, 64)
		if id := strings.TrimPrefix(row[2], "\t"); id != "" {
			e.ID, idErr = strconv.ParseUint(id, 10, 64)
		}
		if raw := strings.TrimPrefix(row[6], "\t"); raw != "" {
			e.Raw, rawErr = hex.DecodeString(raw)
		}
		if err := errors.Join(lineErr, idErr, rawErr); err != nil {
			return nil, points.Errorf(points.FormatError, "exceptions, line %d: %w", i+2, err)
		}
		e.readMore()
		list = append(list, e)
	}
	return list, nil
}
