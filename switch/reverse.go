package pointswitch

import (
	"encoding/binary"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/router"
)

// original names the transaction that a void, refund, release or completion is
// about. In the order of what says it best:
//
//	host  DE90, by identity                      (messages.md 10.13)
//	pos   DE37, which is the position in the journal
//	both  DE38, which leads back to the position, checked by card and amount
//	pos   DE61, by identity, on the same terminal
//
// A request that names nothing is sent on without: the ledger answers 25.
func (s *Switch) original(x *exchange, acceptor router.Acceptor) {
	req, cmd := &x.req, &x.cmd
	if quotesCode(req) {
		cmd.AuthCode = req.AuthCode
	}
	if req.Door == points.DoorHost && named(req) {
		cmd.OriginalKey = hostOriginal(req, originalClass(req.Function))
		return
	}
	if req.Door == points.DoorTerminal && req.Has(37) {
		if position, err := points.ParseRRN(req.RRN[:]); err == nil && position != 0 {
			cmd.Original = position
			return
		}
	}
	if s.byCode(x) {
		return
	}
	if req.Door == points.DoorTerminal && req.Original.Present {
		cmd.OriginalKey = traceKey(req, acceptor, originalClass(req.Function))
		cmd.OriginalKey.When, cmd.OriginalKey.STAN = uint64(req.Original.Batch), req.Original.STAN
	}
}

// reverse names the request that a reversal undoes, and what stands of it (DE95;
// terminals have none and reverse the whole): a terminal repeats its STAN
// and batch (messages.md 10.6), a partner names it in DE90, else by DE38 and card
// (10.13). DE61 of a terminal's reversal names the original of the reversed
// request and is not looked at. A partner's reversal that names nothing that can be
// found again is sent on without: 25, because 00 would promise that it is gone.
func (s *Switch) reverse(x *exchange, acceptor router.Acceptor) {
	req, cmd := &x.req, &x.cmd
	cmd.Reverses, cmd.Actual = req.Reversed, req.Actual
	cmd.Final = true // Of issuers with a ledger of their own: see its comment.
	switch {
	case req.Door == points.DoorTerminal:
		cmd.OriginalKey = traceKey(req, acceptor, classOf(req.Reversed))
	case named(req):
		cmd.OriginalKey = hostOriginal(req, classOf(req.Reversed))
	case quotesCode(req):
		cmd.AuthCode = req.AuthCode
		if s.byCode(x) && !s.brought(cmd) {
			cmd.Original = 0
		}
	}
}

// named reports whether DE90 names a request: without its transmission time it
// is the identity of none, and another acquirer's requests are not the sender's
// to name.
func named(req *points.Request) bool {
	o := &req.Original
	return req.Has(90) && o.Transmission != 0 && (o.Acquirer == 0 || o.Acquirer == req.Acquirer)
}

// brought reports whether the acquirer of cmd brought the original that it names.
// It reads the journal: a reversal without DE90 may name any position, and the
// ledger knows a partner's reversal by nothing but its card.
func (s *Switch) brought(cmd *book.Command) bool {
	rec, err := s.opts.Ledger.Record(cmd.Original)
	return err == nil && rec.Command.Acquirer == cmd.Acquirer
}

// quotesCode reports whether the request quotes an authorisation code; blanks are
// none.
func quotesCode(req *points.Request) bool {
	return req.Has(38) && string(req.AuthCode[:]) != "      "
}

// byCode finds the original by its authorisation code. It reports false where the
// request quotes none that leads anywhere.
func (s *Switch) byCode(x *exchange) bool {
	if !quotesCode(&x.req) {
		return false
	}
	position, ok := points.PositionOfAuthCode(x.req.AuthCode, s.opts.Ledger.Durable())
	if ok {
		x.cmd.Original = position
	}
	return ok
}

// hostOriginal is the identity in DE90. Its acquirer is the request's own; so is
// its forwarder where that is zero. A message type of zeros leaves class.
func hostOriginal(req *points.Request, class points.Class) points.TraceKey {
	forwarder := req.Original.Forwarder
	if forwarder == 0 {
		forwarder = req.Forwarder
	}
	if req.Original.MTI != 0 {
		class = points.Class(req.Original.MTI / 100 % 10)
	}
	key := points.TraceKey{
		Acquirer: req.Acquirer, STAN: req.Original.STAN, When: req.Original.Transmission,
		Class: class, Door: points.DoorHost,
	}
	binary.BigEndian.PutUint64(key.Source[:], uint64(forwarder))
	return key
}

// originalClass is the class of the message whose transaction function is about.
func originalClass(f points.Function) points.Class {
	switch f {
	case points.PreAuthVoid, points.Completion, points.CompletionAdvice:
		return points.ClassAuthorisation
	default:
		return points.ClassFinancial
	}
}

// classOf is the class of the messages that ask for function.
func classOf(f points.Function) points.Class {
	switch f {
	case points.PreAuth, points.PreAuthVoid, points.SwapQuote:
		return points.ClassAuthorisation
	default:
		return points.ClassFinancial
	}
}
