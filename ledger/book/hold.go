package book

import (
	"slices"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// defaultHoldDays is how long a hold lives when its programme does not say.
const defaultHoldDays = 30

// hold reserves points. It counts for the day's limits as a redemption would,
// since its capture is not refused any more.
func (b *Book) hold(cmd *Command, out *Outcome) (points.Reason, error) {
	s, reason, err := b.admit(cmd, FreezeDebit, out)
	if err != nil || !reason.Approved() {
		return reason, err
	}
	if reason, err := b.mayRedeem(cmd, s, cmd.Amount, out); err != nil || !reason.Approved() {
		return reason, err
	}
	if reason := b.mayOwe(cmd, tariff.KindRDM, s.program, cmd.Amount); !reason.Approved() {
		return reason, nil
	}
	out.Amount = cmd.Amount
	b.take(s.account, cmd.Amount, true, out)
	s.account.countRedeemed(b.date, cmd.Amount, 1)
	if reason := b.moveHeld(s.account, cmd.Amount); !reason.Approved() {
		return reason, nil
	}
	h := b.holds.add(hold{
		position: b.position + 1, account: s.account.key,
		acquirer: cmd.Acquirer, merchant: cmd.Merchant, terminal: cmd.Terminal,
		placed: b.date, due: b.date.AddDays(b.holdDays(s.program.ID)), state: holdOpen,
		reserved: cmd.Amount, left: cmd.Amount, lots: slices.Clone(b.taken),
	})
	s.account.holds++
	b.create(h)
	b.heldNow(h)
	b.fresh = append(b.fresh, registration{dueHolds, h.due, due{party: uint64(h.position)}})
	return points.Approved, nil
}

// holdOf finds the hold that a command names and checks that it is the one meant.
func (b *Book) holdOf(cmd *Command, out *Outcome) (*hold, points.Reason, error) {
	position, ok, err := b.target(cmd)
	if !ok || err != nil {
		return nil, points.UnknownOriginal, err
	}
	h, err := b.findHold(position)
	if err != nil {
		return nil, 0, err
	}
	if h == nil {
		rec, err := b.record(position)
		if err != nil {
			return nil, 0, err
		}
		if !rec.Outcome.Reason.Approved() {
			return nil, points.OriginalNotApproved, nil
		}
		return nil, points.OriginalDiffers, nil
	}
	out.Original = position
	reason, err := b.sameTransaction(cmd, position, points.MemberID(h.account.Party), h.account.Program)
	if err != nil || !reason.Approved() {
		return nil, reason, err
	}
	if (cmd.Acquirer != 0 && cmd.Acquirer != h.acquirer) || (cmd.Merchant != points.MerchantID{} && cmd.Merchant != h.merchant) {
		return nil, points.OriginalDiffers, nil
	}
	return h, points.Approved, nil
}

// liveHold finds an open hold and its account.
func (b *Book) liveHold(cmd *Command, out *Outcome) (*hold, *account, points.Reason, error) {
	h, reason, err := b.holdOf(cmd, out)
	if err != nil || !reason.Approved() {
		return nil, nil, reason, err
	}
	a, err := b.accountOf(h, out)
	switch {
	case err != nil:
		return nil, nil, 0, err
	case h.state == holdExpired || (h.state == holdOpen && h.due < b.date):
		return nil, nil, points.HoldExpired, nil
	case h.state != holdOpen:
		return nil, nil, points.OriginalClosed, nil
	}
	return h, a, points.Approved, nil
}

// accountOf is the account that h reserves on; out is about it from now on.
func (b *Book) accountOf(h *hold, out *Outcome) (*account, error) {
	a, err := b.needAccount(h.account)
	if err != nil {
		return nil, err
	}
	b.about(a, out)
	return a, nil
}

// increment reserves more under the same hold.
func (b *Book) increment(cmd *Command, out *Outcome) (points.Reason, error) {
	if reason := b.before(cmd); !reason.Approved() {
		return reason, nil
	}
	h, a, reason, err := b.liveHold(cmd, out)
	if err != nil || !reason.Approved() {
		return reason, err
	}
	_, reason, err = b.holder(cmd.Card, points.MemberID(h.account.Party), FreezeDebit)
	if err != nil || !reason.Approved() {
		return reason, err
	}
	if a.freeze&FreezeDebit != 0 {
		return points.AccountFrozen, nil
	}
	program, reason := b.programAt(cmd.Merchant, h.account.Program)
	if !reason.Approved() {
		return reason, nil
	}
	if reason := a.increasing(&program.Rules, h.reserved, cmd.Amount, b.date); !reason.Approved() {
		return reason, nil
	}
	if reason, err := b.mayHoldMore(h, cmd.Amount); err != nil || !reason.Approved() {
		return reason, err
	}
	out.Amount = cmd.Amount
	b.take(a, cmd.Amount, true, out)
	a.countRedeemed(b.date, cmd.Amount, 0)
	if reason := b.moveHeld(a, cmd.Amount); !reason.Approved() {
		return reason, nil
	}
	b.touchHold(h)
	h.reserved += cmd.Amount
	h.left += cmd.Amount
	for _, taken := range b.taken {
		h.lots = insertLot(h.lots, taken.key, taken.amount)
	}
	return points.Approved, nil
}

// increasing checks limits and points for more under a hold: it is one
// transaction with what is reserved already.
func (a *account) increasing(rules *ProgramRules, reserved, amount points.Amount, date points.BusinessDate) points.Reason {
	day := a.today(date)
	switch {
	case rules.MaxAmount > 0 && (amount > rules.MaxAmount || reserved > rules.MaxAmount-amount):
		return points.OverAmountLimit
	case rules.MaxRedeemDay > 0 && (amount > rules.MaxRedeemDay || day.redeemed > rules.MaxRedeemDay-amount):
		return points.OverAmountLimit
	}
	return a.points51(amount, date)
}

// capture spends from a hold: partial captures up to what is left; the final one,
// and the one that uses it up, closes it.
//
//	member (held)       -amount
//	clearing(acquirer)  +amount
func (b *Book) capture(cmd *Command, out *Outcome) (points.Reason, error) {
	if reason := b.before(cmd); !reason.Approved() {
		return reason, nil
	}
	h, a, reason, err := b.liveHold(cmd, out)
	if err != nil || !reason.Approved() {
		return reason, err
	}
	if cmd.Amount > h.left {
		return points.AmountOverOriginal, nil
	}
	other, reason := against(cmd.Against, ClearingAccount, h.acquirer, b.live.Programs[h.account.Program])
	if !reason.Approved() {
		return reason, nil
	}
	out.Amount = cmd.Amount
	b.spendHeld(h, a, cmd.Amount, out)
	if reason := b.moveHeld(a, -cmd.Amount); !reason.Approved() {
		return reason, nil
	}
	if reason := b.postMember(a, -cmd.Amount, out); !reason.Approved() {
		return reason, nil
	}
	if reason, err = b.postHouse(other, cmd.Amount, out); err != nil || !reason.Approved() {
		return reason, err
	}
	rest := h.left - cmd.Amount
	if cmd.Final && rest > 0 {
		if reason, err = b.releaseHeld(h, a, cmd.Amount, out); err != nil || !reason.Approved() {
			return reason, err
		}
	}
	b.touchHold(h)
	h.captured += cmd.Amount
	if rest == 0 || cmd.Final {
		b.close(h, a, holdCaptured)
		return points.Approved, nil
	}
	h.spend(cmd.Amount)
	return points.Approved, nil
}

// spendHeld reports the moves of a capture: the hold's lots in order. The hold
// itself changes when nothing can be refused any more.
func (b *Book) spendHeld(h *hold, a *account, amount points.Amount, out *Outcome) {
	for i := 0; amount > 0; i++ {
		part := min(amount, h.lots[i].amount)
		out.Lots = append(out.Lots, LotMove{Account: a.key, Lot: h.lots[i].key, Amount: -part})
		amount -= part
	}
}

// spend takes amount off the hold's lots in order.
func (h *hold) spend(amount points.Amount) {
	h.left -= amount
	for i := 0; amount > 0; i++ {
		part := min(amount, h.lots[i].amount)
		h.lots[i].amount -= part
		amount -= part
	}
	h.lots = dropEmpty(h.lots)
}

// close ends a hold that reserves nothing any more.
func (b *Book) close(h *hold, a *account, state holdState) {
	b.change(a)
	a.holds--
	h.state = state
	h.left = 0
	h.lots = h.lots[:0]
}

// releaseHeld gives back what h reserves beyond the first spent points of it,
// which a capture is taking. The hold itself does not change.
func (b *Book) releaseHeld(h *hold, a *account, spent points.Amount, out *Outcome) (points.Reason, error) {
	rest := h.left - spent
	if reason := b.moveHeld(a, -rest); !reason.Approved() {
		return reason, nil
	}
	if h.placed == b.date {
		redemptions := 0
		if h.captured == 0 && rest == h.left {
			redemptions = -1
		}
		a.countRedeemed(b.date, -rest, redemptions)
	}
	rules := b.rulesOf(h.account.Program)
	var lapsed points.Amount
	for i := range h.lots {
		key, part := h.lots[i].key, h.lots[i].amount
		skipped := min(spent, part)
		spent -= skipped
		part -= skipped
		if part == 0 {
			continue
		}
		gone, reason := b.giveBack(a, key, part, true, rules, out)
		if !reason.Approved() {
			return reason, nil
		}
		if gone > 0 {
			out.Lots = append(out.Lots, LotMove{a.key, key, gone, true}, LotMove{a.key, key, -gone, false})
			lapsed += gone
		}
	}
	return b.postLapsed(a, lapsed, out)
}

// release gives back what a hold still reserves.
func (b *Book) release(cmd *Command, out *Outcome) (points.Reason, error) {
	if reason := b.participants(cmd); !reason.Approved() {
		return reason, nil
	}
	if reason := b.opened(); !reason.Approved() {
		return reason, nil
	}
	h, a, reason, err := b.liveHold(cmd, out)
	if err != nil || !reason.Approved() {
		return reason, err
	}
	if cmd.Amount != 0 && cmd.Amount != h.left && cmd.Amount != h.reserved {
		return points.OriginalDiffers, nil
	}
	if reason, err := b.endHold(h, a, holdReleased, out); err != nil || !reason.Approved() {
		return reason, err
	}
	return points.Approved, b.uncountRisk(h.position, -out.Amount, h.undone())
}

// undone is what a hold that reserves nothing any more counts less: itself, unless
// something was captured.
func (h *hold) undone() int {
	if h.captured > 0 {
		return 0
	}
	return -1
}

// endHold gives back the rest of a hold and closes it.
func (b *Book) endHold(h *hold, a *account, state holdState, out *Outcome) (points.Reason, error) {
	left := h.left
	if reason, err := b.releaseHeld(h, a, 0, out); err != nil || !reason.Approved() {
		return reason, err
	}
	out.Amount += left
	b.touchHold(h)
	b.close(h, a, state)
	return points.Approved, nil
}

// reopen makes a closed hold live again, for points that come back to it.
func (b *Book) reopen(h *hold, a *account) {
	if h.state == holdOpen {
		return
	}
	b.change(a)
	a.holds++
	h.state = holdOpen
	b.fresh = append(b.fresh, registration{dueHolds, h.due, due{party: uint64(h.position)}})
}

// before checks participants, date and amount of a command about a hold.
func (b *Book) before(cmd *Command) points.Reason {
	if reason := b.participants(cmd); !reason.Approved() {
		return reason
	}
	if reason := b.opened(); !reason.Approved() {
		return reason
	}
	return validAmount(cmd.Amount)
}
