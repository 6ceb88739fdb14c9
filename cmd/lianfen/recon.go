package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/reconcile"
)

func newRecon() *cobra.Command {
	a := new(admin)
	cmd := a.groupOf(&cobra.Command{
		Use:   "recon",
		Short: "Reconciliation: our journal, acquirers' and issuers' files, line by line",
		Long: `Compare what this switch has cleared on a business date with what acquirers and issuers
say. Lines belong together by acquirer, DE11, DE7 with the year and DE37, and each is used
once. What is missing on a side is in doubt (存疑) and looked for again with the next two
dates; then it is an exception, as every other difference is at once. An exception is ended
by an act that one person proposes and another approves.`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	})
	cmd.AddCommand(a.reconRun(), a.reconList(), a.reconShow(), a.reconAct())
	return cmd
}

// partnerFiles reads MEMBER=FILE, several with commas or by repeating the flag.
func partnerFiles(flag string, list []string) (files []app.PartnerFile, err error) {
	for _, text := range list {
		member, path, ok := strings.Cut(text, "=")
		n, parseErr := strconv.ParseUint(member, 10, 32)
		if !ok || parseErr != nil || path == "" {
			return nil, usage("--%s %q: want MEMBER=FILE, such as 20000001=det.txt", flag, text)
		}
		if path, err = filepath.Abs(path); err != nil {
			return nil, usage("--%s: %w", flag, err)
		}
		files = append(files, app.PartnerFile{Member: n, Path: path})
	}
	return files, nil
}

