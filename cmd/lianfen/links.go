package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/points"
)

func (a *admin) links() *cobra.Command {
	return &cobra.Command{
		Use: "links", Short: "Show the connections to issuers' own hosts", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			links, err := client.Links(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(cmd, links, func() error {
				if len(links) == 0 {
					_, err := fmt.Fprintln(cmd.OutOrStdout(), "There are no links; every issuer's ledger is hosted here.")
					return err
				}
				var t table
				t.row("LINK", "PATH", "PEER", "STATE", "IN FLIGHT", "BREAKER", "OWED", "OLDEST", "CUT-OVER")
				for _, l := range links {
					t.row(l.Link, l.Path, l.Peer, l.State, l.InFlight, l.Breaker, l.Owed, l.OldestFor.Round(time.Second), l.CutOver)
				}
				return t.write(cmd.OutOrStdout())
			})
		},
	}
}

func (a *admin) reload() *cobra.Command {
	return &cobra.Command{
		Use: "reload", Short: "Read configuration, keys and certificates again and put them in force; no message is dropped", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			done, err := client.Reload(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(cmd, done, func() error {
				return sayReloaded(cmd, &done, client.Zone())
			})
		},
	}
}

// sayReloaded tells people what a reload has changed, and what it has not.
func sayReloaded(cmd *cobra.Command, done *app.Reloaded, zone *time.Location) error {
	keys := "The keys are as they were"
	if done.Keys {
		keys = "The keys have changed, and those of the keystore are in force"
	}
	errs := []error{say(cmd, "%s. Certificates and revocations were read again; %s closed by them. %s in force.", keys, points.Counted(done.Closed, "connection was", "connections were"), points.Counted(done.Links, "link is", "links are"))}
	if len(done.InForce) > 0 {
		errs = append(errs, say(cmd, "Changed, and in force: %s.", strings.Join(done.InForce, ", ")))
	}
	if done.NextCutOver != "" && slices.ContainsFunc(done.InForce, func(key string) bool { return key == "settlement.cutover" || key == "settlement.cycles" }) {
		errs = append(errs, say(cmd, "The next cut-over is at %s.", localTime(done.NextCutOver, zone)))
	}
	if len(done.Restart) > 0 {
		errs = append(errs, say(cmd, "NOT in force, a restart is needed for: %s.", strings.Join(done.Restart, ", ")))
	}
	for _, warning := range done.Warnings {
		errs = append(errs, sayTo(cmd.ErrOrStderr(), "lianfen: warning: %s", warning))
	}
	return errors.Join(errs...)
}

func (a *admin) owed() *cobra.Command {
	cmd := &cobra.Command{
		Use: "owed", Short: "Reversals and advices that issuers have not acknowledged", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.owedList(), a.owedResolve())
	return cmd
}

func (a *admin) owedList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List them, the oldest first; those that are queued wait for you", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			owed, err := client.Owed(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(cmd, owed, func() error {
				if len(owed) == 0 {
					_, err := fmt.Fprintln(cmd.OutOrStdout(), "Nothing is owed.")
					return err
				}
				units, err := scalesOf(cmd, client)
				if err != nil {
					return err
				}
				return owedTable(owed, units, client.Zone()).write(cmd.OutOrStdout())
			})
		},
	}
}

func owedTable(owed []app.Owed, units scales, zone *time.Location) *table {
	t := new(table)
	t.row("RRN", "STATE", "KIND", "OF", "AMOUNT", "PROGRAMME", "CARD", "ISSUER", "LINK", "SINCE", "THE ISSUER SAID")
	for _, o := range owed {
		t.row(o.RRN, o.State, o.Kind, o.Function, units.amount(o.Program, o.Amount), o.Program, o.Card, o.Issuer, o.Link, localTime(o.Since, zone), o.Refusal)
	}
	return t
}

func (a *admin) owedResolve() *cobra.Command {
	return a.resolution(&cobra.Command{
		Use: "resolve RRN", Short: "End one that is queued, as the issuer says on being asked; a second person approves",
		Long: `End what could not be settled with the issuer. Ask the issuer first: does the
transaction stand in its ledger, or is it gone?

                       --stands                           --gone
  a queued reversal    clearing pays the acquirer         nothing is booked
  a queued advice      clearing stays as it is            the acquirer keeps what it was
                                                          told; the issuer's suspense pays`,
		Example: `  lianfen admin owed resolve 000000001234 --gone --operator li --second wang --note "mail of 3 March"`,
		Args:    one("the retrieval reference number, 12 characters"),
	})
}

// resolution makes cmd one that ends what an issuer was asked about by telephone.
func (a *admin) resolution(cmd *cobra.Command) *cobra.Command {
	var r app.Resolution
	var gone bool
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		client, err := a.client()
		if err != nil {
			return err
		}
		r.RRN = fullRRN(args[0])
		done, err := client.Resolve(cmd.Context(), r)
		if err != nil {
			return err
		}
		return a.print(cmd, done, func() error {
			if done.Pending != "" {
				return sayPending(cmd, done, client)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "Resolved under RRN %s on %v.\n", done.RRN, done.Date)
			return err
		})
	}
	cmd.Flags().BoolVar(&r.Stands, "stands", false, "it stands at the issuer")
	cmd.Flags().BoolVar(&gone, "gone", false, "it is gone at the issuer, or never was there")
	twoNames(cmd, &r.Operator, &r.Second)
	cmd.Flags().StringVar(&r.Note, "note", "", "why: who at the issuer said so")
	cmd.MarkFlagsOneRequired("stands", "gone")
	cmd.MarkFlagsMutuallyExclusive("stands", "gone")
	requireFlags(cmd, "note")
	return cmd
}
