package bench

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
)

// Targets of the path to an issuer's own host.
const (
	targetRemote    = 60_000 // authorisations a second
	targetRemoteCPU = 40     // of the switch for each of them, in microseconds
)

// MostFaulty is the most of [RemoteOptions].Faulty: seven faults share what happens.
const MostFaulty = 14.0

// RemoteOptions say what authorisations by an issuer's own host are measured with.
type RemoteOptions struct {
	AuthOptions
	Links  int     // connections to the issuer
	Faulty float64 // percent of messages that meet each fault of the issuer that misbehaves; 0: there is none
}

// Lines of the report.
const (
	lineRemote     = "switch, remote issuer"
	lineRemoteOpen = "switch, remote issuer, open loop"
	lineFaulty     = "switch, issuer that misbehaves"
)

// remote is one run.
type remote struct {
	auth

	opts   RemoteOptions
	issuer *daemon
}

// Remote measures authorisations that an issuer's own host decides: first one that
// approves at once, then one that misbehaves.
func Remote(ctx context.Context, opts RemoteOptions) (_ *Report, err error) {
	dir, err := os.MkdirTemp(opts.Dir, "lianfen-bench-")
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	r := &remote{opts: opts, auth: auth{opts: opts.AuthOptions, report: newReport("remote"), rounds: map[string][]Measurement{}}}
	if opts.Keep {
		r.report.Kept = dir
	} else {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	defer func() {
		for _, d := range []*daemon{r.durable, r.issuer, r.echo} {
			if d != nil {
				err = errors.Join(err, d.kill()) // One that has been stopped is gone already.
			}
		}
	}()
	if r.house, err = newHouse(ctx, dir, opts.AuthOptions, worldLink); err != nil {
		return nil, err
	}
	for _, part := range []func(context.Context) error{r.quick, r.misbehaving, r.journal} {
		if err := part(ctx); err != nil {
			return nil, err
		}
	}
	return r.report, nil
}

// quick measures with an issuer that approves at once, so that what is measured is the
// switch.
func (r *remote) quick(ctx context.Context) (err error) {
	if r.issuer, err = r.house.listening(ctx, "issuer", append([]string{"bench", "approve"}, r.shown()...)...); err != nil {
		return err
	}
	if r.echo, err = r.house.echo(ctx); err != nil {
		return err
	}
	if err := r.serve(ctx, r.serving()); err != nil {
		return err
	}
	narrow := Load{Conns: r.opts.Conns, Depth: r.opts.Depth}
	for round := range r.opts.Rounds {
		if err := r.measure(ctx, lineEcho, round, r.echo, narrow); err != nil {
			return err
		}
		if err := r.measure(ctx, lineRemote, round, r.durable, narrow); err != nil {
			return err
		}
	}
	rate := r.opts.Rate
	if rate == 0 {
		rate = math.Round(median("", r.rounds[lineRemote]).PerSecond / 2)
	}
	for round := range r.opts.Rounds {
		if err := r.measure(ctx, lineRemoteOpen, round, r.durable, Load{Conns: r.opts.Conns, Depth: max(256, r.opts.Depth), Rate: rate}); err != nil {
			return err
		}
	}
	echo, line := r.line(lineEcho), r.line(lineRemote)
	r.line(lineRemoteOpen)
	r.check(atLeast("authorisations by an issuer's own host", math.Round(line.PerSecond), "per second", targetRemote))
	r.check(atMost("CPU of the switch for each of them", round3(line.ServerCPU), "µs", targetRemoteCPU))
	r.report.note("an authorisation by an issuer's own host is %.1f times the server CPU of an echo.", ratio(line.ServerCPU, echo.ServerCPU))
	return errors.Join(r.durable.stop(), r.issuer.stop(), r.echo.stop())
}

// shown is what tells the issuer's host to speak TLS, where it is to.
func (r *remote) shown() []string {
	if !r.opts.TLS {
		return nil
	}
	return []string{"--tls-cert", r.house.issuer, "--tls-ca", r.house.trust()}
}

// serve starts the switch with its link to the issuer, and waits until that is up.
func (r *remote) serve(ctx context.Context, command []string, sets ...string) (err error) {
	link := "links." + worldLink + "."
	if r.opts.TLS {
		sets = append(sets, link+"tls=mutual")
	}
	// The bound is on what a connection may wait for; the generator keeps its own depth.
	r.durable, err = r.house.serve(ctx, "durable", command, append([]string{
		link + "dial=" + r.issuer.address, fmt.Sprintf("%sconnections=%d", link, r.opts.Links), link + "max_in_flight=65536",
	}, sets...)...)
	if err != nil {
		return err
	}
	return r.linked(ctx)
}

// linked waits until a connection to the issuer is up.
func (r *remote) linked(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		states, err := r.durable.client.Links(ctx)
		if err != nil {
			return err
		}
		for _, state := range states {
			if state.State == "up" {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-r.durable.ended():
			return r.durable.failure()
		case <-ctx.Done():
			return fmt.Errorf("bench: no connection to the issuer: %w", ctx.Err())
		}
	}
}

// What the misbehaving issuer is like, and how the switch deals with it: times are
// short, so that a run sees each fault and what follows from it.
const (
	faultyDeadline = 300 * time.Millisecond
	faultyDelay    = 50 * time.Millisecond
	faultyLate     = 600 * time.Millisecond
	faultyConns    = 4
	faultyDepth    = 8
	faultyCards    = 200
)

// misbehaving sends load while the issuer loses, delays, doubles and garbles, and
// wants every request answered and nothing owed in the end.
func (r *remote) misbehaving(ctx context.Context) (err error) {
	if r.opts.Faulty == 0 {
		return nil
	}
	if r.issuer, err = r.simulated(ctx); err != nil {
		return err
	}
	link := "links." + worldLink + "."
	if err := r.serve(ctx, []string{"serve"}, link+"deadline="+faultyDeadline.String(), link+"redial=10ms", link+"redial_most=50ms",
		link+"breaker_failures=100", link+"breaker_rest=20ms", link+"retry=50ms,100ms", link+"retry_in_flight=64"); err != nil {
		return err
	}
	seen, err := r.house.generate(ctx, r.durable, Load{
		Conns: min(r.opts.Conns, faultyConns), Depth: min(r.opts.Depth, faultyDepth), Accounts: faultyCards, Tolerant: true, Answers: answersToJournal,
	})
	if err != nil {
		return err
	}
	r.answered += seen.Approved
	r.rounds[lineFaulty] = []Measurement{seen.Measurement}
	r.line(lineFaulty)
	var declined []string
	for code, count := range seen.Declined {
		declined = append(declined, fmt.Sprintf("%s: %d", code, count))
	}
	slices.Sort(declined)
	r.report.note("of %d requests to the issuer that misbehaves, %d were approved; others, by DE39, %s.", seen.Answered, seen.Approved, strings.Join(declined, ", "))
	r.check(none(fmt.Sprintf("of %d requests, with %v %% of each fault, those without an answer", seen.Answered+seen.Unanswered, r.opts.Faulty), seen.Unanswered, "requests"))
	owed, err := r.settled(ctx)
	if err != nil {
		return err
	}
	r.check(none("reversals still owed to that issuer in the end", owed, "reversals"))
	return nil
}

// simulated starts the issuer's simulator, with a book of its own and every fault.
func (r *remote) simulated(ctx context.Context) (*daemon, error) {
	accounts := new(strings.Builder)
	accounts.WriteString("accounts:\n")
	for member := range uint64(faultyCards) {
		pan, err := worldCard(member + 1)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(accounts, "  - {card: \"%s\", program: %d, balance: %d}\n", pan.AppendDigits(nil), worldProgram, worldFunds)
	}
	file := filepath.Join(r.house.dir, "accounts.yaml")
	if err := os.WriteFile(file, []byte(accounts.String()), 0o600); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	rate := r.opts.Faulty
	faults := fmt.Sprintf("delay=%v%%:%v,lose=%v%%,drop=%v%%,late=%v%%:%v,wrong-amount=%v%%,disconnect=%v%%,duplicate=%v%%",
		rate, faultyDelay, rate, rate, rate, faultyLate, rate, rate, rate)
	log := filepath.Join(r.house.dir, "simulated.log")
	child, err := r.opts.Program.start(ctx, "simulated", log, nil, append([]string{
		"issuer", "--listen", "127.0.0.1:0", "--id", strconv.FormatUint(uint64(worldIssuer), 10), "--accounts", file, "--faults", faults,
	}, r.shown()...)...)
	if err != nil {
		return nil, err
	}
	d := &daemon{Child: child}
	d.address, err = d.said(ctx, "msg=listening address=")
	return d, err
}

// settled waits until the issuer is owed nothing, for a while, and returns what it is
// owed then.
func (r *remote) settled(ctx context.Context) (owed uint64, err error) {
	r.opts.Progress("waiting until the issuer is owed nothing", time.Second)
	end := r.opts.Clock().Add(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		owed, err = r.owed(ctx)
		if err != nil || owed == 0 || r.opts.Clock().After(end) {
			return owed, err
		}
		select {
		case <-tick.C:
		case <-r.durable.ended():
			return owed, r.durable.failure()
		case <-ctx.Done():
			return owed, fmt.Errorf("bench: what is owed: %w", ctx.Err())
		}
	}
}

func (r *remote) owed(ctx context.Context) (uint64, error) {
	all, err := r.durable.client.Owed(ctx)
	return uint64(len(all)), err
}

// Approve is an issuer's host that approves whatever is asked, at once, and remembers
// nothing: what is measured in front of it is the switch. It returns when ctx ends,
// having closed ln.
func Approve(ctx context.Context, ln net.Listener) error {
	return serveFrames(ctx, ln, func() answerer {
		a := approver{dialect: dialect.Host()}
		return a.answer
	})
}

// approver answers one connection.
type approver struct {
	dialect *dialect.Dialect
	frame   []byte
	count   points.Position
}

func (a *approver) answer(dst []byte, in *bufio.Reader) (_ []byte, err error) {
	if a.frame, err = appendFrame(a.frame[:0], in); err != nil {
		return dst, err
	}
	var req points.Request
	if err := a.dialect.Decode(a.frame[prefixSize:], &req); err != nil {
		return dst, fmt.Errorf("approve: %w", err)
	}
	resp := points.Response{Reason: points.Approved, Amount: req.Amount}
	if req.Class == points.ClassFinancial {
		a.count++
		resp.Issuer, resp.Program, resp.AuthCode, resp.Used = worldIssuer, req.Program, a.count.AuthCode(), req.Amount
		resp.AddBalance(points.Balance54{Kind: points.AvailableBalance, Program: req.Program, Amount: worldFunds})
		resp.AddBalance(points.Balance54{Kind: points.LedgerBalance, Program: req.Program, Amount: worldFunds})
	}
	at := len(dst)
	dst = a.dialect.AppendResponse(append(dst, 0, 0), &req, &resp)
	binary.BigEndian.PutUint16(dst[at:], uint16(len(dst)-at-prefixSize)) //nolint:gosec // at most dialect.MaxFrame.
	return dst, nil
}
