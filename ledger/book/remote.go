package book

import (
	"container/heap"
	"encoding/binary"
	"fmt"

	"github.com/lianfen/lianfen/points"
)

// RemotePhase is where a transaction at an issuer with a ledger of its own stands.
type RemotePhase uint8

// Phases; see the picture at [Book.forward].
const (
	// RemoteOpen was forwarded and has no answer.
	RemoteOpen RemotePhase = iota + 1
	// RemoteDone owes nobody anything.
	RemoteDone
	// RemoteOwed owes the issuer a reversal.
	RemoteOwed
	// RemoteTold was approved here; the issuer is owed an advice of it.
	RemoteTold
	// RemoteQueued could not be settled with the issuer and waits for an operator.
	RemoteQueued
)

// remote is a transaction whose issuer keeps its own ledger. Position is that of
// the command that was forwarded: it is our RRN, and the key towards the issuer.
type remote struct {
	node
	position points.Position
	phase    RemotePhase
	before   RemotePhase // RemoteQueued: where it stood
	function points.Function
	issuer   points.IssuerID
	acquirer points.AcquirerID
	merchant points.MerchantID
	terminal points.TerminalID
	program  points.ProgramID
	card     points.CardToken
	original points.Position // the remote transaction that it is about; 0: none
	partial  bool            // the issuer may approve a part
	posted   points.Timestamp
	date     points.BusinessDate

	asked    points.Amount
	approved points.Amount   // by the issuer, or in its place; 0: nothing
	booked   points.Amount   // what stands in clearing because of it, credit positive
	returned points.Amount   // by refunds, taken by captures; those in flight count
	voided   points.Position // the void that is in flight or was approved
	reduced  points.Amount   // taken off by reversals of a part
	reducing points.Amount   // of that, what the issuer has not acknowledged
	actual   points.Amount   // what the owed reversal leaves standing; 0: it is of the whole
	final    bool            // a capture that none will follow; a void that opens the hold of its capture again
	tender   bool            // a leg of a sale that programmes here pay too (tender_remote.go)

	// Approved here after the issuer was asked and did not answer: first it is owed a
	// reversal of the request (doubtful), then an advice under the identity of the
	// approval, by which it knows it from then on (replaced).
	// The same after the reversal of a tender's void: the issuer was owed the reversal of
	// its leg, or has carried it out, and is told that the leg stands after all (retold:
	// by which command).
	doubtful, replaced bool
	retold             points.Position
	taking             points.Amount // of a tender's leg: of returned, refunds that are reversed and that its issuer has not undone yet

	answered points.Position // of the command that decided the acquirer's answer; 0: none has
	reversed points.Position // by which of the acquirer's reversals
	owedBy   points.Position // of the command since which a reversal is owed: its identity
	owedAt   points.Timestamp
	refusal  points.Reason // what the issuer said to what it was owed, when it is in the queue
	authCode [6]byte       // the issuer's

	batch   uint32 // as the request's [Command.Batch]
	counted bool   // in its totals
}

// countedAt is where r counts.
func (r *remote) countedAt() batchesKey {
	return batchesOf(&Command{Batch: r.batch, Acquirer: r.acquirer, Merchant: r.merchant, Terminal: r.terminal})
}

// countRemote adds what the acquirer is told was approved to the totals of its batch.
func (b *Book) countRemote(r *remote) error {
	side := r.function.Side()
	if r.batch == 0 || side == 0 {
		return nil
	}
	b.touch(r)
	r.counted = true
	return b.tallyUp(r.countedAt(), r.batch, side, r.approved)
}

func (r *remote) id() points.Position { return r.position }

func (r *remote) appendKey(dst []byte) []byte {
	return binary.BigEndian.AppendUint64(append(dst, stateRemote), uint64(r.position))
}

// Flags of a remote transaction.
const (
	remotePartial = 1 << iota
	remoteFinal
	remoteDoubtful
	remoteReplaced
	remoteReduced // reduced, reducing and actual stand behind all else
	remoteBatched // its batch follows behind the others
	remoteCounted
	remoteTender
)

