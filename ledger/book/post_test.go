package book_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// capped sets what a member may owe.
func capped(c book.Cap) book.Command {
	return book.Command{Kind: book.KindPut, Operator: "li", Second: "wang", Entry: book.Entry{Cap: &c}}
}

// A closed cycle is posted once: exactly what it has cleared goes off the clearing accounts,
// what came meanwhile stays, and the members' debts of it do not count any more. The same
// run gets the same answer, another one none (I22).
func TestPostACycle(t *testing.T) {
	d := clearingDesk(t, book.Options{})
	d.furnish(1, kindRules, kindRules)
	sell := func(stan uint32, kind book.Kind, amount points.Amount) {
		d.must(at("T1", stan, book.Command{Kind: kind, Card: cardOf(1), Program: air, Amount: amount}))
	}
	d.must(capped(book.Cap{Member: tariff.Member(acquirer), Cap: 100_000, Prefund: 100_000}))
	sell(1, book.KindEarn, 1000)
	sell(2, book.KindRedeem, 300)
	post := book.Command{Kind: book.KindPost, Date: day0, Cycle: 1, Run: [32]byte{7}, Manifest: [32]byte{8}, Operator: "li", Second: "wang", Moves: []book.ClearingMove{{Program: air, Acquirer: acquirer, Amount: -700}}}
	require.Equal(t, points.BatchOpen, d.do(post).Reason, "it is open")
	d.must(book.Command{Kind: book.KindCutOver, Date: day0, Cycle: 2})
	sell(3, book.KindRedeem, 50)
	owes := d.book.Exposures()[0].Owes
	require.Positive(t, owes)

	refused := func(reason points.Reason, change func(*book.Command)) {
		t.Helper()
		cmd := post
		change(&cmd)
		digest := d.book.Digest()
		require.Equal(t, reason, d.do(cmd).Reason)
		require.Equal(t, digest, d.book.Digest(), "nothing has changed")
	}
	refused(points.NeedsSecondPerson, func(c *book.Command) { c.Second = "li" })
	refused(points.UnknownOriginal, func(c *book.Command) { c.Cycle = 3 })
	refused(points.FormatError, func(c *book.Command) { c.Manifest = [32]byte{} })
	refused(points.TotalsDiffer, func(c *book.Command) { c.Moves = nil })
	refused(points.TotalsDiffer, func(c *book.Command) { c.Moves = []book.ClearingMove{{Program: air, Acquirer: acquirer, Amount: -650}} })

	first := d.must(post).Position
	clearing, _, err := d.book.Account(book.AccountKey{Kind: book.ClearingAccount, Program: air, Party: uint64(acquirer)})
	require.NoError(t, err)
	require.Equal(t, points.Amount(50), clearing.Balance, "what came after the cut-over stays")
	require.Less(t, d.book.Exposures()[0].Owes, owes)
	refused(points.AlreadyExists, func(c *book.Command) { c.Run = [32]byte{9} })
	refused(points.DuplicateOther, func(c *book.Command) { c.Manifest = [32]byte{9} })
	written := len(d.store.journal)
	again := d.do(post)
	require.Equal(t, []any{points.Approved, first, true}, []any{again.Reason, again.Position, again.Replayed})
	require.Len(t, d.store.journal, written)
	require.NoError(t, d.book.Audit())

	replay(t, d, newDesk(t, book.Options{}))
	d.store.checkpoint(d.book)
	d.book = book.New(book.Options{}, d.store)
	require.True(t, d.do(post).Replayed, "a recovery knows it")
	view, _, err := d.book.ClearedIn(day0, 1)
	require.NoError(t, err)
	require.Equal(t, []any{first, true, uint64(2)}, []any{view.Posted, view.Closed, view.Items})
}

