package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/internal/sim"
	"github.com/lianfen/lianfen/points"
)

var (
	kills    = flag.Int("kills", 12, "how often TestKill kills the switch")
	killSeed = flag.Uint64("kill-seed", 0, "seed of TestKill's moments; 0: a new one")
)

// killDirectory has a terminal for each player and members that they share.
const killDirectory = `
issuers: [{id: 10000001, name: Issuer}]
acquirers: [{id: 20000001, name: Acquirer}]
programs:
  - {id: 901, issuer: 10000001, name: One, rules: {transfer: true, valid_months: 12}}
  - {id: 902, issuer: 10000001, name: Two, rules: {transfer: true}}
merchants: [{id: M1, acquirer: 20000001, name: Merchant, programs: [901, 902]}]
terminals: [{id: T1, merchant: M1}, {id: T2, merchant: M1}, {id: T3, merchant: M1}, {id: T4, merchant: M1}]
routes: [{prefix: "622202"}]
members:
  - {id: 1, programs: [901, 902], cards: [{number: "6222020000000000017"}]}
  - {id: 2, programs: [901, 902], cards: [{number: "6222020000000000025"}]}
  - {id: 3, programs: [901, 902], cards: [{number: "6222020000000000033"}]}
`

// killCards are the members' cards.
var killCards = map[string]points.MemberID{
	"6222020000000000017": 1, "6222020000000000025": 2, "6222020000000000033": 3,
}

// killScript is what each terminal does over and over: of everything that moves
// points something, and always earning more than it spends.
const killScript = `
terminals: [{id: %[1]s, merchant: M1}]
steps:
  - {send: sign_on}
  - {send: earn, card: "%[2]s", program: %[4]d, amount: 100, as: earn}
  - {send: earn, card: "%[3]s", program: %[4]d, amount: 7, as: mistake}
  - {send: redeem, card: "%[2]s", program: %[4]d, amount: 31, as: sale}
  - {send: balance, card: "%[2]s", program: %[4]d}
  - {send: void, of: mistake}
  - {send: refund, of: sale, amount: 4}
  - {send: redeem, card: "%[2]s", program: %[4]d, amount: 11, as: cancelled}
  - {send: void, of: cancelled}
  - {send: pre_auth, card: "%[2]s", program: %[4]d, amount: 20, as: hold}
  - {send: completion, of: hold, amount: 15}
  - {send: pre_auth, card: "%[2]s", program: %[4]d, amount: 9, as: given up}
  - {send: pre_auth_void, of: given up}
  - {send: transfer, card: "%[2]s", to: "%[3]s", program: %[4]d, amount: 5}
  - {send: redeem, card: "%[2]s", program: %[4]d, amount: 13, as: lost, lose: true}
  - {send: reversal, of: lost}
`

// A switch that is killed at any moment comes back with every request that it
// answered, done once: sent again it gets the same bytes, every member has the sum
// of what was approved, every answer has a journal position of its own, and the
// journal proves it.
func TestKill(t *testing.T) {
	seed := cmp.Or(*killSeed, uint64(time.Now().UnixNano()))
	t.Logf("again with: go test ./cmd/lianfen -run TestKill -kills=%d -kill-seed=%d", *kills, seed)
	chance := rand.New(rand.NewPCG(seed, 0))
	dir := filepath.Join(t.TempDir(), "s")
	require.NoError(t, prepare(dir))
	address := freeAddress(t)
	// Checkpoints as often as can be, so that kills meet them.
	sets := []string{"listeners.pos.address=" + address, "ledger.checkpoint_every=1000", "ledger.checkpoint_interval=1s"}
	d := startDaemon(t, dir, sets...)
	d.ready(t)
	directory, err := app.ReadDirectory(strings.NewReader(killDirectory))
	require.NoError(t, err)
	_, err = d.client().Load(t.Context(), directory)
	require.NoError(t, err)

	load := startLoad(t, address)
	for range *kills {
		if chance.IntN(4) > 0 { // Otherwise it is killed while it starts.
			d.ready(t)
		}
		<-time.After(time.Duration(chance.IntN(600)) * time.Millisecond)
		d.kill(t)
		d = startDaemon(t, dir, sets...)
	}
	d.ready(t)
	kept := load.end(t)

	checkPositions(t, kept)
	checkBalances(t, d.client(), kept)
	before, err := d.client().Status(t.Context())
	require.NoError(t, err)
	checkReplay(t, address, kept)
	after, err := d.client().Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, before.Position, after.Position, "repeats were written to the journal")
	checkBalances(t, d.client(), kept)
	verified, err := d.client().Prove(t.Context(), app.ProofProgress{})
	require.NoError(t, err)
	t.Logf("%d kills, %d requests answered, %d records", *kills, len(kept), verified.Records)
	require.Greater(t, len(kept), 50*(*kills), "too little load to mean anything")
	d.terminate(t)
}

// killLoad is four terminals at work.
type killLoad struct {
	stop    context.CancelFunc
	players sync.WaitGroup
	mu      sync.Mutex // guards what follows
	kept    []*sim.Receipt
	errs    []error
}

