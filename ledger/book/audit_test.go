package book

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
)

type nothing struct{}

func (nothing) State([]byte) ([]byte, bool, error) { return nil, false, nil }

func (nothing) Record(points.Position, *Record) error { return errors.New("no records") }

// heldBook is a book with one member who has lots, a hold and a pending expiry.
func heldBook(t *testing.T) (*Book, *account, *hold) {
	t.Helper()
	b := New(Options{}, nothing{})
	var out Outcome
	do := func(cmd Command) {
		require.NoError(t, b.Apply(b.Position()+1, &cmd, &out))
		require.Equal(t, points.Approved, out.Reason)
	}
	do(Command{Kind: KindPut, Entry: Entry{Issuer: &Issuer{ID: 1, Name: "I", Status: Active}}})
	do(Command{Kind: KindPut, Entry: Entry{Acquirer: &Acquirer{ID: 2, Name: "A", Status: Active}}})
	do(Command{Kind: KindPut, Entry: Entry{Program: &Program{ID: 900, Issuer: 1, Name: "P", Status: Active}}})
	do(Command{Kind: KindPut, Entry: Entry{Member: &Member{ID: 3, Status: Active}}})
	do(Command{Kind: KindOpen, Member: 3, Program: 900})
	do(Command{Kind: KindCutOver, Date: 20260301})
	do(Command{Kind: KindEarn, Key: points.TraceKey{STAN: 1}, Acquirer: 2, Member: 3, Program: 900, Amount: 50, ExpiresOn: 20260401})
	do(Command{Kind: KindEarn, Key: points.TraceKey{STAN: 2}, Acquirer: 2, Member: 3, Program: 900, Amount: 50, ExpiresOn: 20260501})
	do(Command{Kind: KindHold, Key: points.TraceKey{STAN: 3}, Acquirer: 2, Member: 3, Program: 900, Amount: 20})
	require.NoError(t, b.Audit())
	a, err := b.findAccount(AccountKey{MemberAccount, 900, 3})
	require.NoError(t, err)
	h, err := b.findHold(b.Position())
	require.NoError(t, err)
	return b, a, h
}

// Audit finds each invariant broken, and names it.
func TestAuditNamesTheBrokenInvariant(t *testing.T) {
	for _, broken := range []struct {
		invariant, what string
		damage          func(b *Book, a *account, h *hold)
	}{
		{"I1", "a total", func(b *Book, _ *account, _ *hold) { b.totals.balances[0][ClearingAccount]++ }},
		{"I1", "a clearing account", func(b *Book, _ *account, _ *hold) { b.house[AccountKey{ClearingAccount, 900, 2}].free++ }},
		{"I2", "held in sum", func(b *Book, _ *account, _ *hold) { b.totals.held[0] = -1 }},
		{"I3", "free", func(_ *Book, a *account, _ *hold) { a.free++ }},
		{"I3", "an empty lot", func(_ *Book, a *account, _ *hold) { a.lots[0].amount = 0 }},
		{"I3", "order", func(_ *Book, a *account, _ *hold) { a.lots[0], a.lots[1] = a.lots[1], a.lots[0] }},
		{"I3", "two lots alike", func(_ *Book, a *account, _ *hold) { a.lots[0].key = a.lots[1].key }},
		{"I3", "closed with points", func(_ *Book, a *account, _ *hold) { a.status = Closed }},
		{"I4", "held without a hold", func(_ *Book, a *account, h *hold) { h.left, h.lots, h.state = 0, nil, holdReleased; a.holds = 0 }},
		{"I4", "captured over reserved", func(_ *Book, _ *account, h *hold) { h.captured = 1 }},
		{"I4", "an open hold of nothing", func(_ *Book, _ *account, h *hold) { h.left, h.lots = 0, nil }},
		{"I4", "a hold's lots", func(_ *Book, _ *account, h *hold) { h.lots[0].amount++ }},
		{"I7", "a key of another date", func(b *Book, _ *account, _ *hold) { b.keys.insert(hashKey(0, &points.TraceKey{STAN: 9}), numberOf(1)) }},
		{"I11", "due lists", func(b *Book, _ *account, _ *hold) { b.dueDates[dueExpiry][0].date = 20260601 }},
		{"I12", "dates", func(b *Book, _ *account, _ *hold) { b.generations = append(b.generations, newGeneration(99)) }},
	} {
		t.Run(broken.invariant+" "+broken.what, func(t *testing.T) {
			b, a, h := heldBook(t)
			broken.damage(b, a, h)
			require.ErrorContains(t, b.Audit(), broken.invariant+":")
		})
	}
}

// The digest sees every field of every entity that can change, in memory or not.
func TestDigestSeesEveryChange(t *testing.T) {
	for what, damage := range map[string]func(b *Book, a *account, h *hold){
		"free":     func(_ *Book, a *account, _ *hold) { a.free++ },
		"lot":      func(_ *Book, a *account, _ *hold) { a.lots[0].key.Priority++ },
		"status":   func(_ *Book, a *account, _ *hold) { a.status = Closed },
		"counters": func(_ *Book, a *account, _ *hold) { a.day.redeemed++ },
		"hold":     func(_ *Book, _ *account, h *hold) { h.due++ },
		"date":     func(b *Book, _ *account, _ *hold) { b.date++ },
		"posted":   func(b *Book, _ *account, _ *hold) { b.posted++ },
		"key":      func(b *Book, _ *account, _ *hold) { b.current().count(hashKey(0, &points.TraceKey{STAN: 77}), 5) },
		"tomb":     func(b *Book, _ *account, _ *hold) { b.current().bury(points.TraceKey{STAN: 77}, 5) },
		"due":      func(b *Book, _ *account, _ *hold) { b.dueDates[dueHolds][0].done++ },
	} {
		t.Run(what, func(t *testing.T) {
			b, a, h := heldBook(t)
			before := b.Digest()
			damage(b, a, h)
			require.NotEqual(t, before, b.Digest())
		})
	}
}
