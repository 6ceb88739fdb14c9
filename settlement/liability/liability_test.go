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
		{Issuer: &book.Issuer{ID: 10, Name: "I", Status: book.Active}},
		{Acquirer: &book.Acquirer{ID: 20, Name: "A", Status: book.Active}},
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

func (s *shop) fold() *Fold {
	f := NewFold(s.at)
	for i := range s.records {
		rec, err := s.at(points.Position(i + 1))
		require.NoError(s.t, err)
		require.NoError(s.t, f.Add(&rec))
	}
	return f
}

// balances are what the book itself has.
func (s *shop) balances() map[points.ProgramID]Balances {
	all := make(map[points.ProgramID]Balances)
	for _, line := range s.book.Totals() {
		b := all[line.Program]
		switch line.Kind {
		case book.MemberAccount:
			b.Members = line.Amount
		case book.DebtAccount:
			b.Debts = -line.Amount
		case book.BreakageAccount:
			b.Breakage = line.Amount
		default:
		}
		all[line.Program] = b
	}
	return all
}

func (s *shop) report() map[points.ProgramID]Program {
	f := s.fold()
	require.NoError(s.t, f.Check(s.balances()))
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
			switch rapid.IntRange(0, 13).Draw(rt, "what") {
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
				out = s.do(book.Command{Kind: book.KindTransfer, Acquirer: 20, Merchant: merchant(), Card: points.CardToken{byte(member)}, ToCard: points.CardToken{byte(member%members + 1)}, Program: program, Amount: amount})
			case 9:
				out = s.sale(book.KindHold, program, member, amount, 0)
			case 10:
				out = s.sale(book.KindCapture, 0, member, amount, original)
			case 11:
				out = s.sale(book.KindRelease, 0, member, 0, original)
			case 12:
				out = s.do(book.Command{Kind: book.KindAdjust, Member: member, Program: program, Amount: amount - 50, Operator: "li", Second: "wang", Note: "x"})
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
		for _, position := range known { // What is reserved is the member's still.
			hold, ok, err := s.book.Hold(position)
			require.NoError(rt, err)
			for i := range hold.Lots {
				if ok && hold.Account.Program == monthly {
					left[MonthOf(hold.Lots[i].Key.ExpiresOn.AddMonths(-12))] += hold.Lots[i].Amount
				}
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
	require.ErrorIs(t, err, ErrApart)
	require.ErrorContains(t, err, "lots come to 999, postings to the members' accounts to 1000")
}

// Reserved points stay outstanding until they are captured; corrections by hand are earned
// or other; a transfer changes nothing; what is undone and done again is as it was; each
// in the month of what it is about.
func TestEveryWayPointsGo(t *testing.T) {
	s := newShop(t)
	approved := func(out book.Outcome) book.Outcome {
		t.Helper()
		require.Equal(t, points.Approved, out.Reason)
		return out
	}
	adjust := func(amount points.Amount) {
		approved(s.do(book.Command{Kind: book.KindAdjust, Member: 1, Program: monthly, Amount: amount, Operator: "li", Second: "wang", Note: "x"}))
	}
	approved(s.sale(book.KindEarn, monthly, 1, 995, 0))
	approved(s.sale(book.KindEarn, monthly, 2, 5, 0))
	hold := approved(s.sale(book.KindHold, monthly, 1, 300, 0))
	require.Equal(t, Figures{Earned: 1000, Outstanding: 1000}, s.report()[monthly].Total, "reserved is not spent")
	approved(s.do(book.Command{Kind: book.KindCapture, Acquirer: 20, Merchant: merchant(), Card: points.CardToken{1}, Original: hold.Position, Amount: 200, Final: true}))
	adjust(50)
	adjust(-30)
	approved(s.do(book.Command{Kind: book.KindTransfer, Acquirer: 20, Merchant: merchant(), Card: points.CardToken{1}, ToCard: points.CardToken{2}, Program: monthly, Amount: 100}))
	require.Equal(t, Figures{Earned: 1050, Redeemed: 200, Other: 30, Outstanding: 820}, s.report()[monthly].Total)

	s.cutOver(20260215)
	february := approved(s.sale(book.KindEarn, monthly, 2, 60, 0))
	s.cutOver(20260315)
	reversal := approved(s.do(book.Command{Kind: book.KindReverse, Original: february.Position}))
	p := s.report()[monthly]
	require.Equal(t, Figures{Earned: 60, Reversed: 60}, p.Vintages[1].Figures, "of February, though it was undone in March")
	require.Equal(t, Month(202602), p.Vintages[1].Month)
	require.False(t, p.Vintages[1].Over, "nothing is left, but it is not over")
	sale := approved(s.sale(book.KindRedeem, monthly, 1, 70, 0))
	void := approved(s.do(book.Command{Kind: book.KindVoid, Acquirer: 20, Merchant: merchant(), Original: sale.Position}))
	require.Equal(t, points.Amount(200), s.report()[monthly].Total.Redeemed)
	approved(s.do(book.Command{Kind: book.KindReverse, Original: void.Position}))
	require.Equal(t, points.Amount(270), s.report()[monthly].Total.Redeemed, "what undid it was undone")
	require.NotZero(t, reversal.Position)

	s.cutOver(20270201)
	p = s.report()[monthly]
	require.Equal(t, []Vintage{
		{Month: 202601, Over: true, Figures: Figures{Earned: 1050, Redeemed: 270, Other: 30, Expired: 750}},
		{Month: 202602, Figures: Figures{Earned: 60, Reversed: 60}},
	}, p.Vintages)
	require.Equal(t, [2]points.Amount{750, 1050}, [2]points.Amount{p.RateNum, p.RateDen})
	s.cutOver(20270301)
	p = s.report()[monthly]
	require.True(t, p.Vintages[1].Over)
	require.Equal(t, [2]points.Amount{750, 1050}, [2]points.Amount{p.RateNum, p.RateDen}, "what was undone was never earned")

	// What comes back after its last day expires at once, and has no month.
	approved(s.sale(book.KindRefund, monthly, 1, 20, sale.Position))
	p = s.report()[monthly]
	require.Equal(t, Vintage{Month: 0, Figures: Figures{Redeemed: -20, Expired: 20}}, p.Vintages[0])
	require.Equal(t, Figures{Earned: 1110, Reversed: 60, Redeemed: 250, Other: 30, Expired: 770}, p.Total)
}

// Points that a hold gives back after their last day have expired, in their month, whether
// the hold was released, captured in part, reversed, or ran out.
func TestHoldsGiveBackWhatIsOver(t *testing.T) {
	for what, end := range map[string]func(s *shop, hold points.Position) (spent points.Amount){
		"released": func(s *shop, hold points.Position) points.Amount {
			s.do(book.Command{Kind: book.KindRelease, Acquirer: 20, Merchant: merchant(), Card: points.CardToken{1}, Original: hold})
			return 0
		},
		"captured": func(s *shop, hold points.Position) points.Amount {
			s.do(book.Command{Kind: book.KindCapture, Acquirer: 20, Merchant: merchant(), Card: points.CardToken{1}, Original: hold, Amount: 100, Final: true})
			return 100
		},
		"reversed": func(s *shop, hold points.Position) points.Amount {
			s.do(book.Command{Kind: book.KindReverse, Original: hold})
			return 0
		},
		"ran out": func(s *shop, _ points.Position) points.Amount {
			s.cutOver(20270401)
			return 0
		},
	} {
		s := newShop(t)
		s.sale(book.KindEarn, monthly, 1, 1000, 0)
		s.cutOver(20270120)
		hold := s.sale(book.KindHold, monthly, 1, 300, 0)
		require.Equal(t, points.Approved, hold.Reason, what)
		s.cutOver(20270201)
		before := s.report()[monthly].Total
		require.Equal(t, Figures{Earned: 1000, Expired: 700, Outstanding: 300}, before, what)
		require.False(t, s.report()[monthly].Vintages[0].Over, "what is reserved may still be spent")
		spent := end(s, hold.Position)
		require.Equal(t, []Vintage{{Month: 202601, Over: true, Figures: Figures{Earned: 1000, Redeemed: spent, Expired: 1000 - spent}}}, s.report()[monthly].Vintages, what)
	}
}

// Who has spent what was taken back owes it: that is no outstanding point, and stands apart,
// until an earn pays it.
func TestDebtsStandApart(t *testing.T) {
	s := newShop(t)
	earn := s.sale(book.KindEarn, monthly, 1, 100, 0)
	s.sale(book.KindRedeem, monthly, 1, 70, 0)
	require.Equal(t, points.Approved, s.do(book.Command{Kind: book.KindReverse, Original: earn.Position}).Reason)
	p := s.report()[monthly]
	require.Equal(t, points.Amount(70), p.Debts)
	require.Zero(t, p.Total.Outstanding)
	s.sale(book.KindEarn, monthly, 1, 90, 0)
	p = s.report()[monthly]
	require.Zero(t, p.Debts)
	require.Equal(t, points.Amount(20), p.Total.Outstanding)
}

// A vintage is over when the last day of its points is, and not on that day.
func TestOverBehindTheLastDay(t *testing.T) {
	s := newShop(t)
	s.sale(book.KindEarn, monthly, 1, 100, 0)
	s.sale(book.KindRedeem, monthly, 1, 100, 0)
	s.cutOver(20270131)
	require.False(t, s.report()[monthly].Vintages[0].Over)
	s.cutOver(20270201)
	require.True(t, s.report()[monthly].Vintages[0].Over)
}

// Only what comes from a hold and goes at once, whole, has lapsed there.
func TestLapses(t *testing.T) {
	account := book.AccountKey{Kind: book.MemberAccount, Program: monthly, Party: 1}
	lot := book.LotKey{ExpiresOn: 20270131}
	from := book.LotMove{Account: account, Lot: lot, Amount: 5, Held: true}
	goes := book.LotMove{Account: account, Lot: lot, Amount: -5}
	require.True(t, lapses(&from, &goes))
	for what, change := range map[string]func(from, goes *book.LotMove){
		"not from a hold": func(from, _ *book.LotMove) { from.Held = false },
		"another account": func(_, goes *book.LotMove) { goes.Account.Party = 2 },
		"another lot":     func(_, goes *book.LotMove) { goes.Lot.ExpiresOn++ },
		"a part":          func(_, goes *book.LotMove) { goes.Amount++ },
		"comes":           func(from, goes *book.LotMove) { from.Amount, goes.Amount = -5, 5 },
	} {
		from, goes := from, goes
		change(&from, &goes)
		require.False(t, lapses(&from, &goes), what)
	}
}

// An earn that was voided, and whose voiding is reversed after its points' last day, was
// earned after all and has expired.
func TestUndoingUndoneTooLate(t *testing.T) {
	s := newShop(t)
	earn := s.sale(book.KindEarn, monthly, 1, 1000, 0)
	void := s.do(book.Command{Kind: book.KindVoid, Acquirer: 20, Merchant: merchant(), Original: earn.Position})
	require.Equal(t, points.Approved, void.Reason)
	require.Equal(t, Figures{Earned: 1000, Reversed: 1000}, s.report()[monthly].Total)
	s.cutOver(20270201)
	again := s.do(book.Command{Kind: book.KindReverse, Original: void.Position})
	require.Equal(t, points.Approved, again.Reason)
	require.Equal(t, Figures{Earned: 1000, Expired: 1000}, s.report()[monthly].Total)
}

// Where a lot has points of several months, they are spent, taken and expire the oldest
// first, in this order; what was undone of a month is not there to be taken.
func TestSpreadTakesTheOldestFirst(t *testing.T) {
	months := func(amounts ...points.Amount) map[Month]points.Amount {
		m := make(map[Month]points.Amount)
		for i, a := range amounts {
			m[Month(202601+i)] = a
		}
		return m
	}
	for _, c := range []struct {
		lot  cohort
		want []Figures
	}{
		{cohort{earned: months(100, 50), redeemed: 120}, []Figures{{Earned: 100, Redeemed: 100}, {Earned: 50, Redeemed: 20, Outstanding: 30}}},
		{cohort{earned: months(100, 50), redeemed: 60, other: 30, expired: 20}, []Figures{{Earned: 100, Redeemed: 60, Other: 30, Expired: 10}, {Earned: 50, Expired: 10, Outstanding: 40}}},
		{cohort{earned: months(100, 50), reversed: months(100, 10), redeemed: 15}, []Figures{{Earned: 100, Reversed: 100}, {Earned: 50, Reversed: 10, Redeemed: 15, Outstanding: 25}}},
		{cohort{earned: months(10), redeemed: 12, expired: 3, other: 1}, []Figures{{Earned: 10, Redeemed: 12, Expired: 3, Other: 1, Outstanding: -6}}},
		{cohort{earned: months(50, 50), redeemed: 40, other: 30}, []Figures{{Earned: 50, Redeemed: 40, Other: 10}, {Earned: 50, Other: 20, Outstanding: 30}}},
		{cohort{earned: months(100, 50), redeemed: -5}, []Figures{{Earned: 100, Outstanding: 100}, {Earned: 50, Redeemed: -5, Outstanding: 55}}},
		// An earn of January was undone when its points were spent: February's went instead.
		{cohort{earned: map[Month]points.Amount{202602: 50}, reversed: months(10)}, []Figures{{Reversed: 10, Redeemed: -10}, {Earned: 50, Redeemed: 10, Outstanding: 40}}},
		{cohort{earned: months(100), redeemed: -5}, []Figures{{Earned: 100, Redeemed: -5, Outstanding: 105}}},
	} {
		byMonth := make(map[Month]*Vintage)
		c.lot.spread(true, byMonth)
		for i, want := range c.want {
			require.Equal(t, want, byMonth[Month(202601+i)].Figures, "%+v", c.lot)
			require.True(t, byMonth[Month(202601+i)].Over)
		}
		require.Len(t, byMonth, len(c.want))
	}
	byMonth := make(map[Month]*Vintage)
	lot := cohort{earned: months(5)}
	lot.spread(false, byMonth)
	lot.spread(true, byMonth)
	require.False(t, byMonth[202601].Over, "of a month that has a lot that is not over")
	empty := cohort{redeemed: -4}
	empty.spread(false, byMonth)
	require.Equal(t, Figures{Redeemed: -4, Outstanding: 4}, byMonth[0].Figures)
}

// The breakage rate is of all that is over together; what is expected of a vintage is what
// the rate says of what stands, less what has expired, not below nothing nor above what is
// outstanding; products beyond 64 bits are whole.
func TestEstimate(t *testing.T) {
	of := func(num, den points.Amount, f Figures) points.Amount {
		p := Program{RateNum: num, RateDen: den, Vintages: []Vintage{{Figures: f}}}
		p.estimate()
		require.Equal(t, p.Vintages[0].Breakage, p.Breakage)
		return p.Breakage
	}
	require.EqualValues(t, 33, of(1, 3, Figures{Earned: 100, Outstanding: 100}), "rounded down")
	require.EqualValues(t, 30, of(1, 3, Figures{Earned: 110, Reversed: 20, Outstanding: 90}), "of what stands")
	require.EqualValues(t, 13, of(1, 3, Figures{Earned: 100, Expired: 20, Outstanding: 80}))
	require.EqualValues(t, 0, of(1, 3, Figures{Earned: 100, Expired: 50, Outstanding: 50}))
	require.EqualValues(t, 5, of(1, 3, Figures{Earned: 100, Redeemed: 95, Outstanding: 5}))
	require.EqualValues(t, 0, of(1, 3, Figures{Earned: 10, Reversed: 20, Outstanding: 30}))
	require.EqualValues(t, 0, of(0, 0, Figures{Earned: 100, Outstanding: 100}))
	require.EqualValues(t, 0, of(-1, 3, Figures{Earned: 100, Outstanding: 100}))
	require.EqualValues(t, 500_000_000_000_000_000, of(1<<61, 1<<62, Figures{Earned: 1e18, Outstanding: 1e18}))
	both := Program{RateNum: 1, RateDen: 3, Vintages: []Vintage{{Figures: Figures{Earned: 100, Outstanding: 100}}, {Figures: Figures{Earned: 50, Outstanding: 50}}}}
	both.estimate()
	require.EqualValues(t, 33+16, both.Breakage)
	require.EqualValues(t, 100, of(9, 3, Figures{Earned: 100, Outstanding: 100}), "never more than there is")
}

// Balances that differ in anything from what the records say are told, programme by
// programme, also of one that only one side knows (L3).
func TestCheckNamesWhatDiffers(t *testing.T) {
	s := newShop(t)
	s.sale(book.KindEarn, monthly, 1, 1000, 0)
	for what, change := range map[string]func(*Balances){
		"programme 901: outstanding is 1000 by the records, 1001": func(b *Balances) { b.Members++ },
		"programme 901: members owe back 0 by the records, 2":     func(b *Balances) { b.Debts += 2 },
		"programme 901: expired is 0 by the records, -3":          func(b *Balances) { b.Breakage -= 3 },
	} {
		balances := s.balances()
		b := balances[monthly]
		change(&b)
		balances[monthly] = b
		err := s.fold().Check(balances)
		require.ErrorIs(t, err, ErrApart)
		require.ErrorContains(t, err, what)
	}
	require.NoError(t, s.fold().Check(s.balances()))
	require.ErrorIs(t, s.fold().Check(nil), ErrApart)
	require.ErrorContains(t, NewFold(s.at).Check(map[points.ProgramID]Balances{7: {Members: 1}}), "programme 7")
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
