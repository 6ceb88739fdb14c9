package book_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// bulk is a programme whose points are worth so much that a few grants fill a cycle.
const bulk points.ProgramID = 990

// rush is a desk whose cycles can be filled so that no item fits any more.
type rush struct {
	*shell
	stan uint32
}

func newRush(t *testing.T, edition uint8) *rush {
	t.Helper()
	c := &rush{shell: &shell{desk: clearingDesk(t, book.Options{Accounts: 1})}}
	c.furnish(1, book.ProgramRules{}, book.ProgramRules{})
	from := c.now + 2*tariff.LeadTime
	c.put(book.Entry{Program: &book.Program{ID: bulk, Issuer: issuer, Name: "Bulk", Status: book.Active}})
	shop := *c.book.Registry().Merchants[merchantID("SHOP")]
	shop.Programs = append(shop.Programs, bulk)
	c.put(book.Entry{Merchant: &shop})
	c.must(book.Command{Kind: book.KindOpen, Member: 1, Program: bulk})
	c.must(book.Command{Kind: book.KindPut, Operator: "li", Second: "wang", Entry: book.Entry{Rate: &tariff.Rate{Terms: tariff.Terms{
		Program: bulk, Side: tariff.Clear, From: from, Num: 500, Den: 1,
	}}}})
	c.now = from + 1_000_000
	c.next(edition)
	for _, program := range []points.ProgramID{air, inn} {
		c.ask(book.Command{Kind: book.KindEarn, Function: points.Earn, Card: cardOf(1), Program: program, Amount: 1_000_000})
	}
	return c
}

// next begins the next cycle.
func (c *rush) next(edition uint8) {
	c.tb.Helper()
	cmd := book.Command{Kind: book.KindCutOver, Date: c.book.Date(), Cycle: c.book.Cycle() + 1, Edition: edition}
	if cmd.Cycle > book.MaxCycle {
		cmd.Date, cmd.Cycle = cmd.Date.AddDays(1), 0
	}
	c.must(cmd)
}

// fill grants so much at the till that nothing of its acquirer and the issuer has room in the
// cycle any more.
func (c *rush) fill() {
	c.tb.Helper()
	for range 145 { // The one that reaches 2^56 is the last that fits.
		c.asked(book.Command{Kind: book.KindEarn, Function: points.Earn, Card: cardOf(1), Program: bulk, Amount: points.MaxAmount})
	}
}

// ask sends a request of the till.
func (c *rush) ask(cmd book.Command) book.Outcome {
	c.tb.Helper()
	c.stan++
	cmd = at("T1", c.stan, cmd)
	cmd.Final, cmd.Edition = true, book.Edition
	if cmd.Kind == book.KindReverse {
		cmd.Key.Class = points.ClassReversal
	}
	return *c.do(cmd)
}

func (c *rush) asked(cmd book.Command) points.Position {
	c.tb.Helper()
	out := c.ask(cmd)
	require.True(c.tb, out.Reason.Approved(), "kind %d: %v", cmd.Kind, out.Reason)
	return out.Position
}

func (c *rush) sell(amount points.Amount) points.Position {
	c.tb.Helper()
	return c.asked(book.Command{Kind: book.KindRedeem, Function: points.Redeem, Card: cardOf(1), Program: air, Amount: amount})
}

func (c *rush) refund(sale points.Position, amount points.Amount) points.Position {
	c.tb.Helper()
	return c.asked(book.Command{Kind: book.KindRefund, Function: points.Refund, Card: cardOf(1), Original: sale, Amount: amount})
}

func (c *rush) reverse(original points.Position) points.Position {
	c.tb.Helper()
	return c.asked(book.Command{Kind: book.KindReverse, Function: points.Reversal, Original: original})
}

func (c *rush) step(sale points.Position, step book.DisputeStep, who book.Party, code string, amount points.Amount) points.Position {
	c.tb.Helper()
	return c.must(book.Command{
		Kind: book.KindDispute, Original: sale, Amount: amount, Operator: "li", Second: "wang", Note: "case 7",
		Dispute: book.DisputeMove{Step: step, Who: who, Code: code, Evidence: "slip"},
	}).Position
}

// hasRoom tells of each record whether its one item was cleared.
func (c *rush) hasRoom(positions ...points.Position) (has []bool) {
	c.tb.Helper()
	for _, position := range positions {
		has = append(has, !c.itemOf(position).NoRoom)
	}
	return has
}

