package book

import (
	"errors"
	"slices"

	"github.com/lianfen/lianfen/points"
	"github.com/lianfen/lianfen/tariff"
)

// dispatchRemote is the part of the list of commands that is about issuers with a
// ledger of their own.
func (b *Book) dispatchRemote(cmd *Command, out *Outcome) (points.Reason, error) {
	if cmd.Kind == KindForward {
		return b.forward(cmd, out)
	}
	var carry func(*Command, *remote, *Outcome) (points.Reason, error)
	switch cmd.Kind {
	case KindConclude:
		carry = b.conclude
	case KindStandIn:
		carry = b.standIn
	case KindOwe:
		carry = b.owe
	case KindAcknowledge:
		carry = b.acknowledge
	case KindGiveUp:
		carry = b.giveUp
	case KindResolve:
		carry = b.resolve
	default:
		return points.UnknownFunction, nil
	}
	r, err := b.findRemote(cmd.Original)
	if err != nil {
		return 0, err
	}
	if r == nil && cmd.Kind == KindResolve {
		return b.resolveSwap(cmd, out)
	}
	if r == nil {
		return points.UnknownOriginal, nil
	}
	b.aboutRemote(r, out)
	return carry(cmd, r, out)
}

func (b *Book) aboutRemote(r *remote, out *Outcome) {
	out.Original, out.Program, out.Issuer = r.position, r.program, r.issuer
}

// isRemote reports whether rec is of a request that its issuer decides. A void,
// refund, capture or release is one when its original is; it has no member then.
func isRemote(rec *Record) bool {
	switch rec.Command.Kind {
	case KindForward:
		return rec.Outcome.Reason.Approved()
	case KindVoid, KindRefund, KindCapture, KindRelease:
		return rec.Outcome.Reason.Approved() && rec.Outcome.Member == 0
	default:
		return false
	}
}

// remoteOriginal is the remote transaction that a void, refund, capture, release or
// reversal is about; nil when it is about none.
func (b *Book) remoteOriginal(cmd *Command) (*remote, error) {
	switch cmd.Kind {
	case KindVoid, KindRefund, KindCapture, KindRelease, KindReverse:
	default:
		return nil, nil
	}
	position, ok, err := b.target(cmd)
	if !ok || err != nil {
		return nil, err
	}
	rec, err := b.record(position)
	if err != nil || !isRemote(rec) {
		return nil, err
	}
	return b.needRemote(position)
}