// A sale or an earn that would make an institution owe more than its cap is refused with 61
// and changes nothing; one unit less passes. What is undone, told or captured is not refused
// (I21).
func TestNetDebitCap(t *testing.T) {
	d := clearingDesk(t, book.Options{})
	d.furnish(1, kindRules, kindRules)
	stan := uint32(0)
	ask := func(kind book.Kind, amount points.Amount) *book.Outcome {
		stan++
		return d.do(at("T1", stan, book.Command{Kind: kind, Card: cardOf(1), Program: inn, Amount: amount}))
	}
	require.Equal(t, points.Approved, ask(book.KindEarn, 5000).Reason)
	require.Equal(t, points.BadAmount, d.do(capped(book.Cap{Member: tariff.Member(issuer), Cap: 10_001, Prefund: 5_000, PrefundHaircut: 100_000, Collateral: 11_000, CollateralHaircut: 500_000})).Reason, "10,000 is covered")
	d.must(book.Command{Kind: book.KindAdjust, Operator: "li", Second: "wang", Member: 1, Program: inn, Amount: 5000})
	held := ask(book.KindHold, 30)
	require.Equal(t, points.Approved, held.Reason)
	hold := held.Position
	// The issuer is owed 10,000 for the earn, less what the fees are of it: it owes from there on.
	owed := func() points.Amount { return d.book.Exposures()[0].Owes }
	d.must(capped(book.Cap{Member: tariff.Member(issuer), Cap: 0}))
	start := owed()
	require.Negative(t, start)
	// 1 point is worth 2; interchange of 0.5 % comes back to the issuer.
	const amount = 4000
	require.Equal(t, points.Approved, ask(book.KindRedeem, amount).Reason)
	left := -owed()
	require.Positive(t, left)
	fits := points.Amount(0)
	for n := points.Amount(1); ; n++ {
		value := 2 * n
		if value-points.Amount(even(int64(value), 5_000, 1_000_000).Int64()) > left {
			break
		}
		fits = n
	}
	digest := d.book.Digest()
	over := ask(book.KindRedeem, fits+1)
	require.Equal(t, points.OverSettlementCap, over.Reason)
	require.Equal(t, "61", over.Reason.DE39())
	require.NotEqual(t, digest, d.book.Digest(), "it is written that it was refused")
	require.Equal(t, -left, owed())
	require.Equal(t, points.OverSettlementCap, ask(book.KindHold, fits+1).Reason)
	require.Equal(t, points.Approved, ask(book.KindRedeem, fits).Reason)
	require.Equal(t, points.OverSettlementCap, ask(book.KindRedeem, 1).Reason)
	d.must(at("T1", 900, book.Command{Kind: book.KindCapture, Card: cardOf(1), Original: hold, Amount: 30, Final: true}))
	require.Positive(t, owed(), "what was captured has happened")
	told := at("T1", 901, book.Command{Kind: book.KindRedeem, Function: points.OfflineRedeem, Card: cardOf(1), Program: inn, Amount: 5})
	require.Equal(t, points.Approved, d.do(told).Reason, "and what is told")
	d.must(capped(book.Cap{Member: tariff.Member(issuer), Unlimited: true}))
	require.Equal(t, points.Approved, ask(book.KindRedeem, 1).Reason)
	require.Empty(t, d.book.Exposures())
	require.NoError(t, d.book.Audit())
	replay(t, d, newDesk(t, book.Options{}))
}

// Where credit counts later, what a member is owed leaves no room until it is settled.
func TestCreditLater(t *testing.T) {
	d := clearingDesk(t, book.Options{})
	d.furnish(1, kindRules, kindRules)
	d.must(at("T1", 1, book.Command{Kind: book.KindEarn, Card: cardOf(1), Program: inn, Amount: 5000}))
	d.must(capped(book.Cap{Member: tariff.Member(issuer), Cap: 100, Prefund: 100, CreditLater: true}))
	require.Equal(t, points.OverSettlementCap, d.do(at("T1", 2, book.Command{Kind: book.KindRedeem, Card: cardOf(1), Program: inn, Amount: 51})).Reason)
	d.must(at("T1", 3, book.Command{Kind: book.KindRedeem, Card: cardOf(1), Program: inn, Amount: 50}))
	require.Equal(t, points.Amount(100), d.book.Exposures()[0].Owes)
}

// What a forwarded request would make its issuer owe is kept for it until it is decided, and
// let go whichever way: so the answer needs no room of its own.
func TestCapReservesForForwarded(t *testing.T) {
	s := &shell{desk: clearingDesk(t, book.Options{})}
	s.furnishFar()
	d := s.desk
	d.must(capped(book.Cap{Member: tariff.Member(far), Cap: 200, Prefund: 200}))
	stan := uint32(100)
	forward := func(amount points.Amount) *book.Outcome {
		stan++
		return d.do(at("T1", stan, book.Command{Kind: book.KindForward, Function: points.Redeem, Card: cardOf(7), Program: farMiles, Amount: amount}))
	}
	first := forward(60) // worth 100; the issuer gets back 0.5 %, half to the even: 0
	require.Equal(t, points.Approved, first.Reason)
	asked := first.Position
	require.Equal(t, points.Amount(100), d.book.Exposures()[0].Reserved)
	require.Equal(t, points.OverSettlementCap, forward(61).Reason)
	second := forward(60).Position
	require.Zero(t, d.book.Exposures()[0].Headroom)
	d.must(book.Command{Kind: book.KindConclude, Original: asked, Answer: points.Approved})
	require.Equal(t, []points.Amount{100, 200}, []points.Amount{d.book.Exposures()[0].Reserved, d.book.Exposures()[0].Owes})
	d.store.checkpoint(d.book)
	d.book = book.New(book.Options{}, d.store)
	d.must(book.Command{Kind: book.KindConclude, Original: second, Answer: points.NotEnoughPoints})
	require.Equal(t, []points.Amount{0, 100}, []points.Amount{d.book.Exposures()[0].Reserved, d.book.Exposures()[0].Owes})
	third := forward(60).Position
	d.must(book.Command{Kind: book.KindOwe, Original: third})
	fourth := forward(60).Position
	d.must(at("T1", 900, book.Command{Kind: book.KindReverse, Function: points.Reversal, Original: fourth}))
	require.Equal(t, []points.Amount{0, 100}, []points.Amount{d.book.Exposures()[0].Reserved, d.book.Exposures()[0].Owes})
	require.NoError(t, d.book.Audit())
}

