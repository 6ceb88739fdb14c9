package app

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/reconcile"
)

// partner is a member as one side of a comparison.
type partner struct {
	side   reconcile.Side
	member uint64
}

func (p partner) String() string { return fmt.Sprintf("%v %d", p.side, p.member) }

// partnerOf is whose line it is on a side.
func partnerOf(side reconcile.Side, line *reconcile.Line) partner {
	if side == reconcile.Issuer {
		return partner{side, uint64(line.Issuer)}
	}
	return partner{side, uint64(line.Acquirer)}
}

// TotalsApart is a total that is not the same here and in a partner's file.
type TotalsApart struct {
	Side   reconcile.Side      `json:"side"`
	Member uint64              `json:"member"`
	Date   points.BusinessDate `json:"business_date"`
	Kind   string              `json:"kind"`
	Ours   reconcile.Total     `json:"switch"`
	Theirs reconcile.Total     `json:"partner"`
}

const maxTotalsApart = 1000

func (r *reconRun) filesOf(side reconcile.Side) []PartnerFile {
	if side == reconcile.Issuer {
		return r.q.Issuers
	}
	return r.q.Acquirers
}

func membersOf(list []PartnerFile) []uint64 {
	members := make(map[uint64]bool, len(list))
	for _, f := range list {
		members[f.Member] = true
	}
	return slices.Sorted(maps.Keys(members))
}

// partnerTotals is what the files of one partner come to.
type partnerTotals struct {
	totals *reconcile.Totals
	tells  reconcile.Fields // what all of them tell
	rows   uint64           // that could not be read, or do not compute
}

