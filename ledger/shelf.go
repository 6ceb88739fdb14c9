package ledger

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"

	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// subject is what a record can be about: a card, a member, a terminal's message, or
// the closing of a batch.
type subject struct {
	kind     byte
	card     points.CardToken
	member   points.MemberID
	terminal points.TerminalID
	stan     points.STAN
}

// Kinds of subjects, as they stand in keys, and their places in a shelf.
const (
	cardKey     = 'c'
	closeKey    = 'k'
	memberKey   = 'm'
	terminalKey = 't'
	kindCount   = 4
)

var kindKeys = [kindCount]byte{cardKey, closeKey, memberKey, terminalKey} // ascending

func placeOf(kind byte) int { return slices.Index(kindKeys[:], kind) }

func ofCard(token points.CardToken) subject   { return subject{kind: cardKey, card: token} }
func ofMember(member points.MemberID) subject { return subject{kind: memberKey, member: member} }

// entry is one record under one subject, as a number that sorts: 40 bits of the
// subject, 23 of where on its shelf the record is, and whether the member's points
// did not move. Subjects that differ can have the same 40 bits: who reads the record
// sees it.
type entry uint64

const (
	quiet     = entry(1) // the member's points did not move
	whereBits = 23
	subjectAt = whereBits + 1
)

// The 40 bits of a terminal's message are 20 of the terminal and its number.
const stanBits = 20

// bits are the subject's part of an entry. Those of a card are 32 of its token,
// which is as good as random; members are taken as they are numbered, since those
// of neighbours are short when written.
func (s *subject) bits() entry {
	switch s.kind {
	case cardKey:
		return entry(binary.BigEndian.Uint32(s.card[:])) << subjectAt
	case memberKey:
		return entry(s.member) << subjectAt
	case closeKey:
		return 0 // There is one such subject.
	default:
		return entry(terminalBits(s.terminal)<<stanBits|uint64(s.stan)&(1<<stanBits-1)) << subjectAt
	}
}

// terminalBits mixes the eight characters (the last step of MurmurHash3).
func terminalBits(id points.TerminalID) uint64 {
	h := binary.BigEndian.Uint64(id[:])
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return (h ^ h>>33) & (1<<(64-subjectAt-stanBits) - 1)
}

// span is the entries that subject can have on a shelf, both included; anyStan asks
// for all messages of its terminal.
func (s *subject) span(anyStan bool) (low, high entry) {
	low = s.bits()
	if anyStan {
		low = low >> (subjectAt + stanBits) << (subjectAt + stanBits)
		return low, low | (1<<(subjectAt+stanBits) - 1)
	}
	return low, low | (1<<subjectAt - 1)
}

// mentions calls file with everything that a record is about. A subject may come
// twice, as a member that is named and whose points moved too.
func mentions(cmd *book.Command, out *book.Outcome, file func(s subject, how entry)) {
	mentionsOf(cmd, file)
	if cmd.Kind == book.KindCloseBatch && out.Reason.Approved() {
		file(subject{kind: closeKey}, 0)
	}
	for i := range cmd.Group {
		mentionsOf(&cmd.Group[i], file)
	}
	var last points.MemberID
	own := false
	touch := func(key book.AccountKey) {
		member, ok := memberOf(key)
		if ok && member != last && member != 0 {
			file(ofMember(member), 0)
			last = member
			own = own || member == out.Member
		}
	}
	for i := range out.Postings {
		touch(out.Postings[i].Account)
	}
	for i := range out.Lots {
		touch(out.Lots[i].Account)
	}
	if !own && out.Member != 0 {
		file(ofMember(out.Member), quiet)
	}
}

