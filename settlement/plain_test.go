package settlement_test

import (
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement"
)

// A run notes how fast its journal is read plainly, and how its computing is beside that. The
// clock here moves a millisecond each time that somebody looks at it.
func TestPlainRead(t *testing.T) {
	s := tell(t)
	s.firstDay()
	s.cutOver(dayTwo, 0)
	var clock atomic.Int64
	r, err := settlement.NewRunner(s.house(), settlement.Options{
		Folder: t.TempDir(), Operator: 90_000_001, Name: "联分", Code: "story", Workers: 1, Models: oneModel(t, 1),
		Zone: china(), Clock: func() points.Timestamp { return points.Timestamp(clock.Add(1_000)) },
	})
	require.NoError(t, err)
	run, err := r.Run(t.Context(), dayOne, 1, settlement.Order{At: s.clock, By: "li", ID: goldenRun})
	require.NoError(t, err)
	permille, read := run.Plain()
	require.Equal(t, settlement.StepPlain, read.Step)
	require.Equal(t, run.Rows, read.Rows)
	require.EqualValues(t, 1_000, read.Micros)
	var computed settlement.Timing
	for _, timing := range run.Timings {
		if timing.Step == settlement.StepCompute {
			computed = timing
		}
	}
	require.Equal(t, computed.PerSecond()*1000/read.PerSecond(), permille)
	require.Less(t, permille, uint64(1_000), "several looks at the clock are in computing")
	require.Positive(t, permille)

	// The bytes are those of the cycle's records, and no others: its blocks are read, and those alone.
	whole, err := s.ledger.Read(t.Context(), 1, run.Cut.Last+1_000_000)
	require.NoError(t, err)
	before, err := s.ledger.Read(t.Context(), 1, run.Cut.First-1)
	require.NoError(t, err)
	behind, err := s.ledger.Read(t.Context(), run.Cut.Last+1, run.Cut.Last+1_000_000)
	require.NoError(t, err)
	require.Positive(t, read.Bytes)
	require.Equal(t, whole, before+read.Bytes+behind)

	none := settlement.Run{Timings: []settlement.Timing{{Step: settlement.StepCompute, Rows: 1, Micros: 1}}}
	permille, _ = none.Plain()
	require.Zero(t, permille, "of a run of before, or by a clock that stands still")
}
