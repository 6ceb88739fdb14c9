package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/internal/sim"
	"github.com/lianfen/lianfen/points"
)

// demoReport is all that the demonstration shows, for machines.
type demoReport struct {
	Data      string              `json:"data,omitempty"`
	Directory int                 `json:"directory_entries"`
	Steps     []sim.Result        `json:"steps"`
	Before    []app.Accounts      `json:"balances_before"`
	After     []app.Accounts      `json:"balances_after"`
	Totals    app.Totals          `json:"totals"`
	Verified  app.Proof           `json:"verified"`
	Operators []demoAct           `json:"operators"`
	Risk      string              `json:"risk"` // what the rule that declined a sale has to say
	Date      points.BusinessDate `json:"new_business_date"`
	Swaps     []app.SwapState     `json:"swaps"`
	Night     *demoNight          `json:"night,omitempty"`
	Checks    []demoCheck         `json:"checks"`
}

// demoCheck is one thing that had to be so.
type demoCheck struct {
	Name string `json:"name"`
	Pass bool   `json:"pass"`
	Seen string `json:"seen"`
}

func newDemo() *cobra.Command {
	var data string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Play a whole business day against a switch of your own, and show it",
		Long: `Start a switch on an empty store with three programmes of three issuers and two
acquirers, let terminals send a business day over TLS, some of them with keys of their
own and PINs, let two operators do what one may not alone, swap points of one programme for
another's, close the day, settle it, prove the journal, and print what happened. The exit status is 0 only if every answer and
every balance was as the script says.`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			dir := data
			if dir == "" {
				if dir, err = os.MkdirTemp("", "lianfen-demo-"); err != nil {
					return fmt.Errorf("demo: %w", err)
				}
				defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
			}
			out := cmd.OutOrStdout()
			if asJSON {
				out = io.Discard
			}
			d := demo{out: out, dir: dir, logs: filepath.Join(dir, "lianfen.log")}
			err = d.run(cmd.Context())
			if data != "" {
				d.report.Data = data
				_, _ = fmt.Fprintf(out, "\nThe store, its configuration and the log are in %s; what members got is in %s.\n", data, filepath.Join(data, demoSets))
			}
			if asJSON {
				err = errors.Join(err, writeJSON(cmd.OutOrStdout(), d.report))
			}
			return err
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "keep configuration, store and log in this new folder")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// demo is one run.
type demo struct {
	out    io.Writer
	dir    string
	logs   string
	sets   []string // more of the configuration
	config *config.Config
	report demoReport
	early  atomic.Int64 // microseconds that the switch's clock is behind
	keys   keysAt
	player *sim.Player
	people []*demoPerson
}

// demoMembers are the members whose balances are shown.
var demoMembers = []points.MemberID{1001, 1002, 1003} //nolint:gochecknoglobals // never written.

