package files

import (
	"bytes"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/netting"
	"github.com/lianfen/lianfen/tariff"
)

// The bank leg of the tests: who has which account.
const (
	payFile = "QZ_PAY_90000001_M_20260216_01_1of1.csv"
	pyiFile = "QZ_PYI_90000001_M_20260216_01_1of1.xml"
	pyoFile = "QZ_PYO_90000001_M_20260216_01_1of1.xml"
	netFile = "QZ_NET_90000001_M_20260216_01_1of1.csv"
	excFile = "QZ_EXC_90000001_M_20260216_01_1of1.csv"
)

func testAccounts() map[tariff.Member]Account {
	return map[tariff.Member]Account{
		10000001: {"PCBCCNBJXXX", "DE89370400440532013000"}, 10000002: {"CNAPS:102100099996", "0200001009000000001"},
		20000001: {"CNAPS:301290000007", "-31-06655"}, 30000001: {"ICBKCNBJ", "1"},
	}
}

// testNets are positions that come to zero. At a hundred points a yuan each 10,000 of them
// are a cent: 806.4934, 2.5, 12.3456, 812, 0.4999, 4.8 and 0.0389 of it.
func testNets() map[tariff.Member]points.Amount {
	return map[tariff.Member]points.Amount{
		10000001: -8_064_934, 10000002: 25_000, 10000003: -123_456, 20000001: 8_120_000, 30000001: -4_999,
		tariff.AccountFee: 48_000, tariff.AccountRound: 389,
	}
}

func testNames(m tariff.Member) string {
	return map[tariff.Member]string{10000001: "海港航空", 10000002: "茶舍 & \"Tea\"", 10000003: "轮渡", 20000001: "=East, Acquiring", 30000001: "西街超市"}[m]
}

// wholeRows are the rows of NET that the positions have, each against all others.
func wholeRows(nets map[tariff.Member]points.Amount) (rows []Position) {
	for _, m := range slices.Sorted(maps.Keys(nets)) {
		net := nets[m]
		rows = append(rows, Position{
			Run: "01JM8Q4Z6T3V5X7Y9A1B2C3D4E", Date: 20260216, Cycle: 1, SettlementDate: 20260224, Model: netting.MNET, Unit: Unit, Member: m, Items: 3,
			Pay: 70_000 + max(-net, 0), Receive: 70_000 + max(net, 0), Closing: net, Instruction: "20260216-01-" + m.String() + "-MNET",
		})
	}
	return rows
}

func testPayments(t testing.TB, price Price, nets map[tariff.Member]points.Amount) *Payments {
	t.Helper()
	p := &Payments{
		Price: price, Settlement: Account{"CNAPS:102100099996", "0200001009000000009"}, Operator: 90000001, Name: "联分 <lianfen>",
		Run: "01JM8Q4Z6T3V5X7Y9A1B2C3D4E", Date: 20260216, Cycle: 1, Settles: 20260224,
		Created: time.Date(2026, 2, 16, 23, 30, 0, 0, time.FixedZone("", 8*60*60)),
	}
	accounts := testAccounts()
	require.NoError(t, p.Pay(wholeRows(nets), func(m tariff.Member) (string, Account) { return testNames(m), accounts[m] }))
	return p
}

func yuan() Price { return Price{Currency: "CNY", Scale: 2, Num: 1, Den: 100} }

// testHouse is the operator's folder with its orders to the bank.
func testHouse(t testing.TB) memory {
	t.Helper()
	m := memory{}
	p := testPayments(t, yuan(), testNets())
	var net bytes.Buffer
	w := NewNet(&net, Scale)
	for _, row := range wholeRows(testNets()) {
		part := row // Each row of all is one part.
		part.Counterparty, part.Code, part.Instruction, part.Closing = 10000001, tariff.CodeADJ, "", 0
		if row.Member == 10000001 {
			part.Counterparty = 10000002
		}
		require.NoError(t, w.Write(&part))
		require.NoError(t, w.Write(&row))
	}
	_, err := w.Close([32]byte{1}, [32]byte{2})
	require.NoError(t, err)
	m[netFile], m[excFile] = &net, bytes.NewBuffer(AppendExceptions(nil, []Exception{p.Exception(&p.LeftOut()[0])}))
	m[payFile] = bytes.NewBuffer(p.AppendPayments(nil))
	for name, write := range map[string]func([]byte) ([]byte, error){pyiFile: p.AppendPayIns, pyoFile: p.AppendPayOuts} {
		text, err := write(nil)
		require.NoError(t, err)
		m[name] = bytes.NewBuffer(text)
	}
	return m
}

