package router_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/router"
)

func terminal(t *testing.T, s string) points.TerminalID {
	t.Helper()
	id, err := points.ParseTerminalID(s)
	require.NoError(t, err)
	return id
}

func merchant(t *testing.T, s string) points.MerchantID {
	t.Helper()
	id, err := points.ParseMerchantID(s)
	require.NoError(t, err)
	return id
}

func pan(t *testing.T, s string) points.PAN {
	t.Helper()
	p, err := points.ParsePAN(s)
	require.NoError(t, err)
	return p
}

// registry has two issuers, one of them remote and one suspended, and a terminal of each kind.
func registry(t *testing.T) *book.Registry {
	m1, m2, shut := merchant(t, "M1"), merchant(t, "M2"), merchant(t, "SHUT")
	return &book.Registry{
		Version: 7,
		Issuers: map[points.IssuerID]*book.Issuer{
			1: {ID: 1, Status: book.Active}, 2: {ID: 2, Status: book.Active, Link: "bank"}, 3: {ID: 3, Status: book.Suspended},
		},
		Acquirers: map[points.AcquirerID]*book.Acquirer{10: {ID: 10, Status: book.Active}, 11: {ID: 11, Status: book.Suspended}},
		Programs: map[points.ProgramID]*book.Program{
			901: {ID: 901, Issuer: 1, Status: book.Active}, 902: {ID: 902, Issuer: 2, Status: book.Active},
			903: {ID: 903, Issuer: 3, Status: book.Active}, 904: {ID: 904, Issuer: 1, Status: book.Closed},
		},
		Merchants: map[points.MerchantID]*book.Merchant{
			m1: {ID: m1, Acquirer: 10, Status: book.Active}, m2: {ID: m2, Acquirer: 11, Status: book.Active},
			shut: {ID: shut, Acquirer: 10, Status: book.Suspended},
		},
		Terminals: map[points.TerminalID]*book.Terminal{
			terminal(t, "T1"): {ID: terminal(t, "T1"), Merchant: m1, Status: book.Active},
			terminal(t, "T2"): {ID: terminal(t, "T2"), Merchant: m2, Status: book.Active},
			terminal(t, "T3"): {ID: terminal(t, "T3"), Merchant: m1, Status: book.Suspended},
			terminal(t, "T4"): {ID: terminal(t, "T4"), Merchant: shut, Status: book.Active},
		},
		Routes: []*book.Route{
			{Prefix: "6"}, {Prefix: "62"}, {Prefix: "6222", Issuer: 1, Only: 902}, {Prefix: "9999", Issuer: 2}, {Prefix: "8888", Issuer: 77},
		},
	}
}

// The longest prefix decides, a route for the programme before one for any.
func TestRoute(t *testing.T) {
	table := router.NewTable(registry(t))
	for name, c := range map[string]struct {
		pan     string
		program points.ProgramID
		want    router.Destination
		reason  points.Reason
	}{
		"programme's own issuer":        {"6200000000000000", 901, router.Destination{Issuer: 1}, points.Approved},
		"remote issuer":                 {"6200000000000000", 902, router.Destination{Issuer: 2, Link: "bank"}, points.Approved},
		"longer prefix, this programme": {"6222000000000000", 902, router.Destination{Issuer: 1}, points.Approved},
		"longer prefix, other":          {"6222000000000000", 901, router.Destination{Issuer: 1}, points.Approved},
		"named by the route":            {"9999000000000000", 0, router.Destination{Issuer: 2, Link: "bank"}, points.Approved},
		"left to the merchant's order":  {"6200000000000000", 0, router.Destination{}, points.Approved},
		"shorter than any prefix":       {"6", 901, router.Destination{Issuer: 1}, points.Approved},
		"no prefix":                     {"5200000000000000", 901, router.Destination{}, points.NoRoute},
		"route to nobody":               {"8888000000000000", 901, router.Destination{}, points.NoRoute},
		"unknown programme":             {"6200000000000000", 950, router.Destination{}, points.UnknownProgram},
		"closed programme":              {"6200000000000000", 904, router.Destination{}, points.ProgramClosed},
		"suspended issuer":              {"6200000000000000", 903, router.Destination{}, points.IssuerSuspended},
	} {
		t.Run(name, func(t *testing.T) {
			got, reason := table.Route(pan(t, c.pan), c.program)
			require.Equal(t, c.reason, reason)
			require.Equal(t, c.want, got)
		})
	}
}