// run starts the switch, plays the day, stops the switch.
func (d *demo) run(ctx context.Context) (err error) {
	if err := prepare(d.dir); err != nil {
		return err
	}
	if err := d.prepareNight(); err != nil {
		return err
	}
	c, err := config.Load(filepath.Join(d.dir, config.FileName), nil, append([]string{
		"listeners.pos.address=127.0.0.1:0", "listeners.host.address=127.0.0.1:0", "http.address=127.0.0.1:0",
	}, d.sets...))
	if err != nil {
		return err
	}
	d.config = &c
	d.keys = keysAt{path: c.Keys.File, kek: c.Keys.KEK}
	if err := d.prepareGuards(); err != nil {
		return err
	}
	log, err := os.OpenFile(d.logs, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	a, err := app.New(ctx, app.Options{Config: c, Version: versionOf(), Log: newLog(log, c.Log, c.Log.Level), Clock: d.clock})
	if err != nil {
		return err
	}
	serving, stop := context.WithCancel(ctx)
	stopped := make(chan error, 1)
	go func() { stopped <- a.Run(serving) }()
	err = d.day(ctx, a, app.NewClient(c.Admin.Socket))
	stop()
	return errors.Join(err, <-stopped, d.verdict(err))
}

// day is the demonstration itself.
func (d *demo) day(ctx context.Context, a *app.App, client *app.Client) error {
	directory, err := app.ReadDirectory(sim.DayDirectory())
	if err != nil {
		return err
	}
	loaded, err := client.Load(ctx, directory)
	if err != nil {
		return err
	}
	d.report.Directory = loaded.Entries
	if err := d.terms(ctx, client); err != nil {
		return err
	}
	if directory, err = client.Directory(ctx); err != nil {
		return err
	}
	if err := d.show("Participants", directoryTable(directory)); err != nil {
		return err
	}
	if d.report.Before, err = d.balances(ctx, client, "Balances before"); err != nil {
		return err
	}
	lend, err := newLender(d.config)
	if err != nil {
		return err
	}
	d.player = &sim.Player{Address: a.Address("pos").String(), Clock: now, Dial: lend.dial, Keys: d.keysOf}
	if err := d.title("The day\n\n       TERMINAL  MESSAGE                   CARD                       AMOUNT  STAN    RRN           39  AVAILABLE"); err != nil {
		return err
	}
	err = d.play(ctx, sim.SceneDay)
	if err == nil {
		client, err = d.guarded(ctx, client)
	}
	if err == nil {
		err = d.swaps(ctx, client)
	}
	if err = errors.Join(err, d.player.HangUp()); err != nil {
		return err
	}
	wrong := 0
	for i := range d.report.Steps {
		if d.report.Steps[i].Wrong != "" {
			wrong++
		}
	}
	d.check("every message was answered as the script says", wrong == 0, fmt.Sprintf("%d of %d steps", len(d.report.Steps)-wrong, len(d.report.Steps)))
	if d.report.After, err = d.balances(ctx, client, "Balances after"); err != nil {
		return err
	}
	if err := d.night(ctx, client); err != nil {
		return err
	}
	return d.settle(ctx)
}

// play plays a scene; its steps are counted on.
func (d *demo) play(ctx context.Context, scene string) error {
	script, err := sim.Scene(scene)
	if err != nil {
		return err
	}
	_, err = d.player.Play(ctx, script, func(r sim.Result) error {
		r.Step = len(d.report.Steps) + 1
		d.report.Steps = append(d.report.Steps, r)
		return printResult(d.out, r)
	})
	return err
}

// balances shows what the members of the demonstration have.
func (d *demo) balances(ctx context.Context, client *app.Client, title string) ([]app.Accounts, error) {
	var all []app.Accounts
	t := new(table)
	for _, member := range demoMembers {
		accounts, err := client.Accounts(ctx, app.Holder{Member: member})
		if err != nil {
			return nil, err
		}
		all = append(all, accounts)
		rows := accountsTable(accounts).rows
		if len(t.rows) > 0 {
			rows = rows[1:]
		}
		t.rows = append(t.rows, rows...)
	}
	return all, d.show(title, t)
}

func accountsTable(accounts app.Accounts) *table {
	t := new(table)
	t.row("MEMBER", "PROGRAMME", "NAME", "FREE", "HELD", "DEBT", "LOTS")
	for _, account := range accounts.Accounts {
		lots := make([]string, 0, len(account.Lots))
		for _, l := range account.Lots {
			lots = append(lots, fmt.Sprintf("%d until %v", l.Amount, l.ExpiresOn))
		}
		t.row(accounts.Member, account.Program, account.Name, account.Free, account.Held, account.Debt, strings.Join(lots, ", "))
	}
	return t
}

// night closes the day, which one proposes and another approves, and proves it.
func (d *demo) night(ctx context.Context, client *app.Client) error {
	before, err := client.Status(ctx)
	if err != nil {
		return err
	}
	proposed, err := client.CutOver(ctx, app.CutOver{Force: true})
	if err != nil {
		return err
	}
	done, err := d.people[1].client.Approve(ctx, app.Decision{RRN: proposed.RRN, Note: "the day is over"})
	if err != nil {
		return err
	}
	d.report.Date = done.Date
	d.check("the business date moved on by a day", done.Date == before.Date.AddDays(1), fmt.Sprintf("%v to %v", before.Date, done.Date))
	if d.report.Totals, err = client.Totals(ctx); err != nil {
		return err
	}
	if err := d.show("Trial balance after cut-over", totalsTable(d.report.Totals, nil)); err != nil {
		return err
	}
	d.checkTotals()
	d.checkMembers()
	d.report.Verified, err = client.Prove(ctx, app.ProofProgress{})
	d.check("the journal proves the state: chain unbroken, invariants hold, a replay gives every outcome and the same digest", err == nil,
		fmt.Sprintf("%d records in %d blocks", d.report.Verified.Records, d.report.Verified.Blocks))
	d.check("the index of statements is what the journal makes of it", err == nil && d.report.Verified.Index > 0, fmt.Sprintf("up to position %d", d.report.Verified.Index))
	return err
}

// checkTotals holds the trial balance to zero in every programme.
func (d *demo) checkTotals() {
	sums := map[points.ProgramID]points.Amount{}
	for _, t := range d.report.Totals.Lines {
		sums[t.Program] += t.Amount
	}
	zero := true
	for _, sum := range sums {
		zero = zero && sum == 0
	}
	d.check("every programme sums to zero", zero && len(sums) == 3, fmt.Sprintf("%d programmes", len(sums)))
}

// checkMembers holds the members' balances against the day's own story, told
// here once more by hand.
func (d *demo) checkMembers() {
	type key struct {
		member  points.MemberID
		program points.ProgramID
	}
	want := map[key][2]points.Amount{ // free, debt
		{1001, 901}: {5000 - 300, 0},
		{1001, 902}: {1200 - 400 + 150 + 250 - 100, 0},
		{1001, 903}: {0, 0},
		{1002, 901}: {228 + 50, 0},
		{1002, 902}: {800 + 100 - 400 - 88, 0},
		{1002, 903}: {0, 600},
		{1003, 901}: {900 - 350 - 50 - 60 - 40 - 25 + 200 - 300 - 100 - 50, 0},
		{1003, 902}: {139 + 5 + 69, 0},
	}
	wrong := 0
	for _, accounts := range d.report.After {
		for _, a := range accounts.Accounts {
			if want[key{accounts.Member, a.Program}] != [2]points.Amount{a.Free, a.Debt} || a.Held != 0 {
				wrong++
			}
		}
	}
	d.check("every member has what the day's story says, and nothing is held", wrong == 0, fmt.Sprintf("%d accounts differ", wrong))
}

func (d *demo) check(name string, pass bool, seen string) {
	d.report.Checks = append(d.report.Checks, demoCheck{name, pass, seen})
}

// verdict prints the checks; an error when one failed.
func (d *demo) verdict(err error) error {
	t := new(table)
	failed := 0
	for _, c := range d.report.Checks {
		mark := "pass"
		if !c.Pass {
			mark = "FAIL"
			failed++
		}
		t.row(mark, c.Name, "("+c.Seen+")")
	}
	if err := d.show("Checked", t); err != nil {
		return err
	}
	switch {
	case err != nil:
		return errors.New("demo: it did not come to its end")
	case failed > 0:
		return fmt.Errorf("demo: %d of %d checks failed", failed, len(d.report.Checks))
	}
	return nil
}

func (d *demo) title(text string) error {
	if _, err := fmt.Fprintf(d.out, "\n%s\n", text); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

func (d *demo) show(title string, t *table) error {
	return errors.Join(d.title(title+"\n"), t.write(d.out))
}