// The operator's folder, with the bytes that a bank gets and the list of what becomes of every
// position: worked out by
// hand above. What rounds to nothing and what has no account is in no order, and is listed.
func TestGoldenPayments(t *testing.T) {
	p := testPayments(t, yuan(), testNets())
	type paid struct {
		amount, rest points.Amount
		state        PaymentState
	}
	got := map[tariff.Member]paid{}
	for _, pay := range p.List {
		got[pay.Member] = paid{pay.Amount, pay.Rest, pay.State}
	}
	require.Equal(t, map[tariff.Member]paid{
		10000001: {-806, -4_934, PaymentOrdered}, 10000002: {2, 5_000, PaymentOrdered}, 10000003: {-12, -3_456, PaymentNoAccount},
		20000001: {812, 0, PaymentOrdered}, 30000001: {0, -4_999, PaymentZero},
		tariff.AccountFee: {5, -2_000, PaymentOwn}, tariff.AccountRound: {0, 389, PaymentOwn},
	}, got)
	require.Equal(t, PaymentTotals{
		Currency: "CNY", Scale: 2, Num: 1, Den: 100, Payers: 1, In: 806, Payees: 2, Out: 814, LeftOut: 1, LeftIn: 12, Own: 5, Rounding: -1,
	}, p.Totals)
	m := testHouse(t)
	for name := range m {
		path := filepath.Join("testdata", "bank", name)
		if *rewrite {
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o750))
			require.NoError(t, os.WriteFile(path, m[name].Bytes(), 0o600))
		}
		want, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, string(want), m[name].String(), name)
	}
}

// Halves go to the even unit, on both sides alike, in currencies of any decimals.
func TestMoneyRounds(t *testing.T) {
	for _, c := range []struct {
		price        Price
		net          points.Amount
		amount, rest points.Amount
	}{
		{yuan(), 5_000, 0, 5_000},
		{yuan(), 15_000, 2, -5_000},
		{yuan(), 25_000, 2, 5_000},
		{yuan(), -15_000, -2, 5_000},
		{yuan(), -25_000, -2, -5_000},
		{yuan(), 25_001, 3, -4_999},
		{Price{"JPY", 0, 3, 7}, 10_000, 0, 30_000},   // 3/7 of a yen, in parts of 70000
		{Price{"KWD", 3, 1, 1}, 123_456, 12_346, -4}, // 12.3456 dinars in fils
		{Price{"CNY", 2, 1, 3}, 999_999_999_999_999, 3_333_333_333_333, 99},
	} {
		amount, rest, ok := c.price.money(c.net)
		require.True(t, ok)
		num, den := c.price.ratio()
		require.Equal(t, []points.Amount{c.amount, c.rest}, []points.Amount{amount, rest}, "%v", c)
		require.Equal(t, int64(c.net)*int64(num), int64(amount)*int64(den)+int64(rest), "%v", c)
	}
	_, _, ok := (&Price{"CNY", 5, MaxPrice, 1}).money(1_000_000_000_000_000)
	require.False(t, ok, "more than eighteen digits")
}

