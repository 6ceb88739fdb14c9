package book

import (
	"errors"
	"fmt"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// What a void, a refund or a release has given back of a cap, others may have used since. So
// the reversal of one asks for room like the sale or the hold that it brings back (I21): else
// whoever reverses his own voids would get beyond any cap. Without room it is declined with
// 61, and the void stands: it was approved, and its sender learns that it holds.
//
// Nothing else that undoes is ever refused for a cap.

// asksForRoom reports whether a reversal is held against caps. Those of an older edition
// never were.
func (b *Book) asksForRoom(cmd *Command) bool {
	return cmd.Edition >= 2 && len(b.live.Caps) > 0 && b.live.Rates != nil
}

// mayStandAgain holds what comes back when the void or refund, which the record undoing has
// cleared, is reversed against the caps: the contrary of what that was worth.
func (b *Book) mayStandAgain(cmd *Command, undoing *Record) (points.Reason, error) {
	if !b.asksForRoom(cmd) {
		return points.Approved, nil
	}
	if err := b.wouldOweAgain(undoing); err != nil {
		return 0, err
	}
	return b.exceeding(anyCap), nil
}

// wouldOweAgain adds what the record made members owe, the other way round.
func (b *Book) wouldOweAgain(undoing *Record) error {
	c := &b.clearing
	items, err := c.reader.of(&undoing.Command, &undoing.Outcome, nil)
	if err != nil {
		return fmt.Errorf("what %d has given back: %w", undoing.Outcome.Position, err)
	}
	for i := range items {
		item := &items[i]
		if item.NoRoom || item.TooOld || item.Stray || tariff.Value(b.live.Rates, b.live.fees(), &item.Item, &c.value) != tariff.OK {
			continue // It made nobody owe anything, and so gave no room.
		}
		for _, leg := range c.value.Legs() {
			c.wouldOwe(leg.Debtor).credit += leg.Amount
			c.wouldOwe(leg.Creditor).debit += leg.Amount
		}
	}
	return nil
}

// mayBeCaptured is mayStandAgain of a capture's void: what the capture takes from its hold
// again needs no room beside what the hold reserves.
func (b *Book) mayBeCaptured(cmd *Command, undoing *Record, h *hold) (points.Reason, error) {
	if !b.asksForRoom(cmd) {
		return points.Approved, nil
	}
	if err := errors.Join(b.wouldOweAgain(undoing), b.lessReserved(h.position)); err != nil {
		return 0, err
	}
	return b.exceeding(anyCap), nil
}

// lessReserved takes off what the hold at position reserves.
func (b *Book) lessReserved(position points.Position) error {
	d, err := b.clearing.find(position)
	if err != nil || d == nil {
		return err
	}
	for _, s := range d.reserved {
		b.clearing.wouldOwe(s.member).debit -= s.debit
	}
	return nil
}

// mayHoldRest reports whether there is room for what the last capture of h has released, when
// that capture is reversed. If not, the hold has only what was captured again, as after a void.
func (b *Book) mayHoldRest(cmd *Command, h *hold, capture *Record) (bool, error) {
	if !b.asksForRoom(cmd) {
		return true, nil
	}
	var rest points.Amount
	for _, move := range capture.Outcome.Lots {
		if move.Held && move.Amount > 0 {
			rest += move.Amount
		}
	}
	if rest == 0 {
		return true, nil
	}
	reason, err := b.mayHoldMore(h, rest)
	return reason.Approved(), err
}

// mayStandAgainFar is mayStandAgain of what an issuer elsewhere has approved: r is a void, a
// refund, a release, or a last capture, which has released what it left over. Of a capture's
// void, hold is what the capture takes again from.
func (b *Book) mayStandAgainFar(cmd *Command, r, hold *remote) (points.Reason, error) {
	if !b.asksForRoom(cmd) || r.approved == 0 {
		return points.Approved, nil
	}
	switch r.function {
	case points.PreAuthVoid:
		return b.mayHoldAgainFar(r)
	case points.Completion, points.CompletionAdvice:
		if r.final {
			return b.mayHoldAgainFar(r)
		}
		return points.Approved, nil
	case points.Void, points.CompletionVoid, points.Refund:
	default:
		return points.Approved, nil
	}
	if r.booked == 0 {
		return points.Approved, nil // Nothing of it is cleared.
	}
	var undoing Record
	if err := b.source.Record(r.answered, &undoing); err != nil {
		return 0, fmt.Errorf("read journal record %d: %w", r.answered, err)
	}
	if err := b.wouldOweAgain(&undoing); err != nil {
		return 0, err
	}
	if hold != nil {
		if err := b.lessReserved(hold.position); err != nil {
			return 0, err
		}
	}
	return b.exceeding(anyCap), nil
}

// mayHoldAgainFar holds what r has released of its hold at an issuer elsewhere against the
// caps of which holds reserve.
func (b *Book) mayHoldAgainFar(r *remote) (points.Reason, error) {
	hold, err := b.needRemote(r.original)
	if err != nil {
		return 0, err
	}
	if b.lastDay(hold) < b.date {
		return points.Approved, nil // It reserves nothing again.
	}
	placed, err := b.placedAt(hold.position)
	if err != nil || !b.valuedHeld(tariff.KindRDM, b.live.Programs[hold.program], hold.acquirer, hold.merchant, hold.left(), placed) {
		return points.Approved, err
	}
	return b.wouldExceedOf(func(c *Cap) bool { return c.Holds }), nil
}
