package ledger

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// Bounds of the blocks that the applying goroutine keeps at hand.
const (
	recentBytes  = 32 << 20 // of blocks written by this process
	recentBlocks = 16_384
	spareBlocks  = 16 // whose memory waits for the next block
	pastBlocks   = 8  // read back from the store
)

// indexed is a block with the places of its records.
type indexed struct {
	first   points.Position
	value   []byte // where its records are, not packed
	offsets []int  // of the records in value
}

// record decodes the record at position, which is not before the block.
func (x *indexed) record(position points.Position, rec *book.Record) error {
	i := position - x.first
	if i >= points.Position(len(x.offsets)) {
		return fmt.Errorf("ledger: position %d: %w", position, errNoSuchRecord)
	}
	_, err := decodeAt(position, x.value[x.offsets[i]:], rec)
	return err
}

// recent is the blocks written last. What a terminal asks about is mostly young,
// and whether it is durable does not matter here: the book that asks knows it
// already, and its answer waits for its own block, which is later.
type recent struct {
	blocks []indexed // ascending; blocks[gone:]
	gone   int
	bytes  int
	spare  []indexed
}

// blank returns a block to be written, in the memory of an old one where there is one.
func (r *recent) blank() indexed {
	if n := len(r.spare); n > 0 {
		x := r.spare[n-1]
		r.spare = r.spare[:n-1]
		return x
	}
	return indexed{}
}

// reuse takes the memory of a block that is not needed.
func (r *recent) reuse(x indexed) {
	if len(r.spare) < spareBlocks {
		r.spare = append(r.spare, x)
	}
}

// keep adds the block written last, and lets go of the oldest over the bounds.
func (r *recent) keep(x indexed) {
	r.blocks = append(r.blocks, x)
	r.bytes += len(x.value)
	for len(r.blocks)-r.gone > 1 && (r.bytes > recentBytes || len(r.blocks)-r.gone > recentBlocks) {
		old := r.blocks[r.gone]
		r.blocks[r.gone] = indexed{}
		r.gone++
		r.bytes -= len(old.value)
		r.reuse(old)
	}
	if r.gone > recentBlocks {
		r.blocks = append(r.blocks[:0], r.blocks[r.gone:]...)
		r.gone = 0
	}
}

// find returns the block with position, nil when it is not at hand.
func (r *recent) find(position points.Position) *indexed {
	blocks := r.blocks[r.gone:]
	if len(blocks) == 0 || position < blocks[0].first {
		return nil
	}
	i, found := slices.BinarySearchFunc(blocks, position, func(x indexed, p points.Position) int { return cmp.Compare(x.first, p) })
	if !found {
		i--
	}
	return &blocks[i]
}

// past is the blocks read back last. It is used by one goroutine.
type past struct {
	blocks [pastBlocks]indexed
	next   int // to be replaced
	read   []byte
}

// find returns the block with position from memory or the store. It is checked
// against its hash when check is set.
func (p *past) find(s *store.Store, position points.Position, check bool) (*indexed, error) {
	for i := range p.blocks {
		if x := &p.blocks[i]; position >= x.first && position-x.first < points.Position(len(x.offsets)) {
			return x, nil
		}
	}
	x := &p.blocks[p.next]
	p.next = (p.next + 1) % pastBlocks
	x.offsets = x.offsets[:0] // Nothing is found in it, should reading fail.
	key, value, ok, err := s.AtOrBefore(p.read[:0], store.Journal, blockKey(position))
	if err != nil {
		return nil, err
	}
	p.read = value
	if !ok {
		return nil, fmt.Errorf("ledger: position %d: %w", position, errNoSuchRecord)
	}
	if check {
		if _, err := proveBlock(key, value); err != nil {
			return nil, err
		}
	}
	return x, x.index(key, value)
}

// index takes over the records of a block from the store and finds where each begins.
func (x *indexed) index(key, value []byte) (err error) {
	if len(key) != 8 {
		return damaged(0, "a block's key has %d bytes, want 8", len(key))
	}
	x.first = points.Position(binary.BigEndian.Uint64(key))
	records, err := unpack(x.value, x.first, value)
	if err != nil {
		return err
	}
	if value[0] == plainBlock {
		records = append(x.value[:0], records...)
	}
	x.value = records
	for at := 0; at < len(records); {
		n, err := book.SkipRecord(records[at:])
		if err != nil {
			return damaged(x.first+points.Position(len(x.offsets)), "%v", err)
		}
		x.offsets = append(x.offsets, at)
		at += n
	}
	return nil
}
