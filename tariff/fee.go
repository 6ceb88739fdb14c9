package tariff

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/lianfen/lianfen/points"
)

// MaxShares is the largest number of shares that a fee is split into.
const MaxShares = 6

// MaxFeeRows is the largest number of rows of one schedule.
const MaxFeeRows = 20_000

// Share is one part of a fee: of a role in the item, or of a member by number.
// Exactly one of both is set.
type Share struct {
	Role   Role   `json:"role,omitempty"`
	Member Member `json:"member,omitempty"`
	Weight uint32 `json:"weight"`
}

// FeeRow is one row of a fee schedule. Issuer, Acquirer, MCC and Program are any
// where they are 0. An item takes the row that fits and fixes most of them.
//
// A redemption and an earn pay the interchange to the issuer and the fee, both by
// the acquirer. A swap's fee is the spread of its rate, so its row has VAT and
// shares only.
//
// What a step of a dispute costs has rows of kind CBK (chargeback), REP (re-presentment)
// and FEE (retrieval, which moves no points: its fee is an item of its own). Payer pays it
// to who has the shares, whichever way the points go; no later step gives it back.
type FeeRow struct {
	Kind           Kind             `json:"kind"` // RDM, EAR or SWP; CBK, REP or FEE of a dispute
	Issuer         Member           `json:"issuer,omitempty"`
	Acquirer       Member           `json:"acquirer,omitempty"`
	MCC            uint16           `json:"mcc,omitempty"`
	Program        points.ProgramID `json:"program,omitempty"`
	InterchangePPM uint32           `json:"interchange_ppm,omitempty"` // of the value
	PPM            uint32           `json:"ppm,omitempty"`             // of the value
	Fixed          points.Amount    `json:"fixed,omitempty"`           // smallest units of the standard point
	Min            points.Amount    `json:"min,omitempty"`
	Max            points.Amount    `json:"max,omitempty"`     // 0: no maximum
	VATPPM         uint32           `json:"vat_ppm,omitempty"` // the fee includes it
	Shares         []Share          `json:"shares,omitempty"`  // of the fee net of VAT; none: all to the operator
	Payer          Role             `json:"payer,omitempty"`   // of a dispute's step: issuer or acquirer
	// LockAtHold has a capture valued when its hold was placed: rate, row and fees are those
	// of then, whatever is in force when it is captured.
	LockAtHold bool `json:"lock_at_hold,omitempty"`
}

// disputes reports whether the row says what a step of a dispute costs.
func (r *FeeRow) disputes() bool { return r.Kind == KindCBK || r.Kind == KindREP || r.Kind == KindFEE }

// extended reports whether the row says more than rows of before could.
func (r *FeeRow) extended() bool { return r.Payer != 0 || r.LockAtHold }

// Extended reports whether a row of the schedule has a payer or is locked at the hold.
func (s *Schedule) Extended() bool {
	return slices.ContainsFunc(s.Rows, func(r FeeRow) bool { return r.extended() })
}

// Schedule is one version of all fees. It is never edited.
type Schedule struct {
	Version  uint32           // dense from 1
	From     points.Timestamp // inclusive; until the next version's From
	Rows     []FeeRow
	Maker    string
	Checker  string
	Approved points.Timestamp
	Previous Digest
	Digest   Digest

	index index
}

// Fees is the append-only list of schedules. The same rules hold as for [Rates].
type Fees struct {
	versions []*Schedule // by version
	dated    []*Schedule // by From, then by version
	locks    bool        // a row of some version is locked at the hold
}

// NewFees returns an empty list.
func NewFees() *Fees { return &Fees{} }

// Next returns the version that rows would be if checker approved now what maker
// proposed. It changes nothing. It refuses with a sentence that names the rows: what
// is out of bounds, and two rows that fit one item equally well.
func (f *Fees) Next(from points.Timestamp, rows []FeeRow, maker, checker string, now points.Timestamp) (*Schedule, error) {
	if err := checkApproval("fee schedule", from, maker, checker, now); err != nil {
		return nil, err
	}
	next := &Schedule{Version: 1, From: from, Maker: maker, Checker: checker, Approved: now}
	if len(f.versions) > 0 {
		last := f.versions[len(f.versions)-1]
		if now < last.Approved {
			return nil, points.Errorf(points.FormatError, "fee schedule: approved at %v, before version %d was (%v)", now, last.Version, last.Approved)
		}
		next.Version, next.Previous = last.Version+1, last.Digest
	}
	if len(rows) == 0 || len(rows) > MaxFeeRows {
		return nil, points.Errorf(points.FormatError, "fee schedule: %d rows, want 1 to %d", len(rows), MaxFeeRows)
	}
	next.Rows = slices.Clone(rows)
	for i := range next.Rows {
		row := &next.Rows[i]
		row.Shares = slices.Clone(row.Shares)
		if err := row.check(); err != nil {
			return nil, points.Errorf(points.FormatError, "fee schedule: row %d: %w", i+1, err)
		}
	}
	if err := next.compile(); err != nil {
		return nil, err
	}
	next.Digest = next.sum()
	return next, nil
}

