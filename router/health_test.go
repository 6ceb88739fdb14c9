package router_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/router"
)

// A breaker opens at the n-th request in a row without an answer, rests, lets one
// request try, and closes when that is answered.
func TestBreaker(t *testing.T) {
	rules := router.BreakerRules{Failures: 3, Rest: time.Minute}
	var b router.Breaker
	now := points.Timestamp(1)
	for range 2 {
		b.Unanswered(now, rules)
	}
	require.True(t, b.Allows(now))
	b.Answered()
	for range 2 {
		b.Unanswered(now, rules)
	}
	require.True(t, b.Allows(now), "answers between them: not in a row")
	b.Unanswered(now, rules)
	require.False(t, b.Allows(now))
	require.False(t, b.Allows(now.Add(time.Minute-time.Microsecond)))
	rested := now.Add(time.Minute)
	require.True(t, b.Ready(rested))
	require.True(t, b.Allows(rested))
	require.False(t, b.Allows(rested), "one tries, the others do not")
	b.Unanswered(rested, rules)
	require.False(t, b.Allows(rested.Add(time.Minute-time.Microsecond)))
	require.True(t, b.Allows(rested.Add(time.Minute)))
	b.Abandoned()
	require.True(t, b.Allows(rested.Add(time.Minute)), "the one that tried was taken back: another may")
	b.Unanswered(rested.Add(time.Minute), rules)
	b.Adjust(-2 * time.Hour)
	require.False(t, b.Ready(rested.Add(2*time.Minute-2*time.Hour-time.Microsecond)))
	require.True(t, b.Ready(rested.Add(2*time.Minute-2*time.Hour)), "it rests by the clock as it was set")
	b.Answered()
	b.Adjust(time.Hour)
	require.True(t, b.Allows(rested))
	require.True(t, b.Allows(rested))
}

// Requests go to the first priority that is ready, and there in proportion to weight.
func TestChoose(t *testing.T) {
	paths := []router.Path{{Priority: 2, Weight: 1, Ready: true}, {Priority: 1, Weight: 3, Ready: true}, {Priority: 1, Weight: 1, Ready: true}}
	counts := make([]int, len(paths))
	for turn := range uint64(400) {
		counts[router.Choose(paths, turn)]++
	}
	require.Equal(t, []int{0, 300, 100}, counts)
	paths[1].Ready = false
	require.Equal(t, 2, router.Choose(paths, 1))
	paths[2].Ready = false
	require.Equal(t, 0, router.Choose(paths, 1))
	paths[0].Ready = false
	require.Equal(t, -1, router.Choose(paths, 1))
	require.Equal(t, -1, router.Choose(nil, 1))
}
