package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/certify"
)

// The simulated issuer is certified by profile issuer: every case passes, none is
// skipped; and one that misbehaves is not.
func TestCertifyIssuer(t *testing.T) {
	p := startIssuer(t, "--json")
	stdout, stderr, status := lianfen(t, "certify", "--target", p.address, "--profile", "issuer", "--json")
	require.Zero(t, status, "%s%s", stdout, stderr)
	var report certify.Report
	require.NoError(t, json.Unmarshal([]byte(stdout), &report))
	require.Zero(t, report.Failed)
	require.Zero(t, report.Skipped)
	require.GreaterOrEqual(t, report.Passed, 30)
	again, stderr, status := lianfen(t, "certify", "--target", p.address, "--profile", "issuer")
	require.Zero(t, status, "a second run: %s%s", again, stderr)
	p.terminate(t)
}

// What a misbehaving issuer does is found in the report, and the exit status is 1.
func TestCertifyWrongIssuer(t *testing.T) {
	for _, c := range []struct{ faults, found string }{
		{"wrong-amount=100%", `differs  DE4 amount echoed 域4 交易金额原样返回: expected 0+300, got 0+301`},
		{"disconnect=100%", `differs  what comes of it 结果: expected answer, got closed`},
		{"duplicate=100%", `differs  every request is answered once 每个请求仅应答一次: expected one answer, got the answer to step 2 came again`},
	} {
		p := startIssuer(t, "--faults", c.faults)
		stdout, stderr, status := lianfen(t, "certify", "--target", p.address, "--profile", "issuer", "--only", "redeem")
		require.Equal(t, exitFault, status, "%s%s", stdout, stderr)
		require.Regexp(t, c.found, stdout)
		require.Regexp(t, `(?m)^0 cases passed, 1 failed, 0 skipped`, stdout)
		p.terminate(t)
	}
}

// What cannot be understood is exit status 2 and says where; a target that cannot
// be reached is 1.
func TestCertifyUsage(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	typo := write("typo.yaml", "profile: pos\nterminal: {}\n")
	other := write("other.yaml", "profile: issuer\n")
	write("pos-1.yaml", "profile: pos\ntitle: T\ntitle_zh: T\ncases: [{id: a, title: T, title_zh: T, steps: [{send: gamble}]}]\n")
	for _, c := range []struct {
		args   string
		status int
		says   string
	}{
		{"--target 127.0.0.1:1", exitUsage, `--profile must be given`},
		{"--profile pos", exitUsage, "--target or --list must be given"},
		{"--profile pos --target 127.0.0.1:1 --only foo", exitUsage, `--only: certify: no case is called "foo"`},
		{"--profile bank --target 127.0.0.1:1", exitUsage, `profile "bank", want pos or issuer`},
		{"--profile pos --target 127.0.0.1:1 --params " + typo, exitUsage, "typo.yaml: parameters: "},
		{"--profile pos --target 127.0.0.1:1 --params " + typo, exitUsage, `line 2: unknown key "terminal"`},
		{"--profile pos --target 127.0.0.1:1 --params " + other, exitUsage, "it is for profile issuer"},
		{"--profile pos --target 127.0.0.1:1 --params nowhere.yaml", exitUsage, "nowhere.yaml"},
		{"--profile pos --target 127.0.0.1:1 --scripts " + dir, exitUsage, "pos-1.yaml: case a: line 4: step 1: function"},
		{"--profile issuer --target 127.0.0.1:1 --scripts " + dir, exitUsage, "no script of profile issuer"},
		{"--profile pos --target " + freeAddress(t), exitFault, "connection refused"},
	} {
		_, stderr, status := lianfen(t, append([]string{"certify"}, strings.Fields(c.args)...)...)
		require.Equal(t, c.status, status, "%s: %s", c.args, stderr)
		require.Contains(t, stderr, c.says, c.args)
	}
	stdout, _, status := lianfen(t, "certify", "--profile", "pos", "--list")
	require.Zero(t, status)
	require.Regexp(t, `(?m)^    refund-in-parts +Refunds add up .* 部分退货`, stdout)
}

// The commands of docs/certification.md do what it says, in its order, as they
// stand; only the addresses are free ones and what serves runs beside.
func TestCertificationDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/certification.md")
	require.NoError(t, err)
	repository, err := filepath.Abs("../..")
	require.NoError(t, err)
	t.Chdir(t.TempDir())
	for _, path := range []string{dayDirectory, "../../testdata/certification/targets/pos-demo.yaml"} {
		path = filepath.Join(repository, "cmd/lianfen", path)
		inside, err := filepath.Rel(repository, path)
		require.NoError(t, err)
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll(filepath.Dir(inside), 0o700))
		require.NoError(t, os.WriteFile(inside, content, 0o600))
	}
	var d *daemon
	var i *issuerProcess
	addresses := map[string]string{}
	ran := 0
	for _, words := range commandLines(string(text)) {
		switch {
		case words[0] == "cp":
			content, err := os.ReadFile(words[1])
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(words[2], content, 0o600))
		case words[0] != "bin/lianfen":
			require.Fail(t, "a command that this test does not know", "%v", words)
		case words[1] == "serve":
			d = startDaemon(t, "my-switch")
			addresses["127.0.0.1:8583"] = d.ready(t).Listeners["pos"]
		case words[1] == "issuer":
			require.Equal(t, []string{"--listen", "127.0.0.1:8600"}, words[2:4])
			if i != nil {
				i.terminate(t)
			}
			i = startIssuer(t, words[4:]...)
			addresses["127.0.0.1:8600"] = i.address
		default:
			args := words[1:]
			for at, word := range args {
				if free, known := addresses[word]; known {
					args[at] = free
				}
				args[at] = strings.Trim(args[at], "'")
			}
			stdout, stderr, status := lianfen(t, args...)
			require.Zero(t, status, "%v: %s%s", words, stdout, stderr)
		}
		ran++
	}
	require.GreaterOrEqual(t, ran, 8)
	for _, file := range []string{"report.html", "report.xml"} {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Contains(t, string(content), "redeem")
	}
	accounts, _, _ := lianfen(t, "ledger", "balance", "--config", "my-switch/lianfen.yaml", "--member", "1001")
	require.Regexp(t, `1001 +901 `, accounts)
	require.NotNil(t, i)
	i.terminate(t)
	d.terminate(t)
}
