package book_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

const (
	away   = points.ProgramID(909) // of an issuer that keeps its own ledger
	awayer = points.ProgramID(910)
	farOff = points.IssuerID(1009)
	giveUp = uint32(3600) // seconds
)

// farDesk is swapDesk with two more programmes, of an issuer at the end of a link (40 u both
// ways).
func farDesk(tb testing.TB, rules tariff.SwapRules) *desk {
	d := swapDesk(tb, 1, rules, plainSwaps)
	d.put(book.Entry{Issuer: &book.Issuer{ID: farOff, Name: "Far", Status: book.Active, Link: "far"}})
	from := d.now + 2*tariff.LeadTime
	for _, program := range []points.ProgramID{away, awayer} {
		d.put(book.Entry{Program: &book.Program{ID: program, Issuer: farOff, Name: "Far", Status: book.Active}})
		d.must(swapRate(program, tariff.Buy, 40, 1, 0, from))
		d.must(swapRate(program, tariff.Sell, 40, 1, 0, from))
		d.must(swapTerms(program, plainSwaps, from))
	}
	d.now = from + tick
	return d
}

// farQuote quotes a swap with one remote leg.
func farQuote(from, into points.ProgramID, amount points.Amount) book.Command {
	return book.Command{Kind: book.KindQuote, Edition: book.Edition, Member: 1, Card: cardOf(1), Program: from, Into: into, Amount: amount, Ask: true}
}

func told(quote points.Position, asked points.Function, answer points.Reason) book.Command {
	return book.Command{Kind: book.KindSwapTold, Original: quote, Function: asked, Answer: answer}
}

// retried lets the timer of a swap's leg go off.
func (d *desk) retried(quote points.Position, fence bool) *book.Outcome {
	d.tb.Helper()
	leg := d.legOf(quote)
	d.now = max(d.now, leg.Due)
	return d.must(book.Command{Kind: book.KindSwapRetry, At: d.now + 1, Original: quote, Limit: giveUp, Final: fence})
}

func (d *desk) legOf(quote points.Position) book.SwapLegView {
	d.tb.Helper()
	leg, ok, err := d.book.SwapLeg(quote)
	require.NoError(d.tb, err)
	require.True(d.tb, ok)
	return leg
}

// unknown executes a swap whose issuer says nothing.
func (d *desk) unknown(from, into points.ProgramID) points.Position {
	d.tb.Helper()
	quote := d.must(farQuote(from, into, 1000)).Position
	d.must(about(book.KindSwap, quote))
	d.must(told(quote, d.legOf(quote).Act, points.IssuerTimeout))
	require.Equal(d.tb, book.SwapCreditUnknown, d.state(quote))
	return quote
}

func (d *desk) fenced(from, into points.ProgramID) points.Position {
	d.tb.Helper()
	quote := d.unknown(from, into)
	for d.legOf(quote).Fenced == 0 {
		d.retried(quote, true)
	}
	return quote
}

func (d *desk) heldOf(program points.ProgramID) points.Amount {
	d.tb.Helper()
	view, _, err := d.book.Account(book.AccountKey{Kind: book.MemberAccount, Program: program, Party: 1})
	require.NoError(d.tb, err)
	return view.Held
}

// items is what a record clears.
func (d *desk) items(position points.Position) (kinds []tariff.Kind) {
	d.tb.Helper()
	var rec book.Record
	require.NoError(d.tb, d.store.Record(position, &rec))
	items, err := book.NewClearing(d.store.Record).Items(&rec)
	require.NoError(d.tb, err)
	for _, item := range items {
		kinds = append(kinds, item.Kind)
	}
	return kinds
}

