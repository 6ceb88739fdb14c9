package pointswitch

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/router"
	"github.com/lianfen/lianfen/switch/dialect"
	"github.com/lianfen/lianfen/switch/link"
)

// Reasons for which a connection to a host is closed by us.
var (
	errEchoLost    = errors.New("switch: the host answers no echo")
	errNoSignOn    = errors.New("switch: no sign-on in time")
	errSignOn      = errors.New("switch: the host refuses our sign-on")
	errSignedOff   = errors.New("switch: signed off")
	errPathRemoved = errors.New("switch: the configuration no longer has this path")
	errForeignHost = errors.New("switch: the host has shown to be somebody who is not on this link")
)

// path is one way to a host; the leg's mu guards it.
type path struct {
	leg     *leg
	profile PathProfile
	breaker router.Breaker
	outlets []*outlet
	removed bool // the configuration no longer has it: nothing new goes out here
}

// outlet is one connection to a host.
//
//	         dial                       sign-on answered
//	down ──────────> dialling ──> greeting ─────────────> up ──> leaving
//	  ^                 │             │                    │        │
//	  └──── failed ─────┴── refused ──┴──── lost, closed ──┴────────┘
//
// The side that dials signs on (0800/001); after a silence we send an echo, and close
// when some are not answered. Leaving: the host has signed off, or we have.
type outlet struct {
	path     *path
	conn     *link.Conn
	state    outletState
	dials    bool // we dial it; it is dialled again when it is lost
	inFlight int
	since    points.Timestamp // in the state
	heard    points.Timestamp // the last frame
	key      replyKey         // of the answer to our last network message
	echoing  bool
	lost     int           // echoes in a row
	pause    time.Duration // before the next dial
	dialAt   points.Timestamp
}

type outletState uint8

const (
	outletDown outletState = iota + 1
	outletDialling
	outletGreeting
	outletUp
	outletLeaving
)

var outletStates = [...]string{outletDown: "down", outletDialling: "dialling", outletGreeting: "greeting", outletUp: "up", outletLeaving: "leaving"}

// reload puts profile in force.
func (l *leg) reload(profile *LinkProfile) {
	l.do(func() {
		l.legs[l.name] = l
		l.profile = profile
		for _, p := range l.paths {
			p.removed = !slices.ContainsFunc(profile.Paths, func(q PathProfile) bool { return q.Name == p.profile.Name })
		}
		for _, wanted := range profile.Paths {
			p := l.path(wanted.Name)
			if p == nil {
				p = &path{leg: l}
				l.paths = append(l.paths, p)
			}
			p.profile = wanted
			p.resize()
		}
		for _, p := range l.paths {
			p.retire()
		}
		l.paths = slices.DeleteFunc(l.paths, func(p *path) bool { return p.removed && len(p.outlets) == 0 })
	})
}

func (l *leg) path(name string) *path {
	for _, p := range l.paths {
		if p.profile.Name == name {
			return p
		}
	}
	return nil
}

// resize makes the outlets that the profile wants more. mu is held.
func (p *path) resize() {
	have := 0
	for _, o := range p.outlets {
		if !o.dials {
			continue
		}
		if have++; have > p.profile.Connections {
			o.dials = false
			o.leave(errPathRemoved)
		}
	}
	p.outlets = slices.DeleteFunc(p.outlets, func(o *outlet) bool { return !o.dials && o.state == outletDown })
	for ; p.profile.Address != "" && have < p.profile.Connections; have++ {
		p.outlets = append(p.outlets, &outlet{path: p, dials: true, state: outletDown})
	}
}

// retire ends the outlets of a path that was removed. mu is held.
func (p *path) retire() {
	if !p.removed {
		return
	}
	for _, o := range p.outlets {
		o.leave(errPathRemoved)
	}
	p.outlets = slices.DeleteFunc(p.outlets, func(o *outlet) bool { return o.conn == nil && o.state != outletDialling })
}

// up counts the connections that carry requests.
func (p *path) up() (n int) {
	for _, o := range p.outlets {
		if o.state == outletUp {
			n++
		}
	}
	return n
}

// idlest is the connection with the fewest requests under way, nil when none has room.
func (p *path) idlest(bound int) (best *outlet) {
	for _, o := range p.outlets {
		if o.state == outletUp && !p.removed && o.inFlight < bound && (best == nil || o.inFlight < best.inFlight) {
			best = o
		}
	}
	return best
}

