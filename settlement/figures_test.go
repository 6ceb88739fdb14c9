package settlement_test

import (
	"context"
	"encoding/csv"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement"
	"github.com/lianfen/lianfen/tariff"
)

// wholeRows are the columns of NET from the net to the headroom in the rows of all
// counterparties and codes, by member.
func wholeRows(t *testing.T, text string) map[string]string {
	t.Helper()
	reader := csv.NewReader(strings.NewReader(text))
	reader.FieldsPerRecord = -1
	rows, err := reader.ReadAll()
	require.NoError(t, err)
	found := map[string]string{}
	for _, row := range rows {
		if len(row) == 19 && row[7] == "*" && row[8] == "*" {
			found[row[6]] = strings.Join(row[12:18], " ")
		}
	}
	return found
}

// A member whose cap is passed and whose cover is short, worked by hand. 10 miles are worth
// 10 x 12347/3 = 41156.67, so 4.1157 QZP; of these 0.5 % is interchange, 205.785, so 0.0206;
// the fee of 0.3 %, 123.47, so 0.0123, is the acquirer's. The airline owes 4.1157 - 0.0206 =
// 4.0951. Of 4.0000 prefund 5 % is taken off, of 0.1000 collateral a quarter: 3.8750 cover it,
// 0.2201 are missing. Its cap of 3.0000 is passed by 1.0951. The cafe's acquirer is to get
// 4.0951 - 0.0123 = 4.0828; its cap is 0, which it keeps since it owes nothing.
func TestStoryOfADebtor(t *testing.T) {
	s := tell(t)
	s.sale(10)
	s.put(book.Entry{Cap: &book.Cap{Member: airline, Cap: 30_000, Prefund: 40_000, PrefundHaircut: 50_000, Collateral: 1_000, CollateralHaircut: 250_000}})
	s.put(book.Entry{Cap: &book.Cap{Member: east}})
	s.cutOver(dayTwo, 0)
	folder, registry := t.TempDir(), prometheus.NewRegistry()
	opts := s.options(folder, 1)
	opts.Registry = registry
	r, err := settlement.NewRunner(s.house(), opts)
	require.NoError(t, err)
	require.Nil(t, r.WouldFail())
	run := s.settle(r, dayOne, 1, runOne)
	caps := checkNamed(t, run.Checks, settlement.CheckCaps)
	require.Equal(t, []any{false, settlement.SecondPerson, "10000001 owes 4.0951, its cap is 3.0000"}, []any{caps.Pass, caps.Severity, caps.Found})
	debtor := checkNamed(t, run.Checks, settlement.CheckDebtor)
	require.Equal(t, []any{false, settlement.Warn, "10000001 owes 4.0951, cover 3.8750, short by 0.2201 if it fails"}, []any{debtor.Pass, debtor.Severity, debtor.Found})
	require.Equal(t, &settlement.Debtor{Member: airline, Debt: 40_951, Cover: 38_750, Shortfall: 2_201}, run.Debtor)
	require.InDelta(t, 0.2201, gauge(t, registry, "lianfen_settlement_debtor_shortfall_qzp"), 1e-9)
	require.Equal(t, runOne, r.WouldFail().ID)

	files := tree(t, filepath.Join(folder, runOne))
	rows := wholeRows(t, files["operator/QZ_NET_90000001_M_20260301_01_1of1.csv"])
	require.Equal(t, map[string]string{
		"10000001": "-4.0951 0.0000 -4.0951 3.8750 3.0000 -1.0951", "20000001": "4.0828 0.0000 4.0828 0.0000 0.0000 0.0000",
		"FEE": "0.0116 0.0000 0.0116 0.0000  ", "VAT": "0.0007 0.0000 0.0007 0.0000  ",
	}, rows)
	available := func(member string) string {
		_, text, there := strings.Cut(files[member+"/QZ_STM_"+member+"_M_20260301_01_1of1.xml"], "<Cd>CLAV</Cd>")
		if !there {
			return "none"
		}
		_, text, _ = strings.Cut(text, "<Amt Ccy=\"QZP\">")
		amount, text, _ := strings.Cut(text, "<")
		_, text, _ = strings.Cut(text, "<CdtDbtInd>")
		return amount + " " + text[:4]
	}
	require.Equal(t, []string{"1.0951 DBIT", "4.0828 CRDT", "none"}, []string{available("10000001"), available("20000001"), available("10000002")})

	// Who must not owe and owes is named. The next run is that of an acquirer that took back.
	s.put(book.Entry{Cap: &book.Cap{Member: east, Unlimited: true}})
	s.must(s.at("CAFE1", book.KindEarn, points.Earn, 1, stars, 100_000))
	s.put(book.Entry{Cap: &book.Cap{Member: east}})
	s.put(book.Entry{Cap: &book.Cap{Member: airline, Unlimited: true}})
	s.cutOver(dayTwo.AddDays(1), 0)
	restarted, err := settlement.NewRunner(s.house(), s.options(folder, 1))
	require.NoError(t, err)
	require.Equal(t, runOne, restarted.WouldFail().ID, "a restart knows of it")
	run, err = restarted.Run(t.Context(), dayTwo, 1, settlement.Order{At: s.clock, By: "li", ID: runTwo})
	require.NoError(t, err)
	require.Contains(t, checkNamed(t, run.Checks, settlement.CheckCaps).Found, "20000001 owes 40")
	require.Contains(t, checkNamed(t, run.Checks, settlement.CheckCaps).Found, "its cap is 0.0000")
	require.NoError(t, restarted.Void(t.Context(), run, settlement.Order{At: s.clock, By: "li"}, "x"))
	require.Equal(t, runOne, restarted.WouldFail().ID)
}

