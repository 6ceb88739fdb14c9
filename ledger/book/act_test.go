package book_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// Each act that a policy may name guards a command: one that guards none lets its owner
// believe in a second person who is never asked.
func TestEachActGuardsACommand(t *testing.T) {
	put := func(e book.Entry) book.Command {
		return book.Command{Kind: book.KindPut, Edition: book.Edition, Entry: e}
	}
	guards := map[book.Act][]book.Command{
		book.ActAdjust: {{Kind: book.KindAdjust}, {Kind: book.KindReinstate}},
		book.ActParticipants: {
			put(book.Entry{Issuer: &book.Issuer{}}), put(book.Entry{Acquirer: &book.Acquirer{}}), put(book.Entry{Program: &book.Program{}}),
			put(book.Entry{Merchant: &book.Merchant{}}), put(book.Entry{Terminal: &book.Terminal{}}), put(book.Entry{Route: &book.Route{}}),
		},
		book.ActOperators:    {put(book.Entry{Operator: &book.Operator{}})},
		book.ActPolicy:       {put(book.Entry{Policy: &book.Policy{}})},
		book.ActCutOver:      {{Kind: book.KindCutOver, Operator: "ann"}},
		book.ActResolve:      {{Kind: book.KindResolve}},
		book.ActKeys:         {rotation("ann")},
		book.ActRisk:         {put(book.Entry{Risk: &book.RiskRules{}}), put(book.Entry{Cap: &book.Cap{}}), put(book.Entry{Fund: &book.Fund{}}), put(book.Entry{Grant: &book.Grant{}})},
		book.ActRates:        {put(book.Entry{Rate: &tariff.Rate{}}), put(book.Entry{Fees: &tariff.Schedule{}})},
		book.ActSettlement:   {{Kind: book.KindPost}, {Kind: book.KindLeg}},
		book.ActPIN:          {{Kind: book.KindPIN, Edition: book.Edition, PINValue: rightPIN}},
		book.ActDisputes:     {put(book.Entry{Disputes: &book.DisputeRules{}})},
		book.ActCertificates: {certified("ann", book.CertificateIssue, hostIdentity), certified("ann", book.CertificateCode, hostIdentity)},
	}
	for act := book.Act(1); book.TwoPersons>>act != 0; act++ {
		if !book.TwoPersons.Has(act) {
			continue
		}
		require.NotEmpty(t, guards[act], "%v guards nothing", act)
		for i := range guards[act] {
			require.Equal(t, act, guards[act][i].Of(), "%v", guards[act][i].Kind)
		}
	}
}

// Rules on risk wait for a second person where the policy says risk, and do not where it
// says participants; those of a journal of before stay under what they were under.
func TestRulesOnRiskNeedSecondPerson(t *testing.T) {
	both := book.Acts(1)<<book.ActPolicy | 1<<book.ActOperators
	rules := func() book.Command {
		return book.Command{Kind: book.KindPut, Edition: book.Edition, Operator: "cat", Note: "case 5", Entry: book.Entry{Risk: &book.RiskRules{}}}
	}
	before := rules()
	before.Edition = 0

	d := staffed(t, both|1<<book.ActRisk)
	d.refused(t, points.NeedsSecondPerson, rules())
	at := d.must(proposed(rules())).Position
	d.recovered(t)
	d.must(d.approval("bob", at))
	d.must(before)
	d.recovered(t)

	d = staffed(t, both|1<<book.ActParticipants)
	d.must(rules())
	d.refused(t, points.NeedsSecondPerson, before)
	d.recovered(t)
}
