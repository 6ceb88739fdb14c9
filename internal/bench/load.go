package bench

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sync/errgroup"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/dialect"
)

// Load is what a generator is to send.
type Load struct {
	Address string `json:"address"`
	Dialect string `json:"dialect"`
	// Echo says that frames come back as they were sent, from [Reflect].
	Echo  bool `json:"echo,omitempty"`
	Conns int  `json:"conns"`
	Depth int  `json:"depth"` // requests in flight on each connection, at most
	// Rate is how many requests a second fall due on all connections together,
	// evenly, whatever is answered (open loop); latency runs from the due time. 0:
	// an answer is what makes the next request due (closed loop).
	Rate   float64       `json:"rate,omitempty"`
	WarmUp time.Duration `json:"warm_up"`
	// Duration is the time that is measured, behind WarmUp.
	Duration time.Duration `json:"duration"`
	Accounts uint64        `json:"accounts"` // members 1 to Accounts, at random
	Hot      bool          `json:"hot,omitempty"`
	// Walk sends one request for each member, in turn, and ends with the last: what
	// is read from disk at its first use is in memory afterwards. Everything is
	// measured; Duration bounds it.
	Walk  bool      `json:"walk,omitempty"`
	Seed  uint64    `json:"seed"`
	First series    `json:"first_series"` // and those behind it
	Base  time.Time `json:"base"`         // that a partner's series count back from
	// Server is the process whose CPU is measured too; 0: none.
	Server int `json:"server"`
	// Answers is the file that identity and position of every approval go to; "":
	// none.
	Answers string `json:"answers,omitempty"`
	// Certificate, with its key, is shown over TLS; "": plain TCP. Trust are the roots
	// that the switch is checked against.
	Certificate string `json:"certificate,omitempty"`
	Trust       string `json:"trust,omitempty"`
	// Keys is the folder of the keystore with the key for MACs; "": there are none.
	Keys string `json:"keys,omitempty"`
	// MACBy is, of dialect pos, what the terminals' MACs are made by, which sign on for keys.
	MACBy book.MAC `json:"mac_by,omitempty"`
	// Tolerant says that declines are expected, and that requests without an answer
	// are counted once patience is over.
	Tolerant bool `json:"tolerant,omitempty"`
	// ApprovedOnly measures what was approved, and leaves out what was declined.
	ApprovedOnly bool `json:"approved_only,omitempty"`
}

// Loaded is what a generator saw.
type Loaded struct {
	Measurement
	Answered   uint64            `json:"answered"`             // in all, warm-up included
	Approved   uint64            `json:"approved"`             // of those
	Declined   map[string]uint64 `json:"declined,omitempty"`   // the others, by DE39
	Unanswered uint64            `json:"unanswered,omitempty"` // at the end
	Next       series            `json:"next_series"`          // first that was not used
}

// patience is how long a generator waits for the last answers.
const patience = 20 * time.Second

// Highest latency that is told apart, in nanoseconds, and the digits it is kept with.
const (
	longest     = int64(5 * time.Minute)
	significant = 3
)

// generator is the state that the connections of a load share.
type generator struct {
	load    Load
	clock   Clock
	dialect *dialect.Dialect
	keys    *certs.Keystore // nil: messages carry no MACs
	mac     *certs.MAC      // of a host, the same on all connections
	next    atomic.Uint32   // series
	began   time.Time
	from    time.Time // of the window that is measured
	to      time.Time
	took    time.Duration // what is measured; set by watch

	mu       sync.Mutex // guards what follows
	latency  *hdrhistogram.Histogram
	refusals *hdrhistogram.Histogram // latency of what was declined, with Load.ApprovedOnly
	measured uint64
	declined map[string]uint64
}

// brought is what one read of a connection brought: latencies of what is measured, of what was
// declined in the window and is not, and what was declined at all.
type brought struct {
	latencies, refusals []int64
	declined            []string
}

func (b *brought) reset() {
	b.latencies, b.refusals, b.declined = b.latencies[:0], b.refusals[:0], b.declined[:0]
}

