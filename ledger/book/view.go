package book

import (
	"maps"
	"slices"

	"github.com/lianfen/lianfen/points"
)

// Lot is what an account holds of one kind of points.
type Lot struct {
	Key    LotKey
	Amount points.Amount
}

// AccountView is an account as it is now. Balance is Free+Held of a member's
// account, and the signed balance of any other.
type AccountView struct {
	Key     AccountKey
	Balance points.Amount
	Free    points.Amount // sum of Lots
	Usable  points.Amount // what of Free can be spent on the business date
	Held    points.Amount
	Debt    points.Amount
	Status  Status
	Freeze  Freeze
	Lots    []Lot // in order of consumption
	// What counts for the limits of the business date.
	Redeemed    points.Amount
	Redemptions uint32
	Given       points.Amount
}

// Account returns an account; ok is false when there is none. The debt account
// of a member exists when the member's account does.
func (b *Book) Account(key AccountKey) (view AccountView, ok bool, err error) {
	b.trim()
	var a *account
	switch key.Kind {
	case MemberAccount, DebtAccount:
		a, err = b.findAccount(AccountKey{MemberAccount, key.Program, key.Party})
	default:
		if a = b.house[key]; a == nil {
			a = &account{key: key}
			if ok, err = b.load(a); !ok {
				a = nil
			}
		}
	}
	if a == nil || err != nil {
		return AccountView{}, false, err
	}
	if key.Kind == DebtAccount {
		return AccountView{Key: key, Balance: -a.debt, Debt: a.debt, Status: a.status}, true, nil
	}
	day := a.today(b.date)
	view = AccountView{
		Key: key, Balance: a.free + a.held, Free: a.free, Usable: a.spendable(b.date), Held: a.held, Debt: a.debt,
		Status: a.status, Freeze: a.freeze, Redeemed: day.redeemed, Redemptions: day.redemption, Given: day.given,
	}
	for _, l := range a.lots {
		view.Lots = append(view.Lots, Lot{l.key, l.amount})
	}
	return view, true, nil
}

// Card returns a card; ok is false when there is none.
func (b *Book) Card(token points.CardToken) (view Card, ok bool, err error) {
	b.trim()
	c, err := b.findCard(token)
	if c == nil || err != nil {
		return Card{}, false, err
	}
	return c.Card, true, nil
}

// MemberView is a member and the programmes with an open account, ascending.
type MemberView struct {
	Member
	Programs []points.ProgramID
}

// Member returns a member; ok is false when there is none.
func (b *Book) Member(id points.MemberID) (view MemberView, ok bool, err error) {
	b.trim()
	m, err := b.findMember(id)
	if m == nil || err != nil {
		return MemberView{}, false, err
	}
	return MemberView{m.Member, slices.Clone(m.programs)}, true, nil
}

// HoldView is a hold as it is now.
type HoldView struct {
	Position points.Position
	Account  AccountKey
	Merchant points.MerchantID
	Terminal points.TerminalID
	Placed   points.BusinessDate
	Due      points.BusinessDate // last day of use
	Open     bool
	Reserved points.Amount
	Captured points.Amount
	Left     points.Amount
	Lots     []Lot // in order of consumption
}

// Hold returns the hold placed at position; ok is false when there is none.
func (b *Book) Hold(position points.Position) (view HoldView, ok bool, err error) {
	b.trim()
	h, err := b.findHold(position)
	if h == nil || err != nil {
		return HoldView{}, false, err
	}
	view = HoldView{
		Position: position, Account: h.account, Merchant: h.merchant, Terminal: h.terminal, Placed: h.placed, Due: h.due,
		Open: h.state == holdOpen, Reserved: h.reserved, Captured: h.captured, Left: h.left,
	}
	for _, l := range h.lots {
		view.Lots = append(view.Lots, Lot{l.key, l.amount})
	}
	return view, true, nil
}

// TransactionView is what has happened to a transaction since.
type TransactionView struct {
	Position points.Position
	Returned points.Amount   // by void, refunds and reversal together
	Voided   points.Position // by which command; 0: not
	Reversed points.Position
	Reduced  points.Amount // by reversals of a part
}

// Transaction tells what has happened to the transaction at position; a
// transaction that nothing has happened to has zeros.
func (b *Book) Transaction(position points.Position) (TransactionView, error) {
	b.trim()
	t, err := b.findTransaction(position)
	if t == nil || err != nil {
		return TransactionView{Position: position}, err
	}
	return TransactionView{position, t.returned(), t.voided, t.reversed, t.reduced}, nil
}

// Total is one line of the trial balance.
type Total struct {
	Program points.ProgramID
	Kind    AccountKind
	Amount  points.Amount // credit positive
}

// Totals returns the trial balance: per programme, ascending, one line for each
// kind of account that has a balance. The lines of a programme sum to zero.
func (b *Book) Totals() []Total { return b.totals.lines() }

func (t *totals) lines() []Total {
	var lines []Total
	for i := range t.balances {
		for kind := MemberAccount; kind <= SuspenseAccount; kind++ {
			if amount := t.balances[i][kind]; amount != 0 {
				lines = append(lines, Total{points.MinProgram + points.ProgramID(i), kind, amount})
			}
		}
	}
	return lines
}

// Registry returns the reference data as it is now. What was returned before
// stays as it was; it is copied only when something has changed since.
func (b *Book) Registry() *Registry {
	if b.published == nil || b.published.Version != b.live.Version {
		b.published = &Registry{
			Version:   b.live.Version,
			Issuers:   maps.Clone(b.live.Issuers),
			Acquirers: maps.Clone(b.live.Acquirers),
			Programs:  maps.Clone(b.live.Programs),
			Merchants: maps.Clone(b.live.Merchants),
			Terminals: maps.Clone(b.live.Terminals),
			Routes:    slices.Clone(b.live.Routes),
			Operators: maps.Clone(b.live.Operators),
			Policy:    b.live.Policy,
			Risk:      b.live.Risk,
			Disputes:  b.live.Disputes,
			Caps:      maps.Clone(b.live.Caps),
			Fund:      b.live.Fund,
			Grants:    maps.Clone(b.live.Grants),
		}
		if b.live.Rates != nil {
			b.published.Rates = b.live.Rates.Clone()
		}
		if b.live.Fees != nil {
			b.published.Fees = b.live.Fees.Clone()
		}
		if b.live.Swaps != nil {
			b.published.Swaps = b.live.Swaps.Clone()
		}
	}
	return b.published
}
