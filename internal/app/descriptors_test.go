//go:build unix

package app

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A limit of open files under what the configured connections need is said with both
// numbers and the remedy.
func TestTooFewDescriptors(t *testing.T) {
	require.NoError(t, tooFew(21_500, 20_000))
	err := tooFew(21_499, 20_000)
	require.ErrorContains(t, err, "may open 21499 files")
	require.ErrorContains(t, err, "asks for 21500")
	require.ErrorContains(t, err, "LimitNOFILE")
}
