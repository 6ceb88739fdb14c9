package sim

import (
	"fmt"
	"maps"
	"slices"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// claim is a transaction that a close counts, or the reversal of one.
type claim struct {
	of     *receipt
	side   points.Side
	amount points.Amount
	undone bool
}

func totalled(claims []claim, undone bool) (totals points.Totals) {
	for _, c := range claims {
		if c.undone == undone {
			totals.Add(c.side, c.amount, 1)
		}
	}
	return totals
}

// closing is the close of a terminal's batch, or of a partner's business date.
func (l *lane) closing() *receipt {
	if l.line.door == partnerDoor {
		return l.closingDate()
	}
	r := &receipt{lane: l, req: l.term.Closing()}
	for _, done := range l.receipts {
		if side := done.req.Function.Side(); side != 0 && done.req.Batch == l.term.Batch && done.stands() {
			r.claims = append(r.claims, claim{of: done, side: side, amount: done.amount()})
		}
	}
	if sum := totalled(r.claims, false); sum != r.req.Totals {
		l.w.mismatch(nil, "%s closes batch %d with %+v, and its receipts say %+v", l.name, l.term.Batch, r.req.Totals, sum)
	}
	return r
}

// closingDate is what a partner's system says of a business date: all its tills together,
// and reversals apart. Of what it was never told it says nothing.
func (l *lane) closingDate() *receipt {
	w, date := l.w, l.line.date
	if w.rng.IntN(2) == 0 && date > worldGenesis {
		date = date.AddDays(-1)
	}
	r := &receipt{lane: l, req: l.term.Next(points.BatchClose)}
	r.req.Terminal, r.req.Merchant, r.req.EntryMode = points.TerminalID{}, points.MerchantID{}, 0
	r.req.Settlement = date.MMDD()
	on := func(resp *points.Response) bool { return uint32(resp.Date)%10_000 == date.MMDD() }
	for _, till := range l.line.lanes {
		for _, done := range till.receipts {
			side := done.req.Function.Side()
			if side == 0 || !done.heard || !done.resp.Reason.Approved() {
				continue
			}
			if on(&done.resp) {
				r.claims = append(r.claims, claim{of: done, side: side, amount: done.amount()})
			}
			for _, u := range done.parts {
				if u.took > 0 && on(&u.resp) {
					r.claims = append(r.claims, claim{of: done, side: side, amount: u.took, undone: true})
				}
			}
			if done.reversed && on(&done.undo.resp) {
				r.claims = append(r.claims, claim{of: done, side: side, amount: done.amount() - done.back, undone: true})
			}
		}
	}
	r.req.Totals, r.req.Undone = totalled(r.claims, false), totalled(r.claims, true)
	stands := r.req.Totals.Less(r.req.Undone)
	r.req.Net = stands.DebitAmount - stands.CreditAmount
	l.dress(&r.req)
	return r
}

// closed goes on with what the answer to a close, or to a part of an upload, says.
func (l *lane) closed(r *receipt) {
	w, reason := l.w, r.resp.Reason
	switch {
	case reason.Approved():
	case l.line.door == partnerDoor && reason == points.TotalsDiffer:
	case r.req.Function == points.BatchClose && reason == points.TotalsDiffer, reason == points.UploadIncomplete:
		l.upload()
	default:
		w.mismatch(nil, "%s: %s is answered %s", l.name, r, code(&r.resp))
		return
	}
	l.rest()
}

// upload sends up all that a terminal has of its batch.
func (l *lane) upload() {
	l.sending = nil
	for _, piece := range l.term.Till.Items(l.term.Batch) {
		l.sending = append(l.sending, &receipt{lane: l, req: l.term.Next(points.BatchUpload), items: piece})
	}
	l.sending = append(l.sending, &receipt{lane: l, req: *l.term.uploadEnd()})
}

// batchKey names what is counted together: a terminal's batch, or a date of an acquirer.
type batchKey struct {
	acquirer points.AcquirerID
	terminal points.TerminalID // zero: a date
	number   uint32
}

// counted is what a transaction counts for.
type counted struct {
	key      batchKey
	position points.Position // of the transaction
	at       points.Position // where it was decided
	side     points.Side
	amount   points.Amount
	reduced  points.Amount // of it
	over     points.Position
}

// uncounting is what was taken off the totals.
type uncounting struct {
	claim
	key      batchKey
	position points.Position // of the transaction
	at       points.Position
	number   uint32 // of transactions
}

// tallies are the totals of all batches, as the journal has them, counted apart from the
// book.
type tallies struct {
	asked  map[points.Position]book.Command // and not decided
	counts map[points.Position]*counted
	undone []uncounting
	closes []book.Record
}

func newTallies() tallies {
	return tallies{asked: make(map[points.Position]book.Command), counts: make(map[points.Position]*counted)}
}

// add takes the next record.
func (t *tallies) add(rec *book.Record) {
	cmd, out := &rec.Command, &rec.Outcome
	switch cmd.Kind {
	case book.KindReverse:
		t.uncount(rec)
	case book.KindConclude, book.KindStandIn, book.KindOwe:
		asked, ok := t.asked[out.Original]
		if !ok || !out.Answer.Approved() {
			return
		}
		amount := out.Amount
		if asked.Kind == book.KindRedeem { // A sale that several programmes pay.
			amount = asked.Amount
		}
		delete(t.asked, out.Original)
		t.enter(&asked, out, out.Original, amount)
	case book.KindCloseBatch:
		if out.Reason.Approved() {
			t.closes = append(t.closes, *rec)
		}
	default:
		if !out.Reason.Approved() || cmd.Batch == 0 || cmd.Function.Side() == 0 {
			return
		}
		if waits(rec) {
			t.asked[out.Position] = *cmd
			return
		}
		t.enter(cmd, out, out.Position, out.Amount)
	}
}

// waits reports whether a record is of a request that a bank has yet to decide.
func waits(rec *book.Record) bool {
	switch rec.Command.Kind {
	case book.KindForward:
		return true
	case book.KindVoid, book.KindRefund, book.KindCapture, book.KindRelease:
		return rec.Outcome.Member == 0
	default:
		return len(rec.Outcome.Legs) > 0 && len(rec.Outcome.Postings) == 0
	}
}

func (t *tallies) enter(cmd *book.Command, out *book.Outcome, position points.Position, amount points.Amount) {
	key := batchKey{acquirer: cmd.Acquirer, terminal: cmd.Terminal, number: cmd.Batch}
	if cmd.Batch == book.DateBatch {
		key = batchKey{acquirer: cmd.Acquirer, number: uint32(out.Date)}
	}
	t.counts[position] = &counted{key: key, position: position, at: out.Position, side: cmd.Function.Side(), amount: amount}
}

func (t *tallies) uncount(rec *book.Record) {
	cmd, out := &rec.Command, &rec.Outcome
	c := t.counts[out.Original]
	if !out.Reason.Approved() || c == nil || c.over != 0 || (cmd.Actual != 0 && out.Amount == 0) {
		return
	}
	u := uncounting{key: c.key, position: c.position, at: out.Position, number: 1, claim: claim{side: c.side, amount: c.amount - c.reduced, undone: true}}
	dated := c.key.terminal == points.TerminalID{}
	if dated {
		u.key.number = uint32(out.Date)
	}
	if cmd.Actual != 0 {
		if u.amount = out.Amount; !dated {
			u.number = 0
		}
		c.reduced += u.amount
	} else {
		c.over = out.Position
	}
	t.undone = append(t.undone, u)
}

// of is what was counted under key when the journal was so long.
func (t *tallies) of(key batchKey, until points.Position) (tally book.Tally) {
	for _, position := range slices.Sorted(maps.Keys(t.counts)) {
		if c := t.counts[position]; c.key == key && c.at <= until {
			tally.Done.Add(c.side, c.amount, 1)
		}
	}
	for _, u := range t.undone {
		if u.key == key && u.at <= until {
			tally.Undone.Add(u.side, u.amount, u.number)
		}
	}
	return tally
}

// compareBatches holds every close against the journal, and what its sender counted
// against what the switch did: a difference is of what the sender was never told.
func (w *World) compareBatches(j *journal) {
	receipts := make(map[points.TraceKey]*receipt)
	for _, l := range w.lanes {
		for _, r := range l.receipts {
			receipts[r.traceKey()] = r
		}
	}
	for i := range j.tallies.closes {
		rec := &j.tallies.closes[i]
		r, at := receipts[rec.Command.Key], rec.Outcome.Position
		if r == nil {
			continue // Nobody has asked for it, which is told elsewhere.
		}
		key := batchKey{acquirer: rec.Command.Acquirer, terminal: rec.Command.Terminal, number: rec.Outcome.Batch}
		if ours := j.tallies.of(key, at); ours != rec.Outcome.Tally {
			w.mismatch(nil, "%s: %s: the switch has counted %+v, and its journal has %+v", r.lane.name, r, rec.Outcome.Tally, ours)
			return
		}
		equal := rec.Outcome.Tally == rec.Command.Tally
		if key.terminal != (points.TerminalID{}) {
			equal = rec.Outcome.Tally.Stands() == rec.Command.Tally.Stands()
		}
		if equal == rec.Outcome.Unequal || (r.heard && r.resp.Reason.Approved() != equal) {
			w.mismatch(nil, "%s: %s: the totals are equal: %v, and the answer is %s", r.lane.name, r, equal, code(&r.resp))
			return
		}
		if why := w.explain(j, receipts, key, r, at); why != "" {
			w.mismatch(nil, "%s: %s of %d: %s", r.lane.name, r, key.number, why)
			return
		}
		if equal {
			w.did("batch closed with equal totals")
		} else {
			w.did("batch closed, and the difference explained")
		}
	}
}

// counting is a transaction, or what of it was reversed.
type counting struct {
	position points.Position
	amount   points.Amount
	undone   bool
}

// explain holds what a sender counted against what the switch did, one by one, and says
// what cannot be explained. A terminal counts what stands, a partner reversals apart.
func (w *World) explain(j *journal, receipts map[points.TraceKey]*receipt, key batchKey, r *receipt, at points.Position) string {
	ours := make(map[counting]int)
	terminal := key.terminal != points.TerminalID{}
	for _, c := range j.tallies.counts {
		if c.key == key && c.at <= at && (!terminal || c.over == 0 || c.over > at) {
			ours[counting{c.position, c.amount, false}]++
		}
	}
	for _, u := range j.tallies.undone {
		if u.key == key && u.at <= at && !terminal {
			ours[counting{u.position, u.amount, true}]++
		}
	}
	for _, c := range r.claims {
		positions := j.byKey[c.of.traceKey()]
		if len(positions) == 0 {
			return fmt.Sprintf("%s is counted and not in the journal", c.of)
		}
		this := counting{positions[0], c.amount, c.undone}
		if ours[this] == 0 && c.of.lost {
			continue // It was told of the approval, and never of the reversal.
		}
		if ours[this] == 0 {
			return fmt.Sprintf("%s counts %d (undone: %v), and the switch does not (RRN %d)", c.of, c.amount, c.undone, positions[0])
		}
		if ours[this]--; ours[this] == 0 {
			delete(ours, this)
		}
	}
	for _, this := range slices.SortedFunc(maps.Keys(ours), func(a, b counting) int { return int(a.position) - int(b.position) }) { //nolint:gosec // positions are small.
		of := receipts[j.keys[this.position]]
		if of == nil || !of.untold(this.undone, terminal, r.asked) {
			return fmt.Sprintf("the switch counts %d of RRN %d (undone: %v), which its sender was told of", this.amount, this.position, this.undone)
		}
	}
	return ""
}

// untold reports whether the sender did not know, at that time, what became of r.
func (r *receipt) untold(undone, terminal bool, then points.Timestamp) bool {
	unheard := r.heardAt == 0 || r.heardAt >= then
	if terminal {
		return r.lost && unheard
	}
	if !undone || unheard {
		return unheard
	}
	for _, u := range append(slices.Clone(r.parts), r.undo) {
		if u != nil && (u.heardAt == 0 || u.heardAt >= then) {
			return true
		}
	}
	return false
}
