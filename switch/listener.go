package pointswitch

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
	"github.com/lianfen/lianfen/switch/link"
)

// badFrameWindow is the time within which malformed frames are counted together.
const badFrameWindow = time.Minute

// errBadFrames is why a connection is closed whose frames cannot be read.
var errBadFrames = errors.New("switch: too many malformed frames within a minute")

// errForeignFraming is why a connection is closed that does not speak the dialect.
var errForeignFraming = errors.New("switch: the frame is not of this dialect")

// Listener is the switch as one listener sees it: a dialect and a name. It is
// the handler of the listener's connections.
type Listener struct {
	s       *Switch
	name    string
	dialect *dialect.Dialect
	door    points.Door
	closed  seldom // warnings of connections that ended
	rate    Rate
	known   *buckets[string] // of identities
}

var _ link.Handler = (*Listener)(nil)

// Listener returns a handler for connections that speak d. name is for logs; rate is that
// of each identity ([link.Conn.Identity]), or of each connection that has none.
func (s *Switch) Listener(name string, d *dialect.Dialect, door points.Door, rate Rate) *Listener {
	return &Listener{s: s, name: name, dialect: d, door: door, rate: rate, known: newBuckets[string](rate, nil)}
}

// session is what the switch remembers of a connection. Only the connection's
// reading goroutine touches it.
type session struct {
	listener *Listener
	peer     *certs.Identity    // who the connection has shown to be; nil: nobody was asked
	bad      []points.Timestamp // when the last Options.BadFrames malformed frames came, as a ring
	badCount int                // malformed frames so far
	ended    bool               // the connection is being closed: nothing more is carried out
	asks     []ledger.Ask       // of the frames of one read, for the ledger
	shed     int                // of these, turned away unless they were answered before
	turning  []*exchange        // of the frames of one read, likewise, if their key was seen
	outbox   link.Outbox        // of the answers to those
	now      points.Timestamp   // when that was
	room     int64              // for how many new requests of it there is room; the others are turned away
	bucket   *bucket            // of the connection's identity, or its own
	own      bucket
}

// Open gives the connection its session, with the identity of a [certs.Peer].
func (l *Listener) Open(c *link.Conn) {
	s := &session{listener: l}
	if who := c.Identity(); who != "" {
		s.bucket = l.known.bucket(who)
	} else {
		s.own.limit(l.rate)
		s.bucket = &s.own
	}
	if peer, ok := c.Peer().(*certs.Peer); ok {
		s.peer = &peer.Identity
	}
	c.Session = s
}

// Frames answers the frames of one read. The clock is read once for all of them.
// Frames behind one that ends the connection are dropped without effect.
func (l *Listener) Frames(c *link.Conn, frames [][]byte) {
	session, ok := c.Session.(*session)
	if !ok {
		panic("switch: a connection without a session") //nolint:forbidigo // Open sets it before any frame.
	}
	now := l.s.opts.Clock()
	var rest time.Duration
	session.now = now
	session.room, rest = l.s.pressure.room(now)
	c.Pause(rest)
	for _, frame := range frames {
		if session.ended {
			l.s.metrics.unanswered.Inc()
			c.Drop()
			continue
		}
		if l.answers(c, frame) {
			c.Drop()
			continue
		}
		l.s.handle(session, c, frame, now)
	}
	session.handOn()
}

// handOn gives the ledger the commands of the frames so far, and turns away what is to be
// turned away: that comes last, so that the repeat of a request in the same read finds it.
func (s *session) handOn() {
	s.ask()
	if len(s.turning) == 0 {
		return
	}
	for _, x := range s.turning {
		x.turnAwayUnlessSeen()
	}
	clear(s.turning)
	s.turning = s.turning[:0]
	s.outbox.Flush()
	s.ask()
}

// ask gives the ledger the commands that have collected.
func (s *session) ask() {
	if len(s.asks) == 0 {
		return
	}
	s.listener.s.pressure.handOver(len(s.asks)-s.shed, s.now)
	s.shed = 0
	s.listener.s.opts.Ledger.SubmitAll(s.asks)
	clear(s.asks)
	s.asks = s.asks[:0]
}

// answers takes a frame that answers a message of ours: a partner's system is told of
// cut-overs. It reports false for everything else.
func (l *Listener) answers(c *link.Conn, frame []byte) bool {
	if l.door != points.DoorHost || l.s.opts.Issuers == nil {
		return false
	}
	mti, ok := l.dialect.MTI(frame)
	return ok && dialect.IsAnswer(mti) && l.s.opts.Issuers.partners.answered(c, frame)
}