// gauge reads a gauge.
func gauge(t *testing.T, registry *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := registry.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	require.Failf(t, "no gauge", "%s", name)
	return 0
}

// Two cycles of one date are settled one after the other, each with its own figures: 20 miles
// are 20 x 12347/3 = 82313.33, 8.2313 QZP less 0.0412 interchange; 30 are 123470, 12.3470
// less 617.35, so 0.0617. The second opens at zero, since each is paid by itself.
func TestStoryOfTwoCyclesOfADate(t *testing.T) {
	s := ofThreeCycles(t)
	folder := t.TempDir()
	r := s.runner(folder, 1)
	s.settle(r, dayOne, 1, runOne)
	for i, id := range []string{runTwo, runThree} {
		run := s.settle(r, dayTwo, uint8(i+1), id)
		require.Equal(t, []uint64{1, uint64(i + 2)}, []uint64{run.Items, run.Sequence})
		name := []string{"operator/QZ_NET_90000001_M_20260302_01_1of1.csv", "operator/QZ_NET_90000001_M_20260302_02_1of1.csv"}[i]
		want := []string{"-8.1901 0.0000 -8.1901 0.0000  ", "-12.2853 0.0000 -12.2853 0.0000  "}[i]
		require.Equal(t, want, wholeRows(t, tree(t, filepath.Join(folder, id))[name])["10000001"])
	}
}