// mentionsOf calls file with whom a command names.
func mentionsOf(cmd *book.Command, file func(s subject, how entry)) {
	if !cmd.Card.IsZero() {
		file(ofCard(cmd.Card), 0)
	}
	if !cmd.ToCard.IsZero() {
		file(ofCard(cmd.ToCard), 0)
	}
	if put := cmd.Entry.Card; put != nil {
		file(ofCard(put.Token), 0)
		file(ofMember(put.Member), quiet)
	}
	if put := cmd.Entry.Member; put != nil {
		file(ofMember(put.ID), quiet)
	}
	for _, member := range [...]points.MemberID{cmd.Member, cmd.ToMember} {
		if member != 0 {
			file(ofMember(member), quiet)
		}
	}
	if cmd.Terminal != (points.TerminalID{}) {
		file(subject{kind: terminalKey, terminal: cmd.Terminal, stan: cmd.Key.STAN}, 0)
	}
}

// about reports whether a record is about s; of a terminal, with any number if
// anyStan is set.
func about(rec *book.Record, s subject, anyStan bool) (found bool) {
	mentions(&rec.Command, &rec.Outcome, func(other subject, _ entry) {
		if anyStan {
			other.stan = s.stan
		}
		found = found || other == s
	})
	return found
}

// shelf is what is filed of the positions of one shelf, in their order.
type shelf struct {
	number uint32
	last   uint64 // position up to which it is filled; 0: nothing is on it
	kinds  [kindCount][]entry
	owners []owner
	dates  []dated

	// Of a full one: the last block that ends on it or before, and the date at its end.
	mark store.Mark
	date points.BusinessDate
}

// owner is a card that was given to a member.
type owner struct {
	card   points.CardToken
	member points.MemberID
}

// dated is the first position of a business date.
type dated struct {
	date     points.BusinessDate
	position uint64
}

// clear empties the shelf for another number, and keeps its memory.
func (s *shelf) clear(number uint32) {
	s.number, s.last, s.owners, s.dates = number, 0, s.owners[:0], s.dates[:0]
	for i := range s.kinds {
		s.kinds[i] = s.kinds[i][:0]
	}
}

// extend adds what stands on more, which follows, but for its dates.
func (s *shelf) extend(more *shelf) {
	s.number, s.last = more.number, more.last
	for i := range s.kinds {
		s.kinds[i] = append(s.kinds[i], more.kinds[i]...)
	}
	s.owners = append(s.owners, more.owners...)
}

// gathering is what one block files, shelf by shelf.
type gathering struct {
	bits   uint8
	first  uint64
	mark   store.Mark          // its end
	date   points.BusinessDate // of the last record
	shelfs []shelf
}

func (g *gathering) begin(bits uint8, first points.Position) {
	g.bits, g.first, g.date, g.shelfs = bits, uint64(first), 0, g.shelfs[:0]
}

// add files the block's next record.
func (g *gathering) add(cmd *book.Command, out *book.Outcome) {
	position := uint64(out.Position)
	number := uint32(position >> g.bits) //nolint:gosec // good for 2^49 positions by default.
	n := len(g.shelfs)
	if n == 0 || g.shelfs[n-1].number != number {
		g.shelfs = slices.Grow(g.shelfs, 1)[:n+1] // Its memory was used before.
		g.shelfs[n].clear(number)
		n++
	}
	s := &g.shelfs[n-1]
	s.last = position
	where := entry(position&(1<<g.bits-1)) << 1
	mentions(cmd, out, func(about subject, how entry) {
		place := placeOf(about.kind)
		s.kinds[place] = append(s.kinds[place], about.bits()|where|how)
	})
	if put := cmd.Entry.Card; put != nil && out.Reason.Approved() {
		s.owners = append(s.owners, owner{put.Token, put.Member})
	}
	if out.Date != g.date {
		g.date = out.Date
		s.dates = append(s.dates, dated{out.Date, position})
	}
}

// shelves are filled one after the other as the journal's blocks come, in order. What
// follows the journal and what proves the index fill them in the same way.
type shelves struct {
	bits uint8
	mark store.Mark          // the last block that is filed
	date points.BusinessDate // of the last record that is filed
	next uint32              // first shelf that is not full
	open shelf
}

