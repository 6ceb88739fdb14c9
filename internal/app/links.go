package app

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/exchange"
	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/router"
	pointswitch "github.com/lianfen/lianfen/switch"
	"github.com/lianfen/lianfen/switch/dialect"
	"github.com/lianfen/lianfen/switch/link"
)

// theirPath is the name of the path on which a host dials us.
const theirPath = "listen"

// openIssuers makes the legs to the issuers' hosts, opens the addresses where hosts dial
// us, and takes up what the last process owed them.
func (a *App) openIssuers(ctx context.Context) error {
	profiles, err := a.profiles(a.opts.Config.Links)
	if err != nil {
		return err
	}
	a.issuers, err = pointswitch.NewIssuers(pointswitch.IssuersOptions{
		Ledger: a.ledger, Router: a.router, CardKey: a.key, Dialect: dialect.Host(), Clock: a.opts.Clock,
		Zones: a.zones, Links: profiles, Log: a.log, Registerer: a.registry,
	})
	if err != nil {
		return err
	}
	a.swaps = exchange.NewRemoteDesk(a.ledger, a.opts.Clock, a.issuers)
	if err := a.swaps.Recover(ctx); err != nil {
		return err
	}
	for i := range a.opts.Config.Links {
		l := &a.opts.Config.Links[i]
		if l.Listen == "" {
			continue
		}
		opts, err := a.behindGate(a.linkOptions(l), a.opts.Config.LinkTLS(l), "", certs.RoleIssuer)
		if err != nil {
			return err
		}
		server, err := link.Listen(ctx, l.Listen, opts, a.issuers.Entrance(l.Name, theirPath))
		if err != nil {
			return taken(fmt.Errorf("link %s: %w", l.Name, err), "links."+l.Name+".listen")
		}
		a.entrances = append(a.entrances, listener{l.Name, server})
	}
	return a.issuers.Recover(ctx)
}

// profiles turns the configuration's links into what the switch is told of them.
func (a *App) profiles(links []config.Link) ([]pointswitch.LinkProfile, error) {
	profiles := make([]pointswitch.LinkProfile, len(links))
	for i := range links {
		l := &links[i]
		if a.linkMetrics[l.Name] == nil {
			metrics, err := link.NewMetrics(a.registry, "link-"+l.Name)
			if err != nil {
				return nil, err
			}
			a.linkMetrics[l.Name] = metrics
		}
		if a.opts.Config.LinkTLS(l) && a.gate == nil {
			return nil, fmt.Errorf("link %s speaks TLS and nothing did when this process began; start it anew", l.Name)
		}
		standIn, err := a.standIn(&l.StandIn)
		if err != nil {
			return nil, fmt.Errorf("link %s: %w", l.Name, err)
		}
		profiles[i] = pointswitch.LinkProfile{
			Name: l.Name, Institution: points.AcquirerID(l.Institution), Deadline: l.Deadline, MaxInFlight: l.MaxInFlight,
			SignOn: l.SignOn, EchoAfter: l.EchoAfter, EchoDeadline: l.EchoDeadline, LostEchoes: l.LostEchoes,
			Redial: l.Redial, RedialMost: l.RedialMost, Breaker: router.BreakerRules{Failures: l.BreakerFailures, Rest: l.BreakerRest},
			Retry: l.Retry, GiveUp: l.GiveUp, RetryInFlight: l.RetryInFlight, UnknownEnds: l.UnknownEnds,
			SwapGiveUp: l.SwapGiveUpAfter, SwapManual: l.SwapGiveUp == config.GiveUpManual,
			StandIn: standIn, Paths: a.paths(l),
		}
		if l.Keys != config.KeysOff {
			profiles[i].Zone, profiles[i].KeyLife = points.IssuerID(l.Zone), l.KeyLife
		}
		for _, id := range l.Issuers {
			profiles[i].Peers = append(profiles[i].Peers, points.IssuerID(id))
		}
	}
	return profiles, nil
}

