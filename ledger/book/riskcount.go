package book

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/lianfen/lianfen/points"
)

// partyKey names for whom is counted. What a rule does not distinguish is zero.
type partyKey struct {
	per     Per
	program points.ProgramID
	who     [16]byte // card token, or member number in the last eight bytes
	where   [15]byte // terminal, merchant, or acquirer in the first eight bytes
}

// windowPart is what was counted for one rule in one part of its window.
type windowPart struct {
	amount points.Amount
	serial uint32 // of the rule
	slot   uint32
	count  uint32
	side   uint8 // earned, of a loop; else 0
}

// earned is the side of a loop on which points are given.
const earned = 1

// party is somebody for whom something is counted. Parties are numbered and used again,
// like tickets, and all of them stay in memory; their number is bounded.
type party struct {
	node
	ordinal uint32
	key     partyKey
	late    bool // it came while others shared a counter, and may have been one of them
	parts   []windowPart
}

// risk is what the rules need beside the state that they look at.
type risk struct {
	rules   []*RiskRule // in order; none: nothing was set, or an empty set
	masks   []uint32    // of each rule, the functions that it looks at
	root    *riskRoot   // nil until a set was put
	parties []*party    // by ordinal
	at      map[partyKey]*party

	now       points.Timestamp // posting time of the current command
	deal      deal             // what is judged
	pending   []pending        // what will count when it is approved
	group     bool             // members of a group are carried out
	only      bool             // rules count and do not decide (see Rehearse)
	rehearsed bool             // rules are in force that no command has put
	rec       Record           // of what is given back
}

// pending is what a transaction adds for one rule.
type pending struct {
	key    partyKey
	party  *party // that had key when it was judged; nil: none
	serial uint32
	slot   uint32
	count  uint32
	side   uint8
	amount points.Amount
}

// deal is a transaction as rules look at it.
type deal struct {
	function points.Function
	card     points.CardToken
	member   points.MemberID
	acquirer points.AcquirerID
	merchant points.MerchantID
	terminal points.TerminalID
	entry    uint16
	pin      bool
	asked    points.Amount
	at       points.Timestamp
	date     points.BusinessDate
	legs     []TenderLeg // what each programme has to do with it; Covers is not looked at
	since    points.Timestamp
	sinceOK  bool // since was looked up: when the card was first put; 0: nobody knows
}

// judge holds a transaction against the rules, in order: it returns the reason of the
// first that declines, and notes in out what flags. What it would count is noted too,
// and counts when the command is approved.
func (b *Book) judge(cmd *Command, program points.ProgramID, amount points.Amount, out *Outcome) (points.Reason, error) {
	if len(b.risk.rules) == 0 || cmd.Function == 0 || b.risk.group {
		return points.Approved, nil
	}
	d := &b.risk.deal
	d.of(cmd, out, b.risk.now, b.date)
	d.legs = append(d.legs, TenderLeg{Program: program, Amount: amount})
	return b.judgeDeal(d, out)
}

// judgeSwap is judge for a swap, its lock or its quote. What a quote promises is held against
// the rules on swaps too: one that they would decline is not promised. That counts nothing.
func (b *Book) judgeSwap(cmd *Command, program points.ProgramID, amount points.Amount, out *Outcome) (points.Reason, error) {
	if len(b.risk.rules) == 0 || cmd.Function == 0 || b.risk.group {
		return points.Approved, nil
	}
	d := &b.risk.deal
	d.of(cmd, out, b.risk.now, b.date)
	d.asked = amount // A command about a quote need not say it.
	d.legs = append(d.legs, TenderLeg{Program: program, Amount: amount})
	reason, err := b.judgeDeal(d, out)
	if err != nil || !reason.Approved() || cmd.Kind != KindQuote {
		return reason, err
	}
	counted := len(b.risk.pending)
	defer func() { b.risk.pending = b.risk.pending[:counted] }()
	d.function = points.Swap
	for i, r := range b.risk.rules {
		if r.Action != Decline || b.risk.only || b.risk.masks[i]&(1<<d.function) == 0 {
			continue
		}
		if ok, err := b.inScope(r, d); err != nil || !ok {
			if err != nil {
				return 0, err
			}
			continue
		}
		if b.above(r, d) {
			out.Risk.Version, out.Risk.Rule = b.live.Risk.Version, uint8(i+1)
			return r.Declines(), nil
		}
	}
	return points.Approved, nil
}

