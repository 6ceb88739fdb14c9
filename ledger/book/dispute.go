package book

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/lianfen/lianfen/points"
)

// A dispute is about one redemption or capture, and there is one case for each: it goes on
// where it stood. What it takes back counts together with refunds, and stands in the book
// for that reason: what is left of a sale is decided in one place (I24).
//
//	     retrieval          answer
//	───────────────> RETRIEVAL ──┐ silence: the acquirer cannot re-present
//	     │               │  ^────┘
//	     │ chargeback    │ chargeback
//	     └───────────────┴──> CHARGEBACK ──── accept, silence ────────────────> CLOSED
//	                             │ re-presentment                                ^ ^
//	                             v                                               │ │
//	                        REPRESENTMENT ─── accept, silence ───────────────────┘ │
//	                             │ arbitration                                     │
//	                             v                                                 │
//	                        ARBITRATION ───── uphold, dismiss ─────────────────────┘
//
//	none, RETRIEVAL, CLOSED ── credit adjustment ──> CREDIT_ADJ ┐
//	CLOSED and those on the right ── debit adjustment ──> DEBIT_ADJ ┼ ended, but for these three
//	none, RETRIEVAL, CLOSED ── exception ──────────> EXCEPTION  ┘
//
// Whoever is to answer has until the deadline's date; then KindExpireDisputes, which the
// night sends, ends the time. A step that comes after it is refused also before that.
//
//	chargeback, uphold, credit adjustment, exception
//	                clearing(acquirer) -a    suspense(issuer) +a
//	re-presentment, debit adjustment
//	                suspense(issuer) -a    clearing(acquirer) +a
//
// What is in suspense is the issuer's to give to the member, by an adjustment.
type dispute struct {
	node
	position points.Position // of the sale
	state    DisputeState
	answers  Party // who is to answer; 0: nobody
	forfeit  bool  // the acquirer was silent when the slip was asked for
	deadline points.BusinessDate
	net      points.Amount // what stands taken back, in sum
	last     points.Amount // what the last step moved
	steps    []disputeStep // at most maxDisputeSteps

	// Of the sale, so that nothing need be read to go on.
	issuer   points.IssuerID
	acquirer points.AcquirerID
	program  points.ProgramID
	date     points.BusinessDate
}

type disputeStep struct {
	step     DisputeStep // 0: the time to answer ended
	position points.Position
	amount   points.Amount
	code     string
}

// Bounds of disputes.
const (
	maxDisputeSteps = 64     // of one case
	maxDocket       = 10_000 // cases in which somebody is to answer
)

// DisputeMove is what a command says of a step.
type DisputeMove struct {
	Step     DisputeStep
	Who      Party
	Code     string // reason code of a rule
	Evidence string // what proves it: a file's name and digest, a case number
}

func (m *DisputeMove) append(dst []byte) []byte {
	return appendText(appendText(append(dst, byte(m.Step), byte(m.Who)), m.Code), m.Evidence)
}

func decodeDisputeMove(r *reader) DisputeMove {
	return DisputeMove{Step: DisputeStep(r.byte()), Who: Party(r.byte()), Code: r.text(maxText), Evidence: r.text(maxText)}
}

func (d *dispute) id() points.Position { return d.position }

func (d *dispute) appendKey(dst []byte) []byte {
	return binary.BigEndian.AppendUint64(append(dst, stateDispute), uint64(d.position))
}

func (d *dispute) appendValue(dst []byte) []byte {
	forfeit := byte(0)
	if d.forfeit {
		forfeit = 1
	}
	dst = append(dst, stateVersion, byte(d.state), byte(d.answers), forfeit)
	for _, n := range [...]uint64{uint64(d.deadline), uint64(d.issuer), uint64(d.acquirer), uint64(d.program), uint64(d.date), uint64(len(d.steps))} {
		dst = binary.AppendUvarint(dst, n)
	}
	dst = appendAmount(appendAmount(dst, d.net), d.last)
	for i := range d.steps {
		s := &d.steps[i]
		dst = binary.AppendUvarint(append(dst, byte(s.step)), uint64(s.position))
		dst = appendText(appendAmount(dst, s.amount), s.code)
	}
	return dst
}

func (d *dispute) decodeValue(r *reader) {
	d.state, d.answers = DisputeState(r.byte()), Party(r.byte())
	d.forfeit = r.byte() != 0
	d.deadline, d.issuer, d.acquirer = r.date(), points.IssuerID(r.uvarint()), points.AcquirerID(r.uvarint())
	d.program, d.date = r.program(), r.date()
	count := r.count(maxDisputeSteps, 4)
	d.net, d.last = r.amount(), r.amount()
	for range count {
		s := disputeStep{step: DisputeStep(r.byte()), position: r.position()}
		s.amount, s.code = r.amount(), r.text(maxName)
		d.steps = append(d.steps, s)
	}
}

