package files

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/netting"
	"github.com/lianfen/lianfen/tariff"
)

// Position is one row of a NET file: what a member pays and receives, with one
// counterparty under one code, or altogether. Amounts are in the standard unit.
type Position struct {
	Run            string
	Date           points.BusinessDate
	Cycle          uint8
	SettlementDate points.BusinessDate
	Model          netting.Model
	Unit           string
	Member         tariff.Member
	Counterparty   tariff.Member // 0: all, written as *
	Code           tariff.Code   // 0: all, written as *
	Items          uint64
	Pay            points.Amount
	Receive        points.Amount
	Opening        points.Amount
	Closing        points.Amount
	Cover          points.Amount
	Capped         bool // it has a cap, of 0 too; else cap and headroom are empty
	Cap            points.Amount
	Headroom       points.Amount
	Instruction    string // see [InstructionID]
}

// Whole reports whether the row is of all counterparties and codes: the member's figure.
func (p *Position) Whole() bool { return p.Counterparty == 0 && p.Code == 0 }

// Net returns what is received less what is paid.
func (p *Position) Net() Sum { return Sum{}.plus(p.Receive).minus(p.Pay) }

// The standard unit, everywhere.
const (
	Unit  = "QZP"
	Scale = 4 // its decimals
)

// column is a column of a CSV file as its partner is told.
type column struct{ name, kind, content string }

func netColumns() []column {
	return []column{
		{"run_id", "ULID", "the run, as in DET"},
		{"business_date", "date", "yyyy-mm-dd"},
		{"cycle", "n2", "cycle in the date"},
		{"settlement_date", "date", "the banking day that it is settled on"},
		{"model", "MNET, BNET, GROSS", "multilateral, bilateral, each leg by itself"},
		{"unit", "a3", "the standard unit"},
		{"member", "n8", "or FEE, VAT, ROUND, SUSPENSE, the operator's accounts"},
		{"counterparty", "n8 or *", "* for all: the multilateral row"},
		{"code", "a3 or *", "RDM, EAR, SWP, RFD, RVS, CBK, REP, ADJ, FEE, ICF, SWF, VAT, OTH, RND; * for all"},
		{"items", "int", ""},
		{"pay", "decimal", "gross sum of the legs that the member pays"},
		{"receive", "decimal", "gross sum of the legs that it receives"},
		{"net", "signed decimal", "receive - pay; over all members the rows with * and * come to zero"},
		{"opening_position", "signed decimal", ""},
		{"closing_position", "signed decimal", ""},
		{"cover", "decimal", "after settlement"},
		{"cap", "decimal", "after settlement; empty where there is none, 0 where the member must not owe"},
		{"headroom", "decimal", "after settlement; empty where there is no cap"},
		{"instruction_id", "an35", "the payment: on rows with * and * the member's, in BNET on the others the pair's, in GROSS that of pair and code; the reference in the statement too"},
	}
}

// netNames are made once. Nothing changes them.
var netNames = netColumns()

func netHead() string {
	names := make([]string, 0, len(netNames))
	for _, c := range netNames {
		names = append(names, c.name)
	}
	return strings.Join(names, ",") + lineEnd
}

// totalTag begins the last line of a NET file.
const totalTag = "#TOTAL"

func totalColumns() []column {
	return []column{
		{totalTag, "", "the same line in every member's copy"},
		{"rows", "int", "rows of the operator's copy, which has those of all members"},
		{"pay", "decimal", "sum over all members of the rows with * and *"},
		{"receive", "decimal", "the same"},
		{"net", "decimal", "receive - pay: zero"},
		{"inputs", "hex", "Merkle root over the digests of the items of each 65,536 positions of the journal; the operator has it as input of the run: lianfen settle show"},
		{"terms", "hex", "SHA-256 of the digest of the rate table and, behind it, that of the fee schedules; the operator has it as terms of the run: lianfen settle show"},
		{"sha256", "hex", "SHA-256 of every byte before this line in the operator's copy"},
	}
}

