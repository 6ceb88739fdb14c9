package book

import (
	"errors"
	"slices"

	"github.com/lianfen/lianfen/points"
)

// acknowledge enters the issuer's answer to what it was owed.
//
//	reversal: gone (00)                      ended without effect; of a part: ended; of a
//	                                         doubtful request: its advice is owed now
//	          stands (22)                    the operators' queue
//	          never heard of (25), Final     ended without effect
//	advice:   taken (00)                     ended; a reversal that waited is owed now
//	          refused                        the operators' queue
//
// Anything else changes nothing: it is sent again.
func (b *Book) acknowledge(cmd *Command, r *remote, out *Outcome) (points.Reason, error) {
	if !cmd.Answer.Valid() {
		return points.FormatError, nil
	}
	if !r.owes(cmd) {
		return points.OriginalClosed, nil
	}
	switch r.phase {
	case RemoteOwed:
		switch {
		case cmd.Answer.Approved(), cmd.Answer == points.UnknownOriginal && cmd.Final:
			return points.Approved, b.undone(cmd, r, out)
		case cmd.Answer == points.OriginalClosed:
			b.queue(r, cmd.Answer)
			return points.Approved, nil
		}
		return points.NotPermitted, nil
	case RemoteTold:
		b.touch(r)
		switch {
		case !cmd.Answer.Approved() && (r.undoneToo() || (r.reversed != 0 && Told(r.function))):
			return points.Approved, b.lapse(r) // Neither side has it.
		case !cmd.Answer.Approved():
			b.queue(r, cmd.Answer)
		case r.reversed != 0 || r.actual != 0 || r.undoneToo():
			b.oweReversal(cmd, r)
			out.Forwarded = true
		default:
			r.authCode = cmd.AuthCode
			b.finish(r)
		}
		return points.Approved, nil
	default:
		return points.OriginalClosed, nil
	}
}

// undoneToo reports whether r is a leg whose sale has been voided since the issuer was
// owed the advice that it stands after all.
func (r *remote) undoneToo() bool { return r.tender && r.voided != 0 }

// owes reports whether r still owes what cmd is about. A late answer, or a reversal of
// the acquirer's, may have changed that while the issuer's acknowledgement was on its
// way: what acknowledges the reversal of a request must not pass for that of its advice.
// Records from before say no Reverses, and are believed.
func (r *remote) owes(cmd *Command) bool {
	actual := r.actual
	if r.doubtful {
		actual = 0 // The reversal of the request comes first.
	}
	return cmd.Reverses == 0 || (r.phase == RemoteOwed && cmd.Actual == actual)
}

// undone ends a reversal that the issuer was owed.
func (b *Book) undone(cmd *Command, r *remote, out *Outcome) error {
	switch {
	case r.doubtful:
		b.replace(cmd, r, out)
		return nil
	case r.actual != 0:
		b.touch(r)
		r.actual, r.reducing = 0, 0
		b.finish(r)
		return nil
	default:
		return b.lapse(r)
	}
}

// queue leaves r to the operators.
func (b *Book) queue(r *remote, refusal points.Reason) {
	b.touch(r)
	r.before, r.phase, r.refusal = r.phase, RemoteQueued, refusal
}

// giveUp leaves to the operators what an issuer has not acknowledged in time.
func (b *Book) giveUp(cmd *Command, r *remote, _ *Outcome) (points.Reason, error) {
	if (r.phase != RemoteOwed && r.phase != RemoteTold) || !r.owes(cmd) {
		return points.OriginalClosed, nil
	}
	b.queue(r, cmd.Answer)
	return points.Approved, nil
}