// judgeTender is judge for a sale that several programmes pay; far is nil where all of
// them are here.
func (b *Book) judgeTender(cmd *Command, stakes []stake, far *stake, out *Outcome) (points.Reason, error) {
	if len(b.risk.rules) == 0 || cmd.Function == 0 || b.risk.group {
		return points.Approved, nil
	}
	d := &b.risk.deal
	d.of(cmd, out, b.risk.now, b.date)
	for i := range stakes {
		d.legs = append(d.legs, stakes[i].leg)
	}
	if far != nil {
		d.legs = append(d.legs, far.leg)
	}
	return b.judgeDeal(d, out)
}

// of takes in what a command says, without legs.
func (d *deal) of(cmd *Command, out *Outcome, at points.Timestamp, date points.BusinessDate) {
	*d = deal{
		function: cmd.Function, card: cmd.Card, member: out.Member, acquirer: cmd.Acquirer, merchant: cmd.Merchant, terminal: cmd.Terminal,
		entry: cmd.EntryMode / 10, pin: cmd.PIN, asked: cmd.Amount, at: at, date: date, legs: d.legs[:0],
	}
}

func (b *Book) judgeDeal(d *deal, out *Outcome) (points.Reason, error) {
	for i, r := range b.risk.rules {
		if b.risk.masks[i]&(1<<d.function) == 0 {
			continue
		}
		if ok, err := b.inScope(r, d); !ok || err != nil {
			if err != nil {
				return 0, err
			}
			continue
		}
		if !b.above(r, d) || b.risk.only {
			continue
		}
		switch {
		case r.Action == Flag, Told(d.function):
			out.Risk.Version, out.Risk.Flags = b.live.Risk.Version, out.Risk.Flags|1<<i
		case r.Action == AskPIN && d.pin:
		default:
			out.Risk.Version, out.Risk.Rule = b.live.Risk.Version, uint8(i+1)
			return r.Declines(), nil
		}
	}
	return points.Approved, nil
}

// inScope reports whether r looks at d, but for programmes and functions.
func (b *Book) inScope(r *RiskRule, d *deal) (bool, error) {
	switch {
	case d.asked < r.From, r.To > 0 && d.asked > r.To,
		len(r.Acquirers) > 0 && !slices.Contains(r.Acquirers, d.acquirer),
		len(r.Merchants) > 0 && !slices.Contains(r.Merchants, d.merchant),
		len(r.Terminals) > 0 && !slices.Contains(r.Terminals, d.terminal),
		len(r.EntryModes) > 0 && !slices.Contains(r.EntryModes, d.entry):
		return false, nil
	case r.NewHours == 0:
		return true, nil
	case !d.sinceOK:
		d.sinceOK = true
		if d.card.IsZero() {
			break
		}
		c, err := b.findCard(d.card)
		if err != nil {
			return false, err
		}
		if c != nil {
			d.since = c.Since
		}
	}
	return d.since > 0 && d.at-d.since < points.Timestamp(r.NewHours)*3_600_000_000, nil
}

// takes reports whether r looks at points of a programme.
func (r *RiskRule) takes(program points.ProgramID) bool {
	return len(r.Programs) == 0 || slices.Contains(r.Programs, program)
}

// above reports whether d would bring r above its limit, and notes what d adds.
func (b *Book) above(r *RiskRule, d *deal) (above bool) {
	sum, n := points.Amount(0), 0
	for i := range d.legs {
		leg := &d.legs[i]
		if !r.takes(leg.Program) {
			continue
		}
		if r.Per&PerProgram != 0 {
			above = b.weigh(r, d, leg.Program, leg.Amount) || above
			continue
		}
		sum, n = saturated(sum, leg.Amount), n+1
	}
	if n > 0 {
		return b.weigh(r, d, 0, sum)
	}
	return above
}

