package reconcile

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/lianfen/lianfen/points"
)

// BadLine is a row that could not be read. It is an exception of its own: whatever it was
// about is missing on the partner's side until somebody has looked.
type BadLine struct {
	Number uint64 // of the line in the file, from 1, header included
	Raw    []byte // as it stands there, at most [maxRaw] bytes
	Why    string
}

// Bounds of a partner's file.
const (
	maxRaw   = 4096 // bytes of a line
	maxField = 64
)

// Column is one column of a partner's CSV file.
type Column struct {
	Name     string
	Required bool
	Content  string
	set      func(*Line, Side, string) error
	tells    Fields // what a line tells by it
}

// Columns lists the columns of a partner's CSV file, for the reader and the documents.
func Columns() []Column { //nolint:funlen // a list.
	return []Column{
		{"acquirer", true, "number of the acquirer (DE32)", func(l *Line, _ Side, s string) error {
			n, err := whole(s, 11)
			l.Acquirer = points.AcquirerID(n)
			return err
		}, 0},
		{"stan", true, "DE11", func(l *Line, _ Side, s string) error {
			n, err := whole(s, 6)
			l.STAN = points.STAN(n) //nolint:gosec // six digits.
			return err
		}, 0},
		{"transmitted", true, "DE7 with the year, yyyymmddhhmmss", func(l *Line, _ Side, s string) (err error) {
			if len(s) != 14 {
				return fmt.Errorf("%q: want 14 digits, yyyymmddhhmmss", s)
			}
			l.When, err = whole(s, 14)
			return err
		}, 0},
		{"rrn", false, "DE37, 12 characters; left out: acquirer, stan and transmitted alone say which one it is", func(l *Line, _ Side, s string) error {
			if len(s) != len(l.RRN) {
				return fmt.Errorf("%q: want 12 characters", s)
			}
			copy(l.RRN[:], s)
			return nil
		}, 0},
		{"kind", true, "RDM EAR SWP RFD RVS CBK REP ADJ FEE", func(l *Line, _ Side, s string) error {
			for _, kind := range kinds() {
				if kind == s {
					copy(l.Kind[:], s)
					return nil
				}
			}
			return fmt.Errorf("%q: want one of %v", s, kinds())
		}, 0},
		{"amount", true, "points in the programme's smallest unit, signed: positive in your favour, never 0", func(l *Line, side Side, s string) (err error) {
			if l.Amount, err = signed(s); err == nil && l.Amount == 0 {
				return errors.New("0: want an amount")
			}
			if side == Issuer {
				l.Amount = -l.Amount // Both sides in the acquirer's view.
			}
			return err
		}, 0},
		{"asset", true, "programme, such as 901", func(l *Line, _ Side, s string) error {
			if s == "" || len(s) > len(l.Asset) {
				return fmt.Errorf("%q: want 1 to 6 characters", s)
			}
			l.Asset = AssetOf(s)
			return nil
		}, 0},
		{"issuer", false, "number of the issuer (DE100)", func(l *Line, _ Side, s string) error {
			n, err := whole(s, 11)
			l.Issuer = points.IssuerID(n)
			return err
		}, 0},
		{"cid", false, "clearing id of our detail file", func(l *Line, _ Side, s string) (err error) {
			l.CID, err = whole(s, 19)
			return err
		}, 0},
		{"status", false, "DE39 of the answer", func(l *Line, _ Side, s string) error {
			if len(s) != len(l.Status) {
				return fmt.Errorf("%q: want 2 characters", s)
			}
			copy(l.Status[:], s)
			return nil
		}, TellsStatus},
		{"fee", false, "interchange, switch fee, VAT and others together, in units of 0.0001 QZP, positive in your favour", func(l *Line, side Side, s string) (err error) {
			l.Fees[side], err = signed(s)
			return err
		}, TellsFee},
		{"business_date", false, "DE15 of our answer, yyyy-mm-dd; left out, that of the file", func(l *Line, _ Side, s string) (err error) {
			l.Date, err = points.ParseBusinessDate(s)
			return err
		}, TellsDate},
	}
}

func kinds() [9]string {
	return [...]string{"RDM", "EAR", "SWP", "RFD", "RVS", "CBK", "REP", "ADJ", "FEE"}
}

// AssetOf is the name of a programme as lines have it: without the zeros before a number,
// which detail files have and partners may leave out, and with blanks behind it.
func AssetOf(name string) (asset [6]byte) {
	name = strings.TrimSpace(name)
	if short := strings.TrimLeft(name, "0"); short != "" {
		name = short
	}
	for i := range asset {
		asset[i] = ' '
	}
	copy(asset[:], name)
	return asset
}

