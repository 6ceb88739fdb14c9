package settlement_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement"
	"github.com/lianfen/lianfen/settlement/files"
)

// While a cycle still takes items a member can have a temporary set of it: it proves itself and
// says what the run says behind the cut-over, in mode D, unsigned and under names of its own,
// and no run comes of it.
func TestTemporarySet(t *testing.T) {
	s := tell(t)
	s.firstDay()
	runs := t.TempDir()
	r := s.runner(runs, 2)
	folder, run, err := r.Temporary(t.Context(), dayOne, 1, east, settlement.Order{At: s.clock, By: "li", ID: goldenRun})
	require.NoError(t, err)
	require.True(t, run.Cut.NeverClosed)
	require.EqualValues(t, 14, run.Items)
	sets, err := os.ReadDir(folder)
	require.NoError(t, err)
	names := make([]string, 0, len(sets))
	for _, e := range sets {
		names = append(names, e.Name())
	}
	require.Equal(t, []string{"20000001", settlement.ManifestName, settlement.OperatorFolder}, names, "nobody else's")

	read := func(folder, pattern string) string {
		t.Helper()
		found, err := filepath.Glob(filepath.Join(folder, "20000001", pattern))
		require.NoError(t, err)
		require.Len(t, found, 1, pattern)
		text, err := os.ReadFile(found[0])
		require.NoError(t, err)
		return string(text)
	}
	require.Equal(t, "D", read(folder, "QZ_DET_*_A_*.txt")[107:108])
	require.Contains(t, read(folder, "QZ_STM_*"), "<MsgId>DRY-ST-20260301-01-20000001</MsgId>")
	require.Contains(t, read(folder, "QZ_STM_*"), "<ElctrncSeqNb>0</ElctrncSeqNb>")
	require.Contains(t, read(folder, files.StatementName), "临时对账单")
	require.NoFileExists(t, filepath.Join(folder, "20000001", files.SignatureName))
	report, err := files.Verify(os.DirFS(filepath.Join(folder, "20000001")), nil, files.Check{Scale: settlement.Scale, Whole: true})
	require.NoError(t, err)
	require.Empty(t, report.Breaches)
	require.Equal(t, "dry run", report.Mode)
	report, err = files.Verify(os.DirFS(filepath.Join(folder, "20000001")), nil, files.Check{Scale: settlement.Scale, Keys: []ssh.PublicKey{newKey(t).PublicKey()}})
	require.NoError(t, err)
	require.False(t, report.OK, "nobody has signed it")

	all, err := r.Runs()
	require.NoError(t, err)
	require.Empty(t, all)
	s.cutOver(dayTwo, 0)
	published := s.settle(r, dayOne, 1, "01KJJQZ3A00000000000000001")
	require.EqualValues(t, 1, published.Sequence)
	figures := func(folder string) (rows []string) {
		for line := range strings.Lines(read(folder, "QZ_NET_*")) {
			if cells := strings.Split(line, ","); cells[0] != "#TOTAL" && cells[0] != "run_id" {
				rows = append(rows, strings.Join(cells[6:], ","))
			}
		}
		return rows
	}
	require.NotEmpty(t, figures(folder))
	require.Equal(t, figures(filepath.Join(runs, published.ID)), figures(folder))
	report, err = files.Verify(os.DirFS(filepath.Join(runs, published.ID, "20000001")), nil, files.Check{Scale: settlement.Scale})
	require.NoError(t, err)
	require.Equal(t, "test", report.Mode)

	require.NoError(t, s.runner(runs, 1).Clean())
	require.NoDirExists(t, folder, "what was left of it goes at a start")
}

// A temporary set is refused where there is no such cycle or member, and leaves nothing behind.
func TestTemporarySetRefused(t *testing.T) {
	s := tell(t)
	s.firstDay()
	runs := t.TempDir()
	r := s.runner(runs, 1)
	_, _, err := r.Temporary(t.Context(), dayTwo, 1, 0, settlement.Order{At: s.clock, By: "li", ID: goldenRun})
	require.Equal(t, points.UnknownOriginal, points.ReasonOf(err))
	_, _, err = r.Temporary(t.Context(), dayOne, 1, 77_777_777, settlement.Order{At: s.clock, By: "li", ID: goldenRun})
	require.ErrorContains(t, err, "77777777: no such member")
	_, _, err = r.Temporary(t.Context(), dayOne, 1, 0, settlement.Order{At: s.clock, By: "li", ID: "../x"})
	require.ErrorContains(t, err, "ULID")
	left, err := os.ReadDir(runs)
	require.NoError(t, err)
	require.Empty(t, left)
}

// A set of which some files are of a dry run is told.
func TestVerifyFindsModes(t *testing.T) {
	folder := t.TempDir()
	require.NoError(t, os.CopyFS(folder, os.DirFS(filepath.Join("testdata", "story", "10000001"))))
	path := filepath.Join(folder, "QZ_DET_10000001_I_20260302_01_1of1.txt")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	text[107] = 'D'
	require.NoError(t, os.WriteFile(path, text, 0o600))
	report, err := files.Verify(os.DirFS(folder), nil, files.Check{Scale: settlement.Scale})
	require.NoError(t, err)
	var found []string
	for _, b := range report.Breaches {
		if b.Field == "mode" {
			found = append(found, b.File+": "+b.Found)
		}
	}
	require.Equal(t, []string{"QZ_DET_10000001_I_20260302_01_1of1.txt: dry run"}, found)
}
