package app

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/crypto/ssh"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement"
	"github.com/lianfen/lianfen/settlement/files"
	"github.com/lianfen/lianfen/tariff"
)

// SettlementFolder is where the runs lie, below the folder of the store.
const SettlementFolder = "settlement/run"

// openSettlement opens the folder of the runs. What an earlier process has left unfinished
// there is thrown away.
func (a *App) openSettlement() (err error) {
	n := &a.opts.Config.Night
	opts := settlement.Options{
		Folder: filepath.Join(a.opts.Config.Data, SettlementFolder), Operator: tariff.Member(n.Operator), Name: n.Name, Code: a.opts.Version, //nolint:gosec // eight digits.
		Workers: n.Workers, Zone: a.zone, Twin: n.Twin, Clock: a.opts.Clock, Log: a.log, Registry: a.registry,
	}
	if opts.Models, err = n.Compiled(); err != nil {
		return err
	}
	if n.SignedBy != "" {
		if opts.Key, err = readSigner(n.SignedBy); err != nil {
			return fmt.Errorf("settlement.key: %w", err)
		}
	} else {
		a.log.Warn("settlement files are not signed: members cannot prove who made them", slog.String("do", settlement.NoKey))
	}
	if opts.Bank, err = bankOf(&a.opts.Config.Cash); err != nil {
		return err
	}
	a.clearing = &settlement.House{
		Ledger: a.ledger, Zone: a.zone, Settles: a.settles, Closed: a.closedBatches, Class: n.Classes.Of,
		Masked: func(token points.CardToken) string {
			if pan, ok := a.key.PAN(token); ok {
				return pan.Masked()
			}
			return ""
		},
	}
	if a.settlement, err = settlement.NewRunner(a.clearing, opts); err != nil {
		return err
	}
	return a.settlement.Clean()
}

// bankOf reads what positions are paid by; nothing where a point has no price.
func bankOf(c *config.Cash) (*settlement.Bank, error) {
	if c.Currency == "" {
		return nil, nil
	}
	b := &settlement.Bank{
		Price:   files.Price{Currency: c.Currency, Scale: c.Scale, Num: c.Price.Num, Den: c.Price.Den},
		Members: make(map[tariff.Member]files.Account, len(c.Accounts)),
	}
	if err := b.Price.Check(); err != nil {
		return nil, fmt.Errorf("settlement.cash_price: %w", err)
	}
	var err error
	if b.Settlement, err = files.ParseAccount(c.Bank, c.Account); err != nil {
		return nil, fmt.Errorf("settlement.cash_bank and cash_account: %w", err)
	}
	for i := range c.Accounts {
		a := &c.Accounts[i]
		m := tariff.Member(a.Member) //nolint:gosec // eight digits.
		if b.Members[m], err = files.ParseAccount(a.Bank, a.Account); err != nil {
			return nil, fmt.Errorf("settlement.accounts.%v: %w", m, err)
		}
	}
	return b, nil
}

// SettlementKey is the public key of what the configuration names as settlement.key: partners
// check by it what they get.
func SettlementKey(c *config.Config) (ssh.PublicKey, error) {
	if c.Night.SignedBy == "" {
		return nil, points.Errorf(points.FormatError, "settlement.key: none is configured, so that nothing is signed; make one with: ssh-keygen -t ed25519 -N '' -f settlement.key")
	}
	key, err := readSigner(c.Night.SignedBy)
	if err != nil {
		return nil, fmt.Errorf("settlement.key: %w", err)
	}
	return key.PublicKey(), nil
}

// readSigner reads a private key in OpenSSH's form, which nobody else may read.
func readSigner(path string) (ssh.Signer, error) {
	if err := certs.Regular(path, certs.MaxFile); err != nil {
		return nil, err //nolint:wrapcheck // it names the path.
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err //nolint:wrapcheck // as above.
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s: mode %v lets others read it; run: chmod 600 %s", path, info.Mode().Perm(), path)
	}
	text, err := certs.ReadRegular(path, certs.MaxFile)
	if err != nil {
		return nil, err //nolint:wrapcheck // as above.
	}
	key, err := ssh.ParsePrivateKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; make one with: ssh-keygen -t ed25519 -N '' -f %s", path, err, path)
	}
	return key, nil
}

// closedBatches calls visit with every batch that a terminal has closed since a date.
func (a *App) closedBatches(ctx context.Context, since points.BusinessDate, visit func(settlement.Batch)) error {
	page := ledger.Page{Limit: ledger.MaxPageLimit}
	for {
		found, err := a.projection.Closes(ctx, ledger.Dates{From: since}, page)
		if err != nil {
			return err
		}
		for i := range found.Records {
			c := &found.Records[i].Command
			visit(settlement.Batch{Merchant: c.Merchant, Terminal: c.Terminal, Number: c.Batch})
		}
		if found.Next == 0 {
			return nil
		}
		page.From = found.Next
	}
}

