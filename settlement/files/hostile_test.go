//go:build unix

package files

import (
	"bytes"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A set is somebody else's folder. What is no file in it is a breach and is not read, since
// a pipe or a device may never end; a file of nothing but broken lines costs what a report
// holds, and no more.
func TestVerifyHostileFolder(t *testing.T) {
	folder := t.TempDir()
	in := func(name string) string { return filepath.Join(folder, name) }
	verify := func() (r *Report, err error) {
		t.Helper()
		done := make(chan struct{})
		go func() {
			r, err = Verify(os.DirFS(folder), nil, Check{Scale: 4})
			close(done)
		}()
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			require.Fail(t, "verify does not end")
		}
		return r, err
	}
	require.NoError(t, syscall.Mkfifo(in(acquirerFile), 0o600))
	require.NoError(t, os.Symlink("/dev/zero", in("zero")))
	require.NoError(t, os.Symlink("/etc/hostname", in("link")))
	r, err := verify()
	require.NoError(t, err)
	require.Equal(t, uint64(2), r.Broken)
	require.Contains(t, r.Breaches[0].Error(), "no regular file")

	broken := bytes.Repeat([]byte("\n"), 1<<20)
	require.NoError(t, os.WriteFile(in(SumsName), broken, 0o600))
	require.NoError(t, os.WriteFile(in("QZ_NET_10000001_M_20260216_01_1of1.csv"), broken, 0o600))
	r, err = verify()
	require.NoError(t, err)
	require.False(t, r.OK)
	require.Less(t, r.Broken, uint64(3*MaxBreaches))

	require.NoError(t, os.Remove(in(SumsName)))
	require.NoError(t, syscall.Mkfifo(in(SumsName), 0o600))
	_, err = verify()
	require.ErrorIs(t, err, errNoFile)
}
