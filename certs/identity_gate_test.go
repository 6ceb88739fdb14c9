package certs_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/certs"
)

// door is a gate with what it was made of.
type door struct {
	*certs.Gate
	clock     *clock
	authority *certs.Authority
	dir       string
	registry  *prometheus.Registry
}

func newDoor(t *testing.T, tls12 bool) *door {
	t.Helper()
	d := &door{clock: newClock(), dir: t.TempDir(), registry: prometheus.NewRegistry()}
	d.authority = d.clock.authorityIn(t, d.dir)
	own, _, err := d.authority.Own(certs.Order{Identity: certs.SwitchIdentity("lianfen")})
	require.NoError(t, err)
	d.Gate, err = certs.OpenGate(certs.GateOptions{
		Certificate: own, Key: own, Trust: filepath.Join(d.dir, "trust.crt"), Revoked: d.authority, TLS12: tls12, Clock: d.clock.now, Registerer: d.registry,
	})
	require.NoError(t, err)
	return d
}

// pair issues a certificate for a peer.
func pair(t *testing.T, a *certs.Authority, i certs.Identity) (tls.Certificate, string) {
	t.Helper()
	made, err := a.Issue(certs.Order{Identity: i})
	require.NoError(t, err)
	cert, err := tls.X509KeyPair(made.ChainPEM, made.KeyPEM)
	require.NoError(t, err)
	return cert, made.Serial
}

// shake makes a connection of the two ends and returns what each thinks of it. The
// client reads a byte: with TLS 1.3 it hears of a refusal only then.
func shake(t *testing.T, server, client *tls.Config) (peer tls.ConnectionState, serverErr, clientErr error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	a, b := net.Pipe()
	defer func() { _, _ = a.Close(), b.Close() }()
	heard := make(chan error, 1)
	go func() {
		c := tls.Client(b, client)
		err := c.HandshakeContext(ctx)
		if err == nil {
			_, err = c.Read(make([]byte, 1))
		}
		_ = b.Close()
		heard <- err
	}()
	s := tls.Server(a, server)
	if serverErr = s.HandshakeContext(ctx); serverErr == nil {
		_, serverErr = s.Write([]byte{1})
	}
	peer = s.ConnectionState()
	_ = a.Close()
	return peer, serverErr, <-heard
}

// plainClient is a peer's configuration that checks nothing: what is tested is our side.
func plainClient(cert ...tls.Certificate) *tls.Config {
	return &tls.Config{Certificates: cert, InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}
}

// Each kind of peer that must not come in does not, and is counted under its reason.
func TestGateRefuses(t *testing.T) {
	d := newDoor(t, false)
	acquirer := certs.AcquirerIdentity(1)
	good, _ := pair(t, d.authority, acquirer)
	server := d.Server(false, certs.RoleAcquirer, certs.RoleTerminal)
	state, err, clientErr := shake(t, server, plainClient(good))
	require.NoError(t, err)
	require.NoError(t, clientErr)
	require.EqualValues(t, tls.VersionTLS13, state.Version)
	peer, err := d.Peer(&state)
	require.NoError(t, err)
	require.Equal(t, acquirer, peer.Identity)

	revoked, serial := pair(t, d.authority, acquirer)
	_, err = d.authority.Revoke(certs.Revocation{Serial: serial})
	require.NoError(t, err)
	changed, err := d.Reload()
	require.NoError(t, err)
	require.True(t, changed)
	operator, _ := pair(t, d.authority, certs.OperatorIdentity("li"))
	foreign, _ := pair(t, d.clock.authority(t), acquirer)
	withoutIssuing := good
	withoutIssuing.Certificate = good.Certificate[:1]
	future := newClock()
	future.move(48 * time.Hour)
	unborn := issueAt(t, d, future, acquirer)
	past := newClock()
	past.move(-40 * 24 * time.Hour)
	over := issueAt(t, d, past, acquirer)

	old := plainClient(good)
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	for _, test := range []struct {
		name   string
		client *tls.Config
		want   error
		reason string
	}{
		{"no certificate", plainClient(), nil, "no_identity"},
		{"revoked", plainClient(revoked), certs.ErrRevoked, "revoked"},
		{"another role", plainClient(operator), certs.ErrWrongRole, "wrong_role"},
		{"another authority", plainClient(foreign), certs.ErrUnknownCA, "unknown_ca"},
		{"no way to the root", plainClient(withoutIssuing), certs.ErrUnknownCA, "unknown_ca"},
		{"not yet valid", plainClient(unborn), certs.ErrNotYetValid, "not_yet_valid"},
		{"expired", plainClient(over), certs.ErrExpired, "expired"},
		{"TLS 1.2", old, nil, "protocol_version"},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := d.counted(t, test.reason)
			_, err, clientErr := shake(t, server, test.client)
			require.Error(t, err)
			require.Error(t, clientErr)
			if test.want != nil {
				require.ErrorIs(t, err, test.want)
			}
			d.Refused(err)
			require.InDelta(t, before+1, d.counted(t, test.reason), 0)
		})
	}
}

