package book

import (
	"math"

	"github.com/lianfen/lianfen/points"
)

// Kind is what a command does. The numbers are written in the journal: never
// renumber, only append.
type Kind uint8

// Commands.
const (
	// KindPut writes one entry of reference data (see [Entry]): new, or in place
	// of the entry with the same identity.
	KindPut Kind = iota + 1
	// KindOpen opens the account of a member in a programme.
	KindOpen
	// KindFreeze sets what an account may not do ([Command.Freeze]).
	KindFreeze
	// KindClose closes an empty account.
	KindClose
	// KindSignOn starts a terminal's session; the outcome carries its batch.
	KindSignOn
	// KindBalance reads balances and changes nothing; it stands in the journal
	// so that its answer can be repeated.
	KindBalance
	KindEarn
	KindRedeem
	// KindHold reserves, KindIncrement reserves more under the same hold.
	KindHold
	KindIncrement
	// KindCapture spends from a hold; the last one gives the rest back.
	KindCapture
	// KindRelease gives back what a hold still reserves.
	KindRelease
	// KindExpireHolds releases holds that fell due, a bounded number at a time.
	KindExpireHolds
	// KindVoid cancels an earn, redemption or capture of the same business date.
	KindVoid
	// KindRefund gives back part or all of a redemption or capture.
	KindRefund
	// KindReverse undoes a request whose answer its sender does not know.
	KindReverse
	KindTransfer
	// KindAdjust corrects a balance; two people stand behind it.
	KindAdjust
	// KindReinstate brings expired points back as a new lot.
	KindReinstate
	// KindExpireLots and KindVestLots work through what falls due on a business
	// date, a bounded number of accounts at a time.
	KindExpireLots
	KindVestLots
	// KindCutOver ends a cycle of a business date, and with it the date or not.
	KindCutOver
	// KindSettle moves clearing accounts to zero after a settlement.
	KindSettle
	// KindGroup carries out its members all or not at all.
	KindGroup
	// KindDecay takes from lots what they lose by their programme's rule on a
	// business date, a bounded number of accounts at a time.
	KindDecay
	// KindForward admits a request whose issuer keeps its own ledger (see remote.go).
	// The kinds that follow are about a transaction that was forwarded.
	KindForward
	// KindConclude enters the issuer's answer.
	KindConclude
	// KindStandIn approves in the place of an issuer that was not reached.
	KindStandIn
	// KindOwe notes that no answer came: the issuer is owed a reversal, or an advice.
	KindOwe
	// KindAcknowledge enters the issuer's answer to what it was owed.
	KindAcknowledge
	// KindGiveUp leaves what is owed to the operators.
	KindGiveUp
	// KindResolve ends what was left to the operators.
	KindResolve
	// KindCloseBatch compares the totals of a terminal's batch, or of an acquirer's date.
	KindCloseBatch
	// KindUpload takes what a terminal has of a closed batch.
	KindUpload
	// KindDownload notes which parameters a terminal was given.
	KindDownload
	// KindSignIn notes that an operator has signed in, or was refused (see office.go).
	// The kinds that follow are acts of operators about each other's acts.
	KindSignIn
	// KindEnrol sets the credentials of an operator who was invited.
	KindEnrol
	// KindPropose keeps an act until a second person decides.
	KindPropose
	// KindApprove carries out what was proposed.
	KindApprove
	// KindReject ends what was proposed, without effect.
	KindReject
	// KindNote notes an act of an operator that changes nothing in the book.
	KindNote
	// KindPIN sets, changes or unlocks the PIN of a card.
	KindPIN
	// KindPost moves what a closed cycle has cleared off the clearing accounts.
	KindPost
	// KindKeystore notes with which keystore the switch serves (see ceremony.go).
	KindKeystore
	// KindDispute takes one step of a dispute about a transaction (see dispute.go).
	KindDispute
	// KindExpireDisputes ends the time to answer of disputes, a bounded number at a time.
	KindExpireDisputes
	// KindLeg is an adjustment or a fee between two members of settlement, said outright.
	KindLeg
	// KindQuote promises what a swap gives, and changes nothing (see swapping.go). The kinds
	// that follow are about it, named by its position.
	KindQuote
	// KindSwapLock holds the points of a quote for longer.
	KindSwapLock
	// KindSwap executes a quote, once.
	KindSwap
	// KindSwapCancel ends a quote or a lock.
	KindSwapCancel
	// KindExpireSwaps ends locks whose time is over, a bounded number at a time.
	KindExpireSwaps
	// KindRegister notes how far the register of certificates has come (see certificate.go).
	KindRegister
	// KindSwapTold enters what the issuer of a swap's remote leg has said, or that it has said
	// nothing (see swapremote.go). Function is what it was asked.
	KindSwapTold
	// KindSwapRetry is the timer of a remote leg: the issuer is asked again.
	KindSwapRetry

	kindCount
)

