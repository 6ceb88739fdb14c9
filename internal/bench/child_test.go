package bench

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// What a child has to say reaches the user: its warnings, and its last words when
// it fails.
func TestChildSpeaks(t *testing.T) {
	shell := Program{Path: "/bin/sh", Name: "sh", Env: os.Environ()}
	log := filepath.Join(t.TempDir(), "log")
	c, err := shell.start(t.Context(), "speaker", log, nil, "-c", `
		echo 'time=1 level=INFO msg=a'
		printf 'recovering 10%%\rtime=2 level=WARN msg="disk is slow"\n'
		echo 'recovering 20% level=WARN'
		echo 'time=3 level=ERROR msg="gone"'
		exit 3`)
	require.NoError(t, err)
	<-c.ended()
	count, last := c.warnings()
	require.Equal(t, 2, count)
	require.Equal(t, `time=3 level=ERROR msg="gone"`, last)
	require.ErrorContains(t, c.failure(), "speaker: exit status 3; it said:\ntime=1 level=INFO msg=a")
	require.Error(t, c.stop())
	require.NoError(t, c.kill(), "one that is gone already")

	var out int
	err = shell.ask(t.Context(), "asked", 1, &out, "-c", "cat >&2; exit 1")
	require.ErrorContains(t, err, "asked: exit status 1; it said:\n1")
	require.NoError(t, shell.ask(t.Context(), "asked", 42, &out, "-c", "cat"))
	require.Equal(t, 42, out)
	require.Error(t, shell.ask(t.Context(), "asked", 42, &out, "-c", "echo nonsense"))
}
