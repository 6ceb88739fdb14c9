package sim

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// unfinished lists what is under way with banks and fits.
func (w *World) unfinished(fits func(*book.RemoteView) bool) (views []book.RemoteView) {
	err := w.house.ledger.View(w.ctx, func(b *book.Book) error {
		positions := b.Unfinished()
		slices.Sort(positions)
		for _, position := range positions {
			view, ok, err := b.Remote(position)
			if err != nil {
				return err
			}
			if ok && fits(&view) {
				views = append(views, view)
			}
		}
		return nil
	})
	w.fail(err)
	return views
}

func (w *World) cardOfToken(token points.CardToken) *card {
	for _, c := range w.cards {
		var t points.CardToken
		if w.house.key.Token(&t, c.pan); t == token {
			return c
		}
	}
	return nil
}

// drained reports whether everything has come to its end.
func (w *World) drained() bool {
	for _, l := range w.lanes {
		if !l.drained() {
			return false
		}
	}
	return w.house.up && len(w.unfinished(func(*book.RemoteView) bool { return true })) == 0
}

// pending says what has not, and about which card that is.
func (w *World) pending() (*card, string) {
	for _, l := range w.lanes {
		if !l.drained() && l.current != nil {
			return l.current.card, fmt.Sprintf("%s, with %v", l.name, l.current)
		}
	}
	if !w.house.up {
		return nil, "the switch is down"
	}
	for _, view := range w.unfinished(func(*book.RemoteView) bool { return true }) {
		return w.cardOfToken(view.Card), fmt.Sprintf("RRN %d with a bank, in phase %d", view.Position, view.Phase)
	}
	return nil, "a lane"
}

// moved is what a transaction moved, per account that is compared.
type moved struct {
	clearing points.Amount // to the acquirer
	issued   points.Amount // of the issuer's
	suspense points.Amount // what a member should have given back and no longer had
}

// journal is what the switch's journal says, by transaction.
type journal struct {
	byKey   map[points.TraceKey][]points.Position
	reasons map[points.Position]points.Reason // as the acquirer was told
	keys    map[points.Position]points.TraceKey
	program map[points.Position]points.ProgramID
	moved   map[points.Position]map[points.ProgramID]*moved
	issued  map[points.Position]points.Amount   // by what a bank knows it by
	undone  map[points.Position]bool            // wholly reversed
	voids   map[points.Position]points.Position // the sales of voids that booked: of sales that several programmes paid
	tallies tallies
	digest  []byte
	records uint64
}

// read folds the journal.
func (w *World) read() (*journal, error) {
	j := &journal{
		byKey: make(map[points.TraceKey][]points.Position), reasons: make(map[points.Position]points.Reason),
		keys: make(map[points.Position]points.TraceKey), program: make(map[points.Position]points.ProgramID), moved: make(map[points.Position]map[points.ProgramID]*moved),
		issued: make(map[points.Position]points.Amount), undone: make(map[points.Position]bool), voids: make(map[points.Position]points.Position), tallies: newTallies(),
	}
	hash := sha256.New()
	var scratch []byte
	l := w.house.ledger
	err := l.Scan(w.ctx, 1, l.Durable(), func(rec *book.Record) error {
		scratch = book.AppendRecord(scratch[:0], &rec.Command, &rec.Outcome)
		_, err := hash.Write(scratch)
		j.add(rec)
		return err
	})
	j.digest = hash.Sum(nil)
	return j, err
}

// of is the transaction that a record belongs to.
func of(rec *book.Record) points.Position {
	switch rec.Command.Kind {
	case book.KindReverse, book.KindConclude, book.KindStandIn, book.KindOwe, book.KindAcknowledge, book.KindGiveUp, book.KindResolve:
		return rec.Outcome.Original
	default:
		return rec.Outcome.Position
	}
}

