package settlement_test

import (
	"encoding/xml"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement"
	"github.com/lianfen/lianfen/settlement/files"
	"github.com/lianfen/lianfen/tariff"
)

// The golden day is the first cycle of the second day: each kind of item of the
// specification (settlement.md 1.3), at least three of each, and each case of its table of
// dates (1.4), as commands to a real ledger. TestGoldenDayHasEveryCase holds it to that.
//
//	RDM  at either rate, on us, told late, completed, answered elsewhere behind the cut, in
//	     the issuer's place, resolved by an operator
//	EAR  at either acquirer, told late
//	SWP  both ways, at a lock from before the cut, for what is wanted, with a campaign's bonus
//	RVS  void, reversal of a sale, earn and swap whose date is over, of a part, of a refund,
//	     of one elsewhere
//	RFD  a part, the rest, of today's, elsewhere
//	CBK  of the whole, of a part, of one elsewhere; a credit adjustment
//	REP  of the whole, of a part, a debit adjustment
//	ADJ  and FEE: between members and with the operator's accounts
//	RDM, RFD, RVS of sales that several programmes pay: of two issuers, on us and not, one
//	     elsewhere; a part of today's and of yesterday's, the rest, void and what undoes it
//
// Exceptions: a refund without its original, what was told too late and its refund, an earn
// that no row of fees is for, a sale told of a time before there were rates. Nothing is
// cleared of repeats on either side of the cut, holds, an expiry, declines, quotes, locks,
// cancelled and expired swaps.

// goldenRun is the id of the golden day's run.
const goldenRun = "01KJJQZ3A00000000000000002"

// noon is when the second rate of miles begins.
func noon() points.Timestamp { return points.TimestampOf(time.Date(2026, 3, 2, 12, 0, 0, 0, china())) }

// done does something and remembers it by a name.
func (s *story) done(name string, cmd book.Command) points.Position {
	s.t.Helper()
	position := s.must(cmd).Position
	s.named[name] = position
	return position
}

// again is a request at a till about an earlier one.
func (s *story) again(till string, kind book.Kind, function points.Function, amount points.Amount, original string) book.Command {
	cmd := s.at(till, kind, function, 0, 0, amount)
	cmd.Card = points.CardToken{}
	cmd.Original = s.named[original]
	return cmd
}

// elsewhere sends a request to the ferry.
func (s *story) elsewhere(name string, amount points.Amount) {
	s.t.Helper()
	s.done(name, s.at("CAFE1", book.KindForward, points.Redeem, 7, rides, amount))
}

// ended is what comes of a request to the ferry.
func (s *story) ended(name string, kind book.Kind, of string, answer points.Reason) {
	s.t.Helper()
	s.done(name, book.Command{Kind: kind, Original: s.named[of], Answer: answer, Operator: "li", Second: "wang", Note: "case 4"})
}

// quoted asks for a quote of a swap at a till; acted acts on it.
func (s *story) quoted(name, till string, member points.MemberID, from, into points.ProgramID, in, wanted points.Amount) {
	s.t.Helper()
	cmd := s.at(till, book.KindQuote, points.SwapQuote, member, from, in)
	cmd.Into, cmd.Wanted = into, wanted
	s.done(name, cmd)
}

func (s *story) acted(name, till string, kind book.Kind, of string) book.Command {
	s.t.Helper()
	cmd := s.again(till, kind, points.Swap, 0, of)
	s.done(name, cmd)
	return cmd
}

// step takes a step of a dispute.
func (s *story) step(name string, step book.DisputeStep, who book.Party, code, of string, amount points.Amount) {
	s.t.Helper()
	s.done(name, book.Command{
		Kind: book.KindDispute, Original: s.named[of], Amount: amount, Operator: "li", Second: "wang", Note: "case 7",
		Dispute: book.DisputeMove{Step: step, Who: who, Code: code, Evidence: "slip 17.pdf"},
	})
}

func (s *story) leg(name string, kind tariff.Kind, payer, payee tariff.Member, amount points.Amount, about string) {
	s.t.Helper()
	s.done(name, book.Command{
		Kind: book.KindLeg, Amount: amount, Operator: "li", Second: "wang", Note: "case 9",
		Leg: book.Leg{Kind: kind, Payer: payer, Payee: payee, About: s.named[about], Evidence: "letter of 1 March"},
	})
}

// reversed sends the reversal of a request, which names it by key.
func (s *story) reversed(name string, of book.Command) {
	s.t.Helper()
	cmd := s.at("CAFE1", book.KindReverse, points.Reversal, 0, 0, 0)
	cmd.Card, cmd.Acquirer, cmd.Merchant, cmd.Terminal = points.CardToken{}, of.Acquirer, of.Merchant, of.Terminal
	cmd.OriginalKey, cmd.Key, cmd.Reverses, cmd.Final = of.Key, of.Key, of.Function, true
	cmd.Key.Class = points.ClassReversal
	s.done(name, cmd)
}

// before is what the golden day undoes and completes.
type before struct{ dinner, lost, gift, trip, fair book.Command }

// firstDay is the day before the golden one.
func (s *story) firstDay() (b before) {
	s.t.Helper()
	b.dinner = s.at("CAFE1", book.KindRedeem, points.Redeem, 1, miles, 301)
	s.done("dinner", b.dinner)
	s.done("stars earned", s.at("CAFE1", book.KindEarn, points.Earn, 2, stars, 4_001))
	s.done("table", s.at("CAFE1", book.KindHold, points.PreAuth, 1, miles, 500))
	s.done("box", s.at("SHOP1", book.KindHold, points.PreAuth, 1, stars, 60)) // its last day is the next
	b.lost = s.at("CAFE1", book.KindRedeem, points.Redeem, 2, stars, 777)
	s.done("lost", b.lost)
	b.gift = s.at("CAFE1", book.KindEarn, points.Earn, 1, miles, 88)
	s.done("gift", b.gift)
	s.done("lamp", s.at("CAFE1", book.KindRedeem, points.Redeem, 2, miles, 1_009))
	s.done("chair", s.at("SHOP1", book.KindRedeem, points.Redeem, 2, stars, 90_001))
	s.done("rug", s.at("SHOP1", book.KindRedeem, points.Redeem, 1, miles, 2_003))
	s.done("vase", s.at("CAFE1", book.KindRedeem, points.Redeem, 1, stars, 30_303))
	s.elsewhere("crossing", 70)
	s.ended("crossing paid", book.KindConclude, "crossing", points.Approved)
	s.quoted("trip quoted", "CAFE1", 1, miles, stars, 3_001, 0)
	b.trip = s.acted("trip", "CAFE1", book.KindSwap, "trip quoted")
	s.quoted("spa quoted", "CAFE1", 1, miles, stars, 2_222, 0)
	s.acted("spa locked", "CAFE1", book.KindSwapLock, "spa quoted")
	b.fair = s.tendersBefore()
	s.later(14 * time.Hour)
	s.elsewhere("night boat", 41) // asked before the cut, answered behind it
	return b
}

