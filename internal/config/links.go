package config

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Link is the way to a host that keeps the ledgers of issuers. The directory's issuers
// name it (lianfen admin issuer --link).
type Link struct {
	// Name tells links apart in logs, metrics, and keys, as that of a [Listener] does.
	Name string
	// Dial are the addresses of the host in order of preference.
	Dial []Endpoint
	// Listen is where the host dials us; empty: it does not.
	Listen      string
	TLS         TLSMode
	Issuers     []uint64 // whose certificates the host may show; none: those that the directory has on this link
	AllowRemote bool     // of Listen, as of a [Listener]
	Connections int      // to each address
	Institution uint64

	Deadline     time.Duration
	MaxInFlight  int
	SignOn       time.Duration
	EchoAfter    time.Duration
	EchoDeadline time.Duration
	LostEchoes   int
	Redial       time.Duration
	RedialMost   time.Duration

	BreakerFailures int
	BreakerRest     time.Duration

	Retry         []time.Duration
	GiveUp        time.Duration
	RetryInFlight int
	UnknownEnds   bool

	SwapGiveUp      string        // GiveUpFence or GiveUpManual
	SwapGiveUpAfter time.Duration // of a swap's leg without a certain answer

	Keys    PartnerKeys // shared with the host
	Zone    uint64      // the issuer under whose number the keystore has them
	KeyLife time.Duration

	StandIn StandIn
}

// How the leg of a swap at a link's issuer is given up.
const (
	GiveUpFence  = "fence"
	GiveUpManual = "manual"
)

// Endpoint is an address of a host.
type Endpoint struct {
	Address  string
	Priority int // from 1; lower ones first
	Weight   int // share among those of the same priority
}

// StandIn says what is approved in the place of a host that cannot be reached.
type StandIn struct {
	Programs  []int // none: nothing is
	MaxAmount int   // of one redemption; 0: no limit
	MaxDay    int   // per card, programme and business date; 0: no limit
	MaxCount  int   // likewise
	// Refused is the path of a file with card numbers, one a line, that are never
	// approved here; empty: none.
	Refused string
	// AfterTimeout approves also what the host was asked and has not answered.
	AfterTimeout bool
}

func defaultLink() Link {
	return Link{
		TLS: TLSDefault, Connections: 2, Deadline: 15 * time.Second, MaxInFlight: 256,
		SignOn: 10 * time.Second, EchoAfter: 30 * time.Second, EchoDeadline: 10 * time.Second, LostEchoes: 3,
		Redial: time.Second, RedialMost: time.Minute, BreakerFailures: 5, BreakerRest: 10 * time.Second,
		Retry:  []time.Duration{5 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute},
		GiveUp: 24 * time.Hour, RetryInFlight: 16, SwapGiveUp: GiveUpFence, SwapGiveUpAfter: 24 * time.Hour, Keys: KeysOff, KeyLife: 24 * time.Hour,
	}
}

// linkPrefix returns the beginning of the keys of link i, as listenerPrefix does.
func (c *Config) linkPrefix(i int) string {
	if name := c.Links[i].Name; name != "" {
		return "links." + name + "."
	}
	return "links." + strconv.Itoa(i+1) + "."
}

const mostAmount = 999_999_999_999