// docket lists the cases in which somebody is to answer: one entity, none while there are
// none. Ascending by deadline, those without one first, then by position.
type docket struct {
	node
	cases []docketCase
}

type docketCase struct {
	deadline points.BusinessDate // 0: none
	position points.Position
}

func (c docketCase) compare(other docketCase) int {
	return cmp.Or(cmp.Compare(c.deadline, other.deadline), cmp.Compare(c.position, other.position))
}

func (d *docket) appendKey(dst []byte) []byte { return append(dst, stateDocket) }

func (d *docket) appendValue(dst []byte) []byte {
	if len(d.cases) == 0 {
		return dst
	}
	dst = binary.AppendUvarint(append(dst, stateVersion), uint64(len(d.cases)))
	for _, c := range d.cases {
		dst = binary.AppendUvarint(binary.AppendUvarint(dst, uint64(c.deadline)), uint64(c.position))
	}
	return dst
}

func (d *docket) decodeValue(r *reader) {
	for range r.count(maxDocket, 2) {
		d.cases = append(d.cases, docketCase{r.date(), r.position()})
	}
}

// over finds the first case whose time to answer is over on date.
func (d *docket) over(date points.BusinessDate) (c docketCase, ok bool) {
	i, _ := slices.BinarySearchFunc(d.cases, docketCase{deadline: 1}, docketCase.compare)
	if date == 0 || i == len(d.cases) || d.cases[i].deadline >= date {
		return docketCase{}, false
	}
	return d.cases[i], true
}

// enlist puts a case where its deadline is, or takes it off when nobody is to answer.
func (b *Book) enlist(d *dispute, was points.BusinessDate, wasOpen bool) {
	b.touch(&b.docket)
	cases := b.docket.cases
	if i, found := slices.BinarySearchFunc(cases, docketCase{was, d.position}, docketCase.compare); found && wasOpen {
		cases = slices.Delete(cases, i, i+1)
	}
	if d.state.open() {
		c := docketCase{d.deadline, d.position}
		i, _ := slices.BinarySearchFunc(cases, c, docketCase.compare)
		cases = slices.Insert(cases, i, c)
	}
	b.docket.cases = cases
}

func (b *Book) findDispute(position points.Position) (*dispute, error) {
	if d, ok := b.disputes.find(position); ok {
		return d, nil
	}
	d := &dispute{position: position}
	if ok, err := b.load(d); !ok || err != nil {
		return nil, err
	}
	return b.disputes.add(*d), nil
}

// disputed is what disputes have taken back of the sale at position.
func (b *Book) disputed(position points.Position) (points.Amount, error) {
	d, err := b.findDispute(position)
	if d == nil || err != nil {
		return 0, err
	}
	return d.net, nil
}

// disputeRules are the rules in force.
func (b *Book) disputeRules() *DisputeRules {
	if b.live.Disputes != nil {
		return b.live.Disputes
	}
	return DefaultDisputeRules()
}

// disputable is what is known of a sale that a dispute is about.
type disputable struct {
	dispute               // as it stands, or new
	exists  bool          // there is a case
	remote  *remote       // of a sale that its issuer decided
	sold    points.Amount // what the sale took
	left    points.Amount // of it, less refunds, reversals and disputes
	rule    *DisputeRule
}

// dispute takes one step of a case.
func (b *Book) dispute(cmd *Command, out *Outcome) (points.Reason, error) {
	if cmd.Dispute.Step.decides() {
		if reason := b.twoPeople(cmd); !reason.Approved() {
			return reason, nil
		}
	}
	s, err := b.whyDispute(cmd)
	if err != nil {
		if reason := points.ReasonOf(err); reason != points.InternalError {
			return reason, nil
		}
		return 0, err
	}
	amount := s.amountOf(cmd)
	out.Original, out.Program, out.Issuer, out.Amount = cmd.Original, s.program, s.issuer, amount
	moved := points.Amount(0) // from the acquirer to the issuer
	switch {
	case cmd.Dispute.Step.takes():
		moved = amount
	case cmd.Dispute.Step.gives():
		moved = -amount
	}
	clearing := AccountKey{ClearingAccount, s.program, uint64(s.acquirer)}
	suspense := AccountKey{SuspenseAccount, s.program, uint64(s.issuer)}
	if reason, err := b.postHouse(clearing, -moved, out); err != nil || !reason.Approved() {
		return reason, err
	}
	if reason, err := b.postHouse(suspense, moved, out); err != nil || !reason.Approved() {
		return reason, err
	}
	if s.remote != nil && moved != 0 {
		b.touch(s.remote)
		s.remote.returned += moved
	}
	d, err := b.findDispute(cmd.Original)
	if err != nil {
		return 0, err
	}
	if d == nil {
		d = b.disputes.add(dispute{position: cmd.Original, issuer: s.issuer, acquirer: s.acquirer, program: s.program, date: s.date})
		b.create(d)
	} else {
		b.touch(d)
	}
	was, wasOpen := d.deadline, d.state.open()
	d.net += moved
	d.advance(b.date, s.rule, disputeStep{cmd.Dispute.Step, b.position + 1, amount, s.rule.Code})
	b.enlist(d, was, wasOpen)
	return points.Approved, nil
}

