package pointswitch

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
)

const second = points.Timestamp(1_000_000)

// A bucket lets its burst through at once and its rate from then on, and no more however
// the requests are spread; what goes first may have as much again, and is paid for.
func TestBucket(t *testing.T) {
	var b bucket
	b.limit(Rate{PerSecond: 10, Burst: 5})
	count := func(now points.Timestamp, first bool) (taken int) {
		for range 100 {
			if b.take(now, first) {
				taken++
			}
		}
		return taken
	}
	now := 1_000 * second
	require.Equal(t, 5, count(now, false))
	require.Equal(t, 5, count(now, true), "into debt")
	require.Zero(t, count(now, true))
	now += second / 2
	require.Zero(t, count(now, false), "until that is paid")
	now += second / 2
	require.Equal(t, 5, count(now, false))
	total := 0
	for range 1000 {
		now += second / 100
		if b.take(now, false) {
			total++
		}
	}
	require.Equal(t, 100, total, "ten seconds at ten a second")
	now += 3600 * second
	require.Equal(t, 5, count(now, false), "an hour's silence saves up no more than the burst")
	now -= 3600 * second
	require.Zero(t, count(now, false), "a clock that is set back refills nothing")
	now += 2 * second
	require.Positive(t, count(now, false), "and locks nobody out")
}

// Without a rate there is no limit, and nothing allocates.
func TestBucketCostsNothing(t *testing.T) {
	var free bucket
	free.limit(Rate{})
	limited := newBuckets(Rate{PerSecond: 1_000_000}, map[uint64]Rate{7: {PerSecond: 1}})
	limited.bucket(1 << 40)
	now := 1_000 * second
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		now++
		if !free.take(now, false) || !limited.bucket(1<<40).take(now, false) {
			t.Error("refused")
		}
	}))
	require.True(t, limited.bucket(7).take(now, false))
	require.False(t, limited.bucket(7).take(now, false), "its own rate")
}

// New requests are turned away when the delay is over target for an interval on end, and
// until it no longer is.
func TestOverload(t *testing.T) {
	const target, interval = 50 * time.Millisecond, 100 * time.Millisecond
	o := overload{target: target, interval: interval}
	now := 1_000 * second
	at := func(after, delay time.Duration) bool {
		now = now.Add(after)
		return o.observe(now, delay)
	}
	require.False(t, at(0, time.Hour), "one look is no interval")
	require.False(t, at(99*time.Millisecond, time.Hour))
	require.False(t, at(0, target), "below for a moment: it begins anew")
	require.False(t, at(time.Millisecond, target+1))
	require.False(t, at(interval-time.Microsecond, target+1))
	require.True(t, at(time.Microsecond, target+1))
	require.True(t, at(time.Hour, target+1))
	require.False(t, at(time.Millisecond, target))
	require.False(t, at(-time.Hour, time.Hour), "a clock that is set back proves nothing")
	require.False(t, at(interval-time.Microsecond, time.Hour))
	require.True(t, at(time.Microsecond, time.Hour))
}

// The age of the oldest command that waits is known from the order of the answers, and
// nothing waits when all are answered, however long ago.
func TestPressure(t *testing.T) {
	p := pressure{on: true, state: overload{target: 10 * time.Millisecond, interval: 20 * time.Millisecond}}
	now := 1_000 * second
	require.Zero(t, p.delay(now))
	p.handOver(2, now)
	p.handOver(1, now.Add(5*time.Millisecond))
	require.Equal(t, 7*time.Millisecond, p.delay(now.Add(7*time.Millisecond)))
	p.answered(now)
	p.refused()
	p.answered(now.Add(5 * time.Millisecond))
	require.Zero(t, p.delay(now.Add(time.Hour)))
	p.handOver(1, now.Add(time.Hour))
	require.Equal(t, time.Second, p.delay(now.Add(time.Hour+time.Second)))
	require.False(t, p.sheds(now.Add(time.Hour+time.Second)))
	require.True(t, p.sheds(now.Add(time.Hour+2*time.Second)))
	require.True(t, p.isShedding())
	p.on = false
	require.False(t, p.sheds(now.Add(time.Hour+3*time.Second)), "switched off")
}