// What is handed in is held until the issuer has said for certain that it gave the other side,
// and spent then, from a lock too; the item arises with that answer, on its date.
func TestSwapIntoARemoteProgramme(t *testing.T) {
	for _, lock := range []bool{false, true} {
		d := farDesk(t, plainSwaps)
		q := d.must(farQuote(air, away, 1000)).Clone()
		// value 100000, fee 1000, out 2475 of 40.
		require.Equal(t, points.Amount(2475), q.Swap.Out)
		if lock {
			d.must(about(book.KindSwapLock, q.Position))
			d.agrees()
		}
		begun := d.must(about(book.KindSwap, q.Position)).Clone()
		require.True(t, begun.Forwarded)
		require.Empty(t, begun.Postings)
		require.Equal(t, []points.Amount{9000, 1000}, []points.Amount{begun.Free, begun.Held})
		leg := d.legOf(q.Position)
		require.Equal(t, []any{points.SwapCredit, points.SwapCredit, points.Amount(2475), begun.Position, cardOf(1)}, []any{leg.Act, leg.Asks, leg.Amount, leg.Position, leg.Card})
		require.Empty(t, d.items(begun.Position))
		d.agrees()
		d.must(book.Command{Kind: book.KindCutOver, Date: day0.AddDays(1)})
		done := d.must(told(q.Position, points.SwapCredit, points.Approved)).Clone()
		require.Equal(t, []points.Amount{9000, 0}, []points.Amount{done.Free, done.Held})
		require.Len(t, done.Postings, 2)
		require.Equal(t, book.SwapDone, d.state(q.Position))
		require.Equal(t, []tariff.Kind{tariff.KindSWP}, d.items(done.Position))
		require.Equal(t, day0.AddDays(1), done.Date)
		for date, owed := range map[points.BusinessDate]points.Amount{day0: 0, day0.AddDays(1): 99_000} {
			view, _, err := d.book.ClearedIn(date, 1)
			require.NoError(t, err)
			var net points.Amount
			for _, p := range view.Positions {
				if p.Member == tariff.Member(farOff) {
					net = p.Net()
				}
			}
			require.Equal(t, owed, net, "on %d", date)
		}
		d.refuses(points.OriginalClosed, told(q.Position, points.SwapCredit, points.Approved)) // a duplicate
		d.refuses(points.OriginalClosed, told(q.Position, points.SwapCredit, points.DoNotHonour))
		d.agrees()
	}
}

// Points of a remote programme are taken there before anything is given here.
func TestSwapFromARemoteProgramme(t *testing.T) {
	d := farDesk(t, plainSwaps)
	q := d.must(farQuote(away, inn, 1000)).Clone()
	d.refuses(points.FunctionDisabled, about(book.KindSwapLock, q.Position))
	begun := d.must(about(book.KindSwap, q.Position)).Clone()
	require.Equal(t, points.SwapDebit, d.legOf(q.Position).Act)
	require.Equal(t, points.Amount(1000), d.legOf(q.Position).Amount)
	require.Empty(t, begun.Lots)
	require.Equal(t, points.Amount(10_000), d.loose(inn, 1))
	d.agrees()
	done := d.must(told(q.Position, points.SwapDebit, points.Approved)).Clone()
	require.Equal(t, 10_000+q.Swap.Out, d.loose(inn, 1))
	require.Equal(t, []tariff.Kind{tariff.KindSWP}, d.items(done.Position))
	d.agrees()

	q2 := d.fenced(away, inn)
	require.Equal(t, book.SwapReversed, d.must(told(q2, points.Reversal, points.Approved)).Swap.State)
	require.Equal(t, 10_000+q.Swap.Out, d.loose(inn, 1))
	d.agrees()
}

