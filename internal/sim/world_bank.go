package sim

import (
	"context"
	"fmt"
	"time"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/router"
	pointswitch "github.com/lianfen/lianfen/switch"
	"github.com/lianfen/lianfen/switch/dialect"
	"github.com/lianfen/lianfen/switch/link"
)

// bank is an issuer with a host and a book of its own, at the end of a link.
type bank struct {
	w       *World
	name    string // of the link, and the address that the switch dials
	issuer  *Issuer
	id      points.IssuerID
	program points.ProgramID
	dials   bool // it connects to the switch too

	up          bool
	silent      points.Timestamp // until then it answers nothing
	slow        points.Timestamp // until then it answers late
	lines       []*cable
	own         *cable // the line that it has dialled
	stan        points.STAN
	refusals    map[string]points.Reason        // by RRN: what it said to what it was owed
	reversals   map[reversed]points.STAN        // the number of the first reversal of each that came
	told        map[string][]uint32             // by link: DE15 of the notices of cut-overs
	asked       map[points.STAN]points.Function // network messages of its own
	relay       string                          // another link that leads here; empty: none
	relayDown   points.Timestamp                // until then it leads nowhere
	dialect     *dialect.Dialect
	incarnation int // crashes so far: what an earlier one had to say is not said
}

// reversed is what a reversal undoes, and how much of it stands then.
type reversed struct {
	rrn    string
	actual points.Amount
	stan   points.STAN // of the message that is undone
}

const giveUp = 2 * time.Hour

// profiles are the links to the banks: the first stands on two lines and one that it
// dials itself; the second may be stood in for.
func (w *World) profiles(key *certs.CardKey) []pointswitch.LinkProfile {
	var profiles []pointswitch.LinkProfile
	for i, b := range w.banks {
		p := pointswitch.LinkProfile{
			Name: b.name, Institution: 30000001, Deadline: 15 * time.Second, MaxInFlight: 8,
			SignOn: 10 * time.Second, EchoAfter: 30 * time.Second, EchoDeadline: 10 * time.Second, LostEchoes: 3,
			Redial: time.Second, RedialMost: 30 * time.Second, Breaker: router.BreakerRules{Failures: 5, Rest: 20 * time.Second},
			Retry: []time.Duration{5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute}, GiveUp: giveUp, RetryInFlight: 4,
			Paths: []pointswitch.PathProfile{{Name: "ours", Address: b.name, Connections: 2 - i, Priority: 1, Weight: 1}},
		}
		if b.dials {
			p.Paths = append(p.Paths, pointswitch.PathProfile{Name: "theirs", Priority: 2, Weight: 1})
		}
		if i == 1 {
			p.StandIn = pointswitch.StandIn{Programs: []points.ProgramID{b.program}, MaxAmount: 300, MaxDay: 1500, MaxCount: 9, Refused: make(map[points.CardToken]bool)}
			var refused points.CardToken
			key.Token(&refused, w.cardOf(b.program).pan)
			p.StandIn.Refused[refused] = true
		}
		p.StandIn.AfterTimeout = w.mix.afterTimeout
		profiles = append(profiles, p)
		if b.relay != "" {
			p.Name = b.relay
			p.Paths = []pointswitch.PathProfile{{Name: "ours", Address: b.relay, Connections: 1, Priority: 1, Weight: 1}}
			profiles = append(profiles, p)
		}
	}
	return profiles
}

// dial is how the switch reaches a bank.
func (w *World) dial(_ context.Context, address string, opts link.Options, handler link.Handler) (*link.Conn, error) {
	for _, b := range w.banks {
		if b.name != address && (b.relay == "" || b.relay != address) {
			continue
		}
		if !b.up || (b.relay == address && w.now < b.relayDown) {
			return nil, fmt.Errorf("sim: %s: %w", address, errNotThere)
		}
		c, err := w.lay("line to "+address, opts, handler, b)
		if err != nil {
			return nil, err
		}
		c.link = address
		b.lines = append(b.lines, c)
		return c.conn, nil
	}
	return nil, fmt.Errorf("sim: %s: %w", address, errNotThere)
}

