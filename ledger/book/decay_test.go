package book_test

import (
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// What decay leaves is never less than the exact value, nor a point more for each
// date; and it is the same whether a batch comes for every date or one for all.
func TestDecayRoundsInTheMembersFavour(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rules := book.ProgramRules{
			DecayPart: uint16(rapid.IntRange(1, 10_000).Draw(rt, "part")), DecayEvery: uint16(rapid.IntRange(1, 3).Draw(rt, "every")),
		}
		amount := points.Amount(rapid.Int64Range(1, int64(points.MaxAmount)).Draw(rt, "amount"))
		dates := rapid.IntRange(1, 8).Draw(rt, "dates")
		desks := [...]*desk{newDesk(t, book.Options{}), newDesk(t, book.Options{})}
		for i, d := range desks {
			d.furnish(1, rules, rules)
			d.must(at("T1", 1, book.Command{Kind: book.KindEarn, Card: cardOf(1), Program: air, Amount: amount}))
			for n := range dates {
				d.must(book.Command{Kind: book.KindCutOver, Date: day0.AddMonths(1 + n*int(rules.DecayEvery))})
				if i == 0 || n == dates-1 {
					if usableOf(rt, d) > 0 {
						require.Contains(rt, d.book.Due(), book.KindDecay)
					}
					d.must(book.Command{Kind: book.KindDecay})
				}
			}
			require.NotContains(rt, d.book.Due(), book.KindDecay)
			require.NoError(rt, d.book.Audit())
		}
		exact, left := big.NewInt(int64(amount)), usableOf(rt, desks[0])
		scaled := big.NewInt(int64(left))
		for range dates {
			exact.Mul(exact, big.NewInt(int64(10_000-int(rules.DecayPart))))
			scaled.Mul(scaled, big.NewInt(10_000))
		}
		require.GreaterOrEqual(rt, scaled.Cmp(exact), 0, "%d of %d are left", left, amount)
		most := scaled.Sub(scaled, exact)
		bound := new(big.Int).Exp(big.NewInt(10_000), big.NewInt(int64(dates)), nil)
		require.Negative(rt, most.Cmp(bound.Mul(bound, big.NewInt(int64(dates)))), "%d of %d are left", left, amount)
		require.Equal(rt, left, usableOf(rt, desks[1]), "one batch for all dates")
	})
}

func usableOf(t require.TestingT, d *desk) points.Amount {
	view, ok, err := d.book.Account(book.AccountKey{Kind: book.MemberAccount, Program: air, Party: 1})
	require.NoError(t, err)
	require.True(t, ok)
	return view.Usable
}

// Due pages of more accounts than one batch takes are worked through by several,
// each account once, and a book that recovers between two of them goes on there.
func TestDecayGoesOnWhereItWasStopped(t *testing.T) {
	const members = 7
	rules := book.ProgramRules{DecayPart: 1000, DecayEvery: 1}
	d := newDesk(t, book.Options{})
	d.furnish(members, rules, book.ProgramRules{})
	for id := points.MemberID(1); id <= members; id++ {
		d.must(at("T1", uint32(id), book.Command{Kind: book.KindEarn, Card: cardOf(id), Program: air, Amount: 100}))
	}
	d.must(book.Command{Kind: book.KindCutOver, Date: day0.AddMonths(1)})
	batches, lost := 0, points.Amount(0)
	for more := true; more; batches++ {
		out := d.must(book.Command{Kind: book.KindDecay, Limit: 3})
		lost, more = lost+out.Amount, out.More
		d.store.checkpoint(d.book)
		d.book = book.New(book.Options{}, d.store)
	}
	require.Equal(t, 3, batches)
	require.Equal(t, points.Amount(10*members), lost)
	require.Empty(t, d.book.Due())
}
