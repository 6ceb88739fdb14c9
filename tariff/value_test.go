package tariff_test

import (
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// day is rates and fees of an ordinary day, all in force ten minutes after dawn: 900 is
// worth 2/3 and 901 7/5 units, redemptions cost 0.5 % but 20 at least and 2,000 at most,
// of which an eighth goes to the brand 30000003.
func day(t require.TestingT) (*tariff.Rates, *tariff.Fees) {
	rates := tariff.NewRates()
	for program, worth := range map[points.ProgramID][2]uint64{900: {2, 3}, 901: {7, 5}} {
		terms := tariff.Terms{Program: program, Side: tariff.Clear, From: dawn + 10*minute, Num: worth[0], Den: worth[1]}
		approve(t, rates, terms, dawn)
		terms.Side, terms.SpreadPPM = tariff.Buy, 15_000
		approve(t, rates, terms, dawn)
		terms.Side, terms.SpreadPPM = tariff.Sell, 0
		approve(t, rates, terms, dawn)
	}
	return rates, charge(t,
		tariff.FeeRow{
			Kind: tariff.KindRDM, InterchangePPM: 12_000, PPM: 4_000, Fixed: 3, Min: 20, Max: 2_000, VATPPM: 60_000,
			Shares: []tariff.Share{{Role: tariff.RoleOperator, Weight: 6}, {Role: tariff.RoleIssuer, Weight: 1}, {Member: 30000003, Weight: 1}},
		},
		tariff.FeeRow{Kind: tariff.KindEAR, PPM: 1_000, VATPPM: 60_000},
		tariff.FeeRow{Kind: tariff.KindSWP, VATPPM: 60_000},
	)
}

func redemption() tariff.Item {
	return tariff.Item{Kind: tariff.KindRDM, Issuer: 10000001, Acquirer: 20000002, Program: 900, MCC: 5411, Amount: 123_457, At: dawn + 20*minute}
}

func swap() tariff.Item {
	item := redemption()
	item.Kind, item.Target, item.TargetProgram = tariff.KindSWP, 10000009, 901
	return item
}

// undoing makes the item that undoes amount of original, of which refunded was undone.
func undoing(kind tariff.Kind, original tariff.Item, refunded, amount points.Amount) tariff.Item {
	item := original
	item.Kind, item.Of, item.OriginalAt, item.Refunded, item.Amount = kind, original.Kind, original.At, refunded, -amount
	item.At += 60 * minute
	return item
}

// What cannot be valued is a fault with a sentence, never a panic and never legs.
func TestFaults(t *testing.T) {
	rates, fees := day(t)
	refund := func(change func(*tariff.Item)) tariff.Item {
		item := undoing(tariff.KindRFD, redemption(), 10, 20)
		change(&item)
		return item
	}
	change := func(item tariff.Item, change func(*tariff.Item)) tariff.Item {
		change(&item)
		return item
	}
	adjustment := tariff.Item{Kind: tariff.KindADJ, Program: points.Standard, Payer: 1, Payee: 2, Amount: 5}
	quoted := change(swap(), func(i *tariff.Item) { i.Quoted = tariff.Swap{Value: 100, Spread: 10, Worth: 80, Granted: 70} })
	for name, c := range map[string]struct {
		item tariff.Item
		want tariff.Fault
	}{
		"no kind":                    {tariff.Item{}, tariff.BadKind},
		"kind out of range":          {tariff.Item{Kind: 200}, tariff.BadKind},
		"refund of nothing":          {refund(func(i *tariff.Item) { i.Of = 0 }), tariff.BadKind},
		"refund of a refund":         {refund(func(i *tariff.Item) { i.Of = tariff.KindRFD }), tariff.BadKind},
		"refund of an adjustment":    {refund(func(i *tariff.Item) { i.Of = tariff.KindADJ }), tariff.BadKind},
		"redemption of a redemption": {change(redemption(), func(i *tariff.Item) { i.Of = tariff.KindRDM }), tariff.BadOriginal},
		"redemption refunded":        {change(redemption(), func(i *tariff.Item) { i.Refunded = 1 }), tariff.BadOriginal},
		"redemption of a part":       {change(redemption(), func(i *tariff.Item) { i.Whole = 1 }), tariff.BadOriginal},
		"nothing":                    {change(redemption(), func(i *tariff.Item) { i.Amount = 0 }), tariff.BadAmount},
		"sixteen digits":             {change(redemption(), func(i *tariff.Item) { i.Amount = tariff.MaxValue + 1 }), tariff.BadAmount},
		"sixteen digits back":        {refund(func(i *tariff.Item) { i.Amount = -tariff.MaxValue - 1 }), tariff.BadAmount},
		"negative redemption":        {change(redemption(), func(i *tariff.Item) { i.Amount = -5 }), tariff.BadSign},
		"positive refund":            {refund(func(i *tariff.Item) { i.Amount = 5 }), tariff.BadSign},
		"negative re-presentment":    {refund(func(i *tariff.Item) { i.Kind = tariff.KindREP }), tariff.BadSign},
		"negative adjustment":        {change(adjustment, func(i *tariff.Item) { i.Amount = -5 }), tariff.BadSign},
		"no issuer":                  {change(redemption(), func(i *tariff.Item) { i.Issuer = 0 }), tariff.BadMember},
		"no acquirer":                {change(redemption(), func(i *tariff.Item) { i.Acquirer = 0 }), tariff.BadMember},
		"nine digits":                {change(redemption(), func(i *tariff.Item) { i.Issuer = 123_456_789 }), tariff.BadMember},
		"an account":                 {change(redemption(), func(i *tariff.Item) { i.Acquirer = tariff.AccountFee }), tariff.BadMember},
		"swap to nobody":             {change(swap(), func(i *tariff.Item) { i.Target = 0 }), tariff.BadMember},
		"adjustment with oneself":    {change(adjustment, func(i *tariff.Item) { i.Payee = 1 }), tariff.BadMember},
		"adjustment of nobody":       {change(adjustment, func(i *tariff.Item) { i.Payer = 0 }), tariff.BadMember},
		"adjustment in points":       {change(adjustment, func(i *tariff.Item) { i.Program = 900 }), tariff.BadMember},
		"no original":                {refund(func(i *tariff.Item) { i.OriginalAt = 0 }), tariff.BadOriginal},
		"original later":             {refund(func(i *tariff.Item) { i.OriginalAt = i.At + 1 }), tariff.BadOriginal},
		"negative refunded":          {refund(func(i *tariff.Item) { i.Refunded = -1 }), tariff.BadOriginal},
		"more refunded than fits":    {refund(func(i *tariff.Item) { i.Refunded = tariff.MaxValue }), tariff.BadOriginal},
		"more back than undone":      {refund(func(i *tariff.Item) { i.Kind, i.Amount = tariff.KindREP, 11 }), tariff.BadOriginal},
		"quote of a redemption":      {change(redemption(), func(i *tariff.Item) { i.Quoted.Value = 1 }), tariff.BadQuote},
		"quote gives more":           {change(quoted, func(i *tariff.Item) { i.Quoted.Worth = 91 }), tariff.BadQuote},
		"quote takes back":           {change(quoted, func(i *tariff.Item) { i.Quoted.Spread = -1 }), tariff.BadQuote},
		"part of a quote":            {undoing(tariff.KindRVS, quoted, 5, 5), tariff.BadQuote},
		"before the first rate":      {change(redemption(), func(i *tariff.Item) { i.At = dawn + 10*minute - 1 }), tariff.NoRate},
		"original before the first":  {refund(func(i *tariff.Item) { i.OriginalAt = dawn + 10*minute - 1 }), tariff.NoRate},
		"programme without rate":     {change(redemption(), func(i *tariff.Item) { i.Program = 950 }), tariff.NoRate},
		"standard points":            {change(redemption(), func(i *tariff.Item) { i.Program = points.Standard }), tariff.NoRate},
		"target without rate":        {change(swap(), func(i *tariff.Item) { i.TargetProgram = 950 }), tariff.NoTargetRate},
	} {
		t.Run(name, func(t *testing.T) {
			item := redemption()
			var v tariff.Valuation
			require.Equal(t, tariff.OK, tariff.Value(rates, fees, &item, &v))
			require.NotEmpty(t, v.Legs())
			require.Equal(t, c.want, tariff.Value(rates, fees, &c.item, &v), "%v", c.want)
			require.Empty(t, v.Legs())
			require.Zero(t, v.Std)
			require.NotEqual(t, "unknown fault", c.want.String())
			require.NotEmpty(t, c.want.String())
		})
	}
	require.Equal(t, "unknown fault", tariff.Fault(99).String())

	item := redemption()
	var v tariff.Valuation
	require.Equal(t, tariff.NoFees, tariff.Value(rates, tariff.NewFees(), &item, &v))
	require.Equal(t, tariff.NoFeeRow, tariff.Value(rates, charge(t, tariff.FeeRow{Kind: tariff.KindEAR}), &item, &v))
}

// Whatever an item says, it is valued or refused: no panic, and every leg is positive and
// between two members, with room for all of them in the files.
func TestAnythingIsValuedOrRefused(t *testing.T) {
	rates, fees := day(t)
	valued := 0
	rapid.Check(t, func(t *rapid.T) {
		member := func(name string) tariff.Member {
			return tariff.Member(rapid.OneOf(rapid.Uint32(), rapid.SampledFrom([]uint32{0, 1, 2, 3})).Draw(t, name))
		}
		amount := func(name string) points.Amount {
			return rapid.OneOf(amounts(), rapid.Custom(func(t *rapid.T) points.Amount { return points.Amount(wholes(uint64(tariff.MaxValue)).Draw(t, "")) })).Draw(t, name)
		}
		program := func(name string) points.ProgramID {
			return points.ProgramID(rapid.SampledFrom([]uint16{900, 901, 900, 901, 999, 65535}).Draw(t, name))
		}
		for range 30 {
			item := tariff.Item{
				Kind:   tariff.Kind(rapid.Uint8Range(0, 12).Draw(t, "kind")),
				Issuer: member("issuer"), Acquirer: member("acquirer"), Target: member("target"), Payer: member("payer"), Payee: member("payee"),
				Program: program("programme"), TargetProgram: program("into"), MCC: rapid.Uint16().Draw(t, "mcc"), Amount: amount("amount"),
				At: dawn + 30*minute + points.Timestamp(rapid.IntRange(0, 1).Draw(t, "at")),
			}
			if rapid.Bool().Draw(t, "undoing") {
				item.Of = tariff.Kind(rapid.SampledFrom([]uint8{0, 1, 2, 3, 4, 255}).Draw(t, "of"))
				item.OriginalAt, item.Refunded, item.Whole = dawn+30*minute, amount("refunded"), amount("whole")
			}
			if rapid.IntRange(0, 5).Draw(t, "quoted") == 0 {
				item.Quoted = tariff.Swap{Value: amount("value"), Spread: amount("spread"), Worth: amount("worth"), Granted: amount("granted")}
			}
			var v tariff.Valuation
			if tariff.Value(rates, fees, &item, &v) != tariff.OK {
				require.Empty(t, v.Legs())
				continue
			}
			valued++
			for _, leg := range v.Legs() {
				require.Positive(t, leg.Amount)
				require.LessOrEqual(t, leg.Amount, tariff.MaxValue)
				require.NotEqual(t, leg.Debtor, leg.Creditor)
				require.True(t, leg.Debtor.Valid() && leg.Creditor.Valid())
				require.NotEqual(t, "?", leg.Code.String())
			}
		}
	})
	require.Positive(t, valued)
}

// Products that do not fit, and results with more digits than files have, are faults too.
func TestFaultsOfSize(t *testing.T) {
	rates := tariff.NewRates()
	for program, terms := range map[points.ProgramID][2]uint64{900: {tariff.MaxTerm, 1}, 901: {10, 1}, 902: {1, 1}, 903: {1, tariff.MaxTerm}} {
		for side := tariff.Clear; side <= tariff.Sell; side++ {
			approve(t, rates, tariff.Terms{Program: program, Side: side, From: dawn + 10*minute, Num: terms[0], Den: terms[1]}, dawn)
		}
	}
	fees := charge(t, tariff.FeeRow{Kind: tariff.KindEAR, Program: 901, Fixed: 10}, tariff.FeeRow{Kind: tariff.KindRDM, InterchangePPM: 10_000}, tariff.FeeRow{Kind: tariff.KindEAR, PPM: 2_000}, tariff.FeeRow{Kind: tariff.KindSWP})
	for name, c := range map[string]struct {
		kind            tariff.Kind
		program, target points.ProgramID
		amount          points.Amount
		want            tariff.Fault
	}{
		"the value does not fit":          {tariff.KindRDM, 900, 0, tariff.MaxValue, tariff.Overflow},
		"the value has sixteen digits":    {tariff.KindEAR, 901, 0, tariff.MaxValue/10 + 1, tariff.TooWide},
		"value and fees have sixteen":     {tariff.KindEAR, 901, 0, tariff.MaxValue / 10, tariff.TooWide},
		"value and fees have fifteen":     {tariff.KindEAR, 901, 0, tariff.MaxValue/10 - 1, tariff.OK},
		"the interchange has thirteen":    {tariff.KindRDM, 902, 0, tariff.MaxValue, tariff.TooWide},
		"the fee has thirteen":            {tariff.KindEAR, 902, 0, tariff.MaxValue, tariff.TooWide},
		"just wide enough":                {tariff.KindEAR, 902, 0, tariff.MaxValue / 4, tariff.OK},
		"what is granted does not fit":    {tariff.KindSWP, 902, 903, tariff.MaxValue, tariff.Overflow},
		"what is granted has sixteen":     {tariff.KindSWP, 902, 903, 100_000, tariff.TooWide},
		"what is swapped does not fit":    {tariff.KindSWP, 900, 902, tariff.MaxValue, tariff.Overflow},
		"what is swapped has sixteen":     {tariff.KindSWP, 901, 902, tariff.MaxValue / 5, tariff.TooWide},
		"what rounding leaves has twelve": {tariff.KindSWP, 902, 900, points.Amount(tariff.MaxTerm) - 1, tariff.OK},
	} {
		item := redemption()
		item.Kind, item.Program, item.TargetProgram, item.Target, item.Amount = c.kind, c.program, c.target, 5, c.amount
		var v tariff.Valuation
		require.Equal(t, c.want, tariff.Value(rates, fees, &item, &v), name)
		require.Equal(t, c.want != tariff.OK, len(v.Legs()) == 0, name)

		// P6: what was not cleared is not undone, not even the part that could be valued alone.
		part := undoing(tariff.KindRVS, item, 0, 1)
		part.Whole = item.Amount
		require.Equal(t, c.want, tariff.Value(rates, fees, &part, &v), "a part: "+name)
		require.Equal(t, c.want != tariff.OK, len(v.Legs()) == 0 && v.Std == 0, "a part: "+name)
		rest := undoing(tariff.KindRVS, item, 1, item.Amount-1)
		rest.Whole = item.Amount
		require.Equal(t, c.want, tariff.Value(rates, fees, &rest, &v), "the rest: "+name)
	}
}

// P7: a swap creates no value: what is granted is worth no more than what came in less the
// spread, and what rounding leaves is less than one unit of the target, and one.
func TestSwapCreatesNoValue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		buy := tariff.Rate{Terms: tariff.Terms{
			Num: wholes(tariff.MaxTerm-1).Draw(t, "num") + 1, Den: wholes(tariff.MaxTerm-1).Draw(t, "den") + 1,
			SpreadPPM: uint32(wholes(uint64(tariff.MaxSpread)).Draw(t, "spread")),
		}}
		sell := tariff.Rate{Terms: tariff.Terms{Num: wholes(tariff.MaxTerm-1).Draw(t, "sell num") + 1, Den: wholes(tariff.MaxTerm-1).Draw(t, "sell den") + 1}}
		s, fault := tariff.ValueSwap(&buy, &sell, points.Amount(wholes(uint64(tariff.MaxValue)-1).Draw(t, "amount")+1))
		if fault != tariff.OK {
			return
		}
		require.GreaterOrEqual(t, s.Spread, points.Amount(0))
		require.LessOrEqual(t, s.Worth, s.Value-s.Spread)
		require.GreaterOrEqual(t, s.Rest(), points.Amount(0))
		// rest < num/den + 1, that is (rest-1)*den < num.
		left := new(big.Int).Mul(big.NewInt(int64(s.Rest())-1), new(big.Int).SetUint64(sell.Den))
		require.Negative(t, left.Cmp(new(big.Int).SetUint64(sell.Num)), "%+v", s)
		// And one unit more would have been worth too much.
		more := new(big.Int).Mul(big.NewInt(int64(s.Granted)+1), new(big.Int).SetUint64(sell.Num))
		in := new(big.Int).Mul(big.NewInt(int64(s.Value-s.Spread)), new(big.Int).SetUint64(sell.Den))
		require.Positive(t, more.Cmp(in))
	})
}

