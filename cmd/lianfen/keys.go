package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// keysAt is where the commands of the keys group find a keystore.
type keysAt struct {
	path   string
	kek    string
	config string // file of the configuration that names both; empty: none does
	asJSON bool
	door   admin // of the switch whose operators change the keystore
}

func newKeys() *cobra.Command {
	at := &keysAt{}
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Look after the keystore: list, make, import, export, rotate and retire keys",
		Long: `Look after the keystore, a file sealed under a key-encryption key. No key is ever
printed; its check value (KCV) is. A switch that serves from the file sees a change
when it reads it again; two commands at once wait for each other.

Once operators are enrolled at the switch that serves from the file, its changes are their
acts: these commands ask the running switch, as whoever is signed in there (lianfen admin
login), every act is in its journal, and where the policy asks for a second person, a key
waits in the file and serves nothing until lianfen admin approve.

Keystore and key-encryption key are those of the configuration (--config, or lianfen.yaml in
this folder), where --keystore and --kek do not name others. The key-encryption key is
` + certs.KEKSources + `.`,
		Example: `  lianfen keys init --kek file:kek.key --new-kek
  lianfen keys generate working --usage working-derivation
  lianfen keys list`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVar(&at.path, "keystore", "keys.store", "file of the keystore")
	cmd.PersistentFlags().StringVar(&at.kek, "kek", "file:kek.key", "where the key-encryption key is: file:, env: or pkcs11:")
	cmd.PersistentFlags().StringVar(&at.config, "config", config.FileName, "configuration of the switch; it names keystore and key-encryption key")
	_ = cmd.MarkPersistentFlagFilename("config", "yaml") // Only completion would miss it.
	cmd.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return at.configured(cmd) }
	cmd.PersistentFlags().BoolVar(&at.asJSON, "json", false, "print JSON")
	at.door.doorFlags(cmd)
	cmd.AddCommand(at.init(), at.list(), at.show(), at.generate(), at.imports(), at.export(), at.fetch(), at.rotate(), at.offer(), at.retire())
	return cmd
}

// configured takes from a configuration where the keystore and its key are, as far as flags
// do not say so. Where nobody has named it and there is none in this folder, flags say all.
func (at *keysAt) configured(cmd *cobra.Command) error {
	c, err := config.Load(at.config, os.Environ(), nil)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !cmd.Flags().Changed("config"):
		at.config = ""
		return nil
	case err != nil:
		return usage("%w", err)
	}
	keep(!cmd.Flags().Changed("keystore"), &at.path, c.Keys.File)
	keep(!cmd.Flags().Changed("kek"), &at.kek, c.Keys.KEK)
	return nil
}

// open hands the keystore to work.
func (at *keysAt) open(work func(*certs.Keystore) error) (err error) {
	if _, err := os.Stat(at.path); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("keystore: %w; name it with --config, or with --keystore and --kek; or make one: lianfen keys init --keystore %s --kek SOURCE", err, at.path)
	}
	kek, err := certs.OpenKEK(at.kek, rand.Reader)
	if err != nil {
		return fmt.Errorf("%w; --config or --kek names another", err)
	}
	if token, ok := kek.(io.Closer); ok {
		defer func() { err = errors.Join(err, token.Close()) }()
	}
	store, err := certs.OpenKeystore(at.path, kek, rand.Reader)
	if err != nil {
		return err
	}
	return work(store)
}

