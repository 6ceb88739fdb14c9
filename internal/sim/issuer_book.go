package sim

import (
	"encoding/binary"
	"fmt"

	"github.com/lianfen/lianfen/points"
)

// maxRemembered bounds the transactions of an issuer's book; past it everything
// new is declined 91.
const maxRemembered = 4_000_000

// holding names an account: a card in a programme.
type holding struct {
	card    points.PAN
	program points.ProgramID
}

// issuerAccount is what a card has in a programme.
type issuerAccount struct {
	free, held points.Amount
	decline    points.Reason // of every request about it; 0: none
	pin        points.Secret // "": none
	tries      int           // wrong PINs in a row
}

// issuerEntry is one transaction, or the tombstone of one that never came.
type issuerEntry struct {
	request  points.Request // without secrets
	response points.Response
	account  holding
	free     points.Amount // what it did to the account
	held     points.Amount
	to       holding                            // of a transfer: who got as much as account gave
	granted  points.Amount                      // what was approved of what was asked
	original *issuerEntry                       // what it is about
	kept     points.Amount                      // what is left to undo: of a hold what is still held, of a sale what was not refunded
	reduced  points.Amount                      // taken off by reversals of a part (DE95)
	given    struct{ free, held points.Amount } // by these, of what it did
	closedBy *issuerEntry                       // voided, released or captured by
	reversed bool
	tomb     bool // only its reversal came
}

// approved reports whether the transaction was carried out.
func (e *issuerEntry) approved() bool { return !e.tomb && e.response.Reason.Approved() }

// diminished reports whether part of the transaction was used or given back already, but
// by reversals.
func (e *issuerEntry) diminished() bool { return e.kept != e.granted-e.reduced }

// issuerBook is an issuer's own account of things: simple, in memory, and
// independent of the ledger.
type issuerBook struct {
	id       points.IssuerID
	accounts map[holding]*issuerAccount
	order    []holding // as they were opened
	entries  map[points.TraceKey]*issuerEntry
	history  []*issuerEntry
	byCode   map[[6]byte]*issuerEntry // by authorisation code

	// part is how much of a redemption is approved, where it is not the whole.
	part func(asked points.Amount) points.Amount
}

func newIssuerBook(id points.IssuerID) *issuerBook {
	return &issuerBook{
		id: id, accounts: make(map[holding]*issuerAccount),
		entries: make(map[points.TraceKey]*issuerEntry), byCode: make(map[[6]byte]*issuerEntry),
	}
}

// open adds an account.
func (b *issuerBook) open(a IssuerAccount) error {
	card, err := points.ParsePAN(a.Card)
	if err != nil {
		return err
	}
	if !a.Program.Valid() {
		return fmt.Errorf("programme %d, want %d to %d", a.Program, points.MinProgram, points.MaxProgram)
	}
	account := &issuerAccount{free: a.Balance, pin: a.PIN}
	if a.Decline != "" {
		if account.decline, err = declineOf(a.Decline); err != nil {
			return err
		}
	}
	at := holding{card, a.Program}
	if b.accounts[at] != nil {
		return fmt.Errorf("card %v in programme %d is there already", card, a.Program)
	}
	b.accounts[at] = account
	b.order = append(b.order, at)
	return nil
}

// declineOf returns a reason that is told as code.
func declineOf(code string) (points.Reason, error) {
	for _, reason := range points.Reasons() {
		if reason.DE39() == code && !reason.Approved() {
			return reason, nil
		}
	}
	return 0, fmt.Errorf("decline %q: no decline has this code", code)
}

// issuerKey is the identity of a request, or of the original that it names.
func issuerKey(acquirer, forwarder points.AcquirerID, when uint64, stan points.STAN, class points.Class) points.TraceKey {
	key := points.TraceKey{Acquirer: acquirer, When: when, STAN: stan, Class: class, Door: points.DoorHost}
	binary.BigEndian.PutUint64(key.Source[:], uint64(forwarder))
	return key
}

// mostTries is how many wrong PINs in a row lock a card.
const mostTries = 3

// pinned judges the PIN that a request brings, where its account has one. A wrong one is
// counted, as nothing else of a declined request is.
func (b *issuerBook) pinned(req *points.Request, holds func(req *points.Request, pin points.Secret) bool) points.Reason {
	account := b.accounts[holding{req.PAN, req.Program}]
	switch {
	case account == nil || account.pin == "" || req.PINLen == 0:
		return points.Approved
	case account.tries >= mostTries:
		return points.PINTriesExceeded
	case !holds(req, account.pin):
		account.tries++
		return points.WrongPIN
	}
	account.tries = 0
	return points.Approved
}