// paths are the ways to a host: its addresses in their order, and behind them the one
// on which it dials us.
func (a *App) paths(l *config.Link) []pointswitch.PathProfile {
	var paths []pointswitch.PathProfile
	last := 0
	dialled := a.linkOptions(l)
	if a.opts.Config.LinkTLS(l) {
		dialled.TLS, dialled.Admit, dialled.Refused = a.gate.Client(certs.OfRole(certs.RoleIssuer)), a.gate.Admit, a.gate.Refused
	}
	for _, e := range l.Dial {
		paths = append(paths, pointswitch.PathProfile{
			Name: e.Address, Address: e.Address, Connections: l.Connections, Priority: e.Priority, Weight: e.Weight, Options: dialled,
		})
		last = max(last, e.Priority)
	}
	if l.Listen != "" {
		paths = append(paths, pointswitch.PathProfile{Name: theirPath, Priority: last + 1, Weight: 1})
	}
	return paths
}

// linkOptions bounds the connections of a link. That one is silent is noticed by its
// echoes, long before the bound here.
func (a *App) linkOptions(l *config.Link) link.Options {
	echoes := l.EchoAfter + time.Duration(l.LostEchoes+1)*l.EchoDeadline
	return link.Options{Idle: max(link.DefaultIdle, 2*echoes), Metrics: a.linkMetrics[l.Name], Log: a.log}
}

func (a *App) standIn(s *config.StandIn) (pointswitch.StandIn, error) {
	rules := pointswitch.StandIn{
		MaxAmount: points.Amount(s.MaxAmount), MaxDay: points.Amount(s.MaxDay), MaxCount: uint32(s.MaxCount), //nolint:gosec // at most 1,000,000.
		AfterTimeout: s.AfterTimeout,
	}
	for _, program := range s.Programs {
		rules.Programs = append(rules.Programs, points.ProgramID(program)) //nolint:gosec // 900 to 998.
	}
	if s.Refused == "" {
		return rules, nil
	}
	var err error
	rules.Refused, err = a.refusedCards(s.Refused)
	return rules, err
}