// operators is the door of the switch whose operators change the keystore; nil where
// there are none, and whoever has file and key-encryption key changes it.
func (at *keysAt) operators() (*app.Client, error) {
	if at.door.url != "" {
		return at.door.remote()
	}
	socket, err := os.ReadFile(app.GovernedBy(at.path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // nobody is to be asked.
	}
	if err != nil {
		return nil, fmt.Errorf("keystore: %w", err)
	}
	at.door.socket = strings.TrimSpace(string(socket))
	return at.door.client()
}

// ask has the switch hold a ceremony, and tells what came of it.
func (at *keysAt) ask(cmd *cobra.Command, client *app.Client, change app.KeyChange) error {
	done, err := client.ChangeKey(cmd.Context(), change)
	if err != nil {
		return notActed(err, "the changes of "+at.path+" are acts of operators at its switch")
	}
	switch {
	case at.asJSON:
		return writeJSON(cmd.OutOrStdout(), done)
	case done.Block != "":
		return say(cmd, "%s", done.Block)
	}
	if err := at.print(cmd, &certs.Key{KeyInfo: done.Key}); err != nil {
		return err
	}
	if done.Pending == "" {
		return say(cmd, "In the journal under RRN %s.", done.RRN)
	}
	if err := sayPending(cmd, done.Done, client); err != nil || change.Act != book.KeyExport {
		return err
	}
	return say(cmd, "Then fetch it: lianfen keys fetch RRN, with the RRN of the approval or of the proposal.")
}

// notActed tells why a switch was asked, where it could not be or does not know who asks;
// what it refuses for its own reasons it says itself.
func notActed(err error, why string) error {
	switch points.ReasonOf(err) {
	case points.InternalError, points.SignInRefused, points.RoleMissing:
		return fmt.Errorf("%s: %w", why, err)
	default:
		return err
	}
}

// local refuses --url for what reads the file itself.
func (at *keysAt) local(cmd *cobra.Command) error {
	if cmd.Flags().Changed("url") {
		return usage("--url: %s reads the file of the keystore here and asks no switch; leave it out", cmd.CommandPath())
	}
	return nil
}

// change has the switch of the operators carry out what is asked for; where there is
// none, hands the keystore's changes to work, writes them, and prints the key that work
// returns.
func (at *keysAt) change(cmd *cobra.Command, asked app.KeyChange, work func(*certs.Changes) (*certs.Key, error)) error {
	if client, err := at.operators(); client != nil || err != nil {
		if err != nil {
			return err
		}
		return at.ask(cmd, client, asked)
	}
	return at.open(func(store *certs.Keystore) error {
		var key *certs.Key
		err := store.Update(func(c *certs.Changes) (err error) {
			key, err = work(c)
			return err
		})
		if err != nil {
			return err
		}
		return at.print(cmd, key)
	})
}

// keyRow is a key as it is printed.
type keyRow struct {
	certs.KeyInfo
	From  string `json:"from,omitempty"`
	Until string `json:"until,omitempty"`
}

func rowOf(key *certs.Key) keyRow {
	row := keyRow{KeyInfo: key.KeyInfo}
	switch {
	case key.OnOffer():
		row.From = "on offer"
	case key.From != 0:
		row.From = key.From.Time().UTC().Format(time.RFC3339)
	}
	if key.Until != 0 {
		row.Until = key.Until.Time().UTC().Format(time.RFC3339)
	}
	return row
}

// zone is that of the switch whose keystore it is: of the configuration that names it, else
// of the one that lies beside it.
func (at *keysAt) zone() *time.Location {
	if at.config != "" {
		return zoneOf(at.config)
	}
	return zoneOf(filepath.Join(filepath.Dir(at.path), config.FileName))
}

func (at *keysAt) print(cmd *cobra.Command, keys ...*certs.Key) error {
	rows := make([]keyRow, 0, len(keys))
	for _, key := range keys {
		rows = append(rows, rowOf(key))
	}
	if at.asJSON {
		return writeJSON(cmd.OutOrStdout(), rows)
	}
	zone := at.zone()
	shown := func(text string) string { return dash(shownTime(text, zone, time.RFC3339)) }
	var t table
	t.row("name", "version", "usage", "algorithm", "KCV", "state", "from", "until")
	for _, r := range rows {
		t.row(r.Name, r.Version, r.Usage, r.Algorithm, r.Check, r.State, shown(r.From), shown(r.Until))
	}
	return t.write(cmd.OutOrStdout())
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func (at *keysAt) init() *cobra.Command {
	var newKEK bool
	cmd := &cobra.Command{
		Use: "init", Short: "Make an empty keystore, and with --new-kek the key-encryption key too", Args: none,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			kek, err := at.firstKEK(newKEK)
			if err != nil {
				return err
			}
			if token, ok := kek.(io.Closer); ok {
				defer func() { err = errors.Join(err, token.Close()) }()
			}
			store, err := certs.CreateKeystore(at.path, kek, rand.Reader)
			if err != nil {
				return err
			}
			if at.asJSON {
				return writeJSON(cmd.OutOrStdout(), map[string]any{"keystore": at.path, "kek": store.KEK(), "generation": store.Generation()})
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "Made %s, sealed under %s. Keep that key apart from the file and from its copies: without it no key can be used.\n", at.path, store.KEK())
			return err
		},
	}
	cmd.Flags().BoolVar(&newKEK, "new-kek", false, "draw the key-encryption key and write it to the file that --kek names")
	return cmd
}

// firstKEK is the key-encryption key of a keystore that is to be made; draw makes it first.
// Nothing is written where the keystore could not be.
func (at *keysAt) firstKEK(draw bool) (certs.KEK, error) {
	if info, err := os.Stat(filepath.Dir(at.path)); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("keystore: create %s: %s is no folder; make it first", at.path, filepath.Dir(at.path))
	}
	path, isFile := strings.CutPrefix(at.kek, "file:")
	switch {
	case draw && !isFile:
		return nil, usage("--new-kek goes with --kek file:PATH; a key in a token is made with the token's own tool")
	case draw && path == "":
		return nil, usage("--kek: file: names no file; want file:PATH")
	case draw:
		if err := certs.WriteKEK(path, rand.Reader); err != nil {
			return nil, err
		}
	}
	kek, err := certs.OpenKEK(at.kek, rand.Reader)
	if isFile && errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w; --kek names another, --new-kek draws it", err)
	}
	return kek, err
}

