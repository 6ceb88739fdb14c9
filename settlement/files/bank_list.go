package files

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

func payColumns() []column {
	return []column{
		{"run_id", "ULID", "the run, as in NET"},
		{"business_date", "date", "yyyy-mm-dd"},
		{"cycle", "n2", "cycle in the date"},
		{"settlement_date", "date", "the banking day of the payment"},
		{"model", "MNET, BNET, GROSS", "as in NET"},
		{"member", "n8", "or FEE, VAT, ROUND, SUSPENSE, the operator's accounts"},
		{"name", "text", "the member's"},
		{"instruction_id", "an35", "as in NET; of the payment in PYI or PYO too"},
		{"net", "signed decimal", "standard points, as in NET"},
		{"currency", "a3", ""},
		{"price_num", "int", "a whole standard point is worth price_num / price_den of the currency"},
		{"price_den", "int", ""},
		{"amount", "signed decimal", "net at the price, to the nearest unit, halves to the even one; below zero the member pays"},
		{"rest", "signed int", "what that rounding has left, in units of 1/rest_den of the currency's smallest: net is amount and rest"},
		{"rest_den", "int", ""},
		{"state", "code", "ORDERED; NO_ACCOUNT, left out; ZERO, nothing to pay; OWN, the operator's, stays on the settlement account"},
		{"bank", "an", "BIC, or the number in a clearing system; empty where none is configured"},
		{"account", "an34", "account there"},
	}
}

func payTotalColumns() []column {
	return []column{
		{totalTag, "", ""},
		{"rows", "int", ""},
		{"in", "decimal", "what PYI orders"},
		{"out", "decimal", "what PYO orders"},
		{"in_left_out", "decimal", "what members without an account have to pay"},
		{"out_left_out", "decimal", "what members without an account have to get"},
		{"own", "signed decimal", "the operator's own share"},
		{"rounding", "signed decimal", "in + in_left_out - out - out_left_out - own; all rests together"},
		{"bank", "an", "where the settlement account is"},
		{"account", "an34", "the settlement account"},
		{"operator", "text", "whose it is"},
		{"created", "time", "as PYI and PYO have it"},
	}
}

// AppendPayments writes PAY: what becomes of every position at the bank, what rounding has
// left of it, and how what comes in and what goes out come to each other.
func (p *Payments) AppendPayments(dst []byte) []byte {
	dst = append(dst, byteOrderMark...)
	for i, c := range payColumns() {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, c.name...)
	}
	dst = append(dst, lineEnd...)
	for i := range p.List {
		dst = p.appendPayment(dst, &p.List[i])
	}
	t, scale := &p.Totals, p.Price.Scale
	dst = fmt.Appendf(dst, "%s,%d,", totalTag, len(p.List))
	for _, amount := range [...]points.Amount{t.In, t.Out, t.LeftIn, t.LeftPaid, t.Own, t.Rounding} {
		dst = append(amount.AppendDecimal(dst, scale), ',')
	}
	dst = append(appendText(dst, p.Settlement.Bank), ',')
	dst = append(appendText(dst, p.Settlement.Number), ',')
	dst = append(appendText(dst, p.Name), ',')
	return append(append(dst, p.Created.Format(isoMoment)...), lineEnd...)
}

func (p *Payments) appendPayment(dst []byte, pay *Payment) []byte {
	dst = fmt.Appendf(dst, "%s,%v,%02d,%v,%v,%v,", p.Run, p.Date, p.Cycle, p.Settles, pay.Model, pay.Member)
	dst = append(appendText(dst, pay.Name), ',')
	dst = append(appendText(dst, pay.Instruction), ',')
	dst = append(pay.Net.AppendDecimal(dst, Scale), ',')
	dst = fmt.Appendf(dst, "%s,%d,%d,", p.Price.Currency, p.Price.Num, p.Price.Den)
	dst = append(pay.Amount.AppendDecimal(dst, p.Price.Scale), ',')
	_, den := p.Price.ratio()
	dst = fmt.Appendf(dst, "%d,%d,%s,", pay.Rest, den, pay.State)
	dst = append(appendText(dst, pay.Account.Bank), ',')
	return append(appendText(dst, pay.Account.Number), lineEnd...)
}

// payees is what a PAY file says that NET does not: the price, names and accounts.
type payees struct {
	price    Price
	house    Payments // the total line: settlement account, operator, when it was made
	names    map[tariff.Member]string
	accounts map[tariff.Member]Account
}

