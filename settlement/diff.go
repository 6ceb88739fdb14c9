package settlement

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/netting"
	"github.com/lianfen/lianfen/tariff"
)

// Difference is a position that two computations have different figures for. Amounts are
// in smallest units of the standard point.
type Difference struct {
	Model        netting.Model `json:"model"`
	Member       tariff.Member `json:"member"`
	Counterparty tariff.Member `json:"counterparty"`
	Code         tariff.Code   `json:"code"`
	Before       string        `json:"before"`
	After        string        `json:"after"`
	Delta        string        `json:"delta"`
	delta        netting.Sum
}

// ItemDifference is an item that explains a difference.
type ItemDifference struct {
	Item    points.Position  `json:"item"`
	Kind    tariff.Kind      `json:"kind"`
	Program points.ProgramID `json:"program"`
	Amount  points.Amount    `json:"amount"`
	Before  points.Amount    `json:"before"` // its value
	After   points.Amount    `json:"after"`
	moved   points.Amount    // all its legs together
}

// Comparison is what two computations differ in.
type Comparison struct {
	Before    string           `json:"before"`
	After     string           `json:"after"`
	Positions []Difference     `json:"positions"`
	Items     []ItemDifference `json:"items"` // those that explain most, at most [MostItems]
	Differing uint64           `json:"differing_items"`
	// Cleared and Exceptions count the items of each side that are in its positions, and those
	// that are not; Uncleared tells of the latter why.
	Cleared    Counted     `json:"cleared"`
	Exceptions Counted     `json:"exceptions"`
	Uncleared  []Uncleared `json:"uncleared"`
}

// Counted is a number of items on each side of a comparison.
type Counted struct {
	Before uint64 `json:"before"`
	After  uint64 `json:"after"`
}

// MostItems is how many items a comparison names.
const MostItems = 10

// Side is one of the two computations of a comparison: a cycle under tables.
type Side struct {
	Name  string
	Cut   Cut
	Rates *tariff.Rates // nil: those of now
	Fees  *tariff.Fees  // nil: likewise
	// Without is the member whose items are left out; 0: nobody's are.
	Without tariff.Member

	positions string // the digest that it has to come to; empty: any
}

// Side is the computation that a run was: its cycle, under the tables as they were.
func (r *Runner) Side(ctx context.Context, run *Run) (Side, error) {
	setting, err := r.journal.Setting(ctx)
	if err != nil {
		return Side{}, err //nolint:wrapcheck // the journal's own words.
	}
	s := Side{Name: "run " + run.ID, Cut: run.Cut, positions: run.Positions}
	if s.Rates, err = ratesUntil(setting.Rates, run.Created); err != nil {
		return s, err
	}
	s.Fees, err = feesUntil(setting.Fees, run.Created)
	return s, err
}

// Now is a cycle under the tables of now.
func (r *Runner) Now(_ context.Context, date points.BusinessDate, cycle uint8) (Side, error) {
	cut, err := r.journal.Cut(date, cycle)
	return Side{Name: "now", Cut: cut}, err //nolint:wrapcheck // the journal's own words.
}

// Otherwise is a side with other rates: each of them for all time, in place of all versions
// of its programme and side.
func (r *Runner) Otherwise(ctx context.Context, s Side, terms []tariff.Terms) (Side, error) {
	setting, err := r.journal.Setting(ctx)
	if err != nil {
		return s, err //nolint:wrapcheck // the journal's own words.
	}
	s.Name, s.Rates, s.positions = s.Name+" with other rates", tariff.NewRates(), ""
	replaced := func(rate *tariff.Rate) bool {
		return slices.ContainsFunc(terms, func(t tariff.Terms) bool { return t.Program == rate.Program && t.Side == rate.Side })
	}
	for rate := range cmp.Or(setting.Rates, tariff.NewRates()).All() {
		if !replaced(rate) {
			if err := s.Rates.Append(*rate); err != nil {
				return s, fmt.Errorf("other rates: %w", err)
			}
		}
	}
	for _, t := range terms {
		t.From = 1 + tariff.LeadTime
		rate, err := s.Rates.Next(t, "dry run", "nobody", 1)
		if err == nil {
			err = s.Rates.Append(rate)
		}
		if err != nil {
			return s, fmt.Errorf("other rates: %w", err)
		}
	}
	return s, nil
}

