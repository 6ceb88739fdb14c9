package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// authority is what the commands about certificates share.
type authority struct {
	file   string
	dir    string
	asJSON bool
	zone   *time.Location // see time
	door   admin          // of the switch whose operators change the register
}

// whose are the flags that name an identity.
type whose struct {
	acquirer, issuer         uint64
	terminal, operator, name string
}

func newCerts() *cobra.Command {
	a := new(authority)
	cmd := &cobra.Command{
		Use:   "certs",
		Short: "Say who is who: the scheme's certification authority",
		Long: `The scheme's own certification authority: a root, whose key belongs off-line, an issuing
CA, and a register of all certificates and one-time codes, in the folder that tls.authority
of the configuration names. A certificate names one identity:

  lianfen://acquirer/NUMBER                 speaks for all terminals of the acquirer
  lianfen://acquirer/NUMBER/terminal/DE41   for one of them
  lianfen://issuer/NUMBER                   an issuer's host
  lianfen://operator/NAME                   a person
  lianfen://switch/NAME                     the switch

What is revoked is refused by a switch that runs at once, and its connections are closed.

While a switch with operators serves from the folder, issue, code and revoke are acts of
operators: they ask the switch, as whoever is signed in there (lianfen admin login), every
act is in its journal, and where the policy says certificates, a second person approves
what lets somebody in. To revoke waits for nobody. While it does not serve they change the
folder alone, and the next start notes in the journal what was changed.`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	f := cmd.PersistentFlags()
	f.StringVar(&a.file, "config", config.FileName, "configuration of the switch; it names the folder")
	f.StringVar(&a.dir, "authority", "", "the folder, instead of the configuration's")
	f.BoolVar(&a.asJSON, "json", false, "print JSON")
	_ = cmd.MarkPersistentFlagFilename("config", "yaml") // Only completion would miss it.
	_ = cmd.MarkPersistentFlagDirname("authority")
	cmd.AddCommand(a.initialise(), a.issue(), a.fetch(), a.code(), a.enrol(), a.renew(), a.revoke(), a.list(), a.export())
	return cmd
}

// folder is where the authority is.
func (a *authority) folder() (string, error) {
	if a.dir != "" {
		return a.dir, nil
	}
	c, err := config.Load(a.file, os.Environ(), nil)
	if err != nil {
		return "", usage("%w; name the configuration with --config or the folder with --authority", err)
	}
	return c.TLS.Authority, nil
}

func (a *authority) open() (*certs.Authority, error) {
	dir, err := a.folder()
	if err != nil {
		return nil, err
	}
	return certs.OpenAuthority(dir, now)
}

func (a *authority) print(cmd *cobra.Command, v any, people func(io.Writer) error) error {
	if a.asJSON {
		return writeJSON(cmd.OutOrStdout(), v)
	}
	return people(cmd.OutOrStdout())
}

func (w *whose) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.Var(decimal(&w.acquirer, 0), "acquirer", "number of the acquirer")
	f.StringVar(&w.terminal, "terminal", "", "terminal (DE41) of that acquirer")
	f.Var(decimal(&w.issuer, 0), "issuer", "number of the issuer")
	f.StringVar(&w.operator, "operator", "", "name of the operator")
	f.StringVar(&w.name, "switch", "", "name of the switch")
}

// identity is the one that the flags name; none where none is set.
func (w *whose) identity() (i certs.Identity, err error) {
	named := 0
	for _, is := range []struct {
		set bool
		of  func() (certs.Identity, error)
	}{
		{w.acquirer != 0 || w.terminal != "", func() (certs.Identity, error) {
			if w.terminal == "" {
				return certs.AcquirerIdentity(points.AcquirerID(w.acquirer)), nil
			}
			id, err := points.ParseTerminalID(w.terminal)
			return certs.TerminalIdentity(points.AcquirerID(w.acquirer), id), err
		}},
		{w.issuer != 0, func() (certs.Identity, error) { return certs.IssuerIdentity(points.IssuerID(w.issuer)), nil }},
		{w.operator != "", func() (certs.Identity, error) { return certs.OperatorIdentity(w.operator), nil }},
		{w.name != "", func() (certs.Identity, error) { return certs.SwitchIdentity(w.name), nil }},
	} {
		if !is.set {
			continue
		}
		named++
		if i, err = is.of(); err == nil {
			_, err = certs.ParseIdentity(i.String())
		}
		if err != nil {
			return i, usage("%w", err)
		}
	}
	if named > 1 {
		return i, usage("one identity at a time: --acquirer (with --terminal), --issuer, --operator or --switch")
	}
	return i, nil
}

