package ledger

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// blockOf is a block of one record as it stands in a journal.
func blockOf(t *testing.T, record []byte) *block {
	t.Helper()
	value, _ := endBlock(nil, append(beginBlock(nil, hash{}), record...), 1, 1)
	b, err := readBlock(blockKey(1), value)
	require.NoError(t, err)
	return &b
}

// A change of the card key exchanges the secret of each operator, ends where one cannot be,
// and refuses a record that would be written otherwise than it stands there.
func TestRewriteIsOfTokensAlone(t *testing.T) {
	put := book.Command{
		Kind: book.KindPut, Edition: book.Edition, At: 5,
		Entry: book.Entry{Operator: &book.Operator{Name: "li", Roles: book.RoleAdmin, Status: book.Active, Password: "hash", Secret: "old"}},
	}
	record := book.AppendRecord(nil, &put, &book.Outcome{Position: 1, Posted: 5, Date: 20260302, Reason: points.Approved})
	foreign := errors.New("not of this key")
	rewritten := func(record []byte, secret func(string, *string) error) (string, error) {
		r := retokening{exchange: Exchange{Card: func(*points.CardToken) error { return nil }, Secret: secret}}
		err := r.rewrite(blockOf(t, record))
		if err != nil {
			return "", err
		}
		b, err := readBlock(blockKey(1), r.pairs[0].Value)
		require.NoError(t, err)
		var kept string
		require.NoError(t, b.visit(new(book.Record), func(rec *book.Record) error {
			kept = rec.Command.Entry.Operator.Secret
			return nil
		}))
		return kept, nil
	}
	exchanged := func(operator string, sealed *string) error {
		require.Equal(t, []string{"li", "old"}, []string{operator, *sealed})
		*sealed = "new"
		return nil
	}
	kept, err := rewritten(record, exchanged)
	require.NoError(t, err)
	require.Equal(t, "new", kept)
	_, err = rewritten(record, func(string, *string) error { return foreign })
	require.ErrorIs(t, err, foreign)
	require.ErrorContains(t, err, "position 1")

	size, n := binary.Uvarint(record)
	longer := append([]byte{byte(size)&0x7F | 0x80, byte(size>>7) | 0x80, 0}, record[n:]...) // The same number, in another way.
	var again book.Record
	_, err = book.DecodeRecord(longer, &again)
	require.NoError(t, err)
	_, err = rewritten(longer, exchanged)
	require.ErrorContains(t, err, "written otherwise")
}
