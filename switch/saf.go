package pointswitch

import (
	"cmp"
	"container/heap"
	"log/slog"
	"slices"
	"time"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// saf stores and forwards: it is what one host is owed. The journal stores it; here is
// only when it is sent next. A reversal goes out as 0420 and is repeated as 0421, an
// advice as 0220 and 0221, under the same DE7, DE11 and DE37, until it is acknowledged
// or the operators have it.
//
// What is owed about one card goes out in the order in which it became owed, one at a
// time. Cards do not wait for each other: a message that the host cannot stomach holds
// up its own card only, until its time is over.
type saf struct {
	items    map[points.Position]*item
	order    []*item                      // ascending by when it became owed
	byCard   map[points.CardToken][]*item // likewise; only the first of each is sent
	ready    dueItems                     // those first ones that are not on their way
	underWay int                          // items that were sent and are not acknowledged
	notices  []points.Position            // that refresh has to look at
}

func newSAF() saf {
	return saf{items: make(map[points.Position]*item), byCard: make(map[points.CardToken][]*item)}
}

// item is one thing that is owed.
type item struct {
	leg     *leg
	view    book.RemoteView
	attempt int // how often it was sent, at least
	due     points.Timestamp
	outlet  *outlet // that it was sent on
	key     replyKey
	state   itemState
	late    replyKey // of the answer to the request itself
	place   int      // in ready, from 1; 0: it is not there
}

// dueItems is a heap, the one that is due first in front.
type dueItems []*item

// Len is part of heap.Interface.
func (d dueItems) Len() int { return len(d) }

// Less is part of heap.Interface.
func (d dueItems) Less(i, j int) bool {
	if d[i].due != d[j].due {
		return d[i].due < d[j].due
	}
	return d[i].since() < d[j].since()
}

// Swap is part of heap.Interface.
func (d dueItems) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].place, d[j].place = i+1, j+1
}

// Push is part of heap.Interface.
func (d *dueItems) Push(x any) {
	if it, ok := x.(*item); ok {
		*d = append(*d, it)
		it.place = len(*d)
	}
}

// Pop is part of heap.Interface.
func (d *dueItems) Pop() any {
	it := (*d)[len(*d)-1]
	(*d)[len(*d)-1] = nil
	*d = (*d)[:len(*d)-1]
	it.place = 0
	return it
}

// earlier orders items by when they became owed, which is when a command was posted:
// no two are alike.
func earlier(a, b *item) int { return cmp.Compare(a.since(), b.since()) }

// insert adds an item. mu is held.
func (l *leg) insert(it *item) {
	at, _ := slices.BinarySearchFunc(l.order, it, earlier)
	l.order = slices.Insert(l.order, at, it)
	card := it.view.Card
	if line := l.byCard[card]; len(line) > 0 {
		l.unready(line[0]) // It may be the first no more.
	}
	at, _ = slices.BinarySearchFunc(l.byCard[card], it, earlier)
	l.byCard[card] = slices.Insert(l.byCard[card], at, it)
	l.first(card)
}

// remove takes an item out. mu is held.
func (l *leg) remove(it *item) {
	if at, found := slices.BinarySearchFunc(l.order, it, earlier); found {
		l.order = slices.Delete(l.order, at, at+1)
	}
	l.unready(it)
	card := it.view.Card
	line := l.byCard[card]
	if at, found := slices.BinarySearchFunc(line, it, earlier); found {
		line = slices.Delete(line, at, at+1)
	}
	if len(line) == 0 {
		delete(l.byCard, card)
		return
	}
	l.byCard[card] = line
	l.first(card)
}

// first makes the first item of a card ready, if it waits. mu is held.
func (l *leg) first(card points.CardToken) {
	if it := l.byCard[card][0]; it.state == itemWaits && it.place == 0 {
		heap.Push(&l.ready, it)
	}
}

func (l *leg) unready(it *item) {
	if it.place > 0 {
		heap.Remove(&l.ready, it.place-1)
	}
}

// enter changes the state of an item. mu is held.
func (l *leg) enter(it *item, state itemState) {
	if it.state == itemSent {
		l.underWay--
		l.of.Wake() // There is room for another one.
	}
	l.unready(it)
	it.state = state
	switch state {
	case itemSent:
		l.underWay++
	case itemWaits:
		l.first(it.view.Card)
	case itemJudged:
	}
}