func (j *journal) add(rec *book.Record) {
	j.records++
	out := &rec.Outcome
	if key := rec.Command.Key; key != (points.TraceKey{}) {
		j.byKey[key] = append(j.byKey[key], out.Position)
		j.keys[out.Position] = key
		j.reasons[out.Position] = out.Reason
		j.program[out.Position] = out.Program
	}
	position := of(rec)
	if rec.Outcome.Answer != 0 {
		j.reasons[position] = rec.Outcome.Answer
	}
	if rec.Command.Kind == book.KindReverse && rec.Command.Actual == 0 && out.Reason.Approved() {
		j.undone[out.Original] = true
	}
	j.tallies.add(rec)
	known := position // by which a bank knows it
	if rec.Command.Kind == book.KindVoid && len(out.Postings) > 0 {
		known = out.Original // A bank that has paid a part of the sale is told of its reversal.
		j.voids[position] = known
	}
	if sale, ok := j.voids[position]; ok {
		known = sale // And, when the void is reversed, that the sale stands after all.
	}
	for _, p := range out.Postings {
		if j.moved[position] == nil {
			j.moved[position] = make(map[points.ProgramID]*moved)
		}
		m := j.moved[position][p.Account.Program]
		if m == nil {
			m = new(moved)
			j.moved[position][p.Account.Program] = m
		}
		switch p.Account.Kind {
		case book.ClearingAccount:
			m.clearing += p.Amount
		case book.IssuedAccount:
			m.issued += p.Amount
			j.issued[known] += p.Amount
		case book.SuspenseAccount:
			m.suspense += p.Amount
		default:
		}
	}
}

// cleared is what a transaction moved to its acquirer, by programme.
func (j *journal) cleared(position points.Position) shares {
	cleared := make(shares)
	for program, m := range j.moved[position] {
		if m.clearing != 0 {
			cleared[program] = m.clearing
		}
	}
	return cleared
}

// compare holds receipts, journal and the banks' books against each other, and has the
// ledger prove itself.
func (w *World) compare() error {
	if _, err := w.house.ledger.Verify(w.ctx, func(uint64, uint64) {}); err != nil {
		if w.ctx.Err() == nil {
			w.mismatch(nil, "verify: %v", err)
		}
		return w.ctx.Err()
	}
	j, err := w.read()
	if err != nil {
		return err
	}
	w.report.Records = j.records
	w.report.Digest, err = w.digest(j)
	if err != nil {
		return err
	}
	w.compareReceipts(j)
	w.compareSums(j)
	w.compareBatches(j)
	w.compareNotices()
	for _, b := range w.banks {
		w.compareBank(j, b)
	}
	return w.fault
}

// traceKey is the identity under which the switch knows a receipt.
func (r *receipt) traceKey() points.TraceKey {
	key := points.TraceKey{Acquirer: r.lane.acquirer, STAN: r.req.STAN, Class: points.Class(r.req.Envelope.MTI / 100 % 10), Door: r.req.Door}
	if r.req.Door == points.DoorTerminal {
		key.Source, key.When = r.req.Terminal, uint64(r.req.Batch)
		return key
	}
	binary.BigEndian.PutUint64(key.Source[:], uint64(r.req.Forwarder))
	key.When = r.req.Transmission
	return key
}

// compareReceipts checks every receipt against the journal, and that the journal has
// nothing else.
func (w *World) compareReceipts(j *journal) {
	asked := make(map[points.TraceKey]bool)
	for _, l := range w.lanes {
		for _, r := range l.receipts {
			if r.req.Function == points.SignOn {
				continue // It has no identity.
			}
			asked[r.traceKey()] = true
			w.compareReceipt(j, r)
			if r.undo != nil {
				asked[r.undo.traceKey()] = true
				w.compareUndo(j, r, r.undo, r.reversed)
			}
			for _, u := range r.parts {
				asked[u.traceKey()] = true
				w.compareUndo(j, r, u, u.heard && u.resp.Reason.Approved())
			}
		}
	}
	for _, position := range slices.Sorted(maps.Keys(j.keys)) {
		if !asked[j.keys[position]] {
			w.mismatch(nil, "RRN %d is in the journal and nobody has asked for it", position)
		}
	}
}

