package app

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// words says acts as the second person reads them who has to decide: times in the
// switch's zone, amounts and rates with their decimals, percent beside parts per million,
// and what there is now beside what is to be.
type words struct {
	key      *certs.CardKey
	zone     *time.Location
	registry *book.Registry
	// compare tells what is there now beside what the act puts. Of what was done already
	// the registry would be compared with itself.
	compare bool
	// original is the record that an act is about; nil: there is none.
	original func(points.Position) (*book.Record, error)
}

// inWords is an act in words, with all that an approver has to see. No card is in clear.
func (a *App) inWords(ctx context.Context, act *book.Command, compare bool) (string, error) {
	w := words{key: a.key, zone: a.zone, compare: compare, original: func(at points.Position) (*book.Record, error) {
		rec, err := a.ledger.Record(at)
		if points.ReasonOf(err) == points.UnknownOriginal {
			return nil, nil // What is proposed about nothing is read all the same, and rejected.
		}
		return &rec, err
	}}
	err := a.ledger.View(ctx, func(b *book.Book) error {
		w.registry = b.Registry()
		return nil
	})
	if err != nil {
		return "", err
	}
	return w.act(act)
}

// said reports whether a command is one that words are for: an act, what is put, or a
// step that no second person decides.
func said(c *book.Command) bool {
	return c.Of() != 0 || c.Entry != (book.Entry{}) || c.Kind == book.KindDispute || c.Kind == book.KindPIN
}

func (w *words) act(act *book.Command) (string, error) {
	switch act.Kind {
	case book.KindAdjust, book.KindReinstate:
		return fmt.Sprintf("%v %s, %s", act.Kind, w.points(act.Program, act.Amount, true), w.holder(act)), nil
	case book.KindCutOver:
		if act.Cycle > 1 {
			return fmt.Sprintf("begin cycle %d of business date %v", act.Cycle, act.Date), nil
		}
		return fmt.Sprintf("begin business date %v", act.Date), nil
	case book.KindResolve:
		return w.resolve(act)
	case book.KindNote:
		if act.Ceremony.Act != 0 {
			return ceremonyInWords(&act.Ceremony), nil
		}
		if act.Certificate != nil {
			return certificateInWords(act.Certificate), nil
		}
		if text := aboutException(act); text != "" {
			return text, nil
		}
		return fmt.Sprintf("%v: %s", act.Act, act.Note), nil
	case book.KindPIN:
		if act.PINValue.IsZero() {
			return "unlock the PIN of " + w.holder(act), nil
		}
		text := "set the PIN of " + w.holder(act)
		if act.Limit != 0 {
			text += fmt.Sprintf(", which %d wrong ones in a row lock", act.Limit)
		}
		return text, nil
	case book.KindDispute:
		return w.dispute(act)
	case book.KindLeg:
		return aboutException(act) + legInWords(act), nil
	case book.KindPost:
		return w.post(act), nil
	case book.KindPut, book.KindEnrol:
		return w.entry(&act.Entry)
	default:
		return act.Kind.String(), nil
	}
}

func (w *words) holder(act *book.Command) string {
	if w.key != nil {
		if pan, ok := w.key.PAN(act.Card); ok {
			return "card " + pan.Masked()
		}
	}
	return fmt.Sprintf("member %d", act.Member)
}

// points is so many points of a programme, with its decimals.
func (w *words) points(program points.ProgramID, amount points.Amount, sign bool) string {
	scale := 0
	if p := w.registry.Programs[program]; p != nil {
		scale = int(p.Scale)
	}
	text := amount.Decimal(scale)
	if sign && amount > 0 {
		text = "+" + text
	}
	return fmt.Sprintf("%s of programme %d", text, program)
}

func (w *words) time(at points.Timestamp) string { return shownIn(w.zone, at) }

// shown is a time in a sentence of the switch: in its zone, as in its tables.
func (a *App) shown(at points.Timestamp) string { return shownIn(a.zone, at) }

func shownIn(zone *time.Location, at points.Timestamp) string {
	return at.Time().In(zone).Format("2006-01-02 15:04:05 -07:00")
}

func qzp(amount points.Amount) string { return amount.Decimal(qzpScale) + " QZP" }

// percent is a part as people speak of it, and as files have it.
func percent(ppm uint32) string {
	text := points.Amount(ppm).Decimal(qzpScale) // Of a million, four decimals make percent.
	return fmt.Sprintf("%s%% (%d ppm)", strings.TrimRight(strings.TrimRight(text, "0"), "."), ppm)
}

