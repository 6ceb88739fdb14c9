package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/router"
)

// admin is what the operator commands share: which process, and how to print.
type admin struct {
	file   string
	sets   []string
	socket string
	url    string // of the operators' door over TLS, instead of a socket
	known  credentials
	asJSON bool

	session string // file of the sign-in
}

func newAdmin() *cobra.Command {
	a := new(admin)
	cmd := &cobra.Command{
		Use:   "admin",
		Short: "Operate a running switch through its admin socket",
		Args:  none,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVar(&a.file, "config", config.FileName, "configuration file of the running switch; it names the socket")
	cmd.PersistentFlags().StringVar(&a.socket, "socket", "", "admin socket, instead of the configuration's")
	cmd.PersistentFlags().BoolVar(&a.asJSON, "json", false, "print JSON")
	a.doorFlags(cmd)
	cmd.AddCommand(a.login(), a.logout(), a.whoami(), a.enrol(), a.operator(), a.policy(), a.pending(), a.approve(), a.reject())
	cmd.AddCommand(a.status(), a.load(), a.list(), a.issuer(), a.acquirer(), a.program(), a.merchant(), a.terminal(), a.route(), a.member(), a.card(),
		a.pin(), a.adjust(), a.cutOver(), a.totals(), a.links(), a.owed(), a.batch(), a.reload())
	return cmd
}

func (a *admin) client() (*app.Client, error) {
	if a.url != "" {
		return a.remote()
	}
	socket, err := a.door()
	if err != nil {
		return nil, err
	}
	token, err := a.token(socket)
	if err != nil {
		return nil, err
	}
	return app.NewClient(socket).In(token), nil
}

// door is the path of the admin socket.
func (a *admin) door() (string, error) {
	if a.socket != "" {
		return a.socket, nil
	}
	c, err := config.Load(a.file, os.Environ(), a.sets)
	if err != nil {
		return "", usage("%w; name the configuration with --config or the socket with --socket", err)
	}
	return c.Admin.Socket, nil
}

// remote is a client of a switch elsewhere.
func (a *admin) remote() (*app.Client, error) {
	if a.known.cert == "" || a.known.ca == "" {
		return nil, usage("--url needs --tls-cert and --tls-ca")
	}
	secure, err := certs.ClientConfig(a.known.ca, a.known.cert, a.known.key, now)
	if err != nil {
		return nil, err
	}
	return app.NewRemoteClient(a.url, secure), nil
}

// print shows v as JSON, or as people like it.
func (a *admin) print(cmd *cobra.Command, v any, people func() error) error {
	if a.asJSON {
		return writeJSON(cmd.OutOrStdout(), v)
	}
	return people()
}

func (a *admin) status() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Tell how the switch is", Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			s, err := client.Status(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(cmd, s, func() error {
				var t table
				t.row("version", s.Version)
				t.row("ready", s.Ready)
				t.row("business date", fmt.Sprintf("%v, cycle %d", s.Date, s.Cycle))
				t.row("since", localTime(s.Since, client.Zone()))
				if s.NextCutOver != "" {
					t.row("next cut-over", localTime(s.NextCutOver, client.Zone()))
				}
				t.row("journal position", s.Position)
				for _, name := range slices.Sorted(maps.Keys(s.Listeners)) {
					t.row("listener "+name, s.Listeners[name])
				}
				t.row("metrics and health", s.HTTP)
				sayOperators(&t, s)
				if s.Admin != "" {
					t.row("operators over TLS", s.Admin)
				}
				if s.Fetch != "" {
					t.row("members fetch at (SFTP)", s.Fetch)
				}
				if s.Certificates != nil {
					for _, e := range s.Certificates.Expiries {
						t.row("certificate "+e.Certificate, fmt.Sprintf("%.1f days left", e.DaysLeft))
					}
				}
				for _, warning := range s.Warnings {
					t.row("WARNING", warning)
				}
				return t.write(cmd.OutOrStdout())
			})
		},
	}
}

func (a *admin) load() *cobra.Command {
	return &cobra.Command{
		Use: "load FILE", Short: "Create or change everything that a file lists: participants, terminals, members, cards",
		Long: `Create or change everything that a file lists: participants, terminals, members, cards.
It stops at an entry that is refused, and names it with its line. What was done before
stays, and to load the whole file again is safe: what is there already stays as it is.`,
		Example: `  lianfen admin load directory.yaml`,
		Args:    one("the file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := os.Open(args[0])
			if err != nil {
				return fmt.Errorf("load: %w", err)
			}
			d, lines, err := app.ReadDirectoryLines(file)
			if closeErr := file.Close(); err == nil {
				err = closeErr
			}
			if err != nil {
				return fmt.Errorf("%s: %w; nothing was done", args[0], err)
			}
			err = a.put(cmd, d)
			refused, ok := errors.AsType[*app.LoadError](err)
			if !ok {
				return err
			}
			if line := lines[refused.At]; line > 0 {
				return fmt.Errorf("%s: line %d: %w", args[0], line, err)
			}
			return fmt.Errorf("%s: %w", args[0], err)
		},
	}
}

