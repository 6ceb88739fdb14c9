package tidy_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/tidy"
)

// report turns breaches into the lines that a reader sees.
func report(breaches []tidy.Breach) []string {
	var lines []string
	for _, breach := range breaches {
		lines = append(lines, breach.String())
	}
	return lines
}

// A link is dead when its file or its heading is missing; links in code and
// links to elsewhere are not looked at.
func TestDeadLinks(t *testing.T) {
	dead, err := tidy.DeadLinks(fstest.MapFS{
		"README.md": source("# Top\n" +
			"[a](docs/a.md) [b](docs/a.md#one-authorisation-step-by-step) ![p](docs/p.svg \"picture\") [f](docs)\n" +
			"[c](docs/c.md) and [d](docs/a.md#nowhere) and [e](#top) and [f](#bottom)\n" +
			"[web](https://example.org/x) [mail](mailto:a@example.org) `[code](gone.md)`\n" +
			"```\n[code](gone.md)\n```\n" +
			"[ref]: docs/gone.md\n" +
			"[out](../secret.md)\n"),
		"docs/a.md":          source("# One authorisation, step by step\n[up](../README.md#top)\n## Same\n## Same\n[again](#same-1) [third](#same-2)\n[中](#积分消费)\n# 积分消费\n"),
		"docs/p.svg":         source("<svg/>"),
		"x/testdata/bad.md":  source("[a](gone.md)"),
		"docs/adr/0001-x.md": source("~~~text\n[a](gone.md)\n~~~\n[a](../a.md) [b](a.md)\n"),
	})
	require.NoError(t, err)
	require.Equal(t, []string{
		"README.md:3: link docs/c.md: there is no docs/c.md",
		"README.md:3: link docs/a.md#nowhere: docs/a.md has no such heading",
		"README.md:3: link #bottom: README.md has no such heading",
		"README.md:8: link docs/gone.md: there is no docs/gone.md",
		"README.md:9: link ../secret.md leaves the repository",
		"docs/a.md:5: link #same-2: docs/a.md has no such heading",
		"docs/adr/0001-x.md:4: link a.md: there is no docs/adr/a.md",
	}, report(dead))
}

// Decision records are named and titled by one number, without a gap.
func TestBadDecisions(t *testing.T) {
	bad, err := tidy.BadDecisions(fstest.MapFS{
		"docs/adr/0001-journal-first.md": source("# 0001 Journal first\n"),
		"docs/adr/0002-Upper.md":         source("# 0002 Upper\n"),
		"docs/adr/0003-gap.md":           source("# 0003 Gap\n"),
		"docs/adr/0003-title.md":         source("# Title\n"),
		"docs/adr/notes.txt":             source(""),
	})
	require.NoError(t, err)
	require.Equal(t, []string{
		"docs/adr/0002-Upper.md:1: not named NNNN-title-in-lower-case.md",
		"docs/adr/0003-gap.md:1: numbered 0003, the next free number is 0002",
		"docs/adr/0003-title.md:1: its first line is not # 0003 and a title",
		"docs/adr/notes.txt:1: not named NNNN-title-in-lower-case.md",
	}, report(bad))
}

// Every direct module has one row with its version, licence and reason, and no
// other module has.
func TestBadDependencies(t *testing.T) {
	bad, err := tidy.BadDependencies(fstest.MapFS{"docs/dependencies.md": source(
		"| module | version | licence | why |\n|---|---|---|---|\n" +
			"| `example.org/good` | v1.0.0 | MIT | because |\n" +
			"| `example.org/old` | v1.0.0 | MIT | because |\n" +
			"| `example.org/gone` | v1.0.0 | MIT | because |\n" +
			"| `example.org/good` | v1.0.0 | MIT | again |\n" +
			"| `example.org/why` | v1.0.0 | MIT |  |\n",
	)}, map[string]string{
		"example.org/good": "v1.0.0", "example.org/old": "v1.1.0",
		"example.org/why": "v1.0.0", "example.org/absent": "v1.0.0",
	})
	require.NoError(t, err)
	require.Equal(t, []string{
		"docs/dependencies.md:4: example.org/old is at v1.1.0 in go.mod, not v1.0.0",
		"docs/dependencies.md:5: example.org/gone is not a direct module of go.mod",
		"docs/dependencies.md:6: example.org/good has a second row",
		"docs/dependencies.md:7: example.org/why has no licence or no reason",
		"docs/dependencies.md:1: example.org/absent has no row",
	}, report(bad))
}

