package app_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement"
	"github.com/lianfen/lianfen/settlement/files"
	"github.com/lianfen/lianfen/settlement/netting"
	"github.com/lianfen/lianfen/tariff"
)

// Fund and limits are entered by two persons where the policy says so, and a member's
// failure is looked at by whoever may look: its debt is divided to the unit, and the cycle
// without its items has nothing left of it. Who is no member is named.
func TestDefaultOfAMember(t *testing.T) {
	clock := new(shifted)
	h := newHouse(t)
	h.clock = clock.clock
	r := h.start(t)
	r.load(t, smallTown)
	ctx := t.Context()
	li, wang := r.staffedHouse(t, 0)
	looker := r.enrol(t, li.client, "zhao", book.RoleViewer)
	_, err := li.client.PutPolicy(ctx, app.PolicyChange{TwoPersons: book.Acts(1<<book.ActRisk | 1<<book.ActPolicy | 1<<book.ActOperators)})
	require.NoError(t, err)
	approve := func(d app.Done, err error) {
		t.Helper()
		require.NoError(t, err)
		require.NotEmpty(t, d.Pending)
		_, err = wang.client.Approve(ctx, app.Decision{RRN: d.RRN})
		require.NoError(t, err)
	}
	approve(li.client.SetFund(ctx, app.FundSetting{Fund: book.Fund{Amount: 5000}, Note: "paid in"}))
	approve(li.client.SetGrant(ctx, app.GrantSetting{Grant: book.Grant{By: 20000001, To: 10000001, Amount: 4000}, Note: "as agreed"}))
	_, err = li.client.SetGrant(ctx, app.GrantSetting{Grant: book.Grant{By: 77, To: 10000001, Amount: 1}, Note: "x"})
	reasonIs(t, points.NoRoute, err)
	_, err = looker.client.SetFund(ctx, app.FundSetting{Fund: book.Fund{Amount: 1}, Note: "x"})
	reasonIs(t, points.RoleMissing, err)
	stand, err := looker.client.Guarantees(ctx)
	require.NoError(t, err)
	require.Equal(t, app.Guarantees{Fund: book.Fund{Amount: 5000}, Limits: []book.Grant{{By: 20000001, To: 10000001, Amount: 4000}}}, stand)

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
	looked, err := looker.client.Settle(ctx, "default", app.SettleAsk{Run: ran.Run.ID, Member: 10000001}, nil)
	require.NoError(t, err)
	f := looked.Default
	require.Equal(t, points.Amount(12_438), f.Debt, "12500 less 62 of interchange")
	require.Equal(t, settlement.Layer{Has: 5000, Bears: 5000}, f.Fund)
	require.Equal(t, []settlement.Bearer{{Member: 20000001, Layer: settlement.Layer{Has: 4000, Bears: 4000}}}, f.Survivors)
	require.Equal(t, points.Amount(3438), f.Open)
	require.Equal(t, []uint64{0, 1}, []uint64{f.Unwinding.Items, f.Unwinding.LeftOut})
	require.NotEmpty(t, f.Unwinding.Comparison.Positions)
	require.False(t, f.Posted)
	_, err = looker.client.Settle(ctx, "default", app.SettleAsk{Member: 77}, nil)
	reasonIs(t, points.NoRoute, err)
	shown, err := looker.client.SettleShow(ctx, app.SettleAsk{})
	require.NoError(t, err)
	require.Equal(t, ran.Run.State, shown[0].State, "looking changes nothing")
	r.stop(t)
}

// The models and classes of the configuration are those of the run: a redemption between two
// classes is settled by the pair, its fee by all.
func TestModelsOfTheConfiguration(t *testing.T) {
	clock := new(shifted)
	h := newHouse(t)
	h.clock = clock.clock
	h.config.Night.Classes = config.MemberClasses{{Member: 20000001, Class: 2}}
	h.config.Night.Models = config.ModelRules{
		{Kind: tariff.KindRDM, One: 1, Other: 2, Model: netting.BNET}, {One: netting.Any, Other: netting.Any, Model: netting.MNET},
	}
	r := h.start(t)
	r.load(t, smallTown)
	traded(t, r, clock, "li", "wang", func(app.Done) {})
	ran, err := r.client.Settle(t.Context(), "run", app.SettleAsk{Operator: "li"}, nil)
	require.NoError(t, err)
	text, err := os.ReadFile(filepath.Join(ran.Folder, settlement.OperatorFolder, files.WholeName(files.NET, 90000001, ran.Run.Cut.Date, 1, "csv").String()))
	require.NoError(t, err)
	require.Contains(t, string(text), "-10000001-20000001-BNET\r\n")
	require.Contains(t, string(text), ",20000001,FEE,SWF,")
	require.Contains(t, string(text), "-20000001-MNET\r\n", "of its fee")
	r.stop(t)
}

