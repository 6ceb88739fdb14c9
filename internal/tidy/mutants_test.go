package tidy_test

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/tidy"
)

var mutants = flag.String("mutants", "", "build the mutants whose names contain this, and run the tests that must notice them; all: each")

func mutantList(t *testing.T) []tidy.Mutant {
	list, err := os.Open("testdata/mutants.txt")
	require.NoError(t, err)
	defer func() { require.NoError(t, list.Close()) }()
	all, err := tidy.Mutants(list)
	require.NoError(t, err)
	require.NotEmpty(t, all)
	return all
}

// Each mutant of the list changes lines that its file has exactly once, and nothing else has
// its name: so the list goes with the code.
func TestMutantsApply(t *testing.T) {
	names := make(map[string]bool)
	for _, m := range mutantList(t) {
		require.False(t, names[m.Name], "%q is there twice", m.Name)
		names[m.Name] = true
		source, err := os.ReadFile(filepath.Join("..", "..", m.File))
		require.NoError(t, err)
		changed, err := m.Apply(string(source))
		require.NoError(t, err)
		require.NotEqual(t, string(source), changed, m.Name)
	}
}

// Tests notice each mutant of the list (make mutants). A mutant that does not build is none,
// and the tests pass without one, so that it is the mutant that fails them.
func TestMutantsAreNoticed(t *testing.T) {
	if *mutants == "" {
		t.Skip("it takes minutes: make mutants")
	}
	passed := make(map[string]bool)
	for _, m := range mutantList(t) {
		if *mutants != "all" && !strings.Contains(m.Name, *mutants) {
			continue
		}
		t.Run(m.Name, func(t *testing.T) {
			if tests := strings.Join(m.Tests, " "); !passed[tests] {
				output, err := goTest(t, "", m.Tests)
				require.NoError(t, err, "without the mutant:\n%s", output)
				passed[tests] = true
			}
			overlay := mutated(t, &m)
			build, err := exec.CommandContext(t.Context(), "go", "build", "-overlay", overlay, "../../"+filepath.Dir(m.File)).CombinedOutput()
			require.NoError(t, err, "it does not build:\n%s", build)
			output, err := goTest(t, overlay, m.Tests)
			var exit *exec.ExitError
			require.False(t, err != nil && !errors.As(err, &exit), "go test: %v", err)
			require.Error(t, err, "line %d: no test notices that %s", m.Line, m.Name)
			require.Contains(t, output, "--- FAIL", "what failed is no test:\n%s", output)
		})
	}
}

// mutated writes the mutant's file, and the list that has it built instead of the own.
func mutated(t *testing.T, m *tidy.Mutant) (overlay string) {
	path, err := filepath.Abs(filepath.Join("..", "..", m.File))
	require.NoError(t, err)
	source, err := os.ReadFile(path)
	require.NoError(t, err)
	changed, err := m.Apply(string(source))
	require.NoError(t, err)
	folder := t.TempDir()
	instead := filepath.Join(folder, filepath.Base(m.File))
	require.NoError(t, os.WriteFile(instead, []byte(changed), 0o600))
	list, err := json.Marshal(map[string]map[string]string{"Replace": {path: instead}})
	require.NoError(t, err)
	overlay = filepath.Join(folder, "overlay.json")
	require.NoError(t, os.WriteFile(overlay, list, 0o600))
	return overlay
}

// goTest runs tests from the module's folder, with the files of an overlay; "": none.
func goTest(t *testing.T, overlay string, tests []string) (output string, err error) {
	args := []string{"test", "-vet=off", "-failfast"}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	cmd := exec.CommandContext(t.Context(), "go", append(args, tests...)...)
	cmd.Dir = filepath.Join("..", "..")
	all, err := cmd.CombinedOutput()
	return string(all), err //nolint:wrapcheck // the caller says of what.
}
