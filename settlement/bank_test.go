package settlement_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement"
	"github.com/lianfen/lianfen/settlement/files"
	"github.com/lianfen/lianfen/tariff"
)

// bankOf pays the story at a hundred points a yuan. The tea house has said no account.
func bankOf(num uint64, change func(*settlement.Bank)) *settlement.Bank {
	b := &settlement.Bank{
		Price: files.Price{Currency: "CNY", Scale: 2, Num: num, Den: 1}, Settlement: files.Account{Bank: "ICBKCNBJ", Number: "9000"},
		Members: map[tariff.Member]files.Account{airline: {Bank: "CNAPS:102100099996", Number: "9001"}, east: {Bank: "PCBCCNBJ", Number: "9002"}},
	}
	if change != nil {
		change(b)
	}
	return b
}

func (s *story) paying(folder string, bank *settlement.Bank) *settlement.Runner {
	s.t.Helper()
	opts := s.options(folder, 2)
	opts.Bank = bank
	r, err := settlement.NewRunner(s.house(), opts)
	require.NoError(s.t, err)
	return r
}

// twoCycles tells two cycles of the same trade: east is owed by the airline and the tea house.
func (s *story) twoCycles() {
	s.t.Helper()
	for cycle := range uint8(2) {
		s.must(s.at("CAFE1", book.KindRedeem, points.Redeem, 1, miles, 301))
		s.must(s.at("CAFE1", book.KindRedeem, points.Redeem, 2, stars, 4_001))
		if cycle == 0 {
			s.cutOver(dayOne, 2)
		}
	}
	s.cutOver(dayTwo, 0)
}

