package app_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// Rates, fees and caps at the door: two persons stand behind each version; a sale is valued
// by those in force and moves positions that sum to zero; a cap is held against it; what is
// refused names what is wrong.
func TestRatesFeesAndCaps(t *testing.T) {
	h := newHouse(t)
	clock := new(turned)
	h.clock = clock.clock
	clock.set(t, "2026-03-02T09:00:00+08:00")
	r := h.start(t)
	r.load(t, smallTown)
	ctx := t.Context()
	terms := app.RateTerms{Program: 901, From: "2026-03-02 09:10", Value: "0.0125"}
	setting := app.RateSetting{Rates: []app.RateTerms{terms}, Operator: "li", Second: "wang", Note: "opening"}
	for wrong, change := range map[string]func(*app.RateTerms){
		"five minutes": func(s *app.RateTerms) { s.From = "2026-03-02T09:04:59+08:00" }, "from": func(s *app.RateTerms) { s.From = "soon" },
		"one of both": func(s *app.RateTerms) { s.Ratio = "1/2" }, "value": func(s *app.RateTerms) { s.Value = "-1" }, "990": func(s *app.RateTerms) { s.Program = 990 },
		"side": func(s *app.RateTerms) { s.Side = "MIDDLE" },
	} {
		bad := setting
		bad.Rates = []app.RateTerms{terms}
		change(&bad.Rates[0])
		_, err := r.client.ProposeRates(ctx, bad)
		require.ErrorContains(t, err, wrong)
	}
	alone := setting
	alone.Second = "li"
	_, err := r.client.ProposeRates(ctx, alone)
	reasonIs(t, points.NeedsSecondPerson, err)
	_, err = r.client.ProposeRates(ctx, setting)
	require.NoError(t, err)
	fees, err := app.ReadFees(strings.NewReader("from: 2026-03-02 09:10\nrows:\n  - {kind: RDM, interchange_ppm: 5000, ppm: 3000, min: 1, vat_ppm: 60000}\n  - {kind: EAR, ppm: 3000, shares: [{role: operator, weight: 1}]}\n"))
	require.NoError(t, err)
	_, err = r.client.ProposeFees(ctx, app.FeeSetting{FeeTerms: fees, Operator: "li", Second: "wang", Note: "opening"})
	require.NoError(t, err)
	rates, err := r.client.Rates(ctx)
	require.NoError(t, err)
	require.Len(t, rates, 1)
	require.Regexp(t, "^[0-9a-f]{64}$", rates[0].Digest)
	versions, err := r.client.Fees(ctx)
	require.NoError(t, err)
	require.Regexp(t, "^[0-9a-f]{64}$", versions[0].Digest)
	require.Equal(t, []any{uint64(125), uint64(1), "li", "wang", false}, []any{rates[0].Num, rates[0].Den, rates[0].Maker, rates[0].Checker, rates[0].InForce})

	clock.set(t, "2026-03-02T09:20:00+08:00")
	rates, err = r.client.Rates(ctx)
	require.NoError(t, err)
	require.True(t, rates[0].InForce)
	terminal := r.terminal(t, "T1")
	require.NotEmpty(t, fees.Rows)
	_, err = r.client.Adjust(ctx, app.Adjustment{Holder: app.Holder{Member: 1}, Program: 901, Amount: 1000, Operator: "li", Second: "wang", Note: "start"})
	require.NoError(t, err)
	adjusted, err := r.client.Cleared(ctx, app.ClearedAsked{})
	require.NoError(t, err)
	require.Empty(t, adjusted.Positions, "an adjustment is the issuer's own")
	_, err = r.client.SetCap(ctx, app.CapSetting{Cap: book.Cap{Member: 77, Unlimited: true}, Operator: "li", Second: "wang", Note: "x"})
	reasonIs(t, points.NoRoute, err)
	require.ErrorContains(t, err, "cap: member 00000077: no issuer and no acquirer has this number")
	_, err = r.client.SetCap(ctx, app.CapSetting{Cap: book.Cap{Member: 10000001, Cap: 12_500, Prefund: 12_499}, Operator: "li", Second: "wang", Note: "x"})
	reasonIs(t, points.BadAmount, err)
	_, err = r.client.SetCap(ctx, app.CapSetting{Cap: book.Cap{Member: 10000001, Cap: 12_500, Prefund: 20_000}, Operator: "li", Second: "wang", Note: "x"})
	require.NoError(t, err)
	require.Equal(t, points.Approved.String(), send(t, terminal, points.Redeem, "6222020000000000017", 100).Response.Reason.String())
	require.Equal(t, "61", send(t, terminal, points.Redeem, "6222020000000000017", 100).Response.Reason.DE39())
	cleared, err := r.client.Cleared(ctx, app.ClearedAsked{})
	require.NoError(t, err)
	require.Equal(t, uint64(1), cleared.Items)
	sum, of := points.Amount(0), map[tariff.Member]points.Amount{}
	for _, p := range cleared.Positions {
		sum += p.Net
		of[p.Member] = p.Net
	}
	require.Zero(t, sum)
	require.Equal(t, points.Amount(-12_500+62), of[10000001], "the value, less the interchange")
	caps, err := r.client.Caps(ctx)
	require.NoError(t, err)
	require.Equal(t, points.Amount(62), caps[0].Headroom)
	r.stop(t)
}