func (a *admin) reconRun() *cobra.Command {
	var date string
	var acquirers, issuers []string
	var q app.Reconciling
	cmd := &cobra.Command{
		Use: "run", Short: "Compare a business date with files of acquirers and issuers", Args: none,
		Long: `Compare a business date with files of acquirers and issuers, which are read by the serving
process. A file is a detail file (DET, one part) or CSV with a header line and a last line
#TOTAL; docs/operations.md has the columns. A file whose header, trailer or digest is wrong
is refused whole, and nothing is changed; a row that cannot be read becomes an exception
with its number and its bytes. To run a date again replaces what came of it.

Totals come first: by partner, date and kind the count, the sum of points and of clearing
ids, and a digest over all lines. Whose totals are ours is done; lines are compared of the
others, or of all with --lines. Of a detail file in several parts name all.

A date that has not ended is refused: what is still to come would be missing. --early looks
all the same; what it finds is provisional: nothing of it can be acted on, the next date
takes none of its doubts over, and it is gone once the date has ended.
The exit status is 1 when there are exceptions.`,
		Example: `  lianfen recon run --date 2026-03-01 --acquirer 20000001=QZ_DET_20000001_A_20260301_01_1of1.txt --issuer 10000001=issuer.csv`,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if q.Date, err = points.ParseBusinessDate(date); err != nil {
				return usage("--date: %w", err)
			}
			if q.Acquirers, err = partnerFiles("acquirer", acquirers); err != nil {
				return err
			}
			if q.Issuers, err = partnerFiles("issuer", issuers); err != nil {
				return err
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			r, err := client.Reconcile(cmd.Context(), q)
			if err != nil {
				return err
			}
			if err := a.print(cmd, r, func() error { return printReconciled(cmd, &r) }); err != nil {
				return err
			}
			if r.Exceptions > 0 {
				return &statusError{exitFault, errors.New("there are exceptions; lianfen recon list shows them")}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&date, "date", "", "business date")
	cmd.Flags().StringSliceVar(&acquirers, "acquirer", nil, "MEMBER=FILE of an acquirer; may be repeated")
	cmd.Flags().StringSliceVar(&issuers, "issuer", nil, "MEMBER=FILE of an issuer; may be repeated")
	cmd.Flags().BoolVar(&q.Lines, "lines", false, "compare line by line also where totals are equal")
	cmd.Flags().BoolVar(&q.Early, "early", false, "look at a date that has not ended; what is found is provisional")
	requireFlags(cmd, "date")
	cmd.MarkFlagsOneRequired("acquirer", "issuer")
	return cmd
}

func printReconciled(cmd *cobra.Command, r *app.Reconciled) error {
	s := newSheet("CLASS", ">LINES", ">POINTS")
	for _, class := range reconcile.Classes() {
		if c, ok := r.Classes[class.String()]; ok {
			s.row(class, c.Count, c.Points)
		}
	}
	if r.BadRows > 0 {
		s.row(reconcile.BadRow, r.BadRows, "")
	}
	if err := s.write(cmd.OutOrStdout()); err != nil {
		return err
	}
	if err := printTotals(cmd, r); err != nil {
		return err
	}
	for _, o := range r.Online {
		equal := "equal"
		if !o.Equal {
			equal = "unequal"
		}
		if err := say(cmd, "Online totals (0500) of acquirer %d: %s, RRN %s.", o.Acquirer, equal, o.RRN); err != nil {
			return err
		}
	}
	for _, file := range r.Unsummed {
		if err := say(cmd, "The sum of #TOTAL could not be checked, since the amount of a row cannot be read: %s.", file); err != nil {
			return err
		}
	}
	if r.Open {
		if err := say(cmd, "%v has not ended: all of this is provisional, and nothing of it can be acted on. Run it again after the cut-over.", r.Date); err != nil {
			return err
		}
	}
	return say(cmd, "%v: %s here, %d of acquirers, %d of issuers; %d in doubt, %d timing, %s. In %s.",
		r.Date, points.Counted(r.Lines["switch"], "line", "lines"), r.Lines["acquirer"], r.Lines["issuer"], r.InDoubt, r.Timing, points.Counted(r.Exceptions, "exception", "exceptions"), r.Folder)
}

// printTotals shows whose totals are ours, and which of the others' are not.
func printTotals(cmd *cobra.Command, r *app.Reconciled) error {
	for _, who := range r.ByTotals {
		if err := say(cmd, "Equal by totals: %s.", who); err != nil {
			return err
		}
	}
	if len(r.Totals) == 0 {
		return nil
	}
	s := newSheet("TOTALS OF", "DATE", "KIND", ">LINES HERE", ">THEIRS", ">POINTS HERE", ">THEIRS")
	for i := range r.Totals {
		d := &r.Totals[i]
		s.row(fmt.Sprintf("%v %d", d.Side, d.Member), d.Date, d.Kind, d.Ours.Count, d.Theirs.Count, d.Ours.Amount, d.Theirs.Amount)
	}
	return s.write(cmd.OutOrStdout())
}

func (a *admin) reconList() *cobra.Command {
	var q app.ReconQuery
	date := ""
	cmd := &cobra.Command{
		Use: "list", Short: "List exceptions that nobody has ended yet", Args: none,
		Example: `  lianfen recon list --date 2026-03-01 --class AMOUNT`,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if date != "" {
				if q.Date, err = points.ParseBusinessDate(date); err != nil {
					return usage("--date: %w", err)
				}
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			list, err := client.Exceptions(cmd.Context(), q)
			if err != nil {
				return err
			}
			return a.print(cmd, list, func() error {
				if len(list.Exceptions) == 0 {
					return say(cmd, "There are none.")
				}
				s := newSheet("ID", "DATE", "CLASS", "OWNER", "SINCE", "RRN", ">OURS", ">ACQUIRER", ">ISSUER", "SUGGESTED", "STATE")
				for i := range list.Exceptions {
					e := &list.Exceptions[i]
					s.row(e.ID, e.Date, e.Class, e.Owner, dateOr(e.Since, ""), e.RRN, amountOf(e.Ours), amountOf(e.Acq), amountOf(e.Iss), e.Action, stateOf(e))
				}
				if err := s.write(cmd.OutOrStdout()); err != nil || !list.More {
					return err
				}
				return say(cmd, "There are more: name a date, a class or a greater --limit.")
			})
		},
	}
	cmd.Flags().StringVar(&date, "date", "", "only of this business date")
	cmd.Flags().StringVar(&q.Class, "class", "", "only of this class, such as MISSING_ISS")
	cmd.Flags().BoolVar(&q.Done, "done", false, "those that were ended, too")
	cmd.Flags().BoolVar(&q.All, "all", false, "everything: what is in doubt, and timing, too")
	cmd.Flags().Var(decimal(&q.Limit, 200), "limit", "at most so many")
	return cmd
}

func amountOf(l *app.ExceptionLine) string {
	if l == nil {
		return ""
	}
	return strconv.FormatInt(l.Amount, 10)
}

func stateOf(e *app.Exception) string {
	switch last := len(e.Acts) - 1; {
	case last >= 0:
		return e.Acts[last].Action + " " + e.Acts[last].State
	case e.Provisional:
		return "provisional"
	case e.Doubt:
		return "in doubt"
	case e.Timing:
		return "timing"
	default:
		return "open"
	}
}

// oneException asks for an exception.
func (a *admin) oneException(cmd *cobra.Command, id string) (app.Exception, error) {
	client, err := a.client()
	if err != nil {
		return app.Exception{}, err
	}
	list, err := client.Exceptions(cmd.Context(), app.ReconQuery{ID: id})
	if err != nil {
		return app.Exception{}, err
	}
	if len(list.Exceptions) == 0 {
		return app.Exception{}, points.Errorf(points.UnknownOriginal, "exception %q: there is none; lianfen recon list shows them", id)
	}
	return list.Exceptions[0], nil
}

func (a *admin) reconShow() *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Show an exception: what each side says, and what was done", Args: one("the exception's ID"),
		Example: `  lianfen recon show 3f2a9c01d4e5`,
		RunE: func(cmd *cobra.Command, args []string) error {
			e, err := a.oneException(cmd, args[0])
			if err != nil {
				return err
			}
			return a.print(cmd, e, func() error {
				var t table
				t.row("exception", e.ID)
				t.row("class", e.Class)
				t.row("business date", e.Date)
				t.row("owner", e.Owner)
				t.row("state", stateOf(&e))
				if e.Action != "" {
					t.row("suggested", e.Action)
				}
				if e.File != "" {
					t.row("file", e.File+", line "+strconv.FormatUint(e.Line, 10))
					t.row("row", string(e.Raw))
					t.row("why", e.Why)
				}
				if e.Ours != nil {
					t.row("switch", fmt.Sprintf("clearing id %d, ", e.Ours.CID)+lineInWords(e.Ours))
				}
				if e.Acq != nil {
					t.row("acquirer", fmt.Sprintf("line %d, ", e.Acq.Line)+lineInWords(e.Acq))
				}
				if e.Iss != nil {
					t.row("issuer", fmt.Sprintf("line %d, ", e.Iss.Line)+lineInWords(e.Iss))
				}
				for _, act := range slices.Backward(e.Acts) {
					t.row("act", act.Action+" by "+act.Operator+", "+act.State+" under RRN "+act.RRN)
				}
				return t.write(cmd.OutOrStdout())
			})
		},
	}
}