// A certain no gives back what is held, and what it counted; a first request that was never
// sent is one, and what says nothing of the request is none.
func TestSwapRemoteRefused(t *testing.T) {
	rules := plainSwaps
	rules.UserDay = 1000
	d := farDesk(t, rules)
	for _, no := range []book.Command{{Answer: points.UnknownMember}, {Answer: points.OverAmountLimit}, {Answer: points.LineDown, Final: true}, {Answer: points.FunctionDisabled}} {
		quote := d.must(farQuote(air, away, 1000)).Position
		d.must(about(book.KindSwap, quote))
		d.refuses(points.OverAmountLimit, farQuote(air, away, 1)) // it counts while it is open
		no.Kind, no.Original, no.Function = book.KindSwapTold, quote, points.SwapCredit
		out := d.must(no).Clone()
		require.Equal(t, book.SwapRejected, out.Swap.State)
		require.Equal(t, []points.Amount{10_000, 0}, []points.Amount{out.Free, out.Held})
		require.Empty(t, d.items(out.Position))
		d.agrees()
	}
	quote := d.unknown(air, away)
	for _, maybe := range []points.Reason{points.InternalError, points.IssuerTimeout, points.NotFresh, points.Overloaded, points.FunctionDisabled, points.ApprovedPartly} {
		d.refuses(points.NotPermitted, told(quote, points.SwapCredit, maybe))
	}
	d.refuses(points.NotPermitted, book.Command{Kind: book.KindSwapTold, Original: quote, Function: points.SwapCredit, Answer: points.LineDown, Final: true})
	require.Equal(t, points.Amount(1000), d.heldOf(air))
	require.Equal(t, book.SwapRejected, d.must(told(quote, points.SwapCredit, points.UnknownCard)).Swap.State)
	d.agrees()
}

// While the answer is missing the hold stays, whatever its age; the issuer is asked by the
// schedule, first whether it knows the request, and "not there" has the same request sent
// While an issuer has a leg to decide it stays at its link: another host there would answer
// for what it has never seen.
func TestSwapRemoteKeepsItsLink(t *testing.T) {
	d := farDesk(t, plainSwaps)
	quote := d.unknown(air, away)
	far := func(link string) book.Command {
		return book.Command{Kind: book.KindPut, Entry: book.Entry{Issuer: &book.Issuer{ID: farOff, Name: "Far away", Status: book.Active, Link: link}}}
	}
	require.Equal(t, points.NotPermitted, d.do(far("other")).Reason)
	require.Equal(t, points.NotPermitted, d.do(far("")).Reason)
	d.must(far("far")) // Its name may change.
	d.must(told(quote, d.legOf(quote).Act, points.Approved))
	require.Equal(t, book.SwapDone, d.state(quote))
	d.must(far("other"))
	d.agrees()
}

// again and gives nothing back.
func TestSwapRemoteRetries(t *testing.T) {
	d := farDesk(t, plainSwaps)
	quote := d.unknown(air, away)
	began := d.legOf(quote)
	var gaps []points.Timestamp
	last := began.Due
	for range 5 {
		out := d.retried(quote, true)
		require.True(t, out.Forwarded)
		leg := d.legOf(quote)
		require.Equal(t, points.SwapEnquiry, leg.Asks)
		require.Equal(t, out.Position, leg.AskedBy)
		require.Equal(t, began.Position, leg.Position, "the same identity")
		gaps, last = append(gaps, (leg.Due-last)/tick), leg.Due
		require.True(t, d.must(told(quote, points.SwapEnquiry, points.UnknownOriginal)).Forwarded)
		require.Equal(t, points.SwapCredit, d.legOf(quote).Asks)
		require.Equal(t, points.Amount(1000), d.heldOf(air))
		d.refuses(points.OriginalClosed, told(quote, points.SwapEnquiry, points.UnknownOriginal))
	}
	require.Equal(t, []points.Timestamp{5, 30, 300, 1800}, gaps[:4])
	require.Equal(t, began.Posted+points.Timestamp(giveUp)*tick, last, "when it is given up, and not half an hour later")
	early := book.Command{Kind: book.KindSwapRetry, At: d.legOf(quote).Due - 1, Original: quote, Limit: giveUp, Final: true}
	d.refuses(points.OriginalClosed, early)
	require.Equal(t, book.SwapDone, d.must(told(quote, points.SwapEnquiry, points.Approved)).Swap.State)
	d.agrees()
}

