package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/reconcile"
)

// generated gives our lines, as a journal would.
type generated struct {
	day  *reconDay
	next uint64
}

// Next makes up the next line that we have.
func (g *generated) Next(line *reconcile.Line) (bool, error) {
	for g.next < g.day.lines {
		g.next++
		if g.day.wrong(g.next).class != reconcile.MissingSwitch {
			g.day.line(line, g.next)
			return true, nil
		}
	}
	return false, nil
}

// verdict holds what was found against what was planted.
type verdict struct {
	day          *reconDay
	right, wrong uint64
	doubts       uint64
}

// found takes a difference.
func (v *verdict) found(f *reconcile.Finding) error {
	var line *reconcile.Line
	for _, l := range f.Lines {
		if l != nil {
			line = l
		}
	}
	n, err := strconv.ParseUint(string(line.RRN[:]), 10, 64)
	if err != nil {
		return fmt.Errorf("bench: a finding of RRN %q: %w", line.RRN[:], err)
	}
	planted := v.day.wrong(n)
	if planted.class == reconcile.BadRow { // What cannot be read is missing.
		planted.class = reconcile.MissingAcq
		if planted.side == reconcile.Issuer {
			planted.class = reconcile.MissingIss
		}
	}
	if planted.class == f.Class && planted.side == f.Side {
		v.right++
	} else {
		v.wrong++
	}
	return nil
}

// planted is how many faults there are, and of them rows that cannot be read.
func (d *reconDay) planted() (all, bad uint64) {
	for n := uint64(1); n <= d.lines; n++ {
		switch d.wrong(n).class {
		case reconcile.Match:
		case reconcile.BadRow:
			bad++
			all++
		default:
			all++
		}
	}
	return all, bad
}

// files opens the files of a side. Rows that cannot be read are counted.
func (r *reconRun) files(side reconcile.Side, bad *uint64) (sources []reconcile.Lines, closers []func() error, err error) {
	for member := range r.day.half {
		file, err := os.Open(r.path(side, member))
		if err != nil {
			return nil, closers, fmt.Errorf("bench: %w", err)
		}
		closers = append(closers, file.Close)
		issuer := member + reconIssuers
		c, err := reconcile.NewCSV(file, side, reconDate, func(reconcile.BadLine) error {
			*bad++
			return nil
		})
		if err != nil {
			return nil, closers, fmt.Errorf("bench: %s: %w", file.Name(), err)
		}
		sources = append(sources, &owned{c, side, issuer})
	}
	return sources, closers, nil
}

// owned says whose file the lines are from.
type owned struct {
	reconcile.Lines
	side   reconcile.Side
	issuer uint64
}

// Next gives the next line.
func (o *owned) Next(line *reconcile.Line) (bool, error) {
	ok, err := o.Lines.Next(line)
	if o.side == reconcile.Issuer {
		line.Issuer = points.IssuerID(o.issuer)
	}
	return ok, err //nolint:wrapcheck // it names the line.
}

// inOrder merges files that are in order.
func inOrder(sources []reconcile.Lines) (reconcile.Lines, func() error, error) {
	lines, err := reconcile.Merge(sources...)
	return lines, func() error { return nil }, err //nolint:wrapcheck // it names the line.
}

// sorted sorts files that are in any order, as far as anybody knows.
func (r *reconRun) sorted(sources []reconcile.Lines) (reconcile.Lines, func() error, error) {
	s, err := reconcile.Sort(&chained{sources}, spillFolder{r.dir}, 0)
	if err != nil {
		return nil, nil, err //nolint:wrapcheck // it says what.
	}
	return s, s.Close, nil
}

// chained gives one source after the other.
type chained struct{ sources []reconcile.Lines }

// Next gives the next line.
func (c *chained) Next(line *reconcile.Line) (bool, error) {
	for len(c.sources) > 0 {
		if ok, err := c.sources[0].Next(line); ok || err != nil {
			return ok, err //nolint:wrapcheck // it names the line.
		}
		c.sources = c.sources[1:]
	}
	return false, nil
}

