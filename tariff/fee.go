package tariff

import (
	"iter"

	"github.com/lianfen/lianfen/points"
)

// MaxShares is the largest number of shares that a fee is split into.
const MaxShares = 6

// MaxFeeRows is the largest number of rows of one schedule.
const MaxFeeRows = 100_000

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
type FeeRow struct {
	Kind           Kind             `json:"kind"` // RDM, EAR or SWP
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
}

// Fees is the append-only list of schedules. The same rules hold as for [Rates].
type Fees struct{}

// NewFees returns an empty list.
func NewFees() *Fees { return &Fees{} }

// Next returns the version that rows would be if checker approved now what maker
// proposed. It changes nothing. It refuses with a sentence that names the rows: what
// is out of bounds, and two rows that fit one item equally well.
func (f *Fees) Next(from points.Timestamp, rows []FeeRow, maker, checker string, now points.Timestamp) (*Schedule, error) {
	return nil, nil
}

// Append adds a version that [Fees.Next] made. f keeps s and its rows: they must not
// be changed any more.
func (f *Fees) Append(s *Schedule) error { return nil }

// At returns the schedule in force at t, or nil. It allocates nothing.
func (f *Fees) At(t points.Timestamp) *Schedule { return nil }

// Version returns one version, or nil.
func (f *Fees) Version(version uint32) *Schedule { return nil }

// All yields every version in order.
func (f *Fees) All() iter.Seq[*Schedule] { return func(func(*Schedule) bool) {} }

// Clone returns a copy that later appends to f do not reach, and the other way round.
func (f *Fees) Clone() *Fees { return nil }

// Digest is the digest of all versions that take effect before t; see [Rates.Digest].
func (f *Fees) Digest(before points.Timestamp) Digest { return Digest{} }