// Generate sends load and measures what comes back. It returns when every request
// is answered. An answer that nobody asked for, a second one to a request, or a
// connection that ends is an error.
func Generate(ctx context.Context, load Load, clock Clock) (Loaded, error) {
	spoken, err := dialect.ByName(load.Dialect)
	if err != nil {
		return Loaded{}, err
	}
	g := &generator{
		load: load, clock: clock, dialect: spoken, declined: map[string]uint64{},
		latency: hdrhistogram.New(1, longest, significant), refusals: hdrhistogram.New(1, longest, significant),
	}
	g.next.Store(uint32(load.First))
	if load.Keys != "" {
		if g.keys, err = openKeys(load.Keys); err == nil && spokenByPartners(spoken) {
			g.mac, err = hostMAC(g.keys, load.MACBy, points.TimestampOf(clock()))
		}
		if err != nil {
			return Loaded{}, err
		}
	}
	conns, err := g.connect(ctx)
	defer func() {
		for _, c := range conns {
			_ = c.conn.Close() // All that was to be read has been.
		}
	}()
	if err != nil {
		return Loaded{}, err
	}
	g.began = clock()
	g.from = g.began
	if !load.Walk {
		g.from = g.from.Add(load.WarmUp)
	}
	g.to = g.from.Add(load.Duration)
	group, groupCtx := errgroup.WithContext(ctx)
	var all sync.WaitGroup // the connections, for watch
	all.Add(len(conns))
	for _, c := range conns {
		hangUp := context.AfterFunc(groupCtx, func() { _ = c.conn.Close() }) // Its reader tells of it.
		defer hangUp()
		group.Go(func() error {
			defer all.Done()
			return c.receive()
		})
	}
	if load.Rate > 0 {
		group.Go(func() error { return g.pace(groupCtx, conns) })
	}
	var used usage
	group.Go(func() (err error) {
		used, err = g.watch(groupCtx, all.Wait)
		return err
	})
	if err := group.Wait(); err != nil {
		return Loaded{}, err
	}
	return g.result(conns, used)
}

// connect opens the connections, each with its own terminal, series and requests.
func (g *generator) connect(ctx context.Context) ([]*sender, error) {
	var conns []*sender
	var dialler interface {
		DialContext(ctx context.Context, network, address string) (net.Conn, error)
	} = new(net.Dialer)
	if g.load.Certificate != "" {
		secure, err := certs.ClientConfig(g.load.Trust, g.load.Certificate, "", func() points.Timestamp { return points.TimestampOf(g.clock()) })
		if err != nil {
			return nil, err
		}
		dialler = &tls.Dialer{Config: secure}
	}
	for number := range g.load.Conns {
		conn, err := dialler.DialContext(ctx, "tcp", g.load.Address)
		if err != nil {
			return conns, fmt.Errorf("bench: connection %d: %w", number, err)
		}
		c := &sender{
			g: g, conn: conn, number: number, mac: g.mac, answers: answerForm{dialect: g.dialect, signed: g.keys != nil},
			random: rand.New(rand.NewPCG(g.load.Seed, uint64(number))), //nolint:gosec // load, not secrets; a seed so that it can be repeated.
		}
		conns = append(conns, c)
		if c.form, err = newRequestForm(g.dialect, number, g.keys != nil); err != nil {
			return conns, err
		}
		c.slots = make([]slot, slotsFor(g.load.Depth))
		if err := c.nextSeries(); err != nil {
			return conns, err
		}
		if err := conn.SetDeadline(g.clock().Add(g.load.WarmUp + g.load.Duration + patience)); err != nil {
			return conns, fmt.Errorf("bench: connection %d: %w", number, err)
		}
		if g.keys != nil && !spokenByPartners(g.dialect) {
			c.covered = len(c.form.frame) - len(frontless(g.dialect, c.form.frame))
			if c.mac, err = signOn(conn, g.dialect, number, g.load.MACBy, g.keys, points.TimestampOf(g.clock())); err != nil {
				return conns, err
			}
		}
	}
	return conns, nil
}