func checkOf(run *settlement.Run, name string) *settlement.Check {
	i := slices.IndexFunc(run.Checks, func(c settlement.Check) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return &run.Checks[i]
}

// Positions are paid at the bank where a point has a price: debtors in one message, creditors
// in another, under NET's instructions. Who has no account is in none: the run waits for a
// second person, and both the member's exceptions and the operator's say so.
//
//	301 miles at 12347/3    1238816; of it interchange 6194, fee 3716
//	4001 stars at 81/2      162040 (162040.5, to the even); interchange 810, fee 486
func TestRunPaysAtTheBank(t *testing.T) {
	s := tell(t)
	s.twoCycles()
	folder := t.TempDir()
	r := s.paying(folder, bankOf(1, nil))
	run, err := r.Run(t.Context(), dayOne, 1, settlement.Order{At: s.clock, By: "li", ID: goldenRun})
	require.NoError(t, err)
	bank := checkOf(run, settlement.CheckBank)
	require.Equal(t, []any{settlement.SecondPerson, false}, []any{bank.Severity, bank.Pass})
	require.Contains(t, bank.Found, "1 are left out, since no account of theirs is configured; 10000002 pays 16.12 CNY under 20260301-01-10000002-MNET")
	_, err = r.Propose(t.Context(), run, settlement.Order{At: s.clock, By: "li"})
	require.NoError(t, err)
	require.Equal(t, points.NeedsSecondPerson, points.ReasonOf(r.Approve(t.Context(), run, settlement.Order{At: s.clock, By: "li"})))
	run = s.settle(r, dayOne, 1, goldenRun)

	// The airline owes 123.2622, the tea house 16.1230; east is owed both less the fees, 138.9650,
	// a half that goes to the even 138.96; FEE is owed 0.3964 and VAT 0.0238.
	require.Equal(t, &files.PaymentTotals{
		Currency: "CNY", Scale: 2, Num: 1, Den: 1, Payers: 1, In: 12_326, Payees: 1, Out: 13_896, LeftOut: 1, LeftIn: 1_612, Own: 42, Rounding: 0,
	}, run.Payments)
	listed, err := r.Exceptions(run)
	require.NoError(t, err)
	require.Len(t, listed, 1)
	require.Equal(t, []string{"bank", files.ReasonNoBankAccount, "20260301-01-10000002-MNET"}, []string{listed[0].Source, listed[0].Reason, string(listed[0].Raw)})

	got := tree(t, filepath.Join(folder, goldenRun))
	mine := got["10000002/QZ_EXC_10000002_M_20260301_01_1of1.csv"]
	require.Contains(t, mine, files.ReasonNoBankAccount)
	require.Contains(t, got["10000002/statement.html"], files.ReasonInChinese(files.ReasonNoBankAccount))
	require.NotContains(t, got["10000001/QZ_EXC_10000001_M_20260301_01_1of1.csv"], files.ReasonNoBankAccount)
	require.Contains(t, got["operator/QZ_PYI_90000001_M_20260301_01_1of1.xml"], "<InstrId>20260301-01-10000001-MNET</InstrId>")
	require.NotContains(t, got["operator/QZ_PYI_90000001_M_20260301_01_1of1.xml"], "10000002")
	require.Contains(t, got["operator/QZ_PYO_90000001_M_20260301_01_1of1.xml"], "<IntrBkSttlmAmt Ccy=\"CNY\">138.96</IntrBkSttlmAmt>")
	for name := range got {
		require.Equal(t, strings.HasPrefix(name, "operator/"), strings.Contains(name, "_PAY_") || strings.Contains(name, "_PYI_") || strings.Contains(name, "_PYO_") ||
			strings.HasPrefix(name, "operator/QZ_NET") || strings.HasPrefix(name, "operator/QZ_EXC"), name)
	}

	hostile := t.TempDir()
	none, err := settlement.OperatorSums(hostile)
	require.NoError(t, err)
	require.Empty(t, none)
	require.NoError(t, os.Mkdir(filepath.Join(hostile, settlement.ManifestName), 0o700))
	_, err = settlement.OperatorSums(hostile)
	require.ErrorContains(t, err, "want a file of at most")
	sums, err := settlement.OperatorSums(filepath.Join(folder, goldenRun))
	require.NoError(t, err)
	require.Len(t, sums, 5)
	report, err := files.Verify(os.DirFS(filepath.Join(folder, goldenRun, settlement.OperatorFolder)), nil, files.Check{Scale: settlement.Scale, Whole: true, House: true, Sums: sums})
	require.NoError(t, err)
	require.Empty(t, report.Breaches)
	for _, m := range []string{"10000001", "10000002", "20000001"} {
		report, err := files.Verify(os.DirFS(filepath.Join(folder, goldenRun, m)), nil, files.Check{Scale: settlement.Scale, Whole: true})
		require.NoError(t, err)
		require.Empty(t, report.Breaches, m)
	}
}

// Price and accounts are part of a run's key. Those that no run was published with yet wait for
// a second person; a published run is not proved to be the same under others; without a price
// nothing is paid and nothing is asked.
func TestBankIsPartOfTheKey(t *testing.T) {
	s := tell(t)
	s.twoCycles()
	folder := t.TempDir()
	full := func(b *settlement.Bank) { b.Members[teaShop] = files.Account{Bank: "ICBKCNBJ", Number: "9003"} }
	moved := func(b *settlement.Bank) { full(b); b.Members[east] = files.Account{Bank: "PCBCCNBJ", Number: "6666"} }
	keys := map[string]string{}
	for name, bank := range map[string]*settlement.Bank{"none": nil, "one": bankOf(1, full), "two": bankOf(2, full), "moved": bankOf(1, moved), "fewer": bankOf(1, nil)} {
		run, err := s.paying(t.TempDir(), bank).Run(t.Context(), dayOne, 1, settlement.Order{At: s.clock, By: "li", ID: goldenRun})
		require.NoError(t, err)
		keys[run.KeyDigest] = name
		if bank == nil {
			require.Nil(t, checkOf(run, settlement.CheckBank))
			require.Nil(t, checkOf(run, settlement.CheckAccounts))
			require.Nil(t, run.Payments)
		}
	}
	require.Len(t, keys, 5, "%v", slices.Collect(maps.Values(keys)))

	first := s.settle(s.paying(folder, bankOf(1, full)), dayOne, 1, goldenRun)
	accounts := checkOf(first, settlement.CheckAccounts)
	require.Equal(t, []any{settlement.SecondPerson, false}, []any{accounts.Severity, accounts.Pass})
	require.Contains(t, accounts.Found, "no run was published with a price")
	require.True(t, checkOf(first, settlement.CheckBank).Pass)

	order := settlement.Order{At: s.clock, By: "li", ID: otherULID}
	_, err := s.paying(folder, bankOf(1, full)).Run(t.Context(), dayOne, 1, order)
	require.NoError(t, err, "it comes to the same")
	_, err = s.paying(folder, bankOf(2, full)).Run(t.Context(), dayOne, 1, order)
	require.ErrorIs(t, err, settlement.ErrDiffers)
	require.ErrorContains(t, err, "bank accounts")

	second, err := s.paying(folder, bankOf(1, moved)).Run(t.Context(), dayOne, 2, order)
	require.NoError(t, err)
	accounts = checkOf(second, settlement.CheckAccounts)
	require.False(t, accounts.Pass)
	require.Contains(t, accounts.Found, "not those of run "+goldenRun)
	require.NoError(t, s.paying(folder, bankOf(1, moved)).Void(t.Context(), second, order, "who has said 6666?"))
	order.ID = "01KJJQZ3A00000000000000009"
	second, err = s.paying(folder, bankOf(1, full)).Run(t.Context(), dayOne, 2, order)
	require.NoError(t, err)
	require.True(t, checkOf(second, settlement.CheckAccounts).Pass)
	_, failed := settlement.Failed(second.Checks, settlement.SecondPerson)
	require.False(t, failed)
}
