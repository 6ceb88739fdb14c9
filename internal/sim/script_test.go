package sim_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/sim"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
)

// A script that cannot be played is refused when it is read, with what is wrong.
func TestReadScript(t *testing.T) {
	const terminals = "terminals: [{id: T1, merchant: M1}]\n"
	for _, c := range []struct{ name, text, wrong string }{
		{"day of the demonstration", read(t, sim.DayScript()), ""},
		{"one step", terminals + "steps: [{send: echo}]", ""},
		{"nothing", "", "script: "},
		{"no terminal", "steps: [{send: echo}]", "at least one terminal and one step"},
		{"no step", terminals, "at least one terminal and one step"},
		{"unknown key", terminals + "steps: [{send: echo, amuont: 5}]", `line 2: unknown key "amuont"`},
		{"unknown expectation", terminals + "steps: [{send: echo, expect: {cod: '00'}}]", `unknown key "cod"`},
		{"no number", terminals + "steps: [{send: earn, amount: much}]", "line 2"},
		{"unknown function", terminals + "steps: [{send: echo}, {send: gamble}]", "step 2: "},
		{"nothing to send", terminals + "steps: [{note: lunch}]", "step 1: 0 of send, repeat and raw are given, want one"},
		{"two things to send", terminals + "steps: [{send: echo, raw: '00'}]", "step 1: 2 of send, repeat and raw are given, want one"},
		{"the same as what", terminals + "steps: [{send: echo, expect: {same: true}}]", "step 1: expect: same"},
		{"a PIN in what is sent again", terminals + "steps: [{send: echo, as: it}, {repeat: it, pin: '1234'}]", "step 2: mac and pin go with send"},
		{"an unknown MAC", terminals + "steps: [{send: echo, mac: right}]", `step 1: mac: "right", want wrong or none`},
		{"no YAML", "steps: [", "script: yaml"},
	} {
		t.Run(c.name, func(t *testing.T) {
			script, err := sim.ReadScript(strings.NewReader(c.text))
			if c.wrong == "" {
				require.NoError(t, err)
				require.NotEmpty(t, script.Steps)
				return
			}
			require.ErrorContains(t, err, c.wrong)
			require.Nil(t, script)
		})
	}
}

func read(t *testing.T, r io.Reader) string {
	t.Helper()
	text, err := io.ReadAll(r)
	require.NoError(t, err)
	return string(text)
}

// script is a script of terminal T1 with a card called ann.
func script(t *testing.T, steps string) *sim.Script {
	t.Helper()
	s, err := sim.ReadScript(strings.NewReader("terminals: [{id: T1, merchant: M1}]\ncards: {ann: '6222020000000000017'}\nsteps:\n" + steps))
	require.NoError(t, err)
	return s
}

// play plays a script and returns what its steps came to.
func play(t *testing.T, player *sim.Player, s *sim.Script) ([]sim.Result, int, error) {
	t.Helper()
	var results []sim.Result
	wrong, err := player.Play(t.Context(), s, func(r sim.Result) error {
		results = append(results, r)
		return nil
	})
	require.NoError(t, player.HangUp())
	return results, wrong, err
}

