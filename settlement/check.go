package settlement

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/netting"
	"github.com/lianfen/lianfen/tariff"
)

// Severity is what a check that fails asks for.
type Severity uint8

// Severities.
const (
	Warn         Severity = iota + 1 // somebody reads it in the morning
	SecondPerson                     // nobody goes on alone
	Must                             // nobody goes on
)

func severityNames() []string { return []string{"warn", "second person", "must"} }

// String renders the name.
func (s Severity) String() string {
	if names := severityNames(); s >= 1 && int(s) <= len(names) {
		return names[s-1]
	}
	return "?"
}

// MarshalText renders the name.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a name.
func (s *Severity) UnmarshalText(text []byte) error {
	i := slices.Index(severityNames(), string(text))
	if i < 0 {
		return points.Errorf(points.FormatError, "severity %q: want one of %s", text, strings.Join(severityNames(), ", "))
	}
	*s = Severity(i + 1) //nolint:gosec // three of them.
	return nil
}

// Names of checks.
const (
	CheckCut        = "cut"
	CheckPrevious   = "previous"
	CheckUnfinished = "unfinished"
	CheckBatches    = "batches"
	CheckRates      = "rates"
	CheckExceptions = "exceptions"
	CheckSumZero    = "sum-zero"
	CheckComplete   = "complete"
	CheckLive       = "live"
	CheckCaps       = "caps"
	CheckDebtor     = "debtor"
	CheckBank       = "bank"
	CheckAccounts   = "accounts"
)

// Check is one thing that was looked at.
type Check struct {
	Name     string           `json:"name"`
	Phase    string           `json:"phase"` // pre, in, post
	Severity Severity         `json:"severity"`
	Pass     bool             `json:"pass"`
	Found    string           `json:"found"`
	Do       string           `json:"do,omitempty"` // where it did not pass: what to do
	At       points.Timestamp `json:"at"`
}

// checker collects checks.
type checker struct {
	at   points.Timestamp
	list []Check
}

func (c *checker) add(phase, name string, severity Severity, pass bool, found, do string) {
	check := Check{Name: name, Phase: phase, Severity: severity, Pass: pass, Found: found, At: c.at}
	if !pass {
		check.Do = do
	}
	c.list = append(c.list, check)
}

// Failed reports whether a check of a severity did not pass, and its name.
func Failed(checks []Check, severity Severity) (name string, failed bool) {
	for i := range checks {
		if !checks[i].Pass && checks[i].Severity == severity {
			return checks[i].Name, true
		}
	}
	return "", false
}

// before looks at what can be known before anything is computed.
func (r *Runner) before(ctx context.Context, cut Cut, order Order) ([]Check, error) {
	c := checker{at: order.At}
	c.add("pre", CheckCut, Must, !cut.NeverClosed, fmt.Sprintf("%v: positions %d to %d", cut, cut.First, cut.Last),
		"the cycle still takes items: wait for its cut-over, or end it now: lianfen settle cutover --now")
	runs, err := r.shelf.all()
	if err != nil {
		return nil, err
	}
	open := ""
	for _, run := range runs {
		if earlier(run.Cut, cut) && run.Live() {
			open = fmt.Sprintf("run %s of %v is %v", run.ID, run.Cut, run.State)
		}
	}
	c.add("pre", CheckPrevious, Must, open == "", orElse(open, "every earlier run is published or void"), "publish it, or: lianfen settle void RUN")
	unfinished, err := r.journal.Unfinished(ctx, cut)
	if err != nil {
		return nil, err //nolint:wrapcheck // the journal's own words.
	}
	c.add("pre", CheckUnfinished, Warn, unfinished == 0, fmt.Sprintf("%d requests to issuers elsewhere without an end", unfinished),
		"lianfen admin owed list, lianfen exchange queue: what ends later is cleared on the date on which it ends")
	return c.list, nil
}

