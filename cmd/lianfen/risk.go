package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

func newRisk() *cobra.Command {
	a := new(admin)
	cmd := a.groupOf(&cobra.Command{
		Use:   "risk",
		Short: "Limits and risk: rules that decline, flag or ask for a PIN",
		Args:  none,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	})
	cmd.AddCommand(a.riskList(), a.riskShow(), a.riskSet(), a.riskTest(), a.riskFlags())
	return cmd
}

func (a *admin) theRisk(cmd *cobra.Command) (app.Risk, error) {
	client, err := a.client()
	if err != nil {
		return app.Risk{}, err
	}
	return client.Risk(cmd.Context())
}

func (a *admin) riskList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the rules in force, in the order in which they are asked", Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := a.theRisk(cmd)
			if err != nil {
				return err
			}
			return a.print(cmd, r, func() error {
				if len(r.Rules) == 0 {
					return say(cmd, "There are no rules; version %d.", r.Version)
				}
				s := newSheet(">NO", "NAME", "LOOKS AT", "MEASURES", "PER", "WINDOW", ">LIMIT", "ABOVE IT")
				for i := range r.Rules {
					rule := &r.Rules[i]
					s.row(i+1, points.Escaped(rule.Name), app.RiskScope(rule), app.RiskMeasure(rule), rule.Per, rule.Window, rule.Limit, app.RiskAbove(rule))
				}
				if err := s.write(cmd.OutOrStdout()); err != nil {
					return err
				}
				crowded := ""
				if r.Crowded {
					crowded = "; that was not enough, and some share counters"
				}
				by := points.Escaped(r.Operator)
				if r.Second != "" {
					by += ", approved by " + points.Escaped(r.Second)
				}
				return say(cmd, "Version %d, set by %s under RRN %s: %s. Counters for %d of at most %d parties%s.",
					r.Version, by, r.Put, points.Escaped(r.Note), r.Counted, r.Most, crowded)
			})
		},
	}
}

func (a *admin) riskShow() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME|NUMBER", Short: "Show one rule in force", Args: one("the rule's name or number"),
		Example: `  lianfen risk show "new card"`,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := a.theRisk(cmd)
			if err != nil {
				return err
			}
			for i := range r.Rules {
				rule := &r.Rules[i]
				if rule.Name != args[0] && strconv.Itoa(i+1) != args[0] {
					continue
				}
				return a.print(cmd, rule, func() error {
					var t table
					t.row("rule", fmt.Sprintf("%d of version %d: %s", i+1, r.Version, points.Escaped(rule.Name)))
					t.row("looks at", app.RiskScope(rule))
					t.row("measures", app.RiskMeasure(rule))
					t.row("per", rule.Per)
					t.row("window", rule.Window)
					t.row("limit", rule.Limit)
					t.row("above it", app.RiskAbove(rule))
					return t.write(cmd.OutOrStdout())
				})
			}
			return usage("%q: no rule in force has this name or number; lianfen risk list shows them", args[0])
		},
	}
}

// readRules reads a file of rules.
func readRules(path string) (set book.RiskRules, err error) {
	file, err := os.Open(path)
	if err != nil {
		return set, fmt.Errorf("rules: %w", err)
	}
	if set, err = app.ReadRiskRules(file); err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return set, errors.Join(err, file.Close())
}

func (a *admin) riskSet() *cobra.Command {
	var path string
	var s app.RiskSetting
	cmd := &cobra.Command{
		Use: "set", Short: "Put the rules of a file in force, in place of those before", Args: none,
		Long: `Put the rules of a file in force, in place of those before: all of them, or, where one
cannot be, none. A rule whose name, scope, party and window are as before keeps what it has
counted; any other begins with nothing. Try the file with "lianfen risk test" first. With a
version in the file, only the set after the version before is accepted, so that two people
who change the rules at once do not undo each other.`,
		Example: `  lianfen risk set --file rules.yaml --operator li --note "caps of the spring campaign"`,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if s.Rules, err = readRules(path); err != nil {
				return err
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			done, err := client.SetRisk(cmd.Context(), s)
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			return a.print(cmd, done, func() error {
				if done.Pending != "" {
					return sayPending(cmd, done, client)
				}
				return say(cmd, "%s in force from RRN %s on.", points.Counted(len(s.Rules.Rules), "rule is", "rules are"), done.RRN)
			})
		},
	}
	cmd.Flags().StringVar(&path, "file", "", "YAML file of rules")
	twoNames(cmd, &s.Operator, &s.Second)
	cmd.Flags().StringVar(&s.Note, "note", "", "why")
	requireFlags(cmd, "file", "note")
	return cmd
}

