package book

import (
	"encoding/binary"

	"github.com/lianfen/lianfen/points"
)

// Kinds of entity, the first byte of a state key. They stand in stores: append only.
const (
	stateMeta byte = iota + 1
	stateAccount
	stateMember
	stateCard
	stateHold
	stateTransaction
	statePage
	stateReference
	stateRemote
	stateTicket
	stateCardDay
	stateBatches
	stateOffice
	stateRisk
	stateParty
	stateCycle
	stateDecision
	stateExposure
	stateDispute
	stateDocket
	stateSwap
	stateSwapLocks
	stateSwapCount
	stateSwapLegs
)

const stateVersion = 1

// maxLots is how many different lots an account may hold. Programmes bucket
// expiry by day or month end, so an account that reaches it is misused.
const maxLots = 64

// lot is a quantity of points with one history.
type lot struct {
	key    LotKey
	amount points.Amount
}

// dayCount is what a member did in one programme on one business date.
type dayCount struct {
	date       points.BusinessDate
	redemption uint32
	redeemed   points.Amount
	given      points.Amount
}

// account is a member's account, or one of the house's (without lots, the
// balance in free, of either sign).
type account struct {
	node
	status Status // here it fills a gap
	freeze Freeze
	key    AccountKey
	free   points.Amount // I3: sum of lots
	held   points.Amount // I4: sum of live holds
	debt   points.Amount // >= 0; the debt account's balance is its negative
	lots   []lot         // sorted by before, none empty
	day    dayCount
	holds  uint32 // live holds
	imaged uint32 // sequence of the command that last took its before-image
	inline [1]lot // where lots are while there is no more than one
}

func (a *account) id() AccountKey { return a.key }

func (a *account) appendKey(dst []byte) []byte {
	dst = append(dst, stateAccount, byte(a.key.Kind))
	dst = binary.BigEndian.AppendUint16(dst, uint16(a.key.Program))
	return binary.BigEndian.AppendUint64(dst, a.key.Party)
}

func (a *account) appendValue(dst []byte) []byte {
	if a.key.Kind != MemberAccount && a.free == 0 {
		return dst // an account of the house exists while it has a balance
	}
	dst = append(dst, stateVersion, byte(a.status), byte(a.freeze))
	dst = appendAmount(dst, a.free)
	dst = appendAmount(dst, a.held)
	dst = appendAmount(dst, a.debt)
	dst = binary.AppendUvarint(dst, uint64(a.day.date))
	dst = appendAmount(dst, a.day.redeemed)
	dst = appendAmount(dst, a.day.given)
	dst = binary.AppendUvarint(dst, uint64(a.day.redemption))
	dst = binary.AppendUvarint(dst, uint64(a.holds))
	return appendLots(dst, a.lots)
}

func (a *account) decodeValue(r *reader) {
	a.status, a.freeze = Status(r.byte()), Freeze(r.byte())
	a.free, a.held, a.debt = r.amount(), r.amount(), r.amount()
	a.day.date = r.date()
	a.day.redeemed, a.day.given = r.amount(), r.amount()
	a.day.redemption, a.holds = r.uint32(), r.uint32()
	a.lots = decodeLots(r)
}

func appendLots(dst []byte, lots []lot) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(lots)))
	for i := range lots {
		dst = appendLotKey(dst, lots[i].key)
		dst = appendAmount(dst, lots[i].amount)
	}
	return dst
}

func decodeLots(r *reader) []lot {
	n := r.count(maxMoves, 5)
	if n == 0 {
		return nil
	}
	lots := make([]lot, n)
	for i := range lots {
		lots[i].key = decodeLotKey(r)
		lots[i].amount = r.amount()
	}
	return lots
}

// member is a person and the programmes in which the person has an open account.
type member struct {
	node
	Member
	programs []points.ProgramID  // ascending
	last     *account            // that was used last, if it is still there
	inline   [4]points.ProgramID // where programs are while there are no more
}

