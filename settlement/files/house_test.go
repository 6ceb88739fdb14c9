package files

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/netting"
	"github.com/lianfen/lianfen/tariff"
)

// The members of the tests' day: us, an issuer elsewhere, an acquirer elsewhere.
const (
	operator tariff.Member = 90000000
	us       tariff.Member = 10000001
	other    tariff.Member = 10000002
	third    tariff.Member = 10000003
)

// memory is a run's folder.
type memory map[string]*bytes.Buffer

type kept struct{ *bytes.Buffer }

func (kept) Close() error { return nil }

func (m memory) create(name string) (io.WriteCloser, error) {
	m[name] = new(bytes.Buffer)
	return kept{m[name]}, nil
}

// folder is what Verify reads.
func (m memory) folder() fstest.MapFS {
	fs := fstest.MapFS{}
	for name, b := range m {
		fs[name] = &fstest.MapFile{Data: bytes.Clone(b.Bytes())}
	}
	return fs
}

func fill(dst []byte, s string) {
	for i := range dst {
		dst[i] = ' '
	}
	copy(dst, s)
}

func testHeader(role Role) Header {
	h := Header{Date: 20260216, Cycle: 1, Operator: operator, Receiver: us, Role: role, Created: 20260216233500, Scale: 4, Mode: Test}
	fill(h.Zone[:], "+0800")
	fill(h.Run[:], "01JM8Q4Z6T3V5X7Y9A1B2C3D4E")
	fill(h.Unit[:], "QZP")
	return h
}

// item is one line of the tests' day, and its merchant.
type item struct {
	Line
	merchant string
}

// basic is a redemption of 123.45 points of another issuer at us.
func basic(id uint64) Line {
	l := Line{
		ID: id, Kind: tariff.KindRDM, Acquirer: us, Forwarder: us, Issuer: other, STAN: points.STAN(id % 1_000_000),
		Transmitted: 20260216101500, Local: 20260216101459, MTI: 200, Processing: 0, EntryMode: 51, Condition: 0, Category: 5411,
		AssetScale: 2, Amount: 12345, RateVersion: 3, Num: 7, Den: 20,
	}
	fill(l.RRN[:], "000000000042")
	fill(l.Auth[:], "A1B2C3")
	fill(l.Terminal[:], "T0000001")
	fill(l.Merchant[:], "104440154110001")
	fill(l.Account[:], "622848******1234")
	fill(l.Asset[:], "PTS901")
	fill(l.Response[:], "00")
	return price(l)
}

// price sets std and net from the other fields, as an acquirer's or issuer's line has them.
func price(l Line) Line {
	l.Std, _ = tariff.HalfEven(l.Amount, l.Num, l.Den)
	l.Net = l.Std + l.Interchange + l.SwitchFee + l.VAT + l.Other
	return l
}

func with(l Line, change func(*Line)) Line {
	change(&l)
	return price(l)
}

