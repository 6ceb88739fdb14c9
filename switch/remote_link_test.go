package pointswitch_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
	pointswitch "github.com/lianfen/lianfen/switch"
	"github.com/lianfen/lianfen/switch/dialect"
	"github.com/lianfen/lianfen/switch/link"
)

// receiveRequest reads the next message of the switch, network messages included.
func (h *host) receiveRequest() points.Request {
	h.t.Helper()
	frame := h.peer.receive()
	require.NotNil(h.t, frame, "the switch has hung up")
	var req points.Request
	require.NoError(h.t, h.dialect.Decode(frame, &req))
	return req
}

// network sends a network message as the host and returns the answer's reason.
func (h *host) network(f points.Function) points.Reason {
	h.t.Helper()
	h.stan++
	req := points.Request{Function: f, STAN: h.stan, Transmission: 302013000}
	require.NoError(h.t, h.dialect.Complete(&req))
	frame, err := h.dialect.AppendRequest(nil, &req)
	require.NoError(h.t, err)
	h.peer.send(frame)
	var echo points.Request
	var resp points.Response
	answer := h.peer.receive()
	for mti, ok := h.dialect.MTI(answer); ok && !dialect.IsAnswer(mti); mti, ok = h.dialect.MTI(answer) {
		answer = h.peer.receive() // What the switch has asked meanwhile is not answered.
	}
	require.NoError(h.t, h.dialect.DecodeResponse(answer, &echo, &resp))
	require.Equal(h.t, h.stan, echo.STAN)
	return resp.Reason
}

// redeem sends a redemption of a terminal and returns a reader of its answer.
func (h *house) redeem(stan points.STAN, amount points.Amount) *peer {
	h.t.Helper()
	d := &day{house: h, pos: dialect.Pos()}
	req := points.Request{
		Function: points.Redeem, STAN: stan, Batch: 1, EntryMode: 21, Terminal: parseTerminal(h.t, "T1"), Merchant: parseMerchant(h.t, "SHOP"),
		PAN: parsePAN(h.t, cards()["remote"]), Program: 903, Amount: amount,
	}
	d.post(req)
	return h.peers[len(h.peers)-1]
}

// heard is the answer code that a terminal reads.
func (p *peer) heard() string {
	p.t.Helper()
	var echo points.Request
	var resp points.Response
	require.NoError(p.t, dialect.Pos().DecodeResponse(p.receive(), &echo, &resp))
	return resp.Reason.DE39()
}

// After a silence the host is asked whether it is there; after three echoes without an
// answer the connection is closed and dialled again.
func TestEchoes(t *testing.T) {
	h, there := withIssuer(t, func(p *pointswitch.LinkProfile) { p.EchoAfter, p.EchoDeadline = 30*time.Second, 5*time.Second })
	h.up(there)
	h.wait(30 * time.Second)
	h.round()
	echo := there.receiveRequest()
	require.Equal(t, points.Echo, echo.Function)
	there.peer.send(there.dialect.AppendResponse(nil, &echo, &points.Response{Reason: points.Approved}))
	require.Equal(t, points.Approved, there.network(points.Echo), "both sides may echo")
	pass := func(d time.Duration) {
		h.wait(d)
		h.round()
	}
	pass(30 * time.Second)
	pass(5 * time.Second)
	pass(5 * time.Second)
	require.Equal(t, points.Approved, there.network(points.Echo), "alive after all: the count begins again")
	pass(5 * time.Second)
	pass(5 * time.Second)
	require.Contains(t, h.linkStates(), "ours up")
	pass(5 * time.Second)
	require.Eventually(t, func() bool { return !strings.Contains(h.linkStates(), "ours up") }, patience, time.Millisecond)
	there.hangUp()
	h.up(there)
	require.Contains(t, h.linkStates(), "ours up")
	there.hangUp()
}

// A host that refuses our sign-on, or does not answer it, carries nothing; the pause
// before the next dial doubles up to its bound.
func TestSignOnAndRedial(t *testing.T) {
	h, there := withIssuer(t, nil)
	for _, pause := range []time.Duration{0, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 8 * time.Second} {
		if pause > 0 {
			h.wait(pause - time.Millisecond)
			h.round()
			require.Contains(t, h.linkStates(), "ours down", "dialled before %v", pause)
			h.wait(time.Millisecond)
		}
		h.round()
		conn, err := there.ln.Accept()
		require.NoError(t, err)
		there.peer = &peer{t, conn}
		req := there.receiveRequest()
		require.Equal(t, points.SignOn, req.Function)
		there.peer.send(there.dialect.AppendResponse(nil, &req, &points.Response{Reason: points.ForeignIdentity}))
		require.Nil(t, there.peer.receive(), "closed after a refused sign-on")
		require.NoError(t, conn.Close())
		require.Eventually(t, func() bool { return strings.Contains(h.linkStates(), "ours down") }, patience, time.Millisecond)
	}
	require.Equal(t, "92", h.redeem(1, 40).heard())
}

