package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/lianfen/lianfen/internal/bench"
)

func newBenchSettle() *cobra.Command {
	var flags benchFlags
	var opts bench.SettleOptions
	var profile string
	cmd := &cobra.Command{
		Use:   "settle",
		Short: "Measure a settlement run on a made-up day, beside SQLite and sort|awk",
		Long: `Make a day up and settle it from its cut to its published files: killed behind COMPUTED,
gone on with, run again behind CHECKED, approved, published. Then prove every member's
set as settle verify does, and have SQLite and sort|awk add up the same lines, where they
are installed: they have to come to the same positions. Of a day of less than ten million
items the times are those that ten million would take at that speed. Ten million items
need 12 GB of disk. At last a ledger is filled, and its records are read as both passes of
a run read them, beside a plain read of the same blocks.`,
		Example: `  lianfen bench settle --items 1000000
  lianfen bench settle --items 10000000 --members 600`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := errors.Join(flags.quicken(cmd, map[string]string{"items": "20000", "members": "20", "journal": "6000"}), flags.valid()); err != nil {
				return err
			}
			return measure(cmd, &flags, func(ctx context.Context, progress bench.Progress) (_ *bench.Report, err error) {
				stop, err := profileCPU(profile)
				if err != nil {
					return nil, err
				}
				defer func() { err = errors.Join(err, stop()) }()
				opts.Clock, opts.Progress = time.Now, progress
				return bench.Settle(ctx, opts)
			})
		},
	}
	cmd.Flags().BoolVar(&flags.quick, "quick", false, "short and small, to see that it works; its figures mean little")
	cmd.Flags().BoolVar(&flags.asJSON, "json", false, "print JSON")
	flags.duration, flags.rounds = time.Second, 1
	cmd.Flags().Uint64Var(&opts.Items, "items", 10_000_000, "items of the day")
	cmd.Flags().IntVar(&opts.Members, "members", 600, "members, half of them issuers, half acquirers")
	cmd.Flags().IntVar(&opts.Workers, "workers", 2, "goroutines that compute")
	cmd.Flags().BoolVar(&opts.Twin, "twin", false, "detail files have a twin for spreadsheets")
	cmd.Flags().Uint64Var(&opts.Journal, "journal", 500_000, "records of a journal that is read as a run reads it; 0: none")
	cmd.Flags().StringVar(&profile, "cpu-profile", "", "write what the processor was busy with to this file, for go tool pprof")
	addFolderFlags(cmd, &opts.Dir, &opts.Keep)
	return cmd
}
