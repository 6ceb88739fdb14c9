package tariff

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/lianfen/lianfen/points"
)

// Expiry is how points that a swap hands out expire.
type Expiry uint8

// Rules of expiry.
const (
	ExpiryProgram Expiry = iota + 1 // as points that are earned
	ExpiryInherit                   // with the earliest of the points handed in
	ExpiryFixed                     // after so many days
	endOfExpiries
)

var expiryNames = [endOfExpiries]string{ExpiryProgram: "programme", ExpiryInherit: "inherit", ExpiryFixed: "fixed"}

// String returns the name used in files and in JSON.
func (e Expiry) String() string {
	if e == 0 || e >= endOfExpiries {
		return fmt.Sprintf("expiry %d", uint8(e))
	}
	return expiryNames[e]
}

// MarshalText renders the name.
func (e Expiry) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText reads a name.
func (e *Expiry) UnmarshalText(text []byte) error {
	at := slices.Index(expiryNames[1:], strings.ToLower(string(text)))
	if at < 0 {
		return points.Errorf(points.FormatError, "expiry %q: want one of %s", text, strings.Join(expiryNames[1:], ", "))
	}
	*e = Expiry(at + 1) //nolint:gosec // few.
	return nil
}

// Bounds of swap terms.
const (
	MaxLockSeconds  uint32 = 24 * 60 * 60
	MaxQuoteSeconds uint32 = 10 * 60
	maxTermDays     uint32 = 3660
)

// SwapRules are what a programme's issuer asks of swaps, beside the rate: of those that
// hand its points in, and of those that hand its points out. Amounts of points are in the
// programme's smallest units; a limit of 0 is none.
type SwapRules struct {
	// Of points handed in.
	MinIn     points.Amount `json:"min_in,omitempty" yaml:"min_in"`         // per swap
	MaxIn     points.Amount `json:"max_in,omitempty" yaml:"max_in"`         // per swap
	StepIn    points.Amount `json:"step_in,omitempty" yaml:"step_in"`       // multiples of it only
	UserDay   points.Amount `json:"user_day,omitempty" yaml:"user_day"`     // per member and business date
	UserMonth points.Amount `json:"user_month,omitempty" yaml:"user_month"` // and month of the date
	UserYear  points.Amount `json:"user_year,omitempty" yaml:"user_year"`   // and year
	PoolIn    points.Amount `json:"pool_in_day,omitempty" yaml:"pool_in_day"`
	FeeMin    points.Amount `json:"fee_min,omitempty" yaml:"fee_min"` // smallest units of the standard point
	FeeCap    points.Amount `json:"fee_cap,omitempty" yaml:"fee_cap"` // likewise
	Lots      uint8         `json:"lots_allowed" yaml:"-"`            // origins that may be swapped, one bit for each (1 << origin)

	// Of points handed out.
	RecipientYear points.Amount `json:"recipient_year,omitempty" yaml:"recipient_year"` // per member and year
	PoolOut       points.Amount `json:"pool_out_day,omitempty" yaml:"pool_out_day"`
	Expiry        Expiry        `json:"expiry_rule" yaml:"expiry_rule"`
	ExpiryDays    uint32        `json:"expiry_days,omitempty" yaml:"expiry_days"` // of ExpiryFixed
	// What is handed out, and its bonus, cannot be swapped before so many days are over.
	LockDays uint32 `json:"swap_lock_days,omitempty" yaml:"swap_lock_days"`
	// A campaign: for each BonusPer points of a swap, BonusAdd more, paid by the issuer's
	// sponsor account, together no more than BonusBudget under this version.
	BonusPer    points.Amount `json:"bonus_per,omitempty" yaml:"bonus_per"`
	BonusAdd    points.Amount `json:"bonus_add,omitempty" yaml:"bonus_add"`
	BonusBudget points.Amount `json:"bonus_budget,omitempty" yaml:"bonus_budget"`

	// Of both: how long a quote is good for, and how long a lock is; 0: none is given.
	QuoteSeconds uint32 `json:"quote_seconds" yaml:"quote_seconds"`
	LockSeconds  uint32 `json:"lock_seconds,omitempty" yaml:"lock_seconds"`
}

// SwapTerms is one version of a programme's terms of swaps. It is never edited.
type SwapTerms struct {
	Program   points.ProgramID
	From      points.Timestamp // inclusive; until the next version's From
	SwapRules                  // what it says
	Version   uint32           // dense from 1 per programme
	Maker     string
	Checker   string
	Approved  points.Timestamp
	Previous  Digest // of the version before; zero for the first
	Digest    Digest // of everything above
}

// SwapTable is the append-only table of all versions of swap terms. The rules are those
// of [Rates].
type SwapTable struct {
	of map[points.ProgramID]swapSeries
	n  int
}

type swapSeries struct{ versions, dated []*SwapTerms }

