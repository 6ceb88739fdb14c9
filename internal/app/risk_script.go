package app

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// RiskDay is a day that somebody has made up, to try rules on risk on: no ledger has it.
// Everybody in it has points enough.
type RiskDay struct {
	Date  points.BusinessDate
	Cards []RiskCard
	Steps []RiskStep
}

// RiskCard says more of a card than that it is there.
type RiskCard struct {
	Name   string          `json:"name"`
	Member points.MemberID `json:"member,omitempty"` // whose it is; 0: its own member
	Hours  *uint32         `json:"hours,omitempty"`  // it was put so long before the day's midnight; left out: nobody knows
}

// RiskStep is what happens at a time of the day: something is sent, or what was sent
// before under a name is voided or reversed.
type RiskStep struct {
	At       string            `json:"at"` // 15:04 or 15:04:05, of UTC
	Send     points.Function   `json:"send,omitempty"`
	Card     string            `json:"card,omitempty"`
	To       string            `json:"to,omitempty"` // transfer
	Merchant points.MerchantID `json:"merchant,omitzero"`
	Terminal points.TerminalID `json:"terminal,omitzero"`
	Program  points.ProgramID  `json:"program,omitempty"`
	Into     points.ProgramID  `json:"into,omitempty"` // swap
	Amount   points.Amount     `json:"amount,omitempty"`
	Entry    uint16            `json:"entry,omitempty"` // DE22
	PIN      bool              `json:"pin,omitempty"`
	As       string            `json:"as,omitempty"`
	Void     string            `json:"void,omitempty"`
	Reverse  string            `json:"reverse,omitempty"`

	line int
}

// maxRiskSteps bounds a day.
const maxRiskSteps = 100_000

// ReadRiskDay reads a day: YAML, every key known, what is wrong with its line.
func ReadRiskDay(r io.Reader) (RiskDay, error) {
	var day RiskDay
	root, err := readDocument(r, "day")
	if err != nil || root == nil {
		return day, err
	}
	lines := make(Lines)
	err = eachKey(root, "date, cards and steps", func(key, value *yaml.Node) (err error) {
		switch key.Value {
		case "date":
			if day.Date, err = points.ParseBusinessDate(value.Value); err != nil {
				err = fmt.Errorf("line %d: %w", key.Line, err)
			}
		case "cards":
			day.Cards, err = readList[RiskCard](key, value, lines)
		case "steps":
			day.Steps, err = readList[RiskStep](key, value, lines)
		default:
			err = fmt.Errorf("line %d: unknown key %q; want date, cards or steps", key.Line, key.Value)
		}
		return err
	})
	for i := range day.Steps {
		day.Steps[i].line = lines[at("steps", i)]
	}
	switch {
	case err != nil:
		return day, fmt.Errorf("day: %w", err)
	case day.Date == 0:
		return day, points.Errorf(points.FormatError, "day: line %d: date: want a business date such as 2026-03-01", root.Line)
	case len(day.Steps) > maxRiskSteps:
		return day, points.Errorf(points.FormatError, "day: %d steps, want at most %d", len(day.Steps), maxRiskSteps)
	}
	return day, nil
}

// TryRiskDay tells what rules would have said on a day that somebody has made up, where
// against was in force.
func TryRiskDay(ctx context.Context, day *RiskDay, against, rules *book.RiskRules, limit int) (RiskTried, error) {
	w := &riskWorld{memory: new(memory), cards: make(map[string]*RiskCard), named: make(map[string]points.Position)}
	w.book = book.New(book.Options{}, journalled{w.memory})
	from, err := w.furnish(day, against, rules)
	if err != nil {
		return RiskTried{}, err
	}
	for i := range day.Steps {
		if err := w.step(&day.Steps[i]); err != nil {
			return RiskTried{}, points.Errorf(points.ReasonOf(err), "day: line %d: %w", day.Steps[i].line, err)
		}
	}
	cards := make(map[points.CardToken]string, len(w.cards))
	for name := range w.cards {
		cards[tokenOfName(name)] = name
	}
	return tryRisk(ctx, w, &RiskTrial{Rules: *rules, Date: day.Date, Limit: limit}, from, points.Position(len(w.records)), func(rec *book.Record) RiskChange {
		change := RiskChange{Record: recordFor(nil, rec)}
		change.Card = cards[rec.Command.Card] // A made-up card has no number, but what the day calls it.
		return change
	})
}

