package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/points"
)

// Whatever an operator asks wrongly is refused with a problem document that names
// the reason, and changes neither totals nor directory nor date.
func TestAdminRefuses(t *testing.T) {
	h := newHouse(t)
	r := h.start(t)
	r.load(t, smallTown)
	require.True(t, send(t, r.terminal(t, "T1"), points.Earn, "6222020000000000017", 70).Response.Reason.Approved())
	before := stateOf(t, r)
	for _, c := range []struct {
		name, path, body string
		status           int
		reason           points.Reason
		detail           string
	}{
		{"no JSON", "accounts", "member 1", 400, points.FormatError, "request body"},
		{"nothing", "accounts", "", 400, points.FormatError, "request body"},
		{"half of it", "accounts", `{"member":`, 400, points.FormatError, "request body"},
		{"a key twice", "accounts", `{"member":1,"member":2}`, 400, points.FormatError, "stands there twice"},
		{"a key twice, in other letters", "accounts", `{"member":1,"MEMBER":2}`, 400, points.FormatError, "stands there twice"},
		{"two of them", "accounts", `{"member":1}{"member":2}`, 400, points.FormatError, "more behind its end"},
		{"unknown key", "accounts", `{"membre":1}`, 400, points.FormatError, `unknown field "membre"`},
		{"wrong type", "accounts", `{"member":"one"}`, 400, points.FormatError, "member"},
		{"below zero", "accounts", `{"member":-1}`, 400, points.FormatError, "member"},
		{"a card that is none", "accounts", `{"card":"622202000000000001x"}`, 400, points.FormatError, "character 19 is not a digit"},
		{"unknown card", "accounts", `{"card":"6222020000000000991"}`, points.UnknownCard.HTTPStatus(), points.UnknownCard, "622202*********0991"},
		{"unknown member", "accounts", `{"member":17}`, points.UnknownMember.HTTPStatus(), points.UnknownMember, "member 17"},
		{"no RRN", "record", `{"rrn":"12"}`, 400, points.FormatError, "RRN"},
		{
			"adjust alone", "adjust", `{"member":1,"program":901,"amount":5,"operator":"li","second":"li","note":"x"}`,
			points.NeedsSecondPerson.HTTPStatus(), points.NeedsSecondPerson, "adjust",
		},
		{
			"adjust by nobody", "adjust", `{"member":1,"program":901,"amount":5,"note":"x"}`,
			points.NeedsSecondPerson.HTTPStatus(), points.NeedsSecondPerson, "adjust",
		},
		{
			"adjust nobody", "adjust", `{"member":17,"program":901,"amount":5,"operator":"li","second":"wang","note":"x"}`,
			points.UnknownMember.HTTPStatus(), points.UnknownMember, "adjust",
		},
		{
			"adjust below nothing", "adjust", `{"member":1,"program":901,"amount":-71,"operator":"li","second":"wang","note":"x"}`,
			points.NotEnoughPoints.HTTPStatus(), points.NotEnoughPoints, "adjust",
		},
		{
			"cut over alone", "cutover", `{"operator":"li","second":"li"}`,
			points.NeedsSecondPerson.HTTPStatus(), points.NeedsSecondPerson, "cut-over",
		},
		{"cut over to the past", "cutover", `{"date":"2001-01-01","operator":"li","second":"wang"}`, 0, 0, "cut-over to 2001-01-01"},
		{"cut over to no day", "cutover", `{"date":"yesterday","operator":"li","second":"wang"}`, 400, points.FormatError, "request body"},
		{"terminal of no merchant", "directory", `{"terminals":[{"id":"T9","merchant":"M9"}]}`, 0, 0, "terminal T9"},
		{"member with a card that is none", "directory", `{"members":[{"id":9,"cards":[{"number":""}]}]}`, 400, points.FormatError, "card number"},
		{"identity too long", "directory", `{"terminals":[{"id":"T23456789","merchant":"M1"}]}`, 400, points.FormatError, "DE41"},
	} {
		t.Run(c.name, func(t *testing.T) {
			response := post(t, h.config.Admin.Socket, c.path, c.body)
			require.Equal(t, "application/problem+json", response.contentType)
			var p struct {
				Type, Title, Detail string
				Status              int
				Reason              points.Reason
			}
			require.NoError(t, json.Unmarshal(response.body, &p), "%s", response.body)
			require.Equal(t, response.status, p.Status)
			require.Equal(t, "about:blank", p.Type)
			require.NotEmpty(t, p.Title)
			require.Contains(t, p.Detail, c.detail)
			require.NotContains(t, string(response.body), "6222020000000000")
			require.GreaterOrEqual(t, p.Status, 400)
			if c.status != 0 {
				require.Equal(t, c.status, p.Status)
				require.Equal(t, c.reason, p.Reason)
			}
			require.Equal(t, before, stateOf(t, r))
		})
	}
	require.Equal(t, http.StatusNotFound, post(t, h.config.Admin.Socket, "nonsense", "{}").status)
	r.stop(t)
}

