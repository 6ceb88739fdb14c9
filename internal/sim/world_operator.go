package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/router"
	"github.com/lianfen/lianfen/switch/dialect"
)

// Institutions of a world.
const (
	worldIssuer   points.IssuerID   = 20000001 // whose ledger is hosted here
	worldAcquirer points.AcquirerID = 10000001
	worldPartner  points.AcquirerID = 10000002
)

// Programmes of a world: two are hosted here, and one is each bank's.
const (
	worldHouse    points.ProgramID = 901
	worldMiles    points.ProgramID = 902
	worldBank     points.ProgramID = 903
	worldBank2    points.ProgramID = 904
	worldBalance  points.Amount    = 20_000
	worldMembers                   = 4  // at the beginning
	worldRemote                    = 3  // cards of each bank
	worldMost                      = 40 // members that there may be in the end
	worldTills                     = 3  // of the partner
	worldTerminal                  = 4
)

// card is a card and where its points are.
type card struct {
	name     string // for steps: a card number is nobody's business
	pan      points.PAN
	programs []points.ProgramID
	bank     *bank           // nil: hosted here
	member   points.MemberID // 0: the bank's
	balance  points.Amount   // of a member, in each programme here, at the beginning
}

// hosted reports whether the ledger of a programme is here.
func (w *World) hosted(program points.ProgramID) bool {
	return program == worldHouse || program == worldMiles
}

// bankFor is whose programme it is; nil: it is hosted here.
func (w *World) bankFor(program points.ProgramID) *bank {
	for _, b := range w.banks {
		if b.program == program {
			return b
		}
	}
	return nil
}

func (w *World) cardOf(program points.ProgramID) *card {
	for _, c := range w.cards {
		if slices.Contains(c.programs, program) {
			return c
		}
	}
	return nil
}

func (w *World) cardOfPAN(pan points.PAN) *card {
	for _, c := range w.cards {
		if c.pan == pan {
			return c
		}
	}
	return nil
}

func (w *World) bankOf(id points.IssuerID) *bank {
	for _, b := range w.banks {
		if b.id == id {
			return b
		}
	}
	return nil
}

// furnish makes everybody, and opens the house.
func (w *World) furnish() error {
	w.operator = operator{w: w, date: worldGenesis}
	for i, program := range []points.ProgramID{worldBank, worldBank2} {
		if err := w.found(i, program); err != nil {
			return err
		}
	}
	var err error
	if w.house, err = newHouse(w); err != nil {
		return err
	}
	o := &w.operator
	entries := []book.Entry{
		{Issuer: &book.Issuer{ID: worldIssuer, Name: "House", Status: book.Active}},
		{Acquirer: &book.Acquirer{ID: worldAcquirer, Name: "Counter", Status: book.Active}},
		{Acquirer: &book.Acquirer{ID: worldPartner, Name: "Partner", Status: book.Active}},
		{Program: &book.Program{ID: worldHouse, Issuer: worldIssuer, Name: "House", Status: book.Active, Rules: worldRules()}},
		{Program: &book.Program{ID: worldMiles, Issuer: worldIssuer, Name: "Miles", Status: book.Active, Alliance: true, Rules: worldRules()}},
		{Route: &book.Route{Prefix: "622202"}},
	}
	programs := []points.ProgramID{worldHouse, worldMiles}
	for i, b := range w.banks {
		entries = append(entries,
			book.Entry{Issuer: &book.Issuer{ID: b.id, Name: b.name, Status: book.Active, Link: b.name}},
			book.Entry{Program: &book.Program{ID: b.program, Issuer: b.id, Name: b.name, Status: book.Active, Rules: worldRules()}},
			book.Entry{Route: w.route(i)})
		programs = append(programs, b.program)
	}
	for _, shop := range []string{"SHOP", "CAFE", "MALL"} {
		m := book.Merchant{Name: shop, Acquirer: worldAcquirer, Status: book.Active, Programs: programs}
		if shop == "MALL" {
			m.Acquirer = worldPartner
		}
		if m.ID, err = points.ParseMerchantID(shop); err != nil {
			return err
		}
		m.Tender = worldTerms(shop)
		entries = append(entries, book.Entry{Merchant: &m})
	}
	o.put(entries...)
	for range worldMembers {
		o.enter()
	}
	for range worldTerminal {
		if err := w.till(pick(w, []string{"SHOP", "CAFE"}), worldAcquirer); err != nil {
			return err
		}
	}
	for range worldTills {
		if err := w.till("MALL", worldPartner); err != nil {
			return err
		}
	}
	w.settle()
	return w.fault
}

