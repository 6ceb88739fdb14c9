package book

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/lianfen/lianfen/points"
)

// target is the position of the transaction that a command names: directly, else
// by key. ok is false when there is none.
func (b *Book) target(cmd *Command) (position points.Position, ok bool, err error) {
	if cmd.Original != 0 {
		return cmd.Original, cmd.Original <= b.position, nil
	}
	if cmd.OriginalKey == (points.TraceKey{}) {
		return 0, false, nil
	}
	if position, err = b.originalThen(cmd); position == 0 && err == nil {
		position, err = b.lookUp(&cmd.OriginalKey)
	}
	return position, position != 0, err
}

// sameTransaction checks what the command says about its original: card or
// member, programme, authorisation code.
func (b *Book) sameTransaction(cmd *Command, position points.Position, member points.MemberID, program points.ProgramID) (points.Reason, error) {
	if !cmd.Card.IsZero() {
		c, err := b.findCard(cmd.Card)
		switch {
		case err != nil:
			return 0, err
		case c == nil:
			return points.UnknownCard, nil
		case c.Member != member:
			return points.OriginalDiffers, nil
		}
	}
	switch {
	case cmd.Member != 0 && cmd.Member != member:
		return points.OriginalDiffers, nil
	case cmd.Program != 0 && cmd.Program != program:
		return points.WrongUnit, nil
	case cmd.AuthCode != [6]byte{} && cmd.AuthCode != position.AuthCode():
		return points.OriginalDiffers, nil
	}
	return points.Approved, nil
}

// original reads the approved transaction of one of the kinds given that a void
// or refund is about, and what has happened to it (nil: nothing).
func (b *Book) original(cmd *Command, out *Outcome, kinds ...Kind) (*Record, *transaction, points.Reason, error) {
	if reason := b.participants(cmd); !reason.Approved() {
		return nil, nil, reason, nil
	}
	if reason := b.opened(); !reason.Approved() {
		return nil, nil, reason, nil
	}
	position, ok, err := b.target(cmd)
	if !ok || err != nil {
		return nil, nil, points.UnknownOriginal, err
	}
	rec, err := b.record(position)
	if err != nil {
		return nil, nil, 0, err
	}
	out.Original = position
	if rec, _, err = b.sold(rec); err != nil {
		return nil, nil, 0, err
	}
	if !rec.Outcome.Reason.Approved() {
		return nil, nil, points.OriginalNotApproved, nil
	}
	if !slices.Contains(kinds, rec.Command.Kind) || (cmd.Acquirer != 0 && cmd.Acquirer != rec.Command.Acquirer) {
		return nil, nil, points.OriginalDiffers, nil
	}
	reason, err := b.sameTransaction(cmd, position, rec.Outcome.Member, rec.Outcome.Program)
	if err != nil || !reason.Approved() {
		return nil, nil, reason, err
	}
	t, err := b.findTransaction(position)
	return rec, t, points.Approved, err
}

// void cancels an earn, redemption or capture: same date, same terminal and
// merchant, all of it, once.
func (b *Book) void(cmd *Command, out *Outcome) (points.Reason, error) {
	rec, t, reason, err := b.original(cmd, out, KindRedeem, KindEarn, KindCapture)
	if err != nil || !reason.Approved() {
		return reason, err
	}
	sale, position := &rec.Outcome, rec.Outcome.Position
	switch {
	case cmd.Merchant != rec.Command.Merchant || cmd.Terminal != rec.Command.Terminal:
		return points.OriginalDiffers, nil
	case cmd.Amount > sale.Amount:
		return points.AmountOverOriginal, nil
	case cmd.Amount != 0 && cmd.Amount != sale.Amount:
		return points.OriginalDiffers, nil
	case sale.Date != b.date || otherBatch(cmd, rec.Command.Batch):
		return points.OriginalClosed, nil
	case t != nil && (t.reversed != 0 || t.voided != 0 || len(t.givings) > 0 || t.reduced > 0 || t.refunded > 0):
		return points.OriginalClosed, nil
	}
	if held, err := b.disputed(position); err != nil || held > 0 {
		return points.OriginalClosed, err
	}
	a, reason, err := b.accountBehind(sale, out)
	if err != nil || !reason.Approved() {
		return reason, err
	}
	if reason, err := b.legsUsable(rec); err != nil || !reason.Approved() {
		return reason, err
	}
	switch {
	case len(sale.Legs) > 0:
		reason, err = b.giveBackTender(cmd, rec, t, sale.Amount, out)
	case rec.Command.Kind == KindRedeem:
		reason, err = b.giveBackSale(a, rec, t, sale.Amount, out)
		if err == nil && reason.Approved() {
			a.countRedeemed(b.date, -sale.Amount, -1)
		}
	case rec.Command.Kind == KindEarn:
		if sale.Amount > a.free && !b.rulesOf(sale.Program).Debt {
			return points.NotEnoughPoints, nil
		}
		reason, err = b.undoPostings(rec, out)
	default:
		reason, err = b.uncapture(a, rec, t, false, out)
	}
	if err != nil || !reason.Approved() {
		return reason, err
	}
	out.Amount = sale.Amount
	if t, err = b.changeTransaction(position); err != nil {
		return 0, err
	}
	t.voided = b.position + 1
	return points.Approved, b.uncountRisk(position, -out.Amount, -1)
}

