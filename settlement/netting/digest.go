package netting

import (
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// ChunkRecords is the number of records under one digest.
const ChunkRecords = 65_536

// Chunk digests the records of one chunk, in key order: all chunks but the last have
// [ChunkRecords]. Chunks may be digested by several workers. The zero value is not usable.
type Chunk struct{}

// NewChunk returns an empty chunk.
func NewChunk() *Chunk { return nil }

// Add digests one record; how records are divided matters as much as their bytes. It
// reports false, and leaves the record out, when the chunk is full.
func (c *Chunk) Add(record []byte) bool { return false }

// Len returns the number of records.
func (c *Chunk) Len() int { return 0 }

// Sum returns the digest so far.
func (c *Chunk) Sum() tariff.Digest { return tariff.Digest{} }

// Reset empties the chunk for the next one.
func (c *Chunk) Reset() {}

// Root is the Merkle root over the digests of chunks, in key order, with the number of
// records: the tree of RFC 6962.
func Root(chunks []tariff.Digest, records uint64) tariff.Digest { return tariff.Digest{} }

// RunKey says what a run is a function of: the same key must give the same bytes.
type RunKey struct {
	Date   points.BusinessDate
	Cycle  uint8
	Rates  tariff.Digest // of rates and fees
	Fees   tariff.Digest
	Code   string // version of the program
	Input  tariff.Digest
	Policy tariff.Digest // of members, classes and models
}

// Digest is the key in 32 bytes.
func (k RunKey) Digest() tariff.Digest { return tariff.Digest{} }
