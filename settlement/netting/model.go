package netting

import "github.com/lianfen/lianfen/tariff"

// Model is how a debt is settled.
type Model uint8

// Models. The numbers are written in files and digests: only append.
const (
	MNET  Model = iota + 1 // multilateral: one figure a member
	BNET                   // bilateral: one figure a pair of members
	GROSS                  // every leg an instruction
	endOfModels
)

// String renders the name of the net position file.
func (m Model) String() string { return "" }

// Class groups members for the choice of a model, 1 to MaxClass. The operator's
// accounts are [Operator].
type Class uint8

// Classes.
const (
	Operator Class = 0
	MaxClass Class = 15
)

// Any stands for any class in a [Rule].
const Any Class = 255

// Rule gives legs a model: those of items of a kind (0: any) between members of two
// classes, whichever of them pays.
type Rule struct {
	Kind       tariff.Kind
	One, Other Class
	Model      Model
}

// Models is the choice of a model: a total function of an item's kind and the classes
// of a leg's members.
type Models struct{}

// NewModels compiles rules for members of classes 1 to classes. Of the rules that fit,
// the one that fixes most decides. It refuses rules that leave a case open or decide one
// twice, naming the case.
func NewModels(classes Class, rules []Rule) (*Models, error) { return nil, nil }

// Of returns the model.
func (m *Models) Of(kind tariff.Kind, one, other Class) Model { return 0 }
