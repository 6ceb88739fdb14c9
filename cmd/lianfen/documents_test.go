package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/certs"
)

// The README's own commands do what it says, in its order, as they stand; only the
// addresses are free ones and the daemon runs beside.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	directory, err := filepath.Abs(dayDirectory)
	require.NoError(t, err)
	t.Chdir(t.TempDir())
	require.NoError(t, os.MkdirAll("internal/sim/day", 0o700))
	content, err := os.ReadFile(directory)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile("internal/sim/day/directory.yaml", content, 0o600))
	var d *daemon
	var pos, web string
	ran := 0
	for _, words := range commandLines(string(text)) {
		switch {
		case words[0] == "curl":
			body := metricsPage(t, strings.Replace(words[len(words)-4], "https://127.0.0.1:8580", web, 1), words[3], words[5])
			require.Contains(t, body, words[len(words)-1])
		case words[0] != "bin/lianfen":
			require.Contains(t, []string{"make"}, words[0], "a command that this test does not know")
		case words[1] == "serve":
			require.Equal(t, []string{"bin/lianfen", "serve", "--config", "./my-switch/lianfen.yaml"}, words)
			d = startDaemonOver(t, "mutual", "my-switch")
			s := d.ready(t)
			pos, web = s.Listeners["pos"], "https://"+s.HTTP
			ran++
		default:
			args := words[1:]
			if args[0] == "pos" {
				args = append(args, "--addr", pos)
			}
			stdout, stderr, status := lianfen(t, args...)
			require.Zero(t, status, "%v: %s%s", words, stdout, stderr)
			ran++
		}
	}
	require.GreaterOrEqual(t, ran, 7)
	stdout, _, _ := lianfen(t, "ledger", "balance", "--config", "my-switch/lianfen.yaml", "--member", "1001")
	require.Regexp(t, `1001 +901 +Harbour Miles +380 +0 +0 +0`, stdout)
	d.terminate(t)
}

// metricsPage reads a page as an operator, with the files that curl is given.
func metricsPage(t *testing.T, url, trust, certificate string) string {
	t.Helper()
	files, err := filepath.Glob(certificate)
	require.NoError(t, err)
	require.Len(t, files, 1)
	secure, err := certs.ClientConfig(trust, files[0], "", now)
	require.NoError(t, err)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: secure}}
	defer client.CloseIdleConnections()
	response, err := client.Get(url)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode, "%s", body)
	return string(body)
}

// commandLines are the words of each line in the sh blocks of a document, without
// comments.
func commandLines(text string) [][]string {
	var all [][]string
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(text, -1) {
		for line := range strings.Lines(block[1]) {
			line, _, _ = strings.Cut(line, " #")
			if words := strings.Fields(line); len(words) > 0 {
				all = append(all, words)
			}
		}
	}
	return all
}

// Every command that a document or an example shows is there, with the flags that
// are shown.
func TestCommandsShown(t *testing.T) {
	root := newRoot()
	root.InitDefaultCompletionCmd() // It is added when a command line is carried out.
	shown := 0
	check := func(where, line string) {
		words := strings.Fields(line)
		for len(words) > 0 && words[0] != "lianfen" && words[0] != "bin/lianfen" {
			words = words[1:] // Behind a pipe.
		}
		require.NotEmpty(t, words, "%s: %s", where, line)
		shown++
		cmd, rest, err := root.Find(words[1:])
		require.NoError(t, err, "%s: %s", where, line)
		for _, word := range rest {
			if name, long := strings.CutPrefix(word, "--"); long {
				name, _, _ = strings.Cut(name, "=")
				require.True(t, name == "help" || cmd.Flag(name) != nil || cmd.InheritedFlags().Lookup(name) != nil, "%s: %s: no flag %s", where, line, name)
			}
		}
		if cmd.HasSubCommands() && len(rest) > 0 {
			require.True(t, strings.HasPrefix(rest[0], "-"), "%s: %s: no command %s", where, line, rest[0])
		}
	}
	for _, path := range []string{"../../README.md", "../../docs/operations.md"} {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, words := range commandLines(string(text)) {
			if strings.HasSuffix(words[0], "lianfen") {
				check(path, strings.Join(words, " "))
			}
		}
		for _, code := range regexp.MustCompile("`(lianfen [^`]+)`").FindAllStringSubmatch(string(text), -1) {
			check(path, code[1])
		}
	}
	everyCommand(root, func(cmd *cobra.Command) {
		for line := range strings.Lines(cmd.Example) {
			if strings.TrimSpace(line) != "" {
				check(cmd.CommandPath(), strings.TrimSpace(line))
			}
		}
	})
	require.Greater(t, shown, 30)
}

// everyCommand visits a command and all below it.
func everyCommand(cmd *cobra.Command, visit func(*cobra.Command)) {
	visit(cmd)
	for _, child := range cmd.Commands() {
		everyCommand(child, visit)
	}
}

