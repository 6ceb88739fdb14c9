package book

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/lianfen/lianfen/points"
)

// A swap may have one side at an issuer that keeps its own ledger: the leg. Its identity
// there is the position of the command that executes, in every message. What is handed in
// here is held until the issuer has said for certain what it did; what is handed out here is
// given only then. A leg at the source takes the points outright: this side needs no message
// that could be lost between the taking and the giving.
//
//	           swap          told: yes
//	open, ──────────> executing ─────────────────────────────────> done
//	locked               │  │ told: a certain no ────> rejected    ^ │ resolve: gone after all
//	                     │  └──────────────────────────^           │ v
//	                told: nothing, or retry            │           │ reversed
//	                     v                             │           │ ^
//	              credit unknown ── told: certain ─────┴───────────┤ │
//	               │     ^ │  (retry: enquiry, then the same       │ │
//	               │     └─┘   request again)                      │ │
//	               │ retry, its time over: given up, FENCE         │ │
//	               v                                               │ │
//	              credit unknown, fenced ── told: stands ──────────┤ │
//	               │        └────────────── told: gone ────────────│─┤
//	               │ retry, its time over again                    │ │
//	               v                                               │ │
//	              manual ── told as before; resolve ───────────────┴─┘
//
// FENCE is "cancel or reverse this id, and refuse it for ever". Once it is sent only its
// answer counts: a yes to the request itself, however late, may be of before. Where an issuer
// knows no FENCE the swap becomes manual at that time and is asked about on.
//
// That it stands, whatever was asked, after the swap was given up by other means (a certain no,
// an operator) must not happen; it is reversed there (undoing), and what cannot be reversed is
// the issuer's, in suspense, once.
type swapLeg struct {
	state    legState
	source   bool            // points are handed in there, else handed out there
	position points.Position // of the command that executes
	posted   points.Timestamp
	card     points.CardToken
	asks     points.Function // what its issuer was asked last
	askedBy  points.Position // by which command
	askedAt  points.Timestamp
	attempt  uint32           // timers since the answer is missing, or since it was given up
	due      points.Timestamp // of the next timer
	fenced   points.Position  // by which command it was given up; 0: it was not
	fencedAt points.Timestamp
	gone     bool            // no yes counts any more: its issuer refuses it for ever, or it is in suspense
	ended    points.Position // by which command it was decided last
}

// legState is where the leg of a swap stands. Written in stores: only append.
type legState uint8

const (
	legAsked   legState = iota + 1 // its issuer has to decide
	legUndoing                     // it stands there though the swap was given up
	legOver
)

// swapRetries are the times between two timers of a leg; then every half hour.
var swapRetries = [...]points.Timestamp{1 * second, 5 * second, 30 * second, 300 * second}

const (
	swapRetryLast = 1800 * second
	// swapPatience is when a timer looks after a request of which nothing was heard, not even
	// that it was not answered: the process that had sent it is gone.
	swapPatience = 120 * second
	// maxSwapLegs bounds the legs that are not decided: they stay in memory.
	maxSwapLegs = 1 << 16
)

func swapPause(attempt uint32) points.Timestamp {
	if int(attempt) < len(swapRetries) {
		return swapRetries[attempt]
	}
	return swapRetryLast
}

func (l *swapLeg) live() bool { return l.state == legAsked || l.state == legUndoing }

// act is the request that the leg is.
func (l *swapLeg) act() points.Function {
	if l.source {
		return points.SwapDebit
	}
	return points.SwapCredit
}

const (
	legSource = 1 << iota
	legGone
)