// A quoted swap has the figures of its quote, whatever the rates say by now, and its
// reversal has the same the other way round.
func TestQuotedSwap(t *testing.T) {
	rates, fees := day(t)
	item := swap()
	item.Program = 950 // no rate
	item.Quoted = tariff.Swap{Value: 1000, Spread: 106, Worth: 880, Granted: 70}
	var v tariff.Valuation
	require.Equal(t, tariff.OK, tariff.Value(rates, fees, &item, &v))
	require.Nil(t, v.Rate)
	want := []tariff.Leg{
		{10000001, 10000009, 880, tariff.CodeSWP},
		{10000001, tariff.AccountFee, 100, tariff.CodeSWF},
		{10000001, tariff.AccountVAT, 6, tariff.CodeVAT},
		{10000001, tariff.AccountRound, 14, tariff.CodeRND},
	}
	require.Equal(t, want, v.Legs())

	back := undoing(tariff.KindRVS, item, 0, item.Amount)
	require.Equal(t, tariff.OK, tariff.Value(rates, fees, &back, &v))
	for i := range want {
		want[i].Debtor, want[i].Creditor = want[i].Creditor, want[i].Debtor
	}
	want[0].Code = tariff.CodeRVS
	require.Equal(t, want, v.Legs())
}

// A swap pays the fees that were in force when it was quoted, though others are by now, and
// so does what undoes it.
func TestAPromiseOfFeesIsKept(t *testing.T) {
	rates, fees := day(t)
	later, err := fees.Next(dawn+30*minute, []tariff.FeeRow{{Kind: tariff.KindSWP}}, "ann", "bob", dawn)
	require.NoError(t, err)
	require.NoError(t, fees.Append(later))
	item := swap()
	item.Quoted, item.At = tariff.Swap{Value: 1000, Spread: 106, Worth: 880, Granted: 70}, dawn+40*minute
	for promised, vat := range map[points.Timestamp]points.Amount{0: 0, dawn + 20*minute: 6, dawn + 30*minute: 0} {
		item.Promised = promised
		var v tariff.Valuation
		require.Equal(t, tariff.OK, tariff.Value(rates, fees, &item, &v))
		require.Equal(t, vat, v.VAT, "promised at %v", promised)
		back := undoing(tariff.KindRVS, item, 0, item.Amount)
		require.Equal(t, tariff.OK, tariff.Value(rates, fees, &back, &v))
		require.Equal(t, -vat, v.VAT, "promised at %v", promised)
	}
}