// Whatever the positions and the price: each amount is the nearest to the exact one by another
// arithmetic, what comes in is what goes out but for the operator's share and a rounding of
// less than half a unit for each payment, and all that is booked of it is exact.
func TestPaymentsProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		price := Price{Currency: "CNY", Scale: rapid.IntRange(0, 5).Draw(t, "scale"), Num: rapid.Uint64Range(1, MaxPrice).Draw(t, "num"), Den: rapid.Uint64Range(1, MaxPrice).Draw(t, "den")}
		if rapid.Bool().Draw(t, "plain") {
			price.Num, price.Den = rapid.Uint64Range(1, 20).Draw(t, "few"), rapid.Uint64Range(1, 200).Draw(t, "parts")
		}
		nets := map[tariff.Member]points.Amount{}
		var sum points.Amount
		for i := range rapid.IntRange(1, 12).Draw(t, "members") {
			net := points.Amount(rapid.Int64Range(-60_000, 60_000).Draw(t, "net"))
			nets[tariff.Member(10000000+i)], sum = net, sum+net
		}
		nets[tariff.AccountFee] = -sum
		known := rapid.SliceOfN(rapid.Bool(), 12, 12).Draw(t, "known")
		p := &Payments{Price: price, Date: 20260216, Cycle: 1}
		err := p.Pay(wholeRows(nets), func(m tariff.Member) (string, Account) {
			if m.Institution() && known[m-10000000] {
				return "x", Account{"ICBKCNBJ", "1"}
			}
			return "x", Account{}
		})
		if points.ReasonOf(err) == points.BalanceOverflow {
			return
		}
		require.NoError(t, err)
		worked(t, p)
	})
}

// worked holds payments against big fractions, which share nothing with the code.
func worked(t require.TestingT, p *Payments) {
	ten := func(n int) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil) }
	unit := new(big.Rat).SetFrac(new(big.Int).Mul(new(big.Int).SetUint64(p.Price.Num), ten(p.Price.Scale)), new(big.Int).Mul(new(big.Int).SetUint64(p.Price.Den), ten(4)))
	half := big.NewRat(1, 2)
	var in, out, own, all int64
	for _, pay := range p.List {
		exact := new(big.Rat).Mul(unit, new(big.Rat).SetInt64(int64(pay.Net)))
		off := new(big.Rat).Sub(exact, new(big.Rat).SetInt64(int64(pay.Amount)))
		switch off.Abs(off).Cmp(half) {
		case 1:
			require.Fail(t, "further than half a unit", "%v: %v", pay, exact)
		case 0:
			require.Zero(t, pay.Amount%2, "%v: %v", pay, exact)
		}
		all += int64(pay.Amount)
		switch {
		case pay.State == PaymentOwn:
			own += int64(pay.Amount)
		case pay.State == PaymentOrdered && pay.Net < 0:
			in -= int64(pay.Amount)
		case pay.State == PaymentOrdered:
			out += int64(pay.Amount)
		default:
			require.True(t, pay.Amount == 0 || pay.Account == Account{})
		}
	}
	x := &p.Totals
	require.Equal(t, []int64{in, out, own}, []int64{int64(x.In), int64(x.Out), int64(x.Own)})
	require.Equal(t, x.Rounding, x.In+x.LeftIn-x.Out-x.LeftPaid-x.Own)
	require.Equal(t, -all, int64(x.Rounding))
	require.LessOrEqual(t, 2*max(x.Rounding, -x.Rounding), points.Amount(len(p.List)))
}

// Positions that do not sum to zero are paid to nobody.
func TestPaymentsOfWrongPositions(t *testing.T) {
	nets := testNets()
	nets[tariff.AccountRound]++
	p := &Payments{Price: yuan(), Date: 20260216, Cycle: 1}
	err := p.Pay(wholeRows(nets), func(tariff.Member) (string, Account) { return "", Account{} })
	require.ErrorContains(t, err, "positions do not sum to zero")
}