func (l *swapLeg) append(dst []byte) []byte {
	var flags byte
	if l.source {
		flags |= legSource
	}
	if l.gone {
		flags |= legGone
	}
	dst = append(dst, byte(l.state), flags, byte(l.asks))
	dst = append(dst, l.card[:]...)
	for _, n := range [...]uint64{uint64(l.position), uint64(l.askedBy), uint64(l.fenced), uint64(l.attempt)} {
		dst = binary.AppendUvarint(dst, n)
	}
	for _, at := range [...]points.Timestamp{l.posted, l.askedAt, l.due, l.fencedAt} {
		dst = binary.AppendVarint(dst, int64(at))
	}
	if l.ended != 0 { // A later addition.
		dst = binary.AppendUvarint(dst, uint64(l.ended))
	}
	return dst
}

func decodeSwapLeg(r *reader) (l swapLeg) {
	l.state = legState(r.byte())
	flags := r.byte()
	l.source, l.gone = flags&legSource != 0, flags&legGone != 0
	l.asks = points.Function(r.byte())
	r.fixed(l.card[:])
	l.position, l.askedBy, l.fenced, l.attempt = r.position(), r.position(), r.position(), r.uint32()
	l.posted, l.askedAt, l.due, l.fencedAt = r.timestamp(), r.timestamp(), r.timestamp(), r.timestamp()
	if len(r.src) > 0 {
		l.ended = r.position()
	}
	if l.position == 0 || l.state == 0 || l.state > legOver {
		r.fail()
	}
	return l
}

// swapLegs are the legs that are not decided, in the order of their timers.
type swapLegs struct {
	node
	live []swapLock
}

func (l *swapLegs) appendKey(dst []byte) []byte { return append(dst, stateSwapLegs) }

func (l *swapLegs) appendValue(dst []byte) []byte {
	if len(l.live) == 0 {
		return dst
	}
	return appendList(append(dst, stateVersion), l.live, func(dst []byte, at swapLock) []byte {
		return binary.AppendUvarint(binary.AppendVarint(dst, int64(at.expires)), uint64(at.quote))
	})
}

func (l *swapLegs) decodeValue(r *reader) {
	for range r.count(maxSwapLegs, 2) {
		l.live = append(l.live, swapLock{r.timestamp(), r.position()})
	}
}

// setTimer has the timer of a leg go off at due; 0: never again.
func (b *Book) setTimer(s *swap, due points.Timestamp) error {
	b.touch(&b.swapLegs)
	b.touch(s)
	if s.leg.due != 0 {
		i, found := slices.BinarySearchFunc(b.swapLegs.live, swapLock{s.leg.due, s.position}, swapLock.compare)
		if !found {
			return fmt.Errorf("I27: the leg of swap %d is not among the live ones", s.position)
		}
		b.swapLegs.live = slices.Delete(b.swapLegs.live, i, i+1)
	}
	if s.leg.due = due; due != 0 {
		at := swapLock{due, s.position}
		i, _ := slices.BinarySearchFunc(b.swapLegs.live, at, swapLock.compare)
		b.swapLegs.live = slices.Insert(b.swapLegs.live, i, at)
	}
	return nil
}

// pending reports whether an issuer has yet to decide the swap.
func (s *swap) pending() bool {
	return s.state == SwapExecuting || s.state == SwapCreditUnknown || s.state == SwapManual
}

// settledAs is what an operator's decision about the swap rests on: not how often its issuer
// was asked.
func (s *swap) settledAs(dst []byte) []byte {
	dst = append(dst, byte(s.state), byte(s.leg.state))
	return binary.AppendUvarint(binary.AppendUvarint(dst, uint64(s.leg.position)), uint64(s.done))
}

// farProgram reports whether the issuer of a programme keeps its own ledger.
func (b *Book) farProgram(id points.ProgramID) bool {
	program := b.live.Programs[id]
	return program != nil && b.live.Issuers[program.Issuer] != nil && b.live.Issuers[program.Issuer].Link != ""
}

// far reports whether one side of a deal is in another's ledger.
func (d *swapDeal) far(b *Book) bool { return b.farProgram(d.program.ID) || b.farProgram(d.into.ID) }

