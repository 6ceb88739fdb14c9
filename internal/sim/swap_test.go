package sim_test

import (
	"flag"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/sim"
	"github.com/lianfen/lianfen/ledger/book"
)

var swapSeeds = flag.Uint64("swap-seeds", 300, "how many seeded schedules of a remote swap are played")

func swapGames() map[string]sim.SwapGame {
	return map[string]sim.SwapGame{
		"credit":           {Timers: 3, Copies: 1, Kills: 1},
		"credit, spent":    {Spent: true, Timers: 3, Copies: 1},
		"credit, declined": {Declines: true, Timers: 3, Copies: 1},
		"credit, unfenced": {Unfenced: true, Resolves: true, Timers: 4, Copies: 1},
		"debit":            {Debit: true, Timers: 3, Copies: 1, Kills: 1},
		"debit, declined":  {Debit: true, Declines: true, Timers: 3, Copies: 1},
	}
}

// Every schedule of time-outs, late answers, copies, any order and a kill ends a swap with a
// remote leg on both sides alike, or leaves it manual (Q4).
func TestSwapSchedules(t *testing.T) {
	for name, game := range swapGames() {
		t.Run(name, func(t *testing.T) {
			found, err := sim.ExploreSwaps(game)
			require.NoError(t, err)
			t.Logf("%d states, ends %v", found.States, found.Ends)
			require.Greater(t, found.States, 50)
			for state := range found.Ends {
				require.Contains(t, []book.SwapState{book.SwapDone, book.SwapRejected, book.SwapReversed, book.SwapManual}, state)
			}
		})
	}
}

// Each wrong way to build it is found by the same schedules.
func TestSwapSchedulesHaveTeeth(t *testing.T) {
	for name, fault := range map[string]sim.SwapFault{
		"void on time-out":   sim.SwapVoidsOnTimeout,
		"void on not found":  sim.SwapVoidsOnNotFound,
		"believe a late yes": sim.SwapBelievesLate,
		"no tombstone":       sim.SwapNoTombstone,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := sim.ExploreSwaps(sim.SwapGame{Timers: 3, Copies: 1, Fault: fault})
			require.Error(t, err)
			t.Log(err)
		})
	}
}

// Long seeded schedules end alike on both sides, too.
func TestSwapSeeds(t *testing.T) {
	ends := make(map[book.SwapState]int)
	for seed := range *swapSeeds {
		state, err := sim.RunSwap(seed)
		require.NoError(t, err)
		ends[state]++
	}
	t.Log(ends)
	require.Positive(t, ends[book.SwapDone])
	require.Positive(t, ends[book.SwapReversed])
}