// spillFolder has the runs of a sort.
type spillFolder struct{ dir string }

type spillFile struct{ *os.File }

// Create makes a file.
func (f spillFolder) Create() (reconcile.SpillFile, error) {
	file, err := os.CreateTemp(f.dir, "sort-*")
	return spillFile{file}, err //nolint:wrapcheck // it names the path.
}

// Close removes the file.
func (f spillFile) Close() error { return errors.Join(f.File.Close(), os.Remove(f.Name())) }

// compare compares the three sides in one way, and holds what is found against what was
// planted. Without an order it sums them up only.
func (r *reconRun) compare(name string, order func([]reconcile.Lines) (reconcile.Lines, func() error, error)) (err error) {
	heap := watchHeap()
	watch := &stopwatch{clock: r.opts.Clock, began: r.opts.Clock()}
	if watch.cpu, err = ownCPU(); err != nil {
		return err
	}
	var bad [3]uint64 // by side: each is read on a goroutine of its own
	var theirs [3]reconcile.Lines
	for _, side := range partnerSides() {
		sources, closers, err := r.files(side, &bad[side])
		for _, closer := range closers {
			defer func() { err = errors.Join(err, closer()) }()
		}
		if err != nil {
			return err
		}
		theirs[side] = &chained{sources}
		if order == nil {
			continue
		}
		lines, done, err := order(sources)
		if err != nil {
			return err //nolint:wrapcheck // it says what.
		}
		defer func() { err = errors.Join(err, done()) }()
		theirs[side] = lines
	}
	v := verdict{day: &r.day}
	if order == nil {
		err = r.totals(theirs)
	} else {
		ours := reconcile.ReadAhead(&generated{day: &r.day})
		defer ours.Close()
		_, err = reconcile.Compare(ours, theirs[reconcile.Acquirer], theirs[reconcile.Issuer], reconcile.Hands{
			Found: v.found, Doubt: func(reconcile.Side, *reconcile.Line) error { v.doubts++; return nil },
		})
	}
	if err != nil {
		return fmt.Errorf("bench: %s: %w", name, err)
	}
	took, used, err := watch.lap()
	if err != nil {
		return err
	}
	r.line(name, took, used)
	r.judge(name, order != nil, &v, bad[reconcile.Acquirer]+bad[reconcile.Issuer], took, heap())
	return nil
}

// line is a measurement of three times as many lines as a side has.
func (r *reconRun) line(name string, took, cpu time.Duration) {
	rows := float64(3 * r.day.lines)
	r.report.Measurements = append(r.report.Measurements, Measurement{
		Name: name, Rounds: 1, PerSecond: ratio(rows, took.Seconds()), ServerCPU: ratio(float64(cpu.Nanoseconds())/1000, rows),
	})
	r.opts.Progress(fmt.Sprintf("%s took %v, and %v of CPU", name, took.Round(time.Millisecond), cpu.Round(time.Millisecond)), 0)
}

func (r *reconRun) judge(name string, lines bool, v *verdict, bad uint64, took time.Duration, heapMB float64) {
	part := max(1, reconLines/float64(r.day.lines)) // Of a smaller day, as if it went on like that.
	check := func(c Check) { r.report.Checks = append(r.report.Checks, c) }
	check(atMost(name+", for 3 times 10 million lines", took.Seconds()*part, "s", targetReconSeconds))
	check(atMost(name+": heap", heapMB, "MB", targetReconHeapMB))
	planted, unread := r.day.planted()
	check(none(name+": rows that cannot be read, beyond those planted or short of them", difference(bad, unread), "rows"))
	if lines {
		check(none(fmt.Sprintf("%s: of %d planted faults, those that were not found in their class", name, planted), planted-min(planted, v.right), "faults"))
		check(none(name+": findings that nobody planted", v.wrong+v.right-min(planted, v.right), "findings"))
	}
}

