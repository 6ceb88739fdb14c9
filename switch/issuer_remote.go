package pointswitch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/router"
	"github.com/lianfen/lianfen/switch/link"
)

// leg is what is under way with the host at the end of one link.
//
//	exchange.settle ── forwarded, durable ──> take ──> send ──> pending
//	                                            │               │  │
//	      no connection: stand-in, conclude 92, │     answered ─┘  └─ expired: owe
//	      or owe where it is told (0220)        v        │               │
//	                                          ledger <── conclude        v
//	                                            │                      ledger
//	     answers of all who wait <── settled ───┴──────> saf.go: what is owed
//
// Nothing is sent, and nobody is answered, before what it rests on is durable. Its
// methods run on many goroutines (commits, connections, Run); the room's mu guards all of
// it. What is under way with an issuer, and what it is owed, stands in the leg of its own
// link, whatever link carries it: a route may list several, see choose.
type leg struct {
	of   *Issuers
	name string

	*room

	unread, ended seldom // warnings of answers that cannot be read, of connections that ended
	profile       *LinkProfile
	paths         []*path
	turn          uint64                         // messages that have chosen a path
	shared        uint64                         // messages that have chosen a link of their route
	stan          points.STAN                    // of network messages
	flights       map[points.Position]*flight    // forwarded, and the acquirer is not answered
	swapAsks      map[points.Position]*swapAsk   // legs of swaps whose issuer was asked and has not answered, by quote
	pending       *link.Matcher[replyKey, await] // sent on its connections, and the host has not answered
	start         []*flight                      // waits for refresh to read what it is about
	again         []func()                       // what the ledger had no room for
	againAt       points.Timestamp
	planned       points.Timestamp // when Run looks again at the latest
	seen          points.Timestamp // the clock, when Run looked last

	notice201 notice    // of the last cut-over; see cutover.go
	changing  keyChange // of the keys with the host; see zone_link.go

	saf
}

// room is what the legs share, since one may carry what is another's. The ledger and
// those who wait are called without mu, since they call back: what is to be called is
// collected in after, see do.
type room struct {
	mu    sync.Mutex
	legs  map[string]*leg       // by name
	late  map[replyKey]lateness // time-out over, and something is owed
	after []call

	// Used again by every message.
	spare   []call // takes turns with after
	frame   []byte
	choices []router.Path
}

func newRoom() *room { return &room{legs: make(map[string]*leg), late: make(map[replyKey]lateness)} }

// lateness is what a late answer is about.
type lateness struct {
	leg      *leg
	position points.Position
	card     points.CardToken
	program  points.ProgramID
	issuer   points.IssuerID
	swap     *swapAsk // of a swap's leg; nil: of a transaction that was forwarded
}

// carried reports whether an answer that comes over the link of l can be about it: the
// link is its issuer's, or one that the card's route lists. Another issuer has no say.
func (about *lateness) carried(l *leg) bool {
	if l == about.leg {
		return true
	}
	pan, _ := l.of.opts.CardKey.PAN(about.card) // Of no card there is no route.
	return slices.ContainsFunc(l.of.opts.Router.Table().Links(pan, about.program), func(r book.RouteLink) bool { return r.Link == l.name })
}

// await is what an answer is awaited for; one of the four is set.
type await struct {
	flight *flight
	item   *item
	swap   *swapAsk
	outlet *outlet // an answer to a network message of ours
	notice bool    // which is the notice of a cut-over
	keys   bool    // which is a change of keys
	due    time.Time
	sent   points.Timestamp
}

// flight is a request on its way to the issuer and back.
type flight struct {
	leg     *leg
	view    book.RemoteView
	live    live
	waiting []*exchange // the first and its repeats
	outlet  *outlet     // nil: not sent
	key     replyKey
	refusal points.Reason // why it was not sent
	cmd     book.Command  // on its way through the ledger
	settled func(*book.Outcome)
}

// live is what only the request itself tells, and the journal does not keep.
type live struct {
	entryMode, cardSequence uint16
	expiry                  uint32
	localTime, localDate    uint32
	product                 [len(points.Request{}.Product)]byte
	target                  points.PAN      // of a transfer
	pin                     points.PINBlock // under the key with the issuer
	pinLen                  uint8
}

