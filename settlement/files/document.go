package files

import (
	_ "embed"
	"fmt"
	"io"
	"strings"
)

//go:embed document.md
var documentText string

// layoutsOf lists the records of a detail file in their order.
func layoutsOf() []struct {
	title  string
	fields []Field
} {
	return []struct {
		title  string
		fields []Field
	}{
		{"HD, the header", headers.described()},
		{"TX, one item", lines.described()},
		{"TR, the trailer", trailers.described()},
	}
}

// Document writes docs/files.md: for partners, with tables made from the layouts that
// files are written and read with.
func Document(w io.Writer) error {
	var b strings.Builder
	before, after, _ := strings.Cut(documentText, "<!-- layouts -->\n")
	b.WriteString(before)
	for _, l := range layoutsOf() {
		fields := l.fields
		last := fields[len(fields)-1]
		fmt.Fprintf(&b, "### %s (%d characters and CR LF)\n\n| # | field | type | length | columns | content |\n|---|---|---|---|---|---|\n", l.title, last.To())
		for i, f := range fields {
			fmt.Fprintf(&b, "| %d | %s | %s | %d | %d-%d | %s |\n", i+1, f.Name, f.Type, f.Width, f.From, f.To(), strings.ReplaceAll(f.Content, "|", `\|`))
		}
		b.WriteString("\n")
	}
	table := func(title string, columns []column) {
		fmt.Fprintf(&b, "### %s\n\n| # | column | type | content |\n|---|---|---|---|\n", title)
		for i, c := range columns {
			fmt.Fprintf(&b, "| %d | %s | %s | %s |\n", i+1, c.name, c.kind, c.content)
		}
		b.WriteString("\n")
	}
	table("NET, a row", netColumns())
	table("NET, the last line", totalColumns())
	table("EXC, a row", exceptionColumns())
	table("PAY, a row", payColumns())
	table("PAY, the last line", payTotalColumns())
	b.WriteString(after)
	_, err := io.WriteString(w, b.String())
	return err //nolint:wrapcheck // the caller says which file.
}