// farSubject is subject where the points are in another's ledger: its issuer looks at them.
func (b *Book) farSubject(cmd *Command, out *Outcome) (s subject, reason points.Reason, err error) {
	if s.member, reason, err = b.holder(cmd.Card, cmd.Member, FreezeDebit); err != nil || !reason.Approved() {
		return s, reason, err
	}
	if s.program, reason = b.programAt(cmd.Merchant, cmd.Program); !reason.Approved() {
		return s, reason, nil
	}
	out.Member, out.Program, out.Issuer = s.member.ID, s.program.ID, s.program.Issuer
	return s, points.Approved, nil
}

// aboutSwap fills in whose swap it is, as its quote has it.
func (b *Book) aboutSwap(member points.MemberID, program points.ProgramID, issuer points.IssuerID, out *Outcome) error {
	out.Member, out.Program, out.Issuer = member, program, issuer
	a, err := b.findAccount(AccountKey{MemberAccount, program, uint64(member)})
	if a != nil { // None where it is in another's ledger.
		b.about(a, out)
	}
	return err
}

// beginSwap executes a quote of which one side is in another's ledger, as far as this ledger
// can: what is handed in here is held, and its issuer is asked for the other side.
func (b *Book) beginSwap(cmd *Command, d *swapDeal, s *swap, out *Outcome) (points.Reason, error) {
	if len(b.swapLegs.live) >= maxSwapLegs {
		return points.Overloaded, nil
	}
	f := &d.figures
	locked, source := s != nil, b.farProgram(d.program.ID)
	if !locked && !source {
		b.takeSwappable(d.account, f.In, d.terms, true, out)
		if reason := b.moveHeld(d.account, f.In); !reason.Approved() {
			return reason, nil
		}
		d.account.holds++
	}
	var err error
	if locked {
		err = b.dropLock(s)
	} else {
		err = b.countSwap(d.member.ID, d.program.ID, f, b.date, 1)
	}
	if err != nil {
		return 0, err
	}
	if s, err = b.changeSwap(f.Quote, AccountKey{MemberAccount, d.program.ID, uint64(d.member.ID)}); err != nil {
		return 0, err
	}
	if !locked {
		s.counted = b.date
		if !source {
			s.lots = append(s.lots[:0], b.taken...)
		}
	}
	s.state = SwapExecuting
	s.leg = swapLeg{state: legAsked, source: source, position: b.position + 1, posted: b.postingTime(cmd), card: d.card}
	f.State = SwapExecuting
	out.Amount, out.Swap = f.In, *f
	b.ask(s, s.leg.act(), s.leg.posted, out)
	return points.Approved, b.setTimer(s, s.leg.posted+swapPatience)
}

// ask has the issuer of the leg asked, once the command is durable. s is touched.
func (b *Book) ask(s *swap, what points.Function, now points.Timestamp, out *Outcome) {
	s.leg.asks, s.leg.askedBy, s.leg.askedAt = what, b.position+1, now
	out.Forwarded = true
}

// underway finds the swap whose leg a command is about, and what was quoted; nil: there is
// none.
func (b *Book) underway(cmd *Command, out *Outcome) (s *swap, f SwapFigures, err error) {
	if cmd.Original == 0 || cmd.Original > b.position {
		return nil, f, nil
	}
	if s, err = b.findSwap(cmd.Original); err != nil || s == nil || s.leg.position == 0 {
		return nil, f, err
	}
	rec, err := b.record(cmd.Original)
	if err != nil {
		return nil, f, err
	}
	f = rec.Outcome.Swap
	out.Original = s.leg.position
	return s, f, b.aboutSwap(rec.Outcome.Member, rec.Outcome.Program, rec.Outcome.Issuer, out)
}

