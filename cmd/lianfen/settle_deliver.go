package main

import (
	"cmp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement"
	"github.com/lianfen/lianfen/settlement/delivery"
	"github.com/lianfen/lianfen/tariff"
)

func (a *admin) settleDeliveries() *cobra.Command {
	var f cycleFlags
	cmd := &cobra.Command{
		Use: "deliveries [RUN]", Short: "Show which member has its files, and which has acknowledged them", Args: atMostRun,
		Long: `Show which member has its files of a settlement run, and which has acknowledged them: of
all published runs that are not confirmed when nothing is named. PUBLISHED: the files lie
here; DELIVERED: the member has them; ACKED: it has said what it took in, and it agrees.
The exit status is 7 when an acknowledgement is late or differs.`,
		Example: `  lianfen settle deliveries
  lianfen settle deliveries --date 2026-03-02 --json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ask, err := f.ask(args)
			if err != nil {
				return err
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			rows, err := client.SettleDeliveries(cmd.Context(), ask)
			if err != nil {
				return err
			}
			err = a.print(cmd, rows, func() error {
				if len(rows) > 0 {
					return deliveriesSheet(rows, client.Zone()).write(cmd.OutOrStdout())
				}
				if ask.Run == "" && ask.Date == 0 {
					return say(cmd, "Nothing is on its way: no run is published that is not confirmed. lianfen settle deliveries RUN shows one that is.")
				}
				return say(cmd, "Nothing was delivered of that run: it has no files for members, or is not published; lianfen settle show tells its state.")
			})
			if err != nil {
				return err
			}
			for i := range rows {
				if rows[i].Late || len(rows[i].Wrong) > 0 {
					return &statusError{status: exitWarned}
				}
			}
			return nil
		},
	}
	f.add(cmd)
	return cmd
}

// deliveriesSheet is the table of deliveries.
func deliveriesSheet(rows []delivery.Row, zone *time.Location) *sheet {
	s := newSheet("DATE", ">CYCLE", "MEMBER", "WAY", "STATE", "DELIVERED", "ACKNOWLEDGED", "DUE", "REMARK")
	moment := func(t points.Timestamp) string {
		if t == 0 {
			return "-"
		}
		return localTime(t.String(), zone)
	}
	for i := range rows {
		r := &rows[i]
		var remarks []string
		if r.Late {
			remarks = append(remarks, "LATE")
		}
		remarks = append(remarks, r.Wrong...)
		if r.By != "" {
			remarks = append(remarks, "by hand: "+r.By)
		}
		if r.Problem != "" && len(r.Wrong) == 0 {
			remarks = append(remarks, r.Problem)
		}
		s.row(r.Date, r.Cycle, r.Member, r.Way, r.State, moment(r.Delivered), moment(r.Acked), moment(r.Due), cmp.Or(strings.Join(remarks, "; "), "-"))
	}
	return s
}

// showDeliveries adds the deliveries of a published run to what is shown of it.
func showDeliveries(cmd *cobra.Command, client *app.Client, run *settlement.Run) error {
	if run.State != settlement.Published && run.State != settlement.Confirmed {
		return nil
	}
	rows, err := client.SettleDeliveries(cmd.Context(), app.SettleAsk{Run: run.ID})
	if err != nil || len(rows) == 0 {
		return err
	}
	if err := say(cmd, ""); err != nil {
		return err
	}
	return deliveriesSheet(rows, client.Zone()).write(cmd.OutOrStdout())
}

func (a *admin) settleDelivered() *cobra.Command {
	var f cycleFlags
	var member, ack string
	cmd := &cobra.Command{
		Use: "delivered [RUN]", Short: "Note that a member was given its files by hand", Args: atMostRun,
		Long: `Note that a member was given its files of a settlement run by hand: of the one that
was published last when nothing is named. The journal has a note of it, and the set counts
as delivered. With --ack, what the member has said of SHA256SUMS (lines, net, SHA-256; see
docs/files.md), it counts as acknowledged, if that agrees with what was published.

Without --member, all have theirs and have taken them in, as --note says: the run is
confirmed by your word.`,
		Example: `  lianfen settle delivered --member 20000001 --by li
  lianfen settle delivered --member 20000001 --by li --ack 12,-2.3074,9a4e0ec1b86398c4536def0f9ecb29d6354d55ed00f43d42bb281c6c23104dbb
  lianfen settle delivered --by li --note "fetched and booked by all, says their mail"`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ask, err := f.ask(args)
			if err != nil {
				return err
			}
			delivered := app.DeliveredAsk{SettleAsk: ask, Ack: ack}
			if (member == "") == (f.Note == "") {
				return usage("want --member, or --note for all of them")
			}
			if member != "" {
				if delivered.Member, err = tariff.ParseMember(member); err != nil {
					return usage("--member: %w", err)
				}
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			done, err := client.SettleDelivered(cmd.Context(), delivered)
			if err != nil {
				return err
			}
			return a.print(cmd, done, func() error {
				if done.Slip == nil {
					return say(cmd, "Run %s is confirmed.", done.Run.ID)
				}
				return say(cmd, "%v: %v.", done.Slip.Member, done.Slip.State)
			})
		},
	}
	f.add(cmd)
	f.by(cmd)
	cmd.Flags().StringVar(&f.Operator, "by", "", "likewise: who has given it") // The same name: refusals speak of --operator.
	cmd.Flags().StringVar(&member, "member", "", "the member's number")
	cmd.Flags().StringVar(&ack, "ack", "", "what the member has said of SHA256SUMS")
	cmd.Flags().StringVar(&f.Note, "note", "", "of all members: how they got theirs, and who says so")
	return cmd
}
