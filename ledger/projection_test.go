package ledger_test

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// inn is a second programme of the same issuer, in which members give points to
// each other.
const inn = points.ProgramID(901)

// bazaar is a house with every kind of trade, from a seed.
type bazaar struct {
	*house
	rng    *rand.Rand
	serial uint64
	asked  []book.Command
	date   points.BusinessDate
}

func openBazaar(h *house, seed uint64) *bazaar {
	b := &bazaar{house: h, rng: rand.New(rand.NewPCG(seed, 7)), date: genesis}
	b.furnish(members)
	b.put(book.Entry{Program: &book.Program{ID: inn, Issuer: issuer, Name: "Inn", Status: book.Active, Rules: book.ProgramRules{
		ValidMonths: 1, Transfer: true, OpenOnEarn: true, Debt: true, PendingDays: 2, HoldDays: 3, DecayPart: 1500, DecayEvery: 1,
	}}})
	b.put(book.Entry{Merchant: &book.Merchant{ID: merchant(), Acquirer: acquirer, Name: "Shop", Status: book.Active, Programs: []points.ProgramID{program, inn}}})
	return b
}

// trade carries out n commands: sales and what undoes them, transfers, groups,
// days that end, and what falls due then. Some are declined.
func (b *bazaar) trade(n int) {
	for range n {
		cmd := b.next()
		out := b.do(cmd)
		if cmd.Kind == book.KindCutOver && out.Reason.Approved() {
			b.date = cmd.Date
			for _, kind := range []book.Kind{book.KindExpireHolds, book.KindVestLots, book.KindExpireLots, book.KindDecay} {
				b.must(book.Command{Kind: kind, At: noon})
			}
		}
	}
}

func (b *bazaar) next() book.Command {
	kinds := []book.Kind{
		book.KindRedeem, book.KindRedeem, book.KindEarn, book.KindEarn, book.KindEarn, book.KindHold, book.KindHold, book.KindCapture, book.KindRelease,
		book.KindVoid, book.KindRefund, book.KindReverse, book.KindBalance, book.KindTransfer, book.KindTransfer, book.KindGroup, book.KindAdjust, book.KindSignOn, book.KindCutOver,
	}
	b.serial++
	kind := kinds[b.rng.IntN(len(kinds))]
	member := points.MemberID(1 + b.rng.IntN(members+1)) // The last one has no card.
	cmd := command(kind, b.rng.IntN(4), b.serial, member, points.Amount(1+b.rng.IntN(900)))
	cmd.Key.STAN %= 50 // Numbers come again, in another batch.
	cmd.Key.When = b.serial
	cmd.Program = []points.ProgramID{program, inn}[b.rng.IntN(2)]
	switch kind {
	case book.KindCapture, book.KindRelease, book.KindVoid, book.KindRefund, book.KindReverse:
		if len(b.asked) > 0 {
			original := b.asked[len(b.asked)-1-b.rng.IntN(min(8, len(b.asked)))]
			cmd.OriginalKey, cmd.Card, cmd.Program, cmd.Terminal = original.Key, original.Card, original.Program, original.Terminal
			cmd.Key.Source = cmd.Terminal
		}
		if kind != book.KindCapture && kind != book.KindRefund {
			cmd.Amount = 0
		}
	case book.KindBalance, book.KindSignOn:
		cmd.Amount = 0
	case book.KindTransfer:
		cmd.Program, cmd.ToCard = inn, card(points.MemberID(1+b.rng.IntN(members)))
	case book.KindAdjust:
		cmd = book.Command{Kind: kind, At: noon, Member: 1 + member%members, Program: program, Amount: cmd.Amount, Operator: "li", Second: "wang", Note: "case"}
	case book.KindGroup:
		take := command(book.KindRedeem, 0, b.serial, member, cmd.Amount)
		give := command(book.KindEarn, 0, b.serial, member, cmd.Amount)
		take.Program, give.Program, take.Key, give.Key = program, inn, points.TraceKey{}, points.TraceKey{}
		cmd = book.Command{Kind: kind, Key: cmd.Key, At: cmd.At, Acquirer: acquirer, Group: []book.Command{take, give}}
	case book.KindCutOver:
		cmd = book.Command{Kind: kind, At: noon, Date: b.date.AddDays(1 + b.rng.IntN(6)), TraceDays: 2}
	default:
	}
	b.asked = append(b.asked, cmd)
	return cmd
}

