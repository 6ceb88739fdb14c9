package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/switch/dialect"
)

// completionTime is how long a shell waits for what a running switch can tell.
const completionTime = 300 * time.Millisecond

// completeValues lets the shell complete what flags of cmd and below take: choices
// that stand fast, and what a running switch knows by name. When none answers,
// nothing is offered and nothing said.
func completeValues(cmd *cobra.Command) error {
	fixed := map[string][]string{
		"lang":    {english, chinese},
		"format":  {string(app.ExportJSONL), string(app.ExportCSV), string(app.ExportHledger)},
		"dialect": {dialect.Pos().Name(), dialect.Host().Name()},
		"status":  {book.Active.String(), book.Suspended.String(), book.Lost.String(), book.Stolen.String(), book.Dormant.String(), book.Closed.String()},
	}
	if strings.HasSuffix(cmd.CommandPath(), " certify") {
		fixed["profile"] = []string{"pos", "issuer"}
	}
	if strings.HasSuffix(cmd.CommandPath(), " policy") {
		fixed["two-persons"] = append([]string{"on", "off"}, strings.Split(book.TwoPersons.String(), ",")...)
	}
	known := map[string]func(*app.Directory) []string{"program": programsOf, "terminal": terminalsOf, "merchant": merchantsOf}
	for name, values := range fixed {
		if cmd.Flags().Lookup(name) == nil {
			continue
		}
		if err := cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)); err != nil {
			return fmt.Errorf("completion of %s --%s: %w", cmd.CommandPath(), name, err)
		}
	}
	for name, values := range known {
		if cmd.Flags().Lookup(name) == nil && cmd.PersistentFlags().Lookup(name) == nil {
			continue
		}
		err := cmd.RegisterFlagCompletionFunc(name, func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
			return fromSwitch(cmd, values), cobra.ShellCompDirectiveNoFileComp
		})
		if err != nil {
			return fmt.Errorf("completion of %s --%s: %w", cmd.CommandPath(), name, err)
		}
	}
	for _, child := range cmd.Commands() {
		if err := completeValues(child); err != nil {
			return err
		}
	}
	return nil
}

// fromSwitch asks the switch that the command line names, else the one of the
// working directory.
func fromSwitch(cmd *cobra.Command, values func(*app.Directory) []string) []string {
	at := admin{file: config.FileName}
	if flag := cmd.Flag("config"); flag != nil {
		at.file = flag.Value.String()
	}
	if flag := cmd.Flag("socket"); flag != nil {
		at.socket = flag.Value.String()
	}
	client, err := at.client()
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
	defer cancel()
	directory, err := client.Directory(ctx)
	if err != nil {
		return nil
	}
	return values(&directory)
}

func programsOf(d *app.Directory) (values []string) {
	for _, e := range d.Programs {
		values = append(values, fmt.Sprintf("%d\t%s", e.ID, e.Name))
	}
	return values
}

func terminalsOf(d *app.Directory) (values []string) {
	for _, e := range d.Terminals {
		values = append(values, fmt.Sprintf("%s\tof merchant %s", e.ID, e.Merchant))
	}
	return values
}

func merchantsOf(d *app.Directory) (values []string) {
	for _, e := range d.Merchants {
		values = append(values, fmt.Sprintf("%s\t%s", e.ID, e.Name))
	}
	return values
}
