package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/lianfen/lianfen/settlement/netting"
	"github.com/lianfen/lianfen/tariff"
)

// ModelRules say which debts are settled by which model.
type ModelRules []netting.Rule

// MemberClasses are the members that are of another class than 1, by number.
type MemberClasses []netting.Party

// anyWord stands for every kind, or every class.
const anyWord = "*"

// Compiled is the choice of a model that is configured: of the rules, where there are any,
// else of the one model for all. The error names the case that rules leave open, or decide
// in two ways.
func (n *Night) Compiled() (*netting.Models, error) {
	rules := []netting.Rule(n.Models)
	if len(rules) == 0 {
		rule := netting.Rule{One: netting.Any, Other: netting.Any}
		if err := rule.Model.UnmarshalText([]byte(n.Model)); err != nil {
			return nil, fmt.Errorf("settlement.model: %w", err)
		}
		rules = []netting.Rule{rule}
	}
	classes := netting.Class(1)
	for _, party := range n.Classes {
		classes = max(classes, party.Class)
	}
	return netting.NewModels(classes, rules) //nolint:wrapcheck // it says what is wrong with which rule.
}

// disagreements returns what is wrong with rules that are each as they should be.
func (n *Night) disagreements(report func(key, value, expected string)) {
	if _, err := n.Compiled(); err != nil && len(n.Models) > 0 {
		report("settlement.models", n.Models.String(), "rules that decide every case once: "+err.Error())
	}
}

// parse reads "RDM 1 2 BNET, * * * MNET".
func (r *ModelRules) parse(text string) bool {
	var found ModelRules
	for _, part := range words(text) {
		fields := strings.Fields(part)
		if len(fields) != 4 {
			return false
		}
		var rule netting.Rule
		one, good := classOf(fields[1])
		other, too := classOf(fields[2])
		if !good || !too || rule.Model.UnmarshalText([]byte(fields[3])) != nil {
			return false
		}
		if rule.One, rule.Other = one, other; fields[0] != anyWord && rule.Kind.UnmarshalText([]byte(fields[0])) != nil {
			return false
		}
		found = append(found, rule)
	}
	*r = found
	return true
}

// classOf reads a class of members as rules name it.
func classOf(word string) (netting.Class, bool) {
	switch word {
	case anyWord:
		return netting.Any, true
	case netting.Operator.String():
		return netting.Operator, true
	}
	n, err := strconv.ParseUint(word, 10, 8)
	return netting.Class(n), err == nil && n >= 1 && n <= uint64(netting.MaxClass)
}

// String renders the rules as the file has them.
func (r ModelRules) String() string {
	if len(r) == 0 {
		return none
	}
	parts := make([]string, len(r))
	for i, rule := range r {
		kind := anyWord
		if rule.Kind != 0 {
			kind = rule.Kind.String()
		}
		parts[i] = fmt.Sprintf("%s %v %v %v", kind, rule.One, rule.Other, rule.Model)
	}
	return strings.Join(parts, ", ")
}

// parse reads "10000002 2, 20000001 3".
func (c *MemberClasses) parse(text string) bool {
	var found MemberClasses
	for _, part := range words(text) {
		fields := strings.Fields(part)
		if len(fields) != 2 {
			return false
		}
		number, err := strconv.ParseUint(fields[0], 10, 32)
		m := tariff.Member(number)
		class, good := classOf(fields[1])
		if err != nil || !m.Institution() || !good || class == netting.Any || class == netting.Operator ||
			slices.ContainsFunc(found, func(p netting.Party) bool { return p.Member == m }) {
			return false
		}
		found = append(found, netting.Party{Member: m, Class: class})
	}
	*c = found
	return true
}

// String renders the classes as the file has them.
func (c MemberClasses) String() string {
	if len(c) == 0 {
		return none
	}
	parts := make([]string, len(c))
	for i, party := range c {
		parts[i] = fmt.Sprintf("%v %v", party.Member, party.Class)
	}
	return strings.Join(parts, ", ")
}

// Of is the class of a member.
func (c MemberClasses) Of(m tariff.Member) netting.Class {
	for _, party := range c {
		if party.Member == m {
			return party.Class
		}
	}
	return 1
}

func modelRules(key string, field *ModelRules, help string) setting {
	return setting{
		key: key, help: help, set: field.parse, show: field.String, valid: func() bool { return true },
		expects: "none, or rules of kind, two classes and model, such as RDM 1 2 BNET, * * * MNET; a kind is RDM, EAR ... or *, a class 1 to 15, operator or *",
	}
}

func memberClasses(key string, field *MemberClasses, help string) setting {
	return setting{
		key: key, help: help, set: field.parse, show: field.String, valid: func() bool { return true },
		expects: "none, or members with a class of 1 to 15, such as 10000002 2, 20000001 3; each member once",
	}
}
