package settlement

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/settlement/files"
	"github.com/lianfen/lianfen/tariff"
)

// Whatever keeps an item from being cleared has a sentence in Chinese for the statement.
func TestExceptionsAreSaidInChinese(t *testing.T) {
	codes := []string{codeNoRoom, codeTooLate, codeSwapStands, codeNoOriginal}
	for f := tariff.OK + 1; f.String() != "unknown fault"; f++ {
		require.NotEqual(t, "FAULT", faultCode(f), "fault %d has a code", f)
		codes = append(codes, faultCode(f))
	}
	for _, code := range codes {
		require.NotEmpty(t, files.ReasonInChinese(code), code)
	}
}
