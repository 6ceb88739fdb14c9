package app_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
)

// farTown is smallTown with an issuer that keeps its own ledger.
const farTown = `
issuers: [{id: 10000001, name: Issuer}, {id: 10000002, name: Far, link: far}]
acquirers: [{id: 20000001, name: Acquirer}]
programs: [{id: 901, issuer: 10000002, name: One}]
merchants: [{id: M1, acquirer: 20000001, name: Merchant, programs: [901]}]
terminals: [{id: T1, merchant: M1}]
routes: [{prefix: "622202", issuer: 10000002}]
`

// farHost is an issuer's host that approves what it is asked.
type farHost struct {
	ln   net.Listener
	gone chan struct{}
}

func newFarHost(t *testing.T) *farHost {
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	h := &farHost{ln: ln, gone: make(chan struct{})}
	go h.serve(t)
	t.Cleanup(func() {
		require.NoError(t, ln.Close())
		<-h.gone
	})
	return h
}

func (h *farHost) serve(t *testing.T) {
	defer close(h.gone)
	for {
		conn, err := h.ln.Accept()
		if err != nil {
			return
		}
		go answerAll(t, conn)
	}
}

func answerAll(t *testing.T, conn net.Conn) {
	d := dialect.Host()
	for {
		var prefix [2]byte
		if _, err := io.ReadFull(conn, prefix[:]); err != nil {
			return // The switch has gone.
		}
		frame := make([]byte, binary.BigEndian.Uint16(prefix[:]))
		if _, err := io.ReadFull(conn, frame); err != nil {
			t.Error(err)
			return
		}
		var req points.Request
		if err := d.Decode(frame, &req); err != nil {
			t.Error(err)
			return
		}
		answer := d.AppendResponse([]byte{0, 0}, &req, &points.Response{Reason: points.Approved, Amount: req.Amount})
		binary.BigEndian.PutUint16(answer, uint16(len(answer)-2))
		if _, err := conn.Write(answer); err != nil {
			return
		}
	}
}

// states lists the states of the links' connections.
func (r *running) states(t *testing.T) string {
	t.Helper()
	links, err := r.client.Links(t.Context())
	require.NoError(t, err)
	var states []string
	for _, l := range links {
		states = append(states, l.State)
	}
	return strings.Join(states, " ")
}

// A configured link is dialled and signed on, carries a redemption to the issuer and its
// answer back, is changed by a reload while it serves, and signed off at the stop.
func TestLinkToAnIssuer(t *testing.T) {
	there := newFarHost(t)
	h := newHouse(t)
	far := func(text string) config.Config {
		path := t.TempDir() + "/links.yaml"
		require.NoError(t, os.WriteFile(path, []byte("links: [{name: far, dial: \""+text+"\", connections: 1, redial: 10ms}]"), 0o600))
		c, err := config.Load(path, nil, []string{"tls.mode=off"})
		require.NoError(t, err)
		changed := h.config
		changed.Links = c.Links
		return changed
	}
	h.config = far(there.ln.Addr().String())
	r := h.start(t)
	r.load(t, farTown)
	require.Eventually(t, func() bool { return r.states(t) == "up" }, 10*time.Second, time.Millisecond)

	terminal := r.terminal(t, "T1")
	receipt := send(t, terminal, points.Redeem, "6222020000000000017", 120)
	require.Equal(t, points.Approved, receipt.Response.Reason)
	totals, err := r.client.Totals(t.Context())
	require.NoError(t, err)
	require.Len(t, totals.Lines, 2)
	require.Equal(t, points.Amount(-120), totals.Lines[0].Amount)
	require.Equal(t, points.Amount(120), totals.Lines[1].Amount)
	owed, err := r.client.Owed(t.Context())
	require.NoError(t, err)
	require.Empty(t, owed)

	_, err = r.client.Accounts(t.Context(), app.Holder{Card: "6222020000000000017"})
	require.ErrorContains(t, err, "in programme 901 its issuer 10000002 keeps the balances, at the end of link far")
	_, err = r.client.Statement(t.Context(), app.StatementQuery{Holder: app.Holder{Card: "6222020000000000017"}})
	require.ErrorContains(t, err, "its issuer 10000002 keeps the balances")
	_, err = r.client.Accounts(t.Context(), app.Holder{Card: "6222110000000000011"})
	require.NotContains(t, err.Error(), "keeps the balances")

	_, err = r.client.Resolve(t.Context(), app.Resolution{RRN: "000000000001", Operator: "li", Second: "wang"})
	require.ErrorContains(t, err, "no issuer with its own ledger was asked about it")
	_, err = r.client.Reload(t.Context())
	require.ErrorContains(t, err, "no configuration file")

	other := newFarHost(t)
	done, err := r.Reload(t.Context(), far(other.ln.Addr().String()))
	require.NoError(t, err)
	require.Equal(t, app.Reloaded{Links: 1, InForce: []string{"links.far.dial"}}, done)
	require.Eventually(t, func() bool { return r.states(t) == "up" }, 10*time.Second, time.Millisecond)
	links, err := r.client.Links(t.Context())
	require.NoError(t, err)
	require.Equal(t, other.ln.Addr().String(), links[0].Path)
	require.Equal(t, points.Approved, send(t, terminal, points.Redeem, "6222020000000000017", 5).Response.Reason)
	require.NoError(t, terminal.HangUp())
	r.stop(t)
}

