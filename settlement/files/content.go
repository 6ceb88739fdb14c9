package files

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"fmt"
	"html"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/netting"
	"github.com/lianfen/lianfen/tariff"
)

// Follow sets what of a statement follows from the member's rows in NET: its entries, and
// where it opens and closes. detail is the identity of the detail file with the items, where
// there is one only; rate tells of which points the entry of a row is. The error is of a
// position that does not fit.
func (s *Statement) Follow(rows []Position, detail string, rate func(*Position) *EntryRate) error {
	var instructions [netting.GROSS + 1]string
	for i := range rows {
		row := &rows[i]
		if !row.Whole() {
			continue
		}
		instructions[row.Model] = row.Instruction
		var opens, closes bool
		s.Opening, opens = s.Opening.Add(row.Opening)
		s.Closing, closes = s.Closing.Add(row.Closing)
		if !opens || !closes {
			return points.Errorf(points.BalanceOverflow, "position of %v: more than fits", s.Member)
		}
	}
	s.Entries = make([]Entry, 0, len(rows))
	for i := range rows {
		row := &rows[i]
		if row.Counterparty == 0 || row.Code == 0 {
			continue
		}
		s.Entries = append(s.Entries, Entry{
			Counterparty: row.Counterparty, Code: row.Code.String(), Amount: row.Receive - row.Pay, Items: row.Items, Detail: detail,
			Rate:        rate(row),
			Reversal:    row.Code == tariff.CodeRVS || row.Code == tariff.CodeRFD || row.Code == tariff.CodeCBK,
			Instruction: cmp.Or(row.Instruction, instructions[row.Model]),
		})
	}
	return nil
}

// DetailID is how statements name the detail files of a role, all parts together.
func DetailID(m tariff.Member, role Role, date points.BusinessDate, cycle uint8) string {
	return fmt.Sprintf("DET-%08d-%v-%08d-%02d", uint32(m), role, uint32(date), cycle)
}

// NoticeInfo is what a notification says of an item: its kind and clearing id, and those of
// the item that it is about.
func NoticeInfo(kind tariff.Kind, id, original uint64, date points.BusinessDate) string {
	info := fmt.Sprintf("%v, clearing id %d", kind, id)
	if original != 0 {
		info += fmt.Sprintf(", of clearing id %d", original)
	}
	if date != 0 {
		info += fmt.Sprintf(" of %v", date)
	}
	return info
}

// MaxMerchants is how many merchants a page lists: those that come first.
const MaxMerchants = 200

// MaxNotices is how many entries the notification of a member has at the most: behind each
// stand two people, so that more of them are not a day's work but a mistake.
const MaxNotices = 200_000

// NoticeCode is the code of the leg that a member is notified of, by item; 0: of none.
func NoticeCode(kind tariff.Kind) tariff.Code {
	switch kind {
	case tariff.KindCBK, tariff.KindREP:
		return tariff.CodeCBK
	case tariff.KindADJ:
		return tariff.CodeADJ
	case tariff.KindFEE:
		return tariff.CodeOTH
	default:
		return 0
	}
}

// SortMerchants puts merchants in the order of the page: the one with most items first.
func SortMerchants(list []MerchantTotal) {
	slices.SortFunc(list, func(a, b MerchantTotal) int {
		return cmp.Or(cmp.Compare(b.Items, a.Items), bytes.Compare(a.Merchant[:], b.Merchant[:]))
	})
}

// maxText is the size of the largest file that is held against what the set says elsewhere;
// of a longer one the digest alone is compared. It has room for some 70,000 entries.
const maxText = 64 << 20

// kept reads a file to its end. It is kept where it can be made again from other files.
func (v *verifier) kept(name string, in io.Reader) ([32]byte, error) {
	d := NewDigest(io.Discard)
	in = io.TeeReader(in, d)
	if parsed, known := ParseName(name); known && parsed.File != DET || name == JournalName || name == StatementName {
		text, err := io.ReadAll(io.LimitReader(in, maxText+1))
		if err != nil {
			return [32]byte{}, err //nolint:wrapcheck // the caller says which file.
		}
		if len(text) <= maxText {
			v.texts[name] = text
		}
	}
	_, err := io.Copy(io.Discard, in)
	return d.Sum(), err //nolint:wrapcheck // as above.
}

// merchants is what a member's items at each merchant come to.
type merchants map[points.MerchantID]*traded

type traded struct {
	MerchantTotal
	first uint64 // clearing id of its first item
}

