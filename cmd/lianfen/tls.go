package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"sync"

	"github.com/spf13/cobra"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/app"
	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/internal/sim"
	"github.com/lianfen/lianfen/points"
)

// credentials are by what a command that connects to somebody is known: files that its
// flags name, or what the authority in the switch's configuration lends it.
type credentials struct {
	cert, key, ca string
	file          string // of the configuration
}

func (c *credentials) add(cmd *cobra.Command) {
	f := cmd.PersistentFlags()
	f.StringVar(&c.cert, "tls-cert", "", "certificate to show, as PEM; turns TLS on")
	f.StringVar(&c.key, "tls-key", "", "file of its key (default: the certificate's file)")
	f.StringVar(&c.ca, "tls-ca", "", "roots that the other side is checked against, as PEM")
	f.StringVar(&c.file, "config", config.FileName, "configuration of a switch on this machine: its addresses and its authority")
	_ = cmd.MarkPersistentFlagFilename("config", "yaml") // Only completion would miss it.
}

// explicit reports whether the flags name the files.
func (c *credentials) explicit() (bool, error) {
	switch {
	case c.cert == "" && c.ca == "" && c.key == "":
		return false, nil
	case c.cert == "" || c.ca == "":
		return false, usage("--tls-cert and --tls-ca belong together")
	}
	return true, nil
}

// configured reads the switch's configuration, where there is one: nil if nobody has
// named it and there is none in this folder.
func (c *credentials) configured(cmd *cobra.Command) (*config.Config, error) {
	read, err := config.Load(c.file, os.Environ(), nil)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !cmd.Flags().Changed("config"):
		return nil, nil //nolint:nilnil // there is none, which is no error.
	case err != nil:
		return nil, usage("%w", err)
	}
	return &read, nil
}

// gateOf makes a gate of a certificate's files.
func gateOf(certificate, key, trust string) (*certs.Gate, error) {
	if key == "" {
		key = certificate
	}
	return certs.OpenGate(certs.GateOptions{Certificate: certificate, Key: key, Trust: trust, Clock: now})
}

// lender lends certificates of the authority in a switch's configuration to what plays
// somebody on the switch's own machine. Whoever can read the authority's key can be
// anybody, so nothing is given away.
type lender struct {
	config    *config.Config
	authority *certs.Authority

	mu        sync.Mutex // guards what follows
	directory *app.Directory
	gates     map[certs.Identity]*certs.Gate
}

func newLender(c *config.Config) (*lender, error) {
	authority, err := certs.OpenAuthority(c.TLS.Authority, now)
	if err != nil {
		return nil, err
	}
	return &lender{config: c, authority: authority, gates: make(map[certs.Identity]*certs.Gate)}, nil
}

// gate is that of a holder of i.
func (l *lender) gate(i certs.Identity, names ...string) (*certs.Gate, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if gate := l.gates[i]; gate != nil {
		return gate, nil
	}
	path, _, err := l.authority.Own(certs.Order{Identity: i, Names: names, By: certs.ByLoan + userName()})
	if err != nil {
		return nil, err
	}
	gate, err := gateOf(path, path, l.config.TrustFile())
	l.gates[i] = gate
	return gate, err
}

// terminal is the identity of a terminal: its acquirer is the one that the directory
// says, or, of a terminal that is not there, the first.
func (l *lender) terminal(ctx context.Context, id points.TerminalID) (certs.Identity, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.directory == nil {
		directory, err := l.participants(ctx)
		if err != nil {
			return certs.Identity{}, fmt.Errorf("who is terminal %v's acquirer? %w", id, err)
		}
		l.directory = &directory
	}
	return terminalOf(l.directory, id)
}

// participants is what the running switch has in its directory. Where operators sign in
// it is asked as whoever has, in the file that lianfen admin login keeps.
func (l *lender) participants(ctx context.Context) (app.Directory, error) {
	socket := l.config.Admin.Socket
	token, err := new(admin).token(socket)
	if err != nil {
		return app.Directory{}, err
	}
	return app.NewClient(socket).In(token).Directory(ctx)
}

func terminalOf(d *app.Directory, id points.TerminalID) (certs.Identity, error) {
	for _, terminal := range d.Terminals {
		if terminal.ID != id {
			continue
		}
		for _, merchant := range d.Merchants {
			if merchant.ID == terminal.Merchant {
				return certs.TerminalIdentity(merchant.Acquirer, id), nil
			}
		}
	}
	if len(d.Acquirers) == 0 {
		return certs.Identity{}, fmt.Errorf("terminal %v: the directory has neither it nor any acquirer; load one: lianfen admin load", id)
	}
	return certs.TerminalIdentity(d.Acquirers[0].ID, id), nil
}

// dialTLS connects and shakes hands.
func dialTLS(ctx context.Context, address string, secure *tls.Config) (net.Conn, error) {
	conn, err := (&tls.Dialer{Config: secure}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("TLS with %s: %w", address, err)
	}
	return conn, nil
}

// terminals is how simulated terminals connect, and where to; nil and "" where flags
// and configuration say nothing of it.
func (c *credentials) terminals(cmd *cobra.Command) (dial sim.Dial, address string, err error) {
	explicit, err := c.explicit()
	if err != nil {
		return nil, "", err
	}
	if explicit {
		gate, err := gateOf(c.cert, c.key, c.ca)
		if err != nil {
			return nil, "", err
		}
		if read, err := c.configured(cmd); err == nil && read != nil { // Else --addr, or what it is by default.
			if l := terminalsDoor(read); l != nil {
				address = l.Address
			}
		}
		return func(ctx context.Context, address string, _ sim.Identity) (net.Conn, error) {
			return dialTLS(ctx, address, gate.Client(certs.OfRole(certs.RoleSwitch)))
		}, address, nil
	}
	read, err := c.configured(cmd)
	if err != nil || read == nil {
		return nil, "", err
	}
	l := terminalsDoor(read)
	if l == nil {
		return nil, "", nil
	}
	if !read.ListenerTLS(l) {
		return nil, l.Address, nil
	}
	lend, err := newLender(read)
	if err != nil {
		return nil, "", err
	}
	return lend.dial, l.Address, nil
}

// terminalsDoor is the listener for terminals; nil: there is none.
func terminalsDoor(read *config.Config) *config.Listener {
	at := slices.IndexFunc(read.Listeners, func(l config.Listener) bool { return l.Dialect == config.DialectPOS })
	if at < 0 {
		return nil
	}
	return &read.Listeners[at]
}

// dial connects as a terminal.
func (l *lender) dial(ctx context.Context, address string, who sim.Identity) (net.Conn, error) {
	identity, err := l.terminal(ctx, who.Terminal)
	if err != nil {
		return nil, err
	}
	gate, err := l.gate(identity)
	if err != nil {
		return nil, err
	}
	return dialTLS(ctx, address, gate.Client(certs.OfRole(certs.RoleSwitch)))
}

// issuerGate is the gate of a simulated issuer's host; nil: it speaks plain TCP.
func (c *credentials) issuerGate(cmd *cobra.Command, id points.IssuerID) (*certs.Gate, error) {
	explicit, err := c.explicit()
	if err != nil {
		return nil, err
	}
	if explicit {
		return gateOf(c.cert, c.key, c.ca)
	}
	read, err := c.configured(cmd)
	if err != nil || read == nil || !read.AnyTLS() || read.TLS.Mode == config.TLSOff {
		return nil, err
	}
	lend, err := newLender(read)
	if err != nil {
		return nil, err
	}
	return lend.gate(certs.IssuerIdentity(id), read.TLS.Names...)
}
