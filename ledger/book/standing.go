package book

import (
	"errors"
	"fmt"
	"slices"

	"github.com/lianfen/lianfen/points"
)

// Checkpointed is a state as a checkpoint has left it in the store. It must not
// change while a [Standing] or a [TrialBalance] is made of it.
type Checkpointed interface {
	// State reads the value of an entity, as of [Source].
	State(key []byte) (value []byte, ok bool, err error)
}

// Standing is a member with its accounts, made beside the book: read from a
// checkpoint, and brought forward with the records behind it that are about the
// member. It is for readers who must not hold up the applying goroutine.
//
// What counts for the limits of a business date is not in it. An account that is
// opened where no record says whose (in a group, by card; or again, by undoing an
// earn that left nothing to take) is seen from its first point or the next
// checkpoint on.
type Standing struct {
	Member MemberView
	Known  bool // there is such a member

	source   Source
	accounts map[points.ProgramID]*account
}

// readOnly makes a Source of a state.
type readOnly struct{ Checkpointed }

// Record fails: a state has none.
func (readOnly) Record(position points.Position, _ *Record) error {
	return fmt.Errorf("a state holds no record %d", position)
}

// load reads an entity of a checkpointed state.
func load(source Source, e readable) (bool, error) { return (&Book{source: source}).load(e) }

// ReadStanding reads what a member had at the checkpoint.
func ReadStanding(state Checkpointed, id points.MemberID) (*Standing, error) {
	s := &Standing{source: readOnly{state}, accounts: make(map[points.ProgramID]*account)}
	m := &member{Member: Member{ID: id}}
	ok, err := load(s.source, m)
	if err != nil {
		return nil, err
	}
	s.Member, s.Known = MemberView{m.Member, m.programs}, ok
	return s, nil
}

// ReadCard reads a card as it was at the checkpoint; ok is false when there was
// none. A later record that puts it holds what it is since.
func ReadCard(state Checkpointed, token points.CardToken) (view Card, ok bool, err error) {
	c := &card{Card: Card{Token: token}}
	if ok, err = load(readOnly{state}, c); !ok || err != nil {
		return Card{}, false, err
	}
	return c.Card, true, nil
}

// Account returns the member's account in a programme, with what can be used on
// date; ok is false when there is none.
func (s *Standing) Account(program points.ProgramID, date points.BusinessDate) (view AccountView, ok bool, err error) {
	a, err := s.account(program)
	if err != nil || a.status == 0 {
		return AccountView{}, false, err
	}
	view = AccountView{
		Key: a.key, Balance: a.free + a.held, Free: a.free, Usable: a.spendable(date), Held: a.held, Debt: a.debt, Status: a.status, Freeze: a.freeze,
	}
	for _, l := range a.lots {
		view.Lots = append(view.Lots, Lot{l.key, l.amount})
	}
	return view, true, nil
}

// account reads an account at its first use. One that is not there has no status.
func (s *Standing) account(program points.ProgramID) (*account, error) {
	if a, ok := s.accounts[program]; ok {
		return a, nil
	}
	a := &account{key: AccountKey{MemberAccount, program, uint64(s.Member.ID)}}
	if _, err := load(s.source, a); err != nil {
		return nil, err
	}
	s.accounts[program] = a
	return a, nil
}

// Follow brings the standing forward by one record. Records come in order, from
// behind the checkpoint on; those that are not about the member may be left out.
// It is an error when the accounts are then not what the record says that they are.
func (s *Standing) Follow(rec *Record) error {
	cmd, out := &rec.Command, &rec.Outcome
	if !out.Reason.Approved() {
		return nil
	}
	if err := s.operate(cmd, out); err != nil {
		return err
	}
	var programs []points.ProgramID
	for i := range out.Lots {
		programs = s.touched(programs, out.Lots[i].Account)
	}
	for i := range out.Postings {
		programs = s.touched(programs, out.Postings[i].Account)
	}
	for _, program := range programs {
		a, err := s.account(program)
		if err != nil {
			return err
		}
		s.open(a)
		if err := a.follow(rec); err != nil {
			return fmt.Errorf("book: the account of member %d in programme %d at position %d: %w", s.Member.ID, program, out.Position, err)
		}
	}
	return nil
}

// touched appends the programme of an account, if it is the member's and new.
func (s *Standing) touched(programs []points.ProgramID, key AccountKey) []points.ProgramID {
	mine := key.Party == uint64(s.Member.ID) && (key.Kind == MemberAccount || key.Kind == DebtAccount)
	if !mine || slices.Contains(programs, key.Program) {
		return programs
	}
	return append(programs, key.Program)
}

// operate follows what commands do to a member and its accounts, other than
// moving points.
func (s *Standing) operate(cmd *Command, out *Outcome) error {
	id := s.Member.ID
	if v := cmd.Entry.Member; cmd.Kind == KindPut && v != nil && v.ID == id {
		s.Member.Member, s.Known = *v, true
		return nil
	}
	for i := range cmd.Group {
		if g := &cmd.Group[i]; g.Kind == KindOpen && g.Member == id {
			if err := s.operated(g, g.Program); err != nil {
				return err
			}
		}
	}
	if out.Member != id {
		return nil
	}
	if cmd.Kind == KindFreeze && cmd.Program == 0 {
		s.Member.Freeze = cmd.Freeze
		return nil
	}
	return s.operated(cmd, out.Program)
}

