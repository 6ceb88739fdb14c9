package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/sim"
)

// Whom the switch's TLS refuses hears of the certificate, and not to give what was given.
func TestUnheardOverTLS(t *testing.T) {
	over := &pos{dial: func(context.Context, string, sim.Identity) (net.Conn, error) { return nil, errors.New("unused") }}
	alert := fmt.Errorf("%w: %w", sim.ErrSilent, &net.OpError{Op: "remote error", Err: errors.New("tls: expired certificate")})
	require.ErrorContains(t, over.unheard(alert), "perhaps revoked or over")
	require.NotContains(t, over.unheard(alert).Error(), "only takes --config")
	require.ErrorContains(t, over.unheard(sim.ErrSilent), "perhaps the certificate is revoked or over")
	require.ErrorContains(t, new(pos).unheard(sim.ErrSilent), "only takes --config")
}

// What lists prints a list to machines.
func TestCertifyListAsJSON(t *testing.T) {
	stdout, _, status := lianfen(t, "certify", "--profile", "pos", "--list", "--json")
	require.Zero(t, status)
	require.Contains(t, stdout, `"id": "keys-aes"`)
}
