package netting

import (
	"iter"

	"github.com/lianfen/lianfen/tariff"
)

// Fold sums legs up. It belongs to one goroutine.
type Fold struct{}

// NewFold returns an empty fold of the members of roll, which models covers.
func NewFold(roll *Roll, models *Models) (*Fold, error) { return nil, nil }

// NewUnwinding returns a fold that leaves out the items of the defaulter: the current
// cycle without it, with [Fold.LeftOut] items left out.
func NewUnwinding(roll *Roll, models *Models, defaulter tariff.Member) (*Fold, error) {
	return nil, nil
}

// Add folds the legs of an item that [tariff.Value] has valued. Where it returns
// [tariff.UnknownMember] nothing is folded: the item goes to the exception list. It
// allocates only when two members meet for the first time.
func (f *Fold) Add(item *tariff.Item, v *tariff.Valuation) tariff.Fault { return tariff.OK }

// Model returns the model of a leg of item; 0 for members that are not on the roll.
// A leg of model [GROSS] is an instruction of its own.
func (f *Fold) Model(item *tariff.Item, leg tariff.Leg) Model { return 0 }

// Merge adds what other has folded, which must have the same roll and models, and
// leaves other as it is.
func (f *Fold) Merge(other *Fold) error { return nil }

// Counts are how many items a fold has seen.
type Counts struct {
	Items   uint64               // folded
	Kinds   [tariff.Kinds]uint64 // the same by kind
	OnUs    uint64               // of them with issuer and acquirer the same
	Legs    uint64
	LeftOut uint64 // the defaulter's, by an unwinding
}

// Counts returns how many items f has seen.
func (f *Fold) Counts() Counts { return Counts{} }

// Roll returns the members of f.
func (f *Fold) Roll() *Roll { return nil }

// Check proves P1 and P2 of f: all members of a model sum to zero, and what each owes in
// pairs is what it owes in all, which were summed apart. The error names model, member
// and figures: a run with it must not be published.
func (f *Fold) Check() error { return nil }

// Digest is the SHA-256 of all positions in order, and of the counts.
func (f *Fold) Digest() tariff.Digest { return tariff.Digest{} }

// Net returns what m is owed (positive) or owes in model, all counterparties together;
// 0 for who is not on the roll.
func (f *Fold) Net(model Model, m tariff.Member) Sum { return Sum{} }

// Pair returns what m is owed by counterparty (positive), or owes it, in model.
func (f *Fold) Pair(model Model, m, counterparty tariff.Member) Sum { return Sum{} }

// Position is a line of the net position file.
type Position struct {
	Model        Model
	Member       tariff.Member
	Counterparty tariff.Member // 0: all
	Code         tariff.Code   // 0: all
	Items        uint64        // legs
	Pay, Receive Sum           // gross, never negative
}

// Net is receive less pay.
func (p Position) Net() Sum { return Sum{} }

// Positions yields the positions of every member by counterparty and code, in order of
// model, member, counterparty, code. Those without a leg are left out.
func (f *Fold) Positions() iter.Seq[Position] { return func(func(Position) bool) {} }

// Totals yields the position of every member that has a leg over all counterparties and
// codes, in order of model and member. Per model they sum to zero.
func (f *Fold) Totals() iter.Seq[Position] { return func(func(Position) bool) {} }

// Of yields the positions of m alone, in order of model, counterparty, code.
func (f *Fold) Of(m tariff.Member) iter.Seq[Position] { return func(func(Position) bool) {} }

// Instruction is a payment that settles positions.
type Instruction struct {
	Model  Model
	Payer  tariff.Member // 0: the operator's settlement account pays
	Payee  tariff.Member // 0: the operator's settlement account is paid
	Amount Sum           // positive
}

// Instructions yields the payments: in MNET one a member, with the operator's settlement
// account; in BNET one a pair. Legs in GROSS are instructions themselves, see
// [Fold.Model].
func (f *Fold) Instructions() iter.Seq[Instruction] { return func(func(Instruction) bool) {} }

// Difference is a position that two folds have different figures for.
type Difference struct {
	Before, After Position // one of them may be without items
}

// Delta is the net position after less the one before.
func (d Difference) Delta() Sum { return Sum{} }

// Differences yields the positions in which before and after differ, in order.
func Differences(before, after *Fold) iter.Seq[Difference] { return func(func(Difference) bool) {} }
