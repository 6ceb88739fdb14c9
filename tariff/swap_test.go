package tariff_test

import (
	"encoding/json"
	"flag"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

var cases = flag.Int("cases", 20_000, "how many random campaigns go through each property")

var plainRules = tariff.SwapRules{Lots: 2, Expiry: tariff.ExpiryProgram, QuoteSeconds: 30, LockSeconds: 600}

// campaign draws rules with steps and tiers that can be, most of them barely.
func campaign(r *rand.Rand) tariff.SwapRules {
	rules := plainRules
	rules.LockDays, rules.BonusBudget = 1, 1
	per, add := points.Amount(1+r.IntN(5)), points.Amount(1+r.IntN(5))
	next := func() {
		times := points.Amount(2 + r.IntN(3))
		per, add = per*times, add*times+points.Amount(r.IntN(3))
	}
	if r.IntN(3) > 0 {
		rules.BonusPer, rules.BonusAdd = per, add
		next()
	}
	for i := range rules.VolumeBonus[:r.IntN(4)] {
		rules.VolumeBonus[i] = tariff.BonusStep{Per: per, Add: add}
		next()
	}
	ppm, from := uint32(0), points.Amount(-1)
	for i := range rules.TierBonus[:r.IntN(5)] {
		ppm, from = ppm+1+uint32(r.IntN(200_000)), from+1+points.Amount(r.IntN(10))
		rules.TierBonus[i] = tariff.BonusTier{From: from, PPM: ppm}
	}
	if !rules.Campaign() {
		rules.BonusPer, rules.BonusAdd = per, add
	}
	return rules
}

// A bonus is the most that its steps give in any way, by trying all of them, and the highest
// tier's part rounded down; so neither splitting an amount nor taking another step gains.
func TestBonusIsTheMostThereIs(t *testing.T) {
	seed := rand.Uint64() //nolint:forbidigo // told where it fails, so that it can be replayed.
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 2))
	var most [201]points.Amount
	for range *cases / 20 {
		rules := campaign(r)
		_, err := tariff.NewSwapTable().Next(900, dawn+tariff.LeadTime, rules, "ann", "bob", dawn)
		require.NoError(t, err, "%+v", rules)
		tier := points.Amount(r.IntN(40))
		for out := range points.Amount(len(most)) {
			most[out] = 0
			if out > 0 {
				most[out] = most[out-1]
			}
			for _, step := range append([]tariff.BonusStep{{Per: rules.BonusPer, Add: rules.BonusAdd}}, rules.VolumeBonus[:]...) {
				if step.Per != 0 && step.Per <= out {
					most[out] = max(most[out], most[out-step.Per]+step.Add)
				}
			}
		}
		part := points.Amount(0)
		for _, of := range rules.TierBonus {
			if of.PPM != 0 && of.From <= tier {
				part = points.Amount(of.PPM)
			}
		}
		for out := range points.Amount(len(most)) {
			bonus, ok := rules.Bonus(out, tier)
			require.True(t, ok)
			require.Equal(t, most[out]+out*part/tariff.Million, bonus, "seed %d: %+v of %d", seed, rules, out)
		}
	}
}

// A campaign of any kind has a lock on swapping and a budget.
func TestCampaignsHaveALockAndABudget(t *testing.T) {
	for _, change := range []func(*tariff.SwapRules){
		func(r *tariff.SwapRules) { r.BonusPer, r.BonusAdd = 10, 1 },
		func(r *tariff.SwapRules) { r.VolumeBonus[0] = tariff.BonusStep{Per: 10, Add: 1} },
		func(r *tariff.SwapRules) { r.TierBonus[0] = tariff.BonusTier{PPM: 5} },
	} {
		for lock := range uint32(2) {
			for budget := range points.Amount(2) {
				rules := plainRules
				change(&rules)
				rules.LockDays, rules.BonusBudget = lock, budget
				_, err := tariff.NewSwapTable().Next(900, dawn+tariff.LeadTime, rules, "ann", "bob", dawn)
				require.Equal(t, lock == 1 && budget == 1, err == nil, "%+v: %v", rules, err)
			}
		}
	}
}

