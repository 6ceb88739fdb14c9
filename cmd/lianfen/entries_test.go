package main

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/ledger/book"
)

// A change of one rule of a programme leaves the others as they are, and without a
// switch to ask it is no fault of the command line.
func TestProgramKeepsWhatIsLeftOut(t *testing.T) {
	t.Chdir(t.TempDir())
	_, stderr, status := lianfen(t, "init", "switch")
	require.Zero(t, status, stderr)
	d := startDaemon(t, "switch")
	d.ready(t)
	admin := func(args ...string) (stdout string, status int) {
		stdout, stderr, status := lianfen(t, append([]string{"admin", "--config", "switch/lianfen.yaml"}, args...)...)
		t.Log(stderr)
		return stdout, status
	}
	for _, args := range [][]string{
		{"issuer", "--id", "10000001", "--name", "Issuer"},
		{"program", "--id", "901", "--issuer", "10000001", "--name", "Miles", "--name-zh", "里程", "--valid-months", "24", "--open-on-earn", "--min-redeem", "010"},
		{"program", "--id", "901", "--issuer", "10000001", "--name", "Miles", "--max-amount", "500", "--min-redeem", "0"},
	} {
		_, status = admin(args...)
		require.Zero(t, status)
	}
	list, status := admin("list", "--json")
	require.Zero(t, status)
	var directory app.Directory
	require.NoError(t, json.Unmarshal([]byte(list), &directory))
	require.Len(t, directory.Programs, 1)
	require.Equal(t, "里程", directory.Programs[0].NameZH)
	require.Equal(t, book.ProgramRules{ValidMonths: 24, OpenOnEarn: true, GraceDays: 30, MaxAmount: 500}, directory.Programs[0].Rules)
	d.terminate(t)
	_, status = admin("program", "--id", "901", "--issuer", "10000001", "--name", "Miles")
	require.Equal(t, exitFault, status)
}
