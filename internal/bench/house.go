package bench

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/points"
)

// house is a folder with a furnished store, and the switches that serve it.
type house struct {
	opts AuthOptions
	dir  string
	end  points.Position // of the journal, as it was furnished
	runs int             // of the generator
	next series
	base time.Time
	// certificate is what the generator shows; "": it speaks plain TCP.
	certificate string
	// issuer is what the issuer's host at the end of a link shows; "": as above.
	issuer string
}

// newHouse prepares dir: card key, configuration, store, world. Where link is not
// empty, the issuer is at its end; its address is told when the switch is started.
func newHouse(ctx context.Context, dir string, opts AuthOptions, link string) (*house, error) {
	h := &house{opts: opts, dir: dir, next: 1, base: opts.Clock()}
	defaults := config.Default()
	keyFile := filepath.Join(dir, defaults.CardKey)
	if err := certs.WriteCardKey(keyFile, rand.Reader); err != nil {
		return nil, err
	}
	key, err := certs.ReadCardKey(keyFile)
	if err != nil {
		return nil, err
	}
	text := config.Template(dir)
	if link != "" {
		text = bytes.Replace(text, []byte("links: []\n"), []byte("links: [{name: "+link+"}]\n"), 1)
	}
	if opts.MAC {
		text = bytes.Replace(text, []byte("\nlinks: []\n"), []byte("\n"+signedPlace(opts.Dialect)+"links: []\n"), 1)
		if err := makeKeys(dir, opts.signing(), opts.MACBy, points.TimestampOf(h.base)); err != nil {
			return nil, err
		}
	}
	if err := os.WriteFile(h.config(), text, 0o600); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	if opts.TLS {
		if err = h.identify(link); err != nil {
			return nil, err
		}
	}
	data := filepath.Join(dir, defaults.Data)
	if err := store.Create(store.Options{Dir: data}); err != nil {
		return nil, err
	}
	h.end, err = furnish(ctx, data, key, max(opts.Conns, opts.Terminals), opts.Accounts, link, signers{opts.signing(), opts.MACBy}, opts.Clock)
	return h, err
}

// identify makes an authority, and with it the certificate of the acquirer that the
// generator plays the terminals of, and that of the issuer at the end of a link.
func (h *house) identify(link string) error {
	clock := func() points.Timestamp { return points.TimestampOf(h.opts.Clock()) }
	authority, err := certs.CreateAuthority(h.authority(), "bench", []byte("nothing to guard"), clock)
	if err != nil {
		return err
	}
	if h.certificate, _, err = authority.Own(certs.Order{Identity: certs.AcquirerIdentity(h.acquirer())}); err != nil || link == "" {
		return err
	}
	h.issuer, _, err = authority.Own(certs.Order{Identity: certs.IssuerIdentity(worldIssuer), Names: []string{"127.0.0.1"}})
	return err
}

// trust is the root that all certificates of the run are checked against.
func (h *house) trust() string { return filepath.Join(h.authority(), "trust.crt") }

// acquirer is the one that speaks TLS: the one with MACs, where there is one.
func (h *house) acquirer() points.AcquirerID {
	if h.opts.MAC {
		return signedAcquirer
	}
	return worldAcquirer
}

func (h *house) authority() string { return filepath.Join(h.dir, config.Default().TLS.Authority) }

func (h *house) config() string { return filepath.Join(h.dir, config.FileName) }

// daemon is a serving switch.
type daemon struct {
	*Child
	client  *app.Client
	address string // of the listener of the run's dialect
	signed  string // of the one where messages carry MACs
	http    string
	opening time.Duration // from the start of the process until it was ready
}

// serve starts a switch of this house, as command and args, and waits until it is
// ready.
func (h *house) serve(ctx context.Context, name string, command []string, sets ...string) (*daemon, error) {
	socket := filepath.Join(h.dir, name+".sock")
	args := append([]string{}, command...)
	args = append(args, "--config", h.config())
	for _, set := range append([]string{
		"tls.mode=off", "admin.socket=" + socket, "listeners.pos.address=127.0.0.1:0", "listeners.host.address=127.0.0.1:0", "http.address=127.0.0.1:0",
		"log.level=warn", "log.sample=1000000",
		"ledger.cache_accounts=" + strconv.FormatUint(h.opts.Accounts+spareAccounts, 10),
		// Nor is what the switch turns away when it has too much to do, or from whom.
		"switch.shed_target=0s", "listeners.pos.max_per_source=0", "listeners.host.max_per_source=0",
		// A generator keeps its depth to itself; the bound of the switch is not what is measured.
		"listeners.pos.max_in_flight=" + strconv.Itoa(max(256, h.opts.Depth)), "listeners.host.max_in_flight=" + strconv.Itoa(max(256, h.opts.Depth)),
	}, sets...) {
		args = append(args, "--set", set)
	}
	if h.opts.MAC {
		_, _, agreed := hostKeys(h.opts.MACBy)
		args = append(args, "--set", "switch.participant_keys="+fmt.Sprintf("%d=%s", uint64(signedAcquirer), agreed),
			"--set", "listeners."+signedListener+".max_per_source=0", "--set", "listeners."+signedListener+".max_in_flight="+strconv.Itoa(max(256, h.opts.Depth)))
	}
	switch {
	case h.opts.MAC && h.certificate != "":
		args = append(args, "--set", "listeners."+signedListener+".tls=mutual")
	case h.certificate != "":
		args = append(args, "--set", "listeners.pos.tls=mutual", "--set", "listeners.host.tls=mutual")
	}
	began := h.opts.Clock()
	child, err := h.opts.Program.start(ctx, name, filepath.Join(h.dir, name+".log"), nil, args...)
	if err != nil {
		return nil, err
	}
	d := &daemon{Child: child, client: app.NewClient(socket)}
	status, err := d.ready(ctx)
	if err != nil {
		return nil, errors.Join(err, d.kill())
	}
	d.opening = h.opts.Clock().Sub(began)
	d.address, d.signed, d.http = status.Listeners[h.opts.Dialect], status.Listeners[signedListener], status.HTTP
	return d, nil
}

