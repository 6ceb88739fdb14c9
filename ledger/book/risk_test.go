package book_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// guarded is a desk with members who have points, and rules.
func guarded(t testing.TB, parties uint32, rules ...book.RiskRule) *desk {
	d := newDesk(t, book.Options{})
	d.furnish(40, book.ProgramRules{}, book.ProgramRules{})
	for id := points.MemberID(1); id <= 40; id++ {
		d.must(book.Command{Kind: book.KindEarn, Acquirer: acquirer, Member: id, Program: air, Amount: 1_000_000})
	}
	d.setRules(parties, rules...)
	return d
}

func (d *desk) setRules(parties uint32, rules ...book.RiskRule) {
	d.tb.Helper()
	d.put(book.Entry{Risk: &book.RiskRules{Rules: rules, Parties: parties}})
}

// sale asks for a redemption at a door.
func (d *desk) sale(terminal string, card points.CardToken, amount points.Amount) *book.Outcome {
	d.tb.Helper()
	stan := uint32(len(d.store.journal)) + 1
	return d.do(at(terminal, stan, book.Command{Kind: book.KindRedeem, Function: points.Redeem, Card: card, Program: air, Amount: amount}))
}

// Whoever splits an amount, or spreads it over cards and terminals, gets exactly the
// limit through and no point more.
func TestSplittingDoesNotHelp(t *testing.T) {
	d := guarded(t, 0,
		book.RiskRule{Name: "member", Measure: book.SumOf, Per: book.PerMember, Window: 60, Limit: 500, Action: book.Decline},
		book.RiskRule{Name: "merchant", Measure: book.CountOf, Per: book.PerMember | book.PerMerchant, Window: book.BusinessDay, Limit: 40, Action: book.Decline})
	cards := []points.CardToken{cardOf(1)}
	for i := range byte(4) {
		cards = append(cards, points.CardToken{0xcc, 15: i})
		d.put(book.Entry{Card: &book.Card{Token: cards[i+1], Member: 1, Status: book.Active}})
	}
	r := rand.New(rand.NewPCG(1, 1))
	through, approved := points.Amount(0), 0
	for range 400 {
		amount := points.Amount(1 + r.IntN(30))
		out := d.sale([]string{"T1", "T2"}[r.IntN(2)], cards[r.IntN(len(cards))], amount)
		if out.Reason.Approved() {
			through, approved = through+amount, approved+1
			continue
		}
		require.NotZero(t, out.Risk.Rule)
		require.True(t, through+amount > 500 || approved == 40, "%d of 500 are through, and %d is refused", through, amount)
	}
	require.True(t, through == 500 || approved == 40, "%d points in %d sales", through, approved)
	require.LessOrEqual(t, through, points.Amount(500))
}

// With more parties than are tracked, those beyond share one counter: nobody ever gets
// more than the limit through, also not by coming back when there is room again.
func TestBeyondTheBoundNobodyGetsMore(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 2))
		limit := points.Amount(20 + r.IntN(80))
		window := []book.Window{12, 60, book.BusinessDay}[r.IntN(3)]
		d := guarded(t, uint32(1+r.IntN(6)), book.RiskRule{Name: "card", Measure: book.SumOf, Per: book.PerCard, Window: window, Limit: limit, Action: book.Decline})
		type sale struct {
			posted points.Timestamp
			date   points.BusinessDate
			amount points.Amount
		}
		sales := map[points.MemberID][]sale{}
		date, shared := day0, false
		for range 300 {
			switch r.IntN(20) {
			case 0:
				d.now += points.Timestamp(r.IntN(40)) * minute
			case 1:
				date = date.AddDays(1)
				d.must(book.Command{Kind: book.KindCutOver, Date: date})
			case 2:
				d.store.checkpoint(d.book)
				digest := d.book.Digest()
				d.book = reopened(t, d)
				require.Equal(t, digest, d.book.Digest())
			}
			id := points.MemberID(1 + r.IntN(12))
			out := *d.sale("T1", cardOf(id), points.Amount(1+r.IntN(30)))
			shared = shared || d.book.Risk().Shared
			require.LessOrEqual(t, d.book.Risk().Parties, d.book.Risk().Most)
			if !out.Reason.Approved() {
				continue
			}
			sum := out.Amount
			for _, s := range sales[id] {
				if (window == book.BusinessDay && s.date == out.Date) || (window != book.BusinessDay && s.posted >= out.Posted-points.Timestamp(window)*minute) {
					sum += s.amount
				}
			}
			require.LessOrEqual(t, sum, limit, "seed %d: card %d", seed, id)
			sales[id] = append(sales[id], sale{out.Posted, out.Date, out.Amount})
			if r.IntN(6) == 0 {
				stan := uint32(len(d.store.journal)) + 1
				d.must(at("T1", stan, book.Command{Kind: book.KindReverse, Function: points.Reversal, Original: out.Position}))
				sales[id] = sales[id][:len(sales[id])-1]
			}
		}
		require.True(t, shared, "seed %d: the bound was reached", seed)
		replay(t, d, newDesk(t, book.Options{}))
	}
}

