package book

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// clearing is what members owe each other as it comes to be. It is kept from the first rate
// on; a book without rates has of it what people have entered (KindLeg), and nothing else.
//
//	record ──> items ──> legs ──> the cycle that is open ──cut-over──> closed ──post──> posted
//	                              (stateCycle, one each)      └── unsettled: counts for caps ──┘
//
// The items are those that a reader of the journal gets ([Clearing]), and the legs those of
// package tariff: so what is kept here is what a run computes, and if it is not, one of
// both is wrong (I20).
type clearing struct {
	book      *Book
	reader    *Clearing
	current   *cycle // nil: nothing was cleared in it yet
	closed    map[cycleKey]*cycle
	exposure  exposure
	decisions cache[points.Position, decision, *decision]
	value     tariff.Valuation
	owing     []memberSum       // what the current command would make members owe, as far as it was asked
	held      []points.Position // holds that the current command has changed
}

type cycleKey struct {
	date  points.BusinessDate
	cycle uint8
}

// memberSum is what the legs made a member owe and made others owe it, both 0 or more.
type memberSum struct {
	member        tariff.Member
	debit, credit points.Amount
}

// flow is what was moved on a clearing account by items that have a value.
type flow struct {
	program  points.ProgramID
	acquirer points.AcquirerID
	amount   points.Amount
}

// cycle is what was cleared in a cycle of a date. Members and flows stand in the order in
// which they came first.
type cycle struct {
	node
	key      cycleKey
	members  []memberSum
	flows    []flow
	items    uint64          // that have a value
	unvalued uint64          // that have none: exceptions of the run
	posted   points.Position // by which command; 0: not
	run      [32]byte

	at      map[tariff.Member]int // index into members
	flowsAt map[flow]int          // with amount 0
}

func (c *cycle) appendKey(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(append(dst, stateCycle), uint32(c.key.date))
	return append(dst, c.key.cycle)
}

func (c *cycle) appendValue(dst []byte) []byte {
	dst = append(dst, stateVersion)
	dst = appendSums(dst, c.members)
	dst = appendList(dst, c.flows, func(dst []byte, f flow) []byte {
		dst = binary.AppendUvarint(dst, uint64(f.program))
		return appendAmount(binary.AppendUvarint(dst, uint64(f.acquirer)), f.amount)
	})
	for _, n := range [...]uint64{c.items, c.unvalued, uint64(c.posted)} {
		dst = binary.AppendUvarint(dst, n)
	}
	return append(dst, c.run[:]...)
}

// maxParties bounds members and flows as they are read back.
const maxParties = 1 << 20

func (c *cycle) decodeValue(r *reader) {
	c.members = decodeSums(r)
	for range r.count(maxParties, 3) {
		f := flow{program: r.program(), acquirer: points.AcquirerID(r.uvarint())}
		f.amount = r.amount()
		c.flows = append(c.flows, f)
	}
	c.items, c.unvalued, c.posted = r.uvarint(), r.uvarint(), r.position()
	r.fixed(c.run[:])
}

func appendSums(dst []byte, sums []memberSum) []byte {
	return appendList(dst, sums, func(dst []byte, s memberSum) []byte {
		return appendAmount(appendAmount(binary.AppendUvarint(dst, uint64(s.member)), s.debit), s.credit)
	})
}

func decodeSums(r *reader) (sums []memberSum) {
	for range r.count(maxParties, 3) {
		s := memberSum{member: tariff.Member(r.uint32())}
		s.debit, s.credit = r.amount(), r.amount()
		sums = append(sums, s)
	}
	return sums
}

// index makes the lists findable.
func (c *cycle) index() {
	c.at, c.flowsAt = make(map[tariff.Member]int), make(map[flow]int)
	for i := range c.members {
		c.at[c.members[i].member] = i
	}
	for i, f := range c.flows {
		f.amount = 0
		c.flowsAt[f] = i
	}
}

func (c *cycle) sumOf(m tariff.Member) *memberSum {
	i, ok := c.at[m]
	if !ok {
		i = len(c.members)
		c.members = append(c.members, memberSum{member: m})
		c.at[m] = i
	}
	return &c.members[i]
}

func (c *cycle) flowOf(key flow) *flow {
	i, ok := c.flowsAt[key]
	if !ok {
		i = len(c.flows)
		c.flows = append(c.flows, key)
		c.flowsAt[key] = i
	}
	return &c.flows[i]
}

// exposure is what counts for caps beside the open cycle: closed cycles that are not
// settled, and what holds, and requests that their issuers have not answered, would add.
type exposure struct {
	node
	unsettled []memberSum // ascending by member
	reserved  []memberSum // likewise; credit is never reserved
}

func (e *exposure) appendKey(dst []byte) []byte { return append(dst, stateExposure) }