// acquired are our items as an acquirer: one of every kind and case that clears.
func acquired() []item {
	fees := func(l *Line) { l.Interchange, l.SwitchFee, l.VAT, l.Other = -13, -20, -1, -2 }
	undo := func(kind tariff.Kind, date points.BusinessDate, original uint64) func(*Line) {
		return func(l *Line) {
			l.Kind, l.OriginalDate, l.Original, l.MTI = kind, date, original, 420
			l.Amount = -l.Amount
			l.Interchange, l.SwitchFee, l.VAT, l.Other = 13, 20, 1, 2
		}
	}
	onus := basic(103)
	onus.Issuer, onus.Std, onus.SwitchFee, onus.VAT = us, 0, -20, -1
	onus.Net = -21
	adjusted := with(basic(111), func(l *Line) {
		l.Kind, l.Amount, l.Num, l.Den, l.RateVersion, l.AssetScale = tariff.KindADJ, -777, 1, 1, 0, 4
		fill(l.Asset[:], "QZP")
	})
	charged := adjusted
	charged.ID, charged.Kind, charged.Amount, charged.Std, charged.Other, charged.Net = 112, tariff.KindFEE, -500, 0, -500, -500
	return []item{
		{with(basic(101), fees), "喜茶（南山店）"},
		{with(basic(102), func(l *Line) { l.Kind, l.Amount = tariff.KindEAR, -50000; l.Interchange = 9 }), `=cmd|' /C calc'!A0`},
		{onus, `Café "Zur Post", Wien`},
		{with(basic(104), undo(tariff.KindRVS, 20260216, 101)), "喜茶（南山店）"}, // the original's date is open
		{with(basic(105), undo(tariff.KindRVS, 20260214, 17)), "喜茶（南山店）"},  // it is closed
		{with(basic(106), undo(tariff.KindRFD, 20260210, 5)), "-1+2"},      // refund
		{with(basic(107), undo(tariff.KindCBK, 20260102, 3)), "西西弗书店"},     // chargeback
		{with(basic(108), func(l *Line) {
			fees(l)
			l.Kind, l.OriginalDate, l.Original, l.Flags = tariff.KindREP, 20260102, 3, FlagRepresented
		}), "西西弗书店"},
		{with(basic(109), func(l *Line) { fees(l); l.Flags, l.MTI, l.Local = FlagLate|FlagStandIn, 220, 20260212090000 }), "a,b"},
		{with(basic(110), func(l *Line) { l.Flags, l.Amount, l.Num, l.Den = FlagManual, 1, 1, 2 }), ""}, // half a unit: to the even one, 0
		{adjusted, ""},
		{charged, ""},
	}
}

// issued are our items as an issuer.
func issued() []item {
	swap := with(basic(202), func(l *Line) { l.Kind, l.Acquirer, l.Amount = tariff.KindSWP, third, -100_000 })
	swap.Std, swap.SwitchFee, swap.VAT, swap.Other = -34_900, -94, -5, -1 // worth, spread, VAT, rounding: 35000 in all
	back := swap
	back.ID, back.Kind, back.Amount, back.Original, back.OriginalDate = 203, tariff.KindRVS, 100_000, 202, 20260216
	back.Std, back.SwitchFee, back.VAT, back.Other, back.Net = 34_900, 94, 5, 1, 35_000
	return []item{
		{with(basic(201), func(l *Line) { l.Acquirer, l.Issuer, l.Amount, l.Interchange = third, us, -12345, 13 }), "瑞幸咖啡"},
		{with2(swap, us), ""},
		{with2(back, us), ""},
	}
}

func with2(l Line, issuer tariff.Member) Line { l.Issuer = issuer; return l }

// granted are our items as the target of swaps: 249 points at 7/20 are worth 87.15, so 87.
func granted() []item {
	l := basic(301)
	l.Kind, l.Issuer, l.Acquirer, l.Amount, l.Std, l.Net = tariff.KindSWP, other, third, 249, 87, 87
	return []item{{l, ""}}
}

func detail(t *testing.T, m memory, role Role, items []item) ([]Output, Sum) {
	t.Helper()
	w, err := NewDetail(testHeader(role), uint64(len(items)), true, m.create)
	require.NoError(t, err)
	for i := range items {
		require.NoError(t, w.Write(&items[i].Line, items[i].merchant))
	}
	outputs, err := w.Close()
	require.NoError(t, err)
	return outputs, w.Net()
}

func testSigner(t *testing.T) ssh.Signer {
	t.Helper()
	signer, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize)))
	require.NoError(t, err)
	return signer
}

func testStatement(net points.Amount) *Statement {
	zone := time.FixedZone("", 8*3600)
	at := func(day, hour int) time.Time { return time.Date(2026, 2, day, hour, 0, 0, 0, zone) }
	s := &Statement{
		Operator: "联分清算 <lianfen>", Member: us, Name: "山海银行 & Partners", Unit: "QZP", Scale: 4, Date: 20260216, Cycle: 1, SettlementDate: 20260224,
		Sequence: 48, Created: at(16, 23), From: at(15, 23), To: at(16, 23), Opening: -10_000, Capped: true, Available: 5_000_000,
		Entries: []Entry{
			{
				Counterparty: other, Code: "RDM", Amount: 4321, Instruction: "QZP-20260216-01-10000001", Items: 2, Detail: "DET-10000001-A-20260216-01",
				Rate: &EntryRate{Program: "PTS901", Currency: "XPA", Scale: 2, Amount: 12345, Version: 3, Num: 7, Den: 20},
			},
			{Counterparty: other, Code: "ICF", Amount: -13, Items: 2},
			{Counterparty: third, Code: "RVS", Amount: -4321, Reversal: true, Items: 1, Info: `reversed: "originals" of 2026-02-14 <see DET>; 原交易`},
			{Counterparty: tariff.AccountFee, Code: "SWF", Amount: -21, Items: 3},
		},
	}
	rest := net
	for _, e := range s.Entries {
		rest -= e.Amount
	}
	s.Entries = append(s.Entries, Entry{Counterparty: third, Code: "ADJ", Amount: rest, Items: 9})
	s.Closing = s.Opening + net
	return s
}

