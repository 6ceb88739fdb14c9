package ledger

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/lianfen/lianfen/internal/store"
	"github.com/lianfen/lianfen/ledger/book"
	"github.com/lianfen/lianfen/points"
)

// Bounds of a page.
const (
	DefaultPageLimit = 50
	MaxPageLimit     = 1_000
)

// Page is which part of an answer is wanted: at most Limit lines (0: 50; at most
// 1,000; the lines of one record stay together), newest first unless Oldest is
// set, beginning at position From where the page before said Next.
type Page struct {
	Limit  int
	Oldest bool
	From   points.Position
}

// Dates is a range of business dates, both included; 0 leaves a side open.
type Dates struct {
	From, To points.BusinessDate
}

// Extent is how far an answer reaches.
type Extent struct {
	AsOf    points.Position // it is complete up to here
	Durable points.Position // the end of the journal when it was asked for
	Next    points.Position // where the next page begins; 0: there is none
}

// StatementQuery asks what happened to a member's points.
type StatementQuery struct {
	Member  points.MemberID
	Program points.ProgramID // 0: all
	Dates   Dates
	// All includes what moved nothing: declines, enquiries, changes of reference data.
	All  bool
	Page Page
}

// Line is what one journal record did to a member's points in one programme.
type Line struct {
	Position points.Position
	Kind     book.Kind
	Function points.Function
	Reason   points.Reason
	Posted   points.Timestamp
	Date     points.BusinessDate
	Program  points.ProgramID // 0: the record is not about one
	Merchant points.MerchantID
	Terminal points.TerminalID
	STAN     points.STAN
	Card     points.CardToken
	Original points.Position

	// Amount is what the member gained or lost; free, pending and held points
	// together. Reserved is what went from free into holds, below zero: came back.
	Amount, Reserved points.Amount
	// Balance is what the member has afterwards in the programme, of the same three.
	Balance points.Amount
	// Free, Pending, Held and Debt are its parts, where Parts is set.
	Free, Pending, Held, Debt points.Amount
	// Balanced and Parts tell whether the record says so much: about others than
	// the member that it is chiefly about, a record has no parts, and no balance
	// either where only holds or dates of use have changed.
	Balanced, Parts bool
}

// Statement is the answer to a [StatementQuery].
type Statement struct {
	Lines []Line
	Extent
}

// Statement lists what happened to a member's points. It reads the index and the
// journal beside the writer. A member that nobody has heard of has no lines.
func (p *Projection) Statement(ctx context.Context, q StatementQuery) (Statement, error) {
	var s Statement
	if q.Member == 0 {
		return s, points.Errorf(points.FormatError, "ledger: a statement needs a member")
	}
	limit, err := q.Page.limit()
	if err != nil {
		return s, err
	}
	who := ofMember(q.Member)
	var rec, asked book.Record
	var lines []Line
	s.Extent, err = p.look(ctx, q.Dates, q.Page, func(low, high points.Position) (next points.Position, err error) {
		err = p.walk(ctx, who, false, low, high, q.Page.Oldest, func(position points.Position, how entry) (bool, error) {
			if !q.All && how == quiet {
				return true, nil
			}
			if err := readRecord(p.ledger.store, position, &rec, true); err != nil {
				return false, err
			}
			if !about(&rec, who, false) {
				return true, nil
			}
			lines = linesOf(lines[:0], &rec, &q)
			if len(lines) > 0 && len(s.Lines)+len(lines) > limit && len(s.Lines) > 0 {
				next = position
				return false, nil
			}
			if decides(&rec) && len(lines) > 0 {
				if err := readRecord(p.ledger.store, rec.Outcome.Original, &asked, true); err != nil {
					return false, err
				}
				for i := range lines {
					lines[i].at(&asked.Command)
				}
			}
			s.Lines = append(s.Lines, lines...)
			return true, nil
		})
		return next, err
	})
	return s, err
}