// issueAt issues with the same authority at another time.
func issueAt(t *testing.T, d *door, at *clock, i certs.Identity) tls.Certificate {
	t.Helper()
	a, err := certs.OpenAuthority(d.dir, at.now)
	require.NoError(t, err)
	cert, _ := pair(t, a, i)
	return cert
}

// counted is how many handshakes were refused for a reason.
func (d *door) counted(t *testing.T, reason string) float64 {
	t.Helper()
	families, err := d.registry.Gather()
	require.NoError(t, err)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == "lianfen_handshakes_refused_total" && m.GetLabel()[0].GetValue() == reason {
				return m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("no counter for %s", reason)
	return 0
}

// A certificate of a client is not one of a server, whoever holds it.
func TestGateWrongUsage(t *testing.T) {
	d := newDoor(t, false)
	acquirer, _ := pair(t, d.authority, certs.AcquirerIdentity(1))
	anyone := &tls.Config{Certificates: []tls.Certificate{acquirer}, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS13}
	_, _, err := shake(t, anyone, d.Client(certs.OfRole(certs.RoleAcquirer)))
	require.ErrorIs(t, err, certs.ErrWrongUsage)
}

// Who dials checks who is there, by role and by what accept says.
func TestGateDials(t *testing.T) {
	d := newDoor(t, false)
	issuer, _ := pair(t, d.authority, certs.IssuerIdentity(7))
	host := &tls.Config{Certificates: []tls.Certificate{issuer}, ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS13}
	state, err, clientErr := shake(t, host, d.Client(certs.OfRole(certs.RoleIssuer)))
	require.NoError(t, err)
	require.NoError(t, clientErr)
	require.Equal(t, "lianfen://switch/lianfen", state.PeerCertificates[0].URIs[0].String())
	_, _, clientErr = shake(t, host, d.Client(certs.OfRole(certs.RoleSwitch)))
	require.ErrorIs(t, clientErr, certs.ErrWrongRole)
	foreign, _ := pair(t, d.clock.authority(t), certs.IssuerIdentity(7))
	host.Certificates = []tls.Certificate{foreign}
	_, _, clientErr = shake(t, host, d.Client(certs.OfRole(certs.RoleIssuer)))
	require.ErrorIs(t, clientErr, certs.ErrUnknownCA)
}

// Where TLS 1.2 is allowed it is with AEAD suites only; TLS 1.1 is not.
func TestGateTLS12(t *testing.T) {
	d := newDoor(t, true)
	good, _ := pair(t, d.authority, certs.AcquirerIdentity(1))
	client := plainClient(good)
	client.MinVersion, client.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	server := d.Server(false, certs.RoleAcquirer)
	state, err, _ := shake(t, server, client)
	require.NoError(t, err)
	require.EqualValues(t, tls.VersionTLS12, state.Version)
	client.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}
	_, err, _ = shake(t, server, client)
	require.Error(t, err)
	client.CipherSuites = nil
	client.MinVersion, client.MaxVersion = tls.VersionTLS11, tls.VersionTLS11
	_, err, _ = shake(t, server, client)
	require.Error(t, err)
}

