package book

import (
	"fmt"
	"slices"

	"github.com/lianfen/lianfen/points"
)

// reverse undoes a request whose sender does not know the answer. The sender
// repeats it until it is approved, so what can be approved is: a repeat, the
// reversal of a decline, and the reversal of what never came, which leaves a
// tombstone that declines it when it comes late.
func (b *Book) reverse(cmd *Command, out *Outcome) (points.Reason, error) {
	if reason := b.participants(cmd); !reason.Approved() {
		return reason, nil
	}
	if reason := b.opened(); !reason.Approved() {
		return reason, nil
	}
	if cmd.Actual < 0 {
		return points.BadAmount, nil
	}
	position, ok, err := b.target(cmd)
	if err != nil {
		return 0, err
	}
	if !ok {
		if cmd.Original != 0 || cmd.OriginalKey == (points.TraceKey{}) || cmd.OriginalKey == cmd.Key {
			return points.UnknownOriginal, nil
		}
		return points.Approved, nil // the tombstone is laid with the key, see generation.remember
	}
	rec, err := b.record(position)
	if err != nil {
		return 0, err
	}
	out.Original = position
	rec, far, err := b.sold(rec)
	if err != nil {
		return 0, err
	}
	if far == nil && !rec.Outcome.Reason.Approved() {
		return points.Approved, nil
	}
	if !reversible(&rec.Command) {
		return points.NotPermitted, nil
	}
	if held, err := b.disputed(position); err != nil || held > 0 {
		return points.OriginalClosed, err
	}
	if cmd.Reverses != 0 && rec.Command.Function != 0 && cmd.Reverses != rec.Command.Function {
		return points.OriginalDiffers, nil
	}
	reason, err := b.sameTransaction(cmd, position, rec.Outcome.Member, rec.Outcome.Program)
	if err != nil || !reason.Approved() {
		return reason, err
	}
	if cmd.Acquirer != 0 && cmd.Acquirer != rec.Command.Acquirer {
		return points.OriginalDiffers, nil
	}
	if cmd.Terminal != (points.TerminalID{}) && (cmd.Terminal != rec.Command.Terminal || cmd.Merchant != rec.Command.Merchant) {
		return points.OriginalDiffers, nil
	}
	if cmd.Amount != 0 && cmd.Amount != rec.Command.Amount && cmd.Amount != rec.Outcome.Amount {
		return points.OriginalDiffers, nil
	}
	if !rec.Outcome.Reason.Approved() {
		return b.reverseAsked(cmd, far, out)
	}
	if cmd.Actual != 0 {
		return b.reduce(cmd, rec, out)
	}
	t, err := b.findTransaction(position)
	if err != nil || (t != nil && t.reversed != 0) {
		return points.Approved, err
	}
	return b.reverseKnown(cmd, rec, t, out)
}

func (b *Book) reverseKnown(cmd *Command, rec *Record, t *transaction, out *Outcome) (reason points.Reason, err error) {
	if len(rec.Outcome.Legs) > 0 {
		if _, err := b.showFirst(&rec.Outcome, out); err != nil {
			return 0, err
		}
	} else if k := rec.Command.Kind; k == KindQuote || k == KindSwap {
		if err := b.aboutSwap(rec.Outcome.Member, rec.Outcome.Program, rec.Outcome.Issuer, out); err != nil {
			return 0, err
		}
	} else if rec.Outcome.Member != 0 && rec.Outcome.Program != 0 {
		a, err := b.needAccount(AccountKey{MemberAccount, rec.Outcome.Program, uint64(rec.Outcome.Member)})
		if err != nil {
			return 0, err
		}
		b.about(a, out)
	}
	position := rec.Outcome.Position
	key, batch, side, whole := batchesOf(&rec.Command), rec.Command.Batch, rec.Command.Function.Side(), rec.Outcome.Amount-t.reducedBy()
	kind, original, voided := rec.Command.Kind, rec.Outcome.Original, t != nil && t.voided != 0
	switch rec.Command.Kind {
	case KindBalance, KindSignOn, KindQuote:
		reason = points.Approved
	case KindSwap:
		reason, err = b.reverseSwap(rec, out)
	case KindEarn:
		reason = points.Approved
		if t == nil || t.voided == 0 {
			out.Amount = rec.Outcome.Amount - t.reducedBy()
			reason, err = b.unearn(rec, t.reducedBy(), out.Amount, out)
		}
	case KindTransfer, KindGroup:
		out.Amount = rec.Outcome.Amount
		reason, err = b.undoPostings(rec, out)
	case KindRedeem, KindCapture:
		reason, err = b.reverseSale(cmd, rec, t, out)
	case KindHold, KindIncrement, KindRelease:
		reason, err = b.reverseHold(cmd, rec, out)
	case KindVoid:
		reason, err = b.reverseVoid(cmd, rec, out)
	case KindRefund:
		reason, err = b.reverseRefund(cmd, rec, out)
	default:
		return 0, fmt.Errorf("kind %d cannot be reversed", rec.Command.Kind)
	}
	if err != nil || !reason.Approved() {
		return reason, err
	}
	if t, err = b.changeTransaction(position); err != nil {
		return 0, err
	}
	t.reversed = b.position + 1
	if voided && cmd.Edition > 0 {
		return points.Approved, nil // Its void stands against it in the batch, and has undone it.
	}
	if err := b.uncounted(key, batch, side, whole, false); err != nil || voided {
		return points.Approved, err
	}
	return points.Approved, b.uncountReversed(kind, position, original, whole, out.Amount)
}

