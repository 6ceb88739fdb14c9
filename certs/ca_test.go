package certs_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/points"
)

var passphrase = []byte("a passphrase for tests")

// clock is a time that a test moves.
type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := new(clock)
	c.at.Store(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).UnixMicro())
	return c
}

func (c *clock) now() points.Timestamp { return points.TimestampOf(time.UnixMicro(c.at.Load())) }
func (c *clock) move(d time.Duration)  { c.at.Add(d.Microseconds()) }

// authority is one of another scheme than the one of authorityIn.
func (c *clock) authority(t testing.TB) *certs.Authority {
	t.Helper()
	return c.copied(t, other, t.TempDir())
}

func (c *clock) authorityIn(t testing.TB, dir string) *certs.Authority {
	t.Helper()
	return c.copied(t, ours, dir)
}

// Two authorities of newClock's time, made once, as sealing a key takes a while.
var (
	ours  = sync.OnceValues(fresh)
	other = sync.OnceValues(fresh)
)

func fresh() (_ fs.FS, err error) {
	dir, err := os.MkdirTemp("", "lianfen-ca-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if _, err := certs.CreateAuthority(dir, "test", passphrase, newClock().now); err != nil {
		return nil, err
	}
	files := fstest.MapFS{}
	for _, name := range []string{"root.crt", "root.key", "trust.crt", "issuing.crt", "issuing.key", "register"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		files[name] = &fstest.MapFile{Data: text, Mode: 0o600}
	}
	files["own"] = &fstest.MapFile{Mode: fs.ModeDir | 0o700}
	return files, nil
}

func (c *clock) copied(t testing.TB, made func() (fs.FS, error), dir string) *certs.Authority {
	t.Helper()
	files, err := made()
	require.NoError(t, err)
	require.NoError(t, os.CopyFS(dir, files))
	for _, name := range []string{"root.key", "issuing.key"} {
		require.NoError(t, os.Chmod(filepath.Join(dir, name), 0o600))
	}
	a, err := certs.OpenAuthority(dir, c.now)
	require.NoError(t, err)
	return a
}

func chain(t *testing.T, a *certs.Authority) []byte {
	t.Helper()
	text, err := a.Chain()
	require.NoError(t, err)
	return text
}

func terminal(t *testing.T, acquirer points.AcquirerID, id string) certs.Identity {
	t.Helper()
	text, err := points.ParseTerminalID(id)
	require.NoError(t, err)
	return certs.TerminalIdentity(acquirer, text)
}

// An identity has one spelling; every other, and everything that is no identity, is
// refused.
func TestIdentitySpelling(t *testing.T) {
	for _, text := range []string{
		"lianfen://acquirer/20000001", "lianfen://acquirer/1/terminal/T1", "lianfen://acquirer/1/terminal/A%20B",
		"lianfen://acquirer/1/terminal/A%2FB", "lianfen://issuer/99999999999", "lianfen://operator/li.lei@example.com", "lianfen://switch/a-1",
	} {
		i, err := certs.ParseIdentity(text)
		require.NoError(t, err)
		require.Equal(t, text, i.String())
	}
	for _, text := range []string{
		"", "lianfen://", "lianfen://acquirer/", "lianfen://acquirer/01", "lianfen://acquirer/+1", "lianfen://acquirer/0", "lianfen://acquirer/100000000000",
		"lianfen://acquirer/1/", "lianfen://acquirer/1/terminal/", "lianfen://acquirer/1/terminal/123456789", "lianfen://acquirer/1/terminal/A%20",
		"lianfen://acquirer/1/terminal/%41", "lianfen://acquirer/1/till/T1", "lianfen://acquirer/1/terminal/T1?x=1", "lianfen://acquirer/1/terminal/T1#x",
		"https://acquirer/1", "LIANFEN://acquirer/1", "lianfen://Acquirer/1", "lianfen://operator/..", "lianfen://operator/a%2Fb", "lianfen://operator/a b",
		"lianfen://operator/" + strings.Repeat("a", 33), "lianfen://operator/\u4eba", "lianfen://acquirer:80/1", "lianfen://x@acquirer/1", "lianfen://member/1",
	} {
		_, err := certs.ParseIdentity(text)
		require.Error(t, err, "%q", text)
		require.Equal(t, points.FormatError, points.ReasonOf(err))
	}
}

