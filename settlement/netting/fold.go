package netting

import (
	"errors"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// Fold sums legs up. It belongs to one goroutine.
type Fold struct {
	roll   *Roll
	models *Models
	except tariff.Member // the defaulter whose items are left out; 0: none
	counts Counts

	// nets are positions by model and place in the roll, summed apart from the pairs, so
	// that the one proves the other.
	nets [endOfModels][]Sum
	// pairs holds by model, for each two places, which of the accounts is theirs, plus one;
	// 0: they have not met. See pair.
	pairs    [endOfModels][]int32
	accounts []*[accountsTogether]account
	used     int
}

const accountsTogether = 256

// account is what two members owe each other in one model, by code less one.
type account [tariff.Codes - 1]cell

// cell is what one code adds to an account.
type cell struct {
	lower, higher Sum // paid by the member at the lower place, and at the higher
	legs          uint64
}

// NewFold returns an empty fold of the members of roll, which models has to cover.
func NewFold(roll *Roll, models *Models) (*Fold, error) {
	for i := range roll.Len() {
		if roll.Class(i) > models.classes {
			return nil, points.Errorf(points.FormatError, "netting: member %v is of class %v; the models of settlement know classes up to %v",
				roll.Member(i), roll.Class(i), models.classes)
		}
	}
	f := &Fold{roll: roll, models: models}
	for model := range f.nets {
		f.nets[model] = make([]Sum, roll.Len())
	}
	return f, nil
}

// NewUnwinding returns a fold that leaves out the items of the defaulter: the current
// cycle without it, with [Counts.LeftOut] items left out.
func NewUnwinding(roll *Roll, models *Models, defaulter tariff.Member) (*Fold, error) {
	if _, known := roll.Index(defaulter); !known || !defaulter.Institution() {
		return nil, points.Errorf(points.FormatError, "netting: defaulter %v is not an institution of the run", defaulter)
	}
	f, err := NewFold(roll, models)
	if err != nil {
		return nil, err
	}
	f.except = defaulter
	return f, nil
}

// Add folds the legs of an item that [tariff.Value] has valued. Where it returns
// [tariff.UnknownMember] nothing is folded: the item goes to the exception list. It
// allocates only when two members meet for the first time.
func (f *Fold) Add(item *tariff.Item, v *tariff.Valuation) tariff.Fault {
	if f.except != 0 && item.Concerns(f.except) {
		f.counts.LeftOut++
		return tariff.OK
	}
	if item.Kind == 0 || int(item.Kind) >= tariff.Kinds {
		return tariff.BadKind
	}
	legs := v.Legs()
	var places [tariff.MaxLegs][2]int
	for i := range legs {
		debtor, known := f.roll.Index(legs[i].Debtor)
		creditor, too := f.roll.Index(legs[i].Creditor)
		if !known || !too {
			return tariff.UnknownMember
		}
		places[i] = [2]int{debtor, creditor}
	}
	for i := range legs {
		debtor, creditor := places[i][0], places[i][1]
		model := f.models.of[item.Kind][f.roll.members[debtor].Class][f.roll.members[creditor].Class]
		f.fold(model, debtor, creditor, legs[i].Code, SumOf(legs[i].Amount))
	}
	f.counts.Items++
	f.counts.Kinds[item.Kind]++
	f.counts.Legs += uint64(len(legs))
	if item.OnUs() {
		f.counts.OnUs++
	}
	return tariff.OK
}

// LeaveOut counts an item of the defaulter that is not valued at all.
func (f *Fold) LeaveOut() { f.counts.LeftOut++ }

// fold adds one leg.
func (f *Fold) fold(model Model, debtor, creditor int, code tariff.Code, amount Sum) {
	nets := f.nets[model]
	nets[debtor] = nets[debtor].Minus(amount)
	nets[creditor] = nets[creditor].Plus(amount)
	sums := &f.meet(model, pair(debtor, creditor))[code-1]
	sums.legs++
	if debtor < creditor {
		sums.lower = sums.lower.Plus(amount)
	} else {
		sums.higher = sums.higher.Plus(amount)
	}
}

// pair numbers two different places, whichever comes first, row by row of a triangle.
func pair(one, other int) int {
	lower, higher := min(one, other), max(one, other)
	return higher*(higher-1)/2 + lower
}

// meet returns the account of a pair, and opens it at the first time.
func (f *Fold) meet(model Model, pair int) *account {
	if f.pairs[model] == nil {
		n := f.roll.Len()
		f.pairs[model] = make([]int32, n*(n-1)/2)
	}
	number := &f.pairs[model][pair]
	if *number == 0 {
		if f.used%accountsTogether == 0 {
			f.accounts = append(f.accounts, new([accountsTogether]account))
		}
		f.used++
		*number = int32(f.used) //nolint:gosec // three for each two of MaxParties at most.
	}
	return f.account(*number)
}

func (f *Fold) account(number int32) *account {
	return &f.accounts[(number-1)/accountsTogether][(number-1)%accountsTogether]
}

// met returns the account of two places, nil where they have none.
func (f *Fold) met(model Model, one, other int) *account {
	if f.pairs[model] == nil || one == other {
		return nil
	}
	number := f.pairs[model][pair(one, other)]
	if number == 0 {
		return nil
	}
	return f.account(number)
}

// Model returns the model of a leg of item; 0 for members that are not on the roll.
// A leg of model [GROSS] is an instruction of its own.
func (f *Fold) Model(item *tariff.Item, leg tariff.Leg) Model {
	debtor, known := f.roll.Index(leg.Debtor)
	creditor, too := f.roll.Index(leg.Creditor)
	if !known || !too {
		return 0
	}
	return f.models.Of(item.Kind, f.roll.Class(debtor), f.roll.Class(creditor))
}

// Merge adds what other has folded, which must have the same roll and models, and
// leaves other as it is.
func (f *Fold) Merge(other *Fold) error {
	if f.roll != other.roll || f.models != other.models || f.except != other.except {
		return errors.New("netting: only folds of the same run can be merged")
	}
	for model := MNET; model < endOfModels; model++ {
		for place, net := range other.nets[model] {
			f.nets[model][place] = f.nets[model][place].Plus(net)
		}
		for pair, number := range other.pairs[model] {
			if number == 0 {
				continue
			}
			to, from := f.meet(model, pair), other.account(number)
			for code := range from {
				to[code].add(&from[code])
			}
		}
	}
	f.counts.add(&other.counts)
	return nil
}

func (c *cell) add(other *cell) {
	c.lower, c.higher, c.legs = c.lower.Plus(other.lower), c.higher.Plus(other.higher), c.legs+other.legs
}

// Counts are how many items a fold has seen.
type Counts struct {
	Items   uint64               // folded
	Kinds   [tariff.Kinds]uint64 // the same by kind
	OnUs    uint64               // of them on-us, see [tariff.Item.OnUs]
	Legs    uint64
	LeftOut uint64 // the defaulter's, by an unwinding
}

func (c *Counts) add(other *Counts) {
	c.Items += other.Items
	for kind := range c.Kinds {
		c.Kinds[kind] += other.Kinds[kind]
	}
	c.OnUs += other.OnUs
	c.Legs += other.Legs
	c.LeftOut += other.LeftOut
}

// Counts returns how many items f has seen.
func (f *Fold) Counts() Counts { return f.counts }

// Roll returns the members of f.
func (f *Fold) Roll() *Roll { return f.roll }

// Check proves P1 and P2 of f: all members of a model sum to zero, and what each owes in
// pairs is what it owes in all, which were summed apart. The error names model, member
// and figures: a run with it must not be published.
func (f *Fold) Check() error {
	for model := MNET; model < endOfModels; model++ {
		var all Sum
		for _, net := range f.nets[model] {
			all = all.Plus(net)
		}
		if all.Sign() != 0 {
			return points.Errorf(points.InternalError, "netting: %v: all members sum to %v, not to zero; do not publish, run it again", model, all)
		}
		for place, net := range f.nets[model] {
			var pairs Sum
			for other := range f.roll.Len() {
				pairs = pairs.Plus(f.pairNet(model, place, other))
			}
			if pairs != net {
				return points.Errorf(points.InternalError, "netting: %v: member %v has %v in all but %v in pairs; do not publish, run it again",
					model, f.roll.Member(place), net, pairs)
			}
		}
	}
	return nil
}

// pairNet returns what the member at place is owed by the one at other, less what it
// owes it.
func (f *Fold) pairNet(model Model, place, other int) Sum {
	var net Sum
	if account := f.met(model, place, other); account != nil {
		for code := range account {
			pay, receive := account[code].seen(place < other)
			net = net.Plus(receive).Minus(pay)
		}
	}
	return net
}

// seen returns what the member at the lower place, or at the higher, pays and receives.
func (c *cell) seen(lower bool) (pay, receive Sum) {
	if lower {
		return c.lower, c.higher
	}
	return c.higher, c.lower
}

// Net returns what m is owed (positive) or owes in model, all counterparties together;
// 0 for who is not on the roll.
func (f *Fold) Net(model Model, m tariff.Member) Sum {
	place, known := f.roll.Index(m)
	if !known || model >= endOfModels {
		return Sum{}
	}
	return f.nets[model][place]
}

// Pair returns what m is owed by counterparty (positive), or owes it, in model.
func (f *Fold) Pair(model Model, m, counterparty tariff.Member) Sum {
	place, known := f.roll.Index(m)
	other, too := f.roll.Index(counterparty)
	if !known || !too || model >= endOfModels {
		return Sum{}
	}
	return f.pairNet(model, place, other)
}