// totals sums both partners' sides and ours up, each on a goroutine of its own, as is done
// before any line is looked for.
func (r *reconRun) totals(theirs [3]reconcile.Lines) error {
	var group errgroup.Group
	for _, side := range partnerSides() {
		group.Go(func() error {
			ours, partner := reconcile.NewTotals(side), reconcile.NewTotals(side)
			if err := errors.Join(addAll(ours, &generated{day: &r.day}), addAll(partner, theirs[side])); err != nil {
				return err
			}
			if _, equal := ours.Compare(partner); equal != (r.apart[side-1] == 0) {
				return fmt.Errorf("totals of the %v: equal is %v, and %d rows are apart", side, equal, r.apart[side-1])
			}
			return nil
		})
	}
	return group.Wait() //nolint:wrapcheck // the caller says of what.
}

// addAll sums lines up.
func addAll(totals *reconcile.Totals, lines reconcile.Lines) error {
	var line reconcile.Line
	for {
		if ok, err := lines.Next(&line); !ok || err != nil {
			return err //nolint:wrapcheck // it names the line.
		}
		totals.Add(&line, reconTells)
	}
}

// plain reads all files and looks at nothing.
func (r *reconRun) plain() error {
	watch := &stopwatch{clock: r.opts.Clock, began: r.opts.Clock()}
	var err error
	if watch.cpu, err = ownCPU(); err != nil {
		return err
	}
	size, buffer := int64(0), make([]byte, 1<<20)
	for _, side := range partnerSides() {
		for member := range r.day.half {
			n, err := plainly(r.path(side, member), buffer)
			if err != nil {
				return fmt.Errorf("bench: %w", err)
			}
			size += n
		}
	}
	took, used, err := watch.lap()
	r.line("a plain read of the files", took, used)
	planted, _ := r.day.planted()
	r.report.note("the files of %d partners are %d MB, with %d faults", 2*r.day.half, size>>20, planted)
	return err
}

// baseline has sort and comm compare the same rows: they find how many rows only one side
// has, not what is wrong with them.
func (r *reconRun) baseline(ctx context.Context) error {
	path, err := exec.LookPath("sh")
	if err != nil {
		r.report.note("there is no sh here: not compared")
		return nil //nolint:nilerr // there is nothing to compare with, and the report says so.
	}
	var took, used time.Duration
	var apart uint64
	for _, side := range partnerSides() {
		r.opts.Progress(fmt.Sprintf("sort and comm: %v", side), time.Duration(r.day.lines)*2*time.Microsecond) //nolint:gosec // lines are bounded.
		const script = `cd "$0" && export LC_ALL=C TMPDIR="$0" && cat "$1"-*.csv | grep -v '^[r#]' | sort -S 256M > theirs.sorted && sort -S 256M "ours-$1.txt" > ours.sorted && comm -3 ours.sorted theirs.sorted | wc -l`
		began := r.opts.Clock()
		cmd := exec.CommandContext(ctx, path, "-c", script, r.dir, side.String()) //nolint:gosec // the script of this line.
		out, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("bench: sort and comm: %w", err)
		}
		took, used = took+r.opts.Clock().Sub(began), used+cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime()
		n, err := strconv.ParseUint(strings.TrimSpace(string(out)), 10, 64)
		if err != nil {
			return fmt.Errorf("bench: sort and comm: %w", err)
		}
		apart += n
		if err := errors.Join(os.Remove(filepath.Join(r.dir, "theirs.sorted")), os.Remove(filepath.Join(r.dir, "ours.sorted"))); err != nil {
			return fmt.Errorf("bench: %w", err)
		}
	}
	r.line("sort | comm, rows apart only", took, used)
	r.report.Checks = append(r.report.Checks, none("rows that sort and comm find apart, beyond those planted or short of them", difference(apart, r.apart[0]+r.apart[1]), "rows"))
	return nil
}
