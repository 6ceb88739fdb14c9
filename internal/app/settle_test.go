package app_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement"
	"github.com/lianfen/lianfen/settlement/files"
)

// shifted is the clock of the machine, moved on.
type shifted struct{ by atomic.Int64 }

func (s *shifted) clock() points.Timestamp { return now() + points.Timestamp(s.by.Load()) }

const feesOfTown = "rows:\n  - {kind: RDM, interchange_ppm: 5000, ppm: 3000, min: 1, vat_ppm: 60000}\n  - {kind: EAR, ppm: 3000}\n"

// traded is a switch with rates in force, one sale, and a day that has ended.
func traded(t *testing.T, r *running, clock *shifted, operator, second string, by func(app.Done)) {
	t.Helper()
	ctx := t.Context()
	client := r.client
	from := clock.clock().Add(6 * time.Minute).String()
	done, err := client.ProposeRates(ctx, app.RateSetting{Rates: []app.RateTerms{{Program: 901, From: from, Value: "0.0125"}}, Operator: operator, Second: second, Note: "opening"})
	require.NoError(t, err)
	by(done[0])
	fees, err := app.ReadFees(strings.NewReader("from: " + from + "\n" + feesOfTown))
	require.NoError(t, err)
	fee, err := client.ProposeFees(ctx, app.FeeSetting{FeeTerms: fees, Operator: operator, Second: second, Note: "opening"})
	require.NoError(t, err)
	by(fee)
	clock.by.Add((10 * time.Minute).Microseconds())
	adjusted, err := client.Adjust(ctx, app.Adjustment{Holder: app.Holder{Member: 1}, Program: 901, Amount: 1000, Operator: operator, Second: second, Note: "start"})
	require.NoError(t, err)
	by(adjusted)
	terminal := r.terminal(t, "T1")
	require.Equal(t, points.Approved.String(), send(t, terminal, points.Redeem, "6222020000000000017", 100).Response.Reason.String())
	cut, err := client.CutOver(ctx, app.CutOver{Force: true, Operator: operator, Second: second})
	require.NoError(t, err)
	by(cut)
}