// journal is every record from the first on.
func (h *house) journal() []book.Record {
	h.tb.Helper()
	var all []book.Record
	require.NoError(h.tb, h.ledger.Scan(context.Background(), 1, h.ledger.Durable(), func(rec *book.Record) error {
		again, err := h.ledger.Record(rec.Outcome.Position)
		all = append(all, again)
		return err
	}))
	return all
}

// project opens a projection of h and closes it with the test.
func (h *house) project(opts ledger.ProjectionOptions) *ledger.Projection {
	h.tb.Helper()
	opts.Registerer = h.registry
	p, err := ledger.OpenProjection(context.Background(), h.ledger, opts)
	require.NoError(h.tb, err)
	h.tb.Cleanup(p.Close)
	return p
}

// caughtUp waits until p has taken in all that is durable.
func (h *house) caughtUp(p *ledger.Projection) {
	h.tb.Helper()
	require.Eventually(h.tb, func() bool { return p.AsOf() == h.ledger.Durable() || p.Err() != nil }, time.Minute, 100*time.Microsecond)
	require.NoError(h.tb, p.Err())
}

// wants is the obvious answer to a search: look at every record.
func wants(q ledger.FindQuery, rec *book.Record) bool {
	if (q.Dates.From != 0 && rec.Outcome.Date < q.Dates.From) || (q.Dates.To != 0 && rec.Outcome.Date > q.Dates.To) {
		return false
	}
	asked := append([]book.Command{rec.Command}, rec.Command.Group...)
	switch {
	case !q.Card.IsZero():
		return slices.ContainsFunc(asked, func(c book.Command) bool {
			return c.Card == q.Card || c.ToCard == q.Card || (c.Entry.Card != nil && c.Entry.Card.Token == q.Card)
		})
	case q.Terminal != points.TerminalID{}:
		return slices.ContainsFunc(asked, func(c book.Command) bool {
			return c.Terminal == q.Terminal && (q.STAN == nil || c.Key.STAN == *q.STAN)
		})
	case q.Member != 0:
		return rec.Outcome.Member == q.Member || moves(rec, q.Member) || slices.ContainsFunc(asked, func(c book.Command) bool {
			return c.Member == q.Member || c.ToMember == q.Member || (c.Entry.Member != nil && c.Entry.Member.ID == q.Member) || (c.Entry.Card != nil && c.Entry.Card.Member == q.Member)
		})
	default:
		return true
	}
}

func moves(rec *book.Record, member points.MemberID) bool {
	return slices.ContainsFunc(rec.Outcome.Postings, func(p book.Posting) bool { return isOf(p.Account, member) }) ||
		slices.ContainsFunc(rec.Outcome.Lots, func(m book.LotMove) bool { return isOf(m.Account, member) })
}

func isOf(key book.AccountKey, member points.MemberID) bool {
	return key.Party == uint64(member) && (key.Kind == book.MemberAccount || key.Kind == book.DebtAccount)
}

// finds checks a search, page by page, against a look at every record.
func (h *house) finds(p *ledger.Projection, all []book.Record, q ledger.FindQuery, limit int) {
	h.tb.Helper()
	var want, got []points.Position
	for i := range all {
		if wants(q, &all[i]) {
			want = append(want, all[i].Outcome.Position)
		}
	}
	if !q.Page.Oldest {
		slices.Reverse(want)
	}
	q.Page.Limit = limit
	for {
		found, err := p.Find(context.Background(), q)
		require.NoError(h.tb, err)
		require.LessOrEqual(h.tb, len(found.Records), limit)
		require.Equal(h.tb, h.ledger.Durable(), found.AsOf)
		for _, rec := range found.Records {
			require.Equal(h.tb, all[rec.Outcome.Position-1], rec)
			got = append(got, rec.Outcome.Position)
		}
		if q.Page.From = found.Next; found.Next == 0 {
			break
		}
		require.Len(h.tb, found.Records, limit, "a page with a next one is full")
	}
	require.Equal(h.tb, want, got, "%+v", q)
}

