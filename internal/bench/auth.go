package bench

import (
	"cmp"
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
	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/ledger/book"
)

// Targets of the full path; docs/performance.md says where they come from.
const (
	targetPerSecond = 200_000 // durable authorisations
	targetVolatile  = 0.6     // of the same switch with nothing made durable
	targetEcho      = 0.6     // of an echo, one request in flight on each of many connections
	targetHot       = 0.9     // of members at random
	targetMAC       = 0.75    // of the same switch without MACs
	targetP99       = 6       // times the disk's own flush
	targetP999      = 10
	targetBytes     = 400 // written for each authorisation
	targetRecovery  = 1_000_000
	targetMemory    = 160 // bytes for each cached account
)

// AuthOptions say what authorisations are measured with.
type AuthOptions struct {
	Program  Program
	Clock    Clock
	Progress Progress
	Dir      string // where the temporary folder is made; "": the system's
	Keep     bool   // the temporary folder, with store and logs

	TLS bool // the switch is spoken to over mutual TLS, and so is an issuer's host; the echo is not
	// MAC measures a host, or terminals, with MACs too, beside those without; then only the
	// former speak TLS. MACBy is what terminals make them by.
	MAC       bool
	MACBy     book.MAC
	Dialect   string
	Conns     int
	Depth     int // requests in flight on each of Conns
	Terminals int // connections of the terminal pattern, one request in flight each
	Accounts  uint64
	Hot       bool    // measure a single hot account too
	Rate      float64 // of the open loop; 0: half of what was measured
	Duration  time.Duration
	Rounds    int
	Recovery  uint64 // journal records behind the last checkpoint at the kill; 0: no kill
	Profile   string // where the durable switch writes its CPU profile of the rounds; "": nowhere
}

// signing is how many terminals sign on for keys.
func (o *AuthOptions) signing() int {
	if !o.MAC || o.Dialect == string(config.DialectHost) {
		return 0
	}
	return o.Conns
}

// auth is one run.
type auth struct {
	opts   AuthOptions
	report *Report
	house  *house

	durable, volatile, echo *daemon

	rounds   map[string][]Measurement
	answered uint64  // by the durable switch
	behind   float64 // the largest part of a turn's records that was not in the index of statements at its end
}

// serving is the command of the durable switch that the rounds measure.
func (a *auth) serving() []string {
	if a.opts.Profile == "" {
		return []string{"serve"}
	}
	return []string{"serve", "--cpu-profile", a.opts.Profile}
}

// Lines of the report.
const (
	lineEcho         = "echo of the same frames"
	lineDurable      = "switch, durable"
	lineVolatile     = "switch, store off"
	lineHot          = "switch, durable, one hot account"
	lineMAC          = "switch, durable, with MACs"
	lineEchoWide     = "echo, terminals"
	lineDurableWide  = "switch, durable, terminals"
	lineFlush        = "disk: append 4 KiB and fsync"
	lineOpen         = "switch, durable, open loop"
	answersToJournal = "a-journal" // Any name: [house.generate] makes the file's.
)

