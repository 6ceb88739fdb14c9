package book_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
)

// What is undone on the date of its original does not count for that date's limits
// any more, in whichever order a hold and its capture are undone.
func TestUndoneCapturesDoNotCount(t *testing.T) {
	hold, capture := keyOf("T1", 2, 2), keyOf("T1", 3, 2)
	for _, undo := range [][]book.Command{
		{{Kind: book.KindReverse, OriginalKey: hold}, {Kind: book.KindReverse, OriginalKey: capture}},
		{{Kind: book.KindReverse, OriginalKey: hold}, {Kind: book.KindVoid, OriginalKey: capture}},
		{{Kind: book.KindReverse, OriginalKey: capture}, {Kind: book.KindReverse, OriginalKey: hold}},
		{{Kind: book.KindVoid, OriginalKey: capture}, {Kind: book.KindReverse, OriginalKey: hold}},
	} {
		d := newDesk(t, book.Options{})
		d.furnish(1, strictRules, kindRules)
		d.must(at("T1", 1, book.Command{Kind: book.KindEarn, Card: cardOf(1), Program: air, Amount: 500}))
		d.must(at("T1", 2, book.Command{Kind: book.KindHold, Card: cardOf(1), Program: air, Amount: 100}))
		d.must(at("T1", 3, book.Command{Kind: book.KindCapture, Card: cardOf(1), OriginalKey: hold, Amount: 40}))
		for i, cmd := range undo {
			d.must(at("T1", uint32(4+i), cmd))
		}
		view, _, err := d.book.Account(book.AccountKey{Kind: book.MemberAccount, Program: air, Party: 1})
		require.NoError(t, err)
		require.Equal(t, "500 0 0 0", fmt.Sprint(view.Free, view.Held, view.Redeemed, view.Redemptions), "%v", undo)
	}
}
