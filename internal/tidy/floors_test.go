package tidy_test

import (
	"fmt"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/tidy"
)

// file returns a file that imports one path; a name in _test belongs to an
// external test.
func file(name, packageName, imported string) tidy.File {
	return tidy.File{Path: name, Package: packageName, Imports: []tidy.Import{{Path: imported, Line: 3}}}
}

// Every breach is found, and what the rules allow is left alone.
func TestCheck(t *testing.T) {
	const ours = tidy.Module + "/"
	const pebble = "github.com/cockroachdb/pebble/v2"
	tests := []struct {
		name string
		file tidy.File
		want string // part of the breach; empty: none
	}{
		// Floors.
		{"down", file("ledger/a.go", "ledger", ours+"ledger/book"), ""},
		{"the book asks the tariff", file("ledger/book/a.go", "book", ours+"tariff"), ""},
		{"the tariff asks the book", file("tariff/a.go", "tariff", ours+"ledger/book"), "tariff (floor 1) imports ledger/book (floor 2)"},
		{"time in the tariff", file("tariff/a.go", "tariff", "time"), "time is for points"},
		{"down several floors", file("cmd/lianfen/main.go", "main", ours+"points"), ""},
		{"sideways", file("ledger/a.go", "ledger", ours+"router"), "ledger (floor 4) imports router (floor 4): only floors below"},
		{"up", file("points/a.go", "points", ours+"ledger"), "points (floor 0) imports ledger (floor 4)"},
		{"up, from a test inside the package", file("ledger/a_test.go", "ledger", ours+"switch"), "(floor 6)"},
		{"up, from a test outside the package", file("ledger/a_test.go", "ledger_test", ours+"switch"), "(floor 6)"},
		{"itself, from a test outside the package", file("ledger/a_test.go", "ledger_test", ours+"ledger"), ""},
		{"itself, from the package", file("ledger/a.go", "ledger", ours+"ledger"), "only floors below"},
		{"a name in _test that is not a test file", file("ledger/a.go", "ledger_test", ours+"ledger"), "only floors below"},
		{"end to end", file("internal/app/a_test.go", "app_test", ours+"internal/sim"), ""},
		{"end to end from inside the package", file("internal/app/a_test.go", "app", ours+"internal/sim"), "(floor 9)"},
		{"script of commands", file("cmd/lianfen/a_test.go", "main_test", ours+"internal/sim"), ""},
		{"the switch, whose package is called pointswitch", file("switch/a.go", "pointswitch", ours+"switch/link"), ""},
		{"a dialect that wants the switch", file("switch/dialect/a.go", "dialect", ours+"switch"), "(floor 6)"},
		{"tidy by somebody", file("cmd/lianfen/a.go", "main", ours+"internal/tidy"), "(floor 10)"},
		{"a folder without a floor", file("util/a.go", "util", "fmt"), "folder util has no floor"},
		{"a file at the root", file("a.go", "lianfen", "fmt"), "folder . has no floor"},
		{"an import without a floor", file("switch/a.go", "pointswitch", ours+"util"), "imports util, which has no floor"},
		{"a folder that only begins like one with a floor", file("ledger/a.go", "ledger", ours+"pointsmall"), "pointsmall, which has no floor"},

		// The pure middle.
		{"os", file("points/a.go", "points", "os"), "only computes: no os"},
		{"os/exec", file("ledger/book/a.go", "book", "os/exec"), "only computes: no os/exec"},
		{"net", file("ledger/book/a.go", "book", "net/netip"), "only computes: no net/netip"},
		{"sync", file("ledger/book/a.go", "book", "sync/atomic"), "only computes: no sync/atomic"},
		{"context", file("exchange/market/a.go", "market", "context"), "only computes: no context"},
		{"random", file("settlement/netting/a.go", "netting", "math/rand"), "only computes: no math/rand"},
		{"random v2", file("settlement/netting/a.go", "netting", "math/rand/v2"), "only computes: no math/rand/v2"},
		{"secret random", file("loyalty/earn/a.go", "earn", "crypto/rand"), "only computes: no crypto/rand"},
		{"unsafe", file("ledger/book/a.go", "book", "unsafe"), "only computes: no unsafe"},
		{"log", file("points/a.go", "points", "log"), "only computes: no log"},
		{"third party", file("points/a.go", "points", "golang.org/x/sync/errgroup"), "no third-party import"},
		{"third party in a pure test", file("points/a_test.go", "points_test", "pgregory.net/rapid"), ""},
		{"os in a pure test", file("ledger/book/a_test.go", "book_test", "os"), ""},
		{"time in points", file("points/a.go", "points", "time"), ""},
		{"time in the book", file("ledger/book/a.go", "book", "time"), "time is for points"},
		{"slog in points", file("points/a.go", "points", "log/slog"), ""},
		{"slog in the book", file("ledger/book/a.go", "book", "log/slog"), "log/slog is for points"},
		{"math", file("ledger/book/a.go", "book", "math/bits"), ""},
		{"os above the pure middle", file("ledger/a.go", "ledger", "os"), ""},

		// Fences.
		{"pebble at its door", file("internal/store/a.go", "store", pebble), ""},
		{"pebble in the ledger", file("ledger/a.go", "ledger", pebble), "for internal/store only"},
		{"pebble in a benchmark of the ledger", file("ledger/a_test.go", "ledger_test", pebble), ""},
		{"pebble in a test of the switch", file("switch/a_test.go", "pointswitch_test", pebble), "for internal/store"},
		{"power cuts in a test of the ledger", file("ledger/a_test.go", "ledger_test", pebble+"/vfs"), ""},
		{"write errors in a test of the ledger", file("ledger/a_test.go", "ledger", pebble+"/vfs/errorfs"), ""},
		{"power cuts in a test of the store", file("internal/store/a_test.go", "store", pebble+"/vfs"), ""},
		{"power cuts in the ledger itself", file("ledger/a.go", "ledger", pebble+"/vfs"), "for internal/store only"},
		{"power cuts elsewhere", file("internal/app/a_test.go", "app_test", pebble+"/vfs"), "for internal/store, ledger, switch only"},
		{"moov in its dialect", file("switch/dialect/a.go", "dialect", "github.com/moov-io/iso8583/field"), ""},
		{"moov in the switch", file("switch/a.go", "pointswitch", "github.com/moov-io/iso8583"), "for switch/dialect only"},
		{"moov in a simulator", file("internal/sim/a.go", "sim", "github.com/moov-io/iso8583"), "for switch/dialect only"},
		{"a module whose name only begins like a fenced one", file("router/a.go", "router", "github.com/moov-iox/other"), ""},
		{"cobra in a command", file("cmd/lianfen/a.go", "main", "github.com/spf13/cobra"), ""},
		{"cobra in the wiring", file("internal/app/a.go", "app", "github.com/spf13/cobra"), "for cmd only"},
		{"HTTP in the wiring", file("internal/app/a.go", "app", "net/http"), ""},
		{"HTTP in the partner interface", file("api/a.go", "api", "net/http"), ""},
		{"HTTP in the pages", file("portal/a.go", "portal", "net/http"), ""},
		{"HTTP in a command", file("cmd/lianfen/a.go", "main", "net/http"), "for api, portal, internal/app only"},
		{"HTTP in a test of the router", file("router/a_test.go", "router", "net/http/httptest"), "HTTP has three doors"},
		{"HTTP in a test of the commands", file("cmd/lianfen/a_test.go", "main", "net/http"), ""},

		// Test libraries.
		{"testify in a test", file("ledger/a_test.go", "ledger", "github.com/stretchr/testify/require"), ""},
		{"testify in what ships", file("ledger/a.go", "ledger", "github.com/stretchr/testify/require"), "for tests only"},
		{"testing in what ships", file("internal/sim/a.go", "sim", "testing/synctest"), "for tests only"},
		{"testscript in what ships", file("cmd/lianfen/a.go", "main", "github.com/rogpeppe/go-internal/testscript"), "for tests only"},
		{"datadriven in what ships", file("router/a.go", "router", "github.com/cockroachdb/datadriven"), "for tests only"},
		{"rapid in what ships", file("router/a.go", "router", "pgregory.net/rapid"), "for tests only"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			breaches := tidy.Check([]tidy.File{tt.file})
			if tt.want == "" {
				require.Empty(t, breaches)
				return
			}
			require.NotEmpty(t, breaches)
			text := fmt.Sprint(breaches)
			require.Contains(t, text, tt.want)
			require.Contains(t, text, tt.file.Path+":")
		})
	}
}

