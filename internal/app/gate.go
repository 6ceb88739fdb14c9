package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/switch/link"
)

// switchName is what we are called in our own certificate.
const switchName = "lianfen"

// gatePause is the time between two looks at what certificates depend on: an operator
// who revokes without telling us is heeded within it.
const gatePause = time.Second

// Looks of the gate's round.
const (
	looksAfterChange = 3  // so many, for connections that were between handshake and opening
	looksForExpiry   = 10 // every so many looks, whether somebody's time is over
	looksForRenewal  = 60 // ... whether ours is near its end
)

// openGate makes the gate of all doors that speak TLS; without any there is none.
func (a *App) openGate() (err error) {
	c := &a.opts.Config
	if !c.AnyTLS() {
		return nil
	}
	a.authority, err = certs.OpenAuthority(c.TLS.Authority, a.opts.Clock)
	switch {
	case errors.Is(err, certs.ErrNoAuthority) && c.TLS.Certificate != "" && c.TLS.Trust != "":
		a.authority = nil // Somebody else's; nobody is revoked here.
	case errors.Is(err, certs.ErrNoAuthority):
		return fmt.Errorf("%w --config ..., or set tls.mode to off", err)
	case err != nil:
		return err
	}
	certificate, key := c.TLS.Certificate, c.TLS.Key
	switch {
	case certificate == "" && key != "":
		return fmt.Errorf("app: tls.key is %s, and tls.certificate says of no certificate", key)
	case certificate == "":
		if certificate, err = a.ownCertificate(); err != nil {
			return err
		}
		key = certificate
	case key == "":
		key = certificate
	}
	a.gate, err = certs.OpenGate(certs.GateOptions{
		Certificate: certificate, Key: key, Trust: c.TrustFile(), Revoked: a.authority, TLS12: c.TLS.MinVersion == config.TLS12,
		Clock: a.opts.Clock, Registerer: a.registry,
	})
	return err
}

// ownCertificate has the authority see to our own certificate.
func (a *App) ownCertificate() (string, error) {
	path, made, err := a.authority.Own(certs.Order{Identity: certs.SwitchIdentity(switchName), Names: a.opts.Config.TLS.Names, By: certs.BySwitch})
	if err != nil {
		return "", fmt.Errorf("app: our own certificate: %w", err)
	}
	if made {
		a.log.Info("certificate issued to ourselves", slog.String("file", path))
	}
	return path, nil
}

// behindGate completes the options of a door for peers of these roles; identity is who
// is there where there is no TLS.
func (a *App) behindGate(opts link.Options, tls bool, identity string, roles ...certs.Role) (link.Options, error) {
	if tls {
		opts.TLS, opts.Admit, opts.Refused, opts.Identify = a.gate.Server(false, roles...), a.gate.Admit, a.gate.Refused, certs.IdentityText
		return opts, nil
	}
	if identity != "" {
		who, err := certs.ParseIdentity(identity)
		if err != nil {
			return opts, err
		}
		opts.Peer = certs.PlainPeer(who)
	}
	return opts, nil
}

// heedGate reads certificates, trust and revocations anew as they change, renews our own
// certificate, and closes the connections of those who may no longer be there.
func (a *App) heedGate(ctx context.Context) error {
	if a.gate == nil {
		return nil
	}
	tick := time.NewTicker(gatePause)
	defer tick.Stop()
	var failure string // that was logged last: a file that stays wrong is not logged each second
	again := 0
	for look := 1; ; look++ {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if a.opts.Config.TLS.Certificate == "" && look%looksForRenewal == 0 {
			if _, err := a.ownCertificate(); err != nil {
				a.log.Error("our certificate was not renewed", slog.String("error", err.Error()))
			}
		}
		changed, err := a.gate.Reload()
		if err == nil {
			failure = ""
		} else if err.Error() != failure {
			failure = err.Error()
			a.log.Error("certificates were not read anew; what was in force stays", slog.String("error", failure))
		}
		if changed {
			again = looksAfterChange
		}
		if again > 0 || look%looksForExpiry == 0 {
			a.expel()
			again = max(0, again-1)
		}
	}
}

// reloadGate reads everything anew at once, and says how many connections were closed.
func (a *App) reloadGate() (closed int, err error) {
	if a.gate == nil {
		return 0, nil
	}
	if _, err := a.gate.Reload(); err != nil {
		return 0, err
	}
	return a.expel(), nil
}

