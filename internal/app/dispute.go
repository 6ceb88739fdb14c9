package app

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// DisputeEntry is one step of a dispute about the sale RRN, by the rule that has Code. The
// rule says which step it is, and whose.
type DisputeEntry struct {
	RRN string `json:"rrn"`
	// Open begins a case, or goes on with one that has ended; else it has to be open.
	Open     bool          `json:"open,omitempty"`
	Code     string        `json:"code"`
	Who      book.Party    `json:"who,omitempty"`    // left out, whose step it is
	Amount   points.Amount `json:"amount,omitempty"` // left out, all that it can be about
	Evidence string        `json:"evidence,omitempty"`
	Note     string        `json:"note,omitempty"`
	Operator string        `json:"operator"`
	Second   string        `json:"second,omitempty"`
}

// Dispute is a case.
type Dispute struct {
	RRN      string              `json:"rrn"` // of the sale
	State    book.DisputeState   `json:"state"`
	Answers  string              `json:"answers"` // who is to answer
	Deadline points.BusinessDate `json:"deadline,omitzero"`
	Days     int                 `json:"days_left,omitempty"`
	Forfeit  bool                `json:"acquirer_was_silent,omitempty"`
	Taken    points.Amount       `json:"taken"` // back from the acquirer, in sum
	Sold     points.Amount       `json:"sold"`
	Left     points.Amount       `json:"left"`
	Issuer   points.IssuerID     `json:"issuer"`
	Acquirer points.AcquirerID   `json:"acquirer"`
	Program  points.ProgramID    `json:"program"`
	Date     points.BusinessDate `json:"business_date"` // of the sale
	Steps    []DisputeStep       `json:"steps"`
}

// DisputeStep is one step that was taken, or that time took.
type DisputeStep struct {
	RRN      string              `json:"rrn"` // of the record
	Step     string              `json:"step"`
	Code     string              `json:"code,omitempty"`
	Amount   points.Amount       `json:"amount,omitempty"`
	Date     points.BusinessDate `json:"business_date"`
	Evidence string              `json:"evidence,omitempty"`
	Operator string              `json:"operator,omitempty"`
	Second   string              `json:"second,omitempty"`
	Note     string              `json:"note,omitempty"`
}

func (a *App) putDispute(ctx context.Context, e DisputeEntry) (Done, error) {
	what := "dispute about " + e.RRN
	if err := signed(ctx, what, &e.Operator, e.Second); err != nil {
		return Done{}, err
	}
	position, err := points.ParseRRN(e.RRN)
	if err != nil {
		return Done{}, err
	}
	cmd := book.Command{
		Kind: book.KindDispute, Edition: book.Edition, At: a.opts.Clock(), Original: position, Amount: e.Amount, Operator: e.Operator, Second: e.Second, Note: e.Note,
		Dispute: book.DisputeMove{Who: e.Who, Code: e.Code, Evidence: e.Evidence},
	}
	err = a.ledger.View(ctx, func(b *book.Book) error {
		rules := b.DisputeRulesInForce().Rules
		at := slices.IndexFunc(rules, func(r book.DisputeRule) bool { return r.Code == e.Code })
		if at < 0 {
			return points.Errorf(points.FormatError, "%s: reason code %q: there is none such; lianfen dispute rules lists them", what, e.Code)
		}
		cmd.Dispute.Step = rules[at].Step
		if e.Who == 0 {
			cmd.Dispute.Who = rules[at].Who
		}
		v, ok, err := b.Dispute(position)
		open := ok && slices.Contains(b.OpenDisputes(), position)
		switch {
		case err != nil:
			return err
		case e.Open && open:
			return points.Errorf(points.AlreadyExists, "%s: it is open, %v; lianfen dispute answer goes on with it", what, v.State)
		case !e.Open && !open:
			return points.Errorf(points.UnknownOriginal, "%s: no case is open; lianfen dispute open begins one", what)
		}
		return nil
	})
	if err != nil {
		return Done{}, err
	}
	if err := a.possible(ctx, what, &cmd); err != nil {
		return Done{}, err
	}
	return a.do(ctx, what, &cmd)
}

// maxCases is how many disputes are listed.
const maxCases = 10_000

// allDisputes lists every case, the newest last: those that nobody is to answer any more, too.
// The book knows open ones only by themselves; the journal is read for the others.
func (a *App) allDisputes(ctx context.Context, _ nothing) ([]Dispute, error) {
	var order []points.Position
	known := make(map[points.Position]bool)
	err := a.ledger.Scan(ctx, 1, a.ledger.Durable(), func(rec *book.Record) error {
		act := rec.Command.Carried()
		if act.Kind != book.KindDispute || !rec.Outcome.Reason.Approved() || known[act.Original] {
			return nil
		}
		if len(order) == maxCases {
			return points.Errorf(points.OverCountLimit, "there are more than %d disputes: lianfen dispute show RRN has one, lianfen ledger export all", maxCases)
		}
		known[act.Original] = true
		order = append(order, act.Original)
		return nil
	})
	if err != nil {
		return nil, err
	}
	list := []Dispute{}
	err = a.ledger.View(ctx, func(b *book.Book) error {
		for _, position := range order {
			v, ok, err := b.Dispute(position)
			if err != nil {
				return err
			}
			if ok {
				list = append(list, disputeOf(&v, b.Date()))
			}
		}
		return nil
	})
	return list, err
}

