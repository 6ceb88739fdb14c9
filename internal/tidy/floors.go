package tidy

import (
	"fmt"
	"slices"
	"strings"
)

// Module is the path of the module that the rules are about.
const Module = "github.com/lianfen/lianfen"

// File is what the rules need to know of one Go file.
type File struct {
	Path     string // from the module's root, with slashes
	Package  string // the name in the package clause
	Imports  []Import
	Document bool // whether the file carries a package comment
}

// Import is one import of a file.
type Import struct {
	Path string
	Line int
}

// folder returns the folder of f from the module's root, "." for the root.
func (f File) folder() string {
	if i := strings.LastIndexByte(f.Path, '/'); i >= 0 {
		return f.Path[:i]
	}
	return "."
}

func (f File) test() bool { return strings.HasSuffix(f.Path, "_test.go") }

// external reports whether f is a test from outside its package.
func (f File) external() bool { return f.test() && strings.HasSuffix(f.Package, "_test") }

// Floors returns the floor of each folder with Go files. A package imports only
// from floors below its own: never sideways, never up. That keeps the imports
// a strict order, so that any package can be read knowing only what lies below
// it, and so that money (floors 0 to 2) never depends on a socket.
func Floors() map[string]int {
	return map[string]int{
		// 0: words.
		"points": 0,
		// 1: pure. What things are worth and cost, what a swap gives; the book and the netting ask.
		"tariff":         1,
		"exchange/quote": 1,
		// 2: pure. They compute.
		"ledger/book":        2,
		"settlement/netting": 2,
		"exchange/market":    2,
		"loyalty/earn":       2,
		// 3: edges. One outside thing each.
		"internal/store":  3,
		"internal/config": 3,
		"switch/dialect":  3,
		"switch/link":     3,
		"certs":           3,
		// The formats of the partner's file set, and how they travel.
		"settlement/files": 3,
		// The items of a run as one table, for analysts.
		"settlement/table":    3,
		"settlement/delivery": 4,
		// 4: state. Owners of data.
		"ledger": 4,
		"router": 4,
		// Compares what partners say, in files of every format.
		"settlement/reconcile": 4,
		// What issuers owe, folded from records.
		"settlement/liability": 5,
		// 5: services. Verbs over the ledger.
		"exchange": 5,
		"loyalty":  5,
		"mall":     5,
		// 6: flows. A message; a day.
		"switch":     6,
		"settlement": 6,
		// 7: HTTP.
		"portal": 7,
		"api":    7,
		// 8: wiring.
		"internal/app": 8,
		// 9: simulators, the certification kit, load; 10: commands, which hold them.
		"cmd/lianfen":      10,
		"internal/sim":     9,
		"internal/certify": 9,
		"internal/bench":   9,
		// Files of the certification that go into the program.
		"testdata/certification": 0,
		// Outside the house: nothing may import it, it imports nothing of ours.
		"internal/tidy": 10,
	}
}

// pureFloor is the highest floor whose packages only compute.
const pureFloor = 2

// roofFolders are the folders whose external tests go through every door, and
// may therefore import from any floor.
func roofFolders() []string { return []string{"internal/app", "cmd/lianfen"} }

// Fence keeps one dependency in the packages that are its door.
type Fence struct {
	Path string // the import path and everything below it
	Why  string
	In   []string // folders that may import it, with everything below them
	// Tests are the folders whose tests may import it too.
	Tests []string
}

// Fences returns the doors of the house. Where two fences cover an import, the
// one with the longer path decides.
func Fences() []Fence {
	const pebble = "github.com/cockroachdb/pebble"
	return []Fence{
		{
			// The ledger's benchmarks measure against a bare Pebble.
			Path: pebble, In: []string{"internal/store"}, Tests: []string{"ledger"},
			Why: "one door to the store, so that options, key prefixes and failure handling have one owner",
		},
		{
			Path: pebble + "/v2/vfs", In: []string{"internal/store"}, Tests: []string{"ledger", "switch"},
			Why: "the file system that loses power belongs to crash tests",
		},
		{
			Path: "github.com/moov-io", In: []string{"switch/dialect"},
			Why: "a message format is a fact of its dialect",
		},
		{
			Path: "filippo.io/age", In: []string{"certs"}, Tests: []string{"internal/app", "cmd/lianfen"},
			Why: "what encrypts stays in the security room",
		},
		{
			Path: "github.com/spf13", In: []string{"cmd"},
			Why: "what a command is called is no business of the packages that do its work",
		},
		{
			Path: "github.com/hiddeco/sshsig", In: []string{"settlement/files"},
			Why: "what a signature of a file set is made of is a fact of its format",
		},
		{
			Path: "github.com/parquet-go", In: []string{"settlement/table"}, Tests: []string{"settlement"},
			Why: "the format of a table is a fact of one package, and no file of the night is of it",
		},
		{
			Path: "github.com/pkg/sftp", In: []string{"settlement/delivery"},
			Why: "how files travel is no business of those who write them",
		},
		{
			Path: "github.com/ThalesGroup/crypto11", In: []string{"certs"},
			Why: "keys are used in one room, in a token or not",
		},
		{
			Path: "net/http", In: []string{"api", "portal", "internal/app"}, Tests: []string{"cmd/lianfen"},
			Why: "HTTP has three doors",
		},
	}
}