// A night by two persons: who runs it cannot approve it, nothing is visible before somebody
// else does, the posting stands in the journal in both names, once; a run of before the
// day has ended, of a day that is not there and by who may not is refused.
func TestNightByTwoPersons(t *testing.T) {
	clock := new(shifted)
	h := newHouse(t)
	h.clock = clock.clock
	r := h.start(t)
	r.load(t, smallTown)
	ctx := t.Context()
	li, wang := r.staffedHouse(t, 0)
	looker := r.enrol(t, li.client, "zhao", book.RoleViewer)
	_, err := li.client.PutPolicy(ctx, app.PolicyChange{TwoPersons: book.Acts(1<<book.ActSettlement | 1<<book.ActPolicy | 1<<book.ActOperators)})
	require.NoError(t, err)
	_, err = li.client.Settle(ctx, "run", app.SettleAsk{}, nil)
	require.ErrorContains(t, err, "no cycle has ended")
	require.ErrorContains(t, err, "lianfen settle cutover --now")
	door := r.client
	r.client = li.client
	traded(t, r, clock, "", "", func(d app.Done) {
		if d.Pending != "" {
			_, err := wang.client.Approve(ctx, app.Decision{RRN: d.RRN})
			require.NoError(t, err)
		}
	})
	r.client = door
	_, err = looker.client.Settle(ctx, "run", app.SettleAsk{}, nil)
	reasonIs(t, points.RoleMissing, err)
	_, err = li.client.Settle(ctx, "run", app.SettleAsk{Date: 20200101, Cycle: 1}, nil)
	require.ErrorContains(t, err, "no cycle 1")

	ran, err := li.client.Settle(ctx, "run", app.SettleAsk{}, nil)
	require.NoError(t, err)
	require.Equal(t, app.SettleWaits, ran.Outcome)
	require.Equal(t, settlement.Checked, ran.Run.State)
	require.NotZero(t, ran.Run.Proposal)
	pending, err := wang.client.Pending(ctx)
	require.NoError(t, err)
	require.Len(t, pending, 1)
	_, err = li.client.Settle(ctx, "approve", app.SettleAsk{Run: ran.Run.ID, Publish: true}, nil)
	reasonIs(t, points.NeedsSecondPerson, err)
	_, err = wang.client.Settle(ctx, "publish", app.SettleAsk{Run: ran.Run.ID}, nil)
	reasonIs(t, points.NotPermitted, err)
	published := filepath.Join(h.config.Data, app.SettlementFolder, ran.Run.ID)
	require.NoDirExists(t, published)
	again, err := wang.client.Settle(ctx, "run", app.SettleAsk{}, nil)
	require.NoError(t, err)
	require.Equal(t, "li", again.Run.Maker, "who looks at it again has not made it")

	done, err := wang.client.Settle(ctx, "approve", app.SettleAsk{Run: ran.Run.ID, Publish: true}, nil)
	require.NoError(t, err)
	require.Equal(t, settlement.Published, done.Run.State)
	require.DirExists(t, published)
	rrn := done.Run.Posting.RRN()
	detail, err := li.client.Detail(ctx, string(rrn[:]))
	require.NoError(t, err)
	require.Equal(t, []string{"wang", "li"}, []string{detail.Operator, detail.Proposed})
	cleared, err := li.client.Cleared(ctx, app.ClearedAsked{Date: done.Run.Cut.Date, Cycle: 1})
	require.NoError(t, err)
	require.Equal(t, string(rrn[:]), cleared.Posted)
	once, err := li.client.Settle(ctx, "run", app.SettleAsk{}, nil)
	require.NoError(t, err)
	require.Equal(t, []any{app.SettleDone, done.Run.Posting}, []any{once.Outcome, once.Run.Posting})
	_, err = li.client.SettleVoid(ctx, app.SettleAsk{Run: ran.Run.ID, Note: "x"})
	reasonIs(t, points.NotPermitted, err)
	delivered, err := li.client.SettleDelivered(ctx, app.DeliveredAsk{SettleAsk: app.SettleAsk{Run: ran.Run.ID, Note: "by hand, signed for"}})
	require.NoError(t, err)
	require.Equal(t, settlement.Confirmed, delivered.Run.State)
	_, err = li.client.SettleDelivered(ctx, app.DeliveredAsk{SettleAsk: app.SettleAsk{Run: ran.Run.ID, Note: "again"}})
	reasonIs(t, points.NotPermitted, err)
	_, err = li.client.Prove(ctx, app.ProofProgress{})
	require.NoError(t, err)
	r.stop(t)
}

// twoPersons is a traded switch whose policy wants two persons for a settlement.
func twoPersons(t *testing.T, h *house) (r *running, li, wang *person) {
	t.Helper()
	clock := new(shifted)
	h.clock = clock.clock
	r = h.start(t)
	r.load(t, smallTown)
	ctx := t.Context()
	li, wang = r.staffedHouse(t, 0)
	_, err := li.client.PutPolicy(ctx, app.PolicyChange{TwoPersons: book.Acts(1<<book.ActSettlement | 1<<book.ActPolicy | 1<<book.ActOperators)})
	require.NoError(t, err)
	door := r.client
	r.client = li.client
	traded(t, r, clock, "", "", func(d app.Done) {
		if d.Pending != "" {
			_, err := wang.client.Approve(ctx, app.Decision{RRN: d.RRN})
			require.NoError(t, err)
		}
	})
	r.client = door
	return r, li, wang
}

