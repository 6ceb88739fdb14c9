package certs_test

import (
	"crypto/rand"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/certs"
)

// A secret that is sealed anew opens under the new key and not under the old; sealed back
// it is what it was. Another operator's is refused.
func TestReseal(t *testing.T) {
	old, fresh := certs.NewCardKey([32]byte{1}).Operators(), certs.NewCardKey([32]byte{2}).Operators()
	e, err := old.Enrol(rand.Reader, "li", "correct horse battery")
	require.NoError(t, err)
	moved, err := old.Reseal("li", e.Secret, fresh)
	require.NoError(t, err)
	require.NotEqual(t, e.Secret, moved)
	back, err := fresh.Reseal("li", moved, old)
	require.NoError(t, err)
	require.Equal(t, e.Secret, back)
	_, err = old.Reseal("li", moved, fresh)
	require.Error(t, err)
	_, err = old.Reseal("wang", e.Secret, fresh)
	require.Error(t, err)
}
