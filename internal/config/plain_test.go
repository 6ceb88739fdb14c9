package config

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// What is wrong with a file is said with line and key, and without a type of Go.
func TestPlainYAML(t *testing.T) {
	type row struct {
		Rate int
		Name string
		On   bool
		List []int
	}
	type file struct{ Rows []row }
	for text, want := range map[string]string{
		"rows:\n- ratte: 1\n":           `line 2: unknown key "ratte"`,
		"rows:\n- rate: many\n":         `line 2: "many" does not fit: want a whole number that fits`,
		"rows:\n- on: 7\n":              `line 2: "7" does not fit: want true or false`,
		"rows:\n- list: 7\n":            `line 2: "7" does not fit: want a list`,
		"rows:\n- {x: 1, rate: many}\n": `line 2: unknown key "x"; line 2: "many" does not fit: want a whole number that fits`,
		"rows:\n- name: {a: 1}\n":       "line 2: a section of keys does not fit: want text",
		"rows:\n- rate: 1\n  rate: 2\n": "already defined at line 2",
		"rows:\n- just words\n":         `line 2: "just words" does not fit: want what belongs there`,
	} {
		decoder := yaml.NewDecoder(strings.NewReader(text))
		decoder.KnownFields(true)
		err := PlainYAML(decoder.Decode(new(file)))
		require.ErrorContains(t, err, want, text)
		for _, of := range []string{"config.", "type", "unmarshal", "!!", "yaml:"} {
			require.NotContains(t, err.Error(), of, text)
		}
	}
	require.NoError(t, PlainYAML(nil))
}