// advance moves a case on by a step that was accepted on date.
func (d *dispute) advance(date points.BusinessDate, rule *DisputeRule, s disputeStep) {
	d.state = s.step.after(d.state)
	d.steps = append(d.steps, s)
	if s.step.takes() || s.step.gives() {
		d.last = s.amount
	}
	d.answers = map[DisputeState]Party{
		DisputeRetrieval: PartyAcquirer, DisputeChargeback: PartyAcquirer, DisputeRepresentment: PartyIssuer, DisputeArbitration: PartyOperator,
	}[d.state]
	if s.step == StepAnswer {
		d.answers = PartyIssuer
	}
	d.deadline = 0
	if d.state.open() && rule.Answer > 0 {
		d.deadline = date.AddDays(int(rule.Answer))
	}
}

// amountOf is what a step moves: what is named, or all that it can be about; nothing of a
// step that only says something.
func (s *disputable) amountOf(cmd *Command) points.Amount {
	switch step := cmd.Dispute.Step; {
	case !step.takes() && !step.gives():
		return 0
	case cmd.Amount != 0:
		return cmd.Amount
	default:
		return s.most(step)
	}
}

// most is the largest amount that a step can be about.
func (s *disputable) most(step DisputeStep) points.Amount {
	switch {
	case step == StepUphold: // what the re-presentment took again
		return min(s.last, s.left)
	case step.takes():
		return s.left
	default:
		return s.net
	}
}

// whyDispute finds what a step is about, and tells why it cannot be taken.
func (b *Book) whyDispute(cmd *Command) (*disputable, error) {
	m := &cmd.Dispute
	if b.date == 0 {
		return nil, points.Errorf(points.ProgramClosed, "no business date has begun")
	}
	if strings.TrimSpace(cmd.Operator) == "" {
		return nil, points.Errorf(points.FormatError, "dispute: who enters it?")
	}
	rule := b.disputeRules().find(m.Code)
	if rule == nil || rule.Step != m.Step {
		return nil, points.Errorf(points.FormatError, "reason code %q: no rule for %v has it; lianfen dispute rules lists them", m.Code, m.Step)
	}
	s, err := b.disputable(cmd.Original)
	if err != nil {
		return nil, err
	}
	s.rule = rule
	if err := s.allowed(m, b.date); err != nil {
		return nil, err
	}
	if !s.exists && m.Step.after(0).open() && len(b.docket.cases) >= maxDocket {
		return nil, points.Errorf(points.OverCountLimit, "there are %d open disputes, and no more fit", maxDocket)
	}
	most := s.most(m.Step)
	switch moves := m.Step.takes() || m.Step.gives(); {
	case cmd.Amount < 0 || (!moves && cmd.Amount != 0):
		return nil, points.Errorf(points.BadAmount, "%v of %d: want no amount, or one above 0 where points move", m.Step, cmd.Amount)
	case moves && (cmd.Amount > most || most <= 0):
		return nil, points.Errorf(points.AmountOverOriginal, "%v: at most %d of %d is left for it", m.Step, max(0, most), s.sold)
	}
	return s, nil
}

