package book

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/lianfen/lianfen/points"
)

// Options of a book. They bound memory and never change an outcome.
type Options struct {
	// Accounts is how many member accounts are kept in memory; 0: all. Members,
	// cards, holds, transactions and due pages are each held to the same number, and
	// what quotes promise to no more than 524,288.
	// What has changed since the last durable checkpoint stays whatever it says.
	Accounts int
	// Seed goes into the hashes by which things are found in memory. Whoever chooses
	// keys must not know it, or could choose them so that finding them is slow.
	Seed uint64
}

// Book is the state of a ledger. It is used by one goroutine.
type Book struct {
	source Source
	fault  error // first fault; the state is undefined from then on

	position points.Position // last applied
	posted   points.Timestamp
	date     points.BusinessDate
	cycle    uint8 // of date, where it is not the first
	edition  uint8 // of the latest meaning that a cut-over has begun; see [Edition]
	totals   totals

	seed        uint64
	generations []generation // ascending, at least one
	keys        index        // to the positions at which the keys of all generations were used
	dueDates    [dueKinds][]bucket

	live       Registry // changed in place; what is handed out is a copy
	published  *Registry
	references []*reference
	toLoad     uint32 // references to read from the store
	resumed    bool   // the book began from a checkpoint: there may be more in the store than in memory
	byIdentity map[identity]*reference

	accounts     cache[AccountKey, account, *account]
	house        map[AccountKey]*account // few, never let go
	members      cache[points.MemberID, member, *member]
	cards        cache[points.CardToken, card, *card]
	holds        cache[points.Position, hold, *hold]
	transactions cache[points.Position, transaction, *transaction]
	pages        cache[pageKey, page, *page]
	remotes      cache[points.Position, remote, *remote]
	cardDays     cache[cardDayKey, cardDay, *cardDay]
	batches      cache[batchesKey, batches, *batches]
	swaps        cache[points.Position, swap, *swap]
	promises     cache[points.Position, promise, *promise]
	unbegun      points.Position // a quote that nothing has happened to, as was found last; 0: none
	swapCounts   cache[swapCountKey, swapCount, *swapCount]
	swapLocks    swapLocks
	swapLegs     swapLegs
	unfinished   unfinished
	office       office
	disputes     cache[points.Position, dispute, *dispute]
	docket       docket
	clearing     clearing
	approved     *Command // the act that the current command approves
	risk         risk

	dirty      []entity        // changed since the last BeginCheckpoint
	sum        sum             // of the hashes of all entities that are neither dirty nor frozen
	epoch      uint32          // number of the last checkpoint begun
	durable    uint32          // number of the last checkpoint put away
	stored     points.Position // what is younger is in no checkpoint, not even in one that runs
	checkpoint checkpoint

	undo  undo
	terms [programs]terms
	shown *account // whose balances the outcome of the current command gives
	count uint32   // commands applied by this process, to tell before-images apart

	read         points.Position // whose record rec is; 0: none
	rec          Record          // read back from the journal; valid until the next read
	quote        promise         // read back, of a quote that is not in memory
	second       Record          // likewise, where a command needs two
	sale         Record          // see sold
	replay       replaying
	keyScratch   []byte
	valueScratch []byte
	taken        []lot
	fresh        []registration
}

// programs is how many programmes there can be.
const programs = int(points.MaxProgram-points.MinProgram) + 1

// terms are what a programme's rules say on one business date.
type terms struct {
	of      *Program
	date    points.BusinessDate
	expires points.BusinessDate
	active  points.BusinessDate
	decays  points.BusinessDate
}

// totals are the sums of all balances, per programme and kind.
type totals struct {
	balances [programs][SuspenseAccount + 1]points.Amount
	held     [programs]points.Amount
	accounts [programs]uint64
}

func programIndex(program points.ProgramID) int { return int(program - points.MinProgram) }

func (t *totals) append(dst []byte) []byte {
	for i := range t.balances {
		if t.accounts[i] == 0 && t.balances[i] == [SuspenseAccount + 1]points.Amount{} {
			continue
		}
		dst = binary.AppendUvarint(dst, uint64(i)+1)
		dst = binary.AppendUvarint(dst, t.accounts[i])
		dst = appendAmount(dst, t.held[i])
		for _, balance := range t.balances[i][1:] {
			dst = appendAmount(dst, balance)
		}
	}
	return append(dst, 0)
}

