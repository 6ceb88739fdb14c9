package bench

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/exchange"
	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

const (
	swapIssuer  points.IssuerID  = 10000002
	swapProgram points.ProgramID = 902

	swapIn points.Amount = 1_003 // of each swap, so that rounding leaves something

	swapQuotes = 120_000

	// switchAccounts is what a switch keeps in memory by default: of quotes no more than that.
	switchAccounts uint64 = 1_000_000

	targetSwaps = 50_000 // durable swaps per second
)

// Lines of the report.
const (
	lineQuoted       = "swap, quoted and executed"
	lineQuotedFloor  = "journal alone, as many bytes and groups"
	lineExecuted     = "swap, executed"
	lineExecutedBase = "journal alone, as many for the executions"
)

// SwapOptions say how swaps are measured.
type SwapOptions struct {
	Clock    Clock
	Progress Progress
	Dir      string // where the temporary folder is made; "": the system's
	Keep     bool
	Accounts uint64 // members; each has an account in both programmes
	Clients  int    // callers, each with one call open
	Duration time.Duration
	Rounds   int
}

// swapped is what a caller was told of an executed swap.
type swapped struct {
	quote, at points.Position
	out, cost points.Amount
}

// swapRun is one run.
type swapRun struct {
	opts     SwapOptions
	report   *Report
	desk     *exchange.Desk
	metrics  *prometheus.Registry
	floor    *store.Store
	serial   atomic.Uint64 // of all calls: no key is used twice
	answers  [][]swapped   // by client
	quotes   []points.Position
	executed atomic.Uint64 // of quotes
	rounds   map[string][]Measurement
}

// Swaps measures durable swaps between two programmes of the house, through the desk, and
// in turns with them the floor: a store that gets the same number of groups of as many bytes
// and does nothing else.
func Swaps(ctx context.Context, opts SwapOptions) (_ *Report, err error) {
	dir, err := os.MkdirTemp(opts.Dir, "lianfen-bench-")
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	r := &swapRun{
		opts: opts, report: newReport("swaps"), metrics: prometheus.NewRegistry(), answers: make([][]swapped, opts.Clients), rounds: map[string][]Measurement{},
	}
	if opts.Keep {
		r.report.Kept = dir
	} else {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	base := store.Options{Dir: filepath.Join(dir, "floor")}
	if err := store.Create(base); err != nil {
		return nil, err
	}
	if r.floor, err = store.Open(base); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.floor.Close()) }()
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

// measure opens the ledger, measures, proves its books and closes it. It returns the last
// position before the first swap.
func (r *swapRun) measure(ctx context.Context, dir string, folder store.Options) (end points.Position, err error) {
	if err := store.Create(folder); err != nil {
		return 0, err
	}
	db, err := store.Open(folder)
	if err != nil {
		return 0, err
	}
	// Rates take effect some minutes after their approval: the world is made an hour ago.
	past := func() time.Time { return r.opts.Clock().Add(-time.Hour) }
	l, err := openLedger(ctx, db, max(2*r.opts.Accounts, switchAccounts), past, r.metrics)
	if err != nil {
		return 0, errors.Join(err, db.Close())
	}
	defer func() { err = errors.Join(err, l.Close(context.WithoutCancel(ctx))) }()
	r.opts.Progress(fmt.Sprintf("furnishing %d members", r.opts.Accounts), time.Duration(r.opts.Accounts)*30*time.Microsecond) //nolint:gosec // at most MaxAccounts.
	var random [32]byte
	if _, err := rand.Read(random[:]); err != nil {
		return 0, fmt.Errorf("bench: card key: %w", err)
	}
	if err := enter(ctx, l, certs.NewCardKey(random), 1, r.opts.Accounts, "", signers{}, past); err != nil {
		return 0, err
	}
	if err := enterSwaps(ctx, l, r.opts.Accounts, past); err != nil {
		return 0, err
	}
	r.desk = exchange.NewDesk(l, func() points.Timestamp { return points.TimestampOf(r.opts.Clock()) })
	end = l.Durable()
	for round := range r.opts.Rounds {
		if err := r.round(ctx, dir, round); err != nil {
			return end, err
		}
	}
	r.opts.Progress("auditing the books", 0)
	return end, l.View(ctx, (*book.Book).Audit)
}