// call is what is done once mu is let go: a flight's command goes to the ledger, or do.
type call struct {
	submit *flight
	do     func()
}

// maxPending bounds the answers that one leg awaits, whatever its profile says.
const maxPending = 1 << 16

func newLeg(of *Issuers, name string) *leg {
	return &leg{
		of: of, name: name, room: of.room, profile: &LinkProfile{Name: name},
		flights: make(map[points.Position]*flight), swapAsks: make(map[points.Position]*swapAsk), pending: link.NewMatcher[replyKey, await](maxPending), saf: newSAF(),
	}
}

// do runs f with mu held, then without it what f has collected in after.
func (l *leg) do(f func()) {
	l.mu.Lock()
	f()
	if len(l.after) == 0 {
		l.mu.Unlock()
		return
	}
	after := l.after
	l.after, l.spare = l.spare, nil
	l.mu.Unlock()
	for _, c := range after {
		if f := c.submit; f != nil {
			l.of.opts.Ledger.Submit(&f.cmd, f.settled)
		} else {
			c.do()
		}
	}
	clear(after)
	l.mu.Lock()
	l.spare = after[:0]
	l.mu.Unlock()
}

// plan has Run look again by then at the latest. mu is held.
func (l *leg) plan(then points.Timestamp) {
	if then < l.planned {
		l.planned = then
		l.of.Wake()
	}
}

func (l *leg) profiled() *LinkProfile {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.profile
}

// take carries a request that the ledger has admitted, or lets a repeat of it wait. out
// is read before take returns.
func (l *leg) take(x *exchange, out *book.Outcome) {
	position := out.Position
	l.do(func() {
		f := l.flights[position]
		if f != nil {
			f.waiting = append(f.waiting, x)
			return
		}
		f = l.flight(x, out)
		l.flights[position] = f
		switch {
		case out.Replayed: // Sent by somebody who will not hear the answer.
			l.submit(f, book.Command{Kind: book.KindOwe})
		case out.Original != 0:
			l.start = append(l.start, f)
			l.of.Wake()
		default:
			l.send(f)
		}
	})
}

func (l *leg) flight(x *exchange, out *book.Outcome) *flight {
	f := &flight{leg: l, waiting: []*exchange{x}, view: book.RemoteView{
		Position: out.Position, Phase: book.RemoteOpen, Function: x.cmd.Function, Issuer: out.Issuer, Acquirer: x.cmd.Acquirer,
		Merchant: x.cmd.Merchant, Terminal: x.cmd.Terminal, Program: out.Program, Card: x.cmd.Card,
		Asked: out.Amount, Posted: out.Posted, Partial: x.cmd.PartialOK, Original: out.Original,
	}}
	f.live = live{x.req.EntryMode, x.req.CardSequence, x.req.Expiry, x.req.LocalTime, x.req.LocalDate, x.req.Product, x.req.TargetPAN, x.pin, x.pinLen}
	f.settled = f.settle
	return f
}

// send puts a flight on a connection. mu is held.
func (l *leg) send(f *flight) {
	now := l.of.opts.Clock()
	o, refusal := l.choose(&f.view, now)
	if o == nil {
		l.unsent(f, refusal)
		return
	}
	req := l.message(&f.view)
	live := &f.live
	req.EntryMode, req.CardSequence, req.Expiry = live.entryMode, live.cardSequence, live.expiry
	req.LocalTime, req.LocalDate, req.Product, req.TargetPAN = live.localTime, live.localDate, live.product, live.target
	req.PIN, req.PINLen = live.pin, live.pinLen
	keys, _ := o.path.leg.signs(now)
	frame, key, err := l.encode(&req, keys)
	if err != nil {
		l.of.opts.Log.Error("request to an issuer cannot be written",
			slog.String("link", l.name), slog.Uint64("position", uint64(f.view.Position)), slog.String("error", err.Error()))
		l.conclude(f, points.InternalError)
		return
	}
	f.key = key
	if err := l.dispatch(o, frame, key, await{flight: f, sent: now, due: now.Add(l.profile.Deadline).Time()}); err != nil {
		l.unsent(f, points.LineDown)
		return
	}
	f.outlet = o
}

