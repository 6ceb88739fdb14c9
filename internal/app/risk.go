package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// maxRiskRules bounds a set of rules as it is sent.
const maxRiskRules = 4 << 20

// ReadRiskRules reads a set of rules: YAML, every key known, what is wrong with its line.
func ReadRiskRules(r io.Reader) (book.RiskRules, error) {
	var set book.RiskRules
	root, err := readDocument(r, "rules")
	if err != nil || root == nil {
		return set, err
	}
	lines := make(Lines)
	err = eachKey(root, "version, parties and rules", func(key, value *yaml.Node) (err error) {
		switch key.Value {
		case "version":
			set.Version, err = readNumber(key, value)
		case "parties":
			set.Parties, err = readNumber(key, value)
		case "rules":
			set.Rules, err = readList[book.RiskRule](key, value, lines)
		default:
			err = fmt.Errorf("line %d: unknown key %q; want version, parties or rules", key.Line, key.Value)
		}
		return err
	})
	if err != nil {
		return set, fmt.Errorf("rules: %w", err)
	}
	if wrong, ok := errors.AsType[*book.RuleError](book.CheckRiskRules(&set)); ok {
		return set, points.Errorf(points.ReasonOf(wrong), "rules: line %d: %w", lineOfRule(root, wrong), wrong)
	}
	return set, nil
}

// lineOfRule is where a rule, or its field, stands.
func lineOfRule(root *yaml.Node, wrong *book.RuleError) int {
	if wrong.Rule < 0 {
		return lineOf(root, wrong.Field)
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		if root.Content[i].Value == "rules" && wrong.Rule < len(root.Content[i+1].Content) {
			return lineOf(root.Content[i+1].Content[wrong.Rule], wrong.Field)
		}
	}
	return root.Line
}

// readDocument reads the one YAML document of a file; nil for an empty one.
func readDocument(r io.Reader, what string) (*yaml.Node, error) {
	var root yaml.Node
	document := yaml.NewDecoder(r)
	if err := document.Decode(&root); errors.Is(err, io.EOF) {
		return nil, nil //nolint:nilnil // an empty file: nothing.
	} else if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if err := document.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, errors.Join(fmt.Errorf("%s: one document is read, and there is more behind it", what), err)
	}
	keepDigits(&root)
	if top := root.Content[0]; top.Kind != yaml.ScalarNode || top.Tag != "!!null" {
		return top, nil
	}
	return nil, nil //nolint:nilnil // as above.
}

// eachKey calls visit with every key of a mapping, which are there once.
func eachKey(top *yaml.Node, want string, visit func(key, value *yaml.Node) error) error {
	if top.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: want %s", top.Line, want)
	}
	seen := make(map[string]bool)
	for i := 0; i+1 < len(top.Content); i += 2 {
		key := top.Content[i]
		if seen[key.Value] {
			return fmt.Errorf("line %d: %q is there twice", key.Line, key.Value)
		}
		seen[key.Value] = true
		if err := visit(key, top.Content[i+1]); err != nil {
			return err
		}
	}
	return nil
}

func readNumber(key, value *yaml.Node) (n uint32, err error) {
	if value.Kind != yaml.ScalarNode || value.Decode(&n) != nil {
		return 0, fmt.Errorf("line %d: %s %q: want a whole number from 0 to 4294967295", key.Line, key.Value, value.Value)
	}
	return n, nil
}

// Risk is the rules in force, and how full their counters are.
type Risk struct {
	book.RiskRules
	Put      string `json:"put,omitempty"` // RRN of the record that put them
	Counted  int    `json:"counted"`       // for how many cards, members, terminals ... something is counted, or was
	Most     int    `json:"most"`          // the bound
	Crowded  bool   `json:"crowded"`       // it was reached: some share counters
	Operator string `json:"operator,omitempty"`
	Second   string `json:"second,omitempty"`
	Note     string `json:"note,omitempty"`
}

func (a *App) risk(ctx context.Context, _ nothing) (Risk, error) {
	var r Risk
	var put points.Position
	err := a.ledger.View(ctx, func(b *book.Book) error {
		view := b.Risk()
		r.Counted, r.Most, r.Crowded = view.Parties, view.Most, view.Shared
		if set := b.Registry().Risk; set != nil {
			r.RiskRules, put = *set, set.Position()
		}
		return nil
	})
	if r.Rules == nil {
		r.Rules = []book.RiskRule{}
	}
	if err != nil || put == 0 {
		return r, err
	}
	rec, err := a.ledger.Record(put)
	if err != nil {
		return r, err
	}
	set := rec.Command.Carried()
	r.Put, r.Operator, r.Second, r.Note = rrnOf(put), set.Operator, set.Second, set.Note
	if set != &rec.Command { // An approval: who approved stands in the approval.
		r.Second = rec.Command.Operator
	}
	return r, nil
}

