package main

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// prGetDumpable is an option of prctl(2).
const prGetDumpable = 3

// dumps tells whether the kernel would write the process's memory out, and up to which
// size.
func dumps() (dumpable bool, limit uint64, err error) {
	var core syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_CORE, &core); err != nil {
		return false, 0, fmt.Errorf("limit of core dumps: %w", err)
	}
	is, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, prGetDumpable, 0, 0)
	if errno != 0 {
		return false, 0, fmt.Errorf("whether there are core dumps: %w", errno)
	}
	return is != 0, core.Max, nil
}

// sayDumps is a process that forbids core dumps and says what the kernel thinks of it.
func sayDumps() {
	before, _, err := dumps()
	if err := firstError(err, forbidDumps()); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	after, limit, err := dumps()
	fmt.Println(before, after, limit, err)
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// A process that forbids core dumps has none, by either of the kernel's two ways.
func TestForbidDumps(t *testing.T) {
	said, err := exec.CommandContext(t.Context(), "say-dumps").CombinedOutput()
	require.NoError(t, err, "%s", said)
	require.Equal(t, "true false 0 <nil>\n", string(said))
}

// A serving switch leaves no core dump when it crashes, unless the configuration asks
// for them; the limit is the one that it was started with then.
func TestServeLeavesNoCoreDump(t *testing.T) {
	var mine syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_CORE, &mine))
	for _, asked := range []bool{false, true} {
		dir := filepath.Join(t.TempDir(), "s")
		require.NoError(t, prepare(dir))
		d := startDaemon(t, dir, fmt.Sprintf("core_dumps=%t", asked))
		d.ready(t)
		limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", d.cmd.Process.Pid))
		require.NoError(t, err)
		var core []string
		for line := range strings.Lines(string(limits)) {
			if rest, ok := strings.CutPrefix(line, "Max core file size"); ok {
				core = strings.Fields(rest)[:2]
			}
		}
		if asked {
			want := fmt.Sprint(mine.Max)
			if mine.Max == ^uint64(0) {
				want = "unlimited"
			}
			require.Equal(t, want, core[1])
		} else {
			require.Equal(t, []string{"0", "0"}, core)
		}
		d.terminate(t)
	}
}

// Whatever a switch, a backup, a restore and a change of the card key write is their
// owner's alone, whatever the shell's umask lets others do.
func TestFilesAreTheirOwnersAlone(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	root := t.TempDir()
	at := func(name string) string { return filepath.Join(root, name) }
	do := func(args ...string) {
		stdout, stderr, status := lianfen(t, args...)
		require.Zero(t, status, "%v: %s%s", args, stdout, stderr)
	}
	require.NoError(t, os.WriteFile(at("passphrase"), []byte("correct horse battery"), 0o600))
	do("demo", "--data", at("day"))
	d := startDaemon(t, at("day"))
	d.ready(t)
	configuration := filepath.Join(at("day"), "lianfen.yaml")
	do("ledger", "backup", at("backup"), "--config", configuration)
	do("ledger", "backup", at("backup.age"), "--config", configuration, "--passphrase-file", at("passphrase"))
	do("ledger", "export", "--config", configuration, "--from", "2020-01-01", "--to", "2099-12-31", "--output", at("export"))
	d.terminate(t)
	do("ledger", "restore", "--from", at("backup"), "--data", at("restored"))
	do("ledger", "retoken", "--from", at("backup"), "--data", at("rekeyed"), "--card-key", filepath.Join(at("day"), "card.key"), "--new-card-key", at("new.key"))
	do("init", at("new"))
	count := 0
	require.NoError(t, filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		if entry.Type()&fs.ModeSymlink != 0 {
			return nil // It has no mode of its own.
		}
		info, err := entry.Info()
		require.NoError(t, err)
		if filepath.Ext(path) == ".crt" {
			require.Zero(t, info.Mode().Perm()&0o133, "%s has mode %v", path, info.Mode()) // A certificate is for everybody to read.
			return nil
		}
		require.Zero(t, info.Mode().Perm()&0o077, "%s has mode %v", path, info.Mode())
		count++
		return nil
	}))
	require.Greater(t, count, 40)
}

// A store or a card key that others can read stops the start, with the command that
// mends it.
func TestServeRefusesWhatOthersCanRead(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	require.NoError(t, prepare(dir))
	serve := []string{
		"serve", "--config", filepath.Join(dir, "lianfen.yaml"), "--set", "listeners.pos.address=127.0.0.1:0",
		"--set", "listeners.host.address=127.0.0.1:0", "--set", "http.address=127.0.0.1:0",
	}
	for name, mode := range map[string]os.FileMode{"card.key": 0o640, "store": 0o750} {
		path := filepath.Join(dir, name)
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.NoError(t, os.Chmod(path, mode))
		_, stderr, status := lianfen(t, serve...)
		require.Equal(t, exitFault, status)
		require.Contains(t, stderr, "lets others")
		require.Contains(t, stderr, fmt.Sprintf("run: chmod %o %s", info.Mode().Perm(), path))
		require.NoError(t, os.Chmod(path, info.Mode().Perm()))
	}
}
