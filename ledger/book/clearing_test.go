package book_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// itemOf is the one item of the record at position.
func (d *desk) itemOf(position points.Position) book.ClearingItem {
	d.tb.Helper()
	var rec book.Record
	require.NoError(d.tb, d.store.Record(position, &rec))
	items, err := book.NewClearing(d.store.Record).Items(&rec)
	require.NoError(d.tb, err)
	require.Len(d.tb, items, 1)
	return items[0]
}

func (d *desk) noItems(position points.Position) {
	d.tb.Helper()
	var rec book.Record
	require.NoError(d.tb, d.store.Record(position, &rec))
	items, err := book.NewClearing(d.store.Record).Items(&rec)
	require.NoError(d.tb, err)
	require.Empty(d.tb, items)
}

// Every kind of item: what moved points between members has one with its kind, amount and
// what it undoes, on either side of a cut-over, at the original's time; what moved none has
// none.
func TestEveryKindOfItem(t *testing.T) {
	d := clearingDesk(t, book.Options{})
	d.furnish(1, kindRules, kindRules)
	stan := uint32(0)
	ask := func(cmd book.Command) *book.Outcome {
		stan++
		return d.must(at("T1", stan, cmd))
	}
	sell := func(kind book.Kind, amount points.Amount) (points.Position, points.Timestamp) {
		out := ask(book.Command{Kind: kind, Function: points.Redeem, Card: cardOf(1), Program: air, Amount: amount})
		return out.Position, out.Posted
	}
	earned, earnedAt := sell(book.KindEarn, 1000)
	item := d.itemOf(earned)
	require.Equal(t, []any{tariff.KindEAR, points.Amount(1000), tariff.Member(issuer), tariff.Member(acquirer), earned, day0}, []any{item.Kind, item.Amount, item.Issuer, item.Acquirer, item.Position, item.Date})
	sold, soldAt := sell(book.KindRedeem, 100)
	item = d.itemOf(sold)
	require.Equal(t, []any{tariff.KindRDM, points.Amount(100), soldAt, points.Position(0)}, []any{item.Kind, item.Amount, item.At, item.Root})
	require.Equal(t, points.STAN(stan), item.Request.Key.STAN)

	refunded := ask(book.Command{Kind: book.KindRefund, Function: points.Refund, Card: cardOf(1), Amount: 30, Original: sold}).Position
	require.Equal(t, uint8(1), d.itemOf(refunded).Cycle)
	d.must(book.Command{Kind: book.KindCutOver, Date: day0 + 1})
	again := ask(book.Command{Kind: book.KindRefund, Function: points.Refund, Card: cardOf(1), Amount: 70, Original: sold}).Position
	item = d.itemOf(again)
	require.Equal(t, []any{tariff.KindRFD, tariff.KindRDM, points.Amount(-70), points.Amount(30), points.Amount(100), soldAt, sold, day0, day0 + 1},
		[]any{item.Kind, item.Of, item.Amount, item.Refunded, item.Whole, item.OriginalAt, item.Root, item.RootDate, item.Date}, "of a closed date: current date, the original's rate")
	back := ask(book.Command{Kind: book.KindReverse, Function: points.Reversal, Original: again}).Position
	item = d.itemOf(back)
	require.Equal(t, []any{tariff.KindRVS, tariff.KindRDM, points.Amount(70), points.Amount(100), sold}, []any{item.Kind, item.Of, item.Amount, item.Refunded, item.Root}, "the reversal of a refund takes it back")

	voided := ask(book.Command{Kind: book.KindReverse, Function: points.Reversal, Original: earned}).Position
	item = d.itemOf(voided)
	require.Equal(t, []any{tariff.KindRVS, tariff.KindEAR, points.Amount(-1000), points.Amount(1000), earnedAt}, []any{item.Kind, item.Of, item.Amount, item.Whole, item.OriginalAt})

	sell(book.KindEarn, 5000)
	today, _ := sell(book.KindRedeem, 40)
	void := ask(book.Command{Kind: book.KindVoid, Function: points.Void, Card: cardOf(1), Original: today}).Position
	require.Equal(t, tariff.KindRVS, d.itemOf(void).Kind)
	unvoid := ask(book.Command{Kind: book.KindReverse, Function: points.Reversal, Original: void}).Position
	item = d.itemOf(unvoid)
	require.Equal(t, []any{points.Amount(40), today, points.Amount(40)}, []any{item.Amount, item.Root, item.Refunded})
	less := ask(book.Command{Kind: book.KindReverse, Function: points.Reversal, Original: today, Actual: 15, Final: true}).Position
	require.Equal(t, points.Amount(-25), d.itemOf(less).Amount, "the reversal of a part")

	held, _ := sell(book.KindHold, 200)
	d.noItems(held)
	d.must(book.Command{Kind: book.KindCutOver, Date: day0 + 1, Cycle: 2})
	captured := ask(book.Command{Kind: book.KindCapture, Function: points.Completion, Card: cardOf(1), Original: held, Amount: 150, Final: true})
	item = d.itemOf(captured.Position)
	require.Equal(t, []any{tariff.KindRDM, points.Amount(150), uint8(2), captured.Posted, points.Position(0)}, []any{item.Kind, item.Amount, item.Cycle, item.At, item.Root}, "a completion is of its own date and rate")
	told := at("T1", 900, book.Command{Kind: book.KindRedeem, Function: points.OfflineRedeem, Card: cardOf(1), Program: air, Amount: 5})
	told.Sent = soldAt
	out := d.must(told)
	item = d.itemOf(out.Position)
	require.True(t, item.Late)
	require.Equal(t, told.Sent, item.At, "what is told is valued at its own time")
	d.noItems(d.must(book.Command{Kind: book.KindExpireHolds}).Position)
	d.noItems(1)
}

