package book

import (
	"fmt"

	"github.com/lianfen/lianfen/points"
)

// Audit checks the invariants I1 to I5, I7, I11, I12, I15 to I17, I19, I20, I25 and I26 on everything in memory
// and names the first that is broken, and the account.
func (b *Book) Audit() error {
	for i := range b.totals.balances {
		var sum points.Amount
		for _, amount := range b.totals.balances[i][1:] {
			sum += amount
		}
		if sum != 0 {
			return fmt.Errorf("book: I1: the accounts of programme %d sum to %d", int(points.MinProgram)+i, sum)
		}
		if held := b.totals.held[i]; held < 0 || held > b.totals.balances[i][MemberAccount] {
			return fmt.Errorf("book: I2: programme %d holds %d of %d", int(points.MinProgram)+i, held, b.totals.balances[i][MemberAccount])
		}
	}
	if err := b.auditAccounts(); err != nil {
		return err
	}
	if err := b.auditHolds(); err != nil {
		return err
	}
	if err := b.auditRemotes(); err != nil {
		return err
	}
	if err := b.auditDisputes(); err != nil {
		return err
	}
	if err := b.auditOffice(); err != nil {
		return err
	}
	if err := b.auditVersions(); err != nil {
		return err
	}
	if err := b.auditSwapTerms(); err != nil {
		return err
	}
	if err := b.auditSwaps(); err != nil {
		return err
	}
	if err := b.auditClearing(); err != nil {
		return err
	}
	return b.auditDates()
}

// auditRemotes checks that a remote transaction has a ticket exactly while it is not
// finished, and that what is given back or captured of one is no more than it took.
func (b *Book) auditRemotes() error {
	for position, t := range b.unfinished.at {
		if t.position != position || b.unfinished.tickets[t.ordinal] != t {
			return fmt.Errorf("book: I4: ticket %d is of %d, and remote transaction %d has it", t.ordinal, t.position, position)
		}
	}
	if all := len(b.unfinished.at) + len(b.unfinished.vacant); all != len(b.unfinished.tickets) {
		return fmt.Errorf("book: I4: %d tickets, %d of them in hands, %d vacant", len(b.unfinished.tickets), len(b.unfinished.at), len(b.unfinished.vacant))
	}
	return b.remotes.each(func(r *remote) error {
		_, ticketed := b.unfinished.at[r.position]
		if ticketed != (r.phase != RemoteDone) {
			return fmt.Errorf("book: I4: remote transaction %d is in phase %d, ticket: %v", r.position, r.phase, ticketed)
		}
		if r.returned < 0 || r.approved > r.asked || r.left() < 0 || r.reducing < 0 || r.reducing > r.reduced {
			return fmt.Errorf("book: I4: remote transaction %d: asked %d, approved %d, reduced %d, of that not acknowledged %d, returned %d",
				r.position, r.asked, r.approved, r.reduced, r.reducing, r.returned)
		}
		return nil
	})
}

func (b *Book) auditAccounts() error {
	var sums [programs][SuspenseAccount + 1]points.Amount
	err := b.accounts.each(func(a *account) error {
		key := a.key
		var free points.Amount
		for i := range a.lots {
			if a.lots[i].amount <= 0 {
				return fmt.Errorf("book: I3: account %v has an empty lot %v", key, a.lots[i])
			}
			if i > 0 && a.lots[i-1].key.compare(a.lots[i].key) >= 0 {
				return fmt.Errorf("book: I3: account %v has its lots out of order at %d", key, i)
			}
			free += a.lots[i].amount
		}
		if free != a.free {
			return fmt.Errorf("book: I3: account %v is free %d, its lots are %d", key, a.free, free)
		}
		if a.held < 0 || a.debt < 0 || (a.status == Closed && (a.free != 0 || a.held != 0)) {
			return fmt.Errorf("book: I3: account %v (status %d) has held %d, free %d, debt %d", key, a.status, a.held, a.free, a.debt)
		}
		sums[programIndex(key.Program)][MemberAccount] += a.free + a.held
		sums[programIndex(key.Program)][DebtAccount] -= a.debt
		return nil
	})
	if err != nil {
		return err
	}
	for key, a := range b.house {
		sums[programIndex(key.Program)][key.Kind] += a.free
	}
	if b.accounts.limit > 0 || b.resumed {
		return nil // some accounts are in the store only: sums cannot be compared
	}
	for i := range sums {
		for kind := MemberAccount; kind <= SuspenseAccount; kind++ {
			if sums[i][kind] != b.totals.balances[i][kind] {
				return fmt.Errorf("book: I1: accounts of kind %d in programme %d sum to %d, their total says %d", kind, int(points.MinProgram)+i, sums[i][kind], b.totals.balances[i][kind])
			}
		}
	}
	return nil
}

func (b *Book) auditHolds() error {
	type live struct {
		count uint32
		left  points.Amount
	}
	found := make(map[AccountKey]live)
	err := b.holds.each(func(h *hold) error {
		var left points.Amount
		for _, l := range h.lots {
			left += l.amount
		}
		if left != h.left || h.left < 0 || h.captured < 0 || h.captured+h.left > h.reserved {
			return fmt.Errorf("book: I4: hold %d of account %v: reserved %d, captured %d, left %d, lots %d", h.position, h.account, h.reserved, h.captured, h.left, left)
		}
		if (h.state == holdOpen) != (h.left > 0) {
			return fmt.Errorf("book: I4: hold %d of account %v is in state %d with %d left", h.position, h.account, h.state, h.left)
		}
		if h.state == holdOpen {
			sum := found[h.account]
			found[h.account] = live{sum.count + 1, sum.left + h.left}
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = b.swaps.each(func(s *swap) error {
		if s.holds() {
			sum := found[s.account]
			found[s.account] = live{sum.count + 1, sum.left + s.held()}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return b.accounts.each(func(a *account) error {
		sum := found[a.key]
		if sum.count > a.holds || (a.holds == 0) != (a.held == 0) || (sum.count == a.holds && sum.left != a.held) || sum.left > a.held {
			return fmt.Errorf("book: I4: account %v holds %d in %d holds, its holds are %d in %d", a.key, a.held, a.holds, sum.left, sum.count)
		}
		return nil
	})
}

// auditKeys counts the keys of each date.
func (b *Book) auditKeys() error {
	counts := make([]uint64, len(b.generations))
	b.keys.each(func(number uint64) {
		position := b.positionOf(number)
		for i := len(counts) - 1; i >= 0; i-- {
			if position >= b.generations[i].first {
				counts[i]++
				return
			}
		}
	})
	for i, count := range counts {
		if g := &b.generations[i]; count != g.keys {
			return fmt.Errorf("book: I7: %d keys are remembered with the date from %d, which has %d", count, g.first, g.keys)
		}
	}
	return nil
}

func (b *Book) auditDates() error {
	for i := range b.generations {
		g := &b.generations[i]
		if g.first > b.position+1 || (i > 0 && g.first <= b.generations[i-1].first) {
			return fmt.Errorf("book: I12: business dates begin at %d after %d", g.first, b.position)
		}
	}
	if err := b.auditKeys(); err != nil {
		return err
	}
	for kind := range b.dueDates {
		for i, at := range b.dueDates[kind] {
			if at.done >= at.added || (i > 0 && b.dueDates[kind][i-1].date >= at.date) {
				return fmt.Errorf("book: I11: due list %d is out of order at %v", kind, at.date)
			}
		}
	}
	return nil
}