// memory is a journal that nobody keeps.
type memory struct {
	records [][]byte
}

var _ ledger.Journal = (*memory)(nil)

// State has nothing.
func (m *memory) State([]byte) ([]byte, bool, error) { return nil, false, nil }

func (m *memory) read(position points.Position, rec *book.Record) error {
	if position == 0 || position > points.Position(len(m.records)) {
		return fmt.Errorf("no record %d", position)
	}
	_, err := book.DecodeRecord(m.records[position-1], rec)
	return err
}

// Record reads a record.
func (m *memory) Record(position points.Position) (rec book.Record, err error) {
	return rec, m.read(position, &rec)
}

// Scan visits records in order.
func (m *memory) Scan(ctx context.Context, from, to points.Position, visit func(*book.Record) error) error {
	var rec book.Record
	for position := max(from, 1); position <= min(to, points.Position(len(m.records))); position++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := m.read(position, &rec); err != nil {
			return err
		}
		if err := visit(&rec); err != nil {
			return err
		}
	}
	return nil
}

// journalled is a memory as a book reads it.
type journalled struct{ *memory }

// Record reads a record.
func (j journalled) Record(position points.Position, rec *book.Record) error {
	return j.read(position, rec)
}

// riskWorld is the ledger of a day that somebody has made up.
type riskWorld struct {
	*memory
	book     *book.Book
	midnight points.Timestamp
	cards    map[string]*RiskCard
	named    map[string]points.Position
}

const (
	riskIssuer   = points.IssuerID(10_000_001)
	riskAcquirer = points.AcquirerID(20_000_001)
)

// do carries out a command.
func (w *riskWorld) do(cmd book.Command) (out book.Outcome, err error) {
	next := points.Position(len(w.records) + 1)
	if err := w.book.Apply(next, &cmd, &out); err != nil {
		return out, err
	}
	if out.Position == next && !out.Replayed {
		w.records = append(w.records, book.AppendRecord(nil, &cmd, &out))
	}
	return out, nil
}

// must carries out what cannot be refused but for what a script says.
func (w *riskWorld) must(cmd book.Command) error {
	out, err := w.do(cmd)
	if err == nil && !out.Reason.Approved() {
		err = w.book.Why(&cmd)
		if err == nil {
			err = points.Errorf(out.Reason, "%v: %s", cmd.Kind, out.Reason.English())
		}
	}
	return err
}

// furnish puts whoever the day and the rules name, and gives everybody points. It returns
// the position at which the day begins.
func (w *riskWorld) furnish(day *RiskDay, against, rules *book.RiskRules) (points.Position, error) {
	w.midnight = points.TimestampOf(day.Date.Time())
	entries := []book.Entry{{Issuer: &book.Issuer{ID: riskIssuer, Name: "Issuer", Status: book.Active}}, {Acquirer: &book.Acquirer{ID: riskAcquirer, Name: "Acquirer", Status: book.Active}}}
	var programs []points.ProgramID
	var merchants []points.MerchantID
	var terminals []points.TerminalID
	for i := range day.Steps {
		if err := day.Steps[i].complete(); err != nil {
			return 0, points.Errorf(points.ReasonOf(err), "day: line %d: %w", day.Steps[i].line, err)
		}
		programs, merchants = append(programs, day.Steps[i].Program, day.Steps[i].Into), append(merchants, day.Steps[i].Merchant)
	}
	for _, set := range []*book.RiskRules{against, rules} {
		for i := range set.Rules {
			r := &set.Rules[i]
			programs, merchants, terminals = append(programs, r.Programs...), append(merchants, r.Merchants...), append(terminals, r.Terminals...)
			for _, id := range r.Acquirers {
				entries = append(entries, book.Entry{Acquirer: &book.Acquirer{ID: id, Name: "Acquirer", Status: book.Active}})
			}
		}
	}
	programs = slices.DeleteFunc(slices.Compact(slices.Sorted(slices.Values(programs))), func(id points.ProgramID) bool { return id == 0 })
	for _, id := range programs {
		entries = append(entries, book.Entry{Program: &book.Program{ID: id, Issuer: riskIssuer, Name: "Programme", Status: book.Active, Rules: book.ProgramRules{Transfer: true}}})
	}
	for _, id := range append(merchants, riskMerchant()) {
		if id != (points.MerchantID{}) {
			entries = append(entries, book.Entry{Merchant: &book.Merchant{ID: id, Acquirer: riskAcquirer, Name: "Merchant", Status: book.Active, Programs: programs}})
		}
	}
	for _, id := range terminals {
		entries = append(entries, book.Entry{Terminal: &book.Terminal{ID: id, Merchant: riskMerchant(), Status: book.Active}})
	}
	for i := range day.Steps {
		if step := &day.Steps[i]; step.Terminal != (points.TerminalID{}) {
			entries = append(entries, book.Entry{Terminal: &book.Terminal{ID: step.Terminal, Merchant: step.Merchant, Status: book.Active}})
		}
	}
	for i := range day.Cards {
		w.cards[day.Cards[i].Name] = &day.Cards[i]
	}
	for i := range day.Steps {
		for _, name := range []string{day.Steps[i].Card, day.Steps[i].To} {
			if name != "" && w.cards[name] == nil {
				day.Cards = append(day.Cards, RiskCard{Name: name})
				w.cards[name] = &RiskCard{Name: name}
			}
		}
	}
	for _, e := range entries {
		if err := w.must(book.Command{Kind: book.KindPut, Entry: e}); err != nil {
			return 0, err
		}
	}
	if err := w.offerSwaps(programs); err != nil {
		return 0, err
	}
	if err := w.must(book.Command{Kind: book.KindCutOver, Date: day.Date}); err != nil {
		return 0, err
	}
	if err := w.enrol(day, programs); err != nil {
		return 0, err
	}
	in := *against
	in.Version = 0
	if err := w.must(book.Command{Kind: book.KindPut, Entry: book.Entry{Risk: &in}}); err != nil {
		return 0, fmt.Errorf("the rules in force: %w", err)
	}
	return points.Position(len(w.records) + 1), nil
}