func earlier(one, other Cut) bool {
	return one.Date < other.Date || (one.Date == other.Date && one.Cycle < other.Cycle)
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// during looks at what was computed.
func (r *Runner) during(ctx context.Context, run *Run, setting *Setting, c *checker, all *computed) error {
	missing := make([]string, 0, len(all.missing))
	for _, program := range slices.Sorted(maps.Keys(all.missing)) {
		missing = append(missing, fmt.Sprintf("programme %d: %d items", program, all.missing[program]))
	}
	// A rate cannot be put in force for the past: to stop here would be to stop for ever.
	c.add("in", CheckRates, SecondPerson, all.unvalued == 0, orElse(strings.Join(missing, ", "), "every item had its rate and its fees"),
		"lianfen rates list: propose what is missing; such items stay exceptions until they are adjusted")
	c.add("in", CheckExceptions, SecondPerson, all.booked() == 0, all.exceptionsFound(),
		"lianfen settle report RUN lists them; they are not cleared: adjust them, or approve the run without them")
	sum := "all members sum to zero, and pairs to positions"
	wrong := all.fold.Check()
	if wrong != nil {
		sum = wrong.Error()
	}
	c.add("in", CheckSumZero, Must, wrong == nil, sum, "do not publish: this is a fault of the program; keep the folder and report it")
	unclosed, err := r.journal.Unclosed(ctx, run.Cut, all.batches)
	if err != nil {
		return err //nolint:wrapcheck // the journal's own words.
	}
	c.add("in", CheckBatches, Warn, unclosed == 0, fmt.Sprintf("%d batches of terminals not closed", unclosed),
		"lianfen admin batch list: they do not stop the night; the terminals close them in the morning")
	if err := r.checkLive(ctx, run, c, all); err != nil {
		return err
	}
	if err := r.checkDebtors(setting, c, all); err != nil {
		return err
	}
	return r.checkBank(run, c, all)
}

func (c *computed) exceptionsFound() string {
	found := "none"
	if i := slices.IndexFunc(c.exceptions, func(x exception) bool { return !x.declined }); i >= 0 {
		found = fmt.Sprintf("%d; the first is item %d: %s", c.booked(), c.exceptions[i].ID, c.exceptions[i].Reason)
	}
	if c.declined > 0 {
		found += fmt.Sprintf("; %d refunds were declined without an original", c.declined)
	}
	return found
}

// checkLive holds the positions against those that the ledger kept (P9).
func (r *Runner) checkLive(ctx context.Context, run *Run, c *checker, all *computed) error {
	live, err := r.journal.Kept(ctx, run.Cut)
	if err != nil {
		return err //nolint:wrapcheck // the journal's own words.
	}
	kept := make(map[tariff.Member]netting.Sum, len(live.Members))
	for _, l := range live.Members {
		kept[l.Member] = l.Net
	}
	wrong, n := "", 0
	for i := range all.roll.Len() {
		m := all.roll.Member(i)
		net := netOf(all.fold, m)
		if kept[m].Cmp(net) != 0 {
			n++
			if wrong == "" {
				wrong = fmt.Sprintf("%v: computed %s, kept %s", m, net.Decimal(Scale), kept[m].Decimal(Scale))
			}
		}
		delete(kept, m)
	}
	for m, net := range kept {
		if net.Sign() != 0 {
			n++
			wrong = fmt.Sprintf("%v: not a member, kept %s", m, net.Decimal(Scale))
		}
	}
	if !slices.Equal(live.Moves, run.Moves) {
		n++
		wrong = orElse(wrong, fmt.Sprintf("clearing accounts: %d movements computed, others kept (%d)", len(run.Moves), len(live.Moves)))
	}
	c.add("in", CheckLive, Must, n == 0, orElse(wrong, "the positions are those that the ledger kept"),
		"do not publish: lianfen ledger verify tells whether the journal or the positions kept are wrong")
	return nil
}

// netOf is what a member is owed or owes in all models together.
func netOf(f *netting.Fold, m tariff.Member) netting.Sum {
	return f.Net(netting.MNET, m).Plus(f.Net(netting.BNET, m)).Plus(f.Net(netting.GROSS, m))
}

// checkDebtors asks whether every debt is within its cap, and whether the day settles
// although its largest net debtor fails.
func (r *Runner) checkDebtors(setting *Setting, c *checker, all *computed) error {
	covers := make([]netting.Cover, 0, len(setting.Parties))
	over := ""
	for i := range setting.Parties {
		party := &setting.Parties[i]
		cover := party.Cover
		cover.Member = party.Member
		covers = append(covers, cover)
		debt := netOf(all.fold, party.Member).Neg()
		if party.Cap > 0 && debt.Cmp(netting.SumOf(party.Cap)) > 0 && over == "" {
			over = fmt.Sprintf("%v owes %s, its cap is %s", party.Member, debt.Decimal(Scale), party.Cap.Decimal(Scale))
		}
	}
	c.add("in", CheckCaps, SecondPerson, over == "", orElse(over, "nobody owes more than its cap"), "ask the member for more cover before the settlement date")
	exposures, err := all.fold.Exposures(covers)
	if err != nil {
		return fmt.Errorf("largest debtor: %w", err)
	}
	if len(exposures) == 0 {
		c.add("in", CheckDebtor, Warn, true, "nobody owes anything", "")
		return nil
	}
	e := exposures[0]
	c.add("in", CheckDebtor, Warn, e.Shortfall.Sign() == 0,
		fmt.Sprintf("%v owes %s, cover %s, short by %s if it fails", e.Member, e.Debt.Decimal(Scale), e.Cover.Decimal(Scale), e.Shortfall.Decimal(Scale)),
		"the night would not settle if it failed: ask it for cover, or lower its cap")
	return nil
}

// after holds the files against the positions (P5): every item is in its acquirer's file
// and in its issuer's, and the lines of a member's files come to its position.
func (r *rendering) after(c *checker) {
	var acquirers, issuers uint64
	wrong := ""
	for place := range r.written {
		w, m := &r.written[place], r.roll.Member(place)
		acquirers += w.count[0]
		issuers += w.count[1]
		if net := netOf(r.computed.fold, m); m.Institution() && net.Cmp(w.net) != 0 && wrong == "" {
			wrong = fmt.Sprintf("%v: its files come to %s, its position is %s", m, w.net.Decimal(Scale), net.Decimal(Scale))
		}
	}
	items := r.computed.items
	if n := acquirers + r.computed.apart.acquirer; n != items && wrong == "" {
		wrong = fmt.Sprintf("%d items, %d in acquirers' files or without an acquirer", items, n)
	}
	if n := issuers + r.computed.apart.issuer; n != items && wrong == "" {
		wrong = fmt.Sprintf("%d items, %d in issuers' files or without one of their own", items, n)
	}
	c.add("post", CheckComplete, Must, wrong == "", orElse(wrong, fmt.Sprintf("%d items, %d lines of acquirers, %d of issuers; files come to positions", items, acquirers, issuers)),
		"do not publish: this is a fault of the program; keep the folder and report it")
}

// faultCode is the short code of a fault in exception lists.
func faultCode(f tariff.Fault) string {
	codes := map[tariff.Fault]string{
		tariff.BadKind: "KIND", tariff.BadSign: "SIGN", tariff.BadAmount: "AMOUNT", tariff.BadMember: "MEMBER", tariff.BadOriginal: "ORIGINAL",
		tariff.BadQuote: "QUOTE", tariff.NoRate: codeNoRate, tariff.NoTargetRate: codeNoTargetRate, tariff.NoFees: codeNoFees,
		tariff.NoFeeRow: codeNoFeeRow, tariff.Overflow: "OVERFLOW", tariff.TooWide: "TOO_WIDE", tariff.UnknownMember: "MEMBER_UNKNOWN",
	}
	return orElse(codes[f], "FAULT")
}

// What keeps an item from being cleared, whatever the tables say.
const (
	codeNoRoom     = "NO_ROOM"          // the ledger gave it no value, since a sum would not fit
	codeTooLate    = "TOO_LATE"         // it was told too late
	codeSwapStands = "SWAP_STANDS"      // a swap that was given up stands at its issuer
	codeNoOriginal = "ORIGINAL_UNKNOWN" // a refund of nothing that is known; it was declined
)

// What the tables lack.
const (
	codeNoRate       = "RATE_UNKNOWN"
	codeNoTargetRate = "TARGET_RATE_UNKNOWN"
	codeNoFees       = "FEES_UNKNOWN"
	codeNoFeeRow     = "FEE_ROW_UNKNOWN"
)

func missesTerms(code string) bool {
	return code == codeNoRate || code == codeNoTargetRate || code == codeNoFees || code == codeNoFeeRow
}
