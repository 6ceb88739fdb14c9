package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/exchange"
	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/router"
	"github.com/lianfen/lianfen/settlement"
	pointswitch "github.com/lianfen/lianfen/switch"
	"github.com/lianfen/lianfen/switch/dialect"
	"github.com/lianfen/lianfen/switch/link"
)

// Options of a process, beside its configuration.
type Options struct {
	Config  config.Config
	Version string
	Log     *slog.Logger
	Clock   points.Clock
	// Volatile keeps what is written in memory: the switch starts on a copy of its
	// store and all that it answered is gone at its end. It is there to measure what
	// the disk costs, and no configuration can ask for it.
	Volatile bool
	// Progress hears how recovery gets on; nil: nobody listens.
	Progress func(done, total uint64)
	// Reread reads the configuration again, for a reload; nil: there is none.
	Reread func() (config.Config, error)
	// Level is the least that Log logs; a reload changes it. nil: it stays.
	Level *slog.LevelVar
	// Hangups ask for a reload; nil: nobody does.
	Hangups <-chan os.Signal
}

// App is the process. Make one with [New], then [App.Run] it.
type App struct {
	opts Options
	log  *slog.Logger
	zone *time.Location
	// reconciling guards the folders of comparisons.
	reconciling sync.Mutex
	planned     atomic.Pointer[plan]
	registry    *prometheus.Registry
	key         *certs.CardKey
	keystore    *certs.Keystore // nil: there is none
	keysNoted   atomic.Uint64   // the generation of the keystore that the journal knows, as far as was looked
	kek         certs.KEK
	ledger      *ledger.Ledger
	swaps       *exchange.Desk
	projection  *ledger.Projection
	clearing    *settlement.House // the ledger, as a run sees it
	settlement  *settlement.Runner
	deliveries  deliveries
	router      *router.Router
	issuers     *pointswitch.Issuers
	zones       *pointswitch.Zones // nil: keys are shared with nobody
	sw          *pointswitch.Switch
	listeners   []listener
	entrances   []listener // where issuers' hosts dial us
	desk        *desk
	admin       net.Listener
	remote      net.Listener // the same door over TLS; nil: there is none
	web         net.Listener
	gate        *certs.Gate      // nil: nothing speaks TLS
	authority   *certs.Authority // nil: there is none here
	enrolling   tries
	noting      sync.Mutex // of the register of certificates, into the journal
	ready       readiness

	reloading   sync.Mutex // one reload at a time; guards what follows from Run on
	linkMetrics map[string]*link.Metrics
	current     config.Config // that was read last; what needs a restart is in force as opts has it
}

// listener is one open ISO 8583 door.
type listener struct {
	name   string
	server *link.Server
}

// New opens everything that a process needs, in dependency order: key, store and
// ledger (which recovers), router, switch, doors. Nothing is served before Run.
// When it fails, what it had opened is closed again.
func New(ctx context.Context, opts Options) (_ *App, err error) {
	a := &App{opts: opts, current: opts.Config, log: opts.Log, registry: prometheus.NewRegistry(), router: new(router.Router), linkMetrics: make(map[string]*link.Metrics)}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.abandon(ctx))
		}
	}()
	a.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if a.zone, err = opts.Config.Location(); err != nil {
		return nil, err
	}
	if err := readable(&opts.Config); err != nil {
		return nil, err
	}
	planned, err := a.planOf(&opts.Config)
	if err != nil {
		return nil, err
	}
	a.planned.Store(planned)
	if a.key, err = certs.ReadCardKey(opts.Config.CardKey); err != nil {
		return nil, err
	}
	if err := errors.Join(a.openGate(), a.openKeys(), ownFolder(opts.Config.Data)); err != nil {
		return nil, err
	}
	if err := a.openLedger(ctx); err != nil {
		return nil, err
	}
	if err := errors.Join(a.accountKeys(ctx), a.accountRegister(ctx)); err != nil {
		return nil, err
	}
	if a.projection, err = ledger.OpenProjection(ctx, a.ledger, ledger.ProjectionOptions{Log: a.log, Registerer: a.registry}); err != nil {
		return nil, err
	}
	if err := a.refresh(ctx); err != nil {
		return nil, err
	}
	if err := a.openSettlement(); err != nil {
		return nil, err
	}
	if err := a.openDeliveries(ctx); err != nil {
		return nil, err
	}
	if err := a.openZones(); err != nil {
		return nil, err
	}
	if err := a.openIssuers(ctx); err != nil {
		return nil, err
	}
	if err := a.openSwitch(ctx); err != nil {
		return nil, err
	}
	if err := a.openDesk(ctx); err != nil {
		return nil, err
	}
	if a.web, err = new(net.ListenConfig).Listen(ctx, "tcp", opts.Config.HTTP.Address); err != nil {
		return nil, taken(fmt.Errorf("http: listen on %s: %w", opts.Config.HTTP.Address, err), "http.address")
	}
	if _, err = a.cutDue(ctx); err != nil { // What was missed, before anybody is served.
		return nil, fmt.Errorf("cut-overs that were missed: %w", err)
	}
	return a, nil
}