// An account is a bank that ISO 20022 can name and a number; an IBAN has its check digits.
func TestParseAccount(t *testing.T) {
	for _, good := range []Account{{"PCBCCNBJ", "6222020200112233445"}, {"PCBCCNBJXXX", "GB82WEST12345698765432"}, {"CNAPS:102100099996", "A-1"}} {
		is, err := ParseAccount(good.Bank, good.Number)
		require.NoError(t, err)
		require.Equal(t, good, is)
	}
	for _, bad := range []struct{ bank, number, says string }{
		{"PCBCCNB", "1", "want a BIC"},
		{"pcbccnbj", "1", "want a BIC"},
		{"CNAPS:", "1", "want a BIC"},
		{"TOOLONG:1", "1", "want a BIC"},
		{"PCBCCNBJ", "", "1 to 34"},
		{"PCBCCNBJ", "6222 0202", "1 to 34"},
		{"PCBCCNBJ", strings.Repeat("1", 35), "1 to 34"},
		{"PCBCCNBJ", "GB82WEST12345698765423", "check digits"},
		{"PCBCCNBJ", "GB82", "check digits"},
		{"PCBCCNBJ", "GB82west12345698765432", "check digits"},
	} {
		_, err := ParseAccount(bad.bank, bad.number)
		require.ErrorContains(t, err, bad.says, "%v", bad)
	}
	for _, price := range []Price{{"CNY", 2, 0, 1}, {"CNY", 2, 1, 0}, {"CNY", 2, MaxPrice + 1, 1}, {"CNY", 6, 1, 1}, {"CNY", -1, 1, 1}, {"cny", 2, 1, 1}, {"", 2, 1, 1}} {
		require.ErrorContains(t, price.Check(), "price of a standard point")
	}
	good := yuan()
	require.NoError(t, good.Check())
}

// The operator's folder proves itself: payments follow from positions, price and accounts.
func TestVerifyPayments(t *testing.T) {
	check := Check{Scale: Scale, Whole: true, House: true}
	r, err := Verify(testHouse(t).folder(), nil, check)
	require.NoError(t, err)
	require.Empty(t, r.Breaches)
	for _, c := range r.Files {
		if c.Name != excFile {
			require.Equal(t, ProofContent, c.Proof, c.Name)
		}
	}
	// Who is not paid is in no order: only the list says its name and account.
	unordered := func(at int) bool {
		for _, name := range []string{"轮渡", "西街超市", "ICBKCNBJ,1"} {
			from := bytes.Index(testHouse(t)[payFile].Bytes(), []byte(name))
			if at >= from && at < from+len(name) {
				return true
			}
		}
		return false
	}
	for _, name := range []string{payFile, pyiFile, pyoFile} {
		good := testHouse(t)
		for at := range good[name].Bytes() {
			if name == payFile && unordered(at) || name != payFile && at%5 != 0 { // A message is compared whole.
				continue
			}
			m := maps.Clone(good)
			text := bytes.Clone(good[name].Bytes())
			text[at] ^= 1
			m[name] = bytes.NewBuffer(text)
			r, err := Verify(m.folder(), nil, check)
			require.NoError(t, err)
			require.False(t, r.OK, "%s, byte %d: %q", name, at, text[max(0, at-20):min(len(text), at+20)])
		}
		delete(good, name)
		r, err := Verify(good.folder(), nil, check)
		require.NoError(t, err)
		require.False(t, r.OK, "without %s", name)
	}
}

// A payment of another amount, to another account, or one too many is named where it stands.
func TestVerifyPaymentsNames(t *testing.T) {
	for _, c := range []struct{ file, from, to, says string }{
		{pyiFile, ">8.06</IntrBk", ">8.07</IntrBk", "content"},
		{pyoFile, "0200001009000000001", "0200001009000000002", "content"},
		{payFile, ",1,100,-8.06,", ",1,99,-8.06,", "content"},
		{payFile, "CNAPS:301290000007", "301290000007", "want a BIC"},
		{payFile, "DE89", "DE88", "check digits"},
		{payFile, "run_id", "run", "columns of a PAY file"},
		{payFile, "#TOTAL", "TOTAL", "#TOTAL"},
		{payFile, ",100,", ",-100,", "whole numbers"},
		{payFile, "10000001,", "1000000x,", "1000000x"},
	} {
		m := testHouse(t)
		text := m[c.file].String()
		require.Contains(t, text, c.from)
		m[c.file] = bytes.NewBufferString(strings.Replace(text, c.from, c.to, 1))
		r, err := Verify(m.folder(), nil, Check{Scale: Scale, Whole: true, House: true})
		require.NoError(t, err)
		require.NotEmpty(t, r.Breaches)
		require.Contains(t, r.Breaches[0].Error(), c.says, "%v", c)
	}
}

