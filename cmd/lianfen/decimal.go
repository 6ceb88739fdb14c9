package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/lianfen/lianfen/points"
)

// whole is a number that a flag sets.
type whole interface {
	~int | ~int64 | ~uint8 | ~uint16 | ~uint32 | ~uint64
}

// decimalFlag reads a number as people write it. Go's own flags take a leading zero
// for octal: --amount 010 would be 8.
type decimalFlag[T whole] struct{ to *T }

// decimal makes a flag that sets to, which is value at first.
func decimal[T whole](to *T, value T) *decimalFlag[T] {
	*to = value
	return &decimalFlag[T]{to}
}

// Set reads decimal digits, below zero where the number can be.
func (d *decimalFlag[T]) Set(text string) error {
	var zero T
	if zero-1 < zero {
		v, err := strconv.ParseInt(text, 10, 64)
		if err != nil || int64(T(v)) != v {
			return fmt.Errorf("%q is not a whole number in decimal digits that fits; want one such as 50 or -50", text)
		}
		*d.to = T(v)
		return nil
	}
	v, err := strconv.ParseUint(text, 10, 64)
	if err != nil || uint64(T(v)) != v {
		return fmt.Errorf("%q is not a whole number in decimal digits, from 0 to %d", text, uint64(zero-1))
	}
	*d.to = T(v)
	return nil
}

// String is for the help's default.
func (d *decimalFlag[T]) String() string {
	if d == nil || d.to == nil {
		return "0"
	}
	return fmt.Sprint(*d.to)
}

// Type is for the help.
func (*decimalFlag[T]) Type() string { return "number" }

// programList is a flag for programmes, which may be repeated or have commas in it.
type programList struct{ to *[]points.ProgramID }

// Set adds programmes.
func (p *programList) Set(text string) error {
	for word := range strings.SplitSeq(text, ",") {
		var id points.ProgramID
		if err := decimal(&id, 0).Set(strings.TrimSpace(word)); err != nil || !id.Valid() {
			return fmt.Errorf("%q is no programme: want %d to %d", word, points.MinProgram, points.MaxProgram)
		}
		*p.to = append(*p.to, id)
	}
	return nil
}

// String is for the help's default.
func (p *programList) String() string { return "" }

// Type is for the help.
func (*programList) Type() string { return "numbers" }