func (t *totals) decode(r *reader) {
	for {
		i := r.uvarint()
		if i == 0 {
			return
		}
		if i > uint64(programs) {
			r.fail()
			return
		}
		t.accounts[i-1] = r.uvarint()
		t.held[i-1] = r.amount()
		for kind := range t.balances[i-1][1:] {
			t.balances[i-1][kind+1] = r.amount()
		}
	}
}

// New returns the book that source holds: the one last checkpointed, or an empty
// one. What is wrong with the store is told by [Book.Err] and by the first Apply.
func New(opts Options, source Source) *Book {
	seed, limit := opts.Seed, opts.Accounts
	ofPosition := func(p points.Position) uint64 { return mix(seed, uint64(p), 0) }
	b := &Book{
		source:      source,
		seed:        seed,
		generations: []generation{newGeneration(1)},
		keys:        newIndex(),
		byIdentity:  make(map[identity]*reference),
		house:       make(map[AccountKey]*account),
		accounts: newCache[AccountKey, account](limit, func(k AccountKey) uint64 {
			return mix(seed, k.Party, uint64(k.Program)<<8|uint64(k.Kind))
		}),
		members: newCache[points.MemberID, member](limit, func(id points.MemberID) uint64 { return mix(seed, uint64(id), 0) }),
		cards: newCache[points.CardToken, card](limit, func(t points.CardToken) uint64 {
			return mix(seed, binary.LittleEndian.Uint64(t[:8]), binary.LittleEndian.Uint64(t[8:]))
		}),
		holds:        newCache[points.Position, hold](limit, ofPosition),
		transactions: newCache[points.Position, transaction](limit, ofPosition),
		pages: newCache[pageKey, page](limit, func(k pageKey) uint64 {
			return mix(seed, uint64(k.date)<<8|uint64(k.kind), uint64(k.index))
		}),
		remotes: newCache[points.Position, remote](limit, ofPosition),
		cardDays: newCache[cardDayKey, cardDay](limit, func(k cardDayKey) uint64 {
			return mix(seed^uint64(k.program), binary.LittleEndian.Uint64(k.card[:8]), binary.LittleEndian.Uint64(k.card[8:]))
		}),
		batches: newCache[batchesKey, batches](limit, func(k batchesKey) uint64 {
			return mix(seed^uint64(k.acquirer), binary.LittleEndian.Uint64(k.terminal[:]), binary.LittleEndian.Uint64(k.merchant[7:]))
		}),
		disputes: newCache[points.Position, dispute](limit, ofPosition),
		swaps:    newCache[points.Position, swap](limit, ofPosition),
		promises: newCache[points.Position, promise](promiseLimit(limit), ofPosition),
		swapCounts: newCache[swapCountKey, swapCount](limit, func(k swapCountKey) uint64 {
			return mix(seed, uint64(k.member), uint64(k.program))
		}),
		unfinished: unfinished{at: make(map[points.Position]*ticket)},
	}
	b.keys.alive = func(number uint64) bool { return b.positionOf(number) >= b.TraceFloor() }
	b.live = emptyRegistry()
	b.clearing.open(b, limit)
	b.fault = b.open()
	return b
}

// open reads the meta entity and the reference data.
func (b *Book) open() error {
	value, ok, err := b.source.State([]byte{stateMeta})
	if err != nil {
		return fmt.Errorf("book: read the checkpoint: %w", err)
	}
	if !ok || len(value) == 0 {
		return nil
	}
	if !b.loadMeta(value) {
		return fmt.Errorf("book: the checkpoint's meta entity is malformed (%d bytes)", len(value))
	}
	b.resumed = true
	for ordinal := range b.toLoad {
		e := &reference{ordinal: ordinal}
		ok, err := b.load(e)
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("book: reference data entry %d of %d is missing from the store", ordinal+1, b.toLoad)
		}
		b.references = append(b.references, e)
		b.byIdentity[e.entry.identity()] = e
		if err := b.live.set(&e.entry); err != nil {
			return err
		}
	}
	if err := errors.Join(b.loadTickets(), b.loadRisk()); err != nil {
		return err
	}
	_, officeErr := b.load(&b.office)
	_, docketErr := b.load(&b.docket)
	_, lockErr := b.load(&b.swapLocks)
	_, legErr := b.load(&b.swapLegs)
	return errors.Join(officeErr, docketErr, lockErr, legErr, b.loadClearing())
}

