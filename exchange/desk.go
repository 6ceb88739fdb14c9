// Package exchange is the desk at which points of one programme become another's at a
// published rate: quote, lock, execute. It owns the verbs and the idempotency of their
// callers; what may be swapped, at which figures and how often is the book's to say
// (ledger/book/swapping.go), and the arithmetic is package quote's.
//
// It promises that the same call under the same key has one effect and one answer, which is
// of a swap and of a lock for as long as there is the swap, and of a quote while the keys of
// its date are kept; and that an answer is given only when it is durable. An error tells by
// points.ReasonOf why a call was refused; without a reason (InternalError) it is not known
// what came of it, and the same call under the same key tells. Of a swap with a programme
// whose issuer keeps its own ledger the answer may be that it is executing: Show tells what
// came of it. It will not publish rates, or decide who may call: that is for the doors.
package exchange

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// Desk is where swaps are asked for. It is safe for use by many goroutines.
type Desk struct {
	ledger  *ledger.Ledger
	clock   points.Clock
	calls   sync.Pool // of *call
	issuers Issuers
	legs    *legs // nil: there are no issuers to ask
}

// NewDesk opens the desk over a ledger, for programmes whose ledger that is.
func NewDesk(l *ledger.Ledger, clock points.Clock) *Desk {
	d := &Desk{ledger: l, clock: clock}
	d.calls.New = func() any {
		c := &call{told: make(chan struct{}, 1)}
		c.done = c.tell
		return c
	}
	return d
}

// Caller is who asks: a partner by its institution, or an operator by name.
type Caller struct {
	Acquirer points.AcquirerID // 0: the house
	Operator string
	// CallID makes a call repeatable: the same one with the same call gets the same answer,
	// with another call it is refused (DuplicateOther). It is the caller's own, for each
	// verb, while the keys of its business date are kept. Empty: each call is a new one.
	CallID string
}

// Asked is what a quote is asked for: In points handed in, or Out wanted at least.
type Asked struct {
	Caller
	Member     points.MemberID
	Card       points.CardToken // by which an issuer with its own ledger knows the member; zero: there is none
	From, Into points.ProgramID
	In, Out    points.Amount
	// LockSeconds is for how long a lock is wanted, where the terms take a fee for it;
	// longer than they give one is refused (FunctionDisabled). 0: none is, or one without a
	// fee for as long as the terms give it.
	LockSeconds uint32
}

// Named is a call about a quote.
type Named struct {
	Caller
	Quote points.Position
}

// Swap is a swap as a call has left it.
type Swap struct {
	book.SwapFigures
	Member   points.MemberID
	From     points.ProgramID
	Position points.Position // of the record of this call
	Free     points.Amount   // of From, afterwards
	Held     points.Amount
	Repeated bool // the call had come before, and this is its first answer
}

// Quote promises what a swap gives, for a short time; nothing is held for it.
func (d *Desk) Quote(ctx context.Context, a Asked) (Swap, error) {
	return d.do(ctx, "quote", a.Caller, book.Command{
		Kind: book.KindQuote, Edition: book.Edition, Function: points.SwapQuote, Member: a.Member, Card: a.Card, Program: a.From, Into: a.Into, Amount: a.In, Wanted: a.Out,
		Limit: a.LockSeconds, Ask: d.legs != nil && !a.Card.IsZero(),
	})
}

// Lock holds the points of a quote and keeps its figures for longer.
func (d *Desk) Lock(ctx context.Context, n Named) (Swap, error) {
	return d.do(ctx, "lock", n.Caller, book.Command{Kind: book.KindSwapLock, Function: points.Swap, Original: n.Quote})
}

// Swap executes a quote, locked or not, once.
func (d *Desk) Swap(ctx context.Context, n Named) (Swap, error) {
	return d.do(ctx, "swap", n.Caller, book.Command{Kind: book.KindSwap, Function: points.Swap, Original: n.Quote})
}

// Cancel ends a quote or a lock that is not executed.
func (d *Desk) Cancel(ctx context.Context, n Named) (Swap, error) {
	return d.do(ctx, "cancel", n.Caller, book.Command{Kind: book.KindSwapCancel, Original: n.Quote})
}

// Show tells where a swap is. Of another caller's there is none (UnknownOriginal): only the
// house sees all.
func (d *Desk) Show(ctx context.Context, n Named) (view book.SwapView, err error) {
	ok := false
	err = d.ledger.View(ctx, func(b *book.Book) (err error) {
		view, ok, err = b.Swap(n.Quote, d.clock())
		return err
	})
	switch {
	case err != nil:
		return book.SwapView{}, err
	case !ok, n.Acquirer != 0 && n.Acquirer != view.Acquirer:
		rrn := n.Quote.RRN()
		return book.SwapView{}, points.InBoth(points.UnknownOriginal, fmt.Sprintf("swap %s: there is no quote at this position", rrn[:]), fmt.Sprintf("互换%s：没有此报价", rrn[:]))
	}
	return view, nil
}

// maxQueue bounds what Queue lists.
const maxQueue = 1000

