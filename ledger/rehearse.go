package ledger

import (
	"context"
	"fmt"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// Journal is what is rehearsed: that of a ledger that serves, of a store at rest, or of
// nothing but memory.
type Journal interface {
	Scan(ctx context.Context, from, to points.Position, visit func(*book.Record) error) error
	Record(position points.Position) (book.Record, error)
}

var (
	_ Journal = (*Ledger)(nil)
	_ Journal = (*Archive)(nil)
)

// Rehearse carries out the commands at positions from to to again, in a copy, as if set
// had been the rules on risk, and calls visit with each record and with what the command
// comes to now; both are valid during the call. What lies before from is booked as it
// was, and set counts in it without deciding: windows are full when from begins. What
// follows from another decision follows in the copy too: a void of a sale that is
// declined now is declined, and the points are there for the next one.
//
// It reads the journal from its first record on, and keeps in memory the whole state and
// the records of the range.
func Rehearse(ctx context.Context, j Journal, set *book.RiskRules, from, to points.Position, visit func(rec *book.Record, now *book.Outcome) error) error {
	r := rehearsal{journal: j, from: from}
	r.book = book.New(book.Options{}, &r)
	if err := r.book.Rehearse(set); err != nil {
		return err
	}
	if from == 1 {
		r.book.Decide()
	}
	return j.Scan(ctx, 1, to, func(rec *book.Record) error {
		if rec.Outcome.Position < from {
			if err := r.book.Replay(rec); err != nil {
				return fmt.Errorf("ledger: rehearse: %w", err)
			}
			if rec.Outcome.Position == from-1 {
				r.book.Decide()
			}
			return nil
		}
		return r.again(rec, visit)
	})
}

// rehearsal is one run of [Rehearse], and the source of its book.
type rehearsal struct {
	journal Journal
	from    points.Position
	book    *book.Book
	out     book.Outcome
	written [][]byte // the copy's records from from on
}

// State has nothing: the copy begins with the first record.
func (r *rehearsal) State([]byte) ([]byte, bool, error) { return nil, false, nil }

// Record reads the journal, from from on the copy's own.
func (r *rehearsal) Record(position points.Position, rec *book.Record) (err error) {
	if position < r.from {
		*rec, err = r.journal.Record(position)
		return err
	}
	if at := int(position - r.from); at < len(r.written) { //nolint:gosec // positions of one range.
		_, err = book.DecodeRecord(r.written[at], rec)
		return err
	}
	return fmt.Errorf("ledger: rehearse: record %d has not come yet", position)
}

// again carries out the command of rec once more. Positions stay what they were, since
// commands name each other by them: where one would not be written now, something takes
// its place that changes nothing.
func (r *rehearsal) again(rec *book.Record, visit func(*book.Record, *book.Outcome) error) error {
	position := rec.Outcome.Position
	if err := r.book.Apply(position, &rec.Command, &r.out); err != nil {
		return fmt.Errorf("ledger: rehearse: %w", err)
	}
	if err := visit(rec, &r.out); err != nil {
		return err
	}
	if r.out.Position == position && !r.out.Replayed {
		r.written = append(r.written, book.AppendRecord(nil, &rec.Command, &r.out))
		return nil
	}
	place := book.Command{Kind: book.KindBalance, At: rec.Command.At, Key: points.TraceKey{When: uint64(position), Source: points.TerminalID{'n', 'o', 't', 'h', 'i', 'n', 'g'}}}
	if err := r.book.Apply(position, &place, &r.out); err != nil {
		return fmt.Errorf("ledger: rehearse: %w", err)
	}
	if r.out.Position != position || r.out.Replayed {
		return fmt.Errorf("ledger: rehearse: nothing takes the place of record %d", position)
	}
	r.written = append(r.written, book.AppendRecord(nil, &place, &r.out))
	return nil
}
