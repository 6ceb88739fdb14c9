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
	_, err = li.client.Dispute(ctx, entry) // Both are possible now; the second is not after the first.
	require.NoError(t, err)
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

	_, err = li.client.Dispute(ctx, entry) // About a case from which it cannot go.
	reasonIs(t, points.NotPermitted, err)
	require.ErrorContains(t, err, "the dispute is CHARGEBACK; the rule CB01 is for none,RETRIEVAL")
	pending, err = wang.client.Pending(ctx)
	require.NoError(t, err)
	require.Len(t, pending, 1)
	_, err = wang.client.Approve(ctx, app.Decision{RRN: pending[0].RRN})
	reasonIs(t, points.ProposalStale, err)

	rules, err := li.client.DisputeRules(ctx)
	require.NoError(t, err)
	require.Len(t, rules.Rules, 16)
	_, err = app.ReadDisputeRules(strings.NewReader(`{"rules":[{"colour":1}]}`))
	require.ErrorContains(t, err, "colour")

	leg := app.LegEntry{Kind: tariff.KindADJ, Payer: 10000001, Payee: 20000001, Amount: 12_500, About: rrn, Note: "short paid"}
	done, err = li.client.Leg(ctx, leg)
	require.NoError(t, err)
	require.Empty(t, done.Warning)
	// Another one about the same item may be meant, or a slip: it is told of what waits, and of
	// what was entered; and a proposal says that it is one, and what became of it.
	standing := func(rrn string) app.Proposal {
		d, err := li.client.Detail(ctx, rrn)
		require.NoError(t, err)
		require.NotNil(t, d.Proposal)
		return *d.Proposal
	}
	waits := standing(done.RRN)
	require.Equal(t, app.ProposalWaits, waits.State)
	require.Equal(t, done.Pending, waits.Until)
	second, err := li.client.Leg(ctx, leg)
	require.NoError(t, err)
	require.Contains(t, second.Warning, "about "+rrn+": RRN "+done.RRN+" waits for a second person")
	decided, err := wang.client.Approve(ctx, app.Decision{RRN: done.RRN})
	require.NoError(t, err)
	require.Equal(t, app.Proposal{State: app.ProposalApproved, Decision: decided.RRN, By: "wang"}, standing(done.RRN))
	_, err = wang.client.Reject(ctx, app.Decision{RRN: second.RRN})
	require.NoError(t, err)
	require.Equal(t, app.ProposalRejected, standing(second.RRN).State)
	third, err := li.client.Leg(ctx, leg)
	require.NoError(t, err)
	require.Contains(t, third.Warning, "RRN "+decided.RRN+" was entered on")
	require.NotContains(t, third.Warning, second.RRN)
	_, err = wang.client.Reject(ctx, app.Decision{RRN: third.RRN})
	require.NoError(t, err)
	entered, err := li.client.Detail(ctx, decided.RRN)
	require.NoError(t, err)
	require.Nil(t, entered.Proposal, "it is done")
	leg.Payee = 4711
	_, err = li.client.Leg(ctx, leg)
	require.ErrorContains(t, err, "member 00004711: no issuer and no acquirer has this number")
	pending, err = wang.client.Pending(ctx)
	require.NoError(t, err)
	require.Len(t, pending, 1, "what cannot be is not put before anybody: this is the chargeback of before")

	// A case that has ended is not among the open ones any more, and is listed among all.
	accept, err := li.client.Dispute(ctx, app.DisputeEntry{RRN: rrn, Code: acceptCode(t, rules)})
	require.NoError(t, err)
	if accept.Pending != "" {
		_, err = wang.client.Approve(ctx, app.Decision{RRN: accept.RRN})
		require.NoError(t, err)
	}
	open, err = li.client.Disputes(ctx)
	require.NoError(t, err)
	require.Empty(t, open)
	cases, err := li.client.AllDisputes(ctx)
	require.NoError(t, err)
	require.Len(t, cases, 1)
	require.Equal(t, rrn, cases[0].RRN)
	require.Equal(t, book.DisputeClosed, cases[0].State)
	r.stop(t)
}