// advance does what is due for a path's connections. mu is held.
func (p *path) advance(now points.Timestamp) (next points.Timestamp, dials []*outlet) {
	next = now.Add(time.Minute)
	profile := p.leg.profile
	for _, o := range p.outlets {
		due := next
		switch o.state {
		case outletDown:
			if due = o.dialAt; now >= due && o.dials && !p.removed {
				o.enter(outletDialling, now)
				dials = append(dials, o)
				due = next
			}
		case outletGreeting:
			if due = o.since.Add(profile.SignOn); now >= due {
				o.conn.Close(errNoSignOn)
				due = next
			}
		case outletUp:
			if due = o.heard.Add(profile.EchoAfter); now >= due && !o.echoing {
				o.network(points.Echo, now)
				o.echoing = true
			}
			if o.echoing {
				due = next
			}
		case outletLeaving:
			o.leave(nil)
		case outletDialling:
		}
		next = min(next, due)
	}
	return next, dials
}

func (o *outlet) enter(state outletState, now points.Timestamp) { o.state, o.since = state, now }

// dial connects; what comes of it is told to Open, or here.
func (o *outlet) dial(ctx context.Context) {
	l := o.path.leg
	var address string
	var opts link.Options
	l.do(func() { address, opts = o.path.profile.Address, o.path.profile.Options })
	ctx, cancel := context.WithTimeout(ctx, l.profiled().SignOn)
	defer cancel()
	if _, err := l.of.opts.Dial(ctx, address, opts, entrance{l, o.path, o}); err != nil {
		l.do(func() { o.failed(l.of.opts.Clock()) })
		l.of.opts.Log.Warn("issuer cannot be reached", slog.String("link", l.name), slog.String("path", o.path.profile.Name), slog.String("error", err.Error()))
	}
}

// failed lets an outlet rest before it is dialled again: each time for longer, until it
// was up. mu is held.
func (o *outlet) failed(now points.Timestamp) {
	profile := o.path.leg.profile
	o.conn, o.echoing, o.lost, o.inFlight = nil, false, 0, 0
	o.pause = min(max(2*o.pause, profile.Redial), max(profile.RedialMost, profile.Redial))
	o.dialAt = now.Add(o.pause)
	o.enter(outletDown, now)
	o.path.leg.of.Wake()
}

// network sends a message of class 8. mu is held.
func (o *outlet) network(f points.Function, now points.Timestamp) {
	l := o.path.leg
	l.stan = l.stan%maxSTAN + 1
	req := points.Request{Function: f, STAN: l.stan, Transmission: stampOf(now), Acquirer: l.profile.Institution}
	frame, key, err := l.encode(&req, nil)
	o.key = key
	if err == nil {
		deadline := l.profile.EchoDeadline
		if f == points.SignOn {
			deadline = l.profile.SignOn
		}
		err = l.dispatch(o, frame, key, await{outlet: o, sent: now, due: now.Add(deadline).Time()})
	}
	if err != nil {
		l.of.opts.Log.Warn("network message to an issuer was not sent", slog.String("link", l.name), slog.String("error", err.Error()))
		o.conn.Close(errSignOn)
	}
}

// greeted takes the answer to a network message of ours. mu is held.
func (o *outlet) greeted(reason points.Reason, now points.Timestamp) {
	switch {
	case o.state == outletGreeting && reason.Approved():
		o.rise(now)
	case o.state == outletGreeting:
		o.conn.Close(errSignOn)
	default:
		o.echoing, o.lost = false, 0
	}
}

// rise lets a connection carry requests. mu is held.
func (o *outlet) rise(now points.Timestamp) {
	l := o.path.leg
	o.enter(outletUp, now)
	o.pause = 0
	l.of.metrics.connections.WithLabelValues(l.name).Inc()
	if o.path.removed {
		o.leave(errPathRemoved)
	}
	l.of.Wake() // What is owed has waited for this.
}

// unheard counts a network message without an answer. mu is held.
func (o *outlet) unheard(now points.Timestamp) {
	switch o.state {
	case outletGreeting:
		o.conn.Close(errNoSignOn)
	case outletUp, outletLeaving:
		o.lost++
		if o.lost >= o.path.leg.profile.LostEchoes {
			o.conn.Close(errEchoLost)
			return
		}
		o.network(points.Echo, now)
	case outletDown, outletDialling:
	}
}