// RiskSetting sets the rules. It is one command of the ledger.
type RiskSetting struct {
	Rules    book.RiskRules `json:"rules"`
	Operator string         `json:"operator"`
	Second   string         `json:"second,omitempty"`
	Note     string         `json:"note"`
}

// command is what a setting comes to in the journal.
func (s *RiskSetting) command(now points.Timestamp) book.Command {
	return book.Command{Kind: book.KindPut, Edition: book.Edition, At: now, Entry: book.Entry{Risk: &s.Rules}, Operator: s.Operator, Second: s.Second, Note: s.Note}
}

func (a *App) setRisk(ctx context.Context, s RiskSetting) (Done, error) {
	if err := signed(ctx, "rules on risk", &s.Operator, s.Second); err != nil {
		return Done{}, err
	}
	if s.Operator == "" || s.Note == "" {
		return Done{}, points.Errorf(points.FormatError, "rules on risk: say who sets them, and why")
	}
	cmd := s.command(a.opts.Clock())
	done, err := a.do(ctx, "rules on risk", &cmd)
	if err != nil {
		return done, err
	}
	a.log.Info("rules on risk are set", slog.Int("rules", len(s.Rules.Rules)), slog.String("operator", s.Operator))
	return done, a.refresh(ctx)
}

// RiskSaid is what the rules had to say about a transaction.
type RiskSaid struct {
	Version uint32      `json:"version"` // of the rules
	Decided *RuleName   `json:"decided,omitempty"`
	Flagged []*RuleName `json:"flagged,omitempty"`
}

// RuleName names a rule of a version.
type RuleName struct {
	Number int    `json:"number"`
	Name   string `json:"name,omitempty"`
}

func riskSaid(d book.Decision) *RiskSaid {
	if d == (book.Decision{}) {
		return nil
	}
	said := &RiskSaid{Version: d.Version}
	if d.Rule != 0 {
		said.Decided = &RuleName{Number: int(d.Rule)}
	}
	for _, number := range d.Flagged() {
		said.Flagged = append(said.Flagged, &RuleName{Number: number})
	}
	return said
}

// all lists the rules that had something to say.
func (s *RiskSaid) all() []*RuleName {
	if s.Decided == nil {
		return s.Flagged
	}
	return append([]*RuleName{s.Decided}, s.Flagged...)
}

// English says it in a sentence.
func (s *RiskSaid) English() string {
	return s.say("declined by", "flagged by", "rule %d", " (%s)", " of version %d of the rules", ", ")
}

// Chinese says it in a sentence.
func (s *RiskSaid) Chinese() string {
	return s.say("被拒绝:", "已标记:", "规则%d", "(%s)", ",规则版本%d", "、")
}

func (s *RiskSaid) say(declined, flagged, rule, name, version, and string) string {
	if s == nil {
		return ""
	}
	var text string
	one := func(r *RuleName) string {
		if r.Name == "" {
			return fmt.Sprintf(rule, r.Number)
		}
		return fmt.Sprintf(rule+name, r.Number, points.Escaped(r.Name))
	}
	if s.Decided != nil {
		text = declined + " " + one(s.Decided)
	}
	for i, r := range s.Flagged {
		switch {
		case i > 0:
			text += and + one(r)
		case text != "":
			text += and + flagged + " " + one(r)
		default:
			text = flagged + " " + one(r)
		}
	}
	return text + fmt.Sprintf(version, s.Version)
}

func saidIn(records []Record) (said []*RiskSaid) {
	for i := range records {
		said = append(said, records[i].Risk)
	}
	return said
}

// nameRules fills in the names that rules had in the version that spoke. Each set names
// the record of the one before it, so that old versions are found by going back.
func (a *App) nameRules(ctx context.Context, said []*RiskSaid) error {
	said = slices.DeleteFunc(slices.Clone(said), func(s *RiskSaid) bool { return s == nil })
	if len(said) == 0 {
		return nil
	}
	slices.SortStableFunc(said, func(x, y *RiskSaid) int { return cmp.Compare(y.Version, x.Version) })
	var version uint32
	var at points.Position
	err := a.ledger.View(ctx, func(b *book.Book) error {
		if set := b.Registry().Risk; set != nil {
			version, at = set.Version, set.Position()
		}
		return nil
	})
	for i := 0; err == nil && i < len(said) && at != 0; version-- {
		var rec book.Record
		if rec, err = a.ledger.Record(at); err != nil || rec.Command.Carried().Entry.Risk == nil {
			break
		}
		for ; i < len(said) && said[i].Version >= version; i++ {
			for _, r := range said[i].all() {
				if rules := rec.Command.Carried().Entry.Risk.Rules; r.Number >= 1 && r.Number <= len(rules) && said[i].Version == version {
					r.Name = rules[r.Number-1].Name
				}
			}
		}
		at = rec.Outcome.Original
	}
	return err
}

