package tariff

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
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

// BonusStep is so much more for each so many points.
type BonusStep struct {
	Per points.Amount `json:"per" yaml:"per"`
	Add points.Amount `json:"add" yaml:"add"`
}

// BonusTier is a part of what is handed out for members who have so many tier-qualifying
// points.
type BonusTier struct {
	From points.Amount `json:"from" yaml:"from"`
	PPM  uint32        `json:"ppm" yaml:"ppm"`
}

// BonusSteps are at most three steps; a zero one ends them.
type BonusSteps [3]BonusStep

// BonusTiers are at most four tiers; a zero one ends them.
type BonusTiers [4]BonusTier

// MarshalJSON renders those that are there.
func (s BonusSteps) MarshalJSON() ([]byte, error) { return json.Marshal(set(s[:])) }

// MarshalJSON renders those that are there.
func (t BonusTiers) MarshalJSON() ([]byte, error) { return json.Marshal(set(t[:])) }

// UnmarshalJSON reads a list.
func (s *BonusSteps) UnmarshalJSON(text []byte) error {
	return readSet("volume_bonus", s[:], func(into any) error { return json.Unmarshal(text, into) })
}

// UnmarshalJSON reads a list.
func (t *BonusTiers) UnmarshalJSON(text []byte) error {
	return readSet("tier_bonus", t[:], func(into any) error { return json.Unmarshal(text, into) })
}

// UnmarshalYAML reads a list.
func (s *BonusSteps) UnmarshalYAML(read func(any) error) error {
	return readSet("volume_bonus", s[:], read)
}

// UnmarshalYAML reads a list.
func (t *BonusTiers) UnmarshalYAML(read func(any) error) error {
	return readSet("tier_bonus", t[:], read)
}

// set are those before the first zero one.
func set[T comparable](all []T) []T {
	var none T
	if end := slices.Index(all, none); end >= 0 {
		return all[:end]
	}
	return all
}

// gap reports whether a zero one stands before another.
func gap[T comparable](all []T) bool {
	var none T
	return slices.ContainsFunc(all[len(set(all)):], func(v T) bool { return v != none })
}

func readSet[T comparable](what string, into []T, read func(any) error) error {
	var list []T
	if err := read(&list); err != nil {
		return err
	}
	var none T
	if len(list) > len(into) || slices.Contains(list, none) {
		return points.Errorf(points.FormatError, "%s: want at most %d entries, none of them empty", what, len(into))
	}
	clear(into)
	copy(into, list)
	return nil
}

// Origins are where points may come from, one bit for each: 1 << the book's origin.
type Origins uint8

// originNames are their names, the book's first origin first.
var originNames = [...]string{"earned", "bought", "swapped", "bonus", "adjusted"}

// OriginsOf reads names. Errors: FormatError.
func OriginsOf(names []string) (o Origins, err error) {
	for _, name := range names {
		at := slices.Index(originNames[:], strings.ToLower(name))
		if at < 0 {
			return 0, points.Errorf(points.FormatError, "lots_allowed %q: want of %s", name, strings.Join(originNames[:], ", "))
		}
		o |= 1 << (at + 1)
	}
	return o, nil
}

// Names lists them.
func (o Origins) Names() []string {
	names := []string{}
	for i, name := range originNames {
		if o&(1<<(i+1)) != 0 {
			names = append(names, name)
		}
	}
	return names
}

// MarshalJSON renders the names.
func (o Origins) MarshalJSON() ([]byte, error) { return json.Marshal(o.Names()) } //nolint:wrapcheck // it does not fail.

