package ledger

import (
	"cmp"
	"sort"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// Cut is a cycle of a business date: the positions between two cut-overs.
type Cut struct {
	Date        points.BusinessDate
	Cycle       uint8
	First, Last points.Position  // First is the cut-over that begins it; Last, while it is open, is where the journal ended
	Began       points.Timestamp // when First was posted
	Planned     points.Timestamp // for when the schedule wanted it; 0: it was by hand
	Closed      bool             // by a cut-over that is durable: nothing enters it any more
}

// after reports whether a record stands behind a cycle of a date.
func after(out *book.Outcome, date points.BusinessDate, cycle uint8) bool {
	return cmp.Or(cmp.Compare(out.Date, date), cmp.Compare(out.InCycle(), cycle)) > 0
}

// Range finds the cycle of a business date in the durable journal. Date and cycle only
// grow along it (I12), so that is two binary searches, of a few dozen records in a journal
// of any length. Errors: [points.UnknownOriginal] when there is no such cycle (yet).
func (l *Ledger) Range(date points.BusinessDate, cycle uint8) (Cut, error) {
	end := l.Durable()
	c := Cut{Date: date, Cycle: cycle}
	var err error
	if cycle == 0 {
		return c, points.Errorf(points.FormatError, "ledger: cycle 0 of %v: cycles are counted from 1", date)
	}
	// Before the first record of the cycle stand those of the cycle before it, or of a date before.
	if c.First, err = l.firstWhere(end, func(out *book.Outcome) bool { return after(out, date, cycle-1) }); err != nil {
		return c, err
	}
	next, err := l.firstWhere(end, func(out *book.Outcome) bool { return after(out, date, cycle) })
	if err != nil {
		return c, err
	}
	if c.First == next {
		return c, points.Errorf(points.UnknownOriginal, "ledger: business date %v has no cycle %d", date, cycle)
	}
	c.Last, c.Closed = next-1, next <= end
	began, err := l.Record(c.First)
	c.Began, c.Planned = began.Outcome.Posted, began.Command.Carried().Planned
	return c, err
}

// Cuts lists the cycles of a business date, in order; none when there is no such date.
func (l *Ledger) Cuts(date points.BusinessDate) (cuts []Cut, err error) {
	for cycle := uint8(1); cycle <= book.MaxCycle; cycle++ {
		c, err := l.Range(date, cycle)
		if points.ReasonOf(err) == points.UnknownOriginal {
			break
		}
		if err != nil {
			return nil, err
		}
		cuts = append(cuts, c)
	}
	return cuts, nil
}

// firstWhere is the first position up to end whose outcome fits, which all behind it do
// too; end+1 when there is none.
func (l *Ledger) firstWhere(end points.Position, fits func(*book.Outcome) bool) (points.Position, error) {
	var err error
	n := sort.Search(int(end), func(i int) bool { //nolint:gosec // positions fit.
		if err != nil {
			return true
		}
		var rec book.Record
		rec, err = l.Record(points.Position(i) + 1) //nolint:gosec // 0 <= i < end.
		return err != nil || fits(&rec.Outcome)
	})
	return points.Position(n) + 1, err //nolint:gosec // 0 <= n <= end.
}
