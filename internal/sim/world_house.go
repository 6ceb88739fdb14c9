package sim

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"time"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/router"
	pointswitch "github.com/lianfen/lianfen/switch"
	"github.com/lianfen/lianfen/switch/dialect"
)

// house is the switch and what stands behind it, as one process has it.
type house struct {
	w       *World
	disk    *store.Disk
	up      bool
	key     *certs.CardKey
	ledger  *ledger.Ledger
	router  *router.Router
	issuers *pointswitch.Issuers
	doors   [2]*pointswitch.Listener // of terminals, of partners

	held   <-chan struct{} // not nil: nothing becomes durable any more, and it is closed when something waits
	single bool            // what waits is one command, so that it is clear what was written
}

// Doors.
const (
	terminalDoor = iota
	partnerDoor
)

const worldGenesis points.BusinessDate = 20260302

// newHouse makes an empty store on a disk of its own and opens the house.
func newHouse(w *World) (*house, error) {
	h := &house{w: w, disk: store.NewDisk(), key: certs.NewCardKey([32]byte{1, 2, 3})}
	if err := store.Create(h.disk.On("data")); err != nil {
		return nil, err
	}
	return h, h.open()
}

// open starts ledger, switch and legs, as after a power cut.
func (h *house) open() error {
	w := h.w
	st, err := store.Open(h.disk.On("data"))
	if err != nil {
		return err
	}
	h.ledger, err = ledger.Open(w.ctx, ledger.Options{
		Store: st, Genesis: worldGenesis, GenesisAt: w.switchTime(), TraceDays: 8,
		Accounts: w.mix.accounts, CheckpointEvery: w.mix.checkpoint, CheckpointInterval: lasting,
	})
	if err != nil {
		return errors.Join(err, st.Close())
	}
	h.router = &router.Router{}
	if err := h.refresh(); err != nil {
		return err
	}
	silent := slog.New(slog.DiscardHandler)
	h.issuers, err = pointswitch.NewIssuers(pointswitch.IssuersOptions{
		Ledger: h.ledger, Router: h.router, CardKey: h.key, Dialect: dialect.Host(), Clock: w.switchTime,
		Links: w.profiles(h.key), Dial: w.dial, Log: silent,
	})
	if err != nil {
		return err
	}
	if err := h.issuers.Recover(w.ctx); err != nil {
		return err
	}
	sw, err := pointswitch.New(pointswitch.Options{
		Ledger: h.ledger, Router: h.router, CardKey: h.key, Clock: w.switchTime, Location: time.FixedZone("CST", 8*3600), Issuers: h.issuers,
		FreshnessAhead: time.Minute, FreshnessBehind: 5 * time.Minute, BadFrames: 3, LogEvery: 1, Log: silent,
	})
	if err != nil {
		return err
	}
	h.doors[terminalDoor] = sw.Listener("terminals", dialect.Pos(), points.DoorTerminal, pointswitch.Rate{})
	h.doors[partnerDoor] = sw.Listener("partners", dialect.Host(), points.DoorHost, pointswitch.Rate{})
	h.up, h.held = true, nil
	return nil
}

// refresh gives the router the reference data of the journal.
func (h *house) refresh() error {
	return h.ledger.View(h.w.ctx, func(b *book.Book) error {
		h.router.Swap(router.NewTable(b.Registry()))
		return nil
	})
}

// do carries out an operator's command.
func (h *house) do(cmd book.Command) (book.Outcome, error) {
	cmd.At = h.w.switchTime()
	return h.ledger.Do(h.w.ctx, &cmd)
}

// stop ends a house whose world is over.
func (h *house) stop() error {
	if !h.up {
		return nil
	}
	h.up = false
	h.disconnect()
	h.disk.Release()
	return h.ledger.Close(context.WithoutCancel(h.w.ctx))
}

// disconnect closes every connection and waits for its goroutines.
func (h *house) disconnect() {
	for _, c := range h.w.cables {
		c.conn.Close(nil)
		<-c.conn.Done()
	}
	h.w.cables = nil
}

