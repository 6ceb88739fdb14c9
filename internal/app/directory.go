package app

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// Directory is a set of participants, terminals, members and cards, as a file
// holds it and the admin socket takes it. Entries are put in the order of the
// fields, so that what an entry refers to may stand in the same directory. An
// entry without a status keeps the one it has, and is active when it is new.
type Directory struct {
	Issuers   []book.Issuer   `json:"issuers,omitempty"`
	Acquirers []book.Acquirer `json:"acquirers,omitempty"`
	Programs  []book.Program  `json:"programs,omitempty"`
	Merchants []book.Merchant `json:"merchants,omitempty"`
	Terminals []book.Terminal `json:"terminals,omitempty"`
	Routes    []book.Route    `json:"routes,omitempty"`
	Members   []Member        `json:"members,omitempty"`
}

// Holder tells what is wrong with whom a certificate is to be for. That nobody of the kind is
// registered is a warning, since certificates may come first; a terminal that is registered
// with another acquirer is refused, for its certificate would serve nobody.
func (d *Directory) Holder(i certs.Identity) (warning string, err error) {
	unknown := func(who string, id any) string {
		return fmt.Sprintf("%s %v is not registered with this switch; its certificate serves nothing before it is (lianfen admin load)", who, id)
	}
	if i.Role == certs.RoleIssuer {
		if !slices.ContainsFunc(d.Issuers, func(v book.Issuer) bool { return v.ID == i.Issuer }) {
			warning = unknown("issuer", i.Issuer)
		}
		return warning, nil
	}
	if i.Role != certs.RoleAcquirer && i.Role != certs.RoleTerminal {
		return "", nil
	}
	if !slices.ContainsFunc(d.Acquirers, func(v book.Acquirer) bool { return v.ID == i.Acquirer }) {
		warning = unknown("acquirer", i.Acquirer)
	}
	if i.Role == certs.RoleAcquirer {
		return warning, nil
	}
	at := slices.IndexFunc(d.Terminals, func(v book.Terminal) bool { return v.ID == i.Terminal })
	if at < 0 {
		return cmp.Or(warning, unknown("terminal", i.Terminal)), nil
	}
	merchant := d.Terminals[at].Merchant
	for _, m := range d.Merchants {
		if m.ID == merchant && m.Acquirer != i.Acquirer {
			return "", points.Errorf(points.NotPermitted, "terminal %v is registered with acquirer %v, not with %v: name that one with --acquirer, or register the terminal anew", i.Terminal, m.Acquirer, i.Acquirer)
		}
	}
	return warning, nil
}

// Member is a member with the programmes that it joins and its cards.
type Member struct {
	book.Member
	Programs []points.ProgramID `json:"programs,omitempty"`
	Cards    []Card             `json:"cards,omitempty"`
}

// Card is a card as an operator knows it. Its number is written in clear here
// and nowhere behind the admin socket.
type Card struct {
	Number CardNumber  `json:"number"`
	Expiry uint32      `json:"expiry,omitempty"` // YYMM
	Status book.Status `json:"status,omitempty"`
}

// CardNumber is a card number in clear, on its way from an operator to the
// tokenizer. It is not for logs: print a [points.PAN] instead.
type CardNumber string

// Format masks the number, whatever the verb.
func (n CardNumber) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, n.masked()) }

// LogValue masks the number.
func (n CardNumber) LogValue() slog.Value { return slog.StringValue(n.masked()) }

func (n CardNumber) masked() string {
	pan, err := points.ParsePAN(string(n))
	if err != nil {
		return "" // What is no card is told by who reads it.
	}
	return pan.Masked()
}

// UnmarshalJSON reads a string, or a number for files that do not quote it.
func (n *CardNumber) UnmarshalJSON(text []byte) error {
	digits := strings.Trim(string(text), `"`)
	if _, err := points.ParsePAN(digits); err != nil {
		return err
	}
	*n = CardNumber(digits)
	return nil
}

// Lines are the lines of a file on which entries of a directory begin, by what
// [LoadError.At] calls them.
type Lines map[string]int

// ReadDirectory reads a directory in YAML (or JSON, which is YAML too). A key that is
// not known and a value of the wrong type are errors with their line.
func ReadDirectory(r io.Reader) (Directory, error) {
	d, _, err := ReadDirectoryLines(r)
	return d, err
}

