package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement"
	"github.com/lianfen/lianfen/settlement/delivery"
	"github.com/lianfen/lianfen/settlement/files"
	"github.com/lianfen/lianfen/tariff"
)

// FetchFolder is where members that fetch find their files, below the folder of the store.
const FetchFolder = "settlement/fetch"

// How often deliveries are looked at, and how seldom at most a member is asked for an
// acknowledgement; a session that cannot be opened in dialFor is given up.
const (
	deliverLook = time.Second
	askFor      = 5 * time.Minute
	dialFor     = 20 * time.Second
)

// deliveries are the ways of file sets to members.
type deliveries struct {
	dispatch *delivery.Dispatch
	server   *delivery.Server         // nil: nobody fetches
	listener net.Listener             // of server
	problems atomic.Pointer[[]string] // with files of keys that are ignored
}

// openDeliveries opens the ways that the configuration has.
func (a *App) openDeliveries(ctx context.Context) error {
	c := &a.opts.Config.Courier
	ways, problems, err := a.ways(ctx, c)
	if err != nil {
		return err
	}
	if a.deliveries.dispatch, err = delivery.NewDispatch(delivery.DispatchOptions{
		Runs: filepath.Join(a.opts.Config.Data, SettlementFolder), Shelf: filepath.Join(a.opts.Config.Data, FetchFolder),
		Sets: a.publishedSets, Confirm: a.confirmRun, Due: a.ackDue,
		Courier: ways.Courier, Targets: ways.Targets, Broken: ways.Broken, Fetches: ways.Fetches,
		Clock: a.opts.Clock, Look: deliverLook, Asks: askFor, Log: a.log, Registry: a.registry,
	}); err != nil {
		return err
	}
	a.noteProblems(&ways, problems)
	if c.Fetch.Address == "" {
		return nil
	}
	return a.openFetch(ctx, &c.Fetch)
}

// ways reads the ways to members that a configuration has. What is wrong with one member's
// files stops no other's, nor the switch: nothing is carried to it until that is mended, and
// a file of keys that is no use is ignored and among the problems.
func (a *App) ways(ctx context.Context, c *config.Courier) (ways delivery.Ways, problems []string, err error) {
	ways = delivery.Ways{Targets: make(map[tariff.Member]delivery.Target, len(c.Deliveries)), Broken: make(map[tariff.Member]string)}
	dials := make(map[tariff.Member]delivery.Dial, len(c.Deliveries))
	for i := range c.Deliveries {
		target, dial, err := wayTo(&c.Deliveries[i])
		if err != nil {
			ways.Broken[target.Member] = err.Error() + "; mend it, then: lianfen admin reload"
		}
		ways.Targets[target.Member], dials[target.Member] = target, dial
	}
	if ways.Courier, err = delivery.NewCourier(delivery.DialEach(dials), delivery.DefaultPace()); err != nil {
		return ways, nil, err
	}
	if c.Fetch.Address != "" {
		ways.Fetches, problems, err = a.fetching(ctx, c.Fetch.Keys)
	}
	return ways, problems, err
}

// noteProblems keeps what is wrong with ways, and logs it.
func (a *App) noteProblems(ways *delivery.Ways, problems []string) {
	a.deliveries.problems.Store(&problems)
	for _, m := range slices.Sorted(maps.Keys(ways.Broken)) {
		a.log.Warn("nothing is carried to a member", slog.String("member", m.String()), slog.String("problem", ways.Broken[m]))
	}
	for _, problem := range problems {
		a.log.Warn("file of a member's keys is ignored", slog.String("problem", problem))
	}
}

// deliveryWarnings tell of what is wrong with deliveries.
func (a *App) deliveryWarnings() []string {
	return append(a.deliveries.dispatch.Warnings(), *a.deliveries.problems.Load()...)
}