// swapTold enters what the issuer of a leg has answered to cmd.Function. What is not certain
// changes nothing but that the swap is unknown from then on: timers ask again.
//
//	request     yes              done
//	            a certain no     rejected, also where it was never sent (Final)
//	enquiry     stands           done
//	            not there        the same request is sent again: the first may be on its way
//	FENCE       gone             reversed, and no yes is believed any more
//	            stands           done
func (b *Book) swapTold(cmd *Command, out *Outcome) (points.Reason, error) {
	s, f, err := b.underway(cmd, out)
	switch {
	case err != nil:
		return 0, err
	case s == nil:
		return points.UnknownOriginal, nil
	case !cmd.Answer.Valid():
		return points.FormatError, nil
	case s.leg.state == legUndoing:
		if cmd.Function != points.Reversal {
			return points.OriginalClosed, nil
		}
		return b.undoneLeg(s, &f, cmd.Answer, out)
	case s.leg.state == legOver:
		if s.leg.stands(cmd) && s.done == 0 && !s.leg.gone {
			return b.undoLeg(cmd, s, out)
		}
		return points.OriginalClosed, nil
	case (s.leg.fenced != 0) != (cmd.Function == points.Reversal):
		return points.OriginalClosed, nil
	}
	switch cmd.Function {
	case points.Reversal:
		switch cmd.Answer {
		case points.Approved:
			b.touch(s)
			s.leg.gone = true
			return b.giveUpSwap(s, &f, SwapReversed, out)
		case points.OriginalClosed:
			return b.completeSwap(s, &f, out)
		default:
			return points.NotPermitted, nil
		}
	case points.SwapEnquiry:
		switch cmd.Answer {
		case points.Approved:
			return b.completeSwap(s, &f, out)
		case points.UnknownOriginal, points.OriginalNotApproved, points.OriginalClosed:
			if s.leg.asks != points.SwapEnquiry {
				return points.OriginalClosed, nil
			}
			b.touch(s)
			b.ask(s, s.leg.act(), b.postingTime(cmd), out)
			return points.Approved, nil
		default:
			return points.NotPermitted, nil
		}
	case s.leg.act():
		return b.requestTold(cmd, s, &f, out)
	default:
		return points.FormatError, nil
	}
}

// stands reports whether an answer says that the leg stands at its issuer.
func (l *swapLeg) stands(cmd *Command) bool {
	switch cmd.Function {
	case l.act(), points.SwapEnquiry:
		return cmd.Answer == points.Approved
	case points.Reversal:
		return cmd.Answer == points.OriginalClosed
	default:
		return false
	}
}

// requestTold enters the answer to the request itself.
func (b *Book) requestTold(cmd *Command, s *swap, f *SwapFigures, out *Outcome) (points.Reason, error) {
	switch {
	case cmd.Answer == points.Approved:
		return b.completeSwap(s, f, out)
	case cmd.Final && s.state == SwapExecuting, !cmd.Final && CertainNo(cmd.Answer, s.state == SwapExecuting):
		return b.giveUpSwap(s, f, SwapRejected, out)
	case s.state != SwapExecuting:
		return points.NotPermitted, nil
	}
	b.touch(s)
	s.state = SwapCreditUnknown
	f.State = s.state
	out.Swap = *f
	return points.Approved, b.setTimer(s, b.postingTime(cmd)+swapPause(0))
}

// CertainNo reports whether an issuer that answers so to a request has not carried it out and
// will not. What says that it could not be read, or not now, is none. Neither is what a house
// says at its door, before it looks whether it knows the request, unless it is the first time
// that it is asked.
func CertainNo(answer points.Reason, first bool) bool {
	switch answer {
	case points.FormatError, points.BadMAC, points.NotFresh, points.Overloaded, points.IssuerDown, points.LineDown, points.IssuerTimeout,
		points.NoAnswer, points.DuplicateOther, points.ReversedBefore, points.InternalError, points.Draining, points.IssuerSuspended:
		return false
	case points.UnknownTerminal, points.UnknownMerchant, points.ForeignIdentity, points.UnknownFunction, points.FunctionDisabled,
		points.AcquirerSuspended, points.TerminalBlocked, points.MerchantBlocked, points.BatchClosed:
		return first
	default:
		return !answer.Approved()
	}
}