// forward admits a request whose issuer keeps its own ledger: participants, amount,
// programme and limits as for any other, the points themselves being the issuer's
// to look at. Nothing is booked. Once it is durable the request goes out.
//
//	                       conclude: declined
//	          ┌────────────────────────────────────────────────────┐
//	forward   │        conclude, stand-in of an earn: approved     v
//	────────> open ─────────────────────────────────────────────> done
//	          │  │ stand-in; owe of what is told (0220)            ^^^
//	          │  └─────────────────────────────────> told ─────────┘││ acknowledge 00
//	          │ owe; the acquirer's reversal          │  │          ││
//	          └──────────────────> owed <─────────────│──┘ reversed ││
//	   done ── the acquirer's ──────^│ │ acknowledge 00, 25,        ││
//	           reversal              │ └── conclude: declined ──────┘│
//	                                 │ acknowledge 22, give up       │
//	                                 └──────────────> queued ────────┘ resolve
//
// Approved means that it goes to the issuer, who decides: out.Forwarded.
func (b *Book) forward(cmd *Command, out *Outcome) (points.Reason, error) {
	if reason := b.participants(cmd); !reason.Approved() {
		return reason, nil
	}
	if reason := b.opened(); !reason.Approved() {
		return reason, nil
	}
	switch cmd.Function {
	case points.Balance:
	case points.Redeem, points.Earn, points.PreAuth, points.OfflineRedeem, points.OfflineEarn, points.Transfer:
		if reason := validAmount(cmd.Amount); !reason.Approved() {
			return reason, nil
		}
	default:
		return points.FunctionDisabled, nil
	}
	if cmd.Card.IsZero() || (cmd.Function == points.Transfer && cmd.ToCard.IsZero()) {
		return points.UnknownCard, nil
	}
	program, reason := b.programAt(cmd.Merchant, cmd.Program)
	if !reason.Approved() {
		return reason, nil
	}
	if b.live.Issuers[program.Issuer].Link == "" {
		return points.NoRoute, nil
	}
	if reason, err := b.withinCardDay(cmd, &program.Rules); err != nil || !reason.Approved() {
		return reason, err
	}
	if reason, err := b.judge(cmd, program.ID, cmd.Amount, out); err != nil || !reason.Approved() {
		return reason, err
	}
	if way := sign(cmd.Function); way != 0 || cmd.Function == points.PreAuth {
		kind := tariff.KindRDM
		if way < 0 {
			kind = tariff.KindEAR
		}
		if reason := b.mayOwe(cmd, kind, program, cmd.Amount); !reason.Approved() {
			return reason, nil
		}
	}
	r := b.newRemote(cmd, out)
	r.issuer, r.program, r.card, r.partial = program.Issuer, program.ID, cmd.Card, cmd.PartialOK
	out.Program, out.Issuer, out.Amount = r.program, r.issuer, r.asked
	if cmd.Function == points.PreAuth { // What it reserves of caps, reserveAnew works out.
		return points.Approved, b.countCardDay(r, r.asked, 1)
	}
	return points.Approved, errors.Join(b.countCardDay(r, r.asked, 1), b.reserve())
}

// newRemote is called after the last possible refusal.
func (b *Book) newRemote(cmd *Command, out *Outcome) *remote {
	out.Forwarded = true
	r := b.remotes.add(remote{
		position: b.position + 1, phase: RemoteOpen, function: cmd.Function, acquirer: cmd.Acquirer, merchant: cmd.Merchant,
		terminal: cmd.Terminal, posted: b.postingTime(cmd), date: b.date, asked: cmd.Amount, final: cmd.Final, batch: cmd.Batch,
	})
	b.create(r)
	b.begun(r.position)
	return r
}

// spends reports whether a function counts for the limits on redeeming. What was
// done off line has happened.
func spends(f points.Function) bool { return f == points.Redeem || f == points.PreAuth }

// withinCardDay checks the programme's limits, which count per card where there is
// no account.
func (b *Book) withinCardDay(cmd *Command, rules *ProgramRules) (points.Reason, error) {
	if cmd.Function == points.Earn && rules.MaxAmount > 0 && cmd.Amount > rules.MaxAmount {
		return points.OverAmountLimit, nil
	}
	if !spends(cmd.Function) && cmd.Function != points.Transfer {
		return points.Approved, nil
	}
	var day cardDay
	switch found, err := b.dayOf(cardDayKey{cmd.Program, cmd.Card}); {
	case err != nil:
		return 0, err
	case found != nil:
		day = *found
	}
	if cmd.Function == points.Transfer {
		return day.mayGive(cmd, rules), nil
	}
	switch {
	case cmd.Amount < rules.MinRedeem:
		return points.BelowMinimum, nil
	case rules.MaxAmount > 0 && cmd.Amount > rules.MaxAmount:
		return points.OverAmountLimit, nil
	case rules.MaxRedeemDay > 0 && (cmd.Amount > rules.MaxRedeemDay || day.redeemed > rules.MaxRedeemDay-cmd.Amount):
		return points.OverAmountLimit, nil
	case rules.MaxRedeemCnt > 0 && day.count >= rules.MaxRedeemCnt:
		return points.OverCountLimit, nil
	}
	return points.Approved, nil
}

