package ledger

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// IndexError says where the index of statements and searches is not what the journal
// makes of it. Nothing is lost: the index is made from the journal, and made again.
type IndexError struct {
	Position points.Position `json:"position"` // of the record that the row is of; 0: of none
	Found    string          `json:"found"`
	Expected string          `json:"expected"`

	cause error // what the store said; may be nil
}

// Error names the record, what was found, what was expected and the way out.
func (e *IndexError) Error() string {
	where := ""
	if e.Position != 0 {
		rrn := e.Position.RRN()
		where = fmt.Sprintf(" at position %d (RRN %s)", e.Position, rrn[:])
	}
	return fmt.Sprintf("ledger: verify: the index of statements is damaged%s: found %s; expected %s; the journal is in order: rebuild the index with `lianfen ledger reindex`", where, e.Found, e.Expected)
}

// Unwrap returns what lies behind it, if anything does.
func (e *IndexError) Unwrap() error { return e.cause }

// Verify proves the index against the journal, which has to be in order itself: every
// row is one that a record makes, and every record up to the index's mark has its
// rows. Shelf by shelf, what the journal makes of it is held beside what is there, so
// that it needs memory for one shelf. It waits for what is durable now as a query does,
// and returns the position of the mark, 0 when there
// is no index yet, and an [*IndexError] for the first row that is wrong or missing.
func (p *Projection) Verify(ctx context.Context, progress func(done, total uint64)) (marked points.Position, err error) {
	p.reach(ctx)
	for {
		drops := p.drops.Load()
		p.mu.RLock() // So that nothing is dropped between the mark and the rows.
		pinned := sync.OnceFunc(p.mu.RUnlock)
		proof := indexProof{store: p.ledger.store, progress: progress, pinned: pinned}
		proof.goal = func() (points.Position, error) { return p.ledger.Durable(), nil }
		err = p.whileOpen(func() error {
			defer pinned()
			marked, err = proof.run(ctx)
			return err
		})
		pinned()
		if err == nil || (p.drops.Load() == drops && !errors.Is(err, errMoved)) {
			return marked, err
		}
	}
}

// VerifyIndex proves the index of a store that nobody serves as [Projection.Verify]
// does; its journal has been proved before. The store may be open read-only.
func VerifyIndex(ctx context.Context, s *store.Store, progress func(done, total uint64)) (marked points.Position, err error) {
	proof := indexProof{store: s, progress: progress, pinned: func() {}}
	proof.goal = func() (points.Position, error) { return lastPosition(s) }
	return proof.run(ctx)
}

// indexProof is one run over all rows of the index, which come ascending: the shelves,
// then the dates, then the owners of cards.
type indexProof struct {
	store    *store.Store
	progress func(done, total uint64)
	pinned   func()                          // the rows are those of a moment from here on
	goal     func() (points.Position, error) // the end of the journal; asked once the rows are pinned

	mark       points.Position     // every record up to here has all its rows
	date       points.BusinessDate // of the mark
	end        points.Position
	checkpoint points.Position // the state knows the cards that were put up to here
	keys       indexer
	began      bool
	fault      error // found while a row was looked at

	loaded bool         // want is of shelf
	shelf  uint32       // the one whose rows are looked at
	want   []store.Pair // rows that the journal gives it, ascending
	next   int          // first of want that was not met

	dates    []dateRow // that the journal gives
	nextDate int
	put      map[points.CardToken]points.MemberID // cards that the checkpoint does not know
}

type dateRow struct {
	date  points.BusinessDate
	first points.Position
}

func (v *indexProof) run(ctx context.Context) (points.Position, error) {
	v.put = make(map[points.CardToken]points.MemberID)
	value, ok, err := indexHead(v.store)
	if err != nil {
		return 0, v.asDamage(err)
	}
	mark, date, shelfBits, headed := decodeHead(value)
	if ok && len(value) != headSize {
		return 0, nil // Of a layout without shelves: the next start makes it again.
	}
	headed = headed && ok
	v.mark, v.date, v.keys.shelfBits = points.Position(mark.Position), date, shelfBits
	err = v.store.Scan(ctx, store.Index, nil, func(key, value []byte) (bool, error) {
		switch {
		case !headed:
			v.fault = v.unmarked(key)
		case shelfBits < 1 || shelfBits > 32:
			v.fault = &IndexError{Found: fmt.Sprintf("a mark of shelves of 2^%d records", shelfBits), Expected: "1 to 32 bits"}
		default:
			v.fault = v.visit(ctx, mark, key, value)
		}
		return true, v.fault
	})
	switch {
	case v.fault != nil:
		return 0, v.fault
	case err != nil:
		return 0, v.asDamage(err)
	case !v.began:
		return 0, nil // There is no row, and no mark.
	}
	return v.mark, v.finish(ctx)
}

// unmarked is the fault of rows that no mark counts; [errMoved] where the index has
// just been begun.
func (v *indexProof) unmarked(key []byte) error {
	if value, ok, err := indexHead(v.store); err != nil {
		return v.asDamage(err)
	} else if _, _, _, headed := decodeHead(value); ok && headed && !v.began {
		return errMoved
	}
	return &IndexError{Found: v.row(key), Expected: "a mark on the last shelf that says how far the index has come"}
}

