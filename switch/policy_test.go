package pointswitch_test

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
	"github.com/lianfen/lianfen/switch/link"
)

// redeemFrame is a terminal's redemption of one point by card B.
func redeemFrame(t testing.TB, stan points.STAN) []byte {
	t.Helper()
	req := points.Request{
		Function: points.Redeem, STAN: stan, Batch: 1, EntryMode: 21, Amount: 1, Program: 901, PAN: parsePAN(t, cards()["B"]),
		Terminal: parseTerminal(t, "T1"), Merchant: parseMerchant(t, "SHOP"),
	}
	frame, err := dialect.Pos().AppendRequest(nil, &req)
	require.NoError(t, err)
	return frame
}

// partnerFrame is a partner's redemption of one point by card B.
func partnerFrame(t testing.TB, h *house, stan points.STAN) []byte {
	t.Helper()
	req := points.Request{
		Function: points.Redeem, STAN: stan, Amount: 1, Program: 901, PAN: parsePAN(t, cards()["B"]), Acquirer: partner,
		Transmission: stampOf(h.clock().Time()), Terminal: parseTerminal(t, "OWN1"), Merchant: parseMerchant(t, "MALL"),
	}
	frame, err := dialect.Host().AppendRequest(nil, &req)
	require.NoError(t, err)
	return frame
}

// spoiled has a programme that is none: answered 30.
func spoiled(frame []byte) []byte {
	bad := append([]byte(nil), frame...)
	bad[len(bad)-frameTail(frame)] = 'x'
	return bad
}

// frameTail is how far from the end of a frame the last "901" in it stands.
func frameTail(frame []byte) int {
	for at := len(frame) - 3; at > 0; at-- {
		if string(frame[at:at+3]) == "901" {
			return len(frame) - at
		}
	}
	return 0
}

func codeOf(t testing.TB, d *dialect.Dialect, answer []byte) string {
	t.Helper()
	require.NotNil(t, answer, "no answer")
	var req points.Request
	var resp points.Response
	require.NoError(t, d.DecodeResponse(answer, &req, &resp))
	return resp.Reason.DE39()
}

// furnished opens a house with the world in it.
func furnished(t testing.TB) *house {
	h := newHouse(t)
	h.furnish()
	return h
}

// What a connection may send before it is closed, and that it is closed (messages.md 10.4).
func TestConnectionPolicy(t *testing.T) {
	type step struct {
		after  time.Duration // since the step before
		bad    bool          // the frame is spoiled, else good
		closes bool          // and the connection ends after its answer
	}
	for name, c := range map[string]struct {
		host  bool
		steps []step
	}{
		"a terminal at the third":           {steps: []step{{bad: true}, {bad: true}, {bad: true, closes: true}}},
		"good ones between do not help":     {steps: []step{{bad: true}, {}, {bad: true}, {}, {bad: true, closes: true}}},
		"within a minute":                   {steps: []step{{bad: true}, {after: 30 * time.Second, bad: true}, {after: 30 * time.Second, bad: true, closes: true}}},
		"not in more than a minute":         {steps: []step{{bad: true}, {after: 30 * time.Second, bad: true}, {after: 31 * time.Second, bad: true}, {}}},
		"any minute, not one from a start":  {steps: []step{{bad: true}, {after: 59 * time.Second, bad: true}, {after: 2 * time.Second, bad: true}, {after: time.Second, bad: true, closes: true}}},
		"a partner stays, whatever happens": {host: true, steps: []step{{bad: true}, {bad: true}, {bad: true}, {bad: true}, {bad: true}, {}}},
	} {
		t.Run(name, func(t *testing.T) {
			h := furnished(t)
			d, p := dialect.Pos(), h.dial(h.pos)
			if c.host {
				d, p = dialect.Host(), h.dial(h.host)
			}
			for i, step := range c.steps {
				h.wait(step.after)
				frame := redeemFrame(t, points.STAN(i+1))
				if c.host {
					frame = partnerFrame(t, h, points.STAN(i+1))
				}
				want := "00"
				if step.bad {
					frame, want = spoiled(frame), "30"
				}
				p.send(frame)
				require.Equal(t, want, codeOf(t, d, p.receive()), "step %d", i)
				if step.closes {
					p.ended()
				}
			}
		})
	}
}