func (at *keysAt) list() *cobra.Command {
	var usageWord string
	cmd := &cobra.Command{
		Use: "list", Short: "List every version of every key", Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := at.local(cmd); err != nil {
				return err
			}
			var only certs.Usage
			if usageWord != "" {
				var err error
				if only, err = certs.ParseUsage(usageWord); err != nil {
					return usage("--usage: %w", err)
				}
			}
			return at.open(func(store *certs.Keystore) error {
				keys := slices.Collect(store.All())
				if only != 0 {
					keys = slices.DeleteFunc(keys, func(k *certs.Key) bool { return k.Usage != only })
				}
				switch {
				case len(keys) > 0 || at.asJSON:
					return at.print(cmd, keys...)
				case only != 0:
					return say(cmd, "The keystore has no key of usage %s.", usageWord)
				default:
					return say(cmd, "The keystore has no keys yet; lianfen keys generate makes one.")
				}
			})
		},
	}
	keyFlag(cmd, &usageWord, "usage", "list keys of this usage only", certs.Usages())
	return cmd
}

// keyFlag adds a flag that takes one of words.
func keyFlag(cmd *cobra.Command, value *string, name, help string, words []string) {
	cmd.Flags().StringVar(value, name, "", help+": "+strings.Join(words, ", "))
	_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)) // Only completion would miss it.
}

func (at *keysAt) show() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Show the versions of one key", Args: one("the name of a key"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := at.local(cmd); err != nil {
				return err
			}
			return at.open(func(store *certs.Keystore) error {
				if _, err := store.Key(args[0], 0); err != nil {
					return err
				}
				return at.print(cmd, slices.DeleteFunc(slices.Collect(store.All()), func(k *certs.Key) bool { return k.Name != args[0] })...)
			})
		},
	}
}

// newKeyFlags say what a key is to be.
type newKeyFlags struct {
	usage, algorithm, from, until string
}