// A stand-in decides a forwarded request as an answer does: what was kept for it under a cap
// is let go of, and what it approves counts.
func TestStandInLetsGoOfWhatWasReserved(t *testing.T) {
	s := &shell{desk: clearingDesk(t, book.Options{})}
	s.furnishFar()
	d := s.desk
	d.must(capped(book.Cap{Member: tariff.Member(far), Cap: 200, Prefund: 200}))
	for i, answer := range []points.Reason{points.NoAnswer, points.IssuerTimeout} {
		asked := d.must(at("T1", uint32(100+i), book.Command{Kind: book.KindForward, Function: points.Redeem, Card: cardOf(7), Program: farMiles, Amount: 60})).Position
		require.Equal(t, points.Amount(100), d.book.Exposures()[0].Reserved)
		d.must(book.Command{Kind: book.KindStandIn, Original: asked, Answer: answer})
		require.Equal(t, []points.Amount{0, points.Amount(100 * (i + 1))}, []points.Amount{d.book.Exposures()[0].Reserved, d.book.Exposures()[0].Owes})
	}
	require.Equal(t, points.OverSettlementCap, d.do(at("T1", 900, book.Command{Kind: book.KindForward, Function: points.Redeem, Card: cardOf(7), Program: farMiles, Amount: 60})).Reason)
	require.NoError(t, d.book.Audit())
}

// A cap is covered by what the haircuts leave of what was put down, each rounded down and
// each its own; no haircut is over the whole; and all of it is known again after a recovery.
func TestHaircutsOfACap(t *testing.T) {
	d := clearingDesk(t, book.Options{})
	d.furnish(1, kindRules, kindRules)
	member := tariff.Member(issuer)
	covered := func(c book.Cap) points.Reason {
		c.Member = member
		return d.do(capped(c)).Reason
	}
	for _, c := range []struct {
		cap  book.Cap
		want points.Reason
	}{
		{book.Cap{Cap: 90, Prefund: 100, PrefundHaircut: 100_000}, points.Approved},
		{book.Cap{Cap: 91, Prefund: 100, PrefundHaircut: 100_000}, points.BadAmount},
		{book.Cap{Cap: 50, Collateral: 100, CollateralHaircut: 500_000}, points.Approved},
		{book.Cap{Cap: 51, Collateral: 100, CollateralHaircut: 500_000}, points.BadAmount},
		{book.Cap{Cap: 140, Prefund: 100, Collateral: 100, PrefundHaircut: 100_000, CollateralHaircut: 500_000}, points.Approved},
		{book.Cap{Cap: 2, Prefund: 3, Collateral: 3, PrefundHaircut: 500_000, CollateralHaircut: 500_000}, points.Approved},
		{book.Cap{Cap: 3, Prefund: 3, Collateral: 3, PrefundHaircut: 500_000, CollateralHaircut: 500_000}, points.BadAmount}, // 1 and 1, not 3
		{book.Cap{Cap: 0, Prefund: 3, PrefundHaircut: 1_000_000}, points.Approved},
		{book.Cap{Cap: 1, Prefund: 3, PrefundHaircut: 1_000_000}, points.BadAmount},
		{book.Cap{Cap: 1, Prefund: 3, PrefundHaircut: 1_000_001}, points.FormatError},
		{book.Cap{Cap: 1, Collateral: 3, CollateralHaircut: 1_000_001}, points.FormatError},
		{book.Cap{Cap: 1, Prefund: -1, Collateral: 3}, points.BadAmount},
	} {
		require.Equal(t, c.want, covered(c.cap), "%+v", c.cap)
	}
	want := book.Cap{Member: member, Cap: 7, Prefund: 11, PrefundHaircut: 13, Collateral: 17, CollateralHaircut: 19, CreditLater: true, Holds: true}
	d.must(capped(want))
	digest := d.book.Digest()
	d.store.checkpoint(d.book)
	d.book = book.New(book.Options{}, d.store)
	require.Equal(t, want, d.book.Exposures()[0].Cap)
	require.Equal(t, digest, d.book.Digest())
}

