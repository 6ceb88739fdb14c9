package app_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement"
)

// runs lists the runs of a switch, once there are so many in a state.
func (r *running) runs(t *testing.T, many int, state settlement.State) (runs []*settlement.Run) {
	t.Helper()
	require.Eventually(t, func() bool {
		var err error
		runs, err = r.client.SettleShow(t.Context(), app.SettleAsk{})
		require.NoError(t, err)
		n := 0
		for _, run := range runs {
			if run.State == state {
				n++
			}
		}
		return n >= many
	}, time.Minute, 50*time.Millisecond)
	return runs
}

// endDay ends the business date by two names.
func (r *running) endDay(t *testing.T) {
	t.Helper()
	_, err := r.client.CutOver(t.Context(), app.CutOver{Force: true, Operator: "li", Second: "wang"})
	require.NoError(t, err)
}

// byHand publishes the run of a date by two names.
func (r *running) byHand(t *testing.T, date points.BusinessDate) *settlement.Run {
	t.Helper()
	done, err := r.client.Settle(t.Context(), "run", app.SettleAsk{Date: date, Operator: "li", Second: "wang", Publish: true}, nil)
	require.NoError(t, err)
	require.Equal(t, app.SettleDone, done.Outcome, done.Problem)
	return done.Run
}

// Whatever order people have published dates in, the switch neither computes one again and
// again nor stands still: it goes on with the next that ends.
func TestNightAfterDatesOutOfOrder(t *testing.T) {
	clock := new(shifted)
	h := newHouse(t)
	h.clock = clock.clock
	r := h.start(t)
	status, err := r.client.Status(t.Context())
	require.NoError(t, err)
	day := status.Date
	for range 3 {
		r.endDay(t)
	}
	r.byHand(t, day.AddDays(2))
	r.byHand(t, day)
	r.stop(t)
	h.config.Night.Run = config.NightlyPublish
	r = h.start(t)
	r.byHand(t, day.AddDays(1))
	clock.by.Add((24 * time.Hour).Microseconds())
	r.endDay(t)
	runs := r.runs(t, 4, settlement.Published)
	require.Equal(t, day.AddDays(3), runs[3].Cut.Date)
	r.stop(t)
	require.Equal(t, 1, strings.Count(h.log.String(), `msg="settlement run"`), "each is settled once")
}

// What ended while nobody settled is settled in order, the empty date too, with statements
// numbered in that order; who approved is said to be the rule, in the run and in the journal.
func TestNightWalksInOrder(t *testing.T) {
	clock := new(shifted)
	h := newHouse(t)
	h.clock = clock.clock
	r := h.start(t)
	r.load(t, smallTown)
	traded(t, r, clock, "li", "wang", func(app.Done) {})
	terminal := r.terminal(t, "T2")
	require.Equal(t, points.Approved.String(), send(t, terminal, points.Redeem, "6222020000000000017", 7).Response.Reason.String())
	r.endDay(t)
	r.endDay(t)
	r.stop(t)
	h.config.Night.Run = config.NightlyPublish
	r = h.start(t)
	runs := r.runs(t, 3, settlement.Published)
	first := runs[0].Cut.Date
	for i, run := range runs {
		require.Equal(t, []any{first.AddDays(i), uint64(i + 1), "night", settlement.ByRule}, []any{run.Cut.Date, run.Sequence, run.Maker, run.Checker})
	}
	rrn := runs[0].Posting.RRN()
	detail, err := r.client.Detail(t.Context(), string(rrn[:]))
	require.NoError(t, err)
	require.Equal(t, []string{"night", settlement.ByRule}, []string{detail.Operator, detail.Second})
	require.Contains(t, detail.Note, "approved by "+settlement.ByRule)
	_, err = r.client.Settle(t.Context(), "run", app.SettleAsk{Operator: "li", Second: settlement.ByRule, Publish: true}, nil)
	reasonIs(t, points.NotPermitted, err)
	r.stop(t)
}