// uncountReversed gives back what a reversed command has counted for the rules on risk, or
// counts again what it had given back: whole is what stood of it, moved what was undone.
func (b *Book) uncountReversed(kind Kind, position, original points.Position, whole, moved points.Amount) error {
	switch kind {
	case KindRedeem, KindEarn, KindTransfer:
		return b.uncountRisk(position, -whole, -1)
	case KindHold:
		if moved == whole {
			return b.uncountRisk(position, -moved, -1)
		}
		return b.uncountRisk(position, -moved, 0) // Something was captured, or it had ended.
	case KindRelease:
		h, err := b.needHold(original)
		if err != nil || moved == 0 {
			return err
		}
		return b.uncountRisk(original, moved, -h.undone())
	default:
		return nil
	}
}

// reverseRefund takes back what a refund gave, unless its sale was reversed since:
// then nothing of the sale stands, and what was given back stays given back.
func (b *Book) reverseRefund(cmd *Command, rec *Record, out *Outcome) (points.Reason, error) {
	sale, err := b.findTransaction(rec.Outcome.Original)
	if err != nil || (sale != nil && sale.reversed != 0) {
		return points.Approved, err
	}
	if reason, err := b.mayStandAgain(cmd, rec); err != nil || !reason.Approved() {
		return reason, err
	}
	if sale != nil && sale.refunded > 0 {
		return b.reverseTenderRefund(cmd, rec, sale, out)
	}
	out.Amount = rec.Outcome.Amount
	if reason, err := b.undoPostings(rec, out); err != nil || !reason.Approved() {
		return reason, err
	}
	if err := b.source.Record(rec.Outcome.Original, &b.second); err != nil {
		return 0, fmt.Errorf("read journal record %d: %w", rec.Outcome.Original, err)
	}
	return points.Approved, b.retake(&b.second.Outcome, &rec.Outcome, out)
}

// reversible reports whether a command's kind can be reversed; a group when all
// that it did is booked in postings.
func reversible(cmd *Command) bool {
	switch cmd.Kind {
	case KindSignOn, KindBalance, KindEarn, KindRedeem, KindHold, KindIncrement, KindCapture, KindRelease, KindVoid, KindRefund, KindTransfer, KindQuote, KindSwap:
		return true
	case KindGroup:
		return !slices.ContainsFunc(cmd.Group, func(member Command) bool { return member.Kind == KindOpen })
	case KindPut, KindOpen, KindFreeze, KindClose, KindExpireHolds, KindReverse, KindAdjust, KindReinstate, KindExpireLots, KindVestLots, KindCutOver, KindSettle, KindDecay,
		KindCloseBatch, KindUpload, KindDownload, KindSignIn, KindEnrol, KindPropose, KindApprove, KindReject, KindNote, KindPIN, KindPost, KindDispute, KindExpireDisputes, KindLeg, KindSwapLock, KindSwapCancel, KindExpireSwaps, KindSwapTold, KindSwapRetry:
		return false
	default:
		return false
	}
}

