package settlement

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/crypto/ssh"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/files"
	"github.com/lianfen/lianfen/settlement/netting"
	"github.com/lianfen/lianfen/tariff"
)

// Options of a runner.
type Options struct {
	Folder   string // of the runs
	Operator tariff.Member
	Name     string // the operator's
	Code     string // the program's version
	Workers  int    // goroutines that compute; 1 at least
	Models   *netting.Models
	Mode     files.Mode
	Zone     *time.Location
	Key      ssh.Signer // signs the sums; nil: they are not signed
	Twin     bool       // detail files have a CSV twin
	Bank     *Bank      // what positions are paid by; nil: a point has no price, and nothing is paid
	Clock    points.Clock
	Log      *slog.Logger
	Registry prometheus.Registerer // nil: no gauges

	// Step is told of every step that was written down; an error ends the run there. It is
	// for tests that kill a run at each of them; nil: nobody is told.
	Step func(name string) error
}

// Runner makes runs. It does one thing at a time.
type Runner struct {
	opts     Options
	journal  Journal
	shelf    shelf
	progress *progress

	debtor atomic.Pointer[Run] // the latest run, where somebody owes something in it

	mu sync.Mutex // one step of one run at a time

	// The files that this process has made last, and the digest of their manifest.
	made         *witness
	madeManifest string
}

// Order is what a door says with a step: when, by whom, and of a new run its identifier.
type Order struct {
	At points.Timestamp
	By string
	ID string // ULID
}

// ByRule stands as who approved a run that nobody has approved: where the configuration has
// the switch publish by itself, and neither the policy of the house nor a check asks for a
// second person. No person can have this name.
const ByRule = "rule settlement.run=publish"

// Errors.
var (
	// ErrWaits says that a second person has to approve the run.
	ErrWaits = errors.New("settlement: a second person has to approve")
	// ErrCheck says that a check of severity must did not pass.
	ErrCheck = errors.New("settlement: a check did not pass")
	// ErrDiffers says that a run would not give what it gave.
	ErrDiffers = errors.New("settlement: the run does not come to the same")
)

// NewRunner opens the folder of runs.
func NewRunner(journal Journal, opts Options) (*Runner, error) {
	opts.Workers = max(1, opts.Workers)
	if opts.Step == nil {
		opts.Step = func(string) error { return nil }
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Mode == 0 {
		opts.Mode = files.Production
	}
	if err := os.MkdirAll(opts.Folder, folderMode); err != nil {
		return nil, fmt.Errorf("settlement: %w", err)
	}
	r := &Runner{opts: opts, journal: journal, shelf: shelf{opts.Folder}, progress: &progress{clock: opts.Clock}}
	if opts.Registry != nil {
		if err := errors.Join(r.progress.register(opts.Registry), opts.Registry.Register(r.shortfall())); err != nil {
			return nil, fmt.Errorf("settlement: %w", err)
		}
	}
	r.noteDebtor()
	return r, nil
}

// shortfall is the gauge of what the largest net debtor's cover is short by.
func (r *Runner) shortfall() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: "lianfen", Subsystem: "settlement", Name: "debtor_shortfall_qzp",
		Help: "What the cover of the largest net debtor of the latest settlement run is less than its debt, in standard points; 0: the run settles although it fails.",
	}, func() float64 {
		if latest := r.debtor.Load(); latest != nil {
			return float64(latest.Debtor.Shortfall) / 10_000
		}
		return 0
	})
}

// noteDebtor looks for the latest run that was computed and is not void: what of it would
// fail with its largest net debtor is told until a later one is computed. A note that cannot
// be read stops neither a start nor a step, which has been taken.
func (r *Runner) noteDebtor() {
	runs, err := r.shelf.all()
	if err != nil {
		r.opts.Log.Warn("largest net debtor is not known", slog.String("error", err.Error()))
		return
	}
	var latest *Run
	for _, run := range runs {
		if run.State >= Computed && run.State != Void && (latest == nil || latest.Cut.Before(run.Cut)) {
			latest = run
		}
	}
	if latest != nil && latest.Debtor == nil {
		latest = nil
	}
	r.debtor.Store(latest)
}