// Parties whose windows are over make room: what is tracked does not grow without bound.
func TestCountersThatAreOverMakeRoom(t *testing.T) {
	d := guarded(t, 0, book.RiskRule{Name: "card", Measure: book.CountOf, Per: book.PerCard, Window: 1, Limit: 1, Action: book.Flag, Functions: []points.Function{points.Redeem}, Attempts: true})
	for i := range 2000 {
		d.now += minute / 4
		card := points.CardToken{0xdd, 14: byte(i >> 8), 15: byte(i)} // nobody's: each comes once
		require.Equal(t, points.UnknownCard, d.sale("T1", card, 1).Reason)
	}
	require.Less(t, d.book.Risk().Parties, 40)
	require.False(t, d.book.Risk().Shared)
}

// A set is refused whole, and changes nothing; one that was made for another version is
// refused too, so that two who change the rules at once do not undo each other.
func TestRulesAreSetForAVersion(t *testing.T) {
	d := guarded(t, 0)
	rule := book.RiskRule{Name: "sale", Measure: book.SumOf, Window: book.OneTransaction, Limit: 5, Action: book.Decline}
	set := func(version uint32, rules ...book.RiskRule) *book.Outcome {
		return d.do(book.Command{Kind: book.KindPut, Entry: book.Entry{Risk: &book.RiskRules{Version: version, Rules: rules}}})
	}
	before := d.book.Digest()
	require.Equal(t, points.AlreadyExists, set(1, rule).Reason)
	require.Equal(t, points.FormatError, set(0, rule, rule).Reason)
	require.Equal(t, before, d.book.Digest())
	require.True(t, set(2, rule).Reason.Approved())
	first := d.book.Registry().Risk.Position()
	require.Equal(t, points.AlreadyExists, set(2).Reason)
	out := set(0)
	require.True(t, out.Reason.Approved())
	require.Equal(t, first, out.Original, "a set names the one before it")
	require.EqualValues(t, 3, d.book.Registry().Risk.Version)
}

// A card is new from when it was first put; putting it again does not make it so.
func TestNewCards(t *testing.T) {
	d := guarded(t, 0, book.RiskRule{Name: "new", NewHours: 2, Measure: book.SumOf, Window: book.OneTransaction, Limit: 10, Action: book.Decline, Reason: points.SuspectedFraud})
	card := points.CardToken{0xcc, 1}
	put := func(since points.Timestamp) {
		d.put(book.Entry{Card: &book.Card{Token: card, Member: 1, Status: book.Active, Since: since}})
	}
	d.now += minute
	put(d.now)
	began := d.now
	require.Equal(t, points.SuspectedFraud, d.sale("T1", card, 11).Reason)
	require.True(t, d.sale("T1", card, 10).Reason.Approved())
	require.True(t, d.sale("T1", cardOf(1), 11).Reason.Approved(), "of the other card nobody knows when it came")
	d.now = began + 120*minute - 20_000 // the desk's clock goes on a little
	put(d.now)
	last := d.sale("T1", card, 11)
	require.Less(t, last.Posted, began+120*minute)
	require.Equal(t, points.SuspectedFraud, last.Reason)
	d.now = began + 120*minute + 20_000
	require.True(t, d.sale("T1", card, 11).Reason.Approved())
}

// A sum that does not fit is above every limit.
func TestSumsThatDoNotFit(t *testing.T) {
	d := guarded(t, 0, book.RiskRule{Name: "all", Functions: []points.Function{points.OfflineEarn}, Measure: book.SumOf, Per: book.PerAll, Window: book.BusinessDay, Limit: points.MaxAmount * 1000, Action: book.Flag})
	var out book.Outcome
	for i := range uint32(1002) {
		out = *d.do(at("T1", 1000+i, book.Command{Kind: book.KindEarn, Function: points.OfflineEarn, Card: cardOf(1), Program: inn, Amount: points.MaxAmount}))
		require.True(t, out.Reason.Approved(), fmt.Sprint(i))
		require.Equal(t, i >= 1000, out.Risk.Flags == 1, fmt.Sprint(i))
	}
}