// counts notes of a line what statement, page and notification have to say of it.
func (v *verifier) counts(h *Header, l *Line) {
	counterparty := l.Issuer
	if h.Role == RoleIssuer {
		counterparty = l.Acquirer
	}
	v.rates.Note(h.Role, l.Kind, v.counterparty(counterparty), l)
	if none := l.Merchant == (points.MerchantID{}) || len(bytes.TrimSpace(l.Merchant[:])) == 0; !none {
		t := v.traded[l.Merchant]
		if t == nil {
			t = &traded{MerchantTotal{Merchant: l.Merchant}, l.ID}
			v.traded[l.Merchant] = t
		}
		t.Items++
		t.Net += l.Net
		t.first = min(t.first, l.ID)
	}
	amount := l.Std
	if l.Kind.Explicit() {
		amount = l.Net
	}
	if code := NoticeCode(l.Kind); code != 0 && amount != 0 && len(v.notices) <= MaxNotices {
		v.notices = append(v.notices, Entry{
			Item: l.ID, Code: code.String(), Amount: amount, Items: 1, Reversal: l.Kind == tariff.KindCBK,
			Detail: DetailID(h.Receiver, h.Role, h.Date, h.Cycle), Info: NoticeInfo(l.Kind, l.ID, l.Original, l.OriginalDate),
			Rate: RateOf(h.Role, l.Kind, l),
		})
	}
}

// counterparty numbers the members that lines are with, from 0, as far as there can be so many;
// -1: more.
func (v *verifier) counterparty(m tariff.Member) int {
	n, known := v.with[m]
	if !known {
		if n = len(v.with); n >= maxCounterparties {
			return -1
		}
		v.with[m] = n
	}
	return n
}

// rate is what the lines say of the points of a row.
func (v *verifier) rate(row *Position) *EntryRate {
	n, known := v.with[row.Counterparty]
	if !known {
		return nil
	}
	return v.rates.Of(n, row)
}

// contents holds the files that say the same as detail and NET against these: they are made
// again, and have to be the same byte for byte. What stands in no other file is taken as it
// is: names, when the cycle began and ended, the statement's number.
func (v *verifier) contents() {
	name, net := ParseName(v.netsIn)
	if !net || !v.clean(func(file string) bool {
		n, known := ParseName(file)
		return known && (n.File == DET || n.File == NET)
	}) {
		return // What they have to say is not known.
	}
	of := func(file File) string { return WholeName(file, name.Member, name.Date, name.Cycle, "xml").String() }
	s, ok := v.statement(of(STM), name)
	if !ok {
		return
	}
	v.same(of(STM), func() ([]byte, error) { return AppendStatement(nil, s) })
	v.notification(of(NTF), s)
	v.same(JournalName, func() ([]byte, error) { return AppendJournal(nil, s), nil })
	if v.clean(func(file string) bool { return file != SumsName && file != SignatureName }) {
		v.same(StatementName, func() ([]byte, error) {
			var page bytes.Buffer
			err := WriteStatement(&page, v.page(s))
			return page.Bytes(), err
		})
	}
}

// clean reports whether nothing is broken in the files that are asked for.
func (v *verifier) clean(asked func(file string) bool) bool {
	return !slices.ContainsFunc(v.report.Breaches, func(b Breach) bool { return asked(b.File) })
}

// said is what a statement says that no other file does.
type said struct {
	ID       string   `xml:"BkToCstmrStmt>GrpHdr>MsgId"`
	Created  string   `xml:"BkToCstmrStmt>Stmt>CreDtTm"`
	Sequence uint64   `xml:"BkToCstmrStmt>Stmt>ElctrncSeqNb"`
	From     string   `xml:"BkToCstmrStmt>Stmt>FrToDt>FrDtTm"`
	To       string   `xml:"BkToCstmrStmt>Stmt>FrToDt>ToDtTm"`
	Name     string   `xml:"BkToCstmrStmt>Stmt>Acct>Ownr>Nm"`
	Operator string   `xml:"BkToCstmrStmt>Stmt>Acct>Svcr>FinInstnId>Nm"`
	Balances []string `xml:"BkToCstmrStmt>Stmt>Bal>Amt"` // opening, closing, available
}