// WouldFail returns the latest run where it would not settle if its largest net debtor
// failed; nil: it would.
func (r *Runner) WouldFail() *Run {
	if latest := r.debtor.Load(); latest != nil && latest.Debtor.Shortfall > 0 {
		return latest
	}
	return nil
}

// Progress tells how far the step is that is under way.
func (r *Runner) Progress() Progress { return r.progress.read() }

// Runs lists all runs in the order in which they were made.
func (r *Runner) Runs() ([]*Run, error) { return r.shelf.all() }

// Load reads one run.
func (r *Runner) Load(id string) (*Run, error) { return r.shelf.load(id) }

// Of finds the run of a cycle that is not void; nil when there is none.
func (r *Runner) Of(date points.BusinessDate, cycle uint8) (*Run, error) {
	return r.shelf.of(date, cycle)
}

// Folder is where the files of a run are: the published ones, else the work.
func (r *Runner) Folder(run *Run) string {
	published := r.shelf.published(run.ID)
	if _, err := os.Stat(published); err == nil || run.State == Published || run.State == Confirmed {
		return published
	}
	return r.shelf.work(run.ID)
}

// exceptionsName is the operator's file of all exceptions of a cycle.
func exceptionsName(operator tariff.Member, cut Cut) string {
	return files.WholeName(files.EXC, operator, cut.Date, cut.Cycle, "csv").String()
}

// Exceptions reads what a run has not cleared out of its files; none while it has no files.
func (r *Runner) Exceptions(run *Run) ([]files.Exception, error) {
	none := run.Exceptions == 0 && (run.Payments == nil || run.Payments.LeftOut == 0)
	if none || run.State < Checked || run.State == Void {
		return nil, nil
	}
	text, err := os.ReadFile(filepath.Join(r.Folder(run), OperatorFolder, exceptionsName(r.opts.Operator, run.Cut)))
	if err != nil {
		return nil, fmt.Errorf("exceptions of settlement run %s: %w", run.ID, err)
	}
	return files.ReadExceptions(text)
}

// Prepare makes the checks that can be made before anything is computed.
func (r *Runner) Prepare(ctx context.Context, date points.BusinessDate, cycle uint8, order Order) ([]Check, error) {
	cut, err := r.journal.Cut(date, cycle)
	if err != nil {
		return nil, err //nolint:wrapcheck // the journal's own words.
	}
	return r.before(ctx, cut, order)
}

// Run takes the run of a cycle as far as CHECKED: it begins one, goes on with one, or
// proves that one that was published comes to the same again (R1, R3). The error has
// [ErrCheck] when a check of severity must did not pass; the run says which.
func (r *Runner) Run(ctx context.Context, date points.BusinessDate, cycle uint8, order Order) (*Run, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.progress.end()
	run, err := r.begin(ctx, date, cycle, order)
	if err != nil {
		return run, err
	}
	if !run.Live() {
		return run, r.reproduce(ctx, run)
	}
	if run, err = r.giveWay(ctx, run, order); err != nil {
		return run, err
	}
	if run.State < Checked || r.whole(run) != nil {
		if err := r.advance(ctx, run, order); err != nil {
			return run, err
		}
	}
	return run, r.stepBack(ctx, run, order)
}

