package bench

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// Targets of the ledger alone; docs/performance.md says where they come from.
const (
	manyClients, someClients, oneClient = 1024, 64, 1

	targetMany     = 150_000 // durable redemptions per second
	targetSome     = 60_000
	targetSomeP99  = 1.25 // times the disk's flush: 5 ms where that takes 4
	targetOneP50   = 2    // times the disk's flush
	targetBaseline = 5    // times the ledger without a journal
)

// LedgerOptions say how the ledger is measured.
type LedgerOptions struct {
	Clock    Clock
	Progress Progress
	Dir      string // where the temporary folder is made; "": the system's
	Keep     bool
	Accounts uint64
	Duration time.Duration
	Rounds   int
}

// ledgerRun is one run.
type ledgerRun struct {
	opts     LedgerOptions
	report   *Report
	ledger   *ledger.Ledger
	baseline *store.Baseline
	cards    []points.CardToken // by member, from 1
	serial   atomic.Uint64      // of all transfers: no key is used twice
	answered atomic.Uint64
	rounds   map[string][]Measurement
}

// Ledger measures durable redemptions in process, beside a ledger without a journal
// and the disk's own flush, in turns.
func Ledger(ctx context.Context, opts LedgerOptions) (_ *Report, err error) {
	dir, err := os.MkdirTemp(opts.Dir, "lianfen-bench-")
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	r := &ledgerRun{opts: opts, report: newReport("ledger"), rounds: map[string][]Measurement{}}
	if opts.Keep {
		r.report.Kept = dir
	} else {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	if r.baseline, err = store.OpenBaseline(filepath.Join(dir, "baseline")); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.baseline.Close()) }()
	folder := store.Options{Dir: filepath.Join(dir, "store")}
	end, err := r.measure(ctx, dir, folder)
	if err != nil {
		return nil, err
	}
	if err := r.journal(ctx, folder, end); err != nil {
		return nil, err
	}
	r.judge()
	return r.report, nil
}

// measure opens the ledger, measures and closes it. It returns the last position
// before the first transfer.
func (r *ledgerRun) measure(ctx context.Context, dir string, folder store.Options) (end points.Position, err error) {
	if err := store.Create(folder); err != nil {
		return 0, err
	}
	db, err := store.Open(folder)
	if err != nil {
		return 0, err
	}
	if r.ledger, err = openLedger(ctx, db, r.opts.Accounts, r.opts.Clock, nil); err != nil {
		return 0, errors.Join(err, db.Close())
	}
	defer func() { err = errors.Join(err, r.ledger.Close(context.WithoutCancel(ctx))) }()
	r.opts.Progress(fmt.Sprintf("furnishing %d accounts", r.opts.Accounts), time.Duration(r.opts.Accounts)*20*time.Microsecond) //nolint:gosec // at most MaxAccounts.
	var random [32]byte
	if _, err := rand.Read(random[:]); err != nil {
		return 0, fmt.Errorf("bench: card key: %w", err)
	}
	key := certs.NewCardKey(random)
	if err := enter(ctx, r.ledger, key, manyClients, r.opts.Accounts, "", signers{}, r.opts.Clock); err != nil {
		return 0, err
	}
	r.cards = make([]points.CardToken, r.opts.Accounts+1)
	for member := range r.cards[1:] {
		pan, err := worldCard(uint64(member) + 1)
		if err != nil {
			return 0, err
		}
		key.Token(&r.cards[member+1], pan)
	}
	end = r.ledger.Durable()
	for round := range r.opts.Rounds {
		if err := r.round(ctx, dir, round); err != nil {
			return end, err
		}
	}
	return end, nil
}

// round is one turn of every line.
func (r *ledgerRun) round(ctx context.Context, dir string, round int) error {
	r.opts.Progress(fmt.Sprintf("round %d of %d", round+1, r.opts.Rounds), 13*r.opts.Duration/2)
	flush, err := Flush(ctx, dir, r.opts.Duration/2, r.opts.Clock)
	if err != nil {
		return err
	}
	r.rounds[flush.Name] = append(r.rounds[flush.Name], flush)
	for _, clients := range []int{manyClients, someClients, oneClient} {
		for _, side := range []struct {
			line string
			work func(context.Context, int) func() error
		}{{lineWithout, r.transfers}, {lineLedger, r.redemptions}} {
			m, err := share(ctx, clients, r.opts.Duration, r.opts.Clock, side.work)
			if err != nil {
				return err
			}
			line := fmt.Sprintf(side.line, clients)
			r.rounds[line] = append(r.rounds[line], m)
		}
	}
	return nil
}

// Lines of the report, by clients.
const (
	lineLedger  = "ledger, %d clients"
	lineWithout = "read, modify, write, %d clients"
)