// What was rejected after it was approved is not made visible: it can be voided still, and
// run anew.
func TestNightRejectedAfterItsApproval(t *testing.T) {
	h := newHouse(t)
	r, li, wang := twoPersons(t, h)
	ctx := t.Context()
	ran, err := li.client.Settle(ctx, "run", app.SettleAsk{}, nil)
	require.NoError(t, err)
	_, err = wang.client.Settle(ctx, "approve", app.SettleAsk{Run: ran.Run.ID}, nil)
	require.NoError(t, err)
	proposal := ran.Run.Proposal.RRN()
	_, err = wang.client.Reject(ctx, app.Decision{RRN: string(proposal[:])})
	require.NoError(t, err)
	_, err = wang.client.Settle(ctx, "publish", app.SettleAsk{Run: ran.Run.ID}, nil)
	require.NoDirExists(t, filepath.Join(h.config.Data, app.SettlementFolder, ran.Run.ID))
	reasonIs(t, points.ProposalExpired, err)
	_, err = li.client.SettleVoid(ctx, app.SettleAsk{Run: ran.Run.ID, Note: "rejected"})
	require.NoError(t, err)
	again, err := li.client.Settle(ctx, "run", app.SettleAsk{}, nil)
	require.NoError(t, err)
	done, err := wang.client.Settle(ctx, "approve", app.SettleAsk{Run: again.Run.ID, Publish: true}, nil)
	require.NoError(t, err)
	require.Equal(t, settlement.Published, done.Run.State)
	r.stop(t)
}

// What a stop has left between the rename and the posting, and was rejected before anybody
// went on, is proposed again by another run of it, and published.
func TestNightRejectedWhileVisible(t *testing.T) {
	h := newHouse(t)
	r, li, wang := twoPersons(t, h)
	ctx := t.Context()
	ran, err := li.client.Settle(ctx, "run", app.SettleAsk{}, nil)
	require.NoError(t, err)
	_, err = wang.client.Settle(ctx, "approve", app.SettleAsk{Run: ran.Run.ID}, nil)
	require.NoError(t, err)
	folder := filepath.Join(h.config.Data, app.SettlementFolder, ran.Run.ID)
	require.NoError(t, os.Rename(folder+".tmp", folder))
	rrn := ran.Run.Proposal.RRN()
	_, err = wang.client.Reject(ctx, app.Decision{RRN: string(rrn[:])})
	require.NoError(t, err)
	_, err = wang.client.Settle(ctx, "publish", app.SettleAsk{Run: ran.Run.ID}, nil)
	reasonIs(t, points.ProposalExpired, err)
	_, err = li.client.SettleVoid(ctx, app.SettleAsk{Run: ran.Run.ID, Note: "x"})
	require.ErrorContains(t, err, "lianfen settle run "+ran.Run.ID)
	again, err := li.client.Settle(ctx, "run", app.SettleAsk{Run: ran.Run.ID}, nil)
	require.NoError(t, err)
	require.Equal(t, []any{app.SettleWaits, settlement.Checked}, []any{again.Outcome, again.Run.State})
	require.NotEqual(t, ran.Run.Proposal, again.Run.Proposal)
	done, err := wang.client.Settle(ctx, "approve", app.SettleAsk{Run: ran.Run.ID, Publish: true}, nil)
	require.NoError(t, err)
	require.Equal(t, settlement.Published, done.Run.State)
	r.stop(t)
}

// What was proposed of a run that is void waits for nobody any more. Where a proposal of one
// waits all the same, nobody can approve it.
func TestNightVoidEndsItsProposal(t *testing.T) {
	h := newHouse(t)
	r, li, wang := twoPersons(t, h)
	ctx := t.Context()
	ran, err := li.client.Settle(ctx, "run", app.SettleAsk{}, nil)
	require.NoError(t, err)
	note := filepath.Join(h.config.Data, app.SettlementFolder, ran.Run.ID+".json")
	was, err := os.ReadFile(note)
	require.NoError(t, err)
	void := strings.Replace(string(was), `"state": "CHECKED"`, `"state": "VOID"`, 1)
	require.NoError(t, os.WriteFile(note, []byte(void), 0o600))
	rrn := ran.Run.Proposal.RRN()
	_, err = wang.client.Approve(ctx, app.Decision{RRN: string(rrn[:])})
	reasonIs(t, points.NotPermitted, err)
	require.ErrorContains(t, err, "run "+ran.Run.ID+" is VOID")
	require.NoError(t, os.WriteFile(note, was, 0o600))

	_, err = li.client.SettleVoid(ctx, app.SettleAsk{Run: ran.Run.ID, Note: "another look"})
	require.NoError(t, err)
	pending, err := wang.client.Pending(ctx)
	require.NoError(t, err)
	require.Empty(t, pending)
	_, err = wang.client.Approve(ctx, app.Decision{RRN: string(rrn[:])})
	reasonIs(t, points.ProposalUnknown, err)
	again, err := li.client.Settle(ctx, "run", app.SettleAsk{}, nil)
	require.NoError(t, err)
	require.NotEqual(t, ran.Run.ID, again.Run.ID)
	done, err := wang.client.Settle(ctx, "approve", app.SettleAsk{Run: again.Run.ID, Publish: true}, nil)
	require.NoError(t, err)
	require.Equal(t, settlement.Published, done.Run.State)
	r.stop(t)
}