func (w *words) dispute(act *book.Command) (string, error) {
	m := &act.Dispute
	sale, err := w.original(act.Original)
	if err != nil {
		return "", err
	}
	text := aboutException(act) + fmt.Sprintf("%v by the %v about %s", m.Step, m.Who, rrnOf(act.Original))
	if sale == nil {
		text += noRecord
	}
	text += ", reason " + m.Code
	rules := w.registry.Disputes
	if rules == nil {
		rules = book.DefaultDisputeRules()
	}
	if i := slices.IndexFunc(rules.Rules, func(r book.DisputeRule) bool { return r.Code == m.Code }); i >= 0 {
		text += fmt.Sprintf(" (%s)", rules.Rules[i].Name)
	}
	switch {
	case act.Amount == 0:
	case sale == nil:
		text += fmt.Sprintf(", amount %d in smallest units", act.Amount)
	default:
		text += ", amount " + w.points(sale.Outcome.Program, act.Amount, false)
	}
	if m.Evidence != "" {
		text += ", evidence " + evidenceOf(m.Evidence)
	}
	return text, nil
}

// noRecord is said of an original that the journal has not.
const noRecord = ", of which there is no record"

// resolve tells what operators end: a request that an issuer decided, or the leg of a swap.
func (w *words) resolve(act *book.Command) (string, error) {
	rec, err := w.original(act.Original)
	if err != nil {
		return "", err
	}
	what := "resolve " + rrnOf(act.Original)
	switch {
	case rec == nil:
		what += noRecord
	case rec.Command.Kind == book.KindQuote:
		figures := &rec.Outcome.Swap
		what = fmt.Sprintf("resolve the swap %s, %s into %s", rrnOf(act.Original),
			w.points(rec.Command.Program, figures.In, false), w.points(figures.Into, figures.Out, false))
	default:
		did := rec.Command.Kind.String()
		if rec.Command.Function != 0 {
			did = rec.Command.Function.String()
		}
		what += fmt.Sprintf(", %s of issuer %d", did, rec.Outcome.Issuer)
		if amount := cmp.Or(rec.Command.Amount, rec.Outcome.Amount); amount != 0 {
			what += ", " + w.points(rec.Outcome.Program, amount, false)
		}
	}
	if act.Answer.Approved() {
		return what + ": it stands at the issuer", nil
	}
	return what + ": it is gone at the issuer", nil
}

// maxMovesInWords bounds how many movements of a posting are told one by one.
const maxMovesInWords = 20

func (w *words) post(act *book.Command) string {
	text := fmt.Sprintf("post the settlement of cycle %d of business date %v: key of the run %x, manifest %x", max(act.Cycle, 1), act.Date, act.Run, act.Manifest)
	for i, move := range act.Moves {
		if i == maxMovesInWords {
			return fmt.Sprintf("%s; and %d movements more", text, len(act.Moves)-i)
		}
		text += fmt.Sprintf("; acquirer %d %s", move.Acquirer, w.points(move.Program, move.Amount, true))
	}
	return text
}

// entry is what is put.
func (w *words) entry(e *book.Entry) (string, error) {
	switch {
	case e.Rate != nil:
		return w.rate(&e.Rate.Terms), nil
	case e.Fees != nil:
		return w.fees(e.Fees), nil
	case e.Cap != nil:
		return w.cap(e.Cap), nil
	case e.Fund != nil:
		return w.fund(e.Fund), nil
	case e.Grant != nil:
		return w.grant(e.Grant), nil
	case e.Risk != nil:
		return w.risk(e.Risk), nil
	case e.Operator != nil && e.Operator.InviteUntil != 0:
		text, err := w.plain(e)
		return text + ", and invite the person", err
	default:
		return w.plain(e)
	}
}

// worth is what one point is worth in standard points, and the ratio beside it.
func (w *words) worth(t *tariff.Terms) string {
	value := new(big.Rat).SetFrac(new(big.Int).SetUint64(t.Num), new(big.Int).SetUint64(max(t.Den, 1)))
	ten := big.NewRat(10, 1)
	if p := w.registry.Programs[t.Program]; p != nil {
		for range p.Scale {
			value.Mul(value, ten)
		}
	}
	for range qzpScale {
		value.Quo(value, ten)
	}
	digits, exact := value.FloatPrec()
	about := ""
	if !exact || digits > 12 {
		about, digits = "about ", 12
	}
	return fmt.Sprintf("%s%s QZP (smallest units %d/%d)", about, value.FloatString(digits), t.Num, t.Den)
}

