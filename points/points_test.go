package points_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/big"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lianfen/lianfen/points"
)

// Sums and differences either equal those of unbounded integers or are refused.
func TestAmountArithmeticNeverWraps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.Int64().Draw(t, "a"), rapid.Int64().Draw(t, "b")
		check := func(got points.Amount, ok bool, want *big.Int) {
			require.Equal(t, want.IsInt64(), ok)
			if ok {
				require.Equal(t, want.Int64(), int64(got))
			} else {
				require.Zero(t, got)
			}
		}
		sum, ok := points.Amount(a).Add(points.Amount(b))
		check(sum, ok, new(big.Int).Add(big.NewInt(a), big.NewInt(b)))
		difference, ok := points.Amount(a).Sub(points.Amount(b))
		check(difference, ok, new(big.Int).Sub(big.NewInt(a), big.NewInt(b)))
		opposite, ok := points.Amount(a).Neg()
		check(opposite, ok, new(big.Int).Neg(big.NewInt(a)))
	})
}

// A conversion keeps every unit: a*num = quotient*den + remainder, the
// remainder smaller than den and on the amount's side of zero.
func TestMulRatKeepsTheRemainder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := rapid.Int64().Draw(t, "a")
		num, den := rapid.Uint64().Draw(t, "num"), rapid.Uint64().Draw(t, "den")
		quotient, remainder, ok := points.Amount(a).MulRat(num, den)
		product := new(big.Int).Mul(big.NewInt(a), new(big.Int).SetUint64(num))
		if den == 0 {
			require.False(t, ok)
			return
		}
		wantQ, wantR := new(big.Int).QuoRem(product, new(big.Int).SetUint64(den), new(big.Int))
		if !ok {
			edge := big.NewInt(math.MinInt64)
			require.True(t, !wantQ.IsInt64() || !wantR.IsInt64() || wantQ.Cmp(edge) == 0, "%v rem %v fits but was refused", wantQ, wantR)
			return
		}
		require.Equal(t, wantQ.Int64(), int64(quotient))
		require.Equal(t, wantR.Int64(), int64(remainder))
	})
}

// People see the decimal point where the programme's scale puts it.
func TestDecimal(t *testing.T) {
	for _, c := range []struct {
		amount points.Amount
		scale  int
		want   string
	}{
		{0, 0, "0"},
		{12345, 0, "12345"},
		{12345, 2, "123.45"},
		{5, 2, "0.05"},
		{-5, 2, "-0.05"},
		{-12345, 4, "-1.2345"},
		{math.MinInt64, 0, "-9223372036854775808"},
	} {
		require.Equal(t, c.want, c.amount.Decimal(c.scale))
	}
}

// A card number cannot be printed in clear by any way that a program prints.
func TestPANIsNeverPrinted(t *testing.T) {
	const digits = "6222021234567890123"
	pan, err := points.ParsePAN(digits)
	require.NoError(t, err)
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "pan", pan, "in", struct{ P points.PAN }{pan})
	marshalled, err := json.Marshal(map[string]any{"pan": pan, "nested": []points.PAN{pan}})
	require.NoError(t, err)
	printed := []string{log.String(), string(marshalled), pan.String()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%t"} {
		printed = append(printed, fmt.Sprintf(verb, pan), fmt.Sprintf(verb, struct{ P points.PAN }{pan}), fmt.Sprintf(verb, &pan))
	}
	for _, s := range printed {
		require.NotContains(t, s, "21234567", s)
		require.NotContains(t, s, fmt.Sprintf("%x", digits), s)
	}
	require.Contains(t, string(marshalled), "622202*********0123")
	require.Equal(t, digits, string(pan.AppendDigits(nil)))
}