// Closed logs why a connection ended, unless it ended as connections do.
func (l *Listener) Closed(c *link.Conn, reason error) {
	if issuers := l.s.opts.Issuers; issuers != nil {
		issuers.partners.left(c)
	}
	level := slog.LevelWarn
	if errors.Is(reason, link.ErrPeerClosed) || errors.Is(reason, link.ErrIdle) || errors.Is(reason, link.ErrShutdown) {
		level = slog.LevelDebug
	}
	var leftOut slog.Attr // Nothing: slog leaves an empty one out.
	if level == slog.LevelWarn {
		var may bool
		if leftOut, may = l.closed.may(l.s.opts.Clock()); !may {
			level = slog.LevelDebug
		}
	}
	l.s.opts.Log.LogAttrs(context.Background(), level, "connection closed", slog.String("listener", l.name), slog.Uint64("conn", c.ID()),
		slog.String("peer", c.RemoteAddr().String()), slog.String("cause", reason.Error()), leftOut)
}

// handle takes one frame from bytes to the ledger, or straight to its answer.
func (s *Switch) handle(session *session, c *link.Conn, frame []byte, now points.Timestamp) {
	x := s.newRequest(session, c)
	err := session.listener.dialect.Decode(frame, &x.req)
	x.req.At, x.req.Door = now, session.listener.door
	x.first = err == nil && goesFirst(&x.req)
	if !session.bucket.take(now, x.first) {
		s.metrics.overConnection.Inc()
		if err == nil {
			s.recognise(x, frame)
		}
		x.turnAway(err)
		return
	}
	if err != nil {
		s.recognise(x, frame)
		s.malformed(x, err)
		return
	}
	x.table = s.opts.Router.Table()
	since, reason := s.admit(x, frame)
	acceptor := x.acceptor
	x.cmd.Since = since
	if since != 0 && book.Told(x.req.Function) {
		x.cmd.Sent = since.Add(MostAhead)
	}
	if acceptor.Acquirer != nil {
		x.resp.Acquirer = acceptor.Acquirer.ID
	}
	if reason == points.NotFresh && remembered(x.req.Function) {
		// Too old for anything but to be answered as the first time (messages.md 10.3).
		x.cmd.RepeatOnly, reason = true, points.Approved
	}
	if !reason.Approved() {
		x.answer(reason)
		return
	}
	if acceptor.Acquirer != nil && !s.shares.bucket(acceptor.Acquirer.ID).take(now, x.first) {
		s.metrics.overParticipant.Inc()
		x.turnAway(nil)
		return
	}
	if x.req.Function == points.KeyChange && x.req.Door == points.DoorHost {
		s.changeKeys(x, frame)
		return
	}
	if s.network(x, acceptor) {
		return
	}
	s.enter(x, frame)
}

// enter has the ledger asked what x asks for, or turned away what there is no room for.
func (s *Switch) enter(x *exchange, frame []byte) {
	session := x.session
	sheds := session.room <= 0 && !x.first && !x.cmd.RepeatOnly
	if sheds && plainKey(x.req.Function) {
		session.turning = append(session.turning, x)
		return
	}
	about, reason := s.batch(x, x.acceptor, frame)
	if !about {
		reason = s.command(x, x.acceptor)
	}
	if !reason.Approved() {
		if x.cmd.RepeatOnly {
			reason = points.NotFresh
		}
		x.answer(reason)
		return
	}
	if sheds && !about {
		x.submitShed()
		return
	}
	session.room--
	x.submit()
}

// malformed treats a frame that could not be read (messages.md 10.4). What can be
// answered is answered 30, and a terminal loses its connection at the n-th within
// a minute; a partner's link, which carries others' traffic, stays. What cannot be
// answered costs a terminal its connection at once, and a partner at the n-th.
func (s *Switch) malformed(x *exchange, err error) {
	wrong, ok := errors.AsType[*dialect.FormatError](err)
	if !ok {
		wrong = &dialect.FormatError{Reason: err.Error(), Fatal: true}
	}
	session, c, at := x.session, x.conn, x.req.At
	terminal := session.listener.door == points.DoorTerminal
	x.fault = wrong
	x.resp.Field = uint8(wrong.Field) //nolint:gosec // a data element, 0 to 128.
	if !wrong.Fatal {
		x.answer(points.FormatError)
		if terminal && session.countBad(at, s.opts.BadFrames) {
			session.end(c, errBadFrames)
		}
		return
	}
	x.drop(points.FormatError)
	switch {
	case terminal:
		session.end(c, errForeignFraming)
	case session.countBad(at, s.opts.BadFrames):
		session.end(c, errBadFrames)
	}
}

// countBad counts a malformed frame and reports whether it is the limit-th, or
// more, within the minute that ends with it.
func (s *session) countBad(at points.Timestamp, limit int) bool {
	if s.bad == nil {
		s.bad = make([]points.Timestamp, limit)
	}
	s.bad[s.badCount%limit] = at
	s.badCount++
	return s.badCount >= limit && at.Sub(s.bad[s.badCount%limit]) <= badFrameWindow
}

// end closes the connection once what is in flight is answered.
func (s *session) end(c *link.Conn, reason error) {
	s.ended = true
	c.CloseAfterFlush(reason)
}
