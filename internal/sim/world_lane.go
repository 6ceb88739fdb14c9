package sim

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
	"github.com/lianfen/lianfen/switch/link"
)

// lane is where an acquirer does one thing after the other: a terminal, or one of the
// tills behind a partner's system. It behaves like a real one: it sends again what was
// not answered, or reverses it, and repeats that until it is answered; it keeps its
// receipts.
//
//	idle ── ask ──> asking ── answered ──> idle
//	                 │    └── timed out ──> asking, again
//	                 └── timed out ──> undoing ── approved ──> idle
//	                                     └── timed out, refused ──> undoing, again
type lane struct {
	w        *World
	name     string
	line     *exchangeLine
	dialect  *dialect.Dialect
	term     *Terminal // numbers and identity; of a partner's till too
	acquirer points.AcquirerID
	merchant points.MerchantID

	receipts []*receipt
	by       map[receiptKey]*receipt
	current  *receipt // nil: idle
	turn     uint64   // what is waited for; earlier timers are void
	probes   []points.ProgramID
	probing  bool
	probed   int
	sending  []*receipt // of an upload, what is still to be sent
}

// Times of a lane.
const (
	leastThink, mostThink = 2 * time.Second, 40 * time.Second
	answerIn              = 60 * time.Second
	undoIn                = 20 * time.Second
)

// rest lets the lane think of what it does next.
func (l *lane) rest() {
	l.current = nil
	l.turn++
	turn := l.turn
	l.w.after(l.w.between(leastThink, mostThink), func() {
		if l.turn == turn {
			l.next()
		}
	})
}

// next does the next thing: while things go wrong anything, afterwards what is to be
// probed, then nothing.
func (l *lane) next() {
	w := l.w
	if len(l.sending) > 0 {
		r := l.sending[0]
		l.sending = l.sending[1:]
		l.ask(r)
		return
	}
	if w.calm {
		if l.probing && len(l.probes) > 0 {
			program := l.probes[0]
			l.probes = l.probes[1:]
			r := l.fresh(points.Redeem, w.cardOf(program), program, 1)
			r.probe = true
			l.ask(r)
		}
		return
	}
	l.ask(l.anything())
}

// probe has the lane prove that everything works again.
func (l *lane) probe() {
	l.probing, l.probes = true, w4(l.w)
	if l.current == nil {
		l.rest()
	}
}

// w4 is every programme that can be probed.
func w4(w *World) (all []points.ProgramID) {
	for _, c := range w.cards {
		for _, p := range c.programs {
			if !slices.Contains(all, p) {
				all = append(all, p)
			}
		}
	}
	return all
}

// anything makes up the next request.
func (l *lane) anything() *receipt {
	w := l.w
	switch n := w.rng.IntN(118); {
	case n < 3 && l.line.door == terminalDoor:
		r := &receipt{lane: l, req: l.term.Next(points.SignOn)}
		copy(r.req.Operator[:], "001")
		return r
	case n < 35:
		return l.sale(points.Redeem)
	case n < 48:
		return l.sale(points.Earn)
	case n < 58:
		return l.sale(points.PreAuth)
	case n < 61:
		return l.sale(points.Balance)
	case n < 65:
		return l.sale(points.OfflineRedeem)
	case n < 67:
		return l.sale(points.OfflineEarn)
	case n < 77:
		return l.later(points.Void, points.Redeem, points.Earn)
	case n < 84:
		return l.later(points.Refund, points.Redeem, points.Completion, points.OfflineRedeem, points.CompletionAdvice)
	case n < 89:
		return l.later(points.Completion, points.PreAuth)
	case n < 92:
		return l.later(points.CompletionAdvice, points.PreAuth)
	case n < 96:
		return l.later(points.PreAuthVoid, points.PreAuth)
	case n < 100:
		return l.later(points.CompletionVoid, points.Completion)
	case n < 107:
		return l.transfer()
	case n < 115:
		return l.tender()
	default:
		return l.closing()
	}
}

// sale is a request that a card starts.
func (l *lane) sale(function points.Function) *receipt {
	w := l.w
	c := pick(w, w.cards)
	program := w.one(c)
	amount := points.Amount(1 + w.rng.IntN(400))
	if w.rng.IntN(30) == 0 {
		amount = 1_000_000 // More than anybody has.
	}
	r := l.fresh(function, c, program, amount)
	if c.bank == nil && w.hosted(program) && w.rng.IntN(10) == 0 {
		r.req.Program = 0 // The merchant's order decides.
		if w.rng.IntN(2) == 0 {
			r.req.AccountType = 48
		}
	}
	r.req.PartialOK = function == points.Redeem && w.rng.IntN(8) == 0
	return r
}

