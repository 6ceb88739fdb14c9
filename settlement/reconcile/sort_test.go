package reconcile

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// folder spills into a folder of the test.
type folder struct {
	dir  string
	open int
}

type removed struct {
	*os.File
	folder *folder
}

func (r removed) Close() error {
	r.folder.open--
	return errors.Join(r.File.Close(), os.Remove(r.Name()))
}

func (f *folder) Create() (SpillFile, error) {
	file, err := os.CreateTemp(f.dir, "run-*")
	f.open++
	return removed{file, f}, err
}

func drain(t require.TestingT, lines Lines) (all []Line) {
	for {
		var l Line
		ok, err := lines.Next(&l)
		require.NoError(t, err)
		if !ok {
			return all
		}
		all = append(all, l)
	}
}

// Sorting with little memory gives what sorting all of it in memory gives, stably, and
// leaves no file behind.
func TestSortSpills(t *testing.T) {
	spill := &folder{dir: t.TempDir()}
	rapid.Check(t, func(rt *rapid.T) {
		lines := anyLines(rt, Switch)
		want := slices.Clone(lines)
		sortLines(want)
		sorted, err := Sort(Slice(lines), spill, rapid.IntRange(1, 4).Draw(rt, "in memory"))
		require.NoError(rt, err)
		require.Equal(rt, append([]Line(nil), want...), drain(rt, sorted))
		require.NoError(rt, sorted.Close())
		require.Zero(rt, spill.open)
	})
	left, err := filepath.Glob(filepath.Join(spill.dir, "*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

// Sorted sources are merged into what sorting one after the other gives, stably; one that
// is not sorted is an error.
func TestMergeKeepsOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		sources := []Lines{nil}
		var want []Line
		for range rapid.IntRange(0, 5).Draw(rt, "sources") {
			lines := anyLines(rt, Switch)
			sortLines(lines)
			want = append(want, lines...)
			sources = append(sources, Slice(lines))
		}
		sortLines(want)
		m, err := Merge(sources...)
		require.NoError(rt, err)
		require.Equal(rt, want, drain(rt, m))
	})
	m, err := Merge(Slice([]Line{line(2, 1), line(1, 1)}), Slice([]Line{line(3, 1)}))
	require.NoError(t, err)
	_, err = m.Next(new(Line))
	require.ErrorIs(t, err, ErrUnsorted)
}

// A source is in order if sorting would leave it as it is.
func TestOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		lines := anyLines(rt, Switch)
		sorted := slices.Clone(lines)
		sortLines(sorted)
		var o Order
		for i := range lines {
			o.See(&lines[i])
		}
		require.Equal(rt, slices.Equal(sorted, lines), o.Kept())
	})
}

// A line on disk is the line that was written.
func TestLineOnDisk(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := anyLine(rt, Switch)
		l.CID, l.Number = rapid.Uint64().Draw(rt, "cid"), rapid.Uint64().Draw(rt, "number")
		l.Amount = rapid.Int64().Draw(rt, "amount")
		l.Fees[Issuer] = rapid.Int64().Draw(rt, "fee")
		bytes := l.appendTo(nil)
		require.Len(rt, bytes, lineSize)
		var back Line
		back.decode(bytes)
		require.Equal(rt, l, back)
	})
}
