package points_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
)

// DE9 has as many decimals as fit into seven digits, rounded down.
func TestQuoteRatio(t *testing.T) {
	for _, c := range []struct {
		in, out points.Amount
		want    uint32
	}{
		{1000, 3960, 6_3960000}, {1003, 3971, 6_3959122}, {5, 1, 7_2000000}, {1, 1, 6_1000000}, {1, 12_345_678, 0}, {3, 9_999_999 * 3, 9_999_999}, {999_999, 1, 7_0000010},
	} {
		require.Equal(t, c.want, points.QuoteRatio(c.in, c.out), "%d for %d", c.out, c.in)
	}
}

// DE62 of a swap is the quote's answer as it came, or it is refused.
func TestParseQuote(t *testing.T) {
	position, err := points.ParseQuote([]byte("0000000000000123260302120000\x00\x00"))
	require.NoError(t, err)
	require.Equal(t, points.Position(123), position)
	for _, wrong := range []string{"", "123", "0000000000000000260302120000", "000000000000012X260302120000", "9999999999999999999999999999", "-000000000000123260302120000"} {
		_, err := points.ParseQuote([]byte(wrong))
		if wrong[:min(1, len(wrong))] == "9" {
			require.NoError(t, err, "a number that the ledger does not have is the ledger's to refuse")
			continue
		}
		require.Error(t, err, wrong)
	}
}
