package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
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

// What an issuer's answer to a swap did to the points is told by whether they moved, not by
// what was asked of it.
func TestStatementTellsHowASwapEnded(t *testing.T) {
	line := app.StatementLine{Kind: book.KindSwapTold, Function: points.SwapCredit, Reserved: -1000}
	words := languages()
	require.Equal(t, []string{"swap given back", "互换退回"}, []string{words[english].did(&line), words[chinese].did(&line)})
	line.Amount = -1000
	require.Equal(t, []string{"swap done", "互换完成"}, []string{words[english].did(&line), words[chinese].did(&line)})
	require.Equal(t, "issuer's answer to a swap", words[english].what(line.Kind, line.Function))
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

// Every group that asks a running switch is for who is signed in, and can ask one elsewhere.
func TestGroupsHaveTheOperatorsFlags(t *testing.T) {
	asked := 0
	for _, group := range newRoot().Commands() {
		if group.PersistentFlags().Lookup("socket") == nil {
			continue
		}
		asked++
		for _, name := range []string{"session", "url", "tls-cert", "tls-key", "tls-ca"} {
			require.NotNil(t, group.PersistentFlags().Lookup(name), "%s --%s", group.Name(), name)
		}
	}
	require.Greater(t, asked, 5)
}

// A long act is cut between its parts, with how many are left out and where they stand.
func TestActsInBrief(t *testing.T) {
	require.Equal(t, "short; and sweet", inBrief("short; and sweet", "7"))
	rules := strings.TrimSuffix(strings.Repeat(strings.Repeat("规", 100)+"; ", 5), "; ")
	brief := inBrief(rules, "000000000007")
	require.Equal(t, strings.Join(strings.Split(rules, "; ")[:2], "; ")+"; and 3 more: lianfen ledger show 000000000007", brief)
	brief = inBrief(strings.Repeat("x", 1000), "000000000007")
	require.Equal(t, strings.Repeat("x", maxBrief)+"…; all of it: lianfen ledger show 000000000007", brief)
	brief = inBrief(strings.Repeat("x", 1000)+"; y", "000000000007")
	require.Contains(t, brief, "…; and 1 more: ")
	require.Less(t, utf8.RuneCountInString(brief), 2*maxBrief)
}

// A language is named with its region or without.
func TestTongues(t *testing.T) {
	for text, want := range map[string]string{"zh": chinese, "zh-CN": chinese, "zh_cn": chinese, "EN": english, "en-GB": english} {
		l := english
		require.NoError(t, (*tongue)(&l).Set(text))
		require.Equal(t, want, l, text)
	}
	for _, text := range []string{"", "fr", "-zh", "zhen"} {
		l := chinese
		require.ErrorContains(t, (*tongue)(&l).Set(text), "want en or zh", text)
		require.Equal(t, chinese, l)
	}
}

// A day from which a key is in force begins where the switch's day does, not the machine's.
func TestKeysBeginInTheZoneOfTheSwitch(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, prepare(filepath.Join(dir, "s")))
	path := filepath.Join(dir, "s", "lianfen.yaml")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, []byte(strings.ReplaceAll(string(text), "time_zone: Asia/Shanghai", "time_zone: Pacific/Auckland")), 0o600))
	at := keysAt{path: filepath.Join(dir, "s", "keys.store")}
	got, err := keyTime("from", "2026-03-02", at.zone(), 0)
	require.NoError(t, err)
	require.Equal(t, time.Date(2026, 3, 1, 11, 0, 0, 0, time.UTC), got.Time().UTC())
}

// A swap is shown in the decimals of its programmes, and of the standard point.
func TestSwapsHaveDecimals(t *testing.T) {
	s := app.SwapState{From: 901, Into: 902, In: 5000, Out: 1234, Bonus: 7, Value: 123456, Fee: 10_000}
	var text strings.Builder
	require.NoError(t, swapTable(&s, scales{901: 2, 902: 0}, time.UTC).write(&text))
	for _, want := range []string{"50.00 of programme 901", "1234 of programme 902", "7 of programme 902", "12.3456 QZP, of that fee 1.0000, cost 0.0000, rest 0.0000"} {
		require.Contains(t, text.String(), want)
	}
}

// Whoever approves nothing hears what to name.
func TestApproveWantsNames(t *testing.T) {
	for _, verb := range []string{"approve", "reject"} {
		_, stderr, status := lianfen(t, "admin", verb)
		require.Equal(t, exitUsage, status)
		require.Contains(t, stderr, "lianfen admin pending lists them")
	}
}