// Err returns the fault that stopped the book, if one did.
func (b *Book) Err() error { return b.fault }

// Position returns the last position applied; of a new book that of its
// checkpoint, after which replay goes on.
func (b *Book) Position() points.Position { return b.position }

// Date returns the business date; 0 before the first cut-over.
func (b *Book) Date() points.BusinessDate { return b.date }

// Cycle returns the cycle of the business date; 0 before the first cut-over.
func (b *Book) Cycle() uint8 { return cycleOf(b.date, b.cycle) }

// cycleOf is the cycle where the first one of a date is not written.
func cycleOf(date points.BusinessDate, written uint8) uint8 {
	if date != 0 {
		return max(written, 1)
	}
	return 0
}

// InCycle is the cycle of its business date that the outcome is in; 0: in no date.
func (o *Outcome) InCycle() uint8 { return cycleOf(o.Date, o.Cycle) }

// Apply carries out cmd as of pos, the position that it will have if it is
// written, which is the one after the last. It fills out, whose slices are used
// again. When out.Replayed or out.Position is 0, nothing has changed and nothing
// may be written:
//
//   - the key is known: the first answer again (Replayed), or DuplicateOther when
//     it was a different request, or ReversedBefore when its effect was undone;
//   - the command cannot be written down (FormatError);
//   - only a repeat was to be answered, and it is none (NotFresh);
//   - it has no key and was declined: nobody can ask for this answer again.
//
// Otherwise out.Position is pos and the shell writes the record.
//
// An error is a fault of the Source or a broken invariant of ours; the state is
// undefined then and every later Apply returns the same error.
func (b *Book) Apply(pos points.Position, cmd *Command, out *Outcome) error {
	*out = Outcome{Postings: out.Postings[:0], Lots: out.Lots[:0], Others: out.Others[:0], Legs: out.Legs[:0], Undone: out.Undone[:0], Owners: out.Owners[:0]}
	if b.fault != nil {
		return b.fault
	}
	if pos != b.position+1 {
		b.fault = fmt.Errorf("book: I8: command at position %d after position %d", pos, b.position)
		return b.fault
	}
	if err := b.apply(cmd, out); err != nil {
		b.fault = fmt.Errorf("book: apply position %d (kind %d): %w", pos, cmd.Kind, err)
		return b.fault
	}
	return nil
}

func (b *Book) apply(cmd *Command, out *Outcome) error {
	out.Date, out.Cycle = b.date, b.cycle
	if cmd.malformed(false) != nil {
		out.Reason = points.FormatError
		return nil //nolint:nilerr // a refusal is an outcome; Why tells it.
	}
	keyed := cmd.Key != points.TraceKey{}
	if keyed && b.replay.of == nil {
		if done, err := b.recall(cmd, out); done || err != nil {
			return err
		}
	}
	if cmd.Kind == KindPost && b.replay.of == nil {
		if done, err := b.postedBefore(cmd, out); done || err != nil {
			return err
		}
	}
	if stale, err := b.stale(cmd); stale || err != nil {
		out.Reason, out.Date, out.Cycle = points.NotFresh, 0, 0
		return err
	}
	if spent, err := b.spent(cmd); spent || err != nil {
		out.Reason, out.Date = points.BadMAC, 0
		return err
	}
	b.begin()
	b.risk.now = b.postingTime(cmd)
	reason, err := b.carryOut(cmd, out, keyed)
	if err != nil {
		return err
	}
	out.Reason = reason
	if reason.Approved() {
		if err := errors.Join(b.reserveAnew(cmd, out), b.register(), b.counted(cmd, out), b.clear(cmd, out)); err != nil {
			return err
		}
		b.tallyRisk()
	} else {
		b.rollBack(out)
	}
	b.showBalances(out)
	if !reason.Approved() {
		if !keyed {
			return nil
		}
		if err := b.countAttempt(cmd, out); err != nil {
			return err
		}
	}
	if cmd.PINResult != 0 {
		if err := b.tried(cmd, reason); err != nil {
			return err
		}
	}
	if err := b.spend(cmd); err != nil {
		return err
	}
	b.position++
	out.Position = b.position
	b.posted = b.postingTime(cmd)
	out.Posted = b.posted
	b.remember(b.current(), cmd, out)
	b.followSwap(cmd, out)
	b.trim()
	return nil
}