// resolve ends what was left to the operators, who have asked the issuer: it stands
// there (Approved), or is gone (ReversedBefore). Afterwards clearing says the same as
// the issuer's ledger, except that an acquirer who was told "approved" keeps what it
// was told and the difference goes to suspense:
//
//	stands, nothing booked    issued(issuer) -asked     clearing(acquirer) +asked
//	gone, and was told        issued(issuer) +booked    suspense(issuer)   -booked
func (b *Book) resolve(cmd *Command, r *remote, out *Outcome) (points.Reason, error) {
	if reason := b.twoPeople(cmd); !reason.Approved() {
		return reason, nil
	}
	stands := cmd.Answer == points.Approved
	switch {
	case r.phase != RemoteQueued:
		return points.OriginalClosed, nil
	case !stands && cmd.Answer != points.ReversedBefore:
		return points.FormatError, nil
	case r.before == RemoteOwed && r.doubtful && stands: // It counts here already.
		b.touch(r)
		r.doubtful = false
		out.Amount = r.approved
		if r.actual != 0 {
			b.oweReversal(cmd, r)
			out.Forwarded = true
			return points.Approved, nil
		}
	case stands && r.before == RemoteOwed:
		if reason, err := b.restore(r, out); err != nil || !reason.Approved() {
			return reason, err
		}
	case r.before == RemoteOwed:
		return points.Approved, b.undone(cmd, r, out)
	case !stands:
		issued, suspense := AccountKey{IssuedAccount, r.program, uint64(r.issuer)}, AccountKey{SuspenseAccount, r.program, uint64(r.issuer)}
		if reason, err := b.postHouse(issued, r.booked, out); err != nil || !reason.Approved() {
			return reason, err
		}
		if reason, err := b.postHouse(suspense, -r.booked, out); err != nil || !reason.Approved() {
			return reason, err
		}
		out.Amount = r.approved
		b.touch(r)
		r.actual, r.reducing = 0, 0
	case r.reversed != 0 || r.actual != 0 || r.undoneToo(): // The advice was taken after all; the acquirer reversed it meanwhile.
		b.oweReversal(cmd, r)
		out.Forwarded = true
		return points.Approved, nil
	}
	b.touch(r)
	b.finish(r)
	return points.Approved, nil
}

// restore books what stands at the issuer although a reversal, of the whole or of a
// part, was owed.
func (b *Book) restore(r *remote, out *Outcome) (points.Reason, error) {
	if r.approved == 0 {
		return b.approve(r, r.asked, out)
	}
	amount := r.approved - r.reduced
	if r.actual != 0 {
		amount = r.reducing
	}
	moves, err := b.moves(r, amount)
	if err != nil {
		return 0, err
	}
	if reason, err := b.bookRemote(r, moves, out); err != nil || !reason.Approved() {
		return reason, err
	}
	out.Amount = amount
	b.touch(r)
	r.booked += moves
	if r.original != 0 && r.function == points.Refund {
		original, err := b.needRemote(r.original)
		if err != nil {
			return 0, err
		}
		b.touch(original)
		r.taken(original)
	}
	if r.actual == 0 {
		if r.function == points.CompletionVoid {
			return points.Approved, b.reopenRemote(r)
		}
		return points.Approved, nil
	}
	if err := errors.Join(b.countCardDay(r, amount, 0), b.uncountRemote(r, amount, 0)); err != nil {
		return 0, err
	}
	r.reduced -= r.reducing
	if r.function == points.Completion && !r.final {
		hold, err := b.needRemote(r.original)
		if err != nil {
			return 0, err
		}
		b.touch(hold)
		hold.returned += r.reducing
	}
	r.actual, r.reducing = 0, 0
	return points.Approved, nil
}

// otherAmount reports whether a reversal names another amount than that which r moved
// or its sender named: the void of a pre-authorisation names all of it, also when part
// has been captured and only the rest can be given back.
func (b *Book) otherAmount(cmd *Command, r *remote) (bool, error) {
	if cmd.Amount == 0 || cmd.Amount == r.asked || cmd.Amount == r.approved {
		return false, nil
	}
	rec, err := b.record(r.position)
	return err == nil && cmd.Amount != rec.Command.Amount, err
}

