package config

import (
	"errors"
	"fmt"
	"log/slog"
	"time"
)

// FileName is the name of the configuration file in a folder that `lianfen
// init` prepared.
const FileName = "lianfen.yaml"

// Config is everything that can be set. The text of each key, with unit, range
// and default, is in the file that [Template] writes; field and key have the
// same name in their two spellings (Ledger.GroupMax is ledger.group_max).
type Config struct {
	// Data is the folder of the store.
	Data string
	// CardKey is the path of the file with the 32-byte key that card numbers
	// are stored under.
	CardKey string
	// TimeZone is the IANA name of the zone that business dates and terminals'
	// local times are told in.
	TimeZone string
	// CoreDumps lets the kernel write the process's memory to a file when it crashes.
	CoreDumps bool

	Listeners []Listener
	Links     []Link
	Terminals []Terminals
	Keys      Keys
	TLS       TLS
	Admin     Admin
	HTTP      HTTP
	Log       Log
	Ledger    Ledger
	Switch    Switch

	Settlement Settlement
	Night      Night
	Cash       Cash
	Courier    Courier
}

// Listener is one address that peers send frames to.
type Listener struct {
	// Name tells listeners apart in logs, metrics, and keys: the listener named
	// pos is set by listeners.pos.address.
	Name    string
	Address string // host:port; port 0 takes any free one
	Dialect Dialect

	MaxConnections int           // connections open at once
	MaxPerSource   int           // of them, from one address; 0: no limit
	MaxPerIdentity int           // of them, of one identity; 0: no limit
	Rate, Burst    int           // requests a second, and at once, of one identity or connection; 0: no limit, and as many as Rate
	FirstFrame     time.Duration // a connection that has never sent a frame is closed
	MaxInFlight    int           // requests unanswered at once, per connection
	IdleTimeout    time.Duration // a connection silent for longer is closed
	MaxFrame       int           // bytes after the length prefix

	TLS TLSMode // its own, or as [TLS].Mode
	// AllowRemote lets a listener without TLS bind to an address that other
	// machines can reach.
	AllowRemote bool
	// Identity is who is taken to be at the other end of a listener without TLS; empty:
	// nobody is asked, and a message is believed.
	Identity string
}

// Keys says where the keys of terminals are, and what a forged message costs.
type Keys struct {
	File string // path of the keystore; a switch without one has no terminals with keys
	KEK  string // where the key-encryption key is: file:, env: or pkcs11:
	// Accept names a generation of the keystore that is taken although the journal knows
	// another content; 0: none.
	Accept    int
	MACErrors int // wrong MACs in a row, after which a terminal has to sign on, a host to change keys
	// Overlap is for how long a host's keys are believed after others came in force.
	Overlap time.Duration
}

// Admin is the door of operator commands.
type Admin struct {
	Socket string // path of the unix socket
	// Access is who may open the socket: its owner, or the owner's group too.
	Access Access
	// Owner names the operator whom the socket's owner acts as without signing in,
	// except that it approves nothing; empty: nobody.
	Owner   string
	Session time.Duration // a sign-in lasts so long
	// Address is where operators who show a certificate reach the same door over
	// TLS, host:port; empty: they do not.
	Address string
}

// Access is who may open the admin socket.
type Access string

// Accesses.
const (
	AccessOwner Access = "owner"
	AccessGroup Access = "group"
)

// HTTP is the door of metrics and health.
type HTTP struct {
	Address     string  // host:port; port 0 takes any free one
	TLS         TLSMode // its own, or as [TLS].Mode
	AllowRemote bool    // without TLS
}

// Log says what is logged and how.
type Log struct {
	Level  slog.Level
	Format LogFormat
	Sample int // approved transactions per line; refusals are all logged
}

// Ledger bounds the journal's queue, groups, checkpoints and memory.
type Ledger struct {
	Queue              int           // commands waiting
	GroupMax           int           // commands per group commit
	GroupsInFlight     int           // groups applied and not yet durable
	CheckpointEvery    int           // journal records between two checkpoints
	CheckpointInterval time.Duration // the longest time between two checkpoints
	CacheAccounts      int           // accounts kept in memory
	TraceDays          int           // business dates whose TraceKeys are remembered
	TraceKeys          int           // at most so many of them
	BlockCacheMB       int           // store's block cache, MiB
}

// Switch bounds what is accepted from a peer, and for how long it is waited for.
type Switch struct {
	FreshnessAhead     time.Duration // how far a transmission time may lie ahead
	FreshnessBehind    time.Duration // and behind
	ParticipantRate    int           // requests a second of one acquirer; 0: no limit
	ParticipantRates   []ParticipantRate
	ParticipantKeys    []AcquirerKeys // of acquirers' hosts; who is not here shares none
	ShedTarget         time.Duration  // new requests are turned away when the oldest has waited for longer; 0: never
	ShedInterval       time.Duration  // for so long
	BadFramesPerMinute int            // the connection closes at this many
	DrainTimeout       time.Duration  // the wait for open requests at a stop
}

