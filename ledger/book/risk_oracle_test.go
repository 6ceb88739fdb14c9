package book_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

var riskSeeds = flag.Int("risk-seeds", 30, "how many seeded sequences go past the rules on risk")

const minute = points.Timestamp(60_000_000)

// past is one transaction as the oracle remembers it: all that was ever asked, in a list.
type past struct {
	position points.Position
	cmd      book.Command
	member   points.MemberID
	posted   points.Timestamp
	date     points.BusinessDate
	stands   points.Amount // what of it counts; 0 where it was undone
	undone   bool
	declined bool
	captured bool
	done     points.Position  // of a lock: by which it was executed
	until    points.Timestamp // of a lock: its end
}

// naive is the oracle of the rules: it keeps no window and no counter, but filters the
// list of all that was asked, from the first on.
type naive struct {
	cards map[points.CardToken]points.Timestamp // when first put
	list  []*past
	rules []book.RiskRule
	since []points.Position
}

// set takes in new rules. One that is worded as before goes on.
func (n *naive) set(rules []book.RiskRule, position points.Position) {
	since := make([]points.Position, len(rules))
	for i := range rules {
		since[i] = position
		for j := range n.rules {
			old, now := n.rules[j], rules[i]
			old.Limit, old.Action, old.Reason = now.Limit, now.Action, now.Reason
			if fmt.Sprintf("%+v", old) == fmt.Sprintf("%+v", now) {
				since[i] = n.since[j]
			}
		}
	}
	n.rules, n.since = rules, since
}

func isEarn(f points.Function) bool { return f == points.Earn || f == points.OfflineEarn }

// looksAt reports whether a rule is about a transaction.
func (n *naive) looksAt(r *book.RiskRule, p *past) bool {
	functions := r.Functions
	loop := r.Measure == book.LoopShare || r.Measure == book.LoopCount
	if loop {
		functions = append([]points.Function{points.Redeem, points.PreAuth, points.OfflineRedeem, points.Earn, points.OfflineEarn}, functions...)
	} else if len(functions) == 0 {
		functions = []points.Function{points.Redeem, points.PreAuth}
	}
	c := &p.cmd
	in := func(ok bool, empty int) bool { return empty == 0 || ok }
	if !slices.Contains(functions, c.Function) || !in(slices.Contains(r.Programs, c.Program), len(r.Programs)) ||
		!in(slices.Contains(r.Merchants, c.Merchant), len(r.Merchants)) || !in(slices.Contains(r.Terminals, c.Terminal), len(r.Terminals)) ||
		!in(slices.Contains(r.EntryModes, c.EntryMode/10), len(r.EntryModes)) || c.Amount < r.From || (r.To > 0 && c.Amount > r.To) {
		return false
	}
	if r.NewHours > 0 {
		put := n.cards[c.Card]
		return put > 0 && p.posted < put+points.Timestamp(r.NewHours)*60*minute
	}
	return true
}

// samePer reports whether a rule counts two transactions together.
func samePer(per book.Per, x, y *past) bool {
	who := func(p *past) string {
		if per&book.PerMember != 0 && p.member != 0 {
			return fmt.Sprint("member", p.member)
		}
		return "card" + string(p.cmd.Card[:]) // whose String shows the beginning only
	}
	a, b := &x.cmd, &y.cmd
	return (per&(book.PerCard|book.PerMember) == 0 || who(x) == who(y)) &&
		(per&book.PerTerminal == 0 || a.Terminal == b.Terminal) && (per&book.PerMerchant == 0 || a.Merchant == b.Merchant) &&
		(per&book.PerAcquirer == 0 || a.Acquirer == b.Acquirer) && (per&book.PerProgram == 0 || a.Program == b.Program)
}

