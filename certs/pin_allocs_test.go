//go:build !race

package certs_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/certs"
)

// With the race detector a pool gives away what it has at random, so this is not asked then.

// Comparing a PIN allocates nothing, right or wrong.
func TestPINOnTheHotPath(t *testing.T) {
	pan := testPAN(t, "5555555551234567")
	verifier, err := certs.NewPINVerifier(testKey(t, certs.PINVerification, certs.AES256, aesPIN+aesPIN))
	require.NoError(t, err)
	terminal := testPINKey(t, certs.PINWorking, certs.TDES, tdesPIN)
	block, err := terminal.AppendPINBlock(nil, certs.PINFormat0, []byte("739182"), pan, nil)
	require.NoError(t, err)
	value, err := verifier.Value(terminal, certs.PINFormat0, block, pan)
	require.NoError(t, err)
	require.Zero(t, testing.AllocsPerRun(100, func() { _ = verifier.Verify(terminal, certs.PINFormat0, block, pan, &value) }))
	value[0] ^= 1
	require.Zero(t, testing.AllocsPerRun(100, func() { _ = verifier.Verify(terminal, certs.PINFormat0, block, pan, &value) }))
}
