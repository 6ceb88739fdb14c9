package settlement_test

import (
	"context"
	"encoding/hex"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement"
	"github.com/lianfen/lianfen/settlement/files"
	"github.com/lianfen/lianfen/settlement/netting"
	"github.com/lianfen/lianfen/tariff"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew; look at what has changed")

// Who takes part in the story. Member 30000001 issues points and takes them: its own at
// its own shop are on us.
const (
	airline = 10000001
	teaShop = 10000002
	ferry   = 10000003 // keeps its own ledger
	grocer  = 30000001
	east    = 20000001

	miles  points.ProgramID    = 901
	stars  points.ProgramID    = 902
	bonus  points.ProgramID    = 903 // nobody has said what it costs to earn them
	rides  points.ProgramID    = 904 // of the ferry
	dayOne points.BusinessDate = 20260301
	dayTwo points.BusinessDate = 20260302
)

// story is two days of a small town, told to a real ledger.
type story struct {
	t      *testing.T
	ledger *ledger.Ledger
	clock  points.Timestamp
	serial uint32
	named  map[string]points.Position // what is looked at again, by what the story calls it
}

func tell(t *testing.T) *story {
	t.Helper()
	s := takeUp(t, filepath.Join(t.TempDir(), "data"))
	s.furnish()
	return s
}

// takeUp opens the ledger of a story in a folder, a new one where there is none.
func takeUp(t *testing.T, folder string) *story {
	t.Helper()
	s := &story{t: t, clock: points.TimestampOf(time.Date(2026, 3, 1, 8, 0, 0, 0, china())), named: map[string]points.Position{}}
	opts := store.Options{Dir: folder, BlockCacheMB: 1}
	if _, err := os.Stat(folder); err != nil {
		require.NoError(t, store.Create(opts))
	}
	db, err := store.Open(opts)
	require.NoError(t, err)
	s.ledger, err = ledger.Open(t.Context(), ledger.Options{Store: db, Genesis: dayOne, GenesisAt: s.clock, Registerer: prometheus.NewRegistry()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.ledger.Close(context.Background())) })
	return s
}

// later moves the clock.
func (s *story) later(d time.Duration) { s.clock = s.clock.Add(d) }

func (s *story) do(cmd book.Command) book.Outcome {
	s.t.Helper()
	s.later(time.Second)
	if cmd.At == 0 {
		cmd.At = s.clock
	}
	out, err := s.ledger.Do(s.t.Context(), &cmd)
	require.NoError(s.t, err)
	return out
}

func (s *story) must(cmd book.Command) book.Outcome {
	s.t.Helper()
	out := s.do(cmd)
	require.Truef(s.t, out.Reason.Approved(), "kind %v: %v", cmd.Kind, out.Reason)
	return out
}

func (s *story) put(e book.Entry) {
	s.t.Helper()
	s.must(book.Command{Kind: book.KindPut, Entry: e, Operator: "li", Second: "wang"})
}

func shopOf(name string) points.MerchantID {
	id, err := points.ParseMerchantID(name)
	if err != nil {
		panic(err)
	}
	return id
}

func tillOf(name string) points.TerminalID {
	id, err := points.ParseTerminalID(name)
	if err != nil {
		panic(err)
	}
	return id
}