// P6: what undoes an item that was not cleared, since it had no room, is not cleared either,
// though there is room by then; nobody owes anything for half of a pair. What had room is
// cleared, and what undoes it.
func TestWhatUndoesAnItemWithoutRoomHasNone(t *testing.T) {
	c := newRush(t, book.Edition)
	before, other := c.sell(100), c.sell(50)
	c.fill()
	sale, partly := c.sell(200), c.sell(300)
	refund := c.refund(before, 30)
	taken := c.step(other, book.StepChargeback, book.PartyIssuer, "CB01", 0)
	require.Equal(t, []bool{true, true, false, false, false, false}, c.hasRoom(before, other, sale, partly, refund, taken))
	c.next(0) // The rule stays, whatever edition the next cut-over has.
	require.Equal(t, []bool{false, false, false}, c.hasRoom(c.reverse(sale), c.refund(partly, 100), c.refund(partly, 200)))
	require.Equal(t, []bool{false, false}, c.hasRoom(c.reverse(refund), c.step(other, book.StepRepresentment, book.PartyAcquirer, "REP", 0)))
	require.Equal(t, []bool{false}, c.hasRoom(c.reverse(before)), "of its refund and what takes that back neither is cleared, so this is not either")
	view, ok, err := c.book.ClearedIn(c.book.Date(), c.book.Cycle())
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, []uint64{0, 6}, []uint64{view.Items, view.Unvalued})
	for _, p := range view.Positions {
		require.Zero(t, p.Net(), "member %v", p.Member)
	}
	require.Empty(t, view.Moves)
	fresh := c.sell(70)
	require.Equal(t, []bool{true, true}, c.hasRoom(fresh, c.reverse(fresh)))
}

// Of a sale of several programmes each has room by itself, and what undoes it too.
func TestEachProgrammeOfATenderHasRoomByItself(t *testing.T) {
	c := newRush(t, book.Edition)
	terms := []book.TenderTerm{{Program: air, Points: 1, Per: 1}, {Program: inn, Points: 1, Per: 1}}
	c.fill()
	sale := c.asked(book.Command{Kind: book.KindRedeem, Function: points.Redeem, Card: cardOf(1), Amount: 1_000_500, Tender: terms})
	c.next(0)
	void := c.reverse(sale)
	for _, position := range []points.Position{sale, void} {
		var rec book.Record
		require.NoError(t, c.store.Record(position, &rec))
		items, err := book.NewClearing(c.store.Record).Items(&rec)
		require.NoError(t, err)
		require.Len(t, items, 2)
		require.Equal(t, []bool{true, true}, []bool{items[0].NoRoom, items[1].NoRoom})
	}
}

// Journals from before say that what undoes an item without room was cleared where it had
// room itself: they are applied and replayed so, until a cut-over of this edition.
func TestItemsWithoutRoomInJournalsFromBefore(t *testing.T) {
	c := newRush(t, 1)
	sale := c.sell(100)
	c.fill()
	first, second, refund := c.sell(200), c.sell(300), c.refund(sale, 10)
	c.next(1)
	require.Equal(t, []bool{false, false, false, true}, c.hasRoom(first, second, refund, c.reverse(first)))
	c.must(book.Command{Kind: book.KindCutOver, Date: day0 + 1, Edition: book.Edition})
	require.Equal(t, []bool{false}, c.hasRoom(c.reverse(second)), "also of what had none before that")
	require.Equal(t, []bool{true}, c.hasRoom(c.refund(sale, 20)), "but of what came behind one that had none, only from then on")
	c.agreesAnew(t)
}

// That something of a sale had no room is known after a recovery, though nothing of the sale
// is undone any more.
func TestARecoveryKnowsWhatHadNoRoom(t *testing.T) {
	c := newRush(t, book.Edition)
	sale := c.sell(100)
	c.fill()
	c.reverse(c.refund(sale, 100))
	c.next(0)
	c.store.checkpoint(c.book)
	c.book = book.New(book.Options{}, c.store)
	require.NoError(t, c.book.Err())
	require.Equal(t, []bool{false}, c.hasRoom(c.refund(sale, 30)))
}

// agreesAnew replays the journal, and applies its commands anew: both come to the same book.
func (c *rush) agreesAnew(t *testing.T) {
	t.Helper()
	replay(t, c.desk, newDesk(t, book.Options{}))
	again := newDesk(t, book.Options{Accounts: 1})
	var rec book.Record
	for i, bytes := range c.store.journal {
		_, err := book.DecodeRecord(bytes, &rec)
		require.NoError(t, err)
		require.NoError(t, again.book.Apply(points.Position(i+1), &rec.Command, &again.out))
		require.Equal(t, rec.Outcome.NoRoom, again.out.NoRoom, "record %d", i+1)
		again.store.journal = append(again.store.journal, bytes)
	}
	require.Equal(t, c.book.Digest(), again.book.Digest())
}

