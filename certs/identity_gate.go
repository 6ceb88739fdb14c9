package certs

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lianfen/lianfen/points"
)

// Why a gate lets somebody not in.
var (
	// ErrNoIdentity says that a certificate names none, or none at all was shown.
	ErrNoIdentity = errors.New("certs: no identity")
	// ErrWrongRole says that this door is not for such as this one.
	ErrWrongRole = errors.New("certs: this door is not for that identity")
	// ErrRevoked says that the certificate was taken back.
	ErrRevoked = errors.New("certs: the certificate is revoked")
	// ErrExpired says that the certificate is over.
	ErrExpired = errors.New("certs: the certificate is over")
	// ErrNotYetValid says that it has not begun.
	ErrNotYetValid = errors.New("certs: the certificate is not valid yet")
	// ErrUnknownCA says that nobody whom we trust has signed it.
	ErrUnknownCA = errors.New("certs: the certificate is of no authority that is trusted here")
	// ErrWrongUsage says that it is for something else.
	ErrWrongUsage = errors.New("certs: the certificate is not for this use")
)

// GateOptions is what a [Gate] is made of.
type GateOptions struct {
	// Certificate and Key are the files of our chain and its key; they may be one.
	Certificate, Key string
	// Trust is the file of the roots that peers are checked against.
	Trust string
	// Revoked is the authority whose register says who is revoked; nil: nobody is.
	Revoked *Authority
	// TLS12 lets peers in that cannot do TLS 1.3, with AEAD suites only.
	TLS12      bool
	Clock      points.Clock
	Registerer prometheus.Registerer // nil: nobody counts
}

// Gate is both sides of a TLS connection between identities of the scheme: it makes
// the configurations of listeners and of dialling, checks who is at the other end, and
// reads certificates, trust and revocations anew while they are in use. Nothing that
// is open is touched by that; [Gate.Admits] tells of what is open whether it may stay.
//
// Sessions are not resumed: each connection shows its certificate and is checked.
type Gate struct {
	opts    GateOptions
	state   atomic.Pointer[gateState]
	reload  sync.Mutex // one at a time
	refused *prometheus.CounterVec
}

// gateState is all that a handshake needs, swapped in whole.
type gateState struct {
	own     *tls.Certificate
	roots   *x509.CertPool
	print   [sha256.Size]byte // of the files, to tell whether they have changed
	trust   [sha256.Size]byte // of the roots
	rootEnd time.Time         // of the root that ends first
	revoked map[string]bool
}

// Peer is who is at the other end of a connection. It is not to be changed.
type Peer struct {
	Identity Identity
	serial   string // empty: there is no certificate, the configuration says who it is
	until    time.Time
	chain    []*x509.Certificate
	serials  []string          // of the chain
	trust    [sha256.Size]byte // it was checked against
}

// Serial is the peer's certificate; empty where it has none.
func (p *Peer) Serial() string { return p.serial }

// PlainPeer is who is taken to be at the other end of connections without TLS.
func PlainPeer(i Identity) *Peer { return &Peer{Identity: i} }

// OpenGate reads the files. Errors name the one that is wrong.
func OpenGate(opts GateOptions) (*Gate, error) {
	g := &Gate{opts: opts, refused: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "lianfen_handshakes_refused_total", Help: "TLS handshakes that came to nothing, by reason.",
	}, []string{"reason"})}
	for _, r := range refusals {
		g.refused.WithLabelValues(r.label) // So that an alert sees the first one.
	}
	for _, label := range []string{refusedPlain, refusedOld, refusedAlert, refusedOther} {
		g.refused.WithLabelValues(label)
	}
	if _, err := g.Reload(); err != nil {
		return nil, err
	}
	if opts.Registerer == nil {
		return g, nil
	}
	left := func(name string) func() float64 {
		return func() float64 {
			for _, e := range g.Expiries() {
				if e.Certificate == name {
					return e.DaysLeft
				}
			}
			return 0
		}
	}
	collectors := []prometheus.Collector{g.refused}
	for _, e := range g.Expiries() {
		collectors = append(collectors, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "lianfen_certificate_days_left", Help: "Days until a certificate of the switch ends; below 0: it has.",
			ConstLabels: prometheus.Labels{"certificate": e.Certificate},
		}, left(e.Certificate)))
	}
	for _, c := range collectors {
		if err := opts.Registerer.Register(c); err != nil {
			return nil, fmt.Errorf("certs: register metrics: %w", err)
		}
	}
	return g, nil
}

