package pointswitch

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
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

// looks are those of a test at an overload whose clock it moves.
type looks struct {
	overload
	now points.Timestamp
}

func newLooks() *looks {
	return &looks{overload: overload{target: 50 * time.Millisecond, interval: 100 * time.Millisecond}, now: 1_000 * second}
}

// sheds moves the clock and looks, where hardly anything waits.
func (l *looks) sheds(after, delay time.Duration) bool {
	l.now = l.now.Add(after)
	return l.observe(l.now, delay, 1) <= 0
}

// New requests are turned away when the delay is over target for an interval on end, and
// until it no longer is.
func TestOverload(t *testing.T) {
	o := newLooks()
	require.False(t, o.sheds(0, time.Hour), "one look is no interval")
	require.False(t, o.sheds(99*time.Millisecond, time.Hour))
	require.False(t, o.sheds(0, o.target), "below for a moment: it begins anew")
	require.False(t, o.sheds(time.Millisecond, o.target+1))
	require.False(t, o.sheds(o.interval-time.Microsecond, o.target+1))
	require.True(t, o.sheds(time.Microsecond, o.target+1))
	require.True(t, o.sheds(time.Hour, o.target+1))
	require.False(t, o.sheds(time.Millisecond, o.target))
	require.False(t, o.sheds(-time.Hour, time.Hour), "a clock that is set back proves nothing")
	require.False(t, o.sheds(o.interval-time.Microsecond, time.Hour))
	require.True(t, o.sheds(time.Microsecond, time.Hour))
}

// Who has just shed sheds again as soon as the delay is over target, for some intervals, and
// counts from its last shedding; a clock that was set back forgets that.
func TestOverloadRelapses(t *testing.T) {
	o := newLooks()
	require.False(t, o.sheds(0, time.Hour))
	require.True(t, o.sheds(o.interval, time.Hour))
	require.False(t, o.sheds(time.Millisecond, o.target))
	require.True(t, o.sheds(time.Millisecond, o.target+1), "no new interval")
	for range 10 {
		require.False(t, o.sheds(relapse*o.interval-time.Millisecond, o.target))
		require.True(t, o.sheds(time.Millisecond, o.target+1))
	}
	require.False(t, o.sheds(relapse*o.interval, o.target))
	require.False(t, o.sheds(time.Microsecond, time.Hour), "that was long ago")
	require.True(t, o.sheds(o.interval, time.Hour))
	require.False(t, o.sheds(-time.Hour, time.Hour), "a clock that is set back proves nothing")
}

// Once overloaded, there is room for what makes the limit of those that wait, which starts
// where the delay would be target and follows the delay; when it is over there is for all.
func TestOverloadKnowsItsRoom(t *testing.T) {
	o := newLooks()
	at := func(after, delay time.Duration, waiting int64) int64 {
		o.now = o.now.Add(after)
		return o.observe(o.now, delay, waiting)
	}
	require.Equal(t, int64(unlimited), at(0, 200*time.Millisecond, 4_000))
	require.EqualValues(t, 225-900, at(o.interval, 200*time.Millisecond, 900))
	require.Zero(t, at(0, 200*time.Millisecond, 100), "the delay is over target")
	require.EqualValues(t, 225-100, at(time.Millisecond, o.target, 100), "225 would wait for target")
	require.EqualValues(t, -25, at(time.Millisecond, o.target, 250), "what waits is younger than target, but the next would not be")
	require.EqualValues(t, 25, at(time.Millisecond, o.target, 200))
	require.EqualValues(t, 225, o.limit)
	require.Zero(t, at(o.target, 2*o.target, 10))
	require.EqualValues(t, 225-225/4, o.limit, "twice the target: half the way to half of it")
	require.EqualValues(t, 253-94, at(o.target, 0, 94), "half as much again, since somebody was turned away")
	require.EqualValues(t, 253-100, at(2*o.target, 0, 100), "nobody was turned away for it")
	require.EqualValues(t, 253, o.limit)
	require.Equal(t, int64(unlimited), at(relapse*o.interval, time.Millisecond, 1_000), "it is over")

	o = newLooks()
	require.Equal(t, int64(unlimited), at(0, time.Hour, 1))
	require.Zero(t, at(o.interval, time.Hour, 1))
	require.EqualValues(t, leastLimit-1, at(time.Millisecond, o.target, 1), "a disk that stood still is no reason to let nobody in")
}

// Whatever more is asked than can be answered, nobody who is let in waits for twice the
// target, once it has shed, and the server is never idle for want of who was turned
// away: a queue with a server of so many a second, asked for load times that, on a clock of
// its own.
func TestOverloadBoundsTheWait(t *testing.T) {
	const perSecond = 10_000
	for _, load := range []float64{0.5, 0.9, 1.1, 1.5, 3, 10, 100} {
		o := newLooks()
		start := o.now
		var queue []points.Timestamp // when each came
		var longest time.Duration
		answered, owed, due := 0, 0.0, 0.0
		const tick, warmed, end = time.Millisecond, 3 * time.Second, 10 * time.Second
		for at := time.Duration(0); at < end; at += tick {
			now := start.Add(at)
			for due += load * perSecond * tick.Seconds(); due >= 1; due-- {
				delay := time.Duration(0)
				if len(queue) > 0 {
					delay = now.Sub(queue[0])
				}
				if o.observe(now, delay, int64(len(queue))) > 0 && len(queue) < perSecond/2 { // The ledger's has an end too.
					queue = append(queue, now)
				}
			}
			for owed += perSecond * tick.Seconds(); owed >= 1 && len(queue) > 0; owed-- {
				if at >= warmed {
					longest = max(longest, now.Sub(queue[0]))
					answered++
				}
				queue = queue[1:]
			}
			owed = min(owed, 1)
		}
		most := float64(perSecond) * (end - warmed).Seconds()
		require.Greater(t, float64(answered), min(load, 0.99)*most-10, "load %v: nobody is turned away while the server is idle", load)
		require.Less(t, longest, 2*o.target, "load %v", load)
	}
}

// A swap is known again by what it executes too, when its key is forgotten: only the ledger
// can tell. What undoes or tells, a batch and the network are never turned away like that.
func TestPlainKeys(t *testing.T) {
	plain := 0
	for f := range points.Function(255) {
		if !plainKey(f) {
			continue
		}
		plain++
		switch kind := book.KindOf(f); kind {
		case 0, book.KindSwap, book.KindSwapLock, book.KindReverse, book.KindCloseBatch, book.KindUpload, book.KindSignOn:
			t.Errorf("%v is of kind %d", f, kind)
		default:
		}
		if goesFirst(&points.Request{Function: f}) {
			t.Errorf("%v goes first", f)
		}
	}
	require.Equal(t, 10, plain)
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
	look := func(after time.Duration) (sheds bool, rest time.Duration) {
		room, rest := p.room(now.Add(time.Hour + after))
		return room <= 0, rest
	}
	sheds, _ := look(time.Second)
	require.False(t, sheds)
	sheds, rest := look(2 * time.Second)
	require.True(t, sheds)
	require.Equal(t, 10*time.Millisecond/8, rest, "an eighth of the target")
	require.True(t, p.isShedding())
	p.state.target = time.Second
	_, rest = look(2 * time.Second)
	require.Equal(t, readPause, rest)
	_, rest = look(time.Second / 2)
	require.Zero(t, rest, "half the target: the ledger may soon have nothing to do")
	p.on = false
	sheds, rest = look(3 * time.Second)
	require.False(t, sheds, "switched off")
	require.Zero(t, rest)
}
