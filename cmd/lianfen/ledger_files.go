package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/points"
)

// ledgerFiles are the commands of the ledger group that deal with whole journals.
func ledgerFiles(a *admin) []*cobra.Command {
	return []*cobra.Command{a.ledgerVerify(), a.ledgerBackup(), a.ledgerRestore(), a.ledgerRetoken(), a.ledgerExport()}
}

// rest is where a command finds a store that nobody serves.
type rest struct {
	offline bool
	data    string
}

func (r *rest) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&r.offline, "offline", false, "read the store itself, which no process serves, instead of asking the switch")
	cmd.Flags().StringVar(&r.data, "data", "", "with --offline: folder of the store")
	_ = cmd.MarkFlagDirname("data") // Only completion would miss it.
}

func (r *rest) check() error {
	if r.offline != (r.data != "") {
		return usage("--offline and --data go together")
	}
	return nil
}

func (a *admin) ledgerVerify() *cobra.Command {
	var at rest
	var backup string
	var key openers
	cmd := &cobra.Command{
		Use: "verify", Short: "Prove the journal from its first record on, and the state against it", Args: none,
		Long: `Prove the ledger: every block's seal and the chain (I8), every record by itself (I1,
I11, I12), every outcome by carrying the command out again (I9; with I4 to I7 and I10
where that is what differs), the checkpoint's state entity by entity, the audit of
the whole book, and the digest; then the index of statements, shelf by shelf. Ask the
running switch, or --offline a store that is not served.

Of an encrypted backup (--backup) it proves, without restoring it, that every byte is
what was encrypted and that all are there, the seals and the chain, and that every
record can be read; outcomes are proved by a restore.

The first breach is named: invariant, position, RRN, what was found and what was
expected; the exit status is 3 then. Where only the index is damaged it is 1: nothing
is lost, and lianfen ledger reindex makes it again.`,
		Example: `  lianfen ledger verify
  lianfen ledger verify --offline --data /backup/2026-11-24
  lianfen ledger verify --backup /backup/2026-11-24.age --identity backup.key`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := at.check(); err != nil {
				return err
			}
			if backup != "" {
				return a.verifySealed(cmd, backup, key)
			}
			var proof app.Proof
			began := time.Now() // For people to read.
			journal, index := newBar(cmd.ErrOrStderr(), "verifying the journal"), newBar(cmd.ErrOrStderr(), "verifying the index")
			zone, err := a.prove(cmd, at, app.ProofProgress{Journal: journal.set, Index: index.set}, &proof)
			journal.end()
			index.end()
			if err != nil {
				return ledgerError(err)
			}
			return a.print(cmd, proof, func() error { return writeProof(cmd.OutOrStdout(), proof, zone, time.Since(began)) })
		},
	}
	at.flags(cmd)
	cmd.Flags().StringVar(&backup, "backup", "", "prove this encrypted backup; wants --identity or --passphrase-file")
	key.flags(cmd)
	cmd.MarkFlagsMutuallyExclusive("backup", "offline")
	return cmd
}

// verifySealed proves an encrypted backup.
func (a *admin) verifySealed(cmd *cobra.Command, path string, key openers) error {
	opener, err := key.opener()
	if err != nil {
		return err
	}
	if opener == nil {
		return usage("--backup wants --identity or --passphrase-file")
	}
	reading := newBar(cmd.ErrOrStderr(), "reading the backup")
	b, err := app.VerifySealed(cmd.Context(), path, opener, reading.set)
	reading.end()
	if err != nil {
		return ledgerError(err)
	}
	return a.print(cmd, b, func() error {
		var t table
		t.row("encryption", fmt.Sprintf("opens with this key; %d bytes, none altered, none missing", b.Bytes))
		t.row("records", fmt.Sprintf("%d in %d blocks, all of them readable", b.Records, b.Blocks))
		t.row("chain", fmt.Sprintf("unbroken to position %d, posted %s on business date %v; it ends with %s", b.Position, localTime(b.Posted, time.Local), b.Date, b.Chain))
		t.row("night's files", fmt.Sprintf("%d of settlement runs and comparisons", b.Files))
		t.row("outcomes", "not carried out again: restore it for that")
		return t.write(cmd.OutOrStdout())
	})
}