// wanted is identity, which there has to be.
func (w *whose) wanted() (certs.Identity, error) {
	i, err := w.identity()
	if err == nil && i.Role == 0 {
		err = usage("whose? --acquirer (with --terminal), --issuer, --operator or --switch")
	}
	return i, err
}

// wish is a certificate that somebody is to get, now or by a code.
type wish struct {
	whose

	names    []string
	lifetime time.Duration
	note     string
}

func (w *wish) add(cmd *cobra.Command, a *authority) {
	w.whose.add(cmd)
	f := cmd.Flags()
	f.StringSliceVar(&w.names, "dns", nil, "DNS name or address at which a switch or issuer is reached; may be repeated")
	f.DurationVar(&w.lifetime, "lifetime", certs.DefaultLifetime, "how long the certificate is good; an operator's 12h to 720h")
	f.StringVar(&w.note, "note", "", "why, for the journal of a switch with operators")
	a.door.doorFlags(cmd)
}

// order is the wish as the authority wants it.
func (w *wish) order(identity certs.Identity) certs.Order {
	return certs.Order{Identity: identity, Names: w.names, Lifetime: w.lifetime, By: userName()}
}

// change is the wish as the switch wants it.
func (w *wish) change(act book.CertificateAct, identity certs.Identity) app.CertificateChange {
	return app.CertificateChange{Act: act, Identity: identity, Names: w.names, Lifetime: w.lifetime, Note: w.note}
}

// holder tells what is wrong with whom a certificate is for, as the switch that serves from
// the folder knows its participants; nothing where none serves.
func (a *authority) holder(ctx context.Context, identity certs.Identity) (warning string, err error) {
	client := a.serving()
	if client == nil || a.dir != "" { // Whose folder that is nobody knows.
		return "", nil
	}
	ctx, cancel := context.WithTimeout(ctx, completionTime)
	defer cancel()
	directory, err := client.Directory(ctx)
	if err != nil {
		return "", nil
	}
	return directory.Holder(identity)
}

// warn tells people of what was done and may not be what was meant.
func warn(cmd *cobra.Command, warning string) error {
	if warning == "" {
		return nil
	}
	_, err := fmt.Fprintf(cmd.ErrOrStderr(), "Warning: %s\n", warning)
	return err
}

// userName is the person at this machine, for the register.
func userName() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return filepath.Base(u.Username)
	}
	return "operator"
}

func (a *authority) initialise() *cobra.Command {
	var passphrase, key string
	var issuing bool
	cmd := &cobra.Command{
		Use: "init", Args: none,
		Short: "Make an authority, or a new issuing CA under its root",
		Long: `Make an authority in a new folder: a root whose key is sealed under a passphrase, an
issuing CA, an empty register. lianfen init has done that for a new switch, with a
passphrase drawn by lot. Take root.key away afterwards: lianfen certs export root-key.

--issuing makes a new issuing CA under the root that is there, before the old one ends
or because its key may be known. A switch that runs issues with it from then on; what
the old one has issued stays good until it is over or revoked.`,
		Example: `  lianfen certs init --authority ./pki --passphrase-file ./passphrase
  lianfen certs init --issuing --root-key /media/safe/root.key --passphrase-file ./passphrase`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := a.folder()
			if err != nil {
				return err
			}
			secret, err := certs.ReadPassphrase(passphrase)
			if err != nil {
				return err
			}
			if issuing {
				if key == "" {
					key = filepath.Join(dir, "root.key")
				}
				if err := certs.RenewIssuing(dir, key, secret, now); err != nil {
					return err
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "A new issuing CA is in %s.\n", dir)
				return err
			}
			if _, err := certs.CreateAuthority(dir, "lianfen", secret, now); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "The authority is in %s. Take the root's key away: lianfen certs export root-key --authority %s --out FILE --remove\n", dir, dir)
			return err
		},
	}
	cmd.Flags().StringVar(&passphrase, "passphrase-file", "", "file whose first line seals, or opens, the root's key")
	cmd.Flags().BoolVar(&issuing, "issuing", false, "only a new issuing CA")
	cmd.Flags().StringVar(&key, "root-key", "", "with --issuing: the sealed key of the root, where it is kept")
	requireFlags(cmd, "passphrase-file")
	return cmd
}

