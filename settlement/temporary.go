package settlement

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/files"
	"github.com/lianfen/lianfen/tariff"
)

// Temporary makes the sets of a cycle as they would be if it ended at the time of the order:
// that of a member, or with 0 everybody's and the operator's. It returns the folder that they
// lie in, which is the caller's to remove. It is no run: nothing is written down, checked or
// delivered. The files have mode D and are not signed, so that nobody takes them for what a
// settlement has come to. A cycle that has ended is taken too.
func (r *Runner) Temporary(ctx context.Context, date points.BusinessDate, cycle uint8, member tariff.Member, order Order) (folder string, run *Run, err error) {
	if !validID(order.ID) {
		return "", nil, points.Errorf(points.FormatError, "temporary set %q: want the 26 characters of a ULID", order.ID)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.progress.end()
	cut, err := r.journal.Cut(date, cycle)
	if err != nil {
		return "", nil, err //nolint:wrapcheck // the journal's own words.
	}
	if cut.NeverClosed {
		cut.Ended = order.At
	}
	setting, err := r.journal.Setting(ctx)
	if err != nil {
		return "", nil, err //nolint:wrapcheck // as above.
	}
	if known := func(p Party) bool { return p.Member == member }; member != 0 && !slices.ContainsFunc(setting.Parties, known) {
		return "", nil, points.Errorf(points.FormatError, "temporary set of %v: no such member", member)
	}
	b, err := newBasis(&setting, r.opts.Models)
	if err != nil {
		return "", nil, err
	}
	opts := r.opts
	opts.Mode, opts.Key = files.DryRun, nil
	return r.temporary(ctx, &b, &Run{ID: order.ID, Created: order.At, Cut: cut}, &opts, member)
}

// temporary computes and writes what a run would.
func (r *Runner) temporary(ctx context.Context, b *basis, run *Run, opts *Options, member tariff.Member) (folder string, _ *Run, err error) {
	all, err := b.compute(ctx, r.journal, run.Cut, opts.Workers, r.progress)
	if err == nil {
		err = all.fold.Check()
	}
	if err != nil {
		return "", nil, fmt.Errorf("temporary set of %v: %w", run.Cut, err)
	}
	run.setKey(opts.key(run.Cut, b, all))
	run.Items, run.Exceptions, run.Rows = all.items, all.exceptions.all(), uint64(run.Cut.Last-run.Cut.First)+1
	folder = r.shelf.work(run.ID) // What is left of it goes at the next start.
	rendering := &rendering{basis: *b, run: run, computed: all, folder: folder, opts: opts, progress: r.progress, witness: newWitness(), only: member}
	if _, err := rendering.render(ctx, r.journal); err != nil {
		return "", nil, errors.Join(fmt.Errorf("temporary set of %v: %w", run.Cut, err), os.RemoveAll(folder))
	}
	return folder, run, nil
}
