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
	return b.addAccount(a), nil
}

func (b *Book) addAccount(a *account) *account {
	a = b.accounts.add(*a)
	if len(a.lots) <= len(a.inline) {
		a.lots = append(a.inline[:0], a.lots...)
	}
	return a
}

func (b *Book) addMember(m *member) *member {
	m = b.members.add(*m)
	if len(m.programs) <= len(m.inline) {
		m.programs = append(m.inline[:0], m.programs...)
	}
	return m
}

// accountIn finds the account of a member in a programme. The one that was used last is at hand.
func (b *Book) accountIn(m *member, program points.ProgramID) (*account, error) {
	key := AccountKey{MemberAccount, program, uint64(m.ID)}
	if a := m.last; a != nil && a.key == key {
		a.seen = true
		return a, nil
	}
	a, err := b.findAccount(key)
	m.last = a
	return a, err
}

// ownerOf finds the member that a card belongs to.
func (b *Book) ownerOf(c *card) (*member, error) {
	if m := c.owner; m != nil && m.ID == c.Member {
		m.seen = true
		return m, nil
	}
	m, err := b.findMember(c.Member)
	c.owner = m
	return m, err
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
	return b.addMember(m), nil
}

func (b *Book) findCard(token points.CardToken) (*card, error) {
	if c, ok := b.cards.find(token); ok {
		return c, nil
	}
	c := &card{Card: Card{Token: token}}
	if ok, err := b.load(c); !ok || err != nil {
		return nil, err
	}
	return b.cards.add(*c), nil
}

func (b *Book) findHold(position points.Position) (*hold, error) {
	if h, ok := b.holds.find(position); ok {
		return h, nil
	}
	h := &hold{position: position}
	if ok, err := b.load(h); !ok || err != nil {
		return nil, err
	}
	return b.holds.add(*h), nil
}

func (b *Book) findTransaction(position points.Position) (*transaction, error) {
	if t, ok := b.transactions.find(position); ok {
		return t, nil
	}
	t := &transaction{position: position}
	if ok, err := b.load(t); !ok || err != nil {
		return nil, err
	}
	return b.transactions.add(*t), nil
}

// changeTransaction returns what has happened to a transaction, about to change.
// It is called after the command's last possible refusal.
func (b *Book) changeTransaction(position points.Position) (*transaction, error) {
	t, err := b.findTransaction(position)
	if err != nil {
		return nil, err
	}
	if t == nil {
		t = b.transactions.add(transaction{position: position})
		b.create(t)
		return t, nil
	}
	b.touch(t)
	return t, nil
}

// newAccount opens a member's account; unopen takes it back.
func (b *Book) newAccount(m *member, program points.ProgramID) *account {
	a := b.addAccount(&account{key: AccountKey{MemberAccount, program, uint64(m.ID)}, status: Active})
	b.create(a)
	b.listProgram(m, program)
	b.totals.accounts[programIndex(program)]++
	b.undo.opened = append(b.undo.opened, a)
	b.shown = a
	return a
}

func (b *Book) unopen(a *account) {
	if m, ok := b.members.find(points.MemberID(a.key.Party)); ok {
		b.unlistProgram(m, a.key.Program)
	}
	b.totals.accounts[programIndex(a.key.Program)]--
	if b.shown == a {
		b.shown = nil
	}
	b.forget(a)
	b.accounts.remove(a)
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