// one is a programme of a card: those that are hosted here more often than others.
func (w *World) one(c *card) points.ProgramID {
	for {
		if program := pick(w, c.programs); c.bank != nil || w.hosted(program) || w.rng.IntN(3) == 0 {
			return program
		}
	}
}

// tender is a sale that the merchant's programmes pay together.
func (l *lane) tender() *receipt {
	w := l.w
	c := pick(w, w.cards)
	if c.bank != nil && w.rng.IntN(4) > 0 {
		c = w.cards[len(w.cards)-1] // Of a bank's own card nobody here can pay a part.
	}
	r := l.fresh(points.Redeem, c, 0, points.Amount(1+w.rng.IntN(500)))
	r.req.PartialOK = w.rng.IntN(4) == 0
	return r
}

// transfer is a gift to another card, as a rule of the same programme.
func (l *lane) transfer() *receipt {
	w := l.w
	c := pick(w, w.cards)
	program := w.one(c)
	to := pick(w, w.cards)
	for n := 0; n < 10 && (to == c || !slices.Contains(to.programs, program)); n++ {
		to = pick(w, w.cards)
	}
	r := &receipt{lane: l, card: c, to: to, req: l.term.Next(points.Transfer)}
	r.req.PAN, r.req.TargetPAN, r.req.Program, r.req.Amount = c.pan, to.pan, program, points.Amount(1+w.rng.IntN(400))
	l.dress(&r.req)
	return r
}

func (l *lane) fresh(function points.Function, c *card, program points.ProgramID, amount points.Amount) *receipt {
	r := &receipt{lane: l, card: c, req: l.term.Next(function)}
	r.req.PAN, r.req.Program = c.pan, program
	if function != points.Balance {
		r.req.Amount = amount
	}
	l.dress(&r.req)
	return r
}

// dress gives a request what a partner's has and a terminal's has not.
func (l *lane) dress(req *points.Request) {
	if l.line.door == terminalDoor {
		if req.Function == points.Refund {
			copy(req.Operator[:], "000")
		}
		return
	}
	req.Door, req.Batch, req.Acquirer = points.DoorHost, 0, l.acquirer
	req.Transmission = transmission(l.w.now)
	req.RRN = points.Position(req.STAN).RRN()
}

// later is a request about an earlier one of one of the functions; a sale where there
// is none.
func (l *lane) later(function points.Function, of ...points.Function) *receipt {
	w := l.w
	var fit []*receipt
	for _, r := range l.receipts[max(0, len(l.receipts)-30):] {
		if slices.Contains(of, r.req.Function) && (r.stands() || (r.heard && w.rng.IntN(10) == 0)) {
			fit = append(fit, r)
		}
	}
	if len(fit) == 0 {
		if of[0] == points.Completion {
			return l.later(points.Completion, points.PreAuth)
		}
		return l.sale(of[0])
	}
	o := fit[len(fit)-1-min(w.rng.IntN(len(fit)), w.rng.IntN(len(fit)))]
	r := &receipt{lane: l, card: o.card, about: o}
	if l.line.door == terminalDoor {
		r.req = l.term.About(function, &Receipt{Request: o.req, Response: o.resp})
		if r.req.AuthCode == ([6]byte{}) {
			copy(r.req.AuthCode[:], "000000")
		}
	} else {
		r.req = l.term.Next(function)
		r.req.PAN = o.req.PAN
		r.req.Original = named(&o.req)
	}
	r.req.Program, r.req.Amount = o.program(), o.amount()
	if o.sale() != nil {
		r.req.Program = 0 // The sale says which.
	}
	switch function {
	case points.Refund, points.Completion, points.CompletionAdvice:
		if w.rng.IntN(2) == 0 {
			r.req.Amount = 1 + points.Amount(w.rng.Int64N(int64(r.req.Amount)))
		}
	default:
	}
	l.dress(&r.req)
	return r
}

// named is DE90 for a request of a partner.
func named(req *points.Request) points.Original {
	return points.Original{
		Present: true, MTI: req.Envelope.MTI - req.Envelope.MTI%10, STAN: req.STAN, Transmission: req.Transmission,
		Acquirer: req.Acquirer, Forwarder: req.Forwarder,
	}
}

