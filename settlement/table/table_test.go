package table_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/table"
)

// written is a table of so many rows, each with what its number makes of it.
func written(t *testing.T, rows uint64) []byte {
	t.Helper()
	var file bytes.Buffer
	w := table.NewWriter(&file, table.About{Run: "01KJJQZ3A00000000000000002", Manifest: "ab", Program: "test"})
	for i := range rows {
		row := w.Next()
		row.ID, row.Kind, row.Amount, row.BusinessDate = 1<<63+i, "RDM", -int64(i), table.Date(20260302)
		row.AcquirerSide = w.Side()
		row.AcquirerSide.Net = int64(i)
		if i%3 == 0 {
			row.IssuerSide, row.TargetSide, row.Swap = w.Side(), w.Side(), w.Swap()
			row.IssuerSide.Net, row.TargetSide.Std, row.Swap.Granted = -int64(i), int64(i), int64(2*i)
			row.OriginalDate, row.Original = table.Date(19700102), i+1
		}
		require.NoError(t, w.Done())
	}
	require.NoError(t, w.Close())
	require.Equal(t, rows, w.Rows())
	return file.Bytes()
}

// Rows come back as they were written, over the bounds of batches and groups of rows, with
// nulls where there is nothing and zeros where there is zero; the same rows give the same bytes.
func TestRowsComeBack(t *testing.T) {
	for _, n := range []uint64{0, 1, 255, 256, 257, table.GroupRows + 1} {
		file := written(t, n)
		rows, err := parquet.Read[table.Row](bytes.NewReader(file), int64(len(file)))
		require.NoError(t, err)
		require.Len(t, rows, int(n))
		for i := range rows {
			want := table.Row{ID: 1<<63 + uint64(i), Kind: "RDM", Amount: -int64(i), BusinessDate: 20_514, AcquirerSide: &table.Side{Net: int64(i)}}
			if i%3 == 0 {
				want.IssuerSide, want.TargetSide, want.Swap = &table.Side{Net: -int64(i)}, &table.Side{Std: int64(i)}, &table.Swap{Granted: int64(2 * i)}
				want.OriginalDate, want.Original = 1, uint64(i)+1
			}
			require.Equal(t, want, rows[i])
		}
		require.Equal(t, file, written(t, n))
		f, err := parquet.OpenFile(bytes.NewReader(file), int64(len(file)))
		require.NoError(t, err)
		run, _ := f.Lookup("lianfen.run")
		require.Equal(t, "01KJJQZ3A00000000000000002", run)
		require.Len(t, f.RowGroups(), int((n+table.GroupRows-1)/table.GroupRows))
	}
}

// A file without its end is no table.
func TestHalfATable(t *testing.T) {
	file := written(t, 1_000)
	for _, end := range []int{0, 4, len(file) / 2, len(file) - 1} {
		_, err := parquet.Read[table.Row](bytes.NewReader(file[:end]), int64(end))
		require.Error(t, err)
	}
}

// Dates are days since 1970, of the calendar.
func TestDate(t *testing.T) {
	for date, want := range map[points.BusinessDate]int32{0: 0, 19700101: 0, 19700102: 1, 20000229: 11_016, 20260302: 20_514} {
		require.Equal(t, want, table.Date(date), "%v", date)
	}
}

// Every column is explained to whoever reads the table.
func TestColumnsAreExplained(t *testing.T) {
	text, err := os.ReadFile("../files/document.md")
	require.NoError(t, err)
	_, section, _ := strings.Cut(string(text), "\n## For analysts\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for _, path := range parquet.SchemaOf(table.Row{}).Columns() {
		for _, name := range path {
			require.Contains(t, section, "`"+name+"`", "column %v", path)
		}
	}
}
