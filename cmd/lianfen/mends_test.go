package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/ledger/book"
)

// A folder that is no file set, and a file that is none of one, are refused with what a
// set looks like: nothing in them was proved.
func TestVerifyOfNoFileSet(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "README.md"), []byte("read me"), 0o600))
	for _, path := range []string{dir, filepath.Join(dir, "README.md")} {
		stdout, stderr, status := lianfen(t, "settle", "verify", path)
		require.Equal(t, exitUsage, status, stdout)
		require.Contains(t, stderr, "no file")
		require.Contains(t, stderr, "QZ_DET_10000001_A_20260216_01_1of1.txt")
		require.NotContains(t, stdout, "as it must be")
	}
}

// An issuer's host leaves the keystore of a switch alone whose operators change it.
func TestIssuerRefusesGovernedKeystore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.store")
	require.NoError(t, os.WriteFile(app.GovernedBy(path), []byte("admin.sock"), 0o600))
	_, stderr, status := lianfen(t, "issuer", "--listen", "127.0.0.1:0", "--keys", "cmac", "--keystore", path)
	require.Equal(t, exitUsage, status)
	require.Contains(t, stderr, "a switch whose operators change it")
	require.Contains(t, stderr, "a copy")
}

// The kit comes as the acquirer whose terminal begins, not as the first of the directory.
func TestCertifyComesAsTheTerminalsAcquirer(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	t.Setenv("XDG_CACHE_HOME", filepath.Join(t.TempDir(), "cache"))
	require.NoError(t, prepare(dir))
	address := freeAddress(t)
	d := startDaemonOver(t, "mutual", dir, "listeners.pos.address="+address)
	d.ready(t)
	text, err := os.ReadFile(dayDirectory)
	require.NoError(t, err)
	directory, err := app.ReadDirectory(strings.NewReader(strings.ReplaceAll(string(text), ", mac: cmac", "")))
	require.NoError(t, err)
	_, err = d.client().Load(t.Context(), directory)
	require.NoError(t, err)
	scripts, params := filepath.Join(dir, "scripts"), filepath.Join(dir, "params.yaml")
	require.NoError(t, os.Mkdir(scripts, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(scripts, "pos-1.yaml"), []byte(`profile: pos
title: Two acquirers
title_zh: 两家收单
cases:
  - {id: east, title: a, title_zh: a, steps: [{send: sign_on, terminal: main}]}
  - {id: west, title: b, title_zh: b, steps: [{send: sign_on, terminal: west}]}
`), 0o600))
	require.NoError(t, os.WriteFile(params, []byte(`profile: pos
dialect: pos
within: 10s
terminals:
  main: {id: T0000001, merchant: M00000000000001}
  west: {id: T0000006, merchant: M00000000000003}
`), 0o600))
	stdout, stderr, status := lianfen(t, "certify", "--profile", "pos", "--target", address, "--config", filepath.Join(dir, "lianfen.yaml"), "--params", params, "--scripts", scripts)
	require.Zero(t, status, stdout+stderr)
	d.terminate(t)
}

// A member reads of an approved adjustment that it was one, in both languages.
func TestStatementNamesAdjustments(t *testing.T) {
	words := languages()
	require.Equal(t, "adjustment", words[english].what(book.KindAdjust, 0))
	require.Equal(t, "调整", words[chinese].what(book.KindAdjust, 0))
}

// Whoever is signed in sets rules on risk under that name and need not give another.
func TestRiskSetAsksForNoOperator(t *testing.T) {
	var set *cobra.Command
	for _, c := range newRisk().Commands() {
		if c.Name() == "set" {
			set = c
		}
	}
	require.NoError(t, set.ParseFlags([]string{"--file", "r.yaml", "--note", "n"}))
	require.NoError(t, set.ValidateRequiredFlags())
}