// goldenDay has every kind of item of the specification.
func (s *story) goldenDay(b before) {
	s.t.Helper()
	require.True(s.t, s.do(b.dinner).Replayed, "a repeat behind the cut is answered, and not cleared again")
	s.ended("night boat paid", book.KindConclude, "night boat", points.Approved)
	s.acted("spa", "CAFE1", book.KindSwap, "spa quoted") // locked before the cut
	s.done("tea", s.at("CAFE1", book.KindRedeem, points.Redeem, 1, miles, 299))
	s.done("shopping", s.at("SHOP1", book.KindEarn, points.Earn, 1, miles, 1_203))
	s.done("stars again", s.at("CAFE1", book.KindEarn, points.Earn, 1, stars, 25_007))
	s.done("own shop", s.at("SHOP1", book.KindRedeem, points.Redeem, 2, bonus, 40))
	s.done("mistake", s.at("SHOP1", book.KindRedeem, points.Redeem, 1, stars, 650))
	s.undone(b)
	s.swapped()
	s.disputed()
	s.clock = max(s.clock, noon())
	complete := s.again("CAFE1", book.KindCapture, points.Completion, 450, "table")
	complete.Final = true
	s.done("table taken", complete) // of yesterday's hold, at the second rate
	s.told()
	s.remote()
	s.leg("air to east", tariff.KindADJ, airline, east, 123_456, "lamp")
	s.leg("grocer to tea", tariff.KindADJ, grocer, teaShop, 1, "")
	s.leg("suspense to air", tariff.KindADJ, tariff.AccountSuspense, airline, 70_000, "rug")
	s.leg("east's fee", tariff.KindFEE, east, tariff.AccountFee, 500_000, "")
	s.leg("tea's fee", tariff.KindFEE, teaShop, tariff.AccountFee, 99, "")
	s.leg("air to grocer", tariff.KindFEE, airline, grocer, 31_415, "rug")
	s.done("no row", s.at("CAFE1", book.KindEarn, points.Earn, 1, bonus, 66))
	s.done("never completed", s.at("SHOP1", book.KindHold, points.PreAuth, 2, miles, 900))
	require.False(s.t, s.do(s.at("CAFE1", book.KindRedeem, points.Redeem, 2, miles, 9_999_999)).Reason.Approved())
	unknown := s.at("CAFE1", book.KindRefund, points.Refund, 1, 0, 5)
	unknown.Original = 999_999
	out := s.do(unknown)
	require.Equal(s.t, points.UnknownOriginal, out.Reason)
	s.named["no original"] = out.Position
	s.tendered(b)
}

// terms is what points pay for at a merchant.
func terms(list ...[3]uint32) (tender []book.TenderTerm) {
	for _, term := range list {
		tender = append(tender, book.TenderTerm{Program: points.ProgramID(term[0]), Points: term[1], Per: term[2]})
	}
	return tender
}

// tender is a sale to member 3 that several programmes pay, on a merchant's terms.
func (s *story) tender(till string, amount points.Amount, tender []book.TenderTerm) book.Command {
	cmd := s.at(till, book.KindRedeem, points.Redeem, 3, 0, amount)
	cmd.Tender = tender
	return cmd
}

// given gives member 3 points, so that the first programme of the next sale pays just that.
func (s *story) given(program points.ProgramID, amount points.Amount) {
	s.t.Helper()
	s.must(book.Command{Kind: book.KindAdjust, Member: 3, Program: program, Amount: amount, Operator: "li", Second: "wang", Note: "welcome"})
}

// tendersBefore has sales of several programmes on the day before. Miles pay as far as they go.
func (s *story) tendersBefore() (fair book.Command) {
	s.t.Helper()
	s.put(book.Entry{Member: &book.Member{ID: 3, Status: book.Active}})
	s.put(book.Entry{Card: &book.Card{Token: points.CardToken{15: 3}, Member: 3, Status: book.Active}})
	for _, program := range []points.ProgramID{miles, stars, bonus} {
		s.must(book.Command{Kind: book.KindOpen, Member: 3, Program: program})
	}
	s.given(stars, 5_000)
	s.given(miles, 401)
	s.done("lunch", s.tender("CAFE1", 1_000, terms([3]uint32{901, 2, 3}, [3]uint32{902, 7, 5}))) // 401 miles for 601, 559 stars for 399
	s.given(miles, 250)
	fair = s.tender("SHOP1", 300, terms([3]uint32{901, 1, 1}, [3]uint32{902, 3, 1})) // 250 miles for 250, 150 stars for 50
	s.done("fair", fair)
	island := s.tender("CAFE1", 2_000, terms([3]uint32{902, 9, 4}, [3]uint32{904, 1, 2})) // 4291 stars for 1907, 47 rides for 93
	island.Ask = true
	s.done("island", island) // asked before the cut, answered behind it
	return fair
}