func (r *remote) appendValue(dst []byte) []byte {
	var flags byte
	if r.partial {
		flags |= remotePartial
	}
	if r.final {
		flags |= remoteFinal
	}
	if r.doubtful {
		flags |= remoteDoubtful
	}
	if r.replaced {
		flags |= remoteReplaced
	}
	if r.tender {
		flags |= remoteTender
	}
	parts := [...]points.Amount{r.reduced, r.reducing, r.actual}
	if parts != [len(parts)]points.Amount{} {
		flags |= remoteReduced
	}
	if r.batch != 0 {
		flags |= remoteBatched
	}
	if r.counted {
		flags |= remoteCounted
	}
	dst = append(dst, stateVersion, byte(r.phase), byte(r.before), byte(r.function), flags, byte(r.refusal))
	dst = append(dst, r.merchant[:]...)
	dst = append(dst, r.terminal[:]...)
	dst = append(dst, r.card[:]...)
	dst = append(dst, r.authCode[:]...)
	for _, n := range [...]uint64{
		uint64(r.issuer), uint64(r.acquirer), uint64(r.program), uint64(r.original), uint64(r.date),
		uint64(r.voided), uint64(r.answered), uint64(r.reversed), uint64(r.owedBy),
	} {
		dst = binary.AppendUvarint(dst, n)
	}
	for _, n := range [...]int64{int64(r.posted), int64(r.owedAt), int64(r.asked), int64(r.approved), int64(r.booked), int64(r.returned)} {
		dst = binary.AppendVarint(dst, n)
	}
	if flags&remoteReduced != 0 {
		for _, amount := range parts {
			dst = appendAmount(dst, amount)
		}
	}
	if r.batch != 0 {
		dst = binary.AppendUvarint(dst, uint64(r.batch))
	}
	if r.retold != 0 || r.taking != 0 { // A later addition.
		dst = appendAmount(binary.AppendUvarint(dst, uint64(r.retold)), r.taking)
	}
	return dst
}

func (r *remote) decodeValue(from *reader) {
	r.phase, r.before = RemotePhase(from.byte()), RemotePhase(from.byte())
	r.function = points.Function(from.byte())
	flags := from.byte()
	r.partial, r.final = flags&remotePartial != 0, flags&remoteFinal != 0
	r.doubtful, r.replaced = flags&remoteDoubtful != 0, flags&remoteReplaced != 0
	r.counted = flags&remoteCounted != 0
	r.tender = flags&remoteTender != 0
	r.refusal = points.Reason(from.byte())
	from.fixed(r.merchant[:])
	from.fixed(r.terminal[:])
	from.fixed(r.card[:])
	from.fixed(r.authCode[:])
	r.issuer, r.acquirer = points.IssuerID(from.uvarint()), points.AcquirerID(from.uvarint())
	r.program, r.original, r.date = from.program(), from.position(), from.date()
	r.voided, r.answered, r.reversed, r.owedBy = from.position(), from.position(), from.position(), from.position()
	r.posted, r.owedAt = from.timestamp(), from.timestamp()
	r.asked, r.approved, r.booked, r.returned = from.amount(), from.amount(), from.amount(), from.amount()
	if flags&remoteReduced != 0 {
		r.reduced, r.reducing, r.actual = from.amount(), from.amount(), from.amount()
	}
	if flags&remoteBatched != 0 {
		r.batch = from.uint32()
	}
	if len(from.src) > 0 {
		if r.retold, r.taking = from.position(), from.amount(); r.retold == 0 && r.taking == 0 {
			from.fail()
		}
	}
}

// left is what can still be given back or captured.
func (r *remote) left() points.Amount { return r.approved - r.reduced - r.returned }

// Told reports whether a function is one that its acquirer tells of (0220): what
// happened cannot be refused any more, so it stands here while the issuer is away.
func Told(f points.Function) bool {
	switch f {
	case points.Refund, points.CompletionAdvice, points.OfflineRedeem, points.OfflineEarn:
		return true
	default:
		return false
	}
}