// SettleAsk names a cycle, or a run, and who asks.
type SettleAsk struct {
	Run   string              `json:"run,omitempty"`
	Date  points.BusinessDate `json:"date,omitempty"`  // with Cycle; neither nor a run: the last cycle that has ended
	Cycle uint8               `json:"cycle,omitempty"` // left out: the last one of the date that has ended
	// Operator is who asks where nobody is enrolled.
	Operator string `json:"operator,omitempty"`
	// Second is who approves what is run and published in one go, where nobody is enrolled.
	Second string `json:"second,omitempty"`
	Note   string `json:"note,omitempty"`
	// Publish goes on to publish what is approved, or needs nobody else to approve it.
	Publish bool `json:"publish,omitempty"`
	// DryRun computes only, and compares: with the run Against, or with other Rates.
	DryRun  bool        `json:"dry_run,omitempty"`
	Against string      `json:"against,omitempty"`
	Rates   []OtherRate `json:"rates,omitempty"`
	// Member is whose failure is looked at.
	Member tariff.Member `json:"member,omitempty"`
}

// OtherRate is a rate to compare with: of the whole cycle, in place of the one in force.
type OtherRate struct {
	Program   points.ProgramID `json:"program"`
	Side      tariff.Side      `json:"side"`
	Num       uint64           `json:"num"`
	Den       uint64           `json:"den"`
	SpreadPPM uint32           `json:"spread_ppm,omitempty"`
}

// SettleOutcome is how a step of a run ended.
type SettleOutcome string

// Outcomes.
const (
	SettleDone    SettleOutcome = "done"
	SettleWaits   SettleOutcome = "waits"   // for a second person
	SettleHeld    SettleOutcome = "held"    // by a check of severity must
	SettleDiffers SettleOutcome = "differs" // it does not come to what it came to before
)

// Settled is a run after a step.
type Settled struct {
	Outcome SettleOutcome          `json:"outcome"`
	Problem string                 `json:"problem,omitempty"`
	Run     *settlement.Run        `json:"run,omitempty"`
	Diff    *settlement.Comparison `json:"diff,omitempty"`
	Folder  string                 `json:"folder,omitempty"`
	Default *settlement.Failure    `json:"default,omitempty"`
}

// settling is one line of the answer of a step that takes its time.
type settling struct {
	Progress *settlement.Progress `json:"progress,omitempty"`
	Settled  *Settled             `json:"settled,omitempty"`
	Fault    string               `json:"fault,omitempty"`
	Reason   points.Reason        `json:"reason,omitempty"`
}

// progressEvery is how far apart in time lines of progress are.
const progressEvery = 250 * time.Millisecond

// following answers with lines of progress, and at last with what came of f.
func (a *App) following(f func(context.Context, SettleAsk) (Settled, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var ask SettleAsk
		if err := decodeBody(w, r, &ask); err != nil {
			refuse(w, err)
			return
		}
		type end struct {
			settled Settled
			err     error
		}
		ended, ctx := make(chan end, 1), r.Context()
		go func() {
			settled, err := f(ctx, ask)
			ended <- end{settled, err}
		}()
		control, lines := http.NewResponseController(w), json.NewEncoder(w)
		tell := func(s settling) {
			_ = errors.Join(lines.Encode(s), control.Flush()) // The peer has gone; its context ends then.
		}
		ticker := time.NewTicker(progressEvery)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				if now := a.settlement.Progress(); now.Step != "" {
					tell(settling{Progress: &now})
				}
			case e := <-ended:
				if err := whyEnded(ctx, e.err); err != nil {
					tell(settling{Fault: err.Error(), Reason: points.ReasonOf(err)})
					return
				}
				tell(settling{Settled: &e.settled})
				return
			}
		}
	}
}

// order is a step by who asks.
func (a *App) order(ctx context.Context, ask *SettleAsk) (settlement.Order, error) {
	if err := signed(ctx, "settle", &ask.Operator, ask.Second); err != nil {
		return settlement.Order{}, err
	}
	by := strings.TrimSpace(ask.Operator)
	if strings.EqualFold(by, settlement.ByRule) || strings.EqualFold(strings.TrimSpace(ask.Second), settlement.ByRule) {
		return settlement.Order{}, points.Errorf(points.NotPermitted, "settle: %q is what the switch writes where nobody has approved: give a person's name", settlement.ByRule)
	}
	if by == "" {
		return settlement.Order{}, points.Errorf(points.FormatError, "settle: say who you are: --operator NAME")
	}
	return a.orderOf(by)
}

func (a *App) orderOf(by string) (settlement.Order, error) {
	now := a.opts.Clock()
	id, err := ulid.New(uint64(now/1000), rand.Reader) //nolint:gosec // times of our days.
	return settlement.Order{At: now, By: by, ID: id.String()}, err
}