// asDamage is the index's damage that the store has found; any other fault as it is.
func (v *indexProof) asDamage(err error) error {
	if errors.Is(err, store.ErrCorrupt) {
		return &IndexError{Found: err.Error(), Expected: "rows that can be read", cause: err}
	}
	return err
}

// begin is called at the first row, when all of them are pinned.
func (v *indexProof) begin(mark store.Mark) error {
	v.began = true
	v.pinned()
	var err error
	if v.end, err = v.goal(); err != nil {
		return err
	}
	checkpoint, err := readCheckpoint(v.store)
	if err != nil {
		return err
	}
	v.checkpoint = points.Position(checkpoint.Position)
	return v.checkMark(mark, v.date)
}

// checkMark checks that a mark is the end of a block, and of its business date.
func (v *indexProof) checkMark(mark store.Mark, date points.BusinessDate) error {
	position := points.Position(mark.Position)
	ok, err := endsBlock(v.store, mark, v.end)
	if err != nil {
		return err
	}
	if !ok {
		return &IndexError{
			Position: position, Found: fmt.Sprintf("a mark at position %d with hash %x", position, mark.Hash),
			Expected: fmt.Sprintf("the end of a block of the journal, which has %d records", v.end),
		}
	}
	var rec book.Record
	if err := readRecord(v.store, position, &rec, true); err != nil {
		return err
	}
	if rec.Outcome.Date != date {
		return &IndexError{Position: position, Found: fmt.Sprintf("a mark of business date %v", date), Expected: rec.Outcome.Date.String()}
	}
	return nil
}

// visit holds one row against what the journal makes of it.
func (v *indexProof) visit(ctx context.Context, mark store.Mark, key, value []byte) error {
	if !v.began {
		if err := v.begin(mark); err != nil {
			return err
		}
	}
	if key[0] == shelfKey {
		return v.shelved(ctx, key, value)
	}
	if err := v.shelvesUpTo(ctx, v.keys.shelfOf(uint64(v.end))+1); err != nil {
		return err
	}
	switch {
	case key[0] == dateKey && len(key) == 1+4 && len(value) == 8:
		return v.dated(dateRow{points.BusinessDate(binary.BigEndian.Uint32(key[1:])), points.Position(binary.BigEndian.Uint64(value))})
	case key[0] == ownerKey && len(key) == 1+len(points.CardToken{}) && len(value) == 8:
		return v.owned(points.CardToken(key[1:]), points.MemberID(binary.BigEndian.Uint64(value)))
	default:
		return v.alien(key, value)
	}
}

// shelved looks at a row of a shelf.
func (v *indexProof) shelved(ctx context.Context, key, value []byte) error {
	if len(key) < shelfHeadSize {
		return v.alien(key, value)
	}
	shelf := binary.BigEndian.Uint32(key[1:])
	if shelf > v.keys.shelfOf(uint64(v.end)) {
		return v.alien(key, value)
	}
	if err := v.shelvesUpTo(ctx, shelf); err != nil {
		return err
	}
	if !v.loaded {
		if err := v.load(ctx); err != nil {
			return err
		}
	}
	if key[shelfHeadSize-1] == headKey && len(key) == shelfHeadSize {
		mark, date, shelfBits, ok := decodeHead(value)
		if !ok || shelfBits != v.keys.shelfBits {
			return v.alien(key, value)
		}
		return v.checkMark(mark, date)
	}
	for ; v.next < len(v.want); v.next++ {
		want := v.want[v.next]
		switch bytes.Compare(want.Key[1:], key) {
		case -1:
			if err := v.missing(want); err != nil {
				return err
			}
			continue
		case 0:
			v.next++
			if !bytes.Equal(want.Value, value) {
				return &IndexError{Position: positionIn(key), Found: fmt.Sprintf("%s with value %x", v.row(key), value), Expected: fmt.Sprintf("value %x", want.Value)}
			}
			return nil
		}
		break
	}
	return v.alien(key, value)
}

// missing is the fault of a row that is not there, nil where it need not be: behind
// the mark rows are on their way.
func (v *indexProof) missing(want store.Pair) error {
	if position := positionIn(want.Key[1:]); position <= v.mark {
		return &IndexError{Position: position, Found: "no such row", Expected: v.row(want.Key[1:])}
	}
	return nil
}

// alien is the fault of a row that no record makes.
func (v *indexProof) alien(key, value []byte) error {
	return &IndexError{Position: positionIn(key), Found: fmt.Sprintf("%s with value %x", v.row(key), value), Expected: "no such row: no record makes it"}
}

// shelvesUpTo ends every shelf before the one that is named.
func (v *indexProof) shelvesUpTo(ctx context.Context, shelf uint32) error {
	for ; v.shelf < shelf; v.shelf++ {
		if !v.loaded {
			if err := v.load(ctx); err != nil {
				return err
			}
		}
		for ; v.next < len(v.want); v.next++ {
			if err := v.missing(v.want[v.next]); err != nil {
				return err
			}
		}
		v.loaded = false
	}
	return nil
}