// weigh is above for one party. Sums that do not fit are above every limit.
func (b *Book) weigh(r *RiskRule, d *deal, program points.ProgramID, amount points.Amount) bool {
	if r.Window == OneTransaction {
		return amount > r.Limit
	}
	key, ok := d.party(r.Per, program)
	if !ok {
		return false
	}
	side := uint8(0)
	if r.Measure.loop() && earning(d.function) {
		side = earned
	}
	slot := r.Window.slot(d.at, d.date)
	p := b.risk.judged(key)
	b.risk.pending = append(b.risk.pending, pending{key: key, party: p, serial: r.serial, slot: slot, count: 1, side: side, amount: amount})
	if side == earned {
		return false
	}
	if r.Measure.loop() {
		return b.risk.loops(p, r, slot, amount)
	}
	sum, count := b.risk.inWindow(p, r, 0, 0, slot)
	if r.Measure == CountOf {
		return count+1 > uint64(r.Limit) //nolint:gosec // never below zero.
	}
	return saturated(sum, amount) > r.Limit
}

// loops reports whether spending amount is above a limit on loops. In a rolling window,
// what was spent before the part in which something was first earned is no loop.
func (k *risk) loops(p *party, r *RiskRule, slot uint32, amount points.Amount) bool {
	first, found := uint32(math.MaxUint32), false
	k.each(p, r, earned, 0, slot, func(part *windowPart) {
		if part.amount > 0 {
			first, found = min(first, part.slot), true
		}
	})
	if !found {
		return false
	}
	gained, _ := k.inWindow(p, r, earned, 0, slot)
	spent, count := k.inWindow(p, r, 0, first, slot)
	if r.Measure == LoopCount {
		return count+1 > uint64(r.Limit) //nolint:gosec // never below zero.
	}
	most, _, ok := gained.MulRat(uint64(r.Limit), 100) //nolint:gosec // as above.
	return ok && saturated(spent, amount) > most
}

// party is for whom d counts; ok is false when it names nobody of the kind.
func (d *deal) party(per Per, program points.ProgramID) (key partyKey, ok bool) {
	key.per, key.program = per, program
	switch {
	case per&PerCard != 0, per&PerMember != 0 && d.member == 0:
		if d.card.IsZero() {
			return key, false
		}
		key.per, key.who = per&^PerMember|PerCard, d.card
	case per&PerMember != 0:
		binary.BigEndian.PutUint64(key.who[8:], uint64(d.member))
	}
	switch {
	case per&PerTerminal != 0:
		if d.terminal == (points.TerminalID{}) {
			return key, false
		}
		copy(key.where[:], d.terminal[:])
	case per&PerMerchant != 0:
		if d.merchant == (points.MerchantID{}) {
			return key, false
		}
		key.where = d.merchant
	case per&PerAcquirer != 0:
		binary.BigEndian.PutUint64(key.where[:8], uint64(d.acquirer))
	}
	return key, true
}

func (k *risk) find(key partyKey) *party { return k.at[key] }

// judged is find for the transaction that is judged: what one rule has found, another one
// need not look for.
func (k *risk) judged(key partyKey) *party {
	for i := range k.pending {
		if other := &k.pending[i]; other.key.per == key.per && other.key.program == key.program {
			return other.party
		}
	}
	return k.find(key)
}

// inWindow is what r has counted for p in the window that ends in slot, from part from on.
func (k *risk) inWindow(p *party, r *RiskRule, side uint8, from, slot uint32) (sum points.Amount, count uint64) {
	k.each(p, r, side, from, slot, func(part *windowPart) {
		sum, count = saturated(sum, part.amount), count+uint64(part.count)
	})
	return sum, count
}

// each calls visit with the parts of a window. Who may have been among those that share a
// counter is held to that too.
func (k *risk) each(p *party, r *RiskRule, side uint8, from, slot uint32, visit func(*windowPart)) {
	parts := [2][]windowPart{}
	if p != nil {
		parts[0] = p.parts
	}
	if k.root != nil && (p == nil || p.late) {
		parts[1] = k.root.shared
	}
	for _, list := range parts {
		for i := range list {
			part := &list[i]
			if part.serial == r.serial && part.side == side && part.slot >= from && r.Window.reaches(part.slot, slot) {
				visit(part)
			}
		}
	}
}