// readPayees reads that from a PAY file. All figures are worked out anew, and compared.
func readPayees(text []byte) (*payees, error) {
	refuse := func(row int, format string, args ...any) (*payees, error) {
		return nil, points.Errorf(points.FormatError, "row %d: "+format, append([]any{row + 1}, args...)...)
	}
	body, marked := bytes.CutPrefix(text, []byte(byteOrderMark))
	in := csv.NewReader(bytes.NewReader(body))
	in.FieldsPerRecord = -1 // The total has fewer.
	rows, err := in.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%w", err)
	}
	columns, totals := payColumns(), payTotalColumns()
	last := len(rows) - 1
	if !marked || last < 1 || !slices.EqualFunc(rows[0], columns, func(name string, c column) bool { return name == c.name }) {
		return refuse(0, "want the columns of a PAY file, a row at least and a total")
	}
	if len(rows[last]) != len(totals) || rows[last][0] != totalTag {
		return refuse(last, "want %s and %d cells", totalTag, len(totals))
	}
	p := &payees{names: map[tariff.Member]string{}, accounts: map[tariff.Member]Account{}}
	for i, row := range rows[1:last] {
		if len(row) != len(columns) {
			return refuse(i+1, "%d cells, want %d", len(row), len(columns))
		}
		if err := p.row(row); err != nil {
			return refuse(i+1, "%w", err)
		}
	}
	total := rows[last]
	if p.house.Settlement, err = ParseAccount(uncell(total[8]), uncell(total[9])); err != nil {
		return refuse(last, "%w", err)
	}
	p.house.Name = uncell(total[10])
	if p.house.Created, err = time.Parse(isoMoment, total[11]); err != nil {
		return refuse(last, "%w", err)
	}
	return p, nil
}

// row takes what a row says. The price is that of the first: another one in a later row is
// found when the file is made again.
func (p *payees) row(row []string) error {
	var m tariff.Member
	if err := m.UnmarshalText([]byte(row[5])); err != nil {
		return err //nolint:wrapcheck // the caller says which row.
	}
	if p.price == (Price{}) {
		_, decimals, _ := strings.Cut(row[12], ".")
		p.price = Price{Currency: row[9], Scale: len(decimals)}
		var numErr, denErr error
		p.price.Num, numErr = strconv.ParseUint(row[10], 10, 64)
		p.price.Den, denErr = strconv.ParseUint(row[11], 10, 64)
		if numErr != nil || denErr != nil {
			return points.Errorf(points.FormatError, "price %s/%s: want whole numbers", row[10], row[11])
		}
		if err := p.price.Check(); err != nil {
			return err
		}
	}
	p.names[m] = uncell(row[6])
	if row[16] == "" && row[17] == "" {
		return nil
	}
	account, err := ParseAccount(uncell(row[16]), uncell(row[17]))
	p.accounts[m] = account
	return err
}

// uncell takes away what a cell has in front so that spreadsheets take it for a text.
func uncell(cell string) string {
	if len(cell) > 1 && cell[0] == '\'' && strings.IndexByte("=+-@", cell[1]) >= 0 {
		return cell[1:]
	}
	return strings.TrimPrefix(cell, "\t")
}

// payments holds the operator's bank leg against its net positions: the payments are worked
// out anew from NET, the price and the accounts that PAY names, and have to be those of PAY,
// PYI and PYO byte for byte.
func (v *verifier) payments(name Name) {
	of := func(file File, ext string) string {
		return WholeName(file, name.Member, name.Date, name.Cycle, ext).String()
	}
	list := of(PAY, "csv")
	text, there := v.texts[list]
	if !there {
		for _, file := range []string{of(PYI, "xml"), of(PYO, "xml")} {
			if _, there := v.texts[file]; there {
				v.report.add(list, FormatError{Line: 1, Column: 1, Field: "file", Found: "no such file", Expected: "the list of the payments in " + file})
			}
		}
		return
	}
	if len(v.owed) == 0 || !v.clean(func(file string) bool { return file == v.netsIn }) {
		return // What has to be paid is not known.
	}
	is, err := readPayees(text)
	if err != nil {
		v.blame(list, FormatError{Line: 1, Column: 1, Field: "content", Found: err.Error(), Expected: "payments, as docs/files.md has them"})
		return
	}
	p := is.house
	first := &v.owed[0]
	p.Price, p.Operator, p.Run, p.Date, p.Cycle, p.Settles = is.price, name.Member, first.Run, first.Date, first.Cycle, first.SettlementDate
	err = p.Pay(v.owed, func(m tariff.Member) (string, Account) { return is.names[m], is.accounts[m] })
	if err != nil {
		v.blame(list, FormatError{Line: 1, Column: 1, Field: "content", Found: err.Error(), Expected: "payments that follow from " + v.netsIn})
		return
	}
	v.same(list, func() ([]byte, error) { return p.AppendPayments(nil), nil })
	v.messages(of(PYI, "xml"), p.Totals.Payers, p.AppendPayIns)
	v.messages(of(PYO, "xml"), p.Totals.Payees, p.AppendPayOuts)
}

// messages holds a message of payments against what it has to be. Without a payment there is none.
func (v *verifier) messages(file string, n uint64, again func([]byte) ([]byte, error)) {
	if _, there := v.texts[file]; there == (n > 0) {
		v.same(file, func() ([]byte, error) { return again(nil) })
		return
	}
	found, expected := "no such file", fmt.Sprintf("a message of %d payments", n)
	if n == 0 {
		found, expected = "a message of payments", "no such file, since there is nothing to pay"
	}
	v.report.add(file, FormatError{Line: 1, Column: 1, Field: "file", Found: found, Expected: expected})
}