// enterSwaps puts a second programme, of another issuer, rates, terms and points of it into
// the world.
func enterSwaps(ctx context.Context, l *ledger.Ledger, accounts uint64, clock Clock) error {
	f := furnisher{ledger: l, at: points.TimestampOf(clock())}
	from := f.at + 2*tariff.LeadTime
	commands := []book.Command{
		f.put(book.Entry{Issuer: &book.Issuer{ID: swapIssuer, Name: "Other issuer", Status: book.Active}}),
		f.put(book.Entry{Program: &book.Program{
			ID: swapProgram, Issuer: swapIssuer, Name: "Other points", Status: book.Active, Rules: book.ProgramRules{ValidMonths: 24, ExpiryAtMonth: true, OpenOnEarn: true},
		}}),
	}
	two := func(entry book.Entry) {
		cmd := f.put(entry)
		cmd.Operator, cmd.Second = "maker", "checker"
		commands = append(commands, cmd)
	}
	for i, program := range []points.ProgramID{worldProgram, swapProgram} {
		buy := []uint64{100, 20}[i]
		two(book.Entry{Rate: &tariff.Rate{Terms: tariff.Terms{Program: program, Side: tariff.Buy, Num: buy, Den: 1, SpreadPPM: 10_000, From: from}}})
		two(book.Entry{Rate: &tariff.Rate{Terms: tariff.Terms{Program: program, Side: tariff.Sell, Num: buy + buy/4, Den: 1, From: from}}})
		// Limits are set, far away, so that they are looked at.
		two(book.Entry{Swaps: &tariff.SwapTerms{Program: program, From: from, SwapRules: tariff.SwapRules{
			MinIn: 1, MaxIn: points.MaxAmount, UserDay: points.MaxAmount, UserYear: points.MaxAmount, PoolIn: points.MaxAmount, RecipientYear: points.MaxAmount,
			PoolOut: points.MaxAmount, Lots: 1 << book.Earned, Expiry: tariff.ExpiryProgram, QuoteSeconds: tariff.MaxQuoteSeconds, LockSeconds: 600,
		}}})
	}
	two(book.Entry{Fees: &tariff.Schedule{From: from, Rows: []tariff.FeeRow{{Kind: tariff.KindSWP, VATPPM: 60_000}, {Kind: tariff.KindEAR}, {Kind: tariff.KindRDM}}}})
	if err := f.do(ctx, commands); err != nil {
		return err
	}
	f.at = from
	for first := uint64(1); first <= accounts; first += furnishChunk {
		commands = commands[:0]
		for member := first; member <= min(accounts, first+furnishChunk-1); member++ {
			commands = append(commands, book.Command{Kind: book.KindEarn, At: f.at, Member: points.MemberID(member), Program: swapProgram, Amount: worldFunds, Acquirer: worldAcquirer})
		}
		if err := f.do(ctx, commands); err != nil {
			return err
		}
	}
	return nil
}

// round is one turn of every line.
func (r *swapRun) round(ctx context.Context, dir string, round int) error {
	r.opts.Progress(fmt.Sprintf("round %d of %d", round+1, r.opts.Rounds), 5*r.opts.Duration)
	flush, err := Flush(ctx, dir, r.opts.Duration/2, r.opts.Clock)
	if err != nil {
		return err
	}
	r.rounds[flush.Name] = append(r.rounds[flush.Name], flush)
	if err := r.beside(ctx, lineQuoted, lineQuotedFloor, r.quoteAndSwap); err != nil {
		return err
	}
	// Quotes for the line after it are made before it: as many as last for the time.
	most := swapQuotes * r.opts.Duration.Seconds()
	if err := r.quoteAhead(ctx, int(most)); err != nil {
		return err
	}
	return r.beside(ctx, lineExecuted, lineExecutedBase, r.swap)
}

