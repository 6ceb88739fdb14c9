package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/certify"
	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/testdata/certification"
)

// certificationKit is the certification kit's command line.
type certificationKit struct {
	target  string
	profile string
	params  string
	scripts string
	only    []string
	stan    uint32
	html    string
	junit   string
	list    bool
	asJSON  bool
	all     bool
	known   credentials
	keys    keysAt
}

func newCertify() *cobra.Command {
	k := new(certificationKit)
	cmd := &cobra.Command{
		Use:   "certify",
		Short: "Test a switch or an issuer's host against the specification 入网测试",
		Long: `Play the scripts of a profile against an implementation and report every expectation
with what came. Profile pos plays terminals against a switch; profile issuer plays a
switch against an issuer's host.

What the target's terminals, cards and programmes are is told by --params; without
it, what fits lianfen demo (pos) and lianfen issuer (issuer). A case whose test data
are missing is skipped and named. Use test cards only: the run credits and redeems.

Exit status: 0 all passed, 1 something differs, 2 the command line, the parameters
or the scripts cannot be understood.`,
		Example: `  lianfen certify --target 127.0.0.1:8583 --profile pos
  lianfen certify --target 127.0.0.1:8600 --profile issuer --html report.html --junit report.xml
  lianfen certify --target 127.0.0.1:8583 --profile pos --params mine.yaml --only redeem --only 'refund*' -v
  lianfen certify --profile pos --list`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return k.run(cmd) },
	}
	f := cmd.Flags()
	f.StringVar(&k.target, "target", "", "address of the implementation, host:port")
	f.StringVar(&k.profile, "profile", "", "who is tested: pos or issuer")
	f.StringVar(&k.params, "params", "", "file of the target's test data")
	f.StringVar(&k.scripts, "scripts", "", "folder of scripts instead of the program's own")
	f.StringArrayVar(&k.only, "only", nil, "play the cases with this id only, such as 'refund*'; may be repeated")
	f.Var(decimal(&k.stan, 0), "stan", "trace number (DE11) of the first message; 0: told by the time of day")
	f.StringVar(&k.html, "html", "", "write the report as a page into this file")
	f.StringVar(&k.junit, "junit", "", "write the report as JUnit XML into this file")
	f.BoolVar(&k.list, "list", false, "list the cases and play none")
	f.BoolVar(&k.asJSON, "json", false, "print JSON")
	f.BoolVarP(&k.all, "verbose", "v", false, "show every step, expectation and frame, of what passed too")
	k.known.add(cmd)
	f.StringVar(&k.keys.path, "keystore", "", "keystore with the master keys of terminals with keys; without it their cases are skipped")
	f.StringVar(&k.keys.kek, "kek", "file:kek.key", "with --keystore: where its key-encryption key is")
	requireFlags(cmd, "profile")
	cmd.MarkFlagsOneRequired("target", "list")
	cmd.MarkFlagsMutuallyExclusive("target", "list")
	_ = cmd.MarkFlagFilename("params", "yaml") // Only completion would miss it.
	_ = cmd.MarkFlagDirname("scripts")
	return cmd
}

func (k *certificationKit) run(cmd *cobra.Command) error {
	scripts, parameters, err := k.read()
	if err != nil {
		return usage("%w", err)
	}
	if k.list {
		if k.asJSON {
			return writeJSON(cmd.OutOrStdout(), casesOf(scripts))
		}
		return listCases(cmd.OutOrStdout(), scripts)
	}
	stan := points.STAN(k.stan)
	if stan > 0 {
		stan--
	} else {
		stan = (&pos{}).firstSTAN()
	}
	out := cmd.OutOrStdout()
	tell := func(c *certify.CaseResult) error { return c.WriteCase(out, k.all) }
	if k.asJSON {
		tell = func(*certify.CaseResult) error { return nil }
	}
	connect, err := k.connect(cmd, parameters)
	if err != nil {
		return err
	}
	if connect == nil {
		tell = k.orTLS(cmd.Context(), tell)
	}
	options := certify.Options{Target: k.target, Dial: connect, Parameters: parameters, Scripts: scripts, Clock: now, FirstSTAN: stan, Only: k.only}
	var report *certify.Report
	play := func() (err error) {
		report, err = certify.Run(cmd.Context(), options, tell)
		return err
	}
	if k.keys.path == "" {
		err = play()
	} else {
		err = k.keys.open(func(store *certs.Keystore) error {
			options.Key = func(name string, usage certs.Usage) (*certs.Key, error) { return store.Use(name, usage, now()) }
			return play()
		})
	}
	if errors.Is(err, certify.ErrNoCase) {
		return usage("--only: %w; without --only all are played and named", err)
	}
	if err != nil {
		return err
	}
	return k.report(out, report)
}

