package tidy

import (
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

var (
	// inlineLink is the target of [text](target "title") and ![text](target).
	inlineLink = regexp.MustCompile(`\]\(\s*<?([^)>\s]+)>?(?:\s+"[^"]*")?\s*\)`)
	// referenceLink is the target of a line [name]: target.
	referenceLink = regexp.MustCompile(`^ {0,3}\[[^\]]+\]:\s+(\S+)`)
	// elsewhere is a target that leaves the repository.
	elsewhere = regexp.MustCompile(`^[a-z][a-z0-9+.-]*:`)
	codeSpan  = regexp.MustCompile("`[^`]*`")
	heading   = regexp.MustCompile(`^#{1,6}\s+(.*?)\s*#*$`)
)

// DeadLinks returns the relative links in the Markdown files of root whose file
// or heading is not there.
func DeadLinks(root fs.FS) ([]Breach, error) {
	documents, err := find(root, ".md")
	if err != nil {
		return nil, err
	}
	var dead []Breach
	for _, document := range documents {
		lines, err := proseOf(root, document)
		if err != nil {
			return nil, err
		}
		for i, line := range lines {
			for _, target := range targets(line) {
				rule, err := deadLink(root, document, target)
				if err != nil {
					return nil, err
				}
				if rule != "" {
					dead = append(dead, Breach{Path: document, Line: i + 1, Rule: rule})
				}
			}
		}
	}
	return dead, nil
}

// proseOf returns the lines of a document with fenced code blocks blanked out.
func proseOf(root fs.FS, document string) ([]string, error) {
	text, err := fs.ReadFile(root, document)
	if err != nil {
		return nil, fmt.Errorf("tidy: read: %w", err)
	}
	lines := strings.Split(string(text), "\n")
	fence := ""
	for i, line := range lines {
		trimmed := strings.TrimSpace(line)
		switch {
		case fence == "" && (strings.HasPrefix(trimmed, "```") || strings.HasPrefix(trimmed, "~~~")):
			fence = trimmed[:3]
			lines[i] = ""
		case fence != "":
			if strings.HasPrefix(trimmed, fence) {
				fence = ""
			}
			lines[i] = ""
		}
	}
	return lines, nil
}

func targets(line string) []string {
	line = codeSpan.ReplaceAllString(line, "")
	var found []string
	for _, match := range inlineLink.FindAllStringSubmatch(line, -1) {
		found = append(found, match[1])
	}
	if match := referenceLink.FindStringSubmatch(line); match != nil {
		found = append(found, match[1])
	}
	return found
}

// deadLink says what is missing at target as written in document, or "".
func deadLink(root fs.FS, document, target string) (string, error) {
	if elsewhere.MatchString(target) {
		return "", nil
	}
	name, fragment, _ := strings.Cut(target, "#")
	file := document
	if name != "" {
		file = path.Join(path.Dir(document), name)
	}
	if !fs.ValidPath(file) {
		return fmt.Sprintf("link %s leaves the repository", target), nil
	}
	if _, err := fs.Stat(root, file); err != nil {
		return fmt.Sprintf("link %s: there is no %s", target, file), nil //nolint:nilerr // the answer is that it is missing.
	}
	if fragment == "" || path.Ext(file) != ".md" {
		return "", nil
	}
	lines, err := proseOf(root, file)
	if err != nil {
		return "", err
	}
	if !anchors(lines)[fragment] {
		return fmt.Sprintf("link %s: %s has no such heading", target, file), nil
	}
	return "", nil
}

// anchors returns the fragments that the headings of a document answer to, as
// the common Markdown renderers make them: lower case, punctuation dropped,
// spaces to hyphens, repeats numbered.
func anchors(lines []string) map[string]bool {
	found := make(map[string]bool)
	for _, line := range lines {
		match := heading.FindStringSubmatch(line)
		if match == nil {
			continue
		}
		slug := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, match[1])
		unique := slug
		for n := 1; found[unique]; n++ {
			unique = fmt.Sprintf("%s-%d", slug, n)
		}
		found[unique] = true
	}
	return found
}

var decisionName = regexp.MustCompile(`^(\d{4})-[a-z0-9]+(-[a-z0-9]+)*\.md$`)

// BadDecisions returns what is wrong with the names and titles of the decision
// records in docs/adr: NNNN-title.md, numbered from 0001 without a gap, so that
// "ADR 7" is one document for ever, and titled with the same number.
func BadDecisions(root fs.FS) ([]Breach, error) {
	const folder = "docs/adr"
	entries, err := fs.ReadDir(root, folder)
	if err != nil {
		return nil, fmt.Errorf("tidy: decisions: %w", err)
	}
	var bad []Breach
	next := 1
	for _, entry := range entries {
		name := path.Join(folder, entry.Name())
		report := func(rule string) { bad = append(bad, Breach{Path: name, Line: 1, Rule: rule}) }
		match := decisionName.FindStringSubmatch(entry.Name())
		if match == nil {
			report("not named NNNN-title-in-lower-case.md")
			continue
		}
		if want := fmt.Sprintf("%04d", next); match[1] != want {
			report("numbered " + match[1] + ", the next free number is " + want)
		}
		next++
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return nil, fmt.Errorf("tidy: decisions: %w", err)
		}
		if !strings.HasPrefix(string(text), "# "+match[1]+" ") {
			report("its first line is not # " + match[1] + " and a title")
		}
	}
	return bad, nil
}

var dependencyRow = regexp.MustCompile("^\\| `([^`]+)` \\| (\\S+) \\|([^|]*)\\|([^|]*)\\|$")

