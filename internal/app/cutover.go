package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	pointswitch "github.com/lianfen/lianfen/switch"
)

// schedule says when business dates and their cycles end.
type schedule struct {
	config.Settlement
	zone *time.Location
}

// plan is what a configuration plans: when dates and cycles end, when is paid, and by when
// members acknowledge.
type plan struct {
	schedule
	calendar points.Calendar
	ackBy    config.ClockTimes
	waits    bool // files are carried or fetched, so that members are waited for
}

// planOf reads what a configuration plans, in the zone of this process.
func (a *App) planOf(c *config.Config) (*plan, error) {
	calendar, err := readCalendar(&c.Settlement)
	return &plan{schedule{c.Settlement, a.zone}, calendar, c.Courier.AckBy, len(c.Courier.Deliveries) > 0 || c.Courier.Fetch.Address != ""}, err
}

// settles is when is paid what is cleared on a date, as the calendar in force has it.
func (a *App) settles(date points.BusinessDate) points.BusinessDate {
	return a.planned.Load().calendar.Settles(date)
}

// standing is where the journal stands: the date and cycle that run, and when the date began, or, where the schedule has begun it,
// should have.
type standing struct {
	date  points.BusinessDate
	cycle uint8
	began points.Timestamp
}

// cut is a cut-over that is planned: what begins, and when.
type cut struct {
	date  points.BusinessDate
	cycle uint8
	at    points.Timestamp
}

// instant is the first moment of a day at which the local clock shows a time or a later
// one: where the clock is set back that is its first passage, where it is set forward over
// the time, the moment of that.
func (s *schedule) instant(day points.BusinessDate, at config.ClockTime) points.Timestamp {
	y, m, d := day.Time().Date()
	t := time.Date(y, m, d, int(at)/60, int(at)%60, 0, 0, s.zone)
	start, end := t.ZoneBounds()
	shown := config.ClockTime(t.Hour()*60 + t.Minute())
	switch {
	case shown > at: // There is no such time: t is told by the clock before.
		return points.TimestampOf(start)
	case shown < at:
		return points.TimestampOf(end)
	case start.IsZero():
		return points.TimestampOf(t)
	}
	_, now := t.Zone()
	_, before := start.Add(-time.Second).Zone()
	if earlier := t.Add(-time.Duration(before-now) * time.Second); before > now && earlier.Before(start) {
		return points.TimestampOf(earlier)
	}
	return points.TimestampOf(t)
}

// noon divides the times that end the date of the same day from those that end the one of
// the day before.
const noon config.ClockTime = 12 * 60

// end is when a business date ends.
func (s *schedule) end(date points.BusinessDate) points.Timestamp {
	at := s.CutOver[0]
	if at < noon {
		date = date.AddDays(1)
	}
	return s.instant(date, at)
}

// cycles are the moments at which cycles of a date end that goes on, in order.
func (s *schedule) cycles(date points.BusinessDate) (ends []points.Timestamp) {
	for _, at := range s.Cycles {
		if len(s.CutOver) == 0 {
			ends = append(ends, s.instant(date, at))
			continue
		}
		from, to := s.end(date.AddDays(-1)), s.end(date)
		for day := date.AddDays(-1); day <= date.AddDays(1); day = day.AddDays(1) {
			if t := s.instant(day, at); from < t && t < to {
				ends = append(ends, t)
			}
		}
	}
	slices.Sort(ends)
	return slices.Compact(ends) // Two times that a clock has left out are one moment.
}

// next is the cut-over that is planned next; ok is false when none is. One that came early
// by hand is not repeated: the date and cycle that it began are the next ones already.
func (s *schedule) next(now standing) (c cut, ok bool) {
	ends := slices.DeleteFunc(s.cycles(now.date), func(end points.Timestamp) bool { return end <= now.began })
	if n := int(now.cycle); n <= len(ends) {
		return cut{now.date, now.cycle + 1, ends[n-1]}, true
	}
	if len(s.CutOver) == 0 {
		return cut{}, false
	}
	return cut{now.date.AddDays(1), 1, s.end(now.date)}, true
}

// runs reads where the journal stands.
func (a *App) runs(ctx context.Context) (now standing, err error) {
	err = a.ledger.View(ctx, func(b *book.Book) error {
		now.date, now.cycle = b.Date(), b.Cycle()
		return nil
	})
	if err != nil {
		return now, err
	}
	began, err := a.ledger.Range(now.date, 1)
	now.began = cmp.Or(began.Planned, began.Began)
	return now, err
}

// cutOverCommand is the command of a cut-over, by whom is left open.
func (a *App) cutOverCommand(date points.BusinessDate, cycle uint8) book.Command {
	if cycle == 1 {
		cycle = 0
	}
	c := &a.opts.Config
	return book.Command{
		Kind: book.KindCutOver, Edition: book.Edition, At: a.opts.Clock(), Date: date, Cycle: cycle,
		TraceDays: uint8(c.Ledger.TraceDays), Limit: uint32(c.Ledger.TraceKeys), //nolint:gosec // 2 to 31; 1 to 2^32-1.
		TraceTime: uint32(pointswitch.Remembers(c.Switch.FreshnessBehind) / time.Second), //nolint:gosec // at most 30 days and 2 hours.
	}
}

