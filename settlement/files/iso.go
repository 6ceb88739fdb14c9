package files

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// Statement is what STM and NTF say of a member in a cycle. Amounts are in smallest units
// of the standard unit, credits positive.
type Statement struct {
	Operator       string // the operator's name
	Member         tariff.Member
	Name           string // the member's name
	Unit           string // QZP
	Scale          int
	Date           points.BusinessDate
	Cycle          uint8
	SettlementDate points.BusinessDate
	Sequence       uint64 // of the member's statements, without gaps
	Created        time.Time
	From, To       time.Time // the cut-over before, and this one
	Opening        points.Amount
	Closing        points.Amount
	Available      points.Amount // after the cap
	Entries        []Entry
}

// Entry is one booking: of a statement, what a member has with one counterparty under one
// code; of a notification, what one item has moved.
type Entry struct {
	Item         uint64 // clearing id of the item; 0: of all of the counterparty and code
	Counterparty tariff.Member
	Code         string // RDM, ICF, ...
	Amount       points.Amount
	Reversal     bool   // of earlier entries
	Instruction  string // the payment that settles it
	Items        uint64
	Detail       string // identity of the detail file with its items, or ""
	Rate         *EntryRate
	Info         string
}

// EntryRate is the rate of an entry whose items are all of one programme at one rate.
type EntryRate struct {
	Program  string // its code
	Currency string // three letters for the programme, or "": ISO 20022 knows no other codes
	Scale    int
	Amount   points.Amount // points of the programme
	Version  uint32
	Num, Den uint64
}

// What ISO 20022 bounds.
const (
	isoAmountDigits = 18
	isoAmountMost   = 999_999_999_999_999_999 // of so many digits
	isoRateDecimals = 10
	isoRateDigits   = 11
	isoID           = 35
	isoInfo         = 500
	isoName         = 140
	isoAccount      = 34
	isoSystem       = 5
)

// isoMoment is how moments are written: local, with their distance from UTC.
const isoMoment = "2006-01-02T15:04:05-07:00"

// AppendStatement writes STM: camt.053.001.08.
func AppendStatement(dst []byte, s *Statement) ([]byte, error) {
	x := document{dst: dst, s: s, sequence: strconv.FormatUint(s.Sequence, 10)}
	x.begin("camt.053.001.08", "BkToCstmrStmt", "ST-"+s.id())
	x.open("Stmt")
	x.head()
	x.balance("OPBD", s.Opening)
	x.balance("CLBD", s.Closing)
	x.balance("CLAV", s.Available)
	x.body()
	x.close("Stmt")
	x.end("BkToCstmrStmt")
	return x.done()
}

// AppendNotification writes NTF: camt.054.001.08, an entry for each adjustment, fee out of
// the schedule, chargeback and re-presentment that was approved, without balances.
func AppendNotification(dst []byte, s *Statement) ([]byte, error) {
	x := document{dst: dst, s: s, sequence: strconv.FormatUint(s.Sequence, 10)}
	x.begin("camt.054.001.08", "BkToCstmrDbtCdtNtfctn", "NT-"+s.id())
	x.open("Ntfctn")
	x.head()
	x.body()
	x.close("Ntfctn")
	x.end("BkToCstmrDbtCdtNtfctn")
	return x.done()
}

// id names the statement: date, cycle, member.
func (s *Statement) id() string {
	return fmt.Sprintf("%08d-%02d-%08d", uint32(s.Date), s.Cycle, uint32(s.Member))
}

// document is an XML document that is being written. Whatever does not fit ISO 20022 is
// its first error.
type document struct {
	dst      []byte
	of       string // what it is, where it is no statement
	s        *Statement
	sequence string // the statement's, in digits
	depth    int
	err      error
}

func (x *document) refuse(format string, args ...any) {
	if x.err == nil {
		x.err = points.Errorf(points.FormatError, "%s of %v: "+format, append([]any{cmp.Or(x.of, "statement"), x.s.Member}, args...)...)
	}
}

func (x *document) indent() {
	for range x.depth {
		x.dst = append(x.dst, ' ')
	}
}

func (x *document) open(name string) {
	x.indent()
	x.dst = append(append(append(x.dst, '<'), name...), ">\n"...)
	x.depth++
}

func (x *document) close(name string) {
	x.depth--
	x.indent()
	x.dst = append(append(append(x.dst, "</"...), name...), ">\n"...)
}

// begun writes the beginning of an element that stands on one line. Its text comes next,
// and then ended.
func (x *document) begun(name string) {
	x.indent()
	x.dst = append(append(append(x.dst, '<'), name...), '>')
}

func (x *document) ended(name string) {
	x.dst = append(append(append(x.dst, "</"...), name...), ">\n"...)
}

// raw writes an element whose text needs no escaping.
func (x *document) raw(name, text string) {
	x.begun(name)
	x.dst = append(x.dst, text...)
	x.ended(name)
}