// linesOf appends the lines of a record: one per programme in which the member's
// points moved, ascending; else, if q asks for all, one.
func linesOf(lines []Line, rec *book.Record, q *StatementQuery) []Line {
	at := func(program points.ProgramID) *Line {
		i := slices.IndexFunc(lines, func(l Line) bool { return l.Program == program })
		if i < 0 {
			lines = append(lines, lineOf(rec, q.Member, program))
			i = len(lines) - 1
		}
		return &lines[i]
	}
	for _, posting := range rec.Outcome.Postings {
		member, ok := memberOf(posting.Account)
		if !ok || member != q.Member || (q.Program != 0 && posting.Account.Program != q.Program) {
			continue
		}
		if line := at(posting.Account.Program); posting.Account.Kind == book.MemberAccount {
			line.Amount += posting.Amount
			line.Balance, line.Balanced = posting.After, true
		}
	}
	for _, move := range rec.Outcome.Lots {
		member, ok := memberOf(move.Account)
		if !ok || member != q.Member || (q.Program != 0 && move.Account.Program != q.Program) {
			continue
		}
		if line := at(move.Account.Program); move.Held {
			line.Reserved -= move.Amount
		}
	}
	if len(lines) == 0 && q.All {
		line := lineOf(rec, q.Member, 0)
		if rec.Outcome.Member == q.Member {
			line = lineOf(rec, q.Member, rec.Outcome.Program)
		}
		if q.Program == 0 || line.Program == q.Program {
			lines = append(lines, line)
		}
	}
	slices.SortFunc(lines, func(a, b Line) int { return cmp.Compare(a.Program, b.Program) })
	return lines
}

// lineOf is a line without amounts, and with the balances that the outcome gives.
func lineOf(rec *book.Record, member points.MemberID, program points.ProgramID) Line {
	cmd, out := &rec.Command, &rec.Outcome
	line := Line{
		Position: out.Position, Kind: cmd.Kind, Function: cmd.Function, Reason: out.Reason, Posted: out.Posted, Date: out.Date, Program: program,
		Merchant: cmd.Merchant, Terminal: cmd.Terminal, STAN: cmd.Key.STAN, Card: cmd.Card, Original: out.Original,
	}
	if out.Member == member && out.Program == program && program != 0 && tellsBalances(rec) {
		line.Free, line.Pending, line.Held, line.Debt = out.Free, out.Pending, out.Held, out.Debt
		line.Balance = out.Free + out.Pending + out.Held
		line.Balanced, line.Parts = true, true
	}
	return line
}

// decides reports whether a record tells what became of a request that an issuer with a
// ledger of its own was asked: where that came from only the request's record says.
func decides(rec *book.Record) bool {
	switch rec.Command.Kind {
	case book.KindConclude, book.KindOwe, book.KindStandIn, book.KindResolve:
		return rec.Outcome.Original != 0
	default:
		return false
	}
}

// at says where the line's transaction was asked for.
func (l *Line) at(asked *book.Command) {
	l.Function, l.Merchant, l.Terminal, l.STAN, l.Card = asked.Function, asked.Merchant, asked.Terminal, asked.Key.STAN, asked.Card
}

// tellsBalances reports whether the zeros of an outcome's balances mean zero.
func tellsBalances(rec *book.Record) bool {
	switch rec.Command.Kind {
	case book.KindPut, book.KindOpen, book.KindFreeze, book.KindClose, book.KindSignOn:
		return false
	default:
		return rec.Outcome.Reason != points.UnknownAccount
	}
}

// FindQuery asks for records by what they name: a card, a terminal (with STAN
// set, of that one message number), or a member; with none of them, all records
// of Dates.
type FindQuery struct {
	Card     points.CardToken
	Terminal points.TerminalID
	STAN     *points.STAN
	Member   points.MemberID
	Dates    Dates
	Page     Page
}

// Found is the answer to a [FindQuery].
type Found struct {
	Records []book.Record
	Extent
}

// Find lists journal records, declines too. It reads beside the writer.
func (p *Projection) Find(ctx context.Context, q FindQuery) (Found, error) {
	var found Found
	if err := q.check(); err != nil {
		return found, err
	}
	limit, err := q.Page.limit()
	if err != nil {
		return found, err
	}
	who, anyStan, all := q.subject()
	found.Extent, err = p.look(ctx, q.Dates, q.Page, func(low, high points.Position) (next points.Position, err error) {
		each := func(position points.Position, _ entry) (bool, error) {
			var rec book.Record
			if err := readRecord(p.ledger.store, position, &rec, true); err != nil {
				return false, err
			}
			if !all && !about(&rec, who, anyStan) {
				return true, nil
			}
			if len(found.Records) == limit {
				next = position
				return false, nil
			}
			found.Records = append(found.Records, rec)
			return true, nil
		}
		if all {
			return next, neighbours(low, high, q.Page.Oldest, each)
		}
		return next, p.walk(ctx, who, anyStan, low, high, q.Page.Oldest, each)
	})
	return found, err
}

