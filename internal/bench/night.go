package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// targetBeside is how much later the slowest hundredth of the answers may come while a
// night runs.
const targetBeside = 1.2

// NightOptions say what a night is measured beside.
type NightOptions struct {
	AuthOptions        // Rate is that of the open loop
	Items       uint64 // of the cycle that is settled
	Workers     int    // goroutines that compute the run
}

// Lines of the report.
const (
	lineQuiet = "open loop, quiet"
	lineNight = "open loop, a night beside it"
)

// nightRun is one run.
type nightRun struct {
	auth
	items   uint64
	workers int
	date    points.BusinessDate
	spent   time.Duration // in runs of the night
	runs    int
}

// Night measures authorisations at a fixed rate, with and without a settlement run in the
// same switch, in turns, and looks every answer up in the journal.
func Night(ctx context.Context, opts NightOptions) (_ *Report, err error) {
	dir, err := os.MkdirTemp(opts.Dir, "lianfen-bench-")
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	n := &nightRun{auth: auth{opts: opts.AuthOptions, report: newReport("night"), rounds: map[string][]Measurement{}}, items: opts.Items, workers: opts.Workers}
	if opts.Keep {
		n.report.Kept = dir
	} else {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	defer func() {
		if n.durable != nil {
			err = errors.Join(err, n.durable.kill()) // One that has been stopped is gone already.
		}
	}()
	if err := n.prepare(ctx, dir); err != nil {
		return nil, err
	}
	if err := n.measure(ctx); err != nil {
		return nil, err
	}
	n.judge()
	return n.report, n.journal(ctx)
}

// prepare furnishes a store some time ago, so that its rates are in force, starts the
// switch and fills a cycle.
func (n *nightRun) prepare(ctx context.Context, dir string) (err error) {
	n.opts.Progress(fmt.Sprintf("furnishing %d accounts", n.opts.Accounts), time.Duration(n.opts.Accounts)*20*time.Microsecond) //nolint:gosec // at most MaxAccounts.
	earlier := n.opts
	earlier.Clock = func() time.Time { return n.opts.Clock().Add(-3 * time.Duration(tariff.LeadTime) * time.Microsecond) }
	if n.house, err = newHouse(ctx, dir, earlier, ""); err != nil {
		return err
	}
	if err := n.rates(ctx, earlier.Clock); err != nil {
		return err
	}
	n.house.opts, n.house.base = n.opts, n.opts.Clock()
	if n.durable, err = n.house.serve(ctx, "durable", n.serving(), "settlement.twin=false", fmt.Sprintf("settlement.workers=%d", n.workers)); err != nil {
		return err
	}
	if err := n.endCycle(ctx); err != nil { // Points were granted in it before there was a rate.
		return err
	}
	if _, err := n.walk(ctx, n.durable, n.opts.Accounts); err != nil {
		return err
	}
	n.opts.Progress(fmt.Sprintf("filling a cycle with %d items", n.items), time.Duration(n.items)*10*time.Microsecond) //nolint:gosec // some millions.
	for begun := n.answered; n.answered < begun+n.items; {
		seen, err := n.house.generate(ctx, n.durable, Load{Conns: n.opts.Conns, Depth: n.opts.Depth, Answers: answersToJournal})
		if err != nil {
			return err
		}
		n.answered += seen.Answered
	}
	return n.endCycle(ctx)
}

// rates puts a rate and fees in force.
func (n *nightRun) rates(ctx context.Context, clock Clock) error {
	db, err := store.Open(store.Options{Dir: filepath.Join(n.house.dir, config.Default().Data)})
	if err != nil {
		return err
	}
	l, err := openLedger(ctx, db, n.opts.Accounts, clock, nil)
	if err != nil {
		return errors.Join(err, db.Close())
	}
	f := furnisher{ledger: l, at: points.TimestampOf(clock())}
	from := f.at + 2*tariff.LeadTime
	put := func(e book.Entry) book.Command {
		return book.Command{Kind: book.KindPut, At: f.at, Operator: "maker", Second: "checker", Entry: e}
	}
	err = f.do(ctx, []book.Command{
		put(book.Entry{Rate: &tariff.Rate{Terms: tariff.Terms{Program: worldProgram, Side: tariff.Clear, From: from, Num: 30_000, Den: 7}}}),
		put(book.Entry{Fees: &tariff.Schedule{From: from, Rows: []tariff.FeeRow{{Kind: tariff.KindRDM, InterchangePPM: 5_000, PPM: 3_000, VATPPM: 60_000}}}}),
	})
	n.house.end = l.Durable()
	return errors.Join(err, l.Close(context.WithoutCancel(ctx)))
}

// endCycle ends the cycle that runs.
func (n *nightRun) endCycle(ctx context.Context) error {
	status, err := n.durable.client.Status(ctx)
	if err != nil {
		return err //nolint:wrapcheck // it says of which door.
	}
	n.date = status.Date
	_, err = n.durable.client.CutOver(ctx, app.CutOver{Operator: "maker", Second: "checker", Cycle: true, Force: true})
	return err //nolint:wrapcheck // as above.
}

// measure takes quiet turns and turns beside a night.
func (n *nightRun) measure(ctx context.Context) error {
	load := Load{Conns: n.opts.Conns, Depth: max(256, n.opts.Depth), Rate: n.opts.Rate}
	for round := range n.opts.Rounds {
		if err := n.auth.measure(ctx, lineQuiet, round, n.durable, load); err != nil {
			return err
		}
		measuring, done := context.WithCancel(ctx)
		settled := make(chan error, 1)
		go func() { settled <- n.nights(ctx, measuring) }()
		err := n.auth.measure(ctx, lineNight, round, n.durable, load)
		done()
		if err := errors.Join(err, <-settled); err != nil {
			return err
		}
	}
	return nil
}

// nights settles the cycle, one run after the other, while something is measured. The last
// one is not broken off.
func (n *nightRun) nights(ctx, measuring context.Context) error {
	for measuring.Err() == nil {
		began := n.opts.Clock()
		settled, err := n.durable.client.Settle(ctx, "run", app.SettleAsk{Date: n.date, Cycle: 2, Operator: "maker"}, nil)
		if err != nil {
			return fmt.Errorf("bench: a night: %w", err)
		}
		if settled.Run == nil || settled.Run.Items < n.items {
			return fmt.Errorf("bench: a night: %v: %s", settled.Outcome, settled.Problem)
		}
		n.spent += n.opts.Clock().Sub(began)
		n.runs++
		if _, err := n.durable.client.SettleVoid(ctx, app.SettleAsk{Run: settled.Run.ID, Operator: "maker", Note: "measured"}); err != nil {
			return fmt.Errorf("bench: a night: %w", err)
		}
	}
	return nil
}

func (n *nightRun) judge() {
	quiet, night := n.line(lineQuiet), n.line(lineNight)
	rate := fmt.Sprintf("at %.0f/s, a night beside it", n.opts.Rate)
	n.check(atLeast(rate+": share of what fell due that was answered in the window", round3(ratio(night.PerSecond, n.opts.Rate)), "times", 0.95))
	n.check(atMost(rate+": p99 against quiet", round3(ratio(night.Latency.P99, quiet.Latency.P99)), "times", targetBeside))
	n.report.note("%d runs to CHECKED, of %d items and more each, %v on average; each was made void and the next one begun while answers were measured.",
		n.runs, n.items, (n.spent / time.Duration(max(1, n.runs))).Round(time.Millisecond))
	n.report.note("generator, switch and night share the processors: with two of them a night takes one of what the open loop leaves.")
}
