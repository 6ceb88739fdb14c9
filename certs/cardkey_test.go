package certs_test

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/points"
)

// A token leads back to its card under its own key and to nothing under
// another; different cards never share a token.
func TestTokenIsAPermutation(t *testing.T) {
	key, other := certs.NewCardKey([32]byte{1}), certs.NewCardKey([32]byte{2})
	seen := map[points.CardToken]points.PAN{}
	rapid.Check(t, func(t *rapid.T) {
		pan, err := points.ParsePAN(rapid.StringMatching(`[0-9]{1,19}`).Draw(t, "pan"))
		require.NoError(t, err)
		var token points.CardToken
		key.Token(&token, pan)
		back, ok := key.PAN(token)
		require.True(t, ok)
		require.Equal(t, pan, back)
		_, ok = other.PAN(token)
		require.False(t, ok)
		if before, ok := seen[token]; ok {
			require.Equal(t, before, pan)
		}
		seen[token] = pan
	})
}

// No card has no token, whatever stood in the destination before.
func TestTokenOfNoCard(t *testing.T) {
	token := points.CardToken{7}
	certs.NewCardKey([32]byte{1}).Token(&token, points.PAN{})
	require.True(t, token.IsZero())
}

// A key file is written once, readable by its owner only, and read back to the
// same key; everything else is refused with words that tell what to do.
func TestCardKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "card.key")
	require.NoError(t, certs.WriteCardKey(path, rand.Reader))
	require.ErrorContains(t, certs.WriteCardKey(path, rand.Reader), "exists")
	first, err := certs.ReadCardKey(path)
	require.NoError(t, err)
	second, err := certs.ReadCardKey(path)
	require.NoError(t, err)
	pan, err := points.ParsePAN("6222021234567890")
	require.NoError(t, err)
	var a, b points.CardToken
	first.Token(&a, pan)
	second.Token(&b, pan)
	require.Equal(t, a, b)
	require.Equal(t, first.CheckValue(), second.CheckValue())
	require.NotEqual(t, first.CheckValue(), certs.NewCardKey([32]byte{1}).CheckValue())

	require.NoError(t, os.Chmod(path, 0o644))
	_, err = certs.ReadCardKey(path)
	require.ErrorContains(t, err, "chmod 600")

	short := filepath.Join(t.TempDir(), "short.key")
	require.NoError(t, os.WriteFile(short, []byte("00ff\n"), 0o600))
	_, err = certs.ReadCardKey(short)
	require.ErrorContains(t, err, "64 hexadecimal digits")

	_, err = certs.ReadCardKey(filepath.Join(t.TempDir(), "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = certs.ReadCardKey(strings.Repeat("x", 5000))
	require.Error(t, err)
}

// The token is written in place: the path of an authorisation allocates nothing.
func TestTokenAllocatesNothing(t *testing.T) {
	key := certs.NewCardKey([32]byte{1})
	pan, err := points.ParsePAN("6222021234567890123")
	require.NoError(t, err)
	token := new(points.CardToken)
	require.Zero(t, testing.AllocsPerRun(100, func() { key.Token(token, pan) }))
}