// pick is the member of transfer serial: all of them in turn, far apart.
func (r *ledgerRun) pick(serial uint64) uint64 { return 1 + serial*7919%r.opts.Accounts }

// transfers is a client of the ledger without a journal.
func (r *ledgerRun) transfers(context.Context, int) func() error {
	return func() error {
		serial := r.serial.Add(1)
		return r.baseline.Transfer(r.pick(serial), serial%64, serial)
	}
}

// redemptions is a client of the ledger.
func (r *ledgerRun) redemptions(ctx context.Context, client int) func() error {
	terminal, terminalErr := worldTerminal(client)
	merchant, merchantErr := points.ParseMerchantID(worldMerchant)
	reasons := make(chan points.Reason, 1)
	told := func(out *book.Outcome) { reasons <- out.Reason }
	var cmd book.Command
	return func() error {
		if err := errors.Join(terminalErr, merchantErr); err != nil {
			return err
		}
		serial := r.serial.Add(1)
		cmd = book.Command{
			Kind: book.KindRedeem, Function: points.Redeem, At: points.TimestampOf(r.opts.Clock()),
			Key: points.TraceKey{
				Acquirer: worldAcquirer, Source: terminal, When: 1 + serial/perSeries, STAN: points.STAN(1 + serial%perSeries),
				Class: points.ClassFinancial, Door: points.DoorTerminal,
			},
			Card: r.cards[r.pick(serial)], Program: worldProgram, Amount: 1, Acquirer: worldAcquirer, Merchant: merchant, Terminal: terminal,
		}
		r.ledger.Submit(&cmd, told)
		select {
		case reason := <-reasons:
			if !reason.Approved() {
				return points.Errorf(reason, "bench: a redemption: %s", reason.English())
			}
			r.answered.Add(1)
			return nil
		case <-r.ledger.Failed():
			return r.ledger.Err()
		case <-ctx.Done():
			return fmt.Errorf("bench: %w", ctx.Err())
		}
	}
}

// journal counts the redemptions behind position end on disk.
func (r *ledgerRun) journal(ctx context.Context, folder store.Options, end points.Position) (err error) {
	folder.ReadOnly = true
	db, err := store.Open(folder)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	archive, err := ledger.OpenArchive(db)
	if err != nil {
		return err
	}
	keys := make(map[points.TraceKey]bool, r.answered.Load())
	approved := uint64(0)
	err = archive.Scan(ctx, end+1, archive.Durable(), func(rec *book.Record) error {
		if rec.Command.Kind == book.KindRedeem && rec.Outcome.Reason.Approved() {
			approved++
			keys[rec.Command.Key] = true
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("bench: read the journal: %w", err)
	}
	answered := r.answered.Load()
	r.check(none(fmt.Sprintf("of %d approved answers, those beyond the journal's redemptions, or short of them", answered), difference(answered, approved), "answers"))
	r.check(none("redemptions that are in the journal more than once", approved-uint64(len(keys)), "records"))
	return nil
}

func (r *ledgerRun) check(c Check) { r.report.Checks = append(r.report.Checks, c) }

// judge adds the lines and holds them against the targets.
func (r *ledgerRun) judge() {
	line := func(name string) Measurement {
		m := median(name, r.rounds[name])
		r.report.Measurements = append(r.report.Measurements, m)
		return m
	}
	of := map[int]Measurement{}
	flush := line(lineFlush)
	for _, clients := range []int{manyClients, someClients, oneClient} {
		without := line(fmt.Sprintf(lineWithout, clients))
		of[clients] = line(fmt.Sprintf(lineLedger, clients))
		faster := round3(ratio(of[clients].PerSecond, without.PerSecond))
		if clients == manyClients { // Fewer wait for the disk more than for each other, with either.
			r.check(atLeast(fmt.Sprintf("%d clients, against read, modify, write", clients), faster, "times", targetBaseline))
			continue
		}
		r.report.note("with %d clients the ledger is %.1f times as fast as read, modify, write.", clients, faster)
	}
	r.check(atLeast(fmt.Sprintf("%d clients", manyClients), math.Round(of[manyClients].PerSecond), "per second", targetMany))
	r.check(atLeast(fmt.Sprintf("%d clients", someClients), math.Round(of[someClients].PerSecond), "per second", targetSome))
	r.check(atMost("64 clients: p99 against the disk's flush", round3(ratio(of[someClients].Latency.P99, flush.Latency.P99)), "times", targetSomeP99))
	r.check(atMost("one client: p50 against the disk's flush", round3(ratio(of[oneClient].Latency.P50, flush.Latency.P50)), "times", targetOneP50))
	r.report.note("PostgreSQL is not part of the run; docs/performance.md has figures to hold it against.")
}
