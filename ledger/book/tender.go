package book

import (
	"fmt"
	"math"
	"slices"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// MaxTender bounds the programmes that one sale is paid from.
const MaxTender = 4

// TenderTerm says what points of a programme are worth at a merchant: Points of them pay
// for Per of a sale, in the unit in which the merchant's sales are told.
type TenderTerm struct {
	Program points.ProgramID `json:"program"`
	Points  uint32           `json:"points"`
	Per     uint32           `json:"per"`
}

// TenderLeg is what one programme paid of a sale.
type TenderLeg struct {
	Program points.ProgramID
	Amount  points.Amount // points taken
	Covers  points.Amount // of the sale
}

// costs is what a part of a sale costs in points, rounded up: the merchant is never
// short. It is 0 where that does not fit.
func (t TenderTerm) costs(covers points.Amount) points.Amount {
	whole, rest, ok := covers.MulRat(uint64(t.Points), uint64(t.Per))
	if !ok || whole > points.MaxAmount {
		return 0
	}
	if rest > 0 {
		whole++
	}
	return whole
}

// covers is the part of a sale that so many points pay for, rounded down.
func (t TenderTerm) covers(amount points.Amount) points.Amount {
	whole, _, ok := amount.MulRat(uint64(t.Per), uint64(t.Points))
	if !ok {
		return math.MaxInt64
	}
	return whole
}

// valid reports whether the terms are ones.
func validTender(terms []TenderTerm) bool {
	if len(terms) > MaxTender {
		return false
	}
	for i, term := range terms {
		twice := slices.ContainsFunc(terms[:i], func(other TenderTerm) bool { return other.Program == term.Program })
		if term.Points == 0 || term.Per == 0 || !term.Program.Valid() || twice {
			return false
		}
	}
	return true
}

// stake is an account that may pay for a part of a sale.
type stake struct {
	account *account
	program *Program
	leg     TenderLeg
}

// tender redeems points of several programmes for one sale, in the order of cmd.Tender:
// from each as much as there is, within its limits. It takes all of the sale or nothing,
// or what there is where the terminal can take a part. A programme that cannot pay now
// (no account, frozen, closed, below its minimum) is passed over.
//
//	for each programme:  member -points    clearing(acquirer) +points
//
// Amounts of the command and of its outcome are in the unit of the sale; what was taken
// stands in the legs.
func (b *Book) tender(cmd *Command, out *Outcome) (points.Reason, error) {
	if reason := b.participants(cmd); !reason.Approved() {
		return reason, nil
	}
	if reason := b.opened(); !reason.Approved() {
		return reason, nil
	}
	if reason := validAmount(cmd.Amount); !reason.Approved() {
		return reason, nil
	}
	m, reason, err := b.holder(cmd.Card, cmd.Member, FreezeDebit)
	if err != nil || !reason.Approved() {
		return reason, err
	}
	out.Member = m.ID
	stakes, rest, reason, err := b.stakes(cmd, m)
	if err != nil {
		return 0, err
	}
	far := b.farLeg(cmd, rest)
	if reason.Approved() || far != nil {
		if reason, err := b.pinnedTender(cmd, stakes); err != nil || !reason.Approved() {
			return reason, err
		}
	}
	if far != nil {
		return b.forwardTender(cmd, stakes, far, out)
	}
	if !reason.Approved() {
		return reason, nil
	}
	if reason, err := b.judgeTender(cmd, stakes, nil, out); err != nil || !reason.Approved() {
		return reason, err
	}
	approval := points.Approved
	switch {
	case rest > 0 && (!cmd.PartialOK || rest == cmd.Amount):
		return points.NotEnoughPoints, nil
	case rest > 0:
		approval = points.ApprovedPartly
	}
	for i := range stakes {
		if reason := b.mayOwe(cmd, tariff.KindRDM, stakes[i].program, stakes[i].leg.Amount); !reason.Approved() {
			return reason, nil
		}
	}
	for i := range stakes {
		if reason, err := b.pay(cmd, &stakes[i], out); err != nil || !reason.Approved() {
			return reason, err
		}
	}
	first := &stakes[0]
	out.Program, out.Issuer, out.Amount = first.program.ID, first.program.Issuer, cmd.Amount-rest
	b.shown = first.account
	for i := range stakes[1:] {
		a := stakes[1+i].account
		out.Others = append(out.Others, Balance{Program: a.key.Program, Free: a.spendable(b.date), Held: a.held})
	}
	return approval, nil
}

// stakes plans who pays for what; rest is what nobody can pay for.
func (b *Book) stakes(cmd *Command, m *member) (stakes []stake, rest points.Amount, reason points.Reason, err error) {
	rest, reason = cmd.Amount, points.UnknownAccount
	for _, term := range cmd.Tender {
		program, open := b.programAt(cmd.Merchant, term.Program)
		if !open.Approved() || program.Rules.Qualifying || b.live.Issuers[program.Issuer].Link != "" {
			continue
		}
		a, err := b.accountIn(m, term.Program)
		if err != nil {
			return nil, 0, 0, err
		}
		if a == nil || a.status == Closed || a.freeze&FreezeDebit != 0 {
			continue
		}
		reason = points.Approved
		covers := min(rest, term.covers(a.most(&program.Rules, b.date)))
		amount := term.costs(covers)
		if covers == 0 || amount == 0 || amount < program.Rules.MinRedeem {
			continue
		}
		stakes = append(stakes, stake{a, program, TenderLeg{term.Program, amount, covers}})
		if rest -= covers; rest == 0 {
			break
		}
	}
	return stakes, rest, reason, nil
}

// most is how much can be redeemed at once.
func (a *account) most(rules *ProgramRules, date points.BusinessDate) points.Amount {
	most, day := a.spendable(date), a.today(date)
	if rules.MaxRedeemCnt > 0 && day.redemption >= rules.MaxRedeemCnt {
		return 0
	}
	if rules.MaxAmount > 0 {
		most = min(most, rules.MaxAmount)
	}
	if rules.MaxRedeemDay > 0 {
		most = min(most, rules.MaxRedeemDay-day.redeemed)
	}
	return max(0, most)
}

// pay takes the points of one leg.
func (b *Book) pay(cmd *Command, s *stake, out *Outcome) (points.Reason, error) {
	amount := s.leg.Amount
	b.take(s.account, amount, false, out)
	s.account.countRedeemed(b.date, amount, 1)
	if reason := b.postMember(s.account, -amount, out); !reason.Approved() {
		return reason, nil
	}
	out.Legs = append(out.Legs, s.leg)
	return b.postHouse(AccountKey{ClearingAccount, s.program.ID, uint64(cmd.Acquirer)}, amount, out)
}

// share is how many of a leg's points stand for so much of what it covers, rounded down,
// so that all of it stands for all of them.
func (l *TenderLeg) share(covers points.Amount) (points.Amount, error) {
	whole, _, ok := l.Amount.MulRat(uint64(covers), uint64(l.Covers)) //nolint:gosec // above zero.
	if !ok {
		return 0, fmt.Errorf("a leg of %d points for %d has no share for %d", l.Amount, l.Covers, covers)
	}
	return whole, nil
}

// giveBackTender returns the points that stand for amount of a sale that several
// programmes paid, the last one that paid first. What is undone by cmd, and not only made
// less, does not count for the date's limits any more.
func (b *Book) giveBackTender(cmd *Command, rec *Record, t *transaction, amount points.Amount, out *Outcome) (points.Reason, error) {
	far, err := b.farOf(&rec.Outcome)
	if err != nil {
		return 0, err
	}
	counted := rec.Outcome.Date
	if far != nil {
		counted = far.date
	}
	once := counted == b.date && amount == rec.Outcome.Amount && (cmd.Kind == KindVoid || (cmd.Kind == KindReverse && cmd.Actual == 0))
	gone, rest, fromFar := t.covered(), amount, points.Amount(0)
	var pieces []giving
	for i := len(rec.Outcome.Legs) - 1; i >= 0 && rest > 0; i-- {
		leg := &rec.Outcome.Legs[i]
		before := min(gone, leg.Covers)
		gone -= before
		part := min(rest, leg.Covers-before)
		rest -= part
		had, err := leg.share(before)
		if err != nil {
			return 0, err
		}
		has, err := leg.share(before + part)
		if err != nil {
			return 0, err
		}
		if far != nil && leg.Program == far.program {
			fromFar = has - had
			continue
		}
		given, reason, err := b.giveBackLeg(rec, t, leg, has-had, once, out)
		if err != nil || !reason.Approved() {
			return reason, err
		}
		pieces = append(pieces, given...)
	}
	if rest > 0 {
		return 0, fmt.Errorf("I4: %d of the sale at %d are given back and %d are not there", amount, rec.Outcome.Position, rest)
	}
	if far != nil {
		if reason, err := b.giveBackFar(cmd, far, fromFar, out); err != nil || !reason.Approved() {
			return reason, err
		}
	}
	t, err = b.changeTransaction(rec.Outcome.Position)
	if err != nil {
		return 0, err
	}
	t.givings = append(t.givings, pieces...)
	t.refunded += amount
	return points.Approved, nil
}

// giveBackLeg returns amount of what one programme paid.
func (b *Book) giveBackLeg(rec *Record, t *transaction, leg *TenderLeg, amount points.Amount, once bool, out *Outcome) ([]giving, points.Reason, error) {
	key := AccountKey{MemberAccount, leg.Program, uint64(rec.Outcome.Member)}
	a, err := b.needAccount(key)
	if err != nil {
		return nil, 0, err
	}
	if amount > 0 {
		if reason, err := b.postHouse(AccountKey{ClearingAccount, leg.Program, uint64(rec.Command.Acquirer)}, -amount, out); err != nil || !reason.Approved() {
			return nil, reason, err
		}
	}
	portions := t.portions(&rec.Outcome)
	pieces, err := b.returnable(portions, t, amount, leg.Program)
	if err != nil {
		return nil, 0, err
	}
	if reason, err := b.returnPieces(a, portions, pieces, out); err != nil || !reason.Approved() {
		return nil, reason, err
	}
	if once {
		b.change(a)
		a.countRedeemed(b.date, -amount, -1)
	}
	return pieces, points.Approved, nil
}

// covered is what has been given back of a sale that several programmes paid, in its
// unit; of no transaction, nothing.
func (t *transaction) covered() points.Amount {
	if t == nil {
		return 0
	}
	return t.refunded
}

// legsUsable checks the accounts behind the legs of a sale: what comes back must not
// open one that was closed. Of a sale of one programme it has nothing to say.
func (b *Book) legsUsable(rec *Record) (points.Reason, error) {
	legs, err := b.legsHere(&rec.Outcome)
	if err != nil {
		return 0, err
	}
	for i := range legs {
		a, err := b.needAccount(AccountKey{MemberAccount, legs[i].Program, uint64(rec.Outcome.Member)})
		if err != nil {
			return 0, err
		}
		if a.status == Closed {
			return points.AccountClosed, nil
		}
	}
	return points.Approved, nil
}

// reopenLegs opens the accounts of a sale that points came back to, see reopenAccount.
func (b *Book) reopenLegs(rec *Record) error {
	legs, err := b.legsHere(&rec.Outcome)
	if err != nil {
		return err
	}
	for i := range legs {
		a, err := b.needAccount(AccountKey{MemberAccount, legs[i].Program, uint64(rec.Outcome.Member)})
		if err != nil {
			return err
		}
		if err := b.reopenAccount(a); err != nil {
			return err
		}
	}
	return nil
}

// recountLegs counts a sale for the date's limits again, whose void was reversed.
func (b *Book) recountLegs(sale *Record) error {
	legs, err := b.legsHere(&sale.Outcome)
	if err != nil {
		return err
	}
	for i := range legs {
		leg := &legs[i]
		a, err := b.needAccount(AccountKey{MemberAccount, leg.Program, uint64(sale.Outcome.Member)})
		if err != nil {
			return err
		}
		b.change(a)
		a.countRedeemed(b.date, leg.Amount, 1)
	}
	return nil
}
