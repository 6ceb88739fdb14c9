package ledger

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// item waits in the queue: a command with whom to tell, or a look at the book.
type item struct {
	cmd  *book.Command
	done func(*book.Outcome)
	look *look
}

// queue is a ring of the items that wait. It is guarded by Ledger.mu and never
// grows: its length is the bound of what may wait.
type queue struct {
	ring  []item
	first int // the longest waiting
	count int
	total uint64 // pushed so far
}

func (q *queue) full() bool { return q.count == len(q.ring) }

func (q *queue) push(it item) {
	q.ring[(q.first+q.count)%len(q.ring)] = it
	q.count++
	q.total++
}

// take appends up to limit items to dst, the longest waiting first.
func (q *queue) take(dst []item, limit int) []item {
	for n := min(q.count, limit); n > 0; {
		run := q.ring[q.first:min(q.first+n, len(q.ring))]
		dst = append(dst, run...)
		clear(run)
		q.first = (q.first + len(run)) % len(q.ring)
		q.count -= len(run)
		n -= len(run)
	}
	return dst
}

// Ask is a command and who is to be told its outcome; see [Ledger.Submit].
type Ask struct {
	Command *book.Command
	Done    func(*book.Outcome)
	// First takes the last eighth of the queue too, which others leave free: it is for
	// what must not be refused before they are, such as a reversal.
	First bool
}

// Submit puts cmd into the queue and returns. done is called exactly once: on
// the committing goroutine, in journal order, when the outcome is durable; or at
// once, on the calling goroutine, with Overloaded when the queue is full and
// Draining when the ledger is closing (Position 0: nothing happened). cmd belongs
// to the ledger until then; the outcome is valid during the call, which must be
// short. After a fault done is never called ([Ledger.Failed]).
func (l *Ledger) Submit(cmd *book.Command, done func(*book.Outcome)) {
	if reason := l.enqueue(item{cmd: cmd, done: done}); !reason.Approved() {
		done(&book.Outcome{Reason: reason})
	}
}

// SubmitAll is [Ledger.Submit] for each of asks, in order, with nothing between
// them: for what came in one read. Those that find no room are told so; those behind them
// that go first may find some. What asks holds afterwards is of no use; the slice itself
// is the caller's again at once.
func (l *Ledger) SubmitAll(asks []Ask) {
	l.mu.Lock()
	refused, why := asks[:0], points.Approved
	for _, ask := range asks {
		if reason := l.admit(ask.First); !reason.Approved() {
			refused, why = append(refused, ask), reason // Never ahead of what is read.
			continue
		}
		l.push(item{cmd: ask.Command, done: ask.Done})
	}
	taken := len(asks) - len(refused)
	rouse := taken > 0 && l.queue.count <= taken
	l.mu.Unlock()
	if rouse {
		l.rouse()
	}
	for _, ask := range refused {
		l.metrics.refused(why)
		ask.Done(&book.Outcome{Reason: why})
	}
}

func (l *Ledger) enqueue(it item) points.Reason {
	l.mu.Lock()
	reason := l.admit(true)
	if !reason.Approved() {
		l.mu.Unlock()
		l.metrics.refused(reason)
		return reason
	}
	l.push(it)
	first := l.queue.count == 1
	l.mu.Unlock()
	if first {
		l.rouse()
	}
	return points.Approved
}

// admit tells whether the queue takes an item; mu is held.
func (l *Ledger) admit(first bool) points.Reason {
	switch {
	case l.halted():
		return points.Approved // Taken and never answered, like all that wait.
	case l.closing:
		return points.Draining
	case l.queue.full(), !first && l.queue.count >= len(l.queue.ring)-len(l.queue.ring)/8:
		return points.Overloaded
	default:
		return points.Approved
	}
}

// push adds an admitted item; mu is held. After a fault there is nobody to take
// it out again.
func (l *Ledger) push(it item) {
	if l.halted() {
		return
	}
	if cmd := it.cmd; cmd != nil && !cmd.RepeatOnly && cmd.Key != (points.TraceKey{}) {
		l.seen.add(l.book.KeyHash(&cmd.Key), points.Position(l.durable.Load())+l.ahead(), points.Position(l.floor.Load()))
	}
	l.queue.push(it)
}

