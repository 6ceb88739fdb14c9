package book_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// What holds reserve of a cap, and what they leave of it, cannot be held or spent by others:
// so capturing all of it stays within the cap. What is captured, released, reversed or
// expired is let go of; what comes back to a hold is reserved again (I21).
func TestHoldsReserveOfACap(t *testing.T) {
	d := clearingDesk(t, book.Options{})
	d.furnish(1, kindRules, kindRules)
	d.must(book.Command{Kind: book.KindAdjust, Operator: "li", Second: "wang", Member: 1, Program: inn, Amount: 5000})
	// 1 point is worth 2, and the interchange of 10 points, 0.1, comes to nothing.
	d.must(capped(book.Cap{Member: tariff.Member(issuer), Cap: 40, Prefund: 40, Holds: true}))
	stan := uint32(0)
	ask := func(kind book.Kind, amount points.Amount, original points.Position) *book.Outcome {
		stan++
		cmd := at("T1", stan, book.Command{Kind: kind, Card: cardOf(1), Program: inn, Amount: amount, Original: original})
		if kind == book.KindReverse {
			cmd.Amount, cmd.Actual, cmd.Function, cmd.Edition = 0, amount, points.Reversal, book.Edition
		}
		return d.do(cmd)
	}
	is := func(reserved, owes points.Amount) {
		t.Helper()
		e := d.book.Exposures()[0]
		require.Equal(t, []points.Amount{reserved, owes}, []points.Amount{e.Reserved, e.Owes})
		require.NoError(t, d.book.Audit())
	}
	refused := func(kind book.Kind, amount points.Amount, original points.Position) {
		t.Helper()
		require.Equal(t, points.OverSettlementCap, ask(kind, amount, original).Reason)
	}
	approved := func(kind book.Kind, amount points.Amount, original points.Position) points.Position {
		t.Helper()
		out := ask(kind, amount, original)
		require.Equal(t, points.Approved, out.Reason)
		return out.Position
	}
	hold := approved(book.KindHold, 10, 0)
	is(20, 20)
	refused(book.KindHold, 11, 0)
	refused(book.KindRedeem, 11, 0)
	refused(book.KindIncrement, 11, hold)
	is(20, 20)
	more := approved(book.KindIncrement, 10, hold)
	is(40, 40)
	refused(book.KindRedeem, 1, 0)
	approved(book.KindReverse, 0, more)
	is(20, 20)
	part := approved(book.KindCapture, 4, hold)
	is(12, 20)
	approved(book.KindVoid, 0, part)
	is(20, 20)
	approved(book.KindReverse, 5, hold)
	is(10, 10)
	approved(book.KindReverse, 5, hold) // It is no more than that already.
	is(10, 10)
	second := approved(book.KindHold, 15, 0)
	is(40, 40)
	gone := approved(book.KindRelease, 0, second)
	is(10, 10)
	approved(book.KindReverse, 0, gone)
	is(40, 40)
	d.store.checkpoint(d.book)
	d.book = book.New(book.Options{}, d.store)
	is(40, 40)
	approved(book.KindReverse, 0, second)
	is(10, 10)
	approved(book.KindCapture, 5, hold)
	is(0, 10)
	approved(book.KindHold, 15, 0)
	is(30, 40)
	for range 2 {
		d.must(book.Command{Kind: book.KindCutOver, Date: d.book.Date() + 1})
	}
	is(30, 40)
	d.must(book.Command{Kind: book.KindExpireHolds})
	is(0, 10)
	replay(t, d, newDesk(t, book.Options{}))
}

// A cap from before holds reserved does not count them: its journal replays as it was.
func TestAnOldCapDoesNotCountHolds(t *testing.T) {
	d := clearingDesk(t, book.Options{})
	d.furnish(1, kindRules, kindRules)
	d.must(book.Command{Kind: book.KindAdjust, Operator: "li", Second: "wang", Member: 1, Program: inn, Amount: 5000})
	d.must(capped(book.Cap{Member: tariff.Member(issuer), Cap: 40, Prefund: 40}))
	for stan := range uint32(2) {
		d.must(at("T1", 1+stan, book.Command{Kind: book.KindHold, Card: cardOf(1), Program: inn, Amount: 20}))
	}
	require.Zero(t, d.book.Exposures()[0].Reserved)
	d.must(at("T1", 3, book.Command{Kind: book.KindIncrement, Card: cardOf(1), Program: inn, Amount: 20, Original: d.book.Position()}))
	require.Equal(t, points.Amount(40), d.book.Exposures()[0].Headroom)
}