// Auth measures authorisations over TCP. The error says that the run itself came to
// nothing; that targets were missed is in the report.
func Auth(ctx context.Context, opts AuthOptions) (_ *Report, err error) {
	dir, err := os.MkdirTemp(opts.Dir, "lianfen-bench-")
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	a := &auth{opts: opts, report: newReport("auth"), rounds: map[string][]Measurement{}}
	if opts.Keep {
		a.report.Kept = dir
	} else {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	defer func() {
		for _, d := range []*daemon{a.durable, a.volatile, a.echo} {
			if d != nil {
				err = errors.Join(err, d.kill()) // One that has been stopped is gone already.
			}
		}
	}()
	if err := a.run(ctx, dir); err != nil {
		return nil, err
	}
	return a.report, nil
}

func (a *auth) run(ctx context.Context, dir string) error {
	a.opts.Progress(fmt.Sprintf("furnishing %d accounts", a.opts.Accounts), time.Duration(a.opts.Accounts)*20*time.Microsecond) //nolint:gosec // at most MaxAccounts.
	var err error
	if a.house, err = newHouse(ctx, dir, a.opts, ""); err != nil {
		return err
	}
	if err := a.memory(); err != nil {
		return err
	}
	if err := a.start(ctx); err != nil {
		return err
	}
	before, err := a.written(ctx)
	if err != nil {
		return err
	}
	earlier := a.answered
	if err := a.closedLoops(ctx); err != nil {
		return err
	}
	if err := a.openLoop(ctx); err != nil {
		return err
	}
	after, err := a.written(ctx)
	if err != nil {
		return err
	}
	a.report.note("at the end of a turn of the durable switch, at most %.0f %% of its records were still to be put into the index of statements.", 100*a.behind)
	answered := float64(a.answered - earlier)
	a.check(atMost("written for each authorisation: log, flush, compaction, checkpoint, index", math.Round(after.store.since(before.store).sum()/answered), "bytes", targetBytes))
	a.report.note("of these bytes: %s.", after.store.since(before.store).per(answered))
	a.report.note("the kernel counted %.0f bytes written for each authorisation, in whole pages (write_bytes).", float64(after.kernel-before.kernel)/answered)
	if err := errors.Join(a.volatile.stop(), a.echo.stop()); err != nil {
		return err
	}
	if err := a.recovery(ctx); err != nil {
		return err
	}
	return a.journal(ctx)
}

// start starts echo and switches. The volatile switch comes first: it copies the
// store while nobody writes to it.
func (a *auth) start(ctx context.Context) (err error) {
	a.opts.Progress("starting the processes", time.Second)
	if a.volatile, err = a.house.serve(ctx, "volatile", []string{"bench", "forget"}); err != nil {
		return err
	}
	if a.durable, err = a.house.serve(ctx, "durable", a.serving()); err != nil {
		return err
	}
	if a.echo, err = a.house.echo(ctx); err != nil {
		return err
	}
	for _, d := range []*daemon{a.volatile, a.durable} {
		seen, err := a.walk(ctx, d, a.opts.Accounts)
		if err != nil {
			return err
		}
		if d == a.durable {
			a.report.note("the first use of each account after a start, which reads it from the store: %.0f authorisations per second at %.1f µs of CPU.", seen.PerSecond, seen.ServerCPU)
		}
	}
	return nil
}

// walkTime bounds a walk.
const walkTime = time.Hour

// walk lets d use each of the first accounts once, so that they are in memory when
// they are measured.
func (a *auth) walk(ctx context.Context, d *daemon, accounts uint64) (Loaded, error) {
	a.opts.Progress(fmt.Sprintf("%s: using each of %d accounts once", d.name, accounts), time.Duration(accounts)*80*time.Microsecond) //nolint:gosec // at most MaxAccounts.
	load := Load{Accounts: accounts, Conns: a.opts.Conns, Depth: a.opts.Depth, Walk: true, Duration: walkTime}
	if d == a.durable {
		load.Answers = answersToJournal
	}
	seen, err := a.house.generate(ctx, d, load)
	if err != nil {
		return seen, err
	}
	if seen.Answered != accounts {
		return seen, fmt.Errorf("bench: %d requests for %d accounts", seen.Answered, accounts)
	}
	if d == a.durable {
		a.answered += seen.Answered
	}
	return seen, nil
}

// memory takes what cached accounts cost.
func (a *auth) memory() error {
	accounts := min(a.opts.Accounts, weighedAccounts)
	a.opts.Progress(fmt.Sprintf("weighing %d accounts", accounts), time.Duration(accounts)*5*time.Microsecond)
	account, member, err := weigh(accounts)
	if err != nil {
		return err
	}
	a.check(atMost("memory for each cached account", math.Round(account), "bytes", targetMemory))
	a.report.note("a member in memory takes %.0f bytes more, card included.", member)
	return nil
}

// closedLoops measures everything that goes as fast as it can, in turns.
func (a *auth) closedLoops(ctx context.Context) error {
	wide, narrow := Load{Conns: a.opts.Terminals, Depth: 1}, Load{Conns: a.opts.Conns, Depth: a.opts.Depth}
	hot := narrow
	hot.Hot = true
	signed := narrow
	if a.opts.MAC {
		signed.Keys = a.house.dir
	}
	for round := range a.opts.Rounds {
		for _, turn := range []struct {
			line string
			side *daemon
			load Load
			skip bool
		}{
			{lineEcho, a.echo, narrow, false},
			{lineDurable, a.durable, narrow, false},
			{a.signedLine(), a.durable, signed, !a.opts.MAC},
			{lineVolatile, a.volatile, narrow, false},
			{lineHot, a.durable, hot, !a.opts.Hot},
			{lineEchoWide, a.echo, wide, false},
			{lineDurableWide, a.durable, wide, false},
		} {
			if turn.skip {
				continue
			}
			if err := a.measure(ctx, turn.line, round, turn.side, turn.load); err != nil {
				return err
			}
		}
	}
	echo, durable, volatile := a.line(lineEcho), a.line(lineDurable), a.line(lineVolatile)
	a.check(atLeast("durable authorisations", math.Round(durable.PerSecond), "per second", targetPerSecond))
	a.check(atLeast("durable against store off", round3(ratio(durable.PerSecond, volatile.PerSecond)), "times", targetVolatile))
	if a.opts.MAC {
		signed := a.line(a.signedLine())
		a.check(atLeast(a.signedLine()+", against without", round3(ratio(signed.PerSecond, durable.PerSecond)), "times", targetMAC))
		a.report.note("MACs, made and verified by both sides, take %.2f µs of the server's CPU for each authorisation.", signed.ServerCPU-durable.ServerCPU)
	}
	if a.opts.Hot {
		hot := a.line(lineHot)
		a.check(atLeast("one hot account against members at random", round3(ratio(hot.PerSecond, durable.PerSecond)), "times", targetHot))
	}
	echoWide, durableWide := a.line(lineEchoWide), a.line(lineDurableWide)
	a.check(atLeast("terminals, one request in flight each, against echo", round3(ratio(durableWide.PerSecond, echoWide.PerSecond)), "times", targetEcho))
	a.report.note("a durable authorisation is %.2f times the server CPU of an echo, and %.2f times the rate.",
		ratio(durable.ServerCPU, echo.ServerCPU), ratio(durable.PerSecond, echo.PerSecond))
	return nil
}

// signedLine is the line of the host with MACs.
func (a *auth) signedLine() string {
	if a.opts.TLS {
		return lineMAC + " and mutual TLS"
	}
	return lineMAC
}

// measure is one turn of a line.
func (a *auth) measure(ctx context.Context, line string, round int, side *daemon, load Load) error {
	a.opts.Progress(fmt.Sprintf("round %d of %d: %s, %d connections of %d", round+1, a.opts.Rounds, line, load.Conns, load.Depth), a.opts.Duration*6/5)
	load.Echo = side == a.echo
	if side == a.durable {
		load.Answers = answersToJournal
	}
	before, err := side.rest(ctx)
	if err != nil {
		return err
	}
	seen, err := a.house.generate(ctx, side, load)
	if err != nil {
		return err
	}
	after, err := side.progress(ctx)
	if err != nil {
		return err
	}
	seen.Group = ratio(after.records-before.records, after.groups-before.groups)
	if side == a.durable {
		a.answered += seen.Answered
		if load.Tolerant { // Only approvals are kept.
			a.answered -= seen.Answered - seen.Approved
		}
		a.behind = max(a.behind, after.behind/float64(seen.Answered))
	}
	a.rounds[line] = append(a.rounds[line], seen.Measurement)
	return nil
}

// line adds the median of a line to the report.
func (a *auth) line(name string) Measurement {
	m := median(name, a.rounds[name])
	a.report.Measurements = append(a.report.Measurements, m)
	return m
}

func (a *auth) check(c Check) { a.report.Checks = append(a.report.Checks, c) }

// round3 is v to three decimals, as it is shown and judged.
func round3(v float64) float64 { return math.Round(v*1000) / 1000 }

// openLoop measures latency at a fixed rate, with the disk's own flush in turns.
func (a *auth) openLoop(ctx context.Context) error {
	rate := a.opts.Rate
	if rate == 0 {
		rate = math.Round(median("", a.rounds[lineDurable]).PerSecond / 2)
	}
	for round := range a.opts.Rounds {
		a.opts.Progress(fmt.Sprintf("round %d of %d: the disk's own flush", round+1, a.opts.Rounds), a.opts.Duration/2)
		flush, err := Flush(ctx, a.house.dir, a.opts.Duration/2, a.opts.Clock)
		if err != nil {
			return err
		}
		a.rounds[lineFlush] = append(a.rounds[lineFlush], flush)
		if err := a.measure(ctx, lineOpen, round, a.durable, Load{Conns: a.opts.Conns, Depth: max(256, a.opts.Depth), Rate: rate}); err != nil {
			return err
		}
	}
	flush, open := a.line(lineFlush), a.line(lineOpen)
	name := fmt.Sprintf("open loop at %.0f/s", rate)
	a.check(atLeast(name+": share of what fell due that was answered in the window", round3(ratio(open.PerSecond, rate)), "times", 0.95))
	a.check(atMost(name+": p99 against the disk's flush", round3(ratio(open.Latency.P99, flush.Latency.P99)), "times", targetP99))
	a.check(atMost(name+": p99.9 against the disk's flush", round3(ratio(open.Latency.P999, flush.Latency.P999)), "times", targetP999))
	return nil
}

// writing is how much a switch has written so far.
type writing struct {
	store  causes
	kernel uint64 // whole pages
}

// causes is how many bytes the store has written, as it counts: to its log, and in
// tables by how they came and whose keys are in them.
type causes map[string]float64

func (c causes) since(earlier causes) causes {
	since := causes{}
	for cause, bytes := range c {
		since[cause] = bytes - earlier[cause]
	}
	return since
}

func (c causes) sum() (sum float64) {
	for _, bytes := range c {
		sum += bytes
	}
	return sum
}

// per names the causes that come to half a byte and more of each of count, the
// greatest first.
func (c causes) per(count float64) string {
	var parts []string
	for _, cause := range slices.SortedFunc(maps.Keys(c), func(a, b string) int { return cmp.Or(cmp.Compare(c[b], c[a]), cmp.Compare(a, b)) }) {
		if each := c[cause] / count; each >= 0.5 {
			parts = append(parts, fmt.Sprintf("%s %.0f", cause, each))
		}
	}
	return strings.Join(parts, ", ")
}

// causesIn finds in the figures of a switch what its store has written.
func causesIn(figures map[string]float64) (causes, error) {
	const log = "lianfen_store_wal_bytes_total"
	found := causes{}
	for name, value := range figures {
		if name == log {
			found["log"] = value
			continue
		}
		labels, ok := strings.CutPrefix(name, "lianfen_store_table_bytes_total{by=\"")
		if by, of, cut := strings.Cut(labels, "\",of=\""); ok && cut {
			found[by+" of "+strings.TrimSuffix(of, "\"}")] = value
		}
	}
	if _, ok := found["log"]; !ok || len(found) < 2 {
		return nil, errors.New("bench: the switch does not tell what its store has written")
	}
	return found, nil
}

func (a *auth) written(ctx context.Context) (w writing, err error) {
	figures, err := app.Figures(ctx, a.durable.http)
	if err != nil {
		return w, err
	}
	if w.store, err = causesIn(figures); err != nil {
		return w, err
	}
	w.kernel, err = procField(a.durable.PID(), "io", "write_bytes")
	return w, err
}

// recovery lets the switch write records without a checkpoint, kills it, and takes
// the time until it is back.
func (a *auth) recovery(ctx context.Context) error {
	if a.opts.Recovery == 0 {
		return nil
	}
	if err := a.durable.stop(); err != nil { // In order: with a checkpoint.
		return err
	}
	noCheckpoints := []string{"ledger.checkpoint_every=100000000", "ledger.checkpoint_interval=1h"}
	var err error
	if a.durable, err = a.house.serve(ctx, "durable", []string{"serve"}, noCheckpoints...); err != nil {
		return err
	}
	empty := a.durable.opening
	written := uint64(0)
	// Nothing is in memory yet, so it begins slowly and each run is told how the one before was.
	perSecond := max(1, median("", a.rounds[lineDurable]).PerSecond)
	for written < a.opts.Recovery {
		about := time.Duration(float64(a.opts.Recovery-written) / perSecond * float64(time.Second))
		a.opts.Progress(fmt.Sprintf("recovery: writing %d records", a.opts.Recovery-written), about)
		seen, err := a.house.generate(ctx, a.durable, Load{
			Conns: a.opts.Conns, Depth: a.opts.Depth, Answers: answersToJournal, Duration: max(about, 50*time.Millisecond),
		})
		if err != nil {
			return err
		}
		written += seen.Answered
		a.answered += seen.Answered
		perSecond = max(1, seen.PerSecond)
	}
	if err := a.durable.kill(); err != nil {
		return err
	}
	a.opts.Progress("recovery: starting again after kill -9", time.Duration(float64(written)/targetRecovery*float64(time.Second)))
	if a.durable, err = a.house.serve(ctx, "durable", []string{"serve"}, noCheckpoints...); err != nil {
		return err
	}
	took := a.durable.opening
	a.check(atLeast(fmt.Sprintf("recovery of %d records after kill -9", written), math.Round(float64(written)/took.Seconds()), "records per second", targetRecovery))
	a.report.note("the start after kill -9 took %v until the switch was ready; without records to replay it took %v.", took.Round(time.Millisecond), empty.Round(time.Millisecond))
	return nil
}

// journal stops the switch and looks every answer up.
func (a *auth) journal(ctx context.Context) error {
	if err := a.durable.stop(); err != nil {
		return err
	}
	if count, last := a.durable.warnings(); count > 0 {
		a.report.note("the durable switch warned %d times, at last: %s", count, last)
	}
	a.opts.Progress("looking up every answer in the journal", time.Duration(a.answered)*time.Microsecond) //nolint:gosec // millions.
	t, err := a.house.check(ctx)
	if err != nil {
		return err
	}
	a.check(none(fmt.Sprintf("of %d approved answers, those that are not in the journal exactly once", t.Answers), t.wrong(), "answers"))
	a.check(none(fmt.Sprintf("of %d approved redemptions in the journal, those beyond the answers", t.Approved), difference(t.Approved, t.Answers), "records"))
	if t.Answers != a.answered {
		return fmt.Errorf("bench: the generators were answered %d times and kept %d answers", a.answered, t.Answers)
	}
	a.report.note("journal: %d approved answers, %d found at the position that they named, %d missing, %d doubled, %d not told to anybody.",
		t.Answers, t.Found, t.Missing, t.Doubled, t.Strange)
	return nil
}

func difference(a, b uint64) uint64 { return max(a, b) - min(a, b) }

// Echo measures the floor alone: frames that are sent back unread. Of opts, what is
// about the switch is not looked at.
func Echo(ctx context.Context, opts AuthOptions) (_ *Report, err error) {
	dir, err := os.MkdirTemp(opts.Dir, "lianfen-bench-")
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	a := &auth{opts: opts, report: newReport("echo"), rounds: map[string][]Measurement{}}
	a.house = &house{opts: opts, dir: dir, next: 1, base: opts.Clock()}
	if a.echo, err = a.house.echo(ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, a.echo.kill()) }()
	for round := range opts.Rounds {
		if err := a.measure(ctx, lineEcho, round, a.echo, Load{Conns: opts.Conns, Depth: opts.Depth, Rate: opts.Rate}); err != nil {
			return nil, err
		}
		if err := a.measure(ctx, lineEchoWide, round, a.echo, Load{Conns: opts.Terminals, Depth: 1}); err != nil {
			return nil, err
		}
	}
	a.line(lineEcho)
	a.line(lineEchoWide)
	return a.report, a.echo.stop()
}
