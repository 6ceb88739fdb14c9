package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement"
	"github.com/lianfen/lianfen/settlement/files"
)

// Exit statuses of settle, beside those of every command; a scheduler tells by them what to
// do. docs/operations.md has the same table.
const (
	exitWaits  = 5 // done as far as it goes alone: a second person has to approve
	exitHeld   = 6 // a check of severity must did not pass, or the run does not come to the same
	exitWarned = 7 // done, and a check of severity warn did not pass
	exitDebtor = 8 // done, and the night would not settle if the largest net debtor failed
)

// settleStatus is the exit status of a step.
func settleStatus(s *app.Settled) error {
	switch s.Outcome {
	case app.SettleWaits:
		return &statusError{exitWaits, shortfall(s.Run)}
	case app.SettleHeld, app.SettleDiffers:
		return &statusError{exitHeld, fmt.Errorf("%s", s.Problem)}
	default:
	}
	if s.Run == nil {
		return nil
	}
	return checkStatus(s.Run.Checks)
}

// shortfall tells of the largest net debtor whose cover is short, where the exit status says
// something else; nil: there is none.
func shortfall(run *settlement.Run) error {
	if run == nil || run.Debtor == nil || run.Debtor.Shortfall == 0 {
		return nil
	}
	return fmt.Errorf("it waits for a second person, and it would not settle if the largest net debtor failed: %v", run.Debtor)
}

// checkStatus is the exit status that checks come to. What did not pass and is a must comes
// first, then the largest net debtor, then all others.
func checkStatus(checks []settlement.Check) error {
	status := exitOK
	for i := range checks {
		switch c := &checks[i]; {
		case c.Pass:
		case c.Severity == settlement.Must:
			return &statusError{status: exitHeld}
		case c.Name == settlement.CheckDebtor:
			status = exitDebtor
		case status == exitOK:
			status = exitWarned
		}
	}
	if status == exitOK {
		return nil
	}
	return &statusError{status: status}
}

// cycleFlags are the flags that name a cycle.
type cycleFlags struct {
	date  string
	cycle uint8
	app.SettleAsk
}

func (f *cycleFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.date, "date", "", "the business date; the last cycle that has ended when left out")
	cmd.Flags().Uint8Var(&f.cycle, "cycle", 0, "its cycle; the last one that has ended when left out")
}

// by adds the flag for who asks.
func (f *cycleFlags) by(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.Operator, "operator", "", "who you are, while no operator is enrolled")
}

// ask is what the flags and at most one argument, a run, come to.
func (f *cycleFlags) ask(args []string) (app.SettleAsk, error) {
	f.Cycle = f.cycle
	if f.date != "" {
		date, err := points.ParseBusinessDate(f.date)
		if err != nil {
			return f.SettleAsk, usage("--date: %w", err)
		}
		f.Date = date
	}
	if len(args) == 1 {
		f.Run = args[0]
	}
	if f.Run != "" && f.Date != 0 {
		return f.SettleAsk, usage("name a run or a date, not both")
	}
	if f.Cycle != 0 && f.Date == 0 {
		return f.SettleAsk, usage("--cycle needs --date")
	}
	return f.SettleAsk, nil
}

// atMostRun lets a command name a run.
func atMostRun(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usage("%s, want a run at most; see: %s --help", arguments(len(args)), cmd.CommandPath())
	}
	return nil
}

func (a *admin) settlePrepare() *cobra.Command {
	var f cycleFlags
	cmd := &cobra.Command{
		Use: "prepare", Short: "Make the checks that can be made before a settlement run", Args: none,
		Long: `Make the checks that can be made before anything is computed: whether the cycle has
ended, earlier runs are published, and requests to issuers elsewhere have their end.
Nothing is changed. To look again, run it again.

Severities: warn is read in the morning; second person wants the approval of somebody
else; must stops the night. The exit status is 6 when a must did not pass, 7 when
another one did not.`,
		Example: `  lianfen settle prepare
  lianfen settle prepare --date 2026-03-02 --cycle 1`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ask, err := f.ask(args)
			if err != nil {
				return err
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			checks, err := client.SettlePrepare(cmd.Context(), ask)
			if err != nil {
				return err
			}
			if err := a.print(cmd, checks, func() error { return checksTable(checks).write(cmd.OutOrStdout()) }); err != nil {
				return err
			}
			return checkStatus(checks)
		},
	}
	f.add(cmd)
	return cmd
}