// made is what a command tells of a new certificate.
type made struct {
	Identity    certs.Identity `json:"identity"`
	Serial      string         `json:"serial"`
	Until       time.Time      `json:"until"`
	Certificate string         `json:"certificate"` // file
	Key         string         `json:"key,omitempty"`
	Trust       string         `json:"trust,omitempty"`
}

func (a *authority) show(cmd *cobra.Command, m *made) error {
	return a.print(cmd, m, func(w io.Writer) error {
		var t table
		t.row("identity", m.Identity)
		t.row("serial", m.Serial)
		t.row("until", a.time(m.Until))
		t.row("certificate", m.Certificate)
		if m.Key != "" {
			t.row("key", m.Key)
		}
		if m.Trust != "" {
			t.row("trust", m.Trust)
		}
		return t.write(w)
	})
}

// files writes what a holder needs: NAME.crt, NAME.key, and NAME.ca.crt. The key is
// written first: without its certificate it is worth nothing.
func (m *made) files(out string, key, chain, trust []byte) error {
	m.Certificate, m.Key, m.Trust = out+".crt", out+".key", out+".ca.crt"
	if key == nil {
		m.Key = ""
	}
	for _, file := range []struct {
		path    string
		content []byte
		mode    os.FileMode
	}{{m.Key, key, 0o600}, {m.Trust, trust, 0o644}, {m.Certificate, chain, 0o644}} {
		if file.path == "" {
			continue
		}
		if err := replaceFile(file.path, file.content, file.mode); err != nil {
			return err
		}
	}
	return nil
}

// replaceFile writes a file whole or not at all.
func replaceFile(path string, content []byte, mode os.FileMode) error {
	fresh := path + ".new"
	if err := os.WriteFile(fresh, content, mode); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if err := errors.Join(os.Chmod(fresh, mode), os.Rename(fresh, path)); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

func (a *authority) issue() *cobra.Command {
	var w wish
	var out, request string
	cmd := &cobra.Command{
		Use: "issue", Args: none,
		Short: "Issue a certificate",
		Long: `Issue a certificate into NAME.crt, its key into NAME.key, and the root that its holder
checks the switch against into NAME.ca.crt. With --request the holder has made the key,
and there is no NAME.key. Where the holder is far away, lianfen certs code is better: the
key never travels. Where two persons decide, an operator's certificate is asked for by that
operator alone, or enrolled with a code.`,
		Example: `  lianfen certs issue --acquirer 48020000 --terminal T0000001 --out ./t1
  lianfen certs issue --operator wang --lifetime 12h --out ./wang
  lianfen certs issue --issuer 10000004 --dns host.example --request host.csr --out ./host`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			identity, err := w.wanted()
			if err != nil {
				return err
			}
			if client, err := a.operators(cmd.Context()); client != nil || err != nil {
				if err != nil {
					return err
				}
				return a.issueAsked(cmd, client, w.change(book.CertificateIssue, identity), request, out)
			}
			return a.issueHere(cmd, w.order(identity), request, out)
		},
	}
	w.add(cmd, a)
	cmd.Flags().StringVar(&out, "out", "", "beginning of the files' names")
	cmd.Flags().StringVar(&request, "request", "", "certificate signing request, as PEM")
	requireFlags(cmd, "out")
	return cmd
}

// issueHere issues beside the switch.
func (a *authority) issueHere(cmd *cobra.Command, order certs.Order, request, out string) error {
	warning, err := a.holder(cmd.Context(), order.Identity)
	if err != nil {
		return err
	}
	ca, err := a.open()
	if err != nil {
		return err
	}
	var issued *certs.Issued
	if request == "" {
		issued, err = ca.Issue(order)
	} else {
		var text []byte
		if text, err = os.ReadFile(request); err != nil {
			return fmt.Errorf("--request: %w", err)
		}
		issued, err = ca.Certify(order, text)
	}
	if err != nil {
		return err
	}
	m := &made{Identity: order.Identity, Serial: issued.Serial, Until: issued.Certificate.NotAfter}
	if err := m.files(out, issued.KeyPEM, issued.ChainPEM, ca.Trust()); err != nil {
		return err
	}
	return errors.Join(warn(cmd, warning), a.show(cmd, m))
}