// dispatch sends a frame and awaits its answer. mu is held.
func (l *leg) dispatch(o *outlet, frame []byte, key replyKey, w await) error {
	carrier := o.path.leg
	if err := carrier.pending.Add(key, w.due, w); err != nil {
		return fmt.Errorf("switch: link %s: %w", carrier.name, err)
	}
	if err := o.conn.Send(func(dst []byte) []byte { return append(dst, frame...) }); err != nil {
		carrier.pending.Take(key)
		return fmt.Errorf("switch: link %s: %w", carrier.name, err)
	}
	o.inFlight++
	if w.outlet == nil { // Only now: what was not sent tries nothing.
		o.path.breaker.Allows(w.sent)
	}
	carrier.plan(points.TimestampOf(w.due))
	return nil
}

// choose finds the connection for a message about view: 92 when none is up, 91 when those
// that are do not answer or are full. It is one of the leg's own, unless the route of the
// card lists the links that carry. mu is held.
func (l *leg) choose(view *book.RemoteView, now points.Timestamp) (*outlet, points.Reason) {
	table := l.of.opts.Router.Table()
	if !table.HasLinks() {
		return l.own(now)
	}
	pan, _ := l.of.opts.CardKey.PAN(view.Card) // Of no card there is no route.
	links := table.Links(pan, view.Program)
	if len(links) == 0 {
		return l.own(now)
	}
	refusal := points.LineDown
	choices := l.choices[:0]
	for i := range links {
		carrier, ready := l.legs[links[i].Link], false
		if carrier != nil {
			up := false
			if ready, up = carrier.carries(now); up {
				refusal = points.IssuerDown
			}
		}
		choices = append(choices, router.Path{Priority: int(links[i].Priority), Weight: int(links[i].Weight), Ready: ready})
	}
	l.choices = choices
	i := router.Choose(choices, l.shared)
	if i < 0 {
		return nil, refusal
	}
	l.shared++
	return l.legs[links[i].Link].own(now)
}

// carries reports whether some path of the link takes a request: it is up, has room, and
// its breaker lets it. mu is held.
func (l *leg) carries(now points.Timestamp) (ready, up bool) {
	if _, keyed := l.signs(now); !keyed {
		return false, false
	}
	for _, p := range l.paths {
		up = up || p.up() > 0
		ready = ready || (p.idlest(l.profile.MaxInFlight) != nil && p.breaker.Ready(now))
	}
	return ready, up
}

// own finds a connection of the link itself. mu is held.
func (l *leg) own(now points.Timestamp) (*outlet, points.Reason) {
	refusal := points.LineDown
	if _, keyed := l.signs(now); !keyed {
		return nil, refusal
	}
	paths := l.choices[:0]
	for _, p := range l.paths {
		best := p.idlest(l.profile.MaxInFlight)
		if p.up() > 0 {
			refusal = points.IssuerDown
		}
		paths = append(paths, router.Path{Priority: p.profile.Priority, Weight: p.profile.Weight, Ready: best != nil && p.breaker.Ready(now)})
	}
	l.choices = paths
	i := router.Choose(paths, l.turn)
	if i < 0 {
		return nil, refusal
	}
	l.turn++
	p := l.paths[i]
	return p.idlest(l.profile.MaxInFlight), points.Approved
}

// unsent ends a flight that was not sent: nothing has to be reversed. mu is held.
func (l *leg) unsent(f *flight, refusal points.Reason) {
	f.refusal = refusal
	l.of.metrics.unsent.WithLabelValues(l.name, refusal.String()).Inc()
	switch stand := &l.profile.StandIn; {
	case book.Told(f.view.Function):
		l.submit(f, book.Command{Kind: book.KindOwe})
	case stand.allows(&f.view):
		l.submit(f, book.Command{Kind: book.KindStandIn, Amount: stand.MaxDay, Limit: stand.MaxCount})
	default:
		l.conclude(f, refusal)
	}
}