// NetTotal is the last line of a NET file. It is of the whole run and the same in every
// copy, so that members can hold theirs beside each other and each sees that the net of
// all is zero. Pay, receive and net are over the rows of all counterparties and codes.
type NetTotal struct {
	Rows    uint64 `json:"rows"`
	Pay     Sum    `json:"-"`
	Receive Sum    `json:"-"`
	Net     Sum    `json:"-"`
	Inputs  string `json:"inputs"` // Merkle root of the run's input
	Terms   string `json:"terms"`  // digest of rates and fees
	Digest  string `json:"digest"` // SHA-256 of the operator's copy before this line
}

// NetWriter writes the operator's copy: the rows of all members.
type NetWriter struct {
	out    *DigestWriter
	buffer []byte
	scale  int
	total  NetTotal
}

// NewNet begins the operator's copy. Amounts have scale decimals.
func NewNet(w io.Writer, scale int) *NetWriter {
	return &NetWriter{out: NewDigest(w), buffer: append(make([]byte, 0, bufferSize+bufferSize/4), netHead()...), scale: scale}
}

// Write appends a row.
func (n *NetWriter) Write(p *Position) error {
	var err error
	if n.buffer, err = appendPosition(n.buffer, p, n.scale); err != nil {
		return err
	}
	n.total.Rows++
	if p.Whole() {
		n.total.Pay = n.total.Pay.plus(p.Pay)
		n.total.Receive = n.total.Receive.plus(p.Receive)
	}
	return n.flush(bufferSize)
}

// flush writes what is in the buffer when it is so much.
func (n *NetWriter) flush(least int) error {
	if len(n.buffer) < least {
		return nil
	}
	_, err := n.out.Write(n.buffer)
	n.buffer = n.buffer[:0]
	return err
}

// Close writes the total, which it refuses to do when it is not zero: nothing is
// published then.
func (n *NetWriter) Close(inputs, terms [32]byte) (NetTotal, error) {
	n.total.Net = n.total.Receive.add(n.total.Pay.negated())
	if !n.total.Net.Zero() {
		return n.total, fmt.Errorf("net positions: they come to %s over all members, want zero", n.total.Net.Decimal(n.scale))
	}
	if err := n.flush(0); err != nil {
		return n.total, err
	}
	digest := n.out.Sum()
	n.total.Inputs, n.total.Terms, n.total.Digest = hex.EncodeToString(inputs[:]), hex.EncodeToString(terms[:]), hex.EncodeToString(digest[:])
	n.buffer = appendNetTotal(n.buffer, &n.total, n.scale)
	return n.total, n.flush(0)
}

// Digest returns the SHA-256 and size of all that was written.
func (n *NetWriter) Digest() ([32]byte, int64) { return n.out.Sum(), n.out.Size() }

// AppendNetCopy appends a member's copy: its own rows and the total of the whole run.
func AppendNetCopy(dst []byte, rows []Position, total *NetTotal, scale int) (_ []byte, err error) {
	dst = append(dst, netHead()...)
	for i := range rows {
		if dst, err = appendPosition(dst, &rows[i], scale); err != nil {
			return dst, err
		}
	}
	return appendNetTotal(dst, total, scale), nil
}

func appendNetTotal(dst []byte, t *NetTotal, scale int) []byte {
	return fmt.Appendf(dst, "%s,%d,%s,%s,%s,%s,%s,%s%s", totalTag, t.Rows, t.Pay.Decimal(scale), t.Receive.Decimal(scale), t.Net.Decimal(scale),
		t.Inputs, t.Terms, t.Digest, lineEnd)
}