// balances checks a whole statement against the sums of the journal's postings.
func (h *house) balances(p *ledger.Projection, all []book.Record, member points.MemberID, limit int) {
	h.tb.Helper()
	type unit struct{ balance, reserved points.Amount }
	running := make(map[points.ProgramID]*unit)
	lines := h.statement(p, ledger.StatementQuery{Member: member, All: true, Page: ledger.Page{Oldest: true, Limit: limit}})
	at := 0
	for i := range all {
		rec := &all[i]
		before := make(map[points.ProgramID]unit)
		for _, code := range []points.ProgramID{program, inn} {
			if running[code] == nil {
				running[code] = new(unit)
			}
			before[code] = *running[code]
		}
		for _, posting := range rec.Outcome.Postings {
			if posting.Account.Kind == book.MemberAccount && posting.Account.Party == uint64(member) {
				running[posting.Account.Program].balance += posting.Amount
			}
		}
		for _, move := range rec.Outcome.Lots {
			if move.Held && move.Account.Party == uint64(member) {
				running[move.Account.Program].reserved -= move.Amount
			}
		}
		for ; at < len(lines) && lines[at].Position == rec.Outcome.Position; at++ {
			line := lines[at]
			if line.Program == 0 {
				require.Zero(h.tb, line.Amount)
				continue
			}
			now, then := running[line.Program], before[line.Program]
			require.Equal(h.tb, now.balance-then.balance, line.Amount, "position %d", line.Position)
			require.Equal(h.tb, now.reserved-then.reserved, line.Reserved, "position %d", line.Position)
			if line.Balanced {
				require.Equal(h.tb, now.balance, line.Balance, "position %d, %v: %v", line.Position, line.Kind, line.Reason)
			} else {
				require.Zero(h.tb, line.Amount, "position %d moved points and tells no balance", line.Position)
			}
			if line.Parts {
				require.Equal(h.tb, line.Balance, line.Free+line.Pending+line.Held, "position %d", line.Position)
			}
			before[line.Program] = *now
		}
		for code, then := range before {
			require.Equal(h.tb, then, *running[code], "position %d is not on the statement", rec.Outcome.Position)
		}
	}
	require.Len(h.tb, lines, at, "lines out of order")
	h.narrowed(p, all, lines, member, limit)
}

// narrowed checks statements of some dates and of one programme, without what
// moved nothing, against the part of the whole that they are.
func (h *house) narrowed(p *ledger.Projection, all []book.Record, whole []ledger.Line, member points.MemberID, limit int) {
	h.tb.Helper()
	from, to := genesis.AddDays(3), genesis.AddDays(20)
	for _, code := range []points.ProgramID{0, program, inn} {
		var want []ledger.Line
		for _, line := range whole {
			if (code == 0 || line.Program == code) && line.Date >= from && line.Date <= to && moves(&all[line.Position-1], member) {
				want = append(want, line)
			}
		}
		slices.SortStableFunc(want, func(a, b ledger.Line) int { return cmp.Compare(b.Position, a.Position) })
		got := h.statement(p, ledger.StatementQuery{Member: member, Program: code, Dates: ledger.Dates{From: from, To: to}, Page: ledger.Page{Limit: limit}})
		require.Equal(h.tb, want, got, "programme %d", code)
	}
}

// statement reads all pages.
func (h *house) statement(p *ledger.Projection, q ledger.StatementQuery) (lines []ledger.Line) {
	h.tb.Helper()
	for {
		s, err := p.Statement(context.Background(), q)
		require.NoError(h.tb, err)
		require.LessOrEqual(h.tb, len(s.Lines), max(q.Page.Limit, 2), "one record has a line in each of two programmes")
		lines = append(lines, s.Lines...)
		if q.Page.From = s.Next; s.Next == 0 {
			return lines
		}
		require.NotEmpty(h.tb, s.Lines)
	}
}

// agrees checks every kind of query against the journal.
func (h *house) agrees(p *ledger.Projection, limit int) {
	h.tb.Helper()
	h.caughtUp(p)
	all := h.journal()
	stan := points.STAN(17)
	some := ledger.Dates{From: genesis.AddDays(2), To: genesis.AddDays(15)}
	for _, oldest := range []bool{false, true} {
		page := ledger.Page{Oldest: oldest}
		for _, dates := range []ledger.Dates{{}, some, {From: genesis.AddDays(9)}, {To: genesis}, {From: 20990101}} {
			for member := points.MemberID(1); member <= members+1; member++ {
				h.finds(p, all, ledger.FindQuery{Card: card(member), Dates: dates, Page: page}, limit)
				h.finds(p, all, ledger.FindQuery{Member: member, Dates: dates, Page: page}, limit)
			}
			h.finds(p, all, ledger.FindQuery{Terminal: terminal(2), Dates: dates, Page: page}, limit)
			h.finds(p, all, ledger.FindQuery{Terminal: terminal(2), STAN: &stan, Dates: dates, Page: page}, limit)
			if dates != (ledger.Dates{}) {
				h.finds(p, all, ledger.FindQuery{Dates: dates, Page: page}, limit)
			}
		}
	}
	for member := points.MemberID(1); member <= members; member++ {
		h.balances(p, all, member, limit)
		owner, err := p.Owner(context.Background(), card(member))
		require.NoError(h.tb, err)
		require.Equal(h.tb, member, owner)
	}
}

