package pointswitch

import (
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/router"
)

// network answers what moves no points. It reports false for everything else.
//
// A terminal's sign-on goes to the ledger, which knows its batch; it carries no
// identity, because a terminal that lost its memory signs on under numbers that
// it used before. The rest is answered here.
func (s *Switch) network(x *exchange, acceptor router.Acceptor) bool {
	switch x.req.Function {
	case points.SignOn:
		if x.req.Door != points.DoorTerminal {
			if issuers := s.opts.Issuers; issuers != nil {
				issuers.partners.signedOn(x.conn, x.session.listener.name, x.session.listener.dialect, &x.req)
			}
			x.answer(points.Approved)
			return true
		}
		x.cmd = book.Command{
			Kind: book.KindSignOn, Function: points.SignOn, At: x.req.At,
			Acquirer: acceptor.Acquirer.ID, Merchant: acceptor.Merchant.ID, Terminal: acceptor.Terminal.ID,
		}
		if reason := s.signingOn(x, acceptor); !reason.Approved() {
			x.answer(reason)
			return true
		}
		x.submit()
		return true
	case points.Download:
		s.download(x, acceptor)
		return true
	case points.KeyChange: // A terminal's; those of hosts are answered before.
		x.session.handOn() // What came before it is on its way.
		x.answer(s.nextMaster(x))
		return true
	case points.SignOff, points.Echo, points.CutOverNotice, points.EarnConfirm:
		if issuers := s.opts.Issuers; issuers != nil && x.req.Function == points.SignOff {
			issuers.partners.left(x.conn)
		}
		x.session.handOn() // An echo comes back when what came before it is on its way.
		x.answer(points.Approved)
		return true
	default:
		return false
	}
}
