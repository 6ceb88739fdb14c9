package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/internal/bench"
	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/ledger/book"
)

func newBench() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure the switch beside its floors, and say what falls short",
		Long: `Measure the switch, and in the same run what it is held against: an echo of the same
frames, the disk's own flush, the same switch with nothing made durable, a stock
codec, a ledger without a journal. Each target is a line that passes or falls short;
the exit status is 0 only if all pass. docs/performance.md explains the figures.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newBenchAuth(), newBenchRemote(), newBenchHostile(), newBenchCodec(), newBenchLedger(), newBenchSettle(), newBenchRecon(), newBenchNight(), newBenchSwaps(), newBenchEcho(),
		newBenchGenerate(), newBenchAttack(), newBenchReflect(), newBenchApprove(), newBenchForget())
	return cmd
}

// benchFlags are the flags of all measurements. What is not set on the command line
// has one value for a full run and one for a quick run.
type benchFlags struct {
	quick, asJSON bool
	duration      time.Duration
	rounds        int
}

func (f *benchFlags) add(cmd *cobra.Command, duration time.Duration) {
	cmd.Flags().BoolVar(&f.quick, "quick", false, "short and small, to see that it works; its figures mean little")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print JSON")
	cmd.Flags().DurationVar(&f.duration, "duration", duration, "time measured in each round of each line")
	cmd.Flags().IntVar(&f.rounds, "rounds", 3, "rounds, whose medians are compared")
}

// quicken gives the flags that the command line did not set their values of a quick
// run.
func (f *benchFlags) quicken(cmd *cobra.Command, values map[string]string) error {
	if !f.quick {
		return nil
	}
	for name, value := range values {
		if cmd.Flags().Changed(name) {
			continue
		}
		if err := cmd.Flags().Set(name, value); err != nil {
			return fmt.Errorf("bench: --%s: %w", name, err)
		}
	}
	return nil
}

func (f *benchFlags) valid() error {
	if f.duration < 10*time.Millisecond || f.duration > time.Hour || f.rounds < 1 || f.rounds > 100 {
		return usage("--duration is 10ms to 1h, --rounds 1 to 100")
	}
	return nil
}

func newBenchAuth() *cobra.Command {
	var flags benchFlags
	var opts bench.AuthOptions
	cmd := &cobra.Command{
		Use:   "auth",
		Short: "Measure authorisations over TCP, durable, and look every answer up in the journal",
		Long: `Start a switch on a new store, one on a copy of it that makes nothing durable, an
echo and a load generator, each as a process of its own, and measure redemptions:
as many as go, on a single hot account, from many terminals with one request in
flight each, at a fixed rate from the time that each was due, and a recovery after
kill -9. Afterwards every approved answer has to be in the journal exactly once.`,
		Example: `  lianfen bench auth
  lianfen bench auth --quick
  lianfen bench auth --accounts 100000 --duration 3s --recovery 500000 --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			quick := map[string]string{"duration": "300ms", "accounts": "10000", "recovery": "50000", "terminals": "64"}
			if err := errors.Join(flags.quicken(cmd, quick), flags.valid(), validLoad(&opts), validAccounts(opts.Accounts)); err != nil {
				return err
			}
			return measure(cmd, &flags, func(ctx context.Context, progress bench.Progress) (*bench.Report, error) {
				if err := completeAuth(&opts, &flags, progress); err != nil {
					return nil, err
				}
				return bench.Auth(ctx, opts)
			})
		},
	}
	flags.add(cmd, 10*time.Second)
	addLoadFlags(cmd, &opts)
	cmd.Flags().Uint64Var(&opts.Accounts, "accounts", 1_000_000, "members, each with a card and an account")
	cmd.Flags().BoolVar(&opts.TLS, "tls", false, "speak to the switch over mutual TLS; the echo stays plain")
	cmd.Flags().BoolVar(&opts.MAC, "mac", false, "measure a host, or terminals that sign on for keys, whose messages carry MACs too, beside the others; with --tls only they speak TLS")
	opts.MACBy = book.MACByCMAC
	cmd.Flags().TextVar(&opts.MACBy, "mac-by", book.MACByCMAC, "with --mac: what MACs are made by: cmac (AES), hmac-sha256, or of terminals cup-ecb (DES)")
	cmd.Flags().BoolVar(&opts.Hot, "hot", true, "measure a single hot account too")
	cmd.Flags().Uint64Var(&opts.Recovery, "recovery", 10_000_000, "journal records behind the last checkpoint when the switch is killed; 0: no kill")
	cmd.Flags().StringVar(&opts.Profile, "cpu-profile", "", "write the CPU profile of the durable switch to this file (see make pgo)")
	addFolderFlags(cmd, &opts.Dir, &opts.Keep)
	return cmd
}