// testPositions are ours and the others', which pay what we receive.
func testPositions(net points.Amount) []Position {
	row := Position{
		Run: "01JM8Q4Z6T3V5X7Y9A1B2C3D4E", Date: 20260216, Cycle: 1, SettlementDate: 20260224, Model: netting.MNET, Unit: "QZP", Member: us,
		Items: 16, Pay: 200_000, Receive: 200_000 + net, Opening: -10_000, Closing: -10_000 + net, Cover: 8_000_000, Capped: true, Cap: 5_000_000, Headroom: 5_000_000 - 10_000 + net,
		Instruction: "QZP-20260216-01-10000001",
	}
	pair := row
	pair.Counterparty, pair.Code, pair.Instruction = other, tariff.CodeRDM, ""
	theirs := row
	theirs.Member, theirs.Pay, theirs.Receive, theirs.Instruction = other, row.Receive, row.Pay, "QZP-20260216-01-10000002"
	return []Position{pair, row, theirs}
}

// testCleared is the statement of the day: its entries are the rows of the day's NET.
func testCleared(net points.Amount) *Statement {
	s := testStatement(net)
	for i := range s.Entries {
		e := &s.Entries[i]
		e.Rate, e.Info, e.Detail, e.Instruction = nil, "", "", "QZP-20260216-01-10000001"
	}
	s.Available = s.Closing + 5_000_000
	return s
}

// testRows are the NET rows of a statement: ours, and those of everybody who owes us.
func testRows(s *Statement) []Position {
	whole := testPositions(0)[1]
	whole.Pay, whole.Receive = 0, 0
	var rows []Position
	for _, e := range s.Entries {
		row := whole
		row.Counterparty, row.Items, row.Instruction = e.Counterparty, e.Items, ""
		if err := row.Code.UnmarshalText([]byte(e.Code)); err != nil {
			panic(err)
		}
		row.Pay, row.Receive = max(-e.Amount, 0), max(e.Amount, 0)
		whole.Pay, whole.Receive = whole.Pay+row.Pay, whole.Receive+row.Receive
		rows = append(rows, row)
	}
	whole.Closing = whole.Opening + whole.Receive - whole.Pay
	whole.Headroom = whole.Cap + min(whole.Closing, 0)
	theirs := whole
	theirs.Member, theirs.Pay, theirs.Receive, theirs.Closing, theirs.Instruction = other, whole.Receive, whole.Pay, 0, "QZP-20260216-01-10000002"
	return append(rows, whole, theirs)
}

// testNotices are what the day's detail files have of chargebacks, adjustments and fees.
func testNotices() []Entry {
	notice := func(id uint64, kind, code string, amount points.Amount, of string) Entry {
		return Entry{
			Item: id, Code: code, Amount: amount, Items: 1, Reversal: kind == "CBK", Instruction: "QZP-20260216-01-10000001",
			Detail: "DET-10000001-A-20260216-01", Info: fmt.Sprintf("%s, clearing id %d%s", kind, id, of),
		}
	}
	disputed := func(e Entry, amount points.Amount) Entry {
		e.Rate = &EntryRate{Program: "PTS901", Scale: 2, Amount: amount, Version: 3, Num: 7, Den: 20}
		return e
	}
	return []Entry{
		disputed(notice(107, "CBK", "CBK", -4321, ", of clearing id 3 of 2026-01-02"), -12345), disputed(notice(108, "REP", "CBK", 4321, ", of clearing id 3 of 2026-01-02"), 12345),
		notice(111, "ADJ", "ADJ", -777, ""), notice(112, "FEE", "OTH", -500, ""),
	}
}