// tendered has sales of several programmes, and what gives their points back: the programme
// that paid last first, of whichever date the sale was.
func (s *story) tendered(b before) {
	s.t.Helper()
	s.ended("island paid", book.KindConclude, "island", points.Approved)
	s.given(miles, 333)
	s.given(stars, 1_000)
	s.done("picnic", s.tender("CAFE1", 700, terms([3]uint32{901, 2, 3}, [3]uint32{902, 7, 5}))) // 333 miles for 499, 282 stars for 201
	back := func(name, till string, amount points.Amount, of string) {
		refund := s.again(till, book.KindRefund, points.Refund, amount, of)
		refund.Final = true
		s.done(name, refund)
	}
	back("picnic in part", "CAFE1", 250, "picnic") // 282 stars for 201, 32 miles for 49
	back("lunch in part", "CAFE1", 300, "lunch")   // 420 stars
	back("lunch all", "CAFE1", 700, "lunch")       // 139 stars for 99, 401 miles for 601
	s.reversed("fair reversed", b.fair)
	s.given(bonus, 90)
	s.done("basket", s.tender("SHOP1", 150, terms([3]uint32{903, 1, 1}, [3]uint32{901, 5, 4}))) // 90 of the shop's own for 90, 75 miles for 60
	s.done("basket voided", s.again("SHOP1", book.KindVoid, points.Void, 150, "basket"))
	wanted := s.again("SHOP1", book.KindReverse, points.Reversal, 0, "basket voided")
	wanted.Final = true
	s.done("basket after all", wanted)
	back("island in part", "CAFE1", 40, "island") // 20 rides
}

// undone voids, refunds and reverses, what is of today and what is not.
func (s *story) undone(b before) {
	s.t.Helper()
	s.done("mistake voided", s.again("SHOP1", book.KindVoid, points.Void, 650, "mistake"))
	s.done("a third back", s.again("CAFE1", book.KindRefund, points.Refund, 100, "dinner"))
	s.done("the rest back", s.again("CAFE1", book.KindRefund, points.Refund, 201, "dinner")) // together exactly what it was worth
	require.Equal(s.t, points.AmountOverOriginal, s.do(s.again("CAFE1", book.KindRefund, points.Refund, 1, "dinner")).Reason)
	s.reversed("lost reversed", b.lost) // of a date that is over: it counts today
	s.reversed("gift reversed", b.gift)
	s.reversed("trip reversed", b.trip)
	s.done("tea back", s.again("CAFE1", book.KindRefund, points.Refund, 50, "tea"))
	s.done("tea not back", s.again("CAFE1", book.KindReverse, points.Reversal, 0, "tea back"))
	part := s.again("SHOP1", book.KindReverse, points.Reversal, 0, "own shop")
	part.Actual, part.Final = 25, true
	s.done("own shop less", part) // 15 of 40
}

// swapped has swaps both ways, and those that come to nothing.
func (s *story) swapped() {
	s.t.Helper()
	s.quoted("fare quoted", "SHOP1", 2, stars, miles, 200_000, 0)
	s.acted("fare", "SHOP1", book.KindSwap, "fare quoted")
	s.quoted("cup quoted", "CAFE1", 2, miles, stars, 0, 12_345) // so many are wanted at least
	s.acted("cup", "CAFE1", book.KindSwap, "cup quoted")
	s.quoted("pot quoted", "CAFE1", 2, miles, stars, 5_000, 0)
	s.acted("pot locked", "CAFE1", book.KindSwapLock, "pot quoted")
	s.acted("pot cancelled", "CAFE1", book.KindSwapCancel, "pot quoted")
	s.quoted("bus quoted", "CAFE1", 2, stars, miles, 7_000, 0)
	s.later(time.Minute)
	late := s.again("CAFE1", book.KindSwap, points.Swap, 0, "bus quoted")
	require.Equal(s.t, points.QuoteExpired, s.do(late).Reason)
}

// disputed has chargebacks of yesterday's sales, and what became of some of them.
func (s *story) disputed() {
	s.t.Helper()
	s.step("lamp taken back", book.StepChargeback, book.PartyIssuer, "CB01", "lamp", 0)
	s.step("chair in part", book.StepChargeback, book.PartyIssuer, "CB03", "chair", 33_333)
	s.step("crossing taken back", book.StepChargeback, book.PartyIssuer, "CB04", "crossing", 30)
	s.step("rug credited", book.StepCreditAdj, book.PartyAcquirer, "CRA", "rug", 500)
	s.step("lamp re-presented", book.StepRepresentment, book.PartyAcquirer, "REP", "lamp", 0)
	s.step("chair re-presented", book.StepRepresentment, book.PartyAcquirer, "REP", "chair", 11_111)
	s.step("rug debited", book.StepDebitAdj, book.PartyAcquirer, "DBA", "rug", 200)
	s.step("vase asked for", book.StepRetrieval, book.PartyIssuer, "RET", "vase", 0) // says something, moves nothing
}

// told is what comes late: in time, too late, and of a time before there were rates.
func (s *story) told() {
	s.t.Helper()
	offline := func(name string, kind book.Kind, function points.Function, program points.ProgramID, amount points.Amount, sent points.Timestamp) {
		cmd := s.at("CAFE1", kind, function, 2, program, amount)
		cmd.Sent = sent
		s.done(name, cmd)
	}
	morning := noon().Add(-30 * time.Minute) // at the rate of when it was sent
	offline("told", book.KindRedeem, points.OfflineRedeem, miles, 33, morning)
	offline("granted late", book.KindEarn, points.OfflineEarn, miles, 777, morning)
	offline("told too late", book.KindRedeem, points.OfflineRedeem, miles, 57, s.clock.Add(-31*24*time.Hour))
	s.done("too late back", s.again("CAFE1", book.KindRefund, points.Refund, 7, "told too late"))
	offline("before rates", book.KindRedeem, points.OfflineRedeem, stars, 58, points.TimestampOf(time.Date(2026, 3, 1, 8, 0, 0, 0, china())))
}

// remote is what the ferry answers, or does not.
func (s *story) remote() {
	s.t.Helper()
	s.elsewhere("silent", 12)
	s.ended("stood in", book.KindStandIn, "silent", points.NoAnswer)
	s.elsewhere("kiosk", 90)
	s.ended("kiosk paid", book.KindConclude, "kiosk", points.Approved)
	s.elsewhere("deck", 23)
	s.ended("deck refused", book.KindConclude, "deck", points.NotEnoughPoints)
	back := s.again("CAFE1", book.KindRefund, points.Refund, 40, "kiosk")
	back.Final = true
	s.done("kiosk back", back)
	s.ended("kiosk given back", book.KindConclude, "kiosk back", points.Approved)
	wrong := s.at("CAFE1", book.KindForward, points.Redeem, 7, rides, 19)
	s.done("wrong boat", wrong)
	s.ended("wrong boat paid", book.KindConclude, "wrong boat", points.Approved)
	s.reversed("wrong boat reversed", wrong)
	s.elsewhere("lost boat", 8)
	s.ended("lost boat owed", book.KindOwe, "lost boat", points.NoAnswer)
	s.must(book.Command{Kind: book.KindGiveUp, Original: s.named["lost boat"], Operator: "li", Second: "wang"})
	s.ended("lost boat resolved", book.KindResolve, "lost boat", points.Approved)
}

