package book

import (
	"strings"

	"github.com/lianfen/lianfen/points"
)

// openAccount opens a member's account in a programme, or opens it again.
func (b *Book) openAccount(cmd *Command, out *Outcome) (points.Reason, error) {
	m, program, a, reason, err := b.operated(cmd, FreezeCredit, out)
	if err != nil || !reason.Approved() {
		return reason, err
	}
	if a == nil {
		b.newAccount(m, program)
		return points.Approved, nil
	}
	if a.status != Closed {
		return points.AlreadyExists, nil
	}
	b.change(a)
	a.status = Active
	a.freeze = 0
	b.listProgram(m, program)
	return points.Approved, nil
}

// operated finds what an account command is about; a is nil when the member has
// no account there.
func (b *Book) operated(cmd *Command, way Freeze, out *Outcome) (m *member, program points.ProgramID, a *account, reason points.Reason, err error) {
	m, reason, err = b.holder(cmd.Card, cmd.Member, way)
	if err != nil || !reason.Approved() {
		return nil, 0, nil, reason, err
	}
	out.Member = m.ID
	known, ok := b.live.Programs[cmd.Program]
	if !ok {
		return nil, 0, nil, points.UnknownProgram, nil
	}
	out.Program, out.Issuer = known.ID, known.Issuer
	if way != 0 && known.Status != Active {
		return nil, 0, nil, points.ProgramClosed, nil
	}
	if a, err = b.findAccount(AccountKey{MemberAccount, known.ID, uint64(m.ID)}); err != nil {
		return nil, 0, nil, 0, err
	}
	b.shown = a
	return m, known.ID, a, points.Approved, nil
}

// freezeAccount sets what an account may not do; without a programme, what the
// member may not do anywhere.
func (b *Book) freezeAccount(cmd *Command, out *Outcome) (points.Reason, error) {
	if cmd.Freeze > FreezeDebit|FreezeCredit {
		return points.NotPermitted, nil
	}
	if cmd.Program == 0 {
		m, reason, err := b.holder(cmd.Card, cmd.Member, 0)
		if err != nil || !reason.Approved() {
			return reason, err
		}
		out.Member = m.ID
		b.touch(m)
		m.Freeze = cmd.Freeze
		return points.Approved, nil
	}
	_, _, a, reason, err := b.operated(cmd, 0, out)
	switch {
	case err != nil || !reason.Approved():
		return reason, err
	case a == nil:
		return points.UnknownAccount, nil
	case a.status == Closed:
		return points.AccountClosed, nil
	}
	b.change(a)
	a.freeze = cmd.Freeze
	return points.Approved, nil
}

// closeAccount closes an account that holds and owes nothing.
func (b *Book) closeAccount(cmd *Command, out *Outcome) (points.Reason, error) {
	m, program, a, reason, err := b.operated(cmd, 0, out)
	switch {
	case err != nil || !reason.Approved():
		return reason, err
	case a == nil:
		return points.UnknownAccount, nil
	case a.status == Closed:
		return points.AccountClosed, nil
	case a.free != 0 || a.held != 0 || a.debt != 0:
		return points.NotPermitted, nil
	}
	b.change(a)
	a.status = Closed
	b.unlistProgram(m, program)
	return points.Approved, nil
}

// signOn tells a terminal its batch, and gives it the keys that follow from the position.
func (b *Book) signOn(cmd *Command, out *Outcome) (points.Reason, error) {
	if cmd.Terminal == (points.TerminalID{}) {
		return points.UnknownTerminal, nil
	}
	if reason := b.participants(cmd); !reason.Approved() {
		return reason, nil
	}
	s, err := b.findBatches(batchesKey{cmd.Acquirer, cmd.Merchant, cmd.Terminal})
	if err != nil {
		return 0, err
	}
	out.Batch = s.nextBatch(b.live.Terminals[cmd.Terminal].Batch)
	if s != nil {
		out.Parameters = s.parameters
	}
	if s != nil && cmd.Master != 0 && cmd.Master < s.keys.Master {
		return points.BadMAC, nil // it has proved a later one since
	}
	if cmd.KeySet == 0 {
		return points.Approved, nil
	}
	if s, err = b.changeBatches(batchesKey{cmd.Acquirer, cmd.Merchant, cmd.Terminal}); err != nil {
		return 0, err
	}
	s.keys = TerminalKeys{Set: cmd.KeySet, Generation: b.position + 1, Master: max(cmd.Master, s.keys.Master)}
	return points.Approved, nil
}

// twoPeople checks that somebody asked and somebody else approved. Where operators are
// enrolled that is not taken from the command's word (I14).
func (b *Book) twoPeople(cmd *Command) points.Reason {
	if b.enrolled() {
		return b.mayAct(cmd)
	}
	asked, approved := strings.TrimSpace(cmd.Operator), strings.TrimSpace(cmd.Second)
	if asked == "" || approved == "" || strings.EqualFold(asked, approved) {
		return points.NeedsSecondPerson
	}
	return points.Approved
}

