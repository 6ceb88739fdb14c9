package ledger

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// What a record tells by itself is checked without the book.
func TestPassage(t *testing.T) {
	posting := func(program points.ProgramID, amount points.Amount) book.Posting {
		return book.Posting{Account: book.AccountKey{Kind: book.HouseAccount, Program: program}, Amount: amount}
	}
	record := func(kind book.Kind, position points.Position, posted points.Timestamp, date points.BusinessDate, postings ...book.Posting) *book.Record {
		return &book.Record{
			Command: book.Command{Kind: kind},
			Outcome: book.Outcome{Reason: points.Approved, Position: position, Posted: posted, Date: date, Postings: postings},
		}
	}
	declined := record(book.KindCutOver, 2, 11, 20260302)
	declined.Outcome.Reason = points.ProgramClosed
	cycle := func(kind book.Kind, n uint8, date points.BusinessDate) *book.Record {
		r := record(kind, 2, 11, date)
		r.Outcome.Cycle = n
		return r
	}
	for name, next := range map[string]struct {
		invariant string // "": it passes
		record    *book.Record
	}{
		"in order":                 {"", record(book.KindEarn, 2, 11, 20260301, posting(901, 5), posting(901, -5))},
		"two programmes":           {"", record(book.KindGroup, 2, 11, 20260301, posting(901, 5), posting(902, 7), posting(901, -5), posting(902, -7))},
		"a cut-over":               {"", record(book.KindCutOver, 2, 11, 20260302)},
		"not zero":                 {"I1", record(book.KindEarn, 2, 11, 20260301, posting(901, 5), posting(901, -4))},
		"zero across programmes":   {"I1", record(book.KindGroup, 2, 11, 20260301, posting(901, 5), posting(902, -5))},
		"a position is left out":   {"I8", record(book.KindEarn, 3, 11, 20260301)},
		"a position twice":         {"I8", record(book.KindEarn, 1, 11, 20260301)},
		"posted at the same time":  {"I11", record(book.KindEarn, 2, 10, 20260301)},
		"posted earlier":           {"I11", record(book.KindEarn, 2, 9, 20260301)},
		"the date goes back":       {"I12", record(book.KindCutOver, 2, 11, 20260228)},
		"the date changes midway":  {"I12", record(book.KindEarn, 2, 11, 20260302)},
		"a cut-over that was none": {"I12", declined},
		"the next cycle":           {"", cycle(book.KindCutOver, 2, 20260301)},
		"a cycle is left out":      {"I12", cycle(book.KindCutOver, 3, 20260301)},
		"a cycle changes midway":   {"I12", cycle(book.KindEarn, 2, 20260301)},
		"a date begins with two":   {"I12", cycle(book.KindCutOver, 2, 20260302)},
	} {
		t.Run(name, func(t *testing.T) {
			var p passage
			require.NoError(t, p.check(record(book.KindCutOver, 1, 10, 20260301)))
			err := p.check(next.record)
			if next.invariant == "" {
				require.NoError(t, err)
				return
			}
			breach := new(BreachError)
			require.ErrorAs(t, err, &breach)
			require.Equal(t, next.invariant, breach.Invariant)
			require.Equal(t, next.record.Outcome.Position, breach.Position)
		})
	}
}