// tellGolden tells the golden day and what is around it, and returns the story.
func tellGolden(s *story) {
	s.t.Helper()
	b := s.firstDay()
	s.cutOver(dayTwo, 0)
	s.goldenDay(b)
	s.cutOver(dayTwo, 2)
	s.must(s.at("SHOP1", book.KindRedeem, points.Redeem, 1, miles, 10)) // the next cycle's
	s.cutOver(dayTwo.AddDays(1), 0)
	over := s.must(book.Command{Kind: book.KindExpireHolds})
	require.EqualValues(s.t, 60, over.Amount, "the hold whose last day is over is released")
	s.cutOver(dayTwo.AddDays(2), 0)
}

// The golden day gives the files that lie in testdata, byte for byte; every set proves itself;
// what had a value is off the clearing accounts afterwards.
func TestGoldenDay(t *testing.T) {
	s := tell(t)
	tellGolden(s)
	folder := t.TempDir()
	r := s.runner(folder, 1)
	first := s.settle(r, dayOne, 1, "01KJJQZ3A00000000000000001")
	second := s.settle(r, dayTwo, 1, goldenRun)
	third := s.settle(r, dayTwo, 2, "01KJJQZ3A00000000000000003")
	fourth := s.settle(r, dayTwo.AddDays(1), 1, "01KJJQZ3A00000000000000004")
	require.Equal(t, []uint64{14, 58, 1, 0}, []uint64{first.Items, second.Items, third.Items, fourth.Items})
	require.Equal(t, []uint64{0, 5, 0, 0}, []uint64{first.Exceptions, second.Exceptions, third.Exceptions, fourth.Exceptions})
	require.EqualValues(t, 4, fourth.Sequence)
	require.EqualValues(t, 5, second.OnUs)
	s.clearingHas(map[points.ProgramID]points.Amount{miles: 57 - 7, stars: 58, bonus: -66}) // the exceptions that were booked
	got := tree(t, filepath.Join(folder, second.ID))
	for _, member := range []string{"10000001", "10000002", "10000003", "20000001", "30000001"} {
		report, err := files.Verify(os.DirFS(filepath.Join(folder, second.ID, member)), nil, files.Check{Scale: settlement.Scale})
		require.NoError(t, err)
		require.Empty(t, report.Breaches, member)
	}
	compareGolden(t, filepath.Join("testdata", "story"), got)
	for _, id := range []string{first.ID, third.ID, fourth.ID} {
		require.NotEmpty(t, tree(t, filepath.Join(folder, id)))
	}

	again := s.runner(folder, 3)
	run, err := again.Run(t.Context(), dayTwo, 1, settlement.Order{At: s.clock, By: "li", ID: otherULID})
	require.NoError(t, err, "it comes to the same on another day, with other workers")
	require.Equal(t, second.ID, run.ID)
}

// clearingHas checks what is left on the clearing accounts of all acquirers.
func (s *story) clearingHas(want map[points.ProgramID]points.Amount) {
	s.t.Helper()
	trial, err := s.ledger.TrialBalance(s.t.Context())
	require.NoError(s.t, err)
	got := map[points.ProgramID]points.Amount{}
	for _, line := range trial.Totals() {
		if line.Kind == book.ClearingAccount && line.Amount != 0 {
			got[line.Program] += line.Amount
		}
	}
	require.Equal(s.t, want, got)
}

// lineOf is the TX line of a detail file that has a clearing id; of a sale that several
// programmes pay, behind a slash, that of one of them.
func lineOf(t *testing.T, text, id string) (found string) {
	t.Helper()
	id, program, _ := strings.Cut(id, "/")
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "TX") && strings.TrimLeft(line[16:36], "0") == id && strings.HasSuffix(line[194:200], program) {
			require.Empty(t, found, "item %s is there twice", id)
			found = line
		}
	}
	require.NotEmpty(t, found, "item %s", id)
	return found
}