func (f *newKeyFlags) add(cmd *cobra.Command) {
	keyFlag(cmd, &f.usage, "usage", "what the key is for", certs.Usages())
	keyFlag(cmd, &f.algorithm, "algorithm", "what it is a key of", certs.Algorithms())
	cmd.Flags().StringVar(&f.from, "from", "", "in force from then on, 2026-11-26 or 2026-11-26T08:00:00Z (default now)")
	cmd.Flags().StringVar(&f.until, "until", "", "in force until then (default for ever)")
	_ = cmd.MarkFlagRequired("usage") // The flag is there.
}

// read returns what the flags say. Without an algorithm it is the usual one.
func (f *newKeyFlags) read(name string, zone *time.Location) (want certs.NewKey, err error) {
	want.Name = name
	if want.Usage, err = certs.ParseUsage(f.usage); err != nil {
		return want, usage("--usage: %w", err)
	}
	want.Algorithm = certs.AES256
	if want.Usage == certs.CASigning {
		want.Algorithm = certs.ECDSAP256
	}
	if f.algorithm != "" {
		if want.Algorithm, err = certs.ParseAlgorithm(f.algorithm); err != nil {
			return want, usage("--algorithm: %w", err)
		}
	}
	if want.From, err = keyTime("from", f.from, zone, now()); err != nil {
		return want, err
	}
	if want.Until, err = keyTime("until", f.until, zone, 0); err != nil {
		return want, err
	}
	if want.Until != 0 && want.Until <= want.From {
		told := func(t points.Timestamp) string { return t.Time().In(zone).Format(time.RFC3339) }
		return want, usage("--until: %s is not after %s, when the key comes in force (--from, or else now)", told(want.Until), told(want.From))
	}
	if err := certs.CheckKeyName(name); err != nil {
		return want, usage("%w", err)
	}
	return want, nil
}

// keyTime reads a day in zone, or an instant.
func keyTime(flag, text string, zone *time.Location, otherwise points.Timestamp) (points.Timestamp, error) {
	if text == "" {
		return otherwise, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.ParseInLocation(layout, text, zone); err == nil {
			return points.TimestampOf(at), nil
		}
	}
	return 0, usage("--%s: %q is no day and no time; want 2026-11-26 or 2026-11-26T08:00:00Z", flag, text)
}

func (at *keysAt) generate() *cobra.Command {
	var flags newKeyFlags
	cmd := &cobra.Command{
		Use: "generate NAME", Short: "Draw a new key", Args: one("the name of the key"),
		Example: `  lianfen keys generate working --usage working-derivation
  lianfen keys generate tmk/898123456789012/T0000001 --usage terminal-master --algorithm 3des-2key`,
		RunE: func(cmd *cobra.Command, args []string) error {
			want, err := flags.read(args[0], at.zone())
			if err != nil {
				return err
			}
			return at.change(cmd, asked(book.KeyGenerate, &want), func(c *certs.Changes) (*certs.Key, error) { return c.Generate(want) })
		},
	}
	flags.add(cmd)
	return cmd
}

// asked is what a switch is asked for.
func asked(act book.KeyAct, want *certs.NewKey) app.KeyChange {
	return app.KeyChange{Act: act, Name: want.Name, Usage: want.Usage.String(), Algorithm: want.Algorithm.String(), From: want.From, Until: want.Until}
}

// importAsked has the switch of the operators take in a key: a key block is sent to it; a
// key of components waits in the file first, since it never leaves this process in clear.
func (at *keysAt) importAsked(cmd *cobra.Command, client *app.Client, store *certs.Keystore, change app.KeyChange, want *certs.NewKey, imported *certs.Imported) error {
	if change.Block == "" {
		err := store.Update(func(c *certs.Changes) (err error) {
			c.Stage()
			if change.Act == book.KeyReplace {
				_, err = c.Replace(want.Name, imported, want.From)
				return err
			}
			_, err = c.Import(*want, imported)
			return err
		})
		if err != nil {
			return err
		}
	}
	return at.ask(cmd, client, change)
}

