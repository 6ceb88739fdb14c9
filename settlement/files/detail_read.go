package files

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// DetailReader reads a part of a detail file strictly: what is not as the layout says is
// named by line, column and field. It goes on behind a broken line, so that one reading
// names all. It holds one line at a time.
type DetailReader struct {
	in      *bufio.Reader
	hash    hash.Hash
	at      uint64 // lines read
	before  [sha256.Size]byte
	header  Header
	trailer Trailer
	counted Trailer
	ended   bool
	raw     []byte // the line that was read last, or its beginning
	parsed  bool   // whether its fields could be read
}

// Raw returns the line that Next read last, without its end, good until the next call: of
// one that is longer than any record its beginning. parsed is whether all its fields could
// be read, so that what is broken is only what they say.
func (d *DetailReader) Raw() (line []byte, parsed bool) { return d.raw, d.parsed }

// NewDetailReader reads the header. What is broken in it is returned beside the reader,
// which can go on; the error is of reading.
func NewDetailReader(r io.Reader) (*DetailReader, []FormatError, error) {
	d := &DetailReader{in: bufio.NewReaderSize(r, bufferSize), hash: sha256.New()}
	line, broken, err := d.line()
	if err != nil || broken != nil {
		return d, broken, err
	}
	if broken = headers.parse(line, d.at, &d.header); broken != nil {
		return d, broken, nil
	}
	expect := func(ok bool, name, found, expected string) {
		if !ok {
			broken = append(broken, headers.wrong(d.at, name, found, expected))
		}
	}
	h := &d.header
	expect(h.Cycle > 0, "cycle", "00", "01 to 99")
	expect(h.Scale <= 5, "scale", fmt.Sprint(h.Scale), "0 to 5")
	expect(h.Part > 0 && h.Part <= h.Parts, "part", fmt.Sprintf("%d of %d", h.Part, h.Parts), "a part from 1 to the number of parts")
	return d, broken, nil
}

// wrong says of a field that can be read that it has the wrong value.
func (l *layout[R]) wrong(at uint64, name, found, expected string) FormatError {
	for i := range l.fields {
		if l.fields[i].Name == name {
			return FormatError{Line: at, Column: l.fields[i].From, Field: name, Found: found, Expected: expected}
		}
	}
	return FormatError{Line: at, Column: 1, Field: name, Found: found, Expected: expected}
}

// Header returns the header.
func (d *DetailReader) Header() Header { return d.header }

// Lines returns how many lines were read, header and trailer too.
func (d *DetailReader) Lines() uint64 { return d.at }

// Trailer returns the trailer, and what the lines before it come to. Both are whole
// when Next has said that there is no more.
func (d *DetailReader) Trailer() (said, counted Trailer) { return d.trailer, d.counted }

// Digest returns the SHA-256 of the whole file, once Next has said that there is no more.
func (d *DetailReader) Digest() (digest [sha256.Size]byte) {
	d.hash.Sum(digest[:0])
	return digest
}

// Next reads the next item into l. more is false when the trailer was read. A line that
// is broken is returned with what is broken in it; the error is of reading.
func (d *DetailReader) Next(l *Line) (more bool, broken []FormatError, err error) {
	if d.ended {
		return false, nil, nil
	}
	if tag, _ := d.in.Peek(len(trailers.tag)); string(tag) == trailers.tag {
		d.hash.Sum(d.before[:0])
	}
	d.parsed = false
	line, broken, err := d.line()
	switch {
	case errors.Is(err, io.EOF):
		d.ended = true
		return false, []FormatError{{Line: d.at + 1, Column: 1, Field: "rec", Found: "the end of the file", Expected: `"TR"`}}, nil
	case err != nil:
		return false, nil, err
	case broken != nil:
		d.counted.Lines++
		return true, broken, nil
	case bytes.HasPrefix(line, []byte(trailers.tag)):
		return false, d.end(line), d.drain()
	}
	if broken = parseLine(line, d.at, l); broken != nil {
		d.counted.Lines++
		return true, broken, nil
	}
	d.parsed = true
	d.counted.count(l)
	return true, d.check(l), nil
}