func (a *authority) code() *cobra.Command {
	var w wish
	var life time.Duration
	cmd := &cobra.Command{
		Use: "code", Args: none,
		Short: "Make a one-time code with which somebody enrols",
		Long: `Make a code with which the holder of an identity gets a certificate once, over the switch's
HTTPS door: lianfen certs enrol. The code is shown here and nowhere else; the register
keeps its hash. Where two persons decide, half of the code is shown here and the other half
to who approves it: the holder types the first, then the second.`,
		Example: `  lianfen certs code --acquirer 48020000 --terminal T0000001
  lianfen certs code --issuer 10000004 --dns host.example --valid 72h`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			identity, err := w.wanted()
			if err != nil {
				return err
			}
			if client, err := a.operators(cmd.Context()); client != nil || err != nil {
				if err != nil {
					return err
				}
				change := w.change(book.CertificateCode, identity)
				change.Valid = life
				return a.codeAsked(cmd, client, change)
			}
			return a.codeHere(cmd, w.order(identity), life)
		},
	}
	w.add(cmd, a)
	cmd.Flags().DurationVar(&life, "valid", certs.DefaultCodeLife, "how long the code is good")
	return cmd
}

// codeHere makes a code beside the switch.
func (a *authority) codeHere(cmd *cobra.Command, order certs.Order, life time.Duration) error {
	warning, err := a.holder(cmd.Context(), order.Identity)
	if err != nil {
		return err
	}
	ca, err := a.open()
	if err != nil {
		return err
	}
	code, until, err := ca.NewCode(order, life)
	if err != nil {
		return err
	}
	told := struct {
		Identity certs.Identity `json:"identity"`
		Code     string         `json:"code"`
		Until    time.Time      `json:"until"`
	}{order.Identity, code, until}
	return errors.Join(warn(cmd, warning), a.print(cmd, told, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%s\nfor %v, once, until %s\n", code, order.Identity, a.time(until))
		return err
	}))
}

func (a *authority) enrol() *cobra.Command {
	var to enrolment
	var code string
	cmd := &cobra.Command{
		Use: "enrol", Args: none,
		Short: "Get a certificate with a one-time code, from a switch's HTTPS door",
		Long: `Make a key here, send a certificate signing request with the code to the switch, and
write the certificate that comes back into NAME.crt, the key into NAME.key and the root
into NAME.ca.crt. The key never leaves this machine. --tls-ca is the root that the switch
is checked against, which came with the code (lianfen certs export trust).`,
		Example: `  lianfen certs enrol --url https://switch.example:8580 --tls-ca trust.crt --code 7K2M-9QXD-4H8R-T1VW --out ./terminal`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.ask(cmd, &to, code)
		},
	}
	to.add(cmd, "beginning of the files' names")
	cmd.Flags().StringVar(&code, "code", "", "the one-time code; - reads it from standard input")
	requireFlags(cmd, "code")
	return cmd
}

// enrolment is where a certificate comes from over a switch's HTTPS door, and where it goes.
type enrolment struct {
	url, trust, out string
	cert, keyFile   string // that are shown; none with a code
}

func (e *enrolment) add(cmd *cobra.Command, out string) {
	f := cmd.Flags()
	f.StringVar(&e.url, "url", "", "HTTPS door of the switch, such as https://switch.example:8580")
	f.StringVar(&e.trust, "tls-ca", "", "root that the switch is checked against, as PEM")
	f.StringVar(&e.out, "out", "", out)
	requireFlags(cmd, "url", "tls-ca", "out")
}

func (a *authority) renew() *cobra.Command {
	var to enrolment
	cmd := &cobra.Command{
		Use: "renew", Args: none,
		Short: "Renew a certificate that is still good, from a switch's HTTPS door",
		Long: `Make a new key here, show the certificate that is to be renewed, and write the new one
into NAME.crt, NAME.key and NAME.ca.crt. The old one stays good until it is over, so that
connections can be changed at leisure.`,
		Example: `  lianfen certs renew --url https://switch.example:8580 --tls-cert t1.crt --tls-key t1.key --tls-ca t1.ca.crt --out ./t1`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.ask(cmd, &to, "")
		},
	}
	to.add(cmd, "beginning of the files' names; they may be those of the old one")
	cmd.Flags().StringVar(&to.cert, "tls-cert", "", "the certificate that is to be renewed, as PEM")
	cmd.Flags().StringVar(&to.keyFile, "tls-key", "", "file of its key (default: the certificate's file)")
	requireFlags(cmd, "tls-cert")
	return cmd
}

