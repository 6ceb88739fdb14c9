package config

import (
	"net"
	"path/filepath"
	"slices"
	"strings"
)

// TLS says by which certificates the doors know their peers, and are known.
type TLS struct {
	Mode TLSMode // of every door and link that says nothing itself
	// Authority is the folder of the scheme's CA (lianfen certs init).
	Authority string
	// Certificate and Key are the files of our own chain and key; empty: the authority
	// issues and renews them.
	Certificate, Key string
	Trust            string   // file of the roots that peers are checked against; empty: the authority's
	Names            []string // DNS names and addresses that the authority puts into our certificate
	MinVersion       TLSVersion
	// Accept names a length of the authority's register that is taken although the journal
	// knows another one; 0: none.
	Accept int
}

// TLSMode says whether peers are spoken to over TLS.
type TLSMode string

// Modes.
const (
	TLSDefault TLSMode = "default" // of one door: as tls.mode says of all
	TLSMutual  TLSMode = "mutual"  // both sides show certificates
	TLSOff     TLSMode = "off"     // plain TCP
)

// TLSVersion is the oldest version that is spoken.
type TLSVersion string

// Versions.
const (
	TLS13 TLSVersion = "1.3"
	TLS12 TLSVersion = "1.2" // with AEAD suites only
)

func defaultTLS() TLS {
	return TLS{Mode: TLSMutual, Authority: "pki", Names: []string{"localhost", "127.0.0.1", "::1"}, MinVersion: TLS13}
}

func (t *TLS) settings() []setting {
	return []setting{
		choice("tls.mode", &t.Mode, "mutual: every door and link speaks TLS and both sides show certificates, unless it says off itself. off: plain TCP.", TLSMutual, TLSOff),
		path("tls.authority", &t.Authority, "Folder of the scheme's certification authority, which lianfen init and lianfen certs init make. "+
			"Its register says who is revoked."),
		optional(file("tls.certificate", &t.Certificate, "File of our own certificate and what stands between it and the root, as PEM. Empty: the authority issues it and renews it.")),
		optional(file("tls.key", &t.Key, "File of its key, readable by its owner only. Empty: it stands in the file of the certificate. Without tls.certificate it has no meaning.")),
		optional(file("tls.trust", &t.Trust, "File of the roots that peers are checked against, as PEM. Empty: the authority's root.")),
		hosts("tls.names", &t.Names, "DNS names and addresses at which we are reached, with commas between: the authority puts them into our certificate."),
		choice("tls.min_version", &t.MinVersion, "Oldest version of TLS; 1.2 is with AEAD suites only.", TLS13, TLS12),
		number("tls.accept", &t.Accept, 0, 1<<31-1, "Length in bytes of the authority's register that is taken although the journal knows another one, which the journal then says: "+
			"for when the newest copy is lost. 0: none."),
	}
}

// mode is that of one door.
func mode(key string, field *TLSMode, help string) setting {
	return choice(key, field, help, TLSDefault, TLSMutual, TLSOff)
}

func hosts(key string, field *[]string, help string) setting {
	return setting{
		key: key, help: help, expects: "names and addresses with commas between",
		set: func(text string) bool {
			all, ok := listed(text, func(part string) (string, bool) {
				return part, part != "" && !strings.ContainsAny(part, " /:") || net.ParseIP(part) != nil
			})
			if ok {
				*field = all
			}
			return ok
		},
		show:  func() string { return strings.Join(*field, ", ") },
		valid: func() bool { return true },
	}
}

func peerIdentity(key string, field *string, help string) setting {
	return setting{
		key: key, help: help, expects: "lianfen://acquirer/NUMBER or lianfen://acquirer/NUMBER/terminal/ID, or nothing",
		set:  func(text string) bool { *field = text; return true },
		show: func() string { return *field },
		valid: func() bool {
			return *field == "" || strings.HasPrefix(*field, "lianfen://acquirer/") // The rest is read where it is used.
		},
	}
}

// over says what a door or link does that says mode itself.
func (c *Config) over(mode TLSMode) bool {
	if mode == TLSDefault {
		mode = c.TLS.Mode
	}
	return mode == TLSMutual
}

// ListenerTLS reports whether a listener speaks TLS; LinkTLS and HTTPTLS the others.
func (c *Config) ListenerTLS(l *Listener) bool { return c.over(l.TLS) }

// LinkTLS reports whether a link speaks TLS.
func (c *Config) LinkTLS(l *Link) bool { return c.over(l.TLS) }

// HTTPTLS reports whether the door of metrics speaks TLS.
func (c *Config) HTTPTLS() bool { return c.over(c.HTTP.TLS) }

// AnyTLS reports whether anything speaks TLS, so that there have to be certificates.
func (c *Config) AnyTLS() bool {
	return c.Admin.Address != "" || c.HTTPTLS() ||
		slices.ContainsFunc(c.Listeners, func(l Listener) bool { return c.ListenerTLS(&l) }) ||
		slices.ContainsFunc(c.Links, func(l Link) bool { return c.LinkTLS(&l) })
}

// TrustFile is the file of the roots that peers are checked against.
func (c *Config) TrustFile() string {
	const authoritys = "trust.crt" // As package certs names it.
	if c.TLS.Trust != "" {
		return c.TLS.Trust
	}
	return filepath.Join(c.TLS.Authority, authoritys)
}

// tlsDisagreements returns what is wrong with values that are each valid.
func (c *Config) tlsDisagreements(report func(key, value, expected string)) {
	if _, _, err := net.SplitHostPort(c.HTTP.Address); err == nil && !c.HTTPTLS() && !c.HTTP.AllowRemote && !local(c.HTTP.Address) {
		report("http.address", c.HTTP.Address, "an address of this machine only, or http.tls: mutual, or http.allow_remote: true")
	}
	for i := range c.Listeners {
		if l := &c.Listeners[i]; l.Identity != "" && c.ListenerTLS(l) {
			report(c.listenerPrefix(i)+"identity", l.Identity, "nothing where peers show certificates, or "+c.listenerPrefix(i)+"tls: off")
		}
	}
}
