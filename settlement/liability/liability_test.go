package liability

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// journal keeps the records of a book in memory.
type journal struct{ records [][]byte }

func (*journal) State([]byte) ([]byte, bool, error) { return nil, false, nil }

func (j *journal) Record(position points.Position, rec *book.Record) error {
	_, err := book.DecodeRecord(j.records[position-1], rec)
	return err
}

func (j *journal) at(position points.Position) (rec book.Record, err error) {
	return rec, j.Record(position, &rec)
}

type shop struct {
	t    require.TestingT
	book *book.Book
	journal
	stan points.STAN
}

const (
	monthly = points.ProgramID(901) // points expire at the end of the twelfth month
	lasting = points.ProgramID(902) // points never expire
	members = 3
)

func newShop(t require.TestingT) *shop {
	s := &shop{t: t}
	s.book = book.New(book.Options{}, s)
	entries := []book.Entry{
		{Issuer: &book.Issuer{ID: 10, Name: "I", Status: book.Active}}, {Acquirer: &book.Acquirer{ID: 20, Name: "A", Status: book.Active}},
		{Program: &book.Program{ID: monthly, Issuer: 10, Name: "M", Status: book.Active, Rules: book.ProgramRules{ValidMonths: 12, ExpiryAtMonth: true, OpenOnEarn: true, Debt: true, Transfer: true}}},
		{Program: &book.Program{ID: lasting, Issuer: 10, Name: "L", Status: book.Active, Rules: book.ProgramRules{OpenOnEarn: true, Transfer: true}}},
		{Merchant: &book.Merchant{ID: merchant(), Acquirer: 20, Name: "S", Status: book.Active, Programs: []points.ProgramID{monthly, lasting}}},
	}
	for id := points.MemberID(1); id <= members; id++ {
		entries = append(entries, book.Entry{Member: &book.Member{ID: id, Status: book.Active}}, book.Entry{Card: &book.Card{Token: points.CardToken{byte(id)}, Masked: "x", Member: id, Status: book.Active}})
	}
	for i := range entries {
		require.Equal(t, points.Approved, s.do(book.Command{Kind: book.KindPut, Entry: entries[i]}).Reason)
	}
	require.Equal(t, points.Approved, s.do(book.Command{Kind: book.KindCutOver, Date: 20260115}).Reason)
	return s
}

func merchant() (id points.MerchantID) {
	copy(id[:], "SHOP           ")
	return id
}

func (s *shop) do(cmd book.Command) book.Outcome {
	s.stan++
	cmd.Key = points.TraceKey{Acquirer: 20, STAN: s.stan, When: uint64(s.stan), Class: points.ClassFinancial, Door: points.DoorHost}
	cmd.At = points.Timestamp(s.stan) * 1_000_000
	var out book.Outcome
	require.NoError(s.t, s.book.Apply(s.book.Position()+1, &cmd, &out))
	if out.Position != 0 && !out.Replayed {
		s.records = append(s.records, book.AppendRecord(nil, &cmd, &out))
	}
	return out
}

func (s *shop) sale(kind book.Kind, program points.ProgramID, member points.MemberID, amount points.Amount, original points.Position) book.Outcome {
	return s.do(book.Command{
		Kind: kind, Acquirer: 20, Merchant: merchant(), Card: points.CardToken{byte(member)}, Program: program, Amount: amount, Original: original,
	})
}

func (s *shop) cutOver(date points.BusinessDate) {
	require.Equal(s.t, points.Approved, s.do(book.Command{Kind: book.KindCutOver, Date: date}).Reason)
	for len(s.book.Due()) > 0 {
		for _, kind := range s.book.Due() {
			require.Equal(s.t, points.Approved, s.do(book.Command{Kind: kind}).Reason)
		}
	}
}

func (s *shop) report() map[points.ProgramID]Program {
	f := NewFold(s.at)
	for i := range s.records {
		rec, err := s.at(points.Position(i + 1))
		require.NoError(s.t, err)
		require.NoError(s.t, f.Add(&rec))
	}
	list, err := f.Report()
	require.NoError(s.t, err)
	byProgram := make(map[points.ProgramID]Program)
	for _, p := range list {
		byProgram[p.Program] = p
	}
	return byProgram
}