// UnmarshalJSON reads the names. Errors: FormatError.
func (o *Origins) UnmarshalJSON(text []byte) (err error) {
	var names []string
	if err = json.Unmarshal(text, &names); err != nil {
		return points.Errorf(points.FormatError, "lots_allowed: %w", err)
	}
	*o, err = OriginsOf(names)
	return err
}

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
	Lots      Origins       `json:"lots_allowed" yaml:"-"`            // that may be swapped

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

	// Of points handed in: with it, who wants a lock says for how long when asking for the
	// quote, and pays so much of the value more for each minute that is begun.
	LockFeePPM uint32 `json:"lock_fee_ppm,omitempty" yaml:"lock_fee_ppm"`
	// Of points handed out: larger steps of the campaign beside BonusPer, and more for
	// members of a tier. All of it is one bonus.
	VolumeBonus BonusSteps `json:"volume_bonus,omitzero" yaml:"volume_bonus"`
	TierBonus   BonusTiers `json:"tier_bonus,omitzero" yaml:"tier_bonus"`
}

// steps are all steps of the campaign, the smallest first.
func (r *SwapRules) steps() (all [1 + len(BonusSteps{})]BonusStep, n int) {
	if r.BonusPer != 0 {
		all[0], n = BonusStep{r.BonusPer, r.BonusAdd}, 1
	}
	for _, step := range r.VolumeBonus {
		if step != (BonusStep{}) {
			all[n] = step
			n++
		}
	}
	return all, n
}

// Campaign reports whether there is any bonus.
func (r *SwapRules) Campaign() bool {
	return r.BonusPer != 0 || r.VolumeBonus != BonusSteps{} || r.TierBonus != BonusTiers{}
}

// Bonus is what the campaign adds to so many points handed out to a member with so many
// tier-qualifying points, the budget left aside. As many of the largest step as go, then of
// the next: since each step is a multiple of the one before and adds no less than that many
// of it, no other way and no splitting gives more. ok is false when it does not fit.
func (r *SwapRules) Bonus(out, tier points.Amount) (bonus points.Amount, ok bool) {
	all, n := r.steps()
	rest := out
	for _, step := range slices.Backward(all[:n]) {
		more, _, fits := (rest / step.Per).MulRat(uint64(step.Add), 1) //nolint:gosec // not negative.
		if !fits {
			return 0, false
		}
		if bonus, fits = bonus.Add(more); !fits {
			return 0, false
		}
		rest %= step.Per
	}
	ppm := uint32(0)
	for _, t := range set(r.TierBonus[:]) {
		if tier >= t.From {
			ppm = t.PPM
		}
	}
	more, _, fits := out.MulRat(uint64(ppm), uint64(Million))
	if !fits {
		return 0, false
	}
	return bonus.Add(more)
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
	case r.LockFeePPM > MaxSpread:
		return fmt.Errorf("lock_fee_ppm %d: want 0 to %d", r.LockFeePPM, MaxSpread)
	case r.LockFeePPM != 0 && r.LockSeconds == 0:
		return fmt.Errorf("lock_fee_ppm %d: without lock_seconds there is no lock to pay for", r.LockFeePPM)
	}
	return r.checkCampaign()
}

func (r *SwapRules) checkCampaign() error {
	switch {
	case (r.BonusPer == 0) != (r.BonusAdd == 0), r.Campaign() != (r.BonusBudget != 0):
		return fmt.Errorf("bonus_per %d, bonus_add %d, bonus_budget %d: a campaign has all three, or bonus_budget with volume_bonus or tier_bonus", r.BonusPer, r.BonusAdd, r.BonusBudget)
	case r.Campaign() && r.LockDays == 0:
		return fmt.Errorf("swap_lock_days 0: a bonus that can be swapped at once is a better rate; want 1 or more")
	case gap(r.VolumeBonus[:]), gap(r.TierBonus[:]):
		return fmt.Errorf("volume_bonus, tier_bonus: an empty entry stands before another")
	}
	all, n := r.steps()
	for i, step := range all[:n] {
		if step.Per <= 0 || step.Add <= 0 || step.Per > points.MaxAmount || step.Add > points.MaxAmount {
			return fmt.Errorf("volume_bonus: %d more for each %d: want 1 to %d", step.Add, step.Per, points.MaxAmount)
		}
		before := all[max(i-1, 0)]
		if i == 0 {
			continue
		}
		least, _, ok := (step.Per / before.Per).MulRat(uint64(before.Add), 1) //nolint:gosec // not negative.
		if step.Per <= before.Per || step.Per%before.Per != 0 || !ok || step.Add < least {
			return fmt.Errorf("volume_bonus: %d more for each %d behind %d for each %d: want a multiple of it that adds no less than as many of it, else splitting a swap would pay",
				step.Add, step.Per, before.Add, before.Per)
		}
	}
	last := BonusTier{From: -1}
	for _, tier := range set(r.TierBonus[:]) {
		if tier.From <= last.From || tier.PPM <= last.PPM || tier.PPM > Million || tier.From > points.MaxAmount {
			return fmt.Errorf("tier_bonus: %d ppm from %d on: want from and ppm to rise from tier to tier, ppm to at most %d", tier.PPM, tier.From, Million)
		}
		last = tier
	}
	return nil
}

