package config

import (
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // a container without zone files must still know Asia/Shanghai.
)

// maxSocketPath is the longest path of a unix socket that every supported
// system binds: sun_path has 104 bytes on macOS, 108 on Linux, with a zero at
// the end.
const maxSocketPath = 103

// minTraceDays is today and the date before: right after a cut-over, today's
// alone would remember nothing.
const minTraceDays = 2

// listenerName is what a listener may be called: its name becomes part of a
// key, of an environment variable and of a metric's label.
var listenerName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

// setting is one key, bound to one field of one Config. File, environment and
// command line all go through the same set, so a value means the same
// everywhere.
type setting struct {
	key     string // dotted: ledger.queue
	help    string // for the file: plain words, with the unit
	expects string // what a value must be, for the file and for a Problem

	set   func(text string) bool // false: unreadable, and the field stays
	show  func() string          // the field as set reads it
	valid func() bool

	isPath   bool // relative to the file's folder
	isFile   bool // a path, and of a file that is read whole
	optional bool // it may be empty
}

// settings returns the table of keys bound to c, in the order of the file.
func (c *Config) settings() []setting {
	table := []setting{
		path("data", &c.Data, "Folder of the store: the journal and everything derived from it."),
		file("card_key", &c.CardKey, "File with the 32-byte key that card numbers are stored under. "+
			"Readable by its owner only (mode 0600); without it no card can be read again."),
		zone("time_zone", &c.TimeZone, "Zone that business dates and terminals' local times are told in."),
		flag("core_dumps", &c.CoreDumps, "Let the system write the process's memory to a file when it crashes, and debuggers attach. "+
			"Keys and card numbers are in it: only while one looks for a fault."),
	}
	for i := range c.Listeners {
		table = append(table, c.Listeners[i].settings(c.listenerPrefix(i))...)
	}
	for i := range c.Links {
		table = append(table, c.Links[i].settings(c.linkPrefix(i))...)
	}
	for i := range c.Terminals {
		table = append(table, c.Terminals[i].settings(c.terminalsPrefix(i))...)
	}
	table = append(table, c.TLS.settings()...)
	table = append(table,
		file("keys.file", &c.Keys.File, "Keystore: master keys of terminals and what their working keys and PINs are made with (lianfen keys). "+
			"Without such a file no terminal has keys."),
		source("keys.kek", &c.Keys.KEK, "Where the key-encryption key is that the keystore is sealed under. Keep it apart from the file and its copies."),
		number("keys.accept", &c.Keys.Accept, 0, 1<<31-1, "Generation of the keystore that is taken although the journal knows another content, which the journal then says: "+
			"for when the newest copy is lost. 0: none."),
		number("keys.mac_errors", &c.Keys.MACErrors, 1, 1_000, "Wrong message authentication codes in a row, after which a terminal has to sign on again, and a partner's host has to exchange keys."),
		duration("keys.overlap", &c.Keys.Overlap, time.Second, 24*time.Hour, "For how long the keys of a partner's host are believed after others have come in force."))
	table = append(table,
		socket("admin.socket", &c.Admin.Socket, "Unix socket of the operator commands (lianfen admin ...). "+
			"While no operator is enrolled, whoever may open it may do everything."),
		choice("admin.access", &c.Admin.Access, "Who may open the socket: owner, the user that the switch runs as, or group, its group too: "+
			"operators who are other users then sign in.", AccessOwner, AccessGroup),
		optional(name("admin.owner", &c.Admin.Owner, "Operator whom the socket's owner acts as without signing in, with that operator's roles, "+
			"except that nothing is approved so.")),
		duration("admin.session", &c.Admin.Session, time.Minute, 24*time.Hour, "How long a sign-in (lianfen admin login) lasts."),
		optional(address("admin.address", &c.Admin.Address, "Address of the same commands over mutual TLS, for operators with certificates. Empty: there is none.")),
		address("http.address", &c.HTTP.Address, "Address of /metrics, /healthz and /readyz, and over TLS of enrolment and the list of revoked certificates. "+
			"Over TLS the metrics are for operators' certificates; without, it asks nobody who they are."),
		mode("http.tls", &c.HTTP.TLS, "mutual or off for this door; default is as tls.mode."),
		flag("http.allow_remote", &c.HTTP.AllowRemote, "Let this door without TLS be reached from other machines."))
	table = append(table, c.Log.settings()...)
	table = append(table, c.Ledger.settings()...)
	table = append(table, c.Switch.settings()...)
	table = append(table, c.Settlement.settings()...)
	table = append(table, c.Night.settings()...)
	table = append(table, c.Cash.settings()...)
	return append(table, c.Courier.settings()...)
}

