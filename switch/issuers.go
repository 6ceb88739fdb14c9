package pointswitch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/router"
	"github.com/lianfen/lianfen/switch/dialect"
	"github.com/lianfen/lianfen/switch/link"
)

// LinkProfile is what is agreed with the host at the end of a link, which may keep
// the ledgers of several issuers.
type LinkProfile struct {
	Name        string            // as the directory's issuers name it
	Institution points.AcquirerID // we, to that host: DE33 of requests, DE32 of network messages; 0: not sent

	Deadline    time.Duration // for the answer to a request
	MaxInFlight int           // requests of one connection that wait for an answer

	SignOn       time.Duration // for the sign-on, whoever signs on
	EchoAfter    time.Duration // a silence after which an echo is sent
	EchoDeadline time.Duration // for its answer
	LostEchoes   int           // so many in a row: the connection is closed
	Redial       time.Duration // before a connection is dialled again; doubles up to RedialMost
	RedialMost   time.Duration
	Breaker      router.BreakerRules // for each path

	Retry         []time.Duration // between two sendings of what is owed; the last one stays
	GiveUp        time.Duration   // what is owed for so long is left to the operators
	RetryInFlight int             // of what is owed, at once
	UnknownEnds   bool            // 25 to a reversal means that the original never will come

	SwapGiveUp time.Duration // a swap's leg without a certain answer for so long is given up; 0: a day
	SwapManual bool          // by operators, since the issuer knows no FENCE

	StandIn StandIn
	Paths   []PathProfile

	// Zone is the issuer whose zone keys the host has, by which messages on the link carry
	// MACs as is agreed with it ([Zones]); 0: they carry none.
	Zone points.IssuerID
	// KeyLife is for how long keys with the host are used before it is sent others; 0: for
	// as long as they are right.
	KeyLife time.Duration

	// Peers are the issuers one of whom the host has to show to be; nil: one that the
	// directory has on this link. Where no connection shows an identity nobody is asked.
	Peers []points.IssuerID
}

// PathProfile is one way to the host. Of the paths that are up, those of the lowest
// priority carry, in proportion to their weight.
type PathProfile struct {
	Name        string
	Address     string // host:port that we dial; empty: the host dials us
	Connections int    // that we dial
	Priority    int
	Weight      int
	Options     link.Options
}

// StandIn says what is approved in the place of a host that cannot be reached. Without
// programmes nothing is.
type StandIn struct {
	Programs  []points.ProgramID
	MaxAmount points.Amount // of one request; 0: no limit
	MaxDay    points.Amount // for one card, programme and business date; 0: no limit
	MaxCount  uint32        // likewise
	Refused   map[points.CardToken]bool
	// AfterTimeout approves also what the host was asked and has not answered. Its
	// reversal goes out first, then the advice, so that it never counts both.
	AfterTimeout bool
}

// IssuersOptions is what [Issuers] are made of.
type IssuersOptions struct {
	Ledger  *ledger.Ledger
	Router  *router.Router
	CardKey *certs.CardKey
	Dialect *dialect.Dialect
	Clock   points.Clock
	// Zones are the partners with whom keys are shared; nil: none.
	Zones *Zones
	Links []LinkProfile
	// Dial connects to a host; nil: link.Dial.
	Dial       func(ctx context.Context, address string, opts link.Options, handler link.Handler) (*link.Conn, error)
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Issuers are the hosts of issuers that keep their own ledgers. Each link has a leg,
// which holds what is under way on it; see the file issuer_remote.go. Safe for
// concurrent use.
type Issuers struct {
	opts    IssuersOptions
	metrics *issuerMetrics
	wake    chan struct{} // capacity 1: something may be due
	room    *room
	// Those who dial our own listeners; see cutover.go.
	partners partners

	mu   sync.Mutex // guards legs
	legs map[string]*leg
}

// NewIssuers makes the legs of all links. Nothing is dialled before Run.
func NewIssuers(opts IssuersOptions) (*Issuers, error) {
	if opts.Ledger == nil || opts.Router == nil || opts.CardKey == nil || opts.Dialect == nil || opts.Clock == nil || opts.Log == nil {
		return nil, errors.New("switch: ledger, router, card key, dialect, clock and log are needed for issuers")
	}
	if opts.Dial == nil {
		opts.Dial = link.Dial
	}
	m, err := newIssuerMetrics(opts.Registerer)
	if err != nil {
		return nil, err
	}
	s := &Issuers{opts: opts, metrics: m, wake: make(chan struct{}, 1), room: newRoom(), legs: make(map[string]*leg)}
	if err := s.Reload(opts.Links); err != nil {
		return nil, err
	}
	return s, nil
}

// Reload puts other profiles in force. What is under way goes on: connections of paths
// that are no longer listed take no more requests and close once they are answered.
func (s *Issuers) Reload(links []LinkProfile) error {
	for i := range links {
		if err := links[i].check(); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.legs {
		if !slices.ContainsFunc(links, func(p LinkProfile) bool { return p.Name == l.name }) {
			l.reload(&LinkProfile{Name: l.name, Retry: l.profiled().Retry, GiveUp: l.profiled().GiveUp})
		}
	}
	for i := range links {
		profile := links[i]
		if s.legs[profile.Name] == nil {
			s.legs[profile.Name] = newLeg(s, profile.Name)
		}
		s.legs[profile.Name].reload(&profile)
	}
	s.Wake()
	return nil
}

func (p *LinkProfile) check() error {
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"deadline", p.Deadline},
		{"sign-on", p.SignOn},
		{"echo", p.EchoAfter},
		{"echo deadline", p.EchoDeadline},
		{"redial", p.Redial},
		{"give-up", p.GiveUp},
		{"breaker's rest", p.Breaker.Rest},
	} {
		if d.value <= 0 {
			return fmt.Errorf("switch: link %s: %s of %v must be above zero", p.Name, d.name, d.value)
		}
	}
	if p.Name == "" || p.MaxInFlight <= 0 || p.LostEchoes <= 0 || p.RetryInFlight <= 0 || p.Breaker.Failures <= 0 || len(p.Retry) == 0 || p.RedialMost < p.Redial {
		return fmt.Errorf("switch: link %q: name, in-flight bounds, lost echoes, breaker, retries and redial must be given", p.Name)
	}
	return nil
}

