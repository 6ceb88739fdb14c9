package book

import (
	"slices"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// A hold reserves of the caps of those that say so ([Cap.Holds]) what one capture of all
// that is left of it would make their members owe, at the rate and the fees of the moment in
// which it changed last:
//
//	hold, increment ──> value of what is left ──> capture of a part: of the rest
//	      │                                 └──> capture of the rest, release, reversal,
//	      └── refused where it does not fit      expiry: nothing
//	                                         └──> void or reversal of a capture: again
//
// A capture of it is not refused any more, and now needs no room of its own, but for a rate
// or fees that have changed, and for least fees of several parts.
//
// Of one that is with an issuer elsewhere the same holds; while that has not answered to a
// capture, the capture reserves what it asks for. Here nobody is told when such a hold
// expires there: it reserves for as many days as its programme's holds live.

// touchHold says that h is about to change in the current command.
func (b *Book) touchHold(h *hold) {
	b.touch(h)
	b.heldNow(h)
}

func (b *Book) heldNow(h *hold) {
	if !slices.Contains(b.clearing.held, h.position) {
		b.clearing.held = append(b.clearing.held, h.position)
	}
}

// mayHoldMore holds an increment of h against the caps of which it reserves (I21).
func (b *Book) mayHoldMore(h *hold, more points.Amount) (points.Reason, error) {
	if len(b.live.Caps) == 0 || b.live.Rates == nil {
		return points.Approved, nil
	}
	placed, err := b.placedAt(h.position)
	if err != nil {
		return 0, err
	}
	if !b.valuedHeld(tariff.KindRDM, b.live.Programs[h.account.Program], h.acquirer, h.merchant, more, placed) {
		return points.Approved, nil
	}
	return b.wouldExceedOf(func(c *Cap) bool { return c.Holds }), nil
}

// reserveAnew lets go of what the approved command has decided, and reserves for the holds
// that it has changed what they could still make members owe.
func (b *Book) reserveAnew(cmd *Command, out *Outcome) error {
	if b.live.Rates == nil {
		return nil
	}
	if err := b.letGo(cmd, out); err != nil || len(b.live.Caps) == 0 {
		return err
	}
	for _, position := range b.clearing.held {
		h, err := b.needHold(position)
		if err != nil {
			return err
		}
		var left points.Amount
		if h.state == holdOpen {
			left = h.left
		}
		want, err := b.couldOwe(position, h.account.Program, h.acquirer, h.merchant, left)
		if err == nil {
			err = b.reserveFor(position, want)
		}
		if err != nil {
			return err
		}
	}
	return b.reserveElsewhere(cmd, out)
}

// couldOwe is what capturing amount of the hold at position would make members owe whose caps
// count holds.
func (b *Book) couldOwe(position points.Position, program points.ProgramID, acquirer points.AcquirerID, merchant points.MerchantID, amount points.Amount) (sums []memberSum, err error) {
	if amount == 0 {
		return nil, nil
	}
	placed, err := b.placedAt(position)
	if err != nil || !b.valuedHeld(tariff.KindRDM, b.live.Programs[program], acquirer, merchant, amount, placed) {
		return nil, err
	}
	var all []memberSum // a handful
	of := func(m tariff.Member) *memberSum {
		i := slices.IndexFunc(all, func(s memberSum) bool { return s.member == m })
		if i < 0 {
			i = len(all)
			all = append(all, memberSum{member: m})
		}
		return &all[i]
	}
	for _, leg := range b.clearing.value.Legs() {
		of(leg.Debtor).debit += leg.Amount
		of(leg.Creditor).credit += leg.Amount
	}
	for i := range all {
		limit := b.live.Caps[all[i].member]
		if limit == nil || limit.Unlimited || !limit.Holds {
			continue
		}
		if owes := all[i].counts(limit); owes > 0 {
			sums = append(sums, memberSum{member: all[i].member, debit: owes})
		}
	}
	return sums, nil
}

// reserveFor makes want what is reserved for the request at position.
func (b *Book) reserveFor(position points.Position, want []memberSum) error {
	d, err := b.clearing.find(position)
	if err != nil || (d == nil && len(want) == 0) || (d != nil && slices.Equal(d.reserved, want)) {
		return err
	}
	if d, err = b.clearing.change(position); err != nil {
		return err
	}
	was := d.reserved
	d.reserved = want
	if err := b.reserving(was, -1); err != nil {
		return err
	}
	return b.reserving(want, 1)
}

// reserveElsewhere does it for the holds with their issuers that the command is about.
func (b *Book) reserveElsewhere(cmd *Command, out *Outcome) error {
	at := out.Original
	switch cmd.Carried().Kind {
	case KindForward:
		at = b.position + 1
	case KindCapture, KindVoid, KindRelease, KindRefund:
		if !out.Forwarded {
			return nil
		}
		at = b.position + 1
	case KindConclude, KindStandIn, KindOwe, KindAcknowledge, KindGiveUp, KindResolve, KindReverse:
	default:
		return nil
	}
	var capture *remote
	for at != 0 {
		r, err := b.findRemote(at)
		if err != nil || r == nil {
			return err
		}
		switch r.function {
		case points.PreAuth:
			if capture == nil && r.capturedMeanwhile(cmd) {
				return nil
			}
			return b.reserveHoldElsewhere(cmd, r, capture)
		case points.Completion, points.CompletionAdvice:
			capture = r
			var asked points.Amount
			if r.phase == RemoteOpen && r.reversed == 0 {
				asked = r.asked
			}
			want, err := b.couldOwe(r.original, r.program, r.acquirer, r.merchant, asked)
			if err == nil {
				err = b.reserveFor(r.position, want)
			}
			if err != nil {
				return err
			}
		default:
		}
		at = r.original
	}
	return nil
}

// capturedMeanwhile reports whether cmd reverses r, a hold of which something is captured:
// that does nothing. One of an older edition had it reserve otherwise.
func (r *remote) capturedMeanwhile(cmd *Command) bool {
	return r != nil && r.function == points.PreAuth && r.returned != 0 && cmd.Kind == KindReverse && cmd.Edition >= 2
}

// reserveHoldElsewhere reserves for r, a hold; capture is that of it which has changed; nil:
// none has.
func (b *Book) reserveHoldElsewhere(cmd *Command, r, capture *remote) error {
	left, err := b.couldCapture(cmd, r, capture)
	if err != nil {
		return err
	}
	last := b.lastDay(r)
	if last < b.date {
		left = 0
	}
	want, err := b.couldOwe(r.position, r.program, r.acquirer, r.merchant, left)
	if err != nil {
		return err
	}
	if d, err := b.clearing.find(r.position); err != nil {
		return err
	} else if len(want) > 0 && (d == nil || len(d.reserved) == 0) {
		b.fresh = append(b.fresh, registration{dueHolds, last, due{party: uint64(r.position)}})
	}
	return b.reserveFor(r.position, want)
}

// couldCapture is what may still be captured of r. What a capture took that is reversed comes
// back to it as soon as its issuer has heard of that, and nobody else may use its room till then.
func (b *Book) couldCapture(cmd *Command, r, capture *remote) (points.Amount, error) {
	switch {
	case r.reversed != 0:
		return 0, nil
	case r.phase == RemoteOpen:
		return r.asked, nil
	case r.approved == 0:
		return 0, nil
	}
	if gone, err := b.isVoided(r); err != nil || gone {
		return 0, err
	}
	if capture != nil && capture.final && capture.approved > 0 && capture.reversed == 0 {
		if gone, err := b.isVoided(capture); err != nil || !gone {
			return 0, err // It was the last one.
		}
	}
	if capture != nil && capture.reversed == b.position+1 && capture.phase != RemoteDone && cmd.Edition >= 2 {
		return r.left() + capture.asked, nil
	}
	return r.left(), nil
}

// isVoided reports whether the issuer has approved a void of r that stands.
func (b *Book) isVoided(r *remote) (bool, error) {
	if r.voided == 0 {
		return false, nil
	}
	void, err := b.findRemote(r.voided)
	return err == nil && (void == nil || (void.approved > 0 && void.reversed == 0)), err
}

// holdElsewhereOver ends what a hold with its issuer reserves of caps, after its last day.
func (b *Book) holdElsewhereOver(position points.Position) (bool, error) {
	r, err := b.findRemote(position)
	if err != nil || r == nil {
		return false, err
	}
	d, err := b.clearing.find(position)
	if err != nil || d == nil || len(d.reserved) == 0 {
		return false, err
	}
	return true, b.reserveFor(position, nil)
}

// lastDay is the last one on which r, a hold at its issuer, reserves here.
func (b *Book) lastDay(r *remote) points.BusinessDate { return r.date.AddDays(b.holdDays(r.program)) }

// holdDays is how many days a hold of a programme lives.
func (b *Book) holdDays(program points.ProgramID) int {
	if days := int(b.rulesOf(program).HoldDays); days != 0 {
		return days
	}
	return defaultHoldDays
}
