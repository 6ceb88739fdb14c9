package ledger

import (
	"slices"
	"sync/atomic"

	"github.com/lianfen/lianfen/points"
)

// seen tells keys that were never handed over from those that may have been, for who
// cannot ask the book. It never takes a key that the book remembers for a new one, and of
// new keys one in a hundred or so for one that is remembered.
//
// It is a row of Bloom filters (Bloom 1970), each twice as large as the one before, up to a
// bound. Keys go into the last one until that is full; those before it only wait until no
// position that a key in them can have is remembered any more. A key sets bits of a single
// word, so that it costs one access to memory; keys whose STANs are neighbours, as those of
// one sender are, have their words side by side.
//
// One goroutine at a time adds; any may ask.
type seen struct {
	filters atomic.Pointer[[]*filter] // replaced, never changed
}

type filter struct {
	words []uint64 // atomic; a power of two of them, eight a line of the processor's cache
	room  int      // keys that it still takes; of who adds
	last  points.Position
}

const (
	seenBits  = 16      // of a filter for each key
	seenFirst = 1 << 14 // words of the first filter, which takes 65,536 keys
	seenMost  = 1 << 22 // words of the largest, 32 MiB, 16 million keys
)

func newFilter(words int) *filter {
	return &filter{words: make([]uint64, words), room: words * 64 / seenBits}
}

// place is the word of a hash and the bits that its key sets there, up to four. The three
// bits of the hash in which neighbours differ choose a word of a line, others the line.
func (f *filter) place(hash uint64) (word *uint64, bits uint64) {
	line := int(hash>>32) & (len(f.words)/8 - 1)
	bits = 1<<(hash&63) | 1<<(hash>>11&63) | 1<<(hash>>17&63) | 1<<(hash>>23&63)
	return &f.words[line*8+int(hash>>8&7)], bits
}

// add puts a key down under its hash. No key that was added before has a position behind
// last, or ever will; the book remembers positions from floor on.
func (s *seen) add(hash uint64, last, floor points.Position) {
	var f *filter
	if all := s.filters.Load(); all != nil {
		f = (*all)[len(*all)-1]
	}
	if f == nil || f.room == 0 {
		f = s.grow(last, floor)
	}
	f.room--
	word, bits := f.place(hash)
	if atomic.LoadUint64(word)&bits != bits {
		atomic.OrUint64(word, bits)
	}
}

// grow begins another filter, and lets those go of which nothing is remembered.
func (s *seen) grow(last, floor points.Position) *filter {
	size := seenFirst
	var next []*filter
	if all := s.filters.Load(); all != nil {
		full := (*all)[len(*all)-1]
		full.last = last
		size = min(2*len(full.words), seenMost)
		for _, f := range *all {
			if f.last >= floor {
				next = append(next, f)
			}
		}
	}
	f := newFilter(size)
	next = append(next, f)
	s.filters.Store(&next)
	return f
}

// has reports whether a key with this hash may have been added.
func (s *seen) has(hash uint64) bool {
	all := s.filters.Load()
	if all == nil {
		return false
	}
	for i := range slices.Backward(*all) {
		if word, bits := (*all)[i].place(hash); atomic.LoadUint64(word)&bits == bits {
			return true
		}
	}
	return false
}