// inTime reports whether p lies in a rule's window at the time of now.
func inTime(r *book.RiskRule, p, now *past) bool {
	switch r.Window {
	case book.BusinessDay:
		return p.date == now.date
	case book.BusinessMonth:
		return p.date/100 == now.date/100
	default: // back to the beginning of the twelfth that lies a window before now
		twelfth := points.Timestamp(r.Window) * minute / 12
		return p.posted >= (now.posted/twelfth-12)*twelfth
	}
}

// judge says which rule declines, if one does, and which flag.
func (n *naive) judge(now *past) (decides int, flags uint64) {
	for i := range n.rules {
		r := &n.rules[i]
		if !n.looksAt(r, now) || isEarn(now.cmd.Function) && (r.Measure == book.LoopShare || r.Measure == book.LoopCount) {
			continue
		}
		var sum, gained points.Amount
		var count int
		loop := r.Measure == book.LoopShare || r.Measure == book.LoopCount
		var first points.Timestamp // the part of the window in which something was first earned
		for _, p := range n.list {
			if loop && isEarn(p.cmd.Function) && p.position > n.since[i] && !p.declined && p.stands > 0 && n.looksAt(r, p) && samePer(r.Per, p, now) && inTime(r, p, now) && first == 0 {
				if first = 1; r.Window != book.BusinessDay && r.Window != book.BusinessMonth {
					twelfth := points.Timestamp(r.Window) * minute / 12
					first = p.posted / twelfth * twelfth
				}
			}
		}
		for _, p := range n.list {
			if p.position <= n.since[i] || !n.looksAt(r, p) || r.Window == book.OneTransaction || !samePer(r.Per, p, now) || !inTime(r, p, now) {
				continue
			}
			amount, one := p.stands, 1
			if p.undone {
				one = 0
			}
			if r.Attempts {
				amount, one = p.cmd.Amount, 1
			} else if p.declined {
				continue
			}
			if loop && isEarn(p.cmd.Function) {
				gained += amount
				continue
			}
			if loop && p.posted < first {
				continue
			}
			sum, count = sum+amount, count+one
		}
		above := false
		switch r.Measure {
		case book.SumOf:
			above = sum+now.cmd.Amount > r.Limit
		case book.CountOf:
			above = points.Amount(count+1) > r.Limit
		case book.LoopCount:
			above = gained > 0 && points.Amount(count+1) > r.Limit
		case book.LoopShare:
			above = gained > 0 && sum+now.cmd.Amount > gained*r.Limit/100
		}
		switch {
		case !above || (r.Action == book.AskPIN && now.cmd.PIN && !book.Told(now.cmd.Function)):
		case r.Action == book.Flag || book.Told(now.cmd.Function):
			flags |= 1 << i
		default:
			return i + 1, flags
		}
	}
	return 0, flags
}

// riskGame plays random transactions against the rules and the oracle.
type riskGame struct {
	t      testing.TB
	d      *desk
	n      *naive
	r      *rand.Rand
	stan   uint32
	date   points.BusinessDate
	steps  int
	judged int
}

func newRiskGame(t testing.TB, seed uint64) *riskGame {
	g := &riskGame{t: t, d: newDesk(t, book.Options{}), n: &naive{cards: map[points.CardToken]points.Timestamp{}}, r: rand.New(rand.NewPCG(seed, 7)), date: day0}
	d := g.d
	d.furnish(2, book.ProgramRules{Transfer: true}, book.ProgramRules{})
	d.put(book.Entry{Issuer: &book.Issuer{ID: innkeep, Name: "Innkeeper", Status: book.Active}})
	d.put(book.Entry{Issuer: &book.Issuer{ID: far, Name: "Far", Status: book.Active, Link: "far"}})
	d.put(book.Entry{Program: &book.Program{ID: farMiles, Issuer: far, Name: "Far", Status: book.Active, Rules: book.ProgramRules{Transfer: true}}})
	d.put(book.Entry{Merchant: &book.Merchant{ID: merchantID("SHOP"), Acquirer: acquirer, Name: "Shop", Status: book.Active, Programs: []points.ProgramID{air, inn, farMiles}}})
	d.put(book.Entry{Merchant: &book.Merchant{ID: merchantID("CAFE"), Acquirer: acquirer, Name: "Cafe", Status: book.Active, Programs: []points.ProgramID{air, inn, farMiles}}})
	d.put(book.Entry{Terminal: &book.Terminal{ID: terminalID("T3"), Merchant: merchantID("CAFE"), Status: book.Active}})
	second := points.CardToken{0xcb, 15: 1} // another card of member 1, put just now
	all := plainSwaps
	all.Lots = 1<<book.Earned | 1<<book.Swapped | 1<<book.Adjusted
	d.swaps(0, all, all)
	g.n.cards[second] = d.now
	d.put(book.Entry{Card: &book.Card{Token: second, Member: 1, Status: book.Active, Since: d.now}})
	for _, program := range []points.ProgramID{air, inn} {
		for id := points.MemberID(1); id <= 2; id++ { // without a function: the house's own affair
			d.must(book.Command{Kind: book.KindEarn, Acquirer: acquirer, Member: id, Program: program, Amount: 3000})
		}
	}
	return g
}

