package bench

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sync/errgroup"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement"
	"github.com/lianfen/lianfen/settlement/files"
	"github.com/lianfen/lianfen/settlement/netting"
)

// Targets of a settlement run, for 10 million items on two idle cores; docs/performance.md
// says where they come from. Smaller days have their part of the time.
const (
	settleItems          = 10_000_000
	targetComputeSeconds = 15
	targetPublishSeconds = 60
	targetSettleHeapMB   = 512
	targetSettlePerCPU   = 400_000 // items of a day for each CPU second, end to end
)

// SettleOptions say which day is settled.
type SettleOptions struct {
	Clock    Clock
	Progress Progress
	Dir      string // where the temporary folder is made; "": the system's
	Keep     bool
	Items    uint64
	Members  int
	Workers  int
	Twin     bool   // detail files have a CSV twin
	Journal  uint64 // records of a journal to read; 0: none
}

// settleRun is one run.
type settleRun struct {
	opts   SettleOptions
	report *Report
	day    *settlement.Synthetic
	dir    string
}

// Settle settles a made-up day from its cut to its published files, beside SQLite and
// sort|awk, which add up the same lines to the same positions.
func Settle(ctx context.Context, opts SettleOptions) (_ *Report, err error) {
	r := &settleRun{opts: opts, report: newReport("settle")}
	if r.dir, err = os.MkdirTemp(opts.Dir, "lianfen-bench-"); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	if opts.Keep {
		r.report.Kept = r.dir
	} else {
		defer func() { err = errors.Join(err, os.RemoveAll(r.dir)) }()
	}
	if r.day, err = settlement.NewSynthetic(opts.Items, opts.Members, 1); err != nil {
		return nil, err
	}
	opts.Progress("making the day up, and what the ledger would have kept of it", lasts(opts.Items, time.Microsecond))
	if err := r.day.Naive(ctx); err != nil {
		return nil, err
	}
	run, err := r.settle(ctx)
	if err != nil {
		return nil, err
	}
	nets, err := r.published(run)
	if err != nil {
		return nil, err
	}
	if err := r.baselines(ctx, nets); err != nil || opts.Journal == 0 {
		return r.report, err
	}
	return r.report, r.journal(ctx)
}

// stopwatch measures wall and CPU time of one thing after the other.
type stopwatch struct {
	clock Clock
	began time.Time
	cpu   time.Duration
}

func (r *settleRun) watch() (*stopwatch, error) {
	cpu, err := ownCPU()
	return &stopwatch{r.opts.Clock, r.opts.Clock(), cpu}, err
}

// lap returns what went by since the last lap.
func (s *stopwatch) lap() (took, used time.Duration, err error) {
	cpu, err := ownCPU()
	now := s.clock()
	took, used = now.Sub(s.began), cpu-s.cpu
	s.began, s.cpu = now, cpu
	return took, used, err
}

// line is a measurement of something that was done once.
func (r *settleRun) line(name string, rows uint64, took, cpu time.Duration) {
	m := Measurement{Name: name, Rounds: 1}
	if took > 0 {
		m.PerSecond = float64(rows) / took.Seconds()
		m.ServerCPU = float64(cpu.Microseconds()) / float64(rows)
	}
	r.report.Measurements = append(r.report.Measurements, m)
	r.opts.Progress(fmt.Sprintf("%s took %v, and %v of CPU", name, took.Round(time.Millisecond), cpu.Round(time.Millisecond)), 0)
}

// lap is the line of what went by since the last lap.
func (r *settleRun) lap(s *stopwatch, name string, rows uint64) (took, used time.Duration, err error) {
	took, used, err = s.lap()
	r.line(name, rows, took, used)
	return took, used, err
}

// errKilled ends a run where a kill would.
var errKilled = errors.New("bench: killed")

