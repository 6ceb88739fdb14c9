package files

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"strings"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// Role is the part that the receiver of a file has in its items.
type Role uint8

// Roles.
const (
	RoleAcquirer   Role = iota + 1 // A: brought them in
	RoleIssuer                     // I: its points were spent or granted
	RoleSwapTarget                 // T: its points were granted in a swap
	RoleShare                      // S: has a share of the fee, and no other part in the item
	RoleMember                     // M: the member as a whole; of files that are not by role
)

// kindCodes are the codes of all kinds of items, in order.
func kindCodes() []string {
	codes := make([]string, 0, tariff.Kinds-1)
	for kind := range tariff.Kind(tariff.Kinds - 1) {
		codes = append(codes, (kind + 1).String())
	}
	return codes
}

// String returns the letter that files and names of files carry.
func (r Role) String() string {
	if codes := roleCodes(); r >= 1 && int(r) <= len(codes) {
		return codes[r-1]
	}
	return "?"
}

// roleCodes are the letters of names; a DET file is of any but the last.
func roleCodes() []string { return []string{"A", "I", "T", "S", "M"} }

// Mode says whether a file is for real.
type Mode uint8

// Modes.
const (
	Production Mode = iota + 1
	Test
	DryRun
)

// Flags are marks of an item.
type Flags uint8

// Flags, in the order of their letters.
const (
	FlagLate Flags = 1 << iota // L
	FlagStandIn
	FlagManual
	FlagRepresented
)

const flagLetters = "LSMR"

// String renders the letters of the marks that are set, in their order.
func (f Flags) String() string {
	var set []byte
	for i := range len(flagLetters) {
		if f&(1<<i) != 0 {
			set = append(set, flagLetters[i])
		}
	}
	return string(set)
}

// Header is the HD record: what a detail file is of.
type Header struct {
	Date     points.BusinessDate
	Cycle    uint8
	Operator tariff.Member
	Receiver tariff.Member
	Role     Role
	Created  uint64  // the operator's local time, see [Moment]
	Zone     [5]byte // its distance from UTC, such as +0800
	Run      [26]byte
	Part     uint16
	Parts    uint16
	Unit     [3]byte
	Scale    uint8
	Mode     Mode
}

// Line is the TX record: one item as its receiver sees it. Amounts are signed, positive
// ones in the receiver's favour, in the smallest unit: of the programme for Amount, of
// the standard unit for the others.
type Line struct {
	Number       uint64 // in the part, from 1; the writer counts
	ID           uint64 // clearing id: the journal's position
	Kind         tariff.Kind
	Acquirer     tariff.Member
	Forwarder    tariff.Member
	Issuer       tariff.Member
	STAN         points.STAN
	Transmitted  uint64 // DE7 with the year
	Local        uint64 // DE13 and DE12 with the year
	RRN          [12]byte
	Auth         [6]byte
	MTI          uint16
	Processing   uint32
	EntryMode    uint16
	Condition    uint8
	Category     uint16
	Terminal     points.TerminalID
	Merchant     points.MerchantID
	Account      [19]byte // a token, or a number with its middle masked
	Asset        [6]byte
	AssetScale   uint8
	Amount       points.Amount
	RateVersion  uint32
	Num          uint64
	Den          uint64
	Std          points.Amount
	Interchange  points.Amount
	SwitchFee    points.Amount
	VAT          points.Amount
	Other        points.Amount
	Net          points.Amount
	OriginalDate points.BusinessDate
	Original     uint64
	Response     [2]byte
	Flags        Flags
}

// Trailer is the TR record: what the lines before it come to.
type Trailer struct {
	Lines   uint64
	Debits  uint64
	Credits uint64
	Debit   Sum
	Credit  Sum
	Net     Sum
	Std     Sum
	Fees    Sum
	IDs     Sum // modulo 10^20
	Digest  [64]byte
}

