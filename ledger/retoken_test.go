package ledger_test

import (
	"context"
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// turned is a token under another key: no card of the tests has it.
func turned(token points.CardToken) points.CardToken {
	for i := range token {
		token[i] ^= 0xA5
	}
	return token
}

// retokened makes a new store of from's journal with exchanged tokens.
func retokened(t *testing.T, from *store.Store, exchange func(*points.CardToken) error) (*house, ledger.Retokened, error) {
	t.Helper()
	h := &house{tb: t, db: store.Options{Dir: "retokened", FS: vfs.NewMem(), BlockCacheMB: 1}}
	require.NoError(t, store.Create(h.db))
	to, err := store.Open(h.db)
	require.NoError(t, err)
	done, err := ledger.Retoken(context.Background(), from, to, ledger.Exchange{Card: exchange, Secret: func(string, *string) error { return nil }}, []byte{1, 2, 3}, noProgress)
	require.NoError(t, to.Close())
	return h, done, err
}

// Under new tokens the journal has the same records but for them, proves, goes on, and
// knows a card by its new token only; exchanging them back gives the old chain, bit by bit.
func TestRetokenChangesNothingButTokens(t *testing.T) {
	s := tell(t)
	db := s.copied(t, func(*store.Store) {})
	old, err := ledger.OpenArchive(db)
	require.NoError(t, err)
	turn := func(token *points.CardToken) error { *token = turned(*token); return nil }
	h, done, err := retokened(t, db, turn)
	require.NoError(t, err)
	require.Positive(t, done.Cards)
	require.Equal(t, old.End(), done.From)
	require.Equal(t, done.From.Position, done.To.Position)
	require.NotEqual(t, done.From.Hash, done.To.Hash)

	to, err := store.Open(h.db)
	require.NoError(t, err)
	check, ok, err := to.Get(nil, store.KeyCheck, nil)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, []byte{1, 2, 3}, check)
	fresh, err := ledger.OpenArchive(to)
	require.NoError(t, err)
	tokens := uint64(0)
	for p := points.Position(1); p <= old.Durable(); p++ {
		before, err := old.Record(p)
		require.NoError(t, err)
		after, err := fresh.Record(p)
		require.NoError(t, err)
		before.Command.EachCard(func(token *points.CardToken) { tokens++; *token = turned(*token) })
		require.Equal(t, before, after)
	}
	require.Equal(t, tokens, done.Cards)
	back, again, err := retokened(t, to, turn)
	require.NoError(t, err)
	require.Equal(t, old.End(), again.To, "the old chain")
	require.NoError(t, to.Close())
	want, _ := digestOf(t, s.ledger)
	back.open()
	got, _ := digestOf(t, back.ledger)
	require.Equal(t, want, got)
	back.close()

	h.open()
	require.Equal(t, done.To.Position, uint64(h.verify().Position))
	known := command(book.KindRedeem, 0, 300, 1, 1)
	require.Equal(t, points.UnknownCard, h.do(known).Reason, "by its old token nobody knows the card")
	known = command(book.KindRedeem, 0, 301, 1, 1)
	known.Card = turned(known.Card)
	h.must(known)
	h.close()
	s.close()
}

// The new store is new, and holds its end in an anchor.
func TestRetokenWritesANewStore(t *testing.T) {
	s := tell(t)
	db := s.copied(t, func(*store.Store) {})
	h, done, err := retokened(t, db, func(*points.CardToken) error { return nil })
	require.NoError(t, err)
	to, err := store.Open(h.db)
	require.NoError(t, err)
	anchor, err := to.Anchor()
	require.NoError(t, err)
	require.Equal(t, done.To, anchor.Mark())
	require.NoError(t, anchor.Close())
	keep := ledger.Exchange{Card: func(*points.CardToken) error { return nil }, Secret: func(string, *string) error { return nil }}
	_, err = ledger.Retoken(context.Background(), db, to, keep, nil, noProgress)
	require.ErrorContains(t, err, "has records")
	require.NoError(t, to.Close())
	s.close()
}

// A token that the old key has not made ends the work, and the position is named.
func TestRetokenStopsAtAForeignToken(t *testing.T) {
	s := tell(t)
	defer s.close()
	db := s.copied(t, func(*store.Store) {})
	foreign := errors.New("not of this key")
	left := 3
	_, _, err := retokened(t, db, func(*points.CardToken) error {
		if left--; left < 0 {
			return foreign
		}
		return nil
	})
	require.ErrorIs(t, err, foreign)
	require.ErrorContains(t, err, "position ")
}

// A journal that ends before its anchor is not taken for whole.
func TestRetokenWantsAWholeJournal(t *testing.T) {
	s := tell(t)
	defer s.close()
	gone := s.copied(t, func(db *store.Store) {
		require.NoError(t, db.ResetAnchor(endOf(t, db)))
		remove(t, db, []byte{0, 0, 0, 0, 0, 0, 0, byte(s.last)})
	})
	_, _, err := retokened(t, gone, func(*points.CardToken) error { return nil })
	require.ErrorIs(t, err, ledger.ErrBehindAnchor)
}
