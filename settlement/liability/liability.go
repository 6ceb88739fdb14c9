// Package liability computes what an issuer owes its members: points earned, redeemed,
// expired and reversed by vintage, the month in which they were earned, what is
// outstanding, and how much of that will probably never be asked for (breakage).
//
// It folds journal records in order. Memory is bounded by the number of different lots of
// a programme (one for each date of expiry, mostly), not by members or transactions.
//
// # Vintage
//
// A lot does not say when it was earned, but records do: each lot of a programme, the
// same for all its members, has the months in which points came into it. Where points of
// one lot were earned in one month, as in programmes whose points expire so many months
// after they were earned, the figures of a vintage are exact. Where a lot collects several
// months (points that never expire), what is spent is taken from the oldest first, over
// all members together: that is an assumption about who spends what. The totals of a
// programme do not depend on it.
//
//	L1  Per programme, the sum of the vintages' outstanding points is the balance of its
//	    members' accounts in the trial balance. [Fold.Report] checks it against the
//	    postings of the same records, and refuses to report what does not agree.
//	L2  earned = reversed + redeemed + expired + other + outstanding, per vintage.
//	L3  Outstanding, debts and expired are what the ledger itself keeps of the programme, in
//	    members' accounts, debts and breakage. [Fold.Check] holds them against each other.
package liability

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"slices"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// ErrApart says that what was folded does not agree with postings or balances: the ledger
// cannot be trusted, or this package.
var ErrApart = errors.New("liability: the figures do not agree")

// Month is a calendar month as the number yyyymm; 0 is not known.
type Month uint32

// MonthOf is the month of a date.
func MonthOf(date points.BusinessDate) Month { return Month(date / 100) }

// String renders 2026-03, or "-".
func (m Month) String() string {
	if m == 0 {
		return "-"
	}
	return fmt.Sprintf("%04d-%02d", m/100, m%100)
}

// MarshalText is [Month.String].
func (m Month) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (m *Month) UnmarshalText(text []byte) error {
	if string(text) == "-" {
		*m = 0
		return nil
	}
	date, err := points.ParseBusinessDate(string(text) + "-01")
	*m = MonthOf(date)
	return err
}

// Figures are the points of a vintage or of several.
type Figures struct {
	Earned      points.Amount `json:"earned"`
	Reversed    points.Amount `json:"reversed"` // earned, and undone
	Redeemed    points.Amount `json:"redeemed"` // less what came back
	Expired     points.Amount `json:"expired"`  // to breakage, decayed points too
	Other       points.Amount `json:"other"`    // taken by adjustment, or moved to another lot
	Outstanding points.Amount `json:"outstanding"`
}

func (f *Figures) add(o *Figures) {
	f.Earned += o.Earned
	f.Reversed += o.Reversed
	f.Redeemed += o.Redeemed
	f.Expired += o.Expired
	f.Other += o.Other
	f.Outstanding += o.Outstanding
}

// Vintage is what was earned in one month.
type Vintage struct {
	Month Month `json:"month"`
	Figures
	// Over: nothing is outstanding, and the last day of every lot is over.
	Over bool `json:"over"`
	// Breakage is what of Outstanding will probably expire, by the programme's rate.
	Breakage points.Amount `json:"expected_breakage"`
}

// Program is the report of one programme.
type Program struct {
	Program  points.ProgramID `json:"program"`
	Issuer   points.IssuerID  `json:"issuer,omitempty"`
	Vintages []Vintage        `json:"vintages"`
	Total    Figures          `json:"total"`
	Debts    points.Amount    `json:"debts"` // what members owe back; not in Outstanding
	// The breakage rate is RateNum/RateDen: expired of earned less reversed, over all
	// vintages that are over, so that a large one weighs more. 0/0: none is over yet.
	RateNum  points.Amount `json:"breakage_rate_num"`
	RateDen  points.Amount `json:"breakage_rate_den"`
	Breakage points.Amount `json:"expected_breakage"`
}

// Fold gathers records.
type Fold struct {
	original func(points.Position) (book.Record, error)
	programs map[points.ProgramID]*program
	months   []monthFrom // ascending: from which position on
	date     points.BusinessDate
}

