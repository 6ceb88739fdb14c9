package app

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"

	"github.com/lianfen/lianfen/certs"
	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// Range is which business dates and which part of the answer are wanted: at most
// Limit lines, newest first unless OldestFirst is set, from the record that Next
// of the page before names. What is left out is open.
type Range struct {
	From        points.BusinessDate `json:"from,omitempty"`
	To          points.BusinessDate `json:"to,omitempty"`
	Limit       int                 `json:"limit,omitempty"`
	OldestFirst bool                `json:"oldest_first,omitempty"`
	Next        string              `json:"next,omitempty"` // RRN
}

func (r *Range) dates() ledger.Dates { return ledger.Dates{From: r.From, To: r.To} }

func (r *Range) page() (ledger.Page, error) {
	page := ledger.Page{Limit: r.Limit, Oldest: r.OldestFirst}
	if r.Next == "" {
		return page, nil
	}
	var err error
	page.From, err = points.ParseRRN(r.Next)
	return page, err
}

// Reach is how far an answer reaches. While AsOf is below Position the index of
// statements and searches is still behind the journal: what came later is not in
// the answer.
type Reach struct {
	AsOf     points.Position `json:"as_of"`
	Position points.Position `json:"position"`
	Next     string          `json:"next,omitempty"` // RRN at which the next page begins
}

func reachOf(e ledger.Extent) Reach {
	r := Reach{AsOf: e.AsOf, Position: e.Durable}
	if e.Next != 0 {
		r.Next = rrnOf(e.Next)
	}
	return r
}

func rrnOf(p points.Position) string {
	rrn := p.RRN()
	return string(rrn[:])
}

// StatementQuery asks what happened to a member's points. All includes what moved
// nothing: declines and enquiries.
type StatementQuery struct {
	Holder
	Program points.ProgramID `json:"program,omitempty"`
	All     bool             `json:"all,omitempty"`
	Range
}

// Statement is what happened to a member's points.
type Statement struct {
	Member   points.MemberID `json:"member"`
	Card     string          `json:"card,omitempty"` // masked
	Programs []StatementUnit `json:"programs"`
	// Merchants are those that lines name.
	Merchants []StatementMerchant `json:"merchants,omitempty"`
	Lines     []StatementLine     `json:"lines"`
	Reach
}

// StatementUnit is a programme that a statement has lines of.
type StatementUnit struct {
	Program points.ProgramID `json:"program"`
	Name    string           `json:"name"`
	NameZH  string           `json:"name_zh,omitempty"`
	Scale   uint8            `json:"scale"` // decimals that a person sees
}

// StatementMerchant is a merchant that a statement has lines of.
type StatementMerchant struct {
	Merchant points.MerchantID `json:"merchant"`
	Name     string            `json:"name,omitempty"`
	NameZH   string            `json:"name_zh,omitempty"`
}

// StatementLine is what one journal record did to the points. Amounts are in the
// smallest unit, above zero when the member gained. Reserved went from free into
// holds; below zero it came back. Balances are those afterwards; null where the
// record does not tell.
type StatementLine struct {
	RRN      string              `json:"rrn"`
	Date     points.BusinessDate `json:"business_date"`
	Posted   string              `json:"posted"`
	Kind     book.Kind           `json:"kind"`
	Function points.Function     `json:"function,omitempty"`
	Reason   points.Reason       `json:"reason"`
	Program  points.ProgramID    `json:"program,omitempty"`
	Merchant points.MerchantID   `json:"merchant,omitzero"`
	Terminal points.TerminalID   `json:"terminal,omitzero"`
	STAN     string              `json:"stan,omitempty"`
	Card     string              `json:"card,omitempty"` // masked
	Original string              `json:"original,omitempty"`
	Amount   points.Amount       `json:"amount"`
	Reserved points.Amount       `json:"reserved,omitempty"`
	Balance  *points.Amount      `json:"balance"`
	Free     *points.Amount      `json:"free"`
	Pending  *points.Amount      `json:"pending"`
	Held     *points.Amount      `json:"held"`
	Debt     *points.Amount      `json:"debt"`
}