// file takes in a block, which is the next one, and calls full with the shelves that
// are full then.
func (f *shelves) file(g *gathering, full func(shelf)) {
	for i := range g.shelfs {
		part := &g.shelfs[i]
		f.date = f.open.note(part, f.date, part.number >= f.next)
		if last := i == len(g.shelfs)-1; last {
			f.mark = g.mark
		}
		if part.number < f.next {
			continue // It was stored before the process began.
		}
		f.open.extend(part)
		if f.open.last&(1<<f.bits-1) == 1<<f.bits-1 {
			f.open.mark, f.open.date = f.mark, f.date
			full(f.open)
			f.next = f.open.number + 1
			f.open = shelf{kinds: f.open.roomFor()}
		}
	}
}

// roomFor is room for as much as stands on a shelf: the next one will be about as large.
func (s *shelf) roomFor() (kinds [kindCount][]entry) {
	for i := range kinds {
		kinds[i] = make([]entry, 0, len(s.kinds[i]))
	}
	return kinds
}

// note takes over the dates of more, which follows, that began there, if they are to
// be kept. It returns the date at the end of more; date is that before it.
func (s *shelf) note(more *shelf, date points.BusinessDate, keep bool) points.BusinessDate {
	for _, d := range more.dates {
		if d.date != date && keep {
			s.dates = append(s.dates, d)
		}
		date = d.date
	}
	return date
}

// arranged is the entries of one kind in ascending order, each record once under a
// subject, and as one that moved points if it did. It leaves s as it is, since others
// read it.
func (s *shelf) arranged(place int) []entry {
	// They stand in the order of positions, so sorting them by subject, digit by digit
	// from the last on and never changing the order of equals, sorts them.
	const digit = 10
	from, to := slices.Clone(s.kinds[place]), make([]entry, len(s.kinds[place]))
	for shift := subjectAt; shift < 64; shift += digit {
		var starts [1<<digit + 1]int
		for _, e := range from {
			starts[e>>shift&(1<<digit-1)+1]++
		}
		for i := range 1 << digit {
			starts[i+1] += starts[i]
		}
		for _, e := range from {
			d := e >> shift & (1<<digit - 1)
			to[starts[d]] = e
			starts[d]++
		}
		from, to = to, from
	}
	kept := from[:0]
	for _, e := range from {
		if n := len(kept); n > 0 && kept[n-1]>>1 == e>>1 {
			kept[n-1] = min(kept[n-1], e)
			continue
		}
		kept = append(kept, e)
	}
	return kept
}

// pageEntries is how many entries stand under one key.
const pageEntries = 512

// appendPage writes a page of entries, ascending; the first of them is in the key:
// how many there are, then of each how much further its subject is than that of the
// one before, and where; under the same subject, how much further.
func appendPage(dst []byte, page []entry) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(page)))
	last := page[0]
	for _, e := range page[1:] {
		further, where := e>>subjectAt-last>>subjectAt, e&(1<<subjectAt-1)
		if further == 0 {
			where -= last & (1<<subjectAt - 1)
		}
		dst = binary.AppendUvarint(binary.AppendUvarint(dst, uint64(further)), uint64(where))
		last = e
	}
	return dst
}

// readPage appends the entries of a page to dst.
func readPage(dst []entry, first entry, value []byte) ([]entry, error) {
	count, n := binary.Uvarint(value)
	if n <= 0 || count == 0 || count > pageEntries {
		return dst, errBadIndex
	}
	value = value[n:]
	dst = append(dst, first)
	for last := first; count > 1; count-- {
		further, n := binary.Uvarint(value)
		if n <= 0 {
			return dst, errBadIndex
		}
		where, m := binary.Uvarint(value[n:])
		if m <= 0 {
			return dst, errBadIndex
		}
		next := (last>>subjectAt+entry(further))<<subjectAt + entry(where)
		if further == 0 {
			next = last + entry(where)
		}
		if next <= last {
			return dst, errBadIndex
		}
		dst, last, value = append(dst, next), next, value[n+m:]
	}
	if len(value) != 0 {
		return dst, errBadIndex
	}
	return dst, nil
}

