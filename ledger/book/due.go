package book

import (
	"cmp"
	"slices"

	"github.com/lianfen/lianfen/points"
)

// What falls due is written down by date when it comes to be: a hold when it is
// placed, an account when it gets the first lot of a date. An account may be
// written down twice, and may have nothing left when its date comes; a visit
// that finds nothing costs nothing. So nothing is searched for, and nothing needs
// to be in memory to be found.

// Bounds of one batch.
const (
	defaultBatch = 1000
	maxBatch     = 4096
	maxBatchLots = 1 << 13
	// looksPerEntry bounds the visits that find nothing, so that a batch never
	// holds up traffic for long.
	looksPerEntry = 16
)

// registration is a due entry that the current command will write down if it is
// approved.
type registration struct {
	kind int
	date points.BusinessDate
	who  due
}

// register writes down what the current command made fall due.
func (b *Book) register() error {
	for _, r := range b.fresh {
		buckets := b.dueDates[r.kind]
		i, found := slices.BinarySearchFunc(buckets, r.date, func(at bucket, date points.BusinessDate) int {
			return cmp.Compare(at.date, date)
		})
		if !found {
			buckets = slices.Insert(buckets, i, bucket{date: r.date})
			b.dueDates[r.kind] = buckets
		}
		p, err := b.findPage(r.kind, r.date, buckets[i].added/pageSize)
		if err != nil {
			return err
		}
		b.touch(p)
		p.entries = append(p.entries, r.who)
		buckets[i].added++
	}
	return nil
}

func (b *Book) findPage(kind int, date points.BusinessDate, index uint32) (*page, error) {
	key := pageKey{uint8(kind), date, index} //nolint:gosec // one of dueKinds.
	if p, ok := b.pages.find(key); ok {
		return p, nil
	}
	p := &page{key: key}
	if _, err := b.load(p); err != nil {
		return nil, err
	}
	return b.pages.add(*p), nil
}

// workThrough visits what falls due before date, earliest first, until limit
// entries had something due.
func (b *Book) workThrough(kind int, before points.BusinessDate, limit uint32, out *Outcome, visit func(who due, date points.BusinessDate) (bool, error)) error {
	looked := uint32(0)
	for visited := uint32(0); len(b.dueDates[kind]) > 0; looked++ {
		at := &b.dueDates[kind][0]
		if at.date >= before {
			return nil
		}
		if visited >= limit || looked >= looksPerEntry*limit || len(out.Lots) >= maxBatchLots {
			out.More = true
			return nil
		}
		p, err := b.findPage(kind, at.date, at.done/pageSize)
		if err != nil {
			return err
		}
		counted, err := visit(p.entries[at.done%pageSize], at.date)
		if err != nil {
			return err
		}
		if counted {
			visited++
		}
		at.done++
		if at.done == at.added || at.done%pageSize == 0 {
			b.touch(p)
			p.entries = nil
		}
		if at.done == at.added {
			b.dueDates[kind] = slices.Delete(b.dueDates[kind], 0, 1)
		}
	}
	return nil
}

// Due tells which batches have work on the business date that runs: holds,
// pending lots, lapsed lots, decaying lots. It may name one whose work is all done by hand.
func (b *Book) Due() (kinds []Kind) {
	for _, list := range [...]struct {
		at     int
		before points.BusinessDate
		kind   Kind
	}{
		{dueHolds, b.date, KindExpireHolds},
		{dueVest, b.date.AddDays(1), KindVestLots},
		{dueExpiry, b.date, KindExpireLots},
		{dueDecay, b.date.AddDays(1), KindDecay},
	} {
		if dates := b.dueDates[list.at]; b.date != 0 && len(dates) > 0 && dates[0].date < list.before {
			kinds = append(kinds, list.kind)
		}
	}
	if _, over := b.docket.over(b.date); over {
		kinds = append(kinds, KindExpireDisputes)
	}
	return kinds
}

// batch checks a command that works through a due list.
func (b *Book) batch(cmd *Command) (before points.BusinessDate, limit uint32, reason points.Reason) {
	if b.date == 0 {
		return 0, 0, points.ProgramClosed
	}
	before = cmd.Date
	if before == 0 {
		before = b.date
	}
	if !before.Valid() || before > b.date {
		return 0, 0, points.NotPermitted
	}
	limit = cmd.Limit
	if limit == 0 {
		limit = defaultBatch
	}
	return before, min(limit, maxBatch), points.Approved
}

// expireHolds releases holds whose last day is over.
func (b *Book) expireHolds(cmd *Command, out *Outcome) (points.Reason, error) {
	before, limit, reason := b.batch(cmd)
	if !reason.Approved() {
		return reason, nil
	}
	err := b.workThrough(dueHolds, before, limit, out, func(who due, _ points.BusinessDate) (bool, error) {
		h, err := b.findHold(points.Position(who.party))
		switch {
		case err != nil:
			return false, err
		case h == nil:
			return b.holdElsewhereOver(points.Position(who.party))
		case h.state != holdOpen:
			return false, nil
		}
		a, err := b.needAccount(h.account)
		if err != nil {
			return false, err
		}
		reason, err := b.endHold(h, a, holdExpired, out)
		return true, must(reason, err)
	})
	return points.Approved, err
}

