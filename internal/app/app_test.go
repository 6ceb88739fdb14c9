package app_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/internal/sim"
	"github.com/lianfen/lianfen/points"
)

// A switch that is told to stop in the middle of traffic answers what it took: over
// many stops no terminal gets a wrong answer, every answer is in the journal once,
// and members have the sum of them.
func TestDrainUnderLoad(t *testing.T) {
	const stops, terminals = 5, 4
	h := newHouse(t, "listeners.pos.address="+freeAddress(t))
	r := h.start(t)
	r.load(t, smallTown)
	script, err := sim.ReadScript(strings.NewReader(`
terminals: [{id: T1, merchant: M1}]
steps:
  - {send: earn, card: "6222020000000000017", program: 901, amount: 3}
  - {send: redeem, card: "6222020000000000017", program: 901, amount: 2}
`))
	require.NoError(t, err)
	working, rest := context.WithCancel(t.Context())
	defer rest()
	var players sync.WaitGroup
	var rounds atomic.Int64
	errs := make([]error, terminals)
	seen := new(sync.Map) // journal positions
	for i := range terminals {
		own := *script
		own.Terminals = []sim.ScriptTerminal{{ID: fmt.Sprintf("T%d", i+1), Merchant: "M1"}}
		player := &sim.Player{Address: r.Address("pos").String(), Clock: now, Retry: time.Minute, Keep: func(receipt *sim.Receipt) error {
			if _, twice := seen.LoadOrStore(receipt.Response.Position, true); twice {
				return fmt.Errorf("two answers under %v", receipt.Response.Position)
			}
			return nil
		}}
		players.Go(func() {
			for errs[i] == nil && working.Err() == nil {
				var wrong int
				wrong, errs[i] = player.Play(t.Context(), &own, func(sim.Result) error { return nil }) //nolint:contextcheck // whoever rests finishes its round first.
				if errs[i] == nil && wrong > 0 {
					errs[i] = fmt.Errorf("%d steps were answered wrongly", wrong)
				}
				rounds.Add(1)
			}
			errs[i] = errors.Join(errs[i], player.HangUp())
		})
	}
	for range stops {
		before := rounds.Load()
		require.Eventually(t, func() bool { return rounds.Load() > before+20 }, 10*time.Second, time.Millisecond, "no traffic")
		r.stop(t)
		r = h.start(t)
	}
	rest()
	players.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	require.Equal(t, points.Amount(rounds.Load()), r.usable(t, 1))
	_, err = r.client.Prove(t.Context(), app.ProofProgress{})
	require.NoError(t, err)
	r.stop(t)
	require.Equal(t, stops+1, strings.Count(h.log.String(), "msg=draining"))
	require.Equal(t, stops+1, strings.Count(h.log.String(), "msg=stopped"))
	require.NotContains(t, h.log.String(), "level=ERROR")
}

// A request that is sent before the stop is answered; one behind it is not, and
// has no effect.
func TestDrainAnswersWhatItTook(t *testing.T) {
	h := newHouse(t)
	r := h.start(t)
	r.load(t, smallTown)
	terminal := r.terminal(t, "T1")
	require.True(t, send(t, terminal, points.Earn, "6222020000000000017", 70).Response.Reason.Approved())
	r.stop(t)
	late := request(t, terminal, points.Earn, "6222020000000000017", 1)
	_, err := terminal.Send(t.Context(), &late)
	require.Error(t, err)
	r = h.start(t)
	require.Equal(t, points.Amount(70), r.usable(t, 1))
	r.stop(t)
}

// The probes tell a balancer the truth: not ready before the doors are open, ready
// while they are, not ready from the stop on.
func TestProbes(t *testing.T) {
	h := newHouse(t)
	a, err := h.open(t)
	require.NoError(t, err)
	probe := func(path string) (int, string) {
		recorder := httptest.NewRecorder()
		a.WebHandler().ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, path, nil))
		return recorder.Code, recorder.Body.String()
	}
	code, body := probe("/readyz")
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Equal(t, "not ready\n", body)
	code, _ = probe("/healthz")
	require.Equal(t, http.StatusOK, code)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	require.Eventually(t, func() bool {
		code, _ := probe("/readyz")
		return code == http.StatusOK
	}, 10*time.Second, time.Millisecond)
	require.Equal(t, "ok\n", get(t, "http://"+a.HTTPAddress().String()+"/healthz"))
	require.Equal(t, "ready\n", get(t, "http://"+a.HTTPAddress().String()+"/readyz"))
	cancel()
	require.NoError(t, <-done)
	code, _ = probe("/readyz")
	require.Equal(t, http.StatusServiceUnavailable, code)
}

