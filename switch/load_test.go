package pointswitch_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	pointswitch "github.com/lianfen/lianfen/switch"
	"github.com/lianfen/lianfen/switch/dialect"
)

// figure is the sum of a metric's series whose labels have one of the value.
func (h *house) figure(name, label string) float64 {
	h.t.Helper()
	families, err := h.registry.Gather()
	require.NoError(h.t, err)
	sum := 0.0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (label == "" || len(m.GetLabel()) > 0 && m.GetLabel()[0].GetValue() == label) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// Requests over a rate are told to try again, without a trace in the journal; a reversal
// is still taken, and other connections are not hindered. A connection's rate, and that
// of the acquirer on all of them.
func TestOverRate(t *testing.T) {
	for _, whose := range []string{"connection", "participant"} {
		t.Run(whose, func(t *testing.T) {
			rate := pointswitch.Rate{PerSecond: 1, Burst: 3}
			h := newHouseWith(t, func(o *pointswitch.Options) {
				if whose == "participant" {
					o.Own = map[points.AcquirerID]pointswitch.Rate{posAcq: rate}
					rate = pointswitch.Rate{}
				}
			})
			h.furnish()
			require.NoError(t, h.pos.Shutdown(t.Context()))
			h.pos = h.listen(h.sw.Listener("limited", dialect.Pos(), points.DoorTerminal, rate))
			p := h.dial(h.pos)
			before := h.ledger.Durable()
			send := func(p *peer, stan points.STAN) string {
				p.send(redeemFrame(t, stan))
				return codeOf(t, dialect.Pos(), p.receive())
			}
			var codes []string
			for stan := range points.STAN(6) {
				codes = append(codes, send(p, stan+1))
			}
			require.Equal(t, "00 00 00 91 91 91", strings.Join(codes, " "))
			require.Equal(t, before+3, h.ledger.Durable(), "no trace of the others")
			require.InDelta(t, 3, h.figure("lianfen_requests_over_rate_total", whose), 0)
			p.send(reversalFrame(t, 1))
			require.Equal(t, "00", codeOf(t, dialect.Pos(), p.receive()), "a reversal goes first")
			want := map[string]string{"connection": "00", "participant": "91"}[whose]
			require.Equal(t, want, send(h.dial(h.pos), 10))
			h.wait(5 * time.Second)
			require.Equal(t, "00", send(p, 11))
		})
	}
}

// While the ledger is behind, new requests are told to try again and leave no trace; a
// repeat gets its first answer, and a reversal is carried out.
func TestShedding(t *testing.T) {
	h := newHouseWith(t, func(o *pointswitch.Options) {
		o.ShedTarget, o.ShedInterval = 50*time.Millisecond, 100*time.Millisecond
	})
	h.furnish()
	p := h.dial(h.pos)
	p.send(redeemFrame(t, 1))
	first := p.receive()
	require.Equal(t, "00", codeOf(t, dialect.Pos(), first))
	require.Zero(t, h.figure("lianfen_shedding", ""))

	// The ledger is held up with one sale waiting.
	held, release, looked := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		looked <- h.ledger.View(t.Context(), func(*book.Book) error { close(held); <-release; return nil })
	}()
	<-held
	submitted := h.ledger.Submitted()
	waits := func(n uint64) {
		require.Eventually(t, func() bool { return h.ledger.Submitted() == submitted+n }, patience, time.Millisecond)
	}
	p.send(redeemFrame(t, 2))
	waits(1)
	h.wait(60 * time.Millisecond)
	p.send(redeemFrame(t, 3)) // Over the target; not yet for an interval.
	waits(2)
	h.wait(100 * time.Millisecond)
	p.send(redeemFrame(t, 4), redeemFrame(t, 1), redeemFrame(t, 3), reversalFrame(t, 2))
	require.Equal(t, "91", codeOf(t, dialect.Pos(), p.receive()), "at once: it waits for nobody")
	waits(5)
	require.InDelta(t, 1, h.figure("lianfen_shedding", ""), 0)
	require.InDelta(t, 0.16, h.figure("lianfen_queue_delay_seconds", ""), 1e-9)
	before := h.ledger.Durable()
	close(release)
	require.NoError(t, <-looked)
	var answers [][]byte
	for range 5 { // 2 and 3, the reversal, and the repeats of what was answered and of what waited.
		answers = append(answers, p.receive())
		require.Equal(t, "00", codeOf(t, dialect.Pos(), answers[len(answers)-1]))
	}
	require.Contains(t, answers, first, "the repeat of what was answered")
	require.Equal(t, answers[1], answers[4], "the repeat of what waited")
	require.Equal(t, before+3, h.ledger.Durable(), "two sales and the reversal; no trace of what was shed or repeated")
	require.InDelta(t, 1, h.figure("lianfen_requests_shed_total", ""), 0)

	p.send(redeemFrame(t, 4))
	require.Equal(t, "00", codeOf(t, dialect.Pos(), p.receive()), "it was told to try again")
	require.Zero(t, h.figure("lianfen_shedding", ""))
}

