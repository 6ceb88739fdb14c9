package certs_test

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/tools"
)

// softHSM is the module of SoftHSM2, where Debian and others put it.
func softHSM(t *testing.T) string {
	t.Helper()
	if !certs.HasPKCS11 {
		t.Skip("built without cgo: no PKCS#11")
	}
	if _, err := exec.LookPath("softhsm2-util"); err != nil {
		tools.Lacking(t, os.Getenv(tools.Variable), "SoftHSM2 is not installed (apt-get install softhsm2): PKCS#11 is not tested")
	}
	for _, path := range []string{"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so"} {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	tools.Lacking(t, os.Getenv(tools.Variable), "SoftHSM2 is installed, but libsofthsm2.so is in none of the usual folders: PKCS#11 is not tested")
	return ""
}

// newToken makes a token with a key-encryption key and a CA's pair of keys, and returns
// the URI up to the name of an object, and its rest.
func newToken(t *testing.T) (before, after string) {
	t.Helper()
	module := softHSM(t)
	dir := t.TempDir()
	tokens := filepath.Join(dir, "tokens")
	require.NoError(t, os.Mkdir(tokens, 0o700))
	conf := filepath.Join(dir, "softhsm2.conf")
	require.NoError(t, os.WriteFile(conf, []byte("directories.tokendir = "+tokens+"\nobjectstore.backend = file\nlog.level = ERROR\n"), 0o600))
	t.Setenv("SOFTHSM2_CONF", conf)
	out, err := exec.CommandContext(t.Context(), "softhsm2-util", "--init-token", "--free", "--label", "lianfen test", "--so-pin", "87654321", "--pin", "24681357").CombinedOutput()
	require.NoError(t, err, string(out))
	pin := filepath.Join(dir, "pin")
	require.NoError(t, os.WriteFile(pin, []byte("24681357\n"), 0o600))
	certs.FillTokenForTest(t, module, "lianfen test", "24681357")
	return "pkcs11:token=lianfen%20test;object=", "?module-path=" + module + "&pin-source=file:" + pin
}

// A keystore opens with the key in the token, which never leaves it, and with no other;
// the CA's key signs in the token.
func TestToken(t *testing.T) {
	before, after := newToken(t)
	kek, err := certs.OpenKEK(before+"kek"+after, rand.Reader)
	require.NoError(t, err)
	s, path := newKeystore(t, kek)
	again, err := certs.OpenKeystore(path, kek, rand.Reader)
	require.NoError(t, err)
	require.Equal(t, infos(s), infos(again))
	require.Equal(t, "token lianfen test object kek", again.KEK())

	other, err := certs.OpenKEK(before+"other"+after, rand.Reader)
	require.NoError(t, err)
	_, err = certs.OpenKeystore(path, other, rand.Reader)
	require.ErrorIs(t, err, certs.ErrOtherKEK)
	_, err = certs.OpenKeystore(path, testKEK(t), rand.Reader)
	require.ErrorIs(t, err, certs.ErrOtherKEK)

	signer, err := certs.OpenTokenSigner(before + "ca" + after)
	require.NoError(t, err)
	digest := sha256.Sum256([]byte("certificate"))
	signature, err := signer.Sign(rand.Reader, digest[:], nil)
	require.NoError(t, err)
	require.True(t, ecdsa.VerifyASN1(signer.Public().(*ecdsa.PublicKey), digest[:], signature))

	_, err = certs.OpenKEK(before+"none"+after, rand.Reader)
	require.ErrorContains(t, err, `none`)
	_, err = certs.OpenTokenSigner(before + "none" + after)
	require.ErrorContains(t, err, `none`)
	_, err = certs.OpenKEK("pkcs11:token=missing;object=kek"+after, rand.Reader)
	require.ErrorContains(t, err, "missing")
	require.NoError(t, signer.Close())
	for _, kek := range []certs.KEK{kek, other} {
		require.NoError(t, kek.(io.Closer).Close())
	}
}

// A URI is read or refused with what is missing; the PIN itself is not taken.
func TestTokenURI(t *testing.T) {
	pin := writeKey(t, "1234")
	for uri, says := range map[string]string{
		"pkcs11:token=a;object=b?module-path=/m": "pin-source is missing",
		"pkcs11:":                                "is missing",
		"pkcs11:token=a;object=b?module-path=/m&pin-value=1234":              "pin-value is not taken",
		"pkcs11:token=a;object=b;color=red?module-path=/m":                   `"color" is not known`,
		"pkcs11:token=%zz;object=b?module-path=/m&pin-source=/p":             "token: invalid URL escape",
		"pkcs11:token=a;object=b?module-path=/m/none.so&pin-source=/no/file": "pkcs11",
	} {
		_, err := certs.OpenKEK(uri, rand.Reader)
		require.ErrorContains(t, err, says)
		_, err = certs.OpenTokenSigner(uri)
		require.ErrorContains(t, err, says)
		require.NotContains(t, err.Error(), "1234")
	}
	if certs.HasPKCS11 {
		require.NoError(t, os.Chmod(pin, 0o644))
		_, err := certs.OpenKEK("pkcs11:token=a;object=b?module-path=/m&pin-source="+pin, rand.Reader)
		require.ErrorContains(t, err, "chmod 600")
	}
}