func appendPosition(dst []byte, p *Position, scale int) ([]byte, error) {
	if p.Pay < 0 || p.Receive < 0 || p.Model < netting.MNET || p.Model > netting.GROSS || !p.Member.Valid() || (p.Counterparty != 0 && !p.Counterparty.Valid()) {
		return dst, points.Errorf(points.FormatError, "net position of %v with %v, %v: pay %d, receive %d: want a model, amounts that are not negative and members that there are",
			p.Member, p.Counterparty, p.Code, p.Pay, p.Receive)
	}
	for _, s := range [...]string{p.Run, p.Unit, p.Instruction} {
		if strings.ContainsAny(s, ",\"\r\n") {
			return dst, points.Errorf(points.FormatError, "net position of %v: %q cannot stand in a column", p.Member, s)
		}
	}
	dst = append(append(dst, p.Run...), ',')
	dst = append(p.Date.Append(dst), ',')
	if p.Cycle < 10 {
		dst = append(dst, '0')
	}
	dst = append(strconv.AppendUint(dst, uint64(p.Cycle), 10), ',')
	dst = append(p.SettlementDate.Append(dst), ',')
	dst = append(append(dst, p.Model.String()...), ',')
	dst = append(append(dst, p.Unit...), ',')
	dst = append(p.Member.Append(dst), ',')
	dst = append(p.Counterparty.Append(dst), ',')
	dst = append(append(dst, p.Code.String()...), ',')
	dst = append(strconv.AppendUint(dst, p.Items, 10), ',')
	dst = append(p.Pay.AppendDecimal(dst, scale), ',')
	dst = append(p.Receive.AppendDecimal(dst, scale), ',')
	dst = append(p.Net().appendDecimal(dst, scale), ',')
	for _, amount := range [...]points.Amount{p.Opening, p.Closing, p.Cover} {
		dst = append(amount.AppendDecimal(dst, scale), ',')
	}
	if !p.Capped {
		return append(append(append(dst, ",,"...), p.Instruction...), lineEnd...), nil
	}
	dst = append(p.Cap.AppendDecimal(dst, scale), ',')
	dst = append(p.Headroom.AppendDecimal(dst, scale), ',')
	return append(append(dst, p.Instruction...), lineEnd...), nil
}

// ReadNet reads a NET file strictly, and holds its rows against each other and its
// total against its rows where it has those of all members. What is broken is returned, and
// ends the reading where it is MaxBreaches; the error is of reading.
func ReadNet(r io.Reader, scale int) (rows []Position, total NetTotal, broken []FormatError, err error) {
	n := netReader{in: bufio.NewReaderSize(r, bufferSize), digest: NewDigest(io.Discard), scale: scale}
	if err := n.read(); err != nil {
		return nil, NetTotal{}, nil, err
	}
	return n.rows, n.total, n.broken, nil
}

type netReader struct {
	in     *bufio.Reader
	digest *DigestWriter
	scale  int
	at     uint64
	rows   []Position
	total  NetTotal
	ended  bool
	broken []FormatError
	day    string // that was read last, and what it says
	date   points.BusinessDate
}

func (n *netReader) wrong(column int, field, found, expected string) {
	n.broken = append(n.broken, FormatError{Line: n.at, Column: column, Field: field, Found: found, Expected: expected})
}

func (n *netReader) read() error {
	const longest = 4096
	for len(n.broken) < MaxBreaches {
		line, err := n.in.ReadSlice('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			break
		}
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
			return err //nolint:wrapcheck // the caller says which file.
		}
		n.at++
		whole, ok := bytes.CutSuffix(line, []byte(lineEnd))
		switch {
		case !ok || len(whole) > longest:
			n.wrong(min(len(line), longest), "end of line", fmt.Sprintf("%d bytes", len(line)), "a row that ends with CR LF")
			if errors.Is(err, bufio.ErrBufferFull) {
				return nil
			}
		case n.at == 1:
			if string(line) != netHead() {
				n.wrong(1, "head", quoted(whole), strings.TrimSpace(netHead()))
			}
		case n.ended:
			n.wrong(1, "row", quoted(whole), "nothing behind "+totalTag)
		case bytes.HasPrefix(whole, []byte(totalTag)):
			n.end(whole)
		default:
			n.row(whole)
		}
		_, _ = n.digest.Write(line)
	}
	if !n.ended {
		n.at++
		n.wrong(1, "row", "the end of the file", totalTag)
	}
	return nil
}

// cells splits a row; a position in it is a column in characters.
type cells struct {
	texts []string
	n     *netReader
	names []column
	at    int
	col   int
	good  bool
}

