package sim

import (
	"fmt"

	"github.com/lianfen/lianfen/points"
)

// receiptKey finds the request that an answer belongs to.
type receiptKey struct {
	mti  uint16 // of the answer
	stan points.STAN
	when uint64 // DE7 of a partner, the batch of a terminal
}

// receipt is what an acquirer keeps of a request, and of its reversal.
type receipt struct {
	lane  *lane
	card  *card // nil: a sign-on
	about *receipt
	req   points.Request
	resp  points.Response
	frame []byte
	got   []byte
	sends int
	heard bool // the answer is believed

	undo     *receipt // its reversal, once it is being reversed
	reversed bool     // and that was approved
	of       *receipt // of a reversal: what it undoes
	probe    bool
}

// stands reports whether the acquirer believes that the request was carried out.
func (r *receipt) stands() bool { return r.heard && r.resp.Reason.Approved() && !r.reversed }

// amount is what was approved.
func (r *receipt) amount() points.Amount {
	if r.resp.Reason == points.ApprovedPartly && r.resp.Amount > 0 {
		return r.resp.Amount
	}
	return r.req.Amount
}

// program is the programme that points moved in.
func (r *receipt) program() points.ProgramID {
	switch {
	case r.about != nil:
		return r.about.program()
	case r.req.Program != 0:
		return r.req.Program
	default:
		return r.resp.Program
	}
}

// gives is what is due to the acquirer because of the request, if it stands.
func (r *receipt) gives() points.Amount {
	if !r.stands() {
		return 0
	}
	switch r.req.Function {
	case points.Redeem, points.OfflineRedeem, points.Completion, points.CompletionAdvice:
		return r.amount()
	case points.Earn, points.OfflineEarn, points.Refund:
		return -r.amount()
	case points.Void, points.CompletionVoid:
		if f := r.about.req.Function; f == points.Earn || f == points.OfflineEarn {
			return r.about.amount()
		}
		return -r.about.amount()
	default:
		return 0
	}
}

// String describes a receipt in a step.
func (r *receipt) String() string {
	what := r.req.Function.String()
	if r.of != nil {
		what = "reversal of " + r.of.req.Function.String()
	}
	again := ""
	if r.sends > 1 {
		again = ", again"
	}
	about := ""
	if r.about != nil {
		about = fmt.Sprintf(" about STAN %v", r.about.req.STAN)
	}
	return fmt.Sprintf("%s of %d in %d%s, STAN %v%s", what, r.req.Amount, r.req.Program, about, r.req.STAN, again)
}

// told reports whether a request cannot be reversed, and is repeated until it is
// answered: what has happened already, and what a terminal gives to a card.
func (r *receipt) told() bool {
	switch r.req.Function {
	case points.Refund, points.CompletionAdvice, points.OfflineRedeem, points.OfflineEarn:
		return true
	case points.Earn:
		return r.lane.line.door == terminalDoor
	default:
		return false
	}
}