// A forwarded sale is cleared by the record of its answer, in the issuer's place too, and
// what undoes it finds that; one that is told is of its own time.
func TestItemsOfForwardedSales(t *testing.T) {
	s := &shell{desk: clearingDesk(t, book.Options{})}
	s.furnishFar()
	d := s.desk
	forward := func(stan uint32, f points.Function, amount points.Amount) points.Position {
		return d.must(at("T1", stan, book.Command{Kind: book.KindForward, Function: f, Card: cardOf(7), Program: farMiles, Amount: amount})).Position
	}
	asked := forward(1, points.Redeem, 100)
	d.noItems(asked)
	answer := *d.must(book.Command{Kind: book.KindConclude, Original: asked, Answer: points.Approved})
	item := d.itemOf(answer.Position)
	require.Equal(t, []any{tariff.KindRDM, points.Amount(100), tariff.Member(far), asked, answer.Position, true}, []any{item.Kind, item.Amount, item.Issuer, item.RRN, item.Position, item.Remote})
	reversed := d.must(at("T1", 2, book.Command{Kind: book.KindReverse, Function: points.Reversal, Original: asked}))
	item = d.itemOf(reversed.Position)
	require.Equal(t, []any{tariff.KindRVS, points.Amount(-100), answer.Position, answer.Posted}, []any{item.Kind, item.Amount, item.Root, item.OriginalAt})

	silent := forward(3, points.Redeem, 40)
	stood := d.must(book.Command{Kind: book.KindStandIn, Original: silent, Answer: points.NoAnswer}).Position
	item = d.itemOf(stood)
	require.True(t, item.StandIn)
	require.Equal(t, []any{tariff.KindRDM, points.Amount(40), silent}, []any{item.Kind, item.Amount, item.RRN})

	refundable := forward(4, points.Redeem, 60)
	sale := d.must(book.Command{Kind: book.KindConclude, Original: refundable, Answer: points.Approved}).Position
	for i, want := range []points.Amount{0, 20} {
		refund := d.must(at("T1", uint32(5+i), book.Command{Kind: book.KindRefund, Function: points.Refund, Original: refundable, Amount: 20, Final: true})).Position
		done := d.must(book.Command{Kind: book.KindConclude, Original: refund, Answer: points.Approved}).Position
		item = d.itemOf(done)
		require.Equal(t, []any{tariff.KindRFD, points.Amount(-20), want, sale, refund}, []any{item.Kind, item.Amount, item.Refunded, item.Root, item.RRN})
	}
}

// Before a programme has a rate nothing of it has a value, and what is undone later of that
// has none either; it is counted.
func TestNoRateNoPosition(t *testing.T) {
	d := newDesk(t, book.Options{})
	d.furnish(1, kindRules, kindRules)
	d.must(at("T1", 1, book.Command{Kind: book.KindEarn, Card: cardOf(1), Program: inn, Amount: 100}))
	_, ok, err := d.book.ClearedIn(day0, 1)
	require.NoError(t, err)
	require.False(t, ok, "without rates there is nothing")
	sale := d.must(at("T1", 2, book.Command{Kind: book.KindRedeem, Card: cardOf(1), Program: inn, Amount: 50})).Position
	d.rated(air)
	d.must(at("T1", 3, book.Command{Kind: book.KindRefund, Card: cardOf(1), Amount: 50, Original: sale}))
	d.must(at("T1", 4, book.Command{Kind: book.KindEarn, Card: cardOf(1), Program: air, Amount: 70}))
	view, ok, err := d.book.ClearedIn(day0, 1)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, []any{uint64(1), uint64(1), uint64(1)}, []any{view.Items, view.Unvalued, d.book.Unvalued()})
	require.Equal(t, []book.ClearingMove{{Program: air, Acquirer: acquirer, Amount: -70}}, view.Moves)
	d.checkClearing()
}

