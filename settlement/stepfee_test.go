package settlement_test

import (
	"cmp"
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement"
	"github.com/lianfen/lianfen/settlement/files"
	"github.com/lianfen/lianfen/settlement/netting"
	"github.com/lianfen/lianfen/tariff"
)

// disputed is a made-up day with fees of retrievals, chargebacks, re-presentments and
// captures that are locked at a hold of the day before; what it has kept is summed up by the
// legs.
type disputed struct{ *guaranteed }

func newDisputed(t *testing.T) *disputed {
	t.Helper()
	d := &disputed{&guaranteed{Synthetic: madeUp(t, 900, 4)}}
	was, err := d.Synthetic.Setting(t.Context())
	require.NoError(t, err)
	fees := tariff.NewFees()
	rows := append(slices.Clone(was.Fees.Version(1).Rows),
		tariff.FeeRow{Kind: tariff.KindFEE, Fixed: 10_600, VATPPM: 60_000, Payer: tariff.RoleAcquirer},
		tariff.FeeRow{Kind: tariff.KindCBK, PPM: 20_000, Fixed: 50, VATPPM: 60_000, Payer: tariff.RoleAcquirer, Shares: []tariff.Share{{Role: tariff.RoleIssuer, Weight: 2}, {Role: tariff.RoleOperator, Weight: 1}}},
		tariff.FeeRow{Kind: tariff.KindREP, Min: 300, Payer: tariff.RoleIssuer})
	rows[0].LockAtHold = true
	schedule, err := fees.Next(was.Fees.Version(1).From, rows, "maker", "checker", was.Fees.Version(1).Approved)
	require.NoError(t, err)
	require.NoError(t, fees.Append(schedule))
	d.change = func(s *settlement.Setting) { s.Fees = fees }
	d.keep = func(e *settlement.Entry) bool {
		switch e.Position % 9 {
		case 0:
			fee := fees.Retrieval(&e.Item, e.At)
			position, at := e.Position, e.At
			e.Item = fee
			e.Position, e.At = position, at
		case 1, 2:
			kind := []tariff.Kind{tariff.KindCBK, tariff.KindREP}[e.Position%9-1]
			amount := max(e.Amount, -e.Amount)
			e.Kind, e.Of, e.Step, e.Whole, e.Amount, e.OriginalAt = kind, tariff.KindRDM, kind, amount, amount, e.At-1
			e.Target, e.TargetProgram = 0, 0
			if e.Refunded = amount; kind == tariff.KindCBK {
				e.Amount, e.Refunded = -amount, 0
			}
		case 3:
			if e.Kind == tariff.KindRDM {
				e.Held = e.At - 86_400_000_000
			}
		}
		return true
	}
	return d
}

// legs yields every entry with its legs, as an oracle of the run.
func (d *disputed) legs(ctx context.Context, visit func(*settlement.Entry, []tariff.Leg)) error {
	s, err := d.Setting(ctx)
	if err != nil {
		return err
	}
	return d.Entries(ctx, 1, points.Position(d.Items), func(e *settlement.Entry) error {
		var v tariff.Valuation
		if fault := tariff.Value(s.Rates, s.Fees, &e.Item, &v); fault != tariff.OK {
			return points.Errorf(points.FormatError, "%v: %v", e.Item, fault)
		}
		visit(e, v.Legs())
		return nil
	})
}

func (d *disputed) Kept(ctx context.Context, _ settlement.Cut) (kept settlement.Kept, err error) {
	nets, moves := map[tariff.Member]netting.Sum{}, map[settlement.Move]points.Amount{}
	err = d.legs(ctx, func(e *settlement.Entry, legs []tariff.Leg) {
		for _, leg := range legs {
			nets[leg.Debtor], nets[leg.Creditor] = nets[leg.Debtor].Minus(netting.SumOf(leg.Amount)), nets[leg.Creditor].Plus(netting.SumOf(leg.Amount))
		}
		switch at := (settlement.Move{Program: e.Program, Acquirer: e.Acquirer}); {
		case e.Kind == tariff.KindRDM || e.Of == tariff.KindRDM:
			moves[at] += e.Amount
		case e.Kind == tariff.KindEAR || e.Of == tariff.KindEAR:
			moves[at] -= e.Amount
		}
	})
	for _, m := range slices.Sorted(maps.Keys(nets)) {
		kept.Members = append(kept.Members, settlement.Live{Member: m, Net: nets[m]})
	}
	for move, amount := range moves {
		if move.Amount = amount; amount != 0 {
			kept.Moves = append(kept.Moves, move)
		}
	}
	slices.SortFunc(kept.Moves, func(a, b settlement.Move) int {
		return cmp.Or(cmp.Compare(a.Program, b.Program), cmp.Compare(a.Acquirer, b.Acquirer))
	})
	return kept, err
}

// Fees of disputes go through a run of each model: positions are those that the legs come
// to, each is in the files of whom it concerns, and every member's set, with its
// notification, is what settle verify makes of it again.
func TestFeesOfDisputesAreSettled(t *testing.T) {
	for _, model := range []netting.Model{netting.MNET, netting.BNET, netting.GROSS} {
		d := newDisputed(t)
		folder := t.TempDir()
		r, err := settlement.NewRunner(d, settlement.Options{
			Folder: folder, Operator: 90_000_001, Name: "联分", Code: "test", Workers: 2, Models: oneModel(t, model), Zone: china(), Twin: true,
			Clock: func() points.Timestamp { return morning },
		})
		require.NoError(t, err)
		run, err := r.Run(t.Context(), 20260302, 1, order("li"))
		require.NoError(t, err)
		require.Zero(t, run.Exceptions)
		steps := map[tariff.Kind]int{}
		require.NoError(t, d.legs(t.Context(), func(e *settlement.Entry, _ []tariff.Leg) {
			if e.Step != 0 || e.VAT != 0 || e.Held != 0 {
				steps[e.Kind]++
			}
		}))
		require.Len(t, steps, 4, "FEE, CBK, REP, and RDM that are held")
		setting, err := d.Setting(t.Context())
		require.NoError(t, err)
		for _, party := range setting.Parties {
			set := filepath.Join(r.Folder(run), party.Member.String())
			report, err := files.Verify(os.DirFS(set), nil, files.Check{Scale: settlement.Scale})
			require.NoError(t, err)
			require.True(t, report.OK, "%v %v: %v", model, party.Member, report.Breaches)
			require.FileExists(t, filepath.Join(set, files.WholeName(files.NTF, party.Member, 20260302, 1, "xml").String()))
		}
	}
}