func (c *cells) next() (text string, name string) {
	if c.at > 0 {
		c.col += len(c.texts[c.at-1]) + 1
	}
	text, name = c.texts[c.at], c.names[c.at].name
	c.at++
	return text, name
}

func (c *cells) refuse(name, text, expected string) {
	c.good = false
	c.n.wrong(c.col, name, strconv.Quote(text), expected)
}

func (c *cells) text(ok func(string) bool, expected string) string {
	text, name := c.next()
	if !ok(text) {
		c.refuse(name, text, expected)
	}
	return text
}

// number reads a number of so many digits at least, with no zeros in front but to fill these.
func (c *cells) number(bits, digits int) uint64 {
	text, name := c.next()
	v, err := strconv.ParseUint(text, 10, bits)
	if err != nil || len(text) < digits || (len(text) > digits && text[0] == '0') {
		c.refuse(name, text, fmt.Sprintf("a number, filled with zeros to %d digits", digits))
	}
	return v
}

func (c *cells) date() points.BusinessDate {
	text, name := c.next()
	if text != "" && text == c.n.day { // One or two are in all rows.
		return c.n.date
	}
	d, err := points.ParseBusinessDate(text)
	if err != nil || d.String() != text {
		c.refuse(name, text, "a day of the calendar as yyyy-mm-dd")
		return d
	}
	c.n.day, c.n.date = text, d
	return d
}

func (c *cells) member(all bool) (m tariff.Member) {
	text, name := c.next()
	if err := m.UnmarshalText([]byte(text)); err != nil || m.String() != text || (m == 0 && !all) {
		c.refuse(name, text, "eight digits, or an account of the operator")
	}
	return m
}

func (c *cells) model() netting.Model {
	text, name := c.next()
	for _, m := range []netting.Model{netting.MNET, netting.BNET, netting.GROSS} {
		if text == m.String() {
			return m
		}
	}
	c.refuse(name, text, "MNET, BNET or GROSS")
	return 0
}

func (c *cells) code() (code tariff.Code) {
	text, name := c.next()
	if text == code.String() {
		return 0
	}
	if err := code.UnmarshalText([]byte(text)); err != nil {
		c.refuse(name, text, "a code of three letters, or *")
	}
	return code
}

func (c *cells) decimal() points.Amount {
	text, name := c.next()
	v, ok := parseDecimal(text, c.n.scale)
	if !ok {
		c.refuse(name, text, fmt.Sprintf("an amount with %d decimals", c.n.scale))
	}
	return v
}

// parseDecimal reads what Amount.Decimal writes.
func parseDecimal(text string, scale int) (points.Amount, bool) {
	var v uint64
	digits := strings.TrimPrefix(text, "-")
	for i := range len(digits) {
		switch c := digits[i]; {
		case c >= '0' && c <= '9' && v <= math.MaxInt64/10:
			v = v*10 + uint64(c-'0')
		case c != '.':
			return 0, false
		}
	}
	a := points.Amount(v)
	if len(digits) < len(text) {
		a = -a
	}
	var again [32]byte
	return a, string(a.AppendDecimal(again[:0], scale)) == text
}

func (n *netReader) split(line []byte, want int) ([]string, bool) {
	texts := strings.Split(string(line), ",")
	if len(texts) != want || bytes.ContainsAny(line, "\"\r") {
		n.wrong(1, "row", quoted(line), fmt.Sprintf("%d columns without quotes", want))
		return nil, false
	}
	return texts, true
}

