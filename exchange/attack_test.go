package exchange_test

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/exchange"
	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

const (
	air  points.ProgramID = 900
	inn  points.ProgramID = 901
	mall points.ProgramID = 902

	second points.Timestamp    = 1_000_000
	dawn   points.Timestamp    = 1_772_409_600_000_000
	day    points.BusinessDate = 20260302
	bank   points.AcquirerID   = 2001
	start  points.Amount       = 100_000
)

// house is a ledger with three programmes of three issuers at 100, 20 and 7 u a point and
// no spread at all between BUY and SELL, so that a single unit gained by rounding shows. The
// terms allow all origins, which the careful issuer would not: arithmetic alone must hold.
type house struct {
	t      testing.TB
	opts   store.Options
	ledger *ledger.Ledger
	desk   *exchange.Desk
	now    atomic.Int64
}

var worth = map[points.ProgramID]uint64{air: 100, inn: 20, mall: 7}

func openHouse(t testing.TB, change func(*tariff.SwapRules)) *house {
	t.Helper()
	h := &house{t: t, opts: store.Options{Dir: filepath.Join(t.TempDir(), "store"), BlockCacheMB: 1}}
	h.now.Store(int64(dawn))
	require.NoError(t, store.Create(h.opts))
	h.open()
	t.Cleanup(func() { require.NoError(t, h.ledger.Close(context.Background())) })
	h.put(book.Entry{Acquirer: &book.Acquirer{ID: bank, Name: "Bank", Status: book.Active}})
	rules := tariff.SwapRules{Lots: 1<<book.Earned | 1<<book.Swapped | 1<<book.Bonus, Expiry: tariff.ExpiryProgram, QuoteSeconds: 30, LockSeconds: 600}
	if change != nil {
		change(&rules)
	}
	from := dawn + 2*tariff.LeadTime
	for program, num := range worth {
		id := points.IssuerID(1000 + uint64(program))
		h.put(book.Entry{Issuer: &book.Issuer{ID: id, Name: "Issuer", Status: book.Active}})
		h.put(book.Entry{Program: &book.Program{ID: program, Issuer: id, Name: "Points", Status: book.Active, Rules: book.ProgramRules{OpenOnEarn: true}}})
		for _, side := range []tariff.Side{tariff.Buy, tariff.Sell} {
			h.put(book.Entry{Rate: &tariff.Rate{Terms: tariff.Terms{Program: program, Side: side, Num: num, Den: 1, From: from}}})
		}
		h.put(book.Entry{Swaps: &tariff.SwapTerms{Program: program, SwapRules: rules, From: from}})
	}
	h.put(book.Entry{Fees: &tariff.Schedule{From: from, Rows: []tariff.FeeRow{{Kind: tariff.KindSWP}}}})
	h.now.Store(int64(from + second))
	h.put(book.Entry{Member: &book.Member{ID: 1, Status: book.Active}})
	for program := range worth {
		h.must(book.Command{Kind: book.KindOpen, Member: 1, Program: program})
	}
	h.must(book.Command{Kind: book.KindEarn, Member: 1, Program: air, Acquirer: bank, Amount: start})
	return h
}

func (h *house) open() {
	h.t.Helper()
	db, err := store.Open(h.opts)
	require.NoError(h.t, err)
	h.ledger, err = ledger.Open(context.Background(), ledger.Options{Store: db, Genesis: day, GenesisAt: dawn})
	require.NoError(h.t, err)
	h.desk = exchange.NewDesk(h.ledger, h.clock)
}

// restart closes the ledger, which writes a checkpoint, and opens it again.
func (h *house) restart() {
	h.t.Helper()
	require.NoError(h.t, h.ledger.Close(context.Background()))
	h.open()
}

func (h *house) clock() points.Timestamp { return points.Timestamp(h.now.Load()) }

func (h *house) must(cmd book.Command) book.Outcome {
	h.t.Helper()
	cmd.At = h.clock()
	out, err := h.ledger.Do(h.t.Context(), &cmd)
	require.NoError(h.t, err)
	require.True(h.t, out.Reason.Approved(), "%v: %v", cmd.Kind, out.Reason)
	return out
}

func (h *house) put(e book.Entry) {
	h.t.Helper()
	h.must(book.Command{Kind: book.KindPut, Entry: e, Operator: "li", Second: "wang"})
}

// has is what the member can spend.
func (h *house) has(program points.ProgramID) (free points.Amount) {
	h.t.Helper()
	require.NoError(h.t, h.ledger.View(h.t.Context(), func(b *book.Book) error {
		view, _, err := b.Account(book.AccountKey{Kind: book.MemberAccount, Program: program, Party: 1})
		free = view.Usable
		return err
	}))
	return free
}