// Queue lists the swaps that are locked, the one whose time ends first first, at most a
// thousand.
func (d *Desk) Queue(ctx context.Context) (list []book.SwapView, err error) {
	list = []book.SwapView{}
	err = d.ledger.View(ctx, func(b *book.Book) error {
		quotes := b.SwapLocks()
		for _, quote := range quotes[:min(len(quotes), maxQueue)] {
			view, ok, err := b.Swap(quote, d.clock())
			if err != nil {
				return err
			}
			if ok {
				list = append(list, view)
			}
		}
		return nil
	})
	return list, err
}

// Expire ends the locks whose time is over, and returns when the next one's is; 0: there is
// none.
func (d *Desk) Expire(ctx context.Context) (next points.Timestamp, err error) {
	for {
		err = d.ledger.View(ctx, func(b *book.Book) error {
			next = b.NextSwapExpiry()
			return nil
		})
		if err != nil || next == 0 || next > d.clock() {
			return next, err
		}
		out, err := d.ledger.Do(ctx, &book.Command{Kind: book.KindExpireSwaps, At: d.clock()})
		if err != nil {
			return 0, err
		}
		if !out.Reason.Approved() {
			return 0, points.Errorf(out.Reason, "expiry of swaps: %s", out.Reason.English())
		}
	}
}

// call is one call on its way through the ledger. It is used again once it has been told;
// one whose caller has stopped waiting belongs to the ledger.
type call struct {
	cmd    book.Command
	swap   Swap
	reason points.Reason
	// forwarded: an issuer is to be asked.
	forwarded bool
	told      chan struct{}
	done      func(*book.Outcome)
}

// tell keeps what the caller is told: on the committing goroutine, so nothing more.
func (c *call) tell(out *book.Outcome) {
	c.swap = Swap{out.Swap, out.Member, out.Program, out.Position, out.Free, out.Held, out.Replayed}
	c.reason, c.forwarded = out.Reason, out.Forwarded && !out.Replayed
	c.told <- struct{}{}
}

func (d *Desk) do(ctx context.Context, what string, by Caller, cmd book.Command) (Swap, error) {
	c := d.calls.Get().(*call)
	cmd.At, cmd.Acquirer, cmd.Operator = d.clock(), by.Acquirer, by.Operator
	if by.CallID != "" {
		cmd.Key = keyOf(what, by)
	}
	c.cmd = cmd
	d.ledger.Submit(&c.cmd, c.done)
	select {
	case <-c.told:
	case <-d.ledger.Failed():
		return Swap{}, d.ledger.Err()
	case <-ctx.Done():
		return Swap{}, fmt.Errorf("%s: waiting for its outcome, which the same call under the same key tells: %w", what, ctx.Err())
	}
	swap, reason, forwarded := c.swap, c.reason, c.forwarded
	d.calls.Put(c)
	if !reason.Approved() {
		return Swap{}, d.refused(ctx, what, &cmd, reason)
	}
	if forwarded {
		d.legs.ask(swap.Quote)
	}
	return swap, nil
}

// refused is what a caller hears of a call that was refused: which limit, what is missing, or
// where the swap is by now; where it is none of these the reason says all there is.
func (d *Desk) refused(ctx context.Context, what string, cmd *book.Command, reason points.Reason) error {
	var why error
	err := d.ledger.View(ctx, func(b *book.Book) error {
		why = b.Why(cmd)
		return nil
	})
	switch {
	case reason == points.DuplicateOther:
		return points.InBoth(reason, what+": this key was used before for another call", verbs()[what]+"：此键(key)已用于另一请求")
	case err == nil && why != nil && points.ReasonOf(why) == reason:
		return points.InBoth(reason, what+": "+why.Error(), verbs()[what]+"："+cmp.Or(points.ChineseOf(why), reason.Chinese()))
	default:
		return points.InBoth(reason, what+": "+reason.English(), verbs()[what]+"："+reason.Chinese())
	}
}

// verbs are the desk's in Chinese.
func verbs() map[string]string {
	return map[string]string{"quote": "报价", "lock": "锁定", "swap": "互换", "cancel": "撤销"}
}

// keyOf is the trace key of a caller's key for a verb: 144 bits of a SHA-256, so that no two
// callers' keys meet.
func keyOf(what string, c Caller) points.TraceKey {
	text := make([]byte, 0, 256) // What is longer costs an allocation.
	for _, part := range [...]string{"lianfen desk\x00", what, "\x00", c.Operator, "\x00", c.CallID} {
		text = append(text, part...)
	}
	full := sha256.Sum256(binary.BigEndian.AppendUint64(text, uint64(c.Acquirer)))
	sum := full[8:]
	key := points.TraceKey{Acquirer: c.Acquirer, Class: points.ClassFinancial, Door: points.DoorOperator}
	copy(key.Source[:], sum)
	key.When = binary.BigEndian.Uint64(sum[8:])
	key.STAN = points.STAN(binary.BigEndian.Uint16(sum[16:]))
	return key
}