func (g *riskGame) pick(n int) int { return g.r.IntN(n) }

// rule draws a rule of any kind.
func (g *riskGame) rule(i int) book.RiskRule {
	r := book.RiskRule{Name: fmt.Sprintf("rule %d", g.pick(12)+20*i), Action: book.Action(1 + g.pick(3)), Limit: points.Amount(g.pick(300))}
	r.Measure = book.Measure(1 + g.pick(4))
	if r.Measure == book.CountOf || r.Measure == book.LoopCount {
		r.Limit = points.Amount(g.pick(6))
	}
	if r.Measure == book.LoopShare {
		r.Limit = points.Amount(g.pick(101))
	}
	loop := r.Measure == book.LoopShare || r.Measure == book.LoopCount
	r.Window = []book.Window{book.BusinessDay, book.BusinessMonth, 1, 5, 12, 60, 24 * 60, book.OneTransaction}[g.pick(8)]
	if r.Window == book.OneTransaction {
		r.Measure, loop = book.SumOf, false
	} else {
		r.Per = []book.Per{book.PerCard, book.PerMember, book.PerTerminal, book.PerMerchant, book.PerAcquirer, book.PerProgram, book.PerAll, book.PerMember | book.PerMerchant, book.PerCard | book.PerTerminal | book.PerProgram}[g.pick(9)]
		r.Attempts = !loop && g.pick(5) == 0
	}
	if !loop && g.pick(3) > 0 {
		r.Functions = [][]points.Function{{points.Earn}, {points.Redeem, points.OfflineRedeem}, {points.PreAuth, points.Transfer}, {points.Redeem, points.PreAuth, points.Earn, points.Transfer, points.OfflineRedeem, points.OfflineEarn, points.Swap}, {points.Swap}}[g.pick(5)]
	}
	if loop && g.pick(2) == 0 {
		r.Functions = []points.Function{points.Swap}
	}
	if g.pick(4) == 0 {
		r.Programs = []points.ProgramID{[]points.ProgramID{air, inn, farMiles}[g.pick(3)]}
	}
	if g.pick(6) == 0 {
		r.Terminals = []points.TerminalID{terminalID("T1"), terminalID("T3")}
	}
	if g.pick(6) == 0 {
		r.Merchants = []points.MerchantID{merchantID("SHOP")}
	}
	if g.pick(6) == 0 {
		r.EntryModes = []uint16{5, 7}
	}
	if g.pick(5) == 0 {
		r.From, r.To = points.Amount(g.pick(20)), points.Amount(20+g.pick(60))
	}
	if g.pick(6) == 0 {
		r.NewHours = uint32(1 + g.pick(30))
	}
	return r
}

