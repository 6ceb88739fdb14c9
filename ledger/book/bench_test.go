package book_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// crowd is a book with n members who have points, and a command to use again.
type crowd struct {
	book *book.Book
	pos  points.Position
	out  book.Outcome
	cmd  book.Command
	stan uint64
}

// discard is a source without a journal: hot commands never read one back.
type discard struct{}

func (discard) State([]byte) ([]byte, bool, error) { return nil, false, nil }

func (discard) Record(position points.Position, _ *book.Record) error {
	return fmt.Errorf("record %d was not kept", position)
}

func newCrowd(tb testing.TB, members points.MemberID) *crowd {
	c := &crowd{book: book.New(book.Options{}, discard{})}
	d := newDesk(tb, book.Options{})
	d.book = c.book
	d.furnish(1, book.ProgramRules{ValidMonths: 12, ExpiryAtMonth: true}, book.ProgramRules{})
	c.pos = points.Position(len(d.store.journal))
	for id := points.MemberID(2); id <= members; id++ {
		c.do(tb, &book.Command{Kind: book.KindPut, Entry: book.Entry{Member: &book.Member{ID: id, Status: book.Active}}})
		c.do(tb, &book.Command{Kind: book.KindPut, Entry: book.Entry{Card: &book.Card{Token: wideCard(id), Member: id, Status: book.Active}}})
		c.do(tb, &book.Command{Kind: book.KindOpen, Member: id, Program: air})
	}
	for id := points.MemberID(2); id <= members; id++ {
		c.prepare(book.KindEarn, id, 1_000_000)
		c.do(tb, &c.cmd)
	}
	return c
}

func wideCard(id points.MemberID) points.CardToken {
	return points.CardToken{0xcb, 12: byte(id >> 24), 13: byte(id >> 16), 14: byte(id >> 8), 15: byte(id)}
}

func (c *crowd) prepare(kind book.Kind, id points.MemberID, amount points.Amount) {
	c.stan++
	c.cmd = at("T1", 0, book.Command{Kind: kind, Card: wideCard(id), Program: air, Amount: amount, At: points.Timestamp(1_770_000_000_000_000 + c.stan)})
	c.cmd.Key.When, c.cmd.Key.STAN = c.stan/1_000_000, points.STAN(c.stan%1_000_000)
}

func (c *crowd) do(tb testing.TB, cmd *book.Command) {
	if err := c.book.Apply(c.pos+1, cmd, &c.out); err != nil || !c.out.Reason.Approved() {
		require.NoError(tb, err)
		require.Equal(tb, points.Approved, c.out.Reason)
	}
	c.pos++
}

// A redemption and an earn allocate nothing once their account and terms are known.
func TestHotPathAllocatesNothing(t *testing.T) {
	c := newCrowd(t, 100)
	record := make([]byte, 0, 1024)
	for _, kind := range []book.Kind{book.KindRedeem, book.KindEarn} {
		id := points.MemberID(2)
		require.Zero(t, testing.AllocsPerRun(5000, func() {
			c.prepare(kind, id, 1)
			c.do(t, &c.cmd)
			record = book.AppendRecord(record[:0], &c.cmd, &c.out)
			if id++; id > 100 {
				id = 2
			}
		}), "kind %d", kind)
	}
}

// The record of a redemption stays small: bytes written are what a ledger costs.
func TestRedemptionRecordIsSmall(t *testing.T) {
	c := newCrowd(t, 100_000)
	c.prepare(book.KindRedeem, 99_999, 1234)
	c.do(t, &c.cmd)
	size := len(book.AppendRecord(nil, &c.cmd, &c.out))
	t.Logf("a redemption is %d bytes", size)
	require.Less(t, size, 200)
}

const benchMembers = 100_000

func (c *crowd) run(b *testing.B, kind book.Kind) {
	b.Helper()
	b.ReportAllocs()
	id := points.MemberID(2)
	for b.Loop() {
		c.prepare(kind, id, 1)
		c.do(b, &c.cmd)
		if id += 7919; id > benchMembers {
			id -= benchMembers - 1
		}
	}
}

func BenchmarkRedeem(b *testing.B) { newCrowd(b, benchMembers).run(b, book.KindRedeem) }

func BenchmarkEarn(b *testing.B) { newCrowd(b, benchMembers).run(b, book.KindEarn) }

func BenchmarkHoldAndCapture(b *testing.B) {
	c := newCrowd(b, benchMembers)
	b.ReportAllocs()
	id := points.MemberID(2)
	for b.Loop() {
		c.prepare(book.KindHold, id, 1)
		c.do(b, &c.cmd)
		hold := c.pos
		c.prepare(book.KindCapture, id, 1)
		c.cmd.Original, c.cmd.Final = hold, true
		c.do(b, &c.cmd)
		if id += 7919; id > benchMembers {
			id -= benchMembers - 1
		}
	}
}

