package sim_test

import (
	"flag"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/sim"
)

var worldSeeds = flag.Int("worlds", 20, "how many seeds of the whole-system simulation")
var firstWorld = flag.Uint64("world", 1, "the first of them")

func playWorld(t *testing.T, seed uint64) sim.WorldReport {
	t.Helper()
	report, err := sim.RunWorld(t.Context(), sim.WorldOptions{Seed: seed})
	require.NoError(t, err)
	if report.Mismatch != nil {
		t.Fatalf("seed %d: %s\n%s", seed, report.Mismatch.What, strings.Join(report.Mismatch.Steps, "\n"))
	}
	return report
}

func TestWorldAgrees(t *testing.T) {
	for seed := range *worldSeeds {
		r := playWorld(t, *firstWorld+uint64(seed))
		t.Log(r.Seed, r.Digest[:8], r.Played, r.Events, r.Records, r.Requests, r.Did)
	}
}
