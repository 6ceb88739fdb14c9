package sim

import (
	"slices"

	"github.com/lianfen/lianfen/points"
)

// reducible reports whether a function can be reversed in part (DE95).
func reducible(f points.Function) bool {
	return slices.Contains([]points.Function{points.Redeem, points.Earn, points.PreAuth, points.Completion}, f)
}

// reduce has a part of a request reversed: a till has dispensed less than was paid for.
// It reports false where there is nothing to reverse.
func (l *lane) reduce(r *receipt) bool {
	if !reducible(r.req.Function) || !r.stands() || r.amount() < 2 {
		return false
	}
	l.w.did("reversal of a part")
	l.reverseTo(r, 1+points.Amount(l.w.rng.Int64N(int64(r.amount()-1))), "06")
	return true
}

// reduceEarlier does so with an earlier one, whatever has become of it.
func (l *lane) reduceEarlier() bool {
	var fit []*receipt
	for _, r := range l.receipts[max(0, len(l.receipts)-20):] {
		if reducible(r.req.Function) && r.stands() {
			fit = append(fit, r)
		}
	}
	return len(fit) > 0 && l.reduce(pick(l.w, fit))
}

// reduced notes what an approved reversal of a part has done: what it names stands, if
// more did, and nothing where something else has ended the transaction.
func (l *lane) reduced(u *receipt) {
	r := u.of
	if !r.stands() || l.over(r) {
		return
	}
	left := l.left(r)
	if r.req.Function == points.PreAuth {
		left, _ = l.held(r)
	}
	took := left - u.req.Actual
	if took <= 0 {
		return
	}
	if sale := r.sale(); sale != nil {
		r.given = r.given.add(sale.sharesOf(sale.amount()-left, took), 1)
	}
	u.took, u.at = took, len(l.receipts)
	r.back += took
}