// carryOut does what a request asks, or finds what it was answered before. at dates the
// answer, and holds tells whether the request's PIN is the one that is named.
func (b *issuerBook) carryOut(at points.Timestamp, req *points.Request, holds func(req *points.Request, pin points.Secret) bool) (resp points.Response, repeated bool) {
	key := issuerKey(req.Acquirer, req.Forwarder, req.Transmission, req.STAN, req.Class)
	if earlier := b.entries[key]; earlier != nil {
		switch {
		case earlier.reversed || earlier.tomb:
			return points.Response{Reason: points.ReversedBefore}, true
		case !alike(&earlier.request, req):
			return points.Response{Reason: points.DuplicateOther}, true
		}
		return earlier.response, true
	}
	if len(b.history) >= maxRemembered {
		return points.Response{Reason: points.Overloaded}, false
	}
	e := &issuerEntry{request: *req, kept: req.Amount, granted: req.Amount}
	e.request.PIN, e.request.PINLen = [16]byte{}, 0
	e.response = points.Response{Amount: req.Amount, Issuer: b.id, Date: points.DateOf(at.Time())}
	b.entries[key] = e
	b.history = append(b.history, e)
	if e.response.Reason = b.pinned(req, holds); e.response.Reason.Approved() {
		e.response.Reason = b.decide(e)
	}
	if e.granted < req.Amount && e.response.Reason.Approved() {
		e.kept, e.free = e.granted, -e.granted
		e.response.Reason, e.response.Amount = points.ApprovedPartly, e.granted
	}
	if e.response.Reason.Approved() {
		b.approve(e)
	}
	return e.response, false
}

// alike reports whether two requests under one identity say the same.
func alike(a, b *points.Request) bool {
	return a.PAN == b.PAN && a.Processing == b.Processing && a.Amount == b.Amount && a.Condition == b.Condition &&
		a.Program == b.Program && a.Original == b.Original && a.Function == b.Function && a.Actual == b.Actual && a.TargetPAN == b.TargetPAN
}

// approve books what decide found, and tells it.
func (b *issuerBook) approve(e *issuerEntry) {
	if account := b.accounts[e.account]; account != nil {
		account.free += e.free
		account.held += e.held
		if to := b.accounts[e.to]; to != nil {
			to.free -= e.free
		}
		e.response.Program = e.account.program
		if e.request.Function != points.Reversal {
			e.response.AddBalance(points.Balance54{Kind: points.AvailableBalance, Program: e.account.program, Amount: account.free})
			e.response.AddBalance(points.Balance54{Kind: points.LedgerBalance, Program: e.account.program, Amount: account.free + account.held})
		}
	}
	switch e.request.Function {
	case points.Reversal, points.Balance, points.EarnConfirm, points.SwapEnquiry:
		return
	case points.Redeem:
		e.response.Used, e.response.SelfPaid = e.granted, e.request.Amount-e.granted
	default:
	}
	e.response.AuthCode = points.Position(len(b.history)).AuthCode()
	b.byCode[e.response.AuthCode] = e
}

// decide finds the outcome of a request that was not there before, and what it
// does: account and deltas in e, and the change of its original.
func (b *issuerBook) decide(e *issuerEntry) points.Reason {
	req := &e.request
	switch req.Function {
	case points.Balance, points.Redeem, points.Earn, points.PreAuth, points.OfflineRedeem, points.OfflineEarn, points.EarnConfirm, points.Transfer,
		points.SwapCredit, points.SwapDebit:
		return b.decideCard(e)
	case points.Void, points.CompletionVoid, points.Refund, points.PreAuthVoid, points.Completion, points.CompletionAdvice:
		return b.decideAbout(e)
	case points.Reversal:
		return b.reverse(e)
	case points.SwapEnquiry:
		return b.standing(req)
	case 0:
		return points.UnknownFunction
	default:
		return points.FunctionDisabled
	}
}

