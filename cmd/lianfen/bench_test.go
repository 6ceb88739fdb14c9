package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/bench"
)

// tiny is a run that is over in seconds and whose figures mean nothing.
var tiny = []string{ //nolint:gochecknoglobals // never written.
	"--quick", "--accounts", "300", "--duration", "40ms", "--conns", "3", "--depth", "8", "--terminals", "5", "--recovery", "500", "--json",
}

// bench auth measures every line, finds every answer in the journal exactly once,
// says so with its exit status, and leaves nothing behind. How fast it was is not
// looked at: the machine may be busy.
func TestBenchAuth(t *testing.T) {
	for _, spoken := range []string{"pos", "host"} {
		t.Setenv("TMPDIR", t.TempDir())
		stdout, stderr, status := lianfen(t, append([]string{"bench", "auth", "--dialect", spoken}, tiny...)...)
		var report bench.Report
		require.NoError(t, json.Unmarshal([]byte(stdout), &report), stdout+stderr)
		require.Equal(t, "auth", report.Command)
		var lines []string
		for _, m := range report.Measurements {
			lines = append(lines, m.Name)
			require.Equal(t, m.PerSecond > 0, m.Latency.P50 > 0, m.Name) // A busy machine may do nothing in so short a window.
			require.LessOrEqual(t, m.Latency.P50, m.Latency.P99, m.Name)
			require.LessOrEqual(t, m.Latency.P99, m.Latency.Max, m.Name)
			require.Equal(t, 3, m.Rounds, m.Name)
			require.Equal(t, strings.HasPrefix(m.Name, "switch"), m.Group > 0, m.Name)
		}
		require.Equal(t, []string{
			"echo of the same frames", "switch, durable", "switch, store off", "switch, durable, one hot account", "echo, terminals",
			"switch, durable, terminals", "disk: append 4 KiB and fsync", "switch, durable, open loop",
		}, lines)

		require.Len(t, report.Checks, 12)
		passed, journal := 0, 0
		for _, c := range report.Checks {
			require.NotEmpty(t, c.Unit, c.Name)
			require.NotEmpty(t, c.Target, c.Name)
			if c.Pass {
				passed++
			}
			if strings.Contains(c.Name, "not in the journal exactly once") || strings.Contains(c.Name, "in the journal, those beyond the answers") {
				require.True(t, c.Pass, "%s: %v", c.Name, c.Value)
				require.NotContains(t, c.Name, "of 0 ")
				journal++
			}
		}
		require.Equal(t, 2, journal)
		if passed == len(report.Checks) {
			require.Zero(t, status, stderr)
		} else {
			require.Equal(t, exitFault, status, stderr)
			require.Contains(t, stderr, "checks fall short")
		}
		left, err := os.ReadDir(os.Getenv("TMPDIR"))
		require.NoError(t, err)
		require.Empty(t, left)
	}
}

// bench remote measures every line, finds every answer in the journal exactly once, and
// leaves no request unanswered and nothing owed while the issuer misbehaves; over mutual TLS
// too, on both sides of the switch.
func TestBenchRemote(t *testing.T) {
	for _, more := range [][]string{nil, {"--tls"}} {
		benchRemote(t, more...)
	}
}

