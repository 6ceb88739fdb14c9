package settlement_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/settlement"
)

// A made-up day of 200,000 items, from its cut to its published files.
func BenchmarkNight(b *testing.B) {
	day, err := settlement.NewSynthetic(200_000, 100, 1)
	require.NoError(b, err)
	require.NoError(b, day.Naive(b.Context()))
	for b.Loop() {
		n := newNight(b, day, func(o *settlement.Options) { o.Twin = false })
		run, err := n.Run(b.Context(), 20260302, 1, order("li"))
		require.NoError(b, err)
		require.NoError(b, n.Approve(b.Context(), run, order("wang")))
		require.NoError(b, n.Publish(b.Context(), run, order("wang")))
	}
}