// leg returns the leg of a link; one that no profile speaks of has no connection, and
// everything sent there is answered by that.
func (s *Issuers) leg(name string) *leg {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.legs[name]
	if l == nil {
		l = newLeg(s, name)
		l.reload(&LinkProfile{Name: name, Retry: []time.Duration{time.Hour}, GiveUp: 24 * time.Hour})
		s.legs[name] = l
	}
	return l
}

// legOf returns the leg of an issuer.
func (s *Issuers) legOf(issuer points.IssuerID) *leg {
	return s.leg(s.opts.Router.Table().LinkOf(issuer))
}

func (s *Issuers) all() []*leg {
	s.mu.Lock()
	defer s.mu.Unlock()
	legs := make([]*leg, 0, len(s.legs))
	for _, l := range s.legs {
		legs = append(legs, l)
	}
	slices.SortFunc(legs, func(a, b *leg) int {
		if a.name < b.name {
			return -1
		}
		return 1
	})
	return legs
}

// Recover takes up what the last process left: the answers to what it had sent will not
// come here, so all of it is owed a reversal, and what was owed is owed still. It is
// called before any door opens.
func (s *Issuers) Recover(ctx context.Context) error {
	var open []points.Position
	var owed []book.RemoteView
	err := s.opts.Ledger.View(ctx, func(b *book.Book) error {
		for _, position := range b.Unfinished() {
			view, ok, err := b.Remote(position)
			if err != nil || !ok {
				return errors.Join(err, unlessOK(ok, position))
			}
			if view.Phase == book.RemoteOpen {
				open = append(open, position)
			}
			owed = append(owed, view)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("switch: unfinished transactions: %w", err)
	}
	for _, position := range open {
		out, err := s.opts.Ledger.Do(ctx, &book.Command{Kind: book.KindOwe, At: s.opts.Clock(), Original: position})
		if err != nil {
			return fmt.Errorf("switch: owe a reversal of %d: %w", position, err)
		}
		if !out.Reason.Approved() {
			return fmt.Errorf("switch: owe a reversal of %d: %v", position, out.Reason)
		}
	}
	for i := range owed {
		s.legOf(owed[i].Issuer).recovered(owed[i].Position)
	}
	return nil
}

func unlessOK(ok bool, position points.Position) error {
	if ok {
		return nil
	}
	return fmt.Errorf("switch: transaction %d is unfinished and not there", position)
}

// Look says that something has happened to the transaction at position that the switch
// has not done itself, so that it looks what the issuer is owed now.
func (s *Issuers) Look(issuer points.IssuerID, position points.Position) {
	s.legOf(issuer).notice(position)
}

// Wake says that something may be due, for who has moved the clock.
func (s *Issuers) Wake() {
	select {
	case s.wake <- struct{}{}:
	default: // It is on its way.
	}
}

// Run dials, sends what is owed and looks after the time, until ctx ends; then it signs
// off and closes the connections that it has dialled.
func (s *Issuers) Run(ctx context.Context) error {
	var dialling sync.WaitGroup
	defer dialling.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return s.signOff(context.WithoutCancel(ctx))
		case <-s.wake:
		case <-timer.C:
		}
		wait, dials, err := s.round(ctx)
		if err != nil && ctx.Err() == nil {
			return err
		}
		for _, o := range dials {
			dialling.Go(func() { o.dial(ctx) })
		}
		timer.Reset(max(wait, time.Millisecond))
	}
}

// Round does what is due now, dials included, in the place of Run: for who moves the
// clock himself. It returns how long nothing more will be due, and whether there may be
// more to do at once, when what was submitted to the ledger has come back.
func (s *Issuers) Round(ctx context.Context) (wait time.Duration, more bool, err error) {
	wait, dials, err := s.round(ctx)
	for _, o := range dials {
		o.dial(ctx)
	}
	for _, l := range s.all() {
		more = l.busy() || more
	}
	return wait, more, err
}

// round does what is due now. It returns how long nothing more will be, unless Wake is
// called, and the connections that are to be dialled.
func (s *Issuers) round(ctx context.Context) (wait time.Duration, dials []*outlet, err error) {
	now := s.opts.Clock()
	wait = time.Minute
	for _, l := range s.all() {
		if err := l.refresh(ctx); err != nil {
			return wait, dials, fmt.Errorf("switch: link %s: %w", l.name, err)
		}
		due, more := l.advance(now)
		wait, dials = min(wait, due), append(dials, more...)
	}
	wait = min(wait, since(s.partners.advance(now, s.opts.Log), now))
	return wait, dials, nil
}

// signOff ends the connections in order, each within the time of a sign-on.
func (s *Issuers) signOff(ctx context.Context) error {
	for _, l := range s.all() {
		ctx, cancel := context.WithTimeout(ctx, max(l.profiled().SignOn, time.Second))
		for _, done := range l.hangUp() {
			select {
			case <-done:
			case <-ctx.Done():
			}
		}
		cancel()
	}
	return nil
}