func startLoad(t *testing.T, address string) *killLoad {
	t.Helper()
	stop, cancel := context.WithCancel(t.Context())
	load := &killLoad{stop: cancel}
	t.Cleanup(cancel)
	cards := []string{"6222020000000000017", "6222020000000000025", "6222020000000000033"}
	for i := range 4 {
		text := fmt.Sprintf(killScript, fmt.Sprintf("T%d", i+1), cards[i%3], cards[(i+1)%3], 901+i%2)
		script, err := sim.ReadScript(strings.NewReader(text))
		require.NoError(t, err)
		player := &sim.Player{Address: address, Clock: now, Retry: time.Minute, Keep: load.keep}
		load.players.Go(func() { load.play(t.Context(), stop, player, script) })
	}
	return load
}

func (l *killLoad) keep(r *sim.Receipt) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept = append(l.kept, r)
	return nil
}

// play plays whole rounds, so that in the end no answer is owed.
func (l *killLoad) play(ctx, stop context.Context, player *sim.Player, script *sim.Script) {
	var err error
	for err == nil && stop.Err() == nil {
		_, err = player.Play(ctx, script, func(r sim.Result) error {
			if r.Wrong != "" {
				return fmt.Errorf("step %d, %s, STAN %s: %s", r.Step, r.What, r.STAN, r.Wrong)
			}
			return nil
		})
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errs = append(l.errs, err, player.HangUp())
}

// end lets every terminal finish its round.
func (l *killLoad) end(t *testing.T) []*sim.Receipt {
	t.Helper()
	l.stop()
	l.players.Wait()
	for _, err := range l.errs {
		require.NoError(t, err)
	}
	return l.kept
}

func checkPositions(t *testing.T, kept []*sim.Receipt) {
	t.Helper()
	seen := map[points.Position]*sim.Receipt{}
	for _, r := range kept {
		position := r.Response.Position
		if position == 0 {
			continue // Echoes and balances are not in the journal.
		}
		if first, ok := seen[position]; ok {
			require.Failf(t, "two answers under one journal position", "%v: %v STAN %v of %v and %v STAN %v of %v", position,
				first.Request.Function, first.Request.STAN, first.Request.Terminal, r.Request.Function, r.Request.STAN, r.Request.Terminal)
		}
		seen[position] = r
	}
}

// killAccount is a member's account in a programme.
type killAccount struct {
	member  points.MemberID
	program points.ProgramID
}

// checkBalances adds up what the terminals were told and holds it against what
// the switch says that members have.
func checkBalances(t *testing.T, client *app.Client, kept []*sim.Receipt) {
	t.Helper()
	want := map[killAccount]points.Amount{}
	undone := map[string]points.Function{} // what a void or a reversal undid
	for _, r := range kept {
		undone[requestName(&r.Request)] = r.Request.Function
	}
	for _, r := range kept {
		require.True(t, r.Response.Reason.Approved(), "%v was declined", r.Request.Function)
		req := &r.Request
		from := killAccount{killCards[digitsOf(req.PAN)], req.Program}
		switch req.Function {
		case points.Earn, points.Refund, points.Reversal:
			want[from] += req.Amount
		case points.Redeem, points.Completion:
			want[from] -= req.Amount
		case points.Void:
			if undone[fmt.Sprint(req.Terminal, req.Original.STAN)] == points.Earn {
				want[from] -= req.Amount
			} else {
				want[from] += req.Amount
			}
		case points.Transfer:
			want[from] -= req.Amount
			want[killAccount{killCards[digitsOf(req.TargetPAN)], req.Program}] += req.Amount
		default: // Moves nothing that can be spent once every hold is gone.
		}
	}
	got := map[killAccount]points.Amount{}
	for _, member := range killCards {
		accounts, err := client.Accounts(t.Context(), app.Holder{Member: member})
		require.NoError(t, err)
		for _, a := range accounts.Accounts {
			require.Zero(t, a.Held, "member %d", member)
			require.Zero(t, a.Debt, "member %d", member)
			got[killAccount{member, a.Program}] = a.Free
		}
	}
	for account := range got {
		want[account] += 0 // An account that nobody used has nothing.
	}
	require.Equal(t, want, got)
}

func digitsOf(pan points.PAN) string { return string(pan.AppendDigits(nil)) }

func requestName(req *points.Request) string {
	if req.Function == points.Reversal {
		return "reversal " + fmt.Sprint(req.Terminal, req.STAN)
	}
	return fmt.Sprint(req.Terminal, req.STAN)
}

// checkReplay sends every answered request again, through the command that an
// operator would use. What was reversed since is left out: it is not approved again.
func checkReplay(t *testing.T, address string, kept []*sim.Receipt) {
	t.Helper()
	reversed := map[string]bool{}
	for _, r := range kept {
		if r.Request.Function == points.Reversal {
			reversed[fmt.Sprint(r.Request.Terminal, r.Request.STAN)] = true
		}
	}
	again := slices.DeleteFunc(slices.Clone(kept), func(r *sim.Receipt) bool {
		return reversed[requestName(&r.Request)] || r.Request.Function == points.Balance
	})
	path := filepath.Join(t.TempDir(), "receipts")
	file, err := os.Create(path)
	require.NoError(t, err)
	for _, r := range again {
		require.NoError(t, writeReceipt(file, r))
	}
	require.NoError(t, file.Close())
	stdout, stderr, status := lianfen(t, "pos", "--addr", address, "--replay", path)
	require.Zero(t, status, stdout+stderr)
	require.Contains(t, stdout, "answered as the first time, 0 differently.")
}
