package book_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// priced is a desk with the two members, and the rates and fees that a test gives it.
func priced(t *testing.T) *desk {
	t.Helper()
	d := newDesk(t, book.Options{})
	d.furnish(1, book.ProgramRules{}, book.ProgramRules{})
	return d
}

// terms puts a rate of air, termsOf of another programme, and a schedule, in force.
func (d *desk) terms(num uint64, rows ...tariff.FeeRow) {
	d.tb.Helper()
	d.termsOf(air, num, rows...)
}

func (d *desk) termsOf(program points.ProgramID, num uint64, rows ...tariff.FeeRow) {
	d.tb.Helper()
	from := d.now + 2*tariff.LeadTime
	for _, e := range []book.Entry{
		{Rate: &tariff.Rate{Terms: tariff.Terms{Program: program, Side: tariff.Clear, From: from, Num: num, Den: 1}}},
		{Fees: &tariff.Schedule{From: from, Rows: rows}},
	} {
		d.must(book.Command{Kind: book.KindPut, Operator: "li", Second: "wang", Entry: e})
	}
	d.now = from + 1_000_000
}

// legsOf are the legs of what a record clears, as a reader of the journal gets them; they
// have to be what the book has added to the cycle by it.
func (d *desk) legsOf(position points.Position) (legs []tariff.Leg) {
	d.tb.Helper()
	var rec book.Record
	require.NoError(d.tb, d.store.Record(position, &rec))
	items, err := book.NewClearing(d.store.Record).Items(&rec)
	require.NoError(d.tb, err)
	for i := range items {
		var v tariff.Valuation
		require.Equal(d.tb, tariff.OK, tariff.Value(d.book.Registry().Rates, d.book.Registry().Fees, &items[i].Item, &v), "%+v", items[i].Item)
		legs = append(legs, v.Legs()...)
	}
	return legs
}

// owesAsRead holds what the book has kept of the cycle against all that a reader reads (I20).
func (d *desk) owesAsRead() {
	d.tb.Helper()
	read := map[tariff.Member]points.Amount{}
	for position := range d.store.journal {
		for _, leg := range d.legsOf(points.Position(position + 1)) {
			read[leg.Debtor] -= leg.Amount
			read[leg.Creditor] += leg.Amount
		}
	}
	view, ok, err := d.book.ClearedIn(day0, 1)
	require.NoError(d.tb, err)
	require.True(d.tb, ok)
	for _, p := range view.Positions {
		require.Equal(d.tb, read[p.Member], p.Net(), "%v", p.Member)
		delete(read, p.Member)
	}
	for m, net := range read {
		require.Zero(d.tb, net, "%v", m)
	}
	require.Zero(d.tb, view.Unvalued)
	d.recovered(d.tb)
}

const (
	owing    = tariff.Member(issuer)
	bringing = tariff.Member(acquirer)
)

func plainRows(ppm uint32, lock bool) []tariff.FeeRow {
	return []tariff.FeeRow{{Kind: tariff.KindRDM, PPM: ppm, LockAtHold: lock}, {Kind: tariff.KindEAR}}
}

func leg(debtor, creditor tariff.Member, amount points.Amount, code tariff.Code) tariff.Leg {
	return tariff.Leg{Debtor: debtor, Creditor: creditor, Amount: amount, Code: code}
}