// completeSwap does this ledger's side of a swap whose leg stands.
func (b *Book) completeSwap(s *swap, f *SwapFigures, out *Outcome) (reason points.Reason, err error) {
	d := swapDeal{figures: *f, into: b.live.Programs[f.Into]}
	d.program = b.live.Programs[s.account.Program]
	if s.leg.source {
		reason, err = b.giveSwapped(s, &d, out)
	} else {
		reason, err = b.takeSwapped(s, &d, out)
	}
	if err != nil || !reason.Approved() {
		return reason, err
	}
	b.touch(s)
	s.state, s.done, s.lots, s.leg.state, s.leg.ended = SwapDone, b.position+1, s.lots[:0], legOver, b.position+1
	f.State = SwapDone
	out.Amount, out.Swap = f.In, *f
	return points.Approved, b.setTimer(s, 0)
}

// takeSwapped spends what a swap holds.
func (b *Book) takeSwapped(s *swap, d *swapDeal, out *Outcome) (reason points.Reason, err error) {
	if d.account, err = b.needAccount(s.account); err != nil {
		return 0, err
	}
	for _, l := range s.lots {
		out.Lots = append(out.Lots, LotMove{Account: s.account, Lot: l.key, Amount: -l.amount})
	}
	if reason := b.moveHeld(d.account, -d.figures.In); !reason.Approved() {
		return reason, nil
	}
	b.change(d.account)
	d.account.holds--
	return b.handIn(d, out)
}

// giveSwapped hands out what a swap promised, once the points for it are taken elsewhere.
func (b *Book) giveSwapped(s *swap, d *swapDeal, out *Outcome) (reason points.Reason, err error) {
	if d.member, err = b.findMember(points.MemberID(s.account.Party)); err != nil {
		return 0, err
	}
	if d.to, err = b.findAccount(AccountKey{MemberAccount, d.into.ID, s.account.Party}); err != nil {
		return 0, err
	}
	d.out = b.live.swaps().Version(d.into.ID, d.figures.IntoTerms)
	switch {
	case d.member == nil || d.out == nil:
		return 0, fmt.Errorf("I27: the member or the terms of swap %d are gone", s.position)
	case d.to != nil && d.to.status == Closed:
		return points.AccountClosed, nil
	}
	b.taken = b.taken[:0]
	key, reason := b.swappedLot(d)
	if !reason.Approved() {
		return reason, nil
	}
	bonus := key
	bonus.Origin = Bonus
	return b.handOut(d, key, bonus, out)
}

// giveUpSwap ends a swap of which nothing stands at its issuer.
func (b *Book) giveUpSwap(s *swap, f *SwapFigures, state SwapState, out *Outcome) (points.Reason, error) {
	if s.leg.source {
		b.touch(s)
		s.state = state
	} else {
		a, err := b.needAccount(s.account)
		if err != nil {
			return 0, err
		}
		if reason, err := b.giveBackSwap(s, a, state, out); err != nil || !reason.Approved() {
			return reason, err
		}
	}
	s.leg.state, s.leg.ended = legOver, b.position+1
	f.State = state
	out.Swap = *f
	if err := b.setTimer(s, 0); err != nil {
		return 0, err
	}
	if err := b.countSwap(points.MemberID(s.account.Party), s.account.Program, f, s.counted, -1); err != nil {
		return 0, err
	}
	counted := s.locked
	if counted == 0 {
		counted = s.leg.position
	}
	return points.Approved, b.uncountRisk(counted, -f.In, -1)
}