func benchRemote(t *testing.T, more ...string) {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	stdout, stderr, _ := lianfen(t, append([]string{"bench", "remote", "--quick", "--accounts", "300", "--duration", "100ms", "--conns", "3", "--depth", "8", "--rounds", "1", "--json"}, more...)...)
	var report bench.Report
	require.NoError(t, json.Unmarshal([]byte(stdout), &report), stdout+stderr)
	require.Equal(t, "remote", report.Command)
	var lines []string
	for _, m := range report.Measurements {
		lines = append(lines, m.Name) // How many fell into so short a window is the machine's affair.
	}
	require.Equal(t, []string{"echo of the same frames", "switch, remote issuer", "switch, remote issuer, open loop", "switch, issuer that misbehaves"}, lines)
	require.Len(t, report.Checks, 6)
	for _, c := range report.Checks[2:] {
		require.True(t, c.Pass, "%s: %v", c.Name, c.Value)
		require.NotContains(t, c.Name, "of 0 ")
	}
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// The other measurements print their tables, and JSON with the same checks.
func TestBenchOthers(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	for _, c := range []struct {
		args   []string
		lines  []string
		checks int
	}{
		{[]string{"codec", "--duration", "10ms"}, []string{"codec pos: the same by moov", "codec host: the same by moov", "codec pos against moov"}, 3},
		{[]string{"echo", "--quick", "--duration", "20ms", "--terminals", "3"}, []string{"echo of the same frames", "echo, terminals"}, 0},
		{[]string{"ledger", "--duration", "20ms", "--accounts", "200"}, []string{"ledger, 64 clients", "read, modify, write, 1024 clients"}, 7},
		{[]string{"swaps", "--duration", "20ms", "--accounts", "200", "--clients", "16"}, []string{"swap, quoted and executed", "journal alone, as many bytes and groups", "swap, executed"}, 5},
	} {
		stdout, stderr, _ := lianfen(t, append([]string{"bench"}, append(c.args, "--json")...)...)
		var report bench.Report
		require.NoError(t, json.Unmarshal([]byte(stdout), &report), stdout+stderr)
		require.Equal(t, c.args[0], report.Command)
		require.Len(t, report.Checks, c.checks)
		for _, check := range report.Checks {
			require.True(t, check.Pass || !strings.HasPrefix(check.Target, "= 0"), check.Name)
		}
		table, stderr, _ := lianfen(t, append([]string{"bench"}, c.args...)...)
		require.Contains(t, table, "PER SECOND")
		for _, line := range c.lines {
			require.Contains(t, table+stdout, line, stderr)
		}
	}
}

// The exit status is 0 only when every check passes, and what fell short is said in
// the table.
func TestBenchVerdict(t *testing.T) {
	for _, failing := range []bool{false, true} {
		report := &bench.Report{Command: "auth", Checks: []bench.Check{
			{Name: "good", Value: 2, Unit: "times", Target: ">= 1", Pass: true}, {Name: "other", Value: 3, Unit: "times", Target: ">= 4", Pass: !failing},
		}}
		cmd := newBench()
		cmd.SetContext(t.Context())
		var out bytes.Buffer
		cmd.SetOut(&out)
		cmd.SetErr(&out)
		err := measure(cmd, &benchFlags{}, func(context.Context, bench.Progress) (*bench.Report, error) { return report, nil })
		require.Regexp(t, `good +2 +times +>= 1 +pass`, out.String())
		if failing {
			require.ErrorContains(t, err, "bench auth: 1 of 2 checks fall short")
			require.Regexp(t, `other +3 +times +>= 4 +FALLS SHORT`, out.String())
		} else {
			require.NoError(t, err)
			require.NotContains(t, out.String(), "FALLS SHORT")
		}
	}
	broken := errors.New("it came to nothing")
	err := measure(newBench(), &benchFlags{}, func(context.Context, bench.Progress) (*bench.Report, error) { return nil, broken })
	require.ErrorIs(t, err, broken)
}

// What cannot be measured is refused as a mistake of the command line.
func TestBenchRefuses(t *testing.T) {
	for _, args := range []string{
		"auth --dialect iso", "auth --conns 0", "auth --terminals 5001", "auth --depth 5000", "auth --accounts 0", "auth --duration 1ms",
		"auth --rounds 0", "auth --rate -1", "codec --dialect iso", "ledger --accounts 100000000", "generate", "reflect",
		"approve", "attack", "hostile --attackers 0", "hostile --floods 20000", "remote --links 0", "remote --faulty 15", "remote --depth 0",
	} {
		_, stderr, status := lianfen(t, append([]string{"bench"}, strings.Fields(args)...)...)
		require.Equal(t, exitUsage, status, "%s: %s", args, stderr)
	}
	_, stderr, status := lianfen(t, "bench", "auth", "--quick", "--accounts", "10", "--dir", filepath.Join(t.TempDir(), "nowhere"))
	require.Equal(t, exitFault, status)
	require.Contains(t, stderr, "nowhere")
}

// However a measurement ends, the processes that it started end with it.
func TestBenchTakesItsChildrenAlong(t *testing.T) {
	if _, err := os.Stat("/proc/self/cmdline"); err != nil {
		t.Skip("only Linux tells a child that its parent is gone")
	}
	dir := t.TempDir()
	cmd := exec.Command("lianfen", "bench", "auth", "--quick", "--accounts", "300", "--duration", "10s", "--dir", dir)
	require.NoError(t, cmd.Start())
	// The durable switch is the last that names the folder on its command line.
	require.Eventually(t, func() bool { return len(childrenIn(t, dir)) >= 2 }, patience, 10*time.Millisecond)
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	require.Eventually(t, func() bool { return len(childrenIn(t, dir)) == 0 }, patience, 10*time.Millisecond)
}

// childrenIn are the processes that serve a folder below dir.
func childrenIn(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	var found []string
	for _, path := range all {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // It has ended meanwhile.
		}
		line := strings.ReplaceAll(string(text), "\x00", " ")
		if strings.Contains(line, dir) && strings.Contains(line, "--config") {
			found = append(found, line)
		}
	}
	return found
}