// No session is resumed: a peer that is revoked cannot come back with a ticket.
func TestGateResumesNothing(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		d := newDoor(t, true)
		good, serial := pair(t, d.authority, certs.AcquirerIdentity(1))
		client := plainClient(good)
		client.MinVersion, client.MaxVersion = version, version
		client.ClientSessionCache, client.ServerName = tls.NewLRUClientSessionCache(8), "lianfen"
		server := d.Server(false, certs.RoleAcquirer)
		for range 2 {
			state, err, clientErr := shake(t, server, client)
			require.NoError(t, err)
			require.NoError(t, clientErr)
			require.False(t, state.DidResume)
		}
		_, err := d.authority.Revoke(certs.Revocation{Serial: serial})
		require.NoError(t, err)
		_, err = d.Reload()
		require.NoError(t, err)
		_, err, _ = shake(t, server, client)
		require.ErrorIs(t, err, certs.ErrRevoked)
	}
}

// A new certificate of ours is what the next connection gets, from the same
// configuration; a damaged file changes nothing.
func TestGateRotates(t *testing.T) {
	d := newDoor(t, false)
	good, _ := pair(t, d.authority, certs.AcquirerIdentity(1))
	server := d.Server(false, certs.RoleAcquirer)
	var shown []string
	client := plainClient(good)
	client.VerifyConnection = func(cs tls.ConnectionState) error {
		shown = append(shown, cs.PeerCertificates[0].SerialNumber.String())
		return nil
	}
	connect := func() {
		t.Helper()
		_, err, clientErr := shake(t, server, client)
		require.NoError(t, err)
		require.NoError(t, clientErr)
	}
	connect()
	d.clock.move(25 * 24 * time.Hour)
	require.InDelta(t, 5, d.Expiries()[0].DaysLeft, 0.01)
	path, made, err := d.authority.Own(certs.Order{Identity: certs.SwitchIdentity("lianfen")})
	require.NoError(t, err)
	require.True(t, made)
	changed, err := d.Reload()
	require.NoError(t, err)
	require.False(t, changed, "nobody else is concerned")
	connect()
	require.NotEqual(t, shown[0], shown[1])
	require.InDelta(t, 30, d.Expiries()[0].DaysLeft, 0.01)

	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, whole[:len(whole)/3], 0o600))
	_, err = d.Reload()
	require.Error(t, err)
	connect()
	require.Equal(t, shown[1], shown[2])
}

// Who is connected may stay until revoked, over, or of an authority that is no longer
// trusted; a new root beside the old one harms nobody.
func TestGateAdmits(t *testing.T) {
	d := newDoor(t, false)
	one, serial := pair(t, d.authority, certs.AcquirerIdentity(1))
	two, _ := pair(t, d.authority, certs.AcquirerIdentity(2))
	server := d.Server(false, certs.RoleAcquirer)
	var peers []*certs.Peer
	var opened []tls.ConnectionState
	for _, cert := range []tls.Certificate{one, two} {
		state, err, _ := shake(t, server, plainClient(cert))
		require.NoError(t, err)
		peer, err := d.Peer(&state)
		require.NoError(t, err)
		peers, opened = append(peers, peer), append(opened, state)
	}
	_, err := d.authority.Revoke(certs.Revocation{Serial: serial})
	require.NoError(t, err)
	_, err = d.Reload()
	require.NoError(t, err)
	_, err = d.Peer(&opened[0])
	require.ErrorIs(t, err, certs.ErrRevoked, "revoked between the handshake and the opening")
	require.ErrorIs(t, d.Admits(peers[0]), certs.ErrRevoked)
	require.NoError(t, d.Admits(peers[1]))

	other := d.clock.authority(t)
	require.NoError(t, os.WriteFile(filepath.Join(d.dir, "trust.crt"), append(d.authority.Trust(), other.Trust()...), 0o600))
	changed, err := d.Reload()
	require.NoError(t, err)
	require.True(t, changed)
	require.NoError(t, d.Admits(peers[1]))
	foreign, _ := pair(t, other, certs.AcquirerIdentity(3))
	_, err, _ = shake(t, server, plainClient(foreign))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(d.dir, "trust.crt"), other.Trust(), 0o600))
	_, err = d.Reload()
	require.NoError(t, err)
	require.ErrorIs(t, d.Admits(peers[1]), certs.ErrUnknownCA)

	require.NoError(t, os.WriteFile(filepath.Join(d.dir, "trust.crt"), d.authority.Trust(), 0o600))
	_, err = d.Reload()
	require.NoError(t, err)
	d.clock.move(31 * 24 * time.Hour)
	require.ErrorIs(t, d.Admits(peers[1]), certs.ErrExpired)
	require.NoError(t, d.Admits(certs.PlainPeer(certs.AcquirerIdentity(1))))
}

