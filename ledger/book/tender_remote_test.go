package book_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// split is the oracle of a sale that two programmes here and an issuer with a ledger of
// its own pay: what each took for what (the issuer last), and what was given back.
type split struct {
	stan     uint32
	position points.Position
	amount   int
	points   [3]int
	covers   [3]int
	state    string // open, sold, not (declined, timed out, reversed before there was an answer)
	gone     int
	less     int  // of that, by reversals of a part
	over     bool // voided or reversed
	reversed bool
	owed     bool // the issuer is owed a reversal that is not acknowledged
	taking   int  // refunds of the issuer's leg that were reversed, which it has not acknowledged
	backs    backs
}

// refunded reports whether points of the issuer's leg were refunded.
func (p *split) refunded() bool {
	return slices.ContainsFunc(p.backs.all, func(g *back) bool { return g.kind == book.KindRefund && g.far > 0 && !g.undone })
}

// taken is what stands of each leg's points when so much is gone: the last that paid
// gives back first, rounded down.
func (p *split) taken(gone int) (points [3]int) {
	for i := 2; i >= 0; i-- {
		part := min(gone, p.covers[i])
		gone -= part
		points[i] = p.points[i]
		if p.covers[i] > 0 {
			points[i] -= p.points[i] * part / p.covers[i]
		}
	}
	return points
}

// counter is the house, what its members have, and what the issuer at the other end
// thinks: by the request's position, what stands.
type counter struct {
	*shell
	splits []*split
	has    [2]int
	stands map[points.Position]int
	did    map[string]int
	done   points.Totals // in the terminal's batch, and what of it was reversed
	undone points.Totals
}

// Sales that two programmes here and an issuer with a ledger of its own pay, answered in
// any way and undone in any order and part: the book and the oracle agree on what each
// programme has and reserves, what is carried out and what clearing says; when the issuer
// has heard all that it is owed, its ledger says what clearing says. Through checkpoints,
// crashes and next to no memory (I4, I9).
func TestTendersAtAnIssuerAgreeWithOracle(t *testing.T) {
	did := make(map[string]int)
	for seed := range *seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			c := &counter{
				shell: &shell{desk: clearingDesk(t, book.Options{Accounts: 1}), rng: rand.New(rand.NewPCG(uint64(seed), 53))},
				has:   [2]int{300, 500}, stands: make(map[points.Position]int), did: did,
			}
			c.furnishFar()
			for i, program := range []points.ProgramID{air, inn} {
				c.must(at("T1", uint32(9000+i), book.Command{Kind: book.KindEarn, Card: cardOf(1), Program: program, Amount: points.Amount(c.has[i])}))
			}
			for step := range 150 {
				switch n := c.rng.IntN(10); {
				case len(c.splits) == 0 || n < 2:
					c.sell(t, uint32(step+1))
				case n < 5:
					c.answer(t, c.any())
				case n < 6:
					c.hear(t, 1)
				default:
					c.undo(t, c.any(), uint32(step+1))
				}
				require.NoError(t, c.book.Audit())
				c.afterCommand(t)
				c.compare(t, step)
				trial, _, err := book.ReadTrialBalance(c.store)
				require.NoError(t, err)
				stands(t, c.desk, int(trial.Position), 1, c.book.Date())
			}
			for _, p := range c.splits {
				if p.state == "open" {
					c.answer(t, p)
				}
			}
			for len(c.book.Unfinished()) > 0 {
				c.hear(t, 1<<30)
			}
			require.Empty(t, c.book.Unfinished())
			sum := 0
			for _, stands := range c.stands {
				sum += stands
			}
			require.Equal(t, c.clearing(t, farMiles), sum, "the issuer's ledger and clearing")
			c.compare(t, -1)
			replay(t, c.desk, newDesk(t, book.Options{}))
		})
	}
	for _, kind := range []string{
		"sold", "declined", "part", "silent", "undone early", "refund", "void", "less", "reversal",
		"refund again", "void again", "too late", "told again",
	} {
		require.Positive(t, did[kind], "nobody had: %s", kind)
	}
}

func (c *counter) any() *split { return c.splits[max(0, len(c.splits)-1-c.rng.IntN(3))] }

