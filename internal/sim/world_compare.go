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
	member   points.Amount
}

// journal is what the switch's journal says, by transaction.
type journal struct {
	byKey   map[points.TraceKey][]points.Position
	reasons map[points.Position]points.Reason // as the acquirer was told
	keys    map[points.Position]points.TraceKey
	program map[points.Position]points.ProgramID
	moved   map[points.Position]*moved
	sums    map[book.AccountKey]points.Amount
	digest  []byte
	records uint64
}

// read folds the journal.
func (w *World) read() (*journal, error) {
	j := &journal{
		byKey: make(map[points.TraceKey][]points.Position), reasons: make(map[points.Position]points.Reason),
		keys: make(map[points.Position]points.TraceKey), program: make(map[points.Position]points.ProgramID), moved: make(map[points.Position]*moved), sums: make(map[book.AccountKey]points.Amount),
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
	for _, p := range out.Postings {
		j.sums[p.Account] += p.Amount
		m := j.moved[position]
		if m == nil {
			m = new(moved)
			j.moved[position] = m
		}
		switch p.Account.Kind {
		case book.ClearingAccount:
			m.clearing += p.Amount
		case book.IssuedAccount:
			m.issued += p.Amount
		case book.MemberAccount:
			m.member += p.Amount
		default:
		}
	}
}

// compare holds receipts, journal and the banks' books against each other, and has the
// ledger prove itself.
func (w *World) compare() error {
	if _, err := w.house.ledger.Verify(w.ctx, func(uint64, uint64) {}); err != nil {
		w.mismatch(nil, "verify: %v", err)
		return nil
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
			if r.card == nil {
				continue // A sign-on has no identity.
			}
			asked[r.traceKey()] = true
			w.compareReceipt(j, r)
			if r.undo != nil {
				asked[r.undo.traceKey()] = true
				w.compareUndo(j, r)
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
		if r.lane.line.door == terminalDoor && r.resp.Position != positions[0] {
			w.mismatch(r.card, "%s was answered with RRN %d and stands at %d", what, r.resp.Position, positions[0])
		}
	}
	if len(positions) == 0 {
		if r.gives() != 0 {
			w.mismatch(r.card, "%s is not in the journal, and %d is due because of it", what, r.gives())
		}
		return
	}
	position := positions[0]
	if r.resp.Program == 0 {
		r.resp.Program = j.program[position] // A terminal is not always told it.
	}
	if told := j.reasons[position]; r.heard && told.DE39() != r.resp.Reason.DE39() && r.resp.Reason != points.ReversedBefore && r.resp.Reason.DE39() != points.ReversedBefore.DE39() {
		w.mismatch(r.card, "%s was answered %s, and RRN %d says %s", what, code(&r.resp), position, told.DE39())
	}
	found := points.Amount(0)
	if m := j.moved[position]; m != nil {
		found = m.clearing
	}
	if _, resolved := w.operator.resolved[position]; found != r.gives() && !resolved {
		w.mismatch(r.card, "%s: the acquirer's receipt says that %d is due to it, and the journal (RRN %d) cleared %d", what, r.gives(), position, found)
	}
}

// compareUndo checks a reversal: it stands once, but for earlier ones that were declined.
func (w *World) compareUndo(j *journal, r *receipt) {
	positions := j.byKey[r.undo.traceKey()]
	approved := 0
	for _, position := range positions {
		if j.reasons[position].Approved() {
			approved++
		}
	}
	if approved > 1 || (r.reversed && approved != 1) {
		w.mismatch(r.card, "%s: %s stands in the journal %d times approved", r.lane.name, r.undo, approved)
	}
}

// compareSums holds the accounts of the ledger that serves against the receipts.
func (w *World) compareSums(j *journal) {
	due := make(map[book.AccountKey]points.Amount)
	held, unsure := make(map[book.AccountKey]points.Amount), make(map[book.AccountKey]points.Amount)
	for _, c := range w.cards {
		for _, p := range c.programs {
			if c.bank == nil {
				due[book.AccountKey{Kind: book.MemberAccount, Program: p, Party: uint64(c.member)}] = worldBalance
			}
		}
	}
	for _, l := range w.lanes {
		for _, r := range l.receipts {
			if r.card == nil {
				continue
			}
			due[book.AccountKey{Kind: book.ClearingAccount, Program: r.program(), Party: uint64(l.acquirer)}] += w.dueFor(j, r)
			if slices.Contains(r.card.programs, r.program()) && r.card.bank == nil {
				key := book.AccountKey{Kind: book.MemberAccount, Program: r.program(), Party: uint64(r.card.member)}
				due[key] -= r.gives()
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

// dueFor is what is due for a receipt: as the acquirer has it, but for what an operator
// had to decide, where the acquirer was told otherwise.
func (w *World) dueFor(j *journal, r *receipt) points.Amount {
	positions := j.byKey[r.traceKey()]
	if len(positions) == 0 || w.operator.resolved[positions[0]] == "" {
		return r.gives()
	}
	if m := j.moved[positions[0]]; m != nil {
		return m.clearing
	}
	return 0
}

// held is what a pre-authorisation still reserves, as its receipts have it. It is not
// sure where a release was reversed: what was spent meanwhile is not reserved again.
func (l *lane) held(r *receipt) (left points.Amount, sure bool) {
	if r.req.Function != points.PreAuth || !r.stands() {
		return 0, true
	}
	left, sure = r.amount(), true
	for _, later := range l.receipts {
		switch {
		case later.about == r && later.reversed:
			sure = false
		case !later.stands():
		case later.about == r: // A completion is the last one; a release gives all back.
			left = 0
		case later.req.Function == points.CompletionVoid && later.about.about == r:
			left = later.about.amount()
		}
	}
	return left, sure
}

// stands reports whether a bank's book has the transaction with an RRN, not undone.
func (b *bank) stands(rrn string) bool {
	for _, t := range b.issuer.State().Transactions {
		if t.RRN == rrn && t.Function != points.Reversal && t.Function != points.Balance {
			return t.Standing == Stands
		}
	}
	return false
}

// compareBank holds the book of a bank against what was cleared with it.
func (w *World) compareBank(j *journal, b *bank) {
	type entry struct {
		moved  points.Amount
		stands bool
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
		e.moved += t.Moved
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
		ours := points.Amount(0)
		if m := j.moved[view.Position]; m != nil {
			ours = m.issued
		}
		c := w.cardOfToken(view.Card)
		if ours != e.moved {
			w.mismatch(c, "RRN %s, %v of %d: the switch has settled %d with %s, whose book moved %d", rrn, view.Function, view.Asked, ours, b.name, e.moved)
		}
		_, resolved := w.operator.resolved[view.Position]
		if ourStands := view.Approved > 0 && view.Reversed == 0; ourStands != e.stands && view.Function != points.Balance && !resolved {
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
