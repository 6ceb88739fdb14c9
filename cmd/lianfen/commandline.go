package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lianfen/lianfen/internal/sim"
	"github.com/lianfen/lianfen/points"
)

// none wants no arguments. Under a group of commands an argument is a command
// that is not there, and one that is spelled like it is named.
func none(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case !cmd.HasSubCommands():
		return usage("%s, want none; see: %s --help", arguments(len(args)), cmd.CommandPath())
	}
	similar := ""
	if cmd.SuggestionsMinimumDistance <= 0 {
		cmd.SuggestionsMinimumDistance = 2
	}
	if names := cmd.SuggestionsFor(args[0]); len(names) > 0 {
		similar = fmt.Sprintf("; is it %s?", strings.Join(names, " or "))
	}
	return usage("unknown command %q for %q%s", args[0], cmd.CommandPath(), similar)
}

// byOperator says of a command of the admin, ledger and exchange groups that was refused for
// what its command line says that it is the command line's fault. Of load it is
// the file's.
func byOperator(run func(*cobra.Command, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		err := run(cmd, args)
		if _, coded := errors.AsType[*statusError](err); err == nil || coded || cmd.Name() == "load" {
			return err
		}
		if points.ReasonOf(err) == points.FormatError {
			return &statusError{exitUsage, err}
		}
		return err
	}
}

// checkCard refuses what is no card number. It never repeats what was typed, which
// may be a card but for a slip of the finger.
func checkCard(flag, number string) error {
	const least = 13 // ISO/IEC 7812 numbers that go through here
	if number == "" {
		return nil
	}
	if _, err := points.ParsePAN(number); err != nil {
		return usage("--%s: %w", flag, err)
	}
	if len(number) < least {
		return usage("--%s: card number: %d digits, want %d to %d", flag, len(number), least, points.MaxPANDigits)
	}
	return nil
}

// checkAmount refuses an amount that no message can carry.
func checkAmount(amount points.Amount) error {
	if amount < 1 || amount > points.MaxAmount {
		return usage("--amount %d: want 1 to %d, in the programme's smallest unit", amount, points.MaxAmount)
	}
	return nil
}

// fullRRN puts back the zeros that somebody left out in front of an RRN.
func fullRRN(text string) string {
	const length = 12
	if strings.Trim(text, "0123456789") != "" || text == "" || len(text) >= length {
		return text
	}
	return strings.Repeat("0", length-len(text)) + text
}

// drawn reports whether w is a terminal, where a bar can be drawn and drawn over.
func drawn(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&fs.ModeCharDevice != 0
}

// traceNumber is a flag for a STAN: decimal as it is printed, zeros in front and
// all, which other flags for numbers take for octal.
type traceNumber points.STAN

// String renders the number, "0" for none.
func (n *traceNumber) String() string { return strconv.FormatUint(uint64(*n), 10) }

// Set reads at most six digits.
func (n *traceNumber) Set(text string) error {
	v, err := strconv.ParseUint(text, 10, 32)
	if err != nil || v > sim.MaxSTAN {
		return fmt.Errorf("want a number of at most six digits, 0 to %d", sim.MaxSTAN)
	}
	*n = traceNumber(v)
	return nil
}

// Type names the kind of value in the help.
func (n *traceNumber) Type() string { return "stan" }

// sentence says what is wrong with a command line in our words, where the library says it
// in those of its source.
func sentence(err error) error {
	if bad, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		flag := bad.GetFlag()
		if _, number := errors.AsType[*strconv.NumError](bad); number {
			return fmt.Errorf("--%s %q: want %s", flag.Name, bad.GetValue(), wanted(flag.Value.Type()))
		}
		if cause := bad.Unwrap(); cause != nil && !strings.HasPrefix(cause.Error(), "invalid ") && !strings.HasPrefix(cause.Error(), "time: ") {
			return fmt.Errorf("--%s: %w", flag.Name, cause)
		}
		return fmt.Errorf("--%s %q: want %s", flag.Name, bad.GetValue(), wanted(flag.Value.Type()))
	}
	if missing, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		return fmt.Errorf("--%s needs a value: %s", missing.GetFlag().Name, wanted(missing.GetFlag().Value.Type()))
	}
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
		if unknown.GetSpecifiedShortnames() != "" {
			return fmt.Errorf("there is no flag -%s", unknown.GetSpecifiedName())
		}
		return fmt.Errorf("there is no flag --%s", unknown.GetSpecifiedName())
	}
	if names, ok := strings.CutPrefix(err.Error(), "required flag(s) "); ok {
		names = strings.ReplaceAll(strings.TrimSuffix(names, " not set"), `"`, "")
		return fmt.Errorf("--%s must be given", strings.ReplaceAll(names, ", ", " and --"))
	}
	if rest, ok := strings.CutPrefix(err.Error(), "at least one of the flags in the group ["); ok {
		names, _, _ := strings.Cut(rest, "]")
		return fmt.Errorf("--%s must be given", strings.ReplaceAll(names, " ", " or --"))
	}
	if rest, ok := strings.CutPrefix(err.Error(), "if any flags in the group ["); ok {
		_, rest, _ = strings.Cut(rest, "; [")
		names, _, _ := strings.Cut(rest, "]")
		return fmt.Errorf("--%s exclude each other: leave one out", strings.ReplaceAll(names, " ", " and --"))
	}
	return err
}

// wanted says what a flag of a type takes.
func wanted(kind string) string {
	switch kind {
	case "duration":
		return "a time such as 30s, 5m or 2h"
	case "bool":
		return "true or false"
	case "int", "int8", "int16", "int32", "int64", "number", "count":
		return "a whole number in decimal digits that fits"
	case "uint", "uint8", "uint16", "uint32", "uint64":
		return "a whole number in decimal digits, not below zero, that fits"
	case "float32", "float64":
		return "a number such as 0.5"
	default:
		return "a " + kind
	}
}

// arguments counts them in words.
func arguments(n int) string {
	if n == 1 {
		return "1 argument"
	}
	return fmt.Sprintf("%d arguments", n)
}
