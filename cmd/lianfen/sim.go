package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/lianfen/lianfen/internal/sim"
	"github.com/lianfen/lianfen/points"
)

// simulation is the command line of the whole-system simulation.
type simulation struct {
	seed    uint64
	seeds   int
	jobs    int
	faults  []string
	steps   bool
	all     bool
	verbose bool
	asJSON  bool
}

// simReport is what came of all seeds.
type simReport struct {
	Played     int               `json:"played"`
	Mismatches []sim.WorldReport `json:"mismatches"`
	Did        map[string]int    `json:"did"`
	Requests   uint64            `json:"requests"`
	Records    uint64            `json:"records"`
	Virtual    time.Duration     `json:"virtual"`
	Runs       []sim.WorldReport `json:"runs,omitempty"`
}

func newSim() *cobra.Command {
	s := new(simulation)
	cmd := &cobra.Command{
		Use:   "sim",
		Short: "Play the whole system from a seed, faults and all 全系统仿真",
		Long: `Play the whole system in this process, on virtual time, from a seed: terminals and
partners, the real switch over the real ledger on a disk that loses power, hosts of
issuers with books of their own, and the lines between them. What goes wrong comes from
the seed too: ` + strings.Join(sim.WorldFaultNames(), ", ") + `; each run has some of it.

In the end everything is allowed to drain. Then each terminal's receipts, the switch's
journal and each issuer's book must agree, in sum and transaction by transaction; every
answered request stands in the journal once; nothing is owed; the ledger proves itself.

The first seed that does not agree ends the command with status 1, what happened around
the card, and how to play it again: the same seed gives the same journal, bit for bit.`,
		Example: `  lianfen sim --seeds 1000
  lianfen sim --seed 4711 --steps
  lianfen sim --seeds 200 --faults network,crash --json`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error { return s.run(cmd) },
	}
	f := cmd.Flags()
	f.Var(decimal(&s.seed, 1), "seed", "the first seed")
	f.IntVar(&s.seeds, "seeds", 0, "how many seeds; 0: one where --seed is given, else 100")
	f.IntVar(&s.jobs, "jobs", 0, "how many at a time; 0: as many as there are cores")
	f.StringSliceVar(&s.faults, "faults", sim.WorldFaultNames(), "what may go wrong; empty: nothing")
	f.BoolVar(&s.steps, "steps", false, "print everything that happened")
	f.BoolVar(&s.all, "all", false, "go on after a mismatch, and count them")
	f.BoolVarP(&s.verbose, "verbose", "v", false, "print a line for each seed")
	f.BoolVar(&s.asJSON, "json", false, "print JSON")
	cmd.AddCommand(newSimSwaps())
	return cmd
}

// newSimSwaps is the command that plays swaps with a leg in an issuer's own ledger.
func newSimSwaps() *cobra.Command {
	var seed uint64
	seeds, asJSON := 1000, false
	cmd := &cobra.Command{
		Use:   "swaps",
		Short: "Play swaps with an issuer's own ledger, in every disorder 异地互换仿真",
		Long: `Play swaps of which one side is in an issuer's own ledger, each from a seed: messages that
come late, twice, in any order or never, timers, and kills. Whatever happens, both books must
end alike: done and credited, or given back and gone. The first seed that splits the outcome
ends the command with status 1 and says what happened.`,
		Example: `  lianfen sim swaps --seeds 100000
  lianfen sim swaps --seed 4711 --seeds 1`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if seeds < 1 {
				return usage("--seeds cannot be below one")
			}
			ends := make(map[string]int)
			for n := range uint64(seeds) {
				if err := cmd.Context().Err(); err != nil {
					return err
				}
				state, err := sim.RunSwap(seed + n)
				if err != nil {
					return err
				}
				ends[state.String()]++
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), ends)
			}
			for _, end := range slices.Sorted(maps.Keys(ends)) {
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%-10s %d\n", end, ends[end]); err != nil {
					return err
				}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.Var(decimal(&seed, 1), "seed", "the first seed")
	f.IntVar(&seeds, "seeds", seeds, "how many seeds")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

var errMismatch = errors.New("sim: a mismatch")

func (s *simulation) run(cmd *cobra.Command) error {
	switch {
	case s.seeds < 0 || s.jobs < 0:
		return usage("--seeds and --jobs cannot be below zero")
	case s.seeds == 0 && cmd.Flags().Changed("seed"):
		s.seeds = 1
	case s.seeds == 0:
		s.seeds = 100
	}
	for _, name := range s.faults {
		if !slices.Contains(sim.WorldFaultNames(), name) {
			return usage("--faults %q: there are %s", name, strings.Join(sim.WorldFaultNames(), ", "))
		}
	}
	report, broken := s.play(cmd) // What was played until then is told all the same.
	var err error
	if s.asJSON {
		err = writeJSON(cmd.OutOrStdout(), report)
	} else {
		err = s.print(cmd.OutOrStdout(), report)
	}
	if err := errors.Join(broken, err); err != nil {
		return err
	}
	if n := len(report.Mismatches); n > 0 {
		return fmt.Errorf("sim: %d of %d seeds do not agree; play one again: lianfen sim --seed %d%s --steps", n, report.Played, report.Mismatches[0].Seed, s.given(cmd))
	}
	return nil
}

