package files

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func seeds(f *testing.F, pattern string) {
	f.Helper()
	names, err := filepath.Glob(filepath.Join(golden, pattern))
	require.NoError(f, err)
	require.NotEmpty(f, names)
	for _, name := range names {
		text, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(text)
	}
}

// FuzzDetail: whatever bytes come, reading ends, and a line that is read without a
// complaint of its form is written again as it was.
func FuzzDetail(f *testing.F) {
	seeds(f, "QZ_DET_*.txt")
	f.Fuzz(func(t *testing.T, text []byte) {
		d, _, err := NewDetailReader(bytes.NewReader(text))
		if err != nil {
			return
		}
		var l Line
		for more := true; more; {
			if more, _, err = d.Next(&l); err != nil {
				break
			}
		}
		for row := range bytes.SplitSeq(text, []byte(lineEnd)) {
			var l Line
			if len(lines.parse(row, 1, &l)) == 0 {
				again, err := lines.append(nil, &l)
				require.NoError(t, err)
				require.Equal(t, string(row)+lineEnd, string(again))
			}
		}
	})
}

// FuzzNet: reading ends, and what is read without complaint is written again as it was.
func FuzzNet(f *testing.F) {
	seeds(f, "QZ_NET_*.csv")
	f.Fuzz(func(t *testing.T, text []byte) {
		rows, total, broken, err := ReadNet(bytes.NewReader(text), 4)
		require.NoError(t, err)
		if len(broken) > 0 {
			return
		}
		again, err := AppendNetCopy(nil, rows, &total, 4)
		require.NoError(t, err)
		require.Equal(t, string(text), string(again))
	})
}

// FuzzSums: reading ends, and names stay in the folder.
func FuzzSums(f *testing.F) {
	seeds(f, SumsName)
	f.Fuzz(func(t *testing.T, text []byte) {
		outputs, _, err := ParseSums(bytes.NewReader(text))
		if err != nil {
			return
		}
		for _, o := range outputs {
			require.NotContains(t, o.Name, "/")
		}
	})
}
