package bench

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What the store has written is found among a switch's figures, all of it, and said
// by its greatest parts.
func TestCausesOfBytesWritten(t *testing.T) {
	early, err := causesIn(map[string]float64{
		"lianfen_store_wal_bytes_total": 100, `lianfen_store_table_bytes_total{by="flush",of="journal"}`: 30,
		`lianfen_store_table_bytes_total{by="ingest",of="index"}`: 5, "lianfen_store_disk_bytes": 1_000_000,
	})
	require.NoError(t, err)
	require.InDelta(t, 135, early.sum(), 0)
	late := causes{"log": 300, "flush of journal": 330, "ingest of index": 8}
	require.InDelta(t, 503, late.since(early).sum(), 0)
	require.Equal(t, "flush of journal 30, log 20", late.since(early).per(10))
	_, err = causesIn(map[string]float64{"lianfen_store_wal_bytes_total": 100})
	require.Error(t, err)
	_, err = causesIn(map[string]float64{`lianfen_store_table_bytes_total{by="flush",of="journal"}`: 30})
	require.Error(t, err)
}