// found makes a bank with some cards.
func (w *World) found(i int, program points.ProgramID) error {
	b := &bank{
		w: w, name: fmt.Sprintf("bank%d", i+1), id: worldIssuer + 1 + points.IssuerID(i), program: program, dials: i == 0, up: true, //nolint:gosec // i is not below zero.
		told: make(map[string][]uint32), asked: make(map[points.STAN]points.Function),
		refusals: make(map[string]points.Reason), reversals: make(map[reversed]points.STAN), dialect: dialect.Host(),
	}
	if i == 0 {
		b.relay = "relay"
	}
	var accounts []IssuerAccount
	for n := range worldRemote {
		digits := fmt.Sprintf("99000%d%010d", i+1, n+1)
		pan, err := points.ParsePAN(digits)
		if err != nil {
			return err
		}
		accounts = append(accounts, IssuerAccount{Card: digits, Program: program, Balance: worldBalance})
		w.cards = append(w.cards, &card{name: fmt.Sprintf("B%d.%d", i+1, n+1), pan: pan, programs: []points.ProgramID{program}, bank: b})
	}
	for n := range points.MemberID(worldMost) { // Members have an account there too.
		accounts = append(accounts, IssuerAccount{Card: memberCard(n + 1), Program: program, Balance: worldBalance})
	}
	var err error
	if b.issuer, err = NewIssuer(IssuerOptions{ID: b.id, Accounts: accounts, Faults: w.mix.issuer, Seed: w.opts.Seed, Parts: w.mix.parts}); err != nil {
		return err
	}
	w.banks = append(w.banks, b)
	if b.dials {
		w.after(time.Second, b.connect)
	}
	return nil
}

// till makes a lane: a terminal of its own line, or one of the partner's.
func (w *World) till(shop string, acquirer points.AcquirerID) error {
	l := &lane{w: w, acquirer: acquirer, by: make(map[receiptKey]*receipt), dialect: dialect.Pos()}
	l.name = fmt.Sprintf("T%d", len(w.lanes)+1)
	var err error
	if l.merchant, err = points.ParseMerchantID(shop); err != nil {
		return err
	}
	id, err := points.ParseTerminalID(l.name)
	if err != nil {
		return err
	}
	w.operator.put(book.Entry{Terminal: &book.Terminal{ID: id, Merchant: l.merchant, Status: book.Active}})
	l.term = NewTerminal("", Identity{Terminal: id, Merchant: l.merchant}, points.STAN(1000*(len(w.lanes)+1)), func() points.Timestamp { return w.now }) //nolint:gosec // there are few.
	switch {
	case acquirer == worldAcquirer:
		l.line = &exchangeLine{w: w, name: l.name, door: terminalDoor}
	case w.partner == nil:
		w.partner = &exchangeLine{w: w, name: "partner", door: partnerDoor, system: system{date: worldGenesis}}
		fallthrough
	default:
		l.line, l.dialect = w.partner, dialect.Host()
	}
	l.line.lanes = append(l.line.lanes, l)
	w.lanes = append(w.lanes, l)
	return nil
}

// operator are the people who run the switch.
type operator struct {
	w        *World
	date     points.BusinessDate
	members  points.MemberID
	undo     []func()                   // what is put right in the end
	resolved map[points.Position]string // and how
}

// do carries out a command that must be approved.
func (o *operator) do(cmd book.Command) {
	out, err := o.w.house.do(cmd)
	if err != nil {
		o.w.fail(err)
		return
	}
	if !out.Reason.Approved() {
		o.w.mismatch(nil, "an operator's command of kind %v is refused: %v", cmd.Kind, out.Reason)
	}
}