// What other rates would change, worked by hand: at 12350/3 the 10 miles are worth 4.1167, the
// interchange stays, the fee is 123.501, so 0.0124, with 0.0007 VAT in it as before.
func TestStoryOfADryRun(t *testing.T) {
	s := tell(t)
	s.sale(10)
	s.cutOver(dayTwo, 0)
	r := s.runner(t.TempDir(), 1)
	ctx := t.Context()
	now, err := r.Now(ctx, dayOne, 1)
	require.NoError(t, err)
	other, err := r.Otherwise(ctx, now, []tariff.Terms{{Program: miles, Side: tariff.Clear, Num: 12_350, Den: 3}})
	require.NoError(t, err)
	diff, err := r.Compare(ctx, now, other)
	require.NoError(t, err)
	type move struct{ member, with, code, before, after, delta string }
	moves := make([]move, 0, 4)
	for _, p := range diff.Positions {
		if p.Counterparty != 0 && p.Code != 0 {
			moves = append(moves, move{p.Member.String(), p.Counterparty.String(), p.Code.String(), p.Before, p.After, p.Delta})
		}
	}
	require.ElementsMatch(t, []move{
		{"10000001", "20000001", "RDM", "-4.1157", "-4.1167", "-0.0010"},
		{"20000001", "10000001", "RDM", "4.1157", "4.1167", "0.0010"},
		{"20000001", "FEE", "SWF", "-0.0116", "-0.0117", "-0.0001"},
		{"FEE", "20000001", "SWF", "0.0116", "0.0117", "0.0001"},
	}, moves)
	require.Equal(t, []any{1, uint64(1), points.Amount(41_157), points.Amount(41_167)}, []any{len(diff.Items), diff.Differing, diff.Items[0].Before, diff.Items[0].After})
}

// Of twelve items that other rates move, the ten that move most are named, the largest first
// and equal ones in the order of the journal; all twelve are counted.
func TestStoryOfTheTenItems(t *testing.T) {
	s := tell(t)
	var want []points.Position
	amounts := []points.Amount{300, 100, 900, 500, 500, 1_200, 200, 800, 700, 600, 400, 1_100}
	places := make([]points.Position, len(amounts))
	for i, amount := range amounts {
		places[i] = s.must(s.at("CAFE1", book.KindRedeem, points.Redeem, 1, miles, amount)).Position
	}
	for _, i := range []int{5, 11, 2, 7, 8, 9, 3, 4, 10, 0} { // 100 and 200 are left out.
		want = append(want, places[i])
	}
	s.cutOver(dayTwo, 0)
	r := s.runner(t.TempDir(), 1)
	now, err := r.Now(t.Context(), dayOne, 1)
	require.NoError(t, err)
	other, err := r.Otherwise(t.Context(), now, []tariff.Terms{{Program: miles, Side: tariff.Clear, Num: 13_000, Den: 3}})
	require.NoError(t, err)
	diff, err := r.Compare(t.Context(), now, other)
	require.NoError(t, err)
	var got []points.Position
	for _, item := range diff.Items {
		got = append(got, item.Item)
	}
	require.Equal(t, want, got)
	require.EqualValues(t, 12, diff.Differing)
}

// rerated is a day whose table has got a rate after a run was made.
type rerated struct {
	*settlement.Synthetic
	rates *tariff.Rates // nil: as it was
}

func (d *rerated) Setting(ctx context.Context) (settlement.Setting, error) {
	setting, err := d.Synthetic.Setting(ctx)
	if d.rates != nil {
		setting.Rates = d.rates
	}
	return setting, err //nolint:wrapcheck // a test.
}

// Compared with a run, a cycle is held against the tables as they were when the run was made:
// a rate that was approved later stands on the side of now alone.
func TestAgainstTheRatesOfTheRun(t *testing.T) {
	day := &rerated{Synthetic: madeUp(t, 1_000, 4)}
	n := newNight(t, day.Synthetic, nil)
	var err error
	n.Runner, err = settlement.NewRunner(day, n.opts)
	require.NoError(t, err)
	const hour = 3_600_000_000
	made := morning - 48*hour
	run, err := n.Run(t.Context(), 20260302, 1, settlement.Order{At: made, By: "li", ID: ulid})
	require.NoError(t, err)
	was, err := day.Synthetic.Setting(t.Context())
	require.NoError(t, err)
	day.rates = tariff.NewRates()
	for rate := range was.Rates.All() {
		require.NoError(t, day.rates.Append(*rate))
	}
	later, err := day.rates.Next(tariff.Terms{Program: points.MinProgram, Side: tariff.Clear, From: made + 2*hour, Num: 1, Den: 1}, "maker", "checker", made+hour)
	require.NoError(t, err)
	require.NoError(t, day.rates.Append(later))

	then, err := n.Side(t.Context(), run)
	require.NoError(t, err)
	now, err := n.Now(t.Context(), 20260302, 1)
	require.NoError(t, err)
	diff, err := n.Compare(t.Context(), then, now)
	require.NoError(t, err)
	require.NotZero(t, diff.Differing)
	for _, item := range diff.Items {
		require.Equal(t, points.MinProgram, item.Program)
		require.Equal(t, absolute(item.Amount), absolute(item.After), "one for one now")
		require.NotEqual(t, item.Before, item.After)
	}
	same, err := n.Compare(t.Context(), then, then)
	require.NoError(t, err)
	require.Empty(t, same.Positions)
}

