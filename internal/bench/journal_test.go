package bench

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// journal is the records of a journal, from position 1 on.
type journal []book.Record

func (j journal) Scan(_ context.Context, from, to points.Position, visit func(*book.Record) error) error {
	for i := range j {
		if p := points.Position(i + 1); p >= from && p <= to {
			if err := visit(&j[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// redeemed is a record of an approved redemption: request stan of a terminal's
// series 7, at position.
func redeemed(stan points.STAN, position points.Position) book.Record {
	terminal, _ := worldTerminal(0)
	return book.Record{
		Command: book.Command{Kind: book.KindRedeem, Key: points.TraceKey{Source: terminal, When: 7, STAN: stan}},
		Outcome: book.Outcome{Reason: points.Approved, Position: position},
	}
}

// Every answer has to be in the journal once, at the position that it named, and
// nothing else may have been approved.
func TestCheckJournal(t *testing.T) {
	declined := redeemed(3, 4)
	declined.Outcome.Reason = points.NotEnoughPoints
	other := redeemed(9, 1)
	other.Command.Kind = book.KindEarn
	for _, c := range []struct {
		name    string
		journal journal
		want    Tally
	}{
		{"all there", journal{other, redeemed(1, 2), redeemed(2, 3), declined}, Tally{Answers: 2, Approved: 2, Found: 2}},
		{"one missing", journal{other, redeemed(1, 2), other}, Tally{Answers: 2, Approved: 1, Found: 1, Missing: 1}},
		{"one doubled", journal{other, redeemed(1, 2), redeemed(2, 3), redeemed(1, 4)}, Tally{Answers: 2, Approved: 3, Found: 2, Doubled: 1}},
		{"at another position", journal{other, redeemed(2, 2), redeemed(1, 3)}, Tally{Answers: 2, Approved: 2, Missing: 2, Strange: 2}},
		{"told to nobody", journal{other, redeemed(1, 2), redeemed(2, 3), redeemed(3, 4), redeemed(77, 5)}, Tally{Answers: 2, Approved: 4, Found: 2, Strange: 2}},
		{"before the run", journal{redeemed(1, 1), redeemed(1, 2), redeemed(2, 3)}, Tally{Answers: 2, Approved: 2, Found: 2}},
	} {
		terminal, err := worldTerminal(0)
		require.NoError(t, err)
		answers := newAnswers(false)
		answers.all[numbering{terminal, 7}] = []points.Position{2, 3, 0}
		answers.count = 2
		got, err := CheckJournal(t.Context(), c.journal, 2, answers)
		require.NoError(t, err)
		require.Equal(t, c.want, got, c.name)
		require.Equal(t, c.name == "all there" || c.name == "before the run", got.wrong() == 0, c.name)
	}
}

// Checks judge by what was measured; what could not be measured passes nothing.
func TestChecks(t *testing.T) {
	require.Equal(t, Check{"a", 0.6, "times", ">= 0.6", true}, atLeast("a", 0.6, "times", 0.6))
	require.False(t, atLeast("a", 0.599, "times", 0.6).Pass)
	require.Equal(t, Check{"b", 400, "bytes", "<= 400", true}, atMost("b", 400, "bytes", 400))
	require.False(t, atMost("b", 401, "bytes", 400).Pass)
	require.False(t, atMost("b", 0, "bytes", 400).Pass)
	require.True(t, none("c", 0, "answers").Pass)
	require.False(t, none("c", 1, "answers").Pass)
	require.Zero(t, ratio(5, 0))
	r := Report{Checks: []Check{none("c", 1, ""), none("c", 0, ""), none("c", 2, "")}}
	require.Equal(t, 2, r.Failed())
}

// The line of several rounds is each figure's median.
func TestMedian(t *testing.T) {
	m := median("x", []Measurement{
		{PerSecond: 3, Latency: Latency{P50: 9}, ServerCPU: 1, Rounds: 1},
		{PerSecond: 1, Latency: Latency{P50: 7}, ServerCPU: 3, Rounds: 1},
		{PerSecond: 2, Latency: Latency{P50: 8}, ServerCPU: 2, Rounds: 1},
	})
	require.Equal(t, Measurement{Name: "x", PerSecond: 2, Latency: Latency{P50: 8}, ServerCPU: 2, Rounds: 3}, m)
	require.Zero(t, medianOf[int](nil))
	require.Equal(t, 2, medianOf([]int{4, 1, 2, 3}))
}