// asked is the cycle that is asked for.
func (a *App) asked(ctx context.Context, ask *SettleAsk) (points.BusinessDate, uint8, error) {
	if ask.Run != "" {
		run, err := a.settlement.Load(ask.Run)
		if err != nil {
			return 0, 0, err
		}
		return run.Cut.Date, run.Cut.Cycle, nil
	}
	if ask.Date != 0 && ask.Cycle != 0 {
		return ask.Date, ask.Cycle, nil
	}
	if ask.Date != 0 {
		cuts, err := a.ledger.Cuts(ask.Date)
		for i := range slices.Backward(cuts) {
			if cuts[i].Closed || i == 0 {
				return ask.Date, cuts[i].Cycle, err
			}
		}
		return ask.Date, 1, err
	}
	date, cycle, err := a.lastEnded(ctx)
	if err == nil && date == 0 {
		err = points.Errorf(points.UnknownOriginal, "settle: no cycle has ended yet; the one of %v runs: wait for its cut-over (lianfen settle cycles shows when), or end it with lianfen settle cutover --now", a.runningDate(ctx))
	}
	return date, cycle, err
}

// runningDate is the business date that runs.
func (a *App) runningDate(ctx context.Context) points.BusinessDate {
	now, _ := a.runs(ctx) // It is for a sentence only.
	return now.date
}

// lastEnded is the last cycle that has ended; none: 0.
func (a *App) lastEnded(ctx context.Context) (points.BusinessDate, uint8, error) {
	now, err := a.runs(ctx)
	if err != nil || now.cycle > 1 {
		return now.date, now.cycle - 1, err
	}
	cut, err := a.ledger.Range(now.date, 1)
	if err != nil || cut.First <= 1 {
		return 0, 0, err
	}
	before, err := a.ledger.Record(cut.First - 1)
	return before.Outcome.Date, before.Outcome.InCycle(), err
}

// settleRun takes a run as far as it goes: checked, and where nobody else has to approve
// and it is asked for, published.
func (a *App) settleRun(ctx context.Context, ask SettleAsk) (Settled, error) {
	order, err := a.order(ctx, &ask)
	if err != nil {
		return Settled{}, err
	}
	date, cycle, err := a.asked(ctx, &ask)
	if err != nil {
		return Settled{}, err
	}
	if ask.DryRun {
		return a.compare(ctx, &ask, date, cycle)
	}
	return a.take(ctx, date, cycle, order, cmp.Or(strings.TrimSpace(ask.Second), order.By), ask.Publish)
}

// take runs a cycle in somebody's name, and publishes it if that is wanted and nobody else
// has to approve; second stands in the journal as who approved it where nobody is enrolled.
func (a *App) take(ctx context.Context, date points.BusinessDate, cycle uint8, order settlement.Order, second string, publish bool) (Settled, error) {
	run, err := a.settlement.Run(ctx, date, cycle, order)
	if err == nil && run.State == settlement.Approved && publish {
		return a.settled(run, a.settlement.Publish(ctx, run, order)) // What a stop has left.
	}
	if err != nil || run.State != settlement.Checked {
		return a.settled(run, err)
	}
	alone, err := a.settlement.Propose(ctx, run, order)
	if err != nil {
		return Settled{}, err
	}
	if !alone || !publish {
		return a.settled(run, settlement.ErrWaits)
	}
	order.By = second
	if err := a.settlement.Approve(ctx, run, order); err != nil {
		return Settled{}, err
	}
	return a.settled(run, a.settlement.Publish(ctx, run, order))
}

// settled says how a step ended: what a scheduler has to tell apart is no error.
func (a *App) settled(run *settlement.Run, err error) (Settled, error) {
	s := Settled{Outcome: SettleDone, Run: run}
	if run != nil {
		s.Folder = a.settlement.Folder(run)
	}
	switch {
	case err == nil:
		return s, nil
	case errors.Is(err, settlement.ErrWaits):
		s.Outcome = SettleWaits
	case errors.Is(err, settlement.ErrCheck):
		s.Outcome = SettleHeld
	case errors.Is(err, settlement.ErrDiffers):
		s.Outcome = SettleDiffers
	default:
		return Settled{}, err
	}
	s.Problem = err.Error()
	return s, nil
}

// settlePrepare makes the checks that need no computing.
func (a *App) settlePrepare(ctx context.Context, ask SettleAsk) ([]settlement.Check, error) {
	date, cycle, err := a.asked(ctx, &ask)
	if err != nil {
		return nil, err
	}
	return a.settlement.Prepare(ctx, date, cycle, settlement.Order{At: a.opts.Clock()})
}