// text writes an element with any text. One that is longer than its type allows is refused.
func (x *document) text(name, text string, most int) {
	if n := utf8.RuneCountInString(text); n == 0 || n > most {
		x.refuse("%s %q has %d characters, want 1 to %d", name, text, n, most)
		return
	}
	if isPlain(text) && !strings.ContainsAny(text, `<>&'"`) {
		x.raw(name, text)
		return
	}
	var escaped bytes.Buffer
	if err := xml.EscapeText(&escaped, []byte(points.Escaped(text))); err != nil {
		x.refuse("%s %q: %w", name, text, err)
		return
	}
	x.raw(name, escaped.String())
}

func (x *document) number(name string, v uint64) {
	x.begun(name)
	x.dst = strconv.AppendUint(x.dst, v, 10)
	x.ended(name)
}

// amount writes |a|: amounts of ISO 20022 are never negative.
func (x *document) amount(name string, a points.Amount, unit string, scale int) {
	x.indent()
	x.dst = append(append(append(append(append(x.dst, '<'), name...), ` Ccy="`...), unit...), `">`...)
	x.magnitude(name, SumOf(a), scale)
	x.ended(name)
}

// sum writes the magnitude of a sum.
func (x *document) sum(name string, s Sum) {
	x.begun(name)
	x.magnitude(name, s, x.s.Scale)
	x.ended(name)
}

func (x *document) magnitude(name string, s Sum, scale int) {
	if s.negative() {
		s = s.negated()
	}
	if a, ok := s.Amount(); !ok || a > isoAmountMost {
		x.refuse("%s %s has more than %d digits, which ISO 20022 cannot carry", name, s.Digits(), isoAmountDigits)
	}
	x.dst = s.appendDecimal(x.dst, scale)
}

func (x *document) side(negative bool) {
	if negative {
		x.raw("CdtDbtInd", "DBIT")
	} else {
		x.raw("CdtDbtInd", "CRDT")
	}
}

func (x *document) begin(schema, root, id string) {
	x.start(schema, root, id)
	x.close("GrpHdr")
}

// start writes the beginning of a document, and leaves the header of its group open.
func (x *document) start(schema, root, id string) {
	if len(x.s.Unit) != 3 || x.s.Scale < 0 || x.s.Scale > 5 {
		x.refuse("unit %q with %d decimals: ISO 20022 knows three letters and 0 to 5", x.s.Unit, x.s.Scale)
	}
	x.dst = fmt.Appendf(x.dst, "%s<Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:%s\">\n", xml.Header, schema)
	x.depth = 1
	x.open(root)
	x.open("GrpHdr")
	x.text("MsgId", id, isoID)
	x.moment("CreDtTm", x.s.Created)
}

func (x *document) end(root string) {
	x.close(root)
	x.dst = append(x.dst, "</Document>\n"...)
}

func (x *document) done() ([]byte, error) { return x.dst, x.err }

func (x *document) moment(name string, t time.Time) {
	x.raw(name, t.Format(isoMoment))
}

// head writes what statements and notifications have in common before the balances.
func (x *document) head() {
	s := x.s
	x.text("Id", s.id()+"-"+s.Unit, isoID)
	x.number("ElctrncSeqNb", s.Sequence)
	x.number("LglSeqNb", s.Sequence)
	x.moment("CreDtTm", s.Created)
	x.open("FrToDt")
	x.moment("FrDtTm", s.From)
	x.moment("ToDtTm", s.To)
	x.close("FrToDt")
	x.open("Acct")
	x.open("Id")
	x.open("Othr")
	x.text("Id", fmt.Sprintf("CLR-%08d", uint32(s.Member)), isoID)
	x.close("Othr")
	x.close("Id")
	x.raw("Ccy", s.Unit)
	x.open("Ownr")
	x.text("Nm", s.Name, isoName)
	x.close("Ownr")
	x.open("Svcr")
	x.open("FinInstnId")
	x.text("Nm", s.Operator, isoName)
	x.close("FinInstnId")
	x.close("Svcr")
	x.close("Acct")
}

func (x *document) balance(code string, a points.Amount) {
	x.open("Bal")
	x.open("Tp")
	x.open("CdOrPrtry")
	x.raw("Cd", code)
	x.close("CdOrPrtry")
	x.close("Tp")
	x.amount("Amt", a, x.s.Unit, x.s.Scale)
	x.side(a < 0)
	x.date("Dt", x.s.Date)
	x.close("Bal")
}

func (x *document) date(name string, d points.BusinessDate) {
	x.open(name)
	x.begun("Dt")
	x.dst = d.Append(x.dst)
	x.ended("Dt")
	x.close(name)
}

// body writes the control totals and the entries.
func (x *document) body() {
	var credits, debits Sum
	var credited, debited uint64
	for i := range x.s.Entries {
		if a := x.s.Entries[i].Amount; a < 0 {
			debits, debited = debits.minus(a), debited+1
		} else {
			credits, credited = credits.plus(a), credited+1
		}
	}
	net := credits.add(debits.negated())
	x.open("TxsSummry")
	x.open("TtlNtries")
	x.number("NbOfNtries", credited+debited)
	x.sum("Sum", credits.add(debits))
	x.open("TtlNetNtry")
	x.sum("Amt", net)
	x.side(net.negative())
	x.close("TtlNetNtry")
	x.close("TtlNtries")
	x.totals("TtlCdtNtries", credited, credits)
	x.totals("TtlDbtNtries", debited, debits)
	x.close("TxsSummry")
	for i := range x.s.Entries {
		x.entry(&x.s.Entries[i])
	}
}