// prove verifies, and tells in which time zone to show times: the switch's, or where
// none is asked the machine's.
func (a *admin) prove(cmd *cobra.Command, at rest, progress app.ProofProgress, proof *app.Proof) (zone *time.Location, err error) {
	if at.offline {
		*proof, err = app.VerifyOffline(cmd.Context(), at.data, progress)
		return time.Local, err
	}
	client, err := a.client()
	if err != nil {
		return nil, err
	}
	*proof, err = client.Prove(cmd.Context(), progress)
	return client.Zone(), err
}

func writeProof(w io.Writer, p app.Proof, zone *time.Location, took time.Duration) error {
	state := "no checkpoint yet"
	if p.Checkpoint != 0 {
		state = fmt.Sprintf("entity by entity the replay's, at position %d", p.Checkpoint)
	}
	indexed := "yet to be made"
	if p.Index != 0 {
		indexed = fmt.Sprintf("what the journal makes of it, up to position %d", p.Index)
	}
	var t table
	t.row("records", fmt.Sprintf("%d in %d blocks; %.0f a second", p.Records, p.Blocks, float64(p.Records)/max(took.Seconds(), 1e-6)))
	t.row("chain", fmt.Sprintf("unbroken to position %d, posted %s on business date %v", p.Position, localTime(p.Posted, zone), p.Date))
	t.row("outcomes", "every one the same again")
	t.row("checkpoint", state)
	t.row("invariants", "all of the book hold")
	t.row("index of statements", indexed)
	t.row("digest", p.Digest)
	return t.write(w)
}

// ledgerError gives a ledger that cannot be trusted its own exit status; an index that
// is made again by a command is not that.
func ledgerError(err error) error {
	if _, broken := errors.AsType[*ledger.BreachError](err); broken {
		return &statusError{exitStore, err}
	}
	if errors.Is(err, certs.ErrBackupDamaged) || errors.Is(err, ledger.ErrJournalStream) {
		return &statusError{exitStore, err}
	}
	if _, damaged := errors.AsType[*ledger.IndexError](err); damaged {
		return &statusError{exitFault, err} // Also where a file of it cannot be read: nothing is lost.
	}
	return serveError(err)
}

func (a *admin) ledgerBackup() *cobra.Command {
	var recipients []string
	var passphrase string
	cmd := &cobra.Command{
		Use: "backup DEST", Short: "Copy the store into a new folder, or encrypted into a new file, while the switch serves", Args: one("the new folder, or file"),
		Long: `Copy the store of the running switch into a new folder: a store of its own, with an
anchor at the end of its journal. On the same file system unchanged files are shared,
so that it costs little. Cards in it are tokens, but participants, members, balances
and transactions are in clear: who reads the folder knows them.

Files of settlement runs and what came of reconciliations are copied with it.

With --recipient or --passphrase-file, write these and the journal, encrypted (age), into
a new file: all that a restore needs. The secret key of a recipient need not be on this
machine; age-keygen draws one. Both kinds are proved afterwards by verify. The card
key is in neither: keep that apart.`,
		Example: `  lianfen ledger backup /backup/2026-11-24.age --recipient /etc/lianfen/backup.recipients
  lianfen ledger backup /backup/2026-11-24`,
		RunE: func(cmd *cobra.Command, args []string) error {
			dest, err := filepath.Abs(args[0])
			if err != nil {
				return fmt.Errorf("backup: %w", err)
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			seal, err := sealFor(recipients, passphrase)
			if err != nil {
				return err
			}
			if seal != nil {
				return a.backupSealed(cmd, client, dest, seal, passphrase)
			}
			b, err := client.Backup(cmd.Context(), dest)
			if err != nil {
				return err
			}
			return a.print(cmd, b, func() error {
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s holds the journal up to position %d, posted %s on business date %v, and %d files of settlement runs and comparisons: %d bytes in %d ms.\n"+
					"It is not encrypted: it holds participants, members, balances and transactions in clear, cards as tokens. Or see --recipient.\n"+
					"The card key is not in it: without that no card is recognised. Keep a copy of it apart.\nNext: lianfen ledger verify --offline --data %s\n",
					b.Dir, b.Position, localTime(b.Posted, client.Zone()), b.Date, b.Files, b.Bytes, b.Millis, b.Dir)
				return err
			})
		},
	}
	cmd.Flags().StringArrayVar(&recipients, "recipient", nil, "encrypt to this public key (age1…), or those in this file; may be repeated")
	cmd.Flags().StringVar(&passphrase, "passphrase-file", "", "encrypt under the passphrase in this file")
	cmd.MarkFlagsMutuallyExclusive("recipient", "passphrase-file")
	return cmd
}