// ask makes a key, asks the switch for its certificate and writes all down. The key is
// on disk before the code is used up.
func (a *authority) ask(cmd *cobra.Command, to *enrolment, code string) error {
	client, err := app.NewEnrolment(to.url, to.trust, to.cert, to.keyFile, now)
	if err != nil {
		return err
	}
	if code == "-" {
		line, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), 256))
		if err != nil {
			return fmt.Errorf("--code: %w", err)
		}
		code = strings.TrimSpace(string(line))
	}
	if to.cert == "" {
		if err := certs.CheckCode(code); err != nil {
			return usage("--code: %w", err)
		}
	}
	request, key, err := certs.NewRequest()
	if err != nil {
		return err
	}
	if err := replaceFile(pendingKey(to.out), key, 0o600); err != nil {
		return err
	}
	enrolled, err := client.Ask(cmd.Context(), app.Enrolment{Code: points.Secret(code), Request: string(request)})
	if err != nil {
		return errors.Join(err, os.Remove(pendingKey(to.out)))
	}
	return a.keep(cmd, &enrolled, key, to.out)
}

func (a *authority) revoke() *cobra.Command {
	var w whose
	var serial, reason string
	cmd := &cobra.Command{
		Use: "revoke", Args: none,
		Short: "Take back a certificate, or all that an identity has",
		Long: `Take back a certificate by its serial, or all that an identity has: a stolen one may have
been renewed. A running switch is told, refuses it from then on, and closes its
connections; where it cannot be told it looks by itself within a second or two.`,
		Example: `  lianfen certs revoke --serial 5f0c... --reason "terminal stolen"
  lianfen certs revoke --acquirer 48020000 --terminal T0000001`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			identity, err := w.identity()
			if err != nil {
				return err
			}
			if (serial == "") == (identity.Role == 0) {
				return usage("what? --serial, or an identity: --acquirer (with --terminal), --issuer, --operator or --switch")
			}
			if client, err := a.operators(cmd.Context()); client != nil || err != nil {
				if err != nil {
					return err
				}
				return a.revokeAsked(cmd, client, app.CertificateChange{Act: book.CertificateRevoke, Identity: identity, Serial: serial, Note: reason})
			}
			ca, err := a.open()
			if err != nil {
				return err
			}
			serials, err := ca.Revoke(certs.Revocation{Serial: serial, Identity: identity, Reason: reason, By: userName()})
			if err != nil {
				return err
			}
			told, running := a.tell(cmd.Context())
			answer := struct {
				Revoked []string `json:"revoked"`
				Running bool     `json:"running"` // a switch was told
				Closed  int      `json:"closed"`
			}{serials, running, told.Closed}
			return a.print(cmd, answer, func(w io.Writer) error {
				said := "No switch was told from here; one that runs with these files sees it by itself within a second or two."
				if running {
					said = fmt.Sprintf("The running switch knows; it closed %s.", points.Counted(told.Closed, "connection", "connections"))
				}
				_, err := fmt.Fprintf(w, "Revoked %s.\n%s\n", strings.Join(serials, ", "), said)
				return err
			})
		},
	}
	w.add(cmd)
	cmd.Flags().StringVar(&serial, "serial", "", "serial of the certificate (lianfen certs list)")
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the register")
	a.door.doorFlags(cmd)
	return cmd
}

// tell has the switch of the configuration look at once, if it runs.
func (a *authority) tell(ctx context.Context) (app.CertificatesReloaded, bool) {
	client := a.serving()
	if client == nil {
		return app.CertificatesReloaded{}, false
	}
	ctx, cancel := context.WithTimeout(ctx, completionTime)
	defer cancel()
	told, err := client.ReloadCertificates(ctx)
	return told, err == nil
}

// serving is the door of the switch of the configuration; nil where there is none.
func (a *authority) serving() *app.Client {
	c, err := config.Load(a.file, os.Environ(), nil)
	if err != nil {
		return nil
	}
	return app.NewClient(c.Admin.Socket)
}