// decideCard is about requests that a card starts.
func (b *issuerBook) decideCard(e *issuerEntry) points.Reason {
	req := &e.request
	if req.Function != points.Balance && (req.Amount <= 0 || req.Amount > points.MaxAmount) {
		return points.BadAmount
	}
	reason := b.find(e)
	if !reason.Approved() {
		return reason
	}
	account := b.accounts[e.account]
	switch req.Function {
	case points.Redeem, points.SwapDebit:
		if account.free < req.Amount {
			return points.NotEnoughPoints
		}
		e.free = -req.Amount
		if b.part != nil && req.Function == points.Redeem {
			e.granted = b.part(req.Amount)
		}
	case points.Transfer:
		e.to = holding{req.TargetPAN, e.account.program}
		switch to := b.accounts[e.to]; {
		case to == nil:
			return points.UnknownAccount
		case e.to == e.account:
			return points.NotPermitted
		case account.free < req.Amount:
			return points.NotEnoughPoints
		}
		e.free = -req.Amount
	case points.OfflineRedeem: // It happened; whether there were points is the teller's affair.
		e.free = -req.Amount
	case points.Earn, points.OfflineEarn, points.SwapCredit:
		e.free = req.Amount
	case points.PreAuth:
		if account.free < req.Amount {
			return points.NotEnoughPoints
		}
		e.free, e.held = -req.Amount, req.Amount
	default:
	}
	return points.Approved
}

// find sets the account that a request is about: the programme's, or the card's
// first where none is named.
func (b *issuerBook) find(e *issuerEntry) points.Reason {
	known := false
	for _, at := range b.order {
		if at.card != e.request.PAN {
			continue
		}
		known = true
		if e.request.Program != 0 && at.program != e.request.Program {
			continue
		}
		e.account = at
		if decline := b.accounts[at].decline; decline != 0 {
			return decline
		}
		return points.Approved
	}
	if known {
		return points.UnknownProgram
	}
	return points.UnknownCard
}

// standing is an enquiry after the leg of a swap.
func (b *issuerBook) standing(req *points.Request) points.Reason {
	switch o := b.originalOf(req); {
	case o == nil:
		return points.UnknownOriginal
	case o.tomb || o.reversed:
		return points.OriginalClosed
	case !o.approved():
		return points.OriginalNotApproved
	default:
		return points.Approved
	}
}

// decideAbout is about requests that name an original.
func (b *issuerBook) decideAbout(e *issuerEntry) points.Reason {
	req := &e.request
	o := b.originalOf(req)
	if o == nil || !o.approved() {
		return points.UnknownOriginal
	}
	if !o.fits(req.Function) || (!req.PAN.IsZero() && req.PAN != o.request.PAN) {
		return points.OriginalDiffers
	}
	if o.reversed || o.closedBy != nil {
		return points.OriginalClosed
	}
	if req.Amount <= 0 {
		return points.BadAmount
	}
	e.account, e.original = o.account, o
	switch req.Function {
	case points.Refund:
		if req.Amount > o.kept {
			return points.AmountOverOriginal
		}
		o.kept -= req.Amount
		e.free = req.Amount
	case points.Completion, points.CompletionAdvice:
		if req.Amount > o.kept {
			return points.AmountOverOriginal
		}
		e.free, e.held = o.kept-req.Amount, -o.kept
		o.closedBy = e
	default:
		return b.undo(e, o)
	}
	return points.Approved
}

// undo is a void: of the whole, and once.
func (b *issuerBook) undo(e, o *issuerEntry) points.Reason {
	switch {
	case e.request.Amount != o.granted:
		return points.OriginalDiffers
	case (o.diminished() || o.reduced > 0) && o.request.Function != points.PreAuth:
		return points.OriginalClosed // Part of it was refunded.
	case e.request.Function == points.CompletionVoid:
		// Back to the hold, which can be completed again.
		e.held = o.kept
		o.original.kept, o.original.closedBy = o.kept, nil
	case e.request.Function == points.PreAuthVoid:
		e.free, e.held = o.kept, -o.kept
	default:
		e.free, e.held = -o.free, -o.held
	}
	o.closedBy = e
	return points.Approved
}

// fits reports whether function can be about e.
func (e *issuerEntry) fits(function points.Function) bool {
	of := e.request.Function
	switch function {
	case points.PreAuthVoid, points.Completion, points.CompletionAdvice:
		return of == points.PreAuth
	case points.CompletionVoid:
		return of == points.Completion || of == points.CompletionAdvice
	case points.Void:
		return of == points.Redeem || of == points.Earn || of == points.OfflineRedeem || of == points.OfflineEarn
	default:
		return of == points.Redeem || of == points.OfflineRedeem || of == points.Completion || of == points.CompletionAdvice
	}
}

