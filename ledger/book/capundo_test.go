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

// Whoever reverses his own voids, refunds and releases has no more room under a cap than
// anybody else: what they gave back may be used, and then they stand (I21). With room their
// reversal is approved as ever, and one of an older edition keeps its meaning.
func TestUndoingAnUndoingAsksForRoom(t *testing.T) {
	undo := map[string]struct {
		first, then book.Kind
		amount      points.Amount
	}{
		"void":    {book.KindRedeem, book.KindVoid, 0},
		"refund":  {book.KindRedeem, book.KindRefund, 20},
		"release": {book.KindHold, book.KindRelease, 0},
	}
	for name, u := range undo {
		for _, room := range []bool{false, true} {
			for edition := range uint8(3) {
				t.Run(fmt.Sprintf("%s, room %v, edition %d", name, room, edition), func(t *testing.T) {
					d := clearingDesk(t, book.Options{})
					d.furnish(1, kindRules, kindRules)
					d.must(book.Command{Kind: book.KindAdjust, Operator: "li", Second: "wang", Member: 1, Program: inn, Amount: 5000})
					d.must(capped(book.Cap{Member: tariff.Member(issuer), Cap: 40, Prefund: 40, Holds: true}))
					first := d.must(at("T1", 1, book.Command{Kind: u.first, Card: cardOf(1), Program: inn, Amount: 20})).Position
					back := d.must(at("T1", 2, book.Command{Kind: u.then, Card: cardOf(1), Original: first, Amount: u.amount})).Position
					require.Equal(t, points.Amount(40), d.book.Exposures()[0].Headroom)
					if !room {
						d.must(at("T1", 3, book.Command{Kind: book.KindRedeem, Card: cardOf(1), Program: inn, Amount: 20}))
					}
					again := at("T1", 4, book.Command{Kind: book.KindReverse, Function: points.Reversal, Original: back, Edition: edition})
					out := d.do(again)
					if room || edition < 2 {
						require.Equal(t, points.Approved, out.Reason)
						require.Equal(t, points.Amount(20), out.Amount)
					} else {
						require.Equal(t, points.OverSettlementCap, out.Reason)
						require.Equal(t, points.Amount(0), d.book.Exposures()[0].Headroom)
						d.must(at("T1", 5, book.Command{Kind: book.KindReverse, Function: points.Reversal, OriginalKey: keyOf("T1", 3, 2), Edition: edition}))
						again.Key = keyOf("T1", 6, 2)
						d.must(again) // There is room now.
					}
					require.NoError(t, d.book.Audit())
					replay(t, d, newDesk(t, book.Options{}))
				})
			}
		}
	}
}

// player asks at a desk on which the issuer has a cap of 40 and a point is worth 2.
type player struct {
	*desk
	stan uint32
}

func newPlayer(t *testing.T) *player {
	p := &player{desk: clearingDesk(t, book.Options{})}
	(&shell{desk: p.desk}).furnishFar()
	for _, program := range []points.ProgramID{air, inn} {
		p.must(book.Command{Kind: book.KindAdjust, Operator: "li", Second: "wang", Member: 1, Program: program, Amount: 5000})
	}
	for _, member := range []tariff.Member{tariff.Member(issuer), tariff.Member(far)} {
		p.must(capped(book.Cap{Member: member, Cap: 40, Prefund: 40, Holds: true}))
	}
	t.Cleanup(func() {
		require.NoError(t, p.book.Audit())
		replay(t, p.desk, newDesk(t, book.Options{}))
	})
	return p
}

func (p *player) ask(want points.Reason, cmd book.Command) points.Position {
	p.tb.Helper()
	p.stan++
	if cmd.Kind == book.KindReverse {
		cmd.Function, cmd.Edition, cmd.Final = points.Reversal, book.Edition, true
	}
	out := p.do(at("T1", p.stan, cmd))
	require.Equal(p.tb, want, out.Reason)
	position := out.Position
	if _, forwarded, err := p.book.Remote(position); forwarded && err == nil {
		p.must(book.Command{Kind: book.KindConclude, Original: position, Answer: points.Approved})
	}
	return position
}

