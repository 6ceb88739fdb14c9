package book_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// legOf reads ADJ:payer:payee.
func legOf(t *testing.T, text string) (l book.Leg) {
	parts := strings.Split(text, ":")
	require.Len(t, parts, 3)
	require.NoError(t, l.Kind.UnmarshalText([]byte(parts[0])))
	for i, m := range []*tariff.Member{&l.Payer, &l.Payee} {
		require.NoError(t, m.UnmarshalText([]byte(parts[i+1])))
	}
	return l
}

// disputes shows every case of the story.
func (s *teller) disputes(t *testing.T) string {
	var text strings.Builder
	for position := points.Position(1); position <= s.book.Position(); position++ {
		v, ok, err := s.book.Dispute(position)
		require.NoError(t, err)
		if !ok {
			continue
		}
		fmt.Fprintf(&text, "#%d %v, %v answers until %v: took %d of %d, left %d", v.Original, v.State, v.Answers, v.Deadline, v.Net, v.Sold, v.Left)
		if v.Forfeit {
			text.WriteString(", the acquirer was silent")
		}
		text.WriteByte('\n')
		for _, step := range v.Steps {
			fmt.Fprintf(&text, "  #%d %v %s %d\n", step.Record, step.Step, step.Code, step.Amount)
		}
	}
	fmt.Fprintf(&text, "open: %v\n", s.book.OpenDisputes())
	return text.String()
}

// A rule that draws an arrow which the picture has not, or that cannot be as it is, is
// refused with its name; a set that is put is in force, and goes through the wire.
func TestDisputeRules(t *testing.T) {
	d := newDesk(t, book.Options{})
	d.furnish(1, book.ProgramRules{}, book.ProgramRules{})
	put := func(rules book.DisputeRules) error {
		cmd := book.Command{Kind: book.KindPut, Key: keyOf("T1", 900+uint32(len(rules.Rules)), 2), Entry: book.Entry{Disputes: &rules}}
		why := d.book.Why(&cmd)
		out := d.do(cmd)
		require.Equal(t, why == nil, out.Reason.Approved())
		return why
	}
	good := *book.DefaultDisputeRules()
	require.NoError(t, put(good))
	require.Equal(t, good, d.book.DisputeRulesInForce())
	for say, change := range map[string]func(*book.DisputeRule){
		"each has its own":   func(r *book.DisputeRule) { r.Code = "RET" },
		"want 1 to 8 of A-Z": func(r *book.DisputeRule) { r.Code = "ret-1" },
		"there is none such": func(r *book.DisputeRule) { r.Step = 99 },
		"want issuer":        func(r *book.DisputeRule) { r.Who = 0 },
		"want a name":        func(r *book.DisputeRule) { r.Name = "" },
		"is not taken from":  func(r *book.DisputeRule) { r.From = 1 << book.DisputeClosed },
		"one or more states": func(r *book.DisputeRule) { r.From = 1 << 15 },
	} {
		bad := book.DisputeRules{Rules: append([]book.DisputeRule(nil), good.Rules...)}
		change(&bad.Rules[2])
		require.ErrorContains(t, put(bad), say)
		bad.Rules = append(bad.Rules, good.Rules[0]) // another key for the next try
	}
	require.ErrorContains(t, put(book.DisputeRules{}), "want one or more")
}