// ahead is how many positions, at most, there are between the last durable one and that of
// the next item that comes into the queue.
func (l *Ledger) ahead() points.Position {
	return points.Position(len(l.queue.ring) + (cap(l.free)+1)*l.opts.GroupMax) //nolint:gosec // above zero.
}

// Unseen reports that nothing that the ledger remembers was ever handed over under key, nor
// waits: who turns its request away takes nothing back from anybody. False says nothing; of
// keys that are new one in a hundred or so is taken for one that is not. The ledger has to be
// asked then ([book.Command.RepeatOnly]). What is handed over meanwhile may or may not count.
// It is safe for concurrent use, waits for nobody and reads memory only.
//
// The keys of swaps are remembered with what they are about, longer than others, and so this
// is not to be asked of them.
func (l *Ledger) Unseen(key *points.TraceKey) bool { return !l.seen.has(l.book.KeyHash(key)) }

// waiting is how many items are in the queue.
func (l *Ledger) waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.queue.count
}

// rouse wakes the applying goroutine.
func (l *Ledger) rouse() {
	select {
	case l.wake <- struct{}{}:
	default: // It is on its way.
	}
}

// Do submits a copy of cmd and waits for its outcome, which the caller may keep.
// What cmd points to must stay as it is. An error means that the outcome is not
// known: ctx ended, or the ledger failed.
func (l *Ledger) Do(ctx context.Context, cmd *book.Command) (book.Outcome, error) {
	own := *cmd
	answers := make(chan book.Outcome, 1)
	l.Submit(&own, func(out *book.Outcome) { answers <- out.Clone() })
	select {
	case out := <-answers:
		return out, nil
	case <-l.failed:
		return book.Outcome{}, l.Err()
	case <-ctx.Done():
		return book.Outcome{}, fmt.Errorf("ledger: waiting for an outcome: %w", ctx.Err())
	}
}

// look is a reader's turn with the book.
//
//	waiting ── applying goroutine ──> looking ──> looked (ran is closed)
//	   └────── caller gives up ─────> abandoned
type look struct {
	at    func(*book.Book) error
	state atomic.Uint32
	err   error         // of at; set before ran is closed
	ran   chan struct{} // closed when at has returned
	seen  chan struct{} // closed when all that at saw is durable
}

const (
	lookWaiting uint32 = iota
	lookTaken
	lookAbandoned
)

// run calls the reader on the applying goroutine, unless it has given up.
func (v *look) run(b *book.Book) {
	if v.state.CompareAndSwap(lookWaiting, lookTaken) {
		v.err = v.at(b)
		close(v.ran)
	}
}

// abandon makes sure that at does not run from here on.
func (v *look) abandon() {
	if !v.state.CompareAndSwap(lookWaiting, lookAbandoned) {
		<-v.ran
	}
}

// View calls look with the book, between two commands, on the applying
// goroutine, and returns when all that look has seen is durable (J4). look must
// be short and keep nothing of the book; it does not run any more once View has
// returned. For operators, not for the path of an authorisation.
func (l *Ledger) View(ctx context.Context, at func(*book.Book) error) error {
	v := &look{at: at, ran: make(chan struct{}), seen: make(chan struct{})}
	if reason := l.enqueue(item{look: v}); !reason.Approved() {
		return points.Errorf(reason, "ledger: view: %v", reason)
	}
	select {
	case <-v.seen:
		return v.err
	case <-l.failed:
		v.abandon()
		return l.Err()
	case <-ctx.Done():
		v.abandon()
		return fmt.Errorf("ledger: waiting for a view: %w", ctx.Err())
	}
}

// Rest returns when everything that was submitted has been answered, and what was
// submitted because of the answers too: for who steps a ledger, and submits nothing
// meanwhile.
func (l *Ledger) Rest(ctx context.Context) error {
	for {
		before := l.Submitted()
		if err := l.View(ctx, func(*book.Book) error { return nil }); err != nil {
			return err
		}
		if l.Submitted() == before+1 {
			return nil
		}
	}
}

// Submitted is how many commands and looks ever came into the queue.
func (l *Ledger) Submitted() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.queue.total
}
