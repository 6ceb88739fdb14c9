package points

import (
	"fmt"
	"time"
)

// Timestamp is an instant in microseconds since 1970-01-01 UTC.
type Timestamp int64

// Clock tells the time. It is read at a door, once per request; from there on
// the time is an argument.
type Clock func() Timestamp

// TimestampOf converts from the standard library's time.
func TimestampOf(t time.Time) Timestamp { return Timestamp(t.UnixMicro()) }

// Time converts to the standard library's time, in UTC.
func (t Timestamp) Time() time.Time { return time.UnixMicro(int64(t)).UTC() }

// Add returns t moved by d; what is under a microsecond is cut off.
func (t Timestamp) Add(d time.Duration) Timestamp { return t + Timestamp(d.Microseconds()) }

// Sub returns the time from u to t.
func (t Timestamp) Sub(u Timestamp) time.Duration { return time.Duration(t-u) * time.Microsecond }

// String renders RFC 3339 with microseconds.
func (t Timestamp) String() string { return t.Time().Format("2006-01-02T15:04:05.000000Z07:00") }

// BusinessDate is the day that a transaction settles in, as the number
// yyyymmdd. It changes at cut-over, not at midnight. 0 is "no date".
type BusinessDate uint32

// DateOf returns the calendar date of t in t's own zone.
func DateOf(t time.Time) BusinessDate {
	y, m, d := t.Date()
	if y < 1 || y > 9999 {
		return 0
	}
	return BusinessDate(y*10000 + int(m)*100 + d) //nolint:gosec // years 1 to 9999.
}

// ParseBusinessDate reads 2006-01-02 or 20060102. Files have one in every line.
func ParseBusinessDate(s string) (BusinessDate, error) {
	digits, d, good := s, BusinessDate(0), true
	if len(s) == len("2006-01-02") && s[4] == '-' && s[7] == '-' {
		digits = s[:4] + s[5:7] + s[8:]
	}
	for i := range len(digits) {
		good = good && digits[i] >= '0' && digits[i] <= '9'
		d = d*10 + BusinessDate(digits[i]-'0')
	}
	if len(digits) != len("20060102") || !good || !d.Valid() {
		return 0, Errorf(FormatError, "business date %q: want a day of the calendar, such as 2026-02-16", s)
	}
	return d, nil
}

// Valid reports whether d is a day of the calendar.
func (d BusinessDate) Valid() bool {
	return d > 0 && DateOf(d.Time()) == d
}

// Time returns midnight UTC at the start of the day.
func (d BusinessDate) Time() time.Time {
	return time.Date(int(d/10000), time.Month(d/100%100), int(d%100), 0, 0, 0, 0, time.UTC)
}

// AddDays returns the date n days later.
func (d BusinessDate) AddDays(n int) BusinessDate { return DateOf(d.Time().AddDate(0, 0, n)) }

// AddMonths returns the same day n months later, or the last day of that month
// where it has no such day.
func (d BusinessDate) AddMonths(n int) BusinessDate {
	first := time.Date(int(d/10000), time.Month(d/100%100), 1, 0, 0, 0, 0, time.UTC).AddDate(0, n, 0)
	last := first.AddDate(0, 1, -1).Day()
	return DateOf(first.AddDate(0, 0, min(int(d%100), last)-1))
}

// MonthEnd returns the last day of d's month.
func (d BusinessDate) MonthEnd() BusinessDate {
	return DateOf(time.Date(int(d/10000), time.Month(d/100%100)+1, 0, 0, 0, 0, 0, time.UTC))
}

// MMDD returns month and day as DE13 and DE15 carry them.
func (d BusinessDate) MMDD() uint32 { return uint32(d % 10000) }

// String renders 2026-02-16, or "-" for no date.
func (d BusinessDate) String() string { return string(d.Append(nil)) }

// Append appends what [BusinessDate.String] renders.
func (d BusinessDate) Append(dst []byte) []byte {
	switch {
	case d == 0:
		return append(dst, '-')
	case d > 9999_12_31: // Of no calendar, in a message about it.
		return fmt.Appendf(dst, "%04d-%02d-%02d", d/10000, d/100%100, d%100)
	}
	const places = "yyyy-mm-dd"
	dst = append(dst, places...)
	text := dst[len(dst)-len(places):]
	for i := len(text) - 1; i >= 0; i-- {
		if text[i] != '-' {
			text[i] = byte('0' + d%10)
			d /= 10
		}
	}
	return dst
}

// MarshalText renders 2026-02-16.
func (d BusinessDate) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (d *BusinessDate) UnmarshalText(text []byte) (err error) {
	if string(text) == "-" || len(text) == 0 {
		*d = 0
		return nil
	}
	*d, err = ParseBusinessDate(string(text))
	return err
}