// Every cut-over is under the same rules, the first one too: a date that has only just
// begun is ended by who insists on it, and a date far ahead of the calendar is begun by
// who insists on that; the one is not the other.
func TestCutOverTooSoonOrTooFar(t *testing.T) {
	h := newHouse(t)
	r := h.start(t)
	cut := func(date points.BusinessDate, force, ahead bool) error {
		_, err := r.client.CutOver(t.Context(), app.CutOver{Date: date, Operator: "li", Second: "wang", Force: force, Ahead: ahead})
		return err
	}
	first, err := r.client.Status(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, first.Since)
	require.ErrorContains(t, cut(0, false, true), "began only")
	far := first.Date.AddDays(app.DaysAhead + 2) // Midnight may be between this and the test's start.
	require.ErrorContains(t, cut(far, true, false), "--ahead")
	require.ErrorContains(t, cut(first.Date, true, true), "already")
	same, err := r.client.Status(t.Context())
	require.NoError(t, err)
	first.Ready, same.Ready = true, true // It may have become so meanwhile.
	require.Equal(t, first, same)

	require.NoError(t, cut(first.Date.AddDays(app.DaysAhead), true, false))
	require.ErrorContains(t, cut(0, false, true), "began only")
	require.NoError(t, cut(far, true, true))
	require.ErrorContains(t, cut(0, true, false), "--ahead", "the day after a date far ahead is far ahead too")
	r.stop(t)
}

// A refusal reaches the caller of the client as an error with its reason.
func TestClientTellsReason(t *testing.T) {
	h := newHouse(t)
	r := h.start(t)
	_, err := r.client.Accounts(t.Context(), app.Holder{Member: 17})
	require.Equal(t, points.UnknownMember, points.ReasonOf(err))
	require.ErrorContains(t, err, "member 17")
	r.stop(t)
	_, err = r.client.Status(t.Context())
	require.ErrorContains(t, err, "is lianfen serve running")
}

// Every record can be shown, an operator's as well as a terminal's.
func TestRecord(t *testing.T) {
	h := newHouse(t)
	r := h.start(t)
	r.load(t, smallTown)
	receipt := send(t, r.terminal(t, "T1"), points.Earn, "6222020000000000017", 70)
	last := receipt.Response.Position
	for position := points.Position(1); position <= last; position++ {
		rrn := position.RRN()
		record, err := r.client.Record(t.Context(), string(rrn[:]))
		require.NoError(t, err, "position %v", position)
		require.Equal(t, string(rrn[:]), record.RRN)
		if position < last {
			require.Empty(t, record.STAN)
			continue
		}
		require.Equal(t, "T1", record.Terminal.String())
		require.Equal(t, receipt.Request.STAN.String(), record.STAN)
		require.Equal(t, "622202*********0017", record.Card)
		require.Equal(t, points.Amount(70), record.Amount)
		require.Len(t, record.Postings, 2)
		require.Zero(t, record.Postings[0].Amount+record.Postings[1].Amount)
	}
	r.stop(t)
}

// state is what a refusal must leave as it is.
type state struct {
	date      points.BusinessDate
	totals    []app.Total
	directory app.Directory
	one, two  app.Accounts
}

func stateOf(t *testing.T, r *running) state {
	t.Helper()
	var s state
	status, err := r.client.Status(t.Context())
	require.NoError(t, err)
	s.date = status.Date
	totals, err := r.client.Totals(t.Context())
	require.NoError(t, err)
	s.totals = totals.Lines
	s.directory, err = r.client.Directory(t.Context())
	require.NoError(t, err)
	s.one, err = r.client.Accounts(t.Context(), app.Holder{Member: 1})
	require.NoError(t, err)
	s.two, err = r.client.Accounts(t.Context(), app.Holder{Member: 2})
	require.NoError(t, err)
	return s
}

type answered struct {
	status      int
	contentType string
	body        []byte
}

// post sends a body to the admin socket as it stands.
func post(t *testing.T, socket, path, body string) answered {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	defer client.CloseIdleConnections()
	response, err := client.Post("http://admin/v1/"+path, "application/json", strings.NewReader(body))
	require.NoError(t, err)
	text, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	return answered{response.StatusCode, response.Header.Get("Content-Type"), bytes.TrimSpace(text)}
}
