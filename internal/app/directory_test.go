package app_test

import (
	"cmp"
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
		{"unknown list", "issuers: []\nshops: []", `line 2: unknown key "shops"; want issuers, `},
		{"unknown key", "terminals:\n  - {id: T1, merchant: M1}\n  - id: T2\n    shop: M1", `line 4: terminals[1]: unknown key "shop"`},
		{"unknown key of a card", "members:\n  - id: 1\n    cards:\n      - number: \"6222020000000000017\"\n        valid: 1", `line 5: members[0]: unknown key "valid"`},
		{"a key twice", "terminals: []\nterminals: []", `line 2: "terminals" is there twice`},
		{"a key twice in an entry", "terminals: [{id: T1, id: T2}]", "already defined"},
		{"no map", "[1, 2]", "line 1: want lists of issuers"},
		{"no list", "issuers:\n  id: 1", "line 1: issuers: want a list"},
		{"a text for a number", "programs:\n- id: 901\n  rules:\n    valid_months: long", "line 4: programs[0]: rules.valid_months: a string, want a whole number from 0 to 65535"},
		{"a number for a text", "issuers:\n- id: 1\n  name: 7", "line 3: issuers[0]: name: a number, want a text"},
		{"a text for a switch", "programs: [{id: 901, rules: {debt: 7}}]", "rules.debt: a number, want true or false"},
		{"a number for a list", "merchants: [{id: M1, programs: 901}]", "programs: a number, want a list"},
		{"a text for an entry", "routes:\n- \"62\"", "line 2: routes[0]: a string: want keys and values"},
		{"no YAML", "terminals: [", "directory: yaml"},
		{"two documents", "terminals: []\n---\nterminals: [{id: T1, merchant: M1}]", "more behind it"},
		{"keys that are numbers", "members: [{1: 2}]", "keys must be words"},
		{"a letter in a card", `members: [{id: 1, cards: [{number: "622202000000000001x"}]}]`, "character 19 is not a digit"},
		{"a card with a point", `members: [{id: 1, cards: [{number: 622202.17}]}]`, "is not a digit"},
		{"a card too long", `members: [{id: 1, cards: [{number: "62220200000000000170"}]}]`, "20 digits, want 1 to 19"},
		{"unknown status", "issuers: [{id: 1, name: I, status: asleep}]", "asleep"},
		{"identity too long", "terminals: [{id: T23456789, merchant: M1}]", "DE41"},
		{"programme out of range", "programs: [{id: 70000, issuer: 1, name: P}]", "id: a number 70000, want a whole number from 0 to 65535"},
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
	require.EqualError(t, err, `terminal N2: merchant "M2": there is none; put it first; 1 of 2 entries are done, and to load it all again is safe`)
	refused := new(app.LoadError)
	require.ErrorAs(t, err, &refused)
	require.Equal(t, "terminals[1]", refused.At)
	require.Equal(t, points.UnknownMerchant, points.ReasonOf(err))
	require.True(t, send(t, r.terminal(t, "N1"), points.SignOn, "", 0).Response.Reason.Approved())
	require.Equal(t, points.UnknownTerminal.DE39(), send(t, r.terminal(t, "N2"), points.SignOn, "", 0).Response.Reason.DE39())
	r.stop(t)
}

// A text that steers the terminal of whoever reads it is refused before anything of the
// file is done, in a note too; an old one is shown written out.
func TestTextsThatSteer(t *testing.T) {
	h := newHouse(t)
	r := h.start(t)
	r.load(t, smallTown)
	status, err := r.client.Status(t.Context())
	require.NoError(t, err)
	for _, c := range []struct{ text, wrong string }{
		{`issuers: [{id: 5, name: I}, {id: 6, name: "a\e[2J"}]`, "issuer 6: name: character 2 is U+001B"},
		{`programs: [{id: 905, issuer: 10000001, name: P, name_zh: "海\u202e"}]`, "programme 905: name_zh: character 2 is U+202E"},
		{`members: [{id: 5, ref: "a\nb"}]`, "member 5: ref: character 2 is U+000A"},
		{`routes: [{prefix: "6\u0000"}]`, `route "6\x00": prefix: character 2 is U+0000`},
	} {
		d, err := app.ReadDirectory(strings.NewReader(c.text))
		require.NoError(t, err)
		_, err = r.client.Load(t.Context(), d)
		require.ErrorContains(t, err, c.wrong)
	}
	for _, bad := range []app.Adjustment{{Note: "a\tb"}, {Note: "n", Operator: "li\u2066"}, {Note: "n", Second: "w\x7f"}} {
		bad.Member, bad.Program, bad.Amount = 1, 901, 5
		bad.Operator, bad.Second = cmp.Or(bad.Operator, "li"), cmp.Or(bad.Second, "wang")
		_, err := r.client.Adjust(t.Context(), bad)
		require.ErrorContains(t, err, "a control character or one that is not seen")
		require.Equal(t, points.FormatError, points.ReasonOf(err))
	}
	_, err = r.client.Resolve(t.Context(), app.Resolution{RRN: "000000000001", Operator: "li", Second: "wang", Note: "\u200b"})
	require.ErrorContains(t, err, "note: character 1 is U+200B")
	_, err = r.client.CutOver(t.Context(), app.CutOver{Operator: "li\r", Second: "wang", Force: true})
	require.ErrorContains(t, err, "operator: character 3 is U+000D")
	after, err := r.client.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, status.Position, after.Position)
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
	require.ErrorContains(t, err, "card 622202*********0017: member 2: the card is another member's")
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
