package files

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// TestLayouts: every field stands where partners were told, in records of 108, 391 and
// 235 characters and CRLF.
func TestLayouts(t *testing.T) {
	places := func(fields []Field) string {
		var all []string
		for _, f := range fields {
			all = append(all, fmt.Sprintf("%s %d-%d", f.Name, f.From, f.To()))
		}
		return strings.Join(all, ", ")
	}
	require.Equal(t, "rec 1-2, fmt 4-6, ftype 8-10, bdate 12-19, cycle 21-22, sender 24-31, receiver 33-40, role 42-42, created 44-57, "+
		"tz 59-63, run 65-90, part 92-95, parts 97-100, std 102-104, scale 106-106, mode 108-108", places(headers.described()))
	require.Equal(t, "rec 1-2, line 4-15, cid 17-36, kind 38-40, acq 42-49, fwd 51-58, iss 60-67, stan 69-74, txdt 76-89, locdt 91-104, "+
		"rrn 106-117, auth 119-124, mti 126-129, proc 131-136, mode 138-140, cond 142-143, mcc 145-148, term 150-157, mer 159-173, "+
		"acct 175-193, asset 195-200, ascale 202-202, amt 204-219, ratev 221-228, num 230-241, den 243-254, std 256-271, ichg 273-285, "+
		"swfee 287-299, vat 301-313, other 315-327, net 329-344, obdate 346-353, ocid 355-374, rc 376-377, flags 379-382, rsv 384-391",
		places(lines.described()))
	require.Equal(t, "rec 1-2, n 4-15, ndr 17-28, sdr 30-49, ncr 51-62, scr 64-83, net 85-105, sstd 107-127, sfee 129-149, hcid 151-170, sha 172-235",
		places(trailers.described()))
	require.Equal(t, []int{108, 391, 235}, []int{headers.width(), lines.width(), trailers.width()})
}

// TestRefused: what does not fit its field is refused by the field's name, and nothing of
// the line is written.
func TestRefused(t *testing.T) {
	for field, change := range map[string]func(*Line){
		"amt":   func(l *Line) { l.Amount = -1_000_000_000_000_000 },
		"vat":   func(l *Line) { l.VAT = 1_000_000_000_000 },
		"acq":   func(l *Line) { l.Acquirer = tariff.AccountFee },
		"stan":  func(l *Line) { l.STAN = 1_000_000 },
		"num":   func(l *Line) { l.Num = 1_000_000_000_000 },
		"kind":  func(l *Line) { l.Kind = 0 },
		"term":  func(l *Line) { l.Terminal[0] = '\n' },
		"mer":   func(l *Line) { copy(l.Merchant[:], "喜") },
		"flags": func(l *Line) { l.Flags = 1 << 4 },
	} {
		l := basic(1)
		change(&l)
		dst, err := lines.append([]byte("before"), &l)
		require.ErrorContains(t, err, "TX record: "+field+" ", field)
		require.Equal(t, points.FormatError, points.ReasonOf(err))
		require.Equal(t, "before", string(dst), field)
	}
}

// anyLine draws a line that fits its fields.
func anyLine(t *rapid.T) Line {
	amount := rapid.Int64Range(-999_999_999_999_999, 999_999_999_999_999)
	fee := rapid.Int64Range(-999_999_999_999, 999_999_999_999)
	member := rapid.Uint32Range(0, uint32(tariff.MaxMember))
	digits := func(most uint64, name string) uint64 { return rapid.Uint64Range(0, most).Draw(t, name) }
	l := Line{
		Number: digits(999_999_999_999, "line"), ID: rapid.Uint64().Draw(t, "cid"), Kind: tariff.Kind(rapid.IntRange(1, 9).Draw(t, "kind")),
		Acquirer: tariff.Member(member.Draw(t, "acq")), Issuer: tariff.Member(member.Draw(t, "iss")), STAN: points.STAN(digits(999_999, "stan")),
		Transmitted: 20260216000000 + digits(23, "hour")*10_000, MTI: uint16(digits(9999, "mti")), AssetScale: uint8(digits(9, "scale")),
		Amount: points.Amount(amount.Draw(t, "amt")), Num: digits(999_999_999_999, "num"), Den: digits(999_999_999_999, "den"),
		Std: points.Amount(amount.Draw(t, "std")), VAT: points.Amount(fee.Draw(t, "vat")), Net: points.Amount(amount.Draw(t, "net")),
		Original: rapid.Uint64().Draw(t, "ocid"), Flags: Flags(digits(15, "flags")),
	}
	for _, text := range [][]byte{l.RRN[:], l.Auth[:], l.Terminal[:], l.Merchant[:], l.Account[:], l.Asset[:], l.Response[:]} {
		fill(text, rapid.StringMatching(`[ -~]{0,19}`).Draw(t, "text"))
	}
	return l
}

