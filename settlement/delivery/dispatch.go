package delivery

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/files"
	"github.com/lianfen/lianfen/tariff"
)

// DispatchOptions are what a dispatch works with.
type DispatchOptions struct {
	Runs  string // folder of the runs; slips lie beside them
	Shelf string // folder in which members that fetch find theirs
	// Sets lists the published runs, in their order.
	Sets func() ([]Set, error)
	// Confirm notes that every member has acknowledged a run.
	Confirm func(run string) error
	// Due is when the acknowledgements of what was published at a moment have to be there;
	// 0: never.
	Due     func(published points.Timestamp) points.Timestamp
	Courier *Courier                 // nil: nothing is carried
	Targets map[tariff.Member]Target // to whom it carries
	Broken  map[tariff.Member]string // of them, who cannot be reached as things are set up, and why
	Fetches []tariff.Member          // who fetch
	Clock   points.Clock
	Look    time.Duration // how often it looks for what is to be done
	Asks    time.Duration // how seldom at most a member's server is asked for acknowledgements
	Log     *slog.Logger
	// Registry takes the gauges; nil: there are none.
	Registry prometheus.Registerer
}

// lookBack is how old a set is that is still carried and waited for.
const lookBack = 31 * 24 * time.Hour

// Dispatch brings what is published to its members and remembers what they have and have
// said. Make one with [NewDispatch], then [Dispatch.Run] it.
type Dispatch struct {
	opts    DispatchOptions // but for the ways, which are below
	slips   slips
	metrics dispatchMetrics

	taking sync.Mutex // one Refresh at a time

	mu   sync.Mutex // guards what follows, and the slips in it
	ways Ways
	open []*carried // in the order of the runs
}

// Ways are how members get their files.
type Ways struct {
	Courier *Courier                 // nil: nothing is carried
	Targets map[tariff.Member]Target // to whom it carries
	// Broken are those of Targets who cannot be reached as things are set up, and why. Their
	// files wait.
	Broken  map[tariff.Member]string
	Fetches []tariff.Member // who fetch
}

// carried is a set with its slips.
type carried struct {
	Set
	slips  map[tariff.Member]*Slip
	active map[tariff.Member]bool      // somebody is at it
	next   map[tariff.Member]time.Time // not before
	late   map[tariff.Member]bool      // it was told
}

type dispatchMetrics struct {
	sets   *prometheus.GaugeVec
	late   prometheus.Gauge
	broken prometheus.Gauge
}

// NewDispatch returns a dispatch.
func NewDispatch(opts DispatchOptions) (*Dispatch, error) {
	d := &Dispatch{opts: opts, slips: slips{opts.Runs}}
	d.metrics = dispatchMetrics{
		sets: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "lianfen_settlement_sets", Help: "File sets of members in runs that are not confirmed, by state."}, []string{"state"}),
		late: prometheus.NewGauge(prometheus.GaugeOpts{Name: "lianfen_settlement_acks_late", Help: "File sets that were not acknowledged in time."}),
		broken: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "lianfen_settlement_ways_broken", Help: "Members to whom nothing can be carried as things are set up: a key or a file of known hosts is missing or wrong.",
		}),
	}
	if opts.Registry != nil {
		if err := errors.Join(opts.Registry.Register(d.metrics.sets), opts.Registry.Register(d.metrics.late), opts.Registry.Register(d.metrics.broken)); err != nil {
			return nil, fmt.Errorf("delivery: %w", err)
		}
	}
	return d, d.Redirect(Ways{opts.Courier, opts.Targets, opts.Broken, opts.Fetches})
}

// Redirect puts other ways in force: what is on its way goes on as it began, and all else is
// tried at once.
func (d *Dispatch) Redirect(ways Ways) error {
	for _, m := range ways.Fetches {
		if err := os.MkdirAll(d.shelf(m), 0o700); err != nil {
			return fmt.Errorf("delivery: %w", err)
		}
	}
	d.metrics.broken.Set(float64(len(ways.Broken)))
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ways = ways
	for _, c := range d.open {
		clear(c.next)
	}
	return nil
}

// way is how a member gets its files, as things are now.
func (d *Dispatch) way(m tariff.Member) way {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ways.of(m)
}

