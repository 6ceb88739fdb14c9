package pointswitch_test

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/router"
	pointswitch "github.com/lianfen/lianfen/switch"
	"github.com/lianfen/lianfen/switch/dialect"
	"github.com/lianfen/lianfen/switch/link"
)

// far is the link of the tests: short times, one path that we dial and one that the
// issuer dials.
func far(address string) pointswitch.LinkProfile {
	return pointswitch.LinkProfile{
		Name: "remote", Institution: 30000001, Deadline: 15 * time.Second, MaxInFlight: 8,
		SignOn: 10 * time.Second, EchoAfter: time.Hour, EchoDeadline: 5 * time.Second, LostEchoes: 3,
		Redial: time.Second, RedialMost: 8 * time.Second, Breaker: router.BreakerRules{Failures: 3, Rest: time.Minute},
		Retry: []time.Duration{10 * time.Second, time.Minute}, GiveUp: time.Hour, RetryInFlight: 4,
		Paths: []pointswitch.PathProfile{
			{Name: "ours", Address: address, Connections: 1, Priority: 1, Weight: 1, Options: link.Options{Idle: time.Hour}},
			{Name: "theirs", Priority: 2, Weight: 1, Options: link.Options{Idle: time.Hour}},
		},
	}
}

// host is the issuer's end: a listener that we dial, and the connection that is up.
type host struct {
	t       testing.TB
	ln      net.Listener
	address string
	peer    *peer
	dialect *dialect.Dialect
	inbox   [][]byte // requests that came while something else was waited for
	stan    points.STAN
}

func newHost(t testing.TB) *host {
	h := &host{t: t, dialect: dialect.Host()}
	h.listen("127.0.0.1:0")
	t.Cleanup(h.hangUp)
	return h
}

func (h *host) listen(address string) {
	ln, err := new(net.ListenConfig).Listen(context.Background(), "tcp", address)
	require.NoError(h.t, err)
	h.ln, h.address = ln, ln.Addr().String()
}

func (h *host) hangUp() {
	if h.ln != nil {
		_ = h.ln.Close() // It may be closed already.
		h.ln = nil
	}
	if h.peer != nil {
		_ = h.peer.conn.Close() // Likewise.
		h.peer = nil
	}
}

// next is the next request of the switch, other than network messages.
func (h *host) next() (points.Request, []byte) {
	h.t.Helper()
	for {
		var frame []byte
		if len(h.inbox) > 0 {
			frame, h.inbox = h.inbox[0], h.inbox[1:]
		} else {
			frame = h.peer.receive()
			require.NotNil(h.t, frame, "the switch has hung up")
		}
		var req points.Request
		require.NoError(h.t, h.dialect.Decode(frame, &req))
		if !h.echoed(&req) {
			return req, frame
		}
	}
}

// echoed answers an echo.
func (h *host) echoed(req *points.Request) bool {
	if req.Function != points.Echo {
		return false
	}
	h.peer.send(h.dialect.AppendResponse(nil, req, &points.Response{Reason: points.Approved}))
	return true
}

// ping waits until the switch has taken all that was written to it: it answers in order.
func (h *host) ping() {
	h.t.Helper()
	h.stan++
	req := points.Request{Function: points.Echo, STAN: h.stan, Transmission: 302013000}
	require.NoError(h.t, h.dialect.Complete(&req))
	frame, err := h.dialect.AppendRequest(nil, &req)
	require.NoError(h.t, err)
	h.peer.send(frame)
	for {
		frame := h.peer.receive()
		require.NotNil(h.t, frame, "the switch has hung up")
		mti, ok := h.dialect.MTI(frame)
		require.True(h.t, ok)
		if dialect.IsAnswer(mti) {
			require.EqualValues(h.t, 810, mti)
			return
		}
		var request points.Request
		require.NoError(h.t, h.dialect.Decode(frame, &request))
		if !h.echoed(&request) {
			h.inbox = append(h.inbox, frame)
		}
	}
}

// answer answers a request and waits until that has arrived.
func (h *host) answer(req *points.Request, resp *points.Response) {
	h.t.Helper()
	h.peer.send(h.dialect.AppendResponse(nil, req, resp))
	h.ping()
}

// withIssuer makes a house whose issuer "remote" has a host at the other end of a link.
func withIssuer(t testing.TB, change func(*pointswitch.LinkProfile)) (*house, *host) {
	far := far("")
	there := newHost(t)
	far.Paths[0].Address = there.address
	if change != nil {
		change(&far)
	}
	h := newHouseOf(t, nil, []pointswitch.LinkProfile{far})
	h.furnishFar()
	return h, there
}

// furnishFar is furnish, with the remote issuer's programme accepted everywhere.
func (h *house) furnishFar() {
	h.furnish()
	t := h.t
	shop := *h.router.Table().MerchantOf(parseMerchant(t, "SHOP"))
	shop.Programs = append(slices.Clone(shop.Programs), 903)
	mall := *h.router.Table().MerchantOf(parseMerchant(t, "MALL"))
	mall.Programs = append(slices.Clone(mall.Programs), 903)
	h.put(book.Entry{Merchant: &shop}, book.Entry{Merchant: &mall})
}

// round lets the issuers' leg do what is due, until there is nothing more.
func (h *house) round() {
	h.t.Helper()
	for quiet, n := 0, 0; quiet < 2; n++ { // Twice: what came in between may be on its way through the ledger.
		require.Less(h.t, n, 100, "the leg does not come to rest")
		_, more, err := h.issuers.Round(h.t.Context())
		require.NoError(h.t, err)
		quiet++
		if more {
			quiet = 0
		}
		h.view(func(*book.Book) {}) // What was submitted is durable, and told.
	}
}

// up connects the host: we dial and sign on, or it does.
func (h *house) up(there *host) {
	h.t.Helper()
	if there.ln == nil {
		there.listen(there.address)
	}
	h.wait(8 * time.Second) // It is dialled again after a pause, of so long at most.
	h.round()
	conn, err := there.ln.Accept()
	require.NoError(h.t, err)
	there.peer = &peer{h.t, conn}
	frame := there.peer.receive()
	var req points.Request
	require.NoError(h.t, there.dialect.Decode(frame, &req))
	require.Equal(h.t, points.SignOn, req.Function)
	there.answer(&req, &points.Response{Reason: points.Approved})
	h.round()
}

// down cuts the host off and waits until the switch has seen it.
func (h *house) down(there *host) {
	h.t.Helper()
	before := strings.Count(h.linkStates(), " up ")
	there.hangUp()
	require.Eventually(h.t, func() bool { return strings.Count(h.linkStates(), " up ") < before }, patience, time.Millisecond)
	h.round()
}

func (h *house) linkStates() string {
	var out strings.Builder
	for _, l := range h.issuers.Links() {
		out.WriteString(l.Path + " " + l.State + " breaker " + l.Breaker)
		if l.CutOver != "" {
			out.WriteString(", cut-over to " + l.CutOver)
		}
		out.WriteString("\n")
	}
	return out.String()
}