// listenerPrefix returns the beginning of the keys of listener i: its name, or
// its place counted from 1 while it has none.
func (c *Config) listenerPrefix(i int) string {
	if name := c.Listeners[i].Name; name != "" {
		return "listeners." + name + "."
	}
	return "listeners." + strconv.Itoa(i+1) + "."
}

func (l *Listener) settings(prefix string) []setting {
	return []setting{
		name(prefix+"name", &l.Name, "Name in logs, metrics and keys."),
		address(prefix+"address", &l.Address, "Address to listen on. Port 0 takes any free one."),
		choice(prefix+"dialect", &l.Dialect, "Message format: pos for terminals (TPDU, BCD), host for institutions (ASCII).",
			DialectPOS, DialectHost),
		number(prefix+"max_connections", &l.MaxConnections, 1, 1_000_000, "Connections open at once; a further one is closed on arrival."),
		number(prefix+"max_per_source", &l.MaxPerSource, 0, 1_000_000,
			"Of these, from one address (IPv6: from one /64); a further one is closed on arrival. 0: no limit."),
		number(prefix+"max_per_identity", &l.MaxPerIdentity, 0, 1_000_000, "Of these, under one certificate's identity. 0: no limit."),
		number(prefix+"rate", &l.Rate, 0, 10_000_000,
			"Requests a second of one identity, or of one connection without TLS; more are declined as overload. 0: no limit."),
		number(prefix+"burst", &l.Burst, 0, 10_000_000, "Requests that may come at once after a silence. 0: as many as rate."),
		number(prefix+"max_in_flight", &l.MaxInFlight, 1, 65_536,
			"Requests of one connection that may wait for their answer at once; reading pauses at the limit."),
		duration(prefix+"idle_timeout", &l.IdleTimeout, time.Second, 24*time.Hour, "A connection that sends nothing for this long is closed."),
		duration(prefix+"first_frame_timeout", &l.FirstFrame, time.Second, 24*time.Hour,
			"A connection that has never sent a whole message is closed after this long; sooner when its room is needed."),
		number(prefix+"max_frame", &l.MaxFrame, 128, 65_535, "Longest frame, in bytes after the length prefix; a longer one closes the connection."),
		mode(prefix+"tls", &l.TLS, "mutual or off for this listener; default is as tls.mode."),
		flag(prefix+"allow_remote", &l.AllowRemote, "Let a listener without TLS be reached from other machines."),
		peerIdentity(prefix+"identity", &l.Identity, "Who is taken to be at the other end of a listener without TLS. Empty: nobody is asked, and messages are believed."),
	}
}

func (l *Log) settings() []setting {
	return []setting{
		level("log.level", &l.Level, "The least that is logged."),
		choice("log.format", &l.Format, "Form of a line: text for people, json for machines.", LogText, LogJSON),
		number("log.sample", &l.Sample, 1, 1_000_000, "Log one of so many approved transactions; refusals and faults are all logged."),
	}
}

