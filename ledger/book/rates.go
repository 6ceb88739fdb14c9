package book

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// Cap is how much a member may owe the others before it has paid, in smallest units of the
// standard point, and what it has put down for that. A haircut is in parts per million.
type Cap struct {
	Member            tariff.Member `json:"member"`
	Cap               points.Amount `json:"cap"`
	Unlimited         bool          `json:"unlimited,omitempty"` // there is no cap any more
	Prefund           points.Amount `json:"prefund,omitempty"`
	PrefundHaircut    uint32        `json:"prefund_haircut_ppm,omitempty"`
	Collateral        points.Amount `json:"collateral,omitempty"`
	CollateralHaircut uint32        `json:"collateral_haircut_ppm,omitempty"`
	// CreditLater: what the others owe the member counts only once it is settled; else at once.
	CreditLater bool `json:"credit_later,omitempty"`
	// Holds: what holds may still capture counts too, until it is captured or given back.
	// Caps from before there was this do not have it, so that their journals replay.
	Holds bool `json:"holds,omitempty"`
}

// Cover is what the haircuts leave of what was put down, each rounded down.
func (c *Cap) Cover() points.Amount {
	prefund, _, _ := c.Prefund.MulRat(uint64(tariff.Million-min(c.PrefundHaircut, tariff.Million)), tariff.Million)
	collateral, _, _ := c.Collateral.MulRat(uint64(tariff.Million-min(c.CollateralHaircut, tariff.Million)), tariff.Million)
	return prefund + collateral
}

// valid tells which field of a cap cannot be as it is.
func (c *Cap) valid() error {
	for _, amount := range [...]struct {
		name  string
		value points.Amount
	}{{"cap", c.Cap}, {"prefund", c.Prefund}, {"collateral", c.Collateral}} {
		if amount.value < 0 || amount.value > tariff.MaxValue {
			return points.Errorf(points.BadAmount, "%s %d: want 0 to %d", amount.name, amount.value, tariff.MaxValue)
		}
	}
	switch {
	case !c.Member.Institution():
		return wrong("member", c.Member, "want an institution's number of 1 to 8 digits")
	case c.PrefundHaircut > tariff.Million || c.CollateralHaircut > tariff.Million:
		return wrong("haircut", max(c.PrefundHaircut, c.CollateralHaircut), "want 0 to 1000000 parts per million")
	case c.Unlimited && c.Cap != 0:
		return wrong("cap", c.Cap, "want 0 where there is no cap any more")
	case c.Cap > c.Cover():
		return points.Errorf(points.BadAmount, "cap %d: prefund and collateral cover %d; put down more, or set a lower cap", c.Cap, c.Cover())
	}
	return nil
}

func appendCap(dst []byte, c *Cap) []byte {
	var flags byte
	if c.Unlimited {
		flags |= 1
	}
	if c.CreditLater {
		flags |= 2
	}
	if c.Holds {
		flags |= 4
	}
	dst = append(binary.AppendUvarint(dst, uint64(c.Member)), flags)
	dst = appendAmount(appendAmount(appendAmount(dst, c.Cap), c.Prefund), c.Collateral)
	return binary.AppendUvarint(binary.AppendUvarint(dst, uint64(c.PrefundHaircut)), uint64(c.CollateralHaircut))
}

func decodeCap(r *reader) *Cap {
	c := &Cap{Member: tariff.Member(r.uint32())}
	flags := r.byte()
	c.Unlimited, c.CreditLater, c.Holds = flags&1 != 0, flags&2 != 0, flags&4 != 0
	if flags > 7 {
		r.fail()
	}
	c.Cap, c.Prefund, c.Collateral = r.amount(), r.amount(), r.amount()
	c.PrefundHaircut, c.CollateralHaircut = r.uint32(), r.uint32()
	return c
}

// signature is who stands behind a version, and its place in the chain; empty in a command,
// which only proposes terms.
type signature struct {
	version  uint32
	maker    string
	checker  string
	approved points.Timestamp
	previous tariff.Digest
	digest   tariff.Digest
}

