package book

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"slices"
)

// A checkpoint is taken while commands go on. BeginCheckpoint freezes the set of
// entities changed since the last one; Drain serialises them a few at a time; an
// entity that is about to change while it is frozen is serialised before it
// does. So what Drain hands out is the state at BeginCheckpoint, and no command
// waits for more than the serialisation of what it touches.
type checkpoint struct {
	running bool
	frozen  []entity // at BeginCheckpoint; until EndCheckpoint
	next    int      // first of frozen that Drain has not looked at
	early   []byte   // key and value, each with its length: serialised because they were about to change
	sum     sum      // of the whole state at BeginCheckpoint, grows as entities are serialised
	meta    []byte   // the meta entity at BeginCheckpoint, without the sum
	done    bool     // Drain has emitted everything
}

// sum is a sum of entity hashes modulo 2^256: it does not depend on order, and
// changing one entity changes it by the difference of two hashes.
type sum [4]uint64

func (s *sum) add(h *sum) {
	var carry uint64
	for i := range s {
		s[i], carry = bits.Add64(s[i], h[i], carry)
	}
}

func (s *sum) subtract(h *sum) {
	var borrow uint64
	for i := range s {
		s[i], borrow = bits.Sub64(s[i], h[i], borrow)
	}
}

func (s *sum) append(dst []byte) []byte {
	for _, lane := range s {
		dst = binary.LittleEndian.AppendUint64(dst, lane)
	}
	return dst
}

// hash is the hash of an entity; that of no entity is zero. The key and value
// that were hashed are returned in scratch.
func (b *Book) hash(e entity) (h sum, key, value []byte) {
	b.valueScratch = e.appendKey(b.valueScratch[:0])
	n := len(b.valueScratch)
	b.valueScratch = e.appendValue(b.valueScratch)
	key, value = b.valueScratch[:n:n], b.valueScratch[n:]
	if len(value) == 0 {
		return sum{}, key, value
	}
	digest := sha256.Sum256(b.valueScratch)
	for i := range h {
		h[i] = binary.LittleEndian.Uint64(digest[i*8:])
	}
	return h, key, value
}

// touch says that e is about to change.
func (b *Book) touch(e entity) {
	n := e.base()
	switch {
	case n.condition == clean:
		if n.counted {
			h, _, _ := b.hash(e)
			b.sum.subtract(&h)
			n.counted = false
		}
		b.create(e)
	case b.isFrozen(n):
		h, key, value := b.hash(e)
		b.checkpoint.sum.add(&h)
		b.checkpoint.early = appendPair(b.checkpoint.early, key, value)
		b.create(e)
	}
}

// create says that e is new, or at least that no list of changes has it.
func (b *Book) create(e entity) {
	n := e.base()
	n.condition = dirty
	n.epoch = b.epoch
	b.dirty = append(b.dirty, e)
}

// forget takes e, which the current command has created, off the list of changes.
func (b *Book) forget(e entity) {
	for i, other := range slices.Backward(b.dirty) {
		if other == e {
			b.dirty = slices.Delete(b.dirty, i, i+1)
			return
		}
	}
}

func (b *Book) isFrozen(n *node) bool {
	return b.checkpoint.running && n.condition == dirty && n.epoch < b.epoch
}

func appendPair(dst, key, value []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(key)))
	dst = append(dst, key...)
	dst = binary.AppendUvarint(dst, uint64(len(value)))
	return append(dst, value...)
}

// BeginCheckpoint freezes the entities changed since the last checkpoint, as
// they are now. A checkpoint must have ended before the next begins.
func (b *Book) BeginCheckpoint() {
	if b.checkpoint.running {
		panic("book: BeginCheckpoint: the last checkpoint has not ended") //nolint:forbidigo // our own misuse, not input.
	}
	b.epoch++
	c := &b.checkpoint
	c.running, c.done, c.next = true, false, 0
	c.frozen, b.dirty = b.dirty, c.frozen[:0]
	c.sum = b.sum
	c.early = c.early[:0]
	c.meta = b.appendMeta(c.meta[:0])
	b.stored = b.position
}

// Drain serialises up to limit frozen entities as they were at BeginCheckpoint
// and emits their keys and values, which are valid during the call only. An
// empty value means that the key is to be deleted. The last pair is the meta
// entity; done is true once it was emitted. The pairs of one checkpoint must be
// put away all or not at all.
func (b *Book) Drain(limit int, emit func(key, value []byte)) (done bool) {
	c := &b.checkpoint
	if !c.running || c.done {
		return true
	}
	b.emitEarly(emit)
	for ; limit > 0 && c.next < len(c.frozen); limit-- {
		e := c.frozen[c.next]
		c.next++
		n := e.base()
		if !b.isFrozen(n) {
			continue // it changed meanwhile, and was serialised then
		}
		h, key, value := b.hash(e)
		emit(key, value)
		c.sum.add(&h)
		b.sum.add(&h)
		n.counted = len(value) > 0
		n.condition = clean
		n.epoch = b.epoch
	}
	if c.next < len(c.frozen) {
		return false
	}
	emit([]byte{stateMeta}, c.sum.append(c.meta))
	c.done = true
	return true
}

func (b *Book) emitEarly(emit func(key, value []byte)) {
	early := b.checkpoint.early
	for len(early) > 0 {
		var pair [2][]byte
		for i := range pair {
			size, n := binary.Uvarint(early)
			pair[i] = early[n : n+int(size)] //nolint:gosec // written by appendPair.
			early = early[n+int(size):]      //nolint:gosec // as above.
		}
		emit(pair[0], pair[1])
	}
	b.checkpoint.early = b.checkpoint.early[:0]
}