func (w *World) compareReceipt(j *journal, r *receipt) {
	positions := j.byKey[r.traceKey()]
	what := fmt.Sprintf("%s: %s", r.lane.name, r)
	if len(positions) > 1 {
		w.mismatch(r.card, "%s stands in the journal %d times: %v", what, len(positions), positions)
		return
	}
	if r.heard && r.resp.Reason.Approved() {
		if len(positions) == 0 {
			w.mismatch(r.card, "%s was answered %s and is not in the journal", what, code(&r.resp))
			return
		}
		if r.lane.line.door == terminalDoor && r.resp.Position != positions[0] && r.got != nil {
			w.mismatch(r.card, "%s was answered with RRN %d and stands at %d", what, r.resp.Position, positions[0])
		}
	}
	due := r.dues()
	if len(positions) == 0 {
		if len(due) > 0 {
			w.mismatch(r.card, "%s is not in the journal, and %v is due because of it", what, due)
		}
		return
	}
	position := positions[0]
	if r.resp.Program == 0 {
		r.resp.Program = j.program[position] // A terminal is not always told it.
		due = r.dues()
	}
	told := j.reasons[position]
	again := r.resp.Reason == points.ReversedBefore || r.resp.Reason.DE39() == points.ReversedBefore.DE39()
	if r.heard && told.DE39() != r.resp.Reason.DE39() && !again && r.req.Function != points.BatchClose && r.got != nil {
		w.mismatch(r.card, "%s was answered %s, and RRN %d says %s", what, code(&r.resp), position, told.DE39())
	}
	if found := j.cleared(position); !found.equal(due) && !w.excused(j, r) {
		w.mismatch(r.card, "%s: the acquirer's receipt says that %v is due to it, and the journal (RRN %d) cleared %v", what, due, position, found)
	}
	if r.req.Function == points.Transfer && told.Approved() && !r.reversed && !r.lost && !w.hosted(r.program()) {
		w.compareGift(r, position)
	}
}

// excused reports whether nobody told the acquirer what became of a request in the end.
func (w *World) excused(j *journal, r *receipt) bool {
	positions := j.byKey[r.traceKey()]
	return len(positions) > 0 && (r.lost || w.operator.resolved[positions[0]] != "")
}

// compareGift checks that a bank has given the points of a transfer to the right card.
func (w *World) compareGift(r *receipt, position points.Position) {
	b := w.bankFor(r.program())
	rrn := position.RRN()
	for _, e := range b.issuer.book.history {
		if e.request.RRN == rrn && e.request.Function == points.Transfer && e.approved() {
			if e.request.PAN != r.card.pan || e.to.card != r.to.pan || e.request.Amount != r.req.Amount {
				w.mismatch(r.card, "%s: %s has carried out a transfer of %d to another card, or of another", r, b.name, e.request.Amount)
			}
			return
		}
	}
	w.mismatch(r.card, "%s was answered %s, and %s has no such transfer", r, code(&r.resp), b.name)
}

// compareUndo checks a reversal: it stands once, but for earlier ones that were declined.
func (w *World) compareUndo(j *journal, r, u *receipt, done bool) {
	positions := j.byKey[u.traceKey()]
	approved := 0
	for _, position := range positions {
		if j.reasons[position].Approved() {
			approved++
		}
	}
	if approved > 1 || (done && approved != 1) {
		w.mismatch(r.card, "%s: %s stands in the journal %d times approved", r.lane.name, u, approved)
	}
}

