package netting

import (
	"slices"
	"strconv"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// Model is how a debt is settled.
type Model uint8

// Models. The numbers are written in files and digests: only append.
const (
	MNET  Model = iota + 1 // multilateral: one figure a member
	BNET                   // bilateral: one figure a pair of members
	GROSS                  // every leg an instruction
	endOfModels
)

func modelNames() []string { return []string{"MNET", "BNET", "GROSS"} }

// String renders the name that the net position file has.
func (m Model) String() string {
	if m == 0 || m >= endOfModels {
		return "?"
	}
	return modelNames()[m-1]
}

// MarshalText is [Model.String].
func (m Model) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads MNET, BNET or GROSS.
func (m *Model) UnmarshalText(text []byte) error {
	i := slices.Index(modelNames(), string(text))
	if i < 0 {
		return points.Errorf(points.FormatError, "model of settlement %q: want one of %v", text, modelNames())
	}
	*m = Model(i + 1) //nolint:gosec // there are three.
	return nil
}

// Class groups members for the choice of a model, 1 to [MaxClass]. The operator's
// accounts are [Operator].
type Class uint8

// Classes.
const (
	Operator Class = 0
	MaxClass Class = 15
)

// Any stands for any class in a [Rule].
const Any Class = 255

func (c Class) String() string {
	switch c {
	case Operator:
		return "operator"
	case Any:
		return "*"
	default:
		return strconv.Itoa(int(c))
	}
}

// Rule gives legs a model: those of items of a kind (0: any) between members of two
// classes, whichever of them pays.
type Rule struct {
	Kind       tariff.Kind
	One, Other Class
	Model      Model
}

// fits reports whether r is about legs of kind between one and other.
func (r Rule) fits(kind tariff.Kind, one, other Class) bool {
	is := func(rule, class Class) bool { return rule == Any || rule == class }
	return (r.Kind == 0 || r.Kind == kind) &&
		((is(r.One, one) && is(r.Other, other)) || (is(r.One, other) && is(r.Other, one)))
}

// fixes returns how much r fixes, 0 to 3.
func (r Rule) fixes() int {
	n := 0
	for _, fixed := range [...]bool{r.Kind != 0, r.One != Any, r.Other != Any} {
		if fixed {
			n++
		}
	}
	return n
}

// Models is the choice of a model: a total function of an item's kind and the classes
// of a leg's members. It does not change.
type Models struct {
	classes Class
	of      [tariff.Kinds][MaxClass + 1][MaxClass + 1]Model
}

// NewModels compiles rules for members of classes 1 to classes. Of the rules that fit,
// the one that fixes most decides. It refuses rules that leave a case open or decide one
// in two ways, naming the case.
func NewModels(classes Class, rules []Rule) (*Models, error) {
	if classes < 1 || classes > MaxClass {
		return nil, points.Errorf(points.FormatError, "models of settlement: %d classes of members, want 1 to %d", classes, MaxClass)
	}
	for i, rule := range rules {
		if rule.Model == 0 || rule.Model >= endOfModels || int(rule.Kind) >= tariff.Kinds ||
			(rule.One > classes && rule.One != Any) || (rule.Other > classes && rule.Other != Any) {
			return nil, points.Errorf(points.FormatError,
				"models of settlement: rule %d: want a model, a kind or *, and classes of 0 (operator) to %d or *; members are in higher classes by settlement.classes", i+1, classes)
		}
	}
	m := &Models{classes: classes}
	for kind := tariff.KindRDM; int(kind) < tariff.Kinds; kind++ {
		for one := range classes + 1 {
			for other := range one + 1 {
				model, err := decide(rules, kind, one, other)
				if err != nil {
					return nil, err
				}
				m.of[kind][one][other], m.of[kind][other][one] = model, model
			}
		}
	}
	return m, nil
}

// decide returns the one model of a case.
func decide(rules []Rule, kind tariff.Kind, one, other Class) (Model, error) {
	best := -1
	for i, rule := range rules {
		if !rule.fits(kind, one, other) || (best >= 0 && rule.fixes() < rules[best].fixes()) {
			continue
		}
		best = i
	}
	if best < 0 {
		return 0, points.Errorf(points.FormatError,
			"models of settlement: no rule for %v between classes %v and %v; add one, or one for *", kind, other, one)
	}
	for i, rule := range rules {
		if rule.fits(kind, one, other) && rule.fixes() == rules[best].fixes() && rule.Model != rules[best].Model {
			return 0, points.Errorf(points.FormatError,
				"models of settlement: rules %d (%v) and %d (%v) both decide %v between classes %v and %v; add a rule for just these, or take one out",
				i+1, rule.Model, best+1, rules[best].Model, kind, other, one)
		}
	}
	return rules[best].Model, nil
}

// Of returns the model of a leg of an item of kind between members of two classes; 0 for
// what the rules were not compiled for.
func (m *Models) Of(kind tariff.Kind, one, other Class) Model {
	if int(kind) >= tariff.Kinds || one > MaxClass || other > MaxClass {
		return 0
	}
	return m.of[kind][one][other]
}