// mayGive checks the programme's limits on transfers.
func (d *cardDay) mayGive(cmd *Command, rules *ProgramRules) points.Reason {
	switch {
	case !rules.Transfer || rules.Qualifying || cmd.Card == cmd.ToCard:
		return points.NotPermitted
	case rules.TransferMax > 0 && cmd.Amount > rules.TransferMax:
		return points.OverAmountLimit
	case rules.TransferDay > 0 && (cmd.Amount > rules.TransferDay || d.given > rules.TransferDay-cmd.Amount):
		return points.OverAmountLimit
	default:
		return points.Approved
	}
}

// countCardDay counts amount and one redemption, or takes them back, on the date of r.
func (b *Book) countCardDay(r *remote, amount points.Amount, redemptions int) error {
	if (!spends(r.function) && r.function != points.Transfer) || r.date != b.date {
		return nil
	}
	day, err := b.changeDay(cardDayKey{r.program, r.card})
	if err != nil {
		return err
	}
	if r.function == points.Transfer {
		day.given = max(0, saturated(day.given, amount))
		return nil
	}
	day.redeemed = max(0, saturated(day.redeemed, amount))
	if redemptions > 0 {
		day.count++
	} else if redemptions < 0 && day.count > 0 {
		day.count--
	}
	return nil
}

// forwardAbout admits a request about a remote transaction.
func (b *Book) forwardAbout(cmd *Command, r *remote, out *Outcome) (points.Reason, error) {
	if reason := b.participants(cmd); !reason.Approved() {
		return reason, nil
	}
	if reason := b.opened(); !reason.Approved() {
		return reason, nil
	}
	b.aboutRemote(r, out)
	if reason := r.meant(cmd); !reason.Approved() {
		return reason, nil
	}
	if cmd.Kind == KindReverse {
		return b.reverseRemote(cmd, r, out)
	}
	if r.approved == 0 || r.answered == 0 {
		return points.OriginalNotApproved, nil
	}
	if r.reversed != 0 || r.voided != 0 || r.phase == RemoteOwed || r.phase == RemoteQueued {
		return points.OriginalClosed, nil
	}
	amount, reason := r.gives(cmd, b.date)
	if !reason.Approved() {
		return reason, nil
	}
	about := b.newRemote(cmd, out)
	about.issuer, about.program, about.card = r.issuer, r.program, r.card
	about.original, about.asked = r.position, amount
	out.Amount = amount
	b.touch(r)
	switch cmd.Kind {
	case KindVoid, KindRelease:
		r.voided = about.position
	default:
		r.returned += amount
	}
	return points.Approved, nil
}

// meant checks what cmd says about the transaction that it names.
func (r *remote) meant(cmd *Command) points.Reason {
	switch {
	case !cmd.Card.IsZero() && cmd.Card != r.card:
		return points.OriginalDiffers
	case cmd.Member != 0:
		return points.OriginalDiffers
	case cmd.Program != 0 && cmd.Program != r.program:
		return points.WrongUnit
	case cmd.AuthCode != [6]byte{} && cmd.AuthCode != r.position.AuthCode():
		return points.OriginalDiffers
	case cmd.Acquirer != 0 && cmd.Acquirer != r.acquirer:
		return points.OriginalDiffers
	case cmd.Merchant != points.MerchantID{} && cmd.Merchant != r.merchant:
		return points.OriginalDiffers
	}
	return points.Approved
}