// doubt ends a flight that was sent and has no answer: a reversal is owed. Where the
// link's profile allows it, the request is approved in the issuer's place and an advice
// follows the reversal. mu is held.
func (l *leg) doubt(f *flight) {
	l.late[f.key] = lateness{leg: l, position: f.view.Position, card: f.view.Card, program: f.view.Program, issuer: f.view.Issuer}
	stand := &l.profile.StandIn
	if stand.AfterTimeout && stand.allows(&f.view) {
		l.submit(f, book.Command{Kind: book.KindStandIn, Amount: stand.MaxDay, Limit: stand.MaxCount, Answer: points.NoAnswer})
		return
	}
	l.submit(f, book.Command{Kind: book.KindOwe})
}

// allows reports whether a request may be approved in the issuer's place, as far as it
// alone tells; what was approved for the card before is the ledger's to count.
func (s *StandIn) allows(view *book.RemoteView) bool {
	return view.Function == points.Redeem && slices.Contains(s.Programs, view.Program) &&
		(s.MaxAmount == 0 || view.Asked <= s.MaxAmount) && !s.Refused[view.Card]
}

// conclude ends a flight with a reason of our own. mu is held.
func (l *leg) conclude(f *flight, reason points.Reason) {
	l.submit(f, book.Command{Kind: book.KindConclude, Answer: reason})
}

// submit sends cmd about f through the ledger. mu is held.
func (l *leg) submit(f *flight, cmd book.Command) {
	cmd.Original, cmd.At = f.view.Position, l.of.opts.Clock()
	f.cmd = cmd
	l.after = append(l.after, call{submit: f})
}

// settle is called by the ledger when a command about the flight is durable, or was
// refused.
func (f *flight) settle(out *book.Outcome) {
	l, position := f.leg, f.view.Position
	switch {
	case out.Reason.Approved():
		answer := out.ForAcquirer()
		if answer.Reason == 0 { // Reversed by its acquirer, who asked before there was an answer.
			answer.Reason = points.ReversedBefore
		}
		l.land(f, &answer)
		if f.cmd.Kind != book.KindConclude || out.Answer == 0 || out.Forwarded {
			l.notice(position)
		}
	case out.Reason == points.Overloaded:
		l.do(func() {
			l.again = append(l.again, func() { l.submit(f, f.cmd) })
			l.againAt = l.of.opts.Clock().Add(againAfter)
			l.of.Wake()
		})
	case out.Reason == points.Draining:
		l.abandon(f)
	case f.cmd.Kind == book.KindStandIn && f.cmd.Answer == 0:
		l.do(func() { l.conclude(f, f.refusal) })
	case f.cmd.Kind == book.KindStandIn:
		l.do(func() { l.submit(f, book.Command{Kind: book.KindOwe}) })
	case out.Reason == points.OriginalClosed:
		// Another command about it was first, and has answered.
	case out.Reason == points.ReversedBefore:
		l.land(f, &book.Outcome{Reason: out.Reason, Date: out.Date})
	case f.cmd.Kind == book.KindConclude:
		l.do(func() { l.submit(f, book.Command{Kind: book.KindOwe}) })
	default:
		l.of.opts.Log.Error("transaction with an issuer cannot be ended",
			slog.String("link", l.name), slog.Uint64("position", uint64(position)), slog.String("reason", out.Reason.String()))
		l.land(f, &book.Outcome{Reason: points.InternalError, Date: out.Date})
	}
}

// againAfter is when the ledger is asked again after it had no room.
const againAfter = 100 * time.Millisecond

// land answers all who wait for a flight, as the journal says.
func (l *leg) land(f *flight, answer *book.Outcome) {
	l.do(func() {
		delete(l.flights, f.view.Position)
		waiting := f.waiting
		f.waiting = nil
		l.after = append(l.after, call{do: func() {
			for i, x := range waiting {
				x.fill(answer)
				x.replayed = i > 0
				x.answer(answer.Reason)
			}
		}})
	})
}

// abandon drops those who wait for a flight that the ledger takes nothing about any
// more. The next start owes the issuer a reversal.
func (l *leg) abandon(f *flight) {
	l.do(func() {
		delete(l.flights, f.view.Position)
		waiting := f.waiting
		f.waiting = nil
		l.after = append(l.after, call{do: func() {
			for _, x := range waiting {
				x.drop(points.Draining)
			}
		}})
	})
}