// tallyRisk counts what was noted of a command that is approved.
func (b *Book) tallyRisk() {
	for i := range b.risk.pending {
		b.countPart(&b.risk.pending[i])
	}
	b.risk.pending = b.risk.pending[:0]
}

func (b *Book) countPart(add *pending) {
	p := add.party
	if p == nil || p.key != add.key {
		if p = b.risk.find(add.key); p == nil {
			p = b.newParty(add.key)
		}
	}
	if p == nil {
		root := b.riskRoot()
		root.shared = b.risk.counted(root.shared, add, b.risk.now, b.date)
		return
	}
	b.touch(p)
	p.parts = b.risk.counted(p.parts, add, b.risk.now, b.date)
}

// counted adds to the parts of a party, and drops those that no window reaches any more.
func (k *risk) counted(parts []windowPart, add *pending, now points.Timestamp, date points.BusinessDate) []windowPart {
	at := slices.IndexFunc(parts, func(part windowPart) bool {
		return part.serial == add.serial && part.side == add.side && part.slot == add.slot
	})
	if at >= 0 {
		parts[at].amount = saturated(parts[at].amount, add.amount)
		parts[at].count += min(add.count, math.MaxUint32-parts[at].count)
		return parts
	}
	parts = slices.DeleteFunc(parts, func(part windowPart) bool { return k.over(&part, now, date) })
	return append(parts, windowPart{add.amount, add.serial, add.slot, add.count, add.side})
}

// over reports whether no window reaches a part any more.
func (k *risk) over(part *windowPart, now points.Timestamp, date points.BusinessDate) bool {
	for _, r := range k.rules {
		if r.serial == part.serial {
			return !r.Window.reaches(part.slot, r.Window.slot(now, date))
		}
	}
	return true // Its rule is gone.
}

// looks is at how many parties newParty looks for one that is over: what comes in goes
// out faster.
const looks = 4

// newParty begins to count for somebody; nil when as many are counted for as may be.
func (b *Book) newParty(key partyKey) *party {
	k, root := &b.risk, b.riskRoot()
	live := func(part windowPart) bool { return !k.over(&part, k.now, b.date) }
	root.shared = slices.DeleteFunc(root.shared, func(part windowPart) bool { return !live(part) })
	for range min(looks, len(k.parties)) {
		p := k.parties[root.hand]
		root.hand = (root.hand + 1) % uint32(len(k.parties)) //nolint:gosec // at most MaxRiskParties.
		if slices.ContainsFunc(p.parts, live) {
			continue
		}
		b.touch(p)
		delete(k.at, p.key)
		p.key, p.parts, p.late = key, p.parts[:0], len(root.shared) > 0
		k.at[key] = p
		return p
	}
	most := b.live.Risk.Parties
	if most == 0 {
		most = DefaultRiskParties
	}
	if uint32(len(k.parties)) >= most { //nolint:gosec // as above.
		return nil
	}
	p := &party{ordinal: uint32(len(k.parties)), key: key, late: len(root.shared) > 0} //nolint:gosec // as above.
	k.parties = append(k.parties, p)
	k.at[key] = p
	root.parties++
	b.create(p)
	return p
}

// riskRoot returns the root of the counters, about to change.
func (b *Book) riskRoot() *riskRoot {
	k := &b.risk
	if k.root == nil {
		k.root = &riskRoot{}
		b.create(k.root)
	} else {
		b.touch(k.root)
	}
	return k.root
}

