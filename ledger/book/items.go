package book

import (
	"fmt"
	"slices"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// ClearingItem is one thing that settlement counts, with what a record says of it. What a
// record moves on clearing accounts is what it clears, neither more nor less:
//
//	booked                                  item
//	redemption, capture, their remote ones  RDM, one for each programme that paid
//	earn                                    EAR
//	refund                                  RFD of the sale, negative
//	void, reversal, reversal of a part      RVS of the original, negative
//	reversal of a void or refund            RVS of the sale, positive
//	stand-in, or told (0220)                RDM or EAR when it is decided here
//	dispute: taken back from the acquirer   CBK of the sale, negative
//	dispute: given to it again              REP of the sale, positive
//	dispute: retrieval that costs a fee     FEE, as the schedule says
//	leg                                     ADJ or FEE, as it says
//	operators' resolution                   RDM or EAR, or RVS where that stood before
//	swap; its reversal                      SWP; RVS of it
//	swap given up that stands at its issuer SWP that is a [ClearingItem.Stray]
//	quote, lock, hold, release, transfer ... none: they move nothing between members
//	refund that found no original           RFD that is an [ClearingItem.Orphan], for readers
//
// The clearing id, unique with the programme, is the position of the record that decided:
// of a forwarded request, of that which has entered the answer. Date and cycle are the
// record's.
type ClearingItem struct {
	tariff.Item
	Date  points.BusinessDate
	Cycle uint8
	// Root is the record that cleared what this item undoes, 0 of an original; with its date
	// and cycle. That may be over: it is not opened again.
	Root      points.Position
	RootDate  points.BusinessDate
	RootCycle uint8
	// RRN is the position of the request that the acquirer has sent, and Request the
	// request: its function (from which processing code, message type and condition follow),
	// merchant, terminal, trace number, entry mode, and, of a partner's system,
	// transmission time. Valid until the next record is read.
	RRN     points.Position
	Request *Command
	Member  points.MemberID // whose points; the request may name only a card, or a quote
	Answer  points.Reason
	Late    bool // it was told, not asked
	StandIn bool // approved in the issuer's place
	Manual  bool // by operators
	Remote  bool // the issuer keeps its own ledger
	NoRoom  bool // without a value, since a sum of what members owe would not fit
	TooOld  bool // without a value: what was told, or what it undoes, came more than [MostTold] after it was sent
	Stray   bool // a swap that was given up here and stands at its issuer for good: an exception without a value
	Orphan  bool // a refund that was declined because it has no original: an exception that moved nothing
}

// MostTold is how old what is told (0220) may be when it comes. What is older is booked, as
// it has happened, and has no value in clearing: it is an exception of the run.
const MostTold = 30 * 24 * 3600 * 1_000_000

// tooOld reports whether a request told of something that had been sent so long before that
// it is not cleared. It is a function of the request alone, so that the book and whoever
// reads the journal say the same.
func (c *Command) tooOld() bool {
	return Told(c.Function) && c.Function != points.Refund && c.Sent != 0 && c.At-c.Sent > MostTold
}

// Clearing turns records into items. It reads the records that they are about by itself,
// from where it is told to. It is used by one goroutine.
type Clearing struct {
	read    func(points.Position, *Record) error
	request Record // that the item is about, where it is another one
	root    Record
	items   []ClearingItem
}

// NewClearing makes one over the reader of journal records.
func NewClearing(read func(points.Position, *Record) error) *Clearing { return &Clearing{read: read} }

// Items returns what a record clears, in the order of its postings; none of most records.
// They are valid until the next call. Errors: those of the reader. What an item lacks to be
// valued [tariff.Value] tells.
func (c *Clearing) Items(rec *Record) ([]ClearingItem, error) {
	if cmd, out := &rec.Command, &rec.Outcome; cmd.Kind == KindRefund && out.Reason == points.UnknownOriginal {
		c.items = append(c.items[:0], orphan(cmd, out))
		return c.items, nil
	}
	return c.of(&rec.Command, &rec.Outcome, nil)
}

// orphan is what a reader sees of a refund that has no original: the merchant thinks that it
// has given something back, and nothing here knows of what.
func orphan(cmd *Command, out *Outcome) ClearingItem {
	item := ClearingItem{Date: out.Date, Cycle: out.InCycle(), RRN: out.Position, Request: cmd, Answer: out.Reason, Orphan: true}
	item.Kind, item.Of, item.Position, item.At = tariff.KindRFD, tariff.KindRDM, out.Position, out.Posted
	item.Program, item.Amount = cmd.Program, -cmd.Amount
	item.Acquirer, _ = tariff.MemberOf(cmd.Acquirer)
	return item
}

// of is Items of a command that is being applied, too; known then says what came before.
func (c *Clearing) of(cmd *Command, out *Outcome, known *clearing) ([]ClearingItem, error) {
	c.items = c.items[:0]
	if !clears(cmd, out) {
		return nil, nil
	}
	carried := cmd.Carried()
	base, err := c.base(carried, out, known)
	if err != nil {
		return nil, err
	}
	if carried.Kind == KindLeg {
		leg := &carried.Leg
		base.Kind, base.Payer, base.Payee, base.Program, base.Amount = leg.Kind, leg.Payer, leg.Payee, points.Standard, out.Amount
		base.NoRoom = out.NoRoom&roomBit(0) != 0
		c.items = append(c.items, base)
		return c.items, nil
	}
	if carried.Kind == KindDispute && out.Fee != (StepFee{}) {
		c.items = append(c.items, out.Fee.item(base, out))
		return c.items, nil
	}
	if strayed(carried, out) {
		c.swap(base, out)
		stray := &c.items[0]
		stray.Kind, stray.Of, stray.Amount, stray.Stray = tariff.KindSWP, 0, out.Swap.In, true
		return c.items, nil
	}
	if swapped(out) {
		c.swap(base, out)
		return c.items, nil
	}
	for i := range out.Postings {
		p := &out.Postings[i]
		if p.Account.Kind != ClearingAccount || c.seen(p.Account) {
			continue
		}
		moved := clearedOn(out, p.Account)
		if moved == 0 {
			continue
		}
		item := base
		item.Program = p.Account.Program
		// A number that has no place in settlement is left out; Value tells.
		item.Acquirer, _ = tariff.MemberOf(points.AcquirerID(p.Account.Party))
		item.Issuer, _ = tariff.MemberOf(issuerOf(out, p.Account.Program))
		item.Amount = moved
		c.kind(&item, carried, out, p.Account)
		item.NoRoom = out.NoRoom&roomBit(len(c.items)) != 0
		c.items = append(c.items, item)
	}
	return c.items, nil
}

// roomBit is the bit in [Outcome.NoRoom] of the nth item of a record.
func roomBit(n int) uint64 { return 1 << min(n, 63) }

// hadNoRoom reports whether the item that a record has of a clearing account, or of a swap,
// had no room.
func (o *Outcome) hadNoRoom(key AccountKey) bool {
	if o.NoRoom == 0 || swapped(o) {
		return o.NoRoom&roomBit(0) != 0
	}
	n := 0 // of its items; see [Clearing.of]
	for i := range o.Postings {
		account := o.Postings[i].Account
		again := slices.ContainsFunc(o.Postings[:i], func(p Posting) bool { return p.Account == account })
		if account.Kind != ClearingAccount || again || clearedOn(o, account) == 0 {
			continue
		}
		if account == key {
			return o.NoRoom&roomBit(n) != 0
		}
		n++
	}
	return false
}

// clears reports whether a record has anything that settlement counts.
func clears(cmd *Command, out *Outcome) bool {
	if !out.Reason.Approved() {
		return false
	}
	switch cmd.Carried().Kind {
	case KindSettle, KindPost:
		return false
	case KindLeg:
		return true
	case KindDispute:
		if out.Fee != (StepFee{}) {
			return true
		}
	default:
	}
	for i := range out.Postings {
		if out.Postings[i].Account.Kind == ClearingAccount {
			return true
		}
	}
	return swapped(out) || strayed(cmd.Carried(), out)
}

// strayed reports whether a record has left to its issuer, in suspense, the leg of a swap that
// was given up here.
func strayed(cmd *Command, out *Outcome) bool {
	return (cmd.Kind == KindSwapTold || cmd.Kind == KindResolve) && out.Swap.Quote != 0 && slices.ContainsFunc(out.Postings, func(p Posting) bool { return p.Account.Kind == SuspenseAccount })
}

// swapped reports whether an approved record has executed or reversed a swap.
// One that is given up before it was done has issued and retired nothing.
func swapped(out *Outcome) bool {
	if out.Swap.State != SwapDone && out.Swap.State != SwapReversed {
		return false
	}
	return slices.ContainsFunc(out.Postings, func(p Posting) bool { return p.Account.Kind == IssuedAccount })
}

// swap makes the one item of an executed or reversed swap, with the figures that were quoted.
func (c *Clearing) swap(item ClearingItem, out *Outcome) {
	item.Program = out.Program
	item.Issuer, _ = tariff.MemberOf(out.Issuer)
	item.Acquirer, _ = tariff.MemberOf(item.Request.Acquirer)
	out.Swap.of(&item.Item)
	item.Kind = tariff.KindSWP
	if out.Swap.State == SwapReversed {
		item.Kind, item.Of, item.Amount = tariff.KindRVS, tariff.KindSWP, -item.Amount
	}
	item.NoRoom = out.NoRoom&roomBit(0) != 0
	c.items = append(c.items, item)
}

// seen reports whether the account has its item already: a record that books on one twice
// clears what comes of it.
func (c *Clearing) seen(key AccountKey) bool {
	for i := range c.items {
		if c.items[i].Program == key.Program && uint64(c.items[i].Acquirer) == key.Party {
			return true
		}
	}
	return false
}

// clearedOn is what a record moved on a clearing account.
func clearedOn(out *Outcome, key AccountKey) (sum points.Amount) {
	for i := range out.Postings {
		if out.Postings[i].Account == key {
			sum += out.Postings[i].Amount
		}
	}
	return sum
}

// issuerOf is the issuer of a programme in a record: the outcome's own, or that of another
// account of the programme, or what [Outcome.Owners] says.
func issuerOf(out *Outcome, program points.ProgramID) points.IssuerID {
	for _, o := range out.Owners {
		if o.Program == program {
			return o.Issuer
		}
	}
	return out.Issuer
}

// base is what all items of a record have in common.
func (c *Clearing) base(cmd *Command, out *Outcome, known *clearing) (ClearingItem, error) {
	item := ClearingItem{Date: out.Date, Cycle: out.InCycle(), RRN: out.Position, Request: cmd, Member: out.Member, Answer: out.Reason}
	item.Position, item.At, item.MCC = out.Position, out.Posted, out.MCC
	switch cmd.Kind {
	case KindConclude, KindStandIn, KindOwe, KindAcknowledge, KindResolve, KindSwapTold:
		if err := c.load(out.Original, &c.request); err != nil {
			return item, err
		}
		item.RRN, item.Request, item.Remote = out.Original, &c.request.Command, true
		item.StandIn = cmd.Kind == KindStandIn
		item.Answer = out.Answer
	case KindAdjust, KindReinstate, KindDispute, KindLeg:
		item.Manual = true
	default:
	}
	item.Manual = item.Manual || cmd.Kind == KindResolve
	if request := item.Request; Told(request.Function) {
		item.Late, item.TooOld = true, request.tooOld()
		if request.Sent != 0 && request.Function != points.Refund {
			item.At = min(request.Sent, out.Posted)
		}
	}
	about := c.about(item.Request, out)
	if about == 0 && out.Root == 0 && known != nil && item.RRN != out.Position {
		// What is decided a second time takes the first decision back or restores it.
		d, err := known.find(item.RRN)
		if err != nil {
			return item, err
		}
		if d != nil && d.decided != 0 {
			about = item.RRN
		}
	}
	return item, c.findRoot(&item, about, out, known)
}

// about is the position of what a request undoes; 0: it is an original.
func (c *Clearing) about(request *Command, out *Outcome) points.Position {
	switch request.Kind {
	case KindVoid, KindRefund, KindReverse:
		if request == &c.request.Command {
			return c.request.Outcome.Original
		}
		return out.Original
	case KindDispute:
		return out.Original
	default:
		return 0
	}
}

// findRoot reads the record that cleared what an item undoes. Undoing goes two steps back
// at the most: the reversal of a void or refund is about its sale.
func (c *Clearing) findRoot(item *ClearingItem, about points.Position, out *Outcome, known *clearing) error {
	if known == nil && out.Root != 0 {
		return c.rootAt(item, out.Root)
	}
	if about == 0 {
		return nil
	}
	for range 3 {
		if err := c.load(about, &c.root); err != nil {
			return err
		}
		if kind := c.root.Command.Kind; kind != KindVoid && kind != KindRefund && kind != KindReverse {
			break
		}
		about = c.root.Outcome.Original
	}
	if known != nil {
		d, err := known.find(about)
		if err != nil {
			return err
		}
		if d != nil && d.decided != 0 {
			out.Root = d.decided
			return c.rootAt(item, d.decided)
		}
	}
	return c.rootAt(item, about)
}

func (c *Clearing) rootAt(item *ClearingItem, position points.Position) error {
	if err := c.load(position, &c.root); err != nil {
		return err
	}
	root := &c.root.Outcome
	item.Root, item.RootDate, item.RootCycle = position, root.Date, root.InCycle()
	locked := root.Locked
	item.MCC = root.MCC
	item.OriginalAt = root.Posted
	request := c.root.Command.Carried()
	switch request.Kind {
	case KindConclude, KindOwe, KindAcknowledge, KindResolve: // What was told has its own time.
		if c.request.Outcome.Position != root.Original {
			var of Record
			if err := c.load(root.Original, &of); err != nil {
				return err
			}
			request = &of.Command
		} else {
			request = &c.request.Command
		}
	default:
	}
	if Told(request.Function) && request.Sent != 0 && request.Function != points.Refund {
		item.OriginalAt = min(request.Sent, root.Posted)
		item.TooOld = item.TooOld || request.tooOld() // What never had a value is not given one back.
	}
	item.Held = min(locked, item.OriginalAt)
	return nil
}

func (c *Clearing) load(position points.Position, rec *Record) error {
	if rec.Outcome.Position == position {
		return nil
	}
	if err := c.read(position, rec); err != nil {
		rec.Outcome.Position = 0
		return fmt.Errorf("clearing: read journal record %d: %w", position, err)
	}
	return nil
}

// kind says what an item is from which way its points went, and of what.
func (c *Clearing) kind(item *ClearingItem, cmd *Command, out *Outcome, key AccountKey) {
	kind, moved := tariff.KindRDM, item.Amount
	if item.Root == 0 {
		if moved < 0 {
			kind, moved = tariff.KindEAR, -moved
		}
		item.Kind, item.Amount = kind, moved
		if kind == tariff.KindRDM {
			item.Held = min(out.Locked, item.At)
		}
		return
	}
	whole := clearedOn(&c.root.Outcome, key)
	if whole < 0 {
		kind, moved, whole = tariff.KindEAR, -moved, -whole
	}
	item.Kind, item.Of, item.Amount, item.Whole = tariff.KindRVS, kind, moved, whole
	if moved < 0 && (cmd.Kind == KindRefund || item.Request.Kind == KindRefund) {
		item.Kind = tariff.KindRFD
	}
	switch {
	case cmd.Kind != KindDispute:
	case moved < 0:
		item.Kind = tariff.KindCBK
	default:
		item.Kind = tariff.KindREP
	}
	if cmd.Edition > 0 && (cmd.Dispute.Step == StepChargeback || cmd.Dispute.Step == StepRepresentment) {
		item.Step = item.Kind
	}
	item.Refunded = undoneOf(out.Undone, key.Program)
}

// undoneOf is what had been undone of a programme's part.
func undoneOf(list []ProgramAmount, program points.ProgramID) points.Amount {
	for _, u := range list {
		if u.Program == program {
			return u.Amount
		}
	}
	return 0
}
