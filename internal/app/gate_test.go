package app_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/internal/sim"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// secured is a house whose doors all speak mutual TLS.
type secured struct {
	*house
	dir       string
	authority *certs.Authority
}

// acquirer is that of smallTown.
const acquirer points.AcquirerID = 20000001

func newSecured(t *testing.T, sets ...string) *secured {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pki")
	authority, err := certs.CreateAuthority(dir, "test", []byte("a passphrase for tests"), now)
	require.NoError(t, err)
	return &secured{newHouse(t, append([]string{"tls.mode=mutual", "tls.authority=" + dir, "admin.address=127.0.0.1:0"}, sets...)...), dir, authority}
}

// gate is that of a holder of a new certificate of i.
func (s *secured) gate(t *testing.T, i certs.Identity) (*certs.Gate, string) {
	t.Helper()
	made, err := s.authority.Issue(certs.Order{Identity: i})
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "holder.pem")
	require.NoError(t, os.WriteFile(path, append(made.KeyPEM, made.ChainPEM...), 0o600))
	gate, err := certs.OpenGate(certs.GateOptions{Certificate: path, Key: path, Trust: filepath.Join(s.dir, "trust.crt"), Clock: now})
	require.NoError(t, err)
	return gate, made.Serial
}

func (s *secured) identity(t *testing.T, terminal string) certs.Identity {
	t.Helper()
	id, err := points.ParseTerminalID(terminal)
	require.NoError(t, err)
	return certs.TerminalIdentity(acquirer, id)
}

// known is a terminal that shows a certificate.
func (r *running) known(t *testing.T, id string, gate *certs.Gate) *sim.Terminal {
	t.Helper()
	terminal := r.terminal(t, id)
	terminal.Dial = func(ctx context.Context, address string, _ sim.Identity) (net.Conn, error) {
		return (&tls.Dialer{Config: gate.Client(certs.OfRole(certs.RoleSwitch))}).DialContext(ctx, "tcp", address)
	}
	return terminal
}

// code is the answer to an echo.
func echoed(t *testing.T, terminal *sim.Terminal) (string, error) {
	t.Helper()
	req := terminal.Next(points.SignOn)
	sim.Dress(&req)
	receipt, err := terminal.Send(t.Context(), &req)
	if err != nil {
		return "", err
	}
	return receipt.Response.Reason.DE39(), nil
}

// A terminal with its certificate is served; with another's it hears 58 and is
// counted; without one, in plain text, with one for another door, it gets nowhere. What
// is revoked is closed at once and cannot come back.
func TestDoorsKnowTheirPeers(t *testing.T) {
	s := newSecured(t)
	r := s.start(t)
	r.load(t, smallTown)
	one, serial := s.gate(t, s.identity(t, "T1"))
	own := r.known(t, "T1", one)
	require.Equal(t, points.Approved, send(t, own, points.Earn, "6222020000000000017", 100).Response.Reason)
	require.Equal(t, "58", send(t, r.known(t, "T2", one), points.Earn, "6222020000000000017", 100).Response.Reason.DE39())
	require.EqualValues(t, 100, r.usable(t, 1))

	operator, _ := s.gate(t, certs.OperatorIdentity("li"))
	_, err := echoed(t, r.known(t, "T1", operator))
	require.Error(t, err)
	_, err = echoed(t, r.terminal(t, "T1")) // Plain text.
	require.Error(t, err)

	_, err = s.authority.Revoke(certs.Revocation{Serial: serial})
	require.NoError(t, err)
	done, err := r.client.ReloadCertificates(t.Context())
	require.NoError(t, err)
	require.Positive(t, done.Closed)
	_, err = echoed(t, own) // On the connection that was open.
	require.Error(t, err)
	_, err = echoed(t, r.known(t, "T1", one))
	require.Error(t, err)
	again, _ := s.gate(t, s.identity(t, "T1"))
	code, err := echoed(t, r.known(t, "T1", again))
	require.NoError(t, err)
	require.Equal(t, "00", code)

	page := s.page(t, r, operator, "/metrics")
	for _, line := range []string{
		`lianfen_foreign_identities_total{of="terminal"} 1`, `lianfen_handshakes_refused_total{reason="wrong_role"} 1`,
		`lianfen_handshakes_refused_total{reason="not_tls"} 1`, `lianfen_handshakes_refused_total{reason="revoked"} 1`, `lianfen_certificate_days_left{certificate="own"} 29.9`,
	} {
		require.Contains(t, page, line)
	}
	r.stop(t)
	require.NotContains(t, s.log.String(), "PRIVATE KEY")
}

