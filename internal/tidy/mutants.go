package tidy

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// Mutant is an error that is made on purpose, to see that tests notice it.
type Mutant struct {
	Line     int    // where it stands in its list
	Name     string // what is wrong then
	File     string // relative to the module
	Tests    []string
	Old, New string // the lines that it changes, and what they become
}

// Mutants reads a list of mutants: of each its name, two indented lines with its file and
// with what go test is to be given, what goes, a part of a line or some lines, each behind "- ", and what comes,
// behind "+ ". An empty line ends it; lines that begin with # are comments.
func Mutants(list io.Reader) (all []Mutant, err error) {
	var m Mutant
	lines := bufio.NewScanner(list)
	for n := 1; lines.Scan(); n++ {
		switch line := lines.Text(); {
		case strings.HasPrefix(line, "#"):
		case line == "":
			if m.Name != "" {
				all = append(all, m)
			}
			m = Mutant{}
		case strings.HasPrefix(line, "- "):
			m.Old = join(m.Old, line[2:])
		case strings.HasPrefix(line, "+ "):
			m.New = join(m.New, line[2:])
		case strings.HasPrefix(line, "  ") && m.File == "":
			m.File = strings.TrimSpace(line)
		case strings.HasPrefix(line, "  ") && m.Tests == nil:
			m.Tests = strings.Fields(line)
		case m.Name == "":
			m.Line, m.Name = n, line
		default:
			return nil, fmt.Errorf("line %d: %q: want an empty line, or one that begins with - or +", n, line)
		}
	}
	if m.Name != "" {
		all = append(all, m)
	}
	return all, lines.Err() //nolint:wrapcheck // of a file at hand.
}

func join(lines, line string) string {
	if lines == "" {
		return line
	}
	return lines + "\n" + line
}

// Apply returns the source with the mutant in it.
func (m *Mutant) Apply(source string) (string, error) {
	switch n := strings.Count(source, m.Old); {
	case m.Old == "" || m.File == "" || m.Tests == nil:
		return "", fmt.Errorf("line %d: %s: it has no file, no tests, or changes nothing", m.Line, m.Name)
	case n != 1:
		return "", fmt.Errorf("line %d: %s: %s has its lines %d times, not once: mend the list", m.Line, m.Name, m.File, n)
	}
	return strings.Replace(source, m.Old, m.New, 1), nil
}
