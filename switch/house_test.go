package pointswitch_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/router"
	pointswitch "github.com/lianfen/lianfen/switch"
	"github.com/lianfen/lianfen/switch/dialect"
	"github.com/lianfen/lianfen/switch/link"
)

// patience is how long a test waits for what must come.
const patience = 10 * time.Second

// freshBehind is how old a request may be in the house.
const freshBehind = 5 * time.Minute

// Institutions of the house under test.
const (
	bank    points.IssuerID   = 20000001
	airline points.IssuerID   = 20000002
	remote  points.IssuerID   = 20000003
	gone    points.IssuerID   = 20000004
	posAcq  points.AcquirerID = 10000001
	partner points.AcquirerID = 10000002
)

// opening is when and on which business date the house opens: 09:30 in Shanghai.
const (
	openingDate points.BusinessDate = 20260302
	openingTime                     = "2026-03-02T01:30:00Z"
)

// house is a switch over a real ledger with two listeners on loopback.
type house struct {
	t        testing.TB
	dir      string
	disk     *vfs.MemFS // that loses power; nil: the machine's
	now      atomic.Int64
	store    *store.Store
	ledger   *ledger.Ledger
	router   *router.Router
	registry *prometheus.Registry
	cardKey  *certs.CardKey
	log      *lines
	sw       *pointswitch.Switch
	pos      *link.Server
	host     *link.Server
	doors    []*link.Server // of the listeners that know who is there
	serving  sync.WaitGroup
	peers    []*peer
	open     bool
	groupMax int                        // of the ledger; 0: its default
	queue    int                        // of the ledger; 0: its default
	options  func(*pointswitch.Options) // changes the switch's options; may be nil
	links    []pointswitch.LinkProfile  // to issuers with hosts of their own
	issuers  *pointswitch.Issuers       // nil without links
	vault    string                     // folder of a keystore with partners' keys; empty: none
	rules    map[certs.Zone]pointswitch.ZoneRules
	zones    *pointswitch.Zones // nil without vault
}

// newHouse opens an empty house.
func newHouse(t testing.TB) *house {
	return newHouseWith(t, nil)
}

func newHouseWith(t testing.TB, options func(*pointswitch.Options)) *house {
	return newHouseOf(t, options, nil)
}

func newHouseOf(t testing.TB, options func(*pointswitch.Options), links []pointswitch.LinkProfile) *house {
	h := &house{t: t, dir: t.TempDir(), cardKey: certs.NewCardKey([32]byte{1, 2, 3}), log: newLines(), options: options, links: links}
	h.begin()
	return h
}

// begin creates the store and opens the house.
func (h *house) begin() {
	at, err := time.Parse(time.RFC3339, openingTime)
	require.NoError(h.t, err)
	h.now.Store(at.UnixMicro())
	require.NoError(h.t, store.Create(h.place()))
	h.start()
	h.t.Cleanup(h.stop)
}

// place is where the store lies.
func (h *house) place() store.Options {
	if h.disk == nil {
		return store.Options{Dir: h.dir}
	}
	return store.Options{Dir: "data", FS: h.disk, BlockCacheMB: 1}
}

// start opens ledger, switch and listeners over the house's store.
func (h *house) start() {
	var err error
	h.registry = prometheus.NewRegistry()
	h.store, err = store.Open(h.place())
	require.NoError(h.t, err)
	h.ledger, err = ledger.Open(h.t.Context(), ledger.Options{Store: h.store, Genesis: openingDate, GenesisAt: h.clock(), GroupMax: h.groupMax, Queue: h.queue})
	require.NoError(h.t, err)
	h.router = &router.Router{}
	h.refresh()
	opts := pointswitch.Options{
		Ledger: h.ledger, Router: h.router, CardKey: h.cardKey, Clock: h.clock, Location: time.FixedZone("CST", 8*3600),
		FreshnessAhead: time.Minute, FreshnessBehind: freshBehind, BadFrames: 3, LogEvery: 1,
		Log: slog.New(slog.NewJSONHandler(h.log, nil)), Registerer: h.registry,
	}
	h.openVault(&opts)
	if h.links != nil {
		h.openIssuers(opts.Log)
		opts.Issuers = h.issuers
	}
	if h.options != nil {
		h.options(&opts)
	}
	sw, err := pointswitch.New(opts)
	require.NoError(h.t, err)
	h.sw = sw
	require.NoError(h.t, sw.Restore(h.t.Context()))
	h.pos = h.listen(sw.Listener("counter", dialect.Pos(), points.DoorTerminal, pointswitch.Rate{}))
	h.host = h.listen(sw.Listener("partners", dialect.Host(), points.DoorHost, pointswitch.Rate{}))
	h.open = true
}