// Where the schedule of the hold says so, captures have rate and fees of the hold, whatever
// is in force when they come, and so has what undoes them; where it does not, those of the
// capture, even if the schedule of then would lock. By hand: 100 points held at 125 units
// and one per cent; then 250 units and two.
func TestLockedAtTheHold(t *testing.T) {
	d := priced(t)
	d.terms(125, plainRows(10_000, true)...)
	d.must(at("T1", 1, book.Command{Kind: book.KindEarn, Card: cardOf(1), Program: air, Amount: 1000}))
	hold := func(stan uint32) {
		d.must(at("T1", stan, book.Command{Kind: book.KindHold, Card: cardOf(1), Program: air, Amount: 100}))
	}
	capture := func(stan, of uint32, amount points.Amount, final bool) points.Position {
		return d.must(at("T1", stan, book.Command{Kind: book.KindCapture, Card: cardOf(1), OriginalKey: keyOf("T1", of, 2), Amount: amount, Final: final})).Position
	}
	hold(2)
	d.terms(250, plainRows(20_000, false)...)
	first := capture(3, 2, 60, false)
	require.Equal(t, []tariff.Leg{leg(owing, bringing, 7500, tariff.CodeRDM), leg(bringing, tariff.AccountFee, 75, tariff.CodeSWF)}, d.legsOf(first))
	rest := capture(4, 2, 40, true)
	require.Equal(t, []tariff.Leg{leg(owing, bringing, 5000, tariff.CodeRDM), leg(bringing, tariff.AccountFee, 50, tariff.CodeSWF)}, d.legsOf(rest))
	refund := d.must(at("T1", 5, book.Command{Kind: book.KindRefund, Card: cardOf(1), Original: first, Amount: 10})).Position
	require.Equal(t, []tariff.Leg{leg(bringing, owing, 1250, tariff.CodeRFD), leg(tariff.AccountFee, bringing, 12, tariff.CodeSWF)}, d.legsOf(refund), "12.5 to the even unit")
	void := d.must(at("T1", 6, book.Command{Kind: book.KindVoid, Card: cardOf(1), Original: rest})).Position
	require.Equal(t, []tariff.Leg{leg(bringing, owing, 5000, tariff.CodeRVS), leg(tariff.AccountFee, bringing, 50, tariff.CodeSWF)}, d.legsOf(void))
	hold(7)
	d.terms(500, plainRows(40_000, true)...)
	later := capture(8, 7, 100, true)
	require.Equal(t, []tariff.Leg{leg(owing, bringing, 50_000, tariff.CodeRDM), leg(bringing, tariff.AccountFee, 2000, tariff.CodeSWF)}, d.legsOf(later), "the hold's schedule did not lock")
	sale := d.must(at("T1", 9, book.Command{Kind: book.KindRedeem, Card: cardOf(1), Program: air, Amount: 1})).Position
	require.Equal(t, []tariff.Leg{leg(owing, bringing, 500, tariff.CodeRDM), leg(bringing, tariff.AccountFee, 20, tariff.CodeSWF)}, d.legsOf(sale), "a sale has no hold")
	d.owesAsRead()
}

// A retrieval, a chargeback and a re-presentment cost what the schedule in force says when
// each is approved, beside the value and fees that go back and forth as before, and no later
// step gives it back. Those of before the fees, by their edition, cost nothing.
func TestStepsOfDisputesCost(t *testing.T) {
	rows := append(plainRows(10_000, false),
		tariff.FeeRow{Kind: tariff.KindFEE, Fixed: 106, VATPPM: 60_000, Payer: tariff.RoleAcquirer},
		tariff.FeeRow{Kind: tariff.KindCBK, PPM: 20_000, Fixed: 250, VATPPM: 60_000, Payer: tariff.RoleAcquirer, Shares: []tariff.Share{{Role: tariff.RoleIssuer, Weight: 1}}},
		tariff.FeeRow{Kind: tariff.KindREP, PPM: 1, Min: 300, Payer: tariff.RoleIssuer})
	d := priced(t)
	d.terms(125, rows...)
	d.must(at("T1", 1, book.Command{Kind: book.KindEarn, Card: cardOf(1), Program: air, Amount: 1000}))
	sale := d.must(at("T1", 2, book.Command{Kind: book.KindRedeem, Card: cardOf(1), Program: air, Amount: 100})).Position
	other := d.must(at("T1", 3, book.Command{Kind: book.KindRedeem, Card: cardOf(1), Program: air, Amount: 100})).Position
	step := func(of points.Position, edition uint8, step book.DisputeStep, who book.Party) []tariff.Leg {
		t.Helper()
		rule := book.DisputeRule{}
		for _, r := range book.DefaultDisputeRules().Rules {
			if r.Step == step && rule.Code == "" {
				rule = r
			}
		}
		return d.legsOf(d.must(book.Command{
			Kind: book.KindDispute, Edition: edition, Original: of, Operator: "li", Second: "wang", Note: "case",
			Dispute: book.DisputeMove{Step: step, Who: who, Code: rule.Code, Evidence: "letter"},
		}).Position)
	}
	require.Equal(t, []tariff.Leg{leg(bringing, tariff.AccountFee, 100, tariff.CodeOTH), leg(bringing, tariff.AccountVAT, 6, tariff.CodeVAT)}, step(sale, book.Edition, book.StepRetrieval, book.PartyIssuer))
	// 12500 at two per cent and 250 are 500; 28.3 of them VAT.
	require.Equal(t, []tariff.Leg{
		leg(bringing, owing, 12_500, tariff.CodeCBK), leg(tariff.AccountFee, bringing, 125, tariff.CodeSWF),
		leg(bringing, owing, 472, tariff.CodeOTH), leg(bringing, tariff.AccountVAT, 28, tariff.CodeVAT),
	}, step(sale, book.Edition, book.StepChargeback, book.PartyIssuer))
	require.Equal(t, []tariff.Leg{
		leg(owing, bringing, 12_500, tariff.CodeCBK), leg(bringing, tariff.AccountFee, 125, tariff.CodeSWF), leg(owing, tariff.AccountFee, 300, tariff.CodeSWF),
	}, step(sale, book.Edition, book.StepRepresentment, book.PartyAcquirer))
	require.Empty(t, step(other, 0, book.StepRetrieval, book.PartyIssuer))
	require.Equal(t, []tariff.Leg{leg(bringing, owing, 12_500, tariff.CodeCBK), leg(tariff.AccountFee, bringing, 125, tariff.CodeSWF)}, step(other, 0, book.StepChargeback, book.PartyIssuer))
	d.owesAsRead()
}