func (at *keysAt) imports() *cobra.Command {
	var flags newKeyFlags
	var block, under, kcv string
	var parts int
	var replace bool
	cmd := &cobra.Command{
		Use: "import NAME", Short: "Take in a key: from components that two persons type, or from a key block", Args: one("the name of the key"),
		Long: `Take in a key.

From components: two or more persons each type the part that they hold, which is not
shown, and compare the check value of their part; the parts are XORed and nobody has
seen the key. The whole key's check value (--kcv) must be the one on the sender's paper.

From a key block (--block, TR-31 of version B or D) under a master key of the keystore
(--under): what the block says that the key is for must be what --usage says.`,
		Example: `  lianfen keys import zone-bank --usage zone-master --algorithm aes-256 --kcv 5A1B2C
  lianfen keys import bank-pin --usage zone-pin --algorithm aes-128 --block pin.tr31 --under zone-bank`,
		RunE: func(cmd *cobra.Command, args []string) error {
			want, err := flags.read(args[0], at.zone())
			if err != nil {
				return err
			}
			if (block == "") != (under == "") {
				return usage("--block and --under go together")
			}
			if block == "" && kcv == "" {
				return usage("components want --kcv: the check value of the whole key, from the sender's paper")
			}
			if kcv != "" && !isKCV.MatchString(kcv) {
				return usage("--kcv: want six hexadecimal digits, as they stand on the sender's paper")
			}
			return at.open(func(store *certs.Keystore) error {
				if err := free(store, args[0], replace); err != nil {
					return err
				}
				client, err := at.operators()
				if err != nil {
					return err
				}
				change := asked(book.KeyImport, &want)
				if replace {
					change.Act = book.KeyReplace
				}
				var imported *certs.Imported
				if block != "" {
					change.Under = under
					change.Block, imported, err = readKeyBlock(cmd, store, block, under)
				} else {
					imported, err = readComponents(cmd, want.Algorithm, parts)
				}
				if err != nil {
					return err
				}
				if kcv != "" && !strings.EqualFold(kcv, imported.Check().String()) {
					return fmt.Errorf("the check value is %v, not %s as --kcv says; nothing was changed", imported.Check(), points.Escaped(kcv))
				}
				if client != nil {
					return at.importAsked(cmd, client, store, change, &want, imported)
				}
				return at.takeIn(cmd, store, &want, imported, replace)
			})
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&block, "block", "", "file with a key block, - is standard input")
	cmd.Flags().StringVar(&under, "under", "", "name of the master key that the block is under")
	cmd.Flags().StringVar(&kcv, "kcv", "", "check value that the key must have, six hexadecimal digits")
	cmd.Flags().IntVar(&parts, "components", 2, "number of components")
	cmd.Flags().BoolVar(&replace, "replace", false, "make it the next version of the key of that name")
	return cmd
}

// isKCV is the form of a check value.
var isKCV = regexp.MustCompile(`^[0-9A-Fa-f]{6}$`)

// free sees that a name has no key yet, or, where it is to be replaced, has one: before
// persons type what they hold.
func free(store *certs.Keystore, name string, replace bool) error {
	_, err := store.Key(name, 0)
	switch {
	case replace && err != nil:
		return fmt.Errorf("--replace: %w; without it the key is the first of that name", err)
	case !replace && err == nil:
		return fmt.Errorf("there is a key %s; --replace makes this its next version, or choose another name", name)
	default:
		return nil
	}
}

// blockMaster is the key that a block is, or is to be, under.
func blockMaster(store *certs.Keystore, under string, checking bool) (*certs.Key, error) {
	master, err := store.Key(under, 0)
	if err == nil {
		err = master.InForce(now(), checking)
	}
	if err == nil && master.Usage != certs.ZoneMaster && master.Usage != certs.TerminalMaster {
		err = fmt.Errorf("%w: %v is for %v; a block is under a key for %v or %v", certs.ErrKeyUse, master, master.Usage, certs.ZoneMaster, certs.TerminalMaster)
	}
	if err != nil {
		return nil, fmt.Errorf("--under: %w", err)
	}
	return master, nil
}

// takeIn puts an imported key into the keystore: as a new one, or as the next version.
func (at *keysAt) takeIn(cmd *cobra.Command, store *certs.Keystore, want *certs.NewKey, imported *certs.Imported, replace bool) error {
	var key *certs.Key
	err := store.Update(func(c *certs.Changes) (err error) {
		if replace {
			key, err = c.Replace(want.Name, imported, want.From)
			return err
		}
		key, err = c.Import(*want, imported)
		return err
	})
	if err != nil {
		return err
	}
	return at.print(cmd, key)
}

// maxKeyBlockFile bounds a file with a key block.
const maxKeyBlockFile = 16 << 10

func readKeyBlock(cmd *cobra.Command, store *certs.Keystore, path, under string) (string, *certs.Imported, error) {
	in := cmd.InOrStdin()
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return "", nil, fmt.Errorf("--block: %w", err)
		}
		defer func() { _ = file.Close() }() // It was read only.
		in = file
	}
	text, err := io.ReadAll(io.LimitReader(in, maxKeyBlockFile))
	if err != nil {
		return "", nil, fmt.Errorf("--block: %w", err)
	}
	master, err := blockMaster(store, under, true)
	if err != nil {
		return "", nil, err
	}
	imported, err := certs.OpenKeyBlock(bytes.TrimSpace(text), master)
	if err != nil {
		return "", nil, fmt.Errorf("--block %s: %w", path, err)
	}
	return string(bytes.TrimSpace(text)), imported, nil
}

