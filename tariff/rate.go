package tariff

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"iter"
	"slices"

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
type Digest [sha256.Size]byte

// String renders 64 hexadecimal digits.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText is [Digest.String].
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (d *Digest) UnmarshalText(text []byte) error {
	read, err := hex.DecodeString(string(text))
	if err != nil || len(read) != len(d) {
		return points.Errorf(points.FormatError, "digest %q: want %d hexadecimal digits", text, 2*len(d))
	}
	*d = Digest(read)
	return nil
}

// Terms are what a rate version says: one smallest unit of the programme is worth
// Num/Den smallest units of the standard point.
type Terms struct {
	Program   points.ProgramID
	Side      Side
	From      points.Timestamp // inclusive; until the next version's From
	Num, Den  uint64           // 1 to MaxTerm
	SpreadPPM uint32           // of a swap's value; on the Buy side only
	// Into makes the version one for swaps into this programme only, which takes the place
	// of the others there: an override of the pair, on the Buy side, numbered and chained
	// with the others. One of 0/0 ends it. 0: for all that have none of their own.
	Into points.ProgramID
}

// ends reports whether a version ends the override of its pair.
func (t *Terms) ends() bool { return t.Into != 0 && t.Num == 0 && t.Den == 0 }

// String names the series, and the pair where it is about one.
func (t Terms) String() string {
	if t.Into != 0 {
		return fmt.Sprintf("rate of %d %v into %d", t.Program, t.Side, t.Into)
	}
	return fmt.Sprintf("rate of %d %v", t.Program, t.Side)
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
type Rates struct {
	series [programs * int(endOfSides-1)]series
	n      int
}

const programs = int(points.MaxProgram-points.MinProgram) + 1

// series is all versions of one side of one programme. Its slices are replaced, never
// written to, so that copies of the table may share them.
type series struct {
	versions []*Rate // by version
	dated    []*Rate // by From, then by version
	pairs    int     // how many of them are of a pair
}

// NewRates returns an empty table.
func NewRates() *Rates { return &Rates{} }

// of returns the series of a side of a programme, nil where there can be none.
func (r *Rates) of(program points.ProgramID, side Side) *series {
	if !program.Valid() || !side.Valid() {
		return nil
	}
	return &r.series[int(program-points.MinProgram)*int(endOfSides-1)+int(side-1)]
}

// Next returns the version that terms would be if checker approved now what maker
// proposed: reduced, numbered and chained. It changes nothing; [Rates.Append] does.
// It refuses with a sentence what is out of bounds, what takes effect less than
// [LeadTime] after now, and a maker who would be the checker.
func (r *Rates) Next(terms Terms, maker, checker string, now points.Timestamp) (Rate, error) {
	if err := terms.check(); err != nil {
		return Rate{}, err
	}
	what := terms.String()
	if err := checkApproval(what, terms.From, maker, checker, now); err != nil {
		return Rate{}, err
	}
	if !terms.ends() {
		common := gcd(terms.Num, terms.Den)
		terms.Num, terms.Den = terms.Num/common, terms.Den/common
	}
	next := Rate{Terms: terms, Version: 1, Maker: maker, Checker: checker, Approved: now}
	if before := r.of(terms.Program, terms.Side).versions; len(before) > 0 {
		last := before[len(before)-1]
		if last.Version >= MaxVersion {
			return Rate{}, points.Errorf(points.FormatError, "%s: version %d is the last that files can carry", what, last.Version)
		}
		if now < last.Approved {
			return Rate{}, points.Errorf(points.FormatError, "%s: approved at %v, before version %d was (%v)", what, now, last.Version, last.Approved)
		}
		next.Version, next.Previous = last.Version+1, last.Digest
	}
	next.Digest = next.sum()
	return next, nil
}

// check refuses terms that cannot be a rate.
func (t Terms) check() error {
	what := t.String()
	switch {
	case !t.Program.Valid():
		return points.Errorf(points.FormatError, "%s: programmes have codes from %d to %d", what, points.MinProgram, points.MaxProgram)
	case !t.Side.Valid():
		return points.Errorf(points.FormatError, "%s: the side is one of CLEAR, BUY, SELL", what)
	case t.Into != 0 && (t.Side != Buy || !t.Into.Valid() || t.Into == t.Program):
		return points.Errorf(points.FormatError, "%s: into names another programme, for points of this one that are handed in; put it on side BUY", what)
	case t.ends() && t.SpreadPPM == 0:
		return nil
	case t.Num == 0 || t.Den == 0 || t.Num > MaxTerm || t.Den > MaxTerm:
		return points.Errorf(points.FormatError, "%s: %d/%d: both are 1 to %d", what, t.Num, t.Den, MaxTerm)
	case t.SpreadPPM > MaxSpread:
		return points.Errorf(points.FormatError, "%s: a spread of %d ppm takes all of the value; at most %d", what, t.SpreadPPM, MaxSpread)
	case t.SpreadPPM != 0 && t.Side != Buy:
		return points.Errorf(points.FormatError, "%s: a swap takes its spread where points are handed in; put it on side BUY", what)
	}
	return nil
}

// checkApproval refuses what may not be approved now, whatever it is.
func checkApproval(what string, from points.Timestamp, maker, checker string, now points.Timestamp) error {
	for _, person := range [...]string{maker, checker} {
		if person == "" || len(person) > 64 {
			return points.Errorf(points.FormatError, "%s: maker and checker have names of 1 to 64 bytes", what)
		}
		if err := points.CheckText(what+": name", person); err != nil {
			return err
		}
	}
	if maker == checker {
		return points.Errorf(points.FormatError, "%s: %s proposed it; another person approves it", what, maker)
	}
	if now <= 0 || from < now || from-now < LeadTime {
		return points.Errorf(points.FormatError,
			"%s: from %v is less than five minutes after its approval at %v; propose a later moment", what, from, now)
	}
	return nil
}

// ofPair stands beside the side of a version that is of a pair, which follows it.
const ofPair = 1 << 7

// sum returns the digest of all other fields.
func (r *Rate) sum() Digest {
	b := make([]byte, 0, 256)
	b = append(b, "lianfen rate 1\n"...)
	b = binary.BigEndian.AppendUint16(b, uint16(r.Program))
	if r.Into == 0 {
		b = append(b, byte(r.Side))
	} else {
		b = binary.BigEndian.AppendUint16(append(b, byte(r.Side)|ofPair), uint16(r.Into))
	}
	b = binary.BigEndian.AppendUint32(b, r.Version)
	b = appendTime(b, r.From)
	b = binary.BigEndian.AppendUint64(b, r.Num)
	b = binary.BigEndian.AppendUint64(b, r.Den)
	b = binary.BigEndian.AppendUint32(b, r.SpreadPPM)
	b = appendApproval(b, r.Maker, r.Checker, r.Approved, r.Previous)
	return sha256.Sum256(b)
}

func appendApproval(b []byte, maker, checker string, approved points.Timestamp, previous Digest) []byte {
	for _, person := range [...]string{maker, checker} {
		b = binary.AppendUvarint(b, uint64(len(person)))
		b = append(b, person...)
	}
	b = appendTime(b, approved)
	return append(b, previous[:]...)
}

func appendTime(b []byte, t points.Timestamp) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(t)) //nolint:gosec // the same 64 bits.
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// Append adds a version that [Rates.Next] made, now or in the journal's past. It
// refuses what is not the next of its chain, and what has been changed since.
func (r *Rates) Append(rate Rate) error {
	want, err := r.Next(rate.Terms, rate.Maker, rate.Checker, rate.Approved)
	if err != nil {
		return err
	}
	if want != rate {
		return points.Errorf(points.FormatError,
			"%v: version %d is not what follows version %d: it was changed, or one is missing", rate.Terms, rate.Version, want.Version-1)
	}
	s := r.of(rate.Program, rate.Side)
	s.versions = append(slices.Clip(s.versions), &rate)
	at := len(s.dated)
	for at > 0 && s.dated[at-1].From > rate.From {
		at--
	}
	s.dated = slices.Insert(slices.Clone(s.dated), at, &rate)
	if rate.Into != 0 {
		s.pairs++
	}
	r.n++
	return nil
}

