package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement"
	"github.com/lianfen/lianfen/settlement/files"
)

// verified is what `settle verify --json` prints for one folder.
type verified struct {
	Folder string `json:"folder"`
	*files.Report
}

func newSettleVerify() *cobra.Command {
	var key string
	var most int
	var asJSON bool
	cmd := &cobra.Command{
		Use: "verify FILE|DIR", Short: "Prove a partner's file set: signature, digests, and every line computed again",
		Args: one("a file of a set, or a folder of files or of sets"),
		Long: `Prove a file set without asking the switch. It needs the files only, so that a partner
can run it too.

Signature: SHA256SUMS was signed by the operator (--key), for clearing. Digests: every
file is the one that is listed, none is missing, none is too many. Detail files: every
field is what its layout says, every line's value follows from its points and its rate,
its net from its parts, lines are numbered without gaps, the trailer's counts, sums and
SHA-256 are those of the lines, no part is missing. Net positions: rows and total add
up, and the lines of all detail files come to the member's figure.

The operator's folder of a run, where it has orders to a bank: payments are computed again
from net positions and price, the orders are made again from these, and digests are those
of the run's MANIFEST. It is not signed.

Of a file alone its lines are proved, and its digest where SHA256SUMS lies beside it.

Whatever is broken is named by file, line, column and field, with what is there and what
was expected; the exit status is 4 then.`,
		Example: `  lianfen settle verify 2026-02-16/01/10000001 --key operator.pub
  lianfen settle verify QZ_DET_10000001_A_20260216_01_1of1.txt
  lianfen settle verify 2026-02-16 --json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			check := files.Check{Scale: files.Scale}
			if key != "" {
				var err error
				if check.Keys, err = publicKeys(key); err != nil {
					return err
				}
			}
			reading := newBar(cmd.ErrOrStderr(), "verifying")
			var done uint64
			check.Read = func(_ string, n int) {
				done += uint64(n) //nolint:gosec // never negative.
				reading.set(done, 0)
			}
			all, err := verifyAt(args[0], check)
			reading.end()
			if err != nil {
				return err
			}
			return reportSets(cmd.OutOrStdout(), all, most, asJSON, key != "")
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "the operator's public key: a .pub, authorized_keys or allowed_signers file; without it the signature is not checked")
	cmd.Flags().IntVar(&most, "show", 20, "show this many of the broken lines; --json has all up to 10000")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	_ = cmd.MarkFlagFilename("key", "pub") // Only completion would miss it.
	return cmd
}

func (a *admin) settleSigners() *cobra.Command {
	return &cobra.Command{
		Use: "signers", Short: "Print the allowed_signers line by which partners prove who signed their files", Args: none,
		Long: `Print the line of an allowed_signers file by which partners prove that the operator has
signed what they got: with ssh-keygen -Y verify, or lianfen settle verify --key. It has the
public key of settlement.key in the configuration, which is read here; no switch is asked.

Give it to partners by a way that nobody else can write on, and let them compare its
fingerprint, which is printed beside it. A new key is a new line: partners keep the old one
for the sets that it has signed.`,
		Example: `  lianfen settle signers --config lianfen.yaml > allowed_signers
  ssh-keygen -Y verify -f allowed_signers -I lianfen -n clearing -s SHA256SUMS.sig < SHA256SUMS`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Load(a.file, os.Environ(), a.sets)
			if err != nil {
				return usage("%w; name the configuration with --config", err)
			}
			key, err := app.SettlementKey(&c)
			if err != nil {
				return err
			}
			if _, err := cmd.OutOrStdout().Write(files.AppendSigner(nil, key)); err != nil {
				return fmt.Errorf("print: %w", err)
			}
			_, err = fmt.Fprintln(cmd.ErrOrStderr(), "fingerprint: "+ssh.FingerprintSHA256(key))
			return err //nolint:wrapcheck // a stream that is closed.
		},
	}
}

func publicKeys(path string) ([]ssh.PublicKey, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, usage("--key: %w", err)
	}
	keys, err := files.ParseKeys(text)
	if err != nil {
		return nil, usage("--key %s: %w", path, err)
	}
	return keys, nil
}

// verifyAt verifies a file, or every folder at or below path that has files of a set.
func verifyAt(path string, check files.Check) ([]verified, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, usage("settle verify %s: there is no such file or folder", path)
	case err != nil:
		return nil, usage("settle verify: %w", err)
	}
	if !info.IsDir() {
		folder, name := filepath.Split(path)
		if !ofSet(fs.FileInfoToDirEntry(info)) {
			return nil, usage("settle verify %s: by its name this is no file of a set; one is called like QZ_DET_10000001_A_20260216_01_1of1.txt", path)
		}
		folder = filepath.Clean(folder)
		report, err := files.Verify(os.DirFS(folder), []string{name}, check)
		return []verified{{folder, report}}, err
	}
	var folders []string
	place, err := filepath.EvalSymlinks(path) // A night may be a link to its run.
	if err != nil {
		return nil, usage("settle verify: %w", err)
	}
	err = filepath.WalkDir(place, func(at string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && at != place && entry.Name() == settlement.OperatorFolder && !ordersBank(at) {
			return fs.SkipDir // The run's MANIFEST has its digests: it goes to nobody.
		}
		folder := filepath.Dir(at)
		if ofSet(entry) && (len(folders) == 0 || folders[len(folders)-1] != folder) {
			folders = append(folders, folder)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("settle verify: %w", err)
	}
	if len(folders) == 0 {
		return nil, usage("settle verify %s: no file set here or below. A set is a folder with files such as QZ_DET_10000001_A_20260216_01_1of1.txt, and %s and %s beside them", path, files.SumsName, files.SignatureName)
	}
	var all []verified
	for _, folder := range folders {
		one := check
		if one.Whole, one.House = true, filepath.Base(folder) == settlement.OperatorFolder || ordersBank(folder); one.House {
			one.Keys = nil // It goes to nobody and is not signed: the run's MANIFEST proves it.
			if one.Sums, err = settlement.OperatorSums(filepath.Dir(folder)); err != nil {
				return nil, fmt.Errorf("%s is the operator's copy, which the run's %s beside it proves: %w", folder, settlement.ManifestName, err)
			}
		}
		report, err := files.Verify(os.DirFS(folder), nil, one)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", folder, err)
		}
		all = append(all, verified{folder, report})
	}
	return all, nil
}

// ordersBank reports whether an operator's folder has orders to a bank: these are proved, too.
func ordersBank(folder string) bool {
	found, err := filepath.Glob(filepath.Join(folder, "QZ_PAY_*"))
	return err == nil && len(found) > 0
}

// ofSet reports whether a file belongs to a set, by its name: other folders below are no
// sets, and say nothing about what was handed over.
func ofSet(entry fs.DirEntry) bool {
	_, ok := files.ParseName(entry.Name())
	return !entry.IsDir() && (ok || entry.Name() == files.SumsName || entry.Name() == files.SignatureName)
}

// reportSets prints what was found, and returns the status.
func reportSets(w io.Writer, all []verified, most int, asJSON, keyed bool) error {
	var broken, sets uint64
	for _, v := range all {
		broken += v.Broken
		if !v.OK {
			sets++
		}
	}
	var err error
	if asJSON {
		err = writeJSON(w, struct {
			OK   bool       `json:"ok"`
			Sets []verified `json:"sets"`
		}{broken == 0, all})
	} else {
		err = writeSets(w, all, most, keyed)
	}
	if broken > 0 {
		return errors.Join(&statusError{exitBroken, fmt.Errorf("settle verify: %s broken, in %d of %s: do not book these files, ask the operator", points.Counted(broken, "thing is", "things are"), sets, points.Counted(len(all), "set", "sets"))}, err)
	}
	return err
}

// verdictOf says what was proved of a file, and no more.
func verdictOf(c *files.Checked) string {
	unknown := c.Proof == files.ProofUnknown
	switch {
	case c.Broken > 0 && unknown:
		return fmt.Sprintf("%d broken, beside %s, which is broken itself: either may be right", c.Broken, c.Against)
	case c.Broken > 0:
		return fmt.Sprintf("%d broken", c.Broken)
	case unknown && c.Listed:
		return "digest only: " + c.Against + ", which it repeats, is broken"
	case unknown:
		return "not checked: " + c.Against + ", which it repeats, is broken, so that it cannot be told right from wrong"
	}
	switch c.Proof {
	case files.ProofContent:
		said := "as it must be"
		if c.Against != "" {
			said = "as it must be, row by row what " + c.Against + " says"
		}
		if !c.Listed {
			return said + "; no digest at hand"
		}
		return said
	case files.ProofDigest:
		return "digest only; content not checked"
	case files.ProofFlag:
		return "flag of a delivered file"
	case files.ProofMember:
		return "the member's, no part of the set"
	default:
		return "not checked; no digest at hand"
	}
}

func writeSets(w io.Writer, all []verified, most int, keyed bool) error {
	var b strings.Builder
	shown := 0
	for _, v := range all {
		fmt.Fprintf(&b, "%s: signature %s\n", v.Folder, v.Signature)
		if v.Mode == files.DryRun.String() {
			fmt.Fprintln(&b, "It is of a dry run: a temporary set, by which nothing is settled. Do not book it.")
		}
		for _, breach := range v.Breaches {
			if shown++; shown <= most {
				fmt.Fprintln(&b, cellsOf([]any{breach})[0])
			}
		}
		var t table
		t.row("file", "lines", "net", "bytes", "verdict")
		for _, c := range v.Files {
			verdict := verdictOf(&c)
			count := ""
			if c.Lines > 0 {
				count = fmt.Sprint(c.Lines)
			}
			t.row(c.Name, count, c.Net, c.Bytes, verdict)
		}
		if err := t.write(&b); err != nil {
			return err
		}
		if v.Signature != files.SignatureValid {
			said, key := "", ""
			if !keyed {
				said, key = " (signature "+v.Signature+")", " --key FILE with the operator's public key proves it."
			}
			fmt.Fprintf(&b, "Who made it is not proved%s: it is as good as its digests, and whoever alters a file can make these anew.%s\n", said, key)
		}
	}
	if shown > most {
		fmt.Fprintf(&b, "%s broken: --show %d, or --json\n", points.Counted(shown-most, "more is", "more are"), shown)
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}
