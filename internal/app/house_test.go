package app_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/internal/sim"
	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/points"
)

// house is a prepared folder with the configuration of a switch on free ports, and
// what the switch logs.
type house struct {
	config config.Config
	log    *logBook
}

// newHouse prepares a folder: card key and empty store.
func newHouse(t *testing.T, sets ...string) *house {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, certs.WriteCardKey(filepath.Join(dir, "card.key"), rand.Reader))
	c, err := config.Load("", nil, append([]string{
		"data=" + filepath.Join(dir, "store"), "card_key=" + filepath.Join(dir, "card.key"), "admin.socket=" + filepath.Join(dir, "a"),
		"listeners.pos.address=127.0.0.1:0", "listeners.host.address=127.0.0.1:0", "http.address=127.0.0.1:0", "tls.mode=off",
	}, sets...))
	require.NoError(t, err)
	require.NoError(t, store.Create(store.Options{Dir: c.Data}))
	return &house{config: c, log: new(logBook)}
}

func now() points.Timestamp { return points.TimestampOf(time.Now()) }

// open opens the switch without running it.
func (h *house) open(t *testing.T) (*app.App, error) {
	t.Helper()
	return app.New(t.Context(), app.Options{Config: h.config, Version: "test", Log: slog.New(slog.NewTextHandler(h.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Clock: now})
}

// running is a switch that serves.
type running struct {
	*app.App
	client *app.Client
	cancel context.CancelFunc
	done   chan error
}

// start opens the switch and runs it until stop.
func (h *house) start(t *testing.T) *running {
	t.Helper()
	a, err := h.open(t)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	r := &running{App: a, client: app.NewClient(h.config.Admin.Socket), cancel: cancel, done: make(chan error, 1)}
	go func() { r.done <- a.Run(ctx) }()
	t.Cleanup(cancel)
	return r
}

// stop drains the switch and wants an orderly end.
func (r *running) stop(t *testing.T) {
	t.Helper()
	r.cancel()
	require.NoError(t, <-r.done)
}

// load puts a directory that a test has written down.
func (r *running) load(t *testing.T, text string) {
	t.Helper()
	d, err := app.ReadDirectory(strings.NewReader(text))
	require.NoError(t, err)
	_, err = r.client.Load(t.Context(), d)
	require.NoError(t, err)
}

// smallTown is a directory with one of each, and two members.
const smallTown = `
issuers: [{id: 10000001, name: Issuer}]
acquirers: [{id: 20000001, name: Acquirer}]
programs:
  - {id: 901, issuer: 10000001, name: One, rules: {valid_months: 12, max_amount: 1000000}}
merchants: [{id: M1, acquirer: 20000001, name: Merchant, programs: [901]}]
terminals: [{id: T1, merchant: M1}, {id: T2, merchant: M1}, {id: T3, merchant: M1}, {id: T4, merchant: M1}]
routes: [{prefix: "622202"}]
members:
  - {id: 1, programs: [901], cards: [{number: "6222020000000000017"}]}
  - {id: 2, programs: [901], cards: [{number: "6222020000000000025"}]}
`

// terminal is a terminal of smallTown at the switch's pos listener.
func (r *running) terminal(t *testing.T, id string) *sim.Terminal {
	t.Helper()
	who, err := sim.ParseIdentity(id, "M1")
	require.NoError(t, err)
	terminal := sim.NewTerminal(r.Address("pos").String(), who, 0, now)
	t.Cleanup(func() { _ = terminal.HangUp() })
	return terminal
}

// send sends one request about a card and returns what came back.
func send(t *testing.T, terminal *sim.Terminal, function points.Function, card string, amount points.Amount) *sim.Receipt {
	t.Helper()
	req := request(t, terminal, function, card, amount)
	receipt, err := terminal.Send(t.Context(), &req)
	require.NoError(t, err)
	return receipt
}

func request(t *testing.T, terminal *sim.Terminal, function points.Function, card string, amount points.Amount) points.Request {
	t.Helper()
	req := terminal.Next(function)
	sim.Dress(&req)
	if card != "" {
		var err error
		req.PAN, err = points.ParsePAN(card)
		require.NoError(t, err)
		req.Program, req.Amount = 901, amount
	}
	return req
}

// usable is what a member can spend in programme 901.
func (r *running) usable(t *testing.T, member points.MemberID) points.Amount {
	t.Helper()
	accounts, err := r.client.Accounts(t.Context(), app.Holder{Member: member})
	require.NoError(t, err)
	require.Len(t, accounts.Accounts, 1)
	return accounts.Accounts[0].Free
}

// freeAddress is an address that nobody listens on, for a switch that has to come
// back at the same one.
func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, ln.Close())
	return ln.Addr().String()
}

// logBook keeps what is logged.
type logBook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write keeps a line.
func (l *logBook) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

// String is all that was logged so far.
func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
