package settlement

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lianfen/lianfen/ledger"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/settlement/files"
	"github.com/lianfen/lianfen/settlement/netting"
	"github.com/lianfen/lianfen/tariff"
)

// House is the [Journal] of a switch: its ledger.
type House struct {
	Ledger *ledger.Ledger
	Zone   *time.Location
	// Settles is the day on which what is cleared on a date is paid; 0: none is in reach.
	Settles func(points.BusinessDate) points.BusinessDate
	// Masked renders the card of a token as people may see it; empty: it is not known.
	Masked func(points.CardToken) string
	// Closed calls visit with every batch that a terminal has closed since a date began.
	Closed func(ctx context.Context, since points.BusinessDate, visit func(Batch)) error
	// Class is the class of a member, for the choice of a model; nil: all are of class 1.
	Class func(tariff.Member) netting.Class

	clearings sync.Pool // of *book.Clearing, for one goroutine each
	// settled is a position up to which every cycle is over: what was posted, and what is
	// closed and empty, stays so. Only what is behind it is looked at again.
	settled atomic.Uint64
}

// Cut finds a cycle in the journal. What the next cut-over ends is complete: nothing
// enters it any more (I12).
func (h *House) Cut(date points.BusinessDate, cycle uint8) (Cut, error) {
	c, err := h.Ledger.Range(date, cycle)
	if err != nil {
		return Cut{}, err //nolint:wrapcheck // the ledger's own words.
	}
	cut := Cut{Date: date, Cycle: cycle, First: c.First, Last: c.Last, Began: c.Began, Ended: c.Began, Settles: h.Settles(date), NeverClosed: !c.Closed}
	if cut.Settles == 0 {
		return cut, points.Errorf(points.NotPermitted, "settlement of %v: the calendar has no banking day after it", cut)
	}
	if c.Closed {
		next, err := h.Ledger.Record(c.Last + 1)
		if err != nil {
			return cut, err //nolint:wrapcheck // as above.
		}
		cut.Ended = next.Outcome.Posted
	}
	return cut, nil
}

// Unposted goes over the cycles of the journal in their order. One in which nothing was
// cleared has nothing to post.
func (h *House) Unposted(ctx context.Context, before points.Position) (waiting []Cut, err error) {
	for first := points.Position(h.settled.Load()) + 1; first < before; {
		began, err := h.Ledger.Record(first)
		if err != nil {
			return nil, err //nolint:wrapcheck // the ledger's own words.
		}
		c, err := h.Ledger.Range(began.Outcome.Date, began.Outcome.InCycle())
		if err != nil || !c.Closed {
			return waiting, err //nolint:wrapcheck // as above.
		}
		cut := Cut{Date: c.Date, Cycle: c.Cycle, First: c.First, Last: c.Last}
		view, something, err := h.cleared(ctx, cut)
		switch {
		case err != nil:
			return nil, err
		case something && view.Posted == 0:
			waiting = append(waiting, cut)
		case len(waiting) == 0:
			h.settled.Store(uint64(c.Last))
		}
		first = c.Last + 1
	}
	return waiting, nil
}