// operated follows a command about one account.
func (s *Standing) operated(cmd *Command, program points.ProgramID) error {
	switch cmd.Kind {
	case KindOpen, KindFreeze, KindClose:
	default:
		return nil
	}
	a, err := s.account(program)
	if err != nil {
		return err
	}
	switch cmd.Kind {
	case KindOpen:
		a.freeze = 0
		s.open(a)
	case KindFreeze:
		a.freeze = cmd.Freeze
	default:
		a.status = Closed
		if i, found := slices.BinarySearch(s.Member.Programs, program); found {
			s.Member.Programs = slices.Delete(s.Member.Programs, i, i+1)
		}
	}
	return nil
}

// open lists an account: one that points move in is open, whatever it was before.
func (s *Standing) open(a *account) {
	a.status = Active
	if i, found := slices.BinarySearch(s.Member.Programs, a.key.Program); !found {
		s.Member.Programs = slices.Insert(s.Member.Programs, i, a.key.Program)
	}
}

// errOther says that a record and the accounts that it is about do not fit.
var errOther = errors.New("the state and the journal do not fit")

// follow carries out a record's moves and takes over its balances.
func (a *account) follow(rec *Record) error {
	out := &rec.Outcome
	holds := a.ofHolds(rec)
	for i := range out.Lots {
		move := &out.Lots[i]
		switch {
		case move.Account != a.key:
			continue
		case move.Held:
			a.held -= move.Amount
		case holds != 0:
			holds -= move.Amount
			a.held += move.Amount
			continue
		}
		a.free += move.Amount
		if !a.move(move.Lot, move.Amount) {
			return fmt.Errorf("%w: a lot gives %d that it does not have", errOther, -move.Amount)
		}
	}
	balance := a.free + a.held
	debt := a.key
	debt.Kind = DebtAccount
	for i := range out.Postings {
		switch p := &out.Postings[i]; p.Account {
		case a.key:
			balance = p.After
		case debt:
			a.debt = -p.After
		}
	}
	if balance != a.free+a.held || a.held < 0 {
		return fmt.Errorf("%w: free %d and held %d come out, and a balance of %d stands there", errOther, a.free, a.held, balance)
	}
	return nil
}

// ofHolds is how much of what a record moved was moved in holds rather than among
// what is free: below zero, a capture took it out of them; above, the undoing of
// one put it back. These moves come before the others that are not [LotMove.Held].
func (a *account) ofHolds(rec *Record) points.Amount {
	out := &rec.Outcome
	switch rec.Command.Carried().Kind {
	case KindConclude: // It spends what a tender has reserved, and nothing else.
		var moved points.Amount
		for i := range out.Lots {
			if move := &out.Lots[i]; move.Account == a.key && !move.Held {
				moved += move.Amount
			}
		}
		return moved
	case KindCapture, KindVoid, KindReverse, KindSwap, KindSwapTold, KindResolve:
	default:
		return 0
	}
	if uint64(out.Member) != a.key.Party || out.Program != a.key.Program {
		return 0
	}
	moved := out.Held - a.held
	for i := range out.Lots {
		if move := &out.Lots[i]; move.Account == a.key && move.Held {
			moved += move.Amount
		}
	}
	return moved
}

// move adds amount to the lot with exactly this key, or takes it from there, and
// reports whether there was enough.
func (a *account) move(key LotKey, amount points.Amount) bool {
	if amount > 0 {
		a.lots = insertLot(a.lots, key, amount)
		return true
	}
	i := slices.IndexFunc(a.lots, func(l lot) bool { return l.key == key })
	if i < 0 || a.lots[i].amount+amount < 0 {
		return false
	}
	a.lots[i].amount += amount
	a.lots = dropEmpty(a.lots)
	return true
}

// TrialBalance is the sum of all accounts, made beside the book as a [Standing]
// is: read from a checkpoint, and brought forward with every record behind it.
type TrialBalance struct {
	Position points.Position
	Date     points.BusinessDate
	totals   totals
}

// ReadTrialBalance reads the sums as they were at the checkpoint; ok is false, and
// the sums are those of an empty book, when there is none.
func ReadTrialBalance(state Checkpointed) (t TrialBalance, ok bool, err error) {
	value, ok, err := state.State([]byte{stateMeta})
	if !ok || err != nil {
		return t, false, err
	}
	var b Book
	if !b.loadMeta(value) {
		return t, false, fmt.Errorf("book: the checkpoint's meta entity is malformed (%d bytes)", len(value))
	}
	return TrialBalance{b.position, b.date, b.totals}, true, nil
}

// Follow adds the postings of the next record.
func (t *TrialBalance) Follow(rec *Record) error {
	out := &rec.Outcome
	if out.Position != t.Position+1 {
		return fmt.Errorf("book: trial balance of position %d: the record %d is not the next one", t.Position, out.Position)
	}
	t.Position, t.Date = out.Position, out.Date
	for i := range out.Postings {
		p := &out.Postings[i]
		sum := &t.totals.balances[programIndex(p.Account.Program)][p.Account.Kind]
		after, ok := sum.Add(p.Amount)
		if !ok {
			return fmt.Errorf("book: trial balance of position %d: a sum overflows", t.Position)
		}
		*sum = after
	}
	return nil
}

// Totals returns the lines, as [Book.Totals] does.
func (t *TrialBalance) Totals() []Total { return t.totals.lines() }
