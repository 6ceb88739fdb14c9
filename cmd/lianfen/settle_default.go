package main

import (
	"github.com/spf13/cobra"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement"
)

func (a *admin) settleGuarantees() *cobra.Command {
	return &cobra.Command{
		Use: "guarantees", Short: "Show the guarantee fund, and the limits that members have granted each other", Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			g, err := client.Guarantees(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(cmd, g, func() error {
				if err := say(cmd, "The guarantee fund has %s QZP.", g.Fund.Amount.Decimal(qzpScale)); err != nil || len(g.Limits) == 0 {
					return err
				}
				s := newSheet("GRANTED BY", "TO", ">LIMIT QZP")
				for _, l := range g.Limits {
					s.row(l.By, l.To, l.Amount.Decimal(qzpScale))
				}
				return s.write(cmd.OutOrStdout())
			})
		},
	}
}

// entered says that something holds, or that it waits for a second person.
func (a *admin) entered(cmd *cobra.Command, client *app.Client, done app.Done, what string) error {
	return a.print(cmd, done, func() error {
		if done.Pending != "" {
			return sayPending(cmd, done, client)
		}
		return say(cmd, "%s holds from RRN %s on.", what, done.RRN)
	})
}

func (a *admin) settleFund() *cobra.Command {
	var s app.FundSetting
	cmd := &cobra.Command{
		Use: "fund", Short: "Enter what the guarantee fund has", Args: none,
		Long: `Enter what the guarantee fund has, in smallest units of the standard point (0.0001). If a
member fails, the fund bears what its own prefund and collateral do not.`,
		Example: `  lianfen settle fund --amount 5000000000 --note "paid in 2026" --operator li --second wang`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			done, err := client.SetFund(cmd.Context(), s)
			if err != nil {
				return err
			}
			return a.entered(cmd, client, done, "The guarantee fund")
		},
	}
	cmd.Flags().Var(decimal((*int64)(&s.Amount), 0), "amount", "what it has")
	cmd.Flags().StringVar(&s.Note, "note", "", "why")
	twoNames(cmd, &s.Operator, &s.Second)
	requireFlags(cmd, "amount", "note")
	return cmd
}

func (a *admin) settleLimit() *cobra.Command {
	var s app.GrantSetting
	cmd := &cobra.Command{
		Use: "limit", Short: "Enter what a member bears of another one's debt at the most", Args: none,
		Long: `Enter a bilateral limit, in smallest units of the standard point (0.0001): what --by bears of
the debt of --to at the most if that one fails. What cover and guarantee fund leave of a debt
is shared among those who have granted the member that fails a limit, in the ratio of these.
0: nothing any more.`,
		Example: `  lianfen settle limit --by 20000001 --to 10000001 --amount 2000000 --note "as agreed" --operator li --second wang`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			done, err := client.SetGrant(cmd.Context(), s)
			if err != nil {
				return err
			}
			return a.entered(cmd, client, done, "The limit")
		},
	}
	f := cmd.Flags()
	f.Var(decimal((*uint32)(&s.By), 0), "by", "who grants it: institution number, up to 8 digits")
	f.Var(decimal((*uint32)(&s.To), 0), "to", "whose debt it is about, likewise")
	f.Var(decimal((*int64)(&s.Amount), 0), "amount", "the most that it bears")
	f.StringVar(&s.Note, "note", "", "why")
	twoNames(cmd, &s.Operator, &s.Second)
	requireFlags(cmd, "by", "to", "amount", "note")
	return cmd
}

func (a *admin) settleDefault() *cobra.Command {
	var f cycleFlags
	cmd := &cobra.Command{
		Use: "default [RUN]", Short: "Show who bears a member's debt if it fails, and the cycle without its items", Args: atMostRun,
		Long: `Show what it comes to if a member does not pay what it owes for a cycle. Its debt is borne by
its own prefund, its own collateral, the guarantee fund (settle fund), and then by those who
have granted it limits (settle limit), in the ratio of these and nobody beyond its own. What
is still open is met by unwinding: the cycle is netted again without the items of the member,
and the positions of both are compared.

Cover, fund and limits are those of now. Nothing is written down, and nothing is posted by it.`,
		Example: `  lianfen settle default --member 10000001
  lianfen settle default --date 2026-03-03 --cycle 1 --member 10000001 --json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ask, err := f.ask(args)
			if err != nil {
				return err
			}
			return a.settleStep(cmd, "default", ask)
		},
	}
	f.add(cmd)
	cmd.Flags().Var(decimal((*uint32)(&f.Member), 0), "member", "who fails: institution number, up to 8 digits")
	requireFlags(cmd, "member")
	return cmd
}

func printDefault(cmd *cobra.Command, units scales, f *settlement.Failure) error {
	qzp := func(amount points.Amount) string { return amount.Decimal(settlement.Scale) }
	if err := say(cmd, "If %v fails it leaves %s QZP of %v.\n", f.Member, qzp(f.Debt), f.Cut); err != nil {
		return err
	}
	s := newSheet("BORNE BY", ">HAS QZP", ">BEARS QZP")
	s.row("its prefund", qzp(f.Prefund.Has), qzp(f.Prefund.Bears))
	s.row("its collateral", qzp(f.Collateral.Has), qzp(f.Collateral.Bears))
	s.row("the guarantee fund", qzp(f.Fund.Has), qzp(f.Fund.Bears))
	for _, bearer := range f.Survivors {
		s.row("member "+bearer.Member.String(), qzp(bearer.Has), qzp(bearer.Bears))
	}
	s.row("nobody: open", "", qzp(f.Open))
	if err := s.write(cmd.OutOrStdout()); err != nil {
		return err
	}
	u := &f.Unwinding
	if err := say(cmd, "\nWithout its items: %d items remain, %d are left out, and it still owes %s QZP. It is shown only; nothing is posted.", u.Items, u.LeftOut, qzp(u.Debt)); err != nil {
		return err
	}
	if f.Posted {
		if err := say(cmd, "The cycle is posted: its items stay. What is agreed on is entered by lianfen settle adjust."); err != nil {
			return err
		}
	}
	return printDiff(cmd, units, u.Comparison)
}
