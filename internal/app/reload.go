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
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/internal/config"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/delivery"
	pointswitch "github.com/lianfen/lianfen/switch"
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
	next, err := a.succeeds(ctx, &c)
	if err != nil {
		return Reloaded{}, unchanged(err)
	}
	done, err := a.putInForce(ctx, c, next)
	if err != nil {
		err = points.Errorf(points.ReasonOf(err), "reload stopped on its way, so that a part of it is in force: mend this and reload again: %w", err)
	}
	return done, err
}

// unchanged says of what refuses a reload that it has changed nothing.
func unchanged(err error) error {
	return points.Errorf(points.ReasonOf(err), "reload refused, nothing was changed: %w", err)
}

// successor is what a configuration that was read again comes to.
type successor struct {
	planned  *plan
	ways     delivery.Ways
	problems []string
	profiles []pointswitch.LinkProfile
}

// succeeds looks at all that a start would look at, and changes nothing.
func (a *App) succeeds(ctx context.Context, c *config.Config) (s successor, err error) {
	if s.planned, err = a.rehearse(ctx, c); err != nil {
		return s, err
	}
	if s.ways, s.problems, err = a.ways(ctx, &c.Courier); err != nil {
		return s, err
	}
	if s.profiles, err = a.profiles(c.Links); err != nil {
		return s, err
	}
	return s, a.reloadZones(c) // The first that is put in force: it is refused, or done.
}

// putInForce puts in force what was looked at.
func (a *App) putInForce(ctx context.Context, c config.Config, next successor) (Reloaded, error) {
	if err := a.refresh(ctx); err != nil {
		return Reloaded{}, err
	}
	if err := a.issuers.Reload(next.profiles); err != nil {
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
	cut, err := a.reloadDeliveries(&c.Courier, next.ways, next.problems)
	if err != nil {
		return Reloaded{}, err
	}
	a.planned.Store(next.planned)
	if a.opts.Level != nil {
		a.opts.Level.Set(c.Log.Level)
	}
	done := Reloaded{Links: len(next.profiles), Keys: keys, Closed: closed + cut, Restart: a.needsRestart(&c), Warnings: a.deliveryWarnings()}
	for _, key := range config.Changed(&a.current, &c) {
		if a.heeded(key) && !slices.Contains(done.Restart, key) {
			done.InForce = append(done.InForce, key)
		}
	}
	a.current = c
	if now, err := a.runs(ctx); err == nil { // Else it is told as one that is not known.
		if cut, ok := next.planned.next(now); ok {
			done.NextCutOver = cut.at.String()
		}
	}
	a.log.Info("reloaded", slog.Int("links", done.Links), slog.Bool("keys", done.Keys), slog.Any("in_force", append([]string{}, done.InForce...)),
		slog.Any("needs_restart", append([]string{}, done.Restart...)))
	return done, nil
}

// rehearse looks at everything that a start with a configuration would look at, so that
// what is taken now is taken then too. Of one member's files that are wrong a start warns,
// and so does a reload: see [App.ways].
func (a *App) rehearse(ctx context.Context, c *config.Config) (*plan, error) {
	if err := readable(c); err != nil {
		return nil, err
	}
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
	if err := errors.Join(ownFolder(c.Data), a.rehearseKeys(&c.Keys), a.rehearseGate(c), a.rehearseAddresses(ctx, c)); err != nil {
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
		text, err := certs.ReadRegular(c.TrustFile(), certs.MaxFile)
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

// rehearseAddresses listens for a moment where a start would and this process does not, and
// refuses addresses of one configuration that cannot be listened on together.
func (a *App) rehearseAddresses(ctx context.Context, c *config.Config) error {
	ours := slices.Collect(maps.Values(addresses(&a.opts.Config)))
	planned := addresses(c)
	keys := slices.Sorted(maps.Keys(planned))
	var errs []error
	for i, key := range keys {
		address := planned[key]
		for _, other := range keys[:i] {
			if overlap(address, planned[other]) == overlaps {
				errs = append(errs, fmt.Errorf("%s: %s is taken by %s, which is %s; give one of them another port", key, address, other, planned[other]))
			}
		}
		_, port, err := net.SplitHostPort(address)
		inUse := func(other string) bool { return overlap(address, other) != apart } // by ourselves: a start finds it free.
		if err != nil || port == "0" || slices.ContainsFunc(ours, inUse) {
			continue
		}
		listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
		if err != nil {
			errs = append(errs, taken(fmt.Errorf("%s: %w", key, err), key))
			continue
		}
		errs = append(errs, listener.Close())
	}
	return errors.Join(errs...)
}

// overlapping says whether two addresses can be listened on at the same time.
type overlapping uint8

const (
	apart    overlapping = iota + 1
	overlaps             // who listens at the one keeps others from the other
	unknown              // a name's addresses are its server's to say
)

// overlap compares two addresses as the net package opens them: an unspecified host, be it
// empty, 0.0.0.0 or ::, is every address of either family; port 0 is never the same one.
func overlap(a, b string) overlapping {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	numberA, badA := strconv.ParseUint(portA, 10, 16)
	numberB, badB := strconv.ParseUint(portB, 10, 16)
	if errA != nil || errB != nil || badA != nil || badB != nil || numberA != numberB || numberA == 0 {
		return apart
	}
	ipA, nameA := hostIP(hostA)
	ipB, nameB := hostIP(hostB)
	switch {
	case !nameA && ipA.IsUnspecified(), !nameB && ipB.IsUnspecified():
		return overlaps
	case nameA != nameB, nameA && !strings.EqualFold(hostA, hostB):
		return unknown
	case nameA || ipA == ipB:
		return overlaps
	default:
		return apart
	}
}

// hostIP is the address that a host stands for, or that it is a name.
func hostIP(host string) (ip netip.Addr, isName bool) {
	switch strings.ToLower(host) {
	case "":
		return netip.IPv6Unspecified(), false
	case "localhost":
		return netip.AddrFrom4([4]byte{127, 0, 0, 1}), false // As net.Listen takes it.
	}
	ip, err := netip.ParseAddr(host)
	return ip.Unmap(), err != nil
}

func (a *App) reload(ctx context.Context, _ nothing) (Reloaded, error) {
	if a.opts.Reread == nil {
		return Reloaded{}, points.Errorf(points.FunctionDisabled, "reload: this process has no configuration file to read again")
	}
	c, err := a.opts.Reread()
	if err != nil {
		return Reloaded{}, unchanged(points.Errorf(points.FormatError, "%w", err))
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
