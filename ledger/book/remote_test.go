package book_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// far is the issuer with a ledger of its own, and its programme.
const (
	far      = points.IssuerID(3001)
	farMiles = points.ProgramID(903)
)

// pawn is the oracle of one forwarded redemption: what was decided, and what clearing
// has because of it. It knows no entities, only what the specification says.
type pawn struct {
	position points.Position
	key      points.TraceKey
	amount   int
	state    string // open, done, owed, told, queued-owed, queued-told
	booked   int
	approved bool
	reversed bool
	doubtful bool          // approved here after a time-out; the issuer may have the request too
	replaced bool          // ... and does not: it is told
	part     bool          // a reversal of a part is owed, or will be
	pending  int           // what it takes off
	reduced  int           // by those that were acknowledged, and by it
	answer   points.Reason // the acquirer was told; 0: nothing yet
}

// act plays one command on the pawn and says whether it is carried out.
func (p *pawn) act(kind book.Kind, answer points.Reason, final bool, actual int) bool {
	switch kind {
	case book.KindConclude:
		return p.conclude(answer)
	case book.KindOwe:
		if p.state != "open" {
			return false
		}
		p.state, p.answer = "owed", points.NoAnswer
	case book.KindStandIn:
		if p.state != "open" {
			return false
		}
		p.state, p.answer, p.booked, p.approved = "told", points.ApprovedStandIn, p.amount, true
		if answer == points.NoAnswer {
			p.state, p.doubtful = "owed", true
		}
	case book.KindAcknowledge:
		return p.acknowledge(answer, final)
	case book.KindGiveUp:
		if p.state != "owed" && p.state != "told" {
			return false
		}
		p.state = "queued-" + p.state
	case book.KindResolve:
		return p.resolve(answer)
	case book.KindReverse:
		if actual == 0 || p.state == "open" {
			p.reverse()
		} else {
			p.reduce(actual)
		}
	default:
	}
	return true
}

func (p *pawn) conclude(answer points.Reason) bool {
	switch {
	case p.state == "open":
		p.state, p.answer = "done", answer
		if answer.Approved() {
			p.booked, p.approved = p.amount, true
		}
	case p.state == "owed" && p.part && !p.doubtful:
		return false
	case p.state == "owed" && !answer.Approved():
		p.gone()
	case p.state == "told" && p.replaced:
		return false
	case p.state == "told":
		return p.acknowledge(answer, false)
	default:
		return p.state == "owed"
	}
	return true
}

func (p *pawn) acknowledge(answer points.Reason, final bool) bool {
	switch {
	case p.state == "owed" && (answer.Approved() || (answer == points.UnknownOriginal && final)):
		p.gone()
	case p.state == "owed" && answer == points.OriginalClosed:
		p.state = "queued-owed"
	case p.state == "told" && !answer.Approved():
		p.state = "queued-told"
	case p.state == "told" && (p.reversed || p.part):
		p.state = "owed"
	case p.state == "told":
		p.state = "done"
	default:
		return false
	}
	return true
}

// gone is the end of a reversal: of a doubtful request its advice follows.
func (p *pawn) gone() {
	p.state = "done"
	if p.doubtful {
		p.state, p.doubtful, p.replaced = "told", false, true
		return
	}
	p.part, p.pending = false, 0
}

func (p *pawn) resolve(answer points.Reason) bool {
	stands := answer == points.Approved
	switch {
	case p.state == "queued-owed" && p.doubtful && stands:
		p.doubtful = false
		if p.part {
			p.state = "owed"
			return true
		}
	case p.state == "queued-owed" && p.doubtful:
		p.gone()
		return true
	case p.state == "queued-owed" && p.part && stands:
		p.booked += p.pending
	case p.state == "queued-owed" && stands:
		p.booked, p.approved = p.amount-p.reduced, true
	case p.state == "queued-told" && stands && (p.reversed || p.part):
		p.state = "owed"
		return true
	case p.state == "queued-owed", p.state == "queued-told":
	default:
		return false
	}
	if p.part && stands {
		p.reduced -= p.pending
	}
	p.state, p.part, p.pending = "done", false, 0
	return true
}

// reduce leaves actual standing, where so much stands.
func (p *pawn) reduce(actual int) {
	if !p.approved || p.reversed || p.booked <= actual {
		return
	}
	back := p.booked - actual
	p.booked, p.reduced, p.pending = actual, p.reduced+back, p.pending+back
	p.part = true
	if p.state == "done" {
		p.state = "owed"
	}
}

func (p *pawn) reverse() {
	if p.reversed || (p.state == "done" && !p.approved) {
		return
	}
	p.reversed, p.booked = true, 0
	p.doubtful, p.part, p.pending = false, false, 0
	switch p.state {
	case "open", "done":
		p.state = "owed"
	case "queued-told":
		p.state = "queued-owed"
	}
}

// Forwarded redemptions under any sequence of answers, time-outs, reversals and
// operators: the book and the oracle agree on what is carried out, on what is unfinished
// and on clearing, through checkpoints, crashes and next to no memory (I4, I9).
func TestForwardedAgreeWithOracle(t *testing.T) {
	for seed := range *seeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			s := &shell{desk: clearingDesk(t, book.Options{Accounts: 1}), rng: rand.New(rand.NewPCG(uint64(seed), 31))}
			s.furnishFar()
			var pawns []*pawn
			for step := range 300 {
				if len(pawns) == 0 || s.rng.IntN(5) == 0 {
					pawns = append(pawns, s.forward(uint32(step+1)))
				} else {
					s.play(t, pawns[max(0, len(pawns)-1-s.rng.IntN(4))])
				}
				require.NoError(t, s.book.Audit())
				s.afterCommand(t)
				s.agree(t, pawns)
			}
			replay(t, s.desk, newDesk(t, book.Options{}))
		})
	}
}

