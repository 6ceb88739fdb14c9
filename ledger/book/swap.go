package book

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/lianfen/lianfen/points"
)

// SwapState is where a swap is in its life. The numbers are written in the journal and in
// stores: only append.
//
//	        quote          lock             swap
//	nothing ────> open ──────────> locked ────────> done ──reversal──> reversed
//	              │ │ └──────────── swap ────────────^
//	              │ └── cancel ──> cancelled <── cancel ──┘ (of a locked one)
//	              └── its time is over: expired; of a locked one by ExpireSwaps
//
// Executing, credit unknown and manual are for swaps of which one side is an issuer's that
// keeps its own ledger; the picture of these stands at [Book.beginSwap]. One of them that is
// reversed may never have been done here: its issuer has said that nothing stands there.
type SwapState uint8

// States of a swap.
const (
	SwapOpen SwapState = iota + 1
	SwapLocked
	SwapExecuting
	SwapDone
	SwapExpired
	SwapCancelled
	SwapRejected
	SwapCreditUnknown
	SwapReversed
	SwapManual
)

var swapStateNames = [...]string{
	SwapOpen: "open", SwapLocked: "locked", SwapExecuting: "executing", SwapDone: "done", SwapExpired: "expired", SwapCancelled: "cancelled",
	SwapRejected: "rejected", SwapCreditUnknown: "credit_unknown", SwapReversed: "reversed", SwapManual: "manual",
}

// String returns the name used in tables and in JSON.
func (s SwapState) String() string { return nameAt(swapStateNames[:], uint8(s), "swap") }