// What ISO 20022 cannot carry is refused: a name that is too long or none, a total beyond
// eighteen digits.
func TestPaymentsRefused(t *testing.T) {
	p := testPayments(t, yuan(), testNets())
	for says, change := range map[string]func(){
		"Nm \"\" has 0":  func() { p.List[0].Name = "" },
		"want 1 to 140":  func() { p.List[0].Name = strings.Repeat("x", 141) },
		"CtrlSum":        func() { p.Totals.In = isoAmountMost + 1 },
		"payments of 90": func() { p.Price.Currency = "YUAN" },
	} {
		p = testPayments(t, yuan(), testNets())
		change()
		_, err := p.AppendPayIns(nil)
		require.ErrorContains(t, err, says)
	}
}

// Orders to the bank are valid by the schema in testdata/xsd, which refuses what ISO 20022's
// refuses: order, what has to be there, lengths, digits, codes and patterns.
func TestXmllintPayments(t *testing.T) {
	lint := tool(t, "xmllint", "libxml2-utils")
	schema, err := filepath.Abs("testdata/xsd/pacs.009.001.08.xsd")
	require.NoError(t, err)
	_, err = os.ReadFile(schema) // So that a change of it is one of the test.
	require.NoError(t, err)
	dir := t.TempDir()
	validate := func(text string) (string, error) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "pay.xml"), []byte(text), 0o600))
		return run1(t, dir, "", lint, "--nonet", "--noout", "--schema", schema, "pay.xml")
	}
	m := testHouse(t)
	for _, name := range []string{pyiFile, pyoFile} {
		out, err := validate(m[name].String())
		require.NoError(t, err, out)
	}
	ins, outs := m[pyiFile].String(), m[pyoFile].String()
	long := strings.Repeat("x", 36)
	for _, c := range []struct{ text, from, to string }{
		{ins, "pacs.009", "pacs.008"},
		{ins, "<GrpHdr>", "<GrpHdr><Lianfen/>"},
		{ins, "<MsgId>PI-20260216-01-90000001", "<MsgId>" + long},
		{ins, "<NbOfTxs>1<", "<NbOfTxs>one<"},
		{ins, "Ccy=\"CNY\"", "Ccy=\"cny\""},
		{ins, "<IntrBkSttlmDt>2026-02-24", "<IntrBkSttlmDt>2026-02-30"},
		{ins, ">INDA<", ">INDX<"},
		{ins, "<EndToEndId>20260216-01-10000001-MNET</EndToEndId>", ""},
		{ins, ">8.06</IntrBkSttlmAmt>", ">-8.06</IntrBkSttlmAmt>"},
		{ins, ">8.06</IntrBkSttlmAmt>", ">8.063421</IntrBkSttlmAmt>"},
		{ins, ">8.06</IntrBkSttlmAmt>", ">1234567890123456789</IntrBkSttlmAmt>"},
		{ins, "<BICFI>PCBCCNBJXXX", "<BICFI>PCBCCNBJXX"},
		{ins, "<IBAN>DE89", "<IBAN>de89"},
		{ins, "<Cd>CNAPS", "<Cd>CNAPSX"},
		{ins, "<Nm>海港航空", "<Nm>" + strings.Repeat("x", 141)},
		{ins, "<DbtrAcct>", "<DbtrAcct><Ccy>CNY</Ccy>"},
		{ins, "<RmtInf>", "<Purp/><RmtInf>"},
		{ins, "<Ustrd>", "<Ustrd>" + strings.Repeat("x", 140)},
		{ins, "</FICdtTrf>", "<SplmtryData/></FICdtTrf>"},
		{outs, "<MmbId>301290000007", "<MmbId>" + long},
		{outs, "<Id>0200001009000000001", "<Id>" + long},
	} {
		require.Contains(t, c.text, c.from)
		out, err := validate(strings.Replace(c.text, c.from, c.to, 1))
		require.Error(t, err, "%s: %s", c.to, out)
	}
}