type itemState uint8

const (
	itemWaits  itemState = iota + 1 // for its time, its turn or a connection
	itemSent                        // and not acknowledged
	itemJudged                      // its end is on its way into the journal
)

// notice says that something has happened to the transaction at position, so that
// refresh looks whether the host is owed something.
func (l *leg) notice(position points.Position) {
	l.do(func() { l.notices = append(l.notices, position) })
	l.of.Wake()
}

// recovered is notice for what the last process has left: it may have been sent.
func (l *leg) recovered(position points.Position) {
	l.do(func() {
		l.items[position] = &item{leg: l, attempt: 1}
		l.notices = append(l.notices, position)
	})
}

// owes takes up what view says is owed, or forgets it when that is over. mu is held.
func (l *leg) owes(view book.RemoteView) {
	known := l.items[view.Position]
	req := l.message(&view)
	_, late, unwritable := l.encode(&req, nil)
	if view.Phase != book.RemoteOwed && view.Phase != book.RemoteTold {
		l.forget(known, view.Position)
		delete(l.late, late)
		return
	}
	if known != nil && known.state != 0 {
		if known.view.Phase == view.Phase && known.view.OwedBy == view.OwedBy {
			if known.state == itemJudged { // The journal has not taken the end of it.
				known.due = l.of.opts.Clock().Add(l.pause(known.attempt))
				l.enter(known, itemWaits)
			}
			return
		}
		l.forget(known, view.Position) // The advice was taken, and its reversal is owed now.
		known = nil
	}
	it := known
	if it == nil {
		it = &item{leg: l}
	}
	it.view, it.state, it.due = view, itemWaits, l.of.opts.Clock()
	// What cannot be written was never sent, and is not answered; and once the request is
	// replaced by its advice, an answer to it says nothing any more.
	if unwritable == nil && (view.Phase == book.RemoteOwed || view.Name.Position == view.Position) {
		it.late = late
		l.late[late] = lateness{leg: l, position: view.Position, card: view.Card, program: view.Program, issuer: view.Issuer}
	}
	l.items[view.Position] = it
	l.insert(it)
	l.of.metrics.owed(l.name, it.kind(), 1)
}

func (it *item) since() points.Timestamp { return it.view.OwedAt }

func (it *item) kind() string {
	if it.view.Phase == book.RemoteTold {
		return owedAdvice
	}
	return owedReversal
}

// forget drops an item that is no longer owed; mu is held.
func (l *leg) forget(it *item, position points.Position) {
	delete(l.items, position)
	if it == nil || it.state == 0 {
		return
	}
	l.takeBack(it)
	l.enter(it, itemJudged)
	delete(l.late, it.late)
	l.remove(it)
	l.of.metrics.owed(l.name, it.kind(), -1)
}

// takeBack waits no more for the answer to an item. mu is held.
func (l *leg) takeBack(it *item) {
	if it.state != itemSent {
		return
	}
	if _, ok := it.outlet.path.leg.pending.Take(it.key); ok {
		it.outlet.inFlight--
		it.outlet.path.breaker.Abandoned()
	}
}

// pause is the time before the next sending of what was sent attempt times.
func (l *leg) pause(attempt int) time.Duration {
	schedule := l.profile.Retry
	return schedule[min(max(attempt-1, 0), len(schedule)-1)]
}

// sendOwed sends what is due, and returns when more will be. mu is held.
func (l *leg) sendOwed(now points.Timestamp) points.Timestamp {
	next := now.Add(time.Minute)
	for _, it := range l.order {
		if end := it.since().Add(l.profile.GiveUp); now < end {
			next = min(next, end)
			break
		}
		if it.state != itemJudged {
			l.giveUp(it)
		}
	}
	for len(l.ready) > 0 {
		it := l.ready[0]
		if now < it.due {
			next = min(next, it.due)
			break
		}
		if l.underWay >= l.profile.RetryInFlight {
			break // An answer, or its time-out, calls for the next look.
		}
		if !l.sendItem(it, now) && it.due <= now {
			// A connection's coming up calls for the next look, and the breaker's rest, or
			// a written fault's, is not so precise.
			next = min(next, now.Add(time.Second))
			break
		}
	}
	l.of.metrics.age(l.name, l.oldest(now))
	return next
}

