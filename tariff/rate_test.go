package tariff_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// dawn is where the clocks of these tests start.
const dawn points.Timestamp = 1_772_409_600_000_000 // 2026-03-02T00:00Z

const minute points.Timestamp = 60_000_000

// approve appends what Next makes of terms.
func approve(t require.TestingT, rates *tariff.Rates, terms tariff.Terms, now points.Timestamp) tariff.Rate {
	rate, err := rates.Next(terms, "ann", "bob", now)
	require.NoError(t, err)
	require.NoError(t, rates.Append(rate))
	return rate
}

// In force is, of the versions that have begun, the one that began last, and of those
// that began together the highest; before the first there is none.
func TestRateInForce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rates := tariff.NewRates()
		var all []tariff.Rate
		for i := range rapid.IntRange(0, 12).Draw(t, "n") {
			terms := tariff.Terms{
				Program: points.ProgramID(rapid.SampledFrom([]int{900, 901, 998}).Draw(t, "program")),
				Side:    tariff.Side(rapid.IntRange(1, 3).Draw(t, "side")),
				From:    dawn + tariff.LeadTime + points.Timestamp(rapid.IntRange(0, 6).Draw(t, "from")),
				Num:     wholes(tariff.MaxTerm-1).Draw(t, "num") + 1, Den: wholes(tariff.MaxTerm-1).Draw(t, "den") + 1,
			}
			all = append(all, approve(t, rates, terms, dawn))
			require.Equal(t, i+1, rates.Len())
		}
		for at := dawn + tariff.LeadTime - 1; at < dawn+tariff.LeadTime+8; at++ {
			for _, program := range []points.ProgramID{900, 901, 902, 998} {
				for side := tariff.Clear; side <= tariff.Sell; side++ {
					var want *tariff.Rate
					for i := range all { // approved in this order, so later ones have higher versions
						if r := &all[i]; r.Program == program && r.Side == side && r.From <= at && (want == nil || r.From >= want.From) {
							want = r
						}
					}
					got := rates.At(program, side, at)
					if want == nil {
						require.Nil(t, got)
						continue
					}
					require.Equal(t, *want, *got)
				}
			}
		}
	})
}

// A version is reduced, and in force from its first microsecond to the last one before
// the next.
func TestRateBoundaries(t *testing.T) {
	rates := tariff.NewRates()
	first := approve(t, rates, tariff.Terms{Program: 900, Side: tariff.Clear, From: dawn + 10*minute, Num: 50, Den: 100}, dawn)
	require.Equal(t, []uint64{1, 2}, []uint64{first.Num, first.Den})
	second := approve(t, rates, tariff.Terms{Program: 900, Side: tariff.Clear, From: dawn + 20*minute, Num: 3, Den: 7}, dawn+10*minute)
	require.Equal(t, first.Digest, second.Previous, "each carries the digest of the one before")
	require.Nil(t, rates.At(900, tariff.Clear, dawn+10*minute-1))
	require.Equal(t, first, *rates.At(900, tariff.Clear, dawn+10*minute))
	require.Equal(t, first, *rates.At(900, tariff.Clear, dawn+20*minute-1))
	require.Equal(t, second, *rates.At(900, tariff.Clear, dawn+20*minute))
	require.Nil(t, rates.At(900, tariff.Buy, dawn+20*minute), "sides are apart")
	require.Nil(t, rates.At(points.Standard, tariff.Clear, dawn+20*minute))
	require.Nil(t, rates.At(900, 0, dawn+20*minute))

	require.Equal(t, &second, rates.Version(900, tariff.Clear, 2))
	for _, version := range []uint32{0, 3} {
		require.Nil(t, rates.Version(900, tariff.Clear, version))
	}
	require.Nil(t, rates.Version(1, tariff.Clear, 1))
	require.Zero(t, testing.AllocsPerRun(100, func() { _ = rates.At(900, tariff.Clear, dawn+15*minute) }))
}

