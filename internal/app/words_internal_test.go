package app

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// theRegistry is what acts are compared with.
func theRegistry(t *testing.T) *book.Registry {
	t.Helper()
	r := &book.Registry{
		Programs:  map[points.ProgramID]*book.Program{901: {ID: 901, Issuer: 10000001, Name: "One", Scale: 2, Status: book.Active}},
		Operators: map[string]*book.Operator{"li": {Name: "li", Roles: book.RoleOperator, Status: book.Active}},
		Policy:    book.Policy{TwoPersons: book.Acts(1) << book.ActAdjust, Hours: 24},
		Risk:      &book.RiskRules{Version: 1, Rules: []book.RiskRule{{Name: "old", Measure: book.Measure(1), Per: book.Per(1), Window: book.Window(1), Limit: 5, Action: book.Decline}}},
		Caps:      map[tariff.Member]*book.Cap{10000001: {Member: 10000001, Cap: 500_000}},
		Rates:     tariff.NewRates(), Fees: tariff.NewFees(),
	}
	const hour = 3_600_000_000
	rate, err := r.Rates.Next(tariff.Terms{Program: 901, Side: tariff.Clear, From: 2 * hour, Num: 1, Den: 1}, "li", "wang", hour)
	require.NoError(t, err)
	require.NoError(t, r.Rates.Append(rate))
	fees, err := r.Fees.Next(2*hour, []tariff.FeeRow{{Kind: tariff.KindRDM, PPM: 3000}, {Kind: tariff.KindEAR, PPM: 2000}}, "li", "wang", hour)
	require.NoError(t, err)
	require.NoError(t, r.Fees.Append(fees))
	return r
}

