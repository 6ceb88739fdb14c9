package app

import (
	"context"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// An act that two persons decide has two RRNs, its proposal's and its decision's, and people
// have either at hand.

// notPending says why nothing can be decided under an RRN: what it is, and what became of it.
func (a *App) notPending(ctx context.Context, position points.Position) error {
	rrn := rrnOf(position)
	rec, err := a.ledger.Record(position)
	switch {
	case points.ReasonOf(err) == points.UnknownOriginal:
		return points.Errorf(points.ProposalUnknown, "%s is not pending: the journal has no such record; lianfen admin pending lists what is", rrn)
	case err != nil:
		return err
	}
	switch rec.Command.Kind {
	case book.KindApprove, book.KindReject:
		return points.Errorf(points.ProposalUnknown, "%s is not pending: it is the decision (%v) about %s; lianfen admin pending lists what is", rrn, rec.Command.Kind, rrnOf(rec.Command.Original))
	case book.KindPropose:
		became, err := a.becameOf(ctx, position)
		if err != nil {
			return err
		}
		return points.Errorf(points.ProposalUnknown, "%s is not pending: %s; lianfen admin pending lists what is", rrn, became)
	default:
		return points.Errorf(points.ProposalUnknown, "%s is not pending: it is no proposal; lianfen admin pending lists what is", rrn)
	}
}

// becameOf says in words what became of a proposal.
func (a *App) becameOf(ctx context.Context, position points.Position) (string, error) {
	p, err := a.proposalOf(ctx, position)
	if err != nil {
		return "", err
	}
	switch p.State {
	case ProposalWaits:
		return "it waits for a second person: lianfen admin approve " + rrnOf(position), nil
	case ProposalApproved, ProposalRejected:
		return "it was " + p.State + " by " + p.By + " under RRN " + p.Decision, nil
	case ProposalOver:
		return "its time is over, and nobody has decided it; propose it again", nil
	default:
		return "it was decided long ago; lianfen ledger find tells under which RRN", nil
	}
}

// approvalOf is the record that has approved an act, named by its own RRN or by that of the
// proposal. of says what the act is, in a refusal.
func (a *App) approvalOf(ctx context.Context, given, of string, fits func(*book.Command) bool) (rec book.Record, err error) {
	position, err := points.ParseRRN(given)
	if err != nil {
		return rec, err
	}
	if rec, err = a.ledger.Record(position); err != nil {
		return rec, err
	}
	if rec.Command.Kind == book.KindPropose && rec.Outcome.Reason.Approved() && fits(&rec.Command.Group[0]) {
		p, err := a.proposalOf(ctx, position)
		if err != nil {
			return rec, err
		}
		if p.State != ProposalApproved {
			became, err := a.becameOf(ctx, position)
			if err == nil {
				err = points.Errorf(points.NotPermitted, "%s is the proposal of %s: %s", given, of, became)
			}
			return rec, err
		}
		if position, err = points.ParseRRN(p.Decision); err != nil {
			return rec, err
		}
		if rec, err = a.ledger.Record(position); err != nil {
			return rec, err
		}
	}
	if rec.Command.Kind != book.KindApprove || !rec.Outcome.Reason.Approved() || !fits(rec.Command.Carried()) {
		return rec, points.Errorf(points.FormatError, "%s is neither the proposal nor the approval of %s", given, of)
	}
	return rec, nil
}