// wealth is what all that the member has is worth, held points and all, in standard units.
func (h *house) wealth() (sum points.Amount) {
	h.t.Helper()
	require.NoError(h.t, h.ledger.View(h.t.Context(), func(b *book.Book) error {
		for program, num := range worth {
			view, _, err := b.Account(book.AccountKey{Kind: book.MemberAccount, Program: program, Party: 1})
			if err != nil {
				return err
			}
			sum += view.Balance * points.Amount(num)
		}
		return b.Audit()
	}))
	return sum
}

// turn swaps amount at once; what is refused moves nothing and gives nothing.
func (h *house) turn(from, into points.ProgramID, amount points.Amount) points.Amount {
	h.t.Helper()
	h.now.Add(int64(second))
	quoted, err := h.desk.Quote(h.t.Context(), exchange.Asked{Member: 1, From: from, Into: into, In: amount})
	if err != nil {
		return 0
	}
	done, err := h.desk.Swap(h.t.Context(), exchange.Named{Quote: quoted.Quote})
	require.NoError(h.t, err)
	return done.Out
}

func reasonIs(t *testing.T, reason points.Reason, err error) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, reason, points.ReasonOf(err), "%v", err)
}

// Going round two or three programmes, in whole or in crumbs, never makes anybody richer,
// even where BUY and SELL are the same.
func TestRoundTripsTrianglesAndSplitting(t *testing.T) {
	h := openHouse(t, nil)
	rich := h.wealth()
	for _, amount := range []points.Amount{1, 7, 13, 99, 1001} {
		for _, way := range [][]points.ProgramID{{air, inn, air}, {air, mall, air}, {air, inn, mall, air}, {air, mall, inn, air}} {
			got := amount
			for i := range way[1:] {
				if got = h.turn(way[i], way[i+1], got); got == 0 {
					break
				}
			}
			require.LessOrEqual(t, got, amount, "%v with %d", way, amount)
			require.LessOrEqual(t, h.wealth(), rich)
			rich = h.wealth()
		}
	}
	whole := h.turn(air, mall, 100)
	crumbs := points.Amount(0)
	for range 100 {
		crumbs += h.turn(air, mall, 1)
	}
	require.LessOrEqual(t, crumbs, whole)
	require.LessOrEqual(t, h.wealth(), rich)
}

// Who knows of a rate that is to come gains nothing by a quote that nothing was held for,
// and what a lock has bought at the old rate cannot be turned back at the new one while its
// lots are locked.
func TestRacingARateChange(t *testing.T) {
	h := openHouse(t, func(r *tariff.SwapRules) { r.LockDays = 3 })
	from := h.clock() + 2*tariff.LeadTime
	for _, side := range []tariff.Side{tariff.Sell, tariff.Buy} {
		h.put(book.Entry{Rate: &tariff.Rate{Terms: tariff.Terms{Program: inn, Side: side, Num: 40, Den: 1, From: from}}})
	}
	h.now.Store(int64(from - 5*second))
	open, err := h.desk.Quote(t.Context(), exchange.Asked{Member: 1, From: air, Into: inn, In: 1000})
	require.NoError(t, err)
	locked, err := h.desk.Quote(t.Context(), exchange.Asked{Member: 1, From: air, Into: inn, In: 1000})
	require.NoError(t, err)
	_, err = h.desk.Lock(t.Context(), exchange.Named{Quote: locked.Quote})
	require.NoError(t, err)
	h.now.Store(int64(from + second))
	_, err = h.desk.Swap(t.Context(), exchange.Named{Quote: open.Quote})
	reasonIs(t, points.RateMoved, err)
	done, err := h.desk.Swap(t.Context(), exchange.Named{Quote: locked.Quote})
	require.NoError(t, err)
	require.Equal(t, points.Amount(5000), done.Out, "a lock keeps its word")
	require.Zero(t, h.turn(inn, air, 5000), "and cannot be turned back")
	require.Equal(t, start-1000, h.has(air))
}

// A publication that would let anybody go round with a gain is refused, from the command
// that proposes it on.
func TestNoRatesThatGain(t *testing.T) {
	h := openHouse(t, nil)
	cmd := book.Command{Kind: book.KindPut, At: h.clock(), Operator: "li", Second: "wang", Entry: book.Entry{Rate: &tariff.Rate{
		Terms: tariff.Terms{Program: inn, Side: tariff.Buy, Num: 21, Den: 1, From: h.clock() + 2*tariff.LeadTime},
	}}}
	out, err := h.ledger.Do(t.Context(), &cmd)
	require.NoError(t, err)
	require.Equal(t, points.NotPermitted, out.Reason)
}