// A capture at an issuer elsewhere is locked to the moment at which that issuer was asked for
// the hold, and so is what undoes it.
func TestLockedAtTheHoldElsewhere(t *testing.T) {
	d := newDesk(t, book.Options{})
	s := &shell{desk: d}
	s.furnishFar()
	d.termsOf(farMiles, 125, plainRows(10_000, true)...)
	ask := func(stan uint32, cmd book.Command) (asked, answered points.Position) {
		t.Helper()
		asked = d.must(at("T1", stan, cmd)).Position
		return asked, d.must(book.Command{Kind: book.KindConclude, Original: asked, Answer: points.Approved}).Position
	}
	held, _ := ask(1, book.Command{Kind: book.KindForward, Function: points.PreAuth, Card: cardOf(7), Program: farMiles, Amount: 100})
	d.termsOf(farMiles, 250, plainRows(20_000, false)...)
	capture, done := ask(2, book.Command{Kind: book.KindCapture, Function: points.Completion, Original: held, Amount: 60, Final: true})
	require.Equal(t, []tariff.Leg{leg(tariff.Member(far), bringing, 7500, tariff.CodeRDM), leg(bringing, tariff.AccountFee, 75, tariff.CodeSWF)}, d.legsOf(done))
	_, undone := ask(3, book.Command{Kind: book.KindVoid, Function: points.CompletionVoid, Original: capture, Final: true})
	require.Equal(t, []tariff.Leg{leg(bringing, tariff.Member(far), 7500, tariff.CodeRVS), leg(tariff.AccountFee, bringing, 75, tariff.CodeSWF)}, d.legsOf(undone))
	d.owesAsRead()
}

// A hold whose captures have the rate of its own moment reserves at that rate, however often
// it changes: so what is left of it stays within the cap when today's rate has fallen (I21).
func TestALockedHoldReservesAtItsOwnRate(t *testing.T) {
	locked := []tariff.FeeRow{{Kind: tariff.KindRDM, LockAtHold: true}, {Kind: tariff.KindEAR}}
	d := priced(t)
	d.terms(2, locked...)
	d.must(book.Command{Kind: book.KindAdjust, Operator: "li", Second: "wang", Member: 1, Program: air, Amount: 5000})
	d.must(capped(book.Cap{Member: tariff.Member(issuer), Cap: 60, Prefund: 60, Holds: true}))
	owes := func() points.Amount { return d.book.Exposures()[0].Owes }
	hold := d.must(at("T1", 2, book.Command{Kind: book.KindHold, Card: cardOf(1), Program: air, Amount: 20})).Position
	require.Equal(t, points.Amount(40), owes())
	d.terms(1, locked...)
	d.must(at("T1", 3, book.Command{Kind: book.KindCapture, Original: hold, Amount: 1}))
	require.Equal(t, points.Amount(40), owes(), "1 at 2, and 19 that may be captured at 2")
	require.Equal(t, points.OverSettlementCap, d.do(at("T1", 4, book.Command{Kind: book.KindIncrement, Card: cardOf(1), Original: hold, Amount: 11})).Reason)
	d.must(at("T1", 5, book.Command{Kind: book.KindIncrement, Card: cardOf(1), Original: hold, Amount: 10}))
	require.Equal(t, points.Amount(60), owes())
	require.Equal(t, points.OverSettlementCap, d.do(at("T1", 6, book.Command{Kind: book.KindRedeem, Card: cardOf(1), Program: air, Amount: 1})).Reason)
	d.must(at("T1", 7, book.Command{Kind: book.KindCapture, Original: hold, Amount: 29, Final: true}))
	require.Equal(t, points.Amount(60), owes())
	require.NoError(t, d.book.Audit())
	replay(t, d, newDesk(t, book.Options{}))
}