// A version is put by two persons, for later than five minutes from its approval, as the
// next of its chain; nothing of what is refused is there, and a recovery knows the rest (I19).
func TestVersionsOfRates(t *testing.T) {
	d := newDesk(t, book.Options{})
	d.furnish(1, kindRules, kindRules)
	rate := func(num uint64, from points.Timestamp) book.Command {
		return book.Command{Kind: book.KindPut, Operator: "li", Second: "wang", Entry: book.Entry{Rate: &tariff.Rate{Terms: tariff.Terms{Program: air, Side: tariff.Clear, From: from, Num: num, Den: 6}}}}
	}
	later := d.now + 2*tariff.LeadTime
	alone := rate(1, later)
	alone.Second = ""
	require.Equal(t, points.NeedsSecondPerson, d.do(alone).Reason)
	require.Equal(t, points.FormatError, d.do(rate(1, d.now)).Reason, "now is too soon")
	require.Equal(t, points.FormatError, d.do(rate(0, later)).Reason)
	unknown := rate(1, later)
	unknown.Entry.Rate.Program = 990
	require.Equal(t, points.UnknownProgram, d.do(unknown).Reason)
	require.Nil(t, d.book.Registry().Rates)
	d.must(rate(4, later))
	edited := rate(9, later)
	edited.Entry.Rate.Version = 1
	require.Equal(t, points.AlreadyExists, d.do(edited).Reason, "a version is not edited")
	before := d.book.Registry()
	d.must(rate(8, later))
	require.Equal(t, 1, before.Rates.Len(), "what was handed out does not change")
	table := d.book.Registry().Rates
	require.Equal(t, uint64(4), table.At(air, tariff.Clear, later).Num, "8/6 is 4/3")
	require.Equal(t, table.Version(air, tariff.Clear, 1).Digest, table.Version(air, tariff.Clear, 2).Previous)
	require.Equal(t, "wang", table.Version(air, tariff.Clear, 2).Checker)
	require.NoError(t, d.book.Audit())
	digest := d.book.Digest()
	d.store.checkpoint(d.book)
	again := book.New(book.Options{}, d.store)
	require.NoError(t, again.Err())
	require.Equal(t, digest, again.Digest())
	require.Equal(t, table.Digest(later+1), again.Registry().Rates.Digest(later+1))
}

// With operators a rate is always proposed and approved, whatever the policy says; when
// another version was approved meanwhile it is proposed again.
func TestRatesNeedTwoOperators(t *testing.T) {
	d := staffed(t, 0)
	rate := book.Command{Kind: book.KindPut, Operator: "cat", Entry: book.Entry{Rate: &tariff.Rate{Terms: tariff.Terms{Program: air, Side: tariff.Clear, From: d.now + 2*tariff.LeadTime, Num: 1, Den: 6}}}}
	d.refused(t, points.NeedsSecondPerson, rate)
	first := d.must(proposed(rate)).Position
	second := d.must(proposed(rate)).Position
	d.must(d.approval("bob", first))
	version := d.book.Registry().Rates.Version(air, tariff.Clear, 1)
	require.Equal(t, []string{"cat", "bob"}, []string{version.Maker, version.Checker})
	d.refused(t, points.ProposalStale, d.approval("bob", second))
}