// At returns the version in force at t: of those with From at or before t the one
// with the latest From, of equal ones the highest version. nil before the first:
// then there is no rate, and never 1:1. It allocates nothing. Overrides of pairs are
// left out: [Rates.Pair] has them.
func (r *Rates) At(program points.ProgramID, side Side, t points.Timestamp) *Rate {
	s := r.of(program, side)
	if s == nil {
		return nil
	}
	return s.at(0, t)
}

// Pair returns the Buy version in force at t for swaps of a programme's points into
// another's: the pair's own where there is one, else that of [Rates.At]. It allocates
// nothing.
func (r *Rates) Pair(program, into points.ProgramID, t points.Timestamp) *Rate {
	s := r.of(program, Buy)
	if s == nil {
		return nil
	}
	if s.pairs > 0 {
		if own := s.at(into, t); own != nil && !own.ends() {
			return own
		}
	}
	return s.at(0, t)
}

// InForce reports whether a version of the table is the one of its series, or pair, that is
// in force at t.
func (r *Rates) InForce(rate *Rate, t points.Timestamp) bool {
	return r.of(rate.Program, rate.Side).at(rate.Into, t) == rate
}

// Overrides yields the overrides of a programme's points that are in force at t, by the
// programme that they are for.
func (r *Rates) Overrides(program points.ProgramID, t points.Timestamp) iter.Seq[*Rate] {
	return func(yield func(*Rate) bool) {
		s := r.of(program, Buy)
		if s == nil || s.pairs == 0 {
			return
		}
		for into := points.MinProgram; into <= points.MaxProgram; into++ {
			if rate := s.at(into, t); rate != nil && !rate.ends() && !yield(rate) {
				return
			}
		}
	}
}

