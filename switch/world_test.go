package pointswitch_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// lastMember is the highest member number of the world.
const lastMember = 9

// cards are the card numbers of the world, by the name that stories use.
func cards() map[string]string {
	return map[string]string{
		"A":        "6222021234567890123", // member 1, 19 digits
		"A2":       "6222021234567891",    // member 1, a second card
		"B":        "6222020000000002",    // member 2
		"C":        "6222020000000003",    // member 3
		"frozen":   "6222020000000004",    // member 4, who is frozen
		"lost":     "6222020000000005",
		"stolen":   "6222020000000006",
		"blocked":  "6222020000000007",
		"dormant":  "6222020000000008",
		"expired":  "6222020000000009",
		"nobody":   "6222029999999999", // of no member
		"homeless": "5200000000000007", // without a route
		"remote":   "9900000000000001", // of an issuer with a host of its own
		"remote2":  "9900000000000002", // likewise
	}
}

func parsePAN(t testing.TB, digits string) points.PAN {
	t.Helper()
	pan, err := points.ParsePAN(digits)
	require.NoError(t, err)
	return pan
}

func parseTerminal(t testing.TB, s string) points.TerminalID {
	t.Helper()
	id, err := points.ParseTerminalID(s)
	require.NoError(t, err)
	return id
}

func parseMerchant(t testing.TB, s string) points.MerchantID {
	t.Helper()
	id, err := points.ParseMerchantID(s)
	require.NoError(t, err)
	return id
}

// furnish fills an empty house with the world that stories play in:
//
//	901 bank, house points        902 airline, alliance points, with limits
//	903 of a remote issuer        904 closed       905 bank, opens on earn, holds of 2 days
//	SHOP takes 901 902 905, CAFE 902 only; both of the terminals' acquirer
//	MALL is the partner's and takes 901 902; SHUT is blocked
//	T1 T2 at SHOP, T3 at CAFE, TX at SHOP but blocked, TS at SHUT, M1 at MALL
//	member 1 (cards A, A2) has 901: 1000 and 902: 8000; 2 (B) 901: 500;
//	3 (C) 902: 9000; 4 is frozen and has 901: 100; member 5's cards are lost,
//	stolen, blocked, dormant, expired
func (h *house) furnish() {
	h.t.Helper()
	h.put(
		book.Entry{Issuer: &book.Issuer{ID: bank, Name: "Bank", Status: book.Active}},
		book.Entry{Issuer: &book.Issuer{ID: airline, Name: "Airline", Status: book.Active}},
		book.Entry{Issuer: &book.Issuer{ID: remote, Name: "Remote", Status: book.Active, Link: "remote"}},
		book.Entry{Issuer: &book.Issuer{ID: gone, Name: "Gone", Status: book.Suspended}},
		book.Entry{Acquirer: &book.Acquirer{ID: posAcq, Name: "Counter", Status: book.Active}},
		book.Entry{Acquirer: &book.Acquirer{ID: partner, Name: "Partner", Status: book.Active}},
		book.Entry{Program: &book.Program{ID: 901, Issuer: bank, Name: "House", Status: book.Active}},
		book.Entry{Program: &book.Program{
			ID: 902, Issuer: airline, Name: "Miles", Status: book.Active, Alliance: true,
			Rules: book.ProgramRules{MinRedeem: 100, MaxAmount: 5000, MaxRedeemDay: 6000, MaxRedeemCnt: 3},
		}},
		book.Entry{Program: &book.Program{
			ID: 903, Issuer: remote, Name: "Far", Status: book.Active, Rules: book.ProgramRules{Transfer: true, TransferMax: 50, TransferDay: 60},
		}},
		book.Entry{Program: &book.Program{ID: 904, Issuer: bank, Name: "Past", Status: book.Closed}},
		book.Entry{Program: &book.Program{
			ID: 905, Issuer: bank, Name: "Stays", Status: book.Active,
			Rules: book.ProgramRules{OpenOnEarn: true, HoldDays: 2},
		}},
	)
	m := func(s string) points.MerchantID { return parseMerchant(h.t, s) }
	h.put(
		book.Entry{Merchant: &book.Merchant{ID: m("SHOP"), Acquirer: posAcq, Name: "Shop", Status: book.Active, Programs: []points.ProgramID{901, 902, 905}}},
		book.Entry{Merchant: &book.Merchant{ID: m("CAFE"), Acquirer: posAcq, Name: "Cafe", Status: book.Active, Programs: []points.ProgramID{902}}},
		book.Entry{Merchant: &book.Merchant{ID: m("MALL"), Acquirer: partner, Name: "Mall", Status: book.Active, Programs: []points.ProgramID{901, 902}}},
		book.Entry{Merchant: &book.Merchant{ID: m("SHUT"), Acquirer: posAcq, Name: "Shut", Status: book.Suspended, Programs: []points.ProgramID{901}}},
	)
	for _, terminal := range []struct {
		id, merchant string
		status       book.Status
	}{
		{"T1", "SHOP", book.Active},
		{"T2", "SHOP", book.Active},
		{"T3", "CAFE", book.Active},
		{"TX", "SHOP", book.Suspended},
		{"TS", "SHUT", book.Active},
		{"M1", "MALL", book.Active},
	} {
		h.put(book.Entry{Terminal: &book.Terminal{ID: parseTerminal(h.t, terminal.id), Merchant: m(terminal.merchant), Status: terminal.status}})
	}
	h.put(book.Entry{Route: &book.Route{Prefix: "622202"}}, book.Entry{Route: &book.Route{Prefix: "99", Issuer: remote}})
	h.furnishMembers()
}

func (h *house) furnishMembers() {
	for member := points.MemberID(1); member <= 5; member++ {
		h.put(book.Entry{Member: &book.Member{ID: member, Status: book.Active}})
	}
	for _, c := range []struct {
		name   string
		member points.MemberID
		status book.Status
		expiry uint32
	}{
		{"A", 1, book.Active, 0},
		{"A2", 1, book.Active, 0},
		{"B", 2, book.Active, 0},
		{"C", 3, book.Active, 0},
		{"frozen", 4, book.Active, 0},
		{"lost", 5, book.Lost, 0},
		{"stolen", 5, book.Stolen, 0},
		{"blocked", 5, book.Suspended, 0},
		{"dormant", 5, book.Dormant, 0},
		{"expired", 5, book.Active, 2601},
	} {
		pan := parsePAN(h.t, cards()[c.name])
		card := &book.Card{Masked: pan.Masked(), Member: c.member, Expiry: c.expiry, Status: c.status}
		h.cardKey.Token(&card.Token, pan)
		h.put(book.Entry{Card: card})
	}
	for _, a := range []struct {
		member  points.MemberID
		program points.ProgramID
		amount  points.Amount
	}{{1, 901, 1000}, {1, 902, 8000}, {2, 901, 500}, {3, 902, 9000}, {4, 901, 100}} {
		h.do(book.Command{Kind: book.KindOpen, Member: a.member, Program: a.program, Operator: "anna"})
		h.do(book.Command{Kind: book.KindAdjust, Member: a.member, Program: a.program, Amount: a.amount, Operator: "anna", Second: "bo"})
	}
	h.do(book.Command{Kind: book.KindFreeze, Member: 4, Freeze: book.FreezeDebit | book.FreezeCredit, Operator: "anna"})
}