// Over TLS a listener's limits are those of the identity in the certificate: so many
// connections, and so many requests on all of them, whatever others do; who comes with a
// new connection, or a new certificate of the same name, finds no new allowance.
func TestIdentityLimits(t *testing.T) {
	s := newSecured(t, "listeners.pos.max_per_identity=2", "listeners.pos.rate=1", "listeners.pos.burst=3")
	frozen := now() // So that the bucket does not fill meanwhile.
	s.clock = func() points.Timestamp { return frozen }
	r := s.start(t)
	r.load(t, smallTown)
	card := "6222020000000000017"
	gate, _ := s.gate(t, s.identity(t, "T1"))
	again, _ := s.gate(t, s.identity(t, "T1"))
	other, _ := s.gate(t, s.identity(t, "T2"))
	one, two := r.known(t, "T1", gate), r.known(t, "T1", again)
	two.STAN = 100 // Numbers of its own.
	var codes []string
	for i := range 5 {
		terminal := one
		if i%2 == 1 {
			terminal = two
		}
		codes = append(codes, send(t, terminal, points.Earn, card, 100).Response.Reason.DE39())
	}
	require.Equal(t, "00 00 00 91 91", strings.Join(codes, " "))
	require.EqualValues(t, 300, r.usable(t, 1))
	require.Equal(t, "00", send(t, r.known(t, "T2", other), points.Earn, card, 100).Response.Reason.DE39(), "another's allowance")

	_, err := echoed(t, r.known(t, "T1", gate))
	require.Error(t, err, "a third connection")
	operator, _ := s.gate(t, certs.OperatorIdentity("li"))
	page := s.page(t, r, operator, "/metrics")
	for _, line := range []string{`lianfen_requests_over_rate_total{rate="connection"} 2`, `link_refused_total{listener="pos",reason="too_many_of_identity"} 1`} {
		require.Contains(t, page, line)
	}
	require.NoError(t, two.HangUp())
	require.Eventually(t, func() bool {
		terminal := r.known(t, "T1", gate)
		_, err := echoed(t, terminal)
		return errors.Join(err, terminal.HangUp()) == nil
	}, 10*time.Second, 10*time.Millisecond, "who has hung up may come again")
	r.stop(t)
}

// page is a page of the metrics door, seen by the holder of gate.
func (s *secured) page(t *testing.T, r *running, gate *certs.Gate, path string) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: gate.Client(certs.OfRole(certs.RoleSwitch))}}
	defer client.CloseIdleConnections()
	response, err := client.Get("https://" + r.HTTPAddress().String() + path)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return string(body)
}

// Whoever revokes beside a running switch, and tells it nothing, is heeded all the same.
func TestRevocationIsSeen(t *testing.T) {
	s := newSecured(t)
	r := s.start(t)
	r.load(t, smallTown)
	gate, serial := s.gate(t, s.identity(t, "T1"))
	terminal := r.known(t, "T1", gate)
	_, err := echoed(t, terminal)
	require.NoError(t, err)
	beside, err := certs.OpenAuthority(s.dir, now)
	require.NoError(t, err)
	_, err = beside.Revoke(certs.Revocation{Serial: serial})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		terminal.HangUp() //nolint:errcheck // only the next connection counts.
		_, err := echoed(t, terminal)
		return err != nil
	}, 30*time.Second, 50*time.Millisecond)
	r.stop(t)
}