// Once a swap is given up only the answer to FENCE counts: gone gives back, stands completes,
// and it is asked without end; after its time again it is the operators' as well.
func TestSwapRemoteFence(t *testing.T) {
	d := farDesk(t, plainSwaps)
	gone, stands := d.fenced(air, away), d.fenced(air, away)
	fence := d.legOf(gone)
	require.Equal(t, points.Reversal, fence.Asks)
	for _, late := range []points.Reason{points.Approved, points.DoNotHonour} {
		d.refuses(points.OriginalClosed, told(gone, points.SwapCredit, late))
		d.refuses(points.OriginalClosed, told(gone, points.SwapEnquiry, late))
	}
	d.refuses(points.NotPermitted, told(gone, points.Reversal, points.UnknownOriginal))
	d.retried(gone, true)
	require.Equal(t, fence.Fenced, d.legOf(gone).Fenced, "FENCE keeps its identity")
	given := d.must(told(gone, points.Reversal, points.Approved)).Clone()
	require.Equal(t, book.SwapReversed, given.Swap.State)
	require.Empty(t, d.items(given.Position), "nothing was done, so nothing is undone")
	d.refuses(points.OriginalClosed, told(gone, points.SwapCredit, points.Approved)) // of before it was cancelled
	require.Equal(t, book.SwapDone, d.must(told(stands, points.Reversal, points.OriginalClosed)).Swap.State)
	require.Equal(t, points.Amount(9000), d.loose(air, 1))
	d.agrees()

	quote := d.fenced(air, away)
	for d.state(quote) != book.SwapManual {
		d.retried(quote, true)
	}
	require.Equal(t, points.Amount(1000), d.heldOf(air))
	require.Contains(t, d.book.SwapLegs(), quote)
	require.Equal(t, book.SwapReversed, d.must(told(quote, points.Reversal, points.Approved)).Swap.State)
	require.Empty(t, d.book.SwapLegs())
	d.agrees()
}

// An issuer without FENCE is asked on, and operators decide, two of them; a swap that is done
// is undone by postings of its own when its issuer has reversed it.
func TestSwapRemoteManual(t *testing.T) {
	d := farDesk(t, plainSwaps)
	manual := func() points.Position {
		quote := d.unknown(air, away)
		for d.state(quote) != book.SwapManual {
			d.retried(quote, false)
		}
		require.Zero(t, d.legOf(quote).Fenced)
		return quote
	}
	resolve := func(quote points.Position, answer points.Reason) book.Command {
		return book.Command{Kind: book.KindResolve, Original: quote, Answer: answer, Operator: "li", Second: "wang"}
	}
	late := manual()
	require.Equal(t, book.SwapDone, d.must(told(late, points.SwapCredit, points.Approved)).Swap.State)

	captured := manual()
	alone := resolve(captured, points.Approved)
	alone.Second = ""
	d.refuses(points.NeedsSecondPerson, alone)
	d.refuses(points.FormatError, resolve(captured, points.DoNotHonour))
	done := d.must(resolve(captured, points.Approved)).Clone()
	require.Equal(t, book.SwapDone, done.Swap.State)
	require.Equal(t, []tariff.Kind{tariff.KindSWP}, d.items(done.Position))
	d.agrees()

	d.refuses(points.OriginalClosed, resolve(captured, points.Approved))
	back := d.must(resolve(captured, points.ReversedBefore)).Clone()
	require.Equal(t, book.SwapReversed, back.Swap.State)
	require.Equal(t, []tariff.Kind{tariff.KindRVS}, d.items(back.Position))
	require.Equal(t, points.Amount(9000), d.loose(air, 1))
	d.refuses(points.OriginalClosed, resolve(captured, points.ReversedBefore))
	d.agrees()

	void := manual()
	require.Equal(t, book.SwapReversed, d.must(resolve(void, points.ReversedBefore)).Swap.State)
	require.Zero(t, d.heldOf(air))
	d.agrees()
}