// anyOptions are small shelves, and tables for a few records.
func (b *bazaar) anyOptions() ledger.ProjectionOptions {
	return ledger.ProjectionOptions{ShelfBits: uint8(1 + b.rng.IntN(8))}
}

// The projection answers as a look at every record does: while it follows, after
// a restart, and after it was dropped and made again.
func TestProjectionAgreesWithTheJournal(t *testing.T) {
	t.Parallel()
	for seed := range seeds(t, 8) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			b := openBazaar(build(t, vfs.NewMem(), ledger.Options{GroupMax: 8, CheckpointEvery: 100}), seed)
			opts := b.anyOptions()
			p := b.project(opts)
			b.trade(150)
			b.agrees(p, 1+b.rng.IntN(60))
			p.Close()
			b.close()
			b.open()
			p = b.project(opts)
			b.trade(50)
			b.agrees(p, 1+b.rng.IntN(60))
			require.NoError(t, p.Rebuild(context.Background()))
			b.agrees(p, 1_000)
			p.Close()
			b.close()
		})
	}
}

// mark is what the index in a store says of itself, as it stands on disk.
func (h *house) mark() (position points.Position, value []byte) {
	h.tb.Helper()
	db, err := store.Open(h.db)
	require.NoError(h.tb, err)
	last, _, ok, err := db.AtOrBefore(nil, store.Index, []byte("c"))
	require.NoError(h.tb, err)
	if ok {
		value, ok, err = db.Get(nil, store.Index, append(last[:5:5], 'h'))
		require.NoError(h.tb, err)
	}
	require.NoError(h.tb, db.Close())
	if !ok {
		return 0, nil
	}
	return points.Position(binary.BigEndian.Uint64(value[2:])), value
}

// lie changes the index behind everybody's back: all pages lose all entries but
// their first, and the last head becomes mark. The heads before it are not looked at.
func (h *house) lie(mark []byte) {
	h.tb.Helper()
	db, err := store.Open(h.db)
	require.NoError(h.tb, err)
	var pairs []store.Pair
	head := -1
	require.NoError(h.tb, db.Scan(context.Background(), store.Index, []byte("b"), func(key, _ []byte) (bool, error) {
		if key[0] != 'b' {
			return false, nil
		}
		if key[5] == 'h' {
			head = len(pairs)
		}
		pairs = append(pairs, store.Pair{Key: append([]byte{byte(store.Index)}, key...), Value: []byte{1}})
		return true, nil
	}))
	require.GreaterOrEqual(h.tb, head, 0)
	pairs[head].Value = mark
	require.NoError(h.tb, db.Ingest(context.Background(), pairs))
	require.NoError(h.tb, db.Close())
}

// A power cut at any moment leaves an index that is not ahead of the journal, and
// that is complete again after the next start.
func TestProjectionSurvivesPowerCuts(t *testing.T) {
	t.Parallel()
	behind, begun := 0, 0
	for seed := range seeds(t, 24) {
		disk := vfs.NewCrashableMem()
		b := openBazaar(build(t, disk, ledger.Options{GroupMax: 8, CheckpointEvery: 60}), seed)
		opts := b.anyOptions()
		p := b.project(opts)
		b.trade(1 + b.rng.IntN(80))
		after := b.at(disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: b.rng.IntN(101), RNG: b.rng}))
		p.Close()
		b.close()

		marked, _ := after.mark()
		after.open()
		require.LessOrEqual(t, marked, after.ledger.Durable(), "seed %d", seed)
		if marked > 0 {
			begun++
		}
		if marked < after.ledger.Durable() {
			behind++
		}
		p = after.project(opts)
		after.agrees(p, 200)
		p.Close()
		after.close()
	}
	require.Positive(t, behind, "no cut left the index behind the journal")
	require.Positive(t, begun, "no cut left an index")
}