// readComponents asks each person in turn. Nothing that is typed is shown.
func readComponents(cmd *cobra.Command, algorithm certs.Algorithm, parts int) (*certs.Imported, error) {
	const most = 9
	if parts < 2 || parts > most {
		return nil, usage("--components: %d; a key comes in 2 to %d", parts, most)
	}
	components, err := certs.NewComponents(algorithm)
	if err != nil {
		return nil, usage("--algorithm: %w", err)
	}
	lines := bufio.NewReader(cmd.InOrStdin())
	for i := range parts {
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "Component %d of %d, typed by person %d, not shown: ", i+1, parts, i+1)
		part, err := readHidden(cmd.InOrStdin(), lines)
		_, _ = fmt.Fprintln(cmd.ErrOrStderr())
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("component %d of %d: nothing was typed; nothing was changed", i+1, parts)
		}
		if err != nil {
			return nil, fmt.Errorf("component %d: %w", i+1, err)
		}
		check, err := components.Add(part)
		clear(part)
		if err != nil {
			return nil, fmt.Errorf("component %d: %w", i+1, err)
		}
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "Component %d has KCV %v.\n", i+1, check)
	}
	return components.Key()
}

// readHidden reads a line without showing it, where it comes from a terminal.
func readHidden(in io.Reader, lines *bufio.Reader) ([]byte, error) {
	if file, ok := in.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		return term.ReadPassword(int(file.Fd()))
	}
	line, err := lines.ReadBytes('\n')
	if err != nil && (!errors.Is(err, io.EOF) || len(line) == 0) {
		return nil, err
	}
	return line, nil
}

