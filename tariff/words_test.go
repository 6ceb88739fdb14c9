package tariff_test

import (
	"encoding"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// An institution of up to eight digits is a member, the same whether it issues or
// acquires; a longer number, which the wire can carry, is refused with a sentence.
func TestMemberOf(t *testing.T) {
	issuer, err := tariff.MemberOf(points.IssuerID(99_999_999))
	require.NoError(t, err)
	acquirer, err := tariff.MemberOf(points.AcquirerID(99_999_999))
	require.NoError(t, err)
	require.Equal(t, issuer, acquirer)
	for _, number := range []points.AcquirerID{0, 100_000_000, points.MaxInstitution, 1 << 40} {
		_, err := tariff.MemberOf(number)
		require.ErrorContains(t, err, "settlement numbers its members with 1 to 8 digits; register it under a number of up to 99999999")
	}
	require.True(t, issuer.Institution())
	for _, account := range tariff.Accounts() {
		require.True(t, account.Account())
		require.True(t, account.Valid())
		require.False(t, account.Institution())
	}
	require.False(t, (tariff.AccountSuspense + 1).Valid())
	require.False(t, tariff.Member(0).Valid())
}

// Every word is read as it is written, and nothing else is read.
func TestWordsAreReadAsWritten(t *testing.T) {
	type word interface {
		encoding.TextMarshaler
		String() string
	}
	same := func(w word, read encoding.TextUnmarshaler) {
		t.Helper()
		text, err := w.MarshalText()
		require.NoError(t, err)
		require.Equal(t, w.String(), string(text))
		require.NotEqual(t, "?", w.String())
		require.NoError(t, read.UnmarshalText(text))
	}
	for kind := tariff.KindRDM; int(kind) < tariff.Kinds; kind++ {
		var read tariff.Kind
		same(kind, &read)
		require.Equal(t, kind, read)
		require.Equal(t, 1, count(kind.Original(), kind.Undoing(), kind.Explicit()))
	}
	for code := tariff.CodeRDM; int(code) < tariff.Codes; code++ {
		var read tariff.Code
		same(code, &read)
		require.Equal(t, code, read)
	}
	for side := tariff.Clear; side.Valid(); side++ {
		var read tariff.Side
		same(side, &read)
		require.Equal(t, side, read)
	}
	for role := tariff.RoleOperator; role <= tariff.RoleTarget; role++ {
		var read tariff.Role
		same(role, &read)
		require.Equal(t, role, read)
	}
	for _, member := range []tariff.Member{1, 12_345_678, tariff.AccountFee, tariff.AccountVAT, tariff.AccountRound, tariff.AccountSuspense, 0} {
		var read tariff.Member
		same(member, &read)
		require.Equal(t, member, read)
	}
	digest := tariff.Digest{1, 0xab, 31: 0xff}
	var read tariff.Digest
	same(digest, &read)
	require.Equal(t, digest, read)
	require.Equal(t, "01ab"+strings.Repeat("00", 29)+"ff", digest.String())
	for _, bad := range []string{"", "01", digest.String() + "00", "x" + digest.String()[1:]} {
		require.ErrorContains(t, read.UnmarshalText([]byte(bad)), "want 64 hexadecimal digits")
	}
	for m := tariff.Member(1); m < tariff.AccountFee; m = m*3 + 7 {
		require.Equal(t, fmt.Sprintf("%08d", uint32(m)), m.String())
	}
	require.Equal(t, "09999999 10000000 99999999 4000000000", tariff.Member(9_999_999).String()+" "+tariff.Member(10_000_000).String()+" "+tariff.MaxMember.String()+" "+tariff.Member(4_000_000_000).String())
	require.Equal(t, "00000001 FEE *", tariff.Member(1).String()+" "+tariff.AccountFee.String()+" "+tariff.Member(0).String())
	require.Equal(t, "? ? *", tariff.Kind(77).String()+" "+tariff.Side(0).String()+" "+tariff.Code(0).String())

	for _, bad := range []string{"", "0", "123456789", "-1", "fee", "1x"} {
		_, err := tariff.ParseMember(bad)
		require.ErrorContains(t, err, "want 1 to 8 digits, or FEE, VAT, ROUND, SUSPENSE")
	}
	require.ErrorContains(t, new(tariff.Kind).UnmarshalText([]byte("rdm")), `kind of item "rdm": want one of [RDM EAR`)
	require.ErrorContains(t, new(tariff.Side).UnmarshalText([]byte("MID")), "side of a rate")
	require.ErrorContains(t, new(tariff.Member).UnmarshalText([]byte("x")), "member")
}

func count(conditions ...bool) (n int) {
	for _, condition := range conditions {
		if condition {
			n++
		}
	}
	return n
}