func (s *story) furnish() {
	s.t.Helper()
	for id, name := range map[points.IssuerID]string{airline: "海港航空"} {
		s.put(book.Entry{Issuer: &book.Issuer{ID: id, Name: "Harbour Air", NameZH: name, Status: book.Active}})
	}
	s.put(book.Entry{Issuer: &book.Issuer{ID: teaShop, Name: "Tea House", NameZH: "茶舍", Status: book.Active}})
	s.put(book.Entry{Issuer: &book.Issuer{ID: grocer, Name: "Grocer", NameZH: "西街超市", Status: book.Active}})
	s.put(book.Entry{Issuer: &book.Issuer{ID: ferry, Name: "Ferry", NameZH: "轮渡", Status: book.Active, Link: "ferry"}})
	s.put(book.Entry{Acquirer: &book.Acquirer{ID: east, Name: "East Acquiring", NameZH: "东部收单", Status: book.Active}})
	s.put(book.Entry{Acquirer: &book.Acquirer{ID: grocer, Name: "Grocer", NameZH: "西街超市", Status: book.Active}})
	for id, issuer := range map[points.ProgramID]points.IssuerID{miles: airline} {
		s.put(book.Entry{Program: &book.Program{ID: id, Issuer: issuer, Name: "Miles", NameZH: "里程", Status: book.Active}})
	}
	s.put(book.Entry{Program: &book.Program{ID: stars, Issuer: teaShop, Name: "Stars", NameZH: "茶星", Scale: 2, Status: book.Active, Rules: book.ProgramRules{HoldDays: 1}}})
	s.put(book.Entry{Program: &book.Program{ID: bonus, Issuer: grocer, Name: "Bonus", NameZH: "积点", Status: book.Active}})
	s.put(book.Entry{Program: &book.Program{ID: rides, Issuer: ferry, Name: "Rides", NameZH: "船票", Status: book.Active}})
	s.put(book.Entry{Merchant: &book.Merchant{ID: shopOf("CAFE"), Acquirer: east, Name: "Pier Cafe", NameZH: "码头咖啡", MCC: 5812, Status: book.Active, Programs: []points.ProgramID{miles, stars, bonus, rides}}})
	s.put(book.Entry{Merchant: &book.Merchant{ID: shopOf("SHOP"), Acquirer: grocer, Name: "West Grocer", NameZH: "西街超市", MCC: 5411, Status: book.Active, Programs: []points.ProgramID{bonus, miles, stars}}})
	s.put(book.Entry{Terminal: &book.Terminal{ID: tillOf("CAFE1"), Merchant: shopOf("CAFE"), Status: book.Active}})
	s.put(book.Entry{Terminal: &book.Terminal{ID: tillOf("SHOP1"), Merchant: shopOf("SHOP"), Status: book.Active}})
	from := s.clock.Add(10 * time.Minute)
	for _, t := range []tariff.Terms{
		{Program: miles, Side: tariff.Clear, From: from, Num: 12_347, Den: 3},
		{Program: stars, Side: tariff.Clear, From: from, Num: 81, Den: 2},
		{Program: bonus, Side: tariff.Clear, From: from, Num: 10_000, Den: 1},
		{Program: rides, Side: tariff.Clear, From: from, Num: 50_001, Den: 7},
		{Program: miles, Side: tariff.Buy, From: from, Num: 11_000, Den: 3, SpreadPPM: 10_000},
		{Program: miles, Side: tariff.Sell, From: from, Num: 12_500, Den: 3},
		{Program: stars, Side: tariff.Buy, From: from, Num: 77, Den: 2, SpreadPPM: 12_500},
		{Program: stars, Side: tariff.Sell, From: from, Num: 85, Den: 2},
		{Program: miles, Side: tariff.Clear, From: points.TimestampOf(time.Date(2026, 3, 2, 12, 0, 0, 0, china())), Num: 13_001, Den: 3},
	} {
		s.put(book.Entry{Rate: &tariff.Rate{Terms: t}})
	}
	s.put(book.Entry{Fees: &tariff.Schedule{From: from, Rows: []tariff.FeeRow{
		{Kind: tariff.KindRDM, InterchangePPM: 5000, PPM: 3000, Min: 50, VATPPM: 60_000},
		{Kind: tariff.KindRDM, MCC: 5411, InterchangePPM: 2000, PPM: 1500, Fixed: 7, VATPPM: 60_000, Shares: []tariff.Share{{Role: tariff.RoleOperator, Weight: 2}, {Role: tariff.RoleIssuer, Weight: 1}}},
		{Kind: tariff.KindEAR, Program: miles, PPM: 1000, Min: 3, VATPPM: 60_000, Shares: []tariff.Share{{Role: tariff.RoleOperator, Weight: 3}, {Member: teaShop, Weight: 1}}},
		{Kind: tariff.KindEAR, Program: stars, PPM: 1000, Min: 3, VATPPM: 60_000, Shares: []tariff.Share{{Role: tariff.RoleOperator, Weight: 3}, {Member: teaShop, Weight: 1}}},
		{Kind: tariff.KindSWP, VATPPM: 60_000, Shares: []tariff.Share{{Role: tariff.RoleOperator, Weight: 2}, {Role: tariff.RoleTarget, Weight: 1}}},
	}}})
	swaps := tariff.SwapRules{Lots: 1<<book.Adjusted | 1<<book.Earned, Expiry: tariff.ExpiryProgram, QuoteSeconds: 30, LockSeconds: 24 * 60 * 60}
	s.put(book.Entry{Swaps: &tariff.SwapTerms{Program: miles, From: from, SwapRules: swaps}})
	swaps.LockDays, swaps.BonusPer, swaps.BonusAdd, swaps.BonusBudget = 5, 10_000, 750, 100_000
	s.put(book.Entry{Swaps: &tariff.SwapTerms{Program: stars, From: from, SwapRules: swaps}})
	for member := points.MemberID(1); member <= 2; member++ {
		s.put(book.Entry{Member: &book.Member{ID: member, Status: book.Active}})
		s.put(book.Entry{Card: &book.Card{Token: points.CardToken{15: byte(member)}, Member: member, Status: book.Active}})
		for _, program := range []points.ProgramID{miles, stars, bonus} {
			s.must(book.Command{Kind: book.KindOpen, Member: member, Program: program})
			s.must(book.Command{Kind: book.KindAdjust, Member: member, Program: program, Amount: 1_000_000, Operator: "li", Second: "wang", Note: "opening"})
		}
	}
	s.later(time.Hour)
}

