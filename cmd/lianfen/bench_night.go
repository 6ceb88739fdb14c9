package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/lianfen/lianfen/internal/bench"
)

func newBenchNight() *cobra.Command {
	var flags benchFlags
	var opts bench.NightOptions
	cmd := &cobra.Command{
		Use:   "night",
		Short: "Measure authorisations while a settlement run goes on beside them",
		Long: `Start a switch on a new store with a rate and fees, fill a cycle and end it. Then measure
redemptions at a fixed rate, in turns with nothing beside them and while the same switch
settles that cycle to CHECKED, again and again. Every approved answer has to be in the
journal exactly once.`,
		Example: `  lianfen bench night
  lianfen bench night --rate 2000 --items 2000000`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			quick := map[string]string{"duration": "300ms", "accounts": "1000", "items": "2000", "rate": "500"}
			opts.Terminals = 1
			if err := errors.Join(flags.quicken(cmd, quick), flags.valid(), validLoad(&opts.AuthOptions), validAccounts(opts.Accounts)); err != nil {
				return err
			}
			if opts.Rate == 0 || opts.Items < 1 {
				return usage("--rate and --items are above 0")
			}
			return measure(cmd, &flags, func(ctx context.Context, progress bench.Progress) (*bench.Report, error) {
				if err := completeAuth(&opts.AuthOptions, &flags, progress); err != nil {
					return nil, err
				}
				return bench.Night(ctx, opts)
			})
		},
	}
	flags.add(cmd, 10*time.Second)
	addClosedLoadFlags(cmd, &opts.AuthOptions)
	rate := cmd.Flags().Lookup("rate")
	rate.Usage, rate.DefValue, opts.Rate = "requests a second of the open loop", "5000", 5_000
	cmd.Flags().Uint64Var(&opts.Accounts, "accounts", 50_000, "members, each with a card and an account")
	cmd.Flags().Uint64Var(&opts.Items, "items", 1_000_000, "items of the cycle that is settled")
	cmd.Flags().IntVar(&opts.Workers, "workers", 2, "goroutines that compute the run")
	cmd.Flags().StringVar(&opts.Profile, "cpu-profile", "", "write the CPU profile of the switch to this file")
	addFolderFlags(cmd, &opts.Dir, &opts.Keep)
	return cmd
}
