package certify_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/certify"
)

// Test data that no message can carry are refused, all at once; what is left out
// has a sensible value.
func TestReadParameters(t *testing.T) {
	p, err := certify.ReadParameters(strings.NewReader("profile: pos\n"))
	require.NoError(t, err)
	require.Equal(t, "pos", p.Dialect)
	require.Equal(t, 10*time.Second, p.Within)
	for text, wrong := range map[string]string{
		"":                                    "parameters: EOF",
		"profile: bank":                       `profile "bank"`,
		"profile: pos\ncolour: red":           `line 2: unknown key "colour"`,
		"profile: pos\ndialect: host":         "dialect host is not for profile pos",
		"profile: issuer\ndialect: pos":       "dialect pos is not for profile issuer",
		"profile: pos\ndialect: french":       `dialect "french"`,
		"profile: pos\nwithin: -1s":           "within: -1s",
		"profile: pos\ncards: {ann: 'x1'}":    "cards.ann: card number",
		"profile: pos\nprograms: {main: 156}": "programs.main: 156",
		"profile: pos\namounts: {sale: -1}":   "amounts.sale: -1",
		"profile: pos\nterminals: {main: {id: T00000001, merchant: M}}": "terminals.main: terminal (DE41)",
		"profile: pos\nterminals: {main: {id: T, merchant: ''}}":        "terminals.main: merchant (DE42)",
	} {
		_, err := certify.ReadParameters(strings.NewReader(text))
		require.ErrorContains(t, err, wrong, text)
	}
	_, err = certify.ReadParameters(strings.NewReader("profile: pos\ncards: {ann: 'x1'}\namounts: {sale: -1}"))
	require.ErrorContains(t, err, "cards.ann")
	require.ErrorContains(t, err, "amounts.sale")
}
