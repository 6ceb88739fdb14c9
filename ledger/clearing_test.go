package ledger_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// What is cleared while the ledger serves, is posted and lives through restarts and
// checkpoints is what a scan of the cycle's range makes of the records, and what a
// verification from the first record proves.
func TestClearingLivesThroughRestarts(t *testing.T) {
	h := build(t, vfs.NewMem(), ledger.Options{CheckpointEvery: 20})
	h.furnish(members)
	from := noon + 100*tariff.LeadTime
	put := func(e book.Entry) {
		h.must(book.Command{Kind: book.KindPut, At: noon, Operator: "li", Second: "wang", Entry: e})
	}
	put(book.Entry{Rate: &tariff.Rate{Terms: tariff.Terms{Program: program, Side: tariff.Clear, From: from, Num: 3, Den: 7}}})
	put(book.Entry{Fees: &tariff.Schedule{From: from, Rows: []tariff.FeeRow{{Kind: tariff.KindRDM, InterchangePPM: 5000, PPM: 3000, Min: 1}, {Kind: tariff.KindEAR, PPM: 1}}}})
	serial := uint64(100_000)
	ask := func(kind book.Kind, amount points.Amount, of points.Position) points.Position {
		serial++
		cmd := command(kind, 1, serial, 1, amount)
		cmd.At, cmd.Original = from+points.Timestamp(serial), of
		return h.must(cmd).Position
	}
	for i := range 30 {
		sale := ask(book.KindRedeem, points.Amount(10+i), 0)
		if i%3 == 0 {
			ask(book.KindRefund, points.Amount(3+i/3), sale)
			ask(book.KindRefund, 2, sale)
		}
		if i%10 == 9 {
			h.close()
			h.open()
		}
	}
	h.must(book.Command{Kind: book.KindCutOver, Date: genesis, Cycle: 2, At: from + 1_000_000})
	live := func() (view book.CycleView) {
		require.NoError(t, h.ledger.View(t.Context(), func(b *book.Book) (err error) {
			view, _, err = b.ClearedIn(genesis, 1)
			return err
		}))
		return view
	}
	registry := func() (r *book.Registry) {
		require.NoError(t, h.ledger.View(t.Context(), func(b *book.Book) error {
			r = b.Registry()
			return nil
		}))
		return r
	}()
	cut, err := h.ledger.Range(genesis, 1)
	require.NoError(t, err)
	reader := book.NewClearing(func(p points.Position, rec *book.Record) (err error) {
		*rec, err = h.ledger.Record(p)
		return err
	})
	net, items := make(map[tariff.Member]points.Amount), uint64(0)
	require.NoError(t, h.ledger.Scan(t.Context(), cut.First, cut.Last, func(rec *book.Record) error {
		list, err := reader.Items(rec)
		var v tariff.Valuation
		for i := range list {
			if tariff.Value(registry.Rates, registry.Fees, &list[i].Item, &v) != tariff.OK {
				continue
			}
			items++
			for _, leg := range v.Legs() {
				net[leg.Debtor] -= leg.Amount
				net[leg.Creditor] += leg.Amount
			}
		}
		return err
	}))
	require.Equal(t, items, live().Items)
	require.Equal(t, uint64(50), items)
	for _, p := range live().Positions {
		require.Equal(t, net[p.Member], p.Net(), "P9: %v", p.Member)
	}
	post := book.Command{Kind: book.KindPost, At: from + 2_000_000, Date: genesis, Cycle: 1, Run: [32]byte{1}, Manifest: [32]byte{2}, Moves: live().Moves, Operator: "li", Second: "wang"}
	first := h.must(post).Position
	h.verify()
	h.close()
	h.open()
	require.Equal(t, first, h.must(post).Position, "the same run, the same answer")
	require.Equal(t, first, live().Posted)
	h.close()
	db, err := store.Open(h.db)
	require.NoError(t, err)
	_, err = ledger.VerifyStore(t.Context(), db, func(uint64, uint64) {})
	require.NoError(t, err)
	require.NoError(t, db.Close())
}