// offerSwaps has every programme swapped for every other, one for one, long before the day.
func (w *riskWorld) offerSwaps(programs []points.ProgramID) error {
	from := w.midnight - 24*3600*1_000_000
	entries := []book.Entry{{Fees: &tariff.Schedule{From: from, Rows: []tariff.FeeRow{{Kind: tariff.KindSWP}}}}}
	for _, id := range programs {
		for _, side := range []tariff.Side{tariff.Buy, tariff.Sell} {
			entries = append(entries, book.Entry{Rate: &tariff.Rate{Terms: tariff.Terms{Program: id, Side: side, Num: 1, Den: 1, From: from}}})
		}
		rules := tariff.SwapRules{Lots: 1 << book.Earned, Expiry: tariff.ExpiryProgram, QuoteSeconds: 30}
		entries = append(entries, book.Entry{Swaps: &tariff.SwapTerms{Program: id, From: from, SwapRules: rules}})
	}
	for _, e := range entries {
		if err := w.must(book.Command{Kind: book.KindPut, At: from - 2*tariff.LeadTime, Entry: e, Operator: "maker", Second: "checker"}); err != nil {
			return fmt.Errorf("swaps: %w", err)
		}
	}
	return nil
}

// riskMerchant is where a step takes place that names no merchant.
func riskMerchant() points.MerchantID { return points.MerchantID([]byte("M1             ")) }

// enrol puts members and cards, and gives them points of every programme.
func (w *riskWorld) enrol(day *RiskDay, programs []points.ProgramID) error {
	known := make(map[points.MemberID]bool)
	for i := range day.Cards {
		c := &day.Cards[i]
		if c.Member == 0 {
			c.Member = points.MemberID(1_000_000_000 + i)
		}
		w.cards[c.Name].Member = c.Member
		commands := []book.Command{{Kind: book.KindPut, Entry: book.Entry{Member: &book.Member{ID: c.Member, Status: book.Active}}}}
		if known[c.Member] {
			commands = nil
		}
		card := &book.Card{Token: tokenOfName(c.Name), Masked: c.Name, Member: c.Member, Status: book.Active}
		if c.Hours != nil {
			card.Since = w.midnight - points.Timestamp(*c.Hours)*points.Timestamp(time.Hour.Microseconds())
		}
		commands = append(commands, book.Command{Kind: book.KindPut, Entry: book.Entry{Card: card}})
		for _, program := range programs {
			if known[c.Member] {
				break
			}
			commands = append(commands, book.Command{Kind: book.KindOpen, Member: c.Member, Program: program},
				book.Command{Kind: book.KindEarn, Acquirer: riskAcquirer, Member: c.Member, Program: program, Amount: points.MaxAmount})
		}
		for _, cmd := range commands {
			if err := w.must(cmd); err != nil {
				return fmt.Errorf("day: card %q: %w", c.Name, err)
			}
		}
		known[c.Member] = true
	}
	return nil
}

