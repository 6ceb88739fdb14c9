// Package book is the ledger's arithmetic: double-entry accounts, lots with
// expiry, holds, and the answers that were given. It owns what every account
// holds and why. A [Command] goes in, an [Outcome] comes out, and the same
// commands in the same order give the same outcomes, bytes and digests, for ever:
// there is no clock, no chance, no goroutine, no floating point and no input or
// output in it. It reads what it does not keep in memory through a [Source], and
// what it keeps never shows in an outcome.
//
// It promises the invariants below. It refuses by an outcome with a reason, which
// is remembered as approvals are; it will not do half a command, write a file,
// decide who may ask, or convert one programme's points into another's (package
// exchange posts both sides as one group).
//
// # Invariants
//
//	I1  Every command's postings sum to zero per programme, and so do all accounts.
//	I2  Per programme, what is issued is what members have free and held, less
//	    their debts, plus what stands in clearing, breakage and the house's accounts.
//	I3  An account's free points are the sum of its lots; no lot is empty or
//	    negative; lots stand in the order of consumption and no two are alike.
//	I4  Held points are the sum of the live holds and of the swaps that are locked or wait
//	    for an issuer; a hold is live exactly while it
//	    reserves something; captured + left <= reserved. Refunds, voids and the
//	    reversal of a transaction together never return more than it took.
//	I5  A lot is not touched while a usable lot of an earlier rank has anything free; by a
//	    swap, one that may be swapped.
//	I6  What comes back has the expiry it had. Only when that is over does the
//	    programme's grace apply, or breakage. Where a give-back is undone after its
//	    points were spent, the sale has taken others instead, and these come back.
//	I7  The same key with the same request gets the same answer, declines too; with
//	    another request it is refused without effect. It holds for the dates whose
//	    keys are kept (at least the current one; by default also the one before), and of
//	    the lock and the execution of a swap for as long as there is the swap.
//	I8  Positions are dense from 1. (Durability and the chain are the shell's.)
//	I9  Replay from genesis or from a checkpoint gives the recorded outcomes and the
//	    same digest.
//	I10 No limit is exceeded in any state between two commands.
//	I11 Posting times strictly increase. What falls due happens in due order, by a
//	    command; that it is late makes nothing usable that is over.
//	I12 Business dates only grow, and cycles 1, 2, ... within a date; a cycle of a date is
//	    the positions between two cut-overs.
//	I13 A request that may have come when keys were remembered that are forgotten by now
//	    is not taken for a new one ([Command.Since]): what is forgotten was posted before
//	    the date from which keys are kept, posting times increase (I11), and whoever can
//	    have come only since then is not among them. No clock is asked, so none can be
//	    set back, and what the cut-over before said of how long keys are kept does not
//	    matter. A cut-over keeps keys for a time too ([Command.TraceTime]), so that this
//	    refuses nobody when dates follow one another quickly.
//	I14 While there are operators, an act of one ([Command.Of]) names an active
//	    operator with the role for it; an act for which the policy asks for two
//	    persons is carried out by an approval only, of an active approver who is not
//	    the one who proposed it. Where no policy was ever set, one of all such acts is,
//	    as soon as there is an approver beside an admin, both with what to sign in with.
//	I15 What was proposed is carried out at most once, as it was proposed, within its
//	    time, and only while what it is about is as it was then, and its proposer
//	    still has the role.
//	I16 While there are operators, an active admin is among them; while the policy asks
//	    for two persons, an active approver who is somebody else, too.
//	I17 A one-time code is taken once, and while an operator is locked out nobody signs
//	    in by that name. Credentials are set by the person alone, who was invited.
//	I18 No window of a rule on risk holds more than its limit because of what the rule
//	    could decline; what is undone is given back to it once, where it was counted.
//	I19 A version of a rate or of the fees is never edited, is the next of its chain, has
//	    two persons behind it and takes effect five minutes after its approval or later.
//	I20 From the first rate on, what members owe each other in a cycle of a date is what
//	    the legs of its records' items sum to ([Clearing]), and that sums to zero. What is
//	    undone of a transaction is worth together what the transaction was worth.
//	I21 No sale, earn, hold or forwarded request is admitted that would make a member with
//	    a cap owe more than it: in the open cycle, in closed ones that are not posted, and
//	    with what is reserved for requests that are not answered, and by the holds that are
//	    open where the cap says so (holdcap.go). Nor is the reversal of a void, refund or
//	    release, which brings such a debt back (capundo.go).
//	I22 A cycle is posted at most once, by one run, after it is closed, and exactly what it
//	    has cleared is moved.
//	I23 The keystore and the register of certificates that are known are those of the last record about them, and an older
//	    one follows only where that record says so.
//	I24 What disputes have taken back of a sale, in sum, is never negative, and with what
//	    refunds, voids and reversals gave back never more than the sale took. While it is
//	    more than nothing the sale is neither voided nor reversed. A case is on the docket
//	    exactly while somebody is to answer, and who does not answer in time loses the right.
//	I25 A quote is executed at most once, at its own figures, before its time is over.
//	    Exactly the swaps that are locked hold points for it and are among the live locks;
//	    each is counted in the windows that it was locked or executed in, once, and what is
//	    cancelled, expired or reversed is given back to them.
//	I26 Of the rates and swap terms that are in force together at any instant, no way from
//	    programme to programme and back gains; with rates of pairs, none over two to four. A bonus is no better rate: it is a lot of its
//	    own that cannot be swapped for a while, and its sponsor pays no more than the budget.
//	I27 A swap with a leg in another's ledger is done here only when its issuer has said that
//	    the leg stands, and given back only when it has said that nothing stands, or two
//	    operators have; until then what is handed in is held, whatever its age. Once it is
//	    given up only the answer to that counts. Exactly the legs that are not decided have
//	    a timer.
//
// # A hold
//
//	                  increment
//	                  ┌──────┐   capture of a part
//	       hold       │      │  ┌──┐
//	─────────────────>  open  <─┴──┘
//	                  │ │ │ └── capture of the rest, or the final one ──> captured
//	                  │ │ └──── release ────────────────────────────────> released
//	                  │ └────── reversal of the hold ───────────────────> reversed
//	                  └──────── last day over, ExpireHolds ─────────────> expired
//
// The reversal of a part of the hold makes it smaller and leaves it open while it
// reserves anything; what a capture has taken stays taken.
//
// Back to open: the void or reversal of a capture, the reversal of a release,
// while the hold's last day is not over. After it, captured points that come back
// go to the account. A hold counts for the day's limits when it is placed, and
// its capture is not refused any more, not even when its lots lapse meanwhile.
//
// # A transaction (redemption or capture)
//
//	     approved ──── refund ────> partly returned ──── refund ────> returned
//	     │  ^    └──── reversal ──────────┴─────────> reversed
//	void │  │ reversal of the void
//	     v  │
//	    voided
//
// Reversal is final: what comes under the key afterwards is declined, also when
// it comes for the first time (tombstone). The reversal of a part
// ([Command.Actual]) is one of the moves to partly returned: the actual amount
// stands, what was refunded counts as given back, and a void, which is of the
// whole, is too late. Its original keeps its first answer, as after a refund;
// one that it overtakes is declined like any other, for nobody has granted the
// actual amount. A void needs the same business date,
// terminal and merchant; a refund does not. What is undone on the date of the
// original does not count for that date's limits any more; refunds do.
//
// # Postings (credit +, debit -)
//
//	earn         clearing(acquirer) -a    debt +repaid    member +rest
//	             where there is a tier unit, in it: issued -a    debt +repaid    member +rest
//	redeem       member -a    clearing(acquirer) +a
//	             of several programmes (tender.go): the same in each of them; one of them
//	             may be an issuer's that keeps its own ledger (tender_remote.go)
//	capture      member (held) -a    clearing(acquirer) +a
//	hold, increment, release, expiry of holds
//	             none: lots move between free and held
//	void, refund, reversal
//	             the opposite, with the original's lots, latest expiry first;
//	             lapsed without grace: member -l    breakage +l
//	reversal of a part
//	             the same, with so much of them; of an earn what had repaid a debt last
//	reversal of what gave points that are spent by now
//	             member -there    then debt -missing where the programme keeps
//	             debts, else suspense(issuer) -missing
//	transfer     member -a    member +a
//	adjust       issued -a    member +a    (a of either sign)
//	reinstate    breakage -a    member +a
//	expiry, decay
//	             member -a    breakage +a
//	settle       clearing(acquirer) -a    issued +a
//	chargeback, ruling for the issuer, credit adjustment, exception (dispute.go)
//	             clearing(acquirer) -a    suspense(issuer) +a
//	re-presentment, debit adjustment
//	             suspense(issuer) -a    clearing(acquirer) +a
//	leg          none: participants owe each other standard points (leg.go)
//	post         the same for each programme and acquirer of a closed cycle
//	swap         member (A) -in    issued (A) +in    issued (B) -out    member (B) +out
//	             and of a campaign sponsor (B) -bonus    member (B) +bonus
//	quote, swap lock, swap cancel, expiry of swaps
//	             none: lots move between free and held
//	swap with a leg in another's ledger (swapremote.go)
//	             none until its issuer has answered; then this ledger's half of a swap.
//	             Given up, and it stands there for good: issued -a    suspense +a
//
//	conclude, stand-in, owe of what is told (remote.go)
//	             issued -a    clearing(acquirer) +a    (earn, void, refund: the opposite)
//	resolve      the same; or issued +a    suspense(issuer) -a
//
// Accounts other than member, debt and clearing have the programme's issuer as
// their party. Earn, redeem and adjust may name another account than the usual
// one ([Command.Against]).
//
// # Issuers that keep their own ledgers
//
// A request for one is forwarded, and the issuer decides; [Book.Unfinished] lists what
// is open or owed. The picture stands at Book.forward. Members, lots and holds are the
// issuer's: limits count per card, and what is given back or captured of a transaction
// is no more than it took (I4). The void of a completion opens its hold again for what
// the completion took. A reversal of a part leaves the actual amount standing at once;
// one that overtakes the issuer's answer is of the whole.
//
// # Operators
//
// The first operator comes from whoever may open the door while there is none; until
// then a command's word about who asked and who approved is all there is, as it always
// was. The picture of a proposal stands at office. What signs an operator in, passwords
// and codes, is looked at outside: here stands what came of it.
//
// # Clearing
//
// What settlement counts of a record is what the record moves on clearing accounts; the
// table stands at [ClearingItem], and the picture of a cycle at clearing. Of a book without
// rates nothing of it is kept. A hold is held against the caps when it is placed and
// reserves of those that say so; what is told, captured, undone or concluded is booked whatever
// they say.
//
// # Rules worth knowing
//
// Before the first cut-over there is no business date, and whatever would book
// points is declined (programme closed). The amount of a reversal, where it has
// one, is that of the original, also when it is one of a part; a part can be
// reversed of redemptions, captures, earns and holds. A reversal by key whose
// original is older than the keys that are kept is one of an unknown original; by
// position it finds it. A decline without a key is not written. An account of the
// house exists while its balance is not zero. New points are refused by an account
// with 64 different lots; points that come back always find room.
//
// Decay is by a command only, as expiry is, and takes for every date that is over,
// once: until it comes, the points can be spent whole. What is held, or was spent
// and comes back, loses then what it would have lost meanwhile; in the days of
// grace nothing decays. See decay.go.
//
// # Checkpoints
//
// State is entities, each with a key and a value. A checkpoint is a set of them
// as of one position: BeginCheckpoint freezes what changed, Drain serialises it
// piecemeal between commands, EndCheckpoint says how it ended. Recovery is New,
// Remember from TraceFloor to Position, Replay from there. What a replay takes from the
// record and what it works out again stands at [Book.Replay].
package book