// An index that goes further than the journal, or is of another journal, is
// dropped and made again: nothing of it is believed.
func TestProjectionOfAnotherJournalIsMadeAgain(t *testing.T) {
	t.Parallel()
	disk := vfs.NewCrashableMem()
	b := openBazaar(build(t, disk, ledger.Options{}), 1)
	opts := ledger.ProjectionOptions{ShelfBits: 3}
	p := b.project(opts)
	b.trade(20)
	b.caughtUp(p)
	p.Close()
	b.registry = prometheus.NewRegistry()
	older := b.at(disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: b.rng}))
	p = b.project(opts)
	b.trade(20)
	b.caughtUp(p)
	p.Close()
	b.close()

	_, ahead := b.mark()
	_, own := older.mark()
	other := slices.Clone(own)
	other[20] ^= 1 // in the hash
	beyond := slices.Clone(own)
	binary.BigEndian.PutUint64(beyond[2:], binary.BigEndian.Uint64(own[2:])-1) // in the middle of nothing
	shelves := slices.Clone(own)
	shelves[1]++
	for name, mark := range map[string][]byte{
		"other shelves": shelves, "an older form": own[1:], "ahead": ahead, "another hash": other, "another position": beyond, "cut short": own[:20],
	} {
		t.Run(name, func(t *testing.T) {
			again := older.at(older.fs.(*vfs.MemFS).CrashClone(vfs.CrashCloneCfg{}))
			again.tb = t
			again.lie(mark)
			again.open()
			p := again.project(opts)
			again.agrees(p, 1_000)
			p.Close()
			again.close()
		})
	}
	// A mark that is the journal's own is believed: the lie is seen, so the test can fail.
	older.lie(own)
	older.open()
	p = older.project(opts)
	older.caughtUp(p)
	want, all := 0, older.journal()
	for i := range all {
		if wants(ledger.FindQuery{Member: 3}, &all[i]) {
			want++
		}
	}
	found, err := p.Find(context.Background(), ledger.FindQuery{Member: 3})
	require.NoError(t, err)
	require.Less(t, len(found.Records), want)
	p.Close()
	older.close()
}

// A projection that lags says how far its answer is complete, tells nothing from
// beyond, and shows in the metric.
func TestLaggingProjectionSaysSo(t *testing.T) {
	t.Parallel()
	h := build(t, vfs.NewMem(), ledger.Options{})
	h.furnish(2)
	p := h.project(ledger.ProjectionOptions{})
	h.caughtUp(p)
	require.Zero(t, h.metric("lianfen_ledger_projection_lag_records"))
	p.Close() // From here on it follows no more.
	asOf := p.AsOf()
	for serial := range uint64(5) {
		h.must(command(book.KindRedeem, 1, serial, 1, 10))
	}
	require.InDelta(t, 5, h.metric("lianfen_ledger_projection_lag_records"), 0)
	s, err := p.Statement(context.Background(), ledger.StatementQuery{Member: 1})
	require.NoError(t, err)
	require.Equal(t, ledger.Extent{AsOf: asOf, Durable: asOf + 5}, s.Extent)
	require.Len(t, s.Lines, 1, "the earn alone")
	found, err := p.Find(context.Background(), ledger.FindQuery{Dates: ledger.Dates{From: genesis}, Page: ledger.Page{Limit: 1}})
	require.NoError(t, err)
	require.Equal(t, asOf, found.Records[0].Outcome.Position)
	require.ErrorIs(t, p.Rebuild(context.Background()), ledger.ErrClosed)

	h.registry = prometheus.NewRegistry()
	again := h.project(ledger.ProjectionOptions{})
	h.caughtUp(again)
	s, err = again.Statement(context.Background(), ledger.StatementQuery{Member: 1})
	require.NoError(t, err)
	require.Equal(t, ledger.Extent{AsOf: asOf + 5, Durable: asOf + 5}, s.Extent)
	require.Len(t, s.Lines, 6)
	require.Equal(t, points.Amount(9_950), s.Lines[0].Balance)
	again.Close()
	h.close()
	_, err = again.Statement(context.Background(), ledger.StatementQuery{Member: 1})
	require.ErrorIs(t, err, ledger.ErrClosed)
}

