package bench

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
)

func dialects() []*dialect.Dialect { return []*dialect.Dialect{dialect.Pos(), dialect.Host()} }

// A request with its numbers patched in is the one that would have been encoded.
func TestPatchedRequestIsTheEncodedOne(t *testing.T) {
	base := time.Date(2026, 1, 1, 0, 0, 30, 0, time.UTC)
	for _, d := range dialects() {
		form, err := newRequestForm(d, 3, false)
		require.NoError(t, err)
		for _, c := range []struct {
			stan, member uint64
			series       series
		}{{1, 1, 1}, {999_999, MaxAccounts, 79_999}, {120_034, 40_506_070, 31}, {7, 1_000_000, 4_711}} {
			when := c.series.when(d, base)
			form.stan.put(form.frame, c.stan)
			form.when.put(form.frame, when)
			form.member.put(form.frame, c.member)
			req, err := redemption(d, 3, c.stan, when, c.member)
			require.NoError(t, err)
			want, err := d.AppendRequest(nil, &req)
			require.NoError(t, err)
			require.Equal(t, want, form.frame, "%s %+v", d.Name(), c)
			require.Equal(t, c.stan, form.stan.read(form.frame))
			require.Equal(t, when, form.when.read(form.frame))
		}
	}
}

// Each series has a number of its own on the wire; a partner's goes back in time.
func TestSeriesDiffer(t *testing.T) {
	base := time.Date(2026, 1, 1, 0, 0, 30, 0, time.UTC)
	require.Equal(t, uint64(31), series(31).when(dialect.Pos(), base))
	require.Equal(t, uint64(101000030), series(0).when(dialect.Host(), base))
	require.Equal(t, uint64(1231235959), series(31).when(dialect.Host(), base))
	for _, d := range dialects() {
		seen := map[uint64]bool{}
		for s := range maxSeries {
			seen[s.when(d, base)] = true
		}
		require.Len(t, seen, int(maxSeries))
	}
}

// What the quick reading of an answer says is what the dialect says, for approvals
// that look like the first one and for those that do not, and for declines.
func TestAnswersAreReadAsTheDialectDoes(t *testing.T) {
	for _, d := range dialects() {
		form, err := newRequestForm(d, 1, false)
		require.NoError(t, err)
		quick, slow := answerForm{dialect: d}, answerForm{dialect: d}
		base := time.Date(2026, 2, 16, 9, 30, 15, 0, time.UTC)
		for n := range uint64(200) {
			stan, when := 1+n*4_999, series(n).when(d, base)
			form.stan.put(form.frame, stan)
			form.when.put(form.frame, when)
			var req points.Request
			require.NoError(t, d.Decode(form.frame, &req))
			resp := approval(points.Position(1 + n*n*n*100_003))
			switch n % 10 {
			case 3:
				resp = points.Response{Reason: points.NotEnoughPoints, Position: points.Position(n)}
			case 5:
				resp.AddBalance(points.Balance54{Kind: points.LedgerBalance, Program: worldProgram, Amount: 3})
			case 7:
				resp.Position = 3_000_000_000_000 // DE37 in base 36
			}
			frame := d.AppendResponse(nil, &req, &resp)
			want, err := slow.decode(frame)
			require.NoError(t, err)
			require.Equal(t, answer{stan, when, [2]byte([]byte(resp.Reason.DE39())), resp.Position}, want)
			got, err := quick.read(form, frame)
			require.NoError(t, err)
			require.Equal(t, want, got, "%s %d", d.Name(), n)
			require.True(t, quick.learned, "%s: the first approval teaches", d.Name())
		}
		_, err = quick.read(form, []byte("nonsense"))
		require.Error(t, err)

		// As long as the first, but another message, or with other elements.
		var req points.Request
		require.NoError(t, d.Decode(form.frame, &req))
		resp := approval(7)
		frame := d.AppendResponse(nil, &req, &resp)
		for at := range frontSize(d) {
			other := bytes.Clone(frame)
			other[quick.frontAt+at] ^= 1
			want, wantErr := slow.decode(other)
			got, gotErr := quick.read(form, other)
			require.Equal(t, wantErr, gotErr, "%s: byte %d", d.Name(), at)
			require.Equal(t, want, got)
		}
	}
}

// Numbers that do not stand together are not found.
func TestLocateRefuses(t *testing.T) {
	for _, c := range []struct{ one, other string }{{"a11b", "a22b2"}, {"1a1b", "2a2b"}, {"abcd", "abcd"}, {"a1bc", "a2bc"}} {
		_, err := locate([]byte(c.one), []byte(c.other), 2, false)
		require.ErrorContains(t, err, "do not stand together", "%v", c)
	}
	at, err := locate([]byte("a11b"), []byte("a22b"), 2, false)
	require.NoError(t, err)
	require.Equal(t, digits{1, 2, false}, at)
}
