package certify

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/points"
)

// Script is one file of a certification: cases about one matter. Its file is YAML:
//
//	profile: pos
//	title: Sales
//	title_zh: 消费
//	before:
//	  - {send: sign_on}
//	cases:
//	  - id: redeem
//	    title: A redemption takes the points that it says
//	    title_zh: 积分消费
//	    steps:
//	      - {send: balance, card: member, program: main, expect: {capture: {before: available}}}
//	      - {send: redeem, card: member, program: main, amount: sale, expect: {available: before - sale}}
type Script struct {
	Profile Profile `yaml:"profile"`
	Title   string  `yaml:"title"`
	TitleZH string  `yaml:"title_zh"`
	Before  []Step  `yaml:"before"` // played on the connection of every case first
	Cases   []Case  `yaml:"cases"`

	file string
}

// Case is one thing that is certified, on a connection of its own.
type Case struct {
	ID      string `yaml:"id"`
	Title   string `yaml:"title"`
	TitleZH string `yaml:"title_zh"`
	Bare    bool   `yaml:"bare"` // without the script's before
	Steps   []Step `yaml:"steps"`
}

// Step is one thing that the kit does, and what must come of it.
type Step struct {
	Title   string `yaml:"title"`
	TitleZH string `yaml:"title_zh"`

	// What is done: one of these.
	Send       string `yaml:"send"`       // a message for the function of this name
	Repeat     string `yaml:"repeat"`     // the bytes of an earlier step once more
	Raw        string `yaml:"raw"`        // these bytes, in hexadecimal, as a frame
	Stream     string `yaml:"stream"`     // these bytes as they are, without a length before them
	Disconnect bool   `yaml:"disconnect"` // hang up; the next step connects again

	As     string `yaml:"as"`     // the step's name for later steps
	Of     string `yaml:"of"`     // the earlier step that the message is about
	Under  string `yaml:"under"`  // the earlier step whose identity the message takes
	Unsent bool   `yaml:"unsent"` // the message is made, for a later repeat, and not sent

	Terminal string     `yaml:"terminal"` // names of the parameters; "main" where a terminal is needed
	Card     string     `yaml:"card"`
	To       string     `yaml:"to"`
	Program  string     `yaml:"program"`
	Amount   Expression `yaml:"amount"`
	PIN      string     `yaml:"pin"`    // name of a PIN that is typed in, at a terminal with keys
	MAC      MAC        `yaml:"mac"`    // of a terminal with keys: wrong or none, instead of its own
	Entry    uint16     `yaml:"entry"`  // DE22
	Expiry   uint32     `yaml:"expiry"` // DE14
	Partial  bool       `yaml:"partial"`
	Unequal  bool       `yaml:"unequal"` // batch_close: the terminal has counted a debit of one point more
	Network  uint16     `yaml:"network"` // download: DE60.3
	Wide     bool       `yaml:"wide"`    // 128 bits of bitmap whatever the fields
	TPDU     string     `yaml:"tpdu"`    // five bytes in hexadecimal
	Header   string     `yaml:"header"`  // six bytes in hexadecimal

	// What is changed in the finished frame.
	MTI    string         `yaml:"mti"`    // another message type
	Remove []int          `yaml:"remove"` // data elements that are taken out
	Wire   map[int]string `yaml:"wire"`   // data elements put in or replaced: their bytes, length included, in hexadecimal

	Expect Expectation `yaml:"expect"`

	line int
}

// Expectation is what must come of a step. Of an answer, whatever is said here,
// the message type, the echo of what the request carried and a code are always
// looked at.
type Expectation struct {
	Outcome   words             `yaml:"outcome"`     // answer, closed or silent, or several; answer if none is given
	MTI       string            `yaml:"mti"`         // the request's plus ten if none is given
	Code      words             `yaml:"code"`        // DE39; 00 if none is given
	Echo      []int             `yaml:"echo"`        // more data elements that come back as they were sent
	Present   []int             `yaml:"present"`     // data elements that the answer carries
	Absent    []int             `yaml:"absent"`      // data elements that it does not carry
	Format    map[int]string    `yaml:"format"`      // data element -> regular expression of its whole value
	Value     map[int]string    `yaml:"value"`       // data element -> value
	Amount    Expression        `yaml:"amount"`      // DE4
	Available Expression        `yaml:"available"`   // the spendable balance in DE54
	Same      string            `yaml:"same"`        // the answer is, byte for byte, that of this earlier step
	Wide      *bool             `yaml:"wide"`        // whether the bitmap has 128 bits
	Capture   map[string]string `yaml:"capture"`     // name -> available, ledger or amount, for later expressions
	Closed    bool              `yaml:"then_closed"` // behind the answer the connection is closed
	Within    time.Duration     `yaml:"within"`      // the time for the answer; of silence, how long it is listened to
}

