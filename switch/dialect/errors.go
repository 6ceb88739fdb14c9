package dialect

import (
	"fmt"

	"github.com/lianfen/lianfen/points"
)

// FormatError says what is wrong with a frame. [points.ReasonOf] finds
// [points.FormatError] in it.
type FormatError struct {
	// Field is the data element at fault, 2 to 128; 0 when no element can be named.
	Field int
	// Reason says what was found and what was wanted. It never repeats content.
	Reason string
	// Fatal means that no answer can or may be formed (no message type, no
	// bitmap, foreign framing, an answer where a request is due): close the
	// connection or drop the frame. Otherwise the answer is 30.
	Fatal bool
}

// Error names the field, what was found and what was wanted.
func (e *FormatError) Error() string {
	if e.Field == 0 {
		return "dialect: " + e.Reason
	}
	return fmt.Sprintf("dialect: DE%d (%s): %s", e.Field, elementAt(e.Field).en, e.Reason)
}

// Unwrap gives the error its reason for [points.ReasonOf].
func (e *FormatError) Unwrap() error {
	return points.Errorf(points.FormatError, "%s", e.Reason)
}

// fault makes a [FormatError] about data element de that can be answered.
func fault(de int, format string, args ...any) *FormatError {
	return &FormatError{Field: de, Reason: fmt.Sprintf(format, args...)}
}

// fatal makes a [FormatError] that cannot be answered.
func fatal(format string, args ...any) *FormatError {
	return &FormatError{Reason: fmt.Sprintf(format, args...), Fatal: true}
}