// After the frame that ends a connection nothing is carried out, not even what
// came in the same read; what came before is answered.
func TestNothingBehindTheEnd(t *testing.T) {
	good := func(stan points.STAN) []byte { return redeemFrame(t, stan) }
	foreign := good(90)
	foreign[0] = 0x61
	answer := good(91)
	answer[12] = 0x10 // 0210
	for name, c := range map[string]struct {
		frames [][]byte
		codes  []string // of the answers that come, in order
		points points.Amount
	}{
		"foreign TPDU":      {[][]byte{foreign, good(1)}, nil, 0},
		"an answer":         {[][]byte{answer, good(1), good(2)}, nil, 0},
		"no bitmap":         {[][]byte{good(1)[:15], good(1)}, nil, 0},
		"behind a good one": {[][]byte{good(1), foreign, good(2)}, []string{"00"}, 1},
		"the third bad one": {[][]byte{spoiled(good(1)), spoiled(good(1)), spoiled(good(1)), good(1)}, []string{"30", "30", "30"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			h := furnished(t)
			before := h.standings()
			p := h.dial(h.pos)
			p.send(c.frames...)
			for _, want := range c.codes {
				require.Equal(t, want, codeOf(t, dialect.Pos(), p.receive()))
			}
			p.ended()
			before[2].free -= c.points // member 2, card B
			require.Equal(t, before, h.standings())
			h.stop() // It ends in order only when every frame is finished.
			require.Zero(t, counted(h, "lianfen_requests_total")-float64(len(c.codes)))
			require.InDelta(t, len(c.frames)-len(c.codes), counted(h, "lianfen_frames_unanswered_total"), 0)
		})
	}
}

// A partner's link goes on after a frame that cannot be answered, and ends at the
// third within a minute.
func TestPartnerLinkWithUnreadableFrames(t *testing.T) {
	h := furnished(t)
	p := h.dial(h.host)
	p.send([]byte("no message"), []byte("0210"), partnerFrame(t, h, 1))
	require.Equal(t, "00", codeOf(t, dialect.Host(), p.receive()))
	p.send([]byte("no message"))
	p.ended()
	h.stop()
	require.InDelta(t, 3, counted(h, "lianfen_frames_unanswered_total"), 0)
}

// Bytes that are no frames close the connection without an answer and without an effect.
func TestBrokenFraming(t *testing.T) {
	whole := redeemFrame(t, 1)
	prefixed := func(length int, body []byte) []byte {
		return append(binary.BigEndian.AppendUint16(nil, uint16(length)), body...)
	}
	for name, stream := range map[string][]byte{
		"too long":      prefixed(link.DefaultMaxFrame+1, whole),
		"of no bytes":   prefixed(0, whole),
		"half a prefix": {0},
		"truncated":     prefixed(len(whole), whole[:len(whole)-1]),
		"one short":     prefixed(len(whole)-1, whole),
		"an HTTP call":  []byte("GET / HTTP/1.1\r\nHost: switch\r\n\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			h := furnished(t)
			before, from := h.standings(), h.ledger.Durable()
			p := h.dial(h.pos)
			_, err := p.conn.Write(stream)
			require.NoError(t, err)
			require.NoError(t, p.conn.(*net.TCPConn).CloseWrite())
			for answer := p.receive(); answer != nil; answer = p.receive() {
				require.Equal(t, "30", codeOf(t, dialect.Pos(), answer)) // "one short" can be answered
			}
			require.Equal(t, from, h.ledger.Durable())
			require.Equal(t, before, h.standings())
		})
	}
}

// Whatever bytes come, by themselves or into a good message, the house stands, no
// point is lost, and every frame is finished.
func TestGarbage(t *testing.T) {
	h := furnished(t)
	rng := rand.New(rand.NewPCG(1, 2))
	pos, host := redeemFrame(t, 1), partnerFrame(t, h, 1)
	for round := range 400 {
		server, frame := h.pos, pos
		if round%2 == 1 {
			server, frame = h.host, host
		}
		frame = append([]byte(nil), frame...)
		switch round % 6 {
		case 0, 1:
			for range 1 + rng.IntN(4) {
				frame[rng.IntN(len(frame))] = byte(rng.Uint32())
			}
		case 2, 3:
			frame = frame[:1+rng.IntN(len(frame))]
		default:
			frame = make([]byte, 1+rng.IntN(300))
			for i := range frame {
				frame[i] = byte(rng.Uint32())
			}
		}
		p := h.dial(server)
		p.send(frame)
		require.NoError(t, p.conn.(*net.TCPConn).CloseWrite())
		for p.receive() != nil {
		}
		h.leave()
	}
	h.verify()
	h.stop()
	require.InDelta(t, 400, counted(h, "lianfen_requests_total")+counted(h, "lianfen_frames_unanswered_total"), 0)
	require.Positive(t, counted(h, "lianfen_frames_malformed_total"))
}