// originalOf finds what a request names: by DE90, else by authorisation code and card.
func (b *issuerBook) originalOf(req *points.Request) *issuerEntry {
	if req.Original.Present {
		return b.entries[originalKey(req)]
	}
	if o := b.byCode[req.AuthCode]; o != nil && o.request.PAN == req.PAN {
		return o
	}
	return nil
}

// originalKey is the identity that DE90 names. Institutions of zero are the request's own.
func originalKey(req *points.Request) points.TraceKey {
	o := req.Original
	if o.Acquirer == 0 {
		o.Acquirer = req.Acquirer
	}
	if o.Forwarder == 0 {
		o.Forwarder = req.Forwarder
	}
	class := points.Class(o.MTI / 100 % 10)
	if o.MTI == 0 {
		class = points.ClassFinancial
		switch req.Function {
		case points.PreAuthVoid, points.Completion, points.CompletionAdvice:
			class = points.ClassAuthorisation
		default:
		}
	}
	return issuerKey(o.Acquirer, o.Forwarder, o.Transmission, o.STAN, class)
}

// reverse undoes a request whose answer is unknown. What never came is marked, so
// that it is refused when it comes (messages.md 10.13).
func (b *issuerBook) reverse(e *issuerEntry) points.Reason {
	req := &e.request
	o := b.originalOf(req)
	if o == nil {
		if !req.Original.Present || req.Original.Transmission == 0 {
			return points.UnknownOriginal
		}
		tomb := &issuerEntry{request: points.Request{Function: req.Reversed, PAN: req.PAN, Program: req.Program, Amount: req.Amount}, tomb: true}
		b.entries[originalKey(req)] = tomb
		b.history = append(b.history, tomb)
		e.original = tomb
		e.response.Detail = "TOMBSTONE"
		return points.Approved
	}
	e.original = o
	switch {
	case o.tomb:
		e.response.Detail = "TOMBSTONE"
		return points.Approved
	case o.request.Amount != req.Amount || o.request.Processing != req.Processing:
		return points.OriginalDiffers
	case o.reversed:
	case !o.approved():
		o.reversed = true // A decline stays one; its repeat is told 94.
	case o.closedBy != nil || (o.diminished() && (req.Actual == 0 || o.request.Function == points.PreAuth)) || o.overtaken():
		return points.OriginalClosed // It stands: something was built on it.
	case o.request.Function == points.SwapCredit && b.accounts[o.account].free < o.free:
		return points.OriginalClosed // Likewise: it is spent.
	case req.Actual != 0:
		return b.reduce(e, o)
	default:
		e.account, e.free, e.held, e.to = o.account, -o.free-o.given.free, -o.held-o.given.held, o.to
		o.reopen()
		o.reversed = true
	}
	e.response.Detail = "REVERSED"
	return points.Approved
}

// reduce is the reversal of a part: so much of o stands as e says. What was given back
// before is part of the rest.
func (b *issuerBook) reduce(e, o *issuerEntry) points.Reason {
	back := o.kept - e.request.Actual
	if e.request.Actual < 0 || e.request.Actual > o.granted {
		return points.AmountOverOriginal
	}
	switch back = max(0, back); o.request.Function {
	case points.Redeem, points.OfflineRedeem, points.Completion: // A completion is the last of its hold.
		e.free = back
	case points.Earn, points.OfflineEarn:
		e.free = -back
	case points.PreAuth:
		e.free, e.held = back, -back
	default:
		return points.NotPermitted
	}
	e.account = o.account
	o.kept, o.reduced = o.kept-back, o.reduced+back
	o.given.free, o.given.held = o.given.free+e.free, o.given.held+e.held
	e.response.Detail = "REVERSED"
	return points.Approved
}

// reopen gives the original of e back what e closed, before e itself is undone.
func (e *issuerEntry) reopen() {
	o := e.original
	if o == nil {
		return
	}
	if o.closedBy == e {
		o.closedBy = nil
	}
	if e.request.Function == points.CompletionVoid {
		o.original.kept, o.original.closedBy = -o.held, o
	}
}

// overtaken reports whether e gave points back to a hold that has gone on since.
func (e *issuerEntry) overtaken() bool {
	if e.request.Function != points.CompletionVoid {
		return false
	}
	hold := e.original.original
	return hold.closedBy != nil || hold.reversed
}
