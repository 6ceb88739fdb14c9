package ledger

import (
	"context"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// Stored reports whether p has nothing left to do, and then what it has in the store.
func Stored(tb testing.TB, p *Projection) (index []store.Pair, ok bool) {
	tb.Helper()
	p.filing.Lock()
	busy := p.behind || len(p.full) > 0
	p.filing.Unlock()
	if busy || p.AsOf() != p.ledger.Durable() {
		return nil, false
	}
	require.NoError(tb, p.ledger.store.Scan(context.Background(), store.Index, nil, func(key, value []byte) (bool, error) {
		index = append(index, store.Pair{Key: slices.Clone(key), Value: slices.Clone(value)})
		return true, nil
	}))
	return index, true
}

// Misfile changes what p has in memory, if it has anything there.
func Misfile(p *Projection) bool {
	p.filing.Lock()
	defer p.filing.Unlock()
	for _, entries := range p.open.kinds {
		if len(entries) > 0 {
			entries[0] ^= 1 << subjectAt
			return true
		}
	}
	return false
}

// Plain rewrites the journal of s as a version before packing wrote it.
func Plain(tb testing.TB, s *store.Store) (blocks int) {
	tb.Helper()
	rewrite(tb, s, func(*book.Record) {}, func(open []byte, first points.Position, count int) ([]byte, hash) {
		blocks++
		binary.BigEndian.PutUint32(open[countAt:], uint32(count))
		sum := sealOf(first, open)
		return append(open, sum[:]...), sum
	})
	return blocks
}

// Tamper rewrites the journal of s as a forger would who knows the format: change
// sees every record and may change it, all blocks are sealed and chained again,
// and the checkpoint's mark and the anchor follow. So the chain is intact, and
// only who understands the records can tell.
func Tamper(tb testing.TB, s *store.Store, change func(*book.Record)) {
	tb.Helper()
	rewrite(tb, s, change, func(open []byte, first points.Position, count int) ([]byte, hash) {
		return endBlock(nil, open, first, count)
	})
}

// rewrite changes every record and ends every block in another way.
func rewrite(tb testing.TB, s *store.Store, change func(*book.Record), end func(open []byte, first points.Position, count int) ([]byte, hash)) {
	tb.Helper()
	mark, err := readCheckpoint(s)
	require.NoError(tb, err)
	var (
		rec    book.Record
		chain  hash
		forged []store.Pair
		last   store.Mark
	)
	err = blocks(context.Background(), s, 1, func(b *block) error {
		open := beginBlock(nil, chain)
		if err := b.visit(&rec, func(rec *book.Record) error {
			change(rec)
			open = book.AppendRecord(open, &rec.Command, &rec.Outcome)
			return nil
		}); err != nil {
			return err
		}
		var value []byte
		value, chain = end(open, b.first, b.count)
		forged = append(forged, store.Pair{Key: blockKey(b.first), Value: value})
		last = store.Mark{Position: uint64(b.last()), Hash: chain}
		if last.Position == mark.Position {
			mark.Hash = chain
		}
		return nil
	})
	require.NoError(tb, err)
	for _, pair := range forged {
		Overwrite(tb, s, store.Journal, pair.Key, pair.Value)
	}
	Overwrite(tb, s, store.Checkpoint, nil, encodeMark(mark))
	require.NoError(tb, s.ResetAnchor(last))
}

// Overwrite puts a value into the store behind the ledger's back.
func Overwrite(tb testing.TB, s *store.Store, prefix store.Prefix, key, value []byte) {
	tb.Helper()
	batch, err := s.Start(prefix, key, value)
	require.NoError(tb, err)
	require.NoError(tb, batch.Wait())
}

// End is the mark of the journal's last block.
func End(s *store.Store) (store.Mark, error) {
	return endOf(s)
}
