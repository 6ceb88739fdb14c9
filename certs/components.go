package certs

import (
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Imported is a key on its way into a keystore: from components or a key block.
type Imported struct {
	usage     Usage // 0: the source did not say
	loose     bool  // the source's word for the usage is wider than ours
	algorithm Algorithm
	bound     bool
	check     CheckValue
	secret    hidden[[]byte]
}

// Check is the key's check value, to be compared with the one that its sender told.
func (i *Imported) Check() CheckValue { return i.check }

// Algorithm is the key's algorithm.
func (i *Imported) Algorithm() Algorithm { return i.algorithm }

// Usage is what the source said that the key is for; 0 where it said nothing.
func (i *Imported) Usage() Usage { return i.usage }

// String is the key's algorithm and check value.
func (i *Imported) String() string { return fmt.Sprintf("key of %v KCV %v", i.algorithm, i.check) }

// Format writes [Imported.String] for every verb.
func (i *Imported) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, i.String()) }

// MarshalText is [Imported.String].
func (i *Imported) MarshalText() ([]byte, error) { return []byte(i.String()), nil }

// Components puts a key together from parts that different persons hold, none of whom
// knows the key: XORed, each part is as long as the key and tells nothing of it.
type Components struct {
	algorithm Algorithm
	parts     int
	sum       hidden[[]byte]
}

// NewComponents begins a key of algorithm.
func NewComponents(algorithm Algorithm) (*Components, error) {
	if algorithm.size() == 0 || algorithm == ECDSAP256 || algorithm == DES {
		return nil, fmt.Errorf("no key of %v comes in components", algorithm)
	}
	return &Components{algorithm: algorithm, sum: newSecret(make([]byte, algorithm.size()))}, nil
}

// Add adds a part, in hexadecimal digits that may stand in groups, and returns its
// check value, which its holder compares. The error does not quote the part.
func (c *Components) Add(part []byte) (CheckValue, error) {
	digits := []byte(strings.Join(strings.Fields(string(part)), ""))
	defer wipe(digits)
	plain := make([]byte, hex.DecodedLen(len(digits)))
	defer wipe(plain)
	if _, err := hex.Decode(plain, digits); err != nil || len(plain) != c.algorithm.size() {
		return CheckValue{}, fmt.Errorf("a part of a key of %v has %d hexadecimal digits", c.algorithm, 2*c.algorithm.size())
	}
	check, err := checkValue(c.algorithm, plain)
	if err != nil {
		return CheckValue{}, fmt.Errorf("components: %w", err)
	}
	subtle.XORBytes(c.sum(), c.sum(), plain)
	c.parts++
	return check, nil
}

// Key returns the key, of at least two parts.
func (c *Components) Key() (*Imported, error) {
	if c.parts < 2 {
		return nil, errors.New("components: a key has at least two parts, held by two persons")
	}
	check, err := checkValue(c.algorithm, c.sum())
	if err != nil {
		return nil, fmt.Errorf("components: %w", err)
	}
	if subtle.ConstantTimeCompare(c.sum(), make([]byte, len(c.sum()))) == 1 {
		return nil, errors.New("components: the parts cancel out; they are the same")
	}
	return &Imported{algorithm: c.algorithm, check: check, secret: c.sum}, nil
}

// Format writes the number of parts for every verb.
func (c *Components) Format(state fmt.State, _ rune) {
	_, _ = fmt.Fprintf(state, "%d parts of a key of %v", c.parts, c.algorithm)
}

// looseUsage is the usage that stands for all that a key block does not tell apart.
func looseUsage(u Usage) Usage {
	switch u {
	case PINWorking, ZonePIN:
		return ZonePIN
	case MACWorking, ZoneMAC:
		return ZoneMAC
	case TerminalMaster, ZoneMaster:
		return ZoneMaster
	default:
		return u
	}
}