// orTLS is tell, but ends the run where the first case fails because the target speaks TLS and
// was asked without: every other case would wait for an answer and fail, too.
func (k *certificationKit) orTLS(ctx context.Context, tell func(*certify.CaseResult) error) func(*certify.CaseResult) error {
	looked := false
	return func(c *certify.CaseResult) error {
		if c.Verdict != certify.Skipped && !looked {
			looked = true
			if c.Verdict == certify.Failed && speaksTLS(ctx, k.target) {
				return usage("%s speaks TLS, and was asked without: --config of the switch lends certificates, or name yours: --tls-cert, --tls-key and --tls-ca", k.target)
			}
		}
		return tell(c)
	}
}

// tlsLook is how long a target has to begin a TLS handshake.
const tlsLook = 3 * time.Second

// speaksTLS reports whether a TLS handshake is answered at an address. Nothing is sent over
// the connection, whoever answers.
func speaksTLS(ctx context.Context, address string) bool {
	ctx, cancel := context.WithTimeout(ctx, tlsLook)
	defer cancel()
	line, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return false
	}
	defer func() { _ = line.Close() }()                                                 // Whatever came of it.
	err = tls.Client(line, &tls.Config{InsecureSkipVerify: true}).HandshakeContext(ctx) //nolint:gosec // who it is does not matter: nothing is told to it.
	var refused *net.OpError
	return err == nil || errors.As(err, &refused) && refused.Op == "remote error" // A TLS alert.
}

// connect is how the target is reached: as the acquirer of the terminal that begins, or as
// the switch; nil over plain TCP.
func (k *certificationKit) connect(cmd *cobra.Command, parameters *certify.Parameters) (func(context.Context, string, points.TerminalID) (net.Conn, error), error) {
	role := certs.RoleSwitch
	if parameters.Profile == certify.ProfileIssuer {
		role = certs.RoleIssuer
	}
	explicit, err := k.known.explicit()
	if err != nil {
		return nil, err
	}
	var gateFor func(context.Context, points.TerminalID) (*certs.Gate, error)
	if explicit {
		gate, err := gateOf(k.known.cert, k.known.key, k.known.ca)
		if err != nil {
			return nil, err
		}
		gateFor = func(context.Context, points.TerminalID) (*certs.Gate, error) { return gate, nil } //nolint:unparam // as that of lent.
	} else if gateFor, err = k.lent(cmd, role); gateFor == nil || err != nil {
		return nil, err
	}
	return func(ctx context.Context, address string, terminal points.TerminalID) (net.Conn, error) {
		gate, err := gateFor(ctx, terminal)
		if err != nil {
			return nil, err
		}
		return dialTLS(ctx, address, gate.Client(certs.OfRole(role)))
	}, nil
}

