package app

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/settlement"
)

// The nightly run looks for a cycle that has ended after so long; after a failure later and
// later, since each try may compute a whole day; and tells in the log how far it is.
const (
	nightLook  = 3 * time.Second
	nightRetry = 5 * time.Minute
	nightTell  = 5 * time.Second
)

// nightAlone is the name of the switch where it makes a run by itself and nobody is enrolled.
const nightAlone = "night"

// looked is what came of one look at the cycles.
type looked struct {
	tell   string // what people should know; empty: nothing
	failed bool   // it did not work: it is tried again, ever later; else people are waited for
}

// keepNights runs every cycle that ends, as far as the configuration says. What waits for
// people is left to them; what has failed is tried again.
func (a *App) keepNights(ctx context.Context) error {
	n := &a.opts.Config.Night
	if n.Run == config.NightlyOff {
		return nil
	}
	told, warned, failures := "", "", 0
	for {
		m, err := a.nightMaker(ctx)
		if m.problem != warned {
			a.tellNight(m.problem, false)
			warned = m.problem
		}
		look := looked{failed: true}
		if err == nil {
			look = a.runEnded(ctx, n, m)
		} else {
			look.tell = err.Error()
		}
		if say := look.tell; say != told && ctx.Err() == nil {
			a.tellNight(say, look.failed)
			told = say
		}
		if failures++; !look.failed {
			failures = 0
		}
		timer := time.NewTimer(nightWait(failures))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}

// tellNight logs what is in the way: a failure wakes somebody, what waits for people is read
// in the morning.
func (a *App) tellNight(say string, failed bool) {
	switch {
	case say == "":
	case failed:
		a.log.Error("settlement", slog.String("problem", say))
	default:
		a.log.Warn("settlement", slog.String("problem", say))
	}
}

// nightWait is how long after a look the next one is, after so many failures in a row.
func nightWait(failures int) time.Duration {
	wait := nightLook
	for range failures {
		if wait *= 2; wait >= nightRetry {
			return nightRetry
		}
	}
	return wait
}

// maker is in whose name the switch makes runs.
type maker struct {
	name    string
	problem string // what is wrong with what is configured for that; empty: nothing
	barred  bool   // the journal would refuse what it posts
}

// nightMaker looks up whom the configuration names. That nobody is enrolled yet must not keep
// the switch from starting: operators are enrolled while it serves.
func (a *App) nightMaker(ctx context.Context) (m maker, err error) {
	as := a.opts.Config.Night.As
	var enrolled bool
	var who *book.Operator
	if err := a.ledger.View(ctx, func(b *book.Book) error {
		operators := b.Registry().Operators
		enrolled, who = len(operators) > 0, operators[as]
		return nil
	}); err != nil {
		return m, err
	}
	switch {
	case !enrolled && as == "":
		return maker{name: nightAlone}, nil
	case !enrolled:
		return maker{nightAlone, fmt.Sprintf("settlement.as: no operator is enrolled, so that the switch settles in its own name (%s), not in that of %s: lianfen admin operator put %s", nightAlone, as, as), false}, nil
	case as == "":
		return maker{nightAlone, "settlement.as: it names nobody, and operators are enrolled: the switch can neither propose nor post; name one with the role operator, and start again", true}, nil
	case who == nil || who.Status != book.Active:
		return maker{as, fmt.Sprintf("settlement.as: %s is no active operator: the switch can neither propose nor post; lianfen admin operator list shows who is", as), true}, nil
	case !who.Roles.Has(book.RoleOperator):
		return maker{as, fmt.Sprintf("settlement.as: %s has not the role %v: the switch can neither propose nor post", as, book.RoleOperator), true}, nil
	}
	return maker{name: as}, nil
}

// nightWarnings are for people who look at how the switch is.
func (a *App) nightWarnings(ctx context.Context) (list []string) {
	if a.opts.Config.Night.Run != config.NightlyOff {
		if m, err := a.nightMaker(ctx); err == nil && m.problem != "" { // What is wrong with the ledger is told by whoever watches it.
			list = append(list, m.problem)
		}
	}
	if run := a.settlement.WouldFail(); run != nil {
		list = append(list, fmt.Sprintf("settlement of %v would not settle if the largest net debtor failed: %v: lianfen settle report %s", run.Cut, run.Debtor, run.ID))
	}
	return list
}

// runEnded runs the cycles that have ended and are not settled, in their order, until one
// has to wait.
func (a *App) runEnded(ctx context.Context, n *config.Night, m maker) looked {
	publish := n.Run == config.NightlyPublish
	if m.barred && publish {
		return looked{}
	}
	for last := (settlement.Cut{}); ; {
		next, tell, err := a.nextToRun(ctx, publish)
		switch {
		case err != nil:
			return looked{err.Error(), true}
		case next.Date == 0:
			return looked{tell: tell}
		case next.Date == last.Date && next.Cycle == last.Cycle: // Whatever is wrong, it must not compute a day for ever.
			return looked{fmt.Sprintf("%v was settled, and still counts as not settled: lianfen settle report --date %v --cycle %d", next, next.Date, next.Cycle), true}
		}
		order, err := a.orderOf(m.name)
		if err != nil {
			return looked{err.Error(), true}
		}
		finish := tellProgress(ctx, a.log, a.settlement.Progress)
		settled, err := a.take(ctx, next.Date, next.Cycle, order, settlement.ByRule, publish)
		finish()
		switch {
		case err != nil:
			return looked{err.Error(), true}
		case settled.Outcome != SettleDone:
			return looked{fmt.Sprintf("%v: %s", next, settled.Problem), settled.Outcome != SettleWaits}
		}
		a.log.Info("settlement run", slog.String("run", settled.Run.ID), slog.String("state", settled.Run.State.String()))
		last = next
	}
}

// nextToRun is the first cycle that is to be settled: of those that cleared something and
// were not posted, of those of which a run is under way, and of the one behind the last that
// was published, also when it is empty, so that members get their files of each. Without a
// date there is none, or people have to do something first, which tell says. With publish,
// what is approved is not left to people.
func (a *App) nextToRun(ctx context.Context, publish bool) (next settlement.Cut, tell string, err error) {
	runs, err := a.settlement.Runs()
	if err != nil {
		return next, "", err
	}
	waiting, err := a.clearing.Unposted(ctx, a.ledger.Durable()+1)
	if err != nil {
		return next, "", err
	}
	behind, err := a.behindLast(ctx, runs)
	if err != nil {
		return next, "", err
	}
	if len(waiting) > 0 {
		next = waiting[0]
	}
	first := func(c settlement.Cut) {
		if c.Date != 0 && (next.Date == 0 || c.Before(next)) {
			next = c
		}
	}
	first(behind)
	for _, run := range runs {
		if run.Live() {
			first(run.Cut)
		}
	}
	run := lastOf(runs, next)
	switch {
	case next.Date == 0 || run == nil:
		return next, "", nil
	case run.State == settlement.Void:
		s := run.Stages[len(run.Stages)-1]
		return settlement.Cut{}, fmt.Sprintf("run %s of %v was made void by %s (%s): it is left to people, and later cycles wait for it: lianfen settle run --date %v --cycle %d",
			run.ID, next, s.By, s.Note, next.Date, next.Cycle), nil
	case run.State == settlement.Checked && run.Maker != "", run.State == settlement.Approved && !publish:
		return settlement.Cut{}, "", nil // It waits for people.
	}
	return next, "", nil
}

// lastOf is the run of a cycle that counts: the one that is not void, else the last of them;
// nil: there is none.
func lastOf(runs []*settlement.Run, cut settlement.Cut) (last *settlement.Run) {
	for _, run := range runs {
		if run.Cut.Date == cut.Date && run.Cut.Cycle == cut.Cycle && (last == nil || last.State == settlement.Void) {
			last = run
		}
	}
	return last
}

// behindLast is the first cycle that has ended behind the latest one that was published, and
// of which no run was made void; where none was published, the last one that has ended.
func (a *App) behindLast(ctx context.Context, runs []*settlement.Run) (cut settlement.Cut, err error) {
	published := func(run *settlement.Run) bool {
		return run.State == settlement.Published || run.State == settlement.Confirmed
	}
	i := slices.IndexFunc(runs, published)
	if i < 0 {
		cut.Date, cut.Cycle, err = a.lastEnded(ctx)
		if run := lastOf(runs, cut); run != nil && run.State == settlement.Void {
			return settlement.Cut{}, err
		}
		return a.unlessPosted(ctx, cut, err)
	}
	latest := runs[i].Cut
	for _, run := range runs[i:] {
		if published(run) && latest.Before(run.Cut) {
			latest = run.Cut
		}
	}
	for last := latest.Last; ; {
		began, err := a.ledger.Record(last + 1)
		if err != nil {
			return cut, err
		}
		c, err := a.ledger.Range(began.Outcome.Date, began.Outcome.InCycle())
		if err != nil || !c.Closed {
			return settlement.Cut{}, err
		}
		cut = settlement.Cut{Date: c.Date, Cycle: c.Cycle, First: c.First, Last: c.Last}
		if run := lastOf(runs, cut); run == nil || run.State != settlement.Void {
			if open, err := a.unlessPosted(ctx, cut, nil); err != nil || open.Date != 0 {
				return open, err
			}
		}
		last = c.Last
	}
}

// unlessPosted is a cycle that is not posted; one that is was published by a run whose files
// are not here: the ledger was restored without them.
func (a *App) unlessPosted(ctx context.Context, cut settlement.Cut, err error) (settlement.Cut, error) {
	if err != nil || cut.Date == 0 {
		return cut, err
	}
	err = a.ledger.View(ctx, func(b *book.Book) error {
		view, _, err := b.ClearedIn(cut.Date, cut.Cycle)
		if view.Posted != 0 {
			cut = settlement.Cut{}
		}
		return err
	})
	return cut, err
}

// tellProgress logs how far the run is, until finish is called.
func tellProgress(ctx context.Context, log *slog.Logger, read func() settlement.Progress) (finish func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(nightTell)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				if now := read(); now.Step != "" {
					log.Info("settlement progress", slog.String("step", now.Step), slog.Uint64("done", now.Done), slog.Uint64("total", now.Total),
						slog.Uint64("per_second", now.PerSecond()), slog.Uint64("seconds_left", now.Left()))
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}
