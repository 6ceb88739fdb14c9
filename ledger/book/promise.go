package book

import (
	"github.com/lianfen/lianfen/points"
)

// promise is what a quote has promised, as its record has it. Those of quotes that can still
// be locked or executed are kept in memory, so that the journal is not read for each, and the
// store not asked what has happened to a quote to which nothing has. Like all that is kept it
// changes no outcome: a promise that is not there is read from the record.
//
//	quote ──> kept ── its time is over, swap, cancel, too many ──> let go
//	           └ lock: kept for as long as the lock
type promise struct {
	node
	figures  SwapFigures // as they were quoted
	until    points.Timestamp
	member   points.MemberID
	card     points.CardToken
	acquirer points.AcquirerID
	issuer   points.IssuerID
	limit    uint32 // see Command.Limit
	program  points.ProgramID
	ask      bool
	begun    bool // something has happened to the quote
}

const (
	// maxPromises bounds the promises in memory. One takes 176 bytes, and 20 in the index
	// that finds it: 98 MiB of all.
	maxPromises = 1 << 19
	// promiseSweep is at how many places a quote looks for promises whose time is over:
	// they go before the places have been taken up once more.
	promiseSweep = 4
	// promiseChoice is among how many promises, here and there, the one is chosen that gives
	// way to another when there are as many as there may be.
	promiseChoice = 8
)

// promiseLimit is how many promises are kept in memory where limit accounts are; 0: all.
func promiseLimit(limit int) int {
	if limit == 0 {
		return maxPromises
	}
	return min(limit, maxPromises)
}

func (p *promise) id() points.Position { return p.figures.Quote }

// promiseOf is the promise of an approved quote; nil: there is none at this position. It is
// valid during the command, until the next is asked for.
func (b *Book) promiseOf(position points.Position) (*promise, error) {
	if p, ok := b.promises.find(position); ok {
		return p, nil
	}
	rec, err := b.record(position)
	if err != nil || rec.Command.Kind != KindQuote || !rec.Outcome.Reason.Approved() {
		return nil, err
	}
	b.quote = promiseIn(&rec.Command, &rec.Outcome)
	return &b.quote, nil
}

// promiseIn is what the record of an approved quote promises.
func promiseIn(cmd *Command, out *Outcome) promise {
	return promise{
		figures: out.Swap, until: out.Swap.Expires, member: out.Member, card: cmd.Card, acquirer: cmd.Acquirer,
		issuer: out.Issuer, limit: cmd.Limit, program: out.Program, ask: cmd.Ask,
	}
}

// untouched reports whether memory knows that nothing has happened to a quote.
func (b *Book) untouched(position points.Position) bool {
	p, ok := b.promises.find(position)
	return ok && !p.begun
}

// followSwap brings the promises in memory forward by a record that was written.
func (b *Book) followSwap(cmd *Command, out *Outcome) {
	if promises(cmd.Kind) && out.Reason.Approved() {
		p := promiseIn(cmd, out)
		b.keepPromise(&p)
	}
}

// promises reports whether commands of a kind are about what is promised.
func promises(kind Kind) bool {
	return kind == KindQuote || kind == KindSwapLock || kind == KindSwap || kind == KindSwapCancel
}

// keepPromise follows a swap to the state that p says, which is what promiseIn makes of an
// approved record about it.
func (b *Book) keepPromise(p *promise) {
	c := &b.promises
	if p.figures.State == SwapOpen {
		if p.until > b.posted {
			b.sweepPromises()
			b.crowdOut(p.id())
			c.add(*p)
		}
		return
	}
	kept, ok := c.find(p.figures.Quote)
	switch {
	case !ok:
	case p.figures.State == SwapLocked:
		kept.begun, kept.until = true, p.until
	default:
		c.remove(kept)
	}
}

// sweepPromises lets go of promises whose time is over, where the hand passes.
func (b *Book) sweepPromises() {
	c := &b.promises
	for looks := promiseSweep; looks > 0 && c.count > 0; looks-- {
		c.hand = c.hand%c.top + 1
		if p := c.at(c.hand); p.slot != 0 && p.until <= b.posted {
			c.remove(p)
		}
	}
}

// crowdOut makes room for the promise of a quote: of some, the one goes whose time is over
// first. So those stay, mostly, that were made last.
func (b *Book) crowdOut(quote points.Position) {
	c := &b.promises
	if c.count < c.limit {
		return
	}
	var first *promise
	for i := range uint64(promiseChoice) {
		p := c.at(1 + uint32(mix(b.seed, uint64(quote), i)%uint64(c.top))) //nolint:gosec // below top.
		if p.slot != 0 && (first == nil || p.until < first.until) {
			first = p
		}
	}
	if first != nil {
		c.remove(first)
	}
}