// answered takes an answer of the host.
func (l *leg) answered(frame []byte, now points.Timestamp) {
	var echo points.Request
	var resp points.Response
	if err := l.of.opts.Dialect.DecodeResponse(frame, &echo, &resp); err != nil {
		l.of.metrics.strays.WithLabelValues(l.name, strayMalformed).Inc()
		if leftOut, may := l.unread.may(now); may {
			l.of.opts.Log.Warn("answer of an issuer cannot be read", slog.String("link", l.name), slog.String("error", err.Error()), leftOut)
		}
		return
	}
	if !l.believes(frame, &echo, now) {
		l.of.metrics.strays.WithLabelValues(l.name, strayForged).Inc()
		return // As if it had not come.
	}
	key := keyOf(&echo, echo.Envelope.MTI)
	l.do(func() {
		w, ok := l.pending.Take(key)
		switch {
		case !ok:
			l.unexpected(key, &echo, &resp)
			return
		case !w.agrees(&echo, &resp):
			// It is not the answer to what was asked. The right one may still come.
			l.of.metrics.strays.WithLabelValues(l.name, strayDiffers).Inc()
			if err := l.pending.Add(key, w.due, w); err != nil {
				l.expired(w, now) // There is no room to wait.
			}
			return
		}
		l.of.metrics.answered.WithLabelValues(l.name).Observe(now.Sub(w.sent).Seconds())
		switch {
		case w.flight != nil:
			w.flight.outlet.answered()
			w.flight.leg.decided(w.flight, &resp)
		case w.item != nil:
			w.item.outlet.answered()
			w.item.leg.acknowledged(w.item, &resp)
		case w.swap != nil:
			w.swap.outlet.answered()
			w.swap.leg.swapAnswered(w.swap, resp.Reason)
		case w.notice:
			w.outlet.inFlight--
			l.noticed(resp.Reason)
		case w.keys:
			w.outlet.inFlight--
			l.keysAnswered(&resp, now)
		default:
			w.outlet.inFlight--
			w.outlet.greeted(resp.Reason, now)
		}
	})
}

// agrees checks what an answer says of what it is to answer.
func (w *await) agrees(echo *points.Request, resp *points.Response) bool {
	switch {
	case w.flight != nil:
		return w.flight.agrees(echo, resp)
	case w.swap != nil:
		return w.swap.agrees(echo, resp)
	case w.item != nil:
		return resp.Issuer == 0 || resp.Issuer == w.item.view.Issuer
	default:
		return true
	}
}

// agrees checks what an answer says of the request: DE100, where it has one, is the issuer
// that was asked, and DE4 comes back as it went, or smaller where part was approved.
func (f *flight) agrees(echo *points.Request, resp *points.Response) bool {
	switch {
	case resp.Issuer != 0 && resp.Issuer != f.view.Issuer:
		return false
	case !echo.Has(4):
		return f.view.Asked == 0 || !resp.Reason.Approved()
	case resp.Reason == points.ApprovedPartly:
		return resp.Amount > 0 && resp.Amount <= f.view.Asked
	default:
		return resp.Amount == f.view.Asked
	}
}

// decided enters the issuer's answer. An issuer that has had no answer itself has
// decided nothing: that is a time-out of ours. mu is held.
func (l *leg) decided(f *flight, resp *points.Response) {
	if resp.Reason == points.NoAnswer || resp.Reason == points.IssuerTimeout {
		l.doubt(f)
		return
	}
	l.submit(f, verdict(resp, f.view.Asked))
}

// verdict is the command that enters an issuer's answer to a request for asked.
func verdict(resp *points.Response, asked points.Amount) book.Command {
	cmd := book.Command{Kind: book.KindConclude, Answer: resp.Reason, AuthCode: resp.AuthCode}
	if !resp.Reason.Approved() {
		return cmd
	}
	cmd.Amount, cmd.Told = asked, toldBalances(resp)
	switch {
	case resp.Used > 0 && resp.Used < asked: // Points and cash: DE62 says how much in points.
		cmd.Amount, cmd.Answer = resp.Used, points.ApprovedPartly
	case resp.Reason == points.ApprovedPartly:
		cmd.Amount = resp.Amount
	}
	return cmd
}