func (o *operator) put(entries ...book.Entry) {
	for _, e := range entries {
		o.do(book.Command{Kind: book.KindPut, Entry: e})
	}
	if err := o.w.house.refresh(); err != nil {
		o.w.fail(err)
	}
}

// able reports whether an operator can do anything now.
func (o *operator) able() bool { return o.w.house.up && o.w.house.held == nil }

func memberCard(id points.MemberID) string { return fmt.Sprintf("622202%010d", id) }

// enter makes a new member with a card and accounts in both programmes. Some have few
// points.
func (o *operator) enter() {
	w := o.w
	if o.members == worldMost {
		return
	}
	o.members++
	pan, err := points.ParsePAN(memberCard(o.members))
	if err != nil {
		w.fail(err)
		return
	}
	entry := &book.Card{Masked: pan.Masked(), Member: o.members, Status: book.Active}
	w.house.key.Token(&entry.Token, pan)
	o.put(book.Entry{Member: &book.Member{ID: o.members, Status: book.Active}}, book.Entry{Card: entry})
	c := &card{name: fmt.Sprintf("M%d", o.members), pan: pan, member: o.members, balance: worldBalance}
	if o.members%2 == 0 {
		c.balance = points.Amount(200 + w.rng.IntN(800))
	}
	c.programs = []points.ProgramID{worldHouse, worldMiles, worldBank, worldBank2}
	for _, program := range c.programs[:2] {
		o.do(book.Command{Kind: book.KindOpen, Member: o.members, Program: program, Operator: "anna"})
		o.do(book.Command{Kind: book.KindAdjust, Member: o.members, Program: program, Amount: c.balance, Operator: "anna", Second: "bo"})
	}
	w.cards = append(w.cards, c)
	w.step(c, "is entered")
}

// change does one of the things that operators do while the switch runs.
func (o *operator) change() {
	w := o.w
	if !o.able() || w.calm {
		return
	}
	w.did("change by an operator")
	switch w.rng.IntN(8) {
	case 6:
		o.reroute()
	case 7:
		o.changeTerms()
	case 0:
		if table := w.house.router.Table(); active(table, worldHouse) && active(table, worldMiles) {
			o.enter()
		}
	case 1:
		o.changeProgram()
	case 2:
		o.suspend()
	case 3:
		o.reorder()
	case 4:
		o.reload()
	default:
		o.resolve()
	}
}

func active(table *router.Table, id points.ProgramID) bool {
	program, ok := table.Program(id)
	return ok && program.Status == book.Active
}

// changeProgram gives a programme other limits, or closes it for a while.
func (o *operator) changeProgram() {
	w := o.w
	id := pick(w, []points.ProgramID{worldHouse, worldMiles, worldBank, worldBank2})
	found, ok := w.house.router.Table().Program(id)
	if !ok {
		w.mismatch(nil, "programme %d is not in the table", id)
		return
	}
	was, changed := *found, *found
	if w.rng.IntN(3) == 0 {
		changed.Status = book.Suspended
	} else {
		changed.Rules = book.ProgramRules{Transfer: w.rng.IntN(4) > 0, TransferMax: points.Amount(w.rng.IntN(2) * 300), MinRedeem: points.Amount(w.rng.IntN(40)), MaxAmount: points.Amount(100 + w.rng.IntN(400)), MaxRedeemDay: 3000, MaxRedeemCnt: 20}
	}
	w.step(nil, "programme %d: %s, limits %d to %d", id, statusWord(changed.Status), changed.Rules.MinRedeem, changed.Rules.MaxAmount)
	o.put(book.Entry{Program: &changed})
	o.later(func() {
		w.step(nil, "programme %d is as before", id)
		was.Status = book.Active
		was.Rules = worldRules()
		o.put(book.Entry{Program: &was})
	})
}

func statusWord(s book.Status) string {
	if s == book.Active {
		return "active"
	}
	return "suspended"
}