// ask sends a request for the first time.
func (l *lane) ask(r *receipt) {
	if err := l.write(r); err != nil {
		l.w.fail(err)
		return
	}
	if r.req.Function != points.SignOn {
		l.w.report.Requests++
	}
	if r.about != nil {
		r.before = r.about.amount() - l.left(r.about)
	}
	l.receipts = append(l.receipts, r)
	l.current, r.asked = r, l.w.now
	l.send(r, answerIn)
}

// write makes the frame of a receipt, and has answers to it find it.
func (l *lane) write(r *receipt) error {
	var frame []byte
	var err error
	if r.items != nil {
		if frame, err = l.dialect.AppendUpload(nil, &r.req, r.items); err == nil {
			err = l.dialect.Decode(frame, &r.req)
		}
	} else if err = l.dialect.Complete(&r.req); err == nil {
		frame, err = l.dialect.AppendRequest(nil, &r.req)
	}
	if err != nil {
		return fmt.Errorf("%s: %v: %w", l.name, r.req.Function, err)
	}
	r.frame = frame
	l.by[l.keyOf(&r.req)] = r
	return nil
}

func (l *lane) keyOf(req *points.Request) receiptKey {
	when := req.Transmission
	if l.line.door == terminalDoor {
		when = uint64(req.Batch)
	}
	return receiptKey{mti: dialect.AnswerTo(req.Envelope.MTI), stan: req.STAN, when: when}
}

// send puts a receipt's frame on the line and waits for the answer.
func (l *lane) send(r *receipt, wait time.Duration) {
	w := l.w
	frame := r.frame
	if r.sends > 0 && l.line.door == partnerDoor { // A repeat says so: 0201, 0221, 0421.
		again := r.req
		again.Repeat = true
		again.Envelope.MTI = 0
		if repeated, err := l.dialect.AppendRequest(nil, &again); err == nil {
			frame = repeated
		}
	}
	r.sends++
	if c := l.line.connect(); c != nil {
		w.step(r.card, "%s sends %s", l.name, r)
		c.send(frame)
	} else {
		w.step(r.card, "%s cannot send %s: no connection", l.name, r)
	}
	l.turn++
	turn := l.turn
	w.after(wait+w.between(0, 5*time.Second), func() {
		if l.turn == turn {
			l.timedOut(r)
		}
	})
}

// timedOut is what a lane does when no answer comes.
func (l *lane) timedOut(r *receipt) {
	w := l.w
	w.did("answer timed out")
	w.step(r.card, "%s has no answer to %s", l.name, r)
	if l.line.door == terminalDoor || w.rng.IntN(4) == 0 {
		l.line.hangUp()
	}
	function := r.req.Function
	switch {
	case r.of != nil && r.req.Actual == 0 && l.line.door == terminalDoor && r.sends > 3 && w.chance(w.mix.lost):
		w.did("reversal given up") // It prints a slip, and the batch tells.
		r.of.lost = true
		l.rest()
	case r.of != nil:
		l.send(r, undoIn)
	case function == points.BatchClose && l.line.door == partnerDoor && r.sends > 3:
		l.rest() // It closes the date under another number.
	case r.told():
		l.send(r, answerIn)
	case function == points.Balance || function == points.SignOn:
		l.rest() // Nobody minds.
	case r.sends < 3 && w.rng.IntN(2) == 0:
		w.did("request sent again")
		l.send(r, answerIn)
	default:
		l.reverse(r, "98")
	}
}

// reverse undoes what the lane does not know, or does not want, to have happened.
func (l *lane) reverse(r *receipt, why string) { l.reverseTo(r, 0, why) }

// reverseTo leaves actual of it standing.
func (l *lane) reverseTo(r *receipt, actual points.Amount, why string) {
	w := l.w
	w.did("reversal")
	u := &receipt{lane: l, card: r.card, of: r}
	if l.line.door == terminalDoor {
		u.req = reversalOf(&Receipt{Request: r.req, Response: r.resp})
	} else {
		u.req = l.term.Next(points.Reversal)
		u.req.Reversed, u.req.PAN, u.req.Amount, u.req.Program = r.req.Function, r.req.PAN, r.req.Amount, r.req.Program
		u.req.Condition = r.req.Condition
		if r.req.Has(25) {
			u.req.Mark(25)
		}
		u.req.Original = named(&r.req)
		l.dress(&u.req)
	}
	u.req.Actual = actual
	copy(u.req.Answer[:], why)
	if err := l.write(u); err != nil {
		w.fail(err)
		return
	}
	if actual == 0 {
		r.undo = u
	} else {
		r.parts = append(r.parts, u)
	}
	l.current = u
	l.send(u, undoIn)
}