// KindOf is what a request of a function does to the book; 0: nothing.
func KindOf(f points.Function) Kind {
	switch f {
	case points.Balance, points.SwapEnquiry:
		return KindBalance
	case points.Redeem, points.OfflineRedeem, points.SwapDebit:
		return KindRedeem
	case points.Earn, points.OfflineEarn, points.SwapCredit:
		return KindEarn
	case points.PreAuth:
		return KindHold
	case points.PreAuthVoid:
		return KindRelease
	case points.Completion, points.CompletionAdvice:
		return KindCapture
	case points.Void, points.CompletionVoid:
		return KindVoid
	case points.Refund:
		return KindRefund
	case points.Transfer:
		return KindTransfer
	case points.SwapQuote:
		return KindQuote
	case points.Swap:
		return KindSwap
	case points.Reversal:
		return KindReverse
	case points.SignOn:
		return KindSignOn
	default:
		return 0 // Not offered; the book refuses it.
	}
}

// sign is which way a function moves clearing with the acquirer: 1 what the issuer
// pays, -1 what it gets, 0 nothing. A void goes the other way than its original.
func sign(f points.Function) points.Amount {
	switch f {
	case points.Redeem, points.Completion, points.CompletionAdvice, points.OfflineRedeem:
		return 1
	case points.Earn, points.OfflineEarn, points.Refund:
		return -1
	default:
		return 0
	}
}

func (b *Book) findRemote(position points.Position) (*remote, error) {
	if r, ok := b.remotes.find(position); ok {
		return r, nil
	}
	r := &remote{position: position}
	if ok, err := b.load(r); !ok || err != nil {
		return nil, err
	}
	return b.remotes.add(*r), nil
}

// needRemote finds a remote transaction that must exist.
func (b *Book) needRemote(position points.Position) (*remote, error) {
	r, err := b.findRemote(position)
	if err == nil && r == nil {
		err = fmt.Errorf("the remote transaction at %d is gone", position)
	}
	return r, err
}

// ticket names a remote transaction that is not finished. Tickets are counted and
// used again, so that they are found in the store without searching it, and all of
// them stay in memory.
type ticket struct {
	node
	ordinal  uint32
	position points.Position // 0: nobody has it
}

func (t *ticket) appendKey(dst []byte) []byte {
	return binary.BigEndian.AppendUint32(append(dst, stateTicket), t.ordinal)
}

func (t *ticket) appendValue(dst []byte) []byte {
	if t.position == 0 {
		return dst
	}
	return binary.AppendUvarint(append(dst, stateVersion), uint64(t.position))
}

func (t *ticket) decodeValue(r *reader) { t.position = r.position() }

// unfinished is all that is under way, owed, or waits for an operator. There are as
// many tickets as there ever were such transactions at once.
type unfinished struct {
	tickets []*ticket // by ordinal
	vacant  ordinals  // of those that nobody has
	at      map[points.Position]*ticket
	toLoad  uint32 // tickets to read from the store
}

// ordinals is a heap, the smallest first: which ticket is given out next depends on
// which are vacant and not on how they became so.
type ordinals []uint32

// Len is part of heap.Interface.
func (o ordinals) Len() int { return len(o) }

// Less is part of heap.Interface.
func (o ordinals) Less(i, j int) bool { return o[i] < o[j] }

// Swap is part of heap.Interface.
func (o ordinals) Swap(i, j int) { o[i], o[j] = o[j], o[i] }

// Push is part of heap.Interface.
func (o *ordinals) Push(x any) {
	if ordinal, ok := x.(uint32); ok {
		*o = append(*o, ordinal)
	}
}

// Pop is part of heap.Interface.
func (o *ordinals) Pop() any {
	last := (*o)[len(*o)-1]
	*o = (*o)[:len(*o)-1]
	return last
}

