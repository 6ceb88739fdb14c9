package settlement_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/settlement"
)

// A door that has loaded a run before another one took a step acts on what the run is, not on
// what it was: a run that was made void is neither proposed, approved nor published, and one
// that was published is not made void.
func TestAStepIsOfTheRunAsItIs(t *testing.T) {
	n := newNight(t, madeUp(t, 20, 2), nil)
	run, err := n.Run(t.Context(), 20260302, 1, order("li"))
	require.NoError(t, err)
	stale := func() *settlement.Run { // as loaded now, before what follows
		t.Helper()
		loaded, err := n.Load(run.ID)
		require.NoError(t, err)
		return loaded
	}
	seen := []*settlement.Run{stale(), stale(), stale(), stale()}
	require.NoError(t, n.Void(t.Context(), run, order("li"), "a mistake"))
	_, err = n.Propose(t.Context(), seen[0], order("li"))
	require.ErrorContains(t, err, "is VOID")
	require.ErrorContains(t, n.Approve(t.Context(), seen[1], order("wang")), "is VOID")
	seen[2].State = settlement.Approved
	require.ErrorContains(t, n.Publish(t.Context(), seen[2], order("wang")), "is VOID")
	require.ErrorContains(t, n.Void(t.Context(), seen[3], order("li"), "again"), "is VOID")
	require.Equal(t, settlement.Void, stale().State)
	require.Equal(t, settlement.Void, seen[1].State, "the door sees what it is")

	again := order("li")
	again.ID = otherULID
	run, err = n.Run(t.Context(), 20260302, 1, again)
	require.NoError(t, err)
	require.NoError(t, n.Approve(t.Context(), run, order("wang")))
	before := stale()
	require.NoError(t, n.Publish(t.Context(), run, order("wang")))
	require.ErrorContains(t, n.Void(t.Context(), before, order("li"), "too late"), "is PUBLISHED")
	require.NoError(t, n.Publish(t.Context(), stale(), order("wang")), "what is published is not published again")
	require.NoError(t, n.Confirm(run, order("li"), "all have it"))
	require.ErrorContains(t, n.Confirm(before, order("li"), "all have it"), "is CONFIRMED")
}

// Of approving, making void and publishing at the same time, whatever comes first holds:
// what the note says in the end is what its history says last.
func TestStepsAtTheSameTime(t *testing.T) {
	for range 5 {
		n := newNight(t, madeUp(t, 20, 2), nil)
		run, err := n.Run(t.Context(), 20260302, 1, order("li"))
		require.NoError(t, err)
		loaded := make([]*settlement.Run, 6)
		for i := range loaded {
			loaded[i], err = n.Load(run.ID)
			require.NoError(t, err)
		}
		errs := make([]error, len(loaded))
		var all sync.WaitGroup
		for i, run := range loaded {
			all.Go(func() {
				switch i % 3 {
				case 0:
					errs[i] = n.Approve(t.Context(), run, order("wang"))
				case 1:
					errs[i] = n.Void(t.Context(), run, order("li"), "a mistake")
				default:
					errs[i] = n.Publish(t.Context(), run, order("wang"))
				}
			})
		}
		all.Wait()
		run, err = n.Load(run.ID)
		require.NoError(t, err)
		voids, approvals := 0, 0
		for _, e := range run.Stages {
			switch e.State {
			case settlement.Void:
				voids++
			case settlement.Approved:
				approvals++
			default:
			}
		}
		require.LessOrEqual(t, voids, 1)
		require.LessOrEqual(t, approvals, 1)
		require.Equal(t, run.State, run.Stages[len(run.Stages)-1].State)
		require.Equal(t, voids == 1, run.State == settlement.Void, "what is void stays so: %v, %v", run.State, errs)
	}
}
