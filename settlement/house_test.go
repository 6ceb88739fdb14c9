package settlement_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement"
)

// DE7 with the year is what a partner's system has sent, in UTC, whatever the zone, of the
// year in which it is nearest; of a terminal it is the local time of the item, also in the
// hour that clocks show twice, leave out, or in which the year changes.
func TestTransmitted(t *testing.T) {
	zone, err := time.LoadLocation("America/New_York")
	require.NoError(t, err)
	for _, c := range []struct {
		at   string
		door points.Door
		sent uint64
		want uint64
	}{
		{"2026-06-01T12:00:00Z", points.DoorHost, 601_115_959, 20260601_115959},
		{"2026-12-31T23:59:59Z", points.DoorHost, 101_000_001, 20270101_000001},
		{"2027-01-01T00:00:01Z", points.DoorHost, 1231_235_959, 20261231_235959},
		{"2027-01-01T03:00:00Z", points.DoorHost, 101_025_959, 20270101_025959}, // Still the old year in the zone.
		{"2026-06-01T12:00:00Z", points.DoorHost, 0, 20260601_080000},
		{"2026-06-01T12:00:00Z", points.DoorTerminal, 7, 20260601_080000}, // 7 is the batch.
		{"2027-01-01T03:00:00Z", points.DoorTerminal, 7, 20261231_220000},
		{"2026-03-08T06:59:59Z", points.DoorTerminal, 7, 20260308_015959},
		{"2026-03-08T07:00:00Z", points.DoorTerminal, 7, 20260308_030000},
		{"2026-11-01T05:30:00Z", points.DoorTerminal, 7, 20261101_013000},
		{"2026-11-01T06:30:00Z", points.DoorTerminal, 7, 20261101_013000}, // An hour later.
	} {
		at, err := time.Parse(time.RFC3339, c.at)
		require.NoError(t, err)
		item := &book.ClearingItem{Request: &book.Command{Key: points.TraceKey{Door: c.door, When: c.sent}}}
		item.At = points.TimestampOf(at)
		require.Equal(t, c.want, settlement.Transmitted(item, zone), "%+v", c)
	}
}
