package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/points"
)

func newDispute() *cobra.Command {
	a := new(admin)
	cmd := a.groupOf(&cobra.Command{
		Use:   "dispute",
		Short: "Disputes about sales: retrieval, chargeback, re-presentment, arbitration",
		Long: `Disputes about redemptions and captures. A case goes from RETRIEVAL (调单) or at once to
CHARGEBACK (退单), REPRESENTMENT (再请款), ARBITRATION (仲裁) and CLOSED; CREDIT_ADJ (贷记调整),
DEBIT_ADJ (请款) and EXCEPTION (例外) are steps of one side alone. Which reason code is for
which step, who may take it, until when and with what evidence, is in the rules. Whoever
does not answer in time loses the right.`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	})
	cmd.AddCommand(
		a.disputeStep(true, "open RRN", "Begin a dispute about a sale, or go on with one that has ended",
			`  lianfen dispute open 42 --code CB01 --amount 500 --evidence "letter.pdf sha256:9f3c" --operator li --second wang`),
		a.disputeStep(false, "answer RRN", "Take the next step of an open dispute",
			`  lianfen dispute answer 42 --code REP --evidence "slip.pdf sha256:77ab" --operator li --second wang`),
		a.disputeList(), a.disputeShow(), a.disputeRules())
	return cmd
}