func newBenchRemote() *cobra.Command {
	var flags benchFlags
	var opts bench.RemoteOptions
	cmd := &cobra.Command{
		Use:   "remote",
		Short: "Measure authorisations that an issuer's own host decides, and one that misbehaves",
		Long: `Start a switch on a new store, an issuer's host that approves at once, an echo and a
load generator, each as a process of its own, and measure redemptions that the switch
forwards: as many as go, and at a fixed rate from the time that each was due. Then the
issuer is the simulator of lianfen issuer with every fault at once, and each request has
to be answered all the same, and nothing owed in the end. Every approved answer has to
be in the journal exactly once.`,
		Example: `  lianfen bench remote
  lianfen bench remote --quick
  lianfen bench remote --links 4 --duration 5s --faulty 0 --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			quick := map[string]string{"duration": "300ms", "accounts": "10000"}
			opts.Terminals = 1
			if err := errors.Join(flags.quicken(cmd, quick), flags.valid(), validLoad(&opts.AuthOptions), validAccounts(opts.Accounts)); err != nil {
				return err
			}
			if opts.Links < 1 || opts.Links > 64 || opts.Faulty < 0 || opts.Faulty > bench.MostFaulty {
				return usage("--links is 1 to 64, --faulty 0 to %v", bench.MostFaulty)
			}
			return measure(cmd, &flags, func(ctx context.Context, progress bench.Progress) (*bench.Report, error) {
				if err := completeAuth(&opts.AuthOptions, &flags, progress); err != nil {
					return nil, err
				}
				return bench.Remote(ctx, opts)
			})
		},
	}
	flags.add(cmd, 5*time.Second)
	addClosedLoadFlags(cmd, &opts.AuthOptions)
	cmd.Flags().Uint64Var(&opts.Accounts, "accounts", 100_000, "cards")
	cmd.Flags().BoolVar(&opts.TLS, "tls", false, "speak mutual TLS to the switch, and between it and the issuer; the echo stays plain")
	cmd.Flags().IntVar(&opts.Links, "links", 4, "connections between the switch and the issuer")
	cmd.Flags().Float64Var(&opts.Faulty, "faulty", 5, "percent of the messages that meet each fault of the issuer that misbehaves; 0: leave it out")
	cmd.Flags().StringVar(&opts.Profile, "cpu-profile", "", "write the CPU profile of the switch to this file")
	addFolderFlags(cmd, &opts.Dir, &opts.Keep)
	return cmd
}

func newBenchHostile() *cobra.Command {
	var flags benchFlags
	var opts bench.HostileOptions
	cmd := &cobra.Command{
		Use:   "hostile",
		Short: "Measure legitimate requests while others attack, and more than can be answered",
		Long: `Start a switch on a new store and measure redemptions at a fixed rate, first alone and
then while thousands of connections attack: random bytes, half frames, a byte a second,
silence, resets, malformed frames, requests whose answers nobody reads, and floods of
valid requests. No legitimate request may be declined. Then ask for one and a half times
as much as the switch can answer, with and without shedding. Every approved answer has
to be in the journal exactly once. The attackers use the same machine.`,
		Example: `  lianfen bench hostile
  lianfen bench hostile --quick
  lianfen bench hostile --attackers 5000 --rate 2000 --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			quick := map[string]string{"duration": "300ms", "accounts": "1000", "attackers": "300", "floods": "4"}
			opts.Terminals = 1
			if err := errors.Join(flags.quicken(cmd, quick), flags.valid(), validLoad(&opts.AuthOptions), validAccounts(opts.Accounts)); err != nil {
				return err
			}
			if opts.Attackers < 1 || opts.Attackers > 50_000 || opts.Floods < 0 || opts.Floods > opts.Attackers {
				return usage("--attackers is 1 to 50000, --floods 0 to as many")
			}
			return measure(cmd, &flags, func(ctx context.Context, progress bench.Progress) (*bench.Report, error) {
				if err := completeAuth(&opts.AuthOptions, &flags, progress); err != nil {
					return nil, err
				}
				return bench.HostileBench(ctx, opts)
			})
		},
	}
	flags.add(cmd, 5*time.Second)
	addClosedLoadFlags(cmd, &opts.AuthOptions)
	cmd.Flags().Lookup("rate").Usage = "requests a second of the legitimate load; 0: an eighth of what the closed loop reached"
	cmd.Flags().Uint64Var(&opts.Accounts, "accounts", 20_000, "cards")
	cmd.Flags().IntVar(&opts.Attackers, "attackers", 10_000, "connections that attack")
	cmd.Flags().IntVar(&opts.Floods, "floods", 16, "of them, how many send valid requests all the time")
	cmd.Flags().StringVar(&opts.Profile, "cpu-profile", "", "write the CPU profile of the switch to this file")
	addFolderFlags(cmd, &opts.Dir, &opts.Keep)
	return cmd
}

