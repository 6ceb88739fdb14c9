package config

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// commentWidth is the column that comments of the file are wrapped at.
const commentWidth = 88

// Template returns the commented file that `lianfen init dir` writes: every key
// with its meaning, its range and its default. [Load] reads it as [Default].
func Template(dir string) []byte {
	var out bytes.Buffer
	comment(&out, "", "Configuration of lianfen. Every key stands at its default; a line that is left out keeps it.")
	comment(&out, "", "Start: lianfen serve --config "+filepath.Join(dir, FileName))
	comment(&out, "", "The environment goes before this file and the command line before both: "+
		"ledger.queue is LIANFEN_LEDGER_QUEUE there and ledger.queue=... here; "+
		"the address of the listener pos is listeners.pos.address.")
	comment(&out, "", "Durations are written 90s, 5m, 1h30m. Relative paths start at the folder of this file.")

	c := Default()
	section := ""
	for _, s := range c.settings() {
		head, _, nested := strings.Cut(s.key, ".")
		if s.key == "settlement.fetch_address" {
			writeAccounts(&out)
			writeDeliveries(&out)
		}
		if nested && head != section {
			section = head
			fmt.Fprintf(&out, "\n%s:\n", section)
			if section == "listeners" {
				writeListeners(&out, c)
				writeLinks(&out)
				writeTerminals(&out)
			}
		}
		switch {
		case head == "listeners":
		case nested:
			writeSetting(&out, "  ", "  ", s, s.show())
		default:
			out.WriteString("\n")
			writeSetting(&out, "", "", s, s.show())
		}
	}
	return out.Bytes()
}

// writeListeners explains each key at the first listener only. Defaults are
// those of a listener that says nothing, not those of the two in the list.
func writeListeners(out *bytes.Buffer, c Config) {
	comment(out, "  ", "Where peers connect. This list replaces the default one as a whole.")
	silent := defaultListener("", "", "")
	defaults := silent.settings("")
	for i := range c.Listeners {
		for j, s := range c.Listeners[i].settings("") {
			indent, first := "    ", "    "
			if j == 0 {
				indent, first = "  ", "  - "
			}
			if i == 0 {
				writeSetting(out, indent, first, s, defaults[j].show())
				continue
			}
			fmt.Fprintf(out, "%s%s: %s\n", first, s.key, yamlText(s.show()))
		}
	}
}

// writeLinks explains the keys of a link; by default there is none.
func writeLinks(out *bytes.Buffer) {
	silent := defaultLink()
	out.WriteString("\n")
	writeAbsent(out, "", "links", "Hosts that keep the ledgers of issuers. Each item has these keys:", silent.settings(""))
}

// writeTerminals does the same for terminals' parameters.
func writeTerminals(out *bytes.Buffer) {
	silent := defaultTerminals()
	out.WriteString("\n")
	writeAbsent(out, "", "terminals", "Parameters that terminals download. An item that names neither a merchant nor a terminal is for all; "+
		"more special ones go before it, value by value. Each item has these keys:", silent.settings(""))
}

// writeDeliveries does the same for members to whom files are carried.
func writeDeliveries(out *bytes.Buffer) {
	silent := defaultDelivery()
	writeAbsent(out, "  ", "delivery", "Members to whose own SFTP servers the files of a settlement are carried. Each item has these keys:", silent.settings(""))
}

// writeAccounts does the same for members' bank accounts.
func writeAccounts(out *bytes.Buffer) {
	writeAbsent(out, "  ", "accounts", "Members' bank accounts, where settlement.cash_currency has positions paid. Whoever can change these changes who is paid: "+
		"a run whose accounts are not those of the one before waits for a second person. Each item has these keys:", new(MemberAccount).settings(""))
}

// writeAbsent explains a list that is empty by default.
func writeAbsent(out *bytes.Buffer, indent, key, about string, table []setting) {
	comment(out, indent, about)
	for _, s := range table {
		text := s.key + ": " + s.help + " Expected: " + s.expects + "."
		if standing := s.show(); standing != "" {
			text += " Default: " + standing + "."
		}
		comment(out, indent, text)
	}
	out.WriteString(indent + key + ": []\n")
}

// writeSetting writes the comment of s at indent and its line after first. A
// key without a default has to be given.
func writeSetting(out *bytes.Buffer, indent, first string, s setting, byDefault string) {
	name := s.key[strings.LastIndex(s.key, ".")+1:]
	standing := "Default: " + byDefault + "."
	switch {
	case byDefault != "":
	case s.optional:
		standing = "Default: nothing."
	default:
		standing = "No default: it has to be given."
	}
	comment(out, indent, s.help)
	comment(out, indent, "Expected: "+s.expects+". "+standing)
	fmt.Fprintf(out, "%s%s: %s\n", first, name, yamlText(s.show()))
}

// yamlText quotes what YAML would read as something other than these letters.
func yamlText(value string) string {
	if value == "" || strings.ContainsAny(value, ":#'\"{}[]&*!|>%@` ") {
		return strconv.Quote(value)
	}
	return value
}

// comment writes text as comment lines of at most commentWidth columns.
func comment(out *bytes.Buffer, indent, text string) {
	line := indent + "#"
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > commentWidth && line != indent+"#" {
			out.WriteString(line + "\n")
			line = indent + "#"
		}
		line += " " + word
	}
	out.WriteString(line + "\n")
}
