package settlement_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement"
	"github.com/lianfen/lianfen/settlement/netting"
	"github.com/lianfen/lianfen/tariff"
)

// guaranteed is a made-up day with other tables, or with some of its items only.
type guaranteed struct {
	*settlement.Synthetic
	change func(*settlement.Setting)
	keep   func(*settlement.Entry) bool
}

func (g *guaranteed) Setting(ctx context.Context) (settlement.Setting, error) {
	s, err := g.Synthetic.Setting(ctx)
	if g.change != nil {
		g.change(&s)
	}
	return s, err
}

func (g *guaranteed) Entries(ctx context.Context, first, last points.Position, visit func(*settlement.Entry) error) error {
	return g.Synthetic.Entries(ctx, first, last, func(e *settlement.Entry) error {
		if g.keep != nil && !g.keep(e) {
			return nil
		}
		return visit(e)
	})
}

// covered gives each member a cover of its own and sets fund and limits.
func covered(cover netting.Cover, fund points.Amount, limits ...settlement.Limit) func(*settlement.Setting) {
	return func(s *settlement.Setting) {
		parties := make([]settlement.Party, len(s.Parties))
		copy(parties, s.Parties)
		for i := range parties {
			parties[i].Cover = cover
			parties[i].Cover.Member = parties[i].Member
		}
		s.Parties, s.Fund, s.Limits = parties, fund, limits
	}
}

// The debt of a member that fails runs down its prefund, its collateral, the guarantee fund
// and the limits granted to it, in this order and to the unit; what others have granted each
// other does not count. The figures are worked out by hand.
func TestFailByHand(t *testing.T) {
	day := madeUp(t, 1, 4)
	const failing, first, second, third = 10_000_000, 10_000_001, 20_000_000, 20_000_001
	// One item of a hundred points, each worth 97/3 units: 3233 units rounded, no fee.
	g := &guaranteed{Synthetic: day, keep: func(e *settlement.Entry) bool {
		line := e.Line
		*e = settlement.Entry{Line: line}
		e.Position, e.At, e.Kind, e.Program, e.Amount = 1, morning, tariff.KindSWP, points.MinProgram, 100
		e.Issuer, e.Target, e.TargetProgram = failing, first, points.MinProgram
		return true
	}}
	whole := func(limits ...settlement.Limit) *settlement.Failure {
		t.Helper()
		g.change = covered(netting.Cover{Prefund: 1001, PrefundHaircut: 100_000, Collateral: 300, CollateralHaircut: 500_000}, 700, limits...)
		r, err := settlement.NewRunner(g, settlement.Options{Folder: t.TempDir(), Operator: 90_000_001, Workers: 1, Models: oneModel(t, netting.MNET), Zone: china(), Clock: func() points.Timestamp { return morning }})
		require.NoError(t, err)
		now, err := r.Now(t.Context(), 20260302, 1)
		require.NoError(t, err)
		f, err := r.Fail(t.Context(), now, failing)
		require.NoError(t, err)
		return f
	}
	f := whole(
		settlement.Limit{By: first, To: failing, Granted: 200}, settlement.Limit{By: second, To: failing, Granted: 100},
		settlement.Limit{By: third, To: failing, Granted: 0}, settlement.Limit{By: third, To: second, Granted: 5000},
	)
	require.Equal(t, points.Amount(3233), f.Debt)
	require.Equal(t, settlement.Layer{Has: 900, Bears: 900}, f.Prefund, "a tenth off 1001, rounded down")
	require.Equal(t, settlement.Layer{Has: 150, Bears: 150}, f.Collateral)
	require.Equal(t, settlement.Layer{Has: 700, Bears: 700}, f.Fund)
	require.Equal(t, []settlement.Bearer{
		{Member: first, Layer: settlement.Layer{Has: 200, Bears: 200}}, {Member: second, Layer: settlement.Layer{Has: 100, Bears: 100}},
	}, f.Survivors)
	require.Equal(t, points.Amount(1183), f.Open)
	require.Equal(t, []any{uint64(0), uint64(1), points.Amount(0)}, []any{f.Unwinding.Items, f.Unwinding.LeftOut, f.Unwinding.Debt})

	// 1483 is left for limits of 2000, 1000 and 1: 988.34, 494.17 and 0.49 of them. The last
	// unit goes to the largest remainder, the third's.
	f = whole(
		settlement.Limit{By: first, To: failing, Granted: 2000}, settlement.Limit{By: second, To: failing, Granted: 1000}, settlement.Limit{By: third, To: failing, Granted: 1},
	)
	require.Equal(t, []settlement.Bearer{
		{Member: first, Layer: settlement.Layer{Has: 2000, Bears: 988}},
		{Member: second, Layer: settlement.Layer{Has: 1000, Bears: 494}},
		{Member: third, Layer: settlement.Layer{Has: 1, Bears: 1}},
	}, f.Survivors)
	require.Zero(t, f.Open)
}

