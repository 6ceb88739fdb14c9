package app_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/reconcile"
)

// partnerCSV is a file that a partner makes of what it has, in its own view.
func partnerCSV(t *testing.T, dir, name string, lines []string) string {
	t.Helper()
	sum := 0
	for _, line := range lines {
		amount := 0
		_, err := fmt.Sscan(strings.Split(line, ",")[5], &amount)
		require.NoError(t, err)
		sum += amount
	}
	text := "acquirer,stan,transmitted,rrn,kind,amount,asset,status\n" + strings.Join(lines, "\n") + fmt.Sprintf("\n#TOTAL,%d,%d\n", len(lines), sum)
	path := filepath.Join(dir, name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// A date is compared with both partners' files; what differs is an exception, what is
// missing is in doubt, what cannot be read is kept; an exception is ended by two persons,
// once; the run can be done again and comes to the same; a wrong file is refused whole.
func TestReconcileAtTheDoor(t *testing.T) {
	h := newHouse(t)
	r := h.start(t)
	r.load(t, smallTown)
	ctx := t.Context()
	terminal := r.terminal(t, "T1")
	for _, amount := range []points.Amount{500, 300, 100} {
		require.Equal(t, points.Approved, send(t, terminal, points.Earn, firstCard, amount).Response.Reason)
	}
	require.Equal(t, points.Approved, send(t, terminal, points.Redeem, firstCard, 120).Response.Reason)
	r.indexed(t)
	totals, err := r.client.Totals(ctx)
	require.NoError(t, err)

	// With no line from an acquirer all is missing there, and tells what our keys are.
	dir := t.TempDir()
	run := app.Reconciling{Date: totals.Date, Acquirers: []app.PartnerFile{{Member: 20000001, Path: partnerCSV(t, dir, "none.csv", nil)}}}
	first, err := r.client.Reconcile(ctx, run)
	require.NoError(t, err)
	require.True(t, first.Open)
	require.EqualValues(t, 4, first.InDoubt)
	list, err := r.client.Exceptions(ctx, app.ReconQuery{All: true})
	require.NoError(t, err)
	require.Len(t, list.Exceptions, 4)
	var acquirer, issuer []string
	for _, e := range list.Exceptions {
		require.Equal(t, reconcile.MissingAcq, e.Class)
		line := fmt.Sprintf("%d,%d,%d,%s,%s,%%d,%s,%s", e.Ours.Acquirer, e.Ours.STAN, e.Ours.When, e.RRN, e.Ours.Kind, e.Ours.Asset, e.Ours.Status)
		acquirer, issuer = append(acquirer, fmt.Sprintf(line, e.Ours.Amount)), append(issuer, fmt.Sprintf(line, -e.Ours.Amount))
	}
	require.Equal(t, "-500", strings.Split(acquirer[0], ",")[5], "the acquirer pays for what it grants")
	require.Equal(t, "120", strings.Split(acquirer[3], ",")[5])
	reasonIs(t, points.NotPermitted, func() error {
		_, err := r.client.ActOn(ctx, app.ReconActing{ID: list.Exceptions[0].ID, Action: app.ActionClose, Evidence: "x", Operator: "li", Second: "wang"})
		return err
	}())

	run.Acquirers[0].Path = partnerCSV(t, dir, "acquirer.csv", acquirer)
	run.Issuers = []app.PartnerFile{{Member: 10000001, Path: partnerCSV(t, dir, "issuer.csv", issuer)}}
	all, err := r.client.Reconcile(ctx, run)
	require.NoError(t, err)
	require.EqualValues(t, 4, all.Classes["MATCH"].Count)
	require.Zero(t, all.Exceptions+all.InDoubt)

	// The issuer has another amount, one line twice, and one that nobody else has.
	wrong := []string{strings.Replace(issuer[0], ",500,", ",501,", 1), issuer[1], issuer[1], issuer[2], issuer[3], strings.Replace(issuer[3], ",00000000", ",99999999", 1)}
	run.Issuers[0].Path = partnerCSV(t, dir, "wrong.csv", wrong)
	bad, err := r.client.Reconcile(ctx, run)
	require.NoError(t, err)
	require.EqualValues(t, 1, bad.Classes["AMOUNT"].Count)
	require.EqualValues(t, 1, bad.Classes["DUP_ISS"].Count)
	require.EqualValues(t, 1, bad.Classes["MISSING_SWITCH"].Count)
	require.EqualValues(t, 2, bad.Exceptions)
	again, err := r.client.Reconcile(ctx, run)
	require.NoError(t, err)
	list, err = r.client.Exceptions(ctx, app.ReconQuery{})
	require.NoError(t, err)
	require.Len(t, list.Exceptions, 2)
	require.Equal(t, "issuer 10000001", list.Exceptions[0].Owner)
	again.Millis = bad.Millis
	require.Equal(t, bad, again)

	// Refused whole: what was found before stands.
	text, err := os.ReadFile(run.Issuers[0].Path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "cut.csv"), text[:len(text)-8], 0o600))
	cut := run
	cut.Issuers = []app.PartnerFile{{Member: 10000001, Path: filepath.Join(dir, "cut.csv")}}
	_, err = r.client.Reconcile(ctx, cut)
	reasonIs(t, points.FormatError, err)
	require.ErrorContains(t, err, "is refused")
	after, err := r.client.Exceptions(ctx, app.ReconQuery{})
	require.NoError(t, err)
	require.Equal(t, list, after)
	for _, q := range []app.Reconciling{{}, {Date: run.Date}, {Date: 20200101, Acquirers: run.Acquirers}, {Date: run.Date, Acquirers: []app.PartnerFile{{Member: 1, Path: "x"}}}} {
		_, err = r.client.Reconcile(ctx, q)
		require.Error(t, err)
	}

	// Two persons end it, once; a rejected act leaves it open.
	li := r.enrol(t, r.client, "li", book.RoleAdmin|book.RoleOperator|book.RoleApprover)
	wang := r.enrol(t, li.client, "wang", book.RoleAdmin|book.RoleOperator|book.RoleApprover)
	_, err = li.client.PutPolicy(ctx, app.PolicyChange{TwoPersons: book.TwoPersons})
	require.NoError(t, err)
	act := app.ReconActing{ID: list.Exceptions[0].ID, Action: app.ActionAdjust, Payer: 10000001, Payee: 20000001, Amount: 10_000}
	_, err = li.client.ActOn(ctx, act)
	require.ErrorContains(t, err, "name the evidence")
	act.Evidence = "mail of 03-02"
	state := func() []app.ReconAct {
		shown, err := li.client.Exceptions(ctx, app.ReconQuery{ID: act.ID})
		require.NoError(t, err)
		return shown.Exceptions[0].Acts
	}
	done, err := li.client.ActOn(ctx, act)
	require.NoError(t, err)
	require.NotEmpty(t, done.Pending)
	require.Equal(t, "pending", state()[0].State)
	_, err = li.client.ActOn(ctx, act)
	reasonIs(t, points.AlreadyExists, err)
	_, err = wang.client.Reject(ctx, app.Decision{RRN: done.RRN})
	require.NoError(t, err)
	require.Equal(t, "rejected", state()[0].State)
	done, err = li.client.ActOn(ctx, act)
	require.NoError(t, err)
	pending, err := wang.client.Pending(ctx)
	require.NoError(t, err)
	require.Contains(t, pending[0].What, "ADJ: 10000001 pays 20000001 1.0000 QZP")
	require.Contains(t, pending[0].What, "evidence recon "+act.ID+": mail of 03-02")
	_, err = wang.client.Approve(ctx, app.Decision{RRN: done.RRN})
	require.NoError(t, err)
	require.Equal(t, "done", state()[1].State)
	left, err := li.client.Exceptions(ctx, app.ReconQuery{})
	require.NoError(t, err)
	require.Len(t, left.Exceptions, 1)
	for _, action := range []string{"", "burn", app.ActionPost} {
		_, err = li.client.ActOn(ctx, app.ReconActing{ID: left.Exceptions[0].ID, Action: action, Evidence: "x"})
		if action == app.ActionPost { // It is proposed; that nobody is named the approval tells.
			require.NoError(t, err)
			continue
		}
		reasonIs(t, points.FormatError, err)
	}
	r.stop(t)
}
