package app

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/points"
)

func utc(t *testing.T, text string) points.Timestamp {
	t.Helper()
	at, err := time.Parse("2006-01-02 15:04", text)
	require.NoError(t, err)
	return points.TimestampOf(at)
}

func scheduleOf(t *testing.T, zone string, cutOver config.ClockTimes, cycles ...config.ClockTime) *schedule {
	t.Helper()
	location, err := time.LoadLocation(zone)
	require.NoError(t, err)
	return &schedule{config.Settlement{CutOver: cutOver, Cycles: cycles}, location}
}

// A local time is its first passage on the day; one that the clock leaves out is the moment
// at which it does.
func TestInstantOfALocalTime(t *testing.T) {
	berlin := scheduleOf(t, "Europe/Berlin", nil)
	for text, want := range map[string]string{
		"20260115 23:00": "2026-01-15 22:00",
		"20260715 23:00": "2026-07-15 21:00",
		"20260329 02:30": "2026-03-29 01:00", // There is none between 02:00 and 03:00.
		"20260329 02:00": "2026-03-29 01:00",
		"20260329 03:00": "2026-03-29 01:00",
		"20261025 02:30": "2026-10-25 00:30", // It is passed twice.
		"20261025 03:00": "2026-10-25 02:00",
		"20261025 01:59": "2026-10-24 23:59",
	} {
		at, err := time.Parse("20060102 15:04", text)
		require.NoError(t, err)
		got := berlin.instant(points.DateOf(at), config.ClockTime(at.Hour()*60+at.Minute()))
		require.Equal(t, utc(t, want), got, "%s is %v", text, got)
	}
}

// On every day of a year, in zones whose clocks are set, a date ends once and later than the
// date before, and its cycles end inside it.
func TestScheduleOverAYear(t *testing.T) {
	for _, zone := range []string{"Asia/Shanghai", "Europe/Berlin", "America/St_Johns", "Africa/Casablanca", "Australia/Lord_Howe"} {
		for _, at := range []config.ClockTime{0, 2 * 60, 2*60 + 30, 11*60 + 59, 12 * 60, 23 * 60} {
			s := scheduleOf(t, zone, config.ClockTimes{at}, 1*60+15, 10*60, 17*60)
			for day := points.BusinessDate(20260101); day < 20270101; day = day.AddDays(1) {
				from, to := s.end(day.AddDays(-1)), s.end(day)
				require.Less(t, from, to)
				ends := s.cycles(day)
				require.Len(t, ends, 3, "%s %v %v", zone, at, day)
				for _, end := range ends {
					require.True(t, from < end && end < to)
				}
			}
		}
	}
}

// What is planned next follows from the date and cycle that run: one that came early by hand
// is not repeated, what was planned before the date began never was, and what was missed
// comes first, one after the other.
func TestNextCutOver(t *testing.T) {
	s := scheduleOf(t, "Asia/Shanghai", config.ClockTimes{23 * 60}, 11*60, 17*60)
	began := utc(t, "2026-03-01 15:00") // 23:00
	const date = points.BusinessDate(20260302)
	for i, step := range []struct {
		now  standing
		want cut
	}{
		{standing{date, 1, began}, cut{date, 2, utc(t, "2026-03-02 03:00")}},
		{standing{date, 2, began}, cut{date, 3, utc(t, "2026-03-02 09:00")}},
		{standing{date, 3, began}, cut{date + 1, 1, utc(t, "2026-03-02 15:00")}},
		{standing{date, 9, began}, cut{date + 1, 1, utc(t, "2026-03-02 15:00")}},
		{standing{date, 1, utc(t, "2026-03-02 04:00")}, cut{date, 2, utc(t, "2026-03-02 09:00")}},
		{standing{date, 1, utc(t, "2026-03-02 10:00")}, cut{date + 1, 1, utc(t, "2026-03-02 15:00")}},
	} {
		got, ok := s.next(step.now)
		require.True(t, ok)
		require.Equal(t, step.want, got, i)
	}
	_, ok := scheduleOf(t, "Asia/Shanghai", nil).next(standing{date, 1, began})
	require.False(t, ok, "nothing is planned")
	early := scheduleOf(t, "Asia/Shanghai", config.ClockTimes{2 * 60})
	got, _ := early.next(standing{date, 1, began})
	require.Equal(t, cut{date + 1, 1, utc(t, "2026-03-02 18:00")}, got, "02:00 of the 3rd ends the 2nd")
}
