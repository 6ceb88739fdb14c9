package app_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// A dispute is opened by one person and its chargeback approved by another; whoever looks
// sees where it stands, who did what, and with which evidence. What is refused says why.
func TestDisputeAtTheDoor(t *testing.T) {
	r := newHouse(t).start(t)
	r.load(t, smallTown)
	ctx := t.Context()
	all := book.RoleAdmin | book.RoleOperator | book.RoleApprover
	terminal := r.terminal(t, "T1")
	send(t, terminal, points.Earn, firstCard, 500)
	sale := send(t, terminal, points.Redeem, firstCard, 120).Response
	position := sale.Position.RRN()
	rrn := string(position[:])
	li := r.enrol(t, r.client, "li", all)
	wang := r.enrol(t, li.client, "wang", all)
	_, err := li.client.PutPolicy(ctx, app.PolicyChange{TwoPersons: book.TwoPersons})
	require.NoError(t, err)

	_, err = li.client.Dispute(ctx, app.DisputeEntry{RRN: rrn, Code: "REP"})
	reasonIs(t, points.UnknownOriginal, err)
	require.ErrorContains(t, err, "no case is open")
	_, err = li.client.Dispute(ctx, app.DisputeEntry{RRN: rrn, Open: true, Code: "XX"})
	require.ErrorContains(t, err, "lianfen dispute rules lists them")
	_, err = li.client.Dispute(ctx, app.DisputeEntry{RRN: rrn, Open: true, Code: "RET"})
	require.NoError(t, err)

	entry := app.DisputeEntry{RRN: rrn, Code: "CB01", Amount: 50, Evidence: "letter.pdf"}
	done, err := li.client.Dispute(ctx, entry)
	require.NoError(t, err)
	require.NotEmpty(t, done.Pending)
	pending, err := wang.client.Pending(ctx)
	require.NoError(t, err)
	require.Equal(t, "chargeback by the issuer about "+rrn+", reason CB01 (goods or service not received), amount 50 of programme 901, evidence letter.pdf", pending[0].What)
	_, err = li.client.Approve(ctx, app.Decision{RRN: done.RRN})
	reasonIs(t, points.NeedsSecondPerson, err)
	_, err = wang.client.Approve(ctx, app.Decision{RRN: done.RRN})
	require.NoError(t, err)

	open, err := li.client.Disputes(ctx)
	require.NoError(t, err)
	require.Len(t, open, 1)
	require.Equal(t, book.DisputeChargeback, open[0].State)
	require.Equal(t, 20, open[0].Days)
	require.Equal(t, points.Amount(70), open[0].Left)
	d, err := li.client.ShowDispute(ctx, rrn)
	require.NoError(t, err)
	require.Len(t, d.Steps, 2)
	require.Equal(t, app.DisputeStep{
		RRN: d.Steps[1].RRN, Step: "chargeback", Code: "CB01", Amount: 50, Date: d.Date, Evidence: "letter.pdf", Operator: "li", Second: "wang",
	}, d.Steps[1])

	entry.Amount = 0
	_, err = li.client.Dispute(ctx, entry) // Proposed about a case from which it cannot go.
	require.NoError(t, err)
	pending, err = wang.client.Pending(ctx)
	require.NoError(t, err)
	_, err = wang.client.Approve(ctx, app.Decision{RRN: pending[0].RRN})
	reasonIs(t, points.NotPermitted, err)
	require.ErrorContains(t, err, "the dispute is CHARGEBACK; the rule CB01 is for none,RETRIEVAL")

	rules, err := li.client.DisputeRules(ctx)
	require.NoError(t, err)
	require.Len(t, rules.Rules, 16)
	_, err = app.ReadDisputeRules(strings.NewReader(`{"rules":[{"colour":1}]}`))
	require.ErrorContains(t, err, "colour")

	leg := app.LegEntry{Kind: tariff.KindADJ, Payer: 10000001, Payee: 20000001, Amount: 12_500, About: rrn, Note: "short paid"}
	done, err = li.client.Leg(ctx, leg)
	require.NoError(t, err)
	_, err = wang.client.Approve(ctx, app.Decision{RRN: done.RRN})
	require.NoError(t, err)
	leg.Payee = 4711
	_, err = li.client.Leg(ctx, leg)
	require.ErrorContains(t, err, "member 00004711: no issuer and no acquirer has this number")
	pending, err = wang.client.Pending(ctx)
	require.NoError(t, err)
	require.Len(t, pending, 1, "what cannot be is not put before anybody: this is the chargeback of before")
	r.stop(t)
}

// The points accounting agrees with the trial balance, of one programme or all, now or on a
// date; of a date before the journal there is none.
func TestLiabilityAtTheDoor(t *testing.T) {
	t.Parallel()
	r := shopping(t)
	ctx := t.Context()
	totals, err := r.client.Totals(ctx)
	require.NoError(t, err)
	l, err := r.client.Liability(ctx, app.LiabilityQuery{Program: 901, Date: totals.Date}, func(uint64, uint64) {})
	require.NoError(t, err)
	require.Len(t, l.Programs, 1)
	p := l.Programs[0]
	require.Equal(t, "One", p.Name)
	require.Equal(t, points.Amount(500), p.Total.Earned)
	require.Equal(t, points.Amount(120), p.Total.Redeemed)
	for _, line := range totals.Lines {
		if line.Account == book.MemberAccount && line.Program == 901 {
			require.Equal(t, line.Amount, p.Total.Outstanding)
		}
	}
	require.Nil(t, p.Value, "no rate is in force")
	_, err = r.client.Liability(ctx, app.LiabilityQuery{Program: 904}, func(uint64, uint64) {})
	require.ErrorContains(t, err, "programme 904: there is none")
	_, err = r.client.Liability(ctx, app.LiabilityQuery{Date: 20200101}, func(uint64, uint64) {})
	reasonIs(t, points.UnknownOriginal, err)
	r.stop(t)
}
