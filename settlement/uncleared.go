package settlement

import (
	"cmp"
	"maps"
	"slices"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/netting"
	"github.com/lianfen/lianfen/tariff"
)

// Uncleared are the items of one kind and programme that two computations leave without a value
// for the same reason. They are in no position, so that positions alone would show a missing rate
// as something saved.
type Uncleared struct {
	Reason  string           `json:"reason"`
	Kind    tariff.Kind      `json:"kind"`
	Program points.ProgramID `json:"program"`
	Before  Left             `json:"before"`
	After   Left             `json:"after"`
}

// Left is how many items are left, and how many points they have.
type Left struct {
	Items  uint64 `json:"items"`
	Points string `json:"points"` // a whole number of the programme's smallest unit: a sum may not fit an amount
}

// why is what items that are not cleared are counted by. Of one kind all amounts have one sign,
// so that sums hide nothing.
type why struct {
	reason  string
	kind    tariff.Kind
	program points.ProgramID
}

// left is what was left by one computation.
type left struct {
	items  uint64
	points netting.Sum
}

func (l left) told() Left { return Left{l.items, l.points.Decimal(0)} }

// uncleared puts what two computations have left side by side; most items first.
func uncleared(before, after map[why]left) []Uncleared {
	all := maps.Clone(before)
	maps.Copy(all, after)
	list := make([]Uncleared, 0, len(all))
	for by := range all {
		list = append(list, Uncleared{by.reason, by.kind, by.program, before[by].told(), after[by].told()})
	}
	slices.SortFunc(list, func(a, b Uncleared) int {
		return cmp.Or(cmp.Compare(max(b.Before.Items, b.After.Items), max(a.Before.Items, a.After.Items)),
			cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Program, b.Program))
	})
	return list
}