// change puts other rules: some of those in force stay, with other limits.
func (g *riskGame) change() {
	var rules []book.RiskRule
	for i := range 1 + g.pick(10) {
		if i < len(g.n.rules) && g.pick(2) == 0 {
			kept := g.n.rules[i]
			if kept.Measure == book.SumOf {
				kept.Limit = points.Amount(g.pick(300))
			}
			rules = append(rules, kept)
			continue
		}
		rules = append(rules, g.rule(i))
	}
	out := g.d.must(book.Command{Kind: book.KindPut, Entry: book.Entry{Risk: &book.RiskRules{Rules: rules}}})
	g.n.set(rules, out.Position)
}

// pass lets time go by: to the border of a window and just beyond, back, over a day.
func (g *riskGame) pass() {
	switch g.pick(8) {
	case 0: // exactly to the beginning of a five-second part, or the instant before
		part := points.Timestamp(5_000_000)
		g.d.now += part - g.d.now%part - 1000 - points.Timestamp(g.pick(2))
	case 1:
		g.d.now -= points.Timestamp(g.pick(90)) * minute // the clock is set back
	case 2:
		g.d.now += points.Timestamp(g.pick(26)) * 60 * minute
	case 3, 4:
		g.d.now += points.Timestamp(g.pick(14)) * minute
	case 5:
		days := 1 + g.pick(3)
		if g.pick(6) == 0 {
			days += 28
		}
		g.date = g.date.AddDays(days)
		g.d.must(book.Command{Kind: book.KindCutOver, Date: g.date})
	default:
		g.d.now += points.Timestamp(g.pick(9_000_000))
	}
	g.d.now = max(g.d.now, 1_760_000_000_000_000)
}

// ask sends something that rules look at.
func (g *riskGame) ask() {
	g.stan++
	terminal := []string{"T1", "T2", "T3"}[g.pick(3)]
	cmd := at(terminal, g.stan, book.Command{Program: []points.ProgramID{air, inn, farMiles}[g.pick(3)], Amount: points.Amount(1 + g.pick(70))})
	if terminal == "T3" {
		cmd.Merchant = merchantID("CAFE")
	}
	cmd.Key.When = uint64(1 + g.stan/900_000)
	cmd.Card = []points.CardToken{cardOf(1), {0xcb, 15: 1}, cardOf(2)}[g.pick(3)]
	cmd.EntryMode, cmd.PIN = []uint16{12, 51, 71, 0}[g.pick(4)], g.pick(3) == 0
	cmd.Function = []points.Function{points.Redeem, points.Redeem, points.Earn, points.PreAuth, points.Transfer, points.OfflineRedeem, points.OfflineEarn, points.Swap, points.Swap}[g.pick(9)]
	cmd.Kind = map[points.Function]book.Kind{
		points.Redeem: book.KindRedeem, points.OfflineRedeem: book.KindRedeem, points.Earn: book.KindEarn, points.OfflineEarn: book.KindEarn,
		points.PreAuth: book.KindHold, points.Transfer: book.KindTransfer, points.Swap: book.KindSwap,
	}[cmd.Function]
	if cmd.Function == points.Swap && !g.quote(&cmd) {
		return
	}
	if cmd.Function == points.Transfer {
		if cmd.ToCard = cardOf(2); cmd.Card == cardOf(2) {
			cmd.ToCard = cardOf(1)
		}
	}
	if cmd.Program == farMiles {
		cmd.Kind = book.KindForward
	} else if g.pick(25) == 0 && cmd.Function != points.Swap {
		cmd.Card = points.CardToken{0xee, 15: byte(g.pick(2))} // nobody's
	} else if cmd.Program == inn && cmd.Function == points.Transfer {
		cmd.Program = air
	}
	out := *g.d.do(cmd)
	require.NotZero(g.t, out.Position)
	now := &past{position: out.Position, cmd: cmd, member: out.Member, posted: out.Posted, date: out.Date, declined: !out.Reason.Approved()}
	decides, flags := g.n.judge(now)
	unknown := cmd.Card[0] == 0xee && cmd.Kind != book.KindForward
	switch {
	case unknown:
		require.Equal(g.t, points.UnknownCard, out.Reason)
		require.Zero(g.t, out.Risk)
	case decides == 0:
		require.True(g.t, out.Reason.Approved() || out.Reason == points.NotEnoughPoints, "%v by %+v; %+v", out.Reason, out.Risk, cmd)
		require.Equal(g.t, flags, out.Risk.Flags)
		require.Zero(g.t, out.Risk.Rule)
	default:
		require.Equal(g.t, decides, int(out.Risk.Rule), "%v; rules %+v; %+v", out.Reason, g.n.rules, now)
		require.Equal(g.t, flags, out.Risk.Flags)
		require.False(g.t, out.Reason.Approved())
		g.judged++
	}
	if out.Reason.Approved() {
		now.stands = out.Amount
		if cmd.Kind == book.KindSwapLock {
			now.until = out.Swap.Expires
		}
	}
	g.n.list = append(g.n.list, now)
	if g.pick(12) == 0 { // its repeat counts for nothing
		again := g.d.do(cmd)
		require.True(g.t, again.Replayed)
		require.Equal(g.t, out.Risk, again.Risk)
	}
	if cmd.Kind == book.KindForward && out.Reason.Approved() {
		g.answer(now)
	}
}