func (a *App) statement(ctx context.Context, q StatementQuery) (Statement, error) {
	s := Statement{Member: q.Member, Programs: []StatementUnit{}, Lines: []StatementLine{}}
	page, err := q.page()
	if err != nil {
		return s, err
	}
	if q.Card != "" {
		pan, err := points.ParsePAN(string(q.Card))
		if err != nil {
			return s, err
		}
		if s.Member, err = a.projection.Owner(ctx, a.token(pan)); err != nil {
			return s, a.elsewhere(string(q.Card), err)
		}
		s.Card = pan.Masked()
		if err := q.others(s.Card, s.Member); err != nil {
			return s, err
		}
	}
	got, err := a.projection.Statement(ctx, ledger.StatementQuery{Member: s.Member, Program: q.Program, Dates: q.dates(), All: q.All, Page: page})
	if err != nil {
		return s, err
	}
	s.Reach = reachOf(got.Extent)
	seen, merchants := make(map[points.ProgramID]bool), make(map[points.MerchantID]bool)
	for i := range got.Lines {
		line := &got.Lines[i]
		shown := a.lineOf(line)
		if line.Kind == book.KindApprove { // The member hears what was done, not how it was decided.
			rec, err := a.ledger.Record(line.Position)
			if err != nil {
				return s, err
			}
			shown.Kind = rec.Command.Carried().Kind
		}
		s.Lines = append(s.Lines, shown)
		if program, ok := a.router.Table().Program(line.Program); ok && !seen[line.Program] {
			seen[line.Program] = true
			s.Programs = append(s.Programs, StatementUnit{program.ID, program.Name, program.NameZH, program.Scale})
		}
		if id := line.Merchant; id != (points.MerchantID{}) && !merchants[id] {
			merchants[id] = true
			of := StatementMerchant{Merchant: id}
			if known := a.router.Table().MerchantOf(id); known != nil {
				of.Name, of.NameZH = known.Name, known.NameZH
			}
			s.Merchants = append(s.Merchants, of)
		}
	}
	return s, nil
}

func (a *App) lineOf(l *ledger.Line) StatementLine {
	line := StatementLine{
		RRN: rrnOf(l.Position), Date: l.Date, Posted: l.Posted.String(), Kind: l.Kind, Function: l.Function, Reason: l.Reason, Program: l.Program,
		Merchant: l.Merchant, Terminal: l.Terminal, STAN: l.STAN.String(), Amount: l.Amount, Reserved: l.Reserved,
	}
	if l.Terminal == (points.TerminalID{}) {
		line.STAN = "" // Nobody counted.
	}
	if pan, ok := a.key.PAN(l.Card); ok {
		line.Card = pan.Masked()
	}
	if l.Original != 0 {
		line.Original = rrnOf(l.Original)
	}
	if l.Balanced {
		line.Balance = &l.Balance
	}
	if l.Parts {
		line.Free, line.Pending, line.Held, line.Debt = &l.Free, &l.Pending, &l.Held, &l.Debt
	}
	return line
}

// FindQuery asks for journal records by card, by terminal (and STAN, six digits),
// by member, or by business date alone.
type FindQuery struct {
	Holder
	Terminal points.TerminalID `json:"terminal,omitzero"`
	STAN     *points.STAN      `json:"stan,omitempty"`
	Range
}

// Found is the records that were looked for.
type Found struct {
	Records []Record `json:"records"`
	Reach
}

func (a *App) find(ctx context.Context, q FindQuery) (Found, error) {
	f := Found{Records: []Record{}}
	page, err := q.page()
	if err != nil {
		return f, err
	}
	query := ledger.FindQuery{Terminal: q.Terminal, STAN: q.STAN, Member: q.Member, Dates: q.dates(), Page: page}
	if q.Card != "" {
		pan, err := points.ParsePAN(string(q.Card))
		if err != nil {
			return f, err
		}
		query.Card = a.token(pan)
	}
	got, err := a.projection.Find(ctx, query)
	if err != nil {
		return f, err
	}
	f.Reach = reachOf(got.Extent)
	for i := range got.Records {
		f.Records = append(f.Records, recordFor(a.key, &got.Records[i]))
	}
	if err := a.told(ctx, got.Records, f.Records); err != nil {
		return f, err
	}
	return f, a.nameRules(ctx, saidIn(f.Records))
}

// Detail is all that the journal tells of one record: beside what [Record] has,
// what the lots gave and received, the balances afterwards, and who asked.
type Detail struct {
	Record
	Lots     []LotMove     `json:"lots"`
	Free     points.Amount `json:"free"`
	Pending  points.Amount `json:"pending"`
	Held     points.Amount `json:"held"`
	Debt     points.Amount `json:"debt"`
	DE39     string        `json:"de39"`
	English  string        `json:"english"`
	Chinese  string        `json:"chinese"`
	Operator string        `json:"operator,omitempty"`
	Second   string        `json:"second,omitempty"`
	Note     string        `json:"note,omitempty"`
	// Act is what was proposed or approved, or what a note is of; Proposed who proposed
	// what Operator has approved.
	Act      book.Act `json:"act,omitempty"`
	Proposed string   `json:"proposed_by,omitempty"`
	// Proposal is of a record that only proposes an act: where it stands.
	Proposal *Proposal `json:"proposal,omitempty"`
	// Put is the entry that was put, under the word for what it is.
	Put map[string]json.RawMessage `json:"put,omitempty"`
	// What says in words what was put, proposed or approved; of what still waits, beside
	// what there is now.
	What string `json:"what,omitempty"`
	// Legs are what each programme paid of a sale of several, which Sale is the amount of,
	// in its own unit.
	Legs []Leg         `json:"legs,omitempty"`
	Sale points.Amount `json:"sale,omitempty"`
	// Story is of a request whose issuer keeps its own ledger, and of what came of it.
	Story *Story `json:"story,omitempty"`
}