// way is the way to one member.
type way struct {
	courier *Courier
	target  Target
	carries bool
	fetches bool
	broken  string // empty: it is not
}

func (w *Ways) of(m tariff.Member) way {
	target, carries := w.Targets[m]
	return way{w.Courier, target, carries, slices.Contains(w.Fetches, m), w.Broken[m]}
}

// shelf is the folder that a member sees.
func (d *Dispatch) shelf(m tariff.Member) string { return filepath.Join(d.opts.Shelf, m.String()) }

// Accounts are those of the members that fetch, with the keys that open them; whoever has
// none any more, nil, has no account.
func (d *Dispatch) Accounts(keys func(tariff.Member) ([]byte, error)) ([]Account, error) {
	d.mu.Lock()
	fetches := d.ways.Fetches
	d.mu.Unlock()
	accounts := make([]Account, 0, len(fetches))
	for _, m := range fetches {
		text, err := keys(m)
		if err != nil {
			return nil, err
		}
		if text == nil {
			continue
		}
		parsed, err := files.ParseKeys(text)
		if err != nil {
			return nil, fmt.Errorf("member %v: %w", m, err)
		}
		accounts = append(accounts, Account{Member: m, Folder: d.shelf(m), Keys: parsed})
	}
	return accounts, nil
}

