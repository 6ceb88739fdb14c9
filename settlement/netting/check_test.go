package netting

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// folded is a fold of one debt of 100 from 1 to 2, 40 back, and 7 from 1 to 3.
func folded(t *testing.T) *Fold {
	t.Helper()
	roll, err := NewRoll([]Party{{3, 1}, {1, 1}, {2, 1}})
	require.NoError(t, err)
	models, err := NewModels(1, []Rule{{One: Any, Other: Any, Model: MNET}})
	require.NoError(t, err)
	f, err := NewFold(roll, models)
	require.NoError(t, err)
	for _, debt := range [][3]int{{1, 2, 100}, {2, 1, 40}, {1, 3, 7}} {
		item := tariff.Item{
			Kind: tariff.KindADJ, Program: points.Standard, Payer: tariff.Member(debt[0]), Payee: tariff.Member(debt[1]), Amount: points.Amount(debt[2]),
		}
		var v tariff.Valuation
		require.Equal(t, tariff.OK, tariff.Value(nil, nil, &item, &v))
		require.Equal(t, tariff.OK, f.Add(&item, &v))
	}
	require.NoError(t, f.Check())
	return f
}

// P1 and P2 are looked at, not believed: a figure that is off is named with its member.
func TestCheckFindsWhatIsOff(t *testing.T) {
	f := folded(t)
	f.nets[MNET][0] = f.nets[MNET][0].Plus(SumOf(1))
	require.ErrorContains(t, f.Check(), "netting: MNET: all members sum to 1, not to zero; do not publish")

	f.nets[MNET][1] = f.nets[MNET][1].Minus(SumOf(1))
	require.ErrorContains(t, f.Check(), "netting: MNET: member 00000001 has -66 in all but -67 in pairs; do not publish")

	f = folded(t)
	f.met(MNET, 0, 1)[tariff.CodeADJ-1].higher = SumOf(41)
	require.ErrorContains(t, f.Check(), "member 00000001 has -67 in all but -66 in pairs")
}

// Members that are not on the roll, and kinds that are none, fold nothing.
func TestAddIsAllOrNothing(t *testing.T) {
	f := folded(t)
	before := f.Digest()
	var v tariff.Valuation
	for _, item := range []tariff.Item{
		{Kind: tariff.KindADJ, Program: points.Standard, Payer: 1, Payee: 9, Amount: 5}, {Kind: tariff.KindADJ, Program: points.Standard, Payer: 9, Payee: 1, Amount: 5},
	} {
		require.Equal(t, tariff.OK, tariff.Value(nil, nil, &item, &v))
		require.Equal(t, tariff.UnknownMember, f.Add(&item, &v))
	}
	require.Equal(t, tariff.BadKind, f.Add(&tariff.Item{}, &v))
	require.Equal(t, tariff.BadKind, f.Add(&tariff.Item{Kind: 200}, &v))
	require.Equal(t, before, f.Digest())
	require.Zero(t, f.Net(MNET, 9))
	require.Zero(t, f.Net(200, 1))
	require.Zero(t, f.Pair(MNET, 1, 9))
	require.Equal(t, "-60 -7 60", f.Pair(MNET, 1, 2).String()+" "+f.Pair(MNET, 1, 3).String()+" "+f.Pair(MNET, 2, 1).String())
	require.Zero(t, f.Model(&tariff.Item{Kind: tariff.KindADJ}, tariff.Leg{Debtor: 1, Creditor: 9}))
	require.Equal(t, MNET, f.Model(&tariff.Item{Kind: tariff.KindADJ}, tariff.Leg{Debtor: 1, Creditor: 2}))
}

// Folds of other runs are not merged.
func TestMergeRefusesAnotherRun(t *testing.T) {
	f, other := folded(t), folded(t)
	require.ErrorContains(t, f.Merge(other), "only folds of the same run can be merged")
	unwinding, err := NewUnwinding(f.roll, f.models, 1)
	require.NoError(t, err)
	require.ErrorContains(t, f.Merge(unwinding), "only folds of the same run can be merged")
	require.NoError(t, f.Merge(f.empty()))
}

func (f *Fold) empty() *Fold {
	e, _ := NewFold(f.roll, f.models)
	return e
}
