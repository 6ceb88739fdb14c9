package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Numbers on the command line are decimal, and those that do not fit are refused.
func TestNumbersAreDecimal(t *testing.T) {
	var amount int64
	var code uint16
	for text, want := range map[string]int64{"010": 10, "-0100": -100, "7": 7, "9223372036854775807": 9223372036854775807} {
		require.NoError(t, decimal(&amount, 0).Set(text))
		require.Equal(t, want, amount)
	}
	require.NoError(t, decimal(&code, 0).Set("0901"))
	require.Equal(t, uint16(901), code)
	for _, text := range []string{"0x10", "0b11", "1_000", "", " 1", "1.5", "9223372036854775808"} {
		require.Error(t, decimal(&amount, 0).Set(text), text)
	}
	for _, text := range []string{"65536", "-1", "0x1"} {
		require.Error(t, decimal(&code, 0).Set(text), text)
	}
}