// answered notes that a request of ours was answered. mu is held.
func (o *outlet) answered() {
	o.inFlight--
	o.path.breaker.Answered()
	if o.state == outletLeaving {
		o.leave(nil)
	}
}

// leave takes no more requests, and closes once those under way are answered. mu is held.
func (o *outlet) leave(reason error) {
	if o.conn == nil {
		return
	}
	if o.state == outletUp {
		o.path.leg.of.metrics.connections.WithLabelValues(o.path.leg.name).Dec()
	}
	o.enter(outletLeaving, o.since)
	if o.inFlight <= 0 {
		if reason == nil {
			reason = errSignedOff
		}
		o.conn.CloseAfterFlush(reason)
	}
}

// entrance is the handler of the connections of a path.
type entrance struct {
	leg    *leg
	path   *path
	outlet *outlet // the one that was dialled; nil: the host dials
}

var _ link.Handler = entrance{}

// Entrance returns the handler for the connections that a host dials to a path; nil
// when there is no such path.
func (s *Issuers) Entrance(name, path string) link.Handler {
	l := s.leg(name)
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.path(path)
	if p == nil {
		return nil
	}
	return entrance{leg: l, path: p}
}

// Open begins the sign-on.
func (e entrance) Open(c *link.Conn) {
	l := e.leg
	now := l.of.opts.Clock()
	l.do(func() {
		o := e.outlet
		if o == nil {
			o = &outlet{path: e.path}
			e.path.outlets = append(e.path.outlets, o)
		}
		c.Session = o
		o.conn, o.heard = c, now
		o.enter(outletGreeting, now)
		if peer, ok := c.Peer().(*certs.Peer); ok && (peer.Identity.Role != certs.RoleIssuer || !l.at(peer.Identity.Issuer)) {
			l.of.metrics.foreign.WithLabelValues(l.name).Inc()
			c.Close(errForeignHost)
			return
		}
		if o.dials {
			o.network(points.SignOn, now)
		}
		l.of.Wake()
	})
}

// speaksFor reports whether the link's host may name an issuer as itself (DE100).
func (l *leg) speaksFor(issuer points.IssuerID) (may bool) {
	l.do(func() { may = l.at(issuer) })
	return may
}

// at reports whether an issuer may be at the other end of the link. mu is held.
func (l *leg) at(issuer points.IssuerID) bool {
	if l.profile.Peers != nil {
		return slices.Contains(l.profile.Peers, issuer)
	}
	return l.of.opts.Router.Table().LinkOf(issuer) == l.name
}

// Each calls visit for every connection to a host, such as to close those whose peers
// are no longer wanted.
func (s *Issuers) Each(visit func(*link.Conn)) {
	var conns []*link.Conn
	for _, l := range s.all() {
		l.do(func() {
			for _, p := range l.paths {
				for _, o := range p.outlets {
					if o.conn != nil {
						conns = append(conns, o.conn)
					}
				}
			}
		})
	}
	for _, c := range conns {
		visit(c)
	}
}

// Frames takes answers, and answers what a host asks of a link. A frame that cannot be
// read is dropped: the connection carries others' traffic.
func (e entrance) Frames(c *link.Conn, frames [][]byte) {
	l := e.leg
	now := l.of.opts.Clock()
	o, ok := c.Session.(*outlet)
	if !ok {
		panic("switch: a connection to an issuer without its outlet") //nolint:forbidigo // Open sets it before any frame.
	}
	l.do(func() { o.heard, o.lost = now, 0 })
	for _, frame := range frames {
		mti, ok := l.of.opts.Dialect.MTI(frame)
		switch {
		case !ok:
			l.of.metrics.strays.WithLabelValues(l.name, strayMalformed).Inc()
			c.Drop()
		case dialect.IsAnswer(mti):
			l.answered(frame, now)
			c.Drop()
		default:
			e.asked(c, o, frame, now)
		}
	}
}