// readable sees that the files which a configuration names, and which are there, can be read
// to their end. What is missing is told better by who reads it, and so is what is wrong with
// the files of one member's delivery: those stop nobody else's.
func readable(c *config.Config) error {
	var errs []error
	for _, f := range c.Files() {
		if err := certs.Regular(f.Path, maxNamed); err != nil && !errors.Is(err, fs.ErrNotExist) && !f.Member {
			errs = append(errs, fmt.Errorf("%s: %w", f.Setting, err))
		}
	}
	return errors.Join(errs...)
}

// maxNamed bounds any file that a configuration names; those of keys and certificates have
// bounds of their own. It is the largest keystore, or ten million refused cards.
const maxNamed = 256 << 20

// ownFolder checks that nobody but its owner can look into the folder of the store; that
// there is none is told better by who opens it.
func ownFolder(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if open := info.Mode().Perm() & 0o077; open != 0 {
		return fmt.Errorf("store %s: mode %v lets others look into it; run: chmod 700 %s", path, info.Mode().Perm(), path)
	}
	return nil
}

// openDesk opens the doors of the operators.
func (a *App) openDesk(ctx context.Context) (err error) {
	c := a.opts.Config.Admin
	a.desk = newDesk(c, a.opts.Clock, a.key.Operators(), a.registry)
	if a.admin, err = listenAdmin(ctx, c.Socket, c.Access); err != nil {
		return err
	}
	return a.listenRemoteAdmin(ctx)
}

// taken says what to do about an address at which somebody listens already; key of the
// configuration is where it stands.
func taken(err error, key string) error {
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%w; another process listens there: stop it, or give %s another address", err, key)
	}
	return err
}

func (a *App) openLedger(ctx context.Context) error {
	c := &a.opts.Config
	db, err := store.Open(store.Options{
		Dir: c.Data, BlockCacheMB: c.Ledger.BlockCacheMB, Volatile: a.opts.Volatile, Log: a.log, Registerer: a.registry,
	})
	if err != nil {
		return err
	}
	if err := a.checkKey(db); err != nil {
		return errors.Join(err, db.Close())
	}
	now := a.opts.Clock()
	a.ledger, err = ledger.Open(ctx, ledger.Options{
		Store: db, Accounts: c.Ledger.CacheAccounts, Queue: c.Ledger.Queue, GroupMax: c.Ledger.GroupMax,
		GroupsInFlight: c.Ledger.GroupsInFlight, CheckpointEvery: c.Ledger.CheckpointEvery, CheckpointInterval: c.Ledger.CheckpointInterval,
		Genesis: points.DateOf(now.Time().In(a.zone)), GenesisAt: now, TraceDays: uint8(c.Ledger.TraceDays), //nolint:gosec // 2 to 31.
		Progress: a.opts.Progress, Log: a.log, Registerer: a.registry,
	})
	if err != nil {
		return errors.Join(err, db.Close())
	}
	return nil
}

// ErrOtherKey says that the card key is not the one that the store's cards are
// under: every card would be declined, and loading them again would double them.
var ErrOtherKey = errors.New("app: this is not the card key of this store; put the right card.key back")

// checkKey holds the card key against the store's check value, which the first
// start writes.
func (a *App) checkKey(db *store.Store) error {
	value := a.key.CheckValue()
	known, ok, err := db.Get(nil, store.KeyCheck, nil)
	if err != nil {
		return err
	}
	if ok {
		if !bytes.Equal(known, value[:]) {
			return fmt.Errorf("%w (%s)", ErrOtherKey, a.opts.Config.CardKey)
		}
		return nil
	}
	batch, err := db.Start(store.KeyCheck, nil, value[:])
	if err != nil {
		return err
	}
	return batch.Wait()
}