// at is what a till asks for a member.
func (s *story) at(till string, kind book.Kind, function points.Function, member points.MemberID, program points.ProgramID, amount points.Amount) book.Command {
	s.serial++
	cmd := book.Command{
		Kind: kind, Function: function, Card: points.CardToken{15: byte(member)}, Program: program, Amount: amount, Batch: 1, Edition: book.Edition,
		Acquirer: east, Merchant: shopOf("CAFE"), Terminal: tillOf("CAFE1"), EntryMode: 51,
	}
	if till == "SHOP1" {
		cmd.Acquirer, cmd.Merchant, cmd.Terminal = grocer, shopOf("SHOP"), tillOf("SHOP1")
	}
	class := points.ClassFinancial
	if function == points.Reversal {
		class = points.ClassReversal
	}
	cmd.Key = points.TraceKey{Acquirer: cmd.Acquirer, Source: cmd.Terminal, When: 1, STAN: points.STAN(s.serial), Class: class, Door: points.DoorTerminal}
	return cmd
}

func (s *story) cutOver(date points.BusinessDate, cycle uint8) {
	s.t.Helper()
	s.must(book.Command{Kind: book.KindCutOver, Edition: book.Edition, Date: date, Cycle: cycle, Operator: "li", Second: "wang", Note: "cut-over", TraceDays: 2})
}

// house is the journal of the story, as a run sees it.
func (s *story) house() *settlement.House {
	return &settlement.House{
		Ledger: s.ledger, Zone: china(), Settles: func(date points.BusinessDate) points.BusinessDate { return date.AddDays(1) },
		Masked: func(token points.CardToken) string { return "622202*********000" + string('0'+rune(token[15])) },
		Closed: func(context.Context, points.BusinessDate, func(settlement.Batch)) error { return nil },
	}
}

func (s *story) options(folder string, workers int) settlement.Options {
	return settlement.Options{
		Folder: folder, Operator: 90_000_001, Name: "联分", Code: "story", Workers: workers, Models: oneModel(s.t, netting.MNET), Mode: files.Test,
		Zone: china(), Twin: true, Clock: func() points.Timestamp { return s.clock },
	}
}

func (s *story) runner(folder string, workers int) *settlement.Runner {
	s.t.Helper()
	r, err := settlement.NewRunner(s.house(), s.options(folder, workers))
	require.NoError(s.t, err)
	return r
}

