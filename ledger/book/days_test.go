package book_test

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

var daySeeds = flag.Int("day-seeds", 12, "how many seeded days of everything that clears go past the clearing oracle")

// tea is the second hosted issuer's programme; swaps go between it and air.
const tea points.ProgramID = 904

// dayOf is a desk at which everything that clears can happen: sales, earns and what undoes
// them, at an issuer here and at one elsewhere, swaps between two issuers, disputes, legs.
type dayOf struct {
	*desk
	rng   *rand.Rand
	stan  uint32
	sales []points.Position // redemptions, told and asked ones too
	cases []points.Position // those with a dispute
	swaps []points.TraceKey // executed
	asked []points.Position // of the issuer elsewhere, without an answer
	done  map[string]int
	ended []naiveCycle // cycles that are closed and not posted
}

func newDayOf(t *testing.T, seed int) *dayOf {
	d := &dayOf{desk: clearingDesk(t, book.Options{Accounts: 2}), rng: rand.New(rand.NewPCG(uint64(seed), 71)), done: make(map[string]int)}
	d.furnish(2, kindRules, kindRules)
	d.put(book.Entry{Issuer: &book.Issuer{ID: innkeep, Name: "Innkeeper", Status: book.Active}})
	d.put(book.Entry{Issuer: &book.Issuer{ID: far, Name: "Far", Status: book.Active, Link: "far"}})
	d.put(book.Entry{Program: &book.Program{ID: tea, Issuer: innkeep, Name: "Tea", Status: book.Active}})
	d.put(book.Entry{Program: &book.Program{ID: farMiles, Issuer: far, Name: "Far", Status: book.Active}})
	d.put(book.Entry{Merchant: &book.Merchant{ID: merchantID("SHOP"), Acquirer: acquirer, Name: "Shop", Status: book.Active, Programs: []points.ProgramID{air, inn, tea, farMiles}}})
	d.rated(farMiles)
	from := d.now + 2*tariff.LeadTime
	d.must(swapRate(tea, tariff.Clear, 40, 3, 0, from))
	rules := plainSwaps
	rules.Lots |= 1 << book.Swapped
	for _, terms := range []struct {
		program   points.ProgramID
		buy, sell uint64
	}{{air, 103, 119}, {tea, 17, 23}} {
		d.must(swapRate(terms.program, tariff.Buy, terms.buy, 3, 7_777, from))
		d.must(swapRate(terms.program, tariff.Sell, terms.sell, 3, 0, from))
		d.must(swapTerms(terms.program, rules, from))
	}
	d.now = from + tick
	for id := points.MemberID(1); id <= 2; id++ {
		d.must(book.Command{Kind: book.KindOpen, Member: id, Program: tea})
		for _, program := range []points.ProgramID{air, tea} {
			d.must(d.numbered(book.Command{Kind: book.KindEarn, Function: points.Earn, Card: cardOf(id), Program: program, Amount: 5_000}))
		}
	}
	return d
}

func (d *dayOf) numbered(cmd book.Command) book.Command {
	d.stan++
	return at("T1", d.stan, cmd)
}

// try does something and tells whether it was approved.
func (d *dayOf) try(what string, cmd book.Command) *book.Outcome {
	out := d.do(cmd)
	if out.Reason.Approved() {
		d.done[what]++
	}
	return out
}

func (d *dayOf) amount(most int) points.Amount { return points.Amount(1 + d.rng.IntN(most)) }

func (d *dayOf) card() points.CardToken { return cardOf(points.MemberID(1 + d.rng.IntN(2))) }

func (d *dayOf) program() points.ProgramID { return []points.ProgramID{air, tea}[d.rng.IntN(2)] }

// step is one thing that happens.
func (d *dayOf) step() {
	d.now += points.Timestamp(d.rng.IntN(20)) * tick
	switch d.rng.IntN(12) {
	case 0:
		d.try("earn", d.numbered(book.Command{Kind: book.KindEarn, Function: points.Earn, Card: d.card(), Program: d.program(), Amount: d.amount(400)}))
	case 1, 2:
		d.sell()
	case 3:
		d.told()
	case 4, 5:
		d.undo()
	case 6:
		d.swap()
	case 7:
		d.elsewhere()
	case 8, 9:
		d.disputed()
	case 10:
		d.leg()
	default:
		d.turn()
	}
}