func (a *App) openSwitch(ctx context.Context) error {
	c := &a.opts.Config
	sw, err := pointswitch.New(pointswitch.Options{
		Ledger: a.ledger, Router: a.router, CardKey: a.key, Clock: a.opts.Clock, Location: a.zone, Issuers: a.issuers,
		Keystore: a.keystore, Zones: a.zones, MACErrors: c.Keys.MACErrors,
		Parameters:   a.parameters(c.Terminals),
		Participants: pointswitch.Rate{PerSecond: c.Switch.ParticipantRate}, Own: ratesOf(c.Switch.ParticipantRates),
		ShedTarget: c.Switch.ShedTarget, ShedInterval: c.Switch.ShedInterval,
		FreshnessAhead: c.Switch.FreshnessAhead, FreshnessBehind: c.Switch.FreshnessBehind,
		BadFrames: c.Switch.BadFramesPerMinute, LogEvery: c.Log.Sample, Log: a.log, Registerer: a.registry,
	})
	if err != nil {
		return err
	}
	a.sw = sw
	if err := sw.Restore(ctx); err != nil {
		return err
	}
	connections := 0
	for _, l := range c.Listeners {
		connections += l.MaxConnections
	}
	if err := enoughDescriptors(connections); err != nil {
		a.log.Warn("connections beyond the limit of open files will be refused", slog.String("error", err.Error()))
	}
	for _, l := range c.Listeners {
		spoken, err := dialect.ByName(string(l.Dialect))
		if err != nil {
			return err
		}
		door := points.DoorTerminal
		if l.Dialect == config.DialectHost {
			door = points.DoorHost
		}
		metrics, err := link.NewMetrics(a.registry, l.Name)
		if err != nil {
			return err
		}
		opts, err := a.behindGate(link.Options{
			MaxFrame: l.MaxFrame, MaxInFlight: l.MaxInFlight, MaxConnections: l.MaxConnections, Idle: l.IdleTimeout, Metrics: metrics, Log: a.log,
			MaxPerSource: l.MaxPerSource, MaxPerIdentity: l.MaxPerIdentity, FirstFrame: min(l.FirstFrame, l.IdleTimeout),
		}, c.ListenerTLS(&l), l.Identity, certs.RoleAcquirer, certs.RoleTerminal)
		if err != nil {
			return fmt.Errorf("listener %s: %w", l.Name, err)
		}
		server, err := link.Listen(ctx, l.Address, opts, sw.Listener(l.Name, spoken, door, pointswitch.Rate{PerSecond: l.Rate, Burst: l.Burst}))
		if err != nil {
			return taken(fmt.Errorf("listener %s: %w", l.Name, err), "listeners."+l.Name+".address")
		}
		a.listeners = append(a.listeners, listener{l.Name, server})
	}
	return nil
}

// ratesOf are the rates that acquirers have of their own.
func ratesOf(rates []config.ParticipantRate) map[points.AcquirerID]pointswitch.Rate {
	own := make(map[points.AcquirerID]pointswitch.Rate, len(rates))
	for _, r := range rates {
		own[points.AcquirerID(r.Acquirer)] = pointswitch.Rate{PerSecond: r.PerSecond}
	}
	return own
}

// Address returns the address of the listener called name, nil when there is none.
func (a *App) Address(name string) net.Addr {
	for _, l := range a.listeners {
		if l.name == name {
			return l.server.Addr()
		}
	}
	return nil
}

// HTTPAddress returns the address of the metrics and health door.
func (a *App) HTTPAddress() net.Addr { return a.web.Addr() }

// AdminAddress returns the address of the operators' door over TLS, nil when there is none.
func (a *App) AdminAddress() net.Addr {
	if a.remote == nil {
		return nil
	}
	return a.remote.Addr()
}

// serveDoors serves the HTTP doors.
func (a *App) serveDoors(ctx context.Context, group *errgroup.Group) []*http.Server {
	admin := a.adminHandler(ctx)
	servers := []*http.Server{a.serveHTTP(group, a.admin, admin, nil)}
	if a.remote != nil {
		servers = append(servers, a.serveHTTP(group, a.remote, a.identified(admin), a.gate.Server(false, certs.RoleOperator)))
	}
	if !a.opts.Config.HTTPTLS() {
		return append(servers, a.serveHTTP(group, a.web, a.webHandler(), nil))
	}
	// Whoever renews may be anybody who has a certificate.
	everybody := a.gate.Server(true, certs.RoleOperator, certs.RoleTerminal, certs.RoleAcquirer, certs.RoleIssuer, certs.RoleSwitch)
	return append(servers, a.serveHTTP(group, a.web, a.identified(a.webHandler()), everybody))
}