// giveWay gives way to the run whose posting stands in the journal, even if it is void: that
// one is published. Its files are made again and have to come to what was posted, by
// whatever version of the program.
func (r *Runner) giveWay(ctx context.Context, run *Run, order Order) (*Run, error) {
	standing, err := r.journal.Standing(ctx, run.Cut)
	if err != nil || standing.Posting == 0 || standing.of(run) {
		return run, err //nolint:wrapcheck // the journal's own words.
	}
	runs, err := r.shelf.all()
	if err != nil {
		return run, err
	}
	i := slices.IndexFunc(runs, standing.of)
	if i < 0 {
		return run, points.Errorf(points.AlreadyExists, "%v was posted at journal %d by a run that is not in %s: bring its note back from a backup", run.Cut, standing.Posting, r.opts.Folder)
	}
	posted := runs[i]
	run.reach(Void, order, fmt.Sprintf("run %s was posted, at journal %d", posted.ID, standing.Posting))
	if err := r.write(run, "void"); err != nil {
		return run, err
	}
	// What it may have made visible was never posted.
	if err := errors.Join(os.RemoveAll(r.shelf.work(run.ID)), os.RemoveAll(r.shelf.published(run.ID))); err != nil {
		return run, err
	}
	posted.Code = r.opts.Code
	posted.reach(Computed, order, note(standing.Posting))
	return posted, r.write(posted, "computed")
}

// stepBack has a run approved whose posting stands in the journal, and asks for approval
// again where that of an approved one does not hold any more.
func (r *Runner) stepBack(ctx context.Context, run *Run, order Order) error {
	posted, err := r.posted(ctx, run, order)
	if err != nil || posted || run.State != Approved {
		return err
	}
	err = r.journal.Approvable(ctx, run.publication(order))
	switch points.ReasonOf(err) {
	case points.ProposalExpired, points.NeedsSecondPerson, points.RoleMissing:
	default:
		return err //nolint:wrapcheck // the journal's own words.
	}
	run.Proposal, run.Checker = 0, ""
	run.reach(Checked, order, err.Error())
	return r.write(run, "checked")
}

// posted reports whether the posting of a run stands in the journal. Then the run is
// approved, by whatever door that was. The error says if another run's does.
func (r *Runner) posted(ctx context.Context, run *Run, order Order) (bool, error) {
	standing, err := r.journal.Standing(ctx, run.Cut)
	switch {
	case err != nil || standing.Posting == 0:
		return false, err //nolint:wrapcheck // the journal's own words.
	case !standing.of(run):
		return false, points.Errorf(points.AlreadyExists, "settlement run %s: %v was posted at journal %d by another run: lianfen settle run %s takes that one up", run.ID, run.Cut, standing.Posting, run.ID)
	case run.State != Checked:
		return true, nil
	}
	run.Maker, run.Checker = standing.Maker, cmp.Or(standing.Checker, run.Checker)
	run.reach(Approved, Order{At: order.At, By: run.Checker}, note(standing.Posting))
	return true, r.write(run, "approved")
}

// postable is the run under way whose posting is named: nobody can approve that of another.
func (r *Runner) postable(key, manifest tariff.Digest) (*Run, error) {
	runs, err := r.shelf.all()
	if err != nil {
		return nil, err
	}
	end := "there is none"
	for _, run := range runs {
		switch is := run.publication(Order{}); {
		case is.Key != key || is.Manifest != manifest:
		case run.Live():
			return run, nil
		default:
			end = fmt.Sprintf("run %s is %v", run.ID, run.State)
		}
	}
	return nil, points.Errorf(points.NotPermitted, "it is the posting of no settlement run under way (%s): reject it", end)
}

// Posted has a run approved whose posting somebody has approved by another door.
func (r *Runner) Posted(ctx context.Context, date points.BusinessDate, cycle uint8, order Order) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	run, err := r.shelf.of(date, cycle)
	if err != nil || run == nil {
		return err
	}
	_, err = r.posted(ctx, run, order)
	return err
}