func (m *member) id() points.MemberID { return m.ID }

func (m *member) appendKey(dst []byte) []byte {
	return binary.BigEndian.AppendUint64(append(dst, stateMember), uint64(m.ID))
}

func (m *member) appendValue(dst []byte) []byte {
	dst = appendEntry(append(dst, stateVersion), &Entry{Member: &m.Member})
	dst = binary.AppendUvarint(dst, uint64(len(m.programs)))
	for _, program := range m.programs {
		dst = binary.AppendUvarint(dst, uint64(program))
	}
	return dst
}

func (m *member) decodeValue(r *reader) {
	var e Entry
	decodeEntry(r, &e)
	if e.Member == nil {
		r.fail()
		return
	}
	m.Member = *e.Member
	for range r.count(maxOthers, 1) {
		m.programs = append(m.programs, r.program())
	}
}

// card opens a member's accounts.
type card struct {
	node
	Card
	pin   pin
	owner *member // when last used, if it is still there
}

func (c *card) id() points.CardToken { return c.Token }

func (c *card) appendKey(dst []byte) []byte {
	return append(append(dst, stateCard), c.Token[:]...)
}

func (c *card) appendValue(dst []byte) []byte {
	return appendPIN(appendEntry(append(dst, stateVersion), &Entry{Card: &c.Card}), &c.pin)
}

func (c *card) decodeValue(r *reader) {
	var e Entry
	decodeEntry(r, &e)
	if e.Card == nil {
		r.fail()
		return
	}
	c.Card, c.pin = *e.Card, decodePIN(r)
}

// holdState is where a hold is in its life (see the package comment).
type holdState uint8

const (
	holdOpen holdState = iota + 1
	holdCaptured
	holdReleased
	holdExpired
	holdReversed
)

// hold reserves points; position is that of the command that placed it.
type hold struct {
	node
	position points.Position
	account  AccountKey
	acquirer points.AcquirerID
	merchant points.MerchantID
	terminal points.TerminalID
	placed   points.BusinessDate
	due      points.BusinessDate // last day of use
	state    holdState
	reserved points.Amount // with increments, less what was reversed of them
	captured points.Amount // less what was voided or reversed
	left     points.Amount // what it reserves now: sum of lots
	lots     []lot         // in order of consumption; expiry is frozen
}

func (h *hold) id() points.Position { return h.position }

func (h *hold) appendKey(dst []byte) []byte {
	return binary.BigEndian.AppendUint64(append(dst, stateHold), uint64(h.position))
}

func (h *hold) appendValue(dst []byte) []byte {
	dst = append(dst, stateVersion, byte(h.state), byte(h.account.Kind))
	dst = binary.AppendUvarint(dst, uint64(h.account.Program))
	dst = binary.AppendUvarint(dst, h.account.Party)
	dst = binary.AppendUvarint(dst, uint64(h.acquirer))
	dst = append(dst, h.merchant[:]...)
	dst = append(dst, h.terminal[:]...)
	dst = binary.AppendUvarint(dst, uint64(h.placed))
	dst = binary.AppendUvarint(dst, uint64(h.due))
	dst = appendAmount(dst, h.reserved)
	dst = appendAmount(dst, h.captured)
	dst = appendAmount(dst, h.left)
	return appendLots(dst, h.lots)
}

func (h *hold) decodeValue(r *reader) {
	h.state = holdState(r.byte())
	h.account.Kind = AccountKind(r.byte())
	h.account.Program = r.program()
	h.account.Party = r.uvarint()
	h.acquirer = points.AcquirerID(r.uvarint())
	r.fixed(h.merchant[:])
	r.fixed(h.terminal[:])
	h.placed, h.due = r.date(), r.date()
	h.reserved, h.captured, h.left = r.amount(), r.amount(), r.amount()
	h.lots = decodeLots(r)
}

// giving is one piece that a later command gave back of what a transaction took.
type giving struct {
	by     points.Position
	move   uint32 // index into the transaction's portions; of an expiry, into its lot moves
	amount points.Amount
}