// suspend blocks a terminal or a merchant for a while.
func (o *operator) suspend() {
	w := o.w
	l := pick(w, w.lanes)
	terminal := book.Terminal{ID: l.term.Terminal, Merchant: l.merchant, Status: book.Suspended, Batch: 1}
	if err := w.house.ledger.View(w.ctx, func(b *book.Book) error {
		terminal = *b.Registry().Terminals[l.term.Terminal]
		return nil
	}); err != nil {
		w.fail(err)
		return
	}
	terminal.Status = book.Suspended
	w.step(nil, "terminal %s is suspended", l.name)
	o.put(book.Entry{Terminal: &terminal})
	o.later(func() {
		w.step(nil, "terminal %s is active again", l.name)
		if err := w.house.ledger.View(w.ctx, func(b *book.Book) error {
			terminal = *b.Registry().Terminals[l.term.Terminal] // Its batch may have gone on.
			return nil
		}); err != nil {
			w.fail(err)
			return
		}
		terminal.Status = book.Active
		o.put(book.Entry{Terminal: &terminal})
	})
}

// reorder changes in which order a merchant takes programmes.
func (o *operator) reorder() {
	w := o.w
	found := w.house.router.Table().MerchantOf(pick(w, w.lanes).merchant)
	changed := *found
	changed.Programs = slices.Clone(found.Programs)
	w.rng.Shuffle(len(changed.Programs), func(i, j int) {
		changed.Programs[i], changed.Programs[j] = changed.Programs[j], changed.Programs[i]
	})
	w.step(nil, "merchant %s takes programmes in the order %v", changed.Name, changed.Programs)
	o.put(book.Entry{Merchant: &changed})
}

// worldRules are those of every programme while nobody changes them.
func worldRules() book.ProgramRules { return book.ProgramRules{Transfer: true} }

// worldTerms are those on which a merchant's programmes pay together.
func worldTerms(shop string) []book.TenderTerm {
	house, miles := book.TenderTerm{Program: worldHouse, Points: 1, Per: 1}, book.TenderTerm{Program: worldMiles, Points: 3, Per: 2}
	switch shop {
	case "SHOP":
		return []book.TenderTerm{house, {Program: worldBank, Points: 2, Per: 1}, miles}
	case "CAFE":
		return []book.TenderTerm{miles, house}
	default:
		return []book.TenderTerm{{Program: worldHouse, Points: 7, Per: 3}, {Program: worldBank2, Points: 1, Per: 2}}
	}
}

// changeTerms gives a merchant other terms, or none, for a while.
func (o *operator) changeTerms() {
	w := o.w
	id := pick(w, w.lanes).merchant
	change := func(terms []book.TenderTerm) {
		changed := *w.house.router.Table().MerchantOf(id)
		changed.Tender = terms
		w.step(nil, "merchant %s has the terms %v", changed.Name, terms)
		o.put(book.Entry{Merchant: &changed})
	}
	terms := slices.Clone(worldTerms(id.String()))
	w.rng.Shuffle(len(terms), func(i, j int) { terms[i], terms[j] = terms[j], terms[i] })
	change(terms[:w.rng.IntN(len(terms)+1)])
	o.later(func() { change(worldTerms(id.String())) })
}

// route is that of a bank's cards. The first bank's are carried by two links.
func (w *World) route(i int) *book.Route {
	b := w.banks[i]
	route := &book.Route{Prefix: fmt.Sprintf("99000%d", i+1), Issuer: b.id}
	if b.relay != "" {
		route.Links = []book.RouteLink{{Link: b.name, Priority: 1, Weight: 2}, {Link: b.relay, Priority: 1, Weight: 1}}
	}
	return route
}

// reroute gives the links of a route another order, or leaves the issuer's own.
func (o *operator) reroute() {
	w := o.w
	route := w.route(0)
	switch w.rng.IntN(3) {
	case 0:
		route.Links = nil
	case 1:
		route.Links[w.rng.IntN(2)].Priority = 2
	default:
	}
	w.step(nil, "the route %s has the links %v", route.Prefix, route.Links)
	o.put(book.Entry{Route: route})
}