// wayTo is the way to a member's own server.
func wayTo(d *config.Delivery) (target delivery.Target, dial delivery.Dial, err error) {
	target = delivery.Target{Member: tariff.Member(d.Member), Address: d.Address, User: d.User, Folder: d.Folder} //nolint:gosec // eight digits.
	key, err := readSigner(d.IdentityFile)
	if err != nil {
		return target, nil, fmt.Errorf("settlement.delivery.%v.key: %w", target.Member, err)
	}
	err = certs.Regular(d.KnownHosts, certs.MaxFile)
	var hosts ssh.HostKeyCallback
	if err == nil {
		hosts, err = delivery.KnownHosts(d.KnownHosts)
	}
	if err != nil {
		return target, nil, fmt.Errorf("settlement.delivery.%v.known_hosts: %w", target.Member, err)
	}
	return target, delivery.DialSSH(key, hosts, dialFor), nil
}

// keySuffix ends the name of a file of public keys.
const keySuffix = ".pub"

// fetching lists the members that have keys, and the files in the folder that are ignored.
func (a *App) fetching(ctx context.Context, folder string) (members []tariff.Member, problems []string, err error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, nil, fmt.Errorf("settlement.fetch_keys: %w", err)
	}
	registered := make(map[tariff.Member]bool)
	if err := a.ledger.View(ctx, func(b *book.Book) error {
		for id := range b.Registry().Issuers {
			if m, err := tariff.MemberOf(id); err == nil {
				registered[m] = true
			}
		}
		for id := range b.Registry().Acquirers {
			if m, err := tariff.MemberOf(id); err == nil {
				registered[m] = true
			}
		}
		return nil
	}); err != nil {
		return nil, nil, err
	}
	for _, e := range entries {
		digits, isKeys := strings.CutSuffix(e.Name(), keySuffix)
		n, err := strconv.ParseUint(digits, 10, 32)
		m := tariff.Member(n)
		path := filepath.Join(folder, e.Name())
		problem := ""
		switch {
		case !isKeys || err != nil || len(digits) != 8 || !m.Institution():
			problem = "is no file of a member's keys; want names such as 20000001" + keySuffix + ", and nothing else there"
		case !registered[m]:
			problem = fmt.Sprintf("no issuer or acquirer %v is registered; once one is (lianfen admin load) it fetches", m)
		default:
			problem = unreadable(path)
		}
		if problem != "" {
			problems = append(problems, fmt.Sprintf("settlement.fetch_keys: %s is ignored: %s", path, problem))
			continue
		}
		members = append(members, m)
	}
	return members, problems, nil
}