// States of a proposal.
const (
	ProposalWaits    = "waits"    // for a second person
	ProposalApproved = "approved" // and carried out
	ProposalRejected = "rejected"
	ProposalOver     = "over"    // nobody decided in time
	ProposalDecided  = "decided" // further on in the journal than is looked for
)

// Proposal is where an act stands that was proposed: nothing is done before somebody approves it.
type Proposal struct {
	State    string `json:"state"`
	Decision string `json:"decision,omitempty"` // RRN of the record that has decided it
	By       string `json:"by,omitempty"`       // who has
	Until    string `json:"until,omitempty"`    // of one that waits
}

// proposalOf is where a proposal stands. Nothing in the book says what became of one that it has
// forgotten: the records behind it are looked through, as many as belong to a story.
func (a *App) proposalOf(ctx context.Context, position points.Position) (*Proposal, error) {
	p := &Proposal{State: ProposalDecided}
	err := a.ledger.View(ctx, func(b *book.Book) error {
		for _, v := range b.Proposals() {
			if v.Position == position {
				p.State, p.Until = ProposalWaits, v.Until.String()
				if v.Until <= a.opts.Clock() {
					p.State = ProposalOver
				}
			}
		}
		return nil
	})
	if err != nil || p.State != ProposalDecided {
		return p, err
	}
	end := a.ledger.Durable()
	reach := min(position+storyReach, end)
	err = a.ledger.Scan(ctx, position+1, reach, func(rec *book.Record) error {
		cmd, out := &rec.Command, &rec.Outcome
		if cmd.Kind != book.KindApprove && cmd.Kind != book.KindReject || !out.Reason.Approved() || out.Original != position && cmd.Original != position {
			return nil
		}
		p.State, p.Decision, p.By = ProposalApproved, rrnOf(out.Position), cmd.Operator
		if cmd.Kind == book.KindReject {
			p.State = ProposalRejected
		}
		return nil
	})
	if p.State == ProposalDecided && reach == end {
		p.State = ProposalOver
	}
	return p, err
}

// Leg is what one programme paid of a sale: points, and the part of the sale.
type Leg struct {
	Program points.ProgramID `json:"program"`
	Amount  points.Amount    `json:"amount"`
	Covers  points.Amount    `json:"covers"`
}

// LotMove is what one lot gave (below zero) or received. Held marks a move
// between free and held, seen from the free side.
type LotMove struct {
	Account   book.AccountKind    `json:"account"`
	Program   points.ProgramID    `json:"program"`
	Party     uint64              `json:"party"`
	Amount    points.Amount       `json:"amount"`
	ActiveOn  points.BusinessDate `json:"active_on"`
	ExpiresOn points.BusinessDate `json:"expires_on"`
	DecaysOn  points.BusinessDate `json:"decays_on,omitzero"` // when the lot next loses a part
	Held      bool                `json:"held,omitempty"`
}

func (a *App) detail(ctx context.Context, l Lookup) (Detail, error) {
	position, err := points.ParseRRN(l.RRN)
	if err != nil {
		return Detail{}, err
	}
	rec, err := a.ledger.Record(position)
	if err != nil {
		return Detail{}, err
	}
	d, err := detailFor(a.key, &rec)
	if err != nil {
		return Detail{}, err
	}
	if d.Sale == 0 && d.Amount != 0 {
		if d.Sale, err = a.saleUnit(&rec); err != nil {
			return Detail{}, err
		}
	}
	if d.What, err = a.whatOf(ctx, &rec); err != nil {
		return Detail{}, err
	}
	if rec.Command.Kind == book.KindPropose && rec.Outcome.Reason.Approved() {
		if d.Proposal, err = a.proposalOf(ctx, position); err != nil {
			return d, err
		}
	}
	d.Story, err = a.storyOf(ctx, &rec)
	if d.Story != nil && decidedElsewhere(&rec) {
		d.Forwarded, d.Told = true, d.Story.Told
	}
	if err != nil {
		return d, err
	}
	return d, a.nameRules(ctx, []*RiskSaid{d.Risk})
}