// given repeats what of the command line a seed depends on.
func (s *simulation) given(cmd *cobra.Command) string {
	if !cmd.Flags().Changed("faults") {
		return ""
	}
	return " --faults " + strings.Join(s.faults, ",")
}

// play plays the seeds, some at a time.
func (s *simulation) play(cmd *cobra.Command) (*simReport, error) {
	report := &simReport{Did: make(map[string]int), Mismatches: []sim.WorldReport{}}
	advance := seedBar(cmd.ErrOrStderr(), s.seeds)
	var mu sync.Mutex // guards report
	group, ctx := errgroup.WithContext(cmd.Context())
	group.SetLimit(cmp.Or(s.jobs, runtime.GOMAXPROCS(0)))
	faults := append([]string{}, s.faults...) // Not nil: that would be everything.
	for n := range s.seeds {
		if ctx.Err() != nil {
			break
		}
		group.Go(func() error {
			run, err := sim.RunWorld(ctx, sim.WorldOptions{Seed: s.seed + uint64(n), Faults: faults, Steps: s.steps}) //nolint:gosec // n is not below zero.
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			advance(report.Played + 1)
			report.add(&run, s.verbose || s.steps)
			if s.verbose && !s.asJSON {
				_, _ = fmt.Fprintln(cmd.ErrOrStderr(), runLine(&run)) // Progress only.
			}
			if run.Mismatch != nil && !s.all {
				return errMismatch
			}
			return nil
		})
	}
	err := group.Wait()
	if len(report.Mismatches) > 0 && (errors.Is(err, errMismatch) || errors.Is(err, context.Canceled)) {
		err = nil
	}
	slices.SortFunc(report.Mismatches, func(a, b sim.WorldReport) int { return int(a.Seed - b.Seed) }) //nolint:gosec // seeds of one run lie close.
	slices.SortFunc(report.Runs, func(a, b sim.WorldReport) int { return int(a.Seed - b.Seed) })       //nolint:gosec // likewise.
	return report, err
}

// seedBar shows how many seeds were played.
func seedBar(w io.Writer, seeds int) func(played int) {
	if seeds == 1 || !drawn(w) {
		return func(int) {}
	}
	bar := progressbar.NewOptions(seeds, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription("playing"),
		progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("seeds"), progressbar.OptionThrottle(200*time.Millisecond), progressbar.OptionClearOnFinish())
	return func(played int) { _ = bar.Set(played) } // A bar that cannot be drawn stops nothing.
}

func (r *simReport) add(run *sim.WorldReport, keep bool) {
	r.Played++
	r.Requests += run.Requests
	r.Records += run.Records
	r.Virtual += run.Played
	for what, n := range run.Did {
		r.Did[what] += n
	}
	if run.Mismatch != nil {
		r.Mismatches = append(r.Mismatches, *run)
	}
	if keep {
		r.Runs = append(r.Runs, *run)
	}
}

func runLine(run *sim.WorldReport) string {
	verdict := "agrees"
	if run.Mismatch != nil {
		verdict = run.Mismatch.What
	}
	digest := run.Digest
	if len(digest) > 16 {
		digest = digest[:16]
	}
	return fmt.Sprintf("seed %d: %d requests, %d records, %v, digest %s: %s", run.Seed, run.Requests, run.Records, run.Played.Round(time.Second), digest, verdict)
}

// print prints a report for people.
func (s *simulation) print(w io.Writer, r *simReport) error {
	var out strings.Builder
	for i := range r.Runs {
		if s.steps {
			out.WriteString(strings.Join(r.Runs[i].Steps, "\n") + "\n\n")
		}
		if s.steps && !s.verbose {
			out.WriteString(runLine(&r.Runs[i]) + "\n")
		}
	}
	if len(r.Mismatches) > 0 {
		first := &r.Mismatches[0]
		if !s.steps {
			out.WriteString(strings.Join(first.Mismatch.Steps, "\n") + "\n\n")
		}
		for i := range r.Mismatches {
			fmt.Fprintf(&out, "seed %d: %s\n", r.Mismatches[i].Seed, r.Mismatches[i].Mismatch.What)
		}
		out.WriteString("\n")
	}
	fmt.Fprintf(&out, "%s: %d requests, %d records, %v of virtual time\n", points.Counted(r.Played, "seed", "seeds"), r.Requests, r.Records, r.Virtual.Round(time.Second))
	for _, what := range slices.Sorted(maps.Keys(r.Did)) {
		fmt.Fprintf(&out, "%8d  %s\n", r.Did[what], what)
	}
	if _, err := io.WriteString(w, out.String()); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}
