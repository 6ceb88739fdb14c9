package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/lianfen/lianfen/points"
)

// Lifetimes of certificates.
const (
	DefaultLifetime  = 30 * 24 * time.Hour
	MinLifetime      = time.Hour
	MaxLifetime      = 366 * 24 * time.Hour
	OperatorLifetime = 30 * 24 * time.Hour // at most
	OperatorLeast    = 12 * time.Hour      // at least
	rootLifetime     = 10 * 365 * 24 * time.Hour
	issuingLifetime  = 2 * 365 * 24 * time.Hour
	// backdated is how far a certificate's beginning lies behind its issue, for
	// peers whose clocks are slow.
	backdated = 5 * time.Minute
)

// Files of an authority's folder.
const (
	rootFile       = "root.crt"
	rootKeyFile    = "root.key" // sealed; it belongs somewhere else
	issuingFile    = "issuing.crt"
	issuingKeyFile = "issuing.key"
	trustFile      = "trust.crt" // the roots that peers are checked against
	registerFile   = "register"
	crlFile        = "revoked.crl"
	ownFolder      = "own" // certificates with keys that the house itself uses
)

// Authority is the scheme's own certification authority, in a folder. Its root signs
// issuing CAs and nothing else, so that its key can be kept elsewhere; an issuing CA
// signs certificates of identities, each of which the register has before it leaves.
// It is safe for concurrent use, by several processes too.
type Authority struct {
	dir      string
	clock    points.Clock
	root     *x509.Certificate
	register *register
}

// issuer is an issuing CA.
type issuer struct {
	*x509.Certificate
	key crypto.Signer // nil: it is not here, and nothing can be issued
}

// Format says what it is alone.
func (i issuer) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, "an issuing CA") }

// CreateAuthority makes an authority in a new folder: a root whose key is sealed with
// passphrase, an issuing CA, an empty register. Nothing that is there is overwritten.
func CreateAuthority(dir, name string, passphrase []byte, clock points.Clock) (*Authority, error) {
	if len(passphrase) < leastPassphrase {
		return nil, fmt.Errorf("certs: a passphrase of %d characters, want %d at least", len(passphrase), leastPassphrase)
	}
	if _, err := os.Lstat(filepath.Join(dir, rootFile)); err == nil {
		return nil, fmt.Errorf("certs: %s holds an authority already; nothing was changed", dir)
	}
	if err := os.MkdirAll(filepath.Join(dir, ownFolder), 0o700); err != nil {
		return nil, fmt.Errorf("certs: %w", err)
	}
	key, err := drawSigner()
	if err != nil {
		return nil, err
	}
	now := clock().Time()
	template := &x509.Certificate{
		SerialNumber: newSerial(), Subject: pkix.Name{CommonName: name + " root", Organization: []string{"lianfen"}},
		NotBefore: now.Add(-backdated), NotAfter: now.Add(rootLifetime),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, IsCA: true, MaxPathLen: 1,
	}
	root, err := sign(template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	sealed, err := keyPEM(key, passphrase)
	if err != nil {
		return nil, err
	}
	for _, file := range []struct {
		name    string
		content []byte
		mode    fs.FileMode
	}{
		{registerFile, nil, 0o600},
		{rootKeyFile, sealed, 0o600},
		{trustFile, certificatesPEM(root), 0o644},
		{rootFile, certificatesPEM(root), 0o644},
	} {
		if err := create(filepath.Join(dir, file.name), file.content, file.mode); err != nil {
			return nil, err
		}
	}
	if err := newIssuing(dir, root, key, now); err != nil {
		return nil, err
	}
	return OpenAuthority(dir, clock)
}

// RenewIssuing makes a new issuing CA under the root, whose sealed key is in keyFile:
// before the old one ends, or when its key may be known. What the old one has issued
// stays good until it ends or is revoked.
func RenewIssuing(dir, keyFile string, passphrase []byte, clock points.Clock) error {
	roots, err := readCertificates(filepath.Join(dir, rootFile))
	if err != nil {
		return err
	}
	key, err := readKey(keyFile, passphrase)
	if err != nil {
		return err
	}
	if !samePublic(key.Public(), roots[0].PublicKey) {
		return fmt.Errorf("certs: %s is not the key of the root in %s", keyFile, dir)
	}
	return newIssuing(dir, roots[0], key, clock().Time())
}

// newIssuing puts a new issuing CA in place: key and certificate are one file for a
// moment, so that a crash leaves the old pair or the new.
func newIssuing(dir string, root *x509.Certificate, rootKey crypto.Signer, now time.Time) error {
	key, err := drawSigner()
	if err != nil {
		return err
	}
	serial := newSerial()
	cert, err := sign(&x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: strings.TrimSuffix(root.Subject.CommonName, " root") + " issuing " + serialText(serial)[:8], Organization: root.Subject.Organization},
		NotBefore:    now.Add(-backdated), NotAfter: earliest(now.Add(issuingLifetime), root.NotAfter),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
	}, root, key.Public(), rootKey)
	if err != nil {
		return err
	}
	secret, err := keyPEM(key, nil)
	if err != nil {
		return err
	}
	// The key's file has the certificate too, and is the one that counts.
	if err := replace(filepath.Join(dir, issuingKeyFile), append(secret, certificatesPEM(cert)...), 0o600); err != nil {
		return err
	}
	return replace(filepath.Join(dir, issuingFile), certificatesPEM(cert), 0o644)
}