// owes is what the issuer, and the one elsewhere, owe or reserve.
func (p *player) owes(here, elsewhere points.Amount) {
	p.tb.Helper()
	e := p.book.Exposures()
	require.Equal(p.tb, []points.Amount{here, elsewhere}, []points.Amount{e[0].Owes, e[1].Owes})
}

// A capture that comes back needs no room beside what its hold reserves: all of a cap may be
// held while the capture's void is reversed.
func TestACaptureStandsAgainInItsHoldsRoom(t *testing.T) {
	for name, hold := range map[string]book.Command{
		"here":      {Kind: book.KindHold, Card: cardOf(1), Program: inn, Amount: 20},
		"elsewhere": {Kind: book.KindForward, Function: points.PreAuth, Card: cardOf(7), Program: farMiles, Amount: 24},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlayer(t)
			held := p.ask(points.Approved, hold)
			capture := p.ask(points.Approved, book.Command{Kind: book.KindCapture, Function: points.Completion, Original: held, Amount: hold.Amount, Final: true})
			void := p.ask(points.Approved, book.Command{Kind: book.KindVoid, Function: points.CompletionVoid, Original: capture, Final: true})
			before := p.book.Exposures()
			p.ask(points.Approved, book.Command{Kind: book.KindReverse, Original: void})
			require.Equal(t, before[0].Owes+before[1].Owes, p.book.Exposures()[0].Owes+p.book.Exposures()[1].Owes)
			require.Equal(t, before[0].Reserved+before[1].Reserved, points.Amount(40))
		})
	}
}

// The reversal of a last capture gives its hold what it has released as far as there is room
// for that: else only what was captured, as the void of it does.
func TestALastCapturesRestAsksForRoom(t *testing.T) {
	p := newPlayer(t)
	held := p.ask(points.Approved, book.Command{Kind: book.KindHold, Card: cardOf(1), Program: inn, Amount: 20})
	capture := p.ask(points.Approved, book.Command{Kind: book.KindCapture, Original: held, Amount: 5, Final: true})
	sale := p.ask(points.Approved, book.Command{Kind: book.KindRedeem, Card: cardOf(1), Program: inn, Amount: 15})
	p.owes(40, 0)
	p.ask(points.Approved, book.Command{Kind: book.KindReverse, Original: capture})
	p.owes(40, 0)
	p.ask(points.AmountOverOriginal, book.Command{Kind: book.KindCapture, Original: held, Amount: 6})
	p.ask(points.Approved, book.Command{Kind: book.KindReverse, Original: sale})
	capture = p.ask(points.Approved, book.Command{Kind: book.KindCapture, Original: held, Amount: 4, Final: true})
	p.ask(points.Approved, book.Command{Kind: book.KindReverse, Original: capture})
	p.owes(10, 0)
	p.ask(points.Approved, book.Command{Kind: book.KindCapture, Original: held, Amount: 5})

	far := p.ask(points.Approved, book.Command{Kind: book.KindForward, Function: points.PreAuth, Card: cardOf(7), Program: farMiles, Amount: 24})
	capture = p.ask(points.Approved, book.Command{Kind: book.KindCapture, Function: points.Completion, Original: far, Amount: 6, Final: true})
	sale = p.ask(points.Approved, book.Command{Kind: book.KindForward, Function: points.Redeem, Card: cardOf(7), Program: farMiles, Amount: 18})
	p.owes(10, 40)
	p.ask(points.OverSettlementCap, book.Command{Kind: book.KindReverse, Original: capture})
	p.owes(10, 40)
	p.ask(points.Approved, book.Command{Kind: book.KindReverse, Original: sale})
	p.ask(points.Approved, book.Command{Kind: book.KindReverse, Original: capture})
	p.owes(10, 40)
	p.must(book.Command{Kind: book.KindAcknowledge, Original: capture, Answer: points.Approved})
	p.owes(10, 40)
}