// A run that people have made void is theirs: the switch makes none in its place, nor of
// later cycles, says so, and goes on when they have settled it.
func TestNightLeavesWhatIsVoid(t *testing.T) {
	clock := new(shifted)
	h := newHouse(t, "settlement.run=check")
	h.clock = clock.clock
	r := h.start(t)
	r.load(t, smallTown)
	traded(t, r, clock, "li", "wang", func(app.Done) {})
	run := r.runs(t, 1, settlement.Checked)[0]
	_, err := r.client.SettleVoid(t.Context(), app.SettleAsk{Run: run.ID, Operator: "li", Note: "the fees are wrong"})
	require.NoError(t, err)
	r.endDay(t)
	require.Eventually(t, func() bool {
		return strings.Contains(h.log.String(), "was made void by li (the fees are wrong): it is left to people")
	}, time.Minute, 50*time.Millisecond)
	require.Len(t, r.runs(t, 1, settlement.Void), 1)
	again := r.byHand(t, run.Cut.Date)
	require.NotEqual(t, run.ID, again.ID)
	runs := r.runs(t, 1, settlement.Checked)
	require.Equal(t, run.Cut.Date.AddDays(1), runs[len(runs)-1].Cut.Date)
	r.stop(t)
}

// Where settlement.as names somebody and nobody is enrolled, the switch settles in its own
// name, and says why at its start and in its status.
func TestNightAsNobody(t *testing.T) {
	h := newHouse(t, "settlement.run=publish", "settlement.as=li")
	r := h.start(t)
	r.endDay(t)
	runs := r.runs(t, 1, settlement.Published)
	require.Equal(t, []string{"night", settlement.ByRule}, []string{runs[0].Maker, runs[0].Checker})
	status, err := r.client.Status(t.Context())
	require.NoError(t, err)
	require.Contains(t, strings.Join(status.Warnings, "\n"), "settlement.as: no operator is enrolled")
	r.stop(t)
	require.Contains(t, h.log.String(), "settlement.as: no operator is enrolled")
}

// Where settlement.as names an operator, the switch posts in that name, by the rule; while that
// one has not the role it makes nothing, and says so. No restart is needed for it to go on.
func TestNightAsAnOperator(t *testing.T) {
	clock := new(shifted)
	h := newHouse(t, "settlement.as=zhao")
	h.clock = clock.clock
	r := h.start(t)
	r.load(t, smallTown)
	ctx := t.Context()
	li, wang := r.staffedHouse(t, 0)
	r.enrol(t, li.client, "zhao", book.RoleViewer)
	r.client = li.client
	traded(t, r, clock, "", "", func(d app.Done) {
		if d.Pending != "" {
			_, err := wang.client.Approve(ctx, app.Decision{RRN: d.RRN})
			require.NoError(t, err)
		}
	})
	r.stop(t)
	h.config.Night.Run = config.NightlyPublish
	r = h.start(t)
	require.Eventually(t, func() bool { return strings.Contains(h.log.String(), "settlement.as: zhao has not the role") }, time.Minute, 50*time.Millisecond)
	ahead := time.Since(li.signedIn) + time.Duration(clock.by.Load())*time.Microsecond
	session, err := r.client.Login(ctx, app.SignIn{Name: "li", Password: passphrase, Code: li.code(t, int(ahead/(30*time.Second)))})
	require.NoError(t, err)
	r.client = r.client.In(string(session.Token))
	require.Empty(t, r.runs(t, 0, settlement.Published), "it has not begun one")
	_, err = r.client.PutOperator(ctx, app.OperatorChange{Name: "zhao", Roles: book.RoleOperator})
	require.NoError(t, err)
	runs := r.runs(t, 1, settlement.Published)
	require.Equal(t, []string{"zhao", settlement.ByRule}, []string{runs[0].Maker, runs[0].Checker})
	rrn := runs[0].Posting.RRN()
	detail, err := r.client.Detail(ctx, string(rrn[:]))
	require.NoError(t, err)
	require.Equal(t, "zhao", detail.Operator)
	require.Contains(t, detail.Note, "approved by "+settlement.ByRule)
	r.stop(t)
}