// Three items of each kind, worked out by hand from the specification: what the files of the
// golden day say of them, in smallest units, in the columns std, ichg, swfee, vat, other, net.
//
// A sale at the cafe: std = points × rate, to the nearest unit; ichg 5/1000 and fee 3/1000 of
// std, the fee at least 50; of the fee 6/106 are VAT. At the grocer: ichg 2/1000, fee 1.5/1000
// + 7, of what is left behind VAT two thirds are the operator's and one third the issuer's.
// An earn: fee 1/1000, of which behind VAT a quarter is the tea house's. A swap: value down,
// fee up, granted down, cost up; of the fee behind VAT a third is the target's. A sale that
// several programmes pay is one of each: by clearing id and programme.
func TestGoldenDayByHand(t *testing.T) {
	byHand := map[string]int{}
	for _, want := range []struct {
		file string // member and role
		cid  string
		kind string
		is   [6]int64 // std, ichg, swfee, vat, other, net
	}{
		// 299 × 12347/3 = 1230584.33; × 5/1000 = 6152.92; × 3/1000 = 3691.75, of 3692 VAT 208.98
		{"20000001_A", "75", "RDM", [6]int64{1_230_584, -6_153, -3_483, -209, 0, 1_220_739}},
		// 650 × 81/2 = 26325; × 2/1000 = 52.65; × 1.5/1000 + 7 = 46, VAT 2.60; 43 = 28.67 + 14.33
		{"30000001_A", "79", "RDM", [6]int64{26_325, -53, -29, -3, -14, 26_226}},
		// 450 × 13001/3 = 1950150, the second rate; 9750.75; 5850.45, of 5850 VAT 331.13
		{"20000001_A", "107", "RDM", [6]int64{1_950_150, -9_751, -5_519, -331, 0, 1_934_549}},
		// 1203 × 12347/3 = 4951147; fee 4951.15, of 4951 VAT 280.25; 4671 = 3503.25 + 1167.75
		{"30000001_A", "76", "EAR", [6]int64{-4_951_147, 0, -3_503, -280, -1_168, -4_956_098}},
		// 25007 × 81/2 = 1012783.5, to the even 1012784; fee 1013, VAT 57.34; 956 = 717 + 239
		{"20000001_A", "77", "EAR", [6]int64{-1_012_784, 0, -717, -57, -239, -1_013_797}},
		// 777 × 12347/3 = 3197873, told in time, at the rate of its own morning; 3198, 181.02; 3017 = 2262.75 + 754.25
		{"20000001_A", "109", "EAR", [6]int64{-3_197_873, 0, -2_263, -181, -754, -3_201_071}},
		// 2222 × 11000/3 = 8147333; 1 % = 81473.33, up; 8065859 / 42.5 = 189784.9; × 42.5 = 8065820; rest 39;
		// VAT of 81474 4611.74; 76862 = 51241.33 + 25620.67; other is share and rest
		{"10000001_I", "74", "SWP", [6]int64{-8_065_820, 0, -51_241, -4_612, -25_660, -8_147_333}},
		// 200000 × 77/2 = 7700000; 1.25 % = 96250; 7603750 / (12500/3) = 1824.9; × 12500/3 = 7600000; rest 3750;
		// VAT 5448.11; 90802 = 60534.67 + 30267.33
		{"10000002_I", "91", "SWP", [6]int64{-7_600_000, 0, -60_535, -5_448, -34_017, -7_700_000}},
		// 12345 wanted: 144 give 12299, 145 give 12384. 531666; 5317; 526349 / 42.5 = 12384.7; 526320; rest 29;
		// VAT 300.96; 5016 = 3344 + 1672
		{"10000002_T", "93", "SWP", [6]int64{526_320, 0, 0, 0, 1_672, 527_992}},
		// 100 of 301: 411566.67; 2057.84 of 411567; 1234.70 of which 1235 VAT 69.91
		{"20000001_A", "81", "RFD", [6]int64{-411_567, 2_058, 1_165, 70, 0, -408_274}},
		// the rest: 301 are 1238815.67, 6194.08, 3716.45, 3716 with VAT 210.34; less what the 100 were
		{"20000001_A", "82", "RFD", [6]int64{-827_249, 4_136, 2_341, 140, 0, -820_632}},
		// 40 of 90 × 7143 = 285720; 1428.6; 857.16, of 857 VAT 48.51
		{"20000001_A", "120", "RFD", [6]int64{-285_720, 1_429, 808, 49, 0, -283_434}},
		// 777 × 81/2 = 31468.5, to the even 31468; 157.34; 94.40, VAT 5.32
		{"20000001_A", "84", "RVS", [6]int64{-31_468, 157, 89, 5, 0, -31_217}},
		// of an earn, 88 × 12347/3 = 362178.67; 362.18, VAT 20.49; 342 = 256.5 + 85.5, the odd unit to the lower number
		{"20000001_A", "85", "RVS", [6]int64{362_179, 0, 256, 20, 86, 362_541}},
		// of a swap, 3001: 11003666; 110036.66 up; 10893629 / 42.5 = 256320.7; 10893600; rest 29;
		// VAT 6228.51; 103808 = 69205.33 + 34602.67
		{"10000001_I", "86", "RVS", [6]int64{10_893_600, 0, 69_205, 6_229, 34_632, 11_003_666}},
		// 1009 × 12347/3 = 4152707.67; 20763.54; 12458.12, VAT 705.17
		{"20000001_A", "99", "CBK", [6]int64{-4_152_708, 20_764, 11_753, 705, 0, -4_119_486}},
		// 33333 × 81/2 = 1349986.5, to the even; 2699.97; 2024.98 + 7 = 2032, VAT 115.02; 1917 = 1278 + 639
		{"30000001_A", "100", "CBK", [6]int64{-1_349_986, 2_700, 1_278, 115, 639, -1_345_254}},
		// a credit adjustment, 500 × 12347/3 = 2057833.33; 4115.67; 3086.75 + 7 = 3094, VAT 175.13; 2919 = 1946 + 973
		{"30000001_A", "102", "CBK", [6]int64{-2_057_833, 4_116, 1_946, 175, 973, -2_050_623}},
		// all of the chargeback 99, back again
		{"20000001_A", "103", "REP", [6]int64{4_152_708, -20_764, -11_753, -705, 0, 4_119_486}},
		// 11111 of 33333: the whole less 22222 × 81/2 = 899991, 1799.98, 1349.99 + 7 = 1357, VAT 76.81; 1280 = 853.33 + 426.67
		{"30000001_A", "104", "REP", [6]int64{449_995, -900, -425, -38, -212, 448_420}},
		// 200 of 500, a debit adjustment: less 300 × 12347/3 = 1234700, 2469.4, 1852.05 + 7 = 1859, VAT 105.23; 1754 = 1169.33 + 584.67
		{"30000001_A", "105", "REP", [6]int64{823_133, -1_647, -777, -70, -388, 820_251}},
		{"20000001_A", "128", "ADJ", [6]int64{123_456, 0, 0, 0, 0, 123_456}},
		{"10000002_A", "129", "ADJ", [6]int64{1, 0, 0, 0, 0, 1}},
		{"10000001_A", "130", "ADJ", [6]int64{70_000, 0, 0, 0, 0, 70_000}},
		{"20000001_I", "131", "FEE", [6]int64{0, 0, 0, 0, -500_000, -500_000}},
		{"10000002_I", "132", "FEE", [6]int64{0, 0, 0, 0, -99, -99}},
		{"30000001_A", "133", "FEE", [6]int64{0, 0, 0, 0, 31_415, 31_415}},
		// the island, 2000: 4291 stars pay floor(4291 × 4/9) = 1907, 93 are left: 47 rides, at two for one.
		// 4291 × 81/2 = 173785.5, to the even; 868.93; 521.36, of 521 VAT 29.49
		{"20000001_A", "138/902", "RDM", [6]int64{173_786, -869, -492, -29, 0, 172_396}},
		// 47 × 50001/7 = 335721; 1678.61; 1007.16, of 1007 VAT 57
		{"20000001_A", "138/904", "RDM", [6]int64{335_721, -1_679, -950, -57, 0, 333_035}},
		// the picnic, 700: 333 miles pay floor(333 × 3/2) = 499, 201 are left: 281.4, so 282 stars.
		// 333 × 13001/3 = 1443111; 7215.56; 4329.33, of 4329 VAT 245.04
		{"20000001_A", "141/901", "RDM", [6]int64{1_443_111, -7_216, -4_084, -245, 0, 1_431_566}},
		// 282 × 81/2 = 11421; 57.1; 34.26, the least is 50, VAT 2.83; the tea house owes it
		{"20000001_A", "141/902", "RDM", [6]int64{11_421, -57, -47, -3, 0, 11_314}},
		{"10000002_I", "141/902", "RDM", [6]int64{-11_421, 57, 0, 0, 0, -11_364}},
		// 250 of it back, stars first: all 282 for 201, with the least fee; then 49 of 499 miles: 32.7, so 32.
		{"20000001_A", "142/902", "RFD", [6]int64{-11_421, 57, 47, 3, 0, -11_314}},
		// 32 × 13001/3 = 138677.33; 693.38; 416.03, VAT 23.55
		{"20000001_A", "142/901", "RFD", [6]int64{-138_677, 693, 392, 24, 0, -137_568}},
		// 300 of yesterday's lunch, which 559 stars paid 399 of: 420.3, so 420 stars. 17010; 85.05; 51.03, VAT 2.89
		{"20000001_A", "143/902", "RFD", [6]int64{-17_010, 85, 48, 3, 0, -16_874}},
		// the rest of it: 559 stars are 22639.5, to the even 22640, 113.2, 67.92 with VAT 3.85; less the 420
		{"20000001_A", "144/902", "RFD", [6]int64{-5_630, 28, 16, 1, 0, -5_585}},
		// and all 401 miles, at yesterday's rate: 1650382.33; 8251.91; 4951.15, of 4951 VAT 280.25
		{"20000001_A", "144/901", "RFD", [6]int64{-1_650_382, 8_252, 4_671, 280, 0, -1_637_179}},
		// the fair, of yesterday at the grocer's: 250 × 12347/3 = 1028916.67; 2057.83; 1543.38 + 7 = 1550, VAT 87.74; 1462 = 974.67 + 487.33
		{"30000001_A", "145/901", "RVS", [6]int64{-1_028_917, 2_058, 975, 88, 487, -1_025_309}},
		// 150 × 81/2 = 6075; 12.15; 9.11 + 7 = 16, VAT 0.91; 15 = 10 + 5
		{"30000001_A", "145/902", "RVS", [6]int64{-6_075, 12, 10, 1, 5, -6_047}},
		// the basket: 90 of the grocer's own, on us: no value; of 900000 the fee is 1357, VAT 76.81; 1280 = 853.33 + its own 426.67
		{"30000001_A", "147/903", "RDM", [6]int64{0, 0, -853, -77, 0, -930}},
		// 75 × 13001/3 = 325025; 650.05; 487.54 + 7 = 495, VAT 28.02; 467 = 311.33 + 155.67
		{"30000001_A", "147/901", "RDM", [6]int64{325_025, -650, -311, -28, -156, 323_880}},
		// voided, and the void reversed
		{"30000001_A", "148/903", "RVS", [6]int64{0, 0, 853, 77, 0, 930}},
		{"30000001_A", "148/901", "RVS", [6]int64{-325_025, 650, 311, 28, 156, -323_880}},
		{"30000001_A", "149/903", "RVS", [6]int64{0, 0, -853, -77, 0, -930}},
		{"30000001_A", "149/901", "RVS", [6]int64{325_025, -650, -311, -28, -156, 323_880}},
		// 40 of the island: 47 rides paid 93, 20.2, so 20 of them. 142860; 714.3; 428.58, of 429 VAT 24.28
		{"20000001_A", "150/904", "RFD", [6]int64{-142_860, 714, 405, 24, 0, -141_717}},
	} {
		text, err := os.ReadFile(filepath.Join("testdata", "story", want.file[:8], "QZ_DET_"+want.file+"_20260302_01_1of1.txt"))
		require.NoError(t, err)
		line := lineOf(t, string(text), want.cid)
		byHand[want.kind]++
		if strings.Contains(want.cid, "/") {
			byHand["tender "+want.kind]++
		}
		require.Equal(t, want.kind, line[37:40], "item %s", want.cid)
		var is [6]int64
		for i, at := range [...]struct{ from, to int }{{256, 271}, {273, 285}, {287, 299}, {301, 313}, {315, 327}, {329, 344}} {
			is[i], err = strconv.ParseInt(line[at.from:at.to], 10, 64)
			require.NoError(t, err)
			if line[at.from-1] == 'D' {
				is[i] = -is[i]
			}
		}
		require.Equal(t, want.is, is, "item %s", want.cid)
	}
	for kind := tariff.KindRDM; int(kind) < tariff.Kinds; kind++ {
		require.GreaterOrEqual(t, byHand[kind.String()], 3, "%v: worked out by hand", kind)
	}
	for _, kind := range []string{"RDM", "RFD", "RVS"} {
		require.GreaterOrEqual(t, byHand["tender "+kind], 3, "%s of a sale that several programmes pay: worked out by hand", kind)
	}
}