// expel closes the connections of peers that the gate no longer admits. Who is revoked
// goes at once; whose certificate is over gets the answers that are owed.
func (a *App) expel() (closed int) {
	visit := func(c *link.Conn) {
		peer, ok := c.Peer().(*certs.Peer)
		if !ok {
			return
		}
		err := a.gate.Admits(peer)
		switch {
		case err == nil || !c.Load().Open && errors.Is(err, certs.ErrExpired):
			return
		case errors.Is(err, certs.ErrExpired):
			c.CloseAfterFlush(err)
		default:
			c.Close(err)
		}
		closed++
		a.log.Warn("connection closed: its certificate is no longer good", slog.String("identity", peer.Identity.String()),
			slog.String("serial", peer.Serial()), slog.String("peer", c.RemoteAddr().String()), slog.String("cause", err.Error()))
	}
	for _, l := range slices.Concat(a.entrances, a.listeners) {
		l.server.Each(visit)
	}
	a.issuers.Each(visit)
	return closed
}

// CertificateState is how the certificates of the process are.
type CertificateState struct {
	Identity certs.Identity `json:"identity"` // ours
	Expiries []certs.Expiry `json:"expiries"`
}

// Days left at which people are warned. Our own certificate is renewed long before.
const (
	warnOwn     = 7
	warnIssuing = 60
	warnRoot    = 365
)

// certificates tells how they are, and what is to be done about them.
func (a *App) certificates() (state *CertificateState, warnings []string) {
	if a.gate == nil {
		return nil, nil
	}
	own, err := a.gate.Own()
	if err != nil {
		warnings = append(warnings, "our own certificate names no identity: "+err.Error())
	}
	state = &CertificateState{Identity: own, Expiries: a.gate.Expiries()}
	todo := map[string]struct {
		days float64
		do   string
	}{
		"own":     {warnOwn, "it should have been renewed; see the log, or put a new one into tls.certificate"},
		"issuing": {warnIssuing, "make a new issuing CA: lianfen certs init --issuing"},
		"root":    {warnRoot, "add a new root to the trust of all, then issue under it"},
	}
	for _, e := range state.Expiries {
		if e.DaysLeft < todo[e.Certificate].days {
			warnings = append(warnings, fmt.Sprintf("the %s certificate ends in %.1f days, at %s: %s", e.Certificate, e.DaysLeft, e.Until.Format(time.RFC3339), todo[e.Certificate].do))
		}
	}
	if a.authority != nil {
		if path := a.authority.RootKey(); path != "" {
			warnings = append(warnings, fmt.Sprintf("the root's key %s is still on this machine: whoever has it and its passphrase can be anybody; take both away, to two places: "+
				"lianfen certs export root-key --out ... --remove", path))
		}
	}
	return state, warnings
}

// peerKey is the key of a request's [certs.Peer] in its context.
type peerKey struct{}

// PeerOf is who has sent a request over TLS; nil: it came over the unix socket, over
// plain HTTP, or without a certificate.
func PeerOf(ctx context.Context) *certs.Peer {
	peer, _ := ctx.Value(peerKey{}).(*certs.Peer)
	return peer
}

// identified puts the peer of each request into its context. A connection may be older
// than a revocation, so each request is looked at.
func (a *App) identified(serve http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
			serve.ServeHTTP(w, r)
			return
		}
		peer, err := a.gate.Peer(r.TLS)
		if err != nil {
			w.Header().Set("Connection", "close")
			refuse(w, points.Errorf(points.ForeignIdentity, "%w", err))
			return
		}
		serve.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), peerKey{}, peer)))
	})
}

// forOperators serves those who have shown an operator's certificate, where TLS is
// spoken at all.
func forOperators(serve http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS != nil {
			if peer := PeerOf(r.Context()); peer == nil || peer.Identity.Role != certs.RoleOperator {
				refuse(w, points.Errorf(points.ForeignIdentity, "this needs an operator's certificate: lianfen certs issue --operator NAME"))
				return
			}
		}
		serve.ServeHTTP(w, r)
	})
}

// lineLog passes what net/http says on to the log, a line each.
type lineLog struct{ log *slog.Logger }

// Write takes one line.
func (l lineLog) Write(line []byte) (int, error) {
	l.log.Info("http", slog.String("says", strings.TrimSpace(string(line))))
	return len(line), nil
}

// httpLog is where an HTTP server says what went wrong on a connection.
func (a *App) httpLog() io.Writer {
	if a.gate == nil {
		return lineLog{a.log}
	}
	return a.gate.RefusalLog(lineLog{a.log})
}

// listenRemoteAdmin opens the operators' door over TLS, where there is to be one.
func (a *App) listenRemoteAdmin(ctx context.Context) (err error) {
	address := a.opts.Config.Admin.Address
	if address == "" {
		return nil
	}
	if a.remote, err = new(net.ListenConfig).Listen(ctx, "tcp", address); err != nil {
		return taken(fmt.Errorf("admin: listen on %s: %w", address, err), "admin.address")
	}
	return nil
}
