// Command lianfen is the points-clearing switch and everything an operator, a
// merchant's integrator or an auditor does with it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/lianfen/lianfen/internal/store"
)

// version is set by the linker; a build without it tells the module's own.
var version = "" //nolint:gochecknoglobals // the linker writes it.

// Exit statuses; docs/operations.md tells what to do at each.
const (
	exitOK    = 0
	exitFault = 1 // what was asked did not work
	exitUsage = 2 // it was not understood
	exitStore = 3 // the store or its journal cannot be trusted: the runbook
	// exitBroken: what was proved, files of a settlement, is not what it must be.
	exitBroken = 4
)

func main() {
	os.Exit(run(os.Args[1:]))
}

// run carries out one command line and returns the exit status.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// Keys, the store, backups, what is exported and logged: whatever a command writes is
	// its owner's alone, and what is to be shared is shared by hand. The store's library
	// asks for more.
	syscall.Umask(0o077)
	root := newRoot()
	root.SetArgs(args)
	began := false
	tellBegin(root, &began)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if coded, ok := errors.AsType[*statusError](err); ok {
		if coded.err != nil {
			_, _ = fmt.Fprintln(root.ErrOrStderr(), "lianfen:", coded.err)
		}
		return coded.status
	}
	if !began {
		err = sentence(err)
	}
	_, _ = fmt.Fprintln(root.ErrOrStderr(), "lianfen:", err)
	if errors.Is(err, store.ErrCorrupt) {
		return exitStore
	}
	if !began {
		return exitUsage
	}
	return exitFault
}

// tellBegin sets began once cmd or a command below it runs. What fails before,
// an unknown command or a flag that is missing, is the command line's fault.
func tellBegin(cmd *cobra.Command, began *bool) {
	if runE := cmd.RunE; runE != nil {
		if parent := cmd.Parent(); parent != nil && (parent.Name() == "admin" || parent.Name() == "ledger" || parent.Name() == "exchange") {
			runE = byOperator(runE)
		}
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			*began = true
			return runE(cmd, args)
		}
	}
	for _, child := range cmd.Commands() {
		tellBegin(child, began)
	}
}

// statusError carries the exit status of a failure. Without an error, what there
// is to say has been said.
type statusError struct {
	status int
	err    error
}

// Error says what failed.
func (e *statusError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.status)
	}
	return e.err.Error()
}

// Unwrap returns what failed.
func (e *statusError) Unwrap() error { return e.err }

func usage(format string, args ...any) error {
	return &statusError{exitUsage, fmt.Errorf(format, args...)}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "lianfen",
		Short: "A points-clearing switch: terminals and partners on one side, issuers on the other",
		Long: `lianfen (联分) clears loyalty points between merchants and issuers: ISO 8583 in,
a double-entry ledger behind it, one journal that loses nothing.

Start with: lianfen demo`,
		Version:       versionOf(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          none,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetVersionTemplate("lianfen {{.Version}} (" + goVersion() + ")\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if words := cmd.Flags().Args(); cmd.HasSubCommands() && len(words) > 0 {
			return none(cmd, words) // The flag belongs to a command that is misspelled.
		}
		return usage("%w; see: %s --help", sentence(err), cmd.CommandPath())
	})
	root.AddCommand(newDemo(), newInit(), newServe(), newAdmin(), newCerts(), newLedger(), newSettle(), newDispute(), newRecon(), newRates(), newFees(), newExchange(), newRisk(), newPOS(), newIssuer(), newSim(), newCertify(), newDecode(), newKeys(), newBench(), newVersion(), newDocs())
	if err := completeValues(root); err != nil {
		panic("lianfen: " + err.Error()) //nolint:forbidigo // two completions for one flag: our own slip, seen by the first test.
	}
	return root
}

func newVersion() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Tell which build this is",
		Args:  none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), map[string]string{"version": versionOf(), "go": goVersion()})
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "lianfen %s (%s)\n", versionOf(), goVersion())
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func versionOf() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "devel"
}

func goVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.GoVersion
	}
	return "unknown"
}
