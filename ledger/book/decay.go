package book

import (
	"fmt"

	"github.com/lianfen/lianfen/points"
)

// Decay (积分衰减) is points losing value by date. A lot's key has the date on which
// it next loses a part, always the first day of a month, so that an account has
// few different ones; it is entered in the due list as an expiry is. The command
// that takes the part moves what is left to the key with the date after: so a lot
// never loses twice for one date, however often and under whatever keys the batch
// is sent. A hold's lots are not the account's: they lose nothing while they are
// held, and when they come back the next batch takes what the dates that have
// passed meanwhile would have taken. The same goes for what a refund brings back.

// wholePart is the part that is all of a lot.
const wholePart = 10_000

// validDecay checks that the rule says all or nothing of how points decay.
func (r *ProgramRules) validDecay() error {
	switch {
	case r.DecayPart > wholePart:
		return wrong("decay_basis_points", r.DecayPart, fmt.Sprintf("want 0 to %d", wholePart))
	case r.DecayPart == 0 && r.DecayAfter != 0:
		return wrong("decay_after_months", r.DecayAfter, "want 0 where decay_basis_points is 0: nothing decays")
	case r.DecayPart == 0 && r.DecayEvery != 0:
		return wrong("decay_every_months", r.DecayEvery, "want 0 where decay_basis_points is 0: nothing decays")
	case r.DecayAfter > maxMonths:
		return wrong("decay_after_months", r.DecayAfter, fmt.Sprintf("want 0 to %d", maxMonths))
	case r.DecayPart > 0 && (r.DecayEvery == 0 || r.DecayEvery > maxMonths):
		return wrong("decay_every_months", r.DecayEvery, fmt.Sprintf("want 1 to %d where points decay", maxMonths))
	}
	return nil
}

// firstDecay is when points that are active from a date on first lose a part; 0:
// never, also where they become active after the last business date.
func (r *ProgramRules) firstDecay(active points.BusinessDate) points.BusinessDate {
	if r.DecayPart == 0 || active > maxDate {
		return 0
	}
	return active.AddMonths(int(r.DecayAfter)).MonthEnd().AddDays(1)
}

// untilExpiry is the key without a decay that comes after its last day of use.
func (k LotKey) untilExpiry() LotKey {
	if k.ExpiresOn != 0 && k.DecaysOn > k.ExpiresOn {
		k.DecaysOn = 0
	}
	return k
}

// decayed is what is left of l after every decay up to and with date, by the rules
// that the programme has now: a rule that is withdrawn takes nothing any more. The
// part is rounded down, so that what remains is never less than the exact value.
func (l lot) decayed(rules *ProgramRules, date points.BusinessDate) lot {
	if rules.DecayPart == 0 {
		l.key.DecaysOn = 0
		return l
	}
	for l.key.DecaysOn != 0 && l.key.DecaysOn <= date {
		part, _, _ := l.amount.MulRat(uint64(rules.DecayPart), wholePart) // at most the amount: it fits
		l.amount -= part
		l.key.DecaysOn = l.key.DecaysOn.AddMonths(int(rules.DecayEvery))
		l.key = l.key.untilExpiry()
	}
	return l
}

// decay books what lots have lost by date to breakage.
//
//	member    -amount
//	breakage  +amount
func (b *Book) decay(cmd *Command, out *Outcome) (points.Reason, error) {
	date, limit, reason := b.batch(cmd)
	if !reason.Approved() {
		return reason, nil
	}
	err := b.workThrough(dueDecay, date.AddDays(1), limit, out, func(who due, _ points.BusinessDate) (bool, error) {
		a, err := b.needAccount(AccountKey{MemberAccount, who.program, who.party})
		if err != nil {
			return false, err
		}
		return b.decayAccount(a, date, out)
	})
	return points.Approved, err
}

// decayAccount takes from every lot of a what it has lost by date, and reports
// whether any was due. Emptied lots stay in the list until the end, so that the
// dates that they share with what is left of them are not entered again.
func (b *Book) decayAccount(a *account, date points.BusinessDate, out *Outcome) (bool, error) {
	var left []lot
	var lost points.Amount
	rules := b.rulesOf(a.key.Program)
	for i := range a.lots {
		if l := a.lots[i]; l.key.DecaysOn != 0 && l.key.DecaysOn <= date {
			b.change(a)
			b.takeFrom(a, i, l.amount, false, out)
			rest := l.decayed(rules, date)
			lost += l.amount - rest.amount
			left = append(left, rest)
		}
	}
	for _, rest := range left {
		if reason := b.give(a, rest.key, rest.amount, false, false, out); !reason.Approved() {
			return false, must(reason, nil)
		}
	}
	if len(left) == 0 {
		return false, nil
	}
	a.lots = dropEmpty(a.lots)
	out.Amount += lost
	reason, err := b.postLapsed(a, lost, out)
	return true, must(reason, err)
}