// ErrNoAuthority says that a folder holds none.
var ErrNoAuthority = errors.New("certs: there is no certification authority")

// OpenAuthority opens the authority of a folder. Without the issuing key in it, it
// lists and revokes, and issues nothing.
func OpenAuthority(dir string, clock points.Clock) (*Authority, error) {
	roots, err := readCertificates(filepath.Join(dir, rootFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w in %s; make one: lianfen certs init", ErrNoAuthority, dir)
	}
	if err != nil {
		return nil, err
	}
	a := &Authority{dir: dir, clock: clock, root: roots[0]}
	if _, err := a.issuing(); err != nil {
		return nil, err
	}
	if a.register, err = openRegister(filepath.Join(dir, registerFile)); err != nil {
		return nil, err
	}
	return a, nil
}

// issuing reads the issuing CA: a new one may have been put in place, by another
// process too.
func (a *Authority) issuing() (ca issuer, err error) {
	source := issuingKeyFile
	ca.key, err = readKey(filepath.Join(a.dir, issuingKeyFile), nil)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		source = issuingFile
	case err != nil:
		return ca, err
	}
	chain, err := readCertificates(filepath.Join(a.dir, source))
	if err != nil {
		return ca, err
	}
	ca.Certificate = chain[0]
	if ca.key != nil && !samePublic(ca.key.Public(), ca.PublicKey) {
		return ca, fmt.Errorf("certs: %s holds a key and a certificate that do not belong together; put its copy back", filepath.Join(a.dir, issuingKeyFile))
	}
	return ca, nil
}

// signing is issuing, with its key.
func (a *Authority) signing() (issuer, error) {
	ca, err := a.issuing()
	if err == nil && ca.key == nil {
		err = ErrCannotIssue
	}
	return ca, err
}

// CanIssue reports whether the issuing key is here.
func (a *Authority) CanIssue() bool {
	_, err := a.signing()
	return err == nil
}

// Trust is the root, for whoever checks our certificates, as PEM.
func (a *Authority) Trust() []byte { return certificatesPEM(a.root) }

// Chain is the issuing CA behind the certificates, as PEM.
func (a *Authority) Chain() ([]byte, error) {
	ca, err := a.issuing()
	if err != nil {
		return nil, err
	}
	return certificatesPEM(ca.Certificate), nil
}

// Order is what is to be issued.
type Order struct {
	Identity Identity
	Names    []string // DNS names and IP addresses, of what is connected to
	Lifetime time.Duration
	By       string // who asks, for the register
	Act      string // RRN of the journal record that has decided it; empty: none has
}

// complete fills in what is not said and refuses what cannot be issued.
func (o Order) complete() (Order, error) {
	if _, err := ParseIdentity(o.Identity.String()); err != nil {
		return o, err
	}
	if o.Lifetime == 0 {
		o.Lifetime = DefaultLifetime
	}
	low, high := MinLifetime, MaxLifetime
	if o.Identity.Role == RoleOperator {
		low, high = OperatorLeast, OperatorLifetime
	}
	if o.Lifetime < low || o.Lifetime > high {
		return o, points.Errorf(points.FormatError, "certs: a certificate of %v lives %v to %v, not %v", o.Identity.Role, low, high, o.Lifetime)
	}
	for _, name := range o.Names {
		if o.Identity.Role != RoleSwitch && o.Identity.Role != RoleIssuer {
			return o, points.Errorf(points.FormatError, "certs: nobody connects to %v; it has no name such as %q", o.Identity, name)
		}
		if net.ParseIP(name) == nil && !isHostName(name) {
			return o, points.Errorf(points.FormatError, "certs: %q is no DNS name and no IP address", name)
		}
	}
	return o, nil
}