// beside measures work, and then its floor.
func (r *swapRun) beside(ctx context.Context, line, floor string, work func(context.Context, int) func() error) error {
	before, err := r.committed()
	if err != nil {
		return err
	}
	m, err := share(ctx, r.opts.Clients, r.opts.Duration, r.opts.Clock, work)
	if err != nil {
		return err
	}
	after, err := r.committed()
	if err != nil {
		return err
	}
	groups, bytes := after.groups-before.groups, after.bytes-before.bytes
	swaps := m.PerSecond * m.took.Seconds()
	m.Group = ratio(after.records-before.records, groups)
	m.Bytes = ratio(bytes, swaps)
	r.rounds[line] = append(r.rounds[line], m)
	base, err := journalAlone(ctx, r.floor, int(groups), int(bytes), r.opts.Clock)
	if err != nil {
		return err
	}
	base.PerSecond *= ratio(swaps, groups) // of groups, so far
	base.ServerCPU /= max(1, ratio(swaps, groups))
	base.Group, base.Bytes = m.Group, m.Bytes
	r.rounds[floor] = append(r.rounds[floor], base)
	return nil
}

// commits is what the ledger has committed.
type commits struct{ groups, records, bytes float64 }

func (r *swapRun) committed() (c commits, err error) {
	families, err := r.metrics.Gather()
	if err != nil {
		return c, fmt.Errorf("bench: metrics of the ledger: %w", err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			switch family.GetName() {
			case "lianfen_ledger_group_records":
				c.groups, c.records = float64(m.GetHistogram().GetSampleCount()), m.GetHistogram().GetSampleSum()
			case "lianfen_ledger_block_bytes_total":
				c.bytes = m.GetCounter().GetValue()
			}
		}
	}
	return c, nil
}

// call is a call of its own, with a key of its own.
func (r *swapRun) call() (exchange.Caller, uint64) {
	serial := r.serial.Add(1)
	return exchange.Caller{Acquirer: worldAcquirer, CallID: strconv.FormatUint(serial, 36)}, serial
}

// quote asks for one, of all members in turn, far apart, and each other one the other way.
func (r *swapRun) quote(ctx context.Context) (exchange.Swap, error) {
	by, serial := r.call()
	asked := exchange.Asked{Caller: by, Member: points.MemberID(1 + serial*7919%r.opts.Accounts), From: worldProgram, Into: swapProgram, In: swapIn}
	if serial/2%2 == 1 { // A pair of calls is one swap.
		asked.From, asked.Into = asked.Into, asked.From
	}
	return r.desk.Quote(ctx, asked)
}

// execute does, and notes what it was told.
func (r *swapRun) execute(ctx context.Context, client int, quote points.Position) (exchange.Swap, error) {
	by, _ := r.call()
	done, err := r.desk.Swap(ctx, exchange.Named{Caller: by, Quote: quote})
	if err == nil {
		r.answers[client] = append(r.answers[client], swapped{quote, done.Position, done.Out, done.Cost})
	}
	return done, err
}

func (r *swapRun) quoteAndSwap(ctx context.Context, client int) func() error {
	return func() error {
		quoted, err := r.quote(ctx)
		if err != nil {
			return err
		}
		done, err := r.execute(ctx, client, quoted.Quote)
		if err == nil && (done.In != quoted.In || done.Out != quoted.Out || done.Cost != quoted.Cost || done.Fee != quoted.Fee) {
			err = fmt.Errorf("bench: swap %d: %+v was executed, %+v was quoted", quoted.Quote, done.SwapFigures, quoted.SwapFigures)
		}
		return err
	}
}

// quoteAhead makes quotes to be executed.
func (r *swapRun) quoteAhead(ctx context.Context, count int) error {
	r.quotes = make([]points.Position, count)
	r.executed.Store(0)
	var next atomic.Uint64
	_, err := share(ctx, r.opts.Clients, time.Hour, r.opts.Clock, func(ctx context.Context, _ int) func() error {
		return func() error {
			at := next.Add(1) - 1
			if at >= uint64(count) { //nolint:gosec // not negative.
				return errSpent
			}
			quoted, err := r.quote(ctx)
			r.quotes[at] = quoted.Quote
			return err
		}
	})
	return err
}

func (r *swapRun) swap(ctx context.Context, client int) func() error {
	return func() error {
		at := r.executed.Add(1) - 1
		if at >= uint64(len(r.quotes)) {
			return errSpent
		}
		_, err := r.execute(ctx, client, r.quotes[at])
		return err
	}
}

