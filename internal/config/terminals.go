package config

import (
	"slices"
	"strconv"
	"strings"
)

// Terminals are parameters that terminals download (0800 with DE60.3 360): those of one
// terminal, or of a merchant's, or, with neither named, of all. More special ones go
// before more general ones, value by value.
type Terminals struct {
	// Name tells the items apart in keys.
	Name     string
	Merchant string // DE42; empty: any
	Terminal string // DE41; empty: any

	TimeOut         int // seconds; 0: not said
	Retries         int // -1: not said
	Resends         int // -1: not said
	Phones          []string
	ManagementPhone string
	ManualEntry     string // yes, no, or empty: not said
	AutoSignOff     string
	MerchantName    string // instead of the directory's
}

const (
	unsaid    = -1
	mostPhone = 14
)

func defaultTerminals() Terminals { return Terminals{Retries: unsaid, Resends: unsaid} }

// terminalsPrefix returns the beginning of the keys of item i, as listenerPrefix does.
func (c *Config) terminalsPrefix(i int) string {
	if name := c.Terminals[i].Name; name != "" {
		return "terminals." + name + "."
	}
	return "terminals." + strconv.Itoa(i+1) + "."
}

func (t *Terminals) settings(prefix string) []setting {
	return []setting{
		name(prefix+"name", &t.Name, "Name in keys."),
		identity(prefix+"merchant", &t.Merchant, 15, "Only for the terminals of this merchant (DE42)."),
		identity(prefix+"terminal", &t.Terminal, 8, "Only for this terminal (DE41)."),
		number(prefix+"time_out", &t.TimeOut, 0, 99, "Seconds that the terminal waits for an answer; 0 says nothing."),
		number(prefix+"retries", &t.Retries, unsaid, 9, "How often it dials again; -1 says nothing."),
		number(prefix+"resends", &t.Resends, unsaid, 9, "How often it sends a reversal again; -1 says nothing."),
		phones(prefix+"phones", &t.Phones, "Up to three numbers that it dials, with commas between."),
		optional(phone(prefix+"management_phone", &t.ManagementPhone, "Number that it shows for help.")),
		optional(choice(prefix+"manual_entry", &t.ManualEntry, "Whether card numbers may be typed in.", "yes", "no")),
		optional(choice(prefix+"auto_sign_off", &t.AutoSignOff, "Whether it signs off when it has closed its batch.", "yes", "no")),
		label(prefix+"merchant_name", &t.MerchantName, "What it prints instead of the directory's name of the merchant."),
	}
}

// identity is a terminal or merchant, or nothing.
func identity(key string, field *string, width int, help string) setting {
	return setting{
		key: key, help: help, expects: "at most " + strconv.Itoa(width) + " printable characters, or nothing",
		set:  func(text string) bool { *field = text; return true },
		show: func() string { return *field },
		valid: func() bool {
			return len(*field) <= width && !strings.ContainsFunc(*field, func(c rune) bool { return c < ' ' || c > '~' })
		},
	}
}

func label(key string, field *string, help string) setting {
	return setting{
		key: key, help: help, expects: "at most 40 characters, or nothing",
		set:   func(text string) bool { *field = text; return true },
		show:  func() string { return *field },
		valid: func() bool { return len([]rune(*field)) <= 40 },
	}
}

func isPhone(text string) bool {
	return text != "" && len(text) <= mostPhone && strings.Trim(text, "0123456789-*#") == ""
}

const phoneDigits = "digits, -, * and #, at most 14"

func phone(key string, field *string, help string) setting {
	return setting{
		key: key, help: help, expects: phoneDigits,
		set:   func(text string) bool { *field = text; return true },
		show:  func() string { return *field },
		valid: func() bool { return isPhone(*field) },
	}
}

func phones(key string, field *[]string, help string) setting {
	return setting{
		key: key, help: help, expects: "up to three numbers of " + phoneDigits + ", or nothing",
		set: func(text string) bool {
			all, ok := listed(text, func(part string) (string, bool) { return part, isPhone(part) })
			if ok {
				*field = all
			}
			return ok
		},
		show: func() string { return strings.Join(*field, ", ") },
		valid: func() bool {
			return len(*field) <= 3 && !slices.ContainsFunc(*field, func(one string) bool { return !isPhone(one) })
		},
	}
}

// terminalDisagreements returns what is wrong with items whose values are each valid.
func (c *Config) terminalDisagreements(report func(key, value, expected string)) {
	names, meant := make(map[string]bool), make(map[[2]string]string)
	for i := range c.Terminals {
		t, prefix := &c.Terminals[i], c.terminalsPrefix(i)
		if t.Name != "" && names[t.Name] {
			report(prefix+"name", t.Name, "a name that no other item has")
		}
		names[t.Name] = true
		who := [2]string{t.Merchant, t.Terminal}
		if other, taken := meant[who]; taken {
			report(prefix+"terminal", t.Terminal, "other terminals than those of "+other)
		}
		meant[who] = strings.TrimSuffix(prefix, ".")
	}
}
