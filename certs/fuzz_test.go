package certs_test

import (
	"bytes"
	"encoding/pem"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/certs"
)

// Any bytes in the place of a certificate signing request are refused, or give a key that
// the request proves; never one for another identity than it was asked for.
func FuzzRequest(f *testing.F) {
	request, _, err := certs.NewRequest()
	require.NoError(f, err)
	f.Add(request)
	f.Add(append([]byte("text before\n"), request...))
	f.Add(request[:len(request)/2])
	block, _ := pem.Decode(request)
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: block.Bytes}))
	f.Add(pem.EncodeToMemory(&pem.Block{Type: block.Type, Headers: map[string]string{"Proc-Type": "4,ENCRYPTED"}, Bytes: block.Bytes}))
	f.Add(pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: append(bytes.Clone(block.Bytes), 0)}))
	f.Fuzz(func(t *testing.T, text []byte) {
		key, err := certs.RequestedKeyForTest(text, certs.AcquirerIdentity(1))
		if err == nil {
			require.NotNil(t, key)
		}
	})
}

// Any bytes in the place of certificates are refused, or are certificates whose identity,
// where one is read, is written back as it was.
func FuzzCertificates(f *testing.F) {
	c := newClock()
	a := c.authority(f)
	issued, err := a.Issue(certs.Order{Identity: certs.SwitchIdentity("lianfen"), Names: []string{"localhost", "127.0.0.1"}})
	require.NoError(f, err)
	f.Add(issued.ChainPEM)
	f.Add(a.Trust())
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := certs.ParseCertificatesForTest(text)
		if err != nil {
			return
		}
		require.NotEmpty(t, all)
		for _, cert := range all {
			identity, err := certs.IdentityOfForTest(cert)
			if err != nil {
				continue
			}
			again, err := certs.ParseIdentity(identity.String())
			require.NoError(t, err)
			require.Equal(t, identity, again)
		}
	})
}

// An identity has one spelling: what is read is written as it came.
func FuzzIdentity(f *testing.F) {
	for _, text := range []string{"lianfen://acquirer/1", "lianfen://acquirer/48020000/terminal/T0000001", "lianfen://issuer/10000004", "lianfen://operator/wang", "lianfen://switch/lianfen", "lianfen://operator/w%61ng", "lianfen://acquirer/01"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if identity, err := certs.ParseIdentity(text); err == nil {
			require.Equal(t, text, identity.String())
		}
	})
}