// statement is what a member's statement has to say; ok is false where there is none, or
// where it cannot be read.
func (v *verifier) statement(file string, net Name) (s *Statement, ok bool) {
	text, there := v.texts[file]
	if !there {
		return nil, false
	}
	unreadable := func(found string) (*Statement, bool) {
		v.blame(file, FormatError{Line: 1, Column: 1, Field: "content", Found: found, Expected: "a statement, camt.053.001.08"})
		return nil, false
	}
	var is said
	if err := xml.Unmarshal(text, &is); err != nil {
		return unreadable(err.Error())
	}
	s = &Statement{
		Operator: is.Operator, Member: net.Member, Name: is.Name, Unit: Unit, Scale: v.check.Scale, Date: net.Date, Cycle: net.Cycle,
		SettlementDate: v.settles(), Sequence: is.Sequence, Temporary: strings.HasPrefix(is.ID, temporaryMark),
	}
	if v.report.Mode != "" { // Without an item the statement alone tells.
		s.Temporary = v.report.Mode == DryRun.String()
	} else if s.Temporary {
		v.report.Mode = DryRun.String()
	}
	for _, t := range []struct {
		text string
		to   *time.Time
	}{{is.Created, &s.Created}, {is.From, &s.From}, {is.To, &s.To}} {
		var err error
		if *t.to, err = time.Parse(isoMoment, t.text); err != nil {
			return unreadable(fmt.Sprintf("the moment %q", t.text))
		}
	}
	detail := ""
	if ids := v.details(); len(ids) == 1 {
		detail = ids[0]
	}
	if err := s.Follow(v.owed, detail, v.rate); err != nil {
		return unreadable(err.Error())
	}
	s.Available = s.Closing
	switch {
	case len(v.owed) > 0:
		s.Unit, s.Capped, s.Available = v.owed[0].Unit, v.owed[0].Capped, s.Closing+v.owed[0].Cap
	case len(is.Balances) == 3: // Without a row nothing tells what the cap is.
		s.Capped = true
		s.Available, _ = parseDecimal(is.Balances[2], v.check.Scale)
	}
	return s, true
}

// settles is the banking day on which the cycle is settled. A member that has no row in NET
// is told in its page only.
func (v *verifier) settles() points.BusinessDate {
	if len(v.owed) > 0 {
		return v.owed[0].SettlementDate
	}
	var date points.BusinessDate
	if found := pageSettles.FindSubmatch(v.texts[StatementName]); found != nil {
		date, _ = points.ParseBusinessDate(string(found[1])) // One that is none is not written as it was read.
	}
	return date
}