// Command is one thing to be done to the book, complete: time, identities and
// choices are in it, so that applying it again to the same book gives the same
// outcome. Which fields matter depends on Kind; others stay zero.
type Command struct {
	Kind     Kind
	Function points.Function // what was asked at the door; for the record
	Key      points.TraceKey // identity; the zero key is never remembered
	At       points.Timestamp

	Card     points.CardToken
	Member   points.MemberID  // where no card is at hand (operator)
	Program  points.ProgramID // 0: first of the merchant's order in which the member has an account
	Amount   points.Amount    // > 0 wherever an amount is needed; adjust and settle: either sign; void and reverse: 0 is all of it; stand-in: the most for one card and date, 0 any
	Acquirer points.AcquirerID
	Merchant points.MerchantID
	Terminal points.TerminalID

	// Original names the transaction that a capture, release, void, refund or
	// reversal is about: by position where it is known, else by key.
	// Approve and reject: what was proposed.
	Original    points.Position
	OriginalKey points.TraceKey
	AuthCode    [6]byte // of the original, where the sender quotes it; zero: not checked
	// Final tells a capture that no other will follow, and an acknowledgement that an
	// issuer which does not know the original never will. Swap told: it was never sent;
	// swap retry: its issuer can be fenced, after Limit seconds. Where the issuer keeps its own
	// ledger, a void of a capture opens the hold again, and a reversal is of a part or of
	// what was told (0220), or does not take every void of its original to stand, only if
	// it is set: records from before did nothing of that. A refund of a sale that several
	// programmes paid can be reversed, and a reversal undoes the void or refund of one,
	// only if it is set, likewise.
	Final bool
	// PartialOK lets a redemption take what is there.
	PartialOK bool
	// RepeatOnly answers a key that is known, and refuses any other as not fresh. It is
	// not written: what is refused so leaves no trace.
	RepeatOnly bool
	// Since tells that the request cannot have come for the first time before this: its
	// key is refused as not fresh where keys of that time may have been forgotten (I13).
	// 0 is any time. It is not written, for the same reason.
	Since points.Timestamp
	// Chosen tells that the request names no programme, and Program was found in the
	// merchant's order: a repeat that comes when the order has changed is the same
	// request. It is not written.
	Chosen bool

	ToCard   points.CardToken // transfer: who receives
	ToMember points.MemberID

	Origin    Origin              // earn, adjust: where the points come from; 0 is earned
	ActiveOn  points.BusinessDate // earn, adjust: 0 by programme rule
	ExpiresOn points.BusinessDate // earn, adjust, reinstate: 0 by programme rule
	Freeze    Freeze
	Date      points.BusinessDate // cut-over: the date that begins; expire, vest, decay: the date it is for
	TraceDays uint8               // cut-over: how many dates keep their keys; 0 is two
	TraceTime uint32              // cut-over: and for how many seconds at least, whatever TraceDays and Limit say; 0 any
	Limit     uint32              // batches: at most so many accounts or holds; cut-over: at most so many keys where TraceDays would keep more, 0 any number; stand-in: at most so many for one card and date, 0 any; quote: for how many seconds a lock is wanted, 0 as long as the terms give one without a fee

	Operator string // who asked, on operator commands
	Second   string // who approved
	Note     string // why: free text, case number

	Entry Entry     // put, enrol
	Group []Command // group: its members, themselves no groups; propose and approve: the one act that it is about

	// Reverses is the function that a reversal says its target had; another one is
	// refused. 0: not said. Acknowledge, give up: that it is about a reversal, of this
	// function, which leaves Actual standing.
	Reverses points.Function

	// Actual is what a reversal leaves standing of its original (DE95); 0: nothing,
	// it is of the whole.
	Actual points.Amount

	// Against is the account on the other side of an earn, redemption, capture or
	// adjustment: 0 is clearing with the acquirer, for an adjustment the issued account.
	Against AccountKind

	// Answer is what the issuer said: to what was forwarded (conclude), to what it was
	// owed (acknowledge), or to an operator who asked (resolve: Approved, it stands
	// there; ReversedBefore, it is gone). Sign-in: Approved, or why it was refused. Stand-in: NoAnswer, it was asked and is silent;
	// else it was not reached.
	Answer points.Reason
	// Tender are the programmes that a redemption may be paid from, in this order, at most
	// [MaxTender]; none: Program, or the merchant's first. Amount is in the unit of the
	// sale then.
	Tender []TenderTerm
	// Ask lets a tender be paid, as far as the programmes here cannot, by one whose issuer
	// keeps its own ledger (see tender_remote.go). Without it, such a programme is passed over.
	// Of a quote, it lets one of the two programmes be such a one (swapremote.go).
	Ask bool
	// Told is what the issuer says the member has (conclude), at most [points.MaxBalances].
	Told []Balance

	// Batch is the terminal's batch in whose totals the command counts, or [DateBatch];
	// 0: in none.
	Batch uint32
	// Tally is what the sender of a close has counted itself.
	Tally Tally
	// Items are the transactions of an upload, at most [MaxUpload]. Its last command
	// has none, Final set, and as Limit how many there were.
	Items []UploadItem
	// Parameters is the check value of the parameters that a download gave. Sign-in: the
	// step of the one-time code, in half minutes since 1970.
	Parameters uint32

	// Act is what a note is of.
	Act Act
	// EntryMode is how the card was read and whether a PIN could be entered (DE22), and PIN
	// tells that one came with the request. They are for the rules on risk.
	EntryMode uint16
	PIN       bool

	// Edition is which meaning the command has, where that of its kind has changed: an old
	// one keeps its own for ever. 0 is the first; [Edition] is for new ones.
	Edition uint8
	// KeySet says which working keys a sign-on gives the terminal, as package certs
	// numbers them; 0: none. Their generation is the position of the sign-on.
	KeySet uint8
	// Master is the version of its master key that the terminal has proved to have, by the
	// MAC of its sign-on; 0: it has proved none.
	Master uint32
	// Counter is how often the terminal has used a derived key (ANSI X9.24-3), this time
	// included; 0: its keys are others, or none.
	Counter uint32
	// PINResult is what comparing the PIN of the request has come to; 0: it brought none,
	// or nobody here compares it.
	PINResult PINResult
	// PINValue is, of KindPIN, what is to be kept of the PIN; without one the card's is
	// unlocked. Of a request it is what its PIN has, until it is compared ([Book.ComparePIN]).
	PINValue PINValue

	// Cycle is, of a cut-over, the cycle that begins: of the same Date the next one, of a
	// later Date 1. 0 is 1, as all were before a date had several.
	Cycle uint8
	// Planned is when the schedule wants the cut-over that it has caused; 0: it was by hand.
	Planned points.Timestamp
	// Dispute is the step of a dispute, about Original; Amount is what it takes or gives.
	Dispute DisputeMove
	// Leg is who pays whom Amount, in standard points.
	Leg Leg
	// Sent is when what is told (0220) was sent, as its sender says; 0: nobody says.
	Sent points.Timestamp
	// Run names the settlement run of a posting, Manifest is the digest of what it has
	// published, and Moves are what it moves: the cycle of Date.
	Run, Manifest [32]byte
	Moves         []ClearingMove
	// Ceremony is what a note, or an approval, does with a key, and which keystore it leaves
	// behind; of KindKeystore, the keystore alone, or that a terminal has taken a key.
	Ceremony Ceremony

	// Into is the programme that a swap hands out. Wanted is how much of it is wanted at
	// least, where Amount does not say what is handed in.
	Into   points.ProgramID
	Wanted points.Amount
	// Certificate is what a note does with certificates; of KindRegister, the register alone.
	Certificate *Certificate
}

