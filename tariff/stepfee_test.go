package tariff_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// tables are a rate of 125/2 for a programme, and a schedule, in force from 300,000,001 on.
func tables(t require.TestingT, rows ...tariff.FeeRow) (*tariff.Rates, *tariff.Fees, error) {
	rates, fees := tariff.NewRates(), tariff.NewFees()
	const now, from = 1, 1 + tariff.LeadTime
	rate, err := rates.Next(tariff.Terms{Program: 901, Side: tariff.Clear, From: from, Num: 125, Den: 2}, "li", "wang", now)
	require.NoError(t, err)
	require.NoError(t, rates.Append(rate))
	schedule, err := fees.Next(from, rows, "li", "wang", now)
	if err != nil {
		return nil, nil, err
	}
	return rates, fees, fees.Append(schedule)
}

// Rows of disputes want a payer that has no share of its own fee; what no step or hold can
// have is refused with its row.
func TestRowsOfDisputes(t *testing.T) {
	for want, row := range map[string]tariff.FeeRow{
		"payer ? of kind CBK":             {Kind: tariff.KindCBK, Fixed: 5},
		"payer operator of kind REP":      {Kind: tariff.KindREP, Fixed: 5, Payer: tariff.RoleOperator},
		"payer issuer of kind RDM":        {Kind: tariff.KindRDM, Payer: tariff.RoleIssuer},
		"kind RFD has no fees":            {Kind: tariff.KindRFD},
		"kind ADJ has no fees":            {Kind: tariff.KindADJ},
		"has no interchange":              {Kind: tariff.KindCBK, InterchangePPM: 1, Payer: tariff.RoleIssuer},
		"that of a retrieval (FEE) is":    {Kind: tariff.KindFEE, Payer: tariff.RoleIssuer},
		"kind FEE: what":                  {Kind: tariff.KindFEE, Fixed: 5, PPM: 1, Payer: tariff.RoleIssuer},
		"the issuer pays the fee":         {Kind: tariff.KindCBK, Fixed: 5, Payer: tariff.RoleIssuer, Shares: []tariff.Share{{Role: tariff.RoleIssuer, Weight: 1}}},
		"kind EAR cannot be locked":       {Kind: tariff.KindEAR, LockAtHold: true},
		"kind CBK cannot be locked":       {Kind: tariff.KindCBK, Fixed: 5, Payer: tariff.RoleIssuer, LockAtHold: true},
		"share 1: only a swap has a targ": {Kind: tariff.KindREP, Payer: tariff.RoleIssuer, Shares: []tariff.Share{{Role: tariff.RoleTarget, Weight: 1}}},
	} {
		_, _, err := tables(t, row)
		require.ErrorContains(t, err, want)
	}
	_, plain, err := tables(t, tariff.FeeRow{Kind: tariff.KindRDM})
	require.NoError(t, err)
	_, locked, err := tables(t, tariff.FeeRow{Kind: tariff.KindRDM, LockAtHold: true})
	require.NoError(t, err)
	require.NotEqual(t, plain.Version(1).Digest, locked.Version(1).Digest)
	require.Equal(t, []bool{false, true}, []bool{plain.Locks(), locked.Locks()})
}