// Reload reads what has changed: our certificate, the roots, the revocations. What
// cannot be read leaves everything as it was. changed tells whether somebody who is
// let in, or was, may no longer be: then open connections are to be held against
// [Gate.Admits].
func (g *Gate) Reload() (changed bool, err error) {
	g.reload.Lock()
	defer g.reload.Unlock()
	before := g.state.Load()
	next := &gateState{}
	if g.opts.Revoked != nil {
		if err := g.opts.Revoked.register.refresh(); err != nil {
			return false, err
		}
		next.revoked = g.opts.Revoked.register.revocations()
	}
	var text []byte
	for _, path := range []string{g.opts.Trust, g.opts.Certificate, g.opts.Key} {
		part, err := ReadRegular(path, MaxFile)
		if err != nil {
			return false, fmt.Errorf("certs: %w", err)
		}
		if path == g.opts.Trust {
			next.trust = sha256.Sum256(part)
		}
		text = append(append(text, 0), part...)
	}
	next.print = sha256.Sum256(text)
	if before != nil && next.print == before.print {
		next.own, next.roots, next.rootEnd = before.own, before.roots, before.rootEnd
	} else if err := next.read(&g.opts); err != nil {
		return false, err
	}
	g.state.Store(next)
	return before != nil && (next.trust != before.trust || len(next.revoked) != len(before.revoked)), nil
}

func (s *gateState) read(opts *GateOptions) (err error) {
	if s.own, err = readPair(opts.Certificate, opts.Key); err != nil {
		return err
	}
	roots, err := readCertificates(opts.Trust)
	if err != nil {
		return err
	}
	s.roots = x509.NewCertPool()
	for _, root := range roots {
		s.roots.AddCert(root)
		if s.rootEnd.IsZero() || root.NotAfter.Before(s.rootEnd) {
			s.rootEnd = root.NotAfter
		}
	}
	return nil
}

// Expiries tells how long our certificate and those above it last.
func (g *Gate) Expiries() []Expiry {
	s, now := g.state.Load(), g.opts.Clock().Time()
	all := []Expiry{{"own", s.own.Leaf.NotAfter, days(s.own.Leaf.NotAfter.Sub(now))}}
	if len(s.own.Certificate) > 1 {
		if issuing, err := x509.ParseCertificate(s.own.Certificate[1]); err == nil {
			all = append(all, Expiry{"issuing", issuing.NotAfter, days(issuing.NotAfter.Sub(now))})
		}
	}
	return append(all, Expiry{"root", s.rootEnd, days(s.rootEnd.Sub(now))})
}

// Own is who we are.
func (g *Gate) Own() (Identity, error) { return identityOf(g.state.Load().own.Leaf) }

// base is what both sides have in common.
func (g *Gate) base() *tls.Config {
	config := &tls.Config{
		MinVersion: tls.VersionTLS13, Time: g.now,
		SessionTicketsDisabled: true, // See Gate.
		// What one goroutine writes at a time is one record, up to 16 KiB.
		DynamicRecordSizingDisabled: true,
	}
	if g.opts.TLS12 {
		config.MinVersion = tls.VersionTLS12
		config.CipherSuites = []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
		}
	}
	return config
}

func (g *Gate) now() time.Time { return g.opts.Clock().Time() }

// Server is the configuration of a door for peers of these roles. optional lets in who
// shows no certificate at all; then there is no [Peer], and what may be done without is
// the door's to say.
func (g *Gate) Server(optional bool, roles ...Role) *tls.Config {
	config := g.base()
	config.ClientAuth = tls.RequireAnyClientCert
	if optional {
		config.ClientAuth = tls.RequestClientCert
	}
	config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return g.state.Load().own, nil }
	config.VerifyConnection = func(cs tls.ConnectionState) error {
		if optional && len(cs.PeerCertificates) == 0 {
			return nil
		}
		return g.verify(&cs, x509.ExtKeyUsageClientAuth, func(i Identity) error {
			if !slices.Contains(roles, i.Role) {
				return fmt.Errorf("%w: %v", ErrWrongRole, i)
			}
			return nil
		})
	}
	return config
}