// hear takes an answer.
func (l *lane) hear(frame []byte, echo *points.Request, resp *points.Response) {
	w := l.w
	key := receiptKey{mti: echo.Envelope.MTI, stan: echo.STAN, when: echo.Transmission}
	if l.line.door == terminalDoor {
		key.when = uint64(resp.Batch)
	}
	r := l.by[key]
	if r == nil && l.line.door == terminalDoor { // A sign-on is told the new batch.
		for _, candidate := range l.by {
			if candidate.req.Function == points.SignOn && candidate.req.STAN == echo.STAN && dialect.AnswerTo(candidate.req.Envelope.MTI) == echo.Envelope.MTI {
				r = candidate
			}
		}
	}
	if r == nil {
		w.mismatch(nil, "%s gets an answer %04d STAN %v to something that it never asked", l.name, echo.Envelope.MTI, echo.STAN)
		return
	}
	w.step(r.card, "%s hears %s to %s, RRN %v", l.name, code(resp), r, resp.Position)
	if w.chance(5) {
		l.line.hangUp()
	}
	switch {
	case r != l.current && r.heard:
		l.same(r, frame, resp)
	case r != l.current: // Too late: it is being reversed.
		w.did("late answer at an acquirer")
	case r.of != nil:
		l.undone(r, frame, resp)
	default:
		l.answered(r, frame, resp)
	}
}

func code(resp *points.Response) string {
	text := resp.Reason.DE39()
	if resp.Detail != "" {
		text += " " + resp.Detail
	}
	return text
}

// same checks that a request which is answered again is answered the same, unless it
// has been reversed since.
func (l *lane) same(r *receipt, frame []byte, resp *points.Response) {
	l.w.did("answered again")
	if bytes.Equal(frame, r.got) || (r.undo != nil && resp.Reason == points.ReversedBefore) {
		return
	}
	if resp.Position == 0 || r.resp.Position == 0 || r.card == nil {
		return // Refused at the door, which remembers nothing; a sign-on has no identity.
	}
	l.w.mismatch(r.card, "%s: %s is answered %s the first time and %s the second", l.name, r, code(&r.resp), code(resp))
}

// answered believes an answer.
func (l *lane) answered(r *receipt, frame []byte, resp *points.Response) {
	w := l.w
	if door(resp) && r.req.Function != points.SignOn && r.req.Function != points.Balance {
		// Refused at the door, which does not know what became of it before.
		w.did("refused at the door")
		if !r.told() { // What is told is told again when its time is over.
			l.reverse(r, "98")
		}
		return
	}
	r.heard, r.heardAt, r.resp, r.got = true, w.now, *resp, bytes.Clone(frame)
	if l.line.door == terminalDoor {
		l.term.count(&Receipt{Request: r.req, Response: r.resp})
	}
	l.line.learn(resp)
	if resp.Reason.Approved() {
		w.did("approved " + r.req.Function.String())
		w.tally(r)
	} else {
		w.did("declined " + resp.Reason.DE39())
	}
	if resp.Reason == points.InternalError {
		w.mismatch(r.card, "%s: %s is answered %s", l.name, r, code(resp))
		return
	}
	if r.probe {
		l.probed++
		if resp.Reason != points.Approved && resp.Reason != points.NotEnoughPoints && resp.Reason != points.OverAmountLimit && resp.Reason != points.OverCountLimit {
			w.mismatch(r.card, "%s: %v after nothing went wrong, %s is answered %s", l.name, quietTime, r, code(resp))
			return
		}
	}
	l.follow(r)
}

// tally counts what is seldom.
func (w *World) tally(r *receipt) {
	sale := r.sale()
	switch {
	case sale == nil && r.resp.Reason == points.ApprovedPartly && r.card.bank != nil:
		w.did("approved in part")
	case sale == nil:
	case r != sale:
		w.did("tender undone")
	default:
		w.did("tender approved")
		for program := range sale.legs() {
			if !w.hosted(program) {
				w.did("tender with a bank approved")
			}
		}
	}
}

