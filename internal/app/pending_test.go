package app_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// Who approves a night sees what it comes to: net positions that sum to zero, items, exceptions,
// checks that did not pass and the manifest. Positions of a file that is not the manifest's are
// neither shown as if they were nor approved, until the files are made again.
func TestPendingNightShowsItsPositions(t *testing.T) {
	h := newHouse(t)
	r, li, wang := twoPersons(t, h)
	ctx := t.Context()
	ran, err := li.client.Settle(ctx, "run", app.SettleAsk{}, nil)
	require.NoError(t, err)
	pending, err := wang.client.Pending(ctx)
	require.NoError(t, err)
	require.Len(t, pending, 1)
	night := pending[0].Publication
	require.NotNil(t, night)
	require.Empty(t, pending[0].Problem)
	require.Equal(t, []any{ran.Run.ID, ran.Run.Manifest, ran.Run.Items, ran.Run.Exceptions, ran.Run.Files}, []any{night.Run, night.Manifest, night.Items, night.Exceptions, night.Files})
	require.Equal(t, "0.0000", night.Sum)
	positions := ""
	for _, p := range night.Positions {
		positions += p.Member.String() + " " + p.Net + "; "
	}
	require.Equal(t, "10000001 -1.2438; 20000001 1.2400; FEE 0.0036; VAT 0.0002; ", positions, "1.25 less interchange and fee, the largest first")
	require.Contains(t, strings.Join(night.Warnings, "\n"), "signed (warn): settlement.key names no key")

	folder := filepath.Join(h.config.Data, app.SettlementFolder, ran.Run.ID+".tmp", "operator")
	found, err := filepath.Glob(filepath.Join(folder, "QZ_NET_*.csv"))
	require.NoError(t, err)
	require.Len(t, found, 1)
	text, err := os.ReadFile(found[0])
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(found[0], []byte(strings.Replace(string(text), "1.2400", "9.2400", 1)), 0o600))
	pending, err = wang.client.Pending(ctx)
	require.NoError(t, err)
	require.Nil(t, pending[0].Publication)
	require.Contains(t, pending[0].Problem, "is not the file of MANIFEST")
	_, err = wang.client.Approve(ctx, app.Decision{RRN: pending[0].RRN})
	reasonIs(t, points.FormatError, err)
	require.ErrorContains(t, err, "lianfen settle run makes the files again")
	_, err = li.client.Settle(ctx, "run", app.SettleAsk{}, nil)
	require.NoError(t, err)
	_, err = wang.client.Approve(ctx, app.Decision{RRN: pending[0].RRN})
	require.NoError(t, err)
	r.stop(t)
}

// An act whose subject has changed is marked among those that wait, is told as it was proposed,
// and is refused with what to do about it.
func TestStaleProposalsAreMarked(t *testing.T) {
	r := newHouse(t).start(t)
	r.load(t, smallTown)
	ctx := t.Context()
	li, wang := r.staffedHouse(t, book.TwoPersons)
	var rrns []string
	for range 2 {
		done, err := li.client.CutOver(ctx, app.CutOver{Force: true})
		require.NoError(t, err)
		require.NotEmpty(t, done.Pending)
		rrns = append(rrns, done.RRN)
	}
	pending, err := wang.client.Pending(ctx)
	require.NoError(t, err)
	require.Equal(t, []bool{false, false}, []bool{pending[0].Stale, pending[1].Stale})
	require.Empty(t, pending[0].Problem)
	_, err = wang.client.Approve(ctx, app.Decision{RRN: rrns[0]})
	require.NoError(t, err)
	pending, err = wang.client.Pending(ctx)
	require.NoError(t, err)
	require.Len(t, pending, 1)
	require.True(t, pending[0].Stale)
	want := "what it is about has changed since it was proposed: lianfen admin reject " + rrns[1] + ", and propose it again"
	require.Equal(t, want, pending[0].Problem)
	_, err = wang.client.Approve(ctx, app.Decision{RRN: rrns[1]})
	reasonIs(t, points.ProposalStale, err)
	require.ErrorContains(t, err, want)
	_, err = wang.client.Reject(ctx, app.Decision{RRN: rrns[1]})
	require.NoError(t, err)
	pending, err = wang.client.Pending(ctx)
	require.NoError(t, err)
	require.Empty(t, pending)
	r.stop(t)
}
