package pointswitch

import (
	"math"
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

// overload tells how many new requests may be let in. It begins to turn away as CoDel does
// (RFC 8289): when what is answered has waited longer than target for an interval on end. From
// then on none is let in while the delay is over target, and otherwise as many as make a limit
// of those that wait, which follows the delay: what is let in waits for about target, however
// much more is asked, and there is always something to do. The delay alone would tell too
// late, since it is that of who came before: at three times as much as goes it would let wait
// for three times target, and then for nobody. When nothing had to be turned away for some
// intervals it is over. It has no clock: what it is told decides.
//
//	          delay > target                for an interval
//	calm ─────────────────────> suspicious ─────────────────> overloaded: up to limit
//	 ^ ^  <──── delay <= target ─────┘                             │
//	 │ └────────────── relapse x interval without any turned away ─┘
type overload struct {
	target, interval time.Duration
	since            points.Timestamp // when the delay was found over target; 0: it is not
	shed             points.Timestamp // when there was no room last; 0: long ago
	shedding         bool             // there was none at the last look

	limit    int64            // of those that wait, while overloaded
	adjusted points.Timestamp // when it was set last
	reached  bool             // since then
}

// Bounds of an overload.
const (
	// relapse is for how many intervals without any turned away it is not over.
	relapse = 4
	// leastLimit is so few that they wait for nothing but the disk.
	leastLimit = 64
	// unlimited is room for all.
	unlimited = math.MaxInt64
)

// observe takes what there is at now: the delay and how many wait. It returns for how many
// there is room, 0 or less for none.
func (o *overload) observe(now points.Timestamp, delay time.Duration, waiting int64) (room int64) {
	if now < o.since || now < o.shed { // The clock was set back.
		o.since, o.shed = 0, 0
	}
	switch {
	case delay <= o.target:
		o.since = 0
	case o.since == 0:
		o.since = now
	}
	over := o.since != 0
	switch {
	case o.shed != 0 && now.Sub(o.shed) <= relapse*o.interval:
		o.adjust(now, delay)
	case over && now.Sub(o.since) >= o.interval:
		o.limit, o.adjusted, o.reached = max(leastLimit, waiting*int64(o.target)/int64(delay)), now, false
	default:
		o.shedding = false
		return unlimited
	}
	if room = o.limit - waiting; over {
		room = min(room, 0)
	}
	if o.shedding = room <= 0; o.shedding {
		o.shed, o.reached = now, true
	}
	return room
}

// adjust brings the limit half the way to what gives target, once in target: what it does is
// seen no earlier. It grows by half at most, and only when it was reached.
func (o *overload) adjust(now points.Timestamp, delay time.Duration) {
	if now.Sub(o.adjusted) < o.target && now >= o.adjusted {
		return
	}
	switch {
	case delay > o.target:
		o.limit -= o.limit * int64(delay-o.target) / int64(delay) / 2
	case o.reached:
		o.limit += o.limit * int64(o.target-delay) / int64(o.target) / 2
	}
	o.limit, o.adjusted, o.reached = max(leastLimit, o.limit), now, false
}

// pressure measures how long the ledger's oldest command has waited: commands are
// answered in the order in which they were handed over, so it came after the one that was
// answered last. Those that are shed do not count: the delay of what is being turned away
// would keep more from being let in, for as long as more comes than can be turned away in
// target.
type pressure struct {
	waiting atomic.Int64 // commands handed over and not answered
	last    atomic.Int64 // when the last one that was answered came, or those began to wait

	mu    sync.Mutex // guards what follows
	state overload
	on    bool
}

// handOver counts n commands that came at now.
func (p *pressure) handOver(n int, now points.Timestamp) {
	if n > 0 && p.waiting.Add(int64(n)) == int64(n) {
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

// room is for how many new requests that came at now there is room: the others are turned
// away. rest is for how long who has read them should read nothing more.
func (p *pressure) room(now points.Timestamp) (room int64, rest time.Duration) {
	if !p.on {
		return unlimited, 0
	}
	delay := p.delay(now)
	if delay > p.state.target/2 {
		rest = min(readPause, p.state.target/8)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state.observe(now, delay, p.waiting.Load()), rest
}

// readPause is how long a connection rests between two reads while the ledger has as much to
// do as it can: what comes meanwhile is read at once, and answered at once, so that a call of
// the kernel, and a write, are for many requests instead of a few. Nothing is answered any
// later for it, since all that is let in waits for longer than that.
const readPause = 5 * time.Millisecond

// plainKey tells the requests that are known again by nothing but their key, of those that
// move points: whether one came before can be told without asking the ledger for it (see
// [ledger.Ledger.Unseen]).
func plainKey(f points.Function) bool {
	switch f {
	case points.Balance, points.Redeem, points.Earn, points.Void, points.Refund, points.Transfer,
		points.PreAuth, points.PreAuthVoid, points.Completion, points.CompletionVoid:
		return true
	default:
		return false
	}
}

// isShedding reports whether there was no room when somebody looked last.
func (p *pressure) isShedding() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state.shedding
}
