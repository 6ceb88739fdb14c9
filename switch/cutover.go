package pointswitch

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
	"github.com/lianfen/lianfen/switch/link"
)

// notice is the news of a cut-over to one peer: 0800 with DE70 201, DE15 the date that
// begins. It is told until it is answered or there is no connection to tell it on; then a
// host learns the date from the next answer or sign-on.
//
//	due ──> sent ──> answered
//	 ^        │
//	 └─ time ─┘      due, sent ──> gone
type notice struct {
	date   points.BusinessDate
	state  noticeState
	sent   int
	due    points.Timestamp
	answer points.Reason
	key    replyKey
}

type noticeState uint8

const (
	noticeDue noticeState = iota + 1
	noticeSent
	noticeAnswered
	noticeGone
)

// String tells how far the news has come; nothing when there was none.
func (n *notice) String() string {
	switch n.state {
	case noticeDue, noticeSent:
		return fmt.Sprintf("%v sent %d times", n.date, n.sent)
	case noticeAnswered:
		return fmt.Sprintf("%v answered %s", n.date, n.answer.DE39())
	case noticeGone:
		return fmt.Sprintf("%v not told: no connection", n.date)
	default:
		return ""
	}
}

// request is the message itself.
func (n *notice) request(stan points.STAN, institution points.AcquirerID, now points.Timestamp) points.Request {
	return points.Request{Function: points.CutOverNotice, STAN: stan, Transmission: stampOf(now), Acquirer: institution, Settlement: n.date.MMDD()}
}

// CutOver tells every issuer's host that is signed on, and every partner's system, that
// date has begun. It returns before they have heard it; [Issuers.Links] shows how it goes.
func (s *Issuers) CutOver(date points.BusinessDate) {
	for _, l := range s.all() {
		l.do(func() {
			if len(l.paths) > 0 {
				l.unnoticed()
				l.notice201 = notice{date: date, state: noticeDue}
			}
		})
	}
	s.partners.cutOver(date)
	s.Wake()
}

// tell sends a leg's notice when it is due, and returns when to look again. mu is held.
func (l *leg) tell(now points.Timestamp) points.Timestamp {
	n := &l.notice201
	if n.state != noticeDue {
		return now.Add(time.Minute)
	}
	if now < n.due {
		return n.due
	}
	var up *outlet
	for _, p := range l.paths {
		for _, o := range p.outlets {
			if o.state == outletUp && up == nil {
				up = o
			}
		}
	}
	if up == nil {
		n.state = noticeGone
		return now.Add(time.Minute)
	}
	l.stan = l.stan%maxSTAN + 1
	req := n.request(l.stan, l.profile.Institution, now)
	frame, key, err := l.encode(&req, nil)
	if err == nil {
		err = l.dispatch(up, frame, key, await{outlet: up, notice: true, sent: now, due: now.Add(l.profile.EchoDeadline).Time()})
	}
	n.sent++
	if err != nil {
		l.of.opts.Log.Warn("cut-over notice was not sent", slog.String("link", l.name), slog.String("error", err.Error()))
		n.due = now.Add(l.pause(n.sent))
		return n.due
	}
	n.state, n.key = noticeSent, key
	return now.Add(time.Minute)
}

// noticed takes the answer to a leg's notice. mu is held.
func (l *leg) noticed(answer points.Reason) {
	l.notice201.state, l.notice201.answer = noticeAnswered, answer
	l.of.opts.Log.Info("cut-over notice answered", slog.String("link", l.name),
		slog.String("date", l.notice201.date.String()), slog.String("de39", answer.DE39()))
}

// repeatNotice has a leg's notice sent again, in a while. mu is held.
func (l *leg) repeatNotice(now points.Timestamp) {
	n := &l.notice201
	if n.state == noticeSent {
		n.state, n.due = noticeDue, now.Add(l.pause(n.sent))
		l.plan(n.due)
	}
}

// unnoticed ends the wait for an answer to an earlier notice. mu is held.
func (l *leg) unnoticed() {
	if l.notice201.state != noticeSent {
		return
	}
	if w, ok := l.pending.Take(l.notice201.key); ok {
		w.outlet.inFlight--
	}
}