// follow is what an answer calls for.
func (l *lane) follow(r *receipt) {
	w := l.w
	switch function := r.req.Function; {
	case function == points.BatchClose, function == points.BatchUpload, function == points.BatchUploadEnd:
		l.closed(r)
		return
	case !r.resp.Reason.Approved() || r.told() || function == points.SignOn || function == points.Balance:
	case w.chance(30):
		w.did("approval reversed") // The printer is out of paper, the MAC was wrong.
		l.reverse(r, "A0")
		return
	case l.line.door == partnerDoor && w.chance(60) && l.reduce(r):
		return
	}
	if l.line.door == partnerDoor && w.chance(30) && l.reduceEarlier() {
		return
	}
	l.rest()
}

// door reports whether a request was refused before the journal was asked, which knows
// whether it was carried out before.
func door(resp *points.Response) bool { return !resp.Reason.Approved() && resp.Position == 0 }

// undone ends a reversal that was approved, and repeats one that was not.
func (l *lane) undone(u *receipt, frame []byte, resp *points.Response) {
	w := l.w
	switch {
	case resp.Reason.Approved():
	case u.req.Actual != 0 && !door(resp):
		w.did("reversal of a part refused " + resp.Reason.DE39())
		u.heard, u.heardAt, u.resp, u.got = true, w.now, *resp, bytes.Clone(frame)
		l.rest()
		return
	case resp.Reason == points.NotPermitted && l.final(u.of):
		// The issuer has been told of the void of such a sale (ADR 4): it stands.
		w.did("reversal of the void of a tender refused")
		u.of.kept()
		l.rest()
		return
	default:
		w.did("reversal refused " + resp.Reason.DE39())
		if w.calm && w.now > w.calmed.Add(quietTime/2) {
			w.mismatch(u.card, "%s: %s is refused with %s and no end", l.name, u, code(resp))
			return
		}
		return // It is sent again when its time is over.
	}
	u.heard, u.heardAt, u.resp, u.got = true, w.now, *resp, bytes.Clone(frame)
	l.line.learn(resp)
	if u.req.Actual != 0 {
		l.reduced(u)
	} else {
		u.of.reversed = true
	}
	if l.line.door == terminalDoor {
		l.term.count(&Receipt{Request: u.req, Response: u.resp})
	}
	l.rest()
}

// drained reports whether the lane has come to an end.
func (l *lane) drained() bool {
	return l.current == nil && len(l.sending) == 0 && l.probing && len(l.probes) == 0
}

// exchangeLine is the connection of a terminal, or of all the tills of a partner.
type exchangeLine struct {
	w      *World
	name   string
	door   int
	lanes  []*lane
	cable  *cable
	system // of a partner
}

// connect returns the connection, making one where there is none; nil when the switch
// cannot be reached.
func (x *exchangeLine) connect() *cable {
	w := x.w
	if x.cable != nil && !x.cable.gone {
		return x.cable
	}
	if !w.house.up {
		return nil
	}
	c, err := w.lay("line of "+x.name, link.Options{}, w.house.doors[x.door], x)
	if err != nil {
		w.fail(err)
		return nil
	}
	x.cable = c
	if x.door == partnerDoor {
		x.signOn()
	}
	return c
}

func (x *exchangeLine) hangUp() {
	if x.cable != nil {
		x.cable.hangUp()
	}
}

func (x *exchangeLine) lost(*cable) {}

// receive gives an answer to the lane that has asked.
func (x *exchangeLine) receive(c *cable, frame []byte) {
	d := x.lanes[0].dialect
	if mti, ok := d.MTI(frame); ok && x.door == partnerDoor && (mti/100 == 8 || !dialect.IsAnswer(mti)) {
		x.network(c, frame)
		return
	}
	var echo points.Request
	var resp points.Response
	if err := d.DecodeResponse(frame, &echo, &resp); err != nil {
		x.w.mismatch(nil, "%s gets an answer that cannot be read: %v", x.name, err)
		return
	}
	for _, l := range x.lanes {
		if l.term.Terminal == echo.Terminal || (!echo.Has(41) && l.by[receiptKey{mti: echo.Envelope.MTI, stan: echo.STAN, when: echo.Transmission}] != nil) {
			l.hear(frame, &echo, &resp)
			return
		}
	}
	x.w.mismatch(nil, "%s gets an answer for terminal %v", x.name, echo.Terminal)
}
