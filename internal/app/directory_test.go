package app_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/internal/sim"
	"github.com/lianfen/lianfen/points"
)

// A directory is read as it is written, or refused with what is wrong with it;
// a card number is never part of the refusal.
func TestReadDirectory(t *testing.T) {
	for _, c := range []struct{ name, text, wrong string }{
		{"nothing", "", ""},
		{"quoted card", `members: [{id: 1, cards: [{number: "6222020000000000017"}]}]`, ""},
		{"card with a leading zero that is not quoted", `members: [{id: 1, cards: [{number: 0222020000000000017}]}]`, ""},
		{"card that is not quoted", `members: [{id: 1, cards: [{number: 6222020000000000017}]}]`, ""},
		{"card above the signed numbers", `members: [{id: 1, cards: [{number: 9555100000000000031}]}]`, ""},
		{"JSON", `{"members":[{"id":1,"cards":[{"number":"6222020000000000017"}]}]}`, ""},
		{"unknown list", "shops: []", `unknown field "shops"`},
		{"unknown key", "terminals: [{id: T1, shop: M1}]", `unknown field "shop"`},
		{"a key twice", "terminals: []\nterminals: []", "already defined"},
		{"no map", "[1, 2]", "cannot unmarshal array"},
		{"no YAML", "terminals: [", "directory: yaml"},
		{"two documents", "terminals: []\n---\nterminals: [{id: T1, merchant: M1}]", "more behind it"},
		{"keys that are numbers", "1: 2", "keys must be words"},
		{"a letter in a card", `members: [{id: 1, cards: [{number: "622202000000000001x"}]}]`, "character 19 is not a digit"},
		{"a card with a point", `members: [{id: 1, cards: [{number: 622202.17}]}]`, "is not a digit"},
		{"a card too long", `members: [{id: 1, cards: [{number: "62220200000000000170"}]}]`, "20 digits, want 1 to 19"},
		{"unknown status", "issuers: [{id: 1, name: I, status: asleep}]", "asleep"},
		{"identity too long", "terminals: [{id: T23456789, merchant: M1}]", "DE41"},
		{"programme out of range", "programs: [{id: 70000, issuer: 1, name: P}]", "70000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := app.ReadDirectory(strings.NewReader(c.text))
			if c.wrong != "" {
				require.ErrorContains(t, err, c.wrong)
				require.NotContains(t, err.Error(), "62220200000")
				return
			}
			require.NoError(t, err)
			for _, m := range d.Members {
				require.Contains(t, c.text, string(m.Cards[0].Number))
				require.Len(t, m.Cards[0].Number, 19)
			}
		})
	}
}

// The same directory twice is the same directory; what an operator reads out can be
// loaded again.
func TestLoadTwice(t *testing.T) {
	h := newHouse(t)
	r := h.start(t)
	day, err := app.ReadDirectory(sim.DayDirectory())
	require.NoError(t, err)
	first, err := r.client.Load(t.Context(), day)
	require.NoError(t, err)
	listed, err := r.client.Directory(t.Context())
	require.NoError(t, err)
	_, err = r.client.Load(t.Context(), day)
	require.NoError(t, err)
	_, err = r.client.Load(t.Context(), listed)
	require.NoError(t, err)
	again, err := r.client.Directory(t.Context())
	require.NoError(t, err)
	require.Equal(t, listed, again)
	require.Greater(t, first.Entries, 20)
	r.stop(t)
}

// A load stops at what the ledger refuses and names it; what stands before it is
// in force at once.
func TestLoadRefused(t *testing.T) {
	h := newHouse(t)
	r := h.start(t)
	r.load(t, smallTown)
	d, err := app.ReadDirectory(strings.NewReader("terminals: [{id: N1, merchant: M1}, {id: N2, merchant: M2}]"))
	require.NoError(t, err)
	_, err = r.client.Load(t.Context(), d)
	require.ErrorContains(t, err, "terminal N2: ")
	require.True(t, send(t, r.terminal(t, "N1"), points.SignOn, "", 0).Response.Reason.Approved())
	require.Equal(t, points.UnknownTerminal.DE39(), send(t, r.terminal(t, "N2"), points.SignOn, "", 0).Response.Reason.DE39())
	r.stop(t)
}

// A card has one member: it does not go over to another by being written down twice.
func TestCardOfTwoMembers(t *testing.T) {
	h := newHouse(t)
	r := h.start(t)
	r.load(t, smallTown)
	d, err := app.ReadDirectory(strings.NewReader(`members: [{id: 2, cards: [{number: "6222020000000000017"}]}]`))
	require.NoError(t, err)
	_, err = r.client.Load(t.Context(), d)
	require.ErrorContains(t, err, "card 622202*********0017: ")
	accounts, err := r.client.Accounts(t.Context(), app.Holder{Card: "6222020000000000017"})
	require.NoError(t, err)
	require.Equal(t, points.MemberID(1), accounts.Member)
	r.stop(t)
}

// What an entry leaves out stays as it is: a suspended terminal is not put back to
// work by being written down again, nor a lost card.
func TestLoadKeepsWhatItDoesNotSay(t *testing.T) {
	h := newHouse(t)
	r := h.start(t)
	r.load(t, smallTown)
	r.load(t, `
terminals: [{id: T1, merchant: M1, status: suspended}]
members: [{id: 1, cards: [{number: "6222020000000000017", status: lost}]}]`)
	r.load(t, `
terminals: [{id: T1, merchant: M1}]
members: [{id: 1, cards: [{number: "6222020000000000017", expiry: 3012}]}]`)
	require.Equal(t, points.TerminalBlocked.DE39(), send(t, r.terminal(t, "T1"), points.SignOn, "", 0).Response.Reason.DE39())
	r.load(t, `terminals: [{id: T1, merchant: M1, status: active}]`)
	require.Equal(t, points.CardLost.DE39(), send(t, r.terminal(t, "T1"), points.Balance, "6222020000000000017", 0).Response.Reason.DE39())
	r.stop(t)
}