// whatOf says what a record puts, proposes or approves; nothing of others.
func (a *App) whatOf(ctx context.Context, rec *book.Record) (string, error) {
	carried, waits := rec.Command.Carried(), false
	if rec.Command.Kind == book.KindPropose {
		carried = &rec.Command.Group[0]
		err := a.ledger.View(ctx, func(b *book.Book) error {
			waits = slices.ContainsFunc(b.Proposals(), func(p book.ProposalView) bool { return p.Position == rec.Outcome.Position })
			return nil
		})
		if err != nil {
			return "", err
		}
	}
	if !said(carried) {
		return "", nil
	}
	return a.inWords(ctx, carried, waits)
}

// saleUnit is the amount of a record that undoes, in the end, a sale that several
// programmes paid: it is in the unit of that sale. 0: it does not.
func (a *App) saleUnit(rec *book.Record) (points.Amount, error) {
	switch rec.Command.Kind {
	case book.KindVoid, book.KindRefund, book.KindReverse:
	default:
		return 0, nil
	}
	of := *rec
	for of.Outcome.Original != 0 { // The reversal of a void is two steps from the sale.
		var err error
		if of, err = a.ledger.Record(of.Outcome.Original); err != nil {
			return 0, err
		}
	}
	if len(of.Command.Tender) == 0 {
		return 0, nil
	}
	return rec.Outcome.Amount, nil
}

// detailFor tells all of a record; without a key no card.
func detailFor(key *certs.CardKey, rec *book.Record) (Detail, error) {
	cmd, out := &rec.Command, &rec.Outcome
	d := Detail{
		Record: recordFor(key, rec), Lots: []LotMove{}, Free: out.Free, Pending: out.Pending, Held: out.Held, Debt: out.Debt,
		DE39: out.Reason.DE39(), English: out.Reason.English(), Chinese: out.Reason.Chinese(),
		Operator: cmd.Operator, Second: cmd.Second, Note: cmd.Note,
	}
	carried := cmd.Carried()
	if cmd.Kind == book.KindPropose {
		carried = &cmd.Group[0]
	}
	if carried != cmd {
		d.Act = carried.Of()
		d.Note = cmp.Or(d.Note, carried.Note)
		if cmd.Kind == book.KindApprove {
			d.Proposed = carried.Operator
		}
		if out.Amount == 0 && carried.Amount != 0 {
			d.Asked = carried.Amount
		}
	}
	if cmd.Kind == book.KindNote {
		d.Act = cmd.Act
	}
	var err error
	entry := carried.Entry
	if entry.Card != nil && key == nil {
		card := *entry.Card
		card.Masked = ""
		entry.Card = &card
	}
	if d.Put, err = putOf(&entry); err != nil {
		return d, err
	}
	if len(out.Legs) > 0 {
		d.Sale = cmp.Or(cmd.Amount, out.Amount) // A conclude has the sale's amount as its own.
	}
	for _, leg := range out.Legs {
		d.Legs = append(d.Legs, Leg(leg))
	}
	for _, m := range out.Lots {
		d.Lots = append(d.Lots, LotMove{m.Account.Kind, m.Account.Program, m.Account.Party, m.Amount, m.Lot.ActiveOn, m.Lot.ExpiresOn, m.Lot.DecaysOn, m.Held})
	}
	return d, nil
}

// putOf shows an entry of reference data; a card without its token.
func putOf(e *book.Entry) (map[string]json.RawMessage, error) {
	if *e == (book.Entry{}) {
		return nil, nil //nolint:nilnil // nothing was put: no entry.
	}
	put := make(map[string]json.RawMessage, 1)
	for what, entry := range map[string]any{
		"issuer": e.Issuer, "acquirer": e.Acquirer, "programme": e.Program, "merchant": e.Merchant,
		"terminal": e.Terminal, "route": e.Route, "member": e.Member, "card": e.Card,
		"operator": e.Operator, "policy": e.Policy, "risk": e.Risk, "disputes": e.Disputes,
		"rate": e.Rate, "fees": e.Fees, "cap": e.Cap, "swap_terms": e.Swaps,
	} {
		text, err := json.Marshal(entry)
		if err != nil {
			return nil, fmt.Errorf("show %s: %w", what, err)
		}
		if string(text) != "null" {
			put[what] = text
		}
	}
	return put, nil
}

// Indexed is how far the index of statements and searches has come.
type Indexed struct {
	AsOf     points.Position `json:"as_of"`
	Position points.Position `json:"position"` // the end of the journal
}

func (a *App) indexed(context.Context, nothing) (Indexed, error) {
	return Indexed{a.projection.AsOf(), a.ledger.Durable()}, a.projection.Err()
}

// reindex drops the index and lets it be made again behind the answer.
func (a *App) reindex(ctx context.Context, _ nothing) (Indexed, error) {
	if err := a.projection.Rebuild(ctx); err != nil {
		return Indexed{}, err
	}
	a.log.Info("index of statements and searches dropped; it is made again", slog.Uint64("of", uint64(a.ledger.Durable())))
	return a.indexed(ctx, nothing{})
}