// sell asks for a sale: the programmes here first, the issuer for the rest, wherever the
// terms name it.
func (c *counter) sell(t *testing.T, stan uint32) {
	terms := []book.TenderTerm{{Program: farMiles, Points: 3, Per: 2}, {Program: air, Points: 2, Per: 3}, {Program: inn, Points: 7, Per: 5}}
	p := &split{stan: stan, amount: 1 + c.rng.IntN(600), state: "open"}
	p.covers[0] = min(p.amount, c.has[0]*3/2)
	p.covers[1] = min(p.amount-p.covers[0], c.has[1]*5/7)
	p.covers[2] = p.amount - p.covers[0] - p.covers[1]
	p.points = [3]int{(p.covers[0]*2 + 2) / 3, (p.covers[1]*7 + 4) / 5, (p.covers[2]*3 + 1) / 2}
	out := c.must(at("T1", stan, book.Command{Kind: book.KindRedeem, Function: points.Redeem, Card: cardOf(1), Amount: points.Amount(p.amount), Tender: terms, Ask: true, Batch: 1}))
	p.position = out.Position
	require.Equal(t, p.covers[2] > 0, out.Forwarded, "%+v", *p)
	if !out.Forwarded {
		p.state = "sold"
		c.done.Add(points.DebitSide, points.Amount(p.amount), 1)
	} else {
		require.Equal(t, p.points[2], int(out.Amount), "%+v", *p)
		require.Equal(t, points.NotPermitted, c.do(book.Command{Kind: book.KindStandIn, Original: p.position}).Reason, "nobody stands in for a leg")
	}
	c.has[0], c.has[1] = c.has[0]-p.points[0], c.has[1]-p.points[1]
	c.splits = append(c.splits, p)
}

// end gives back what a sale reserved that is none.
func (c *counter) end(p *split, owed bool) {
	p.state, p.owed = "not", owed
	c.has[0], c.has[1] = c.has[0]+p.points[0], c.has[1]+p.points[1]
}

// answer has the issuer decide, or not; a sale that is decided takes none any more.
func (c *counter) answer(t *testing.T, p *split) {
	if p.state != "open" {
		return
	}
	cmd := book.Command{Kind: book.KindConclude, Original: p.position, Answer: points.Approved, Amount: points.Amount(p.points[2])}
	told := points.Approved
	switch n := c.rng.IntN(8); {
	case n < 4:
		c.did["sold"]++
		p.state, c.stands[p.position] = "sold", p.points[2]
		c.done.Add(points.DebitSide, points.Amount(p.amount), 1)
	case n < 5:
		c.did["declined"]++
		cmd.Answer, told = points.AccountFrozen, points.AccountFrozen
		c.end(p, false)
	case n < 6 && p.points[2] > 1: // It was not asked for a part.
		c.did["part"]++
		cmd.Answer, told = points.ApprovedPartly, points.NotEnoughPoints
		cmd.Amount = points.Amount(1 + c.rng.IntN(p.points[2]-1))
		c.stands[p.position] = int(cmd.Amount)
		c.end(p, true)
	default:
		c.did["silent"]++
		cmd.Kind, told = book.KindOwe, points.NoAnswer
		c.stands[p.position] = p.points[2] * c.rng.IntN(2)
		c.end(p, true)
	}
	out := c.must(cmd)
	require.Equal(t, told, out.Answer)
	again := c.do(at("T1", p.stan, book.Command{Kind: book.KindRedeem, Function: points.Redeem, Card: cardOf(1), Amount: points.Amount(p.amount)}))
	require.Equal(t, told, again.Reason, "a repeat is told what was told")
	if p.state == "sold" {
		require.Equal(t, p.amount, int(again.Amount))
		require.Equal(t, c.legs(p), again.Legs)
	}
	require.False(t, c.do(cmd).Reason.Approved() && p.state != "not", "an answer counts once")
}

func (c *counter) legs(p *split) (legs []book.TenderLeg) {
	for i, program := range []points.ProgramID{air, inn, farMiles} {
		if p.covers[i] > 0 {
			legs = append(legs, book.TenderLeg{Program: program, Amount: points.Amount(p.points[i]), Covers: points.Amount(p.covers[i])})
		}
	}
	return legs
}

// hear delivers up to so much of what the issuer is owed, in order.
func (c *counter) hear(t *testing.T, most int) {
	var owed []book.RemoteView
	for _, position := range c.book.Unfinished() {
		view, ok, err := c.book.Remote(position)
		require.NoError(t, err)
		require.True(t, ok)
		if view.Phase != book.RemoteOpen {
			owed = append(owed, view)
		}
	}
	slices.SortFunc(owed, func(x, y book.RemoteView) int {
		return cmp.Compare(max(x.Position, x.OwedBy), max(y.Position, y.OwedBy))
	})
	for _, view := range owed[:min(most, len(owed))] {
		i := slices.IndexFunc(c.splits, func(p *split) bool { return p.position == cmp.Or(view.Original, view.Position) })
		p, cmd := c.splits[i], book.Command{Kind: book.KindAcknowledge, Original: view.Position, Answer: points.Approved}
		switch {
		case view.Function == points.Refund && view.Phase == book.RemoteOwed:
			c.stands[view.Original] += int(view.Asked)
			p.taking--
		case view.Function == points.Refund && view.Reversed != 0 && c.rng.IntN(2) == 0:
			cmd.Answer = points.AccountClosed // It refuses what is reversed already.
			p.taking--
		case view.Function == points.Refund:
			c.stands[view.Original] -= int(view.Asked)
		case view.Phase == book.RemoteTold && view.Reversed != 0 && c.rng.IntN(2) == 0:
			cmd.Answer = points.NotEnoughPoints
		case view.Phase == book.RemoteTold:
			c.did["told again"]++
			c.stands[view.Position] = int(view.Asked)
		default:
			c.stands[view.Position] = int(view.Actual)
		}
		c.must(cmd)
		c.look(t, p)
	}
}