// Setting reads tables and members from the registry. An issuer and an acquirer with one
// number are one member.
func (h *House) Setting(ctx context.Context) (Setting, error) {
	var registry *book.Registry
	if err := h.Ledger.View(ctx, func(b *book.Book) error {
		registry = b.Registry()
		return nil
	}); err != nil {
		return Setting{}, err //nolint:wrapcheck // as above.
	}
	s := Setting{
		Rates: cmp.Or(registry.Rates, tariff.NewRates()), Fees: cmp.Or(registry.Fees, tariff.NewFees()),
		Programs:  map[points.ProgramID]Program{points.Standard: {Code: Unit, Name: "标准积分", Scale: Scale}},
		Merchants: make(map[points.MerchantID]string, len(registry.Merchants)),
	}
	parties := map[tariff.Member]Party{}
	enter := func(m tariff.Member, err error, name string) {
		if err != nil {
			return // It has no place in settlement; its items are exceptions.
		}
		p := Party{Member: m, Name: name, Class: 1}
		if h.Class != nil {
			p.Class = h.Class(m)
		}
		if limit := registry.Caps[m]; limit != nil {
			p.Cover = netting.Cover{
				Member: m, Prefund: limit.Prefund, PrefundHaircut: limit.PrefundHaircut, Collateral: limit.Collateral, CollateralHaircut: limit.CollateralHaircut,
			}
			if !limit.Unlimited {
				p.Capped, p.Cap = true, limit.Cap
			}
		}
		parties[m] = p
	}
	for id, acquirer := range registry.Acquirers {
		m, err := tariff.MemberOf(id)
		enter(m, err, cmp.Or(acquirer.NameZH, acquirer.Name))
	}
	for id, issuer := range registry.Issuers {
		m, err := tariff.MemberOf(id)
		enter(m, err, cmp.Or(issuer.NameZH, issuer.Name))
	}
	for _, m := range slices.Sorted(maps.Keys(parties)) {
		s.Parties = append(s.Parties, parties[m])
	}
	if registry.Fund != nil {
		s.Fund = registry.Fund.Amount
	}
	for _, g := range registry.Grants {
		s.Limits = append(s.Limits, Limit{By: g.By, To: g.To, Granted: g.Amount})
	}
	slices.SortFunc(s.Limits, func(a, b Limit) int { return cmp.Or(cmp.Compare(a.By, b.By), cmp.Compare(a.To, b.To)) })
	for id, program := range registry.Programs {
		s.Programs[id] = Program{Code: fmt.Sprintf("%06d", id), Name: cmp.Or(program.NameZH, program.Name), Scale: program.Scale}
	}
	for id, merchant := range registry.Merchants {
		s.Merchants[id] = cmp.Or(merchant.NameZH, merchant.Name)
	}
	return s, nil
}

