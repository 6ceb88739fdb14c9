package book

import (
	"fmt"
	"slices"

	"github.com/lianfen/lianfen/points"
)

// The find functions return nil when there is no such entity, in memory or in
// the store.

func (b *Book) findAccount(key AccountKey) (*account, error) {
	if a, ok := b.accounts.find(key); ok {
		return a, nil
	}
	a := &account{key: key}
	if ok, err := b.load(a); !ok || err != nil {
		return nil, err
	}
	b.accounts.add(a)
	return a, nil
}

// houseAccount finds one of the house's accounts, opening it at its first use.
func (b *Book) houseAccount(key AccountKey) (*account, error) {
	if a, ok := b.house[key]; ok {
		return a, nil
	}
	a := &account{key: key, status: Active}
	ok, err := b.load(a)
	if err != nil {
		return nil, err
	}
	if !ok {
		b.create(a)
	}
	b.house[key] = a
	return a, nil
}

func (b *Book) findMember(id points.MemberID) (*member, error) {
	if m, ok := b.members.find(id); ok {
		return m, nil
	}
	m := &member{Member: Member{ID: id}}
	if ok, err := b.load(m); !ok || err != nil {
		return nil, err
	}
	b.members.add(m)
	return m, nil
}

func (b *Book) findCard(token points.CardToken) (*card, error) {
	if c, ok := b.cards.find(token); ok {
		return c, nil
	}
	c := &card{Card: Card{Token: token}}
	if ok, err := b.load(c); !ok || err != nil {
		return nil, err
	}
	b.cards.add(c)
	return c, nil
}

func (b *Book) findHold(position points.Position) (*hold, error) {
	if h, ok := b.holds.find(position); ok {
		return h, nil
	}
	h := &hold{position: position}
	if ok, err := b.load(h); !ok || err != nil {
		return nil, err
	}
	b.holds.add(h)
	return h, nil
}

func (b *Book) findTransaction(position points.Position) (*transaction, error) {
	if t, ok := b.transactions.find(position); ok {
		return t, nil
	}
	t := &transaction{position: position}
	if ok, err := b.load(t); !ok || err != nil {
		return nil, err
	}
	b.transactions.add(t)
	return t, nil
}

// changeTransaction returns what has happened to a transaction, about to change.
// It is called after the command's last possible refusal.
func (b *Book) changeTransaction(position points.Position) (*transaction, error) {
	t, err := b.findTransaction(position)
	if err != nil {
		return nil, err
	}
	if t == nil {
		t = &transaction{position: position}
		b.create(t)
		b.transactions.add(t)
		return t, nil
	}
	b.touch(t)
	return t, nil
}

// newAccount opens a member's account; unopen takes it back.
func (b *Book) newAccount(m *member, program points.ProgramID) *account {
	a := &account{key: AccountKey{MemberAccount, program, uint64(m.ID)}, status: Active}
	b.create(a)
	b.accounts.add(a)
	b.listProgram(m, program)
	b.totals.accounts[programIndex(program)]++
	b.undo.opened = append(b.undo.opened, a)
	b.shown = a
	return a
}

func (b *Book) unopen(a *account) {
	a.condition = gone
	b.accounts.remove(a)
	if m, ok := b.members.find(points.MemberID(a.key.Party)); ok {
		b.unlistProgram(m, a.key.Program)
	}
	b.totals.accounts[programIndex(a.key.Program)]--
	if b.shown == a {
		b.shown = nil
	}
}

func (b *Book) listProgram(m *member, program points.ProgramID) {
	if i, found := slices.BinarySearch(m.programs, program); !found {
		b.touch(m)
		m.programs = slices.Insert(m.programs, i, program)
	}
}

func (b *Book) unlistProgram(m *member, program points.ProgramID) {
	if i, found := slices.BinarySearch(m.programs, program); found {
		b.touch(m)
		m.programs = slices.Delete(m.programs, i, i+1)
	}
}

// needAccount finds an account that must exist.
func (b *Book) needAccount(key AccountKey) (*account, error) {
	a, err := b.findAccount(key)
	if err == nil && a == nil {
		err = fmt.Errorf("the account of member %d in programme %d is gone", key.Party, key.Program)
	}
	return a, err
}

// needHold finds a hold that must exist.
func (b *Book) needHold(position points.Position) (*hold, error) {
	h, err := b.findHold(position)
	if err == nil && h == nil {
		err = fmt.Errorf("the hold at %d is gone", position)
	}
	return h, err
}

// about says whose account the outcome is about.
func (b *Book) about(a *account, out *Outcome) {
	b.shown = a
	out.Member, out.Program = points.MemberID(a.key.Party), a.key.Program
	if program, ok := b.live.Programs[a.key.Program]; ok {
		out.Issuer = program.Issuer
	}
}

// rulesOf returns the rules of a programme that has accounts, whatever its status.
func (b *Book) rulesOf(program points.ProgramID) *ProgramRules {
	return &b.live.Programs[program].Rules
}