// The file of fees has payers and locks, and a dispute that comes by the door costs what the
// schedule says: the retrieval's fee stands in the open cycle at once.
func TestFeesOfDisputesByTheDoor(t *testing.T) {
	clock := new(shifted)
	h := newHouse(t)
	h.clock = clock.clock
	r := h.start(t)
	r.load(t, smallTown)
	ctx := t.Context()
	traded(t, r, clock, "li", "wang", func(app.Done) {})
	from := clock.clock().Add(6 * time.Minute).String()
	fees, err := app.ReadFees(strings.NewReader("from: " + from + "\nrows:\n  - {kind: RDM, lock_at_hold: true}\n  - {kind: FEE, fixed: 10600, vat_ppm: 60000, payer: acquirer}\n"))
	require.NoError(t, err)
	_, err = r.client.ProposeFees(ctx, app.FeeSetting{FeeTerms: fees, Operator: "li", Second: "wang", Note: "disputes"})
	require.NoError(t, err)
	fees.Rows[1].Payer = "nobody"
	_, err = r.client.ProposeFees(ctx, app.FeeSetting{FeeTerms: fees, Operator: "li", Second: "wang", Note: "disputes"})
	require.ErrorContains(t, err, `role "nobody"`)
	clock.by.Add((10 * time.Minute).Microseconds())
	shown, err := r.client.Fees(ctx)
	require.NoError(t, err)
	last := shown[len(shown)-1]
	require.Equal(t, []any{true, tariff.RoleAcquirer}, []any{last.Rows[0].LockAtHold, last.Rows[1].Payer})
	sale := send(t, r.terminal(t, "T1"), points.Redeem, "6222020000000000017", 100).Response
	require.Equal(t, points.Approved, sale.Reason)
	before, err := r.client.Cleared(ctx, app.ClearedAsked{})
	require.NoError(t, err)
	rrn := sale.Position.RRN()
	_, err = r.client.Dispute(ctx, app.DisputeEntry{RRN: string(rrn[:]), Open: true, Code: "RET", Operator: "li", Note: "slip"})
	require.NoError(t, err)
	after, err := r.client.Cleared(ctx, app.ClearedAsked{})
	require.NoError(t, err)
	net := func(v app.Cleared, m tariff.Member) (net points.Amount) {
		for _, p := range v.Positions {
			if p.Member == m {
				net = p.Net
			}
		}
		return net
	}
	for m, want := range map[tariff.Member]points.Amount{20000001: -10_600, tariff.AccountFee: 10_000, tariff.AccountVAT: 600, 10000001: 0} {
		require.Equal(t, want, net(after, m)-net(before, m), "%v", m)
	}
	r.stop(t)
}

// A share of a fee is of a member: an item that paid it to nobody could not be settled.
func TestAFeeIsSharedByMembers(t *testing.T) {
	r := newHouse(t).start(t)
	r.load(t, smallTown)
	propose := func(member uint32) error {
		_, err := r.client.ProposeFees(t.Context(), app.FeeSetting{
			FeeTerms: app.FeeTerms{From: "2099-01-01", Rows: []app.FeeRow{{Kind: "RDM", Fixed: 100, Shares: []app.FeeShare{{Role: "operator", Weight: 1}, {Member: member, Weight: 2}}}}},
			Operator: "li", Second: "wang", Note: "a partner's brand",
		})
		return err
	}
	require.ErrorContains(t, propose(70000001), "row 1: share of 70000001")
	require.NoError(t, propose(20000001))
	r.stop(t)
}