// reverseSale gives back what a redemption or capture took and nobody has given
// back yet.
func (b *Book) reverseSale(cmd *Command, rec *Record, t *transaction, out *Outcome) (points.Reason, error) {
	sale := &rec.Outcome
	left := sale.Amount
	if t != nil {
		if t.voided != 0 {
			return points.Approved, nil
		}
		left -= t.returnedFrom(rec)
	}
	out.Amount = left
	if left == 0 {
		return points.Approved, nil
	}
	if len(sale.Legs) > 0 {
		if reason, err := b.giveBackTender(cmd, rec, t, left, out); err != nil || !reason.Approved() {
			return reason, err
		}
		return points.Approved, b.reopenLegs(rec)
	}
	a := b.shown
	if rec.Command.Kind == KindCapture {
		h, err := b.needHold(sale.Original)
		if err != nil {
			return 0, err
		}
		room, err := b.mayHoldRest(cmd, h, rec)
		if err != nil {
			return 0, err
		}
		reason, err := b.uncapture(a, rec, t, room, out)
		if err != nil || !reason.Approved() {
			return reason, err
		}
		return points.Approved, b.reopenAccount(a)
	}
	reduced := t.reducedBy() // before t changes
	reason, err := b.giveBackSale(a, rec, t, left, out)
	if err != nil || !reason.Approved() {
		return reason, err
	}
	if sale.Date == b.date && left == sale.Amount-reduced {
		a.countRedeemed(b.date, -left, -1)
	}
	return points.Approved, b.reopenAccount(a)
}

// reverseVoid restores the sale that was voided, unless the sale itself was
// reversed since.
func (b *Book) reverseVoid(cmd *Command, rec *Record, out *Outcome) (points.Reason, error) {
	sale, by := rec.Outcome.Original, rec.Outcome.Position
	t, err := b.findTransaction(sale)
	if err != nil {
		return 0, err
	}
	if t == nil || t.voided != by {
		return 0, fmt.Errorf("I4: the void at %d has not voided %d", by, sale)
	}
	if t.reversed != 0 {
		return points.Approved, b.uncountVoided(sale, t.reversed)
	}
	if far, err := b.findRemote(sale); err != nil || far != nil {
		return b.reverseTenderVoid(cmd, rec, far, out)
	}
	out.Amount = rec.Outcome.Amount
	sameDay := rec.Outcome.Date == b.date
	if err := b.source.Record(sale, &b.second); err != nil {
		return 0, fmt.Errorf("read journal record %d: %w", sale, err)
	}
	var reason points.Reason
	switch kind := b.second.Command.Kind; kind {
	case KindCapture:
		reason, err = b.recapture(cmd, rec, b.second.Outcome.Original, out)
	default:
		if reason, err = b.mayStandAgain(cmd, rec); err != nil || !reason.Approved() {
			break
		}
		reason, err = b.undoPostings(rec, out)
		if err != nil || !reason.Approved() || kind != KindRedeem || !sameDay {
			break
		}
		if len(b.second.Outcome.Legs) > 0 {
			err = b.recountLegs(&b.second)
		} else {
			b.change(b.shown)
			b.shown.countRedeemed(b.date, rec.Outcome.Amount, 1)
		}
	}
	if err != nil || !reason.Approved() {
		return reason, err
	}
	if err := b.retake(&b.second.Outcome, &rec.Outcome, out); err != nil {
		return 0, err
	}
	t, err = b.changeTransaction(sale)
	if err != nil {
		return 0, err
	}
	t.voided = 0
	return points.Approved, b.uncountRisk(sale, out.Amount, 1)
}

// uncountVoided takes a sale off the totals of its batch when its void, which stood against
// it there, is reversed after it: the reversal at position by has left it there, unless it is
// one from before.
func (b *Book) uncountVoided(sale, by points.Position) error {
	if err := b.source.Record(by, &b.second); err != nil {
		return fmt.Errorf("read journal record %d: %w", by, err)
	}
	if b.second.Command.Edition == 0 {
		return nil
	}
	if err := b.source.Record(sale, &b.second); err != nil {
		return fmt.Errorf("read journal record %d: %w", sale, err)
	}
	rec, _, err := b.sold(&b.second)
	if err != nil {
		return err
	}
	return b.uncounted(batchesOf(&rec.Command), rec.Command.Batch, rec.Command.Function.Side(), rec.Outcome.Amount, false)
}

