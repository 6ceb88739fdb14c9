package pointswitch_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
)

// The legs of another house's swaps are carried out here once, told of, and cancelled or
// reversed for ever by FENCE, also when that comes first. Where the request may have been
// carried out and forgotten FENCE is not told that it is gone.
func TestLegsOfAnotherHouse(t *testing.T) {
	h := newHouse(t)
	h.furnish()
	d := dialect.Host()
	stan := points.STAN(500)
	request := func(function points.Function) points.Request {
		stan++
		return points.Request{
			Function: function, STAN: stan, Amount: 40, Program: 901, PAN: parsePAN(t, cards()["A"]), RRN: points.Position(stan).RRN(),
			Acquirer: partner, Transmission: stampOf(h.clock().Time()),
		}
	}
	about := func(function points.Function, leg points.Request) points.Request {
		req := request(function)
		req.Reversed, req.Original = leg.Function, points.Original{Present: true, MTI: 200, STAN: leg.STAN, Transmission: leg.Transmission, Acquirer: partner}
		if function != points.Reversal {
			req.Reversed = 0
		}
		return req
	}
	send := func(req points.Request) string {
		out, err := d.AppendRequest(nil, &req)
		require.NoError(t, err)
		p := h.dial(h.host)
		p.send(out)
		var echo points.Request
		var resp points.Response
		require.NoError(t, d.DecodeResponse(p.receive(), &echo, &resp))
		return resp.Reason.DE39() + " " + resp.Detail
	}
	for _, act := range []points.Function{points.SwapCredit, points.SwapDebit} {
		before := h.standings()
		leg := request(act)
		require.Equal(t, "25 ", send(about(points.SwapEnquiry, leg)))
		require.Equal(t, "00 ", send(leg))
		moved := h.standings()
		require.NotEqual(t, before, moved)
		leg.Repeat = true
		require.Equal(t, "00 ", send(leg))
		require.Equal(t, "00 ", send(about(points.SwapEnquiry, leg)))
		require.Equal(t, moved, h.standings(), "once")
		fence := about(points.Reversal, leg)
		require.Equal(t, "00 REVERSED", send(fence))
		fence.Repeat = true
		require.Equal(t, "00 REVERSED", send(fence))
		require.Equal(t, "94 ", send(leg))
		require.Equal(t, "22 ", send(about(points.SwapEnquiry, leg)))
		require.Equal(t, before, h.standings())

		late := request(act)
		require.Equal(t, "00 TOMBSTONE", send(about(points.Reversal, late)))
		require.Equal(t, "94 ", send(late))
		require.Equal(t, "22 ", send(about(points.SwapEnquiry, late)))
		require.Equal(t, before, h.standings())
	}
	credited := request(points.SwapCredit)
	require.Equal(t, "00 ", send(credited))
	moved := h.standings()
	for range 5 {
		h.wait(24 * time.Hour)
		h.do(book.Command{Kind: book.KindCutOver, Date: points.DateOf(h.clock().Time()), At: h.clock(), Operator: "li", Second: "wang"})
	}
	require.Equal(t, "94 ", send(about(points.Reversal, credited)))
	require.Equal(t, "94 ", send(credited), "nor is the request taken for a new one")
	require.Equal(t, moved, h.standings())
	h.verify()
}