// reverseRemote undoes, for the acquirer, a request that was forwarded: what is booked is
// booked back, and the issuer is owed a reversal.
func (b *Book) reverseRemote(cmd *Command, r *remote, out *Outcome) (points.Reason, error) {
	if other, err := b.otherAmount(cmd, r); err != nil || other {
		return points.OriginalDiffers, err
	}
	voided, known, err := b.voided(cmd, r)
	if err != nil {
		return 0, err
	}
	switch {
	case cmd.Reverses != 0 && r.function != 0 && cmd.Reverses != r.function:
		return points.OriginalDiffers, nil
	case cmd.Terminal != points.TerminalID{} && cmd.Terminal != r.terminal:
		return points.OriginalDiffers, nil
	case Told(r.function) && (!cmd.Final || cmd.Actual != 0):
		return points.NotPermitted, nil
	case !known:
		return points.OriginalClosed, nil // Whether there is anything to undo nobody can say yet.
	case cmd.Actual != 0 && cmd.Final && r.phase != RemoteOpen:
		return b.reduceRemote(cmd, r, out)
	case r.reversed != 0 || voided || r.function == points.Balance:
		return points.Approved, nil
	case r.phase == RemoteDone && (r.approved == 0 || (r.function == points.PreAuth && r.returned != 0)):
		return points.Approved, nil // Declined, ended without effect, or captured meanwhile.
	case r.returned != 0:
		return points.OriginalClosed, nil // A refund was asked for, so its sender knew the answer.
	}
	hold, again, err := b.reclosable(r)
	if err != nil || hold != nil && again > hold.left() {
		return points.OriginalClosed, err
	}
	if reason, err := b.mayStandAgainFar(cmd, r, hold); err != nil || !reason.Approved() {
		return reason, err
	}
	back := -r.booked
	if reason, err := b.bookRemote(r, back, out); err != nil || !reason.Approved() {
		return reason, err
	}
	if hold != nil {
		b.touch(hold)
		hold.returned += again
	}
	out.Amount = max(back, -back)
	b.touch(r)
	r.booked += back
	r.reversed = b.position + 1
	if r.counted {
		r.counted = false
		if err := b.uncounted(r.countedAt(), r.batch, r.function.Side(), r.approved-r.reduced, false); err != nil {
			return 0, err
		}
	}
	part := r.actual != 0 && !r.doubtful
	r.doubtful, r.actual, r.reducing = false, 0, 0
	switch {
	case r.phase == RemoteOpen, r.phase == RemoteDone, r.phase == RemoteOwed && part:
		b.oweReversal(cmd, r)
		out.Forwarded = true
	case r.phase == RemoteQueued:
		r.before = RemoteOwed
	}
	return points.Approved, nil
}

// voided reports whether r is voided, for a reversal of it. A void whose own reversal is
// owed will not stand: what the issuer is owed of one card it gets in order, so that the
// reversal of r finds it standing there. Of one that has no answer, or is with the
// operators, it is not known. Reversals that are not Final take every void to stand.
func (b *Book) voided(cmd *Command, r *remote) (voided, known bool, err error) {
	if r.voided == 0 || !cmd.Final {
		return r.voided != 0, true, nil
	}
	void, err := b.findRemote(r.voided)
	switch {
	case err != nil:
		return false, false, err
	case void == nil || void.phase == RemoteDone: // nil: of a sale that programmes here paid too
		return true, true, nil
	default:
		return false, void.phase == RemoteOwed, nil
	}
}

