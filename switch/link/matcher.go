package link

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// Errors of [Matcher.Add]. Nothing was added.
var (
	// ErrDuplicateKey says that an answer with the same key is awaited already.
	ErrDuplicateKey = errors.New("link: an answer with this key is awaited already")
	// ErrMatcherFull says that the matcher awaits as many answers as it may.
	ErrMatcherFull = errors.New("link: too many answers are awaited")
)

// Matcher pairs answers with the requests that they belong to, by the caller's
// own key and never by their order: one stray message would shift every answer
// after it to the wrong request. For each key it keeps a value, such as the
// request, and the instant at which waiting ends.
//
// A key leaves exactly once: through Take, Expire or Abandon, whichever is
// first. So an answer and its time-out cannot both win.
//
// It reads no clock, and the same calls give the same results. It may be used by
// several goroutines.
type Matcher[K comparable, V any] struct {
	mu       sync.Mutex // guards what follows
	capacity int
	slots    []slot[K, V] // used ones and free ones
	free     []int        // indexes of free slots
	byKey    map[K]int    // index of the slot
	byDue    []int        // binary heap of slots, the earliest due first
	added    uint64
}

// slot holds one awaited answer.
type slot[K comparable, V any] struct {
	key   K
	value V
	due   time.Time
	order uint64 // of Add, for those that are due at the same instant
	place int    // index in byDue
}

// NewMatcher makes a matcher that awaits at most capacity answers. It takes
// memory as it fills.
func NewMatcher[K comparable, V any](capacity int) *Matcher[K, V] {
	return &Matcher[K, V]{capacity: capacity, byKey: make(map[K]int)}
}

// Add awaits an answer with key until due. Its errors are [ErrDuplicateKey] and
// [ErrMatcherFull].
func (m *Matcher[K, V]) Add(key K, due time.Time, value V) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, taken := m.byKey[key]; taken {
		return ErrDuplicateKey // The key is the caller's to tell, or to keep to itself.
	}
	if len(m.byDue) >= m.capacity {
		return fmt.Errorf("%w: %d", ErrMatcherFull, m.capacity)
	}
	m.added++
	at := m.vacant()
	m.slots[at] = slot[K, V]{key: key, value: value, due: due, order: m.added, place: len(m.byDue)}
	m.byKey[key] = at
	m.byDue = append(m.byDue, at)
	m.rise(len(m.byDue) - 1)
	return nil
}

// Take ends waiting for key because its answer has come, and returns its value.
// ok is false for an answer that nobody awaits: a stray one, one that was taken
// before, or one that came after its time.
func (m *Matcher[K, V]) Take(key K) (value V, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	at, ok := m.byKey[key]
	if !ok {
		return value, false
	}
	_, value = m.remove(at)
	return value, true
}

// Expire ends waiting for all that is due at now or earlier, and calls expired
// for each, the earliest first and in order of Add where that is the same. It
// returns how many there were. expired may use the matcher.
func (m *Matcher[K, V]) Expire(now time.Time, expired func(key K, value V)) int {
	return m.leave(func(due time.Time) bool { return !due.After(now) }, expired)
}

// Abandon ends waiting for everything, as when the link is down, in the order of
// [Matcher.Expire]; it returns how many there were. abandoned must not Add.
func (m *Matcher[K, V]) Abandon(abandoned func(key K, value V)) int {
	return m.leave(func(time.Time) bool { return true }, abandoned)
}

// Next returns when [Matcher.Expire] next has something to do; ok is false if
// nothing is awaited.
func (m *Matcher[K, V]) Next() (due time.Time, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.byDue) == 0 {
		return time.Time{}, false
	}
	return m.slots[m.byDue[0]].due, true
}

// Adjust moves the instants at which waiting ends by d, because the clock was set to
// another time.
func (m *Matcher[K, V]) Adjust(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, at := range m.byDue {
		m.slots[at].due = m.slots[at].due.Add(d)
	}
}

// Len returns how many answers are awaited.
func (m *Matcher[K, V]) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.byDue)
}

// leave removes the earliest as long as its due time passes the test, and tells
// of each without holding the lock.
func (m *Matcher[K, V]) leave(test func(due time.Time) bool, tell func(K, V)) int {
	for n := 0; ; n++ {
		m.mu.Lock()
		if len(m.byDue) == 0 || !test(m.slots[m.byDue[0]].due) {
			m.mu.Unlock()
			return n
		}
		key, value := m.remove(m.byDue[0])
		m.mu.Unlock()
		tell(key, value)
	}
}

// vacant returns the index of a free slot; m.mu is held.
func (m *Matcher[K, V]) vacant() int {
	if last := len(m.free) - 1; last >= 0 {
		at := m.free[last]
		m.free = m.free[:last]
		return at
	}
	m.slots = append(m.slots, slot[K, V]{})
	return len(m.slots) - 1
}

// remove frees a slot and returns what was in it; m.mu is held.
func (m *Matcher[K, V]) remove(at int) (K, V) {
	s := m.slots[at]
	delete(m.byKey, s.key)
	last := len(m.byDue) - 1
	m.swap(s.place, last)
	m.byDue = m.byDue[:last]
	if s.place < last {
		m.sink(s.place)
		m.rise(s.place)
	}
	m.slots[at] = slot[K, V]{} // lets go of what key and value point to
	m.free = append(m.free, at)
	return s.key, s.value
}

// before reports whether place i of the heap is due before place j.
func (m *Matcher[K, V]) before(i, j int) bool {
	a, b := &m.slots[m.byDue[i]], &m.slots[m.byDue[j]]
	if order := a.due.Compare(b.due); order != 0 {
		return order < 0
	}
	return a.order < b.order
}

// swap exchanges two places of the heap.
func (m *Matcher[K, V]) swap(i, j int) {
	m.byDue[i], m.byDue[j] = m.byDue[j], m.byDue[i]
	m.slots[m.byDue[i]].place = i
	m.slots[m.byDue[j]].place = j
}

// rise moves place i up until nothing above it is due later.
func (m *Matcher[K, V]) rise(i int) {
	for i > 0 && m.before(i, (i-1)/2) {
		m.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

// sink moves place i down until nothing below it is due earlier.
func (m *Matcher[K, V]) sink(i int) {
	for {
		first := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(m.byDue); child++ {
			if m.before(child, first) {
				first = child
			}
		}
		if first == i {
			return
		}
		m.swap(i, first)
		i = first
	}
}
