package pointswitch

import (
	"cmp"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/router"
	"github.com/lianfen/lianfen/switch/link"
)

// exchange is one request on its way and its answer. It is taken from a pool,
// filled by the connection's reading goroutine, handed to the ledger, finished
// by the ledger's commit goroutine and put back: at any time it has one owner.
type exchange struct {
	s       *Switch
	session *session
	conn    *link.Conn
	frame   []byte        // of an upload, whose answer gives its items back
	table   *router.Table // the reference data that the request sees from beginning to end

	acceptor router.Acceptor
	req      points.Request
	resp     points.Response
	cmd      book.Command
	fault    error // of a malformed frame
	replayed bool
	pin      points.PINBlock // of a request that its issuer decides, under the key with it
	pinLen   uint8
	keys     *workingKeys // that the request was authenticated with; nil: it was not
	derived  *derivedKeys // of a terminal's message, where they are derived for each; used again
	master   *certs.Key   // that a sign-on has proved to have; nil: none
	given    *givenKeys   // that a sign-on is given again; nil: it is given others, or none
	shed     bool         // it is answered only if it was before
	first    bool         // it goes first; see goesFirst
	turned   bool         // it is turned away for the load that there is

	// Bound once, when the exchange is made, so that no request makes closures.
	settled func(*book.Outcome)
	append  func(dst []byte) []byte
}

func (s *Switch) newExchange() *exchange {
	x := &exchange{s: s}
	x.settled = x.settle
	x.append = x.appendResponse
	return x
}

// newRequest takes a clean exchange from the pool.
func (s *Switch) newRequest(session *session, c *link.Conn) *exchange {
	x, ok := s.requests.Get().(*exchange)
	if !ok {
		x = s.newExchange()
	}
	x.session, x.conn = session, c
	return x
}

// release gives the exchange back to the pool; x must not be used afterwards.
func (x *exchange) release() {
	x.session, x.conn, x.table, x.fault, x.replayed, x.shed, x.first, x.turned = nil, nil, nil, nil, false, false, false, false
	x.keys, x.master, x.given, x.pin, x.pinLen = nil, nil, nil, [16]byte{}, 0
	x.derived.forget()
	x.req, x.resp, x.cmd, x.acceptor = points.Request{}, points.Response{}, book.Command{}, router.Acceptor{}
	clear(x.frame) // It held card numbers.
	x.frame = x.frame[:0]
	x.s.requests.Put(x)
}

// submit sees to it that the ledger gets the command, together with those of the
// other frames of the same read.
func (x *exchange) submit() {
	x.session.asks = append(x.session.asks, ledger.Ask{Command: &x.cmd, Done: x.settled, First: x.first})
}

// submitShed is submit for a request that gets the answer it had before, or none but to try
// again: nothing new is begun.
func (x *exchange) submitShed() {
	x.cmd.RepeatOnly, x.shed = true, true
	x.session.shed++
	x.submit()
}

// turnAwayUnlessSeen tells who sent a new request to try again. One that may have come
// before, or wait still, is the ledger's to answer: what was approved must not be refused.
func (x *exchange) turnAwayUnlessSeen() {
	key := traceKey(&x.req, x.acceptor, x.req.Class)
	if x.s.opts.Ledger.Unseen(&key) {
		x.turned = true
		x.s.metrics.shed.Inc()
		x.finish(points.Overloaded, &x.session.outbox)
		return
	}
	if reason := x.s.command(x, x.acceptor); !reason.Approved() {
		x.answer(reason)
		return
	}
	x.submitShed()
}

// answer finishes the request with reason, and the exchange with it.
func (x *exchange) answer(reason points.Reason) { x.finish(reason, nil) }

// finish is answer, by way of the outbox if there is one.
func (x *exchange) finish(reason points.Reason, outbox *link.Outbox) {
	x.resp.Reason, x.resp.Please = reason, x.please(reason)
	if x.resp.LocalTime == 0 && x.resp.LocalDate == 0 {
		x.stampLocal(x.req.At)
	}
	if outbox != nil {
		outbox.Reply(x.conn, x.append)
	} else {
		x.conn.Reply(x.append)
	}
	x.s.metrics.answered(x)
	x.s.logAnswer(x)
	x.release()
}

// drop finishes the request without an answer, and the exchange with it.
func (x *exchange) drop(reason points.Reason) {
	x.resp.Reason = reason
	x.conn.Drop()
	x.s.metrics.unanswered.Inc()
	x.s.logAnswer(x)
	x.release()
}

// turnAway finishes a request over its sender's rate: it is told to try again, unless
// malformed says that it cannot even be read.
func (x *exchange) turnAway(malformed error) {
	x.turned = true
	if malformed != nil {
		x.drop(points.Overloaded)
		return
	}
	x.answer(points.Overloaded)
}

func (x *exchange) appendResponse(dst []byte) []byte {
	d := x.session.listener.dialect
	start := len(dst)
	if len(x.frame) > 0 {
		dst = d.AppendUploadResponse(dst, x.frame, &x.req, &x.resp)
	} else {
		dst = d.AppendResponse(dst, &x.req, &x.resp)
	}
	if x.keys != nil {
		d.Sign(dst[start:], &x.req, x.keys.mac)
	}
	return dst
}

// settle is called by the ledger when the outcome is durable. What its issuer has to
// decide is answered when that has come back; of a reversal, the issuer hears afterwards.
func (x *exchange) settle(out *book.Outcome) {
	switch {
	case x.shed: // It was not counted.
	case out.Reason == points.Overloaded, out.Reason == points.Draining:
		x.s.pressure.refused()
	default:
		x.s.pressure.answered(x.req.At)
	}
	if out.Forwarded {
		if x.s.opts.Issuers == nil { // It stays open; a start with links owes the issuer its reversal.
			x.answer(points.LineDown)
			return
		}
		leg := x.s.opts.Issuers.legOf(out.Issuer)
		switch {
		case x.cmd.Waits(out):
			leg.take(x, out)
			return
		case x.cmd.Kind == book.KindRefund:
			leg.notice(out.Position)
		default:
			leg.notice(cmp.Or(out.About, out.Original))
		}
	}
	x.fill(out)
	if out.Reason == points.Overloaded || out.Reason == points.Draining {
		x.turned = true
		x.answer(out.Reason) // At once, on the reading goroutine.
		return
	}
	reason := out.Reason
	switch {
	case reason == points.BadMAC:
		reason = x.s.notAuthentic(macSpent)
	case x.shed && reason == points.NotFresh:
		x.s.metrics.shed.Inc()
		x.turned = true
		reason = points.Overloaded
	case !reason.Approved():
	case x.cmd.Kind == book.KindCloseBatch:
		reason = x.closed(out)
	case x.cmd.Kind == book.KindUpload && !out.Replayed:
		x.s.metrics.uploaded.Add(float64(len(x.cmd.Items)))
	case x.cmd.KeySet != 0 || x.given != nil:
		reason = x.signedOn(out)
		x.s.terminals.note(x.cmd.Terminal, out.Parameters)
	case x.cmd.Kind == book.KindSignOn || x.cmd.Kind == book.KindDownload:
		x.s.terminals.note(x.cmd.Terminal, out.Parameters)
	}
	x.finish(reason, &x.s.outbox)
}
