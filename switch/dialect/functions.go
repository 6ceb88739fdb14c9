package dialect

import (
	"slices"

	"github.com/lianfen/lianfen/points"
)

// absent stands in a rule for an element that is not there.
const absent = -1

// presence is what a rule asks of an element.
type presence uint8

const (
	mayHave presence = iota
	mustHave
	mustLack
)

// rule is one row of a function table: how a message that asks for function
// looks, and what it must carry. Where a selector lists several values, each is
// accepted and the first is sent.
type rule struct {
	function   points.Function
	mti        uint16   // without the repeat digit
	processing []int    // DE3; nil: not looked at
	conditions []int    // DE25; nil: not looked at
	kind       int      // DE60.1 of pos
	networks   []int    // DE60.3 of pos, DE70 of host; nil: not looked at
	target     presence // DE50
	required   []int    // data elements that must be there, ascending
	card       bool     // one of DE2, 35, 36 must be there
	original   bool     // DE90, or DE38 with a card, must be there
	reversible bool     // a reversal may name it
	advice     bool     // it tells, it does not ask
}

// matches reports whether r looks like the rule's function. The message type is
// the caller's business: a reversal carries its original's other selectors.
func (u *rule) matches(d *Dialect, r *points.Request) bool {
	if !oneOf(u.processing, int(r.Processing)) {
		return false
	}
	condition := absent
	if r.Has(25) {
		condition = int(r.Condition)
	}
	if !oneOf(u.conditions, condition) || !u.target.holds(r.Has(50)) {
		return false
	}
	if d.packed && int(r.Kind) != u.kind {
		return false
	}
	return oneOf(u.networks, int(r.NetworkCode))
}

func (p presence) holds(there bool) bool {
	return p == mayHave || (p == mustHave) == there
}

func oneOf(accepted []int, value int) bool {
	return accepted == nil || slices.Contains(accepted, value)
}

// identify sets Function, and Reversed and Advice with it. A message that no rule
// describes keeps Function 0; the switch answers it 12.
func (d *Dialect) identify(r *points.Request) *rule {
	mti := r.Envelope.MTI
	r.Class = points.Class(mti / 100 % 10)
	r.Repeat = mti%10 == 1
	r.Advice = mti/10%10 == 2
	if mti%10 > 1 {
		return nil
	}
	u := d.find(mti-mti%10, r)
	if u == nil {
		return nil
	}
	r.Function, r.Advice = u.function, u.advice
	return u
}

// find returns the rule for a request with message type mti.
func (d *Dialect) find(mti uint16, r *points.Request) *rule {
	for i := range d.rules {
		u := &d.rules[i]
		if u.mti != mti {
			continue
		}
		if u.function != points.Reversal {
			if u.matches(d, r) {
				return u
			}
			continue
		}
		if original := d.findReversed(r); original != nil {
			r.Reversed = original.function
			return u
		}
	}
	return nil
}

// findReversed returns the rule of the request that a reversal is about: the one
// with the same selectors and, where DE90 tells it, the same message type.
// Without DE90, a financial request is looked for before an authorisation.
func (d *Dialect) findReversed(r *points.Request) *rule {
	candidates := []uint16{200, 100}
	if r.Original.MTI != 0 {
		candidates = []uint16{r.Original.MTI - r.Original.MTI%10}
	}
	for _, mti := range candidates {
		for i := range d.rules {
			u := &d.rules[i]
			if u.mti == mti && u.reversible && u.matches(d, r) {
				return u
			}
		}
	}
	return nil
}

// ruleFor returns the rule that a request for function is written by.
func (d *Dialect) ruleFor(r *points.Request) *rule {
	for i := range d.rules {
		u := &d.rules[i]
		if u.function != r.Function || (r.Envelope.MTI != 0 && u.mti != r.Envelope.MTI-r.Envelope.MTI%10) {
			continue
		}
		if r.Has(25) && !oneOf(u.conditions, int(r.Condition)) {
			continue
		}
		return u
	}
	return nil
}

// selectors are the data elements without which a message of class cannot be
// told from others of its class; 0 is none.
func (d *Dialect) selectors(class points.Class) [3]int {
	financial := class == points.ClassAuthorisation || class == points.ClassFinancial || class == points.ClassReversal
	switch {
	case d.packed && financial:
		return [3]int{3, 25, 60}
	case d.packed:
		return [3]int{60}
	case financial:
		return [3]int{3}
	case class == points.ClassNetwork:
		return [3]int{70}
	default:
		return [3]int{}
	}
}

// missing returns the first element that the request should carry and does not,
// and what else would do; 0 when the request is whole.
func (u *rule) missing(r *points.Request) (de int, or string) {
	for _, de := range u.required {
		if !r.Has(de) {
			return de, ""
		}
	}
	card := r.Has(2) || r.Has(35) || r.Has(36)
	switch {
	case u.card && !card:
		return 2, " or a track"
	case u.original && !r.Has(90) && (!card || !r.Has(38)):
		return 90, " or DE38 and the card"
	default:
		return 0, ""
	}
}