func (l *Link) settings(prefix string) []setting {
	table := []setting{
		name(prefix+"name", &l.Name, "Name in logs, metrics and keys; the directory's issuers name it as their link."),
		endpoints(prefix+"dial", &l.Dial, "Addresses of the host that we dial, in order of preference, with commas between. "+
			"A plus joins addresses that share the traffic, *3 gives one three times the share. Empty: the host dials us."),
		optional(address(prefix+"listen", &l.Listen, "Address where the host dials us. Empty: it does not.")),
		mode(prefix+"tls", &l.TLS, "mutual or off, both ways; default is as tls.mode."),
		issuers(prefix+"issuers", &l.Issuers, "Issuers of whom the host shows a certificate, with commas between. Empty: one that the directory has on this link."),
		flag(prefix+"allow_remote", &l.AllowRemote, "Let the listening address without TLS be reached from other machines."),
		number(prefix+"connections", &l.Connections, 1, 64, "Connections to each address that we dial."),
		institution(prefix+"institution", &l.Institution, "What we are called in DE33, and in DE32 of network messages; 0 sends neither."),
		duration(prefix+"deadline", &l.Deadline, 100*time.Millisecond, 5*time.Minute, "For an answer. Without one the acquirer hears 68, and the host is owed a reversal."),
		number(prefix+"max_in_flight", &l.MaxInFlight, 1, 65_536, "Messages of one connection that may wait for their answer."),
		duration(prefix+"sign_on", &l.SignOn, 100*time.Millisecond, 5*time.Minute, "For connecting, and for the sign-on after it."),
		duration(prefix+"echo_after", &l.EchoAfter, time.Second, 24*time.Hour, "A silence after which the host is asked whether it is there."),
		duration(prefix+"echo_deadline", &l.EchoDeadline, 100*time.Millisecond, 5*time.Minute, "For its answer."),
		number(prefix+"lost_echoes", &l.LostEchoes, 1, 100, "So many unanswered echoes in a row close a connection."),
		duration(prefix+"redial", &l.Redial, 10*time.Millisecond, time.Hour, "Before a lost connection is dialled again; doubles each time."),
		duration(prefix+"redial_most", &l.RedialMost, 10*time.Millisecond, 24*time.Hour, "And the longest it becomes. Not less than redial."),
		number(prefix+"breaker_failures", &l.BreakerFailures, 1, 10_000, "So many messages in a row without an answer, and an address gets none for a while."),
		duration(prefix+"breaker_rest", &l.BreakerRest, 10*time.Millisecond, time.Hour, "Then one message tries it again."),
		durations(prefix+"retry", &l.Retry, "Between two sendings of a reversal or advice, with commas between; the last one stays."),
		duration(prefix+"give_up", &l.GiveUp, time.Second, 31*24*time.Hour, "A reversal or advice not acknowledged for so long is left to the operators (lianfen admin owed)."),
		number(prefix+"retry_in_flight", &l.RetryInFlight, 1, 65_536, "Reversals and advices that may wait for their answer."),
		flag(prefix+"unknown_ends", &l.UnknownEnds, "The host keeps no reversals for originals that have not come yet: 25 to a reversal ends it."),
		choice(prefix+"swap_give_up", &l.SwapGiveUp, "fence has the issuer cancel or reverse the leg of a swap that it has not answered for, and refuse it for ever; manual leaves it to the operators, where the issuer does not do that.", GiveUpFence, GiveUpManual),
		duration(prefix+"swap_give_up_after", &l.SwapGiveUpAfter, time.Minute, 31*24*time.Hour, "A swap's leg without a certain answer for so long is given up; after as long again, operators decide too."),
		choice(prefix+"keys", &l.Keys, "Keys shared with the host: cmac, hmac-sha256 and x9.19 say how all messages are authenticated, pin leaves MACs out, off shares none.", KeysOff, KeysCMAC, KeysHMAC, KeysRetail, KeysPIN),
		institution(prefix+"zone", &l.Zone, "Issuer under whose number the keystore has the host's zone master key (zmk/issuer/NUMBER); needed where keys are shared."),
		duration(prefix+"key_life", &l.KeyLife, 0, 366*24*time.Hour, "Keys with the host that are older are exchanged for others; 0s: only when it asks."),
	}
	return append(table, l.StandIn.settings(prefix)...)
}

func (s *StandIn) settings(prefix string) []setting {
	return []setting{
		programs(prefix+"stand_in_programs", &s.Programs, "Programmes in which redemptions are approved while the host cannot be reached, with commas between. Empty: none."),
		number(prefix+"stand_in_max_amount", &s.MaxAmount, 0, mostAmount, "Most points of one such redemption; 0 is no limit."),
		number(prefix+"stand_in_max_day", &s.MaxDay, 0, mostAmount, "Most points for one card, programme and business date; 0 is no limit."),
		number(prefix+"stand_in_max_count", &s.MaxCount, 0, 1_000_000, "Most such redemptions for one card, programme and business date; 0 is no limit."),
		optional(file(prefix+"stand_in_refused", &s.Refused, "File with card numbers, one a line, for which nothing is approved here. "+
			"Readable by its owner only.")),
		flag(prefix+"stand_in_after_timeout", &s.AfterTimeout, "Approve also what the host was asked and did not answer: it is owed the reversal of that first, and then the advice."),
	}
}

// optional lets a setting be empty.
func optional(s setting) setting {
	valid := s.valid
	s.expects += ", or nothing"
	s.optional = true
	s.valid = func() bool { return s.show() == "" || valid() }
	return s
}

func institution(key string, field *uint64, help string) setting {
	const most = 99_999_999_999
	return setting{
		key: key, help: help, expects: "an institution number of at most 11 digits",
		set: func(text string) bool {
			n, err := strconv.ParseUint(text, 10, 64)
			if err != nil || n > most {
				return false
			}
			*field = n
			return true
		},
		show:  func() string { return strconv.FormatUint(*field, 10) },
		valid: func() bool { return *field <= most },
	}
}

// listed reads what stands between commas, blanks around each aside; nothing is an
// empty list.
func listed[T any](text string, one func(string) (T, bool)) ([]T, bool) {
	var all []T
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if part == "" && strings.TrimSpace(text) == "" {
			return nil, true
		}
		value, ok := one(part)
		if !ok {
			return nil, false
		}
		all = append(all, value)
	}
	return all, true
}

func shown[T any](values []T, one func(T) string) string {
	texts := make([]string, len(values))
	for i, value := range values {
		texts[i] = one(value)
	}
	return strings.Join(texts, ", ")
}

const (
	leastRetry = 10 * time.Millisecond
	mostRetry  = 24 * time.Hour
)

