package ledger

import (
	"context"
	"errors"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// Holder is whose accounts are asked for: a card's member, or a member.
type Holder struct {
	Card   points.CardToken
	Member points.MemberID
}

// Accounts is what a member has after the record at AsOf, which is durable (J4).
type Accounts struct {
	AsOf     points.Position
	Date     points.BusinessDate // of AsOf
	Member   book.MemberView
	Card     book.Card          // the one that was asked for
	Accounts []book.AccountView // open ones, ascending by programme, without what counts for the limits of the date
}

// Accounts reads what a member has: the state of the last checkpoint, brought
// forward with the records behind it that are about the member. The index finds
// those; what it has not come to yet is looked through. It reads beside the writer
// and sees everything that was answered before it was called.
//
// Errors: [points.UnknownCard], [points.UnknownMember].
func (p *Projection) Accounts(ctx context.Context, who Holder) (result Accounts, err error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	err = p.ledger.beside(func(checkpoint, end points.Position) error {
		result = Accounts{AsOf: end}
		id := who.Member
		if !who.Card.IsZero() {
			if result.Card, err = p.card(ctx, who.Card, checkpoint, end); err != nil {
				return err
			}
			id = result.Card.Member
		}
		standing, err := book.ReadStanding(state{p.ledger.store}, id)
		if err != nil {
			return err
		}
		if err := p.since(ctx, ofMember(id), checkpoint+1, end, standing.Follow); err != nil {
			return err
		}
		if !standing.Known {
			return points.Errorf(points.UnknownMember, "ledger: member %d: %s", id, points.UnknownMember.English())
		}
		return p.fill(&result, standing)
	})
	return result, err
}

// fill puts the accounts of a standing into the answer.
func (p *Projection) fill(result *Accounts, standing *book.Standing) error {
	var last book.Record
	if err := readRecord(p.ledger.store, result.AsOf, &last, true); err != nil {
		return err
	}
	result.Date, result.Member = last.Outcome.Date, standing.Member
	for _, program := range standing.Member.Programs {
		account, ok, err := standing.Account(program, result.Date)
		if err != nil {
			return err
		}
		if !ok {
			return damaged(result.AsOf, "member %d is listed in programme %d and has no account there", standing.Member.ID, program)
		}
		result.Accounts = append(result.Accounts, account)
	}
	return nil
}

// card reads a card as it is after the record at end.
func (p *Projection) card(ctx context.Context, token points.CardToken, checkpoint, end points.Position) (book.Card, error) {
	card, ok, err := book.ReadCard(state{p.ledger.store}, token)
	if err != nil {
		return card, err
	}
	err = p.since(ctx, ofCard(token), checkpoint+1, end, func(rec *book.Record) error {
		if put := rec.Command.Entry.Card; put != nil && put.Token == token && rec.Outcome.Reason.Approved() {
			card, ok = *put, true
		}
		return nil
	})
	if err == nil && !ok {
		err = points.Errorf(points.UnknownCard, "ledger: %s", points.UnknownCard.English())
	}
	return card, err
}

// since visits, in order, the records from position from to position to that the
// index files under who, and behind the index's end all of them; some may be about
// somebody else.
func (p *Projection) since(ctx context.Context, who subject, from, to points.Position, visit func(*book.Record) error) error {
	indexed := min(p.AsOf(), to)
	if from <= indexed {
		var rec book.Record
		err := p.walk(ctx, who, false, from, indexed, true, func(position points.Position, _ entry) (bool, error) {
			if err := readRecord(p.ledger.store, position, &rec, true); err != nil {
				return false, err
			}
			return true, visit(&rec)
		})
		if err != nil {
			return err
		}
	}
	err := scan(ctx, p.ledger.store, max(from, indexed+1), to, visit)
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}