func (l *Ledger) settings() []setting {
	return []setting{
		number("ledger.queue", &l.Queue, 1, 1<<24, "Commands that may wait; at the limit new ones are declined as overload."),
		number("ledger.group_max", &l.GroupMax, 1, 1<<20, "Most commands that share one group commit. Not more than ledger.queue."),
		number("ledger.groups_in_flight", &l.GroupsInFlight, 1, 64, "Groups that may be applied and not yet durable."),
		number("ledger.checkpoint_every", &l.CheckpointEvery, 1, 1_000_000_000,
			"Journal records after which state is checkpointed; recovery replays no more than about this many."),
		duration("ledger.checkpoint_interval", &l.CheckpointInterval, time.Second, 24*time.Hour,
			"Longest time between two checkpoints while anything changes."),
		number("ledger.cache_accounts", &l.CacheAccounts, 1, 1_000_000_000, "Accounts kept in memory; the others are read from the store when they are needed."),
		number("ledger.trace_days", &l.TraceDays, minTraceDays, 31,
			"Business dates, today's included, whose requests are remembered, so that a repeat gets the first answer again "+
				"and a late reversal finds its original."),
		number("ledger.trace_keys", &l.TraceKeys, 1, math.MaxUint32,
			"At a cut-over the first of these dates are forgotten while there are more requests than this; never today and the date before, "+
				"nor what is not older than switch.freshness_behind and two hours. "+
				"About 20 bytes of memory each."),
		number("ledger.block_cache_mb", &l.BlockCacheMB, 1, 1<<20, "Memory for blocks read back from the store, in MiB."),
	}
}

func (s *Switch) settings() []setting {
	return []setting{
		duration("switch.freshness_ahead", &s.FreshnessAhead, time.Second, time.Hour,
			"How far a request's transmission time may lie in the future."),
		duration("switch.freshness_behind", &s.FreshnessBehind, time.Second, 30*24*time.Hour,
			"How far it may lie in the past. Not more than ledger.trace_days less one: what is older is no longer remembered."),
		number("switch.participant_rate", &s.ParticipantRate, 0, 10_000_000,
			"Requests a second of one acquirer, on all its connections; more are declined as overload. 0: no limit."),
		rates("switch.participant_rates", &s.ParticipantRates, "Acquirers with a rate of their own."),
		acquirerKeys("switch.participant_keys", &s.ParticipantKeys, "Acquirers whose hosts share keys with us: cmac, hmac-sha256 and x9.19 say how all their messages are authenticated, "+
			"and which PINs they send; pin leaves MACs out. Their zone master keys are in the keystore (zmk/acquirer/NUMBER)."),
		duration("switch.shed_target", &s.ShedTarget, 0, time.Minute,
			"New requests are declined as overload while the oldest one has waited longer than this for switch.shed_interval. "+
				"Reversals, advices and repeats are not. 0s: never."),
		duration("switch.shed_interval", &s.ShedInterval, time.Millisecond, time.Minute, "For how long it has to be so."),
		number("switch.bad_frames_per_minute", &s.BadFramesPerMinute, 1, 1_000,
			"A terminal's connection is closed after so many unreadable messages within a minute."),
		duration("switch.drain_timeout", &s.DrainTimeout, time.Second, 10*time.Minute,
			"How long a stop waits for requests that are being answered."),
	}
}

func name(key string, field *string, help string) setting {
	return setting{
		key: key, help: help, expects: "a name of a-z, 0-9 and -, at most 32 characters, a letter first",
		set:   func(text string) bool { *field = text; return true },
		show:  func() string { return *field },
		valid: func() bool { return listenerName.MatchString(*field) },
	}
}

func path(key string, field *string, help string) setting {
	return setting{
		key: key, help: help, expects: "a path, relative to the file's folder or absolute", isPath: true,
		set:   func(text string) bool { *field = text; return true },
		show:  func() string { return *field },
		valid: func() bool { return *field != "" && !strings.ContainsRune(*field, 0) },
	}
}

// file is a path of a file that is read whole.
func file(key string, field *string, help string) setting {
	s := path(key, field, help)
	s.isFile = true
	return s
}

// NamedFile is a file that a configuration names.
type NamedFile struct {
	Setting string // its key
	Path    string
	Member  bool // it is of one member's delivery alone
}

// Files are the files that a configuration names and that are read whole, the file of the
// key-encryption key among them, in the order of their settings.
func (c *Config) Files() []NamedFile {
	var all []NamedFile
	for _, s := range c.settings() {
		path := s.show()
		if s.key == "keys.kek" {
			var isFile bool
			if path, isFile = strings.CutPrefix(path, kekFile); !isFile {
				continue
			}
		} else if !s.isFile {
			continue
		}
		if path != "" {
			all = append(all, NamedFile{Setting: s.key, Path: path, Member: strings.HasPrefix(s.key, deliveryList+".")})
		}
	}
	return all
}

