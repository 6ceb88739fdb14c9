package dialect

import (
	"fmt"
	"strings"
)

// String renders the explanation as an aligned table, Chinese names included.
func (e Explanation) String() string {
	var out strings.Builder
	kind := "request"
	if e.Answer {
		kind = "answer"
	}
	fmt.Fprintf(&out, "dialect %s  %s %s", e.Dialect, e.MTI, kind)
	for _, name := range []string{e.Function, e.Reversed} {
		if name != "" {
			fmt.Fprintf(&out, "  %s", name)
		}
	}
	out.WriteByte('\n')
	if e.TPDU != "" {
		fmt.Fprintf(&out, "TPDU %s  header %s\n", e.TPDU, e.Header)
	}
	if e.Bitmap != "" {
		fmt.Fprintf(&out, "bitmap %s\n", e.Bitmap)
	}
	var rows [][]string
	for i := range e.Fields {
		f := &e.Fields[i]
		rows = append(rows, []string{fmt.Sprint(f.Number), f.Name, f.Chinese, f.Format, f.Value, f.Wire})
		for j, part := range f.Parts {
			rows = append(rows, []string{fmt.Sprintf(" .%d", j+1), part.Name, part.Chinese, "", part.Value, ""})
		}
	}
	writeAligned(&out, rows)
	if e.Fault != nil {
		if e.Fault.Field == 0 {
			fmt.Fprintf(&out, "wrong: %s\n", e.Fault.Reason)
		} else {
			fmt.Fprintf(&out, "wrong: DE%d %s %s: %s\n", e.Fault.Field, e.Fault.Name, e.Fault.Chinese, e.Fault.Reason)
		}
	}
	return out.String()
}

// writeAligned writes rows in columns two blanks apart; a column is as wide as its
// widest cell shows on a screen.
func writeAligned(out *strings.Builder, rows [][]string) {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], displayWidth(cell))
		}
	}
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			if widths[i] == 0 {
				continue // a column that nobody filled
			}
			line.WriteString(cell)
			line.WriteString(strings.Repeat(" ", widths[i]-displayWidth(cell)+2))
		}
		out.WriteString(strings.TrimRight(line.String(), " "))
		out.WriteByte('\n')
	}
}

// displayWidth counts the columns of a terminal that s takes: two for a character of
// the East Asian wide ranges, one for every other.
func displayWidth(s string) int {
	width := 0
	for _, r := range s {
		width++
		if (r >= 0x1100 && r <= 0x115F) || (r >= 0x2E80 && r <= 0xA4CF) || (r >= 0xAC00 && r <= 0xD7A3) ||
			(r >= 0xF900 && r <= 0xFAFF) || (r >= 0xFE30 && r <= 0xFE6F) || (r >= 0xFF00 && r <= 0xFF60) ||
			(r >= 0xFFE0 && r <= 0xFFE6) || (r >= 0x20000 && r <= 0x3FFFD) {
			width++
		}
	}
	return width
}