// One breach does not hide the next: every import of every file is looked at.
func TestCheckReportsAll(t *testing.T) {
	breaches := tidy.Check([]tidy.File{
		{Path: "points/a.go", Package: "points", Imports: []tidy.Import{{Path: "os", Line: 3}, {Path: "fmt", Line: 4}, {Path: "sync", Line: 5}}},
		{Path: "nowhere/b.go", Package: "nowhere"},
		{Path: "router/c.go", Package: "router", Imports: []tidy.Import{{Path: "net/http", Line: 7}}},
	})
	var places []string
	for _, breach := range breaches {
		places = append(places, fmt.Sprintf("%s:%d", breach.Path, breach.Line))
	}
	require.Equal(t, []string{"points/a.go:3", "points/a.go:5", "nowhere/b.go:1", "router/c.go:7"}, places)
}

// The rules speak of folders that can exist: a fence around a misspelt folder
// would keep nothing in or out.
func TestRulesNameFoldersWithFloors(t *testing.T) {
	floors := tidy.Floors()
	for _, fence := range tidy.Fences() {
		require.NotEmpty(t, fence.Why, fence.Path)
		for _, folder := range append(fence.In, fence.Tests...) {
			found := false
			for known := range floors {
				found = found || known == folder || strings.HasPrefix(known, folder+"/")
			}
			require.True(t, found, "fence around %s names %s", fence.Path, folder)
		}
	}
	for folder := range floors {
		require.Equal(t, path.Clean(folder), folder)
	}
}

// The module keeps its own rules.
func TestHouse(t *testing.T) {
	files, err := tidy.ReadGo(os.DirFS(root))
	require.NoError(t, err)
	var read []string
	for _, f := range files {
		read = append(read, f.Path)
	}
	// The reader sees this file, so it does not pass by seeing none.
	require.Contains(t, read, "internal/tidy/floors_test.go")
	for _, breach := range tidy.Check(files) {
		t.Error(breach)
	}
	for _, folder := range tidy.Undocumented(files) {
		t.Errorf("%s: no file has a package comment", folder)
	}
}
