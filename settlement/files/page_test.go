package files

import (
	"bytes"
	"encoding/xml"
	"html/template"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// A row that is appended is the one that a template makes, whatever the texts are.
func TestRowLikeTemplate(t *testing.T) {
	slow := template.Must(template.New("row").Parse("\n" + `<tr><td>{{.Counterparty}}{{if .Account}} {{.Account}} <span lang="en">{{.Fund}}</span>{{else}}{{with .Name}} {{.}}{{end}}{{end}}</td><td>{{.Code}} {{.Chinese}} <span lang="en">{{.English}}</span>` +
		`{{with .Info}}<br><code>{{.}}</code>{{end}}</td><td class="n">{{.Items}}</td><td class="n">{{.Received}}</td><td class="n">{{.Paid}}</td></tr>`))
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[ -~]{0,12}`))
		e := Entry{
			Counterparty: tariff.Member(rapid.OneOf(rapid.Uint32Range(0, uint32(tariff.AccountSuspense)), rapid.Uint32Range(uint32(tariff.AccountFee), uint32(tariff.AccountSuspense))).Draw(t, "counterparty")),
			Code:         rapid.OneOf(rapid.SampledFrom([]string{"RDM", "ICF", "RND"}), text).Draw(t, "code"),
			Amount:       points.Amount(rapid.Int64().Draw(t, "amount")), Items: rapid.Uint64().Draw(t, "items"), Info: text.Draw(t, "info"),
		}
		name := text.Draw(t, "name")
		row := map[string]any{"Counterparty": e.Counterparty.String(), "Name": points.Escaped(name), "Code": e.Code, "Info": points.Escaped(e.Info), "Items": e.Items, "Received": "", "Paid": ""}
		row["Chinese"], row["English"] = codeNames(e.Code)
		row["Account"], row["Fund"] = accountNames(e.Counterparty)
		if e.Amount < 0 {
			row["Paid"] = SumOf(e.Amount).negated().Decimal(Scale)
		} else {
			row["Received"] = SumOf(e.Amount).Decimal(Scale)
		}
		var want bytes.Buffer
		require.NoError(t, slow.Execute(&want, row))
		require.Equal(t, want.String(), string(e.appendRow(nil, name, Scale)))
	})
}

// An element whose text is short and plain is the one that escaping would make.
func TestMarkupLikeXML(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[ -~]{1,12}`)).Draw(t, "text")
		x := document{s: testStatement(0)}
		x.text("Nm", text, 1_000)
		if text == "" {
			require.Error(t, x.err)
			return
		}
		var want bytes.Buffer
		require.NoError(t, xml.EscapeText(&want, []byte(points.Escaped(text))))
		require.Equal(t, "<Nm>"+want.String()+"</Nm>\n", string(x.dst))
	})
}

// The page says everything in Chinese too: the operator's accounts, that there is no cap, and
// why an item was not cleared; it lists the first hundred exceptions and says how many follow.
func TestPageInChinese(t *testing.T) {
	s := testStatement(0)
	s.Entries, s.Capped = nil, false
	for _, m := range tariff.Accounts() {
		s.Entries = append(s.Entries, Entry{Counterparty: m, Code: "ADJ", Amount: 1, Items: 1})
	}
	write := func(p Page) string {
		var page bytes.Buffer
		p.Statement = s
		require.NoError(t, WriteStatement(&page, &p))
		return page.String()
	}
	page := write(Page{})
	for _, says := range []string{
		"FEE 手续费账户 ", "VAT 增值税账户 ", "ROUND 尾差账户 ", "SUSPENSE 挂账账户 ", `可用额度 <span lang="en">Available after the cap</span></td><td class="n">不设上限`,
	} {
		require.Contains(t, page, says)
	}
	require.NotContains(t, page, "未清算")
	s.Capped = true
	require.NotContains(t, write(Page{}), "不设上限")

	exceptions := make([]Exception, 103)
	for i := range exceptions {
		exceptions[i] = Exception{ID: uint64(i + 1), Reason: "TOO_LATE", What: "it was told <late>", Raw: []byte("RDM\xff")}
	}
	page = write(Page{Exceptions: exceptions})
	require.Contains(t, page, `<tr><td>100</td><td><code>TOO_LATE</code> 发送三十天之后才通知，或所撤销的原交易属此情形：请调账，或不予处理 <span lang="en">it was told &lt;late&gt;</span>`)
	require.NotContains(t, page, "<td>101</td>")
	require.Contains(t, page, "另有 3 笔，见 EXC 文件")
	require.NotContains(t, write(Page{Exceptions: exceptions[:100]}), "另有")
	exceptions[102] = RestOfExceptions("TOO_LATE", 901, 40, "-7")
	page = write(Page{Exceptions: exceptions})
	require.Contains(t, page, "另有 42 笔，见 EXC 文件")
	require.Contains(t, write(Page{Exceptions: exceptions[102:]}), `<tr><td>&#43;40</td><td><code>TOO_LATE</code>`)
}
