package settlement

import (
	"context"
	"fmt"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/netting"
	"github.com/lianfen/lianfen/tariff"
)

// Limit is a bilateral limit: what By bears of To's debt at the most if To fails.
type Limit struct {
	By, To  tariff.Member
	Granted points.Amount
}

// Layer is what stands in for a debt at one step, and how much of it is taken.
type Layer struct {
	Has   points.Amount `json:"has"`
	Bears points.Amount `json:"bears"`
}

// Bearer is what one survivor bears, of the limit that it had granted.
type Bearer struct {
	Member tariff.Member `json:"member"`
	Layer
}

// Failure is what it would come to if a member did not pay what it owes for a cycle. All
// amounts are in smallest units of the standard point. Debt is Prefund, Collateral, Fund,
// Survivors and Open together, to the unit.
type Failure struct {
	Member     tariff.Member `json:"member"`
	Cut        Cut           `json:"cut"`
	Posted     bool          `json:"posted"` // the cycle is posted: its items stay, whatever the unwinding shows
	Debt       points.Amount `json:"debt"`
	Prefund    Layer         `json:"prefund"`    // less its haircut
	Collateral Layer         `json:"collateral"` // less its haircut
	Fund       Layer         `json:"guarantee_fund"`
	Survivors  []Bearer      `json:"survivors"`
	Open       points.Amount `json:"open"`
	Unwinding  Unwinding     `json:"unwinding"`
}

// Unwinding is the cycle without the items of the member that fails. It is computed and
// shown; nothing is posted by it.
type Unwinding struct {
	Items   uint64        `json:"items"`    // that remain
	LeftOut uint64        `json:"left_out"` // in which the member has a part
	Debt    points.Amount `json:"debt"`     // that the member would have still: shares in fees of others' items that were undone
	// Comparison has the positions of both computations where they differ.
	Comparison *Comparison `json:"diff"`
}

// Fail tells what the failure of a member would come to in the computation of a side: who
// bears its debt, and the cycle without its items. It writes nothing down.
func (r *Runner) Fail(ctx context.Context, side Side, m tariff.Member) (*Failure, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.progress.end()
	standing, err := r.journal.Standing(ctx, side.Cut)
	if err != nil {
		return nil, err //nolint:wrapcheck // the journal's own words.
	}
	whole, err := r.side(ctx, side)
	if err != nil {
		return nil, err
	}
	f := &Failure{Member: m, Cut: side.Cut, Posted: standing.Posting != 0, Survivors: []Bearer{}}
	if err := f.fall(whole); err != nil {
		return nil, fmt.Errorf("default of %v: %w", m, err)
	}
	without := side
	without.Name, without.Without = fmt.Sprintf("%s without items of %v", side.Name, m), m
	rest, err := r.side(ctx, without)
	if err != nil {
		return nil, err
	}
	counts := rest.computed.fold.Counts()
	f.Unwinding.Items, f.Unwinding.LeftOut = counts.Items, counts.LeftOut
	if f.Unwinding.Debt, err = debtOf(rest.computed.fold, m); err != nil {
		return nil, err
	}
	f.Unwinding.Comparison, err = r.differences(ctx, &without, side.Name, whole, rest)
	return f, err
}

// fall has the debt of the member flow down the waterfall.
func (f *Failure) fall(s *sided) (err error) {
	i, found := partyAt(s.basis.setting.Parties, f.Member)
	if !found {
		return points.Errorf(points.NoRoute, "it is no member of the settlement; lianfen settle positions lists them")
	}
	d := netting.Default{Member: f.Member, Fund: s.basis.setting.Fund}
	if d.Debt, err = debtOf(s.computed.fold, f.Member); err != nil {
		return err
	}
	if d.Prefund, d.Collateral, err = s.basis.setting.Parties[i].Cover.Usable(); err != nil {
		return err //nolint:wrapcheck // it says whose.
	}
	granted := map[tariff.Member]points.Amount{}
	for _, limit := range s.basis.setting.Limits {
		if limit.To == f.Member && limit.Granted > 0 {
			d.Limits = append(d.Limits, netting.Limit{Member: limit.By, Granted: limit.Granted})
			granted[limit.By] = limit.Granted
		}
	}
	loss, err := netting.Waterfall(d)
	if err != nil {
		return err //nolint:wrapcheck // as above.
	}
	f.Debt, f.Open = d.Debt, loss.Open
	f.Prefund, f.Collateral, f.Fund = Layer{d.Prefund, loss.Prefund}, Layer{d.Collateral, loss.Collateral}, Layer{d.Fund, loss.Fund}
	for _, share := range loss.Shares {
		f.Survivors = append(f.Survivors, Bearer{share.Member, Layer{granted[share.Member], share.Amount}})
	}
	return nil
}

// debtOf is what a member has to pay, as files carry it.
func debtOf(fold *netting.Fold, m tariff.Member) (points.Amount, error) {
	debt, ok := fold.Debt(m).Amount()
	if !ok || debt > maxPosition {
		return 0, points.Errorf(points.BalanceOverflow, "debt of %v: %s QZP: more than files carry", m, fold.Debt(m).Decimal(Scale))
	}
	return debt, nil
}

// leavesOut reports whether an unwinding leaves an entry out.
func (b *basis) leavesOut(e *Entry) bool { return b.except != 0 && e.Concerns(b.except) }

// newFold is an empty fold of what is computed.
func (b *basis) newFold() (*netting.Fold, error) {
	if b.except == 0 {
		return netting.NewFold(b.roll, b.models) //nolint:wrapcheck // the caller says for what.
	}
	return netting.NewUnwinding(b.roll, b.models, b.except) //nolint:wrapcheck // as above.
}
