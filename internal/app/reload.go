package app

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/points"
)

// Reloaded says what a reload has put in force.
type Reloaded struct {
	Links int `json:"links"`
	// Keys says that the keystore had changed.
	Keys bool `json:"keys,omitempty"`
	// Closed is how many connections were closed because their certificates, or the keys of
	// members that fetch, are no longer good.
	Closed int `json:"closed,omitempty"`
	// InForce names the keys of the configuration that were changed since the start or the
	// last reload and are in force now.
	InForce []string `json:"in_force,omitempty"`
	// Restart names the keys that are not as they were at the start and need another one.
	Restart []string `json:"restart,omitempty"`
	// Warnings tell of what was taken and does not work as it stands.
	Warnings []string `json:"warnings,omitempty"`
	// NextCutOver is when the business date or its cycle ends by itself; empty: it does not.
	NextCutOver string `json:"next_cut_over,omitempty"`
}

// heeded reports whether a reload puts the key of a configuration in force. Whatever is not
// named here needs a restart, so that a key that is added is told until somebody sees to it.
func (a *App) heeded(key string) bool {
	switch key {
	case "settlement.cutover", "settlement.cycles", "settlement.holidays", "settlement.weekend", "settlement.ack_by",
		"settlement.fetch_keys", "switch.participant_keys":
		return true
	case "log.level":
		return a.opts.Level != nil
	}
	for _, list := range []string{"links.", "terminals.", "settlement.delivery."} {
		if strings.HasPrefix(key, list) {
			return true
		}
	}
	return false
}

// needsRestart lists what a configuration has otherwise than at the start and only another
// start puts in force.
func (a *App) needsRestart(c *config.Config) []string {
	var keys []string
	for _, key := range config.Changed(&a.opts.Config, c) {
		if !a.heeded(key) {
			keys = append(keys, key)
		}
	}
	// The addresses on which hosts dial us were opened at the start, with or without TLS.
	type entrance struct {
		listen string
		tls    config.TLSMode
	}
	open := make(map[string]entrance)
	for i := range a.opts.Config.Links {
		if l := &a.opts.Config.Links[i]; l.Listen != "" {
			open[l.Name] = entrance{l.Listen, l.TLS}
		}
	}
	for i := range c.Links {
		l := &c.Links[i]
		was, is := open[l.Name], entrance{l.Listen, l.TLS}
		delete(open, l.Name)
		switch {
		case was.listen != is.listen:
			keys = append(keys, "links."+l.Name+".listen")
		case is.listen != "" && was.tls != is.tls:
			keys = append(keys, "links."+l.Name+".tls")
		}
	}
	for name := range open {
		keys = append(keys, "links."+name+".listen")
	}
	slices.Sort(keys)
	return keys
}

// Reload puts of a configuration that was read again in force what can be, and the
// directory as it is now, and says what has to wait for a restart. What a start would refuse
// is refused before anything is changed. No message is dropped: what is under way ends as it
// began.
func (a *App) Reload(ctx context.Context, c config.Config) (Reloaded, error) {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	planned, err := a.rehearse(&c)
	if err != nil {
		return Reloaded{}, err
	}
	ways, problems, err := a.ways(ctx, &c.Courier)
	if err != nil {
		return Reloaded{}, err
	}
	profiles, err := a.profiles(c.Links)
	if err != nil {
		return Reloaded{}, err
	}
	if err := a.reloadZones(&c); err != nil {
		return Reloaded{}, err
	}
	if err := a.refresh(ctx); err != nil {
		return Reloaded{}, err
	}
	if err := a.issuers.Reload(profiles); err != nil {
		return Reloaded{}, err
	}
	a.sw.Reload(a.parameters(c.Terminals))
	keys, err := a.reloadKeys(ctx)
	if err != nil {
		return Reloaded{}, err
	}
	closed, err := a.reloadGate()
	if err != nil {
		return Reloaded{}, err
	}
	cut, err := a.reloadDeliveries(&c.Courier, ways, problems)
	if err != nil {
		return Reloaded{}, err
	}
	a.planned.Store(planned)
	if a.opts.Level != nil {
		a.opts.Level.Set(c.Log.Level)
	}
	done := Reloaded{Links: len(profiles), Keys: keys, Closed: closed + cut, Restart: a.needsRestart(&c), Warnings: a.deliveryWarnings()}
	for _, key := range config.Changed(&a.current, &c) {
		if a.heeded(key) && !slices.Contains(done.Restart, key) {
			done.InForce = append(done.InForce, key)
		}
	}
	a.current = c
	if now, err := a.runs(ctx); err == nil { // Else it is told as one that is not known.
		if next, ok := planned.next(now); ok {
			done.NextCutOver = next.at.String()
		}
	}
	a.log.Info("reloaded", slog.Int("links", done.Links), slog.Bool("keys", done.Keys), slog.Any("in_force", append([]string{}, done.InForce...)),
		slog.Any("needs_restart", append([]string{}, done.Restart...)))
	return done, nil
}