// resultOf is what came of a check: one that only warns does not fail.
func resultOf(c *settlement.Check) string {
	switch {
	case c.Pass:
		return "pass"
	case c.Severity == settlement.Warn:
		return "warn"
	default:
		return "FAIL"
	}
}

func checksTable(checks []settlement.Check) *table {
	t := new(table)
	t.row("CHECK", "WHEN", "SEVERITY", "RESULT", "FOUND")
	for i := range checks {
		c := &checks[i]
		t.row(c.Name, c.Phase, c.Severity, resultOf(c), c.Found)
		if !c.Pass {
			t.row("", "", "", "", "-> "+c.Do)
		}
	}
	return t
}

func (a *admin) settleRun() *cobra.Command {
	var f cycleFlags
	var rates, out, member string
	cmd := &cobra.Command{
		Use: "run [RUN]", Short: "Settle a cycle: compute, make the files, check, and propose it", Args: atMostRun,
		Long: `Settle a cycle that has ended: compute its positions, make the files of all members,
check both, and propose the whole for approval. Nothing is visible to members before it
is published. To run again is safe: it goes on where it was stopped, and of what was
published it proves that it comes to the same.

--dry-run computes only and compares with --against, another run, or with --rates, other
rates; with both, the cycle under the other rates with the other run. Nothing is written
down. With --out it makes temporary files instead, of --member
or of everybody, into a new folder: what the cycle comes to so far, of the one that still
runs where none is named. They say that they are of a dry run, in the header of detail files
(mode D), in the statement and on its page; they are not signed, and delivered to nobody.

Exit status: 0 done; 5 a second person has to approve; 6 a check of severity must did
not pass, or the run does not come to the same; 7 done with warnings; 8 done, and it
would not settle if the largest net debtor failed.`,
		Example: `  lianfen settle run --operator li
  lianfen settle run --operator li --publish --second wang
  lianfen settle run --dry-run --rates 901:CLEAR:3/2 --operator li
  lianfen settle run --dry-run --out so-far --member 10000001 --operator li`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ask, err := f.ask(args)
			if err != nil {
				return err
			}
			if ask.Rates, err = parseRates(rates); err != nil {
				return err
			}
			if !ask.DryRun && (ask.Against != "" || len(ask.Rates) > 0) {
				return usage("--against and --rates are for --dry-run")
			}
			if out != "" || member != "" {
				return a.settleTemporary(cmd, &f, ask, out, member)
			}
			return a.settleStep(cmd, "run", ask)
		},
	}
	f.add(cmd)
	f.by(cmd)
	cmd.Flags().BoolVar(&f.Publish, "publish", false, "publish it too, where nobody else has to approve")
	cmd.Flags().StringVar(&f.Second, "second", "", "with --publish: who approves, while no operator is enrolled")
	cmd.Flags().BoolVar(&f.DryRun, "dry-run", false, "compute and compare, and write nothing down")
	cmd.Flags().StringVar(&out, "out", "", "with --dry-run: the new folder for temporary files, of the cycle that runs when none is named")
	cmd.Flags().StringVar(&member, "member", "", "with --out: the member whose files alone are made")
	_ = cmd.MarkFlagDirname("out") // Only completion would miss it.
	f.comparing(cmd, &rates)
	return cmd
}

// settleTemporary has temporary files made and puts them into a folder.
func (a *admin) settleTemporary(cmd *cobra.Command, f *cycleFlags, ask app.SettleAsk, out, member string) error {
	temporary := app.TemporaryAsk{SettleAsk: ask}
	switch {
	case !ask.DryRun || out == "":
		return usage("--out is for --dry-run, and --member for --out")
	case ask.Against != "" || len(ask.Rates) > 0 || f.Publish:
		return usage("--out makes files and compares nothing: leave --against, --rates and --publish out")
	case member != "" && (temporary.Member.UnmarshalText([]byte(member)) != nil || !temporary.Member.Institution()):
		return usage("--member %q: want the eight digits of a member", member)
	}
	client, err := a.client()
	if err != nil {
		return err
	}
	sets, err := client.SettleTemporary(cmd.Context(), temporary, out)
	if err != nil {
		return err
	}
	return a.print(cmd, sets, func() error {
		return say(cmd, "%d temporary files of %v cycle %d are in %s. They are of a dry run: nobody books them.", sets.Files, sets.Date, sets.Cycle, sets.Folder)
	})
}

