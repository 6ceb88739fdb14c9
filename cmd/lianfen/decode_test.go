package main

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
)

// golden is a frame of the golden corpus.
type golden struct {
	name   string // file and a number
	frame  []byte
	broken bool // it does not decode without an error
}

// goldenOf reads all requests of a dialect's corpus.
func goldenOf(t *testing.T, name string) []golden {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(goldenFrames, name, "*.txt"))
	require.NoError(t, err)
	var all []golden
	for _, path := range paths {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		for block := range strings.SplitSeq(string(text), "\n\n") {
			_, block, found := strings.Cut("\n"+block, "\ndecode")
			if !found {
				continue
			}
			_, block, _ = strings.Cut(block, "\n") // The rest of the directive.
			digits, expected, found := strings.Cut(block, "\n----\n")
			require.True(t, found, path)
			frame, err := hex.DecodeString(strings.Join(strings.Fields(digits), ""))
			require.NoError(t, err, path)
			broken := strings.Contains("\n"+expected, "\nerror: ") || strings.Contains("\n"+expected, "\nfatal: ")
			all = append(all, golden{filepath.Base(path), frame, broken})
		}
	}
	return all
}

// Every golden frame is explained under its own dialect, with its length and
// without; the broken ones with exit status 1 and what is wrong. Nothing that is
// printed shows the card.
func TestDecodeGolden(t *testing.T) {
	for _, d := range []*dialect.Dialect{dialect.Pos(), dialect.Host()} {
		for _, g := range goldenOf(t, d.Name()) {
			var req points.Request
			decodeErr := d.Decode(g.frame, &req)
			require.Equal(t, g.broken, decodeErr != nil, "%s", g.name)
			plain := decoded(t, d, g, hex.EncodeToString(g.frame))
			length := []byte{byte(len(g.frame) >> 8), byte(len(g.frame))}
			require.Equal(t, plain, decoded(t, d, g, hex.EncodeToString(append(length, g.frame...))), g.name)
			path := filepath.Join(t.TempDir(), "frame")
			require.NoError(t, os.WriteFile(path, g.frame, 0o600))
			require.Equal(t, plain, decoded(t, d, g, path), g.name)
			if digits := digitsOf(req.PAN); len(digits) > 12 {
				require.Empty(t, found([]byte(plain), cardForms(t, digits)), g.name)
				require.NotContains(t, plain, strings.ToUpper(hex.EncodeToString([]byte(digits))), g.name)
			}
		}
	}
}

// decoded runs the command in this process.
func decoded(t *testing.T, d *dialect.Dialect, g golden, argument string) string {
	t.Helper()
	var out bytes.Buffer
	root := newRoot()
	root.SetOut(&out)
	root.SetArgs([]string{"decode", "--dialect", d.Name(), argument})
	err := root.Execute()
	if !g.broken {
		require.NoError(t, err, "%s: %s", g.name, argument)
		return out.String()
	}
	var coded *statusError
	require.ErrorAs(t, err, &coded, g.name)
	require.Equal(t, exitFault, coded.status, g.name)
	return out.String() + err.Error()
}