// Edition is the meaning of new commands. Of reversals, 0 makes an opened hold less by what
// its actual amount is less than the hold was once, and takes a voided sale off the totals
// of its batch; 1 leaves of a hold the actual amount, and of the totals what was voided. Of the PIN of a
// card, and of rules on risk, 1 makes them acts of their own ([ActPIN], [ActRisk]). Of an operator,
// and of an enrolment, 1 begins the policy of two persons where there is none ([TwoPersons]).
// Of a quote, 0 leaves the fees to those in force at the execution; 1 has those of the quote.
// Of the reversal of a void, refund or release, 2 asks caps for room (capundo.go). Of a
// cut-over, 2 begins, for good, that what undoes an item without room has none either.
const Edition = 2

// editionPairs is the edition of the cut-over from which on that is so.
const editionPairs = 2

// Freeze is what an account, member or card may not do.
type Freeze uint8

// Freezes; both may be set.
const (
	FreezeDebit Freeze = 1 << iota
	FreezeCredit
)

// Origin is where the points of a lot come from.
type Origin uint8

// Origins.
const (
	Earned Origin = iota + 1
	Bought
	Swapped
	Bonus
	Adjusted
)

// AccountKind is what an account is for.
type AccountKind uint8

// Account kinds. Balances are signed, credit positive; all accounts of a unit sum to zero.
const (
	// MemberAccount is what the issuer owes a member; Party is the member.
	MemberAccount AccountKind = iota + 1
	// DebtAccount is a member's clawback debt (never positive); Party is the member.
	DebtAccount
	// IssuedAccount is the outstanding issue of the programme; Party is the issuer.
	IssuedAccount
	// ClearingAccount is what was redeemed (credit) and earned (debit) at an
	// acquirer since its last settlement; Party is the acquirer.
	ClearingAccount
	BreakageAccount
	FeeAccount
	RoundingAccount
	SponsorAccount
	HouseAccount
	SuspenseAccount
)