// accountBehind is the member's account of an original, which must be open.
func (b *Book) accountBehind(sale *Outcome, out *Outcome) (*account, points.Reason, error) {
	if sale.Member == 0 || sale.Program == 0 {
		return nil, points.OriginalDiffers, nil
	}
	if len(sale.Legs) > 0 {
		a, err := b.showFirst(sale, out)
		return a, points.Approved, err // The legs are looked at one by one.
	}
	a, err := b.findAccount(AccountKey{MemberAccount, sale.Program, uint64(sale.Member)})
	if err != nil {
		return nil, 0, err
	}
	if a == nil {
		return nil, points.OriginalDiffers, nil
	}
	b.about(a, out)
	if a.status == Closed {
		return nil, points.AccountClosed, nil
	}
	return a, points.Approved, nil
}

// refund gives back part or all of a redemption or capture, on any later date;
// all refunds together never more than it took (I4).
func (b *Book) refund(cmd *Command, out *Outcome) (points.Reason, error) {
	if reason := validAmount(cmd.Amount); !reason.Approved() {
		return reason, nil
	}
	rec, t, reason, err := b.original(cmd, out, KindRedeem, KindCapture)
	if err != nil || !reason.Approved() {
		return reason, err
	}
	sale := &rec.Outcome
	if cmd.Merchant != (points.MerchantID{}) && cmd.Merchant != rec.Command.Merchant {
		return points.OriginalDiffers, nil
	}
	left := sale.Amount
	if t != nil {
		if t.reversed != 0 || t.voided != 0 {
			return points.OriginalClosed, nil
		}
		left -= t.returnedFrom(rec)
	}
	held, err := b.disputed(sale.Position)
	if err != nil {
		return 0, err
	}
	if cmd.Amount > left-held {
		return points.AmountOverOriginal, nil
	}
	if t.worn() {
		return points.OverCountLimit, nil
	}
	a, reason, err := b.accountBehind(sale, out)
	if err != nil || !reason.Approved() {
		return reason, err
	}
	if reason, err := b.legsUsable(rec); err != nil || !reason.Approved() {
		return reason, err
	}
	out.Amount = cmd.Amount
	if len(sale.Legs) > 0 {
		return b.refundTender(cmd, rec, t, out)
	}
	return b.giveBackSale(a, rec, t, cmd.Amount, out)
}

// giveBackSale returns amount of what a redemption or capture took, with the lots
// it had, the latest-expiring first, and notes the pieces.
//
//	clearing(acquirer)  -amount
//	member              +amount
//	member              -lapsed   what came back too late, where the programme
//	breakage            +lapsed   gives no grace
//	debt, suspense      +amount   instead of member: where these stood in
func (b *Book) giveBackSale(a *account, rec *Record, t *transaction, amount points.Amount, out *Outcome) (points.Reason, error) {
	reason, err := b.postHouse(counterpart(&rec.Outcome), -amount, out)
	if err != nil || !reason.Approved() {
		return reason, err
	}
	portions := t.portions(&rec.Outcome)
	pieces, err := b.returnable(portions, t, amount, 0)
	if err != nil {
		return 0, err
	}
	if reason, err := b.returnPieces(a, portions, pieces, out); err != nil || !reason.Approved() {
		return reason, err
	}
	return points.Approved, b.noteGivings(rec.Outcome.Position, pieces)
}