// check computes a line again from its own fields.
func (d *DetailReader) check(l *Line) (broken []FormatError) {
	wrong := func(name, found, expected string) { broken = append(broken, lines.wrong(d.at, name, found, expected)) }
	if l.Number != d.counted.Lines {
		wrong("line", fmt.Sprint(l.Number), fmt.Sprint(d.counted.Lines))
	}
	if l.Amount == 0 && d.header.Role != RoleSwapTarget { // A swap may grant less than one unit.
		wrong("amt", "0", "an amount that is not zero")
	}
	if field, found, expected := disvalued(l, d.header.Role); field != "" {
		wrong(field, found, expected)
	}
	net := SumOf(l.Std).plus(l.Interchange).plus(l.SwitchFee).plus(l.VAT).plus(l.Other)
	if net != SumOf(l.Net) {
		wrong("net", fmt.Sprint(int64(l.Net)), net.Digits()+" = std + ichg + swfee + vat + other")
	}
	switch receiver := d.header.Receiver; {
	case l.Kind.Explicit() || d.header.Role == RoleSwapTarget || d.header.Role == RoleShare:
	case d.header.Role == RoleAcquirer && l.Acquirer != receiver:
		wrong("acq", l.Acquirer.String(), fmt.Sprintf("%v, the receiver of a file of role A", receiver))
	case d.header.Role == RoleIssuer && l.Issuer != receiver:
		wrong("iss", l.Issuer.String(), fmt.Sprintf("%v, the receiver of a file of role I", receiver))
	}
	return broken
}

// disvalued holds what a line is said to be worth against its points and its rate. It
// returns the field that is wrong, or "".
func disvalued(l *Line, role Role) (field, found, expected string) {
	worth, ok := worthOf(l, role)
	said := SumOf(l.Std)
	switch {
	case !ok:
		return "den", fmt.Sprintf("%d/%d", l.Num, l.Den), "a rate that values amt in 64 bits"
	case l.Kind.Explicit():
		field, said = "net", SumOf(l.Net) // A fee is in other, an adjustment in std.
	case role == RoleShare:
		if l.Std != 0 || l.Interchange != 0 || l.SwitchFee != 0 || l.VAT != 0 {
			return "other", fmt.Sprint(int64(l.Other)), "all of net: a file of role S has shares of fees only"
		}
		return "", "", ""
	case l.Acquirer == l.Issuer && role == RoleAcquirer:
		if l.Std != 0 || l.Interchange != 0 {
			return "std", fmt.Sprint(int64(l.Std)), "0 and no interchange: acquirer and issuer are one"
		}
		return "", "", ""
	case l.Kind == tariff.KindSWP && role == RoleIssuer:
		if swapped(l, worth) {
			return "", "", ""
		}
		return "net", SumOf(l.Net).Digits(), fmt.Sprintf("from std to %d = amt %d * %d / %d", int64(worth), int64(l.Amount), l.Num, l.Den)
	default:
		field = "std"
	}
	if near(said, worth, l.Kind) || (role == RoleSwapTarget && roundedUp(l, worth)) || (l.Kind.Undoing() && role == RoleIssuer && swapped(l, worth)) {
		return "", "", ""
	}
	return field, said.Digits(), fmt.Sprintf("%d = amt %d * %d / %d", int64(worth), int64(l.Amount), l.Num, l.Den)
}

// swapped reports whether a line can be of a swap, or of what undoes one, in its issuer's
// file. The value of the points is the worth of what was granted, which is std, the spread
// and what rounding leaves; net is the value but for the part of the spread that the
// issuer itself has a share of. So net is not less than std and not more than the value.
// Of a part that is undone, std goes in steps of what a granted unit is worth, and says
// nothing of net, which may be two units beside: what the part is worth and what the issuer
// has of the spread are each rounded at both ends of the part. Where std is none, the swap was
// of the issuer's points into its own, and net is such a step's rest.
func swapped(l *Line, worth points.Amount) bool {
	if l.Kind.Undoing() && l.Std == 0 {
		return l.Interchange == 0
	}
	std, net := SumOf(l.Std), SumOf(l.Net)
	if worth < 0 || (worth == 0 && l.Net < 0) {
		std, net, worth = std.negated(), net.negated(), -worth
	}
	slack := points.Amount(0)
	if l.Kind.Undoing() {
		std, slack = Sum{}, 2
	}
	above, below := net.add(std.negated()).plus(slack), SumOf(worth).add(net.negated()).plus(slack)
	return l.Interchange == 0 && !std.negative() && !above.negative() && !below.negative()
}

// roundedUp reports whether a swap's target took on a unit more than the whole units that its
// points are worth: a quote rounds what it has to pay for them up, and so it is where there
// is a part of a unit.
func roundedUp(l *Line, worth points.Amount) bool {
	_, part, _ := l.Amount.MulRat(l.Num, l.Den)
	return l.Kind == tariff.KindSWP && part > 0 && SumOf(l.Std).minus(worth) == SumOf(1)
}

