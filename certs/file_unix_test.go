//go:build unix

package certs_test

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/points"
)

// What is no regular file, or too large a one, is refused before it is read: a pipe is not
// waited for. A link to a file is one, as credentials of a service are.
func TestReadRegular(t *testing.T) {
	dir := t.TempDir()
	file, pipe, link, large := filepath.Join(dir, "file"), filepath.Join(dir, "pipe"), filepath.Join(dir, "link"), filepath.Join(dir, "large")
	require.NoError(t, os.WriteFile(file, []byte("12345678"), 0o600))
	require.NoError(t, os.WriteFile(large, []byte("123456789"), 0o600))
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	require.NoError(t, os.Symlink("file", filepath.Join(dir, "data")))
	require.NoError(t, os.Symlink("data", link))
	for _, path := range []string{file, link} {
		text, err := certs.ReadRegular(path, 8)
		require.NoError(t, err)
		require.Equal(t, "12345678", string(text))
	}
	for path, want := range map[string]string{
		pipe: "is a pipe, a socket or a device, no regular file", dir: "is a folder, no regular file", "/dev/null": "no regular file",
		large: "has 9 bytes, more than the 8", filepath.Join(dir, "none"): "no such file",
	} {
		_, err := certs.ReadRegular(path, 8)
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, path)
	}
	_, err := certs.ReadRegular(pipe, 8)
	require.ErrorIs(t, err, certs.ErrNotRegular)
}

// No reader of keys and certificates waits for a pipe in the place of its file.
func TestKeysFromAPipe(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	_, err := certs.ReadCardKey(pipe)
	require.ErrorIs(t, err, certs.ErrNotRegular)
	_, err = certs.OpenKEK("file:"+pipe, rand.Reader)
	require.ErrorIs(t, err, certs.ErrNotRegular)
	_, err = certs.OpenKeystore(pipe, nil, rand.Reader)
	require.ErrorIs(t, err, certs.ErrNotRegular)
	for _, o := range []certs.GateOptions{{Trust: pipe}, {Trust: os.DevNull, Certificate: pipe}} {
		o.Clock = func() points.Timestamp { return 1 }
		_, err = certs.OpenGate(o)
		require.ErrorIs(t, err, certs.ErrNotRegular)
	}
}