// allowed holds a step against its rule.
func (s *disputable) allowed(m *DisputeMove, date points.BusinessDate) error {
	rule := s.rule
	switch {
	case m.Who != rule.Who:
		return points.Errorf(points.NotPermitted, "%v by the %v: it is the %v's", m.Step, m.Who, rule.Who)
	case !rule.From.Has(s.state):
		return points.Errorf(points.NotPermitted, "%v: the dispute is %v; the rule %s is for %v", m.Step, s.state, rule.Code, rule.From)
	case rule.Evidence && strings.TrimSpace(m.Evidence) == "":
		return points.Errorf(points.FormatError, "%v: the rule %s asks for evidence", m.Step, rule.Code)
	case rule.Days > 0 && date > s.date.AddDays(int(rule.Days)):
		return points.Errorf(points.OriginalClosed, "%v: the original is of %v, and the rule %s is for %d days", m.Step, s.date, rule.Code, rule.Days)
	case s.deadline != 0 && date > s.deadline && m.Who == s.answers:
		return points.Errorf(points.OriginalClosed, "%v: the time to answer ended with %v", m.Step, s.deadline)
	case m.Step == StepRepresentment && s.forfeit:
		return points.Errorf(points.OriginalClosed, "%v: the acquirer was silent when the slip was asked for", m.Step)
	case rule.Once && slices.ContainsFunc(s.steps, func(was disputeStep) bool { return was.step == m.Step }):
		return points.Errorf(points.AlreadyExists, "%v: it has been, once per transaction", m.Step)
	case len(s.steps) >= maxDisputeSteps:
		return points.Errorf(points.OverCountLimit, "%v: the dispute has %d steps, and no more fit", m.Step, maxDisputeSteps)
	}
	return nil
}

// disputable reads the sale at position and what became of it.
func (b *Book) disputable(position points.Position) (*disputable, error) {
	if position == 0 || position > b.position {
		return nil, points.Errorf(points.UnknownOriginal, "transaction %d: there is none", position)
	}
	s := new(disputable)
	d, err := b.findDispute(position)
	if err != nil {
		return nil, fmt.Errorf("dispute about %d: %w", position, err)
	}
	if d != nil {
		s.dispute, s.exists = *d, true
	}
	rec, err := b.record(position)
	if err != nil {
		return nil, err
	}
	if isRemote(rec) {
		return s, b.disputableRemote(position, s)
	}
	sale := &rec.Outcome
	switch {
	case rec.Command.Kind != KindRedeem && rec.Command.Kind != KindCapture:
		return nil, points.Errorf(points.NotPermitted, "transaction %d is no redemption and no capture", position)
	case len(sale.Legs) > 0 || rec.asksIssuer():
		return nil, points.Errorf(points.NotPermitted, "transaction %d was paid from several programmes: correct it by refund or adjustment", position)
	case !sale.Reason.Approved():
		return nil, points.Errorf(points.OriginalNotApproved, "transaction %d was not approved", position)
	case counterpart(sale).Kind != ClearingAccount:
		return nil, points.Errorf(points.NotPermitted, "transaction %d was not booked against clearing with an acquirer", position)
	}
	s.issuer, s.acquirer, s.program, s.date, s.sold = sale.Issuer, rec.Command.Acquirer, sale.Program, sale.Date, sale.Amount
	s.left = s.sold - s.net
	t, err := b.findTransaction(position)
	if err != nil || t == nil {
		return s, err
	}
	if t.reversed != 0 || t.voided != 0 {
		return nil, points.Errorf(points.OriginalClosed, "transaction %d was voided or reversed", position)
	}
	s.left -= t.returned()
	return s, nil
}

// disputableRemote is the same of a sale whose issuer keeps its own ledger.
func (b *Book) disputableRemote(position points.Position, s *disputable) error {
	r, err := b.needRemote(position)
	switch {
	case err != nil:
		return err
	case (r.function != points.Redeem && r.function != points.OfflineRedeem && r.function != points.Completion && r.function != points.CompletionAdvice) || r.tender:
		return points.Errorf(points.NotPermitted, "transaction %d is no redemption and no capture of one programme", position)
	case r.phase != RemoteDone:
		return points.Errorf(points.OriginalClosed, "transaction %d is not settled with its issuer yet", position)
	case r.approved == 0:
		return points.Errorf(points.OriginalNotApproved, "transaction %d was not approved", position)
	case r.reversed != 0 || r.voided != 0:
		return points.Errorf(points.OriginalClosed, "transaction %d was voided or reversed", position)
	}
	s.remote, s.issuer, s.acquirer, s.program, s.date = r, r.issuer, r.acquirer, r.program, r.date
	s.sold, s.left = r.approved-r.reduced, r.left()
	return nil
}