// near reports whether a value is the one that the rate gives. Of what undoes a part of
// an item it may be a unit beside that: parts come to the whole exactly.
func near(said Sum, worth points.Amount, kind tariff.Kind) bool {
	off := said.minus(worth)
	return off.Zero() || (kind.Undoing() && (off == SumOf(1) || off == SumOf(-1)))
}

// worthOf is what the points of a line are worth at its rate: to the nearest unit, halves
// to the even one. What a swap's target took on is worth what its points are, without the
// part of a unit; see roundedUp. It is computed here once more, and not by those who made the file.
func worthOf(l *Line, role Role) (points.Amount, bool) {
	q, r, ok := l.Amount.MulRat(l.Num, l.Den)
	if !ok || (role == RoleSwapTarget && !l.Kind.Explicit()) {
		return q, ok
	}
	up := points.Amount(1)
	if l.Amount < 0 {
		up, r = -1, -r
	}
	if left := points.Amount(l.Den) - r; r > left || (r == left && q%2 != 0) { //nolint:gosec // twelve digits.
		q += up
	}
	return q, true
}

// end reads the trailer and holds it against what was counted.
func (d *DetailReader) end(line []byte) []FormatError {
	d.ended = true
	broken := trailers.parse(line, d.at, &d.trailer)
	if broken != nil {
		return broken
	}
	hex.Encode(d.counted.Digest[:], d.before[:])
	said, counted := &d.trailer, &d.counted
	expect := func(name, found, expected string) {
		if found != expected {
			broken = append(broken, trailers.wrong(d.at, name, found, expected+", of the lines before"))
		}
	}
	expect("n", fmt.Sprint(said.Lines), fmt.Sprint(counted.Lines))
	expect("ndr", fmt.Sprint(said.Debits), fmt.Sprint(counted.Debits))
	expect("sdr", said.Debit.Digits(), counted.Debit.Digits())
	expect("ncr", fmt.Sprint(said.Credits), fmt.Sprint(counted.Credits))
	expect("scr", said.Credit.Digits(), counted.Credit.Digits())
	expect("net", said.Net.Digits(), counted.Net.Digits())
	expect("sstd", said.Std.Digits(), counted.Std.Digits())
	expect("sfee", said.Fees.Digits(), counted.Fees.Digits())
	expect("hcid", said.IDs.Digits(), counted.IDs.Digits())
	expect("sha", string(said.Digest[:]), string(counted.Digest[:]))
	return broken
}

// drain reads what stands behind the trailer, for the digest.
func (d *DetailReader) drain() error {
	behind, err := io.Copy(d.hash, d.in)
	if err == nil && behind > 0 {
		return FormatError{Line: d.at + 1, Column: 1, Field: "end of file", Found: fmt.Sprintf("%d bytes behind the trailer", behind), Expected: "nothing"}
	}
	return err //nolint:wrapcheck // the caller says which file.
}

// line reads one line and returns it without its end. A line that is longer than any
// record is skipped to its end.
func (d *DetailReader) line() ([]byte, []FormatError, error) {
	line, err := d.in.ReadSlice('\n')
	_, _ = d.hash.Write(line)
	d.at++
	d.raw = bytes.TrimRight(line, lineEnd)
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		n := len(line)
		d.raw = bytes.Clone(line[:lines.width()])
		for errors.Is(err, bufio.ErrBufferFull) {
			line, err = d.in.ReadSlice('\n')
			_, _ = d.hash.Write(line)
			n += len(line)
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, nil, err //nolint:wrapcheck // the caller says which file.
		}
		return nil, []FormatError{{Line: d.at, Column: lines.width() + 1, Field: "end of line", Found: fmt.Sprintf("%d bytes", n), Expected: "CR LF"}}, nil
	case errors.Is(err, io.EOF) && len(line) == 0:
		d.at--
		return nil, nil, io.EOF
	case err != nil && !errors.Is(err, io.EOF):
		return nil, nil, err //nolint:wrapcheck // as above.
	}
	whole, ok := bytes.CutSuffix(line, []byte(lineEnd))
	if !ok {
		return nil, []FormatError{{
			Line: d.at, Column: len(bytes.TrimRight(line, lineEnd)) + 1, Field: "end of line",
			Found: quoted(line[len(bytes.TrimRight(line, lineEnd)):]), Expected: "CR LF",
		}}, nil
	}
	return whole, nil, nil
}