// Every script in docs/scripts.md is played as it stands, and comes to what it says.
func TestScriptsPage(t *testing.T) {
	text, err := os.ReadFile("../../docs/scripts.md")
	require.NoError(t, err)
	directory, err := filepath.Abs(dayDirectory)
	require.NoError(t, err)
	t.Chdir(t.TempDir())
	_, stderr, status := lianfen(t, "init", "switch")
	require.Zero(t, status, stderr)
	keystore := []string{"--keystore", "switch/keys.store", "--kek", "file:switch/kek.key"}
	_, stderr, status = lianfen(t, append([]string{"keys", "generate", "tmk/M00000000000001/T0000005", "--usage", "terminal-master", "--algorithm", "3des-2key"}, keystore...)...)
	require.Zero(t, status, stderr)
	d := startDaemon(t, "switch")
	pos := d.ready(t).Listeners["pos"]
	_, stderr, status = lianfen(t, "admin", "load", "--config", "switch/lianfen.yaml", directory)
	require.Zero(t, status, stderr)
	_, stderr, status = lianfenWith(t, "4711\n", "admin", "pin", "set", "--config", "switch/lianfen.yaml", "--card", "9555100000000031", "--operator", "li", "--tries", "3")
	require.Zero(t, status, stderr)
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	require.Len(t, blocks, 4)
	shown := ""
	for _, block := range blocks {
		require.NoError(t, os.WriteFile("script.yaml", []byte(block[1]), 0o600))
		stdout, stderr, status := lianfen(t, append([]string{"pos", "--addr", pos, "--script", "script.yaml"}, keystore...)...)
		require.Zero(t, status, "%s%s", stdout, stderr)
		shown += block[1]
	}
	// What the tables list is in the examples.
	for _, key := range regexp.MustCompile("(?m)^\\| (`[a-z`, ]+) \\|").FindAllStringSubmatch(string(text), -1) {
		for _, name := range regexp.MustCompile("`([a-z]+)`").FindAllStringSubmatch(key[1], -1) {
			require.Contains(t, shown, name[1]+":", "no example of %s", name[1])
		}
	}
	d.terminate(t)
}

// There is a man page for every command, and it is one that man can read.
func TestManPages(t *testing.T) {
	dir := t.TempDir()
	_, stderr, status := lianfen(t, "docs", "--man", dir)
	require.Zero(t, status, stderr)
	everyCommand(newRoot(), func(cmd *cobra.Command) {
		if !cmd.IsAvailableCommand() || cmd.Hidden {
			return
		}
		page, err := os.ReadFile(filepath.Join(dir, strings.ReplaceAll(cmd.CommandPath(), " ", "-")+".1"))
		require.NoError(t, err)
		require.Contains(t, string(page), `.TH "LIANFEN" "1"`)
		require.Contains(t, string(page), strings.Fields(cmd.Short)[0])
	})
}

// Every example in a command's help is a command line that is understood: whatever
// comes of it on this switch, it is not exit status 2.
func TestExamplesAreUnderstood(t *testing.T) {
	directory, err := filepath.Abs(dayDirectory)
	require.NoError(t, err)
	t.Chdir(t.TempDir())
	_, stderr, status := lianfen(t, "init", "switch")
	require.Zero(t, status, stderr)
	d := startDaemon(t, "switch")
	pos := d.ready(t).Listeners["pos"]
	_, stderr, status = lianfen(t, "admin", "load", "--config", "switch/lianfen.yaml", directory)
	require.Zero(t, status, stderr)
	ran := 0
	everyCommand(newRoot(), func(cmd *cobra.Command) {
		for line := range strings.Lines(cmd.Example) {
			line, _, _ = strings.Cut(line, " > ") // What a shell does with the output is none of ours.
			words := quoted(line)
			if len(words) < 2 || words[0] != "lianfen" || slices.Contains([]string{"serve", "init", "demo", "decode", "bench", "certify", "issuer", "sim"}, words[1]) {
				continue // The README's and other tests run these; a measurement takes minutes.
			}
			if words[1] == "settle" && words[2] == "verify" {
				continue // It wants files of a settlement, and its own tests have them.
			}
			args := words[1:]
			for i, arg := range args {
				if strings.HasPrefix(arg, "/") {
					args[i] = "." + arg // Nothing outside the test's folder.
				}
			}
			switch args[0] {
			case "pos":
				args = append(args, "--addr", pos)
			case "admin", "ledger", "certs", "risk", "settle", "dispute", "recon", "rates", "fees", "exchange":
				args = append(args, "--config", "switch/lianfen.yaml")
			}
			_, stderr, status := lianfen(t, args...)
			require.NotEqual(t, 2, status, "%s: %s", line, stderr)
			ran++
		}
	})
	require.Greater(t, ran, 25)
	d.terminate(t)
}

// quoted are the words of a line, those in double quotes as one.
func quoted(line string) (words []string) {
	for i, part := range strings.Split(line, `"`) {
		if i%2 == 1 {
			words = append(words, part)
			continue
		}
		words = append(words, strings.Fields(part)...)
	}
	return words
}
