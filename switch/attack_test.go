package pointswitch_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
)

// says sends a frame as the issuer's host and returns the code that it is answered with.
func (h *host) says(req *points.Request) string {
	h.t.Helper()
	require.NoError(h.t, h.dialect.Complete(req))
	frame, err := h.dialect.AppendRequest(nil, req)
	require.NoError(h.t, err)
	h.peer.send(frame)
	answer := h.peer.receive()
	require.NotNil(h.t, answer)
	var echo points.Request
	var resp points.Response
	require.NoError(h.t, h.dialect.DecodeResponse(answer, &echo, &resp))
	return resp.Reason.DE39()
}

// An issuer's host that does not keep to the order is asked nothing and believed nothing: it
// is not signed on by anything but a sign-on, asks for no points, answers nothing that it was
// not asked, each thing once and as what it was asked; and after it has signed off it is
// asked nothing more.
func TestIssuerOutOfOrder(t *testing.T) {
	h, there := withIssuer(t, nil)
	h.round()
	conn, err := there.ln.Accept()
	require.NoError(t, err)
	there.peer = &peer{t, conn}
	greeting := there.receiveRequest()
	require.Equal(t, points.SignOn, greeting.Function)
	last := h.last()
	require.Equal(t, points.Approved, there.network(points.Echo))
	require.Equal(t, points.Approved, there.network(points.CutOverNotice))
	require.Equal(t, points.FunctionDisabled, there.network(points.KeyChange))
	asks := points.Request{
		Function: points.Redeem, STAN: 77, Transmission: 302013000, Acquirer: posAcq, Terminal: parseTerminal(t, "T1"), Merchant: parseMerchant(t, "SHOP"),
		EntryMode: 21, PAN: parsePAN(t, cards()["B"]), Program: 901, Amount: 5,
	}
	require.Equal(t, "12", there.says(&asks), "it asks for no points")
	require.Equal(t, last, h.last())
	made := asks
	made.RRN = points.Position(1).RRN()
	there.peer.send(there.dialect.AppendResponse(nil, &made, &points.Response{Reason: points.Approved, Amount: 5}))
	require.Equal(t, points.Approved, there.network(points.Echo), "what it was not asked is dropped")
	require.Equal(t, last, h.last())
	require.NotContains(t, h.linkStates(), "ours up")
	require.Equal(t, "92", h.redeem(1, 40).heard(), "it has not signed on")

	there.answer(&greeting, &points.Response{Reason: points.Approved})
	h.round()
	require.Contains(t, h.linkStates(), "ours up")
	require.Equal(t, points.Approved, there.network(points.SignOn), "once more changes nothing")
	waiting := h.redeem(2, 41)
	asked, _ := there.next()
	last = h.last()
	for what, change := range map[string]func(*points.Request, *points.Response){
		"as a reversal's answer": func(req *points.Request, _ *points.Response) { req.Envelope.MTI = 420 },
		"as an advice's answer":  func(req *points.Request, _ *points.Response) { req.Envelope.MTI = 220 },
		"of another acquirer":    func(req *points.Request, _ *points.Response) { req.Acquirer = partner },
		"at another time":        func(req *points.Request, _ *points.Response) { req.Transmission++ },
		"of another merchant":    func(req *points.Request, _ *points.Response) { req.Merchant = parseMerchant(t, "MALL") },
		"of another amount":      func(req *points.Request, resp *points.Response) { req.Amount, resp.Amount = 42, 42 },
		"of another issuer": func(req *points.Request, resp *points.Response) {
			req.Issuer, resp.Issuer = airline, airline
			req.Mark(100)
		},
		"for another function": func(req *points.Request, _ *points.Response) { req.Processing = 310000 },
	} {
		req, resp := asked, points.Response{Reason: points.Approved, Amount: 41}
		change(&req, &resp)
		there.answer(&req, &resp)
		h.round()
		require.Equal(t, last, h.last(), what)
	}
	there.answer(&asked, &points.Response{Reason: points.Approved, Amount: 41})
	h.round()
	require.Equal(t, "00", waiting.heard())
	last = h.last()
	for _, again := range []points.Reason{points.Approved, points.NotEnoughPoints} {
		there.answer(&asked, &points.Response{Reason: again, Amount: 41})
		h.round()
		require.Equal(t, last, h.last(), "answered once")
	}
	require.Equal(t, points.Approved, there.network(points.SignOff))
	require.Equal(t, "92", h.redeem(3, 42).heard(), "signed off")
	h.verify()
	there.hangUp()
}

// strays counts the answers of issuers that differ from what they should answer.
func (h *house) strays() (n int) {
	families, err := h.registry.Gather()
	require.NoError(h.t, err)
	for _, family := range families {
		for _, m := range family.Metric {
			if family.GetName() == "lianfen_issuer_stray_answers_total" && label(m, "kind") == "differs" {
				n += int(m.GetCounter().GetValue())
			}
		}
	}
	return n
}

// owed counts the reversals that issuers are owed.
func (h *house) owed() (n int) {
	h.view(func(b *book.Book) {
		for _, position := range b.Unfinished() {
			view, ok, err := b.Remote(position)
			require.NoError(h.t, err)
			require.True(h.t, ok)
			if view.Phase == book.RemoteOwed {
				n++
			}
		}
	})
	return n
}

// An answer that comes after its time and names another issuer (DE100) is nobody's: a decline
// would end the reversal that the issuer is owed. Nor does such a one acknowledge a reversal.
func TestLateAnswerOfAnotherIssuer(t *testing.T) {
	h, there := withIssuer(t, nil)
	h.up(there)
	waiting := h.redeem(1, 41)
	asked, _ := there.next()
	h.wait(15 * time.Second)
	h.round()
	require.Equal(t, "68", waiting.heard())
	reversal, _ := there.next()
	require.Equal(t, points.Reversal, reversal.Function)
	last := h.last()
	named := func(req points.Request, reason points.Reason, issuer points.IssuerID) {
		req.Issuer = issuer
		req.Mark(100)
		there.answer(&req, &points.Response{Reason: reason, Amount: 41, Issuer: issuer})
		h.round()
	}
	for i, reason := range []points.Reason{points.NotEnoughPoints, points.Approved} {
		named(asked, reason, airline)
		require.Equal(t, last, h.last())
		require.Equal(t, i+1, h.strays())
	}
	named(reversal, points.Approved, airline)
	require.Equal(t, last, h.last())
	require.Equal(t, 3, h.strays())
	require.Equal(t, 1, h.owed())
	named(asked, points.NotEnoughPoints, remote)
	require.NotEqual(t, last, h.last())
	require.Equal(t, 3, h.strays())
	require.Zero(t, h.owed())
	h.verify()
	there.hangUp()
}

// One key serial number, however many messages come under it at once on however many
// connections, serves one of them.
func TestOneKeyNumberAtOnce(t *testing.T) {
	h, d := derivedHouse(t)
	const together = 12
	for round := range 4 {
		number := numbered(t, fmt.Sprintf("%08X", 1<<round))
		var frames [][]byte
		for range together {
			frames = append(frames, d.writes(number, ""))
		}
		codes := make(chan string, together)
		var all sync.WaitGroup
		for _, frame := range frames {
			p := h.dial(h.pos)
			all.Go(func() {
				p.send(frame)
				codes <- codeOf(t, dialect.Pos(), p.receive())
			})
		}
		all.Wait()
		count := make(map[string]int)
		for range together {
			count[<-codes]++
		}
		require.Equal(t, map[string]int{"00": 1, "A0": together - 1}, count)
	}
	h.verify()
}