// oldest is how long the host has been owed something. mu is held.
func (l *leg) oldest(now points.Timestamp) time.Duration {
	if len(l.order) == 0 {
		return 0
	}
	return since(now, l.order[0].since())
}

// sendItem sends one thing that is owed; false when there is no connection for it.
func (l *leg) sendItem(it *item, now points.Timestamp) bool {
	o, _ := l.choose(&it.view, now)
	if o == nil {
		return false
	}
	req := l.reversal(&it.view, it.attempt > 0)
	if it.view.Phase == book.RemoteTold { // What was asked as 0220 has gone out once.
		req = l.advice(&it.view, it.attempt > 0 || (book.Told(it.view.Function) && !it.view.Unasked))
	}
	keys, _ := o.path.leg.signs(now)
	frame, key, err := l.encode(&req, keys)
	if err != nil {
		l.of.opts.Log.Error("what an issuer is owed cannot be written",
			slog.String("link", l.name), slog.Uint64("position", uint64(it.view.Position)), slog.String("error", err.Error()))
		l.postpone(it, now)
		return false
	}
	if err := l.dispatch(o, frame, key, await{item: it, sent: now, due: now.Add(l.profile.Deadline).Time()}); err != nil {
		l.postpone(it, now)
		return false
	}
	it.attempt++
	it.outlet, it.key = o, key
	l.enter(it, itemSent)
	l.of.metrics.resent.WithLabelValues(l.name, it.kind()).Inc()
	return true
}

// postpone lets an item wait for its next sending. mu is held.
func (l *leg) postpone(it *item, now points.Timestamp) {
	it.outlet = nil
	it.due = now.Add(l.pause(it.attempt))
	l.enter(it, itemWaits)
	l.plan(it.due)
}

// acknowledged enters the host's answer to what it was owed, where that ends it. mu is
// held.
func (l *leg) acknowledged(it *item, resp *points.Response) {
	it.outlet = nil
	cmd := book.Command{Kind: book.KindAcknowledge, Answer: resp.Reason, Final: l.profile.UnknownEnds, AuthCode: resp.AuthCode}
	if !ends(it, resp.Reason, l.profile.UnknownEnds) {
		l.postpone(it, l.of.opts.Clock())
		return
	}
	l.judge(it, cmd)
}

// ends reports whether an answer ends what is owed. Others say that the host could not
// look at it now: it is sent again.
func ends(it *item, reason points.Reason, unknownEnds bool) bool {
	if reason.Approved() {
		return true
	}
	if it.view.Phase == book.RemoteOwed {
		return reason == points.OriginalClosed || (reason == points.UnknownOriginal && unknownEnds)
	}
	switch reason {
	case points.FormatError, points.BadMAC, points.NotFresh, points.Overloaded, points.IssuerDown, points.LineDown, points.IssuerTimeout,
		points.NoAnswer, points.DuplicateOther, points.InternalError:
		return false
	default:
		return true // The issuer will not have it.
	}
}

// giveUp leaves an item to the operators. mu is held.
func (l *leg) giveUp(it *item) {
	l.takeBack(it)
	l.of.metrics.givenUp.WithLabelValues(l.name).Inc()
	l.of.opts.Log.Error("an issuer has not acknowledged what it is owed; the operators' queue has it",
		slog.String("link", l.name), slog.Uint64("position", uint64(it.view.Position)), slog.String("kind", it.kind()), slog.Int("sent", it.attempt))
	l.judge(it, book.Command{Kind: book.KindGiveUp})
}

// judge sends the end of an item into the journal; refresh sees what came of it. mu is
// held.
func (l *leg) judge(it *item, cmd book.Command) {
	l.enter(it, itemJudged)
	position := it.view.Position
	cmd.Original, cmd.At = position, l.of.opts.Clock()
	if it.view.Phase == book.RemoteOwed {
		cmd.Reverses, cmd.Actual = it.view.Function, it.view.Actual
	}
	l.after = append(l.after, call{do: func() {
		l.of.opts.Ledger.Submit(&cmd, func(*book.Outcome) { l.notice(position) })
	}})
}