// NewSwapTable returns an empty table.
func NewSwapTable() *SwapTable { return &SwapTable{of: make(map[points.ProgramID]swapSeries)} }

// Next returns the version that rules would be if checker approved now what maker
// proposed. It changes nothing. See [Rates.Next].
func (s *SwapTable) Next(program points.ProgramID, from points.Timestamp, rules SwapRules, maker, checker string, now points.Timestamp) (SwapTerms, error) {
	what := fmt.Sprintf("swap terms of %d", program)
	if !program.Valid() {
		return SwapTerms{}, points.Errorf(points.FormatError, "%s: programmes have codes from %d to %d", what, points.MinProgram, points.MaxProgram)
	}
	if err := rules.check(); err != nil {
		return SwapTerms{}, points.Errorf(points.FormatError, "%s: %w", what, err)
	}
	if err := checkApproval(what, from, maker, checker, now); err != nil {
		return SwapTerms{}, err
	}
	next := SwapTerms{Program: program, From: from, SwapRules: rules, Version: 1, Maker: maker, Checker: checker, Approved: now}
	if before := s.of[program].versions; len(before) > 0 {
		last := before[len(before)-1]
		if now < last.Approved {
			return SwapTerms{}, points.Errorf(points.FormatError, "%s: approved at %v, before version %d was (%v)", what, now, last.Version, last.Approved)
		}
		if last.Version >= MaxVersion {
			return SwapTerms{}, points.Errorf(points.FormatError, "%s: version %d is the last that files can carry", what, last.Version)
		}
		next.Version, next.Previous = last.Version+1, last.Digest
	}
	next.Digest = next.sum()
	return next, nil
}

// check refuses rules that cannot be.
func (r *SwapRules) check() error {
	for _, a := range [...]struct {
		name  string
		value points.Amount
	}{
		{"min_in", r.MinIn},
		{"max_in", r.MaxIn},
		{"step_in", r.StepIn},
		{"user_day", r.UserDay},
		{"user_month", r.UserMonth},
		{"user_year", r.UserYear},
		{"pool_in_day", r.PoolIn},
		{"recipient_year", r.RecipientYear},
		{"pool_out_day", r.PoolOut},
		{"fee_min", r.FeeMin},
		{"fee_cap", r.FeeCap},
		{"bonus_per", r.BonusPer},
		{"bonus_add", r.BonusAdd},
		{"bonus_budget", r.BonusBudget},
	} {
		if a.value < 0 || a.value > points.MaxAmount {
			return fmt.Errorf("%s %d: want 0 to %d", a.name, a.value, points.MaxAmount)
		}
	}
	switch {
	case r.MaxIn != 0 && r.MinIn > r.MaxIn:
		return fmt.Errorf("min_in %d is more than max_in %d", r.MinIn, r.MaxIn)
	case r.FeeCap != 0 && r.FeeMin > r.FeeCap:
		return fmt.Errorf("fee_min %d is more than fee_cap %d", r.FeeMin, r.FeeCap)
	case r.Expiry == 0 || r.Expiry >= endOfExpiries:
		return fmt.Errorf("expiry_rule %v: want one of %s", r.Expiry, strings.Join(expiryNames[1:], ", "))
	case (r.Expiry == ExpiryFixed) != (r.ExpiryDays != 0), r.ExpiryDays > maxTermDays:
		return fmt.Errorf("expiry_days %d: want 1 to %d with expiry_rule fixed, and none with another", r.ExpiryDays, maxTermDays)
	case r.LockDays > maxTermDays:
		return fmt.Errorf("swap_lock_days %d: want 0 to %d", r.LockDays, maxTermDays)
	case r.QuoteSeconds == 0 || r.QuoteSeconds > MaxQuoteSeconds:
		return fmt.Errorf("quote_seconds %d: want 1 to %d", r.QuoteSeconds, MaxQuoteSeconds)
	case r.LockSeconds > MaxLockSeconds:
		return fmt.Errorf("lock_seconds %d: want 0 to %d", r.LockSeconds, MaxLockSeconds)
	case (r.BonusPer == 0) != (r.BonusAdd == 0), (r.BonusPer == 0) != (r.BonusBudget == 0):
		return fmt.Errorf("bonus_per %d, bonus_add %d, bonus_budget %d: a campaign has all three", r.BonusPer, r.BonusAdd, r.BonusBudget)
	case r.BonusPer != 0 && r.LockDays == 0:
		return fmt.Errorf("swap_lock_days 0: a bonus that can be swapped at once is a better rate; want 1 or more")
	}
	return nil
}