// kekFile stands before a path, as package certs reads sources of a key-encryption key.
const kekFile = "file:"

func source(key string, field *string, help string) setting {
	return setting{
		key: key, help: help, expects: "file:PATH, env:NAME or a pkcs11: URI",
		set:  func(text string) bool { *field = text; return true },
		show: func() string { return *field },
		valid: func() bool {
			for _, kind := range []string{kekFile, "env:", "pkcs11:"} {
				if rest, ok := strings.CutPrefix(*field, kind); ok {
					return rest != ""
				}
			}
			return false
		},
	}
}

func socket(key string, field *string, help string) setting {
	s := path(key, field, help)
	s.expects = fmt.Sprintf("a path of at most %d bytes once made absolute", maxSocketPath)
	notEmpty := s.valid
	s.valid = func() bool { return notEmpty() && len(*field) <= maxSocketPath }
	return s
}

func zone(key string, field *string, help string) setting {
	return setting{
		key: key, help: help, expects: "an IANA time zone such as Asia/Shanghai",
		set:  func(text string) bool { *field = text; return true },
		show: func() string { return *field },
		valid: func() bool {
			_, err := Config{TimeZone: *field}.Location()
			return err == nil
		},
	}
}

func address(key string, field *string, help string) setting {
	return setting{
		key: key, help: help, expects: "host:port, such as 127.0.0.1:8583",
		set:  func(text string) bool { *field = text; return true },
		show: func() string { return *field },
		valid: func() bool {
			_, port, err := net.SplitHostPort(*field)
			if err != nil {
				return false
			}
			_, err = strconv.ParseUint(port, 10, 16)
			return err == nil
		},
	}
}

// local reports whether only this machine can reach a valid host:port.
func local(hostPort string) bool {
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

func choice[T ~string](key string, field *T, help string, values ...T) setting {
	known := make(map[T]bool, len(values))
	words := make([]string, len(values))
	for i, value := range values {
		known[value] = true
		words[i] = string(value)
	}
	return setting{
		key: key, help: help, expects: "one of " + strings.Join(words, ", "),
		set: func(text string) bool {
			if known[T(text)] {
				*field = T(text)
			}
			return known[T(text)]
		},
		show:  func() string { return string(*field) },
		valid: func() bool { return known[*field] },
	}
}

func level(key string, field *slog.Level, help string) setting {
	levels := []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}
	return setting{
		key: key, help: help, expects: "one of debug, info, warn, error",
		set: func(text string) bool {
			for _, l := range levels {
				if text == strings.ToLower(l.String()) {
					*field = l
					return true
				}
			}
			return false
		},
		show:  func() string { return strings.ToLower(field.String()) },
		valid: func() bool { return slices.Contains(levels, *field) },
	}
}

func number(key string, field *int, low, high int, help string) setting {
	return setting{
		key: key, help: help, expects: fmt.Sprintf("a whole number from %d to %d", low, high),
		set: func(text string) bool {
			n, err := strconv.Atoi(text)
			if err != nil || n < low || n > high {
				return false
			}
			*field = n
			return true
		},
		show:  func() string { return strconv.Itoa(*field) },
		valid: func() bool { return *field >= low && *field <= high },
	}
}

func duration(key string, field *time.Duration, low, high time.Duration, help string) setting {
	return setting{
		key: key, help: help,
		expects: fmt.Sprintf("a duration from %s to %s, such as 90s or 1h30m", brief(low), brief(high)),
		set: func(text string) bool {
			d, err := time.ParseDuration(text)
			if err != nil || d < low || d > high {
				return false
			}
			*field = d
			return true
		},
		show:  func() string { return brief(*field) },
		valid: func() bool { return *field >= low && *field <= high },
	}
}

