package settlement_test

import (
	"context"
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
	grocer  = 30000001
	east    = 20000001

	miles  points.ProgramID    = 901
	stars  points.ProgramID    = 902
	bonus  points.ProgramID    = 903
	dayOne points.BusinessDate = 20260301
	dayTwo points.BusinessDate = 20260302
)

// story is two days of a small town, told to a real ledger.
type story struct {
	t      *testing.T
	ledger *ledger.Ledger
	clock  points.Timestamp
	serial uint32
}

func tell(t *testing.T) *story {
	t.Helper()
	s := &story{t: t, clock: points.TimestampOf(time.Date(2026, 3, 1, 8, 0, 0, 0, china()))}
	opts := store.Options{Dir: filepath.Join(t.TempDir(), "data"), BlockCacheMB: 1}
	require.NoError(t, store.Create(opts))
	db, err := store.Open(opts)
	require.NoError(t, err)
	s.ledger, err = ledger.Open(t.Context(), ledger.Options{Store: db, Genesis: dayOne, GenesisAt: s.clock, Registerer: prometheus.NewRegistry()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.ledger.Close(context.Background())) })
	s.furnish()
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
	s.put(book.Entry{Acquirer: &book.Acquirer{ID: east, Name: "East Acquiring", NameZH: "东部收单", Status: book.Active}})
	s.put(book.Entry{Acquirer: &book.Acquirer{ID: grocer, Name: "Grocer", NameZH: "西街超市", Status: book.Active}})
	for id, issuer := range map[points.ProgramID]points.IssuerID{miles: airline} {
		s.put(book.Entry{Program: &book.Program{ID: id, Issuer: issuer, Name: "Miles", NameZH: "里程", Status: book.Active}})
	}
	s.put(book.Entry{Program: &book.Program{ID: stars, Issuer: teaShop, Name: "Stars", NameZH: "茶星", Scale: 2, Status: book.Active}})
	s.put(book.Entry{Program: &book.Program{ID: bonus, Issuer: grocer, Name: "Bonus", NameZH: "积点", Status: book.Active}})
	s.put(book.Entry{Merchant: &book.Merchant{ID: shopOf("CAFE"), Acquirer: east, Name: "Pier Cafe", NameZH: "码头咖啡", MCC: 5812, Status: book.Active, Programs: []points.ProgramID{miles, stars, bonus}}})
	s.put(book.Entry{Merchant: &book.Merchant{ID: shopOf("SHOP"), Acquirer: grocer, Name: "West Grocer", NameZH: "西街超市", MCC: 5411, Status: book.Active, Programs: []points.ProgramID{bonus, miles, stars}}})
	s.put(book.Entry{Terminal: &book.Terminal{ID: tillOf("CAFE1"), Merchant: shopOf("CAFE"), Status: book.Active}})
	s.put(book.Entry{Terminal: &book.Terminal{ID: tillOf("SHOP1"), Merchant: shopOf("SHOP"), Status: book.Active}})
	from := s.clock.Add(10 * time.Minute)
	for _, t := range []tariff.Terms{
		{Program: miles, Side: tariff.Clear, From: from, Num: 12_347, Den: 3},
		{Program: stars, Side: tariff.Clear, From: from, Num: 81, Den: 2},
		{Program: bonus, Side: tariff.Clear, From: from, Num: 10_000, Den: 1},
		{Program: miles, Side: tariff.Clear, From: points.TimestampOf(time.Date(2026, 3, 2, 12, 0, 0, 0, china())), Num: 13_001, Den: 3},
	} {
		s.put(book.Entry{Rate: &tariff.Rate{Terms: t}})
	}
	s.put(book.Entry{Fees: &tariff.Schedule{From: from, Rows: []tariff.FeeRow{
		{Kind: tariff.KindRDM, InterchangePPM: 5000, PPM: 3000, Min: 50, VATPPM: 60_000},
		{Kind: tariff.KindRDM, MCC: 5411, InterchangePPM: 2000, PPM: 1500, Fixed: 7, VATPPM: 60_000, Shares: []tariff.Share{{Role: tariff.RoleOperator, Weight: 2}, {Role: tariff.RoleIssuer, Weight: 1}}},
		{Kind: tariff.KindEAR, PPM: 1000, Min: 3, VATPPM: 60_000, Shares: []tariff.Share{{Role: tariff.RoleOperator, Weight: 3}, {Member: teaShop, Weight: 1}}},
	}}})
	for member := points.MemberID(1); member <= 2; member++ {
		s.put(book.Entry{Member: &book.Member{ID: member, Status: book.Active}})
		s.put(book.Entry{Card: &book.Card{Token: points.CardToken{15: byte(member)}, Member: member, Status: book.Active}})
		for _, program := range []points.ProgramID{miles, stars, bonus} {
			s.must(book.Command{Kind: book.KindOpen, Member: member, Program: program})
			s.must(book.Command{Kind: book.KindAdjust, Member: member, Program: program, Amount: 100_000, Operator: "li", Second: "wang", Note: "opening"})
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
	s.must(book.Command{Kind: book.KindCutOver, Date: date, Cycle: cycle, Operator: "li", Second: "wang", Note: "cut-over", TraceDays: 2})
}

// firstDay is the day before: what the second one undoes and completes begins here.
func (s *story) firstDay() (dinner, table, lost book.Command, sold, held, gone book.Outcome) {
	dinner = s.at("CAFE1", book.KindRedeem, points.Redeem, 1, miles, 301)
	sold = s.must(dinner)
	s.must(s.at("CAFE1", book.KindEarn, points.Earn, 2, stars, 4_001))
	table = s.at("CAFE1", book.KindHold, points.PreAuth, 1, miles, 500)
	held = s.must(table)
	lost = s.at("CAFE1", book.KindRedeem, points.Redeem, 2, stars, 777)
	gone = s.must(lost)
	return dinner, table, lost, sold, held, gone
}

// secondDay has every kind of item that terminals can cause, on either side of cuts.
func (s *story) secondDay(dinner, lost book.Command, sold, held, gone book.Outcome) {
	s.t.Helper()
	require.True(s.t, s.do(dinner).Replayed, "a repeat behind the cut is answered, and not cleared again")
	s.must(s.at("CAFE1", book.KindRedeem, points.Redeem, 1, miles, 299)) // at the first rate
	s.must(s.at("SHOP1", book.KindEarn, points.Earn, 1, miles, 1_203))
	s.must(s.at("SHOP1", book.KindRedeem, points.Redeem, 2, bonus, 40)) // on us
	mistake := s.must(s.at("SHOP1", book.KindRedeem, points.Redeem, 1, stars, 650))
	void := s.at("SHOP1", book.KindVoid, points.Void, 1, 0, 650)
	void.Original = mistake.Position
	s.must(void)
	part := s.at("CAFE1", book.KindRefund, points.Refund, 1, 0, 100)
	part.Original = sold.Position
	s.must(part) // of yesterday's sale, a third
	rest := s.at("CAFE1", book.KindRefund, points.Refund, 1, 0, 201)
	rest.Original = sold.Position
	s.must(rest) // and the rest: together exactly what it was worth
	more := s.at("CAFE1", book.KindRefund, points.Refund, 1, 0, 1)
	more.Original = sold.Position
	require.False(s.t, s.do(more).Reason.Approved())
	reversal := s.at("CAFE1", book.KindReverse, points.Reversal, 2, 0, 0)
	reversal.Original, reversal.OriginalKey, reversal.Key.STAN, reversal.Reverses = 0, lost.Key, lost.Key.STAN, points.Redeem
	s.must(reversal) // of a sale whose date is over: it counts today
	s.clock = max(s.clock, points.TimestampOf(time.Date(2026, 3, 2, 12, 0, 0, 0, china())))
	complete := s.at("CAFE1", book.KindCapture, points.Completion, 1, 0, 450)
	complete.Original, complete.Final = held.Position, true
	s.must(complete) // of yesterday's hold, at the second rate
	offline := s.at("CAFE1", book.KindRedeem, points.OfflineRedeem, 2, miles, 33)
	offline.Sent = points.TimestampOf(time.Date(2026, 3, 2, 11, 30, 0, 0, china()))
	s.must(offline) // told late: at the rate of when it was sent
	open := s.at("SHOP1", book.KindHold, points.PreAuth, 2, miles, 900)
	s.must(open) // never completed: nothing to clear
	declined := s.at("CAFE1", book.KindRedeem, points.Redeem, 2, miles, 9_999_999)
	require.False(s.t, s.do(declined).Reason.Approved())
	unknown := s.at("CAFE1", book.KindRefund, points.Refund, 1, 0, 5)
	unknown.Original = 999_999
	require.False(s.t, s.do(unknown).Reason.Approved())
	_ = gone
}

func (s *story) runner(folder string, workers int) *settlement.Runner {
	s.t.Helper()
	house := &settlement.House{
		Ledger: s.ledger, Zone: china(), Settles: func(date points.BusinessDate) points.BusinessDate { return date.AddDays(1) },
		Masked: func(token points.CardToken) string { return "622202*********000" + string('0'+rune(token[15])) },
		Closed: func(context.Context, points.BusinessDate, func(settlement.Batch)) error { return nil },
	}
	r, err := settlement.NewRunner(house, settlement.Options{
		Folder: folder, Operator: 90_000_001, Name: "联分", Code: "story", Workers: workers, Models: oneModel(s.t, netting.MNET), Mode: files.Test,
		Zone: china(), Twin: true, Clock: func() points.Timestamp { return s.clock },
	})
	require.NoError(s.t, err)
	return r
}

// settle takes a cycle to its end, by two persons.
func (s *story) settle(r *settlement.Runner, date points.BusinessDate, cycle uint8, id string) *settlement.Run {
	s.t.Helper()
	order := settlement.Order{At: s.clock, By: "li", ID: id}
	run, err := r.Run(s.t.Context(), date, cycle, order)
	require.NoError(s.t, err)
	_, err = r.Propose(s.t.Context(), run, order)
	require.NoError(s.t, err)
	order.By = "wang"
	require.NoError(s.t, r.Approve(s.t.Context(), run, order))
	require.NoError(s.t, r.Publish(s.t.Context(), run, order))
	return run
}

// A small day with every kind of item that terminals cause gives the files that lie in
// testdata, byte for byte; every set proves itself; the clearing accounts are empty
// afterwards, and the journal holds what was posted.
func TestStoryOfADay(t *testing.T) {
	s := tell(t)
	dinner, _, lost, sold, held, gone := s.firstDay()
	s.later(14 * time.Hour)
	s.cutOver(dayTwo, 0)
	s.secondDay(dinner, lost, sold, held, gone)
	s.cutOver(dayTwo, 2)
	s.must(s.at("SHOP1", book.KindRedeem, points.Redeem, 1, miles, 10)) // the next cycle's
	s.cutOver(dayTwo.AddDays(1), 0)
	folder := t.TempDir()
	r := s.runner(folder, 1)
	first := s.settle(r, dayOne, 1, "01KJJQZ3A00000000000000001")
	second := s.settle(r, dayTwo, 1, "01KJJQZ3A00000000000000002")
	third := s.settle(r, dayTwo, 2, "01KJJQZ3A00000000000000003")
	require.Equal(t, []uint64{3, 10, 1}, []uint64{first.Items, second.Items, third.Items})
	require.EqualValues(t, 3, third.Sequence)
	require.EqualValues(t, 1, second.OnUs)
	for _, run := range []*settlement.Run{first, second, third} {
		require.NotZero(t, run.Posting)
		require.Zero(t, run.Exceptions)
	}
	trial, err := s.ledger.TrialBalance(t.Context())
	require.NoError(t, err)
	for _, line := range trial.Totals() {
		require.False(t, line.Kind == book.ClearingAccount && line.Amount != 0, "every clearing account is at zero: %+v", line)
	}
	got := tree(t, filepath.Join(folder, second.ID))
	for _, member := range []string{"10000001", "10000002", "20000001", "30000001"} {
		report, err := files.Verify(os.DirFS(filepath.Join(folder, second.ID, member)), nil, files.Check{Scale: settlement.Scale})
		require.NoError(t, err)
		require.Empty(t, report.Breaches, member)
	}
	compareGolden(t, filepath.Join("testdata", "story"), got)

	again := s.runner(folder, 3)
	run, err := again.Run(t.Context(), dayTwo, 1, settlement.Order{At: s.clock, By: "li", ID: otherULID})
	require.NoError(t, err, "it comes to the same on another day, with other workers")
	require.Equal(t, second.ID, run.ID)
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
	for range 80 {
		s.must(s.at("CAFE1", book.KindEarn, points.Earn, 1, bonus, granted))
	}
	s.cutOver(dayTwo, 0)
	run := s.settle(s.runner(t.TempDir(), 2), dayOne, 1, "01KJJQZ3A00000000000000001")
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
