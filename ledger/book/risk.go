package book

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/lianfen/lianfen/points"
)

// Limits and risk are an ordered list of rules, which is data: one [KindPut] sets all of
// it. A rule says which transactions it looks at, what it measures of them, for whom and
// over which time, and what happens above its limit. The first rule that declines decides;
// rules that only flag are all heard. The decision stands in the record ([Decision]).
//
// Rules look at what is asked for at a door (a command with a [Command.Function]); what
// the house does itself, and the members of a group, are its own affair. What is told
// (0220) has happened: no rule declines it, it counts and is flagged. The transactions
// of a sale that several programmes pay are one: it counts once, with the points of the
// programmes that a rule is about.
//
// A swap counts once, with what is handed in and its programme: when it is locked, or, where
// it is not, when it is executed; a lock keeps its word. [points.Swap] is both. A quote counts
// as [points.SwapQuote], and is refused too where a rule would decline the swap that it
// promises, so that nobody is promised what is then refused. Loops count a swap as spending
// only where they name it; what a swap hands out is never earned.
//
// Amounts are points in the smallest unit of their programme. A rule on amounts that
// names no programme adds up points of several as if they were alike.

// MaxRiskRules bounds the rules of a set: their numbers are bits of [Decision.Flags].
const MaxRiskRules = 64

// Bounds of [RiskRules.Parties].
const (
	DefaultRiskParties = 1 << 20
	MaxRiskParties     = 1 << 22
)

// maxScope bounds each list of a rule's scope.
const maxScope = 256

// RiskRules is a set of rules.
type RiskRules struct {
	// Version grows by one with every set. In a command it is the one that the set will
	// have, and another one is refused; 0: whichever comes.
	Version uint32     `json:"version,omitempty"`
	Rules   []RiskRule `json:"rules"`
	// Parties is for how many cards, members, terminals, merchants and programmes together
	// something is counted at once; 0: [DefaultRiskParties]. Beyond it see doc.go.
	Parties uint32 `json:"parties,omitempty"`

	position points.Position // of the command that put it
}

// Position is where the set was put in the journal.
func (s *RiskRules) Position() points.Position { return s.position }

// RiskRule is one rule. Empty lists and zeros of its scope mean any.
type RiskRule struct {
	Name string `json:"name"`

	// Scope: which transactions it looks at.

	Functions  []points.Function   `json:"functions,omitempty"` // none: redeem and pre_auth; of loops always earns, redemptions and holds, and swap where it is named
	Programs   []points.ProgramID  `json:"programs,omitempty"`
	Acquirers  []points.AcquirerID `json:"acquirers,omitempty"`
	Merchants  []points.MerchantID `json:"merchants,omitempty"`
	Terminals  []points.TerminalID `json:"terminals,omitempty"`
	EntryModes []uint16            `json:"entry_modes,omitempty"`    // first two digits of DE22
	From       points.Amount       `json:"amount_from,omitempty"`    // asked for, at least
	To         points.Amount       `json:"amount_to,omitempty"`      // asked for, at most
	NewHours   uint32              `json:"new_card_hours,omitempty"` // cards that were first put less than so many hours before

	// Measure: what is held against the limit.

	Measure Measure       `json:"measure"`
	Per     Per           `json:"per,omitempty"`
	Window  Window        `json:"window"`
	Limit   points.Amount `json:"limit"` // the most that is let through; of a loop's share, in percent
	// Attempts counts declines too, and nothing gives an attempt back.
	Attempts bool `json:"attempts,omitempty"`

	// What happens above the limit.

	Action Action        `json:"action"`
	Reason points.Reason `json:"reason,omitempty"` // of a decline; 0: by the measure

	serial uint32          // names its counters
	since  points.Position // it counts what is after this position
}

// Since is the position behind which the rule counts: a rule that is measured as before
// keeps its counters when a new set is put.
func (r *RiskRule) Since() points.Position { return r.since }

// Decision says what the rules had to say about a transaction.
type Decision struct {
	Version uint32 // of the set; 0: no rule said anything
	Rule    uint8  // number, from 1, of the rule that declined; 0: none did
	Flags   uint64 // bit n-1 is set where rule n flagged
}