// adjust corrects a balance, up (amount > 0) or down.
//
//	issued  -amount
//	member  +amount
func (b *Book) adjust(cmd *Command, out *Outcome) (points.Reason, error) {
	if reason := b.twoPeople(cmd); !reason.Approved() {
		return reason, nil
	}
	if reason := b.opened(); !reason.Approved() {
		return reason, nil
	}
	if cmd.Amount == 0 || cmd.Amount > points.MaxAmount || cmd.Amount < -points.MaxAmount {
		return points.BadAmount, nil
	}
	s, reason, err := b.subject(cmd, 0, out)
	if err != nil || !reason.Approved() {
		return reason, err
	}
	other, reason := against(cmd.Against, IssuedAccount, cmd.Acquirer, s.program)
	if !reason.Approved() {
		return reason, nil
	}
	out.Amount = cmd.Amount
	if cmd.Amount < 0 {
		if reason := s.account.points51(-cmd.Amount, b.date); !reason.Approved() {
			return reason, nil
		}
		b.take(s.account, -cmd.Amount, false, out)
		if reason := b.postMember(s.account, cmd.Amount, out); !reason.Approved() {
			return reason, nil
		}
		return b.postHouse(other, -cmd.Amount, out)
	}
	key, reason := b.earnedLot(cmd, s.program, Adjusted)
	if !reason.Approved() {
		return reason, nil
	}
	if reason, err = b.postHouse(other, -cmd.Amount, out); err != nil || !reason.Approved() {
		return reason, err
	}
	return b.credit(s.account, key, cmd.Amount, out), nil
}

// reinstate brings expired points back as a new lot; Original is the command that
// expired them, and all reinstatements together are never more than it took.
//
//	breakage  -amount
//	member    +amount
func (b *Book) reinstate(cmd *Command, out *Outcome) (points.Reason, error) {
	if reason := b.twoPeople(cmd); !reason.Approved() {
		return reason, nil
	}
	if reason := validAmount(cmd.Amount); !reason.Approved() {
		return reason, nil
	}
	s, reason, err := b.subject(cmd, 0, out)
	if err != nil || !reason.Approved() {
		return reason, err
	}
	position, ok, err := b.target(cmd)
	if !ok || err != nil {
		return points.UnknownOriginal, err
	}
	rec, err := b.record(position)
	if err != nil {
		return 0, err
	}
	out.Original = position
	if rec.Command.Kind != KindExpireLots || !rec.Outcome.Reason.Approved() {
		return points.OriginalDiffers, nil
	}
	t, err := b.findTransaction(position)
	if err != nil {
		return 0, err
	}
	pieces, reason := reinstated(rec, t, s.account.key, b.position+1, cmd.Amount)
	if !reason.Approved() {
		return reason, nil
	}
	key, reason := b.earnedLot(cmd, s.program, Adjusted)
	if !reason.Approved() {
		return reason, nil
	}
	out.Amount = cmd.Amount
	breakage := b.issuersAccount(BreakageAccount, s.program.ID)
	if reason, err = b.postHouse(breakage, -cmd.Amount, out); err != nil || !reason.Approved() {
		return reason, err
	}
	if reason := b.give(s.account, key, cmd.Amount, false, true, out); !reason.Approved() {
		return reason, nil
	}
	if reason := b.postMember(s.account, cmd.Amount, out); !reason.Approved() {
		return reason, nil
	}
	if t, err = b.changeTransaction(position); err != nil {
		return 0, err
	}
	t.givings = append(t.givings, pieces...)
	return points.Approved, nil
}

// reinstated finds amount in what rec expired of one account.
func reinstated(rec *Record, t *transaction, key AccountKey, by points.Position, amount points.Amount) ([]giving, points.Reason) {
	var pieces []giving
	for i, move := range rec.Outcome.Lots {
		if move.Account != key || move.Amount > 0 || amount == 0 {
			continue
		}
		index := uint32(i)
		left := -move.Amount
		if t != nil {
			left -= t.returnedOf(index)
		}
		if part := min(left, amount); part > 0 {
			pieces = append(pieces, giving{by, index, part})
			amount -= part
		}
	}
	if amount > 0 {
		return nil, points.AmountOverOriginal
	}
	return pieces, points.Approved
}

// settle moves a clearing account towards zero after a settlement: Amount of
// either sign, or all of it when it is 0.
//
//	clearing(acquirer)  -amount
//	issued              +amount
func (b *Book) settle(cmd *Command, out *Outcome) (points.Reason, error) {
	if reason := b.opened(); !reason.Approved() {
		return reason, nil
	}
	program, ok := b.live.Programs[cmd.Program]
	if !ok {
		return points.UnknownProgram, nil
	}
	if _, ok := b.live.Acquirers[cmd.Acquirer]; !ok {
		return points.ForeignIdentity, nil
	}
	out.Program, out.Issuer = program.ID, program.Issuer
	clearing := AccountKey{ClearingAccount, program.ID, uint64(cmd.Acquirer)}
	amount := cmd.Amount
	if amount == 0 {
		a, err := b.houseAccount(clearing)
		if err != nil {
			return 0, err
		}
		amount = a.free
	}
	opposite, ok := amount.Neg()
	if !ok {
		return points.BalanceOverflow, nil
	}
	out.Amount = amount
	if reason, err := b.postHouse(clearing, opposite, out); err != nil || !reason.Approved() {
		return reason, err
	}
	return b.postHouse(b.issuersAccount(IssuedAccount, program.ID), amount, out)
}

// group carries out its members all or not at all. The outcome tells of the
// first member, with the postings of all.
func (b *Book) group(cmd *Command, out *Outcome) (points.Reason, error) {
	var first Outcome
	var shown *account
	b.risk.group = true
	defer func() { b.risk.group = false }()
	for i := range cmd.Group {
		switch cmd.Group[i].Kind {
		case KindOpen, KindEarn, KindRedeem, KindTransfer, KindAdjust:
		default:
			return points.NotPermitted, nil
		}
		reason, err := b.dispatch(&cmd.Group[i], out)
		if err != nil || !reason.Approved() {
			return reason, err
		}
		if i == 0 {
			first, shown = *out, b.shown
		}
	}
	out.Member, out.Program, out.Issuer, out.Amount = first.Member, first.Program, first.Issuer, first.Amount
	b.shown = shown
	return points.Approved, nil
}