// byTotals reads the files and the date once, keeps no line, and notes in r.equal which
// partners say what we say. Whose lines are looked for from a date before is not among
// them, since such a line may be in today's file once too often.
func (r *reconRun) byTotals(ctx context.Context, j *journalLines, before [3][]reconcile.Line) error {
	theirs, err := r.readTotals()
	if err != nil || r.q.Lines {
		return err
	}
	for _, lines := range before {
		for i := range lines {
			delete(theirs, partnerOf(reconcile.Acquirer, &lines[i]))
			delete(theirs, partnerOf(reconcile.Issuer, &lines[i]))
		}
	}
	ours := make(map[partner]*reconcile.Totals, len(theirs))
	for p := range theirs {
		ours[p] = reconcile.NewTotals(p.side)
	}
	var order reconcile.Order
	err = j.each(ctx, func(line *reconcile.Line) error {
		order.See(line)
		for _, side := range [...]reconcile.Side{reconcile.Acquirer, reconcile.Issuer} {
			p := partnerOf(side, line)
			if totals := ours[p]; totals != nil && line.Expect.Has(side) {
				totals.Add(line, theirs[p].tells)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	j.inOrder = order.Kept()
	r.equal = make(map[partner]bool, len(theirs))
	for _, p := range slices.SortedFunc(maps.Keys(theirs), func(a, b partner) int {
		return cmp.Or(cmp.Compare(a.side, b.side), cmp.Compare(a.member, b.member))
	}) {
		apart, equal := ours[p].Compare(theirs[p].totals)
		if equal && theirs[p].rows == 0 {
			r.equal[p] = true
			r.result.ByTotals = append(r.result.ByTotals, p.String())
			r.result.Lines[p.side.String()] += theirs[p].totals.Lines()
			continue
		}
		for _, d := range apart[:min(len(apart), maxTotalsApart-len(r.result.Totals))] {
			r.result.Totals = append(r.result.Totals, TotalsApart{p.side, d.Member, d.Date, string(d.Kind[:]), d.Ours, d.Theirs})
		}
	}
	return nil
}

// readTotals reads all files to their ends, so that one that is to be refused is refused
// before anything else is done, and sums them up.
func (r *reconRun) readTotals() (map[partner]*partnerTotals, error) {
	all := make(map[partner]*partnerTotals)
	var opened [3][]*fileLines // by side
	for _, side := range [...]reconcile.Side{reconcile.Acquirer, reconcile.Issuer} {
		for _, f := range r.filesOf(side) {
			p := partner{side, f.Member}
			if all[p] == nil {
				all[p] = &partnerTotals{totals: reconcile.NewTotals(side), tells: ^reconcile.Fields(0)}
			}
			totals := all[p]
			lines, err := r.open(side, f, func(reconcile.Side, PartnerFile, reconcile.BadLine) error {
				totals.rows++
				return nil
			})
			if err != nil {
				return nil, err
			}
			totals.tells &= lines.tells
			opened[side] = append(opened[side], lines)
		}
		if err := whole(opened[side]); err != nil {
			return nil, err
		}
	}
	var wanting sync.Mutex
	want := func(line *reconcile.Line) error {
		wanting.Lock()
		defer wanting.Unlock()
		return r.nameless.Want(line)
	}
	var group errgroup.Group // No partner is on both sides: they share what is wanted alone.
	for _, side := range opened {
		group.Go(func() error {
			for _, lines := range side {
				if err := all[partner{lines.side, lines.file.Member}].add(lines, want); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err //nolint:wrapcheck // it names the file.
	}
	for _, lines := range slices.Concat(opened[:]...) {
		r.inOrder[lines.file.Path] = lines.order.Kept() && !lines.nameless
		if c, ok := lines.lines.(*reconcile.CSV); ok && c.Unsummed() {
			r.result.Unsummed = append(r.result.Unsummed, fmt.Sprintf("%v %d: %s", lines.side, lines.file.Member, lines.file.Path))
		}
	}
	return all, nil
}

// add sums a file up, notes whether its lines come in order, and has those that tell no DE37
// wanted. A file with such a line is in no order: they get their place from ours.
func (s *partnerTotals) add(lines *fileLines, want func(*reconcile.Line) error) error {
	var line reconcile.Line
	for {
		ok, err := lines.Next(&line)
		if !ok || err != nil {
			return err
		}
		if lines.order.See(&line); !line.Told() {
			lines.nameless = true
			if err := want(&line); err != nil {
				return lines.refused(err)
			}
		}
		s.totals.Add(&line, s.tells)
	}
}

// maxNamelessDates bounds the dates before that are read for lines without DE37.
const maxNamelessDates = 31

// name looks for what partners' lines without DE37 are of: among our lines of the date, then
// of the dates about their DE7, the latest first. What is told late is of a later date than
// its DE7 tells; it is found on the date itself, and as a repeat it is not.
func (r *reconRun) name(ctx context.Context, j *journalLines, before [3][]reconcile.Line) error {
	for _, lines := range before {
		for i := range lines {
			if err := r.nameless.Want(&lines[i]); err != nil {
				return err
			}
		}
	}
	if r.nameless.Empty() {
		return nil
	}
	offer := func(line *reconcile.Line) error {
		r.nameless.Offer(line)
		return nil
	}
	if err := j.each(ctx, offer); err != nil {
		return err
	}
	for _, date := range datesAbout(r.nameless.Days(), r.q.Date) {
		cuts, err := r.app.ledger.Cuts(date)
		if err != nil {
			return err
		}
		if len(cuts) == 0 {
			continue
		}
		then := *j
		then.first, then.last = cuts[0].First, cuts[len(cuts)-1].Last
		if err := then.each(ctx, offer); err != nil {
			return err
		}
	}
	return nil
}

// datesAbout are the business dates before a date in which something that was sent on one of
// some days may stand: a date ends at an hour of its own, and DE7 is in UTC. The latest come
// first, and no more than [maxNamelessDates].
func datesAbout(days []uint32, before points.BusinessDate) []points.BusinessDate {
	dates := make(map[points.BusinessDate]bool)
	for _, day := range days {
		date := points.BusinessDate(day)
		if !date.Valid() {
			continue // A partner may write anything there.
		}
		for around := -1; around <= 1; around++ {
			if near := date.AddDays(around); near < before {
				dates[near] = true
			}
		}
	}
	latest := slices.Sorted(maps.Keys(dates))
	slices.Reverse(latest)
	return latest[:min(len(latest), maxNamelessDates)]
}

// naming gives lines with the DE37 that was found for them.
type naming struct {
	lines    reconcile.Lines
	nameless *reconcile.Nameless
}

// Next gives the next line.
func (n *naming) Next(line *reconcile.Line) (bool, error) {
	ok, err := n.lines.Next(line)
	if ok {
		n.nameless.Fill(line)
	}
	return ok, err //nolint:wrapcheck // the source says which file.
}

// whole refuses a file that is named twice, and a detail file of which a part is not
// named: each line of it would be an exception.
func whole(opened []*fileLines) error {
	type part struct {
		member uint64
		run    [26]byte
		cycle  uint8
		part   uint16
	}
	paths := make(map[string]bool, len(opened))
	parts := make(map[part]*fileLines, len(opened))
	for _, f := range opened {
		h := &f.header
		key := part{f.file.Member, h.Run, h.Cycle, h.Part}
		if twin := parts[key]; paths[f.file.Path] || (h.Part != 0 && twin != nil) {
			return f.refused(points.Errorf(points.FormatError, "part %d of cycle %d is named twice", h.Part, h.Cycle))
		}
		paths[f.file.Path] = true
		if h.Part != 0 {
			parts[key] = f
		}
	}
	for key, f := range parts {
		for n := uint16(1); n <= f.header.Parts; n++ {
			if key.part = n; parts[key] == nil {
				return f.refused(points.Errorf(points.FormatError, "it has %d parts, and part %d is not named: name all of them", f.header.Parts, n))
			}
		}
	}
	return nil
}

// known looks for a partner's line, which none of ours of the date has the key of, in the
// journal before the date: DE37 is the position at which it was asked.
func (r *reconRun) known(j *journalLines) func(reconcile.Side, *reconcile.Line) (*reconcile.Line, error) {
	dates := make(map[points.BusinessDate]*compared)
	clearing := j.clearing()
	return func(side reconcile.Side, theirs *reconcile.Line) (*reconcile.Line, error) {
		position, err := points.ParseRRN(theirs.RRN[:])
		if err != nil || position == 0 || position >= j.first { // Not ours, or of this date or a later one.
			return nil, nil //nolint:nilerr,nilnil // A partner may write anything there.
		}
		rec, err := r.app.ledger.Record(position)
		if err != nil {
			return nil, err
		}
		items, err := clearing.Items(&rec)
		if err != nil {
			return nil, err
		}
		ours := (*reconcile.Line)(nil)
		for i := range items {
			line := j.line(&items[i])
			if line.Key == theirs.Key && (ours == nil || (line.Asset == theirs.Asset && ours.Asset != theirs.Asset)) {
				ours = &line
			}
		}
		if ours == nil {
			return nil, nil //nolint:nilnil // nothing.
		}
		then := dates[ours.Date]
		if then == nil {
			if then, err = r.app.compared(ours.Date); err != nil {
				return nil, err
			}
			dates[ours.Date] = then
		}
		if then.partners[partnerOf(side, theirs)] && !then.missing[missed{side, ours.Key}] {
			ours.Seen |= reconcile.In(side)
		}
		return ours, nil
	}
}

// compared is what was compared of a date before: with whose files, and what was in none.
type compared struct {
	partners map[partner]bool
	missing  map[missed]bool
}

type missed struct {
	side reconcile.Side
	key  reconcile.Key
}

func (a *App) compared(date points.BusinessDate) (*compared, error) {
	c := &compared{partners: make(map[partner]bool), missing: make(map[missed]bool)}
	text, err := os.ReadFile(filepath.Join(a.reconFolder(date), reportName))
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	var report Reconciled
	if err == nil {
		err = json.Unmarshal(text, &report)
	}
	if err != nil {
		return nil, fmt.Errorf("what was compared of %v: %w", date, err)
	}
	if report.Open {
		return c, nil // A look at a part of the date: what was missing then says nothing.
	}
	for _, m := range report.Acquirers {
		c.partners[partner{reconcile.Acquirer, m}] = true
	}
	for _, m := range report.Issuers {
		c.partners[partner{reconcile.Issuer, m}] = true
	}
	return c, eachLine(filepath.Join(a.reconFolder(date), exceptionsName), func(e *Exception) error {
		side := reconcile.Acquirer
		switch e.Class {
		case reconcile.MissingAcq:
		case reconcile.MissingIss:
			side = reconcile.Issuer
		default:
			return nil
		}
		key := reconcile.Key{Acquirer: e.Ours.Acquirer, When: e.Ours.When, STAN: e.Ours.STAN}
		copy(key.RRN[:], e.RRN)
		c.missing[missed{side, key}] = true
		return nil
	})
}