type monthFrom struct {
	position points.Position
	month    Month
}

type program struct {
	lots     map[book.LotKey]*cohort
	posted   points.Amount // to members' accounts, by the postings
	debts    points.Amount
	unlotted Figures // went to breakage and was in no lot: whose vintage is not known
}

// cohort is what came into one lot, by month, and what left it.
type cohort struct {
	earned, reversed map[Month]points.Amount
	redeemed         points.Amount
	expired          points.Amount
	other            points.Amount
}

// NewFold begins. original reads a journal record: reversals ask for what they are about.
func NewFold(original func(points.Position) (book.Record, error)) *Fold {
	return &Fold{original: original, programs: make(map[points.ProgramID]*program)}
}

func (f *Fold) program(id points.ProgramID) *program {
	p := f.programs[id]
	if p == nil {
		p = &program{lots: make(map[book.LotKey]*cohort)}
		f.programs[id] = p
	}
	return p
}

func (p *program) lot(key book.LotKey) *cohort {
	// A lot that decays is the same lot with another date of its next decay.
	key.DecaysOn, key.ActiveOn = 0, 0
	c := p.lots[key]
	if c == nil {
		c = &cohort{earned: make(map[Month]points.Amount), reversed: make(map[Month]points.Amount)}
		p.lots[key] = c
	}
	return c
}

// monthAt is the month of the business date of a position.
func (f *Fold) monthAt(position points.Position) Month {
	i, found := slices.BinarySearchFunc(f.months, position, func(m monthFrom, at points.Position) int { return cmp.Compare(m.position, at) })
	if !found {
		i--
	}
	if i < 0 {
		return 0
	}
	return f.months[i].month
}

// cause is why points came or went.
type cause uint8

const (
	earned   cause = iota // in: a vintage; out: taken by an adjustment
	redeemed              // out: spent; in: came back
	expired
	undone // of an earn; in: the undoing undone
)

// Add folds one record in. Records come in the order of the journal, all of them.
func (f *Fold) Add(rec *book.Record) error {
	out := &rec.Outcome
	f.date = max(f.date, out.Date)
	if month := MonthOf(out.Date); len(f.months) == 0 || f.months[len(f.months)-1].month != month {
		f.months = append(f.months, monthFrom{out.Position, month})
	}
	if !out.Reason.Approved() || len(out.Postings) == 0 {
		return nil
	}
	why, about, err := f.causeOf(rec)
	if err != nil {
		return err
	}
	net := make(map[points.ProgramID]map[book.LotKey]points.Amount, 1)
	var lapsed map[points.ProgramID]points.Amount
	for i := range out.Lots {
		move := &out.Lots[i]
		if move.Held || move.Account.Kind != book.MemberAccount {
			continue
		}
		if i > 0 && lapses(&out.Lots[i-1], move) {
			if lapsed == nil {
				lapsed = make(map[points.ProgramID]points.Amount, 1)
			}
			lapsed[move.Account.Program] -= move.Amount
			f.program(move.Account.Program).lot(move.Lot).expired -= move.Amount
			continue
		}
		if net[move.Account.Program] == nil {
			net[move.Account.Program] = make(map[book.LotKey]points.Amount, len(out.Lots))
		}
		key := move.Lot
		key.DecaysOn, key.ActiveOn = 0, 0
		net[move.Account.Program][key] += move.Amount
	}
	for id, lots := range net {
		for key, amount := range lots {
			f.program(id).lot(key).move(why, f.monthAt(about), amount)
		}
	}
	f.post(out, why, lapsed)
	return nil
}

// lapses reports whether a hold has given points back whose last day was over, whatever
// ended the hold: they come from it and go at once.
func lapses(before, move *book.LotMove) bool {
	return before.Held && before.Account == move.Account && before.Lot == move.Lot && move.Amount < 0 && before.Amount == -move.Amount
}