func (s *shell) furnishFar() {
	s.furnish(1, kindRules, kindRules)
	s.put(book.Entry{Issuer: &book.Issuer{ID: far, Name: "Far", Status: book.Active, Link: "far"}})
	s.put(book.Entry{Program: &book.Program{ID: farMiles, Issuer: far, Name: "Miles", Status: book.Active}})
	if s.clears {
		s.rated(farMiles)
	}
	s.put(book.Entry{Merchant: &book.Merchant{ID: merchantID("SHOP"), Acquirer: acquirer, Name: "Shop", Status: book.Active, Programs: []points.ProgramID{air, inn, farMiles}}})
}

func (s *shell) forward(stan uint32) *pawn {
	amount := 1 + s.rng.IntN(50)
	cmd := at("T1", stan, book.Command{Kind: book.KindForward, Function: points.Redeem, Card: cardOf(points.MemberID(7 + s.rng.IntN(3))), Program: farMiles, Amount: points.Amount(amount)})
	out := s.must(cmd)
	require.True(s.tb, out.Forwarded)
	return &pawn{position: out.Position, key: cmd.Key, amount: amount, state: "open"}
}

// play does one thing to p in the book and in the oracle.
func (s *shell) play(t *testing.T, p *pawn) {
	answers := []points.Reason{points.Approved, points.NotEnoughPoints, points.UnknownOriginal, points.OriginalClosed, points.ReversedBefore}
	kinds := []book.Kind{book.KindConclude, book.KindConclude, book.KindOwe, book.KindStandIn, book.KindAcknowledge, book.KindAcknowledge, book.KindGiveUp, book.KindResolve, book.KindReverse}
	kind, answer, final := kinds[s.rng.IntN(len(kinds))], answers[s.rng.IntN(len(answers))], s.rng.IntN(2) == 0
	if kind == book.KindResolve {
		answer = []points.Reason{points.Approved, points.ReversedBefore}[s.rng.IntN(2)]
	}
	if kind == book.KindStandIn {
		answer = []points.Reason{0, points.NoAnswer}[s.rng.IntN(2)]
	}
	cmd := book.Command{Kind: kind, Original: p.position, Answer: answer, Final: final, Operator: "li", Second: "wang"}
	actual := 0
	if kind == book.KindReverse {
		key := p.key
		key.Class = 4
		if s.rng.IntN(2) == 0 {
			actual = 1 + s.rng.IntN(p.amount)
			key.STAN += points.STAN(1000 * (1 + len(s.store.journal))) // Of nobody else.
		}
		cmd = book.Command{Kind: kind, Key: key, OriginalKey: p.key, Acquirer: acquirer, Merchant: merchantID("SHOP"), Terminal: terminalID("T1"), Reverses: points.Redeem, Actual: points.Amount(actual), Final: actual > 0}
	}
	before := s.book.Digest()
	written := len(s.store.journal)
	out := s.do(cmd)
	repeat := out.Replayed // The reversal came before.
	if !repeat {
		require.Equal(t, p.act(kind, answer, final, actual), out.Reason.Approved(), "%v with %v of a pawn that is now %+v: %v", kind, answer, *p, out.Reason)
	}
	if len(s.store.journal) == written {
		require.Equal(t, before, s.book.Digest(), "what is not written changes nothing")
	}
}

// agree compares what is unfinished, what the acquirers are told again, and clearing.
func (s *shell) agree(t *testing.T, pawns []*pawn) {
	unfinished := make(map[points.Position]bool)
	for _, position := range s.book.Unfinished() {
		unfinished[position] = true
	}
	booked := 0
	for _, p := range pawns {
		require.Equal(t, p.state != "done", unfinished[p.position], "%+v", *p)
		booked += p.booked
		view, ok, err := s.book.Remote(p.position)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, p.booked, int(view.Booked), "%+v", *p)
	}
	view, _, err := s.book.Account(book.AccountKey{Kind: book.ClearingAccount, Program: farMiles, Party: uint64(acquirer)})
	require.NoError(t, err)
	require.Equal(t, booked, int(view.Balance), "clearing")
	last := pawns[len(pawns)-1]
	again := s.do(at("T1", uint32(last.key.STAN), book.Command{Kind: book.KindForward, Function: points.Redeem, Card: s.cardOf(t, last), Program: farMiles, Amount: points.Amount(last.amount)}))
	switch {
	case last.reversed:
		require.Equal(t, points.ReversedBefore, again.Reason)
	case last.answer == 0:
		require.True(t, again.Forwarded && again.Replayed, "no answer yet")
	default:
		require.Equal(t, last.answer, again.Reason, "a repeat is told what was told")
		require.Equal(t, last.position, again.Position)
	}
}

func (s *shell) cardOf(t *testing.T, p *pawn) points.CardToken {
	view, _, err := s.book.Remote(p.position)
	require.NoError(t, err)
	return view.Card
}
