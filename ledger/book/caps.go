package book

import (
	"fmt"
	"slices"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// owes is what counts for a member's cap now: the open cycle, closed ones that are not
// settled, and what its issuer was asked and has not answered.
func (b *Book) owes(m tariff.Member, limit *Cap) points.Amount {
	e := &b.clearing.exposure
	var debit, credit points.Amount
	if c := b.clearing.current; c != nil {
		if i, ok := c.at[m]; ok {
			debit, credit = c.members[i].debit, c.members[i].credit
		}
	}
	if i, found := findSum(e.unsettled, m); found {
		debit, credit = debit+e.unsettled[i].debit, credit+e.unsettled[i].credit
	}
	if i, found := findSum(e.reserved, m); found {
		debit += e.reserved[i].debit
	}
	if limit.CreditLater {
		return debit
	}
	return debit - credit
}

// mayOwe holds what a sale or an earn would make members owe against their caps (I21). It
// is asked before anything changes, for each programme that pays. Only what can still be
// refused is held against them: what is undone, told, captured, or answered by an issuer
// that was asked has happened. An item that has no value makes nobody owe anything.
func (b *Book) mayOwe(cmd *Command, kind tariff.Kind, program *Program, amount points.Amount) points.Reason {
	if len(b.live.Caps) == 0 || b.live.Rates == nil || Told(cmd.Function) {
		return points.Approved
	}
	if !b.valued(kind, program, cmd.Acquirer, cmd.Merchant, amount) {
		return points.Approved
	}
	return b.wouldExceed()
}

// valued values an item as of now; false: it has no value.
func (b *Book) valued(kind tariff.Kind, program *Program, acquirer points.AcquirerID, merchant points.MerchantID, amount points.Amount) bool {
	return b.valuedHeld(kind, program, acquirer, merchant, amount, 0)
}

// valuedHeld likewise, of what may be captured of a hold that was placed then, whose rate and
// fees its capture may have ([tariff.FeeRow.LockAtHold]); 0: of no hold that there is.
func (b *Book) valuedHeld(kind tariff.Kind, program *Program, acquirer points.AcquirerID, merchant points.MerchantID, amount points.Amount, placed points.Timestamp) bool {
	var item tariff.Item
	item.Kind, item.Program, item.Amount, item.At, item.Position = kind, program.ID, amount, b.risk.now, b.position+1
	item.Issuer, _ = tariff.MemberOf(program.Issuer)
	item.Acquirer, _ = tariff.MemberOf(acquirer)
	if m, ok := b.live.Merchants[merchant]; ok {
		item.MCC = m.MCC
	}
	if placed != 0 && b.live.Fees.Locked(&item, placed) {
		item.Held = min(placed, item.At)
	}
	return tariff.Value(b.live.Rates, b.live.fees(), &item, &b.clearing.value) == tariff.OK
}

// placedAt is when the hold at position was placed, where any schedule locks captures at
// their holds; else, and of one that the current command places, 0.
func (b *Book) placedAt(position points.Position) (points.Timestamp, error) {
	if b.live.Fees == nil || !b.live.Fees.Locks() || position > b.position {
		return 0, nil
	}
	var rec Record // Its own: callers have other records at hand.
	if err := b.source.Record(position, &rec); err != nil {
		return 0, fmt.Errorf("read journal record %d: %w", position, err)
	}
	return rec.Outcome.Posted, nil
}

// wouldExceed holds the legs that were valued last against the caps.
func (b *Book) wouldExceed() points.Reason { return b.wouldExceedOf(anyCap) }

func anyCap(*Cap) bool { return true }

// wouldExceedOf likewise, against the caps that are chosen.
func (b *Book) wouldExceedOf(chosen func(*Cap) bool) points.Reason {
	for _, leg := range b.clearing.value.Legs() {
		b.clearing.wouldOwe(leg.Debtor).debit += leg.Amount
		b.clearing.wouldOwe(leg.Creditor).credit += leg.Amount
	}
	return b.exceeding(chosen)
}

// exceeding holds what the current command would make members owe, as far as it was asked,
// against the caps that are chosen.
func (b *Book) exceeding(chosen func(*Cap) bool) points.Reason {
	for _, s := range b.clearing.owing {
		limit := b.live.Caps[s.member]
		if limit == nil || limit.Unlimited || !chosen(limit) {
			continue
		}
		if more := s.counts(limit); more > 0 && b.owes(s.member, limit) > limit.Cap-more {
			return points.OverSettlementCap
		}
	}
	return points.Approved
}

// wouldOwe is what the current command would make a member owe, about to change.
func (c *clearing) wouldOwe(m tariff.Member) *memberSum {
	for i := range c.owing {
		if c.owing[i].member == m {
			return &c.owing[i]
		}
	}
	c.owing = append(c.owing, memberSum{member: m})
	return &c.owing[len(c.owing)-1]
}

// counts is how much of what a command makes a member owe counts for its cap.
func (s *memberSum) counts(limit *Cap) points.Amount {
	if limit.CreditLater {
		return s.debit
	}
	return s.debit - s.credit
}

// reserve keeps what a request, that the current command forwards, would make members owe,
// until its issuer has answered or nobody waits for that.
func (b *Book) reserve() error {
	var reserved []memberSum
	for i := range b.clearing.owing {
		s := &b.clearing.owing[i]
		if limit := b.live.Caps[s.member]; limit != nil && s.counts(limit) > 0 {
			reserved = append(reserved, memberSum{member: s.member, debit: s.counts(limit)})
		}
	}
	if len(reserved) == 0 {
		return nil
	}
	d, err := b.clearing.change(b.position + 1)
	if err != nil {
		return err
	}
	d.reserved = reserved
	return b.reserving(reserved, 1)
}

func (b *Book) reserving(sums []memberSum, sign points.Amount) (err error) {
	e := &b.clearing.exposure
	b.touch(e)
	for _, s := range sums {
		if e.reserved, err = addSum(e.reserved, s, sign); err != nil {
			return err
		}
	}
	return nil
}

// letGo ends what was reserved for a request that the command has decided.
func (b *Book) letGo(cmd *Command, out *Outcome) error {
	if len(b.clearing.exposure.reserved) == 0 {
		return nil
	}
	switch cmd.Carried().Kind {
	case KindConclude, KindStandIn, KindOwe, KindReverse:
	default:
		return nil
	}
	d, err := b.clearing.find(out.Original)
	if err != nil || d == nil || len(d.reserved) == 0 {
		return err
	}
	if h, err := b.findHold(out.Original); err != nil || h != nil {
		return err // What a hold here reserves goes with what is left of it.
	}
	if r, err := b.findRemote(out.Original); err != nil || r.capturedMeanwhile(cmd) {
		return err
	}
	return b.reserveFor(out.Original, nil)
}

// Exposure is what counts for a member's cap.
type Exposure struct {
	Cap
	Owes     points.Amount // what counts of it: unsettled and reserved; below zero, it is owed
	Reserved points.Amount // in Owes
	Headroom points.Amount
}

// Exposures lists the members that have a cap, ascending.
func (b *Book) Exposures() (list []Exposure) {
	for m, limit := range b.live.Caps {
		if limit.Unlimited {
			continue
		}
		e := Exposure{Cap: *limit, Owes: b.owes(m, limit)}
		if i, found := findSum(b.clearing.exposure.reserved, m); found {
			e.Reserved = b.clearing.exposure.reserved[i].debit
		}
		e.Headroom = limit.Cap - e.Owes
		list = append(list, e)
	}
	slices.SortFunc(list, func(x, y Exposure) int { return int(x.Member) - int(y.Member) })
	return list
}

// auditClearing checks what the book says of members' debts (I20, I21): each cycle sums to
// zero, and what waits to be settled is what closed cycles say. What a cap lets through
// depends on the order of commands and is checked when they are applied again.
func (b *Book) auditClearing() error {
	cycles := []*cycle{b.clearing.current}
	for _, c := range b.clearing.closed {
		cycles = append(cycles, c)
	}
	if err := b.auditReserved(); err != nil {
		return err
	}
	for _, c := range cycles {
		if c == nil {
			continue
		}
		var debit, credit points.Amount
		for _, s := range c.members {
			debit, credit = debit+s.debit, credit+s.credit
		}
		if debit != credit {
			return fmt.Errorf("book: I20: cycle %d of %v: members owe %d and are owed %d", c.key.cycle, c.key.date, debit, credit)
		}
	}
	return nil
}

// auditReserved checks that what is reserved of caps is what requests and holds reserve, and
// that nothing does that is over.
func (b *Book) auditReserved() error {
	var sums []memberSum
	err := b.clearing.decisions.each(func(d *decision) (err error) {
		for _, s := range d.reserved {
			if sums, err = addSum(sums, s, 1); err != nil {
				return err
			}
		}
		if h, ok := b.holds.find(d.position); ok && h.state != holdOpen && len(d.reserved) > 0 {
			return fmt.Errorf("book: I21: hold %d is in state %d and reserves %v of caps", h.position, h.state, d.reserved)
		}
		return nil
	})
	if err != nil || b.accounts.limit > 0 || b.resumed {
		return err // Some are in the store only: sums cannot be compared.
	}
	if !slices.Equal(sums, b.clearing.exposure.reserved) {
		return fmt.Errorf("book: I21: %v is reserved of caps, requests and holds reserve %v", b.clearing.exposure.reserved, sums)
	}
	return nil
}
