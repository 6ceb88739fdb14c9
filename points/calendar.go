package points

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Calendar says on which days banks pay.
type Calendar struct {
	weekend []time.Weekday
	closed  map[BusinessDate]bool
	open    map[BusinessDate]bool // although it is a weekend
}

// maxClosed bounds how many days a calendar closes in one line, and how far a banking day
// is looked for.
const maxClosed = 400

// ParseCalendar reads days, one line each: 2026-10-01 or 2026-10-01..2026-10-07 is closed,
// "open 2026-10-10" is open although it is a weekend. What follows a # is a remark.
func ParseCalendar(text string, weekend []time.Weekday) (Calendar, error) {
	c := Calendar{weekend: slices.Clone(weekend), closed: make(map[BusinessDate]bool), open: make(map[BusinessDate]bool)}
	for i, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		days := c.closed
		if rest, ok := strings.CutPrefix(line, "open "); ok {
			line, days = strings.TrimSpace(rest), c.open
		}
		from, to, ranged := strings.Cut(line, "..")
		first, err := ParseBusinessDate(from)
		last := first
		if err == nil && ranged {
			last, err = ParseBusinessDate(to)
		}
		if err == nil && (last < first || last > first.AddDays(maxClosed)) {
			err = Errorf(FormatError, "%s: want an earlier day, and one at most %d days later", line, maxClosed)
		}
		if err != nil {
			return c, fmt.Errorf("line %d: %w", i+1, err)
		}
		for day := first; day <= last; day = day.AddDays(1) {
			if c.closed[day] || c.open[day] {
				return c, Errorf(FormatError, "line %d: %v is there twice", i+1, day)
			}
			days[day] = true
		}
	}
	return c, nil
}

// Banking reports whether banks pay on a day.
func (c *Calendar) Banking(day BusinessDate) bool {
	return c.open[day] || (!c.closed[day] && !slices.Contains(c.weekend, day.Time().Weekday()))
}

// Settles is the day on which what is cleared on a business date is paid: the next banking
// day after it. 0 when there is none within reach, or no such date.
func (c *Calendar) Settles(date BusinessDate) BusinessDate {
	for day := date; date.Valid() && day < 99990101; {
		if day = day.AddDays(1); c.Banking(day) {
			return day
		}
		if day > date.AddDays(2*maxClosed) {
			break
		}
	}
	return 0
}
