package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/liability"
)

func (a *admin) settleAdjust() *cobra.Command {
	var e app.LegEntry
	kind, payer, payee := "ADJ", "", ""
	cmd := &cobra.Command{
		Use: "adjust", Short: "Enter an adjustment or a fee between two members; a second person approves", Args: none,
		Long: `Enter an adjustment (ADJ) or a fee (FEE): so much in standard points, that one member of
settlement pays another, in the business date that runs. It moves no points of any
cardholder. A member is an issuer or an acquirer by its number, or FEE, VAT, ROUND or
SUSPENSE of the operator. What was published is corrected so, in the next date.`,
		Example: `  lianfen settle adjust --payer 10000001 --payee 20000001 --amount 125000 --about 42 --evidence "exception 3f2a" --note "short paid on 03-01" --operator li --second wang`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := e.Kind.UnmarshalText([]byte(kind)); err != nil || !e.Kind.Explicit() {
				return usage("--kind %q: want ADJ or FEE", kind)
			}
			if err := e.Payer.UnmarshalText([]byte(payer)); err != nil {
				return usage("--payer: %w", err)
			}
			if err := e.Payee.UnmarshalText([]byte(payee)); err != nil {
				return usage("--payee: %w", err)
			}
			if err := checkAmount(e.Amount); err != nil {
				return usage("--amount %d: want 1 to %d, in units of 0.0001 QZP", e.Amount, points.MaxAmount)
			}
			e.About = fullRRN(e.About)
			client, err := a.client()
			if err != nil {
				return err
			}
			done, err := client.Leg(cmd.Context(), e)
			if err != nil {
				return err
			}
			return a.print(cmd, done, func() error {
				if done.Warning != "" {
					if err := say(cmd, "Warning: %s.", done.Warning); err != nil {
						return err
					}
				}
				if done.Pending != "" {
					return sayPending(cmd, done, client)
				}
				return say(cmd, "%v pays %v %s QZP on %v: entered under RRN %s.", e.Payer, e.Payee, e.Amount.Decimal(qzpScale), done.Date, done.RRN)
			})
		},
	}
	cmd.Flags().StringVar(&kind, "kind", kind, "ADJ or FEE")
	cmd.Flags().StringVar(&payer, "payer", "", "who pays")
	cmd.Flags().StringVar(&payee, "payee", "", "who is paid")
	cmd.Flags().Var(decimal((*int64)(&e.Amount), 0), "amount", "in units of 0.0001 QZP")
	cmd.Flags().StringVar(&e.About, "about", "", "RRN of the item that it corrects")
	cmd.Flags().StringVar(&e.Evidence, "evidence", "", "what proves it: a case, an exception, a file's digest")
	cmd.Flags().StringVar(&e.Note, "note", "", "why")
	twoNames(cmd, &e.Operator, &e.Second)
	requireFlags(cmd, "payer", "payee", "amount", "note")
	return cmd
}

// qzpScale is the decimals of the standard point in settlement.
const qzpScale = 4

func (a *admin) settleLiability() *cobra.Command {
	var program uint16
	var date string
	var asCSV bool
	cmd := &cobra.Command{
		Use: "liability", Short: "Show what issuers owe their members, by month of earning", Args: none,
		Long: `Show what issuers owe their members: points earned, reversed, redeemed and expired by
vintage (the month in which they were earned), what is outstanding, and how much of that
will probably expire (breakage), by what did of the vintages that are over. The journal is
read from its first record on. What is outstanding, what members owe back and what has
expired is held against the ledger's own balances (lianfen admin totals), whatever date is
asked for; where these do not agree nothing is shown and the exit status is 3.`,
		Example: `  lianfen settle liability --program 901 --date 2026-03-31
  lianfen settle liability --csv > liability.csv`,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if asCSV && a.asJSON {
				return usage("--csv and --json exclude each other: leave one out")
			}
			q := app.LiabilityQuery{Program: points.ProgramID(program)}
			if date != "" {
				if q.Date, err = points.ParseBusinessDate(date); err != nil {
					return usage("--date: %w", err)
				}
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			report, err := client.Liability(cmd.Context(), q, readingBar(cmd.ErrOrStderr(), "reading the journal"))
			if errors.Is(err, liability.ErrApart) {
				return &statusError{exitStore, err}
			}
			if err != nil {
				return err
			}
			if asCSV {
				return liabilityCSV(cmd.OutOrStdout(), &report)
			}
			return a.print(cmd, report, func() error { return printLiability(cmd, &report) })
		},
	}
	cmd.Flags().Var(decimal(&program, 0), "program", "only this programme")
	cmd.Flags().StringVar(&date, "date", "", "as of the end of this business date; left out, now")
	cmd.Flags().BoolVar(&asCSV, "csv", false, "print CSV, in smallest units")
	return cmd
}