// lineInWords is what one side says; what it does not tell is left out.
func lineInWords(l *app.ExceptionLine) string {
	says := []string{l.Kind, strconv.FormatInt(l.Amount, 10) + " of " + l.Asset}
	if l.Status != "" {
		says = append(says, "DE39 "+l.Status)
	}
	if l.Fee != nil {
		says = append(says, "fees "+points.Amount(*l.Fee).Decimal(qzpScale)+" QZP")
	}
	return strings.Join(append(says, "STAN "+l.STAN.String(), "DE7 "+strconv.FormatUint(l.When, 10), l.Date.String()), ", ")
}

func (a *admin) reconAct() *cobra.Command {
	var act app.ReconActing
	payer, payee := "", ""
	cmd := &cobra.Command{
		Use: "act ID", Short: "Propose how an exception ends; a second person approves", Args: one("the exception's ID"),
		Long: `Propose how an exception ends; a second person approves. What it does is a record of the
journal, which names the exception and the evidence:

  suspense  挂账  --payer pays the operator's suspense account
  post      补记  --payer pays --payee what was left out
  adjust    调账  --payer pays --payee the difference
  reverse   冲销  points that our item moved are taken back from the acquirer; refused where
                  both sides have the item (DUP, DATE, FEE)
  close           nothing is to be done

Amounts of the first three are in units of 0.0001 QZP, of reverse in points.`,
		Example: `  lianfen recon act 3f2a9c01d4e5 --action adjust --payer 10000001 --payee 20000001 --amount 125000 --evidence "mail of 03-02" --operator li --second wang`,
		RunE: func(cmd *cobra.Command, args []string) error {
			act.ID = args[0]
			if !slices.Contains(app.ReconActions(), act.Action) {
				return usage("--action %q: want one of %s", act.Action, strings.Join(app.ReconActions(), ", "))
			}
			for _, m := range []struct {
				flag, text string
				to         interface{ UnmarshalText([]byte) error }
			}{{"payer", payer, &act.Payer}, {"payee", payee, &act.Payee}} {
				if m.text == "" {
					continue
				}
				if err := m.to.UnmarshalText([]byte(m.text)); err != nil {
					return usage("--%s: %w", m.flag, err)
				}
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			done, err := client.ActOn(cmd.Context(), act)
			if err != nil {
				return err
			}
			return a.print(cmd, done, func() error {
				if done.Pending != "" {
					return sayPending(cmd, done, client)
				}
				return say(cmd, "Exception %s: %s under RRN %s on %v.", act.ID, act.Action, done.RRN, done.Date)
			})
		},
	}
	cmd.Flags().StringVar(&act.Action, "action", "", strings.Join(app.ReconActions(), ", "))
	cmd.Flags().StringVar(&payer, "payer", "", "who pays")
	cmd.Flags().StringVar(&payee, "payee", "", "who is paid")
	cmd.Flags().Var(decimal((*int64)(&act.Amount), 0), "amount", "see above")
	cmd.Flags().StringVar(&act.Evidence, "evidence", "", "what proves it")
	cmd.Flags().StringVar(&act.Note, "note", "", "why")
	twoNames(cmd, &act.Operator, &act.Second)
	requireFlags(cmd, "action", "evidence")
	return cmd
}