func appendSignature(dst []byte, s *signature) []byte {
	if *s == (signature{}) {
		return append(dst, 0)
	}
	dst = binary.AppendUvarint(append(dst, 1), uint64(s.version))
	dst = appendText(appendText(dst, s.maker), s.checker)
	dst = binary.AppendVarint(dst, int64(s.approved))
	return append(append(dst, s.previous[:]...), s.digest[:]...)
}

func decodeSignature(r *reader) (s signature) {
	switch r.byte() {
	case 0:
		return s
	case 1:
	default:
		r.fail()
	}
	s.version, s.maker, s.checker, s.approved = r.uint32(), r.text(maxName), r.text(maxName), r.timestamp()
	r.fixed(s.previous[:])
	r.fixed(s.digest[:])
	if s == (signature{}) {
		r.fail()
	}
	return s
}

// ofPair stands beside the side of a rate that is of a pair; its other programme follows.
const ofPair = 1 << 7

func appendRate(dst []byte, v *tariff.Rate) []byte {
	dst = binary.AppendUvarint(dst, uint64(v.Program))
	if v.Into == 0 {
		dst = append(dst, byte(v.Side))
	} else {
		dst = binary.AppendUvarint(append(dst, byte(v.Side)|ofPair), uint64(v.Into))
	}
	dst = binary.AppendVarint(dst, int64(v.From))
	for _, n := range [...]uint64{v.Num, v.Den, uint64(v.SpreadPPM)} {
		dst = binary.AppendUvarint(dst, n)
	}
	return appendSignature(dst, &signature{v.Version, v.Maker, v.Checker, v.Approved, v.Previous, v.Digest})
}

func decodeRate(r *reader) *tariff.Rate {
	v := new(tariff.Rate)
	v.Program = r.program()
	side := r.byte()
	if side&ofPair != 0 {
		if v.Into = r.program(); v.Into == 0 {
			r.fail()
		}
	}
	v.Side, v.From = tariff.Side(side&^ofPair), r.timestamp()
	v.Num, v.Den, v.SpreadPPM = r.uvarint(), r.uvarint(), r.uint32()
	s := decodeSignature(r)
	v.Version, v.Maker, v.Checker, v.Approved, v.Previous, v.Digest = s.version, s.maker, s.checker, s.approved, s.previous, s.digest
	return v
}

func appendFees(dst []byte, v *tariff.Schedule) []byte {
	dst = binary.AppendVarint(dst, int64(v.From))
	dst = appendList(dst, v.Rows, func(dst []byte, row tariff.FeeRow) []byte {
		dst = append(dst, byte(row.Kind))
		for _, n := range [...]uint64{uint64(row.Issuer), uint64(row.Acquirer), uint64(row.MCC), uint64(row.Program), uint64(row.InterchangePPM), uint64(row.PPM), uint64(row.VATPPM)} {
			dst = binary.AppendUvarint(dst, n)
		}
		dst = appendAmount(appendAmount(appendAmount(dst, row.Fixed), row.Min), row.Max)
		return appendList(dst, row.Shares, func(dst []byte, s tariff.Share) []byte {
			dst = binary.AppendUvarint(append(dst, byte(s.Role)), uint64(s.Member))
			return binary.AppendUvarint(dst, uint64(s.Weight))
		})
	})
	return appendSignature(dst, &signature{v.Version, v.Maker, v.Checker, v.Approved, v.Previous, v.Digest})
}

func decodeFees(r *reader) *tariff.Schedule {
	v := &tariff.Schedule{From: r.timestamp()}
	for range r.count(tariff.MaxFeeRows, 12) {
		row := tariff.FeeRow{Kind: tariff.Kind(r.byte()), Issuer: tariff.Member(r.uint32()), Acquirer: tariff.Member(r.uint32()), MCC: r.uint16(), Program: r.program()}
		row.InterchangePPM, row.PPM, row.VATPPM = r.uint32(), r.uint32(), r.uint32()
		row.Fixed, row.Min, row.Max = r.amount(), r.amount(), r.amount()
		for range r.count(tariff.MaxShares, 3) {
			row.Shares = append(row.Shares, tariff.Share{Role: tariff.Role(r.byte()), Member: tariff.Member(r.uint32()), Weight: r.uint32()})
		}
		v.Rows = append(v.Rows, row)
	}
	s := decodeSignature(r)
	v.Version, v.Maker, v.Checker, v.Approved, v.Previous, v.Digest = s.version, s.maker, s.checker, s.approved, s.previous, s.digest
	return v
}

