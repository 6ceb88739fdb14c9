package sim

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/lianfen/lianfen/points"
)

// WorldOptions says which world is played.
type WorldOptions struct {
	Seed   uint64
	Faults []string // what may go wrong, of [WorldFaultNames]; nil: everything
	Steps  bool     // keep the whole list of steps, also of a run that agrees
}

// World is the whole system in one process, on virtual time, from one seed: terminals
// and partners, the real switch over the real ledger, hosts of issuers with books of
// their own, the lines between them, the operators, and all that goes wrong.
//
// One goroutine plays it: it takes the next event, lets it happen, waits until switch
// and ledger are at rest, and takes what they have sent. So the same seed gives the same
// journal, whatever the machine does meanwhile. The wall clock is not read.
//
//	lanes (world_lane.go) ── cables (world_cable.go) ── switch, ledger (world_house.go)
//	                                                        │
//	operators (world_operator.go) ──────────────────────────┤
//	                                                        │
//	banks (world_bank.go) ───────── cables ─────────────────┘
//
// In the end everything is allowed to drain, and the three books are compared
// (world_compare.go).
type World struct {
	ctx     context.Context //nolint:containedctx // of Run, whose stack this struct is.
	opts    WorldOptions
	rng     *rand.Rand
	mix     mix
	events  schedule
	ordered uint64
	now     points.Timestamp // true time
	skew    time.Duration    // of the switch's clock
	clock   atomic.Int64     // the switch's clock, in microseconds
	calm    bool             // nothing goes wrong any more
	calmed  points.Timestamp // since when
	fault   error            // what ended the run before its time
	wrong   *Mismatch

	house    *house
	lookAt   points.Timestamp // when the switch looks again at what is due; 0: not
	cables   []*cable
	lanes    []*lane
	partner  *exchangeLine
	banks    []*bank
	cards    []*card
	operator operator
	steps    []step
	report   WorldReport
}

// WorldReport is what came of a run.
type WorldReport struct {
	Seed     uint64         `json:"seed"`
	Faults   []string       `json:"faults"`
	Digest   string         `json:"digest"`   // of journal, receipts and issuers' books
	Played   time.Duration  `json:"played"`   // virtual
	Events   uint64         `json:"events"`   // that happened
	Records  uint64         `json:"records"`  // in the journal
	Requests uint64         `json:"requests"` // of acquirers, their repeats and reversals not counted
	Did      map[string]int `json:"did"`      // what happened how often
	Mismatch *Mismatch      `json:"mismatch,omitempty"`
	Steps    []string       `json:"steps,omitempty"`
}

// Mismatch is what does not agree in the end.
type Mismatch struct {
	What  string   `json:"what"`
	Card  string   `json:"card,omitempty"` // the simulation's name of it
	Steps []string `json:"steps"`          // what happened with the card, and to everybody
}

// step is a line of what happened.
type step struct {
	at   points.Timestamp
	card *card // nil: it concerns all
	text string
}

// event is something that will happen.
type event struct {
	at    points.Timestamp
	order uint64
	do    func()
}

// schedule is a heap of events, the next one first.
type schedule []event

// Len is part of heap.Interface.
func (s schedule) Len() int { return len(s) }

// Less is part of heap.Interface.
func (s schedule) Less(i, j int) bool {
	if s[i].at != s[j].at {
		return s[i].at < s[j].at
	}
	return s[i].order < s[j].order
}

// Swap is part of heap.Interface.
func (s schedule) Swap(i, j int) { s[i], s[j] = s[j], s[i] }

// Push is part of heap.Interface.
func (s *schedule) Push(x any) {
	if e, ok := x.(event); ok {
		*s = append(*s, e)
	}
}

// Pop is part of heap.Interface.
func (s *schedule) Pop() any {
	last := (*s)[len(*s)-1]
	*s = (*s)[:len(*s)-1]
	return last
}

// Bounds of a run.
const (
	leastPlay = 8 * time.Minute
	mostPlay  = 40 * time.Minute
	// quietTime is what everybody gets, once nothing goes wrong any more, to come to
	// an end by himself.
	quietTime = 30 * time.Minute
	// patienceTime is when a run ends that does not come to an end.
	patienceTime = 48 * time.Hour
	maxEvents    = 200_000
)

// worldOpens is when a world begins: 09:30 in Shanghai.
func worldOpens() points.Timestamp {
	return points.TimestampOf(time.Date(2026, 3, 2, 1, 30, 0, 0, time.UTC))
}

// RunWorld plays the world of a seed to its end and compares the books. The error is of
// the machinery; what does not agree is in the report.
func RunWorld(ctx context.Context, opts WorldOptions) (WorldReport, error) {
	w, err := newWorld(ctx, opts)
	if err != nil {
		return WorldReport{Seed: opts.Seed}, err
	}
	err = w.play() //nolint:contextcheck // it is in the world.
	if err == nil && w.wrong == nil {
		err = w.compare()
	}
	if err := errors.Join(err, w.close()); err != nil { //nolint:contextcheck // likewise.
		return w.report, fmt.Errorf("simulation of seed %d: %w", opts.Seed, err)
	}
	return w.report, nil
}