func addClosedLoadFlags(cmd *cobra.Command, opts *bench.AuthOptions) {
	cmd.Flags().StringVar(&opts.Dialect, "dialect", "pos", "dialect of the frames: pos or host")
	cmd.Flags().IntVar(&opts.Conns, "conns", 16, "connections")
	cmd.Flags().IntVar(&opts.Depth, "depth", 128, "requests in flight on each connection")
	cmd.Flags().Float64Var(&opts.Rate, "rate", 0, "requests a second of the open loop; 0: half of what the closed loop reached")
}

func addLoadFlags(cmd *cobra.Command, opts *bench.AuthOptions) {
	addClosedLoadFlags(cmd, opts)
	cmd.Flags().IntVar(&opts.Terminals, "terminals", 512, "connections with one request in flight each")
}

func validLoad(opts *bench.AuthOptions) error {
	switch {
	case opts.Dialect != string(config.DialectPOS) && opts.Dialect != string(config.DialectHost):
		return usage("--dialect is pos or host, not %q", opts.Dialect)
	case opts.MAC && opts.MACBy != book.MACByCMAC && opts.MACBy != book.MACByHMAC && (opts.MACBy != book.MACByXOR || opts.Dialect == string(config.DialectHost)):
		return usage("--mac-by is cmac or hmac-sha256, or for terminals cup-ecb, not %v", opts.MACBy)
	case opts.Conns < 1 || opts.Terminals < 1 || opts.Conns > 5_000 || opts.Terminals > 5_000:
		return usage("--conns and --terminals are 1 to 5000")
	case opts.Depth < 1 || opts.Depth > 4_096:
		return usage("--depth is 1 to 4096")
	case opts.Rate < 0:
		return usage("--rate is above 0, or 0")
	}
	return nil
}

func validAccounts(accounts uint64) error {
	if accounts < 1 || accounts > bench.MaxAccounts {
		return usage("--accounts is 1 to %d", bench.MaxAccounts)
	}
	return nil
}

// completeAuth fills in what is not a flag.
func completeAuth(opts *bench.AuthOptions, flags *benchFlags, progress bench.Progress) error {
	path, err := os.Executable()
	if err != nil {
		return fmt.Errorf("bench: find this program: %w", err)
	}
	opts.Program = bench.Program{Path: path, Name: os.Args[0]}
	opts.Clock, opts.Progress, opts.Duration, opts.Rounds = time.Now, progress, flags.duration, flags.rounds
	return nil
}

func newBenchEcho() *cobra.Command {
	var flags benchFlags
	var opts bench.AuthOptions
	cmd := &cobra.Command{
		Use:   "echo",
		Short: "Measure the floor alone: the same frames over TCP, sent back unread",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts.Accounts = 1_000
			if err := errors.Join(flags.quicken(cmd, map[string]string{"duration": "300ms", "terminals": "64"}), flags.valid(), validLoad(&opts)); err != nil {
				return err
			}
			return measure(cmd, &flags, func(ctx context.Context, progress bench.Progress) (*bench.Report, error) {
				if err := completeAuth(&opts, &flags, progress); err != nil {
					return nil, err
				}
				return bench.Echo(ctx, opts)
			})
		},
	}
	flags.add(cmd, 5*time.Second)
	addLoadFlags(cmd, &opts)
	return cmd
}

