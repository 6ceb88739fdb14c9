package main

import (
	"bytes"
	"context"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/internal/config"
)

// lianfen runs a command as a process of its own and returns what it printed and
// its exit status.
func lianfen(t *testing.T, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	return lianfenWith(t, "", args...)
}

// lianfenWith is lianfen with something to read.
func lianfenWith(t *testing.T, stdin string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "lianfen", args...) // This test binary: see TestMain.
	var out, diagnosis bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &diagnosis
	if err := cmd.Run(); err != nil {
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit)
		status = exit.ExitCode()
	}
	return out.String(), diagnosis.String(), status
}

// daemon is a serving process.
type daemon struct {
	dir    string
	cmd    *exec.Cmd
	stderr *bytes.Buffer // read it after the end only
	done   chan error
}

// startDaemon serves a prepared folder. Without being told otherwise it listens on
// free ports.
func startDaemon(t *testing.T, dir string, sets ...string) *daemon {
	return startDaemonOver(t, "off", dir, sets...)
}

// startDaemonOver starts it with tls.mode.
func startDaemonOver(t *testing.T, mode, dir string, sets ...string) *daemon {
	t.Helper()
	args := []string{"serve", "--config", filepath.Join(dir, config.FileName)}
	for _, set := range append([]string{"tls.mode=" + mode, "listeners.pos.address=127.0.0.1:0", "listeners.host.address=127.0.0.1:0", "http.address=127.0.0.1:0"}, sets...) {
		args = append(args, "--set", set)
	}
	d := &daemon{dir: dir, cmd: exec.Command("lianfen", args...), stderr: new(bytes.Buffer), done: make(chan error, 1)}
	d.cmd.Stderr = d.stderr
	require.NoError(t, d.cmd.Start())
	go func() { d.done <- d.cmd.Wait() }()
	t.Cleanup(func() { _ = d.cmd.Process.Kill() }) // A test that failed leaves nobody behind.
	return d
}

func (d *daemon) client() *app.Client { return app.NewClient(filepath.Join(d.dir, "admin.sock")) }

// ready waits until the daemon takes requests.
func (d *daemon) ready(t *testing.T) app.Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s, err := awaitReady(ctx, filepath.Join(d.dir, "admin.sock"))
	if err != nil {
		d.kill(t)
	}
	require.NoError(t, err, "the daemon said:\n%s", d.stderr)
	return s
}

// terminate asks the daemon to stop, and wants exit status 0.
func (d *daemon) terminate(t *testing.T) {
	t.Helper()
	require.NoError(t, d.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, <-d.done, "the daemon said:\n%s", d.stderr)
}

// kill ends the daemon in the middle of whatever it does.
func (d *daemon) kill(t *testing.T) {
	t.Helper()
	require.NoError(t, d.cmd.Process.Kill())
	var exit *exec.ExitError
	require.ErrorAs(t, <-d.done, &exit, "it had ended before")
}

// freeAddress is an address that nobody listens on, for a daemon that has to come
// back at the same one.
func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, ln.Close())
	return ln.Addr().String()
}

// position is the last position of the daemon's journal.
func (d *daemon) position(t *testing.T) uint64 {
	t.Helper()
	s, err := d.client().Status(t.Context())
	require.NoError(t, err)
	return uint64(s.Position)
}