// What cannot be looked for is refused by a reason, and a page is never without bound.
func TestQueriesAreRefused(t *testing.T) {
	t.Parallel()
	h := build(t, vfs.NewMem(), ledger.Options{})
	h.furnish(1)
	p := h.project(ledger.ProjectionOptions{})
	h.caughtUp(p)
	stan := points.STAN(1)
	for _, q := range []ledger.FindQuery{
		{},
		{STAN: &stan, Dates: ledger.Dates{From: genesis}},
		{Card: card(1), Member: 1},
		{Card: card(1), Terminal: terminal(1)},
		{Member: 1, Page: ledger.Page{Limit: ledger.MaxPageLimit + 1}},
		{Member: 1, Page: ledger.Page{Limit: -1}},
	} {
		_, err := p.Find(context.Background(), q)
		require.Equal(t, points.FormatError, points.ReasonOf(err), "%+v", q)
	}
	_, err := p.Statement(context.Background(), ledger.StatementQuery{})
	require.Equal(t, points.FormatError, points.ReasonOf(err))
	_, err = p.Owner(context.Background(), card(9))
	require.Equal(t, points.UnknownCard, points.ReasonOf(err))
	s, err := p.Statement(context.Background(), ledger.StatementQuery{Member: 99})
	require.NoError(t, err)
	require.Empty(t, s.Lines)
	p.Close()
	h.close()
}

// What was answered is in the answer to the next question, however seldom the
// index is written.
func TestProjectionKnowsWhatWasAnswered(t *testing.T) {
	t.Parallel()
	b := openBazaar(build(t, vfs.NewMem(), ledger.Options{}), 1)
	p := b.project(ledger.ProjectionOptions{})
	for stan := range uint64(20) {
		out := b.must(command(book.KindEarn, 0, 1_000+stan, 1, 1))
		got, err := p.Statement(context.Background(), ledger.StatementQuery{Member: 1, Page: ledger.Page{Limit: 1}})
		require.NoError(t, err)
		require.Equal(t, out.Position, got.Lines[0].Position)
	}
	p.Close()
	b.close()
}

// What an issuer with a ledger of its own has decided is on the statement under the
// merchant, terminal and trace number of the request, which only its own record names.
func TestStatementSaysWhereATenderWasPaid(t *testing.T) {
	t.Parallel()
	b := openBazaar(build(t, vfs.NewMem(), ledger.Options{}), 1)
	p := b.project(ledger.ProjectionOptions{})
	b.put(book.Entry{Issuer: &book.Issuer{ID: 3001, Name: "Elsewhere", Status: book.Active, Link: "far"}})
	b.put(book.Entry{Program: &book.Program{ID: 903, Issuer: 3001, Name: "Far", Status: book.Active}})
	b.put(book.Entry{Merchant: &book.Merchant{ID: merchant(), Acquirer: acquirer, Name: "Shop", Status: book.Active, Programs: []points.ProgramID{program, 903}}})
	sale := command(book.KindRedeem, 3, 4_711, 1, 1_000_000)
	sale.Function, sale.Program, sale.Ask = points.Redeem, 0, true
	sale.Tender = []book.TenderTerm{{Program: program, Points: 1, Per: 1}, {Program: 903, Points: 1, Per: 1}}
	asked := b.must(sale)
	require.True(t, asked.Forwarded)
	told := b.must(book.Command{Kind: book.KindConclude, Original: asked.Position, Answer: points.Approved, At: sale.At})

	got, err := p.Statement(context.Background(), ledger.StatementQuery{Member: 1, Page: ledger.Page{Limit: 1}})
	require.NoError(t, err)
	line := got.Lines[0]
	require.Equal(t, told.Position, line.Position)
	require.Negative(t, line.Amount)
	require.Equal(t, points.Redeem, line.Function)
	require.Equal(t, merchant(), line.Merchant)
	require.Equal(t, terminal(3), line.Terminal)
	require.Equal(t, points.STAN(4_711), line.STAN)
	require.Equal(t, card(1), line.Card)
	p.Close()
	b.close()
}