// Client is the configuration of a connection that we dial; accept says who may be
// there. Who it is says its identity and not its address: hosts move.
func (g *Gate) Client(accept func(Identity) error) *tls.Config {
	config := g.base()
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return g.state.Load().own, nil }
	config.InsecureSkipVerify = true // [Gate.verify] checks the chain against the roots as they are then, and the identity instead of the name.
	config.VerifyConnection = func(cs tls.ConnectionState) error {
		return g.verify(&cs, x509.ExtKeyUsageServerAuth, accept)
	}
	return config
}

// ClientConfig is the configuration of a single connection to a switch, with files that
// do not change meanwhile. Without a certificate none is shown, as by who enrols.
func ClientConfig(trust, certificate, key string, clock points.Clock) (*tls.Config, error) {
	roots, err := readCertificates(trust)
	if err != nil {
		return nil, err
	}
	g := &Gate{opts: GateOptions{Clock: clock}}
	state := &gateState{own: new(tls.Certificate), roots: x509.NewCertPool()}
	for _, root := range roots {
		state.roots.AddCert(root)
	}
	if certificate != "" {
		if key == "" {
			key = certificate
		}
		if state.own, err = readPair(certificate, key); err != nil {
			return nil, err
		}
	}
	g.state.Store(state)
	return g.Client(OfRole(RoleSwitch)), nil
}

// OfRole accepts every peer of a role.
func OfRole(role Role) func(Identity) error {
	return func(i Identity) error {
		if i.Role != role {
			return fmt.Errorf("%w: %v, want a %v", ErrWrongRole, i, role)
		}
		return nil
	}
}

// verify checks a peer at the end of a handshake.
func (g *Gate) verify(cs *tls.ConnectionState, usage x509.ExtKeyUsage, accept func(Identity) error) error {
	if len(cs.PeerCertificates) == 0 {
		return fmt.Errorf("%w: no certificate", ErrNoIdentity)
	}
	s := g.state.Load()
	if err := s.check(cs.PeerCertificates, usage, g.now()); err != nil {
		return err
	}
	identity, err := identityOf(cs.PeerCertificates[0])
	if err != nil {
		return err
	}
	return accept(identity)
}

// check holds a chain against roots, time, use and revocations.
func (s *gateState) check(chain []*x509.Certificate, usage x509.ExtKeyUsage, now time.Time) error {
	between := x509.NewCertPool()
	for _, cert := range chain[1:] {
		between.AddCert(cert)
	}
	verified, err := chain[0].Verify(x509.VerifyOptions{Roots: s.roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage}})
	if err != nil {
		return whyInvalid(err, now)
	}
	for _, cert := range verified[0] {
		if serial := serialText(cert.SerialNumber); s.revoked[serial] {
			return fmt.Errorf("%w: serial %s", ErrRevoked, serial)
		}
	}
	return nil
}

// whyInvalid gives the errors of x509 the words that are counted.
func whyInvalid(err error, now time.Time) error {
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		switch {
		case invalid.Reason == x509.Expired && now.Before(invalid.Cert.NotBefore):
			return fmt.Errorf("%w: from %s", ErrNotYetValid, invalid.Cert.NotBefore.Format(time.RFC3339))
		case invalid.Reason == x509.Expired:
			return fmt.Errorf("%w: until %s", ErrExpired, invalid.Cert.NotAfter.Format(time.RFC3339))
		case invalid.Reason == x509.IncompatibleUsage:
			return ErrWrongUsage
		}
	}
	return fmt.Errorf("%w: %w", ErrUnknownCA, err)
}

// Admit tells who is at the other end of a connection that a configuration of this
// gate has let in, as a [*Peer].
func (g *Gate) Admit(cs *tls.ConnectionState) (any, error) {
	return g.Peer(cs)
}

// IdentityText is the identity of the peer of a session as text, such as to count its
// connections by; empty where it has none.
func IdentityText(cs *tls.ConnectionState) string {
	if len(cs.PeerCertificates) == 0 {
		return ""
	}
	identity, err := identityOf(cs.PeerCertificates[0])
	if err != nil {
		return ""
	}
	return identity.String()
}