// unreadable says why a file holds no public keys; empty: it does.
func unreadable(path string) string {
	text, err := certs.ReadRegular(path, certs.MaxFile)
	if err == nil {
		_, err = files.ParseKeys(text)
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// openFetch opens the server at which members fetch.
func (a *App) openFetch(ctx context.Context, c *config.Fetch) error {
	host, err := readSigner(c.IdentityFile)
	if err != nil {
		return fmt.Errorf("settlement.fetch_host_key: %w", err)
	}
	accounts, err := a.fetchAccounts(c)
	if err != nil {
		return err
	}
	if a.deliveries.server, err = delivery.NewServer(host, accounts, delivery.DefaultLimits(), a.deliveries.dispatch.Hears(), a.log); err != nil {
		return err
	}
	if a.deliveries.listener, err = new(net.ListenConfig).Listen(ctx, "tcp", c.Address); err != nil {
		return taken(fmt.Errorf("settlement: listen on %s: %w", c.Address, err), "settlement.fetch_address")
	}
	return nil
}

// fetchAccounts reads the keys of the members that fetch. Whose file is gone has none.
func (a *App) fetchAccounts(c *config.Fetch) ([]delivery.Account, error) {
	accounts, err := a.deliveries.dispatch.Accounts(func(m tariff.Member) ([]byte, error) {
		text, err := certs.ReadRegular(filepath.Join(c.Keys, m.String()+keySuffix), certs.MaxFile)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return text, err
	})
	if err != nil {
		return nil, fmt.Errorf("settlement.fetch_keys: %w", err)
	}
	return accounts, nil
}

// reloadDeliveries puts other ways in force, and cuts off who is connected with a key that
// is gone. Where nobody fetched at the start nobody does now.
func (a *App) reloadDeliveries(c *config.Courier, ways delivery.Ways, problems []string) (closed int, err error) {
	if a.deliveries.server == nil {
		ways.Fetches = nil
	}
	if err := a.deliveries.dispatch.Redirect(ways); err != nil {
		return 0, err
	}
	a.noteProblems(&ways, problems)
	if a.deliveries.server == nil {
		return 0, nil
	}
	accounts, err := a.fetchAccounts(&c.Fetch)
	if err != nil {
		return 0, err
	}
	return a.deliveries.server.Renew(accounts)
}

// takeUpMembers looks again at files of keys that were ignored, since the directory has
// changed: a member whose file was there before the member fetches from now on.
func (a *App) takeUpMembers(ctx context.Context) {
	if len(*a.deliveries.problems.Load()) == 0 {
		return
	}
	a.reloading.Lock()
	defer a.reloading.Unlock()
	c := &a.current.Courier
	ways, problems, err := a.ways(ctx, c)
	if err == nil {
		_, err = a.reloadDeliveries(c, ways, problems)
	}
	if err != nil {
		a.log.Warn("members that fetch were not looked at again; lianfen admin reload does", slog.String("error", err.Error()))
	}
}

// FetchAddress is the address at which members fetch, nil when there is none.
func (a *App) FetchAddress() net.Addr {
	if a.deliveries.listener == nil {
		return nil
	}
	return a.deliveries.listener.Addr()
}

// keepDeliveries delivers until ctx ends.
func (a *App) keepDeliveries(ctx context.Context) error { return a.deliveries.dispatch.Run(ctx) }

// keepFetch serves members that fetch until ctx ends.
func (a *App) keepFetch(ctx context.Context) error {
	if a.deliveries.server == nil {
		return nil
	}
	a.log.Info("listening", slog.String("listener", "settlement"), slog.String("address", a.deliveries.listener.Addr().String()))
	return a.deliveries.server.Serve(ctx, a.deliveries.listener)
}

// publishedSets are the published runs as deliveries see them.
func (a *App) publishedSets() ([]delivery.Set, error) {
	runs, err := a.settlement.Runs()
	if err != nil {
		return nil, err
	}
	var sets []delivery.Set
	for _, run := range runs {
		if run.State != settlement.Published && run.State != settlement.Confirmed {
			continue
		}
		set := delivery.Set{
			Run: run.ID, Date: run.Cut.Date, Cycle: run.Cut.Cycle, Folder: a.settlement.Folder(run), Manifest: run.Manifest, Confirmed: run.State == settlement.Confirmed,
		}
		for _, stage := range run.Stages {
			if stage.State == settlement.Published {
				set.Published = stage.At
			}
		}
		sets = append(sets, set)
	}
	return sets, nil
}

// confirmRun notes that every member has acknowledged a run.
func (a *App) confirmRun(id string) error {
	run, err := a.settlement.Load(id)
	if err != nil || run.State == settlement.Confirmed {
		return err
	}
	return a.settlement.Confirm(run, settlement.Order{At: a.opts.Clock(), By: "members"}, "every member has acknowledged its files")
}

// ackDue is when acknowledgements have to be there of what was published at a moment: the
// next time that the clock shows it. Where nothing is carried or fetched nobody is waited
// for: 0.
func (a *App) ackDue(published points.Timestamp) points.Timestamp {
	planned := a.planned.Load()
	if len(planned.ackBy) == 0 || !planned.waits {
		return 0
	}
	day := points.DateOf(published.Time().In(a.zone))
	if due := planned.instant(day, planned.ackBy[0]); due > published {
		return due
	}
	return planned.instant(day.AddDays(1), planned.ackBy[0])
}

// settleDeliveries lists deliveries: of a run, of a cycle, or of all that are open.
func (a *App) settleDeliveries(ctx context.Context, ask SettleAsk) ([]delivery.Row, error) {
	if err := a.deliveries.dispatch.Refresh(); err != nil {
		return nil, err
	}
	if ask.Run == "" && ask.Date == 0 {
		return a.deliveries.dispatch.Rows(""), nil
	}
	run, err := a.runAsked(ctx, &ask)
	if err != nil {
		return nil, err
	}
	return a.deliveries.dispatch.Rows(run.ID), nil
}

// DeliveredAsk tells that files were given by hand: to a member, or to all of a run's.
type DeliveredAsk struct {
	SettleAsk
	// Member is who was given its set; 0: all were, and have taken it in, as Note says.
	Member tariff.Member `json:"member,omitempty"`
	// Ack is what the member has said of its SHA256SUMS; empty: nothing yet.
	Ack string `json:"ack,omitempty"`
}

// DeliveredBy is what came of it.
type DeliveredBy struct {
	Run  *settlement.Run `json:"run"`
	Slip *delivery.Slip  `json:"delivery,omitempty"` // of the member; nil: of the whole run
}

// settleDelivered enters a delivery by hand: a note in the journal, and the state of the
// set, or of the run.
func (a *App) settleDelivered(ctx context.Context, ask DeliveredAsk) (DeliveredBy, error) {
	order, err := a.order(ctx, &ask.SettleAsk)
	if err != nil {
		return DeliveredBy{}, err
	}
	run, err := a.runDelivered(ctx, &ask.SettleAsk)
	if err != nil {
		return DeliveredBy{}, err
	}
	if err := a.deliveries.dispatch.Refresh(); err != nil {
		return DeliveredBy{}, err
	}
	if ask.Member == 0 {
		return a.allDelivered(ctx, run, order, ask.Note)
	}
	var ack *delivery.Ack
	note := fmt.Sprintf("settlement run %s delivered to %v by hand", run.ID, ask.Member)
	if ask.Ack != "" {
		said, err := delivery.ParseAck(strings.NewReader(ask.Ack))
		if err != nil {
			return DeliveredBy{}, points.Errorf(points.FormatError, "settle delivered: %w", err)
		}
		ack, note = &said, note+", acknowledged "+said.String()
	}
	if err := a.deliveries.dispatch.CanByHand(run.ID, ask.Member, ack); err != nil {
		return DeliveredBy{}, err
	}
	if err := a.noteDelivered(ctx, order, note); err != nil {
		return DeliveredBy{}, err
	}
	slip, err := a.deliveries.dispatch.ByHand(run.ID, ask.Member, order.By, ack)
	return DeliveredBy{run, slip}, err
}

// runDelivered is the run that is asked for; when nothing is named, the last published one.
func (a *App) runDelivered(ctx context.Context, ask *SettleAsk) (*settlement.Run, error) {
	if ask.Run != "" || ask.Date != 0 {
		return a.runAsked(ctx, ask)
	}
	runs, err := a.settlement.Runs()
	for _, run := range slices.Backward(runs) {
		if run.State == settlement.Published || run.State == settlement.Confirmed {
			return run, err
		}
	}
	return nil, errors.Join(err, points.Errorf(points.UnknownOriginal, "settle delivered: no run is published yet"))
}

// allDelivered confirms a run by somebody's word.
func (a *App) allDelivered(ctx context.Context, run *settlement.Run, order settlement.Order, why string) (DeliveredBy, error) {
	if run.State != settlement.Published {
		return DeliveredBy{}, points.Errorf(points.NotPermitted, "settlement run %s is %v; what is delivered is PUBLISHED", run.ID, run.State)
	}
	if why == "" {
		return DeliveredBy{}, points.Errorf(points.FormatError, "settle delivered: name the member that was given its files, or say in a note why all of them have theirs")
	}
	if err := a.noteDelivered(ctx, order, fmt.Sprintf("settlement run %s delivered to all members: %s", run.ID, why)); err != nil {
		return DeliveredBy{}, err
	}
	return DeliveredBy{Run: run}, a.settlement.Confirm(run, order, why)
}

// noteDelivered writes down who says so.
func (a *App) noteDelivered(ctx context.Context, order settlement.Order, note string) error {
	cmd := book.Command{Kind: book.KindNote, At: order.At, Operator: order.By, Act: book.ActHouse, Note: note}
	_, err := a.do(ctx, "settle delivered", &cmd)
	return err
}

// SettleDeliveries lists the deliveries of a run, or of all runs that are open.
func (c *Client) SettleDeliveries(ctx context.Context, ask SettleAsk) (rows []delivery.Row, err error) {
	return rows, c.call(ctx, http.MethodPost, "settle/deliveries", ask, &rows)
}

// SettleDelivered enters a delivery by hand.
func (c *Client) SettleDelivered(ctx context.Context, ask DeliveredAsk) (done DeliveredBy, err error) {
	return done, c.call(ctx, http.MethodPost, "settle/delivered", ask, &done)
}