// A bonus that does not fit is told so.
func TestBonusThatDoesNotFit(t *testing.T) {
	rules := plainRules
	rules.BonusPer, rules.BonusAdd = 1, points.MaxAmount
	_, ok := rules.Bonus(points.MaxAmount, 0)
	require.False(t, ok)
}

// Rules without later fields are written as they always were, and rules of every kind are
// read back as they were; what says that there are later ones and has none is refused.
func TestSwapRulesAsWritten(t *testing.T) {
	rules := plainRules
	rules.MinIn, rules.BonusBudget = 5, 300
	text := rules.AppendRules(nil)
	require.Equal(t, []byte{5, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 1, 0, 0, 0, 0, 0xac, 2, 30, 0xd8, 4}, text)
	read := func(numbers []uint64) (rules tariff.SwapRules, ok bool) {
		ok = rules.SetRules(func() (n uint64) {
			n, numbers = numbers[0], numbers[1:]
			return n
		})
		return rules, ok && len(numbers) == 0
	}
	seed := rand.Uint64() //nolint:forbidigo // told where it fails, so that it can be replayed.
	r := rand.New(rand.NewPCG(seed, 3))
	for range 1000 {
		rules := campaign(r)
		if r.IntN(2) == 0 {
			rules.LockFeePPM = uint32(r.IntN(500))
		}
		again, ok := read(numbers(t, rules.AppendRules(nil)))
		require.True(t, ok, "seed %d: %+v", seed, rules)
		require.Equal(t, rules, again, "seed %d", seed)
	}
	empty := make([]uint64, 36)
	empty[12], empty[20] = 1<<7|1, 15
	_, ok := read(empty)
	require.False(t, ok, "the flag, and nothing behind it")
	empty[20] = 14
	_, ok = read(empty)
	require.False(t, ok, "of another length")
}

// numbers reads uvarints.
func numbers(t *testing.T, text []byte) (list []uint64) {
	t.Helper()
	for len(text) > 0 {
		n, shift := uint64(0), 0
		for {
			b := text[0]
			text = text[1:]
			n |= uint64(b&0x7f) << shift
			if shift += 7; b < 0x80 {
				break
			}
		}
		list = append(list, n)
	}
	return list
}

// Steps and tiers are lists in files and in JSON, and what is too long is refused.
func TestCampaignsInFiles(t *testing.T) {
	var rules tariff.SwapRules
	require.NoError(t, yaml.Unmarshal([]byte("expiry_rule: programme\nvolume_bonus: [{per: 400, add: 30}]\ntier_bonus:\n  - {from: 10, ppm: 500}\n"), &rules))
	require.Equal(t, tariff.BonusStep{Per: 400, Add: 30}, rules.VolumeBonus[0])
	require.Equal(t, tariff.BonusTier{From: 10, PPM: 500}, rules.TierBonus[0])
	text, err := json.Marshal(rules)
	require.NoError(t, err)
	require.Contains(t, string(text), `"volume_bonus":[{"per":400,"add":30}],"tier_bonus":[{"from":10,"ppm":500}]`)
	var again tariff.SwapRules
	require.NoError(t, json.Unmarshal(text, &again))
	require.Equal(t, rules, again)
	rules.VolumeBonus = tariff.BonusSteps{}
	text, err = json.Marshal(rules)
	require.NoError(t, err)
	require.NotContains(t, string(text), "volume_bonus")
	for _, wrong := range []string{"volume_bonus: [{per: 1, add: 1}, {per: 2, add: 2}, {per: 4, add: 4}, {per: 8, add: 8}]", "tier_bonus: [{}]", "volume_bonus: 5"} {
		require.Error(t, yaml.Unmarshal([]byte(wrong), &rules), wrong)
	}
}