// The reversal of a hold elsewhere that was captured meanwhile does nothing, and what is left
// of it goes on reserving.
func TestAReversalOfACapturedHoldLetsGoOfNothing(t *testing.T) {
	p := newPlayer(t)
	far := p.ask(points.Approved, book.Command{Kind: book.KindForward, Function: points.PreAuth, Card: cardOf(7), Program: farMiles, Amount: 24})
	p.ask(points.Approved, book.Command{Kind: book.KindCapture, Function: points.Completion, Original: far, Amount: 6})
	p.ask(points.Approved, book.Command{Kind: book.KindReverse, Original: far})
	p.owes(0, 40)

	p = newPlayer(t)
	far = p.ask(points.Approved, book.Command{Kind: book.KindForward, Function: points.PreAuth, Card: cardOf(7), Program: farMiles, Amount: 24})
	p.ask(points.Approved, book.Command{Kind: book.KindCapture, Function: points.Completion, Original: far, Amount: 6, Final: true})
	p.ask(points.Approved, book.Command{Kind: book.KindReverse, Original: far})
	p.owes(0, 10) // Its last capture has closed it.
}

// A hold elsewhere that has outlived its days reserves nothing, and so asks for nothing when
// its release is reversed.
func TestAnOldHoldAsksForNoRoom(t *testing.T) {
	for days, want := range map[int]points.Reason{30: points.OverSettlementCap, 31: points.Approved} {
		p := newPlayer(t)
		far := p.ask(points.Approved, book.Command{Kind: book.KindForward, Function: points.PreAuth, Card: cardOf(7), Program: farMiles, Amount: 24})
		release := p.ask(points.Approved, book.Command{Kind: book.KindRelease, Function: points.PreAuthVoid, Original: far})
		p.ask(points.Approved, book.Command{Kind: book.KindForward, Function: points.Redeem, Card: cardOf(7), Program: farMiles, Amount: 24})
		p.must(book.Command{Kind: book.KindCutOver, Date: p.book.Date().AddDays(days)})
		p.ask(want, book.Command{Kind: book.KindReverse, Original: release})
		p.owes(0, 40)
	}
}

// What makes a member owe less when it comes back asks for nothing, and what makes an
// acquirer owe more does: the void of an earn.
func TestAnEarnStandsAgain(t *testing.T) {
	p := newPlayer(t)
	earn := p.ask(points.Approved, book.Command{Kind: book.KindEarn, Card: cardOf(1), Program: inn, Amount: 10})
	void := p.ask(points.Approved, book.Command{Kind: book.KindVoid, Function: points.Void, Original: earn})
	sale := p.ask(points.Approved, book.Command{Kind: book.KindRedeem, Card: cardOf(1), Program: inn, Amount: 20})
	p.owes(40, 0)
	p.ask(points.Approved, book.Command{Kind: book.KindReverse, Original: void})
	p.owes(20, 0)

	void = p.ask(points.Approved, book.Command{Kind: book.KindVoid, Function: points.Void, Original: earn})
	p.ask(points.Approved, book.Command{Kind: book.KindRefund, Function: points.Refund, Card: cardOf(1), Original: sale, Amount: 20})
	p.must(capped(book.Cap{Member: tariff.Member(acquirer), Cap: 0}))
	owes := p.book.Exposures()[1].Owes
	p.must(capped(book.Cap{Member: tariff.Member(acquirer), Cap: owes + 19, Prefund: owes + 19}))
	p.ask(points.OverSettlementCap, book.Command{Kind: book.KindReverse, Original: void})
	p.must(capped(book.Cap{Member: tariff.Member(acquirer), Cap: owes + 30, Prefund: owes + 30}))
	p.ask(points.Approved, book.Command{Kind: book.KindReverse, Original: void})
}

