package app_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement"
	"github.com/lianfen/lianfen/settlement/files"
)

// Temporary files are of the cycle that runs, of one member or of everybody; a cycle that has
// ended is named. They come into a new folder, prove themselves, and leave neither a run nor
// files at the switch.
func TestTemporarySets(t *testing.T) {
	clock := new(shifted)
	h := newHouse(t)
	h.clock = clock.clock
	r := h.start(t)
	r.load(t, smallTown)
	ctx := t.Context()
	traded(t, r, clock, "li", "wang", func(app.Done) {})
	terminal := r.terminal(t, "T2")
	for _, amount := range []points.Amount{30, 12} {
		require.Equal(t, points.Approved.String(), send(t, terminal, points.Redeem, "6222020000000000017", amount).Response.Reason.String())
	}
	ask := app.TemporaryAsk{SettleAsk: app.SettleAsk{Operator: "li"}, Member: 20000001}
	out := filepath.Join(t.TempDir(), "so far")
	sets, err := r.client.SettleTemporary(ctx, ask, out)
	require.NoError(t, err)
	verify := func(set string) *files.Report {
		t.Helper()
		report, err := files.Verify(os.DirFS(filepath.Join(out, set)), nil, files.Check{Scale: settlement.Scale, Whole: true})
		require.NoError(t, err)
		require.Empty(t, report.Breaches)
		require.Equal(t, "dry run", report.Mode)
		return report
	}
	report := verify("20000001")
	require.EqualValues(t, 2, report.Files[0].Lines, "the two sales of the cycle that runs")
	require.NoDirExists(t, filepath.Join(out, "10000001"))
	require.DirExists(t, filepath.Join(out, settlement.OperatorFolder))
	_, err = r.client.SettleTemporary(ctx, ask, out)
	require.ErrorContains(t, err, "not there yet")

	// Of everybody, of the cycle that has ended.
	out = filepath.Join(t.TempDir(), "ended")
	ask.Member, ask.Date = 0, sets.Date.AddDays(-1)
	sets, err = r.client.SettleTemporary(ctx, ask, out)
	require.NoError(t, err)
	require.Equal(t, ask.Date, sets.Date)
	report = verify("20000001")
	require.EqualValues(t, 1, report.Files[0].Lines)
	verify("10000001")

	runs, err := r.client.SettleShow(ctx, app.SettleAsk{})
	require.NoError(t, err)
	require.Empty(t, runs)
	left, err := os.ReadDir(filepath.Join(h.config.Data, app.SettlementFolder))
	require.NoError(t, err)
	for _, e := range left {
		require.False(t, strings.HasSuffix(e.Name(), ".tmp"), e.Name())
	}

	// What is refused is refused with a sentence, and makes no folder.
	out = filepath.Join(t.TempDir(), "refused")
	ask = app.TemporaryAsk{SettleAsk: app.SettleAsk{Operator: "li"}, Member: 77777777}
	_, err = r.client.SettleTemporary(ctx, ask, out)
	require.ErrorContains(t, err, "77777777: no such member")
	require.NoDirExists(t, out)
	r.stop(t)
}
