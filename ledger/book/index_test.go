package book

import (
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
)

// A cached account is a promise of memory: 136 bytes, beside 20 in the index.
func TestAccountIsSmall(t *testing.T) {
	require.LessOrEqual(t, unsafe.Sizeof(account{}), uintptr(136))
}

// under lists the numbers that x has under hash, ascending.
func (x *index) under(hash uint64) (numbers []uint64) {
	for cursor := x.seek(hash); ; {
		number := cursor.next()
		if number == 0 {
			slices.Sort(numbers)
			return numbers
		}
		numbers = append(numbers, number)
	}
}

// An index holds what a map of lists holds, whatever is put in and taken
// out, and however much the hashes resemble each other.
func TestIndexIsAMap(t *testing.T) {
	hashes := map[string]func(n uint64) uint64{
		"spread":     func(n uint64) uint64 { return mix(1, n, 2) },
		"alike":      func(n uint64) uint64 { return n << 8 },
		"all equal":  func(uint64) uint64 { return 1<<63 | 5<<8 },
		"neighbours": func(n uint64) uint64 { return mix(1, n/8, 2) ^ n%8<<8 },
	}
	for name, hash := range hashes {
		t.Run(name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, 2))
			x, want := newIndex(), make(map[uint64][]uint64)
			const kinds, top = 1500, numberMask
			for step := range 6000 {
				h := hash(random.Uint64N(kinds))
				had := want[h]
				number := top - uint64(step)
				if len(had) == 0 || random.IntN(3) > 0 {
					x.insert(h, number)
					want[h] = append(had, number)
				} else {
					i := random.IntN(len(had))
					x.remove(h, had[i])
					want[h] = slices.Delete(had, i, i+1)
				}
			}
			all := 0
			for h, numbers := range want {
				slices.Sort(numbers)
				require.True(t, slices.Equal(numbers, x.under(h)))
				all += len(numbers)
			}
			x.each(func(uint64) { all-- })
			require.Zero(t, all)
			require.Empty(t, x.under(hash(kinds+1)<<1|1<<62))
		})
	}
}

// What is not wanted any more gives way instead of taking more memory, and what
// is wanted stays.
func TestIndexForgetsWhatIsDead(t *testing.T) {
	x, first := newIndex(), uint64(1)
	x.alive = func(number uint64) bool { return number >= first }
	hash := func(n uint64) uint64 { return mix(3, n, 4) }
	const kept = 10_000
	for number := uint64(1); number <= 50*kept; number++ {
		x.insert(hash(number), number)
		if number > kept {
			first = number - kept
		}
	}
	for number := first; number < first+kept; number++ {
		require.Equal(t, []uint64{number}, x.under(hash(number)))
	}
	stored := 0
	x.each(func(uint64) { stored++ })
	require.Less(t, stored, 5*kept)
}

// The number of a position leads back to it for longer than any key is kept, and
// where numbers begin anew.
func TestPositionsHaveNumbers(t *testing.T) {
	b := New(Options{}, oneRecord{})
	for _, now := range []points.Position{1, numberMask - 1, numberMask, numberMask + 1, 5*numberMask + 7, 1 << 62} {
		b.position = now
		for _, back := range []points.Position{0, 1, 1000, 1 << 32, numberMask - 1} {
			if back < now {
				number := numberOf(now - back)
				require.NotZero(t, number)
				require.LessOrEqual(t, number, uint64(numberMask))
				require.Equal(t, now-back, b.positionOf(number))
			}
		}
	}
}

// oneRecord is a journal of one record, with the key that it was written under.
type oneRecord struct{ key points.TraceKey }

func (oneRecord) State([]byte) ([]byte, bool, error) { return nil, false, nil }

func (o oneRecord) Record(position points.Position, rec *Record) error {
	*rec = Record{Command: Command{Key: o.key}, Outcome: Outcome{Position: position}}
	return nil
}

// A key is not taken for another one that has the same hash.
func TestKeysWithOneHashAreTwo(t *testing.T) {
	mine, other := points.TraceKey{STAN: 1}, points.TraceKey{STAN: 2}
	b := New(Options{}, oneRecord{mine})
	b.position = 1
	for _, key := range []points.TraceKey{mine, other} {
		b.keys.insert(hashKey(b.seed, &key), numberOf(1))
	}
	position, err := b.lookUp(&mine)
	require.NoError(t, err)
	require.Equal(t, points.Position(1), position)
	position, err = b.lookUp(&other)
	require.NoError(t, err)
	require.Zero(t, position)
}
