package netting

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// MaxParties is the largest number of institutions of one run: what pairs of members
// need grows with its square.
const MaxParties = 2048

// Party is an institution of the run.
type Party struct {
	Member tariff.Member
	Class  Class
}

// Roll is the list of all members of a run, institutions by number and then the
// operator's accounts, and each one's place in it. It does not change.
type Roll struct {
	members []Party
	// places finds a member's place plus one, 0 for none: open addressing, at most half
	// full, the first slot told by the highest bits of a product.
	places []uint16
	shift  int
}

// NewRoll returns the roll of parties, in any order. It refuses numbers that are not
// institutions, twice the same, and too many.
func NewRoll(parties []Party) (*Roll, error) {
	if len(parties) > MaxParties {
		return nil, points.Errorf(points.FormatError, "members of a run: %d institutions, at most %d", len(parties), MaxParties)
	}
	r := &Roll{members: slices.Clone(parties)}
	slices.SortFunc(r.members, func(a, b Party) int { return int(a.Member) - int(b.Member) })
	for i, party := range r.members {
		switch {
		case !party.Member.Institution():
			return nil, points.Errorf(points.FormatError, "members of a run: %v is not an institution's number of 1 to 8 digits", party.Member)
		case party.Class < 1 || party.Class > MaxClass:
			return nil, points.Errorf(points.FormatError, "members of a run: %v is of class %d, want 1 to %d", party.Member, party.Class, MaxClass)
		case i > 0 && r.members[i-1].Member == party.Member:
			return nil, points.Errorf(points.FormatError, "members of a run: %v is there twice", party.Member)
		}
	}
	for _, account := range tariff.Accounts() {
		r.members = append(r.members, Party{Member: account, Class: Operator})
	}
	size := bits.Len(uint(2*len(r.members) - 1))
	r.places, r.shift = make([]uint16, 1<<size), 32-size
	for i, party := range r.members {
		slot := r.slot(party.Member)
		for r.places[slot] != 0 {
			slot = (slot + 1) & (len(r.places) - 1)
		}
		r.places[slot] = uint16(i + 1)
	}
	return r, nil
}

// slot returns where the search for m begins (Fibonacci hashing).
func (r *Roll) slot(m tariff.Member) int { return int(uint32(m) * 2_654_435_769 >> r.shift) }

// Len returns the number of members, the operator's accounts among them.
func (r *Roll) Len() int { return len(r.members) }

// Member returns the member at place i, 0 to Len-1.
func (r *Roll) Member(i int) tariff.Member { return r.members[i].Member }

// Class returns the class of the member at place i.
func (r *Roll) Class(i int) Class { return r.members[i].Class }

// Index returns the place of m.
func (r *Roll) Index(m tariff.Member) (i int, ok bool) {
	for slot := r.slot(m); r.places[slot] != 0; slot = (slot + 1) & (len(r.places) - 1) {
		if place := int(r.places[slot] - 1); r.members[place].Member == m {
			return place, true
		}
	}
	return 0, false
}

// Policy is the digest of who takes part, in which class, and of the models: with the
// rates, the fees and the items all that positions depend on.
func Policy(roll *Roll, models *Models) tariff.Digest {
	b := []byte("lianfen policy 1\n")
	for _, party := range roll.members {
		b = binary.BigEndian.AppendUint32(b, uint32(party.Member))
		b = append(b, byte(party.Class))
	}
	for kind := range models.of {
		for one := range models.of[kind] {
			for _, model := range models.of[kind][one] {
				b = append(b, byte(model))
			}
		}
	}
	return sha256.Sum256(b)
}