// The fees are held against a cap as they are for the merchant's category: a sale that a
// dearer row would let through is refused where that row is another category's.
func TestCapKnowsTheMerchantsCategory(t *testing.T) {
	const grocer, other = 5411, 5812
	for category, want := range map[uint16]points.Reason{grocer: points.Approved, other: points.OverSettlementCap} {
		d := newDesk(t, book.Options{})
		d.furnish(1, kindRules, kindRules)
		from := d.now + 2*tariff.LeadTime
		d.must(book.Command{Kind: book.KindPut, Operator: "li", Second: "wang", Entry: book.Entry{Rate: &tariff.Rate{Terms: tariff.Terms{
			Program: inn, Side: tariff.Clear, From: from, Num: 1, Den: 1,
		}}}})
		d.must(book.Command{Kind: book.KindPut, Operator: "li", Second: "wang", Entry: book.Entry{Fees: &tariff.Schedule{From: from, Rows: []tariff.FeeRow{
			{Kind: tariff.KindRDM}, {Kind: tariff.KindEAR}, {Kind: tariff.KindRDM, MCC: grocer, InterchangePPM: 500_000},
		}}}})
		d.now = from + 1_000_000
		shop := *d.book.Registry().Merchants[merchantID("SHOP")]
		shop.MCC = category
		d.put(book.Entry{Merchant: &shop})
		d.must(book.Command{Kind: book.KindAdjust, Operator: "li", Second: "wang", Member: 1, Program: inn, Amount: 5000})
		d.must(capped(book.Cap{Member: tariff.Member(issuer), Cap: 50, Prefund: 50}))
		require.Equal(t, want, d.do(at("T1", 1, book.Command{Kind: book.KindRedeem, Card: cardOf(1), Program: inn, Amount: 100})).Reason, "MCC %d", category)
	}
}

// A version of the fees is the next one or none: one that is there is not edited, and none
// is left out; when another was approved meanwhile it is proposed again.
func TestVersionsOfFees(t *testing.T) {
	d := newDesk(t, book.Options{})
	d.furnish(1, kindRules, kindRules)
	fees := func(version uint32) book.Command {
		return book.Command{Kind: book.KindPut, Operator: "li", Second: "wang", Entry: book.Entry{Fees: &tariff.Schedule{
			Version: version, From: d.now + 2*tariff.LeadTime, Rows: []tariff.FeeRow{{Kind: tariff.KindRDM}},
		}}}
	}
	require.Equal(t, points.AlreadyExists, d.do(fees(2)).Reason, "none is left out")
	d.must(fees(1))
	require.Equal(t, points.AlreadyExists, d.do(fees(1)).Reason, "one that is there")
	require.Equal(t, points.AlreadyExists, d.do(fees(3)).Reason, "none is left out")
	d.must(fees(2))
	d.must(fees(0))
	require.Equal(t, 3, d.book.Registry().Fees.Len())

	s := staffed(t, 0)
	change := book.Command{Kind: book.KindPut, Operator: "cat", Entry: book.Entry{Fees: &tariff.Schedule{From: s.now + 2*tariff.LeadTime, Rows: []tariff.FeeRow{{Kind: tariff.KindRDM}}}}}
	first := s.must(proposed(change)).Position
	second := s.must(proposed(change)).Position
	s.must(s.approval("bob", first))
	s.refused(t, points.ProposalStale, s.approval("bob", second))
}

// What people enter without any rate is in the open cycle, and stays there over a restart
// (I20): the next entry adds to it.
func TestLegsWithoutRatesOutliveARestart(t *testing.T) {
	d := newDesk(t, book.Options{})
	d.furnish(1, kindRules, kindRules)
	enter := func() {
		d.must(book.Command{Kind: book.KindLeg, Amount: 5, Leg: book.Leg{Kind: tariff.KindADJ, Payer: tariff.Member(issuer), Payee: tariff.Member(acquirer)}, Operator: "li", Second: "wang", Note: "case 3"})
	}
	enter()
	d.store.checkpoint(d.book)
	d.book = book.New(book.Options{}, d.store)
	enter()
	view, _, err := d.book.ClearedIn(day0, 1)
	require.NoError(t, err)
	require.EqualValues(t, 2, view.Items)
	replay(t, d, newDesk(t, book.Options{}))
}