// Outcomes of a step.
const (
	outcomeAnswer = "answer"
	outcomeClosed = "closed"
	outcomeSilent = "silent"
)

// words is one text or several.
type words []string

// UnmarshalYAML reads a text or a list of texts.
func (w *words) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		*w = words{node.Value}
		return nil
	}
	var all []string
	if err := node.Decode(&all); err != nil {
		return err
	}
	*w = all
	return nil
}

// ReadScripts reads the scripts of a profile: the files of a folder whose names
// begin with it, in order of their names.
func ReadScripts(folder fs.FS, profile Profile) ([]*Script, error) {
	names, err := fs.Glob(folder, string(profile)+"*.yaml")
	if err != nil {
		return nil, fmt.Errorf("certify: scripts of %s: %w", profile, err)
	}
	var scripts []*Script
	ids := make(map[string]string)
	for _, name := range names {
		text, err := fs.ReadFile(folder, name)
		if err != nil {
			return nil, fmt.Errorf("certify: %w", err)
		}
		script, err := ReadScript(name, text)
		if err != nil {
			return nil, err
		}
		if script.Profile != profile {
			return nil, fmt.Errorf("%s: profile %s, want %s by its name", name, script.Profile, profile)
		}
		for i := range script.Cases {
			id := script.Cases[i].ID
			if other, taken := ids[id]; taken {
				return nil, fmt.Errorf("%s: case %s is in %s already", name, id, other)
			}
			ids[id] = name
		}
		scripts = append(scripts, script)
	}
	if len(scripts) == 0 {
		return nil, fmt.Errorf("certify: no script of profile %s", profile)
	}
	return scripts, nil
}

// ReadScript reads one script. What cannot be read or played is refused with the
// line where it stands: an unknown key, a step that does two things, a name that
// no earlier step has.
func ReadScript(name string, text []byte) (*Script, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	script := &Script{file: path.Base(name)}
	if err := decoder.Decode(script); err != nil {
		return nil, fmt.Errorf("%s: %w", name, config.PlainYAML(err))
	}
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	script.number(&root)
	if err := script.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return script, nil
}

// number gives every step the line that it stands on.
func (s *Script) number(root *yaml.Node) {
	lines := func(steps []Step, list *yaml.Node) {
		for i := range steps {
			steps[i].line = list.Content[i].Line
		}
	}
	body := root.Content[0]
	if before := child(body, "before"); before != nil {
		lines(s.Before, before)
	}
	if cases := child(body, "cases"); cases != nil {
		for i := range s.Cases {
			if steps := child(cases.Content[i], "steps"); steps != nil {
				lines(s.Cases[i].Steps, steps)
			}
		}
	}
}

// child returns the value of a key in a mapping, nil when it is not there.
func child(mapping *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i+1]
		}
	}
	return nil
}

func (s *Script) check() error {
	if _, err := ParseProfile(string(s.Profile)); err != nil {
		return err
	}
	if s.Title == "" || s.TitleZH == "" || len(s.Cases) == 0 {
		return errors.New("title, title_zh and at least one case are needed")
	}
	if err := checkSteps(s.Before, map[string]bool{}); err != nil {
		return fmt.Errorf("before: %w", err)
	}
	for i := range s.Cases {
		c := &s.Cases[i]
		if c.ID == "" || c.Title == "" || c.TitleZH == "" || len(c.Steps) == 0 {
			return fmt.Errorf("case %d (%s): id, title, title_zh and at least one step are needed", i+1, c.ID)
		}
		named := map[string]bool{}
		if !c.Bare {
			for _, step := range s.Before {
				named[step.As] = true
			}
		}
		if err := checkSteps(c.Steps, named); err != nil {
			return fmt.Errorf("case %s: %w", c.ID, err)
		}
	}
	return nil
}

// checkSteps checks steps in their order; named are the steps before them.
func checkSteps(steps []Step, named map[string]bool) error {
	for i := range steps {
		step := &steps[i]
		if err := step.check(named); err != nil {
			return fmt.Errorf("line %d: step %d: %w", step.line, i+1, err)
		}
		if step.As != "" {
			named[step.As] = true
		}
	}
	return nil
}