// Append adds a version that [Fees.Next] made, now or in the journal's past. It
// refuses what is not the next of the chain, and what has been changed since.
func (f *Fees) Append(s *Schedule) error {
	next, err := f.Next(s.From, s.Rows, s.Maker, s.Checker, s.Approved)
	if err != nil {
		return err
	}
	if next.Digest != s.Digest || next.Version != s.Version || next.Previous != s.Previous {
		return points.Errorf(points.FormatError,
			"fee schedule: version %d is not what follows version %d: it was changed, or one is missing", s.Version, next.Version-1)
	}
	f.versions = append(slices.Clip(f.versions), next)
	f.locks = f.locks || slices.ContainsFunc(next.Rows, func(r FeeRow) bool { return r.LockAtHold })
	at := len(f.dated)
	for at > 0 && f.dated[at-1].From > next.From {
		at--
	}
	f.dated = slices.Insert(slices.Clone(f.dated), at, next)
	return nil
}

// At returns the schedule in force at t, or nil. It allocates nothing.
func (f *Fees) At(t points.Timestamp) *Schedule {
	for _, schedule := range slices.Backward(f.dated) { // They are few, and most items are of today.
		if schedule.From <= t {
			return schedule
		}
	}
	return nil
}

// Locked reports whether a capture by the merchant's category, issuer, acquirer and
// programme of item has the rate and fees of the moment at which its hold was placed.
func (f *Fees) Locked(item *Item, hold points.Timestamp) bool {
	if !f.locks {
		return false
	}
	row := f.row(item, KindRDM, hold)
	return row != nil && row.LockAtHold
}

// Locks reports whether any version locks captures at their holds at all.
func (f *Fees) Locks() bool { return f.locks }

// Retrieval returns the FEE that a retrieval about item costs at a moment: who pays it to
// whom, how much, and the VAT in it. Its amount is 0 where it costs nothing.
func (f *Fees) Retrieval(item *Item, at points.Timestamp) (fee Item) {
	row := f.row(item, KindFEE, at)
	if row == nil {
		return fee
	}
	b := basis{row: row}
	b.share(item)
	fee.Kind, fee.Program, fee.Amount, fee.Payer, fee.Payee = KindFEE, points.Standard, row.Fixed, item.Acquirer, b.weights[0].Member
	if row.Payer == RoleIssuer {
		fee.Payer = item.Issuer
	}
	fee.VAT, _ = HalfEven(row.Fixed, uint64(row.VATPPM), Million+uint64(row.VATPPM))
	if fee.Payer == fee.Payee {
		return Item{} // It would pay itself.
	}
	return fee
}

// row finds the row of a kind for an item in the schedule of a moment; nil: there is none.
func (f *Fees) row(item *Item, kind Kind, at points.Timestamp) *FeeRow {
	schedule := f.At(at)
	if schedule == nil {
		return nil
	}
	row := schedule.index.row(fit{issuer: item.Issuer, acquirer: item.Acquirer, mcc: item.MCC, program: item.Program, kind: kind})
	if row < 0 {
		return nil
	}
	return &schedule.Rows[row]
}

// Version returns one version, or nil.
func (f *Fees) Version(version uint32) *Schedule {
	if version == 0 || int(version) > len(f.versions) {
		return nil
	}
	return f.versions[version-1]
}

// All yields every version in order.
func (f *Fees) All() iter.Seq[*Schedule] { return slices.Values(f.versions) }

// Len returns the number of versions.
func (f *Fees) Len() int { return len(f.versions) }

// Clone returns a copy that later appends to f do not reach, and the other way round.
func (f *Fees) Clone() *Fees {
	clone := *f
	return &clone
}

// Digest is the digest of all versions that take effect before t; see [Rates.Digest].
func (f *Fees) Digest(before points.Timestamp) Digest {
	hash := sha256.New()
	hash.Write([]byte("lianfen fees 1\n"))
	for _, s := range f.versions {
		if s.From < before {
			hash.Write(s.Digest[:])
		}
	}
	return Digest(hash.Sum(nil))
}