// asked answers a request of the host: sign-on, sign-off, echo, cut-over, keys.
func (e entrance) asked(c *link.Conn, o *outlet, frame []byte, now points.Timestamp) {
	l := e.leg
	var req points.Request
	resp := points.Response{Reason: points.Approved}
	if err := l.of.opts.Dialect.Decode(frame, &req); err != nil {
		resp.Reason = points.FormatError
		if wrong, ok := errors.AsType[*dialect.FormatError](err); ok {
			resp.Field = uint8(wrong.Field) //nolint:gosec // a data element, 0 to 128.
		}
	}
	keys, forged := l.authentic(frame, &req, now)
	switch {
	case !resp.Reason.Approved():
	case forged:
		resp.Reason = points.BadMAC
	case c.Peer() != nil && req.Has(100) && !l.speaksFor(req.Issuer):
		resp.Reason = points.ForeignIdentity
	case req.Function == points.KeyChange:
		resp.Reason = l.keysAsked(frame, &req, &resp, now)
	case req.Class != points.ClassNetwork || req.Function == 0:
		resp.Reason = points.UnknownFunction // An issuer's host answers; it does not ask for points.
	}
	c.Reply(func(dst []byte) []byte {
		start := len(dst)
		dst = l.of.opts.Dialect.AppendResponse(dst, &req, &resp)
		if keys != nil {
			l.of.opts.Dialect.Sign(dst[start:], &req, keys.mac)
		}
		return dst
	})
	if !resp.Reason.Approved() {
		return
	}
	l.do(func() {
		switch {
		case req.Function == points.SignOn && o.state == outletGreeting:
			o.rise(now)
		case req.Function == points.SignOff:
			o.leave(errSignedOff)
		}
	})
}

// Closed ends what was under way on the connection: its answers cannot come any more.
func (e entrance) Closed(c *link.Conn, reason error) {
	l := e.leg
	now := l.of.opts.Clock()
	o, ok := c.Session.(*outlet)
	if !ok {
		return
	}
	l.do(func() {
		if o.state == outletUp {
			l.of.metrics.connections.WithLabelValues(l.name).Dec()
		}
		o.enter(outletDown, now)
		l.lost(o, now)
		if o.dials && !o.path.removed {
			o.failed(now)
			return
		}
		o.conn = nil // The next one that is dialled by the host is another outlet.
		o.path.outlets = slices.DeleteFunc(o.path.outlets, func(other *outlet) bool { return other == o })
		l.paths = slices.DeleteFunc(l.paths, func(p *path) bool { return p.removed && len(p.outlets) == 0 })
	})
	if leftOut, may := l.ended.may(now); may {
		l.of.opts.Log.Warn("connection to an issuer ended", slog.String("link", l.name),
			slog.String("path", e.path.profile.Name), slog.String("peer", c.RemoteAddr().String()), slog.String("cause", reason.Error()), leftOut)
	}
}

// hangUp signs off and closes what we have dialled; the channels close when it is gone.
func (l *leg) hangUp() (gone []<-chan struct{}) {
	now := l.of.opts.Clock()
	l.do(func() {
		for _, p := range l.paths {
			for _, o := range p.outlets {
				if o.conn == nil || !o.dials {
					continue
				}
				if o.state == outletUp {
					o.network(points.SignOff, now)
				}
				p.removed = true // It is not dialled again.
				gone = append(gone, o.conn.Done())
				o.conn.CloseAfterFlush(errSignedOff)
			}
		}
	})
	return gone
}

// LinkState is how a connection to an issuer's host is.
type LinkState struct {
	Link      string        `json:"link"`
	Path      string        `json:"path"`
	Peer      string        `json:"peer,omitempty"` // where we dial, or who has dialled
	State     string        `json:"state"`
	InFlight  int           `json:"in_flight"`
	Breaker   string        `json:"breaker"` // closed or open
	Owed      int           `json:"owed"`    // to the host, by all its connections
	OldestFor time.Duration `json:"oldest_for"`
	CutOver   string        `json:"cut_over,omitempty"` // how the notice of the last cut-over went
}

// Links tells how the connections are; a path without one has a line too.
func (s *Issuers) Links() []LinkState {
	now := s.opts.Clock()
	var states []LinkState
	for _, l := range s.all() {
		l.mu.Lock()
		for _, p := range l.paths {
			line := LinkState{Link: l.name, Path: p.profile.Name, Peer: p.profile.Address, State: "down", Breaker: "closed", Owed: len(l.order), OldestFor: l.oldest(now), CutOver: l.notice201.String()}
			if !p.breaker.Ready(now) {
				line.Breaker = "open"
			}
			if len(p.outlets) == 0 {
				states = append(states, line)
			}
			for _, o := range p.outlets {
				line.State, line.InFlight = outletStates[o.state], o.inFlight
				if o.conn != nil {
					line.Peer = o.conn.RemoteAddr().String()
				}
				states = append(states, line)
			}
		}
		l.mu.Unlock()
	}
	return append(states, s.partners.states()...)
}
