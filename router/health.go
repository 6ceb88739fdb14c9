package router

import (
	"time"

	"github.com/lianfen/lianfen/points"
)

// BreakerRules say when a path to an issuer is not used for a while.
type BreakerRules struct {
	Failures int           // so many requests in a row without an answer open it
	Rest     time.Duration // then it is tried again with one request
}

// Breaker keeps requests from a path that does not answer: they would wait for their
// deadline, each of them, and leave a reversal behind. The caller guards it.
//
//	         Failures in a row              Rest is over
//	closed ───────────────────────> open ─────────────────> trying (one request)
//	  ^                              ^                        │  │
//	  └──────────── answered ────────│────────────────────────┘  │
//	                                 └─────── not answered ──────┘
type Breaker struct {
	failures int
	until    points.Timestamp // not before then; 0: closed
	trying   bool             // the one request is under way
}

// Allows reports whether a request may be sent at now, and counts it as the one that
// tries when the breaker has rested.
func (b *Breaker) Allows(now points.Timestamp) bool {
	switch {
	case b.until == 0:
		return true
	case now < b.until || b.trying:
		return false
	}
	b.trying = true
	return true
}

// Ready reports what [Breaker.Allows] would say, and counts nothing.
func (b *Breaker) Ready(now points.Timestamp) bool {
	return b.until == 0 || (now >= b.until && !b.trying)
}

// Answered closes the breaker: whatever the answer says, the path carries.
func (b *Breaker) Answered() { *b = Breaker{} }

// Unanswered counts a request without an answer at now.
func (b *Breaker) Unanswered(now points.Timestamp, rules BreakerRules) {
	b.failures++
	if b.trying || b.failures >= rules.Failures {
		b.until = now.Add(rules.Rest)
		b.trying = false
	}
}

// Abandoned says that a request was taken back before it was answered or its time was
// over: if it was the one that tries, another may.
func (b *Breaker) Abandoned() { b.trying = false }

// Adjust moves what is planned by d, because the clock was set to another time.
func (b *Breaker) Adjust(d time.Duration) {
	if b.until != 0 {
		b.until = b.until.Add(d)
	}
}

// Path is one way to an issuer, as [Choose] sees it.
type Path struct {
	Priority int // lower ones first; the others are for when those fail
	Weight   int // share among paths of the same priority, at least 1
	Ready    bool
}

// Choose returns the index of the path that request number turn takes: one that is
// ready, of the first priority that has any, in proportion to weight; -1 when none is.
func Choose(paths []Path, turn uint64) int {
	best, total := 0, uint64(0)
	for _, p := range paths {
		switch {
		case !p.Ready:
		case total == 0 || p.Priority < best:
			best, total = p.Priority, uint64(max(p.Weight, 1))
		case p.Priority == best:
			total += uint64(max(p.Weight, 1))
		}
	}
	if total == 0 {
		return -1
	}
	turn %= total
	for i, p := range paths {
		if !p.Ready || p.Priority != best {
			continue
		}
		weight := uint64(max(p.Weight, 1))
		if turn < weight {
			return i
		}
		turn -= weight
	}
	return -1
}