// ratesUntil is the table as it was at a time.
func ratesUntil(rates *tariff.Rates, at points.Timestamp) (*tariff.Rates, error) {
	was := tariff.NewRates()
	for rate := range rates.All() {
		if rate.Approved <= at {
			if err := was.Append(*rate); err != nil {
				return nil, fmt.Errorf("rates as of %v: %w", at, err)
			}
		}
	}
	return was, nil
}

func feesUntil(fees *tariff.Fees, at points.Timestamp) (*tariff.Fees, error) {
	was := tariff.NewFees()
	for schedule := range fees.All() {
		if schedule.Approved <= at {
			if err := was.Append(schedule); err != nil {
				return nil, fmt.Errorf("fees as of %v: %w", at, err)
			}
		}
	}
	return was, nil
}

// Compare computes both sides and tells in which positions they differ, and which items
// explain most of it. It writes nothing down. Items of the two sides are the same where
// the cycle is; else every item is one that only one side has.
func (r *Runner) Compare(ctx context.Context, before, after Side) (*Comparison, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.progress.end()
	one, err := r.side(ctx, before)
	if err != nil {
		return nil, err
	}
	other, err := r.side(ctx, after)
	if err != nil {
		return nil, err
	}
	if before.Cut == after.Cut {
		return r.differences(ctx, &after, before.Name, one, other)
	}
	c := comparison(before.Name, after.Name, one, other)
	return c, errorsOf(r.items(ctx, c, before.Cut, &one.basis, nil), r.items(ctx, c, after.Cut, nil, &other.basis))
}

// differences compares two computations of one cycle, that of after and one before.
func (r *Runner) differences(ctx context.Context, after *Side, before string, one, other *sided) (*Comparison, error) {
	c := comparison(before, after.Name, one, other)
	return c, r.items(ctx, c, after.Cut, &one.basis, &other.basis)
}

// comparison tells in which positions two computations differ, those that differ most first.
func comparison(before, after string, one, other *sided) *Comparison {
	c := &Comparison{
		Before: before, After: after, Positions: []Difference{}, Items: []ItemDifference{}, Cleared: Counted{one.computed.items, other.computed.items},
		Exceptions: Counted{one.computed.exceptions.all(), other.computed.exceptions.all()}, Uncleared: uncleared(one.computed.exceptions.left, other.computed.exceptions.left),
	}
	for d := range netting.Differences(one.computed.fold, other.computed.fold) {
		at := d.After
		if at.Member == 0 {
			at = d.Before
		}
		c.Positions = append(c.Positions, Difference{
			Model: at.Model, Member: at.Member, Counterparty: at.Counterparty, Code: at.Code,
			Before: d.Before.Net().Decimal(Scale), After: d.After.Net().Decimal(Scale), Delta: d.Delta().Decimal(Scale), delta: d.Delta(),
		})
	}
	slices.SortStableFunc(c.Positions, func(a, b Difference) int { return absolute(b.delta).Cmp(absolute(a.delta)) })
	return c
}

func errorsOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func absolute(s netting.Sum) netting.Sum {
	if s.Sign() < 0 {
		return s.Neg()
	}
	return s
}

type sided struct {
	basis    basis
	computed *computed
}