// brief renders a duration without the zero minutes and seconds at its end,
// as a person writes it: 5m, not 5m0s.
func brief(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

func flag(key string, field *bool, help string) setting {
	return setting{
		key: key, help: help, expects: "true or false",
		set: func(text string) bool {
			if text != "true" && text != "false" {
				return false
			}
			*field = text == "true"
			return true
		},
		show:  func() string { return strconv.FormatBool(*field) },
		valid: func() bool { return true },
	}
}

// disagreements returns what is wrong with values that are each valid.
func (c *Config) disagreements() []*Problem {
	var found []*Problem
	report := func(key, value, expected string) {
		found = append(found, &Problem{Key: key, Value: value, Expected: expected})
	}
	if len(c.Listeners) == 0 {
		report("listeners", "", "at least one listener")
	}
	names := make(map[string]bool)
	owner := map[string]string{c.HTTP.Address: "http"}
	for i, l := range c.Listeners {
		prefix := c.listenerPrefix(i)
		if l.Name != "" && names[l.Name] {
			report(prefix+"name", l.Name, "a name that no other listener has")
		}
		names[l.Name] = true
		_, port, err := net.SplitHostPort(l.Address)
		if err != nil {
			continue // reported as an invalid address.
		}
		if !c.ListenerTLS(&l) && !l.AllowRemote && !local(l.Address) {
			report(prefix+"address", l.Address,
				"an address of this machine only, such as 127.0.0.1:8583, or "+prefix+"tls: mutual, or "+prefix+"allow_remote: true")
		}
		if other, taken := owner[l.Address]; taken && port != "0" {
			report(prefix+"address", l.Address, "an address other than that of "+other)
		}
		owner[l.Address] = strings.TrimSuffix(prefix, ".")
	}
	c.Settlement.disagreements(report)
	c.Cash.disagreements(report)
	c.Courier.disagreements(report)
	c.Night.disagreements(report)
	c.tlsDisagreements(report)
	c.linkDisagreements(report)
	c.terminalDisagreements(report)
	if c.Ledger.Queue > 0 && c.Ledger.GroupMax > c.Ledger.Queue {
		report("ledger.group_max", strconv.Itoa(c.Ledger.GroupMax),
			fmt.Sprintf("at most ledger.queue, which is %d", c.Ledger.Queue))
	}
	// A request that is accepted must still be remembered when it is repeated:
	// otherwise the repeat would be applied a second time.
	remembered := time.Duration(c.Ledger.TraceDays-1) * 24 * time.Hour
	if c.Ledger.TraceDays >= minTraceDays && c.Switch.FreshnessBehind > remembered {
		report("switch.freshness_behind", brief(c.Switch.FreshnessBehind),
			fmt.Sprintf("at most %s, the time that ledger.trace_days %d is certain to cover", brief(remembered), c.Ledger.TraceDays))
	}
	return found
}

// rates is a list of acquirers' rates: 10000002=500, 10000003=50.
func rates(key string, field *[]ParticipantRate, help string) setting {
	return setting{
		key: key, help: help, expects: "none, or ACQUIRER=RATE with commas between, such as 10000002=500; each acquirer once",
		set: func(text string) bool {
			var found []ParticipantRate
			if text == "none" {
				text = ""
			}
			for part := range strings.SplitSeq(text, ",") {
				if part = strings.TrimSpace(part); part == "" {
					continue
				}
				who, rate, _ := strings.Cut(part, "=")
				id, err := strconv.ParseUint(who, 10, 64)
				perSecond, badRate := strconv.ParseUint(rate, 10, 24)
				if err != nil || badRate != nil {
					return false
				}
				found = append(found, ParticipantRate{id, int(perSecond)})
			}
			*field = found
			return true
		},
		show: func() string {
			if len(*field) == 0 {
				return "none"
			}
			parts := make([]string, len(*field))
			for i, r := range *field {
				parts[i] = fmt.Sprintf("%d=%d", r.Acquirer, r.PerSecond)
			}
			return strings.Join(parts, ", ")
		},
		valid: func() bool {
			seen := make(map[uint64]bool)
			for _, r := range *field {
				if r.Acquirer == 0 || seen[r.Acquirer] || r.PerSecond < 0 {
					return false
				}
				seen[r.Acquirer] = true
			}
			return true
		},
	}
}