// connect has the bank dial the switch and sign on.
func (b *bank) connect() {
	w := b.w
	if !b.dials || !b.up || !w.house.up || w.house.held != nil || (b.own != nil && !b.own.gone) {
		return
	}
	c, err := w.lay("line from "+b.name, link.Options{}, w.house.issuers.Entrance(b.name, "theirs"), b)
	if err != nil {
		w.fail(err)
		return
	}
	b.own, c.link = c, b.name
	b.lines = append(b.lines, c)
	b.ask(c, points.SignOn)
}

// ask sends a network message of the bank's own.
func (b *bank) ask(c *cable, function points.Function) {
	b.stan++
	req := points.Request{
		Function: function, STAN: b.stan, Transmission: transmission(b.w.now), Acquirer: points.AcquirerID(b.id), Forwarder: points.AcquirerID(b.id),
	}
	frame, err := b.dialect.AppendRequest(nil, &req)
	if err != nil {
		b.w.fail(fmt.Errorf("%s: %w", b.name, err))
		return
	}
	b.asked[b.stan] = function
	c.send(frame)
}

// chat has the bank ask something on one of its lines: an echo, a change of keys (161), or
// that nothing more comes on the line that it has dialled.
func (b *bank) chat() {
	w := b.w
	if w.calm || !b.up || len(b.lines) == 0 {
		return
	}
	c, function := pick(w, b.lines), pick(w, []points.Function{points.Echo, points.KeyChange, points.SignOff})
	if function == points.SignOff && c != b.own {
		function = points.CutOverNotice
	}
	if w.step(nil, "%s sends %v on the %s", b.name, function, c.name); !c.gone {
		b.ask(c, function)
	}
}

// answered takes the answer to a network message of the bank's own.
func (b *bank) answered(frame []byte) {
	var echo points.Request
	var resp points.Response
	if err := b.dialect.DecodeResponse(frame, &echo, &resp); err != nil {
		b.w.mismatch(nil, "%s gets an answer that cannot be read: %v", b.name, err)
		return
	}
	function, ok := b.asked[echo.STAN]
	want := points.Approved
	if function == points.KeyChange {
		want = points.FunctionDisabled // No keys are shared in this world.
	}
	if !ok || resp.Reason != want {
		b.w.mismatch(nil, "%s asked %v (%v) and is answered %s", b.name, function, ok, resp.Reason.DE39())
		return
	}
	b.w.did("bank's " + function.String() + " answered")
}

// notice takes the news of a cut-over.
func (b *bank) notice(c *cable, req *points.Request) {
	if !b.w.operator.began(req.Settlement) {
		b.w.mismatch(nil, "%s is told that %04d has begun", b.name, req.Settlement)
	}
	b.w.did("bank told of a cut-over")
	b.told[c.link] = append(b.told[c.link], req.Settlement)
}

// cutRelay takes the other way to the bank down for some time.
func (b *bank) cutRelay(length time.Duration) {
	w := b.w
	if w.calm || b.relay == "" {
		return
	}
	w.did("relay down")
	w.step(nil, "%s goes down for %v", b.relay, length.Truncate(time.Second))
	b.relayDown = w.now.Add(length)
	for _, c := range b.lines {
		if c.link == b.relay {
			c.end()
		}
	}
}

func (b *bank) switchUp() { b.w.after(b.w.between(time.Second, 20*time.Second), b.connect) }

func (b *bank) lost(*cable) {
	b.w.after(b.w.between(time.Second, 20*time.Second), b.connect)
}