func (f *cycleFlags) comparing(cmd *cobra.Command, rates *string) {
	cmd.Flags().StringVar(&f.Against, "against", "", "another run to compare with, under the tables as they were then")
	cmd.Flags().StringVar(rates, "rates", "", "other rates to compare with, such as 901:CLEAR:3/2,902:BUY:5/4:15000 (programme, side, ratio, spread in ppm)")
}

// parseRates reads what --rates says.
func parseRates(text string) (rates []app.OtherRate, err error) {
	if text == "" {
		return nil, nil
	}
	wrong := func(word string) error {
		return usage("--rates %q: want PROGRAMME:SIDE:NUM/DEN, for BUY with :PPM of spread behind, with commas between", word)
	}
	for word := range strings.SplitSeq(text, ",") {
		parts := strings.Split(word, ":")
		if len(parts) != 3 && len(parts) != 4 {
			return nil, wrong(word)
		}
		var r app.OtherRate
		program, err := strconv.ParseUint(parts[0], 10, 16)
		num, den, ok := strings.Cut(parts[2], "/")
		if err != nil || !ok || r.Side.UnmarshalText([]byte(strings.ToUpper(parts[1]))) != nil {
			return nil, wrong(word)
		}
		r.Program = points.ProgramID(program)
		if r.Num, err = strconv.ParseUint(num, 10, 64); err != nil {
			return nil, wrong(word)
		}
		if r.Den, err = strconv.ParseUint(den, 10, 64); err != nil {
			return nil, wrong(word)
		}
		if len(parts) == 4 {
			spread, err := strconv.ParseUint(parts[3], 10, 32)
			if err != nil {
				return nil, wrong(word)
			}
			r.SpreadPPM = uint32(spread)
		}
		rates = append(rates, r)
	}
	return rates, nil
}

// settleStep makes a step, shows how far it is and what came of it.
func (a *admin) settleStep(cmd *cobra.Command, step string, ask app.SettleAsk) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	follow := newFollower(cmd)
	s, err := client.Settle(cmd.Context(), step, ask, follow.hear)
	follow.end()
	if err != nil {
		return err
	}
	if err := a.print(cmd, s, func() error {
		if s.Diff == nil && s.Default == nil {
			return printSettled(cmd, &s, client.Zone())
		}
		units, err := a.people(cmd, client)
		if err != nil {
			return err
		}
		if s.Default != nil {
			return printDefault(cmd, units, s.Default)
		}
		return printDiff(cmd, units, s.Diff)
	}); err != nil {
		return err
	}
	return settleStatus(&s)
}

// follower shows progress: on a terminal one line that is drawn over, elsewhere a line
// every five seconds.
type follower struct {
	w    io.Writer
	over bool // drawn over
	last time.Time
	wide int
}

// followEvery is how far apart in time lines of progress are where they are not drawn over.
const followEvery = 5 * time.Second

func newFollower(cmd *cobra.Command) *follower {
	w := cmd.ErrOrStderr()
	return &follower{w: w, over: drawn(w), last: time.Now()}
}

func (f *follower) hear(p settlement.Progress) {
	line := fmt.Sprintf("%s: %d of %d rows, %d rows/s, %d s left", p.Step, p.Done, p.Total, p.PerSecond(), p.Left())
	if f.over {
		_, _ = fmt.Fprintf(f.w, "\r%-*s", f.wide, line) // What cannot be drawn stops nothing.
		f.wide = len(line)
		return
	}
	if now := time.Now(); now.Sub(f.last) >= followEvery {
		f.last = now
		_, _ = fmt.Fprintln(f.w, line) // As above.
	}
}

func (f *follower) end() {
	if f.wide > 0 {
		_, _ = fmt.Fprintf(f.w, "\r%*s\r", f.wide, "") // As above.
	}
}

func printSettled(cmd *cobra.Command, s *app.Settled, zone *time.Location) error {
	if err := runTable(s.Run, s.Folder, zone).write(cmd.OutOrStdout()); err != nil {
		return err
	}
	if err := say(cmd, ""); err != nil {
		return err
	}
	if err := checksTable(s.Run.Checks).write(cmd.OutOrStdout()); err != nil {
		return err
	}
	if s.Outcome == app.SettleWaits {
		return say(cmd, "\nIt waits for a second person: lianfen settle approve %s --publish", s.Run.ID)
	}
	return nil
}