// slotsFor is a power of two with room for depth requests, twice over so that one
// that is answered late does not stop the others.
func slotsFor(depth int) int {
	slots := 2
	for slots < 2*depth {
		slots *= 2
	}
	return slots
}

// watch reads the CPU time of both sides at both ends of what is measured: of the
// window, or of a walk, which ends when walked returns.
func (g *generator) watch(ctx context.Context, walked func()) (usage, error) {
	if err := until(ctx, g.from.Sub(g.clock())); err != nil {
		return usage{}, err
	}
	before, err := usageOf(g.load.Server)
	if err != nil {
		return usage{}, err
	}
	if g.load.Walk {
		walked()
		g.took = g.clock().Sub(g.began)
	} else {
		if err := until(ctx, g.to.Sub(g.clock())); err != nil {
			return usage{}, err
		}
		g.took = g.load.Duration
	}
	after, err := usageOf(g.load.Server)
	return after.since(before), err
}

// until waits for d, or for ctx to end.
func until(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("bench: %w", ctx.Err())
	}
}

// tick is how long the pacer rests, at most: what falls due meanwhile goes out
// together, and its latency has begun.
const tick = 200 * time.Microsecond

// pace sends what falls due on all connections, until the window is over.
func (g *generator) pace(ctx context.Context, conns []*sender) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for now := g.clock(); now.Before(g.to); now = g.clock() {
		for _, c := range conns {
			if err := c.sendDue(now); err != nil {
				return err
			}
		}
		timer.Reset(tick)
		select {
		case <-timer.C:
		case <-ctx.Done():
			return fmt.Errorf("bench: %w", ctx.Err())
		}
	}
	for _, c := range conns {
		if err := c.finish(); err != nil {
			return err
		}
	}
	return nil
}

// record takes over what one read of a connection brought.
func (g *generator) record(b *brought) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	into := func(h *hdrhistogram.Histogram, latencies []int64) error {
		for _, l := range latencies {
			if err := h.RecordValue(max(l, 1)); err != nil {
				return fmt.Errorf("bench: a latency of %v: %w", time.Duration(l), err)
			}
		}
		return nil
	}
	if err := errors.Join(into(g.latency, b.latencies), into(g.refusals, b.refusals)); err != nil {
		return err
	}
	g.measured += uint64(len(b.latencies))
	for _, code := range b.declined {
		g.declined[code]++
	}
	return nil
}

func (g *generator) result(conns []*sender, used usage) (Loaded, error) {
	result := Loaded{Declined: g.declined, Next: series(g.next.Load())}
	result.PerSecond = ratio(float64(g.measured), g.took.Seconds())
	result.Latency = latencyOf(g.latency)
	result.ServerCPU = ratio(float64(used.server.Microseconds()), float64(g.measured))
	result.GeneratorCPU = ratio(float64(used.own.Microseconds()), float64(g.measured))
	result.Rounds = 1
	if n := g.refusals.TotalCount(); n > 0 {
		result.Measurement.Declined, result.DeclinedLatency = ratio(float64(n), g.took.Seconds()), latencyOf(g.refusals)
	}
	for _, c := range conns {
		result.Answered += c.answered
		result.Approved += c.approved
		result.Unanswered += c.sent - c.answered
	}
	if g.load.Answers != "" {
		return result, writeAnswers(g.load.Answers, conns)
	}
	return result, nil
}

// slot is a request in flight.
type slot struct {
	taken bool
	due   time.Time
	index uint64 // of the request on its connection, from 0
}

// sender is one connection of a generator. In a closed loop only its receiving
// goroutine touches it; in an open loop the pacer does too, so there is a mutex.
type sender struct {
	g       *generator
	conn    net.Conn
	number  int
	form    *requestForm
	mac     *certs.MAC // nil: its messages carry none
	covered int        // from which byte on a MAC is over a frame
	answers answerForm
	random  *rand.Rand

	mu       sync.Mutex // guards what follows
	slots    []slot     // by index, its low bits
	inFlight int
	sent     uint64
	answered uint64
	approved uint64
	numbered []uint64 // the series of this connection, as on the wire
	position []points.Position
	finished bool // no more will be sent
	out      []byte
}

