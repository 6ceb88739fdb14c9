package main

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"unicode"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement"
)

// Widths in columns: of what is no terminal, and the least that text is wrapped at.
const (
	plainWidth = 100
	leastWidth = 40
)

// widthOf is how many columns what is printed to w may have.
func widthOf(w io.Writer) int {
	if file, ok := w.(*os.File); ok {
		if width, _, err := term.GetSize(int(file.Fd())); err == nil && width > 0 {
			return max(width, leastWidth)
		}
	}
	return plainWidth
}

// columns is how wide a rune is on a terminal: Chinese takes two.
func columns(r rune) int {
	switch {
	case unicode.Is(unicode.Han, r), r >= 0x3000 && r <= 0x30ff, r >= 0xff00 && r <= 0xff60:
		return 2
	case unicode.Is(unicode.Mn, r):
		return 0
	}
	return 1
}

// wrap breaks text into lines of at most width columns, between words where that can be.
func wrap(text string, width int) (lines []string) {
	line, used := "", 0
	flush := func() {
		if line != "" {
			lines = append(lines, line)
		}
		line, used = "", 0
	}
	for word := range strings.FieldsSeq(text) {
		size := 0
		for _, r := range word {
			size += columns(r)
		}
		if used > 0 && used+1+size > width {
			flush()
		}
		if used > 0 {
			line, used = line+" ", used+1
		}
		for _, r := range word { // A word that is longer than a line is broken anywhere.
			if used > 0 && used+columns(r) > width {
				flush()
			}
			line, used = line+string(r), used+columns(r)
		}
	}
	flush()
	return lines
}

// actHead is what an act is, before the first of its details.
var actHead = regexp.MustCompile(`^(.*?: (?:\d+ (?:rows|rules): )?)(.*)$`) //nolint:gochecknoglobals // never written.

// detailed divides an act's words into what it is and its details, of which an act that is
// told in one sentence has none.
func detailed(what string) (head string, details []string) {
	parts := strings.Split(what, "; ")
	if len(parts) == 1 {
		return what, nil
	}
	if found := actHead.FindStringSubmatch(parts[0]); found != nil {
		return strings.TrimSuffix(strings.TrimSpace(found[1]), ":"), append([]string{found[2]}, parts[1:]...)
	}
	return parts[0], parts[1:]
}

// sayAct prints an act in words, wrapped and behind an indent, its details as a list; of
// more than most, where most is not 0, only so many, and where the others stand.
func sayAct(cmd *cobra.Command, what, rrn string, most int) error {
	width := widthOf(cmd.OutOrStdout())
	head, details := detailed(points.Escaped(what))
	var text strings.Builder
	put := func(first, rest, words string) {
		for i, line := range wrap(words, width-len(rest)) {
			if i == 0 {
				text.WriteString(first + line + "\n")
			} else {
				text.WriteString(rest + line + "\n")
			}
		}
	}
	if len(details) > 0 {
		head += ":"
	}
	put("    ", "    ", head)
	left := 0
	if most > 0 && len(details) > most {
		left, details = len(details)-most, details[:most]
	}
	for _, detail := range details {
		put("      - ", "        ", detail)
	}
	if left > 0 {
		put("      - ", "        ", fmt.Sprintf("and %d more: lianfen ledger show %s", left, rrn))
	}
	_, err := io.WriteString(cmd.OutOrStdout(), text.String())
	if err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

// mostDetails is how many details of an act a list of acts has room for.
const mostDetails = 20

// sayWaiting prints what waits for a second person, an act a block.
func sayWaiting(cmd *cobra.Command, list []app.Pending, client *app.Client) error {
	if len(list) == 0 {
		return say(cmd, "Nothing waits for a second person.")
	}
	for i := range list {
		p := &list[i]
		until := localTime(p.Until, client.Zone())
		if p.Over {
			until += ", which is over"
		}
		if i > 0 {
			if err := say(cmd, ""); err != nil {
				return err
			}
		}
		if err := say(cmd, "%s  %v, by %s, until %s", p.RRN, p.Act, points.Escaped(p.Operator), until); err != nil {
			return err
		}
		if err := sayAct(cmd, p.What, p.RRN, mostDetails); err != nil {
			return err
		}
		if err := sayComesTo(cmd, p); err != nil {
			return err
		}
		if p.Note != "" {
			if err := sayAct(cmd, "note: "+strings.ReplaceAll(p.Note, "; ", ", "), p.RRN, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// mostPositions is how many net positions a list of acts has room for; --json has all.
const mostPositions = 10

// sayComesTo prints what the approver of an act has to know beside its words: why it would be
// refused, and of a settlement run what becomes visible.
func sayComesTo(cmd *cobra.Command, p *app.Pending) error {
	if p.Problem != "" {
		head := "CANNOT BE APPROVED: "
		if p.Stale {
			head = "STALE: "
		}
		if err := sayAct(cmd, head+strings.ReplaceAll(p.Problem, "; ", ", "), p.RRN, 0); err != nil {
			return err
		}
	}
	o := p.Publication
	if o == nil {
		return nil
	}
	var t table
	t.row("  run", o.Run+", paid on "+o.Settles.String())
	t.row("  items", fmt.Sprintf("%d cleared, %d not; %s", o.Items, o.Exceptions, points.Counted(o.Files, "file", "files")))
	t.row("  manifest", o.Manifest)
	for _, warning := range o.Warnings {
		t.row("  not passed", warning)
	}
	if err := t.write(cmd.OutOrStdout()); err != nil {
		return err
	}
	s := newSheet("  MEMBER", ">NET "+settlement.Unit)
	for _, position := range o.Positions[:min(len(o.Positions), mostPositions)] {
		s.row("  "+position.Member.String(), position.Net)
	}
	if more := len(o.Positions) - mostPositions; more > 0 {
		s.row(fmt.Sprintf("  and %d more (--json)", more), "")
	}
	s.row("  sum of all", o.Sum)
	return s.write(cmd.OutOrStdout())
}