func (a *admin) riskTest() *cobra.Command {
	var path, against, script, date string
	var limit int
	cmd := &cobra.Command{
		Use: "test", Short: "Tell what the rules of a file would have said on a day", Args: none,
		Long: `Tell what the rules of a file would have said on a day: which transactions would have been
answered otherwise, by which rule, and what each rule comes to. Nothing is changed.

With --date, it is a business date of the journal: a copy of the ledger is booked from the
first record on, the day once more under the rules of the file. What follows from another
answer follows in the copy too. The windows are full when the day begins.
With --script, it is a day that you have written; no switch is asked. --against names the
rules that were in force; none when left out.`,
		Example: "  lianfen risk test --file rules.yaml --date 2026-03-01\n" +
			"  lianfen risk test --file rules.yaml --against old.yaml --script day.yaml",
		RunE: func(cmd *cobra.Command, _ []string) error {
			set, err := readRules(path)
			if err != nil {
				return err
			}
			if limit < 0 {
				return usage("--limit %d: want 0 or more", limit)
			}
			var tried app.RiskTried
			zone := time.UTC
			if script != "" {
				tried, err = tryScript(cmd, &set, against, script, limit)
			} else {
				var on points.BusinessDate
				if on, err = points.ParseBusinessDate(date); err != nil {
					return usage("--date: %w", err)
				}
				client, clientErr := a.client()
				if clientErr != nil {
					return clientErr
				}
				tried, err = client.TryRisk(cmd.Context(), app.RiskTrial{Rules: set, Date: on, Limit: limit})
				zone = client.Zone()
			}
			if err != nil {
				return err
			}
			return a.print(cmd, tried, func() error { return printTried(cmd, &tried, zone) })
		},
	}
	cmd.Flags().StringVar(&path, "file", "", "YAML file of the rules to try")
	cmd.Flags().StringVar(&date, "date", "", "business date of the journal, such as 2026-03-01")
	cmd.Flags().StringVar(&script, "script", "", "YAML file of a day, instead of --date")
	cmd.Flags().StringVar(&against, "against", "", "with --script: YAML file of the rules that were in force")
	cmd.Flags().Var(decimal(&limit, 50), "limit", "at most so many transactions in the list")
	requireFlags(cmd, "file")
	cmd.MarkFlagsOneRequired("date", "script")
	cmd.MarkFlagsMutuallyExclusive("date", "script")
	cmd.MarkFlagsMutuallyExclusive("date", "against")
	return cmd
}

func tryScript(cmd *cobra.Command, set *book.RiskRules, against, script string, limit int) (tried app.RiskTried, err error) {
	var was book.RiskRules
	if against != "" {
		if was, err = readRules(against); err != nil {
			return tried, err
		}
	}
	file, err := os.Open(script)
	if err != nil {
		return tried, fmt.Errorf("day: %w", err)
	}
	day, err := app.ReadRiskDay(file)
	if err := errors.Join(err, file.Close()); err != nil {
		return tried, fmt.Errorf("%s: %w", script, err)
	}
	if tried, err = app.TryRiskDay(cmd.Context(), &day, &was, set, limit); err != nil {
		err = fmt.Errorf("%s: %w", script, err)
	}
	return tried, err
}