// Renewing needs the certificate that is to be renewed, good and known.
func TestRenew(t *testing.T) {
	d := newDoor(t, false)
	cert, serial := pair(t, d.authority, terminal(t, 1, "T1"))
	state, err, _ := shake(t, d.Server(false, certs.RoleTerminal), plainClient(cert))
	require.NoError(t, err)
	peer, err := d.Peer(&state)
	require.NoError(t, err)
	request, _, err := certs.NewRequest()
	require.NoError(t, err)
	d.clock.move(20 * 24 * time.Hour)
	made, err := d.authority.Renew(peer, request)
	require.NoError(t, err)
	require.Equal(t, terminal(t, 1, "T1").String(), made.Certificate.URIs[0].String())
	require.Equal(t, d.clock.now().Time().Add(certs.DefaultLifetime).Unix(), made.Certificate.NotAfter.Unix())
	_, err = d.authority.Revoke(certs.Revocation{Serial: serial})
	require.NoError(t, err)
	_, err = d.authority.Renew(peer, request)
	require.ErrorIs(t, err, certs.ErrRenewal)
}

// A certificate with no identity, or two, is nobody's.
func TestGateWantsOneIdentity(t *testing.T) {
	d := newDoor(t, false)
	good, _ := pair(t, d.authority, certs.AcquirerIdentity(1))
	leaf, err := x509.ParseCertificate(good.Certificate[0])
	require.NoError(t, err)
	leaf.URIs = append(leaf.URIs, leaf.URIs[0])
	_, err = d.Peer(&tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}})
	require.ErrorIs(t, err, certs.ErrNoIdentity)
	leaf.URIs = nil
	_, err = d.Peer(&tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}})
	require.ErrorIs(t, err, certs.ErrNoIdentity)
	_, err = d.Peer(nil)
	require.ErrorIs(t, err, certs.ErrNoIdentity)
}

// Plain text at a TLS port and a handshake that is cut are counted as what they are.
func TestGateCountsWhatIsNoTLS(t *testing.T) {
	d := newDoor(t, false)
	for reason, say := range map[string]string{"not_tls": "GET / HTTP/1.1\r\n\r\n", "cut": "\x16\x03\x01\x00\xff"} {
		a, b := net.Pipe()
		go func() {
			_, _ = io.WriteString(b, say)
			_ = b.Close()
		}()
		err := tls.Server(a, d.Server(false, certs.RoleAcquirer)).HandshakeContext(t.Context())
		require.Error(t, err)
		d.Refused(err)
		require.InDelta(t, 1, d.counted(t, reason), 0, reason)
	}
	log := d.RefusalLog(io.Discard)
	for line, reason := range map[string]string{
		"http: TLS handshake error from 1.2.3.4:5: " + certs.ErrRevoked.Error() + ": serial 1":     "revoked",
		"http: TLS handshake error from 1.2.3.4:5: client sent an HTTP request to an HTTPS server": "not_tls",
		"http: TLS handshake error from 1.2.3.4:5: remote error: tls: bad certificate":             "refused_by_peer",
	} {
		before := d.counted(t, reason)
		_, err := io.WriteString(log, line)
		require.NoError(t, err)
		require.InDelta(t, before+1, d.counted(t, reason), 0, reason)
	}
}

// A file of roots that holds none is refused, by its name.
func TestGateFiles(t *testing.T) {
	d := newDoor(t, false)
	trust := filepath.Join(d.dir, "trust.crt")
	for name, content := range map[string][]byte{
		"empty": nil, "a key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{1}}), "damaged": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{1}}),
	} {
		require.NoError(t, os.WriteFile(trust, content, 0o600))
		_, err := d.Reload()
		require.ErrorContains(t, err, "trust.crt", name)
	}
}
