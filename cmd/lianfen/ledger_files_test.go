package main

import (
	"context"
	"encoding/binary"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/points"
)

// A ledger that cannot be trusted ends verify and restore with the runbook's
// exit status; one that can be, with none.
func TestLedgerExitStatus(t *testing.T) {
	data := filepath.Join(t.TempDir(), "store")
	require.NoError(t, store.Create(store.Options{Dir: data}))
	db, err := store.Open(store.Options{Dir: data})
	require.NoError(t, err)
	l, err := ledger.Open(context.Background(), ledger.Options{Store: db, Genesis: 20260301, GenesisAt: 1})
	require.NoError(t, err)
	require.NoError(t, l.Close(context.Background()))
	verify := []string{"ledger", "verify", "--offline", "--data", data}
	require.Equal(t, exitOK, run(verify))

	// A row of the index that nobody wrote costs nothing but making the index again.
	db, err = store.Open(store.Options{Dir: data})
	require.NoError(t, err)
	stray := store.Pair{Key: append([]byte{byte(store.Index)}, "stray"...), Value: []byte{1}}
	require.NoError(t, db.Ingest(context.Background(), []store.Pair{stray}))
	require.NoError(t, db.Close())
	require.Equal(t, exitFault, run(verify))

	db, err = store.Open(store.Options{Dir: data})
	require.NoError(t, err)
	first := binary.BigEndian.AppendUint64(nil, 1)
	value, ok, err := db.Get(nil, store.Journal, first)
	require.NoError(t, err)
	require.True(t, ok)
	value[len(value)/2] ^= 1
	batch, err := db.Start(store.Journal, first, value)
	require.NoError(t, err)
	require.NoError(t, batch.Wait())
	require.NoError(t, db.Close())
	require.Equal(t, exitStore, run(verify))
	require.Equal(t, exitStore, run([]string{"ledger", "restore", "--from", data, "--data", data + "2"}))
	require.NoFileExists(t, data+"2")

	require.Equal(t, exitFault, run([]string{"ledger", "verify", "--offline", "--data", data + "2"}))
	require.Equal(t, exitUsage, run([]string{"ledger", "verify", "--offline"}))
	require.Equal(t, exitUsage, run([]string{"ledger", "verify", "--data", data}))
	require.Equal(t, exitUsage, run([]string{"ledger", "restore", "--from", data, "--data", data + "2", "--to-position", "0"}))
	require.Equal(t, exitUsage, run([]string{"ledger", "restore", "--from", data, "--data", data + "2", "--to-time", "noon"}))
}

// A position is told from an RRN by its length, and a time has its zone.
func TestUntil(t *testing.T) {
	until, err := parseUntil("000000000042", "")
	require.NoError(t, err)
	require.Equal(t, ledger.Until{Position: 42}, until)
	until, err = parseUntil("42", "")
	require.NoError(t, err)
	require.Equal(t, ledger.Until{Position: 42}, until)
	until, err = parseUntil("", "2026-03-01T08:00:00.5+08:00")
	require.NoError(t, err)
	require.Equal(t, ledger.Until{Time: points.Timestamp(1_772_323_200_500_000)}, until)
	until, err = parseUntil("", "")
	require.NoError(t, err)
	require.Zero(t, until)
}