// quote has a swap quoted, without a function: what is asked for is its execution, or a lock
// of it. Some do not say again what the quote is about.
func (g *riskGame) quote(cmd *book.Command) bool {
	cmd.Program, cmd.Into = air, inn
	if g.pick(3) == 0 {
		cmd.Program, cmd.Into, cmd.Amount = inn, air, cmd.Amount+5
	}
	quoted := g.d.do(book.Command{
		Kind: book.KindQuote, Acquirer: cmd.Acquirer, Merchant: cmd.Merchant, Card: cmd.Card, Program: cmd.Program, Into: cmd.Into, Amount: cmd.Amount,
	})
	cmd.Original = quoted.Position
	if g.pick(3) == 0 {
		cmd.Kind = book.KindSwapLock
	}
	return quoted.Reason.Approved()
}

// endLock ends a lock one way or another. What is executed has counted with its lock.
func (g *riskGame) endLock(p *past) {
	g.stan++
	cmd := book.Command{Kind: book.KindSwapCancel, Acquirer: acquirer, Original: p.cmd.Original, Key: keyOf("T8", g.stan, 2)}
	cmd.Key.When = uint64(1 + g.stan/900_000)
	switch g.pick(3) {
	case 0:
		if g.d.do(cmd).Reason.Approved() {
			p.stands, p.undone = 0, true
		}
	case 1:
		cmd.Kind, cmd.Function, cmd.Merchant, cmd.Terminal, cmd.Card = book.KindSwap, points.Swap, p.cmd.Merchant, p.cmd.Terminal, p.cmd.Card
		if out := g.d.do(cmd); out.Reason.Approved() {
			require.Zero(g.t, out.Risk)
			p.done = out.Position
		}
	default:
		over := g.d.must(book.Command{Kind: book.KindExpireSwaps}).Posted
		for _, p := range g.n.list {
			if p.until != 0 && p.until <= over && p.done == 0 {
				p.stands, p.undone = 0, true
			}
		}
	}
}

// answer is the issuer's.
func (g *riskGame) answer(p *past) {
	conclude := book.Command{Kind: book.KindConclude, Original: p.position, Answer: points.Approved}
	if g.pick(4) == 0 {
		conclude.Answer = points.NotEnoughPoints
		p.stands, p.undone = 0, true
	}
	g.d.must(conclude)
}