// Peer is [Gate.Admit]; nil where no certificate was shown.
func (g *Gate) Peer(cs *tls.ConnectionState) (*Peer, error) {
	if cs == nil || len(cs.PeerCertificates) == 0 {
		return nil, fmt.Errorf("%w: no certificate", ErrNoIdentity)
	}
	leaf := cs.PeerCertificates[0]
	identity, err := identityOf(leaf)
	if err != nil {
		return nil, err
	}
	peer := &Peer{Identity: identity, serial: serialText(leaf.SerialNumber), until: leaf.NotAfter, chain: cs.PeerCertificates, trust: g.state.Load().trust}
	for _, cert := range peer.chain {
		peer.serials = append(peer.serials, serialText(cert.SerialNumber))
	}
	// What was revoked since the handshake looked.
	return peer, g.Admits(peer)
}

// Admits says whether a peer that was let in may stay: an error wraps [ErrRevoked],
// [ErrExpired] or [ErrUnknownCA].
func (g *Gate) Admits(p *Peer) error {
	if p.serial == "" {
		return nil
	}
	s, now := g.state.Load(), g.now()
	for _, serial := range p.serials {
		if s.revoked[serial] {
			return fmt.Errorf("%w: serial %s", ErrRevoked, serial)
		}
	}
	if now.After(p.until) {
		return fmt.Errorf("%w: until %s", ErrExpired, p.until.Format(time.RFC3339))
	}
	if p.trust != s.trust {
		return s.check(p.chain, x509.ExtKeyUsageAny, now)
	}
	return nil
}

// refusals gives every reason its label: a bounded set.
var refusals = [...]struct { //nolint:gochecknoglobals // never written.
	err   error
	label string
}{
	{ErrNoIdentity, "no_identity"},
	{ErrWrongRole, "wrong_role"},
	{ErrRevoked, "revoked"},
	{ErrExpired, "expired"},
	{ErrNotYetValid, "not_yet_valid"},
	{ErrUnknownCA, "unknown_ca"},
	{ErrWrongUsage, "wrong_usage"},
	{os.ErrDeadlineExceeded, "too_slow"},
	{io.EOF, "cut"},
	{io.ErrUnexpectedEOF, "cut"},
	{net.ErrClosed, "cut"},
}

// Labels of what crypto/tls has no error values for.
const (
	refusedPlain = "not_tls"
	refusedOld   = "protocol_version"
	refusedAlert = "refused_by_peer"
	refusedOther = "other"
)

// Refused counts a handshake that failed.
func (g *Gate) Refused(err error) { g.refused.WithLabelValues(refusalOf(err)).Inc() }

func refusalOf(err error) string {
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			return r.label
		}
	}
	if _, plain := errors.AsType[tls.RecordHeaderError](err); plain {
		return refusedPlain
	}
	text := err.Error()
	switch {
	case strings.Contains(text, "unsupported versions"), strings.Contains(text, "protocol version"):
		return refusedOld
	case strings.Contains(text, "first record does not look like a TLS handshake"):
		return refusedPlain
	case strings.Contains(text, "client didn't provide a certificate"):
		return "no_identity"
	case strings.Contains(text, "remote error"):
		return refusedAlert
	case strings.Contains(text, "context deadline exceeded"):
		return "too_slow"
	case strings.Contains(text, "connection reset"):
		return "cut"
	}
	return refusedOther
}

// RefusalLog counts the handshakes that net/http tells of in its log, a line each, and
// passes everything on to next.
func (g *Gate) RefusalLog(next io.Writer) io.Writer { return refusalLog{g, next} }

type refusalLog struct {
	gate *Gate
	next io.Writer
}

// Write takes one line.
func (l refusalLog) Write(line []byte) (int, error) {
	if _, why, found := bytes.Cut(line, []byte("TLS handshake error from ")); found {
		l.gate.refused.WithLabelValues(refusalOfText(string(why))).Inc()
	}
	return l.next.Write(line)
}

// refusalOfText finds a reason in the text of its error.
func refusalOfText(text string) string {
	for _, r := range refusals {
		if strings.Contains(text, r.err.Error()) {
			return r.label
		}
	}
	if strings.Contains(text, "HTTP request to an HTTPS server") {
		return refusedPlain // That is how net/http words it.
	}
	return refusalOf(errors.New(text))
}