// RiskFlagsQuery asks for what rules have flagged or declined on business dates.
type RiskFlagsQuery struct {
	From  points.BusinessDate `json:"from"`
	To    points.BusinessDate `json:"to"`
	Rule  string              `json:"rule,omitempty"` // only what the rule of this name said; empty: any
	Limit int                 `json:"limit"`
}

// RiskFlags is what rules have said, in the order of the journal, and how much there is.
type RiskFlags struct {
	Records  []Record `json:"records"`
	Declined int      `json:"declined"`
	Flagged  int      `json:"flagged"`
}

func (a *App) riskFlags(ctx context.Context, q RiskFlagsQuery) (RiskFlags, error) {
	flags := RiskFlags{Records: []Record{}}
	if q.Limit < 1 || q.Limit > ledger.MaxPageLimit {
		return flags, points.Errorf(points.FormatError, "limit %d: want 1 to %d", q.Limit, ledger.MaxPageLimit)
	}
	from, to, err := positionsOf(a.ledger, Exporting{From: q.From, To: q.To})
	if err != nil {
		return flags, err
	}
	names := make(map[uint32][]string)
	err = a.ledger.Scan(ctx, from, to, func(rec *book.Record) error {
		if rec.Outcome.Risk == (book.Decision{}) {
			return nil
		}
		r := recordFor(a.key, rec)
		if err := a.nameCached(ctx, r.Risk, names); err != nil {
			return err
		}
		if q.Rule != "" && !slices.ContainsFunc(r.Risk.all(), func(n *RuleName) bool { return n.Name == q.Rule }) {
			return nil
		}
		if r.Risk.Decided != nil {
			flags.Declined++
		}
		if len(r.Risk.Flagged) > 0 {
			flags.Flagged++
		}
		if len(flags.Records) < q.Limit {
			flags.Records = append(flags.Records, r)
		}
		return nil
	})
	return flags, err
}

// nameCached is nameRules for one after the other.
func (a *App) nameCached(ctx context.Context, said *RiskSaid, names map[uint32][]string) error {
	known, ok := names[said.Version]
	if !ok {
		all := &RiskSaid{Version: said.Version}
		for number := range book.MaxRiskRules {
			all.Flagged = append(all.Flagged, &RuleName{Number: number + 1})
		}
		if err := a.nameRules(ctx, []*RiskSaid{all}); err != nil {
			return err
		}
		for _, r := range all.Flagged {
			known = append(known, r.Name)
		}
		names[said.Version] = known
	}
	for _, r := range said.all() {
		if r.Number <= len(known) {
			r.Name = known[r.Number-1]
		}
	}
	return nil
}

// RiskTrial asks what other rules would have said on a business date.
type RiskTrial struct {
	Rules book.RiskRules      `json:"rules"`
	Date  points.BusinessDate `json:"date"`
	Limit int                 `json:"limit"` // of the list of changes
}

// RiskTried is what other rules would have said.
type RiskTried struct {
	Date    points.BusinessDate `json:"business_date"`
	Asked   int                 `json:"asked"` // transactions that rules look at
	Was     RiskTotals          `json:"was"`
	Now     RiskTotals          `json:"now"`
	Rules   []RuleTotals        `json:"rules"`   // of the tried set, in order
	Changed int                 `json:"changed"` // transactions that would be answered otherwise
	Changes []RiskChange        `json:"changes"` // the first of them
}

// RiskTotals is how a day went.
type RiskTotals struct {
	Approved int           `json:"approved"`
	Amount   points.Amount `json:"amount"`   // of those, in the smallest unit of whichever programme
	Declined int           `json:"declined"` // by whatever
	ByRules  int           `json:"by_rules"` // of those, by a rule
	Flagged  int           `json:"flagged"`
}

// RuleTotals is what one rule would have done.
type RuleTotals struct {
	Number   int           `json:"number"`
	Name     string        `json:"name"`
	Declined int           `json:"declined"`
	Amount   points.Amount `json:"amount"` // that was asked for in these
	Flagged  int           `json:"flagged"`
}

// RiskChange is a transaction that would be answered otherwise.
type RiskChange struct {
	Record                     // as it was
	MerchantName string        `json:"merchant_name,omitempty"`
	Now          points.Reason `json:"now"`
	Said         *RiskSaid     `json:"now_risk,omitempty"` // what the tried rules have to say
}