// begin finds the run of a cycle or makes one.
func (r *Runner) begin(ctx context.Context, date points.BusinessDate, cycle uint8, order Order) (*Run, error) {
	run, err := r.shelf.of(date, cycle)
	if err != nil || (run != nil && run.State > Open) {
		return run, err
	}
	cut, err := r.journal.Cut(date, cycle)
	if err != nil {
		return nil, err //nolint:wrapcheck // the journal's own words.
	}
	checks, err := r.before(ctx, cut, order)
	if err != nil {
		return nil, err
	}
	if run == nil {
		if !validID(order.ID) {
			return nil, points.Errorf(points.FormatError, "settlement run %q: want the 26 characters of a ULID", order.ID)
		}
		run = &Run{ID: order.ID, Created: order.At, Sequence: 1}
		run.reach(Open, order, "")
	}
	run.Cut, run.Checks = cut, checks
	if name, failed := Failed(checks, Must); failed {
		return run, fmt.Errorf("%w: %s: %s", ErrCheck, name, found(checks, name))
	}
	runs, err := r.shelf.all()
	if err != nil {
		return nil, err
	}
	for _, other := range runs {
		if other.State == Published || other.State == Confirmed {
			run.Sequence = max(run.Sequence, other.Sequence+1)
		}
	}
	run.reach(WasCut, order, fmt.Sprintf("positions %d to %d", cut.First, cut.Last))
	return run, r.write(run, "cut")
}

func found(checks []Check, name string) string {
	for i := range checks {
		if checks[i].Name == name {
			return checks[i].Found + "; " + checks[i].Do
		}
	}
	return ""
}

// write writes a run down and tells of the step.
func (r *Runner) write(run *Run, step string) error {
	if err := r.shelf.save(run); err != nil {
		return err
	}
	r.noteDebtor()
	return r.opts.Step(step)
}

// advance computes, checks and renders a run, whatever is left of an earlier try.
func (r *Runner) advance(ctx context.Context, run *Run, order Order) error {
	setting, err := r.journal.Setting(ctx)
	if err != nil {
		return err //nolint:wrapcheck // the journal's own words.
	}
	b, err := newBasis(&setting, r.opts.Models)
	if err != nil {
		return err
	}
	all, err := r.compute(ctx, run, &b, order)
	if err != nil {
		return err
	}
	if err := r.pay(run, &b, all); err != nil {
		return fmt.Errorf("settlement of %v: %w", run.Cut, err)
	}
	// The key may be another one since the run was begun.
	pre := slices.DeleteFunc(phase(run.Checks, "pre"), func(c Check) bool { return c.Name == CheckSigned })
	c := checker{at: order.At, list: pre}
	r.checkSigned(&c)
	if err := r.during(ctx, run, &setting, &c, all); err != nil {
		return err
	}
	run.Checks = c.list
	if err := r.held(run); err != nil {
		return err
	}
	return r.makeFiles(ctx, run, &b, all, &c, order)
}

// makeFiles renders the files of a run and looks at them.
func (r *Runner) makeFiles(ctx context.Context, run *Run, b *basis, all *computed, c *checker, order Order) error {
	began := r.opts.Clock()
	r.made, r.madeManifest = nil, ""
	rendering := &rendering{basis: *b, run: run, computed: all, folder: r.shelf.work(run.ID), opts: &r.opts, progress: r.progress, witness: newWitness()}
	manifest, err := rendering.render(ctx, r.journal)
	if err != nil {
		return fmt.Errorf("settlement of %v: %w", run.Cut, err)
	}
	run.time(StepRender, all.items, r.opts.Clock()-began)
	rendering.after(c)
	run.Checks = c.list
	if err := r.held(run); err != nil {
		return err
	}
	if run.Manifest != "" && run.Manifest != hexOf(manifest) {
		return fmt.Errorf("%w: run %s of %v: manifest %s, was %s", ErrDiffers, run.ID, run.Cut, brief(hexOf(manifest)), brief(run.Manifest))
	}
	run.Manifest = hexOf(manifest)
	r.made, r.madeManifest = rendering.witness, run.Manifest
	if run.State < Checked {
		run.reach(Checked, order, fmt.Sprintf("manifest %s", run.Manifest))
	}
	return r.write(run, "checked")
}