// swapRetry is the timer of a leg. The issuer is asked whether it stands, and only then for it
// again; after cmd.Limit seconds without a certain answer it is given up, if its issuer can be
// fenced (Final), and after as long again it is the operators' too.
func (b *Book) swapRetry(cmd *Command, out *Outcome) (points.Reason, error) {
	s, f, err := b.underway(cmd, out)
	now := b.postingTime(cmd)
	switch {
	case err != nil:
		return 0, err
	case s == nil:
		return points.UnknownOriginal, nil
	case !s.leg.live() || now < s.leg.due:
		return points.OriginalClosed, nil
	case cmd.Limit == 0:
		return points.FormatError, nil
	}
	limit := points.Timestamp(cmd.Limit) * second
	b.touch(s)
	leg := &s.leg
	if s.state == SwapExecuting {
		s.state = SwapCreditUnknown
	}
	leg.attempt++
	switch {
	case leg.state == legUndoing:
	case leg.fenced != 0 && now-leg.fencedAt >= limit, leg.fenced == 0 && !cmd.Final && now-leg.posted >= limit:
		s.state = SwapManual
	case leg.fenced == 0 && now-leg.posted >= limit:
		leg.fenced, leg.fencedAt, leg.attempt = b.position+1, now, 0
	}
	due := now + swapPause(leg.attempt)
	what := points.SwapEnquiry
	if leg.fenced != 0 {
		what = points.Reversal
	} else if end := leg.posted + limit; now < end {
		due = min(due, end)
	}
	b.ask(s, what, now, out)
	if leg.state == legAsked {
		f.State = s.state
		out.Swap = f
	}
	return points.Approved, b.setTimer(s, due)
}

// undoLeg has a leg reversed that stands at its issuer though the swap was given up.
func (b *Book) undoLeg(cmd *Command, s *swap, out *Outcome) (points.Reason, error) {
	b.touch(s)
	now := b.postingTime(cmd)
	s.leg.state, s.leg.attempt = legUndoing, 0
	if s.leg.fenced == 0 {
		s.leg.fenced, s.leg.fencedAt = b.position+1, now
	}
	b.ask(s, points.Reversal, now, out)
	return points.Approved, b.setTimer(s, now+swapPause(0))
}

// undoneLeg enters the answer to that reversal. What stands for good is the issuer's loss or
// gain until somebody has looked:
//
//	stands, handed out there    issued(issuer) -out    suspense(issuer) +out
//	stands, handed in there     issued(issuer) +in     suspense(issuer) -in
func (b *Book) undoneLeg(s *swap, f *SwapFigures, answer points.Reason, out *Outcome) (points.Reason, error) {
	switch answer {
	case points.Approved:
	case points.OriginalClosed:
		program, amount := f.Into, f.Out
		if s.leg.source {
			program, amount = s.account.Program, -f.In
		}
		for _, side := range [...]struct {
			kind   AccountKind
			amount points.Amount
		}{{IssuedAccount, -amount}, {SuspenseAccount, amount}} {
			if reason, err := b.postHouse(b.issuersAccount(side.kind, program), side.amount, out); err != nil || !reason.Approved() {
				return reason, err
			}
		}
		f.State = s.state
		out.Amount, out.Swap = max(amount, -amount), *f
	default:
		return points.NotPermitted, nil
	}
	b.touch(s)
	s.leg.state, s.leg.gone, s.leg.ended = legOver, true, b.position+1
	return points.Approved, b.setTimer(s, 0)
}

// resolveSwap ends by an operator's word, who has asked the issuer, a swap that is manual: its
// leg stands (Approved) or is gone (ReversedBefore). One that is done is undone, by postings of
// its own, where its issuer has reversed it since. So ends, too, what stands though it was given
// up: its issuer may know no reversal of it.
func (b *Book) resolveSwap(cmd *Command, out *Outcome) (points.Reason, error) {
	s, f, err := b.underway(cmd, out)
	if err != nil {
		return 0, err
	}
	if s == nil {
		return points.UnknownOriginal, nil
	}
	if reason := b.twoPeople(cmd); !reason.Approved() {
		return reason, nil
	}
	stands, gone := cmd.Answer == points.Approved, cmd.Answer == points.ReversedBefore
	switch {
	case !stands && !gone:
		return points.FormatError, nil
	case s.leg.state == legUndoing && stands:
		return b.undoneLeg(s, &f, points.OriginalClosed, out)
	case s.leg.state == legUndoing:
		return b.undoneLeg(s, &f, points.Approved, out)
	case s.state == SwapManual && stands:
		return b.completeSwap(s, &f, out)
	case s.state == SwapManual:
		return b.giveUpSwap(s, &f, SwapReversed, out)
	case s.state == SwapDone && gone:
		rec, err := b.record(s.done)
		if err != nil {
			return 0, err
		}
		reason, err := b.reverseSwap(rec, out)
		if reason.Approved() {
			b.touch(s)
			s.leg.ended = b.position + 1
		}
		return reason, err
	default:
		return points.OriginalClosed, nil
	}
}

