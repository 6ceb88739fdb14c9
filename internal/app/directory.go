package app

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

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

// UnmarshalJSON reads a string, or a number for files that do not quote it.
func (n *CardNumber) UnmarshalJSON(text []byte) error {
	digits := strings.Trim(string(text), `"`)
	if _, err := points.ParsePAN(digits); err != nil {
		return err
	}
	*n = CardNumber(digits)
	return nil
}

// ReadDirectory reads a directory in YAML (or JSON, which is YAML too). An
// unknown key is an error.
func ReadDirectory(r io.Reader) (Directory, error) {
	var root yaml.Node
	var tree, more any
	document := yaml.NewDecoder(r)
	if err := document.Decode(&root); err != nil && !errors.Is(err, io.EOF) {
		return Directory{}, fmt.Errorf("directory: %w", err)
	}
	keepDigits(&root)
	if err := root.Decode(&tree); err != nil && !root.IsZero() {
		return Directory{}, fmt.Errorf("directory: %w", err)
	}
	if err := document.Decode(&more); !errors.Is(err, io.EOF) {
		return Directory{}, errors.Join(errors.New("directory: one document is read, and there is more behind it"), err)
	}
	text, err := json.Marshal(tree)
	if err != nil {
		return Directory{}, fmt.Errorf("directory: keys must be words: %w", err)
	}
	var d Directory
	decoder := json.NewDecoder(strings.NewReader(string(text)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil {
		return Directory{}, fmt.Errorf("directory: %w", err)
	}
	return d, nil
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
	cmd    book.Command
	status *book.Status // of a put entry; 0: it stays as it is
	done   bool         // nothing is left to do
}

// keep fills in what an entry leaves out and b knows: a lost card does not become
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
		known = member.Status
	case e.Card != nil:
		card, _, err := b.Card(e.Card.Token)
		if err != nil {
			return err
		}
		known = card.Status
	}
	if n.status != nil {
		*n.status = cmp.Or(*n.status, known, book.Active)
	}
	return nil
}

// commands turns the directory into commands, in order.
func (d *Directory) commands(tokenize func(points.PAN) points.CardToken) ([]named, error) {
	var all []named
	put := func(what string, status *book.Status, entry book.Entry) {
		all = append(all, named{what, book.Command{Kind: book.KindPut, Entry: entry}, status, false})
	}
	for i := range d.Issuers {
		e := &d.Issuers[i]
		put(fmt.Sprintf("issuer %d", e.ID), &e.Status, book.Entry{Issuer: e})
	}
	for i := range d.Acquirers {
		e := &d.Acquirers[i]
		put(fmt.Sprintf("acquirer %d", e.ID), &e.Status, book.Entry{Acquirer: e})
	}
	for i := range d.Programs {
		e := &d.Programs[i]
		put(fmt.Sprintf("programme %d", e.ID), &e.Status, book.Entry{Program: e})
	}
	for i := range d.Merchants {
		e := &d.Merchants[i]
		put(fmt.Sprintf("merchant %s", e.ID), &e.Status, book.Entry{Merchant: e})
	}
	for i := range d.Terminals {
		e := &d.Terminals[i]
		put(fmt.Sprintf("terminal %s", e.ID), &e.Status, book.Entry{Terminal: e})
	}
	for i := range d.Routes {
		status := book.Active // A route has none.
		put("route "+d.Routes[i].Prefix, &status, book.Entry{Route: &d.Routes[i]})
	}
	for i := range d.Members {
		e := &d.Members[i]
		put(fmt.Sprintf("member %d", e.ID), &e.Status, book.Entry{Member: &e.Member})
		for _, program := range e.Programs {
			all = append(all, named{
				fmt.Sprintf("member %d in programme %d", e.ID, program),
				book.Command{Kind: book.KindOpen, Member: e.ID, Program: program},
				nil, false,
			})
		}
		for _, c := range e.Cards {
			pan, err := points.ParsePAN(string(c.Number))
			if err != nil {
				return nil, fmt.Errorf("member %d: %w", e.ID, err)
			}
			card := &book.Card{Token: tokenize(pan), Masked: pan.Masked(), Member: e.ID, Expiry: c.Expiry, Status: c.Status}
			put("card "+card.Masked, &card.Status, book.Entry{Card: card})
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