// whole reads decimal digits only.
func whole(s string, most int) (uint64, error) {
	if s == "" || len(s) > most {
		return 0, fmt.Errorf("%q: want 1 to %d digits", s, most)
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q: want digits", s)
	}
	return n, nil
}

// maxUnits bounds an amount: 15 digits, the width of the detail file.
const maxUnits = 999_999_999_999_999

func signed(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n > maxUnits || n < -maxUnits {
		return 0, fmt.Errorf("%q: want a whole number of at most 15 digits", s)
	}
	return n, nil
}

// CSV reads the file of a partner that has no detail file: a header line that names the
// columns (see [Columns], in any order), one line a transaction, and a last line
//
//	#TOTAL,<lines>,<sum of amount>[,<SHA-256 of all bytes before this line, hex>]
//
// Cells may be quoted as RFC 4180 says, without line breaks in them. A byte order mark, and
// a tab or an apostrophe that a spreadsheet has put in front of digits, are passed over.
type CSV struct {
	in      *bufio.Reader
	side    Side
	date    points.BusinessDate
	bad     func(BadLine) error
	columns []Column
	hash    hash.Hash
	number  uint64 // of the line that was read last
	lines   uint64 // transactions, the unreadable ones included
	amount  Sum
	faulty  bool // some line's amount could not be read
}

// NewCSV reads the header. The lines are of side, of date where they tell no other; what
// cannot be read goes to bad. Its error, and every error here, refuses the file whole.
func NewCSV(r io.Reader, side Side, date points.BusinessDate, bad func(BadLine) error) (*CSV, error) {
	c := &CSV{in: bufio.NewReaderSize(r, 1<<16), side: side, date: date, bad: bad, hash: sha256.New()}
	raw, err := c.line()
	if err != nil {
		return nil, fmt.Errorf("header: %w", noEnd(err))
	}
	c.hash.Write(raw)
	cells, err := cellsOf(bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf")), nil)
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	all := Columns()
	for _, cell := range cells {
		i := slices.IndexFunc(all, func(col Column) bool { return col.Name == cell })
		switch {
		case i < 0:
			return nil, points.Errorf(points.FormatError, "header: column %q: there is none such", cell)
		case slices.ContainsFunc(c.columns, func(col Column) bool { return col.Name == cell }):
			return nil, points.Errorf(points.FormatError, "header: column %q twice", cell)
		}
		c.columns = append(c.columns, all[i])
	}
	for _, col := range all {
		if col.Required && !slices.Contains(cells, col.Name) {
			return nil, points.Errorf(points.FormatError, "header: column %q is missing", col.Name)
		}
	}
	return c, nil
}

// Tells is what of the optional fields the header names.
func (c *CSV) Tells() (tells Fields) {
	for _, col := range c.columns {
		tells |= col.tells
	}
	return tells
}

// Unsummed reports whether the sum of the trailer could not be held against the lines, since
// the amount of some line could not be read. It is known at the end of the file.
func (c *CSV) Unsummed() bool { return c.faulty }

// noEnd makes the end of a file that is not whole an error like others.
func noEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return points.Errorf(points.FormatError, "the file ends here, and its last line is to be #TOTAL")
	}
	return err
}

// line reads a line with its end. Of one that is too long the rest is passed over.
func (c *CSV) line() ([]byte, error) {
	c.number++
	raw, err := c.in.ReadSlice('\n')
	if err == io.EOF && len(raw) > 0 {
		err = nil
	}
	return raw, err //nolint:wrapcheck // the callers say where.
}

// Next reads the next line that can be read.
func (c *CSV) Next(line *Line) (bool, error) {
	for {
		raw, err := c.line()
		long := errors.Is(err, bufio.ErrBufferFull)
		if err != nil && !long {
			return false, fmt.Errorf("line %d: %w", c.number, noEnd(err))
		}
		if bytes.HasPrefix(raw, []byte("#TOTAL")) {
			return false, c.end(raw)
		}
		c.hash.Write(raw)
		if len(bytes.TrimRight(raw, "\r\n")) == 0 {
			continue
		}
		c.lines++
		why := fmt.Errorf("a line of more than %d bytes", maxRaw)
		if !long && len(raw) <= maxRaw {
			if why = c.read(raw, line); why == nil {
				return true, nil
			}
		} else {
			c.faulty = true // Whatever its amount is, the sum of the trailer has it.
		}
		if err := c.refuse(raw, why); err != nil {
			return false, err
		}
		for long {
			raw, err = c.in.ReadSlice('\n')
			c.hash.Write(raw)
			long = errors.Is(err, bufio.ErrBufferFull)
		}
	}
}