// countAttempt counts a decline for the rules that count attempts. It is called when the
// decline will stand in the journal.
func (b *Book) countAttempt(cmd *Command, out *Outcome) error {
	b.risk.pending = b.risk.pending[:0]
	if len(b.risk.rules) == 0 || cmd.Function == 0 || !asks(cmd.Kind) {
		return nil
	}
	d := &b.risk.deal
	d.of(cmd, out, b.risk.now, b.date)
	program := out.Program
	if program == 0 {
		program = cmd.Program
	}
	amount := max(0, cmd.Amount)
	if quote := out.Original; quote != 0 && (cmd.Kind == KindSwap || cmd.Kind == KindSwapLock) {
		rec, err := b.record(quote)
		if err != nil {
			return err
		}
		amount, program = rec.Outcome.Swap.In, rec.Outcome.Program
		d.asked = amount
	}
	d.legs = append(d.legs, TenderLeg{Program: program, Amount: amount})
	for i, r := range b.risk.rules {
		if !r.Attempts || b.risk.masks[i]&(1<<d.function) == 0 {
			continue
		}
		ok, err := b.inScope(r, d)
		if err != nil {
			return err
		}
		if ok {
			b.above(r, d)
		}
	}
	b.tallyRisk()
	return nil
}

// asks reports whether a command of kind asks for something that rules look at.
func asks(kind Kind) bool {
	return kind == KindRedeem || kind == KindEarn || kind == KindHold || kind == KindTransfer || kind == KindForward || kind == KindQuote || kind == KindSwap || kind == KindSwapLock
}

// uncountRisk gives back what the transaction at position has counted: n is -1 where it
// is undone, 0 where only amount (below zero) of it is, and 1 where its undoing is undone.
// Rules that began to count after it, rules on attempts, and windows that are over have
// nothing of it. Of a sale of several programmes it is all or nothing.
func (b *Book) uncountRisk(position points.Position, amount points.Amount, n int) error {
	k := &b.risk
	if len(k.rules) == 0 || (amount == 0 && n == 0) {
		return nil
	}
	if err := b.source.Record(position, &k.rec); err != nil {
		return fmt.Errorf("read journal record %d: %w", position, err)
	}
	cmd, out := &k.rec.Command, &k.rec.Outcome
	if !asks(cmd.Kind) || cmd.Function == 0 {
		return nil
	}
	d := &k.deal
	d.of(cmd, out, out.Posted, out.Date)
	if cmd.Kind == KindSwap || cmd.Kind == KindSwapLock {
		d.asked = out.Amount
	}
	switch {
	case len(out.Legs) == 0:
		d.legs = append(d.legs, TenderLeg{Program: out.Program, Amount: max(-out.Amount, min(out.Amount, amount))})
	case n == 0:
		return nil
	default:
		for _, leg := range out.Legs {
			leg.Amount *= points.Amount(n)
			d.legs = append(d.legs, leg)
		}
	}
	for i, r := range k.rules {
		if r.since >= position || r.Attempts || r.Window == OneTransaction || k.masks[i]&(1<<d.function) == 0 {
			continue
		}
		ok, err := b.inScope(r, d)
		if err != nil {
			return err
		}
		if ok && r.Window.reaches(r.Window.slot(d.at, d.date), r.Window.slot(k.now, b.date)) {
			b.recountRule(r, d, n)
		}
	}
	return nil
}

// recountRule adds the legs of d, which may be below zero, and n transactions to what r
// has counted.
func (b *Book) recountRule(r *RiskRule, d *deal, n int) {
	sum, legs := points.Amount(0), 0
	for i := range d.legs {
		leg := &d.legs[i]
		if !r.takes(leg.Program) {
			continue
		}
		if r.Per&PerProgram != 0 {
			b.recountParty(r, d, leg.Program, leg.Amount, n)
			continue
		}
		sum, legs = saturated(sum, leg.Amount), legs+1
	}
	if legs > 0 {
		b.recountParty(r, d, 0, sum, n)
	}
}

func (b *Book) recountParty(r *RiskRule, d *deal, program points.ProgramID, amount points.Amount, n int) {
	key, ok := d.party(r.Per, program)
	if !ok {
		return
	}
	add := pending{key: key, serial: r.serial, slot: r.Window.slot(d.at, d.date)}
	if r.Measure.loop() && earning(d.function) {
		add.side = earned
	}
	p := b.risk.find(key)
	if n > 0 {
		add.party, add.amount, add.count = p, amount, 1
		b.countPart(&add)
		return
	}
	amount, count := -amount, uint32(-n) //nolint:gosec // n is 0 or -1.
	if p != nil {
		b.touch(p)
		amount, count = takeOff(p.parts, &add, amount, count)
	}
	if (p == nil || p.late) && b.risk.root != nil && (amount > 0 || count > 0) && len(b.risk.root.shared) > 0 {
		takeOff(b.riskRoot().shared, &add, amount, count)
	}
}