// Clearing a sale allocates nothing beyond what the sale itself does, and neither does
// holding it against a cap.
func TestClearingASaleAllocatesNothing(t *testing.T) {
	measure := func(d *desk) float64 {
		d.must(at("T1", 1, book.Command{Kind: book.KindEarn, Card: cardOf(1), Program: air, Amount: 1_000_000}))
		cmd, out, position := at("T1", 2, book.Command{Kind: book.KindRedeem, Card: cardOf(1), Program: air, Amount: 1}), book.Outcome{}, d.book.Position()
		return testing.AllocsPerRun(500, func() {
			position++
			cmd.Key.STAN++
			cmd.At = d.now
			if err := d.book.Apply(position, &cmd, &out); err != nil || !out.Reason.Approved() {
				t.Fatal(err, out.Reason)
			}
		})
	}
	plain := newDesk(t, book.Options{})
	plain.furnish(1, book.ProgramRules{}, kindRules)
	d := newDesk(t, book.Options{})
	d.furnish(1, book.ProgramRules{}, kindRules)
	d.rated(air)
	d.must(capped(book.Cap{Member: tariff.Member(issuer), Cap: 1_000_000, Prefund: 1_000_000}))
	require.InDelta(t, measure(plain), measure(d), 0.02)
}

// However much members come to owe in however many cycles that nobody settles, a cycle can
// be closed: what does not fit any more is an item without a value.
func TestUnsettledCyclesCanBeClosed(t *testing.T) {
	d := newDesk(t, book.Options{})
	d.furnish(1, kindRules, kindRules)
	from := d.now + 2*tariff.LeadTime
	d.must(book.Command{Kind: book.KindPut, Operator: "li", Second: "wang", Entry: book.Entry{Fees: &tariff.Schedule{From: from, Rows: []tariff.FeeRow{{Kind: tariff.KindEAR}}}}})
	d.must(book.Command{Kind: book.KindPut, Operator: "li", Second: "wang", Entry: book.Entry{Rate: &tariff.Rate{Terms: tariff.Terms{
		Program: air, Side: tariff.Clear, From: from, Num: 500, Den: 1,
	}}}})
	d.now = from + 1_000_000
	stan, date, cycle := uint32(0), day0, uint8(1)
	var valued, unvalued uint64
	for range 135 {
		for range 146 {
			stan++
			d.must(at("T1", stan, book.Command{Kind: book.KindEarn, Function: points.Earn, Card: cardOf(1), Program: air, Amount: points.MaxAmount}))
		}
		view, _, err := d.book.ClearedIn(date, cycle)
		require.NoError(t, err)
		valued, unvalued = valued+view.Items, view.Unvalued
		if cycle++; cycle > book.MaxCycle {
			date, cycle = date+1, 1
		}
		d.must(book.Command{Kind: book.KindCutOver, Date: date, Cycle: cycle})
	}
	require.Greater(t, valued, uint64(10_000))
	require.Equal(t, uint64(146), unvalued, "nothing fits any more")
}

// What was sent thirty days before it came is cleared, at the rate of when it was sent; a
// microsecond more, and it is booked without a value, as is what undoes it. A refund that
// finds no original moves nothing and is an item only for who reads the journal.
func TestToldTooLate(t *testing.T) {
	d := clearingDesk(t, book.Options{})
	d.furnish(1, kindRules, kindRules)
	d.must(at("T1", 1, book.Command{Kind: book.KindEarn, Card: cardOf(1), Program: air, Amount: 1000}))
	sent := d.now
	d.now += book.MostTold + 10_000_000
	told := func(stan uint32, sent points.Timestamp) points.Position {
		cmd := at("T1", stan, book.Command{Kind: book.KindRedeem, Function: points.OfflineRedeem, Card: cardOf(1), Program: air, Amount: 100})
		cmd.At, cmd.Sent = d.now, sent
		return d.must(cmd).Position
	}
	counts := func() []uint64 {
		view, _, err := d.book.ClearedIn(day0, 1)
		require.NoError(t, err)
		return []uint64{view.Items, view.Unvalued}
	}
	intime := told(2, d.now-book.MostTold)
	require.Equal(t, []uint64{2, 0}, counts())
	late := told(3, d.now-book.MostTold-1)
	require.Greater(t, d.now-book.MostTold-1, sent, "there was a rate then")
	require.True(t, d.itemOf(late).TooOld)
	require.Equal(t, []uint64{2, 1}, counts())
	refund := d.must(at("T1", 4, book.Command{Kind: book.KindRefund, Function: points.Refund, Card: cardOf(1), Amount: 30, Original: late})).Position
	require.True(t, d.itemOf(refund).TooOld)
	require.Equal(t, []uint64{2, 2}, counts())
	old := at("T1", 6, book.Command{Kind: book.KindRefund, Function: points.Refund, Card: cardOf(1), Amount: 30, Original: intime})
	old.At, old.Sent = d.now, sent
	require.False(t, d.itemOf(d.must(old).Position).TooOld, "a refund is no advice, whenever it was sent")
	require.Equal(t, []uint64{3, 2}, counts())

	unknown := *d.do(at("T1", 5, book.Command{Kind: book.KindRefund, Function: points.Refund, Card: cardOf(1), Amount: 30, Original: 9_999}))
	require.Equal(t, points.UnknownOriginal, unknown.Reason)
	item := d.itemOf(unknown.Position)
	require.Equal(t, []any{true, tariff.KindRFD, points.Amount(-30), tariff.Member(acquirer)}, []any{item.Orphan, item.Kind, item.Amount, item.Acquirer})
	require.Equal(t, []uint64{3, 2}, counts())
	view, _, err := d.book.ClearedIn(day0, 1)
	require.NoError(t, err)
	require.Equal(t, []book.ClearingMove{{Program: air, Acquirer: acquirer, Amount: -930}}, view.Moves, "what has no value stays on the clearing account")
}