// A run whose posting was approved among the pending acts is approved. It is published, not
// void, even where its note says that it only was checked, or that it is void.
func TestNightApprovedByAnotherDoor(t *testing.T) {
	h := newHouse(t)
	r, li, wang := twoPersons(t, h)
	ctx := t.Context()
	ran, err := li.client.Settle(ctx, "run", app.SettleAsk{}, nil)
	require.NoError(t, err)
	folder := filepath.Join(h.config.Data, app.SettlementFolder, ran.Run.ID)
	was, err := os.ReadFile(folder + ".json")
	require.NoError(t, err)
	rrn := ran.Run.Proposal.RRN()
	posted, err := wang.client.Approve(ctx, app.Decision{RRN: string(rrn[:])})
	require.NoError(t, err)
	shown, err := li.client.SettleShow(ctx, app.SettleAsk{Run: ran.Run.ID})
	require.NoError(t, err)
	require.Equal(t, []any{settlement.Approved, "li", "wang"}, []any{shown[0].State, shown[0].Maker, shown[0].Checker})

	for _, state := range []string{"CHECKED", "VOID"} {
		text := strings.Replace(string(was), `"state": "CHECKED"`, `"state": "`+state+`"`, 1)
		require.NoError(t, os.WriteFile(folder+".json", []byte(text), 0o600))
		_, err = li.client.SettleVoid(ctx, app.SettleAsk{Run: ran.Run.ID, Note: "x"})
		reasonIs(t, points.NotPermitted, err)
		require.ErrorContains(t, err, "it stays")
	}
	require.NoError(t, os.RemoveAll(folder+".tmp"))
	again, err := li.client.Settle(ctx, "run", app.SettleAsk{}, nil)
	require.NoError(t, err)
	require.Equal(t, []any{app.SettleDone, ran.Run.ID, settlement.Approved}, []any{again.Outcome, again.Run.ID, again.Run.State})
	_, err = wang.client.Settle(ctx, "approve", app.SettleAsk{Run: ran.Run.ID, Publish: true}, nil)
	require.NoError(t, err)
	done, err := wang.client.SettleShow(ctx, app.SettleAsk{Run: ran.Run.ID})
	require.NoError(t, err)
	published := done[0].Posting.RRN()
	require.Equal(t, []any{settlement.Published, posted.RRN}, []any{done[0].State, string(published[:])})
	require.DirExists(t, folder)
	r.stop(t)
}

// A cycle whose items cancel out is posted by two persons where the policy wants two: it
// moves nothing, and is settled all the same.
func TestNightThatCancelsOut(t *testing.T) {
	h := newHouse(t)
	r, li, wang := twoPersons(t, h)
	ctx := t.Context()
	terminal := r.terminal(t, "T1")
	terminal.Next(points.Redeem) // It has sent one with this number on the day before.
	for _, function := range []points.Function{points.Redeem, points.Earn} {
		require.Equal(t, points.Approved.String(), send(t, terminal, function, "6222020000000000017", 100).Response.Reason.String())
	}
	cut, err := li.client.CutOver(ctx, app.CutOver{Force: true})
	require.NoError(t, err)
	require.Empty(t, cut.Pending)
	ran, err := li.client.Settle(ctx, "run", app.SettleAsk{}, nil)
	require.NoError(t, err)
	require.Empty(t, ran.Run.Moves)
	require.EqualValues(t, 2, ran.Run.Items)
	_, err = li.client.Settle(ctx, "approve", app.SettleAsk{Run: ran.Run.ID, Publish: true}, nil)
	reasonIs(t, points.NeedsSecondPerson, err)
	done, err := wang.client.Settle(ctx, "approve", app.SettleAsk{Run: ran.Run.ID, Publish: true}, nil)
	require.NoError(t, err)
	require.Equal(t, settlement.Published, done.Run.State)
	require.NotZero(t, done.Run.Posting)

	_, err = li.client.CutOver(ctx, app.CutOver{Force: true})
	require.NoError(t, err)
	delivered, err := li.client.SettleDelivered(ctx, app.DeliveredAsk{Member: 20000001})
	require.NoError(t, err)
	require.Equal(t, done.Run.ID, delivered.Run.ID, "the last that is published, not the last that has ended")
	r.stop(t)
}

