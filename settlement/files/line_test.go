package files

import (
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// tariffs are rates with odd terms and fees with shares for the property below.
func tariffs(t require.TestingT) (*tariff.Rates, *tariff.Fees) {
	rates, fees := tariff.NewRates(), tariff.NewFees()
	const from = tariff.LeadTime + 1
	for _, program := range []points.ProgramID{901, 902} {
		for side, terms := range map[tariff.Side]tariff.Terms{tariff.Clear: {Num: 7, Den: 20}, tariff.Buy: {Num: 1237, Den: 999}, tariff.Sell: {Num: 97, Den: 31}} {
			terms.Program, terms.Side, terms.From = program, side, from
			if side == tariff.Buy {
				terms.SpreadPPM = 2700
			}
			rate, err := rates.Next(terms, "ann", "bob", 1)
			require.NoError(t, err)
			require.NoError(t, rates.Append(rate))
		}
	}
	share := []tariff.Share{{Role: tariff.RoleOperator, Weight: 5}, {Member: 40, Weight: 3}, {Role: tariff.RoleAcquirer, Weight: 1}, {Role: tariff.RoleIssuer, Weight: 1}}
	schedule, err := fees.Next(from, []tariff.FeeRow{
		{Kind: tariff.KindRDM, InterchangePPM: 11_000, PPM: 5000, Fixed: 3, Min: 5, VATPPM: 60_000, Shares: share},
		{Kind: tariff.KindEAR, InterchangePPM: 7000, PPM: 900, VATPPM: 60_000},
		{Kind: tariff.KindSWP, VATPPM: 60_000, Shares: share},
	}, "ann", "bob", 1)
	require.NoError(t, err)
	require.NoError(t, fees.Append(schedule))
	return rates, fees
}

// anyItem draws an item of any kind; who takes part in it may be one member.
func anyItem(t *rapid.T, position points.Position) tariff.Item {
	member := rapid.SampledFrom([]tariff.Member{10, 20, 30, 40})
	i := tariff.Item{
		Position: position, Kind: tariff.Kind(rapid.IntRange(1, 9).Draw(t, "kind")), Program: 901, At: tariff.LeadTime + 1,
		Issuer: member.Draw(t, "issuer"), Acquirer: member.Draw(t, "acquirer"), Amount: points.Amount(rapid.Int64Range(1, 5000).Draw(t, "amount")),
	}
	if i.Kind.Undoing() {
		i.Of, i.OriginalAt = tariff.Kind(rapid.IntRange(1, 3).Draw(t, "of")), i.At
		i.Refunded = points.Amount(rapid.Int64Range(0, 4000).Draw(t, "refunded"))
		if i.Kind == tariff.KindREP {
			i.Refunded += i.Amount
		} else {
			i.Amount = -i.Amount
		}
	}
	if original(&i) == tariff.KindSWP {
		i.Target, i.TargetProgram = member.Draw(t, "target"), 902
	}
	if i.Kind.Explicit() {
		i.Program, i.Payer, i.Payee = points.Standard, member.Draw(t, "payer"), tariff.AccountSuspense
		i.Issuer, i.Acquirer = 0, 0
	}
	return i
}

// TestValuedLinesVerify: whatever is valued, its lines in the files of all who take part
// are what Verify computes, and what each member's lines come to is what its legs come to,
// summed by another way.
func TestValuedLinesVerify(t *testing.T) {
	rates, fees := tariffs(t)
	valued := 0
	rapid.Check(t, func(t *rapid.T) {
		lines := make(map[Receiver][]Line)
		owed := make(map[tariff.Member]*big.Int)
		for n := range rapid.IntRange(1, 30).Draw(t, "items") {
			item := anyItem(t, points.Position(n+1))
			var v tariff.Valuation
			if fault := tariff.Value(rates, fees, &item, &v); fault != tariff.OK {
				continue
			}
			valued++
			for _, to := range Receivers(nil, &item, &v) {
				l := basic(0)
				l.Value(&item, &v, to)
				lines[to] = append(lines[to], l)
			}
			for _, leg := range v.Legs() {
				for m, sign := range map[tariff.Member]int64{leg.Creditor: 1, leg.Debtor: -1} {
					if owed[m] == nil {
						owed[m] = new(big.Int)
					}
					owed[m].Add(owed[m], big.NewInt(sign*int64(leg.Amount)))
				}
			}
		}
		m := memory{}
		come := make(map[tariff.Member]Sum)
		for to, all := range lines {
			h := testHeader(to.Role)
			h.Receiver = to.Member
			w, err := NewDetail(h, uint64(len(all)), false, m.create)
			require.NoError(t, err)
			for i := range all {
				require.NoError(t, w.Write(&all[i], ""))
			}
			_, err = w.Close()
			require.NoError(t, err)
			come[to.Member] = come[to.Member].Add(w.Net())
		}
		if len(m) == 0 {
			return
		}
		r, err := Verify(m.folder(), nil, Check{Scale: Scale})
		require.NoError(t, err)
		require.Empty(t, r.Breaches)
		for member, sum := range owed {
			if member.Institution() {
				require.Equal(t, sum.String(), come[member].Digits(), member)
			}
		}
	})
	require.Greater(t, valued, 300)
}

// Of a part of a swap that is undone net may be two units beside what the part is worth, as
// here: the value and the issuer's share of the spread are each rounded at both its ends.
func TestUndonePartOfASwapVerifies(t *testing.T) {
	rates, fees := tariffs(t)
	item := tariff.Item{
		Position: 1, Kind: tariff.KindRFD, Of: tariff.KindSWP, Program: 901, At: tariff.LeadTime + 1, OriginalAt: tariff.LeadTime + 1,
		Issuer: 20, Acquirer: 10, Amount: -65, Refunded: 1622, Target: 10, TargetProgram: 902,
	}
	var v tariff.Valuation
	require.Equal(t, tariff.OK, tariff.Value(rates, fees, &item, &v))
	l := basic(0)
	l.Value(&item, &v, Receiver{Member: 20, Role: RoleIssuer})
	worth, _ := worthOf(&l, RoleIssuer)
	require.Equal(t, []points.Amount{80, 82}, []points.Amount{worth, l.Net})
	require.True(t, swapped(&l, worth))
	l.Net++
	require.False(t, swapped(&l, worth))
}
