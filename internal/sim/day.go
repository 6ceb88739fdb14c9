package sim

import (
	"bytes"
	_ "embed"
	"io"
)

//go:embed day/directory.yaml
var dayDirectory []byte

//go:embed day/day.yaml
var dayScript []byte

// DayDirectory is the participants of the demonstration, as the admin door reads them.
func DayDirectory() io.Reader { return bytes.NewReader(dayDirectory) }

// DayScript is the business day of the demonstration.
func DayScript() io.Reader { return bytes.NewReader(dayScript) }