// undo voids, reverses, reduces or releases something that was asked before.
func (g *riskGame) undo() {
	if len(g.n.list) == 0 {
		return
	}
	p := g.n.list[len(g.n.list)-1-g.pick(min(len(g.n.list), 12))]
	if p.declined || p.undone || p.captured || p.cmd.Kind == book.KindForward {
		return
	}
	if p.until != 0 && p.done == 0 {
		g.endLock(p)
		return
	}
	g.stan++
	cmd := book.Command{Acquirer: acquirer, Merchant: p.cmd.Merchant, Terminal: p.cmd.Terminal, Original: max(p.position, p.done), Key: keyOf("T9", g.stan, 2)}
	cmd.Key.When = uint64(1 + g.stan/900_000)
	switch g.pick(5) {
	case 0:
		cmd.Kind, cmd.Function = book.KindVoid, points.Void
		if p.cmd.Kind == book.KindHold {
			cmd.Kind, cmd.Function = book.KindRelease, points.PreAuthVoid
		}
	case 1:
		cmd.Kind, cmd.Function, cmd.Key.Class, cmd.Actual = book.KindReverse, points.Reversal, 4, max(1, p.stands-points.Amount(1+g.pick(9)))
	case 2:
		if p.cmd.Kind != book.KindHold || p.stands == 0 {
			return
		}
		cmd.Kind, cmd.Function, cmd.Amount, cmd.Final = book.KindCapture, points.Completion, max(1, p.stands/2), true
	default:
		cmd.Kind, cmd.Function, cmd.Key.Class = book.KindReverse, points.Reversal, 4
	}
	out := *g.d.do(cmd)
	if !out.Reason.Approved() {
		return
	}
	switch {
	case cmd.Kind == book.KindCapture:
		p.captured = true // What it leaves stays counted.
	case cmd.Actual != 0:
		p.stands -= out.Amount
	default:
		was := p.stands
		p.stands, p.undone = 0, true
		if cmd.Kind != book.KindReverse && g.pick(3) == 0 { // which is undone in its turn
			again := book.Command{Kind: book.KindReverse, Function: points.Reversal, Acquirer: acquirer, Merchant: cmd.Merchant, Terminal: cmd.Terminal, Original: out.Position, Key: keyOf("T9", g.stan, 4)}
			again.Key.When = uint64(1 + g.stan/900_000)
			if back := g.d.do(again); back.Reason.Approved() && back.Amount > 0 {
				p.stands, p.undone = min(was, back.Amount), false
			}
		}
	}
}

func (g *riskGame) play(steps int) {
	for range steps {
		g.steps++
		switch g.pick(14) {
		case 0:
			if g.pick(6) == 0 || g.n.rules == nil {
				g.change()
			}
		case 1, 2:
			g.pass()
		case 3, 4:
			g.undo()
		case 5:
			if g.pick(10) == 0 { // a stop and a start
				g.d.store.checkpoint(g.d.book)
				digest := g.d.book.Digest()
				g.d.book = reopened(g.t, g.d)
				require.Equal(g.t, digest, g.d.book.Digest())
			}
		default:
			g.ask()
		}
	}
}

// reopened is the book that the store of d gives.
func reopened(t require.TestingT, d *desk) *book.Book {
	b := book.New(book.Options{Seed: 3}, d.store)
	require.NoError(t, b.Err())
	var rec book.Record
	for position := b.TraceFloor(); position <= b.Position(); position++ {
		require.NoError(t, d.store.Record(position, &rec))
		b.Remember(&rec)
	}
	return b
}

// What the rules decide from windows and counters is what a list of all that was ever
// asked says: with undoing, repeats, changes of rules, cut-overs, a clock that is set
// back, and stops between.
func TestRulesAgreeWithAList(t *testing.T) {
	steps, judged := 0, 0
	for seed := range *riskSeeds {
		g := newRiskGame(t, uint64(seed))
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			g.t, g.d.tb = t, t
			g.play(400)
			require.NoError(t, g.d.book.Audit())
			replay(t, g.d, newDesk(t, book.Options{}))
		})
		if t.Failed() {
			return
		}
		steps, judged = steps+g.steps, judged+g.judged
	}
	t.Logf("%d steps, %d declined by a rule", steps, judged)
	require.Greater(t, judged, steps/50, "the rules have something to say")
}