// Whatever can be proposed is said so that a second person can decide it: with decimals,
// times in the switch's zone and what there is now, and never as JSON or digests of nothing.
// A kind of act that is new has to come here.
func TestEveryActInWords(t *testing.T) {
	from := points.TimestampOf(time.Date(2026, 3, 2, 16, 0, 0, 0, time.UTC))
	put := func(e book.Entry) book.Command { return book.Command{Kind: book.KindPut, Entry: e} }
	zone := time.FixedZone("", 8*3600)
	w := words{zone: zone, registry: theRegistry(t), compare: true, original: func(at points.Position) (*book.Record, error) {
		return map[points.Position]*book.Record{
			42: {Command: book.Command{Kind: book.KindForward, Function: points.Redeem, Amount: 12_000}, Outcome: book.Outcome{Program: 901, Issuer: 10000002}},
			43: {Command: book.Command{Kind: book.KindQuote, Program: 901}, Outcome: book.Outcome{Swap: book.SwapFigures{Into: 902, In: 5_000, Out: 7}}},
		}[at], nil
	}}
	seen := map[book.Act]bool{}
	for _, c := range []struct {
		act  book.Command
		want []string
	}{
		{book.Command{Kind: book.KindAdjust, Member: 7, Program: 901, Amount: 5_000}, []string{"adjust +50.00 of programme 901, member 7"}},
		{book.Command{Kind: book.KindReinstate, Member: 7, Program: 901, Amount: 5_000}, []string{"+50.00 of programme 901"}},
		{put(book.Entry{Program: &book.Program{ID: 901, Issuer: 10000001, Name: "Uno", Scale: 2, Status: book.Active}}), []string{"change programme 901: name One → Uno"}},
		{put(book.Entry{Merchant: &book.Merchant{Acquirer: 20000001, Name: "New", Status: book.Active, Programs: []points.ProgramID{901, 902}}}), []string{"put merchant", "programs 901 902"}},
		{put(book.Entry{Operator: &book.Operator{Name: "li", Roles: book.RoleAdmin, Status: book.Active, InviteUntil: from}}), []string{"change operator li: roles operator → admin, and invite the person"}},
		{put(book.Entry{Policy: &book.Policy{TwoPersons: book.TwoPersons, Hours: 8}}), []string{"change policy: hours 24 → 8, two_persons adjust → adjust,participants"}},
		{put(book.Entry{Disputes: &book.DisputeRules{Rules: book.DefaultDisputeRules().Rules[:1]}}), []string{"change rules of disputes", "→ none"}},
		{put(book.Entry{Rate: &tariff.Rate{Terms: tariff.Terms{Program: 901, Side: tariff.Clear, From: from, Num: 5, Den: 4}}}), []string{
			"from 2026-03-03 00:00:00 +08:00", "one point is worth 0.0125 QZP (smallest units 5/4)", "until then 0.01 QZP (smallest units 1/1)",
		}},
		{put(book.Entry{Fees: &tariff.Schedule{From: from, Rows: []tariff.FeeRow{
			{Kind: tariff.KindRDM, InterchangePPM: 5000, PPM: 3000, Max: 500, VATPPM: 60_000}, {Kind: tariff.KindEAR, PPM: 2000},
		}}}), []string{"fees from 2026-03-03 00:00:00 +08:00", "new: RDM: interchange 0.5% (5000 ppm), fee 0.3% (3000 ppm), at most 0.0500 QZP, VAT 6% (60000 ppm)", "no more: RDM: interchange 0% (0 ppm), fee 0.3%", "1 of 2 rows stay"}},
		{put(book.Entry{Swaps: &tariff.SwapTerms{Program: 901, From: from, SwapRules: tariff.SwapRules{MinIn: 100}}}), []string{"put terms of swaps of programme 901 from 2026-03-03 00:00:00 +08:00", "min_in 100"}},
		{put(book.Entry{Cap: &book.Cap{Member: 10000001, Cap: 1_000_000}}), []string{"100.0000 QZP; now 50.0000 QZP"}},
		{put(book.Entry{Fund: &book.Fund{Amount: 1_000_000}}), []string{"guarantee fund: 100.0000 QZP; there is none now"}},
		{put(book.Entry{Grant: &book.Grant{By: 10000001, To: 20000001, Amount: 5}}), []string{"limit that 10000001 grants 20000001: 0.0005 QZP; there is none now"}},
		{put(book.Entry{Risk: &book.RiskRules{Rules: []book.RiskRule{{Name: "new", Measure: book.Measure(1), Per: book.Per(1), Window: book.Window(1), Limit: 9, Action: book.Decline}}}}), []string{`new: "new" looks at redeem pre_auth`, `no more: "old"`, "0 of 1 rules stay"}},
		{put(book.Entry{Risk: &book.RiskRules{Rules: []book.RiskRule{
			{Name: "large", Measure: book.SumOf, Window: book.OneTransaction, Limit: 9, Action: book.Flag},
			{Name: "daily", Measure: book.SumOf, Per: book.PerCard, Window: book.BusinessDay, Limit: 9, Action: book.Flag},
		}}}), []string{"measures amount per transaction, limit 9", "measures amount per card and day, limit 9"}},
		{book.Command{Kind: book.KindCutOver, Operator: "li", Date: 20260303}, []string{"begin business date 2026-03-03"}},
		{book.Command{Kind: book.KindResolve, Original: 42, Answer: points.Approved}, []string{"resolve 000000000042, redeem of issuer 10000002, 120.00 of programme 901: it stands at the issuer"}},
		{book.Command{Kind: book.KindResolve, Original: 43, Answer: points.ReversedBefore}, []string{"resolve the swap 000000000043, 50.00 of programme 901 into 7 of programme 902: it is gone at the issuer"}},
		{book.Command{Kind: book.KindResolve, Original: 44, Answer: points.Approved}, []string{"resolve 000000000044, of which there is no record: it stands"}},
		{book.Command{Kind: book.KindDispute, Original: 44, Amount: 5, Dispute: book.DisputeMove{Step: book.StepChargeback, Who: book.PartyIssuer, Code: "CB01"}}, []string{"about 000000000044, of which there is no record, reason CB01", "amount 5 in smallest units"}},
		{book.Command{Kind: book.KindPIN, Edition: 1, PINValue: book.PINValue{1: 1}, Limit: 3, Member: 7}, []string{"set the PIN of member 7, which 3 wrong ones"}},
		{book.Command{Kind: book.KindDispute, Original: 42, Amount: 5_000, Dispute: book.DisputeMove{Step: book.StepChargeback, Who: book.PartyIssuer, Code: "CB01", Evidence: "letter"}}, []string{"reason CB01 (goods or service not received), amount 50.00 of programme 901, evidence letter"}},
		{book.Command{Kind: book.KindLeg, Amount: 10_000, Leg: book.Leg{Kind: tariff.KindADJ, Payer: 10000001, Payee: 20000001}}, []string{"10000001 pays 20000001 1.0000 QZP"}},
		{book.Command{Kind: book.KindPost, Date: 20260303, Cycle: 2, Run: [32]byte{1}, Manifest: [32]byte{2}, Moves: []book.ClearingMove{{Program: 901, Acquirer: 20000001, Amount: -12_345}}}, []string{"cycle 2 of business date 2026-03-03", "acquirer 20000001 -123.45 of programme 901"}},
		{book.Command{Kind: book.KindNote, Act: book.ActKeys, Ceremony: book.Ceremony{Act: 1, Key: "zone", Version: 1, Usage: "zone-master", Algorithm: "aes-256", Check: [3]byte{1}, Fingerprint: [16]byte{1}}}, []string{"key zone/1, zone-master of aes-256"}},
		{book.Command{Kind: book.KindNote, Act: book.ActCertificates, Certificate: &book.Certificate{Act: book.CertificateCode, Identity: "lianfen://issuer/10000004", Lifetime: 86_400, Valid: 3600}}, []string{"one-time code", "lianfen://issuer/10000004"}},
		{book.Command{Kind: book.KindNote, Act: book.ActHouse, Note: "reload"}, []string{"house: reload"}},
	} {
		text, err := w.act(&c.act)
		require.NoError(t, err)
		seen[c.act.Of()] = true
		for _, want := range c.want {
			require.Contains(t, text, want)
		}
		require.NotContains(t, text, "{")
		require.NotContains(t, text, strings.Repeat("0", 64))
		require.NotEqual(t, c.act.Kind.String(), text, "nothing was said")
	}
	for act := book.Act(1); !strings.HasPrefix(act.String(), "act"+"("); act++ {
		require.True(t, seen[act], "no words for %v", act)
	}
}
