package points_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
)

// What is cleared on a date is paid on the next day that is neither a weekend nor a
// holiday; a weekend at which banks are open counts.
func TestSettlementDates(t *testing.T) {
	c, err := points.ParseCalendar("2026-10-01..2026-10-07 # National Day\n\nopen 2026-10-10\n20260501\n", []time.Weekday{time.Saturday, time.Sunday})
	require.NoError(t, err)
	for date, want := range map[points.BusinessDate]points.BusinessDate{
		20260930: 20261008, 20261005: 20261008, 20261008: 20261009, 20261009: 20261010, 20261010: 20261012, 20260430: 20260504, 0: 0, 20260231: 0,
	} {
		require.Equal(t, want, c.Settles(date), date)
	}
	require.True(t, c.Banking(20261010))
	require.False(t, c.Banking(20261011))
}

// A line that is no day is refused with its number; so is a day that is there twice, and a
// range that goes back or closes more than a year.
func TestCalendarRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"2026-10-01\nx": "line 2", "2026-02-30": "line 1", "2026-10-07..2026-10-01": "line 1", "2026-01-01..2028-01-01": "line 1",
		"2026-10-01\nopen 2026-10-01": "twice", "open": "line 1", "2026-10-01..": "line 1",
	} {
		_, err := points.ParseCalendar(text, nil)
		require.ErrorContains(t, err, want, text)
	}
	var never points.Calendar
	require.Equal(t, points.BusinessDate(20260102), never.Settles(20260101))
}
