package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// What may go wrong in a [World].
const (
	faultsNetwork  = "network"  // frames are lost, late, doubled, out of order; lines end, or go dead
	faultsIssuer   = "issuer"   // hosts are slow, silent, wrong, down
	faultsCrash    = "crash"    // power cuts of the switch
	faultsClock    = "clock"    // the switch's clock jumps
	faultsCutOver  = "cut-over" // business dates end
	faultsOperator = "operator" // members are entered, programmes, merchants and terminals changed
)

// WorldFaultNames lists what may go wrong in a [World].
func WorldFaultNames() []string {
	return []string{faultsNetwork, faultsIssuer, faultsCrash, faultsClock, faultsCutOver, faultsOperator}
}

// mix is what goes wrong in one run, and how often. Each run has some of it only: what
// goes wrong everywhere at once hides what goes wrong here and there.
type mix struct {
	// In a thousand frames, on every line.
	drop, delay, duplicate, reorder, cut, dead, hangUp int
	issuer                                             Faults
	// How often in a run.
	issuerDown, issuerSilent, issuerSlow int
	crashes, doomed                      int
	jumps                                int
	cutOvers                             int
	changes                              int
	lost                                 int // in a thousand reversals that time out, from the fourth on
	parts                                int // in a million redemptions at banks
	relayDown, chats                     int
	afterTimeout                         bool // one may be stood in for, also after a time-out
	// Of the ledger: what is no fault, and changes no outcome.
	accounts, checkpoint int
}

// newMix draws what goes wrong, of the kinds that are named.
func newMix(rng *rand.Rand, names []string) (m mix, used []string, err error) {
	if names == nil {
		names = WorldFaultNames()
	}
	for _, name := range names {
		if !slices.Contains(WorldFaultNames(), name) {
			return mix{}, nil, fmt.Errorf("faults %q: there are %s", name, strings.Join(WorldFaultNames(), ", "))
		}
	}
	rate := func(most int) int { // In half of the runs.
		n := rng.IntN(2 * most)
		return max(0, n-most)
	}
	all := mix{
		drop: rate(80), delay: rate(60), duplicate: rate(100), reorder: rate(150), cut: rate(20), dead: rate(15), hangUp: rate(20),
		issuerDown: rate(4), issuerSilent: rate(4), issuerSlow: rate(4),
		crashes: rate(4), doomed: rate(6), jumps: rate(5), cutOvers: rate(4), changes: rate(14),
	}
	all.lost, all.parts, all.relayDown, all.chats, all.afterTimeout = rate(700), rate(200_000), rate(4), rate(20), rng.IntN(2) == 0
	for _, f := range []FaultRate{
		{Fault: FaultDelay, After: 5 * time.Second},
		{Fault: FaultLose},
		{Fault: FaultDrop},
		{Fault: FaultLate, After: 40 * time.Second},
		{Fault: FaultWrongAmount},
		{Fault: FaultDisconnect},
		{Fault: FaultDuplicate},
	} {
		f.PerMillion = rate(100_000)
		all.issuer = append(all.issuer, f)
	}
	for _, name := range WorldFaultNames() {
		if !slices.Contains(names, name) {
			continue
		}
		used = append(used, name)
		switch name {
		case faultsNetwork:
			m.drop, m.delay, m.duplicate, m.reorder, m.cut, m.dead, m.hangUp = all.drop, all.delay, all.duplicate, all.reorder, all.cut, all.dead, all.hangUp
			m.lost = all.lost
		case faultsIssuer:
			m.issuer, m.issuerDown, m.issuerSilent, m.issuerSlow = all.issuer, all.issuerDown, all.issuerSilent, all.issuerSlow
			m.parts, m.relayDown, m.chats, m.afterTimeout = all.parts, all.relayDown, all.chats, all.afterTimeout
		case faultsCrash:
			m.crashes, m.doomed = all.crashes, all.doomed
		case faultsClock:
			m.jumps = all.jumps
		case faultsCutOver:
			m.cutOvers = all.cutOvers
		default:
			m.changes = all.changes
		}
	}
	m.accounts, m.checkpoint = 4*rng.IntN(2), 20+rng.IntN(200)
	return m, used, nil
}

// plan draws when what happens a few times in a run happens.
func (w *World) plan(length time.Duration) {
	times := func(n int, do func()) {
		for range n {
			w.after(w.between(0, length), do)
		}
	}
	times(w.mix.crashes, func() { w.powerCut() })
	times(w.mix.doomed, func() { w.doom() })
	times(w.mix.jumps, func() { w.jump() })
	times(w.mix.cutOvers, func() { w.operator.cutOver() })
	times(w.mix.changes, func() { w.operator.change() })
	for _, b := range w.banks {
		times(w.mix.issuerDown, func() { b.crash(w.between(time.Second, 5*time.Minute)) })
		times(w.mix.issuerSilent, func() { b.fallSilent(w.between(time.Second, 3*time.Minute)) })
		times(w.mix.relayDown, func() { b.cutRelay(w.between(time.Second, 5*time.Minute)) })
		times(w.mix.chats, b.chat)
		times(w.mix.issuerSlow, func() { b.slowDown(w.between(time.Second, 3*time.Minute)) })
	}
	for _, l := range w.lanes {
		l.rest()
	}
}

// jump sets the switch's clock to another time.
func (w *World) jump() {
	if w.calm {
		return
	}
	by := w.between(time.Second, 5*time.Minute)
	if w.rng.IntN(3) == 0 {
		by = w.between(5*time.Minute, 6*time.Hour)
	}
	switch {
	case w.skew != 0 && w.rng.IntN(2) == 0:
		by = -w.skew // It is put right.
	case w.rng.IntN(2) == 0:
		by = -by
	}
	w.skew += by
	w.setClock()
	w.did("clock jump")
	w.step(nil, "the switch's clock jumps by %v, to %v from the true time", by, w.skew)
}