// A block that goes over the ends of shelves, with a cut-over in it, is found by
// its dates also when the projection stopped in the middle of it.
func TestProjectionStopsInsideABlock(t *testing.T) {
	t.Parallel()
	h := build(t, vfs.NewMem(), ledger.Options{})
	h.furnish(members)
	var all sync.WaitGroup
	asks := make([]ledger.Ask, 200)
	for i := range asks {
		cmd := command(book.KindEarn, 0, uint64(1_000+i), 1, 5)
		if i == 10 {
			cmd = book.Command{Kind: book.KindCutOver, At: noon, Date: genesis.AddDays(1), TraceDays: 9}
		}
		all.Add(1)
		asks[i] = ledger.Ask{Command: &cmd, Done: func(*book.Outcome) { all.Done() }}
	}
	h.ledger.SubmitAll(asks)
	all.Wait()
	want := make(map[points.BusinessDate]int)
	for _, rec := range h.journal() {
		want[rec.Outcome.Date]++
	}
	opts := ledger.ProjectionOptions{ShelfBits: 2}
	for try := range 60 {
		p := h.project(opts)
		<-time.After(time.Duration(try) * 150 * time.Microsecond)
		p.Close() // Wherever it is.
		h.registry = prometheus.NewRegistry()
		p = h.project(opts)
		h.caughtUp(p)
		for date, count := range want {
			found, err := p.Find(context.Background(), ledger.FindQuery{Dates: ledger.Dates{From: date, To: date}, Page: ledger.Page{Limit: 1_000}})
			require.NoError(t, err)
			require.Len(t, found.Records, count, "try %d, date %v", try, date)
		}
		require.NoError(t, p.Rebuild(context.Background()))
		p.Close()
		h.registry = prometheus.NewRegistry()
	}
	h.close()
}

// stored waits until p has nothing left to do, and returns what it has in the store.
func (h *house) stored(p *ledger.Projection) (index []store.Pair) {
	h.tb.Helper()
	require.Eventually(h.tb, func() (ok bool) {
		index, ok = ledger.Stored(h.tb, p)
		return ok || p.Err() != nil
	}, time.Minute, 100*time.Microsecond)
	require.NoError(h.tb, p.Err())
	return index
}

// A power cut between any two commands leaves an index that, brought up to date and
// written on, is to the byte the one that is made from the first record on.
func TestIndexAfterAnyCutIsTheOneMadeAnew(t *testing.T) {
	t.Parallel()
	for seed := range seeds(t, 2) {
		disk := vfs.NewCrashableMem()
		b := openBazaar(build(t, disk, ledger.Options{GroupMax: 8, CheckpointEvery: 60}), seed)
		opts := b.anyOptions()
		p := b.project(opts)
		begun := 0
		for range 40 {
			b.trade(1)
			after := b.at(disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: b.rng.IntN(101), RNG: b.rng}))
			after.open()
			again := after.project(opts)
			if again.AsOf() > 0 {
				begun++
			}
			after.stored(again)
			for serial := range uint64(10) { // These are handed over.
				after.must(command(book.KindEarn, 5, serial, points.MemberID(1+serial%members), 1))
			}
			got := after.stored(again)
			require.NoError(t, again.Rebuild(context.Background()))
			require.Equal(t, after.stored(again), got, "seed %d", seed)
			require.NotEmpty(t, got)
			again.Close()
			after.close()
		}
		require.Positive(t, begun, "no cut left an index")
		p.Close()
		b.close()
	}
}

// Once the index has come to the journal's end it is handed what is written, reads
// nothing of it, and has it before anybody is answered.
func TestIndexIsHandedWhatIsWritten(t *testing.T) {
	t.Parallel()
	const read = "lianfen_ledger_projection_read_records_total"
	b := openBazaar(build(t, vfs.NewMem(), ledger.Options{}), 3)
	p := b.project(ledger.ProjectionOptions{ShelfBits: 8}) // Few shelves are filled meanwhile.
	b.stored(p)
	before := b.metric(read)
	require.InDelta(t, float64(b.ledger.Durable()), before, 0, "all that was written before")
	for range 300 {
		out := b.do(b.next())
		require.GreaterOrEqual(t, p.AsOf(), out.Position)
		if old := b.asked[b.rng.IntN(len(b.asked))]; out.Position%8 == 0 { // Answered again, in one group with what is new.
			b.serial++
			fresh := command(book.KindEarn, 7, b.serial, 1, 1)
			var both sync.WaitGroup
			both.Add(2)
			done := func(*book.Outcome) { both.Done() }
			b.ledger.SubmitAll([]ledger.Ask{{Command: &old, Done: done}, {Command: &fresh, Done: done}})
			both.Wait()
		}
	}
	got := b.stored(p)
	require.InDelta(t, before, b.metric(read), 0)
	b.agrees(p, 1_000)
	require.NoError(t, p.Rebuild(context.Background()))
	require.Equal(t, b.stored(p), got)
	p.Close()
	b.close()
}

