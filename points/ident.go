package points

import (
	"fmt"
	"strconv"
	"strings"
)

// ProgramID is the numeric code of a programme, one points currency, as DE49
// carries it: 900 to 998, the codes that ISO 4217 leaves to its users. 0 is "no
// programme named".
type ProgramID uint16

// Bounds of programme codes, and codes that are not programmes.
const (
	MinProgram ProgramID = 900
	MaxProgram ProgramID = 998
	// Standard is the unit that swaps and settlement count in (标准积分, QZP).
	Standard ProgramID = 999
	// Renminbi is what DE49 says when a terminal names no programme.
	Renminbi ProgramID = 156
)

// Valid reports whether p can name a programme.
func (p ProgramID) Valid() bool { return p >= MinProgram && p <= MaxProgram }

// IssuerID names the institution that owes the points: 1 to 11 digits as DE100
// carries it, eight in settlement files.
type IssuerID uint64

// AcquirerID names the institution that brings the traffic: DE32, 1 to 11 digits.
type AcquirerID uint64

// MaxInstitution is the largest institution number that DE32, 33 and 100 carry.
const MaxInstitution = 99_999_999_999

// MemberID names a person at one or more programmes. Whoever opens the member
// chooses it.
type MemberID uint64

// TerminalID is DE41: eight characters, padded with blanks on the right.
type TerminalID [8]byte

// MerchantID is DE42: fifteen characters, padded with blanks on the right.
type MerchantID [15]byte

// ParseTerminalID reads 1 to 8 printable characters.
func ParseTerminalID(s string) (TerminalID, error) {
	var id TerminalID
	return id, parsePadded(id[:], s, "terminal (DE41)")
}

// ParseMerchantID reads 1 to 15 printable characters.
func ParseMerchantID(s string) (MerchantID, error) {
	var id MerchantID
	return id, parsePadded(id[:], s, "merchant (DE42)")
}

// String returns the identity without its padding.
func (t TerminalID) String() string { return trimPadding(t[:]) }

// String returns the identity without its padding.
func (m MerchantID) String() string { return trimPadding(m[:]) }

// MarshalText renders the identity without its padding.
func (t TerminalID) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// MarshalText renders the identity without its padding.
func (m MerchantID) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (t *TerminalID) UnmarshalText(text []byte) (err error) {
	*t, err = ParseTerminalID(string(text))
	return err
}

// UnmarshalText reads what MarshalText wrote.
func (m *MerchantID) UnmarshalText(text []byte) (err error) {
	*m, err = ParseMerchantID(string(text))
	return err
}

func parsePadded(dst []byte, s, what string) error {
	if s == "" || len(s) > len(dst) {
		return Errorf(FormatError, "%s %q: %d characters, want 1 to %d", what, s, len(s), len(dst))
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return Errorf(FormatError, "%s %q: character %d is not printable", what, s, i+1)
		}
	}
	n := copy(dst, s)
	for ; n < len(dst); n++ {
		dst[n] = ' '
	}
	return nil
}

func trimPadding(b []byte) string { return strings.TrimRight(string(b), " \x00") }

// STAN is DE11, the systems trace audit number: six digits that the sender sets.
type STAN uint32

// String renders six digits.
func (s STAN) String() string { return fmt.Sprintf("%06d", uint32(s)) }

// Class is the second digit of the message type: what a message is about,
// whatever direction it goes and however often it is sent.
type Class uint8

// Message classes of ISO 8583.
const (
	ClassAuthorisation Class = 1
	ClassFinancial     Class = 2
	ClassFile          Class = 3
	ClassReversal      Class = 4
	ClassTotals        Class = 5
	ClassNetwork       Class = 8
)

// Door tells which kind of entrance a request came through. It is part of the
// request's identity, since two doors count their traces apart.
type Door uint8

// Doors.
const (
	DoorTerminal Door = iota + 1 // dialect pos
	DoorHost                     // dialect host
	DoorOperator                 // command line and HTTP
	DoorClock                    // the house itself, when something falls due
)

// TraceKey is the identity of a request: the same key with the same content gets
// the same answer, the same key with other content is refused.
//
//	terminal: acquirer, terminal (DE41), batch (DE60.2), STAN, class
//	host:     acquirer (DE32), forwarder (DE33), transmission time (DE7), STAN, class
//	operator: request id in Source and When, class 0
type TraceKey struct {
	Acquirer AcquirerID
	Source   [8]byte // DE41, or DE33 as a big-endian number
	When     uint64  // batch number, or MMDDhhmmss
	STAN     STAN
	Class    Class
	Door     Door
}

// String is for logs and for people.
func (k TraceKey) String() string {
	source := trimPadding(k.Source[:])
	if k.Door != DoorTerminal {
		source = strconv.Quote(source)
	}
	return fmt.Sprintf("%d/%s/%d/%s/%d", k.Acquirer, source, k.When, k.STAN, k.Class)
}