// acceptCode is the reason code by which a chargeback is accepted.
func acceptCode(t *testing.T, rules book.DisputeRules) string {
	t.Helper()
	for _, r := range rules.Rules {
		if r.Step == book.StepAccept && r.Who == book.PartyAcquirer {
			return r.Code
		}
	}
	t.Fatal("no rule is for accepting")
	return ""
}

// What is about a record that is not there, of another kind, or of less than is asked for is
// refused before it is put before anybody; and what was proposed about nothing all the same,
// by a switch of before, keeps nobody from reading and rejecting what waits.
func TestProposedAboutNothing(t *testing.T) {
	r := newHouse(t).start(t)
	r.load(t, smallTown)
	ctx := t.Context()
	terminal := r.terminal(t, "T1")
	earn := send(t, terminal, points.Earn, firstCard, 500).Response.Position.RRN()
	sale := send(t, terminal, points.Redeem, firstCard, 120).Response.Position.RRN()
	all := book.RoleAdmin | book.RoleOperator | book.RoleApprover
	li := r.enrol(t, r.client, "li", all)
	wang := r.enrol(t, li.client, "wang", all)
	_, err := li.client.PutPolicy(ctx, app.PolicyChange{TwoPersons: book.TwoPersons})
	require.NoError(t, err)

	const nowhere = "000000999999"
	charge := app.DisputeEntry{Open: true, Code: "CB01", Amount: 50, Evidence: "letter.pdf"}
	for _, c := range []struct {
		rrn    string
		amount points.Amount
		reason points.Reason
		why    string
	}{
		{nowhere, 50, points.UnknownOriginal, "transaction 999999: there is none"},
		{string(earn[:]), 50, points.NotPermitted, "is no redemption and no capture"},
		{string(sale[:]), 121, points.AmountOverOriginal, "at most 120 of 120 is left for it"},
	} {
		charge.RRN, charge.Amount = c.rrn, c.amount
		_, err = li.client.Dispute(ctx, charge)
		reasonIs(t, c.reason, err)
		require.ErrorContains(t, err, "dispute about "+c.rrn)
		require.ErrorContains(t, err, c.why)
	}
	for rrn, why := range map[string]string{nowhere: "there is none", string(sale[:]): "no issuer with its own ledger was asked about it"} {
		_, err = li.client.Resolve(ctx, app.Resolution{RRN: rrn, Stands: true, Note: "asked"})
		reasonIs(t, points.UnknownOriginal, err)
		require.ErrorContains(t, err, why)
	}
	pending, err := wang.client.Pending(ctx)
	require.NoError(t, err)
	require.Empty(t, pending)

	for _, act := range []book.Command{
		{Kind: book.KindDispute, Original: 999_999, Amount: 50, Dispute: book.DisputeMove{Step: book.StepChargeback, Who: book.PartyIssuer, Code: "CB01", Evidence: "x"}},
		{Kind: book.KindResolve, Original: 999_999, Answer: points.Approved},
	} {
		out, err := r.Enter(ctx, &book.Command{Kind: book.KindPropose, At: now(), Operator: "li", Group: []book.Command{act}})
		require.NoError(t, err)
		require.Equal(t, points.Approved, out.Reason)
		pending, err = wang.client.Pending(ctx)
		require.NoError(t, err)
		require.Len(t, pending, 1)
		require.Contains(t, pending[0].What, "000000999999, of which there is no record", act.Kind)
		shown, err := wang.client.Detail(ctx, pending[0].RRN)
		require.NoError(t, err)
		require.Equal(t, pending[0].What, shown.What)
		_, err = wang.client.Approve(ctx, app.Decision{RRN: pending[0].RRN})
		reasonIs(t, points.UnknownOriginal, err)
		_, err = wang.client.Reject(ctx, app.Decision{RRN: pending[0].RRN, Note: "of nothing"})
		require.NoError(t, err)
	}
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