func (x *document) totals(name string, n uint64, sum Sum) {
	x.open(name)
	x.number("NbOfNtries", n)
	x.sum("Sum", sum)
	x.close(name)
}

// reference is the name of an entry, which no other of the member has under its code.
func (x *document) reference(e *Entry) string {
	if e.Item != 0 {
		return e.Code + "-" + strconv.FormatUint(e.Item, 10)
	}
	return e.Code + "-" + e.Counterparty.String() + "-" + x.sequence
}

// entry writes the Ntry block that camt.053 and camt.054 share.
func (x *document) entry(e *Entry) {
	x.open("Ntry")
	x.text("NtryRef", x.reference(e), isoID)
	x.amount("Amt", e.Amount, x.s.Unit, x.s.Scale)
	x.side(e.Amount < 0)
	x.raw("RvslInd", strconv.FormatBool(e.Reversal))
	x.open("Sts")
	x.raw("Cd", "BOOK")
	x.close("Sts")
	x.date("BookgDt", x.s.Date)
	x.date("ValDt", x.s.SettlementDate)
	if e.Instruction != "" {
		x.text("AcctSvcrRef", e.Instruction, isoID)
	}
	x.open("BkTxCd")
	x.open("Prtry")
	x.text("Cd", e.Code, isoID)
	x.raw("Issr", "PTSCLR")
	x.close("Prtry")
	x.close("BkTxCd")
	x.exchanged(e.Rate)
	x.open("NtryDtls")
	x.open("Btch")
	if e.Detail != "" {
		x.text("MsgId", e.Detail, isoID)
	}
	x.number("NbOfTxs", e.Items)
	x.amount("TtlAmt", e.Amount, x.s.Unit, x.s.Scale)
	x.side(e.Amount < 0)
	x.close("Btch")
	x.close("NtryDtls")
	if info := e.information(); info != "" {
		x.text("AddtlNtryInf", info, isoInfo)
	}
	x.close("Ntry")
}

// exchanged writes what the entry was in points, where a code of three letters stands for
// the programme. The rate is of whole points to whole standard points, as people quote it,
// and has at most eleven digits: where those say nothing it is left out. The exact rate, of
// smallest units, is in the information.
func (x *document) exchanged(r *EntryRate) {
	if r == nil || r.Currency == "" {
		return
	}
	if len(r.Currency) != 3 || r.Den == 0 || r.Scale < 0 || r.Scale > 5 {
		x.refuse("rate %d/%d of %q with %d decimals does not fit ISO 20022: want three letters and 0 to 5 decimals", r.Num, r.Den, r.Currency, r.Scale)
		return
	}
	rate, ok := xchgRate(r.Num*power(r.Scale), r.Den*power(x.s.Scale))
	if !ok {
		return
	}
	x.open("AmtDtls")
	x.open("CntrValAmt")
	x.amount("Amt", r.Amount, r.Currency, r.Scale)
	x.open("CcyXchg")
	x.raw("SrcCcy", r.Currency)
	x.raw("TrgtCcy", x.s.Unit)
	x.raw("XchgRate", rate)
	x.text("CtrctId", strconv.FormatUint(uint64(r.Version), 10), isoID)
	x.close("CcyXchg")
	x.close("CntrValAmt")
	x.close("AmtDtls")
}

// xchgRate renders num/den with as many decimals as eleven digits leave, rounded to the
// nearest. It is for people and their programs' displays; nothing is computed with it.
func xchgRate(num, den uint64) (string, bool) {
	for decimals := isoRateDecimals; decimals >= 0; decimals-- {
		q, r, ok := points.Amount(power(decimals)).MulRat(num, den) //nolint:gosec // ten digits at most.
		if !ok {
			continue
		}
		if r >= points.Amount(den)-r { //nolint:gosec // seventeen digits at most.
			q++
		}
		if digits := q.Decimal(0); q > 0 && len(digits) <= isoRateDigits {
			return pointed(digits, decimals), true
		}
	}
	return "", false
}

// power is ten to the n.
func power(n int) uint64 {
	v := uint64(1)
	for range n {
		v *= 10
	}
	return v
}

// information is what ISO 20022 has no element for: the exact rate.
func (e *Entry) information() string {
	if e.Rate == nil {
		return e.Info
	}
	exact := fmt.Sprintf("%s %s, %d/%d of the smallest units, rate version %d", e.Rate.Program, e.Rate.Amount.Decimal(e.Rate.Scale), e.Rate.Num, e.Rate.Den, e.Rate.Version)
	if e.Info == "" {
		return exact
	}
	return exact + "; " + e.Info
}