// whyResolve tells why there is nothing at cmd.Original that operators could end so.
func (b *Book) whyResolve(cmd *Command) error {
	at := cmd.Original
	if at == 0 || at > b.position {
		return points.Errorf(points.UnknownOriginal, "transaction %d: there is none", at)
	}
	r, err := b.findRemote(at)
	switch {
	case err != nil:
		return err
	case r != nil && r.phase != RemoteQueued:
		return points.Errorf(points.OriginalClosed, "transaction %d is not left to operators", at)
	case r != nil:
		return nil
	}
	s, err := b.findSwap(at)
	switch {
	case err != nil:
		return err
	case s == nil || s.leg.position == 0:
		return points.Errorf(points.UnknownOriginal, "transaction %d: no issuer with its own ledger was asked about it, so there is nothing to resolve", at)
	case s.leg.state == legUndoing || s.state == SwapManual || (s.state == SwapDone && cmd.Answer == points.ReversedBefore):
		return nil
	default:
		return points.Errorf(points.OriginalClosed, "swap %d is not left to operators", at)
	}
}

// legStands tells another house whether the leg of its swap stands here: the earn or the
// redemption that cmd.OriginalKey names. Of what was cancelled or reversed it says so; that a
// request is not known says nothing of one that is on its way.
func (b *Book) legStands(cmd *Command) (points.Reason, error) {
	if b.buried(cmd.OriginalKey) {
		return points.OriginalClosed, nil
	}
	position, ok, err := b.target(cmd)
	if err != nil {
		return 0, err
	}
	if !ok {
		return points.UnknownOriginal, nil
	}
	rec, err := b.record(position)
	if err != nil {
		return 0, err
	}
	switch f := rec.Command.Function; {
	case (f != points.SwapCredit && f != points.SwapDebit) || rec.Command.Acquirer != cmd.Acquirer:
		return points.OriginalDiffers, nil
	case !rec.Outcome.Reason.Approved():
		return points.OriginalNotApproved, nil
	}
	t, err := b.findTransaction(position)
	if err != nil {
		return 0, err
	}
	if t != nil && (t.reversed != 0 || t.voided != 0) {
		return points.OriginalClosed, nil
	}
	return points.Approved, nil
}

// SwapLegView is the leg of a swap at an issuer that keeps its own ledger: all that is needed
// to ask it.
type SwapLegView struct {
	Quote    points.Position
	State    SwapState
	Position points.Position // the leg's identity: of the command that executes
	Posted   points.Timestamp
	Act      points.Function // what the leg is: points.SwapCredit or points.SwapDebit
	Issuer   points.IssuerID
	Program  points.ProgramID
	Card     points.CardToken
	Amount   points.Amount
	Acquirer points.AcquirerID

	Asks     points.Function // Act, points.SwapEnquiry or, of FENCE, points.Reversal; 0: nothing is open
	AskedBy  points.Position // the identity of an enquiry
	AskedAt  points.Timestamp
	Attempt  uint32
	Due      points.Timestamp // of the next timer
	Fenced   points.Position  // the identity of FENCE; 0: it is not given up
	FencedAt points.Timestamp
	Undoing  bool            // it stands though the swap was given up
	Ended    points.Position // the command that decided it last; 0: none has, or one of before this was kept
}