func isHostName(name string) bool {
	return name != "" && len(name) <= 253 && name[0] != '.' && name[0] != '-' &&
		strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.") == "" && !strings.Contains(name, "..")
}

// Issued is a certificate that was made: with it the chain that its holder presents.
type Issued struct {
	Certificate *x509.Certificate
	Serial      string
	ChainPEM    []byte // the certificate, then the issuing CA
	KeyPEM      []byte // nil where the holder has made the key
}

// Format is the serial alone.
func (i Issued) Format(state fmt.State, _ rune) {
	_, _ = io.WriteString(state, "certificate "+i.Serial)
}

// LogValue is the serial alone.
func (i Issued) LogValue() slog.Value { return slog.StringValue("certificate " + i.Serial) }

// Issue makes a key and a certificate.
func (a *Authority) Issue(o Order) (*Issued, error) {
	key, err := drawSigner()
	if err != nil {
		return nil, err
	}
	made, err := a.issue(o, key.Public(), nil)
	if err != nil {
		return nil, err
	}
	if made.KeyPEM, err = keyPEM(key, nil); err != nil {
		return nil, err
	}
	return made, nil
}

// Certify makes a certificate of the key in a certificate signing request, as PEM. The
// request proves that its sender has the key; whose the certificate is, o says.
func (a *Authority) Certify(o Order, request []byte) (*Issued, error) {
	public, err := requestedKey(request, o.Identity)
	if err != nil {
		return nil, err
	}
	return a.issue(o, public, nil)
}

// ErrCannotIssue says that the issuing key is not here.
var ErrCannotIssue = errors.New("certs: the key of the issuing CA is not in this folder: nothing can be issued here")

// ErrIssued says that what was decided once was issued already.
var ErrIssued = errors.New("certs: a certificate was issued under this decision already")

// issue signs a certificate and writes it into the register, together with what with
// says there of the same instant; a refusal of with issues nothing.
func (a *Authority) issue(o Order, public crypto.PublicKey, with func() (Order, []event, error)) (*Issued, error) {
	ca, err := a.signing()
	if err != nil {
		return nil, err
	}
	var made *Issued
	err = a.register.write(func() (events []event, err error) {
		if with != nil {
			if o, events, err = with(); err != nil {
				return nil, err
			}
		}
		if o, err = o.complete(); err != nil {
			return nil, err
		}
		if a.register.acts[o.Act] {
			return nil, fmt.Errorf("%w (%s)", ErrIssued, o.Act)
		}
		cert, err := a.certificate(&ca, &o, public)
		if err != nil {
			return nil, err
		}
		made = &Issued{Certificate: cert, Serial: serialText(cert.SerialNumber), ChainPEM: certificatesPEM(cert, ca.Certificate)}
		return append(events, event{
			At: a.clock().Time().UTC(), Event: eventIssued, By: o.By, Act: o.Act, Serial: made.Serial, CA: serialText(ca.SerialNumber),
			Identity: &o.Identity, Names: o.Names, From: &cert.NotBefore, Until: &cert.NotAfter,
		}), nil
	})
	if err != nil {
		return nil, err
	}
	return made, nil
}

func (a *Authority) certificate(ca *issuer, o *Order, public crypto.PublicKey) (*x509.Certificate, error) {
	uri, err := url.Parse(o.Identity.String())
	if err != nil {
		return nil, fmt.Errorf("certs: identity %v: %w", o.Identity, err)
	}
	now := a.clock().Time()
	if !now.Before(ca.NotAfter) {
		return nil, fmt.Errorf("certs: the issuing CA ended at %s; make a new one: lianfen certs init --issuing", ca.NotAfter.Format(time.RFC3339))
	}
	template := &x509.Certificate{
		SerialNumber: newSerial(), Subject: pkix.Name{CommonName: strings.TrimPrefix(o.Identity.String(), identityScheme+"://")},
		NotBefore: now.Add(-backdated), NotAfter: earliest(now.Add(o.Lifetime), ca.NotAfter),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true, URIs: []*url.URL{uri},
	}
	if o.Identity.Role == RoleSwitch || o.Identity.Role == RoleIssuer {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	for _, name := range o.Names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	return sign(template, ca.Certificate, public, ca.key)
}

func sign(template, parent *x509.Certificate, public crypto.PublicKey, key crypto.Signer) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		return nil, fmt.Errorf("certs: sign: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("certs: sign: %w", err)
	}
	return cert, nil
}

