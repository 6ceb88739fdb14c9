package points_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
)

// A text that steers the terminal or turns around what is read is refused by its
// character, and printed written out; every other text is left alone, blanks as wide
// as a Chinese character too.
func TestText(t *testing.T) {
	for _, c := range []struct{ text, refusal, escaped string }{
		{"", "", ""},
		{"Harbour Air 海港航空\u3000é\u00a0😀", "", ""},
		{"a\nb", "note: character 2 is U+000A", `a\u000ab`},
		{"海\x1b[31m", "note: character 2 is U+001B", `海\u001b[31m`},
		{"\u009b2J", "note: character 1 is U+009B", `\u009b2J`},
		{"pay \u202e001", "note: character 5 is U+202E", `pay \u202e001`},
		{"a\u2066b\u2069", "note: character 2 is U+2066", `a\u2066b\u2069`},
		{"a\u200bb", "note: character 2 is U+200B", `a\u200bb`},
		{"a\u2028b", "note: character 2 is U+2028", `a\u2028b`},
		{"\U000e0041", "note: character 1 is U+E0041", `\U000e0041`},
		{"ab\xff", "note: byte 3 is not UTF-8", `ab\xff`},
		{"\ufffd", "", ""},
	} {
		err := points.CheckText("note", c.text)
		if c.refusal == "" {
			require.NoError(t, err, "%q", c.text)
			require.Equal(t, c.text, points.Escaped(c.text))
		} else {
			require.ErrorContains(t, err, c.refusal)
			require.Equal(t, points.FormatError, points.ReasonOf(err))
			require.Equal(t, c.escaped, points.Escaped(c.text))
		}
		text, err := json.Marshal(map[string]string{"note": c.text})
		require.NoError(t, err)
		escaped := points.EscapedJSON(text)
		require.NoError(t, points.CheckText("", string(escaped)), "%q", c.text)
		var want, got any
		require.NoError(t, json.Unmarshal(text, &want))
		require.NoError(t, json.Unmarshal(escaped, &got))
		require.Equal(t, want, got)
	}
	require.Equal(t, "{\n\t}", string(points.EscapedJSON([]byte("{\n\t}"))))
}