func (s *Step) check(named map[string]bool) error {
	does := 0
	for _, what := range []bool{s.Send != "", s.Repeat != "", s.Raw != "", s.Stream != "", s.Disconnect} {
		if what {
			does++
		}
	}
	if does != 1 {
		return fmt.Errorf("%d of send, repeat, raw, stream and disconnect are given, want one", does)
	}
	for key, name := range map[string]string{"of": s.Of, "repeat": s.Repeat, "under": s.Under, "same": s.Expect.Same} {
		if name != "" && !named[name] {
			return fmt.Errorf("%s: no earlier step is called %q", key, name)
		}
	}
	for _, digits := range append(slices.Collect(maps.Values(s.Wire)), s.Raw, s.Stream, s.TPDU, s.Header) {
		if _, err := unhex(digits); err != nil {
			return fmt.Errorf("%q is not hexadecimal", digits)
		}
	}
	if s.Send != "" {
		var function points.Function
		if err := function.UnmarshalText([]byte(s.Send)); err != nil {
			return err
		}
		if function == points.Reversal && s.Of == "" {
			return errors.New("a reversal says of which step")
		}
	}
	if s.MTI != "" && !isMTI(s.MTI) {
		return fmt.Errorf("message type %q, want four digits", s.MTI)
	}
	if s.MAC != "" && s.MAC != macWrong && s.MAC != macNone {
		return fmt.Errorf("mac: %q, want wrong or none", string(s.MAC))
	}
	if s.Send == "" && (s.MAC != "" || s.PIN != "") {
		return errors.New("mac and pin go with send")
	}
	return s.Expect.check()
}

func (e *Expectation) check() error {
	for _, outcome := range e.Outcome {
		if outcome != outcomeAnswer && outcome != outcomeClosed && outcome != outcomeSilent {
			return fmt.Errorf("outcome %q, want answer, closed or silent", outcome)
		}
	}
	for _, code := range e.Code {
		if len(code) != 2 {
			return fmt.Errorf("code %q, want two characters", code)
		}
	}
	for de, pattern := range e.Format {
		if _, err := regexp.Compile(pattern); err != nil {
			return fmt.Errorf("format of DE%d: %w", de, err)
		}
	}
	for name, what := range e.Capture {
		if !isName(name) || !slices.Contains([]string{"available", "ledger", "amount"}, what) {
			return fmt.Errorf("capture %s: %s, want a name and available, ledger or amount", name, what)
		}
	}
	if e.MTI != "" && !isMTI(e.MTI) {
		return fmt.Errorf("message type %q, want four digits", e.MTI)
	}
	return nil
}

func isMTI(text string) bool {
	return len(text) == 4 && strings.Trim(text, "0123456789") == ""
}

// unhex reads hexadecimal digits with blanks between them.
func unhex(digits string) ([]byte, error) {
	return hex.DecodeString(strings.Join(strings.Fields(digits), ""))
}

// accepts reports whether an outcome is one of those expected.
func (e *Expectation) accepts(outcome string) bool {
	if len(e.Outcome) == 0 {
		return outcome == outcomeAnswer
	}
	return slices.Contains(e.Outcome, outcome)
}

// missing lists what steps need and the parameters do not give, such as
// cards.expired; captured are names that steps before them captured.
func missing(p *Parameters, steps []Step) []string {
	var all []string
	captured := map[string]bool{}
	need := func(kind, name string) {
		if name != "" && !p.has(kind, name) {
			all = append(all, kind+"."+name)
		}
	}
	for i := range steps {
		s := &steps[i]
		need("terminals", s.terminal())
		need("cards", s.Card)
		need("cards", s.To)
		need("programs", s.Program)
		need("pins", s.PIN)
		for _, e := range []*Expression{&s.Amount, &s.Expect.Amount, &s.Expect.Available} {
			for _, name := range e.names() {
				if !captured[name] {
					need("amounts", name)
				}
			}
		}
		for name := range s.Expect.Capture {
			captured[name] = true
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// terminal is the name of the terminal that a message goes out from, "" for what
// goes out from none.
func (s *Step) terminal() string {
	switch {
	case s.Send == "":
		return ""
	case s.Terminal != "":
		return s.Terminal
	default:
		return "main"
	}
}