// EndCheckpoint ends the checkpoint after the shell has put the pairs away:
// durable true when they are on disk, and what they hold may leave memory; false
// when they are not, and the next checkpoint will hold them again.
func (b *Book) EndCheckpoint(durable bool) {
	c := &b.checkpoint
	if !c.running {
		return
	}
	c.running = false
	if durable && c.done {
		b.durable = b.epoch
	} else {
		for _, e := range c.frozen {
			switch n := e.base(); {
			case n.condition == clean:
				b.touch(e)
			case n.condition == dirty && n.epoch < b.epoch:
				b.create(e)
			}
		}
	}
	clear(c.frozen)
	c.frozen = c.frozen[:0]
}

// Digest is a hash of the whole logical state, what lies in the store included:
// two books that went through the same commands have the same digest, whatever
// they keep in memory. It costs a hash of every entity changed since the last
// checkpoint.
//
// It is SHA-256 over the meta entity, a sum of the hashes of all other entities
// modulo 2^256, and a sum over the remembered keys. It finds faults; against
// forgery stands the hash chain of the journal.
func (b *Book) Digest() [32]byte {
	total := b.sum
	for _, e := range b.dirty {
		if e.base().condition == dirty {
			h, _, _ := b.hash(e)
			total.add(&h)
		}
	}
	for _, e := range b.checkpoint.frozen {
		if b.isFrozen(e.base()) {
			h, _, _ := b.hash(e)
			total.add(&h)
		}
	}
	text := total.append(b.appendMeta(nil))
	for i := range b.generations {
		text = b.generations[i].appendDigest(text)
	}
	return sha256.Sum256(text)
}

// metaWithTickets is the version of a meta entity that counts tickets; a book that has
// never forwarded a request has none.
const metaWithTickets = 2

// metaWithCycle is that of one in which a date has had a second cycle: the tickets are
// there, none or some, and the cycle behind them.
const metaWithCycle = 3

// metaWithEdition is that of one in which a cut-over has begun a later meaning of commands:
// the cycle is there, or 0, and the edition behind it.
const metaWithEdition = 4

// appendMeta writes what belongs to the book as a whole. All of it is logical
// state, so it is hashed into the digest as it stands.
func (b *Book) appendMeta(dst []byte) []byte {
	version := byte(stateVersion)
	if len(b.unfinished.tickets) > 0 {
		version = metaWithTickets
	}
	if b.cycle != 0 {
		version = metaWithCycle
	}
	if b.edition != 0 {
		version = metaWithEdition
	}
	dst = append(dst, version)
	dst = binary.AppendUvarint(dst, uint64(b.position))
	dst = binary.AppendVarint(dst, int64(b.posted))
	dst = binary.AppendUvarint(dst, uint64(b.date))
	dst = binary.AppendUvarint(dst, uint64(len(b.generations)))
	for i := range b.generations {
		dst = binary.AppendUvarint(dst, uint64(b.generations[i].first))
	}
	dst = binary.AppendUvarint(dst, b.live.Version)
	dst = binary.AppendUvarint(dst, uint64(len(b.references)))
	dst = b.totals.append(dst)
	for kind := range b.dueDates {
		if version == stateVersion && kind == dueDecay && len(b.dueDates[kind]) == 0 {
			continue // a later addition: where nothing decays the entity is what it always was
		}
		dst = binary.AppendUvarint(dst, uint64(len(b.dueDates[kind])))
		for _, at := range b.dueDates[kind] {
			dst = binary.AppendUvarint(dst, uint64(at.date))
			dst = binary.AppendUvarint(dst, uint64(at.added))
			dst = binary.AppendUvarint(dst, uint64(at.done))
		}
	}
	if version >= metaWithTickets {
		dst = binary.AppendUvarint(dst, uint64(len(b.unfinished.tickets)))
	}
	if version >= metaWithCycle {
		dst = append(dst, b.cycle)
	}
	if version >= metaWithEdition {
		dst = append(dst, b.edition)
	}
	return dst
}

// loadMeta reads what appendMeta and Drain wrote.
func (b *Book) loadMeta(value []byte) bool {
	r := reader{src: value}
	version := r.byte()
	if version < stateVersion || version > metaWithEdition {
		return false
	}
	var lanes [32]byte // of the sum, at the end
	b.position = r.position()
	b.stored = b.position
	b.posted = r.timestamp()
	b.date = r.date()
	b.generations = b.generations[:0]
	for range r.count(256, 1) {
		b.generations = append(b.generations, newGeneration(r.position()))
	}
	b.live.Version = r.uvarint()
	b.toLoad = r.uint32()
	b.totals.decode(&r)
	for kind := range b.dueDates {
		if version == stateVersion && kind == dueDecay && len(r.src) <= len(lanes) {
			continue
		}
		for range r.count(1<<20, 3) {
			b.dueDates[kind] = append(b.dueDates[kind], bucket{date: r.date(), added: r.uint32(), done: r.uint32()})
		}
	}
	if version >= metaWithTickets {
		b.unfinished.toLoad = r.uint32()
	}
	if version >= metaWithCycle {
		b.cycle = r.byte()
	}
	if version >= metaWithEdition {
		b.edition = r.byte()
	}
	r.fixed(lanes[:])
	for i := range b.sum {
		b.sum[i] = binary.LittleEndian.Uint64(lanes[i*8:])
	}
	return r.ok()
}