// The authority issues what it was asked for, and the register has it after a restart.
func TestIssue(t *testing.T) {
	c := newClock()
	dir := t.TempDir()
	a := c.authorityIn(t, dir)
	made, err := a.Issue(certs.Order{Identity: certs.IssuerIdentity(7), Names: []string{"host.example", "10.0.0.1"}, By: "wang"})
	require.NoError(t, err)
	cert := made.Certificate
	require.Equal(t, "lianfen://issuer/7", cert.URIs[0].String())
	require.Equal(t, []string{"host.example"}, cert.DNSNames)
	require.Equal(t, "10.0.0.1", cert.IPAddresses[0].String())
	require.Equal(t, c.now().Time().Add(certs.DefaultLifetime).Unix(), cert.NotAfter.Unix())
	require.Equal(t, 127, cert.SerialNumber.BitLen())
	require.False(t, cert.IsCA)
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(a.Trust()))
	between := x509.NewCertPool()
	require.True(t, between.AppendCertsFromPEM(chain(t, a)))
	_, err = cert.Verify(x509.VerifyOptions{Roots: pool, Intermediates: between, CurrentTime: c.now().Time(), DNSName: "host.example"})
	require.NoError(t, err)

	again, err := certs.OpenAuthority(dir, c.now)
	require.NoError(t, err)
	list, err := again.List()
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, made.Serial, list[0].Serial)
	require.Equal(t, certs.StateValid, list[0].State)
	require.InDelta(t, 30, list[0].DaysLeft, 0.01)
	require.Equal(t, "wang", list[0].By)
	c.move(31 * 24 * time.Hour)
	list, err = again.List()
	require.NoError(t, err)
	require.Equal(t, certs.StateExpired, list[0].State)
}

// What no certificate is to be is refused, and nothing is written.
func TestIssueRefuses(t *testing.T) {
	a := newClock().authority(t)
	for name, o := range map[string]certs.Order{
		"no identity":       {},
		"bad name":          {Identity: certs.OperatorIdentity("a/b")},
		"too short":         {Identity: certs.AcquirerIdentity(1), Lifetime: time.Minute},
		"too long":          {Identity: certs.AcquirerIdentity(1), Lifetime: 400 * 24 * time.Hour},
		"operator too long": {Identity: certs.OperatorIdentity("li"), Lifetime: 31 * 24 * time.Hour},
		"operator short":    {Identity: certs.OperatorIdentity("li"), Lifetime: time.Hour},
		"name of a client":  {Identity: certs.AcquirerIdentity(1), Names: []string{"example.com"}},
		"no name":           {Identity: certs.IssuerIdentity(1), Names: []string{"a b"}},
	} {
		_, err := a.Issue(o)
		require.Error(t, err, name)
	}
	list, err := a.List()
	require.NoError(t, err)
	require.Empty(t, list)
}

// The root's key is sealed; without its passphrase there is no new issuing CA, and
// without the key in the folder everything else goes on.
func TestRootKeyIsKeptElsewhere(t *testing.T) {
	c := newClock()
	dir := t.TempDir()
	a := c.authorityIn(t, dir)
	text, err := os.ReadFile(filepath.Join(dir, "root.key"))
	require.NoError(t, err)
	block, _ := pem.Decode(text)
	require.Equal(t, "ENCRYPTED PRIVATE KEY", block.Type)

	away := filepath.Join(t.TempDir(), "root.key")
	require.NoError(t, a.ExportRootKey(away, true))
	require.NoFileExists(t, filepath.Join(dir, "root.key"))
	require.ErrorIs(t, certs.RenewIssuing(dir, away, []byte("another passphrase"), c.now), certs.ErrPassphrase)
	before, err := a.Issue(certs.Order{Identity: certs.AcquirerIdentity(1)})
	require.NoError(t, err)
	require.NoError(t, certs.RenewIssuing(dir, away, passphrase, c.now))
	after, err := a.Issue(certs.Order{Identity: certs.AcquirerIdentity(1)})
	require.NoError(t, err)
	require.NotEqual(t, before.Certificate.Issuer.CommonName, after.Certificate.Issuer.CommonName)

	stranger := c.authority(t)
	wrong := filepath.Join(t.TempDir(), "root.key")
	require.NoError(t, stranger.ExportRootKey(wrong, false))
	require.ErrorContains(t, certs.RenewIssuing(dir, wrong, passphrase, c.now), "not the key of the root")
	require.ErrorContains(t, a.ExportRootKey(wrong, true), "root.key")
}