// Of what comes in one read, as many are let in as there is room for. A repeat behind its
// first, which is, gets that one's answer, although there is no room any more; a new request
// there is told to try again.
func TestRepeatBehindItsFirst(t *testing.T) {
	const room = 64 // The least limit.
	h := newHouseWith(t, func(o *pointswitch.Options) {
		o.ShedTarget, o.ShedInterval = 50*time.Millisecond, 100*time.Millisecond
	})
	h.furnish()
	p := h.dial(h.pos)
	held, release, looked := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		looked <- h.ledger.View(t.Context(), func(*book.Book) error { close(held); <-release; return nil })
	}()
	<-held
	submitted := h.ledger.Submitted()
	for i := range points.STAN(2) {
		p.send(redeemFrame(t, 1+i))
		require.Eventually(t, func() bool { return h.ledger.Submitted() == submitted+uint64(i)+1 }, patience, time.Millisecond)
		h.wait(80 * time.Millisecond)
	}
	h.wait(20 * time.Millisecond)
	p.send(redeemFrame(t, 3))
	require.Equal(t, "91", codeOf(t, dialect.Pos(), p.receive()))
	close(release)
	require.NoError(t, <-looked)
	require.Equal(t, "00", codeOf(t, dialect.Pos(), p.receive()))
	require.Equal(t, "00", codeOf(t, dialect.Pos(), p.receive()))
	require.Eventually(t, func() bool { return h.figure("lianfen_queue_delay_seconds", "") == 0 }, patience, time.Millisecond)

	before := h.ledger.Durable()
	var frames [][]byte
	for i := range points.STAN(room) {
		frames = append(frames, redeemFrame(t, 10+i))
	}
	p.send(append(frames, redeemFrame(t, 10+room-1), redeemFrame(t, 10+room))...)
	codes, last := map[string]int{}, [][]byte(nil)
	for range room + 2 {
		answer := p.receive()
		code := codeOf(t, dialect.Pos(), answer)
		if codes[code]++; code == "00" {
			last = append(last, answer)
		}
	}
	require.Equal(t, map[string]int{"00": room + 1, "91": 1}, codes)
	require.Equal(t, last[room-1], last[room])
	require.Equal(t, before+room, h.ledger.Durable())
}