// BadDependencies compares the table of direct modules in docs/dependencies.md
// with modules (path to version): one row each, with the version that is
// required, a licence and a reason.
func BadDependencies(root fs.FS, modules map[string]string) ([]Breach, error) {
	const document = "docs/dependencies.md"
	lines, err := proseOf(root, document)
	if err != nil {
		return nil, err
	}
	var bad []Breach
	rows := make(map[string]int)
	for i, line := range lines {
		match := dependencyRow.FindStringSubmatch(line)
		if match == nil {
			continue
		}
		module, version := match[1], match[2]
		report := func(rule string) { bad = append(bad, Breach{Path: document, Line: i + 1, Rule: module + " " + rule}) }
		rows[module]++
		required, direct := modules[module]
		switch {
		case rows[module] > 1:
			report("has a second row")
		case !direct:
			report("is not a direct module of go.mod")
		case version != required:
			report("is at " + required + " in go.mod, not " + version)
		case strings.TrimSpace(match[3]) == "" || strings.TrimSpace(match[4]) == "":
			report("has no licence or no reason")
		}
	}
	for _, module := range slices.Sorted(maps.Keys(modules)) {
		if rows[module] == 0 {
			bad = append(bad, Breach{Path: document, Line: 1, Rule: module + " has no row"})
		}
	}
	return bad, nil
}

var changeLine = regexp.MustCompile(`^- \[(CHANGE|FEATURE|FIX)\] [a-z][a-z0-9/]*(, [a-z][a-z0-9/]*)*: \S`)

// BadChanges returns the entries of CHANGELOG.md that do not say their kind and
// the package a reader will notice them in.
func BadChanges(root fs.FS) ([]Breach, error) {
	const document = "CHANGELOG.md"
	lines, err := proseOf(root, document)
	if err != nil {
		return nil, err
	}
	var bad []Breach
	for i, line := range lines {
		if strings.HasPrefix(line, "- ") && !changeLine.MatchString(line) {
			bad = append(bad, Breach{
				Path: document, Line: i + 1,
				Rule: "not of the form: - [CHANGE|FEATURE|FIX] package: what you will notice",
			})
		}
	}
	return bad, nil
}

var (
	// tableRow is a line of a table; tableRule parts its head from its body.
	tableRow  = regexp.MustCompile(`^\|.*\|\s*$`)
	tableRule = regexp.MustCompile(`^\|[ :|-]+\|\s*$`)
	// testName is a test, benchmark or fuzz target, perhaps with the name of a part of it.
	testName = regexp.MustCompile(`^((?:Test|Fuzz|Benchmark)[A-Z]\w*)(?:/(.+))?$`)
	// testStory is a script under a folder testdata, named by the end of its path.
	testStory = regexp.MustCompile(`^[\w/]+\.(?:txt|txtar)$`)
	testFunc  = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)[A-Z]\w*)\(`)
)

// tests is what a document may name: functions with the text of their files, and stories.
type tests struct {
	functions map[string]string
	stories   []string
}

func readTests(root fs.FS) (tests, error) {
	known := tests{functions: make(map[string]string)}
	files, err := find(root, "_test.go")
	if err != nil {
		return known, err
	}
	for _, file := range files {
		text, err := fs.ReadFile(root, file)
		if err != nil {
			return known, fmt.Errorf("tidy: read: %w", err)
		}
		for _, match := range testFunc.FindAllStringSubmatch(string(text), -1) {
			known.functions[match[1]] += string(text)
		}
	}
	err = fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && strings.Contains("/"+name, "/testdata/") {
			known.stories = append(known.stories, "/"+name)
		}
		return err
	})
	return known, err
}

// missing says what of a test's or story's name is not there, or "".
func (k *tests) missing(name, part string) string {
	if testStory.MatchString(name) {
		if !slices.ContainsFunc(k.stories, func(story string) bool { return strings.HasSuffix(story, "/"+name) }) {
			return "there is no story " + name
		}
		return ""
	}
	text, ok := k.functions[name]
	switch {
	case !ok:
		return "there is no test " + name
	case part != "" && !strings.Contains(text, `"`+part+`"`):
		return name + " has no part " + part
	}
	return ""
}

// UntestedAttacks returns what is wrong with the tests that document names: one that is not
// in the tree, and a row of a table of attacks (its first column is "attack", its last the
// tests) that names none. "…/part" is a part of the test that was named before it.
func UntestedAttacks(root fs.FS, document string) ([]Breach, error) {
	lines, err := proseOf(root, document)
	if err != nil {
		return nil, err
	}
	known, err := readTests(root)
	if err != nil {
		return nil, err
	}
	var bad []Breach
	last, attacks := "", false
	for i, line := range lines {
		report := func(rule string) { bad = append(bad, Breach{Path: document, Line: i + 1, Rule: rule}) }
		named := 0
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for j, cell := range cells {
			for _, span := range codeSpan.FindAllString(cell, -1) {
				name := strings.Trim(span, "`")
				if part, ok := strings.CutPrefix(name, "…"); ok {
					name = last + part
				}
				part := ""
				if match := testName.FindStringSubmatch(name); match != nil {
					name, part, last = match[1], match[2], match[1]
				} else if !testStory.MatchString(name) || j < len(cells)-1 || !attacks {
					continue
				}
				if rule := known.missing(name, part); rule != "" {
					report(rule)
				} else if j == len(cells)-1 {
					named++
				}
			}
		}
		switch {
		case !tableRow.MatchString(line):
			attacks = false
		case tableRule.MatchString(line):
		case strings.TrimSpace(cells[0]) == "attack":
			attacks = true
		case attacks && named == 0:
			report("an attack without a test: " + strings.TrimSpace(cells[0]))
		}
	}
	return bad, nil
}