// nextSeries takes the next free series for the requests to come.
func (c *sender) nextSeries() error {
	taken := series(c.g.next.Add(1) - 1)
	if taken >= maxSeries {
		return fmt.Errorf("bench: this run has used up its %d series of numbers; shorten it", maxSeries)
	}
	when := taken.when(c.g.dialect, c.g.load.Base)
	c.form.when.put(c.form.frame, when)
	c.numbered = append(c.numbered, when)
	return nil
}

// add appends one request that was due at due to out; mu is held. added is false
// when as many are in flight as may be.
func (c *sender) add(due time.Time) (added bool, err error) {
	at := c.slot(c.sent)
	if at.taken || c.inFlight == c.g.load.Depth {
		return false, nil
	}
	if c.sent > 0 && c.sent%perSeries == 0 {
		if err := c.nextSeries(); err != nil {
			return false, err
		}
	}
	member, more := c.member()
	if !more {
		c.finished = true
		return false, nil
	}
	*at = slot{true, due, c.sent}
	c.form.stan.put(c.form.frame, c.sent%perSeries+1)
	c.form.member.put(c.form.frame, member)
	if c.mac != nil {
		at := len(c.form.frame) - macSize
		c.mac.Append(c.form.frame[:at], c.form.frame[c.covered:at])
	}
	c.out = binary.BigEndian.AppendUint16(c.out, uint16(len(c.form.frame))) //nolint:gosec // at most dialect.MaxFrame.
	c.out = append(c.out, c.form.frame...)
	if c.g.load.Answers != "" {
		c.position = append(c.position, 0)
	}
	c.sent++
	c.inFlight++
	return true, nil
}

// member is whose points the next request is about; more is false at the end of a
// walk.
func (c *sender) member() (member uint64, more bool) {
	switch {
	case c.g.load.Hot:
		return 1, true
	case c.g.load.Walk:
		member = c.sent*uint64(c.g.load.Conns) + uint64(c.number) + 1 //nolint:gosec // counts from 0.
		return member, member <= c.g.load.Accounts
	default:
		return 1 + c.random.Uint64N(c.g.load.Accounts), true
	}
}

// flush sends what add appended; mu is held.
func (c *sender) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	_, err := c.conn.Write(c.out)
	c.out = c.out[:0]
	if err != nil {
		return fmt.Errorf("bench: connection %d: %w", c.number, err)
	}
	return nil
}

// sendDue sends what is due by now in an open loop, as far as the depth lets it.
func (c *sender) sendDue(now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		turn := c.sent*uint64(c.g.load.Conns) + uint64(c.number) //nolint:gosec // counts from 0.
		due := c.g.began.Add(time.Duration(float64(turn) / c.g.load.Rate * float64(time.Second)))
		if due.After(now) {
			break
		}
		if added, err := c.add(due); err != nil || !added {
			return errors.Join(err, c.flush())
		}
	}
	return c.flush()
}

// finish tells the receiver that nothing more is sent, and wakes it when nothing
// is in flight that would.
func (c *sender) finish() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.finished = true
	if c.inFlight > 0 {
		return nil
	}
	if err := c.conn.SetReadDeadline(c.g.clock()); err != nil {
		return fmt.Errorf("bench: connection %d: %w", c.number, err)
	}
	return nil
}

// receive reads answers until all are there. In a closed loop it sends too: what
// one read brought is replaced in one write.
func (c *sender) receive() error {
	closed := c.g.load.Rate == 0
	if closed {
		if err := c.refill(c.g.began); err != nil {
			return err
		}
	}
	in := make([]byte, 0, 64<<10)
	var b brought
	for {
		n, err := c.conn.Read(in[len(in):cap(in)])
		now := c.g.clock()
		in = in[:len(in)+n]
		c.mu.Lock()
		finished := c.finished && c.inFlight == 0
		c.mu.Unlock()
		if c.g.load.Tolerant && errors.Is(err, os.ErrDeadlineExceeded) {
			return nil // What is missing is counted.
		}
		if err != nil && (!finished || errors.Is(err, net.ErrClosed)) {
			return fmt.Errorf("bench: connection %d: %w", c.number, eof(err))
		}
		if finished {
			return nil
		}
		used, err := c.takeAll(in, now, &b)
		if err != nil {
			return fmt.Errorf("bench: connection %d: %w", c.number, err)
		}
		in = in[:copy(in, in[used:])]
		if err := c.g.record(&b); err != nil {
			return err
		}
		b.reset()
		if closed {
			if err := c.refill(now); err != nil {
				return err
			}
		}
		if c.done() {
			return nil
		}
	}
}