// loadTickets reads the tickets of the checkpoint.
func (b *Book) loadTickets() error {
	u := &b.unfinished
	for ordinal := range u.toLoad {
		t := &ticket{ordinal: ordinal}
		ok, err := b.load(t)
		if err != nil {
			return err
		}
		u.tickets = append(u.tickets, t)
		if ok {
			u.at[t.position] = t
		} else {
			heap.Push(&u.vacant, ordinal)
		}
	}
	return nil
}

// begun gives the transaction at position a ticket.
func (b *Book) begun(position points.Position) {
	u := &b.unfinished
	if u.at[position] != nil {
		return
	}
	var t *ticket
	if len(u.vacant) > 0 {
		ordinal, ok := heap.Pop(&u.vacant).(uint32)
		if !ok {
			panic("book: a vacant ticket without a number") //nolint:forbidigo // the heap holds nothing else.
		}
		t = u.tickets[ordinal]
		b.touch(t)
	} else {
		t = &ticket{ordinal: uint32(len(u.tickets))} //nolint:gosec // bounded by what is under way at once.
		u.tickets = append(u.tickets, t)
		b.create(t)
	}
	t.position = position
	u.at[position] = t
}

// finish ends r: nothing about it is open any more.
func (b *Book) finish(r *remote) {
	r.phase = RemoteDone
	u := &b.unfinished
	if t := u.at[r.position]; t != nil {
		b.touch(t)
		t.position = 0
		delete(u.at, r.position)
		heap.Push(&u.vacant, t.ordinal)
	}
}

// cardDay is what was done with one card of a remote issuer in one programme on one
// business date: the member's account, which would count, is the issuer's.
type cardDay struct {
	node
	key      cardDayKey
	date     points.BusinessDate
	redeemed points.Amount
	count    uint32
	stoodIn  points.Amount // approved in the issuer's place
	standIns uint32
	given    points.Amount // to other cards
}

type cardDayKey struct {
	program points.ProgramID
	card    points.CardToken
}

func (d *cardDay) id() cardDayKey { return d.key }

func (d *cardDay) appendKey(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint16(append(dst, stateCardDay), uint16(d.key.program))
	return append(dst, d.key.card[:]...)
}

func (d *cardDay) appendValue(dst []byte) []byte {
	dst = binary.AppendUvarint(append(dst, stateVersion), uint64(d.date))
	dst = appendAmount(dst, d.redeemed)
	dst = binary.AppendUvarint(dst, uint64(d.count))
	dst = appendAmount(dst, d.stoodIn)
	dst = binary.AppendUvarint(dst, uint64(d.standIns))
	if d.given != 0 { // A later addition.
		dst = appendAmount(dst, d.given)
	}
	return dst
}

func (d *cardDay) decodeValue(r *reader) {
	d.date, d.redeemed, d.count = r.date(), r.amount(), r.uint32()
	d.stoodIn, d.standIns = r.amount(), r.uint32()
	if len(r.src) > 0 {
		if d.given = r.amount(); d.given == 0 {
			r.fail()
		}
	}
}

// dayOf returns what was done with a card on the date that runs; nil: nothing.
func (b *Book) dayOf(key cardDayKey) (*cardDay, error) {
	d, ok := b.cardDays.find(key)
	if !ok {
		stored := &cardDay{key: key}
		if ok, err := b.load(stored); !ok || err != nil {
			return nil, err
		}
		d = b.cardDays.add(*stored)
	}
	if d.date != b.date {
		return nil, nil
	}
	return d, nil
}

// changeDay returns what was done with a card on the date that runs, about to change.
func (b *Book) changeDay(key cardDayKey) (*cardDay, error) {
	d, err := b.dayOf(key)
	if err != nil {
		return nil, err
	}
	if d != nil {
		b.touch(d)
		return d, nil
	}
	if d, ok := b.cardDays.find(key); ok { // Of another date: that is over.
		b.touch(d)
		*d = cardDay{node: d.node, key: d.key, date: b.date}
		return d, nil
	}
	d = b.cardDays.add(cardDay{key: key, date: b.date})
	b.create(d)
	return d, nil
}