// ready waits until the switch takes requests.
func (d *daemon) ready(ctx context.Context) (app.Status, error) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if status, err := d.client.Status(ctx); err == nil && status.Ready {
			return status, nil
		}
		select {
		case <-d.ended():
			return app.Status{}, d.failure()
		case <-ctx.Done():
			return app.Status{}, fmt.Errorf("bench: %s is not ready: %w", d.name, ctx.Err())
		case <-tick.C:
		}
	}
}

// progress is how many records a switch has written, in how many groups, and how
// many of them are not in the index of statements yet.
type progress struct{ records, groups, behind float64 }

// progress reads it; an echo has none.
func (d *daemon) progress(ctx context.Context) (progress, error) {
	if d.http == "" {
		return progress{}, nil
	}
	figures, err := app.Figures(ctx, d.http)
	return progress{
		figures["lianfen_ledger_group_records_sum"], figures["lianfen_ledger_group_records_count"], figures["lianfen_ledger_projection_lag_records"],
	}, err
}

// rest waits until the index of statements has caught up, so that no line is slowed
// by what the one before it left behind.
func (d *daemon) rest(ctx context.Context) (progress, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		now, err := d.progress(ctx)
		if err != nil || now.behind == 0 {
			return now, err
		}
		select {
		case <-tick.C:
		case <-d.ended():
			return now, d.failure()
		case <-ctx.Done():
			return now, fmt.Errorf("bench: %s: %w", d.name, ctx.Err())
		}
	}
}

// echo starts an echo.
func (h *house) echo(ctx context.Context) (*daemon, error) {
	return h.listening(ctx, "echo", "bench", "reflect")
}

// listening starts a child that answers on a listening socket. It inherits the socket,
// so that connections are taken from the first moment on.
func (h *house) listening(ctx context.Context, name string, args ...string) (*daemon, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("bench: %s: %w", name, err)
	}
	defer func() { _ = ln.Close() }() // The child has its own.
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		return nil, fmt.Errorf("bench: %s: a listener of type %T", name, ln)
	}
	file, err := tcp.File()
	if err != nil {
		return nil, fmt.Errorf("bench: %s: %w", name, err)
	}
	defer func() { _ = file.Close() }() // As above.
	child, err := h.opts.Program.start(ctx, name, filepath.Join(h.dir, name+".log"), file, args...)
	if err != nil {
		return nil, err
	}
	return &daemon{Child: child, address: ln.Addr().String()}, nil
}

// generate sends load to d and returns what the generator saw; anything that was
// declined or not answered is an error, unless the load tolerates it.
func (h *house) generate(ctx context.Context, d *daemon, load Load) (Loaded, error) {
	load.Address, load.Dialect, load.Server = d.address, h.opts.Dialect, d.PID()
	if load.Accounts == 0 {
		load.Accounts = h.opts.Accounts
	}
	if load.Keys != "" {
		load.Address, load.MACBy = d.signed, h.opts.MACBy
	}
	if h.certificate != "" && d.http != "" && (load.Keys != "" || !h.opts.MAC) {
		load.Certificate, load.Trust = h.certificate, h.trust()
	}
	load.WarmUp = h.opts.Duration / 5
	if load.Duration == 0 {
		load.Duration = h.opts.Duration
	}
	load.First, load.Base = h.next, h.base
	h.runs++
	load.Seed = uint64(h.runs) //nolint:gosec // counts from 1.
	if load.Answers != "" {
		load.Answers = filepath.Join(h.dir, fmt.Sprintf("answers-%03d", h.runs))
	}
	var seen Loaded
	if err := h.opts.Program.ask(ctx, "generator", load, &seen, "bench", "generate"); err != nil {
		select {
		case <-d.ended():
			err = errors.Join(err, d.failure())
		default:
		}
		return seen, err
	}
	h.next = seen.Next
	if !load.Tolerant && (len(seen.Declined) > 0 || seen.Unanswered > 0) {
		return seen, fmt.Errorf("bench: %s: declined, by DE39: %v; %d unanswered", d.name, seen.Declined, seen.Unanswered)
	}
	if seen.Answered == 0 {
		return seen, fmt.Errorf("bench: %s answered nothing", d.name)
	}
	return seen, nil
}

// check holds all answers against the journal, which nobody serves any more.
func (h *house) check(ctx context.Context) (t Tally, err error) {
	answers := newAnswers(h.opts.Dialect == string(config.DialectHost))
	files, err := filepath.Glob(filepath.Join(h.dir, "answers-*"))
	if err != nil {
		return t, fmt.Errorf("bench: %w", err)
	}
	for _, file := range files {
		if err := answers.add(file); err != nil {
			return t, err
		}
	}
	db, err := store.Open(store.Options{Dir: filepath.Join(h.dir, config.Default().Data), ReadOnly: true})
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	archive, err := ledger.OpenArchive(db)
	if err != nil {
		return t, err
	}
	return CheckJournal(ctx, archive, h.end+1, answers)
}