// A quote replayed, under its key, under others, at once from many sides, executes once
// (Q1, Q2).
func TestReplayingAQuote(t *testing.T) {
	h := openHouse(t, nil)
	quoted, err := h.desk.Quote(t.Context(), exchange.Asked{Member: 1, From: air, Into: inn, In: 1000, Caller: exchange.Caller{CallID: "q"}})
	require.NoError(t, err)
	again, err := h.desk.Quote(t.Context(), exchange.Asked{Member: 1, From: air, Into: inn, In: 1000, Caller: exchange.Caller{CallID: "q"}})
	require.NoError(t, err)
	require.True(t, again.Repeated)
	require.Equal(t, quoted.SwapFigures, again.SwapFigures)
	_, err = h.desk.Quote(t.Context(), exchange.Asked{Member: 1, From: air, Into: inn, In: 1001, Caller: exchange.Caller{CallID: "q"}})
	reasonIs(t, points.DuplicateOther, err)

	var group sync.WaitGroup
	var executed, repeated, refused atomic.Int32
	for i := range 24 {
		key := []string{"same", "same", "", string(rune('a' + i))}[i%4]
		group.Go(func() {
			done, err := h.desk.Swap(t.Context(), exchange.Named{Quote: quoted.Quote, Caller: exchange.Caller{CallID: key}})
			switch {
			case err != nil && points.ReasonOf(err) == points.OriginalClosed:
				refused.Add(1)
			case err != nil:
				t.Errorf("unexpected: %v", errors.Unwrap(err))
			case done.Repeated:
				repeated.Add(1)
			default:
				executed.Add(1)
			}
		})
	}
	group.Wait()
	require.Equal(t, int32(1), executed.Load())
	require.Equal(t, int32(24), executed.Load()+repeated.Load()+refused.Load())
	require.Equal(t, start-1000, h.has(air))
	require.Equal(t, points.Amount(5000), h.has(inn))
}

// Whoever executes as the lock's time runs out has either the swap or the points, never
// both, whichever comes first; and after its end only the points.
func TestRacingALockExpiry(t *testing.T) {
	for range 8 {
		h := openHouse(t, nil)
		rich := h.wealth()
		quoted, err := h.desk.Quote(t.Context(), exchange.Asked{Member: 1, From: air, Into: inn, In: 1000})
		require.NoError(t, err)
		lock, err := h.desk.Lock(t.Context(), exchange.Named{Quote: quoted.Quote})
		require.NoError(t, err)
		h.now.Store(int64(lock.Expires - 1))
		var group sync.WaitGroup
		group.Go(func() { _, _ = h.desk.Swap(t.Context(), exchange.Named{Quote: quoted.Quote}) })
		group.Go(func() { h.now.Add(2); _, _ = h.desk.Expire(t.Context()) })
		group.Go(func() { _, _ = h.desk.Cancel(t.Context(), exchange.Named{Quote: quoted.Quote}) })
		group.Wait()
		h.now.Add(int64(second))
		_, err = h.desk.Expire(t.Context())
		require.NoError(t, err)
		require.Equal(t, rich, h.wealth())
		require.Equal(t, start*100, h.has(air)*100+h.has(inn)*20, "nothing is held")
		_, err = h.desk.Swap(t.Context(), exchange.Named{Quote: quoted.Quote})
		require.Error(t, err)
		list, err := h.desk.Queue(t.Context())
		require.NoError(t, err)
		require.Empty(t, list)
	}
}

// A campaign cannot be cycled: its bonus stays where it is while its lock runs, each round
// needs points of one's own, and the sponsor pays no more than the budget.
func TestCyclingABonus(t *testing.T) {
	h := openHouse(t, func(r *tariff.SwapRules) {
		r.BonusPer, r.BonusAdd, r.BonusBudget, r.LockDays = 100, 50, 5000, 5
	})
	for range 20 {
		out := h.turn(air, inn, 1000)
		require.Zero(t, h.turn(inn, air, max(out, 1)), "neither what was handed out nor its bonus goes back")
	}
	require.Equal(t, start-20_000, h.has(air))
	require.Equal(t, points.Amount(100_000+5000), h.has(inn), "twice 2500 of bonus, and then the budget is spent")
}