// Two of the same in one read are answered alike and posted once.
func TestRepeatInFlight(t *testing.T) {
	h := furnished(t)
	from := h.ledger.Durable()
	p := h.dial(h.pos)
	frame := redeemFrame(t, 1)
	p.send(frame, frame, frame)
	first := p.receive()
	require.Equal(t, "00", codeOf(t, dialect.Pos(), first))
	require.Equal(t, first, p.receive())
	require.Equal(t, first, p.receive())
	require.Equal(t, from+1, h.ledger.Durable())
	h.stop()
	require.InDelta(t, 2, counted(h, "lianfen_requests_repeated_total"), 0)
}

// A peer that asks and goes away has asked: it is posted once, and the house can
// be stopped in order.
func TestPeerGoneBeforeItsAnswer(t *testing.T) {
	h := furnished(t)
	for stan := range points.STAN(50) {
		p := h.dial(h.pos)
		p.send(redeemFrame(t, stan+1))
		require.NoError(t, p.conn.(*net.TCPConn).SetLinger(0))
		h.leave()
	}
	again := h.dial(h.pos)
	for stan := range points.STAN(50) {
		again.send(redeemFrame(t, stan+1))
		require.Equal(t, "00", codeOf(t, dialect.Pos(), again.receive()))
	}
	require.Equal(t, points.Amount(450), h.standings()[2].free)
	h.verify()
	h.stop()
}

// A closing ledger answers 91, and nothing happens.
func TestDraining(t *testing.T) {
	h := furnished(t)
	from := h.ledger.Durable()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	p := h.dial(h.pos)
	p.send(redeemFrame(t, 1))
	require.Equal(t, "00", codeOf(t, dialect.Pos(), p.receive()))
	require.NoError(t, h.ledger.Close(ctx))
	p.send(redeemFrame(t, 2))
	require.Equal(t, "91", codeOf(t, dialect.Pos(), p.receive()))
	require.Equal(t, from+1, h.ledger.Durable())
	require.NoError(t, h.pos.Shutdown(ctx))
	require.NoError(t, h.host.Shutdown(ctx))
	h.serving.Wait()
	h.open = false
}

// counted sums a counter over its labels.
func counted(h *house, name string) float64 {
	h.t.Helper()
	sum := 0.0
	for _, metric := range gathered(h, name) {
		sum += metric.GetCounter().GetValue()
	}
	return sum
}

func gathered(h *house, name string) []*dto.Metric {
	h.t.Helper()
	families, err := h.registry.Gather()
	require.NoError(h.t, err)
	for _, family := range families {
		if family.GetName() == name {
			return family.GetMetric()
		}
	}
	return nil
}

// Labels are functions, reasons and data elements, and nothing that a peer makes up.
func TestLabelsAreBounded(t *testing.T) {
	known := map[string]bool{"unknown": true}
	for _, f := range points.Functions() {
		known[f.String()] = true
	}
	for _, r := range points.Reasons() {
		known[r.String()] = true
	}
	h := furnished(t)
	p := h.dial(h.pos)
	for kind := range 100 { // DE60.1, of which few mean anything
		frame := redeemFrame(t, points.STAN(kind+1))
		at := len(frame) - 6 // DE60 is last: kind, batch, network code in eleven digits
		frame[at] = byte(kind/10<<4 | kind%10)
		p.send(frame)
		require.Contains(t, []string{"00", "12", "30"}, codeOf(t, dialect.Pos(), p.receive()))
	}
	h.stop()
	metrics := gathered(h, "lianfen_requests_total")
	require.Len(t, metrics, 2, "one redemption, and what is none")
	for _, metric := range metrics {
		for _, label := range metric.GetLabel() {
			require.True(t, known[label.GetValue()], label.GetValue())
		}
	}
}