// lent are certificates of the switch's own authority: the switch's for testing an
// issuer's host, for testing the switch that of the acquirer whose terminal it is, or, of a
// terminal that nobody knows, of the directory's first.
func (k *certificationKit) lent(cmd *cobra.Command, target certs.Role) (func(context.Context, points.TerminalID) (*certs.Gate, error), error) {
	read, err := k.known.configured(cmd)
	if err != nil || read == nil || read.TLS.Mode == config.TLSOff {
		return nil, err
	}
	lend, err := newLender(read)
	if err != nil {
		return nil, err
	}
	if target == certs.RoleIssuer {
		return func(context.Context, points.TerminalID) (*certs.Gate, error) {
			return lend.gate(certs.SwitchIdentity("certify"))
		}, nil
	}
	return func(ctx context.Context, terminal points.TerminalID) (*certs.Gate, error) {
		identity, err := lend.terminal(ctx, terminal)
		if err != nil {
			return nil, err
		}
		return lend.gate(certs.AcquirerIdentity(identity.Acquirer))
	}, nil
}

// read reads what is to be played and with what.
func (k *certificationKit) read() ([]*certify.Script, *certify.Parameters, error) {
	profile, err := certify.ParseProfile(k.profile)
	if err != nil {
		return nil, nil, fmt.Errorf("--profile: %w", err)
	}
	var folder fs.FS = certification.Files
	if k.scripts != "" {
		folder = os.DirFS(k.scripts)
	}
	scripts, err := certify.ReadScripts(folder, profile)
	if err != nil {
		return nil, nil, err
	}
	parameters, err := k.parameters(profile)
	if err != nil {
		return nil, nil, err
	}
	if parameters.Profile != profile {
		return nil, nil, fmt.Errorf("--params %s: it is for profile %s", k.params, parameters.Profile)
	}
	return scripts, parameters, nil
}

func (k *certificationKit) parameters(profile certify.Profile) (_ *certify.Parameters, err error) {
	var file fs.File
	if k.params != "" {
		file, err = os.Open(k.params)
	} else {
		name := map[certify.Profile]string{certify.ProfilePOS: "pos-demo.yaml", certify.ProfileIssuer: "issuer-sim.yaml"}[profile]
		file, err = certification.Files.Open("targets/" + name)
	}
	if err != nil {
		return nil, fmt.Errorf("--params: %w", err)
	}
	parameters, err := certify.ReadParameters(file)
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("%s: %w", k.params, err)
	}
	return parameters, nil
}

// report writes the report in every form that is asked for; a difference is exit
// status 1.
func (k *certificationKit) report(out io.Writer, report *certify.Report) error {
	for _, form := range []struct {
		path  string
		write func(io.Writer) error
	}{{k.html, report.WriteHTML}, {k.junit, report.WriteJUnit}} {
		if form.path == "" {
			continue
		}
		if err := writeFile(form.path, form.write); err != nil {
			return err
		}
	}
	var err error
	if k.asJSON {
		err = writeJSON(out, report)
	} else {
		err = report.WriteSummary(out)
	}
	if err == nil && report.Failed > 0 {
		return &statusError{status: exitFault}
	}
	return err
}

// writeFile writes a file and makes sure that all of it arrived.
func writeFile(path string, write func(io.Writer) error) error {
	file, err := os.Create(filepath.Clean(path))
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return errors.Join(write(file), file.Close())
}

// listedCase is a case as --list --json has it.
type listedCase struct {
	ID      string `json:"id"`
	Script  string `json:"script"` // its title
	Title   string `json:"title"`
	TitleZH string `json:"title_zh"`
}

func casesOf(scripts []*certify.Script) []listedCase {
	cases := []listedCase{}
	for _, script := range scripts {
		for i := range script.Cases {
			c := &script.Cases[i]
			cases = append(cases, listedCase{c.ID, script.Title, c.Title, c.TitleZH})
		}
	}
	return cases
}

// listCases prints the cases of scripts.
func listCases(w io.Writer, scripts []*certify.Script) error {
	t := new(table)
	for _, script := range scripts {
		t.row(script.Title, script.TitleZH)
		for i := range script.Cases {
			c := &script.Cases[i]
			t.row("  "+c.ID, c.Title, c.TitleZH)
		}
	}
	return t.write(w)
}