// Asking for what one wants rather than for what one gives, in whole or one point at a time,
// makes nobody richer, and never costs less than handing in the same.
func TestAskingForExactlyWhatIsWanted(t *testing.T) {
	h := openHouse(t, nil)
	rich := h.wealth()
	buy := func(from, into points.ProgramID, out points.Amount) exchange.Swap {
		h.now.Add(int64(second))
		quoted, err := h.desk.Quote(t.Context(), exchange.Asked{Member: 1, From: from, Into: into, Out: out})
		require.NoError(t, err)
		done, err := h.desk.Swap(t.Context(), exchange.Named{Quote: quoted.Quote})
		require.NoError(t, err)
		require.GreaterOrEqual(t, done.Out, out)
		require.LessOrEqual(t, int64(done.Out)*int64(worth[into]), int64(done.In)*int64(worth[from]))
		require.LessOrEqual(t, h.wealth(), rich)
		rich = h.wealth()
		return done
	}
	for _, out := range []points.Amount{1, 2, 3, 7, 15, 99, 1001} {
		there := buy(air, mall, out)
		back := h.turn(mall, air, there.Out)
		require.LessOrEqual(t, back, there.In)
		buy(air, inn, out)
		rich = h.wealth()
	}
	crumbs, got := points.Amount(0), points.Amount(0)
	for range 60 {
		done := buy(air, inn, 1)
		crumbs, got = crumbs+done.In, got+done.Out
	}
	require.GreaterOrEqual(t, crumbs*5, got, "five for one at the most")
}

// The same points promised twice are given once, and quotes side by side do not get more
// through a cap than one after the other: an open quote holds nothing and counts nothing.
func TestManyQuotesOfTheSamePoints(t *testing.T) {
	h := openHouse(t, func(r *tariff.SwapRules) { r.UserDay = 90_000 })
	quote := func(amount points.Amount) points.Position {
		quoted, err := h.desk.Quote(t.Context(), exchange.Asked{Member: 1, From: air, Into: inn, In: amount})
		require.NoError(t, err)
		return quoted.Quote
	}
	one, other, third := quote(60_000), quote(60_000), quote(30_000)
	_, err := h.desk.Lock(t.Context(), exchange.Named{Quote: one})
	require.NoError(t, err)
	_, err = h.desk.Lock(t.Context(), exchange.Named{Quote: other})
	reasonIs(t, points.OverAmountLimit, err)
	_, err = h.desk.Swap(t.Context(), exchange.Named{Quote: other})
	reasonIs(t, points.OverAmountLimit, err)
	_, err = h.desk.Swap(t.Context(), exchange.Named{Quote: third})
	require.NoError(t, err)
	_, err = h.desk.Swap(t.Context(), exchange.Named{Quote: one})
	require.NoError(t, err)
	require.Equal(t, []points.Amount{10_000, 450_000}, []points.Amount{h.has(air), h.has(inn)})
}

// Amounts that are none, or too large, give nothing and change nothing.
func TestAmountsThatAreNone(t *testing.T) {
	h := openHouse(t, nil)
	rich := h.wealth()
	for _, amount := range []points.Amount{0, -1, -start, points.MaxAmount + 1, math.MaxInt64, math.MinInt64} {
		for _, asked := range []exchange.Asked{{In: amount}, {Out: amount}, {In: amount, Out: amount}, {In: 10, Out: amount}} {
			if asked.In == 10 && amount == 0 {
				continue
			}
			asked.Member, asked.From, asked.Into = 1, air, inn
			_, err := h.desk.Quote(t.Context(), asked)
			reasonIs(t, points.BadAmount, err)
		}
	}
	_, err := h.desk.Quote(t.Context(), exchange.Asked{Member: 1, From: air, Into: inn, In: points.MaxAmount})
	require.Error(t, err)
	_, err = h.desk.Quote(t.Context(), exchange.Asked{Member: 1, From: air, Into: air, In: 100})
	reasonIs(t, points.NotPermitted, err)
	require.Equal(t, rich, h.wealth())
}

// Cancelling what is being executed leaves the points or the swap, never both: of an open
// quote as of a locked one.
func TestCancellingWhileExecuting(t *testing.T) {
	h := openHouse(t, nil)
	for round := range points.Amount(12) {
		rich, before := h.wealth(), h.has(air)
		quoted, err := h.desk.Quote(t.Context(), exchange.Asked{Member: 1, From: air, Into: inn, In: 100 + round})
		require.NoError(t, err)
		if round%2 == 0 {
			_, err = h.desk.Lock(t.Context(), exchange.Named{Quote: quoted.Quote})
			require.NoError(t, err)
		}
		var won atomic.Int32
		var group sync.WaitGroup
		for i := range 6 {
			call := h.desk.Swap
			if i%2 == 0 {
				call = h.desk.Cancel
			}
			group.Go(func() {
				if _, err := call(t.Context(), exchange.Named{Quote: quoted.Quote}); err == nil {
					won.Add(1)
				}
			})
		}
		group.Wait()
		require.Equal(t, int32(1), won.Load())
		require.Equal(t, rich, h.wealth())
		require.Contains(t, []points.Amount{before, before - 100 - round}, h.has(air))
	}
}