// What is cleared is of the merchant's category, and of the programme's issuer, as they were
// when it was decided: also where its issuer has decided it, where two issuers' programmes
// have paid, and of what is undone when both are others by then.
func TestItemsKeepTheirCategoryAndOwner(t *testing.T) {
	s := &shell{desk: clearingDesk(t, book.Options{})}
	s.furnishFar()
	d := s.desk
	categorised := func(mcc uint16) {
		shop := *d.book.Registry().Merchants[merchantID("SHOP")]
		shop.MCC = mcc
		d.put(book.Entry{Merchant: &shop})
	}
	categorised(5411)
	d.must(at("T1", 1, book.Command{Kind: book.KindEarn, Card: cardOf(1), Program: air, Amount: 1000}))
	sold := d.must(at("T1", 2, book.Command{Kind: book.KindRedeem, Card: cardOf(1), Program: air, Amount: 100})).Position
	require.Equal(t, uint16(5411), d.itemOf(sold).MCC)
	asked := d.must(at("T1", 3, book.Command{Kind: book.KindForward, Function: points.Redeem, Card: cardOf(7), Program: farMiles, Amount: 60})).Position
	answered := d.must(book.Command{Kind: book.KindConclude, Original: asked, Answer: points.Approved}).Position
	item := d.itemOf(answered)
	require.Equal(t, []any{uint16(5411), tariff.Member(far)}, []any{item.MCC, item.Issuer})

	categorised(5812)
	require.Equal(t, uint16(5411), d.itemOf(sold).MCC, "what was cleared stays")
	refunded := d.must(at("T1", 4, book.Command{Kind: book.KindRefund, Function: points.Refund, Card: cardOf(1), Amount: 30, Original: sold})).Position
	require.Equal(t, uint16(5411), d.itemOf(refunded).MCC, "that of the sale")
	reversed := d.must(at("T1", 5, book.Command{Kind: book.KindReverse, Function: points.Reversal, Original: asked})).Position
	item = d.itemOf(reversed)
	require.Equal(t, []any{uint16(5411), tariff.Member(far)}, []any{item.MCC, item.Issuer})
	later := d.must(at("T1", 6, book.Command{Kind: book.KindRedeem, Card: cardOf(1), Program: air, Amount: 1})).Position
	require.Equal(t, uint16(5812), d.itemOf(later).MCC)
}

// What was told has its own time, also where its issuer hears of it later, and what undoes it
// is valued at that.
func TestWhatWasToldIsUndoneAtItsOwnTime(t *testing.T) {
	s := &shell{desk: clearingDesk(t, book.Options{})}
	s.furnishFar()
	d := s.desk
	d.must(at("T1", 1, book.Command{Kind: book.KindEarn, Card: cardOf(1), Program: air, Amount: 1000}))
	sent := d.now - 400_000
	told := at("T1", 2, book.Command{Kind: book.KindRedeem, Function: points.OfflineRedeem, Card: cardOf(1), Program: air, Amount: 5, Sent: sent})
	sale := d.must(told).Position
	require.Equal(t, sent, d.itemOf(sale).At)
	undone := d.must(at("T1", 3, book.Command{Kind: book.KindReverse, Function: points.Reversal, Original: sale})).Position
	require.Equal(t, sent, d.itemOf(undone).OriginalAt)

	far := at("T1", 4, book.Command{Kind: book.KindForward, Function: points.OfflineRedeem, Card: cardOf(7), Program: farMiles, Amount: 60, Sent: sent})
	asked := d.must(far).Position
	booked := d.must(book.Command{Kind: book.KindOwe, Original: asked}).Position // It stands, and its issuer will be told.
	require.Equal(t, sent, d.itemOf(booked).At)
}