// settle takes the day to its published files. The run is killed behind COMPUTED, goes on
// from there, is run again behind CHECKED, and then approved and published.
func (r *settleRun) settle(ctx context.Context) (*settlement.Run, error) {
	kill := true
	runner, err := r.runner(func(step string) error {
		if step == "computed" && kill {
			kill = false
			return errKilled
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	r.opts.Progress("settling it", lasts(r.opts.Items, 6*time.Microsecond))
	order := settlement.Order{At: points.TimestampOf(r.opts.Clock()), By: "bench", ID: "01KJJQZ3A0000000000000000A"}
	watch, err := r.watch()
	if err != nil {
		return nil, err
	}
	if _, err := runner.Run(ctx, 20260302, 1, order); !errors.Is(err, errKilled) {
		return nil, fmt.Errorf("bench: a run that is killed behind COMPUTED: %w", err)
	}
	if _, _, err := r.lap(watch, "cut to COMPUTED, then killed", r.opts.Items); err != nil {
		return nil, err
	}
	heap := watchHeap()
	run, err := runner.Run(ctx, 20260302, 1, order)
	if err != nil {
		return nil, err
	}
	took, used, err := r.lap(watch, "gone on with: computed once more, to CHECKED", run.Items)
	if err != nil {
		return nil, err
	}
	if _, err := runner.Run(ctx, 20260302, 1, order); err != nil {
		return nil, err
	}
	if _, _, err := r.lap(watch, "run again behind CHECKED", run.Items); err != nil {
		return nil, err
	}
	order.By = "bench too"
	if err := errors.Join(runner.Approve(ctx, run, order), runner.Publish(ctx, run, order)); err != nil {
		return nil, err
	}
	more, too, err := r.lap(watch, "CHECKED to PUBLISHED", run.Items)
	if err != nil {
		return nil, err
	}
	return run, r.judge(run, took+more, used+too, heap())
}

func (r *settleRun) runner(step func(string) error) (*settlement.Runner, error) {
	models, err := netting.NewModels(1, []netting.Rule{{One: netting.Any, Other: netting.Any, Model: netting.MNET}})
	if err != nil {
		return nil, err
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	key, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	return settlement.NewRunner(r.day, settlement.Options{
		Folder: filepath.Join(r.dir, "run"), Operator: 90_000_001, Name: "bench", Code: "bench", Workers: r.opts.Workers, Models: models,
		Mode: files.Test, Zone: time.UTC, Key: key, Twin: r.opts.Twin, Step: step,
		Clock: func() points.Timestamp { return points.TimestampOf(r.opts.Clock()) },
	})
}

func (r *settleRun) judge(run *settlement.Run, took, used time.Duration, heapMB float64) error {
	var compute time.Duration
	for _, t := range run.Timings {
		lasted := time.Duration(t.Micros) * time.Microsecond
		r.report.note("step %s: %v", t.Step, lasted.Round(time.Millisecond))
		if t.Step == settlement.StepCompute {
			compute = lasted
		}
	}
	r.line("cut to PUBLISHED", run.Items, took, used)
	part := max(1, settleItems/float64(r.opts.Items)) // Of a smaller day, as if it went on like that.
	r.report.Checks = append(r.report.Checks,
		atMost("cut to COMPUTED, for 10 million items", compute.Seconds()*part, "s", targetComputeSeconds),
		atMost("cut to PUBLISHED, for 10 million items", took.Seconds()*part, "s", targetPublishSeconds),
		atMost("heap", heapMB, "MB", targetSettleHeapMB),
		atLeast("items for each CPU second", ratio(float64(run.Items), used.Seconds()), "items", targetSettlePerCPU))
	r.report.note("%d items between %d members; items are made up as they are read: what reading and decoding a journal twice costs comes on top", run.Items, r.opts.Members)
	peak, err := procField(os.Getpid(), "status", "VmHWM")
	r.report.note("most memory of the process: %d MB", peak>>10)
	return err
}

// watchHeap looks at the heap until it is asked for the most there was, in MB.
func watchHeap() (most func() float64) {
	stop, done := make(chan struct{}), make(chan uint64)
	go func() {
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		var high uint64
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			high = max(high, m.HeapInuse)
			select {
			case <-ticker.C:
			case <-stop:
				done <- high
				return
			}
		}
	}()
	return func() float64 {
		close(stop)
		return float64(<-done) / (1 << 20)
	}
}

// published reads the files again: plainly, for what reading the bytes costs; and the
// member's net of every item, which goes to the file that the others add up.
func (r *settleRun) published(run *settlement.Run) (map[string]string, error) {
	folder := filepath.Join(r.dir, "run", run.ID)
	if err := r.verified(run, folder); err != nil {
		return nil, err
	}
	r.opts.Progress("reading the files again", lasts(run.Items, time.Microsecond))
	size, buffer := int64(0), make([]byte, 1<<20)
	out, err := os.Create(r.lines())
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	w := bufio.NewWriterSize(out, 1<<20)
	watch, err := r.watch()
	if err != nil {
		return nil, err
	}
	err = filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		n, err := plainly(path, buffer)
		size += n
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	if _, _, err := r.lap(watch, "a plain read of the files", run.Items); err != nil {
		return nil, err
	}
	r.report.note("the files are %d MB", size>>20)
	details, err := filepath.Glob(filepath.Join(folder, "*", "QZ_DET_*.txt"))
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	for _, path := range details {
		if err := netsOf(path, w); err != nil {
			return nil, fmt.Errorf("bench: %w", err)
		}
	}
	if err := errors.Join(w.Flush(), out.Close()); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	return figures(filepath.Join(folder, settlement.OperatorFolder))
}

// verified proves every member's set, as each member would its own.
func (r *settleRun) verified(run *settlement.Run, folder string) error {
	sets, err := os.ReadDir(folder)
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	r.opts.Progress("proving every set", lasts(run.Items, 2*time.Microsecond))
	watch, err := r.watch()
	if err != nil {
		return err
	}
	var group errgroup.Group
	var broken atomic.Uint64
	group.SetLimit(r.opts.Workers)
	for _, set := range sets {
		if !set.IsDir() || set.Name() == settlement.OperatorFolder {
			continue
		}
		group.Go(func() error {
			report, err := files.Verify(os.DirFS(filepath.Join(folder, set.Name())), nil, files.Check{Scale: files.Scale})
			if err == nil && !report.OK {
				broken.Add(1)
			}
			return err //nolint:wrapcheck // it says which file.
		})
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	_, _, err = r.lap(watch, "every member's set proved", run.Items)
	r.report.Checks = append(r.report.Checks, none("sets in which settle verify finds something", broken.Load(), "sets"))
	return err
}

func (r *settleRun) lines() string { return filepath.Join(r.dir, "lines.csv") }

func plainly(path string, buffer []byte) (n int64, err error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err //nolint:wrapcheck // it names the path.
	}
	for err == nil {
		var some int
		some, err = file.Read(buffer)
		n += int64(some)
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, errors.Join(err, file.Close())
}

// netsOf writes member and net of every line of a detail file.
func netsOf(path string, w io.Writer) (err error) {
	file, err := os.Open(path)
	if err != nil {
		return err //nolint:wrapcheck // it names the path.
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	reader, broken, err := files.NewDetailReader(file)
	if err != nil || len(broken) > 0 {
		return errors.Join(err, errors.New(path+": it is broken"))
	}
	var line files.Line
	var row []byte
	for {
		more, broken, err := reader.Next(&line)
		if err != nil || len(broken) > 0 {
			return fmt.Errorf("%s: %v: %w", path, broken, err)
		}
		if !more {
			return nil
		}
		row = append(strconv.AppendInt(append(reader.Header().Receiver.Append(row[:0]), ','), int64(line.Net), 10), '\n')
		if _, err := w.Write(row); err != nil {
			return err //nolint:wrapcheck // the caller says where.
		}
	}
}

// figures are the members' nets of the net position file, in smallest units.
func figures(folder string) (map[string]string, error) {
	paths, err := filepath.Glob(filepath.Join(folder, "QZ_NET_*.csv"))
	if err != nil || len(paths) != 1 {
		return nil, fmt.Errorf("bench: %d net position files in %s: %w", len(paths), folder, err)
	}
	file, err := os.Open(paths[0])
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	rows, _, broken, err := files.ReadNet(file, files.Scale)
	if err := errors.Join(err, file.Close()); err != nil || len(broken) > 0 {
		return nil, fmt.Errorf("bench: %s: %v: %w", paths[0], broken, err)
	}
	nets := map[string]string{}
	for i := range rows {
		if m := rows[i].Member; rows[i].Whole() && m.Institution() {
			nets[m.String()] = strconv.FormatInt(int64(rows[i].Receive-rows[i].Pay), 10)
		}
	}
	return nets, nil
}

// baselines has other programs add up the same lines, and holds what they come to against
// the figures.
func (r *settleRun) baselines(ctx context.Context, nets map[string]string) error {
	script := fmt.Sprintf("CREATE TABLE l(member TEXT, net INTEGER);\n.mode csv\n.import %s l\n.mode list\n.separator ' '\nSELECT member, SUM(net) FROM l GROUP BY member;\n", r.lines())
	for _, other := range []struct {
		name, program string
		args          []string
		in            string
	}{
		{"SQLite: import and GROUP BY", "sqlite3", []string{filepath.Join(r.dir, "lines.db")}, script},
		{"sort | awk", "sh", []string{"-c", `LC_ALL=C sort -t, -k1,1 "$0" | awk -F, '$1 != m { if (m != "") printf "%s %.0f\n", m, s; m = $1; s = 0 } { s += $2 } END { printf "%s %.0f\n", m, s }'`, r.lines()}, ""},
	} {
		path, err := exec.LookPath(other.program)
		if err != nil {
			r.report.note("there is no %s here: not compared", other.program)
			continue
		}
		r.opts.Progress(other.name, lasts(r.opts.Items, 2*time.Microsecond))
		began := r.opts.Clock()
		cmd := exec.CommandContext(ctx, path, other.args...) //nolint:gosec // the two of this table.
		cmd.Stdin = strings.NewReader(other.in)
		out, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("bench: %s: %w", other.name, err)
		}
		r.line(other.name+", positions only", r.opts.Items, r.opts.Clock().Sub(began), cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
		wrong, seen := uint64(0), 0
		for line := range strings.Lines(string(out)) {
			member, net, _ := strings.Cut(strings.TrimSpace(line), " ")
			if seen++; nets[member] != net {
				wrong++
			}
		}
		if seen != len(nets) {
			wrong++
		}
		r.report.Checks = append(r.report.Checks, none("members whose position "+other.name+" finds otherwise", wrong, "members"))
	}
	return nil
}

// lasts is how long n of each take; what no duration holds is the longest there is.
func lasts(n uint64, each time.Duration) time.Duration {
	if longest := math.MaxInt64 / each; n < uint64(longest) { //nolint:gosec // each is above zero.
		return time.Duration(n) * each //nolint:gosec // less than longest.
	}
	return math.MaxInt64
}