func (e *exposure) appendValue(dst []byte) []byte {
	if len(e.unsettled) == 0 && len(e.reserved) == 0 {
		return dst
	}
	return appendSums(appendSums(append(dst, stateVersion), e.unsettled), e.reserved)
}

func (e *exposure) decodeValue(r *reader) { e.unsettled, e.reserved = decodeSums(r), decodeSums(r) }

func findSum(sums []memberSum, m tariff.Member) (int, bool) {
	return slices.BinarySearchFunc(sums, m, func(s memberSum, m tariff.Member) int { return int(s.member) - int(m) })
}

// addSum adds s, or with sign -1 takes it off; a member with nothing left is gone.
func addSum(sums []memberSum, s memberSum, sign points.Amount) ([]memberSum, error) {
	i, found := findSum(sums, s.member)
	if !found {
		sums = slices.Insert(sums, i, memberSum{member: s.member})
	}
	debit, ok := sums[i].debit.Add(sign * s.debit)
	credit, fits := sums[i].credit.Add(sign * s.credit)
	if !ok || !fits || debit < 0 || credit < 0 {
		return sums, fmt.Errorf("I20: what member %v owes, %+v, does not take %+v", s.member, sums[i], s)
	}
	sums[i].debit, sums[i].credit = debit, credit
	if debit == 0 && credit == 0 {
		sums = slices.Delete(sums, i, i+1)
	}
	return sums, nil
}

// decision is what is known of a transaction that was cleared or asked for, by the position
// of its request; none of one that was decided by its own record and never undone.
type decision struct {
	node
	position points.Position
	decided  points.Position // the record that has cleared it, where it is another one
	undone   []ProgramAmount // what was undone of it, less what was taken back
	reserved []memberSum     // for caps, while its issuer is asked, or it holds points
	// roomless are the programmes of which something that undoes it had no room: nothing of
	// them is cleared any more, or what takes that back would be cleared alone.
	roomless []points.ProgramID
}

func (d *decision) id() points.Position { return d.position }

func (d *decision) appendKey(dst []byte) []byte {
	return binary.BigEndian.AppendUint64(append(dst, stateDecision), uint64(d.position))
}

func (d *decision) appendValue(dst []byte) []byte {
	if d.decided == 0 && len(d.undone) == 0 && len(d.reserved) == 0 && len(d.roomless) == 0 {
		return dst
	}
	dst = binary.AppendUvarint(append(dst, stateVersion), uint64(d.decided))
	dst = appendProgramAmounts(dst, d.undone)
	dst = appendSums(dst, d.reserved)
	if len(d.roomless) == 0 {
		return dst // What it always was.
	}
	return appendList(dst, d.roomless, func(dst []byte, p points.ProgramID) []byte { return binary.AppendUvarint(dst, uint64(p)) })
}

func (d *decision) decodeValue(r *reader) {
	d.decided, d.undone, d.reserved = r.position(), decodeProgramAmounts(r, nil), decodeSums(r)
	if len(r.src) == 0 {
		return
	}
	for range r.count(maxOthers, 1) {
		d.roomless = append(d.roomless, r.program())
	}
}

func appendProgramAmounts(dst []byte, list []ProgramAmount) []byte {
	return appendList(dst, list, func(dst []byte, u ProgramAmount) []byte {
		return appendAmount(binary.AppendUvarint(dst, uint64(u.Program)), u.Amount)
	})
}

func decodeProgramAmounts(r *reader, dst []ProgramAmount) []ProgramAmount {
	for range r.count(maxOthers, 2) {
		u := ProgramAmount{Program: r.program()}
		u.Amount = r.amount()
		dst = append(dst, u)
	}
	return dst
}

func (c *clearing) open(b *Book, limit int) {
	c.book, c.closed = b, make(map[cycleKey]*cycle)
	c.reader = NewClearing(b.source.Record)
	seed := b.seed
	c.decisions = newCache[points.Position, decision](limit, func(p points.Position) uint64 { return mix(seed, uint64(p), 0) })
}

// loadClearing reads what counts for caps, and the open cycle.
func (b *Book) loadClearing() error {
	if _, err := b.load(&b.clearing.exposure); err != nil {
		return err
	}
	c, err := b.cycleAt(b.date, b.Cycle())
	if c != nil {
		delete(b.clearing.closed, c.key)
		b.clearing.current = c
		c.index()
	}
	return err
}

// find returns what is known of a request; nil: nothing.
func (c *clearing) find(position points.Position) (*decision, error) {
	if d, ok := c.decisions.find(position); ok {
		return d, nil
	}
	d := &decision{position: position}
	if ok, err := c.book.load(d); !ok || err != nil {
		return nil, err
	}
	return c.decisions.add(*d), nil
}

