package pointswitch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/router"
	"github.com/lianfen/lianfen/switch/link"
)

// Options is what a switch is made of.
type Options struct {
	Ledger   *ledger.Ledger
	Router   *router.Router
	CardKey  *certs.CardKey
	Clock    points.Clock
	Location *time.Location // of the terminals' clocks (DE12, DE13)
	// Parameters are what terminals download; see [Switch.Reload].
	Parameters []TerminalParameters
	Issuers    *Issuers // those with ledgers of their own; nil: none can be reached

	// Keystore is where the keys of terminals are; nil: no terminal has any.
	Keystore *certs.Keystore
	// Zones are the partners with whom keys are shared; nil: none.
	Zones *Zones
	// MACErrors is how many wrong MACs in a row cost a terminal its keys, until it signs on.
	MACErrors int

	// FreshnessAhead and FreshnessBehind bound how far a transmission time (DE7)
	// may lie from now; the former at most [MostAhead].
	FreshnessAhead, FreshnessBehind time.Duration
	// BadFrames closes a terminal's connection at so many malformed frames
	// within a minute.
	BadFrames int
	// ShedTarget and ShedInterval turn new requests away while the oldest one has waited
	// longer than the target for an interval on end; a target of 0 never does.
	ShedTarget, ShedInterval time.Duration
	// Participants is the rate of each acquirer, by whichever connections its requests
	// come; Own is that of some of them.
	Participants Rate
	Own          map[points.AcquirerID]Rate
	// LogEvery logs one of so many approvals; refusals are all logged.
	LogEvery int

	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Switch answers requests. It is made once, and safe for concurrent use; each
// listener gets a [Listener] of it.
type Switch struct {
	opts     Options
	metrics  *metrics
	requests sync.Pool // of *exchange
	approved atomic.Uint64
	// turnedAway counts what the load turned away, of which one in so many is logged.
	turnedAway atomic.Uint64
	outbox     link.Outbox // of the ledger's committing goroutine
	pressure   pressure
	shares     *buckets[points.AcquirerID]
	// What the terminals have been given; see download.go.
	terminals attendance
	keys      *keyring // see keys.go
}

// New makes a switch. It is an error to leave out what it is made of.
func New(opts Options) (*Switch, error) {
	if opts.Ledger == nil || opts.Router == nil || opts.CardKey == nil || opts.Clock == nil || opts.Location == nil || opts.Log == nil {
		return nil, errors.New("switch: ledger, router, card key, clock, location and log are needed")
	}
	if opts.FreshnessAhead <= 0 || opts.FreshnessBehind <= 0 || opts.BadFrames <= 0 || opts.LogEvery <= 0 {
		return nil, fmt.Errorf("switch: freshness %v/%v, bad frames %d and log every %d must be above zero",
			opts.FreshnessAhead, opts.FreshnessBehind, opts.BadFrames, opts.LogEvery)
	}
	if opts.FreshnessAhead > MostAhead {
		return nil, fmt.Errorf("switch: freshness %v ahead, want at most %v", opts.FreshnessAhead, MostAhead)
	}
	if opts.ShedTarget < 0 || opts.ShedTarget > 0 && opts.ShedInterval <= 0 {
		return nil, fmt.Errorf("switch: shed at %v for %v, want both above zero, or no target", opts.ShedTarget, opts.ShedInterval)
	}
	s := &Switch{opts: opts, terminals: attendance{rules: opts.Parameters, has: make(map[points.TerminalID]uint32)}}
	s.pressure.on = opts.ShedTarget > 0
	s.pressure.state = overload{target: opts.ShedTarget, interval: opts.ShedInterval}
	s.shares = newBuckets(opts.Participants, opts.Own)
	var err error
	if s.metrics, err = newMetrics(opts.Registerer, s); err != nil {
		return nil, err
	}
	if s.keys, err = newKeyring(opts.Keystore, opts.MACErrors, opts.Clock()); err != nil {
		return nil, err
	}
	s.requests.New = func() any { return s.newExchange() }
	opts.Ledger.AfterGroup(s.outbox.Flush)
	return s, nil
}

// turnedAwayEvery is of how many requests that the load turned away one is logged.
const turnedAwayEvery = 1000

// logAnswer writes the one line that a request leaves in the log.
func (s *Switch) logAnswer(x *exchange) {
	level := slog.LevelInfo
	switch {
	case x.turned:
		// A flood must not become one of the log; the metrics count them all.
		if s.turnedAway.Add(1)%turnedAwayEvery != 1 {
			return
		}
	case x.resp.Reason == points.InternalError:
		level = slog.LevelError
	case x.resp.Reason.Approved():
		if s.approved.Add(1)%uint64(s.opts.LogEvery) != 0 { //nolint:gosec // above zero, see New.
			return
		}
	}
	if !s.opts.Log.Enabled(context.Background(), level) {
		return
	}
	attrs := make([]slog.Attr, 0, 16)
	attrs = append(attrs,
		slog.String("listener", x.session.listener.name), slog.Uint64("conn", x.conn.ID()),
		slog.String("function", x.req.Function.String()), slog.String("reason", x.resp.Reason.String()),
		slog.String("de39", x.resp.Reason.DE39()), slog.String("stan", x.req.STAN.String()),
		slog.String("terminal", x.req.Terminal.String()), slog.String("merchant", x.req.Merchant.String()))
	if !x.req.PAN.IsZero() {
		attrs = append(attrs, slog.Any("card", x.req.PAN), slog.Int64("amount", int64(x.req.Amount)), slog.Int("program", int(cmp.Or(x.resp.Program, x.cmd.Program))))
	}
	if x.resp.Position != 0 {
		rrn := x.resp.Position.RRN()
		attrs = append(attrs, slog.String("rrn", string(rrn[:])), slog.String("date", x.resp.Date.String()))
	}
	if x.fault != nil {
		attrs = append(attrs, slog.Int("field", int(x.resp.Field)), slog.String("error", x.fault.Error()))
	}
	if x.replayed {
		attrs = append(attrs, slog.Bool("repeat", true))
	}
	s.opts.Log.LogAttrs(context.Background(), level, "request", attrs...)
}