// refusedCards reads card numbers, one a line, and keeps their tokens.
func (a *App) refusedCards(path string) (cards map[points.CardToken]bool, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("refused cards: %w", err)
	}
	if open := info.Mode().Perm() & 0o077; open != 0 {
		return nil, fmt.Errorf("refused cards: %s has mode %v and lets others read card numbers; run: chmod 600 %s", path, info.Mode().Perm(), path)
	}
	file, err := certs.OpenRegular(path, maxNamed)
	if err != nil {
		return nil, fmt.Errorf("refused cards: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	cards = make(map[points.CardToken]bool)
	scanner := bufio.NewScanner(file)
	for line := 1; scanner.Scan(); line++ {
		text := strings.TrimSpace(scanner.Text())
		if text == "" {
			continue
		}
		pan, err := points.ParsePAN(text)
		if err != nil {
			return nil, fmt.Errorf("refused cards: %s, line %d: %w", path, line, err)
		}
		cards[a.token(pan)] = true
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("refused cards: %s: %w", path, err)
	}
	return cards, nil
}

// CertificatesReloaded says what reading certificates anew has changed.
type CertificatesReloaded struct {
	Closed int `json:"closed"` // connections whose certificates are no longer good
}

// reloadCertificates reads certificates, trust and revocations at once.
func (a *App) reloadCertificates(ctx context.Context, _ nothing) (CertificatesReloaded, error) {
	closed, err := a.reloadGate()
	return CertificatesReloaded{closed}, errors.Join(err, a.noteRegister(ctx))
}

func (a *App) links(context.Context, nothing) ([]pointswitch.LinkState, error) {
	return append([]pointswitch.LinkState{}, a.issuers.Links()...), nil // A list is never null.
}

// warnings tell of what in a directory was taken and does not work as it stands.
func (a *App) warnings(d *Directory) (all []string) {
	known := make(map[string]bool)
	for _, l := range a.issuers.Links() {
		known[l.Link] = true
	}
	for i := range a.opts.Config.Links {
		known[a.opts.Config.Links[i].Name] = true
	}
	for i := range d.Issuers {
		if e := &d.Issuers[i]; e.Link != "" && !known[e.Link] {
			all = append(all, fmt.Sprintf("issuer %d: the configuration has no link %q; until it does, its requests are answered 92", e.ID, e.Link))
		}
	}
	for i := range d.Routes {
		for _, l := range d.Routes[i].Links {
			if !known[l.Link] {
				all = append(all, fmt.Sprintf("route %s: the configuration has no link %q; nothing goes that way until it does", d.Routes[i].Prefix, l.Link))
			}
		}
	}
	table := a.router.Table()
	for i := range d.Merchants {
		var far []string
		for _, term := range d.Merchants[i].Tender {
			if program, ok := table.Program(term.Program); ok && table.LinkOf(program.Issuer) != "" {
				far = append(far, fmt.Sprint(term.Program))
			}
		}
		if len(far) > 1 {
			all = append(all, fmt.Sprintf("merchant %v: its tender has programmes %s, whose issuers keep ledgers of their own; "+
				"only one can take part in a sale, so its sales that name no programme are declined (40): leave one out", d.Merchants[i].ID, strings.Join(far, " and ")))
		}
	}
	return all
}

// Owed is a reversal or advice that an issuer has not acknowledged.
type Owed struct {
	RRN      string           `json:"rrn"`
	Issuer   points.IssuerID  `json:"issuer"`
	Link     string           `json:"link"`
	Kind     string           `json:"kind"`  // reversal or advice
	State    string           `json:"state"` // owed, or queued for the operators
	Function points.Function  `json:"function"`
	Program  points.ProgramID `json:"program"`
	Amount   points.Amount    `json:"amount"`
	Card     string           `json:"card"`
	Since    string           `json:"since"`
	Refusal  string           `json:"refusal,omitempty"` // what the issuer has said to it
}

// What is owed, for people.
const (
	owedReversal = "reversal"
	owedAdvice   = "advice"
	stateOwed    = "owed"
	stateQueued  = "queued"
)

func (a *App) owed(ctx context.Context, _ nothing) ([]Owed, error) {
	list := []Owed{}
	err := a.ledger.View(ctx, func(b *book.Book) error {
		for _, position := range b.Unfinished() {
			view, _, err := b.Remote(position)
			if err != nil {
				return err
			}
			if view.Phase != book.RemoteOpen {
				list = append(list, a.owedOf(&view))
			}
		}
		return nil
	})
	slices.SortFunc(list, func(x, y Owed) int { return cmp.Or(cmp.Compare(x.Since, y.Since), cmp.Compare(x.RRN, y.RRN)) })
	return list, err
}

func (a *App) owedOf(view *book.RemoteView) Owed {
	rrn := view.Position.RRN()
	o := Owed{
		RRN: string(rrn[:]), Issuer: view.Issuer, Link: a.router.Table().LinkOf(view.Issuer), Kind: owedReversal, State: stateOwed,
		Function: view.Function, Program: view.Program, Amount: view.Asked, Since: view.OwedAt.String(),
	}
	if view.Phase == book.RemoteTold || (view.Phase == book.RemoteQueued && view.Advice) {
		o.Kind = owedAdvice
	}
	if view.Phase == book.RemoteQueued {
		o.State = stateQueued
	}
	if view.Refusal != 0 {
		o.Refusal = view.Refusal.String()
	}
	if pan, ok := a.key.PAN(view.Card); ok {
		o.Card = pan.Masked()
	}
	return o
}

// Resolution ends what was left to the operators; two different people stand behind it.
type Resolution struct {
	RRN      string `json:"rrn"`
	Stands   bool   `json:"stands"` // at the issuer, who was asked; else it is gone there
	Operator string `json:"operator"`
	Second   string `json:"second"`
	Note     string `json:"note"`
}

func (a *App) resolve(ctx context.Context, r Resolution) (Done, error) {
	if err := signed(ctx, "resolve "+r.RRN, &r.Operator, r.Second); err != nil {
		return Done{}, err
	}
	position, err := points.ParseRRN(r.RRN)
	if err != nil {
		return Done{}, err
	}
	answer := points.ReversedBefore
	if r.Stands {
		answer = points.Approved
	}
	cmd := book.Command{
		Kind: book.KindResolve, At: a.opts.Clock(), Original: position, Answer: answer,
		Operator: r.Operator, Second: r.Second, Note: r.Note,
	}
	if err := legible("resolve "+r.RRN, &cmd); err != nil {
		return Done{}, err
	}
	if err := a.possible(ctx, "resolve "+r.RRN, &cmd); points.ReasonOf(err) == points.OriginalClosed {
		return Done{}, a.notQueued(ctx, position)
	} else if err != nil {
		return Done{}, err
	}
	if done, proposed, err := a.propose(ctx, "resolve "+r.RRN, &cmd); proposed || err != nil {
		return done, err
	}
	out, err := a.ledger.Do(ctx, &cmd)
	if err != nil {
		return Done{}, err
	}
	if out.Reason == points.OriginalClosed {
		return Done{}, a.notQueued(ctx, position)
	}
	if !out.Reason.Approved() {
		return Done{}, a.refusal(ctx, "resolve "+r.RRN, &cmd, out.Reason)
	}
	if out.Swap.Quote == 0 {
		a.issuers.Look(out.Issuer, position)
	}
	rrn := out.Position.RRN()
	return Done{RRN: string(rrn[:]), Date: out.Date}, nil
}

// notQueued says why there is nothing to resolve: what the issuer is owed is still being
// sent to it, or it is owed nothing.
func (a *App) notQueued(ctx context.Context, position points.Position) error {
	var view book.RemoteView
	err := a.ledger.View(ctx, func(b *book.Book) (err error) {
		view, _, err = b.Remote(position)
		return err
	})
	if err != nil {
		return err
	}
	rrn := rrnOf(position)
	if legs, err := a.swaps.Legs(ctx, position); err != nil || len(legs) > 0 {
		return errors.Join(err, points.Errorf(points.OriginalClosed, "resolve %s: the swap is %v; one that is manual is resolved, one whose leg stands though it was given up, "+
			"and one that is done where its issuer has reversed it since (gone)", rrn, legs[0].State))
	}
	switch view.Phase {
	case book.RemoteOpen:
		return points.Errorf(points.OriginalClosed, "resolve %s: the issuer is asked and may still answer; only what is queued is resolved", rrn)
	case book.RemoteDone:
		return points.Errorf(points.OriginalClosed, "resolve %s: it is settled with the issuer; there is nothing to resolve", rrn)
	default:
		return points.Errorf(points.OriginalClosed, "resolve %s: it is still being sent to the issuer, which may acknowledge it; "+
			"what is not acknowledged by the link's give_up is queued, and resolved then", rrn)
	}
}

// elsewhere says of a card that is not known here, where that is so, that an issuer with a
// ledger of its own knows it. Its requests are found by card: ledger find.
func (a *App) elsewhere(number string, err error) error {
	if points.ReasonOf(err) != points.UnknownCard {
		return err
	}
	pan, bad := points.ParsePAN(number)
	if bad != nil {
		return err
	}
	table := a.router.Table()
	for id := points.MinProgram; id <= points.MaxProgram; id++ {
		program, ok := table.Program(id)
		if !ok || table.LinkOf(program.Issuer) == "" {
			continue
		}
		if to, reason := table.Route(pan, id); reason.Approved() && to.Issuer == program.Issuer {
			return points.Errorf(points.UnknownCard, "%s, but in programme %d its issuer %d keeps the balances, at the end of link %s: "+
				"lianfen ledger find --card shows what was forwarded", strings.TrimSuffix(err.Error(), "."), id, program.Issuer, table.LinkOf(program.Issuer))
		}
	}
	return err
}
