package app

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
)

// Lines without DE37 are looked for on the dates about the day that they were sent, before the
// date that is compared, the latest first; a day that is none is passed over, and whoever
// writes many days has not all of the journal read.
func TestDatesAboutADay(t *testing.T) {
	require.Equal(t, []points.BusinessDate{20260302, 20260301, 20260228, 20260101, 20251231, 20251230},
		datesAbout([]uint32{20260301, 20251231, 20260231, 0, 20260304}, 20260303))
	var days []uint32
	for day := range uint32(28) {
		days = append(days, 20260201+day, 20260101+day)
	}
	dates := datesAbout(days, 20260303)
	require.Len(t, dates, maxNamelessDates)
	require.Equal(t, points.BusinessDate(20260301), dates[0])
}
