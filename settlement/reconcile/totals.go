package reconcile

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"math/big"
	"math/bits"
	"slices"

	"github.com/lianfen/lianfen/points"
)

// Totals are what a multiset of lines comes to: per member, date and kind, and a digest
// over all. They cost one reading and no order, so they are compared first: equal totals
// and an equal digest end the comparison of two sides.
type Totals struct {
	side   Side
	sums   map[TotalKey]*Total
	digest [4]uint64
	buffer []byte
	silent bool // a line did not tell what the others are compared by
}

// TotalKey is what a total is of. Member is the partner whose file it would stand in.
type TotalKey struct {
	Member uint64
	Date   points.BusinessDate
	Kind   [3]byte
}

// Total is a count and two sums, in 128 bits: of the amounts in the acquirer's view, and of
// the clearing ids.
type Total struct {
	Count  uint64
	Amount Sum
	CID    Sum
}

// Sum is a 128-bit sum of signed numbers.
type Sum struct {
	Hi int64
	Lo uint64
}

func (s *Sum) add(n int64) {
	var carry uint64
	s.Lo, carry = bits.Add64(s.Lo, uint64(n), 0) //nolint:gosec // two's complement.
	s.Hi += n>>63 + int64(carry)                 //nolint:gosec // 0 or 1.
}

func (s *Sum) addID(n uint64) {
	var carry uint64
	s.Lo, carry = bits.Add64(s.Lo, n, 0)
	s.Hi += int64(carry) //nolint:gosec // 0 or 1.
}

// String renders the number in decimal.
func (s Sum) String() string {
	n := new(big.Int).SetInt64(s.Hi)
	n.Lsh(n, 64).Add(n, new(big.Int).SetUint64(s.Lo)) //nolint:mnd // bits.
	return n.String()
}

// MarshalText renders the number in decimal: it may be longer than JSON's readers take.
func (s Sum) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *Sum) UnmarshalText(text []byte) error {
	n, ok := new(big.Int).SetString(string(text), 10)
	if !ok || n.BitLen() > 126 {
		return points.Errorf(points.FormatError, "sum %q: want a whole number of 128 bits", text)
	}
	hi := new(big.Int).Rsh(n, 64) //nolint:mnd // bits.
	s.Hi, s.Lo = hi.Int64(), n.Sub(n, hi.Lsh(hi, 64)).Uint64()
	return nil
}

// NewTotals begins totals of what stands in the files of a side. Of our own lines it is the
// side that they are to be compared with, and lines that are not expected there are left out.
func NewTotals(side Side) *Totals {
	return &Totals{side: side, sums: make(map[TotalKey]*Total)}
}

// Add adds a line. Only what both sides can tell is in the digest: fees, state and date
// where compares says so. A line that tells less makes the totals equal to none.
func (t *Totals) Add(line *Line, compares Fields) {
	if line.Expect != 0 && !line.Expect.Has(t.side) {
		return
	}
	t.silent = t.silent || compares&^line.Tells != 0
	key := TotalKey{uint64(line.Acquirer), line.Date, line.Kind}
	if t.side == Issuer {
		key.Member = uint64(line.Issuer)
	}
	sum := t.sums[key]
	if sum == nil {
		sum = new(Total)
		t.sums[key] = sum
	}
	sum.Count++
	sum.Amount.add(line.Amount)
	sum.CID.addID(line.CID)

	told := Line{Key: line.Key, Amount: line.Amount, Asset: line.Asset, Kind: line.Kind}
	if compares&TellsStatus != 0 {
		told.Status = line.Status
	}
	if compares&TellsFee != 0 {
		told.Fees[t.side] = line.Fees[t.side]
	}
	if compares&TellsDate != 0 {
		told.Date = line.Date
	}
	t.buffer = told.appendTo(t.buffer[:0])
	hash := sha256.Sum256(t.buffer)
	var carry uint64
	for i := range t.digest {
		t.digest[i], carry = bits.Add64(t.digest[i], binary.LittleEndian.Uint64(hash[8*i:]), carry)
	}
}

// Digest is the sum of the SHA-256 of the lines, modulo 2^256: it does not depend on their
// order, and it counts each. It finds errors; against forgery there is the file's signature.
func (t *Totals) Digest() string {
	var b [32]byte
	for i, word := range t.digest {
		binary.LittleEndian.PutUint64(b[8*i:], word)
	}
	return hex.EncodeToString(b[:])
}

// Lines is how many lines were added.
func (t *Totals) Lines() (n uint64) {
	for _, sum := range t.sums {
		n += sum.Count
	}
	return n
}

// TotalDiff is a total that is not the same on both sides.
type TotalDiff struct {
	TotalKey
	Ours, Theirs Total
}

// Compare returns the totals that differ, in order, and whether nothing does, the digest
// included. Clearing ids are compared where they have any.
func (t *Totals) Compare(theirs *Totals) (diffs []TotalDiff, equal bool) {
	keys := maps.Clone(t.sums)
	maps.Copy(keys, theirs.sums)
	for key := range keys {
		var d TotalDiff
		d.TotalKey = key
		if sum := t.sums[key]; sum != nil {
			d.Ours = *sum
		}
		if sum := theirs.sums[key]; sum != nil {
			d.Theirs = *sum
		}
		ids := d.Theirs.CID != Sum{}
		if d.Ours.Count != d.Theirs.Count || d.Ours.Amount != d.Theirs.Amount || (ids && d.Ours.CID != d.Theirs.CID) {
			diffs = append(diffs, d)
		}
	}
	slices.SortFunc(diffs, func(a, b TotalDiff) int {
		return cmp.Or(cmp.Compare(a.Member, b.Member), cmp.Compare(a.Date, b.Date), slices.Compare(a.Kind[:], b.Kind[:]))
	})
	return diffs, len(diffs) == 0 && t.digest == theirs.digest && !t.silent && !theirs.silent
}
