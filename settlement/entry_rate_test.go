package settlement_test

import (
	"bytes"
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/settlement"
	"github.com/lianfen/lianfen/settlement/files"
)

// exchanged is what a statement says of an entry's points.
type exchanged struct {
	Reference string `xml:"NtryRef"`
	Amount    string `xml:"AmtDtls>CntrValAmt>Amt"`
	Source    string `xml:"AmtDtls>CntrValAmt>CcyXchg>SrcCcy"`
	Target    string `xml:"AmtDtls>CntrValAmt>CcyXchg>TrgtCcy"`
	Rate      string `xml:"AmtDtls>CntrValAmt>CcyXchg>XchgRate"`
	Version   string `xml:"AmtDtls>CntrValAmt>CcyXchg>CtrctId"`
	Info      string `xml:"AddtlNtryInf"`
}

func statementOf(t *testing.T, member string) map[string]exchanged {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "story", member, "QZ_STM_"+member+"_M_20260302_01_1of1.xml"))
	require.NoError(t, err)
	var s struct {
		Entries []exchanged `xml:"BkToCstmrStmt>Stmt>Ntry"`
	}
	require.NoError(t, xml.Unmarshal(text, &s))
	all := map[string]exchanged{}
	for _, e := range s.Entries {
		all[e.Reference] = e
	}
	return all
}

// The statement of the golden day says of an entry of one programme at one rate how many
// points it was of and at which rate, and of an entry of several nothing.
func TestStatementRates(t *testing.T) {
	cafe := statementOf(t, "20000001")
	stars := cafe["EAR-10000002-2"] // 25007 stars of two decimals at 81/2 units of four: 0.405 a whole one
	require.Equal(t, [...]string{"250.07", "QUC", "QZP", "0.4050000000", "1"}, [...]string{stars.Amount, stars.Source, stars.Target, stars.Rate, stars.Version})
	require.Equal(t, "000902 -250.07, 81/2 of the smallest units, rate version 1", stars.Info)
	back := cafe["RVS-10000001-2"] // miles of no decimals, all of the same morning
	require.Equal(t, [...]string{"138", "QUB", "0.4115666667"}, [...]string{back.Amount, back.Source, back.Rate})
	require.Contains(t, cafe, "RDM-10000001-2")
	sold := cafe["RDM-10000001-2"] // before and behind noon, at two rates
	require.Empty(t, sold.Amount+sold.Source+sold.Info)
	require.Empty(t, cafe["ICF-10000001-2"].Source, "a fee has no points")
	// The issuer of the same says the same, with the other sign.
	tea := statementOf(t, "10000002")["EAR-20000001-2"]
	require.Equal(t, stars.Amount, tea.Amount)
	require.Equal(t, "000902 250.07, 81/2 of the smallest units, rate version 1", tea.Info)
}

// verify computes the rates of a statement again: another number of points, rate or version is
// found, and one that was left out.
func TestVerifyFindsRates(t *testing.T) {
	const member, statement = "20000001", "QZ_STM_20000001_M_20260302_01_1of1.xml"
	set := fstest.MapFS{}
	entries, err := os.ReadDir(filepath.Join("testdata", "story", member))
	require.NoError(t, err)
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join("testdata", "story", member, e.Name()))
		require.NoError(t, err)
		if e.Name() != files.SumsName && e.Name() != files.SignatureName { // Digests would find everything.
			set[e.Name()] = &fstest.MapFile{Data: text}
		}
	}
	valid := set[statement].Data
	report, err := files.Verify(set, nil, files.Check{Scale: settlement.Scale})
	require.NoError(t, err)
	require.Empty(t, report.Breaches)
	for _, change := range [][2]string{
		{`<Amt Ccy="QUC">250.07<`, `<Amt Ccy="QUC">250.08<`},
		{`<SrcCcy>QUC<`, `<SrcCcy>QUD<`},
		{`<XchgRate>0.4050000000<`, `<XchgRate>0.4060000000<`},
		{`<CtrctId>1<`, `<CtrctId>2<`},
		{`81/2 of`, `81/3 of`},
		{valueOf(t, valid), ""},
	} {
		require.Contains(t, string(valid), change[0])
		set[statement] = &fstest.MapFile{Data: []byte(strings.Replace(string(valid), change[0], change[1], 1))}
		report, err := files.Verify(set, nil, files.Check{Scale: settlement.Scale})
		require.NoError(t, err)
		require.NotEmpty(t, report.Breaches, change)
		require.Equal(t, statement, report.Breaches[0].File, change)
	}
}

// valueOf is the first block of an entry that says what it was in points.
func valueOf(t *testing.T, statement []byte) string {
	t.Helper()
	_, behind, found := bytes.Cut(statement, []byte("    <AmtDtls>\n"))
	require.True(t, found)
	block, _, found := bytes.Cut(behind, []byte("    </AmtDtls>\n"))
	require.True(t, found)
	return "    <AmtDtls>\n" + string(block) + "    </AmtDtls>\n"
}