// subject is what q asks about: a terminal with anyStan set, with all its messages;
// or all records.
func (q *FindQuery) subject() (who subject, anyStan, all bool) {
	switch {
	case !q.Card.IsZero():
		return ofCard(q.Card), false, false
	case q.Member != 0:
		return ofMember(q.Member), false, false
	case q.Terminal == points.TerminalID{}:
		return who, false, true
	case q.STAN == nil:
		return subject{kind: terminalKey, terminal: q.Terminal}, true, false
	default:
		return subject{kind: terminalKey, terminal: q.Terminal, stan: *q.STAN}, false, false
	}
}

// Closes lists the records by which batches were closed.
func (p *Projection) Closes(ctx context.Context, dates Dates, page Page) (Found, error) {
	var found Found
	limit, err := page.limit()
	if err != nil {
		return found, err
	}
	found.Extent, err = p.look(ctx, dates, page, func(low, high points.Position) (next points.Position, err error) {
		err = p.walk(ctx, subject{kind: closeKey}, false, low, high, page.Oldest, func(position points.Position, _ entry) (bool, error) {
			if len(found.Records) == limit {
				next = position
				return false, nil
			}
			found.Records = append(found.Records, book.Record{})
			return true, readRecord(p.ledger.store, position, &found.Records[len(found.Records)-1], true)
		})
		return next, err
	})
	return found, err
}

// check refuses what cannot be looked for.
func (q *FindQuery) check() error {
	named := 0
	for _, set := range [...]bool{!q.Card.IsZero(), q.Terminal != points.TerminalID{}, q.Member != 0} {
		if set {
			named++
		}
	}
	switch {
	case named > 1:
		return points.Errorf(points.FormatError, "ledger: find by a card, a terminal or a member, not by several of them")
	case named == 0 && q.Dates == Dates{}:
		return points.Errorf(points.FormatError, "ledger: find needs a card, a terminal, a member or a date")
	case q.STAN != nil && q.Terminal == points.TerminalID{}:
		return points.Errorf(points.FormatError, "ledger: a STAN is found at a terminal: name one")
	}
	return nil
}

// neighbours calls visit with all positions from low to high while it wants more.
func neighbours(low, high points.Position, oldest bool, visit func(points.Position, entry) (more bool, err error)) error {
	for ; low <= high; low, high = step(low, high, oldest) {
		position := high
		if oldest {
			position = low
		}
		if more, err := visit(position, 0); err != nil || !more {
			return err
		}
	}
	return nil
}

func step(low, high points.Position, oldest bool) (points.Position, points.Position) {
	if oldest {
		return low + 1, high
	}
	return low, high - 1
}

// byShelf calls visit with the shelves of the positions from low to high, one by
// one while there is more to find.
func (p *Projection) byShelf(low, high points.Position, oldest bool, visit func(shelf uint32) (more bool, err error)) error {
	first, last := uint32(low>>p.bits), uint32(high>>p.bits) //nolint:gosec // good for 2^49 positions by default.
	for n := range last - first + 1 {
		shelf := last - n
		if oldest {
			shelf = first + n
		}
		if more, err := visit(shelf); err != nil || !more {
			return err
		}
	}
	return nil
}

// Owner is the member that a card belongs to, as far as the index has come.
func (p *Projection) Owner(ctx context.Context, token points.CardToken) (points.MemberID, error) {
	var member points.MemberID
	p.reach(ctx)
	err := p.whileStanding(func() error {
		for _, s := range p.unstored() {
			for _, o := range slices.Backward(s.owners) {
				if o.card == token {
					member = o.member
					return nil
				}
			}
		}
		value, ok, err := p.ledger.store.Get(nil, store.Index, append([]byte{ownerKey}, token[:]...))
		switch {
		case err != nil:
			return err
		case !ok:
			return points.Errorf(points.UnknownCard, "ledger: %s", points.UnknownCard.English())
		case len(value) != 8:
			return errBadIndex
		}
		member = points.MemberID(binary.BigEndian.Uint64(value))
		return nil
	})
	return member, err
}

// errBadIndex says that the index holds what was never written there.
var errBadIndex = errors.New("ledger: the index is damaged; make it again with: lianfen ledger reindex")

// whileStanding keeps the store open and the index undropped during do.
func (p *Projection) whileStanding(do func() error) error {
	if err := p.Err(); err != nil {
		return err
	}
	p.mu.RLock()
	defer p.mu.RUnlock()
	err := p.whileOpen(do)
	if errors.Is(err, store.ErrCorrupt) {
		return fmt.Errorf("%w (while the journal verifies, only the index is damaged: lianfen ledger reindex makes it again)", err)
	}
	return err
}

