package app

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Two addresses overlap when who listens at the one keeps others from the other; both orders
// say the same.
func TestOverlap(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want overlapping
	}{
		{":9100", ":9100", overlaps},
		{":9100", "0.0.0.0:9100", overlaps},
		{":9100", "[::]:9100", overlaps},
		{":9100", "127.0.0.1:9100", overlaps},
		{":9100", "[::1]:9100", overlaps},
		{"0.0.0.0:9100", "[::]:9100", overlaps},
		{"0.0.0.0:9100", "127.0.0.1:9100", overlaps},
		{"0.0.0.0:9100", "[::1]:9100", overlaps}, // net opens both families for it
		{"[::]:9100", "10.0.0.5:9100", overlaps},
		{"127.0.0.1:9100", "127.0.0.1:9100", overlaps},
		{"127.0.0.1:9100", "127.0.0.1:09100", overlaps},
		{"[::ffff:127.0.0.1]:9100", "127.0.0.1:9100", overlaps},
		{"[0:0::1]:9100", "[::1]:9100", overlaps},
		{"localhost:9100", "127.0.0.1:9100", overlaps},
		{"localhost:9100", "0.0.0.0:9100", overlaps},
		{"pay.example:9100", "Pay.Example:9100", overlaps},
		{"pay.example:9100", ":9100", overlaps},
		{"pay.example:9100", "10.0.0.5:9100", unknown},
		{"pay.example:9100", "points.example:9100", unknown},
		{"127.0.0.1:9100", "127.0.0.2:9100", apart},
		{"127.0.0.1:9100", "[::1]:9100", apart},
		{"localhost:9100", "[::1]:9100", apart},
		{"[fe80::1%eth0]:9100", "[fe80::1%eth1]:9100", apart},
		{":9100", ":9101", apart},
		{"127.0.0.1:9100", "0.0.0.0:9101", apart},
		{"pay.example:9100", "pay.example:9101", apart},
		{":0", ":0", apart},
		{"", ":9100", apart},
		{"", "", apart},
	} {
		require.Equal(t, c.want, overlap(c.a, c.b), "%s and %s", c.a, c.b)
		require.Equal(t, c.want, overlap(c.b, c.a), "%s and %s", c.b, c.a)
	}
}