// Whoever fails, each layer bears no more than it has and all of them the debt; and the
// unwinding comes to what the day comes to if the member's items had never been there.
func TestFailIsTheDayWithoutIt(t *testing.T) {
	opts := settlement.Options{Folder: t.TempDir(), Operator: 90_000_001, Workers: 2, Models: oneModel(t, netting.MNET), Zone: china(), Clock: func() points.Timestamp { return morning }}
	rapid.Check(t, func(t *rapid.T) {
		day, err := settlement.NewSynthetic(rapid.Uint64Range(1, 400).Draw(t, "items"), rapid.IntRange(3, 6).Draw(t, "members"), rapid.Uint64Range(1, 1000).Draw(t, "seed"))
		require.NoError(t, err)
		setting, err := day.Setting(context.Background())
		require.NoError(t, err)
		failing := rapid.SampledFrom(setting.Parties).Draw(t, "failing").Member
		var limits []settlement.Limit
		for _, party := range setting.Parties {
			if party.Member != failing {
				limits = append(limits, settlement.Limit{By: party.Member, To: failing, Granted: points.Amount(rapid.Int64Range(0, 50_000_000).Draw(t, "limit"))})
			}
		}
		cover := netting.Cover{Prefund: points.Amount(rapid.Int64Range(0, 100_000_000).Draw(t, "prefund")), PrefundHaircut: 50_000, Collateral: 7}
		change := covered(cover, points.Amount(rapid.Int64Range(0, 100_000_000).Draw(t, "fund")), limits...)
		r, err := settlement.NewRunner(&guaranteed{Synthetic: day, change: change}, opts)
		require.NoError(t, err)
		now, err := r.Now(context.Background(), 20260302, 1)
		require.NoError(t, err)
		f, err := r.Fail(context.Background(), now, failing)
		require.NoError(t, err)
		borne := f.Prefund.Bears + f.Collateral.Bears + f.Fund.Bears + f.Open
		for _, layer := range []settlement.Layer{f.Prefund, f.Collateral, f.Fund} {
			require.LessOrEqual(t, layer.Bears, layer.Has)
		}
		for _, s := range f.Survivors {
			require.LessOrEqual(t, s.Bears, s.Has)
			borne += s.Bears
		}
		require.Equal(t, f.Debt, borne)

		all, rest, left := pairsOf(t, day, setting, failing)
		require.Equal(t, []uint64{day.Items - left, left}, []uint64{f.Unwinding.Items, f.Unwinding.LeftOut})
		differing := 0
		for at, before := range all {
			if before != rest[at] {
				differing++
			}
		}
		require.Len(t, f.Unwinding.Comparison.Positions, differing)
		require.Equal(t, left, f.Unwinding.Comparison.Differing, "what is left out is named among what explains it")
		for _, d := range f.Unwinding.Comparison.Positions {
			at := pairing{d.Member, d.Counterparty, d.Code}
			require.Equal(t, []string{all[at].Decimal(4), rest[at].Decimal(4)}, []string{d.Before, d.After}, "%+v", at)
		}
	})
}

type pairing struct {
	member, with tariff.Member
	code         tariff.Code
}

// pairsOf sums a day up leg by leg: all of it, and without what concerns a member.
func pairsOf(t require.TestingT, day *settlement.Synthetic, setting settlement.Setting, without tariff.Member) (all, rest map[pairing]netting.Sum, left uint64) {
	all, rest = map[pairing]netting.Sum{}, map[pairing]netting.Sum{}
	require.NoError(t, day.Entries(context.Background(), 1, points.Position(day.Items), func(e *settlement.Entry) error {
		var v tariff.Valuation
		require.Equal(t, tariff.OK, tariff.Value(setting.Rates, setting.Fees, &e.Item, &v))
		sums := []map[pairing]netting.Sum{all, rest}
		if e.Issuer == without || e.Acquirer == without || e.Target == without {
			left, sums = left+1, sums[:1]
		}
		for _, leg := range v.Legs() {
			owes, owed := pairing{leg.Debtor, leg.Creditor, leg.Code}, pairing{leg.Creditor, leg.Debtor, leg.Code}
			for _, to := range sums {
				to[owes], to[owed] = to[owes].Minus(netting.SumOf(leg.Amount)), to[owed].Plus(netting.SumOf(leg.Amount))
			}
		}
		return nil
	}))
	return all, rest, left
}