// A request is only taken from who is registered, active and at home where it says.
func TestAcceptors(t *testing.T) {
	table := router.NewTable(registry(t))
	for name, c := range map[string]struct {
		terminal, merchant string
		want               points.Reason
	}{
		"at home":            {"T1", "M1", points.Approved},
		"unknown":            {"TX", "M1", points.UnknownTerminal},
		"somebody else's":    {"T1", "M2", points.UnknownMerchant},
		"blocked":            {"T3", "M1", points.TerminalBlocked},
		"merchant blocked":   {"T4", "SHUT", points.MerchantBlocked},
		"acquirer suspended": {"T2", "M2", points.AcquirerSuspended},
	} {
		t.Run(name, func(t *testing.T) {
			_, reason := table.Terminal(terminal(t, c.terminal), merchant(t, c.merchant))
			require.Equal(t, c.want, reason)
		})
	}
	for name, c := range map[string]struct {
		acquirer           points.AcquirerID
		merchant, terminal string
		want               points.Reason
	}{
		"registered terminal":   {10, "M1", "T1", points.Approved},
		"unregistered terminal": {10, "M1", "OWN7", points.Approved},
		"unknown acquirer":      {99, "M1", "T1", points.ForeignIdentity},
		"unknown merchant":      {10, "MX", "T1", points.UnknownMerchant},
		"another's merchant":    {11, "M1", "T1", points.UnknownMerchant},
		"another's terminal":    {10, "M1", "T2", points.UnknownMerchant},
		"blocked terminal":      {10, "M1", "T3", points.TerminalBlocked},
		"suspended acquirer":    {11, "M2", "T2", points.AcquirerSuspended},
	} {
		t.Run("partner "+name, func(t *testing.T) {
			_, reason := table.Partner(c.acquirer, merchant(t, c.merchant), terminal(t, c.terminal))
			require.Equal(t, c.want, reason)
		})
	}
	for name, c := range map[string]struct {
		acquirer points.AcquirerID
		want     points.Reason
	}{
		"known":     {10, points.Approved},
		"unknown":   {99, points.ForeignIdentity},
		"unnamed":   {0, points.ForeignIdentity},
		"suspended": {11, points.AcquirerSuspended},
	} {
		t.Run("system "+name, func(t *testing.T) {
			acceptor, reason := table.System(c.acquirer)
			require.Equal(t, c.want, reason)
			require.Nil(t, acceptor.Merchant)
			require.Equal(t, c.want.Approved(), acceptor.Acquirer != nil)
		})
	}
}

// Whoever is found is found whole: terminal, merchant and acquirer of one another.
func TestAcceptorIsWhole(t *testing.T) {
	table := router.NewTable(registry(t))
	acceptor, reason := table.Terminal(terminal(t, "T1"), merchant(t, "M1"))
	require.Equal(t, points.Approved, reason)
	require.Equal(t, terminal(t, "T1"), acceptor.Terminal.ID)
	require.Equal(t, merchant(t, "M1"), acceptor.Merchant.ID)
	require.Equal(t, points.AcquirerID(10), acceptor.Acquirer.ID)
	acceptor, reason = table.Partner(10, merchant(t, "M1"), terminal(t, "OWN7"))
	require.Equal(t, points.Approved, reason)
	require.Nil(t, acceptor.Terminal, "a partner's own terminal is not registered")
	require.Equal(t, points.AcquirerID(10), acceptor.Acquirer.ID)
}

// Prefixes that no card number has send nothing astray, and the longest routes.
func TestPrefixes(t *testing.T) {
	table := router.NewTable(&book.Registry{
		Issuers: map[points.IssuerID]*book.Issuer{1: {ID: 1, Status: book.Active}, 2: {ID: 2, Status: book.Active}},
		Routes: []*book.Route{
			{Prefix: "", Issuer: 2}, {Prefix: "6x", Issuer: 2}, {Prefix: "622202123456", Issuer: 2}, {Prefix: "62220212345", Issuer: 1}, {Prefix: "0622", Issuer: 2},
		},
	})
	for digits, want := range map[string]points.IssuerID{"6222021234567890": 1, "62220212345": 1, "6222021234": 0, "0622000000000000": 2, "622": 0} {
		got, reason := table.Route(pan(t, digits), 0)
		require.Equal(t, want, got.Issuer, digits)
		require.Equal(t, want != 0, reason.Approved(), digits)
	}
}

// A refresh that comes late does not bring back an older world.
func TestSwapKeepsTheNewer(t *testing.T) {
	var r router.Router
	_, reason := r.Table().Terminal(terminal(t, "T1"), merchant(t, "M1"))
	require.Equal(t, points.UnknownTerminal, reason, "an empty router knows nobody")
	newer := router.NewTable(registry(t))
	r.Swap(newer)
	r.Swap(router.NewTable(&book.Registry{Version: 6}))
	require.Same(t, newer, r.Table())
}

// Routing is on the path of an authorisation and allocates nothing.
func TestRouteAllocatesNothing(t *testing.T) {
	table := router.NewTable(registry(t))
	card, id, at := pan(t, "6222021234567890"), terminal(t, "T1"), merchant(t, "M1")
	require.Zero(t, testing.AllocsPerRun(100, func() {
		_, _ = table.Terminal(id, at)
		_, _ = table.Route(card, 901)
	}))
}
