package sim_test

import (
	"flag"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/sim"
)

var (
	worldSeeds = flag.Int("worlds", 30, "how many seeds of the whole-system simulation")
	worldFirst = flag.Uint64("world", 1, "the first of them")
)

func playWorld(t *testing.T, opts sim.WorldOptions) sim.WorldReport {
	t.Helper()
	report, err := sim.RunWorld(t.Context(), opts)
	require.NoError(t, err)
	if m := report.Mismatch; m != nil {
		require.Failf(t, m.What, "lianfen sim --seed %d\n%s", opts.Seed, strings.Join(m.Steps, "\n"))
	}
	return report
}

// Whatever goes wrong: in the end the receipts of terminals and partners, the switch's
// journal and the issuers' books agree.
func TestWorldAgrees(t *testing.T) {
	t.Parallel()
	did := make(map[string]int)
	for n := range *worldSeeds {
		for what, times := range playWorld(t, sim.WorldOptions{Seed: *worldFirst + uint64(n)}).Did {
			did[what] += times
		}
	}
	for _, what := range []string{
		"frame lost", "frame late", "frame doubled", "frame out of order", "line dead", "line lost", "line lost in mid-frame",
		"issuer down", "issuer slow", "issuer silent", "issuer: late", "issuer: wrong-amount", "issuer: lose", "issuer: drop",
		"power cut", "power cut before a write", "power cut after a write, before its answer", "clock jump", "cut-over", "change by an operator",
		"request sent again", "answered again", "reversal", "approval reversed", "late answer at an acquirer", "declined 68", "refused at the door",
		"approved transfer", "approved batch_close", "batch closed with equal totals", "batch closed, and the difference explained",
		"reversal of a part", "reversal given up", "bank told of a cut-over", "partner told of a cut-over", "bank's key_change answered",
		"relay down", "tender approved", "tender with a bank approved", "tender undone", "approved in part",
		"approved void", "approved refund", "approved completion", "approved completion_void", "approved pre_auth_void", "approved offline_redeem",
	} {
		require.Positive(t, did[what], "in no run: %s", what)
	}
}

// The same seed gives the same journal, receipts, issuers' books and list of steps.
func TestWorldIsTheSameAgain(t *testing.T) {
	t.Parallel()
	for seed := uint64(1001); seed < 1004; seed++ {
		opts := sim.WorldOptions{Seed: seed, Steps: true}
		first := playWorld(t, opts)
		require.NotEmpty(t, first.Digest)
		require.Equal(t, first, playWorld(t, opts))
	}
}

// Where nothing goes wrong everybody is answered at once.
func TestWorldWithoutFaults(t *testing.T) {
	t.Parallel()
	report := playWorld(t, sim.WorldOptions{Seed: 7, Faults: []string{}})
	for _, what := range []string{"answer timed out", "declined 68", "declined 91", "declined 92", "declined 94", "declined 96", "power cut", "frame lost"} {
		require.Zero(t, report.Did[what], what)
	}
	require.Positive(t, report.Did["approved redeem"])
}

// A fault that there is none of is refused, not ignored.
func TestWorldOfUnknownFaults(t *testing.T) {
	t.Parallel()
	_, err := sim.RunWorld(t.Context(), sim.WorldOptions{Faults: []string{"weather"}})
	require.ErrorContains(t, err, "weather")
}

// Days with power cuts only: a sale that several programmes pay, one of them a bank's, is
// paid by all of them or by none, whenever the switch is killed.
func TestWorldTendersSurviveCrashes(t *testing.T) {
	t.Parallel()
	did := make(map[string]int)
	for n := range 25 {
		for what, times := range playWorld(t, sim.WorldOptions{Seed: 5000 + uint64(n), Faults: []string{"crash"}}).Did {
			did[what] += times
		}
	}
	for _, what := range []string{"tender approved", "tender with a bank approved", "power cut before a write", "power cut after a write, before its answer"} {
		require.Positive(t, did[what], "in no run: %s", what)
	}
}
