package pointswitch

import (
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// fill turns an outcome into the answer's fields. Everything in it comes from
// the request and the journal, so that a repeat is answered byte for byte.
func (x *exchange) fill(out *book.Outcome) {
	resp := &x.resp
	x.replayed = out.Replayed
	resp.Position, resp.Date = out.Position, out.Date
	resp.Program, resp.Issuer = out.Program, out.Issuer
	resp.Amount = x.req.Amount
	if out.Position != 0 {
		x.stampLocal(out.Posted)
	}
	if x.req.Function == points.Reversal {
		x.fillReversal(out)
		return
	}
	if !out.Reason.Approved() {
		return
	}
	resp.Batch = out.Batch
	if x.req.Class == points.ClassNetwork || x.req.Class == points.ClassTotals || x.req.Class == points.ClassFile {
		return
	}
	resp.AuthCode = out.Position.AuthCode()
	if out.Reason == points.ApprovedPartly {
		resp.Amount = out.Amount
	}
	if x.req.Function == points.Redeem {
		resp.Used, resp.SelfPaid = out.Amount, x.req.Amount-out.Amount
		for _, leg := range out.Legs {
			resp.AddPaid(points.Paid(leg))
		}
	}
	if x.req.Function == points.SwapQuote || x.req.Function == points.Swap {
		x.fillSwap(&out.Swap)
	}
	if !x.req.Advice && out.Reason != points.ApprovedStandIn && x.req.Function != points.SwapEnquiry { // The absent issuer has told none.
		x.balances(out)
	}
}

// fillReversal tells a partner what the reversal met (messages.md 10.13). It has
// no authorisation code and no balances of its own, and on a terminal's side no
// DE44.
func (x *exchange) fillReversal(out *book.Outcome) {
	if x.req.Door == points.DoorTerminal {
		x.resp.Issuer = 0
		return
	}
	switch {
	case !out.Reason.Approved():
	case out.Original != 0:
		x.resp.Detail = "REVERSED"
	default:
		x.resp.Detail = "TOMBSTONE"
	}
}

// balances lists DE54: what can be spent of the programme used, then its ledger
// balance, then what can be spent of the member's others; DE60.7 of an enquiry
// leaves those of one kind (messages.md 10.10).
func (x *exchange) balances(out *book.Outcome) {
	if out.Program != 0 && x.wanted(out.Program) {
		x.resp.AddBalance(points.Balance54{Kind: points.AvailableBalance, Program: out.Program, Amount: out.Free})
		total, ok := out.Free.Add(out.Held)
		if ok {
			total, ok = total.Add(out.Pending)
		}
		if ok {
			x.resp.AddBalance(points.Balance54{Kind: points.LedgerBalance, Program: out.Program, Amount: total})
		}
	}
	for _, other := range out.Others {
		if !x.wanted(other.Program) {
			continue
		}
		x.resp.AddBalance(points.Balance54{Kind: points.AvailableBalance, Program: other.Program, Amount: other.Free})
	}
}

// wanted reports whether an answer shows the balance in a programme. What kind a
// programme is of is the one thing in an answer that is not in the journal.
func (x *exchange) wanted(id points.ProgramID) bool {
	if x.req.Function != points.Balance || !narrows(x.req.AccountType) {
		return true
	}
	program, ok := x.table.Program(id)
	return ok && program.Alliance == (x.req.AccountType == alliancePoints)
}

// stampLocal sets the terminal's clock (DE12, DE13) to at.
func (x *exchange) stampLocal(at points.Timestamp) {
	local := at.Time().In(x.s.opts.Location)
	hour, minute, second := local.Clock()
	x.resp.LocalTime = uint32(hour*10000 + minute*100 + second) //nolint:gosec // at most 235959.
	x.resp.LocalDate = points.DateOf(local).MMDD()
}