// Random days with cycles that fill up, of sales of one and of two programmes, earns, refunds,
// voids, reversals of all of these and disputes: the oracle agrees on what was cleared, of
// whatever edition the cut-overs are; and from this edition on, what reverses a record without
// room has none. Through checkpoints and crashes with next to no memory.
func TestRandomDaysWithoutRoom(t *testing.T) {
	apart := 0 // without room in a cycle that has some
	for seed := range *seeds {
		for _, edition := range []uint8{0, book.Edition} {
			t.Run(fmt.Sprintf("seed=%d,edition=%d", seed, edition), func(t *testing.T) {
				c := newRush(t, edition)
				c.rng = rand.New(rand.NewPCG(uint64(seed), uint64(edition)+7))
				apart += c.randomDays(t, edition)
				require.NoError(t, c.book.Audit())
				c.agreesAnew(t)
			})
		}
	}
	require.Positive(t, apart)
}

func (c *rush) randomDays(t *testing.T, edition uint8) (apart int) {
	t.Helper()
	terms := []book.TenderTerm{{Program: air, Points: 2, Per: 3}, {Program: inn, Points: 7, Per: 5}}
	var sales, all []points.Position
	full := false
	some := func(list []points.Position) points.Position { return list[max(0, len(list)-1-c.rng.IntN(6))] }
	for range 90 {
		cmd := book.Command{Kind: book.KindRedeem, Function: points.Redeem, Card: cardOf(1), Program: air, Amount: points.Amount(1 + c.rng.IntN(3000))}
		switch what := c.rng.IntN(20); {
		case what == 0 || len(sales) == 0:
			sales = append(sales, c.sell(points.Amount(1+c.rng.IntN(3000))))
			all = append(all, sales[len(sales)-1])
			continue
		case what == 1 && !full:
			c.fill()
			full = true
			continue
		case what < 4:
			c.next(edition)
			full = false
			continue
		case what < 6:
			cmd.Program, cmd.Tender = 0, terms
		case what < 8:
			cmd.Kind, cmd.Function = book.KindEarn, points.Earn
		case what < 11:
			cmd = book.Command{Kind: book.KindRefund, Function: points.Refund, Card: cardOf(1), Original: some(sales), Amount: cmd.Amount/4 + 1}
		case what < 12:
			cmd = book.Command{Kind: book.KindVoid, Function: points.Void, Original: some(sales)}
		case what < 16:
			cmd = book.Command{Kind: book.KindReverse, Function: points.Reversal, Original: some(all)}
			if what == 12 {
				cmd.Original, cmd.Actual = some(sales), cmd.Amount/2+1
			}
		default:
			c.disputed(some(sales))
			continue
		}
		out := c.ask(cmd)
		if out.Reason.Approved() {
			all = append(all, out.Position)
			if cmd.Kind == book.KindRedeem {
				sales = append(sales, out.Position)
			}
			apart += c.pairs(t, &out, full, edition)
		}
		c.afterCommand(t)
	}
	return apart
}

// disputed takes one step of a dispute, if it is one that can be taken.
func (c *rush) disputed(sale points.Position) {
	rules := book.DefaultDisputeRules().Rules
	rule := rules[c.rng.IntN(len(rules))]
	c.do(book.Command{
		Kind: book.KindDispute, Original: sale, Amount: points.Amount(c.rng.IntN(400)), Operator: "li", Second: "wang",
		Dispute: book.DisputeMove{Step: rule.Step, Who: rule.Who, Code: rule.Code, Evidence: "case 1"},
	})
}

// pairs checks a reversal against what it reverses: of a programme of which that had no room
// it has none.
func (c *rush) pairs(t *testing.T, out *book.Outcome, full bool, edition uint8) (apart int) {
	t.Helper()
	read := func(position points.Position) map[points.ProgramID]bool {
		var rec book.Record
		require.NoError(t, c.store.Record(position, &rec))
		items, err := book.NewClearing(c.store.Record).Items(&rec)
		require.NoError(t, err)
		had := map[points.ProgramID]bool{}
		for i := range items {
			had[items[i].Program] = items[i].NoRoom
		}
		return had
	}
	if out.Original == 0 || edition < book.Edition {
		return 0
	}
	was := read(out.Original)
	for program, none := range read(out.Position) {
		require.True(t, none || !was[program], "P6: programme %d of %d is cleared, and had no room at %d", program, out.Position, out.Original)
		if none && !full {
			apart++
		}
	}
	return apart
}