// SwapLeg returns the leg of a quote's swap; ok is false when it has none.
func (b *Book) SwapLeg(quote points.Position) (view SwapLegView, ok bool, err error) {
	s, err := b.findSwap(quote)
	if err != nil || s == nil || s.leg.position == 0 {
		return view, false, err
	}
	rec, err := b.record(quote)
	if err != nil {
		return view, false, err
	}
	l, f := &s.leg, &rec.Outcome.Swap
	view = SwapLegView{
		Quote: quote, State: s.state, Position: l.position, Posted: l.posted, Act: l.act(), Card: l.card, Acquirer: rec.Command.Acquirer,
		Issuer: f.IntoIssuer, Program: f.Into, Amount: f.Out, AskedBy: l.askedBy, AskedAt: l.askedAt,
		Attempt: l.attempt, Due: l.due, Fenced: l.fenced, FencedAt: l.fencedAt, Undoing: l.state == legUndoing, Ended: l.ended,
	}
	if l.source {
		view.Issuer, view.Program, view.Amount = rec.Outcome.Issuer, rec.Outcome.Program, f.In
	}
	if l.live() {
		view.Asks = l.asks
	}
	return view, true, nil
}

// SwapLegs lists the quotes whose legs are not decided, the one whose timer is next first.
func (b *Book) SwapLegs() (quotes []points.Position) {
	for _, at := range b.swapLegs.live {
		quotes = append(quotes, at.quote)
	}
	return quotes
}

// SwapLegsWaiting counts the legs that are not decided, by the state of their swaps; under
// SwapRejected and SwapReversed those that stand at their issuers though the swap was given up.
func (b *Book) SwapLegsWaiting() (map[SwapState]int, error) {
	waiting := make(map[SwapState]int)
	for _, at := range b.swapLegs.live {
		s, err := b.findSwap(at.quote)
		if err != nil {
			return nil, err
		}
		if s != nil {
			waiting[s.state]++
		}
	}
	return waiting, nil
}

// legsStay refuses another link for an issuer while it has legs that are not decided: whoever
// stands there knows nothing of them, and "not there" or "gone" from there would be believed.
func (b *Book) legsStay(v *Issuer) error {
	was := b.live.Issuers[v.ID]
	if was == nil || was.Link == v.Link {
		return nil
	}
	for _, quote := range b.SwapLegs() {
		leg, _, err := b.SwapLeg(quote)
		if err != nil {
			return err
		}
		if leg.Issuer == v.ID {
			return points.Errorf(points.NotPermitted, "issuer %d: swap %s waits for what its host at link %q says: end it first (lianfen exchange queue), or keep the link", v.ID, quote.RRN(), was.Link)
		}
	}
	return nil
}

// NextSwapTimer is the quote whose leg's timer goes off first, and when; 0: there is none.
func (b *Book) NextSwapTimer() (quote points.Position, due points.Timestamp) {
	if len(b.swapLegs.live) == 0 {
		return 0, 0
	}
	return b.swapLegs.live[0].quote, b.swapLegs.live[0].expires
}

// auditLegs checks that exactly the legs that are not decided have a timer (I27).
func (b *Book) auditLegs() error {
	live := make(map[points.Position]points.Timestamp, len(b.swapLegs.live))
	for i, at := range b.swapLegs.live {
		if i > 0 && b.swapLegs.live[i-1].compare(at) >= 0 {
			return fmt.Errorf("book: I27: timers of legs are out of order at %d", at.quote)
		}
		live[at.quote] = at.expires
	}
	return b.swaps.each(func(s *swap) error {
		due, timed := live[s.position]
		if timed != s.leg.live() || due != s.leg.due {
			return fmt.Errorf("book: I27: the leg of swap %d is in state %d, due %d, its timer %d", s.position, s.leg.state, s.leg.due, due)
		}
		return nil
	})
}
