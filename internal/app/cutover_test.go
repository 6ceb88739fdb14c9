package app_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/points"
)

// turned is a clock that a test turns.
type turned struct{ now atomic.Int64 }

func (c *turned) set(t *testing.T, text string) {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	require.NoError(t, err)
	c.now.Store(at.UnixMicro())
}

func (c *turned) clock() points.Timestamp { return points.Timestamp(c.now.Load()) }

// Cut-overs that nobody was there for are carried out when the switch starts, in order and
// before it serves, with the time that they were planned for; what a person ends early is
// not ended again by the schedule; a start on time does nothing.
func TestMissedCutOvers(t *testing.T) {
	h := newHouse(t, "settlement.cutover=23:00", "settlement.cycles=11:30")
	clock := new(turned)
	h.clock = clock.clock
	clock.set(t, "2026-03-02T09:00:00+08:00")
	r := h.start(t)
	status, err := r.client.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, points.BusinessDate(20260302), status.Date)
	require.Equal(t, "2026-03-02T03:30:00.000000Z", status.NextCutOver)
	r.stop(t)

	clock.set(t, "2026-03-03T23:10:00+08:00")
	r = h.start(t)
	status, err = r.client.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, points.BusinessDate(20260304), status.Date)
	require.Equal(t, uint8(1), status.Cycle)
	planned := func(date points.BusinessDate) (at []string) {
		cycles, err := r.client.Cycles(t.Context(), date)
		require.NoError(t, err)
		for _, c := range cycles {
			at = append(at, c.Planned)
		}
		return at
	}
	require.Equal(t, []string{"", "2026-03-02T03:30:00.000000Z"}, planned(20260302))
	require.Equal(t, []string{"2026-03-02T15:00:00.000000Z", "2026-03-03T03:30:00.000000Z"}, planned(20260303))
	require.Equal(t, []string{"2026-03-03T15:00:00.000000Z"}, planned(20260304))

	_, err = r.client.CutOver(t.Context(), app.CutOver{Cycle: true, Operator: "li", Second: "wang"})
	require.ErrorContains(t, err, "began only")
	clock.set(t, "2026-03-04T11:20:00+08:00")
	done, err := r.client.CutOver(t.Context(), app.CutOver{Cycle: true, Operator: "li", Second: "wang"})
	require.NoError(t, err)
	require.Equal(t, points.BusinessDate(20260304), done.Date)
	r.stop(t)
	clock.set(t, "2026-03-04T12:00:00+08:00")
	r = h.start(t)
	require.Equal(t, []string{"2026-03-03T15:00:00.000000Z", ""}, planned(20260304))
	cycles, err := r.client.Cycles(t.Context(), 0)
	require.NoError(t, err)
	require.Equal(t, points.BusinessDate(20260305), cycles[1].Settles)
	require.Equal(t, "2026-03-04T15:00:00.000000Z", cycles[1].Ends)
	_, err = r.client.Cycles(t.Context(), 20250101)
	reasonIs(t, points.UnknownOriginal, err)
	r.stop(t)
}

// The schedule ends a date while the switch serves, without anybody asking.
func TestScheduledCutOver(t *testing.T) {
	h := newHouse(t, "settlement.cutover=23:00")
	clock := new(turned)
	h.clock = clock.clock
	clock.set(t, "2026-03-02T22:59:59.900+08:00")
	r := h.start(t)
	clock.set(t, "2026-03-02T23:00:01+08:00")
	require.Eventually(t, func() bool {
		status, err := r.client.Status(t.Context())
		return err == nil && status.Date == 20260303
	}, 10*time.Second, 10*time.Millisecond)
	r.stop(t)
}
