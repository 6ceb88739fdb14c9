package book

import "github.com/lianfen/lianfen/points"

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
	portions := t.portions(sale)
	there := b.takenNow(out)
	missing := there.match(portions, again, by, b.date)
	if len(missing) == 0 {
		return nil
	}
	t.taken = portions
	for _, g := range missing {
		t.taken[g.move].amount -= g.amount
	}
	for _, p := range there.portions(missing) {
		t.stands(p)
	}
	return nil
}

// stands adds p to what t has taken.
func (t *transaction) stands(p portion) {
	free := -1
	for i := range t.taken {
		switch other := &t.taken[i]; {
		case other.source == p.source && other.key == p.key:
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

// takenNow collects what out has taken from the member that it is about.
func (b *Book) takenNow(out *Outcome) *retaken {
	r := &retaken{}
	for _, move := range out.Lots {
		if move.Account == b.shown.key && move.Amount < 0 && !move.Held {
			r.lots = append(r.lots, lot{move.Lot, -move.Amount})
		}
	}
	for i := range out.Postings {
		if p := &out.Postings[i]; p.Account.Kind == DebtAccount && p.Account.Party == b.shown.key.Party && p.Amount < 0 {
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
			rest = append(rest, portion{MemberAccount, l})
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