// runTable tells of a run.
func runTable(r *settlement.Run, folder string, zone *time.Location) *table {
	t := new(table)
	t.row("run", r.ID)
	t.row("cycle", r.Cut.String()+", paid on "+r.Cut.Settles.String())
	t.row("state", r.State)
	t.row("journal", fmt.Sprintf("positions %d to %d", r.Cut.First, r.Cut.Last))
	t.row("items", fmt.Sprintf("%d (%d on us), %s, %s", r.Items, r.OnUs, points.Counted(r.Legs, "leg", "legs"), points.Counted(r.Exceptions, "exception", "exceptions")))
	for _, part := range []struct{ name, digest string }{{"key", r.KeyDigest}, {"input", r.Input}, {"rates", r.Rates}, {"fees", r.Fees}, {"terms", r.Terms}, {"positions", r.Positions}, {"manifest", r.Manifest}} {
		if part.digest != "" {
			t.row(part.name, part.digest)
		}
	}
	if p := r.Payments; p != nil {
		t.row("payments", fmt.Sprintf("%d in, %s %s; %d out, %s; own %s, rounding %s; at %d/%d",
			p.Payers, p.In.Decimal(p.Scale), p.Currency, p.Payees, p.Out.Decimal(p.Scale), p.Own.Decimal(p.Scale), p.Rounding.Decimal(p.Scale), p.Num, p.Den))
		if p.LeftOut > 0 {
			t.row("left out", fmt.Sprintf("%d payments, in %s, out %s: no account is configured", p.LeftOut, p.LeftIn.Decimal(p.Scale), p.LeftPaid.Decimal(p.Scale)))
		}
	}
	if r.Posting != 0 {
		t.row("posting", fmt.Sprintf("journal %d", r.Posting))
	}
	if folder != "" {
		t.row("files", folder)
	}
	for _, timing := range r.Timings {
		t.row(timing.Step, spent(r, timing))
	}
	for _, s := range r.Stages {
		t.row(s.State, localTime(s.At.String(), zone)+" by "+s.By+"  "+s.Note)
	}
	return t
}

// spent says how long a step took, and of computing how that is beside a plain read.
func spent(r *settlement.Run, t settlement.Timing) string {
	text := fmt.Sprintf("%s in %.2f s, %d rows/s", points.Counted(t.Rows, "row", "rows"), float64(t.Micros)/1e6, t.PerSecond())
	permille, read := r.Plain()
	if t.Step == settlement.StepCompute && permille > 0 {
		text += fmt.Sprintf(", %.3f of a plain read of the journal (%d rows/s)", float64(permille)/1000, read.PerSecond())
	}
	if t.Step == settlement.StepPlain && t.Bytes > 0 {
		text += fmt.Sprintf(", %d bytes", t.Bytes)
	}
	return text
}

func (a *admin) settleShow() *cobra.Command {
	var f cycleFlags
	cmd := &cobra.Command{
		Use: "show [RUN]", Short: "List settlement runs, or show one with its checks", Args: atMostRun,
		Example: `  lianfen settle show
  lianfen settle show --date 2026-03-02`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ask, err := f.ask(args)
			if err != nil {
				return err
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			runs, err := client.SettleShow(cmd.Context(), ask)
			if err != nil {
				return err
			}
			return a.print(cmd, runs, func() error {
				if ask.Run != "" || ask.Date != 0 {
					if err := printSettled(cmd, &app.Settled{Run: runs[0]}, client.Zone()); err != nil {
						return err
					}
					return showDeliveries(cmd, client, runs[0])
				}
				s := newSheet("RUN", "DATE", ">CYCLE", "STATE", ">ITEMS", ">EXCEPTIONS", "PAID ON", "BY", "APPROVED BY")
				for _, r := range runs {
					s.row(r.ID, r.Cut.Date, r.Cut.Cycle, r.State, r.Items, r.Exceptions, r.Cut.Settles, r.Maker, r.Checker)
				}
				return s.write(cmd.OutOrStdout())
			})
		},
	}
	f.add(cmd)
	return cmd
}

func (a *admin) settleApprove() *cobra.Command {
	var f cycleFlags
	cmd := &cobra.Command{
		Use: "approve [RUN]", Short: "Approve a settlement run that somebody else has made", Args: atMostRun,
		Example: `  lianfen settle approve --operator wang --publish`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ask, err := f.ask(args)
			if err != nil {
				return err
			}
			return a.settleStep(cmd, "approve", ask)
		},
	}
	f.add(cmd)
	f.by(cmd)
	cmd.Flags().BoolVar(&f.Publish, "publish", false, "publish it at once")
	return cmd
}

