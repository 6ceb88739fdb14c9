package tools_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/tools"
)

// told is a test that notes how it ended.
type told struct{ skipped, failed string }

func (*told) Helper()                             {}
func (t *told) Skipf(format string, args ...any)  { t.skipped = fmt.Sprintf(format, args...) }
func (t *told) Fatalf(format string, args ...any) { t.failed = fmt.Sprintf(format, args...) }

// For want of a tool a test is skipped; where all have to be there it fails.
func TestLacking(t *testing.T) {
	var one, other told
	tools.Lacking(&one, "", "%s is not installed", "xmllint")
	require.Equal(t, told{skipped: "xmllint is not installed"}, one)
	tools.Lacking(&other, tools.Must, "%s is not installed", "xmllint")
	require.Equal(t, told{failed: "xmllint is not installed; TEST_TOOLS=must says that it is"}, other)
}