// The switch runs the night by itself where the configuration says so and nobody else has
// to approve; what a start finds undone it does; a dry run with other rates names what
// they move and writes nothing.
func TestNightByItself(t *testing.T) {
	clock := new(shifted)
	h := newHouse(t, "settlement.run=publish")
	h.clock = clock.clock
	r := h.start(t)
	r.load(t, smallTown)
	ctx := t.Context()
	traded(t, r, clock, "li", "wang", func(app.Done) {})
	var run *settlement.Run
	require.Eventually(t, func() bool {
		runs, err := r.client.SettleShow(ctx, app.SettleAsk{})
		require.NoError(t, err)
		if len(runs) == 1 {
			run = runs[0]
		}
		return run != nil && run.State == settlement.Published
	}, 30*time.Second, 50*time.Millisecond)
	require.Equal(t, []string{"night", settlement.ByRule}, []string{run.Maker, run.Checker})
	require.NotZero(t, run.Posting)

	same, err := r.client.Settle(ctx, "diff", app.SettleAsk{}, nil)
	require.NoError(t, err)
	require.Empty(t, same.Diff.Positions)
	other, err := r.client.Settle(ctx, "run", app.SettleAsk{Operator: "li", DryRun: true, Rates: []app.OtherRate{{Program: 901, Side: 1, Num: 250, Den: 1}}}, nil)
	require.NoError(t, err)
	require.NotEmpty(t, other.Diff.Positions)
	require.Len(t, other.Diff.Items, 1)
	require.Equal(t, []points.Amount{12_500, 25_000}, []points.Amount{other.Diff.Items[0].Before, other.Diff.Items[0].After})
	both, err := r.client.Settle(ctx, "run", app.SettleAsk{Operator: "li", DryRun: true, Against: run.ID, Rates: []app.OtherRate{{Program: 901, Side: 1, Num: 250, Den: 1}}}, nil)
	require.NoError(t, err)
	require.Equal(t, "run "+run.ID, both.Diff.Before)
	require.Equal(t, other.Diff.Positions, both.Diff.Positions, "the rates are not left out beside another run")
	runs, err := r.client.SettleShow(ctx, app.SettleAsk{})
	require.NoError(t, err)
	require.Len(t, runs, 1)
	r.stop(t)

	orphan := filepath.Join(h.config.Data, app.SettlementFolder, "01KJJQZ3A0000000000000000A.tmp")
	require.NoError(t, os.MkdirAll(orphan, 0o700))
	r = h.start(t)
	require.NoDirExists(t, orphan, "what an unfinished run has left is thrown away")
	r.stop(t)
}