// Flagged lists the numbers of the rules that flagged, ascending.
func (d Decision) Flagged() (numbers []int) {
	for n := 1; n <= MaxRiskRules; n++ {
		if d.Flags&(1<<(n-1)) != 0 {
			numbers = append(numbers, n)
		}
	}
	return numbers
}

// Measure is what a rule measures.
type Measure uint8

// Measures.
const (
	// SumOf is the sum of amounts.
	SumOf Measure = iota + 1
	// CountOf is the number of transactions.
	CountOf
	// LoopShare is, in percent, how much of what was earned in the window is spent in it.
	LoopShare
	// LoopCount is how often something is spent in the window where something was earned.
	LoopCount
)

// Action is what a rule does above its limit.
type Action uint8

// Actions.
const (
	// Decline refuses with the rule's reason.
	Decline Action = iota + 1
	// Flag lets it through, for somebody to look at.
	Flag
	// AskPIN refuses what comes without a PIN (55), so that it is asked for.
	AskPIN
)

// Per is for whom is counted: one of card and member, one of terminal, merchant and
// acquirer, a programme, in any combination; or all together.
type Per uint8

// For whom.
const (
	PerCard Per = 1 << iota
	// PerMember counts per card where an issuer keeps its own ledger: its members are not
	// known here.
	PerMember
	PerTerminal
	PerMerchant
	PerAcquirer
	PerProgram
	PerAll

	perWho   = PerCard | PerMember
	perWhere = PerTerminal | PerMerchant | PerAcquirer
)

// Window is over which time is counted: one of those below, or so many minutes.
//
// A window of minutes rolls. It is kept in twelfths, and reaches back to the beginning
// of the twelfth that lies a whole window before now: never over less than its length,
// and over up to a twelfth more. Its clock is the posting time, which only grows: when a
// clock was set back, no time passes until it has caught up.
type Window uint32

// Windows.
const (
	OneTransaction Window = 1<<31 + iota
	BusinessDay           // from cut-over to cut-over
	BusinessMonth         // of the business dates of one month
)

// maxWindow is the longest window of minutes: 31 days.
const maxWindow = Window(31 * 24 * 60)

// windowParts is how many parts a rolling window is kept in.
const windowParts = 12

var (
	measureNames = [...]string{SumOf: "amount", CountOf: "count", LoopShare: "loop_share", LoopCount: "loop_count"}
	actionNames  = [...]string{Decline: "decline", Flag: "flag", AskPIN: "ask_pin"}
	perNames     = [...]string{"card", "member", "terminal", "merchant", "acquirer", "program", "all"}
)

// String returns the name used in files and in JSON.
func (m Measure) String() string { return nameAt(measureNames[:], uint8(m), "measure") }

// MarshalText renders the name.
func (m Measure) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads a name.
func (m *Measure) UnmarshalText(text []byte) error {
	at, err := nameIndex(measureNames[:], text, "measure")
	*m = Measure(at)
	return err
}

// String returns the name used in files and in JSON.
func (a Action) String() string { return nameAt(actionNames[:], uint8(a), "action") }

// MarshalText renders the name.
func (a Action) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads a name.
func (a *Action) UnmarshalText(text []byte) error {
	at, err := nameIndex(actionNames[:], text, "action")
	*a = Action(at)
	return err
}

// String renders member+merchant.
func (p Per) String() string {
	var names []string
	for i, name := range perNames {
		if p&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, "+")
}

// MarshalText renders member+merchant.
func (p Per) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (p *Per) UnmarshalText(text []byte) error {
	if *p = 0; len(text) == 0 {
		return nil // A rule on single transactions is for nobody.
	}
	for name := range strings.SplitSeq(string(text), "+") {
		i := slices.Index(perNames[:], strings.TrimSpace(name))
		if i < 0 {
			return points.Errorf(points.FormatError, "per %q: want %s, or some of them with + between", text, strings.Join(perNames[:], ", "))
		}
		*p |= 1 << i
	}
	return nil
}

// String renders transaction, day, month, 90m or 24h.
func (w Window) String() string {
	switch {
	case w == OneTransaction:
		return "transaction"
	case w == BusinessDay:
		return "day"
	case w == BusinessMonth:
		return "month"
	case w%60 == 0:
		return strconv.Itoa(int(w/60)) + "h"
	default:
		return strconv.Itoa(int(w)) + "m"
	}
}

