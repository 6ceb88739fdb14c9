package book_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// Whoever is refused an entry hears which field it is, its value and what is allowed;
// and for the same reason for which it was refused.
func TestWhy(t *testing.T) {
	d := newDesk(t, book.Options{})
	d.furnish(1, book.ProgramRules{}, book.ProgramRules{})
	registry := d.book.Registry()
	issuer := func(change func(*book.Issuer)) book.Entry {
		e := book.Issuer{ID: 77, Name: "Rail", Status: book.Active}
		change(&e)
		return book.Entry{Issuer: &e}
	}
	program := func(change func(*book.Program)) book.Entry {
		e := *registry.Programs[air]
		change(&e)
		return book.Entry{Program: &e}
	}
	var shop *book.Merchant
	for _, m := range registry.Merchants {
		shop = m
	}
	merchant := func(change func(*book.Merchant)) book.Entry {
		e := *shop
		change(&e)
		return book.Entry{Merchant: &e}
	}
	rules := func(change func(*book.ProgramRules)) book.Entry {
		return program(func(p *book.Program) { change(&p.Rules) })
	}
	for want, entry := range map[string]book.Entry{
		"id 0: want 1 to 99999999999":                                            issuer(func(e *book.Issuer) { e.ID = 0 }),
		`name "": want a name`:                                                   issuer(func(e *book.Issuer) { e.Name = "" }),
		"status lost: want active, suspended or closed":                          issuer(func(e *book.Issuer) { e.Status = book.Lost }),
		"name_zh: 257 bytes, want at most 256":                                   issuer(func(e *book.Issuer) { e.NameZH = strings.Repeat("x", 257) }),
		"id 899: want 900 to 998":                                                program(func(e *book.Program) { e.ID = 899 }),
		"scale 5: want 0 to 4 decimals":                                          program(func(e *book.Program) { e.Scale = 5 }),
		"issuer 4711: there is none; put it first":                               program(func(e *book.Program) { e.Issuer = 4711 }),
		"scale 2: members have accounts in the programme, whose scale stays 0":   program(func(e *book.Program) { e.Scale = 2 }),
		"min_redeem -1: want 0 or more":                                          rules(func(r *book.ProgramRules) { r.MinRedeem = -1 }),
		"transfer_day -5: want 0 or more":                                        rules(func(r *book.ProgramRules) { r.TransferDay = -5 }),
		"valid_months 1201: want 0 to 1200":                                      rules(func(r *book.ProgramRules) { r.ValidMonths = 1201 }),
		"decay_basis_points 10001: want 0 to 10000":                              rules(func(r *book.ProgramRules) { r.DecayPart, r.DecayEvery = 10_001, 1 }),
		"decay_every_months 0: want 1 to 1200 where points decay":                rules(func(r *book.ProgramRules) { r.DecayPart = 5 }),
		"decay_after_months 3: want 0 where decay_basis_points is 0":             rules(func(r *book.ProgramRules) { r.DecayAfter = 3 }),
		"tier 950: there is no such programme; put it first":                     rules(func(r *book.ProgramRules) { r.Tier = 950 }),
		"tier 900: want another programme made with qualifying":                  rules(func(r *book.ProgramRules) { r.Tier = air }),
		"acquirer 4711: there is none; put it first":                             merchant(func(e *book.Merchant) { e.Acquirer = 4711 }),
		"programme 950: there is none; put it first":                             merchant(func(e *book.Merchant) { e.Programs = []points.ProgramID{950} }),
		"programme 900: it is named twice":                                       merchant(func(e *book.Merchant) { e.Programs = []points.ProgramID{air, air} }),
		`prefix "62x": want 1 to 11 digits`:                                      {Route: &book.Route{Prefix: "62x"}},
		"issuer 4711: there is none; put it first, or 0 for the programme's own": {Route: &book.Route{Prefix: "62", Issuer: 4711}},
		"programme 950: there is none; put it first, or 0 for any":               {Route: &book.Route{Prefix: "62", Only: 950}},
		"id 0: want 1 or more":                                                   {Member: &book.Member{Status: book.Active}},
		"freeze 9: want 0 to 3":                                                  {Member: &book.Member{ID: 5, Status: book.Active, Freeze: 9}},
		"expiry 2613: want YYMM with a month from 01 to 12, or 0 for none":       {Card: &book.Card{Token: cardOf(9), Member: 1, Status: book.Active, Expiry: 2613}},
		"member 4711: there is none; put it first":                               {Card: &book.Card{Token: cardOf(9), Member: 4711, Status: book.Active}},
		"member 2: the card is another member's":                                 {Card: &book.Card{Token: cardOf(1), Member: 2, Status: book.Active}},
		`merchant "": there is none; put it first`:                               {Terminal: &book.Terminal{Status: book.Active}},
	} {
		d.must(book.Command{Kind: book.KindPut, Entry: book.Entry{Member: &book.Member{ID: 2, Status: book.Active}}})
		cmd := book.Command{Kind: book.KindPut, Entry: entry}
		out := d.do(cmd)
		require.False(t, out.Reason.Approved(), want)
		err := d.book.Why(&cmd)
		require.ErrorContains(t, err, want)
		require.Equal(t, out.Reason, points.ReasonOf(err), want)
	}
	require.NoError(t, d.book.Why(&book.Command{Kind: book.KindPut, Entry: program(func(*book.Program) {})}))
	long := book.Command{Kind: book.KindAdjust, Note: strings.Repeat("n", 1025)}
	require.EqualError(t, d.book.Why(&long), "note: 1025 bytes, want at most 1024")
}