// gives is how much a void, refund, capture or release of r moves.
func (r *remote) gives(cmd *Command, date points.BusinessDate) (points.Amount, points.Reason) {
	sale := slices.Contains([]points.Function{points.Redeem, points.OfflineRedeem, points.Completion, points.CompletionAdvice}, r.function)
	switch cmd.Kind {
	case KindVoid:
		switch {
		case !sale && r.function != points.Earn && r.function != points.OfflineEarn:
			return 0, points.OriginalDiffers
		case cmd.Terminal != r.terminal:
			return 0, points.OriginalDiffers
		case cmd.Amount > r.approved:
			return 0, points.AmountOverOriginal
		case cmd.Amount != 0 && cmd.Amount != r.approved:
			return 0, points.OriginalDiffers
		case r.date != date || r.returned != 0 || r.reduced != 0 || otherBatch(cmd, r.batch):
			return 0, points.OriginalClosed
		}
		return r.approved, points.Approved
	case KindRelease:
		switch {
		case r.function != points.PreAuth:
			return 0, points.OriginalDiffers
		case r.returned != 0:
			return 0, points.OriginalClosed
		}
		return r.left(), points.Approved
	case KindCapture:
		if r.function != points.PreAuth {
			return 0, points.OriginalDiffers
		}
		if r.returned != 0 && cmd.Final {
			return 0, points.OriginalClosed // One capture was the last.
		}
	default:
		if !sale {
			return 0, points.OriginalDiffers
		}
	}
	if reason := validAmount(cmd.Amount); !reason.Approved() {
		return 0, reason
	}
	if cmd.Amount > r.left() {
		return 0, points.AmountOverOriginal
	}
	return cmd.Amount, points.Approved
}

// bookRemote books amount of r, credit to the acquirer where it is positive.
//
//	issued(issuer)      -amount
//	clearing(acquirer)  +amount
func (b *Book) bookRemote(r *remote, amount points.Amount, out *Outcome) (points.Reason, error) {
	if amount == 0 {
		return points.Approved, nil
	}
	issued := AccountKey{IssuedAccount, r.program, uint64(r.issuer)}
	clearing := AccountKey{ClearingAccount, r.program, uint64(r.acquirer)}
	if reason, err := b.postHouse(issued, -amount, out); err != nil || !reason.Approved() {
		return reason, err
	}
	return b.postHouse(clearing, amount, out)
}

// moves is what r books when it is approved for amount.
func (b *Book) moves(r *remote, amount points.Amount) (points.Amount, error) {
	if r.function != points.Void && r.function != points.CompletionVoid {
		return sign(r.function) * amount, nil
	}
	original, err := b.needRemote(r.original)
	if err != nil {
		return 0, err
	}
	return -original.booked, nil
}

// approve books what r is approved for, up to what was asked, and says what stands.
// It is followed by no refusal.
func (b *Book) approve(r *remote, amount points.Amount, out *Outcome) (points.Reason, error) {
	moves, err := b.moves(r, amount)
	if err != nil {
		return 0, err
	}
	if reason, err := b.bookRemote(r, moves, out); err != nil || !reason.Approved() {
		return reason, err
	}
	out.Amount = amount
	b.touch(r)
	r.approved, r.booked = amount, moves
	if amount < r.asked {
		return points.Approved, errors.Join(b.countCardDay(r, amount-r.asked, 0), b.uncountRemote(r, amount-r.asked, 0))
	}
	switch r.function {
	case points.CompletionVoid:
		return points.Approved, b.reopenRemote(r)
	case points.Void:
		original, err := b.needRemote(r.original)
		if err != nil {
			return 0, err
		}
		// What is undone on the date of the original does not count.
		return points.Approved, errors.Join(b.countCardDay(original, -original.approved, -1), b.uncountRemote(original, -original.approved, -1))
	default:
		return points.Approved, nil
	}
}

// holdBehind is the capture that the void of a completion is about, and its hold.
func (b *Book) holdBehind(void *remote) (capture, hold *remote, err error) {
	if capture, err = b.needRemote(void.original); err != nil {
		return nil, nil, err
	}
	hold, err = b.needRemote(capture.original)
	return capture, hold, err
}

// reopenRemote gives the hold back what the voided capture took, as the void of a
// capture does here: what the final one left over stays released. Voids from before
// holds were opened again are not Final.
func (b *Book) reopenRemote(void *remote) error {
	if !void.final {
		return nil
	}
	capture, hold, err := b.holdBehind(void)
	if err != nil {
		return err
	}
	b.touch(hold)
	if capture.final {
		hold.reduced += hold.left()
	}
	hold.returned -= capture.approved
	return nil
}