// receive takes a request, carries it out and answers.
func (b *bank) receive(c *cable, frame []byte) {
	w := b.w
	if mti, ok := b.dialect.MTI(frame); ok && dialect.IsAnswer(mti) {
		b.answered(frame)
		return
	}
	var req points.Request
	if err := b.dialect.Decode(frame, &req); err != nil {
		w.mismatch(nil, "%s gets a message that cannot be read: %v", b.name, err)
		return
	}
	if w.now < b.silent {
		w.did("issuer silent")
		return
	}
	if req.Function == points.CutOverNotice {
		b.notice(c, &req)
	}
	d := b.issuer.Receive(w.now, frame)
	b.note(&req, &d)
	if req.Function == points.Reversal {
		owed := reversed{string(req.RRN[:]), req.Actual, req.Original.STAN}
		if first, ok := b.reversals[owed]; ok && first != req.STAN {
			w.mismatch(w.cardOfPAN(req.PAN), "%s gets the reversal of RRN %s under STAN %v, and before under %v", b.name, owed.rrn, req.STAN, first)
			return
		}
		b.reversals[owed] = req.STAN
	}
	if d.Frame == nil {
		return
	}
	after := d.After
	if w.now < b.slow {
		after += w.between(5*time.Second, 40*time.Second)
	}
	born := b.incarnation
	deliver := func() {
		switch {
		case b.incarnation != born:
		case d.Cut:
			c.cut(toFar, d.Frame)
		default:
			for range d.Copies {
				c.send(d.Frame)
			}
		}
	}
	if after == 0 {
		deliver()
		return
	}
	w.after(after, deliver)
}

// note writes down what a request was and what came of it.
func (b *bank) note(req *points.Request, d *Delivery) {
	w := b.w
	if req.Class == points.ClassNetwork {
		return
	}
	code := "no answer"
	if d.Frame != nil {
		var echo points.Request
		var resp points.Response
		if err := b.dialect.DecodeResponse(d.Frame, &echo, &resp); err == nil {
			code = resp.Reason.DE39()
			if resp.Detail != "" {
				code += " " + resp.Detail
			}
			if told := req.Envelope.MTI%100/10 == 2; told && !resp.Reason.Approved() { // 0220, 0420
				b.refusals[string(req.RRN[:])] = resp.Reason
			}
		}
	}
	what := req.Function.String()
	if req.Function == points.Reversal {
		what += " of " + req.Reversed.String()
	}
	if req.Repeat {
		what += ", again"
	}
	if d.Fault != 0 {
		w.did("issuer: " + d.Fault.String())
		code += ", fault " + d.Fault.String()
	}
	w.step(w.cardOfPAN(req.PAN), "%s gets %04d %s %d, RRN %s STAN %v: %s", b.name, req.Envelope.MTI, what, req.Amount, string(req.RRN[:]), req.STAN, code)
}

// crash takes the bank's host down for some time. Its book is on a disk.
func (b *bank) crash(length time.Duration) {
	w := b.w
	if w.calm || !b.up {
		return
	}
	w.did("issuer down")
	w.step(nil, "%s goes down for %v", b.name, length.Truncate(time.Second))
	b.up = false
	b.incarnation++
	born := b.incarnation
	lines := b.lines
	b.lines = nil
	for _, c := range lines {
		if w.rng.IntN(4) == 0 {
			c.die() // Nobody says goodbye.
			c.hangUp()
			continue
		}
		c.end()
	}
	w.after(length, func() {
		if b.incarnation == born {
			b.recover()
		}
	})
}

// recover brings the bank back.
func (b *bank) recover() {
	b.silent, b.slow, b.relayDown = 0, 0, 0
	if !b.up {
		b.up = true
		b.incarnation++
		b.w.step(nil, "%s is up again", b.name)
	}
	if b.w.calm {
		b.issuer.faults, b.issuer.book.part = nil, nil
	}
	b.w.after(b.w.between(time.Second, 20*time.Second), b.connect)
}

func (b *bank) fallSilent(length time.Duration) {
	if b.w.calm {
		return
	}
	b.w.step(nil, "%s falls silent for %v", b.name, length.Truncate(time.Second))
	b.silent = b.w.now.Add(length)
}

func (b *bank) slowDown(length time.Duration) {
	if b.w.calm {
		return
	}
	b.w.did("issuer slow")
	b.w.step(nil, "%s is slow for %v", b.name, length.Truncate(time.Second))
	b.slow = b.w.now.Add(length)
}