func (a *admin) settlePublish() *cobra.Command {
	var f cycleFlags
	cmd := &cobra.Command{
		Use: "publish [RUN]", Short: "Publish an approved settlement run: its files become visible, and it is posted", Args: atMostRun,
		Long: `Publish an approved run: every file is proved and synced, the folder is renamed as a
whole, and one journal command moves what was cleared off the clearing accounts. To
publish again is safe: a cycle is posted once.`,
		Example: `  lianfen settle publish --operator wang`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ask, err := f.ask(args)
			if err != nil {
				return err
			}
			return a.settleStep(cmd, "publish", ask)
		},
	}
	f.add(cmd)
	f.by(cmd)
	return cmd
}

func (a *admin) settleVoid() *cobra.Command {
	var f cycleFlags
	cmd := &cobra.Command{
		Use: "void RUN", Short: "End a settlement run that was not published", Args: one("the run"),
		Example: `  lianfen settle void 01KJJQZ3A0000000000000000A --operator li --note "fees were wrong"`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ask, err := f.ask(args)
			if err != nil {
				return err
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			s, err := client.SettleVoid(cmd.Context(), ask)
			if err != nil {
				return err
			}
			return a.print(cmd, s, func() error { return say(cmd, "Run %s is void.", s.Run.ID) })
		},
	}
	f.by(cmd)
	cmd.Flags().StringVar(&f.Note, "note", "", "why")
	requireFlags(cmd, "note")
	return cmd
}

