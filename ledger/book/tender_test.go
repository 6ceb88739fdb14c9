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

// bill is the oracle of a sale that two programmes paid: what each took for what, and
// what was given back of the sale.
type bill struct {
	stan   uint32
	amount int
	points [2]int
	covers [2]int
	gone   int
	over   bool // voided or reversed
	ended  bool // reversed
	backs  backs
}

// backs are the voids, refunds and reversals of a part of a sale, the last one last, and
// how much of each leg the issuer of its programme bears, since it was spent elsewhere
// when one of them was reversed.
type backs struct {
	all   []*back
	borne [2]int
}

// back is what one of them gave back.
type back struct {
	stan         uint32
	kind         book.Kind
	gone         int // of the sale, before
	amount       int // in the unit of the sale
	far          int // of the leg at an issuer with a ledger of its own
	member, bore [2]int
	undone       bool
	told         bool // reversed, so that the batch does not count it
}

// give gives back points of each leg: first what its issuer bears.
func (b *backs) give(g *back, points [2]int, has *[2]int) {
	for i := range points {
		g.bore[i] = min(points[i], b.borne[i])
		g.member[i] = points[i] - g.bore[i]
		b.borne[i] -= g.bore[i]
		has[i] += g.member[i]
	}
	b.all = append(b.all, g)
}

// take takes again what g gave: what the member no longer has, its issuer bears.
func (b *backs) take(g *back, has *[2]int) {
	g.undone = true
	for i := range g.member {
		there := min(g.member[i], has[i])
		has[i] -= there
		b.borne[i] += g.bore[i] + g.member[i] - there
	}
}

// last reports whether g is the last one that is not undone.
func (b *backs) last(g *back) bool {
	for _, other := range slices.Backward(b.all) {
		if !other.undone {
			return other == g
		}
	}
	return false
}

// back is how many points of each programme come back when gone becomes so much: the
// last that paid first, rounded down.
func (b *bill) back(gone int) (points [2]int) {
	for _, upTo := range []struct{ sum, sign int }{{gone, 1}, {b.gone, -1}} {
		rest := upTo.sum
		for i := 1; i >= 0; i-- {
			part := min(rest, b.covers[i])
			rest -= part
			if b.covers[i] > 0 {
				points[i] += upTo.sign * (b.points[i] * part / b.covers[i])
			}
		}
	}
	return points
}

// Sales that two programmes pay, refunded, voided and reversed in any order and part: the
// book and the oracle agree on what each programme took and gave back, and nothing ever
// comes back twice, through checkpoints, crashes and next to no memory (I4, I9).
func TestTendersAgreeWithOracle(t *testing.T) {
	terms := []book.TenderTerm{{Program: air, Points: 2, Per: 3}, {Program: inn, Points: 7, Per: 5}}
	did := make(map[string]int)
	for seed := range *seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			s := &shell{desk: clearingDesk(t, book.Options{Accounts: 1}), rng: rand.New(rand.NewPCG(uint64(seed), 47))}
			s.furnish(1, book.ProgramRules{}, book.ProgramRules{})
			has := [2]int{300, 500}
			for i, program := range []points.ProgramID{air, inn} {
				s.must(at("T1", uint32(9000+i), book.Command{Kind: book.KindEarn, Card: cardOf(1), Program: program, Amount: points.Amount(has[i])}))
			}
			var bills []*bill
			for step := range 120 {
				stan := uint32(step + 1)
				if len(bills) == 0 || s.rng.IntN(4) == 0 {
					b := &bill{stan: stan, amount: 1 + s.rng.IntN(400)}
					b.covers[0] = min(b.amount, has[0]*3/2)
					b.covers[1] = min(b.amount-b.covers[0], has[1]*5/7)
					b.points = [2]int{(b.covers[0]*2 + 2) / 3, (b.covers[1]*7 + 4) / 5}
					out := s.do(at("T1", stan, book.Command{Kind: book.KindRedeem, Function: points.Redeem, Card: cardOf(1), Amount: points.Amount(b.amount), Tender: terms}))
					require.Equal(t, b.covers[0]+b.covers[1] == b.amount, out.Reason.Approved(), "%+v", *b)
					if out.Reason.Approved() {
						bills = append(bills, b)
						has[0], has[1] = has[0]-b.points[0], has[1]-b.points[1]
					}
				} else {
					s.unpay(t, bills[max(0, len(bills)-1-s.rng.IntN(4))], stan, &has, did)
				}
				require.NoError(t, s.book.Audit())
				s.afterCommand(t)
				for i, program := range []points.ProgramID{air, inn} {
					a, _, err := s.book.Account(book.AccountKey{Kind: book.MemberAccount, Program: program, Party: 1})
					require.NoError(t, err)
					require.Equal(t, has[i], int(a.Balance), "step %d, programme %d", step, program)
				}
			}
			replay(t, s.desk, newDesk(t, book.Options{}))
		})
	}
	for _, kind := range []string{"refund", "void", "too late", "borne"} {
		require.Positive(t, did[kind], "nobody reversed: %s", kind)
	}
}