// A key that others can read is refused, and one that is not there issues nothing.
func TestIssuingKey(t *testing.T) {
	c := newClock()
	dir := t.TempDir()
	c.authorityIn(t, dir)
	key := filepath.Join(dir, "issuing.key")
	require.NoError(t, os.Chmod(key, 0o640))
	_, err := certs.OpenAuthority(dir, c.now)
	require.ErrorContains(t, err, "chmod 600")
	require.NoError(t, os.Remove(key))
	a, err := certs.OpenAuthority(dir, c.now)
	require.NoError(t, err)
	_, err = a.Issue(certs.Order{Identity: certs.AcquirerIdentity(1)})
	require.ErrorIs(t, err, certs.ErrCannotIssue)
	_, err = certs.CreateAuthority(dir, "test", passphrase, c.now)
	require.ErrorContains(t, err, "nothing was changed")
	_, err = certs.CreateAuthority(t.TempDir(), "test", passphrase[:11], c.now)
	require.ErrorContains(t, err, "a passphrase of 11 characters")
}

// The issuing key's file holds the certificate of that key, or nothing is issued by it.
func TestIssuingKeyOfAnother(t *testing.T) {
	c := newClock()
	dir, strange := t.TempDir(), t.TempDir()
	c.authorityIn(t, dir)
	c.copied(t, other, strange)
	ours, err := os.ReadFile(filepath.Join(dir, "issuing.crt"))
	require.NoError(t, err)
	theirs, err := os.ReadFile(filepath.Join(strange, "issuing.key"))
	require.NoError(t, err)
	_, rest := pem.Decode(theirs)
	mixed := append(theirs[:len(theirs)-len(rest):len(theirs)-len(rest)], ours...)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "issuing.key"), mixed, 0o600))
	_, err = certs.OpenAuthority(dir, c.now)
	require.ErrorContains(t, err, "do not belong together")
}

// A certificate does not outlive what it stands on: the issuing CA, and that the root. An
// issuing CA makes no CA, and issues nothing once it is over.
func TestNothingOutlivesItsIssuer(t *testing.T) {
	c := newClock()
	dir := t.TempDir()
	a := c.authorityIn(t, dir)
	issuing := func() *x509.Certificate {
		block, _ := pem.Decode(chain(t, a))
		ca, err := x509.ParseCertificate(block.Bytes)
		require.NoError(t, err)
		return ca
	}
	require.True(t, issuing().MaxPathLenZero)
	day := 24 * time.Hour
	c.move(2*365*day - 10*day)
	made, err := a.Issue(certs.Order{Identity: certs.AcquirerIdentity(1)})
	require.NoError(t, err)
	require.Equal(t, issuing().NotAfter, made.Certificate.NotAfter)
	c.move(11 * day)
	_, err = a.Issue(certs.Order{Identity: certs.AcquirerIdentity(1)})
	require.ErrorContains(t, err, "lianfen certs init --issuing")
	c.move(7 * 365 * day)
	require.NoError(t, certs.RenewIssuing(dir, filepath.Join(dir, "root.key"), passphrase, c.now))
	block, _ := pem.Decode(a.Trust())
	root, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	require.Equal(t, root.NotAfter, issuing().NotAfter)
}

