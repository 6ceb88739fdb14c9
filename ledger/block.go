package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

const (
	blockVersion = 1
	hashSize     = sha256.Size
	prevAt       = 1
	countAt      = prevAt + hashSize
	recordsAt    = countAt + 4
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
}

// last is the position of the block's last record.
func (b *block) last() points.Position { return b.first + points.Position(b.count) - 1 } //nolint:gosec // count > 0.

// beginBlock starts the value of a block; records are appended to it.
func beginBlock(dst []byte, prev hash) []byte {
	dst = append(dst[:0], blockVersion)
	dst = append(dst, prev[:]...)
	return append(dst, 0, 0, 0, 0)
}

// endBlock sets the count and seals the value with its hash.
func endBlock(value []byte, first points.Position, count int) ([]byte, hash) {
	binary.BigEndian.PutUint32(value[countAt:], uint32(count)) //nolint:gosec // bounded by GroupMax.
	sum := sealOf(first, value)
	return append(value, sum[:]...), sum
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

// readBlock takes a block apart and checks its seal. The result's bytes are
// value's own.
func readBlock(key, value []byte) (block, error) {
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
	if body[0] != blockVersion {
		return block{}, damaged(b.first, "block version %d, this program reads %d", body[0], blockVersion)
	}
	copy(b.prev[:], body[prevAt:])
	b.count = int(binary.BigEndian.Uint32(body[countAt:]))
	b.bytes = body[recordsAt:]
	if b.count == 0 {
		return block{}, damaged(b.first, "a block without records")
	}
	return b, nil
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