// reduceRemote undoes a part of a request that was forwarded, as [Book.reduce] does of
// one that was not: cmd.Actual of it stands. The issuer is owed a reversal that says so.
// One that overtakes the answer is of the whole: nobody has granted the actual amount.
func (b *Book) reduceRemote(cmd *Command, r *remote, out *Outcome) (points.Reason, error) {
	voided, _, err := b.voided(cmd, r)
	switch {
	case err != nil:
		return 0, err
	case !slices.Contains([]points.Function{points.Redeem, points.Earn, points.PreAuth, points.Completion}, r.function):
		return points.NotPermitted, nil
	case cmd.Actual < 0:
		return points.BadAmount, nil
	case cmd.Actual > r.asked || (r.approved > 0 && cmd.Actual > r.approved):
		return points.AmountOverOriginal, nil
	case r.approved == 0 || r.reversed != 0 || voided || (r.function == points.PreAuth && r.returned != 0):
		return points.Approved, nil // Nothing stands, or nothing that can be made less.
	}
	back := r.left() - cmd.Actual
	if back <= 0 {
		return points.Approved, nil
	}
	moves := -sign(r.function) * back
	if reason, err := b.bookRemote(r, moves, out); err != nil || !reason.Approved() {
		return reason, err
	}
	out.Amount = back
	b.touch(r)
	r.booked += moves
	r.reduced += back
	r.reducing += back
	if r.counted {
		if err := b.uncounted(r.countedAt(), r.batch, r.function.Side(), back, true); err != nil {
			return 0, err
		}
	}
	owed := r.actual != 0 && !r.doubtful
	r.actual = cmd.Actual
	if err := errors.Join(b.countCardDay(r, -back, 0), b.uncountRemote(r, -back, 0)); err != nil {
		return 0, err
	}
	if r.function == points.Completion && !r.final {
		hold, err := b.needRemote(r.original)
		if err != nil {
			return 0, err
		}
		b.touch(hold)
		hold.returned -= back
	}
	if r.phase == RemoteDone || (r.phase == RemoteOwed && owed) {
		b.oweReversal(cmd, r)
		out.Forwarded = true
	} // Else it follows what is owed already.
	return points.Approved, nil
}

// recallRemote answers the repeat of a request that was forwarded: as it was answered
// the first time, or that there is no answer yet.
func (b *Book) recallRemote(position points.Position, out *Outcome) error {
	r, err := b.needRemote(position)
	if err != nil {
		return err
	}
	switch {
	case r.reversed != 0:
		out.Reason, out.Original = points.ReversedBefore, position
		return nil
	case r.answered == 0:
		rec, err := b.record(position)
		if err != nil {
			return err
		}
		rec.Outcome.copyTo(out)
		out.Replayed, out.Forwarded = true, true
		return nil
	}
	rec, err := b.record(r.answered)
	if err != nil {
		return err
	}
	rec.Outcome.copyTo(out)
	*out = out.ForAcquirer()
	out.Replayed = true
	return nil
}

// copyTo copies o into out, whose slices are used again.
func (o *Outcome) copyTo(out *Outcome) {
	postings, lots, others, legs := out.Postings[:0], out.Lots[:0], out.Others[:0], out.Legs[:0]
	undone, owners := out.Undone[:0], out.Owners[:0]
	*out = *o
	out.Postings, out.Lots, out.Others = append(postings, o.Postings...), append(lots, o.Lots...), append(others, o.Others...)
	out.Legs, out.Undone, out.Owners = append(legs, o.Legs...), append(undone, o.Undone...), append(owners, o.Owners...)
}

// ForAcquirer is the outcome of a conclude, stand-in or owe as the acquirer whose
// request was forwarded is told it: its reason and, as RRN, the position of the
// request. It shares o's slices.
func (o *Outcome) ForAcquirer() Outcome {
	answer := *o
	answer.Reason, answer.Position, answer.Original = o.Answer, o.Original, 0
	return answer
}

