package main

import (
	"github.com/spf13/cobra"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/points"
)

func newSettle() *cobra.Command {
	a := new(admin)
	cmd := a.groupOf(&cobra.Command{
		Use: "settle", Short: "Settlement: business dates, their cycles, what members owe for them, and the night's run", Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	})
	cmd.AddCommand(a.settleCutOver(), a.settleAdjust(), a.settleLiability(), a.settleCycles(), a.settlePositions(), a.settleCaps(), a.settleCap(), newSettleVerify(), a.settleSigners())
	cmd.AddCommand(a.settlePrepare(), a.settleRun(), a.settleShow(), a.settleApprove(), a.settlePublish(), a.settleVoid(), a.settleDeliveries(), a.settleDelivered(), a.settleReport(), a.settleDiff(), a.settleGuarantees(), a.settleFund(), a.settleLimit(), a.settleDefault(), a.settleExport())
	return cmd
}

// settleCutOver is the cut-over of admin, where whoever settles looks for it.
func (a *admin) settleCutOver() *cobra.Command {
	cmd := a.cutOver()
	cmd.Example = `  lianfen settle cutover --now --operator li --second wang
  lianfen settle cutover --now --cycle`
	run := cmd.RunE
	var now bool
	cmd.Flags().BoolVar(&now, "now", false, "end it now, before the schedule does")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !now {
			return usage("a cut-over by hand wants --now; lianfen settle cycles shows when the schedule ends what runs")
		}
		return run(cmd, args)
	}
	return cmd
}

func (a *admin) settleCycles() *cobra.Command {
	var date string
	cmd := &cobra.Command{
		Use: "cycles", Short: "Show the cycles of a business date, what stands in them and when they are paid", Args: none,
		Example: `  lianfen settle cycles --date 2026-03-02`,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			var of points.BusinessDate
			if date != "" {
				if of, err = points.ParseBusinessDate(date); err != nil {
					return usage("--date: %w", err)
				}
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			cycles, err := client.Cycles(cmd.Context(), of)
			if err != nil {
				return err
			}
			return a.print(cmd, cycles, func() error {
				s := newSheet("DATE", ">CYCLE", "BEGAN", "PLANNED FOR", ">FIRST", ">LAST", "STATE", "ENDS", "PAID ON")
				for i := range cycles {
					c := &cycles[i]
					state := "open"
					if c.Closed {
						state = "closed"
					}
					s.row(c.Date, c.Cycle, localTime(c.Began, client.Zone()), localTime(c.Planned, client.Zone()), c.First, c.Last, state, localTime(c.Ends, client.Zone()), c.Settles)
				}
				return s.write(cmd.OutOrStdout())
			})
		},
	}
	cmd.Flags().StringVar(&date, "date", "", "the business date; the one that runs when left out")
	return cmd
}

func (a *admin) settlePositions() *cobra.Command {
	var date string
	var asked app.ClearedAsked
	cmd := &cobra.Command{
		Use: "positions", Short: "Show what members owe each other in a cycle, as it stands", Args: none,
		Long: `Show what members owe each other in a cycle, as it stands: kept with every decision, in
standard points (QZP); with --json in their smallest units (0.0001). Items without a value had no
rate or no fee; those that were decided before there was any rate are not among them. A
settlement run counts these too.`,
		Example: `  lianfen settle positions --date 2026-03-02 --cycle 2`,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if date != "" {
				if asked.Date, err = points.ParseBusinessDate(date); err != nil {
					return usage("--date: %w", err)
				}
			} else if asked.Cycle != 0 {
				return usage("--cycle wants --date beside it")
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			v, err := client.Cleared(cmd.Context(), asked)
			if err != nil {
				return err
			}
			return a.print(cmd, v, func() error {
				s := newSheet("MEMBER", ">PAYS QZP", ">RECEIVES QZP", ">NET QZP")
				for i := range v.Positions {
					p := &v.Positions[i]
					s.row(p.Member, p.Pay.Decimal(qzpScale), p.Receive.Decimal(qzpScale), p.Net.Decimal(qzpScale))
				}
				if err := s.write(cmd.OutOrStdout()); err != nil {
					return err
				}
				state := "open"
				switch {
				case v.Posted != "":
					state = "posted under RRN " + v.Posted
				case v.Closed:
					state = "closed"
				}
				if err := say(cmd, "Cycle %d of %v is %s: %s, and %d without a value.", v.Cycle, v.Date, state, points.Counted(v.Items, "item", "items"), v.Unvalued); err != nil || v.Exceptions <= v.Unvalued {
					return err
				}
				return say(cmd, "Its run has %s, also of what was decided before there was any rate: lianfen settle report %s lists them.", points.Counted(v.Exceptions, "exception", "exceptions"), v.Run)
			})
		},
	}
	cmd.Flags().StringVar(&date, "date", "", "the business date; with the cycle, the one that runs when left out")
	cmd.Flags().Var(decimal(&asked.Cycle, 0), "cycle", "the cycle; the first when left out")
	return cmd
}