// What is being turned away does not keep others out: when all that was let in is
// answered, the next new request is let in, however long the line of those that are shed.
func TestSheddingEndsBeforeWhatIsShed(t *testing.T) {
	h := newHouseWith(t, func(o *pointswitch.Options) {
		o.ShedTarget, o.ShedInterval = 50*time.Millisecond, 100*time.Millisecond
	})
	h.furnish()
	h.stop()
	h.groupMax = 1 // What comes before a look at the book is answered before that is over.
	h.start()
	hold := func() (holding <-chan struct{}, release func()) {
		held, free, looked := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		go func() {
			looked <- h.ledger.View(t.Context(), func(*book.Book) error { close(held); <-free; return nil })
		}()
		return held, func() {
			close(free)
			require.NoError(t, <-looked)
		}
	}
	waits := func(n uint64) {
		require.Eventually(t, func() bool { return h.ledger.Submitted() == n }, patience, time.Millisecond)
	}
	p := h.dial(h.pos)
	holding, release := hold()
	<-holding
	submitted := h.ledger.Submitted()
	p.send(redeemFrame(t, 1))
	waits(submitted + 1)
	h.wait(60 * time.Millisecond)
	p.send(redeemFrame(t, 2))
	waits(submitted + 2)
	h.wait(100 * time.Millisecond)
	again, releaseAgain := hold()
	waits(submitted + 3)
	p.send(redeemFrame(t, 3)) // New: it is not in the line at all.
	require.Equal(t, "91", codeOf(t, dialect.Pos(), p.receive()))
	for range 5 { // Those that may have come before are.
		p.send(redeemFrame(t, 1))
	}
	waits(submitted + 8)
	require.InDelta(t, 1, h.figure("lianfen_shedding", ""), 0)
	release()
	<-again
	require.Equal(t, "00", codeOf(t, dialect.Pos(), p.receive()))
	require.Equal(t, "00", codeOf(t, dialect.Pos(), p.receive()))
	h.wait(time.Second)
	require.Zero(t, h.figure("lianfen_queue_delay_seconds", ""), "those that are shed are nobody's delay")
	p.send(redeemFrame(t, 8))
	waits(submitted + 9)
	require.Zero(t, h.figure("lianfen_shedding", ""))
	releaseAgain()
	var codes []string
	for range 6 {
		codes = append(codes, codeOf(t, dialect.Pos(), p.receive()))
	}
	require.Equal(t, "00 00 00 00 00 00", strings.Join(codes, " "))
	require.InDelta(t, 1, h.figure("lianfen_requests_shed_total", ""), 0)
	h.wait(time.Second)
	require.Zero(t, h.figure("lianfen_queue_delay_seconds", ""))
}

// Requests for which the ledger's queue has no room are told to try again, and do not
// fill the log: one in a thousand is written.
func TestFullQueueDoesNotFillTheLog(t *testing.T) {
	const room, sent = 8, 20
	h := newHouse(t)
	h.furnish()
	h.stop()
	h.groupMax, h.queue = room, room
	h.start()
	held, free, looked := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		looked <- h.ledger.View(t.Context(), func(*book.Book) error { close(held); <-free; return nil })
	}()
	<-held
	p := h.dial(h.pos)
	for stan := range points.STAN(sent) {
		p.send(redeemFrame(t, 1+stan))
	}
	codes := map[string]int{}
	for range sent - (room - room/8) {
		codes[codeOf(t, dialect.Pos(), p.receive())]++
	}
	close(free)
	require.NoError(t, <-looked)
	for range room - room/8 {
		codes[codeOf(t, dialect.Pos(), p.receive())]++
	}
	require.Equal(t, map[string]int{"91": sent - (room - room/8), "00": room - room/8}, codes)
	h.stop()
	turnedAway := 0
	for len(h.log.request) > 0 {
		if h.log.next(t)["de39"] == "91" {
			turnedAway++
		}
	}
	require.Equal(t, 1, turnedAway)
}

// reversalFrame is the reversal of what redeemFrame asks for.
func reversalFrame(t testing.TB, stan points.STAN) []byte {
	t.Helper()
	req := points.Request{
		Function: points.Reversal, Reversed: points.Redeem, STAN: stan, Batch: 1, EntryMode: 21, Amount: 1, Program: 901,
		PAN: parsePAN(t, cards()["B"]), Terminal: parseTerminal(t, "T1"), Merchant: parseMerchant(t, "SHOP"),
	}
	copy(req.Answer[:], "98")
	require.NoError(t, dialect.Pos().Complete(&req))
	frame, err := dialect.Pos().AppendRequest(nil, &req)
	require.NoError(t, err)
	return frame
}