// settle takes a cycle to its end, by two persons.
func (s *story) settle(r *settlement.Runner, date points.BusinessDate, cycle uint8, id string) *settlement.Run {
	s.t.Helper()
	order := settlement.Order{At: s.clock, By: "li", ID: id}
	run, err := r.Run(s.t.Context(), date, cycle, order)
	require.NoError(s.t, err)
	if run.State == settlement.Checked { // Else it was approved before.
		_, err = r.Propose(s.t.Context(), run, order)
		require.NoError(s.t, err)
		order.By = "wang"
		require.NoError(s.t, r.Approve(s.t.Context(), run, order))
	}
	require.NoError(s.t, r.Publish(s.t.Context(), run, order))
	return run
}

// compareGolden holds files against those of a folder.
func compareGolden(t *testing.T, folder string, got map[string]string) {
	t.Helper()
	if *rewrite {
		require.NoError(t, os.RemoveAll(folder))
		for name, text := range got {
			path := filepath.Join(folder, name)
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
			require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		}
	}
	want := tree(t, folder)
	require.Equal(t, slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got)))
	for name := range want {
		require.Equal(t, want[name], got[name], name)
	}
}

// A cycle in which members would owe more than the ledger can sum is run and posted all the
// same: what does not fit has no value in the book, is an exception of the run, and is
// found again by whoever reads the journal anew.
func TestStoryOfMoreThanFits(t *testing.T) {
	s := tell(t)
	const granted = 99_000_000_000 // worth almost the largest value
	s.put(book.Entry{Fees: &tariff.Schedule{From: s.clock.Add(10 * time.Minute), Rows: []tariff.FeeRow{{Kind: tariff.KindEAR, PPM: 1000, Min: 3, VATPPM: 60_000}}}})
	s.later(time.Hour)
	for range 80 {
		s.must(s.at("CAFE1", book.KindEarn, points.Earn, 1, bonus, granted))
	}
	s.cutOver(dayTwo, 0)
	runner := s.runner(t.TempDir(), 2)
	run := s.settle(runner, dayOne, 1, "01KJJQZ3A00000000000000001")
	listed, err := runner.Exceptions(run)
	require.NoError(t, err)
	require.Len(t, listed, 7)
	require.Equal(t, []string{"journal", "NO_ROOM"}, []string{listed[6].Source, listed[6].Reason})
	require.NotZero(t, listed[6].ID)
	require.EqualValues(t, 73, run.Items, "the first that reaches 2^56 is the last that fits")
	require.EqualValues(t, 7, run.Exceptions)
	require.NotZero(t, run.Posting)
	var left points.Amount
	trial, err := s.ledger.TrialBalance(t.Context())
	require.NoError(t, err)
	for _, line := range trial.Totals() {
		if line.Kind == book.ClearingAccount {
			left += line.Amount
		}
	}
	require.EqualValues(t, -7*granted, left, "the exceptions stay on the clearing account")
	require.NoError(t, s.ledger.Scan(t.Context(), 1, run.Posting, func(rec *book.Record) error {
		again, n := book.Record{}, 0
		n, err := book.DecodeRecord(book.AppendRecord(nil, &rec.Command, &rec.Outcome), &again)
		require.NotZero(t, n)
		require.Equal(t, rec.Outcome.NoRoom, again.Outcome.NoRoom)
		return err
	}))
}