// A rate of a pair has its own moment and its end, beside the others of its side, and a
// version of it is numbered and chained with them.
func TestRatesOfPairs(t *testing.T) {
	rates := tariff.NewRates()
	all := approve(t, rates, tariff.Terms{Program: 900, Side: tariff.Buy, From: dawn + 10*minute, Num: 1, Den: 2}, dawn)
	own := approve(t, rates, tariff.Terms{Program: 900, Side: tariff.Buy, From: dawn + 20*minute, Num: 2, Den: 4, Into: 901}, dawn)
	end := approve(t, rates, tariff.Terms{Program: 900, Side: tariff.Buy, From: dawn + 40*minute, Into: 901}, dawn)
	later := approve(t, rates, tariff.Terms{Program: 900, Side: tariff.Buy, From: dawn + 30*minute, Num: 1, Den: 3}, dawn)
	require.Equal(t, []uint32{1, 2, 3, 4}, []uint32{all.Version, own.Version, end.Version, later.Version})
	require.Equal(t, own.Digest, end.Previous)
	require.NotEqual(t, all.Digest, own.Digest)
	for minutes, want := range map[points.Timestamp][2]uint32{5: {}, 10: {1, 1}, 20: {2, 1}, 30: {2, 4}, 40: {4, 4}} {
		version := func(r *tariff.Rate) uint32 {
			if r == nil {
				return 0
			}
			return r.Version
		}
		at := dawn + minutes*minute
		require.Equal(t, want, [2]uint32{version(rates.Pair(900, 901, at)), version(rates.At(900, tariff.Buy, at))}, "minute %d", minutes)
		require.Equal(t, rates.At(900, tariff.Buy, at), rates.Pair(900, 902, at))
		count := 0
		for r := range rates.Overrides(900, at) {
			require.Equal(t, own, *r)
			count++
		}
		require.Equal(t, want[0] == 2, count == 1)
	}
	require.True(t, rates.InForce(rates.Version(900, tariff.Buy, 2), dawn+25*minute))
	require.False(t, rates.InForce(rates.Version(900, tariff.Buy, 2), dawn+45*minute))
	require.Zero(t, testing.AllocsPerRun(100, func() { _ = rates.Pair(900, 901, dawn+25*minute) }))
	for _, wrong := range []tariff.Terms{
		{Program: 900, Side: tariff.Sell, Num: 1, Den: 1, Into: 901},
		{Program: 900, Side: tariff.Buy, Num: 1, Den: 1, Into: 900},
		{Program: 900, Side: tariff.Buy, Num: 1, Den: 1, Into: points.Standard},
		{Program: 900, Side: tariff.Buy, SpreadPPM: 5, Into: 901},
		{Program: 900, Side: tariff.Buy},
	} {
		wrong.From = dawn + 10*minute
		_, err := rates.Next(wrong, "ann", "bob", dawn)
		require.Error(t, err, "%+v", wrong)
	}
	require.NoError(t, rates.Clone().Append(approve(t, rates, tariff.Terms{Program: 901, Side: tariff.Buy, From: dawn + 10*minute, Num: 1, Den: 1}, dawn)))
}

// Origins are read and written by name, each the bit of the book's origin.
func TestOrigins(t *testing.T) {
	o, err := tariff.OriginsOf([]string{"earned", "Adjusted"})
	require.NoError(t, err)
	require.Equal(t, tariff.Origins(1<<1|1<<5), o)
	shown, err := json.Marshal(tariff.SwapRules{Lots: o})
	require.NoError(t, err)
	require.Contains(t, string(shown), `"lots_allowed":["earned","adjusted"]`)
	_, err = tariff.OriginsOf([]string{"found"})
	require.Equal(t, points.FormatError, points.ReasonOf(err))
}
