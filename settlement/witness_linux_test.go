package settlement

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/netting"
)

// write makes a file by a witness.
func write(t *testing.T, w *witness, folder, name string) {
	t.Helper()
	file, err := w.create(folder, "", name)
	require.NoError(t, err)
	_, err = file.Write([]byte("as it was"))
	require.NoError(t, err)
	require.NoError(t, file.Close())
}

// A witness knows the files that were not touched since, and none that was, however that was
// hidden.
func TestWitness(t *testing.T) {
	touch := map[string]func(path string) error{
		"same bytes": func(path string) error { return os.WriteFile(path, []byte("as it was"), 0o600) },
		"as old as before": func(path string) error {
			info, err := os.Stat(path)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(path, []byte("as it is!"), 0o600))
			return os.Chtimes(path, info.ModTime(), info.ModTime())
		},
		"longer": func(path string) error { return os.WriteFile(path, []byte("as it was!"), 0o600) },
		"another file": func(path string) error {
			require.NoError(t, os.WriteFile(path+".new", []byte("as it was"), 0o600))
			return os.Rename(path+".new", path)
		},
		"a link to it": func(path string) error {
			require.NoError(t, os.Rename(path, path+".old"))
			return os.Symlink(path+".old", path)
		},
	}
	folder, w := t.TempDir(), newWitness()
	knows := func(name string) bool {
		info, err := os.Lstat(filepath.Join(folder, name))
		require.NoError(t, err)
		return w.knows(name, info)
	}
	write(t, w, folder, "untouched")
	for name := range touch {
		write(t, w, folder, name)
	}
	require.False(t, knows("untouched"), "there is no manifest")
	write(t, w, folder, ManifestName)
	w.later(2 * tick)
	require.True(t, knows("untouched"))
	for name, touch := range touch {
		require.True(t, knows(name), name)
		require.NoError(t, touch(filepath.Join(folder, name)), name)
		require.False(t, knows(name), name)
	}
	require.NoError(t, os.WriteFile(filepath.Join(folder, "nobody's"), nil, 0o600))
	require.False(t, knows("nobody's"))
	require.True(t, knows("untouched"))
	w.later(-2 * tick)
	require.False(t, knows("untouched"), "written within a tick of the manifest")
	require.False(t, (*witness)(nil).knows("untouched", nil))
}

// later has the manifest written so much later.
func (w *witness) later(by time.Duration) {
	m := w.marks[ManifestName]
	m.changed += by
	w.marks[ManifestName] = m
}

// R2: a file that was touched after this process has written it is not published, though
// the others are not read again; what another process finds, it reads.
func TestTouchedBeforePublication(t *testing.T) {
	night, err := NewSynthetic(2_000, 4, 1)
	require.NoError(t, err)
	require.NoError(t, night.Naive(t.Context()))
	models, err := netting.NewModels(1, []netting.Rule{{One: netting.Any, Other: netting.Any, Model: netting.MNET}})
	require.NoError(t, err)
	now := syntheticStart + 2*day
	opts := Options{
		Folder: t.TempDir(), Operator: 90_000_001, Name: "联分", Code: "test", Models: models, Zone: time.UTC, Clock: func() points.Timestamp { return now },
	}
	r, err := NewRunner(night, opts)
	require.NoError(t, err)
	order := Order{At: now, By: "li", ID: "01KJJQZ3A0000000000000000A"}
	run, err := r.Run(t.Context(), syntheticDate, 1, order)
	require.NoError(t, err)
	require.Equal(t, run.Manifest, r.madeManifest)
	r.made.later(2 * tick) // As in a night that takes its time.
	order.By = "wang"
	require.NoError(t, r.Approve(t.Context(), run, order))

	work := filepath.Join(opts.Folder, run.ID+".tmp")
	path := filepath.Join(work, "10000000", "day.journal")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.True(t, r.made.knows("10000000/day.journal", info))
	rot := append([]byte{}, text...)
	rot[len(rot)/2] ^= 1
	touch := func(content []byte) error {
		require.NoError(t, os.WriteFile(path, content, 0o600))
		require.NoError(t, os.Chtimes(path, info.ModTime(), info.ModTime()))
		return r.Publish(t.Context(), run, order)
	}
	require.ErrorContains(t, touch(rot), "day.journal: SHA-256")
	require.NoDirExists(t, filepath.Join(opts.Folder, run.ID))
	require.NoError(t, touch(text), "its bytes are back, and are read")
	require.Nil(t, r.made)
	require.Equal(t, Published, run.State)
}
