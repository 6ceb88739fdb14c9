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
	slow := template.Must(template.New("row").Parse("\n" + `<tr><td>{{.Counterparty}}{{with .Name}} {{.}}{{end}}</td><td>{{.Code}} {{.Chinese}} <span lang="en">{{.English}}</span>` +
		`{{with .Info}}<br><code>{{.}}</code>{{end}}</td><td class="n">{{.Items}}</td><td class="n">{{.Received}}</td><td class="n">{{.Paid}}</td></tr>`))
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringMatching(`[ -~]{0,12}`))
		e := Entry{
			Counterparty: tariff.Member(rapid.Uint32Range(0, uint32(tariff.AccountSuspense)).Draw(t, "counterparty")),
			Code:         rapid.OneOf(rapid.SampledFrom([]string{"RDM", "ICF", "RND"}), text).Draw(t, "code"),
			Amount:       points.Amount(rapid.Int64().Draw(t, "amount")), Items: rapid.Uint64().Draw(t, "items"), Info: text.Draw(t, "info"),
		}
		name := text.Draw(t, "name")
		row := map[string]any{"Counterparty": e.Counterparty.String(), "Name": points.Escaped(name), "Code": e.Code, "Info": points.Escaped(e.Info), "Items": e.Items, "Received": "", "Paid": ""}
		row["Chinese"], row["English"] = codeNames(e.Code)
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
