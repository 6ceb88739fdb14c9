package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/golang/snappy"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/internal/sim"
	"github.com/lianfen/lianfen/internal/store"
)

// dayFiles are the demonstration's day and its directory, as files.
const (
	dayScript    = "../../internal/sim/day/day.yaml"
	dayDirectory = "../../internal/sim/day/directory.yaml"
	goldenFrames = "../../testdata/frames"
)

// No card number leaves the switch in clear: not in the log at its most talkative,
// not in metrics, in no operator's command, and not in a file of the store, after a
// day and after every golden frame, broken ones among them.
func TestNoCardInClear(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	require.NoError(t, prepare(dir))
	d := startDaemon(t, dir, "log.level=debug", "switch.bad_frames_per_minute=1000")
	s := d.ready(t)
	var said bytes.Buffer
	tell := func(want int, args ...string) {
		stdout, stderr, status := lianfen(t, args...)
		require.Equal(t, want, status, "%v: %s%s", args, stdout, stderr)
		said.WriteString(stdout + stderr)
	}
	configuration := filepath.Join(dir, "lianfen.yaml")
	tell(exitOK, "admin", "load", "--config", configuration, dayDirectory)
	tell(exitOK, "pos", "--addr", s.Listeners["pos"], "--script", dayScript)
	tell(exitOK, "pos", "--addr", s.Listeners["pos"], "--script", dayScript, "--json", "--loop", "0")
	sendGolden(t, s.Listeners["pos"], "pos")
	sendGolden(t, s.Listeners["host"], "host")
	for _, card := range cardsOfTheDay(t) {
		stdout, stderr, _ := lianfen(t, "ledger", "balance", "--config", configuration, "--card", card)
		said.WriteString(stdout + stderr)
	}
	for position := 1; position <= int(d.position(t)); position++ {
		tell(exitOK, "ledger", "show", "--config", configuration, "--json", fmt.Sprintf("%012d", position))
	}
	for _, format := range []string{"jsonl", "csv", "hledger"} {
		tell(exitOK, "ledger", "export", "--config", configuration, "--from", "2020-01-01", "--to", "2099-12-31", "--format", format)
	}
	tell(exitOK, "admin", "list", "--config", configuration, "--json")
	tell(exitOK, "admin", "totals", "--config", configuration)
	for _, command := range []string{"status", "links"} {
		tell(exitOK, "admin", command, "--config", configuration, "--json")
	}
	for _, card := range cardsOfTheDay(t) {
		for _, wrong := range []string{card + "x", "x" + card, card + card, " " + card} { // What is refused is not repeated.
			stdout, stderr, status := lianfen(t, "ledger", "balance", "--config", configuration, "--card", wrong)
			require.NotZero(t, status)
			said.WriteString(stdout + stderr)
		}
		stdout, stderr, _ := lianfen(t, "ledger", "statement", "--config", configuration, "--card", card, "--json")
		said.WriteString(stdout + stderr)
	}
	tell(exitOK, "ledger", "verify", "--config", configuration, "--json")
	tell(exitOK, "ledger", "backup", filepath.Join(dir, "backup"), "--config", configuration, "--json")
	for _, path := range []string{"/metrics", "/healthz", "/readyz"} {
		said.Write(page(t, "http://"+s.HTTP+path))
	}
	// What stands in the write-ahead log of a process that was killed is there too.
	lives := filesOf(t, dir)
	d.terminate(t)
	require.Contains(t, d.stderr.String(), "level=INFO msg=request", "the log says nothing")
	require.Contains(t, said.String(), "622202*********0017", "nothing that was said is about a card")
	kept := keptIn(t, filepath.Join(dir, "store"))
	require.Contains(t, string(kept), "622202*********0017", "the store does not show what was written")

	lives["the store, unpacked"] = kept
	lives["the log"], lives["what was said"] = d.stderr.Bytes(), said.Bytes()
	for name, content := range filesOf(t, dir) {
		lives[name+", after the end"] = content
	}
	requireSecret(t, secretsOfTheDay(t, dir), lives)
}

