package pointswitch

import (
	"log/slog"
	"time"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// swapAsk is one question to the issuer of a swap's leg (ledger/book/swapremote.go). When it is
// asked, again, and given up the journal says; here it is sent once, and what comes back told.
// What one answer of the host tells is told at once, also when it is late.
type swapAsk struct {
	leg    *leg
	view   book.SwapLegView
	told   func(asked points.Function, answer points.Reason, sent bool)
	outlet *outlet
	key    replyKey
}

// maxLateSwaps bounds the questions whose late answers are known again. Of another one the
// next enquiry tells.
const maxLateSwaps = 1 << 14

// AskSwap asks the issuer of a leg what the book wants asked, which has to be durable. told is
// called on a goroutine of the links, once when the answer or its time-out comes, and again
// for an answer that is late; sent is false when the question never went out. It must not
// block.
func (s *Issuers) AskSwap(view book.SwapLegView, told func(asked points.Function, answer points.Reason, sent bool)) {
	l := s.legOf(view.Issuer)
	l.do(func() { l.sendSwap(&swapAsk{leg: l, view: view, told: told}) })
}

// SwapGiveUp is after which time a leg at the issuer is given up, and whether by FENCE.
func (s *Issuers) SwapGiveUp(issuer points.IssuerID) (after time.Duration, fence bool) {
	p := s.legOf(issuer).profiled()
	if p.SwapGiveUp <= 0 {
		return 24 * time.Hour, !p.SwapManual
	}
	return p.SwapGiveUp, !p.SwapManual
}

// sendSwap sends a question. mu is held.
func (l *leg) sendSwap(ask *swapAsk) {
	now := l.of.opts.Clock()
	route := book.RemoteView{Card: ask.view.Card, Program: ask.view.Program, Issuer: ask.view.Issuer}
	o, refusal := l.choose(&route, now)
	if o == nil {
		l.of.metrics.unsent.WithLabelValues(l.name, refusal.String()).Inc()
		l.tellSwap(ask, points.LineDown, false)
		return
	}
	req := l.swapMessage(&ask.view)
	keys, _ := o.path.leg.signs(now)
	frame, key, err := l.encode(&req, keys)
	if err == nil {
		ask.outlet, ask.key = o, key
		err = l.dispatch(o, frame, key, await{swap: ask, sent: now, due: now.Add(l.profile.Deadline).Time()})
	}
	if err != nil {
		l.of.opts.Log.Error("the leg of a swap cannot be asked for",
			slog.String("link", l.name), slog.Uint64("quote", uint64(ask.view.Quote)), slog.String("error", err.Error()))
		l.tellSwap(ask, points.LineDown, false)
		return
	}
	l.swapAsks[ask.view.Quote] = ask
	delete(l.late, key)
}

// swapMessage writes a question. All of them name the leg by DE37, and by DE11 and DE7 of the
// command that executes; an enquiry and FENCE have numbers of their own.
func (l *leg) swapMessage(view *book.SwapLegView) points.Request {
	req := points.Request{
		Function: view.Asks, Amount: view.Amount, Acquirer: view.Acquirer, Forwarder: l.profile.Institution, Issuer: view.Issuer,
		RRN: view.Position.RRN(), Program: view.Program, STAN: stanOf(view.Position), Transmission: stampOf(view.Posted), Repeat: view.Attempt > 0,
	}
	if req.Acquirer == 0 {
		req.Acquirer = l.profile.Institution
	}
	if pan, ok := l.of.opts.CardKey.PAN(view.Card); ok {
		req.PAN = pan
	}
	if view.Asks == view.Act {
		return req
	}
	req.Original = points.Original{
		Present: true, MTI: messageType(view.Act), STAN: req.STAN, Transmission: req.Transmission, Acquirer: req.Acquirer, Forwarder: req.Forwarder,
	}
	req.STAN, req.Transmission, req.Repeat = stanOf(view.AskedBy), stampOf(view.AskedAt), false
	if view.Asks == points.Reversal {
		req.Reversed, req.Repeat = view.Act, view.Fenced != view.AskedBy
		req.STAN, req.Transmission = stanOf(view.Fenced), stampOf(view.FencedAt)
		copy(req.Answer[:], points.IssuerTimeout.DE39())
	}
	return req
}

// agrees checks what an answer echoes: the issuer that was asked, and all of the amount.
func (ask *swapAsk) agrees(echo *points.Request, resp *points.Response) bool {
	if resp.Issuer != 0 && resp.Issuer != ask.view.Issuer {
		return false
	}
	if !echo.Has(4) {
		return !resp.Reason.Approved()
	}
	return resp.Amount == ask.view.Amount
}

// swapAnswered takes an answer, the first or a late one. mu is held.
func (l *leg) swapAnswered(ask *swapAsk, answer points.Reason) {
	delete(l.late, ask.key)
	l.tellSwap(ask, answer, true)
}

// swapUnanswered ends the wait for an answer. mu is held.
func (l *leg) swapUnanswered(ask *swapAsk) {
	if len(l.late) < maxLateSwaps {
		l.late[ask.key] = lateness{leg: l, position: ask.view.Position, card: ask.view.Card, program: ask.view.Program, issuer: ask.view.Issuer, swap: ask}
	}
	l.tellSwap(ask, points.IssuerTimeout, true)
}

// tellSwap hands on what is known. mu is held.
func (l *leg) tellSwap(ask *swapAsk, answer points.Reason, sent bool) {
	if l.swapAsks[ask.view.Quote] == ask {
		delete(l.swapAsks, ask.view.Quote)
	}
	l.after = append(l.after, call{do: func() { ask.told(ask.view.Asks, answer, sent) }})
}
