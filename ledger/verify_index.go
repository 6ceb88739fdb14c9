package ledger

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// IndexError says where the index of statements and searches is not what the journal
// makes of it. Nothing is lost: the index is made from the journal, and made again.
type IndexError struct {
	Position points.Position `json:"position"` // of the first record that is filed otherwise; 0: of none
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

// Verify proves the index against the journal, which has to be in order itself: the
// journal is filed again, and shelf by shelf held beside what is in the store and in
// memory. It needs memory for one shelf. It waits for what is durable now as a query
// does, and returns the position up to which everything is filed, and an [*IndexError]
// for the first difference.
func (p *Projection) Verify(ctx context.Context, progress func(done, total uint64)) (proved points.Position, err error) {
	p.reach(ctx)
	for {
		v := indexProof{store: p.ledger.store, progress: progress, serving: true}
		p.mu.RLock() // Nothing is dropped between what is in memory and the head.
		drops := p.drops.Load()
		v.made.bits = p.bits
		p.filing.Lock()
		v.memory, v.end = append(slices.Clone(p.full), p.open), points.Position(p.mark.Position)
		p.filing.Unlock()
		err = p.whileOpen(v.readHead)
		p.mu.RUnlock()
		if err == nil {
			err = p.whileOpen(func() error { return v.run(ctx) })
		}
		if p.drops.Load() == drops {
			return v.end, err
		}
	}
}

// VerifyIndex proves the index of a store that nobody serves as [Projection.Verify]
// does, as far as it is stored; its journal has been proved before. It returns 0 when
// nothing is stored yet. The store may be open read-only.
func VerifyIndex(ctx context.Context, s *store.Store, progress func(done, total uint64)) (proved points.Position, err error) {
	v := indexProof{store: s, progress: progress}
	if err := v.readHead(); err != nil || !v.stored {
		return 0, err
	}
	end, err := lastPosition(s)
	if err != nil {
		return 0, err
	}
	if ok, err := endsBlock(s, v.head, end); err != nil || !ok {
		return 0, errors.Join(err, &IndexError{
			Position: points.Position(v.head.Position), Found: fmt.Sprintf("a mark at position %d with hash %x", v.head.Position, v.head.Hash),
			Expected: fmt.Sprintf("the end of a block of the journal, which has %d records", end),
		})
	}
	v.end = points.Position(v.head.Position)
	return v.end, v.run(ctx)
}

// indexProof is one run over the index.
type indexProof struct {
	store    *store.Store
	progress func(done, total uint64)
	serving  bool            // shelves are added meanwhile
	memory   []shelf         // of a serving index: those that may not be in the store, ascending
	end      points.Position // up to here it is proved

	stored     bool // there is a shelf in the store
	last       uint32
	head       store.Mark // of that
	checkpoint points.Position

	made  shelves
	fault error
	dates map[points.BusinessDate]uint64       // that the journal gives
	put   map[points.CardToken]points.MemberID // cards that the checkpoint does not know
}

// readHead finds the last shelf that is stored.
func (v *indexProof) readHead() error {
	number, value, ok, err := indexHead(v.store)
	if err != nil {
		return v.asDamage(err)
	}
	if !ok || len(value) == headSize-1 { // Of the form before this: the next start makes it again.
		return nil
	}
	mark, _, bits, ok := decodeHead(value)
	if !ok {
		return &IndexError{Found: fmt.Sprintf("rows, and on the last shelf the mark %x", value), Expected: "a mark that says how far the index has come"}
	}
	v.stored, v.last, v.head, v.made.bits = true, number, mark, bits
	return nil
}

// asDamage is the index's damage that the store has found; any other fault as it is.
func (v *indexProof) asDamage(err error) error {
	if errors.Is(err, store.ErrCorrupt) {
		return &IndexError{Found: err.Error(), Expected: "rows that can be read", cause: err}
	}
	return err
}

func (v *indexProof) run(ctx context.Context) error {
	checkpoint, err := readCheckpoint(v.store)
	if err != nil {
		return err
	}
	v.checkpoint = points.Position(checkpoint.Position)
	v.dates, v.put = make(map[points.BusinessDate]uint64), make(map[points.CardToken]points.MemberID)
	if err := v.follow(ctx); err != nil {
		return err
	}
	if v.stored && v.made.next <= v.last {
		return &IndexError{Found: fmt.Sprintf("shelf %d", v.last), Expected: fmt.Sprintf("none from %d on: the journal does not fill it", v.made.next)}
	}
	if open := &v.made.open; v.serving && open.last != 0 && v.made.mark.Position == uint64(v.end) {
		v.noteDates(open)
		if err := v.inMemory(open); err != nil {
			return err
		}
	}
	return v.others(ctx)
}

// follow files the journal up to the end, and looks at each shelf that is full.
func (v *indexProof) follow(ctx context.Context) error {
	var rec book.Record
	var g gathering
	err := blocks(ctx, v.store, 1, func(b *block) error {
		if b.first > v.end && (!v.stored || v.made.next > v.last) {
			return errEnough
		}
		g.begin(v.made.bits, b.first)
		if err := b.visit(&rec, func(rec *book.Record) error {
			g.add(&rec.Command, &rec.Outcome)
			return nil
		}); err != nil {
			return err
		}
		g.mark = store.Mark{Position: uint64(b.last()), Hash: b.hash}
		v.made.file(&g, func(full shelf) {
			if v.fault == nil {
				v.fault = v.full(ctx, &full)
			}
		})
		v.progress(min(uint64(b.last()), uint64(v.end)), uint64(v.end))
		return v.fault
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// full looks at a shelf that is full: it is in the store, in memory, or not there yet.
func (v *indexProof) full(ctx context.Context, made *shelf) error {
	v.noteDates(made)
	if !v.holds(made.number) {
		if v.serving {
			return v.inMemory(made)
		}
		return nil // Not there yet.
	}
	want, others := made.pairs(v.made.bits)
	if err := v.rows(ctx, made.number, want); err != nil {
		return err
	}
	for _, o := range made.owners {
		if made.last > uint64(v.checkpoint) {
			v.put[o.card] = o.member
		}
	}
	for _, pair := range others {
		value, _, err := v.store.Get(nil, store.Index, pair.Key[1:])
		if err != nil {
			return v.asDamage(err)
		}
		if !bytes.Equal(value, pair.Value) {
			return &IndexError{Position: points.Position(made.last), Found: fmt.Sprintf("value %x of %s", value, v.row(pair.Key[1:])), Expected: fmt.Sprintf("%x, from a record of its shelf or before", pair.Value)}
		}
	}
	return nil
}

// holds reports whether a shelf is in the store.
func (v *indexProof) holds(number uint32) bool { return v.stored && number <= v.last }

func (v *indexProof) noteDates(made *shelf) {
	for _, d := range made.dates {
		v.dates[d.date] = d.position
	}
}

// rows holds what is stored of a shelf beside want.
func (v *indexProof) rows(ctx context.Context, number uint32, want []store.Pair) error {
	prefix := binary.BigEndian.AppendUint32([]byte{shelfKey}, number)
	err := v.store.Scan(ctx, store.Index, prefix, func(key, value []byte) (bool, error) {
		if !bytes.HasPrefix(key, prefix) {
			return false, nil
		}
		if len(want) > 0 && bytes.Equal(want[0].Key[1:], key) {
			if !bytes.Equal(want[0].Value, value) {
				v.fault = v.differs(key, value, want[0].Value)
			}
			want = want[1:]
			return true, v.fault
		}
		if len(want) > 0 && bytes.Compare(want[0].Key[1:], key) < 0 {
			v.fault = v.missing(want[0].Key[1:])
		} else {
			v.fault = v.alien(key, value)
		}
		return false, v.fault
	})
	if v.fault != nil {
		return v.fault
	}
	if err == nil && len(want) > 0 {
		return v.missing(want[0].Key[1:])
	}
	return v.asDamage(err)
}

// differs is the fault of a row with another value: of a page, at the first record
// that it files otherwise.
func (v *indexProof) differs(key, found, want []byte) error {
	position := v.positionIn(key)
	if position != 0 {
		first := entry(binary.BigEndian.Uint64(key[shelfHeadSize:]))
		is, _ := readPage(nil, first, found)
		should, _ := readPage(nil, first, want)
		for i, e := range should {
			if i == len(is) || is[i] != e {
				position = v.positionOf(binary.BigEndian.Uint32(key[1:]), e)
				break
			}
		}
	}
	return &IndexError{Position: position, Found: fmt.Sprintf("%s with value %x", v.row(key), found), Expected: fmt.Sprintf("value %x", want)}
}

func (v *indexProof) missing(key []byte) error {
	return &IndexError{Position: v.positionIn(key), Found: "no such row", Expected: v.row(key)}
}

// alien is the fault of a row that the journal does not make.
func (v *indexProof) alien(key, value []byte) error {
	return &IndexError{Position: v.positionIn(key), Found: fmt.Sprintf("%s with value %x", v.row(key), value), Expected: "no such row: no record makes it"}
}

// inMemory holds a shelf that is not stored beside what is in memory.
func (v *indexProof) inMemory(made *shelf) error {
	i := slices.IndexFunc(v.memory, func(s shelf) bool { return s.last != 0 && s.number == made.number })
	if i < 0 {
		return &IndexError{Position: points.Position(made.last), Found: fmt.Sprintf("no shelf %d, in memory or stored", made.number), Expected: "one with all its records"}
	}
	is := &v.memory[i]
	for place, kind := range kindKeys {
		is, should := is.arranged(place), made.arranged(place)
		for i, e := range should {
			if i == len(is) || is[i] != e {
				return &IndexError{Position: v.positionOf(made.number, e), Found: "it not filed in memory", Expected: v.row(shelfHead(made.number, kind))}
			}
		}
		if len(is) > len(should) {
			return &IndexError{Position: v.positionOf(made.number, is[len(should)]), Found: v.row(shelfHead(made.number, kind)) + " in memory", Expected: "no such row: no record makes it"}
		}
	}
	if !slices.Equal(is.owners, made.owners) || !slices.Equal(is.dates, made.dates) {
		return &IndexError{Position: points.Position(made.last), Found: fmt.Sprintf("%d cards and %d dates in memory", len(is.owners), len(is.dates)), Expected: fmt.Sprintf("the %d and %d that its shelf has", len(made.owners), len(made.dates))}
	}
	return nil
}

// others looks at the rows that stand on no shelf that was proved.
func (v *indexProof) others(ctx context.Context) error {
	err := v.store.Scan(ctx, store.Index, nil, func(key, value []byte) (bool, error) {
		switch {
		case key[0] == shelfKey && len(key) >= shelfHeadSize && (v.serving || v.holds(binary.BigEndian.Uint32(key[1:]))):
			// It was proved, or added meanwhile.
		case key[0] == dateKey && len(key) == 1+4 && len(value) == 8:
			first, known := v.dates[points.BusinessDate(binary.BigEndian.Uint32(key[1:]))]
			position := binary.BigEndian.Uint64(value)
			if added := v.serving && !known && position > uint64(v.end); first != position && !added {
				v.fault = v.alien(key, value)
			}
		case key[0] == ownerKey && len(key) == 1+len(points.CardToken{}) && len(value) == 8:
			v.fault = v.owned(points.CardToken(key[1:]), points.MemberID(binary.BigEndian.Uint64(value)))
		default:
			v.fault = v.alien(key, value)
		}
		return true, v.fault
	})
	if v.fault != nil {
		return v.fault
	}
	return v.asDamage(err)
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
	if !ok && v.serving {
		return nil // Of a record that has come meanwhile.
	}
	if !ok || card.Member != member {
		return &IndexError{Found: fmt.Sprintf("a row that gives member %d a card", member), Expected: "a row for a card that a record has put, and its member"}
	}
	return nil
}

// row describes a row, whose key is without the store's prefix. Cards have no name.
func (v *indexProof) row(key []byte) string {
	if key[0] != shelfKey || len(key) < shelfHeadSize {
		return fmt.Sprintf("a row %x", key)
	}
	what := fmt.Sprintf("rows %x", key[shelfHeadSize-1:])
	switch key[shelfHeadSize-1] {
	case cardKey:
		what = "a page of cards"
	case closeKey:
		what = "a page of closed batches"
	case memberKey:
		what = "a page of members"
	case terminalKey:
		what = "a page of terminals' messages"
	case headKey:
		what = "the mark"
	}
	return fmt.Sprintf("%s on shelf %d", what, binary.BigEndian.Uint32(key[1:]))
}

// positionIn is the position of the first record on a page; 0 for another row.
func (v *indexProof) positionIn(key []byte) points.Position {
	if key[0] != shelfKey || len(key) != shelfHeadSize+8 {
		return 0
	}
	return v.positionOf(binary.BigEndian.Uint32(key[1:]), entry(binary.BigEndian.Uint64(key[shelfHeadSize:])))
}

func (v *indexProof) positionOf(number uint32, e entry) points.Position {
	return points.Position(uint64(number)<<v.made.bits | uint64(e&(1<<subjectAt-1)>>1))
}