// post gathers what the postings say, to hold the lots against. What went to breakage and
// was in no lot, but for what holds gave back, has expired without a month; it is taken
// from where it would have come back to.
func (f *Fold) post(out *book.Outcome, why cause, lapsed map[points.ProgramID]points.Amount) {
	for i := range out.Postings {
		posting := &out.Postings[i]
		switch p := f.program(posting.Account.Program); posting.Account.Kind {
		case book.MemberAccount:
			p.posted += posting.Amount
		case book.DebtAccount:
			p.debts -= posting.Amount
		case book.BreakageAccount:
			if why != expired {
				p.unlotted.lapse(why, posting.Amount)
			}
		default: // others have no members behind them
		}
	}
	for id, amount := range lapsed {
		if why != expired {
			f.program(id).unlotted.lapse(why, -amount)
		}
	}
}

// lapse enters points that have expired instead of being what why says.
func (f *Figures) lapse(why cause, amount points.Amount) {
	switch why {
	case redeemed:
		f.Redeemed -= amount
	case undone:
		f.Reversed -= amount
	default:
		f.Other -= amount
	}
	f.Expired += amount
}

// move enters what came into a lot, or left it.
func (c *cohort) move(why cause, month Month, amount points.Amount) {
	switch {
	case amount == 0:
	case why == redeemed:
		c.redeemed -= amount
	case why == expired:
		c.expired -= amount
	case why == undone:
		c.reversed[month] -= amount
	case amount > 0:
		c.earned[month] += amount
	default:
		c.other -= amount
	}
}

// causeOf tells why a record moved points, and the position of the earn that it is about.
func (f *Fold) causeOf(rec *book.Record) (cause, points.Position, error) {
	cmd := rec.Command.Carried()
	switch cmd.Kind {
	case book.KindRedeem, book.KindCapture, book.KindRefund:
		return redeemed, 0, nil
	case book.KindExpireLots, book.KindDecay, book.KindReinstate:
		return expired, 0, nil
	case book.KindVoid, book.KindReverse:
		original := rec.Outcome.Original
		if original == 0 {
			return redeemed, 0, nil
		}
		was, err := f.original(original)
		if err != nil {
			return 0, 0, fmt.Errorf("liability: what %d is about: %w", rec.Outcome.Position, err)
		}
		why, about, err := f.causeOf(&was)
		if why == earned {
			return undone, about, err
		}
		return why, about, err
	default:
		return earned, rec.Outcome.Position, nil
	}
}

// Date is the latest business date that was folded in.
func (f *Fold) Date() points.BusinessDate { return f.date }

// Report is what came of it, a programme each, ascending. It is an error when lots and
// postings do not agree (L1).
func (f *Fold) Report() ([]Program, error) {
	var list []Program
	for _, id := range slices.Sorted(maps.Keys(f.programs)) {
		p := f.programs[id]
		r := Program{Program: id, Debts: p.debts, Vintages: []Vintage{}}
		byMonth := make(map[Month]*Vintage)
		for _, key := range sortedLots(p.lots) {
			p.lots[key].spread(key.ExpiresOn != 0 && key.ExpiresOn < f.date, byMonth)
		}
		if p.unlotted != (Figures{}) {
			vintage(byMonth, 0).add(&p.unlotted)
		}
		for _, month := range slices.Sorted(maps.Keys(byMonth)) {
			v := byMonth[month]
			v.Over = v.Over && v.Outstanding == 0 && month != 0
			r.Vintages = append(r.Vintages, *v)
			r.Total.add(&v.Figures)
			if v.Over {
				r.RateNum += v.Expired
				r.RateDen += v.Earned - v.Reversed
			}
		}
		r.estimate()
		if r.Total.Outstanding != p.posted {
			return nil, fmt.Errorf("%w: programme %d: lots come to %d, postings to the members' accounts to %d", ErrApart, id, r.Total.Outstanding, p.posted)
		}
		if r.Total != (Figures{}) || r.Debts != 0 {
			list = append(list, r)
		}
	}
	return list, nil
}

// Balances are what the ledger keeps of a programme.
type Balances struct {
	Members  points.Amount // in members' accounts
	Debts    points.Amount // what members owe back
	Breakage points.Amount // what has expired
}