// An answer that is not the expected one is told as what it is, of every kind; one
// that is, is not.
func TestExpectations(t *testing.T) {
	c := newCounterpart(t, func(n int, req *points.Request, resp *points.Response) bool {
		switch req.Amount {
		case 51:
			resp.Reason = points.NotEnoughPoints
		case 60:
			resp.Amount, resp.Reason = 40, points.ApprovedPartly
		case 70:
			resp.AddBalance(points.Balance54{Program: 901, Kind: points.AvailableBalance, Amount: 930})
		case 80:
			resp.Position = points.Position(1000 + n) // Another each time.
		case 90:
			return false
		default: // Approved as it stands.
		}
		return true
	})
	for _, e := range []struct{ step, wrong string }{
		{`{send: redeem, card: ann, program: 901, amount: 51}`, "code 51, expected 00"},
		{`{send: redeem, card: ann, program: 901, amount: 51, expect: {code: "51"}}`, ""},
		{`{send: redeem, card: ann, program: 901, amount: 10, expect: {code: "51"}}`, "code 00, expected 51"},
		{`{send: redeem, card: ann, program: 901, amount: 60, expect: {code: "10", amount: 41}}`, "amount 40, expected 41"},
		{`{send: redeem, card: ann, program: 901, amount: 60, expect: {code: "10", amount: 40}}`, ""},
		{`{send: redeem, card: ann, program: 901, amount: 10, expect: {available: 1}}`, "no balance, expected 1"},
		{`{send: redeem, card: ann, program: 901, amount: 70, expect: {available: 1}}`, "balance 930, expected 1"},
		{`{send: redeem, card: ann, program: 901, amount: 70, expect: {available: 930}}`, ""},
		{`{send: redeem, card: ann, program: 901, amount: 90, expect: {closed: true}}`, ""},
		{`{send: redeem, card: ann, program: 901, amount: 10, expect: {closed: true}}`, "an answer came; the connection should have been closed"},
		{`{raw: "00 01", expect: {closed: true}}`, ""},
	} {
		player := &sim.Player{Address: c.address(), Clock: now}
		results, wrong, err := play(t, player, script(t, "  - "+e.step+"\n  - {send: echo}"))
		require.NoError(t, err, e.step)
		require.Equal(t, e.wrong, results[0].Wrong, e.step)
		require.Empty(t, results[1].Wrong, "the day goes on")
		require.Equal(t, e.wrong != "", wrong == 1, e.step)
		require.NotContains(t, results[0].Card, "000000")
	}
	player := &sim.Player{Address: c.address(), Clock: now}
	results, wrong, err := play(t, player, script(t, `
  - {send: redeem, card: ann, program: 901, amount: 80, as: sale}
  - {repeat: sale, expect: {same: true}}
  - {repeat: sale}
`))
	require.NoError(t, err)
	require.Equal(t, 1, wrong)
	require.Equal(t, "the repeat was answered differently", results[1].Wrong)
	frames := c.frames()
	require.Equal(t, frames[len(frames)-3], frames[len(frames)-1], "a repeat is the same bytes")
}

// A closed connection that nobody expected, and a switch that is not there, end the
// day: they are not answers.
func TestNoAnswer(t *testing.T) {
	c := newCounterpart(t, func(int, *points.Request, *points.Response) bool { return false })
	player := &sim.Player{Address: c.address(), Clock: now}
	results, _, err := play(t, player, script(t, "  - {send: echo}"))
	require.ErrorIs(t, err, io.EOF)
	require.ErrorContains(t, err, "step 1: terminal T1")
	require.Empty(t, results)
	require.NoError(t, c.ln.Close())
	_, wrong, err := play(t, &sim.Player{Address: c.address(), Clock: now}, script(t, "  - {send: echo, expect: {closed: true}}"))
	require.NoError(t, err)
	require.Equal(t, 1, wrong, "nobody there is not a connection that was closed")
}

// Steps that refer to what did not happen end the day.
func TestUnknownStep(t *testing.T) {
	c := newCounterpart(t, func(int, *points.Request, *points.Response) bool { return true })
	for _, step := range []string{"{send: void, of: lunch}", "{repeat: lunch}", "{send: redeem, card: ann, amount: 5, under: lunch}"} {
		_, _, err := play(t, &sim.Player{Address: c.address(), Clock: now}, script(t, "  - "+step))
		require.ErrorContains(t, err, `no earlier step is called "lunch"`)
	}
	require.Empty(t, c.frames())
}

// Who gets no answer sends the same bytes until one comes, and the day goes on.
func TestRetry(t *testing.T) {
	c := newCounterpart(t, func(n int, _ *points.Request, _ *points.Response) bool { return n >= 3 })
	var kept []*sim.Receipt
	player := &sim.Player{Address: c.address(), Clock: now, Retry: time.Minute, Keep: func(r *sim.Receipt) error {
		kept = append(kept, r)
		return nil
	}}
	results, wrong, err := play(t, player, script(t, `
  - {send: redeem, card: ann, program: 901, amount: 10, as: lunch}
  - {send: echo}
`))
	require.NoError(t, err)
	require.Zero(t, wrong)
	require.Len(t, results, 2)
	frames := c.frames()
	require.Len(t, frames, 4)
	require.Equal(t, frames[0], frames[1])
	require.Equal(t, frames[0], frames[2])
	require.NotEqual(t, frames[0], frames[3])
	require.Len(t, kept, 2, "an answer is kept once")
	require.Equal(t, frames[0], kept[0].Sent)
}

