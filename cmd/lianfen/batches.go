package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/points"
)

func (a *admin) batch() *cobra.Command {
	cmd := &cobra.Command{
		Use: "batch", Short: "Batches that terminals have closed, and how they compare with ours 批结算", Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.batchList(), a.batchShow(), a.batchTotals())
	return cmd
}

func (a *admin) batchList() *cobra.Command {
	var q app.BatchQuery
	var dates period
	var terminal, merchant string
	cmd := &cobra.Command{
		Use: "list", Short: "List closed batches, and dates that partners have closed, newest first", Args: none,
		Example: "  lianfen admin batch list --unequal --from 2026-03-01\n  lianfen admin batch list --terminal T0000001",
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if terminal != "" {
				if q.Terminal, err = points.ParseTerminalID(terminal); err != nil {
					return usage("--terminal: %w", err)
				}
			}
			if merchant != "" {
				if q.Merchant, err = points.ParseMerchantID(merchant); err != nil {
					return usage("--merchant: %w", err)
				}
			}
			if err := dates.into(&q.Range); err != nil {
				return err
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			batches, err := client.Batches(cmd.Context(), q)
			if err != nil {
				return err
			}
			return a.print(cmd, batches, func() error { return printBatches(cmd, batches, client.Zone()) })
		},
	}
	cmd.Flags().StringVar(&terminal, "terminal", "", "only this terminal's")
	cmd.Flags().StringVar(&merchant, "merchant", "", "only those of this merchant's terminals")
	cmd.Flags().BoolVar(&q.Unequal, "unequal", false, "only those whose totals differ")
	cmd.Flags().StringVar(&dates.on, "date", "", "only those of this business date")
	rangeFlags(cmd, &q.Range, &dates)
	return cmd
}

func printBatches(cmd *cobra.Command, batches app.Batches, zone *time.Location) error {
	if len(batches.Batches) == 0 {
		return say(cmd, "No batch was closed.")
	}
	t := new(table)
	t.row("RRN", "DATE", "POSTED", "WHO", "BATCH", "TOTALS", "THEIR DEBITS", "OUR DEBITS", "THEIR CREDITS", "OUR CREDITS")
	for i := range batches.Batches {
		b := &batches.Batches[i]
		result := "equal"
		if !b.Equal {
			result = "UNEQUAL"
		}
		t.row(b.RRN, b.Date, clockTime(b.Posted, zone), batchOwner(b), batchName(b), result, sumText(b.Theirs.Debits), sumText(b.Ours.Debits), sumText(b.Theirs.Credits), sumText(b.Ours.Credits))
	}
	if err := t.write(cmd.OutOrStdout()); err != nil || batches.Next == "" {
		return err
	}
	return say(cmd, "There are more: --next %s", batches.Next)
}

func batchOwner(b *app.Batch) string {
	if b.Terminal == (points.TerminalID{}) {
		return fmt.Sprintf("acquirer %d", b.Acquirer)
	}
	return fmt.Sprintf("%v of %v", b.Terminal, b.Merchant)
}

func batchName(b *app.Batch) string {
	if b.Closes != 0 {
		return "date " + b.Closes.String()
	}
	return fmt.Sprintf("%06d", b.Batch)
}

func sumText(s app.Sum) string { return fmt.Sprintf("%d in %d", s.Amount, s.Count) }

func (a *admin) batchShow() *cobra.Command {
	return &cobra.Command{
		Use: "show RRN", Short: "Hold what a terminal has sent up against what we have",
		Long: `Hold the transactions that a terminal has sent up after unequal totals against ours.

  only at the terminal  it has a receipt, and nothing was booked here
  only here             booked, and the terminal has lost the answer; a candidate for reversal
  differs               one trace number, another amount or card

What was reversed since the close is in neither list: a difference that was mended is gone.`,
		Example: "  lianfen admin batch show 000000000042",
		Args:    one("the retrieval reference number of the close; list names it"),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			d, err := client.Batch(cmd.Context(), fullRRN(args[0]))
			if err != nil {
				return err
			}
			return a.print(cmd, d, func() error { return printBatch(cmd, &d, client.Zone()) })
		},
	}
}