// A request is for who asks, and of a key that is strong enough.
func TestRequestsRefused(t *testing.T) {
	request := func(template *x509.CertificateRequest, key any) []byte {
		der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
		require.NoError(t, err)
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	}
	named := func(who certs.Identity) *x509.CertificateRequest {
		uri, err := url.Parse(who.String())
		require.NoError(t, err)
		return &x509.CertificateRequest{URIs: []*url.URL{uri}}
	}
	good, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	weak, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	require.NoError(t, err)
	who := certs.AcquirerIdentity(1)
	_, err = certs.RequestedKeyForTest(request(named(who), good), who)
	require.NoError(t, err)
	_, err = certs.RequestedKeyForTest(request(named(certs.AcquirerIdentity(2)), good), who)
	require.ErrorContains(t, err, "it asks for")
	_, err = certs.RequestedKeyForTest(request(&x509.CertificateRequest{}, weak), who)
	require.ErrorContains(t, err, "neither")
}

// The list of revoked certificates is that of the CA that signs it, and has what another
// process has revoked.
func TestRevokedOfThisIssuer(t *testing.T) {
	c := newClock()
	dir := t.TempDir()
	a := c.authorityIn(t, dir)
	revoked := func() int {
		der, err := a.CRL()
		require.NoError(t, err)
		list, err := x509.ParseRevocationList(der)
		require.NoError(t, err)
		return len(list.RevokedCertificateEntries)
	}
	made, err := a.Issue(certs.Order{Identity: certs.AcquirerIdentity(1)})
	require.NoError(t, err)
	elsewhere, err := certs.OpenAuthority(dir, c.now)
	require.NoError(t, err)
	_, err = elsewhere.Revoke(certs.Revocation{Serial: made.Serial})
	require.NoError(t, err)
	require.Equal(t, 1, revoked())
	require.NoError(t, certs.RenewIssuing(dir, filepath.Join(dir, "root.key"), passphrase, c.now))
	require.Zero(t, revoked())
	_, err = a.Issue(certs.Order{Identity: certs.AcquirerIdentity(1)})
	require.NoError(t, err)
	c.move(31 * 24 * time.Hour)
	_, err = a.Revoke(certs.Revocation{Identity: certs.AcquirerIdentity(1)})
	require.ErrorContains(t, err, "or over")
}

// Half a line is of a writer that died; a line that is wrong, or a register that has
// become shorter, is refused.
func TestRegisterDamage(t *testing.T) {
	c := newClock()
	dir := t.TempDir()
	a := c.authorityIn(t, dir)
	made, err := a.Issue(certs.Order{Identity: certs.AcquirerIdentity(1)})
	require.NoError(t, err)
	path := filepath.Join(dir, "register")
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	half := strings.Repeat(strings.TrimSpace(string(whole)), 3) // More than what is written over it.
	require.NoError(t, os.WriteFile(path, append(slices.Clip(whole), half...), 0o600))
	again, err := certs.OpenAuthority(dir, c.now)
	require.NoError(t, err)
	_, err = again.Revoke(certs.Revocation{Serial: made.Serial})
	require.NoError(t, err)
	list, err := a.List()
	require.NoError(t, err)
	require.Equal(t, certs.StateRevoked, list[0].State)
	again, err = certs.OpenAuthority(dir, c.now)
	require.NoError(t, err)
	_, err = again.Issue(certs.Order{Identity: certs.AcquirerIdentity(1)})
	require.NoError(t, err)
	rest, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, 3, strings.Count(string(rest), "\n"))
	require.NotContains(t, string(rest), "}{")

	require.NoError(t, os.WriteFile(path, append([]byte("{}\n"), whole...), 0o600))
	_, err = certs.OpenAuthority(dir, c.now)
	require.ErrorContains(t, err, "line 1")
	require.NoError(t, os.WriteFile(path, append(whole, whole...), 0o600))
	_, err = certs.OpenAuthority(dir, c.now)
	require.ErrorContains(t, err, "a second time")
	require.NoError(t, os.WriteFile(path, []byte(`{"at":"2026-03-01T12:00:00Z","event":"revoked","serial":"07"}`+"\n"), 0o600))
	_, err = certs.OpenAuthority(dir, c.now)
	require.ErrorContains(t, err, "never issued")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	_, err = a.List()
	require.ErrorContains(t, err, "shorter")
}