// unpay undoes a bill, or a part of it, in the book and in the oracle.
func (s *shell) unpay(t *testing.T, b *bill, stan uint32, has *[2]int, did map[string]int) {
	part := 1 + s.rng.IntN(b.amount)
	cmd := at("T1", stan, book.Command{OriginalKey: keyOf("T1", b.stan, 2), Final: true})
	gone, want := b.gone, false
	switch s.rng.IntN(6) {
	case 4, 5:
		if len(b.backs.all) > 0 {
			s.repay(t, b, b.backs.all[max(0, len(b.backs.all)-1-s.rng.IntN(3))], stan, has, did)
		}
		return
	case 0:
		cmd.Kind, cmd.Card, cmd.Amount = book.KindRefund, cardOf(1), points.Amount(part)
		if want = !b.over && b.gone+part <= b.amount; want {
			gone = b.gone + part
		}
	case 1:
		cmd.Kind = book.KindVoid
		if want = !b.over && b.gone == 0; want {
			gone, b.over = b.amount, true
		}
	case 2: // A part: so much stands.
		cmd.Kind, cmd.Key.Class, cmd.Actual, want = book.KindReverse, 4, points.Amount(part), true
		if !b.over {
			gone = max(gone, b.amount-part)
		}
	default:
		cmd.Kind, cmd.Key.Class, want = book.KindReverse, 4, true
		gone = b.amount
		if b.over {
			gone = b.gone
		}
		b.over, b.ended = true, true
	}
	out := s.do(cmd)
	require.Equal(t, want, out.Reason.Approved(), "kind %d of %+v: %v", cmd.Kind, *b, out.Reason)
	if gone != b.gone {
		g := &back{stan: stan, kind: cmd.Kind, gone: b.gone, amount: gone - b.gone}
		b.backs.give(g, b.back(gone), has)
		b.gone = gone
	}
}

// repay reverses a void or refund: of refunds the last one, once.
func (s *shell) repay(t *testing.T, b *bill, g *back, stan uint32, has *[2]int, did map[string]int) {
	if g.kind == book.KindReverse {
		return
	}
	cmd := at("T1", stan, book.Command{Kind: book.KindReverse, OriginalKey: keyOf("T1", g.stan, 2), Final: true})
	cmd.Key.Class = 4
	effect := !g.undone && !b.ended
	want := !effect || b.backs.last(g)
	out := s.do(cmd)
	require.Equal(t, want, out.Reason.Approved(), "reverse %+v of %+v: %v", *g, *b, out.Reason)
	if !want {
		did["too late"]++
		require.Equal(t, points.OriginalClosed, out.Reason)
		return
	}
	if !effect {
		require.Empty(t, out.Postings)
		return
	}
	did[g.kind.String()]++
	b.backs.take(g, has)
	did["borne"] += b.backs.borne[0] + b.backs.borne[1]
	b.gone, b.over = g.gone, false
}