// settleShow lists runs, the latest last, or tells of one.
func (a *App) settleShow(ctx context.Context, ask SettleAsk) ([]*settlement.Run, error) {
	if ask.Run == "" && ask.Date == 0 {
		runs, err := a.settlement.Runs()
		return append([]*settlement.Run{}, runs...), err
	}
	run, err := a.runAsked(ctx, &ask)
	if err != nil {
		return nil, err
	}
	return []*settlement.Run{run}, nil
}

// settleExceptions lists what a run has not cleared.
func (a *App) settleExceptions(ctx context.Context, ask SettleAsk) ([]files.Exception, error) {
	run, err := a.runAsked(ctx, &ask)
	if err != nil {
		return nil, err
	}
	list, err := a.settlement.Exceptions(run)
	return append([]files.Exception{}, list...), err
}

// runAsked is the run that is asked for: by name, of a cycle, or of the last that has ended.
func (a *App) runAsked(ctx context.Context, ask *SettleAsk) (*settlement.Run, error) {
	if ask.Run != "" {
		return a.settlement.Load(ask.Run)
	}
	date, cycle, err := a.asked(ctx, ask)
	if err != nil {
		return nil, err
	}
	run, err := a.settlement.Of(date, cycle)
	if err == nil && run == nil {
		err = points.Errorf(points.UnknownOriginal, "settle: there is no run of %v cycle %d; lianfen settle run --date %v --cycle %d makes it", date, cycle, date, cycle)
	}
	return run, err
}

// settleApprove approves a run, and publishes it if that is asked for too.
func (a *App) settleApprove(ctx context.Context, ask SettleAsk) (Settled, error) {
	order, err := a.order(ctx, &ask)
	if err != nil {
		return Settled{}, err
	}
	run, err := a.runAsked(ctx, &ask)
	if err != nil {
		return Settled{}, err
	}
	if err := a.settlement.Approve(ctx, run, order); err != nil {
		return Settled{}, err
	}
	if !ask.Publish {
		return a.settled(run, nil)
	}
	return a.settled(run, a.settlement.Publish(ctx, run, order))
}

// settlePublish publishes what was approved.
func (a *App) settlePublish(ctx context.Context, ask SettleAsk) (Settled, error) {
	order, err := a.order(ctx, &ask)
	if err != nil {
		return Settled{}, err
	}
	run, err := a.runAsked(ctx, &ask)
	if err != nil {
		return Settled{}, err
	}
	return a.settled(run, a.settlement.Publish(ctx, run, order))
}

// settleVoid ends a run that was not published.
func (a *App) settleVoid(ctx context.Context, ask SettleAsk) (Settled, error) {
	order, err := a.order(ctx, &ask)
	if err != nil {
		return Settled{}, err
	}
	run, err := a.runAsked(ctx, &ask)
	if err != nil {
		return Settled{}, err
	}
	return a.settled(run, a.settlement.Void(ctx, run, order, ask.Note))
}

// settleDiff compares a cycle, as it would come out now, or with other rates, with a run; or
// with other rates and with those of now.
func (a *App) settleDiff(ctx context.Context, ask SettleAsk) (Settled, error) {
	date, cycle, err := a.asked(ctx, &ask)
	if err != nil {
		return Settled{}, err
	}
	return a.compare(ctx, &ask, date, cycle)
}

func (a *App) compare(ctx context.Context, ask *SettleAsk, date points.BusinessDate, cycle uint8) (Settled, error) {
	now, err := a.settlement.Now(ctx, date, cycle)
	if err != nil {
		return Settled{}, err
	}
	before, after := now, now
	if len(ask.Rates) > 0 {
		if after, err = a.settlement.Otherwise(ctx, now, ask.terms()); err != nil {
			return Settled{}, err
		}
	}
	switch {
	case ask.Against != "":
		run, err := a.settlement.Load(ask.Against)
		if err != nil {
			return Settled{}, err
		}
		if before, err = a.settlement.Side(ctx, run); err != nil {
			return Settled{}, err
		}
	case len(ask.Rates) > 0: // Only the rates are to differ.
	default:
		run, err := a.settlement.Of(date, cycle)
		if err != nil {
			return Settled{}, err
		}
		if run != nil {
			if before, err = a.settlement.Side(ctx, run); err != nil {
				return Settled{}, err
			}
		}
	}
	diff, err := a.settlement.Compare(ctx, before, after)
	return Settled{Outcome: SettleDone, Diff: diff}, err
}

func (ask *SettleAsk) terms() []tariff.Terms {
	terms := make([]tariff.Terms, 0, len(ask.Rates))
	for _, r := range ask.Rates {
		terms = append(terms, tariff.Terms{Program: r.Program, Side: r.Side, Num: r.Num, Den: r.Den, SpreadPPM: r.SpreadPPM})
	}
	return terms
}
