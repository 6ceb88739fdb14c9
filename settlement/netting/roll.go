package netting

import "github.com/lianfen/lianfen/tariff"

// MaxParties is the largest number of institutions of one run.
const MaxParties = 2048

// Party is an institution of the run.
type Party struct {
	Member tariff.Member
	Class  Class
}

// Roll is the list of all members of a run, institutions by number and then the
// operator's accounts, and each one's place in it.
type Roll struct{}

// NewRoll returns the roll of parties, in any order. It refuses numbers that are not
// institutions, twice the same, and too many.
func NewRoll(parties []Party) (*Roll, error) { return nil, nil }

// Len returns the number of members, the operator's accounts among them.
func (r *Roll) Len() int { return 0 }

// Member returns the member at place i, 0 to Len-1.
func (r *Roll) Member(i int) tariff.Member { return 0 }

// Class returns the class of the member at place i.
func (r *Roll) Class(i int) Class { return 0 }

// Index returns the place of m.
func (r *Roll) Index(m tariff.Member) (i int, ok bool) { return 0, false }
