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
	gone // was new and its command was declined: never existed
)

// node is what every entity carries for the cache and the checkpoint.
type node struct {
	condition condition
	seen      bool   // used since the hand last passed
	counted   bool   // its hash is in the book's sum
	epoch     uint32 // of the checkpoint that serialised it (clean; 0: read from the store) or in which it changed (dirty)
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

// stored is an entity that is kept in a [cache].
type stored[K comparable] interface {
	entity
	id() K
	comparable
}

// cache keeps entities in memory, those used lately when there are more than
// limit. Only what is durable in the store is ever let go, so what is kept never
// changes an outcome.
type cache[K comparable, E stored[K]] struct {
	limit int // 0: keep all
	byKey map[K]E
	ring  []E // every entity, in no order; the clock's hand goes round it
	hand  int
}

func newCache[K comparable, E stored[K]](limit int) cache[K, E] {
	return cache[K, E]{limit: limit, byKey: make(map[K]E)}
}

func (c *cache[K, E]) find(key K) (e E, ok bool) {
	e, ok = c.byKey[key]
	if ok {
		e.base().seen = true
	}
	return e, ok
}

func (c *cache[K, E]) add(e E) {
	e.base().seen = true
	c.byKey[e.id()] = e
	if c.limit > 0 {
		c.ring = append(c.ring, e)
	}
}

// remove takes back an entity that was added by the command now being declined.
func (c *cache[K, E]) remove(e E) {
	delete(c.byKey, e.id())
	if last := len(c.ring) - 1; last >= 0 {
		for i := last; i >= 0; i-- {
			if c.ring[i] == e {
				c.ring[i] = c.ring[last]
				c.ring = c.ring[:last]
				return
			}
		}
	}
}

// sweep is how many entities trim looks at: the cost of one command stays
// bounded, and more go than one command can bring in.
const sweep = 8

// trim lets go of entities over the limit that are durable as of checkpoint epoch.
func (c *cache[K, E]) trim(epoch uint32) {
	for range sweep {
		if c.limit == 0 || len(c.ring) <= c.limit {
			return
		}
		if c.hand >= len(c.ring) {
			c.hand = 0
		}
		e := c.ring[c.hand]
		n := e.base()
		switch {
		case n.seen:
			n.seen = false
			c.hand++
		case n.condition != clean || n.epoch > epoch:
			c.hand++
		default:
			last := len(c.ring) - 1
			c.ring[c.hand] = c.ring[last]
			var none E
			c.ring[last] = none
			c.ring = c.ring[:last]
			delete(c.byKey, e.id())
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
	r := reader{src: value}
	if version := r.byte(); version != stateVersion {
		return false, fmt.Errorf("book: state %x: version %d, want %d", b.keyScratch, version, stateVersion)
	}
	e.decodeValue(&r)
	if !r.ok() {
		return false, fmt.Errorf("book: state %x is malformed", b.keyScratch)
	}
	e.base().counted = true
	return true, nil
}