// look calls query with the positions that dates and page leave, and tells how
// far the answer reaches.
func (p *Projection) look(ctx context.Context, dates Dates, page Page, query func(low, high points.Position) (next points.Position, err error)) (Extent, error) {
	var extent Extent
	p.reach(ctx)
	err := p.whileStanding(func() error {
		extent.AsOf, extent.Durable = p.AsOf(), p.ledger.Durable()
		low, high, err := p.between(ctx, dates, extent.AsOf)
		if err != nil {
			return err
		}
		if page.From != 0 {
			if page.Oldest {
				low = max(low, page.From)
			} else {
				high = min(high, page.From)
			}
		}
		if low <= high {
			extent.Next, err = query(low, high)
		}
		return err
	})
	return extent, err
}

// between are the positions of the dates, up to asOf.
func (p *Projection) between(ctx context.Context, dates Dates, asOf points.Position) (low, high points.Position, err error) {
	low, high = 1, asOf
	if dates.From != 0 {
		if low, err = p.firstOf(ctx, dates.From, asOf); err != nil {
			return 0, 0, err
		}
	}
	if dates.To != 0 {
		after, err := p.firstOf(ctx, dates.To+1, asOf)
		if err != nil {
			return 0, 0, err
		}
		high = after - 1
	}
	return low, high, nil
}

// firstOf is the first position of a business date at or after date, asOf+1 when
// there is none.
func (p *Projection) firstOf(ctx context.Context, date points.BusinessDate, asOf points.Position) (points.Position, error) {
	first := asOf + 1
	for _, s := range p.unstored() {
		for _, d := range s.dates {
			if d.date >= date {
				first = min(first, points.Position(d.position))
			}
		}
	}
	start := append([]byte{dateKey}, uint64Bytes(uint64(date))[4:]...)
	err := p.ledger.store.Scan(ctx, store.Index, start, func(key, value []byte) (bool, error) {
		if key[0] != dateKey {
			return false, nil
		}
		if len(value) != 8 {
			return false, errBadIndex
		}
		first = min(first, points.Position(binary.BigEndian.Uint64(value)))
		return false, nil
	})
	return first, err
}

// walk visits the positions from low to high that are filed under what has the bits
// of who; of a terminal with anyStan set, of all its messages. The records there may
// be about somebody else.
func (p *Projection) walk(ctx context.Context, who subject, anyStan bool, low, high points.Position, oldest bool, visit func(points.Position, entry) (bool, error)) error {
	from, to := who.span(anyStan)
	place := placeOf(who.kind)
	return p.byShelf(low, high, oldest, func(number uint32) (bool, error) {
		more := true
		each := func(entries []entry) (_ bool, err error) {
			for i := range entries {
				e := entries[i]
				if !oldest {
					e = entries[len(entries)-1-i]
				}
				position := points.Position(uint64(number)<<p.bits | uint64(e&(1<<subjectAt-1)>>1))
				if position < low || position > high {
					continue
				}
				if more, err = visit(position, e&quiet); err != nil || !more {
					return false, err
				}
			}
			return true, nil
		}
		var all []entry
		if s, ok := p.inMemory(number); ok {
			all = s.between(nil, place, from, to)
		} else if !anyStan { // In the order of positions from page to page.
			err := pages(ctx, p.ledger.store, number, who.kind, from, to, !oldest, each)
			return more, err
		} else if err := pages(ctx, p.ledger.store, number, who.kind, from, to, false, func(entries []entry) (bool, error) {
			all = append(all, entries...)
			return true, nil
		}); err != nil {
			return false, err
		}
		if anyStan { // A record may name a terminal with several numbers.
			where := func(e entry) entry { return e & (1<<subjectAt - 1) }
			slices.SortFunc(all, func(a, b entry) int { return cmp.Compare(where(a), where(b)) })
			all = slices.CompactFunc(all, func(a, b entry) bool { return where(a) == where(b) })
		}
		_, err := each(all)
		return more, err
	})
}

func (p Page) limit() (int, error) {
	switch {
	case p.Limit == 0:
		return DefaultPageLimit, nil
	case p.Limit < 0 || p.Limit > MaxPageLimit:
		return 0, points.Errorf(points.FormatError, "ledger: %d lines on a page, want 1 to %d", p.Limit, MaxPageLimit)
	}
	return p.Limit, nil
}