// held writes a run down that a check of severity must holds up.
func (r *Runner) held(run *Run) error {
	name, failed := Failed(run.Checks, Must)
	if !failed {
		return nil
	}
	if err := r.shelf.save(run); err != nil {
		return err
	}
	r.noteDebtor()
	return fmt.Errorf("%w: %s: %s", ErrCheck, name, found(run.Checks, name))
}

func phase(checks []Check, phase string) (list []Check) {
	for i := range checks {
		if checks[i].Phase == phase {
			list = append(list, checks[i])
		}
	}
	return list
}

// compute makes the first pass of a run. Where the run was computed before, it has to be
// the same again.
func (r *Runner) compute(ctx context.Context, run *Run, b *basis, order Order) (*computed, error) {
	began := r.opts.Clock()
	all, err := b.compute(ctx, r.journal, run.Cut, r.opts.Workers, r.progress)
	if err != nil {
		return nil, fmt.Errorf("settlement of %v: %w", run.Cut, err)
	}
	key := r.opts.key(run.Cut, b, all)
	positions := hexOf(all.fold.Digest())
	if run.State >= Computed {
		run.Key = key
		if parts := run.differs(key); len(parts) > 0 {
			return nil, fmt.Errorf("%w: run %s of %v is of other %s; lianfen settle void %s, and run it anew", ErrDiffers, run.ID, run.Cut, strings.Join(parts, ", "), run.ID)
		}
		if run.Positions != positions {
			return nil, fmt.Errorf("%w: run %s of %v: positions %s, were %s", ErrDiffers, run.ID, run.Cut, brief(positions), brief(run.Positions))
		}
		return all, nil
	}
	if run.Moves, err = all.moves(); err != nil {
		return nil, err
	}
	counts := all.fold.Counts()
	run.setKey(key)
	run.Positions, run.Items, run.OnUs, run.Legs = positions, counts.Items, counts.OnUs, counts.Legs
	run.Exceptions, run.Rows = all.exceptions.all(), uint64(run.Cut.Last-run.Cut.First)+1
	run.time(StepCompute, run.Rows, r.opts.Clock()-began)
	if err := r.readPlainly(ctx, run); err != nil {
		return nil, err
	}
	run.reach(Computed, order, fmt.Sprintf("%s, %s", points.Counted(run.Items, "item", "items"), points.Counted(run.Exceptions, "exception", "exceptions")))
	return all, r.write(run, "computed")
}

// key is what a run is a function of.
func (opts *Options) key(cut Cut, b *basis, all *computed) netting.RunKey {
	return netting.RunKey{
		Date: cut.Date, Cycle: cut.Cycle, Rates: b.setting.Rates.Digest(cut.Ended), Fees: b.setting.Fees.Digest(cut.Ended),
		Code: opts.Code, Input: all.input, Policy: b.policy(opts),
	}
}

// time notes how long a step took; of a step that was made again, the last.
func (run *Run) time(step string, rows uint64, took points.Timestamp) *Timing {
	for i := range run.Timings {
		if run.Timings[i].Step == step {
			run.Timings[i] = Timing{Step: step, Rows: rows, Micros: int64(took)}
			return &run.Timings[i]
		}
	}
	run.Timings = append(run.Timings, Timing{Step: step, Rows: rows, Micros: int64(took)})
	return &run.Timings[len(run.Timings)-1]
}

// plainRows is how many positions at the end of a cycle are read plainly: enough to see how
// fast that is, and little beside a night of millions.
const plainRows = 1 << 18

// readPlainly notes what reading the journal alone costs: a machine that is slow today is told
// from a run that is.
func (r *Runner) readPlainly(ctx context.Context, run *Run) error {
	first := run.Cut.First
	if run.Rows > plainRows {
		first = run.Cut.Last - plainRows + 1
	}
	began := r.opts.Clock()
	size, err := r.journal.Read(ctx, first, run.Cut.Last)
	if err != nil {
		return fmt.Errorf("settlement of %v: read the journal plainly: %w", run.Cut, err)
	}
	run.time(StepPlain, uint64(run.Cut.Last-first)+1, r.opts.Clock()-began).Bytes = size
	return nil
}