func (r *Runner) side(ctx context.Context, s Side) (*sided, error) {
	setting, err := r.journal.Setting(ctx)
	if err != nil {
		return nil, err //nolint:wrapcheck // the journal's own words.
	}
	setting.Rates, setting.Fees = cmp.Or(s.Rates, setting.Rates), cmp.Or(s.Fees, setting.Fees)
	b, err := newBasis(&setting, r.opts.Models)
	if err != nil {
		return nil, err
	}
	b.except = s.Without
	all, err := b.compute(ctx, r.journal, s.Cut, r.opts.Workers, r.progress)
	if err != nil {
		return nil, fmt.Errorf("%s: settlement of %v: %w", s.Name, s.Cut, err)
	}
	if is := hexOf(all.fold.Digest()); s.positions != "" && s.Without == 0 && is != s.positions {
		return nil, points.Errorf(points.NotPermitted, "%s of %v does not come to its positions any more (%s, was %s): settlement.models, settlement.classes or members are others than they were; "+
			"put them back to compare it", s.Name, s.Cut, brief(is), brief(s.positions))
	}
	return &sided{b, all}, nil
}

// items finds the items whose worth differs most; without one of the sides they are worth
// nothing there.
func (r *Runner) items(ctx context.Context, c *Comparison, cut Cut, one, other *basis) error {
	r.progress.begin(StepDiffering, uint64(cut.Last-cut.First)+1)
	type differing struct {
		list []ItemDifference
		n    uint64
	}
	return inOrder(ctx, spans(cut.First, cut.Last, ChunkPositions), r.opts.Workers,
		func(ctx context.Context, _ int, s span) (d differing, err error) {
			var was, is tariff.Valuation
			err = r.journal.Entries(ctx, s.first, s.last, func(e *Entry) error {
				worthBy(one, e, &was)
				worthBy(other, e, &is)
				if moved := apartBy(&was, &is); moved > 0 {
					d.n++
					d.list = most(d.list, ItemDifference{Item: e.Position, Kind: e.Kind, Program: e.Program, Amount: e.Amount, Before: was.Std, After: is.Std, moved: moved})
				}
				return nil
			})
			r.progress.add(uint64(s.last-s.first) + 1)
			return d, err //nolint:wrapcheck // the journal's own words.
		},
		func(d differing) error {
			c.Differing += d.n
			for _, item := range d.list {
				c.Items = most(c.Items, item)
			}
			return nil
		})
}

// worthBy values an entry; what cannot be cleared is worth nothing.
func worthBy(b *basis, e *Entry, v *tariff.Valuation) {
	*v = tariff.Valuation{}
	if b != nil && !b.leavesOut(e) {
		if reason, _ := b.value(e, v, nil); reason != "" {
			*v = tariff.Valuation{}
		}
	}
}

// apartBy is how much the legs of two valuations of an item differ, all together.
func apartBy(one, other *tariff.Valuation) points.Amount {
	type way struct {
		debtor, creditor tariff.Member
		code             tariff.Code
	}
	var ways [2 * tariff.MaxLegs]way
	var moves [2 * tariff.MaxLegs]points.Amount
	n := 0
	add := func(legs []tariff.Leg, sign points.Amount) {
	next:
		for _, leg := range legs {
			w := way{leg.Debtor, leg.Creditor, leg.Code}
			for i := range ways[:n] {
				if ways[i] == w {
					moves[i] += sign * leg.Amount
					continue next
				}
			}
			ways[n], moves[n] = w, sign*leg.Amount
			n++
		}
	}
	add(one.Legs(), -1)
	add(other.Legs(), 1)
	var sum points.Amount
	for _, moved := range moves[:n] {
		sum += max(moved, -moved) // Legs have fifteen digits: twenty of them fit.
	}
	return sum
}

// most keeps the items that differ most, the largest first.
func most(list []ItemDifference, item ItemDifference) []ItemDifference {
	at, _ := slices.BinarySearchFunc(list, item, func(a, b ItemDifference) int {
		return cmp.Or(cmp.Compare(b.moved, a.moved), cmp.Compare(a.Item, b.Item))
	})
	if at >= MostItems {
		return list
	}
	list = slices.Insert(list, at, item)
	return list[:min(len(list), MostItems)]
}
