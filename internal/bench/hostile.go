package bench

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/lianfen/lianfen/internal/app"
)

// Targets of a switch that is attacked, and of one that is asked too much.
const (
	targetHostileP99  = 10 // times the p99 without the attack, on a machine that runs the attackers too
	targetHostileRate = 0.95
	targetHostileMB   = 600  // of memory, more than without
	floodRate         = 5000 // a second, of each flood, at least
	targetGoodput     = 0.8  // of what is answered at most, at 1.5 times that
	targetShedP99     = 500  // milliseconds, of what is accepted
)

// HostileOptions say what a switch is attacked with.
type HostileOptions struct {
	AuthOptions
	Attackers int
	Floods    int // of them
}

// Lines of the report.
const (
	lineMost     = "switch, as much as goes"
	lineCalm     = "legitimate, no attack"
	lineAttacked = "legitimate, attacked"
	lineFull     = "switch, as much as goes, in large groups"
	lineShed     = "1.5 times as much, shedding"
	lineUnshed   = "1.5 times as much, not shedding"
)

// hostile is one run.
type hostile struct {
	auth

	opts   HostileOptions
	most   int    // requests a second that a connection may send while others attack
	failed uint64 // legitimate requests that were declined or not answered under attack
}

// HostileBench measures legitimate requests while others attack, and then what is left of
// the throughput when more is asked than can be answered.
func HostileBench(ctx context.Context, opts HostileOptions) (_ *Report, err error) {
	dir, err := os.MkdirTemp(opts.Dir, "lianfen-bench-")
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	h := &hostile{opts: opts, auth: auth{opts: opts.AuthOptions, report: newReport("hostile"), rounds: map[string][]Measurement{}}}
	if opts.Keep {
		h.report.Kept = dir
	} else {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	defer func() {
		if h.durable != nil {
			err = errors.Join(err, h.durable.kill()) // One that has been stopped is gone already.
		}
	}()
	h.opts.Progress(fmt.Sprintf("furnishing %d accounts", opts.Accounts), time.Duration(opts.Accounts)*20*time.Microsecond) //nolint:gosec // at most MaxAccounts.
	if h.house, err = newHouse(ctx, dir, opts.AuthOptions, ""); err != nil {
		return nil, err
	}
	for _, part := range []func(context.Context) error{h.attacked, h.overloaded, h.journal} {
		if err := part(ctx); err != nil {
			return nil, err
		}
	}
	return h.report, nil
}

// attacked measures the same load without and with the attack.
func (h *hostile) attacked(ctx context.Context) (err error) {
	if h.durable, err = h.house.serve(ctx, "durable", h.serving()); err != nil {
		return err
	}
	if _, err := h.walk(ctx, h.durable, h.opts.Accounts); err != nil {
		return err
	}
	for round := range h.opts.Rounds {
		if err := h.measure(ctx, lineMost, round, h.durable, Load{Conns: h.opts.Conns, Depth: h.opts.Depth}); err != nil {
			return err
		}
	}
	most := h.line(lineMost).PerSecond
	rate := h.opts.Rate
	if rate == 0 {
		rate = math.Round(most / 8)
	}
	if err := h.durable.stop(); err != nil {
		return err
	}
	// A connection may send twice what a legitimate one does, and catch up on eight
	// seconds in which the generator had no processor. A flood sends twice what it may.
	h.most = max(100, int(2*rate)/h.opts.Conns)
	door := "listeners." + h.opts.Dialect + "."
	if h.durable, err = h.house.serve(ctx, "durable", h.serving(), fmt.Sprintf("%srate=%d", door, h.most), fmt.Sprintf("%sburst=%d", door, 4*h.most), door+"max_per_source=2000", door+"first_frame_timeout=30s"); err != nil {
		return err
	}
	if _, err := h.walkGently(ctx, rate); err != nil {
		return err
	}
	legitimate := Load{Conns: h.opts.Conns, Depth: max(256, h.opts.Depth), Rate: rate}
	for round := range h.opts.Rounds {
		if err := h.measure(ctx, lineCalm, round, h.durable, legitimate); err != nil {
			return err
		}
	}
	before, err := procField(h.durable.PID(), "status", "VmRSS")
	if err != nil {
		return err
	}
	seen, err := h.attack(ctx, legitimate)
	if err != nil {
		return err
	}
	after, err := procField(h.durable.PID(), "status", "VmHWM")
	if err != nil {
		return err
	}
	figures, err := app.Figures(ctx, h.durable.http)
	if err != nil {
		return err
	}
	h.judge(rate, before, after, &seen, figures)
	return h.durable.stop()
}

// judge holds what was measured against the targets; before and after are the switch's memory in KiB.
func (h *hostile) judge(rate float64, before, after uint64, seen *Attacked, figures map[string]float64) {
	calm, attacked := h.line(lineCalm), h.line(lineAttacked)
	h.check(atMost(fmt.Sprintf("p99 at %.0f/s, attacked by %d connections, against none", rate, h.opts.Attackers), round3(ratio(attacked.Latency.P99, calm.Latency.P99)), "times", targetHostileP99))
	h.check(atLeast("share of what fell due that was answered in the window", round3(ratio(attacked.PerSecond, rate)), "times", targetHostileRate))
	h.check(none("legitimate requests declined or not answered", h.failed, "requests"))
	h.check(atMost("memory of the switch at most, over that without", max(1, math.Round((float64(after)-float64(before))/1024)), "MiB", targetHostileMB))
	over := figures[`lianfen_requests_over_rate_total{rate="connection"}`]
	if h.opts.Floods > 0 {
		h.check(atLeast("requests of the floods turned away because they were over the rate", over, "requests", 1))
	}
	var ways []string
	for _, way := range slices.Sorted(maps.Keys(seen.Connected)) {
		ways = append(ways, fmt.Sprintf("%s %d", way, seen.Connected[way]))
	}
	h.report.note("connections that attacked, by how: %s; %d found no listener.", strings.Join(ways, ", "), seen.Refused)
	h.report.note("the floods sent %d valid requests, of which %d were answered; over the rate of %d a second and connection %.0f.", seen.Frames, seen.Answers, h.most, over)
	h.report.note("memory: %d MiB before, %d MiB at most.", before/1024, after/1024)
	var ends []string
	for _, name := range slices.Sorted(maps.Keys(figures)) {
		if strings.HasPrefix(name, "link_refused_total{") || strings.HasPrefix(name, "link_closed_total{") {
			if figures[name] > 0 {
				ends = append(ends, fmt.Sprintf("%s %.0f", name, figures[name]))
			}
		}
	}
	h.report.note("how connections ended: %s.", strings.Join(ends, "; "))
}

// walkGently uses accounts at the rate of what is measured, so that they are in memory.
func (h *hostile) walkGently(ctx context.Context, rate float64) (Loaded, error) {
	seen, err := h.house.generate(ctx, h.durable, Load{Conns: h.opts.Conns, Depth: 256, Rate: rate, Answers: answersToJournal})
	h.answered += seen.Answered
	return seen, err
}

// attack measures the legitimate load while the attack is on.
func (h *hostile) attack(ctx context.Context, legitimate Load) (seen Attacked, err error) {
	// The attack begins before what is measured does, and ends after it.
	lead := min(15*time.Second, 3*h.opts.Duration)
	attack := Attack{
		Address: h.durable.address, Dialect: h.opts.Dialect, Conns: h.opts.Attackers, Floods: h.opts.Floods, Flood: max(floodRate, 2*h.most),
		Sources: 10, Duration: lead + time.Duration(h.opts.Rounds)*(h.opts.Duration*6/5+time.Second), Seed: 1,
	}
	ctx, cancel := context.WithCancel(ctx)
	attacked := make(chan error, 1)
	go func() { attacked <- h.opts.Program.ask(ctx, "attackers", attack, &seen, "bench", "attack") }()
	wait := func() error {
		select {
		case err := <-attacked:
			return err
		case <-ctx.Done():
			return errors.Join(ctx.Err(), <-attacked)
		}
	}
	defer cancel()
	if err := until(ctx, lead); err != nil {
		return seen, errors.Join(err, wait())
	}
	for round := range h.opts.Rounds {
		h.opts.Progress(fmt.Sprintf("round %d of %d: %s", round+1, h.opts.Rounds, lineAttacked), h.opts.Duration*6/5)
		load := legitimate
		load.Tolerant, load.Answers = true, answersToJournal // What is declined is counted, and fails the check.
		loaded, err := h.house.generate(ctx, h.durable, load)
		if err != nil {
			cancel()
			return seen, errors.Join(err, wait())
		}
		h.answered += loaded.Approved
		h.failed += loaded.Answered - loaded.Approved + loaded.Unanswered
		h.rounds[lineAttacked] = append(h.rounds[lineAttacked], loaded.Measurement)
	}
	return seen, wait()
}

// Overload is asked for with so many requests in flight on each connection. What goes at
// most is measured with fullDepth, several groups of the ledger's: what is answered grows
// with the groups, and more than the ledger's queue has room for would be declined.
const (
	overloadDepth = 4096
	fullDepth     = 512
)

// Bounds of the switch that sheds: the answers of one group are older than the default's
// target on a slow disk, and a short run has to see both.
const (
	overloadTarget   = 100 * time.Millisecond
	overloadInterval = 200 * time.Millisecond
)

// overloaded asks for more than can be answered, of a switch that sheds and of one that
// does not. What goes at most is measured in each round anew, next to that.
func (h *hostile) overloaded(ctx context.Context) error {
	full := Load{Conns: h.opts.Conns, Depth: fullDepth}
	var shares []float64
	for round := range h.opts.Rounds {
		if err := h.crowded(ctx, "0s"); err != nil {
			return err
		}
		if err := h.measure(ctx, lineFull, round, h.durable, full); err != nil {
			return err
		}
		most := h.rounds[lineFull][round].PerSecond
		load := Load{Conns: h.opts.Conns, Depth: overloadDepth, Rate: math.Round(1.5 * most), Tolerant: true, ApprovedOnly: true}
		if err := h.measure(ctx, lineUnshed, round, h.durable, load); err != nil {
			return err
		}
		if err := h.durable.stop(); err != nil {
			return err
		}
		if err := h.crowded(ctx, overloadTarget.String(), "switch.shed_interval="+overloadInterval.String()); err != nil {
			return err
		}
		if err := h.measure(ctx, lineShed, round, h.durable, load); err != nil {
			return err
		}
		shares = append(shares, ratio(h.rounds[lineShed][round].PerSecond, most))
		figures, err := app.Figures(ctx, h.durable.http)
		if err != nil {
			return err
		}
		h.report.note("round %d: 1.5 times as much was %.0f/s; the switch that sheds turned away %.0f.", round+1, load.Rate, figures["lianfen_requests_shed_total"])
		// Who is turned away has waited in the generator, in sockets and for the reading goroutine, as
		// everybody has; what an approval takes longer is the ledger's queue.
		if shed := &h.rounds[lineShed][round]; shed.Declined > 0 {
			l := &shed.DeclinedLatency
			h.report.note("round %d: it told %.0f/s to try again, p50 %.0f ms and p99 %.0f ms after they were due; approved were %.0f/s, p50 %.0f ms, p99 %.0f ms.", round+1,
				shed.Declined, l.P50/1000, l.P99/1000, shed.PerSecond, shed.Latency.P50/1000, shed.Latency.P99/1000)
		}
		if err := h.durable.stop(); err != nil {
			return err
		}
	}
	h.line(lineFull)
	h.line(lineUnshed)
	line := h.line(lineShed)
	h.check(atLeast("approved at 1.5 times as much as goes, against that", round3(medianOf(shares)), "times", targetGoodput))
	h.check(atMost("p99 of what is approved then", math.Round(line.Latency.P99/1000), "ms", targetShedP99))
	return nil
}

// crowded starts a switch that lets overloadDepth requests in, and has each account in
// memory: reading accounts from disk is not the overload.
func (h *hostile) crowded(ctx context.Context, target string, sets ...string) (err error) {
	depth := fmt.Sprintf(".max_in_flight=%d", overloadDepth)
	sets = append(sets, "switch.shed_target="+target, "listeners.pos"+depth, "listeners.host"+depth)
	if h.durable, err = h.house.serve(ctx, "durable", []string{"serve"}, sets...); err != nil {
		return err
	}
	seen, err := h.house.generate(ctx, h.durable, Load{
		Accounts: h.opts.Accounts, Conns: h.opts.Conns, Depth: 2, Walk: true, Duration: walkTime, Answers: answersToJournal, Tolerant: true,
	})
	h.answered += seen.Approved
	return err
}
