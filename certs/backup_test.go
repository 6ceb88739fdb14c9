package certs_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/certs"
)

// own writes a file that only its owner can read.
func own(t *testing.T, text string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func sealed(t *testing.T, seal *certs.BackupSeal, text []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := seal.To(&out)
	require.NoError(t, err)
	_, err = w.Write(text)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.Bytes()
}

// openAll reads a sealed backup to its end.
func openAll(o *certs.BackupOpener, file []byte) ([]byte, error) {
	r, err := o.From(bytes.NewReader(file))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// What is sealed to recipients is opened by the identity of each and by no other; no
// altered byte and no shorter file is taken for it.
func TestBackupSeal(t *testing.T) {
	first, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	second, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	stranger, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	seal, err := certs.NewBackupSeal([]string{first.Recipient().String(), own(t, "# of the bank\n"+second.Recipient().String()+"\n")})
	require.NoError(t, err)
	text := bytes.Repeat([]byte("journal "), 50)
	file := sealed(t, seal, text)
	require.NotContains(t, string(file), "journal ")
	for _, identity := range []*age.X25519Identity{first, second} {
		opener, err := certs.NewBackupOpener(own(t, "# created\n"+identity.String()+"\n"))
		require.NoError(t, err)
		got, err := openAll(opener, file)
		require.NoError(t, err)
		require.Equal(t, text, got)
	}
	other, err := certs.NewBackupOpener(own(t, stranger.String()))
	require.NoError(t, err)
	_, err = openAll(other, file)
	require.ErrorIs(t, err, certs.ErrBackupKey)

	opener, err := certs.NewBackupOpener(own(t, first.String()))
	require.NoError(t, err)
	for i := range file {
		altered := bytes.Clone(file)
		altered[i] ^= 0x20
		_, err := openAll(opener, altered)
		require.Error(t, err, "byte %d altered", i)
		_, err = openAll(opener, file[:i])
		require.Error(t, err, "cut to %d bytes", i)
	}
	body := bytes.Clone(file)
	body[len(body)-20] ^= 1
	_, err = openAll(opener, body)
	require.ErrorIs(t, err, certs.ErrBackupDamaged)
	_, err = openAll(opener, file[:len(file)-1])
	require.ErrorIs(t, err, certs.ErrBackupDamaged)
	_, err = openAll(opener, append(bytes.Clone(file), 0))
	require.ErrorIs(t, err, certs.ErrBackupDamaged)
	_, err = openAll(opener, []byte("LFJ1 a file of another kind"))
	require.ErrorIs(t, err, certs.ErrNotSealed)
}

// A passphrase opens what it sealed; another does not.
func TestBackupPassphrase(t *testing.T) {
	seal, opener, err := certs.NewBackupPassphrase(own(t, "correct horse battery\n"))
	require.NoError(t, err)
	file := sealed(t, seal, []byte("journal"))
	got, err := openAll(opener, file)
	require.NoError(t, err)
	require.Equal(t, "journal", string(got))
	_, other, err := certs.NewBackupPassphrase(own(t, "correct horse battery staple"))
	require.NoError(t, err)
	_, err = openAll(other, file)
	require.ErrorIs(t, err, certs.ErrBackupKey)
}

// Key files that others can read, and what is no key, are refused with words that tell
// what to do and repeat nothing of a secret.
func TestBackupKeyFiles(t *testing.T) {
	identity, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	secret := identity.String()
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o644} {
		path := own(t, secret)
		require.NoError(t, os.Chmod(path, mode))
		_, err := certs.NewBackupOpener(path)
		require.ErrorContains(t, err, "lets others read it; run: chmod 600", "%v", mode)
		_, _, err = certs.NewBackupPassphrase(path)
		require.ErrorContains(t, err, "lets others read it; run: chmod 600", "%v", mode)
	}
	spoiled := secret[:len(secret)-1] + "!"
	for what, refuse := range map[string]func() error{
		"want a line AGE-SECRET-KEY-1":    func() error { _, err := certs.NewBackupOpener(own(t, spoiled)); return err },
		"a recipient is a public key":     func() error { _, err := certs.NewBackupSeal([]string{secret}); return err },
		"want a line age1":                func() error { _, err := certs.NewBackupSeal([]string{own(t, secret)}); return err },
		"has 5 bytes, want at least 12":   func() error { _, _, err := certs.NewBackupPassphrase(own(t, "short\n")); return err },
		"want age1… or a file of such":    func() error { _, err := certs.NewBackupSeal([]string{"nobody"}); return err },
		"recipient \"age1x\"":             func() error { _, err := certs.NewBackupSeal([]string{"age1x"}); return err },
		"no recipient":                    func() error { _, err := certs.NewBackupSeal(nil); return err },
		"backup identity: open":           func() error { _, err := certs.NewBackupOpener("nothing"); return err },
		"backup passphrase: open nothing": func() error { _, _, err := certs.NewBackupPassphrase("nothing"); return err },
	} {
		err := refuse()
		require.ErrorContains(t, err, what)
		for i := 16; i+8 <= len(secret); i += 8 {
			require.NotContains(t, strings.ToUpper(err.Error()), secret[i:i+8], what)
		}
	}
}