// returnPieces gives pieces of what a sale took back to its member, with the lots they
// had.
func (b *Book) returnPieces(a *account, portions []portion, pieces []giving, out *Outcome) (points.Reason, error) {
	rules, total, lapsed := b.rulesOf(a.key.Program), points.Amount(0), points.Amount(0)
	for _, piece := range pieces {
		if portions[piece.move].source != MemberAccount {
			continue
		}
		gone, reason := b.giveBack(a, portions[piece.move].key, piece.amount, false, rules, out)
		if !reason.Approved() {
			return reason, nil
		}
		total += piece.amount
		lapsed += gone
	}
	b.change(a)
	if reason := b.post(a.key, total, a.free+a.held+lapsed, out); !reason.Approved() {
		return reason, nil
	}
	if reason, err := b.postLapsed(a, lapsed, out); err != nil || !reason.Approved() {
		return reason, err
	}
	return b.repayStandIns(a, portions, pieces, out)
}

// repayStandIns gives back what others than the member's lots stood in for: a debt
// is repaid, and where an earn has repaid it since the member has new points; the
// issuer has back what it bore.
func (b *Book) repayStandIns(a *account, portions []portion, pieces []giving, out *Outcome) (points.Reason, error) {
	var debt, borne points.Amount
	for _, piece := range pieces {
		switch portions[piece.move].source {
		case DebtAccount:
			debt += piece.amount
		case SuspenseAccount:
			borne += piece.amount
		default: // of a lot
		}
	}
	if debt > 0 {
		if reason, err := b.undoDebt(a.key, -debt, out); err != nil || !reason.Approved() {
			return reason, err
		}
	}
	return b.postHouse(b.issuersAccount(SuspenseAccount, a.key.Program), borne, out)
}

// noteGivings notes what this command gives back of the transaction at position.
func (b *Book) noteGivings(position points.Position, pieces []giving) error {
	t, err := b.changeTransaction(position)
	if err != nil {
		return err
	}
	t.givings = append(t.givings, pieces...)
	return nil
}

// returnable finds amount in portions of which t tells what has been given back:
// first what a debt or the issuer stood in for, then the latest-expiring.
// Of a sale that several programmes paid, those of one; of others program is 0.
func (b *Book) returnable(portions []portion, t *transaction, amount points.Amount, program points.ProgramID) (pieces []giving, err error) {
	for _, i := range latestFirst(portions) {
		if portions[i].program != program {
			continue
		}
		move := uint32(i) //nolint:gosec // an index into at most maxMoves.
		part := portions[i].amount
		if t != nil {
			part -= t.returnedOf(move)
		}
		if part = min(part, amount); part > 0 {
			pieces = append(pieces, giving{b.position + 1, move, part})
			amount -= part
		}
	}
	if amount > 0 {
		return nil, fmt.Errorf("I4: %d more are to come back of a sale than are left of it", amount)
	}
	return pieces, nil
}

// counterpart is the account on the other side of a redemption or capture.
func counterpart(sale *Outcome) AccountKey {
	for i := range sale.Postings {
		if p := &sale.Postings[i]; p.Amount > 0 && p.Account.Kind != MemberAccount {
			return p.Account
		}
	}
	return AccountKey{}
}

// latestFirst lists portions in the order in which they come back.
func latestFirst(portions []portion) []int {
	order := make([]int, len(portions))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int {
		x, y := &portions[i], &portions[j]
		return cmp.Or(
			cmp.Compare(y.source, x.source), // MemberAccount is the least
			cmp.Compare(y.key.expiryRank(), x.key.expiryRank()),
			y.key.compare(x.key),
			cmp.Compare(j, i),
		)
	})
	return order
}