// pairs are a full shelf as it is stored: its pages and its head, and apart from them
// what stands on no shelf, both ascending.
func (s *shelf) pairs(bits uint8) (shelved, others []store.Pair) {
	head := encodeHead(s.mark, s.date, bits)
	prefix := binary.BigEndian.AppendUint32([]byte{byte(store.Index), shelfKey}, s.number)
	for place, kind := range kindKeys {
		if kind > headKey && len(head) > 0 {
			shelved = append(shelved, store.Pair{Key: append(slices.Clone(prefix), headKey), Value: head})
			head = nil
		}
		for page := range slices.Chunk(s.arranged(place), pageEntries) {
			key := binary.BigEndian.AppendUint64(append(slices.Clone(prefix), kind), uint64(page[0]))
			shelved = append(shelved, store.Pair{Key: key, Value: appendPage(nil, page)})
		}
	}
	for _, d := range s.dates {
		key := binary.BigEndian.AppendUint32([]byte{byte(store.Index), dateKey}, uint32(d.date))
		others = append(others, store.Pair{Key: key, Value: uint64Bytes(d.position)})
	}
	owners := len(others)
	for _, o := range slices.Backward(s.owners) { // Of a card that was given twice the last stands.
		key := append([]byte{byte(store.Index), ownerKey}, o.card[:]...)
		others = append(others, store.Pair{Key: key, Value: uint64Bytes(uint64(o.member))})
	}
	slices.SortStableFunc(others[owners:], func(a, b store.Pair) int { return bytes.Compare(a.Key, b.Key) })
	others = slices.CompactFunc(others, func(a, b store.Pair) bool { return bytes.Equal(a.Key, b.Key) })
	return shelved, others
}

// between appends the entries of a kind from low to high on the shelf to dst,
// ascending by position, each record once.
func (s *shelf) between(dst []entry, place int, low, high entry) []entry {
	for _, e := range s.kinds[place] {
		if e >= low && e <= high {
			if n := len(dst); n > 0 && dst[n-1]>>1 == e>>1 {
				dst[n-1] = min(dst[n-1], e)
				continue
			}
			dst = append(dst, e)
		}
	}
	return dst
}

// pages calls visit with the entries from low to high of a stored shelf, page by
// page, ascending, or with back set from the last page to the first; entries are
// always ascending. It stops when visit returns false.
func pages(ctx context.Context, s *store.Store, number uint32, kind byte, low, high entry, back bool, visit func([]entry) (more bool, err error)) error {
	head := shelfHead(number, kind)
	key := func(e entry) []byte { return binary.BigEndian.AppendUint64(slices.Clone(head), uint64(e)) }
	var page []entry
	each := func(at, value []byte) (more bool, err error) {
		if !bytes.HasPrefix(at, head) {
			return false, nil
		}
		if len(at) != len(head)+8 {
			return false, errBadIndex
		}
		first := entry(binary.BigEndian.Uint64(at[len(head):]))
		if first > high {
			return false, nil
		}
		if page, err = readPage(page[:0], first, value); err != nil {
			return false, err
		}
		from, _ := slices.BinarySearch(page, low)
		to, found := slices.BinarySearch(page, high)
		if found {
			to++
		}
		if more, err = visit(page[from:to]); err != nil || !more {
			return false, err
		}
		return !back || first > low, nil
	}
	if back {
		return s.ScanBack(ctx, store.Index, head, key(high), each)
	}
	// The page before the first one that begins at low or later may reach beyond low.
	start := key(low)
	before, _, ok, err := s.AtOrBefore(nil, store.Index, start)
	if err != nil {
		return err
	}
	if ok && bytes.HasPrefix(before, head) {
		start = before
	}
	return s.Scan(ctx, store.Index, start, each)
}

func shelfHead(number uint32, kind byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{shelfKey}, number), kind)
}

// memberOf is the member whose points or debt an account holds.
func memberOf(key book.AccountKey) (points.MemberID, bool) {
	return points.MemberID(key.Party), key.Kind == book.MemberAccount || key.Kind == book.DebtAccount
}

func uint64Bytes(v uint64) []byte { return binary.BigEndian.AppendUint64(make([]byte, 0, 8), v) }