func headerLayout() layout[Header] {
	return newLayout("HD",
		constant[Header]("fmt", "version of the layout", "001"),
		constant[Header]("ftype", "kind of file", "DET"),
		date("bdate", "business date", false, func(h *Header) *points.BusinessDate { return &h.Date }),
		number("cycle", 2, "cycle in the date, from 01", func(h *Header) *uint8 { return &h.Cycle }),
		number("sender", 8, "operator", func(h *Header) *tariff.Member { return &h.Operator }),
		number("receiver", 8, "member", func(h *Header) *tariff.Member { return &h.Receiver }),
		choice("role", roleCodes()[:4], "A acquirer, I issuer, T swap target, S share of a fee", func(h *Header) *Role { return &h.Role }),
		moment("created", "operator's local time", false, func(h *Header) *uint64 { return &h.Created }),
		text("tz", "an", 5, "its distance from UTC, such as +0800", func(h *Header) []byte { return h.Zone[:] }),
		text("run", "an", 26, "run id (ULID)", func(h *Header) []byte { return h.Run[:] }),
		number("part", 4, "part number, from 1", func(h *Header) *uint16 { return &h.Part }),
		number("parts", 4, "number of parts", func(h *Header) *uint16 { return &h.Parts }),
		text("std", "a", 3, "code of the standard unit", func(h *Header) []byte { return h.Unit[:] }),
		number("scale", 1, "its decimals, 0 to 5", func(h *Header) *uint8 { return &h.Scale }),
		choice("mode", []string{"P", "T", "D"}, "P production, T test, D dry run", func(h *Header) *Mode { return &h.Mode }),
	)
}

func lineLayout() layout[Line] {
	return newLayout("TX",
		number("line", 12, "1.. without gaps in the part", func(l *Line) *uint64 { return &l.Number }).counted(),
		number("cid", 20, "clearing id: journal position, unique for ever", func(l *Line) *uint64 { return &l.ID }),
		choice("kind", kindCodes(), strings.Join(kindCodes(), " "), func(l *Line) *tariff.Kind { return &l.Kind }),
		number("acq", 8, "acquirer (DE32)", func(l *Line) *tariff.Member { return &l.Acquirer }),
		number("fwd", 8, "forwarder (DE33)", func(l *Line) *tariff.Member { return &l.Forwarder }),
		number("iss", 8, "issuer (DE100)", func(l *Line) *tariff.Member { return &l.Issuer }),
		number("stan", 6, "DE11", func(l *Line) *points.STAN { return &l.STAN }),
		moment("txdt", "DE7 with the year; where none was sent, as by terminals, as locdt", true, func(l *Line) *uint64 { return &l.Transmitted }),
		moment("locdt", "DE13 and DE12 with the year", true, func(l *Line) *uint64 { return &l.Local }),
		text("rrn", "an", 12, "DE37", func(l *Line) []byte { return l.RRN[:] }),
		text("auth", "an", 6, "DE38", func(l *Line) []byte { return l.Auth[:] }),
		number("mti", 4, "type of the message", func(l *Line) *uint16 { return &l.MTI }),
		number("proc", 6, "DE3", func(l *Line) *uint32 { return &l.Processing }),
		number("mode", 3, "DE22", func(l *Line) *uint16 { return &l.EntryMode }),
		number("cond", 2, "DE25", func(l *Line) *uint8 { return &l.Condition }),
		number("mcc", 4, "DE18", func(l *Line) *uint16 { return &l.Category }),
		text("term", "ans", 8, "DE41", func(l *Line) []byte { return l.Terminal[:] }),
		text("mer", "ans", 15, "DE42", func(l *Line) []byte { return l.Merchant[:] }),
		text("acct", "ans", 19, "token of the account, or its number masked", func(l *Line) []byte { return l.Account[:] }),
		text("asset", "an", 6, "programme of the points", func(l *Line) []byte { return l.Asset[:] }),
		number("ascale", 1, "its decimals", func(l *Line) *uint8 { return &l.AssetScale }).counted(),
		signed("amt", 16, "points of the programme", func(l *Line) *points.Amount { return &l.Amount }),
		number("ratev", 8, "version of the rate", func(l *Line) *uint32 { return &l.RateVersion }).counted(),
		number("num", 12, "numerator of the rate", func(l *Line) *uint64 { return &l.Num }).counted(),
		number("den", 12, "denominator of the rate", func(l *Line) *uint64 { return &l.Den }).counted(),
		signed("std", 16, "value in standard points", func(l *Line) *points.Amount { return &l.Std }),
		signed("ichg", 13, "interchange", func(l *Line) *points.Amount { return &l.Interchange }),
		signed("swfee", 13, "switch fee net of VAT", func(l *Line) *points.Amount { return &l.SwitchFee }),
		signed("vat", 13, "VAT in the fee", func(l *Line) *points.Amount { return &l.VAT }),
		signed("other", 13, "brand or split fees", func(l *Line) *points.Amount { return &l.Other }),
		signed("net", 16, "std + ichg + swfee + vat + other, in the receiver's view", func(l *Line) *points.Amount { return &l.Net }),
		date("obdate", "business date of the original, or zeros", true, func(l *Line) *points.BusinessDate { return &l.OriginalDate }),
		number("ocid", 20, "clearing id of the original, or zeros", func(l *Line) *uint64 { return &l.Original }),
		text("rc", "an", 2, "DE39", func(l *Line) []byte { return l.Response[:] }),
		letters("flags", 4, flagLetters, "L late, S stand-in, M manual, R re-presented", func(l *Line) *Flags { return &l.Flags }),
		spaces[Line]("rsv", 8),
	)
}