// RemoteView is a transaction at an issuer with a ledger of its own, as it is now:
// all that is needed to tell the issuer what it is owed.
type RemoteView struct {
	Position points.Position // our RRN
	Phase    RemotePhase
	Function points.Function
	Issuer   points.IssuerID
	Acquirer points.AcquirerID
	Merchant points.MerchantID
	Terminal points.TerminalID
	Program  points.ProgramID
	Card     points.CardToken
	Asked    points.Amount
	Approved points.Amount
	Booked   points.Amount // in clearing with the acquirer, credit positive
	Posted   points.Timestamp
	Partial  bool // the issuer may approve a part
	Name     RemoteName
	Actual   points.Amount // what the owed reversal leaves standing; 0: it is of the whole

	Answered points.Position // of the command that has decided what the acquirer was told; 0: none has
	Reversed points.Position // by which of the acquirer's reversals; 0: not
	OwedBy   points.Position // RemoteOwed: the command that owes the reversal
	OwedAt   points.Timestamp
	Refusal  points.Reason // RemoteQueued: why, as far as the issuer has said
	Advice   bool          // RemoteQueued: it was an advice that is not taken
	AuthCode [6]byte       // the issuer's
	Unasked  bool          // it was approved here as it came, and the issuer never asked

	// The remote transaction that it is about; zero: none.
	Original         points.Position
	OriginalName     RemoteName
	OriginalAuthCode [6]byte
}

// RemoteName is what an issuer knows a transaction by: the request that it was sent, or
// the advice of an approval in its place.
type RemoteName struct {
	Function points.Function
	Position points.Position // of the command that caused the message
	Posted   points.Timestamp
}

// nameOf returns what the issuer of r knows it by.
func (b *Book) nameOf(r *remote) (RemoteName, error) {
	name := RemoteName{r.function, r.position, r.posted}
	if r.replaced && r.retold != 0 {
		rec, err := b.record(r.retold)
		if err != nil {
			return name, err
		}
		return RemoteName{points.OfflineRedeem, r.retold, rec.Outcome.Posted}, nil
	}
	if r.answered == 0 || (r.function != points.Redeem && r.function != points.Earn) {
		return name, nil
	}
	rec, err := b.record(r.answered)
	if err != nil || rec.Command.Kind != KindStandIn {
		return name, err
	}
	switch {
	case r.replaced:
		name.Position, name.Posted = r.answered, rec.Outcome.Posted
	case rec.Command.Answer == points.NoAnswer:
		return name, nil // The request itself, which is to be reversed.
	}
	if r.function == points.Redeem {
		name.Function = points.OfflineRedeem
	} else {
		name.Function = points.OfflineEarn
	}
	return name, nil
}

// Remote returns the transaction that was forwarded at position; ok is false when
// there is none.
func (b *Book) Remote(position points.Position) (view RemoteView, ok bool, err error) {
	b.trim()
	r, err := b.findRemote(position)
	if r == nil || err != nil {
		return RemoteView{}, false, err
	}
	view = RemoteView{
		Position: r.position, Phase: r.phase, Function: r.function, Issuer: r.issuer, Acquirer: r.acquirer, Merchant: r.merchant,
		Terminal: r.terminal, Program: r.program, Card: r.card, Asked: r.asked, Approved: r.approved, Booked: r.booked, Posted: r.posted,
		Partial: r.partial, Answered: r.answered, Reversed: r.reversed, OwedBy: r.owedBy, OwedAt: r.owedAt, Refusal: r.refusal, Advice: r.before == RemoteTold,
		AuthCode: r.authCode, Original: r.original, Unasked: r.answered == r.position,
	}
	if !r.doubtful {
		view.Actual = r.actual
	}
	if r.tender {
		view.Reversed = max(r.reversed, r.voided)
	}
	if view.Name, err = b.nameOf(r); err != nil || r.original == 0 {
		return view, err == nil, err
	}
	about, err := b.needRemote(r.original)
	if err != nil {
		return RemoteView{}, false, err
	}
	view.OriginalAuthCode = about.authCode
	view.OriginalName, err = b.nameOf(about)
	return view, err == nil, err
}

// Unfinished returns the positions of all remote transactions that are open, owed or
// in the operators' queue, in no order that means anything.
func (b *Book) Unfinished() []points.Position {
	var positions []points.Position
	for _, t := range b.unfinished.tickets {
		if t.position != 0 {
			positions = append(positions, t.position)
		}
	}
	return positions
}