func absolute(a points.Amount) points.Amount { return max(a, -a) }

// watched is a day that is looked at before each range of it is read.
type watched struct {
	*settlement.Synthetic
	look func(first points.Position)
}

func (w *watched) Entries(ctx context.Context, first, last points.Position, visit func(*settlement.Entry) error) error {
	w.look(first)
	return w.Synthetic.Entries(ctx, first, last, visit) //nolint:wrapcheck // a test.
}

// How far a step is, how fast, and how long it takes still: 65,536 of 70,000 positions in
// 32.768 seconds are 2,000 a second, and the other 4,464 take two seconds. Afterwards no step
// is under way.
func TestProgress(t *testing.T) {
	at, registry := morning, prometheus.NewRegistry()
	n := newNight(t, madeUp(t, 70_000, 4), func(o *settlement.Options) {
		o.Workers, o.Twin, o.Registry, o.Clock = 1, false, registry, func() points.Timestamp { return at }
	})
	var seen []float64
	var now settlement.Progress
	var err error
	n.opts.Registry = prometheus.NewRegistry()
	n.Runner, err = settlement.NewRunner(&watched{n.day, func(first points.Position) {
		if first != settlement.ChunkPositions+1 || seen != nil {
			return
		}
		at += 32_768_000
		now = n.Progress()
		for _, name := range []string{"rows_done", "rows_total", "rows_per_second", "seconds_left"} {
			seen = append(seen, gauge(t, n.opts.Registry.(*prometheus.Registry), "lianfen_settlement_"+name)) //nolint:forcetypeassert // it is ours.
		}
	}}, n.opts)
	require.NoError(t, err)
	run, err := n.Run(t.Context(), 20260302, 1, order("li"))
	require.NoError(t, err)
	require.Equal(t, []float64{65_536, 70_000, 2_000, 2}, seen)
	require.Equal(t, settlement.Progress{Step: settlement.StepCompute, Done: 65_536, Total: 70_000, Began: morning, At: morning + 32_768_000}, now)
	require.Equal(t, []uint64{2_000, 2}, []uint64{now.PerSecond(), now.Left()})
	require.Equal(t, []any{settlement.StepCompute, uint64(70_000), int64(32_768_000), uint64(2_136)}, []any{run.Timings[0].Step, run.Timings[0].Rows, run.Timings[0].Micros, run.Timings[0].PerSecond()})
	require.Equal(t, settlement.Progress{}, n.Progress())
	require.Zero(t, gauge(t, n.opts.Registry.(*prometheus.Registry), "lianfen_settlement_rows_total")) //nolint:forcetypeassert // as above.
	for _, p := range []settlement.Progress{{Began: 5, At: 5, Done: 3, Total: 9}, {Began: 5, At: 4, Done: 3, Total: 9}, {Began: 1, At: 1_000_001, Done: 10, Total: 9}} {
		require.Zero(t, p.Left(), "neither a division by zero nor less than nothing: %+v", p)
	}
}
