//go:build unix

package app_test

import (
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/points"
)

// What is no file is refused: a pipe that nobody writes to would keep the comparison waiting,
// and every backup behind it.
func TestReconcileAPipe(t *testing.T) {
	r := newHouse(t).start(t)
	r.load(t, smallTown)
	totals, err := r.client.Totals(t.Context())
	require.NoError(t, err)
	pipe := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o600))
	told := make(chan error, 1)
	go func() {
		_, err := r.client.Reconcile(t.Context(), app.Reconciling{Date: totals.Date, Early: true, Acquirers: []app.PartnerFile{{Member: 20000001, Path: pipe}}})
		told <- err
	}()
	select {
	case err = <-told:
	case <-time.After(20 * time.Second):
		require.Fail(t, "it waits for the pipe")
	}
	require.Equal(t, points.FormatError, points.ReasonOf(err))
	require.ErrorContains(t, err, "no regular file")
	r.stop(t)
}
