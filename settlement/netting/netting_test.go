package netting_test

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/netting"
	"github.com/lianfen/lianfen/tariff"
)

// roll is the members of a world, in two classes.
func (w *world) roll() *netting.Roll {
	var parties []netting.Party
	for i, member := range w.members {
		parties = append(parties, netting.Party{Member: member, Class: netting.Class(1 + i%2)})
	}
	return must(netting.NewRoll(parties))
}

// threeModels gives adjustments gross, debts between members of class 2 bilateral, and
// all others multilateral settlement.
func threeModels() *netting.Models {
	return must(netting.NewModels(2, []netting.Rule{
		{One: netting.Any, Other: netting.Any, Model: netting.MNET},
		{One: 2, Other: 2, Model: netting.BNET},
		{Kind: tariff.KindADJ, One: netting.Any, Other: netting.Any, Model: netting.GROSS},
		{Kind: tariff.KindADJ, One: 2, Other: 2, Model: netting.GROSS},
	}))
}

// fold values and folds items, and returns those that cannot be.
func fold(w *world, f *netting.Fold, items []tariff.Item) (exceptions []points.Position) {
	var v tariff.Valuation
	for i := range items {
		fault := tariff.Value(w.rates, w.fees, &items[i], &v)
		if fault == tariff.OK {
			fault = f.Add(&items[i], &v)
		}
		if fault != tariff.OK {
			exceptions = append(exceptions, items[i].Position)
		}
	}
	return exceptions
}

// net is what m has over all models, as an unbounded number.
func net(t require.TestingT, f *netting.Fold, m tariff.Member) *big.Int {
	sum := new(big.Int)
	for _, model := range []netting.Model{netting.MNET, netting.BNET, netting.GROSS} {
		n, ok := new(big.Int).SetString(f.Net(model, m).String(), 10)
		require.True(t, ok)
		sum.Add(sum, n)
	}
	return sum
}

// P8: what every member is owed is what an independent oracle says, to the last unit, and
// the same items go to the exception list. P1 and P2 hold besides.
func TestNetIsWhatTheOracleSays(t *testing.T) {
	exceptions, folded := 0, 0
	check := func(t require.TestingT, seed uint64, n int) {
		r := rand.New(rand.NewPCG(seed, 1))
		w := newWorld(r)
		w.trade(r, n)
		f := must(netting.NewFold(w.roll(), threeModels()))
		set := fold(w, f, w.items)
		require.NoError(t, f.Check())
		want := make(money)
		var wantSet []points.Position
		for i := range w.items {
			moved, ok := w.oracle.settle(&w.items[i])
			if !ok {
				wantSet = append(wantSet, w.items[i].Position)
				continue
			}
			for member, amount := range moved {
				want.put(member, amount)
			}
		}
		require.Equal(t, wantSet, set)
		all := new(big.Int)
		for i := range f.Roll().Len() {
			member := f.Roll().Member(i)
			got := net(t, f, member)
			want.put(member, new(big.Int))
			require.Equal(t, want[member].String(), got.String(), "seed %d: member %v", seed, member)
			all.Add(all, got)
		}
		require.Zero(t, all.Sign())
		require.Equal(t, uint64(n-len(set)), f.Counts().Items)
		exceptions, folded = exceptions+len(set), folded+n
	}
	rapid.Check(t, func(t *rapid.T) {
		check(t, rapid.Uint64().Draw(t, "seed"), rapid.IntRange(1, 40).Draw(t, "items"))
	})
	for seed := range uint64(8) {
		check(t, seed, 2_000)
	}
	require.Positive(t, exceptions)
	require.Less(t, exceptions, folded/4, "most items are folded")
}

// P3: positions do not depend on the order of items, nor on how many workers fold them.
func TestOrderAndWorkersDoNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.Uint64().Draw(t, "seed")
		r := rand.New(rand.NewPCG(seed, 2))
		w := newWorld(r)
		w.trade(r, rapid.IntRange(1, 60).Draw(t, "items"))
		roll, models := w.roll(), threeModels()
		alone := must(netting.NewFold(roll, models))
		fold(w, alone, w.items)

		r.Shuffle(len(w.items), func(i, j int) { w.items[i], w.items[j] = w.items[j], w.items[i] })
		workers := make([]*netting.Fold, rapid.IntRange(1, 5).Draw(t, "workers"))
		for i := range workers {
			workers[i] = must(netting.NewFold(roll, models))
			fold(w, workers[i], w.items[i*len(w.items)/len(workers):(i+1)*len(w.items)/len(workers)])
		}
		together := must(netting.NewFold(roll, models))
		for _, i := range r.Perm(len(workers)) {
			before := workers[i].Digest()
			require.NoError(t, together.Merge(workers[i]))
			require.Equal(t, before, workers[i].Digest())
		}
		require.NoError(t, together.Check())
		require.Equal(t, alone.Digest(), together.Digest())
		for range netting.Differences(alone, together) {
			t.Fatal("no position differs")
		}
	})
}