// time is an instant as people are shown it: in the zone of the configuration, or where
// none says, the machine's.
func (a *authority) time(at time.Time) string {
	if a.zone == nil {
		a.zone = zoneOf(a.file)
	}
	return at.In(a.zone).Format(time.RFC3339)
}

func (a *authority) list() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "list", Short: "List the certificates, with the days that they have left", Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ca, err := a.open()
			if err != nil {
				return err
			}
			list, err := ca.List()
			if err != nil {
				return err
			}
			shown := []certs.Listed{}
			for _, c := range list {
				if all || c.State == certs.StateValid {
					shown = append(shown, c)
				}
			}
			return a.print(cmd, shown, func(w io.Writer) error {
				var t table
				t.row("SERIAL", "IDENTITY", "STATE", "DAYS LEFT", "UNTIL", "ISSUED BY", "REASON")
				for _, c := range shown {
					t.row(c.Serial, c.Identity, c.State, fmt.Sprintf("%.1f", c.DaysLeft), a.time(c.Until), c.By, c.Reason)
				}
				return t.write(w)
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "those that are over or revoked too")
	return cmd
}

func (a *authority) export() *cobra.Command {
	var out string
	var remove bool
	cmd := &cobra.Command{
		Use:   "export trust|chain|crl|root-key",
		Short: "Write out the root, the issuing CA, the revoked certificates, or the root's sealed key",
		Long: `Write a part of the authority into a new file: trust is the root that peers check the
switch against, chain the issuing CA, crl the list of revoked certificates (RFC 5280) for
others, root-key the sealed key of the root; --remove takes that out of the folder once
the copy is whole. Nothing that the switch does needs it.`,
		Example: `  lianfen certs export trust --out trust.crt
  lianfen certs export root-key --out /media/safe/root.key --remove`,
		ValidArgs: []string{"trust", "chain", "crl", "root-key"},
		Args:      one("what: trust, chain, crl or root-key"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ca, err := a.open()
			if err != nil {
				return err
			}
			if args[0] == "root-key" {
				if err := ca.ExportRootKey(out, remove); err != nil {
					return err
				}
				if remove {
					return say(cmd, "The root's sealed key is in %s, and no more in the authority's folder.", out)
				}
				return say(cmd, "The root's sealed key is in %s, and in the authority's folder still (--remove takes it out).", out)
			}
			var content []byte
			switch args[0] {
			case "trust":
				content = ca.Trust()
			case "chain":
				content, err = ca.Chain()
			case "crl":
				content, err = ca.CRL()
			default:
				return usage("%q is not one of trust, chain, crl, root-key", args[0])
			}
			if err != nil {
				return err
			}
			if err := replaceFile(out, content, 0o644); err != nil {
				return err
			}
			return say(cmd, "Wrote %s to %s.", map[string]string{
				"trust": "the roots that peers check the switch against", "chain": "the certificate of the issuing CA", "crl": "the list of revoked certificates",
			}[args[0]], out)
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "the file")
	cmd.Flags().BoolVar(&remove, "remove", false, "of root-key: take it out of the folder")
	requireFlags(cmd, "out")
	return cmd
}

// prepareAuthority makes the authority of a new switch, under a passphrase drawn by lot
// that is written beside it: both are to be taken away, to two places. The person who
// prepares is its first operator.
func prepareAuthority(dir string) error {
	var random [24]byte
	_, _ = rand.Read(random[:]) // Never fails.
	passphrase := []byte(hex.EncodeToString(random[:]))
	ca, err := certs.CreateAuthority(dir, "lianfen", passphrase, now)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, passphraseFile), append(passphrase, '\n'), 0o600); err != nil {
		return fmt.Errorf("init: %w", err)
	}
	_, _, err = ca.Own(certs.Order{Identity: certs.OperatorIdentity(operatorName()), By: "lianfen init"})
	return err
}

// passphraseFile is where lianfen init leaves the passphrase of the root's key.
const passphraseFile = "root.passphrase"

// operatorName is the user's name, if it can be one.
func operatorName() string {
	name := userName()
	if _, err := certs.ParseIdentity(certs.OperatorIdentity(name).String()); err != nil {
		return "operator"
	}
	return name
}