// MarshalText renders the name.
func (s SwapState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// SwapFigures are what a quote promises, and what is executed: never more, never less,
// whatever the rates are by then.
type SwapFigures struct {
	Quote      points.Position // the swap's identity: the position of its quote
	State      SwapState       // after the command
	Into       points.ProgramID
	IntoIssuer points.IssuerID
	In         points.Amount // of the programme handed in
	Out        points.Amount // of Into
	Bonus      points.Amount // of Into, beside Out, paid by its sponsor account
	Value      points.Amount // smallest units of the standard point, as the next three
	Fee        points.Amount
	Cost       points.Amount
	Rest       points.Amount
	Buy        uint32 // versions of the rates, and of both programmes' swap terms
	Sell       uint32
	Terms      uint32
	IntoTerms  uint32
	Expires    points.Timestamp // of the quote, or of the lock: good before, refused from then on
}

// swap is what has happened to a quote; there is none of one that nothing has happened to.
type swap struct {
	node
	position points.Position // of the quote
	state    SwapState
	account  AccountKey          // whose points are handed in
	lots     []lot               // what a lock holds
	locked   points.Position     // by which command
	expires  points.Timestamp    // of the lock
	counted  points.BusinessDate // the date whose counters have it
	done     points.Position     // by which command
	leg      swapLeg             // at an issuer that keeps its own ledger
}

func (s *swap) id() points.Position { return s.position }

func (s *swap) appendKey(dst []byte) []byte {
	return binary.BigEndian.AppendUint64(append(dst, stateSwap), uint64(s.position))
}

func (s *swap) appendValue(dst []byte) []byte {
	dst = append(dst, stateVersion, byte(s.state), byte(s.account.Kind))
	dst = binary.AppendUvarint(dst, uint64(s.account.Program))
	dst = binary.AppendUvarint(dst, s.account.Party)
	dst = binary.AppendUvarint(dst, uint64(s.locked))
	dst = binary.AppendVarint(dst, int64(s.expires))
	dst = binary.AppendUvarint(dst, uint64(s.counted))
	dst = binary.AppendUvarint(dst, uint64(s.done))
	dst = appendLots(dst, s.lots)
	if s.leg.position != 0 { // A later addition.
		dst = s.leg.append(dst)
	}
	return dst
}

func (s *swap) decodeValue(r *reader) {
	s.state, s.account.Kind = SwapState(r.byte()), AccountKind(r.byte())
	s.account.Program, s.account.Party = r.program(), r.uvarint()
	s.locked, s.expires = r.position(), r.timestamp()
	s.counted, s.done = r.date(), r.position()
	s.lots = decodeLots(r)
	if len(r.src) > 0 {
		s.leg = decodeSwapLeg(r)
	}
}

// holds reports whether the swap holds points that are handed in here.
func (s *swap) holds() bool { return s.state == SwapLocked || (s.pending() && !s.leg.source) }

// held is what a lock holds.
func (s *swap) held() (sum points.Amount) {
	for i := range s.lots {
		sum += s.lots[i].amount
	}
	return sum
}

// swapLock is a live lock, in the order in which they end.
type swapLock struct {
	expires points.Timestamp
	quote   points.Position
}

func (l swapLock) compare(other swapLock) int {
	return cmp.Or(cmp.Compare(l.expires, other.expires), cmp.Compare(l.quote, other.quote))
}

// maxSwapLocks bounds the live locks: they stay in memory.
const maxSwapLocks = 1 << 16

// swapLocks are the live locks.
type swapLocks struct {
	node
	live []swapLock
}

func (l *swapLocks) appendKey(dst []byte) []byte { return append(dst, stateSwapLocks) }

func (l *swapLocks) appendValue(dst []byte) []byte {
	if len(l.live) == 0 {
		return dst
	}
	return appendList(append(dst, stateVersion), l.live, func(dst []byte, at swapLock) []byte {
		return binary.AppendUvarint(binary.AppendVarint(dst, int64(at.expires)), uint64(at.quote))
	})
}

func (l *swapLocks) decodeValue(r *reader) {
	for range r.count(maxSwapLocks, 2) {
		l.live = append(l.live, swapLock{r.timestamp(), r.position()})
	}
}

// findSwap asks the store only about quotes that it may know more of than memory does, and
// once for a command.
func (b *Book) findSwap(position points.Position) (*swap, error) {
	if position == b.unbegun {
		return nil, nil
	}
	if s, ok := b.swaps.find(position); ok {
		return s, nil
	}
	if position <= b.stored && !b.untouched(position) {
		s := &swap{position: position}
		ok, err := b.load(s)
		if err != nil {
			return nil, err
		}
		if ok {
			return b.swaps.add(*s), nil
		}
	}
	b.unbegun = position
	return nil, nil
}

// changeSwap returns the swap of a quote, about to change.
func (b *Book) changeSwap(position points.Position, account AccountKey) (*swap, error) {
	s, err := b.findSwap(position)
	if err != nil {
		return nil, err
	}
	if s == nil {
		b.unbegun = 0
		s = b.swaps.add(swap{position: position, account: account})
		b.create(s)
		return s, nil
	}
	b.touch(s)
	return s, nil
}

// swapUnder is the execution or the lock of the quote that cmd names, where its key was that
// of cmd: its answer can be asked for again as long as there is the swap, when the keys of
// its date are long forgotten. 0: there is none.
func (b *Book) swapUnder(cmd *Command) (position points.Position, err error) {
	if (cmd.Kind != KindSwap && cmd.Kind != KindSwapLock) || cmd.Original == 0 || cmd.Original > b.position {
		return 0, nil
	}
	s, err := b.findSwap(cmd.Original)
	if s == nil || err != nil {
		return 0, err
	}
	if position = cmp.Or(s.leg.position, s.done); cmd.Kind == KindSwapLock {
		position = s.locked
	}
	if position == 0 {
		return 0, nil
	}
	rec, err := b.record(position)
	if err != nil || rec.Command.Key != cmd.Key {
		return 0, err
	}
	return position, nil
}

func (b *Book) addLock(s *swap) {
	at := swapLock{s.expires, s.position}
	i, _ := slices.BinarySearchFunc(b.swapLocks.live, at, swapLock.compare)
	b.touch(&b.swapLocks)
	b.swapLocks.live = slices.Insert(b.swapLocks.live, i, at)
}

func (b *Book) dropLock(s *swap) error {
	i, found := slices.BinarySearchFunc(b.swapLocks.live, swapLock{s.expires, s.position}, swapLock.compare)
	if !found {
		return fmt.Errorf("I25: the lock of swap %d is not among the live ones", s.position)
	}
	b.touch(&b.swapLocks)
	b.swapLocks.live = slices.Delete(b.swapLocks.live, i, i+1)
	return nil
}

// SwapView is a swap as it is now.
type SwapView struct {
	SwapFigures
	Member   points.MemberID
	Program  points.ProgramID // handed in
	Issuer   points.IssuerID
	Acquirer points.AcquirerID
	Quoted   points.Timestamp
	Locked   points.Position // by which command; 0: none
	Done     points.Position // likewise
}

// Swap returns the swap of a quote as it is at now; ok is false when there is no such quote.
func (b *Book) Swap(position points.Position, now points.Timestamp) (view SwapView, ok bool, err error) {
	if position == 0 || position > b.position {
		return view, false, nil
	}
	rec, err := b.record(position)
	if err != nil || rec.Command.Kind != KindQuote || !rec.Outcome.Reason.Approved() {
		return view, false, err
	}
	view = SwapView{
		SwapFigures: rec.Outcome.Swap, Member: rec.Outcome.Member, Program: rec.Outcome.Program, Issuer: rec.Outcome.Issuer,
		Acquirer: rec.Command.Acquirer, Quoted: rec.Outcome.Posted,
	}
	s, err := b.findSwap(position)
	if err != nil {
		return view, false, err
	}
	if s != nil {
		view.State, view.Locked, view.Done = s.state, s.locked, s.done
		if s.locked != 0 {
			view.Expires = s.expires
		}
	}
	if (view.State == SwapOpen || view.State == SwapLocked) && now >= view.Expires {
		view.State = SwapExpired
	}
	return view, true, nil
}

// SwapLocks lists the quotes with live locks, the one that ends first first; those whose
// time is over wait for [KindExpireSwaps].
func (b *Book) SwapLocks() (quotes []points.Position) {
	for _, at := range b.swapLocks.live {
		quotes = append(quotes, at.quote)
	}
	return quotes
}

// NextSwapExpiry is when the first live lock ends; 0: there is none.
func (b *Book) NextSwapExpiry() points.Timestamp {
	if len(b.swapLocks.live) == 0 {
		return 0
	}
	return b.swapLocks.live[0].expires
}

// auditSwaps checks that exactly the locked swaps are among the live locks, and only they and
// those that wait for an issuer hold points (I25, I27).
func (b *Book) auditSwaps() error {
	if err := b.auditLegs(); err != nil {
		return err
	}
	live := make(map[points.Position]points.Timestamp, len(b.swapLocks.live))
	for i, at := range b.swapLocks.live {
		if i > 0 && b.swapLocks.live[i-1].compare(at) >= 0 {
			return fmt.Errorf("book: I25: live locks are out of order at %d", at.quote)
		}
		live[at.quote] = at.expires
	}
	return b.swaps.each(func(s *swap) error {
		expires, locked := live[s.position]
		if b.untouched(s.position) {
			return fmt.Errorf("book: I25: swap %d is in state %d, and its promise says that nothing has happened to it", s.position, s.state)
		}
		switch {
		case locked != (s.state == SwapLocked) || (locked && expires != s.expires):
			return fmt.Errorf("book: I25: swap %d is in state %d, live lock: %v", s.position, s.state, locked)
		case s.holds() != (s.held() > 0):
			return fmt.Errorf("book: I25: swap %d in state %d holds %d", s.position, s.state, s.held())
		case s.pending() != (s.leg.state == legAsked) && s.leg.state != legUndoing:
			return fmt.Errorf("book: I27: swap %d is in state %d, its remote leg in %d", s.position, s.state, s.leg.state)
		case (s.done != 0) != (s.state == SwapDone || (s.state == SwapReversed && (s.leg.position == 0 || s.done != 0))):
			return fmt.Errorf("book: I25: swap %d is in state %d, executed by %d", s.position, s.state, s.done)
		}
		return nil
	})
}

func appendSwapFigures(dst []byte, f *SwapFigures) []byte {
	dst = binary.AppendUvarint(append(dst, byte(f.State)), uint64(f.Quote))
	dst = binary.AppendUvarint(binary.AppendUvarint(dst, uint64(f.Into)), uint64(f.IntoIssuer))
	for _, amount := range [...]points.Amount{f.In, f.Out, f.Bonus, f.Value, f.Fee, f.Cost, f.Rest} {
		dst = appendAmount(dst, amount)
	}
	for _, version := range [...]uint32{f.Buy, f.Sell, f.Terms, f.IntoTerms} {
		dst = binary.AppendUvarint(dst, uint64(version))
	}
	return binary.AppendVarint(dst, int64(f.Expires))
}

func decodeSwapFigures(r *reader) (f SwapFigures) {
	f.State, f.Quote = SwapState(r.byte()), r.position()
	f.Into, f.IntoIssuer = r.program(), points.IssuerID(r.uvarint())
	for _, amount := range [...]*points.Amount{&f.In, &f.Out, &f.Bonus, &f.Value, &f.Fee, &f.Cost, &f.Rest} {
		*amount = r.amount()
	}
	for _, version := range [...]*uint32{&f.Buy, &f.Sell, &f.Terms, &f.IntoTerms} {
		*version = r.uint32()
	}
	f.Expires = r.timestamp()
	if f == (SwapFigures{}) {
		r.fail()
	}
	return f
}

func appendSwapAsked(dst []byte, c *Command, m uint64) []byte {
	if m&hasInto != 0 {
		dst = binary.AppendUvarint(dst, uint64(c.Into))
	}
	if m&hasWanted != 0 {
		dst = appendAmount(dst, c.Wanted)
	}
	return dst
}

func decodeSwapAsked(r *reader, c *Command, m uint64) {
	if m&hasInto != 0 {
		c.Into = r.program()
	}
	if m&hasWanted != 0 {
		c.Wanted = r.amount()
	}
}
