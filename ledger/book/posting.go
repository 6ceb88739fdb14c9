package book

import "github.com/lianfen/lianfen/points"

// addTotal changes a sum of the trial balance; roll-back restores it.
func (b *Book) addTotal(of *points.Amount, amount points.Amount) points.Reason {
	after, ok := of.Add(amount)
	if !ok {
		return points.BalanceOverflow
	}
	b.undo.totals = append(b.undo.totals, totalImage{of, *of})
	*of = after
	return points.Approved
}

func (b *Book) post(key AccountKey, amount, after points.Amount, out *Outcome) points.Reason {
	if amount == 0 {
		return points.Approved
	}
	out.Postings = append(out.Postings, Posting{Account: key, Amount: amount, After: after})
	return b.addTotal(&b.totals.balances[programIndex(key.Program)][key.Kind], amount)
}

// postMember books what a's lots or holds have gained or lost by now.
func (b *Book) postMember(a *account, amount points.Amount, out *Outcome) points.Reason {
	return b.post(a.key, amount, a.free+a.held, out)
}

// postDebt books a repayment (amount > 0) or a new debt (amount < 0).
func (b *Book) postDebt(a *account, amount points.Amount, out *Outcome) points.Reason {
	if amount == 0 {
		return points.Approved
	}
	debt, ok := a.debt.Sub(amount)
	if !ok {
		return points.BalanceOverflow
	}
	b.change(a)
	a.debt = debt
	key := a.key
	key.Kind = DebtAccount
	return b.post(key, amount, -debt, out)
}

// postHouse books amount on one of the house's accounts.
func (b *Book) postHouse(key AccountKey, amount points.Amount, out *Outcome) (points.Reason, error) {
	if amount == 0 {
		return points.Approved, nil
	}
	a, err := b.houseAccount(key)
	if err != nil {
		return 0, err
	}
	after, ok := a.free.Add(amount)
	if !ok {
		return points.BalanceOverflow, nil
	}
	b.change(a)
	a.free = after
	return b.post(key, amount, after, out), nil
}

// moveHeld changes what holds reserve of a's points.
func (b *Book) moveHeld(a *account, amount points.Amount) points.Reason {
	b.change(a)
	a.held += amount
	return b.addTotal(&b.totals.held[programIndex(a.key.Program)], amount)
}

// against is the account on the other side of an earn, redemption, capture or
// adjustment: of the kind that the command names, else of the usual kind.
func against(named, usual AccountKind, acquirer points.AcquirerID, program *Program) (AccountKey, points.Reason) {
	key := AccountKey{Kind: named, Program: program.ID, Party: uint64(program.Issuer)}
	if key.Kind == 0 {
		key.Kind = usual
	}
	switch key.Kind {
	case ClearingAccount:
		key.Party = uint64(acquirer)
		if acquirer == 0 {
			return key, points.ForeignIdentity
		}
	case IssuedAccount, BreakageAccount, FeeAccount, RoundingAccount, SponsorAccount, HouseAccount, SuspenseAccount:
	case MemberAccount, DebtAccount:
		return key, points.NotPermitted
	default:
		return key, points.NotPermitted
	}
	return key, points.Approved
}

// postLapsed books points that are over: lapsed, decayed, or come back too late.
//
//	member    -lapsed
//	breakage  +lapsed
func (b *Book) postLapsed(a *account, lapsed points.Amount, out *Outcome) (points.Reason, error) {
	if lapsed == 0 {
		return points.Approved, nil
	}
	if reason := b.postMember(a, -lapsed, out); !reason.Approved() {
		return reason, nil
	}
	return b.postHouse(b.issuersAccount(BreakageAccount, a.key.Program), lapsed, out)
}

// issuersAccount is an account that the issuer keeps for a programme.
func (b *Book) issuersAccount(kind AccountKind, program points.ProgramID) AccountKey {
	return AccountKey{kind, program, uint64(b.live.Programs[program].Issuer)}
}