// testLibraries are imported by test files only: what ships carries none of them.
func testLibraries() []string {
	return []string{
		"testing",
		"github.com/stretchr/testify",
		"github.com/cockroachdb/datadriven",
		"github.com/rogpeppe/go-internal",
		"pgregory.net/rapid",
	}
}

// impure are the imports that packages which only compute do without: with
// them the same input could give another output, or block, or reach outside.
func impure() []string {
	return []string{
		"C", "context", "crypto/rand", "log", "math/rand", "net", "os", "plugin", "sync", "syscall", "unsafe",
	}
}

// words are the imports that only points may add to that: it converts instants
// and masks card numbers in logs, so that floors 1 and 2 need not know either.
func words() []string { return []string{"time", "log/slog"} }

// Breach is one import, or one folder, that breaks a rule.
type Breach struct {
	Path string
	Line int
	Rule string
}

// String says the breach in one line that an editor can jump to.
func (b Breach) String() string { return fmt.Sprintf("%s:%d: %s", b.Path, b.Line, b.Rule) }

// Check returns every breach of floors, purity and fences in files.
func Check(files []File) []Breach {
	var breaches []Breach
	floors := Floors()
	for _, file := range files {
		floor, known := floors[file.folder()]
		if !known {
			breaches = append(breaches, Breach{
				Path: file.Path, Line: 1,
				Rule: fmt.Sprintf("folder %s has no floor: give it one in internal/tidy", file.folder()),
			})
			continue
		}
		for _, imported := range file.Imports {
			for _, rule := range []string{
				floorRule(floors, file, floor, imported.Path),
				pureRule(file, floor, imported.Path),
				fenceRule(file, imported.Path),
				testRule(file, imported.Path),
			} {
				if rule != "" {
					breaches = append(breaches, Breach{Path: file.Path, Line: imported.Line, Rule: rule})
				}
			}
		}
	}
	return breaches
}

// floorRule says why file, on floor, may not import path, or "".
func floorRule(floors map[string]int, file File, floor int, path string) string {
	folder, ours := strings.CutPrefix(path, Module+"/")
	if !ours {
		return ""
	}
	below, known := floors[folder]
	switch {
	case !known:
		return fmt.Sprintf("imports %s, which has no floor", folder)
	case file.external() && folder == file.folder():
		return ""
	case file.external() && slices.Contains(roofFolders(), file.folder()):
		return ""
	case below >= floor:
		return fmt.Sprintf("%s (floor %d) imports %s (floor %d): only floors below", file.folder(), floor, folder, below)
	}
	return ""
}

// pureRule says why a package that only computes may not import path, or "".
// Its tests may: they read files and compare with slow, obvious code.
func pureRule(file File, floor int, path string) string {
	if floor > pureFloor || file.test() {
		return ""
	}
	if thirdParty(path) {
		return fmt.Sprintf("%s only computes: no third-party import such as %s", file.folder(), path)
	}
	for _, forbidden := range impure() {
		// log/slog is not I/O by itself and has its own rule.
		if path == forbidden || (forbidden != "log" && strings.HasPrefix(path, forbidden+"/")) {
			return fmt.Sprintf("%s only computes: no %s", file.folder(), path)
		}
	}
	if floor > 0 && slices.Contains(words(), path) {
		return fmt.Sprintf("%s only computes: %s is for points", file.folder(), path)
	}
	return ""
}

// thirdParty reports whether path is neither ours nor the standard library's,
// whose paths have no dot in their first element.
func thirdParty(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return strings.Contains(first, ".") && !within(path, Module)
}

// fenceRule says which fence keeps path out of file, or "".
func fenceRule(file File, path string) string {
	var closest Fence
	for _, fence := range Fences() {
		if within(path, fence.Path) && len(fence.Path) > len(closest.Path) {
			closest = fence
		}
	}
	if closest.Path == "" {
		return ""
	}
	allowed := closest.In
	if file.test() {
		allowed = slices.Concat(allowed, closest.Tests)
	}
	for _, folder := range allowed {
		if within(file.folder(), folder) {
			return ""
		}
	}
	return fmt.Sprintf("%s is for %s only: %s", path, strings.Join(allowed, ", "), closest.Why)
}

// testRule says why only a test may import path, or "".
func testRule(file File, path string) string {
	if file.test() {
		return ""
	}
	for _, library := range testLibraries() {
		if within(path, library) {
			return fmt.Sprintf("%s is for tests only", path)
		}
	}
	return ""
}

// within reports whether path is parent or lies below it.
func within(path, parent string) bool {
	rest, found := strings.CutPrefix(path, parent)
	return found && (rest == "" || rest[0] == '/')
}

// Undocumented returns the folders of files whose package has no package
// comment. Tests do not need one.
func Undocumented(files []File) []string {
	documented := make(map[string]bool)
	for _, file := range files {
		if !file.test() {
			documented[file.folder()] = documented[file.folder()] || file.Document
		}
	}
	var without []string
	for folder, has := range documented {
		if !has {
			without = append(without, folder)
		}
	}
	slices.Sort(without)
	return without
}