// Each line of the golden day has the type of the message that has asked for its item, of a
// terminal's reversal 0400, and none where people have acted; and its flags: late, stood in
// for, by hand, re-presented.
func TestGoldenMessages(t *testing.T) {
	for _, want := range []struct{ file, cid, kind, mti, processing, flags string }{
		{"20000001_A", "75", "RDM", "0200", "000000", ""},
		{"20000001_A", "77", "EAR", "0200", "210000", ""},
		{"20000001_A", "107", "RDM", "0200", "000000", ""},
		{"20000001_A", "109", "EAR", "0220", "210000", "L"},
		{"20000001_A", "114", "RDM", "0200", "000000", "S"},
		{"10000001_I", "74", "SWP", "0200", "400000", ""},
		{"20000001_A", "81", "RFD", "0220", "200000", ""},
		{"30000001_A", "80", "RVS", "0200", "200000", ""},
		{"20000001_A", "84", "RVS", "0400", "000000", ""},
		{"20000001_A", "85", "RVS", "0400", "210000", ""},
		{"10000001_I", "86", "RVS", "0400", "400000", ""},
		{"20000001_A", "99", "CBK", "0000", "000000", "M"},
		{"20000001_A", "103", "REP", "0000", "000000", "MR"},
		{"30000001_A", "105", "REP", "0000", "000000", "MR"},
		{"20000001_A", "128", "ADJ", "0000", "000000", "M"},
		{"20000001_I", "131", "FEE", "0000", "000000", "M"},
	} {
		text, err := os.ReadFile(filepath.Join("testdata", "story", want.file[:8], "QZ_DET_"+want.file+"_20260302_01_1of1.txt"))
		require.NoError(t, err)
		line := lineOf(t, string(text), want.cid)
		is := [...]string{line[37:40], line[125:129], line[130:136], strings.TrimSpace(line[378:382])}
		require.Equal(t, [...]string{want.kind, want.mti, want.processing, want.flags}, is, "item %s", want.cid)
	}
}

