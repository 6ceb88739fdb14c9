package app

import (
	"context"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement"
)

// Pending is an act that waits for a second person.
type Pending struct {
	RRN      string   `json:"rrn"`
	Act      book.Act `json:"act"`
	What     string   `json:"what"`
	Operator string   `json:"operator"`
	Note     string   `json:"note,omitempty"`
	Until    string   `json:"until"`
	Over     bool     `json:"over,omitempty"`  // its time is
	Stale    bool     `json:"stale,omitempty"` // what it is about has changed since
	// Problem says why approving it would be refused as things stand, and what to do.
	Problem string `json:"problem,omitempty"`
	// Publication is what a settlement run makes visible and posts; nil of other acts.
	Publication *settlement.Outlook `json:"publication,omitempty"`
}

// hasChanged is said of what became stale.
const hasChanged = "what it is about has changed since it was proposed"

// waiting is a proposal with what has become of what it is about.
type waiting struct {
	book.ProposalView
	stale  bool
	active bool // who proposed it may still do so
}

// pending lists what waits, in the order in which it was proposed.
func (a *App) pending(ctx context.Context, _ nothing) ([]Pending, error) {
	list := []Pending{}
	var proposals []waiting
	err := a.ledger.View(ctx, func(b *book.Book) error {
		for _, v := range b.Proposals() {
			stale, err := b.ProposalStale(v.Position)
			if err != nil {
				return err
			}
			o := b.Registry().Operators[v.Act.Operator]
			proposals = append(proposals, waiting{v, stale, o != nil && o.Status == book.Active && o.Roles.Has(v.Act.Needs())})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range proposals {
		p, err := a.pendingAct(ctx, &proposals[i])
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

// pendingAct is an act as an approver has to see it: with what it comes to, and whether it can
// still be approved.
func (a *App) pendingAct(ctx context.Context, v *waiting) (Pending, error) {
	// Beside what is there now, a stale act would be told as something that nobody proposed.
	what, err := a.inWords(ctx, &v.Act, !v.stale)
	if err != nil {
		return Pending{}, err
	}
	p := Pending{
		RRN: rrnOf(v.Position), Act: v.Act.Of(), What: what, Operator: v.Act.Operator, Note: v.Act.Note, Until: v.Until.String(),
		Over: v.Until <= a.opts.Clock(), Stale: v.stale,
	}
	again := ": lianfen admin reject " + p.RRN + ", and propose it again"
	if v.Act.Kind == book.KindPost {
		if p.Publication, err = a.settlement.Outlook(v.Act.Run, v.Act.Manifest); err != nil {
			p.Problem = err.Error()
		}
	}
	switch {
	case p.Over:
		p.Problem = points.ProposalExpired.English()
	case v.stale:
		p.Problem = hasChanged + again
	case !v.active:
		p.Problem = v.Act.Operator + " has not the role " + v.Act.Needs().String() + " any more" + again
	}
	return p, nil
}