// A year of one programme, told month by month: who has what left, what has expired, and
// what that says of what is outstanding.
func TestVintagesOfAYear(t *testing.T) {
	s := newShop(t)
	first := s.sale(book.KindEarn, monthly, 1, 1000, 0) // January: 1000
	require.True(t, first.Reason.Approved(), first.Reason)
	s.cutOver(20260215)
	s.sale(book.KindEarn, monthly, 1, 500, 0)          // February: 500
	undone := s.sale(book.KindEarn, monthly, 1, 40, 0) // and 40 more,
	s.cutOver(20260315)                                // which are reversed in March
	s.do(book.Command{Kind: book.KindReverse, Original: undone.Position})
	spent := s.sale(book.KindRedeem, monthly, 1, 700, 0)
	s.sale(book.KindRefund, monthly, 1, 100, spent.Position)
	s.cutOver(20270201) // what is left of January has expired

	p := s.report()[monthly]
	require.Equal(t, []Vintage{
		{Month: 202601, Over: true, Figures: Figures{Earned: 1000, Redeemed: 600, Expired: 400}},
		{Month: 202602, Figures: Figures{Earned: 540, Reversed: 40, Outstanding: 500}, Breakage: 200},
	}, p.Vintages)
	require.Equal(t, points.Amount(400), p.RateNum)
	require.Equal(t, points.Amount(1000), p.RateDen, "40 per cent of January was never spent")
	require.Equal(t, points.Amount(200), p.Breakage)
}

// Whatever happens, the vintages add up (L2), outstanding points are the members' balances
// of the trial balance (L1), and where a lot is of one month, what is outstanding of it is
// what stands in the members' accounts.
func TestLiabilityAgreesWithTheTrialBalance(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := newShop(rt)
		var known []points.Position
		date := points.BusinessDate(20260115)
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			program := rapid.SampledFrom([]points.ProgramID{monthly, lasting}).Draw(rt, "programme")
			member := points.MemberID(rapid.IntRange(1, members).Draw(rt, "member"))
			amount := points.Amount(rapid.IntRange(1, 100).Draw(rt, "amount"))
			original := points.Position(0)
			if len(known) > 0 {
				original = rapid.SampledFrom(known).Draw(rt, "original")
			}
			var out book.Outcome
			switch rapid.IntRange(0, 9).Draw(rt, "what") {
			case 0, 1, 2:
				out = s.sale(book.KindEarn, program, member, 2*amount, 0)
			case 3, 4:
				out = s.sale(book.KindRedeem, program, member, amount, 0)
			case 5:
				out = s.do(book.Command{Kind: book.KindRefund, Acquirer: 20, Amount: amount, Original: original})
			case 6:
				out = s.do(book.Command{Kind: book.KindVoid, Acquirer: 20, Merchant: merchant(), Original: original})
			case 7:
				out = s.do(book.Command{Kind: book.KindReverse, Original: original})
			case 8:
				out = s.do(book.Command{Kind: book.KindTransfer, Card: points.CardToken{byte(member)}, ToMember: member%members + 1, Program: program, Amount: amount})
			default:
				date = date.AddMonths(rapid.IntRange(1, 5).Draw(rt, "months"))
				s.cutOver(date)
			}
			if out.Position != 0 {
				known = append(known, out.Position)
			}
		}
		report := s.report()
		totals := make(map[points.ProgramID]map[book.AccountKind]points.Amount)
		for _, line := range s.book.Totals() {
			if totals[line.Program] == nil {
				totals[line.Program] = make(map[book.AccountKind]points.Amount)
			}
			totals[line.Program][line.Kind] = line.Amount
		}
		for _, program := range []points.ProgramID{monthly, lasting} {
			p := report[program]
			require.Equal(rt, totals[program][book.MemberAccount], p.Total.Outstanding)
			require.Equal(rt, -totals[program][book.DebtAccount], p.Debts)
			require.Equal(rt, totals[program][book.BreakageAccount], p.Total.Expired)
			for _, v := range p.Vintages {
				require.Equal(rt, v.Earned, v.Reversed+v.Redeemed+v.Expired+v.Other+v.Outstanding, v.Month)
				require.GreaterOrEqual(rt, v.Outstanding, v.Breakage)
			}
		}
		left := make(map[Month]points.Amount)
		for id := uint64(1); id <= members; id++ {
			a, ok, err := s.book.Account(book.AccountKey{Kind: book.MemberAccount, Program: monthly, Party: id})
			require.NoError(rt, err)
			for i := range a.Lots {
				require.True(rt, ok)
				left[MonthOf(a.Lots[i].Key.ExpiresOn.AddMonths(-12))] += a.Lots[i].Amount
			}
		}
		for _, v := range report[monthly].Vintages {
			require.Equal(rt, left[v.Month], v.Outstanding, v.Month)
		}
	})
}