// reclosable is the hold that the void of its capture has opened again, and how much of
// it is captured once more when the void is reversed: more than is left when the hold
// has gone on. nil: there is none.
func (b *Book) reclosable(void *remote) (hold *remote, again points.Amount, err error) {
	if !void.final || void.function != points.CompletionVoid || void.approved == 0 {
		return nil, 0, nil
	}
	capture, hold, err := b.holdBehind(void)
	if err != nil {
		return nil, 0, err
	}
	if hold.voided != 0 || hold.reversed != 0 {
		return hold, points.MaxAmount, nil
	}
	return hold, capture.approved, nil
}

// lapse ends r without an effect: what it reserved of its original is free again.
func (b *Book) lapse(r *remote) error {
	amount := r.asked
	if r.approved > 0 {
		amount = r.approved - r.reduced
	}
	b.touch(r)
	b.finish(r)
	if r.original == 0 {
		return errors.Join(b.countCardDay(r, -amount, -1), b.uncountRemote(r, -amount, -1))
	}
	original, err := b.needRemote(r.original)
	if err != nil {
		return err
	}
	b.touch(original)
	if original.voided != r.position {
		original.returned -= r.asked
		r.taken(original)
		if r.function == points.Completion && !r.final {
			original.returned += r.reduced // That part is with the hold already.
		}
		return nil
	}
	original.voided = 0
	if r.function == points.Void && r.approved > 0 {
		return errors.Join(b.countCardDay(original, original.approved, 1), b.uncountRemote(original, original.approved, 1))
	}
	return nil
}

// conclude enters the issuer's answer. The acquirer is told it when it is durable.
// An approval that comes after a reversal is owed is written down, and the reversal
// goes on; a decline ends what is owed.
func (b *Book) conclude(cmd *Command, r *remote, out *Outcome) (points.Reason, error) {
	if !cmd.Answer.Valid() {
		return points.FormatError, nil
	}
	approved := cmd.Answer.Approved()
	amount := cmd.Amount
	if amount == 0 {
		amount = r.asked
	}
	if amount < 0 || amount > r.asked || (amount < r.asked && !r.partial && !r.tender) {
		return points.BadAmount, nil
	}
	switch {
	case r.phase == RemoteOpen && r.tender:
		return b.concludeTender(cmd, r, amount, out)
	case r.phase == RemoteOpen && approved:
		if reason, err := b.approve(r, amount, out); err != nil || !reason.Approved() {
			return reason, err
		}
		r.answered, r.authCode = b.position+1, cmd.AuthCode
		b.finish(r)
		if err := b.countRemote(r); err != nil {
			return 0, err
		}
		out.Answer = cmd.Answer
		b.tell(cmd, r, out)
	case r.phase == RemoteOpen:
		b.touch(r)
		r.answered = b.position + 1
		out.Answer = cmd.Answer
		return points.Approved, b.lapse(r)
	case (r.phase == RemoteOwed && r.actual != 0 && !r.doubtful) || (r.phase == RemoteTold && r.replaced):
		return r.over(), nil // The request was decided before.
	case r.phase == RemoteOwed && approved:
		b.touch(r)
		r.authCode = cmd.AuthCode
		out.Amount = amount
	case r.phase == RemoteOwed && r.doubtful: // There is nothing to reverse.
		b.replace(cmd, r, out)
	case r.phase == RemoteOwed:
		return points.Approved, b.lapse(r)
	case r.phase == RemoteTold:
		return b.acknowledge(cmd, r, out)
	default:
		return r.over(), nil
	}
	return points.Approved, nil
}

// over is what a command hears that comes when r has ended: whoever still waits for an
// answer is to be told that the acquirer has reversed it, if that is why.
func (r *remote) over() points.Reason {
	if r.reversed != 0 {
		return points.ReversedBefore
	}
	return points.OriginalClosed
}