// However refunds, voids, reversals and disputes follow each other, what they give back of
// a sale is never more than it took (I24, I4), the accounts are what a plain model of sums
// says, a refusal changes nothing, and a replay comes to the same digest (I9).
func TestDisputesNeverTakeMoreThanTheSale(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := newDesk(t, book.Options{})
		d.furnish(1, book.ProgramRules{}, book.ProgramRules{})
		stan := uint32(0)
		key := func(class points.Class) points.TraceKey { stan++; return keyOf("T1", stan, class) }
		shop := book.Command{Acquirer: acquirer, Merchant: merchantID("SHOP"), Terminal: terminalID("T1"), Program: 900, Card: cardOf(1)}
		do := func(kind book.Kind, class points.Class, amount points.Amount, original points.Position) book.Outcome {
			cmd := shop
			cmd.Kind, cmd.Key, cmd.Amount, cmd.Original = kind, key(class), amount, original
			return *d.do(cmd)
		}
		require.True(rt, do(book.KindEarn, 2, 1000, 0).Reason.Approved())
		var sales []points.Position
		for range 2 {
			sales = append(sales, do(book.KindRedeem, 2, 100, 0).Position)
		}
		given, taken := map[points.Position]points.Amount{}, map[points.Position]points.Amount{}
		rules := book.DefaultDisputeRules().Rules
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			sale := rapid.SampledFrom(sales).Draw(rt, "sale")
			amount := points.Amount(rapid.IntRange(0, 120).Draw(rt, "amount"))
			switch rapid.IntRange(0, 9).Draw(rt, "what") {
			case 0, 1:
				if do(book.KindRefund, 2, amount, sale).Reason.Approved() {
					given[sale] += amount
				}
			case 2:
				if do(book.KindVoid, 2, 0, sale).Reason.Approved() {
					require.Zero(rt, given[sale]+taken[sale])
					given[sale] = 100
				}
			case 3:
				if out := do(book.KindReverse, 4, 0, sale); out.Reason.Approved() {
					require.Zero(rt, taken[sale])
					given[sale] = 100
				}
			case 4:
				require.True(rt, d.do(book.Command{Kind: book.KindCutOver, Key: key(8), Date: d.book.Date().AddDays(rapid.IntRange(1, 30).Draw(rt, "days"))}).Reason.Approved())
				require.True(rt, d.do(book.Command{Kind: book.KindExpireDisputes, Key: key(8)}).Reason.Approved())
			default:
				rule := rapid.SampledFrom(rules).Draw(rt, "rule")
				cmd := book.Command{
					Kind: book.KindDispute, Original: sale, Amount: amount, Operator: "li", Second: "wang",
					Dispute: book.DisputeMove{Step: rule.Step, Who: rule.Who, Code: rule.Code, Evidence: "case 1"},
				}
				before := d.book.Digest()
				out := *d.do(cmd)
				if !out.Reason.Approved() {
					require.Equal(rt, before, d.book.Digest(), "a refusal changes nothing")
					break
				}
				for _, p := range out.Postings {
					if p.Account.Kind == book.SuspenseAccount {
						taken[sale] += p.Amount
					}
				}
			}
			require.NoError(rt, d.book.Audit())
			require.LessOrEqual(rt, given[sale]+taken[sale], points.Amount(100))
			require.GreaterOrEqual(rt, taken[sale], points.Amount(0))
			suspense, _, err := d.book.Account(book.AccountKey{Kind: book.SuspenseAccount, Program: 900, Party: uint64(d.book.Registry().Programs[900].Issuer)})
			require.NoError(rt, err)
			require.Equal(rt, taken[sales[0]]+taken[sales[1]], suspense.Balance)
			clearing, _, err := d.book.Account(book.AccountKey{Kind: book.ClearingAccount, Program: 900, Party: uint64(acquirer)})
			require.NoError(rt, err)
			require.Equal(rt, -1000+200-given[sales[0]]-given[sales[1]]-suspense.Balance, clearing.Balance)
		}
		replay(t, d, newDesk(t, book.Options{}))
	})
}

