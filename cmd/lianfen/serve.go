package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/points"
	pointswitch "github.com/lianfen/lianfen/switch"
)

func newInit() *cobra.Command {
	return &cobra.Command{
		Use:   "init DIR",
		Short: "Prepare a folder: a commented configuration, a card key, a keystore, a certification authority, an empty store",
		Example: `  lianfen init ./my-switch
  lianfen serve --config ./my-switch/lianfen.yaml`,
		Args: one("the folder to prepare"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := prepare(args[0]); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "Prepared %s. Keep %s safe and secret: without it no card can be recognised.\n"+
				"Keep %s apart from the keystore: it opens all keys.\n"+
				"Take root.key and %s out of %s, to two other places: whoever has both can be anybody.\nNext: lianfen serve --config %s\n",
				args[0], filepath.Join(args[0], config.Default().CardKey), filepath.Join(args[0], strings.TrimPrefix(config.Default().Keys.KEK, "file:")),
				passphraseFile, filepath.Join(args[0], config.Default().TLS.Authority), filepath.Join(args[0], config.FileName))
			return err
		},
	}
}

// prepare makes dir with everything that serve needs. What is there already is
// never overwritten: then nothing is changed.
func prepare(dir string) error {
	defaults := config.Default()
	kek := filepath.Join(dir, strings.TrimPrefix(defaults.Keys.KEK, "file:"))
	for _, name := range []string{config.FileName, defaults.CardKey, defaults.Data, defaults.TLS.Authority, defaults.Keys.File, filepath.Base(kek)} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return fmt.Errorf("init: %s is there already; nothing was changed", filepath.Join(dir, name))
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("init: %w", err)
	}
	if err := certs.WriteCardKey(filepath.Join(dir, defaults.CardKey), rand.Reader); err != nil {
		return err
	}
	if err := firstKeys(filepath.Join(dir, defaults.Keys.File), kek); err != nil {
		return err
	}
	if err := store.Create(store.Options{Dir: filepath.Join(dir, defaults.Data)}); err != nil {
		return err
	}
	if err := prepareAuthority(filepath.Join(dir, defaults.TLS.Authority)); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, config.FileName), config.Template(dir), 0o600); err != nil {
		return fmt.Errorf("init: %w", err)
	}
	return nil
}

// pinEntryKey is what the PINs that operators type are enciphered under on their way to
// the switch.
const pinEntryKey = "pin-entry"

// firstKeys makes the keystore with the keys that serve all terminals and cards, and
// draws the key-encryption key.
func firstKeys(path, kekPath string) error {
	if err := certs.WriteKEK(kekPath, rand.Reader); err != nil {
		return err
	}
	kek, err := certs.OpenKEK("file:"+kekPath, rand.Reader)
	if err != nil {
		return err
	}
	keys, err := certs.CreateKeystore(path, kek, rand.Reader)
	if err != nil {
		return err
	}
	return keys.Update(func(c *certs.Changes) error {
		for _, want := range []certs.NewKey{
			{Name: pointswitch.DerivationKey, Usage: certs.WorkingDerivation, Algorithm: certs.AES256},
			{Name: pointswitch.PINVerificationKey, Usage: certs.PINVerification, Algorithm: certs.AES256},
			{Name: pinEntryKey, Usage: certs.ZonePIN, Algorithm: certs.AES256},
		} {
			if _, err := c.Generate(want); err != nil {
				return err
			}
		}
		return nil
	})
}

func newServe() *cobra.Command {
	var file, profile string
	var sets []string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the switch until it is told to stop",
		Long: `Run the switch. SIGTERM or interrupt: take no more connections, answer what is in
flight, write a checkpoint, stop. A kill loses nothing that was answered. SIGHUP: read
the configuration again, put in force what can be, and log what needs a restart.`,
		Example: `  lianfen serve --config ./my-switch/lianfen.yaml
  lianfen serve --config ./my-switch/lianfen.yaml --set log.level=debug`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			c, err := config.Load(file, os.Environ(), sets)
			if err != nil {
				return usage("%w", err)
			}
			if !c.CoreDumps {
				if err := forbidDumps(); err != nil {
					return err
				}
			}
			stop, err := profileCPU(profile)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, stop()) }()
			level := new(slog.LevelVar)
			level.Set(c.Log.Level)
			log := newLog(cmd.ErrOrStderr(), c.Log, level)
			hangups := make(chan os.Signal, 1)
			signal.Notify(hangups, syscall.SIGHUP)
			defer signal.Stop(hangups)
			a, err := app.New(cmd.Context(), app.Options{
				Config: c, Version: versionOf(), Log: log, Clock: now, Progress: recoveryBar(cmd.ErrOrStderr()),
				Reread: func() (config.Config, error) { return config.Load(file, os.Environ(), sets) }, Level: level, Hangups: hangups,
			})
			if err != nil {
				return serveError(err)
			}
			return serveError(a.Run(cmd.Context()))
		},
	}
	addConfigFlags(cmd, &file, &sets)
	cmd.Flags().StringVar(&profile, "cpu-profile", "", "write what the processor was busy with to this file, for go tool pprof")
	return cmd
}

// profileCPU samples the process from now on until stop; with an empty path it
// does nothing.
func profileCPU(path string) (stop func() error, err error) {
	if path == "" {
		return func() error { return nil }, nil
	}
	file, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, errors.Join(fmt.Errorf("profile: %w", err), file.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return file.Close()
	}, nil
}

// serveError gives a damaged store or card key its own exit status.
func serveError(err error) error {
	_, damage := errors.AsType[*ledger.DamageError](err)
	if damage || errors.Is(err, ledger.ErrBehindAnchor) || errors.Is(err, store.ErrNoAnchor) || errors.Is(err, store.ErrCorrupt) || errors.Is(err, app.ErrOtherKey) || errors.Is(err, certs.ErrCardKey) {
		return &statusError{exitStore, err}
	}
	return err
}

func addConfigFlags(cmd *cobra.Command, file *string, sets *[]string) {
	cmd.Flags().StringVar(file, "config", config.FileName, "configuration file")
	cmd.Flags().StringArrayVar(sets, "set", nil, "set a key over the file, such as ledger.queue=1000; may be repeated")
	_ = cmd.MarkFlagFilename("config", "yaml") // Only completion would miss it.
}

// now is the clock of the process's doors.
func now() points.Timestamp { return points.TimestampOf(time.Now()) } // Here time enters.

func newLog(w io.Writer, c config.Log, level slog.Leveler) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if c.Format == config.LogJSON {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

// recoveryBar shows how a recovery gets on, once it has more than a moment's work.
func recoveryBar(w io.Writer) func(done, total uint64) {
	return readingBar(w, "recovering the journal")
}

// readingBar draws how far the journal was read, where there is somebody to see it.
func readingBar(w io.Writer, what string) func(done, total uint64) {
	const worthIt = 100_000
	var bar *progressbar.ProgressBar
	return func(done, total uint64) {
		if total < worthIt || !drawn(w) {
			return
		}
		if bar == nil {
			bar = progressbar.NewOptions64(int64(total), progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(what), //nolint:gosec // positions fit.
				progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionThrottle(200*time.Millisecond), progressbar.OptionClearOnFinish())
		}
		_ = bar.Set64(int64(done)) //nolint:gosec // as above; a bar that cannot be drawn stops nothing.
	}
}

// one wants one argument and says which.
func one(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usage("%s, want one: %s; see: %s --help", arguments(len(args)), what, cmd.CommandPath())
		}
		return nil
	}
}