// testDay is a member's whole set, signed.
func testDay(t *testing.T) memory {
	t.Helper()
	m := memory{}
	var outputs []Output
	var net Sum
	for role, items := range map[Role][]item{RoleAcquirer: acquired(), RoleIssuer: issued(), RoleSwapTarget: granted()} {
		files, sum := detail(t, m, role, items)
		outputs, net = append(outputs, files...), net.Add(sum)
	}
	figure, ok := net.Amount()
	require.True(t, ok)
	put := func(name string, text []byte, rows int) {
		m[name] = bytes.NewBuffer(text)
		outputs = append(outputs, Output{Name: name, Digest: sha256.Sum256(text), Size: int64(len(text)), Lines: uint64(rows)})
	}

	s := testCleared(figure)
	var copyForOperator bytes.Buffer
	w := NewNet(&copyForOperator, 4)
	rows := testRows(s)
	for i := range rows {
		require.NoError(t, w.Write(&rows[i]))
	}
	total, err := w.Close(sha256.Sum256([]byte("inputs")), sha256.Sum256([]byte("rates")))
	require.NoError(t, err)
	ours, err := AppendNetCopy(nil, rows[:len(rows)-1], &total, 4)
	require.NoError(t, err)
	put(WholeName(NET, us, 20260216, 1, "csv").String(), ours, len(rows)-1)

	text, err := AppendStatement(nil, s)
	require.NoError(t, err)
	put(WholeName(STM, us, 20260216, 1, "xml").String(), text, 0)
	adjusted := *s
	adjusted.Entries = testNotices()
	text, err = AppendNotification(nil, &adjusted)
	require.NoError(t, err)
	put(WholeName(NTF, us, 20260216, 1, "xml").String(), text, 0)
	exceptions := []Exception{
		{Source: "journal", ID: 990, Reason: "TOO_LATE", What: "the advice is of 2026-01-02, more than 30 days ago"},
		{Source: "journal", ID: 991, Reason: "NO_ORIGINAL", What: "refund without an original"},
		{Source: "ACQ_20260216.txt", Line: 17, Reason: "FORMAT", What: "column 4: not a digit, 第四列", Raw: []byte("TX,\xff\x00\"退货\"\r\n")},
	}
	put(WholeName(EXC, us, 20260216, 1, "csv").String(), AppendExceptions(nil, exceptions), 3)
	put(JournalName, AppendJournal(nil, s), 0)
	var page bytes.Buffer
	var merchant points.MerchantID
	fill(merchant[:], "104440154110001")
	require.NoError(t, WriteStatement(&page, &Page{
		Statement: s, Exceptions: exceptions, Names: map[tariff.Member]string{other: "云上航空 <Cloud Air>", third: "万家超市"},
		Merchants: []MerchantTotal{{merchant, "喜茶（南山店）<script>", 16, figure}}, Files: outputs,
	}))
	put(StatementName, page.Bytes(), 0)
	m.sign(t)
	return m
}

// sign makes SHA256SUMS and its signature of what there is.
func (m memory) sign(t *testing.T) {
	t.Helper()
	delete(m, SumsName)
	delete(m, SignatureName)
	var outputs []Output
	for name, text := range m {
		outputs = append(outputs, Output{Name: name, Digest: sha256.Sum256(text.Bytes())})
	}
	sums := AppendSums(nil, outputs)
	signature, err := Sign(sums, testSigner(t))
	require.NoError(t, err)
	m[SumsName], m[SignatureName] = bytes.NewBuffer(sums), bytes.NewBuffer(signature)
}

// resealed puts the right digests into the trailer of a detail file that was changed, so
// that what is left to find is what the change means.
func resealed(text []byte) []byte {
	at := bytes.LastIndex(text, []byte("TR "))
	digest := sha256.Sum256(text[:at])
	return append(bytes.Clone(text[:at+171]), hex.EncodeToString(digest[:])+lineEnd...)
}