// What a step or a leg says on the wire comes back. Clearing sees what a dispute takes back
// as a chargeback of the sale, and what it gives again as a re-presentment, each with what
// was undone before; a leg as it was said.
func TestDisputeItems(t *testing.T) {
	d := newDesk(t, book.Options{})
	d.furnish(1, book.ProgramRules{}, book.ProgramRules{})
	d.rated(900)
	stan := uint32(0)
	must := func(cmd book.Command) *book.Outcome {
		stan++
		cmd.Key, cmd.Operator, cmd.Second, cmd.Note = keyOf("T1", stan, 2), "li", "wang", "case 7"
		out := d.do(cmd)
		require.Equal(t, points.Approved, out.Reason)
		return out
	}
	shop := book.Command{Acquirer: acquirer, Merchant: merchantID("SHOP"), Terminal: terminalID("T1"), Program: 900, Card: cardOf(1), Amount: 500}
	shop.Kind = book.KindEarn
	must(shop)
	shop.Kind, shop.Amount = book.KindRedeem, 100
	sale := must(shop).Position
	step := func(step book.DisputeStep, who book.Party, code string, amount points.Amount) points.Position {
		return must(book.Command{Kind: book.KindDispute, Original: sale, Amount: amount, Dispute: book.DisputeMove{Step: step, Who: who, Code: code, Evidence: "slip.pdf"}}).Position
	}
	d.noItems(step(book.StepRetrieval, book.PartyIssuer, "RET", 0))
	item := d.itemOf(step(book.StepChargeback, book.PartyIssuer, "CB01", 30))
	require.Equal(t, tariff.KindCBK, item.Kind)
	require.Equal(t, tariff.KindRDM, item.Of)
	require.Equal(t, points.Amount(-30), item.Amount)
	require.Equal(t, points.Amount(0), item.Refunded)
	require.Equal(t, sale, item.Root)
	require.Equal(t, tariff.Member(acquirer), item.Acquirer)
	item = d.itemOf(step(book.StepRepresentment, book.PartyAcquirer, "REP", 20))
	require.Equal(t, tariff.KindREP, item.Kind)
	require.Equal(t, points.Amount(20), item.Amount)
	require.Equal(t, points.Amount(30), item.Refunded)
	require.Equal(t, points.Amount(100), item.Whole)

	leg := book.Leg{Kind: tariff.KindFEE, Payer: tariff.Member(acquirer), Payee: tariff.AccountFee, About: sale, Evidence: "x"}
	item = d.itemOf(must(book.Command{Kind: book.KindLeg, Amount: 5, Leg: leg}).Position)
	require.Equal(t, tariff.KindFEE, item.Kind)
	require.Equal(t, leg.Payer, item.Payer)
	require.Equal(t, leg.Payee, item.Payee)
	require.Equal(t, points.Standard, item.Program)
	require.Equal(t, points.Amount(5), item.Amount)
	require.NoError(t, d.book.Audit())
	replay(t, d, newDesk(t, book.Options{}))
}

// A dispute of a sale that its issuer has decided elsewhere takes of what is left of it, with
// what was taken before.
func TestDisputesElsewhereAddUp(t *testing.T) {
	s := &shell{desk: clearingDesk(t, book.Options{})}
	s.furnishFar()
	asked := s.must(at("T1", 1, book.Command{Kind: book.KindForward, Function: points.Redeem, Card: cardOf(7), Program: farMiles, Amount: 60})).Position
	s.must(book.Command{Kind: book.KindConclude, Original: asked, Answer: points.Approved})
	step := func(step book.DisputeStep, who book.Party, code string, amount points.Amount) points.Reason {
		return s.do(book.Command{Kind: book.KindDispute, Original: asked, Amount: amount, Operator: "li", Second: "wang", Dispute: book.DisputeMove{Step: step, Who: who, Code: code, Evidence: "slip.pdf"}}).Reason
	}
	require.Equal(t, points.AmountOverOriginal, step(book.StepChargeback, book.PartyIssuer, "CB01", 61))
	require.Equal(t, points.Approved, step(book.StepChargeback, book.PartyIssuer, "CB01", 50))
	require.Equal(t, points.Approved, step(book.StepAccept, book.PartyAcquirer, "ACA", 0))
	require.Equal(t, points.AmountOverOriginal, step(book.StepCreditAdj, book.PartyAcquirer, "CRA", 11))
	require.Equal(t, points.Approved, step(book.StepCreditAdj, book.PartyAcquirer, "CRA", 10))
	require.NoError(t, s.book.Audit())
}

// A step that a rule gives so many days for can be taken on the last of them, and not on the
// next.
func TestLastDayOfADispute(t *testing.T) {
	d := newDesk(t, book.Options{})
	d.furnish(1, book.ProgramRules{}, book.ProgramRules{})
	d.must(at("T1", 1, book.Command{Kind: book.KindEarn, Card: cardOf(1), Program: air, Amount: 100}))
	ask := func(sale points.Position) points.Reason {
		return d.do(book.Command{Kind: book.KindDispute, Original: sale, Operator: "li", Dispute: book.DisputeMove{Step: book.StepRetrieval, Who: book.PartyIssuer, Code: "RET"}}).Reason
	}
	one := d.must(at("T1", 2, book.Command{Kind: book.KindRedeem, Card: cardOf(1), Program: air, Amount: 10})).Position
	other := d.must(at("T1", 3, book.Command{Kind: book.KindRedeem, Card: cardOf(1), Program: air, Amount: 10})).Position
	d.must(book.Command{Kind: book.KindCutOver, Date: day0.AddDays(120)})
	require.Equal(t, points.Approved, ask(one))
	d.must(book.Command{Kind: book.KindCutOver, Date: day0.AddDays(121)})
	require.Equal(t, points.OriginalClosed, ask(other))
}
