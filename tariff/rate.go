package tariff

import (
	"iter"

	"github.com/lianfen/lianfen/points"
)

// Bounds of rates.
const (
	MaxTerm    uint64 = 999_999_999_999 // of numerator and denominator: 12 digits
	MaxVersion uint32 = 99_999_999      // 8 digits
	MaxSpread  uint32 = Million - 1     // parts per million
	// LeadTime is how long before it takes effect a version is approved at the
	// latest: five minutes, so that no decision can fall between two rates.
	LeadTime points.Timestamp = 5 * 60 * 1_000_000
)

// Digest is a SHA-256.
type Digest [32]byte

// Terms are what a rate version says: one smallest unit of the programme is worth
// Num/Den smallest units of the standard point.
type Terms struct {
	Program   points.ProgramID
	Side      Side
	From      points.Timestamp // inclusive; until the next version's From
	Num, Den  uint64           // 1 to MaxTerm
	SpreadPPM uint32           // of a swap's value; on the Buy side only
}

// Rate is one version of one side of one programme's rate. It is never edited.
type Rate struct {
	Terms                     // reduced: Num and Den have no common divisor
	Version  uint32           // dense from 1 per programme and side
	Maker    string           // who proposed it
	Checker  string           // who approved it
	Approved points.Timestamp // when
	Previous Digest           // of the version before; zero for the first
	Digest   Digest           // of everything above
}

// Rates is the append-only table of all rate versions. Reading is safe from many
// goroutines while nobody appends; [Rates.Clone] gives a copy to read elsewhere.
type Rates struct{}

// NewRates returns an empty table.
func NewRates() *Rates { return &Rates{} }

// Next returns the version that terms would be if checker approved now what maker
// proposed: reduced, numbered and chained. It changes nothing; [Rates.Append] does.
// It refuses with a sentence what is out of bounds, what takes effect less than
// [LeadTime] after now, and a maker who would be the checker.
func (r *Rates) Next(terms Terms, maker, checker string, now points.Timestamp) (Rate, error) {
	return Rate{}, nil
}

// Append adds a version that [Rates.Next] made, now or in the journal's past. It
// refuses what is not the next of its chain, and what has been changed since.
func (r *Rates) Append(rate Rate) error { return nil }

// At returns the version in force at t: of those with From at or before t the one
// with the latest From, of equal ones the highest version. nil before the first:
// then there is no rate, and never 1:1. It allocates nothing.
func (r *Rates) At(program points.ProgramID, side Side, t points.Timestamp) *Rate { return nil }

// Version returns one version, or nil.
func (r *Rates) Version(program points.ProgramID, side Side, version uint32) *Rate { return nil }

// All yields every version by programme, side and version.
func (r *Rates) All() iter.Seq[*Rate] { return func(func(*Rate) bool) {} }

// Len returns the number of versions.
func (r *Rates) Len() int { return 0 }

// Clone returns a copy that later appends to r do not reach, and the other way round.
func (r *Rates) Clone() *Rates { return nil }

// Digest is the digest of all versions that take effect before t, in the order of
// [Rates.All]. When t is at most [LeadTime] after the last approval's moment, no later
// approval changes it: it is the rates digest of a run that was cut at t.
func (r *Rates) Digest(before points.Timestamp) Digest { return Digest{} }