func printLiability(cmd *cobra.Command, report *app.Liability) error {
	for i := range report.Programs {
		p := &report.Programs[i]
		read := func(amount points.Amount) string { return amount.Decimal(int(p.Scale)) }
		if err := say(cmd, "Programme %d %s of issuer %d", p.Program.Program, points.Escaped(p.Name), p.Issuer); err != nil {
			return err
		}
		s := newSheet("EARNED IN", ">EARNED", ">REVERSED", ">REDEEMED", ">EXPIRED", ">OTHER", ">OUTSTANDING", ">EXPECTED BREAKAGE", "")
		for j := range p.Vintages {
			v := &p.Vintages[j]
			over := ""
			if v.Over {
				over = "over"
			}
			s.row(v.Month, read(v.Earned), read(v.Reversed), read(v.Redeemed), read(v.Expired), read(v.Other), read(v.Outstanding), read(v.Breakage), over)
		}
		t := &p.Total
		s.row("together", read(t.Earned), read(t.Reversed), read(t.Redeemed), read(t.Expired), read(t.Other), read(t.Outstanding), read(p.Breakage), "")
		if err := s.write(cmd.OutOrStdout()); err != nil {
			return err
		}
		rate := "No vintage is over yet: there is no breakage rate"
		if p.RateDen > 0 {
			rate = fmt.Sprintf("The breakage rate is %d/%d of what was earned, of the vintages that are over", p.RateNum, p.RateDen)
		}
		value := "no CLEAR rate in force"
		if p.Value != nil {
			value = p.Value.Decimal(qzpScale) + " QZP at the CLEAR rate in force"
		}
		if err := say(cmd, "  Outstanding is worth: %s. Members owe back %s. %s.", value, read(p.Debts), rate); err != nil {
			return err
		}
	}
	return say(cmd, "As of RRN %012d on %v; the ledger's own balances agree at RRN %012d.", report.AsOf, report.Date, report.Proved)
}

// liabilityCSV writes a vintage a line, and a line of each programme as a whole.
func liabilityCSV(w io.Writer, report *app.Liability) error {
	out := csv.NewWriter(w)
	rows := [][]string{{
		"business_date", "issuer", "program", "scale", "month", "earned", "reversed", "redeemed", "expired", "other", "outstanding", "expected_breakage",
		"over", "breakage_rate_num", "breakage_rate_den", "debts", "value_qzp_0.0001",
	}}
	for i := range report.Programs {
		p := &report.Programs[i]
		line := func(month string, cells ...points.Amount) []string {
			row := []string{report.Date.String(), strconv.FormatUint(uint64(p.Issuer), 10), strconv.Itoa(int(p.Program.Program)), strconv.Itoa(int(p.Scale)), month}
			for _, cell := range cells {
				row = append(row, strconv.FormatInt(int64(cell), 10))
			}
			return row
		}
		for j := range p.Vintages {
			v := &p.Vintages[j]
			row := line(v.Month.String(), v.Earned, v.Reversed, v.Redeemed, v.Expired, v.Other, v.Outstanding, v.Breakage)
			rows = append(rows, append(row, strconv.FormatBool(v.Over), "", "", "", ""))
		}
		t := &p.Total
		row := append(line("*", t.Earned, t.Reversed, t.Redeemed, t.Expired, t.Other, t.Outstanding, p.Breakage), "")
		value := ""
		if p.Value != nil {
			value = strconv.FormatInt(int64(*p.Value), 10)
		}
		rows = append(rows, append(row, strconv.FormatInt(int64(p.RateNum), 10), strconv.FormatInt(int64(p.RateDen), 10), strconv.FormatInt(int64(p.Debts), 10), value))
	}
	if err := out.WriteAll(rows); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}