func (a *App) disputes(ctx context.Context, _ nothing) ([]Dispute, error) {
	list := []Dispute{}
	err := a.ledger.View(ctx, func(b *book.Book) error {
		for _, position := range b.OpenDisputes() {
			v, _, err := b.Dispute(position)
			if err != nil {
				return err
			}
			list = append(list, disputeOf(&v, b.Date()))
		}
		return nil
	})
	return list, err
}

func disputeOf(v *book.DisputeView, today points.BusinessDate) Dispute {
	d := Dispute{
		RRN: rrnOf(v.Original), State: v.State, Answers: v.Answers.String(), Deadline: v.Deadline, Forfeit: v.Forfeit, Taken: v.Net, Sold: v.Sold, Left: v.Left,
		Issuer: v.Issuer, Acquirer: v.Acquirer, Program: v.Program, Date: v.Date, Steps: []DisputeStep{},
	}
	if v.Deadline != 0 {
		d.Days = int(v.Deadline.Time().Sub(today.Time()).Hours() / 24)
	}
	for i := range v.Steps {
		s := &v.Steps[i]
		step := DisputeStep{RRN: rrnOf(s.Record), Step: s.Step.String(), Code: s.Code, Amount: s.Amount}
		if s.Step == 0 {
			step.Step = "time is over"
		}
		d.Steps = append(d.Steps, step)
	}
	return d
}

func (a *App) showDispute(ctx context.Context, l Lookup) (d Dispute, err error) {
	position, err := points.ParseRRN(l.RRN)
	if err != nil {
		return d, err
	}
	var view book.DisputeView
	err = a.ledger.View(ctx, func(b *book.Book) error {
		v, ok, err := b.Dispute(position)
		if err != nil || !ok {
			return cmpOr(err, points.Errorf(points.UnknownOriginal, "transaction %s: there is no dispute about it", l.RRN))
		}
		view, d = v, disputeOf(&v, b.Date())
		return nil
	})
	if err != nil {
		return Dispute{}, err
	}
	for i := range d.Steps {
		rec, err := a.ledger.Record(view.Steps[i].Record)
		if err != nil {
			return d, err
		}
		cmd, step := rec.Command.Carried(), &d.Steps[i]
		step.Date, step.Evidence, step.Operator, step.Second, step.Note = rec.Outcome.Date, cmd.Dispute.Evidence, cmd.Operator, cmd.Second, cmd.Note
		if cmd != &rec.Command {
			step.Second = rec.Command.Operator // Who approved.
		}
	}
	return d, nil
}

// cmpOr is the first error that is one.
func cmpOr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

func (a *App) theDisputeRules(ctx context.Context, _ nothing) (rules book.DisputeRules, err error) {
	err = a.ledger.View(ctx, func(b *book.Book) error {
		rules = b.DisputeRulesInForce()
		return nil
	})
	return rules, err
}

// DisputeRuling puts rules for disputes in force.
type DisputeRuling struct {
	Rules    book.DisputeRules `json:"rules"`
	Operator string            `json:"operator"`
	Second   string            `json:"second,omitempty"`
	Note     string            `json:"note"`
}

func (a *App) setDisputeRules(ctx context.Context, r DisputeRuling) (Done, error) {
	const what = "rules of disputes"
	if err := signed(ctx, what, &r.Operator, r.Second); err != nil {
		return Done{}, err
	}
	cmd := book.Command{Kind: book.KindPut, At: a.opts.Clock(), Operator: r.Operator, Second: r.Second, Note: r.Note, Entry: book.Entry{Disputes: &r.Rules}}
	return a.do(ctx, what, &cmd)
}

// ReadDisputeRules reads rules as "lianfen dispute rules --json" prints them.
func ReadDisputeRules(r io.Reader) (rules book.DisputeRules, err error) {
	decoder := json.NewDecoder(r)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&rules); err != nil {
		return rules, points.Errorf(points.FormatError, "rules of disputes: %w", err)
	}
	return rules, nil
}

// LegEntry is an adjustment or a fee between two members of settlement.
type LegEntry struct {
	Kind     tariff.Kind   `json:"kind"`
	Payer    tariff.Member `json:"payer"`
	Payee    tariff.Member `json:"payee"`
	Amount   points.Amount `json:"amount"`          // in units of 0.0001 QZP
	About    string        `json:"about,omitempty"` // RRN of the item that it corrects
	Evidence string        `json:"evidence,omitempty"`
	Operator string        `json:"operator"`
	Second   string        `json:"second,omitempty"`
	Note     string        `json:"note"`
}