// load makes the rows of the shelf from the journal.
func (v *indexProof) load(ctx context.Context) error {
	first := uint64(v.shelf) << v.keys.shelfBits
	low, high := max(points.Position(first), 1), min(points.Position(first+1<<v.keys.shelfBits-1), v.end)
	v.keys.shelved.clear()
	err := scan(ctx, v.store, low, high, func(rec *book.Record) error {
		v.keys.others.clear()
		if err := v.keys.add(rec); err != nil {
			return err
		}
		if position := rec.Outcome.Position; position%(1<<10) == 0 || position == v.end {
			v.progress(uint64(position), uint64(v.end))
		}
		for _, pair := range v.keys.others.pairs {
			if err := v.other(rec, pair); err != nil {
				return err
			}
		}
		return nil
	})
	v.want, v.next, v.loaded = v.keys.shelved.sorted(len("i")+shelfHeadSize-1), 0, true
	return err
}

// other takes in a row of rec that stands on no shelf. That an owner is there is looked
// up at once; that a card is not there which nobody has put shows at its row.
func (v *indexProof) other(rec *book.Record, pair store.Pair) error {
	position, key := rec.Outcome.Position, pair.Key[1:]
	if key[0] == dateKey {
		v.dates = append(v.dates, dateRow{rec.Outcome.Date, position})
		return nil
	}
	token, member := points.CardToken(key[1:]), points.MemberID(binary.BigEndian.Uint64(pair.Value))
	approved := rec.Outcome.Reason.Approved()
	if position > v.checkpoint || !approved {
		v.put[token] = member
	}
	if position > v.mark || !approved {
		return nil
	}
	value, _, err := v.store.Get(nil, store.Index, key)
	if err != nil {
		return v.asDamage(err)
	}
	if !bytes.Equal(value, pair.Value) {
		return &IndexError{Position: position, Found: fmt.Sprintf("owner %x of the card that it puts", value), Expected: fmt.Sprintf("member %d", member)}
	}
	return nil
}

// dated looks at the row of a business date.
func (v *indexProof) dated(found dateRow) error {
	for ; v.nextDate < len(v.dates) && v.dates[v.nextDate].date < found.date; v.nextDate++ {
		if err := v.missingDate(v.dates[v.nextDate]); err != nil {
			return err
		}
	}
	if v.nextDate == len(v.dates) || v.dates[v.nextDate] != found {
		return &IndexError{Position: found.first, Found: fmt.Sprintf("a row that business date %v begins there", found.date), Expected: "a row that a cut-over makes"}
	}
	v.nextDate++
	return nil
}

func (v *indexProof) missingDate(row dateRow) error {
	if row.first > v.mark {
		return nil
	}
	return &IndexError{Position: row.first, Found: "no such row", Expected: fmt.Sprintf("the row of business date %v, which begins there", row.date)}
}

// owned looks at the row of a card's owner.
func (v *indexProof) owned(token points.CardToken, member points.MemberID) error {
	if v.put[token] == member {
		return nil
	}
	card, ok, err := book.ReadCard(state{v.store}, token)
	if err != nil {
		return err
	}
	if !ok || card.Member != member {
		return &IndexError{Found: fmt.Sprintf("a row that gives member %d a card", member), Expected: "a row for a card that a record has put, and its member"}
	}
	return nil
}

// finish looks for what should have come behind the last row.
func (v *indexProof) finish(ctx context.Context) error {
	if err := v.shelvesUpTo(ctx, v.keys.shelfOf(uint64(v.end))+1); err != nil {
		return err
	}
	for ; v.nextDate < len(v.dates); v.nextDate++ {
		if err := v.missingDate(v.dates[v.nextDate]); err != nil {
			return err
		}
	}
	return nil
}

// row describes a row, whose key is without the store's prefix. Cards have no name.
func (v *indexProof) row(key []byte) string {
	if key[0] == shelfKey && len(key) >= shelfHeadSize+8 {
		id := key[shelfHeadSize : len(key)-8]
		switch kind := key[shelfHeadSize-1]; {
		case kind == closeKey && len(id) == 0:
			return "a row of a batch that was closed"
		case kind == cardKey && len(id) == len(points.CardToken{}):
			return "a row of a card"
		case kind == memberKey && len(id) == 8:
			return fmt.Sprintf("a row of member %d", binary.BigEndian.Uint64(id))
		case kind == terminalKey && len(id) == len(points.TerminalID{})+4:
			return fmt.Sprintf("a row of terminal %v, STAN %v", points.TerminalID(id[:len(points.TerminalID{})]), points.STAN(binary.BigEndian.Uint32(id[len(points.TerminalID{}):])))
		}
	}
	return fmt.Sprintf("a row %x", key)
}

// positionIn is the position at the end of the key of a shelf's row; 0 where there is none.
func positionIn(key []byte) points.Position {
	if key[0] != shelfKey || len(key) < shelfHeadSize+8 {
		return 0
	}
	return points.Position(binary.BigEndian.Uint64(key[len(key)-8:]))
}
