package files

import (
	_ "embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// MerchantTotal is what a member's items at one merchant come to.
type MerchantTotal struct {
	Merchant points.MerchantID
	Name     string
	Items    uint64
	Net      points.Amount
}

// Page is what statement.html says beside the statement.
type Page struct {
	Statement *Statement
	Names     map[tariff.Member]string // of counterparties
	Merchants []MerchantTotal
	Files     []Output
}

//go:embed statement.html.tmpl
var pageText string

// pageTemplate escapes whatever is put into it.
var pageTemplate = template.Must(template.New(StatementName).Parse(pageText))

// codeNames are the words for the codes of entries, in Chinese and English.
func codeNames(code string) (chinese, english string) {
	switch code {
	case "RDM":
		return "积分消费", "redemption"
	case "EAR":
		return "积分累积", "earn"
	case "SWP":
		return "积分互换", "swap"
	case "RFD":
		return "退货", "refund"
	case "RVS":
		return "冲正与撤销", "reversal, void"
	case "CBK":
		return "退单与再请款", "chargeback, re-presentment"
	case "ADJ":
		return "调账", "adjustment"
	case "ICF":
		return "发卡方收益", "interchange"
	case "SWF":
		return "转接手续费", "switch fee"
	case "VAT":
		return "增值税", "VAT"
	case "OTH":
		return "其他费用", "other fees"
	case "RND":
		return "尾差", "rounding"
	}
	return "", ""
}

// WriteStatement writes statement.html: one page that prints well, in Chinese and English
// side by side, without scripts and without anything from elsewhere.
func WriteStatement(w io.Writer, p *Page) error {
	s := p.Statement
	amount := func(sum Sum) string { return sum.Decimal(s.Scale) }
	type row struct {
		Counterparty, Name, Code, Chinese, English, Info, Received, Paid string
		Items                                                            uint64
	}
	type file struct {
		Name, Digest string
		Lines        uint64
	}
	type merchant struct {
		Merchant, Name, Net string
		Items               uint64
	}
	var received, paid Sum
	var items uint64
	rows := make([]row, 0, len(s.Entries))
	for i := range s.Entries {
		e := &s.Entries[i]
		r := row{Counterparty: e.Counterparty.String(), Name: points.Escaped(p.Names[e.Counterparty]), Code: e.Code, Info: points.Escaped(e.information()), Items: e.Items}
		r.Chinese, r.English = codeNames(e.Code)
		if e.Amount < 0 {
			paid = paid.minus(e.Amount)
			r.Paid = amount(SumOf(e.Amount).negated())
		} else {
			received = received.plus(e.Amount)
			r.Received = amount(SumOf(e.Amount))
		}
		items += e.Items
		rows = append(rows, r)
	}
	merchants := make([]merchant, 0, len(p.Merchants))
	for _, m := range p.Merchants {
		merchants = append(merchants, merchant{m.Merchant.String(), points.Escaped(m.Name), amount(SumOf(m.Net)), m.Items})
	}
	list := make([]file, 0, len(p.Files))
	for _, o := range sortedOutputs(p.Files) {
		list = append(list, file{o.Name, hex.EncodeToString(o.Digest[:]), o.Lines})
	}
	const moment = "2006-01-02 15:04:05 -0700"
	err := pageTemplate.Execute(w, map[string]any{
		"Member": s.Member.String(), "Name": points.Escaped(s.Name), "Operator": points.Escaped(s.Operator), "Date": s.Date, "Cycle": s.Cycle,
		"From": s.From.Format(moment), "To": s.To.Format(moment), "SettlementDate": s.SettlementDate, "Sequence": s.Sequence, "Unit": s.Unit,
		"Opening": amount(SumOf(s.Opening)), "Closing": amount(SumOf(s.Closing)), "Available": amount(SumOf(s.Available)),
		"Received": amount(received), "Paid": amount(paid), "Net": amount(received.add(paid.negated())), "Items": items,
		"Entries": rows, "Merchants": merchants, "Files": list,
	})
	if err != nil {
		return fmt.Errorf("statement of %v: %w", s.Member, err)
	}
	return nil
}
