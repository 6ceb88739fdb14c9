package book

import "fmt"

// condition is where an entity stands between memory and store. An entity is
// frozen when it is dirty since before the checkpoint that is running.
//
//	        touch           BeginCheckpoint             Drain
//	clean ─────────> dirty ─────────────────> (frozen) ─────────> clean
//	  ^                ^                          │                 │
//	  │                └─ touch: serialised first ┘                 │
//	  └─ loaded        └──────── EndCheckpoint(false) ──────────────┘
type condition uint8

const (
	clean condition = iota
	dirty
)

// node is what every entity carries for the cache and the checkpoint.
type node struct {
	slot      uint32 // number of its place in the cache; 0: not in one
	epoch     uint32 // of the checkpoint that serialised it (clean; 0: read from the store) or in which it changed (dirty)
	condition condition
	seen      bool // used since the hand last passed
	counted   bool // its hash is in the book's sum
}

func (n *node) base() *node { return n }

// entity is one key and value of the book's state.
type entity interface {
	base() *node
	appendKey(dst []byte) []byte
	appendValue(dst []byte) []byte // nothing: there is no such entity (any more)
}

// readable is an entity whose value can be read back.
type readable interface {
	entity
	decodeValue(r *reader)
}

// stored is what is kept in a [cache].
type stored[K comparable, V any] interface {
	*V
	base() *node
	id() K
}

// chunkSize is how many entities are allocated together: as many accounts as fill
// one of the allocator's sizes.
const chunkSize = 120

// cache keeps entities in memory, those used lately when there are more than
// limit. Only what is durable in the store is ever let go, so what is kept never
// changes an outcome. Entities stay where they are while they are in it, and a
// place that is left is empty until another one takes it: who keeps a pointer
// looks at the identity of what stands there.
type cache[K comparable, V any, E stored[K, V]] struct {
	limit  int // 0: keep all
	count  int
	hash   func(K) uint64
	index  index // to slots
	chunks []*[chunkSize]V
	free   []uint32 // slots below top that nobody has
	top    uint32   // highest slot ever taken; slots count from 1
	hand   uint32   // the clock's
}

func newCache[K comparable, V any, E stored[K, V]](limit int, hash func(K) uint64) cache[K, V, E] {
	return cache[K, V, E]{limit: limit, hash: hash, index: newIndex()}
}

func (c *cache[K, V, E]) at(slot uint32) E {
	return &c.chunks[(slot-1)/chunkSize][(slot-1)%chunkSize]
}

func (c *cache[K, V, E]) find(key K) (E, bool) {
	for cursor := c.index.seek(c.hash(key)); ; {
		slot := cursor.next()
		if slot == 0 {
			return nil, false
		}
		if e := c.at(uint32(slot)); e.id() == key { //nolint:gosec // it was put down by add.
			e.base().seen = true
			return e, true
		}
	}
}

// likely is the slot where the entity of key is, if it is there: by its hash, without a
// look at who has it. 0: it is not there.
func (c *cache[K, V, E]) likely(key K) uint32 {
	cursor := c.index.seek(c.hash(key))
	return uint32(cursor.next()) //nolint:gosec // it was put down by add.
}

// add puts value into the cache and returns where it is.
func (c *cache[K, V, E]) add(value V) E {
	var slot uint32
	if last := len(c.free) - 1; last >= 0 {
		slot = c.free[last]
		c.free = c.free[:last]
	} else {
		c.top++
		slot = c.top
		if int(slot-1)/chunkSize == len(c.chunks) {
			c.chunks = append(c.chunks, new([chunkSize]V))
		}
	}
	e := c.at(slot)
	*e = value
	n := e.base()
	n.slot, n.seen = slot, true
	c.count++
	c.index.insert(c.hash(e.id()), uint64(slot))
	return e
}

// remove empties the place of an entity.
func (c *cache[K, V, E]) remove(e E) {
	slot := e.base().slot
	c.index.remove(c.hash(e.id()), uint64(slot))
	var none V
	*e = none
	c.free = append(c.free, slot)
	c.count--
}

// each calls visit with every entity in memory, in no order that means anything.
func (c *cache[K, V, E]) each(visit func(E) error) error {
	for slot := uint32(1); slot <= c.top; slot++ {
		if e := c.at(slot); e.base().slot != 0 {
			if err := visit(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// sweep is how many entities trim looks at: the cost of one command stays
// bounded, and more go than one command can bring in.
const sweep = 8

// trim lets go of entities over the limit that are durable as of checkpoint epoch.
func (c *cache[K, V, E]) trim(epoch uint32) {
	if c.limit == 0 {
		return
	}
	for looks := sweep; looks > 0 && c.count > c.limit; looks-- {
		c.hand = c.hand%c.top + 1
		e := c.at(c.hand)
		switch n := e.base(); {
		case n.slot == 0:
		case n.seen:
			n.seen = false
		case n.condition == clean && n.epoch <= epoch:
			c.remove(e)
		}
	}
}

// load reads an entity's value from the store. ok is false when there is none.
func (b *Book) load(e readable) (ok bool, err error) {
	b.keyScratch = e.appendKey(b.keyScratch[:0])
	value, ok, err := b.source.State(b.keyScratch)
	if err != nil {
		return false, fmt.Errorf("book: read state %x: %w", b.keyScratch, err)
	}
	if !ok || len(value) == 0 {
		return false, nil
	}
	return true, decodeState(e, b.keyScratch, value)
}

// decodeState reads the value that stands under key in the store into e.
func decodeState(e readable, key, value []byte) error {
	r := reader{src: value}
	if version := r.byte(); version != stateVersion {
		return fmt.Errorf("book: state %x: version %d, want %d", key, version, stateVersion)
	}
	e.decodeValue(&r)
	if !r.ok() {
		return fmt.Errorf("book: state %x is malformed", key)
	}
	e.base().counted = true
	return nil
}