// transaction is what has happened to a transaction since it was written. There
// is none for one that nothing has happened to.
type transaction struct {
	node
	position points.Position
	reversed points.Position // by which command; 0: not
	voided   points.Position
	givings  []giving
	reduced  points.Amount // by reversals of a part, in sum; those of a sale stand in givings too
	refunded points.Amount // of a sale that several programmes paid: what was given back, in its unit
	taken    []portion     // what it has taken, where that is no longer what its record says (see retake)
}

// ofProgram, in the byte of a portion's source, says that its programme follows.
const ofProgram = 0x80

// portion is a part of what a redemption or capture has taken: points of a lot, or
// what a debt (DebtAccount) or the issuer (SuspenseAccount) stood in for.
type portion struct {
	source  AccountKind
	program points.ProgramID // of a sale that several programmes paid; else 0
	lot
}

// portions is what a redemption or capture has taken, in sum its amount. What a
// final capture gave back follows after these moves and is none of them.
func (t *transaction) portions(sale *Outcome) []portion {
	if t != nil && len(t.taken) > 0 {
		return t.taken
	}
	var taken []portion
	if len(sale.Legs) > 0 { // Its amount is in another unit, and all its moves took.
		for i := range sale.Lots {
			move := &sale.Lots[i]
			taken = append(taken, portion{MemberAccount, move.Account.Program, lot{move.Lot, -move.Amount}})
		}
		return taken
	}
	for i, sum := 0, points.Amount(0); i < len(sale.Lots) && sum < sale.Amount; i++ {
		move := &sale.Lots[i]
		taken = append(taken, portion{MemberAccount, 0, lot{move.Lot, -move.Amount}})
		sum -= move.Amount
	}
	return taken
}

func (t *transaction) id() points.Position { return t.position }

func (t *transaction) appendKey(dst []byte) []byte {
	return binary.BigEndian.AppendUint64(append(dst, stateTransaction), uint64(t.position))
}

func (t *transaction) appendValue(dst []byte) []byte {
	dst = append(dst, stateVersion)
	dst = binary.AppendUvarint(dst, uint64(t.reversed))
	dst = binary.AppendUvarint(dst, uint64(t.voided))
	dst = binary.AppendUvarint(dst, uint64(len(t.givings)))
	for _, g := range t.givings {
		dst = binary.AppendUvarint(dst, uint64(g.by))
		dst = binary.AppendUvarint(dst, uint64(g.move))
		dst = appendAmount(dst, g.amount)
	}
	// Later additions: what they never happened to is written as it always was.
	if t.reduced != 0 || len(t.taken) > 0 || t.refunded != 0 {
		dst = appendAmount(dst, t.reduced)
	}
	if len(t.taken) > 0 || t.refunded != 0 {
		dst = binary.AppendUvarint(dst, uint64(len(t.taken)))
	}
	for i := range t.taken {
		if program := t.taken[i].program; program != 0 {
			dst = append(dst, byte(t.taken[i].source)|ofProgram)
			dst = binary.AppendUvarint(dst, uint64(program))
		} else {
			dst = append(dst, byte(t.taken[i].source))
		}
		dst = appendLotKey(dst, t.taken[i].key)
		dst = appendAmount(dst, t.taken[i].amount)
	}
	if t.refunded != 0 {
		dst = appendAmount(dst, t.refunded)
	}
	return dst
}