// Metrics and the operators' door over TLS are for operators: the certificate names one,
// who has the roles that the journal says. Whoever is not enrolled, or shows a certificate
// of another kind, is refused; a revoked one also on a connection that was open before.
func TestOperatorsOverTLS(t *testing.T) {
	s := newSecured(t, "admin.owner=li")
	r := s.start(t)
	r.load(t, smallTown)
	terminal, _ := s.gate(t, s.identity(t, "T1"))
	operator, serial := s.gate(t, certs.OperatorIdentity("li"))
	require.Contains(t, s.page(t, r, terminal, "/metrics"), "operator's certificate")
	require.Equal(t, "ok\n", s.page(t, r, terminal, "/healthz"))
	require.Contains(t, s.page(t, r, operator, "/metrics"), "lianfen_requests_repeated_total")

	url := "https://" + r.AdminAddress().String()
	client := app.NewRemoteClient(url, operator.Client(certs.OfRole(certs.RoleSwitch)))
	_, err := client.Status(t.Context())
	reasonIs(t, points.SignInRefused, err)
	_, err = client.PutOperator(t.Context(), app.OperatorChange{Name: "li", Roles: book.RoleAdmin | book.RoleOperator})
	reasonIs(t, points.SignInRefused, err)
	_, err = r.client.PutOperator(t.Context(), app.OperatorChange{Name: "li", Roles: book.RoleAdmin | book.RoleOperator})
	require.NoError(t, err)
	w, err := client.Whoami(t.Context())
	require.NoError(t, err)
	require.Equal(t, app.Who{Name: "li", Roles: book.RoleAdmin | book.RoleOperator, By: "certificate"}, w)
	_, err = client.Approve(t.Context(), app.Decision{RRN: "000000000001"})
	reasonIs(t, points.RoleMissing, err)
	wang, _ := s.gate(t, certs.OperatorIdentity("wang"))
	_, err = app.NewRemoteClient(url, wang.Client(certs.OfRole(certs.RoleSwitch))).Whoami(t.Context())
	reasonIs(t, points.SignInRefused, err)
	status, err := client.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, "lianfen://switch/lianfen", status.Certificates.Identity.String())
	require.Len(t, status.Certificates.Expiries, 3)
	require.Len(t, status.Warnings, 2, "that no policy is set, and of certificates that the root's key is here")
	require.Contains(t, status.Warnings[0], "root.key is still on this machine")
	require.Contains(t, status.Warnings[1], "one operator alone")
	_, err = app.NewRemoteClient(url, terminal.Client(certs.OfRole(certs.RoleSwitch))).Status(t.Context())
	require.Error(t, err)
	_, err = s.authority.Revoke(certs.Revocation{Serial: serial})
	require.NoError(t, err)
	_, err = r.client.ReloadCertificates(t.Context())
	require.NoError(t, err)
	_, err = client.Status(t.Context())
	require.Equal(t, points.ForeignIdentity, points.ReasonOf(err))
	r.stop(t)
}

// Our certificate is changed under load: no request fails, the connections that are
// open go on, a new one is shown the new chain.
func TestRotationUnderLoad(t *testing.T) {
	s := newSecured(t)
	r := s.start(t)
	r.load(t, smallTown)
	gate, _ := s.gate(t, certs.AcquirerIdentity(acquirer))
	shown := func() string {
		conn, err := tls.Dial("tcp", r.Address("pos").String(), gate.Client(certs.OfRole(certs.RoleSwitch)))
		require.NoError(t, err)
		defer func() { _ = conn.Close() }()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	before := shown()
	ctx, cancel := context.WithCancel(t.Context())
	var sent atomic.Int64
	failed := make(chan error, 4)
	for i := range 4 {
		terminal := r.known(t, fmt.Sprint("T", i+1), gate)
		go func() {
			for ctx.Err() == nil {
				req := terminal.Next(points.Earn)
				sim.Dress(&req)
				req.PAN, _ = points.ParsePAN("6222020000000000017")
				req.Program, req.Amount = 901, 1
				receipt, err := terminal.Send(t.Context(), &req) //nolint:contextcheck // what is under way when ctx ends is answered.
				if err == nil && !receipt.Response.Reason.Approved() {
					err = errors.New(receipt.Response.Reason.String())
				}
				if err != nil {
					failed <- err
					return
				}
				sent.Add(1)
			}
			failed <- nil
		}()
	}
	for round := range 3 {
		was := sent.Load()
		order := certs.Order{Identity: certs.SwitchIdentity("lianfen"), Names: []string{fmt.Sprintf("host%d.example", round)}}
		_, made, err := s.authority.Own(order)
		require.NoError(t, err)
		require.True(t, made)
		_, err = r.client.ReloadCertificates(t.Context())
		require.NoError(t, err)
		after := shown()
		require.NotEqual(t, before, after)
		before = after
		require.Eventually(t, func() bool { return sent.Load() >= was+20 }, 60*time.Second, time.Millisecond)
	}
	cancel()
	for range 4 {
		require.NoError(t, <-failed)
	}
	require.EqualValues(t, sent.Load(), r.usable(t, 1))
	r.stop(t)
}

// A terminal makes its key, enrols with a code over HTTPS, is served, renews, and is
// served with the new one; the code is good once, and guessing is slowed.
func TestEnrolment(t *testing.T) {
	s := newSecured(t)
	r := s.start(t)
	r.load(t, smallTown)
	code, _, err := s.authority.NewCode(certs.Order{Identity: s.identity(t, "T1")}, time.Hour)
	require.NoError(t, err)
	url, trust := "https://"+r.HTTPAddress().String(), filepath.Join(s.dir, "trust.crt")
	client, err := app.NewEnrolment(url, trust, "", "", now)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "t1.pem")
	take := func(client *app.EnrolmentClient, code string) (app.Enrolled, error) {
		request, key, err := certs.NewRequest()
		require.NoError(t, err)
		enrolled, err := client.Ask(t.Context(), app.Enrolment{Code: points.Secret(code), Request: string(request)})
		if err == nil {
			require.NoError(t, os.WriteFile(path, append(key, enrolled.Chain...), 0o600))
		}
		return enrolled, err
	}
	enrolled, err := take(client, code)
	require.NoError(t, err)
	require.Equal(t, s.identity(t, "T1"), enrolled.Identity)
	require.Equal(t, string(s.authority.Trust()), enrolled.Trust)
	gate, err := certs.OpenGate(certs.GateOptions{Certificate: path, Key: path, Trust: trust, Clock: now})
	require.NoError(t, err)
	answer, err := echoed(t, r.known(t, "T1", gate))
	require.NoError(t, err)
	require.Equal(t, "00", answer)

	_, err = take(client, code)
	require.ErrorContains(t, err, "was used")
	_, err = take(client, "")
	require.ErrorContains(t, err, "neither a code nor")
	holder, err := app.NewEnrolment(url, trust, path, "", now)
	require.NoError(t, err)
	renewed, err := take(holder, "")
	require.NoError(t, err)
	require.NotEqual(t, enrolled.Serial, renewed.Serial)
	_, err = gate.Reload()
	require.NoError(t, err)
	_, err = echoed(t, r.known(t, "T1", gate))
	require.NoError(t, err)

	require.Contains(t, s.page(t, r, gate, "/v1/trust"), "BEGIN CERTIFICATE")
	require.NotEmpty(t, s.page(t, r, gate, "/v1/crl"))
	var refused error
	for range 12 {
		_, refused = take(client, "0000-0000-0000-0000")
	}
	require.Equal(t, points.Overloaded, points.ReasonOf(refused))
	r.stop(t)
	require.NotContains(t, s.log.String(), code)
}