// sealFor is what to encrypt a backup with; nil: nothing was asked for.
func sealFor(recipients []string, passphrase string) (*certs.BackupSeal, error) {
	switch {
	case passphrase != "":
		seal, _, err := certs.NewBackupPassphrase(passphrase)
		return seal, err
	case len(recipients) > 0:
		return certs.NewBackupSeal(recipients)
	}
	return nil, nil
}

func (a *admin) backupSealed(cmd *cobra.Command, client *app.Client, dest string, seal *certs.BackupSeal, passphrase string) error {
	copying := newBar(cmd.ErrOrStderr(), "encrypting the journal")
	b, err := client.BackupSealed(cmd.Context(), dest, seal, now, copying.set)
	copying.end()
	if err != nil {
		return ledgerError(err)
	}
	return a.print(cmd, b, func() error {
		everybody, open := ", for everybody can encrypt to a recipient", "--identity FILE, where the secret key is"
		if passphrase != "" {
			everybody, open = "", "--passphrase-file "+passphrase
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s holds, encrypted, the journal up to position %d, posted %s on business date %v, and %d files of settlement runs and comparisons: %d bytes in %d ms.\n"+
			"Its chain ends with %s: keep that elsewhere%s.\n"+
			"The card key is not in it: without that no card is recognised. Keep a copy of it apart.\nNext: lianfen ledger verify --backup %s %s\n",
			b.File, b.Position, localTime(b.Posted, client.Zone()), b.Date, b.Files, b.Bytes, b.Millis, b.Chain, everybody, b.File, open)
		return err
	})
}

// openers are the flags of commands that open encrypted backups.
type openers struct {
	identity, passphrase string
}

func (o *openers) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.identity, "identity", "", "file with the secret key (AGE-SECRET-KEY-1…) of an encrypted backup's recipient")
	cmd.Flags().StringVar(&o.passphrase, "passphrase-file", "", "file with the passphrase of an encrypted backup")
	cmd.MarkFlagsMutuallyExclusive("identity", "passphrase-file")
}

// opener opens what the flags say; nil: they say nothing.
func (o *openers) opener() (*certs.BackupOpener, error) {
	switch {
	case o.identity != "":
		return certs.NewBackupOpener(o.identity)
	case o.passphrase != "":
		_, opener, err := certs.NewBackupPassphrase(o.passphrase)
		return opener, err
	}
	return nil, nil
}