func (d *dayOf) sell() {
	cmd := d.numbered(book.Command{Kind: book.KindRedeem, Function: points.Redeem, Card: d.card(), Program: d.program(), Amount: d.amount(150)})
	if out := d.try("redeem", cmd); out.Reason.Approved() {
		d.sales = append(d.sales, out.Position)
	}
}

// told tells of a sale or an earn late, some of them too late to the microsecond.
func (d *dayOf) told() {
	cmd := d.numbered(book.Command{Kind: book.KindRedeem, Function: points.OfflineRedeem, Card: d.card(), Program: d.program(), Amount: d.amount(60), At: d.now})
	if d.rng.IntN(3) == 0 {
		cmd.Kind, cmd.Function = book.KindEarn, points.OfflineEarn
	}
	what := "told"
	switch cmd.Sent = d.now - points.Timestamp(d.rng.IntN(100))*tick; d.rng.IntN(4) {
	case 0:
		cmd.Sent = d.now - book.MostTold
		what = "told before rates"
	case 1:
		cmd.Sent = d.now - book.MostTold - 1
		what = "told too late"
	}
	if out := d.try(what, cmd); out.Reason.Approved() && cmd.Kind == book.KindRedeem {
		d.sales = append(d.sales, out.Position)
	}
}

// undo refunds, voids or reverses, a part or the whole, of today or of a date that is over.
func (d *dayOf) undo() {
	if len(d.swaps) > 0 && d.rng.IntN(4) == 0 {
		i := d.rng.IntN(len(d.swaps))
		d.stan++
		d.try("swap reversed", book.Command{Kind: book.KindReverse, Function: points.Reversal, Key: keyOf("T1", d.stan, 4), OriginalKey: d.swaps[i]})
		d.swaps = slices.Delete(d.swaps, i, i+1)
		return
	}
	if len(d.sales) == 0 {
		return
	}
	sale := d.sales[d.rng.IntN(len(d.sales))]
	switch d.rng.IntN(5) {
	case 0:
		d.try("void", d.numbered(book.Command{Kind: book.KindVoid, Function: points.Void, Original: sale}))
	case 1:
		d.try("reversed", d.numbered(book.Command{Kind: book.KindReverse, Function: points.Reversal, Original: sale}))
	case 2:
		d.try("reversed in part", d.numbered(book.Command{Kind: book.KindReverse, Function: points.Reversal, Original: sale, Actual: d.amount(40), Edition: book.Edition}))
	default:
		out := d.try("refund", d.numbered(book.Command{Kind: book.KindRefund, Function: points.Refund, Original: sale, Amount: d.amount(60)}))
		if out.Reason.Approved() && d.rng.IntN(4) == 0 {
			d.try("refund reversed", d.numbered(book.Command{Kind: book.KindReverse, Function: points.Reversal, Original: out.Position}))
		}
	}
}

// swap quotes, and executes, locks, cancels or lets be.
func (d *dayOf) swap() {
	from, into := air, tea
	if d.rng.IntN(2) == 0 {
		from, into = tea, air
	}
	out := d.try("quote", quoteOf(points.MemberID(1+d.rng.IntN(2)), from, into, d.amount(900)))
	if !out.Reason.Approved() {
		return
	}
	quote := out.Position
	if d.rng.IntN(2) == 0 {
		d.try("lock", about(book.KindSwapLock, quote))
	}
	switch d.rng.IntN(5) {
	case 0:
		d.try("swap cancelled", about(book.KindSwapCancel, quote))
	case 1: // its time will be over
	default:
		if d.rng.IntN(3) == 0 {
			d.turn() // executed behind a cut, at the quote's figures
		}
		cmd := d.numbered(about(book.KindSwap, quote))
		cmd.Acquirer, cmd.Merchant, cmd.Terminal = 0, points.MerchantID{}, points.TerminalID{}
		if d.try("swap", cmd).Reason.Approved() {
			d.swaps = append(d.swaps, cmd.Key)
		}
	}
}