// ReadDirectoryLines is [ReadDirectory], and tells the lines of the entries.
func ReadDirectoryLines(r io.Reader) (Directory, Lines, error) {
	var root yaml.Node
	var more any
	document := yaml.NewDecoder(r)
	if err := document.Decode(&root); errors.Is(err, io.EOF) {
		return Directory{}, nil, nil
	} else if err != nil {
		return Directory{}, nil, fmt.Errorf("directory: %w", err)
	}
	if err := document.Decode(&more); !errors.Is(err, io.EOF) {
		return Directory{}, nil, errors.Join(errors.New("directory: one document is read, and there is more behind it"), err)
	}
	keepDigits(&root)
	var d Directory
	lines := make(Lines)
	if err := d.read(root.Content[0], lines); err != nil {
		return Directory{}, nil, fmt.Errorf("directory: %w", err)
	}
	return d, lines, nil
}

// read takes in the lists of a directory.
func (d *Directory) read(top *yaml.Node, lines Lines) error {
	if top.Kind == yaml.ScalarNode && top.Tag == "!!null" {
		return nil
	}
	if top.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: want lists of issuers, acquirers, programs, merchants, terminals, routes and members", top.Line)
	}
	seen := make(map[string]bool)
	for i := 0; i+1 < len(top.Content); i += 2 {
		key, list := top.Content[i], top.Content[i+1]
		if seen[key.Value] {
			return fmt.Errorf("line %d: %q is there twice", key.Line, key.Value)
		}
		seen[key.Value] = true
		var err error
		switch key.Value {
		case "issuers":
			d.Issuers, err = readList[book.Issuer](key, list, lines)
		case "acquirers":
			d.Acquirers, err = readList[book.Acquirer](key, list, lines)
		case "programs":
			d.Programs, err = readList[book.Program](key, list, lines)
		case "merchants":
			d.Merchants, err = readList[book.Merchant](key, list, lines)
		case "terminals":
			d.Terminals, err = readList[book.Terminal](key, list, lines)
		case "routes":
			d.Routes, err = readList[book.Route](key, list, lines)
		case "members":
			d.Members, err = readList[Member](key, list, lines)
		default:
			err = fmt.Errorf("line %d: unknown key %q; want issuers, acquirers, programs, merchants, terminals, routes or members", key.Line, key.Value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// at names an entry: of a list, and by its place there.
func at(list string, i int) string { return fmt.Sprintf("%s[%d]", list, i) }

func readList[T any](key, list *yaml.Node, lines Lines) ([]T, error) {
	if list.Kind == yaml.AliasNode {
		list = list.Alias
	}
	if list.Kind == yaml.ScalarNode && list.Tag == "!!null" {
		return nil, nil
	}
	if list.Kind != yaml.SequenceNode {
		return nil, fmt.Errorf("line %d: %s: want a list", key.Line, key.Value)
	}
	entries := make([]T, len(list.Content))
	for i, node := range list.Content {
		lines[at(key.Value, i)] = node.Line
		var tree any
		if err := node.Decode(&tree); err != nil {
			return nil, fmt.Errorf("line %d: %s: %w", node.Line, at(key.Value, i), err)
		}
		text, err := json.Marshal(tree)
		if err != nil {
			return nil, fmt.Errorf("line %d: %s: keys must be words: %w", node.Line, at(key.Value, i), err)
		}
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&entries[i]); err != nil {
			line, err := explained(node, err)
			return nil, fmt.Errorf("line %d: %s: %w", line, at(key.Value, i), err)
		}
	}
	return entries, nil
}

// unknownField finds the key in what encoding/json says of one that no field has.
var unknownField = regexp.MustCompile(`^json: unknown field "(.*)"$`)

// explained says in a file's words why an entry cannot be read, and on which line.
func explained(entry *yaml.Node, err error) (int, error) {
	if unknown := unknownField.FindStringSubmatch(err.Error()); unknown != nil {
		return lineOf(entry, unknown[1]), fmt.Errorf("unknown key %q", unknown[1])
	}
	wrong, ok := errors.AsType[*json.UnmarshalTypeError](err)
	if !ok {
		return entry.Line, err
	}
	want := "want " + wrong.Type.String()
	switch kind := wrong.Type.Kind(); {
	case kind == reflect.Bool:
		want = "want true or false"
	case kind == reflect.String:
		want = "want a text"
	case kind == reflect.Slice:
		want = "want a list"
	case kind == reflect.Struct:
		want = "want keys and values"
	case kind >= reflect.Uint && kind <= reflect.Uint64:
		want = fmt.Sprintf("want a whole number from 0 to %d", ^uint64(0)>>(64-wrong.Type.Bits()))
	case kind >= reflect.Int && kind <= reflect.Int64:
		want = "want a whole number"
	}
	if wrong.Field == "" {
		return entry.Line, fmt.Errorf("a %s: %s", wrong.Value, want)
	}
	return lineOf(entry, wrong.Field[strings.LastIndexByte(wrong.Field, '.')+1:]), fmt.Errorf("%s: a %s, %s", wrong.Field, wrong.Value, want)
}

// lineOf is the line of the first key of that name in an entry, else the entry's own.
func lineOf(entry *yaml.Node, name string) int {
	if line := findKey(entry, name); line != 0 {
		return line
	}
	return entry.Line
}

func findKey(node *yaml.Node, name string) int {
	for i, child := range node.Content {
		if node.Kind == yaml.MappingNode && i%2 == 0 {
			if child.Value == name {
				return child.Line
			}
			continue
		}
		if line := findKey(child, name); line != 0 {
			return line
		}
	}
	return 0
}

// keepDigits turns whole numbers with a leading zero into text: YAML would read
// them as octal, and a card number as another one.
func keepDigits(node *yaml.Node) {
	if node.Kind == yaml.ScalarNode && node.Tag == "!!int" && len(node.Value) > 1 && node.Value[0] == '0' {
		node.Tag = "!!str"
	}
	for _, child := range node.Content {
		keepDigits(child)
	}
}

// named is a command with the words that tell an operator which entry it is.
type named struct {
	what   string
	at     string // its place in the directory
	cmd    book.Command
	status *book.Status // of a put entry; 0: it stays as it is
	done   bool         // nothing is left to do
}

// keep fills in what an entry leaves out and b knows, and finds out whether it would stay
// as it is, so that there is nothing to do: a lost card does not become
// active again because somebody changed its expiry. A new entry is active; an
// account that is open needs no opening, also where its member could not open one.
func (n *named) keep(b *book.Book) error {
	e, registry := &n.cmd.Entry, b.Registry()
	var known book.Status
	switch {
	case e.Issuer != nil && registry.Issuers[e.Issuer.ID] != nil:
		known = registry.Issuers[e.Issuer.ID].Status
	case e.Acquirer != nil && registry.Acquirers[e.Acquirer.ID] != nil:
		known = registry.Acquirers[e.Acquirer.ID].Status
	case e.Program != nil && registry.Programs[e.Program.ID] != nil:
		known = registry.Programs[e.Program.ID].Status
	case e.Merchant != nil && registry.Merchants[e.Merchant.ID] != nil:
		known = registry.Merchants[e.Merchant.ID].Status
	case e.Terminal != nil && registry.Terminals[e.Terminal.ID] != nil:
		known = registry.Terminals[e.Terminal.ID].Status
		e.Terminal.Batch = cmp.Or(e.Terminal.Batch, registry.Terminals[e.Terminal.ID].Batch)
	case n.cmd.Kind == book.KindOpen:
		_, ok, err := b.Account(book.AccountKey{Kind: book.MemberAccount, Program: n.cmd.Program, Party: uint64(n.cmd.Member)})
		n.done = ok
		return err
	case e.Member != nil:
		member, _, err := b.Member(e.Member.ID)
		if err != nil {
			return err
		}
		*n.status = cmp.Or(*n.status, member.Status, book.Active)
		n.done = *e.Member == member.Member
		return nil
	case e.Card != nil:
		card, _, err := b.Card(e.Card.Token)
		if err != nil {
			return err
		}
		*n.status = cmp.Or(*n.status, card.Status, book.Active)
		put := *e.Card
		put.Since = card.Since // The ledger keeps that of the first time.
		n.done = put == card
		return nil
	}
	if n.status != nil {
		*n.status = cmp.Or(*n.status, known, book.Active)
	}
	n.done = e.Stands(registry)
	return nil
}

// by says who asks, and that what needs a second person is only proposed.
func (n *named) by(name string, two book.Acts) {
	n.cmd.Operator = name
	if name == "" || !two.Has(n.cmd.Of()) {
		return
	}
	n.cmd = book.Command{Kind: book.KindPropose, Operator: name, Group: []book.Command{n.cmd}}
}

// commands turns the directory into commands, in order. Errors: a [*LoadError].
func (d *Directory) commands(tokenize func(points.PAN) points.CardToken) ([]named, error) {
	var all []named
	put := func(what, at string, status *book.Status, entry book.Entry) {
		all = append(all, named{what, at, book.Command{Kind: book.KindPut, Entry: entry}, status, false})
	}
	for i := range d.Issuers {
		e := &d.Issuers[i]
		put(fmt.Sprintf("issuer %d", e.ID), at("issuers", i), &e.Status, book.Entry{Issuer: e})
	}
	for i := range d.Acquirers {
		e := &d.Acquirers[i]
		put(fmt.Sprintf("acquirer %d", e.ID), at("acquirers", i), &e.Status, book.Entry{Acquirer: e})
	}
	for i := range d.Programs {
		e := &d.Programs[i]
		put(fmt.Sprintf("programme %d", e.ID), at("programs", i), &e.Status, book.Entry{Program: e})
	}
	for i := range d.Merchants {
		e := &d.Merchants[i]
		put(fmt.Sprintf("merchant %s", e.ID), at("merchants", i), &e.Status, book.Entry{Merchant: e})
	}
	for i := range d.Terminals {
		e := &d.Terminals[i]
		put(fmt.Sprintf("terminal %s", e.ID), at("terminals", i), &e.Status, book.Entry{Terminal: e})
	}
	for i := range d.Routes {
		status := book.Active // A route has none.
		put(fmt.Sprintf("route %q", d.Routes[i].Prefix), at("routes", i), &status, book.Entry{Route: &d.Routes[i]})
	}
	for i := range d.Members {
		e := &d.Members[i]
		here := at("members", i)
		put(fmt.Sprintf("member %d", e.ID), here, &e.Status, book.Entry{Member: &e.Member})
		for _, program := range e.Programs {
			all = append(all, named{
				fmt.Sprintf("member %d in programme %d", e.ID, program), here,
				book.Command{Kind: book.KindOpen, Member: e.ID, Program: program},
				nil, false,
			})
		}
		for _, c := range e.Cards {
			pan, err := points.ParsePAN(string(c.Number))
			if err != nil {
				return nil, &LoadError{At: here, err: fmt.Errorf("member %d: %w", e.ID, err)}
			}
			card := &book.Card{Token: tokenize(pan), Masked: pan.Masked(), Member: e.ID, Expiry: c.Expiry, Status: c.Status}
			put("card "+card.Masked, here, &card.Status, book.Entry{Card: card})
		}
	}
	for i := range all {
		if err := legible(all[i].what, &all[i].cmd); err != nil {
			return nil, &LoadError{At: all[i].at, Total: len(all), err: err}
		}
	}
	return all, nil
}

// directoryOf lists the reference data, ascending by identity.
func directoryOf(r *book.Registry) Directory {
	var d Directory
	for _, id := range slices.Sorted(maps.Keys(r.Issuers)) {
		d.Issuers = append(d.Issuers, *r.Issuers[id])
	}
	for _, id := range slices.Sorted(maps.Keys(r.Acquirers)) {
		d.Acquirers = append(d.Acquirers, *r.Acquirers[id])
	}
	for _, id := range slices.Sorted(maps.Keys(r.Programs)) {
		d.Programs = append(d.Programs, *r.Programs[id])
	}
	for _, m := range r.Merchants {
		d.Merchants = append(d.Merchants, *m)
	}
	slices.SortFunc(d.Merchants, func(a, b book.Merchant) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	for _, t := range r.Terminals {
		d.Terminals = append(d.Terminals, *t)
	}
	slices.SortFunc(d.Terminals, func(a, b book.Terminal) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	for _, route := range r.Routes {
		d.Routes = append(d.Routes, *route)
	}
	return d
}