// What a step costs is paid once, by its payer, whichever way the value goes: beside it all is
// as without the fee, its shares and VAT come to it, and it is within its bounds.
func TestStepCostsItsFee(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		small := func(label string, most int64) points.Amount {
			return points.Amount(rapid.Int64Range(0, most).Draw(t, label))
		}
		kind := rapid.SampledFrom([]tariff.Kind{tariff.KindCBK, tariff.KindREP}).Draw(t, "kind")
		row := tariff.FeeRow{Kind: kind, PPM: uint32(small("ppm", 1_000_000)), Fixed: small("fixed", 1000), Min: small("min", 500), VATPPM: uint32(small("vat", 1_000_000)), Payer: rapid.SampledFrom([]tariff.Role{tariff.RoleIssuer, tariff.RoleAcquirer}).Draw(t, "payer")}
		if rapid.Bool().Draw(t, "bounded") {
			row.Max = row.Min + small("max", 5000) + 1
		}
		const issuer, acquirer, third = 10_000_001, 20_000_001, 30_000_001
		payer, payee := tariff.Member(acquirer), tariff.Member(issuer)
		if row.Payer == tariff.RoleIssuer {
			payer, payee = payee, payer
		}
		row.Shares = []tariff.Share{{Member: payee, Weight: 3}, {Member: third, Weight: 2}, {Role: tariff.RoleOperator, Weight: 2}}
		rates, fees, err := tables(t, tariff.FeeRow{Kind: tariff.KindRDM, InterchangePPM: 7000, PPM: 3000, VATPPM: 60_000}, row)
		require.NoError(t, err)
		amount := small("amount", 1_000_000) + 1
		item := tariff.Item{Kind: kind, Of: tariff.KindRDM, Issuer: issuer, Acquirer: acquirer, Program: 901, Amount: amount, Refunded: amount, Whole: amount, At: 2 + tariff.LeadTime, OriginalAt: 1 + tariff.LeadTime}
		if kind == tariff.KindCBK {
			item.Amount, item.Refunded = -amount, 0
		}
		nets := func() (nets map[tariff.Member]points.Amount, v tariff.Valuation) {
			require.Equal(t, tariff.OK, tariff.Value(rates, fees, &item, &v))
			nets = map[tariff.Member]points.Amount{}
			for _, leg := range v.Legs() {
				nets[leg.Debtor] -= leg.Amount
				nets[leg.Creditor] += leg.Amount
			}
			return nets, v
		}
		without, v := nets()
		item.Step = kind
		with, _ := nets()
		value := max(v.Std, -v.Std)
		fee, _ := tariff.HalfEven(value, uint64(row.PPM), tariff.Million)
		fee = max(fee+row.Fixed, row.Min)
		if row.Max != 0 {
			fee = min(fee, row.Max)
		}
		require.Equal(t, -fee, with[payer]-without[payer])
		sum := points.Amount(0)
		for _, m := range []tariff.Member{payee, third, tariff.AccountFee, tariff.AccountVAT} {
			require.GreaterOrEqual(t, with[m], without[m])
			sum += with[m] - without[m]
		}
		require.Equal(t, fee, sum)
	})
}

// A capture that is locked has the rate and fees of its hold to the unit, as if it had been
// decided then; a step or a lock that no item can have is a fault, and leaves no legs.
func TestHeldItems(t *testing.T) {
	rates, fees, err := tables(t, tariff.FeeRow{Kind: tariff.KindRDM, PPM: 3000, Min: 7, LockAtHold: true})
	require.NoError(t, err)
	next, err := rates.Next(tariff.Terms{Program: 901, Side: tariff.Clear, From: 3 * tariff.LeadTime, Num: 9, Den: 1}, "li", "wang", 2)
	require.NoError(t, err)
	require.NoError(t, rates.Append(next))
	item := tariff.Item{Kind: tariff.KindRDM, Issuer: 1, Acquirer: 2, Program: 901, Amount: 1001, At: 2 * tariff.LeadTime}
	var then, held tariff.Valuation
	require.Equal(t, tariff.OK, tariff.Value(rates, fees, &item, &then))
	require.True(t, fees.Locked(&item, item.At))
	item.At, item.Held = 5*tariff.LeadTime, item.At
	require.Equal(t, tariff.OK, tariff.Value(rates, fees, &item, &held))
	require.Equal(t, then, held)
	require.Equal(t, points.Amount(62_562), held.Std, "62562.5 to the even unit")
	for _, wrong := range []func(*tariff.Item){
		func(i *tariff.Item) { i.Held = i.At + 1 },
		func(i *tariff.Item) { i.Kind, i.Held = tariff.KindEAR, 5 },
		func(i *tariff.Item) { i.Step = tariff.KindCBK },
		func(i *tariff.Item) { i.VAT = 1 },
	} {
		bad := item
		wrong(&bad)
		require.NotEqual(t, tariff.OK, tariff.Value(rates, fees, &bad, &held))
		require.Empty(t, held.Legs())
	}
}
