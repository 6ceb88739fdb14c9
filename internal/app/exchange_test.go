package app_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/points"
)

// Swaps go through the operators' doors: terms by two persons, a quote, a lock that stands in
// the queue, an execution that is one however often it is asked for, and a cancellation.
func TestExchangeThroughTheDoors(t *testing.T) {
	h := newHouse(t)
	clock := new(turned)
	h.clock = clock.clock
	clock.set(t, "2026-03-02T09:00:00+08:00")
	r := h.start(t)
	town := strings.Replace(smallTown, "merchants:", "  - {id: 902, issuer: 10000001, name: Two}\nmerchants:", 1)
	r.load(t, strings.Replace(town, "{id: 1, programs: [901]", "{id: 1, programs: [901, 902]", 1))
	ctx := t.Context()
	_, err := r.client.QuoteSwap(ctx, app.SwapAsked{Member: 1, From: 901, Into: 902, In: 5})
	reasonIs(t, points.NoSwapRate, err)
	require.ErrorContains(t, err, "a BUY rate of programme 901")
	require.ErrorContains(t, err, "swap terms of programme 902")
	from := "2026-03-02 09:10"
	rates := []app.RateTerms{}
	for _, program := range []points.ProgramID{901, 902} {
		for _, side := range []string{"BUY", "SELL"} {
			rates = append(rates, app.RateTerms{Program: program, Side: side, From: from, Ratio: "100/1"})
		}
	}
	_, err = r.client.ProposeRates(ctx, app.RateSetting{Rates: rates, Operator: "li", Second: "wang", Note: "opening"})
	require.NoError(t, err)
	dear := app.RateTerms{Program: 901, Side: "BUY", From: "2026-03-02 09:11", Ratio: "101/1"}
	_, err = r.client.ProposeRates(ctx, app.RateSetting{Rates: []app.RateTerms{dear}, Operator: "li", Second: "wang", Note: "x"})
	require.ErrorContains(t, err, "the way QZP -> 901 -> QZP gains")
	require.NotContains(t, err.Error(), "entered already")
	cheap := app.RateTerms{Program: 901, Side: "BUY", From: "2027-03-02 09:11", Ratio: "90/1"}
	_, err = r.client.ProposeRates(ctx, app.RateSetting{Rates: []app.RateTerms{cheap, dear}, Operator: "li", Second: "wang", Note: "x"})
	require.ErrorContains(t, err, "rate 2 of 2: ")
	require.ErrorContains(t, err, "the way QZP -> 901 -> QZP gains")
	require.ErrorContains(t, err, "; nothing was entered")
	published, err := r.client.Rates(ctx)
	require.NoError(t, err)
	require.Len(t, published, len(rates))
	// What is refused alone is taken behind what makes room for it.
	lower := app.RateTerms{Program: 901, Side: "SELL", From: "2027-04-02 09:11", Ratio: "102/1"}
	higher := app.RateTerms{Program: 901, Side: "BUY", From: "2027-04-02 09:11", Ratio: "101/1"}
	both := app.RateSetting{Rates: []app.RateTerms{higher, lower}, Operator: "li", Second: "wang", Note: "x"}
	_, err = r.client.ProposeRates(ctx, both)
	require.ErrorContains(t, err, "rate 1 of 2: ")
	both.Rates = []app.RateTerms{lower, higher}
	_, err = r.client.ProposeRates(ctx, both)
	require.NoError(t, err)
	fees, err := app.ReadFees(strings.NewReader("from: " + from + "\nrows:\n  - {kind: SWP}\n"))
	require.NoError(t, err)
	_, err = r.client.ProposeFees(ctx, app.FeeSetting{FeeTerms: fees, Operator: "li", Second: "wang", Note: "opening"})
	require.NoError(t, err)

	_, err = app.ReadSwapTerms(strings.NewReader(""))
	require.ErrorContains(t, err, "the file is empty")
	_, err = app.ReadSwapTerms(strings.NewReader("- {program: 901, most_in: 5}\n"))
	reasonIs(t, points.FormatError, err)
	terms, err := app.ReadSwapTerms(strings.NewReader(
		"- {program: 901, from: " + from + ", min_in: 10, lots_allowed: [earned, adjusted], lock_seconds: 600}\n- {program: 902, from: " + from + ", expiry_rule: inherit, lock_seconds: 600}\n"))
	require.NoError(t, err)
	setting := app.SwapTermsSetting{Terms: terms, Operator: "li", Second: "li", Note: "opening"}
	_, err = r.client.ProposeSwapTerms(ctx, setting)
	reasonIs(t, points.NeedsSecondPerson, err)
	setting.Second = "wang"
	wrong := setting
	wrong.Terms = append(slices.Clone(terms), terms[0])
	wrong.Terms[2].Program = 903
	_, err = r.client.ProposeSwapTerms(ctx, wrong)
	require.ErrorContains(t, err, "swap terms 3 of 3: ")
	require.ErrorContains(t, err, "; nothing was entered")
	none, err := r.client.SwapTerms(ctx)
	require.NoError(t, err)
	require.Empty(t, none)
	_, err = r.client.ProposeSwapTerms(ctx, setting)
	require.NoError(t, err)
	clock.set(t, "2026-03-02T09:20:00+08:00")
	list, err := r.client.SwapTerms(ctx)
	require.NoError(t, err)
	require.Len(t, list, 2)
	require.Equal(t, []any{true, "li", "wang", []string{"earned", "adjusted"}, points.Amount(10)}, []any{list[0].InForce, list[0].Maker, list[0].Checker, list[0].LotsAllowed, list[0].MinIn})

	_, err = r.client.Adjust(ctx, app.Adjustment{Holder: app.Holder{Member: 1}, Program: 901, Amount: 1000, Operator: "li", Second: "wang", Note: "start"})
	require.NoError(t, err)
	asked := app.SwapAsked{Member: 1, From: 901, Into: 902, In: 400, CallID: "a"}
	_, err = r.client.QuoteSwap(ctx, app.SwapAsked{Member: 1, From: 901, Into: 902, In: 5})
	reasonIs(t, points.BelowMinimum, err)
	quoted, err := r.client.QuoteSwap(ctx, asked)
	require.NoError(t, err)
	require.Equal(t, []any{"open", points.Amount(400)}, []any{quoted.State, quoted.Out})
	again, err := r.client.QuoteSwap(ctx, asked)
	require.NoError(t, err)
	require.True(t, again.Repeated)
	require.Equal(t, quoted.Quote, again.Quote)
	named := app.SwapNamed{Quote: quoted.Quote, CallID: "b"}
	locked, err := r.client.LockSwap(ctx, app.SwapNamed{Quote: quoted.Quote})
	require.NoError(t, err)
	require.NotEqual(t, quoted.Expires, locked.Expires)
	queue, err := r.client.SwapQueue(ctx)
	require.NoError(t, err)
	require.Len(t, queue, 1)
	require.Equal(t, "locked", queue[0].State)
	done, err := r.client.Swap(ctx, named)
	require.NoError(t, err)
	require.Equal(t, "done", done.State)
	require.Equal(t, []string{locked.Expires, locked.RRN}, []string{done.Expires, done.Locked}, "good until the lock's end, not the quote's")
	repeated, err := r.client.Swap(ctx, named)
	require.NoError(t, err)
	require.True(t, repeated.Repeated)
	require.Equal(t, done.RRN, repeated.RRN)
	shown, err := r.client.ShowSwap(ctx, named)
	require.NoError(t, err)
	require.Equal(t, []string{"done", done.RRN}, []string{shown.State, shown.Done})
	_, err = r.client.CancelSwap(ctx, app.SwapNamed{Quote: quoted.Quote})
	reasonIs(t, points.OriginalClosed, err)
	require.ErrorContains(t, err, "swap "+quoted.Quote+" is done already")
	require.Equal(t, "撤销：互换"+quoted.Quote+"已完成（参考号"+done.RRN+"）", points.ChineseOf(err), "as the member reads it")
	_, err = r.client.QuoteSwap(ctx, app.SwapAsked{Member: 1, From: 901, Into: 902, In: 5})
	require.Equal(t, "报价：换出5：积分计划901每笔至少10(min_in)", points.ChineseOf(err))
	_, err = r.client.QuoteSwap(ctx, app.SwapAsked{Member: 77, From: 901, Into: 902, In: 50})
	require.Equal(t, "报价："+points.ReasonOf(err).Chinese(), points.ChineseOf(err))
	given, err := r.client.QuoteSwap(ctx, app.SwapAsked{Member: 1, From: 901, Into: 902, In: 100})
	require.NoError(t, err)
	held, err := r.client.LockSwap(ctx, app.SwapNamed{Quote: given.Quote})
	require.NoError(t, err)
	cancelled, err := r.client.CancelSwap(ctx, app.SwapNamed{Quote: given.Quote})
	require.NoError(t, err)
	require.Equal(t, []string{"cancelled", held.Expires}, []string{cancelled.State, cancelled.Expires})
	_, err = r.client.ShowSwap(ctx, app.SwapNamed{Quote: "000000000001"})
	reasonIs(t, points.UnknownOriginal, err)
	cleared, err := r.client.Cleared(ctx, app.ClearedAsked{})
	require.NoError(t, err)
	require.Equal(t, []any{uint64(1), uint64(0)}, []any{cleared.Items, cleared.Unvalued})
	r.stop(t)
}