// look notes whether the issuer is owed the reversal of its leg.
func (c *counter) look(t *testing.T, p *split) {
	view, _, err := c.book.Remote(p.position)
	require.NoError(t, err)
	p.owed = view.Phase == book.RemoteOwed
}

// redo reverses a void or refund: of refunds the last one, once.
func (c *counter) redo(t *testing.T, p *split, stan uint32) {
	if len(p.backs.all) == 0 {
		return
	}
	g := p.backs.all[max(0, len(p.backs.all)-1-c.rng.IntN(3))]
	if g.kind == book.KindReverse {
		return
	}
	cmd := at("T1", stan, book.Command{Kind: book.KindReverse, OriginalKey: keyOf("T1", g.stan, 2), Final: true})
	cmd.Key.Class = 4
	effect := !g.undone && !p.reversed
	want := !effect || p.backs.last(g)
	out := c.do(cmd)
	require.Equal(t, want, out.Reason.Approved(), "reverse %+v of %+v: %v", *g, *p, out.Reason)
	if !want {
		c.did["too late"]++
		require.Equal(t, points.OriginalClosed, out.Reason)
		return
	}
	if !g.told {
		c.undone.Add(points.CreditSide, points.Amount(g.amount), 1)
		g.told = true
	}
	if !effect {
		require.Empty(t, out.Postings)
		return
	}
	c.did[g.kind.String()+" again"]++
	p.backs.take(g, &c.has)
	if g.kind == book.KindRefund && g.far > 0 {
		p.taking++
	}
	p.gone, p.over = g.gone, false
	c.look(t, p)
}

// undo undoes a sale, or a part of it.
func (c *counter) undo(t *testing.T, p *split, stan uint32) {
	part := 1 + c.rng.IntN(p.amount)/(1+c.rng.IntN(5))
	cmd := at("T1", stan, book.Command{OriginalKey: keyOf("T1", p.stan, 2), Batch: 1, Final: true})
	gone, want, over, sold := p.gone, false, p.over, p.state == "sold"
	var kind string
	switch c.rng.IntN(6) {
	case 4, 5:
		c.redo(t, p, stan)
		return
	case 0:
		kind, cmd.Kind, cmd.Card, cmd.Amount = "refund", book.KindRefund, cardOf(1), points.Amount(part)
		cmd.Function = points.Refund
		if want = sold && !p.over && p.gone+part <= p.amount; want {
			gone = p.gone + part
		}
	case 1:
		kind, cmd.Kind, cmd.Function = "void", book.KindVoid, points.Void
		if want = sold && !p.over && p.gone == 0; want {
			gone, over = p.amount, true
		}
	case 2: // A part: so much stands.
		kind, cmd.Kind, cmd.Key.Class, cmd.Actual, want = "less", book.KindReverse, 4, points.Amount(part), true
		if sold && !p.over {
			gone = max(gone, p.amount-part)
		}
	default:
		kind, cmd.Kind, cmd.Key.Class, want = "reversal", book.KindReverse, 4, true
		if sold && !p.over {
			gone, over = p.amount, true
		}
	}
	far := p.taken(p.gone)[2] - p.taken(gone)[2]
	switch {
	case far > 0 && p.taking > 0, far > 0 && kind == "refund" && p.owed, far > 0 && kind != "refund" && p.refunded() && p.taken(gone)[2] == 0:
		gone, want, over = p.gone, false, p.over // What the issuer is owed cannot be told any more.
	}
	out := c.do(cmd)
	require.Equal(t, want, out.Reason.Approved(), "%s to %d of %+v: %v", kind, gone, *p, out.Reason)
	if !want {
		return
	}
	if cmd.Kind == book.KindReverse && p.state == "open" {
		c.did["undone early"]++
		c.end(p, true)
		c.stands[p.position] = p.points[2] * c.rng.IntN(2)
		p.over = true
		return
	}
	if !p.owed {
		view, _, err := c.book.Remote(p.position)
		require.NoError(t, err)
		told := view.Phase == book.RemoteTold && kind != "refund" // The reversal follows the advice.
		require.Equal(t, far > 0 && !told, out.Forwarded && (p.state == "sold"), "%s of %+v", kind, *p)
	}
	if kind == "reversal" && sold && !p.reversed {
		c.undone.Add(points.DebitSide, points.Amount(p.amount-p.less), 1)
		p.reversed = true
	}
	if gone == p.gone {
		return
	}
	c.did[kind]++
	before, after := p.taken(p.gone), p.taken(gone)
	g := &back{stan: stan, kind: cmd.Kind, gone: p.gone, amount: gone - p.gone, far: far}
	p.backs.give(g, [2]int{before[0] - after[0], before[1] - after[1]}, &c.has)
	if p.covers[2] > 0 {
		c.look(t, p)
	}
	switch kind {
	case "less":
		c.undone.Add(points.DebitSide, points.Amount(gone-p.gone), 0)
		p.less += gone - p.gone
	case "reversal":
	default:
		c.done.Add(points.CreditSide, points.Amount(gone-p.gone), 1)
	}
	p.gone, p.over = gone, over
	if (kind == "void" || kind == "refund") && p.covers[2] > 0 {
		undo := at("T1", stan+5000, book.Command{Kind: book.KindReverse, OriginalKey: cmd.Key})
		undo.Key.Class = 4
		require.Equal(t, points.NotPermitted, c.do(undo).Reason, "records from before refuse to undo the %s", kind)
	}
}