// BenchmarkNaiveRedeem is the baseline: a map of balances and a map of answers,
// without lots, limits, postings or checks.
func BenchmarkNaiveRedeem(b *testing.B) {
	balances := make(map[points.CardToken]int64)
	for id := points.MemberID(2); id <= benchMembers; id++ {
		balances[wideCard(id)] = 1_000_000
	}
	answers := make(map[points.TraceKey]int64)
	c := &crowd{}
	b.ReportAllocs()
	id := points.MemberID(2)
	for b.Loop() {
		c.prepare(book.KindRedeem, id, 1)
		if _, known := answers[c.cmd.Key]; !known && balances[c.cmd.Card] >= 1 {
			balances[c.cmd.Card]--
			balances[points.CardToken{1}]++
			answers[c.cmd.Key] = balances[c.cmd.Card]
		}
		if id += 7919; id > benchMembers {
			id -= benchMembers - 1
		}
	}
}

// rulesOfTen are ten rules, as a switch may have them: for cards, members, terminals, the
// merchant and the programme.
func rulesOfTen() book.RiskRules {
	const most = points.MaxAmount
	pick := func(name string, m book.Measure, per book.Per, w book.Window) book.RiskRule {
		return book.RiskRule{Name: name, Functions: []points.Function{points.Redeem, points.Earn}, Measure: m, Per: per, Window: w, Limit: most, Action: book.Decline}
	}
	return book.RiskRules{Rules: []book.RiskRule{
		pick("sale", book.SumOf, 0, book.OneTransaction),
		pick("card day", book.SumOf, book.PerCard, book.BusinessDay),
		pick("card count", book.CountOf, book.PerCard, book.BusinessDay),
		pick("card pace", book.CountOf, book.PerCard, 10),
		pick("member month", book.SumOf, book.PerMember, book.BusinessMonth),
		pick("terminal day", book.SumOf, book.PerTerminal, book.BusinessDay),
		pick("terminal pace", book.CountOf, book.PerTerminal, 60),
		pick("merchant day", book.SumOf, book.PerMerchant, book.BusinessDay),
		pick("programme day", book.SumOf, book.PerAll, book.BusinessDay),
		{Name: "loop", Measure: book.LoopShare, Per: book.PerMember | book.PerMerchant, Window: 120, Limit: 100, Action: book.Flag},
	}}
}

func (c *crowd) set(tb testing.TB, rules book.RiskRules) {
	c.do(tb, &book.Command{Kind: book.KindPut, Entry: book.Entry{Risk: &rules}})
}

// askedMembers are few enough that every one has counters before it is measured.
const askedMembers = 20_000

// runAsked is run for what is asked at a door, when the counters are there.
func runAsked(b *testing.B, set book.RiskRules) {
	b.Helper()
	c := newCrowd(b, askedMembers)
	if len(set.Rules) > 0 {
		c.set(b, set)
	}
	id := points.MemberID(2)
	ask := func() {
		c.prepare(book.KindRedeem, id, 1)
		c.cmd.Function = points.Redeem
		c.do(b, &c.cmd)
		if id += 7919; id > askedMembers {
			id -= askedMembers - 1
		}
	}
	for range 2 * askedMembers {
		ask()
	}
	b.ReportAllocs()
	for b.Loop() {
		ask()
	}
}

// BenchmarkAskedNoRules and its neighbours tell what rules on risk cost.
func BenchmarkAskedNoRules(b *testing.B) { runAsked(b, book.RiskRules{}) }

func BenchmarkAskedOneRule(b *testing.B) {
	set := rulesOfTen()
	set.Rules = set.Rules[1:2]
	runAsked(b, set)
}

func BenchmarkAskedTenRules(b *testing.B) { runAsked(b, rulesOfTen()) }

// A redemption that ten rules look at allocates nothing once its counters are there; one
// that no rule looks at never does.
func TestRulesAllocateNothing(t *testing.T) {
	c := newCrowd(t, 100)
	for _, set := range []book.RiskRules{{}, rulesOfTen()} {
		c.set(t, set)
		id := points.MemberID(2)
		ask := func() {
			c.prepare(book.KindRedeem, id, 1)
			c.cmd.Function = points.Redeem
			c.do(t, &c.cmd)
			if id++; id > 100 {
				id = 2
			}
		}
		for range 1000 {
			ask()
		}
		require.Zero(t, testing.AllocsPerRun(5000, ask), "%d rules", len(set.Rules))
	}
}
