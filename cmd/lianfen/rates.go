package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// groupOf gives cmd the flags by which a group of commands finds the running switch.
func (a *admin) groupOf(cmd *cobra.Command) *cobra.Command {
	cmd.PersistentFlags().StringVar(&a.file, "config", config.FileName, "configuration file of the running switch; it names the socket")
	cmd.PersistentFlags().StringVar(&a.socket, "socket", "", "admin socket, instead of the configuration's")
	cmd.PersistentFlags().BoolVar(&a.asJSON, "json", false, "print JSON")
	a.doorFlags(cmd)
	return cmd
}

func newRates() *cobra.Command {
	a := new(admin)
	cmd := a.groupOf(&cobra.Command{
		Use: "rates", Short: "Rates: what points are worth in standard points, with dates and two persons", Args: none,
		Long: `What points are worth in standard points (QZP, four decimals): CLEAR between members at
settlement, BUY and SELL for swaps. A version is never edited: a change is a new one, from a
moment at least five minutes after its approval on, and always by two persons.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	})
	cmd.AddCommand(a.ratesPropose(), a.approveVersion("rates"), a.ratesList(), a.ratesShow())
	return cmd
}

func newFees() *cobra.Command {
	a := new(admin)
	cmd := a.groupOf(&cobra.Command{
		Use: "fees", Short: "Fees: interchange, switch fees, VAT and who shares them, with dates and two persons", Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	})
	cmd.AddCommand(a.feesPropose(), a.approveVersion("fees"), a.feesList(), a.feesShow())
	return cmd
}

// readFile reads a file with read, and names it where that fails.
func readFile[T any](path string, read func(io.Reader) (T, error)) (v T, err error) {
	file, err := os.Open(path)
	if err != nil {
		return v, err
	}
	if v, err = read(file); err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return v, errors.Join(err, file.Close())
}

func (a *admin) ratesPropose() *cobra.Command {
	var path string
	var one app.RateTerms
	var s app.RateSetting
	cmd := &cobra.Command{
		Use: "propose", Short: "Propose a version of a rate, or those of a file", Args: none,
		Long: `Propose a version of a rate, or those of a file (a YAML list with the same keys). Where
operators sign in, another one approves it; where none are enrolled, both names are given
and it is done at once. --value is what one point is worth, in standard points; --ratio what
the smallest unit is worth, in units of 0.0001.`,
		Example: `  lianfen rates propose --program 901 --value 0.0125 --from "2026-03-03 00:00" --note "spring" --operator li --second wang
  lianfen rates propose --file rates.yaml --note "spring"`,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			switch {
			case (path == "") == (one.Program == 0):
				return usage("want --program with its terms, or --file, one of both")
			case path != "":
				if s.Rates, err = readFile(path, app.ReadRates); err != nil {
					return err
				}
			default:
				s.Rates = []app.RateTerms{one}
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			done, err := client.ProposeRates(cmd.Context(), s)
			if err != nil {
				return err
			}
			return a.print(cmd, done, func() error {
				for _, d := range done {
					if err := sayVersion(cmd, d, client, "rate"); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&path, "file", "", "YAML file of rates")
	f.Var(decimal(&one.Program, 0), "program", "programme")
	f.StringVar(&one.Side, "side", tariff.Clear.String(), "CLEAR, BUY or SELL")
	f.StringVar(&one.From, "from", "", "from when: 2026-03-03 00:00 in the switch's zone, or RFC 3339")
	f.StringVar(&one.Value, "value", "", "what one point is worth in standard points, such as 0.0125")
	f.StringVar(&one.Ratio, "ratio", "", "or what smallest units are worth, such as 3/7")
	f.Var(decimal(&one.Into, 0), "into", "BUY: for swaps into this programme only, beside the rate for all; --ratio 0/0 ends it")
	f.Var(decimal(&one.SpreadPPM, 0), "spread-ppm", "BUY: what a swap costs, in parts per million of its value")
	f.StringVar(&s.Note, "note", "", "why")
	twoNames(cmd, &s.Operator, &s.Second)
	requireFlags(cmd, "note")
	return cmd
}

// sayVersion tells what came of a proposal.
func sayVersion(cmd *cobra.Command, done app.Done, client *app.Client, what string) error {
	if done.Pending != "" {
		return sayPending(cmd, done, client)
	}
	return say(cmd, "The %s is in the journal under RRN %s; it holds from its date on.", what, done.RRN)
}

// approveVersion is the approval of admin, where whoever sets rates looks for it.
func (a *admin) approveVersion(group string) *cobra.Command {
	cmd := a.approve()
	cmd.Example = "  lianfen " + group + " approve 000000001234"
	return cmd
}

// termOf shows a rate as people read it.
func termOf(r *app.RateVersion) string {
	switch {
	case r.Into != 0 && r.Den == 0:
		return fmt.Sprintf("into %d: ends", r.Into)
	case r.Into != 0:
		return fmt.Sprintf("into %d: %d/%d", r.Into, r.Num, r.Den)
	default:
		return fmt.Sprintf("%d/%d", r.Num, r.Den)
	}
}

func (a *admin) ratesOf(cmd *cobra.Command, program points.ProgramID, side string) ([]app.RateVersion, *app.Client, error) {
	client, err := a.client()
	if err != nil {
		return nil, nil, err
	}
	all, err := client.Rates(cmd.Context())
	list := []app.RateVersion{}
	for _, r := range all {
		if (program == 0 || r.Program == program) && (side == "" || strings.EqualFold(r.Side.String(), side)) {
			list = append(list, r)
		}
	}
	return list, client, err
}

func (a *admin) ratesList() *cobra.Command {
	var program points.ProgramID
	cmd := &cobra.Command{
		Use: "list", Short: "List the rates in force and all versions", Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, client, err := a.ratesOf(cmd, program, "")
			if err != nil {
				return err
			}
			return a.print(cmd, list, func() error {
				if len(list) == 0 && program != 0 {
					return say(cmd, "There are no rates of programme %d.", program)
				}
				if len(list) == 0 {
					return say(cmd, "There are no rates: nothing has a value at settlement.")
				}
				s := newSheet(">PROGRAMME", "SIDE", ">VERSION", "FROM", ">UNITS", ">SPREAD PPM", "PROPOSED BY", "APPROVED BY", "NOW")
				for i := range list {
					r := &list[i]
					now := ""
					if r.InForce {
						now = "in force"
					}
					s.row(r.Program, r.Side, r.Version, localTime(r.From, client.Zone()), termOf(r), r.Spread, r.Maker, r.Checker, now)
				}
				return s.write(cmd.OutOrStdout())
			})
		},
	}
	cmd.Flags().Var(decimal(&program, 0), "program", "only this programme's")
	return cmd
}

func (a *admin) ratesShow() *cobra.Command {
	var program points.ProgramID
	var version uint32
	side := tariff.Clear.String()
	cmd := &cobra.Command{
		Use: "show", Short: "Show one version of a rate; the one in force when none is named", Args: none,
		Example: `  lianfen rates show --program 901 --side CLEAR --version 3`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, client, err := a.ratesOf(cmd, program, side)
			if err != nil {
				return err
			}
			for i := range list {
				r := &list[i]
				if (version == 0 && (!r.InForce || r.Into != 0)) || (version != 0 && r.Version != version) {
					continue
				}
				return a.print(cmd, r, func() error {
					var t table
					t.row("rate", fmt.Sprintf("%d %v, version %d", r.Program, r.Side, r.Version))
					t.row("from", localTime(r.From, client.Zone()))
					t.row("smallest units", termOf(r))
					t.row("spread", fmt.Sprintf("%d ppm", r.Spread))
					t.row("proposed by", points.Escaped(r.Maker))
					t.row("approved by", points.Escaped(r.Checker)+", "+localTime(r.Approved, client.Zone()))
					t.row("digest", r.Digest)
					return t.write(cmd.OutOrStdout())
				})
			}
			for i := range list {
				if r := &list[i]; version == 0 && r.Into == 0 {
					return usage("programme %d, side %s: no version is in force yet; version %d is from %s on (--version %d shows it)", program, side, r.Version, localTime(r.From, client.Zone()), r.Version)
				}
			}
			return usage("programme %d, side %s: no such version; lianfen rates list shows all", program, side)
		},
	}
	cmd.Flags().Var(decimal(&program, 0), "program", "programme")
	cmd.Flags().StringVar(&side, "side", side, "CLEAR, BUY or SELL")
	cmd.Flags().Var(decimal(&version, 0), "version", "version; the one in force when left out")
	requireFlags(cmd, "program")
	return cmd
}

func (a *admin) feesPropose() *cobra.Command {
	var path string
	var s app.FeeSetting
	cmd := &cobra.Command{
		Use: "propose", Short: "Propose the fees of a file, in place of those before", Args: none,
		Long: `Propose the fees of a file, in place of those before, from a moment on. Each row is of a
kind (RDM, EAR, SWP) and may name issuer, acquirer, mcc and program; an item takes the row
that fits and names most, and two that fit equally well are refused.

  from: 2026-03-03 00:00
  rows:
    - {kind: RDM, interchange_ppm: 5000, ppm: 3000, min: 1, max: 500, vat_ppm: 60000}
    - {kind: EAR, ppm: 2000, shares: [{role: operator, weight: 3}, {role: issuer, weight: 1}]}`,
		Example: `  lianfen fees propose --file fees.yaml --note "spring" --operator li --second wang`,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if s.FeeTerms, err = readFile(path, app.ReadFees); err != nil {
				return err
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			done, err := client.ProposeFees(cmd.Context(), s)
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			return a.print(cmd, done, func() error { return sayVersion(cmd, done, client, "schedule of fees") })
		},
	}
	cmd.Flags().StringVar(&path, "file", "", "YAML file of fees")
	cmd.Flags().StringVar(&s.Note, "note", "", "why")
	twoNames(cmd, &s.Operator, &s.Second)
	requireFlags(cmd, "file", "note")
	return cmd
}

func (a *admin) theFees(cmd *cobra.Command) ([]app.FeeVersion, *app.Client, error) {
	client, err := a.client()
	if err != nil {
		return nil, nil, err
	}
	list, err := client.Fees(cmd.Context())
	return list, client, err
}

func (a *admin) feesList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List all versions of the fees", Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, client, err := a.theFees(cmd)
			if err != nil {
				return err
			}
			return a.print(cmd, list, func() error {
				if len(list) == 0 {
					return say(cmd, "There are no fees: nothing has a value at settlement before there are some, be it a row of nothing.")
				}
				s := newSheet(">VERSION", "FROM", ">ROWS", "PROPOSED BY", "APPROVED BY", "NOW")
				for i := range list {
					now := ""
					if list[i].InForce {
						now = "in force"
					}
					s.row(list[i].Version, localTime(list[i].From, client.Zone()), len(list[i].Rows), list[i].Maker, list[i].Checker, now)
				}
				return s.write(cmd.OutOrStdout())
			})
		},
	}
}

func (a *admin) feesShow() *cobra.Command {
	var version uint32
	cmd := &cobra.Command{
		Use: "show", Short: "Show the rows of a version of the fees; of the one in force when none is named", Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, client, err := a.theFees(cmd)
			if err != nil {
				return err
			}
			for i := range list {
				v := &list[i]
				if (version == 0 && !v.InForce) || (version != 0 && v.Version != version) {
					continue
				}
				return a.print(cmd, v, func() error {
					s := newSheet("KIND", "ISSUER", "ACQUIRER", ">MCC", ">PROGRAMME", ">INTERCHANGE PPM", ">PPM", ">FIXED", ">MIN", ">MAX", ">VAT PPM", "SHARES", "PAID BY", "CAPTURES AS OF")
					for j := range v.Rows {
						r := &v.Rows[j]
						s.row(r.Kind, r.Issuer, r.Acquirer, anyWhere0(r.MCC), anyWhere0(uint16(r.Program)), r.InterchangePPM, r.PPM, r.Fixed, r.Min, r.Max, r.VATPPM, sharesOf(r), feePayer(r), feeMoment(r))
					}
					if err := s.write(cmd.OutOrStdout()); err != nil {
						return err
					}
					return say(cmd, "Version %d from %s, proposed by %s, approved by %s.", v.Version, localTime(v.From, client.Zone()), points.Escaped(v.Maker), points.Escaped(v.Checker))
				})
			}
			if version == 0 && len(list) > 0 {
				v := &list[0]
				return usage("no version of the fees is in force yet; version %d is from %s on (--version %d shows it)", v.Version, localTime(v.From, client.Zone()), v.Version)
			}
			return usage("no such version of the fees; lianfen fees list shows all")
		},
	}
	cmd.Flags().Var(decimal(&version, 0), "version", "version; the one in force when left out")
	return cmd
}

// feePayer is who pays what a step of a dispute costs; of other fees the table says it.
func feePayer(r *tariff.FeeRow) string {
	if r.Payer == 0 {
		return ""
	}
	return r.Payer.String()
}

// feeMoment is what captures are valued by.
func feeMoment(r *tariff.FeeRow) string {
	switch {
	case r.LockAtHold:
		return "hold"
	case r.Kind == tariff.KindRDM:
		return "capture"
	default:
		return ""
	}
}

func anyWhere0(n uint16) string {
	if n == 0 {
		return "*"
	}
	return fmt.Sprint(n)
}

func sharesOf(r *tariff.FeeRow) string {
	parts := make([]string, len(r.Shares))
	for i, s := range r.Shares {
		who := s.Member.String()
		if s.Role != 0 {
			who = s.Role.String()
		}
		parts[i] = fmt.Sprintf("%s %d", who, s.Weight)
	}
	return strings.Join(parts, ", ")
}