// undoPostings books the opposite of everything that rec booked. What members
// have to give and no longer have becomes their debt where the programme allows
// it, else it is left in suspense with the issuer for an operator to look at.
func (b *Book) undoPostings(rec *Record, out *Outcome) (points.Reason, error) {
	done := &rec.Outcome
	for i := range done.Postings {
		p := &done.Postings[i]
		if p.Account.Kind == MemberAccount || p.Account.Kind == DebtAccount {
			continue
		}
		if reason, err := b.postHouse(p.Account, -p.Amount, out); err != nil || !reason.Approved() {
			return reason, err
		}
	}
	for i := range done.Postings {
		p := &done.Postings[i]
		if p.Account.Kind != MemberAccount || memberBefore(done.Postings[:i], p.Account) {
			continue
		}
		if reason, err := b.undoMember(p.Account, done, out); err != nil || !reason.Approved() {
			return reason, err
		}
	}
	for i := range done.Postings {
		p := &done.Postings[i]
		if p.Account.Kind != DebtAccount {
			continue
		}
		if reason, err := b.undoDebt(p.Account, p.Amount, out); err != nil || !reason.Approved() {
			return reason, err
		}
	}
	return points.Approved, nil
}

func memberBefore(postings []Posting, key AccountKey) bool {
	return slices.ContainsFunc(postings, func(p Posting) bool { return p.Account == key })
}

// undoMember takes back what one member got, and gives back what it gave.
func (b *Book) undoMember(key AccountKey, done *Outcome, out *Outcome) (points.Reason, error) {
	a, err := b.needAccount(key)
	if err != nil {
		return 0, err
	}
	var got, gave points.Amount
	for _, move := range done.Lots {
		if move.Account == key && !move.Held {
			got += max(0, move.Amount)
			gave += max(0, -move.Amount)
		}
	}
	if reason, err := b.claim(a, done.Lots, got, out); err != nil || !reason.Approved() {
		return reason, err
	}
	rules := b.rulesOf(key.Program)
	var lapsed points.Amount
	for _, move := range done.Lots {
		if move.Account != key || move.Held || move.Amount > 0 {
			continue
		}
		gone, reason := b.giveBack(a, move.Lot, -move.Amount, false, rules, out)
		if !reason.Approved() {
			return reason, nil
		}
		lapsed += gone
	}
	if gave > 0 {
		if reason := b.post(key, gave, a.free+a.held+lapsed, out); !reason.Approved() {
			return reason, nil
		}
	}
	if err := b.reopenAccount(a); err != nil {
		return 0, err
	}
	return b.postLapsed(a, lapsed, out)
}

// claim takes amount back from a member: from the lots that moves gave, from
// others, as a debt, at the issuer's expense.
func (b *Book) claim(a *account, moves []LotMove, amount points.Amount, out *Outcome) (points.Reason, error) {
	if amount == 0 {
		return points.Approved, nil
	}
	got := b.takeBack(a, moves, amount, out)
	if reason := b.postMember(a, -got, out); !reason.Approved() {
		return reason, nil
	}
	if b.rulesOf(a.key.Program).Debt {
		return b.postDebt(a, got-amount, out), nil
	}
	return b.postHouse(b.issuersAccount(SuspenseAccount, a.key.Program), got-amount, out)
}

// undoDebt undoes a repayment (amount > 0) or the making of a debt (amount < 0);
// what has been repaid of it since comes back as points.
func (b *Book) undoDebt(key AccountKey, amount points.Amount, out *Outcome) (points.Reason, error) {
	key.Kind = MemberAccount
	a, err := b.needAccount(key)
	if err != nil {
		return 0, err
	}
	if amount > 0 {
		return b.postDebt(a, -amount, out), nil
	}
	lot, reason := b.earnedLot(&Command{}, b.live.Programs[key.Program], Adjusted)
	if !reason.Approved() {
		return reason, nil
	}
	return b.credit(a, lot, -amount, out), nil
}

// reopenAccount opens a closed account that points came back to.
func (b *Book) reopenAccount(a *account) error {
	if a.status != Closed {
		return nil
	}
	m, err := b.findMember(points.MemberID(a.key.Party))
	if err != nil {
		return err
	}
	if m == nil {
		return fmt.Errorf("the member %d of an account is gone", a.key.Party)
	}
	b.change(a)
	a.status = Active
	b.listProgram(m, a.key.Program)
	return nil
}

