package certify

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
)

//go:embed report.html
var htmlPage string

// shownFrame is a frame on the page, with the data elements at fault.
type shownFrame struct {
	Title string
	Frame *FrameResult
	Wrong map[int]bool
}

// WriteHTML writes the report as one page without anything beside it: every case
// with its steps, the failed ones open, the data elements at fault coloured.
func (r *Report) WriteHTML(w io.Writer) error {
	page, err := template.New("report").Funcs(template.FuncMap{"frame": frameOnPage}).Parse(htmlPage)
	if err != nil {
		return fmt.Errorf("certify: page: %w", err)
	}
	if err := page.Execute(w, r); err != nil {
		return fmt.Errorf("certify: page: %w", err)
	}
	return nil
}

func frameOnPage(title string, frame *FrameResult, step StepResult) shownFrame {
	shown := shownFrame{Title: title, Frame: frame, Wrong: map[int]bool{}}
	if frame != step.Got {
		return shown
	}
	for i := range step.Checks {
		if !step.Checks[i].Passed {
			shown.Wrong[step.Checks[i].Field] = true
		}
	}
	return shown
}
