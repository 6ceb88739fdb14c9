package book

import (
	"cmp"
	"math"
	"slices"

	"github.com/lianfen/lianfen/points"
)

// compare is the order of consumption, total over lot keys: priority, then
// earliest expiry with never last, then the one that decays first, then first day
// of use, then origin, then first day of swapping.
func (k LotKey) compare(other LotKey) int {
	return cmp.Or(
		cmp.Compare(k.Priority, other.Priority),
		cmp.Compare(k.expiryRank(), other.expiryRank()),
		cmp.Compare(k.DecaysOn-1, other.DecaysOn-1), // 0, never, after every date
		cmp.Compare(k.ActiveOn, other.ActiveOn),
		cmp.Compare(k.Origin, other.Origin),
		cmp.Compare(k.SwapFrom, other.SwapFrom),
	)
}

// expiryRank puts "never" after every date.
func (k LotKey) expiryRank() uint64 {
	if k.ExpiresOn == 0 {
		return math.MaxUint64
	}
	return uint64(k.ExpiresOn)
}

// usable reports whether the lot may be spent on date.
func (k LotKey) usable(date points.BusinessDate) bool { return k.ActiveOn <= date && !k.lapsed(date) }

// lapsed reports whether the lot's last day of use is over.
func (k LotKey) lapsed(date points.BusinessDate) bool { return k.ExpiresOn != 0 && k.ExpiresOn < date }

// normal is the key without a first day of use, or of swapping, that has come: lots that differ
// in nothing else are one.
func (k LotKey) normal(date points.BusinessDate) LotKey {
	if k.ActiveOn <= date {
		k.ActiveOn = 0
	}
	if k.SwapFrom != 0 && k.SwapFrom <= LotDayOf(date) {
		k.SwapFrom = 0
	}
	return k
}

// spendable is the sum of the lots that can be used on date.
func (a *account) spendable(date points.BusinessDate) (sum points.Amount) {
	for i := range a.lots {
		if a.lots[i].key.usable(date) {
			sum += a.lots[i].amount
		}
	}
	return sum
}

// insertLot adds amount to the lot with key in a sorted list.
func insertLot(lots []lot, key LotKey, amount points.Amount) []lot {
	for i := range lots {
		switch order := key.compare(lots[i].key); {
		case order == 0:
			lots[i].amount += amount
			return lots
		case order < 0:
			return slices.Insert(lots, i, lot{key, amount})
		}
	}
	return append(lots, lot{key, amount})
}

// dropEmpty removes lots that hold nothing.
func dropEmpty(lots []lot) []lot {
	kept := lots[:0]
	for i := range lots {
		if lots[i].amount != 0 {
			kept = append(kept, lots[i])
		}
	}
	return kept
}

// take removes amount from a's usable lots in order of consumption, and reports
// the moves; held marks them as moves into a hold. The caller knows that there
// is enough.
func (b *Book) take(a *account, amount points.Amount, held bool, out *Outcome) {
	b.change(a)
	b.taken = b.taken[:0]
	emptied := false
	for i := range a.lots {
		if amount == 0 {
			break
		}
		if !a.lots[i].key.usable(b.date) {
			continue
		}
		part := min(amount, a.lots[i].amount)
		b.takeFrom(a, i, part, held, out)
		amount -= part
		emptied = emptied || a.lots[i].amount == 0
	}
	if emptied {
		a.lots = dropEmpty(a.lots)
	}
}

// takeFrom removes amount from one lot and reports the move.
func (b *Book) takeFrom(a *account, i int, amount points.Amount, held bool, out *Outcome) {
	key := a.lots[i].key
	a.lots[i].amount -= amount
	a.free -= amount
	b.taken = append(b.taken, lot{key, amount})
	out.Lots = append(out.Lots, LotMove{Account: a.key, Lot: key, Amount: -amount, Held: held})
}