// uncapture returns what a capture took to its hold, and what the capture gave
// back as far as it is still there; when the hold's time is over it returns to
// the account. Rehold says that the rest is reserved again.
func (b *Book) uncapture(a *account, rec *Record, t *transaction, rehold bool, out *Outcome) (points.Reason, error) {
	h, err := b.needHold(rec.Outcome.Original)
	if err != nil {
		return 0, err
	}
	left := rec.Outcome.Amount
	if t != nil {
		left -= t.returned()
	}
	over, err := b.over(h)
	if err != nil {
		return 0, err
	}
	if over {
		reason, err := b.giveBackSale(a, rec, t, left, out)
		if err != nil || !reason.Approved() {
			return reason, err
		}
		b.touchHold(h)
		h.captured -= left
		if h.placed == b.date {
			redemptions := 0
			if h.captured == 0 {
				redemptions = -1 // Nothing is left of what was counted when the hold was placed.
			}
			a.countRedeemed(b.date, -left, redemptions)
		}
		return points.Approved, nil
	}
	reason, err := b.returnToHold(h, a, rec, t, left, out)
	if err != nil || !reason.Approved() {
		return reason, err
	}
	if rehold {
		if reason := b.rehold(h, a, rec, out); !reason.Approved() {
			return reason, nil
		}
	}
	if h.left > 0 {
		b.reopen(h, a)
	}
	return points.Approved, nil
}

// over reports whether nothing can come back to h any more: its time is over, or
// it was reversed and must not reserve anything again.
func (b *Book) over(h *hold) (bool, error) {
	placed, err := b.findTransaction(h.position)
	if err != nil {
		return false, err
	}
	return h.due < b.date || h.state == holdExpired || (placed != nil && placed.reversed != 0), nil
}

// returnToHold reserves again amount of what a capture took from h, and notes the
// pieces. Whoever stood in for points of the hold has them back; of these it
// reserves nothing any more. The caller opens a hold that reserves something again.
func (b *Book) returnToHold(h *hold, a *account, rec *Record, t *transaction, amount points.Amount, out *Outcome) (points.Reason, error) {
	if reason, err := b.postHouse(counterpart(&rec.Outcome), -amount, out); err != nil || !reason.Approved() {
		return reason, err
	}
	portions := t.portions(&rec.Outcome)
	pieces, err := b.returnable(portions, t, amount, 0)
	if err != nil {
		return 0, err
	}
	var reserved points.Amount
	for _, piece := range pieces {
		if p := &portions[piece.move]; p.source == MemberAccount {
			out.Lots = append(out.Lots, LotMove{Account: a.key, Lot: p.key, Amount: piece.amount})
			reserved += piece.amount
		}
	}
	if reason := b.moveHeld(a, reserved); !reason.Approved() {
		return reason, nil
	}
	if reason := b.postMember(a, reserved, out); !reason.Approved() {
		return reason, nil
	}
	if reason, err := b.repayStandIns(a, portions, pieces, out); err != nil || !reason.Approved() {
		return reason, err
	}
	b.touchHold(h)
	h.captured -= amount
	h.left += reserved
	h.reserved -= amount - reserved
	for _, piece := range pieces {
		if p := &portions[piece.move]; p.source == MemberAccount {
			h.lots = insertLot(h.lots, p.key, piece.amount)
		}
	}
	return points.Approved, b.noteGivings(rec.Outcome.Position, pieces)
}

// rehold reserves again what rec gave back from h, as far as it is still there.
func (b *Book) rehold(h *hold, a *account, rec *Record, out *Outcome) points.Reason {
	var sum points.Amount
	for _, move := range rec.Outcome.Lots {
		if !move.Held || move.Amount < 0 {
			continue
		}
		b.taken = b.taken[:0]
		got := b.takeLot(a, move.Lot, move.Amount, true, out)
		for _, taken := range b.taken {
			key := move.Lot
			key.DecaysOn = taken.key.DecaysOn // what has decayed since must not do so again for the same date
			h.lots = insertLot(h.lots, key, taken.amount)
		}
		h.left += got
		sum += got
	}
	if sum > 0 && h.placed == b.date {
		a.countRedeemed(b.date, sum, 0)
	}
	return b.moveHeld(a, sum)
}