// Revoking is for one serial or for all that an identity has, once; the list for others
// names what is revoked and not over.
func TestRevoke(t *testing.T) {
	c := newClock()
	dir := t.TempDir()
	a := c.authorityIn(t, dir)
	var serials []string
	for range 3 {
		made, err := a.Issue(certs.Order{Identity: terminal(t, 1, "T1")})
		require.NoError(t, err)
		serials = append(serials, made.Serial)
	}
	_, err := a.Issue(certs.Order{Identity: terminal(t, 1, "T2")})
	require.NoError(t, err)
	got, err := a.Revoke(certs.Revocation{Serial: strings.ToUpper(serials[0]), Reason: "stolen"})
	require.NoError(t, err)
	require.Equal(t, serials[:1], got)
	_, err = a.Revoke(certs.Revocation{Serial: serials[0]})
	require.ErrorContains(t, err, "already")
	got, err = a.Revoke(certs.Revocation{Identity: terminal(t, 1, "T1")})
	require.NoError(t, err)
	require.Equal(t, serials[1:], got)
	_, err = a.Revoke(certs.Revocation{Serial: "00"})
	require.ErrorContains(t, err, "no certificate with serial")
	_, err = a.Revoke(certs.Revocation{Identity: certs.AcquirerIdentity(2)})
	require.ErrorContains(t, err, "no certificate of")

	text, err := os.ReadFile(filepath.Join(dir, "revoked.crl"))
	require.NoError(t, err)
	block, _ := pem.Decode(text)
	list, err := x509.ParseRevocationList(block.Bytes)
	require.NoError(t, err)
	require.Len(t, list.RevokedCertificateEntries, 3)
	issuing, _ := pem.Decode(chain(t, a))
	ca, err := x509.ParseCertificate(issuing.Bytes)
	require.NoError(t, err)
	require.NoError(t, list.CheckSignatureFrom(ca))
	c.move(31 * 24 * time.Hour)
	der, err := a.CRL()
	require.NoError(t, err)
	list, err = x509.ParseRevocationList(der)
	require.NoError(t, err)
	require.Empty(t, list.RevokedCertificateEntries)
}

// Several processes issue at the same time and nothing is lost.
func TestSeveralWriters(t *testing.T) {
	c := newClock()
	dir := t.TempDir()
	a := c.authorityIn(t, dir)
	const writers, each = 4, 10
	var all sync.WaitGroup
	failed := make(chan error, writers)
	for range writers {
		all.Go(func() {
			mine, err := certs.OpenAuthority(dir, c.now)
			for range each {
				if err == nil {
					_, err = mine.Issue(certs.Order{Identity: certs.AcquirerIdentity(1)})
				}
			}
			failed <- err
		})
	}
	all.Wait()
	for range writers {
		require.NoError(t, <-failed)
	}
	list, err := a.List()
	require.NoError(t, err)
	require.Len(t, list, writers*each)
}

// A code is good once, for whom it was made, until it is over; what cannot be certified
// leaves it as it was, and the folder never has it in clear.
func TestEnrol(t *testing.T) {
	c := newClock()
	dir := t.TempDir()
	a := c.authorityIn(t, dir)
	who := terminal(t, 20000001, "T0000001")
	code, until, err := a.NewCode(certs.Order{Identity: who, By: "li"}, time.Hour)
	require.NoError(t, err)
	require.Equal(t, c.now().Time().Add(time.Hour).Unix(), until.Unix())
	text, err := os.ReadFile(filepath.Join(dir, "register"))
	require.NoError(t, err)
	require.NotContains(t, string(text), code)
	require.NotContains(t, string(text), strings.ReplaceAll(code, "-", ""))

	request, _, err := certs.NewRequest()
	require.NoError(t, err)
	_, err = a.Enrol("0000-0000-0000-0000", request)
	require.ErrorIs(t, err, certs.ErrCode)
	_, err = a.Enrol(code, []byte("nonsense"))
	require.Equal(t, points.FormatError, points.ReasonOf(err))
	block, _ := pem.Decode(request)
	block.Bytes[len(block.Bytes)-1] ^= 1 // The proof that its sender has the key.
	_, err = a.Enrol(code, pem.EncodeToMemory(block))
	require.Error(t, err)

	made, err := a.Enrol(strings.ToLower(strings.ReplaceAll(code, "-", " ")), request)
	require.NoError(t, err)
	require.Equal(t, who.String(), made.Certificate.URIs[0].String())
	require.Nil(t, made.KeyPEM)
	_, err = a.Enrol(code, request)
	require.ErrorIs(t, err, certs.ErrCode)

	late, _, err := a.NewCode(certs.Order{Identity: who}, time.Hour)
	require.NoError(t, err)
	c.move(time.Hour)
	_, err = a.Enrol(late, request)
	require.ErrorIs(t, err, certs.ErrCode)
	_, _, err = a.NewCode(certs.Order{Identity: who}, 15*24*time.Hour)
	require.Error(t, err)
}