// A sale that programmes here and an issuer elsewhere paid asks for room at each of them when
// its void, or its last refund, is reversed.
func TestATenderStandsAgain(t *testing.T) {
	terms := []book.TenderTerm{{Program: farMiles, Points: 1, Per: 1}, {Program: inn, Points: 1, Per: 1}}
	for _, undo := range []book.Command{{Kind: book.KindVoid, Function: points.Void}, {Kind: book.KindRefund, Function: points.Refund, Card: cardOf(1), Amount: 5015}} {
		for _, fill := range []book.Command{
			{Kind: book.KindRedeem, Card: cardOf(1), Program: inn, Amount: 20},
			{Kind: book.KindForward, Function: points.Redeem, Card: cardOf(7), Program: farMiles, Amount: 24},
		} {
			p := newPlayer(t)
			p.must(capped(book.Cap{Member: tariff.Member(issuer), Cap: 12_000, Prefund: 12_000, Holds: true}))
			sale := p.ask(points.Approved, book.Command{Kind: book.KindRedeem, Function: points.Redeem, Card: cardOf(1), Amount: 5015, Tender: terms, Ask: true})
			require.Equal(t, points.Amount(25), p.book.Exposures()[1].Owes, "15 points of the other issuer")
			owed := p.book.Exposures()[0].Owes
			undo.Original, undo.Final = sale, true
			gone := p.ask(points.Approved, undo)
			require.LessOrEqual(t, p.book.Exposures()[1].Owes, points.Amount(0))
			p.must(capped(book.Cap{Member: tariff.Member(issuer), Cap: owed, Prefund: owed, Holds: true}))
			filled := p.ask(points.Approved, fill)
			p.ask(points.OverSettlementCap, book.Command{Kind: book.KindReverse, Original: gone})
			p.ask(points.Approved, book.Command{Kind: book.KindReverse, Original: filled})
			p.ask(points.Approved, book.Command{Kind: book.KindReverse, Original: gone})
			require.Equal(t, []points.Amount{owed, 25}, []points.Amount{p.book.Exposures()[0].Owes, p.book.Exposures()[1].Owes})
		}
	}
}

// gambler sells, holds and undoes at random, at programmes here and at an issuer elsewhere.
type gambler struct {
	*shell
	stan    uint32
	done    []points.Position
	closed  map[points.Position]bool // by their last capture
	rounded points.Amount            // how many commands may have rounded a part up
}

// Nothing that a terminal can ask for takes a member whose points are spent beyond its cap,
// in whatever order sales and holds are undone and that is undone again (I21). A hold in
// parts, each of which is rounded, may do so by a unit a part.
func TestNoOrderOfUndoingPassesACap(t *testing.T) {
	reached := make(map[string]int)
	for seed := range *seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			g := &gambler{shell: &shell{desk: clearingDesk(t, book.Options{}), rng: rand.New(rand.NewPCG(uint64(seed), 61))}, closed: make(map[points.Position]bool)}
			g.furnishFar()
			for _, program := range []points.ProgramID{air, inn} {
				g.must(book.Command{Kind: book.KindAdjust, Operator: "li", Second: "wang", Member: 1, Program: program, Amount: 1 << 20})
			}
			for _, member := range []tariff.Member{tariff.Member(issuer), tariff.Member(far)} {
				g.must(capped(book.Cap{Member: member, Cap: 100, Prefund: 100, Holds: true}))
			}
			for range 120 {
				before := g.book.Exposures()
				cmd := g.next()
				out := g.do(cmd)
				if out.Reason.Approved() && out.Position != 0 {
					g.approved(&cmd, out)
				}
				reached[fmt.Sprintf("kind %d %v", cmd.Kind, out.Reason)]++
				for i, e := range g.book.Exposures() {
					require.LessOrEqual(t, e.Owes, max(e.Cap.Cap+g.rounded, before[i].Owes), "kind %d of %d (%s): %v, before %+v", cmd.Kind, cmd.Original, g.story(cmd.Original), out.Reason, before)
				}
				require.NoError(t, g.book.Audit())
			}
			replay(t, g.desk, newDesk(t, book.Options{}))
		})
	}
	for _, want := range []string{"kind %d over_settlement_cap", "kind %d approved"} {
		require.NotZero(t, reached[fmt.Sprintf(want, book.KindReverse)], "%v", reached)
	}
}

