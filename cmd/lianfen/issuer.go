package main

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/internal/sim"
	"github.com/lianfen/lianfen/points"
)

// issuer is the simulated issuer's command line.
type issuer struct {
	listen   string
	dial     string
	id       uint64
	accounts string
	faults   string
	seed     uint64
	echo     time.Duration
	asJSON   bool
	agreed   string // how messages are authenticated; "": they are not
	keys     keysAt
	known    credentials
}

func newIssuer() *cobra.Command {
	i := new(issuer)
	cmd := &cobra.Command{
		Use:   "issuer",
		Short: "Be an issuer's host, faults included 模拟发卡方",
		Long: `Be an issuer's host that speaks the host dialect: it answers sign-on, echo, balance,
redeem, earn, void, refund, pre-authorisation and its completion, reversals and
advices from a small book of its own, which shares nothing with a switch's ledger.

--faults makes it misbehave, each fault in a share of the messages that move or tell
points: ` + strings.Join(sim.FaultNames(), ", ") + `. A message
meets one fault at most. All but lose happen to the answer of a request that was
carried out. The same --seed and messages meet the same faults.

On SIGUSR1 and at its end it prints its book: balances, what came, and how often
each fault was made; --json adds every transaction and what became of it. Messages
about what it does go to standard error.`,
		Example: `  lianfen issuer --listen 127.0.0.1:8600 --id 10000004
  lianfen issuer --listen 127.0.0.1:8600 --faults delay=5%:3s,drop=1%,late=1%:20s --seed 7
  lianfen issuer --listen 127.0.0.1:8600 --id 10000004 --keys cmac
  lianfen issuer --dial 127.0.0.1:8584 --id 10000004 --accounts accounts.yaml --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return i.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&i.listen, "listen", "", "accept connections here")
	f.StringVar(&i.dial, "dial", "", "or connect to the switch here, sign on, and connect again whenever that ends")
	f.Var(decimal(&i.id, 10000004), "id", "the issuer's institution number")
	f.StringVar(&i.accounts, "accounts", "", "file of cards, programmes and balances; without one, a few test cards in programme 904")
	f.StringVar(&i.faults, "faults", "", "what goes wrong, such as delay=5%:3s,drop=1%")
	f.Var(decimal(&i.seed, 1), "seed", "seed of chance")
	f.DurationVar(&i.echo, "echo", 30*time.Second, "time between echoes on a connection that was dialled; 0: none")
	f.BoolVar(&i.asJSON, "json", false, "print JSON")
	keyFlag(cmd, &i.agreed, "keys", "share keys with the switch and authenticate all messages", []string{certs.CMAC.String(), certs.HMAC.String(), certs.RetailMAC.String()})
	cmd.Flags().StringVar(&i.keys.path, "keystore", "keys.store", "keystore with the zone master key zmk/issuer/ID, with --keys")
	cmd.Flags().StringVar(&i.keys.kek, "kek", "file:kek.key", "where the keystore's key-encryption key is")
	i.known.add(cmd)
	cmd.MarkFlagsOneRequired("listen", "dial")
	cmd.MarkFlagsMutuallyExclusive("listen", "dial")
	_ = cmd.MarkFlagFilename("accounts", "yaml") // Only completion would miss it.
	return cmd
}

func (i *issuer) run(cmd *cobra.Command) error {
	engine, err := i.engine()
	if err != nil {
		return usage("%w", err)
	}
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
	ln, opts, err := i.line(cmd, log)
	if err != nil {
		return err
	}
	host, err := sim.NewIssuerHost(ln, engine, opts)
	if err != nil {
		return err
	}
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	defer signal.Stop(asked)
	ended := make(chan error, 1)
	go func() { ended <- host.Serve(cmd.Context()) }()
	for {
		select {
		case <-asked:
			if err := i.print(cmd.OutOrStdout(), engine.State()); err != nil {
				return err
			}
		case err := <-ended:
			return errors.Join(err, i.print(cmd.OutOrStdout(), engine.State()))
		}
	}
}

// engine makes the issuer that the flags describe.
func (i *issuer) engine() (*sim.Issuer, error) {
	opts := sim.IssuerOptions{ID: points.IssuerID(i.id), Seed: i.seed}
	var err error
	if opts.Faults, err = sim.ParseFaults(i.faults); err != nil {
		return nil, fmt.Errorf("--faults: %w", err)
	}
	book := sim.IssuerAccounts()
	if i.accounts != "" {
		file, err := os.Open(i.accounts)
		if err != nil {
			return nil, fmt.Errorf("--accounts: %w", err)
		}
		defer func() { _ = file.Close() }() // It was read only.
		book = file
	}
	if opts.Keys, err = i.hostKeys(); err != nil {
		return nil, fmt.Errorf("--keys: %w", err)
	}
	if opts.Accounts, err = sim.ReadIssuerAccounts(book); err != nil {
		return nil, fmt.Errorf("--accounts %s: %w", i.accounts, err)
	}
	return sim.NewIssuer(opts)
}

// hostKeys are the keys that are shared with the switch; nil: none. The zone master key is
// in a keystore, the others come by exchange.
func (i *issuer) hostKeys() (*sim.HostKeys, error) {
	if i.agreed == "" {
		return nil, nil //nolint:nilnil // an issuer without keys is an issuer.
	}
	by, err := certs.ParseMACAlgorithm(i.agreed)
	if err != nil {
		return nil, err
	}
	// The keys of the exchange are kept in it: in a switch's they would be changes that none
	// of its operators made.
	if _, err := os.Stat(app.GovernedBy(i.keys.path)); err == nil {
		return nil, fmt.Errorf("keystore %s is that of a switch whose operators change it; give the issuer a copy in another folder, or a keystore of its own: lianfen keys init --keystore issuer.store", i.keys.path)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("keystore: %w", err)
	}
	keys := &sim.HostKeys{Zone: certs.Zone{Role: certs.RoleIssuer, ID: i.id}, By: by, Random: rand.Reader}
	err = i.keys.open(func(store *certs.Keystore) (err error) {
		if keys.Master, err = store.Use(keys.Zone.Master(), certs.ZoneMaster, now()); err != nil {
			return fmt.Errorf("%w; put it in: lianfen keys import %s --usage %v", err, keys.Zone.Master(), certs.ZoneMaster)
		}
		return nil
	})
	return keys, err
}

// line opens the door that the flags describe.
func (i *issuer) line(cmd *cobra.Command, log *slog.Logger) (net.Listener, sim.IssuerHostOptions, error) {
	opts := sim.IssuerHostOptions{Clock: now, Log: log}
	gate, err := i.known.issuerGate(cmd, points.IssuerID(i.id))
	if err != nil {
		return nil, opts, err
	}
	var secure *tls.Config
	if gate != nil {
		opts.TLS, secure = gate.Server(false, certs.RoleSwitch), gate.Client(certs.OfRole(certs.RoleSwitch))
	}
	if i.dial != "" {
		log.Info("dialling", slog.String("address", i.dial))
		opts.SignOn, opts.Echo, opts.TLS = true, i.echo, nil
		return sim.DialIssuerTLS(i.dial, secure), opts, nil
	}
	ln, err := new(net.ListenConfig).Listen(cmd.Context(), "tcp", i.listen)
	if err != nil {
		return nil, opts, fmt.Errorf("issuer: listen on %s: %w", i.listen, err)
	}
	log.Info("listening", slog.String("address", ln.Addr().String()))
	return ln, opts, nil
}

// print prints the issuer's book.
func (i *issuer) print(w io.Writer, s sim.IssuerState) error {
	if i.asJSON {
		return writeJSON(w, s)
	}
	accounts := new(table)
	accounts.row("CARD", "PROGRAMME", "AVAILABLE", "HELD")
	for _, a := range s.Accounts {
		accounts.row(a.Card, a.Program, a.Available, a.Held)
	}
	counts := new(table)
	counts.row("WHAT", "COUNT")
	for _, name := range slices.Sorted(maps.Keys(s.Messages)) {
		counts.row("message "+name, s.Messages[name])
	}
	for _, name := range sim.FaultNames() {
		counts.row("fault "+name, s.Faults[name])
	}
	counts.row("repeats", s.Repeats)
	counts.row("unreadable frames", s.Unreadable)
	if i.agreed != "" {
		counts.row("messages without a right MAC", s.Forged)
		counts.row("exchanges of keys", s.Exchanges)
	}
	standing := map[sim.Standing]int{}
	for i := range s.Transactions {
		standing[s.Transactions[i].Standing]++
	}
	for _, what := range []sim.Standing{sim.Stands, sim.Declined, sim.Reversed, sim.Tombstone} {
		counts.row("transactions "+string(what), standing[what])
	}
	if _, err := fmt.Fprintf(w, "Issuer %d\n\n", s.Issuer); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	if err := accounts.write(w); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return counts.write(w)
}
