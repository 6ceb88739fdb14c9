package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/lianfen/lianfen/internal/app"
)

// TestMain lets the test binary be the program: in a process started as lianfen
// it is, and everywhere else it tests.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"lianfen": main, "say-dumps": sayDumps})
}

// The commands say and do what testdata/script tells, as separate processes.
func TestScript(t *testing.T) {
	repository, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("REPOSITORY", repository)
			env.Setenv("LIANFEN_TLS_MODE", "off") // What is told of TLS says so itself.
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status":    exitsWith,
			"serving":   serving,
			"json":      jsonField,
			"get":       get,
			"terminate": terminate,
			"damage":    damage,
		},
	})
}

// patience is how long a process may take over anything at all.
const patience = 30 * time.Second

// exitsWith runs a program that has to end with a status: status N PROGRAM ARGS.
func exitsWith(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N PROGRAM ARGS")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Check(err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// serving waits until the switch of a folder is ready and sets POS, HOST and
// HTTP to its addresses: serving DIR.
func serving(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: serving DIR")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := awaitReady(ctx, ts.MkAbs(filepath.Join(args[0], "admin.sock")))
	ts.Check(err)
	ts.Setenv("POS", s.Listeners["pos"])
	ts.Setenv("HOST", s.Listeners["host"])
	ts.Setenv("HTTP", "http://"+s.HTTP)
	ts.Setenv("HTTPS", "https://"+s.HTTP)
	ts.Setenv("ADMIN", "https://"+s.Admin)
}

// terminate sends SIGTERM to what runs in the background.
func terminate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: terminate")
	}
	for _, cmd := range ts.BackgroundCmds() {
		ts.Check(cmd.Process.Signal(syscall.SIGTERM))
	}
}

// damage makes the list of a store's files unreadable: damage DIR.
func damage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: damage DIR")
	}
	manifests, err := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), "MANIFEST-*"))
	ts.Check(err)
	if len(manifests) == 0 {
		ts.Fatalf("damage: no manifest in %s", args[0])
	}
	for _, path := range manifests {
		content, err := os.ReadFile(path)
		ts.Check(err)
		content[len(content)/2] ^= 0xff
		content[8] ^= 0xff
		ts.Check(os.WriteFile(path, content, 0o600))
	}
}

// awaitReady asks a socket until somebody answers there and says that it is ready.
func awaitReady(ctx context.Context, socket string) (app.Status, error) {
	client := app.NewClient(socket)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		s, err := client.Status(ctx)
		if err == nil && s.Ready {
			return s, nil
		}
		select {
		case <-ctx.Done():
			return s, fmt.Errorf("not ready: %w", errors.Join(err, ctx.Err()))
		case <-tick.C:
		}
	}
}

// jsonField takes a value out of the JSON that was printed last: with a variable
// that it is put into, or with the value that it must have:
// json PATH VARIABLE, json PATH == VALUE. PATH is steps.0.rrn and the like.
func jsonField(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: json PATH VARIABLE, or json PATH == VALUE")
	}
	var at any
	decoder := json.NewDecoder(strings.NewReader(ts.ReadFile("stdout")))
	decoder.UseNumber()
	ts.Check(decoder.Decode(&at))
	for step := range strings.SplitSeq(args[0], ".") {
		switch here := at.(type) {
		case map[string]any:
			at = here[step]
		case []any:
			i, err := strconv.Atoi(step)
			ts.Check(err)
			if i >= len(here) {
				ts.Fatalf("json: %s: only %d elements", args[0], len(here))
			}
			at = here[i]
		default:
			ts.Fatalf("json: %s: nothing is below %v", args[0], at)
		}
	}
	got := fmt.Sprint(at)
	if args[1] != "==" {
		ts.Setenv(args[1], got)
		return
	}
	if len(args) != 3 || got != args[2] {
		ts.Fatalf("json: %s is %q, want %q", args[0], got, args[2:])
	}
}

// get fetches a page into a file: get URL FILE. With !, it must be refused.
func get(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: get URL FILE")
	}
	response, err := http.Get(args[0])
	ts.Check(err)
	body, err := io.ReadAll(response.Body)
	ts.Check(errors.Join(err, response.Body.Close()))
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), body, 0o600))
	if neg == (response.StatusCode == http.StatusOK) {
		ts.Fatalf("get %s: %s", args[0], response.Status)
	}
}
