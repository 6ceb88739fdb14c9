package ledger

import (
	"fmt"
	"slices"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// passage checks records as they pass, in the order of the journal, by what
// stands in them alone: it shares nothing with the code that wrote them.
type passage struct {
	position points.Position
	posted   points.Timestamp
	date     points.BusinessDate
	cycle    uint8
}

func (p *passage) check(rec *book.Record) error {
	out := &rec.Outcome
	breach := func(invariant, found, expected string, args ...any) error {
		return &BreachError{Invariant: invariant, Position: out.Position, Found: found, Expected: fmt.Sprintf(expected, args...)}
	}
	switch {
	case out.Position != p.position+1:
		return breach("I8", fmt.Sprintf("position %d", out.Position), "%d: positions are dense", p.position+1)
	case out.Posted <= p.posted && p.position > 0:
		return breach("I11", "posting time "+out.Posted.String(), "one after %v, that of the record before", p.posted)
	case out.Date < p.date:
		return breach("I12", "business date "+out.Date.String(), "no date before %v", p.date)
	case out.Date != p.date && (!rec.CutsOver() || !out.Reason.Approved()):
		return breach("I12", fmt.Sprintf("business date %v at a record of kind %v", out.Date, rec.Command.Kind), "%v until the next cut-over", p.date)
	case out.Date == p.date && out.Cycle != p.cycle && (!rec.CutsOver() || !out.Reason.Approved() || out.InCycle() != max(p.cycle, 1)+1):
		return breach("I12", fmt.Sprintf("cycle %d of business date %v at a record of kind %v", out.InCycle(), out.Date, rec.Command.Kind), "cycle %d until the next cut-over", max(p.cycle, 1))
	case out.Date != p.date && out.Cycle != 0:
		return breach("I12", fmt.Sprintf("cycle %d at the start of business date %v", out.Cycle, out.Date), "cycle 1")
	}
	if program, sum := unbalanced(out.Postings); sum != 0 {
		return breach("I1", fmt.Sprintf("postings in programme %d that sum to %d", program, sum), "0")
	}
	p.position, p.posted, p.date, p.cycle = out.Position, out.Posted, out.Date, out.Cycle
	return nil
}

// unbalanced returns the first programme whose postings do not sum to zero, and
// their sum, which wraps where no sum can be right. It is quadratic in the number
// of programmes of one record, which is one or two.
func unbalanced(postings []book.Posting) (points.ProgramID, points.Amount) {
	for i := range postings {
		program := postings[i].Account.Program
		if slices.ContainsFunc(postings[:i], func(p book.Posting) bool { return p.Account.Program == program }) {
			continue
		}
		var sum points.Amount
		for _, p := range postings[i:] {
			if p.Account.Program == program {
				sum += p.Amount
			}
		}
		if sum != 0 {
			return program, sum
		}
	}
	return 0, 0
}

// compareOutcomes holds the recorded outcome against the one that the replay
// gave, and names the invariant that the first difference is about.
func compareOutcomes(rec *book.Record, again *book.Outcome) error {
	field, found, expected := difference(&rec.Outcome, again)
	if field == "" {
		return nil
	}
	return &BreachError{
		Invariant: breachedBy(rec, again, field), Position: rec.Outcome.Position,
		Found: fmt.Sprintf("a %v with %s %v", rec.Command.Kind, field, found), Expected: fmt.Sprintf("%v, which the replay gives", expected),
	}
}

// breachedBy names the invariant that a difference between the record and its
// replay is about.
func breachedBy(rec *book.Record, again *book.Outcome, field string) string {
	if again.Replayed || again.Reason == points.DuplicateOther || again.Reason == points.ReversedBefore {
		return "I7"
	}
	switch field {
	case "reason":
		switch again.Reason {
		case points.OverAmountLimit, points.OverCountLimit, points.BelowMinimum:
			return "I10"
		case points.AmountOverOriginal, points.OriginalClosed:
			return "I4"
		default:
			return "I9"
		}
	case "position":
		return "I8"
	case "posting time":
		return "I11"
	case "business date", "cycle":
		return "I12"
	case "lots":
		switch rec.Command.Kind {
		case book.KindVoid, book.KindRefund, book.KindReverse:
			return "I6"
		case book.KindExpireHolds, book.KindVestLots, book.KindExpireLots, book.KindDecay:
			return "I11"
		default:
			return "I5"
		}
	default:
		return "I9"
	}
}

// difference names the first field in which two outcomes differ, and both values;
// "" when there is none. Who was asked to do what comes before what it did.
func difference(recorded, again *book.Outcome) (field string, found, expected any) {
	switch r, a := recorded, again; {
	case a.Replayed:
		return "key", "of its own", fmt.Sprintf("the answer of position %d, where its key was used before", a.Position)
	case r.Reason != a.Reason:
		return "reason", r.Reason, a.Reason
	case r.Position != a.Position:
		return "position", r.Position, a.Position
	case r.Posted != a.Posted:
		return "posting time", r.Posted, a.Posted
	case r.Date != a.Date:
		return "business date", r.Date, a.Date
	case r.Cycle != a.Cycle:
		return "cycle", r.InCycle(), a.InCycle()
	case r.Member != a.Member:
		return "member", r.Member, a.Member
	case r.Program != a.Program:
		return "programme", r.Program, a.Program
	case r.Issuer != a.Issuer:
		return "issuer", r.Issuer, a.Issuer
	case r.Original != a.Original:
		return "original", r.Original, a.Original
	case r.Amount != a.Amount:
		return "amount", r.Amount, a.Amount
	case !slices.Equal(r.Postings, a.Postings):
		return "postings", r.Postings, a.Postings
	case !slices.Equal(r.Lots, a.Lots):
		return "lots", r.Lots, a.Lots
	case !slices.Equal(r.Others, a.Others):
		return "other balances", r.Others, a.Others
	case r.Risk != a.Risk:
		return "decision of the rules on risk", r.Risk, a.Risk
	case r.MCC != a.MCC || r.Root != a.Root || !slices.Equal(r.Undone, a.Undone) || !slices.Equal(r.Owners, a.Owners) || (r.NoRoom != 0 && r.NoRoom != a.NoRoom): // Old records do not say it.
		return "what settlement needs", fmt.Sprint(r.MCC, r.Root, r.Undone, r.Owners, r.NoRoom), fmt.Sprint(a.MCC, a.Root, a.Undone, a.Owners, a.NoRoom)
	case r.Answer != a.Answer:
		return "answer", r.Answer, a.Answer
	case r.Batch != a.Batch || r.More != a.More:
		return "batch", fmt.Sprint(r.Batch, r.More), fmt.Sprint(a.Batch, a.More)
	}
	if r, a := recorded, again; r.Tally != a.Tally || r.Unequal != a.Unequal {
		return "batch totals", fmt.Sprintf("%+v, unequal %t", r.Tally, r.Unequal), fmt.Sprintf("%+v, unequal %t", a.Tally, a.Unequal)
	}
	if recorded.Parameters != again.Parameters {
		return "parameters", recorded.Parameters, again.Parameters
	}
	type balances struct{ Free, Pending, Held, Debt points.Amount }
	r, a := balances{recorded.Free, recorded.Pending, recorded.Held, recorded.Debt}, balances{again.Free, again.Pending, again.Held, again.Debt}
	if r != a {
		return "balances", fmt.Sprintf("%+v", r), fmt.Sprintf("%+v", a)
	}
	return "", nil, nil
}