func (a *App) putLeg(ctx context.Context, e LegEntry) (Done, error) {
	what := fmt.Sprintf("%v from %v to %v", e.Kind, e.Payer, e.Payee)
	if err := signed(ctx, what, &e.Operator, e.Second); err != nil {
		return Done{}, err
	}
	leg := book.Leg{Kind: e.Kind, Payer: e.Payer, Payee: e.Payee, Evidence: e.Evidence}
	if e.About != "" {
		about, err := points.ParseRRN(e.About)
		if err != nil {
			return Done{}, err
		}
		leg.About = about
	}
	cmd := book.Command{Kind: book.KindLeg, At: a.opts.Clock(), Amount: e.Amount, Operator: e.Operator, Second: e.Second, Note: e.Note, Leg: leg}
	if err := a.possible(ctx, what, &cmd); err != nil {
		return Done{}, err
	}
	warning, err := a.adjustedBefore(ctx, leg.About)
	if err != nil {
		return Done{}, err
	}
	done, err := a.do(ctx, what, &cmd)
	done.Warning = warning
	return done, err
}

// adjustedBefore warns of other adjustments and fees about an item: those that wait for a second
// person, and those that were entered as far behind the item as a story reaches.
func (a *App) adjustedBefore(ctx context.Context, about points.Position) (string, error) {
	if about == 0 {
		return "", nil
	}
	var before []string
	err := a.ledger.View(ctx, func(b *book.Book) error {
		for _, p := range b.Proposals() {
			if p.Act.Kind == book.KindLeg && p.Act.Leg.About == about && p.Until > a.opts.Clock() {
				before = append(before, fmt.Sprintf("RRN %s waits for a second person", rrnOf(p.Position)))
			}
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	err = a.ledger.Scan(ctx, about+1, min(about+storyReach, a.ledger.Durable()), func(rec *book.Record) error {
		if act := rec.Command.Carried(); act.Kind == book.KindLeg && act.Leg.About == about && rec.Outcome.Reason.Approved() && len(before) < maxAdjusted {
			before = append(before, fmt.Sprintf("RRN %s was entered on %v", rrnOf(rec.Outcome.Position), rec.Outcome.Date))
		}
		return nil
	})
	if err != nil || len(before) == 0 {
		return "", err
	}
	return fmt.Sprintf("this is not the first adjustment about %s: %s. See that it is meant to be another one", rrnOf(about), strings.Join(before, "; ")), nil
}

// maxAdjusted is how many adjustments about an item a warning names.
const maxAdjusted = 10

// legInWords is a leg as an approver sees it.
func legInWords(act *book.Command) string {
	l := &act.Leg
	text := fmt.Sprintf("%v: %v pays %v %s QZP", l.Kind, l.Payer, l.Payee, act.Amount.Decimal(qzpScale))
	if l.About != 0 {
		text += ", about " + rrnOf(l.About)
	}
	if l.Evidence != "" {
		text += ", evidence " + evidenceOf(l.Evidence)
	}
	return text
}

// qzpScale is the decimals of the standard point in settlement.
const qzpScale = 4

// Dispute takes a step of a case.
func (c *Client) Dispute(ctx context.Context, e DisputeEntry) (d Done, err error) {
	return d, c.call(ctx, "POST", "disputes", e, &d)
}

// Disputes lists the cases in which somebody is to answer, the most urgent first.
func (c *Client) Disputes(ctx context.Context) (d []Dispute, err error) {
	return d, c.call(ctx, "GET", "disputes", nil, &d)
}

// AllDisputes lists every case, those that have ended too.
func (c *Client) AllDisputes(ctx context.Context) (d []Dispute, err error) {
	return d, c.call(ctx, "GET", "disputes/all", nil, &d)
}

// ShowDispute shows the case about a sale.
func (c *Client) ShowDispute(ctx context.Context, rrn string) (d Dispute, err error) {
	return d, c.call(ctx, "POST", "disputes/show", Lookup{rrn}, &d)
}

// DisputeRules tells the rules in force.
func (c *Client) DisputeRules(ctx context.Context) (r book.DisputeRules, err error) {
	return r, c.call(ctx, "GET", "disputes/rules", nil, &r)
}

// SetDisputeRules puts rules in force.
func (c *Client) SetDisputeRules(ctx context.Context, r DisputeRuling) (d Done, err error) {
	return d, c.call(ctx, "POST", "disputes/rules", r, &d)
}

// Leg enters an adjustment or a fee between members.
func (c *Client) Leg(ctx context.Context, e LegEntry) (d Done, err error) {
	return d, c.call(ctx, "POST", "leg", e, &d)
}
