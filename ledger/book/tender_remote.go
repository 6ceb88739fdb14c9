package book

import (
	"errors"
	"fmt"
	"slices"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// A sale that several programmes pay may have one leg at an issuer that keeps its own
// ledger ([Command.Ask]). The programmes here come first, in their order; what they
// cannot pay is asked of that issuer, all of it. All or nothing holds because nothing of
// a record here can fail afterwards, and what the issuer did can be reversed:
//
//	redeem    the legs here are reserved, as by holds; the leg there is open
//	conclude  approved: what is reserved is spent, and the leg there booked
//	          declined, or approved for less: it is released; what was approved is
//	          owed a reversal
//	owe, reversal while it is open
//	          it is released, and a reversal is owed
//
// Afterwards the transaction at the sale's position has what was given back of it, in the
// unit of the sale, as of any tender, and the remote transaction there what the issuer is
// owed. The leg there paid last, so it gives back first. Each undoing is one record, that
// books all legs and owes the issuer its part: a reversal, of a part too, or the advice
// of a refund.

// farLeg is the leg that an issuer with a ledger of its own is asked for: the first of
// cmd.Tender that is one's; nil: there is none.
func (b *Book) farLeg(cmd *Command, rest points.Amount) *stake {
	if !cmd.Ask || cmd.Card.IsZero() || rest == 0 {
		return nil
	}
	for _, term := range cmd.Tender {
		program, open := b.programAt(cmd.Merchant, term.Program)
		if !open.Approved() || program.Rules.Qualifying || b.live.Issuers[program.Issuer].Link == "" {
			continue
		}
		if amount := term.costs(rest); amount > 0 {
			return &stake{program: program, leg: TenderLeg{term.Program, amount, rest}}
		}
	}
	return nil
}

// forwardTender reserves what the programmes here pay, and has the issuer of far asked
// for the rest.
func (b *Book) forwardTender(cmd *Command, stakes []stake, far *stake, out *Outcome) (points.Reason, error) {
	asked := Command{Function: points.Redeem, Card: cmd.Card, Program: far.program.ID, Amount: far.leg.Amount}
	if reason, err := b.withinCardDay(&asked, &far.program.Rules); err != nil || !reason.Approved() {
		return reason, err
	}
	if reason, err := b.judgeTender(cmd, stakes, far, out); err != nil || !reason.Approved() {
		return reason, err
	}
	for _, s := range append(slices.Clip(stakes), *far) {
		if reason := b.mayOwe(cmd, tariff.KindRDM, s.program, s.leg.Amount); !reason.Approved() {
			return reason, nil
		}
	}
	for i := range stakes {
		s := &stakes[i]
		b.take(s.account, s.leg.Amount, true, out)
		s.account.countRedeemed(b.date, s.leg.Amount, 1)
		if reason := b.moveHeld(s.account, s.leg.Amount); !reason.Approved() {
			return reason, nil
		}
		s.account.holds++
		out.Legs = append(out.Legs, s.leg)
	}
	r := b.newRemote(cmd, out)
	r.function, r.issuer, r.program, r.card = points.Redeem, far.program.Issuer, far.program.ID, cmd.Card
	r.asked, r.tender = far.leg.Amount, true
	out.Legs = append(out.Legs, far.leg)
	out.Program, out.Issuer, out.Amount = r.program, r.issuer, r.asked
	return points.Approved, errors.Join(b.countCardDay(r, r.asked, 1), b.reserve())
}

// asksIssuer reports whether the record is of a sale whose last leg was asked of an
// issuer with a ledger of its own: it has legs and has booked nothing.
func (r *Record) asksIssuer() bool {
	return r.Command.Kind == KindRedeem && r.Outcome.Reason.Approved() && len(r.Outcome.Legs) > 0 && len(r.Outcome.Postings) == 0
}

// Waits reports whether the answer to the command is its issuer's. Not of a reversal, nor
// of a void or refund of a sale that programmes here have paid too: of these the issuer
// hears afterwards, the reversal or void as what out.Original is owed, the refund as itself.
func (c *Command) Waits(out *Outcome) bool {
	return out.Forwarded && c.Kind != KindReverse && (c.Kind == KindRedeem || out.Member == 0)
}

// reservation is what one leg reserves here.
type reservation struct {
	hold    // that nobody finds: the record of the sale is all there is of it
	account *account
}

// reservations reads what is reserved for the sale that r is a leg of, and the record
// that has reserved it. It stays valid until the next record is read.
func (b *Book) reservations(r *remote) (*Record, []reservation, error) {
	rec, err := b.record(r.position)
	if err != nil {
		return nil, nil, err
	}
	if !rec.asksIssuer() {
		return nil, nil, fmt.Errorf("I4: the record at %d reserves nothing for a sale", r.position)
	}
	legs := rec.Outcome.Legs[:len(rec.Outcome.Legs)-1]
	all := make([]reservation, 0, len(legs))
	for i := range legs {
		key := AccountKey{MemberAccount, legs[i].Program, uint64(rec.Outcome.Member)}
		a, err := b.needAccount(key)
		if err != nil {
			return nil, nil, err
		}
		h := hold{account: key, placed: rec.Outcome.Date, left: legs[i].Amount}
		for _, move := range rec.Outcome.Lots {
			if move.Account == key {
				h.lots = append(h.lots, lot{move.Lot, -move.Amount})
			}
		}
		all = append(all, reservation{h, a})
	}
	return rec, all, nil
}

// spendReserved takes what was reserved here, once the issuer has approved its leg.
//
//	member (held)       -amount
//	clearing(acquirer)  +amount
func (b *Book) spendReserved(r *remote, out *Outcome) (points.Reason, error) {
	_, all, err := b.reservations(r)
	if err != nil {
		return 0, err
	}
	for i := range all {
		h, a := &all[i].hold, all[i].account
		b.spendHeld(h, a, h.left, out)
		if reason := b.moveHeld(a, -h.left); !reason.Approved() {
			return reason, nil
		}
		if reason := b.postMember(a, -h.left, out); !reason.Approved() {
			return reason, nil
		}
		clearing := AccountKey{ClearingAccount, a.key.Program, uint64(r.acquirer)}
		if reason, err := b.postHouse(clearing, h.left, out); err != nil || !reason.Approved() {
			return reason, err
		}
		a.holds--
	}
	return points.Approved, nil
}

// releaseReserved gives back what was reserved here; of a request that is no tender there
// is nothing.
func (b *Book) releaseReserved(r *remote, out *Outcome) (points.Reason, error) {
	if !r.tender {
		return points.Approved, nil
	}
	_, all, err := b.reservations(r)
	if err != nil {
		return 0, err
	}
	for i := range all {
		if reason, err := b.releaseHeld(&all[i].hold, all[i].account, 0, out); err != nil || !reason.Approved() {
			return reason, err
		}
		all[i].account.holds--
	}
	return points.Approved, b.uncountRisk(r.position, 0, -1)
}

// concludeTender enters the issuer's answer to its leg of a sale while it is open.
func (b *Book) concludeTender(cmd *Command, r *remote, amount points.Amount, out *Outcome) (points.Reason, error) {
	if !cmd.Answer.Approved() || amount < r.asked {
		if reason, err := b.releaseReserved(r, out); err != nil || !reason.Approved() {
			return reason, err
		}
		b.touch(r)
		r.answered = b.position + 1
		if !cmd.Answer.Approved() {
			out.Answer = cmd.Answer
			return points.Approved, b.lapse(r)
		}
		// A part was approved that nobody can complete.
		out.Answer, out.Forwarded, r.authCode = points.NotEnoughPoints, true, cmd.AuthCode
		b.oweReversal(cmd, r)
		return points.Approved, nil
	}
	if reason, err := b.spendReserved(r, out); err != nil || !reason.Approved() {
		return reason, err
	}
	if reason, err := b.approve(r, amount, out); err != nil || !reason.Approved() {
		return reason, err
	}
	r.answered, r.authCode = b.position+1, cmd.AuthCode
	b.finish(r)
	out.Answer = cmd.Answer
	b.tell(cmd, r, out)
	rec, all, err := b.reservations(r)
	if err != nil {
		return 0, err
	}
	out.Member, out.Amount = rec.Outcome.Member, rec.Command.Amount
	out.Legs = append(out.Legs, rec.Outcome.Legs...)
	if sale := &rec.Command; sale.Batch != 0 {
		err = b.tallyUp(batchesOf(sale), sale.Batch, sale.Function.Side(), sale.Amount)
	}
	for i := range all {
		a := all[i].account
		out.Others = append(out.Others, Balance{Program: a.key.Program, Free: a.spendable(b.date), Held: a.held})
	}
	return points.Approved, err
}

// sold is the record of a sale as it was in the end: of one that asked an issuer, what
// the answer has booked, under the identity of the request. Its reason is not approved
// while there is no answer.
func (b *Book) sold(rec *Record) (*Record, *remote, error) {
	if !rec.asksIssuer() {
		return rec, nil, nil
	}
	r, err := b.needRemote(rec.Outcome.Position)
	if err != nil {
		return nil, nil, err
	}
	b.sale.Command, b.sale.Outcome = rec.Command, Outcome{Reason: points.NoAnswer, Member: rec.Outcome.Member, Program: r.program, Position: r.position}
	if r.answered == 0 {
		return &b.sale, r, nil
	}
	answer, err := b.record(r.answered)
	if err != nil {
		return nil, nil, err
	}
	var then Outcome
	answer.Outcome.copyTo(&then)
	member := b.sale.Outcome.Member
	b.sale.Outcome = then.ForAcquirer()
	b.sale.Outcome.Member = member // An answer that is no approval does not say whose sale it was.
	return &b.sale, r, nil
}

// showFirst makes out about the account of a sale, or of its first leg that is here; nil:
// all of it was paid at an issuer with a ledger of its own.
func (b *Book) showFirst(sale, out *Outcome) (*account, error) {
	program := sale.Program
	if len(sale.Legs) > 0 {
		legs, err := b.legsHere(sale)
		if err != nil || len(legs) == 0 {
			out.Member = sale.Member
			return nil, err
		}
		program = legs[0].Program
	}
	a, err := b.needAccount(AccountKey{MemberAccount, program, uint64(sale.Member)})
	if err != nil {
		return nil, err
	}
	b.about(a, out)
	return a, nil
}

// legsHere are the legs of a sale without the one that an issuer with a ledger of its own
// has paid.
func (b *Book) legsHere(sale *Outcome) ([]TenderLeg, error) {
	far, err := b.farOf(sale)
	if far == nil || err != nil {
		return sale.Legs, err
	}
	return sale.Legs[:len(sale.Legs)-1], nil
}

// farOf is the leg of a sale that an issuer with a ledger of its own has paid; nil: none.
func (b *Book) farOf(sale *Outcome) (*remote, error) {
	if len(sale.Legs) == 0 {
		return nil, nil
	}
	return b.findRemote(sale.Position)
}

// reverseAsked reverses a sale that has no answer, or none that approves it.
func (b *Book) reverseAsked(cmd *Command, far *remote, out *Outcome) (points.Reason, error) {
	if far.phase == RemoteOpen {
		if reason, err := b.releaseReserved(far, out); err != nil || !reason.Approved() {
			return reason, err
		}
	}
	out.Program, out.Issuer = far.program, far.issuer
	return b.reverseRemote(&Command{Kind: KindReverse, At: cmd.At}, far, out)
}

// giveBackFar gives back amount of what the issuer with a ledger of its own paid, and owes
// it to be told. No refusal follows.
func (b *Book) giveBackFar(cmd *Command, far *remote, amount points.Amount, out *Outcome) (reason points.Reason, err error) {
	if amount == 0 {
		return points.Approved, nil
	}
	if far.taking != 0 {
		return points.OriginalClosed, nil // What stands at the issuer is not known yet.
	}
	of := out.Amount
	undo := Command{Kind: KindReverse, At: cmd.At}
	switch stands := far.left() - amount; {
	case cmd.Kind == KindRefund:
		reason, err = b.refundFar(cmd, far, amount, out)
	case stands > 0:
		undo.Actual, undo.Final = stands, true
		reason, err = b.reduceRemote(&undo, far, out)
	default:
		reason, err = b.reverseRemote(&undo, far, out)
	}
	if err != nil || !reason.Approved() {
		return reason, err
	}
	out.Amount, out.Issuer = of, far.issuer
	if cmd.Kind == KindVoid {
		far.voided = b.position + 1
	}
	if cmd.Kind == KindVoid || cmd.Actual != 0 {
		far.reversed = 0 // The sale keeps its first answer.
	}
	return points.Approved, nil
}

// refundFar owes the issuer the advice of a refund.
func (b *Book) refundFar(cmd *Command, far *remote, amount points.Amount, out *Outcome) (points.Reason, error) {
	if far.phase == RemoteOwed || far.phase == RemoteQueued || amount > far.left() {
		return points.OriginalClosed, nil // Or an earlier refund is not undone there yet.
	}
	if reason, err := b.bookRemote(far, -amount, out); err != nil || !reason.Approved() {
		return reason, err
	}
	refund := b.newRemote(cmd, out)
	refund.function, refund.phase, refund.original = points.Refund, RemoteTold, far.position
	refund.issuer, refund.program, refund.card, refund.acquirer = far.issuer, far.program, far.card, far.acquirer
	refund.asked, refund.approved, refund.booked = amount, amount, -amount
	refund.answered, refund.owedAt = refund.position, refund.posted
	b.touch(far)
	far.returned += amount
	return points.Approved, nil
}

// reverseTenderVoid restores a sale, of which an issuer with a ledger of its own has paid
// a part, after its void. Whether that issuer has heard of the void already or not, it is
// told that its leg stands after all.
func (b *Book) reverseTenderVoid(cmd *Command, rec *Record, far *remote, out *Outcome) (points.Reason, error) {
	if far == nil || !cmd.Final {
		return points.NotPermitted, nil
	}
	if reason, err := b.mayStandAgain(cmd, rec); err != nil || !reason.Approved() {
		return reason, err
	}
	sale, void, err := b.undoing(rec)
	if err != nil {
		return 0, err
	}
	out.Amount = void.Amount
	if reason, err := b.undoPostings(&Record{Outcome: *void}, out); err != nil || !reason.Approved() {
		return reason, err
	}
	if void.Date == b.date {
		if err := b.recountLegs(sale); err != nil {
			return 0, err
		}
	}
	if err := b.retake(&sale.Outcome, void, out); err != nil {
		return 0, err
	}
	t, err := b.changeTransaction(sale.Outcome.Position)
	if err != nil {
		return 0, err
	}
	t.voided = 0
	return points.Approved, b.standAgain(cmd, far, out)
}

// undoing copies the void or refund of a sale that rec is of, and the sale as it was in
// the end: both stay while other records are read.
func (b *Book) undoing(rec *Record) (sale *Record, undone *Outcome, err error) {
	undone = new(Outcome)
	rec.Outcome.copyTo(undone)
	if err := b.source.Record(undone.Original, &b.second); err != nil {
		return nil, nil, fmt.Errorf("read journal record %d: %w", undone.Original, err)
	}
	sale, _, err = b.sold(&b.second)
	return sale, undone, err
}

// standAgain has the issuer of a leg told that it stands after all:
//
//	the reversal is owed, or queued     when that has ended: an advice (see remote.doubtful)
//	it is acknowledged                  an advice is owed now
//	an advice was still owed            it is owed as before
func (b *Book) standAgain(cmd *Command, far *remote, out *Outcome) error {
	b.touch(far)
	far.voided = 0
	far.booked = sign(far.function) * far.left()
	switch far.phase {
	case RemoteOwed, RemoteQueued:
		far.doubtful = true
	case RemoteDone:
		if err := b.countCardDay(far, far.left(), 1); err != nil {
			return err
		}
		b.begun(far.position)
		b.replace(cmd, far, out)
		out.Issuer, out.About = far.issuer, far.position
	case RemoteOpen, RemoteTold:
	}
	return nil
}

// taken ends what r, the reversed refund of a leg, has made uncertain.
func (r *remote) taken(leg *remote) {
	if leg.tender && r.reversed != 0 {
		leg.taking -= r.asked
	}
}

// refundTender gives back a part of a sale that several programmes paid, and notes in
// the refund's own transaction how much of the sale is given back then: it is the last
// one, which alone can be taken again, exactly while that is so.
func (b *Book) refundTender(cmd *Command, rec *Record, t *transaction, out *Outcome) (points.Reason, error) {
	sale := rec.Outcome.Position
	if reason, err := b.giveBackTender(cmd, rec, t, cmd.Amount, out); err != nil || !reason.Approved() || !cmd.Final {
		return reason, err
	}
	t, err := b.changeTransaction(sale)
	if err != nil {
		return 0, err
	}
	given := t.refunded
	refund, err := b.changeTransaction(b.position + 1)
	if err != nil {
		return 0, err
	}
	refund.refunded = given
	return points.Approved, nil
}

// reverseTenderRefund takes again what a refund gave back of a sale that several
// programmes paid. Only of the last one: what a later one gave back, of which programmes,
// depends on this one. Whoever sends a later one has known the answer to this.
func (b *Book) reverseTenderRefund(cmd *Command, rec *Record, t *transaction, out *Outcome) (points.Reason, error) {
	if !cmd.Final {
		return points.NotPermitted, nil
	}
	refund, err := b.findTransaction(rec.Outcome.Position)
	if err != nil {
		return 0, err
	}
	if refund == nil || refund.refunded != t.refunded {
		return points.OriginalClosed, nil
	}
	far, err := b.findRemote(rec.Outcome.Position)
	if err != nil {
		return 0, err
	}
	sale, given, err := b.undoing(rec)
	if err != nil {
		return 0, err
	}
	out.Amount = given.Amount
	if reason, err := b.undoPostings(&Record{Outcome: *given}, out); err != nil || !reason.Approved() {
		return reason, err
	}
	if err := b.retake(&sale.Outcome, given, out); err != nil || far == nil {
		return points.Approved, err
	}
	out.Issuer = far.issuer
	b.touch(far)
	far.booked, far.reversed = 0, b.position+1
	leg, err := b.needRemote(far.original)
	if err != nil {
		return 0, err
	}
	b.touch(leg)
	leg.taking += far.asked
	switch far.phase {
	case RemoteDone:
		b.oweReversal(cmd, far)
		out.Forwarded = true
	case RemoteQueued:
		far.before = RemoteOwed
	case RemoteOpen, RemoteOwed, RemoteTold: // The reversal follows the advice.
	}
	return points.Approved, nil
}