func (w *words) rate(t *tariff.Terms) string {
	what := fmt.Sprintf("rate %v of programme %d", t.Side, t.Program)
	if t.Into != 0 {
		what += fmt.Sprintf(" for swaps into %d only", t.Into)
	}
	if t.Den == 0 {
		return fmt.Sprintf("%s ends from %s on", what, w.time(t.From))
	}
	text := fmt.Sprintf("%s from %s: one point is worth %s", what, w.time(t.From), w.worth(t))
	if t.SpreadPPM != 0 {
		text += ", spread " + percent(t.SpreadPPM)
	}
	if !w.compare {
		return text
	}
	var was *tariff.Rate
	if w.registry.Rates != nil {
		was = w.registry.Rates.At(t.Program, t.Side, t.From)
		if t.Into != 0 {
			was = w.registry.Rates.Pair(t.Program, t.Into, t.From)
		}
	}
	if was == nil {
		return text + "; there is none before it"
	}
	text += fmt.Sprintf("; until then %s", w.worth(&was.Terms))
	if was.SpreadPPM != t.SpreadPPM {
		text += ", spread " + percent(was.SpreadPPM)
	}
	return text
}

func (w *words) fees(s *tariff.Schedule) string {
	rows := make([]string, len(s.Rows))
	for i := range s.Rows {
		rows[i] = feeRowInWords(&s.Rows[i])
	}
	var before []string
	if w.compare && w.registry.Fees != nil {
		if was := w.registry.Fees.At(s.From); was != nil {
			for i := range was.Rows {
				before = append(before, feeRowInWords(&was.Rows[i]))
			}
		}
	}
	return fmt.Sprintf("fees from %s: %s", w.time(s.From), w.lines("rows", before, rows))
}

func feeRowInWords(r *tariff.FeeRow) string {
	var text strings.Builder
	text.WriteString(r.Kind.String())
	for _, of := range []struct {
		what string
		id   uint64
	}{{"issuer", uint64(r.Issuer)}, {"acquirer", uint64(r.Acquirer)}, {"MCC", uint64(r.MCC)}, {"programme", uint64(r.Program)}} {
		if of.id != 0 {
			fmt.Fprintf(&text, " of %s %d", of.what, of.id)
		}
	}
	text.WriteString(": interchange " + percent(r.InterchangePPM) + ", fee " + percent(r.PPM))
	for _, amount := range []struct {
		what  string
		value points.Amount
	}{{" and ", r.Fixed}, {", at least ", r.Min}, {", at most ", r.Max}} {
		if amount.value != 0 {
			text.WriteString(amount.what + qzp(amount.value))
		}
	}
	if r.VATPPM != 0 {
		text.WriteString(", VAT " + percent(r.VATPPM))
	}
	if r.Payer != 0 {
		text.WriteString(", paid by the " + r.Payer.String())
	}
	if r.LockAtHold {
		text.WriteString(", captures as of their hold")
	}
	for i, s := range r.Shares {
		who := s.Member.String()
		if s.Role != 0 {
			who = s.Role.String()
		}
		fmt.Fprintf(&text, "%s %s %d", map[bool]string{true: ", shared", false: ":"}[i == 0], who, s.Weight)
	}
	return text.String()
}

// lines tells a list; where it takes the place of another, only what differs.
func (w *words) lines(what string, before, after []string) string {
	if !w.compare || len(before) == 0 {
		return fmt.Sprintf("%d %s: %s", len(after), what, strings.Join(after, "; "))
	}
	var parts []string
	left := slices.Clone(before)
	for _, line := range after {
		if i := slices.Index(left, line); i >= 0 {
			left = slices.Delete(left, i, i+1)
			continue
		}
		parts = append(parts, "new: "+line)
	}
	for _, line := range left {
		parts = append(parts, "no more: "+line)
	}
	parts = append(parts, fmt.Sprintf("%d of %d %s stay", len(before)-len(left), len(before), what))
	return strings.Join(parts, "; ")
}

func (w *words) cap(c *book.Cap) string {
	text := "cap of " + c.Member.String() + ": " + capInWords(c)
	if !w.compare {
		return text
	}
	was := w.registry.Caps[c.Member]
	if was == nil {
		return text + "; there is none now"
	}
	return text + "; now " + capInWords(was)
}

func (w *words) fund(f *book.Fund) string {
	text := "guarantee fund: " + qzp(f.Amount)
	switch was := w.registry.Fund; {
	case !w.compare:
		return text
	case was == nil:
		return text + "; there is none now"
	default:
		return text + "; now " + qzp(was.Amount)
	}
}