// A link to an issuer is TLS both ways, and its host has to be an issuer who is on it.
func TestIssuersOverTLS(t *testing.T) {
	for name, test := range map[string]struct {
		issuer points.IssuerID
		up     bool
	}{"the issuer of the link": {10000004, true}, "another issuer": {10000005, false}} {
		t.Run(name, func(t *testing.T) {
			s := newSecured(t)
			gate, _ := s.gate(t, certs.IssuerIdentity(test.issuer))
			engine, err := sim.NewIssuer(sim.IssuerOptions{ID: 10000004})
			require.NoError(t, err)
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			host, err := sim.NewIssuerHost(ln, engine, sim.IssuerHostOptions{Clock: now, Log: slog.New(slog.DiscardHandler), TLS: gate.Server(false, certs.RoleSwitch)})
			require.NoError(t, err)
			ctx, cancel := context.WithCancel(t.Context())
			served := make(chan error, 1)
			go func() { served <- host.Serve(ctx) }()
			file := filepath.Join(t.TempDir(), "links.yaml")
			require.NoError(t, os.WriteFile(file, []byte("links: [{name: far, dial: \""+ln.Addr().String()+"\", redial: 20ms, redial_most: 20ms}]"), 0o600))
			c, err := config.Load(file, nil, nil)
			require.NoError(t, err)
			s.config.Links = c.Links
			r := s.start(t)
			r.load(t, strings.Replace(smallTown, "issuers: [", "issuers: [{id: 10000004, name: Far, link: far}, {id: 10000005, name: Other}, ", 1))
			state := func() string {
				links, err := r.client.Links(t.Context())
				require.NoError(t, err)
				return links[0].State
			}
			if test.up {
				require.Eventually(t, func() bool { return state() == "up" }, 30*time.Second, 10*time.Millisecond)
			} else {
				require.Eventually(t, func() bool { return strings.Contains(s.log.String(), "who is not on this link") }, 30*time.Second, 10*time.Millisecond)
				require.NotEqual(t, "up", state())
			}
			r.stop(t)
			cancel()
			require.NoError(t, <-served)
		})
	}
}