func (t *transaction) decodeValue(r *reader) {
	t.reversed, t.voided = points.Position(r.uvarint()), points.Position(r.uvarint())
	for range r.count(maxMoves, 3) {
		g := giving{by: points.Position(r.uvarint()), move: r.uint32()}
		g.amount = r.amount()
		t.givings = append(t.givings, g)
	}
	if len(r.src) == 0 {
		return
	}
	if t.reduced = r.amount(); len(r.src) == 0 {
		if t.reduced == 0 {
			r.fail()
		}
		return
	}
	for range r.count(maxMoves, 6) {
		source := r.byte()
		p := portion{source: AccountKind(source &^ ofProgram)}
		if source&ofProgram != 0 {
			p.program = r.program()
		}
		p.key = decodeLotKey(r)
		p.amount = r.amount()
		t.taken = append(t.taken, p)
	}
	if len(r.src) > 0 {
		t.refunded = r.amount()
	}
	if len(t.taken) == 0 && t.refunded == 0 {
		r.fail()
	}
}

// returned is what has been given back, in sum.
func (t *transaction) returned() (sum points.Amount) {
	for _, g := range t.givings {
		sum += g.amount
	}
	return sum
}

// returnedFrom is what has been given back of sale, in its unit.
func (t *transaction) returnedFrom(sale *Record) points.Amount {
	if len(sale.Outcome.Legs) > 0 {
		return t.refunded
	}
	return t.returned()
}

// maxGivings bounds in how many pieces one sale may be given back, so that what is
// known of it stays small. What is left then comes back by a void or reversal only.
const maxGivings = 4096

// worn reports whether no further part may be given back.
func (t *transaction) worn() bool { return t != nil && len(t.givings) >= maxGivings }

// reducedBy is what reversals of a part have taken off; of no transaction, nothing.
func (t *transaction) reducedBy() points.Amount {
	if t == nil {
		return 0
	}
	return t.reduced
}

// returnedOf is what has been given back of one portion or move.
func (t *transaction) returnedOf(move uint32) (sum points.Amount) {
	for _, g := range t.givings {
		if g.move == move {
			sum += g.amount
		}
	}
	return sum
}

// reference is one entry of reference data that stays in memory. Its ordinal
// tells when it was first put: the store is asked by key only, so entries are
// found again by counting.
type reference struct {
	node
	ordinal uint32
	entry   Entry
}

func (e *reference) appendKey(dst []byte) []byte {
	return binary.BigEndian.AppendUint32(append(dst, stateReference), e.ordinal)
}

func (e *reference) appendValue(dst []byte) []byte {
	return appendEntry(append(dst, stateVersion), &e.entry)
}

func (e *reference) decodeValue(r *reader) { decodeEntry(r, &e.entry) }

// Kinds of due lists.
const (
	dueHolds = iota
	dueExpiry
	dueVest
	dueDecay
	dueKinds
)

// pageSize is how many due entries stand in one entity.
const pageSize = 256

type pageKey struct {
	kind  uint8
	date  points.BusinessDate
	index uint32
}

// due names a hold (party is its position) or a member account that has
// something due on the page's date, or had when it was written down.
type due struct {
	program points.ProgramID
	party   uint64
}

// page is a part of the list of what falls due on a date. An empty page is no page.
type page struct {
	node
	key     pageKey
	entries []due
}

func (p *page) id() pageKey { return p.key }

func (p *page) appendKey(dst []byte) []byte {
	dst = append(dst, statePage, p.key.kind)
	dst = binary.BigEndian.AppendUint32(dst, uint32(p.key.date))
	return binary.BigEndian.AppendUint32(dst, p.key.index)
}

func (p *page) appendValue(dst []byte) []byte {
	if len(p.entries) == 0 {
		return dst
	}
	dst = append(dst, stateVersion)
	dst = binary.AppendUvarint(dst, uint64(len(p.entries)))
	for _, e := range p.entries {
		dst = binary.AppendUvarint(dst, uint64(e.program))
		dst = binary.AppendUvarint(dst, e.party)
	}
	return dst
}

func (p *page) decodeValue(r *reader) {
	for range r.count(pageSize, 2) {
		e := due{program: r.program()}
		e.party = r.uvarint()
		p.entries = append(p.entries, e)
	}
}

// bucket counts what falls due on one date: entries written down, and how many
// of them were worked through.
type bucket struct {
	date  points.BusinessDate
	added uint32
	done  uint32
}
