package certify

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"
)

// WriteJUnit writes the report as JUnit XML, which build servers show: a test
// suite for each script, a test case for each case.
func (r *Report) WriteJUnit(w io.Writer) error {
	root := junitSuites{Name: "lianfen certify " + string(r.Profile), Time: seconds(r.Took)}
	for i := range r.Scripts {
		suite := junitSuiteOf(r, &r.Scripts[i])
		root.Tests += suite.Tests
		root.Failures += suite.Failures
		root.Skipped += suite.Skipped
		root.Suites = append(root.Suites, suite)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return fmt.Errorf("certify: report: %w", err)
	}
	encoder := xml.NewEncoder(w)
	encoder.Indent("", "  ")
	if err := encoder.Encode(root); err != nil {
		return fmt.Errorf("certify: report: %w", err)
	}
	return nil
}

func junitSuiteOf(r *Report, script *ScriptResult) junitSuite {
	suite := junitSuite{Name: script.Title, Timestamp: r.Began.Time().Format("2006-01-02T15:04:05")}
	took := time.Duration(0)
	for i := range script.Cases {
		c := &script.Cases[i]
		took += c.Took
		test := junitCase{Name: c.ID + " " + c.Title, Class: strings.TrimSuffix(script.File, ".yaml"), Time: seconds(c.Took)}
		suite.Tests++
		switch c.Verdict {
		case Failed:
			suite.Failures++
			test.Failure = junitFailureOf(c)
		case Skipped:
			suite.Skipped++
			test.Skipped = &junitSkipped{Message: "the parameters lack " + strings.Join(c.Missing, ", ")}
		case Passed:
		}
		suite.Cases = append(suite.Cases, test)
	}
	suite.Time = seconds(took)
	return suite
}

func junitFailureOf(c *CaseResult) *junitFailure {
	failure := &junitFailure{Type: "difference"}
	var text strings.Builder
	for i := range c.Steps {
		for _, check := range c.Steps[i].Checks {
			if !check.Passed && failure.Message == "" {
				failure.Message = fmt.Sprintf("step %d: %s: expected %s, got %s", c.Steps[i].Number, check.What, check.Expected, check.Got)
			}
		}
		c.Steps[i].write(&text, false)
	}
	failure.Text = text.String()
	return failure
}

// seconds renders a duration as JUnit has it.
func seconds(d time.Duration) string {
	return fmt.Sprintf("%d.%03d", d/time.Second, d%time.Second/time.Millisecond)
}

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Skipped  int          `xml:"skipped,attr"`
	Time     string       `xml:"time,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name      string      `xml:"name,attr"`
	Tests     int         `xml:"tests,attr"`
	Failures  int         `xml:"failures,attr"`
	Skipped   int         `xml:"skipped,attr"`
	Time      string      `xml:"time,attr"`
	Timestamp string      `xml:"timestamp,attr"`
	Cases     []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name    string        `xml:"name,attr"`
	Class   string        `xml:"classname,attr"`
	Time    string        `xml:"time,attr"`
	Failure *junitFailure `xml:"failure,omitempty"`
	Skipped *junitSkipped `xml:"skipped,omitempty"`
}

type junitFailure struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr"`
	Text    string `xml:",chardata"`
}

type junitSkipped struct {
	Message string `xml:"message,attr"`
}