// postingTime is when cmd is posted, if it is written (I11).
func (b *Book) postingTime(cmd *Command) points.Timestamp { return max(cmd.At, b.posted+1) }

func (b *Book) carryOut(cmd *Command, out *Outcome, keyed bool) (points.Reason, error) {
	if keyed && b.buried(cmd.Key) {
		return points.ReversedBefore, nil
	}
	if rec := b.replayed(cmd); rec != nil && !rec.moved() {
		return b.unmovedThen(rec, out)
	}
	if reason, err := b.inBatch(cmd); err != nil || !reason.Approved() {
		return reason, err
	}
	if reason := b.mayAct(cmd); !reason.Approved() {
		return reason, nil
	}
	return b.dispatch(cmd, out)
}

// dispatch is the list of commands. Each validates first and changes afterwards;
// what a late refusal has changed, the undo log takes back.
func (b *Book) dispatch(cmd *Command, out *Outcome) (points.Reason, error) {
	r, err := b.remoteOriginal(cmd)
	if err != nil {
		return 0, err
	}
	if r != nil {
		return b.forwardAbout(cmd, r, out)
	}
	switch cmd.Kind {
	case KindPut:
		return b.put(cmd, out)
	case KindOpen:
		return b.openAccount(cmd, out)
	case KindFreeze:
		return b.freezeAccount(cmd, out)
	case KindClose:
		return b.closeAccount(cmd, out)
	case KindSignOn:
		return b.signOn(cmd, out)
	case KindBalance:
		return b.balance(cmd, out)
	case KindEarn:
		return b.earn(cmd, out)
	case KindRedeem:
		return b.redeem(cmd, out)
	case KindHold:
		return b.hold(cmd, out)
	case KindIncrement:
		return b.increment(cmd, out)
	case KindCapture:
		return b.capture(cmd, out)
	case KindRelease:
		return b.release(cmd, out)
	case KindVoid:
		return b.void(cmd, out)
	case KindRefund:
		return b.refund(cmd, out)
	case KindReverse:
		return b.reverse(cmd, out)
	case KindTransfer:
		return b.transfer(cmd, out)
	case KindAdjust:
		return b.adjust(cmd, out)
	case KindReinstate:
		return b.reinstate(cmd, out)
	case KindCutOver:
		return b.cutOver(cmd, out)
	case KindSettle:
		return b.settle(cmd, out)
	case KindGroup:
		return b.group(cmd, out)
	case KindExpireHolds, KindExpireLots, KindVestLots, KindDecay, KindExpireDisputes:
		return b.dispatchDue(cmd, out)
	case KindDispute, KindLeg, KindPost:
		return b.dispatchClearing(cmd, out)
	case KindCloseBatch, KindUpload, KindDownload:
		return b.dispatchBatch(cmd, out)
	case KindSignIn, KindEnrol, KindPropose, KindApprove, KindReject, KindNote, KindKeystore, KindRegister:
		return b.dispatchOffice(cmd, out)
	case KindPIN:
		return b.setPIN(cmd, out)
	case KindQuote, KindSwapLock, KindSwap, KindSwapCancel, KindExpireSwaps, KindSwapTold, KindSwapRetry:
		return b.swapping(cmd, out)
	default:
		return b.dispatchRemote(cmd, out)
	}
}

// dispatchDue is the list of commands of the night, which work through what falls due.
func (b *Book) dispatchDue(cmd *Command, out *Outcome) (points.Reason, error) {
	switch cmd.Kind {
	case KindExpireHolds:
		return b.expireHolds(cmd, out)
	case KindExpireLots:
		return b.expireLots(cmd, out)
	case KindVestLots:
		return b.vestLots(cmd, out)
	case KindExpireDisputes:
		return b.expireDisputes(cmd, out)
	default:
		return b.decay(cmd, out)
	}
}

// dispatchClearing is the list of commands about what members of settlement owe.
func (b *Book) dispatchClearing(cmd *Command, out *Outcome) (points.Reason, error) {
	switch cmd.Kind {
	case KindDispute:
		return b.dispute(cmd, out)
	case KindLeg:
		return b.leg(cmd, out), nil
	default:
		return b.postCycle(cmd, out)
	}
}