// whole reports what is wrong with the work folder of a run: it has to hold what its
// manifest says, and the manifest what the run says.
func (r *Runner) whole(run *Run) error {
	folder := r.shelf.work(run.ID)
	if _, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) {
		folder = r.shelf.published(run.ID)
	}
	return r.proveFolder(folder, run.Manifest, nil)
}

// publication is what becomes of a run in the journal.
func (run *Run) publication(order Order) Publication {
	return Publication{
		Run: run.ID, Key: mustDigest(run.KeyDigest), Manifest: mustDigest(run.Manifest), Cut: run.Cut, Moves: run.Moves,
		Proposal: run.Proposal, At: order.At, Maker: run.Maker, Checker: run.Checker,
	}
}

// renew reads a run anew under the lock: since a door has loaded it another one may have
// taken a step, which must neither be repeated nor written over.
func (r *Runner) renew(run *Run) error {
	now, err := r.shelf.load(run.ID)
	if err != nil {
		return err
	}
	*run = *now
	return nil
}

// Propose asks for the second person, in the name of who orders it. Where nobody has to
// approve, no check asks for it either, and alone is true: whoever ran it may go on.
func (r *Runner) Propose(ctx context.Context, run *Run, order Order) (alone bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.renew(run); err != nil {
		return false, err
	}
	if run.State != Checked {
		return false, points.Errorf(points.NotPermitted, "settlement run %s is %v; what is proposed is CHECKED", run.ID, run.State)
	}
	maker, before := run.Maker, run.Proposal
	run.Maker = order.By
	if run.Proposal, err = r.journal.Propose(ctx, run.publication(order)); err != nil {
		return false, fmt.Errorf("propose run %s of %v: %w", run.ID, run.Cut, err)
	}
	if maker != "" && run.Proposal == before {
		run.Maker = maker // Who looks at it again does not become the one who made it; who proposes it anew does.
	}
	_, warned := Failed(run.Checks, SecondPerson)
	return run.Proposal == 0 && !warned, r.write(run, "proposed")
}

// Approve notes that somebody approves a run, who must not be who ran it where a second
// person has to. The journal has both names with the posting.
func (r *Runner) Approve(ctx context.Context, run *Run, order Order) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.renew(run); err != nil {
		return err
	}
	if run.State == Checked || run.State == Approved {
		if posted, err := r.posted(ctx, run, order); err != nil || posted {
			return err
		}
	}
	name, second := Failed(run.Checks, SecondPerson)
	switch {
	case run.State != Checked:
		return points.Errorf(points.NotPermitted, "settlement run %s is %v; what is approved is CHECKED", run.ID, run.State)
	case order.By == ByRule && (second || run.Proposal != 0):
		return points.Errorf(points.NeedsSecondPerson, "settlement run %s: a person approves it, not the configured rule%s", run.ID, because(name))
	case order.By == run.Maker && (second || run.Proposal != 0):
		return points.Errorf(points.NeedsSecondPerson, "settlement run %s was run by %s: another person approves it%s", run.ID, run.Maker, because(name))
	}
	run.Checker = order.By
	if err := r.journal.Approvable(ctx, run.publication(order)); err != nil {
		return fmt.Errorf("approve run %s of %v: %w", run.ID, run.Cut, err)
	}
	run.reach(Approved, order, "manifest "+run.Manifest)
	return r.write(run, "approved")
}

func because(check string) string {
	if check == "" {
		return ""
	}
	return "; the check " + check + " asks for it"
}

