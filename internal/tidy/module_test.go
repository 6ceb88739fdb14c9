package tidy_test

import (
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/tidy"
)

// root is the module's root as its tests see it.
const root = "../.."

func source(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

// Every Go file that is somebody's source is read, behind any build tag, with
// the line of each import; generated folders and test data are not.
func TestReadGo(t *testing.T) {
	files, err := tidy.ReadGo(fstest.MapFS{
		"points/doc.go":           source("// Package points says something.\npackage points\n"),
		"ledger/a.go":             source("//go:build never\n\npackage ledger\n\nimport (\n\t\"fmt\"\n\tb \"os\"\n)\n\nvar _ = fmt.Sprint\n"),
		"ledger/testdata/x.go":    source("package broken ("),
		"bin/y.go":                source("package broken ("),
		".hidden/z.go":            source("package broken ("),
		"ledger/bin/kept.go":      source("package bin\n"),
		"ledger/notes.txt":        source("not Go"),
		"ledger/external_test.go": source("package ledger_test\n\nimport _ \"embed\"\n"),
	})
	require.NoError(t, err)
	require.Equal(t, []tidy.File{
		{Path: "ledger/a.go", Package: "ledger", Imports: []tidy.Import{{Path: "fmt", Line: 6}, {Path: "os", Line: 7}}},
		{Path: "ledger/bin/kept.go", Package: "bin"},
		{Path: "ledger/external_test.go", Package: "ledger_test", Imports: []tidy.Import{{Path: "embed", Line: 3}}},
		{Path: "points/doc.go", Package: "points", Document: true},
	}, files)
}

// A file that cannot be parsed is an error, not a file without imports.
func TestReadGoRefusesWhatIsNotGo(t *testing.T) {
	_, err := tidy.ReadGo(fstest.MapFS{"points/a.go": source("package points\nimport fmt\n")})
	require.ErrorContains(t, err, "points/a.go:2")
}

// One documented file is enough for a package; a comment in a test is not, and
// neither is a build tag or a licence header above a blank line.
func TestUndocumented(t *testing.T) {
	files, err := tidy.ReadGo(fstest.MapFS{
		"points/doc.go":    source("// Package points says something.\npackage points\n"),
		"points/a.go":      source("package points\n"),
		"router/a.go":      source("//go:build linux\n\n// A licence.\n\npackage router\n"),
		"router/a_test.go": source("// Package router says something.\npackage router\n"),
		"ledger/a_test.go": source("package ledger_test\n"),
	})
	require.NoError(t, err)
	require.Equal(t, []string{"router"}, tidy.Undocumented(files))
}
