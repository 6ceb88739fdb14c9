package pointswitch

import (
	"encoding/binary"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/router"
)

// command turns an admitted request into what the ledger is asked to do, and
// decides which issuer it is for. It is refused where there is no route.
func (s *Switch) command(x *exchange, acceptor router.Acceptor) points.Reason {
	req, cmd := &x.req, &x.cmd
	cmd.Kind = book.KindOf(req.Function)
	s.identify(x, acceptor)
	cmd.Batch = batchOf(req)
	cmd.Amount = req.Amount
	cmd.Program = program(x.table, req, acceptor)
	cmd.Chosen = req.Program == 0
	cmd.EntryMode, cmd.PIN = req.EntryMode, req.PINLen > 0
	if req.Function == points.SwapCredit {
		cmd.Origin = book.Swapped
	}
	cmd.PartialOK = req.PartialOK && req.Function == points.Redeem
	s.opts.CardKey.Token(&cmd.Card, req.PAN)
	s.opts.CardKey.Token(&cmd.ToCard, req.TargetPAN)

	switch req.Function {
	case points.Completion, points.CompletionAdvice:
		cmd.Final = true // A terminal completes a pre-authorisation once.
		s.original(x, acceptor)
	case points.CompletionVoid:
		cmd.Final = true // It opens the hold again.
		s.original(x, acceptor)
	case points.Refund:
		cmd.Final = true // It can be reversed, also where several programmes had paid.
		s.original(x, acceptor)
	case points.Void, points.PreAuthVoid:
		s.original(x, acceptor)
	case points.Reversal:
		s.reverse(x, acceptor)
	case points.SwapEnquiry:
		if named(req) {
			cmd.OriginalKey = hostOriginal(req, points.ClassFinancial)
		}
	case points.SwapQuote, points.Swap:
		cmd.Edition = book.Edition
		if reason := swapOf(req, cmd); !reason.Approved() {
			return reason
		}
		return s.pin(x) // Both ledgers are here, or the book refuses it.
	default:
		if reason := s.route(x); !reason.Approved() {
			return reason
		}
		return s.pin(x)
	}
	return points.Approved // The original says whose it is.
}

// identify says who asks for what, and under which identity.
func (s *Switch) identify(x *exchange, acceptor router.Acceptor) {
	req, cmd := &x.req, &x.cmd
	cmd.Function, cmd.At = req.Function, req.At
	cmd.Key = traceKey(req, acceptor, req.Class)
	cmd.Acquirer = acceptor.Acquirer.ID
	if acceptor.Merchant != nil {
		cmd.Merchant = acceptor.Merchant.ID
	}
	if acceptor.Terminal != nil {
		cmd.Terminal = acceptor.Terminal.ID
	}
}

// traceKey is the identity of the request of class class that req's sender sent
// under req's numbers (messages.md 10.1).
func traceKey(req *points.Request, acceptor router.Acceptor, class points.Class) points.TraceKey {
	key := points.TraceKey{Acquirer: acceptor.Acquirer.ID, STAN: req.STAN, Class: class, Door: req.Door}
	if req.Door == points.DoorTerminal {
		key.Source, key.When = req.Terminal, uint64(req.Batch)
		return key
	}
	binary.BigEndian.PutUint64(key.Source[:], uint64(req.Forwarder))
	key.When = req.Transmission
	return key
}

// Account types of DE60.7.
const (
	issuerPoints   = 48
	alliancePoints = 65
)

func narrows(accountType uint16) bool {
	return accountType == issuerPoints || accountType == alliancePoints
}

// program is the programme that the request names (DE49), else the first of the
// kind that DE60.7 asks for in the merchant's order, else 0: the ledger takes
// the first in that order in which the member has an account. Where there is an
// original, it decides, and DE60.7 is not looked at (messages.md 10.10).
func program(table *router.Table, req *points.Request, acceptor router.Acceptor) points.ProgramID {
	switch req.Function {
	case points.Redeem, points.Earn, points.PreAuth, points.OfflineRedeem, points.OfflineEarn, points.Transfer:
	default:
		return req.Program
	}
	if req.Program != 0 || !narrows(req.AccountType) {
		return req.Program
	}
	for _, id := range acceptor.Merchant.Programs {
		if program, ok := table.Program(id); ok && program.Alliance == (req.AccountType == alliancePoints) {
			return id
		}
	}
	return 0
}

// tenderOf are the terms on which several programmes pay for a sale, nil where one does:
// the merchant has none, or the request says which.
func tenderOf(x *exchange) []book.TenderTerm {
	if x.req.Function != points.Redeem || x.cmd.Program != 0 || narrows(x.req.AccountType) {
		return nil
	}
	if merchant := x.table.MerchantOf(x.cmd.Merchant); merchant != nil {
		return merchant.Tender
	}
	return nil
}

// ask decides whether an issuer with a ledger of its own may be asked for what the other
// programmes of a tender cannot pay: one whose programme the terms name, and that the card
// is routed to. Two are refused: the one could not be undone in time when the other declines.
func (s *Switch) ask(x *exchange) points.Reason {
	asked := 0
	for _, term := range x.cmd.Tender {
		program, ok := x.table.Program(term.Program)
		if !ok || x.table.LinkOf(program.Issuer) == "" {
			continue
		}
		if asked++; asked > 1 {
			return points.FunctionDisabled
		}
		destination, reason := x.table.Route(x.req.PAN, term.Program)
		x.cmd.Ask = reason.Approved() && destination.Issuer == program.Issuer && s.opts.Issuers != nil
	}
	return points.Approved
}

// route decides whether the ledger here or the issuer's own is asked. What the ledger
// refuses by itself it is left to refuse: the amount, because that comes before the
// route (messages.md 10.3), and programmes and issuers that are closed, because then a
// repeat of what was approved before still gets its first answer.
func (s *Switch) route(x *exchange) points.Reason {
	tender := tenderOf(x)
	if x.req.Function != points.Balance && (x.req.Amount <= 0 || x.req.Amount > points.MaxAmount) {
		return points.Approved
	}
	destination, reason := x.table.Route(x.req.PAN, x.cmd.Program)
	switch {
	case reason == points.NoRoute:
		return reason
	case !reason.Approved():
		if program, ok := x.table.Program(x.cmd.Program); ok && x.table.LinkOf(program.Issuer) != "" {
			x.cmd.Kind = book.KindForward // Refused as what it is, so that a repeat is the same.
		}
		return points.Approved
	case destination.Link == "":
		x.cmd.Tender = tender
		return s.ask(x)
	case tender != nil:
		// The amount is in the unit of the sale, and a whole other ledger would have to pay
		// a part of it: the terminal names the programme.
		x.resp.Issuer = destination.Issuer
		return points.FunctionDisabled
	}
	x.resp.Issuer = destination.Issuer
	if s.opts.Issuers == nil {
		return points.LineDown // No link to an issuer's own host is up.
	}
	if x.req.Function == points.Transfer { // Both members are the issuer's.
		to, reason := x.table.Route(x.req.TargetPAN, x.cmd.Program)
		if !reason.Approved() || to.Issuer != destination.Issuer {
			return points.NoRoute
		}
	}
	if x.cmd.Program == 0 {
		x.cmd.Program = x.table.FirstOf(destination.Issuer, x.cmd.Merchant)
	}
	program, ok := x.table.Program(x.cmd.Program)
	if ok && program.Issuer != destination.Issuer {
		return points.NoRoute // The card is one issuer's, the points are another's.
	}
	x.cmd.Kind = book.KindForward
	return points.Approved
}