// expireDisputes ends the time to answer where it is over: the silent side has lost its
// right. A chargeback stands, a re-presentment stands; who did not send a slip cannot
// re-present.
func (b *Book) expireDisputes(cmd *Command, out *Outcome) (points.Reason, error) {
	before, limit, reason := b.batch(cmd)
	if !reason.Approved() {
		return reason, nil
	}
	for range limit {
		c, over := b.docket.over(before)
		if !over {
			return points.Approved, nil
		}
		d, err := b.findDispute(c.position)
		if err != nil {
			return 0, err
		}
		if d == nil || d.deadline != c.deadline || !d.state.open() {
			return 0, fmt.Errorf("I24: the docket has a dispute about %d until %v, which is not there", c.position, c.deadline)
		}
		b.touch(d)
		was := d.deadline
		d.deadline = 0
		if d.state == DisputeRetrieval && d.answers == PartyAcquirer {
			d.forfeit, d.answers = true, PartyIssuer
			d.deadline = before.AddDays(b.timeToCharge(d))
		} else {
			d.state, d.answers = DisputeClosed, 0
		}
		d.steps = append(d.steps, disputeStep{position: b.position + 1})
		b.enlist(d, was, true)
	}
	_, out.More = b.docket.over(before)
	return points.Approved, nil
}

// timeToCharge is for how many days the issuer can charge back when no slip has come: as
// many as the acquirer had.
func (b *Book) timeToCharge(d *dispute) int {
	const atLeast = 1
	if rule := b.disputeRules().find(d.steps[len(d.steps)-1].code); rule != nil {
		return max(atLeast, int(rule.Answer))
	}
	return atLeast
}

// auditDisputes checks I24 on what is in memory.
func (b *Book) auditDisputes() error {
	for i, c := range b.docket.cases {
		if i > 0 && b.docket.cases[i-1].compare(c) >= 0 {
			return fmt.Errorf("book: I24: the docket is out of order at %d", c.position)
		}
	}
	return b.disputes.each(func(d *dispute) error {
		_, listed := slices.BinarySearchFunc(b.docket.cases, docketCase{d.deadline, d.position}, docketCase.compare)
		if listed != d.state.open() || (d.deadline != 0 && !d.state.open()) {
			return fmt.Errorf("book: I24: dispute about %d is %v until %v, on the docket: %v", d.position, d.state, d.deadline, listed)
		}
		s, err := b.disputable(d.position)
		if err != nil && points.ReasonOf(err) != points.OriginalClosed {
			return err
		}
		if d.net < 0 || (s != nil && s.left < 0) {
			return fmt.Errorf("book: I24: disputes took %d of transaction %d, which leaves %v", d.net, d.position, s)
		}
		return nil
	})
}

// DisputeView is a case as it stands.
type DisputeView struct {
	Original points.Position
	State    DisputeState
	Answers  Party               // who is to answer
	Deadline points.BusinessDate // 0: no limit
	Forfeit  bool
	Net      points.Amount // taken back, in sum
	Sold     points.Amount
	Left     points.Amount // that can still be disputed or refunded; 0 of a sale that was voided or reversed
	Issuer   points.IssuerID
	Acquirer points.AcquirerID
	Program  points.ProgramID
	Date     points.BusinessDate // of the sale
	Steps    []DisputeStepView
}

// DisputeStepView is one step that was taken; Step 0: the time to answer ended.
type DisputeStepView struct {
	Step   DisputeStep
	Record points.Position
	Amount points.Amount
	Code   string
}

// Dispute returns the case about the sale at position; ok is false where there is none.
func (b *Book) Dispute(position points.Position) (v DisputeView, ok bool, err error) {
	b.trim()
	d, err := b.findDispute(position)
	if d == nil || err != nil {
		return v, false, err
	}
	v = DisputeView{
		Original: d.position, State: d.state, Answers: d.answers, Deadline: d.deadline, Forfeit: d.forfeit, Net: d.net,
		Issuer: d.issuer, Acquirer: d.acquirer, Program: d.program, Date: d.date,
	}
	for _, s := range d.steps {
		v.Steps = append(v.Steps, DisputeStepView{s.step, s.position, s.amount, s.code})
	}
	s, err := b.disputable(position)
	switch {
	case err == nil:
		v.Sold, v.Left = s.sold, s.left
	case points.ReasonOf(err) != points.OriginalClosed:
		return v, true, err
	}
	return v, true, nil
}

// OpenDisputes are the sales about which somebody is to answer, the most urgent first,
// those without a limit at the end.
func (b *Book) OpenDisputes() []points.Position {
	var urgent, others []points.Position
	for _, c := range b.docket.cases {
		if c.deadline != 0 {
			urgent = append(urgent, c.position)
		} else {
			others = append(others, c.position)
		}
	}
	return append(urgent, others...)
}

// DisputeRulesInForce returns the rules that disputes follow.
func (b *Book) DisputeRulesInForce() DisputeRules {
	return DisputeRules{Rules: slices.Clone(b.disputeRules().Rules)}
}