// rehearse looks at everything that a start with a configuration would look at, so that
// what is taken now is taken then too. Of one member's files that are wrong a start warns,
// and so does a reload: see [App.ways].
func (a *App) rehearse(c *config.Config) (*plan, error) {
	planned, err := a.planOf(c)
	if err != nil {
		return nil, err
	}
	key, err := certs.ReadCardKey(c.CardKey)
	if err != nil {
		return nil, err
	}
	if key.CheckValue() != a.key.CheckValue() {
		return nil, fmt.Errorf("%w (%s)", ErrOtherKey, c.CardKey)
	}
	if _, err := os.Stat(c.Data); err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	if err := errors.Join(ownFolder(c.Data), a.rehearseKeys(&c.Keys), a.rehearseGate(c), a.rehearseAddresses(c)); err != nil {
		return nil, err
	}
	for i := range c.Listeners {
		if l := &c.Listeners[i]; l.Identity != "" {
			if _, err := certs.ParseIdentity(l.Identity); err != nil {
				return nil, fmt.Errorf("listener %s: %w", l.Name, err)
			}
		}
	}
	if c.Night.SignedBy != "" {
		if _, err := readSigner(c.Night.SignedBy); err != nil {
			return nil, fmt.Errorf("settlement.key: %w", err)
		}
	}
	if _, err := bankOf(&c.Cash); err != nil {
		return nil, err
	}
	if c.Courier.Fetch.Address != "" {
		if _, err := readSigner(c.Courier.Fetch.IdentityFile); err != nil {
			return nil, fmt.Errorf("settlement.fetch_host_key: %w", err)
		}
	}
	return planned, nil
}

// rehearseKeys opens a keystore that is there. A token stays as it is: it is in use.
func (a *App) rehearseKeys(c *config.Keys) error {
	if _, err := os.Stat(c.File); errors.Is(err, fs.ErrNotExist) {
		if a.keystore != nil {
			return fmt.Errorf("keys.file: %w; without it a start serves no terminal with keys: put it back", err)
		}
		return nil
	}
	if *c == a.opts.Config.Keys && strings.HasPrefix(c.KEK, "pkcs11:") {
		return nil
	}
	kek, err := certs.OpenKEK(c.KEK, rand.Reader)
	if err != nil {
		return fmt.Errorf("keys.kek: %w", err)
	}
	_, err = certs.OpenKeystore(c.File, kek, rand.Reader)
	if token, ok := kek.(io.Closer); ok {
		err = errors.Join(err, token.Close())
	}
	return err
}

// rehearseGate reads the certificates that a start would. One that the authority would
// issue is not issued.
func (a *App) rehearseGate(c *config.Config) error {
	if !c.AnyTLS() {
		return nil
	}
	authority, err := certs.OpenAuthority(c.TLS.Authority, a.opts.Clock)
	switch {
	case errors.Is(err, certs.ErrNoAuthority) && c.TLS.Certificate != "" && c.TLS.Trust != "":
		authority = nil // As openGate has it.
	case errors.Is(err, certs.ErrNoAuthority):
		return fmt.Errorf("%w --config ..., or set tls.mode to off", err)
	case err != nil:
		return err
	}
	if c.TLS.Certificate == "" {
		if c.TLS.Key != "" {
			return fmt.Errorf("app: tls.key is %s, and tls.certificate says of no certificate", c.TLS.Key)
		}
		text, err := os.ReadFile(c.TrustFile())
		if err == nil && !x509.NewCertPool().AppendCertsFromPEM(text) {
			err = fmt.Errorf("%s holds no certificate", c.TrustFile())
		}
		if err != nil {
			return fmt.Errorf("tls.trust: %w", err)
		}
		return nil
	}
	key := c.TLS.Key
	if key == "" {
		key = c.TLS.Certificate
	}
	_, err = certs.OpenGate(certs.GateOptions{
		Certificate: c.TLS.Certificate, Key: key, Trust: c.TrustFile(), Revoked: authority, TLS12: c.TLS.MinVersion == config.TLS12, Clock: a.opts.Clock,
	})
	return err
}

// addresses are those that a configuration listens on, by key.
func addresses(c *config.Config) map[string]string {
	all := map[string]string{"http.address": c.HTTP.Address, "admin.address": c.Admin.Address, "settlement.fetch_address": c.Courier.Fetch.Address}
	for i := range c.Listeners {
		all["listeners."+c.Listeners[i].Name+".address"] = c.Listeners[i].Address
	}
	for i := range c.Links {
		all["links."+c.Links[i].Name+".listen"] = c.Links[i].Listen
	}
	return all
}

// rehearseAddresses listens for a moment where a start would and this process does not.
func (a *App) rehearseAddresses(c *config.Config) error {
	ours := make(map[string]bool) // ports
	for _, address := range addresses(&a.opts.Config) {
		_, port, _ := net.SplitHostPort(address)
		ours[port] = true
	}
	var errs []error
	for key, address := range addresses(c) {
		_, port, err := net.SplitHostPort(address)
		if err != nil || port == "0" || ours[port] {
			continue
		}
		listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", address)
		if err != nil {
			errs = append(errs, taken(fmt.Errorf("%s: %w", key, err), key))
			continue
		}
		errs = append(errs, listener.Close())
	}
	return errors.Join(errs...)
}

func (a *App) reload(ctx context.Context, _ nothing) (Reloaded, error) {
	if a.opts.Reread == nil {
		return Reloaded{}, points.Errorf(points.FunctionDisabled, "reload: this process has no configuration file to read again")
	}
	c, err := a.opts.Reread()
	if err != nil {
		return Reloaded{}, points.Errorf(points.FormatError, "reload: %w", err)
	}
	return a.Reload(ctx, c)
}

// heedHangups reloads when the process is told to. A configuration that cannot be read
// changes nothing.
func (a *App) heedHangups(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-a.opts.Hangups:
			if _, err := a.reload(ctx, nothing{}); err != nil {
				a.log.Error("reload refused; what was in force stays", slog.String("error", err.Error()))
			}
		}
	}
}
