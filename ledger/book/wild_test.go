package book_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// snapshot is all that members, cards and accounts are and hold.
func (d *desk) snapshot(t testing.TB) string {
	t.Helper()
	text := fmt.Sprintln(d.book.Date(), d.book.Totals(), d.book.Registry().Version)
	for id := points.MemberID(1); id <= people; id++ {
		member, _, err := d.book.Member(id)
		require.NoError(t, err)
		card, _, err := d.book.Card(cardOf(id))
		require.NoError(t, err)
		text += fmt.Sprintln(member, card)
		for _, program := range []points.ProgramID{air, inn, miles} {
			view, _, err := d.book.Account(book.AccountKey{Kind: book.MemberAccount, Program: program, Party: uint64(id)})
			require.NoError(t, err)
			text += fmt.Sprintln(view)
		}
	}
	for position := points.Position(1); int(position) <= len(d.store.journal); position++ {
		hold, ok, err := d.book.Hold(position)
		require.NoError(t, err)
		if ok {
			text += fmt.Sprintln(hold)
		}
	}
	return text
}

// Commands of any kind with any fields keep the invariants; a decline changes
// nothing that anybody has; its repeat gets the same decline; postings balance;
// and the whole can be replayed and recovered.
func TestWildCommandsKeepTheInvariants(t *testing.T) {
	for seed := range *seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(uint64(seed), 3))
			d := newDesk(t, book.Options{})
			d.furnish(people, strictRules, kindRules)
			g := &generator{pick: rng.IntN}
			for range 150 {
				cmd := g.wild(d.book.Date())
				before := d.snapshot(t)
				out := *d.do(cmd)
				require.NoError(t, d.book.Audit())
				if !out.Reason.Approved() {
					require.Equal(t, before, d.snapshot(t), "kind %d declined with %v", cmd.Kind, out.Reason)
					require.Empty(t, out.Postings)
					require.Empty(t, out.Lots)
					if cmd.Key != (points.TraceKey{}) && out.Reason != points.DuplicateOther && out.Position != 0 {
						require.Equal(t, out.Reason, d.do(cmd).Reason, "kind %d: a decline is remembered", cmd.Kind)
						require.True(t, d.out.Replayed)
					}
				}
				balanced(t, &out)
			}
			replay(t, d, newDesk(t, book.Options{}))
		})
	}
}

// balanced checks I1 on one outcome, and that a member's postings are what its
// lots moved.
func balanced(t testing.TB, out *book.Outcome) {
	t.Helper()
	sums := make(map[points.ProgramID]points.Amount)
	members := make(map[book.AccountKey]points.Amount)
	for _, p := range out.Postings {
		sums[p.Account.Program] += p.Amount
		if p.Account.Kind == book.MemberAccount {
			members[p.Account] += p.Amount
		}
	}
	for program, sum := range sums {
		require.Zero(t, sum, "I1: programme %d", program)
	}
	for _, move := range out.Lots {
		if !move.Held {
			members[move.Account] -= move.Amount
		}
	}
	for account, difference := range members {
		require.Zero(t, difference, "account %v: postings and lot moves differ", account)
	}
}