// unexpected takes an answer that nobody waits for: a late one, or a stray. mu is held.
func (l *leg) unexpected(key replyKey, echo *points.Request, resp *points.Response) {
	about, ok := l.late[key]
	if !ok || !about.carried(l) {
		l.of.metrics.strays.WithLabelValues(l.name, strayUnknown).Inc()
		return
	}
	if resp.Issuer != 0 && resp.Issuer != about.issuer {
		l.of.metrics.strays.WithLabelValues(l.name, strayDiffers).Inc()
		return // It names another issuer (DE100), as it may not while it is waited for.
	}
	if resp.Reason == points.NoAnswer || resp.Reason == points.IssuerTimeout {
		return
	}
	if about.swap != nil {
		if !about.swap.agrees(echo, resp) {
			l.of.metrics.strays.WithLabelValues(l.name, strayDiffers).Inc()
			return
		}
		l.of.metrics.late.WithLabelValues(l.name).Inc()
		about.leg.swapAnswered(about.swap, resp.Reason)
		return
	}
	l.of.metrics.late.WithLabelValues(l.name).Inc()
	cmd := verdict(resp, 0)
	cmd.Original, cmd.At = about.position, l.of.opts.Clock()
	l.after = append(l.after, call{do: func() {
		l.of.opts.Ledger.Submit(&cmd, func(*book.Outcome) { about.leg.notice(about.position) })
	}})
}

// expired ends the wait for an answer. mu is held.
func (l *leg) expired(w await, now points.Timestamp) {
	l.of.metrics.timeouts.WithLabelValues(l.name).Inc()
	switch {
	case w.flight != nil:
		f := w.flight
		f.outlet.inFlight--
		f.outlet.path.breaker.Unanswered(now, l.profile.Breaker)
		f.leg.doubt(f)
	case w.item != nil:
		w.item.outlet.inFlight--
		w.item.outlet.path.breaker.Unanswered(now, l.profile.Breaker)
		w.item.leg.postpone(w.item, now)
	case w.swap != nil:
		w.swap.outlet.inFlight--
		w.swap.outlet.path.breaker.Unanswered(now, l.profile.Breaker)
		w.swap.leg.swapUnanswered(w.swap)
	case w.notice:
		w.outlet.inFlight--
		l.repeatNotice(now)
	case w.keys:
		w.outlet.inFlight--
		l.keysUnanswered(now)
	default:
		w.outlet.inFlight--
		w.outlet.unheard(now)
	}
}

// lost ends the wait for every answer that should have come over o. mu is held.
func (l *leg) lost(o *outlet, now points.Timestamp) {
	for _, name := range slices.Sorted(maps.Keys(l.legs)) {
		home := l.legs[name]
		for _, position := range slices.Sorted(maps.Keys(home.flights)) { // In the order of the journal.
			if f := home.flights[position]; f.outlet == o {
				if w, ok := l.pending.Take(f.key); ok {
					l.expired(w, now)
				}
			}
		}
		for _, quote := range slices.Sorted(maps.Keys(home.swapAsks)) {
			if ask := home.swapAsks[quote]; ask.outlet == o {
				if w, ok := l.pending.Take(ask.key); ok {
					l.expired(w, now)
				}
			}
		}
		for _, it := range home.order {
			if it.outlet == o {
				if w, ok := l.pending.Take(it.key); ok {
					l.expired(w, now)
				}
			}
		}
	}
	if _, ok := l.pending.Take(o.key); ok {
		o.inFlight--
	}
	if w, ok := l.pending.Take(l.changing.key); ok {
		if w.outlet == o {
			l.expired(w, now)
		} else if err := l.pending.Add(l.changing.key, w.due, w); err != nil {
			l.expired(w, now) // There is no room to wait.
		}
	}
	if w, ok := l.pending.Take(l.notice201.key); ok {
		if w.outlet == o {
			l.expired(w, now)
		} else if err := l.pending.Add(l.notice201.key, w.due, w); err != nil {
			l.expired(w, now) // There is no room to wait.
		}
	}
}

