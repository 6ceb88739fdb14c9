package ledger_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/points"
)

// rows are the index's own, ascending, as they stand in the store.
func rows(t *testing.T, db *store.Store) (all []store.Pair) {
	t.Helper()
	require.NoError(t, db.Scan(context.Background(), store.Index, nil, func(key, value []byte) (bool, error) {
		all = append(all, store.Pair{Key: append([]byte{byte(store.Index)}, key...), Value: slices.Clone(value)})
		return true, nil
	}))
	return all
}

// Whatever the projection has written is proved, whatever shelves it has and however far
// behind it is, live and offline; and every row that is taken out, changed or added is
// found, at its record.
func TestVerifyProvesTheIndex(t *testing.T) {
	t.Parallel()
	for seed := range seeds(t, 6) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			b := openBazaar(build(t, vfs.NewMem(), ledger.Options{GroupMax: 8, CheckpointEvery: 60}), seed)
			opts := ledger.ProjectionOptions{ShelfBits: uint8(1 + seed%5)}
			p := b.project(opts)
			for range 4 {
				b.trade(30)
				before := p.AsOf()
				marked, err := p.Verify(t.Context(), noProgress)
				require.NoError(t, err)
				require.GreaterOrEqual(t, marked, before)
			}
			b.stored(p)
			p.Close()
			b.close()

			db, err := store.Open(b.db)
			require.NoError(t, err)
			marked, err := ledger.VerifyIndex(t.Context(), db, noProgress)
			require.NoError(t, err)
			head, _ := ledger.End(db)
			require.Positive(t, marked)
			require.Greater(t, marked+2<<opts.ShelfBits+8, points.Position(head.Position), "less than a shelf and a block are missing")
			all := rows(t, db)
			for range 40 {
				b.breaks(t, db, all, opts.ShelfBits)
			}
			_, err = ledger.VerifyIndex(t.Context(), db, noProgress)
			require.NoError(t, err, "what was broken was not put back")
			page := slices.IndexFunc(all, func(row store.Pair) bool { return row.Key[1] == 'b' && row.Key[6] == 'm' })
			require.NoError(t, db.Ingest(t.Context(), []store.Pair{{Key: all[page].Key}}))
			require.NoError(t, db.Close())

			// While it serves, stored and in memory.
			b.open()
			p = b.project(opts)
			for range 2 {
				_, err = p.Verify(t.Context(), noProgress)
				damage := new(ledger.IndexError)
				require.ErrorAs(t, err, &damage)
				require.NoError(t, p.Rebuild(t.Context()))
				b.stored(p)
				marked, err = p.Verify(t.Context(), noProgress)
				require.NoError(t, err)
				require.Equal(t, b.ledger.Durable(), marked)
				for !ledger.Misfile(p) { // The open shelf may be empty.
					b.trade(1)
				}
			}
			p.Close()
			b.close()
		})
	}
}

// breaks damages one row of an index, sees it found, and puts it back.
func (b *bazaar) breaks(t *testing.T, db *store.Store, all []store.Pair, bits uint8) {
	t.Helper()
	kindOf := func(row store.Pair) byte {
		if len(row.Key) == 7 && row.Key[6] == 'h' {
			return 'h'
		}
		return row.Key[1]
	}
	kind := []byte("bdoh")[b.rng.IntN(4)] // Of shelves, dates, owners; and the marks.
	row := all[b.rng.IntN(len(all))]
	for kindOf(row) != kind {
		row = all[b.rng.IntN(len(all))]
	}
	broken, how := store.Pair{Key: row.Key}, "taken out"
	added := store.Pair{}
	switch b.rng.IntN(3) {
	case 0:
		broken.Value, how = slices.Clone(row.Value), "changed"
		broken.Value[b.rng.IntN(len(row.Value))] ^= 1 << b.rng.IntN(8)
	case 1:
		added, how = store.Pair{Key: slices.Clone(row.Key), Value: row.Value}, "added"
		added.Key[len(added.Key)-1-b.rng.IntN(8)%len(added.Key[1:])] ^= 1 << b.rng.IntN(8)
		if slices.ContainsFunc(all, func(r store.Pair) bool { return string(r.Key) == string(added.Key) }) {
			return // It is another row.
		}
		broken = row
	default:
		if kind == 'h' {
			return // The mark of a full shelf says nothing that the last one does not say.
		}
	}
	pairs := []store.Pair{broken}
	if how == "added" {
		pairs = []store.Pair{added}
	}
	require.NoError(t, db.Ingest(t.Context(), pairs))
	_, err := ledger.VerifyIndex(t.Context(), db, noProgress)
	damage := new(ledger.IndexError)
	require.ErrorAs(t, err, &damage, "row %x was %s: %x", row.Key, how, pairs[0])
	require.ErrorContains(t, err, "lianfen ledger reindex")
	if how == "taken out" && row.Key[1] == 'b' {
		first := binary.BigEndian.Uint64(row.Key[7:])
		require.Equal(t, points.Position(binary.BigEndian.Uint32(row.Key[2:]))<<bits|points.Position(first&(1<<24-1)>>1), damage.Position)
	}
	pairs[0].Value = row.Value
	if how == "added" {
		pairs[0].Value = nil
	}
	require.NoError(t, db.Ingest(t.Context(), pairs))
}

// The proof goes on beside the projection, also when the index is dropped and made again
// meanwhile.
func TestVerifyIndexWhileItIsMade(t *testing.T) {
	t.Parallel()
	b := openBazaar(build(t, vfs.NewMem(), ledger.Options{GroupMax: 8}), 3)
	p := b.project(b.anyOptions())
	b.trade(100)
	done := make(chan error, 1)
	go func() {
		for range 20 {
			if err := p.Rebuild(context.Background()); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for proved := 0; ; proved++ {
		_, err := p.Verify(t.Context(), noProgress)
		require.NoError(t, err)
		select {
		case err := <-done:
			require.NoError(t, err)
			b.caughtUp(p)
			marked, err := p.Verify(t.Context(), noProgress)
			require.NoError(t, err)
			require.Equal(t, b.ledger.Durable(), marked)
			p.Close()
			b.close()
			return
		default:
		}
	}
}
