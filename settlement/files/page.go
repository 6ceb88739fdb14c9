package files

import (
	_ "embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io"
	"strconv"

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
	var rows []byte
	for i := range s.Entries {
		e := &s.Entries[i]
		if e.Amount < 0 {
			paid = paid.minus(e.Amount)
		} else {
			received = received.plus(e.Amount)
		}
		items += e.Items
		rows = e.appendRow(rows, p.Names[e.Counterparty], s.Scale)
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
		"Entries":   template.HTML(rows), //nolint:gosec // appendRow has escaped what is not its own.
		"Merchants": merchants, "Files": list,
	})
	if err != nil {
		return fmt.Errorf("statement of %v: %w", s.Member, err)
	}
	return nil
}

// appendRow writes an entry's row of the table: a member may have many thousands of them,
// each of which a template would take ten times as long for.
func (e *Entry) appendRow(dst []byte, name string, scale int) []byte {
	chinese, english := codeNames(e.Code)
	dst = e.Counterparty.Append(append(dst, "\n<tr><td>"...))
	if name != "" {
		dst = appendMarkup(append(dst, ' '), points.Escaped(name))
	}
	dst = append(appendMarkup(append(dst, "</td><td>"...), e.Code), ' ')
	dst = append(append(dst, chinese...), ` <span lang="en">`...)
	dst = append(append(dst, english...), "</span>"...)
	if info := e.information(); info != "" {
		dst = append(appendMarkup(append(dst, "<br><code>"...), points.Escaped(info)), "</code>"...)
	}
	dst = strconv.AppendUint(append(dst, `</td><td class="n">`...), e.Items, 10)
	dst = append(dst, `</td><td class="n">`...)
	if e.Amount >= 0 {
		dst = SumOf(e.Amount).appendDecimal(dst, scale)
	}
	dst = append(dst, `</td><td class="n">`...)
	if e.Amount < 0 {
		dst = SumOf(e.Amount).negated().appendDecimal(dst, scale)
	}
	return append(dst, "</td></tr>"...)
}

// appendMarkup writes text into HTML as the template does.
func appendMarkup(dst []byte, text string) []byte {
	for i := range len(text) {
		switch c := text[i]; c {
		case 0:
			dst = append(dst, "\ufffd"...)
		case '"':
			dst = append(dst, "&#34;"...)
		case '&':
			dst = append(dst, "&amp;"...)
		case '\'':
			dst = append(dst, "&#39;"...)
		case '+':
			dst = append(dst, "&#43;"...)
		case '<':
			dst = append(dst, "&lt;"...)
		case '>':
			dst = append(dst, "&gt;"...)
		default:
			dst = append(dst, c)
		}
	}
	return dst
}
