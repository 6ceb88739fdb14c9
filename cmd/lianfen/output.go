package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/points"
)

// writeJSON prints v for machines.
func writeJSON(w io.Writer, v any) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	if _, err := w.Write(points.EscapedJSON(text.Bytes())); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

// cellsOf are values as people read them in a table: nothing in them steers the
// terminal.
func cellsOf(values []any) []string {
	cells := make([]string, len(values))
	for i, value := range values {
		cells[i] = points.Escaped(fmt.Sprint(value))
	}
	return cells
}

// localTime is a time that machines read (RFC 3339) as people do: in the zone that the
// business date is of, with its offset.
func localTime(text string, zone *time.Location) string {
	return shownTime(text, zone, "2006-01-02T15:04:05.000000Z07:00")
}

// zoneOf is the zone that a configuration shows times in; the machine's where there is none.
func zoneOf(file string) *time.Location {
	c, err := config.Load(file, os.Environ(), nil)
	if err != nil {
		return time.Local
	}
	zone, err := c.Location()
	if err != nil {
		return time.Local
	}
	return zone
}

// clockTime is a posting time to the second; the year is the business date's.
func clockTime(text string, zone *time.Location) string {
	return shownTime(text, zone, "01-02 15:04:05Z07:00")
}

func shownTime(text string, zone *time.Location, layout string) string {
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return text // As it came: better than nothing.
	}
	return at.In(zone).Format(layout)
}

// scales are the decimals in which people read the points of each programme.
type scales map[points.ProgramID]uint8

// amount is so many points of a programme as people read them.
func (s scales) amount(program points.ProgramID, amount points.Amount) string {
	return amount.Decimal(int(s[program]))
}

// sum is likewise a whole number of smallest units that may be larger than an amount can be.
func (s scales) sum(program points.ProgramID, units string) string {
	scale := int(s[program])
	digits, negative := strings.CutPrefix(units, "-")
	sign := ""
	if negative {
		sign = "-"
	}
	if scale == 0 {
		return units
	}
	digits = strings.Repeat("0", max(0, scale+1-len(digits))) + digits
	return sign + digits[:len(digits)-scale] + "." + digits[len(digits)-scale:]
}

// table prints rows for people, in columns that line up. The first row is the head.
// Columns named in right are aligned to the right.
type table struct {
	rows [][]string
}

func (t *table) row(cells ...any) {
	t.rows = append(t.rows, cellsOf(cells))
}

func (t *table) write(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range t.rows {
		line := strings.TrimRight(strings.Join(row, "\t"), "\t ")
		if _, err := fmt.Fprintf(tw, "  %s\n", line); err != nil {
			return fmt.Errorf("print: %w", err)
		}
	}
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}