// With operators a rate waits for a second one, whatever the policy says.
func TestRatesAreAlwaysProposed(t *testing.T) {
	h := newHouse(t)
	r := h.start(t)
	r.load(t, smallTown)
	li, wang := r.staffedHouse(t, 0)
	_, err := li.client.ProposeRates(t.Context(), app.RateSetting{Rates: []app.RateTerms{{Program: 901, From: now().String(), Ratio: "6/4"}}, Note: "spring"})
	require.ErrorContains(t, err, "less than five minutes after")
	require.Regexp(t, `from 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d \+08:00 is`, err.Error(), "in the zone of the house, as its tables are")
	require.NotContains(t, err.Error(), "Z")
	from := now().Add(600_000_000_000).String()
	done, err := li.client.ProposeRates(t.Context(), app.RateSetting{Rates: []app.RateTerms{{Program: 901, From: from, Ratio: "6/4"}}, Note: "spring"})
	require.NoError(t, err)
	require.NotEmpty(t, done[0].Pending)
	rates, err := li.client.Rates(t.Context())
	require.NoError(t, err)
	require.Empty(t, rates)
	pending, err := wang.client.Pending(t.Context())
	require.NoError(t, err)
	require.Contains(t, pending[0].What, "rate")
	_, err = wang.client.Approve(t.Context(), app.Decision{RRN: done[0].RRN})
	require.NoError(t, err)
	rates, err = li.client.Rates(t.Context())
	require.NoError(t, err)
	require.Equal(t, []any{uint64(3), uint64(2), "li", "wang"}, []any{rates[0].Num, rates[0].Den, rates[0].Maker, rates[0].Checker})
	r.stop(t)
}

// A list that the switch refuses on the way, for what the list itself does not show, says what
// of it stands in the journal already.
func TestRatesTooManyProposals(t *testing.T) {
	r := newHouse(t, "admin.session=24h").start(t)
	r.load(t, smallTown)
	li, _ := r.staffedHouse(t, book.TwoPersons)
	const most = 256
	list := make([]app.RateTerms, most+1)
	for i := range list {
		list[i] = app.RateTerms{Program: 901, From: fmt.Sprintf("2099-01-01 %02d:%02d", i/60, i%60), Ratio: fmt.Sprintf("%d/1", i+1)}
	}
	_, err := li.client.ProposeRates(t.Context(), app.RateSetting{Rates: list, Note: "a whole day"})
	require.ErrorContains(t, err, fmt.Sprintf("rate %d of %d: ", most+1, most+1))
	require.ErrorContains(t, err, fmt.Sprintf("the %d before it are entered already (RRN 0", most))
	waiting, err := li.client.Pending(t.Context())
	require.NoError(t, err)
	require.Len(t, waiting, most)
	r.stop(t)
}