// eof is err with the words of somebody who wanted more.
func eof(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (c *sender) done() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.finished && c.inFlight == 0
}

// refill sends as many requests as the depth lets it, in a closed loop; none once
// the window is over.
func (c *sender) refill(now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !now.Before(c.g.to) {
		c.finished = true
		return nil
	}
	for {
		if added, err := c.add(now); err != nil || !added {
			return errors.Join(err, c.flush())
		}
	}
}

// takeAll takes the whole frames of in and returns how many bytes they were.
func (c *sender) takeAll(in []byte, now time.Time, b *brought) (used int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	measured := !now.Before(c.g.from) && now.Before(c.g.to)
	for len(in)-used >= prefixSize {
		size := int(binary.BigEndian.Uint16(in[used:]))
		if size > dialect.MaxFrame {
			return used, fmt.Errorf("an answer of %d bytes", size)
		}
		if len(in)-used < prefixSize+size {
			break
		}
		due, code, err := c.take(in[used+prefixSize : used+prefixSize+size])
		if err != nil {
			return used, err
		}
		used += prefixSize + size
		switch {
		case !measured:
		case code == approvedCode || !c.g.load.ApprovedOnly:
			b.latencies = append(b.latencies, int64(now.Sub(due)))
		default:
			b.refusals = append(b.refusals, int64(now.Sub(due)))
		}
		if code != approvedCode {
			b.declined = append(b.declined, string(code[:]))
		}
	}
	return used, nil
}

// approvedCode is DE39 of an approval.
var approvedCode = [2]byte{'0', '0'} //nolint:gochecknoglobals // never written.

// take finds the request that frame answers and frees its slot; mu is held.
func (c *sender) take(frame []byte) (due time.Time, code [2]byte, err error) {
	var a answer
	if c.g.load.Echo {
		if len(frame) != len(c.form.frame) {
			return due, code, fmt.Errorf("an echo of %d bytes, want %d", len(frame), len(c.form.frame))
		}
		a = answer{stan: c.form.stan.read(frame), when: c.form.when.read(frame), code: approvedCode}
	} else if c.mac != nil && (len(frame) < c.covered+macSize || !c.mac.Verify(frame[c.covered:len(frame)-macSize], frame[len(frame)-macSize:])) {
		return due, code, errForged
	} else if a, err = c.answers.read(c.form, frame); err != nil {
		return due, code, err
	}
	at := c.find(a)
	if at == nil {
		return due, code, fmt.Errorf("an answer to STAN %06d of %d, which is not in flight", a.stan, a.when)
	}
	at.taken = false
	c.inFlight--
	c.answered++
	if a.code == approvedCode {
		c.approved++
		if c.g.load.Answers != "" {
			c.position[at.index] = a.position
		}
	}
	return at.due, a.code, nil
}

// slot is the place of request index while it is in flight; mu is held.
func (c *sender) slot(index uint64) *slot {
	return &c.slots[index%uint64(len(c.slots))]
}

// find returns the slot of the request that a answers, nil when there is none.
func (c *sender) find(a answer) *slot {
	if a.stan == 0 {
		return nil
	}
	// The latest series or the one before: more are never in flight.
	for back := 1; back <= min(2, len(c.numbered)); back++ {
		n := len(c.numbered) - back
		if c.numbered[n] != a.when {
			continue
		}
		index := uint64(n)*perSeries + a.stan - 1 //nolint:gosec // counts from 0.
		if at := c.slot(index); at.taken && at.index == index {
			return at
		}
	}
	return nil
}
