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
			x.answer(points.Approved)
			return true
		}
		x.cmd = book.Command{
			Kind: book.KindSignOn, Function: points.SignOn, At: x.req.At,
			Acquirer: acceptor.Acquirer.ID, Merchant: acceptor.Merchant.ID, Terminal: acceptor.Terminal.ID,
		}
		x.submit()
		return true
	case points.SignOff, points.Echo, points.CutOverNotice, points.EarnConfirm:
		x.session.handOn() // An echo comes back when what came before it is on its way.
		x.answer(points.Approved)
		return true
	default:
		return false
	}
}