// Times of notices to partners, whose links have no profile of their own.
const (
	partnerDeadline = 10 * time.Second
	partnerPause    = 30 * time.Second
)

// partners are the acquirers' systems that have dialled us and signed on.
type partners struct {
	mu     sync.Mutex
	stan   points.STAN
	seen   points.Timestamp // the clock, when advance looked last
	signed map[*link.Conn]*partner
}

// partner is one connection of an acquirer's system.
type partner struct {
	listener string
	dialect  *dialect.Dialect
	acquirer points.AcquirerID
	hexMap   bool // as it speaks
	notice   notice
}

// signedOn takes up the connection of a partner's system.
func (p *partners) signedOn(c *link.Conn, listener string, d *dialect.Dialect, req *points.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.signed == nil {
		p.signed = make(map[*link.Conn]*partner)
	}
	if p.signed[c] == nil {
		p.signed[c] = &partner{listener: listener, dialect: d, acquirer: req.Acquirer, hexMap: req.Envelope.HexMap}
	}
}

// left forgets a connection that has signed off or ended.
func (p *partners) left(c *link.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.signed, c)
}

func (p *partners) cutOver(date points.BusinessDate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, partner := range p.signed {
		partner.notice = notice{date: date, state: noticeDue}
	}
}

// advance sends what is due, and returns when to look again.
func (p *partners) advance(now points.Timestamp, log *slog.Logger) points.Timestamp {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := now.Add(time.Minute)
	back := min(0, now.Sub(p.seen)) // The clock was set back: what is planned goes with it.
	p.seen = now
	for _, c := range p.connected() {
		partner := p.signed[c]
		n := &partner.notice
		n.due = n.due.Add(back)
		switch {
		case n.state == noticeSent && now >= n.due: // No answer in time.
			n.state, n.due = noticeDue, now.Add(partnerPause)
		case n.state == noticeDue && now >= n.due:
			p.stan = p.stan%maxSTAN + 1
			req := n.request(p.stan, 0, now)
			req.Envelope.HexMap = partner.hexMap
			frame, err := partner.dialect.AppendRequest(nil, &req)
			if err == nil {
				err = c.Send(func(dst []byte) []byte { return append(dst, frame...) })
			}
			n.sent++
			n.state, n.due, n.key = noticeSent, now.Add(partnerDeadline), replyKey{stan: req.STAN, transmission: req.Transmission}
			if err != nil {
				log.Warn("cut-over notice was not sent", slog.String("listener", partner.listener), slog.Uint64("conn", c.ID()), slog.String("error", err.Error()))
			}
		}
		if n.state == noticeDue || n.state == noticeSent {
			next = min(next, n.due)
		}
	}
	return next
}

// connected are the connections in the order of connecting. mu is held.
func (p *partners) connected() []*link.Conn {
	return slices.SortedFunc(maps.Keys(p.signed), func(a, b *link.Conn) int { return cmp.Compare(a.ID(), b.ID()) })
}

// answered takes an answer that came in on a partner's connection. It reports false when
// nothing there waits for one.
func (p *partners) answered(c *link.Conn, frame []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	partner := p.signed[c]
	if partner == nil {
		return false
	}
	var echo points.Request
	var resp points.Response
	n := &partner.notice
	if err := partner.dialect.DecodeResponse(frame, &echo, &resp); err != nil {
		return false
	}
	if n.state == noticeDue && n.sent > 0 || n.state == noticeSent {
		if n.key == (replyKey{stan: echo.STAN, transmission: echo.Transmission}) {
			n.state, n.answer = noticeAnswered, resp.Reason
			return true
		}
	}
	return false
}

// states are lines for the operators, in the order of connecting.
func (p *partners) states() []LinkState {
	p.mu.Lock()
	defer p.mu.Unlock()
	var states []LinkState
	for _, c := range p.connected() {
		partner := p.signed[c]
		states = append(states, LinkState{
			Link: fmt.Sprintf("partner %d", partner.acquirer), Path: partner.listener, Peer: c.RemoteAddr().String(),
			State: outletStates[outletUp], Breaker: "closed", CutOver: partner.notice.String(),
		})
	}
	return states
}