// check refuses a row that cannot be applied.
func (r *FeeRow) check() error {
	switch {
	case !r.Kind.Original() && !r.disputes():
		return fmt.Errorf("kind %v has no fees of its own; rows are for RDM, EAR and SWP, and what undoes these has theirs; CBK, REP and FEE are what steps of disputes cost", r.Kind)
	case r.disputes() && r.Payer != RoleIssuer && r.Payer != RoleAcquirer, !r.disputes() && r.Payer != 0:
		return fmt.Errorf("payer %v of kind %v: issuer or acquirer of CBK, REP and FEE, and none of others", r.Payer, r.Kind)
	case r.disputes() && r.InterchangePPM != 0, r.Kind == KindFEE && (r.PPM != 0 || r.Min != 0 || r.Max != 0 || r.Fixed == 0 || len(r.Shares) > 1):
		return fmt.Errorf("kind %v: what a step of a dispute costs has no interchange; that of a retrieval (FEE) is fixed, more than 0, and has one share at the most", r.Kind)
	case r.LockAtHold && r.Kind != KindRDM:
		return fmt.Errorf("kind %v cannot be locked at a hold: only RDM is captured from one", r.Kind)
	case r.Issuer != 0 && !r.Issuer.Institution(), r.Acquirer != 0 && !r.Acquirer.Institution():
		return fmt.Errorf("issuer %v, acquirer %v: institutions have 1 to 8 digits", r.Issuer, r.Acquirer)
	case r.MCC > 9999:
		return fmt.Errorf("MCC %d: four digits", r.MCC)
	case r.Program != 0 && !r.Program.Valid():
		return fmt.Errorf("programme %d: codes are from %d to %d", r.Program, points.MinProgram, points.MaxProgram)
	case r.InterchangePPM > Million, r.PPM > Million, r.VATPPM > Million:
		return fmt.Errorf("%d, %d, %d ppm of interchange, fee, VAT: at most %d", r.InterchangePPM, r.PPM, r.VATPPM, Million)
	case r.Kind == KindSWP && (r.InterchangePPM != 0 || r.PPM != 0 || r.Fixed != 0 || r.Min != 0 || r.Max != 0):
		return errors.New("a swap's fee is the spread of its rate: its row has VAT and shares only")
	}
	for _, amount := range [...]points.Amount{r.Fixed, r.Min, r.Max} {
		if amount < 0 || amount > MaxFee {
			return fmt.Errorf("fixed %d, least %d, most %d: each is 0 to %d", r.Fixed, r.Min, r.Max, MaxFee)
		}
	}
	if r.Max != 0 && r.Min > r.Max {
		return fmt.Errorf("the least fee %d is more than the most, %d", r.Min, r.Max)
	}
	return r.checkShares()
}

func (r *FeeRow) checkShares() error {
	if len(r.Shares) > MaxShares {
		return fmt.Errorf("%d shares: at most %d", len(r.Shares), MaxShares)
	}
	for i, share := range r.Shares {
		switch {
		case (share.Role == 0) == (share.Member == 0), share.Role >= endOfRoles, share.Member != 0 && !share.Member.Institution():
			return fmt.Errorf("share %d: it is of a role, or of a member of 1 to 8 digits", i+1)
		case share.Role != 0 && share.Role == r.Payer:
			return fmt.Errorf("share %d: the %v pays the fee, and cannot have a share of it", i+1, share.Role)
		case share.Role == RoleTarget && r.Kind != KindSWP:
			return fmt.Errorf("share %d: only a swap has a target", i+1)
		case share.Weight == 0 || share.Weight > Million:
			return fmt.Errorf("share %d: weight %d: 1 to %d", i+1, share.Weight, Million)
		}
		for j := range r.Shares[:i] {
			if r.Shares[j].Role == share.Role && r.Shares[j].Member == share.Member {
				return fmt.Errorf("share %d: the same as share %d; add their weights", i+1, j+1)
			}
		}
	}
	return nil
}

// sum returns the digest of all other fields.
func (s *Schedule) sum() Digest {
	b := make([]byte, 0, 256+64*len(s.Rows))
	edition := byte('1')
	if s.Extended() {
		edition = '2' // Those of before keep the digest that they had.
	}
	b = append(append(append(b, "lianfen fee schedule "...), edition), '\n')
	b = binary.BigEndian.AppendUint32(b, s.Version)
	b = appendTime(b, s.From)
	b = binary.AppendUvarint(b, uint64(len(s.Rows)))
	for i := range s.Rows {
		row := &s.Rows[i]
		for _, field := range [...]uint64{
			uint64(row.Kind), uint64(row.Issuer), uint64(row.Acquirer), uint64(row.MCC), uint64(row.Program),
			uint64(row.InterchangePPM), uint64(row.PPM), uint64(row.Fixed), uint64(row.Min), uint64(row.Max), //nolint:gosec // not negative, see check.
			uint64(row.VATPPM), uint64(len(row.Shares)),
		} {
			b = binary.AppendUvarint(b, field)
		}
		for _, share := range row.Shares {
			for _, field := range [...]uint64{uint64(share.Role), uint64(share.Member), uint64(share.Weight)} {
				b = binary.AppendUvarint(b, field)
			}
		}
		if edition == '2' {
			b = append(b, byte(row.Payer), map[bool]byte{true: 1}[row.LockAtHold])
		}
	}
	b = appendApproval(b, s.Maker, s.Checker, s.Approved, s.Previous)
	return sha256.Sum256(b)
}