// put sends a directory and tells how many entries it had.
func (a *admin) put(cmd *cobra.Command, d app.Directory) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	loaded, err := client.Load(cmd.Context(), d)
	if err != nil {
		return err
	}
	for _, warning := range loaded.Warnings {
		if err := sayTo(cmd.ErrOrStderr(), "lianfen: warning: %s", warning); err != nil {
			return err
		}
	}
	return a.print(cmd, loaded, func() error {
		if n := len(loaded.Pending); n > 0 {
			return say(cmd, "%d of %s wait for a second person: lianfen admin approve %s", n, points.Counted(loaded.Entries, "entry", "entries"), strings.Join(loaded.Pending, " "))
		}
		known := ""
		if loaded.Known > 0 {
			known = fmt.Sprintf(" %d more were there already as they are.", loaded.Known)
		}
		return say(cmd, "%s in the journal.%s", points.Counted(loaded.Entries, "entry is", "entries are"), known)
	})
}

func (a *admin) list() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List issuers, acquirers, programmes, merchants, terminals and routes", Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			d, err := client.Directory(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(cmd, d, func() error { return directoryTable(d).write(cmd.OutOrStdout()) })
		},
	}
}

func directoryTable(d app.Directory) *table {
	t := new(table)
	t.row("KIND", "ID", "STATUS", "NAME", "BELONGS TO")
	for _, e := range d.Issuers {
		t.row("issuer", e.ID, e.Status, e.Name, "")
	}
	for _, e := range d.Acquirers {
		t.row("acquirer", e.ID, e.Status, e.Name, "")
	}
	for _, e := range d.Programs {
		t.row("programme", e.ID, e.Status, e.Name, fmt.Sprintf("issuer %d", e.Issuer))
	}
	for _, e := range d.Merchants {
		takes := fmt.Sprintf("acquirer %d, takes %v", e.Acquirer, e.Programs)
		if len(e.Tender) > 0 {
			takes += ", together " + router.FormatTender(e.Tender)
		}
		t.row("merchant", e.ID, e.Status, e.Name, takes)
	}
	for _, e := range d.Terminals {
		t.row("terminal", e.ID, e.Status, "", "merchant "+e.Merchant.String()+keyedAs(&e))
	}
	for _, e := range d.Routes {
		to := "the programme's issuer"
		if e.Issuer != 0 {
			to = fmt.Sprintf("issuer %d", e.Issuer)
		}
		if e.Only != 0 {
			to += fmt.Sprintf(", programme %d only", e.Only)
		}
		if len(e.Links) > 0 {
			to += ", by " + router.FormatLinks(e.Links)
		}
		t.row("route", e.Prefix, "", "", to)
	}
	return t
}

// keyedAs is how a terminal's messages are authenticated, and where its keys come from.
func keyedAs(e *book.Terminal) string {
	if e.MAC == 0 {
		return ""
	}
	text := ", MAC " + e.MAC.String()
	if e.MACOptional {
		text += ", may be left out"
	}
	if e.DUKPT != (book.InitialKey{}) {
		text += ", keys derived from " + e.DUKPT.String()
	}
	if e.PIN == book.PINDemanded {
		text += ", PIN required"
	}
	return text
}

func holderFlags(cmd *cobra.Command, who *app.Holder) {
	cmd.Flags().StringVar((*string)(&who.Card), "card", "", "card number")
	cmd.Flags().Var(decimal((*uint64)(&who.Member), 0), "member", "member number")
	cmd.MarkFlagsOneRequired("card", "member")
}

