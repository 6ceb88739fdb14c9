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
	Statement  *Statement
	Capped     bool                     // the member has a cap; else nothing is said to be left of one
	Names      map[tariff.Member]string // of counterparties
	Merchants  []MerchantTotal
	Exceptions []Exception
	Files      []Output
}

// maxListed is how many exceptions a page lists; the others are in EXC only.
const maxListed = 100

// accountNames are the words for the operator's accounts, in Chinese and English.
func accountNames(m tariff.Member) (chinese, english string) {
	switch m {
	case tariff.AccountFee:
		return "手续费账户", "fees"
	case tariff.AccountVAT:
		return "增值税账户", "VAT"
	case tariff.AccountRound:
		return "尾差账户", "rounding"
	case tariff.AccountSuspense:
		return "挂账账户", "suspense"
	}
	return "", ""
}

// ReasonInChinese says why an item was not cleared; of a code that it does not know, nothing.
func ReasonInChinese(code string) string {
	switch code {
	case "RATE_UNKNOWN":
		return "该时点该积分计划没有生效的清算汇率：请以调账入账，并提交汇率"
	case "TARGET_RATE_UNKNOWN":
		return "该时点目标积分计划没有生效的清算汇率：请以调账入账，并提交汇率"
	case "FEES_UNKNOWN":
		return "该时点没有生效的费率表：请以调账清算，并提交费率表"
	case "FEE_ROW_UNKNOWN":
		return "费率表中没有适用的行：请增加一行，不限处填 *"
	case "TOO_LATE":
		return "发送三十天之后才通知，或所撤销的原交易属此情形：请调账，或不予处理"
	case "NO_ROOM":
		return "成员应付合计超出可记范围，账本未予计价：请以调账入账"
	case "SWAP_STANDS":
		return "已放弃的积分互换在其发卡方处仍然成立：请与发卡方核对后调账"
	case "ORIGINAL_UNKNOWN":
		return "退货因找不到原交易已被拒绝，未记账：请向收单方查询原交易"
	case "KIND":
		return "交易类型不可清算，或其原交易类型不可撤销：请更正"
	case "SIGN":
		return "金额正负与交易类型不符：请更正"
	case "AMOUNT":
		return "金额为零或超过十五位：请更正"
	case "MEMBER":
		return "缺少一方，或其机构号超过八位：请以清算号登记该机构"
	case "ORIGINAL":
		return "原交易的时间、类型或已退金额缺失或有误：请查找原交易"
	case "QUOTE":
		return "积分互换的报价金额不自洽：请与报价核对"
	case "OVERFLOW":
		return "乘积超出可记范围：请核对金额、汇率与费率"
	case "TOO_WIDE":
		return "结果位数超出文件所能容纳（价值十五位、费用十二位）：请核对金额、汇率与费率"
	case ReasonNoBankAccount:
		return "未登记该成员的银行账户，资金划付未列入银行指令：请线下划付，并为下一场登记账户"
	case "MEMBER_UNKNOWN":
		return "有一方不在本场成员之列：请登记"
	}
	return ""
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
	type exception struct{ ID, Code, Chinese, English, Raw string }
	var received, paid Sum
	var rows []byte
	for i := range s.Entries {
		e := &s.Entries[i]
		if e.Amount < 0 {
			paid = paid.minus(e.Amount)
		} else {
			received = received.plus(e.Amount)
		}
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
	exceptions := make([]exception, 0, min(len(p.Exceptions), maxListed))
	for i := range p.Exceptions[:cap(exceptions)] {
		x := &p.Exceptions[i]
		exceptions = append(exceptions, exception{strconv.FormatUint(x.ID, 10), points.Escaped(x.Reason), ReasonInChinese(x.Reason), points.Escaped(x.What), points.Escaped(string(x.Raw))})
	}
	const moment = "2006-01-02 15:04:05 -0700"
	err := pageTemplate.Execute(w, map[string]any{
		"Member": s.Member.String(), "Name": points.Escaped(s.Name), "Operator": points.Escaped(s.Operator), "Date": s.Date, "Cycle": s.Cycle,
		"From": s.From.Format(moment), "To": s.To.Format(moment), "SettlementDate": s.SettlementDate, "Sequence": s.Sequence, "Unit": s.Unit,
		"Opening": amount(SumOf(s.Opening)), "Closing": amount(SumOf(s.Closing)), "Available": amount(SumOf(s.Available)),
		"Received": amount(received), "Paid": amount(paid), "Net": amount(received.add(paid.negated())), "Capped": p.Capped,
		"Exceptions": exceptions, "Unlisted": len(p.Exceptions) - len(exceptions),
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
	if account, inEnglish := accountNames(e.Counterparty); account != "" {
		dst = append(append(append(dst, ' '), account...), ` <span lang="en">`...)
		dst = append(append(dst, inEnglish...), "</span>"...)
	} else if name != "" {
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
