package book_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// A cut-over forgets the first dates where they remember more keys than it says,
// and never the date before.
func TestCutOverBoundsTheKeys(t *testing.T) {
	for _, test := range []struct {
		limit uint32
		known [4]bool // whether a repeat from each of four dates gets its first answer
	}{
		{0, [4]bool{true, true, true, true}},
		{12, [4]bool{true, true, true, true}},
		{11, [4]bool{false, true, true, true}},
		{7, [4]bool{false, false, true, true}},
		{1, [4]bool{false, false, false, true}},
	} {
		d := newDesk(t, book.Options{})
		d.furnish(1, kindRules, kindRules)
		redeem := func(date, n uint32) book.Command {
			return at("T1", date*10+n, book.Command{Kind: book.KindRedeem, Card: cardOf(1), Program: air, Amount: 1})
		}
		for date := range test.known {
			for n := range uint32(3) {
				d.do(redeem(uint32(date), n))
			}
			cut := book.Command{Kind: book.KindCutOver, Date: d.book.Date().AddDays(1), TraceDays: 8}
			if date == len(test.known)-1 {
				cut.Limit = test.limit
			}
			d.must(cut)
		}
		for date, known := range test.known {
			last := points.Position(len(d.store.journal))
			d.do(redeem(uint32(date), 2))
			require.Equal(t, known, d.out.Replayed, "limit %d, date %d", test.limit, date)
			require.Equal(t, known, d.out.Position <= last)
		}
	}
}
