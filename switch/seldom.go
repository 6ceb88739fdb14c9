package pointswitch

import (
	"log/slog"
	"sync"
	"time"

	"github.com/lianfen/lianfen/points"
)

// seldomEvery is how often a warning of one kind is written about one peer's faults: a
// peer that is wrong is wrong with every message, or dials again at once.
const seldomEvery = 10 * time.Second

// seldom lets one warning through in seldomEvery, which says how many were left out
// before it. What happened is counted by metrics in any case. The zero value is ready.
type seldom struct {
	mu      sync.Mutex
	next    points.Timestamp
	leftOut uint64
}

// may reports whether a warning may be written now, and what it says of those that were
// not written since the last one.
func (s *seldom) may(now points.Timestamp) (leftOut slog.Attr, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if wait := s.next.Sub(now); wait > 0 && wait <= seldomEvery { // Longer: the clock was set back.
		s.leftOut++
		return slog.Attr{}, false
	}
	leftOut = slog.Uint64("left_out", s.leftOut)
	s.next, s.leftOut = now.Add(seldomEvery), 0
	return leftOut, true
}