// extended stands beside the rule of expiry where the later fields follow the first ones,
// which is only where one of them is set: what was written before there were any is what
// it always was.
const extended = 1 << 7

// laterFields is how many there are.
const laterFields = 1 + 2*len(BonusSteps{}) + 2*len(BonusTiers{})

// fields are all numbers of the rules, in the order in which they are written. A new one
// goes to the end of the later ones.
func (r *SwapRules) fields() []uint64 {
	first := [...]uint64{
		uint64(r.MinIn), uint64(r.MaxIn), uint64(r.StepIn), uint64(r.UserDay), uint64(r.UserMonth), uint64(r.UserYear), uint64(r.PoolIn), //nolint:gosec // none is negative.
		uint64(r.FeeMin), uint64(r.FeeCap), uint64(r.Lots), uint64(r.RecipientYear), uint64(r.PoolOut), uint64(r.Expiry), uint64(r.ExpiryDays), //nolint:gosec // likewise.
		uint64(r.LockDays), uint64(r.BonusPer), uint64(r.BonusAdd), uint64(r.BonusBudget), uint64(r.QuoteSeconds), uint64(r.LockSeconds), //nolint:gosec // likewise.
	}
	if r.LockFeePPM == 0 && r.VolumeBonus == (BonusSteps{}) && r.TierBonus == (BonusTiers{}) {
		return first[:]
	}
	first[12] |= extended
	all := append(first[:], uint64(laterFields), uint64(r.LockFeePPM))
	for _, step := range r.VolumeBonus {
		all = append(all, uint64(step.Per), uint64(step.Add)) //nolint:gosec // as above.
	}
	for _, tier := range r.TierBonus {
		all = append(all, uint64(tier.From), uint64(tier.PPM)) //nolint:gosec // as above.
	}
	return all
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
		FeeMin: amount(), FeeCap: amount(), Lots: Origins(read(1<<8 - 1)), RecipientYear: amount(), PoolOut: amount(), //nolint:gosec // bounded.
		Expiry: Expiry(read(1<<8 - 1)), ExpiryDays: number(), //nolint:gosec // bounded.
		LockDays: number(), BonusPer: amount(), BonusAdd: amount(), BonusBudget: amount(), QuoteSeconds: number(), LockSeconds: number(),
	}
	if r.Expiry&extended == 0 {
		return ok
	}
	r.Expiry &^= extended
	if read(uint64(laterFields)) != uint64(laterFields) {
		return false
	}
	r.LockFeePPM = number()
	for i := range r.VolumeBonus {
		r.VolumeBonus[i] = BonusStep{amount(), amount()}
	}
	for i := range r.TierBonus {
		r.TierBonus[i] = BonusTier{amount(), number()}
	}
	return ok && (r.LockFeePPM != 0 || r.VolumeBonus != BonusSteps{} || r.TierBonus != BonusTiers{})
}