// openIssuers makes the legs to the issuers' hosts; tests call their rounds.
func (h *house) openIssuers(log *slog.Logger) {
	var err error
	h.issuers, err = pointswitch.NewIssuers(pointswitch.IssuersOptions{
		Ledger: h.ledger, Router: h.router, CardKey: h.cardKey, Dialect: dialect.Host(), Clock: h.clock,
		Zones: h.zones, Links: h.links, Log: log, Registerer: h.registry,
	})
	require.NoError(h.t, err)
	require.NoError(h.t, h.issuers.Recover(h.t.Context()))
}

// crash ends the house as a kill would: nobody who waits is answered any more.
func (h *house) crash() {
	h.open = false
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, server := range []*link.Server{h.pos, h.host} {
		if err := server.Shutdown(ctx); err != nil {
			require.ErrorIs(h.t, err, context.Canceled)
		}
	}
	h.leave()
	h.serving.Wait()
	require.NoError(h.t, h.ledger.Close(context.Background()))
}

func (h *house) listen(handler link.Handler) *link.Server {
	return h.listenAs(handler, nil)
}

// listenAs takes everybody on the listener to be peer; nil: nobody is asked.
func (h *house) listenAs(handler link.Handler, peer any) *link.Server {
	server, err := link.Listen(h.t.Context(), "127.0.0.1:0", link.Options{Peer: peer}, handler)
	require.NoError(h.t, err)
	h.serving.Go(func() {
		if err := server.Serve(context.Background()); err != nil {
			h.t.Error(err)
		}
	})
	return server
}

// stop ends the house in order: after it every answer is given, every line
// logged and every counter moved.
func (h *house) stop() {
	if !h.open {
		return
	}
	h.open = false
	h.leave() // A listener that shuts down waits a while for peers to go.
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(h.t, h.pos.Shutdown(ctx))
	require.NoError(h.t, h.host.Shutdown(ctx))
	for _, door := range h.doors {
		require.NoError(h.t, door.Shutdown(ctx))
	}
	h.doors = nil
	h.serving.Wait()
	require.NoError(h.t, h.ledger.Close(ctx))
}

func (h *house) clock() points.Timestamp { return points.Timestamp(h.now.Load()) }

func (h *house) wait(d time.Duration) { h.now.Add(d.Microseconds()) }

// refresh gives the router the reference data of the journal.
func (h *house) refresh() {
	require.NoError(h.t, h.ledger.View(h.t.Context(), func(b *book.Book) error {
		h.router.Swap(router.NewTable(b.Registry()))
		return nil
	}))
}

// do carries out an operator's command, which must be approved.
func (h *house) do(cmd book.Command) book.Outcome {
	h.t.Helper()
	cmd.At = h.clock()
	out, err := h.ledger.Do(h.t.Context(), &cmd)
	require.NoError(h.t, err)
	require.Equal(h.t, points.Approved, out.Reason, "operator command of kind %d", cmd.Kind)
	return out
}

func (h *house) put(entries ...book.Entry) {
	h.t.Helper()
	for _, e := range entries {
		h.do(book.Command{Kind: book.KindPut, Entry: e})
	}
	h.refresh()
}

