package ledger

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/store"
)

// filled is a shelf of a few thousand records about few or many members, some of them
// twice, with their points moved or not.
func filled(random *rand.Rand, number uint32) (s shelf) {
	place := placeOf(memberKey)
	s.clear(number)
	subjects := uint64(1) << (1 + random.IntN(40))
	for where := range entry(1 + random.IntN(6_000)) {
		for range random.IntN(4) {
			e := entry(random.Uint64N(subjects))<<subjectAt | where<<1
			for range 1 + random.IntN(2) {
				s.kinds[place] = append(s.kinds[place], e|entry(random.IntN(2)))
			}
		}
		s.last = uint64(number)<<13 | uint64(where)
	}
	return s
}

// obvious is what is filed on a shelf from low to high: sorted, each record once
// under a subject, as moved if it is that once.
func obvious(s *shelf, low, high entry) (want []entry) {
	sorted := slices.Clone(s.kinds[placeOf(memberKey)])
	slices.Sort(sorted)
	for _, e := range slices.CompactFunc(sorted, func(a, b entry) bool { return a>>1 == b>>1 }) {
		if e >= low && e <= high {
			want = append(want, e)
		}
	}
	return want
}

// What is filed on a shelf is found there in memory and in the store, from the front
// and from the back, all of it and nothing else.
func TestShelfIsReadBack(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	place := placeOf(memberKey)
	opts := store.Options{Dir: "data", FS: vfs.NewMem(), BlockCacheMB: 1}
	require.NoError(t, store.Create(opts))
	db, err := store.Open(opts)
	require.NoError(t, err)
	for number := range uint32(25) {
		s := filled(random, number)
		all := s.arranged(place)
		require.Equal(t, obvious(&s, 0, ^entry(0)), all)
		shelved, others := s.pairs(13)
		require.NoError(t, db.Ingest(context.Background(), shelved, others))
		if len(all) == 0 {
			continue
		}
		for range 60 {
			// A member who is there, or is not; once in a while all of them.
			who := subject{kind: memberKey, member: 1}
			low, high := who.span(false)
			e := all[random.IntN(len(all))]>>subjectAt + entry(random.IntN(2))
			low, high = e<<subjectAt, e<<subjectAt|(high-low)
			if random.IntN(20) == 0 {
				low, high = 0, ^entry(0)
			}
			want := obvious(&s, low, high)
			if low != 0 {
				require.Equal(t, want, s.between(nil, place, low, high))
			}
			var ahead, back []entry
			require.NoError(t, pages(context.Background(), db, number, memberKey, low, high, false, func(entries []entry) (bool, error) {
				ahead = append(ahead, entries...)
				return true, nil
			}))
			require.Equal(t, want, ahead)
			require.NoError(t, pages(context.Background(), db, number, memberKey, low, high, true, func(entries []entry) (bool, error) {
				slices.Reverse(entries)
				back = append(back, entries...)
				return true, nil
			}))
			slices.Reverse(back)
			require.Equal(t, want, back)
		}
	}
	require.NoError(t, db.Close())
}

// Whatever stands in a page is either entries in ascending order or refused.
func FuzzReadPage(f *testing.F) {
	f.Add(uint64(7), appendPage(nil, []entry{7, 9, 1 << 40, 1<<40 + 5}))
	f.Add(^uint64(0), []byte{2, 1, 1})
	f.Add(uint64(0), []byte{0})
	f.Fuzz(func(t *testing.T, first uint64, value []byte) {
		page, err := readPage(nil, entry(first), value)
		if err != nil {
			require.ErrorIs(t, err, errBadIndex)
			return
		}
		require.True(t, slices.IsSorted(page))
		again, err := readPage(nil, entry(first), appendPage(nil, page))
		require.NoError(t, err)
		require.Equal(t, page, again)
	})
}