// Publish makes an approved run visible and posts it: the files are proved and synced, the
// folder is renamed, and one command goes to the journal. Each of these can be repeated.
func (r *Runner) Publish(ctx context.Context, run *Run, order Order) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.progress.end()
	if err := r.renew(run); err != nil {
		return err
	}
	if run.State >= Published && run.State != Void {
		return nil
	}
	if !run.Live() || run.State < Checked {
		return points.Errorf(points.NotPermitted, "settlement run %s is %v; what is published is APPROVED%s", run.ID, run.State, toApprove(run))
	}
	began := r.opts.Clock()
	if err := r.stillApproved(ctx, run, order); err != nil {
		return fmt.Errorf("publish run %s of %v: %w", run.ID, run.Cut, err)
	}
	if err := r.unveil(run); err != nil {
		return fmt.Errorf("publish run %s of %v: %w", run.ID, run.Cut, err)
	}
	posting, err := r.journal.Publish(ctx, run.publication(order))
	if err != nil {
		return fmt.Errorf("publish run %s of %v: %w", run.ID, run.Cut, err)
	}
	if err := r.opts.Step("posted"); err != nil {
		return err
	}
	run.Posting = posting
	run.time(StepPublish, run.Items, r.opts.Clock()-began)
	run.reach(Published, order, note(posting))
	r.opts.Log.Info("settlement published", slog.String("run", run.ID), slog.String("cycle", run.Cut.String()), slog.Uint64("items", run.Items), slog.Uint64("posting", uint64(posting)))
	return r.write(run, "published")
}

// stillApproved asks the journal before anything becomes visible: it holds up what another
// run has posted, what was rejected after its approval, or approved too long ago.
func (r *Runner) stillApproved(ctx context.Context, run *Run, order Order) error {
	if posted, err := r.posted(ctx, run, order); err != nil || posted {
		return err
	}
	if run.State != Approved {
		return points.Errorf(points.NotPermitted, "it is %v; what is published is APPROVED%s", run.State, toApprove(run))
	}
	return r.journal.Approvable(ctx, run.publication(order)) //nolint:wrapcheck // the caller says what it is.
}

// toApprove says what comes before the publication of a run that nobody has approved.
func toApprove(run *Run) string {
	if run.State != Checked {
		return ""
	}
	return ": somebody else approves it first, with: lianfen settle approve " + run.ID + " --publish"
}

// note says where a posting is.
func note(posting points.Position) string {
	if posting == 0 {
		return "nothing was to be posted"
	}
	return fmt.Sprintf("journal %d", posting)
}

// unveil syncs, proves and renames the work folder, unless that was done before. Where this
// process has made the files, it proves that nobody has changed them since, and reads those
// again of which it cannot be certain; else it reads all.
func (r *Runner) unveil(run *Run) error {
	work, published := r.shelf.work(run.ID), r.shelf.published(run.ID)
	if _, err := os.Stat(published); err == nil {
		return r.proveFolder(published, run.Manifest, nil)
	}
	if err := syncAll(work); err != nil {
		return err
	}
	var known *witness
	if r.madeManifest == run.Manifest {
		known = r.made
	}
	if err := r.proveFolder(work, run.Manifest, known); err != nil {
		return fmt.Errorf("%w; lianfen settle run makes the files again", err)
	}
	if err := r.opts.Step("synced"); err != nil {
		return err
	}
	if err := errors.Join(os.Rename(work, published), syncFolder(filepath.Dir(published))); err != nil {
		return err
	}
	r.made, r.madeManifest = nil, ""
	return r.opts.Step("renamed")
}

// Confirm notes that the files have reached their members.
func (r *Runner) Confirm(run *Run, order Order, note string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.renew(run); err != nil {
		return err
	}
	if run.State != Published {
		return points.Errorf(points.NotPermitted, "settlement run %s is %v; what is confirmed is PUBLISHED", run.ID, run.State)
	}
	run.reach(Confirmed, order, note)
	return r.write(run, "confirmed")
}