// Short numbers show less, and the form in clear survives the round trip with its leading zeros.
func TestPANForms(t *testing.T) {
	for digits, masked := range map[string]string{
		"1": "*", "12345678": "********", "123456789012": "********9012", "1234567890123": "123456***0123", "0000000000000000": "000000******0000",
	} {
		pan, err := points.ParsePAN(digits)
		require.NoError(t, err)
		require.Equal(t, masked, pan.Masked())
		require.Equal(t, digits, string(pan.AppendDigits(nil)))
	}
	for _, bad := range []string{"", "12345678901234567890", "12a4", "123 "} {
		_, err := points.ParsePAN(bad)
		require.Equal(t, points.FormatError, points.ReasonOf(err))
		if bad != "" {
			require.NotContains(t, err.Error(), bad)
		}
	}
	pan, err := points.ParsePAN("0622021234567890")
	require.NoError(t, err)
	prefix, ok := pan.Prefix(6)
	require.True(t, ok)
	require.EqualValues(t, 62202, prefix)
	_, ok = pan.Prefix(17)
	require.False(t, ok)
}

// A retrieval reference number leads back to its position, on both sides of 10^12.
func TestRRN(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := points.Position(rapid.Uint64Range(0, 3_000_000_000_000_000_000).Draw(t, "position"))
		rrn := p.RRN()
		back, err := points.ParseRRN(rrn[:])
		require.NoError(t, err)
		require.Equal(t, p, back)
	})
	require.Equal(t, "000000000042", string(rrnOf(42)))
	require.Equal(t, "999999999999", string(rrnOf(999_999_999_999)))
	require.Equal(t, "A00000000000", string(rrnOf(1_000_000_000_000)))
	for _, bad := range []string{"", "1", "00000000004x", "A0000000000a", "            ", "+00000000042", "0000000000421"} {
		_, err := points.ParseRRN(bad)
		require.Equal(t, points.FormatError, points.ReasonOf(err), bad)
	}
}

func rrnOf(p points.Position) []byte {
	rrn := p.RRN()
	return rrn[:]
}

// Neighbouring transactions have different authorisation codes.
func TestAuthCodesDiffer(t *testing.T) {
	seen := map[[6]byte]points.Position{}
	for p := points.Position(1); p <= 200_000; p++ {
		code := p.AuthCode()
		if before, ok := seen[code]; ok {
			require.FailNow(t, "two positions share a code", "%d and %d: %s", before, p, code)
		}
		seen[code] = p
		back, ok := points.PositionOfAuthCode(code, 200_000)
		require.True(t, ok)
		require.Equal(t, p, back)
	}
	const round = 36 * 36 * 36 * 36 * 36 * 36
	code := points.Position(round + 5).AuthCode()
	back, ok := points.PositionOfAuthCode(code, round+4)
	require.True(t, ok, "its namesake one round earlier")
	require.EqualValues(t, 5, back)
	_, ok = points.PositionOfAuthCode(code, 4)
	require.False(t, ok, "not given yet")
	_, ok = points.PositionOfAuthCode([6]byte{'a'}, round)
	require.False(t, ok, "not a code")
}

// Every reason has a row: a two-character code, a status, a sentence in each
// language, and a name that leads back to it.
func TestReasonTableIsComplete(t *testing.T) {
	names := map[string]bool{}
	for _, r := range points.Reasons() {
		require.Len(t, r.DE39(), 2, "%d", r)
		require.GreaterOrEqual(t, r.HTTPStatus(), 200, r)
		require.NotEmpty(t, r.English(), r)
		require.NotEmpty(t, r.Chinese(), r)
		require.False(t, names[r.String()], "%v stands twice", r)
		names[r.String()] = true
		var back points.Reason
		require.NoError(t, back.UnmarshalText([]byte(r.String())))
		require.Equal(t, r, back)
		require.Equal(t, r.HTTPStatus() == 200, r.Approved(), r)
	}
	require.Equal(t, "96", points.Reason(0).DE39())
	require.Equal(t, "reason(250)", points.Reason(250).String())
	require.False(t, points.Reason(0).Approved())
}

