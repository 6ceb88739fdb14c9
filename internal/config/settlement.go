package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ClockTime is a time of day, in minutes since midnight of the local clock.
type ClockTime int

// String renders hh:mm.
func (t ClockTime) String() string { return fmt.Sprintf("%02d:%02d", int(t)/60, int(t)%60) }

// parseClockTime reads hh:mm.
func parseClockTime(text string) (ClockTime, bool) {
	t, err := time.Parse("15:04", text)
	if err != nil || len(text) != len("15:04") {
		return 0, false
	}
	return ClockTime(t.Hour()*60 + t.Minute()), true
}

// ClockTimes are times of day.
type ClockTimes []ClockTime

// Weekdays are days of the week.
type Weekdays []time.Weekday

// maxCycleTimes is how many cycles a date can end beside its last: they are 1 to 99.
const maxCycleTimes = 98

func (s *Settlement) settings() []setting {
	return []setting{
		clockTimes("settlement.cutover", &s.CutOver, 1, "Local time at which the business date ends by itself. From 12:00 on it ends the date of "+
			"the same day, before 12:00 that of the day before. With none, only operators end it."),
		clockTimes("settlement.cycles", &s.Cycles, maxCycleTimes, "Local times at which a settlement cycle ends, and the business date goes on; "+
			"without settlement.cutover those of the date's own day."),
		optional(file("settlement.holidays", &s.Holidays, "File of days on which banks are closed (2026-10-01, or 2026-10-01..2026-10-07), "+
			"or open at a weekend (open 2026-10-10), one a line. What is cleared on a date is paid on the next banking day.")),
		weekdays("settlement.weekend", &s.Weekend, "Days of the week on which banks are closed."),
	}
}

func (s *Settlement) disagreements(report func(key, value, expected string)) {
	for _, cut := range s.CutOver {
		if slices.Contains(s.Cycles, cut) {
			report("settlement.cycles", s.Cycles.String(), "times other than settlement.cutover "+cut.String())
		}
	}
}

// none is the word for an empty list.
const none = "none"

// words are the parts of a list with commas between; of "none" there are none.
func words(text string) (list []string) {
	if text == none {
		return nil
	}
	for part := range strings.SplitSeq(text, ",") {
		list = append(list, strings.TrimSpace(part))
	}
	return list
}

// listOf renders a list as words reads it.
func listOf[T fmt.Stringer](list []T) string {
	if len(list) == 0 {
		return none
	}
	parts := make([]string, len(list))
	for i := range list {
		parts[i] = list[i].String()
	}
	return strings.Join(parts, ", ")
}

// String renders the times as the file has them.
func (t ClockTimes) String() string { return listOf(t) }

// String renders the days as the file has them.
func (d Weekdays) String() string {
	if len(d) == 0 {
		return none
	}
	parts := make([]string, len(d))
	for i := range d {
		parts[i] = strings.ToLower(d[i].String()[:3])
	}
	return strings.Join(parts, ", ")
}

func clockTimes(key string, field *ClockTimes, most int, help string) setting {
	want := "none, or a time such as 23:00"
	if most > 1 {
		want = "none, or at most " + strconv.Itoa(most) + " times such as 11:30, 17:00, each once"
	}
	distinct := func(list ClockTimes) bool {
		sorted := slices.Clone(list)
		slices.Sort(sorted)
		return len(list) <= most && len(slices.Compact(sorted)) == len(list)
	}
	return setting{
		key: key, help: help, expects: want,
		set: func(text string) bool {
			var found ClockTimes
			for _, word := range words(text) {
				at, ok := parseClockTime(word)
				if !ok {
					return false
				}
				found = append(found, at)
			}
			if !distinct(found) {
				return false
			}
			*field = found
			return true
		},
		show:  func() string { return field.String() },
		valid: func() bool { return distinct(*field) },
	}
}

func weekdays(key string, field *Weekdays, help string) setting {
	return setting{
		key: key, help: help, expects: "none, or days such as sat, sun; not all seven",
		set: func(text string) bool {
			var found Weekdays
			for _, word := range words(text) {
				day := slices.IndexFunc([]time.Weekday{0, 1, 2, 3, 4, 5, 6}, func(d time.Weekday) bool { return strings.ToLower(d.String()[:3]) == word })
				if day < 0 || slices.Contains(found, time.Weekday(day)) {
					return false
				}
				found = append(found, time.Weekday(day))
			}
			if len(found) > 6 {
				return false
			}
			*field = found
			return true
		},
		show:  func() string { return field.String() },
		valid: func() bool { return len(*field) <= 6 },
	}
}