func (n *netReader) row(line []byte) {
	names := netNames
	texts, ok := n.split(line, len(names))
	if !ok {
		return
	}
	c := cells{texts: texts, n: n, names: names, col: 1, good: true}
	filled := func(s string) bool { return s != "" }
	p := Position{Run: c.text(filled, "a run id"), Date: c.date(), Cycle: uint8(c.number(8, 2)), SettlementDate: c.date()} //nolint:gosec // of eight bits.
	p.Model = c.model()
	p.Unit = c.text(filled, "a unit")
	p.Member, p.Counterparty = c.member(false), c.member(true)
	p.Code = c.code()
	p.Items, p.Pay, p.Receive = c.number(64, 1), c.decimal(), c.decimal()
	at := c.col + len(texts[c.at-1]) + 1
	net := c.decimal()
	first := c.at
	var columns [5]int
	p.Capped = texts[first+3] != ""
	for i, amount := range [...]*points.Amount{&p.Opening, &p.Closing, &p.Cover, &p.Cap, &p.Headroom} {
		if i < 3 || p.Capped {
			*amount = c.decimal()
		} else {
			c.text(func(s string) bool { return s == "" }, "nothing, without a cap")
		}
		columns[i] = c.col
	}
	p.Instruction = c.text(func(s string) bool { return len(s) <= 35 }, "35 characters at most")
	if c.good && SumOf(net) != p.Net() {
		n.wrong(at, "net", net.Decimal(n.scale), p.Net().Decimal(n.scale)+" = receive - pay")
	}
	if c.good {
		p.follows(n.scale, func(name, found, expected string) {
			for i, column := range columns {
				if names[first+i].name == name {
					n.wrong(column, name, found, expected)
				}
			}
		})
		n.rows = append(n.rows, p)
	}
}

func (n *netReader) end(line []byte) {
	n.ended = true
	names := totalColumns()
	texts, ok := n.split(line, len(names))
	if !ok {
		return
	}
	c := cells{texts: texts, n: n, names: names, col: 1, good: true}
	hashed := func(s string) bool {
		raw, err := hex.DecodeString(s)
		return err == nil && len(raw) == 32
	}
	c.text(func(s string) bool { return s == totalTag }, totalTag)
	n.total = NetTotal{Rows: c.number(64, 1), Pay: c.sum(), Receive: c.sum(), Net: c.sum()}
	n.total.Inputs, n.total.Terms, n.total.Digest = c.text(hashed, "64 hexadecimal digits"), c.text(hashed, "64 hexadecimal digits"), c.text(hashed, "64 hexadecimal digits")
	if !c.good {
		return
	}
	if !n.total.Net.Zero() || n.total.Pay != n.total.Receive {
		n.wrong(1, totalTag, n.total.Net.Decimal(n.scale), "zero over all members: what is paid is received")
	}
	if n.total.Rows == uint64(len(n.rows)) && len(n.broken) == 0 {
		n.whole()
	}
}

func (c *cells) sum() Sum {
	text, name := c.next()
	s, ok := parseSum(text, c.n.scale)
	if !ok {
		c.refuse(name, text, fmt.Sprintf("an amount with %d decimals", c.n.scale))
	}
	return s
}

// parseSum reads what Sum.Decimal writes.
func parseSum(text string, scale int) (Sum, bool) {
	digits, negative := strings.CutPrefix(strings.Replace(text, ".", "", 1), "-")
	const most = 20
	if len(digits) > most {
		return Sum{}, false
	}
	s, ok := takeSum([]byte(strings.Repeat("0", most-len(digits)) + digits))
	if negative {
		s = s.negated()
	}
	return s, ok && s.Decimal(scale) == text
}

// whole holds the total against the rows: the file has those of all members.
func (n *netReader) whole() {
	var pay, receive Sum
	for i := range n.rows {
		if p := &n.rows[i]; p.Whole() {
			pay, receive = pay.plus(p.Pay), receive.plus(p.Receive)
		}
	}
	if pay != n.total.Pay || receive != n.total.Receive {
		n.wrong(1, totalTag, fmt.Sprintf("pay %s, receive %s", n.total.Pay.Decimal(n.scale), n.total.Receive.Decimal(n.scale)),
			fmt.Sprintf("pay %s, receive %s, of the rows with * and *", pay.Decimal(n.scale), receive.Decimal(n.scale)))
	}
	if digest := n.digest.Sum(); hex.EncodeToString(digest[:]) != n.total.Digest {
		n.wrong(1, "sha256", n.total.Digest, hex.EncodeToString(digest[:])+", of the bytes before this line")
	}
}
