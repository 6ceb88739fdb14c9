//go:build !race

package certs_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/certs"
)

// With the race detector a pool gives away what it has at random, so this is not asked then.

// Making and verifying a MAC allocates nothing, by any algorithm.
func TestMACOnTheHotPath(t *testing.T) {
	message, dst := make([]byte, 150), make([]byte, 0, certs.MACBytes)
	for _, m := range everyMAC(t) {
		want := m.Append(nil, message)
		require.Zero(t, testing.AllocsPerRun(100, func() { m.Append(dst, message) }), m)
		require.Zero(t, testing.AllocsPerRun(100, func() { m.Verify(message, want) }), m)
	}
}

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

// The keys of the next message allocate what crypto/aes does for each key, and no more:
// the step from the one before, the key of the message, and one for each MAC.
func TestDUKPTHostAllocates(t *testing.T) {
	base := testKey(t, certs.DUKPTBase, certs.AES128, bdk128)
	h, m := dukptHost(t, 2), new(certs.DUKPTMessage)
	ksn := testKSN(t, 1)
	text, mac := []byte("a message"), make([]byte, 0, 8)
	require.LessOrEqual(t, testing.AllocsPerRun(400, func() {
		ksn, _ = ksn.Next()
		require.NoError(t, h.Derive(m, base, ksn))
		mac = m.Request().Append(mac[:0], text)
		m.Keep()
	}), 4.0)
}
