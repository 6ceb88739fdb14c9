package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/lianfen/lianfen/internal/bench"
)

func newBenchRecon() *cobra.Command {
	var flags benchFlags
	var opts bench.ReconOptions
	var profile string
	cmd := &cobra.Command{
		Use:   "recon",
		Short: "Measure a three-way reconciliation of made-up files, beside sort and comm",
		Long: `Make up lines of a day, and of them a CSV file for each acquirer and issuer, with faults of
every class in turn: missing on a side, another amount, state, programme, fee or date,
twice, not to be read. Then compare them as recon does: by totals, and line by line,
merging files that are in order, and sorting them as if they were not. Every fault has to
be found once, in its class, and nothing else. sort and comm compare the same rows, where
they are installed. Of less than ten million lines the times are those that ten million
would take at that speed. Ten million lines on each side need 8 GB of disk.`,
		Example: `  lianfen bench recon
  lianfen bench recon --lines 1000000 --members 100 --faults 5`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := errors.Join(flags.quicken(cmd, map[string]string{"lines": "20000", "members": "10"}), flags.valid()); err != nil {
				return err
			}
			if opts.Lines < 1 || opts.Lines > 100_000_000 || opts.Members < 2 || opts.Members > 2_000 || opts.Faults < 0 || opts.Faults > 100 {
				return usage("--lines is 1 to 100000000, --members 2 to 2000, --faults 0 to 100")
			}
			return measure(cmd, &flags, func(ctx context.Context, progress bench.Progress) (_ *bench.Report, err error) {
				stop, err := profileCPU(profile)
				if err != nil {
					return nil, err
				}
				defer func() { err = errors.Join(err, stop()) }()
				opts.Clock, opts.Progress = time.Now, progress
				return bench.Recon(ctx, opts)
			})
		},
	}
	cmd.Flags().BoolVar(&flags.quick, "quick", false, "short and small, to see that it works; its figures mean little")
	cmd.Flags().BoolVar(&flags.asJSON, "json", false, "print JSON")
	flags.duration, flags.rounds = time.Second, 1
	cmd.Flags().Uint64Var(&opts.Lines, "lines", 10_000_000, "lines on each of the three sides")
	cmd.Flags().IntVar(&opts.Members, "members", 600, "partners, half of them issuers, half acquirers, a file each")
	cmd.Flags().Float64Var(&opts.Faults, "faults", 2, "of a hundred lines, how many have a fault")
	cmd.Flags().StringVar(&profile, "cpu-profile", "", "write what the processor was busy with to this file, for go tool pprof")
	addFolderFlags(cmd, &opts.Dir, &opts.Keep)
	return cmd
}
