package app_test

import (
	"context"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/internal/sim"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement"
)

const swapCard = "6222020000000000017"

// swapTown is a house with a programme, and one of an issuer that keeps its own ledger: a
// simulated host, which the test can make silent.
type swapTown struct {
	*running
	ahead  atomic.Int64 // of the clock, which goes on, in microseconds
	issuer *sim.Issuer
	hangUp func()
}

func newSwapTown(t *testing.T) *swapTown {
	t.Helper()
	issuer, err := sim.NewIssuer(sim.IssuerOptions{ID: 10000002, Accounts: []sim.IssuerAccount{{Card: swapCard, Program: 910, Balance: 1000}}})
	require.NoError(t, err)
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	host, err := sim.NewIssuerHost(ln, issuer, sim.IssuerHostOptions{Clock: now, Log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	ctx, hangUp := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- host.Serve(ctx) }()
	ended := false
	end := func() {
		if !ended {
			ended = true
			hangUp()
			require.NoError(t, <-done)
		}
	}
	t.Cleanup(end)

	h := newHouse(t)
	path := t.TempDir() + "/links.yaml"
	require.NoError(t, os.WriteFile(path, []byte("links: [{name: far, dial: \""+ln.Addr().String()+"\", connections: 1, institution: 30000001, deadline: 300ms, echo_after: 1s, redial: 10ms, swap_give_up_after: 1m}]"), 0o600))
	c, err := config.Load(path, nil, []string{"tls.mode=off"})
	require.NoError(t, err)
	h.config.Links = c.Links
	town := &swapTown{issuer: issuer, hangUp: end}
	began := time.Date(2026, 3, 2, 9, 0, 0, 0, time.FixedZone("", 8*3600))
	town.pass(time.Until(began))
	h.clock = func() points.Timestamp { return now() + points.Timestamp(town.ahead.Load()) }
	town.running = h.start(t)
	text := strings.Replace(smallTown, "name: Issuer}]", "name: Issuer}, {id: 10000002, name: Far, link: far}]", 1)
	town.load(t, strings.Replace(text, "merchants:", "  - {id: 910, issuer: 10000002, name: Far}\n  - {id: 911, issuer: 10000002, name: Farther}\nmerchants:", 1))
	town.publish(t)
	require.Eventually(t, func() bool { return strings.Contains(town.states(t), "up") }, 10*time.Second, 10*time.Millisecond)
	return town
}

// publish puts rates and terms in force, 1 to 1, and gives member 1 a thousand points here.
func (s *swapTown) publish(t *testing.T) {
	t.Helper()
	ctx, from := t.Context(), "2026-03-02 09:10"
	var rates []app.RateTerms
	for _, program := range []points.ProgramID{901, 910} {
		for _, side := range []string{"BUY", "SELL"} {
			rates = append(rates, app.RateTerms{Program: program, Side: side, From: from, Ratio: "100/1"})
		}
	}
	_, err := s.client.ProposeRates(ctx, app.RateSetting{Rates: rates, Operator: "li", Second: "wang", Note: "opening"})
	require.NoError(t, err)
	fees, err := app.ReadFees(strings.NewReader("from: " + from + "\nrows:\n  - {kind: SWP}\n"))
	require.NoError(t, err)
	_, err = s.client.ProposeFees(ctx, app.FeeSetting{FeeTerms: fees, Operator: "li", Second: "wang", Note: "opening"})
	require.NoError(t, err)
	terms, err := app.ReadSwapTerms(strings.NewReader("- {program: 901, from: " + from + ", lots_allowed: [earned, adjusted]}\n- {program: 910, from: " + from + "}\n"))
	require.NoError(t, err)
	_, err = s.client.ProposeSwapTerms(ctx, app.SwapTermsSetting{Terms: terms, Operator: "li", Second: "wang", Note: "opening"})
	require.NoError(t, err)
	s.pass(20 * time.Minute)
	_, err = s.client.Adjust(ctx, app.Adjustment{Holder: app.Holder{Member: 1}, Program: 901, Amount: 1000, Operator: "li", Second: "wang", Note: "start"})
	require.NoError(t, err)
}

// pass lets time pass.
func (s *swapTown) pass(d time.Duration) {
	s.ahead.Add(d.Microseconds())
}

func (s *swapTown) swap(t *testing.T, from, into points.ProgramID) string {
	t.Helper()
	quoted, err := s.client.QuoteSwap(t.Context(), app.SwapAsked{Member: 1, Card: swapCard, From: from, Into: into, In: 100})
	require.NoError(t, err)
	begun, err := s.client.Swap(t.Context(), app.SwapNamed{Quote: quoted.Quote})
	require.NoError(t, err)
	require.Equal(t, "executing", begun.State)
	return quoted.Quote
}

func (s *swapTown) show(t *testing.T, quote string) app.SwapState {
	t.Helper()
	shown, err := s.client.ShowSwap(t.Context(), app.SwapNamed{Quote: quote})
	require.NoError(t, err)
	require.NotNil(t, shown.Leg)
	return shown
}

// until waits until the swap is in a state.
func (s *swapTown) until(t *testing.T, quote, state string) {
	t.Helper()
	require.Eventually(t, func() bool { return s.show(t, quote).State == state }, 30*time.Second, 20*time.Millisecond, "%s, want %s", quote, state)
}

// has waits until the member has so much free here, and so much at the issuer: what is shown of
// accounts may lag.
func (s *swapTown) has(t *testing.T, here, far points.Amount) {
	t.Helper()
	require.Eventually(t, func() bool { return s.usable(t, 1) == here }, 5*time.Second, 10*time.Millisecond, "want %d here", here)
	require.Equal(t, far, s.far())
}

// far is what the member has at the issuer.
func (s *swapTown) far() points.Amount { return s.issuer.State().Accounts[0].Available }

// Swaps with an issuer's own ledger go over the wire: done at once; done by an enquiry when the
// answer was lost; given up by FENCE when the request was, and the late request refused; and
// left to two operators when nobody answers.
func TestSwapWithAnIssuer(t *testing.T) {
	s := newSwapTown(t)
	ctx := t.Context()
	_, err := s.client.QuoteSwap(ctx, app.SwapAsked{Member: 1, From: 901, Into: 910, In: 100})
	reasonIs(t, points.RemoteSwap, err)
	require.ErrorContains(t, err, "--card")
	_, err = s.client.QuoteSwap(ctx, app.SwapAsked{Member: 1, Card: swapCard, From: 910, Into: 911, In: 100})
	reasonIs(t, points.RemoteSwap, err)
	require.ErrorContains(t, err, "both are in their issuers' own ledgers")

	credit := s.swap(t, 901, 910)
	s.until(t, credit, "done")
	s.has(t, 900, 1100)
	debit := s.swap(t, 910, 901)
	s.until(t, debit, "done")
	s.has(t, 1000, 1000)

	s.issuer.Inject(sim.FaultDrop, 0)
	dropped := s.swap(t, 901, 910)
	s.until(t, dropped, "credit_unknown")
	s.has(t, 900, 1100) // held
	s.until(t, dropped, "done")
	s.has(t, 900, 1100) // once
	require.Positive(t, s.issuer.State().Messages["swap_enquiry"])

	s.issuer.Inject(sim.FaultWrongAmount, 0)
	other := s.swap(t, 910, 901)
	s.until(t, other, "credit_unknown") // The answer is to something else.
	s.until(t, other, "done")
	s.until(t, s.swap(t, 901, 910), "done")
	s.has(t, 900, 1100)

	s.issuer.Inject(sim.FaultLose, 0)
	lost := s.swap(t, 901, 910)
	s.until(t, lost, "credit_unknown")
	s.pass(2 * time.Minute) // No enquiry between: at its next timer it is given up.
	s.until(t, lost, "reversed")
	require.NotEmpty(t, s.show(t, lost).Leg.GivenUp)
	s.has(t, 900, 1100)
	last := s.issuer.State().Transactions
	require.Equal(t, []any{points.Reversal, points.Approved, true}, []any{s.show(t, lost).Leg.Ended.Asked, s.show(t, lost).Leg.Ended.Answer, s.show(t, lost).Leg.Ended.Sent})
	require.Equal(t, sim.Tombstone, last[len(last)-1].Standing, "%+v", last)

	s.issuer.Inject(sim.FaultLose, 0)
	silent := s.swap(t, 901, 910)
	require.Eventually(t, func() bool { return s.issuer.State().Faults["lose"] == 2 }, 10*time.Second, 10*time.Millisecond, "sent, and lost")
	s.hangUp()
	s.until(t, silent, "credit_unknown")
	_, err = s.client.Resolve(ctx, app.Resolution{RRN: silent, Operator: "li", Second: "wang", Note: "asked"})
	reasonIs(t, points.OriginalClosed, err)
	require.ErrorContains(t, err, "the swap is credit_unknown")
	s.pass(2 * time.Minute)
	require.Eventually(t, func() bool { return s.show(t, silent).Leg.GivenUp != "" }, 30*time.Second, 20*time.Millisecond)
	s.pass(2 * time.Minute)
	s.until(t, silent, "manual")
	queue, err := s.client.SwapQueue(ctx)
	require.NoError(t, err)
	require.Len(t, queue, 1)
	require.Equal(t, []any{"manual", silent, points.Reversal}, []any{queue[0].State, queue[0].Quote, queue[0].Leg.Asked})
	require.Eventually(t, func() bool {
		return strings.Contains(get(t, "http://"+s.HTTPAddress().String()+"/metrics"), `lianfen_swaps_waiting{state="manual"} 1`)
	}, 10*time.Second, 20*time.Millisecond)
	status, err := s.client.Status(ctx)
	require.NoError(t, err)
	require.Contains(t, status.Warnings, "1 swaps are left to operators: lianfen exchange queue")
	_, err = s.client.CutOver(ctx, app.CutOver{Cycle: true, Operator: "li", Second: "wang"})
	require.NoError(t, err)
	checks, err := s.client.SettlePrepare(ctx, app.SettleAsk{})
	require.NoError(t, err)
	at := slices.IndexFunc(checks, func(c settlement.Check) bool { return c.Name == settlement.CheckUnfinished })
	require.Equal(t, []any{false, "1 request to issuers elsewhere without an end"}, []any{checks[at].Pass, checks[at].Found})
	_, err = s.client.Resolve(ctx, app.Resolution{RRN: silent, Operator: "li", Second: "li", Note: "asked"})
	reasonIs(t, points.NeedsSecondPerson, err)
	_, err = s.client.Resolve(ctx, app.Resolution{RRN: silent, Operator: "li", Second: "wang", Note: "asked"})
	require.NoError(t, err)
	ended := s.show(t, silent)
	require.Equal(t, "reversed", ended.State)
	require.Equal(t, []string{"li", "wang", "asked"}, []string{ended.Leg.Ended.Operator, ended.Leg.Ended.Second, ended.Leg.Ended.Note})
	s.has(t, 900, 1100)
	s.stop(t)
}