// A hold with an issuer elsewhere reserves from the request on; a capture under way what it
// asks for and the hold the rest. The issuer's no, a void, a reversal, the last capture and
// the hold's last day let go of it (I21).
func TestHoldsElsewhereReserveOfACap(t *testing.T) {
	s := &shell{desk: clearingDesk(t, book.Options{})}
	s.furnishFar()
	d := s.desk
	d.must(capped(book.Cap{Member: tariff.Member(far), Cap: 200, Prefund: 200, Holds: true}))
	stan := uint32(100)
	send := func(cmd book.Command) points.Position {
		t.Helper()
		stan++
		cmd.Card = cardOf(7)
		out := d.do(at("T1", stan, cmd))
		require.Equal(t, points.Approved, out.Reason)
		return out.Position
	}
	hold := func() points.Position {
		return send(book.Command{Kind: book.KindForward, Function: points.PreAuth, Program: farMiles, Amount: 60}) // worth 100
	}
	answer := func(original points.Position, reason points.Reason) {
		t.Helper()
		d.must(book.Command{Kind: book.KindConclude, Original: original, Answer: reason})
	}
	is := func(reserved, owes points.Amount) {
		t.Helper()
		e := d.book.Exposures()[0]
		require.Equal(t, []points.Amount{reserved, owes}, []points.Amount{e.Reserved, e.Owes})
		require.NoError(t, d.book.Audit())
	}
	refused := hold()
	is(100, 100)
	answer(refused, points.NotEnoughPoints)
	is(0, 0)
	late := hold()
	d.must(book.Command{Kind: book.KindOwe, Original: late})
	is(0, 0)
	reversed := hold()
	answer(reversed, points.Approved)
	is(100, 100)
	send(book.Command{Kind: book.KindReverse, Function: points.Reversal, Original: reversed})
	is(0, 0)
	voided := hold()
	answer(voided, points.Approved)
	void := send(book.Command{Kind: book.KindRelease, Function: points.PreAuthVoid, Original: voided})
	is(100, 100)
	answer(void, points.Approved)
	is(0, 0)

	first := hold()
	answer(first, points.Approved)
	require.Equal(t, points.OverSettlementCap, d.do(at("T1", 900, book.Command{Kind: book.KindForward, Function: points.PreAuth, Card: cardOf(8), Program: farMiles, Amount: 61})).Reason)
	part := send(book.Command{Kind: book.KindCapture, Function: points.Completion, Original: first, Amount: 30})
	is(100, 100)
	answer(part, points.NotEnoughPoints)
	is(100, 100)
	part = send(book.Command{Kind: book.KindCapture, Function: points.Completion, Original: first, Amount: 30})
	answer(part, points.Approved)
	is(50, 100)
	undone := send(book.Command{Kind: book.KindVoid, Function: points.CompletionVoid, Original: part, Final: true})
	is(50, 100)
	answer(undone, points.Approved)
	is(100, 100)
	last := send(book.Command{Kind: book.KindCapture, Function: points.Completion, Original: first, Amount: 30, Final: true})
	is(100, 100)
	answer(last, points.Approved)
	is(0, 50)

	open := hold()
	answer(open, points.Approved)
	is(100, 150)
	d.store.checkpoint(d.book)
	d.book = book.New(book.Options{}, d.store)
	d.must(book.Command{Kind: book.KindCutOver, Date: d.book.Date().AddDays(30)})
	d.must(book.Command{Kind: book.KindExpireHolds})
	is(100, 150)
	d.must(book.Command{Kind: book.KindCutOver, Date: d.book.Date().AddDays(1)})
	d.must(book.Command{Kind: book.KindExpireHolds})
	is(0, 50)
	tooLate := send(book.Command{Kind: book.KindCapture, Function: points.Completion, Original: open, Amount: 30})
	is(50, 100)
	answer(tooLate, points.HoldExpired)
	is(0, 50)
	replay(t, d, newDesk(t, book.Options{}))
}
