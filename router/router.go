package router

import (
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// maxPrefixDigits is the longest card prefix that routes.
const maxPrefixDigits = 11

// Router holds the table in force. The zero value knows nobody. It is safe for
// concurrent use.
type Router struct {
	table atomic.Pointer[Table]
}

// Swap puts table in force for every request that is admitted from now on. An
// older table than the one in force is ignored, so that two refreshes that race
// end with the newer.
func (r *Router) Swap(table *Table) {
	for {
		current := r.table.Load()
		if current != nil && current.registry.Version > table.registry.Version {
			return
		}
		if r.table.CompareAndSwap(current, table) {
			return
		}
	}
}

// Table returns the table in force.
func (r *Router) Table() *Table {
	if table := r.table.Load(); table != nil {
		return table
	}
	return &Table{registry: &book.Registry{}}
}

// routeKey is a card prefix, with the programme it is for; 0 is any.
type routeKey struct {
	prefix  uint64
	digits  int
	program points.ProgramID
}

// Table is one state of the reference data, laid out for look-ups.
type Table struct {
	registry *book.Registry
	routes   map[routeKey]*book.Route
	longest  int  // digits of the longest prefix
	linked   bool // some route has links of its own
	black    []string
}

// NewTable lays out registry, which must not change any more.
func NewTable(registry *book.Registry) *Table {
	t := &Table{registry: registry, routes: make(map[routeKey]*book.Route, len(registry.Routes))}
	for _, route := range registry.Routes {
		digits := len(route.Prefix)
		prefix, err := strconv.ParseUint(route.Prefix, 10, 64)
		if err != nil || digits > maxPrefixDigits {
			continue // The book refuses such a prefix; a table without it sends nothing astray.
		}
		t.routes[routeKey{prefix, digits, route.Only}] = route
		t.linked = t.linked || len(route.Links) > 0
		t.longest = max(t.longest, digits)
	}
	t.black = blackList(registry)
	return t
}

// blackList lists the prefixes of routes that lead nowhere now: their issuer, or the
// programme that they are for, is not active. A prefix is left out where a card with it
// may be good all the same, by another route of the same prefix or of a longer one.
func blackList(registry *book.Registry) (black []string) {
	var good []string
	for _, route := range registry.Routes {
		active := true
		if program, ok := registry.Programs[route.Only]; ok {
			active = program.Status == book.Active
			if issuer, ok := registry.Issuers[program.Issuer]; route.Issuer == 0 && ok {
				active = active && issuer.Status == book.Active
			}
		}
		if issuer, ok := registry.Issuers[route.Issuer]; ok {
			active = active && issuer.Status == book.Active
		}
		if active {
			good = append(good, route.Prefix)
		} else {
			black = append(black, route.Prefix)
		}
	}
	slices.Sort(good)
	slices.Sort(black)
	return slices.DeleteFunc(slices.Compact(black), func(prefix string) bool {
		at, _ := slices.BinarySearch(good, prefix) // The first that is not before it, so that one longer is next.
		return at < len(good) && strings.HasPrefix(good[at], prefix)
	})
}

// BlackList lists the card prefixes that no terminal needs to ask about, ascending.
func (t *Table) BlackList() []string { return t.black }

// Acceptor is who brings a request: the terminal (nil for a partner system that
// has none registered), its merchant (nil for a message of a partner system that
// names none) and the merchant's acquirer.
type Acceptor struct {
	Terminal *book.Terminal
	Merchant *book.Merchant
	Acquirer *book.Acquirer
}

// Terminal finds the acceptor behind a terminal's request: the terminal must be
// registered and active (97, 58), the merchant its own and active (03), the
// acquirer active (58).
func (t *Table) Terminal(id points.TerminalID, merchant points.MerchantID) (Acceptor, points.Reason) {
	terminal, ok := t.registry.Terminals[id]
	switch {
	case !ok:
		return Acceptor{}, points.UnknownTerminal
	case terminal.Merchant != merchant:
		return Acceptor{}, points.UnknownMerchant
	case terminal.Status != book.Active:
		return Acceptor{}, points.TerminalBlocked
	}
	acceptor, reason := t.merchant(merchant)
	acceptor.Terminal = terminal
	return acceptor, reason
}

// Partner finds the acceptor behind a request of an acquirer's own system: the
// acquirer must be known and active (58) and the merchant its own (03). Its
// terminals need not be registered; one that is must be the merchant's.
func (t *Table) Partner(id points.AcquirerID, merchant points.MerchantID, terminal points.TerminalID) (Acceptor, points.Reason) {
	if _, ok := t.registry.Acquirers[id]; !ok {
		return Acceptor{}, points.ForeignIdentity
	}
	acceptor, reason := t.merchant(merchant)
	if !reason.Approved() {
		return Acceptor{}, reason
	}
	if acceptor.Acquirer.ID != id {
		return Acceptor{}, points.UnknownMerchant
	}
	if registered, ok := t.registry.Terminals[terminal]; ok {
		acceptor.Terminal = registered
		switch {
		case registered.Merchant != merchant:
			return Acceptor{}, points.UnknownMerchant
		case registered.Status != book.Active:
			return Acceptor{}, points.TerminalBlocked
		}
	}
	return acceptor, points.Approved
}

// System finds the acceptor behind a message of an acquirer's own system that
// names no merchant: the acquirer must be known and active (58).
func (t *Table) System(id points.AcquirerID) (Acceptor, points.Reason) {
	acquirer, ok := t.registry.Acquirers[id]
	switch {
	case !ok:
		return Acceptor{}, points.ForeignIdentity
	case acquirer.Status != book.Active:
		return Acceptor{}, points.AcquirerSuspended
	}
	return Acceptor{Acquirer: acquirer}, points.Approved
}

// Program returns a programme of the table.
func (t *Table) Program(id points.ProgramID) (*book.Program, bool) {
	program, ok := t.registry.Programs[id]
	return program, ok
}

// FirstOf returns the first programme of an issuer in a merchant's order, 0 when the
// merchant takes none of it.
func (t *Table) FirstOf(issuer points.IssuerID, at points.MerchantID) points.ProgramID {
	merchant, ok := t.registry.Merchants[at]
	if !ok {
		return 0
	}
	for _, id := range merchant.Programs {
		if program, ok := t.registry.Programs[id]; ok && program.Issuer == issuer {
			return id
		}
	}
	return 0
}

// LinkOf returns the name of the link to an issuer's own host, empty when its ledger
// is hosted here or it is not known.
func (t *Table) LinkOf(id points.IssuerID) string {
	if issuer, ok := t.registry.Issuers[id]; ok {
		return issuer.Link
	}
	return ""
}

// MerchantOf returns a merchant of the table, nil when there is none.
func (t *Table) MerchantOf(id points.MerchantID) *book.Merchant { return t.registry.Merchants[id] }

func (t *Table) merchant(id points.MerchantID) (Acceptor, points.Reason) {
	merchant, ok := t.registry.Merchants[id]
	if !ok {
		return Acceptor{}, points.UnknownMerchant
	}
	if merchant.Status != book.Active {
		return Acceptor{}, points.MerchantBlocked
	}
	acquirer, ok := t.registry.Acquirers[merchant.Acquirer]
	if !ok || acquirer.Status != book.Active {
		return Acceptor{}, points.AcquirerSuspended
	}
	return Acceptor{Merchant: merchant, Acquirer: acquirer}, points.Approved
}

// Destination is where a request goes. Link is empty for a ledger hosted here.
type Destination struct {
	Issuer points.IssuerID
	Link   string
}

// Route finds the issuer for a card and programme: the longest prefix of the
// card that has a route for this programme or for any, then the issuer that the
// route names, else the programme's own. program 0 leaves the choice to the
// merchant's order; then the issuer is known here only if the route names it.
//
// Without a route it is 15, for an unknown programme 57, for a closed one 57,
// for a suspended issuer 91.
func (t *Table) Route(pan points.PAN, program points.ProgramID) (Destination, points.Reason) {
	var own points.IssuerID
	if program != 0 {
		entry, ok := t.registry.Programs[program]
		switch {
		case !ok:
			return Destination{}, points.UnknownProgram
		case entry.Status != book.Active:
			return Destination{}, points.ProgramClosed
		}
		own = entry.Issuer
	}
	route := t.prefix(pan, program)
	if route == nil {
		return Destination{}, points.NoRoute
	}
	issuer := route.Issuer
	switch {
	case issuer == 0 && own == 0:
		return Destination{}, points.Approved
	case issuer == 0:
		issuer = own
	}
	entry, ok := t.registry.Issuers[issuer]
	switch {
	case !ok:
		return Destination{}, points.NoRoute
	case entry.Status != book.Active:
		return Destination{}, points.IssuerSuspended
	}
	return Destination{Issuer: issuer, Link: entry.Link}, points.Approved
}

// HasLinks reports whether any route has links of its own: otherwise each issuer's is
// the only one, and nobody has to ask [Table.Links].
func (t *Table) HasLinks() bool { return t.linked }

// Links returns the ways to the issuer of a card and programme, as its route lists them;
// none: the issuer's own link. The slice is the table's.
func (t *Table) Links(pan points.PAN, program points.ProgramID) []book.RouteLink {
	if route := t.prefix(pan, program); route != nil {
		return route.Links
	}
	return nil
}

// prefix finds the longest route of a card; at equal length the one for just
// this programme wins. nil: there is none.
func (t *Table) prefix(pan points.PAN, program points.ProgramID) *book.Route {
	for digits := min(t.longest, pan.Len()); digits > 0; digits-- {
		prefix, ok := pan.Prefix(digits)
		if !ok {
			continue
		}
		if program != 0 {
			if route := t.routes[routeKey{prefix, digits, program}]; route != nil {
				return route
			}
		}
		if route := t.routes[routeKey{prefix, digits, 0}]; route != nil {
			return route
		}
	}
	return nil
}