// settle waits until the switch is at rest, carries what it has sent, and looks after
// what is due, until there is nothing more at this moment.
func (w *World) settle() {
	const most = 1000
	h := w.house
	w.lookAt = 0
	for n := 0; h.up && w.fault == nil; n++ {
		if n == most {
			w.mismatch(nil, "the switch does not come to rest")
			return
		}
		h.single = true // An event brings one frame, and a frame one command.
		held := w.rest()
		w.collect()
		if held {
			return
		}
		before := h.ledger.Submitted()
		wait, more, err := w.round()
		h.single = h.ledger.Submitted() <= before+1
		if err != nil && !w.held() {
			w.fail(err)
			return
		}
		held = w.rest()
		w.collect()
		if held {
			return
		}
		if !more {
			w.lookAt = w.now.Add(max(wait, time.Millisecond))
			return
		}
	}
}

// round lets the legs do what is due. While nothing becomes durable it may not wait for
// that.
func (w *World) round() (wait time.Duration, more bool, err error) {
	ctx, cancel := w.unlessHeld()
	defer cancel()
	return w.house.issuers.Round(ctx)
}

// unlessHeld is a context that ends when something waits in vain to become durable.
func (w *World) unlessHeld() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(w.ctx)
	held := w.house.held
	if held != nil {
		go func() {
			select {
			case <-held:
				cancel()
			case <-ctx.Done():
			}
		}()
	}
	return ctx, cancel
}

// held reports whether something waits in vain to become durable.
func (w *World) held() bool {
	select {
	case <-w.house.held: // Never, while it is nil.
		return true
	default:
		return false
	}
}

// rest waits until neither switch nor ledger has anything to do. It reports whether
// something waits in vain to become durable.
func (w *World) rest() (held bool) {
	h := w.house
	for w.fault == nil {
		for _, c := range w.cables {
			for !c.wire.quiet(c.conn) {
				runtime.Gosched()
				if err := w.ctx.Err(); err != nil {
					w.fail(fmt.Errorf("waiting for %s: %w", c.name, err))
					return false
				}
			}
		}
		ctx, cancel := w.unlessHeld()
		err := h.ledger.Rest(ctx)
		cancel()
		if w.held() {
			return true
		}
		if err != nil {
			w.fail(fmt.Errorf("waiting for the ledger: %w", err))
			return false
		}
		if !slices.ContainsFunc(w.cables, func(c *cable) bool { return !c.wire.quiet(c.conn) }) {
			return false
		}
	}
	return false
}

// collect takes what the switch has written on all cables, and forgets those that are
// over.
func (w *World) collect() {
	for _, c := range slices.Clone(w.cables) {
		c.collect()
	}
	w.cables = slices.DeleteFunc(w.cables, func(c *cable) bool { return c.over() })
}

// powerCut kills the switch: what is not durable is gone, and so is everything it knew.
func (w *World) powerCut() {
	h := w.house
	if !h.up || w.calm {
		return
	}
	kept := w.held() && h.single && w.rng.IntN(2) == 0
	w.did("power cut")
	switch {
	case kept:
		w.did("power cut after a write, before its answer")
		w.step(nil, "POWER CUT: what was written is kept, although nobody was told")
	case w.held():
		w.did("power cut before a write")
		w.step(nil, "POWER CUT: what was written is lost")
	default:
		w.step(nil, "POWER CUT")
	}
	left := h.disk.PowerCut(kept)
	h.up = false
	cables := w.cables
	h.disconnect()
	h.disk.Release()
	if err := h.ledger.Close(context.WithoutCancel(w.ctx)); err != nil {
		w.fail(fmt.Errorf("leaving the house: %w", err))
	}
	h.disk, h.held = left, nil
	for _, c := range cables {
		if !c.dead {
			c.end()
		}
	}
	w.after(w.between(time.Second, 2*time.Minute), w.powerUp)
}

// powerUp starts the switch again.
func (w *World) powerUp() {
	if err := w.house.open(); err != nil {
		w.mismatch(nil, "the switch does not start again: %v", err)
		return
	}
	w.step(nil, "the switch is up again, with %d records", w.house.ledger.Durable())
	for _, b := range w.banks {
		b.switchUp()
	}
}

// doom keeps what is written from now on from becoming durable, and cuts the power soon.
func (w *World) doom() {
	h := w.house
	if !h.up || h.held != nil || w.calm {
		return
	}
	h.held = h.disk.Hold()
	w.waitForDoom(200)
}

// waitForDoom cuts the power shortly after something waits in vain, or after a while.
func (w *World) waitForDoom(looks int) {
	w.after(w.between(0, 200*time.Millisecond), func() {
		switch {
		case !w.house.up || w.house.held == nil:
		case w.held() || looks == 0:
			w.powerCut()
		default:
			w.waitForDoom(looks - 1)
		}
	})
}
