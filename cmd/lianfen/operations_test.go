package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// untold takes out of what a command prints all that is another each day: times, dates, RRNs and
// identities of exceptions, and where the demonstration lies.
func untold(text string) string {
	for _, of := range []struct{ pattern, by string }{
		{`\d{4}-\d\d-\d\dT[\d:.]+[+-]\d\d:\d\d`, "TIME"},
		{`\d{4}-\d\d-\d\d`, "YYYY-MM-DD"},
		{`\b[0-9a-f]{12}\b`, "############"},
		{`[^\s=]*/(demo/store/|acq\.csv)`, "…/$1"},
	} {
		text = regexp.MustCompile(of.pattern).ReplaceAllString(text, of.by)
	}
	return strings.TrimSpace(text)
}

// shownSession reads blocks of a document that show commands behind "$ " and what they print; of
// other blocks every line is a command. Those that are told to run elsewhere are left out.
func shownSession(text string) (script string, expected []string) {
	for _, block := range regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		switch {
		case block[1] != "", strings.HasPrefix(block[2], "lianfen demo"):
		case !strings.HasPrefix(block[2], "$ "):
			script += block[2]
		default:
			for shown := range strings.SplitSeq(strings.TrimPrefix(block[2], "$ "), "\n$ ") {
				command, prints, _ := strings.Cut(shown, "\n")
				script += "printf '\\1'; " + command + "\n"
				expected = append(expected, prints)
			}
		}
	}
	return script, expected
}

// The example of a reconciliation and of a dispute in docs/operations.md, typed as it stands,
// prints what it says.
func TestReconciliationAsShown(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("bash is not installed: this is not tested here")
	}
	text, err := os.ReadFile("../../docs/operations.md")
	require.NoError(t, err)
	_, section, found := strings.Cut(string(text), "\n## Reconciliation\n")
	require.True(t, found)
	section, _, _ = strings.Cut(section, "\n| step | from | by | points |")
	script, expected := shownSession(section)
	require.Len(t, expected, 9)
	t.Chdir(t.TempDir())
	stdout, stderr, status := lianfen(t, "demo", "--data", "demo")
	require.Zero(t, status, stdout+stderr)
	d := startDaemonOver(t, "mutual", "demo")
	d.ready(t)
	cmd := exec.CommandContext(t.Context(), bash, "-c", "exec 2>&1\n"+script)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	printed := strings.Split(string(out), "\x01")[1:]
	require.Len(t, printed, len(expected))
	for i := range expected {
		require.Equal(t, untold(expected[i]), untold(printed[i]), "of command %d", i+1)
	}
	d.terminate(t)
}
