package book

import (
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// earn credits points: a debt is repaid first, the rest becomes a lot.
//
//	clearing(acquirer)  -amount
//	debt                +repaid
//	member              +rest
//
// Where the programme has a tier unit, the same record gives as much of it.
func (b *Book) earn(cmd *Command, out *Outcome) (points.Reason, error) {
	s, reason, err := b.admit(cmd, FreezeCredit, out)
	if err != nil || !reason.Approved() {
		return reason, err
	}
	other, reason := against(cmd.Against, ClearingAccount, cmd.Acquirer, s.program)
	if !reason.Approved() {
		return reason, nil
	}
	if limit := s.program.Rules.MaxAmount; limit > 0 && cmd.Amount > limit {
		return points.OverAmountLimit, nil
	}
	if reason, err := b.judge(cmd, s.program.ID, cmd.Amount, out); err != nil || !reason.Approved() {
		return reason, err
	}
	key, reason := b.earnedLot(cmd, s.program, Earned)
	if !reason.Approved() {
		return reason, nil
	}
	if other.Kind == ClearingAccount {
		if reason := b.mayOwe(cmd, tariff.KindEAR, s.program, cmd.Amount); !reason.Approved() {
			return reason, nil
		}
	}
	if s.account == nil {
		s.account = b.newAccount(s.member, s.program.ID)
	}
	out.Amount = cmd.Amount
	if reason, err = b.postHouse(other, -cmd.Amount, out); err != nil || !reason.Approved() {
		return reason, err
	}
	if reason := b.credit(s.account, key, cmd.Amount, out); !reason.Approved() || s.program.Rules.Tier == 0 {
		return reason, nil
	}
	return b.qualify(cmd, s, out)
}

// qualify gives the member of an earn as many tier-qualifying points, in an
// account that is opened where there is none. They are the issuer's own: no
// acquirer settles them.
//
//	issued  -amount   in the tier unit
//	debt    +repaid
//	member  +rest
func (b *Book) qualify(cmd *Command, s subject, out *Outcome) (points.Reason, error) {
	unit, reason := b.programAt(points.MerchantID{}, s.program.Rules.Tier)
	if !reason.Approved() {
		return reason, nil
	}
	a, err := b.findAccount(AccountKey{MemberAccount, unit.ID, uint64(s.member.ID)})
	switch {
	case err != nil:
		return 0, err
	case a == nil:
		a = b.newAccount(s.member, unit.ID)
		b.shown = s.account // the outcome tells of what was earned
	case a.status == Closed:
		return points.AccountClosed, nil
	case a.freeze&FreezeCredit != 0:
		return points.AccountFrozen, nil
	}
	key, reason := b.earnedLot(&Command{Origin: cmd.Origin}, unit, Earned)
	if !reason.Approved() {
		return reason, nil
	}
	if reason, err := b.postHouse(b.issuersAccount(IssuedAccount, unit.ID), -cmd.Amount, out); err != nil || !reason.Approved() {
		return reason, err
	}
	return b.credit(a, key, cmd.Amount, out), nil
}

// credit gives points to a member: a debt is repaid first.
func (b *Book) credit(a *account, key LotKey, amount points.Amount, out *Outcome) points.Reason {
	repaid := min(a.debt, amount)
	if reason := b.postDebt(a, repaid, out); !reason.Approved() {
		return reason
	}
	amount -= repaid
	if reason := b.give(a, key, amount, false, true, out); !reason.Approved() {
		return reason
	}
	return b.postMember(a, amount, out)
}

// earnedLot is the lot that new points become: as the command says, else by the
// programme's rules.
func (b *Book) earnedLot(cmd *Command, program *Program, usual Origin) (LotKey, points.Reason) {
	key := LotKey{Origin: cmd.Origin, ActiveOn: cmd.ActiveOn, ExpiresOn: cmd.ExpiresOn}
	if key.Origin == 0 {
		key.Origin = usual
	}
	if key.Origin > Adjusted {
		return key, points.NotPermitted
	}
	if (key.ActiveOn != 0 && !key.ActiveOn.Valid()) || (key.ExpiresOn != 0 && !key.ExpiresOn.Valid()) {
		return key, points.FormatError
	}
	terms := b.termsOf(program)
	if key.ActiveOn == 0 {
		key.ActiveOn = terms.active
	}
	if key.ExpiresOn == 0 {
		key.ExpiresOn = terms.expires
	}
	if key.lapsed(b.date) {
		return key, points.PointsExpired
	}
	if key.ExpiresOn != 0 && key.ActiveOn > key.ExpiresOn {
		return key, points.NotPermitted
	}
	key.DecaysOn = terms.decays
	if cmd.ActiveOn != 0 {
		key.DecaysOn = program.Rules.firstDecay(max(key.ActiveOn, b.date))
	}
	return key.normal(b.date).untilExpiry(), points.Approved
}

// termsOf works out the dates once per programme and day.
func (b *Book) termsOf(program *Program) *terms {
	t := &b.terms[programIndex(program.ID)]
	if t.of == program && t.date == b.date {
		return t
	}
	*t = terms{of: program, date: b.date}
	rules := &program.Rules
	if rules.PendingDays > 0 {
		t.active = b.date.AddDays(int(rules.PendingDays))
	}
	if rules.ValidMonths > 0 {
		t.expires = b.date.AddMonths(int(rules.ValidMonths))
		if rules.ExpiryAtMonth {
			t.expires = t.expires.MonthEnd()
		}
	}
	t.decays = rules.firstDecay(max(t.active, b.date))
	return t
}

// redeem spends points, those that go first by rank first (I5).
//
//	member              -amount
//	clearing(acquirer)  +amount
func (b *Book) redeem(cmd *Command, out *Outcome) (points.Reason, error) {
	if len(cmd.Tender) > 0 {
		return b.tender(cmd, out)
	}
	s, reason, err := b.admit(cmd, FreezeDebit, out)
	if err != nil || !reason.Approved() {
		return reason, err
	}
	other, reason := against(cmd.Against, ClearingAccount, cmd.Acquirer, s.program)
	if !reason.Approved() {
		return reason, nil
	}
	amount, approval := cmd.Amount, points.Approved
	if there := s.account.spendable(b.date); cmd.PartialOK && there > 0 && there < amount {
		amount, approval = there, points.ApprovedPartly
	}
	if reason, err := b.mayRedeem(cmd, s, amount, out); err != nil || !reason.Approved() {
		return reason, err
	}
	if other.Kind == ClearingAccount {
		if reason := b.mayOwe(cmd, tariff.KindRDM, s.program, amount); !reason.Approved() {
			return reason, nil
		}
	}
	out.Amount = amount
	b.take(s.account, amount, false, out)
	s.account.countRedeemed(b.date, amount, 1)
	if reason := b.postMember(s.account, -amount, out); !reason.Approved() {
		return reason, nil
	}
	if reason, err = b.postHouse(other, amount, out); err != nil || !reason.Approved() {
		return reason, err
	}
	return approval, nil
}

// mayRedeem checks kind of points, minimum, the programme's limits, the rules on risk, PIN
// and points, in this order.
func (b *Book) mayRedeem(cmd *Command, s subject, amount points.Amount, out *Outcome) (points.Reason, error) {
	if s.program.Rules.Qualifying {
		return points.NotPermitted, nil
	}
	if amount < s.program.Rules.MinRedeem {
		return points.BelowMinimum, nil
	}
	if reason := s.account.spending(&s.program.Rules, amount, b.date); !reason.Approved() {
		return reason, nil
	}
	if reason, err := b.judge(cmd, s.program.ID, amount, out); err != nil || !reason.Approved() {
		return reason, err
	}
	if reason, err := b.pinned(cmd, s.program, amount); err != nil || !reason.Approved() {
		return reason, err
	}
	return s.account.points51(amount, b.date), nil
}

// balance reads what the member has, in the programme asked for and elsewhere.
func (b *Book) balance(cmd *Command, out *Outcome) (points.Reason, error) {
	if reason := b.participants(cmd); !reason.Approved() {
		return reason, nil
	}
	if cmd.Function == points.SwapEnquiry {
		return b.legStands(cmd)
	}
	s, reason, err := b.subject(cmd, looking, out)
	if err != nil || !reason.Approved() {
		return reason, err
	}
	if reason, err := b.pinned(cmd, nil, 0); err != nil || !reason.Approved() {
		return reason, err
	}
	for _, program := range s.member.programs {
		if program == s.program.ID {
			continue
		}
		a, err := b.findAccount(AccountKey{MemberAccount, program, uint64(s.member.ID)})
		if err != nil {
			return 0, err
		}
		if a != nil {
			out.Others = append(out.Others, Balance{Program: program, Free: a.spendable(b.date), Held: a.held})
		}
	}
	return points.Approved, nil
}

// transfer gives points to another member of the same programme. Lots keep what
// they are.
//
//	member (gives)     -amount
//	member (receives)  +amount
func (b *Book) transfer(cmd *Command, out *Outcome) (points.Reason, error) {
	s, reason, err := b.admit(cmd, FreezeDebit, out)
	if err != nil || !reason.Approved() {
		return reason, err
	}
	to, reason, err := b.recipient(cmd, s)
	if err != nil || !reason.Approved() {
		return reason, err
	}
	rules, day := &s.program.Rules, s.account.today(b.date)
	switch {
	case rules.TransferMax > 0 && cmd.Amount > rules.TransferMax:
		return points.OverAmountLimit, nil
	case rules.TransferDay > 0 && (cmd.Amount > rules.TransferDay || day.given > rules.TransferDay-cmd.Amount):
		return points.OverAmountLimit, nil
	}
	if reason, err := b.judge(cmd, s.program.ID, cmd.Amount, out); err != nil || !reason.Approved() {
		return reason, err
	}
	if reason, err := b.pinned(cmd, s.program, cmd.Amount); err != nil || !reason.Approved() {
		return reason, err
	}
	if reason := s.account.points51(cmd.Amount, b.date); !reason.Approved() {
		return reason, nil
	}
	out.Amount = cmd.Amount
	b.take(s.account, cmd.Amount, false, out)
	day.given = saturated(day.given, cmd.Amount)
	s.account.day = day
	for _, given := range b.taken {
		if reason := b.give(to, given.key, given.amount, false, true, out); !reason.Approved() {
			return reason, nil
		}
	}
	if reason := b.postMember(s.account, -cmd.Amount, out); !reason.Approved() {
		return reason, nil
	}
	return b.postMember(to, cmd.Amount, out), nil
}

// recipient finds the account that a transfer goes to.
func (b *Book) recipient(cmd *Command, s subject) (*account, points.Reason, error) {
	if !s.program.Rules.Transfer || s.program.Rules.Qualifying {
		return nil, points.NotPermitted, nil
	}
	m, reason, err := b.holder(cmd.ToCard, cmd.ToMember, FreezeCredit)
	if err != nil || !reason.Approved() {
		return nil, reason, err
	}
	if m == s.member {
		return nil, points.NotPermitted, nil
	}
	a, err := b.findAccount(AccountKey{MemberAccount, s.program.ID, uint64(m.ID)})
	switch {
	case err != nil:
		return nil, 0, err
	case a == nil:
		return nil, points.UnknownAccount, nil
	case a.status == Closed:
		return nil, points.AccountClosed, nil
	case a.freeze&FreezeCredit != 0:
		return nil, points.AccountFrozen, nil
	}
	return a, points.Approved, nil
}