// AccountKey names an account: one per kind, programme and party.
type AccountKey struct {
	Kind    AccountKind
	Program points.ProgramID
	Party   uint64
}

// Outcome is what applying a command did. A decline is an outcome like any
// other, with a reason that is not approved and without postings.
type Outcome struct {
	Reason   points.Reason
	Position points.Position // where it stands in the journal; of the first time when Replayed
	Posted   points.Timestamp
	Date     points.BusinessDate
	Cycle    uint8 // of the date, where it is not the first; see [Outcome.InCycle]
	Member   points.MemberID
	Program  points.ProgramID
	Issuer   points.IssuerID
	Original points.Position // the transaction this one was about, once found
	Amount   points.Amount   // what was moved, held, released
	Free     points.Amount   // of the member's account in Program, afterwards: what can be spent on Date
	Pending  points.Amount   // neither spendable nor held: not yet active, or lapsed and not yet expired
	Held     points.Amount
	Debt     points.Amount // what the member owes back, >= 0
	Batch    uint32        // sign-on: the terminal's batch; close, upload: that batch, or the date as a number
	More     bool          // batches: call again, there is more due

	Postings []Posting // balance to zero per programme
	Lots     []LotMove // which lots gave or received, in order
	Others   []Balance // balances in the member's other programmes, ascending by programme (balance enquiry; of a tender, in its order)

	// Legs are what each programme paid of a redemption of several; Amount is in the unit
	// of the sale then, and Program the first of them.
	Legs []TenderLeg

	// Answer is what the acquirer of a forwarded request is told because of this
	// command (conclude, stand-in, owe); see [Outcome.Told]. 0: nothing.
	Answer points.Reason

	Tally      Tally  // close: what was counted here
	Unequal    bool   // close: the sender's totals are others
	Parameters uint32 // sign-on, download: check value of the parameters that the terminal has; 0: none

	// Risk is what the rules on risk had to say.
	Risk Decision

	// What settlement needs to know of a record that clears, beside its postings; it is
	// written where there are rates. MCC is the merchant's; Root the record that has cleared
	// what this one undoes, where that is not the one that Original leads to; Undone how much
	// of it was undone before, by programme; Owners the issuers of programmes that are not
	// Issuer's.
	MCC    uint16
	Root   points.Position
	Undone []ProgramAmount
	Owners []ProgramOwner
	// NoRoom tells which items of the record have no value because a sum of what members
	// owe would not fit, or they undo such an item: bit n is the nth of [Clearing.Items], the last bit also those behind.
	NoRoom uint64
	// Locked is when the hold was placed whose rate and fees a capture has; 0: those of its
	// own moment.
	Locked points.Timestamp
	// Fee is what a retrieval costs by the schedule; zero: nothing.
	Fee StepFee

	// Swap is what was quoted, locked, executed, cancelled or reversed.
	Swap SwapFigures

	// Replayed: the key was known, this is its first answer again, and nothing
	// was written.
	Replayed bool
	// Forwarded: the issuer has to be told. Of a request, Position is to be sent to it
	// and there is no answer yet; of one that was Replayed, that has been done. Of a
	// reversal, the issuer is owed one of Original now. It is not written.
	Forwarded bool
	// About is the transaction that the issuer is told of where that is neither Position
	// nor Original: the sale whose void was reversed. It is not written.
	About points.Position
}

