package link_test

import (
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lianfen/lianfen/switch/link"
)

// at returns the instant n seconds into the test's day.
func at(n int) time.Time { return time.Unix(int64(n), 0) }

// An answer finds its own request whatever the order, once; a stray, repeated or
// late one finds none; a key is not awaited twice at a time.
func TestMatcher(t *testing.T) {
	m := link.NewMatcher[string, int](2)
	_, ok := m.Next()
	require.False(t, ok)
	require.NoError(t, m.Add("000001", at(15), 1))
	require.ErrorIs(t, m.Add("000001", at(99), 3), link.ErrDuplicateKey)
	require.NoError(t, m.Add("000002", at(10), 2))
	require.ErrorIs(t, m.Add("000003", at(1), 3), link.ErrMatcherFull)
	require.Equal(t, 2, m.Len())

	_, ok = m.Take("000009")
	require.False(t, ok, "a stray answer")
	value, ok := m.Take("000002")
	require.True(t, ok)
	require.Equal(t, 2, value)
	_, ok = m.Take("000002")
	require.False(t, ok, "a repeated answer")

	due, ok := m.Next()
	require.True(t, ok)
	require.Equal(t, at(15), due, "a refused key changes nothing")
	require.Zero(t, m.Expire(at(15).Add(-1), nil))
	var late []string
	require.Equal(t, 1, m.Expire(at(15), func(key string, value int) {
		late = append(late, key+"="+strconv.Itoa(value))
		require.NoError(t, m.Add("000001", at(30), 4), "a key that left may come back")
	}))
	require.Equal(t, []string{"000001=1"}, late)
	value, ok = m.Take("000001")
	require.True(t, ok)
	require.Equal(t, 4, value)
}

// What expires does so in due order, and in order of Add at the same instant; a
// link that is down gives everything back in that order.
func TestMatcherOrder(t *testing.T) {
	m := link.NewMatcher[int, string](10)
	for key, due := range []int{5, 3, 5, 1, 3, 9} {
		require.NoError(t, m.Add(key, at(due), ""))
	}
	var order []int
	leave := func(key int, _ string) { order = append(order, key) }
	require.Equal(t, 3, m.Expire(at(4), leave))
	require.Equal(t, []int{3, 1, 4}, order)
	require.Equal(t, 3, m.Abandon(leave))
	require.Equal(t, []int{3, 1, 4, 0, 2, 5}, order)
	require.Zero(t, m.Len())
}

// awaited is one entry of the naive matcher.
type awaited struct{ key, due, value int }

// The matcher agrees with a sorted list on every call of a random sequence.
func TestMatcherAgreesWithAList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		capacity := rapid.IntRange(1, 30).Draw(t, "capacity")
		m := link.NewMatcher[int, int](capacity)
		var list []awaited // In order of Add.
		now := 0
		for step := range rapid.IntRange(1, 200).Draw(t, "steps") {
			key := rapid.IntRange(0, 40).Draw(t, "key")
			at0 := slices.IndexFunc(list, func(a awaited) bool { return a.key == key })
			switch rapid.SampledFrom([]string{"add", "add", "take", "expire"}).Draw(t, "call") {
			case "add":
				due := now + rapid.IntRange(0, 20).Draw(t, "wait")
				err := m.Add(key, at(due), step)
				switch {
				case at0 >= 0:
					require.ErrorIs(t, err, link.ErrDuplicateKey)
				case len(list) == capacity:
					require.ErrorIs(t, err, link.ErrMatcherFull)
				default:
					require.NoError(t, err)
					list = append(list, awaited{key, due, step})
				}
			case "take":
				value, ok := m.Take(key)
				require.Equal(t, at0 >= 0, ok)
				if ok {
					require.Equal(t, list[at0].value, value)
					list = slices.Delete(list, at0, at0+1)
				}
			case "expire":
				now += rapid.IntRange(0, 10).Draw(t, "pass")
				var want, got []awaited
				for _, a := range list {
					if a.due <= now {
						want = append(want, a)
					}
				}
				slices.SortStableFunc(want, func(a, b awaited) int { return a.due - b.due })
				list = slices.DeleteFunc(list, func(a awaited) bool { return a.due <= now })
				n := m.Expire(at(now), func(key, value int) { got = append(got, awaited{key: key, value: value}) })
				require.Equal(t, len(want), n)
				for i := range want {
					require.Equal(t, want[i].key, got[i].key)
					require.Equal(t, want[i].value, got[i].value)
				}
			}
			require.Equal(t, len(list), m.Len())
			due, ok := m.Next()
			require.Equal(t, len(list) > 0, ok)
			if ok {
				first := slices.MinFunc(list, func(a, b awaited) int { return a.due - b.due })
				require.Equal(t, at(first.due), due)
			}
		}
	})
}

// An answer and its time-out that race: exactly one of them wins, for every key.
func TestMatcherAnswerAgainstTimeOut(t *testing.T) {
	const keys = 2000
	m := link.NewMatcher[int, int](keys)
	for key := range keys {
		require.NoError(t, m.Add(key, at(key), key))
	}
	var left [keys]atomic.Int32
	var both sync.WaitGroup
	both.Go(func() {
		for key := keys - 1; key >= 0; key-- {
			if _, ok := m.Take(key); ok {
				left[key].Add(1)
			}
		}
	})
	both.Go(func() {
		for now := range keys {
			m.Expire(at(now), func(key, _ int) { left[key].Add(1) })
		}
	})
	both.Wait()
	for key := range keys {
		require.Equal(t, int32(1), left[key].Load(), "key %d", key)
	}
}

// A clock that is set to another time moves every end of waiting by as much, in the same
// order.
func TestMatcherFollowsTheClock(t *testing.T) {
	m := link.NewMatcher[int, int](10)
	for key := range 5 {
		require.NoError(t, m.Add(key, at(100-key), key))
	}
	m.Adjust(at(10).Sub(at(60)))
	due, ok := m.Next()
	require.True(t, ok)
	require.Equal(t, at(46), due)
	var order []int
	m.Expire(at(48), func(key, _ int) { order = append(order, key) })
	require.Equal(t, []int{4, 3, 2}, order)
	require.Equal(t, 2, m.Len())
}

// BenchmarkMatcher adds and takes with 1,000 answers awaited.
func BenchmarkMatcher(b *testing.B) {
	m := link.NewMatcher[uint64, *int](1001)
	value := new(int)
	for key := range uint64(1000) {
		require.NoError(b, m.Add(key, at(int(key)), value))
	}
	b.ReportAllocs()
	key := uint64(1000)
	for b.Loop() {
		if err := m.Add(key, at(int(key)), value); err != nil {
			b.Fatal(err)
		}
		if _, ok := m.Take(key - 1000); !ok {
			b.Fatal("a request was lost")
		}
		key++
	}
}
