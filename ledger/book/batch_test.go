package book_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// tallier counts batches from answers alone: what was approved, and what was reversed
// of it. It is the slow, obvious count that the book's is held against.
type tallier struct {
	tallies map[string]book.Tally
	counted map[points.Position]countedOnce
}

type countedOnce struct {
	where  string
	date   bool
	side   points.Side
	amount points.Amount
}

// functionOf is what a terminal would have asked for with a command.
func functionOf(kind book.Kind) points.Function {
	return map[book.Kind]points.Function{
		book.KindEarn: points.Earn, book.KindRedeem: points.Redeem, book.KindHold: points.PreAuth, book.KindCapture: points.Completion,
		book.KindRelease: points.PreAuthVoid, book.KindVoid: points.Void, book.KindRefund: points.Refund, book.KindReverse: points.Reversal,
		book.KindTransfer: points.Transfer,
	}[kind]
}

func (c *tallier) hears(cmd *book.Command, out *book.Outcome) {
	if !out.Reason.Approved() || out.Replayed {
		return
	}
	where := fmt.Sprintf("%v/%d", cmd.Terminal, cmd.Batch)
	if cmd.Batch == book.DateBatch {
		where = fmt.Sprintf("acquirer/%d", out.Date)
	}
	switch original, known := c.counted[out.Original]; {
	case cmd.Kind != book.KindReverse:
		if side := cmd.Function.Side(); cmd.Batch != 0 && side != 0 {
			t := c.tallies[where]
			t.Done.Add(side, out.Amount, 1)
			c.tallies[where] = t
			c.counted[out.Position] = countedOnce{where, cmd.Batch == book.DateBatch, side, out.Amount}
		}
	case known:
		n, amount := uint32(1), original.amount
		if cmd.Actual > 0 {
			amount = out.Amount
			rest := original
			rest.amount -= amount
			if c.counted[out.Original] = rest; amount == 0 {
				return
			}
			if !original.date {
				n = 0
			}
		} else {
			delete(c.counted, out.Original)
		}
		if original.date {
			original.where = fmt.Sprintf("acquirer/%d", out.Date)
		}
		t := c.tallies[original.where]
		t.Undone.Add(original.side, amount, n)
		c.tallies[original.where] = t
	}
}

// However commands follow each other, the book's totals of every batch are those of who
// counts the answers; with next to no memory, after losing checkpoints and crashing too.
func TestTalliesAreTheSumOfTheAnswers(t *testing.T) {
	reached := 0
	for seed := range *seeds {
		rng := rand.New(rand.NewPCG(uint64(seed), 7))
		small := &shell{desk: clearingDesk(t, book.Options{Accounts: 1}), rng: rng}
		small.furnish(people, strictRules, kindRules)
		small.put(book.Entry{Terminal: &book.Terminal{ID: terminalID("T2"), Merchant: merchantID("SHOP"), Status: book.Active}})
		g := &generator{pick: rng.IntN}
		c := &tallier{tallies: make(map[string]book.Tally), counted: make(map[points.Position]countedOnce)}
		batchOf := make(map[points.TraceKey]uint32)
		for range 300 {
			cmd := g.next(small.book.Date())
			cmd.Function = functionOf(cmd.Kind)
			if _, again := batchOf[cmd.Key]; !again {
				batchOf[cmd.Key] = []uint32{0, 1, 2, book.DateBatch}[rng.IntN(4)]
			}
			if cmd.Function != 0 {
				cmd.Batch = batchOf[cmd.Key]
			}
			c.hears(&cmd, small.do(cmd))
			small.afterCommand(t)
		}
		for _, terminal := range []string{"T1", "T2", ""} {
			reached += requireTallies(t, small.book, c, terminal)
		}
		replay(t, small.desk, newDesk(t, book.Options{}))
	}
	require.Positive(t, reached, "something was reversed")
}

// requireTallies compares what the book has of a terminal, or of the acquirer, and
// returns how many tallies have something reversed in them.
func requireTallies(t *testing.T, b *book.Book, c *tallier, terminal string) (reversed int) {
	t.Helper()
	name, merchant, id := "acquirer", points.MerchantID{}, points.TerminalID{}
	if terminal != "" {
		merchant, id = merchantID("SHOP"), terminalID(terminal)
		name = id.String()
	}
	view, _, err := b.Batches(acquirer, merchant, id)
	require.NoError(t, err)
	for _, batch := range view.Batches {
		require.Equal(t, c.tallies[fmt.Sprintf("%s/%d", name, batch.Batch)], batch.Tally, "%s batch %d", name, batch.Batch)
		if batch.Tally.Undone != (points.Totals{}) {
			reversed++
		}
	}
	if terminal != "" { // A date that is dropped for newer ones is gone; batches are few here.
		for _, batch := range []uint32{1, 2} {
			_, expected := c.tallies[fmt.Sprintf("%s/%d", name, batch)]
			found := false
			for _, b := range view.Batches {
				found = found || b.Batch == batch
			}
			require.Equal(t, expected, found, "%s batch %d is counted", name, batch)
		}
	}
	return reversed
}

// A record written before there were batches has none, and applies as it did: nothing
// is counted, so that an old journal replays to its old state.
func TestCommandsWithoutABatchLeaveNoTally(t *testing.T) {
	d := newDesk(t, book.Options{})
	d.furnish(1, kindRules, kindRules)
	d.must(at("T1", 1, book.Command{Kind: book.KindEarn, Function: points.Earn, Card: cardOf(1), Program: air, Amount: 100}))
	d.must(book.Command{Kind: book.KindSignOn, Function: points.SignOn, Acquirer: acquirer, Merchant: merchantID("SHOP"), Terminal: terminalID("T1")})
	_, ok, err := d.book.Batches(acquirer, merchantID("SHOP"), terminalID("T1"))
	require.NoError(t, err)
	require.False(t, ok)
}

// A terminal that uses ever new batch numbers keeps eight of them counted, the last ones.
func TestTalliesAreBounded(t *testing.T) {
	d := newDesk(t, book.Options{})
	d.furnish(1, kindRules, kindRules)
	for n := range uint32(20) {
		cmd := at("T1", n+1, book.Command{Kind: book.KindEarn, Function: points.Earn, Card: cardOf(1), Program: air, Amount: 1, Batch: n + 1})
		d.must(cmd)
	}
	view, _, err := d.book.Batches(acquirer, merchantID("SHOP"), terminalID("T1"))
	require.NoError(t, err)
	require.Len(t, view.Batches, 8)
	require.Equal(t, uint32(13), view.Batches[0].Batch)
	out := d.must(book.Command{Kind: book.KindCloseBatch, Acquirer: acquirer, Merchant: merchantID("SHOP"), Terminal: terminalID("T1"), Key: keyOf("T1", 99, 5), Batch: 20, Tally: book.Tally{Done: points.Totals{CreditAmount: 1, CreditCount: 1}}})
	require.False(t, out.Unequal)
}