// Posting is one side of a booking: credit positive, debit negative.
type Posting struct {
	Account AccountKey
	Amount  points.Amount
	After   points.Amount // the account's balance afterwards
}

// ProgramAmount is an amount of a programme.
type ProgramAmount struct {
	Program points.ProgramID
	Amount  points.Amount
}

// ProgramOwner is the issuer of a programme.
type ProgramOwner struct {
	Program points.ProgramID
	Issuer  points.IssuerID
}

// ClearingMove is what a settlement moves off one clearing account: Amount > 0 is what its
// acquirer had to get.
type ClearingMove struct {
	Program  points.ProgramID
	Acquirer points.AcquirerID
	Amount   points.Amount
}

// Balance is what a member has in one programme.
type Balance struct {
	Program    points.ProgramID
	Free, Held points.Amount
}

// LotMove is what one lot gave (negative) or received (positive). Held marks a
// move between free and held, seen from the free side: it is no posting.
type LotMove struct {
	Account AccountKey
	Lot     LotKey
	Amount  points.Amount
	Held    bool
}

// LotKey is everything that tells two lots of one account apart; lots with equal
// keys are one lot.
type LotKey struct {
	ExpiresOn points.BusinessDate // last day of use; 0 never
	ActiveOn  points.BusinessDate // first day of use; 0 at once
	DecaysOn  points.BusinessDate // when it next loses a part; 0 never
	Priority  uint8
	Origin    Origin
	SwapFrom  LotDay // first day on which it may be swapped; 0 at once
}

// LotDay is a business date in sixteen bits, so that a lot stays small: in the order of
// dates, the same day for all before 2000 and for all after 2175.
type LotDay uint16

// LotDayOf returns the day of a date.
func LotDayOf(date points.BusinessDate) LotDay {
	const months, days, first = 12, 31, 2000
	if date/10000 < first {
		return 1
	}
	n := ((date/10000-first)*months+date/100%100-1)*days + date%100
	return LotDay(min(n, math.MaxUint16))
}

// Record is one journal record: a command, and what it did.
type Record struct {
	Command Command
	Outcome Outcome
}

// Source reads what the book has put away: state written by checkpoints and
// records of the journal. An error from it is a fault of the store, not an
// outcome: [Book.Apply] passes it on and the book must not be used any further.
type Source interface {
	// State returns the value last checkpointed under key; ok is false when there
	// is none. The book does not keep or change value.
	State(key []byte) (value []byte, ok bool, err error)
	// Record reads the journal record at position into rec: any position that was
	// applied, those of the group that is not yet durable included.
	Record(position points.Position, rec *Record) error
}