// journalAlone writes so many groups, together of so many bytes, with as many on their way as
// the ledger has. Rate and CPU are those of groups.
func journalAlone(ctx context.Context, db *store.Store, groups, bytes int, clock Clock) (Measurement, error) {
	if groups == 0 {
		return Measurement{Rounds: 1}, nil
	}
	block := make([]byte, bytes/groups)
	if _, err := rand.Read(block); err != nil {
		return Measurement{}, fmt.Errorf("bench: %w", err)
	}
	flying := make(chan *store.Batch, ledger.DefaultGroupsInFlight)
	failed := make(chan error, 1)
	cpu, err := ownCPU()
	if err != nil {
		return Measurement{}, err
	}
	began := clock()
	go func() { // Ends with the last batch.
		var err error
		for batch := range flying {
			err = errors.Join(err, batch.Wait())
		}
		failed <- err
	}()
	for i := range groups {
		var batch *store.Batch
		// Behind what other lines have written, as a journal is.
		if batch, err = db.Start(store.Journal, binary.BigEndian.AppendUint64(nil, uint64(began.UnixNano())+uint64(i)), block); err != nil {
			break
		}
		flying <- batch
		if err = ctx.Err(); err != nil {
			break
		}
	}
	close(flying)
	if err := errors.Join(err, <-failed); err != nil {
		return Measurement{}, fmt.Errorf("bench: the journal alone: %w", err)
	}
	took := clock().Sub(began)
	after, err := ownCPU()
	return Measurement{
		PerSecond: float64(groups) / took.Seconds(), ServerCPU: float64((after - cpu).Microseconds()) / float64(groups), Rounds: 1,
	}, err
}

// journal looks every answer up in the journal behind position end on disk: each quote has to
// be executed there once, at the position and with the figures that its caller was told, and
// nothing else.
func (r *swapRun) journal(ctx context.Context, folder store.Options, end points.Position) (err error) {
	told := make(map[points.Position]swapped)
	answers := uint64(0)
	for _, of := range r.answers {
		for _, a := range of {
			told[a.quote] = a
			answers++
		}
	}
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
	var strange, doubled uint64
	seen := make(map[points.Position]bool, answers)
	err = archive.Scan(ctx, end+1, archive.Durable(), func(rec *book.Record) error {
		out := &rec.Outcome
		if rec.Command.Kind != book.KindSwap || !out.Reason.Approved() {
			return nil
		}
		quote := rec.Command.Original
		if told[quote] != (swapped{quote, out.Position, out.Swap.Out, out.Swap.Cost}) {
			strange++
		}
		if seen[quote] {
			doubled++
		}
		seen[quote] = true
		return nil
	})
	if err != nil {
		return fmt.Errorf("bench: read the journal: %w", err)
	}
	missing := answers
	for quote := range told {
		if seen[quote] {
			missing--
		}
	}
	r.check(none(fmt.Sprintf("of %d answered swaps, those that are not in the journal", answers), missing, "swaps"))
	r.check(none("swaps in the journal that were answered otherwise, or to nobody", strange, "swaps"))
	r.check(none("quotes that the journal has executed more than once", doubled, "quotes"))
	return nil
}

func (r *swapRun) check(c Check) { r.report.Checks = append(r.report.Checks, c) }

// judge adds the lines and holds them against the targets.
func (r *swapRun) judge() {
	line := func(name string) Measurement {
		m := median(name, r.rounds[name])
		r.report.Measurements = append(r.report.Measurements, m)
		return m
	}
	line(lineFlush)
	for _, pair := range [...]struct{ name, floor string }{{lineQuoted, lineQuotedFloor}, {lineExecuted, lineExecutedBase}} {
		m, floor := line(pair.name), line(pair.floor)
		r.check(atLeast(pair.name, math.Round(m.PerSecond), "per second", targetSwaps))
		r.report.note("%s: %.3f of its floor; %.0f bytes of journal, %.1f allocations and %.1f µs of CPU for each, callers included.",
			pair.name, ratio(m.PerSecond, floor.PerSecond), m.Bytes, m.Allocations, m.ServerCPU)
	}
}