// P4: the same inputs give the same positions and the same run key; each of them shows in
// the key.
func TestSameInputsSameRun(t *testing.T) {
	make4 := func(seed uint64) (*world, *netting.Fold) {
		r := rand.New(rand.NewPCG(seed, 3))
		w := newWorld(r)
		w.trade(r, 300)
		f := must(netting.NewFold(w.roll(), threeModels()))
		fold(w, f, w.items)
		return w, f
	}
	w, f := make4(1)
	again, twice := make4(1)
	require.Equal(t, f.Digest(), twice.Digest())
	key := func(w *world) netting.RunKey {
		return netting.RunKey{
			Date: 20260302, Cycle: 1, Rates: w.rates.Digest(dawn + 24*hour), Fees: w.fees.Digest(dawn + 24*hour),
			Policy: netting.Policy(w.roll(), threeModels()), Input: netting.Root(nil, 0), Code: "v1",
		}
	}
	require.Equal(t, key(w).Digest(), key(again).Digest())
	other, _ := make4(2)
	seen := map[tariff.Digest]bool{key(w).Digest(): true}
	for _, change := range []func(*netting.RunKey){
		func(k *netting.RunKey) { k.Date++ }, func(k *netting.RunKey) { k.Cycle++ }, func(k *netting.RunKey) { k.Code = "v2" },
		func(k *netting.RunKey) { k.Rates = key(other).Rates }, func(k *netting.RunKey) { k.Fees = key(other).Fees },
		func(k *netting.RunKey) { k.Policy[0]++ }, func(k *netting.RunKey) { k.Input = netting.Root(nil, 1) },
	} {
		changed := key(w)
		change(&changed)
		require.False(t, seen[changed.Digest()])
		seen[changed.Digest()] = true
	}
}

// P6: an item and what undoes all of it, at once or in parts, some of it taken back and
// undone again, leave nothing in any account, fees and VAT included: at the original's
// rates, whatever has come into force since.
func TestUndoneLeavesNothing(t *testing.T) {
	check := func(t require.TestingT, seed uint64, amount func(*rand.Rand) points.Amount) {
		r := rand.New(rand.NewPCG(seed, 4))
		w := newWorld(r)
		w.trade(r, 1)
		item := &w.items[0]
		if !item.Kind.Original() {
			return
		}
		item.Amount = amount(r)
		for original := *item; ; {
			w.items = append(w.items, w.undo(r, &original, original.Position))
			if original.Refunded == original.Amount {
				break
			}
		}
		f := must(netting.NewFold(w.roll(), must(netting.NewModels(2, []netting.Rule{{One: netting.Any, Other: netting.Any, Model: netting.MNET}}))))
		set := fold(w, f, w.items)
		require.True(t, len(set) == 0 || len(set) == len(w.items), "all or none can be valued")
		for i := range f.Roll().Len() {
			require.Zero(t, f.Net(netting.MNET, f.Roll().Member(i)), "member %v", f.Roll().Member(i))
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		amount := rapid.OneOf(rapid.Int64Range(1, 1_000_000), rapid.Int64Range(1, 10_000_000_000_000)).Draw(t, "amount")
		check(t, rapid.Uint64().Draw(t, "seed"), func(*rand.Rand) points.Amount { return points.Amount(amount) })
	})
	// Swaps whose whole has no room in the files where their first part alone has.
	for _, seed := range []uint64{6560, 17951, 20489} {
		check(t, seed, func(r *rand.Rand) points.Amount { return points.Amount(1 + r.Int64N(1_000_000)) })
	}
}

// A minimum fee on an item that is worth nothing is given back by its reversal.
func TestLeastFeeOfNothingIsGivenBack(t *testing.T) {
	rates, fees := tariff.NewRates(), tariff.NewFees()
	require.NoError(t, rates.Append(must(rates.Next(tariff.Terms{Program: 900, Side: tariff.Clear, From: dawn + 10*minute, Num: 1, Den: 1000}, "ann", "bob", dawn))))
	require.NoError(t, fees.Append(must(fees.Next(dawn+10*minute, []tariff.FeeRow{{Kind: tariff.KindRDM, Min: 25, VATPPM: 60_000}}, "ann", "bob", dawn))))
	item := tariff.Item{Kind: tariff.KindRDM, Issuer: 1, Acquirer: 2, Program: 900, Amount: 7, At: dawn + hour}
	back := item
	back.Kind, back.Of, back.OriginalAt, back.At, back.Amount = tariff.KindRVS, tariff.KindRDM, item.At, item.At+hour, -7
	var v tariff.Valuation
	require.Equal(t, tariff.OK, tariff.Value(rates, fees, &item, &v))
	require.Equal(t, "[{00000002 FEE 24 SWF} {00000002 VAT 1 VAT}]", fmt.Sprint(v.Legs()))
	require.Equal(t, tariff.OK, tariff.Value(rates, fees, &back, &v))
	require.Equal(t, "[{FEE 00000002 24 SWF} {VAT 00000002 1 VAT}]", fmt.Sprint(v.Legs()))
}

// Folding allocates nothing once members have met.
func TestFoldAllocatesNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 5))
	w := newWorld(r)
	w.trade(r, 500)
	f := must(netting.NewFold(w.roll(), threeModels()))
	fold(w, f, w.items)
	var v tariff.Valuation
	require.Zero(t, testing.AllocsPerRun(10, func() {
		for i := range w.items {
			if tariff.Value(w.rates, w.fees, &w.items[i], &v) == tariff.OK {
				f.Add(&w.items[i], &v)
			}
		}
	}))
}
