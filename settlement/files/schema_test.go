package files

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What ISO 20022's published schemas refuse of the elements that are written here, those in
// testdata/xsd refuse: order, what has to be there, how often it may, lengths, digits,
// codes and patterns. Each change is made to a statement and notification that are valid.
func TestSchemasRefuse(t *testing.T) {
	lint := tool(t, "xmllint", "libxml2-utils")
	long := func(n int) string { return strings.Repeat("x", n) }
	changes := map[string][2]string{
		"another namespace":        {"camt.05", "camt.15"},
		"an element of ours":       {"<GrpHdr>", "<GrpHdr><Lianfen/>"},
		"no MsgId":                 {"<MsgId>ST-20260216-01-10000001</MsgId>", ""},
		"a long MsgId":             {"<MsgId>ST-20260216-01-10000001</MsgId>", "<MsgId>" + long(36) + "</MsgId>"},
		"an empty MsgId":           {"<MsgId>ST-20260216-01-10000001</MsgId>", "<MsgId></MsgId>"},
		"no time":                  {"<CreDtTm>2026-02-16T23:00:00+08:00</CreDtTm>\n  </GrpHdr>", "</GrpHdr>"},
		"a day as a time":          {"<CreDtTm>2026-02-16T23:00:00+08:00", "<CreDtTm>2026-02-16"},
		"a day that is none":       {"<Dt>2026-02-16</Dt>", "<Dt>2026-02-30</Dt>"},
		"a sequence with decimals": {"<ElctrncSeqNb>48<", "<ElctrncSeqNb>48.5<"},
		"a sequence too long":      {"<ElctrncSeqNb>48<", "<ElctrncSeqNb>1234567890123456789<"},
		"sequences out of order":   {"<ElctrncSeqNb>48</ElctrncSeqNb>\n   <LglSeqNb>48</LglSeqNb>", "<LglSeqNb>48</LglSeqNb><ElctrncSeqNb>48</ElctrncSeqNb>"},
		"half a period":            {"<ToDtTm>2026-02-16T23:00:00+08:00</ToDtTm>", ""},
		"an account twice":         {"   <Acct>", "<Acct><Id><Othr><Id>x</Id></Othr></Id></Acct>\n   <Acct>"},
		"a long account":           {"<Id>CLR-10000001</Id>", "<Id>" + long(35) + "</Id>"},
		"an account without Id":    {"<Othr>\n      <Id>CLR-10000001</Id>\n     </Othr>", ""},
		"small letters":            {"<Ccy>QZP</Ccy>", "<Ccy>qzp</Ccy>"},
		"four letters":             {"<Ccy>QZP</Ccy>", "<Ccy>QZPX</Ccy>"},
		"a long name":              {"<Nm>山海银行 &amp; Partners</Nm>", "<Nm>" + long(141) + "</Nm>"},
		"an entry without amount":  {"<Amt Ccy=\"QZP\">2.7261</Amt>\n    <CdtDbtInd>", "<CdtDbtInd>"},
		"an amount below zero":     {"<Amt Ccy=\"QZP\">2.7261<", "<Amt Ccy=\"QZP\">-2.7261<"},
		"six decimals":             {"<Amt Ccy=\"QZP\">2.7261<", "<Amt Ccy=\"QZP\">2.726123<"},
		"nineteen digits":          {"<Amt Ccy=\"QZP\">2.7261<", "<Amt Ccy=\"QZP\">1234567890123456789<"},
		"an amount without a unit": {"<Amt Ccy=\"QZP\">2.7261<", "<Amt>2.7261<"},
		"an amount with a comma":   {"<Amt Ccy=\"QZP\">2.7261<", "<Amt Ccy=\"QZP\">2,7261<"},
		"an exponent":              {"<Amt Ccy=\"QZP\">2.7261<", "<Amt Ccy=\"QZP\">2E4<"},
		"a side that is none":      {"<CdtDbtInd>DBIT<", "<CdtDbtInd>DEBT<"},
		"a reversal that is maybe": {"<RvslInd>false<", "<RvslInd>maybe<"},
		"no status":                {"<Sts>\n     <Cd>BOOK</Cd>\n    </Sts>", ""},
		"a status too long":        {"<Cd>BOOK</Cd>", "<Cd>BOOKED</Cd>"},
		"a date without a choice":  {"<BookgDt>\n     <Dt>2026-02-16</Dt>\n    </BookgDt>", "<BookgDt>2026-02-16</BookgDt>"},
		"dates out of order":       {"<BookgDt>\n     <Dt>2026-02-16</Dt>\n    </BookgDt>\n    <ValDt>\n     <Dt>2026-02-24</Dt>\n    </ValDt>", "<ValDt><Dt>2026-02-24</Dt></ValDt><BookgDt><Dt>2026-02-16</Dt></BookgDt>"},
		"no code":                  {"<BkTxCd>\n     <Prtry>\n      <Cd>ADJ</Cd>\n      <Issr>PTSCLR</Issr>\n     </Prtry>\n    </BkTxCd>", ""},
		"a code without itself":    {"<Cd>ADJ</Cd>\n      <Issr>", "<Issr>"},
		"an issuer too long":       {"<Issr>PTSCLR<", "<Issr>" + long(36) + "<"},
		"a batch of letters":       {"<NbOfTxs>9<", "<NbOfTxs>nine<"},
		"a batch of minus one":     {"<NbOfTxs>9<", "<NbOfTxs>-1<"},
		"a batch beyond 15 digits": {"<NbOfTxs>9<", "<NbOfTxs>1234567890123456<"},
		"a total below zero":       {"<TtlNetNtry>\n      <Amt>", "<TtlNetNtry>\n      <Amt>-"},
		"a net total of no side":   {"</Amt>\n      <CdtDbtInd>DBIT</CdtDbtInd>\n     </TtlNetNtry>", "</Amt></TtlNetNtry>"},
		"text behind the entries":  {"  </Ntry>\n  </", "  </Ntry>\n<Sum>1</Sum>  </"},
	}
	statement := map[string][2]string{
		"no balance":              {"<Bal>", "<Ball>"},
		"a balance of no kind":    {"<Cd>CLAV</Cd>", "<Cd>XXXX</Cd>"},
		"a balance without date":  {"<Dt>\n     <Dt>2026-02-16</Dt>\n    </Dt>\n   </Bal>", "</Bal>"},
		"totals before balances":  {"   <Bal>", "<TxsSummry/>\n   <Bal>"},
		"a rate of twelve digits": {"<XchgRate>0.0035000000<", "<XchgRate>123456789012<"},
		"eleven decimals":         {"<XchgRate>0.0035000000<", "<XchgRate>0.00350000001<"},
		"an exchange of nothing":  {"<SrcCcy>XPA</SrcCcy>", ""},
		"a long contract":         {"<CtrctId>3<", "<CtrctId>" + long(36) + "<"},
		"a long remark":           {"<AddtlNtryInf>PTS901", "<AddtlNtryInf>" + long(500)},
	}
	figure, ok := testDayNet(t).Amount()
	require.True(t, ok)
	s := testStatement(figure) // With an entry of one rate.
	notice := *s
	notice.Entries = s.Entries[len(s.Entries)-1:]
	stm, err := AppendStatement(nil, s)
	require.NoError(t, err)
	ntf, err := AppendNotification(nil, &notice)
	require.NoError(t, err)
	texts := map[string][]byte{"QZ_STM_10000001_M_20260216_01_1of1.xml": stm, "QZ_NTF_10000001_M_20260216_01_1of1.xml": ntf}
	check := func(name, schema string, changes map[string][2]string) {
		schema, err := filepath.Abs(filepath.Join("testdata/xsd", schema))
		require.NoError(t, err)
		for _, read := range []string{schema, filepath.Join(filepath.Dir(schema), "entries.xsd")} {
			_, err := os.ReadFile(read) // So that a change of it is one of the test.
			require.NoError(t, err)
		}
		dir := t.TempDir()
		valid := texts[name]
		for what, change := range changes {
			from := change[0]
			if strings.HasPrefix(name, "QZ_NTF") {
				from = strings.ReplaceAll(from, "ST-2026", "NT-2026")
			}
			require.Contains(t, string(valid), from, "%s: %s", name, what)
			require.NoError(t, os.WriteFile(filepath.Join(dir, "changed.xml"), []byte(strings.Replace(string(valid), from, change[1], 1)), 0o600))
			out, err := run1(t, dir, "", lint, "--nonet", "--noout", "--schema", schema, "changed.xml")
			require.Error(t, err, "%s: %s: %s", name, what, out)
		}
	}
	check("QZ_STM_10000001_M_20260216_01_1of1.xml", "camt.053.001.08.xsd", changes)
	check("QZ_STM_10000001_M_20260216_01_1of1.xml", "camt.053.001.08.xsd", statement)
	check("QZ_NTF_10000001_M_20260216_01_1of1.xml", "camt.054.001.08.xsd", changes)
}
