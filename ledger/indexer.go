package ledger

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// indexer tells the keys of records, in the order of the journal; see [Projection]
// for what they are. What follows the journal and what proves the index use the same.
type indexer struct {
	shelfBits uint8
	date      points.BusinessDate // of the record before
	shelved   gathering           // keys of the shelves
	others    gathering           // and all others
}

// gathering is pairs on their way to the store. They share one array, which is
// used again for the next ones.
type gathering struct {
	pairs []store.Pair
	arena []byte
}

// add collects the keys of one record. A key that comes twice is no harm: quiet
// comes before moved, and moved stands.
func (x *indexer) add(rec *book.Record) error {
	cmd, out := &rec.Command, &rec.Outcome
	position := uint64(out.Position)
	if out.Date != x.date {
		x.date = out.Date
		x.others.put(uint64Bytes(position), []byte{dateKey}, uint64Bytes(uint64(out.Date))[4:])
	}
	if cmd.Kind == book.KindCloseBatch && out.Reason.Approved() {
		x.file(closeKey, nil, position, listed)
	}
	x.addCommand(cmd, position)
	for i := range cmd.Group {
		x.addCommand(&cmd.Group[i], position)
	}
	var last points.MemberID
	own := false
	touch := func(key book.AccountKey) {
		member, ok := memberOf(key)
		if ok && member != last {
			x.addMember(member, position, moved)
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
	if !own {
		x.addMember(out.Member, position, quiet)
	}
	return nil
}

// addCommand collects the keys of what was asked: whom it names.
func (x *indexer) addCommand(cmd *book.Command, position uint64) {
	for _, token := range [...]*points.CardToken{&cmd.Card, &cmd.ToCard} {
		if !token.IsZero() {
			x.file(cardKey, token[:], position, listed)
		}
	}
	if entry := cmd.Entry.Card; entry != nil {
		x.file(cardKey, entry.Token[:], position, listed)
		x.others.put(uint64Bytes(uint64(entry.Member)), []byte{ownerKey}, entry.Token[:])
		x.addMember(entry.Member, position, quiet)
	}
	if entry := cmd.Entry.Member; entry != nil {
		x.addMember(entry.ID, position, quiet)
	}
	x.addMember(cmd.Member, position, quiet)
	x.addMember(cmd.ToMember, position, quiet)
	if cmd.Terminal != (points.TerminalID{}) {
		var message [len(cmd.Terminal) + 4]byte
		copy(message[:], cmd.Terminal[:])
		binary.BigEndian.PutUint32(message[len(cmd.Terminal):], uint32(cmd.Key.STAN))
		x.file(terminalKey, message[:], position, listed)
	}
}

func (x *indexer) addMember(member points.MemberID, position uint64, how byte) {
	if member != 0 {
		var id [8]byte
		binary.BigEndian.PutUint64(id[:], uint64(member))
		x.file(memberKey, id[:], position, how)
	}
}

// file puts a record on its shelf, under what it is about.
func (x *indexer) file(kind byte, id []byte, position uint64, how byte) {
	g := &x.shelved
	start := len(g.arena)
	g.arena = binary.BigEndian.AppendUint32(append(g.arena, byte(store.Index), shelfKey), x.shelfOf(position))
	g.arena = binary.BigEndian.AppendUint64(append(append(g.arena, kind), id...), position)
	g.end(start, len(g.arena), how)
}

// put adds any other pair. The parts of its key follow the prefix of the index.
func (g *gathering) put(value []byte, parts ...[]byte) {
	start := len(g.arena)
	g.arena = append(g.arena, byte(store.Index))
	for _, part := range parts {
		g.arena = append(g.arena, part...)
	}
	g.end(start, len(g.arena), value...)
}

func (g *gathering) end(start, middle int, value ...byte) {
	g.arena = append(g.arena, value...)
	g.pairs = append(g.pairs, store.Pair{Key: g.arena[start:middle:middle], Value: g.arena[middle:len(g.arena):len(g.arena)]})
}

func (g *gathering) clear() { g.pairs, g.arena = g.pairs[:0], g.arena[:0] }

// sorted is the pairs ascending by key; of a key that came more than once, the one
// with the least value. All keys have the first alike bytes in common.
func (g *gathering) sorted(alike int) []store.Pair {
	// Comparing keys where they lie would cost a read of memory each time.
	type start struct {
		first, second uint64 // bytes of the key
		at            uint32
	}
	starts := make([]start, len(g.pairs))
	for i, pair := range g.pairs {
		starts[i] = start{leading(pair.Key, alike), leading(pair.Key, alike+8), uint32(i)}
	}
	slices.SortFunc(starts, func(a, b start) int {
		if a.first != b.first {
			return cmp.Compare(a.first, b.first)
		}
		if a.second != b.second {
			return cmp.Compare(a.second, b.second)
		}
		x, y := &g.pairs[a.at], &g.pairs[b.at]
		return cmp.Or(bytes.Compare(x.Key, y.Key), bytes.Compare(x.Value, y.Value))
	})
	sorted := make([]store.Pair, 0, len(starts))
	for _, s := range starts {
		pair := g.pairs[s.at]
		if n := len(sorted); n == 0 || !bytes.Equal(sorted[n-1].Key, pair.Key) {
			sorted = append(sorted, pair)
		}
	}
	return sorted
}

// leading is eight bytes of key as a number, zeros behind its end.
func leading(key []byte, from int) uint64 {
	var word [8]byte
	if from < len(key) {
		copy(word[:], key[from:])
	}
	return binary.BigEndian.Uint64(word[:])
}

func (x *indexer) shelfOf(position uint64) uint32 {
	return uint32(position >> x.shelfBits) //nolint:gosec // good for 2^52 positions by default.
}
