package sim

import (
	"fmt"
	"maps"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
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

	to     *card         // of a transfer: who receives
	lost   bool          // its lane has given up to learn what became of it
	parts  []*receipt    // reversals of a part of it
	back   points.Amount // what they took off it
	before points.Amount // of a refund of a sale that several programmes paid: what had been given back of it
	took   points.Amount // of a reversal of a part: what it took off
	at     int           // and how many receipts its lane had by then

	items   []dialect.UploadItem // of an upload
	claims  []claim              // of a close: what it counts
	asked   points.Timestamp     // when it was sent first
	heardAt points.Timestamp     // and answered
	given   shares               // of such a sale: what reversals of a part gave back
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

// shares are points by programme.
type shares map[points.ProgramID]points.Amount

// add adds to s, which may be nil, what is in more.
func (s shares) add(more shares, sign points.Amount) shares {
	sum := maps.Clone(s)
	if sum == nil {
		sum = make(shares)
	}
	for program, amount := range more {
		if sum[program] += sign * amount; sum[program] == 0 {
			delete(sum, program)
		}
	}
	return sum
}

// equal reports whether both have the same of every programme.
func (s shares) equal(other shares) bool { return len(s.add(other, -1)) == 0 }

// dues is what is due to the acquirer because of the request, if it stands.
func (r *receipt) dues() shares {
	if !r.stands() {
		return nil
	}
	if sale := r.sale(); sale != nil {
		return r.tenderDues(sale)
	}
	return shares{}.add(shares{r.program(): r.gives()}, 1)
}

// gives is that of what one programme pays.
func (r *receipt) gives() points.Amount {
	switch r.req.Function {
	case points.Redeem, points.OfflineRedeem, points.Completion, points.CompletionAdvice:
		return r.amount() - r.back
	case points.Earn, points.OfflineEarn, points.Refund:
		return r.back - r.amount()
	case points.Void, points.CompletionVoid:
		if f := r.about.req.Function; f == points.Earn || f == points.OfflineEarn {
			return r.about.amount()
		}
		return -r.about.amount()
	default:
		return 0
	}
}

// sale is the sale of several programmes that a receipt is, or is about; nil: none.
func (r *receipt) sale() *receipt {
	switch {
	case r.resp.NPaid > 0:
		return r
	case r.about != nil && r.about.resp.NPaid > 0:
		return r.about
	default:
		return nil
	}
}

func (r *receipt) tenderDues(sale *receipt) shares {
	switch r.req.Function {
	case points.Redeem:
		return sale.legs().add(sale.given, -1)
	case points.Void:
		return shares{}.add(sale.legs(), -1)
	case points.Refund:
		return shares{}.add(sale.sharesOf(r.before, r.amount()), -1)
	default:
		return nil
	}
}

// legs is what each programme paid, as the acquirer was told.
func (r *receipt) legs() shares {
	legs := make(shares)
	for _, paid := range r.resp.Paid[:r.resp.NPaid] {
		legs[paid.Program] += paid.Amount
	}
	return legs
}

// sharesOf is what comes back of a sale for amount of it, when gone has come back: of
// the programme that paid last first, and so many points of each as the part of the sale
// is of what it paid for, rounded down over all that comes back together (ADR 4).
func (r *receipt) sharesOf(gone, amount points.Amount) shares {
	back := make(shares)
	for i := int(r.resp.NPaid) - 1; i >= 0; i-- {
		leg := &r.resp.Paid[i]
		had := min(gone, leg.Covers)
		has := min(gone+amount, leg.Covers)
		if has > had {
			back[leg.Program] += leg.Amount*has/leg.Covers - leg.Amount*had/leg.Covers
		}
		amount -= has - had
		gone -= had
	}
	return back
}

// left is what of a transaction stands, as its lane has it: what was not given back.
func (l *lane) left(r *receipt) points.Amount {
	left := r.amount() - r.back
	for _, later := range l.receipts {
		if later.about == r && later.stands() && later.req.Function == points.Refund {
			left -= later.amount()
		}
	}
	return left
}

// over reports whether a transaction was voided, released or completed.
func (l *lane) over(r *receipt) bool {
	for _, later := range l.receipts {
		if later.about != r || later.reversed || later.req.Function == points.Refund {
			continue
		}
		if later.lost || (later.stands() && !l.over(later)) {
			return true
		}
	}
	return false
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
	if r.req.Actual != 0 {
		about += fmt.Sprintf(" but for %d", r.req.Actual)
	}
	if r.to != nil {
		about += " to " + r.to.name
	}
	return fmt.Sprintf("%s of %d in %d%s, STAN %v%s", what, r.req.Amount, r.req.Program, about, r.req.STAN, again)
}

// told reports whether a request cannot be reversed, and is repeated until it is
// answered: what has happened already, and what a terminal gives to a card.
func (r *receipt) told() bool {
	switch r.req.Function {
	case points.Refund, points.CompletionAdvice, points.OfflineRedeem, points.OfflineEarn, points.BatchClose, points.BatchUpload, points.BatchUploadEnd:
		return true
	case points.Earn:
		return r.lane.line.door == terminalDoor
	default:
		return false
	}
}

// kept says that a void stands of which its lane has had no answer.
func (r *receipt) kept() {
	r.heard, r.resp.Reason = true, points.Approved
	if r.lane.line.door == terminalDoor {
		r.lane.term.count(&Receipt{Request: r.req, Response: r.resp})
	}
}

// final reports whether r is the void of a sale that a bank has paid a part of.
func (l *lane) final(r *receipt) bool {
	if r.req.Function != points.Void || r.sale() == nil {
		return false
	}
	for program := range r.sale().legs() {
		if !l.w.hosted(program) {
			return true
		}
	}
	return false
}
