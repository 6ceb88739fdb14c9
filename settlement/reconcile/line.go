package reconcile

import (
	"bytes"
	"cmp"
	"encoding/binary"

	"github.com/lianfen/lianfen/points"
)

// Key is what the lines of one transaction have in common on all sides.
type Key struct {
	RRN      [12]byte // DE37
	Acquirer points.AcquirerID
	When     uint64 // DE7 with the year, yyyymmddhhmmss
	STAN     points.STAN
}

// Compare orders keys by DE37 first: the journal comes in that order.
func (k *Key) Compare(other *Key) int {
	if c := bytes.Compare(k.RRN[:], other.RRN[:]); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(k.Acquirer, other.Acquirer), cmp.Compare(k.When, other.When), cmp.Compare(k.STAN, other.STAN))
}

// Side is who gave a line.
type Side uint8

// Sides. Switch is our journal.
const (
	Switch Side = iota
	Acquirer
	Issuer

	sides
)

var sideNames = [sides]string{"switch", "acquirer", "issuer"}

// String names the side.
func (s Side) String() string {
	if s < sides {
		return sideNames[s]
	}
	return "side?"
}

// MarshalText renders the name.
func (s Side) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a name.
func (s *Side) UnmarshalText(text []byte) error {
	return parseName((*uint8)(s), sideNames[:], text, "side")
}

// Sides is a set of sides: bit n is the side n.
type Sides uint8

// In returns the set of s alone.
func In(s Side) Sides { return 1 << s }

// Both are the two sides that are compared with ours.
const Both = Sides(1<<Acquirer | 1<<Issuer)

// Has reports whether s is in the set.
func (set Sides) Has(s Side) bool { return set>>s&1 != 0 }

// Fields is a set of the fields that a partner need not tell.
type Fields uint8

// Fields that are compared only where both sides tell them.
const (
	TellsStatus Fields = 1 << iota
	TellsFee
	TellsDate
)

// Line is one cleared item as one side tells it. Amounts are in the programme's smallest
// unit, fees in standard points, both signed as in the side's own detail file.
type Line struct {
	Key
	Number uint64 // in its file, from 1; of ours the clearing id
	CID    uint64 // clearing id, 0: not told
	Amount int64
	Fees   [sides]int64 // interchange, switch fee, VAT and others together: ours has both partners' views, theirs their own
	Issuer points.IssuerID
	Date   points.BusinessDate
	Asset  [6]byte // programme, blank on the right
	Kind   [3]byte // RDM, EAR, ...
	Status [2]byte // DE39
	Tells  Fields

	Expect Sides // ours: in whose files it has to be
	Seen   Sides // ours: where it was found, now or with an earlier date
	Tries  uint8 // how many dates' files it was looked for in before
}

// Diffs is a set of differences between two lines of one key.
type Diffs uint8

// Differences, in the order in which the first one gives a pair its class.
const (
	DiffAsset Diffs = 1 << iota
	DiffAmount
	DiffStatus // DE39, or the kind of item
	DiffFee
	DiffDate
)

// diff compares ours with the line of side s.
func (l *Line) diff(theirs *Line, s Side) (d Diffs) {
	tells := l.Tells & theirs.Tells
	if l.Asset != theirs.Asset {
		d |= DiffAsset
	}
	if l.Amount != theirs.Amount {
		d |= DiffAmount
	}
	if l.Kind != theirs.Kind || (tells&TellsStatus != 0 && l.Status != theirs.Status) {
		d |= DiffStatus
	}
	if tells&TellsFee != 0 && l.Fees[s] != theirs.Fees[s] {
		d |= DiffFee
	}
	if tells&TellsDate != 0 && l.Date != theirs.Date {
		d |= DiffDate
	}
	return d
}

// lineSize is the length of a line on disk.
const lineSize = 12 + 8 + 8 + 4 + 8 + 8 + 8 + 3*8 + 8 + 4 + 6 + 3 + 2 + 4

func (l *Line) appendTo(dst []byte) []byte {
	dst = append(dst, l.RRN[:]...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(l.Acquirer))
	dst = binary.BigEndian.AppendUint64(dst, l.When)
	dst = binary.BigEndian.AppendUint32(dst, uint32(l.STAN))
	dst = binary.BigEndian.AppendUint64(dst, l.Number)
	dst = binary.BigEndian.AppendUint64(dst, l.CID)
	dst = binary.BigEndian.AppendUint64(dst, uint64(l.Amount)) //nolint:gosec // the bits.
	for _, fee := range l.Fees {
		dst = binary.BigEndian.AppendUint64(dst, uint64(fee)) //nolint:gosec // the bits.
	}
	dst = binary.BigEndian.AppendUint64(dst, uint64(l.Issuer))
	dst = binary.BigEndian.AppendUint32(dst, uint32(l.Date))
	dst = append(append(append(dst, l.Asset[:]...), l.Kind[:]...), l.Status[:]...)
	return append(dst, byte(l.Tells), byte(l.Expect), byte(l.Seen), l.Tries)
}

// decode reads what appendTo wrote; src has lineSize bytes.
func (l *Line) decode(src []byte) {
	word := func() uint64 {
		v := binary.BigEndian.Uint64(src)
		src = src[8:]
		return v
	}
	half := func() uint32 {
		v := binary.BigEndian.Uint32(src)
		src = src[4:]
		return v
	}
	src = src[copy(l.RRN[:], src):]
	l.Acquirer, l.When, l.STAN = points.AcquirerID(word()), word(), points.STAN(half())
	l.Number, l.CID, l.Amount = word(), word(), int64(word()) //nolint:gosec // the bits.
	for s := range l.Fees {
		l.Fees[s] = int64(word()) //nolint:gosec // the bits.
	}
	l.Issuer, l.Date = points.IssuerID(word()), points.BusinessDate(half())
	src = src[copy(l.Asset[:], src):]
	src = src[copy(l.Kind[:], src):]
	src = src[copy(l.Status[:], src):]
	l.Tells, l.Expect, l.Seen, l.Tries = Fields(src[0]), Sides(src[1]), Sides(src[2]), src[3]
}

func parseName(into *uint8, names []string, text []byte, what string) error {
	for i, name := range names {
		if name == string(text) && name != "" {
			*into = uint8(i)
			return nil
		}
	}
	return points.Errorf(points.FormatError, "%s %q: there is none", what, text)
}