// takeLot removes up to amount from the lot with key, whether it is usable or
// not, and returns how much there was. Where it has decayed since, it is the lot
// that differs in that alone.
func (b *Book) takeLot(a *account, key LotKey, amount points.Amount, held bool, out *Outcome) (got points.Amount) {
	got = b.takeLike(a, amount, held, out, func(other LotKey) bool { return other.same(key, b.date) })
	if got < amount && key.DecaysOn != 0 {
		got += b.takeLike(a, amount-got, held, out, func(other LotKey) bool {
			other.DecaysOn = key.DecaysOn
			return other.same(key, b.date)
		})
	}
	return got
}

// same reports whether k and other name one lot on date.
func (k LotKey) same(other LotKey, date points.BusinessDate) bool {
	return k.normal(date) == other.normal(date)
}

// takeLike removes up to amount from the lots whose keys are like.
func (b *Book) takeLike(a *account, amount points.Amount, held bool, out *Outcome, like func(LotKey) bool) (got points.Amount) {
	for i := range a.lots {
		if got < amount && like(a.lots[i].key) {
			b.change(a)
			part := min(amount-got, a.lots[i].amount)
			b.takeFrom(a, i, part, held, out)
			got += part
		}
	}
	if got > 0 {
		a.lots = dropEmpty(a.lots)
	}
	return got
}

// give adds amount to a's lot with key and reports the move. Bound says that the
// account must not come to hold more than maxLots: new points can be refused,
// points that come back always find room.
func (b *Book) give(a *account, key LotKey, amount points.Amount, held, bound bool, out *Outcome) points.Reason {
	if amount == 0 {
		return points.Approved
	}
	key = key.normal(b.date)
	free, ok := a.free.Add(amount)
	if _, fits := free.Add(a.held); !ok || !fits {
		return points.BalanceOverflow
	}
	expiry, vest, decay, known := key.ExpiresOn != 0, key.ActiveOn != 0, key.DecaysOn != 0, false
	for i := range a.lots {
		other := a.lots[i].key
		known = known || other == key
		expiry = expiry && other.ExpiresOn != key.ExpiresOn
		vest = vest && other.ActiveOn != key.ActiveOn
		decay = decay && other.DecaysOn != key.DecaysOn
	}
	if bound && !known && len(a.lots) >= maxLots {
		return points.TooManyLots
	}
	b.change(a)
	a.lots = insertLot(a.lots, key, amount)
	a.free = free
	out.Lots = append(out.Lots, LotMove{Account: a.key, Lot: key, Amount: amount, Held: held})
	who := due{a.key.Program, a.key.Party}
	if expiry {
		b.fresh = append(b.fresh, registration{dueExpiry, key.ExpiresOn, who})
	}
	if vest {
		b.fresh = append(b.fresh, registration{dueVest, key.ActiveOn, who})
	}
	if decay {
		b.fresh = append(b.fresh, registration{dueDecay, key.DecaysOn, who})
	}
	return points.Approved
}

// giveBack returns points to a with the lot that they had (I6), or with the term
// of grace, in which they do not decay, when it has lapsed. Without grace they are lapsed, and the caller
// books them to breakage.
func (b *Book) giveBack(a *account, key LotKey, amount points.Amount, held bool, rules *ProgramRules, out *Outcome) (lapsed points.Amount, reason points.Reason) {
	if key.lapsed(b.date) {
		if rules.GraceDays == 0 {
			return amount, points.Approved
		}
		key.ExpiresOn, key.DecaysOn = b.date.AddDays(int(rules.GraceDays)), 0
	}
	return 0, b.give(a, key, amount, held, false, out)
}

// takeBack removes amount that moves gave to a: from the same lots first, from
// the others in order of consumption next, usable or not. It returns how much
// there was.
func (b *Book) takeBack(a *account, moves []LotMove, amount points.Amount, out *Outcome) (got points.Amount) {
	for _, move := range moves {
		if move.Account == a.key && move.Amount > 0 && !move.Held {
			got += b.takeLot(a, move.Lot, min(move.Amount, amount-got), false, out)
		}
	}
	b.change(a)
	for i := 0; i < len(a.lots) && got < amount; i++ {
		part := min(amount-got, a.lots[i].amount)
		b.takeFrom(a, i, part, false, out)
		got += part
	}
	a.lots = dropEmpty(a.lots)
	return got
}