func (c *clearing) change(position points.Position) (*decision, error) {
	d, err := c.find(position)
	if err != nil {
		return nil, err
	}
	if d == nil {
		d = c.decisions.add(decision{position: position})
		c.book.create(d)
		return d, nil
	}
	c.book.touch(d)
	return d, nil
}

// openCycle returns the open cycle, about to change.
func (b *Book) openCycle() *cycle {
	c := b.clearing.current
	if c == nil {
		c = &cycle{key: cycleKey{b.date, b.Cycle()}}
		c.index()
		b.clearing.current = c
		b.create(c)
		return c
	}
	b.touch(c)
	return c
}

// cycleAt returns a cycle in which something was cleared; nil: there is none.
func (b *Book) cycleAt(date points.BusinessDate, number uint8) (*cycle, error) {
	key := cycleKey{date, max(number, 1)}
	if c := b.clearing.current; c != nil && c.key == key {
		return c, nil
	}
	if c, ok := b.clearing.closed[key]; ok {
		return c, nil
	}
	c := &cycle{key: key}
	if ok, err := b.load(c); !ok || err != nil {
		return nil, err
	}
	b.clearing.closed[key] = c
	return c, nil
}

// closeCycle ends the open cycle: what is owed in it counts on until it is settled.
func (b *Book) closeCycle() {
	c := b.clearing.current
	if c == nil {
		return
	}
	b.clearing.current = nil
	for key, old := range b.clearing.closed { // Only what has changed since a checkpoint stays in memory.
		if old.condition == clean && old.epoch <= b.durable {
			delete(b.clearing.closed, key)
		}
	}
	b.clearing.closed[c.key] = c
	b.touch(&b.clearing.exposure)
	for _, s := range c.members {
		sums, err := addSum(b.clearing.exposure.unsettled, s, 1)
		if err != nil {
			panic("book: " + err.Error()) //nolint:forbidigo // sums of amounts of fifteen digits; see fold.
		}
		b.clearing.exposure.unsettled = sums
	}
}

// clear enters what the approved command has cleared.
func (b *Book) clear(cmd *Command, out *Outcome) error {
	if b.live.Rates == nil && cmd.Carried().Kind != KindLeg {
		return nil
	}
	carried := cmd.Carried()
	if err := b.chargeRetrieval(carried, out); err != nil || !clears(cmd, out) {
		return err
	}
	out.Position, out.Posted = b.position+1, b.risk.now
	if err := b.own(carried, out); err != nil {
		return err
	}
	items, err := b.clearing.reader.of(cmd, out, &b.clearing)
	if err != nil {
		return err
	}
	for i := range items {
		if err := b.clearItem(i, &items[i], out); err != nil {
			return err
		}
	}
	return nil
}

// own notes in the outcome what a reader of it could not know later.
func (b *Book) own(cmd *Command, out *Outcome) error {
	merchant := cmd.Merchant
	switch cmd.Kind {
	case KindConclude, KindStandIn, KindOwe, KindAcknowledge, KindResolve:
		r, err := b.findRemote(out.Original)
		if err != nil {
			return err
		}
		if r != nil { // Else it is a swap, which the desk has executed.
			merchant = r.merchant
		}
	default:
	}
	if m, ok := b.live.Merchants[merchant]; ok {
		out.MCC = m.MCC
	}
	for i := range out.Postings {
		key := out.Postings[i].Account
		if key.Kind != ClearingAccount {
			continue
		}
		issuer := b.live.Programs[key.Program].Issuer
		if issuer != out.Issuer && !slices.Contains(out.Owners, ProgramOwner{key.Program, issuer}) {
			out.Owners = append(out.Owners, ProgramOwner{key.Program, issuer})
		}
	}
	return b.lock(cmd, out)
}

// clearItem enters the nth item of a record. That it does not fit stands in the outcome: a
// run counts what the book counts (I20).
func (b *Book) clearItem(n int, item *ClearingItem, out *Outcome) error {
	d, err := b.decisionOf(item, out)
	if err != nil {
		return err
	}
	c := b.openCycle()
	if item.TooOld || item.Stray {
		c.unvalued++
		return nil
	}
	if fault := tariff.Value(b.live.Rates, b.live.fees(), &item.Item, &b.clearing.value); fault != tariff.OK {
		c.unvalued++
		return nil
	}
	if out.NoRoom&roomBit(n) == 0 && !b.leftOut(item, d) && c.enter(item, b.clearing.value.Legs(), b.clearing.exposure.unsettled) {
		return nil
	}
	c.unvalued++
	out.NoRoom |= roomBit(n)
	if b.pairs() && item.Root != 0 && d != nil && !slices.Contains(d.roomless, item.Program) {
		d.roomless = append(d.roomless, item.Program)
	}
	return nil
}