func (at *keysAt) export() *cobra.Command {
	var under string
	var version uint32
	cmd := &cobra.Command{
		Use: "export NAME", Short: "Print a key as a key block (TR-31) under a partner's or terminal's master key", Args: one("the name of a key"),
		Long: `Print a key as a key block: of version D under an AES key, of version B under 3DES. The
receiver may not pass it on. Keys that are of use to nobody else (card, pin-verification,
working-derivation, ca-signing, backup) do not leave, nor do those that came with the
word that they are not passed on.`,
		Example: `  lianfen keys export bank-pin --under zone-bank > pin.tr31`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if client, err := at.operators(); client != nil || err != nil {
				if err != nil {
					return err
				}
				return at.ask(cmd, client, app.KeyChange{Act: book.KeyExport, Name: args[0], Version: version, Under: under})
			}
			return at.open(func(store *certs.Keystore) error {
				key, err := store.Key(args[0], version)
				if err != nil {
					return err
				}
				if err := key.InForce(now(), true); err != nil {
					return err
				}
				master, err := blockMaster(store, under, false)
				if err != nil {
					return err
				}
				block, err := certs.AppendKeyBlock(nil, key, master, rand.Reader)
				if err != nil {
					return err
				}
				if at.asJSON {
					return writeJSON(cmd.OutOrStdout(), map[string]string{"name": key.Name, "kcv": key.Check.String(), "under": master.Check.String(), "block": string(block)})
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", block)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&under, "under", "", "name of the master key")
	cmd.Flags().Uint32Var(&version, "version", 0, "version of the key; 0 is the newest")
	_ = cmd.MarkFlagRequired("under") // The flag is there.
	return cmd
}

func (at *keysAt) fetch() *cobra.Command {
	return &cobra.Command{
		Use: "fetch RRN", Short: "Print the key block of your export that was approved", Args: one("the RRN of the approval, or of the proposal"),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := at.operators()
			if err != nil {
				return err
			}
			if client == nil {
				return usage("no operators change this keystore: lianfen keys export prints the key block at once")
			}
			done, err := client.FetchKey(cmd.Context(), fullRRN(args[0]))
			if err != nil {
				return err
			}
			if at.asJSON {
				return writeJSON(cmd.OutOrStdout(), done)
			}
			return say(cmd, "%s", done.Block)
		},
	}
}

func (at *keysAt) rotate() *cobra.Command {
	var from string
	cmd := &cobra.Command{
		Use: "rotate NAME", Short: "Draw the next version of a key; the ones before check and open from then on", Args: one("the name of a key"),
		RunE: func(cmd *cobra.Command, args []string) error {
			begin, err := keyTime("from", from, at.zone(), now())
			if err != nil {
				return err
			}
			change := app.KeyChange{Act: book.KeyRotate, Name: args[0], From: begin}
			return at.change(cmd, change, func(c *certs.Changes) (*certs.Key, error) { return c.Rotate(args[0], begin) })
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "in force from then on, 2026-11-26 or 2026-11-26T08:00:00Z (default now)")
	return cmd
}

func (at *keysAt) offer() *cobra.Command {
	return &cobra.Command{
		Use: "offer NAME", Short: "Draw the next master key of a terminal, which the terminal fetches itself", Args: one("the name of a terminal's master key, tmk/MERCHANT/TERMINAL"),
		Long: `Draw the next master key of a terminal, and leave it on offer.

The terminal fetches it (0800 with 60.1 99 and 60.3 003), in a key block under the master key
that it has, and it is in force when the terminal signs on with a MAC by it. Until then
the one before stays in force, and a terminal that never gets it loses nothing. To
withdraw the offer retire that version.`,
		Example: `  lianfen keys offer tmk/MER0001/T0000001`,
		RunE: func(cmd *cobra.Command, args []string) error {
			change := app.KeyChange{Act: book.KeyOffer, Name: args[0]}
			return at.change(cmd, change, func(c *certs.Changes) (*certs.Key, error) { return c.Offer(args[0]) })
		},
	}
}

func (at *keysAt) retire() *cobra.Command {
	var version uint32
	var destroy bool
	cmd := &cobra.Command{
		Use: "retire NAME", Short: "End a version of a key: it opens and checks, and makes nothing new", Args: one("the name of a key"),
		RunE: func(cmd *cobra.Command, args []string) error {
			change := app.KeyChange{Act: book.KeyRetire, Name: args[0], Version: version}
			if destroy {
				change.Act = book.KeyDestroy
			}
			return at.change(cmd, change, func(c *certs.Changes) (*certs.Key, error) {
				if destroy {
					return c.Destroy(args[0], version)
				}
				return c.Retire(args[0], version)
			})
		},
	}
	cmd.Flags().Uint32Var(&version, "version", 0, "version of the key; 0 is the newest")
	cmd.Flags().BoolVar(&destroy, "destroy", false, "forget the key itself for good; what is under it can never be opened again")
	return cmd
}