// TestAppendLikeLayout: the straight code writes a line as the layout does, and refuses
// with the layout's words what does not fit.
func TestAppendLikeLayout(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := anyLine(t)
		if rapid.Bool().Draw(t, "wild") {
			wild(t, &l)
		}
		want, wanted := lines.append([]byte("before"), &l)
		got, err := appendLine([]byte("before"), &l)
		require.Equal(t, wanted, err)
		require.Equal(t, string(want), string(got))
	})
}

// own is what of a line is not in what all lines of an item share.
func own(l *Line) Line {
	return Line{
		Number: l.Number, ID: l.ID, Asset: l.Asset, AssetScale: l.AssetScale, Amount: l.Amount, RateVersion: l.RateVersion, Num: l.Num, Den: l.Den,
		Std: l.Std, Interchange: l.Interchange, SwitchFee: l.SwitchFee, VAT: l.VAT, Other: l.Other, Net: l.Net,
	}
}

// TestSharedLikeLayout: lines of which a part is written once for several are written as
// the layout writes each, and what does not fit is refused; nothing of one is in the next.
func TestSharedLikeLayout(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := anyLine(t)
		if rapid.Bool().Draw(t, "wild") {
			wild(t, &l)
		}
		var shared Shared
		fits := shared.Fill(&l)
		for range 3 {
			want, wanted := lines.append([]byte("before"), &l)
			if !fits {
				require.Error(t, wanted)
				return
			}
			mine := own(&l)
			got, ok := appendShared([]byte("before"), &shared, &mine)
			require.Equal(t, wanted == nil, ok)
			require.Equal(t, string(want), string(got))
			other := anyLine(t)
			if rapid.Bool().Draw(t, "wild too") {
				wild(t, &other)
			}
			other.ID = l.ID
			mine = own(&other)
			l.Number = mine.Number
			l.Asset, l.AssetScale, l.Amount, l.RateVersion, l.Num, l.Den = mine.Asset, mine.AssetScale, mine.Amount, mine.RateVersion, mine.Num, mine.Den
			l.Std, l.Interchange, l.SwitchFee, l.VAT, l.Other, l.Net = mine.Std, mine.Interchange, mine.SwitchFee, mine.VAT, mine.Other, mine.Net
		}
	})
}

// TestParseLikeLayout: the straight code reads a line as the layout does, whatever byte of
// it is another.
func TestParseLikeLayout(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := anyLine(t)
		text, err := lines.append(nil, &l)
		require.NoError(t, err)
		text = text[:rapid.SampledFrom([]int{391, 391, 391, 390, 393}).Draw(t, "width")]
		for range rapid.IntRange(0, 3).Draw(t, "changes") {
			text[rapid.IntRange(0, len(text)-1).Draw(t, "at")] = rapid.SampledFrom([]byte("0159CDLX ~\x1f\x7f\x80/:")).Draw(t, "byte")
		}
		var want, got Line
		broken := lines.parse(text, 7, &want)
		require.Equal(t, broken, parseLine(text, 7, &got))
		if broken == nil {
			require.Equal(t, want, got)
		}
	})
	l := basic(7)
	l.Flags = FlagLate | FlagManual
	good, err := lines.append(nil, &l)
	require.NoError(t, err)
	good = good[:391]
	for at := range good { // Each byte of a good line in turn is another.
		was := good[at]
		for _, c := range []byte("0159/:CDTXLSMR ~\x00\x1f\x7f\x80\xff") {
			good[at] = c
			var want, got Line
			broken := lines.parse(good, 7, &want)
			require.Equal(t, broken, parseLine(good, 7, &got), "column %d: %q", at+1, c)
			require.True(t, broken != nil || want == got, "column %d: %q", at+1, c)
		}
		good[at] = was
	}
	digits := func(t *rapid.T) string {
		return rapid.OneOf(rapid.StringMatching(`[0-9]{0,30}`), rapid.StringMatching(`[/-9]{8,9}`), rapid.StringMatching(`[0-:]{8,20}`), rapid.Just("18446744073709551615"), rapid.Just("18446744073709551616")).Draw(t, "digits")
	}
	rapid.Check(t, func(t *rapid.T) {
		text := digits(t)
		want, err := strconv.ParseUint("0"+text, 10, 64)
		got, ok := takeDigits([]byte(text))
		require.Equal(t, err == nil, ok)
		if ok {
			require.Equal(t, want, got)
		}
	})
}

// TestTextLikeLayout: every byte at every place of a text is written or refused as the
// layout does.
func TestTextLikeLayout(t *testing.T) {
	l := basic(7)
	for _, text := range [][]byte{l.RRN[:], l.Auth[:], l.Terminal[:], l.Merchant[:], l.Account[:], l.Asset[:], l.Response[:]} {
		for at := range text {
			was := text[at]
			for c := range 256 {
				text[at] = byte(c)
				want, wanted := lines.append(nil, &l)
				got, err := appendLine(nil, &l)
				require.True(t, (wanted == nil) == (err == nil) && string(want) == string(got), "byte %d: %q", at, c)
			}
			text[at] = was
		}
	}
}