// Where the configuration gives a point a price, a night by itself pays nobody: it waits for
// a second person, who has the accounts before him. An account that cannot be one stops the
// start, and a reload, with its key.
func TestNightThatPays(t *testing.T) {
	clock := new(shifted)
	h := newHouse(t, "settlement.run=publish", "settlement.cash_currency=CNY", "settlement.cash_price=1/1", "settlement.cash_bank=ICBKCNBJ", "settlement.cash_account=9000")
	h.clock = clock.clock
	h.config.Cash.Accounts = []config.MemberAccount{{Member: 10000001, Bank: "PCBCCNBJ", Account: "GB82WEST12345698765423"}}
	_, err := h.open(t)
	require.ErrorContains(t, err, "settlement.accounts.10000001: account: it begins like an IBAN")
	h.config.Cash.Accounts[0].Account = "GB82WEST12345698765432"
	r := h.start(t)
	r.load(t, smallTown)
	ctx := t.Context()
	traded(t, r, clock, "li", "wang", func(app.Done) {})
	var run *settlement.Run
	require.Eventually(t, func() bool {
		runs, err := r.client.SettleShow(ctx, app.SettleAsk{})
		require.NoError(t, err)
		if len(runs) == 1 {
			run = runs[0]
		}
		return run != nil && run.State == settlement.Checked && run.Maker != ""
	}, 30*time.Second, 50*time.Millisecond)
	require.Equal(t, []string{"bank", "accounts"}, failedChecks(run, settlement.SecondPerson))
	require.EqualValues(t, 1, run.Payments.LeftOut)
	_, err = r.client.SettleExport(ctx, app.SettleAsk{Run: run.ID}, io.Discard)
	reasonIs(t, points.NotPermitted, err)
	done, err := r.client.Settle(ctx, "approve", app.SettleAsk{Run: run.ID, Operator: "wang", Publish: true}, nil)
	require.NoError(t, err)
	require.Equal(t, settlement.Published, done.Run.State)
	var table bytes.Buffer
	items, err := r.client.SettleExport(ctx, app.SettleAsk{}, &table)
	require.NoError(t, err)
	require.Equal(t, run.Items, items)
	require.True(t, bytes.HasPrefix(table.Bytes(), []byte("PAR1")) && bytes.HasSuffix(table.Bytes(), []byte("PAR1")), "a whole file of Parquet")
	changed := h.config
	changed.Cash.Accounts = slices.Clone(changed.Cash.Accounts)
	changed.Cash.Price.Den = 100
	reloaded, err := r.Reload(ctx, changed)
	require.NoError(t, err)
	require.Equal(t, []string{"settlement.cash_price"}, reloaded.Restart)
	changed.Cash.Accounts[0].Account = "GB82"
	_, err = r.Reload(ctx, changed)
	require.ErrorContains(t, err, "settlement.accounts.10000001")
	list, err := r.client.SettleExceptions(ctx, app.SettleAsk{Run: run.ID})
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, files.ReasonNoBankAccount, list[0].Reason)
	r.stop(t)
}

// failedChecks names the checks of a severity that did not pass.
func failedChecks(run *settlement.Run, severity settlement.Severity) (names []string) {
	for i := range run.Checks {
		if c := &run.Checks[i]; !c.Pass && c.Severity == severity {
			names = append(names, c.Name)
		}
	}
	return names
}

// Who runs a night anew after its maker has withdrawn the proposal is the maker from then on,
// and does not approve it: nobody settles alone in the name of somebody else.
func TestNobodySettlesInTheNameOfAnother(t *testing.T) {
	r, li, wang := twoPersons(t, newHouse(t))
	ctx := t.Context()
	ran, err := li.client.Settle(ctx, "run", app.SettleAsk{}, nil)
	require.NoError(t, err)
	require.Equal(t, "li", ran.Run.Maker)
	seen, err := wang.client.Settle(ctx, "run", app.SettleAsk{}, nil)
	require.NoError(t, err)
	require.Equal(t, "li", seen.Run.Maker, "looking at it again makes nobody its maker")
	rrn := ran.Run.Proposal.RRN()
	_, err = li.client.Reject(ctx, app.Decision{RRN: string(rrn[:]), Note: "a rate is wrong"})
	require.NoError(t, err)
	again, err := wang.client.Settle(ctx, "run", app.SettleAsk{}, nil)
	require.NoError(t, err)
	require.Equal(t, "wang", again.Run.Maker)
	_, err = wang.client.Settle(ctx, "approve", app.SettleAsk{Run: ran.Run.ID, Publish: true}, nil)
	require.Equal(t, points.NeedsSecondPerson, points.ReasonOf(err))
	r.stop(t)
}