// appendFeesMore is appendFees, and behind it what rows of before do not have.
func appendFeesMore(dst []byte, v *tariff.Schedule) []byte {
	dst = appendFees(dst, v)
	for i := range v.Rows {
		flags := byte(v.Rows[i].Payer) << 1
		if v.Rows[i].LockAtHold {
			flags |= 1
		}
		dst = append(dst, flags)
	}
	return dst
}

func decodeFeesMore(r *reader) *tariff.Schedule {
	v := decodeFees(r)
	for i := range v.Rows {
		flags := r.byte()
		v.Rows[i].Payer, v.Rows[i].LockAtHold = tariff.Role(flags>>1), flags&1 != 0
	}
	if !v.Extended() {
		r.fail()
	}
	return v
}

func cloneRows(rows []tariff.FeeRow) []tariff.FeeRow {
	rows = slices.Clone(rows)
	for i := range rows {
		rows[i].Shares = slices.Clone(rows[i].Shares)
	}
	return rows
}

// signs says who proposed what a command puts, and who approved it: of versions that is
// always two persons (I19).
func (b *Book) signs(cmd *Command) (maker, checker string, reason points.Reason) {
	if b.enrolled() && cmd != b.approved {
		return "", "", points.NeedsSecondPerson
	}
	if reason := b.twoPeople(cmd); !reason.Approved() {
		return "", "", reason
	}
	return cmd.Operator, cmd.Second, points.Approved
}

// putVersion appends a version of a rate or of the fees. One that is there is never edited,
// and none can be put for a time that is over.
func (b *Book) putVersion(cmd *Command) points.Reason {
	maker, checker, reason := b.signs(cmd)
	if !reason.Approved() {
		return reason
	}
	entry, err := b.nextVersion(&cmd.Entry, maker, checker, b.postingTime(cmd))
	if err != nil {
		return points.ReasonOf(err)
	}
	b.putReference(entry)
	return points.Approved
}

// nextVersion is the version that an entry's terms would be.
func (b *Book) nextVersion(e *Entry, maker, checker string, now points.Timestamp) (Entry, error) {
	if v := e.Rate; v != nil {
		if _, ok := b.live.Programs[v.Program]; !ok && v.Program.Valid() {
			return Entry{}, points.Errorf(points.UnknownProgram, "programme %d: there is none; put it first", v.Program)
		}
		if _, ok := b.live.Programs[v.Into]; !ok && v.Into != 0 {
			return Entry{}, points.Errorf(points.UnknownProgram, "into %d: there is no such programme; put it first", v.Into)
		}
		if v.Version != 0 && v.Version != b.live.rates().Latest(v.Program, v.Side)+1 {
			return Entry{}, points.Errorf(points.AlreadyExists, "version %d of the rate of %d %v: the next one is %d; what is there is not edited", v.Version, v.Program, v.Side, b.live.rates().Latest(v.Program, v.Side)+1)
		}
		next, err := b.live.rates().Next(v.Terms, maker, checker, now)
		if err == nil {
			err = b.mayPublish(&next, nil)
		}
		return Entry{Rate: &next}, err
	}
	if v := e.Swaps; v != nil {
		return b.nextSwapTerms(v, maker, checker, now)
	}
	v := e.Fees
	if latest := uint32(b.live.fees().Len()); v.Version != 0 && v.Version != latest+1 { //nolint:gosec // versions are few.
		return Entry{}, points.Errorf(points.AlreadyExists, "version %d of the fees: the next one is %d; what is there is not edited", v.Version, latest+1)
	}
	next, err := b.live.fees().Next(v.From, v.Rows, maker, checker, now)
	return Entry{Fees: next}, err
}