// newSerial draws 128 bits. The highest is set, so that all are written in one length.
func newSerial() *big.Int {
	var random [16]byte
	_, _ = rand.Read(random[:]) // Never fails.
	random[0] = random[0]&0x7f | 0x40
	return new(big.Int).SetBytes(random[:])
}

// serialText is a serial as it is shown and looked up: 32 hexadecimal digits.
func serialText(serial *big.Int) string {
	if serial.Sign() < 0 || serial.BitLen() > 160 {
		return "" // Nobody that we know issues such.
	}
	if serial.BitLen() > 128 {
		return hex.EncodeToString(serial.Bytes())
	}
	return hex.EncodeToString(serial.FillBytes(make([]byte, 16)))
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func samePublic(a, b crypto.PublicKey) bool {
	comparable, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && comparable.Equal(b)
}

// own is the file of a certificate that the house itself uses.
func (a *Authority) own(i Identity) string {
	name := strings.NewReplacer("://", "-", "/", "-", "%", "_").Replace(strings.TrimPrefix(i.String(), identityScheme+"://"))
	return filepath.Join(a.dir, ownFolder, name+".pem")
}

// Own returns the file with chain and key of a certificate that the house itself uses:
// that of its doors, an operator's on this machine, a simulated terminal's. It is made
// where there is none, and anew once less than a third of its life is left, its names
// are others, or it was revoked. made tells whether it was.
func (a *Authority) Own(o Order) (path string, made bool, err error) {
	if o, err = o.complete(); err != nil {
		return "", false, err
	}
	path = a.own(o.Identity)
	if a.serves(path, &o) {
		return path, false, nil
	}
	if err := a.register.refresh(); err != nil {
		return "", false, err
	}
	issued, err := a.Issue(o)
	if err != nil {
		return "", false, err
	}
	return path, true, replace(path, slices.Concat(issued.KeyPEM, issued.ChainPEM), 0o600)
}

// serves reports whether what is in the file will do.
func (a *Authority) serves(path string, o *Order) bool {
	pair, err := readPair(path, path)
	if err != nil {
		return false // It is not there, or damaged: a new one mends that.
	}
	leaf := pair.Leaf
	id, err := identityOf(leaf)
	if err != nil || id != o.Identity {
		return false
	}
	if ca, err := a.issuing(); err != nil || leaf.CheckSignatureFrom(ca.Certificate) != nil {
		return false
	}
	var names []string
	names = append(names, leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	wanted := slices.Clone(o.Names)
	slices.Sort(names)
	slices.Sort(wanted)
	left := leaf.NotAfter.Sub(a.clock().Time())
	return slices.Equal(names, wanted) && left > leaf.NotAfter.Sub(leaf.NotBefore)/3 && !a.register.revocations()[serialText(leaf.SerialNumber)]
}

// requestedKey reads a certificate signing request as PEM: it must be signed by the key
// that it is about, and may name no other identity than the one it is for.
func requestedKey(text []byte, who Identity) (crypto.PublicKey, error) {
	refuse := func(format string, args ...any) (crypto.PublicKey, error) {
		return nil, points.Errorf(points.FormatError, "certs: certificate signing request: "+format, args...)
	}
	block, _ := pemDecode(text, pemRequest)
	if block == nil {
		return refuse("no PEM block CERTIFICATE REQUEST")
	}
	request, err := x509.ParseCertificateRequest(block)
	if err != nil {
		return refuse("%w", err)
	}
	if err := request.CheckSignature(); err != nil {
		return refuse("its signature: %w", err)
	}
	for _, uri := range request.URIs {
		if uri.String() != who.String() {
			return refuse("it asks for %q; the code is for %v", uri, who)
		}
	}
	switch key := request.PublicKey.(type) {
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P256() || key.Curve == elliptic.P384() {
			return key, nil
		}
	case ed25519.PublicKey:
		return key, nil
	}
	return refuse("its key is neither ECDSA P-256 or P-384 nor Ed25519")
}

// NewRequest makes a key and a certificate signing request for whoever asks for a
// certificate, both as PEM.
func NewRequest() (request, key []byte, err error) {
	private, err := drawSigner()
	if err != nil {
		return nil, nil, err
	}
	if key, err = keyPEM(private, nil); err != nil {
		return nil, nil, err
	}
	request, err = requestOf(private)
	return request, key, err
}

func requestOf(private crypto.Signer) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, private)
	if err != nil {
		return nil, fmt.Errorf("certs: certificate signing request: %w", err)
	}
	var out bytes.Buffer
	pemEncode(&out, pemRequest, der)
	return out.Bytes(), nil
}