func newBenchLedger() *cobra.Command {
	var flags benchFlags
	var opts bench.LedgerOptions
	cmd := &cobra.Command{
		Use:   "ledger",
		Short: "Measure the ledger alone, durable, beside one without a journal and the disk's flush",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := errors.Join(flags.quicken(cmd, map[string]string{"duration": "200ms", "accounts": "10000"}), flags.valid(), validAccounts(opts.Accounts)); err != nil {
				return err
			}
			return measure(cmd, &flags, func(ctx context.Context, progress bench.Progress) (*bench.Report, error) {
				opts.Clock, opts.Progress, opts.Duration, opts.Rounds = time.Now, progress, flags.duration, flags.rounds
				return bench.Ledger(ctx, opts)
			})
		},
	}
	flags.add(cmd, 5*time.Second)
	cmd.Flags().Uint64Var(&opts.Accounts, "accounts", 1_000_000, "members, each with a card and an account")
	addFolderFlags(cmd, &opts.Dir, &opts.Keep)
	return cmd
}

func addFolderFlags(cmd *cobra.Command, dir *string, keep *bool) {
	cmd.Flags().StringVar(dir, "dir", "", "folder, on the disk to be measured, for the temporary store (default: the system's)")
	cmd.Flags().BoolVar(keep, "keep", false, "keep the temporary folder with store and logs")
	_ = cmd.MarkFlagDirname("dir") // Only completion would miss it.
}

func newBenchCodec() *cobra.Command {
	var flags benchFlags
	var spoken string
	cmd := &cobra.Command{
		Use:   "codec",
		Short: "Measure reading a request and writing its answer, beside stock moov",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := errors.Join(flags.quicken(cmd, map[string]string{"duration": "50ms"}), flags.valid()); err != nil {
				return err
			}
			opts := bench.CodecOptions{Dialects: []string{spoken}, Duration: flags.duration, Rounds: flags.rounds, Clock: time.Now}
			switch spoken {
			case "":
				opts.Dialects = []string{string(config.DialectPOS), string(config.DialectHost)}
			case string(config.DialectPOS), string(config.DialectHost):
			default:
				return usage("--dialect is pos or host, not %q", spoken)
			}
			return measure(cmd, &flags, func(ctx context.Context, progress bench.Progress) (*bench.Report, error) {
				opts.Progress = progress
				return bench.Codec(ctx, opts)
			})
		},
	}
	flags.add(cmd, time.Second)
	cmd.Flags().StringVar(&spoken, "dialect", "", "pos or host (default: both)")
	return cmd
}

// newBenchAttack is the attackers, as a process of their own.
func newBenchAttack() *cobra.Command {
	return &cobra.Command{
		Use: "attack", Short: "Attack as standard input describes", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var attack bench.Attack
			if err := json.NewDecoder(cmd.InOrStdin()).Decode(&attack); err != nil {
				return usage("standard input is not the attack that lianfen bench hostile describes: %w", err)
			}
			if attack.Conns < 1 || attack.Sources < 1 || attack.Sources > 200 || attack.Duration <= 0 || attack.Flood < 0 {
				return usage("an attack of %d connections from %d sources for %v", attack.Conns, attack.Sources, attack.Duration)
			}
			seen, err := bench.Hostile(cmd.Context(), attack)
			if err != nil {
				return err
			}
			return writeJSON(cmd.OutOrStdout(), seen)
		},
	}
}

// newBenchGenerate is the load generator, as a process of its own.
func newBenchGenerate() *cobra.Command {
	return &cobra.Command{
		Use: "generate", Short: "Send the load that standard input describes", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var load bench.Load
			if err := json.NewDecoder(cmd.InOrStdin()).Decode(&load); err != nil {
				return usage("standard input is not the load that lianfen bench auth describes: %w", err)
			}
			seen, err := bench.Generate(cmd.Context(), load, time.Now)
			if err != nil {
				return err
			}
			return writeJSON(cmd.OutOrStdout(), seen)
		},
	}
}

// newBenchReflect is the echo, as a process of its own.
func newBenchReflect() *cobra.Command {
	return listening("reflect", "Send frames back on the listening socket that was inherited", bench.Reflect)
}

// newBenchApprove is the issuer that approves at once, as a process of its own.
func newBenchApprove() *cobra.Command {
	var cert, trust string
	cmd := listening("approve", "Be an issuer's host that approves, on the listening socket that was inherited", func(ctx context.Context, ln net.Listener) error {
		if cert != "" {
			gate, err := gateOf(cert, cert, trust)
			if err != nil {
				return err
			}
			ln = tls.NewListener(ln, gate.Server(false, certs.RoleSwitch))
		}
		return bench.Approve(ctx, ln)
	})
	cmd.Flags().StringVar(&cert, "tls-cert", "", "the host's certificate with its key, as PEM; without one it speaks plain TCP")
	cmd.Flags().StringVar(&trust, "tls-ca", "", "root that the switch is checked against, as PEM")
	return cmd
}