func (g *gambler) approved(cmd *book.Command, out *book.Outcome) {
	position := out.Position
	g.done = append(g.done, position)
	if cmd.Kind == book.KindCapture || cmd.Kind == book.KindIncrement {
		g.rounded++
	}
	if out.Forwarded && cmd.Kind != book.KindReverse {
		answer := points.Approved
		if g.rng.IntN(6) == 0 {
			answer = points.NotEnoughPoints
		}
		if cmd.Kind == book.KindCapture && cmd.Final && answer.Approved() {
			g.closed[cmd.Original] = true
		}
		g.do(book.Command{Kind: book.KindConclude, Original: position, Answer: answer})
	}
}

func (g *gambler) is(position points.Position, kind book.Kind) bool {
	var rec book.Record
	require.NoError(g.tb, g.store.Record(position, &rec))
	return rec.Command.Kind == kind
}

// story says what a position was, and what it was about.
func (g *gambler) story(position points.Position) (s string) {
	for position != 0 {
		var rec book.Record
		require.NoError(g.tb, g.store.Record(position, &rec))
		s += fmt.Sprintf("%d: kind %d, function %v, amount %d; ", position, rec.Command.Kind, rec.Command.Function, rec.Outcome.Amount)
		position = rec.Outcome.Original
	}
	return s
}

// next is something that a terminal may ask for.
func (g *gambler) next() book.Command {
	g.stan++
	cmd := book.Command{Amount: points.Amount(1 + g.rng.IntN(30)), Program: []points.ProgramID{air, inn}[g.rng.IntN(2)], Card: cardOf(1)}
	if n := len(g.done); n > 0 && g.rng.IntN(3) > 0 {
		cmd.Original = g.done[n-1-g.rng.IntN(min(n, 6))]
		cmd.Program, cmd.Card, cmd.Final, cmd.Edition = 0, points.CardToken{}, true, book.Edition
		cmd.Kind = []book.Kind{book.KindVoid, book.KindRefund, book.KindRelease, book.KindCapture, book.KindIncrement, book.KindReverse, book.KindReverse, book.KindReverse}[g.rng.IntN(8)]
		if cmd.Kind == book.KindCapture && g.closed[cmd.Original] {
			cmd.Kind = book.KindReverse // Its issuer would let nothing more be captured.
		}
		switch cmd.Kind {
		case book.KindVoid:
			cmd.Amount, cmd.Function = 0, points.Void
			if g.is(cmd.Original, book.KindCapture) {
				cmd.Function = points.CompletionVoid
			}
		case book.KindRelease:
			cmd.Amount, cmd.Function = 0, points.PreAuthVoid
		case book.KindRefund:
			cmd.Function = points.Refund
		case book.KindReverse:
			cmd.Amount, cmd.Function = 0, points.Reversal
		case book.KindCapture:
			cmd.Function, cmd.Final = points.Completion, g.rng.IntN(2) == 0
		default:
		}
		return at("T1", g.stan, cmd)
	}
	switch g.rng.IntN(5) {
	case 0:
		cmd.Kind = book.KindHold
	case 1:
		cmd.Kind, cmd.Function, cmd.Program, cmd.Card = book.KindForward, points.Redeem, farMiles, cardOf(7)
	case 2:
		cmd.Kind, cmd.Function, cmd.Program, cmd.Card = book.KindForward, points.PreAuth, farMiles, cardOf(7)
	case 3:
		cmd.Kind, cmd.Function, cmd.Program = book.KindRedeem, points.Redeem, 0
		cmd.Tender = []book.TenderTerm{{Program: air, Points: 2, Per: 3}, {Program: inn, Points: 7, Per: 5}}
	default:
		cmd.Kind = book.KindRedeem
	}
	return at("T1", g.stan, cmd)
}