// Operators say that it stands, and its issuer says for certain that it does not: that is told,
// and changes nothing, until the one or the other says something else.
func TestSwapRemoteDenied(t *testing.T) {
	d := farDesk(t, plainSwaps)
	resolve := func(quote points.Position, answer points.Reason) book.Command {
		return book.Command{Kind: book.KindResolve, Original: quote, Answer: answer, Operator: "li", Second: "wang"}
	}
	denied := func(fence bool) points.Position {
		quote := d.unknown(air, away)
		for d.state(quote) != book.SwapManual {
			d.retried(quote, fence)
		}
		d.must(resolve(quote, points.Approved))
		require.Empty(t, d.book.SwapLegs())
		asked, answer := points.Reversal, points.Approved
		if !fence {
			d.refuses(points.OriginalClosed, told(quote, asked, answer)) // It was not asked.
			asked, answer = points.SwapCredit, points.UnknownMember
		}
		d.refuses(points.OriginalClosed, told(quote, asked, points.NoAnswer))
		d.refuses(points.OriginalClosed, told(quote, points.SwapEnquiry, points.UnknownOriginal))
		free := d.loose(air, 1)
		out := d.must(told(quote, asked, answer)).Clone()
		require.Empty(t, out.Postings)
		require.Empty(t, d.items(out.Position))
		require.Equal(t, []any{book.SwapDone, true, free}, []any{d.state(quote), d.legOf(quote).Denied, d.loose(air, 1)})
		require.Equal(t, []points.Position{quote}, d.book.SwapLegs())
		d.refuses(points.OriginalClosed, told(quote, asked, answer))
		d.agrees()
		require.True(t, d.retried(quote, fence).Forwarded)
		require.Equal(t, book.SwapDone, d.state(quote))
		return quote
	}
	for _, fence := range []bool{true, false} {
		wrong := denied(fence)
		d.must(resolve(wrong, points.Approved))
		require.Equal(t, []any{book.SwapDone, false}, []any{d.state(wrong), d.legOf(wrong).Denied})

		again := denied(fence)
		answer := told(again, points.Reversal, points.OriginalClosed)
		if !fence {
			answer = told(again, points.SwapEnquiry, points.Approved)
		}
		d.must(answer)
		require.Equal(t, []any{book.SwapDone, false}, []any{d.state(again), d.legOf(again).Denied})

		right := denied(fence)
		free := d.loose(air, 1)
		back := d.must(resolve(right, points.ReversedBefore)).Clone()
		require.Equal(t, []tariff.Kind{tariff.KindRVS}, d.items(back.Position))
		require.Equal(t, []any{book.SwapReversed, free + 1000}, []any{d.state(right), d.loose(air, 1)})
		require.Empty(t, d.book.SwapLegs())
		d.agrees()

		// And now its issuer says that it stands: it is reversed there.
		d.must(told(right, points.SwapEnquiry, points.Approved))
		require.True(t, d.legOf(right).Undoing)
		d.must(told(right, points.Reversal, points.Approved))
		require.Empty(t, d.book.SwapLegs())
		d.agrees()
	}
}

