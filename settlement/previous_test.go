package settlement_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement"
)

// checkNamed is the check of a name.
func checkNamed(t *testing.T, checks []settlement.Check, name string) settlement.Check {
	t.Helper()
	for _, c := range checks {
		if c.Name == name {
			return c
		}
	}
	require.Failf(t, "no check", "%s of %v", name, checks)
	return settlement.Check{}
}

// sale is a redemption of miles at the cafe.
func (s *story) sale(amount points.Amount) {
	s.t.Helper()
	s.must(s.at("CAFE1", book.KindRedeem, points.Redeem, 1, miles, amount))
}

// ofThreeCycles is a story of two dates, the second of two cycles, with a sale in each; and
// of a date behind them in which nothing was cleared.
func ofThreeCycles(t *testing.T) *story {
	t.Helper()
	s := tell(t)
	s.sale(10)
	s.cutOver(dayTwo, 0)
	s.sale(20)
	s.cutOver(dayTwo, 2)
	s.sale(30)
	s.cutOver(dayTwo.AddDays(1), 0)
	s.cutOver(dayTwo.AddDays(2), 0)
	return s
}

const (
	runOne   = "01KJJQZ3A00000000000000001"
	runTwo   = "01KJJQZ3A00000000000000002"
	runThree = "01KJJQZ3A00000000000000003"
	runFour  = "01KJJQZ3A00000000000000004"
)

// Cycles that closed and were never settled do not go unnoticed: who settles a later one is
// told of each, in the order of dates and cycles, and a second person has to agree.
func TestStoryOfSkippedCycles(t *testing.T) {
	s := ofThreeCycles(t)
	r := s.runner(t.TempDir(), 1)
	ctx := t.Context()
	order := func(id string) settlement.Order { return settlement.Order{At: s.clock, By: "li", ID: id} }
	skipped, err := r.Prepare(ctx, dayTwo, 2, order(""))
	require.NoError(t, err)
	c := checkNamed(t, skipped, settlement.CheckPrevious)
	require.Equal(t, []any{false, settlement.SecondPerson}, []any{c.Pass, c.Severity})
	require.Equal(t, "closed and not posted: 2026-03-01 cycle 1 (no run), 2026-03-02 cycle 1 (no run)", c.Found)
	require.Contains(t, c.Do, "lianfen settle run --date 2026-03-01 --cycle 1")
	run, err := r.Run(ctx, dayTwo, 2, order(runOne))
	require.NoError(t, err)
	require.Equal(t, settlement.Checked, run.State)
	alone, err := r.Propose(ctx, run, order(""))
	require.NoError(t, err)
	require.False(t, alone, "the switch alone does not pass it")
	_, err = r.Run(ctx, dayOne, 1, order(runTwo))
	require.ErrorIs(t, err, settlement.ErrCheck)
	require.ErrorContains(t, err, "run "+runOne+" of 2026-03-02 cycle 2 is CHECKED", "two at a time would have one statement number")
	require.NoError(t, r.Void(ctx, run, order(""), "in order"))

	for i, cut := range []settlement.Cut{{Date: dayOne, Cycle: 1}, {Date: dayTwo, Cycle: 1}, {Date: dayTwo, Cycle: 2}, {Date: dayTwo.AddDays(1), Cycle: 1}} {
		run := s.settle(r, cut.Date, cut.Cycle, []string{runTwo, runThree, runFour, "01KJJQZ3A00000000000000005"}[i])
		require.True(t, checkNamed(t, run.Checks, settlement.CheckPrevious).Pass)
		require.EqualValues(t, i+1, run.Sequence, "statements are numbered in the order of cycles")
	}
}

// An empty cycle that nobody has settled is in nobody's way. A run of an earlier cycle that
// was passed can be void still: only what was begun after it and is not published forbids it.
func TestStoryOfAPassedCycle(t *testing.T) {
	s := ofThreeCycles(t)
	s.sale(40)
	s.cutOver(dayTwo.AddDays(3), 0)
	folder := t.TempDir()
	r := s.runner(folder, 1)
	ctx := t.Context()
	order := func(id string) settlement.Order { return settlement.Order{At: s.clock, By: "li", ID: id} }
	s.settle(r, dayTwo, 1, runOne)
	s.settle(r, dayTwo, 2, runTwo)
	run, err := r.Run(ctx, dayOne, 1, order(runThree))
	require.NoError(t, err)
	require.NoError(t, r.Void(ctx, run, order(""), "once more"))
	skipped, err := r.Prepare(ctx, dayTwo.AddDays(2), 1, order(""))
	require.NoError(t, err)
	require.Equal(t, "closed and not posted: 2026-03-01 cycle 1 (run "+runThree+" is VOID)", checkNamed(t, skipped, settlement.CheckPrevious).Found)
	run, err = r.Run(ctx, dayOne, 1, order(runFour))
	require.NoError(t, err)

	// As a version that let two runs be under way has left it.
	text, err := os.ReadFile(filepath.Join(folder, runFour+".json"))
	require.NoError(t, err)
	var later settlement.Run
	require.NoError(t, json.Unmarshal(bytes.Replace(text, []byte(runFour), []byte(ulid), 1), &later))
	later.Cut.Date, later.Cut.Cycle = dayTwo.AddDays(2), 1
	note, err := json.Marshal(&later)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(folder, ulid+".json"), note, 0o600))
	require.ErrorContains(t, r.Void(ctx, run, order(""), "x"), "only the latest that is not published can be void")
	require.NoError(t, r.Void(ctx, &later, order(""), "x"))
	require.NoError(t, r.Void(ctx, run, order(""), "x"))
}