// details are the identities of the detail files that were read.
func (v *verifier) details() (ids []string) {
	for i := range v.report.Files {
		if h := &v.report.Files[i].header; h.Parts != 0 {
			if id := DetailID(h.Receiver, h.Role, h.Date, h.Cycle); !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// notification holds the notification against the items in the detail files.
func (v *verifier) notification(file string, s *Statement) {
	if len(v.notices) > MaxNotices {
		return
	}
	text, there := v.texts[file]
	if !there {
		if len(v.notices) > 0 && !slices.ContainsFunc(v.report.Files, func(c Checked) bool { return c.Name == file }) {
			v.report.add(file, FormatError{
				Line: 1, Column: 1, Field: "file", Found: "no such file",
				Expected: fmt.Sprintf("a notification of %d adjustments, fees and chargebacks in the detail files", len(v.notices)),
			})
		}
		return
	}
	slices.SortStableFunc(v.notices, func(a, b Entry) int { return cmp.Compare(a.Item, b.Item) })
	var is struct {
		Instructions []string `xml:"BkToCstmrDbtCdtNtfctn>Ntfctn>Ntry>AcctSvcrRef"`
	}
	if err := xml.Unmarshal(text, &is); err != nil {
		v.blame(file, FormatError{Line: 1, Column: 1, Field: "content", Found: err.Error(), Expected: "a notification, camt.054.001.08"})
		return
	}
	v.same(file, func() ([]byte, error) {
		notice := *s
		notice.Entries = v.notices
		for i := range notice.Entries {
			notice.Entries[i].Instruction = v.instruction(&v.notices[i], is.Instructions, i)
		}
		return AppendNotification(nil, &notice)
	})
}

// instruction is the payment that settles the i-th item: one of those in NET, of the member
// with all, or with one under the item's code. By which model an item is settled the
// detail files do not say.
func (v *verifier) instruction(e *Entry, named []string, i int) (instruction string) {
	for j := range v.owed {
		row := &v.owed[j]
		settles := row.Whole() || row.Code.String() == e.Code
		if settles && row.Instruction != "" && (instruction == "" || i < len(named) && row.Instruction == named[i]) {
			instruction = row.Instruction
		}
	}
	return instruction
}

// What a page says that no other file does: what counterparties and merchants are called. A
// text has no markup in it, so that these find nothing else.
var (
	pageCounterparty = regexp.MustCompile(`(?m)^<tr><td>([0-9]{8}) ([^<]*)</td><td>[A-Z]{3} `)
	pageMerchant     = regexp.MustCompile(`(?m)^<tr><td>([^<]*)</td><td>([^<]*)</td><td class="n">[0-9]+</td><td class="n">`)
	pageSettles      = regexp.MustCompile(`<span lang="en">Settlement date</span></dt><dd>([0-9-]{10})</dd>`)
)

// page is what statement.html has to say.
func (v *verifier) page(s *Statement) *Page {
	text := v.texts[StatementName]
	p := &Page{Statement: s, Names: make(map[tariff.Member]string)}
	for _, found := range pageCounterparty.FindAllSubmatch(text, -1) {
		var m tariff.Member
		if err := m.UnmarshalText(found[1]); err != nil {
			continue // A row of nobody is not written as it was read.
		}
		if _, known := p.Names[m]; !known {
			p.Names[m] = html.UnescapeString(string(found[2]))
		}
	}
	called := make(map[string]string)
	for _, found := range pageMerchant.FindAllSubmatch(text, -1) {
		called[html.UnescapeString(string(found[1]))] = html.UnescapeString(string(found[2]))
	}
	first := make([]*traded, 0, len(v.traded))
	for _, t := range v.traded {
		first = append(first, t)
	}
	slices.SortFunc(first, func(a, b *traded) int {
		return cmp.Or(cmp.Compare(a.first, b.first), bytes.Compare(a.Merchant[:], b.Merchant[:]))
	})
	for _, t := range first[:min(len(first), MaxMerchants)] {
		t.Name = called[t.Merchant.String()]
		p.Merchants = append(p.Merchants, t.MerchantTotal)
	}
	SortMerchants(p.Merchants)
	for i := range v.report.Files {
		c := &v.report.Files[i]
		parsed, known := ParseName(c.Name)
		if !known && c.Name != JournalName {
			continue
		}
		o := Output{Name: c.Name, Digest: c.digest, Lines: c.Lines}
		if parsed.File == EXC {
			if exceptions, err := ReadExceptions(v.texts[c.Name]); err == nil {
				o.Lines, p.Exceptions = uint64(len(exceptions)), exceptions
			}
		}
		p.Files = append(p.Files, o)
	}
	return p
}

// same holds a file, where it is there, against what it has to be, line by line.
func (v *verifier) same(file string, again func() ([]byte, error)) {
	found, there := v.texts[file]
	if !there {
		return
	}
	want, err := again()
	delete(v.texts, file) // It may be long, and is not needed again.
	if err != nil {
		v.blame(file, FormatError{Line: 1, Column: 1, Field: "content", Found: quoted(found), Expected: err.Error()})
		return
	}
	from := "detail and NET"
	if v.check.House {
		from = "NET, the price and the accounts"
	}
	v.blame(file, unlike(found, want, from)...)
	for i := range v.report.Files {
		if c := &v.report.Files[i]; c.Name == file {
			c.Proof = ProofContent
		}
	}
}

// unlike names the lines of found that are not those of want, which follows from others; where there are more or fewer
// of them, the first only.
func unlike(found, want []byte, from string) (broken []FormatError) {
	is, should := bytes.Split(found, []byte{'\n'}), bytes.Split(want, []byte{'\n'})
	for i := range max(len(is), len(should)) {
		at := FormatError{Line: uint64(i) + 1, Column: 1, Field: "content", Found: "the end of the file", Expected: "the end of the file"}
		switch {
		case i < len(is) && i < len(should) && bytes.Equal(is[i], should[i]):
			continue
		case i < len(is) && i < len(should):
			for at.Column = 1; at.Column <= min(len(is[i]), len(should[i])) && is[i][at.Column-1] == should[i][at.Column-1]; at.Column++ {
			}
			at.Found, at.Expected = quoted(is[i]), quoted(should[i])
		case i < len(is):
			at.Found = quoted(is[i])
		default:
			at.Expected = quoted(should[i])
		}
		at.Expected += ", which follows from " + from
		broken = append(broken, at)
		if len(is) != len(should) || len(broken) == MaxBreaches {
			return broken
		}
	}
	return broken
}
