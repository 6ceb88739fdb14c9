package settlement

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/files"
	"github.com/lianfen/lianfen/settlement/netting"
	"github.com/lianfen/lianfen/tariff"
)

// MaxExceptions is how many exceptions a run lists, the first of the cycle. The others are
// counted and summed up by reason and programme: whatever has gone wrong with a day, the
// night goes on, with a second person, in bounded memory.
const MaxExceptions = 100_000

// maxDeclined is how many refunds that were declined are listed among the exceptions; the
// others are counted likewise. Whoever sends nonsense all day does not fill the list.
const maxDeclined = 10_000

// exception is an entry that cannot be cleared.
type exception struct {
	members  [3]tariff.Member
	declined bool
	why      why
	amount   points.Amount
	files.Exception
}

// exceptionList is what cannot be cleared of a part of a cycle.
type exceptionList struct {
	listed   []exception
	booked   uint64 // of the listed and the others: something was booked
	declined uint64 // likewise: nothing was
	rest     map[restOf]restSum
	left     map[why]left // all of them; of a part of a cycle those without a row only
}

// restOf is what exceptions that are not listed are summed up by. Member 0 is everybody.
type restOf struct {
	member  tariff.Member
	reason  string
	program points.ProgramID
}

type restSum struct {
	items  uint64
	amount netting.Sum
}

// full reports whether no more of what has booked something is listed.
func (u *exceptionList) full() bool { return u.booked >= MaxExceptions }

// all is how many items were not cleared.
func (u *exceptionList) all() uint64 { return u.booked + u.declined }

// take lists what comes behind, as far as there is room, and counts the others. Parts come
// in the order of the journal, so that the same cycle has the same list.
func (u *exceptionList) take(part *exceptionList) {
	for i := range part.listed {
		x := &part.listed[i]
		u.leave(x.why, left{1, netting.SumOf(x.amount)})
		if x.declined {
			if u.declined++; u.declined > maxDeclined {
				u.add(x.members, x.why, x.amount)
				continue
			}
		} else if u.booked++; u.booked > MaxExceptions {
			u.add(x.members, x.why, x.amount)
			continue
		}
		u.listed = append(u.listed, *x)
	}
	u.booked += part.booked
	for of, sum := range part.rest {
		u.sumUp(of, sum)
	}
	for by, l := range part.left {
		u.leave(by, l)
	}
}

// count counts an entry that has booked something, without a row of its own.
func (u *exceptionList) count(e *Entry, reason string) {
	u.booked++
	by := why{reason, e.Kind, e.Program}
	u.add(e.members(), by, e.Amount)
	u.leave(by, left{1, netting.SumOf(e.Amount)})
}

// add sums up for everybody, and for each member that has a part in it.
func (u *exceptionList) add(members [3]tariff.Member, by why, amount points.Amount) {
	sum := restSum{1, netting.SumOf(amount)}
	u.sumUp(restOf{0, by.reason, by.program}, sum)
	for i, m := range members {
		if m != 0 && !slices.Contains(members[:i], m) {
			u.sumUp(restOf{m, by.reason, by.program}, sum)
		}
	}
}

func (u *exceptionList) sumUp(of restOf, sum restSum) {
	if u.rest == nil {
		u.rest = make(map[restOf]restSum)
	}
	so := u.rest[of]
	u.rest[of] = restSum{so.items + sum.items, so.amount.Plus(sum.amount)}
}

// leave counts items that are left without a value.
func (u *exceptionList) leave(by why, more left) {
	if u.left == nil {
		u.left = make(map[why]left)
	}
	so := u.left[by]
	u.left[by] = left{so.items + more.items, so.points.Plus(more.points)}
}

// rows are the exceptions of a member, of everybody for 0: those that are listed, and what
// the others come to.
func (u *exceptionList) rows(m tariff.Member) (list []files.Exception) {
	if m == 0 {
		list = make([]files.Exception, 0, len(u.listed))
	}
	for i := range u.listed {
		if x := &u.listed[i]; m == 0 || slices.Contains(x.members[:], m) {
			list = append(list, x.Exception)
		}
	}
	keys := slices.SortedFunc(maps.Keys(u.rest), func(a, b restOf) int {
		return cmp.Or(cmp.Compare(a.reason, b.reason), cmp.Compare(a.program, b.program))
	})
	for _, of := range keys {
		if of.member == m {
			sum := u.rest[of]
			list = append(list, files.RestOfExceptions(of.reason, of.program, sum.items, sum.amount.Decimal(0)))
		}
	}
	return list
}

// found says in a sentence what was not cleared.
func (u *exceptionList) found() string {
	found := "none"
	if i := slices.IndexFunc(u.listed, func(x exception) bool { return !x.declined }); i >= 0 {
		found = fmt.Sprintf("%d; the first is item %d: %s", u.booked, u.listed[i].ID, u.listed[i].Reason)
	}
	if u.booked > MaxExceptions {
		found += fmt.Sprintf("; %d are listed, the others summed up by reason", MaxExceptions)
	}
	if u.declined > 0 {
		found += fmt.Sprintf("; %s declined without an original", points.Counted(u.declined, "refund was", "refunds were"))
	}
	return found
}

// members are those that hear of an entry that was not cleared.
func (e *Entry) members() [3]tariff.Member {
	if e.Kind.Explicit() {
		return [3]tariff.Member{e.Payee, e.Payer}
	}
	return [3]tariff.Member{e.Acquirer, e.Issuer, e.Target}
}

// exceptionOf is the row of the exception list.
func exceptionOf(e *Entry, reason, what string) exception {
	x := exception{members: e.members(), declined: e.Declined, why: why{reason, e.Kind, e.Program}, amount: e.Amount}
	raw := fmt.Appendf(nil, "%v rrn=%s acq=%v iss=%v programme=%d amount=%d at=%v", e.Kind, bytes.TrimRight(e.Line.RRN[:], "\x00 "), e.Acquirer, e.Issuer, e.Program, e.Amount, e.At)
	x.Exception = files.Exception{Source: "journal", ID: uint64(e.Position), Reason: reason, What: what, Raw: raw}
	return x
}