// What cannot be a rate is refused with a sentence, and refusing changes nothing.
func TestRateRefusals(t *testing.T) {
	rates := tariff.NewRates()
	good := tariff.Terms{Program: 900, Side: tariff.Buy, From: dawn + tariff.LeadTime, Num: 1, Den: 1, SpreadPPM: 5000}
	approve(t, rates, good, dawn)
	digest := rates.Digest(dawn * 2)
	for want, change := range map[string]func(*tariff.Terms){
		"programmes have codes from 900 to 998":           func(g *tariff.Terms) { g.Program = points.Standard },
		"the side is one of CLEAR, BUY, SELL":             func(g *tariff.Terms) { g.Side = 4 },
		"0/1: both are 1 to":                              func(g *tariff.Terms) { g.Num = 0 },
		"1/0: both are 1 to":                              func(g *tariff.Terms) { g.Den = 0 },
		"1/1000000000000: both are 1 to 999999999999":     func(g *tariff.Terms) { g.Den = tariff.MaxTerm + 1 },
		"takes all of the value":                          func(g *tariff.Terms) { g.SpreadPPM = tariff.Million },
		"put it on side BUY":                              func(g *tariff.Terms) { g.Side = tariff.Sell },
		"less than five minutes after its approval":       func(g *tariff.Terms) { g.From-- },
		"from 2026-03-01T23:59:59.999999Z is less than f": func(g *tariff.Terms) { g.From = dawn - 1 },
	} {
		terms := good
		change(&terms)
		_, err := rates.Next(terms, "ann", "bob", dawn)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "rate of ")
	}
	for _, c := range []struct{ maker, checker, want string }{
		{"ann", "ann", "ann proposed it; another person approves it"},
		{"", "bob", "names of 1 to 64 bytes"},
		{"ann", "b\nb", "control character"},
	} {
		_, err := rates.Next(good, c.maker, c.checker, dawn)
		require.ErrorContains(t, err, c.want)
	}
	_, err := rates.Next(good, "ann", "bob", dawn-1)
	require.ErrorContains(t, err, "before version 1 was")
	require.Equal(t, digest, rates.Digest(dawn*2))
	require.Equal(t, 1, rates.Len())
}

// The chain notices a version that was changed, left out or put in again.
func TestRateChain(t *testing.T) {
	rates := tariff.NewRates()
	terms := tariff.Terms{Program: 900, Side: tariff.Buy, From: dawn + 10*minute, Num: 2, Den: 3, SpreadPPM: 5000}
	for i := range 3 {
		terms.From += minute
		approve(t, rates, terms, dawn+points.Timestamp(i))
	}
	again := tariff.NewRates()
	for rate := range rates.All() {
		for field, change := range map[string]func(*tariff.Rate){
			"version": func(r *tariff.Rate) { r.Version++ }, "from": func(r *tariff.Rate) { r.From++ }, "num": func(r *tariff.Rate) { r.Num = 4 },
			"den": func(r *tariff.Rate) { r.Den = 7 }, "spread": func(r *tariff.Rate) { r.SpreadPPM++ }, "maker": func(r *tariff.Rate) { r.Maker = "eve" },
			"checker": func(r *tariff.Rate) { r.Checker = "eve" }, "approved": func(r *tariff.Rate) { r.Approved++ },
			"previous": func(r *tariff.Rate) { r.Previous[0]++ }, "digest": func(r *tariff.Rate) { r.Digest[31]++ },
			"program": func(r *tariff.Rate) { r.Program++ }, "unreduced": func(r *tariff.Rate) { r.Num, r.Den = 4, 6 },
		} {
			changed := *rate
			change(&changed)
			require.ErrorContains(t, again.Append(changed), "it was changed, or one is missing", field)
		}
		if later := rates.Version(900, tariff.Buy, rate.Version+1); later != nil {
			require.ErrorContains(t, again.Append(*later), "is not what follows version")
		}
		require.NoError(t, again.Append(*rate))
		require.ErrorContains(t, again.Append(*rate), "is not what follows version")
	}
	require.Equal(t, slices.Collect(rates.All()), slices.Collect(again.All()))
	require.Equal(t, rates.Digest(dawn*2), again.Digest(dawn*2))
}

// A run's digest of rates is the same whenever it is taken: what is approved later takes
// effect later. And it tells every version before the cut.
func TestRatesDigestIsStable(t *testing.T) {
	rates := tariff.NewRates()
	cut := dawn + 60*minute
	terms := tariff.Terms{Program: 900, Side: tariff.Clear, From: cut - 1, Num: 2, Den: 3}
	empty := rates.Digest(cut)
	approve(t, rates, terms, dawn)
	digest := rates.Digest(cut)
	require.NotEqual(t, empty, digest)
	clone := rates.Clone()

	terms.From = cut
	approve(t, rates, terms, cut-tariff.LeadTime)
	require.Equal(t, digest, rates.Digest(cut))
	require.NotEqual(t, digest, rates.Digest(cut+1))

	// The copy went its own way.
	require.Equal(t, 1, clone.Len())
	require.Equal(t, uint32(1), clone.At(900, tariff.Clear, cut).Version)
	terms.Num = 5
	approve(t, clone, terms, cut-tariff.LeadTime)
	require.Equal(t, "5/3 2/3", fmt.Sprintf("%d/%d %d/%d", clone.At(900, tariff.Clear, cut).Num, clone.At(900, tariff.Clear, cut).Den,
		rates.At(900, tariff.Clear, cut).Num, rates.At(900, tariff.Clear, cut).Den))
}