// A crash in the middle of traffic shows every goroutine's calls with their arguments,
// and no secret among them.
func TestNoCardInACrash(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "s")
	require.NoError(t, prepare(dir))
	d := startDaemon(t, dir, "log.level=debug", "switch.bad_frames_per_minute=1000")
	s := d.ready(t)
	_, err := d.client().Load(t.Context(), directoryOf(t))
	require.NoError(t, err)
	var traffic sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	answered := make(chan struct{}, 1)
	for range 8 {
		traffic.Go(func() {
			terminal := sim.NewTerminal(s.Listeners["pos"], sim.Identity{}, 0, now)
			frames := goldenOf(t, "pos")
			for i := 0; ctx.Err() == nil; i++ {
				if _, err := terminal.Raw(ctx, frames[i%len(frames)].frame); err == nil {
					select {
					case answered <- struct{}{}:
					default:
					}
				}
			}
			_ = terminal.HangUp() // The switch is gone by then.
		})
	}
	for range 200 {
		<-answered
	}
	require.NoError(t, d.cmd.Process.Signal(syscall.SIGQUIT))
	require.Error(t, <-d.done)
	cancel()
	traffic.Wait()
	require.Contains(t, d.stderr.String(), "SIGQUIT: quit")
	require.Contains(t, d.stderr.String(), "goroutine ")
	requireSecret(t, secretsOfTheDay(t, dir), map[string][]byte{"what the crash left in the log": d.stderr.Bytes()})
}

func directoryOf(t *testing.T) app.Directory {
	t.Helper()
	file, err := os.Open(dayDirectory)
	require.NoError(t, err)
	directory, err := app.ReadDirectory(file)
	require.NoError(t, errors.Join(err, file.Close()))
	return directory
}

// keptIn is every key and value of a store, the journal's blocks unpacked: in the files
// tables and blocks are packed.
func keptIn(t *testing.T, data string) (kept []byte) {
	t.Helper()
	db, err := store.Open(store.Options{Dir: data, ReadOnly: true})
	require.NoError(t, err)
	for _, prefix := range []store.Prefix{store.Index, store.Journal, store.KeyCheck, store.State, store.Checkpoint} {
		require.NoError(t, db.Scan(t.Context(), prefix, nil, func(key, value []byte) (bool, error) {
			kept = append(append(kept, key...), value...)
			if prefix == store.Journal && value[0] == 2 { // Records lie between the block's head and its seal.
				records, err := snappy.Decode(nil, value[37:len(value)-32])
				kept = append(kept, records...)
				return true, err
			}
			return true, nil
		}))
	}
	require.NoError(t, db.Close())
	return kept
}

// What the demonstration prints and keeps has no card in clear either.
func TestDemoShowsNoCard(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	people, stderr, status := lianfen(t, "demo", "--data", dir)
	require.Zero(t, status, people+stderr)
	machines, stderr, status := lianfen(t, "demo", "--json")
	require.Zero(t, status, machines+stderr)
	kept := filesOf(t, dir)
	require.Contains(t, string(kept["lianfen.log"]), "622202*********0017")
	kept["tables"], kept["json"] = []byte(people), []byte(machines)
	requireSecret(t, secretsOfTheDay(t, dir), kept)
}

func bcd(digits string) []byte {
	out := make([]byte, 0, len(digits)/2)
	for i := 0; i+1 < len(digits); i += 2 {
		out = append(out, (digits[i]-'0')<<4|(digits[i+1]-'0'))
	}
	return out
}

// cardsOfTheDay are all card numbers of the day and its directory.
func cardsOfTheDay(t *testing.T) []string {
	t.Helper()
	var all []string
	seen := map[string]bool{}
	for _, path := range []string{dayScript, dayDirectory} {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, number := range regexp.MustCompile(`"\d{13,19}"`).FindAllString(string(text), -1) {
			if number = strings.Trim(number, `"`); !seen[number] {
				seen[number] = true
				all = append(all, number)
			}
		}
	}
	require.GreaterOrEqual(t, len(all), 9)
	return all
}

// sendGolden sends every golden frame of a dialect once, and reads what comes back
// or that the connection is closed.
func sendGolden(t *testing.T, address, dialect string) {
	t.Helper()
	terminal := sim.NewTerminal(address, sim.Identity{}, 0, now)
	frames := goldenOf(t, dialect)
	require.Greater(t, len(frames), 20)
	answered := 0
	for _, g := range frames {
		if _, err := terminal.Raw(t.Context(), g.frame); err == nil {
			answered++
		} else {
			require.ErrorIs(t, err, io.EOF, "%s", g.name)
		}
	}
	require.Greater(t, answered, len(frames)/2)
	require.NoError(t, terminal.HangUp())
}

func page(t *testing.T, url string) []byte {
	t.Helper()
	response, err := http.Get(url)
	require.NoError(t, err)
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusOK, response.StatusCode)
	return body
}

// filesOf reads every regular file below dir.
func filesOf(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	require.NoError(t, fs.WalkDir(os.DirFS(dir), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		files[path], err = os.ReadFile(filepath.Join(dir, path))
		return err
	}))
	return files
}