// An index that is opened, dropped and held up while the writer is at work takes in
// every block once, whether it is handed over or read.
func TestIndexJoinsAWriterAtWork(t *testing.T) {
	t.Parallel()
	h := build(t, vfs.NewMem(), ledger.Options{GroupMax: 5})
	h.furnish(members)
	opts := ledger.ProjectionOptions{ShelfBits: 6}
	serial := uint64(1_000)
	work := func(rounds int) {
		for range rounds {
			var open sync.WaitGroup
			asks := make([]ledger.Ask, 20)
			for i := range asks {
				serial++
				cmd := command(book.KindEarn, int(serial%4), serial, points.MemberID(1+serial%members), 1)
				open.Add(1)
				asks[i] = ledger.Ask{Command: &cmd, Done: func(*book.Outcome) { open.Done() }}
			}
			h.ledger.SubmitAll(asks)
			open.Wait()
		}
	}
	for range 8 {
		var writing sync.WaitGroup
		writing.Go(func() { work(40) })
		h.registry = prometheus.NewRegistry()
		p := h.project(opts)
		h.caughtUp(p)
		require.NoError(t, p.Rebuild(context.Background()))
		writing.Wait()
		h.caughtUp(p)
		p.Close()
		work(1)
	}
	h.registry = prometheus.NewRegistry()
	p := h.project(opts)
	got := h.stored(p)
	found := 0
	for member := points.MemberID(1); member <= members; member++ {
		found += len(h.statement(p, ledger.StatementQuery{Member: member, Page: ledger.Page{Limit: 1_000}}))
	}
	require.EqualValues(t, members+serial-1_000, found, "an earn of each at first")
	require.NoError(t, p.Rebuild(context.Background()))
	require.Equal(t, h.stored(p), got)
	_, err := ledger.OpenProjection(context.Background(), h.ledger, opts)
	require.ErrorContains(t, err, "has a projection already")
	p.Close()
	h.close()
}

// Members whose numbers have the last 40 bits in common do not see each other's
// records.
func TestSubjectsWithTheSameBits(t *testing.T) {
	t.Parallel()
	h := build(t, vfs.NewMem(), ledger.Options{})
	h.furnish(3)
	twin := points.MemberID(3 + 1<<40)
	h.put(book.Entry{Member: &book.Member{ID: twin, Status: book.Active}})
	h.must(book.Command{Kind: book.KindOpen, Member: twin, Program: program, At: noon})
	for i, member := range []points.MemberID{3, twin, 3, twin, twin} {
		h.must(book.Command{Kind: book.KindAdjust, At: noon + points.Timestamp(i), Member: member, Program: program, Amount: 5, Operator: "li", Second: "wang", Note: "case"})
	}
	for _, bits := range []uint8{1, 17} { // In the store, in memory.
		h.registry = prometheus.NewRegistry()
		p := h.project(ledger.ProjectionOptions{ShelfBits: bits})
		h.stored(p)
		all := h.journal()
		for _, member := range []points.MemberID{3, twin} {
			for _, oldest := range []bool{false, true} {
				h.finds(p, all, ledger.FindQuery{Member: member, Page: ledger.Page{Oldest: oldest}}, 2)
			}
		}
		require.Len(t, h.statement(p, ledger.StatementQuery{Member: 3, Page: ledger.Page{Limit: 9}}), 3, "an earn and two adjustments")
		require.Len(t, h.statement(p, ledger.StatementQuery{Member: twin, Page: ledger.Page{Limit: 9}}), 3)
		p.Close()
	}
	h.close()
}

// A journal that was written before blocks were packed opens, answers as it did, and
// is written on.
func TestJournalOfPlainBlocks(t *testing.T) {
	t.Parallel()
	b := openBazaar(build(t, vfs.NewMem(), ledger.Options{CheckpointEvery: 50}), 5)
	b.trade(60)
	before := b.journal()
	b.close()
	db, err := store.Open(b.db)
	require.NoError(t, err)
	require.Greater(t, ledger.Plain(t, db), 50)
	require.NoError(t, db.Close())
	b.open()
	require.Equal(t, before, b.journal())
	again := b.do(before[len(before)-1].Command)
	require.Equal(t, plain(before[len(before)-1].Outcome), plain(again), "the same answer")
	b.trade(60)
	b.verify()
	p := b.project(ledger.ProjectionOptions{ShelfBits: 4})
	b.agrees(p, 1_000)
	p.Close()
	b.close()
}
