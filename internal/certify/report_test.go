package certify_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/certify"
)

// A difference is shown in every form of the report: the step, what was expected
// and what came, the frames, and the data element at fault marked; a card number
// is shown in none. A case whose test data are missing is skipped and says which.
func TestReport(t *testing.T) {
	target := meddle(t, startSwitch(t), func(n int, frame []byte) [][]byte {
		if n != 3 {
			return [][]byte{frame}
		}
		return swapped(frame, "\x00\x00\x00\x00\x03\x00", "\x00\x00\x00\x00\x03\x01")
	})
	opts := options(t, certify.ProfilePOS, target)
	opts.Only = []string{"balance", "redeem", "stolen-card"}
	opts.Parameters.Within = time.Second
	delete(opts.Parameters.Cards, "stolen")
	var text bytes.Buffer
	report, err := certify.Run(t.Context(), opts, func(c *certify.CaseResult) error { return c.WriteCase(&text, false) })
	require.NoError(t, err)
	require.Equal(t, [3]int{1, 1, 1}, [3]int{report.Passed, report.Failed, report.Skipped})
	require.NoError(t, report.WriteSummary(&text))
	for _, pattern := range []string{
		`(?m)^passed   balance  A balance enquiry .*  积分查询$`,
		`(?m)^failed   redeem  `,
		`(?m)^  step 2  the member earns  会员获得积分  ok$`,
		`(?m)^  step 3  redeem  积分消费  DIFFERS 不符$`,
		`(?m)^    differs  DE4 amount echoed 域4 交易金额原样返回: expected 000000000300, got 000000000301$`,
		`(?m)^    sent 发送  6000000000600000000000020070`,
		`(?m)^    >>  4 .* 000000000301 .*<<  expected 000000000300$`,
		`(?m)^skipped  stolen-card  `,
		`(?m)^         the parameters lack cards\.stolen 缺少参数$`,
		`(?m)^Failed 不符:\n  redeem  step 3  DE4 amount echoed 域4 交易金额原样返回: expected 000000000300, got 000000000301\n1 cases passed`,
		`(?m)^1 cases passed, 1 failed, 1 skipped; \d+ expectations looked at`,
	} {
		require.Regexp(t, pattern, text.String())
	}
	require.NotContains(t, text.String(), "step 1  the terminal signs on  签到  ok\n    ok", "what passed is not told in full")

	var page, suites, everything, all bytes.Buffer
	require.NoError(t, report.WriteHTML(&page))
	require.Regexp(t, `<details class="failed" open>\s*<summary><span class="verdict">failed</span> redeem: `, page.String())
	require.Regexp(t, `<tr class="differs"><td>DE4 amount echoed</td><td class="zh">域4 交易金额原样返回</td><td>000000000300</td><td>000000000301</td></tr>`, page.String())
	require.Regexp(t, `<tr class="differs"><td>4</td><td>amount</td>`, page.String())
	require.Equal(t, 2, strings.Count(page.String(), `<tr class="differs">`), "one expectation and one data element")

	require.NoError(t, report.WriteJUnit(&suites))
	var read struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Skipped  int `xml:"skipped,attr"`
		Suites   []struct {
			Cases []struct {
				Name    string `xml:"name,attr"`
				Failure *struct {
					Message string `xml:"message,attr"`
					Text    string `xml:",chardata"`
				} `xml:"failure"`
				Skipped *struct {
					Message string `xml:"message,attr"`
				} `xml:"skipped"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	require.NoError(t, xml.Unmarshal(suites.Bytes(), &read))
	require.Equal(t, [3]int{3, 1, 1}, [3]int{read.Tests, read.Failures, read.Skipped})
	told := 0
	for _, suite := range read.Suites {
		for _, c := range suite.Cases {
			switch {
			case strings.HasPrefix(c.Name, "redeem"):
				require.Equal(t, "step 3: DE4 amount echoed: expected 000000000300, got 000000000301", c.Failure.Message)
				require.Contains(t, c.Failure.Text, "<<  expected 000000000300")
				told++
			case strings.HasPrefix(c.Name, "stolen"):
				require.Equal(t, "the parameters lack cards.stolen", c.Skipped.Message)
				told++
			default:
				require.Nil(t, c.Failure)
			}
		}
	}
	require.Equal(t, 2, told)

	require.NoError(t, json.NewEncoder(&everything).Encode(report))
	for _, script := range report.Scripts {
		for i := range script.Cases {
			require.NoError(t, script.Cases[i].WriteCase(&all, true))
		}
	}
	require.Regexp(t, `(?m)^    ok       DE39 answer code 域39 应答码: 00$`, all.String())
	card := regexp.MustCompile(`6222020000000000017`)
	for _, form := range []string{text.String(), page.String(), suites.String(), everything.String(), all.String()} {
		require.NotRegexp(t, card, form)
		require.Contains(t, form, "622202*********0017")
	}
}

// What a case is called decides whether it is played; a pattern that fits none is
// an error, and so is a target that nobody listens at.
func TestOnly(t *testing.T) {
	opts := options(t, certify.ProfilePOS, "127.0.0.1:1")
	opts.Only = []string{"nothing-like-it"}
	_, err := certify.Run(t.Context(), opts, nil)
	require.ErrorContains(t, err, `no case is called "nothing-like-it"`)
	opts.Only = []string{"["}
	_, err = certify.Run(t.Context(), opts, nil)
	require.ErrorContains(t, err, "syntax error in pattern")
	opts.Only = []string{"sign-*"}
	_, err = certify.Run(t.Context(), opts, nil)
	require.ErrorContains(t, err, "case sign-on: certify: dial tcp 127.0.0.1:1")
}