// elsewhere asks an issuer elsewhere, which answers, or does not.
func (d *dayOf) elsewhere() {
	if len(d.asked) == 0 || d.rng.IntN(2) == 0 {
		out := d.try("forwarded", d.numbered(book.Command{Kind: book.KindForward, Function: points.Redeem, Card: cardOf(7), Program: farMiles, Amount: d.amount(80)}))
		if out.Reason.Approved() {
			d.asked = append(d.asked, out.Position)
		}
		return
	}
	d.answer()
}

// answer ends what was asked first.
func (d *dayOf) answer() {
	asked := d.asked[0]
	d.asked = d.asked[1:]
	switch d.rng.IntN(4) {
	case 0:
		d.try("stand-in", book.Command{Kind: book.KindStandIn, Original: asked, Answer: points.NoAnswer})
	case 1:
		d.try("declined elsewhere", book.Command{Kind: book.KindConclude, Original: asked, Answer: points.NotEnoughPoints})
	default:
		d.try("answered elsewhere", book.Command{Kind: book.KindConclude, Original: asked, Answer: points.Approved})
		d.sales = append(d.sales, asked)
	}
	if d.rng.IntN(2) == 0 {
		d.try("reversed elsewhere", d.numbered(book.Command{Kind: book.KindReverse, Function: points.Reversal, Original: asked}))
	}
}

// disputed takes a random step of a dispute about a recent sale, until one is allowed.
func (d *dayOf) disputed() {
	if len(d.sales) == 0 {
		return
	}
	sale := d.sales[max(0, len(d.sales)-1-d.rng.IntN(4))]
	if len(d.cases) > 0 && d.rng.IntN(2) == 0 {
		sale = d.cases[max(0, len(d.cases)-1-d.rng.IntN(3))]
	}
	rules := book.DefaultDisputeRules().Rules
	for range 12 {
		rule := rules[d.rng.IntN(len(rules))]
		cmd := book.Command{
			Kind: book.KindDispute, Original: sale, Operator: "li", Second: "wang",
			Dispute: book.DisputeMove{Step: rule.Step, Who: rule.Who, Code: rule.Code, Evidence: "case 1"},
		}
		if d.rng.IntN(2) == 0 {
			cmd.Amount = d.amount(30)
		}
		if d.try("dispute: "+rule.Step.String(), cmd).Reason.Approved() {
			if !slices.Contains(d.cases, sale) {
				d.cases = append(d.cases, sale)
			}
			return
		}
	}
}

func (d *dayOf) leg() {
	members := []tariff.Member{tariff.Member(issuer), tariff.Member(innkeep), tariff.Member(far), tariff.Member(acquirer), tariff.AccountFee, tariff.AccountSuspense}
	i := d.rng.IntN(len(members))
	leg := book.Leg{Kind: []tariff.Kind{tariff.KindADJ, tariff.KindFEE}[d.rng.IntN(2)], Payer: members[i], Payee: members[(i+1+d.rng.IntN(len(members)-1))%len(members)]}
	d.try("leg "+leg.Kind.String(), book.Command{Kind: book.KindLeg, Amount: d.amount(10_000), Leg: leg, Operator: "li", Second: "wang", Note: "case 2"})
}

// turn cuts over, lets a rate follow, or posts a cycle that is closed.
func (d *dayOf) turn() {
	switch d.rng.IntN(4) {
	case 0:
		program := d.program()
		num := map[points.ProgramID]uint64{air: 3, tea: 40}[program] + d.rng.Uint64N(9)
		d.must(swapRate(program, tariff.Clear, num, 7, 0, d.now+2*tariff.LeadTime))
		d.now += 3 * tariff.LeadTime
		d.done["rate"]++
	case 1:
		d.post()
	default:
		at := naiveCycle{d.book.Date(), d.book.Cycle()}
		cut := book.Command{Kind: book.KindCutOver, Date: at.date, Cycle: at.cycle + 1, TraceDays: 250}
		if d.rng.IntN(2) == 0 {
			cut.Date, cut.Cycle = at.date.AddDays(1), 0
		}
		if d.try("cut-over", cut).Reason.Approved() {
			d.ended = append(d.ended, at)
		}
		d.try("disputes over", book.Command{Kind: book.KindExpireDisputes})
		d.try("swaps over", book.Command{Kind: book.KindExpireSwaps})
	}
}