// Entries reads what the records between two positions clear.
func (h *House) Entries(ctx context.Context, first, last points.Position, visit func(*Entry) error) error {
	clearing := h.clearing()
	defer h.clearings.Put(clearing)
	var e Entry
	err := h.Ledger.Scan(ctx, first, last, func(rec *book.Record) error {
		items, err := clearing.Items(rec)
		if err != nil {
			return err //nolint:wrapcheck // as above.
		}
		for i := range items {
			h.entry(&e, &items[i])
			if err := visit(&e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil && ctx.Err() != nil {
		return errors.Join(context.Cause(ctx), err)
	}
	return err //nolint:wrapcheck // as above.
}

// clearing is a reader of items, with the blocks of the journal that it has read before: a
// second pass comes in short spans, and what a record undoes is often near to it.
func (h *House) clearing() *book.Clearing {
	if c, ok := h.clearings.Get().(*book.Clearing); ok {
		return c
	}
	return book.NewClearing(h.Ledger.Records().Read)
}

// Read reads the blocks of some positions.
func (h *House) Read(ctx context.Context, first, last points.Position) (uint64, error) {
	return h.Ledger.Read(ctx, first, last) //nolint:wrapcheck // the ledger's own words.
}

// entry fills in an entry from an item of the journal.
func (h *House) entry(e *Entry, item *book.ClearingItem) {
	*e = Entry{Item: item.Item}
	request, l := item.Request, &e.Line
	switch {
	case item.NoRoom:
		e.Why, e.What = codeNoRoom, "a sum of what its members owe each other would not fit: settle the cycles that wait, then adjust it; or it undoes such an item, or follows one of the same original: adjust them together"
	case item.TooOld:
		e.Why, e.What = codeTooLate, "it was told more than 30 days after it was sent, or undoes what was: adjust it, or leave it"
	case item.Stray:
		e.Why, e.What = codeSwapStands, "the swap was given up here, and its issuer will not undo its side: it is in the issuer's suspense; agree on it, then adjust"
	case item.Orphan:
		e.Declined = true
		e.Why, e.What = codeNoOriginal, "the refund was declined, since no original was found: nothing was booked; ask the acquirer what it is of"
	}
	l.RRN, l.Auth = item.RRN.RRN(), item.RRN.AuthCode()
	l.STAN, l.Terminal, l.Merchant, l.EntryMode = request.Key.STAN, request.Terminal, request.Merchant, request.EntryMode
	l.Local = files.Moment(item.At.Time().In(h.Zone))
	l.Transmitted = Transmitted(item, h.Zone)
	if request.Key.Door == points.DoorHost {
		l.Forwarder = digitsOnly(tariff.Member(min(binary.BigEndian.Uint64(request.Key.Source[:]), 1<<31)))
	}
	if request.Batch != book.DateBatch {
		e.Batch = Batch{request.Merchant, request.Terminal, request.Batch}
	}
	l.MTI, l.Processing, l.Condition = messageOf(request)
	if name := h.Masked(request.Card); name != "" {
		copyText(l.Account[:], name)
	} else {
		copyText(l.Account[:], fmt.Sprintf("MEMBER%d", cmp.Or(request.Member, item.Member)))
	}
	copyText(l.Response[:], item.Answer.DE39())
	l.Original, l.OriginalDate = uint64(item.Root), item.RootDate
	if request.Kind == book.KindLeg {
		l.Original = uint64(request.Leg.About)
	}
	for _, flag := range [...]struct {
		set  bool
		flag files.Flags
	}{
		{item.Late && request.Function != points.Refund, files.FlagLate},
		{item.StandIn, files.FlagStandIn},
		{item.Manual, files.FlagManual},
		{item.Kind == tariff.KindREP, files.FlagRepresented},
	} {
		if flag.set {
			l.Flags |= flag.flag
		}
	}
}

// Transmitted is DE7 of an item with the year, by which partners' lines and ours are
// matched; the detail file has it, and whoever compares with one. A partner's system sends
// it, in UTC: it is of the year in which it is nearest to when it was decided. A terminal
// sends none, nor does an operator: of these it is DE13 and DE12 of our answer, the time of
// the item as clocks in zone show it. In the hour that clocks show twice two
// items may have the same; DE37 tells them apart.
func Transmitted(item *book.ClearingItem, zone *time.Location) uint64 {
	if key := &item.Request.Key; key.Door == points.DoorHost && key.When != 0 {
		return withYear(key.When, item.At)
	}
	return files.Moment(item.At.Time().In(zone))
}

// withYear is a transmission time (MMDDhhmmss, UTC) with the year in which it is nearest
// to when it was decided.
func withYear(when uint64, at points.Timestamp) uint64 {
	year := uint64(at.Time().Year()) //nolint:gosec // a year of our time.
	switch month := when / 100_000_000; {
	case month == 12 && at.Time().Month() == time.January:
		year--
	case month == 1 && at.Time().Month() == time.December:
		year++
	}
	return year*10_000_000_000 + when
}

// messageOf is the message that a request came in: its type, processing code and condition,
// as the dialects have them. What people or the house itself have done came in none: it
// has zeros. A terminal's reversal is a 0400. A partner's system sends 0420, or 0400 which
// is answered alike, and the journal does not tell them apart: it stands as 0420.
func messageOf(request *book.Command) (mti uint16, processing uint32, condition uint8) {
	door := request.Key.Door
	if request.Function == 0 || (door != points.DoorTerminal && door != points.DoorHost) {
		return 0, 0, 0
	}
	switch request.Function {
	case points.Earn:
		return 200, 210_000, 0
	case points.Void:
		return 200, 200_000, 0
	case points.Refund:
		return 220, 200_000, 0
	case points.Completion:
		return 200, 0, 6
	case points.CompletionVoid:
		return 200, 200_000, 6
	case points.CompletionAdvice:
		return 220, 0, 6
	case points.OfflineRedeem:
		return 220, 0, 0
	case points.OfflineEarn:
		return 220, 210_000, 0
	case points.Swap:
		if door == points.DoorTerminal { // A partner's system may leave it out.
			condition = 66
		}
		return 200, 400_000, condition
	case points.Reversal:
		return reversalOf(request)
	default:
		return 200, 0, 0
	}
}

// reversalOf is the message of a reversal: it has the processing code and condition of
// what it undoes, where it has said what that is.
func reversalOf(request *book.Command) (mti uint16, processing uint32, condition uint8) {
	if request.Reverses != 0 && request.Reverses != points.Reversal {
		original := book.Command{Function: request.Reverses, Key: request.Key}
		_, processing, condition = messageOf(&original)
	}
	if request.Key.Door == points.DoorTerminal {
		return 400, processing, condition
	}
	return 420, processing, condition
}

// Kept reads what the book has kept of a cycle.
func (h *House) Kept(ctx context.Context, cut Cut) (kept Kept, err error) {
	view, _, err := h.cleared(ctx, cut)
	if err != nil {
		return kept, err
	}
	for _, p := range view.Positions {
		kept.Members = append(kept.Members, Live{p.Member, netting.SumOf(p.Credit).Minus(netting.SumOf(p.Debit))})
	}
	for _, move := range view.Moves {
		m, err := tariff.MemberOf(move.Acquirer)
		if err != nil {
			return kept, err //nolint:wrapcheck // it names the institution.
		}
		kept.Moves = append(kept.Moves, Move{move.Program, m, move.Amount})
	}
	return kept, nil
}

func (h *House) cleared(ctx context.Context, cut Cut) (view book.CycleView, something bool, err error) {
	fault := h.Ledger.View(ctx, func(b *book.Book) error {
		view, something, err = b.ClearedIn(cut.Date, cut.Cycle)
		return err //nolint:wrapcheck // the book's own words.
	})
	return view, something, errors.Join(fault)
}

// Unfinished counts requests of a cycle, or of one before, that have no end yet: those of
// terminals and the legs of swaps.
func (h *House) Unfinished(ctx context.Context, cut Cut) (n uint64, err error) {
	err = h.Ledger.View(ctx, func(b *book.Book) error {
		for _, position := range b.Unfinished() {
			if position <= cut.Last {
				n++
			}
		}
		for _, quote := range b.SwapLegs() {
			leg, ok, err := b.SwapLeg(quote)
			if err != nil {
				return err //nolint:wrapcheck // the book's own words.
			}
			if ok && leg.Position <= cut.Last {
				n++
			}
		}
		return nil
	})
	return n, err
}

// Unclosed counts those of some batches that their terminals have not closed by now.
func (h *House) Unclosed(ctx context.Context, cut Cut, batches map[Batch]struct{}) (uint64, error) {
	if len(batches) == 0 {
		return 0, nil
	}
	open := maps.Clone(batches)
	err := h.Closed(ctx, cut.Date, func(b Batch) { delete(open, b) })
	return uint64(len(open)), err
}

// command is the posting of a publication.
func (p *Publication) command() book.Command {
	cmd := book.Command{
		Kind: book.KindPost, At: p.At, Date: p.Cut.Date, Operator: p.Maker, Note: "settlement run " + p.Run, Run: p.Key, Manifest: p.Manifest,
	}
	if p.Proposal == 0 && p.Checker != "" && p.Checker != p.Maker {
		cmd.Note += ", approved by " + p.Checker
	}
	if p.Cut.Cycle > 1 {
		cmd.Cycle = p.Cut.Cycle
	}
	for _, move := range p.Moves {
		cmd.Moves = append(cmd.Moves, book.ClearingMove{Program: move.Program, Acquirer: points.AcquirerID(move.Acquirer), Amount: move.Amount})
	}
	return cmd
}

// office is what the book says of who may do what.
type office struct {
	enrolled  bool
	twoWanted bool // the policy wants two persons for a settlement
	proposals []book.ProposalView
	operators map[string]*book.Operator
}

func (h *House) office(ctx context.Context) (o office, err error) {
	err = h.Ledger.View(ctx, func(b *book.Book) error {
		registry := b.Registry()
		o.operators, o.enrolled = registry.Operators, len(registry.Operators) > 0
		o.twoWanted = registry.Policy.TwoPersons.Has(book.ActSettlement)
		o.proposals = b.Proposals()
		return nil
	})
	return o, err
}

// Standing reads the posting of a cycle.
func (h *House) Standing(ctx context.Context, cut Cut) (Standing, error) {
	view, _, err := h.cleared(ctx, cut)
	if err != nil || view.Posted == 0 {
		return Standing{}, err
	}
	rec, err := h.Ledger.Record(view.Posted)
	if err != nil {
		return Standing{}, err //nolint:wrapcheck // the ledger's own words.
	}
	act := rec.Command.Carried()
	s := Standing{Posting: view.Posted, Key: act.Run, Manifest: act.Manifest, Maker: act.Operator, Checker: act.Second}
	if rec.Command.Kind == book.KindApprove {
		s.Checker = rec.Command.Operator
	}
	return s, nil
}

// Withdraw rejects what was proposed for a cycle.
func (h *House) Withdraw(ctx context.Context, p Publication, by string) error {
	o, err := h.office(ctx)
	if err != nil {
		return err
	}
	for i := range o.proposals {
		v := &o.proposals[i]
		if v.Act.Kind != book.KindPost || v.Act.Date != p.Cut.Date || max(1, v.Act.Cycle) != p.Cut.Cycle {
			continue
		}
		_, err := h.do(ctx, &book.Command{Kind: book.KindReject, At: p.At, Operator: by, Original: v.Position, Note: "settlement run " + p.Run + " is void"})
		switch points.ReasonOf(err) {
		case points.ProposalUnknown: // Somebody has decided meanwhile.
		case points.RoleMissing:
			rrn := v.Position.RRN()
			return points.Errorf(points.RoleMissing, "its posting is proposed by %s: %s or an approver ends that first: lianfen admin reject %s", v.Act.Operator, v.Act.Operator, rrn[:])
		default:
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// Propose proposes the posting where the policy of the house wants two persons. What moves
// nothing since its items cancel out is posted, too.
func (h *House) Propose(ctx context.Context, p Publication) (points.Position, error) {
	o, err := h.office(ctx)
	if err != nil {
		return 0, err
	}
	if two, err := h.twoFor(ctx, &o, p.Cut); err != nil || !two {
		return 0, err
	}
	for i := range o.proposals {
		if act := &o.proposals[i].Act; act.Kind == book.KindPost && act.Run == [32]byte(p.Key) && act.Manifest == [32]byte(p.Manifest) && o.proposals[i].Until > p.At {
			return o.proposals[i].Position, nil // It waits already.
		}
	}
	out, err := h.do(ctx, &book.Command{Kind: book.KindPropose, At: p.At, Operator: p.Maker, Note: "settlement run " + p.Run, Group: []book.Command{p.command()}})
	return out.Position, err
}

// twoFor reports whether the policy wants two persons for the posting of a cycle. Where
// nothing was cleared there is none.
func (h *House) twoFor(ctx context.Context, o *office, cut Cut) (bool, error) {
	if !o.enrolled || !o.twoWanted {
		return false, nil
	}
	_, something, err := h.cleared(ctx, cut)
	return something, err
}

// Approvable tells why somebody cannot approve a publication.
func (h *House) Approvable(ctx context.Context, p Publication) error {
	o, err := h.office(ctx)
	switch {
	case err != nil:
		return err
	case !o.enrolled && strings.EqualFold(p.Maker, p.Checker):
		return points.Errorf(points.NeedsSecondPerson, "%s has run it: somebody else approves it", p.Maker)
	case !o.enrolled:
		return nil
	}
	two, err := h.twoFor(ctx, &o, p.Cut)
	switch pending := func(v book.ProposalView) bool { return v.Position == p.Proposal && v.Until > p.At }; {
	case err != nil:
		return err
	case p.Proposal == 0 && two:
		return points.Errorf(points.NeedsSecondPerson, "two persons are wanted by now, and it was not proposed: run lianfen settle run again")
	case p.Proposal != 0 && !slices.ContainsFunc(o.proposals, pending):
		return points.Errorf(points.ProposalExpired, "the proposal is not pending any more: run lianfen settle run again")
	}
	name := p.Checker
	if p.Checker == ByRule { // It gives nobody a right: whoever it posts for needs one.
		name = p.Maker
	}
	who := o.operators[name]
	switch {
	case who == nil || who.Status != book.Active:
		return points.Errorf(points.RoleMissing, "%s is no active operator", name)
	case who.Roles.Has(book.RoleApprover), p.Proposal == 0 && who.Roles.Has(book.RoleOperator):
		return nil
	}
	return points.Errorf(points.RoleMissing, "%s has not the role %v", name, book.RoleApprover)
}

// Publish posts a publication, once: by an approval of what was proposed, or alone where
// nobody has to approve.
func (h *House) Publish(ctx context.Context, p Publication) (points.Position, error) {
	view, something, err := h.cleared(ctx, p.Cut)
	switch {
	case err != nil:
		return 0, err
	case !something:
		return 0, nil // Nothing was cleared: there is nothing to post.
	case view.Posted != 0:
		return view.Posted, h.samePosting(view.Posted, &p)
	}
	if p.Proposal == 0 {
		cmd := p.command()
		o, err := h.office(ctx)
		if err != nil {
			return 0, err
		}
		if !o.enrolled {
			cmd.Second = p.Checker
		}
		out, err := h.do(ctx, &cmd)
		return out.Position, err
	}
	o, err := h.office(ctx)
	if err != nil {
		return 0, err
	}
	for i := range o.proposals {
		if o.proposals[i].Position == p.Proposal {
			out, err := h.do(ctx, &book.Command{
				Kind: book.KindApprove, At: p.At, Operator: p.Checker, Original: p.Proposal, Note: "settlement run " + p.Run, Group: []book.Command{o.proposals[i].Act},
			})
			return out.Position, err
		}
	}
	return 0, points.Errorf(points.ProposalUnknown, "proposal %d is not pending: it was rejected, or its time is over; run lianfen settle run again", p.Proposal)
}

// samePosting refuses a cycle that another run has posted.
func (h *House) samePosting(position points.Position, p *Publication) error {
	rec, err := h.Ledger.Record(position)
	if err != nil {
		return err //nolint:wrapcheck // the ledger's own words.
	}
	if act := rec.Command.Carried(); act.Run != [32]byte(p.Key) || act.Manifest != [32]byte(p.Manifest) {
		return points.Errorf(points.AlreadyExists, "%v was posted at journal %d by another run (%s)", p.Cut, position, act.Note)
	}
	return nil
}

func (h *House) do(ctx context.Context, cmd *book.Command) (book.Outcome, error) {
	out, err := h.Ledger.Do(ctx, cmd)
	if err != nil {
		return out, err //nolint:wrapcheck // as above.
	}
	if !out.Reason.Approved() {
		var why error
		if err := h.Ledger.View(ctx, func(b *book.Book) error {
			why = b.Why(cmd)
			return nil
		}); err != nil {
			return out, err //nolint:wrapcheck // as above.
		}
		if why != nil && points.ReasonOf(why) == out.Reason {
			return out, why
		}
		return out, points.Errorf(out.Reason, "%s: %s", cmd.Note, out.Reason.English())
	}
	return out, nil
}