func (a *admin) adjust() *cobra.Command {
	var adj app.Adjustment
	var program uint16
	cmd := &cobra.Command{
		Use: "adjust", Short: "Correct a balance; a second person approves", Args: none,
		Example: `  lianfen admin adjust --member 1001 --program 901 --amount -50 --operator li --second wang --note "case 17"`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkCard("card", string(adj.Card)); err != nil {
				return err
			}
			if err := checkAmount(max(adj.Amount, -adj.Amount)); err != nil {
				return usage("--amount %d: want 1 to %d of either sign, in the programme's smallest unit", adj.Amount, points.MaxAmount)
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			adj.Program = points.ProgramID(program)
			done, err := client.Adjust(cmd.Context(), adj)
			if err != nil {
				return err
			}
			return a.print(cmd, done, func() error {
				if done.Pending != "" {
					return sayPending(cmd, done, client)
				}
				units, err := scalesOf(cmd, client)
				if err != nil || done.Free == nil {
					return err
				}
				return say(cmd, "Adjusted under RRN %s on %v; the member can now spend %s.", done.RRN, done.Date, units.amount(adj.Program, *done.Free))
			})
		},
	}
	holderFlags(cmd, &adj.Holder)
	cmd.Flags().Var(decimal(&program, 0), "program", "programme code")
	cmd.Flags().Var(decimal((*int64)(&adj.Amount), 0), "amount", "points in the smallest unit; below zero takes away")
	twoNames(cmd, &adj.Operator, &adj.Second)
	cmd.Flags().StringVar(&adj.Note, "note", "", "why")
	requireFlags(cmd, "program", "amount", "note")
	return cmd
}

func (a *admin) cutOver() *cobra.Command {
	var cut app.CutOver
	var date string
	cmd := &cobra.Command{
		Use: "cutover", Short: "End the business date now, or its cycle; a second person approves", Args: none,
		Long: `End the business date now; a second person approves. A date that began less than an
hour ago is only ended with --force: it was probably ended already. A date more than
three days ahead of the calendar is only begun with --ahead: it cannot be taken back,
and points lapse by it. With --cycle the settlement cycle ends, and the date goes on.
Where the configuration has a schedule, what is ended early is not ended again by it.`,
		Example: `  lianfen admin cutover --operator li --second wang`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			if date != "" {
				if cut.Date, err = points.ParseBusinessDate(date); err != nil {
					return usage("--date: %w", err)
				}
			}
			done, err := client.CutOver(cmd.Context(), cut)
			if err != nil {
				return err
			}
			return a.print(cmd, done, func() error {
				if done.Pending != "" {
					return sayPending(cmd, done, client)
				}
				if cut.Cycle {
					return say(cmd, "The next cycle of business date %v begins with RRN %s.", done.Date, done.RRN)
				}
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "The business date is %v from RRN %s on.\n", done.Date, done.RRN)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&date, "date", "", "the date that begins; the next day when left out")
	cmd.Flags().BoolVar(&cut.Cycle, "cycle", false, "end the settlement cycle only")
	cmd.Flags().BoolVar(&cut.Force, "force", false, "end a business date that has only just begun")
	cmd.Flags().BoolVar(&cut.Ahead, "ahead", false, "begin a business date that is far ahead of the calendar")
	twoNames(cmd, &cut.Operator, &cut.Second)
	return cmd
}

func (a *admin) totals() *cobra.Command {
	return &cobra.Command{
		Use: "totals", Short: "Show the trial balance: it sums to zero in every programme", Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			totals, err := client.Totals(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(cmd, totals, func() error {
				units, err := scalesOf(cmd, client)
				if err != nil {
					return err
				}
				if err := totalsTable(totals, units).write(cmd.OutOrStdout()); err != nil {
					return err
				}
				return sayAsOf(cmd, totals.AsOf, totals.Date)
			})
		},
	}
}

// sayAsOf tells after which record an answer is true.
func sayAsOf(cmd *cobra.Command, position points.Position, date points.BusinessDate) error {
	rrn := position.RRN()
	return say(cmd, "As of RRN %s, business date %v.", rrn[:], date)
}

func totalsTable(totals app.Totals, units scales) *table {
	t := new(table)
	t.row("PROGRAMME", "ACCOUNTS", "BALANCE (credit positive)")
	sums := map[points.ProgramID]points.Amount{}
	for i, line := range totals.Lines {
		t.row(line.Program, line.Account, units.amount(line.Program, line.Amount))
		sums[line.Program] += line.Amount
		if i == len(totals.Lines)-1 || totals.Lines[i+1].Program != line.Program {
			t.row(line.Program, "sum", units.amount(line.Program, sums[line.Program]))
		}
	}
	return t
}

func requireFlags(cmd *cobra.Command, flags ...string) {
	for _, name := range flags {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic("lianfen: " + err.Error()) //nolint:forbidigo // a flag that is not there: our own slip, seen by the first test.
		}
	}
}

func statusFlag(cmd *cobra.Command, status *book.Status) {
	cmd.Flags().TextVar(status, "status", book.Status(0), "active, suspended or closed, of a card also lost, stolen or dormant; left out, it stays as it is")
}