// What each member sees of an item sums to zero, and its columns to its net.
func TestViewsSumToZero(t *testing.T) {
	rates, fees := day(t)
	var v tariff.Valuation
	for _, item := range []tariff.Item{redemption(), swap(), undoing(tariff.KindRFD, redemption(), 17, 1000), undoing(tariff.KindCBK, swap(), 0, 999)} {
		require.Equal(t, tariff.OK, tariff.Value(rates, fees, &item, &v))
		var sum points.Amount
		for _, member := range append([]tariff.Member{10000001, 20000002, 30000003, 10000009, 5}, []tariff.Member{tariff.AccountFee, tariff.AccountVAT, tariff.AccountRound}...) {
			view := v.View(member)
			require.Equal(t, view.Net, view.Std+view.Interchange+view.SwitchFee+view.VAT+view.Other)
			sum += view.Net
		}
		require.Zero(t, sum)
	}
	item := redemption()
	require.Equal(t, tariff.OK, tariff.Value(rates, fees, &item, &v))
	// 123457 * 2/3 = 82304.67; 1.2 % of 82305 is 987.66; 0.4 % is 329.22, and 3; 332*6/106 is 18.79;
	// 313 in eighths: 234.75, 39.125, 39.125, and the unit left goes to the operator.
	require.Equal(t, tariff.View{Std: 82305, Interchange: -988, SwitchFee: -235, VAT: -19, Other: -78, Net: 80985}, v.View(20000002))
	require.Equal(t, tariff.View{Std: -82305, Interchange: 988, Other: 39, Net: -81278}, v.View(10000001))
	require.Equal(t, tariff.View{Other: 39, Net: 39}, v.View(30000003))
}

// Valuing allocates nothing, whatever the item.
func TestValueAllocatesNothing(t *testing.T) {
	rates, fees := day(t)
	var v tariff.Valuation
	for _, item := range []tariff.Item{redemption(), swap(), undoing(tariff.KindRFD, redemption(), 17, 1000), undoing(tariff.KindRVS, swap(), 0, 123_457)} {
		require.Zero(t, testing.AllocsPerRun(100, func() { tariff.Value(rates, fees, &item, &v) }), "%v", item.Kind)
		require.NotEmpty(t, v.Legs())
	}
}