// Everything that an operator watches is on /metrics.
func TestMetrics(t *testing.T) {
	h := newHouse(t)
	r := h.start(t)
	r.load(t, smallTown)
	terminal := r.terminal(t, "T1")
	require.True(t, send(t, terminal, points.Earn, "6222020000000000017", 70).Response.Reason.Approved())
	require.Equal(t, points.NotEnoughPoints, send(t, terminal, points.Redeem, "6222020000000000017", 71).Response.Reason)
	position := send(t, terminal, points.Redeem, "6222020000000000017", 60).Response.Position
	page := func() string { return get(t, "http://"+r.HTTPAddress().String()+"/metrics") }
	// An answer is counted once it is on its way, which a terminal may overtake.
	require.Eventually(t, func() bool {
		return strings.Contains(page(), `lianfen_requests_total{function="redeem",reason="approved"} 1`)
	}, 10*time.Second, time.Millisecond)
	text := page()
	for _, line := range []string{
		`lianfen_requests_total{function="earn",reason="approved"} 1`,
		`lianfen_requests_total{function="redeem",reason="not_enough_points"} 1`,
		"lianfen_request_seconds_count 3",
		`lianfen_request_seconds_bucket{le="+Inf"} 3`,
		"lianfen_requests_repeated_total 0",
		"lianfen_frames_unanswered_total 0",
		fmt.Sprintf("lianfen_ledger_position %d", position),
		"lianfen_ledger_checkpoint_position 0",
		"lianfen_ledger_overloaded_total 0",
		`link_connections{listener="pos"} 1`,
		`link_connections{listener="host"} 0`,
		`link_in_flight{listener="pos"} 0`,
	} {
		require.Contains(t, text, "\n"+line)
	}
	for _, family := range []string{
		"lianfen_ledger_group_records_count", "lianfen_ledger_commit_seconds_count", "go_goroutines", "process_resident_memory_bytes",
		"lianfen_ledger_block_bytes_total",
	} {
		require.Regexp(t, `(?m)^`+family+` [1-9]`, text)
	}
	require.NotContains(t, text, "6222020")
	r.stop(t)
}

func get(t *testing.T, url string) string {
	t.Helper()
	response, err := http.Get(url)
	require.NoError(t, err)
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	return string(body)
}

// A socket that a killed process left is taken over; one that answers is not, and
// no file that is something else is touched.
func TestAdminSocket(t *testing.T) {
	h := newHouse(t)
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: h.config.Admin.Socket, Net: "unix"})
	require.NoError(t, err)
	left.SetUnlinkOnClose(false)
	require.NoError(t, left.Close())
	require.FileExists(t, h.config.Admin.Socket)
	r := h.start(t)
	_, err = r.client.Status(t.Context())
	require.NoError(t, err)
	info, err := os.Stat(h.config.Admin.Socket)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "others may use it")

	second := newHouse(t)
	second.config.Admin.Socket = h.config.Admin.Socket
	_, err = second.open(t)
	require.ErrorContains(t, err, "another process serves it")
	_, err = r.client.Status(t.Context())
	require.NoError(t, err, "the first one lost its socket")
	r.stop(t)

	second.config.Admin.Socket = filepath.Join(t.TempDir(), "notes")
	require.NoError(t, os.WriteFile(second.config.Admin.Socket, []byte("keep me"), 0o600))
	_, err = second.open(t)
	require.ErrorContains(t, err, "no socket")
	content, err := os.ReadFile(second.config.Admin.Socket)
	require.NoError(t, err)
	require.Equal(t, "keep me", string(content))
	// What failed to open has let go of everything: the same folder opens now.
	second.config.Admin.Socket = h.config.Admin.Socket
	second.start(t).stop(t)
}

// A terminal is usable as soon as the load that made it is answered, while others
// send.
func TestLoadBesideTraffic(t *testing.T) {
	h := newHouse(t)
	r := h.start(t)
	r.load(t, smallTown)
	ctx, rest := context.WithCancel(t.Context())
	var traffic sync.WaitGroup
	var sent atomic.Int64
	var trafficErr error
	busy := r.terminal(t, "T1")
	traffic.Go(func() {
		for ctx.Err() == nil && trafficErr == nil {
			req := busy.Next(points.Earn)
			sim.Dress(&req)
			req.Program, req.Amount = 901, 1
			req.PAN, _ = points.ParsePAN("6222020000000000017")
			var receipt *sim.Receipt
			if receipt, trafficErr = busy.Send(t.Context(), &req); trafficErr == nil && !receipt.Response.Reason.Approved() { //nolint:contextcheck // whoever rests finishes its round first.
				trafficErr = fmt.Errorf("declined: %v", receipt.Response.Reason)
			}
			sent.Add(1)
		}
	})
	var loads sync.WaitGroup
	for i := range 4 {
		loads.Go(func() {
			for j := range 10 {
				id := fmt.Sprintf("N%d%02d", i, j)
				r.load(t, fmt.Sprintf("terminals: [{id: %s, merchant: M1}]", id))
				require.True(t, send(t, r.terminal(t, id), points.SignOn, "", 0).Response.Reason.Approved(), id)
			}
		})
	}
	loads.Wait()
	rest()
	traffic.Wait()
	require.NoError(t, trafficErr)
	require.Positive(t, sent.Load())
	require.Equal(t, points.Amount(sent.Load()), r.usable(t, 1))
	r.stop(t)
}

// Figures reads what the metrics page says, labels included, and refuses what is
// no such page.
func TestFigures(t *testing.T) {
	h := newHouse(t)
	r := h.start(t)
	r.load(t, smallTown)
	status, err := r.client.Status(t.Context())
	require.NoError(t, err)
	figures, err := app.Figures(t.Context(), r.HTTPAddress().String())
	require.NoError(t, err)
	require.Equal(t, status.Position, points.Position(figures["lianfen_ledger_position"]))
	require.Contains(t, figures, `lianfen_store_table_bytes_total{by="flush",of="journal"}`)
	r.stop(t)
	_, err = app.Figures(t.Context(), r.HTTPAddress().String())
	require.Error(t, err)
}