// The notifications of the golden day have an entry for each item that people have approved,
// once for each of its two members, and come to the figures of the statement.
func TestGoldenNotifications(t *testing.T) {
	type entry struct {
		Ref  string `xml:"NtryRef"`
		Amt  string `xml:"Amt"`
		Side string `xml:"CdtDbtInd"`
		Code string `xml:"BkTxCd>Prtry>Cd"`
	}
	read := func(path string) (list []entry) {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		var document struct {
			Notified []entry `xml:"BkToCstmrDbtCdtNtfctn>Ntfctn>Ntry"`
			Stated   []entry `xml:"BkToCstmrStmt>Stmt>Ntry"`
		}
		require.NoError(t, xml.Unmarshal(text, &document))
		return append(document.Notified, document.Stated...)
	}
	sum := func(list []entry, code string) (total int64) {
		for _, e := range list {
			amount, err := strconv.ParseInt(strings.Replace(e.Amt, ".", "", 1), 10, 64)
			require.NoError(t, err)
			if e.Side == "DBIT" {
				amount = -amount
			}
			if e.Code == code {
				total += amount
			}
		}
		return total
	}
	seen := map[string]int{}
	for _, member := range []string{"10000001", "10000002", "10000003", "20000001", "30000001"} {
		at := func(file string) string {
			return filepath.Join("testdata", "story", member, "QZ_"+file+"_"+member+"_M_20260302_01_1of1.xml")
		}
		notified, stated := read(at("NTF")), read(at("STM"))
		for _, e := range notified {
			seen[e.Ref]++
		}
		for _, code := range []string{"CBK", "ADJ"} {
			require.Equal(t, sum(stated, code), sum(notified, code), "%s %s", member, code)
		}
	}
	require.Equal(t, map[string]int{
		"CBK-99": 2, "CBK-100": 2, "CBK-101": 2, "CBK-102": 2, "CBK-103": 2, "CBK-104": 2, "CBK-105": 2, // 103 to 105 are re-presentments
		"ADJ-128": 2, "ADJ-129": 2, "ADJ-130": 1, // the other side of 130 is SUSPENSE
		"OTH-131": 1, "OTH-132": 1, "OTH-133": 2,
	}, seen)
}

// P3, P4, P9: however many workers compute the golden day, they come to the positions that
// the ledger has kept, to one digest of the input, and to the golden files of items.
func TestGoldenDayByWorkers(t *testing.T) {
	s := tell(t)
	tellGolden(s)
	want := tree(t, filepath.Join("testdata", "story"))
	var first *settlement.Run
	for workers := range 5 {
		folder := t.TempDir()
		run, err := s.runner(folder, workers+1).Run(t.Context(), dayTwo, 1, settlement.Order{At: s.clock, By: "li", ID: goldenRun})
		require.NoError(t, err)
		if first == nil {
			first = run
		}
		require.Equal(t, first.Input, run.Input)
		require.Equal(t, first.Positions, run.Positions)
		require.Equal(t, first.Checks, run.Checks)
		for name, text := range tree(t, filepath.Join(folder, goldenRun+".tmp")) {
			if strings.Contains(name, "_DET_") || strings.Contains(name, "_EXC_") || strings.Contains(name, "_NET_") {
				require.Equal(t, want[name], text, name)
			}
		}
	}
}

// A swap is settled by the fees of its quote: the schedule that was in force when it was
// promised, though one without a row for swaps has taken effect by the time that it is
// executed, or that it is reversed. What is quoted from then on is refused.
func TestSwapsSettleByTheFeesOfTheirQuotes(t *testing.T) {
	s := tell(t)
	quote := func() book.Command {
		cmd := s.at("CAFE1", book.KindQuote, points.SwapQuote, 1, miles, 2_222)
		cmd.Into = stars
		return cmd
	}
	for _, name := range []string{"", "undone "} {
		s.done(name+"quoted", quote())
		s.acted(name+"locked", "CAFE1", book.KindSwapLock, name+"quoted")
	}
	s.put(book.Entry{Fees: &tariff.Schedule{From: s.clock.Add(10 * time.Minute), Rows: []tariff.FeeRow{{Kind: tariff.KindRDM, InterchangePPM: 5000}}}})
	s.later(time.Hour)
	s.acted("swap", "CAFE1", book.KindSwap, "quoted")
	s.reversed("undone", s.acted("undone swap", "CAFE1", book.KindSwap, "undone quoted"))
	require.Equal(t, points.NoSwapRate, s.do(quote()).Reason)
	s.cutOver(dayTwo, 0)
	folder := t.TempDir()
	run := s.settle(s.runner(folder, 2), dayOne, 1, goldenRun)
	require.Equal(t, []uint64{3, 0}, []uint64{run.Items, run.Exceptions})
	got := map[string]string{}
	for line := range strings.Lines(tree(t, filepath.Join(folder, goldenRun))["operator/QZ_NET_90000001_M_20260301_01_1of1.csv"]) {
		if row := strings.Split(line, ","); len(row) > 12 && row[7] == "*" && row[8] == "*" {
			got[row[6]] = row[12]
		}
	}
	// Air owes tea 8065820 and 25621 of the fee, VAT 4612, the operator 51241, and the rest 39.
	require.Equal(t, map[string]string{"10000001": "-814.7333", "10000002": "809.1441", "FEE": "5.1241", "VAT": "0.4612", "ROUND": "0.0039"}, got)
}

