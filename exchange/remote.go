package exchange

import (
	"context"
	"sync"
	"time"

	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// Issuers asks the issuers that keep their own ledgers. AskSwap sends what the book wants asked
// about the leg of a swap, and calls told, which does not block, once the answer or its
// time-out is there, and again for a late answer; sent is false when nothing went out.
// SwapGiveUp is after which time a leg is given up, and whether by FENCE.
type Issuers interface {
	AskSwap(leg book.SwapLegView, told func(asked points.Function, answer points.Reason, sent bool))
	SwapGiveUp(issuer points.IssuerID) (after time.Duration, fence bool)
}

// legs is what the desk does about swaps with a leg in another's ledger. The journal says what
// is to be asked and when; here is only what this process has yet to send.
type legs struct {
	mu   sync.Mutex // guards todo
	todo []points.Position
	wake chan struct{} // capacity 1: there is something to send
}

// NewRemoteDesk is NewDesk with issuers that keep their own ledgers, for whom [Desk.Turn] has
// to be called.
func NewRemoteDesk(l *ledger.Ledger, clock points.Clock, issuers Issuers) *Desk {
	d := NewDesk(l, clock)
	d.issuers, d.legs = issuers, &legs{wake: make(chan struct{}, 1)}
	return d
}

// Wake tells that [Desk.Turn] has something to do.
func (d *Desk) Wake() <-chan struct{} {
	if d.legs == nil {
		return nil
	}
	return d.legs.wake
}

// ask has the issuer of a quote's leg asked at the next turn.
func (l *legs) ask(quote points.Position) {
	l.mu.Lock()
	l.todo = append(l.todo, quote)
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Recover takes up what the last process left: the answers to what it had asked will not come
// here, so the issuers have said nothing. It is called before any door opens.
func (d *Desk) Recover(ctx context.Context) error {
	var left []book.SwapLegView
	err := d.ledger.View(ctx, func(b *book.Book) error {
		for _, quote := range b.SwapLegs() {
			leg, ok, err := b.SwapLeg(quote)
			if err != nil {
				return err
			}
			if ok && leg.State == book.SwapExecuting {
				left = append(left, leg)
			}
		}
		return nil
	})
	for i := range left {
		if err == nil {
			_, err = d.ledger.Do(ctx, &book.Command{
				Kind: book.KindSwapTold, At: d.clock(), Original: left[i].Quote, Function: left[i].Act, Answer: points.IssuerTimeout,
			})
		}
	}
	return err
}

// maxTimers bounds the timers of one turn; the next one goes on.
const maxTimers = 1000

// Turn lets the timers go off that are due and asks the issuers what there is to ask. It
// returns when the next timer is; 0: there is none.
func (d *Desk) Turn(ctx context.Context) (next points.Timestamp, err error) {
	if d.legs == nil {
		return 0, nil
	}
	for range maxTimers {
		if err := d.askAll(ctx); err != nil {
			return 0, err
		}
		var leg book.SwapLegView
		err := d.ledger.View(ctx, func(b *book.Book) (err error) {
			var quote points.Position
			if quote, next = b.NextSwapTimer(); quote != 0 {
				leg, _, err = b.SwapLeg(quote)
			}
			return err
		})
		if err != nil || next == 0 || next > d.clock() {
			return next, err
		}
		after, fence := d.issuers.SwapGiveUp(leg.Issuer)
		out, err := d.ledger.Do(ctx, &book.Command{
			Kind: book.KindSwapRetry, At: d.clock(), Original: leg.Quote, Limit: uint32(max(1, after/time.Second)), Final: fence, //nolint:gosec // a month at the most.
		})
		if err != nil {
			return 0, err
		}
		if out.Reason.Approved() {
			d.legs.ask(leg.Quote)
		} else if out.Reason != points.OriginalClosed { // Else its answer was faster.
			return 0, points.Errorf(out.Reason, "timer of swap %d: %s", leg.Quote, out.Reason.English())
		}
	}
	return next, nil
}

// askAll asks the issuers of the legs that wait for it.
func (d *Desk) askAll(ctx context.Context) error {
	d.legs.mu.Lock()
	todo := d.legs.todo
	d.legs.todo = nil
	d.legs.mu.Unlock()
	for i, quote := range todo {
		var leg book.SwapLegView
		err := d.ledger.View(ctx, func(b *book.Book) (err error) {
			leg, _, err = b.SwapLeg(quote)
			return err
		})
		if err != nil {
			for _, quote := range todo[i:] {
				d.legs.ask(quote)
			}
			return err
		}
		if leg.Asks != 0 {
			d.issuers.AskSwap(leg, func(asked points.Function, answer points.Reason, sent bool) { d.told(quote, asked, answer, sent) })
		}
	}
	return nil
}

// told enters what an issuer has said. What the ledger has no room for is asked again by the
// next timer.
func (d *Desk) told(quote points.Position, asked points.Function, answer points.Reason, sent bool) {
	cmd := &book.Command{Kind: book.KindSwapTold, At: d.clock(), Original: quote, Function: asked, Answer: answer, Final: !sent}
	d.ledger.Submit(cmd, func(out *book.Outcome) {
		if out.Reason.Approved() && out.Forwarded {
			d.legs.ask(quote)
		}
	})
}

// Legs lists the legs of the swaps that are named, decided or not; of none, those whose issuer
// has to decide, the one whose timer is next first, at most a thousand.
func (d *Desk) Legs(ctx context.Context, quotes ...points.Position) (list []book.SwapLegView, err error) {
	list = []book.SwapLegView{}
	err = d.ledger.View(ctx, func(b *book.Book) error {
		if len(quotes) == 0 {
			quotes = b.SwapLegs()
		}
		for _, quote := range quotes[:min(len(quotes), maxQueue)] {
			leg, ok, err := b.SwapLeg(quote)
			if err != nil {
				return err
			}
			if ok {
				list = append(list, leg)
			}
		}
		return nil
	})
	return list, err
}