// A journal whose lots do not come to its postings is not reported.
func TestReportRefusesWhatDoesNotAgree(t *testing.T) {
	s := newShop(t)
	s.sale(book.KindEarn, monthly, 1, 1000, 0)
	f := NewFold(s.at)
	rec, err := s.at(points.Position(len(s.records)))
	require.NoError(t, err)
	rec.Outcome.Lots[0].Amount--
	require.NoError(t, f.Add(&rec))
	_, err = f.Report()
	require.ErrorContains(t, err, "lots come to 999, the members' accounts to 1000")
}

// earn grants points of a lot with a last day of its own.
func (s *shop) earn(member points.MemberID, amount points.Amount, last points.BusinessDate) points.Position {
	out := s.do(book.Command{Kind: book.KindEarn, Acquirer: 20, Merchant: merchant(), Card: points.CardToken{byte(member)}, Program: monthly, Amount: amount, ExpiresOn: last})
	require.Equal(s.t, points.Approved, out.Reason)
	return out.Position
}

// A vintage is over when the last day of its lots is, not on it, and only while nothing is
// left; what expired of it is held against what was earned and stands; and what has expired
// already is not expected once more.
func TestVintagesThatAreOver(t *testing.T) {
	s := newShop(t)
	undone := s.earn(1, 20, 20260220)
	s.earn(1, 80, 20260220)
	s.do(book.Command{Kind: book.KindReverse, Original: undone})
	spent := s.sale(book.KindRedeem, monthly, 1, 40, 0)
	require.Equal(t, points.Approved, spent.Reason)
	s.cutOver(20260210)
	s.earn(2, 100, 20260228) // of February: half of it will have expired
	s.earn(2, 100, 20270228)
	require.Equal(t, points.Approved, s.do(book.Command{Kind: book.KindCutOver, Date: 20260220}).Reason)
	require.False(t, s.report()[monthly].Vintages[0].Over, "its last day is not over")
	require.Equal(t, points.Approved, s.do(book.Command{Kind: book.KindCutOver, Date: 20260221}).Reason)
	require.False(t, s.report()[monthly].Vintages[0].Over, "its last day is over, and nobody has let it expire yet")
	s.cutOver(20260301)
	p := s.report()[monthly]
	require.Equal(t, []Vintage{
		{Month: 202601, Over: true, Figures: Figures{Earned: 100, Reversed: 20, Redeemed: 40, Expired: 40}},
		{Month: 202602, Figures: Figures{Earned: 200, Expired: 100, Outstanding: 100}}, // half of 200 is expected, and has expired
	}, p.Vintages)
	require.Equal(t, []points.Amount{40, 80, 0}, []points.Amount{p.RateNum, p.RateDen, p.Breakage}, "20 of 100 were reversed")

	require.Equal(t, points.Approved, s.sale(book.KindRefund, monthly, 1, 15, spent.Position).Reason)
	p = s.report()[monthly]
	require.Equal(t, Vintage{Month: 0, Figures: Figures{Redeemed: -15, Expired: 15}}, p.Vintages[0], "what comes back too late is in no lot")
}

// A lot of two months: what was spent is of the older one, and what expired of what is left.
// A completed hold is spent by what was taken of it.
func TestLotOfTwoMonths(t *testing.T) {
	s := newShop(t)
	s.earn(1, 100, 20260331)
	s.cutOver(20260215)
	s.earn(1, 100, 20260331)
	hold := s.sale(book.KindHold, monthly, 1, 90, 0)
	require.Equal(t, points.Approved, hold.Reason)
	require.Equal(t, points.Amount(200), s.report()[monthly].Total.Outstanding, "what is held is outstanding")
	capture := book.Command{Kind: book.KindCapture, Acquirer: 20, Merchant: merchant(), Card: points.CardToken{1}, Amount: 50, Original: hold.Position, Final: true}
	require.Equal(t, points.Approved, s.do(capture).Reason)
	s.cutOver(20260401)
	require.Equal(t, []Vintage{
		{Month: 202601, Over: true, Figures: Figures{Earned: 100, Redeemed: 50, Expired: 50}},
		{Month: 202602, Over: true, Figures: Figures{Earned: 100, Expired: 100}},
	}, s.report()[monthly].Vintages)
}

// A vintage whose points are all spent is over with the last day of its lots, not before.
func TestSpentVintage(t *testing.T) {
	s := newShop(t)
	s.earn(1, 10, 20260220)
	require.Equal(t, points.Approved, s.sale(book.KindRedeem, monthly, 1, 10, 0).Reason)
	s.cutOver(20260220)
	require.False(t, s.report()[monthly].Vintages[0].Over)
	s.cutOver(20260221)
	require.True(t, s.report()[monthly].Vintages[0].Over)
}