// reload gives the links another number of connections.
func (o *operator) reload() {
	w := o.w
	profiles := w.profiles(w.house.key)
	for i := range profiles {
		profiles[i].Paths[0].Connections = 1 + w.rng.IntN(3)
	}
	w.step(nil, "the links are configured anew")
	if err := w.house.issuers.Reload(profiles); err != nil {
		w.fail(err)
	}
}

// later has something put right after a while, when an operator can, and in the end.
func (o *operator) later(do func()) {
	w := o.w
	done := false
	once := func() {
		if !done && o.able() {
			done = true
			do()
		}
	}
	o.undo = append(o.undo, once)
	w.after(w.between(5*time.Second, 8*time.Minute), once)
}

// restore puts everything right.
func (o *operator) restore() {
	w := o.w
	if !o.able() {
		w.after(time.Second, o.restore)
		return
	}
	for _, do := range o.undo {
		do()
	}
	o.watch()
}

// watch has the operators look at their queue from time to time, in the end.
func (o *operator) watch() {
	o.w.after(10*time.Minute, func() {
		if o.able() {
			o.resolve()
		}
		o.watch()
	})
}

// cutOver ends the business date: if it can be, while a bank has been asked and has not
// answered.
func (o *operator) cutOver() { o.cutOverSoon(100) }

func (o *operator) cutOverSoon(looks int) {
	w := o.w
	if !o.able() || w.calm {
		return
	}
	open := w.unfinished(func(v *book.RemoteView) bool { return v.Phase == book.RemoteOpen })
	if len(open) == 0 && looks > 0 {
		w.after(w.between(0, 200*time.Millisecond), func() { o.cutOverSoon(looks - 1) })
		return
	}
	o.date = o.date.AddDays(1)
	w.did("cut-over")
	w.step(nil, "cut-over: business date %v begins, while %d requests have no answer", o.date, len(open))
	o.do(book.Command{Kind: book.KindCutOver, Date: o.date, TraceDays: 8, Operator: "anna"})
	w.house.issuers.CutOver(o.date)
}

// resolve ends what is in the operators' queue, as the issuer's book has it, if what put
// it there is something that went wrong in this run.
func (o *operator) resolve() {
	w := o.w
	for _, view := range w.unfinished(func(v *book.RemoteView) bool { return v.Phase == book.RemoteQueued }) {
		b := w.bankOf(view.Issuer)
		rrn := view.Position.RRN()
		answer, stands := points.ReversedBefore, b.stands(&view)
		if stands {
			answer = points.Approved
		}
		why := fmt.Sprintf("the issuer said %v", view.Refusal)
		if view.Refusal == 0 {
			why = "it was not acknowledged in time"
		}
		if o.resolved == nil {
			o.resolved = make(map[points.Position]string)
		}
		o.resolved[view.Position] = why
		w.did("resolved by an operator")
		w.step(w.cardOfToken(view.Card), "an operator resolves RRN %s (%v %d): %s, and it stands there: %v", string(rrn[:]), view.Function, view.Asked, why, stands)
		if !o.excused(&view, b) {
			w.mismatch(w.cardOfToken(view.Card), "RRN %s is in the operators' queue without a reason: %s", string(rrn[:]), why)
			return
		}
		o.do(book.Command{Kind: book.KindResolve, Original: view.Position, Answer: answer, Operator: "anna", Second: "bo", Note: "asked the issuer"})
		w.house.issuers.Look(view.Issuer, view.Position)
	}
}

// excused reports whether something in the run explains that an operator has to see to
// a transaction.
func (o *operator) excused(view *book.RemoteView, b *bank) bool {
	w := o.w
	rrn := view.Position.RRN()
	if view.Refusal != 0 {
		return b.refusals[string(rrn[:])] == view.Refusal
	}
	return w.switchTime().Sub(view.OwedAt) >= giveUp || w.mix.jumps > 0
}