// Run serves until ctx ends, then drains: no new connections or frames, what is
// in flight is answered, the ledger writes a checkpoint and closes. It returns
// nil after an orderly stop, and the fault that stopped it otherwise.
func (a *App) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	servers := a.serveDoors(ctx, group)
	// The links outlive the listeners, whose last requests they carry.
	linked, unlink := context.WithCancel(context.WithoutCancel(ctx))
	defer unlink()
	group.Go(func() error { return a.issuers.Run(linked) })
	for _, l := range slices.Concat(a.entrances, a.listeners) {
		group.Go(func() error {
			if err := l.server.Serve(ctx); err != nil {
				return fmt.Errorf("listener %s: %w", l.name, err)
			}
			return nil
		})
		a.log.Info("listening", slog.String("listener", l.name), slog.String("address", l.server.Addr().String()))
	}
	a.log.Info("serving", slog.String("version", a.opts.Version), slog.String("http", a.web.Addr().String()), slog.String("admin", a.admin.Addr().String()))
	if err := a.warnAlone(ctx); err != nil {
		a.log.Error("policy", slog.String("error", err.Error()))
	}
	a.ready.set(true)
	group.Go(func() error {
		select {
		case <-a.ledger.Failed():
			return a.ledger.Err()
		case <-ctx.Done():
			return nil
		}
	})
	group.Go(func() error { return a.keepDates(ctx) })
	group.Go(func() error { return a.keepNights(ctx) })
	group.Go(func() error { return a.keepSwaps(ctx) })
	group.Go(func() error { return a.keepDeliveries(ctx) })
	group.Go(func() error { return a.keepFetch(ctx) })
	group.Go(func() error { return a.heedHangups(ctx) })
	group.Go(func() error { return a.heedGate(ctx) })
	group.Go(func() error { return a.noteKeys(ctx) })
	<-ctx.Done()
	a.ready.set(false)
	a.log.Info("draining", slog.Duration("for_at_most", a.opts.Config.Switch.DrainTimeout))
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.opts.Config.Switch.DrainTimeout)
	defer cancel()
	stopErr := a.stop(stopCtx, servers, unlink)
	err := errors.Join(group.Wait(), stopErr)
	if err == nil {
		a.log.Info("stopped", slog.Uint64("position", uint64(a.ledger.Durable())))
	}
	return err
}

// stop closes the doors, then what is behind them.
func (a *App) stop(ctx context.Context, servers []*http.Server, unlink func()) error {
	errs := []error{shutdown(ctx, a.listeners)}
	unlink()
	errs = append(errs, shutdown(ctx, a.entrances))
	for _, server := range servers {
		if err := server.Shutdown(ctx); err != nil {
			errs = append(errs, fmt.Errorf("http: drain: %w", err))
		}
	}
	a.noteExchanges(ctx) // What partners have changed to the last.
	a.projection.Close()
	return errors.Join(append(errs, a.ledger.Close(ctx), a.closeKeys())...)
}

func shutdown(ctx context.Context, listeners []listener) error {
	var drains errgroup.Group
	for _, l := range listeners {
		drains.Go(func() error {
			if err := l.server.Shutdown(ctx); err != nil {
				return fmt.Errorf("listener %s: drain: %w", l.name, err)
			}
			return nil
		})
	}
	return drains.Wait()
}

// abandon closes what New had opened before it failed.
func (a *App) abandon(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.opts.Config.Switch.DrainTimeout)
	defer cancel()
	var errs []error
	for _, l := range slices.Concat(a.listeners, a.entrances) {
		errs = append(errs, l.server.Shutdown(ctx))
	}
	for _, l := range []net.Listener{a.admin, a.remote, a.web, a.deliveries.listener} {
		if l != nil {
			errs = append(errs, l.Close())
		}
	}
	if a.projection != nil {
		a.projection.Close()
	}
	if a.ledger != nil {
		errs = append(errs, a.ledger.Close(ctx))
	}
	return errors.Join(append(errs, a.closeKeys())...)
}