func (a *admin) disputeStep(open bool, use, short, example string) *cobra.Command {
	e := app.DisputeEntry{Open: open}
	who := ""
	cmd := &cobra.Command{
		Use: use, Short: short, Args: one("the retrieval reference number of the sale (zeros in front may be left out)"), Example: example,
		RunE: func(cmd *cobra.Command, args []string) error {
			e.RRN = fullRRN(args[0])
			if who != "" {
				if err := e.Who.UnmarshalText([]byte(who)); err != nil {
					return usage("--who: %w", err)
				}
			}
			if e.Amount != 0 {
				if err := checkAmount(e.Amount); err != nil {
					return err
				}
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			done, err := client.Dispute(cmd.Context(), e)
			if err != nil {
				return err
			}
			return a.print(cmd, done, func() error {
				if done.Pending != "" {
					return sayPending(cmd, done, client)
				}
				return say(cmd, "Entered under RRN %s on %v; lianfen dispute show %s tells where the case stands.", done.RRN, done.Date, e.RRN)
			})
		},
	}
	cmd.Flags().StringVar(&e.Code, "code", "", "reason code; lianfen dispute rules lists them")
	cmd.Flags().StringVar(&who, "who", "", "issuer, acquirer or operator; left out, whose step it is")
	cmd.Flags().Var(decimal((*int64)(&e.Amount), 0), "amount", "points in the smallest unit; left out, all that is left for the step")
	cmd.Flags().StringVar(&e.Evidence, "evidence", "", "what proves it: a file's name and digest, a case number")
	cmd.Flags().StringVar(&e.Note, "note", "", "why")
	twoNames(cmd, &e.Operator, &e.Second)
	requireFlags(cmd, "code")
	return cmd
}

func (a *admin) disputeList() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "list", Short: "List the open disputes, the most urgent first; with --all those that have ended, too", Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			ask := client.Disputes
			if all {
				ask = client.AllDisputes
			}
			list, err := ask(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(cmd, list, func() error {
				if len(list) == 0 {
					if all {
						return say(cmd, "There was no dispute.")
					}
					return say(cmd, "No dispute is open; --all lists those that have ended.")
				}
				units, err := scalesOf(cmd, client)
				if err != nil {
					return err
				}
				s := newSheet("RRN", "STATE", "ANSWERS", "UNTIL", ">DAYS", "ISSUER", "ACQUIRER", ">TAKEN", ">LEFT")
				for i := range list {
					d := &list[i]
					s.row(d.RRN, d.State, d.Answers, dateOr(d.Deadline, "no limit"), d.Days, d.Issuer, d.Acquirer, units.amount(d.Program, d.Taken), units.amount(d.Program, d.Left))
				}
				return s.write(cmd.OutOrStdout())
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "those that have ended, too, in the order in which they began; the whole journal is read for it")
	return cmd
}

func (a *admin) disputeShow() *cobra.Command {
	return &cobra.Command{
		Use: "show RRN", Short: "Show a dispute: where it stands, and each step", Args: one("the retrieval reference number of the sale"),
		Example: `  lianfen dispute show 42`,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			d, err := client.ShowDispute(cmd.Context(), fullRRN(args[0]))
			if err != nil {
				return err
			}
			return a.print(cmd, d, func() error {
				units, err := scalesOf(cmd, client)
				if err != nil {
					return err
				}
				read := func(amount points.Amount) string { return units.amount(d.Program, amount) }
				var t table
				t.row("sale", fmt.Sprintf("RRN %s on %v: %s of programme %d, issuer %d, acquirer %d", d.RRN, d.Date, read(d.Sold), d.Program, d.Issuer, d.Acquirer))
				t.row("state", d.State)
				t.row("answers", strings.TrimSpace(d.Answers+", until "+dateOr(d.Deadline, "no limit")))
				if d.Forfeit {
					t.row("forfeit", "the acquirer sent no slip in time, and cannot re-present")
				}
				t.row("taken back", read(d.Taken))
				t.row("left", read(d.Left))
				for _, s := range d.Steps {
					says := []string{s.Code, fmt.Sprintf("%v, RRN %s", s.Date, s.RRN)}
					if s.Amount != 0 {
						says = append(says, read(s.Amount)+" points")
					}
					if s.Evidence != "" {
						says = append(says, "evidence "+points.Escaped(s.Evidence))
					}
					says = append(says, "by "+strings.TrimSuffix(s.Operator+" and "+s.Second, " and "))
					if s.Note != "" {
						says = append(says, points.Escaped(s.Note))
					}
					t.row(s.Step, strings.Join(says, ", "))
				}
				return t.write(cmd.OutOrStdout())
			})
		},
	}
}

func (a *admin) disputeRules() *cobra.Command {
	var path string
	var r app.DisputeRuling
	cmd := &cobra.Command{
		Use: "rules", Short: "Show the rules of disputes, or put those of a file in force", Args: none,
		Example: `  lianfen dispute rules --json > rules.json
  lianfen dispute rules --set rules.json --operator li --second wang --note "terms of 2027"`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			if path == "" {
				return a.printDisputeRules(cmd, client)
			}
			file, err := os.Open(path)
			if err != nil {
				return fmt.Errorf("rules: %w", err)
			}
			r.Rules, err = app.ReadDisputeRules(file)
			if err := errors.Join(err, file.Close()); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			done, err := client.SetDisputeRules(cmd.Context(), r)
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			return a.print(cmd, done, func() error {
				if done.Pending != "" {
					return sayPending(cmd, done, client)
				}
				return say(cmd, "%s in force from RRN %s on.", points.Counted(len(r.Rules.Rules), "rule is", "rules are"), done.RRN)
			})
		},
	}
	cmd.Flags().StringVar(&path, "set", "", "JSON file of rules, as --json prints them")
	cmd.Flags().StringVar(&r.Note, "note", "", "why")
	twoNames(cmd, &r.Operator, &r.Second)
	return cmd
}

func (a *admin) printDisputeRules(cmd *cobra.Command, client *app.Client) error {
	rules, err := client.DisputeRules(cmd.Context())
	if err != nil {
		return err
	}
	return a.print(cmd, rules, func() error {
		s := newSheet("CODE", "STEP", "BY", "FROM", ">DAYS", ">TO ANSWER", "ONCE", "EVIDENCE", "NAME", "名称")
		yes := map[bool]string{true: "yes"}
		for i := range rules.Rules {
			r := &rules.Rules[i]
			s.row(r.Code, r.Step, r.Who, r.From, r.Days, r.Answer, yes[r.Once], yes[r.Evidence], r.Name, r.NameZH)
		}
		return s.write(cmd.OutOrStdout())
	})
}