// must turns a refusal in the middle of a batch into a fault: a batch is not
// declined for what one account holds, and the refusals left are overflows of
// sums that are bounded by what was posted before.
func must(reason points.Reason, err error) error {
	if err == nil && !reason.Approved() {
		return points.Errorf(reason, "book: a batch met the refusal %v", reason)
	}
	return err
}

// expireLots books lapsed points to breakage.
//
//	member    -amount
//	breakage  +amount
func (b *Book) expireLots(cmd *Command, out *Outcome) (points.Reason, error) {
	before, limit, reason := b.batch(cmd)
	if !reason.Approved() {
		return reason, nil
	}
	err := b.workThrough(dueExpiry, before, limit, out, func(who due, date points.BusinessDate) (bool, error) {
		a, err := b.needAccount(AccountKey{MemberAccount, who.program, who.party})
		if err != nil {
			return false, err
		}
		var lapsed points.Amount
		for i := range a.lots {
			if a.lots[i].key.ExpiresOn == date {
				b.change(a)
				lapsed += a.lots[i].amount
				b.takeFrom(a, i, a.lots[i].amount, false, out)
			}
		}
		if lapsed == 0 {
			return false, nil
		}
		a.lots = dropEmpty(a.lots)
		out.Amount += lapsed
		reason, err := b.postLapsed(a, lapsed, out)
		return true, must(reason, err)
	})
	return points.Approved, err
}

// vestLots makes pending lots whose first day has come one with those that are
// active. They could be spent before; this keeps lots few.
func (b *Book) vestLots(cmd *Command, out *Outcome) (points.Reason, error) {
	before, limit, reason := b.batch(cmd)
	if !reason.Approved() {
		return reason, nil
	}
	err := b.workThrough(dueVest, before.AddDays(1), limit, out, func(who due, date points.BusinessDate) (bool, error) {
		a, err := b.needAccount(AccountKey{MemberAccount, who.program, who.party})
		if err != nil {
			return false, err
		}
		b.taken = b.taken[:0]
		for i := range a.lots {
			if a.lots[i].key.ActiveOn == date {
				b.change(a)
				b.takeFrom(a, i, a.lots[i].amount, false, out)
			}
		}
		if len(b.taken) == 0 {
			return false, nil
		}
		a.lots = dropEmpty(a.lots)
		for _, vested := range b.taken {
			out.Amount += vested.amount
			if reason := b.give(a, vested.key, vested.amount, false, false, out); !reason.Approved() {
				return false, must(reason, nil)
			}
		}
		return true, nil
	})
	return points.Approved, err
}

// maxDate is the last business date: every term that rules can give from it on
// still has a year of four digits.
const maxDate points.BusinessDate = 97001231

// MaxCycle is the last cycle of a business date.
const MaxCycle = 99

// cutOver begins a business date, or the next cycle of the one that runs: from this
// position on, nothing enters the one before (I12). Keys of dates that are over are
// forgotten.
func (b *Book) cutOver(cmd *Command, out *Outcome) (points.Reason, error) {
	switch {
	case !cmd.Date.Valid() || cmd.Date > maxDate:
		return points.FormatError, nil
	case cmd.Cycle > MaxCycle, cmd.Planned > cmd.At:
		return points.FormatError, nil
	case cmd.Date == b.date && cmd.Cycle > 1:
		if cmd.Cycle != b.Cycle()+1 {
			return points.AlreadyExists, nil
		}
		b.closeCycle()
		b.cycle, out.Cycle = cmd.Cycle, cmd.Cycle
		b.edition = max(b.edition, cmd.Edition)
		return points.Approved, nil
	case cmd.Date <= b.date:
		return points.AlreadyExists, nil
	case cmd.Cycle > 1:
		return points.NotPermitted, nil
	}
	b.closeCycle()
	b.date, b.cycle, out.Cycle = cmd.Date, 0, 0
	b.edition = max(b.edition, cmd.Edition)
	out.Date = cmd.Date
	keep := int(cmd.TraceDays)
	if keep == 0 {
		keep = defaultTraceDays
	}
	if b.current().first == b.position+1 {
		b.generations = b.generations[:len(b.generations)-1] // genesis: nothing came before
	}
	b.generations = append(b.generations, newGeneration(b.position+1))
	b.current().began = b.postingTime(cmd)
	surplus := max(0, len(b.generations)-keep)
	if cmd.Limit > 0 {
		surplus = max(surplus, b.tooMany(uint64(cmd.Limit)))
	}
	return points.Approved, b.forgetKeys(surplus, points.Timestamp(cmd.TraceTime)*second)
}