func (w *words) grant(g *book.Grant) string {
	text := fmt.Sprintf("limit that %v grants %v: %s", g.By, g.To, qzp(g.Amount))
	switch was := w.registry.Grants[book.GrantKey{By: g.By, To: g.To}]; {
	case !w.compare:
		return text
	case was == nil:
		return text + "; there is none now"
	default:
		return text + "; now " + qzp(was.Amount)
	}
}

func capInWords(c *book.Cap) string {
	text := qzp(c.Cap)
	if c.Unlimited {
		text = "none, without limit"
	}
	if c.Prefund != 0 {
		text += fmt.Sprintf(", prefunded %s less %s", qzp(c.Prefund), percent(c.PrefundHaircut))
	}
	if c.Collateral != 0 {
		text += fmt.Sprintf(", collateral %s less %s", qzp(c.Collateral), percent(c.CollateralHaircut))
	}
	if c.CreditLater {
		text += ", what is owed to it counts once it is settled"
	}
	if c.Holds {
		text += ", holds reserve of it"
	}
	return text
}

func (w *words) risk(set *book.RiskRules) string {
	list := func(set *book.RiskRules) (rules []string) {
		if set == nil {
			return nil
		}
		for i := range set.Rules {
			rules = append(rules, riskRuleInWords(&set.Rules[i]))
		}
		return rules
	}
	text := "rules on risk"
	if set.Version != 0 {
		text += fmt.Sprintf(", version %d", set.Version)
	}
	if set.Parties != 0 {
		text += fmt.Sprintf(", counters for %d parties", set.Parties)
	}
	return text + ": " + w.lines("rules", list(w.registry.Risk), list(set))
}

func riskRuleInWords(r *book.RiskRule) string {
	per := r.Window.String()
	if r.Per != 0 {
		per = r.Per.String() + " and " + per
	}
	return fmt.Sprintf("%q looks at %s, measures %s per %s, limit %d, above it %s", r.Name, RiskScope(r), RiskMeasure(r), per, r.Limit, RiskAbove(r))
}

// RiskScope tells which transactions a rule looks at.
func RiskScope(r *book.RiskRule) string {
	var parts []string
	add := func(name string, size int, list any) {
		if size > 0 {
			parts = append(parts, name+" "+strings.Trim(fmt.Sprint(list), "[]"))
		}
	}
	switch {
	case r.Measure == book.LoopShare, r.Measure == book.LoopCount:
		if parts = append(parts, "earned and spent"); len(r.Functions) > 0 {
			parts = append(parts, "or swapped")
		}
	case len(r.Functions) > 0:
		add("", len(r.Functions), r.Functions)
	default:
		parts = append(parts, "redeem pre_auth")
	}
	add("programme", len(r.Programs), r.Programs)
	add("acquirer", len(r.Acquirers), r.Acquirers)
	add("merchant", len(r.Merchants), r.Merchants)
	add("terminal", len(r.Terminals), r.Terminals)
	add("entry mode", len(r.EntryModes), r.EntryModes)
	if r.From > 0 {
		parts = append(parts, fmt.Sprintf("from %d", r.From))
	}
	if r.To > 0 {
		parts = append(parts, fmt.Sprintf("to %d", r.To))
	}
	if r.NewHours > 0 {
		parts = append(parts, fmt.Sprintf("card new for %d h", r.NewHours))
	}
	return strings.TrimSpace(strings.Join(parts, ", "))
}

// RiskMeasure tells what a rule holds against its limit.
func RiskMeasure(r *book.RiskRule) string {
	if r.Attempts {
		return r.Measure.String() + " of attempts"
	}
	return r.Measure.String()
}

// RiskAbove tells what happens above a rule's limit.
func RiskAbove(r *book.RiskRule) string {
	if r.Action != book.Decline {
		return r.Action.String()
	}
	reason := r.Declines()
	return fmt.Sprintf("decline %v (%s)", reason, reason.DE39())
}

// plain is reference data: field by field, and where there was some before, only what
// changes.
func (w *words) plain(e *book.Entry) (string, error) {
	name, entry, was := w.standing(e)
	after, err := w.fields(entry)
	if err != nil {
		return "", err
	}
	if !w.compare || was == nil {
		parts := make([]string, 0, len(after))
		for _, field := range slices.Sorted(maps.Keys(after)) {
			parts = append(parts, field+" "+after[field])
		}
		return "put " + name + ": " + strings.Join(parts, ", "), nil
	}
	before, err := w.fields(was)
	if err != nil {
		return "", err
	}
	var parts []string
	all := maps.Clone(before)
	maps.Copy(all, after)
	for _, field := range slices.Sorted(maps.Keys(all)) {
		if before[field] != after[field] {
			parts = append(parts, fmt.Sprintf("%s %s → %s", field, cmp.Or(before[field], "none"), cmp.Or(after[field], "none")))
		}
	}
	if len(parts) == 0 {
		return "put " + name + ": it stays as it is", nil
	}
	return "change " + name + ": " + strings.Join(parts, ", "), nil
}