// view reads the book as it is now, everything that was answered included.
func (h *house) view(look func(*book.Book)) {
	h.t.Helper()
	require.NoError(h.t, h.ledger.View(h.t.Context(), func(b *book.Book) error {
		look(b)
		return nil
	}))
}

// standing is what a member's account holds.
type standing struct {
	member     points.MemberID
	program    points.ProgramID
	free, held points.Amount
}

// standings lists the accounts of all members, in order.
func (h *house) standings() []standing {
	h.t.Helper()
	var all []standing
	h.view(func(b *book.Book) {
		for member := points.MemberID(1); member <= lastMember; member++ {
			m, ok, err := b.Member(member)
			require.NoError(h.t, err)
			if !ok {
				continue
			}
			for _, program := range m.Programs {
				a, ok, err := b.Account(book.AccountKey{Kind: book.MemberAccount, Program: program, Party: uint64(member)})
				require.NoError(h.t, err)
				require.True(h.t, ok)
				all = append(all, standing{member, program, a.Free, a.Held})
			}
		}
	})
	return all
}

// verify proves the whole journal against the state that serves.
func (h *house) verify() {
	h.t.Helper()
	_, err := h.ledger.Verify(h.t.Context(), func(uint64, uint64) {})
	require.NoError(h.t, err)
}

// peer is the other end of a connection.
type peer struct {
	t    testing.TB
	conn net.Conn
}

// dial connects to one of the house's listeners, until the house stops.
func (h *house) dial(server *link.Server) *peer {
	h.t.Helper()
	conn, err := net.Dial("tcp", server.Addr().String())
	require.NoError(h.t, err)
	h.peers = append(h.peers, &peer{h.t, conn})
	return h.peers[len(h.peers)-1]
}

// leave closes what was dialled; a connection that a test has closed already is as good.
func (h *house) leave() {
	for _, p := range h.peers {
		if err := p.conn.Close(); err != nil {
			require.ErrorIs(h.t, err, net.ErrClosed)
		}
	}
	h.peers = nil
}

// send writes frames in one write.
func (p *peer) send(frames ...[]byte) {
	p.t.Helper()
	var out []byte
	for _, frame := range frames {
		out = binary.BigEndian.AppendUint16(out, uint16(len(frame)))
		out = append(out, frame...)
	}
	_, err := p.conn.Write(out)
	require.NoError(p.t, err)
}

// receive reads one frame; nil when the connection ends instead.
func (p *peer) receive() []byte {
	p.t.Helper()
	require.NoError(p.t, p.conn.SetReadDeadline(time.Now().Add(patience)))
	var prefix [2]byte
	if _, err := io.ReadFull(p.conn, prefix[:]); err != nil {
		require.NotErrorIs(p.t, err, os.ErrDeadlineExceeded, "no answer")
		return nil
	}
	frame := make([]byte, binary.BigEndian.Uint16(prefix[:]))
	_, err := io.ReadFull(p.conn, frame)
	require.NoError(p.t, err)
	return frame
}

// ended requires that the other side closes the connection.
func (p *peer) ended() {
	p.t.Helper()
	require.Nil(p.t, p.receive(), "an answer where the connection should end")
}

// lines is a log that can be read line by line while it is written.
type lines struct {
	mu      sync.Mutex
	all     []byte
	request chan map[string]any
}

func newLines() *lines { return &lines{request: make(chan map[string]any, 4096)} }

// Write takes one line of JSON.
func (l *lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	l.all = append(l.all, line...)
	l.mu.Unlock()
	var entry map[string]any
	if err := json.Unmarshal(line, &entry); err != nil {
		return 0, fmt.Errorf("log line %q: %w", line, err)
	}
	if entry["msg"] == "request" {
		l.request <- entry
	}
	return len(line), nil
}

// next waits for the next line about a request.
func (l *lines) next(t testing.TB) map[string]any {
	t.Helper()
	select {
	case entry := <-l.request:
		return entry
	case <-time.After(patience):
		require.FailNow(t, "a request left no line in the log")
		return nil
	}
}

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(slices.Clone(l.all))
}