// listening is a command that serves the listening socket that bench has left it.
func listening(use, short string, serve func(context.Context, net.Listener) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			file := os.NewFile(bench.InheritedFD, "listener")
			ln, err := net.FileListener(file)
			if err != nil {
				return usage("there is no listening socket as file descriptor %d; this is for lianfen bench: %w", bench.InheritedFD, err)
			}
			return errors.Join(file.Close(), serve(cmd.Context(), ln))
		},
	}
}

// newBenchForget is the switch with nothing made durable. It is not a flag of serve,
// so that nobody runs one by mistake.
func newBenchForget() *cobra.Command {
	var file string
	var sets []string
	cmd := &cobra.Command{
		Use: "forget", Short: "Serve a copy of the store in memory; all that is answered is forgotten", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Load(file, os.Environ(), sets)
			if err != nil {
				return usage("%w", err)
			}
			a, err := app.New(cmd.Context(), app.Options{Config: c, Version: versionOf(), Log: newLog(cmd.ErrOrStderr(), c.Log, c.Log.Level), Clock: now, Volatile: true})
			if err != nil {
				return serveError(err)
			}
			return serveError(a.Run(cmd.Context()))
		},
	}
	addConfigFlags(cmd, &file, &sets)
	return cmd
}

// measure runs a measurement, prints its report, and fails when a check does.
func measure(cmd *cobra.Command, flags *benchFlags, run func(context.Context, bench.Progress) (*bench.Report, error)) error {
	began := time.Now()
	progress := func(what string, about time.Duration) {
		if about > 0 {
			what += fmt.Sprintf(" (about %s)", about.Round(100*time.Millisecond))
		}
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "%6.1fs  %s\n", time.Since(began).Seconds(), what) // Progress only.
	}
	report, err := run(cmd.Context(), progress)
	if err != nil {
		return err
	}
	if flags.asJSON {
		err = writeJSON(cmd.OutOrStdout(), report)
	} else {
		err = printBench(cmd.OutOrStdout(), report)
	}
	if failed := report.Failed(); err == nil && failed > 0 {
		err = fmt.Errorf("bench %s: %d of %d checks fall short", report.Command, failed, len(report.Checks))
	}
	return err
}

// printBench prints a report for people.
func printBench(w io.Writer, r *bench.Report) error {
	if _, err := fmt.Fprintf(w, "\n%s, %d cores, %s, %s. Medians; times in microseconds.\n\n", r.Machine.CPU, r.Machine.Cores, r.Machine.System, r.Machine.Go); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	measured := new(table)
	measured.row("MEASURED", "PER SECOND", "P50", "P90", "P99", "P99.9", "MAX", "CPU", "CPU GENERATOR", "GROUP", "ROUNDS")
	for _, m := range r.Measurements {
		l := m.Latency
		measured.row(m.Name, figure(m.PerSecond), figure(l.P50), figure(l.P90), figure(l.P99), figure(l.P999), figure(l.Max), figure(m.ServerCPU), figure(m.GeneratorCPU), figure(m.Group), m.Rounds)
	}
	if err := measured.write(w); err != nil {
		return err
	}
	checks := new(table)
	checks.row("CHECK", "VALUE", "UNIT", "TARGET", "")
	for _, c := range r.Checks {
		verdict := "pass"
		if !c.Pass {
			verdict = "FALLS SHORT"
		}
		checks.row(c.Name, figure(c.Value), c.Unit, c.Target, verdict)
	}
	var notes strings.Builder
	if len(r.Checks) > 0 {
		if _, err := fmt.Fprintln(w); err != nil {
			return fmt.Errorf("print: %w", err)
		}
		if err := checks.write(w); err != nil {
			return err
		}
	}
	for _, note := range r.Notes {
		notes.WriteString("\n" + note)
	}
	if r.Kept != "" {
		notes.WriteString("\nStore and logs are in " + r.Kept)
	}
	if _, err := fmt.Fprintln(w, notes.String()); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

// figure shows a number with as many decimals as mean something.
func figure(v float64) string {
	switch {
	case v == 0:
		return "-"
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	default:
		return fmt.Sprintf("%.3g", v)
	}
}
