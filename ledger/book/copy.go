package book

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// SkipRecord returns the length of the record that src begins with, without
// looking into it.
func SkipRecord(src []byte) (n int, err error) {
	size, prefix := binary.Uvarint(src)
	if prefix <= 0 || size > maxRecord || size > uint64(len(src)-prefix) { //nolint:gosec // prefix <= len(src).
		return 0, fmt.Errorf("%w: length %d of %d bytes", errRecord, size, len(src))
	}
	return prefix + int(size), nil
}

// Clone returns a copy of o that shares no slices with it.
func (o *Outcome) Clone() Outcome {
	c := *o
	c.Postings, c.Lots, c.Others = slices.Clone(o.Postings), slices.Clone(o.Lots), slices.Clone(o.Others)
	c.Legs = slices.Clone(o.Legs)
	return c
}