// An answer to another request is not believed.
func TestAnswerToAnother(t *testing.T) {
	c := newCounterpart(t, func(_ int, req *points.Request, _ *points.Response) bool {
		req.STAN++
		return true
	})
	_, _, err := play(t, &sim.Player{Address: c.address(), Clock: now}, script(t, "  - {send: balance, card: ann, program: 901}"))
	require.ErrorContains(t, err, "STAN 000002 instead of 000001")
}

// Whoever ends the context is not kept waiting for an answer, whether it ends
// while a terminal waits or has ended before it sends.
func TestCancelled(t *testing.T) {
	who, err := sim.ParseIdentity("T1", "M1")
	require.NoError(t, err)
	for _, before := range []bool{false, true} {
		silent := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		c := newCounterpart(t, func(n int, _ *points.Request, _ *points.Response) bool {
			if n > 1 {
				cancel()
				<-silent
			}
			return n == 1
		})
		terminal := sim.NewTerminal(c.address(), who, 0, now)
		echo := terminal.Next(points.Echo)
		_, err = terminal.Send(ctx, &echo)
		require.NoError(t, err)
		if before {
			cancel()
		}
		began := time.Now()
		_, err = terminal.Send(ctx, &echo)
		require.Error(t, err)
		require.Less(t, time.Since(began), 30*time.Second)
		close(silent)
		require.NoError(t, terminal.HangUp())
	}
}

// Scripts played one after the other go on counting, and what happened in the one
// before can be referred to.
func TestGoesOn(t *testing.T) {
	c := newCounterpart(t, func(int, *points.Request, *points.Response) bool { return true })
	player := &sim.Player{Address: c.address(), Clock: now, FirstSTAN: 41}
	results, _, err := play(t, player, script(t, "  - {send: redeem, card: ann, program: 901, amount: 10, as: lunch}"))
	require.NoError(t, err)
	require.Equal(t, "000042", results[0].STAN)
	require.Equal(t, "622202*********0017", results[0].Card)
	results, _, err = play(t, player, script(t, "  - {send: void, of: lunch}\n  - {send: redeem, card: ann, program: 901, amount: 10, under: lunch}"))
	require.NoError(t, err)
	require.Equal(t, "000043", results[0].STAN)
	require.Equal(t, "void of lunch", results[0].What)
	require.Equal(t, "000042", results[1].STAN)
}

// A listener that fails to hear a result ends the day with its error.
func TestTellFails(t *testing.T) {
	c := newCounterpart(t, func(int, *points.Request, *points.Response) bool { return true })
	deaf := errors.New("deaf")
	player := &sim.Player{Address: c.address(), Clock: now}
	_, err := player.Play(t.Context(), script(t, "  - {send: echo}\n  - {send: echo}"), func(sim.Result) error { return deaf })
	require.ErrorIs(t, err, deaf)
	require.NoError(t, player.HangUp())
	require.Len(t, c.frames(), 1)
}

// A completion is reversed without the authorisation code that it named: it is that of
// the hold, and the terminal has none of its own.
func TestReversalOfCompletion(t *testing.T) {
	c := newCounterpart(t, func(_ int, req *points.Request, resp *points.Response) bool {
		if req.Function != points.Reversal {
			resp.Position, resp.AuthCode = 7, points.Position(7).AuthCode()
		}
		return true
	})
	_, wrong, err := play(t, &sim.Player{Address: c.address(), Clock: now}, script(t, `
  - {send: pre_auth, card: ann, program: 901, amount: 20, as: hold}
  - {send: completion, of: hold, amount: 15, as: lost, lose: true}
  - {send: reversal, of: lost}
`))
	require.NoError(t, err)
	require.Zero(t, wrong)
	var completion, reversal points.Request
	require.NoError(t, dialect.Pos().Decode(c.frames()[1], &completion))
	require.NoError(t, dialect.Pos().Decode(c.frames()[2], &reversal))
	require.True(t, completion.Has(38))
	require.Equal(t, points.Completion, reversal.Reversed)
	require.False(t, reversal.Has(38))
}