// takeOff takes amount and count off a part, and returns what it did not have.
func takeOff(parts []windowPart, of *pending, amount points.Amount, count uint32) (points.Amount, uint32) {
	for i := range parts {
		part := &parts[i]
		if part.serial != of.serial || part.side != of.side || part.slot != of.slot {
			continue
		}
		less, fewer := min(amount, part.amount), min(count, part.count)
		part.amount -= less
		part.count -= fewer
		return amount - less, count - fewer
	}
	return amount, count
}

// uncountRemote is uncountRisk for a transaction whose issuer decides. The leg of a sale
// that programmes here pay too counts with the sale.
func (b *Book) uncountRemote(r *remote, amount points.Amount, n int) error {
	if r.tender {
		return nil
	}
	return b.uncountRisk(r.position, amount, n)
}

// compileRisk makes ready what judging needs of the rules in force.
func (b *Book) compileRisk() {
	k := &b.risk
	k.rules, k.masks = k.rules[:0], k.masks[:0]
	if b.live.Risk == nil {
		return
	}
	if k.at == nil {
		k.at = make(map[partyKey]*party)
	}
	for i := range b.live.Risk.Rules {
		r := &b.live.Risk.Rules[i]
		functions := r.Functions
		switch {
		case r.Measure.loop():
			functions = append([]points.Function{points.Redeem, points.PreAuth, points.Earn, points.OfflineRedeem, points.OfflineEarn}, r.Functions...)
		case len(functions) == 0:
			functions = []points.Function{points.Redeem, points.PreAuth}
		}
		var mask uint32
		for _, f := range functions {
			mask |= 1 << f
		}
		k.rules, k.masks = append(k.rules, r), append(k.masks, mask)
	}
}

// loadRisk reads the counters of the checkpoint.
func (b *Book) loadRisk() error {
	b.compileRisk()
	root := &riskRoot{}
	if ok, err := b.load(root); !ok || err != nil {
		return err
	}
	k := &b.risk
	k.root = root
	for ordinal := range root.parties {
		p := &party{ordinal: ordinal}
		ok, err := b.load(p)
		if err != nil {
			return err
		}
		if !ok {
			return fmt.Errorf("book: party %d of %d is missing from the store", ordinal+1, root.parties)
		}
		k.parties = append(k.parties, p)
		k.at[p.key] = p
	}
	return nil
}

// Rehearse puts rules in force in a book that is a copy, whose journal nobody keeps: they
// count, and decide nothing until [Book.Decide]. From then on no command puts others.
func (b *Book) Rehearse(set *RiskRules) error {
	if err := CheckRiskRules(set); err != nil {
		return err
	}
	b.live.Risk = set.clone()
	for i := range b.live.Risk.Rules {
		b.live.Risk.Rules[i].serial = uint32(i + 1)
	}
	b.risk.only, b.risk.rehearsed = true, true
	b.riskRoot().serial = MaxRiskRules
	b.compileRisk()
	return nil
}

// Decide lets rehearsed rules decide.
func (b *Book) Decide() { b.risk.only = false }

// RiskView is what is counted at the moment.
type RiskView struct {
	Parties int  // for whom something is counted, or was
	Most    int  // the bound
	Shared  bool // more than the bound were counted for: some share counters
}

// Risk tells how full the counters are.
func (b *Book) Risk() RiskView {
	view := RiskView{Parties: len(b.risk.parties), Most: DefaultRiskParties}
	if set := b.live.Risk; set != nil && set.Parties != 0 {
		view.Most = int(set.Parties)
	}
	view.Shared = b.risk.root != nil && slices.ContainsFunc(b.risk.root.shared, func(part windowPart) bool { return !b.risk.over(&part, b.posted, b.date) })
	return view
}