// post moves what the first closed cycle has cleared off the clearing accounts.
func (d *dayOf) post() {
	if len(d.ended) == 0 {
		return
	}
	at := d.ended[0]
	d.ended = d.ended[1:]
	view, something, err := d.book.ClearedIn(at.date, at.cycle)
	require.NoError(d.tb, err)
	if !something {
		return
	}
	d.must(book.Command{Kind: book.KindPost, Date: at.date, Cycle: at.cycle, Run: [32]byte{byte(at.date), at.cycle}, Manifest: [32]byte{1}, Moves: view.Moves, Operator: "li", Second: "wang"})
	d.done["posted"]++
}

// Over random days of everything that clears, at moving rates, on either side of cut-overs,
// what the book has kept of each cycle and what a reader of the journal makes of it are what
// the oracle works out by itself (P8, P9, I20); all members sum to zero in each (P1); and
// when every cycle is posted, what is left on the clearing accounts is what had no value.
// Replay and checkpoints agree.
func TestDaysAgainstTheClearingOracle(t *testing.T) {
	reached := make(map[string]int)
	for seed := range *daySeeds {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			d := newDayOf(t, seed)
			for range 250 {
				d.step()
				require.NoError(t, d.book.Audit())
			}
			for len(d.asked) > 0 {
				d.answer()
			}
			last := naiveCycle{d.book.Date(), d.book.Cycle()}
			d.must(book.Command{Kind: book.KindCutOver, Date: last.date.AddDays(1), TraceDays: 250})
			d.ended = append(d.ended, last)
			d.checkClearing()
			for len(d.ended) > 0 {
				d.post()
			}
			d.sumsToZero()
			d.agrees()
			for what, n := range d.done {
				reached[what] += n
			}
		})
	}
	for _, what := range slices.Sorted(maps.Keys(reached)) {
		t.Logf("%-30s %d", what, reached[what])
	}
	for _, what := range []string{
		"swap", "swap reversed", "swap cancelled", "dispute: chargeback", "dispute: representment", "dispute: uphold", "dispute: credit_adj", "dispute: debit_adj",
		"dispute: exception", "leg ADJ", "leg FEE", "told", "told before rates", "told too late", "refund reversed", "reversed in part", "stand-in", "reversed elsewhere", "posted", "rate",
	} {
		require.Positive(t, reached[what], "%s is not reached", what)
	}
}

// sumsToZero checks that the members of each cycle sum to zero, and that clearing accounts
// have nothing but what had no value.
func (d *dayOf) sumsToZero() {
	d.tb.Helper()
	left := make(map[book.AccountKey]points.Amount)
	reader := book.NewClearing(d.store.Record)
	cycles := make(map[naiveCycle]bool)
	registry := d.book.Registry()
	var rec book.Record
	for position := range points.Position(len(d.store.journal)) {
		require.NoError(d.tb, d.store.Record(position+1, &rec))
		items, err := reader.Items(&rec)
		require.NoError(d.tb, err)
		for i := range items {
			item := &items[i]
			cycles[naiveCycle{item.Date, item.Cycle}] = true
			var v tariff.Valuation
			if item.Orphan || (!item.TooOld && tariff.Value(registry.Rates, registry.Fees, &item.Item, &v) == tariff.OK) {
				continue
			}
			for _, p := range rec.Outcome.Postings {
				if p.Account.Kind == book.ClearingAccount && p.Account.Program == item.Program {
					left[p.Account] += p.Amount
				}
			}
		}
	}
	for at := range cycles {
		view, ok, err := d.book.ClearedIn(at.date, at.cycle)
		require.NoError(d.tb, err)
		require.True(d.tb, ok)
		sum := points.Amount(0)
		for _, p := range view.Positions {
			sum += p.Net()
		}
		require.Zero(d.tb, sum, "P1: %v", at)
		require.True(d.tb, view.Posted != 0 || len(view.Moves) == 0, "%v is posted", at)
	}
	for _, program := range []points.ProgramID{air, tea, farMiles} {
		key := book.AccountKey{Kind: book.ClearingAccount, Program: program, Party: uint64(acquirer)}
		view, _, err := d.book.Account(key)
		require.NoError(d.tb, err)
		require.Equal(d.tb, left[key], view.Balance, "programme %d", program)
	}
}