// wild sets one field of a line to anything.
func wild(t *rapid.T, l *Line) {
	n, a := rapid.Uint64().Draw(t, "n"), points.Amount(rapid.Int64().Draw(t, "a"))
	some := rapid.SliceOfN(rapid.Byte(), 1, 19).Draw(t, "some")
	numbers := []func(){
		func() { l.Number = n }, func() { l.ID = n }, func() { l.Kind = tariff.Kind(n) }, func() { l.Acquirer = tariff.Member(n) },
		func() { l.Forwarder = tariff.Member(n) }, func() { l.Issuer = tariff.Member(n) }, func() { l.STAN = points.STAN(n) },
		func() { l.Transmitted = n }, func() { l.Local = n }, func() { l.MTI = uint16(n) }, func() { l.Processing = uint32(n) },
		func() { l.EntryMode = uint16(n) }, func() { l.Condition = uint8(n) }, func() { l.Category = uint16(n) }, func() { l.AssetScale = uint8(n) },
		func() { l.Amount = a }, func() { l.RateVersion = uint32(n) }, func() { l.Num = n }, func() { l.Den = n }, func() { l.Std = a },
		func() { l.Interchange = a }, func() { l.SwitchFee = a }, func() { l.VAT = a }, func() { l.Other = a }, func() { l.Net = a },
		func() { l.OriginalDate = points.BusinessDate(n) }, func() { l.Original = n }, func() { l.Flags = Flags(n) },
	}
	texts := [][]byte{l.RRN[:], l.Auth[:], l.Terminal[:], l.Merchant[:], l.Account[:], l.Asset[:], l.Response[:]}
	if i := rapid.IntRange(0, len(numbers)+len(texts)-1).Draw(t, "field"); i < len(numbers) {
		numbers[i]()
	} else {
		copy(texts[i-len(numbers)], some)
	}
}

// TestLineRoundTrip: what is written is read again, whatever the values.
func TestLineRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := anyLine(t)
		text, err := lines.append(nil, &l)
		require.NoError(t, err)
		require.Len(t, text, 393)
		var again Line
		require.Empty(t, lines.parse(text[:391], 1, &again))
		require.Equal(t, l, again)
	})
}

// TestParseNames: a field that is broken is named with its column, what is there and what
// was expected; the fields behind it are read all the same.
func TestParseNames(t *testing.T) {
	l := basic(7)
	good, err := lines.append(nil, &l)
	require.NoError(t, err)
	for _, c := range []struct {
		at    int
		text  string
		field string
		says  string
	}{
		{4, "00000000000x", "line", "12 digits"},
		{38, "XYZ", "kind", "one of RDM, EAR"},
		{76, "20260230101500", "txdt", "a time as yyyymmddhhmmss"},
		{91, "20260216240000", "locdt", "a time as yyyymmddhhmmss"},
		{204, "+000000000012345", "amt", "C or D (C for zero) and 15 digits"},
		{204, "D000000000000000", "amt", "C for zero"},
		{17, "99999999999999999999", "cid", "20 digits"},
		{346, "20261301", "obdate", "a day of the calendar"},
		{379, "ML  ", "flags", "letters of LSMR in this order"},
		{384, "x", "rsv", "8 blanks"},
		{159, "\x07", "mer", "printable ASCII"},
		{3, "-", "blank before line", "a blank"},
	} {
		bad := bytes.Clone(good[:391])
		copy(bad[c.at-1:], c.text)
		var again Line
		broken := lines.parse(bad, 12, &again)
		require.Len(t, broken, 1, c.text)
		require.Equal(t, c.field, broken[0].Field)
		require.Equal(t, c.at, broken[0].Column)
		require.Equal(t, uint64(12), broken[0].Line)
		require.Contains(t, broken[0].Expected, c.says)
	}
}

// TestSum: totals are exact beyond 64 bits, and ids count modulo 10^20.
func TestSum(t *testing.T) {
	var s Sum
	for range 20_000 {
		s = s.plus(999_999_999_999_999)
	}
	require.Equal(t, "19999999999999980000", s.Digits())
	require.Equal(t, "-1999999999999998.0000", s.negated().Decimal(4))
	for range 20_000 {
		s = s.minus(999_999_999_999_999)
	}
	require.True(t, s.Zero())
	var ids Sum
	for range 6 {
		ids = ids.plusID(1<<64 - 1)
	}
	require.Equal(t, "10680464442257309690", ids.Digits()) // 6 * (2^64 - 1) - 10^20
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.Int64().Draw(t, "a"), rapid.Int64().Draw(t, "b")
		sum := SumOf(points.Amount(a)).plus(points.Amount(b))
		require.Equal(t, SumOf(points.Amount(a)), sum.minus(points.Amount(b)))
		again, ok := parseSum(sum.Decimal(4), 4)
		require.True(t, ok)
		require.Equal(t, sum, again)
	})
}
