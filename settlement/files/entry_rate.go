package files

import (
	"bytes"
	"strconv"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/netting"
	"github.com/lianfen/lianfen/tariff"
)

// EntryRates gathers from the lines of a member's detail files which points the entries of
// its statement are of, and at which rate: whoever makes a statement and whoever proves one
// ask the same lines, so that the second comes to what the first has written. It does not
// matter in which order the lines come. The zero value knows of no line.
type EntryRates struct {
	at    map[uint64]int32 // by counterparty and code: its place in sums
	sums  []entrySum
	terms []entryTerms
}

// entryTerms are what all lines of an entry with a rate have in common.
type entryTerms struct {
	asset    [6]byte
	scale    uint8
	version  uint32
	num, den uint64
}

// entrySum is what the lines of an entry come to. Millions of entries are kept in a night:
// it is small, and ends at the first line that has other terms.
type entrySum struct {
	amount Sum
	std    uint64 // modulo 2^64; it is only compared
	items  uint64
	terms  int32 // place in terms; mixedTerms: the lines have several
}

const mixedTerms = -1

// maxEntryRates is how many entries are looked at: more than a member can have, so that
// nothing that is made up by a file grows without end.
const maxEntryRates = (netting.MaxParties + 8) * tariff.Codes

// Note takes in a line of a file of the role. Of l only what differs from receiver to
// receiver is looked at: the rest of the line is given apart.
func (r *EntryRates) Note(role Role, kind tariff.Kind, acquirer, issuer tariff.Member, l *Line) {
	if !rated(role, kind, l) {
		return
	}
	counterparty := issuer
	if role == RoleIssuer {
		counterparty = acquirer
	}
	key := uint64(counterparty)<<8 | uint64(kind.ValueCode())
	at, known := r.at[key]
	if !known {
		if len(r.sums) >= maxEntryRates {
			return
		}
		if r.at == nil {
			r.at = make(map[uint64]int32)
		}
		at = int32(len(r.sums)) //nolint:gosec // maxEntryRates at most.
		r.at[key] = at
		r.sums = append(r.sums, entrySum{terms: r.place(l)})
	}
	sum := &r.sums[at]
	if sum.terms == mixedTerms {
		return
	}
	if terms := &r.terms[sum.terms]; !known || terms.of(l) {
		sum.amount, sum.std, sum.items = sum.amount.plus(l.Amount), sum.std+uint64(l.Std), sum.items+1 //nolint:gosec // modulo.
		return
	}
	sum.terms = mixedTerms
}

// rated reports whether a line has points and a rate that its value follows from. One without
// a value is part of no entry, and so is a share of a fee; what was approved by hand is in
// standard points. A swap is valued by what was granted, of which the line of its
// issuer does not tell, nor does it tell who the target is: so it is of what undoes one.
func rated(role Role, kind tariff.Kind, l *Line) bool {
	switch {
	case l.Std == 0 || role == RoleShare || kind.Explicit():
		return false
	case role != RoleIssuer:
		return true
	case !kind.Undoing():
		return kind != tariff.KindSWP
	}
	worth, ok := worthOf(l, role)
	return ok && near(SumOf(l.Std), worth, kind)
}

func (t *entryTerms) of(l *Line) bool {
	return t.version == l.RateVersion && t.num == l.Num && t.den == l.Den && t.asset == l.Asset && t.scale == l.AssetScale
}

// place is where the terms of a line are among all: a member's lines have few.
func (r *EntryRates) place(l *Line) int32 {
	for i := range r.terms {
		if r.terms[i].of(l) {
			return int32(i) //nolint:gosec // as few as entries.
		}
	}
	r.terms = append(r.terms, entryTerms{l.Asset, l.AssetScale, l.RateVersion, l.Num, l.Den})
	return int32(len(r.terms) - 1) //nolint:gosec // as above.
}

// of is the rate of an entry of so many items and so much worth: nil where its items are of
// several programmes or rates, where not all of them were noted, or where their points are
// more than a statement carries.
func (r *EntryRates) of(counterparty tariff.Member, code tariff.Code, amount points.Amount, items uint64) *EntryRate {
	if r == nil {
		return nil
	}
	at, known := r.at[uint64(counterparty)<<8|uint64(code)]
	if !known || r.sums[at].terms == mixedTerms {
		return nil
	}
	sum := &r.sums[at]
	noted, fits := sum.amount.Amount()
	if sum.items != items || sum.std != uint64(amount) || !fits { //nolint:gosec // modulo 2^64, as it was summed.
		return nil
	}
	return r.terms[sum.terms].rate(noted)
}

// rate is the rate of so many points, nil where they are more than a statement carries.
func (t *entryTerms) rate(amount points.Amount) *EntryRate {
	if amount > isoAmountMost || amount < -isoAmountMost || t.version == 0 {
		return nil
	}
	program := string(bytes.TrimRight(t.asset[:], " \x00"))
	return &EntryRate{Program: program, Currency: ProgramCurrency(program), Scale: int(t.scale), Amount: amount, Version: t.version, Num: t.num, Den: t.den}
}

// RateOf is the rate of an entry of one line, as those of a notification are.
func RateOf(role Role, kind tariff.Kind, l *Line) *EntryRate {
	if !rated(role, kind, l) {
		return nil
	}
	t := entryTerms{l.Asset, l.AssetScale, l.RateVersion, l.Num, l.Den}
	return t.rate(l.Amount)
}

// ProgramCurrency is what stands for a programme where ISO 20022 wants the code of a
// currency: Q, then U, V, W or X, then a letter: 900 is QUA, 925 is QUZ, 926 is QVA, 998 is QXU.
// ISO 3166 leaves country codes from QM to QZ to their users, so that none of these is or
// becomes the code of any country's money. Of what is no programme it is empty.
func ProgramCurrency(program string) string {
	n, err := strconv.ParseUint(program, 10, 16)
	if id := points.ProgramID(n); err != nil || !id.Valid() {
		return ""
	}
	n -= uint64(points.MinProgram)
	return string([]byte{'Q', byte('U' + n/26), byte('A' + n%26)})
}
