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
// matter in which order the lines come. Counterparties are numbered by who asks, from 0, as
// it does it anyway: a search for each of millions of lines takes long. The zero value
// knows of no line.
type EntryRates struct {
	at    []int32 // by counterparty: its place in pairs plus one; 0: it has none
	pairs [][ratedCodes]entrySum
	terms []entryTerms
}

// entryTerms are what all lines of an entry with a rate have in common.
type entryTerms struct {
	asset    [6]byte
	scale    uint8
	version  uint32
	num, den uint64
}

// entrySum is what the lines of an entry come to. A night has a million of them, each met in
// memory that no cache holds: so it is half a line of one.
type entrySum struct {
	amount uint64 // lower half of the sum in 128 bits
	std    uint64 // modulo 2^64; it is only compared
	above  int32  // upper half of amount: of fewer lines than 2^32 it fits
	items  uint32
	terms  int32 // place in terms plus one; 0: no line yet; mixedTerms: the lines have several
}

const mixedTerms = -1

// ratedCodes is how many codes entries with a rate have.
const ratedCodes = 6

// ratedCode numbers them; none for the others.
func ratedCode(code tariff.Code) (int, bool) {
	switch code {
	case tariff.CodeRDM:
		return 0, true
	case tariff.CodeEAR:
		return 1, true
	case tariff.CodeSWP:
		return 2, true
	case tariff.CodeRFD:
		return 3, true
	case tariff.CodeRVS:
		return 4, true
	case tariff.CodeCBK:
		return 5, true
	default:
		return 0, false
	}
}

// maxCounterparties is how many there can be, so that nothing that is made up by a file grows
// without end.
const maxCounterparties = netting.MaxParties

// Note takes in a line of an item of the kind, in a file of the role, with a counterparty: in
// an issuer's file the acquirer of the item, else its issuer. Of l only what differs from
// receiver to receiver is looked at.
func (r *EntryRates) Note(role Role, kind tariff.Kind, counterparty int, l *Line) {
	if uint(counterparty) >= maxCounterparties || !rated(role, kind, l) {
		return
	}
	for counterparty >= len(r.at) {
		r.at = append(r.at, 0)
	}
	at := &r.at[counterparty]
	if *at == 0 {
		r.pairs = append(r.pairs, [ratedCodes]entrySum{})
		*at = int32(len(r.pairs)) //nolint:gosec // maxCounterparties at most.
	}
	code, ok := ratedCode(kind.ValueCode())
	if sum := &r.pairs[*at-1][code]; ok && sum.terms != mixedTerms {
		r.add(sum, l)
	}
}

// add takes a line into an entry, which ends where the line has other terms.
func (r *EntryRates) add(sum *entrySum, l *Line) {
	switch {
	case sum.terms == 0:
		sum.terms = r.place(l)
	case !r.terms[sum.terms-1].of(l):
		sum.terms = mixedTerms
		return
	}
	amount := Sum{hi: uint64(sum.above), lo: sum.amount}.plus(l.Amount) //nolint:gosec // the sign goes into the upper half.
	sum.amount, sum.above = amount.lo, int32(amount.hi)                 //nolint:gosec // it has room, see above.
	sum.std += uint64(l.Std)                                            //nolint:gosec // modulo.
	sum.items++
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

// place is where the terms of a line are among all, plus one: a member's lines have few.
func (r *EntryRates) place(l *Line) int32 {
	for i := range r.terms {
		if r.terms[i].of(l) {
			return int32(i) + 1
		}
	}
	r.terms = append(r.terms, entryTerms{l.Asset, l.AssetScale, l.RateVersion, l.Num, l.Den})
	return int32(len(r.terms)) //nolint:gosec // as above.
}

// Of is the rate of the entry with a counterparty that a row of NET makes: nil where its items
// are of several programmes or rates, where not all of them were noted, or where their points
// are more than a statement carries.
func (r *EntryRates) Of(counterparty int, row *Position) *EntryRate {
	code, ok := ratedCode(row.Code)
	if !ok || uint(counterparty) >= uint(len(r.at)) || r.at[counterparty] == 0 {
		return nil
	}
	sum := &r.pairs[r.at[counterparty]-1][code]
	if sum.terms <= 0 {
		return nil
	}
	noted, fits := Sum{hi: uint64(sum.above), lo: sum.amount}.Amount()                     //nolint:gosec // as in add.
	if uint64(sum.items) != row.Items || sum.std != uint64(row.Receive-row.Pay) || !fits { //nolint:gosec // modulo 2^64, as it was summed.
		return nil
	}
	return r.terms[sum.terms-1].rate(noted)
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
	return string([]byte{'Q', byte('U' + n/26), byte('A' + n%26)}) //nolint:gosec // programmes are a hundred.
}
