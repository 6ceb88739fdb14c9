package pointswitch

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/lianfen/lianfen/points"
)

// Rate is how many requests somebody may send. The zero value is no limit.
type Rate struct {
	PerSecond int
	Burst     int // at once, after a silence; 0: what comes in a second
}

// bucket holds requests against a rate. It is safe for concurrent use and allocates
// nothing. It is a token bucket kept as one instant, the one at which it would be full
// again (GCRA): a request moves that on by the time of one token.
type bucket struct {
	each  int64        // nanoseconds of one token; 0: no limit
	burst int64        // nanoseconds of all of them
	full  atomic.Int64 // nanoseconds since 1970
}

// limit gives an unused bucket its rate.
func (b *bucket) limit(r Rate) {
	if r.PerSecond <= 0 {
		return
	}
	burst := r.Burst
	if burst <= 0 {
		burst = r.PerSecond
	}
	b.each = max(1, int64(time.Second)/int64(r.PerSecond))
	b.burst = b.each * int64(burst)
}

// take takes a token at now, and reports whether there was one. Who goes first may go
// into debt, by as much as the bucket holds: nobody else is let through until it is paid.
func (b *bucket) take(now points.Timestamp, first bool) bool {
	if b.each == 0 {
		return true
	}
	at, most := int64(now)*int64(time.Microsecond), b.burst
	if first {
		most *= 2
	}
	for {
		full := b.full.Load()
		if full-at > 2*b.burst {
			// The clock was set back: the bucket is empty, and locks nobody out for longer
			// than it takes to fill.
			b.full.CompareAndSwap(full, at+b.burst)
			continue
		}
		next := max(full, at) + b.each
		if next-at > most {
			return false
		}
		if b.full.CompareAndSwap(full, next) {
			return true
		}
	}
}

// buckets are those of many, by who they are, all at the same rate but for some. Whoever
// is in there was known to a certificate or to the directory, which bounds them.
type buckets[K comparable] struct {
	rate Rate
	own  map[K]Rate // never written
	mu   sync.RWMutex
	of   map[K]*bucket // guarded by mu
}

func newBuckets[K comparable](rate Rate, own map[K]Rate) *buckets[K] {
	return &buckets[K]{rate: rate, own: own, of: make(map[K]*bucket)}
}

// bucket is that of who.
func (b *buckets[K]) bucket(who K) *bucket {
	b.mu.RLock()
	known := b.of[who]
	b.mu.RUnlock()
	if known != nil {
		return known
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if known = b.of[who]; known == nil {
		known = new(bucket)
		rate, ok := b.own[who]
		if !ok {
			rate = b.rate
		}
		known.limit(rate)
		b.of[who] = known
	}
	return known
}

// goesFirst tells what is let through before others under load: what undoes or tells
// what has happened, what was sent before, and what keeps a link alive. Refused, it would
// come again, and a sale would stand meanwhile that should not.
func goesFirst(req *points.Request) bool {
	return req.Function == points.Reversal || req.Advice || req.Repeat || req.Class == points.ClassNetwork
}

// overload tells when new requests are to be turned away, as CoDel does: when what is
// answered has waited longer than target for an interval on end, and no longer once it
// has not. It has no clock: what it is told decides.
//
//	          delay > target                for an interval
//	calm ─────────────────────> suspicious ─────────────────> shedding
//	  ^  <──── delay <= target ─────┘                             │
//	  └──────────────────── delay <= target ──────────────────────┘
type overload struct {
	target, interval time.Duration
	since            points.Timestamp // when the delay was found over target; 0: it is not
	shedding         bool
}

// observe takes the delay at now and reports whether to turn away.
func (o *overload) observe(now points.Timestamp, delay time.Duration) bool {
	switch {
	case delay <= o.target:
		o.since, o.shedding = 0, false
	case o.since == 0 || now < o.since: // The clock was set back.
		o.since = now
	case now.Sub(o.since) >= o.interval:
		o.shedding = true
	}
	return o.shedding
}

// pressure measures how long the ledger's oldest command has waited: commands are
// answered in the order in which they were handed over, so it came after the one that was
// answered last.
type pressure struct {
	waiting atomic.Int64 // commands handed over and not answered
	last    atomic.Int64 // when the last one that was answered came, or those began to wait

	mu    sync.Mutex // guards what follows
	state overload
	on    bool
}

// handOver counts n commands that came at now.
func (p *pressure) handOver(n int, now points.Timestamp) {
	if p.waiting.Add(int64(n)) == int64(n) {
		p.last.Store(int64(now))
	}
}

// answered counts a command that came at, in the order of the ledger.
func (p *pressure) answered(at points.Timestamp) {
	p.last.Store(int64(at))
	p.waiting.Add(-1)
}

// refused counts a command that the ledger did not take.
func (p *pressure) refused() { p.waiting.Add(-1) }

// delay is how long the oldest command has waited at now.
func (p *pressure) delay(now points.Timestamp) time.Duration {
	if p.waiting.Load() <= 0 {
		return 0
	}
	return max(0, now.Sub(points.Timestamp(p.last.Load())))
}

// sheds reports whether new requests that came at now are turned away.
func (p *pressure) sheds(now points.Timestamp) bool {
	if !p.on {
		return false
	}
	delay := p.delay(now)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state.observe(now, delay)
}

// isShedding is what sheds has last said.
func (p *pressure) isShedding() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state.shedding
}
