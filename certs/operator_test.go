package certs_test

import (
	"crypto/rand"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/certs"
)

const operatorPassword = "a long way to the sea"

// The published codes of RFC 6238, Appendix B (SHA-1, the last six of eight digits).
func TestOneTimeCodesAreTheStandards(t *testing.T) {
	const secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" // 12345678901234567890
	for at, want := range map[int64]string{59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037", 20000000000: "353130"} {
		code, err := totp.GenerateCodeCustom(secret, time.Unix(at, 0), totp.ValidateOpts{Period: 30, Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1})
		require.NoError(t, err)
		require.Equal(t, want, code)
	}
}

// An operator signs in with both, the password and a code of now or the half minute
// beside it, and with nothing less; what another has enrolled is of no use.
func TestOperatorProves(t *testing.T) {
	key := certs.NewCardKey([32]byte{1}).Operators()
	enrolled, err := key.Enrol(rand.Reader, "li", operatorPassword)
	require.NoError(t, err)
	uri, err := url.Parse(enrolled.URI)
	require.NoError(t, err)
	secret := uri.Query().Get("secret")
	require.NotEmpty(t, secret)
	require.NotContains(t, enrolled.Secret, secret)
	now := time.Unix(1_790_000_010, 0)
	code := func(at time.Time) string {
		c, err := totp.GenerateCode(secret, at)
		require.NoError(t, err)
		return c
	}
	for shift := -1; shift <= 1; shift++ {
		at := now.Add(time.Duration(shift) * 30 * time.Second)
		step, ok := key.Prove("li", enrolled, operatorPassword, code(at), now)
		require.True(t, ok)
		require.Equal(t, uint32(at.Unix()/30), step)
	}
	other, err := key.Enrol(rand.Reader, "wang", operatorPassword)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		who            string
		enrolled       certs.Enrolment
		password, code string
		key            *certs.OperatorKey
	}{
		"wrong password":   {"li", enrolled, operatorPassword + ".", code(now), key},
		"no password":      {"li", enrolled, "", code(now), key},
		"no code":          {"li", enrolled, operatorPassword, "", key},
		"old code":         {"li", enrolled, operatorPassword, code(now.Add(-time.Minute)), key},
		"code ahead":       {"li", enrolled, operatorPassword, code(now.Add(time.Minute)), key},
		"another's secret": {"li", certs.Enrolment{Password: enrolled.Password, Secret: other.Secret}, operatorPassword, code(now), key},
		"another's name":   {"wang", enrolled, operatorPassword, code(now), key},
		"never enrolled":   {"li", certs.Enrolment{}, operatorPassword, code(now), key},
		"another key":      {"li", enrolled, operatorPassword, code(now), certs.NewCardKey([32]byte{2}).Operators()},
	} {
		_, ok := c.key.Prove(c.who, c.enrolled, c.password, c.code, now)
		require.False(t, ok, name)
	}
}

// A password that is too short, too long or the operator's name is refused, and is not
// repeated.
func TestPasswordsAreRefused(t *testing.T) {
	key := certs.NewCardKey([32]byte{1}).Operators()
	for password, why := range map[string]string{
		"":                       "at least 12",
		"short":                  "at least 12",
		"\xff\xfe0123456789abcd": "at least 12",
		strings.Repeat("x", 73):  "at most 72",
		"with WANG in it":        "name",
	} {
		_, err := key.Enrol(rand.Reader, "wang", password)
		require.ErrorContains(t, err, why)
		if password != "" {
			require.NotContains(t, err.Error(), password)
		}
	}
	for _, name := range []string{"li", "wan"} {
		_, err := key.Enrol(rand.Reader, name, "reliable-swans-fly")
		require.NoError(t, err, "%s stands in any word", name)
	}
}
