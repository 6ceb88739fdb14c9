package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/golang/snappy"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// A block as it stands in the journal:
//
//	version  1 byte
//	prev     hash of the block before, 32 bytes
//	count    of the records, 4 bytes, big-endian
//	records  one after the other; of version 2, as one block of Snappy
//	seal     SHA-256 of the key and of all of the above
//
// What a terminal asks resembles what others ask at the same time, so a large group
// packs to less than half. A block that packing would not shorten has version 1, as
// all had that were written before there was version 2.
const (
	plainBlock  = 1
	packedBlock = 2

	hashSize  = sha256.Size
	prevAt    = 1
	countAt   = prevAt + hashSize
	recordsAt = countAt + 4

	// maxPacking is how many times shorter records can be than they were: no element
	// of Snappy's stands for more. More is a lie about how much memory to make.
	maxPacking = 22
)

type hash [hashSize]byte

// DamageError says that the journal cannot be trusted from a position on.
type DamageError struct {
	Position points.Position // first that cannot be trusted
	Cause    string
}

// Error names the position, the cause and what an operator can do.
func (e *DamageError) Error() string {
	return fmt.Sprintf("ledger: the journal is damaged at position %d: %s; stop, keep the files, and restore from a backup (docs/operations.md)", e.Position, e.Cause)
}

func damaged(position points.Position, format string, args ...any) error {
	return &DamageError{Position: position, Cause: fmt.Sprintf(format, args...)}
}

// block is one group's records as they stand in the journal.
type block struct {
	first points.Position
	count int
	prev  hash
	hash  hash
	bytes []byte // records, one after the other
	value []byte // all of it, as it stands there
}

// last is the position of the block's last record.
func (b *block) last() points.Position { return b.first + points.Position(b.count) - 1 } //nolint:gosec // count > 0.

// beginBlock starts an open block; records are appended to it.
func beginBlock(dst []byte, prev hash) []byte {
	dst = append(dst[:0], plainBlock)
	dst = append(dst, prev[:]...)
	return append(dst, 0, 0, 0, 0)
}

// endBlock sets the count of an open block, and makes of it in dst's memory what is
// written: packed and sealed with its hash.
func endBlock(dst, open []byte, first points.Position, count int) ([]byte, hash) {
	binary.BigEndian.PutUint32(open[countAt:], uint32(count)) //nolint:gosec // bounded by GroupMax.
	room := recordsAt + snappy.MaxEncodedLen(len(open)-recordsAt) + hashSize
	dst = append(slices.Grow(dst[:0], room), open[:recordsAt]...)
	if packed := snappy.Encode(dst[recordsAt:room], open[recordsAt:]); len(packed) < len(open)-recordsAt {
		dst[0] = packedBlock
		dst = dst[:recordsAt+len(packed)] // Where they were put.
	} else {
		dst = append(dst, open[recordsAt:]...)
	}
	sum := sealOf(first, dst)
	return append(dst, sum[:]...), sum
}

func sealOf(first points.Position, value []byte) hash {
	h := sha256.New()
	h.Write(blockKey(first))
	h.Write(value)
	var sum hash
	h.Sum(sum[:0])
	return sum
}

func blockKey(first points.Position) []byte {
	return binary.BigEndian.AppendUint64(make([]byte, 0, 8), uint64(first))
}

// readBlock is proveBlock, and its records.
func readBlock(key, value []byte) (block, error) {
	b, err := proveBlock(key, value)
	if err != nil {
		return block{}, err
	}
	if b.bytes, err = unpack(nil, b.first, value); err != nil {
		return block{}, err
	}
	return b, nil
}

// proveBlock takes a block apart and checks its seal. Its records are left as they are:
// to unpack them takes longer than all of this. The result's value is value itself.
func proveBlock(key, value []byte) (block, error) {
	if len(key) != 8 {
		return block{}, damaged(0, "a block's key has %d bytes, want 8", len(key))
	}
	b := block{first: points.Position(binary.BigEndian.Uint64(key))}
	if len(value) < recordsAt+hashSize {
		return block{}, damaged(b.first, "a block of %d bytes, want at least %d", len(value), recordsAt+hashSize)
	}
	body := value[:len(value)-hashSize]
	copy(b.hash[:], value[len(body):])
	if sealOf(b.first, body) != b.hash {
		return block{}, damaged(b.first, "the block's hash does not match its content")
	}
	copy(b.prev[:], body[prevAt:])
	b.count, b.value = int(binary.BigEndian.Uint32(body[countAt:])), value
	if b.count == 0 {
		return block{}, damaged(b.first, "a block without records")
	}
	return b, nil
}

// unpack returns the records of a block as it stands in the journal: part of value,
// or in dst's memory.
func unpack(dst []byte, first points.Position, value []byte) ([]byte, error) {
	if len(value) < recordsAt+hashSize {
		return nil, damaged(first, "a block of %d bytes, want at least %d", len(value), recordsAt+hashSize)
	}
	records := value[recordsAt : len(value)-hashSize]
	switch value[0] {
	case plainBlock:
		return records, nil
	case packedBlock:
	default:
		return nil, damaged(first, "block version %d, this program reads %d and %d", value[0], plainBlock, packedBlock)
	}
	size, err := snappy.DecodedLen(records)
	if err == nil && size > maxPacking*len(records) {
		err = snappy.ErrCorrupt
	}
	if err == nil {
		records, err = snappy.Decode(slices.Grow(dst[:0], size)[:size], records)
	}
	if err != nil {
		return nil, damaged(first, "the block's records cannot be unpacked: %v", err)
	}
	return records, nil
}

// visit decodes the block's records in order into rec.
func (b *block) visit(rec *book.Record, each func(*book.Record) error) error {
	return b.each(func(position points.Position, bytes []byte) (int, error) {
		n, err := decodeAt(position, bytes, rec)
		if err != nil {
			return 0, err
		}
		return n, each(rec)
	})
}

// each calls read with the position of each record and the bytes from its first on, of
// which it returns how many are the record's.
func (b *block) each(read func(position points.Position, bytes []byte) (int, error)) error {
	rest, position := b.bytes, b.first
	for range b.count {
		n, err := read(position, rest)
		if err != nil {
			return err
		}
		rest, position = rest[n:], position+1
	}
	if len(rest) != 0 {
		return damaged(position, "%d bytes after the block's last record", len(rest))
	}
	return nil
}

var errNoSuchRecord = errors.New("ledger: there is no record there")

// record decodes the one record at position, which is not before first; those
// before it are skipped over.
func record(bytes []byte, first, position points.Position, rec *book.Record) error {
	for ; first < position && len(bytes) > 0; first++ {
		n, err := book.SkipRecord(bytes)
		if err != nil {
			return damaged(first, "%v", err)
		}
		bytes = bytes[n:]
	}
	if len(bytes) == 0 {
		return fmt.Errorf("ledger: position %d: %w", position, errNoSuchRecord)
	}
	_, err := decodeAt(position, bytes, rec)
	return err
}

// decodeAt decodes the record of position, with which bytes begin.
func decodeAt(position points.Position, bytes []byte, rec *book.Record) (n int, err error) {
	n, err = book.DecodeRecord(bytes, rec)
	if err != nil {
		return 0, damaged(position, "%v", err)
	}
	if rec.Outcome.Position != position {
		return 0, damaged(position, "the record there says %d", rec.Outcome.Position)
	}
	return n, nil
}
