package book

import (
	"cmp"
	"slices"

	"github.com/lianfen/lianfen/points"
)

// reduce is the reversal of a part: actual of the original stands, the rest is
// given back. What was refunded or reversed before is part of that rest, so the
// same actual amount gives nothing twice, and a larger one takes nothing again.
//
//	redemption  the account has the rest back, latest expiry first
//	capture     the hold has it, or the account when the capture was the final one
//	hold        it reserves so much less, as far as it is not captured
//	earn        the member gives the rest back, then what has repaid a debt
func (b *Book) reduce(cmd *Command, rec *Record, out *Outcome) (points.Reason, error) {
	done, actual, position := &rec.Outcome, cmd.Actual, rec.Outcome.Position
	switch {
	case !reducible(rec.Command.Kind):
		return points.NotPermitted, nil
	case actual > done.Amount:
		return points.AmountOverOriginal, nil
	}
	t, err := b.findTransaction(done.Position)
	if err != nil || (t != nil && (t.reversed != 0 || t.voided != 0)) {
		return points.Approved, err
	}
	a, err := b.showFirst(done, out)
	if err != nil {
		return 0, err
	}
	gone := t.reducedBy()
	if t != nil && (rec.Command.Kind == KindRedeem || rec.Command.Kind == KindCapture) {
		gone = t.returnedFrom(rec)
	}
	back := done.Amount - gone - actual
	if back <= 0 {
		return points.Approved, nil
	}
	if t.worn() {
		return points.OverCountLimit, nil
	}
	out.Amount = back
	key, batch, side := batchesOf(&rec.Command), rec.Command.Batch, rec.Command.Function.Side()
	var reason points.Reason
	switch kind := rec.Command.Kind; {
	case len(done.Legs) > 0:
		if reason, err = b.giveBackTender(cmd, rec, t, back, out); err == nil && reason.Approved() {
			err = b.reopenLegs(rec)
		}
	case kind == KindRedeem:
		reason, err = b.giveBackSale(a, rec, t, back, out)
		if err == nil && reason.Approved() && done.Date == b.date {
			a.countRedeemed(b.date, -back, 0)
		}
	case kind == KindCapture:
		reason, err = b.reduceCapture(a, rec, t, back, out)
	case kind == KindHold:
		reason, err = b.reduceHold(cmd, a, done.Position, back, out)
	default:
		reason, err = b.unearn(rec, gone, back, out)
	}
	if err != nil || !reason.Approved() || out.Amount == 0 {
		return reason, err
	}
	if t, err = b.changeTransaction(position); err != nil {
		return 0, err
	}
	t.reduced += out.Amount
	if err := b.uncounted(key, batch, side, out.Amount, true); err != nil {
		return 0, err
	}
	if err := b.uncountRisk(position, -out.Amount, 0); err != nil {
		return 0, err
	}
	if a == nil {
		return points.Approved, nil
	}
	return points.Approved, b.reopenAccount(a)
}

// reducible reports whether a command of kind can be reversed in part.
func reducible(kind Kind) bool {
	return kind == KindEarn || kind == KindRedeem || kind == KindCapture || kind == KindHold
}

// reduceCapture returns back of what a capture took. To the hold, unless that is
// over or the capture was the final one: a final capture of the actual amount
// would have given the rest to the account.
func (b *Book) reduceCapture(a *account, rec *Record, t *transaction, back points.Amount, out *Outcome) (points.Reason, error) {
	h, err := b.needHold(rec.Outcome.Original)
	if err != nil {
		return 0, err
	}
	over, err := b.over(h)
	if err != nil {
		return 0, err
	}
	if over || rec.Command.Final {
		if reason, err := b.giveBackSale(a, rec, t, back, out); err != nil || !reason.Approved() {
			return reason, err
		}
		if h.placed == b.date {
			a.countRedeemed(b.date, -back, 0)
		}
		b.touchHold(h)
		h.captured -= back
		return points.Approved, nil
	}
	if reason, err := b.returnToHold(h, a, rec, t, back, out); err != nil || !reason.Approved() {
		return reason, err
	}
	if h.left > 0 {
		b.reopen(h, a)
	}
	return points.Approved, nil
}

// reduceHold gives back up to back of what the hold at position reserves, the
// latest expiry first, but leaves the actual amount of it and of what was captured: one
// that the void of its last capture has opened again reserves less than it was placed for.
// A hold that has closed meanwhile stays as it is.
func (b *Book) reduceHold(cmd *Command, a *account, position points.Position, back points.Amount, out *Outcome) (points.Reason, error) {
	h, err := b.needHold(position)
	if err != nil {
		return 0, err
	}
	if h.state != holdOpen {
		out.Amount = 0
		return points.Approved, nil
	}
	if cmd.Edition > 0 {
		back = min(back, max(0, h.captured+h.left-cmd.Actual))
	}
	if out.Amount = min(back, h.left); out.Amount == 0 {
		return points.Approved, nil
	}
	part := hold{account: h.account, placed: h.placed, captured: 1, left: out.Amount} // captured: the redemption itself stays counted
	lots := slices.Clone(h.lots)
	slices.Reverse(lots)
	slices.SortStableFunc(lots, func(x, y lot) int { return cmp.Compare(y.key.expiryRank(), x.key.expiryRank()) })
	for rest, i := out.Amount, 0; rest > 0; i++ {
		amount := min(rest, lots[i].amount)
		part.lots = append(part.lots, lot{lots[i].key, amount})
		rest -= amount
	}
	return b.shrink(h, a, &part, out)
}

// unearn takes back of what an earn gave, of which gone was taken back before:
// first what the member got, then what has repaid a debt, which is owed again. So
// what stands is booked as an earn of so much would have been.
//
//	clearing(acquirer)  +back
//	member              -there   then debt or suspense -missing
//	debt                -what of back had repaid one
func (b *Book) unearn(rec *Record, gone, back points.Amount, out *Outcome) (points.Reason, error) {
	done := &rec.Outcome
	for i := range done.Postings {
		p := &done.Postings[i]
		if p.Account.Kind == MemberAccount || p.Account.Kind == DebtAccount {
			continue
		}
		if reason, err := b.postHouse(p.Account, back, out); err != nil || !reason.Approved() {
			return reason, err
		}
	}
	for i := range done.Postings {
		p := &done.Postings[i]
		if p.Account.Kind != MemberAccount {
			continue
		}
		a, err := b.needAccount(p.Account)
		if err != nil {
			return 0, err
		}
		part := min(p.Amount, gone+back) - min(p.Amount, gone)
		if reason, err := b.claim(a, done.Lots, part, out); err != nil || !reason.Approved() {
			return reason, err
		}
		if err := b.reopenAccount(a); err != nil {
			return 0, err
		}
	}
	for i := range done.Postings {
		p := &done.Postings[i]
		if p.Account.Kind != DebtAccount {
			continue
		}
		given := done.Amount - p.Amount // to the member, beside what repaid the debt
		part := max(0, gone+back-given) - max(0, gone-given)
		if part == 0 {
			continue
		}
		if reason, err := b.undoDebt(p.Account, part, out); err != nil || !reason.Approved() {
			return reason, err
		}
	}
	return points.Approved, nil
}
