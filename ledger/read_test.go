package ledger_test

import (
	"encoding/hex"
	"errors"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// Wherever a span begins and ends within blocks, Scan gives its records, whole, and
// decodes no others; and a reader that keeps blocks gives each as Record does.
func TestSpansAndSingleRecords(t *testing.T) {
	h := build(t, vfs.NewMem(), ledger.Options{})
	h.furnish(members)
	for round := range uint64(12) {
		var group []book.Command
		for n := range 7 * round {
			group = append(group, command(book.KindEarn, 3, 1000*round+n, 1, points.Amount(1+n)))
		}
		h.together(group)
	}
	h.must(command(book.KindEarn, 3, 99_999, 1, 1))
	all := h.journal()
	end := h.ledger.Durable()
	for from := points.Position(1); from <= end; from += 3 {
		for _, length := range []points.Position{1, 2, 30, 200} {
			next := from
			require.NoError(t, h.ledger.Scan(t.Context(), from, from+length-1, func(rec *book.Record) error {
				require.Equal(t, text(&all[next-1]), text(rec))
				next++
				return nil
			}))
			require.Equal(t, min(from+length, end+1), next, "%d positions from %d", length, from)
		}
	}
	fault := errors.New("enough seen")
	require.ErrorIs(t, h.ledger.Scan(t.Context(), 1, end, func(rec *book.Record) error {
		if rec.Outcome.Position == end {
			return fault // Of the last record, too.
		}
		return nil
	}), fault)

	records, rec := h.ledger.Records(), book.Record{}
	for step := points.Position(1); step <= end; step += end/5 + 1 {
		for position := end; position > step; position -= step {
			require.NoError(t, records.Read(position, &rec))
			require.Equal(t, text(&all[position-1]), text(&rec))
		}
	}
	for _, position := range []points.Position{0, end + 1} {
		require.Equal(t, points.UnknownOriginal, points.ReasonOf(records.Read(position, &rec)), "position %d", position)
	}
	h.close()
	require.ErrorIs(t, records.Read(1, &rec), ledger.ErrClosed)
}

// text is a record as it is written: slices that are used again are as good as new ones.
func text(rec *book.Record) string {
	return hex.EncodeToString(book.AppendRecord(nil, &rec.Command, &rec.Outcome))
}