func (a *App) tryRisk(ctx context.Context, q RiskTrial) (RiskTried, error) {
	from, to, err := positionsOf(a.ledger, Exporting{From: q.Date, To: q.Date})
	if err != nil {
		return RiskTried{}, err
	}
	if from > to {
		return RiskTried{}, points.Errorf(points.FormatError, "business date %v: the journal has nothing of it", q.Date)
	}
	names := make(map[points.MerchantID]string)
	err = a.ledger.View(ctx, func(b *book.Book) error {
		for id, m := range b.Registry().Merchants {
			names[id] = m.Name
		}
		return nil
	})
	if err != nil {
		return RiskTried{}, err
	}
	return tryRisk(ctx, a.ledger, &q, from, to, func(rec *book.Record) RiskChange {
		return RiskChange{Record: recordFor(a.key, rec), MerchantName: names[rec.Command.Merchant]}
	})
}

// tryRisk rehearses the records at positions from to to.
// tryRisk rehearses; shown makes a record one for people, with the names that are known.
func tryRisk(ctx context.Context, j ledger.Journal, q *RiskTrial, from, to points.Position, shown func(*book.Record) RiskChange) (RiskTried, error) {
	tried := RiskTried{Date: q.Date, Rules: []RuleTotals{}, Changes: []RiskChange{}}
	for i := range q.Rules.Rules {
		tried.Rules = append(tried.Rules, RuleTotals{Number: i + 1, Name: q.Rules.Rules[i].Name})
	}
	locked := make(map[points.Position]bool) // Their swaps have been asked about: a swap is one with its lock.
	err := ledger.Rehearse(ctx, j, &q.Rules, from, to, func(rec *book.Record, now *book.Outcome) error {
		kind, quote := rec.Command.Kind, rec.Command.Original
		switch {
		case kind == book.KindRedeem, kind == book.KindEarn, kind == book.KindHold, kind == book.KindTransfer, kind == book.KindForward:
		case kind == book.KindSwapLock:
			locked[quote] = locked[quote] || rec.Outcome.Reason.Approved()
		case kind == book.KindSwap && !locked[quote]:
		case now.Risk != book.Decision{}: // A quote.
		default:
			if rec.Outcome.Reason == now.Reason {
				return nil
			}
		}
		tried.add(rec, now, q.Limit, shown)
		return nil
	})
	return tried, err
}

func (t *RiskTried) add(rec *book.Record, now *book.Outcome, limit int, shown func(*book.Record) RiskChange) {
	if rec.Command.Function != 0 {
		t.Asked++
		t.Was.add(&rec.Outcome)
		t.Now.add(now)
	}
	if rule := int(now.Risk.Rule); rule != 0 {
		t.Rules[rule-1].Declined++
		t.Rules[rule-1].Amount += cmp.Or(rec.Command.Amount, rec.Outcome.Amount) // A swap at the desk says its quote only.
	}
	for _, number := range now.Risk.Flagged() {
		t.Rules[number-1].Flagged++
	}
	if rec.Outcome.Reason == now.Reason {
		return
	}
	t.Changed++
	if len(t.Changes) >= limit {
		return
	}
	change := shown(rec)
	change.Now, change.Said = now.Reason, riskSaid(now.Risk)
	if change.Said != nil {
		change.Said.Version = 0
		for _, r := range change.Said.all() {
			r.Name = t.Rules[r.Number-1].Name
		}
	}
	t.Changes = append(t.Changes, change)
}

func (t *RiskTotals) add(out *book.Outcome) {
	if out.Reason.Approved() {
		t.Approved++
		t.Amount += out.Amount
	} else {
		t.Declined++
	}
	if out.Risk.Rule != 0 {
		t.ByRules++
	}
	if out.Risk.Flags != 0 {
		t.Flagged++
	}
}

// Risk shows the rules in force.
func (c *Client) Risk(ctx context.Context) (r Risk, err error) {
	return r, c.call(ctx, "GET", "risk", nil, &r)
}

// SetRisk sets the rules.
func (c *Client) SetRisk(ctx context.Context, s RiskSetting) (d Done, err error) {
	return d, c.call(ctx, "POST", "risk", s, &d)
}

// TryRisk tells what other rules would have said.
func (c *Client) TryRisk(ctx context.Context, q RiskTrial) (t RiskTried, err error) {
	return t, c.call(ctx, "POST", "risk/test", q, &t)
}

// RiskFlags lists what rules have flagged or declined.
func (c *Client) RiskFlags(ctx context.Context, q RiskFlagsQuery) (f RiskFlags, err error) {
	return f, c.call(ctx, "POST", "risk/flags", q, &f)
}