func (a *admin) ledgerRestore() *cobra.Command {
	var from, data, position, at string
	var key openers
	cmd := &cobra.Command{
		Use: "restore", Short: "Make a store from a backup, whole or up to a position or a time", Args: none,
		Long: `Make a new store from the journal of a backup (or of any store that is not served),
whole, or up to a record, or up to the last record posted at or before a time. The
state is not copied but made again: every record is carried out once more and has to
give the outcome that it gave. The backup is only read. An encrypted one is a file,
opened with --identity or --passphrase-file. Files of settlement runs and comparisons are
restored with the whole journal only: up to a record or a time they may be of what comes
after it.`,
		Example: `  lianfen ledger restore --from /backup/2026-11-24 --data /var/lib/lianfen/store
  lianfen ledger restore --from /backup/2026-11-24.age --identity backup.key --data /var/lib/lianfen/store
  lianfen ledger restore --from /backup/2026-11-24 --data ./before --to-time 2026-11-24T15:04:05+08:00
  lianfen ledger restore --from /backup/2026-11-24 --data ./before --to-position 000000001234`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			until, err := parseUntil(position, at)
			if err != nil {
				return err
			}
			opener, err := key.opener()
			if err != nil {
				return err
			}
			copying, proving := newBar(cmd.ErrOrStderr(), "copying the journal"), newBar(cmd.ErrOrStderr(), "proving it")
			r, err := app.Restore(cmd.Context(), app.Restoring{
				From: filepath.Clean(from), Data: filepath.Clean(data), Opener: opener, Until: until, Copied: copying.set, Proved: proving.set,
			})
			copying.end()
			proving.end()
			if err != nil {
				return ledgerError(err)
			}
			return a.print(cmd, r, func() error {
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s ends at position %d, posted %s on business date %v.\nEvery record gave its outcome again; state digest %s.\nFiles of settlement runs and comparisons: %d.\n",
					r.Data, r.Position, localTime(r.Posted, time.Local), r.Date, r.Digest, r.Files)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "folder of the backup, or file of an encrypted one")
	cmd.Flags().StringVar(&data, "data", "", "folder of the store to make; it must not be there")
	key.flags(cmd)
	cmd.Flags().StringVar(&position, "to-position", "", "last record to take: its position, or its RRN")
	cmd.Flags().StringVar(&at, "to-time", "", "take what was posted at or before this time (RFC 3339)")
	cmd.MarkFlagsMutuallyExclusive("to-position", "to-time")
	requireFlags(cmd, "from", "data")
	return cmd
}

func (a *admin) ledgerRetoken() *cobra.Command {
	var from, data, old, fresh string
	cmd := &cobra.Command{
		Use: "retoken", Short: "Make a store of the same journal with all cards under another card key", Args: none,
		Long: `Change the card key: make a new store from the journal of one that is not served, with
every card's token exchanged for that under the new key. Positions, times, amounts and
outcomes stay; every record is carried out once more and has to give the outcome that
it gave. The old store is only read.

The new journal is another chain than the old one: keep what is printed, the check
values of both keys and the ends of both chains, in the record of the key's change,
and the old store and its key, apart from each other, as long as its backups are kept.`,
		Example: `  lianfen ledger retoken --from /var/lib/lianfen/store --data /var/lib/lianfen/store.new --card-key /var/lib/lianfen/card.key --new-card-key /var/lib/lianfen/card.key.new`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			copying, proving := newBar(cmd.ErrOrStderr(), "writing the journal"), newBar(cmd.ErrOrStderr(), "proving it")
			r, err := app.Retoken(cmd.Context(), app.Retokening{
				From: filepath.Clean(from), Data: filepath.Clean(data), OldKey: old, NewKey: fresh, Copied: copying.set, Proved: proving.set,
			})
			copying.end()
			proving.end()
			if err != nil {
				return ledgerError(err)
			}
			return a.print(cmd, r, func() error {
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s ends at position %d, posted %s on business date %v; %d tokens exchanged.\n"+
					"Every record gave its outcome again.\nold card key %s, old chain %s\nnew card key %s, new chain %s\nstate digest %s\n"+
					"Next: put %s and %s in the place of the old store and card key, then start.\n",
					r.Data, r.Position, localTime(r.Posted, time.Local), r.Date, r.Cards, r.OldKCV, r.OldHash, r.NewKCV, r.NewHash, r.Digest, r.Data, fresh)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "folder of the store")
	cmd.Flags().StringVar(&data, "data", "", "folder of the store to make; it must not be there")
	cmd.Flags().StringVar(&old, "card-key", "", "file of the card key that the store is under")
	cmd.Flags().StringVar(&fresh, "new-card-key", "", "file of the card key that it will be under; drawn and written if it is not there")
	requireFlags(cmd, "from", "data", "card-key", "new-card-key")
	return cmd
}

// parseUntil reads where a restore ends. A position of 12 characters is an RRN.
func parseUntil(position, at string) (until ledger.Until, err error) {
	switch {
	case len(position) == 12:
		if until.Position, err = points.ParseRRN(position); err != nil {
			return until, usage("--to-position: %w", err)
		}
	case position != "":
		n, err := strconv.ParseUint(position, 10, 63)
		if err != nil || n == 0 {
			return until, usage("--to-position %q is neither a position, from 1, nor an RRN", position)
		}
		until.Position = points.Position(n)
	case at != "":
		t, err := time.Parse(time.RFC3339Nano, at)
		if err != nil {
			return until, usage("--to-time %q is not like 2026-11-24T15:04:05+08:00", at)
		}
		until.Time = points.TimestampOf(t)
	}
	return until, nil
}

func (a *admin) ledgerExport() *cobra.Command {
	var at rest
	var from, to, format, output, cardKey string
	cmd := &cobra.Command{
		Use: "export", Short: "Write out the records of some business dates", Args: none,
		Long: `Write out the records of the business dates --from to --to, both included:

  jsonl    one JSON object a line, every record, declines too
  csv      one posting a line, under a line of column names; credit is positive. A
           record that moves nothing has one line too
  hledger  a plain-text accounting journal: a commodity for each programme, accounts
           programme:kind:party, credit positive; when it begins with the first
           record, the balance after each posting is asserted

All tell who asked for a record, who approved it and why, and what it put. Times are
in UTC.

Cards are masked; offline they are left out unless --card-key names the key.`,
		Example: `  lianfen ledger export --from 2026-11-24 --to 2026-11-24 --format csv --output day.csv
  lianfen ledger export --from 2026-11-01 --to 2026-11-30 --format hledger --output november.journal`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			e := app.Exporting{Format: app.ExportFormat(format)}
			var err error
			if e.From, err = points.ParseBusinessDate(from); err != nil {
				return usage("--from: %w", err)
			}
			if e.To, err = points.ParseBusinessDate(to); err != nil {
				return usage("--to: %w", err)
			}
			if err := at.check(); err != nil {
				return err
			}
			var records uint64
			err = writeWhole(cmd.OutOrStdout(), output, func(w io.Writer) (err error) {
				if at.offline {
					records, err = app.ExportOffline(cmd.Context(), at.data, cardKey, e, w)
					return err
				}
				client, err := a.client()
				if err != nil {
					return err
				}
				records, err = client.Export(cmd.Context(), e, w)
				return err
			})
			if err != nil {
				return ledgerError(err)
			}
			_, err = fmt.Fprintf(cmd.ErrOrStderr(), "%d records of %v to %v.\n", records, e.From, e.To)
			return err
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "first business date")
	cmd.Flags().StringVar(&to, "to", "", "last business date")
	cmd.Flags().StringVar(&format, "format", string(app.ExportJSONL), "jsonl, csv or hledger")
	cmd.Flags().StringVar(&output, "output", "", "file to write; the terminal when left out")
	cmd.Flags().StringVar(&cardKey, "card-key", "", "with --offline: file of the card key, to show cards masked")
	at.flags(cmd)
	requireFlags(cmd, "from", "to")
	return cmd
}

// writeWhole writes to the file at path, which appears when all of it is written,
// or to standard output when there is no path.
func writeWhole(stdout io.Writer, path string, write func(io.Writer) error) error {
	if path == "" {
		return write(stdout)
	}
	if info, err := os.Stat(path); strings.HasSuffix(path, "/") || (err == nil && info.IsDir()) {
		return usage("%s: it is a folder; name a file in it", path)
	}
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // Mode 0600.
	if err != nil {
		return fmt.Errorf("output: %w", err)
	}
	if err := errors.Join(write(file), file.Sync(), file.Close()); err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	if err := os.Rename(file.Name(), path); err != nil {
		return errors.Join(fmt.Errorf("output: %w", err), os.Remove(file.Name()))
	}
	return nil
}

// bar shows how a long work gets on, once its size is known.
type bar struct {
	w    io.Writer
	what string
	bar  *progressbar.ProgressBar
}

func newBar(w io.Writer, what string) *bar { return &bar{w: w, what: what} }

// set draws the bar; a total of 0 is one that is not known: then it only turns.
// What is done in a moment has no bar.
func (b *bar) set(done, total uint64) {
	const moment = 10_000
	if !drawn(b.w) {
		return // A pipe or a file is told the result only.
	}
	if b.bar == nil && max(done, total) < moment {
		return
	}
	size := int64(-1)
	if total != 0 {
		size = int64(total) //nolint:gosec // positions fit.
	}
	if b.bar == nil {
		b.bar = progressbar.NewOptions64(size, progressbar.OptionSetWriter(b.w), progressbar.OptionSetDescription(b.what), progressbar.OptionShowCount(),
			progressbar.OptionShowIts(), progressbar.OptionSetItsString("records"), progressbar.OptionThrottle(200*time.Millisecond), progressbar.OptionClearOnFinish())
	}
	_ = b.bar.Set64(int64(done)) //nolint:gosec // as above; a bar that cannot be drawn stops nothing.
}

// end takes the bar away.
func (b *bar) end() {
	if b.bar != nil {
		_ = b.bar.Clear() // As above.
	}
}