// cutDue carries out every cut-over whose time has come, in order, and returns when the
// next one is planned; 0: none is. What was missed is carried out with the time it was
// planned for in its record.
func (a *App) cutDue(ctx context.Context) (points.Timestamp, error) {
	for {
		now, err := a.runs(ctx)
		if err != nil {
			return 0, err
		}
		next, ok := a.planned.Load().next(now)
		if !ok {
			return 0, nil
		}
		if next.at > a.opts.Clock() {
			return next.at, nil
		}
		cmd := a.cutOverCommand(next.date, next.cycle)
		cmd.Planned = next.at
		cmd.At = max(cmd.At, next.at)
		out, err := a.ledger.Do(ctx, &cmd)
		switch {
		case err != nil:
			return 0, err
		case out.Reason == points.AlreadyExists: // Somebody was faster.
			continue
		case !out.Reason.Approved():
			return 0, points.Errorf(out.Reason, "planned cut-over to cycle %d of %v: %s", next.cycle, next.date, out.Reason.English())
		}
		a.log.Info("cut-over", slog.String("date", next.date.String()), slog.Int("cycle", int(next.cycle)),
			slog.String("planned", next.at.String()), slog.Duration("late", out.Posted.Sub(next.at)))
		if err := a.begun(ctx, &cmd); err != nil {
			return 0, err
		}
	}
}

// begun does what follows a cut-over: a date that begins is told, and makes things due.
func (a *App) begun(ctx context.Context, cmd *book.Command) error {
	if cmd.Cycle > 1 {
		return nil
	}
	a.issuers.CutOver(cmd.Date)
	return a.night(ctx)
}

// The schedule is looked at again after so long at the most, since operators end dates and
// clocks are set; and after a fault.
const (
	scheduleLook  = 15 * time.Second
	scheduleRetry = 5 * time.Second
)

// keepDates ends what a stop left undone of a night, and carries out planned cut-overs.
func (a *App) keepDates(ctx context.Context) error {
	if err := a.finishNight(ctx); err != nil {
		return err
	}
	for {
		wait := scheduleLook
		next, err := a.cutDue(ctx)
		switch {
		case ctx.Err() != nil, errors.Is(err, ledger.ErrFailed):
			return nil //nolint:nilerr // whoever watches the ledger tells of it.
		case err != nil:
			wait = scheduleRetry
			a.log.Error("planned cut-over failed and is tried again", slog.String("error", err.Error()))
		case next == 0:
		default:
			wait = max(0, min(wait, next.Sub(a.opts.Clock())))
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}

// readCalendar reads the days on which banks pay.
func readCalendar(c *config.Settlement) (points.Calendar, error) {
	var text []byte
	if c.Holidays != "" {
		var err error
		if text, err = certs.ReadRegular(c.Holidays, certs.MaxFile); err != nil {
			return points.Calendar{}, fmt.Errorf("settlement.holidays: %w", err)
		}
	}
	calendar, err := points.ParseCalendar(string(text), c.Weekend)
	if err != nil {
		return calendar, fmt.Errorf("settlement.holidays %s: %w", c.Holidays, err)
	}
	return calendar, nil
}

// CycleAsked names a business date; none: the one that runs.
type CycleAsked struct {
	Date points.BusinessDate `json:"date,omitempty"`
}

// CycleState is a cycle of a business date, for people.
type CycleState struct {
	Date    points.BusinessDate `json:"business_date"`
	Cycle   uint8               `json:"cycle"`
	Settles points.BusinessDate `json:"settlement_date"` // when it is paid
	Began   string              `json:"began"`
	Planned string              `json:"planned,omitempty"` // where a schedule has begun it: for when
	First   points.Position     `json:"first"`
	Last    points.Position     `json:"last"`
	Closed  bool                `json:"closed"`
	Ends    string              `json:"ends,omitempty"` // of an open one, by the schedule
}

// cycles lists the cycles of a business date.
func (a *App) cycles(ctx context.Context, asked CycleAsked) ([]CycleState, error) {
	now, err := a.runs(ctx)
	if err != nil {
		return nil, err
	}
	date := cmp.Or(asked.Date, now.date)
	cuts, err := a.ledger.Cuts(date)
	if err != nil {
		return nil, err
	}
	if len(cuts) == 0 {
		return nil, points.Errorf(points.UnknownOriginal, "business date %v: there was none", date)
	}
	list := make([]CycleState, 0, len(cuts))
	for _, c := range cuts {
		s := CycleState{Date: c.Date, Cycle: c.Cycle, Settles: a.settles(c.Date), Began: c.Began.String(), First: c.First, Last: c.Last, Closed: c.Closed}
		if c.Planned != 0 {
			s.Planned = c.Planned.String()
		}
		if next, ok := a.planned.Load().next(now); ok && !c.Closed {
			s.Ends = next.at.String()
		}
		list = append(list, s)
	}
	return list, nil
}