// recapture takes again, from the hold, what the void of a capture returned to
// it; what the hold no longer has is claimed from the account. What else the void
// booked is undone as any posting is.
func (b *Book) recapture(cmd *Command, void *Record, position points.Position, out *Outcome) (points.Reason, error) {
	h, err := b.needHold(position)
	if err != nil {
		return 0, err
	}
	a, done := b.shown, &void.Outcome
	var repaid, given points.Amount
	for i := range done.Postings {
		switch p := &done.Postings[i]; p.Account.Kind {
		case MemberAccount:
		case DebtAccount:
			repaid += p.Amount
		default:
			if reason, err := b.postHouse(p.Account, -p.Amount, out); err != nil || !reason.Approved() {
				return reason, err
			}
		}
	}
	for i := range done.Lots {
		given += done.Lots[i].Amount
	}
	if reason, err := b.mayBeCaptured(cmd, void, h); err != nil || !reason.Approved() {
		return reason, err
	}
	fromHold := points.Amount(0)
	if h.state == holdOpen {
		fromHold = min(given, h.left)
		b.spendHeld(h, a, fromHold, out)
		if reason := b.moveHeld(a, -fromHold); !reason.Approved() {
			return reason, nil
		}
		if reason := b.postMember(a, -fromHold, out); !reason.Approved() {
			return reason, nil
		}
	}
	if reason, err := b.claim(a, done.Lots, given-fromHold, out); err != nil || !reason.Approved() {
		return reason, err
	}
	if reason := b.postDebt(a, -repaid, out); !reason.Approved() {
		return reason, nil
	}
	b.touchHold(h)
	h.captured += done.Amount
	h.reserved += done.Amount - fromHold // what was claimed beyond the hold is the merchant's all the same
	if h.state == holdOpen {
		if h.left == fromHold {
			b.close(h, a, holdCaptured)
		} else {
			h.spend(fromHold)
		}
	}
	return points.Approved, nil
}

// reverseHold undoes a hold, an increment or a release. A hold that has closed
// otherwise meanwhile stays as it is.
func (b *Book) reverseHold(cmd *Command, rec *Record, out *Outcome) (points.Reason, error) {
	position := rec.Outcome.Position
	if rec.Command.Kind != KindHold {
		position = rec.Outcome.Original
	}
	h, err := b.needHold(position)
	if err != nil {
		return 0, err
	}
	a := b.shown
	switch rec.Command.Kind {
	case KindHold:
		if h.state != holdOpen {
			return points.Approved, nil
		}
		return b.endHold(h, a, holdReversed, out)
	case KindIncrement:
		return b.unincrement(h, a, rec, out)
	default:
		if h.state != holdReleased || h.due < b.date {
			return points.Approved, nil
		}
		if b.asksForRoom(cmd) {
			if reason, err := b.mayHoldMore(h, rec.Outcome.Amount); err != nil || !reason.Approved() {
				return reason, err
			}
		}
		b.touchHold(h)
		if reason := b.rehold(h, a, rec, out); !reason.Approved() {
			return reason, nil
		}
		out.Amount = h.left
		if h.left > 0 {
			b.reopen(h, a)
		}
		return points.Approved, nil
	}
}

// unincrement gives back what an increment added to a hold, as far as it is not
// captured.
func (b *Book) unincrement(h *hold, a *account, rec *Record, out *Outcome) (points.Reason, error) {
	if h.state != holdOpen {
		return points.Approved, nil
	}
	part := hold{account: h.account, placed: rec.Outcome.Date, captured: 1} // captured: the redemption itself stays counted
	for _, move := range rec.Outcome.Lots {
		for i := range h.lots {
			if h.lots[i].key == move.Lot {
				amount := min(-move.Amount, h.lots[i].amount)
				part.lots = append(part.lots, lot{move.Lot, amount})
				part.left += amount
			}
		}
	}
	out.Amount = part.left
	return b.shrink(h, a, &part, out)
}

// shrink gives part of what h reserves back to its account.
func (b *Book) shrink(h *hold, a *account, part *hold, out *Outcome) (points.Reason, error) {
	if reason, err := b.releaseHeld(part, a, 0, out); err != nil || !reason.Approved() {
		return reason, err
	}
	b.touchHold(h)
	h.reserved -= part.left
	h.left -= part.left
	for _, given := range part.lots {
		for i := range h.lots {
			if h.lots[i].key == given.key {
				h.lots[i].amount -= given.amount
			}
		}
	}
	h.lots = dropEmpty(h.lots)
	if h.left == 0 {
		b.close(h, a, holdReversed)
	}
	return points.Approved, nil
}
