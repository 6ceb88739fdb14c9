package netting

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// Tags keep digests of nodes and of roots apart, as RFC 6962 does. Those of chunks begin with
// the length of a record in four bytes, of which the first is 0: it is their tag.
const (
	tagNode = 1
	tagRoot = 2
)

// Root is the Merkle root over the digests of chunks, in the order of the journal, with the number
// of records in all of them. The tree is that of RFC 6962: the left half is the largest power of two that
// leaves something for the right.
func Root(chunks []tariff.Digest, records uint64) tariff.Digest {
	b := binary.BigEndian.AppendUint64([]byte{tagRoot}, records)
	tree := tariff.Digest(sha256.Sum256(nil))
	if len(chunks) > 0 {
		tree = node(chunks)
	}
	return sha256.Sum256(append(b, tree[:]...))
}

// node is the root of the tree over digests, of which there is one at least.
func node(digests []tariff.Digest) tariff.Digest {
	if len(digests) == 1 {
		return digests[0]
	}
	half := 1 << (bits.Len(uint(len(digests)-1)) - 1)
	left, right := node(digests[:half]), node(digests[half:])
	var b [1 + 2*sha256.Size]byte
	b[0] = tagNode
	copy(b[1:], left[:])
	copy(b[1+sha256.Size:], right[:])
	return sha256.Sum256(b[:])
}

// RunKey says what a run is a function of: the same key must give the same bytes.
type RunKey struct {
	Date   points.BusinessDate
	Cycle  uint8
	Rates  tariff.Digest // see [tariff.Rates.Digest]
	Fees   tariff.Digest // see [tariff.Fees.Digest]
	Policy tariff.Digest // see [Policy]
	Input  tariff.Digest // see [Root]
	Code   string        // version of the program
}

// Digest is the key in 32 bytes.
func (k RunKey) Digest() tariff.Digest {
	b := []byte("lianfen run 1\n")
	b = binary.BigEndian.AppendUint32(b, uint32(k.Date))
	b = append(b, k.Cycle)
	for _, digest := range [...]tariff.Digest{k.Rates, k.Fees, k.Policy, k.Input} {
		b = append(b, digest[:]...)
	}
	return sha256.Sum256(append(b, k.Code...))
}