// A swap that was given up and stands at its issuer for good is an exception of the night, with
// nobody's debt: what stands there is in the issuer's suspense, and every unit sums to zero.
func TestASwapThatStandsIsAnException(t *testing.T) {
	s := tell(t)
	from := s.clock.Add(10 * time.Minute)
	for _, side := range []tariff.Side{tariff.Buy, tariff.Sell} {
		s.put(book.Entry{Rate: &tariff.Rate{Terms: tariff.Terms{Program: rides, Side: side, From: from, Num: 2_500, Den: 1}}})
	}
	s.put(book.Entry{Swaps: &tariff.SwapTerms{Program: rides, From: from, SwapRules: tariff.SwapRules{Lots: 1 << book.Earned, Expiry: tariff.ExpiryProgram, QuoteSeconds: 30}}})
	s.later(time.Hour)
	quote := s.at("CAFE1", book.KindQuote, points.SwapQuote, 1, miles, 3_000)
	quote.Into, quote.Ask = rides, true
	s.done("quoted", quote)
	s.acted("swap", "CAFE1", book.KindSwap, "quoted")
	told := func(asked points.Function, answer points.Reason) {
		s.must(book.Command{Kind: book.KindSwapTold, Original: s.named["quoted"], Function: asked, Answer: answer})
	}
	told(points.SwapCredit, points.DoNotHonour)
	told(points.SwapCredit, points.Approved)
	told(points.Reversal, points.OriginalClosed)
	s.cutOver(dayTwo, 0)
	folder := t.TempDir()
	run := s.settle(s.runner(folder, 2), dayOne, 1, goldenRun)
	require.Equal(t, []uint64{0, 1}, []uint64{run.Items, run.Exceptions})
	files := tree(t, filepath.Join(folder, goldenRun))
	found := ""
	for name, text := range files {
		if strings.Contains(name, "operator/QZ_EXC_") && strings.HasSuffix(name, ".csv") {
			found = text
		}
	}
	require.Contains(t, found, "SWAP_STANDS")
	require.Contains(t, found, "in the issuer's suspense")
	trial, err := s.ledger.TrialBalance(t.Context())
	require.NoError(t, err)
	units, suspense := map[points.ProgramID]points.Amount{}, points.Amount(0)
	for _, line := range trial.Totals() {
		units[line.Program] += line.Amount
		if line.Kind == book.SuspenseAccount {
			suspense += line.Amount
		}
	}
	require.Equal(t, map[points.ProgramID]points.Amount{miles: 0, stars: 0, bonus: 0, rides: 0}, units)
	require.Equal(t, points.Amount(4356), suspense, "3000 miles are 11000000 less 110000: 4356 rides at 2500")
}

// Redemptions and swaps of one cycle net together: each member has one figure, worked out by
// hand here; the posting empties every clearing account, and nothing counts for caps any more.
//
//	stars 1000 at the cafe    tea → east 40500; east → tea 202; of 122: VAT 7, operator 115
//	miles 2222 into stars     air → tea 8065820; of 81474: VAT 4612, operator 51241, tea 25621; rest 39
//	stars 200000 into miles   tea → air 7600000; of 96250: VAT 5448, operator 60535, air 30267; rest 3750
func TestSwapsNetWithRedemptions(t *testing.T) {
	s := tell(t)
	s.done("sale", s.at("CAFE1", book.KindRedeem, points.Redeem, 2, stars, 1_000))
	s.quoted("there quoted", "CAFE1", 1, miles, stars, 2_222, 0)
	s.acted("there", "CAFE1", book.KindSwap, "there quoted")
	s.quoted("back quoted", "SHOP1", 2, stars, miles, 200_000, 0)
	s.acted("back", "SHOP1", book.KindSwap, "back quoted")
	s.cutOver(dayTwo, 0)
	folder := t.TempDir()
	run := s.settle(s.runner(folder, 2), dayOne, 1, goldenRun)
	require.Equal(t, []uint64{3, 0}, []uint64{run.Items, run.Exceptions})
	want := map[string]string{"10000001": "-51.7066", "10000002": "35.1143", "20000001": "4.0176", "FEE": "11.1891", "VAT": "1.0067", "ROUND": "0.3789"}
	got := map[string]string{}
	for line := range strings.Lines(tree(t, filepath.Join(folder, goldenRun))["operator/QZ_NET_90000001_M_20260301_01_1of1.csv"]) {
		if row := strings.Split(line, ","); len(row) > 12 && row[7] == "*" && row[8] == "*" {
			got[row[6]] = row[12]
		}
	}
	require.Equal(t, want, got)
	s.clearingHas(map[points.ProgramID]points.Amount{})
	require.NoError(t, s.ledger.View(t.Context(), func(b *book.Book) error {
		view, ok, err := b.ClearedIn(dayOne, 1)
		require.True(t, ok)
		require.Equal(t, run.Posting, view.Posted)
		require.Equal(t, []book.ClearingMove{{Program: stars, Acquirer: east, Amount: 1_000}}, view.Moves, "a swap moves nothing on a clearing account")
		sum := points.Amount(0)
		for _, p := range view.Positions {
			sum += p.Net()
		}
		require.Zero(t, sum)
		return err
	}))
	trial, err := s.ledger.TrialBalance(t.Context())
	require.NoError(t, err)
	units := map[points.ProgramID]points.Amount{}
	for _, line := range trial.Totals() {
		units[line.Program] += line.Amount
	}
	require.Equal(t, map[points.ProgramID]points.Amount{miles: 0, stars: 0, bonus: 0}, units, "every unit sums to zero")
}