// However many ask with one code at the same time, by whatever process: one gets a
// certificate.
func TestCodeIsGoodOnce(t *testing.T) {
	c := newClock()
	dir := t.TempDir()
	a := c.authorityIn(t, dir)
	code, _, err := a.NewCode(certs.Order{Identity: certs.AcquirerIdentity(1)}, time.Hour)
	require.NoError(t, err)
	request, _, err := certs.NewRequest()
	require.NoError(t, err)
	var good atomic.Int32
	var all sync.WaitGroup
	begin := make(chan struct{}) // So that all have looked before the first has written.
	for range 8 {
		mine, err := certs.OpenAuthority(dir, c.now)
		require.NoError(t, err)
		all.Go(func() {
			<-begin
			if _, err := mine.Enrol(code, request); err == nil {
				good.Add(1)
			}
		})
	}
	close(begin)
	all.Wait()
	require.EqualValues(t, 1, good.Load())
	list, err := a.List()
	require.NoError(t, err)
	require.Len(t, list, 1)
}

// What the house itself uses is made once, and anew when its end is near, its names
// change, its file is damaged, or it was revoked.
func TestOwn(t *testing.T) {
	c := newClock()
	dir := t.TempDir()
	a := c.authorityIn(t, dir)
	o := certs.Order{Identity: certs.SwitchIdentity("lianfen"), Names: []string{"localhost", "127.0.0.1"}}
	own := func(want bool) string {
		t.Helper()
		path, made, err := a.Own(o)
		require.NoError(t, err)
		require.Equal(t, want, made)
		return path
	}
	path := own(true)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.EqualValues(t, 0o600, info.Mode().Perm())
	own(false)
	c.move(19 * 24 * time.Hour)
	own(false)
	c.move(2 * 24 * time.Hour)
	own(true)
	o.Names = []string{"localhost"}
	own(true)
	own(false)
	require.NoError(t, os.WriteFile(path, []byte("nothing"), 0o600))
	own(true)
	_, err = a.Revoke(certs.Revocation{Identity: o.Identity})
	require.NoError(t, err)
	own(true)
	own(false)
	another, _, err := a.Own(certs.Order{Identity: certs.SwitchIdentity("another"), Names: o.Names})
	require.NoError(t, err)
	text, err := os.ReadFile(another)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, text, 0o600))
	own(true)
	require.NoError(t, certs.RenewIssuing(dir, filepath.Join(dir, "root.key"), passphrase, c.now))
	own(true)
	own(false)
}

// A passphrase file is for its owner's eyes, and its first line is long enough.
func TestReadPassphrase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "p")
	for content, good := range map[string]bool{"": false, "short\n": false, "long enough to do\nmore\n": true, "without an end of line": true} {
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		got, err := certs.ReadPassphrase(path)
		require.Equal(t, good, err == nil, content)
		if good {
			first, _, _ := strings.Cut(content, "\n")
			require.Equal(t, first, string(got))
		}
	}
	require.NoError(t, os.Chmod(path, 0o644))
	_, err := certs.ReadPassphrase(path)
	require.ErrorContains(t, err, fmt.Sprintf("chmod 600 %s", path))
}