// fields are all numbers of the rules, in the order in which they are written. A new one
// goes to the end.
func (r *SwapRules) fields() [20]uint64 {
	return [...]uint64{
		uint64(r.MinIn), uint64(r.MaxIn), uint64(r.StepIn), uint64(r.UserDay), uint64(r.UserMonth), uint64(r.UserYear), uint64(r.PoolIn), //nolint:gosec // none is negative.
		uint64(r.FeeMin), uint64(r.FeeCap), uint64(r.Lots), uint64(r.RecipientYear), uint64(r.PoolOut), uint64(r.Expiry), uint64(r.ExpiryDays), //nolint:gosec // likewise.
		uint64(r.LockDays), uint64(r.BonusPer), uint64(r.BonusAdd), uint64(r.BonusBudget), uint64(r.QuoteSeconds), uint64(r.LockSeconds), //nolint:gosec // likewise.
	}
}

// sum returns the digest of all other fields.
func (t *SwapTerms) sum() Digest {
	b := make([]byte, 0, 384)
	b = append(b, "lianfen swap terms 1\n"...)
	b = binary.BigEndian.AppendUint16(b, uint16(t.Program))
	b = binary.BigEndian.AppendUint32(b, t.Version)
	b = appendTime(b, t.From)
	for _, n := range t.fields() {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	b = appendApproval(b, t.Maker, t.Checker, t.Approved, t.Previous)
	return sha256.Sum256(b)
}

// Append adds a version that [SwapTable.Next] made, now or in the journal's past. It
// refuses what is not the next of its chain, and what has been changed since.
func (s *SwapTable) Append(terms SwapTerms) error {
	want, err := s.Next(terms.Program, terms.From, terms.SwapRules, terms.Maker, terms.Checker, terms.Approved)
	if err != nil {
		return err
	}
	if want != terms {
		return points.Errorf(points.FormatError, "swap terms of %d: version %d is not what follows version %d: it was changed, or one is missing", terms.Program, terms.Version, want.Version-1)
	}
	series := s.of[terms.Program]
	series.versions = append(slices.Clip(series.versions), &terms)
	at := len(series.dated)
	for at > 0 && series.dated[at-1].From > terms.From {
		at--
	}
	series.dated = slices.Insert(slices.Clone(series.dated), at, &terms)
	s.of[terms.Program] = series
	s.n++
	return nil
}

// At returns the version in force at t, or nil: then the programme's points are not
// swapped. It allocates nothing.
func (s *SwapTable) At(program points.ProgramID, t points.Timestamp) *SwapTerms {
	for _, terms := range slices.Backward(s.of[program].dated) { // few, and most questions are of now
		if terms.From <= t {
			return terms
		}
	}
	return nil
}

// Version returns one version, or nil.
func (s *SwapTable) Version(program points.ProgramID, version uint32) *SwapTerms {
	if versions := s.of[program].versions; version != 0 && int(version) <= len(versions) {
		return versions[version-1]
	}
	return nil
}

// Latest is the last version of a programme, 0 when there is none.
func (s *SwapTable) Latest(program points.ProgramID) uint32 {
	return uint32(len(s.of[program].versions)) //nolint:gosec // at most MaxVersion.
}

// All yields every version by programme and version.
func (s *SwapTable) All() iter.Seq[*SwapTerms] {
	return func(yield func(*SwapTerms) bool) {
		for program := points.MinProgram; program <= points.MaxProgram; program++ {
			for _, terms := range s.of[program].versions {
				if !yield(terms) {
					return
				}
			}
		}
	}
}

// Len returns the number of versions.
func (s *SwapTable) Len() int { return s.n }

// Clone returns a copy that later appends to s do not reach, and the other way round.
func (s *SwapTable) Clone() *SwapTable {
	clone := NewSwapTable()
	maps.Copy(clone.of, s.of)
	clone.n = s.n
	return clone
}

// AppendRules writes rules as they stand in the journal.
func (r *SwapRules) AppendRules(dst []byte) []byte {
	for _, n := range r.fields() {
		dst = binary.AppendUvarint(dst, n)
	}
	return dst
}

// SetRules reads what AppendRules wrote: next gives its numbers in order. ok is false when
// one has no place in its field.
func (r *SwapRules) SetRules(next func() uint64) (ok bool) {
	ok = true
	read := func(most uint64) uint64 {
		n := next()
		ok = ok && n <= most
		return n
	}
	amount := func() points.Amount { return points.Amount(read(1<<63 - 1)) } //nolint:gosec // bounded.
	number := func() uint32 { return uint32(read(1<<32 - 1)) }               //nolint:gosec // bounded.
	*r = SwapRules{
		MinIn: amount(), MaxIn: amount(), StepIn: amount(), UserDay: amount(), UserMonth: amount(), UserYear: amount(), PoolIn: amount(),
		FeeMin: amount(), FeeCap: amount(), Lots: uint8(read(1<<8 - 1)), RecipientYear: amount(), PoolOut: amount(), //nolint:gosec // bounded.
		Expiry: Expiry(read(1<<8 - 1)), ExpiryDays: number(), //nolint:gosec // bounded.
		LockDays: number(), BonusPer: amount(), BonusAdd: amount(), BonusBudget: amount(), QuoteSeconds: number(), LockSeconds: number(),
	}
	return ok
}
