//go:build cgo

package certs

import (
	"crypto/elliptic"
	"testing"

	"github.com/ThalesGroup/crypto11"
	"github.com/stretchr/testify/require"
)

// FillTokenForTest makes the keys of a token: two for encryption, a CA's pair.
func FillTokenForTest(t *testing.T, module, label, pin string) {
	token, err := crypto11.Configure(&crypto11.Config{Path: module, TokenLabel: label, Pin: pin})
	require.NoError(t, err)
	for _, name := range []string{"kek", "other"} {
		_, err := token.GenerateSecretKeyWithLabel([]byte(name), []byte(name), 256, crypto11.CipherAES)
		require.NoError(t, err)
	}
	_, err = token.GenerateECDSAKeyPairWithLabel([]byte("ca"), []byte("ca"), elliptic.P256())
	require.NoError(t, err)
	require.NoError(t, token.Close())
}