// newWorld makes the world of a seed, in which nothing has happened yet.
func newWorld(ctx context.Context, opts WorldOptions) (*World, error) {
	w := &World{
		ctx: ctx, opts: opts, now: worldOpens(), report: WorldReport{Seed: opts.Seed, Did: make(map[string]int)},
		rng: rand.New(rand.NewPCG(opts.Seed, 0x6c69616e66656e)),
	}
	w.setClock()
	var err error
	w.mix, w.report.Faults, err = newMix(w.rng, opts.Faults)
	return w, err
}

// play plays the world until everything has come to its end.
func (w *World) play() error {
	if err := w.furnish(); err != nil {
		return err
	}
	length := w.between(leastPlay, mostPlay)
	w.plan(length)
	w.until(w.now.Add(length), func() bool { return false })
	w.drain()
	return w.fault
}

// close ends the house and the report.
func (w *World) close() error {
	w.report.Played = w.now.Sub(worldOpens())
	if w.report.Mismatch = w.wrong; w.wrong != nil {
		w.wrong.Steps = w.around(w.wrong.Card)
	}
	if w.opts.Steps {
		w.report.Steps = w.around("*")
	}
	if w.house == nil {
		return nil
	}
	return w.house.stop()
}

// drain lets everything come to its end, with nothing going wrong any more.
func (w *World) drain() {
	if w.house.held != nil {
		w.powerCut()
	}
	w.step(nil, "from here on nothing goes wrong")
	w.calm, w.calmed = true, w.now
	w.skew = 0
	w.setClock()
	w.operator.restore()
	for _, b := range w.banks {
		b.recover()
	}
	w.until(w.now.Add(quietTime), func() bool { return false })
	for _, l := range w.lanes {
		l.probe()
	}
	w.until(w.now.Add(patienceTime), w.drained)
	if w.fault == nil && w.wrong == nil && !w.drained() {
		c, what := w.pending()
		w.mismatch(c, "not everything comes to an end within %v: %s", patienceTime, what)
	}
}

// until lets events happen up to then, or until enough says so.
func (w *World) until(then points.Timestamp, enough func() bool) {
	for w.fault == nil && w.wrong == nil && !enough() {
		at, do := then, func() {}
		switch {
		case w.lookAt != 0 && w.lookAt <= then && (len(w.events) == 0 || w.lookAt < w.events[0].at):
			at = w.lookAt
		case len(w.events) > 0 && w.events[0].at <= then:
			if e, ok := heap.Pop(&w.events).(event); ok {
				at, do = e.at, e.do
			}
		default:
			w.now = max(w.now, then)
			w.setClock()
			return
		}
		w.now = max(w.now, at)
		w.setClock()
		if w.report.Events++; w.report.Events > maxEvents {
			w.mismatch(nil, "more than %d events: something goes round in circles", maxEvents)
			return
		}
		do()
		w.settle()
		w.fail(w.ctx.Err())
	}
}

func (w *World) setClock() { w.clock.Store(int64(w.now.Add(w.skew))) }

// switchTime is the switch's clock, which may be wrong.
func (w *World) switchTime() points.Timestamp { return points.Timestamp(w.clock.Load()) }

// after has do happen in d.
func (w *World) after(d time.Duration, do func()) {
	w.ordered++
	heap.Push(&w.events, event{at: w.now.Add(max(d, 0)), order: w.ordered, do: do})
}

// fail ends the run because of the machinery.
func (w *World) fail(err error) {
	if w.fault == nil && err != nil {
		w.fault = err
	}
}

// mismatch ends the run because something is not as it must be.
func (w *World) mismatch(c *card, format string, args ...any) {
	if w.wrong != nil {
		return
	}
	w.wrong = &Mismatch{What: fmt.Sprintf(format, args...)}
	if c != nil {
		w.wrong.Card = c.name
	}
	w.step(c, "MISMATCH: %s", w.wrong.What)
}

// step notes what happens; with a card, that it concerns nobody else.
func (w *World) step(c *card, format string, args ...any) {
	w.steps = append(w.steps, step{at: w.now, card: c, text: fmt.Sprintf(format, args...)})
}

// did counts what happens.
func (w *World) did(what string) { w.report.Did[what]++ }

// around lists the steps of one card, and those that concern all; "*" is everything,
// "" what concerns all.
func (w *World) around(name string) []string {
	began := worldOpens()
	var lines []string
	for _, s := range w.steps {
		who := ""
		if s.card != nil {
			if who = s.card.name; name != "*" && who != name {
				continue
			}
		}
		lines = append(lines, fmt.Sprintf("%12s  %-4s %s", s.at.Sub(began).Truncate(time.Millisecond), who, s.text))
	}
	return lines
}

// chance is true perMille times in a thousand, and never when all is calm.
func (w *World) chance(perMille int) bool {
	return !w.calm && perMille > 0 && w.rng.IntN(1000) < perMille
}

// between draws a time.
func (w *World) between(least, most time.Duration) time.Duration {
	return least + time.Duration(w.rng.Int64N(int64(most-least)+1))
}

func pick[T any](w *World, from []T) T { return from[w.rng.IntN(len(from))] }