// at is the version for into in force at t; nil: there is none.
func (s *series) at(into points.ProgramID, t points.Timestamp) *Rate {
	low, high := 0, len(s.dated) // dated[:low] are from t or before, dated[high:] from after t
	for low < high {
		middle := (low + high) / 2
		if s.dated[middle].From <= t {
			low = middle + 1
		} else {
			high = middle
		}
	}
	for ; low > 0; low-- {
		if s.dated[low-1].Into == into {
			return s.dated[low-1]
		}
	}
	return nil
}

// Version returns one version, or nil.
func (r *Rates) Version(program points.ProgramID, side Side, version uint32) *Rate {
	s := r.of(program, side)
	if s == nil || version == 0 || int(version) > len(s.versions) {
		return nil
	}
	return s.versions[version-1]
}

// Latest is the last version of one side of a programme, 0 when there is none.
func (r *Rates) Latest(program points.ProgramID, side Side) uint32 {
	s := r.of(program, side)
	if s == nil {
		return 0
	}
	return uint32(len(s.versions)) //nolint:gosec // at most MaxVersion.
}

// All yields every version by programme, side and version.
func (r *Rates) All() iter.Seq[*Rate] {
	return func(yield func(*Rate) bool) {
		for i := range r.series {
			for _, rate := range r.series[i].versions {
				if !yield(rate) {
					return
				}
			}
		}
	}
}

// Len returns the number of versions.
func (r *Rates) Len() int { return r.n }

// Clone returns a copy that later appends to r do not reach, and the other way round.
func (r *Rates) Clone() *Rates {
	clone := *r
	return &clone
}

// Digest is the digest of all versions that take effect before t, in the order of
// [Rates.All]. From [LeadTime] before t on nothing can be approved any more that takes
// effect before t, so that it stays the same for ever: it is the rates digest of a run
// that was cut at t.
func (r *Rates) Digest(before points.Timestamp) Digest {
	hash := sha256.New()
	hash.Write([]byte("lianfen rates 1\n"))
	for rate := range r.All() {
		if rate.From < before {
			hash.Write(rate.Digest[:])
		}
	}
	return Digest(hash.Sum(nil))
}