// The host may dial us: it signs on, is asked what ours would be, and its sign-off ends
// requests at once while what is under way is still answered. What it may not ask is
// refused, and a frame that cannot be read does not close its connection.
func TestHostDials(t *testing.T) {
	h, there := withIssuer(t, func(p *pointswitch.LinkProfile) { p.Paths = p.Paths[1:] })
	server := h.listen(h.issuers.Entrance("remote", "theirs"))
	conn, err := net.Dial("tcp", server.Addr().String())
	require.NoError(t, err)
	there.peer = &peer{t, conn}
	require.Equal(t, points.Approved, there.network(points.Echo))
	require.Equal(t, "92", h.redeem(1, 40).heard(), "not signed on")
	require.Equal(t, points.Approved, there.network(points.SignOn))
	require.Equal(t, points.FunctionDisabled, there.network(points.KeyChange), "no key exchange is wired here")

	there.peer.send([]byte("garbage"))
	waiting := h.redeem(2, 41)
	asked, _ := there.next()
	require.Equal(t, points.Approved, there.network(points.SignOff))
	require.Equal(t, "92", h.redeem(3, 42).heard(), "signed off")
	there.peer.send(there.dialect.AppendResponse(nil, &asked, &points.Response{Reason: points.Approved, Amount: 41}))
	require.Equal(t, "00", waiting.heard())
	there.peer.ended()
	there.hangUp()
	h.leave()
	require.NoError(t, server.Shutdown(t.Context()))
}

// A path that does not answer is left alone after so many time-outs, requests are
// answered 91 at once or take the reserve, and one request tries it again.
func TestBreakerAndReserve(t *testing.T) {
	reserve := newHost(t)
	h, there := withIssuer(t, func(p *pointswitch.LinkProfile) {
		p.Breaker.Failures = 2
		p.Retry = []time.Duration{time.Hour}
		p.Paths[1] = pointswitch.PathProfile{Name: "reserve", Address: reserve.address, Connections: 1, Priority: 2, Weight: 1, Options: link.Options{Idle: time.Hour}}
	})
	h.up(there)
	conn, err := reserve.ln.Accept()
	require.NoError(t, err)
	reserve.peer = &peer{t, conn}
	sign := reserve.receiveRequest()
	reserve.answer(&sign, &points.Response{Reason: points.Approved})
	require.Contains(t, h.linkStates(), "reserve up")

	first, second := h.redeem(1, 40), h.redeem(2, 41)
	h.wait(15 * time.Second)
	h.round()
	require.Equal(t, "68", first.heard())
	require.Equal(t, "68", second.heard())
	require.Contains(t, h.linkStates(), "ours up breaker open")

	third := h.redeem(3, 42)
	for { // The reversals have taken the reserve, too.
		req, _ := reserve.next()
		reserve.answer(&req, &points.Response{Reason: points.Approved, Amount: req.Amount})
		if req.Function == points.Redeem {
			break
		}
	}
	require.Equal(t, "00", third.heard())
	for h.round(); ; h.round() { // What is owed would be the one that tries.
		reserve.ping()
		if len(reserve.inbox) == 0 {
			break
		}
		req, _ := reserve.next()
		reserve.answer(&req, &points.Response{Reason: points.Approved, Amount: req.Amount})
	}
	h.wait(time.Minute)
	h.round()
	there.ping()
	there.inbox = nil
	fourth := h.redeem(4, 43)
	req, _ := there.next()
	require.Equal(t, points.Amount(43), req.Amount, "after its rest one request tries it")
	there.answer(&req, &points.Response{Reason: points.Approved, Amount: 43})
	require.Equal(t, "00", fourth.heard())
	require.Contains(t, h.linkStates(), "ours up breaker closed")
	reserve.hangUp()
	there.hangUp()
}

// A connection takes no more requests than its bound; beyond it the answer is 91.
func TestInFlightBound(t *testing.T) {
	h, there := withIssuer(t, func(p *pointswitch.LinkProfile) { p.MaxInFlight = 2 })
	h.up(there)
	h.redeem(1, 40)
	h.redeem(2, 41)
	require.Equal(t, "91", h.redeem(3, 42).heard())
	req, _ := there.next()
	there.answer(&req, &points.Response{Reason: points.NotEnoughPoints, Amount: 40})
	h.redeem(4, 43)
	there.next()
	req, _ = there.next()
	require.Equal(t, points.Amount(43), req.Amount)
	there.hangUp()
}

// A reload takes a path away and brings another while a request is under way: it is
// answered over the old connection, which then closes, and the next goes over the new.
func TestReloadDropsNothing(t *testing.T) {
	h, there := withIssuer(t, nil)
	h.up(there)
	waiting := h.redeem(1, 40)
	asked, _ := there.next()
	other := newHost(t)
	changed := far(other.address)
	changed.Paths[0].Name = "moved"
	require.NoError(t, h.issuers.Reload([]pointswitch.LinkProfile{changed}))
	h.up(other)
	next := h.redeem(2, 41)
	req, _ := other.next()
	other.answer(&req, &points.Response{Reason: points.Approved, Amount: 41})
	require.Equal(t, "00", next.heard())
	there.peer.send(there.dialect.AppendResponse(nil, &asked, &points.Response{Reason: points.Approved, Amount: 40}))
	require.Equal(t, "00", waiting.heard())
	there.peer.ended()
	require.Error(t, h.issuers.Reload([]pointswitch.LinkProfile{{Name: "remote"}}), "a profile without deadlines")
	other.hangUp()
	there.hangUp()
}