// Check holds what was folded in against the ledger's balances at the same position (L3).
// The error is [ErrApart] and names all that differs.
func (f *Fold) Check(balances map[points.ProgramID]Balances) error {
	var all []error
	for id := range balances {
		f.program(id)
	}
	for _, id := range slices.Sorted(maps.Keys(f.programs)) {
		ours, ledger := f.programs[id].balances(), balances[id]
		for _, b := range [...]struct {
			what       string
			ours, book points.Amount
		}{
			{"outstanding is", ours.Members, ledger.Members},
			{"members owe back", ours.Debts, ledger.Debts},
			{"expired is", ours.Breakage, ledger.Breakage},
		} {
			if b.ours != b.book {
				all = append(all, fmt.Errorf("%w: programme %d: %s %d by the records, %d by the ledger's balance", ErrApart, id, b.what, b.ours, b.book))
			}
		}
	}
	return errors.Join(all...)
}

// balances are what lots and postings come to.
func (p *program) balances() Balances {
	b := Balances{Debts: p.debts, Breakage: p.unlotted.Expired}
	for _, c := range p.lots {
		for month, amount := range c.earned {
			b.Members += amount - c.reversed[month]
		}
		for month, amount := range c.reversed {
			if _, both := c.earned[month]; !both {
				b.Members -= amount
			}
		}
		b.Members -= c.redeemed + c.expired + c.other
		b.Breakage += c.expired
	}
	return b
}

func sortedLots(lots map[book.LotKey]*cohort) []book.LotKey {
	return slices.SortedFunc(maps.Keys(lots), func(a, b book.LotKey) int {
		return cmp.Or(cmp.Compare(a.ExpiresOn, b.ExpiresOn), cmp.Compare(a.Priority, b.Priority), cmp.Compare(a.Origin, b.Origin))
	})
}

func vintage(byMonth map[Month]*Vintage, month Month) *Vintage {
	v := byMonth[month]
	if v == nil {
		v = &Vintage{Month: month, Over: true}
		byMonth[month] = v
	}
	return v
}

// spread hands what left a lot to its months, the oldest first: what was spent, then what
// was taken, then what expired, which is how time went.
func (c *cohort) spread(over bool, byMonth map[Month]*Vintage) {
	spent, taken, lapsed := c.redeemed, c.other, c.expired
	take := func(from *points.Amount, left *points.Amount) points.Amount {
		part := min(max(0, *from), *left)
		*from -= part
		*left -= part
		return part
	}
	months := maps.Clone(c.earned)
	maps.Copy(months, c.reversed)
	var last *Vintage
	for _, month := range slices.Sorted(maps.Keys(months)) {
		f := Figures{Earned: c.earned[month], Reversed: c.reversed[month]}
		left := f.Earned - f.Reversed
		f.Redeemed, f.Other = take(&spent, &left), take(&taken, &left)
		f.Expired = take(&lapsed, &left)
		f.Outstanding = left
		last = vintage(byMonth, month)
		last.add(&f)
		last.Over = last.Over && over
	}
	if spent == 0 && taken == 0 && lapsed == 0 {
		return
	}
	// More left the lot than came into it: points that came back to a lot they were not
	// taken from, with a grace of their own.
	if last == nil {
		last = vintage(byMonth, 0)
	}
	last.add(&Figures{Redeemed: spent, Other: taken, Expired: lapsed, Outstanding: -spent - taken - lapsed})
}

// estimate applies the rate: of what was earned and stands, so much will have expired in
// the end; what has expired is part of it, and no more can than is outstanding.
func (p *Program) estimate() {
	if p.RateDen <= 0 || p.RateNum < 0 {
		return
	}
	for i := range p.Vintages {
		v := &p.Vintages[i]
		expected := scaled(max(0, v.Earned-v.Reversed), p.RateNum, p.RateDen) - v.Expired
		v.Breakage = max(0, min(expected, v.Outstanding))
		p.Breakage += v.Breakage
	}
}

// scaled is floor(a*num/den) of numbers that are not negative, the product in 128 bits.
func scaled(a, num, den points.Amount) points.Amount {
	hi, lo := bits.Mul64(uint64(a), uint64(num)) //nolint:gosec // not negative.
	if hi >= uint64(den) {                       //nolint:gosec // above 0.
		return a
	}
	q, _ := bits.Div64(hi, lo, uint64(den)) //nolint:gosec // above 0.
	return points.Amount(min(q, uint64(a))) //nolint:gosec // at most a.
}