// bench hostile lets every way of attacking meet the switch, and no legitimate request is
// declined meanwhile.
func TestBenchHostile(t *testing.T) {
	stdout, stderr, _ := lianfen(t, "bench", "hostile", "--quick", "--accounts", "300", "--duration", "300ms", "--conns", "3", "--depth", "8",
		"--attackers", "40", "--floods", "2", "--rate", "200", "--rounds", "1", "--json")
	var report bench.Report
	require.NoError(t, json.Unmarshal([]byte(stdout), &report), stderr)
	var lines []string
	for _, m := range report.Measurements {
		lines = append(lines, m.Name)
	}
	require.Equal(t, []string{
		"switch, as much as goes", "legitimate, no attack", "legitimate, attacked",
		"switch, as much as goes, in large groups", "1.5 times as much, not shedding", "1.5 times as much, shedding",
	}, lines)
	for _, c := range report.Checks { // Those that do not depend on the machine.
		if c.Target == "= 0" || strings.HasSuffix(c.Name, "over the rate") {
			require.True(t, c.Pass, c.Name)
		}
	}
	notes := strings.Join(report.Notes, "\n")
	for _, way := range []string{"a byte a second", "connect and reset", "flood of valid frames", "half a frame", "malformed frames", "never reads", "nothing at all", "random bytes"} {
		require.Regexp(t, way+" [1-9]", notes)
	}
	require.Regexp(t, "over the rate of [0-9]+ a second and connection [1-9]", notes)
}

// bench settle settles a day, finds every item of a journal once in both passes, and has
// no set in which settle verify finds something.
func TestBenchSettle(t *testing.T) {
	report := quickBench(t, "settle", "--items", "2000", "--members", "6", "--journal", "2400")
	require.Len(t, report.Checks, 11)
	for _, c := range report.Checks {
		if strings.HasSuffix(c.Unit, "s") && c.Target == "= 0" {
			require.True(t, c.Pass, "%s: %v", c.Name, c.Value)
		}
	}
}

// bench recon finds every fault that it plants once, in its class, and nothing else.
func TestBenchRecon(t *testing.T) {
	report := quickBench(t, "recon", "--lines", "3000", "--members", "6", "--faults", "20")
	counts := 0
	for _, c := range report.Checks {
		if c.Target == "= 0" {
			require.True(t, c.Pass, "%s: %v", c.Name, c.Value)
			counts++
		}
	}
	require.GreaterOrEqual(t, counts, 7)
}

// bench night settles a cycle beside an open loop, and finds every answer in the journal.
func TestBenchNight(t *testing.T) {
	report := quickBench(t, "night", "--duration", "60ms", "--rounds", "1", "--conns", "3", "--depth", "8", "--accounts", "300", "--items", "500")
	require.Len(t, report.Measurements, 2)
	for _, c := range report.Checks {
		if c.Target == "= 0" {
			require.True(t, c.Pass, "%s: %v", c.Name, c.Value)
		}
	}
	require.Regexp(t, "^[1-9][0-9]* runs to CHECKED, of 500 items and more", report.Notes[0])
}

// quickBench is the report of a short run, which leaves nothing behind. How fast it was is
// not looked at.
func quickBench(t *testing.T, args ...string) (report bench.Report) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	stdout, stderr, _ := lianfen(t, append([]string{"bench"}, append(args, "--quick", "--json")...)...)
	require.NoError(t, json.Unmarshal([]byte(stdout), &report), stdout+stderr)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
	return report
}