// What is owed to an issuer that does not answer is listed, with the card masked.
func TestOwedIsListed(t *testing.T) {
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var sockets []net.Conn
	silent := make(chan struct{})
	go func() { // It signs on, and says nothing afterwards.
		defer close(silent)
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		sockets = append(sockets, conn)
		d := dialect.Host()
		var prefix [2]byte
		if _, err := io.ReadFull(conn, prefix[:]); err != nil {
			t.Error(err)
			return
		}
		frame := make([]byte, binary.BigEndian.Uint16(prefix[:]))
		_, err = io.ReadFull(conn, frame)
		var req points.Request
		if err != nil || d.Decode(frame, &req) != nil {
			t.Error(err)
			return
		}
		answer := d.AppendResponse([]byte{0, 0}, &req, &points.Response{Reason: points.Approved})
		binary.BigEndian.PutUint16(answer, uint16(len(answer)-2))
		if _, err := conn.Write(answer); err != nil {
			t.Error(err)
		}
	}()
	h := newHouse(t)
	path := t.TempDir() + "/links.yaml"
	require.NoError(t, os.WriteFile(path, []byte("links: [{name: far, dial: \""+ln.Addr().String()+"\", connections: 1, deadline: 100ms}]"), 0o600))
	c, err := config.Load(path, nil, []string{"tls.mode=off"})
	require.NoError(t, err)
	h.config.Links = c.Links
	r := h.start(t)
	r.load(t, farTown)
	require.Eventually(t, func() bool { return r.states(t) == "up" }, 10*time.Second, time.Millisecond)
	terminal := r.terminal(t, "T1")
	require.Equal(t, "68", send(t, terminal, points.Redeem, "6222020000000000017", 120).Response.Reason.DE39())
	owed, err := r.client.Owed(t.Context())
	require.NoError(t, err)
	require.Len(t, owed, 1)
	require.Equal(t, "reversal owed redeem 120 622202*********0017 far", strings.Join([]string{
		owed[0].Kind, owed[0].State, owed[0].Function.String(), "120", owed[0].Card, owed[0].Link,
	}, " "))
	require.Equal(t, points.Amount(120), owed[0].Amount)
	_, err = r.client.Resolve(context.Background(), app.Resolution{RRN: owed[0].RRN, Operator: "li", Second: "wang"})
	require.ErrorContains(t, err, "still being sent to the issuer", "it is not queued: the issuer may still acknowledge it")
	tellsTheStory(t, r, owed[0].RRN)
	li := r.enrol(t, r.client, "li", book.RoleAdmin|book.RoleOperator)
	r.enrol(t, li.client, "wang", book.RoleApprover)
	_, err = li.client.PutPolicy(t.Context(), app.PolicyChange{TwoPersons: book.TwoPersons})
	require.NoError(t, err)
	_, err = li.client.Resolve(t.Context(), app.Resolution{RRN: owed[0].RRN, Note: "asked"})
	require.ErrorContains(t, err, "still being sent to the issuer", "nor is it proposed")
	require.NoError(t, terminal.HangUp())
	r.stop(t)
	require.NoError(t, ln.Close())
	<-silent
	for _, conn := range sockets {
		require.NoError(t, conn.Close())
	}
}

// tellsTheStory looks at a sale that was not answered in time, and at the record that
// says so: both tell the whole.
func tellsTheStory(t *testing.T, r *running, rrn string) {
	t.Helper()
	d, err := r.client.Detail(t.Context(), rrn)
	require.NoError(t, err)
	require.True(t, d.Forwarded)
	require.Equal(t, points.NoAnswer, d.Told)
	require.Equal(t, points.IssuerID(10000002), d.Story.Issuer)
	require.Equal(t, "far", d.Story.Link)
	require.Equal(t, "owed: the issuer has not acknowledged the reversal", d.Story.State)
	require.Equal(t, []points.Amount{120, 0, 0}, []points.Amount{d.Story.Asked, d.Story.Approved, d.Story.Booked})
	var kinds []string
	for _, c := range d.Story.Chapter {
		kinds = append(kinds, c.Kind.String())
	}
	require.Equal(t, []string{"forward", "owe"}, kinds)
	about, err := r.client.Detail(t.Context(), d.Story.Chapter[1].RRN)
	require.NoError(t, err)
	require.False(t, about.Forwarded)
	require.Equal(t, d.Story, about.Story)
	found, err := r.client.Find(t.Context(), app.FindQuery{Terminal: terminalID(t, "T1")})
	require.NoError(t, err)
	require.Equal(t, rrn, found.Records[0].RRN)
	require.Equal(t, points.NoAnswer, found.Records[0].Told)
}