func durations(key string, field *[]time.Duration, help string) setting {
	within := func(d time.Duration) bool { return d >= leastRetry && d <= mostRetry }
	return setting{
		key: key, help: help, expects: fmt.Sprintf("durations from %s to %s, such as 5s, 1m", brief(leastRetry), brief(mostRetry)),
		set: func(text string) bool {
			all, ok := listed(text, func(part string) (time.Duration, bool) {
				d, err := time.ParseDuration(part)
				return d, err == nil && within(d)
			})
			if ok {
				*field = all
			}
			return ok
		},
		show: func() string { return shown(*field, brief) },
		valid: func() bool {
			return len(*field) > 0 && !slices.ContainsFunc(*field, func(d time.Duration) bool { return !within(d) })
		},
	}
}

func programs(key string, field *[]int, help string) setting {
	const least, most = 900, 998
	return setting{
		key: key, help: help, expects: fmt.Sprintf("programme codes from %d to %d, such as 901, 902, or nothing", least, most),
		set: func(text string) bool {
			all, ok := listed(text, func(part string) (int, bool) {
				n, err := strconv.Atoi(part)
				return n, err == nil && n >= least && n <= most
			})
			if ok {
				*field = all
			}
			return ok
		},
		show: func() string { return shown(*field, strconv.Itoa) },
		valid: func() bool {
			return !slices.ContainsFunc(*field, func(n int) bool { return n < least || n > most })
		},
	}
}

// issuers is a list of institutions.
func issuers(key string, field *[]uint64, help string) setting {
	const most = 99_999_999_999
	return setting{
		key: key, help: help, expects: "institution numbers of at most 11 digits, with commas between, or nothing",
		set: func(text string) bool {
			all, ok := listed(text, func(part string) (uint64, bool) {
				n, err := strconv.ParseUint(part, 10, 64)
				return n, err == nil && n >= 1 && n <= most
			})
			if ok {
				*field = all
			}
			return ok
		},
		show: func() string { return shown(*field, func(n uint64) string { return strconv.FormatUint(n, 10) }) },
		valid: func() bool {
			return !slices.ContainsFunc(*field, func(n uint64) bool { return n < 1 || n > most })
		},
	}
}

const mostWeight = 1000

func endpoints(key string, field *[]Endpoint, help string) setting {
	return setting{
		key: key, help: help, expects: "addresses such as 10.0.0.1:8590*3+10.0.0.2:8590, backup:8590, or nothing",
		set: func(text string) bool {
			all, ok := parseEndpoints(text)
			if ok {
				*field = all
			}
			return ok
		},
		show: func() string { return FormatEndpoints(*field) },
		valid: func() bool {
			return !slices.ContainsFunc(*field, func(e Endpoint) bool { return e.Priority < 1 || !e.valid() })
		},
	}
}

func (e Endpoint) valid() bool {
	host, port, err := net.SplitHostPort(e.Address)
	if err != nil || host == "" || e.Weight < 1 || e.Weight > mostWeight {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

func parseEndpoints(text string) ([]Endpoint, bool) {
	var all []Endpoint
	groups, ok := listed(text, func(part string) (string, bool) { return part, part != "" })
	for priority, group := range groups {
		for part := range strings.SplitSeq(group, "+") {
			e := Endpoint{Address: strings.TrimSpace(part), Priority: priority + 1, Weight: 1}
			if addr, weight, found := strings.Cut(e.Address, "*"); found {
				n, err := strconv.Atoi(weight)
				if err != nil {
					return nil, false
				}
				e.Address, e.Weight = addr, n
			}
			if !e.valid() {
				return nil, false
			}
			all = append(all, e)
		}
	}
	return all, ok
}

// FormatEndpoints writes endpoints, in order of priority, as they are read: those of one
// priority with + between, and *weight where that is not 1.
func FormatEndpoints(all []Endpoint) string {
	var out strings.Builder
	for i, e := range all {
		switch {
		case i == 0:
		case e.Priority == all[i-1].Priority:
			out.WriteString("+")
		default:
			out.WriteString(", ")
		}
		out.WriteString(e.Address)
		if e.Weight != 1 {
			fmt.Fprintf(&out, "*%d", e.Weight)
		}
	}
	return out.String()
}

// linkDisagreements returns what is wrong with links whose values are each valid.
func (c *Config) linkDisagreements(report func(key, value, expected string)) {
	names := make(map[string]bool)
	for i := range c.Links {
		l, prefix := &c.Links[i], c.linkPrefix(i)
		if l.Name != "" && names[l.Name] {
			report(prefix+"name", l.Name, "a name that no other link has")
		}
		names[l.Name] = true
		if len(l.Dial) == 0 && l.Listen == "" {
			report(prefix+"dial", "", "an address here, or one in "+prefix+"listen")
		}
		if l.Listen != "" && !c.LinkTLS(l) && !l.AllowRemote && !local(l.Listen) {
			report(prefix+"listen", l.Listen, "an address of this machine only, or "+prefix+"tls: mutual, or "+prefix+"allow_remote: true")
		}
		if l.Keys != KeysOff && l.Zone == 0 {
			report(prefix+"zone", "0", "the issuer whose keys are shared, since "+prefix+"keys is "+string(l.Keys))
		}
		if l.RedialMost < l.Redial {
			report(prefix+"redial_most", brief(l.RedialMost), "at least redial, which is "+brief(l.Redial))
		}
	}
}
