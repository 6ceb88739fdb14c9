package ledger_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// Names used by tests.
const (
	issuer   = points.IssuerID(1001)
	acquirer = points.AcquirerID(2001)
	program  = points.ProgramID(900)
	folder   = "data"
	genesis  = points.BusinessDate(20260301)
	noon     = points.Timestamp(1_772_366_400_000_000)
)

// house is a ledger over a file system of the test's own.
type house struct {
	tb     testing.TB
	fs     vfs.FS
	db     store.Options
	opts   ledger.Options
	ledger *ledger.Ledger

	registry *prometheus.Registry // of the ledger that is open
}

// build makes an empty store on fs and opens a ledger over it.
func build(tb testing.TB, fs vfs.FS, opts ledger.Options) *house {
	tb.Helper()
	h := &house{tb: tb, fs: fs, db: store.Options{Dir: folder, FS: fs, BlockCacheMB: 1}, opts: opts}
	h.create()
	return h
}

func (h *house) create() {
	h.tb.Helper()
	require.NoError(h.tb, store.Create(h.db))
	h.open()
}

// at is the same house over another file system: what a crash has left, say.
func (h *house) at(fs vfs.FS) *house {
	again := *h
	again.fs, again.db.FS, again.ledger = fs, fs, nil
	return &again
}

func (h *house) open() {
	h.tb.Helper()
	require.NoError(h.tb, h.tryOpen())
}

func (h *house) tryOpen() error {
	db, err := store.Open(h.db)
	if err != nil {
		return err
	}
	opts := h.opts
	h.registry = prometheus.NewRegistry()
	opts.Registerer = h.registry
	opts.Store, opts.Genesis, opts.GenesisAt = db, genesis, noon
	h.ledger, err = ledger.Open(context.Background(), opts)
	if err != nil {
		require.NoError(h.tb, db.Close())
	}
	return err
}

func (h *house) close() {
	h.tb.Helper()
	require.NoError(h.tb, h.ledger.Close(context.Background()))
}

func (h *house) verify() ledger.Report {
	h.tb.Helper()
	report, err := h.ledger.Verify(context.Background(), func(uint64, uint64) {})
	require.NoError(h.tb, err)
	return report
}

// do carries out a command and waits for its outcome.
func (h *house) do(cmd book.Command) book.Outcome {
	h.tb.Helper()
	out, err := h.ledger.Do(context.Background(), &cmd)
	require.NoError(h.tb, err)
	return out
}

func (h *house) must(cmd book.Command) book.Outcome {
	h.tb.Helper()
	out := h.do(cmd)
	require.True(h.tb, out.Reason.Approved(), "kind %d: %v", cmd.Kind, out.Reason)
	return out
}

func (h *house) put(e book.Entry) {
	h.tb.Helper()
	h.must(book.Command{Kind: book.KindPut, Entry: e, At: noon})
}

// furnish enters participants, a programme, terminals T0 to T9, and members 1 to
// n with a card, an account and 10,000 points each.
func (h *house) furnish(members points.MemberID) {
	h.tb.Helper()
	h.put(book.Entry{Issuer: &book.Issuer{ID: issuer, Name: "Issuer", Status: book.Active}})
	h.put(book.Entry{Acquirer: &book.Acquirer{ID: acquirer, Name: "Acquirer", Status: book.Active}})
	h.put(book.Entry{Program: &book.Program{ID: program, Issuer: issuer, Name: "Air", Status: book.Active, Rules: book.ProgramRules{ValidMonths: 12, ExpiryAtMonth: true}}})
	h.put(book.Entry{Merchant: &book.Merchant{ID: merchant(), Acquirer: acquirer, Name: "Shop", Status: book.Active, Programs: []points.ProgramID{program}}})
	for i := range 10 {
		h.put(book.Entry{Terminal: &book.Terminal{ID: terminal(i), Merchant: merchant(), Status: book.Active}})
	}
	h.enrol(1, members)
	for id := points.MemberID(1); id <= members; id++ {
		h.must(command(book.KindEarn, 9, uint64(id), id, 10_000))
	}
}

// enrol enters members first to last with cards and accounts, without waiting
// between them.
func (h *house) enrol(first, last points.MemberID) {
	h.tb.Helper()
	count := 3 * int(last-first+1)
	reasons := make(chan points.Reason, count)
	for id := first; id <= last; id++ {
		for _, cmd := range []book.Command{
			{Kind: book.KindPut, Entry: book.Entry{Member: &book.Member{ID: id, Status: book.Active}}, At: noon},
			{Kind: book.KindPut, Entry: book.Entry{Card: &book.Card{Token: card(id), Member: id, Status: book.Active}}, At: noon},
			{Kind: book.KindOpen, Member: id, Program: program, At: noon},
		} {
			h.ledger.Submit(&cmd, func(out *book.Outcome) { reasons <- out.Reason })
		}
	}
	for range count {
		require.Equal(h.tb, points.Approved, <-reasons)
	}
}

func merchant() points.MerchantID {
	id, err := points.ParseMerchantID("SHOP")
	if err != nil {
		panic(err)
	}
	return id
}

func terminal(i int) points.TerminalID {
	id, err := points.ParseTerminalID(fmt.Sprintf("T%d", i))
	if err != nil {
		panic(err)
	}
	return id
}

// card is a member's; in the index those of two neighbours look alike.
func card(id points.MemberID) points.CardToken {
	return points.CardToken{0xca, 3: byte(id / 2), 12: byte(id >> 24), 13: byte(id >> 16), 14: byte(id >> 8), 15: byte(id)}
}

func key(from int, serial uint64) points.TraceKey {
	return points.TraceKey{
		Acquirer: acquirer, Source: terminal(from), When: 1 + serial/1_000_000, STAN: points.STAN(serial % 1_000_000),
		Class: 2, Door: points.DoorTerminal,
	}
}

// command is what terminal from asks in its message serial.
func command(kind book.Kind, from int, serial uint64, member points.MemberID, amount points.Amount) book.Command {
	return book.Command{
		Kind: kind, Key: key(from, serial), At: noon + points.Timestamp(serial),
		Card: card(member), Program: program, Amount: amount,
		Acquirer: acquirer, Merchant: merchant(), Terminal: terminal(from),
	}
}

// note is text that makes a command's record long: blocks then span several of
// the log's pages, and a crash can keep some of them and lose others.
func note(length int) string { return strings.Repeat("n", length) }

// checkpoint is the position of the last checkpoint, 0 when there is none.
func (h *house) checkpoint() points.Position {
	return points.Position(h.metric("lianfen_ledger_checkpoint_position"))
}

// metric is the value of a gauge or counter of the ledger.
func (h *house) metric(name string) float64 {
	h.tb.Helper()
	families, err := h.registry.Gather()
	require.NoError(h.tb, err)
	for _, family := range families {
		if family.GetName() == name {
			m := family.GetMetric()[0]
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	require.Fail(h.tb, "no such metric", name)
	return 0
}

// plain is out without what does not matter: whether an empty list was ever
// longer, and whether it was said for the first time.
func plain(out book.Outcome) book.Outcome {
	if len(out.Postings) == 0 {
		out.Postings = nil
	}
	if len(out.Lots) == 0 {
		out.Lots = nil
	}
	if len(out.Others) == 0 {
		out.Others = nil
	}
	out.Replayed = false
	return out
}