// refresh reads from the book what flights are about and what is owed, which only the
// book can tell.
func (l *leg) refresh(ctx context.Context) error {
	var start []*flight
	var notices []points.Position
	l.do(func() {
		start, notices = l.start, l.notices
		l.start, l.notices = nil, nil
	})
	if len(start) == 0 && len(notices) == 0 {
		return nil
	}
	views := make(map[points.Position]book.RemoteView)
	err := l.of.opts.Ledger.View(ctx, func(b *book.Book) error {
		wanted := slices.Clone(notices)
		for _, f := range start {
			wanted = append(wanted, f.view.Position, f.view.Original)
		}
		for _, position := range wanted {
			view, ok, err := b.Remote(position)
			if err != nil || !ok {
				return errors.Join(err, unlessOK(ok, position))
			}
			views[position] = view
		}
		return nil
	})
	switch reason := points.ReasonOf(err); {
	case reason == points.Overloaded:
		l.do(func() {
			l.start, l.notices = append(start, l.start...), append(notices, l.notices...)
			l.againAt = l.of.opts.Clock().Add(againAfter)
			l.again = append(l.again, func() {})
		})
		return nil
	case reason == points.Draining || errors.Is(err, ledger.ErrClosed):
		return nil
	case err != nil:
		return err
	}
	l.do(func() {
		for _, f := range start {
			f.view = views[f.view.Position]
			switch {
			case f.view.Phase != book.RemoteOpen:
				l.conclude(f, points.ReversedBefore)
			case views[f.view.Original].Phase == book.RemoteTold:
				l.unsent(f, points.IssuerDown) // The issuer has not heard of the original yet.
			default:
				l.send(f)
			}
			l.owes(f.view)
		}
		for _, position := range notices {
			l.owes(views[position])
		}
	})
	return nil
}

// advance does what is due at now. It returns how long nothing more will be, and the
// connections that are to be dialled.
func (l *leg) advance(now points.Timestamp) (wait time.Duration, dials []*outlet) {
	l.do(func() {
		if now < l.seen {
			l.setBack(now.Sub(l.seen))
		}
		l.seen = now
		if len(l.again) > 0 && now >= l.againAt {
			again := l.again
			l.again = nil
			for _, call := range again {
				call()
			}
		}
		l.pending.Expire(now.Time(), func(_ replyKey, w await) { l.expired(w, now) })
		next := now.Add(time.Minute)
		if len(l.again) > 0 {
			next = min(next, l.againAt)
		}
		next = min(next, l.changeKeys(now)) // First: nothing else goes out without keys.
		next = min(next, l.sendOwed(now), l.tell(now))
		for _, p := range l.paths {
			due, more := p.advance(now)
			next, dials = min(next, due), append(dials, more...)
		}
		if due, ok := l.pending.Next(); ok {
			next = min(next, points.TimestampOf(due))
		}
		l.planned = next
		wait = since(next, now)
	})
	return wait, dials
}

// setBack moves all that is planned by d, below zero, because the clock was set back:
// else a line would not be dialled, and nothing sent again, until it has caught up. mu
// is held.
func (l *leg) setBack(d time.Duration) {
	l.of.opts.Log.Warn("the clock was set back", slog.String("link", l.name), slog.Duration("by", -d))
	l.againAt, l.notice201.due, l.changing.due = l.againAt.Add(d), l.notice201.due.Add(d), l.changing.due.Add(d)
	l.pending.Adjust(d)
	for _, it := range l.order {
		it.due = it.due.Add(d)
	}
	for _, p := range l.paths {
		p.breaker.Adjust(d)
		for _, o := range p.outlets {
			o.since, o.heard, o.dialAt = o.since.Add(d), o.heard.Add(d), o.dialAt.Add(d)
		}
	}
}

// busy reports whether a look at the book is due, or the ledger has a command about
// what is under way.
func (l *leg) busy() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.notices) > 0 || len(l.start) > 0 {
		return true
	}
	for _, it := range l.order {
		if it.state == itemJudged {
			return true
		}
	}
	for _, f := range l.flights {
		if f.cmd.Kind != 0 {
			return true
		}
	}
	return false
}