// decisionOf notes what an item undoes, or by which record its request is decided, and returns
// what is known of the request; nil of one that is decided by its own record.
func (b *Book) decisionOf(item *ClearingItem, out *Outcome) (*decision, error) {
	if item.Kind.Explicit() {
		return nil, nil //nolint:nilnil // It says its own amount, and undoes nothing of what it is about.
	}
	if item.Root == 0 {
		if item.RRN == out.Position {
			return nil, nil //nolint:nilnil // nothing.
		}
		d, err := b.clearing.change(item.RRN)
		if err != nil {
			return nil, err
		}
		d.decided = out.Position
		return d, nil
	}
	about := item.Root
	if out.Root != 0 {
		var err error
		if about, err = b.requestOf(item); err != nil {
			return nil, err
		}
	}
	d, err := b.clearing.change(about)
	if err != nil {
		return nil, err
	}
	item.Refunded = d.undo(item, out)
	return d, nil
}

// pairs reports whether what undoes an item that had no room has none either (I20).
func (b *Book) pairs() bool { return b.edition >= editionPairs }

// leftOut reports whether an item undoes what had no room, or comes behind something of the
// same original that had none. Were it cleared, its members would owe for half of a pair.
func (b *Book) leftOut(item *ClearingItem, d *decision) bool {
	if !b.pairs() || item.Root == 0 || d == nil {
		return false
	}
	key := AccountKey{ClearingAccount, item.Program, uint64(item.Acquirer)}
	return slices.Contains(d.roomless, item.Program) || b.clearing.reader.root.Outcome.hadNoRoom(key)
}

// requestOf is the request whose decision is the item's root.
func (b *Book) requestOf(item *ClearingItem) (points.Position, error) {
	root := &b.clearing.reader.root
	if root.Outcome.Position != item.Root {
		return 0, fmt.Errorf("I20: the root of an item, %d, is not at hand", item.Root)
	}
	return root.Outcome.Original, nil
}

// undo notes what an item undoes, and returns how much was undone before, which it notes in
// the outcome.
func (d *decision) undo(item *ClearingItem, out *Outcome) points.Amount {
	i := slices.IndexFunc(d.undone, func(u ProgramAmount) bool { return u.Program == item.Program })
	if i < 0 {
		i = len(d.undone)
		d.undone = append(d.undone, ProgramAmount{Program: item.Program})
	}
	before := d.undone[i].Amount
	if before != 0 {
		out.Undone = append(out.Undone, ProgramAmount{item.Program, before})
	}
	if d.undone[i].Amount -= item.Amount; d.undone[i].Amount == 0 {
		d.undone = slices.Delete(d.undone, i, i+1)
	}
	return before
}

// maxSum keeps what a member owes in one cycle so small that more than a hundred cycles
// that wait to be settled fit together.
const maxSum points.Amount = 1 << 56

// maxUnsettled keeps what a member owes in all cycles that are not settled so small that
// the legs of one more item fit: a cycle that could not be closed would end the process.
const maxUnsettled = math.MaxInt64 - 64*tariff.MaxValue

// fits reports whether another item's legs fit beside what the member has in the cycle and
// in those that are not settled.
func (s *memberSum) fits(unsettled []memberSum) bool {
	if s.debit >= maxSum || s.credit >= maxSum {
		return false
	}
	i, found := findSum(unsettled, s.member)
	return !found || (unsettled[i].debit < maxUnsettled-s.debit && unsettled[i].credit < maxUnsettled-s.credit)
}

// enter adds an item's legs; where a sum would not fit it adds none of them and returns
// false: the item counts as one without a value. A leg has fifteen digits and there are
// few, so that only what was there before is looked at: in the cycle, and in the closed
// ones that are not settled.
func (c *cycle) enter(item *ClearingItem, legs []tariff.Leg, unsettled []memberSum) bool {
	moved := item.Amount
	if item.Kind == tariff.KindSWP || item.Of == tariff.KindSWP {
		moved = 0 // A swap moves nothing on a clearing account.
	}
	f := &flow{}
	if moved != 0 {
		f = c.flowOf(flow{program: item.Program, acquirer: points.AcquirerID(item.Acquirer)})
	}
	if item.Kind == tariff.KindEAR || item.Of == tariff.KindEAR {
		moved = -moved
	}
	after, fits := f.amount.Add(moved)
	for _, leg := range legs {
		fits = fits && c.sumOf(leg.Debtor).fits(unsettled) && c.sumOf(leg.Creditor).fits(unsettled)
	}
	if !fits {
		return false
	}
	f.amount = after
	c.items++
	for _, leg := range legs {
		c.sumOf(leg.Debtor).debit += leg.Amount
		c.sumOf(leg.Creditor).credit += leg.Amount
	}
	return true
}