// WhyVersions tells which of a list of versions could not be entered now, each behind the ones
// before it, and why; it changes nothing. Without an error all can.
func (b *Book) WhyVersions(list []Command) (at int, err error) {
	rates, swaps, fees := b.live.Rates, b.live.Swaps, b.live.Fees
	defer func() { b.live.Rates, b.live.Swaps, b.live.Fees = rates, swaps, fees }()
	b.live.Rates, b.live.Swaps, b.live.Fees = b.live.rates().Clone(), b.live.swaps().Clone(), b.live.fees().Clone()
	for i := range list {
		cmd := &list[i]
		if err := b.Why(cmd); err != nil {
			return i, err
		}
		next, err := b.nextVersion(&cmd.Entry, cmp.Or(cmd.Operator, "maker"), cmp.Or(cmd.Second, "checker"), b.postingTime(cmd))
		if err == nil {
			err = b.live.setVersion(&next)
		}
		if err != nil {
			return i, err
		}
	}
	return 0, nil
}

// whyVersion tells why an entry's terms cannot be a version now.
func (b *Book) whyVersion(cmd *Command) error {
	maker, checker := cmp.Or(cmd.Operator, "maker"), cmp.Or(cmd.Second, "checker")
	if maker == checker {
		return points.Errorf(points.NeedsSecondPerson, "%s proposed it; another person approves it", maker)
	}
	_, err := b.nextVersion(&cmd.Entry, maker, checker, b.postingTime(cmd))
	return err
}

// rates is the table; an empty one where there is none.
func (r *Registry) rates() *tariff.Rates {
	if r.Rates == nil {
		return tariff.NewRates()
	}
	return r.Rates
}

func (r *Registry) fees() *tariff.Fees {
	if r.Fees == nil {
		return tariff.NewFees()
	}
	return r.Fees
}

// setVersion enters a version that was approved, now or before.
func (r *Registry) setVersion(e *Entry) error {
	if e.Rate != nil {
		table := r.rates()
		r.Rates = table
		return table.Append(*e.Rate)
	}
	if e.Swaps != nil {
		table := r.swaps()
		r.Swaps = table
		return table.Append(*e.Swaps)
	}
	table := r.fees()
	r.Fees = table
	return table.Append(e.Fees)
}

// basisOf is what a proposed version follows: where another one has been approved
// meanwhile, it is proposed again.
func (r *Registry) basisOf(e *Entry) []byte {
	if v := e.Rate; v != nil {
		return binary.AppendUvarint(nil, uint64(r.rates().Latest(v.Program, v.Side)))
	}
	if v := e.Swaps; v != nil {
		return binary.AppendUvarint(nil, uint64(r.swaps().Latest(v.Program)))
	}
	return binary.AppendUvarint(nil, uint64(r.fees().Len())) //nolint:gosec // few.
}

// versionIdentity names a version.
func versionIdentity(e *Entry) identity {
	if v := e.Rate; v != nil {
		return identity{entryRate, uint64(v.Program)<<40 | uint64(v.Side)<<32 | uint64(v.Version), ""}
	}
	if v := e.Swaps; v != nil {
		return identity{entrySwaps, uint64(v.Program)<<40 | uint64(v.Version), ""}
	}
	return identity{entryFees, uint64(e.Fees.Version), ""}
}

// malformedFees tells what keeps a schedule from being read back.
func malformedFees(v *tariff.Schedule) error {
	if len(v.Rows) > tariff.MaxFeeRows {
		return points.Errorf(points.FormatError, "%d rows of fees, want at most %d", len(v.Rows), tariff.MaxFeeRows)
	}
	for i := range v.Rows {
		if n := len(v.Rows[i].Shares); n > tariff.MaxShares {
			return points.Errorf(points.FormatError, "row %d: %d shares, want at most %d", i+1, n, tariff.MaxShares)
		}
	}
	return longest(maxName, text{"maker", v.Maker}, text{"checker", v.Checker})
}

// auditVersions checks that what the registry has was approved by two persons.
func (b *Book) auditVersions() error {
	for rate := range b.live.rates().All() {
		if rate.Maker == "" || rate.Checker == "" || rate.Maker == rate.Checker || rate.From < rate.Approved+tariff.LeadTime {
			return fmt.Errorf("book: I19: version %d of the rate of %d %v by %q and %q", rate.Version, rate.Program, rate.Side, rate.Maker, rate.Checker)
		}
	}
	return nil
}