func (a *admin) settleCaps() *cobra.Command {
	return &cobra.Command{
		Use: "caps", Short: "Show the members' net debit caps, and what counts for them", Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			caps, err := client.Caps(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(cmd, caps, func() error {
				if len(caps) == 0 {
					return say(cmd, "No member has a cap.")
				}
				s := newSheet("MEMBER", ">CAP QZP", ">COVER", ">OWES", ">OF IT RESERVED", ">HEADROOM", "CREDIT COUNTS", "HOLDS")
				for i := range caps {
					c := &caps[i]
					credit := "at once"
					if c.CreditLater {
						credit = "once settled"
					}
					holds := "reserve"
					if !c.Holds {
						holds = "reserve nothing"
					}
					s.row(c.Member, c.Cap.Cap.Decimal(qzpScale), c.Cover.Decimal(qzpScale), c.Owes.Decimal(qzpScale), c.Reserved.Decimal(qzpScale), c.Headroom.Decimal(qzpScale), credit, holds)
				}
				return s.write(cmd.OutOrStdout())
			})
		},
	}
}

func (a *admin) settleCap() *cobra.Command {
	var s app.CapSetting
	cmd := &cobra.Command{
		Use: "cap", Short: "Set how much a member may owe before it has paid", Args: none,
		Long: `Set how much a member may owe the others before it has paid, and what it has put down for
that; all in smallest units of the standard point (0.0001). A cap is at most what the
haircuts leave of prefund and collateral. Sales, earns and holds beyond it are declined (61).
Holds reserve what capturing them would make it owe, those that are placed or changed from
now on.`,
		Example: `  lianfen settle cap --member 10000001 --cap 500000000 --prefund 600000000 --prefund-haircut-ppm 50000 --note "as agreed" --operator li --second wang`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			done, err := client.SetCap(cmd.Context(), s)
			if err != nil {
				return err
			}
			return a.print(cmd, done, func() error {
				if done.Pending != "" {
					return sayPending(cmd, done, client)
				}
				return say(cmd, "The cap of member %v holds from RRN %s on.", s.Member, done.RRN)
			})
		},
	}
	f := cmd.Flags()
	f.Var(decimal((*uint32)(&s.Member), 0), "member", "institution number, up to 8 digits")
	f.Var(decimal((*int64)(&s.Cap.Cap), 0), "cap", "the most that it may owe")
	f.BoolVar(&s.Unlimited, "unlimited", false, "it has no cap any more")
	f.Var(decimal((*int64)(&s.Prefund), 0), "prefund", "what it has paid in")
	f.Var(decimal(&s.PrefundHaircut, 0), "prefund-haircut-ppm", "what is taken off the prefund, in parts per million")
	f.Var(decimal((*int64)(&s.Collateral), 0), "collateral", "what it has pledged")
	f.Var(decimal(&s.CollateralHaircut, 0), "collateral-haircut-ppm", "what is taken off the collateral, in parts per million")
	f.BoolVar(&s.CreditLater, "credit-later", false, "what the others owe it counts only once it is settled")
	f.BoolVar(&s.HoldsFree, "holds-free", false, "holds reserve nothing of it: what is captured may go beyond it")
	f.StringVar(&s.Note, "note", "", "why")
	twoNames(cmd, &s.Operator, &s.Second)
	requireFlags(cmd, "member", "note")
	cmd.MarkFlagsOneRequired("cap", "unlimited")
	cmd.MarkFlagsMutuallyExclusive("cap", "unlimited")
	return cmd
}