// tokenOfName stands for a card that has no number.
func tokenOfName(name string) (token points.CardToken) {
	sum := sha256.Sum256([]byte(name))
	copy(token[:], sum[:])
	return token
}

// complete fills in what a step may leave out, and refuses what cannot be.
func (s *RiskStep) complete() error {
	said := 0
	for _, is := range [...]bool{s.Send != 0, s.Void != "", s.Reverse != ""} {
		if is {
			said++
		}
	}
	switch {
	case said != 1:
		return points.Errorf(points.FormatError, "want one of send, void and reverse")
	case s.Send != 0 && !risky(s.Send):
		return points.Errorf(points.FormatError, "send %v: want redeem, earn, pre_auth, transfer, offline_redeem, offline_earn or swap", s.Send)
	case s.Send != 0 && (s.Card == "" || s.Program == 0 || s.Amount <= 0):
		return points.Errorf(points.FormatError, "send %v: want a card, a program and an amount", s.Send)
	case (s.Send == points.Swap) != (s.Into != 0):
		return points.Errorf(points.FormatError, "into: a swap says into which programme it is, and nothing else does")
	}
	if s.Merchant == (points.MerchantID{}) {
		s.Merchant = riskMerchant()
	}
	return nil
}

// risky reports whether a request of a function is held against rules on risk.
func risky(f points.Function) bool {
	switch book.KindOf(f) {
	case book.KindRedeem, book.KindEarn, book.KindHold, book.KindTransfer, book.KindSwap:
		return true
	default:
		return false
	}
}

// step plays one step.
func (w *riskWorld) step(s *RiskStep) error {
	when, err := time.Parse("15:04", s.At)
	if err != nil {
		when, err = time.Parse("15:04:05", s.At)
	}
	if err != nil {
		return points.Errorf(points.FormatError, "at %q: want a time of the day such as 09:30", s.At)
	}
	cmd := book.Command{
		Kind: book.KindOf(s.Send), Function: s.Send, At: w.midnight.Add(when.Sub(when.Truncate(24 * time.Hour))), Acquirer: riskAcquirer,
		Merchant: s.Merchant, Terminal: s.Terminal, Program: s.Program, Amount: s.Amount, EntryMode: s.Entry, PIN: s.PIN,
		Key: points.TraceKey{Acquirer: riskAcquirer, When: uint64(len(w.records)) + 1, Door: points.DoorTerminal, Class: 2},
	}
	if s.Send == 0 {
		name := s.Void + s.Reverse
		position, ok := w.named[name]
		if !ok {
			return points.Errorf(points.FormatError, "%q: no step before has that name", name)
		}
		first, err := w.Record(position)
		if err != nil {
			return err
		}
		cmd.Kind, cmd.Function, cmd.Original, cmd.Merchant, cmd.Terminal = book.KindVoid, points.Void, position, first.Command.Merchant, first.Command.Terminal
		if s.Reverse != "" {
			cmd.Kind, cmd.Function = book.KindReverse, points.Reversal
		} else if first.Command.Kind == book.KindHold {
			cmd.Kind, cmd.Function = book.KindRelease, points.PreAuthVoid
		}
	} else {
		cmd.Card = tokenOfName(s.Card)
		if s.To != "" {
			cmd.ToCard = tokenOfName(s.To)
		}
		if s.Send == points.Swap {
			if err := w.quote(s, &cmd); err != nil {
				return err
			}
		}
	}
	out, err := w.do(cmd)
	if s.As != "" {
		w.named[s.As] = out.Position
	}
	return err
}

// quote has a swap quoted, which is the house's own affair: what a step sends is the swap.
func (w *riskWorld) quote(s *RiskStep, cmd *book.Command) error {
	quoted, err := w.do(book.Command{
		Kind: book.KindQuote, At: cmd.At, Acquirer: cmd.Acquirer, Merchant: cmd.Merchant, Terminal: cmd.Terminal,
		Card: cmd.Card, Program: cmd.Program, Into: s.Into, Amount: cmd.Amount,
	})
	if err == nil && !quoted.Reason.Approved() {
		err = points.Errorf(quoted.Reason, "swap of %d: %s", s.Amount, quoted.Reason.English())
	}
	cmd.Original = quoted.Position
	return err
}