// compareSums holds the accounts of the ledger that serves against the receipts.
func (w *World) compareSums(j *journal) {
	due := make(map[book.AccountKey]points.Amount)
	held, unsure := make(map[book.AccountKey]points.Amount), make(map[book.AccountKey]points.Amount)
	for _, c := range w.cards {
		for _, p := range c.programs {
			if c.bank == nil && w.hosted(p) {
				due[memberKey(c, p)] = c.balance
			}
		}
	}
	for _, l := range w.lanes {
		for _, r := range l.receipts {
			if r.card == nil {
				continue
			}
			w.dueFor(j, l, r, due)
			if r.card.bank == nil && w.hosted(r.program()) {
				key := memberKey(r.card, r.program())
				left, sure := l.held(r)
				held[key] += left
				if !sure {
					unsure[key] += left
				}
			}
		}
	}
	err := w.house.ledger.View(w.ctx, func(b *book.Book) error {
		for _, key := range slices.SortedFunc(maps.Keys(due), func(x, y book.AccountKey) int {
			return bytes.Compare(fmt.Appendf(nil, "%+v", x), fmt.Appendf(nil, "%+v", y))
		}) {
			a, _, err := b.Account(key)
			if err != nil {
				return err
			}
			if a.Balance != due[key] {
				w.mismatch(nil, "account %+v holds %d, and by the receipts %d", key, a.Balance, due[key])
			}
			if key.Kind == book.MemberAccount && (a.Held > held[key] || a.Held < held[key]-unsure[key]) {
				w.mismatch(nil, "account %+v reserves %d, and by the receipts %d", key, a.Held, held[key])
			}
		}
		return nil
	})
	w.fail(err)
}

func memberKey(c *card, p points.ProgramID) book.AccountKey {
	return book.AccountKey{Kind: book.MemberAccount, Program: p, Party: uint64(c.member)}
}

// dueFor adds what a receipt moved: as the acquirer has it, but for what it was not told
// in the end. What a member should have given back and no longer had is in suspense.
func (w *World) dueFor(j *journal, l *lane, r *receipt, due map[book.AccountKey]points.Amount) {
	moves, position := r.dues(), points.Position(0)
	if positions := j.byKey[r.traceKey()]; len(positions) > 0 {
		position = positions[0]
	}
	if w.excused(j, r) {
		moves = j.cleared(position)
	}
	for program, amount := range moves {
		due[book.AccountKey{Kind: book.ClearingAccount, Program: program, Party: uint64(l.acquirer)}] += amount
		if r.card.bank == nil && w.hosted(program) {
			due[memberKey(r.card, program)] -= amount
		}
	}
	giver := r.card // of what is in suspense
	if r.req.Function == points.Transfer && w.hosted(r.program()) {
		giver = r.to
		if r.stands() || (r.lost && j.reasons[position].Approved() && !j.undone[position]) {
			due[memberKey(r.card, r.program())] -= r.amount()
			due[memberKey(r.to, r.program())] += r.amount()
		}
	}
	for program, m := range j.moved[position] {
		if w.hosted(program) && giver.bank == nil {
			due[memberKey(giver, program)] -= m.suspense
		}
	}
}

// held is what a pre-authorisation still reserves, as its receipts have it. It is not
// sure where a release was reversed: what was spent meanwhile is not reserved again.
func (l *lane) held(r *receipt) (left points.Amount, sure bool) {
	if r.req.Function != points.PreAuth || (!r.stands() && !r.lost) {
		return 0, true
	}
	left, sure = r.amount(), !r.lost
	for i, later := range l.receipts {
		for _, u := range r.parts {
			if u.took > 0 && u.at == i {
				left = min(left, u.req.Actual)
			}
		}
		switch {
		case later.about == r && (later.reversed || later.lost), later.lost && later.about != nil && later.about.about == r:
			sure = false
		case !later.stands():
		case later.about == r: // A completion is the last one; a release gives all back.
			left = 0
		case later.req.Function == points.CompletionVoid && later.about.about == r:
			left = later.about.amount()
		}
	}
	for _, u := range r.parts {
		if u.took > 0 && u.at == len(l.receipts) {
			left = min(left, u.req.Actual)
		}
	}
	return left, sure
}