// standing names what an entry is about, and finds what is there now; nil: nothing, or it
// is not kept in the registry.
func (w *words) standing(e *book.Entry) (name string, entry, was any) {
	r := w.registry
	switch {
	case e.Issuer != nil:
		return fmt.Sprintf("issuer %d", e.Issuer.ID), e.Issuer, orNil(r.Issuers[e.Issuer.ID])
	case e.Acquirer != nil:
		return fmt.Sprintf("acquirer %d", e.Acquirer.ID), e.Acquirer, orNil(r.Acquirers[e.Acquirer.ID])
	case e.Program != nil:
		return fmt.Sprintf("programme %d", e.Program.ID), e.Program, orNil(r.Programs[e.Program.ID])
	case e.Merchant != nil:
		return "merchant " + e.Merchant.ID.String(), e.Merchant, orNil(r.Merchants[e.Merchant.ID])
	case e.Terminal != nil:
		return "terminal " + e.Terminal.ID.String(), e.Terminal, orNil(r.Terminals[e.Terminal.ID])
	case e.Route != nil:
		i := slices.IndexFunc(r.Routes, func(at *book.Route) bool { return at.Prefix == e.Route.Prefix && at.Only == e.Route.Only })
		if i < 0 {
			return "route " + e.Route.Prefix, e.Route, nil
		}
		return "route " + e.Route.Prefix, e.Route, r.Routes[i]
	case e.Operator != nil:
		return "operator " + e.Operator.Name, e.Operator, orNil(r.Operators[e.Operator.Name])
	case e.Policy != nil:
		return "policy", e.Policy, &r.Policy
	case e.Disputes != nil:
		rules := r.Disputes
		if rules == nil {
			rules = book.DefaultDisputeRules()
		}
		return "rules of disputes", e.Disputes, rules
	case e.Member != nil:
		return fmt.Sprintf("member %d", e.Member.ID), e.Member, nil
	case e.Card != nil:
		return "card " + e.Card.Masked, e.Card, nil
	case e.Swaps != nil: // Its rules; when they begin stands in the name.
		name := fmt.Sprintf("terms of swaps of programme %d from %s", e.Swaps.Program, w.time(e.Swaps.From))
		if r.Swaps == nil {
			return name, &e.Swaps.SwapRules, nil
		}
		if was := r.Swaps.At(e.Swaps.Program, e.Swaps.From); was != nil {
			return name, &e.Swaps.SwapRules, &was.SwapRules
		}
		return name, &e.Swaps.SwapRules, nil
	default:
		return "nothing", nil, nil
	}
}

// orNil is nil without a type where there is nothing.
func orNil[T any](p *T) any {
	if p == nil {
		return nil
	}
	return p
}

// fields are the values of reference data by their names in files, without zeros.
func (w *words) fields(entry any) (map[string]string, error) {
	text, err := json.Marshal(entry)
	if err != nil {
		return nil, fmt.Errorf("say what is put: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, fmt.Errorf("say what is put: %w", err)
	}
	fields := make(map[string]string)
	w.flatten(fields, "", value)
	return fields, nil
}

func (w *words) flatten(fields map[string]string, name string, value any) {
	switch value := value.(type) {
	case map[string]any:
		for key, inner := range value {
			w.flatten(fields, strings.TrimPrefix(name+"."+key, "."), inner)
		}
	case []any:
		var plain []string
		for i, inner := range value {
			switch inner.(type) {
			case map[string]any, []any:
				w.flatten(fields, fmt.Sprintf("%s[%d]", name, i+1), inner)
			default:
				plain = append(plain, fmt.Sprint(inner))
			}
		}
		if len(plain) > 0 {
			fields[name] = strings.Join(plain, " ")
		}
	case json.Number:
		if n, err := value.Int64(); err == nil && name == "since" {
			fields[name] = w.time(points.Timestamp(n))
			return
		}
		fields[name] = value.String()
	case nil:
	default:
		if text := fmt.Sprint(value); text != "" {
			fields[name] = text
		}
	}
}