// A yes after a swap was given up without FENCE is reversed there; where it cannot be, it is
// the issuer's, in suspense.
func TestSwapRemoteLateYes(t *testing.T) {
	for _, answer := range []points.Reason{points.Approved, points.OriginalClosed} {
		d := farDesk(t, plainSwaps)
		quote := d.must(farQuote(air, away, 1000)).Position
		d.must(about(book.KindSwap, quote))
		d.must(told(quote, points.SwapCredit, points.DoNotHonour))
		require.True(t, d.must(told(quote, points.SwapCredit, points.Approved)).Forwarded)
		leg := d.legOf(quote)
		require.Equal(t, []any{points.Reversal, true, book.SwapRejected}, []any{leg.Asks, leg.Undoing, leg.State})
		d.agrees()
		d.retried(quote, true)
		d.refuses(points.NotPermitted, told(quote, points.Reversal, points.NoAnswer))
		before, _, err := d.book.ClearedIn(day0, 1)
		require.NoError(t, err)
		over := d.must(told(quote, points.Reversal, answer)).Clone()
		var exceptions []tariff.Kind
		if answer == points.OriginalClosed {
			exceptions = []tariff.Kind{tariff.KindSWP}
		}
		require.Equal(t, exceptions, d.items(over.Position))
		cleared, _, err := d.book.ClearedIn(day0, 1)
		require.NoError(t, err)
		require.Equal(t, before.Unvalued+uint64(len(exceptions)), cleared.Unvalued)
		for _, p := range cleared.Positions {
			require.Zero(t, p.Net(), "nobody owes anything for it")
		}
		require.Empty(t, d.book.SwapLegs())
		require.Equal(t, points.Amount(10_000), d.loose(air, 1))
		view, _, err := d.book.Account(book.AccountKey{Kind: book.SuspenseAccount, Program: away, Party: uint64(farOff)})
		require.NoError(t, err)
		suspense := points.Amount(0)
		if answer == points.OriginalClosed {
			suspense = 2475
		}
		require.Equal(t, suspense, view.Balance)
		d.refuses(points.OriginalClosed, told(quote, points.SwapCredit, points.DoNotHonour))
		d.refuses(points.OriginalClosed, told(quote, points.SwapCredit, points.Approved)) // It is in suspense once.
		d.refuses(points.OriginalClosed, told(quote, points.SwapEnquiry, points.Approved))
		d.refuses(points.OriginalClosed, told(quote, points.Reversal, points.OriginalClosed))
		d.agrees()
	}
}

// Operators give back while an answer is on its way: that the leg stands counts, whatever was
// asked, and is reversed there.
func TestSwapRemoteStandsAfterAll(t *testing.T) {
	for _, late := range []book.Command{
		{Function: points.SwapCredit, Answer: points.Approved},
		{Function: points.SwapEnquiry, Answer: points.Approved},
		{Function: points.Reversal, Answer: points.OriginalClosed},
	} {
		d := farDesk(t, plainSwaps)
		quote := d.unknown(air, away)
		for d.state(quote) != book.SwapManual {
			d.retried(quote, late.Function == points.Reversal)
		}
		d.must(book.Command{Kind: book.KindResolve, Original: quote, Answer: points.ReversedBefore, Operator: "li", Second: "wang"})
		d.refuses(points.OriginalClosed, told(quote, late.Function, points.UnknownOriginal))
		require.True(t, d.must(told(quote, late.Function, late.Answer)).Forwarded)
		require.True(t, d.legOf(quote).Undoing)
		d.agrees()
		d.must(told(quote, points.Reversal, points.OriginalClosed))
		view, _, err := d.book.Account(book.AccountKey{Kind: book.SuspenseAccount, Program: away, Party: uint64(farOff)})
		require.NoError(t, err)
		require.Equal(t, points.Amount(2475), view.Balance)
		d.agrees()
	}
}