func printTried(cmd *cobra.Command, tried *app.RiskTried, zone *time.Location) error {
	said := languages()[english]
	if len(tried.Changes) > 0 {
		s := newSheet("RRN", "POSTED", "WHAT", "MERCHANT", "TERMINAL", "CARD", ">MEMBER", "PROGRAMME", ">AMOUNT", "WAS", "WOULD BE", "BECAUSE")
		for i := range tried.Changes {
			c := &tried.Changes[i]
			amount := c.Amount
			if c.Asked != 0 {
				amount = c.Asked
			}
			s.row(c.RRN, clockTime(c.Posted, zone), said.what(c.Kind, c.Function), strings.TrimSpace(c.Merchant.String()+" "+points.Escaped(c.MerchantName)), c.Terminal, points.Escaped(c.Card), c.Member, number(c.Program), amount, c.Reason, c.Now, because(c))
		}
		if err := s.write(cmd.OutOrStdout()); err != nil {
			return err
		}
	}
	if err := say(cmd, "%d of %d transactions of %v would be answered otherwise.", tried.Changed, tried.Asked, tried.Date); err != nil {
		return err
	}
	s := newSheet("", ">APPROVED", ">POINTS", ">DECLINED", ">BY RULES", ">FLAGGED")
	s.row("was", tried.Was.Approved, tried.Was.Amount, tried.Was.Declined, tried.Was.ByRules, tried.Was.Flagged)
	s.row("would be", tried.Now.Approved, tried.Now.Amount, tried.Now.Declined, tried.Now.ByRules, tried.Now.Flagged)
	if err := s.write(cmd.OutOrStdout()); err != nil || len(tried.Rules) == 0 {
		return err
	}
	rules := newSheet(">NO", "RULE", ">DECLINES", ">POINTS ASKED FOR", ">FLAGS")
	for _, r := range tried.Rules {
		rules.row(r.Number, points.Escaped(r.Name), r.Declined, r.Amount, r.Flagged)
	}
	return rules.write(cmd.OutOrStdout())
}

// because names the rule that declines now; else what follows from another answer.
func because(c *app.RiskChange) string {
	switch {
	case c.Said != nil && c.Said.Decided != nil:
		return fmt.Sprintf("rule %d (%s)", c.Said.Decided.Number, points.Escaped(c.Said.Decided.Name))
	case c.Risk != nil && c.Risk.Decided != nil:
		return "no rule declines it"
	default:
		return "follows from another"
	}
}

func (a *admin) riskFlags() *cobra.Command {
	var q app.RiskFlagsQuery
	var dates period
	lang := english
	cmd := &cobra.Command{
		Use: "flags", Short: "List what rules have flagged or declined, in the order of the journal", Args: none,
		Example: "  lianfen risk flags --date 2026-03-01\n  lianfen risk flags --from 2026-03-01 --to 2026-03-07 --rule loop --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			r := app.Range{Limit: q.Limit}
			if err := dates.into(&r); err != nil {
				return err
			}
			if q.From, q.To = r.From, r.To; q.To == 0 {
				q.To = q.From
			}
			if q.From == 0 {
				return usage("name a business date with --date, or a range with --from and --to")
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			f, err := client.RiskFlags(cmd.Context(), q)
			if err != nil {
				return err
			}
			return a.print(cmd, f, func() error { return printFlags(cmd, f, client, lang) })
		},
	}
	cmd.Flags().StringVar(&dates.on, "date", "", "one business date, such as 2026-03-01")
	cmd.Flags().StringVar(&dates.from, "from", "", "first business date")
	cmd.Flags().StringVar(&dates.to, "to", "", "last business date")
	cmd.Flags().StringVar(&q.Rule, "rule", "", "only what the rule of this name said")
	cmd.Flags().Var(decimal(&q.Limit, 50), "limit", "at most so many lines, 1 to 1000")
	cmd.Flags().Var((*tongue)(&lang), "lang", "language of the last column: en or zh")
	return cmd
}

func printFlags(cmd *cobra.Command, f app.RiskFlags, client *app.Client, lang string) error {
	units, err := scalesOf(cmd, client)
	if err != nil {
		return err
	}
	said := languages()[lang]
	s := newSheet("RRN", "DATE", "POSTED", "WHAT", "MERCHANT", "TERMINAL", "CARD", ">MEMBER", "PROGRAMME", ">AMOUNT", "OUTCOME", "RULES")
	for _, r := range f.Records {
		amount, text := r.Amount, r.Risk.English()
		if r.Asked != 0 {
			amount = r.Asked
		}
		if lang != english {
			text = r.Risk.Chinese()
		}
		s.row(r.RRN, r.Date, clockTime(r.Posted, client.Zone()), said.what(r.Kind, r.Function), r.Merchant, r.Terminal, r.Card, r.Member, number(r.Program), units.amount(r.Program, amount), r.Reason, text)
	}
	if len(f.Records) > 0 {
		if err := s.write(cmd.OutOrStdout()); err != nil {
			return err
		}
	}
	return say(cmd, "%d were declined by a rule, %d were flagged.", f.Declined, f.Flagged)
}