// Every function has a name that leads back to it.
func TestFunctionNames(t *testing.T) {
	for _, f := range points.Functions() {
		var back points.Function
		require.NoError(t, back.UnmarshalText([]byte(f.String())))
		require.Equal(t, f, back)
	}
	require.Error(t, new(points.Function).UnmarshalText([]byte("dance")))
}

// The reason of an error is found through any wrapping; an error without one is ours.
func TestReasonOf(t *testing.T) {
	cause := errors.New("disk full")
	err := fmt.Errorf("outer: %w", points.Errorf(points.NoRoute, "router: no prefix: %w", cause))
	require.Equal(t, points.NoRoute, points.ReasonOf(err))
	require.ErrorIs(t, err, cause)
	require.Equal(t, points.InternalError, points.ReasonOf(cause))
	require.Equal(t, points.Approved, points.ReasonOf(nil))
}

// Months end where the calendar ends them.
func TestBusinessDate(t *testing.T) {
	d, err := points.ParseBusinessDate("2026-01-31")
	require.NoError(t, err)
	require.Equal(t, points.BusinessDate(20260228), d.AddMonths(1))
	require.Equal(t, points.BusinessDate(20270131), d.AddMonths(12))
	require.Equal(t, points.BusinessDate(20251130), d.AddMonths(-2))
	require.Equal(t, points.BusinessDate(20260201), d.AddDays(1))
	require.Equal(t, points.BusinessDate(20240229), points.BusinessDate(20240203).MonthEnd())
	require.EqualValues(t, 131, d.MMDD())
	require.False(t, points.BusinessDate(20260230).Valid())
	require.False(t, points.BusinessDate(0).Valid())
	for _, bad := range []string{"", "2026-02-30", "yesterday", "20261301"} {
		_, err := points.ParseBusinessDate(bad)
		require.Error(t, err, bad)
	}
}

// Identities keep their padding on the wire and lose it before people.
func TestIdentities(t *testing.T) {
	terminal, err := points.ParseTerminalID("T1")
	require.NoError(t, err)
	require.Equal(t, "T1      ", string(terminal[:]))
	require.Equal(t, "T1", terminal.String())
	for _, bad := range []string{"", "123456789", "a\nb"} {
		_, err := points.ParseTerminalID(bad)
		require.Equal(t, points.FormatError, points.ReasonOf(err))
	}
	_, err = points.ParseMerchantID(strings.Repeat("9", 16))
	require.Error(t, err)
}

// A request tells a field that was sent as zero from one that was not sent.
func TestRequestFields(t *testing.T) {
	var r points.Request
	for _, de := range []int{1, 4, 64, 65, 128} {
		require.False(t, r.Has(de))
		r.Mark(de)
		require.True(t, r.Has(de))
	}
	require.False(t, r.Has(2))
	r.Unmark(65)
	require.False(t, r.Has(65))
	require.True(t, r.Has(64))
	r.Reset()
	require.False(t, r.Has(64))
}

// What is appended is what was rendered with formats before: of any amount, and of any
// number in the place of a date.
func TestAppended(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, scale := points.Amount(rapid.Int64().Draw(t, "amount")), rapid.IntRange(0, 5).Draw(t, "scale")
		whole, sign := new(big.Int).Abs(big.NewInt(int64(a))), ""
		if a < 0 {
			sign = "-"
		}
		want := sign + whole.String()
		if scale > 0 {
			whole, part := whole.QuoRem(whole, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil), new(big.Int))
			want = fmt.Sprintf("%s%s.%0*d", sign, whole, scale, part)
		}
		require.Equal(t, "x"+want, string(a.AppendDecimal([]byte("x"), scale)))
		d := points.BusinessDate(rapid.OneOf(rapid.Uint32(), rapid.Uint32Range(1, 99991231)).Draw(t, "date"))
		if d != 0 {
			require.Equal(t, fmt.Sprintf("x%04d-%02d-%02d", uint32(d/10000), uint32(d/100%100), uint32(d%100)), string(d.Append([]byte("x"))))
		}
	})
}
