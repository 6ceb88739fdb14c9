package app_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement"
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

// What was rejected after it was approved is not made visible: it can be voided still, and
// run anew.
func TestNightRejectedAfterItsApproval(t *testing.T) {
	clock := new(shifted)
	h := newHouse(t)
	h.clock = clock.clock
	r := h.start(t)
	r.load(t, smallTown)
	ctx := t.Context()
	li, wang := r.staffedHouse(t, 0)
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
	require.Equal(t, []string{"night", "settlement.run"}, []string{run.Maker, run.Checker})
	require.NotZero(t, run.Posting)

	same, err := r.client.Settle(ctx, "diff", app.SettleAsk{}, nil)
	require.NoError(t, err)
	require.Empty(t, same.Diff.Positions)
	other, err := r.client.Settle(ctx, "run", app.SettleAsk{Operator: "li", DryRun: true, Rates: []app.OtherRate{{Program: 901, Side: 1, Num: 250, Den: 1}}}, nil)
	require.NoError(t, err)
	require.NotEmpty(t, other.Diff.Positions)
	require.Len(t, other.Diff.Items, 1)
	require.Equal(t, []points.Amount{12_500, 25_000}, []points.Amount{other.Diff.Items[0].Before, other.Diff.Items[0].After})
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
