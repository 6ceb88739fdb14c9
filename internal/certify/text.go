package certify

import (
	"fmt"
	"io"
	"strings"
)

// WriteCase writes what became of a case for a person: a line; of a failed case,
// or of every case if all is set, its steps with what was expected and what came,
// and of a step that differs the frames, with the data elements at fault marked.
func (c *CaseResult) WriteCase(w io.Writer, all bool) error {
	var out strings.Builder
	fmt.Fprintf(&out, "%-7s  %s  %s  %s\n", c.Verdict, c.ID, c.Title, c.TitleZH)
	if len(c.Missing) > 0 {
		fmt.Fprintf(&out, "         the parameters lack %s 缺少参数\n", strings.Join(c.Missing, ", "))
	}
	if c.Verdict == Failed || all {
		for i := range c.Steps {
			c.Steps[i].write(&out, all)
		}
	}
	if _, err := io.WriteString(w, out.String()); err != nil {
		return fmt.Errorf("certify: report: %w", err)
	}
	return nil
}

// write writes a step. Without all, expectations that were met are left out.
func (s *StepResult) write(out *strings.Builder, all bool) {
	mark := "ok"
	if !s.passed() {
		mark = "DIFFERS 不符"
	}
	fmt.Fprintf(out, "  step %d  %s  %s  %s\n", s.Number, s.Title, s.TitleZH, mark)
	wrong := map[int]string{}
	for i := range s.Checks {
		c := &s.Checks[i]
		if !c.Passed {
			wrong[c.Field] = c.Expected
			fmt.Fprintf(out, "    differs  %s %s: expected %s, got %s\n", c.What, c.WhatZH, c.Expected, c.Got)
		} else if all {
			fmt.Fprintf(out, "    ok       %s %s: %s\n", c.What, c.WhatZH, c.Got)
		}
	}
	if s.passed() && !all {
		return
	}
	s.Sent.write(out, "sent 发送", nil)
	s.Got.write(out, "got 收到", wrong)
}

// write writes a frame: its bytes, and what they mean. Data elements in wrong are
// marked, with what was expected; one that is not there has a line of its own.
func (f *FrameResult) write(out *strings.Builder, title string, wrong map[int]string) {
	if f == nil {
		return
	}
	fmt.Fprintf(out, "    %s  %s\n", title, f.Hex)
	if f.Unread != "" {
		fmt.Fprintf(out, "      cannot be read: %s\n", f.Unread)
	}
	if !f.envelope {
		return
	}
	decoded := strings.Split(strings.TrimSuffix(f.Decoded.String(), "\n"), "\n")
	marked := map[int]bool{}
	for _, line := range decoded {
		number, isField := fieldOf(line)
		expected, bad := wrong[number]
		if !isField || !bad {
			fmt.Fprintf(out, "        %s\n", line)
			continue
		}
		marked[number] = true
		fmt.Fprintf(out, "    >>  %s   <<  expected %s\n", line, expected)
	}
	for number := 1; number <= lastField; number++ {
		if expected, bad := wrong[number]; bad && !marked[number] {
			fmt.Fprintf(out, "    >>  %d  (absent 缺少)   <<  expected %s\n", number, expected)
		}
	}
}

// fieldOf returns the number of the data element that a line of a decoded frame is
// about; parts of one begin with a blank and are not.
func fieldOf(line string) (number int, ok bool) {
	word, _, _ := strings.Cut(line, " ")
	if word == "" || strings.Trim(word, "0123456789") != "" {
		return 0, false
	}
	_, err := fmt.Sscan(word, &number)
	return number, err == nil && number > 0
}

// WriteSummary writes which cases failed, each with what differed first, and the run's last
// line: of a long run nobody looks through all that was written before.
func (r *Report) WriteSummary(w io.Writer) error {
	var out strings.Builder
	for _, script := range r.Scripts {
		for i := range script.Cases {
			script.Cases[i].writeFailure(&out)
		}
	}
	if _, err := io.WriteString(w, out.String()); err != nil {
		return fmt.Errorf("certify: report: %w", err)
	}
	_, err := fmt.Fprintf(w, "%d cases passed, %d failed, %d skipped; %d expectations looked at in %v. 通过 %d,不符 %d,跳过 %d\n",
		r.Passed, r.Failed, r.Skipped, r.Checks, r.Took.Round(1e6), r.Passed, r.Failed, r.Skipped)
	if err != nil {
		return fmt.Errorf("certify: report: %w", err)
	}
	return nil
}

// writeFailure writes one line about a case that failed.
func (c *CaseResult) writeFailure(out *strings.Builder) {
	if c.Verdict != Failed {
		return
	}
	if out.Len() == 0 {
		out.WriteString("Failed 不符:\n")
	}
	for i := range c.Steps {
		for _, check := range c.Steps[i].Checks {
			if !check.Passed {
				fmt.Fprintf(out, "  %s  step %d  %s %s: expected %s, got %s\n", c.ID, c.Steps[i].Number, check.What, check.WhatZH, check.Expected, check.Got)
				return
			}
		}
	}
	fmt.Fprintf(out, "  %s\n", c.ID)
}