func trailerLayout() layout[Trailer] {
	return newLayout("TR",
		number("n", 12, "TX lines in the part", func(t *Trailer) *uint64 { return &t.Lines }),
		number("ndr", 12, "lines with net < 0", func(t *Trailer) *uint64 { return &t.Debits }),
		total("sdr", "sum of |net| of those", func(t *Trailer) *Sum { return &t.Debit }),
		number("ncr", 12, "lines with net >= 0", func(t *Trailer) *uint64 { return &t.Credits }),
		total("scr", "sum of net of those", func(t *Trailer) *Sum { return &t.Credit }),
		signedTotal("net", "scr - sdr; over all files of the member its figure in NET", func(t *Trailer) *Sum { return &t.Net }),
		signedTotal("sstd", "sum of std", func(t *Trailer) *Sum { return &t.Std }),
		signedTotal("sfee", "sum of ichg + swfee + vat + other", func(t *Trailer) *Sum { return &t.Fees }),
		total("hcid", "sum of cid modulo 10^20", func(t *Trailer) *Sum { return &t.IDs }),
		text("sha", "an", 64, "SHA-256 of every byte before this record, hexadecimal", func(t *Trailer) []byte { return t.Digest[:] }),
	)
}

// The layouts are made once. Nothing changes them.
var (
	headers  = headerLayout()
	lines    = lineLayout()
	trailers = trailerLayout()
)

// count takes a line into the totals.
func (t *Trailer) count(l *Line) {
	t.Lines++
	if l.Net < 0 {
		t.Debits++
		t.Debit = t.Debit.minus(l.Net)
	} else {
		t.Credits++
		t.Credit = t.Credit.plus(l.Net)
	}
	t.Net = t.Net.plus(l.Net)
	t.Std = t.Std.plus(l.Std)
	t.Fees = t.Fees.plus(l.Interchange).plus(l.SwitchFee).plus(l.VAT).plus(l.Other)
	t.IDs = t.IDs.plusID(l.ID)
}

// MaxLines is how many TX lines a part holds at most.
const MaxLines = 5_000_000

// bufferSize is how much of a file is held before it is hashed and written.
const bufferSize = 1 << 16