// Settlement says when business dates end, and on which days is paid.
type Settlement struct {
	// CutOver is the local time at which the business date ends; none: only operators end it.
	CutOver ClockTimes
	// Cycles are the local times at which a cycle ends and the date does not.
	Cycles ClockTimes
	// Holidays is the path of a file of days on which banks are closed, or open although it
	// is a weekend; empty: there are none.
	Holidays string
	Weekend  Weekdays // on which banks are closed
}

// ParticipantRate is the rate of one acquirer.
type ParticipantRate struct {
	Acquirer  uint64
	PerSecond int // 0: no limit
}

// Dialect names the message format of a listener.
type Dialect string

// Dialects.
const (
	DialectPOS  Dialect = "pos"  // terminals: TPDU, BCD
	DialectHost Dialect = "host" // institutions: ISO 8583:1987 in ASCII
)

// LogFormat is the form of a log line.
type LogFormat string

// Log formats.
const (
	LogText LogFormat = "text"
	LogJSON LogFormat = "json"
)

// Default returns the configuration of an empty file. Its paths are relative
// and its two listeners, pos and host, are reachable from this machine only.
func Default() Config {
	return Config{
		Data:     "store",
		CardKey:  "card.key",
		TimeZone: "Asia/Shanghai",
		Listeners: []Listener{
			defaultListener("pos", "127.0.0.1:8583", DialectPOS),
			defaultListener("host", "127.0.0.1:8584", DialectHost),
		},
		Keys:  Keys{File: "keys.store", KEK: kekFile + "kek.key", MACErrors: 3, Overlap: 5 * time.Minute},
		TLS:   defaultTLS(),
		Admin: Admin{Socket: "admin.sock", Access: AccessOwner, Session: 30 * time.Minute},
		HTTP:  HTTP{Address: "127.0.0.1:8580", TLS: TLSDefault},
		Log:   Log{Level: slog.LevelInfo, Format: LogText, Sample: 1},
		Ledger: Ledger{
			Queue:              65_536,
			GroupMax:           4_096,
			GroupsInFlight:     2,
			CheckpointEvery:    1_000_000,
			CheckpointInterval: time.Minute,
			CacheAccounts:      1_000_000,
			TraceDays:          8,
			TraceKeys:          50_000_000,
			BlockCacheMB:       256,
		},
		Switch: Switch{
			FreshnessAhead:     5 * time.Minute,
			FreshnessBehind:    24 * time.Hour,
			ShedTarget:         250 * time.Millisecond,
			ShedInterval:       500 * time.Millisecond,
			BadFramesPerMinute: 3,
			DrainTimeout:       10 * time.Second,
		},
		Settlement: Settlement{Weekend: Weekdays{time.Saturday, time.Sunday}},
		Night:      defaultNight(),
		Cash:       defaultCash(),
		Courier:    defaultCourier(),
	}
}

func defaultListener(name, address string, dialect Dialect) Listener {
	return Listener{
		Name:           name,
		Address:        address,
		Dialect:        dialect,
		MaxConnections: 10_000,
		MaxPerSource:   2_000,
		MaxPerIdentity: 1_000,
		FirstFrame:     time.Minute,
		MaxInFlight:    256,
		IdleTimeout:    5 * time.Minute,
		MaxFrame:       4_096,
		TLS:            TLSDefault,
	}
}

// Location returns the zone that TimeZone names. The zones are compiled in, so
// it does not depend on the machine.
func (c Config) Location() (*time.Location, error) {
	// Both are accepted by LoadLocation, and both would let the machine, or
	// nobody, decide what a business date is.
	if c.TimeZone == "" || c.TimeZone == "Local" {
		return nil, fmt.Errorf("config: time zone %q is not an IANA name", c.TimeZone)
	}
	location, err := time.LoadLocation(c.TimeZone)
	if err != nil {
		return nil, fmt.Errorf("config: time zone %q: %w", c.TimeZone, err)
	}
	return location, nil
}

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	// Source says where the value came from: a file with its line, the name of
	// an environment variable, "command line". It is empty for a default and
	// for a Config built in code.
	Source   string
	Key      string
	Value    string
	Expected string
}

// Error says the problem in one line.
func (p *Problem) Error() string {
	line := fmt.Sprintf("%s: %q, expected %s", p.Key, p.Value, p.Expected)
	if p.Source == "" {
		return line
	}
	return p.Source + ": " + line
}

// Validate returns nil, or every [Problem] of c joined in one error.
func (c Config) Validate() error {
	return join(c.problems())
}

func join(problems []*Problem) error {
	all := make([]error, len(problems))
	for i, problem := range problems {
		all[i] = problem
	}
	return errors.Join(all...)
}

// problems returns what is wrong with single values, then what is wrong with
// values that disagree with each other.
func (c Config) problems() []*Problem {
	var found []*Problem
	for _, s := range c.settings() {
		if !s.valid() {
			found = append(found, &Problem{Key: s.key, Value: s.show(), Expected: s.expects})
		}
	}
	return append(found, c.disagreements()...)
}