// Void ends a run that was not published nor posted, and what was proposed of it. Only the
// latest one that is not published: another one was begun on the ground that this one is.
func (r *Runner) Void(ctx context.Context, run *Run, order Order, why string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.renew(run); err != nil {
		return err
	}
	if !run.Live() {
		return points.Errorf(points.NotPermitted, "settlement run %s is %v: it stays; correct it by an adjustment in a later date", run.ID, run.State)
	}
	if _, err := os.Stat(r.shelf.published(run.ID)); err == nil {
		return points.Errorf(points.NotPermitted, "settlement run %s: its files are visible already: lianfen settle run %s, then publish it", run.ID, run.ID)
	}
	runs, err := r.shelf.all()
	if err != nil {
		return err
	}
	for _, other := range runs {
		if run.Cut.Before(other.Cut) && other.Live() {
			return points.Errorf(points.NotPermitted, "settlement run %s: run %s of %v comes after it; only the latest that is not published can be void", run.ID, other.ID, other.Cut)
		}
	}
	// What is rejected first cannot be posted between the question and the end of the run.
	if err := r.journal.Withdraw(ctx, run.publication(order), order.By); err != nil {
		return fmt.Errorf("void run %s of %v: %w", run.ID, run.Cut, err)
	}
	standing, err := r.journal.Standing(ctx, run.Cut)
	if err != nil {
		return err //nolint:wrapcheck // the journal's own words.
	}
	if standing.of(run) {
		return points.Errorf(points.NotPermitted, "settlement run %s was posted at journal %d: it stays; lianfen settle publish %s makes its files visible", run.ID, standing.Posting, run.ID)
	}
	run.reach(Void, order, why)
	if err := r.write(run, "void"); err != nil {
		return err
	}
	return os.RemoveAll(r.shelf.work(run.ID)) //nolint:wrapcheck // it names the path.
}

// reproduce computes a published run again and holds it against what was published.
func (r *Runner) reproduce(ctx context.Context, run *Run) error {
	if err := r.proveFolder(r.shelf.published(run.ID), run.Manifest, nil); err != nil {
		return fmt.Errorf("%w: %w", ErrDiffers, err)
	}
	setting, err := r.journal.Setting(ctx)
	if err != nil {
		return err //nolint:wrapcheck // the journal's own words.
	}
	b, err := newBasis(&setting, r.opts.Models)
	if err != nil {
		return err
	}
	all, err := b.compute(ctx, r.journal, run.Cut, r.opts.Workers, r.progress)
	if err != nil {
		return fmt.Errorf("settlement of %v: %w", run.Cut, err)
	}
	if parts := run.differs(r.opts.key(run.Cut, &b, all)); len(parts) > 0 {
		return fmt.Errorf("%w: run %s of %v was published and stays; %s are others now, so that it cannot be proved by computing it again", ErrDiffers, run.ID, run.Cut, strings.Join(parts, ", "))
	}
	if positions := hexOf(all.fold.Digest()); positions != run.Positions {
		return fmt.Errorf("%w: run %s of %v: positions %s, were %s", ErrDiffers, run.ID, run.Cut, brief(positions), brief(run.Positions))
	}
	return nil
}

// Clean throws away what unfinished writing has left: folders of runs that are not
// known or void. It is called once, at a start.
func (r *Runner) Clean() error {
	entries, err := os.ReadDir(r.opts.Folder)
	if err != nil {
		return fmt.Errorf("settlement: %w", err)
	}
	for _, e := range entries {
		id, isWork := strings.CutSuffix(e.Name(), ".tmp")
		if !isWork || !e.IsDir() {
			continue
		}
		run, err := r.shelf.load(id)
		if err == nil && run.State >= Checked && run.State != Void && r.whole(run) == nil {
			continue
		}
		if err := os.RemoveAll(filepath.Join(r.opts.Folder, e.Name())); err != nil {
			return fmt.Errorf("settlement: %w", err)
		}
		r.opts.Log.Info("unfinished settlement files thrown away", slog.String("run", cmp.Or(id, "?")))
	}
	return nil
}