// MarshalText renders transaction, day, month, 90m or 24h.
func (w Window) MarshalText() ([]byte, error) { return []byte(w.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (w *Window) UnmarshalText(text []byte) error {
	for _, known := range [...]Window{OneTransaction, BusinessDay, BusinessMonth} {
		if known.String() == string(text) {
			*w = known
			return nil
		}
	}
	number, unit := strings.TrimRight(string(text), "mh"), Window(1)
	if strings.HasSuffix(string(text), "h") {
		unit = 60
	}
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil || len(number)+1 != len(text) || n == 0 || Window(n) > maxWindow/unit {
		return points.Errorf(points.FormatError, "window %q: want transaction, day, month, or minutes and hours such as 30m and 24h, up to %s", text, maxWindow)
	}
	*w = Window(n) * unit
	return nil
}

// rolls reports whether w is one of minutes.
func (w Window) rolls() bool { return w <= maxWindow }

// slot is the part of the window that a time and a business date lie in.
func (w Window) slot(at points.Timestamp, date points.BusinessDate) uint32 {
	switch w {
	case BusinessDay:
		return uint32(date)
	case BusinessMonth:
		return uint32(date) / 100
	default:
		return uint32(int64(at) / (int64(w) * 60_000_000 / windowParts)) //nolint:gosec // of five seconds at least: below 2^32 for centuries.
	}
}

// reaches reports whether the window that now ends in slot has part in it.
func (w Window) reaches(part, slot uint32) bool {
	if !w.rolls() {
		return part == slot
	}
	return part <= slot && slot-part <= windowParts
}

// counted are the functions that rules look at.
var counted = [...]points.Function{
	points.Redeem, points.PreAuth, points.Earn, points.Transfer, points.OfflineRedeem, points.OfflineEarn, points.SwapQuote, points.Swap,
}

// earning reports whether a function gives points.
func earning(f points.Function) bool { return f == points.Earn || f == points.OfflineEarn }

// loop reports whether m is about what is earned and spent.
func (m Measure) loop() bool { return m == LoopShare || m == LoopCount }

// reasons that a rule may decline with.
var declines = [...]points.Reason{
	points.OverAmountLimit, points.OverCountLimit, points.NotPermitted, points.CardCheckFailed, points.SuspectedFraud, points.DoNotHonour, points.AskIssuer,
}

// Declines is the reason that a rule declines with.
func (r *RiskRule) Declines() points.Reason {
	switch {
	case r.Action == AskPIN:
		return points.WrongPIN
	case r.Reason != 0:
		return r.Reason
	case r.Measure == CountOf:
		return points.OverCountLimit
	case r.Measure.loop():
		return points.SuspectedFraud
	default:
		return points.OverAmountLimit
	}
}

// sameMeasure reports whether two rules count the same, so that the counters of the one
// go on as the other's.
func (r *RiskRule) sameMeasure(of *RiskRule) bool {
	return r.Name == of.Name && slices.Equal(r.Functions, of.Functions) && slices.Equal(r.Programs, of.Programs) && slices.Equal(r.Acquirers, of.Acquirers) &&
		slices.Equal(r.Merchants, of.Merchants) && slices.Equal(r.Terminals, of.Terminals) && slices.Equal(r.EntryModes, of.EntryModes) &&
		r.From == of.From && r.To == of.To && r.NewHours == of.NewHours && r.Measure.loop() == of.Measure.loop() &&
		r.Per == of.Per && r.Window == of.Window && r.Attempts == of.Attempts
}

// RuleError is why a set is refused, and at which rule.
type RuleError struct {
	Rule  int    // from 0; -1: of none
	Field string // as in files; empty: of none
	cause error
}

// Error names the rule.
func (e *RuleError) Error() string { return e.cause.Error() }

// Unwrap returns the refusal.
func (e *RuleError) Unwrap() error { return e.cause }

// CheckRiskRules tells what of a set cannot be as it is, nil when all can: a [*RuleError].
// Whether what it names is there is the book's to know.
func CheckRiskRules(s *RiskRules) error {
	if len(s.Rules) > MaxRiskRules {
		return &RuleError{-1, "rules", points.Errorf(points.FormatError, "%d rules: want at most %d", len(s.Rules), MaxRiskRules)}
	}
	if s.Parties > MaxRiskParties {
		return &RuleError{-1, "parties", wrong("parties", s.Parties, fmt.Sprintf("want at most %d", MaxRiskParties))}
	}
	for i := range s.Rules {
		r := &s.Rules[i]
		field, err := r.wrong()
		if err == nil && slices.ContainsFunc(s.Rules[:i], func(other RiskRule) bool { return other.Name == r.Name }) {
			field, err = "name", points.Errorf(points.FormatError, "name %q: another rule has it", r.Name)
		}
		if err != nil {
			return &RuleError{i, field, points.Errorf(points.ReasonOf(err), "rule %d (%s): %w", i+1, points.Escaped(r.Name), err)}
		}
	}
	return nil
}

// wrong tells which field cannot be as it is; nil when all can.
func (r *RiskRule) wrong() (field string, err error) {
	if r.Name == "" || len(r.Name) > maxName {
		return "name", wrong("name", strconv.Quote(r.Name), fmt.Sprintf("want a name of at most %d bytes", maxName))
	}
	if field, err := r.wrongScope(); err != nil {
		return field, err
	}
	switch {
	case r.Measure < SumOf || r.Measure > LoopCount:
		return "measure", wrong("measure", r.Measure, "want amount, count, loop_share or loop_count")
	case !r.Window.rolls() && r.Window != OneTransaction && r.Window != BusinessDay && r.Window != BusinessMonth, r.Window == 0:
		return "window", wrong("window", uint32(r.Window), "want transaction, day, month, or minutes and hours such as 30m and 24h")
	case r.Window == OneTransaction && (r.Measure != SumOf || r.Per != 0):
		return "window", points.Errorf(points.FormatError, "window transaction: it has an amount, and is counted for nobody: want measure amount, and per left out")
	case r.Window != OneTransaction && !r.Per.valid():
		return "per", wrong("per", strconv.Quote(r.Per.String()), "want one of card and member, one of terminal, merchant and acquirer, program, with + between; or all")
	case r.Limit < 0 || (r.Limit > points.MaxAmount*1000):
		return "limit", wrong("limit", r.Limit, fmt.Sprintf("want 0 to %d", points.MaxAmount*1000))
	case r.Measure == LoopShare && r.Limit > 100:
		return "limit", wrong("limit", r.Limit, "want 0 to 100 percent")
	case r.Action < Decline || r.Action > AskPIN:
		return "action", wrong("action", r.Action, "want decline, flag or ask_pin")
	case r.Reason != 0 && (r.Action != Decline || !slices.Contains(declines[:], r.Reason)):
		return "reason", wrong("reason", r.Reason, fmt.Sprintf("want one of %v, and action decline", declines))
	case r.Attempts && (r.Measure.loop() || r.Window == OneTransaction):
		return "attempts", points.Errorf(points.FormatError, "attempts: want measure count or amount, and a window")
	}
	return "", nil
}

func (r *RiskRule) wrongScope() (field string, err error) {
	for _, list := range [...]struct {
		name string
		size int
	}{{"functions", len(r.Functions)}, {"programs", len(r.Programs)}, {"acquirers", len(r.Acquirers)}, {"merchants", len(r.Merchants)}, {"terminals", len(r.Terminals)}, {"entry_modes", len(r.EntryModes)}} {
		if list.size > maxScope {
			return list.name, wrong(list.name, list.size, fmt.Sprintf("want at most %d", maxScope))
		}
	}
	if r.Measure.loop() && len(r.Functions) > 0 && !slices.Equal(r.Functions, []points.Function{points.Swap}) {
		return "functions", points.Errorf(points.FormatError, "functions: a loop is of earns and what spends; leave them out, or name swap alone, which spends too then")
	}
	for _, f := range r.Functions {
		if !slices.Contains(counted[:], f) {
			return "functions", wrong("functions", f, fmt.Sprintf("want some of %v", counted))
		}
	}
	for _, mode := range r.EntryModes {
		if mode > 99 {
			return "entry_modes", wrong("entry_modes", mode, "want two digits of DE22, such as 5")
		}
	}
	switch {
	case r.From < 0 || r.From > points.MaxAmount:
		return "amount_from", wrong("amount_from", r.From, fmt.Sprintf("want 0 to %d", points.MaxAmount))
	case r.To < 0 || r.To > points.MaxAmount || (r.To > 0 && r.To < r.From):
		return "amount_to", wrong("amount_to", r.To, fmt.Sprintf("want amount_from to %d, or 0 for any", points.MaxAmount))
	case r.NewHours > 24*366:
		return "new_card_hours", wrong("new_card_hours", r.NewHours, "want at most a year")
	}
	return "", nil
}

// valid reports whether p names at most one of each kind, and somebody.
func (p Per) valid() bool {
	if p == PerAll {
		return true
	}
	one := func(of Per) bool { return p&of&(p&of-1) == 0 }
	return p != 0 && p < PerAll && one(perWho) && one(perWhere)
}

// validRisk checks a set against what is there.
func (b *Book) validRisk(s *RiskRules) error {
	if err := CheckRiskRules(s); err != nil {
		return err
	}
	if next := b.riskVersion() + 1; s.Version != 0 && s.Version != next {
		return points.Errorf(points.AlreadyExists, "version %d: the rules in force are version %d; look at them, and set version %d", s.Version, next-1, next)
	}
	for i := range s.Rules {
		if field, err := b.unknown(&s.Rules[i]); err != nil {
			return &RuleError{i, field, points.Errorf(points.ReasonOf(err), "rule %d (%s): %w", i+1, points.Escaped(s.Rules[i].Name), err)}
		}
	}
	return nil
}

// unknown tells what of a rule's scope is not there.
func (b *Book) unknown(r *RiskRule) (field string, err error) {
	for _, id := range r.Programs {
		if b.live.Programs[id] == nil {
			return "programs", points.Errorf(points.UnknownProgram, "programme %d: there is none; put it first", id)
		}
	}
	for _, id := range r.Acquirers {
		if b.live.Acquirers[id] == nil {
			return "acquirers", points.Errorf(points.ForeignIdentity, "acquirer %d: there is none; put it first", id)
		}
	}
	for _, id := range r.Merchants {
		if b.live.Merchants[id] == nil {
			return "merchants", points.Errorf(points.UnknownMerchant, "merchant %q: there is none; put it first", id)
		}
	}
	for _, id := range r.Terminals {
		if b.live.Terminals[id] == nil {
			return "terminals", points.Errorf(points.UnknownTerminal, "terminal %q: there is none; put it first", id)
		}
	}
	return "", nil
}

// putRisk sets the rules. One that is measured as before goes on counting; a new one, or
// one whose name, scope, measure, window or party has changed, begins with nothing.
func (b *Book) putRisk(cmd *Command, out *Outcome) points.Reason {
	if b.risk.rehearsed {
		if rec := b.replay.of; rec != nil {
			out.Original = rec.Outcome.Original
		}
		return points.Approved
	}
	if err := b.validRisk(cmd.Entry.Risk); err != nil {
		return points.ReasonOf(err)
	}
	e := cmd.Entry.clone()
	set, was := e.Risk, b.live.Risk
	set.Version, set.position = b.riskVersion()+1, b.position+1
	if was != nil {
		out.Original = was.position
	}
	for i := range set.Rules {
		r := &set.Rules[i]
		r.serial, r.since = 0, b.position+1
		if was == nil {
			continue
		}
		if same := slices.IndexFunc(was.Rules, func(old RiskRule) bool { return r.sameMeasure(&old) }); same >= 0 {
			r.serial, r.since = was.Rules[same].serial, was.Rules[same].since
		}
	}
	root := b.riskRoot()
	for i := range set.Rules {
		if r := &set.Rules[i]; r.serial == 0 {
			root.serial++
			r.serial = root.serial
		}
	}
	b.putReference(e)
	b.compileRisk()
	return points.Approved
}

// riskVersion is that of the rules in force; 0: none were ever set.
func (b *Book) riskVersion() uint32 {
	if b.live.Risk == nil {
		return 0
	}
	return b.live.Risk.Version
}

// clone copies a set.
func (s *RiskRules) clone() *RiskRules {
	c := *s
	c.Rules = slices.Clone(s.Rules)
	for i := range c.Rules {
		r := &c.Rules[i]
		r.Functions, r.Programs, r.Acquirers = slices.Clone(r.Functions), slices.Clone(r.Programs), slices.Clone(r.Acquirers)
		r.Merchants, r.Terminals, r.EntryModes = slices.Clone(r.Merchants), slices.Clone(r.Terminals), slices.Clone(r.EntryModes)
	}
	return &c
}
