package book

import "math/bits"

// index leads from a 64-bit hash to the numbers that were put down under it: the
// positions of keys, the slots of a [cache]. It keeps 56 bits of a hash and 40 of
// a number, so whoever finds a number looks whether it is the one that was meant.
//
// It is extendible hashing: hashes are spread over segments by their first bits,
// and a full segment is split in two while the others stay as they are. So it
// grows without a pause, 20 bytes for each number on average, and the collector
// has nothing to follow in it.
type index struct {
	segments []*segment // by the first depth bits; several may be the same
	depth    uint8
	// alive tells which numbers are still wanted; those that are not give way when
	// room is needed. nil: all are.
	alive func(number uint64) bool
}

const (
	segmentSlots = 512
	segmentFull  = segmentSlots * 4 / 5
	// maxDepth bounds the splitting of hashes that hardly differ; what is more
	// than a segment takes goes on in the next.
	maxDepth   = 24
	numberBits = 40
	numberMask = 1<<numberBits - 1
)

type segment struct {
	depth uint8 // bits that all its hashes share
	used  int
	slots [segmentSlots]slot
	next  *segment // only at maxDepth
}

// slot is a tag, which is a hash without its last 8 bits, and a number; the zero
// slot is free.
type slot struct{ a, b, c uint32 }

func newSlot(tag, number uint64) slot {
	return slot{uint32(tag >> 24), uint32(tag<<8) | uint32(number>>32&0xff), uint32(number)} //nolint:gosec // the parts of 96 bits.
}

func (s slot) tag() uint64    { return uint64(s.a)<<24 | uint64(s.b>>8) }
func (s slot) number() uint64 { return uint64(s.b&0xff)<<32 | uint64(s.c) }
func (s slot) free() bool     { return s.b&0xff|s.c == 0 }

func newIndex() index { return index{segments: []*segment{{}}} }

func (x *index) segment(hash uint64) *segment { return x.segments[hash>>(64-x.depth)] }

// cursor goes through the numbers under one hash.
type cursor struct {
	in  *segment
	tag uint64
	at  uint64
}

func (x *index) seek(hash uint64) cursor {
	return cursor{in: x.segment(hash), tag: hash >> 8, at: hash >> 8}
}

// next returns the next number, 0 when there is none.
func (c *cursor) next() uint64 {
	for c.in != nil {
		s := c.in.slots[c.at%segmentSlots]
		c.at++
		if s.free() {
			c.in, c.at = c.in.next, c.tag
			continue
		}
		if s.tag() == c.tag {
			return s.number()
		}
	}
	return 0
}

// insert puts number, which is above 0 and below 2^40, down under hash.
func (x *index) insert(hash, number uint64) {
	s := x.segment(hash)
	for s.used >= segmentFull {
		switch {
		case x.tidy(s):
		case s.depth < maxDepth:
			x.split(s, hash)
			s = x.segment(hash)
		case s.next == nil:
			s.next = &segment{depth: s.depth}
			s = s.next
		default:
			s = s.next
		}
	}
	s.put(newSlot(hash>>8, number))
}

func (s *segment) put(entry slot) {
	at := entry.tag()
	for !s.slots[at%segmentSlots].free() {
		at++
	}
	s.slots[at%segmentSlots] = entry
	s.used++
}

// tidy drops what is not wanted any more from a segment, and reports whether that
// made enough room.
func (x *index) tidy(s *segment) bool {
	if x.alive == nil {
		return false
	}
	kept := segment{depth: s.depth, next: s.next}
	for _, entry := range s.slots {
		if !entry.free() && x.alive(entry.number()) {
			kept.put(entry)
		}
	}
	*s = kept
	return s.used < segmentFull*3/4
}

// split spreads a segment over two, by one more bit of the hashes.
func (x *index) split(s *segment, hash uint64) {
	if s.depth == x.depth {
		doubled := make([]*segment, 0, 2*len(x.segments))
		for _, s := range x.segments {
			doubled = append(doubled, s, s)
		}
		x.segments = doubled
		x.depth++
	}
	halves := [2]*segment{{depth: s.depth + 1}, {depth: s.depth + 1}}
	for _, entry := range s.slots {
		if !entry.free() {
			halves[entry.tag()>>(55-s.depth)&1].put(entry)
		}
	}
	span := 1 << (x.depth - s.depth)               // how many of segments are s
	first := int(hash>>(64-x.depth)) &^ (span - 1) //nolint:gosec // at most maxDepth bits.
	for i := range span {
		x.segments[first+i] = halves[2*i/span]
	}
}

// remove takes a number out, and closes the gap so that what stood behind it is
// still found.
func (x *index) remove(hash, number uint64) {
	s, gap, ok := x.find(hash, number)
	if !ok {
		return
	}
	for at := gap + 1; ; at++ {
		entry := s.slots[at%segmentSlots]
		if entry.free() {
			break
		}
		// It may move up unless that would put it before its own place.
		if (at-entry.tag())%segmentSlots >= (at-gap)%segmentSlots {
			s.slots[gap%segmentSlots] = entry
			gap = at
		}
	}
	s.slots[gap%segmentSlots] = slot{}
	s.used--
}

func (x *index) find(hash, number uint64) (s *segment, at uint64, ok bool) {
	want := newSlot(hash>>8, number)
	for s = x.segment(hash); s != nil; s = s.next {
		for at = want.tag(); ; at++ {
			switch s.slots[at%segmentSlots] {
			case want:
				return s, at % segmentSlots, true
			case slot{}:
			default:
				continue
			}
			break
		}
	}
	return nil, 0, false
}

// each calls visit with every number, in no order.
func (x *index) each(visit func(number uint64)) {
	for i, s := range x.segments {
		if i > 0 && x.segments[i-1] == s {
			continue
		}
		for ; s != nil; s = s.next {
			for _, entry := range s.slots {
				if !entry.free() {
					visit(entry.number())
				}
			}
		}
	}
}

// mix hashes two words so that nobody who does not know seed can say which hash
// alike (the multiply-and-fold of wyhash).
func mix(seed, a, b uint64) uint64 {
	hi, lo := bits.Mul64(a^seed^0xa0761d6478bd642f, b^0xe7037ed1a0b428db)
	hi, lo = bits.Mul64(hi^seed, lo^0x8ebc6af09c88c6e3)
	return hi ^ lo
}