// stands reports whether a bank's book has what a transaction is about to leave standing
// there, and a reversal of it has not been carried out.
func (b *bank) stands(view *book.RemoteView) bool {
	rrn, stands := view.Position.RRN(), false
	for _, e := range b.issuer.book.history { // The last one counts: an advice may have replaced the request.
		if e.request.RRN == rrn && e.request.Function != points.Reversal && e.request.Function != points.Balance {
			stands = e.approved() && !e.reversed && (view.Actual == 0 || e.granted-e.reduced > view.Actual)
		}
	}
	return stands
}

// compareBank holds the book of a bank against what was cleared with it.
func (w *World) compareBank(j *journal, b *bank) {
	type entry struct {
		moved  points.Amount
		stands bool
		gift   bool // which moves points among its own
		card   *card
	}
	theirs := make(map[string]*entry)
	for _, t := range b.issuer.State().Transactions {
		if t.RRN == "" { // A tombstone, which moves nothing.
			continue
		}
		e := theirs[t.RRN]
		if e == nil {
			e = &entry{card: w.cardOfPAN(t.Card)}
			theirs[t.RRN] = e
		}
		if e.moved += t.Moved; t.Function == points.Transfer {
			e.gift = true
		}
		if t.Function != points.Reversal {
			e.stands = t.Standing == Stands
		}
	}
	seen := make(map[string]bool)
	for _, view := range w.remotes(j, b) {
		bytesOf := view.Position.RRN()
		rrn := string(bytesOf[:])
		seen[rrn] = true
		e := theirs[rrn]
		if e == nil {
			e = &entry{}
		}
		ours := j.issued[view.Position]
		if e.gift {
			e.moved = 0
		}
		c := w.cardOfToken(view.Card)
		if ours != e.moved {
			w.mismatch(c, "RRN %s, %v of %d: the switch has settled %d with %s, whose book moved %d", rrn, view.Function, view.Asked, ours, b.name, e.moved)
		}
		_, resolved := w.operator.resolved[view.Position]
		ourStands := view.Approved > 0 && view.Reversed == 0
		if view.Function == points.Redeem && view.Booked == 0 {
			ourStands = false // A part of a sale that several paid was reversed, and this was it.
		}
		if ourStands != e.stands && view.Function != points.Balance && !resolved {
			w.mismatch(c, "RRN %s, %v of %d: at the switch it stands: %v; at %s: %v", rrn, view.Function, view.Asked, ourStands, b.name, e.stands)
		}
	}
	for _, rrn := range slices.Sorted(maps.Keys(theirs)) {
		if e := theirs[rrn]; !seen[rrn] && (e.moved != 0 || e.stands) {
			w.mismatch(e.card, "%s has RRN %s, moved %d, and the switch does not know of it", b.name, rrn, e.moved)
		}
	}
}

// remotes lists all that was forwarded to a bank.
func (w *World) remotes(j *journal, b *bank) (views []book.RemoteView) {
	err := w.house.ledger.View(w.ctx, func(state *book.Book) error {
		for _, position := range slices.Sorted(maps.Keys(j.keys)) {
			view, ok, err := state.Remote(position)
			if err != nil {
				return err
			}
			if ok && view.Issuer == b.id {
				views = append(views, view)
			}
		}
		return nil
	})
	w.fail(err)
	return views
}

// digest is over all that the run left: the same seed gives the same.
func (w *World) digest(j *journal) (string, error) {
	hash := sha256.New()
	_, _ = hash.Write(j.digest) // A hash takes everything.
	for _, l := range w.lanes {
		for _, r := range l.receipts {
			_, _ = fmt.Fprintf(hash, "%s %v %v %v %x\n", l.name, r.req.STAN, r.heard, r.reversed, r.got)
		}
	}
	for _, b := range w.banks {
		state, err := json.Marshal(b.issuer.State())
		if err != nil {
			return "", err
		}
		_, _ = hash.Write(state)
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}
