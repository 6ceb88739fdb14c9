package certify

import (
	"time"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
)

// Verdict is what became of a case.
type Verdict string

// Verdicts.
const (
	Passed  Verdict = "passed"
	Failed  Verdict = "failed"
	Skipped Verdict = "skipped" // the parameters lack something; nothing was looked at
)

// Report is a whole run.
type Report struct {
	Profile Profile          `json:"profile"`
	Target  string           `json:"target"`
	Began   points.Timestamp `json:"began"` // microseconds since 1970
	Took    time.Duration    `json:"took_ns"`
	Passed  int              `json:"passed"` // cases
	Failed  int              `json:"failed"`
	Skipped int              `json:"skipped"`
	Checks  int              `json:"checks"` // expectations that were looked at
	Scripts []ScriptResult   `json:"scripts"`
}

// ScriptResult is what became of a script.
type ScriptResult struct {
	File    string       `json:"file"`
	Title   string       `json:"title"`
	TitleZH string       `json:"title_zh"`
	Cases   []CaseResult `json:"cases"`
}

// CaseResult is what became of a case.
type CaseResult struct {
	ID      string        `json:"id"`
	Title   string        `json:"title"`
	TitleZH string        `json:"title_zh"`
	Verdict Verdict       `json:"verdict"`
	Missing []string      `json:"missing,omitempty"` // of a skipped one: what the parameters lack
	Steps   []StepResult  `json:"steps,omitempty"`
	Took    time.Duration `json:"took_ns"`
}

// StepResult is what became of a step.
type StepResult struct {
	Number  int           `json:"number"` // from 1, those before the case included
	Title   string        `json:"title"`
	TitleZH string        `json:"title_zh,omitempty"`
	Line    int           `json:"line"` // in the script's file
	Sent    *FrameResult  `json:"sent,omitempty"`
	Got     *FrameResult  `json:"got,omitempty"`
	Checks  []Check       `json:"checks,omitempty"`
	Took    time.Duration `json:"took_ns"`
}

// FrameResult is a frame as a report shows it: without its length, card numbers
// masked.
type FrameResult struct {
	Hex      string              `json:"hex"`
	Decoded  dialect.Explanation `json:"decoded"`
	Unread   string              `json:"unread,omitempty"` // why it, or the rest of it, cannot be read
	envelope bool                // it could be read at all
}

// Check is one expectation and what came.
type Check struct {
	What     string `json:"what"`
	WhatZH   string `json:"what_zh"`
	Field    int    `json:"field,omitempty"` // the data element it is about
	Expected string `json:"expected"`
	Got      string `json:"got"`
	Passed   bool   `json:"passed"`
}

// passed reports whether every expectation was met.
func (s *StepResult) passed() bool {
	for i := range s.Checks {
		if !s.Checks[i].Passed {
			return false
		}
	}
	return true
}

// check notes an expectation.
func (s *StepResult) check(c Check) { s.Checks = append(s.Checks, c) }

// frameResult shows a message.
func frameResult(m *message) *FrameResult {
	f := &FrameResult{Hex: m.shownHex(), Decoded: m.explained, envelope: m.mti() != ""}
	if m.fault != nil {
		f.Unread = m.fault.Error()
	}
	return f
}

// rawResult shows bytes that are no frame.
func rawResult(bytes []byte) *FrameResult {
	m := message{body: bytes}
	return &FrameResult{Hex: m.shownHex()}
}

// add counts a case.
func (r *Report) add(c *CaseResult) {
	switch c.Verdict {
	case Passed:
		r.Passed++
	case Failed:
		r.Failed++
	case Skipped:
		r.Skipped++
	}
	for i := range c.Steps {
		r.Checks += len(c.Steps[i].Checks)
	}
}
