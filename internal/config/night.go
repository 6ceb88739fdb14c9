package config

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Nightly is how far the switch takes settlement runs by itself.
type Nightly string

// How far.
const (
	NightlyOff     Nightly = "off"     // operators run them
	NightlyCheck   Nightly = "check"   // computed, rendered, checked, and proposed where two persons are wanted
	NightlyPublish Nightly = "publish" // published where nobody else has to approve
)

// Model is how debts are settled.
type Model string

// Models, as in the net position file.
const (
	ModelMultilateral Model = "MNET"
	ModelBilateral    Model = "BNET"
	ModelGross        Model = "GROSS"
)

// Night says how settlement runs are made.
type Night struct {
	Run      Nightly
	As       string // operator in whose name the switch runs by itself; empty: nobody's
	Operator int    // the house's own number in files, 8 digits
	Name     string // the house's name in files
	Model    Model
	Models   ModelRules    // in the place of Model, where there are any
	Classes  MemberClasses // of members that are not of class 1
	SignedBy string        // path of an OpenSSH private key that signs file sets; empty: they are not signed
	Twin     bool          // detail files have a CSV twin
	Workers  int           // goroutines that compute
}

func defaultNight() Night {
	return Night{Run: NightlyOff, Operator: 90000001, Name: "联分 lianfen", Model: ModelMultilateral, Twin: true, Workers: 2}
}

func (n *Night) settings() []setting {
	return []setting{
		choice("settlement.run", &n.Run, "How far the switch takes a settlement run by itself once a cycle has ended: not at all, until it is checked and "+
			"proposed, or until it is published where nobody else has to approve, which the journal says was approved by this rule.", NightlyOff, NightlyCheck, NightlyPublish),
		optional(name("settlement.as", &n.As, "Operator in whose name the switch runs by itself; where operators are enrolled it cannot propose or post without one; while nobody is, it takes its own name, night.")),
		number("settlement.operator", &n.Operator, 1, 99_999_999, "Number of this house in the files of members."),
		title("settlement.name", &n.Name, "Name of this house in the files of members."),
		choice("settlement.model", &n.Model, "How debts are settled: one figure a member, one a pair of members, or each leg by itself.",
			ModelMultilateral, ModelBilateral, ModelGross),
		modelRules("settlement.models", &n.Models, "Which model is for which debts, in the place of settlement.model: of the rules that fit an item's kind and the classes of "+
			"the two members, the one that names most. Every case has to be decided, and none in two ways."),
		memberClasses("settlement.classes", &n.Classes, "Classes of members, for settlement.models; who is not named is of class 1."),
		optional(file("settlement.key", &n.SignedBy, "File of the OpenSSH private key (ssh-keygen -t ed25519) that signs what members get; without it nothing is signed.")),
		flag("settlement.twin", &n.Twin, "Whether detail files have a twin for spreadsheets, as CSV."),
		number("settlement.workers", &n.Workers, 1, 64, "Goroutines that compute a run."),
	}
}

// maxTitle is how long a name for people may be, in characters: that of ISO 20022.
const maxTitle = 140

// title is a name for people, in any script.
func title(key string, field *string, help string) setting {
	return setting{
		key: key, help: help, expects: "a name of 1 to 140 characters on one line",
		set:  func(text string) bool { *field = text; return true },
		show: func() string { return *field },
		valid: func() bool {
			n := utf8.RuneCountInString(*field)
			return n > 0 && n <= maxTitle && utf8.ValidString(*field) && !strings.ContainsFunc(*field, unicode.IsControl)
		},
	}
}
