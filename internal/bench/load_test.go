package bench

import (
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
)

// In a closed loop every request is answered, and every approval is kept under its
// own number with the position that it named, in either dialect.
func TestClosedLoop(t *testing.T) {
	for _, name := range []string{"pos", "host"} {
		var mu sync.Mutex
		type key struct {
			terminal points.TerminalID
			when     uint64
			stan     points.STAN
		}
		told := map[key]points.Position{}
		next := points.Position(0)
		peer := newCounterpart(t, name, func(_ int, req *points.Request, resp *points.Response) int {
			mu.Lock()
			defer mu.Unlock()
			next++
			k := key{req.Terminal, uint64(req.Batch), req.STAN}
			if name == "host" {
				k.terminal, k.when = points.TerminalID{}, req.Transmission
			}
			resp.Position, told[k] = next, next
			return 1
		})
		l := load(name, peer.address)
		l.Duration = 300 * time.Millisecond // long enough for a busy machine to answer within it
		l.Answers = filepath.Join(t.TempDir(), "answers")
		seen, err := Generate(t.Context(), l, time.Now)
		require.NoError(t, err)
		require.Equal(t, uint64(next), seen.Answered)
		require.Equal(t, seen.Answered, seen.Approved)
		require.Zero(t, seen.Unanswered)
		require.Empty(t, seen.Declined)
		require.Equal(t, series(9), seen.Next)
		require.Positive(t, seen.PerSecond)
		require.Positive(t, seen.Latency.P50)

		answers := newAnswers(name == "host")
		require.NoError(t, answers.add(l.Answers))
		require.Equal(t, uint64(len(told)), answers.count)
		for k, position := range told {
			require.Equal(t, position, answers.all[numbering{k.terminal, k.when}][k.stan-1])
		}
		require.ErrorContains(t, answers.add(l.Answers), "was sent twice")
	}
}

// A walk sends one request for each member.
func TestWalk(t *testing.T) {
	var mu sync.Mutex
	seen := map[points.PAN]int{}
	peer := newCounterpart(t, "pos", func(_ int, req *points.Request, _ *points.Response) int {
		mu.Lock()
		defer mu.Unlock()
		seen[req.PAN]++
		return 1
	})
	l := load("pos", peer.address)
	l.Walk, l.Accounts, l.Conns, l.Duration = true, 101, 3, time.Minute
	got, err := Generate(t.Context(), l, time.Now)
	require.NoError(t, err)
	require.Equal(t, uint64(101), got.Answered)
	require.Len(t, seen, 101)
	for member := uint64(1); member <= 101; member++ {
		pan, err := worldCard(member)
		require.NoError(t, err)
		require.Equal(t, 1, seen[pan], "member %d", member)
	}
}

// Latency of an open loop runs from the time at which a request was due: one stall
// is seen by all that it delayed, although only one request was in flight in it.
func TestOpenLoopSeesTheWholeStall(t *testing.T) {
	const stall = 100 * time.Millisecond
	peer := newCounterpart(t, "pos", func(n int, _ *points.Request, _ *points.Response) int {
		if n == 1 {
			<-time.After(stall)
		}
		return 1
	})
	l := load("pos", peer.address)
	l.Conns, l.Depth, l.Rate, l.Duration = 1, 1, 500, 2*stall
	seen, err := Generate(t.Context(), l, time.Now)
	require.NoError(t, err)
	require.GreaterOrEqual(t, seen.Latency.Max, float64(stall.Microseconds()))
	// Those of the first 100 ms waited 50 ms on average, and are a quarter at least.
	require.Greater(t, seen.Latency.P90, float64(stall.Microseconds())/4)
	require.LessOrEqual(t, seen.Answered, uint64(101), "more than fell due")
	require.Greater(t, seen.Answered, uint64(10))
}

// What comes back wrong is told, not counted as served.
func TestGenerateRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(int, *points.Request, *points.Response) int
		err    string
	}{
		{"a second answer", func(n int, _ *points.Request, _ *points.Response) int { return 1 + n/3 }, "which is not in flight"},
		{"another STAN", func(_ int, req *points.Request, _ *points.Response) int { req.STAN += 500_000; return 1 }, "which is not in flight"},
		{"another batch", func(_ int, req *points.Request, _ *points.Response) int { req.Batch++; return 1 }, "which is not in flight"},
	} {
		peer := newCounterpart(t, "pos", c.change)
		_, err := Generate(t.Context(), load("pos", peer.address), time.Now)
		require.ErrorContains(t, err, c.err, c.name)
	}
	declines := newCounterpart(t, "pos", func(n int, _ *points.Request, resp *points.Response) int {
		if n%2 == 0 {
			*resp = points.Response{Reason: points.NotEnoughPoints}
		}
		return 1
	})
	seen, err := Generate(t.Context(), load("pos", declines.address), time.Now)
	require.NoError(t, err)
	require.Equal(t, map[string]uint64{points.NotEnoughPoints.DE39(): seen.Answered - seen.Approved}, seen.Declined)
	require.Positive(t, seen.Approved)
	require.Less(t, seen.Approved, seen.Answered)

	worn := load("pos", declines.address)
	worn.First = maxSeries
	_, err = Generate(t.Context(), worn, time.Now)
	require.ErrorContains(t, err, "used up")
}

// An echo brings every frame back, however many come in one read.
func TestEcho(t *testing.T) {
	for _, depth := range []int{1, 200} {
		l := load("host", echoed(t))
		l.Echo, l.Depth = true, depth
		seen, err := Generate(t.Context(), l, time.Now)
		require.NoError(t, err)
		require.Zero(t, seen.Unanswered)
		require.Greater(t, seen.Answered, uint64(depth))
	}
}
