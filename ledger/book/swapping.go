package book

import (
	"cmp"
	"fmt"

	"github.com/lianfen/lianfen/exchange/quote"
	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// swapDeal is one swap while its command is carried out.
type swapDeal struct {
	subject                  // whose points are handed in, and of which programme; no account where that is another's ledger
	into    *Program         // handed out
	to      *account         // nil: the member has none yet, or it is in another's ledger
	card    points.CardToken // by which the other ledger knows the member; zero: there is none
	figures SwapFigures
	buy     *tariff.Rate
	sell    *tariff.Rate
	terms   *tariff.SwapTerms // of the programme handed in
	out     *tariff.SwapTerms // of the one handed out
}

// swapping is the list of commands about swaps.
func (b *Book) swapping(cmd *Command, out *Outcome) (points.Reason, error) {
	switch cmd.Kind {
	case KindExpireSwaps:
		return b.expireSwaps(cmd, out)
	case KindSwapTold:
		return b.swapTold(cmd, out)
	case KindSwapRetry:
		return b.swapRetry(cmd, out)
	default:
	}
	if reason := b.participants(cmd); !reason.Approved() {
		return reason, nil
	}
	if reason := b.opened(); !reason.Approved() {
		return reason, nil
	}
	switch cmd.Kind {
	case KindQuote:
		return b.quoteSwap(cmd, out)
	case KindSwapLock:
		return b.lockSwap(cmd, out)
	case KindSwapCancel:
		return b.cancelSwap(cmd, out)
	default:
		return b.executeSwap(cmd, out)
	}
}

// sides finds member, programmes and accounts of a swap and checks that they take part.
func (b *Book) sides(cmd *Command, d *swapDeal, from, into points.ProgramID, out *Outcome) (reason points.Reason, err error) {
	source, target := b.farProgram(from), b.farProgram(into)
	switch {
	case (source || target) && !cmd.Ask, source && target:
		return points.RemoteSwap, nil
	case source || target:
		if d.card = cmd.Card; d.card.IsZero() {
			return points.UnknownCard, nil // The other ledger knows the member by nothing else.
		}
	}
	asked := Command{Kind: cmd.Kind, Card: cmd.Card, Member: cmd.Member, Program: from, Merchant: cmd.Merchant}
	if source {
		d.subject, reason, err = b.farSubject(&asked, out)
	} else {
		d.subject, reason, err = b.subject(&asked, FreezeDebit, out)
	}
	if err != nil || !reason.Approved() {
		return reason, err
	}
	if d.member.Freeze&FreezeCredit != 0 {
		return points.MemberFrozen, nil
	}
	if d.into, reason = b.programAt(points.MerchantID{}, into); !reason.Approved() {
		return reason, nil
	}
	if d.into.ID == d.program.ID || d.into.Rules.Qualifying || d.program.Rules.Qualifying {
		return points.NotPermitted, nil
	}
	if target {
		return points.Approved, nil // Whether it takes points is its issuer's to say.
	}
	if d.to, err = b.findAccount(AccountKey{MemberAccount, into, uint64(d.member.ID)}); err != nil {
		return 0, err
	}
	switch to := d.to; {
	case to == nil && !d.into.Rules.OpenOnEarn:
		return points.UnknownAccount, nil
	case to != nil && to.status == Closed:
		return points.AccountClosed, nil
	case to != nil && to.freeze&FreezeCredit != 0:
		return points.AccountFrozen, nil
	}
	return points.Approved, nil
}

// onOffer finds the rates and terms in force, and what settlement makes of a swap by them.
func (b *Book) onOffer(d *swapDeal) points.Reason {
	now := b.risk.now
	d.buy = b.live.rates().Pair(d.program.ID, d.into.ID, now)
	d.sell = b.live.rates().At(d.into.ID, tariff.Sell, now)
	d.terms, d.out = b.live.swaps().At(d.program.ID, now), b.live.swaps().At(d.into.ID, now)
	if d.buy == nil || d.sell == nil || d.terms == nil || d.out == nil {
		return points.NoSwapRate
	}
	return points.Approved
}

// quoteSwap promises what a swap gives, for a short time, where it could be executed now.
// Nothing moves: the promise is the record. Amount is what is handed in, or Wanted what is
// to be handed out at least.
func (b *Book) quoteSwap(cmd *Command, out *Outcome) (points.Reason, error) {
	var d swapDeal
	from, reason, err := b.fromProgram(cmd)
	if err != nil || !reason.Approved() {
		return reason, err
	}
	if (cmd.Amount == 0) == (cmd.Wanted == 0) || cmd.Amount < 0 || cmd.Wanted < 0 || cmd.Amount > points.MaxAmount || cmd.Wanted > points.MaxAmount {
		return points.BadAmount, nil
	}
	if reason, err := b.sides(cmd, &d, from, cmd.Into, out); err != nil || !reason.Approved() {
		return reason, err
	}
	if reason := b.onOffer(&d); !reason.Approved() {
		return reason, nil
	}
	if cmd.Limit > d.terms.LockSeconds {
		return points.FunctionDisabled, nil
	}
	by := swapTerms(d.buy, d.sell, d.terms)
	by.FeePPM = lockedFee(by.FeePPM, d.terms, cmd.Limit)
	f, reason := figuresOf(&by, cmd, d.terms)
	if !reason.Approved() {
		return reason, nil
	}
	d.figures = SwapFigures{
		Quote: b.position + 1, State: SwapOpen, Into: d.into.ID, IntoIssuer: d.into.Issuer,
		In: f.In, Out: f.Out, Value: f.Value, Fee: f.Fee, Cost: f.Cost, Rest: f.Rest,
		Buy: d.buy.Version, Sell: d.sell.Version, Terms: d.terms.Version, IntoTerms: d.out.Version,
		Expires: b.risk.now + points.Timestamp(d.terms.QuoteSeconds)*second,
	}
	if cmd.Edition > 0 {
		d.figures.Promised = b.risk.now
	}
	if err := b.campaign(&d); err != nil {
		return 0, err
	}
	if reason, err := b.maySwap(cmd, &d, out); err != nil || !reason.Approved() {
		return reason, err
	}
	out.Amount, out.Swap = d.figures.In, d.figures
	return points.Approved, nil
}

// figuresOf is what a quote promises: for Amount handed in, or for Wanted at least, and then
// for the next step of the terms.
func figuresOf(by *quote.Terms, cmd *Command, terms *tariff.SwapTerms) (f quote.Figures, reason points.Reason) {
	if cmd.Amount != 0 {
		f, reason = by.ExactIn(cmd.Amount)
	} else if f, reason = by.ExactOut(cmd.Wanted); reason.Approved() && terms.StepIn > 0 && f.In%terms.StepIn != 0 {
		f, reason = by.ExactIn(f.In + terms.StepIn - f.In%terms.StepIn)
	}
	if reason.Approved() && (f.In > points.MaxAmount || f.Out > points.MaxAmount) {
		return f, points.BalanceOverflow
	}
	return f, reason
}

// lockedFee is the fee of a quote that may be locked for so long: more for each minute that
// is begun.
func lockedFee(ppm uint32, terms *tariff.SwapTerms, seconds uint32) uint32 {
	minutes := (uint64(seconds) + 59) / 60
	return uint32(min(uint64(ppm)+minutes*uint64(terms.LockFeePPM), quote.Million))
}

// fromProgram is the programme handed in: the one named, else the first of the order.
func (b *Book) fromProgram(cmd *Command) (points.ProgramID, points.Reason, error) {
	if cmd.Program != 0 {
		return cmd.Program, points.Approved, nil
	}
	m, reason, err := b.holder(cmd.Card, cmd.Member, FreezeDebit)
	if err != nil || !reason.Approved() {
		return 0, reason, err
	}
	program, reason := b.chooseProgram(cmd, m)
	return program, reason, nil
}

// campaign adds the bonus, as far as its budget has it: all of it or none.
func (b *Book) campaign(d *swapDeal) error {
	if !d.out.Campaign() || b.farProgram(d.into.ID) {
		return nil // A sponsor's account in another's ledger is not ours to draw on.
	}
	tier := points.Amount(0)
	if unit := d.into.Rules.Tier; unit != 0 && d.out.TierBonus != (tariff.BonusTiers{}) {
		a, err := b.findAccount(AccountKey{MemberAccount, unit, uint64(d.member.ID)})
		if err != nil {
			return err
		}
		if a != nil {
			tier = a.spendable(b.date)
		}
	}
	// Neither is more than twelve digits, and a bonus that does not fit is none.
	bonus, ok := d.out.Bonus(d.figures.Out, tier)
	pool, err := b.swapCountOf(d.into.ID, 0)
	if err == nil && ok && bonus <= points.MaxAmount && !over(d.out.BonusBudget, pool.given(d.out.Version), bonus) {
		d.figures.Bonus = bonus
	}
	return err
}

// maySwap checks what can refuse a swap for as long as nothing is held for it: limits,
// what settlement makes of it, caps of members, and points.
func (b *Book) maySwap(cmd *Command, d *swapDeal, out *Outcome) (points.Reason, error) {
	f := &d.figures
	if reason, err := b.withinSwapCaps(d.member.ID, d.program.ID, f, d.terms, d.out); err != nil || !reason.Approved() {
		return reason, err
	}
	item := b.swapItem(cmd, d)
	if tariff.Value(b.live.rates(), b.live.fees(), &item, &b.clearing.value) != tariff.OK {
		return points.NoSwapRate, nil // What settlement could not value is not promised.
	}
	if reason := b.wouldExceed(); !reason.Approved() {
		return reason, nil
	}
	if reason, err := b.judgeSwap(cmd, d.program.ID, f.In, out); err != nil || !reason.Approved() {
		return reason, err
	}
	if cmd.Kind != KindQuote {
		if reason, err := b.pinned(cmd, d.program, f.In); err != nil || !reason.Approved() {
			return reason, err
		}
	}
	if d.account != nil && d.account.swappable(d.terms, b.date) < f.In {
		return points.NotEnoughPoints, nil
	}
	return points.Approved, nil
}

// swapItem is what clearing makes of the swap.
func (b *Book) swapItem(cmd *Command, d *swapDeal) tariff.Item {
	item := tariff.Item{Kind: tariff.KindSWP, Position: b.position + 1, At: b.risk.now, Program: d.program.ID}
	item.Issuer, _ = tariff.MemberOf(d.program.Issuer)
	item.Acquirer, _ = tariff.MemberOf(cmd.Acquirer)
	if m, ok := b.live.Merchants[cmd.Merchant]; ok {
		item.MCC = m.MCC
	}
	d.figures.of(&item)
	return item
}

// of puts what was quoted into an item.
func (f *SwapFigures) of(item *tariff.Item) {
	item.Target, _ = tariff.MemberOf(f.IntoIssuer)
	item.TargetProgram, item.Amount = f.Into, f.In
	item.Quoted = tariff.Swap{Value: f.Value, Spread: f.Fee, Worth: f.Cost, Granted: f.Out}
	item.Buy, item.Sell, item.Promised = f.Buy, f.Sell, f.Promised
}

// swappable reports whether a lot may be swapped on date.
func (k LotKey) swappable(terms *tariff.SwapTerms, date points.BusinessDate) bool {
	return k.usable(date) && terms.Lots&(1<<k.Origin) != 0 && k.SwapFrom <= LotDayOf(date)
}

// swappable is how much of the account may be swapped.
func (a *account) swappable(terms *tariff.SwapTerms, date points.BusinessDate) (sum points.Amount) {
	for i := range a.lots {
		if a.lots[i].key.swappable(terms, date) {
			sum += a.lots[i].amount
		}
	}
	return sum
}

// takeSwappable removes amount from the lots that may be swapped, in order of consumption.
func (b *Book) takeSwappable(a *account, amount points.Amount, terms *tariff.SwapTerms, held bool, out *Outcome) {
	b.taken = b.taken[:0]
	b.takeLike(a, amount, held, out, func(key LotKey) bool { return key.swappable(terms, b.date) })
}

// quoted finds the quote that a command names and checks that it is the sender's and may
// still be acted on. p is valid until the next record is read; s is nil where nothing has
// happened to it.
func (b *Book) quoted(cmd *Command, out *Outcome) (p *promise, s *swap, reason points.Reason, err error) {
	if cmd.Original == 0 || cmd.Original > b.position {
		return nil, nil, points.UnknownOriginal, nil
	}
	if p, err = b.promiseOf(cmd.Original); p == nil || err != nil {
		return nil, nil, points.UnknownOriginal, err
	}
	out.Original = cmd.Original
	if reason, err = b.sameTransaction(cmd, cmd.Original, p.member, p.program); err != nil || !reason.Approved() {
		return nil, nil, reason, err
	}
	f := &p.figures
	if cmd.Acquirer != p.acquirer || (cmd.Into != 0 && cmd.Into != f.Into) || (cmd.Amount != 0 && cmd.Amount != f.In) || (cmd.Wanted != 0 && cmd.Wanted != f.Out) {
		return nil, nil, points.OriginalDiffers, nil
	}
	if s, err = b.findSwap(cmd.Original); err != nil {
		return nil, nil, 0, err
	}
	return p, s, points.Approved, b.aboutSwap(p.member, p.program, p.issuer, out)
}

// promised turns the quote that a command names into a deal, where nothing has happened to
// it: it is refused when its time is over, or when other rates or terms are in force by now,
// since nothing was held for it.
func (b *Book) promised(cmd *Command, p *promise, d *swapDeal, out *Outcome) (points.Reason, error) {
	d.figures = p.figures
	asked := *cmd
	asked.Member, asked.Ask = p.member, p.ask
	if asked.Card.IsZero() && p.ask {
		asked.Card = p.card
	}
	if b.risk.now >= d.figures.Expires {
		return points.QuoteExpired, nil
	}
	if reason, err := b.sides(&asked, d, p.program, d.figures.Into, out); err != nil || !reason.Approved() {
		return reason, err
	}
	if reason := b.onOffer(d); !reason.Approved() {
		return points.RateMoved, nil
	}
	f := &d.figures
	if f.Buy != d.buy.Version || f.Sell != d.sell.Version || f.Terms != d.terms.Version || f.IntoTerms != d.out.Version {
		return points.RateMoved, nil
	}
	return b.maySwap(cmd, d, out)
}

// lockSwap holds the points of a quote, counts it and keeps its figures for longer than the
// quote would have stood. No posting: lots move between free and held.
func (b *Book) lockSwap(cmd *Command, out *Outcome) (points.Reason, error) {
	p, s, reason, err := b.quoted(cmd, out)
	if err != nil || !reason.Approved() {
		return reason, err
	}
	if s != nil {
		return points.OriginalClosed, nil
	}
	var d swapDeal
	seconds := p.limit
	if reason, err := b.promised(cmd, p, &d, out); err != nil || !reason.Approved() {
		return reason, err
	}
	switch {
	case d.account == nil, d.terms.LockSeconds == 0, d.terms.LockFeePPM != 0 && seconds == 0: // In another's ledger; never; not paid for.
		return points.FunctionDisabled, nil
	case len(b.swapLocks.live) >= maxSwapLocks:
		return points.Overloaded, nil
	}
	f := &d.figures
	b.takeSwappable(d.account, f.In, d.terms, true, out)
	if reason := b.moveHeld(d.account, f.In); !reason.Approved() {
		return reason, nil
	}
	d.account.holds++
	f.State, f.Expires = SwapLocked, b.risk.now+points.Timestamp(cmp.Or(seconds, d.terms.LockSeconds))*second
	out.Amount, out.Swap = f.In, *f
	if s, err = b.changeSwap(f.Quote, d.account.key); err != nil {
		return 0, err
	}
	s.state, s.locked, s.expires, s.counted = SwapLocked, b.position+1, f.Expires, b.date
	s.lots = append(s.lots[:0], b.taken...)
	b.addLock(s)
	return points.Approved, b.countSwap(d.member.ID, d.program.ID, f, b.date, 1)
}

// executeSwap carries out what was quoted, at the quote's figures, once. What is locked is
// not refused any more for what came since: not for another rate, a limit or a cap, nor
// because the member may not spend by now.
//
//	member (A)   -in      issued (A)   +in
//	issued (B)   -out     member (B)   +out      a debt is repaid first
//	sponsor (B)  -bonus   member (B)   +bonus    a lot of its own
//
// The standard points are legs of its item (see items.go): issuer A owes issuer B the cost,
// the house the fee and what rounding leaves.
func (b *Book) executeSwap(cmd *Command, out *Outcome) (points.Reason, error) {
	p, s, reason, err := b.quoted(cmd, out)
	if err != nil || !reason.Approved() {
		return reason, err
	}
	var d swapDeal
	d.figures = p.figures
	locked := s != nil && s.state == SwapLocked
	switch {
	case locked:
		if reason, err = b.locked(cmd, p, s, &d); err != nil || !reason.Approved() {
			return reason, err
		}
	case s != nil && s.state == SwapExpired:
		return points.QuoteExpired, nil
	case s != nil:
		return points.OriginalClosed, nil
	default:
		if reason, err = b.promised(cmd, p, &d, out); err != nil || !reason.Approved() {
			return reason, err
		}
	}
	if d.far(b) {
		return b.beginSwap(cmd, &d, s, out)
	}
	f := &d.figures
	if locked {
		b.taken = append(b.taken[:0], s.lots...)
		for _, l := range s.lots {
			out.Lots = append(out.Lots, LotMove{Account: d.account.key, Lot: l.key, Amount: -l.amount})
		}
		if reason := b.moveHeld(d.account, -f.In); !reason.Approved() {
			return reason, nil
		}
		b.change(d.account)
		d.account.holds--
	} else {
		b.takeSwappable(d.account, f.In, d.terms, false, out)
	}
	if reason, err := b.postSwap(&d, out); err != nil || !reason.Approved() {
		return reason, err
	}
	f.State = SwapDone
	out.Amount, out.Swap = f.In, *f
	b.about(d.account, out)
	if locked {
		if err := b.dropLock(s); err != nil {
			return 0, err
		}
	} else if err := b.countSwap(points.MemberID(d.account.key.Party), d.account.key.Program, f, b.date, 1); err != nil {
		return 0, err
	}
	if s, err = b.changeSwap(f.Quote, d.account.key); err != nil {
		return 0, err
	}
	if !locked {
		s.counted = b.date
	}
	s.state, s.done, s.lots = SwapDone, b.position+1, s.lots[:0]
	return points.Approved, nil
}

// locked finds the sides of a locked swap; its account to is what can still refuse it.
func (b *Book) locked(cmd *Command, p *promise, s *swap, d *swapDeal) (reason points.Reason, err error) {
	if b.risk.now >= s.expires {
		return points.QuoteExpired, nil
	}
	if reason, err := b.pinned(cmd, b.live.Programs[s.account.Program], d.figures.In); err != nil || !reason.Approved() {
		return reason, err
	}
	d.program, d.into = b.live.Programs[s.account.Program], b.live.Programs[d.figures.Into]
	d.terms = b.live.swaps().Version(d.program.ID, d.figures.Terms)
	d.out = b.live.swaps().Version(d.into.ID, d.figures.IntoTerms)
	if d.member, err = b.findMember(points.MemberID(s.account.Party)); err != nil {
		return 0, err
	}
	if d.account, err = b.needAccount(s.account); err != nil {
		return 0, err
	}
	if d.to, err = b.findAccount(AccountKey{MemberAccount, d.into.ID, s.account.Party}); err != nil {
		return 0, err
	}
	d.card = p.card
	switch {
	case d.far(b) && !p.ask, b.farProgram(d.program.ID):
		return points.RemoteSwap, nil // Since it was locked, an issuer has taken its ledger away.
	case d.member == nil || d.terms == nil || d.out == nil:
		return 0, fmt.Errorf("I25: the member or the terms of swap %d are gone", s.position)
	case d.into.Status != Active:
		return points.ProgramClosed, nil
	case d.to != nil && d.to.status == Closed:
		return points.AccountClosed, nil
	case d.to != nil && d.to.freeze&FreezeCredit != 0:
		return points.AccountFrozen, nil
	}
	return points.Approved, nil
}

// postSwap books a swap whose points are taken already (b.taken).
func (b *Book) postSwap(d *swapDeal, out *Outcome) (points.Reason, error) {
	key, reason := b.swappedLot(d)
	if !reason.Approved() {
		return reason, nil
	}
	bonus := key
	bonus.Origin = Bonus
	if reason, err := b.handIn(d, out); err != nil || !reason.Approved() {
		return reason, err
	}
	return b.handOut(d, key, bonus, out)
}

// handIn retires what is handed in.
func (b *Book) handIn(d *swapDeal, out *Outcome) (points.Reason, error) {
	if reason := b.postMember(d.account, -d.figures.In, out); !reason.Approved() {
		return reason, nil
	}
	return b.postHouse(b.issuersAccount(IssuedAccount, d.program.ID), d.figures.In, out)
}

// handOut issues what is handed out.
func (b *Book) handOut(d *swapDeal, key, bonus LotKey, out *Outcome) (points.Reason, error) {
	f := &d.figures
	if d.to == nil {
		d.to = b.newAccount(d.member, d.into.ID)
	}
	if reason, err := b.postHouse(b.issuersAccount(IssuedAccount, d.into.ID), -f.Out, out); err != nil || !reason.Approved() {
		return reason, err
	}
	if reason := b.credit(d.to, key, f.Out, out); !reason.Approved() || f.Bonus == 0 {
		return reason, nil
	}
	if reason, err := b.postHouse(b.issuersAccount(SponsorAccount, d.into.ID), -f.Bonus, out); err != nil || !reason.Approved() {
		return reason, err
	}
	return b.credit(d.to, bonus, f.Bonus, out), nil
}

// swappedLot is the lot that handed out points become.
func (b *Book) swappedLot(d *swapDeal) (LotKey, points.Reason) {
	cmd := Command{Origin: Swapped}
	switch d.out.Expiry {
	case tariff.ExpiryInherit:
		for _, l := range b.taken {
			if e := l.key.ExpiresOn; e != 0 && (cmd.ExpiresOn == 0 || e < cmd.ExpiresOn) {
				cmd.ExpiresOn = e
			}
		}
	case tariff.ExpiryFixed:
		cmd.ExpiresOn = b.date.AddDays(int(d.out.ExpiryDays))
	default:
	}
	key, reason := b.earnedLot(&cmd, d.into, Swapped)
	if d.out.Expiry == tariff.ExpiryInherit && cmd.ExpiresOn == 0 && len(b.taken) > 0 && reason.Approved() {
		key.ExpiresOn = 0 // What was handed in never expires.
	}
	if d.out.LockDays > 0 {
		key.SwapFrom = LotDayOf(b.date.AddDays(int(d.out.LockDays)))
	}
	return key, reason
}

// cancelSwap ends a quote or a lock by its owner's wish.
func (b *Book) cancelSwap(cmd *Command, out *Outcome) (points.Reason, error) {
	p, s, reason, err := b.quoted(cmd, out)
	if err != nil || !reason.Approved() {
		return reason, err
	}
	f := p.figures
	account := AccountKey{MemberAccount, p.program, uint64(p.member)}
	switch {
	case s == nil:
		if s, err = b.changeSwap(f.Quote, account); err != nil {
			return 0, err
		}
		s.state = SwapCancelled
	case s.state == SwapLocked:
		if reason, err := b.endLock(s, &f, SwapCancelled, out); err != nil || !reason.Approved() {
			return reason, err
		}
	default:
		return points.OriginalClosed, nil
	}
	f.State = SwapCancelled
	out.Swap = f
	return points.Approved, nil
}

// endLock gives back what a lock holds, and what it counted.
func (b *Book) endLock(s *swap, f *SwapFigures, state SwapState, out *Outcome) (points.Reason, error) {
	a, err := b.needAccount(s.account)
	if err != nil {
		return 0, err
	}
	if reason, err := b.giveBackSwap(s, a, state, out); err != nil || !reason.Approved() {
		return reason, err
	}
	if err := b.dropLock(s); err != nil {
		return 0, err
	}
	if err := b.countSwap(points.MemberID(a.key.Party), a.key.Program, f, s.counted, -1); err != nil {
		return 0, err
	}
	return points.Approved, b.uncountSwap(s, f.In)
}

// giveBackSwap gives back what a swap holds.
func (b *Book) giveBackSwap(s *swap, a *account, state SwapState, out *Outcome) (points.Reason, error) {
	part := hold{account: s.account, left: s.held(), lots: s.lots}
	if reason, err := b.releaseHeld(&part, a, 0, out); err != nil || !reason.Approved() {
		return reason, err
	}
	out.Amount += part.left
	b.change(a)
	a.holds--
	b.touch(s)
	s.state, s.lots = state, s.lots[:0]
	return points.Approved, nil
}

// expireSwaps ends locks whose time is over, a bounded number at a time.
func (b *Book) expireSwaps(cmd *Command, out *Outcome) (points.Reason, error) {
	if b.date == 0 {
		return points.ProgramClosed, nil
	}
	limit := cmd.Limit
	if limit == 0 {
		limit = defaultBatch
	}
	for range min(limit, maxBatch) {
		if len(b.swapLocks.live) == 0 || b.swapLocks.live[0].expires > b.risk.now {
			return points.Approved, nil
		}
		s, err := b.findSwap(b.swapLocks.live[0].quote)
		if err != nil {
			return 0, err
		}
		if s == nil {
			return 0, fmt.Errorf("I25: swap %d has a live lock and is gone", b.swapLocks.live[0].quote)
		}
		p, err := b.promiseOf(s.position)
		if err != nil {
			return 0, err
		}
		if p == nil {
			return 0, fmt.Errorf("I25: swap %d is locked and its quote is gone", s.position)
		}
		f := p.figures
		if err := must(b.endLock(s, &f, SwapExpired, out)); err != nil {
			return 0, err
		}
	}
	out.More = len(b.swapLocks.live) > 0 && b.swapLocks.live[0].expires <= b.risk.now
	return points.Approved, nil
}

// reverseSwap undoes an executed swap: the points that were handed in come back with the
// lots they had; those handed out are claimed, from the member's other points, as a debt or
// at the issuer's expense where they are spent.
func (b *Book) reverseSwap(rec *Record, out *Outcome) (points.Reason, error) {
	done := rec.Outcome.Swap
	if done.State != SwapDone {
		return points.OriginalClosed, nil // Its issuer decides, and operators undo it.
	}
	out.Amount = done.In
	if reason, err := b.undoPostings(rec, out); err != nil || !reason.Approved() {
		return reason, err
	}
	s, err := b.findSwap(done.Quote)
	if err != nil {
		return 0, err
	}
	if s == nil || s.state != SwapDone {
		return 0, fmt.Errorf("I25: swap %d was executed and is not done", done.Quote)
	}
	b.touch(s)
	s.state = SwapReversed
	done.State = SwapReversed
	out.Swap = done
	if err := b.countSwap(points.MemberID(s.account.Party), s.account.Program, &done, s.counted, -1); err != nil {
		return 0, err
	}
	return points.Approved, b.uncountSwap(s, done.In)
}

// uncountSwap gives back what a swap has counted for the rules on risk: where it was locked,
// or else where it was executed.
func (b *Book) uncountSwap(s *swap, in points.Amount) error {
	return b.uncountRisk(cmp.Or(s.locked, s.leg.position, s.done), -in, -1)
}