func printBatch(cmd *cobra.Command, d *app.BatchDetail, zone *time.Location) error {
	t := new(table)
	result := "equal"
	if !d.Equal {
		result = "UNEQUAL"
	}
	t.row("batch", fmt.Sprintf("%s of %s, closed %s", batchName(&d.Batch), batchOwner(&d.Batch), localTime(d.Posted, zone)))
	t.row("totals", result)
	t.row("debits", fmt.Sprintf("theirs %s, ours %s", sumText(d.Theirs.Debits), sumText(d.Ours.Debits)))
	t.row("credits", fmt.Sprintf("theirs %s, ours %s", sumText(d.Theirs.Credits), sumText(d.Ours.Credits)))
	if d.OursUndone != nil && d.TheirsUndone != nil {
		t.row("debits reversed", fmt.Sprintf("theirs %s, ours %s", sumText(d.TheirsUndone.Debits), sumText(d.OursUndone.Debits)))
		t.row("credits reversed", fmt.Sprintf("theirs %s, ours %s", sumText(d.TheirsUndone.Credits), sumText(d.OursUndone.Credits)))
	} else {
		upload := "nothing"
		if d.Sent > 0 || d.Complete {
			upload = fmt.Sprintf("%s, %d of them as ours", points.Counted(d.Sent, "transaction", "transactions"), d.Matched)
		}
		if d.Sent > 0 && !d.Complete {
			upload += "; the end has not come yet"
		}
		t.row("sent up", upload)
	}
	if err := t.write(cmd.OutOrStdout()); err != nil {
		return err
	}
	if len(d.OnlyTerminal)+len(d.OnlyHost)+len(d.Differ) == 0 {
		return nil
	}
	t = new(table)
	t.row("WHERE", "STAN", "CARD", "AMOUNT", "RRN", "WHAT")
	for _, item := range d.OnlyTerminal {
		t.row("only at the terminal", item.STAN, item.Card, item.Amount, "", "")
	}
	for _, item := range d.OnlyHost {
		t.row("only here", item.STAN, item.Card, item.Amount, item.RRN, item.Function)
	}
	for _, pair := range d.Differ {
		t.row("differs: terminal", pair.Terminal.STAN, pair.Terminal.Card, pair.Terminal.Amount, "", "")
		t.row("         here", pair.Host.STAN, pair.Host.Card, pair.Host.Amount, pair.Host.RRN, pair.Host.Function)
	}
	return t.write(cmd.OutOrStdout())
}

func (a *admin) batchTotals() *cobra.Command {
	return &cobra.Command{
		Use: "totals TERMINAL", Short: "Show what is counted of a terminal's batches now",
		Example: "  lianfen admin batch totals T0000001",
		Args:    one("the terminal"),
		RunE: func(cmd *cobra.Command, args []string) error {
			terminal, err := points.ParseTerminalID(args[0])
			if err != nil {
				return usage("%w", err)
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			counting, err := client.Counting(cmd.Context(), terminal)
			if err != nil {
				return err
			}
			return a.print(cmd, counting, func() error {
				if len(counting.Batches) == 0 {
					return say(cmd, "Nothing is counted of %v.", counting.Terminal)
				}
				t := new(table)
				t.row("BATCH", "STATE", "DEBITS", "CREDITS")
				for _, b := range counting.Batches {
					state := "open"
					if b.Closed {
						state = "closed"
					}
					t.row(fmt.Sprintf("%06d", b.Batch), state, sumText(b.Ours.Debits), sumText(b.Ours.Credits))
				}
				return t.write(cmd.OutOrStdout())
			})
		},
	}
}
