package book

import (
	"slices"

	"github.com/lianfen/lianfen/points"
)

// retake notes that what by gave back of a sale was taken again, as out says. What
// came from the lots that by had given is taken of the sale as it was before. In
// place of the rest the sale has taken what was there: points of other lots, a
// debt, the issuer's suspense account. It is these that come back when the sale is
// given back once more, so that no lot comes back twice (I6).
func (b *Book) retake(sale, by, out *Outcome) error {
	t, err := b.changeTransaction(sale.Position)
	if err != nil {
		return err
	}
	var again []giving
	kept := t.givings[:0]
	for _, g := range t.givings {
		if g.by == by.Position {
			again = append(again, g)
		} else {
			kept = append(kept, g)
		}
	}
	t.givings = kept
	if len(sale.Legs) == 0 {
		b.retakeOf(t, again, sale, by, b.takenNow(out, b.shown.key), 0)
		return nil
	}
	t.refunded -= by.Amount
	for i := range sale.Legs {
		key := AccountKey{MemberAccount, sale.Legs[i].Program, uint64(sale.Member)}
		portions, of := t.portions(sale), by.within(key.Program)
		mine := slices.DeleteFunc(slices.Clone(again), func(g giving) bool { return portions[g.move].program != key.Program })
		b.retakeOf(t, mine, sale, &of, b.takenNow(out, key), key.Program)
	}
	return nil
}

// within is what o has moved and booked in one programme.
func (o *Outcome) within(program points.ProgramID) Outcome {
	part := Outcome{Position: o.Position, Date: o.Date}
	for _, move := range o.Lots {
		if move.Account.Program == program {
			part.Lots = append(part.Lots, move)
		}
	}
	for _, p := range o.Postings {
		if p.Account.Program == program {
			part.Postings = append(part.Postings, p)
		}
	}
	return part
}

// retakeOf is retake for one programme: 0 where there is only one.
func (b *Book) retakeOf(t *transaction, again []giving, sale, by *Outcome, there *retaken, program points.ProgramID) {
	portions := t.portions(sale)
	missing := there.match(portions, again, by, b.date)
	if len(missing) == 0 {
		return
	}
	t.taken = portions
	for _, g := range missing {
		t.taken[g.move].amount -= g.amount
	}
	for _, p := range there.portions(missing) {
		p.program = program
		t.stands(p)
	}
}

// stands adds p to what t has taken.
func (t *transaction) stands(p portion) {
	free := -1
	for i := range t.taken {
		switch other := &t.taken[i]; {
		case other.source == p.source && other.program == p.program && other.key == p.key:
			other.amount += p.amount
			return
		case other.amount == 0:
			free = i // nothing is given back of nothing: no giving names it
		}
	}
	if free >= 0 {
		t.taken[free] = p
		return
	}
	t.taken = append(t.taken, p)
}

// retaken is what the undoing of a give-back has taken from one member.
type retaken struct {
	lots []lot
	debt points.Amount
}

// takenNow collects what out has taken from a member's account.
func (b *Book) takenNow(out *Outcome, from AccountKey) *retaken {
	r := &retaken{}
	for _, move := range out.Lots {
		if move.Account == from && move.Amount < 0 && !move.Held {
			r.lots = append(r.lots, lot{move.Lot, -move.Amount})
		}
	}
	for i := range out.Postings {
		if p := &out.Postings[i]; p.Account.Kind == DebtAccount && p.Account.Party == from.Party && p.Account.Program == from.Program && p.Amount < 0 {
			r.debt -= p.Amount
		}
	}
	return r
}

// match takes off r what was taken of just that which by had given back, and
// returns of which givings how much is missing.
func (r *retaken) match(portions []portion, again []giving, by *Outcome, date points.BusinessDate) (missing []giving) {
	given := make([]LotMove, 0, len(by.Lots))
	for _, move := range by.Lots {
		if move.Amount > 0 && !move.Held {
			given = append(given, move)
		}
	}
	lapsed := false // what came back too late went to breakage, and from there it has been booked back
	for i := range by.Postings {
		lapsed = lapsed || (by.Postings[i].Account.Kind == BreakageAccount && by.Postings[i].Amount > 0)
	}
	for _, g := range again {
		p := &portions[g.move]
		if p.source != MemberAccount || len(given) == 0 || (lapsed && p.key.lapsed(by.Date)) {
			continue
		}
		g.amount -= r.take(given[0].Lot, g.amount, date)
		given = given[1:]
		if g.amount > 0 {
			missing = append(missing, g)
		}
	}
	for _, g := range again {
		switch portions[g.move].source {
		case DebtAccount:
			part := min(g.amount, r.debt)
			r.debt -= part
			g.amount -= part
			for _, move := range given { // the points of a debt that had been repaid
				g.amount -= r.take(move.Lot, min(g.amount, move.Amount), date)
			}
			if g.amount > 0 {
				missing = append(missing, g)
			}
		case SuspenseAccount: // bears it again
		default: // done
		}
	}
	return missing
}

// take takes up to amount off the lot with key. What that lot has decayed to is
// another: it has not to decay again for the same dates.
func (r *retaken) take(key LotKey, amount points.Amount, date points.BusinessDate) (got points.Amount) {
	for i := range r.lots {
		if other := &r.lots[i]; other.key.same(key, date) {
			part := min(amount-got, other.amount)
			other.amount -= part
			got += part
		}
	}
	return got
}

// portions is what is left of r, and what the issuer bore of missing besides.
func (r *retaken) portions(missing []giving) (rest []portion) {
	var borne points.Amount
	for _, g := range missing {
		borne += g.amount
	}
	for _, l := range r.lots {
		if l.amount > 0 {
			rest = append(rest, portion{source: MemberAccount, lot: l})
			borne -= l.amount
		}
	}
	if r.debt > 0 {
		rest = append(rest, portion{source: DebtAccount, lot: lot{amount: r.debt}})
		borne -= r.debt
	}
	if borne > 0 {
		rest = append(rest, portion{source: SuspenseAccount, lot: lot{amount: borne}})
	}
	return rest
}