// refuse hands a row on that cannot be read.
func (c *CSV) refuse(raw []byte, why error) error {
	raw = bytes.Clone(bytes.TrimRight(raw[:min(len(raw), maxRaw)], "\r\n"))
	if c.bad == nil {
		return nil
	}
	return c.bad(BadLine{Number: c.number, Raw: raw, Why: why.Error()})
}

// read reads one row into line.
func (c *CSV) read(raw []byte, line *Line) error {
	*line = Line{Key: Key{RRN: untold()}, Number: c.number, Date: c.date}
	// The amount of a row counts in the trailer whatever else is wrong with it.
	counted := c.faulty
	c.faulty = true
	var room [32]string
	cells, err := cellsOf(raw, room[:0])
	if err != nil {
		return err
	}
	if len(cells) != len(c.columns) {
		return fmt.Errorf("%d cells, the header names %d", len(cells), len(c.columns))
	}
	var first error
	for i := range c.columns {
		col := &c.columns[i]
		cell := cells[i]
		for cell != "" && (cell[0] == '\t' || cell[0] == '\'') {
			cell = cell[1:]
		}
		if cell == "" && !col.Required {
			continue
		}
		if len(cell) > maxField {
			first = cmpErr(first, fmt.Errorf("%s: %d bytes, want at most %d", col.Name, len(cell), maxField))
			continue
		}
		if err := col.set(line, c.side, cell); err != nil {
			if _, err := signed(cell); col.Name == "amount" && err == nil {
				c.faulty = counted // It is 0, which is no amount and alters no sum.
			}
			first = cmpErr(first, fmt.Errorf("%s: %w", col.Name, err))
			continue
		}
		line.Tells |= col.tells
		if col.Name == "amount" {
			c.faulty = counted
			c.amount.add(line.Amount)
		}
	}
	return first
}

func cmpErr(first, err error) error {
	if first != nil {
		return first
	}
	return err
}

// cellsOf splits a row. Quoted ones are rare, and the library's.
func cellsOf(raw []byte, cells []string) ([]string, error) {
	text := string(bytes.TrimRight(raw, "\r\n"))
	if strings.IndexByte(text, '"') >= 0 {
		cells, err := csv.NewReader(strings.NewReader(text)).Read()
		if err != nil {
			return nil, fmt.Errorf("quotes: %w", err)
		}
		return cells, nil
	}
	for {
		i := strings.IndexByte(text, ',')
		if i < 0 {
			return append(cells, text), nil
		}
		cells, text = append(cells, text[:i]), text[i+1:]
	}
}

// end holds the trailer against what was read.
func (c *CSV) end(raw []byte) error {
	wrong := func(what, said, is string) error {
		return points.Errorf(points.FormatError, "line %d: #TOTAL: %s %s, the lines above come to %s", c.number, what, said, is)
	}
	cells, err := cellsOf(raw, nil)
	if err != nil || len(cells) < 3 || len(cells) > 4 || cells[0] != "#TOTAL" {
		return points.Errorf(points.FormatError, "line %d: want #TOTAL,lines,amount or #TOTAL,lines,amount,sha256", c.number)
	}
	if n := strconv.FormatUint(c.lines, 10); cells[1] != n {
		return wrong("lines", cells[1], n)
	}
	sum, err := strconv.ParseInt(cells[2], 10, 64)
	if err != nil {
		return points.Errorf(points.FormatError, "line %d: #TOTAL: amount %q: want a whole number", c.number, cells[2])
	}
	if c.side == Issuer {
		sum = -sum
	}
	var said Sum
	said.add(sum)
	if !c.faulty && said != c.amount {
		return points.Errorf(points.FormatError, "line %d: #TOTAL: amount %s is not what the lines above come to", c.number, cells[2])
	}
	if digest := hex.EncodeToString(c.hash.Sum(nil)); len(cells) == 4 && !strings.EqualFold(cells[3], digest) {
		return wrong("SHA-256", cells[3], digest)
	}
	if rest, err := c.in.ReadByte(); !errors.Is(err, io.EOF) {
		return points.Errorf(points.FormatError, "line %d: #TOTAL is the last line, and %q comes behind it", c.number, rest)
	}
	return nil
}