// dispatchBatch is the list of commands about a terminal's batch.
func (b *Book) dispatchBatch(cmd *Command, out *Outcome) (points.Reason, error) {
	switch cmd.Kind {
	case KindCloseBatch:
		return b.closeBatch(cmd, out)
	case KindUpload:
		return b.upload(cmd, out)
	default:
		return b.download(cmd, out)
	}
}

// showBalances fills in what the member's account holds afterwards.
func (b *Book) showBalances(out *Outcome) {
	if a := b.shown; a != nil {
		out.Free = a.spendable(b.date)
		out.Pending = a.free - out.Free
		out.Held = a.held
		out.Debt = a.debt
	}
}

func (b *Book) trim() {
	b.accounts.trim(b.durable)
	b.members.trim(b.durable)
	b.cards.trim(b.durable)
	b.holds.trim(b.durable)
	b.transactions.trim(b.durable)
	b.pages.trim(b.durable)
	b.remotes.trim(b.durable)
	b.cardDays.trim(b.durable)
	b.batches.trim(b.durable)
	b.disputes.trim(b.durable)
	b.clearing.decisions.trim(b.durable)
	b.swaps.trim(b.durable)
	b.swapCounts.trim(b.durable)
}

// record reads a journal record; it stays valid until the next call.
func (b *Book) record(position points.Position) (*Record, error) {
	if b.read == position {
		return &b.rec, nil
	}
	b.read = 0
	if err := b.source.Record(position, &b.rec); err != nil {
		return nil, fmt.Errorf("read journal record %d: %w", position, err)
	}
	if b.rec.Outcome.Position != position {
		return nil, fmt.Errorf("journal record %d says that it is %d", position, b.rec.Outcome.Position)
	}
	b.read = position
	return &b.rec, nil
}

// undo keeps what the current command has changed in accounts, so that a refusal
// found late changes nothing. Whatever else a command changes, it changes after
// its last possible refusal.
type undo struct {
	images []image
	lots   []lot // arena of the images
	opened []*account
	totals []totalImage
}

type image struct {
	of    *account
	was   account
	first int // its lots: lots[first:last]
	last  int
}

type totalImage struct {
	of  *points.Amount
	was points.Amount
}

func (b *Book) begin() {
	b.count++
	if b.count == math.MaxUint32 {
		b.count = 1
	}
	b.shown = nil
	b.undo.images = b.undo.images[:0]
	b.undo.lots = b.undo.lots[:0]
	b.undo.opened = b.undo.opened[:0]
	b.undo.totals = b.undo.totals[:0]
	b.clearing.owing, b.clearing.held = b.clearing.owing[:0], b.clearing.held[:0]
	b.fresh = b.fresh[:0]
	b.risk.pending = b.risk.pending[:0]
}

// change says that a is about to change in the current command.
func (b *Book) change(a *account) {
	if a.imaged == b.count {
		return
	}
	b.touch(a)
	a.imaged = b.count
	first := len(b.undo.lots)
	b.undo.lots = append(b.undo.lots, a.lots...)
	b.undo.images = append(b.undo.images, image{of: a, was: *a, first: first, last: len(b.undo.lots)})
}

// rollBack undoes a declined command.
func (b *Book) rollBack(out *Outcome) {
	for i := range b.undo.images {
		image := &b.undo.images[i]
		a, n, lots := image.of, image.of.node, append(image.of.lots[:0], b.undo.lots[image.first:image.last]...)
		*a = image.was
		a.node, a.lots = n, lots
		if m, ok := b.members.find(points.MemberID(a.key.Party)); ok && a.key.Kind == MemberAccount && a.status == Closed {
			b.unlistProgram(m, a.key.Program)
		}
	}
	for _, image := range slices.Backward(b.undo.totals) {
		*image.of = image.was
	}
	for _, a := range b.undo.opened {
		b.unopen(a)
	}
	out.Postings, out.Lots, out.Others, out.Legs = out.Postings[:0], out.Lots[:0], out.Others[:0], out.Legs[:0]
	out.Amount, out.Batch, out.More, out.Answer, out.Forwarded = 0, 0, false, 0, false
	out.Swap = SwapFigures{}
	b.fresh = b.fresh[:0]
}
