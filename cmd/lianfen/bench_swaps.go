package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/lianfen/lianfen/internal/bench"
)

func newBenchSwaps() *cobra.Command {
	var flags benchFlags
	var opts bench.SwapOptions
	var profile string
	cmd := &cobra.Command{
		Use:   "swaps",
		Short: "Measure durable swaps between two programmes, beside the journal alone",
		Long: `Measure swaps through the exchange's desk, in process and durable, each with a key of its
own: quoted and executed, and executed only, of quotes that were made before. Their floor,
in turns with them, is a store that gets the same number of groups of as many bytes and
does nothing else. Afterwards the books are audited, and each answered swap has to be in
the journal once, at the position and with the figures that its caller was told.`,
		Example: `  lianfen bench swaps
  lianfen bench swaps --quick`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := errors.Join(flags.quicken(cmd, map[string]string{"duration": "200ms", "accounts": "10000"}), flags.valid(), validAccounts(opts.Accounts)); err != nil {
				return err
			}
			if opts.Clients < 1 || opts.Clients > 20_000 {
				return usage("--clients is 1 to 20000")
			}
			return measure(cmd, &flags, func(ctx context.Context, progress bench.Progress) (*bench.Report, error) {
				opts.Clock, opts.Progress, opts.Duration, opts.Rounds = time.Now, progress, flags.duration, flags.rounds
				stop, err := profileCPU(profile)
				if err != nil {
					return nil, err
				}
				report, err := bench.Swaps(ctx, opts)
				return report, errors.Join(err, stop())
			})
		},
	}
	flags.add(cmd, 3*time.Second)
	cmd.Flags().Uint64Var(&opts.Accounts, "accounts", 100_000, "members, each with an account in both programmes")
	cmd.Flags().IntVar(&opts.Clients, "clients", 1024, "callers of the desk, each with one call open")
	cmd.Flags().StringVar(&profile, "cpu-profile", "", "write what the processor was busy with to this file, for go tool pprof")
	addFolderFlags(cmd, &opts.Dir, &opts.Keep)
	return cmd
}