// Output is a file that was written.
type Output struct {
	Name   string
	Digest [sha256.Size]byte
	Size   int64
	Lines  uint64 // of items, in a detail file and its twin
	Net    Sum    // of these
}

// sink is a file that is being written: what is appended to its buffer is hashed and
// written in large pieces.
type sink struct {
	name   string
	buffer []byte
	w      io.WriteCloser
	hash   hash.Hash
	size   int64
}

func newSink() *sink {
	return &sink{hash: sha256.New(), buffer: make([]byte, 0, bufferSize+bufferSize/4)}
}

func (s *sink) open(name string, create func(name string) (io.WriteCloser, error)) (err error) {
	s.name, s.size, s.buffer = name, 0, s.buffer[:0]
	s.hash.Reset()
	if s.w, err = create(name); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// flush writes what is in the buffer when it is so much.
func (s *sink) flush(least int) error {
	if len(s.buffer) < least {
		return nil
	}
	_, _ = s.hash.Write(s.buffer) // A hash never fails.
	n, err := s.w.Write(s.buffer)
	s.size += int64(n)
	s.buffer = s.buffer[:0]
	if err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	return nil
}

func (s *sink) close(rows uint64) (Output, error) {
	if err := s.flush(0); err != nil {
		return Output{}, err
	}
	w := s.w
	s.w = nil
	if err := w.Close(); err != nil {
		return Output{}, fmt.Errorf("%s: %w", s.name, err)
	}
	output := Output{Name: s.name, Size: s.size, Lines: rows}
	s.hash.Sum(output.Digest[:0])
	return output, nil
}

// abandon closes an unfinished file.
func (s *sink) abandon() {
	if s.w != nil {
		_ = s.w.Close() // It is thrown away.
		s.w = nil
	}
}

// DetailWriter writes the detail of one member in one role, part by part, and beside
// each part its twin for spreadsheets. It allocates for a part, not for a line.
type DetailWriter struct {
	create  func(name string) (io.WriteCloser, error)
	header  Header
	planned uint64
	written uint64
	most    uint64 // lines in a part
	detail  *sink
	twin    *sink // nil: none is wanted
	trailer Trailer
	outputs []Output
	net     Sum
}

// NewDetail begins the detail of so many lines. The header says all but the parts, which
// follow from the number of lines: it is known before the first is written, since a
// part's header says of how many it is one. create makes a file in the run's folder; with
// twin it makes the CSV files too.
func NewDetail(header Header, planned uint64, twin bool, create func(name string) (io.WriteCloser, error)) (*DetailWriter, error) {
	return newDetail(header, planned, MaxLines, twin, create)
}

func newDetail(header Header, planned, most uint64, twin bool, create func(name string) (io.WriteCloser, error)) (*DetailWriter, error) {
	parts := max(1, (planned+most-1)/most)
	if parts > 9999 {
		return nil, points.Errorf(points.FormatError, "detail of %v: %d lines are more than 9999 parts of %d hold", header.Receiver, planned, most)
	}
	header.Part, header.Parts = 0, uint16(parts)
	w := &DetailWriter{create: create, header: header, planned: planned, most: most, detail: newSink()}
	if twin {
		w.twin = newSink()
	}
	if err := w.begin(); err != nil {
		w.Abandon()
		return nil, err
	}
	return w, nil
}

// Write appends one item; the twin has the merchant's name too. The line's number is the
// writer's to give. What does not fit its field is refused, and nothing is written of it.
func (w *DetailWriter) Write(l *Line, merchant string) error {
	if err := w.next(l); err != nil {
		return err
	}
	before := len(w.detail.buffer)
	buffer, err := appendLine(w.detail.buffer, l)
	if err != nil {
		return fmt.Errorf("detail of %v, clearing id %d: %w", w.header.Receiver, l.ID, err)
	}
	w.count(buffer, l)
	if w.twin != nil {
		w.twin.buffer = appendTwin(w.twin.buffer, buffer[before:], l, int(w.header.Scale), merchant)
		if err := w.twin.flush(bufferSize); err != nil {
			return err
		}
	}
	return w.detail.flush(bufferSize)
}

// WriteShared appends one item of which s has what all its lines have, and l the rest and the
// clearing id, as [DetailWriter.Write] does; a twin is not written. It is false, and nothing
// is written, where something does not fit or a twin is wanted: then Write has to be asked,
// with the whole line.
func (w *DetailWriter) WriteShared(s *Shared, l *Line) (bool, error) {
	if w.twin != nil {
		return false, nil
	}
	if err := w.next(l); err != nil {
		return false, err
	}
	buffer, fits := appendShared(w.detail.buffer, s, l)
	if !fits {
		return false, nil
	}
	w.count(buffer, l)
	return true, w.detail.flush(bufferSize)
}

// next numbers a line, in the next part where this one is full.
func (w *DetailWriter) next(l *Line) error {
	if w.written == w.planned {
		return fmt.Errorf("detail of %v: more lines than the %d that were announced", w.header.Receiver, w.planned)
	}
	if w.trailer.Lines == w.most {
		if err := w.end(); err != nil {
			return err
		}
		if err := w.begin(); err != nil {
			return err
		}
	}
	l.Number = w.trailer.Lines + 1
	return nil
}

// count takes in a line that was appended.
func (w *DetailWriter) count(buffer []byte, l *Line) {
	w.detail.buffer = buffer
	w.trailer.count(l)
	w.written++
}

// Close ends the last part and returns the files. It is an error when lines are missing.
func (w *DetailWriter) Close() ([]Output, error) {
	if w.written != w.planned {
		w.Abandon()
		return nil, fmt.Errorf("detail of %v: %d lines were written, %d announced", w.header.Receiver, w.written, w.planned)
	}
	if err := w.end(); err != nil {
		return nil, err
	}
	return w.outputs, nil
}

// Abandon closes what is under way, unfinished, when the run stops.
func (w *DetailWriter) Abandon() {
	w.detail.abandon()
	if w.twin != nil {
		w.twin.abandon()
	}
}

// Net returns the sum over the lines of all parts that are closed.
func (w *DetailWriter) Net() Sum { return w.net }

func (w *DetailWriter) begin() (err error) {
	w.header.Part++
	name := Name{
		File: DET, Member: w.header.Receiver, Role: w.header.Role, Date: w.header.Date, Cycle: w.header.Cycle,
		Part: w.header.Part, Parts: w.header.Parts, Ext: "txt",
	}
	w.trailer = Trailer{}
	if err := w.detail.open(name.String(), w.create); err != nil {
		return err
	}
	if w.detail.buffer, err = headers.append(w.detail.buffer, &w.header); err != nil {
		return fmt.Errorf("%v: %w", name, err)
	}
	if w.twin == nil {
		return nil
	}
	name.Ext = "csv"
	if err := w.twin.open(name.String(), w.create); err != nil {
		return err
	}
	w.twin.buffer = append(w.twin.buffer, twinHead()...)
	return nil
}

func (w *DetailWriter) end() error {
	if err := w.detail.flush(0); err != nil {
		return err
	}
	hex.Encode(w.trailer.Digest[:], w.detail.hash.Sum(nil))
	var err error
	if w.detail.buffer, err = trailers.append(w.detail.buffer, &w.trailer); err != nil {
		return fmt.Errorf("%s: %w", w.detail.name, err)
	}
	for _, s := range []*sink{w.detail, w.twin} {
		if s == nil {
			continue
		}
		output, err := s.close(w.trailer.Lines)
		if err != nil {
			return err
		}
		output.Net = w.trailer.Net
		w.outputs = append(w.outputs, output)
	}
	w.net = w.net.add(w.trailer.Net)
	return nil
}