// Run delivers until ctx ends, and returns when everybody who was on the way is back.
func (d *Dispatch) Run(ctx context.Context) error {
	var out sync.WaitGroup
	defer out.Wait()
	ticker := time.NewTicker(d.opts.Look)
	defer ticker.Stop()
	told := ""
	for {
		problem := ""
		if err := d.look(ctx, &out); err != nil {
			problem = err.Error()
		}
		if problem != told {
			if told = problem; problem != "" {
				d.opts.Log.Error("settlement delivery", slog.String("problem", problem))
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// look finds what is to be done and sends somebody for each member.
func (d *Dispatch) look(ctx context.Context, out *sync.WaitGroup) error {
	errs := []error{d.Refresh()}
	for _, c := range d.send(ctx, out) {
		if err := d.opts.Confirm(c.Run); err != nil { // Without the lock: a run may be under way.
			errs = append(errs, err)
			continue
		}
		d.mu.Lock()
		c.Confirmed = true
		d.mu.Unlock()
	}
	d.tell()
	return errors.Join(errs...)
}

// send sends somebody for each member for whom there is something to be done, and returns
// the sets that all their members have acknowledged.
func (d *Dispatch) send(ctx context.Context, out *sync.WaitGroup) (all []*carried) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.opts.Clock().Time()
	for _, c := range d.open {
		if c.Confirmed {
			continue
		}
		done := len(c.slips) > 0
		for m, slip := range c.slips {
			if slip.State == Acked {
				continue
			}
			done = false
			if c.active[m] || now.Before(c.next[m]) {
				continue
			}
			c.active[m] = true
			out.Go(func() { d.visit(ctx, c, m) })
		}
		if done {
			all = append(all, c)
		}
	}
	return all
}

// Refresh opens the sets that are new.
func (d *Dispatch) Refresh() error {
	d.taking.Lock()
	defer d.taking.Unlock()
	sets, err := d.opts.Sets()
	if err != nil {
		return err
	}
	var errs []error
	oldest := d.opts.Clock() - points.Timestamp(lookBack.Microseconds())
	for i := range sets {
		set := &sets[i]
		if c := d.known(set.Run); c != nil {
			d.mu.Lock()
			c.Confirmed = c.Confirmed || set.Confirmed // Somebody may have said so.
			d.mu.Unlock()
			continue
		}
		if set.Published < oldest {
			continue
		}
		c, err := d.begin(set)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		d.mu.Lock()
		d.open = append(d.open, c)
		d.mu.Unlock()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open = slices.DeleteFunc(d.open, func(c *carried) bool { return c.Published < oldest && len(c.active) == 0 })
	return errors.Join(errs...)
}

func (d *Dispatch) known(run string) *carried {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.open {
		if c.Run == run {
			return c
		}
	}
	return nil
}

// begin reads the slips of a set, and writes those that are missing.
func (d *Dispatch) begin(set *Set) (*carried, error) {
	c := &carried{Set: *set, active: map[tariff.Member]bool{}, next: map[tariff.Member]time.Time{}, late: map[tariff.Member]bool{}}
	var err error
	if c.slips, err = d.slips.load(set.Run); err != nil {
		return nil, err
	}
	fresh, err := newSlips(set)
	if err != nil {
		return nil, err
	}
	for _, slip := range fresh {
		if before := c.slips[slip.Member]; before != nil {
			if !d.collect(c, before) {
				continue
			}
			slip = before
		}
		if err := d.slips.save(slip); err != nil {
			return nil, err
		}
		c.slips[slip.Member] = slip
	}
	return c, nil
}

// collect takes in what a member had dropped here when a process ended.
// It reports whether there was something.
func (d *Dispatch) collect(c *carried, slip *Slip) (some bool) {
	for i := range slip.Files {
		f := &slip.Files[i]
		if f.Want == "" || f.Acked {
			continue
		}
		text, err := os.Open(filepath.Join(d.shelf(slip.Member), c.folder(), f.Name+AckSuffix))
		if err != nil {
			continue // It has dropped none.
		}
		ack, err := ParseAck(text)
		_ = text.Close() // Only read.
		if err == nil {
			err = slip.acknowledge(f.Name, ack, d.opts.Clock())
		}
		if err != nil {
			f.Wrong = oneLine(err)
		}
		some = true
	}
	return some
}

// change changes a slip and writes it down; what cannot be written down did not happen.
func (d *Dispatch) change(c *carried, m tariff.Member, f func(*Slip)) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := c.slips[m]
	if before == nil {
		return points.Errorf(points.UnknownOriginal, "delivery: %v has no set in run %s", m, c.Run)
	}
	after := *before
	after.Files = slices.Clone(before.Files)
	f(&after)
	if err := d.slips.save(&after); err != nil {
		return err
	}
	c.slips[m] = &after
	return nil
}

// view is a slip as it stands, which nobody changes.
func (d *Dispatch) view(c *carried, m tariff.Member) *Slip {
	d.mu.Lock()
	defer d.mu.Unlock()
	return c.slips[m] // Changes make a new one.
}

// Pauses between tries for a set that did not arrive, beside those for each file.
const (
	firstPause = 10 * time.Second
	mostPause  = 15 * time.Minute
)

// visit does for a member what can be done now.
func (d *Dispatch) visit(ctx context.Context, c *carried, m tariff.Member) {
	pause, err := d.attend(ctx, c, m)
	slip, problem := d.view(c, m), ""
	if err != nil {
		problem = oneLine(err)
		pause = cmp.Or(pause, min(firstPause<<min(slip.Attempts, 10), mostPause))
	}
	if ctx.Err() == nil && (problem != slip.Problem || err != nil && slip.State == Published) {
		if problem != "" && problem != slip.Problem {
			d.warn(c, m, err)
		}
		if err := d.change(c, m, func(s *Slip) {
			if s.Problem = problem; err != nil {
				s.Attempts++
			}
		}); err != nil {
			d.warn(c, m, err)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(c.active, m)
	c.next[m] = d.opts.Clock().Time().Add(pause)
}

func (d *Dispatch) warn(c *carried, m tariff.Member, err error) {
	d.opts.Log.Warn("settlement delivery", slog.String("run", c.Run), slog.String("member", m.String()), slog.String("problem", oneLine(err)))
}

// attend lays a set out, carries it, or asks for acknowledgements, and says after how long
// there is more to be done.
func (d *Dispatch) attend(ctx context.Context, c *carried, m tariff.Member) (time.Duration, error) {
	slip, way := d.view(c, m), d.way(m)
	if way.fetches && !slip.Ready {
		if err := d.layOut(c, slip); err != nil {
			return 0, err
		}
		if err := d.change(c, m, func(s *Slip) { s.Ready = true }); err != nil {
			return 0, err
		}
	}
	if !way.carries {
		return d.opts.Look, nil
	}
	if way.broken != "" {
		return 0, errors.New(way.broken)
	}
	way.target.Folder = strings.TrimSuffix(way.target.Folder, "/") + "/" + c.folder()
	if slip.State == Published {
		return 0, d.carry(ctx, c, slip, &way)
	}
	// Often at first, seldom later: members answer soon, or in the morning.
	waited := time.Duration(d.opts.Clock()-slip.Delivered) * time.Microsecond
	return min(max(waited/4, d.opts.Look), d.opts.Asks), d.ask(ctx, c, slip, &way)
}

// prove holds the files of a set against what was approved.
func (d *Dispatch) prove(c *carried, slip *Slip) error {
	for i := range slip.Files {
		f := &slip.Files[i]
		if f.Carried != "" && f.Carried != f.Digest {
			return fmt.Errorf("%s: %w: it was delivered as %s, published is %s", f.Name, ErrDiffers, f.Carried, f.Digest)
		}
		path := filepath.Join(c.Folder, slip.Member.String(), f.Name)
		digest, err := digestOf(path)
		if err != nil {
			return err
		}
		if digest != f.Digest {
			return fmt.Errorf("%s is not the file that was approved: SHA-256 %s, want %s; it is not delivered", path, digest, f.Digest)
		}
	}
	return nil
}

func digestOf(path string) (digest string, err error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err //nolint:wrapcheck // it names the path.
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", err //nolint:wrapcheck // as above.
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// carry carries what the member has not got yet: the sums and what signs them only when it
// has all else.
func (d *Dispatch) carry(ctx context.Context, c *carried, slip *Slip, way *way) error {
	if err := d.prove(c, slip); err != nil {
		return err
	}
	var all, last []string
	for i := range slip.Files {
		switch f := &slip.Files[i]; {
		case f.Carried != "":
		case f.Name == files.SumsName || f.Name == files.SignatureName:
			last = append(last, f.Name)
		default:
			all = append(all, f.Name)
		}
	}
	for _, names := range [][]string{all, last} {
		if err := d.parcel(ctx, c, slip, way.courier, Parcel{Target: way.target, Files: os.DirFS(filepath.Join(c.Folder, slip.Member.String())), Names: names}); err != nil {
			return err
		}
	}
	now := d.opts.Clock()
	if err := d.change(c, slip.Member, func(s *Slip) {
		if s.State < Delivered {
			s.State, s.Delivered, s.Problem = Delivered, now, ""
		}
	}); err != nil {
		return err
	}
	d.opts.Log.Info("settlement delivered", slog.String("run", c.Run), slog.String("member", slip.Member.String()), slog.String("to", way.target.Address))
	return nil
}

// parcel carries some files and writes each down that has arrived.
func (d *Dispatch) parcel(ctx context.Context, c *carried, slip *Slip, courier *Courier, p Parcel) error {
	if len(p.Names) == 0 {
		return nil
	}
	var mu sync.Mutex
	var errs []error
	courier.Deliver(ctx, []Parcel{p}, func(o Outcome) {
		err := o.Err
		if err == nil {
			err = d.change(c, slip.Member, func(s *Slip) { f := s.file(o.Name); f.Carried = f.Digest })
		}
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			errs = append(errs, err)
		}
	})
	if err := ctx.Err(); err != nil {
		return err //nolint:wrapcheck // the caller knows.
	}
	return errors.Join(errs...)
}

// ask asks a member's server for acknowledgements.
func (d *Dispatch) ask(ctx context.Context, c *carried, slip *Slip, way *way) error {
	var wanted []files.Output
	for i := range slip.Files {
		if f := &slip.Files[i]; f.Want != "" && !f.Acked {
			wanted = append(wanted, files.Output{Name: f.Name})
		}
	}
	found, err := way.courier.read(ctx, way.target, wanted)
	for _, name := range slices.Sorted(maps.Keys(found)) {
		if told := d.heard(c, slip.Member, name, found[name]); told != nil && err == nil {
			err = told
		}
	}
	return err
}

// heard enters what a member has said of a file.
func (d *Dispatch) heard(c *carried, m tariff.Member, name string, said saying) error {
	now := d.opts.Clock()
	before := ""
	var differs error
	if err := d.change(c, m, func(s *Slip) {
		if f := s.file(name); f != nil {
			before = f.Wrong
		}
		if differs = said.err; differs == nil {
			differs = s.acknowledge(name, said.ack, now)
		} else if f := s.file(name); f != nil {
			f.Wrong = oneLine(differs)
		}
	}); err != nil {
		return err
	}
	if differs == nil {
		d.opts.Log.Info("settlement acknowledged", slog.String("run", c.Run), slog.String("member", m.String()), slog.String("file", name))
		return nil
	}
	if oneLine(differs) != before {
		d.opts.Log.Warn("settlement acknowledgement differs", slog.String("run", c.Run), slog.String("member", m.String()), slog.String("file", name),
			slog.String("differs", oneLine(differs)))
	}
	return fmt.Errorf("the acknowledgement of %s differs: %w", name, differs)
}

// layOut puts a set where its member fetches: the published files themselves under a
// second name, so that they take no room and cannot be others.
func (d *Dispatch) layOut(c *carried, slip *Slip) error {
	if err := d.prove(c, slip); err != nil {
		return err
	}
	place := filepath.Join(d.shelf(slip.Member), c.folder())
	if _, err := os.Stat(place); err == nil {
		return nil
	}
	work := filepath.Join(d.shelf(slip.Member), "."+c.folder())
	if err := errors.Join(os.RemoveAll(work), os.MkdirAll(work, 0o700)); err != nil {
		return fmt.Errorf("lay out for %v: %w", slip.Member, err)
	}
	for i := range slip.Files {
		name := slip.Files[i].Name
		if err := os.Link(filepath.Join(c.Folder, slip.Member.String(), name), filepath.Join(work, name)); err != nil {
			return fmt.Errorf("lay out for %v: %w", slip.Member, err)
		}
	}
	if err := errors.Join(syncFolder(work), os.Rename(work, place), syncFolder(d.shelf(slip.Member))); err != nil {
		return fmt.Errorf("lay out for %v: %w", slip.Member, err)
	}
	return nil
}

// Hears is what a server tells of the members that fetch.
func (d *Dispatch) Hears() Hears { return Hears{Acked: d.acked, Fetched: d.fetched} }

// place finds what a member's path is of.
func (d *Dispatch) place(name string) (c *carried, file string) {
	folder, file, _ := strings.Cut(name, "/")
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.open {
		if c.folder() == folder {
			return c, file
		}
	}
	return nil, ""
}

// acked takes an acknowledgement that was dropped here.
func (d *Dispatch) acked(m tariff.Member, name string, ack Ack) error {
	c, file := d.place(name)
	if c == nil {
		return fmt.Errorf("%s: nothing of it is waited for", name)
	}
	return d.heard(c, m, file, saying{ack: ack})
}

// fetched notes that a member has read a file to its end. Who has read the sums and every
// detail file has the set.
func (d *Dispatch) fetched(m tariff.Member, name string) {
	c, file := d.place(name)
	if c == nil {
		return
	}
	if d.way(m).carries {
		return // It has the set when it was carried there.
	}
	slip := d.view(c, m)
	if slip == nil {
		return
	}
	if f := slip.file(file); f == nil || f.Carried != "" {
		return
	}
	now := d.opts.Clock()
	if err := d.change(c, m, func(s *Slip) {
		f := s.file(file)
		f.Carried = f.Digest
		if s.State == Published && s.carried(func(f *Sent) bool { return f.Want != "" }) {
			s.State, s.Delivered, s.Problem = Delivered, now, ""
		}
	}); err != nil {
		d.warn(c, m, err)
	}
}

// CanByHand tells why ByHand would refuse.
func (d *Dispatch) CanByHand(run string, m tariff.Member, ack *Ack) error {
	c := d.known(run)
	if c == nil {
		return points.Errorf(points.UnknownOriginal, "delivery: run %s is not published, or it is older than %d days", run, int(lookBack.Hours()/24))
	}
	slip := d.view(c, m)
	if slip == nil {
		return points.Errorf(points.UnknownOriginal, "delivery: %v has no set in run %s", m, run)
	}
	if ack == nil {
		return nil
	}
	trial := *slip
	trial.Files = slices.Clone(slip.Files)
	if err := trial.acknowledge(files.SumsName, *ack, d.opts.Clock()); err != nil {
		return points.Errorf(points.FormatError, "delivery to %v: its acknowledgement differs: %s", m, oneLine(err))
	}
	return nil
}

// ByHand enters that somebody has given a member its set, and what the member has said of
// it: nil when it has said nothing.
func (d *Dispatch) ByHand(run string, m tariff.Member, by string, ack *Ack) (*Slip, error) {
	if err := d.CanByHand(run, m, ack); err != nil {
		return nil, err
	}
	c, now := d.known(run), d.opts.Clock()
	if c == nil {
		return nil, points.Errorf(points.UnknownOriginal, "delivery: run %s has just become too old", run)
	}
	if err := d.change(c, m, func(s *Slip) {
		if ack != nil {
			_ = s.acknowledge(files.SumsName, *ack, now) // It was looked at.
		}
		if s.By == "" {
			s.By = by
		}
		if s.State < Delivered {
			s.State, s.Problem = Delivered, ""
		}
		if s.Delivered == 0 {
			s.Delivered = now
		}
	}); err != nil {
		return nil, err
	}
	return d.view(c, m), nil
}

// Row is a member's set as people look at it.
type Row struct {
	Slip
	Date  points.BusinessDate `json:"business_date"`
	Cycle uint8               `json:"cycle"`
	Way   string              `json:"way"`           // sftp and an address, fetch, both, or by hand
	Due   points.Timestamp    `json:"due,omitempty"` // of the acknowledgement
	Late  bool                `json:"late,omitempty"`
	Wrong []string            `json:"wrong,omitempty"` // in what acknowledgements differ
}

// Rows lists the deliveries of a run by member; of all that are open where run is empty.
func (d *Dispatch) Rows(run string) []Row {
	d.mu.Lock()
	defer d.mu.Unlock()
	rows := []Row{}
	for _, c := range d.open {
		if run != c.Run && (run != "" || c.Confirmed) {
			continue
		}
		for _, m := range slices.Sorted(maps.Keys(c.slips)) {
			slip := c.slips[m]
			rows = append(rows, Row{Slip: *slip, Date: c.Date, Cycle: c.Cycle, Way: d.ways.of(m).String(), Due: d.opts.Due(c.Published), Late: d.isLate(c, slip), Wrong: slip.wrong()})
		}
	}
	return rows
}

// String says how a member gets its files.
func (w way) String() string {
	sftp := "sftp " + w.target.Address
	if w.broken != "" {
		sftp += " (broken)"
	}
	switch {
	case w.carries && w.fetches:
		return sftp + ", fetch"
	case w.carries:
		return sftp
	case w.fetches:
		return "fetch"
	default:
		return "by hand"
	}
}

// isLate reports whether an acknowledgement is missing that should be there.
func (d *Dispatch) isLate(c *carried, slip *Slip) bool {
	due := d.opts.Due(c.Published)
	return !c.Confirmed && slip.State != Acked && due != 0 && d.opts.Clock() > due
}

// tell counts what is open, and warns of each acknowledgement that is late, once a process.
func (d *Dispatch) tell() {
	d.mu.Lock()
	defer d.mu.Unlock()
	counts, late := make(map[State]int), 0
	for _, c := range d.open {
		if c.Confirmed {
			continue
		}
		for _, m := range slices.Sorted(maps.Keys(c.slips)) {
			slip := c.slips[m]
			counts[slip.State]++
			if !d.isLate(c, slip) {
				continue
			}
			late++
			if !c.late[m] {
				c.late[m] = true
				d.opts.Log.Warn("settlement not acknowledged in time", slog.String("run", c.Run), slog.String("member", m.String()), slog.String("state", slip.State.String()),
					slog.String("due", d.opts.Due(c.Published).String()), slog.String("problem", cmp.Or(slip.Problem, "none")))
			}
		}
	}
	for _, state := range []State{Published, Delivered, Acked} {
		d.metrics.sets.WithLabelValues(state.String()).Set(float64(counts[state]))
	}
	d.metrics.late.Set(float64(late))
}

// Warnings says in a line to whom nothing can be carried, and in a line a run what is not
// acknowledged in time.
func (d *Dispatch) Warnings() (all []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, m := range slices.Sorted(maps.Keys(d.ways.Broken)) {
		all = append(all, fmt.Sprintf("nothing is carried to member %v: %s", m, d.ways.Broken[m]))
	}
	for _, c := range d.open {
		late, n := 0, len(c.slips)
		for _, slip := range c.slips {
			if d.isLate(c, slip) {
				late++
			}
		}
		if late > 0 {
			all = append(all, fmt.Sprintf("settlement of %v cycle %d: %d of %d members have not acknowledged their files: lianfen settle deliveries %s", c.Date, c.Cycle, late, n, c.Run))
		}
	}
	return all
}