// tell puts the issuer's balances where those of an account of ours would be.
func (b *Book) tell(cmd *Command, r *remote, out *Outcome) {
	for _, balance := range cmd.Told {
		if balance.Program == r.program {
			out.Free, out.Held = balance.Free, balance.Held
		} else {
			out.Others = append(out.Others, balance)
		}
	}
}

// standIn approves in the place of an issuer, within limits for the card and date; an
// advice is owed. Where the request was sent and not answered (Answer NoAnswer), its
// reversal is owed first: the issuer may have carried it out, and must not count both.
func (b *Book) standIn(cmd *Command, r *remote, out *Outcome) (points.Reason, error) {
	if r.tender {
		return points.NotPermitted, nil
	}
	if r.phase != RemoteOpen || (r.function != points.Redeem && r.function != points.Earn) {
		return points.OriginalClosed, nil
	}
	var day cardDay
	switch found, err := b.dayOf(cardDayKey{r.program, r.card}); {
	case err != nil:
		return 0, err
	case found != nil:
		day = *found
	}
	switch {
	case cmd.Amount > 0 && (r.asked > cmd.Amount || day.stoodIn > cmd.Amount-r.asked):
		return points.OverAmountLimit, nil
	case cmd.Limit > 0 && day.standIns >= cmd.Limit:
		return points.OverCountLimit, nil
	}
	if reason, err := b.approve(r, r.asked, out); err != nil || !reason.Approved() {
		return reason, err
	}
	counted, err := b.changeDay(cardDayKey{r.program, r.card})
	if err != nil {
		return 0, err
	}
	counted.stoodIn = saturated(counted.stoodIn, r.asked)
	counted.standIns++
	if cmd.Answer == points.NoAnswer {
		r.answered, r.doubtful = b.position+1, true
		out.Answer = points.ApprovedStandIn
		b.oweReversal(cmd, r)
		return points.Approved, b.countRemote(r)
	}
	b.oweAdvice(cmd, r, out)
	return points.Approved, b.countRemote(r)
}

// replace owes the advice of a stand-in whose doubtful request is gone at the issuer.
func (b *Book) replace(cmd *Command, r *remote, out *Outcome) {
	b.touch(r)
	r.doubtful, r.replaced = false, true
	if r.tender {
		r.retold = b.position + 1
	}
	r.phase, r.owedAt = RemoteTold, b.postingTime(cmd)
	out.Forwarded = true
}

func (b *Book) oweAdvice(cmd *Command, r *remote, out *Outcome) {
	r.phase, r.answered = RemoteTold, b.position+1
	r.owedAt = b.postingTime(cmd)
	out.Answer = points.ApprovedStandIn
}

// owe notes that the issuer did not answer in time. What is told (0220) stands, and
// is told again until it is acknowledged; an enquiry ends; for all else the issuer is
// owed a reversal.
func (b *Book) owe(cmd *Command, r *remote, out *Outcome) (points.Reason, error) {
	switch {
	case r.phase != RemoteOpen:
		return r.over(), nil
	case Told(r.function):
		if reason, err := b.approve(r, r.asked, out); err != nil || !reason.Approved() {
			return reason, err
		}
		b.oweAdvice(cmd, r, out)
		return points.Approved, b.countRemote(r)
	}
	if reason, err := b.releaseReserved(r, out); err != nil || !reason.Approved() {
		return reason, err
	}
	b.touch(r)
	r.answered = b.position + 1
	out.Answer = points.NoAnswer
	if r.function == points.Balance {
		b.finish(r)
		return points.Approved, nil
	}
	b.oweReversal(cmd, r)
	return points.Approved, nil
}

func (b *Book) oweReversal(cmd *Command, r *remote) {
	b.touch(r)
	r.phase, r.owedBy = RemoteOwed, b.position+1
	r.owedAt = b.postingTime(cmd)
	b.begun(r.position)
}
