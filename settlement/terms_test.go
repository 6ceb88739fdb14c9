package settlement_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/settlement"
)

// The last line of net positions has the digest that the run shows as its terms, which anybody
// can make of those of its rates and its fees; a run that was written down without it shows it too.
func TestTermsOfMembersAreTheRuns(t *testing.T) {
	day, err := settlement.NewSynthetic(200, 6, 1)
	require.NoError(t, err)
	require.NoError(t, day.Naive(t.Context()))
	n := newNight(t, day, nil)
	run, err := n.Run(t.Context(), 20260302, 1, order("li"))
	require.NoError(t, err)

	rates, err := hex.DecodeString(run.Rates)
	require.NoError(t, err)
	fees, err := hex.DecodeString(run.Fees)
	require.NoError(t, err)
	want := sha256.Sum256(append(rates, fees...))
	require.Equal(t, hex.EncodeToString(want[:]), run.Terms)

	sets, err := filepath.Glob(filepath.Join(n.Folder(run), "*", "QZ_NET_*.csv"))
	require.NoError(t, err)
	require.Len(t, sets, 7)
	for _, path := range sets {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		_, total, found := strings.Cut(string(text), "#TOTAL,")
		require.True(t, found)
		require.Equal(t, run.Terms, strings.Split(total, ",")[5], path)
	}

	note := filepath.Join(n.opts.Folder, run.ID+".json")
	text, err := os.ReadFile(note)
	require.NoError(t, err)
	var written map[string]any
	require.NoError(t, json.Unmarshal(text, &written))
	require.Equal(t, run.Terms, written["terms"])
	delete(written, "terms")
	text, err = json.Marshal(written)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(note, text, 0o600))
	old, err := n.Load(run.ID)
	require.NoError(t, err)
	require.Equal(t, run.Terms, old.Terms)
}
