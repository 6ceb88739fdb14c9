package files

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// noted are the rates of some lines of a role, as verify numbers counterparties.
func noted(role Role, all ...Line) *verifier {
	v := &verifier{with: make(map[tariff.Member]int), traded: make(merchants)}
	for i := range all {
		v.counts(&Header{Role: role}, &all[i])
	}
	return v
}

// of is the rate of a row.
func (v *verifier) of(counterparty tariff.Member, code tariff.Code, amount points.Amount, items uint64) *EntryRate {
	return v.rate(&Position{Counterparty: counterparty, Code: code, Receive: max(amount, 0), Pay: max(-amount, 0), Items: items})
}

// An entry has a rate where all its items are of one programme at one version of its rate, and
// only then: in any order of the lines.
func TestEntryRate(t *testing.T) {
	line := func(change func(*Line)) Line {
		return with(basic(1), func(l *Line) {
			fill(l.Asset[:], "000926")
			change(l)
		})
	}
	one := line(func(l *Line) {})
	two := line(func(l *Line) { l.Amount = 20 })
	want := &EntryRate{Program: "000926", Currency: "QVA", Scale: 2, Amount: 12365, Version: 3, Num: 7, Den: 20}
	for _, all := range [][]Line{{one, two}, {two, one}} {
		require.Equal(t, want, noted(RoleAcquirer, all...).of(other, tariff.CodeRDM, 4328, 2))
	}
	r := noted(RoleAcquirer, one, two)
	require.Nil(t, r.of(other, tariff.CodeEAR, 4328, 2), "another code")
	require.Nil(t, r.of(third, tariff.CodeRDM, 4328, 2), "another counterparty")
	require.Nil(t, r.of(other, tariff.CodeRDM, 4328, 3), "an item that no line told of")
	require.Nil(t, r.of(other, tariff.CodeRDM, 4329, 2), "another worth")
	require.Nil(t, noted(RoleAcquirer).of(other, tariff.CodeRDM, 0, 0))

	for what, change := range map[string]func(*Line){
		"another programme":   func(l *Line) { fill(l.Asset[:], "000927") },
		"other decimals":      func(l *Line) { l.AssetScale = 1 },
		"another version":     func(l *Line) { l.RateVersion = 4 },
		"another numerator":   func(l *Line) { l.Num = 8 },
		"another denominator": func(l *Line) { l.Den = 21 },
	} {
		odd := line(change)
		for _, all := range [][]Line{{one, odd, one}, {odd, one, one}, {one, one, odd}} {
			require.Nil(t, noted(RoleAcquirer, all...).of(other, tariff.CodeRDM, one.Std*2+odd.Std, 3), what)
		}
	}
}

// What a line is no part of is not counted into it, and whose entry it is depends on who reads.
func TestEntryRateLines(t *testing.T) {
	line := with(basic(1), func(l *Line) { fill(l.Asset[:], "000901") })
	of := func(role Role, l Line, m tariff.Member) *EntryRate {
		return noted(role, l).of(m, l.Kind.ValueCode(), l.Std, 1)
	}
	require.NotNil(t, of(RoleAcquirer, line, other))
	issued := with(line, func(l *Line) { l.Acquirer, l.Issuer, l.Amount = third, us, -12345 })
	require.NotNil(t, of(RoleIssuer, issued, third))
	require.Nil(t, of(RoleIssuer, issued, us))
	swap := with(issued, func(l *Line) { l.Kind = tariff.KindSWP })
	require.NotNil(t, of(RoleSwapTarget, swap, us), "the target is told who issued the points")
	require.Nil(t, of(RoleIssuer, swap, third), "whoever brought a swap is not its counterparty")
	undone := with(issued, func(l *Line) { l.Kind, l.Amount = tariff.KindRVS, 12345 })
	require.NotNil(t, of(RoleIssuer, undone, third))
	undone.Std -= 100 // of a swap, by the worth of what was granted
	require.Nil(t, of(RoleIssuer, undone, third))
	require.Nil(t, RateOf(RoleIssuer, undone.Kind, &undone))
	require.Nil(t, of(RoleShare, line, other))
	adjusted := with(line, func(l *Line) { l.Kind = tariff.KindADJ })
	require.Nil(t, of(RoleAcquirer, adjusted, other))
	require.Nil(t, RateOf(RoleAcquirer, adjusted.Kind, &adjusted))

	nothing := with(line, func(l *Line) { l.Amount, l.Num, l.Den = 1, 1, 2 }) // half a unit: to the even one, 0
	require.Equal(t, points.Amount(12345), noted(RoleAcquirer, line, nothing).of(other, tariff.CodeRDM, line.Std, 1).Amount, "a line without a value is in no entry")
	require.Equal(t, points.Amount(12345), RateOf(RoleAcquirer, line.Kind, &line).Amount)
}

// Points of more digits than a statement carries leave the rate out; nothing wraps around.
func TestEntryRateWide(t *testing.T) {
	wide := with(basic(1), func(l *Line) { l.Amount, l.Num, l.Den = 999_999_999_999_999, 1, 999_999_999_999 })
	require.EqualValues(t, 1000, wide.Std)
	r := new(EntryRates)
	for n := uint64(1); n <= 20_000; n++ { // Beyond 2^64 at 18,446.
		r.Note(RoleAcquirer, wide.Kind, 0, &wide)
		rate := r.Of(0, &Position{Code: tariff.CodeRDM, Receive: points.Amount(n) * 1000, Items: n})
		require.Equal(t, n <= 1000, rate != nil, n)
	}
}

// Each programme has three letters of its own, which no country's money has: Q, and then a
// letter behind T. Neither is the standard unit one of them.
func TestProgramCurrency(t *testing.T) {
	seen := map[string]bool{}
	for id := points.MinProgram; id <= points.MaxProgram; id++ {
		code := ProgramCurrency(assetOf(id))
		require.Regexp(t, `^Q[U-X][A-Z]$`, code)
		require.False(t, seen[code], code)
		seen[code] = true
	}
	require.Equal(t, []string{"QUA", "QUZ", "QVA", "QXU"}, []string{ProgramCurrency("000900"), ProgramCurrency("000925"), ProgramCurrency("000926"), ProgramCurrency("000998")})
	for _, none := range []string{"", "QZP", "PTS901", "000899", "000999", "066436", "-00900"} {
		require.Empty(t, ProgramCurrency(none), none)
	}
}

func assetOf(id points.ProgramID) string {
	return string([]byte{'0', '0', '0', byte('0' + id/100), byte('0' + id/10%10), byte('0' + id%10)})
}

// What a hostile file makes up fills no memory without end.
func TestEntryRateBound(t *testing.T) {
	l := basic(1)
	all := make([]Line, 2*maxCounterparties)
	for i := range all {
		all[i] = l
		all[i].Issuer = tariff.Member(i + 1)
	}
	v := noted(RoleAcquirer, all...)
	require.Len(t, v.rates.pairs, maxCounterparties)
	require.Len(t, v.rates.terms, 1)
	require.NotNil(t, v.of(1, tariff.CodeRDM, l.Std, 1))
	require.Nil(t, v.of(2*maxCounterparties, tariff.CodeRDM, l.Std, 1))
}
