package main

import (
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/internal/sim"
	"github.com/lianfen/lianfen/points"
)

var (
	soakFor  = flag.Duration("issuer-soak", 4*time.Second, "how long TestIssuerSoak plays")
	soakSeed = flag.Uint64("issuer-soak-seed", 0, "seed of TestIssuerSoak's chances; 0: a new one")
)

// soakDirectory has an issuer behind a link, four terminals of one acquirer and two
// doors of a partner.
const soakDirectory = `
issuers: [{id: 10000004, name: Far, link: far}]
acquirers: [{id: 20000001, name: Counter}, {id: 20000002, name: Partner}]
programs: [{id: 904, issuer: 10000004, name: Miles}, {id: 905, issuer: 10000004, name: Stars}]
merchants:
  - {id: M1, acquirer: 20000001, name: Shop, programs: [904, 905]}
  - {id: M2, acquirer: 20000002, name: Mall, programs: [904, 905]}
terminals:
  - {id: T1, merchant: M1}
  - {id: T2, merchant: M1}
  - {id: T3, merchant: M1}
  - {id: T4, merchant: M1}
  - {id: P1, merchant: M2}
  - {id: P2, merchant: M2}
routes: [{prefix: "622203", issuer: 10000004}]
`

// soakFunds is what each account has at first; the last card is poor, and the one
// before it declined whatever it is used for.
const soakFunds = 1_000_000

var soakCards = []string{"6222030000000000016", "6222030000000000024", "622203000000000032", "6222030000000000057", "6222030000000000040"}

// soakFundsOf is what card i has at first in each programme.
func soakFundsOf(i int) points.Amount {
	if i == len(soakCards)-1 {
		return 50
	}
	return soakFunds
}

func soakAccounts() string {
	var text strings.Builder
	text.WriteString("accounts:\n")
	for i, card := range soakCards {
		decline := ""
		if i == len(soakCards)-2 {
			decline = `, decline: "41"`
		}
		for _, program := range []int{904, 905} {
			fmt.Fprintf(&text, "  - {card: %q, program: %d, balance: %d%s}\n", card, program, soakFundsOf(i), decline)
		}
	}
	return text.String()
}

// Every kind of fault, and the switch's patience: an answer is late at 300 ms.
const soakFaults = "delay=5%:50ms,lose=5%,drop=5%,late=5%:600ms,wrong-amount=5%,disconnect=5%,duplicate=5%"

const soakLink = `links:
  - name: far
    dial: "%s"
    connections: 8
    institution: 30000001
    deadline: 300ms
    sign_on: 300ms
    echo_after: 1s
    echo_deadline: 300ms
    redial: 10ms
    redial_most: 50ms
    breaker_failures: 20
    breaker_rest: 50ms
    retry: 50ms, 200ms
    stand_in_programs: 904
    stand_in_max_amount: 80
    stand_in_after_timeout: true
`

// Terminals, switch and issuer say the same in the end, transaction by transaction,
// although the issuer does all that it can do wrong, its lines are cut and it hangs,
// the switch is killed, terminals lose patience, and the business date changes. What
// the operators have to end themselves is in their queue, with the reason.
func TestIssuerSoak(t *testing.T) {
	seed := cmp.Or(*soakSeed, uint64(time.Now().UnixNano()))
	t.Logf("again with: go test ./cmd/lianfen -run TestIssuerSoak -v -issuer-soak=%v -issuer-soak-seed=%d", *soakFor, seed)
	s := newSoak(t, seed)
	s.work(t)
	s.disturb(t)
	s.rest(t)
	queued := s.drain(t)
	compared := s.compare(t, queued)
	proof, err := s.switchd.client().Prove(t.Context(), app.ProofProgress{})
	require.NoError(t, err)
	s.report(t, compared, proof.Records)
	require.Greater(t, len(s.deals), 50, "too little was done to mean anything")
	s.switchd.terminate(t)
}