func (a *admin) settleReport() *cobra.Command {
	var f cycleFlags
	cmd := &cobra.Command{
		Use: "report [RUN]", Short: "Show what a settlement run came to, check by check and step by step", Args: atMostRun,
		Long: `Show what a settlement run came to: the last one that has ended when nothing is named.
What it has not cleared is listed, the first hundred of it; with --json, all.
The exit status is that of the run: 5 it waits for a second person, 6 a check of severity
must did not pass, 7 with warnings, 8 it would not settle if the largest net debtor failed.`,
		Example: `  lianfen settle report --date 2026-03-02 --json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ask, err := f.ask(args)
			if err != nil {
				return err
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			if ask.Run == "" && ask.Date == 0 {
				runs, err := client.SettleShow(cmd.Context(), ask)
				if err != nil {
					return err
				}
				if len(runs) == 0 {
					return fmt.Errorf("there is no run yet: lianfen settle run makes one")
				}
				ask.Run = runs[len(runs)-1].ID
			}
			runs, err := client.SettleShow(cmd.Context(), ask)
			if err != nil {
				return err
			}
			s := app.Settled{Run: runs[0]}
			if s.Run.State == settlement.Checked {
				s.Outcome = app.SettleWaits
			}
			list, err := client.SettleExceptions(cmd.Context(), app.SettleAsk{Run: s.Run.ID})
			if err != nil {
				return err
			}
			all := struct {
				*settlement.Run
				List []files.Exception `json:"exception_list"`
			}{s.Run, list}
			if err := a.print(cmd, all, func() error {
				units, err := a.people(cmd, client)
				return errors.Join(err, printSettled(cmd, &s, client.Zone()), printExceptions(cmd, units, list))
			}); err != nil {
				return err
			}
			return settleStatus(&s)
		},
	}
	f.add(cmd)
	return cmd
}

// shownExceptions is how many exceptions a report shows to people.
const shownExceptions = 100

// rawOf splits what an exception has of its item: its kind, then words such as amount=42.
func rawOf(raw []byte) (kind string, says map[string]string) {
	says = make(map[string]string)
	for i, word := range strings.Fields(string(raw)) {
		name, value, named := strings.Cut(word, "=")
		switch {
		case named:
			says[name] = value
		case i == 0:
			kind = points.Escaped(word)
		}
	}
	return kind, says
}

func printExceptions(cmd *cobra.Command, units scales, list []files.Exception) error {
	if len(list) == 0 {
		return nil
	}
	if err := say(cmd, "\nNot cleared:"); err != nil {
		return err
	}
	s := newSheet(">ITEM", "REASON", "KIND", "PROGRAMME", ">POINTS", "ACQUIRER", "ISSUER", "WHAT")
	for _, e := range list[:min(len(list), shownExceptions)] {
		kind, says := rawOf(e.Raw)
		program, _ := strconv.ParseUint(says["programme"], 10, 16)
		amount, _ := strconv.ParseInt(says["amount"], 10, 64) // Our own words; of others nothing is shown.
		shown := ""
		if says["amount"] != "" {
			shown = units.amount(points.ProgramID(program), points.Amount(amount))
		}
		id := strconv.FormatUint(e.ID, 10)
		if e.More > 0 { // It stands for so many.
			id = "+" + strconv.FormatUint(e.More, 10)
		}
		s.row(id, e.Reason, kind, says["programme"], shown, says["acq"], says["iss"], e.What)
	}
	if err := s.write(cmd.OutOrStdout()); err != nil || len(list) <= shownExceptions {
		return err
	}
	more := uint64(0)
	for _, e := range list[shownExceptions:] {
		more += max(1, e.More)
	}
	return say(cmd, "and %d more: --json lists the first %d of a run, and sums up the others by reason and programme", more, settlement.MaxExceptions)
}

func (a *admin) settleDiff() *cobra.Command {
	var f cycleFlags
	var rates string
	cmd := &cobra.Command{
		Use: "diff [RUN]", Short: "Compare a cycle, as it would come out now, with a run or with other rates", Args: atMostRun,
		Long: `Compute a cycle as it would come out now and compare it, position by position: with
--against, another run under the tables as they were then; with --rates, other rates; with
both, the cycle under other rates with the other run; with neither, its own run. The items that explain most of the difference are named.`,
		Example: `  lianfen settle diff --rates 901:CLEAR:3/2
  lianfen settle diff --date 2026-03-03 --against 01KJJQZ3A0000000000000000A`,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			ask, err := f.ask(args)
			if err != nil {
				return err
			}
			if ask.Rates, err = parseRates(rates); err != nil {
				return err
			}
			return a.settleStep(cmd, "diff", ask)
		},
	}
	f.add(cmd)
	f.comparing(cmd, &rates)
	return cmd
}

func printDiff(cmd *cobra.Command, units scales, d *settlement.Comparison) error {
	if len(d.Positions) == 0 {
		if err := say(cmd, "%s and %s come to the same in every position.", d.Before, d.After); err != nil {
			return err
		}
		return printUncleared(cmd, units, d)
	}
	s := newSheet("MODEL", "MEMBER", "WITH", "CODE", ">BEFORE", ">AFTER", ">DELTA")
	for i := range d.Positions {
		p := &d.Positions[i]
		s.row(p.Model, p.Member, p.Counterparty, p.Code, p.Before, p.After, p.Delta)
	}
	if err := s.write(cmd.OutOrStdout()); err != nil {
		return err
	}
	if err := say(cmd, "\nBefore: %s. After: %s. %s; those that explain most:\n", d.Before, d.After, points.Counted(d.Differing, "item differs", "items differ")); err != nil {
		return err
	}
	s = newSheet(">ITEM", "KIND", ">PROGRAMME", ">POINTS", ">WORTH BEFORE", ">AFTER")
	for i := range d.Items {
		item := &d.Items[i]
		s.row(item.Item, item.Kind, item.Program, units.amount(item.Program, item.Amount), item.Before.Decimal(settlement.Scale), item.After.Decimal(settlement.Scale))
	}
	if err := s.write(cmd.OutOrStdout()); err != nil {
		return err
	}
	return printUncleared(cmd, units, d)
}

// printUncleared tells what stands in no position, on either side: who tries another rate has to
// see that items without one are still there.
func printUncleared(cmd *cobra.Command, units scales, d *settlement.Comparison) error {
	if err := say(cmd, "\nItems cleared: %d before, %d after. Without a value, in no position: %d before, %d after.",
		d.Cleared.Before, d.Cleared.After, d.Exceptions.Before, d.Exceptions.After); err != nil || len(d.Uncleared) == 0 {
		return err
	}
	s := newSheet("REASON", "KIND", ">PROGRAMME", ">ITEMS BEFORE", ">AFTER", ">POINTS BEFORE", ">AFTER")
	for i := range d.Uncleared {
		u := &d.Uncleared[i]
		s.row(u.Reason, u.Kind, u.Program, u.Before.Items, u.After.Items, units.sum(u.Program, u.Before.Points), units.sum(u.Program, u.After.Points))
	}
	return s.write(cmd.OutOrStdout())
}