// What undoes an item that had no room is an exception of the run of its own cycle, and not
// cleared: the ledger and the run agree (P9), and nobody owes anything for half of a pair (P6).
// Of a sale of two programmes that is so of the one that had no room, and of a swap.
func TestStoryOfUndoingWhatHadNoRoom(t *testing.T) {
	s := tell(t)
	s.put(book.Entry{Fees: &tariff.Schedule{From: s.clock.Add(10 * time.Minute), Rows: []tariff.FeeRow{{Kind: tariff.KindRDM, PPM: 3000}, {Kind: tariff.KindEAR}, {Kind: tariff.KindSWP}}}})
	s.later(time.Hour)
	s.cutOver(dayTwo, 0)
	const granted = 200_000_000_000 // miles worth 823133333333333
	for range 88 {
		s.must(s.at("SHOP1", book.KindEarn, points.Earn, 1, miles, granted)) // The airline and the grocer have no room any more.
	}
	sale := s.at("CAFE1", book.KindRedeem, points.Redeem, 1, 0, 1_000_600)
	sale.Tender = []book.TenderTerm{{Program: stars, Points: 1, Per: 1}, {Program: miles, Points: 1, Per: 1}}
	s.done("sale", sale)
	s.quoted("swap quoted", "CAFE1", 2, miles, stars, 3_000, 0)
	swap := s.acted("swap", "CAFE1", book.KindSwap, "swap quoted")
	s.cutOver(dayTwo, 2)
	s.reversed("sale reversed", sale)
	s.reversed("swap reversed", swap)
	s.cutOver(dayTwo.AddDays(1), 0)
	runner := s.runner(t.TempDir(), 2)
	first := s.settle(runner, dayTwo, 1, "01KJJQZ3A00000000000000001")
	second := s.settle(runner, dayTwo, 2, "01KJJQZ3A00000000000000002")
	require.EqualValues(t, 1, second.Items, "the stars")
	for name, run := range map[string]*settlement.Run{"": first, " reversed": second} {
		listed, err := runner.Exceptions(run)
		require.NoError(t, err)
		var got []uint64
		for _, x := range listed[len(listed)-2:] {
			require.Equal(t, "NO_ROOM", x.Reason)
			got = append(got, x.ID)
		}
		require.Equal(t, []uint64{uint64(s.named["sale"+name]), uint64(s.named["swap"+name])}, got)
	}
}

// A run gives way to the one whose posting stands in the journal, though that one is void
// and the other is approved already; what is posted is made again, by another version of
// the program even, and published.
func TestStoryOfPostedVoidRun(t *testing.T) {
	s := tell(t)
	s.must(s.at("CAFE1", book.KindRedeem, points.Redeem, 1, miles, 88))
	s.cutOver(dayTwo, 0)
	folder := t.TempDir()
	r := s.runner(folder, 1)
	order := func(by, id string) settlement.Order { return settlement.Order{At: s.clock, By: by, ID: id} }
	const first, second = "01KJJQZ3A00000000000000001", "01KJJQZ3A00000000000000002"
	ctx := t.Context()
	old, err := r.Run(ctx, dayOne, 1, order("li", first))
	require.NoError(t, err)
	require.NoError(t, r.Void(ctx, old, order("li", ""), "of another version"))
	opts := s.options(folder, 1)
	opts.Code = "story 2"
	r, err = settlement.NewRunner(s.house(), opts)
	require.NoError(t, err)
	anew, err := r.Run(ctx, dayOne, 1, order("li", second))
	require.NoError(t, err)
	_, err = r.Propose(ctx, anew, order("li", ""))
	require.NoError(t, err)
	require.NoError(t, r.Approve(ctx, anew, order("wang", "")))

	p := settlement.Publication{Run: first, Key: digestOf(t, old.KeyDigest), Manifest: digestOf(t, old.Manifest), Cut: old.Cut, Moves: old.Moves, At: s.clock, Maker: "li", Checker: "wang"}
	posting, err := s.house().Publish(ctx, p)
	require.NoError(t, err)
	require.ErrorContains(t, r.Publish(ctx, anew, order("wang", "")), "lianfen settle run "+second)
	require.NoDirExists(t, filepath.Join(folder, second))
	require.NoError(t, os.Mkdir(filepath.Join(folder, second), 0o700)) // As a version before this one has left it.

	run, err := r.Run(ctx, dayOne, 1, order("zhao", ""))
	require.NoError(t, err)
	require.Equal(t, []any{first, settlement.Approved, "li", "wang"}, []any{run.ID, run.State, run.Maker, run.Checker})
	require.NoError(t, r.Publish(ctx, run, order("wang", "")))
	require.Equal(t, []any{settlement.Published, posting}, []any{run.State, run.Posting})
	require.NoDirExists(t, filepath.Join(folder, second))
	anew, err = r.Load(second)
	require.NoError(t, err)
	require.Equal(t, settlement.Void, anew.State)
	_, err = r.Run(ctx, dayOne, 1, order("zhao", ""))
	require.NoError(t, err, "it is proved again")
}

func digestOf(t *testing.T, text string) (d tariff.Digest) {
	t.Helper()
	_, err := hex.Decode(d[:], []byte(text))
	require.NoError(t, err)
	return d
}