// soak is everybody who takes part.
type soak struct {
	dir      string
	sets     []string
	pos      string
	host     string
	chance   *rand.Rand // of what disturbs; each customer has its own
	seed     uint64
	switchd  *daemon
	issuer   *issuerProcess
	wire     *wire
	stop     context.CancelFunc
	working  sync.WaitGroup
	kills    int
	cuts     int
	freezes  int
	resent   atomic.Int64 // requests without an answer: asked again,
	reversed atomic.Int64 // reversed,
	lost     atomic.Int64 // given up

	mu    sync.Mutex // guards what follows
	deals []*deal
	errs  []error
}

func newSoak(t *testing.T, seed uint64) *soak {
	t.Helper()
	s := &soak{dir: filepath.Join(t.TempDir(), "s"), pos: freeAddress(t), host: freeAddress(t), seed: seed, chance: rand.New(rand.NewPCG(seed, 0))}
	require.NoError(t, prepare(s.dir))
	accounts := filepath.Join(s.dir, "accounts.yaml")
	require.NoError(t, os.WriteFile(accounts, []byte(soakAccounts()), 0o600))
	s.issuer = startIssuer(t, "--json", "--id", "10000004", "--accounts", accounts, "--faults", soakFaults, "--seed", fmt.Sprint(seed))
	s.wire = newWire(t, s.issuer.address)
	path := filepath.Join(s.dir, config.FileName)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	link := fmt.Sprintf(soakLink, s.wire.ln.Addr())
	require.NoError(t, os.WriteFile(path, bytes.Replace(text, []byte("links: []\n"), []byte(link), 1), 0o600))
	s.sets = []string{
		"listeners.pos.address=" + s.pos, "listeners.host.address=" + s.host,
		"ledger.checkpoint_every=1000", "ledger.checkpoint_interval=1s", "log.level=error",
	}
	s.switchd = startDaemon(t, s.dir, s.sets...)
	s.switchd.ready(t)
	directory, err := app.ReadDirectory(strings.NewReader(soakDirectory))
	require.NoError(t, err)
	_, err = s.switchd.client().Load(t.Context(), directory)
	require.NoError(t, err)
	return s
}

// work sends the customers to their work.
func (s *soak) work(t *testing.T) {
	t.Helper()
	stop, cancel := context.WithCancel(t.Context())
	s.stop = cancel
	t.Cleanup(cancel)
	for i, id := range []string{"T1", "T2", "T3", "T4", "P1", "P2"} {
		c := &customer{soak: s, chance: rand.New(rand.NewPCG(s.seed, uint64(i)+1))}
		if id[0] == 'T' {
			who, err := sim.ParseIdentity(id, "M1")
			require.NoError(t, err)
			c.door = sim.NewTerminal(s.pos, who, 0, now)
		} else {
			who, err := sim.ParseIdentity(id, "M2")
			require.NoError(t, err)
			c.door = newPartner(s.host, who)
		}
		s.working.Go(func() { s.employ(t.Context(), stop, c) })
	}
}