// Entries of the change log say their kind and their package.
func TestBadChanges(t *testing.T) {
	bad, err := tidy.BadChanges(fstest.MapFS{"CHANGELOG.md": source(
		"# Changes\n\n## Unreleased\n\n- [FEATURE] ledger: good\n  goes on here\n- [FIX] switch/link, switch: good\n" +
			"- [NEWS] ledger: bad kind\n- ledger: no kind\n- [FIX] no package\n",
	)})
	require.NoError(t, err)
	require.Len(t, bad, 3)
	require.Equal(t, []int{8, 9, 10}, []int{bad[0].Line, bad[1].Line, bad[2].Line})
}

// Every attack that a document lists names a test, and every test that it names is there:
// functions, parts of them, and stories.
func TestUntestedAttacks(t *testing.T) {
	bad, err := tidy.UntestedAttacks(fstest.MapFS{
		"docs/security.md": source("Seen in `TestGone` and `TestHere`, not in `Testing`.\n\n" +
			"| attack | test |\n| --- | --- |\n" +
			"| good | `TestHere` |\n| a part | `TestHere/own act` |\n| another | `…/other act` |\n| a story | `flows/day.txt` |\n" +
			"| gone | `TestMoved` |\n| no part | `TestHere/nothing` |\n| no story | `flows/night.txt` |\n| by hand | - |\n| a file | `a/a_test.go` |\n" +
			"| says `TestHere` elsewhere | - |\n\n" +
			"| what | test |\n| --- | --- |\n| no attack | - |\n"),
		"a/a_test.go":              source("package a\n\nfunc TestHere(t *testing.T) {\n\tt.Run(\"own act\", nil)\n\tt.Run(\"other act\", nil)\n}\n"),
		"a/b.go":                   source("package a\n\nfunc TestMoved(t *testing.T) {}\n"),
		"a/testdata/flows/day.txt": source(""),
	}, "docs/security.md")
	require.NoError(t, err)
	require.Equal(t, []string{
		"docs/security.md:1: there is no test TestGone",
		"docs/security.md:9: there is no test TestMoved",
		"docs/security.md:9: an attack without a test: gone",
		"docs/security.md:10: TestHere has no part nothing",
		"docs/security.md:10: an attack without a test: no part",
		"docs/security.md:11: there is no story flows/night.txt",
		"docs/security.md:11: an attack without a test: no story",
		"docs/security.md:12: an attack without a test: by hand",
		"docs/security.md:13: an attack without a test: a file",
		"docs/security.md:14: an attack without a test: says `TestHere` elsewhere",
	}, report(bad))
}

// A rule about a document that is not there is an error, not a pass.
func TestMissingDocuments(t *testing.T) {
	empty := fstest.MapFS{}
	_, err := tidy.BadDecisions(empty)
	require.Error(t, err)
	_, err = tidy.BadDependencies(empty, nil)
	require.Error(t, err)
	_, err = tidy.BadChanges(empty)
	require.Error(t, err)
	_, err = tidy.UntestedAttacks(empty, "docs/security.md")
	require.Error(t, err)
}

// The documents of this repository keep the rules.
func TestDocuments(t *testing.T) {
	house := os.DirFS(root)
	modules := directModules(t)
	require.Contains(t, modules, "github.com/stretchr/testify")
	dependencies, err := tidy.BadDependencies(house, modules)
	require.NoError(t, err)
	links, err := tidy.DeadLinks(house)
	require.NoError(t, err)
	decisions, err := tidy.BadDecisions(house)
	require.NoError(t, err)
	changes, err := tidy.BadChanges(house)
	require.NoError(t, err)
	attacks, err := tidy.UntestedAttacks(house, "docs/security.md")
	require.NoError(t, err)
	for _, breaches := range [][]tidy.Breach{links, decisions, dependencies, changes, attacks} {
		for _, breach := range breaches {
			t.Error(breach)
		}
	}
}

// directModules returns what go.mod requires for code of this module.
func directModules(t *testing.T) map[string]string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "go", "mod", "edit", "-json")
	command.Dir = root
	out, err := command.Output()
	require.NoError(t, err, fmt.Sprint(command))
	var mod struct {
		Require []struct {
			Path, Version string
			Indirect      bool
		}
	}
	require.NoError(t, json.Unmarshal(out, &mod))
	direct := make(map[string]string)
	for _, required := range mod.Require {
		if !required.Indirect {
			direct[required.Path] = required.Version
		}
	}
	return direct
}