// What stands though it was given up, at an issuer that answers no FENCE, is ended by operators:
// reversed there meanwhile, or the issuer's, in suspense.
func TestSwapRemoteUndoingResolved(t *testing.T) {
	for answer, suspense := range map[points.Reason]points.Amount{points.ReversedBefore: 0, points.Approved: 2475} {
		d := farDesk(t, plainSwaps)
		quote := d.must(farQuote(air, away, 1000)).Position
		d.must(about(book.KindSwap, quote))
		d.must(told(quote, points.SwapCredit, points.DoNotHonour))
		d.must(told(quote, points.SwapCredit, points.Approved))
		d.refuses(points.NotPermitted, told(quote, points.Reversal, points.UnknownFunction))
		d.retried(quote, false)
		resolve := book.Command{Kind: book.KindResolve, Original: quote, Answer: answer, Operator: "li"}
		d.refuses(points.NeedsSecondPerson, resolve)
		resolve.Second = "wang"
		over := d.must(resolve).Clone()
		var exceptions []tariff.Kind
		if suspense != 0 {
			exceptions = []tariff.Kind{tariff.KindSWP}
		}
		require.Equal(t, exceptions, d.items(over.Position))
		require.Empty(t, d.book.SwapLegs())
		require.Equal(t, book.SwapRejected, d.state(quote))
		require.Equal(t, points.Amount(10_000), d.loose(air, 1))
		view, _, err := d.book.Account(book.AccountKey{Kind: book.SuspenseAccount, Program: away, Party: uint64(farOff)})
		require.NoError(t, err)
		require.Equal(t, suspense, view.Balance)
		d.refuses(points.OriginalClosed, resolve)
		d.refuses(points.OriginalClosed, told(quote, points.SwapCredit, points.Approved))
		d.agrees()
	}
}

// What cannot be swapped with an issuer's own ledger is refused, and so is what would undo or
// cancel while it decides.
func TestSwapRemoteRefusals(t *testing.T) {
	d := farDesk(t, plainSwaps)
	d.refuses(points.RemoteSwap, farQuote(away, awayer, 1000))
	unasked := farQuote(air, away, 1000)
	unasked.Ask = false
	d.refuses(points.RemoteSwap, unasked)
	unasked.Ask, unasked.Card = true, points.CardToken{}
	d.refuses(points.UnknownCard, unasked)
	d.refuses(points.UnknownOriginal, told(3, points.SwapCredit, points.Approved))

	local := d.must(quoteOf(1, air, inn, 1000)).Position
	d.must(about(book.KindSwapLock, local))
	quote := d.must(farQuote(air, away, 1000)).Position
	begun := d.must(about(book.KindSwap, quote)).Position
	d.refuses(points.OriginalClosed, about(book.KindSwap, quote))
	d.refuses(points.OriginalClosed, about(book.KindSwapCancel, quote))
	d.refuses(points.OriginalClosed, book.Command{Kind: book.KindReverse, Original: begun})
	d.refuses(points.FormatError, told(quote, points.SwapDebit, points.Approved))
	d.refuses(points.OriginalClosed, told(quote, points.Reversal, points.Approved)) // nobody was asked for it
	d.refuses(points.OriginalClosed, book.Command{Kind: book.KindResolve, Original: quote, Answer: points.Approved, Operator: "li", Second: "wang"})
	d.must(told(quote, points.SwapCredit, points.DoNotHonour))

	// An issuer that takes its ledger away ends what was locked without asking it.
	d.put(book.Entry{Issuer: &book.Issuer{ID: issuer, Name: "Issuer", Status: book.Active, Link: "gone"}})
	d.refuses(points.RemoteSwap, about(book.KindSwap, local))
	d.must(about(book.KindSwapCancel, local))
}

// What is handed in at another's ledger has no account here: to reverse its quote, or the swap
// before and after it is done, is answered like that of any other.
func TestSwapRemoteReversedAtTheSource(t *testing.T) {
	d := farDesk(t, plainSwaps)
	quote := d.must(farQuote(away, inn, 1000)).Position
	begun := d.must(about(book.KindSwap, quote)).Position
	reverse := func(position points.Position) book.Command {
		return book.Command{Kind: book.KindReverse, Original: position, Edition: book.Edition}
	}
	d.refuses(points.OriginalClosed, reverse(begun))
	done := d.must(told(quote, points.SwapDebit, points.Approved)).Position
	d.refuses(points.OriginalClosed, reverse(begun))
	d.refuses(points.NotPermitted, reverse(done))
	before := d.loose(inn, 1)
	d.must(reverse(quote))
	require.Equal(t, []any{before, book.SwapDone}, []any{d.loose(inn, 1), d.state(quote)})
	d.agrees()
}