// employ lets a customer work until it is told to stop, and hang up.
func (s *soak) employ(ctx, stop context.Context, c *customer) {
	var err error
	for err == nil && stop.Err() == nil {
		err = c.act(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errs = append(s.errs, err, c.door.HangUp())
}

// disturb kills, cuts and freezes until the time is over, and ends the business date
// in the middle.
func (s *soak) disturb(t *testing.T) {
	t.Helper()
	began := time.Now()
	cut, told := false, 1
	deck := []int{0, 0, 0, 0, 1, 1, 1, 2, 2, 3} // All of these, in another order each time.
	for i := 0; time.Since(began) < *soakFor; i++ {
		if i%len(deck) == 0 {
			s.chance.Shuffle(len(deck), func(a, b int) { deck[a], deck[b] = deck[b], deck[a] })
		}
		<-time.After(time.Duration(100+s.chance.IntN(900)) * time.Millisecond)
		switch deck[i%len(deck)] {
		case 0:
			s.kill(t)
		case 1:
			s.wire.cut(0)
			s.cuts++
		case 2:
			s.wire.cut(time.Duration(s.chance.IntN(500)) * time.Millisecond)
			s.cuts++
		default:
			require.NoError(t, s.issuer.cmd.Process.Signal(syscall.SIGSTOP))
			<-time.After(time.Duration(s.chance.IntN(600)) * time.Millisecond)
			require.NoError(t, s.issuer.cmd.Process.Signal(syscall.SIGCONT))
			s.freezes++
		}
		if !cut && time.Since(began) > *soakFor/2 {
			s.switchd.ready(t)
			_, err := s.switchd.client().CutOver(t.Context(), app.CutOver{Operator: "li", Second: "wang", Force: true})
			require.NoError(t, err)
			cut = true
		}
		if done := int(10 * time.Since(began) / *soakFor); done > told {
			told = done
			s.mu.Lock()
			t.Logf("%v: %d transactions, %d kills", time.Since(began).Round(time.Second), len(s.deals), s.kills)
			s.mu.Unlock()
		}
	}
	if s.kills == 0 {
		s.kill(t)
	}
}

// kill kills the switch, sometimes while it starts, and starts it again.
func (s *soak) kill(t *testing.T) {
	t.Helper()
	if s.chance.IntN(4) > 0 {
		s.switchd.ready(t)
	}
	s.switchd.kill(t)
	s.switchd = startDaemon(t, s.dir, s.sets...)
	s.kills++
}

// rest lets every customer finish what it has begun.
func (s *soak) rest(t *testing.T) {
	t.Helper()
	s.switchd.ready(t)
	s.stop()
	s.working.Wait()
	for _, err := range s.errs {
		require.NoError(t, err)
	}
}

// drain waits until the issuer has acknowledged all that it is owed, but for what
// only the operators can end, and returns that. It looks for some deadlines longer,
// because what nobody asks about any more may still be under way.
func (s *soak) drain(t *testing.T) map[string]app.Owed {
	t.Helper()
	var owed []app.Owed
	var clean time.Time
	require.Eventually(t, func() bool {
		var err error
		owed, err = s.switchd.client().Owed(t.Context())
		require.NoError(t, err)
		for _, o := range owed {
			if o.State != "queued" {
				clean = time.Time{}
				return false
			}
		}
		if clean.IsZero() {
			clean = time.Now()
		}
		return time.Since(clean) > time.Second
	}, patience, 20*time.Millisecond, "still owed to the issuer")
	queued := map[string]app.Owed{}
	for _, o := range owed {
		require.NotEmpty(t, o.Refusal, "queued without a reason: %+v", o)
		queued[o.RRN] = o
	}
	return queued
}

// wire is the line between switch and issuer.
type wire struct {
	ln net.Listener
	to string

	mu    sync.Mutex // guards what follows
	open  map[net.Conn]bool
	until time.Time // nobody gets through before
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w := &wire{ln: ln, to: to, open: map[net.Conn]bool{}}
	var carried sync.WaitGroup
	carried.Go(func() {
		for {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			carried.Go(func() { w.carry(near) })
		}
	})
	t.Cleanup(func() {
		require.NoError(t, ln.Close())
		w.cut(time.Hour)
		carried.Wait()
	})
	return w
}

// carry carries bytes both ways until one end closes or the line is cut.
func (w *wire) carry(near net.Conn) {
	far, err := net.Dial("tcp", w.to)
	if err != nil {
		_ = near.Close()
		return
	}
	w.mu.Lock()
	w.open[near], w.open[far] = true, true
	down := time.Now().Before(w.until)
	w.mu.Unlock()
	end := func() {
		_, _ = near.Close(), far.Close()
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.open, near)
		delete(w.open, far)
	}
	defer end()
	if down {
		return
	}
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		both.Go(func() {
			_, _ = io.Copy(way[1], way[0])
			_, _ = near.Close(), far.Close()
		})
	}
	both.Wait()
}

// cut ends all connections and lets none come through for a while.
func (w *wire) cut(during time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.until = time.Now().Add(during)
	for conn := range w.open {
		_ = conn.Close()
	}
}
