package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// file lays the YAML of the file called name over the configuration. What is
// wrong with keys and values is reported; the error is for text that is not
// YAML at all.
func (l *layers) file(name string, text []byte) error {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document yaml.Node
	if err := decoder.Decode(&document); err != nil {
		if errors.Is(err, io.EOF) {
			return nil // an empty file, or comments only: the defaults.
		}
		return fmt.Errorf("not YAML: %w", err)
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return errors.New("more than one YAML document")
	}
	root := reader{layers: l, name: name}
	for _, entry := range root.entries(document.Content[0], "") {
		if entry.key == "listeners" {
			root.listeners(entry.value)
			continue
		}
		if entry.key == "links" {
			root.links(entry.value)
			continue
		}
		if entry.key == "terminals" {
			root.terminals(entry.value)
			continue
		}
		root.entry(entry, entry.key, l.config.settings())
	}
	return nil
}

// reader walks one YAML document.
type reader struct {
	*layers
	name string
}

type entry struct {
	key   string
	place string // file:line of the key
	value *yaml.Node
}

func (r reader) place(node *yaml.Node) string { return fmt.Sprintf("%s:%d", r.name, node.Line) }

// entries returns the pairs of a section once each; prefix is the key of the
// section with its dot, empty for the whole file.
func (r reader) entries(node *yaml.Node, prefix string) []entry {
	if node.Kind != yaml.MappingNode {
		section, value := strings.TrimSuffix(prefix, "."), node.Value
		if section == "" {
			section, value = "the file", "" // Which may be any file at all, and nobody's to show.
		}
		r.report(r.place(node), section, value, "a section of key: value lines")
		return nil
	}
	var found []entry
	seen := make(map[string]bool)
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i].Value
		if seen[key] {
			r.report(r.place(node.Content[i]), prefix+key, node.Content[i+1].Value, "each key once")
			continue
		}
		seen[key] = true
		found = append(found, entry{key: key, place: r.place(node.Content[i]), value: node.Content[i+1]})
	}
	return found
}

// entry applies one pair whose full key is key: a value, or a section of
// further pairs.
func (r reader) entry(e entry, key string, table []setting) {
	switch key {
	case deliveryList:
		r.deliveries(e.value)
		return
	case accountList:
		r.accounts(e.value)
		return
	}
	var below []string
	for _, s := range table {
		if s.key == key {
			r.value(s, e)
			return
		}
		if name, inside := strings.CutPrefix(s.key, key+"."); inside {
			below = append(below, name)
		}
	}
	if below == nil {
		r.report(e.place, key, e.value.Value, "a known key: "+strings.Join(siblings(key, table), ", "))
		return
	}
	for _, inner := range r.entries(e.value, key+".") {
		r.entry(inner, key+"."+inner.key, table)
	}
}

// value applies a leaf. An alias is refused: what a key says must stand beside it.
func (r reader) value(s setting, e entry) {
	if e.value.Kind != yaml.ScalarNode {
		r.report(e.place, s.key, "", s.expects)
		return
	}
	r.apply(s, e.place, e.value.Value)
}

// siblings returns the keys that could have stood in the place of key.
func siblings(key string, table []setting) []string {
	section := key[:strings.LastIndex(key, ".")+1]
	var found []string
	seen := make(map[string]bool)
	add := func(name string) {
		if !seen[name] {
			seen[name] = true
			found = append(found, name)
		}
	}
	for _, s := range table {
		if rest, inside := strings.CutPrefix(s.key, section); inside {
			first, _, _ := strings.Cut(rest, ".")
			add(first)
		}
	}
	if section == "settlement." {
		add("accounts")
		add("delivery")
	}
	if section == "" {
		add("listeners")
		add("links")
		add("terminals")
	}
	return found
}

// listeners replaces the list of listeners: what a file lists is all there is.
func (r reader) listeners(node *yaml.Node) {
	items := r.sequence(node, "listeners", "a list of listeners, each beginning with - name:")
	if items == nil {
		return
	}
	r.config.Listeners = make([]Listener, len(node.Content))
	for i, item := range items {
		l := &r.config.Listeners[i]
		*l = defaultListener("", "", "")
		l.Name = nameOf(item)
		prefix := r.config.listenerPrefix(i)
		r.item(item, prefix, l.settings(prefix))
	}
}

// links replaces the list of links.
func (r reader) links(node *yaml.Node) {
	items := r.sequence(node, "links", "a list of links, each beginning with - name:")
	if len(items) == 0 {
		return
	}
	r.config.Links = make([]Link, len(items))
	for i, item := range items {
		l := &r.config.Links[i]
		*l = defaultLink()
		l.Name = nameOf(item)
		prefix := r.config.linkPrefix(i)
		r.item(item, prefix, l.settings(prefix))
	}
}

// terminals replaces the list of terminals' parameters.
func (r reader) terminals(node *yaml.Node) {
	items := r.sequence(node, "terminals", "a list of terminals' parameters, each beginning with - name:")
	if len(items) == 0 {
		return
	}
	r.config.Terminals = make([]Terminals, len(items))
	for i, item := range items {
		t := &r.config.Terminals[i]
		*t = defaultTerminals()
		t.Name = nameOf(item)
		prefix := r.config.terminalsPrefix(i)
		r.item(item, prefix, t.settings(prefix))
	}
}

// deliveries replaces the list of members to whom files are carried.
func (r reader) deliveries(node *yaml.Node) {
	items := r.sequence(node, deliveryList, "a list of members, each beginning with - member:")
	if len(items) == 0 {
		return
	}
	c := &r.config.Courier
	c.Deliveries = make([]Delivery, len(items))
	for i, item := range items {
		d := &c.Deliveries[i]
		*d = defaultDelivery()
		number("member", &d.Member, 1, 99_999_999, "").set(keyOf(item, "member")) // What is none is reported with its item.
		prefix := c.deliveryPrefix(i)
		r.item(item, prefix, d.settings(prefix))
	}
}

// accounts replaces the list of members' bank accounts.
func (r reader) accounts(node *yaml.Node) {
	items := r.sequence(node, accountList, "a list of members, each beginning with - member:")
	if len(items) == 0 {
		return
	}
	c := &r.config.Cash
	c.Accounts = make([]MemberAccount, len(items))
	for i, item := range items {
		a := &c.Accounts[i]
		number("member", &a.Member, 1, 99_999_999, "").set(keyOf(item, "member")) // What is none is reported with its item.
		prefix := c.accountPrefix(i)
		r.item(item, prefix, a.settings(prefix))
	}
}

// sequence returns the items of a list, nil where there is none.
func (r reader) sequence(node *yaml.Node, key, expected string) []*yaml.Node {
	if node.Kind != yaml.SequenceNode {
		r.report(r.place(node), key, node.Value, expected)
		return nil
	}
	return append([]*yaml.Node{}, node.Content...)
}

// nameOf is the name that an item of a list gives itself: its keys begin with it.
func nameOf(item *yaml.Node) string { return keyOf(item, "name") }

// keyOf is the text of a key of an item.
func keyOf(item *yaml.Node, key string) string {
	for j := 0; item.Kind == yaml.MappingNode && j+1 < len(item.Content); j += 2 {
		if item.Content[j].Value == key {
			return item.Content[j+1].Value
		}
	}
	return ""
}

// item applies one item of a list.
func (r reader) item(item *yaml.Node, prefix string, table []setting) {
	// A key that is missing is reported at the line where its item begins.
	for _, s := range table {
		r.sources[s.key] = r.place(item)
	}
	for _, e := range r.entries(item, prefix) {
		r.entry(e, prefix+e.key, table)
	}
}
