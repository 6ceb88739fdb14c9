package certify

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Expression is a sum of whole numbers and names, such as "before - sale + 10". A
// name is an amount of the parameters, or what an earlier step of the case
// captured. No expression is the zero value.
type Expression struct {
	text  string
	terms []term
}

// term is one summand.
type term struct {
	minus  bool
	name   string
	number int64 // where there is no name
}

// ParseExpression reads an expression.
func ParseExpression(text string) (Expression, error) {
	e := Expression{text: text}
	spaced := strings.NewReplacer("+", " + ", "-", " - ").Replace(text)
	minus, due := false, true // a summand is due at first and behind every sign
	for word := range strings.FieldsSeq(spaced) {
		if word == "+" || word == "-" {
			if due && len(e.terms) > 0 {
				return Expression{}, fmt.Errorf("expression %q: two signs", text)
			}
			minus, due = word == "-", true
			continue
		}
		if !due {
			return Expression{}, fmt.Errorf("expression %q: no sign before %s", text, word)
		}
		t := term{minus: minus}
		if n, err := strconv.ParseInt(word, 10, 64); err == nil {
			t.number = n
		} else if isName(word) {
			t.name = word
		} else {
			return Expression{}, fmt.Errorf("expression %q: %s is neither a number nor a name", text, word)
		}
		e.terms = append(e.terms, t)
		minus, due = false, false
	}
	if due {
		return Expression{}, fmt.Errorf("expression %q: it ends where a number or name is due", text)
	}
	return e, nil
}

// isName reports whether word can be a name: small letters, digits and _, a
// letter first.
func isName(word string) bool {
	for i, c := range word {
		letter := c == '_' || (c >= 'a' && c <= 'z')
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return word != ""
}

// UnmarshalYAML reads an expression from a number or a text.
func (e *Expression) UnmarshalYAML(node *yaml.Node) error {
	parsed, err := ParseExpression(node.Value)
	if err != nil {
		return fmt.Errorf("line %d: %w", node.Line, err)
	}
	*e = parsed
	return nil
}

// given reports whether there is an expression.
func (e *Expression) given() bool { return len(e.terms) > 0 }

// names lists the names in the expression.
func (e *Expression) names() []string {
	var all []string
	for _, t := range e.terms {
		if t.name != "" {
			all = append(all, t.name)
		}
	}
	return all
}

// value adds the terms up, looking names up in each of the tables in turn.
func (e *Expression) value(tables ...map[string]int64) (int64, error) {
	sum := int64(0)
	for _, t := range e.terms {
		n := t.number
		if t.name != "" {
			known := false
			for _, table := range tables {
				if n, known = table[t.name]; known {
					break
				}
			}
			if !known {
				return 0, fmt.Errorf("expression %q: nothing is called %s", e.text, t.name)
			}
		}
		if t.minus {
			n = -n
		}
		sum += n
	}
	return sum, nil
}
