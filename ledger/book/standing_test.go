package book_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// A standing that is read from a checkpoint and follows the records behind it is
// what the book says, whatever happened in between.
func TestStandingIsWhatTheBookSays(t *testing.T) {
	for seed := range *seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(uint64(seed), 5))
			d := newDesk(t, book.Options{})
			inn := kindRules
			inn.OpenOnEarn = true
			d.furnish(people, strictRules, inn)
			g := &generator{pick: rng.IntN}
			date, checkpoint := day0, 0
			for range 300 {
				cmd := g.next(date)
				if rng.IntN(6) == 0 {
					cmd = operated(rng)
				}
				if out := d.do(cmd); cmd.Kind == book.KindCutOver && out.Reason.Approved() && !out.Replayed {
					date = cmd.Date
				}
				if rng.IntN(40) == 0 {
					d.store.checkpoint(d.book)
					checkpoint = len(d.store.journal)
				}
				for id := points.MemberID(1); id <= people+1; id++ {
					stands(t, d, checkpoint, id, date)
				}
			}
			trial, _, err := book.ReadTrialBalance(d.store)
			require.NoError(t, err)
			follow(t, d, checkpoint, trial.Follow)
			require.Equal(t, d.book.Totals(), trial.Totals())
			require.Equal(t, d.book.Date(), trial.Date)
			require.Equal(t, d.book.Position(), trial.Position)
		})
	}
}

// operated is what operators do to members and their accounts.
func operated(rng *rand.Rand) book.Command {
	member, program := points.MemberID(1+rng.IntN(int(people)+1)), []points.ProgramID{air, inn}[rng.IntN(2)]
	switch rng.IntN(6) {
	case 0:
		return book.Command{Kind: book.KindPut, Entry: book.Entry{Member: &book.Member{ID: member, Ref: fmt.Sprint(rng.IntN(9)), Status: book.Active}}}
	case 1:
		return book.Command{Kind: book.KindOpen, Member: member, Program: program}
	case 2:
		return book.Command{Kind: book.KindClose, Member: member, Program: program}
	case 3:
		return book.Command{Kind: book.KindFreeze, Member: member, Program: []points.ProgramID{0, program}[rng.IntN(2)], Freeze: book.Freeze(rng.IntN(2))}
	case 4:
		return book.Command{Kind: book.KindGroup, Acquirer: acquirer, Group: []book.Command{
			{Kind: book.KindAdjust, Member: member, Program: air, Amount: 5, Operator: "li", Second: "wang", Note: "n"},
			{Kind: book.KindOpen, Member: people + 1, Program: program},
		}}
	default:
		return book.Command{Kind: book.KindAdjust, Member: member, Program: program, Amount: points.Amount(rng.IntN(40) - 30), Operator: "li", Second: "wang", Note: "n"}
	}
}

func follow(t *testing.T, d *desk, from int, visit func(*book.Record) error) {
	t.Helper()
	var rec book.Record
	for _, bytes := range d.store.journal[from:] {
		_, err := book.DecodeRecord(bytes, &rec)
		require.NoError(t, err)
		require.NoError(t, visit(&rec))
	}
}

// stands compares a member's standing with the book, lot by lot.
func stands(t *testing.T, d *desk, checkpoint int, id points.MemberID, date points.BusinessDate) {
	t.Helper()
	s, err := book.ReadStanding(d.store, id)
	require.NoError(t, err)
	follow(t, d, checkpoint, s.Follow)
	member, known, err := d.book.Member(id)
	require.NoError(t, err)
	require.Equal(t, known, s.Known)
	if !known {
		return
	}
	require.Equal(t, member.Member, s.Member.Member)
	require.True(t, slices.IsSorted(s.Member.Programs))
	for _, program := range []points.ProgramID{air, inn} {
		want, there, err := d.book.Account(book.AccountKey{Kind: book.MemberAccount, Program: program, Party: uint64(id)})
		require.NoError(t, err)
		got, ok, err := s.Account(program, date)
		require.NoError(t, err)
		require.Equal(t, there, ok)
		require.Equal(t, got.Status == book.Active, slices.Contains(s.Member.Programs, program))
		want.Redeemed, want.Redemptions, want.Given = 0, 0, 0
		if want.Balance == 0 && want.Debt == 0 && got.Status == book.Closed {
			want.Status = book.Closed // Opened again with nothing in it; see Standing.
		}
		require.Equal(t, want, got, "member %d, programme %d, after position %d", id, program, len(d.store.journal))
	}
}

// A record that does not fit the state is an error, never another balance.
func TestStandingRefusesWhatDoesNotFit(t *testing.T) {
	d := newDesk(t, book.Options{})
	d.furnish(people, strictRules, kindRules)
	d.must(at("T1", 1, book.Command{Kind: book.KindEarn, Card: cardOf(1), Program: air, Amount: 100}))
	d.store.checkpoint(d.book)
	out := d.must(at("T1", 2, book.Command{Kind: book.KindRedeem, Card: cardOf(1), Program: air, Amount: 30})).Clone()
	var rec book.Record
	require.NoError(t, d.store.Record(out.Position, &rec))
	for what, spoil := range map[string]func(*book.Outcome){
		"another balance": func(o *book.Outcome) { o.Postings[0].After, o.Postings[1].After = 1, 1 },
		"too much":        func(o *book.Outcome) { o.Lots[0].Amount = -101 },
		"another lot":     func(o *book.Outcome) { o.Lots[0].Lot.Priority++ },
	} {
		s, err := book.ReadStanding(d.store, 1)
		require.NoError(t, err)
		spoiled := book.Record{Command: rec.Command, Outcome: rec.Outcome.Clone()}
		spoil(&spoiled.Outcome)
		require.ErrorContains(t, s.Follow(&spoiled), "do not fit", what)
	}
}