// Points that expire do not live longer by going round where what is handed out inherits
// their end.
func TestProlongingALife(t *testing.T) {
	h := openHouse(t, func(r *tariff.SwapRules) { r.Expiry = tariff.ExpiryInherit })
	h.must(book.Command{Kind: book.KindEarn, Member: 1, Program: mall, Acquirer: bank, Amount: 10_000, ExpiresOn: day})
	got := h.turn(mall, inn, 10_000)
	require.Positive(t, got)
	h.turn(inn, air, got)
	has := h.has(air)
	require.Greater(t, has, start)
	h.must(book.Command{Kind: book.KindCutOver, Date: day.AddDays(1)})
	require.Equal(t, start, h.has(air), "what came of them has ended with them")
	require.Zero(t, h.has(mall)+h.has(inn))
}

// Rules on risk that name swaps hold what is asked for at the desk: over quotes side by side, for
// locks and executions alike, and a call that comes again is still one.
func TestRulesOnRiskHoldTheDesk(t *testing.T) {
	h := openHouse(t, nil)
	h.put(book.Entry{Risk: &book.RiskRules{Rules: []book.RiskRule{
		{Name: "a member's day", Functions: []points.Function{points.Swap}, Measure: book.SumOf, Per: book.PerMember, Window: book.BusinessDay, Limit: 1000, Action: book.Decline},
		{Name: "asking without end", Functions: []points.Function{points.SwapQuote}, Measure: book.CountOf, Per: book.PerMember, Window: 10, Limit: 20, Action: book.Decline},
	}}})
	quote := func(amount points.Amount) (exchange.Swap, error) {
		return h.desk.Quote(t.Context(), exchange.Asked{Member: 1, From: air, Into: inn, In: amount})
	}
	var quotes []points.Position
	for range 3 {
		quoted, err := quote(400)
		require.NoError(t, err)
		quotes = append(quotes, quoted.Quote)
	}
	named := func(i int) exchange.Named {
		return exchange.Named{Quote: quotes[i], Caller: exchange.Caller{CallID: string(rune('a' + i))}}
	}
	_, err := h.desk.Lock(t.Context(), named(0))
	require.NoError(t, err)
	_, err = h.desk.Swap(t.Context(), named(1))
	require.NoError(t, err)
	again, err := h.desk.Swap(t.Context(), named(1))
	require.NoError(t, err)
	require.True(t, again.Repeated)
	_, err = h.desk.Swap(t.Context(), named(2))
	reasonIs(t, points.OverAmountLimit, err)
	_, err = h.desk.Swap(t.Context(), named(0))
	require.NoError(t, err, "a lock keeps its word, and has counted")
	_, err = quote(201)
	reasonIs(t, points.OverAmountLimit, err)
	for range 17 {
		_, err = quote(200)
		require.NoError(t, err)
	}
	_, err = quote(200)
	reasonIs(t, points.OverCountLimit, err)
}

// A call about a swap that is none, or is somebody else's, is refused.
func TestDeskRefuses(t *testing.T) {
	h := openHouse(t, nil)
	_, err := h.desk.Show(t.Context(), exchange.Named{Quote: 3})
	reasonIs(t, points.UnknownOriginal, err)
	_, err = h.desk.Swap(t.Context(), exchange.Named{Quote: 999_999})
	reasonIs(t, points.UnknownOriginal, err)
	quoted, err := h.desk.Quote(t.Context(), exchange.Asked{Member: 1, From: air, Into: inn, In: 1000})
	require.NoError(t, err)
	_, err = h.desk.Swap(t.Context(), exchange.Named{Quote: quoted.Quote, Caller: exchange.Caller{Acquirer: bank}})
	reasonIs(t, points.OriginalDiffers, err)
	view, err := h.desk.Show(t.Context(), exchange.Named{Quote: quoted.Quote})
	require.NoError(t, err)
	require.Equal(t, book.SwapOpen, view.State)
	h.now.Store(int64(view.Expires))
	view, err = h.desk.Show(t.Context(), exchange.Named{Quote: quoted.Quote})
	require.NoError(t, err)
	require.Equal(t, book.SwapExpired, view.State)
}