// compare compares balances, what is reserved, and clearing.
func (c *counter) compare(t *testing.T, step int) {
	var held, cleared [3]int
	for _, p := range c.splits {
		for i, taken := range p.taken(p.gone) {
			switch p.state {
			case "open":
				held[i] += taken
			case "sold":
				cleared[i] += taken
			}
		}
	}
	for i, program := range []points.ProgramID{air, inn} {
		a, _, err := c.book.Account(book.AccountKey{Kind: book.MemberAccount, Program: program, Party: 1})
		require.NoError(t, err)
		require.Equal(t, c.has[i], int(a.Free), "step %d, programme %d", step, program)
		require.Equal(t, held[i], int(a.Held), "step %d, programme %d", step, program)
		require.Equal(t, cleared[i]-[2]int{300, 500}[i], c.clearing(t, program), "step %d, programme %d", step, program)
	}
	require.Equal(t, cleared[2], c.clearing(t, farMiles), "step %d, the issuer's", step)
	totals, _, err := c.book.Batches(acquirer, merchantID("SHOP"), terminalID("T1"))
	require.NoError(t, err)
	var tally book.Tally
	if len(totals.Batches) > 0 {
		tally = totals.Batches[0].Tally
	}
	require.Equal(t, book.Tally{Done: c.done, Undone: c.undone}, tally, "step %d: the batch", step)
	last := c.splits[len(c.splits)-1]
	amount, counts, err := c.book.Counted(last.position)
	require.NoError(t, err)
	require.Equal(t, last.state == "sold" && !last.reversed, counts, "step %d: %+v", step, *last)
	if counts {
		require.Equal(t, last.amount-last.less, int(amount), "step %d: %+v", step, *last)
	}
}

func (c *counter) clearing(t *testing.T, program points.ProgramID) int {
	a, _, err := c.book.Account(book.AccountKey{Kind: book.ClearingAccount, Program: program, Party: uint64(acquirer)})
	require.NoError(t, err)
	return int(a.Balance)
}

// A tender that may not ask, as those in journals from before, passes over the programme
// of an issuer with a ledger of its own.
func TestTenderThatMayNotAsk(t *testing.T) {
	s := &shell{desk: clearingDesk(t, book.Options{}), rng: rand.New(rand.NewPCG(1, 59))}
	s.furnishFar()
	s.must(at("T1", 1, book.Command{Kind: book.KindEarn, Card: cardOf(1), Program: air, Amount: 50}))
	terms := []book.TenderTerm{{Program: farMiles, Points: 1, Per: 1}, {Program: air, Points: 1, Per: 1}}
	sale := book.Command{Kind: book.KindRedeem, Function: points.Redeem, Card: cardOf(1), Amount: 60, Tender: terms}
	out := s.do(at("T1", 2, sale))
	require.Equal(t, points.NotEnoughPoints, out.Reason)
	require.False(t, out.Forwarded)
	require.Empty(t, s.book.Unfinished())
	sale.Amount = 50
	out = s.must(at("T1", 3, sale))
	require.Equal(t, []book.TenderLeg{{Program: air, Amount: 50, Covers: 50}}, out.Legs)
}
